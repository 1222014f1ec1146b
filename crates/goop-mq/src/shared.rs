//! What the parts of the bus share, and one attempt to bring a message to a peer.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use goop_identity::PeerId;
use serde_json::json;
use tokio::sync::{Notify, Semaphore, broadcast, mpsc, oneshot, watch};
use tokio::time::{Instant, timeout_at};

use crate::carry::{Carrier, CarryError};
use crate::identity::{Introductions, KeyNotice, PeerIdentity};
use crate::keys::{KeyBook, Plan};
use crate::log::EventLog;
use crate::mq::{FEATURES, Hints, Own, SendError, Setup};
use crate::outbox::Attempted;
use crate::receiver::Receiver;
use crate::router::Router;
use crate::serve::READING;
use crate::topic::{LocalTopic, PeerTopic};
use crate::turns::{Ticket, Turns};
use crate::wire::{Message, MsgId, Payload};

/// Ids of ours whose `mq.ack` may still come.
const SENT: usize = 4_096;
/// Identities a slow listener may fall behind.
const IDENTITIES: usize = 256;
/// What happened to a key.
#[derive(Debug, Clone)]
pub(crate) enum KeyEvent {
    /// The first one of a peer.
    Known(String),
    /// A peer that sealed before sends plain text.
    Plain,
    /// It has another key.
    Changed { notice: KeyNotice, accepted: bool },
    /// It says that ours is another one than before.
    Noticed(KeyNotice),
}

/// Messages to or from peers lately: only the receiver of a message can say that it was shown, and it is said once.
#[derive(Debug, Default)]
pub(crate) struct Sent {
    order: VecDeque<(PeerId, MsgId)>,
    known: HashSet<(PeerId, MsgId)>,
}

impl Sent {
    /// Whether it is new.
    fn note(&mut self, peer: PeerId, id: MsgId) -> bool {
        let new = self.known.insert((peer, id.clone()));
        if new {
            self.order.push_back((peer, id));
        }
        if self.order.len() > SENT
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
        new
    }

    /// Whether it was sent to that peer; the second time it is not any more.
    pub(crate) fn take(&mut self, peer: PeerId, id: &MsgId) -> bool {
        self.known.remove(&(peer, id.clone()))
    }
}

/// Messages that wait for their turn, and how they hear of it.
#[derive(Debug, Default)]
pub(crate) struct Waiting {
    pub(crate) turns: Turns,
    pub(crate) told: HashMap<Ticket, oneshot::Sender<()>>,
}

/// What all parts share. Each lock is held for a moment and never across an await.
pub(crate) struct Shared {
    pub(crate) me: PeerId,
    pub(crate) log: EventLog,
    pub(crate) router: Router,
    pub(crate) hints: Hints,
    pub(crate) keys_changed: watch::Sender<u64>,
    pub(crate) turn_ended: Notify,
    pub(crate) room: Arc<Semaphore>,
    pub(crate) identities: broadcast::Sender<(PeerId, Arc<PeerIdentity>)>,
    own: Own,
    keys: Mutex<KeyBook>,
    receiver: Mutex<Receiver>,
    turns: Mutex<Waiting>,
    introductions: Mutex<Introductions>,
    sent: Mutex<Sent>,
    shown: Mutex<Sent>,
    commands: mpsc::Sender<Command>,
    /// Numbers of our messages, from a clock (mq.md 12.2).
    seq: AtomicI64,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[derive(Debug)]
pub(crate) struct Order {
    pub(crate) peer: PeerId,
    pub(crate) id: MsgId,
    pub(crate) topic: PeerTopic,
    pub(crate) payload: Payload,
    pub(crate) budget: Duration,
    /// `None` if nobody waits for it.
    pub(crate) reply: Option<oneshot::Sender<Result<(), SendError>>>,
}

pub(crate) enum Command {
    Send(Order),
}

impl Shared {
    pub(crate) fn new(setup: Setup, commands: mpsc::Sender<Command>) -> Self {
        let clock = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        Self {
            me: setup.me,
            log: EventLog::default(),
            router: setup.router,
            hints: setup.hints,
            keys_changed: watch::channel(0).0,
            turn_ended: Notify::new(),
            room: Arc::new(Semaphore::new(READING)),
            identities: broadcast::channel(IDENTITIES).0,
            own: setup.own,
            keys: Mutex::new(setup.keys),
            receiver: Mutex::default(),
            turns: Mutex::default(),
            introductions: Mutex::default(),
            sent: Mutex::default(),
            shown: Mutex::default(),
            commands,
            seq: i64::try_from(clock.as_micros()).unwrap_or(1).into(),
        }
    }

    pub(crate) fn keys(&self) -> MutexGuard<'_, KeyBook> {
        lock(&self.keys)
    }
    pub(crate) fn receiver(&self) -> MutexGuard<'_, Receiver> {
        lock(&self.receiver)
    }
    pub(crate) fn turns(&self) -> MutexGuard<'_, Waiting> {
        lock(&self.turns)
    }
    pub(crate) fn introductions(&self) -> MutexGuard<'_, Introductions> {
        lock(&self.introductions)
    }
    pub(crate) fn sent(&self) -> MutexGuard<'_, Sent> {
        lock(&self.sent)
    }

    /// Gives an order to the task; `false` when the bus is leaving.
    pub(crate) async fn order(&self, order: Order) -> bool {
        self.commands.send(Command::Send(order)).await.is_ok()
    }

    /// A page has shown a message; see [`crate::Mq::shown`].
    pub(crate) fn page_has_shown(&self, from: Option<PeerId>, id: &MsgId) {
        let sender = from.unwrap_or(self.me);
        if !lock(&self.shown).note(sender, id.clone()) {
            return;
        }
        if let (Some(peer), Ok(payload)) = (from, Payload::of(&json!({ "msg_id": id.as_str() }))) {
            self.post(peer, PeerTopic::Ack, payload);
        }
        self.log.delivered(id.clone());
    }

    pub(crate) fn next_seq(&self) -> i64 {
        self.seq.fetch_add(1, Ordering::Relaxed)
    }

    /// Sends something nobody waits for. When too much waits already it is left out: whoever asked asks again.
    fn post(&self, peer: PeerId, topic: PeerTopic, payload: Payload) {
        let order = Order {
            peer,
            id: MsgId::random(),
            budget: topic.entry().budget,
            topic,
            payload,
            reply: None,
        };
        if self.commands.try_send(Command::Send(order)).is_err() {
            metrics::counter!("goop_mq_left_out").increment(1);
        }
    }

    /// What we say of ourselves.
    pub(crate) fn own_identity(&self) -> PeerIdentity {
        let mut identity = (self.own)();
        identity.peer_id = self.me.to_base58();
        identity.public_key = self.keys().own_public().unwrap_or_default();
        identity.encryption_supported = !identity.public_key.is_empty();
        identity.reachable = true;
        identity.features = FEATURES.map(str::to_owned).to_vec();
        identity
    }

    pub(crate) fn post_identity(&self, peer: PeerId) {
        if let Ok(payload) = Payload::of(&self.own_identity()) {
            self.post(peer, PeerTopic::IdentityResponse, payload);
        }
    }

    /// Whether it asks now; asked too often, it does not.
    pub(crate) fn ask_identity(&self, peer: PeerId) -> bool {
        let asks = self.introductions().ask(peer, Instant::now().into_std());
        if asks {
            self.post(peer, PeerTopic::Identity, Payload::null());
        }
        asks
    }

    pub(crate) fn post_notice(&self, peer: PeerId, notice: &KeyNotice) {
        // A Go peer would show it to its pages as a message of nobody's.
        if !self.keys().understands(&peer, FEATURES[0]) {
            return;
        }
        if let Ok(payload) = Payload::of(notice) {
            self.post(peer, PeerTopic::KeyNotice, payload);
        }
    }

    /// Tells pages that follow `log:…` about a message (mq.md 10).
    pub(crate) fn log_mq(
        &self,
        dir: &str,
        topic: &PeerTopic,
        peer: PeerId,
        sealed: bool,
        relayed: bool,
        error: Option<&str>,
    ) {
        if *topic == PeerTopic::Ack || !self.log.is_log_followed() {
            return;
        }
        let mut said = json!({
            "dir": dir,
            "topic": topic.to_string(),
            "peer": peer.to_base58(),
            "ts": unix_millis(),
        });
        match error {
            Some(error) => said["error"] = error.into(),
            None => said["via"] = if relayed { "relay" } else { "direct" }.into(),
        }
        if sealed {
            said["encrypted"] = true.into();
        }
        self.log.publish(&LocalTopic::LogMq, &said);
    }

    /// One attempt: our key first if it is not known there, then the message, sealed if it can be.
    pub(crate) async fn attempt<C: Carrier>(
        &self,
        carrier: C,
        out: Arc<Outgoing>,
        until: Instant,
    ) -> Attempted {
        let result = timeout_at(until, self.carry(&carrier, &out)).await;
        let attempted = result.unwrap_or_else(|_| {
            // Such texts keep a Go-made group (mq.md 1.6).
            Attempted::Failed(format!(
                "mq: waiting for ack from {}: timed out",
                out.peer.to_base58()
            ))
        });
        if attempted == Attempted::Delivered {
            self.sent().note(out.peer, out.id.clone());
            metrics::counter!("goop_mq_delivered").increment(1);
        } else {
            // Maybe it could not open it.
            self.keys()
                .told(&out.peer, false, Instant::now().into_std());
            self.log_mq(
                "error",
                &out.topic,
                out.peer,
                false,
                false,
                Some("unreachable"),
            );
        }
        attempted
    }

    async fn carry<C: Carrier>(&self, carrier: &C, out: &Outgoing) -> Attempted {
        let now = Instant::now().into_std();
        let plan = self.keys().plan(&out.peer, out.topic.entry().sealing, now);
        let failed = |error: CarryError| {
            if error.may_pass() {
                Attempted::Failed(error.to_string())
            } else {
                Attempted::Hopeless(error.to_string())
            }
        };
        let payload = match plan {
            Plan::Blocked(why) => return Attempted::Hopeless(why.to_string()),
            Plan::Plain => out.payload.clone(),
            Plan::Sealed { introduce } => {
                if introduce && let Err(error) = self.introduce(carrier, out.peer).await {
                    return failed(error);
                }
                let sealed = self.keys().seal(&out.peer, out.payload.as_str().as_bytes());
                let Some(sealed) = sealed else {
                    return Attempted::Hopeless("the payload could not be sealed".to_owned());
                };
                Payload::envelope(&sealed)
            }
        };
        let message = Message {
            id: out.id.clone(),
            seq: out.seq,
            topic: out.topic.to_string(),
            payload,
        };
        match carrier.carry(out.peer, &message).await {
            Ok(()) => {
                let sealed = matches!(plan, Plan::Sealed { .. });
                self.log_mq("send", &out.topic, out.peer, sealed, false, None);
                if out.topic == PeerTopic::IdentityResponse {
                    self.keys().told(&out.peer, true, now);
                }
                Attempted::Delivered
            }
            Err(error) => failed(error),
        }
    }

    /// Tells a peer our key, unsealed, before something sealed goes to it (mq.md W29).
    async fn introduce<C: Carrier>(&self, carrier: &C, peer: PeerId) -> Result<(), CarryError> {
        let payload = Payload::of(&self.own_identity()).unwrap_or_else(|_| Payload::null());
        let message = Message {
            id: MsgId::random(),
            seq: self.next_seq(),
            topic: PeerTopic::IdentityResponse.to_string(),
            payload,
        };
        carrier.carry(peer, &message).await?;
        self.keys().told(&peer, true, Instant::now().into_std());
        Ok(())
    }
}

fn unix_millis() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| {
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    })
}

/// A message on its way.
#[derive(Debug)]
pub(crate) struct Outgoing {
    pub(crate) peer: PeerId,
    pub(crate) id: MsgId,
    pub(crate) seq: i64,
    pub(crate) topic: PeerTopic,
    pub(crate) payload: Payload,
}
