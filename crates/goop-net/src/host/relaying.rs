//! Doing what the relay plan says: dialling the relay, asking it, and showing how it stands.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use libp2p::Multiaddr;
use libp2p::swarm::ConnectionId;
use libp2p::swarm::dial_opts::{DialOpts, PeerCondition};
use tokio::task::JoinError;

use super::Host;
use super::dialling::in_words;
use crate::PeerId;
use crate::address;
use crate::circuit::hop::{self, Granted};
use crate::circuit::{CircuitError, HOP};
use crate::links::{OpenError, Opener};
use crate::relay::{Action, RelayInfo, Trouble};

/// What a relay said, and to which request.
pub(super) type Answer = (u64, Result<Granted, Trouble>);

impl Host {
    pub(super) fn set_relay(&mut self, info: Option<RelayInfo>) {
        let now = Instant::now();
        self.relay.set(info, now);
        let relay = self.relay.info().map(|info| info.peer);
        if relay != *self.relay_peer.borrow() {
            self.relay_dials.clear();
        }
        if let Some(relay) = relay {
            self.foreign_relays.remove(&relay);
            self.mapping.want(now);
        }
        if let Some(addr) = relay.and_then(|relay| self.links.direct_addr(&relay)) {
            self.relay.connected(addr, now);
        }
        self.relay_peer.send_if_modified(|seen| {
            let differs = *seen != relay;
            *seen = relay;
            differs
        });
        self.settle_relay(now);
    }

    /// Does what the plan says, and tells what changed. To be called after every change of the plan.
    pub(super) fn settle_relay(&mut self, now: Instant) {
        while let Some(action) = self.relay.next_action() {
            match action {
                Action::Dial { relay, addrs } => self.dial_relay(relay, addrs, now),
                Action::Reserve { relay, attempt } => {
                    metrics::counter!("goop_net_relay_reservations").increment(1);
                    let opener = self.opener();
                    // An earlier request may wait for a connection; of two at once the relay drops one.
                    self.reserving.abort_all();
                    self.reserving
                        .spawn(async move { (attempt, reserve(&opener, relay).await) });
                }
                // Nothing to close is fine.
                Action::Close { relay } => drop(self.swarm.disconnect_peer_id(relay)),
            }
        }
        let had = self.relay_info.borrow().1;
        let has = self.relay.has_circuit();
        self.relay_info
            .send_if_modified(|seen| match self.relay.info() {
                info if seen.0.as_ref() != info || seen.1 != has => {
                    *seen = (info.cloned(), has);
                    true
                }
                _ => false,
            });
        let state = self.relay.state();
        self.relay_state.send_if_modified(|seen| {
            let differs = *seen != state;
            if differs {
                tracing::info!(?state, "relay");
                *seen = state;
            }
            differs
        });
        self.refresh_published();
        if has && !had {
            // Others can reach us now, and we may reach those whom only a relay reaches.
            for row in self.table.rows() {
                if row.offline_since.is_none() && !row.reachable {
                    self.probe(row.id, None);
                }
            }
        }
    }

    fn dial_relay(&mut self, relay: PeerId, addrs: Vec<Multiaddr>, now: Instant) {
        // The dials of an earlier try are still under way and may yet succeed.
        if !self.relay_dials.is_empty() {
            return;
        }
        // WebSockets are dialled by themselves: together, whichever comes second would be dropped, and if that is TCP, the
        // system keeps our port from being used towards the relay for a minute. Then nobody sees it from outside any more.
        let (web, plain): (Vec<_>, Vec<_>) = addrs.into_iter().partition(address::is_web);
        let mut refused = None;
        for addrs in [plain, web] {
            if addrs.is_empty() {
                continue;
            }
            // From the port we listen on, so that the relay sees the mapping that others need.
            let opts = DialOpts::peer_id(relay)
                // A look over TCP, or a dial on a network that we left, is no reason to wait.
                .condition(PeerCondition::Always)
                .addresses(addrs)
                .build();
            let connection = opts.connection_id();
            match self.swarm.dial(opts) {
                Ok(()) => drop(self.relay_dials.insert(connection)),
                Err(error) => drop(refused.get_or_insert(error)),
            }
        }
        match refused {
            Some(error) if self.relay_dials.is_empty() => {
                self.relay.dial_failed(in_words(&error), now);
            }
            _ => {}
        }
    }

    /// A dial of the relay ended. Answers whether it was one of the plan's newest.
    pub(super) fn relay_dialled(&mut self, connection: ConnectionId) -> bool {
        self.relay_dials.remove(&connection)
    }

    /// The relay is connected. A WebSocket that comes after another way is one too many.
    pub(super) fn relay_is_there(
        &mut self,
        relay: PeerId,
        connection: ConnectionId,
        addr: &Multiaddr,
    ) {
        let dialled = self.relay_dialled(connection);
        let others = self.links.other_direct(&relay, connection);
        if dialled && address::is_web(addr) && !others.is_empty() {
            self.swarm.close_connection(connection);
            return;
        }
        if address::is_plain_tcp(addr) {
            // It is about to say where it sees our TCP port.
            self.looking.get_or_insert(connection);
        }
        let now = Instant::now();
        self.relay
            .connected(address::without_peer(addr.clone()), now);
        self.settle_relay(now);
        self.refresh_published();
    }

    pub(super) fn on_reserve_task(&mut self, answered: Result<Answer, JoinError>) {
        // Asking does not panic, and it is aborted only when the host ends.
        let Ok((attempt, answer)) = answered else {
            return;
        };
        let now = Instant::now();
        if let Err(trouble) = &answer {
            tracing::debug!(?trouble, "no reservation");
        }
        self.relay.answered(attempt, answer, now);
        self.settle_relay(now);
    }
}

async fn reserve(opener: &Opener, relay: PeerId) -> Result<Granted, Trouble> {
    let (_, stream) = opener
        .open(relay, &[HOP])
        .await
        .map_err(|error| match error {
            OpenError::NotSpoken => Trouble::Refused("it offers no relay".to_owned()),
            error => Trouble::Broken(error.to_string()),
        })?;
    let clock = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    hop::reserve(stream, relay, clock.as_secs())
        .await
        .map_err(|error| match error {
            CircuitError::Refused(status) => Trouble::Refused(status.to_string()),
            error => Trouble::Broken(error.to_string()),
        })
}
