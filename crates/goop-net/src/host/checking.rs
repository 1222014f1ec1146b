//! Asking others whether strangers reach us, and dialling for others who ask (`autonat`).
//!
//! The connection of such a dial is for one short proof. It stands aside: nobody opens streams on it while there is another
//! one, and nothing is concluded from it.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use libp2p::Multiaddr;
use libp2p::multiaddr::Protocol;
use libp2p::swarm::dial_opts::{DialOpts, PeerCondition};
use libp2p::swarm::{ConnectionId, DialError};
use rand::seq::SliceRandom;
use tokio::sync::oneshot;
use tokio::task::{JoinError, JoinSet};

use super::Host;
use crate::PeerId;
use crate::address::{Vicinity, ip_of, network_of, without_peer};
use crate::autonat::checks::{Checks, Judge, Question, Verdict};
use crate::autonat::{self, AutonatError, Dialled, Told};
use crate::links::Link;

/// Packets from the port we listen on let answers in for this long, with most routers (RFC 4787, REQ-5).
const KNOCKED: Duration = Duration::from_secs(5 * 60);
/// Addresses that are remembered for it.
const MAX_KNOCKED: usize = 1_024;

/// From where others and we look at addresses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Around {
    pub(super) vicinity: Vicinity,
    /// Where we are, and our router is.
    pub(super) ours: Vec<IpAddr>,
}

/// Proofs that we wait for.
#[derive(Debug, Clone, Default)]
pub(super) struct Proofs(Arc<Mutex<HashMap<u64, (PeerId, bool)>>>);

impl Proofs {
    fn with<T>(&self, act: impl FnOnce(&mut HashMap<u64, (PeerId, bool)>) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn expect(&self, nonce: u64, of: PeerId) {
        self.with(|proofs| proofs.insert(nonce, (of, false)));
    }

    /// A peer brings one. Answers whether it was asked for.
    pub(super) fn came(&self, nonce: u64, from: PeerId) -> bool {
        self.with(|proofs| match proofs.get_mut(&nonce) {
            Some((of, came)) if *of == from => {
                *came = true;
                true
            }
            _ => false,
        })
    }

    /// Waits no longer. Answers whether it came.
    fn take(&self, nonce: u64) -> bool {
        self.with(|proofs| proofs.remove(&nonce).is_some_and(|(_, came)| came))
    }
}

type Answer = (Question, Result<Told, AutonatError>);
type Delivered = (ConnectionId, Dialled);

/// Something that was waited for.
#[derive(Debug)]
pub(super) enum Done {
    Asked(Result<Answer, JoinError>),
    Delivered(Result<Delivered, JoinError>),
}

/// A dial for somebody else.
#[derive(Debug)]
struct Errand {
    nonce: u64,
    reply: oneshot::Sender<Dialled>,
}

/// Both sides of it.
#[derive(Debug)]
pub(super) struct Checking {
    checks: Checks,
    proofs: Proofs,
    asking: JoinSet<Answer>,
    /// Dials for others that are under way.
    errands: HashMap<ConnectionId, Errand>,
    /// Those that came through and are being proven.
    proving: HashMap<ConnectionId, oneshot::Sender<Dialled>>,
    delivering: JoinSet<Delivered>,
    /// Whom packets went to from the port we listen on, over UDP or not, and when last.
    knocked: HashMap<(IpAddr, bool), Instant>,
}

impl Checking {
    pub(super) fn new(proofs: Proofs, now: Instant) -> Self {
        Self {
            checks: Checks::new(now),
            proofs,
            asking: JoinSet::new(),
            errands: HashMap::new(),
            proving: HashMap::new(),
            delivering: JoinSet::new(),
            knocked: HashMap::new(),
        }
    }

    pub(super) fn next_wake(&self) -> Option<Instant> {
        self.checks.next_wake()
    }

    /// Packets go to somebody from the port we listen on.
    pub(super) fn knock(&mut self, addr: &Multiaddr, now: Instant) {
        let Some(ip) = ip_of(addr) else { return };
        let recent = |at: &mut Instant| now.saturating_duration_since(*at) < KNOCKED;
        if self.knocked.len() >= MAX_KNOCKED {
            self.knocked.retain(|_, at| recent(at));
        }
        if self.knocked.len() < MAX_KNOCKED {
            self.knocked.insert((ip, is_udp(addr)), now);
        }
    }

    fn is_stranger(&self, ip: IpAddr, udp: bool, now: Instant) -> bool {
        let at = self.knocked.get(&(ip, udp));
        at.is_none_or(|at| now.saturating_duration_since(*at) >= KNOCKED)
    }

    pub(super) async fn next(&mut self) -> Option<Done> {
        tokio::select! {
            Some(answered) = self.asking.join_next() => Some(Done::Asked(answered)),
            Some(delivered) = self.delivering.join_next() => Some(Done::Delivered(delivered)),
            else => None,
        }
    }

    pub(super) fn with(&self, verdict: Verdict) -> Vec<Multiaddr> {
        self.checks.with(verdict)
    }

    pub(super) async fn shutdown(&mut self) {
        self.asking.shutdown().await;
        self.delivering.shutdown().await;
    }
}

fn is_udp(addr: &Multiaddr) -> bool {
    addr.iter().any(|part| matches!(part, Protocol::Udp(_)))
}

impl Host {
    /// The addresses at which strangers may reach us.
    pub(super) fn set_checked(&mut self, candidates: &[Multiaddr]) {
        let vicinity = self.vicinity;
        let worth = candidates
            .iter()
            .filter(|addr| vicinity.for_strangers(addr))
            .cloned();
        self.checking.checks.set(worth, Instant::now());
        let ours = self.our_ips();
        let around = Around { vicinity, ours };
        self.around.send_if_modified(|seen| {
            let differs = *seen != around;
            *seen = around;
            differs
        });
    }

    /// Whoever is at one of these is no stranger, and dialled from there we look as we do from within.
    fn our_ips(&self) -> Vec<IpAddr> {
        if self.vicinity.is_loopback() {
            return Vec::new();
        }
        let seen = self.observed.by_relay();
        let ours = self.own_addrs.iter().chain(&seen).filter_map(ip_of);
        let mut ours: Vec<IpAddr> = ours.collect();
        ours.sort_unstable();
        ours.dedup();
        ours
    }

    /// What was found out about our addresses counts no more.
    pub(super) fn check_anew(&mut self, now: Instant) {
        self.checking.knocked.clear();
        if self.checking.checks.moved(now) {
            self.refresh_published();
        }
    }

    /// Somebody said what it speaks.
    pub(super) fn consider_asking(&mut self, peer: &PeerId, now: Instant) {
        if self.links.speaks(peer, autonat::REQUEST.as_ref()) == Some(true) {
            self.checking.checks.judge_came(now);
        }
    }

    /// Asks the next question, if there is one.
    pub(super) fn check(&mut self, now: Instant) {
        if self.checking.next_wake().is_none_or(|at| at > now) {
            return;
        }
        let judges = self.judges(now);
        let Some(question) = self.checking.checks.next(&judges, now) else {
            return;
        };
        metrics::counter!("goop_net_checks").increment(1);
        let (proofs, links) = (self.checking.proofs.clone(), self.links.clone());
        let nonce = rand::random();
        let peer = question.judge.peer;
        proofs.expect(nonce, peer);
        // What it dials now is for the proof alone.
        links.expect_aside(peer);
        let opener = self.opener();
        self.checking.asking.spawn(async move {
            let asked = match opener.open(peer, &[autonat::REQUEST]).await {
                Ok((_, stream)) => autonat::ask(stream, &question.addr, nonce).await,
                Err(_) => Ok(Told::Unknown),
            };
            links.expect_no_more(&peer);
            let came = proofs.take(nonce);
            let told = asked.map(|told| match told {
                Told::Reached if !came => Told::Unknown,
                told => told,
            });
            (question, told)
        });
    }

    /// Who can tell how we look to strangers: peers beyond our own network that we did not knock at.
    fn judges(&self, now: Instant) -> Vec<Judge> {
        let ours = self.our_ips();
        let mut judges = Vec::new();
        for (peer, links) in self.links.snapshot() {
            let speaks = || self.links.speaks(&peer, autonat::REQUEST.as_ref()) == Some(true);
            if self.relay.is_relay(&peer) || !speaks() {
                continue;
            }
            let direct = links.iter().filter(|link| !link.relayed);
            let mut ips = direct
                .map(|link| without_peer(link.addr.clone()))
                .filter(|addr| self.vicinity.for_strangers(addr))
                .filter_map(|addr| ip_of(&addr));
            let is_near = |ip: &IpAddr| ours.iter().any(|own| network_of(*own) == network_of(*ip));
            let ip = ips.find(|ip| !is_near(ip));
            if let Some(ip) = ip {
                // A way through a hole stays open as long as it is used.
                let punched = |udp| {
                    let mut punched = links
                        .iter()
                        .filter(|link| self.punching.was_punched(link.id));
                    punched.any(|link| is_udp(&link.addr) == udp)
                };
                let stranger = |udp| !punched(udp) && self.checking.is_stranger(ip, udp, now);
                judges.push(Judge {
                    peer,
                    ip,
                    for_udp: stranger(true),
                    for_tcp: stranger(false),
                });
            }
        }
        // Everybody knows the same peers in the same order; nobody is to be asked by all.
        judges.shuffle(&mut rand::rng());
        judges
    }

    /// Neither task panics, and both are aborted only when the host ends.
    pub(super) fn on_checking(&mut self, done: Done) {
        match done {
            Done::Asked(Ok((question, told))) => self.on_answer(&question, told),
            Done::Delivered(Ok((connection, dialled))) => self.on_delivered(connection, dialled),
            Done::Asked(Err(_)) | Done::Delivered(Err(_)) => {}
        }
    }

    fn on_answer(&mut self, question: &Question, told: Result<Told, AutonatError>) {
        let told = told.unwrap_or_else(|error| {
            tracing::debug!(peer = %question.judge.peer, %error, "it was not found out whether strangers reach us");
            Told::Unknown
        });
        tracing::debug!(peer = %question.judge.peer, addr = %question.addr, ?told, "asked whether strangers reach us");
        if self
            .checking
            .checks
            .answered(question, told, Instant::now())
        {
            tracing::info!(addr = %question.addr, reached = (told == Told::Reached), "strangers looked for us");
            self.refresh_published();
        }
    }

    /// Somebody has one of its addresses dialled. What it may have dialled was decided before.
    pub(super) fn dial_back(
        &mut self,
        peer: PeerId,
        addr: Multiaddr,
        nonce: u64,
        reply: oneshot::Sender<Dialled>,
    ) {
        if !self.links.is_direct(&peer) {
            let _ = reply.send(Dialled::Not);
            return;
        }
        let opts = DialOpts::peer_id(peer)
            .condition(PeerCondition::Always)
            .addresses(vec![addr])
            // A router may let in what comes from the port it knows.
            .allocate_new_port()
            .build();
        let connection = opts.connection_id();
        self.links.put_aside(connection);
        metrics::counter!("goop_net_dials_for_others").increment(1);
        match self.swarm.dial(opts) {
            Ok(()) => drop(
                self.checking
                    .errands
                    .insert(connection, Errand { nonce, reply }),
            ),
            Err(_) => {
                self.links.aside_no_more(connection);
                let _ = reply.send(Dialled::Not);
            }
        }
    }

    /// A connection came up. Whether it is for a proof alone, ours or somebody else's.
    pub(super) fn is_for_proof(&mut self, peer: &PeerId, connection: ConnectionId) -> bool {
        if let Some(errand) = self.checking.errands.remove(&connection) {
            self.checking.proving.insert(connection, errand.reply);
            if let Some(link) = self.links.link(peer, connection) {
                self.checking.delivering.spawn(deliver(link, errand.nonce));
            }
            return true;
        }
        self.links.is_aside(peer, connection)
    }

    /// A proof was brought, or not: the connection has served its purpose.
    fn on_delivered(&mut self, connection: ConnectionId, dialled: Dialled) {
        if let Some(reply) = self.checking.proving.remove(&connection) {
            // Who asked may have given up.
            let _ = reply.send(dialled);
        }
        self.swarm.close_connection(connection);
    }

    /// Whether a failed dial was one for somebody else.
    pub(super) fn dial_back_failed(&mut self, connection: ConnectionId, error: &DialError) -> bool {
        let Some(errand) = self.checking.errands.remove(&connection) else {
            return false;
        };
        self.links.aside_no_more(connection);
        let _ = errand.reply.send(match error {
            DialError::Transport(_) | DialError::WrongPeerId { .. } => Dialled::NoAnswer,
            _ => Dialled::Not,
        });
        true
    }

    /// A connection ended, maybe before its proof was brought.
    pub(super) fn proof_gone(&mut self, connection: ConnectionId) {
        self.links.aside_no_more(connection);
        if let Some(reply) = self.checking.proving.remove(&connection) {
            let _ = reply.send(Dialled::NotProven);
        }
    }
}

async fn deliver(link: Link, nonce: u64) -> Delivered {
    let dialled = match link.open([autonat::DIAL_BACK].into()).await {
        Some(Ok((_, stream))) => autonat::dial_back(stream, nonce).await.is_ok(),
        _ => false,
    };
    let dialled = if dialled {
        Dialled::Proven
    } else {
        Dialled::NotProven
    };
    (link.id, dialled)
}
