//! Live events for browsers (mq.md 4, 7, 10): one bounded log, a cursor for each listener.
//!
//! Every event has a number. A listener that comes back says the last one it saw and gets what followed; one that was
//! away for too long, or is too slow, gets a `reset` and asks for the whole state again. All tabs see all events.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::UNIX_EPOCH;

use goop_net::{PeerEvent, PeerRow};
use serde::Serialize;
use serde_json::Value;
use tokio::sync::{broadcast, watch};

use crate::reply::go_json;

/// Events that are kept for those who come back.
const CAPACITY: usize = 1_024;

/// One event as it is sent.
#[derive(Debug, Clone)]
pub struct Entry {
    /// Its number.
    pub number: u64,
    /// What it is about; sites see only some topics.
    pub topic: &'static str,
    /// The JSON of the `data:` line.
    pub data: Arc<str>,
}

/// The log. Cheap to clone.
#[derive(Debug, Clone)]
pub struct EventLog {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    /// Tells one process's numbers from another's.
    epoch: String,
    entries: Mutex<VecDeque<Entry>>,
    newest: watch::Sender<u64>,
}

impl Default for EventLog {
    fn default() -> Self {
        let epoch = format!("{:08x}", rand::random::<u32>());
        Self {
            inner: Arc::new(Inner {
                epoch,
                entries: Mutex::default(),
                newest: watch::channel(0).0,
            }),
        }
    }
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
    /// Publishes a local event (mq.md 4.2): a message without a sender.
    pub fn publish(&self, topic: &'static str, payload: &impl Serialize) {
        let payload = serde_json::to_value(payload).unwrap_or(Value::Null);
        let mut entries = self
            .inner
            .entries
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let number = *self.inner.newest.borrow() + 1;
        let event = Event {
            kind: "message",
            msg: Message {
                kind: "msg",
                id: uuid::Uuid::new_v4().to_string(),
                seq: number,
                topic,
                payload,
            },
        };
        let data = go_json(&event).trim_end().into();
        if entries.len() >= CAPACITY {
            entries.pop_front();
        }
        entries.push_back(Entry {
            number,
            topic,
            data,
        });
        self.inner.newest.send_replace(number);
    }

    /// The id of an event on the stream.
    #[must_use]
    pub fn id_of(&self, number: u64) -> String {
        format!("{}-{number}", self.inner.epoch)
    }

    /// A listener that continues after `last_seen` (the id it got with its last event), or from now on.
    #[must_use]
    pub fn listen(&self, last_seen: Option<&str>) -> Listener {
        let newest = self.inner.newest.subscribe();
        let now = *newest.borrow();
        let (at, missed) = match last_seen {
            None => (now, false),
            Some(id) => match self.number_of(id).filter(|number| *number <= now) {
                Some(number) => (number, false),
                None => (now, true),
            },
        };
        Listener {
            log: self.clone(),
            at,
            missed,
            newest,
        }
    }

    fn number_of(&self, id: &str) -> Option<u64> {
        id.strip_prefix(&self.inner.epoch)?
            .strip_prefix('-')?
            .parse()
            .ok()
    }

    /// Forwards what happens to peers until the network is gone.
    pub(crate) async fn follow_peers(self, mut events: broadcast::Receiver<PeerEvent>) {
        loop {
            match events.recv().await {
                Ok(PeerEvent::Changed(row)) => {
                    self.publish("peer:announce", &Announced::from(&*row))
                }
                Ok(PeerEvent::Gone(peer)) => {
                    self.publish(
                        "peer:gone",
                        &serde_json::json!({ "peerID": peer.to_base58() }),
                    );
                }
                // Pages see what they missed in the list they ask for after a reset.
                Err(broadcast::error::RecvError::Lagged(_)) => self.skip(),
                Err(broadcast::error::RecvError::Closed) => return,
            }
        }
    }

    /// Makes every listener ask anew.
    fn skip(&self) {
        let mut entries = self
            .inner
            .entries
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        entries.clear();
        let number = *self.inner.newest.borrow() + 2;
        self.inner.newest.send_replace(number);
    }
}

/// One listener.
#[derive(Debug)]
pub struct Listener {
    log: EventLog,
    at: u64,
    missed: bool,
    newest: watch::Receiver<u64>,
}

impl Listener {
    /// What comes next; waits for it.
    pub async fn next(&mut self) -> Next {
        loop {
            if std::mem::take(&mut self.missed) {
                return Next::Reset(self.at);
            }
            let newest = *self.newest.borrow_and_update();
            if newest > self.at {
                let entries = self
                    .log
                    .inner
                    .entries
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner);
                let whole = entries
                    .front()
                    .is_some_and(|oldest| oldest.number <= self.at + 1);
                let new: Vec<Entry> = entries
                    .iter()
                    .filter(|entry| entry.number > self.at)
                    .cloned()
                    .collect();
                drop(entries);
                self.at = newest.max(new.last().map_or(0, |entry| entry.number));
                return if whole {
                    Next::Events(new)
                } else {
                    Next::Reset(self.at)
                };
            }
            if self.newest.changed().await.is_err() {
                return std::future::pending().await;
            }
        }
    }
}

#[derive(Serialize)]
struct Event {
    #[serde(rename = "type")]
    kind: &'static str,
    msg: Message,
}

#[derive(Serialize)]
struct Message {
    #[serde(rename = "type")]
    kind: &'static str,
    id: String,
    seq: u64,
    topic: &'static str,
    payload: Value,
}

/// A peer as `peer:announce` tells it (peer-directory.md 9).
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Announced {
    #[serde(rename = "peerID")]
    peer_id: String,
    content: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    email: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    avatar_hash: String,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    video_disabled: bool,
    #[serde(skip_serializing_if = "String::is_empty")]
    active_template: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    public_key: String,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    encryption_supported: bool,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    verified: bool,
    #[serde(skip_serializing_if = "String::is_empty")]
    goop_client_version: String,
    reachable: bool,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    offline: bool,
    last_seen: u64,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    favorite: bool,
}

impl From<&PeerRow> for Announced {
    fn from(row: &PeerRow) -> Self {
        let since = row.last_seen.duration_since(UNIX_EPOCH).unwrap_or_default();
        Self {
            peer_id: row.id.to_base58(),
            content: row.content.clone(),
            email: row.email.clone(),
            avatar_hash: row.avatar_hash.clone(),
            video_disabled: row.video_disabled,
            active_template: row.active_template.clone(),
            public_key: row.public_key.clone(),
            encryption_supported: row.encryption_supported,
            verified: row.verified,
            goop_client_version: row.goop_client_version.clone(),
            reachable: row.reachable,
            offline: row.offline_since.is_some(),
            last_seen: u64::try_from(since.as_millis()).unwrap_or(u64::MAX),
            favorite: row.favorite,
        }
    }
}
