//! The one task that owns the [`State`], and the handle others talk to it with.
//!
//! Everybody who listens reads one of three lanes, and a lane is one bounded ring of encoded batches for all its
//! listeners: nobody has a queue of their own, and whoever is overtaken by the ring takes a snapshot. Only hints go to
//! one socket.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use goop_identity::PeerId;
use indexmap::IndexMap;
use tokio::sync::{broadcast, mpsc, oneshot};

use crate::lines::Lines;
use crate::state::{
    Action, Change, Entry, Frames, Hello, Incoming, NotYet, Now, Refused, SocketId, Standing, State,
};
use crate::wire::Publication;

/// Commands that wait for the owner. Whoever sends more waits, and its client with it.
const INBOX: usize = 1_024;
/// Commands taken at once.
const AT_ONCE: usize = 256;
/// Batches a listener may be behind before it takes a snapshot instead. A write to it may take 2 s.
const LANE: usize = 32;
/// Messages for one socket that wait; more hints than that are lost, and presence makes up for them.
const FOR_SOCKET: usize = 64;

/// What a socket is told apart from the lane.
#[derive(Debug)]
pub(crate) enum ToSocket {
    /// Hints for its peer.
    Hints(Vec<Bytes>),
    /// Ask the client for a sign of life, and say so.
    Challenge,
    /// It is over.
    Close,
}

/// What a listener needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lane {
    /// News and repeats: what Go clients need to believe that somebody is still there.
    All,
    /// News.
    Changes,
}

/// An open socket, as the state knows it. Dropping it closes it there.
#[derive(Debug)]
pub(crate) struct Seat {
    pub(crate) socket: SocketId,
    departed: mpsc::UnboundedSender<SocketId>,
}

impl Drop for Seat {
    fn drop(&mut self) {
        // Without an owner there is nobody to tell.
        let _ = self.departed.send(self.socket);
    }
}

/// What a socket begins with.
#[derive(Debug)]
pub(crate) struct Connected {
    pub(crate) seat: Seat,
    pub(crate) snapshot: Frames,
    pub(crate) hints: Vec<Bytes>,
    pub(crate) lane: broadcast::Receiver<Frames>,
    pub(crate) inbox: mpsc::Receiver<ToSocket>,
}

/// What changed since somebody last asked, each peer once: `None` = gone.
pub(crate) type Journal = IndexMap<PeerId, Option<Box<Entry>>>;

/// Numbers for pages and metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Figures {
    pub(crate) peers: usize,
    pub(crate) sockets: usize,
}

enum Command {
    Publish {
        incoming: Box<Incoming>,
        socket: Option<SocketId>,
        reply: oneshot::Sender<Result<(), Refused>>,
    },
    Attach {
        peer: PeerId,
        hello: Hello,
        lane: Lane,
        reply: oneshot::Sender<Result<Connected, NotYet>>,
    },
    Proved(SocketId),
    Alive(SocketId),
    Snapshot(oneshot::Sender<Frames>),
    StrangersSnapshot(oneshot::Sender<Frames>),
    Standings(oneshot::Sender<Vec<Standing>>),
    Standing(PeerId, oneshot::Sender<Option<Standing>>),
    Figures(oneshot::Sender<Figures>),
    Journal(oneshot::Sender<Journal>),
    Elsewhere(Vec<(Change, Arc<str>)>),
}

/// The server is ending: nobody owns the state any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the server is ending")]
pub struct Ending;

/// Talks to the owner. Cheap to clone; the owner ends when the last clone is gone.
#[derive(Debug, Clone)]
pub struct Hub {
    inbox: mpsc::Sender<Command>,
    strangers: broadcast::Sender<Frames>,
}

/// The time now, by both clocks.
pub(crate) fn now() -> Now {
    let ms = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_millis());
    Now {
        at: tokio::time::Instant::now().into_std(),
        ms: i64::try_from(ms).unwrap_or(i64::MAX),
    }
}

impl std::fmt::Debug for Command {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Command")
    }
}

impl Hub {
    /// A hub and the task that owns the state, which ends when the last handle is dropped. With a keeper, what changes
    /// is remembered for it until it asks.
    pub(crate) fn new(
        state: State,
        journal: Keeping,
        lines: Lines,
    ) -> (Self, impl Future<Output = ()> + Send + 'static) {
        let (sender, inbox) = mpsc::channel(INBOX);
        let (departed, departures) = mpsc::unbounded_channel();
        let lane = || broadcast::Sender::new(LANE);
        let strangers = lane();
        let owner = Owner {
            state,
            sockets: HashMap::new(),
            all: lane(),
            changes: lane(),
            strangers: strangers.clone(),
            departed,
            journal: (journal == Keeping::Yes).then(Journal::new),
            lines,
        };
        let hub = Self {
            inbox: sender,
            strangers,
        };
        (hub, owner.run(inbox, departures))
    }

    async fn ask<T>(
        &self,
        command: impl FnOnce(oneshot::Sender<T>) -> Command,
    ) -> Result<T, Ending> {
        let (reply, answer) = oneshot::channel();
        self.inbox.send(command(reply)).await.map_err(|_| Ending)?;
        answer.await.map_err(|_| Ending)
    }

    pub(crate) async fn publish(
        &self,
        incoming: Incoming,
        socket: Option<SocketId>,
    ) -> Result<Result<(), Refused>, Ending> {
        let incoming = Box::new(incoming);
        self.ask(|reply| Command::Publish {
            incoming,
            socket,
            reply,
        })
        .await
    }

    pub(crate) async fn attach(
        &self,
        peer: PeerId,
        hello: Hello,
        lane: Lane,
    ) -> Result<Result<Connected, NotYet>, Ending> {
        self.ask(|reply| Command::Attach {
            peer,
            hello,
            lane,
            reply,
        })
        .await
    }

    pub(crate) async fn proved(&self, socket: SocketId) {
        // Nobody there: the socket ends soon.
        let _ = self.inbox.send(Command::Proved(socket)).await;
    }

    pub(crate) async fn alive(&self, socket: SocketId) {
        let _ = self.inbox.send(Command::Alive(socket)).await;
    }

    /// One message for each peer that is there.
    pub(crate) async fn snapshot(&self) -> Result<Frames, Ending> {
        self.ask(Command::Snapshot).await
    }

    /// The same as strangers may see it.
    pub(crate) async fn strangers_snapshot(&self) -> Result<Frames, Ending> {
        self.ask(Command::StrangersSnapshot).await
    }

    /// What strangers may see, from now on.
    pub(crate) fn follow_as_stranger(&self) -> broadcast::Receiver<Frames> {
        self.strangers.subscribe()
    }

    /// Every row, as pages show it.
    ///
    /// # Errors
    /// [`Ending`].
    pub async fn standings(&self) -> Result<Vec<Standing>, Ending> {
        self.ask(Command::Standings).await
    }

    /// The row of one peer.
    ///
    /// # Errors
    /// [`Ending`].
    pub async fn standing(&self, peer: PeerId) -> Result<Option<Standing>, Ending> {
        self.ask(|reply| Command::Standing(peer, reply)).await
    }

    pub(crate) async fn figures(&self) -> Result<Figures, Ending> {
        self.ask(Command::Figures).await
    }

    /// What changed since the last time.
    pub(crate) async fn journal(&self) -> Result<Journal, Ending> {
        self.ask(Command::Journal).await
    }

    /// What happened at other instances.
    pub(crate) async fn elsewhere(&self, changes: Vec<(Change, Arc<str>)>) -> Result<(), Ending> {
        let command = Command::Elsewhere(changes);
        self.inbox.send(command).await.map_err(|_| Ending)
    }
}

/// Whether somebody writes changes down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Keeping {
    /// They are remembered until asked for.
    Yes,
    /// They are forgotten.
    No,
}

struct Owner {
    state: State,
    sockets: HashMap<SocketId, mpsc::Sender<ToSocket>>,
    all: broadcast::Sender<Frames>,
    changes: broadcast::Sender<Frames>,
    strangers: broadcast::Sender<Frames>,
    departed: mpsc::UnboundedSender<SocketId>,
    journal: Option<Journal>,
    lines: Lines,
}

impl Owner {
    async fn run(
        mut self,
        mut inbox: mpsc::Receiver<Command>,
        mut departures: mpsc::UnboundedReceiver<SocketId>,
    ) {
        let mut taken = Vec::with_capacity(AT_ONCE);
        loop {
            let next = tokio::time::Instant::from_std(self.state.next());
            tokio::select! {
                // What a socket said comes before its end.
                biased;
                count = inbox.recv_many(&mut taken, AT_ONCE) => {
                    if count == 0 {
                        return;
                    }
                    for command in taken.drain(..) {
                        self.obey(command);
                    }
                }
                Some(socket) = departures.recv() => self.departed(socket),
                () = tokio::time::sleep_until(next) => {}
            }
            while let Ok(socket) = departures.try_recv() {
                self.departed(socket);
            }
            self.act();
        }
    }

    fn departed(&mut self, socket: SocketId) {
        self.sockets.remove(&socket);
        self.state.detach(socket, now());
    }

    fn obey(&mut self, command: Command) {
        // A reply that nobody waits for any more is no mistake.
        match command {
            Command::Publish {
                incoming,
                socket,
                reply,
            } => {
                let outcome = self.state.publish(*incoming, socket, now());
                metrics::counter!("goop_rendezvous_messages_total", "outcome" => match outcome {
                    Ok(()) => "taken",
                    Err(_) => "refused",
                })
                .increment(1);
                let _ = reply.send(outcome);
            }
            Command::Attach {
                peer,
                hello,
                lane,
                reply,
            } => {
                let _ = reply.send(self.attach(peer, hello, lane));
            }
            Command::Proved(socket) => self.state.proved(socket, now()),
            Command::Alive(socket) => self.state.alive(socket),
            Command::Snapshot(reply) => drop(reply.send(self.state.snapshot())),
            Command::StrangersSnapshot(reply) => {
                drop(reply.send(self.state.strangers_snapshot()));
            }
            Command::Standings(reply) => drop(reply.send(self.state.standings())),
            Command::Standing(peer, reply) => drop(reply.send(self.state.standing(&peer))),
            Command::Figures(reply) => drop(reply.send(Figures {
                peers: self.state.peers(),
                sockets: self.state.sockets(),
            })),
            Command::Journal(reply) => {
                let journal = self.journal.as_mut().map(std::mem::take);
                let _ = reply.send(journal.unwrap_or_default());
            }
            Command::Elsewhere(changes) => {
                for (change, instance) in changes {
                    self.state.from_elsewhere(change, &instance, now());
                }
            }
        }
    }

    fn attach(&mut self, peer: PeerId, hello: Hello, lane: Lane) -> Result<Connected, NotYet> {
        let welcome = self.state.attach(peer, hello, now())?;
        let (sender, inbox) = mpsc::channel(FOR_SOCKET);
        self.sockets.insert(welcome.socket, sender);
        Ok(Connected {
            seat: Seat {
                socket: welcome.socket,
                departed: self.departed.clone(),
            },
            snapshot: welcome.snapshot,
            hints: welcome.hints,
            lane: match lane {
                Lane::All => &self.all,
                Lane::Changes => &self.changes,
            }
            .subscribe(),
            inbox,
        })
    }

    fn act(&mut self) {
        let now = now();
        let strangers = self.strangers.receiver_count() > 0;
        self.state.tick(now, strangers);
        for action in self.state.drain() {
            match action {
                // An error is a lane without listeners.
                Action::Frames(batch) => {
                    metrics::counter!("goop_rendezvous_batches_total").increment(1);
                    let _ = self.all.send(batch.all);
                    if !batch.changes.is_empty() {
                        let _ = self.changes.send(batch.changes);
                    }
                    if !batch.strangers.is_empty() {
                        let _ = self.strangers.send(batch.strangers);
                    }
                }
                Action::Hints(socket, frames) => {
                    metrics::counter!("goop_rendezvous_hints_total").increment(frames.len() as u64);
                    self.tell(socket, ToSocket::Hints(frames));
                }
                Action::Close(socket) => {
                    self.tell(socket, ToSocket::Close);
                    // With its sender gone, a socket whose inbox is full ends, too.
                    self.sockets.remove(&socket);
                }
                Action::Challenge(socket) => self.tell(socket, ToSocket::Challenge),
                Action::Change(change) => self.note(change),
            }
        }
        metrics::gauge!("goop_rendezvous_peers").set(self.state.peers() as f64);
        metrics::gauge!("goop_rendezvous_sockets").set(self.state.sockets() as f64);
    }

    fn tell(&self, socket: SocketId, message: ToSocket) {
        if let Some(sender) = self.sockets.get(&socket) {
            // A full inbox is a client that does not read; presence tells it the same later.
            let _ = sender.try_send(message);
        }
    }

    fn note(&mut self, change: Change) {
        let peer = match &change {
            Change::Put(entry) => {
                let record = &entry.publication.record;
                let name: String = record.content.chars().take(64).collect();
                self.lines.push(&format!(
                    "{} {name:?}: {}",
                    record.peer,
                    kind(&entry.publication)
                ));
                record.peer
            }
            Change::Seen { peer, .. } => *peer,
            Change::Gone(peer) => {
                self.lines.push(&format!("{peer}: gone"));
                *peer
            }
        };
        if let Some(journal) = &mut self.journal {
            let entry = match change {
                Change::Put(entry) => Some(entry),
                Change::Gone(_) => None,
                Change::Seen { .. } => self.state.entry(&peer).map(Box::new),
            };
            journal.insert(peer, entry);
        }
    }
}

fn kind(publication: &Publication) -> String {
    let addrs = publication.record.addrs.len();
    let plural = if addrs == 1 { "" } else { "es" };
    let signed = match &publication.record.signature {
        Some(_) => ", signed",
        None => "",
    };
    format!("{addrs} address{plural}{signed}")
}
