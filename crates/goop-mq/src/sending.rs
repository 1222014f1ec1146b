//! The one task that owns what waits to be sent.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use goop_identity::PeerId;
use tokio::sync::{mpsc, oneshot};
use tokio::task::{Id, JoinSet};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::carry::Carrier;
use crate::mq::SendError;
use crate::outbox::{Action, Attempted, Full, Item, Outbox, Ticket};
use crate::shared::{Command, Order, Outgoing, Shared};

/// Peers that something waits for at once.
const OUTBOXES: usize = 1_024;
/// Bytes that wait for all peers together.
const WAITING: usize = 64 * 1024 * 1024;
/// The task behind a bus; what is sent waits until it runs.
#[derive(Debug)]
pub struct Task {
    mq: crate::Mq,
    inbox: mpsc::Receiver<Command>,
}

impl fmt::Debug for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self::Send(order) = self;
        write!(f, "Send({} to {})", order.topic, order.peer)
    }
}

struct Waiting {
    out: Arc<Outgoing>,
    reply: Option<oneshot::Sender<Result<(), SendError>>>,
    bytes: usize,
}

struct Running<C> {
    shared: Arc<Shared>,
    carrier: C,
    outboxes: HashMap<PeerId, Outbox>,
    waiting: HashMap<Ticket, Waiting>,
    bytes: usize,
    tickets: Ticket,
    attempts: JoinSet<Attempted>,
    /// Whose attempt a task is.
    tasks: HashMap<Id, (PeerId, Ticket)>,
}

impl Task {
    pub(crate) fn new(mq: crate::Mq, inbox: mpsc::Receiver<Command>) -> Self {
        Self { mq, inbox }
    }

    /// Sends what is to be sent until `leave`. What waits then fails with [`SendError::Leaving`].
    pub async fn run<C: Carrier>(self, carrier: C, leave: CancellationToken) {
        let Self { mq, mut inbox } = self;
        let mut running = Running {
            shared: mq.shared.clone(),
            carrier,
            outboxes: HashMap::new(),
            waiting: HashMap::new(),
            bytes: 0,
            tickets: 0,
            attempts: JoinSet::new(),
            tasks: HashMap::new(),
        };
        drop(mq);
        loop {
            let wake = running.outboxes.values().filter_map(Outbox::wake).min();
            let wake = async {
                match wake {
                    Some(at) => sleep_until(at.into()).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = leave.cancelled() => return,
                command = inbox.recv() => match command {
                    Some(Command::Send(order)) => running.accept(order),
                    None => return,
                },
                Some(ended) = running.attempts.join_next_with_id() => {
                    let (id, attempted) = match ended {
                        Ok(ended) => ended,
                        Err(error) => (error.id(), Attempted::Failed("the attempt broke off".to_owned())),
                    };
                    running.ended(id, attempted);
                }
                () = wake => running.wake(),
            }
        }
    }
}

impl<C: Carrier> Running<C> {
    fn accept(&mut self, order: Order) {
        let bytes = order.payload.len();
        let crowded = self.outboxes.len() >= OUTBOXES && !self.outboxes.contains_key(&order.peer);
        if crowded || self.bytes + bytes > WAITING {
            if let Some(reply) = order.reply {
                let _ = reply.send(Err(Full.into()));
            }
            return;
        }
        self.tickets += 1;
        let ticket = self.tickets;
        let now = Instant::now().into_std();
        let entry = order.topic.entry();
        let item = Item {
            ticket,
            bytes,
            deadline: now + order.budget,
            urgency: entry.urgency,
            lane: order.topic.lane(),
            retry: entry.retry,
        };
        let outbox = self.outboxes.entry(order.peer).or_default();
        if let Err(full) = outbox.push(item, now) {
            if let Some(reply) = order.reply {
                let _ = reply.send(Err(full.into()));
            }
            return;
        }
        self.bytes += bytes;
        let peer = order.peer;
        let out = Outgoing {
            peer,
            id: order.id,
            seq: self.shared.next_seq(),
            topic: order.topic,
            payload: order.payload,
        };
        self.waiting.insert(
            ticket,
            Waiting {
                out: Arc::new(out),
                reply: order.reply,
                bytes,
            },
        );
        let actions = self.outboxes.get_mut(&peer).map(|outbox| outbox.next(now));
        self.act(peer, actions.unwrap_or_default());
    }

    fn ended(&mut self, id: Id, attempted: Attempted) {
        let Some((peer, ticket)) = self.tasks.remove(&id) else {
            return;
        };
        let now = Instant::now().into_std();
        let outbox = self.outboxes.get_mut(&peer);
        let actions = outbox.map(|outbox| outbox.attempted(ticket, attempted, now));
        self.act(peer, actions.unwrap_or_default());
    }

    fn wake(&mut self) {
        let now = Instant::now().into_std();
        let due: Vec<PeerId> = self
            .outboxes
            .iter()
            .filter(|(_, outbox)| outbox.wake().is_some_and(|wake| wake <= now))
            .map(|(peer, _)| *peer)
            .collect();
        for peer in due {
            let actions = self.outboxes.get_mut(&peer).map(|outbox| outbox.next(now));
            self.act(peer, actions.unwrap_or_default());
        }
    }

    fn act(&mut self, peer: PeerId, actions: Vec<Action>) {
        for action in actions {
            match action {
                Action::Attempt(ticket, until) => {
                    let Some(waiting) = self.waiting.get(&ticket) else {
                        continue;
                    };
                    let (shared, carrier) = (self.shared.clone(), self.carrier.clone());
                    let out = waiting.out.clone();
                    let attempt = async move { shared.attempt(carrier, out, until.into()).await };
                    let task = self.attempts.spawn(attempt);
                    self.tasks.insert(task.id(), (peer, ticket));
                }
                Action::Ended(ticket, result) => {
                    let Some(waiting) = self.waiting.remove(&ticket) else {
                        continue;
                    };
                    self.bytes -= waiting.bytes;
                    if let Some(reply) = waiting.reply {
                        // Whoever asked may be gone.
                        let _ = reply.send(result.map_err(SendError::Failed));
                    }
                }
            }
        }
        if self.outboxes.get(&peer).is_some_and(Outbox::is_empty) {
            self.outboxes.remove(&peer);
        }
    }
}
