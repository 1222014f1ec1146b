//! Presence as two values: [`Announcer`] decides what to say about ourselves and when, [`Gate`] which records of
//! others count (network.md 4). Neither knows gossip, sockets or clocks; a record's own time is never trusted.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use goop_identity::PeerId;
use goop_identity::presence::{PresenceError, PresenceKind, PresenceMessage};

use crate::bucket::Bucket;
use crate::config::LocalProfile;

/// Changes and newcomers that come together are answered by one record.
const COALESCE: Duration = Duration::from_millis(15);
/// Records between two heartbeats: a few at once (a start brings addresses, a profile and neighbours within moments) …
const EXTRA_BURST: u32 = 4;
/// … then one every second. Every record goes to every peer, so who makes us speak makes everybody listen.
const EXTRA_EVERY: Duration = Duration::from_secs(1);
/// The shortest heartbeat, whatever is configured.
const SHORTEST_HEARTBEAT: Duration = Duration::from_millis(50);
/// The longest; nothing sensible comes near, and the clock must not overflow.
const LONGEST_HEARTBEAT: Duration = Duration::from_secs(24 * 3_600);

/// What we say about ourselves and when: `online` once, `update` at every heartbeat and soon after a change, `offline`
/// at the end.
#[derive(Debug)]
pub struct Announcer {
    me: PeerId,
    heartbeat: Duration,
    profile: LocalProfile,
    addrs: Vec<String>,
    online: bool,
    /// Somebody may believe that we are there.
    told: bool,
    /// The next record is `online`: whoever hears it has not heard of us.
    is_news: bool,
    /// The next heartbeat.
    beat: Option<Instant>,
    /// A record before that.
    extra: Option<Instant>,
    extras: Bucket,
}

impl Announcer {
    /// An announcer that is silent until [`Announcer::go_online`].
    #[must_use]
    pub fn new(me: PeerId, heartbeat: Duration, now: Instant) -> Self {
        Self {
            me,
            heartbeat: heartbeat.clamp(SHORTEST_HEARTBEAT, LONGEST_HEARTBEAT),
            profile: LocalProfile::default(),
            addrs: Vec::new(),
            online: false,
            told: false,
            is_news: true,
            beat: None,
            extra: None,
            extras: Bucket::new(EXTRA_BURST, EXTRA_EVERY, now),
        }
    }

    /// Sets what records say. A change is said soon.
    pub fn set_profile(&mut self, profile: LocalProfile, now: Instant) {
        if profile != self.profile {
            self.profile = profile;
            self.say_soon(now);
        }
    }

    /// Sets where records say that we listen. A change is said soon.
    pub fn set_addrs(&mut self, addrs: Vec<String>, now: Instant) {
        if addrs != self.addrs {
            self.addrs = addrs;
            self.say_soon(now);
        }
    }

    /// From here on others are told. The first record is due at once.
    pub fn go_online(&mut self, now: Instant) {
        if !std::mem::replace(&mut self.online, true) {
            self.beat = Some(now);
        }
    }

    /// Whether [`Announcer::go_online`] was called.
    #[must_use]
    pub fn is_online(&self) -> bool {
        self.online
    }

    /// Somebody new listens: it should not wait for the next heartbeat, and is told that we are new to it.
    pub fn greet(&mut self, now: Instant) {
        self.is_news = true;
        self.say_soon(now);
    }

    fn say_soon(&mut self, now: Instant) {
        if self.online && self.extra.is_none() {
            self.extra = Some(self.extras.next(now).max(now + COALESCE));
        }
    }

    /// When [`Announcer::tick`] has a record.
    #[must_use]
    pub fn next_wake(&self) -> Option<Instant> {
        [self.beat, self.extra].into_iter().flatten().min()
    }

    /// The record to publish now, if one is due. `unix_millis` is what the wall clock shows; nobody relies on it.
    pub fn tick(&mut self, now: Instant, unix_millis: i64) -> Option<PresenceMessage> {
        let beat = self.beat.is_some_and(|due| due <= now);
        let extra = self.extra.is_some_and(|due| due <= now);
        if !beat && !extra {
            return None;
        }
        if !beat {
            self.extras.take(now);
        }
        self.extra = None;
        self.beat = Some(now + self.heartbeat);
        self.told = true;
        let kind = if std::mem::take(&mut self.is_news) {
            PresenceKind::Online
        } else {
            PresenceKind::Update
        };
        Some(self.record(kind, unix_millis))
    }

    fn record(&self, kind: PresenceKind, unix_millis: i64) -> PresenceMessage {
        let mut message = PresenceMessage::new(kind, self.me, unix_millis);
        message.content.clone_from(&self.profile.label);
        message.email.clone_from(&self.profile.email);
        message.avatar_hash.clone_from(&self.profile.avatar_hash);
        message.video_disabled = self.profile.video_disabled;
        message
            .active_template
            .clone_from(&self.profile.active_template);
        message.encryption_supported = self.profile.encryption_supported;
        message
            .goop_client_version
            .clone_from(&self.profile.version);
        message.addrs.clone_from(&self.addrs);
        message.cap();
        message
    }

    /// The `offline` record; `None` when nobody was told that we are there. The next record, if one follows, is
    /// `online` again.
    pub fn farewell(&mut self, unix_millis: i64) -> Option<PresenceMessage> {
        self.extra = None;
        self.is_news = true;
        std::mem::take(&mut self.told)
            .then(|| PresenceMessage::new(PresenceKind::Offline, self.me, unix_millis))
    }
}

/// Records of one author that count in one [`WINDOW`]. A peer sends one every 5 s and some more when it starts; tests
/// beat faster.
const MAX_RECORDS: u32 = 100;
/// See [`MAX_RECORDS`].
const WINDOW: Duration = Duration::from_secs(10);
/// Authors whose records are counted in one window. Beyond it they count for nothing here; the peer table has a bound
/// of its own.
const MAX_AUTHORS: usize = 10_000;

/// Why a record does not count.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Nobody signed it.
    #[error("the record is not signed")]
    Unsigned,
    /// It speaks of somebody else than its author (network.md 4.5; Go peers sign their own).
    #[error("the record speaks of {0}, who did not sign it")]
    OfSomebodyElse(PeerId),
    /// It is our own, come back.
    #[error("the record is our own")]
    Own,
    /// Its author sends too many.
    #[error("its author sends more than {MAX_RECORDS} records in {} s", WINDOW.as_secs())]
    TooMany,
    /// Only a rendezvous may send hints.
    #[error("hints come from a rendezvous only")]
    Hint,
    /// It is a hint for somebody else.
    #[error("the hint is for somebody else")]
    NotForUs,
    /// It claims a signature that is none.
    #[error("the signature of the record is wrong")]
    Forged,
    /// It cannot be read.
    #[error(transparent)]
    Unreadable(#[from] PresenceError),
}

/// Which records of others count.
#[derive(Debug)]
pub struct Gate {
    me: PeerId,
    window: Instant,
    counts: HashMap<PeerId, u32>,
}

impl Gate {
    /// An open gate of the peer `me`.
    #[must_use]
    pub fn new(me: PeerId, now: Instant) -> Self {
        Self {
            me,
            window: now,
            counts: HashMap::new(),
        }
    }

    /// Reads a record from gossip whose signature by `signer` was verified.
    ///
    /// # Errors
    /// See [`Refused`].
    pub fn admit(
        &mut self,
        signer: Option<PeerId>,
        data: &[u8],
        now: Instant,
    ) -> Result<PresenceMessage, Refused> {
        let signer = signer.ok_or(Refused::Unsigned)?;
        if signer == self.me {
            return Err(Refused::Own);
        }
        // Counted before it is read, because reading is what costs.
        if !self.count(signer, now) {
            return Err(Refused::TooMany);
        }
        let message = PresenceMessage::from_json(data)?;
        if message.peer != signer {
            return Err(Refused::OfSomebodyElse(message.peer));
        }
        match message.kind {
            PresenceKind::Online | PresenceKind::Update | PresenceKind::Offline => Ok(message),
            PresenceKind::Punch => Err(Refused::Hint),
        }
    }

    /// Takes a record that a rendezvous passed on. Nobody's signature stands for it but the one our own programs put
    /// into the record: who signed once is not believed without (`signed_before`). What a rendezvous says of its own
    /// accord, hints and that a peer left, cannot be signed.
    ///
    /// # Errors
    /// See [`Refused`].
    pub fn admit_passed_on(
        &mut self,
        message: PresenceMessage,
        signed_before: bool,
        now: Instant,
    ) -> Result<PresenceMessage, Refused> {
        if message.peer == self.me {
            return Err(Refused::Own);
        }
        if !self.count(message.peer, now) {
            return Err(Refused::TooMany);
        }
        match message.kind {
            PresenceKind::Punch if message.target != Some(self.me) => Err(Refused::NotForUs),
            PresenceKind::Punch => Ok(message),
            _ if message.signature.is_some() && !message.is_signed() => Err(Refused::Forged),
            PresenceKind::Online | PresenceKind::Update
                if signed_before && message.signature.is_none() =>
            {
                Err(Refused::Unsigned)
            }
            _ => Ok(message),
        }
    }

    fn count(&mut self, signer: PeerId, now: Instant) -> bool {
        if now.saturating_duration_since(self.window) >= WINDOW {
            self.window = now;
            self.counts.clear();
        }
        if self.counts.len() >= MAX_AUTHORS && !self.counts.contains_key(&signer) {
            return true;
        }
        let count = self.counts.entry(signer).or_default();
        *count += 1;
        *count <= MAX_RECORDS
    }
}
