//! The handle of chat, and the task that owns what waits.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use goop_identity::PeerId;
use serde_json::json;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::{
    ChatLine, ChatLog, ChatLogError, ChatState, Command, Commands, Conversation, FOUND, HISTORY,
    MAX_LINE, Outcome, Prepared, Step, Stored, TooMany, Waiting, cut,
};
use crate::mq::{Mq, SendError};
use crate::receiver::Bucket;
use crate::topic::{LocalTopic, PeerTopic};
use crate::wire::{MsgId, Payload};

/// Conversations that are listed.
const CONVERSATIONS: usize = 1_000;
/// Orders that wait for the task.
const INBOX: usize = 64;
/// Scripts that run at once.
const RUNNING: usize = 4;
/// Longest answer of a script, in bytes (mq.md 8).
const MAX_REPLY: usize = 4_096;
/// What is appended to a longer one.
const TRUNCATED: &str = "... (truncated)";
/// Answers of scripts to one peer: at once, and then each second (30 a minute). Unlike the Go program's, errors count.
const REPLIES: (u32, f64) = (30, 0.5);
/// Answers of scripts to everybody (120 a minute).
const ALL_REPLIES: (u32, f64) = (120, 2.0);
/// Peers whose answers are counted; with more, counting starts anew.
const COUNTED: usize = 1_024;

/// Why a line was not accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChatError {
    /// Nothing to send.
    #[error("the message is empty")]
    Empty,
    /// Longer than [`MAX_LINE`].
    #[error("the message is longer than {MAX_LINE} bytes")]
    TooLong,
    /// To oneself.
    #[error("a peer cannot write to itself")]
    ToSelf,
    /// Too much waits.
    #[error(transparent)]
    TooMany(#[from] TooMany),
    /// The database cannot keep it, so it was not sent.
    #[error(transparent)]
    Log(#[from] ChatLogError),
    /// The peer is shutting down. What was accepted waits on disk.
    #[error("this peer is leaving")]
    Leaving,
}

type Reply = oneshot::Sender<Result<ChatState, ChatError>>;

enum Order {
    Send {
        peer: PeerId,
        id: MsgId,
        content: String,
        reply: Reply,
    },
    Withdraw {
        peer: PeerId,
        id: MsgId,
        reply: oneshot::Sender<bool>,
    },
    Back(PeerId),
    Forget(PeerId),
}

/// Chat. Cheap to clone.
#[derive(Clone)]
pub struct Chat {
    me: PeerId,
    mq: Mq,
    orders: mpsc::Sender<Order>,
    log: Arc<dyn ChatLog>,
}

impl std::fmt::Debug for Chat {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Chat")
            .field("me", &self.me)
            .finish_non_exhaustive()
    }
}

/// The task behind chat.
pub struct ChatTask {
    mq: Mq,
    log: Arc<dyn ChatLog>,
    commands: Option<Arc<dyn Commands>>,
    orders: mpsc::Receiver<Order>,
    inbox: mpsc::Receiver<Command>,
}

impl std::fmt::Debug for ChatTask {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ChatTask").finish_non_exhaustive()
    }
}

impl Prepared {
    /// Puts chat together over the bus; it runs as soon as the task does.
    #[must_use]
    pub fn start(self, mq: Mq, commands: Option<Arc<dyn Commands>>) -> (Chat, ChatTask) {
        let (orders, inbox) = mpsc::channel(INBOX);
        let chat = Chat {
            me: mq.me(),
            mq: mq.clone(),
            orders,
            log: self.log.clone(),
        };
        let task = ChatTask {
            mq,
            log: self.log,
            commands,
            orders: inbox,
            inbox: self.inbox,
        };
        (chat, task)
    }
}

impl Chat {
    /// Writes to a peer. The line is on disk when it is tried for the first time; the answer says whether that delivered it
    /// or whether it waits.
    ///
    /// # Errors
    /// See [`ChatError`].
    pub async fn send(
        &self,
        peer: PeerId,
        content: String,
    ) -> Result<(MsgId, ChatState), ChatError> {
        if content.is_empty() {
            return Err(ChatError::Empty);
        }
        if content.len() > MAX_LINE {
            return Err(ChatError::TooLong);
        }
        if peer == self.me {
            return Err(ChatError::ToSelf);
        }
        let (reply, answer) = oneshot::channel();
        let id = MsgId::random();
        let order = Order::Send {
            peer,
            id: id.clone(),
            content,
            reply,
        };
        self.orders
            .send(order)
            .await
            .map_err(|_| ChatError::Leaving)?;
        let state = answer.await.map_err(|_| ChatError::Leaving)??;
        Ok((id, state))
    }

    /// Takes a line back that still waits. `false` when it is too late.
    pub async fn withdraw(&self, peer: PeerId, id: MsgId) -> bool {
        let (reply, answer) = oneshot::channel();
        let order = Order::Withdraw { peer, id, reply };
        self.orders.send(order).await.is_ok() && answer.await.unwrap_or(false)
    }

    /// A peer is there again: what waits for it goes out.
    pub async fn back(&self, peer: PeerId) {
        // A chat that ended sends nothing.
        let _ = self.orders.send(Order::Back(peer)).await;
    }

    /// Sends a line as older pages do: now or not at all. It is kept once it was delivered. It may overtake what waits.
    ///
    /// # Errors
    /// It was not delivered; or, after that, it could not be kept, which is only said in the log.
    pub async fn send_now(&self, peer: PeerId, payload: Payload) -> Result<MsgId, SendError> {
        #[derive(serde::Deserialize)]
        struct Said {
            content: String,
        }
        let said = payload.read::<Said>();
        let id = self.mq.send(peer, PeerTopic::Chat, payload).await?;
        if let Ok(Said { content }) = said
            && !content.is_empty()
        {
            let line = ChatLine {
                number: 0,
                peer,
                from: self.me,
                content: cut(&content, MAX_LINE).to_owned(),
                timestamp: unix_millis(),
                id: id.clone(),
                state: ChatState::Delivered,
            };
            if let Err(error) = self.log.store(line).await {
                tracing::warn!(%peer, %error, "a message was delivered and could not be kept");
            }
            tell(&self.mq, peer, &id, &ChatState::Delivered);
        }
        Ok(id)
    }

    /// The newest lines of a conversation, oldest first: at most [`HISTORY`], and of those before a number, if there is one.
    ///
    /// # Errors
    /// What the database says.
    pub async fn history(
        &self,
        peer: PeerId,
        before: Option<i64>,
        limit: usize,
    ) -> Result<Vec<ChatLine>, ChatLogError> {
        self.log.history(peer, before, limit.min(HISTORY)).await
    }

    /// All conversations, the newest first; at most [`CONVERSATIONS`].
    ///
    /// # Errors
    /// What the database says.
    pub async fn conversations(&self) -> Result<Vec<Conversation>, ChatLogError> {
        self.log.conversations(CONVERSATIONS).await
    }

    /// Notes that a conversation was read up to a number, what its other side is called, and tells the pages.
    ///
    /// # Errors
    /// What the database says.
    pub async fn mark_read(
        &self,
        peer: PeerId,
        number: i64,
        name: String,
    ) -> Result<(), ChatLogError> {
        self.log.mark_read(peer, number, name).await?;
        let told = json!({ "peerID": peer.to_base58(), "read": number });
        self.mq.log().publish(&LocalTopic::ChatState, &told);
        Ok(())
    }

    /// Up to which number a conversation was read; 0 where nothing was.
    ///
    /// # Errors
    /// What the database says.
    pub async fn read_up_to(&self, peer: PeerId) -> Result<i64, ChatLogError> {
        self.log.read_up_to(peer).await
    }

    /// Lines that contain a text, newest first.
    ///
    /// # Errors
    /// What the database says.
    pub async fn search(
        &self,
        peer: Option<PeerId>,
        text: &str,
    ) -> Result<Vec<ChatLine>, ChatLogError> {
        self.log.search(peer, text, FOUND).await
    }

    /// Forgets a conversation, and what waits in it.
    ///
    /// # Errors
    /// What the database says.
    pub async fn clear(&self, peer: PeerId) -> Result<(), ChatLogError> {
        self.log.clear(peer).await?;
        let _ = self.orders.send(Order::Forget(peer)).await;
        let told = json!({ "peerID": peer.to_base58(), "cleared": true });
        self.mq.log().publish(&LocalTopic::ChatState, &told);
        Ok(())
    }
}

pub(super) fn unix_millis() -> i64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

struct Running {
    mq: Mq,
    log: Arc<dyn ChatLog>,
    waiting: Waiting,
    /// Who waits to hear how the first attempt goes.
    asking: HashMap<MsgId, Reply>,
    sending: JoinSet<(PeerId, MsgId, Outcome)>,
}

impl ChatTask {
    /// Sends what waits, now and when its receivers are back, until `leave`. What is not sent by then waits on disk.
    ///
    /// # Errors
    /// When what waits from earlier runs cannot be read.
    pub async fn run(self, leave: CancellationToken) -> Result<(), ChatLogError> {
        let Self {
            mq,
            log,
            commands,
            mut orders,
            mut inbox,
        } = self;
        let mut running = Running {
            mq: mq.clone(),
            log,
            waiting: Waiting::new(),
            asking: HashMap::new(),
            sending: JoinSet::new(),
        };
        running.resume().await?;
        let mut scripts = Scripts::new(mq, commands);
        loop {
            let wake = running.waiting.wake();
            let wake = async {
                match wake {
                    Some(at) => sleep_until(at.into()).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = leave.cancelled() => return Ok(()),
                order = orders.recv() => match order {
                    Some(order) => running.order(order).await,
                    None => return Ok(()),
                },
                Some(ended) = running.sending.join_next() => {
                    // Sending a line cannot panic; if it did, the line is tried again in the next run.
                    if let Ok((peer, id, outcome)) = ended {
                        running.sent(peer, id, outcome).await;
                    }
                }
                () = wake => {
                    let steps = running.waiting.tick(Instant::now().into_std());
                    running.act(steps).await;
                }
                Some(command) = inbox.recv(), if scripts.has_room() => scripts.begin(command),
                Some(_) = scripts.running.join_next() => {}
            }
        }
    }
}

impl Running {
    async fn resume(&mut self) -> Result<(), ChatLogError> {
        let now = unix_millis();
        for line in self.log.waiting().await? {
            let age = u64::try_from(now.saturating_sub(line.timestamp)).unwrap_or_default();
            let at = Instant::now().into_std();
            let age = Duration::from_millis(age);
            let waits = self
                .waiting
                .submit(line.peer, line.id, line.content, age, at);
            // Without room it stays on disk and is taken up in the next run.
            if let Ok(steps) = waits {
                self.act(steps).await;
            }
        }
        Ok(())
    }

    async fn order(&mut self, order: Order) {
        match order {
            Order::Send {
                peer,
                id,
                content,
                reply,
            } => {
                if let Err((error, reply)) = self.accept(peer, id, content, reply).await {
                    let _ = reply.send(Err(error));
                }
            }
            Order::Withdraw { peer, id, reply } => {
                let step = self.waiting.withdraw(&peer, &id);
                let withdrawn = step.is_some();
                self.act(step.into_iter().collect()).await;
                let _ = reply.send(withdrawn);
            }
            Order::Back(peer) => {
                let steps = self.waiting.back(&peer, Instant::now().into_std());
                self.act(steps).await;
            }
            Order::Forget(peer) => self.waiting.forget(&peer),
        }
    }

    /// Gives the reply back with its error when the line is not accepted.
    async fn accept(
        &mut self,
        peer: PeerId,
        id: MsgId,
        content: String,
        reply: Reply,
    ) -> Result<(), (ChatError, Reply)> {
        if self.waiting.len(&peer) >= super::PER_PEER {
            return Err((TooMany.into(), reply));
        }
        let line = ChatLine {
            number: 0,
            peer,
            from: self.mq.me(),
            content: content.clone(),
            timestamp: unix_millis(),
            id: id.clone(),
            state: ChatState::Waiting,
        };
        // First on disk: what was accepted is not lost, whatever is killed.
        match self.log.store(line).await {
            Ok(Stored::New | Stored::Known) => {}
            Err(error) => return Err((error.into(), reply)),
        }
        tell(&self.mq, peer, &id, &ChatState::Waiting);
        let behind = self.waiting.len(&peer) > 0;
        let now = Instant::now().into_std();
        match self
            .waiting
            .submit(peer, id.clone(), content, Duration::ZERO, now)
        {
            Ok(steps) => {
                if behind {
                    let _ = reply.send(Ok(ChatState::Waiting));
                } else {
                    self.asking.insert(id, reply);
                }
                self.act(steps).await;
                Ok(())
            }
            Err(error) => {
                let why = ChatState::Failed(error.to_string());
                self.note(peer, id, why).await;
                Err((error.into(), reply))
            }
        }
    }

    async fn sent(&mut self, peer: PeerId, id: MsgId, outcome: Outcome) {
        let now = Instant::now().into_std();
        let away = outcome == Outcome::Away;
        let steps = self.waiting.sent(&peer, &id, outcome, now);
        self.act(steps).await;
        if away && let Some(reply) = self.asking.remove(&id) {
            let _ = reply.send(Ok(ChatState::Waiting));
        }
    }

    async fn act(&mut self, steps: Vec<Step>) {
        for step in steps {
            match step {
                Step::Send { peer, id, content } => {
                    let mq = self.mq.clone();
                    self.sending.spawn(async move {
                        let outcome = bring(&mq, peer, id.clone(), &content).await;
                        (peer, id, outcome)
                    });
                }
                Step::Ended { peer, id, state } => {
                    if let Some(reply) = self.asking.remove(&id) {
                        let _ = reply.send(Ok(state.clone()));
                    }
                    self.note(peer, id, state).await;
                }
            }
        }
    }

    async fn note(&self, peer: PeerId, id: MsgId, state: ChatState) {
        let saved = self.log.set_state(peer, id.clone(), state.clone()).await;
        if let Err(error) = saved {
            // In the next run it is sent once more, and the receiver knows it by its id.
            tracing::warn!(%peer, %error, "the state of a message could not be saved");
        }
        // Pages that ask now find it.
        tell(&self.mq, peer, &id, &state);
    }
}

/// Tells the pages what became of a line.
fn tell(mq: &Mq, peer: PeerId, id: &MsgId, state: &ChatState) {
    let mut told = json!({ "peerID": peer.to_base58(), "msg_id": id.as_str() });
    if let (Some(told), Ok(serde_json::Value::Object(state))) =
        (told.as_object_mut(), serde_json::to_value(state))
    {
        told.extend(state);
    }
    mq.log().publish(&LocalTopic::ChatState, &told);
}

async fn bring(mq: &Mq, peer: PeerId, id: MsgId, content: &str) -> Outcome {
    let payload = match Payload::of(&json!({ "content": content })) {
        Ok(payload) => payload,
        Err(error) => return Outcome::Hopeless(error.to_string()),
    };
    match mq.send_as(id, peer, PeerTopic::Chat, payload).await {
        Ok(()) => Outcome::Delivered,
        Err(SendError::ToSelf) => Outcome::Hopeless(SendError::ToSelf.to_string()),
        // Also a changed key: it goes out when its owner was asked and the person agreed.
        Err(_) => Outcome::Away,
    }
}

/// Runs commands and brings their answers back.
struct Scripts {
    mq: Mq,
    commands: Option<Arc<dyn Commands>>,
    running: JoinSet<()>,
    all: Bucket,
    peers: HashMap<PeerId, Bucket>,
}

impl Scripts {
    fn new(mq: Mq, commands: Option<Arc<dyn Commands>>) -> Self {
        let now = Instant::now().into_std();
        Self {
            mq,
            commands,
            running: JoinSet::new(),
            all: Bucket::full(ALL_REPLIES.0, now),
            peers: HashMap::new(),
        }
    }

    fn has_room(&self) -> bool {
        self.running.len() < RUNNING
    }

    fn begin(&mut self, command: Command) {
        let Some(commands) = self.commands.clone() else {
            return;
        };
        let now = Instant::now().into_std();
        if self.peers.len() >= COUNTED {
            self.peers.clear();
        }
        let peer = self
            .peers
            .entry(command.from)
            .or_insert_with(|| Bucket::full(REPLIES.0, now));
        // Everything that may be answered counts, also what is unknown; silence is the only answer that ends a flood.
        if !peer.try_take(REPLIES, now) || !self.all.try_take(ALL_REPLIES, now) {
            return;
        }
        let mq = self.mq.clone();
        self.running.spawn(async move {
            let Some(answer) = commands.run(command.from, command.text).await else {
                return;
            };
            if answer.is_empty() {
                return;
            }
            let answer = if answer.len() > MAX_REPLY {
                format!("{}{TRUNCATED}", cut(&answer, MAX_REPLY))
            } else {
                answer
            };
            // Marked, so that it runs no command over there.
            let Ok(payload) = Payload::of(&json!({ "content": answer, "auto": true })) else {
                return;
            };
            if let Err(error) = mq.send(command.from, PeerTopic::Chat, payload).await {
                tracing::debug!(peer = %command.from, %error, "a script's answer was not delivered");
            }
        });
    }
}
