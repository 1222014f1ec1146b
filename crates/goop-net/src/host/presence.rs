//! What we say about ourselves and when.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use goop_identity::presence::{PresenceKind, PresenceMessage};

use crate::PeerId;
use crate::config::LocalProfile;

/// Changes and newcomers that come together are answered by one record.
const COALESCE: Duration = Duration::from_millis(15);

/// When to say what.
#[derive(Debug)]
pub(super) struct Presence {
    heartbeat: Duration,
    pub(super) ttl: Duration,
    profile: LocalProfile,
    addrs: Vec<String>,
    online: bool,
    said_online: bool,
    next: Option<Instant>,
}

impl Presence {
    pub(super) fn new(heartbeat: Duration, ttl: Duration) -> Self {
        let profile = LocalProfile::default();
        Self { heartbeat, ttl, profile, addrs: Vec::new(), online: false, said_online: false, next: None }
    }

    pub(super) fn set_profile(&mut self, profile: LocalProfile, now: Instant) {
        if profile != self.profile {
            self.profile = profile;
            self.soon(now);
        }
    }

    pub(super) fn set_addrs(&mut self, addrs: Vec<String>, now: Instant) {
        if addrs != self.addrs {
            self.addrs = addrs;
            self.soon(now);
        }
    }

    pub(super) fn go_online(&mut self) {
        self.online = true;
    }

    pub(super) fn is_online(&self) -> bool {
        self.online
    }

    /// Somebody new listens: it should not wait for the next heartbeat.
    pub(super) fn greet(&mut self, now: Instant) {
        self.said_online = false;
        self.soon(now);
    }

    fn soon(&mut self, now: Instant) {
        if self.online {
            let soon = now + COALESCE;
            self.next = Some(self.next.map_or(soon, |next| next.min(soon)));
        }
    }

    pub(super) fn next_wake(&self) -> Option<Instant> {
        self.next
    }

    pub(super) fn is_due(&self, now: Instant) -> bool {
        self.next.is_some_and(|next| next <= now)
    }

    /// The record to publish now; the next one follows a heartbeat later.
    pub(super) fn record(&mut self, me: PeerId, now: Instant) -> PresenceMessage {
        self.next = Some(now + self.heartbeat);
        let kind = if std::mem::replace(&mut self.said_online, true) { PresenceKind::Update } else { PresenceKind::Online };
        let mut message = PresenceMessage::new(kind, me, unix_millis());
        message.content.clone_from(&self.profile.label);
        message.email.clone_from(&self.profile.email);
        message.avatar_hash.clone_from(&self.profile.avatar_hash);
        message.video_disabled = self.profile.video_disabled;
        message.active_template.clone_from(&self.profile.active_template);
        message.encryption_supported = self.profile.encryption_supported;
        message.goop_client_version.clone_from(&self.profile.version);
        message.addrs.clone_from(&self.addrs);
        message.cap();
        message
    }

    /// The last record.
    pub(super) fn farewell(me: PeerId) -> PresenceMessage {
        PresenceMessage::new(PresenceKind::Offline, me, unix_millis())
    }
}

fn unix_millis() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
