//! What browsers follow (mq.md 4): one bounded log of numbered events per process, a cursor for each listener.
//!
//! Nobody takes an event away from anybody: a listener that comes back says the last one it saw and gets what followed;
//! a page that opens for the first time gets what peers sent while no page was there. What had to be thrown away is told
//! by a `reset`, after which the page asks for the whole state. The past of one key (a peer's presence) is replaced by
//! its newest event, so that state never piles up. A listener that does not read costs nothing but its cursor.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use goop_identity::PeerId;
use goop_identity::config::escape_like_go;
use serde::Serialize;
use tokio::sync::watch;

use crate::topic::{Filter, LocalTopic};
use crate::wire::{Message, MsgId, Payload};

/// Events of this peer that are kept for those who come back.
pub const KEPT_LOCAL: usize = 1_024;
/// Messages of one peer that are kept (mq.md 4.2).
pub const KEPT_PER_PEER: usize = 200;
/// Messages of all peers that are kept.
pub const KEPT_OF_PEERS: usize = 2_048;
/// Bytes of payloads that are kept, of everybody.
pub const KEPT_BYTES: usize = 32 * 1024 * 1024;
/// The topic that is only told to those who ask for it.
const LOG: &str = "log:mq";
/// Events a listener takes at a time.
const BATCH: usize = 64;

/// What an event says.
#[derive(Debug, Clone)]
pub enum Event {
    /// A message, of a peer or of this one.
    Message {
        /// Its id.
        id: MsgId,
        /// Its number with its sender.
        seq: i64,
        /// JSON without line breaks.
        payload: Arc<str>,
    },
    /// A page of the receiver has shown a message of ours.
    Delivered(MsgId),
}

/// One event as it is kept.
#[derive(Debug, Clone)]
pub struct Entry {
    /// Its number in this log.
    pub number: u64,
    /// What it is about; `mq.ack` for [`Event::Delivered`].
    pub topic: Arc<str>,
    /// Who sent it; `None` says this peer.
    pub from: Option<PeerId>,
    /// What it says.
    pub event: Event,
    /// The newest of a key replaces the others.
    key: Option<(LocalTopic, PeerId)>,
}

impl Entry {
    /// The JSON of the `data:` line, as a Go peer writes it.
    #[must_use]
    pub fn data(&self) -> String {
        let quoted = |text: &str| serde_json::to_string(text).unwrap_or_default();
        let text = match &self.event {
            Event::Delivered(id) => {
                format!(r#"{{"type":"delivered","msg_id":{}}}"#, quoted(id.as_str()))
            }
            Event::Message { id, seq, payload } => {
                let from = self
                    .from
                    .map(|peer| format!(r#","from":"{}""#, peer.to_base58()));
                format!(
                    r#"{{"type":"message","msg":{{"type":"msg","id":{},"seq":{seq},"topic":{},"payload":{payload}}}{}}}"#,
                    quoted(id.as_str()),
                    quoted(&self.topic),
                    from.unwrap_or_default()
                )
            }
        };
        escape_like_go(&text)
    }

    fn len(&self) -> usize {
        match &self.event {
            Event::Message { payload, .. } => payload.len(),
            Event::Delivered(_) => 0,
        }
    }
}

/// The log. Cheap to clone; all clones are one.
#[derive(Debug, Clone)]
pub struct EventLog {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    /// Tells one process's numbers from another's.
    epoch: String,
    state: Mutex<State>,
    newest: watch::Sender<u64>,
    /// Listeners that want `log:mq`.
    log_followers: AtomicUsize,
}

#[derive(Debug, Default)]
struct State {
    entries: VecDeque<Entry>,
    bytes: usize,
    locals: usize,
    of_peers: HashMap<PeerId, usize>,
    total_of_peers: usize,
    /// Newest number thrown away, of this peer's events and of messages.
    lost_local: u64,
    lost_message: u64,
    /// Newest number that a page took.
    heard: u64,
}

impl Default for EventLog {
    fn default() -> Self {
        let inner = Inner {
            epoch: format!("{:08x}", rand::random::<u32>()),
            state: Mutex::default(),
            newest: watch::channel(0).0,
            log_followers: AtomicUsize::new(0),
        };
        Self {
            inner: Arc::new(inner),
        }
    }
}

/// Where a listener begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum From<'a> {
    /// After the event with this id; a `reset` comes first if something after it is gone.
    After(&'a str),
    /// A new page: with the messages no page has taken yet, then with what happens.
    Unheard,
    /// With what happens from now on.
    Now,
}

/// What a listener gets next.
#[derive(Debug)]
pub enum Next {
    /// Events in order.
    Events(Vec<Entry>),
    /// Some were missed; the state has to be asked for anew. The number is where the listener is now.
    Reset(u64),
}

impl EventLog {
    /// Tells the pages something that happened here.
    pub fn publish(&self, topic: &LocalTopic, payload: &impl Serialize) {
        self.local(topic, None, payload);
    }

    /// As [`EventLog::publish`], and what was told of this peer under this topic before is forgotten: it is not so any
    /// more.
    pub fn publish_state(&self, topic: &LocalTopic, about: PeerId, payload: &impl Serialize) {
        self.local(topic, Some((topic.clone(), about)), payload);
    }

    fn local(
        &self,
        topic: &LocalTopic,
        key: Option<(LocalTopic, PeerId)>,
        payload: &impl Serialize,
    ) {
        let payload = serde_json::to_string(payload).unwrap_or_else(|_| "null".to_owned());
        let name = topic.to_string().into();
        self.push(|number| Entry {
            number,
            topic: name,
            from: None,
            event: Event::Message {
                id: MsgId::random(),
                seq: i64::try_from(number).unwrap_or(i64::MAX),
                payload: payload.into(),
            },
            key,
        });
    }

    /// Gives the pages a message of a peer.
    pub fn deliver(&self, from: PeerId, message: &Message) {
        let payload = one_line(&message.payload);
        self.push(|number| Entry {
            number,
            topic: message.topic.as_str().into(),
            from: Some(from),
            event: Event::Message {
                id: message.id.clone(),
                seq: message.seq,
                payload,
            },
            key: None,
        });
    }

    /// Tells the pages that a message of ours was shown to whom it was for.
    pub fn delivered(&self, id: MsgId) {
        self.push(|number| Entry {
            number,
            topic: "mq.ack".into(),
            from: None,
            event: Event::Delivered(id),
            key: None,
        });
    }

    /// Something was missed where events come from: every listener has to ask anew.
    pub fn skip(&self) {
        let mut state = self.state();
        state.retain(|entry| entry.from.is_some());
        let number = *self.inner.newest.borrow() + 1;
        state.lost_local = number;
        self.inner.newest.send_replace(number);
    }

    fn push(&self, entry: impl FnOnce(u64) -> Entry) {
        let mut state = self.state();
        let number = *self.inner.newest.borrow() + 1;
        state.push(entry(number));
        self.inner.newest.send_replace(number);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.inner
            .state
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// The id of an event on the stream.
    #[must_use]
    pub fn id_of(&self, number: u64) -> String {
        format!("{}-{number}", self.inner.epoch)
    }

    /// Whether somebody follows `log:mq`, which costs an event for each message.
    #[must_use]
    pub fn is_log_followed(&self) -> bool {
        self.inner.log_followers.load(Ordering::Relaxed) > 0
    }

    fn number_of(&self, id: &str) -> Option<u64> {
        let number = id.strip_prefix(&self.inner.epoch)?.strip_prefix('-')?;
        number.parse().ok()
    }

    /// A listener of the topics it wants.
    #[must_use]
    pub fn listen(&self, from: From<'_>, filter: Filter) -> Listener {
        let newest = self.inner.newest.subscribe();
        if filter.wants(LOG, None) {
            self.inner.log_followers.fetch_add(1, Ordering::Relaxed);
        }
        let state = self.state();
        let now = *newest.borrow();
        let mut listener = Listener {
            log: self.clone(),
            filter,
            at: now,
            told: now,
            messages_only: 0,
            missed: false,
            newest,
        };
        match from {
            From::Now => {}
            From::After(id) => match self.number_of(id).filter(|number| *number <= now) {
                Some(number) => (listener.at, listener.told) = (number, number),
                None => listener.missed = true,
            },
            From::Unheard => {
                (listener.at, listener.messages_only) = (state.heard, now);
                listener.missed = state.lost_message > state.heard;
            }
        }
        drop(state);
        listener
    }
}

/// JSON text in one line: outside strings line breaks are only white space, inside they are escaped.
fn one_line(payload: &Payload) -> Arc<str> {
    let text = payload.as_str();
    if text.contains(['\n', '\r', '\t']) {
        text.replace(['\n', '\r', '\t'], "").into()
    } else {
        text.into()
    }
}

impl State {
    fn push(&mut self, entry: Entry) {
        if let Some(key) = &entry.key {
            let same = self
                .entries
                .iter()
                .position(|old| old.key.as_ref() == Some(key));
            // What is newer says it all: nothing is missed.
            same.and_then(|at| self.take(at));
        }
        self.bytes += entry.len();
        match entry.from {
            None => self.locals += 1,
            Some(peer) => {
                self.total_of_peers += 1;
                *self.of_peers.entry(peer).or_default() += 1;
            }
        }
        let from = entry.from;
        self.entries.push_back(entry);
        if self.locals > KEPT_LOCAL {
            self.lose(|old| old.from.is_none());
        }
        if let Some(peer) = from
            && self.of_peers.get(&peer).copied().unwrap_or_default() > KEPT_PER_PEER
        {
            self.lose(|old| old.from == Some(peer));
        }
        if self.total_of_peers > KEPT_OF_PEERS {
            self.lose(|old| old.from.is_some());
        }
        while self.bytes > KEPT_BYTES && self.lose(|_| true) {}
    }

    /// Throws the oldest one away that fits, and remembers that it is gone.
    fn lose(&mut self, fits: impl Fn(&Entry) -> bool) -> bool {
        let gone = self
            .entries
            .iter()
            .position(fits)
            .and_then(|at| self.take(at));
        match &gone {
            Some(entry) if entry.from.is_some() => self.lost_message = entry.number,
            Some(entry) => self.lost_local = self.lost_local.max(entry.number),
            None => return false,
        }
        true
    }

    fn take(&mut self, at: usize) -> Option<Entry> {
        let entry = self.entries.remove(at)?;
        self.bytes -= entry.len();
        match entry.from {
            None => self.locals -= 1,
            Some(peer) => {
                self.total_of_peers -= 1;
                if let Some(count) = self.of_peers.get_mut(&peer) {
                    *count -= 1;
                    if *count == 0 {
                        self.of_peers.remove(&peer);
                    }
                }
            }
        }
        Some(entry)
    }

    fn retain(&mut self, keep: impl Fn(&Entry) -> bool) {
        while let Some(at) = self.entries.iter().position(|entry| !keep(entry)) {
            self.take(at);
        }
    }
}

/// One listener.
#[derive(Debug)]
pub struct Listener {
    log: EventLog,
    filter: Filter,
    /// The newest number it has seen.
    at: u64,
    /// Losses up to this number it has been told of, or does not mind.
    told: u64,
    /// Up to this number only messages of peers are wanted.
    messages_only: u64,
    missed: bool,
    newest: watch::Receiver<u64>,
}

impl Drop for Listener {
    fn drop(&mut self) {
        if self.filter.wants(LOG, None) {
            self.log.inner.log_followers.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

impl Listener {
    /// What comes next; waits for it.
    pub async fn next(&mut self) -> Next {
        loop {
            if let Some(next) = self.take() {
                return next;
            }
            if self.newest.changed().await.is_err() {
                return std::future::pending().await;
            }
        }
    }

    fn take(&mut self) -> Option<Next> {
        if std::mem::take(&mut self.missed) {
            return Some(Next::Reset(self.at));
        }
        let newest = *self.newest.borrow_and_update();
        if newest <= self.at {
            return None;
        }
        let mut state = self.log.state();
        let lost = state.lost_local.max(state.lost_message);
        if lost > self.told.max(self.at) {
            self.told = newest;
            return Some(Next::Reset(self.at));
        }
        // Numbers are in order, so the first new one is found by halving.
        let first = state
            .entries
            .partition_point(|entry| entry.number <= self.at);
        let mut events = Vec::new();
        let mut at = newest;
        for entry in state.entries.range(first..) {
            if events.len() == BATCH {
                break;
            }
            at = entry.number;
            let in_time = entry.number > self.messages_only || entry.from.is_some();
            if in_time && self.filter.wants(&entry.topic, entry.from) {
                events.push(entry.clone());
            }
        }
        self.at = if events.len() == BATCH { at } else { newest };
        if self.filter == Filter::Usual {
            state.heard = state.heard.max(self.at);
        }
        drop(state);
        if events.is_empty() {
            // Nothing of it was wanted; there may be more.
            return self.take();
        }
        Some(Next::Events(events))
    }
}
