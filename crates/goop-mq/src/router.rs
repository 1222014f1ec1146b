//! From a message to the part of this program that owns its family of topics: a protocol is one [`Listens`].
//!
//! A message is acknowledged when its listener has taken it, so a listener puts it where it is safe (a channel that has
//! room, a database) and does its work afterwards. A listener that is full makes its sender wait.

use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use goop_identity::PeerId;
use serde::de::DeserializeOwned;

use crate::topic::{Family, PeerTopic};
use crate::wire::{MsgId, Payload};

/// A message that came in, with its payload read.
#[derive(Debug, Clone)]
pub struct Received<T> {
    /// The authenticated sender.
    pub from: PeerId,
    /// The message's id.
    pub id: MsgId,
    /// What it is about.
    pub topic: PeerTopic,
    /// What it says.
    pub payload: T,
    /// It was sealed by the sender's key.
    pub sealed: bool,
    /// It came over a relay.
    pub relayed: bool,
}

/// Why a message was not taken. Its sender gets no acknowledgement.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Refused(pub String);

impl Refused {
    /// With its reason.
    pub fn because(why: impl fmt::Display) -> Self {
        Self(why.to_string())
    }
}

/// Owns one family of topics.
pub trait Listens: Send + Sync + 'static {
    /// What messages say; what does not read as it is refused, or left to the pages if they hear the family.
    type Payload: DeserializeOwned + Send + 'static;
    /// Which family.
    const FAMILY: Family;

    /// Takes a message. It has 1.5 s, and is dropped after that as if it had refused.
    fn take(
        &self,
        message: Received<Self::Payload>,
    ) -> impl Future<Output = Result<(), Refused>> + Send;
}

type Take =
    Arc<dyn Fn(Received<Payload>) -> Option<BoxFuture<'static, Result<(), Refused>>> + Send + Sync>;

/// Who owns what.
#[derive(Default, Clone)]
pub struct Router {
    owners: HashMap<Family, Take>,
}

impl fmt::Debug for Router {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.owners.keys()).finish()
    }
}

/// What became of a message.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Routed {
    /// Its owner took it.
    Taken,
    /// Nobody owns it.
    Unowned,
    /// The owner cannot read it.
    Unreadable,
}

impl Router {
    /// Nobody owns anything.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Gives a family an owner; the one before loses it.
    #[must_use]
    pub fn listen<L: Listens>(mut self, listener: L) -> Self {
        let listener = Arc::new(listener);
        let take: Take = Arc::new(move |message| {
            let payload = message.payload.read::<L::Payload>().ok()?;
            let message = Received {
                payload,
                from: message.from,
                id: message.id,
                topic: message.topic,
                sealed: message.sealed,
                relayed: message.relayed,
            };
            let listener = listener.clone();
            Some(Box::pin(async move { listener.take(message).await }))
        });
        self.owners.insert(L::FAMILY, take);
        self
    }

    pub(crate) async fn route(&self, message: Received<Payload>) -> Result<Routed, Refused> {
        let Some(take) = self.owners.get(&message.topic.family()) else {
            return Ok(Routed::Unowned);
        };
        match take(message) {
            Some(taking) => taking.await.map(|()| Routed::Taken),
            None => Ok(Routed::Unreadable),
        }
    }
}
