//! Reaching a peer through a relay when it cannot be reached directly, as a value beside the
//! [`DialPlan`](crate::dial::DialPlan).
//!
//! A circuit costs a stranger's bandwidth, so it is made only when somebody needs the peer, and direct addresses always
//! get a head start (the library's own racing gives none to those of a LAN). The direct dial goes on meanwhile.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use goop_identity::PeerId;

use crate::address::Circuit;

/// The head start of direct addresses. A LAN answers in milliseconds. Far away a direct connection is made in one or two
/// round trips, and one through a relay takes four: so it wins there too, and who waits for a page does not wait long for
/// addresses that nobody answers at. (A Go peer gives 500 ms, network.md 2.2.)
pub const HEAD_START: Duration = Duration::from_millis(150);
/// Most peers with a way through a relay; one that nobody needs, heard of longest ago, makes room.
pub const MAX_PEERS: usize = 12_000;
/// First pause after a circuit failed …
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// … and the longest: who needs the peer waits for its end, so it is shorter than a person's patience.
const LONGEST_PAUSE: Duration = Duration::from_secs(8);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Idle,
    /// Somebody needs the peer; the circuit is due then.
    Waiting {
        at: Instant,
    },
    Dialling,
    Connected,
}

#[derive(Debug)]
struct Way {
    circuits: Vec<Circuit>,
    state: State,
    failures: u32,
    not_before: Instant,
    heard: Instant,
}

/// Who may be reached through which relay, and when that is tried.
#[derive(Debug, Default)]
pub struct Fallback {
    ways: BTreeMap<PeerId, Way>,
    due: BTreeSet<(Instant, PeerId)>,
}

impl Fallback {
    /// Nobody yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A record says through which relays the peer can be reached. It is the whole truth: what it does not name is
    /// forgotten. A way not heard of before ends a running pause.
    pub fn learn(&mut self, peer: PeerId, circuits: Vec<Circuit>, now: Instant) {
        if circuits.is_empty() && !self.ways.contains_key(&peer) {
            return;
        }
        let Some(way) = self.way(peer, now) else {
            return;
        };
        if circuits
            .iter()
            .any(|circuit| !way.circuits.contains(circuit))
        {
            way.failures = 0;
            way.not_before = now;
        }
        way.circuits = circuits;
        way.heard = now;
    }

    fn way(&mut self, peer: PeerId, now: Instant) -> Option<&mut Way> {
        if !self.ways.contains_key(&peer) && self.ways.len() >= MAX_PEERS {
            let idle = self.ways.iter().filter(|(_, way)| way.state == State::Idle);
            let oldest = idle
                .min_by_key(|(_, way)| way.heard)
                .map(|(peer, _)| *peer)?;
            self.ways.remove(&oldest);
        }
        Some(self.ways.entry(peer).or_insert_with(|| Way {
            circuits: Vec::new(),
            state: State::Idle,
            failures: 0,
            not_before: now,
            heard: now,
        }))
    }

    /// The ways through relays that the peer told.
    #[must_use]
    pub fn circuits(&self, peer: &PeerId) -> &[Circuit] {
        self.ways.get(peer).map_or(&[], |way| &way.circuits)
    }

    /// Somebody needs the peer. With a direct dial under way that one gets its head start. A pause after a failure is
    /// waited for, so that nobody can make us knock at a relay in a row.
    pub fn want(&mut self, peer: PeerId, direct_under_way: bool, now: Instant) {
        let Some(way) = self.way(peer, now) else {
            return;
        };
        if way.state != State::Idle {
            return;
        }
        let start = if direct_under_way {
            now + HEAD_START
        } else {
            now
        };
        let at = start.max(way.not_before);
        self.enter(&peer, State::Waiting { at });
    }

    /// The direct dial failed: no reason to wait for it any more.
    pub fn direct_failed(&mut self, peer: &PeerId, now: Instant) {
        if let Some(way) = self.ways.get(peer)
            && let State::Waiting { at } = way.state
        {
            let at = at.min(now.max(way.not_before));
            self.enter(peer, State::Waiting { at });
        }
    }

    /// A direct connection came up: no circuit is needed.
    pub fn direct_connected(&mut self, peer: &PeerId) {
        if let Some(State::Waiting { .. }) = self.ways.get(peer).map(|way| way.state) {
            self.enter(peer, State::Idle);
        }
    }

    /// Whether a circuit is being made or about to be.
    #[must_use]
    pub fn is_under_way(&self, peer: &PeerId) -> bool {
        self.ways
            .get(peer)
            .is_some_and(|way| matches!(way.state, State::Waiting { .. } | State::Dialling))
    }

    /// When somebody is due.
    #[must_use]
    pub fn next_wake(&self) -> Option<Instant> {
        self.due.first().map(|(at, _)| *at)
    }

    /// A peer to dial through a relay now; it counts as being dialled.
    pub fn next_due(&mut self, now: Instant) -> Option<PeerId> {
        let (_, peer) = self.due.first().copied().filter(|(at, _)| *at <= now)?;
        self.enter(&peer, State::Dialling);
        Some(peer)
    }

    /// A circuit to or from the peer is there.
    pub fn connected(&mut self, peer: PeerId, now: Instant) {
        if let Some(way) = self.way(peer, now) {
            way.failures = 0;
            way.not_before = now;
            self.enter(&peer, State::Connected);
        }
    }

    /// The last circuit to the peer ended.
    pub fn disconnected(&mut self, peer: &PeerId) {
        if let Some(State::Connected) = self.ways.get(peer).map(|way| way.state) {
            self.enter(peer, State::Idle);
        }
    }

    /// A circuit was not to be had: the next one waits longer.
    pub fn failed(&mut self, peer: &PeerId, now: Instant) {
        let Some(way) = self
            .ways
            .get_mut(peer)
            .filter(|way| way.state == State::Dialling)
        else {
            return;
        };
        let pause = FIRST_PAUSE
            .saturating_mul(1 << way.failures.min(6))
            .min(LONGEST_PAUSE);
        way.failures += 1;
        way.not_before = now + pause;
        self.enter(peer, State::Idle);
    }

    /// The peer left.
    pub fn forget(&mut self, peer: &PeerId) {
        match self.ways.get_mut(peer) {
            Some(way) if matches!(way.state, State::Dialling | State::Connected) => {
                way.circuits.clear();
            }
            Some(_) => {
                self.enter(peer, State::Idle);
                self.ways.remove(peer);
            }
            None => {}
        }
    }

    /// How many peers have a way here.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ways.len()
    }

    /// Whether nobody has.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ways.is_empty()
    }

    fn enter(&mut self, peer: &PeerId, state: State) {
        let Some(way) = self.ways.get_mut(peer) else {
            return;
        };
        if let State::Waiting { at } = std::mem::replace(&mut way.state, state) {
            self.due.remove(&(at, *peer));
        }
        if let State::Waiting { at } = state {
            self.due.insert((at, *peer));
        }
    }
}
