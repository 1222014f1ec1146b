//! The bus: the handle everybody holds, and the one task that owns what waits to be sent.

use std::collections::{HashMap, HashSet, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures_util::StreamExt;
use goop_identity::PeerId;
use serde_json::json;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{Notify, Semaphore, broadcast, mpsc, oneshot, watch};
use tokio::task::{Id, JoinSet};
use tokio::time::{Instant, sleep_until, timeout_at};
use tokio_util::sync::CancellationToken;

use crate::carry::Carrier;
use crate::identity::{Introductions, KeyNotice, PeerIdentity};
use crate::keys::{KeyBook, Plan};
use crate::log::EventLog;
use crate::outbox::{Action, Attempted, Failure, Full, Item, Outbox, Ticket};
use crate::receiver::Receiver;
use crate::router::Router;
use crate::serve::{READING, ServeError};
use crate::topic::{LocalTopic, PeerTopic};
use crate::wire::{Message, MsgId, Payload};

/// Orders that wait for the task; it takes them in microseconds.
const INBOX: usize = 256;
/// Peers that something waits for at once.
const OUTBOXES: usize = 1_024;
/// Bytes that wait for all peers together.
const WAITING: usize = 64 * 1024 * 1024;
/// Ids of ours whose `mq.ack` may still come.
const SENT: usize = 4_096;
/// Identities a slow listener may fall behind.
const IDENTITIES: usize = 256;
/// Peers a broadcast is brought to at the same time.
const BROADCAST: usize = 16;
/// What our peers say they understand beyond the Go program's messages.
pub const FEATURES: [&str; 1] = ["key-notice"];

/// Why a message was not sent or not delivered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// A peer does not send to itself.
    #[error("mq: a peer cannot send to itself")]
    ToSelf,
    /// Too much waits already.
    #[error(transparent)]
    Full(#[from] Full),
    /// It was tried and did not work, or took too long.
    #[error(transparent)]
    Failed(#[from] Failure),
    /// The peer is shutting down.
    #[error("mq: this peer is leaving")]
    Leaving,
}

/// What happened to a key.
#[derive(Debug, Clone)]
pub(crate) enum KeyEvent {
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

/// Keys that others say are a peer's, in base64.
pub type Hints = Arc<dyn Fn(&PeerId) -> Option<String> + Send + Sync>;
/// What a peer says of itself, as it is now.
pub type Own = Arc<dyn Fn() -> PeerIdentity + Send + Sync>;

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
    introductions: Mutex<Introductions>,
    sent: Mutex<Sent>,
    shown: Mutex<Sent>,
    commands: mpsc::Sender<Command>,
    /// Numbers of our messages, from a clock (mq.md 12.2).
    seq: std::sync::atomic::AtomicI64,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[derive(Debug)]
struct Order {
    peer: PeerId,
    id: MsgId,
    topic: PeerTopic,
    payload: Payload,
    budget: Duration,
    /// `None` if nobody waits for it.
    reply: Option<oneshot::Sender<Result<(), SendError>>>,
}

enum Command {
    Send(Order),
}

impl Shared {
    pub(crate) fn keys(&self) -> MutexGuard<'_, KeyBook> {
        lock(&self.keys)
    }
    pub(crate) fn receiver(&self) -> MutexGuard<'_, Receiver> {
        lock(&self.receiver)
    }
    pub(crate) fn introductions(&self) -> MutexGuard<'_, Introductions> {
        lock(&self.introductions)
    }
    pub(crate) fn sent(&self) -> MutexGuard<'_, Sent> {
        lock(&self.sent)
    }

    fn next_seq(&self) -> i64 {
        self.seq.fetch_add(1, std::sync::atomic::Ordering::Relaxed)
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

    pub(crate) fn ask_identity(&self, peer: PeerId) {
        let now = Instant::now().into_std();
        if self.introductions().ask(peer, now) {
            self.post(peer, PeerTopic::Identity, Payload::null());
        }
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
    async fn attempt<C: Carrier>(
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
        let failed = |error: crate::carry::CarryError| {
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
    async fn introduce<C: Carrier>(
        &self,
        carrier: &C,
        peer: PeerId,
    ) -> Result<(), crate::carry::CarryError> {
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
struct Outgoing {
    peer: PeerId,
    id: MsgId,
    seq: i64,
    topic: PeerTopic,
    payload: Payload,
}

/// What a bus is made of.
pub struct Setup {
    /// Our peer id.
    pub me: PeerId,
    /// What we say of ourselves; key and id are filled in.
    pub own: Own,
    /// Our keys, and those of others.
    pub keys: KeyBook,
    /// Keys that others say are a peer's, in base64. They are only tried to open with.
    pub hints: Hints,
    /// Who owns which topics.
    pub router: Router,
}

impl fmt::Debug for Setup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Setup")
            .field("me", &self.me)
            .field("router", &self.router)
            .finish_non_exhaustive()
    }
}

/// The bus. Cheap to clone; all clones are one.
#[derive(Clone)]
pub struct Mq {
    pub(crate) shared: Arc<Shared>,
}

impl fmt::Debug for Mq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mq")
            .field("me", &self.shared.me)
            .finish_non_exhaustive()
    }
}

/// The task behind a bus; what is sent waits until it runs.
#[derive(Debug)]
pub struct Task {
    mq: Mq,
    inbox: mpsc::Receiver<Command>,
}

impl fmt::Debug for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self::Send(order) = self;
        write!(f, "Send({} to {})", order.topic, order.peer)
    }
}

/// What became of a broadcast.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct BroadcastReport {
    /// Who acknowledged it.
    pub delivered: Vec<PeerId>,
    /// Who did not, and why.
    pub failed: Vec<(PeerId, SendError)>,
}

impl Mq {
    /// Puts a bus together. It receives at once; it sends as soon as its [`Task`] runs.
    #[must_use]
    pub fn new(setup: Setup) -> (Self, Task) {
        let (commands, inbox) = mpsc::channel(INBOX);
        let clock = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        let shared = Shared {
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
            introductions: Mutex::default(),
            sent: Mutex::default(),
            shown: Mutex::default(),
            commands,
            seq: i64::try_from(clock.as_micros()).unwrap_or(1).into(),
        };
        let mq = Self {
            shared: Arc::new(shared),
        };
        (mq.clone(), Task { mq, inbox })
    }

    /// Our peer id.
    #[must_use]
    pub fn me(&self) -> PeerId {
        self.shared.me
    }

    /// Sends a message and waits until the peer has taken it, as long as the catalogue gives its topic.
    ///
    /// # Errors
    /// See [`SendError`].
    pub async fn send(
        &self,
        peer: PeerId,
        topic: PeerTopic,
        payload: Payload,
    ) -> Result<MsgId, SendError> {
        let id = MsgId::random();
        self.send_as(id.clone(), peer, topic, payload).await?;
        Ok(id)
    }

    /// As [`Mq::send`], with an id of its own: a message that is sent again after a while keeps its id, so that a peer that
    /// has it already does not take it twice.
    ///
    /// # Errors
    /// See [`SendError`].
    pub async fn send_as(
        &self,
        id: MsgId,
        peer: PeerId,
        topic: PeerTopic,
        payload: Payload,
    ) -> Result<(), SendError> {
        if peer == self.shared.me {
            return Err(SendError::ToSelf);
        }
        let (reply, answer) = oneshot::channel();
        let order = Order {
            peer,
            id,
            budget: topic.entry().budget,
            topic,
            payload,
            reply: Some(reply),
        };
        let sent = self.shared.commands.send(Command::Send(order)).await;
        sent.map_err(|_| SendError::Leaving)?;
        answer.await.map_err(|_| SendError::Leaving)?
    }

    /// Sends the same to many, some at a time. Whom it does not reach is in the report.
    pub async fn broadcast(
        &self,
        peers: Vec<PeerId>,
        topic: &PeerTopic,
        payload: &Payload,
    ) -> BroadcastReport {
        let sending = futures_util::stream::iter(peers).map(|peer| {
            let (topic, payload) = (topic.clone(), payload.clone());
            async move { (peer, self.send(peer, topic, payload).await) }
        });
        let mut report = BroadcastReport::default();
        let mut results = sending.buffer_unordered(BROADCAST);
        while let Some((peer, result)) = results.next().await {
            match result {
                Ok(_) => report.delivered.push(peer),
                Err(error) => report.failed.push((peer, error)),
            }
        }
        report
    }

    /// A page has shown a message. Its sender, if it was a peer, is told (`mq.ack`) without waiting, and other pages are;
    /// however many pages say so, that happens once (mq.md W16).
    pub fn shown(&self, from: Option<PeerId>, id: &MsgId) {
        let sender = from.unwrap_or(self.shared.me);
        if !lock(&self.shared.shown).note(sender, id.clone()) {
            return;
        }
        if let (Some(peer), Ok(payload)) = (from, Payload::of(&json!({ "msg_id": id.as_str() }))) {
            self.shared.post(peer, PeerTopic::Ack, payload);
        }
        self.shared.log.delivered(id.clone());
    }

    /// Asks a peer who it is; the answer comes through [`Mq::identities`]. Asked too often, it does nothing.
    pub fn ask_identity(&self, peer: PeerId) {
        self.shared.ask_identity(peer);
    }

    /// What peers say of themselves, as it comes in.
    #[must_use]
    pub fn identities(&self) -> broadcast::Receiver<(PeerId, Arc<PeerIdentity>)> {
        self.shared.identities.subscribe()
    }

    /// A peer left, or came back: it may have forgotten our key.
    pub fn forget_told(&self, peer: &PeerId) {
        self.shared.introductions().answered(peer);
        self.shared
            .keys()
            .told(peer, false, Instant::now().into_std());
    }

    /// Looks at the keys. `look` must not wait for anything.
    pub fn keys<T>(&self, look: impl FnOnce(&KeyBook) -> T) -> T {
        look(&self.shared.keys())
    }

    /// Changes something about the keys, for a person. `change` must not wait for anything.
    pub fn change_keys<T>(&self, change: impl FnOnce(&mut KeyBook) -> T) -> T {
        let result = change(&mut self.shared.keys());
        self.shared.keys_changed.send_modify(|count| *count += 1);
        result
    }

    /// Counts up when keys may have changed; [`KeyBook::changes`] says whether there is something to save.
    #[must_use]
    pub fn keys_changes(&self) -> watch::Receiver<u64> {
        self.shared.keys_changed.subscribe()
    }

    /// What pages follow.
    #[must_use]
    pub fn log(&self) -> &EventLog {
        &self.shared.log
    }

    /// Serves one stream of `/goop/mq/1.0.0`. `from` is the authenticated peer.
    ///
    /// # Errors
    /// See [`ServeError`]: the message was not taken and not acknowledged; reset the stream.
    pub async fn serve<S>(
        &self,
        from: PeerId,
        relayed: bool,
        stream: &mut S,
    ) -> Result<(), ServeError>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let served = self.shared.serve(from, relayed, stream).await;
        if served.is_err() {
            metrics::counter!("goop_mq_refused").increment(1);
        }
        served
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
