//! The rows: one for each peer that is there, and the rule about signatures.
//!
//! Who signs is believed more than who does not. While a row was set by a signed message, only newer signed messages
//! change it. A signature counts if its time is near the server's: what was signed long ago could be sent again by
//! anybody who once heard it. One that does not count makes the message an unsigned one, so that a peer with a wrong
//! clock is served like a Go peer.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use goop_identity::PeerId;
use goop_identity::presence::PresenceKind;
use indexmap::IndexMap;
use serde::Serialize;

use super::{Entry, Incoming, MAX_PEERS, Now, Refused, TTL};
use crate::wire::Publication;

/// How far the time of a signed message may be from the server's.
pub const SIGNED_WINDOW: Duration = Duration::from_secs(5 * 60);
/// Peers whose last signed time is remembered after they left. One takes about 60 bytes.
const MAX_REMEMBERED: usize = 2 * MAX_PEERS;

/// What is known of one peer.
#[derive(Debug, Clone)]
pub struct Row {
    pub(super) publication: Publication,
    /// Unix milliseconds by this server's clock.
    pub(super) last_seen: i64,
    seen: Instant,
    pub(super) bytes_sent: u64,
    /// What was received before this server counted …
    received_before: u64,
    /// … from this total on.
    counted_from: u64,
    /// Which other instance it is connected to; `None` = this one.
    pub(super) instance: Option<Arc<str>>,
    /// The newest message, as it goes out.
    pub(super) frame: Bytes,
    /// When a message of it last went out.
    pub(super) passed_on: Instant,
    /// The change of the table that brought these addresses.
    pub(super) addrs_change: u64,
    /// Its socket closed; it is gone then.
    pub(super) leaving: Option<Instant>,
}

impl Row {
    pub(super) fn entry(&self, total: u64) -> Entry {
        Entry {
            publication: self.publication.clone(),
            last_seen: self.last_seen,
            bytes_sent: self.bytes_sent,
            bytes_received: self.received(total),
        }
    }

    fn received(&self, total: u64) -> u64 {
        self.received_before + total.saturating_sub(self.counted_from)
    }

    pub(super) fn standing(&self, ws_connected: bool, total: u64) -> Standing {
        let record = &self.publication.record;
        Standing {
            peer_id: record.peer.to_base58(),
            kind: record.kind,
            content: record.content.clone(),
            email: record.email.clone(),
            avatar_hash: record.avatar_hash.clone(),
            active_template: record.active_template.clone(),
            public_key: record.public_key.clone(),
            encryption_supported: record.encryption_supported,
            addrs: record.addrs.clone(),
            ts: record.ts,
            last_seen: self.last_seen,
            bytes_sent: self.bytes_sent,
            bytes_received: self.received(total),
            verified: record.verified,
            ws_connected,
            signed: record.signature.is_some(),
            instance: self.instance.as_deref().unwrap_or_default().to_owned(),
        }
    }
}

/// A row as `/peers.json` shows it (rendezvous.md 2.2). The last two are ours.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Standing {
    /// Who.
    pub peer_id: String,
    /// `online` right after it came, then `update`.
    #[serde(rename = "type")]
    #[schema(value_type = String)]
    pub kind: PresenceKind,
    /// Display name, as claimed.
    pub content: String,
    /// E-mail address, as claimed.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub email: String,
    /// Short hash of its picture.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub avatar_hash: String,
    /// Template it applied.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub active_template: String,
    /// NaCl key, base64.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub public_key: String,
    /// It opens sealed payloads.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub encryption_supported: bool,
    /// Where it can be dialled.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub addrs: Vec<String>,
    /// Unix milliseconds by its clock.
    pub ts: i64,
    /// Unix milliseconds by the server's clock.
    pub last_seen: i64,
    /// Bytes of its messages.
    pub bytes_sent: u64,
    /// Bytes of all messages while it was there.
    pub bytes_received: u64,
    /// Its e-mail address is proven, or nobody asks for that.
    pub verified: bool,
    /// It has a socket.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub ws_connected: bool,
    /// Its messages are signed.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub signed: bool,
    /// The other instance it is connected to.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub instance: String,
}

/// What a message changed.
pub(super) struct Put<'a> {
    pub(super) row: &'a mut Row,
    /// Bytes of messages for everybody so far, this one included.
    pub(super) total: u64,
    pub(super) said_something_new: bool,
    pub(super) addresses_changed: bool,
}

/// All rows, in the order they came as far as nobody left.
#[derive(Debug, Default)]
pub(super) struct Table {
    rows: IndexMap<PeerId, Row>,
    /// Time of the newest signed message, and until when it matters.
    signed: HashMap<PeerId, (i64, Instant)>,
    /// Bytes of messages for everybody so far. A row remembers what it was when it began, so that a message costs the
    /// same however many peers there are.
    total: u64,
    /// Changes so far: tells what came before what, which times do not when two are equal.
    changes: u64,
}

impl Table {
    pub(super) fn get(&self, peer: &PeerId) -> Option<&Row> {
        self.rows.get(peer)
    }

    pub(super) fn get_mut(&mut self, peer: &PeerId) -> Option<&mut Row> {
        self.rows.get_mut(peer)
    }

    pub(super) fn rows(&self) -> impl DoubleEndedIterator<Item = &Row> {
        self.rows.values()
    }

    /// The number of the newest change.
    pub(super) fn changes(&self) -> u64 {
        self.changes
    }

    pub(super) fn len(&self) -> usize {
        self.rows.len()
    }

    pub(super) fn is_full_for(&self, peer: &PeerId) -> bool {
        self.rows.len() >= MAX_PEERS && !self.rows.contains_key(peer)
    }

    pub(super) fn remove(&mut self, peer: &PeerId) -> Option<Row> {
        self.rows.swap_remove(peer)
    }

    /// It has a socket again.
    pub(super) fn stays(&mut self, peer: &PeerId) {
        if let Some(row) = self.rows.get_mut(peer) {
            row.leaving = None;
        }
    }

    /// Decides whether a message counts, and as what.
    pub(super) fn admit(&mut self, incoming: Incoming, now: Now) -> Result<Publication, Refused> {
        let Incoming {
            mut publication,
            signed,
            verified,
        } = incoming;
        let record = &mut publication.record;
        let peer = record.peer;
        let window = i64::try_from(SIGNED_WINDOW.as_millis()).unwrap_or(i64::MAX);
        let counts = signed && record.ts.saturating_sub(now.ms).saturating_abs() <= window;
        if counts {
            if self
                .signed
                .get(&peer)
                .is_some_and(|(ts, _)| record.ts <= *ts)
            {
                return Err(Refused::Outdated);
            }
        } else {
            record.signature = None;
            let signs = |row: &Row| row.publication.record.signature.is_some();
            if self.rows.get(&peer).is_some_and(signs) {
                return Err(Refused::NeedsSignature);
            }
        }
        if record.kind != PresenceKind::Offline && self.is_full_for(&peer) {
            return Err(Refused::Full);
        }
        if counts {
            if self.signed.len() < MAX_REMEMBERED || self.signed.contains_key(&peer) {
                // A message from the future stays fresh for as long as it is ahead.
                self.signed
                    .insert(peer, (record.ts, now.at + 2 * SIGNED_WINDOW));
            }
        } else if record.ts == 0 {
            record.ts = now.ms;
        }
        record.verified = verified && record.kind != PresenceKind::Offline;
        Ok(publication)
    }

    /// Takes over what an admitted message says.
    pub(super) fn put(
        &mut self,
        publication: Publication,
        instance: Option<Arc<str>>,
        now: Now,
    ) -> Put<'_> {
        let frame = publication.to_frame();
        let size = frame.len() as u64;
        let before = self.total;
        self.total += size;
        let total = self.total;
        self.changes += 1;
        match self.rows.entry(publication.record.peer) {
            indexmap::map::Entry::Vacant(place) => Put {
                said_something_new: true,
                total,
                addresses_changed: true,
                row: place.insert(Row {
                    publication,
                    last_seen: now.ms,
                    seen: now.at,
                    bytes_sent: size,
                    received_before: 0,
                    counted_from: before,
                    instance,
                    frame,
                    passed_on: now.at,
                    addrs_change: self.changes,
                    leaving: None,
                }),
            },
            indexmap::map::Entry::Occupied(place) => {
                let row = place.into_mut();
                let addresses_changed =
                    differ_as_sets(&row.publication.record.addrs, &publication.record.addrs);
                let said_something_new = !row.publication.says_the_same_as(&publication);
                if addresses_changed {
                    row.addrs_change = self.changes;
                }
                row.publication = publication;
                row.last_seen = now.ms;
                row.seen = now.at;
                row.bytes_sent += size;
                row.instance = instance;
                row.frame = frame;
                row.leaving = None;
                Put {
                    row,
                    total,
                    said_something_new,
                    addresses_changed,
                }
            }
        }
    }

    pub(super) fn restore(&mut self, entry: Entry, age: Duration, now: Now) {
        let seen = now.at.checked_sub(age).unwrap_or(now.at);
        let frame = entry.publication.to_frame();
        let record = &entry.publication.record;
        if record.signature.is_some() {
            self.signed
                .insert(record.peer, (record.ts, now.at + 2 * SIGNED_WINDOW));
        }
        self.rows.insert(
            record.peer,
            Row {
                last_seen: entry.last_seen,
                seen,
                bytes_sent: entry.bytes_sent,
                received_before: entry.bytes_received,
                counted_from: self.total,
                instance: None,
                frame,
                passed_on: seen,
                addrs_change: self.changes,
                leaving: None,
                publication: entry.publication,
            },
        );
    }

    pub(super) fn seen_elsewhere(
        &mut self,
        peer: &PeerId,
        instance: &Arc<str>,
        last_seen: i64,
        now: Now,
    ) {
        if let Some(row) = self.rows.get_mut(peer)
            && row.instance.as_ref() == Some(instance)
            && row.last_seen < last_seen
        {
            row.last_seen = last_seen;
            row.seen = now.at;
        }
    }

    /// Counts a message that goes to everybody and belongs to no row any more.
    pub(super) fn count_passed_on(&mut self, frame: &Bytes) {
        self.total += frame.len() as u64;
    }

    /// Bytes of messages for everybody so far.
    pub(super) fn passed_on(&self) -> u64 {
        self.total
    }

    /// Removes who said nothing for [`TTL`] and forgets signed times that no longer matter.
    pub(super) fn sweep(&mut self, now: Now) -> Vec<PeerId> {
        self.signed.retain(|_, (_, until)| *until > now.at);
        let stale: Vec<PeerId> = self
            .rows
            .values()
            .filter(|row| now.at.saturating_duration_since(row.seen) > TTL)
            .map(|row| row.publication.record.peer)
            .collect();
        for peer in &stale {
            self.rows.swap_remove(peer);
        }
        stale
    }
}

fn differ_as_sets(a: &[String], b: &[String]) -> bool {
    if a == b {
        return false;
    }
    let sorted = |list: &[String]| {
        let mut list = list.to_vec();
        list.sort_unstable();
        list.dedup();
        list
    };
    sorted(a) != sorted(b)
}
