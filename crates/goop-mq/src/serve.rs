//! The receiving end: a message is read, opened, taken by whom it is for, and only then acknowledged (mq.md W4). Whoever
//! gets no acknowledgement knows that nothing happened.

use std::sync::Arc;
use std::time::Duration;

use goop_identity::PeerId;
use goop_identity::seal::NaclPublic;
use serde_json::json;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::time::{Instant, sleep, timeout, timeout_at};

use crate::identity::{KeyNotice, PeerIdentity};
use crate::keys::{Learned, OpenError};
use crate::receiver::{LARGE, Verdict};
use crate::router::{Received, Refused, Routed};
use crate::shared::{KeyEvent, Shared};
use crate::topic::{Hears, LocalTopic, PeerTopic, Sealing, TopicError};
use crate::turns::Ticket;
use crate::wire::{Ack, MAX_MESSAGE, Message, Payload, Room, WireError, read_object, write};

/// How long a message is held back before its stream is reset: a Go sender waits 2 s for its acknowledgement.
pub const HOLD: Duration = Duration::from_millis(1_500);
/// From the stream's first byte to the message's last (mq.md 1.4).
const READ: Duration = Duration::from_secs(3);
/// From there until it is taken: the sender waits 2 s for its acknowledgement.
const TAKE: Duration = Duration::from_millis(1_500);
/// How long a key that is asked for may take to come.
const KEY: Duration = Duration::from_secs(1);
/// How long the acknowledgement may take to leave (mq.md 1.4).
const WRITE: Duration = Duration::from_secs(3);
/// Bytes of all messages that are being read, in [`UNIT`]s: 64 MiB.
pub(crate) const READING: usize = 64 * 1024 * 1024 / UNIT;
/// Granularity of that budget.
const UNIT: usize = 4 * 1024;

/// Why a message was not acknowledged. The stream is to be reset.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// What came is no message.
    #[error(transparent)]
    Wire(#[from] WireError),
    /// It did not come, or was not taken, in time.
    #[error("nothing happened in time")]
    TimedOut,
    /// The peer sends more than its share.
    #[error("the peer sends too much")]
    TooMuch,
    /// The topic lacks a part.
    #[error(transparent)]
    Topic(#[from] TopicError),
    /// It does not open.
    #[error(transparent)]
    Sealed(#[from] OpenError),
    /// A newer one of its kind was taken already.
    #[error("a newer message of its kind came first")]
    Late,
    /// Whom it is for did not take it.
    #[error("the message was not taken: {0}")]
    Refused(#[from] Refused),
}

/// One of the messages of a peer that are here at once.
struct Inside<'a> {
    shared: &'a Shared,
    peer: PeerId,
}

impl<'a> Inside<'a> {
    fn new(shared: &'a Shared, peer: PeerId) -> Result<Self, ServeError> {
        let now = Instant::now().into_std();
        if !shared.receiver().arrive(peer, now) {
            return Err(ServeError::TooMuch);
        }
        Ok(Self { shared, peer })
    }
}

impl Drop for Inside<'_> {
    fn drop(&mut self) {
        self.shared.receiver().leave(self.peer);
    }
}

/// Holds room for one message's bytes while it is here, and its sender to a few large ones at a time.
struct Reading<'a> {
    shared: &'a Shared,
    peer: PeerId,
    room: Arc<Semaphore>,
    bytes: usize,
    large: Option<OwnedSemaphorePermit>,
    held: Vec<OwnedSemaphorePermit>,
}

impl Room for Reading<'_> {
    async fn more(&mut self, bytes: usize) {
        self.bytes += bytes;
        if self.bytes > LARGE && self.large.is_none() {
            let large = self
                .shared
                .receiver()
                .large(self.peer, Instant::now().into_std());
            // The semaphores are never closed.
            self.large = large.acquire_owned().await.ok();
        }
        let units = u32::try_from(bytes.div_ceil(UNIT)).unwrap_or(u32::MAX);
        if let Ok(permit) = self.room.clone().acquire_many_owned(units).await {
            self.held.push(permit);
        }
    }
}

/// The turn to be read and opened. It must not be held while something is waited for.
struct Working<'a> {
    shared: &'a Shared,
    peer: PeerId,
    ticket: Ticket,
}

impl<'a> Working<'a> {
    async fn new(shared: &'a Shared, peer: PeerId, bytes: usize) -> Result<Self, ServeError> {
        let (working, told) = {
            let mut waiting = shared.turns();
            let (ticket, begins) = waiting.turns.ask(peer, bytes);
            let (tell, told) = oneshot::channel();
            if !begins {
                waiting.told.insert(ticket, tell);
            }
            (
                Self {
                    shared,
                    peer,
                    ticket,
                },
                (!begins).then_some(told),
            )
        };
        if let Some(told) = told {
            let turn = timeout(HOLD, told).await;
            turn.ok().and_then(Result::ok).ok_or(ServeError::TooMuch)?;
        }
        Ok(working)
    }
}

impl Drop for Working<'_> {
    fn drop(&mut self) {
        let mut waiting = self.shared.turns();
        waiting.told.remove(&self.ticket);
        let next = waiting.turns.end(self.peer, self.ticket);
        if let Some(tell) = next.and_then(|next| waiting.told.remove(&next)) {
            // One that went away ends its own turn.
            let _ = tell.send(());
        }
    }
}

/// A message's turn in its lane; ends it as not taken when dropped.
struct Turn<'a> {
    shared: &'a Shared,
    peer: PeerId,
    message: &'a Message,
    lane: Option<String>,
    taken: bool,
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let now = Instant::now().into_std();
        self.shared.receiver().end(
            self.peer,
            &self.message.id,
            self.lane.as_deref(),
            self.message.seq,
            self.taken,
            now,
        );
        self.shared.turn_ended.notify_waiters();
    }
}

impl Shared {
    pub(crate) async fn serve<S>(
        &self,
        from: PeerId,
        relayed: bool,
        stream: &mut S,
    ) -> Result<(), ServeError>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let _inside = Inside::new(self, from)?;
        let mut room = Reading {
            shared: self,
            peer: from,
            room: self.room.clone(),
            bytes: 0,
            large: None,
            held: Vec::new(),
        };
        let bytes = timeout(READ, read_object(stream, MAX_MESSAGE, &mut room))
            .await
            .map_err(|_| ServeError::TimedOut)??;
        let working = Working::new(self, from, bytes.len()).await?;
        let mut message = Message::decode(&bytes)?;
        drop(bytes);
        match PeerTopic::parse(&message.topic) {
            Ok(topic) => {
                let until = Instant::now() + TAKE;
                let sealed = self.unseal(from, &topic, &mut message, working).await?;
                let held = self.hold(from, &topic).await?;
                let until = until + held;
                timeout_at(until, self.take(from, relayed, sealed, topic, &message))
                    .await
                    .map_err(|_| ServeError::TimedOut)??;
            }
            // A Go peer lets its pages believe this; here it ends (mq.md W2 and 12.6).
            Err(TopicError::Local) => {
                drop(working);
                metrics::counter!("goop_mq_forged").increment(1);
                tracing::debug!(peer = %from, topic = message.topic, "a peer sent a topic of our own; it was dropped");
            }
            Err(error) => return Err(error.into()),
        }
        metrics::counter!("goop_mq_received").increment(1);
        let ack = Ack {
            id: message.id,
            seq: message.seq,
        };
        // A sender that went away sends it again and hears that it is known.
        let _ = timeout(WRITE, write(stream, &ack.encode())).await;
        Ok(())
    }

    /// Holds a message back that is to be kept when its sender has sent many of that kind. Gives how long.
    async fn hold(&self, from: PeerId, topic: &PeerTopic) -> Result<Duration, ServeError> {
        if !topic.entry().kept {
            return Ok(Duration::ZERO);
        }
        let now = Instant::now().into_std();
        let hold = self.receiver().keep(from, now);
        if hold > HOLD {
            self.receiver().not_kept(from, now);
            return Err(ServeError::TooMuch);
        }
        if !hold.is_zero() {
            sleep(hold).await;
        }
        Ok(hold)
    }

    /// Opens a sealed payload in place, asking for the key if need be. Gives whether it was sealed.
    async fn unseal(
        &self,
        from: PeerId,
        topic: &PeerTopic,
        message: &mut Message,
        working: Working<'_>,
    ) -> Result<bool, ServeError> {
        let Some(text) = message.payload.sealed() else {
            let usually_sealed = topic.entry().sealing == Sealing::WhenKnown;
            if usually_sealed && self.keys().came_plain(&from) {
                self.key_event(from, KeyEvent::Plain);
            }
            return Ok(false);
        };
        let mut changes = self.keys_changed.subscribe();
        let until = Instant::now() + KEY;
        let mut working = Some(working);
        loop {
            let hint = (self.hints)(&from).and_then(|key| NaclPublic::from_base64(&key).ok());
            let now = Instant::now().into_std();
            let opened = self.keys().open(from, &text, hint.as_ref(), now);
            match opened {
                Ok((plain, learned)) => {
                    self.learned(from, &learned);
                    let plain = String::from_utf8(plain)
                        .map_err(|_| WireError::Malformed("no UTF-8 inside".to_owned()))?;
                    message.payload = Payload::parse(plain)?;
                    return Ok(true);
                }
                Err(error) => {
                    // Others go on while the key is waited for; it may be in one of their messages.
                    drop(working.take());
                    // It may also be our key that is another one than the sender knows: it is told as often as it is asked.
                    if self.ask_identity(from) && error == OpenError::WrongKey {
                        self.post_identity(from);
                    }
                    if !matches!(timeout_at(until, changes.changed()).await, Ok(Ok(()))) {
                        return Err(error.into());
                    }
                }
            }
        }
    }

    async fn take(
        &self,
        from: PeerId,
        relayed: bool,
        sealed: bool,
        topic: PeerTopic,
        message: &Message,
    ) -> Result<(), ServeError> {
        let lane = topic.lane();
        let mut turn = loop {
            let ended = self.turn_ended.notified();
            tokio::pin!(ended);
            ended.as_mut().enable();
            let now = Instant::now().into_std();
            let verdict =
                self.receiver()
                    .begin(from, &message.id, lane.as_deref(), message.seq, now);
            match verdict {
                Verdict::Known => return Ok(()),
                Verdict::Late => return Err(ServeError::Late),
                Verdict::Busy => ended.await,
                Verdict::New => {
                    break Turn {
                        shared: self,
                        peer: from,
                        message,
                        lane,
                        taken: false,
                    };
                }
            }
        };
        match &topic {
            PeerTopic::Ack => self.shown(from, &message.payload),
            PeerTopic::Identity => self.asked_who(from),
            PeerTopic::IdentityResponse => self.introduced(from, &message.payload)?,
            PeerTopic::KeyNotice => {
                let notice: KeyNotice = message.payload.read()?;
                let key = |text: &str| NaclPublic::from_base64(text).map_err(Refused::because);
                let (_, ours) = (key(&notice.old)?, key(&notice.new)?);
                self.keys().doubts(&from, &ours);
                self.key_event(from, KeyEvent::Noticed(notice));
                self.keys_changed.send_modify(|count| *count += 1);
            }
            _ => {
                let received = Received {
                    from,
                    id: message.id.clone(),
                    topic: topic.clone(),
                    payload: message.payload.clone(),
                    sealed,
                    relayed,
                };
                let for_pages = topic.entry().hears == Hears::Pages;
                match self.router.route(received).await? {
                    Routed::Unowned if !for_pages => {
                        return Err(Refused::because("nobody here listens to it").into());
                    }
                    Routed::Unreadable if !for_pages => {
                        return Err(Refused::because("its payload cannot be read").into());
                    }
                    _ => {}
                }
                if for_pages {
                    self.log.deliver(from, message);
                }
            }
        }
        turn.taken = true;
        self.log_mq("recv", &topic, from, sealed, relayed, None);
        Ok(())
    }

    /// A page of a peer has shown a message of ours.
    fn shown(&self, from: PeerId, payload: &Payload) {
        #[derive(serde::Deserialize)]
        struct Shown {
            msg_id: String,
        }
        let Ok(Shown { msg_id }) = payload.read::<Shown>() else {
            return;
        };
        let id = crate::wire::MsgId::parse(&msg_id);
        if let Ok(id) = id
            && self.sent().take(from, &id)
        {
            self.log.delivered(id);
        }
    }

    /// Somebody asks who we are. Who does so may not have our key, and we not its.
    fn asked_who(&self, from: PeerId) {
        self.post_identity(from);
        if self.keys().key_of(&from).is_none() {
            self.ask_identity(from);
        }
    }

    fn introduced(&self, from: PeerId, payload: &Payload) -> Result<(), ServeError> {
        let mut identity: PeerIdentity = payload.read()?;
        if !identity.is_valid() {
            return Err(Refused::because("the identity has no name, or is too long").into());
        }
        // Who it is says the connection.
        identity.peer_id = from.to_base58();
        if let Ok(key) = NaclPublic::from_base64(&identity.public_key) {
            let learned = {
                let mut keys = self.keys();
                let learned = keys.learn(from, &key, identity.encryption_supported);
                keys.understood(&from, &identity.features);
                learned
            };
            self.learned(from, &learned);
        }
        self.introductions().answered(&from);
        self.keys_changed.send_modify(|count| *count += 1);
        // Nobody may be listening.
        let _ = self.identities.send((from, Arc::new(identity)));
        Ok(())
    }

    /// Tells both people that a key is another one.
    fn learned(&self, peer: PeerId, learned: &Learned) {
        let (old, new) = match learned {
            Learned::Same => return,
            Learned::First => {
                let key = self.keys().key_of(&peer).unwrap_or_default().to_owned();
                self.key_event(peer, KeyEvent::Known(key));
                self.keys_changed.send_modify(|count| *count += 1);
                return;
            }
            Learned::Changed { old } => {
                let new = self.keys().key_of(&peer).unwrap_or_default().to_owned();
                (old.clone(), new)
            }
            Learned::Offered => {
                let keys = self.keys();
                let text = |key: Option<&str>| key.unwrap_or_default().to_owned();
                (text(keys.key_of(&peer)), text(keys.offered(&peer)))
            }
        };
        let accepted = matches!(learned, Learned::Changed { .. });
        tracing::warn!(%peer, accepted, "the key of a peer is another one than before");
        let notice = KeyNotice { old, new };
        self.post_notice(peer, &notice);
        self.key_event(peer, KeyEvent::Changed { notice, accepted });
        self.keys_changed.send_modify(|count| *count += 1);
    }

    pub(crate) fn key_event(&self, peer: PeerId, event: KeyEvent) {
        let peer_id = peer.to_base58();
        let told = match event {
            KeyEvent::Known(key) => json!({ "peerID": peer_id, "event": "known", "new": key }),
            KeyEvent::Plain => json!({ "peerID": peer_id, "event": "plain" }),
            KeyEvent::Changed { notice, accepted } => json!({
                "peerID": peer_id,
                "event": if accepted { "changed" } else { "offered" },
                "old": notice.old,
                "new": notice.new,
            }),
            KeyEvent::Noticed(notice) => json!({
                "peerID": peer_id,
                "event": "noticed",
                "old": notice.old,
                "new": notice.new,
            }),
        };
        self.log.publish_state(&LocalTopic::Key, peer, &told);
    }
}
