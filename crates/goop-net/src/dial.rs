//! The dial plan as a value: whom to dial where, how often, and when to stop trying.
//!
//! Addresses come from mDNS, presence and earlier runs. The Go program dials on every heartbeat, one task a message;
//! here a peer is dialled once at a time, with growing pauses, only while something says it is there.

use std::collections::{BTreeSet, HashMap};
use std::time::{Duration, Instant};

use goop_identity::PeerId;
use libp2p::Multiaddr;
use rand::RngExt;

/// Most addresses that are kept for one peer.
const MAX_ADDRS: usize = 24;
/// Most peers with addresses; the one heard of longest ago makes room.
const MAX_PEERS: usize = 12_000;
/// Most peers dialled at once.
const MAX_DIALLING: usize = 16;
/// First pause after a failed dial …
const FIRST_PAUSE: Duration = Duration::from_millis(500);
/// … and the longest.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// Two peers that hear of each other would both dial and get two connections. The one with the larger id lets the
/// other one go first for this long.
const COURTESY: Duration = Duration::from_millis(60);

#[derive(Debug)]
struct Plan {
    addrs: Vec<Multiaddr>,
    state: State,
    failures: u32,
    heard: Instant,
    wanted_until: Instant,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Idle { not_before: Instant },
    Dialling,
    Connected,
}

/// Whom to dial where.
#[derive(Debug)]
pub struct DialPlan {
    me: PeerId,
    peers: HashMap<PeerId, Plan>,
    due: BTreeSet<(Instant, PeerId)>,
    dialling: usize,
}

impl DialPlan {
    /// An empty plan of the peer `me`.
    #[must_use]
    pub fn new(me: PeerId) -> Self {
        Self { me, peers: HashMap::new(), due: BTreeSet::new(), dialling: 0 }
    }

    /// Somebody said that a peer listens at `addrs`, and it is worth dialling it for as long as `wanted`.
    ///
    /// Newest addresses come first, old ones fall off the end. An address not seen before ends a running pause: the
    /// peer came back somewhere else.
    pub fn learn(&mut self, peer: PeerId, addrs: Vec<Multiaddr>, wanted: Duration, now: Instant) {
        if addrs.is_empty() || peer == self.me || (!self.peers.contains_key(&peer) && !self.make_room()) {
            return;
        }
        let courtesy = if self.me > peer { COURTESY } else { Duration::ZERO };
        let plan = self.peers.entry(peer).or_insert_with(|| Plan {
            addrs: Vec::new(),
            state: State::Idle { not_before: now + courtesy },
            failures: 0,
            heard: now,
            wanted_until: now,
        });
        plan.heard = now;
        plan.wanted_until = plan.wanted_until.max(now + wanted);
        let is_new = addrs.iter().any(|addr| !plan.addrs.contains(addr));
        let older = plan.addrs.iter().filter(|addr| !addrs.contains(addr)).cloned().collect::<Vec<_>>();
        plan.addrs = addrs.into_iter().chain(older).take(MAX_ADDRS).collect();
        let state = match plan.state {
            State::Idle { .. } if is_new => {
                plan.failures = 0;
                State::Idle { not_before: now + courtesy }
            }
            other => other,
        };
        self.enter(&peer, state);
    }

    fn make_room(&mut self) -> bool {
        if self.peers.len() < MAX_PEERS {
            return true;
        }
        let idle = self.peers.iter().filter(|(_, plan)| matches!(plan.state, State::Idle { .. }));
        let oldest = idle.min_by_key(|(_, plan)| plan.heard).map(|(peer, _)| *peer);
        oldest.is_some_and(|peer| {
            self.forget(&peer);
            true
        })
    }

    /// Moves a peer to a state and keeps the list of what is due in step.
    fn enter(&mut self, peer: &PeerId, state: State) {
        let Some(plan) = self.peers.get_mut(peer) else { return };
        if let State::Idle { not_before } = plan.state {
            self.due.remove(&(not_before, *peer));
        }
        self.dialling -= usize::from(plan.state == State::Dialling);
        self.dialling += usize::from(state == State::Dialling);
        plan.state = state;
        if let State::Idle { not_before } = state
            && plan.wanted_until > not_before
        {
            self.due.insert((not_before, *peer));
        }
    }

    /// When somebody is due.
    #[must_use]
    pub fn next_wake(&self) -> Option<Instant> {
        if self.dialling >= MAX_DIALLING { None } else { self.due.first().map(|(at, _)| *at) }
    }

    /// A peer to dial now; it counts as being dialled.
    pub fn next_due(&mut self, now: Instant) -> Option<PeerId> {
        if self.dialling >= MAX_DIALLING {
            return None;
        }
        let (_, peer) = self.due.first().copied().filter(|(at, _)| *at <= now)?;
        self.enter(&peer, State::Dialling);
        Some(peer)
    }

    /// Somebody needs this peer now, whatever the pauses say. Answers whether to dial; if not, a dial is under way,
    /// or nobody knows where.
    pub fn take(&mut self, peer: &PeerId) -> bool {
        match self.peers.get(peer).map(|plan| plan.state) {
            Some(State::Idle { .. }) => {
                self.enter(peer, State::Dialling);
                true
            }
            _ => false,
        }
    }

    /// Whether a dial is under way.
    #[must_use]
    pub fn is_dialling(&self, peer: &PeerId) -> bool {
        self.peers.get(peer).is_some_and(|plan| plan.state == State::Dialling)
    }

    /// Where the peer may be dialled.
    #[must_use]
    pub fn addrs(&self, peer: &PeerId) -> &[Multiaddr] {
        self.peers.get(peer).map_or(&[], |plan| &plan.addrs)
    }

    /// A connection came up.
    pub fn connected(&mut self, peer: &PeerId) {
        self.enter(peer, State::Connected);
        if let Some(plan) = self.peers.get_mut(peer) {
            plan.failures = 0;
        }
    }

    /// The last connection went down; if the peer is still wanted it is dialled again soon.
    pub fn disconnected(&mut self, peer: &PeerId, now: Instant) {
        self.pause(peer, now);
    }

    /// A dial failed: wait longer each time.
    pub fn failed(&mut self, peer: &PeerId, now: Instant) {
        if self.is_dialling(peer) {
            self.pause(peer, now);
        }
    }

    fn pause(&mut self, peer: &PeerId, now: Instant) {
        let Some(plan) = self.peers.get_mut(peer) else { return };
        let pause = FIRST_PAUSE.saturating_mul(1 << plan.failures.min(7)).min(LONGEST_PAUSE);
        plan.failures += 1;
        // Jitter, so that two sides do not fail in step.
        let not_before = now + pause.mul_f64(rand::rng().random_range(0.75..1.25));
        self.enter(peer, State::Idle { not_before });
    }

    /// The peer left; nobody dials it until somebody says again where it is.
    pub fn forget(&mut self, peer: &PeerId) {
        if let Some(State::Idle { not_before }) = self.peers.get(peer).map(|plan| plan.state) {
            self.due.remove(&(not_before, *peer));
            self.peers.remove(peer);
        } else if let Some(plan) = self.peers.get_mut(peer) {
            plan.wanted_until = plan.heard;
        }
    }
}
