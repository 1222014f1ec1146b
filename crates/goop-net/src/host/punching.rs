//! Direct connections in place of relayed ones: punching holes, and letting go of circuits that are no longer needed.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use libp2p::Multiaddr;
use libp2p::multiaddr::Protocol;
use libp2p::swarm::ConnectionId;
use libp2p::swarm::dial_opts::{DialOpts, PeerCondition};
use tokio::task::{JoinError, JoinSet};

use super::Host;
use super::addresses::Candidates;
use crate::PeerId;
use crate::address;
use crate::bucket::Bucket;
use crate::links::Link;
use crate::punch::{self, PunchError, TRIES};

/// Circuits beside a direct connection are looked at this often.
const SWEEP: Duration = Duration::from_secs(1);
/// A direct connection is this old before circuits are let go, so that the other side uses it too.
const SETTLED: Duration = Duration::from_secs(2);
/// A connection to a relay of others is kept this long without a circuit.
const FOREIGN: Duration = Duration::from_secs(60);
/// Peers with which holes are being punched.
const MAX_PEERS: usize = 64;

/// Holes tried at once, whoever asks for them …
const BURST: u32 = 16;
/// … then one this often: each knocks at up to [`punch::MAX_ADDRS`] doors that somebody else named.
const EVERY: Duration = Duration::from_secs(3);

/// Who listens dials TCP this much later than the other side. With a hole from an earlier try, the first to dial is
/// answered by the other's listening port: that has to be the one who takes itself for the dialler, or both would wait for
/// the other to speak. Where there is no hole yet, the order does not matter. UDP does not wait: what comes too early there
/// is only sent again after a second.
const AFTER_THEM: Duration = Duration::from_millis(40);

/// What happens beside the host.
#[derive(Debug)]
pub(super) enum Step {
    /// What was agreed on with a peer, by us who began.
    Agreed(PeerId, Result<Vec<Multiaddr>, PunchError>),
    /// The other side has dialled by now; our turn, at these addresses.
    TheyDialled(PeerId, Vec<Multiaddr>),
}

/// Holes being punched.
#[derive(Debug)]
pub(super) struct Punching {
    tries: Bucket,
    /// With whom, and how often it was tried; only where we begin.
    begun: HashMap<PeerId, u32>,
    steps: JoinSet<Step>,
    /// Dials under way, with whom and where.
    dials: HashMap<ConnectionId, (PeerId, Multiaddr)>,
    /// With whom we dial TCP in a moment.
    late: HashSet<PeerId>,
    /// Connections that came of them.
    punched: HashSet<ConnectionId>,
    /// The next look at circuits beside direct connections.
    pub(super) sweep_at: Option<Instant>,
    beside: HashSet<PeerId>,
}

impl Punching {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            tries: Bucket::new(BURST, EVERY, now),
            begun: HashMap::new(),
            steps: JoinSet::new(),
            dials: HashMap::new(),
            late: HashSet::new(),
            punched: HashSet::new(),
            sweep_at: None,
            beside: HashSet::new(),
        }
    }

    pub(super) async fn next(&mut self) -> Option<Result<Step, JoinError>> {
        self.steps.join_next().await
    }

    /// Whether a connection was dialled for a hole, so from the port we listen on.
    pub(super) fn was_punched(&self, connection: ConnectionId) -> bool {
        self.punched.contains(&connection)
    }

    /// A connection ended.
    pub(super) fn gone(&mut self, connection: ConnectionId) {
        self.punched.remove(&connection);
    }

    /// Whether a peer is being dialled for a hole, or about to be.
    fn is_at_work(&self, peer: &PeerId) -> bool {
        self.late.contains(peer) || self.dials.values().any(|(other, _)| other == peer)
    }

    fn is_dialling(&self, peer: &PeerId, addr: &Multiaddr) -> bool {
        let mut dials = self.dials.values();
        dials.any(|(other, at)| other == peer && at == addr)
    }

    pub(super) async fn shutdown(&mut self) {
        self.steps.shutdown().await;
    }
}

impl Host {
    /// Somebody who came through a relay said what it speaks: who was called begins (network.md 9.7).
    pub(super) fn consider_punching(&mut self, peer: PeerId) {
        let punching = &self.punching;
        if self.links.is_direct(&peer)
            || !begins(&self.me, &peer, self.calls(&peer))
            || punching.begun.contains_key(&peer)
            || punching.begun.len() >= MAX_PEERS
            || self.candidates.borrow().addrs.is_empty()
            || self.links.speaks(&peer, punch::PROTOCOL.as_ref()) != Some(true)
        {
            return;
        }
        if let Some(link) = self.links.newest_call(&peer) {
            self.punching.begun.insert(peer, 0);
            self.agree(peer, link);
        }
    }

    /// Whether we call a peer through a relay, too, or are about to.
    fn calls(&self, peer: &PeerId) -> bool {
        let mut links = self.links.relayed(peer).into_iter();
        links.any(|link| link.outbound)
            || self.circuit_dials.values().any(|dialled| dialled == peer)
    }

    /// Somebody came through a relay anew, maybe from another network: what was given up is tried once more. Its last
    /// circuit need not be known to be dead yet.
    pub(super) fn called_anew(&mut self, peer: &PeerId) {
        if self
            .punching
            .begun
            .get(peer)
            .is_some_and(|tries| *tries >= TRIES)
        {
            self.punching.begun.remove(peer);
        }
    }

    fn agree(&mut self, peer: PeerId, link: Link) {
        let candidates = self.candidates.subscribe();
        self.punching.steps.spawn(async move {
            let own = Candidates::known(candidates).await;
            let agreed = match link.open([punch::PROTOCOL].into()).await {
                Some(Ok((_, stream))) => punch::begin(stream, &own).await,
                _ => Err(PunchError::Malformed("no stream came")),
            };
            Step::Agreed(peer, agreed)
        });
    }

    pub(super) fn on_step(&mut self, step: Result<Step, JoinError>) {
        // Neither step panics, and they are aborted only when the host ends.
        match step {
            Ok(Step::Agreed(peer, agreed)) => self.on_agreed(peer, agreed),
            Ok(Step::TheyDialled(peer, addrs)) => self.dial_after_them(peer, addrs),
            Err(_) => {}
        }
    }

    /// The moment to dial, as the one who began.
    fn on_agreed(&mut self, peer: PeerId, agreed: Result<Vec<Multiaddr>, PunchError>) {
        match agreed {
            Ok(addrs) => {
                let tries = self.punching.begun.entry(peer).or_default();
                *tries += 1;
                // In the last try the roles change (network.md 9.7): some old programs have them the other way round.
                let listens = *tries < TRIES;
                self.punch(peer, addrs, listens);
            }
            Err(error) => {
                tracing::debug!(%peer, %error, "no agreement on punching a hole");
                let tries = self.punching.begun.entry(peer).or_default();
                *tries += 1;
                self.try_again(peer);
            }
        }
    }

    /// Dials addresses at the moment the other side does, from the ports we listen on. `listens`: the other side takes
    /// the connection for its own.
    pub(super) fn punch(&mut self, peer: PeerId, addrs: Vec<Multiaddr>, listens: bool) {
        if self.links.is_direct(&peer) || !self.punching.tries.take(Instant::now()) {
            self.punching.begun.remove(&peer);
            return;
        }
        metrics::counter!("goop_net_punches").increment(1);
        tracing::debug!(%peer, ?addrs, "a hole is tried");
        let addrs = self.vicinity.believed(&peer, addrs);
        let (later, now): (Vec<_>, Vec<_>) = addrs
            .into_iter()
            .partition(|addr| listens && address::is_plain_tcp(addr));
        let dialled = self.knock(peer, now, listens);
        if later.is_empty() {
            if !dialled {
                self.punching.begun.remove(&peer);
            }
            return;
        }
        self.punching.late.insert(peer);
        self.punching.steps.spawn(async move {
            tokio::time::sleep(AFTER_THEM).await;
            Step::TheyDialled(peer, later)
        });
    }

    fn dial_after_them(&mut self, peer: PeerId, addrs: Vec<Multiaddr>) {
        self.punching.late.remove(&peer);
        if !self.links.is_direct(&peer)
            && !self.knock(peer, addrs, true)
            && !self.punching.is_at_work(&peer)
        {
            self.punching.begun.remove(&peer);
        }
    }

    /// Dials each address; answers whether any is being dialled.
    fn knock(&mut self, peer: PeerId, addrs: Vec<Multiaddr>, listens: bool) -> bool {
        let mut dialled = false;
        for addr in addrs {
            // Of two dials from one port to one door the system lets the second go from another port, where no hole is.
            if address::is_plain_tcp(&addr) && self.punching.is_dialling(&peer, &addr) {
                dialled = true;
                continue;
            }
            self.checking.knock(&addr, Instant::now());
            // One dial each: together, the later ones would wait for the earlier ones, and the moment would be over.
            let mut opts = DialOpts::peer_id(peer)
                .condition(PeerCondition::Always)
                .addresses(vec![addr.clone()]);
            if listens {
                opts = opts.override_role();
            }
            let opts = opts.build();
            let connection = opts.connection_id();
            if self.swarm.dial(opts).is_ok() {
                self.punching.dials.insert(connection, (peer, addr));
                dialled = true;
            }
        }
        dialled
    }

    /// A rendezvous says that the other side dials us now: UDP needs no agreement on who begins.
    pub(super) fn punch_by_hint(&mut self, peer: PeerId, addrs: &[Multiaddr]) {
        let quic = addrs
            .iter()
            .filter(|addr| addr.iter().any(|part| part == Protocol::QuicV1));
        self.punch(peer, quic.cloned().collect(), false);
    }

    /// Whether a failed dial was one for a hole; then what follows from it is done.
    pub(super) fn punch_failed(&mut self, connection: ConnectionId) -> bool {
        let Some((peer, _)) = self.punching.dials.remove(&connection) else {
            return false;
        };
        if self.punching.is_at_work(&peer) || self.links.is_direct(&peer) {
            return true;
        }
        self.try_again(peer);
        true
    }

    /// Agrees anew, where we began and it was not tried too often. Otherwise it is given up until the peer comes through a
    /// relay anew.
    fn try_again(&mut self, peer: PeerId) {
        let tries = self.punching.begun.get(&peer).copied();
        let again = tries.is_some_and(|tries| tries > 0 && tries < TRIES);
        match self.links.newest_call(&peer).filter(|_| again) {
            Some(link) => {
                tracing::debug!(%peer, "a hole is tried once more");
                self.agree(peer, link);
            }
            // Its circuit may have broken off just now; the next one begins from the start.
            None if self.links.relayed(&peer).is_empty() => {
                self.punching.begun.remove(&peer);
            }
            None => {}
        }
    }

    /// A direct connection came up. Surplus ones of a hole are closed by who began, so that not both close.
    pub(super) fn direct_is_there(&mut self, peer: PeerId, connection: ConnectionId) {
        let punched = self.punching.dials.remove(&connection).is_some();
        if punched {
            metrics::counter!("goop_net_punched").increment(1);
            self.punching.punched.insert(connection);
        }
        let began = self.punching.begun.contains_key(&peer);
        let others = self.links.other_direct(&peer, connection);
        if punched && began && !others.is_empty() {
            self.close_surplus(&peer, connection, others);
        }
        if !self.links.relayed(&peer).is_empty() {
            self.watch_circuits(peer);
        }
    }

    fn close_surplus(&mut self, peer: &PeerId, new: ConnectionId, others: Vec<Link>) {
        let new_one = self.links.link(peer, new);
        if !new_one.is_some_and(|link| is_better(&link, &others)) {
            self.swarm.close_connection(new);
            return;
        }
        for other in others {
            self.swarm.close_connection(other.id);
        }
    }

    /// The last direct connection ended. Where a circuit is left, a hole is punched anew through it.
    pub(super) fn direct_is_lost(&mut self, peer: PeerId) {
        self.punching.begun.remove(&peer);
        self.consider_punching(peer);
    }

    /// A circuit came up beside a direct connection, or the reverse.
    pub(super) fn watch_circuits(&mut self, peer: PeerId) {
        self.punching.beside.insert(peer);
        let soon = Instant::now() + SWEEP;
        let at = self.punching.sweep_at.map_or(soon, |at| at.min(soon));
        self.punching.sweep_at = Some(at);
    }

    /// Everything through a relay with this peer ended.
    pub(super) fn no_circuit_left(&mut self, peer: &PeerId) {
        self.punching.begun.remove(peer);
        self.punching.beside.remove(peer);
    }

    pub(super) fn know_foreign_relay(&mut self, relay: PeerId) {
        let now = Instant::now();
        self.foreign_relays.insert(relay, now);
        self.punching.sweep_at.get_or_insert(now + FOREIGN);
    }

    /// Relays of others are left when nothing runs through them; ours is the plan's business.
    fn leave_foreign_relays(&mut self, now: Instant) {
        let (links, table) = (&self.links, &self.table);
        let left = self.foreign_relays.extract_if(|relay, used| {
            let of_use = links.is_busy(relay) || table.get(relay).is_some();
            now.saturating_duration_since(*used) >= FOREIGN && !of_use
        });
        for (relay, _) in left {
            // Nothing to close is fine.
            let _ = self.swarm.disconnect_peer_id(relay);
        }
    }

    /// Lets go of circuits that a direct connection stands beside and nothing uses.
    pub(super) fn sweep(&mut self, now: Instant) {
        if self.punching.sweep_at.is_none_or(|at| at > now) {
            return;
        }
        let peers: Vec<PeerId> = self.punching.beside.iter().copied().collect();
        for peer in peers {
            let settled = self
                .links
                .oldest_direct(&peer)
                .is_some_and(|since| now.saturating_duration_since(since) >= SETTLED);
            let circuits = self.links.relayed(&peer);
            if settled {
                for idle in circuits.iter().filter(|link| link.streams() == 0) {
                    self.swarm.close_connection(idle.id);
                }
            }
            if circuits.is_empty() || !self.links.is_direct(&peer) {
                self.punching.beside.remove(&peer);
            }
        }
        self.leave_foreign_relays(now);
        self.punching.sweep_at = if self.punching.beside.is_empty() {
            (!self.foreign_relays.is_empty()).then_some(now + FOREIGN)
        } else {
            Some(now + SWEEP)
        };
    }
}

/// Whether we begin with a peer that called us through a relay. Who was called begins; of two who call each other, one:
/// otherwise two exchanges would have both sides dial from the same ports at about the same moment, and the two ends of a
/// TCP connection would belong to different ones and disagree about who listens.
fn begins(me: &PeerId, peer: &PeerId, we_call_too: bool) -> bool {
    !we_call_too || me < peer
}

/// Of several connections through a hole the first stays, unless the new one is the first over QUIC and nothing uses the
/// others yet: QUIC notices by itself when its way is gone, TCP only when it is asked.
fn is_better(new: &Link, others: &[Link]) -> bool {
    let is_quic = |link: &Link| link.addr.iter().any(|part| part == Protocol::QuicV1);
    let mut idle_tcp = others
        .iter()
        .map(|other| !is_quic(other) && other.streams() == 0);
    is_quic(new) && idle_tcp.all(|is_so| is_so)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::atomic::Ordering;

    use super::*;

    #[test]
    fn of_two_who_call_each_other_one_begins() {
        let (a, b) = (PeerId::random(), PeerId::random());
        assert!(
            begins(&a, &b, false) && begins(&b, &a, false),
            "who was called"
        );
        assert_ne!(begins(&a, &b, true), begins(&b, &a, true));
    }

    #[test]
    fn quic_takes_the_place_of_tcp_that_nobody_uses_and_of_nothing_else() {
        let link = |addr: &str| {
            let id = ConnectionId::new_unchecked(1);
            Link::new(id, addr.parse().unwrap(), false, true).0
        };
        let tcp = link("/ip4/203.0.113.7/tcp/4001");
        let quic = link("/ip4/203.0.113.7/udp/4001/quic-v1");
        assert!(is_better(&quic, std::slice::from_ref(&tcp)));
        assert!(!is_better(&tcp, std::slice::from_ref(&quic)));
        assert!(!is_better(&tcp, std::slice::from_ref(&tcp)));
        assert!(!is_better(&quic, &[tcp.clone(), quic.clone()]));
        tcp.lifeline.live.store(1, Ordering::Relaxed);
        assert!(!is_better(&quic, &[tcp]));
    }
}
