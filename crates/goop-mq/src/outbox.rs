//! What waits to be sent to one peer, as a value: (event, now) in, what to do out.
//!
//! A lane is sent one message after the other; lanes run side by side, the urgent ones first. A message that was not
//! acknowledged is sent once more with the same id, so that the receiver knows it again. Each message ends exactly once:
//! delivered, or failed with a reason.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use crate::topic::{Retry, Urgency};

/// Messages that wait for one peer.
pub const MESSAGES: usize = 256;
/// Bytes that wait for one peer.
pub const BYTES: usize = 16 * 1024 * 1024;
/// Streams to one peer at once: a Go peer takes 64 of a protocol.
pub const STREAMS: usize = 16;
/// Of them, those that only calls may use.
pub const FOR_CALLS: usize = 4;
/// Longest attempt: a Go sender takes 2 s to open a stream and 2 s to wait for the answer (mq.md 1.4).
pub const ATTEMPT: Duration = Duration::from_secs(4);
/// How long after a failed attempt the next one begins (mq.md 1.4).
pub const RETRY_AFTER: Duration = Duration::from_millis(300);
/// Attempts in all.
const ATTEMPTS: u32 = 2;

/// Names a message among all that are being sent.
pub type Ticket = u64;

/// A message that is to be sent.
#[derive(Debug, Clone)]
pub struct Item {
    /// Its name here.
    pub ticket: Ticket,
    /// Its size in bytes.
    pub bytes: usize,
    /// When it is too late for it.
    pub deadline: Instant,
    /// What it may overtake.
    pub urgency: Urgency,
    /// Whose order it keeps; `None` runs on its own.
    pub lane: Option<String>,
    /// Whether it is tried again.
    pub retry: Retry,
}

/// Why a message ended without being delivered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// Its time ran out; the text is what the last attempt said.
    #[error("it timed out{}{}", if .0.is_empty() { "" } else { ": " }, .0)]
    Expired(String),
    /// The attempts failed.
    #[error("{0}")]
    Attempt(String),
}

/// What to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Begin an attempt, which has to end by then.
    Attempt(Ticket, Instant),
    /// It is over.
    Ended(Ticket, Result<(), Failure>),
}

/// How an attempt ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Attempted {
    /// The peer acknowledged it.
    Delivered,
    /// It may work the next time.
    Failed(String),
    /// It will not work the next time either.
    Hopeless(String),
}

/// More than is kept for one peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("too much waits to be sent to this peer")]
pub struct Full;

#[derive(Debug)]
struct Pending {
    item: Item,
    attempts: u32,
    running: bool,
    /// Not before this time.
    from: Instant,
    last: String,
}

/// The urgency first, so that the most urgent lanes come first; then the lane, or the ticket of a message without.
type LaneKey = (Urgency, String);

/// What waits for one peer.
#[derive(Debug, Default)]
pub struct Outbox {
    lanes: BTreeMap<LaneKey, VecDeque<Pending>>,
    messages: usize,
    bytes: usize,
    running: usize,
}

impl Outbox {
    /// Nothing waits.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether nothing waits and nothing runs.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.messages == 0
    }

    /// Puts a message at the end of its lane.
    ///
    /// # Errors
    /// [`Full`].
    pub fn push(&mut self, item: Item, now: Instant) -> Result<(), Full> {
        if self.messages >= MESSAGES || self.bytes + item.bytes > BYTES {
            return Err(Full);
        }
        self.messages += 1;
        self.bytes += item.bytes;
        // No lane's name begins with a control character, so these are nobody's lane.
        let lane = item
            .lane
            .clone()
            .unwrap_or_else(|| format!("\u{1}{:020}", item.ticket));
        self.lanes
            .entry((item.urgency, lane))
            .or_default()
            .push_back(Pending {
                item,
                attempts: 0,
                running: false,
                from: now,
                last: String::new(),
            });
        Ok(())
    }

    /// An attempt ended.
    pub fn attempted(&mut self, ticket: Ticket, outcome: Attempted, now: Instant) -> Vec<Action> {
        let mut actions = Vec::new();
        let found = self.lanes.iter_mut().find_map(|(key, lane)| {
            lane.front_mut()
                .filter(|pending| pending.running && pending.item.ticket == ticket)
                .map(|pending| (key.clone(), pending))
        });
        if let Some((key, pending)) = found {
            self.running -= 1;
            pending.running = false;
            let ended = match outcome {
                Attempted::Delivered => Some(Ok(())),
                Attempted::Hopeless(why) => Some(Err(Failure::Attempt(why))),
                Attempted::Failed(why) => {
                    pending.from = now + RETRY_AFTER;
                    let again = pending.item.retry != Retry::Never && pending.attempts < ATTEMPTS;
                    pending.last = why.clone();
                    (!again).then_some(Err(Failure::Attempt(why)))
                }
            };
            if let Some(ended) = ended {
                self.end(&key, ended, &mut actions);
            }
        }
        actions.extend(self.next(now));
        actions
    }

    fn end(&mut self, key: &LaneKey, ended: Result<(), Failure>, actions: &mut Vec<Action>) {
        let Some(lane) = self.lanes.get_mut(key) else {
            return;
        };
        if let Some(pending) = lane.pop_front() {
            self.messages -= 1;
            self.bytes -= pending.item.bytes;
            actions.push(Action::Ended(pending.item.ticket, ended));
        }
        if lane.is_empty() {
            self.lanes.remove(key);
        }
    }

    /// What is to be done now.
    pub fn next(&mut self, now: Instant) -> Vec<Action> {
        let mut actions = Vec::new();
        self.expire(now, &mut actions);
        for (key, lane) in &mut self.lanes {
            let room = if key.0 == Urgency::Call {
                STREAMS
            } else {
                STREAMS - FOR_CALLS
            };
            if self.running >= room {
                // The lanes that follow are less urgent still.
                if key.0 != Urgency::Call {
                    break;
                }
                continue;
            }
            if let Some(pending) = lane
                .front_mut()
                .filter(|pending| !pending.running && pending.from <= now)
            {
                pending.running = true;
                pending.attempts += 1;
                self.running += 1;
                let until = pending.item.deadline.min(now + ATTEMPT);
                actions.push(Action::Attempt(pending.item.ticket, until));
            }
        }
        actions
    }

    /// Ends what is too late. What runs ends by itself.
    fn expire(&mut self, now: Instant, actions: &mut Vec<Action>) {
        let (messages, bytes) = (&mut self.messages, &mut self.bytes);
        self.lanes.retain(|_, lane| {
            lane.retain(|pending| {
                let keep = pending.running || pending.item.deadline > now;
                if !keep {
                    *messages -= 1;
                    *bytes -= pending.item.bytes;
                    let failure = Failure::Expired(pending.last.clone());
                    actions.push(Action::Ended(pending.item.ticket, Err(failure)));
                }
                keep
            });
            !lane.is_empty()
        });
    }

    /// When [`Outbox::next`] has something to do again, if nothing else happens.
    #[must_use]
    pub fn wake(&self) -> Option<Instant> {
        let deadlines = self
            .lanes
            .values()
            .flatten()
            .filter(|pending| !pending.running)
            .map(|pending| pending.item.deadline);
        let retries = self
            .lanes
            .values()
            .filter_map(VecDeque::front)
            .filter(|pending| !pending.running && pending.attempts > 0)
            .map(|pending| pending.from);
        deadlines.chain(retries).min()
    }
}
