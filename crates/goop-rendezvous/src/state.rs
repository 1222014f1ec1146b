//! Who is there, as a value: no sockets, no clock, no task (rendezvous.md 2.2, 4 to 9).
//!
//! Everything that happens is a method with the time as a parameter. It changes the value and leaves [`Action`]s behind,
//! which the one task that owns the value takes out with [`State::drain`] and carries out. [`Change`] is the part of
//! them that other instances would need to know; what keeps the table on disk listens to it, and so can what carries it
//! elsewhere (`docs/decisions/0006-one-owner-of-presence.md`).

mod fanout;
mod hints;
mod sockets;
mod table;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use goop_identity::PeerId;
use goop_identity::presence::PresenceKind;

use crate::wire::{self, Publication};

pub use fanout::{Batch, Frames};
use fanout::{Fanout, News};
use hints::Hints;
pub use hints::{HINT_LIFE, MAX_PARTNERS, MAX_WAITING, ROUND_EVERY};
use sockets::{Attach, Sockets};
pub use sockets::{CONTEST, Hello, SocketId};
use table::Table;
pub use table::{Row, SIGNED_WINDOW, Standing};

/// A peer that said nothing for this long is gone (rendezvous.md 9).
pub const TTL: Duration = Duration::from_secs(30);
/// How often stale peers are looked for (rendezvous.md 9).
pub const SWEEP: Duration = Duration::from_secs(5);
/// A peer whose socket closed is announced as gone after this, unless it comes back. Go clients come back after a
/// quarter of a second (rendezvous.md 6.4).
pub const LINGER: Duration = Duration::from_secs(2);
/// An update that says nothing new is passed on this often; receivers give a peer up after 20 s (rendezvous.md 7).
pub const REPEAT: Duration = Duration::from_secs(8);
/// Peers that are known at most. At about 2 KiB each that is 100 MB.
pub const MAX_PEERS: usize = 50_000;

/// The time, by both clocks.
#[derive(Debug, Clone, Copy)]
pub struct Now {
    /// For spans.
    pub at: Instant,
    /// Unix milliseconds, for what is told to others.
    pub ms: i64,
}

/// What is to be done after a change.
#[derive(Debug, Clone)]
pub enum Action {
    /// Messages for everybody who listens.
    Frames(Batch),
    /// Hints for one socket.
    Hints(SocketId, Vec<Bytes>),
    /// This socket is over; somebody else speaks for its peer, or it never proved what it wanted to.
    Close(SocketId),
    /// Somebody else wants to speak for the peer of this socket: ask it for a sign of life, and say so with
    /// [`State::alive`].
    Challenge(SocketId),
    /// Something other instances and the disk would want to know.
    Change(Change),
}

/// What happened to the table: a stream of these, in order, makes the same table elsewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// A peer came, or says something new.
    Put(Box<Entry>),
    /// A peer is still there.
    Seen {
        /// Who.
        peer: PeerId,
        /// Unix milliseconds by the server's clock.
        last_seen: i64,
        /// Bytes it sent so far.
        bytes_sent: u64,
    },
    /// A peer is gone.
    Gone(PeerId),
}

/// One row, as others keep it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// What the peer said last, with its token.
    pub publication: Publication,
    /// Unix milliseconds by the server's clock.
    pub last_seen: i64,
    /// Bytes the peer sent in messages.
    pub bytes_sent: u64,
    /// Bytes of messages that were passed on while the peer was there.
    pub bytes_received: u64,
}

/// Why a message changes nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The peer signs, and this message is not signed.
    #[error("this peer signs what it says; a message without a valid signature is not taken")]
    NeedsSignature,
    /// A signed message was sent again, or overtaken by a newer one.
    #[error("a newer signed message of this peer is known")]
    Outdated,
    /// A socket speaks for its own peer only.
    #[error("a socket speaks for its own peer only")]
    NotYours,
    /// [`MAX_PEERS`] are there.
    #[error("the server is full")]
    Full,
}

/// Why a socket is not opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotYet {
    /// The peer published nothing yet. The text is the Go program's (rendezvous.md 6.1).
    #[error("unknown peer — publish first")]
    Unknown,
    /// Another socket speaks for this peer, and it was asked whether it still does.
    #[error("another connection speaks for this peer — try again")]
    Occupied,
}

/// What a socket starts with.
#[derive(Debug, Clone)]
pub struct Welcome {
    /// The socket's name from now on.
    pub socket: SocketId,
    /// One message for each peer that is there.
    pub snapshot: Frames,
    /// Hints that waited for this socket.
    pub hints: Vec<Bytes>,
}

/// A message with what was found out about it outside: whether its signature holds, and whether its e-mail address is
/// proven.
#[derive(Debug, Clone)]
pub struct Incoming {
    /// What the client says.
    pub publication: Publication,
    /// The signature is valid.
    pub signed: bool,
    /// The e-mail address is proven, or nobody asks for that.
    pub verified: bool,
}

/// Everything a rendezvous knows at one moment.
#[derive(Debug)]
pub struct State {
    table: Table,
    sockets: Sockets,
    hints: Hints,
    fanout: Fanout,
    /// Peers whose socket closed, and when that counts.
    leaving: BTreeSet<(Instant, PeerId)>,
    sweep_at: Instant,
    snapshot: Option<Frames>,
    actions: Vec<Action>,
}

impl State {
    /// An empty table.
    #[must_use]
    pub fn new(now: Now) -> Self {
        Self {
            table: Table::default(),
            sockets: Sockets::default(),
            hints: Hints::default(),
            fanout: Fanout::new(now.at),
            leaving: BTreeSet::new(),
            sweep_at: now.at + SWEEP,
            snapshot: None,
            actions: Vec::new(),
        }
    }

    /// A client said something, over `socket` or by a request of its own.
    ///
    /// # Errors
    /// [`Refused`], and nothing changed.
    pub fn publish(
        &mut self,
        incoming: Incoming,
        socket: Option<SocketId>,
        now: Now,
    ) -> Result<(), Refused> {
        let peer = incoming.publication.record.peer;
        if socket.is_some_and(|socket| !self.sockets.is_of(socket, &peer)) {
            return Err(Refused::NotYours);
        }
        let publication = self.table.admit(incoming, now)?;
        if publication.record.kind == PresenceKind::Offline {
            if self.table.remove(&peer).is_some() {
                let frame = publication.to_frame();
                self.left(peer, frame, now);
            }
            return Ok(());
        }
        self.put(publication, now, None);
        Ok(())
    }

    /// Another instance of the server says what happened at its side.
    pub fn from_elsewhere(&mut self, change: Change, instance: &Arc<str>, now: Now) {
        match change {
            Change::Put(entry) => {
                let peer = entry.publication.record.peer;
                let known = self.table.get(&peer);
                let ours = known.is_some_and(|row| row.instance.is_none());
                let newer = known.is_none_or(|row| row.last_seen < entry.last_seen);
                if newer && !ours && !self.table.is_full_for(&peer) {
                    self.put(entry.publication, now, Some(instance.clone()));
                }
            }
            Change::Seen {
                peer, last_seen, ..
            } => self.table.seen_elsewhere(&peer, instance, last_seen, now),
            Change::Gone(peer) => {
                let theirs = |row: &Row| row.instance.as_deref() == Some(&**instance);
                if self.table.get(&peer).is_some_and(theirs) {
                    self.table.remove(&peer);
                    self.left(peer, wire::gone(peer, now.ms), now);
                }
            }
        }
    }

    /// A row from the time before a restart. It counts from when it was last seen.
    pub fn restore(&mut self, entry: Entry, now: Now) {
        let age = u64::try_from(now.ms.saturating_sub(entry.last_seen)).unwrap_or(0);
        let age = Duration::from_millis(age);
        if age < TTL && !self.table.is_full_for(&entry.publication.record.peer) {
            self.table.restore(entry, age, now);
            self.snapshot = None;
        }
    }

    fn put(&mut self, publication: Publication, now: Now, instance: Option<Arc<str>>) {
        let peer = publication.record.peer;
        let elsewhere = instance.is_some();
        let change = self.table.put(publication, instance, now);
        let total = change.total;
        if change.said_something_new {
            self.snapshot = None;
            self.fanout
                .push(peer, change.row.frame.clone(), News::Yes, now.at);
            change.row.passed_on = now.at;
        } else if now.at.saturating_duration_since(change.row.passed_on) >= REPEAT {
            self.fanout
                .push(peer, change.row.frame.clone(), News::No, now.at);
            change.row.passed_on = now.at;
        }
        if change.addresses_changed && !change.row.publication.record.addrs.is_empty() {
            self.hints.arrived(peer, now.at);
        }
        if !elsewhere {
            let told = if change.said_something_new {
                Change::Put(Box::new(change.row.entry(total)))
            } else {
                Change::Seen {
                    peer,
                    last_seen: now.ms,
                    bytes_sent: change.row.bytes_sent,
                }
            };
            self.actions.push(Action::Change(told));
        }
    }

    /// A client wants a socket for its peer. See [`Hello`] for what it promises.
    ///
    /// # Errors
    /// [`NotYet`]; trying again later may work.
    pub fn attach(&mut self, peer: PeerId, hello: Hello, now: Now) -> Result<Welcome, NotYet> {
        if self.table.get(&peer).is_none() {
            return Err(NotYet::Unknown);
        }
        let socket = match self.sockets.attach(peer, hello, now.at) {
            Attach::Opened { socket, displaced } => {
                self.actions.extend(displaced.map(Action::Close));
                socket
            }
            Attach::Occupied { challenge } => {
                self.actions.extend(challenge.map(Action::Challenge));
                return Err(NotYet::Occupied);
            }
        };
        self.table.stays(&peer);
        let hints = if self.sockets.current(&peer) == Some(socket) {
            self.hints.take_waiting(&peer, now.at)
        } else {
            Vec::new()
        };
        Ok(Welcome {
            socket,
            snapshot: self.snapshot(),
            hints,
        })
    }

    /// The client of a socket signed the nonce it was given. Any other socket of its peer is over.
    pub fn proved(&mut self, socket: SocketId, now: Now) {
        let Some(displaced) = self.sockets.proved(socket) else {
            return;
        };
        self.actions.extend(displaced.map(Action::Close));
        if let Some(peer) = self.sockets.peer(socket) {
            let hints = self.hints.take_waiting(&peer, now.at);
            if !hints.is_empty() {
                self.actions.push(Action::Hints(socket, hints));
            }
        }
    }

    /// A challenged socket gave a sign of life.
    pub fn alive(&mut self, socket: SocketId) {
        self.sockets.alive(socket);
    }

    /// A socket closed. Its peer is gone in [`LINGER`] if it does not come back.
    pub fn detach(&mut self, socket: SocketId, now: Now) {
        if let Some(peer) = self.sockets.detach(socket)
            && let Some(row) = self.table.get_mut(&peer)
            && row.instance.is_none()
        {
            let at = now.at + LINGER;
            row.leaving = Some(at);
            self.leaving.insert((at, peer));
        }
    }

    /// Time passed: whoever said nothing for [`TTL`] is gone, hints are made, messages go out. `strangers` says whether
    /// anybody listens on `/events`.
    pub fn tick(&mut self, now: Now, strangers: bool) {
        while let Some(&(at, peer)) = self.leaving.first() {
            if at > now.at {
                break;
            }
            self.leaving.pop_first();
            let still = |row: &Row| row.leaving == Some(at);
            if self.table.get(&peer).is_some_and(still) {
                self.table.remove(&peer);
                self.left(peer, wire::gone(peer, now.ms), now);
            }
        }
        if now.at >= self.sweep_at {
            self.sweep_at = now.at + SWEEP;
            for peer in self.table.sweep(now) {
                self.left(peer, wire::gone(peer, now.ms), now);
            }
            for socket in self.sockets.sweep(now.at) {
                self.actions.push(Action::Close(socket));
            }
            self.hints.sweep(&self.table, now.at);
        }
        self.make_hints(now, strangers);
        if let Some(batch) = self
            .fanout
            .flush(&self.table, self.sockets.len(), strangers, now)
        {
            self.actions.push(Action::Frames(batch));
        }
    }

    fn make_hints(&mut self, now: Now, strangers: bool) {
        for (target, frame) in self.hints.run(&self.table, now) {
            if let Some(socket) = self.sockets.current(&target) {
                match self.actions.last_mut() {
                    Some(Action::Hints(last, frames)) if *last == socket => frames.push(frame),
                    _ => self.actions.push(Action::Hints(socket, vec![frame])),
                }
                continue;
            }
            // Who listens on `/events` only has no other way to hear of it (rendezvous.md 8).
            if strangers {
                self.fanout.push_hint(frame.clone(), now.at);
            }
            self.hints.wait(target, frame, now.at);
        }
    }

    fn left(&mut self, peer: PeerId, frame: Bytes, now: Now) {
        self.snapshot = None;
        self.table.count_passed_on(&frame);
        self.fanout.push(peer, frame, News::Yes, now.at);
        self.actions.push(Action::Change(Change::Gone(peer)));
    }

    /// When [`State::tick`] has something to do.
    #[must_use]
    pub fn next(&self) -> Instant {
        let leaving = self.leaving.first().map(|(at, _)| *at);
        [
            leaving,
            self.fanout.next(self.sockets.len()),
            self.hints.next(),
        ]
        .into_iter()
        .flatten()
        .fold(self.sweep_at, Instant::min)
    }

    /// What is to be done, in order. Who drops it decides not to do it.
    pub fn drain(&mut self) -> Vec<Action> {
        std::mem::take(&mut self.actions)
    }

    /// One message for each peer that is there.
    pub fn snapshot(&mut self) -> Frames {
        let table = &self.table;
        self.snapshot
            .get_or_insert_with(|| table.rows().map(|row| row.frame.clone()).collect())
            .clone()
    }

    /// The same as strangers may see it.
    #[must_use]
    pub fn strangers_snapshot(&self) -> Frames {
        let rows = self.table.rows();
        rows.map(|row| row.publication.to_public_frame()).collect()
    }

    /// One row, as others keep it.
    #[must_use]
    pub fn entry(&self, peer: &PeerId) -> Option<Entry> {
        let row = self.table.get(peer)?;
        Some(row.entry(self.table.passed_on()))
    }

    /// The rows as pages show them: those that just came first, then by when they were last seen (rendezvous.md 2.2).
    #[must_use]
    pub fn standings(&self) -> Vec<Standing> {
        let mut standings: Vec<Standing> = self
            .table
            .rows()
            .map(|row| {
                let connected = self.sockets.current(&row.publication.record.peer).is_some();
                row.standing(connected, self.table.passed_on())
            })
            .collect();
        standings.sort_by_key(|row| (row.kind != PresenceKind::Online, -row.last_seen));
        standings
    }

    /// One row, if the peer is there.
    #[must_use]
    pub fn standing(&self, peer: &PeerId) -> Option<Standing> {
        let row = self.table.get(peer)?;
        let connected = self.sockets.current(peer).is_some();
        Some(row.standing(connected, self.table.passed_on()))
    }

    /// How many peers are there.
    #[must_use]
    pub fn peers(&self) -> usize {
        self.table.len()
    }

    /// How many sockets are open.
    #[must_use]
    pub fn sockets(&self) -> usize {
        self.sockets.len()
    }
}
