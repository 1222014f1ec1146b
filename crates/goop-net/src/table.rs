//! The peer table: who is known, who is there (peer-directory.md 9), as a value.
//!
//! Events and the time go in, changes come out. It differs from the Go program where that loses something: a
//! favourite is kept when it leaves, a peer that was reached counts as present, a withdrawn flag is withdrawn, and the
//! number of peers is bounded so that a flood of strangers cannot push out friends.

use std::collections::{BTreeSet, HashMap};
use std::time::{Duration, Instant, SystemTime};

use goop_identity::PeerId;
use goop_identity::presence::PresenceMessage;

/// Failures closer together than this count once (network.md 5.4).
pub const FAILURE_WINDOW: Duration = Duration::from_secs(2);
/// Distinct failures that make a peer unreachable.
pub const FAILURES: u32 = 2;
/// Most peers that are kept; favourites count, but are never refused.
pub const MAX_PEERS: usize = 10_000;

/// What is shown of one peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerRow {
    /// Who.
    pub id: PeerId,
    /// Display name.
    pub content: String,
    /// E-mail address, as claimed.
    pub email: String,
    /// Short hash of the picture, empty for none.
    pub avatar_hash: String,
    /// No calls.
    pub video_disabled: bool,
    /// Applied template.
    pub active_template: String,
    /// NaCl public key, from an authenticated source.
    pub public_key: String,
    /// Payloads may be sealed for this peer.
    pub encryption_supported: bool,
    /// A rendezvous vouches for the e-mail address.
    pub verified: bool,
    /// Version of the peer's program.
    pub goop_client_version: String,
    /// It answered lately.
    pub reachable: bool,
    /// Since when it is away; `None` while it is there.
    pub offline_since: Option<SystemTime>,
    /// Last sign of life, by our clock.
    pub last_seen: SystemTime,
    /// Marked by the person.
    pub favorite: bool,
    /// Where it said it listens.
    pub addrs: Vec<String>,
}

impl PeerRow {
    /// A peer of which only the id is known.
    #[must_use]
    pub fn unknown(id: PeerId, seen: SystemTime) -> Self {
        Self {
            id,
            content: String::new(),
            email: String::new(),
            avatar_hash: String::new(),
            video_disabled: false,
            active_template: String::new(),
            public_key: String::new(),
            encryption_supported: false,
            verified: false,
            goop_client_version: String::new(),
            reachable: false,
            offline_since: Some(seen),
            last_seen: seen,
            favorite: false,
            addrs: Vec::new(),
        }
    }
}

/// What changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TableChange {
    /// A peer is new, or something shown of it changed.
    Changed(PeerId),
    /// A peer was forgotten.
    Gone(PeerId),
}

/// Where a presence record came from, which decides what of it is believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// Gossip signed by the peer itself. Says nothing about `verified`.
    Gossip,
    /// A rendezvous server, which may vouch for the e-mail address.
    Rendezvous,
}

#[derive(Debug)]
struct Entry {
    row: PeerRow,
    /// Last sign of life on the clock that only goes forward.
    seen: Instant,
    offline: Option<Instant>,
    failures: u32,
    last_failure: Option<Instant>,
    /// Its entry in the deadlines.
    due: Option<Instant>,
}

impl Entry {
    fn offline(row: PeerRow, now: Instant) -> Self {
        Self { row, seen: now, offline: Some(now), failures: 0, last_failure: None, due: None }
    }
}

/// How long things hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lifetimes {
    /// Silence after which a peer is offline.
    pub ttl: Duration,
    /// How long an offline peer is listed.
    pub grace: Duration,
}

/// The table.
#[derive(Debug)]
pub struct PeerTable {
    lifetimes: Lifetimes,
    entries: HashMap<PeerId, Entry>,
    /// When each entry wants to be looked at next, so that nobody scans the table.
    deadlines: BTreeSet<(Instant, PeerId)>,
}

impl PeerTable {
    /// An empty table.
    #[must_use]
    pub fn new(lifetimes: Lifetimes) -> Self {
        Self { lifetimes, entries: HashMap::new(), deadlines: BTreeSet::new() }
    }

    /// Sets how long an offline peer is listed; running times are measured anew.
    pub fn set_grace(&mut self, grace: Duration) {
        self.lifetimes.grace = grace;
        let peers: Vec<PeerId> = self.entries.keys().copied().collect();
        for peer in peers {
            self.reschedule(&peer);
        }
    }

    /// A peer known from an earlier run: listed as offline until it shows up.
    pub fn seed(&mut self, mut row: PeerRow, now: Instant, wall: SystemTime) -> Option<TableChange> {
        if self.entries.contains_key(&row.id) || !self.has_room(row.favorite) {
            return None;
        }
        row.reachable = false;
        row.encryption_supported = false;
        row.offline_since = Some(wall);
        let id = row.id;
        self.entries.insert(id, Entry::offline(row, now));
        self.reschedule(&id);
        Some(TableChange::Changed(id))
    }

    /// An `online` or `update` record of a peer, already checked for authorship.
    pub fn announced(
        &mut self,
        message: &PresenceMessage,
        source: Source,
        now: Instant,
        wall: SystemTime,
    ) -> Option<TableChange> {
        let id = message.peer;
        if !self.entries.contains_key(&id) && !self.has_room(false) {
            return None;
        }
        let is_new = !self.entries.contains_key(&id);
        let entry = self.entries.entry(id).or_insert_with(|| Entry::offline(PeerRow::unknown(id, wall), now));
        let before = entry.row.clone();
        let row = &mut entry.row;
        row.content.clone_from(&message.content);
        row.email.clone_from(&message.email);
        row.avatar_hash.clone_from(&message.avatar_hash);
        row.video_disabled = message.video_disabled;
        row.active_template.clone_from(&message.active_template);
        row.encryption_supported = message.encryption_supported;
        if !message.addrs.is_empty() {
            row.addrs.clone_from(&message.addrs);
        }
        if !message.goop_client_version.is_empty() {
            row.goop_client_version.clone_from(&message.goop_client_version);
        }
        // A pinned key is only changed where people can see it; the message bus owns that decision.
        if row.public_key.is_empty() {
            row.public_key.clone_from(&message.public_key);
        }
        if source == Source::Rendezvous {
            row.verified = message.verified;
        }
        row.offline_since = None;
        row.last_seen = wall;
        entry.offline = None;
        entry.seen = now;
        let changed = differs_visibly(&before, row) || is_new;
        self.reschedule(&id);
        changed.then_some(TableChange::Changed(id))
    }

    /// A polite end, or the rendezvous says so.
    pub fn left(&mut self, id: &PeerId, now: Instant, wall: SystemTime) -> Option<TableChange> {
        let entry = self.entries.get_mut(id)?;
        entry.row.reachable = false;
        entry.failures = 0;
        entry.last_failure = None;
        if entry.offline.is_some() {
            return None;
        }
        entry.offline = Some(now);
        entry.row.offline_since = Some(wall);
        self.reschedule(id);
        Some(TableChange::Changed(*id))
    }

    /// A probe succeeded or a connection came up. Such a peer is there, whatever its last record said.
    pub fn reached(&mut self, id: &PeerId, now: Instant, wall: SystemTime) -> Option<TableChange> {
        let entry = self.entries.get_mut(id)?;
        entry.failures = 0;
        entry.last_failure = None;
        entry.seen = now;
        entry.row.last_seen = wall;
        let changed = !entry.row.reachable || entry.offline.is_some();
        entry.row.reachable = true;
        entry.row.offline_since = None;
        entry.offline = None;
        self.reschedule(id);
        changed.then_some(TableChange::Changed(*id))
    }

    /// A probe failed. The second failure more than [`FAILURE_WINDOW`] after the first makes it unreachable.
    pub fn missed(&mut self, id: &PeerId, now: Instant) -> Option<TableChange> {
        let entry = self.entries.get_mut(id)?;
        let again = entry.last_failure.is_none_or(|last| now.saturating_duration_since(last) > FAILURE_WINDOW);
        if again {
            entry.failures += 1;
            entry.last_failure = Some(now);
        }
        if entry.failures < FAILURES || !entry.row.reachable {
            return None;
        }
        entry.row.reachable = false;
        Some(TableChange::Changed(*id))
    }

    /// Marks or unmarks a favourite. `None` when the peer is not known.
    pub fn set_favorite(&mut self, id: &PeerId, favorite: bool) -> Option<TableChange> {
        let entry = self.entries.get_mut(id)?;
        entry.row.favorite = favorite;
        self.reschedule(id);
        Some(TableChange::Changed(*id))
    }

    /// When [`PeerTable::tick`] has something to do.
    #[must_use]
    pub fn next_wake(&self) -> Option<Instant> {
        self.deadlines.first().map(|(at, _)| *at)
    }

    /// Peers that fell silent go offline, peers that were offline long enough are forgotten; favourites stay.
    pub fn tick(&mut self, now: Instant, wall: SystemTime) -> Vec<TableChange> {
        let mut changes = Vec::new();
        while let Some((at, id)) = self.deadlines.first().copied().filter(|(at, _)| *at <= now) {
            self.deadlines.remove(&(at, id));
            let Some(entry) = self.entries.get_mut(&id) else { continue };
            entry.due = None;
            if entry.offline.is_none() {
                changes.extend(self.left(&id, now, wall));
            } else {
                self.entries.remove(&id);
                changes.push(TableChange::Gone(id));
            }
        }
        changes
    }

    /// One peer.
    #[must_use]
    pub fn get(&self, id: &PeerId) -> Option<&PeerRow> {
        self.entries.get(id).map(|entry| &entry.row)
    }

    /// How many peers are known.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether nobody is known.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Every peer, by id.
    #[must_use]
    pub fn rows(&self) -> Vec<PeerRow> {
        let mut rows: Vec<PeerRow> = self.entries.values().map(|entry| entry.row.clone()).collect();
        rows.sort_by_cached_key(|row| row.id.to_base58());
        rows
    }

    fn has_room(&self, favorite: bool) -> bool {
        favorite || self.entries.len() < MAX_PEERS
    }

    fn reschedule(&mut self, id: &PeerId) {
        let Some(entry) = self.entries.get(id) else { return };
        let due = match entry.offline {
            None => Some(entry.seen + self.lifetimes.ttl),
            Some(_) if entry.row.favorite => None,
            Some(since) => Some(since + self.lifetimes.grace),
        };
        let entry = self.entries.get_mut(id).filter(|entry| entry.due != due);
        if let Some(entry) = entry {
            if let Some(old) = entry.due {
                self.deadlines.remove(&(old, *id));
            }
            entry.due = due;
            self.deadlines.extend(due.map(|at| (at, *id)));
        }
    }
}

fn differs_visibly(before: &PeerRow, after: &PeerRow) -> bool {
    let seen = PeerRow { last_seen: after.last_seen, ..before.clone() };
    seen != *after
}
