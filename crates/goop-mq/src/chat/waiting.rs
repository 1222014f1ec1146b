//! Lines that wait to be sent, as a value: (event, now) in, what to do out. Lines to one peer go in order, one at a time.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use goop_identity::PeerId;

use super::ChatState;
use crate::wire::MsgId;

/// Lines that wait for one peer.
pub const PER_PEER: usize = 200;
/// Peers that lines wait for.
pub const PEERS: usize = 1_000;
/// How long a line waits. After a week people have found another way.
pub const EXPIRES: Duration = Duration::from_secs(7 * 24 * 3_600);
/// A peer that seems to be there and takes nothing is tried again after this long, then after twice as long, and so on.
pub const FIRST_PAUSE: Duration = Duration::from_secs(30);
/// No pause is longer.
pub const LONGEST_PAUSE: Duration = Duration::from_secs(600);

/// Why a line expired, for people.
const EXPIRED: &str = "the other one was away for a week";

/// Too much waits already.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{PER_PEER} messages wait for this peer already")]
pub struct TooMany;

/// What to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Send a line, then say how that went with [`Waiting::sent`].
    Send {
        /// To whom.
        peer: PeerId,
        /// With which id.
        id: MsgId,
        /// What it says.
        content: String,
    },
    /// A line came to its end; note it and tell the pages.
    Ended {
        /// For whom it was.
        peer: PeerId,
        /// Which.
        id: MsgId,
        /// What became of it.
        state: ChatState,
    },
}

/// How sending a line went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The peer has it.
    Delivered,
    /// The peer cannot be reached now.
    Away,
    /// It will never work, with the reason.
    Hopeless(String),
}

#[derive(Debug)]
struct Line {
    id: MsgId,
    content: String,
    until: Instant,
}

#[derive(Debug, Default)]
struct Queue {
    lines: VecDeque<Line>,
    /// The first one is on its way.
    sending: bool,
    pause: Option<Duration>,
    /// Not before this time, unless the peer comes back.
    from: Option<Instant>,
}

/// Everything that waits.
#[derive(Debug, Default)]
pub struct Waiting {
    peers: BTreeMap<PeerId, Queue>,
}

impl Waiting {
    /// Nothing waits.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A new line, or one from an earlier run that waited for `age` already. It is tried at once if it is the first.
    ///
    /// # Errors
    /// [`TooMany`].
    pub fn submit(
        &mut self,
        peer: PeerId,
        id: MsgId,
        content: String,
        age: Duration,
        now: Instant,
    ) -> Result<Vec<Step>, TooMany> {
        if self.peers.len() >= PEERS && !self.peers.contains_key(&peer) {
            return Err(TooMany);
        }
        let queue = self.peers.entry(peer).or_default();
        if queue.lines.len() >= PER_PEER {
            return Err(TooMany);
        }
        // From here on the clock that only goes forward counts, so a wrong wall clock makes nothing expire.
        let until = now + EXPIRES.saturating_sub(age);
        queue.lines.push_back(Line { id, content, until });
        Ok(self.tick(now))
    }

    /// A peer is back: what waits for it goes out now.
    pub fn back(&mut self, peer: &PeerId, now: Instant) -> Vec<Step> {
        if let Some(queue) = self.peers.get_mut(peer) {
            (queue.pause, queue.from) = (None, None);
        }
        self.tick(now)
    }

    /// How [`Step::Send`] went.
    pub fn sent(&mut self, peer: &PeerId, id: &MsgId, outcome: Outcome, now: Instant) -> Vec<Step> {
        let mut steps = Vec::new();
        let first = self.peers.get_mut(peer).filter(|queue| {
            queue.sending && queue.lines.front().is_some_and(|line| line.id == *id)
        });
        if let Some(queue) = first {
            queue.sending = false;
            let state = match outcome {
                Outcome::Away => {
                    let pause = queue.pause.map_or(FIRST_PAUSE, |pause| pause * 2);
                    let pause = pause.min(LONGEST_PAUSE);
                    (queue.pause, queue.from) = (Some(pause), Some(now + pause));
                    None
                }
                Outcome::Delivered => {
                    (queue.pause, queue.from) = (None, None);
                    Some(ChatState::Delivered)
                }
                Outcome::Hopeless(why) => Some(ChatState::Failed(why)),
            };
            if let Some(state) = state {
                queue.lines.pop_front();
                steps.push(Step::Ended {
                    peer: *peer,
                    id: id.clone(),
                    state,
                });
            }
        }
        steps.extend(self.tick(now));
        steps
    }

    /// Its writer takes a line back. `None` when it does not wait any more, or is on its way right now.
    pub fn withdraw(&mut self, peer: &PeerId, id: &MsgId) -> Option<Step> {
        let queue = self.peers.get_mut(peer)?;
        let at = queue.lines.iter().position(|line| line.id == *id)?;
        if at == 0 && queue.sending {
            return None;
        }
        queue.lines.remove(at);
        if queue.lines.is_empty() {
            self.peers.remove(peer);
        }
        Some(Step::Ended {
            peer: *peer,
            id: id.clone(),
            state: ChatState::Withdrawn,
        })
    }

    /// Everything for one peer is forgotten with its conversation. What is on its way still arrives.
    pub fn forget(&mut self, peer: &PeerId) {
        if let Some(queue) = self.peers.get_mut(peer) {
            queue.lines.truncate(usize::from(queue.sending));
            if queue.lines.is_empty() {
                self.peers.remove(peer);
            }
        }
    }

    /// What is to be done now.
    pub fn tick(&mut self, now: Instant) -> Vec<Step> {
        let mut steps = Vec::new();
        self.peers.retain(|peer, queue| {
            let sending = queue.sending;
            let mut at = 0;
            queue.lines.retain(|line| {
                let on_its_way = sending && at == 0;
                at += 1;
                let keep = on_its_way || line.until > now;
                if !keep {
                    steps.push(Step::Ended {
                        peer: *peer,
                        id: line.id.clone(),
                        state: ChatState::Failed(EXPIRED.to_owned()),
                    });
                }
                keep
            });
            let due = queue.from.is_none_or(|from| from <= now);
            if let Some(line) = queue.lines.front().filter(|_| !sending && due) {
                steps.push(Step::Send {
                    peer: *peer,
                    id: line.id.clone(),
                    content: line.content.clone(),
                });
                queue.sending = true;
            }
            !queue.lines.is_empty()
        });
        steps
    }

    /// When [`Waiting::tick`] has something to do again, if nothing else happens.
    #[must_use]
    pub fn wake(&self) -> Option<Instant> {
        let times = self.peers.values().flat_map(|queue| {
            let expiry = queue
                .lines
                .iter()
                .skip(usize::from(queue.sending))
                .map(|line| line.until);
            expiry.chain(queue.from.filter(|_| !queue.sending))
        });
        times.min()
    }

    /// How many lines wait for a peer.
    #[must_use]
    pub fn len(&self, peer: &PeerId) -> usize {
        self.peers.get(peer).map_or(0, |queue| queue.lines.len())
    }
}
