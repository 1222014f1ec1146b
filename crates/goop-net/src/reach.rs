//! Who is asked whether it is there, and when (network.md 5), as a value: wishes and results go in with the time, peers
//! to probe come out.
//!
//! It differs from the Go program where that does harm: a failure does not cut the transfers of a peer that was merely
//! slow (its connections are closed only after repeated failures, and only while nothing uses them), and a first
//! failure is checked again by itself instead of waiting for somebody to ask.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::time::{Duration, Instant};

use crate::PeerId;
use crate::table::{FAILURE_WINDOW, FAILURES};

/// The whole of a probe (network.md 1.2).
pub(crate) const PROBE_DEADLINE: Duration = Duration::from_secs(2);
/// No new probe of a peer this soon after one failed (network.md 1.2).
const COOLDOWN: Duration = Duration::from_millis(500);
/// The second look after a first failure: just outside the window in which failures count once.
const SECOND_LOOK: Duration = FAILURE_WINDOW.saturating_add(Duration::from_millis(100));
/// Probes at the same time; more wait their turn.
const MAX_RUNNING: usize = 32;
/// A failure this long ago says nothing any more.
const FORGET: Duration = Duration::from_secs(60);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Idle,
    Queued,
    Running,
    Failed { at: Instant },
}

#[derive(Debug)]
struct Entry {
    state: State,
    failures: u32,
}

/// What became of a wish.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wish {
    /// The peer is being asked, or will be.
    UnderWay,
    /// It was asked a moment ago in vain.
    TooSoon,
}

/// What to do after a probe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum After {
    /// Nothing.
    Nothing,
    /// Its connections seem dead; close them unless something uses them.
    CloseIdle,
}

/// The probes.
#[derive(Debug, Default)]
pub(crate) struct Probes {
    peers: HashMap<PeerId, Entry>,
    queue: VecDeque<PeerId>,
    running: usize,
    second_looks: BTreeSet<(Instant, PeerId)>,
}

impl Probes {
    /// Somebody wants to know about a peer.
    pub(crate) fn want(&mut self, peer: PeerId, now: Instant) -> Wish {
        let entry = self.peers.entry(peer).or_insert(Entry {
            state: State::Idle,
            failures: 0,
        });
        match entry.state {
            State::Queued | State::Running => return Wish::UnderWay,
            State::Failed { at } if now.saturating_duration_since(at) < COOLDOWN => {
                return Wish::TooSoon;
            }
            State::Idle | State::Failed { .. } => entry.state = State::Queued,
        }
        self.queue.push_back(peer);
        Wish::UnderWay
    }

    /// The next peer to ask now; it counts as being asked.
    pub(crate) fn start_next(&mut self) -> Option<PeerId> {
        if self.running >= MAX_RUNNING {
            return None;
        }
        let peer = self.queue.pop_front()?;
        if let Some(entry) = self.peers.get_mut(&peer) {
            entry.state = State::Running;
        }
        self.running += 1;
        Some(peer)
    }

    /// A probe ended. `shown_reachable`: the table still says so, which makes a second look worth while.
    pub(crate) fn ended(
        &mut self,
        peer: PeerId,
        reached: bool,
        shown_reachable: bool,
        now: Instant,
    ) -> After {
        self.running = self.running.saturating_sub(1);
        if reached {
            self.peers.remove(&peer);
            return After::Nothing;
        }
        let Some(entry) = self.peers.get_mut(&peer) else {
            return After::Nothing;
        };
        entry.failures += 1;
        entry.state = State::Failed { at: now };
        let repeated = entry.failures >= FAILURES;
        if shown_reachable {
            self.second_looks.insert((now + SECOND_LOOK, peer));
        }
        if repeated {
            After::CloseIdle
        } else {
            After::Nothing
        }
    }

    /// When [`Probes::tick`] has something to do.
    pub(crate) fn next_wake(&self) -> Option<Instant> {
        self.second_looks.first().map(|(at, _)| *at)
    }

    /// Peers whose second look is due.
    pub(crate) fn tick(&mut self, now: Instant) -> Vec<PeerId> {
        let mut due = Vec::new();
        while let Some((at, peer)) = self.second_looks.pop_first() {
            if at > now {
                self.second_looks.insert((at, peer));
                break;
            }
            due.push(peer);
        }
        self.peers.retain(|_, entry| match entry.state {
            State::Failed { at } => now.saturating_duration_since(at) < FORGET,
            State::Idle | State::Queued | State::Running => true,
        });
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(probes: &mut Probes, peer: PeerId, now: Instant) {
        assert_eq!(probes.want(peer, now), Wish::UnderWay);
        assert_eq!(probes.start_next(), Some(peer));
    }

    #[test]
    fn one_probe_a_peer_at_a_time() {
        let (mut probes, peer, now) = (Probes::default(), PeerId::random(), Instant::now());
        ask(&mut probes, peer, now);
        assert_eq!(probes.want(peer, now), Wish::UnderWay);
        assert_eq!(probes.start_next(), None);
    }

    #[test]
    fn a_failure_is_followed_by_a_pause() {
        let (mut probes, peer, now) = (Probes::default(), PeerId::random(), Instant::now());
        ask(&mut probes, peer, now);
        probes.ended(peer, false, false, now);
        assert_eq!(probes.want(peer, now + COOLDOWN / 2), Wish::TooSoon);
        assert_eq!(probes.want(peer, now + COOLDOWN), Wish::UnderWay);
    }

    #[test]
    fn a_success_is_followed_by_none() {
        let (mut probes, peer, now) = (Probes::default(), PeerId::random(), Instant::now());
        ask(&mut probes, peer, now);
        assert_eq!(probes.ended(peer, true, true, now), After::Nothing);
        assert_eq!(probes.want(peer, now), Wish::UnderWay);
    }

    #[test]
    fn a_first_failure_is_looked_at_again_and_closes_nothing() {
        let (mut probes, peer, now) = (Probes::default(), PeerId::random(), Instant::now());
        ask(&mut probes, peer, now);
        assert_eq!(probes.ended(peer, false, true, now), After::Nothing);
        let due = probes.next_wake().expect("a second look");
        assert!(due > now + FAILURE_WINDOW);
        assert_eq!(probes.tick(now), []);
        assert_eq!(probes.tick(due), [peer]);
        ask(&mut probes, peer, due);
        assert_eq!(probes.ended(peer, false, false, due), After::CloseIdle);
        assert_eq!(probes.next_wake(), None);
    }

    #[test]
    fn a_peer_shown_as_away_gets_no_second_look() {
        let (mut probes, peer, now) = (Probes::default(), PeerId::random(), Instant::now());
        ask(&mut probes, peer, now);
        probes.ended(peer, false, false, now);
        assert_eq!(probes.next_wake(), None);
    }

    #[test]
    fn only_so_many_run_and_the_rest_follow() {
        let (mut probes, now) = (Probes::default(), Instant::now());
        for _ in 0..2 * MAX_RUNNING {
            probes.want(PeerId::random(), now);
        }
        let first: Vec<_> = std::iter::from_fn(|| probes.start_next()).collect();
        assert_eq!(first.len(), MAX_RUNNING);
        probes.ended(first[0], true, true, now);
        assert!(probes.start_next().is_some());
        assert!(probes.start_next().is_none());
    }

    #[test]
    fn old_failures_are_forgotten() {
        let (mut probes, peer, now) = (Probes::default(), PeerId::random(), Instant::now());
        ask(&mut probes, peer, now);
        probes.ended(peer, false, false, now);
        probes.tick(now + FORGET);
        assert!(probes.peers.is_empty());
    }
}
