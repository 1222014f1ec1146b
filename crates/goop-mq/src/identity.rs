//! Who somebody is: the object that `identity.response` carries (mq.md 6), and whom to ask for it when.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use goop_identity::PeerId;
use serde::{Deserialize, Serialize};

/// Longest name that is taken, in bytes (as in presence).
const MAX_NAME: usize = 4_096;
/// Longest of the other texts, in bytes.
const MAX_TEXT: usize = 512;
/// Most features that are taken.
const MAX_FEATURES: usize = 32;
/// Whoever did not answer is asked again after this long, then after twice as long, and so on (mq.md W21).
const FIRST_WAIT: Duration = Duration::from_secs(2);
/// Nobody waits longer.
const LONGEST_WAIT: Duration = Duration::from_secs(300);
/// Peers that are being asked; who was asked first is forgotten first.
const ASKED: usize = 1_024;

/// What a peer says of itself. Members and their order are the Go program's.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PeerIdentity {
    /// Its id; who asks believes the connection instead.
    #[serde(rename = "peerID")]
    pub peer_id: String,
    /// Display name.
    pub content: String,
    /// E-mail address, as claimed.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub email: String,
    /// Short hash of the picture.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub avatar_hash: String,
    /// No calls.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub video_disabled: bool,
    /// Applied template.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub active_template: String,
    /// NaCl public key, base64.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub public_key: String,
    /// Payloads may be sealed for it.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub encryption_supported: bool,
    /// Version of its program.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub goop_client_version: String,
    /// Always true.
    pub reachable: bool,
    /// What it understands beyond the Go program's messages; Go peers do not say it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub features: Vec<String>,
}

impl PeerIdentity {
    /// Whether it can be taken: it has a name (mq.md 6), and nothing in it is too long.
    #[must_use]
    pub fn is_valid(&self) -> bool {
        let texts = [
            &self.email,
            &self.avatar_hash,
            &self.active_template,
            &self.public_key,
            &self.goop_client_version,
        ];
        (1..=MAX_NAME).contains(&self.content.len())
            && texts.iter().all(|text| text.len() <= MAX_TEXT)
            && self.features.len() <= MAX_FEATURES
            && self
                .features
                .iter()
                .all(|feature| feature.len() <= MAX_TEXT)
    }
}

/// "Your key is another one than before", between our own peers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyNotice {
    /// The key that was known before, base64.
    pub old: String,
    /// The key that is known now, base64.
    pub new: String,
}

#[derive(Debug)]
struct Asked {
    at: Instant,
    wait: Duration,
}

/// Whom we asked who they are.
#[derive(Debug, Default)]
pub struct Introductions {
    asked: HashMap<PeerId, Asked>,
}

impl Introductions {
    /// Nobody was asked.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether to ask a peer now: one question at a time, with growing pauses.
    pub fn ask(&mut self, peer: PeerId, now: Instant) -> bool {
        let wait = match self.asked.get(&peer) {
            Some(asked) if now.saturating_duration_since(asked.at) < asked.wait => return false,
            Some(asked) => (asked.wait * 2).min(LONGEST_WAIT),
            None => FIRST_WAIT,
        };
        if self.asked.len() >= ASKED && !self.asked.contains_key(&peer) {
            let oldest = self
                .asked
                .iter()
                .min_by_key(|(_, asked)| asked.at)
                .map(|(peer, _)| *peer);
            oldest.and_then(|peer| self.asked.remove(&peer));
        }
        self.asked.insert(peer, Asked { at: now, wait });
        true
    }

    /// A peer answered, or came back: the next question may be asked at once.
    pub fn answered(&mut self, peer: &PeerId) {
        self.asked.remove(peer);
    }
}
