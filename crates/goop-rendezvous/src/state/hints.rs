//! Hints for hole punching: two peers are told of each other at the same time, so that both dial (rendezvous.md 8).
//!
//! When a peer comes, or its addresses change, it gets one round: it is paired with everybody else who has addresses,
//! newest first, at most [`MAX_PARTNERS`]. The Go server remembers each pair for a minute, which grows with the square of
//! the peers and keeps back the circuit address that follows a start by some seconds. Here a round is what is limited:
//! two at once for a peer, then one every [`ROUND_EVERY`]; and a pair is left out when the partner's own round came after
//! this peer's addresses were known. Hints for a peer without a socket wait for it.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::time::{Duration, Instant};

use bytes::Bytes;
use goop_identity::PeerId;

use super::Now;
use super::table::Table;
use crate::wire;

/// Others that one round pairs a peer with. Whoever runs a server with more peers has most of them strangers to each
/// other; they still find each other by what presence says.
pub const MAX_PARTNERS: usize = 256;
/// Hints that wait for one peer (rendezvous.md 8).
pub const MAX_WAITING: usize = 256;
/// How long a hint waits: the addresses in it are worth that long (rendezvous.md 8).
pub const HINT_LIFE: Duration = Duration::from_secs(60);
/// A peer whose addresses change all the time gets a round this often (the Go program's cool-down, rendezvous.md 8).
pub const ROUND_EVERY: Duration = Duration::from_secs(60);
/// Rounds at once: one for the start, one for the circuit address that follows it.
const ROUNDS_AT_ONCE: u32 = 2;
/// Rounds are made at most this often …
const STEP: Duration = Duration::from_millis(100);
/// … and end for this time when so many pairs were made: 20,000 pairs a second at most.
const PAIRS_AT_ONCE: usize = 2_000;
/// Peers that hints wait for, all together, when nobody takes theirs.
const MAX_WAITED_FOR: usize = 10_000;

/// What is remembered of one peer's rounds.
#[derive(Debug)]
struct Rounds {
    /// The newest change of the table when the last one was made.
    done: Option<u64>,
    /// The allowance is full again at this time.
    full_at: Instant,
    /// One is to be made.
    waits: bool,
}

#[derive(Debug, Default)]
pub(super) struct Hints {
    due: BTreeSet<(Instant, PeerId)>,
    rounds: HashMap<PeerId, Rounds>,
    waiting: HashMap<PeerId, VecDeque<(Instant, Bytes)>>,
    not_before: Option<Instant>,
}

impl Hints {
    /// A peer came, or has other addresses.
    pub(super) fn arrived(&mut self, peer: PeerId, now: Instant) {
        let rounds = self.rounds.entry(peer).or_insert(Rounds {
            done: None,
            full_at: now,
            waits: false,
        });
        if rounds.waits {
            // It will use what is known by then.
            return;
        }
        let missing = rounds.full_at.saturating_duration_since(now) + ROUND_EVERY;
        let at = now + missing.saturating_sub(ROUND_EVERY * ROUNDS_AT_ONCE);
        rounds.full_at = rounds.full_at.max(now) + ROUND_EVERY;
        rounds.waits = true;
        self.due.insert((at, peer));
    }

    /// Makes the rounds that are due: each hint with the peer it is for.
    pub(super) fn run(&mut self, table: &Table, now: Now) -> Vec<(PeerId, Bytes)> {
        let mut made = Vec::new();
        if self.not_before.is_some_and(|at| now.at < at) {
            return made;
        }
        while let Some(&(at, peer)) = self.due.first() {
            if at > now.at || made.len() >= 2 * PAIRS_AT_ONCE {
                break;
            }
            self.due.pop_first();
            if let Some(rounds) = self.rounds.get_mut(&peer) {
                rounds.waits = false;
            }
            self.round(peer, table, now, &mut made);
        }
        if !made.is_empty() {
            self.not_before = Some(now.at + STEP);
        }
        made
    }

    fn round(&mut self, peer: PeerId, table: &Table, now: Now, made: &mut Vec<(PeerId, Bytes)>) {
        let Some(row) = table.get(&peer) else {
            return;
        };
        let addrs = &row.publication.record.addrs;
        if addrs.is_empty() {
            return;
        }
        let everybody_has_everybody = table.len() <= MAX_PARTNERS;
        let partners = table
            .rows()
            .rev()
            .filter(|other| {
                let record = &other.publication.record;
                record.peer != peer && !record.addrs.is_empty()
            })
            .take(MAX_PARTNERS);
        for other in partners {
            let record = &other.publication.record;
            let done = self.rounds.get(&record.peer).and_then(|rounds| rounds.done);
            let covered = done.is_some_and(|done| done >= row.addrs_change);
            if covered && everybody_has_everybody {
                continue;
            }
            made.push((record.peer, wire::punch(peer, record.peer, addrs, now.ms)));
            made.push((peer, wire::punch(record.peer, peer, &record.addrs, now.ms)));
        }
        if let Some(rounds) = self.rounds.get_mut(&peer) {
            rounds.done = Some(table.changes());
        }
    }

    /// Keeps a hint until the peer's socket opens.
    pub(super) fn wait(&mut self, target: PeerId, hint: Bytes, now: Instant) {
        if !self.waiting.contains_key(&target) && self.waiting.len() >= MAX_WAITED_FOR {
            return;
        }
        let waiting = self.waiting.entry(target).or_default();
        if waiting.len() >= MAX_WAITING {
            waiting.pop_front();
        }
        waiting.push_back((now, hint));
    }

    /// The hints that waited for a peer and are still worth something.
    pub(super) fn take_waiting(&mut self, target: &PeerId, now: Instant) -> Vec<Bytes> {
        let waiting = self.waiting.remove(target).unwrap_or_default();
        let fresh = waiting
            .into_iter()
            .filter(|(since, _)| now.saturating_duration_since(*since) < HINT_LIFE);
        fresh.map(|(_, hint)| hint).collect()
    }

    pub(super) fn sweep(&mut self, table: &Table, now: Instant) {
        self.waiting.retain(|peer, waiting| {
            waiting.retain(|(since, _)| now.saturating_duration_since(*since) < HINT_LIFE);
            !waiting.is_empty() && table.get(peer).is_some()
        });
        // The allowance of a peer that left is remembered until it would be full, so that leaving gains nothing.
        self.rounds.retain(|peer, rounds| {
            rounds.waits || rounds.full_at > now || table.get(peer).is_some()
        });
    }

    pub(super) fn next(&self) -> Option<Instant> {
        let (due, _) = self.due.first()?;
        Some(self.not_before.map_or(*due, |at| at.max(*due)))
    }
}
