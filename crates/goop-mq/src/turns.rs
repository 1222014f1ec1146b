//! Whose message is worked on next, as a value: events in, who begins out.
//!
//! Reading and opening a message is what costs here, and it is done by one at a time. When several peers have messages that
//! wait, the one whose messages cost least so far goes first; a peer alone gets everything there is. So nobody is slowed
//! down for being fast, and a flood only waits for itself: another peer's message waits for the one that is being worked
//! on, and not for those behind it.

use std::collections::{HashMap, VecDeque};

use goop_identity::PeerId;

/// What a message costs beside its bytes, in bytes: opening a short one takes as long as reading so many.
const EACH: u64 = 4 * 1024;

/// Names a message among all that want a turn.
pub type Ticket = u64;

#[derive(Debug, Default)]
struct Queue {
    /// With what each costs.
    waiting: VecDeque<(Ticket, u64)>,
    /// What was spent for this peer, on a scale that all share.
    spent: u64,
}

/// All who wait, and who has the turn.
#[derive(Debug, Default)]
pub struct Turns {
    /// Only peers that wait, and the one whose turn it is.
    peers: HashMap<PeerId, Queue>,
    running: Option<(Ticket, PeerId)>,
    /// What was spent for whoever had the last turn, before it: who comes new begins here, without credit for the time it
    /// was silent.
    floor: u64,
    tickets: Ticket,
}

impl Turns {
    /// Nobody wants anything.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A message of so many bytes wants its turn; `true` if it has it at once. [`Turns::end`] follows in either case.
    pub fn ask(&mut self, peer: PeerId, bytes: usize) -> (Ticket, bool) {
        self.tickets += 1;
        let ticket = self.tickets;
        let floor = self.floor;
        let queue = self.peers.entry(peer).or_default();
        if queue.waiting.is_empty() {
            queue.spent = queue.spent.max(floor);
        }
        queue.waiting.push_back((ticket, EACH + bytes as u64));
        let begins = self.running.is_none() && self.next() == Some(ticket);
        (ticket, begins)
    }

    /// A message had its turn, or does not want it any more. Gives who has the turn now, if that is somebody new.
    pub fn end(&mut self, peer: PeerId, ticket: Ticket) -> Option<Ticket> {
        if self.running.is_some_and(|(running, _)| running == ticket) {
            self.running = None;
            self.forget(peer);
            return self.next();
        }
        if let Some(queue) = self.peers.get_mut(&peer) {
            queue.waiting.retain(|(waiting, _)| *waiting != ticket);
        }
        self.forget(peer);
        None
    }

    /// Gives the turn to whoever waits and was spent least for.
    fn next(&mut self) -> Option<Ticket> {
        let waiting = self
            .peers
            .iter_mut()
            .filter(|(_, queue)| !queue.waiting.is_empty());
        // Of two with the same, the one that waits longer.
        let (peer, queue) = waiting.min_by_key(|(_, queue)| {
            (
                queue.spent,
                queue.waiting.front().map(|(ticket, _)| *ticket),
            )
        })?;
        let (ticket, cost) = queue.waiting.pop_front()?;
        self.floor = self.floor.max(queue.spent);
        queue.spent += cost;
        self.running = Some((ticket, *peer));
        Some(ticket)
    }

    /// Nothing is kept of who has nothing here, unless it has spent more than others since: leaving and coming back at once
    /// gains nothing.
    fn forget(&mut self, peer: PeerId) {
        let is_running = self.running.is_some_and(|(_, running)| running == peer);
        let floor = self.floor;
        let idle = |queue: &Queue| queue.waiting.is_empty();
        if !is_running
            && self
                .peers
                .get(&peer)
                .is_some_and(|queue| idle(queue) && queue.spent <= floor)
        {
            self.peers.remove(&peer);
        }
        if self.peers.len() > crate::receiver::PEERS {
            self.peers.retain(|_, queue| !idle(queue));
        }
    }

    /// How many wait.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.peers.values().map(|queue| queue.waiting.len()).sum()
    }
}
