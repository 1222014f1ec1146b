//! Whose key is whose, as a value (mq.md 2, W18 to W20, W29).
//!
//! A key is believed when its owner said it over its own connection, or when something from that connection opened with
//! it; what others say is a hint to try, never a key to seal with. The first key is pinned. Another one later is shown to
//! both people; for a peer whose key was compared it counts only after a person agreed. Who has a pinned key never gets
//! plain text again.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use goop_identity::PeerId;
use goop_identity::seal::{self, NaclKeys, NaclPublic, Pair};
use serde::{Deserialize, Serialize};

use crate::topic::Sealing;
use crate::words::Words;

/// Peers whose keys are kept. Beyond it, unverified ones that were learned first go.
pub const PEERS: usize = 10_000;
/// How long a peer is trusted to remember our key. A Go peer forgets it when it restarts, acknowledges what it cannot open,
/// and nobody notices; telling it again costs one small message.
const TOLD_FOR: Duration = Duration::from_secs(60);

/// Peers whose key stays put together with ours; with more, that begins anew.
const PAIRS: usize = 256;

/// What is known of one peer's key.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
struct Known {
    /// In base64, as it is written everywhere.
    key: String,
    /// A newer one that a person has to agree to.
    #[serde(skip_serializing_if = "String::is_empty")]
    offered: String,
    /// Compared by the two people.
    verified: bool,
    /// It can open what is sealed for it.
    supports: bool,
    /// It has sealed something for us.
    sealed: bool,
    /// The key before, until a person has seen that it changed.
    #[serde(skip_serializing_if = "String::is_empty")]
    replaced: String,
    /// The key of ours that it says is another one than before, until a person has seen that.
    #[serde(skip_serializing_if = "String::is_empty")]
    doubted: String,
    /// What it understands, as it said.
    #[serde(skip)]
    features: Vec<String>,
    #[serde(skip)]
    told: Option<Instant>,
    /// Its plain messages were shown as such since it last sealed.
    #[serde(skip)]
    noticed: bool,
    /// When it was learned, among the others.
    #[serde(skip)]
    since: u64,
}

/// What learning a key brought.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Learned {
    /// Nothing new.
    Same,
    /// The first key of this peer.
    First,
    /// Another key than before; it counts from now on. Both people are to be told.
    Changed {
        /// The one before, in base64.
        old: String,
    },
    /// Another key than the compared one. It counts only after [`KeyBook::accept`].
    Offered,
}

/// How a message goes out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Plan {
    /// As it is.
    Plain,
    /// Sealed.
    Sealed {
        /// First our own key has to be told.
        introduce: bool,
    },
    /// Not at all, see [`Blocked`].
    Blocked(Blocked),
}

/// Why nothing goes out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Blocked {
    /// The compared key changed.
    #[error("the key of this peer is not the one you compared; look at it and agree, or do not")]
    KeyChanged,
    /// The peer has a key, we have none: it would go out readable.
    #[error(
        "this peer has no key of its own to seal with; check p2p.nacl_private_key in goop.json"
    )]
    NoOwnKey,
}

/// Why something did not open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// Its sender's key is not known.
    #[error("the sender's key is not known")]
    NoKey,
    /// It was not sealed by the sender's key for ours.
    #[error("it does not open with the sender's key")]
    WrongKey,
}

/// Keys by peer.
#[derive(Debug, Default)]
pub struct KeyBook {
    own: Option<NaclKeys>,
    peers: HashMap<PeerId, Known>,
    /// Our key and a peer's pinned one (in base64), put together.
    pairs: HashMap<PeerId, (String, Pair)>,
    learned: u64,
    /// Counts changes that are worth saving.
    changes: u64,
}

#[derive(Serialize, Deserialize)]
struct Saved {
    version: u32,
    peers: std::collections::BTreeMap<String, Known>,
}

impl KeyBook {
    /// Nobody's key is known.
    #[must_use]
    pub fn new(own: Option<NaclKeys>) -> Self {
        Self {
            own,
            ..Self::default()
        }
    }

    /// Reads what [`KeyBook::save`] wrote. What makes no sense in it is left out.
    ///
    /// # Errors
    /// When it is not such a text at all.
    pub fn restore(own: Option<NaclKeys>, text: &str) -> Result<Self, serde_json::Error> {
        let saved: Saved = serde_json::from_str(text)?;
        let mut book = Self::new(own);
        for (peer, mut known) in saved.peers {
            let valid = NaclPublic::from_base64(&known.key).is_ok();
            if let (Some(peer), true) = (goop_identity::label::parse_peer_id(&peer), valid) {
                book.learned += 1;
                known.since = book.learned;
                book.peers.insert(peer, known);
            }
        }
        Ok(book)
    }

    /// Everything worth keeping between runs, as JSON.
    #[must_use]
    pub fn save(&self) -> String {
        let pinned = self.peers.iter().filter(|(_, known)| !known.key.is_empty());
        let saved = Saved {
            version: 1,
            peers: pinned
                .map(|(peer, known)| (peer.to_base58(), known.clone()))
                .collect(),
        };
        serde_json::to_string_pretty(&saved).unwrap_or_default()
    }

    /// Counts up when there is something new to save.
    #[must_use]
    pub fn changes(&self) -> u64 {
        self.changes
    }

    /// Our public key, in base64.
    #[must_use]
    pub fn own_public(&self) -> Option<String> {
        self.own.as_ref().map(|own| own.public.to_base64())
    }

    fn known(&mut self, peer: PeerId) -> &mut Known {
        if self.peers.len() >= PEERS && !self.peers.contains_key(&peer) {
            let unverified = self.peers.iter().filter(|(_, known)| !known.verified);
            let first = unverified
                .min_by_key(|(_, known)| known.since)
                .map(|(peer, _)| *peer);
            first.and_then(|peer| self.peers.remove(&peer));
        }
        self.learned += 1;
        let since = self.learned;
        self.peers.entry(peer).or_insert_with(|| Known {
            since,
            ..Known::default()
        })
    }

    /// A peer said its key over its own connection.
    pub fn learn(&mut self, peer: PeerId, key: &NaclPublic, supports: bool) -> Learned {
        let key = key.to_base64();
        let known = self.known(peer);
        if known.key == key {
            // Support is never taken back silently.
            let more = (supports && !known.supports) || !known.offered.is_empty();
            known.supports |= supports;
            known.offered.clear();
            self.changes += u64::from(more);
            return Learned::Same;
        }
        let learned = if known.key.is_empty() {
            Learned::First
        } else if known.verified {
            if known.offered == key {
                return Learned::Same;
            }
            known.offered = key;
            self.changes += 1;
            return Learned::Offered;
        } else {
            Learned::Changed {
                old: known.key.clone(),
            }
        };
        if let Learned::Changed { old } = &learned {
            known.replaced.clone_from(old);
        }
        known.key = key;
        known.supports |= supports;
        known.told = None;
        self.changes += 1;
        learned
    }

    /// The pinned key, in base64.
    #[must_use]
    pub fn key_of(&self, peer: &PeerId) -> Option<&str> {
        self.peers
            .get(peer)
            .map(|known| known.key.as_str())
            .filter(|key| !key.is_empty())
    }

    /// Whether the key was compared, and no other one is offered.
    #[must_use]
    pub fn is_verified(&self, peer: &PeerId) -> bool {
        self.peers
            .get(peer)
            .is_some_and(|known| known.verified && known.offered.is_empty())
    }

    /// The key that a person has to agree to, in base64.
    #[must_use]
    pub fn offered(&self, peer: &PeerId) -> Option<&str> {
        self.peers
            .get(peer)
            .map(|known| known.offered.as_str())
            .filter(|key| !key.is_empty())
    }

    /// A person agrees to the offered key. It is not compared yet.
    pub fn accept(&mut self, peer: &PeerId) -> bool {
        let Some(known) = self
            .peers
            .get_mut(peer)
            .filter(|known| !known.offered.is_empty())
        else {
            return false;
        };
        known.key = std::mem::take(&mut known.offered);
        (known.verified, known.told) = (false, None);
        self.changes += 1;
        true
    }

    /// Notes that the two people compared their words, or takes that back. `false` without a key.
    pub fn set_verified(&mut self, peer: &PeerId, verified: bool) -> bool {
        let Some(known) = self
            .peers
            .get_mut(peer)
            .filter(|known| !known.key.is_empty() && known.offered.is_empty())
        else {
            return false;
        };
        known.verified = verified;
        known.replaced.clear();
        known.doubted.clear();
        self.changes += 1;
        true
    }

    /// The key a peer had before, in base64, until a person has seen that ([`KeyBook::saw_change`]).
    #[must_use]
    pub fn replaced(&self, peer: &PeerId) -> Option<&str> {
        self.peers
            .get(peer)
            .map(|known| known.replaced.as_str())
            .filter(|key| !key.is_empty())
    }

    /// A peer says that our key is another one than before.
    pub(crate) fn doubts(&mut self, peer: &PeerId, ours: &NaclPublic) {
        if let Some(known) = self.peers.get_mut(peer) {
            known.doubted = ours.to_base64();
            self.changes += 1;
        }
    }

    /// The key of ours that a peer says is another one than before, until a person has seen that
    /// ([`KeyBook::saw_change`]).
    #[must_use]
    pub fn doubted(&self, peer: &PeerId) -> Option<&str> {
        self.peers
            .get(peer)
            .map(|known| known.doubted.as_str())
            .filter(|key| !key.is_empty())
    }

    /// A person has seen that the key is another one, on this side or on the other.
    pub fn saw_change(&mut self, peer: &PeerId) {
        if let Some(known) = self.peers.get_mut(peer) {
            known.replaced.clear();
            known.doubted.clear();
            self.changes += 1;
        }
    }

    /// Notes what a peer understands. Without a key there is nothing to note it at.
    pub(crate) fn understood(&mut self, peer: &PeerId, features: &[String]) {
        if let Some(known) = self.peers.get_mut(peer) {
            known.features = features.to_vec();
        }
    }

    /// Whether a peer said that it understands something.
    #[must_use]
    pub fn understands(&self, peer: &PeerId, feature: &str) -> bool {
        self.peers
            .get(peer)
            .is_some_and(|known| known.features.iter().any(|known| known == feature))
    }

    /// What the two people compare; the same on both sides. It speaks of the offered key if there is one.
    #[must_use]
    pub fn words(&self, me: &PeerId, peer: &PeerId) -> Option<Words> {
        let own = self.own_public()?;
        let theirs = self.offered(peer).or_else(|| self.key_of(peer))?;
        Some(Words::of((me, &own), (peer, theirs)))
    }

    /// How a message goes to a peer.
    #[must_use]
    pub fn plan(&self, peer: &PeerId, sealing: Sealing, now: Instant) -> Plan {
        if sealing == Sealing::Open {
            return Plan::Plain;
        }
        let Some(known) = self.peers.get(peer).filter(|known| !known.key.is_empty()) else {
            return Plan::Plain;
        };
        if known.verified && !known.offered.is_empty() {
            return Plan::Blocked(Blocked::KeyChanged);
        }
        if !known.supports && !known.sealed {
            return Plan::Plain;
        }
        if self.own.is_none() {
            return Plan::Blocked(Blocked::NoOwnKey);
        }
        let knows_us = known
            .told
            .is_some_and(|told| now.saturating_duration_since(told) < TOLD_FOR);
        Plan::Sealed {
            introduce: !knows_us,
        }
    }

    /// Our key and the pinned one of a peer, put together.
    fn pair(&mut self, peer: &PeerId) -> Option<&Pair> {
        let key = self.key_of(peer)?;
        if self.pairs.get(peer).is_none_or(|(with, _)| with != key) {
            let pair = Pair::new(
                &self.own.as_ref()?.secret,
                &NaclPublic::from_base64(key).ok()?,
            );
            let key = key.to_owned();
            if self.pairs.len() >= PAIRS {
                self.pairs.clear();
            }
            self.pairs.insert(*peer, (key, pair));
        }
        self.pairs.get(peer).map(|(_, pair)| pair)
    }

    /// Seals for a peer with the pinned key.
    #[must_use]
    pub fn seal(&mut self, peer: &PeerId, plain: &[u8]) -> Option<String> {
        Some(self.pair(peer)?.seal(plain))
    }

    /// Opens what came over the connection of a peer. `hint` is a key that others say is the peer's: when that opens it, the
    /// peer has proven it and it is pinned like any other.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn open(
        &mut self,
        peer: PeerId,
        text: &str,
        hint: Option<&NaclPublic>,
        now: Instant,
    ) -> Result<(Vec<u8>, Learned), OpenError> {
        let own = self.own.as_ref().ok_or(OpenError::NoKey)?.secret.clone();
        let pinned = self.key_of(&peer).map(str::to_owned);
        let opened = self
            .pair(&peer)
            .and_then(|pair| pair.open(text.as_bytes()).ok());
        let (plain, learned) = match (opened, hint) {
            (Some(plain), _) => (plain, Learned::Same),
            (None, Some(hint)) if pinned.as_deref() != Some(&*hint.to_base64()) => {
                let plain = seal::open(text.as_bytes(), hint, &own);
                let plain = plain.map_err(|_| OpenError::WrongKey)?;
                let learned = self.learn(peer, hint, true);
                if learned == Learned::Offered || self.offered(&peer).is_some() {
                    return Err(OpenError::WrongKey);
                }
                (plain, learned)
            }
            (None, _) if pinned.is_some() => return Err(OpenError::WrongKey),
            (None, _) => return Err(OpenError::NoKey),
        };
        let known = self.known(peer);
        let first = !known.sealed || !known.supports;
        (known.sealed, known.supports, known.noticed) = (true, true, false);
        // It sealed with our key, so it knows it.
        known.told = Some(now);
        self.changes += u64::from(first);
        Ok((plain, learned))
    }

    /// A message that is usually sealed came plain. `true` when that is to be shown: the peer has sealed before.
    pub fn came_plain(&mut self, peer: &PeerId) -> bool {
        let Some(known) = self
            .peers
            .get_mut(peer)
            .filter(|known| known.sealed && !known.noticed)
        else {
            return false;
        };
        known.noticed = true;
        // It forgot our key, most likely.
        known.told = None;
        true
    }

    /// The peer was told our key, or (`false`) may have forgotten it.
    pub fn told(&mut self, peer: &PeerId, told: bool, now: Instant) {
        if let Some(known) = self.peers.get_mut(peer) {
            known.told = told.then_some(now);
        }
    }
}
