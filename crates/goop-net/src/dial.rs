//! The dial plan as a value: whom to dial where, how often, and when to stop trying.
//!
//! Addresses come from mDNS, presence and earlier runs. The Go program dials on every heartbeat, one task a message;
//! here a peer is dialled once at a time, with growing pauses, only while something says it is there.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use goop_identity::PeerId;
use libp2p::Multiaddr;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

/// Most addresses that are kept for one peer.
pub const MAX_ADDRS: usize = 24;
/// Most peers with addresses; one that nobody wants, heard of longest ago, makes room.
pub const MAX_PEERS: usize = 12_000;
/// Most peers dialled at once because they were announced. Addresses that nobody answers at hold a place for seconds,
/// so it must be many; each costs a handshake that may be answered, so it must not be all.
pub const MAX_DIALLING: usize = 32;
/// First pause after a failed dial …
const FIRST_PAUSE: Duration = Duration::from_millis(500);
/// … and the longest.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// The longest while the peer is connected through a relay: it cannot be reached directly from here, and only a change
/// of its network or ours makes that different.
const LONGEST_PAUSE_RELAYED: Duration = Duration::from_secs(300);
/// A peer that announces ever new addresses ends its pause no more often than this: it could make us knock at doors
/// that it chooses.
const NEW_ADDRESS_PAUSE: Duration = Duration::from_secs(5);
/// Pauses end this soon after our own network changed: routes and names have to settle.
const MOVED: Duration = Duration::from_secs(1);
/// So many failures at old addresses still count at new ones, for the same reason.
const FAILURES_KEPT: u32 = 3;
/// No time is wanted for longer; nothing sensible comes near, and the clock must not overflow.
const LONGEST_WANTED: Duration = Duration::from_secs(24 * 3_600);
/// Two peers that hear of each other would both dial and get two connections. The one with the larger id lets the
/// other one go first for this long.
const COURTESY: Duration = Duration::from_millis(60);

#[derive(Debug)]
struct Plan {
    addrs: Vec<Multiaddr>,
    /// Where a dial succeeded last. Rumours do not push it out.
    proven: Option<Multiaddr>,
    state: State,
    failures: u32,
    heard: Instant,
    /// The last dial began.
    dialled: Option<Instant>,
    wanted_until: Instant,
    /// It is connected through a relay.
    relayed: bool,
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
    rng: StdRng,
    peers: BTreeMap<PeerId, Plan>,
    due: BTreeSet<(Instant, PeerId)>,
    dialling: usize,
}

impl DialPlan {
    /// An empty plan of the peer `me`.
    #[must_use]
    pub fn new(me: PeerId) -> Self {
        Self::seeded(me, rand::random())
    }

    /// A plan whose jitter follows from `seed`, for tests that can be repeated.
    #[must_use]
    pub fn seeded(me: PeerId, seed: u64) -> Self {
        let rng = StdRng::seed_from_u64(seed);
        Self {
            me,
            rng,
            peers: BTreeMap::new(),
            due: BTreeSet::new(),
            dialling: 0,
        }
    }

    /// Somebody said that a peer listens at `addrs`, and it is worth dialling it for as long as `wanted`.
    ///
    /// The address that worked last comes first, then the newest; old ones fall off the end. An address not seen
    /// before shortens a running pause: the peer came back somewhere else.
    pub fn learn(&mut self, peer: PeerId, addrs: Vec<Multiaddr>, wanted: Duration, now: Instant) {
        if addrs.is_empty()
            || peer == self.me
            || (!self.peers.contains_key(&peer) && !self.make_room(now))
        {
            return;
        }
        let courtesy = if self.me > peer {
            COURTESY
        } else {
            Duration::ZERO
        };
        let plan = self.peers.entry(peer).or_insert_with(|| Plan {
            addrs: Vec::new(),
            proven: None,
            state: State::Idle {
                not_before: now + courtesy,
            },
            failures: 0,
            heard: now,
            dialled: None,
            wanted_until: now,
            relayed: false,
        });
        plan.heard = now;
        plan.wanted_until = plan.wanted_until.max(now + wanted.min(LONGEST_WANTED));
        let is_new = addrs.iter().any(|addr| !plan.addrs.contains(addr));
        let mut merged: Vec<Multiaddr> = plan.proven.clone().into_iter().collect();
        for addr in addrs.into_iter().chain(std::mem::take(&mut plan.addrs)) {
            if merged.len() < MAX_ADDRS && !merged.contains(&addr) {
                merged.push(addr);
            }
        }
        plan.addrs = merged;
        if is_new {
            plan.failures = plan.failures.min(FAILURES_KEPT);
        }
        let state = match plan.state {
            State::Idle { not_before } if is_new => {
                let soon = plan
                    .dialled
                    .map_or(now, |last| now.max(last + NEW_ADDRESS_PAUSE))
                    + courtesy;
                State::Idle {
                    not_before: not_before.min(soon),
                }
            }
            other => other,
        };
        self.enter(&peer, state);
    }

    fn make_room(&mut self, now: Instant) -> bool {
        if self.peers.len() < MAX_PEERS {
            return true;
        }
        let idle = self
            .peers
            .iter()
            .filter(|(_, plan)| matches!(plan.state, State::Idle { .. }));
        let oldest = idle
            .min_by_key(|(_, plan)| (plan.wanted_until > now, plan.heard))
            .map(|(peer, _)| *peer);
        oldest.is_some_and(|peer| {
            self.forget(&peer);
            true
        })
    }

    /// Moves a peer to a state and keeps the list of what is due in step.
    fn enter(&mut self, peer: &PeerId, state: State) {
        let Some(plan) = self.peers.get_mut(peer) else {
            return;
        };
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
        if self.dialling >= MAX_DIALLING {
            None
        } else {
            self.due.first().map(|(at, _)| *at)
        }
    }

    /// A peer to dial now; it counts as being dialled.
    pub fn next_due(&mut self, now: Instant) -> Option<PeerId> {
        if self.dialling >= MAX_DIALLING {
            return None;
        }
        let (_, peer) = self.due.first().copied().filter(|(at, _)| *at <= now)?;
        self.begin(&peer, now);
        Some(peer)
    }

    /// Somebody needs this peer now, whatever the pauses say. Answers whether to dial; if not, a dial is under way,
    /// or nobody knows where.
    pub fn take(&mut self, peer: &PeerId, now: Instant) -> bool {
        match self.peers.get(peer).map(|plan| plan.state) {
            Some(State::Idle { .. }) => {
                self.begin(peer, now);
                true
            }
            _ => false,
        }
    }

    fn begin(&mut self, peer: &PeerId, now: Instant) {
        self.enter(peer, State::Dialling);
        if let Some(plan) = self.peers.get_mut(peer) {
            plan.dialled = Some(now);
        }
    }

    /// Whether a dial is under way.
    #[must_use]
    pub fn is_dialling(&self, peer: &PeerId) -> bool {
        self.peers
            .get(peer)
            .is_some_and(|plan| plan.state == State::Dialling)
    }

    /// Where the peer may be dialled.
    #[must_use]
    pub fn addrs(&self, peer: &PeerId) -> &[Multiaddr] {
        self.peers.get(peer).map_or(&[], |plan| &plan.addrs)
    }

    /// How many peers have addresses here.
    #[must_use]
    pub fn len(&self) -> usize {
        self.peers.len()
    }

    /// Whether nobody has an address here.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.peers.is_empty()
    }

    /// A connection came up; `dialled` is where, if we dialled it.
    pub fn connected(&mut self, peer: &PeerId, dialled: Option<Multiaddr>) {
        self.enter(peer, State::Connected);
        if let Some(plan) = self.peers.get_mut(peer) {
            plan.failures = 0;
            if dialled.is_some() {
                plan.proven = dialled;
            }
        }
    }

    /// The last connection went down; if the peer is still wanted it is dialled again soon.
    pub fn disconnected(&mut self, peer: &PeerId, now: Instant) {
        self.pause(peer, now);
    }

    /// Whether the peer is connected through a relay. It is dialled directly all the same, only less often.
    pub fn set_relayed(&mut self, peer: &PeerId, relayed: bool) {
        if let Some(plan) = self.peers.get_mut(peer) {
            plan.relayed = relayed;
        }
    }

    /// The peer dials us now, somebody says: a pause ends, but no more often than for a new address.
    pub fn hint(&mut self, peer: &PeerId, now: Instant) {
        let Some(plan) = self.peers.get(peer) else {
            return;
        };
        if let State::Idle { not_before } = plan.state {
            let soon = plan
                .dialled
                .map_or(now, |last| now.max(last + NEW_ADDRESS_PAUSE));
            self.enter(
                peer,
                State::Idle {
                    not_before: not_before.min(soon),
                },
            );
        }
    }

    /// Our network changed: who could not be reached before may be now, so pauses end, for the nearest
    /// [`MAX_DIALLING`] peers at a time and not in step with everybody else who lost the same network. Dials under way
    /// began on the old network; whoever they were for is due again, and what becomes of them is not to be told here.
    pub fn moved(&mut self, now: Instant) {
        let paused = self.due.iter().map(|(_, peer)| *peer);
        let dialling = self.peers.iter().filter_map(|(peer, plan)| {
            let under_way = plan.state == State::Dialling;
            under_way.then_some(*peer)
        });
        let peers: Vec<PeerId> = paused.chain(dialling).collect();
        for peer in peers {
            let soon = now + MOVED.mul_f64(self.rng.random_range(0.5..1.0));
            let Some(plan) = self.peers.get_mut(&peer) else {
                continue;
            };
            plan.failures = plan.failures.min(FAILURES_KEPT);
            let not_before = match plan.state {
                State::Idle { not_before } => not_before.min(soon),
                State::Dialling => soon,
                State::Connected => continue,
            };
            self.enter(&peer, State::Idle { not_before });
        }
    }

    /// A dial failed: wait longer each time.
    pub fn failed(&mut self, peer: &PeerId, now: Instant) {
        if self.is_dialling(peer) {
            self.pause(peer, now);
        }
    }

    fn pause(&mut self, peer: &PeerId, now: Instant) {
        let Some(plan) = self.peers.get_mut(peer) else {
            return;
        };
        let longest = if plan.relayed {
            LONGEST_PAUSE_RELAYED
        } else {
            LONGEST_PAUSE
        };
        let pause = FIRST_PAUSE
            .saturating_mul(1 << plan.failures.min(10))
            .min(longest);
        plan.failures = plan.failures.saturating_add(1);
        // Jitter, so that two sides do not fail in step.
        let not_before = now + pause.mul_f64(self.rng.random_range(0.75..1.25));
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
