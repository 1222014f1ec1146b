//! The handle of the bus.

use std::fmt;
use std::sync::Arc;

use futures_util::StreamExt;
use goop_identity::PeerId;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{broadcast, mpsc, oneshot, watch};
use tokio::time::Instant;

use crate::identity::PeerIdentity;
use crate::keys::KeyBook;
use crate::log::EventLog;
use crate::outbox::{Failure, Full};
use crate::router::Router;
use crate::sending::Task;
use crate::serve::ServeError;
use crate::shared::{Order, Shared};
use crate::topic::PeerTopic;
use crate::wire::{MsgId, Payload};

/// Orders that wait for the task; it takes them in microseconds.
const INBOX: usize = 256;
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

/// Keys that others say are a peer's, in base64.
pub type Hints = Arc<dyn Fn(&PeerId) -> Option<String> + Send + Sync>;
/// What a peer says of itself, as it is now.
pub type Own = Arc<dyn Fn() -> PeerIdentity + Send + Sync>;

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
        let shared = Shared::new(setup, commands);
        let mq = Self {
            shared: Arc::new(shared),
        };
        (mq.clone(), Task::new(mq, inbox))
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
        if !self.shared.order(order).await {
            return Err(SendError::Leaving);
        }
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
        self.shared.page_has_shown(from, id);
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
