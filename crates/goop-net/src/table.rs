//! The peer table: who is known, who is there (peer-directory.md 9), as a value.
//!
//! Events and the time go in, changes come out. It differs from the Go program where that loses something: a
//! favourite is kept when it leaves, a peer that was reached counts as present, a withdrawn flag is withdrawn, and the
//! number of peers is bounded so that a flood of strangers cannot push out friends.
//!
//! Nothing here trusts a clock: lifetimes run on [`Instant`]s, the wall time is only noted for people to read, and the
//! time in a record only orders records of the same author.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant, SystemTime};

use goop_identity::PeerId;
use goop_identity::presence::PresenceMessage;

/// Failures closer together than this count once (network.md 5.4).
pub const FAILURE_WINDOW: Duration = Duration::from_secs(2);
/// Distinct failures that make a peer unreachable.
pub const FAILURES: u32 = 2;
/// Most peers that are kept. Favourites count, but are never refused.
pub const MAX_PEERS: usize = 10_000;
/// No lifetime is longer than ten years, whatever is configured: the clock must not overflow.
const LONGEST: Duration = Duration::from_secs(10 * 366 * 24 * 3_600);
/// A record may arrive this long after the goodbye that its author sent later: gossip takes many ways.
const OVERTAKEN: Duration = Duration::from_secs(10);

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
    /// It was reached at some time, in this run or an earlier one; the others are only heard of.
    pub met: bool,
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
            met: false,
            addrs: Vec::new(),
        }
    }
}

/// What changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TableChange {
    /// A peer is new, or something shown of it changed.
    Changed(PeerId),
    /// Only [`PeerRow::last_seen`] moved on: nothing to tell anybody.
    Seen(PeerId),
    /// A peer was forgotten.
    Gone(PeerId),
}

/// Where a presence record came from, which decides what of it is believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// Gossip signed by a peer that we have a direct connection with. Says nothing about `verified`.
    Neighbour,
    /// Gossip signed by a peer that others told us of. Says nothing about `verified`.
    Gossip,
    /// A rendezvous server, which may vouch for the e-mail address.
    Rendezvous,
}

#[derive(Debug)]
struct Entry {
    row: PeerRow,
    /// When it came into the table.
    since: Instant,
    /// Last sign of life on the clock that only goes forward.
    seen: Instant,
    offline: Option<Instant>,
    /// When its goodbye came, and what that one says is the time.
    goodbye: Option<(Instant, i64)>,
    /// A rendezvous passed on a record that the peer itself had signed.
    signed: bool,
    failures: u32,
    last_failure: Option<Instant>,
    /// Its entry in the deadlines.
    due: Option<Instant>,
}

impl Entry {
    fn offline(row: PeerRow, now: Instant) -> Self {
        Self {
            row,
            since: now,
            seen: now,
            offline: Some(now),
            goodbye: None,
            signed: false,
            failures: 0,
            last_failure: None,
            due: None,
        }
    }

    /// A friend, or at least somebody real. The others make room when it gets tight.
    fn is_proven(&self) -> bool {
        self.row.favorite || self.row.met
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
    entries: BTreeMap<PeerId, Entry>,
    /// When each entry wants to be looked at next, so that nobody scans the table.
    deadlines: BTreeSet<(Instant, PeerId)>,
    /// Peers that are only heard of, the newest last.
    unproven: BTreeSet<(Instant, PeerId)>,
}

impl PeerTable {
    /// An empty table.
    #[must_use]
    pub fn new(lifetimes: Lifetimes) -> Self {
        let lifetimes = Lifetimes {
            ttl: lifetimes.ttl.min(LONGEST),
            grace: lifetimes.grace.min(LONGEST),
        };
        Self {
            lifetimes,
            entries: BTreeMap::new(),
            deadlines: BTreeSet::new(),
            unproven: BTreeSet::new(),
        }
    }

    /// How long things hold.
    #[must_use]
    pub fn lifetimes(&self) -> Lifetimes {
        self.lifetimes
    }

    /// Sets how long an offline peer is listed; running times are measured anew.
    pub fn set_grace(&mut self, grace: Duration) {
        self.lifetimes.grace = grace.min(LONGEST);
        let peers: Vec<PeerId> = self.entries.keys().copied().collect();
        for peer in peers {
            self.settle(&peer);
        }
    }

    /// A peer known from an earlier run: listed as offline until it shows up. A favourite always finds room.
    pub fn seed(&mut self, mut row: PeerRow, now: Instant, wall: SystemTime) -> Vec<TableChange> {
        let id = row.id;
        if self.entries.contains_key(&id) {
            return Vec::new();
        }
        let Some(mut changes) = self.make_room(row.favorite || row.met, row.favorite) else {
            return Vec::new();
        };
        row.reachable = false;
        row.encryption_supported = false;
        row.offline_since = Some(wall);
        self.entries.insert(id, Entry::offline(row, now));
        self.settle(&id);
        changes.push(TableChange::Changed(id));
        changes
    }

    /// An `online` or `update` record of a peer, already checked for authorship. A stranger may be refused when the
    /// table is full; a neighbour takes the place of the newest peer that is only heard of.
    pub fn announced(
        &mut self,
        message: &PresenceMessage,
        source: Source,
        now: Instant,
        wall: SystemTime,
    ) -> Vec<TableChange> {
        let id = message.peer;
        let mut changes = Vec::new();
        let is_new = !self.entries.contains_key(&id);
        if is_new {
            let Some(made) = self.make_room(source == Source::Neighbour, false) else {
                return changes;
            };
            changes = made;
        }
        let entry = self
            .entries
            .entry(id)
            .or_insert_with(|| Entry::offline(PeerRow::unknown(id, wall), now));
        let said_goodbye_later = entry.goodbye.is_some_and(|(at, ts)| {
            now.saturating_duration_since(at) < OVERTAKEN
                && message.ts <= ts
                && entry.offline.is_some()
        });
        if said_goodbye_later {
            return changes;
        }
        let came_back = entry.offline.take().is_some();
        entry.seen = now;
        entry.row.offline_since = None;
        entry.row.last_seen = wall;
        // The gate looked at the signature.
        entry.signed |= source == Source::Rendezvous && message.signature.is_some();
        let changed = update(&mut entry.row, message, source);
        self.settle(&id);
        changes.push(if changed || came_back || is_new {
            TableChange::Changed(id)
        } else {
            TableChange::Seen(id)
        });
        changes
    }

    /// An `offline` record of a peer, already checked for authorship.
    pub fn said_goodbye(
        &mut self,
        message: &PresenceMessage,
        now: Instant,
        wall: SystemTime,
    ) -> Option<TableChange> {
        let entry = self.entries.get_mut(&message.peer)?;
        entry.goodbye = Some((now, message.ts));
        self.left(&message.peer, now, wall)
    }

    /// A peer is away: it fell silent, or a rendezvous says so.
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
        self.settle(id);
        Some(TableChange::Changed(*id))
    }

    /// A probe succeeded or a connection came up. Such a peer is there, whatever its last record said.
    pub fn reached(&mut self, id: &PeerId, now: Instant, wall: SystemTime) -> Option<TableChange> {
        let entry = self.entries.get_mut(id)?;
        let is_news = !entry.row.reachable || entry.offline.is_some();
        entry.failures = 0;
        entry.last_failure = None;
        entry.seen = now;
        entry.offline = None;
        entry.row.last_seen = wall;
        entry.row.reachable = true;
        entry.row.offline_since = None;
        entry.row.met = true;
        self.settle(id);
        Some(if is_news {
            TableChange::Changed(*id)
        } else {
            TableChange::Seen(*id)
        })
    }

    /// A probe failed. The second failure more than [`FAILURE_WINDOW`] after the first makes it unreachable.
    pub fn missed(&mut self, id: &PeerId, now: Instant) -> Option<TableChange> {
        let entry = self.entries.get_mut(id)?;
        let again = entry
            .last_failure
            .is_none_or(|last| now.saturating_duration_since(last) > FAILURE_WINDOW);
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
        self.settle(id);
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
        while let Some((_, id)) = self.deadlines.first().copied().filter(|(at, _)| *at <= now) {
            match self.left(&id, now, wall) {
                Some(change) => changes.push(change),
                None => changes.extend(self.forget(&id)),
            }
        }
        changes
    }

    /// One peer.
    #[must_use]
    pub fn get(&self, id: &PeerId) -> Option<&PeerRow> {
        self.entries.get(id).map(|entry| &entry.row)
    }

    /// Whether a rendezvous ever passed on a record that this peer itself had signed.
    #[must_use]
    pub fn is_signed(&self, id: &PeerId) -> bool {
        self.entries.get(id).is_some_and(|entry| entry.signed)
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

    /// Every peer, by id. The order of ids is that of their usual texts.
    #[must_use]
    pub fn rows(&self) -> Vec<PeerRow> {
        self.entries
            .values()
            .map(|entry| entry.row.clone())
            .collect()
    }

    /// Room for one more. Somebody who may displace takes the place of the newest peer that is only heard of; `None`
    /// when there is none such, unless the newcomer must come in.
    fn make_room(&mut self, may_displace: bool, must: bool) -> Option<Vec<TableChange>> {
        if self.entries.len() < MAX_PEERS {
            return Some(Vec::new());
        }
        let newest = self
            .unproven
            .last()
            .map(|(_, id)| *id)
            .filter(|_| may_displace);
        match newest {
            Some(newest) => Some(self.forget(&newest).into_iter().collect()),
            None => must.then(Vec::new),
        }
    }

    fn forget(&mut self, id: &PeerId) -> Option<TableChange> {
        let entry = self.entries.remove(id)?;
        self.unproven.remove(&(entry.since, *id));
        if let Some(due) = entry.due {
            self.deadlines.remove(&(due, *id));
        }
        Some(TableChange::Gone(*id))
    }

    /// Brings the lists in step with an entry that changed.
    fn settle(&mut self, id: &PeerId) {
        let Some(entry) = self.entries.get_mut(id) else {
            return;
        };
        let due = match entry.offline {
            None => Some(entry.seen + self.lifetimes.ttl),
            Some(_) if entry.row.favorite => None,
            Some(since) => Some(since + self.lifetimes.grace),
        };
        if due != entry.due {
            let old = std::mem::replace(&mut entry.due, due);
            self.deadlines.extend(due.map(|at| (at, *id)));
            if let Some(old) = old {
                self.deadlines.remove(&(old, *id));
            }
        }
        if entry.is_proven() {
            self.unproven.remove(&(entry.since, *id));
        } else {
            self.unproven.insert((entry.since, *id));
        }
    }
}

/// Puts what a record says into a row. Whether anything shown changed.
fn update(row: &mut PeerRow, message: &PresenceMessage, source: Source) -> bool {
    let mut changed = false;
    let mut set = |field: &mut String, said: &String| {
        if field != said {
            field.clone_from(said);
            changed = true;
        }
    };
    set(&mut row.content, &message.content);
    set(&mut row.email, &message.email);
    set(&mut row.avatar_hash, &message.avatar_hash);
    set(&mut row.active_template, &message.active_template);
    if !message.goop_client_version.is_empty() {
        set(&mut row.goop_client_version, &message.goop_client_version);
    }
    // A pinned key is only changed where people can see it; the message bus owns that decision.
    if row.public_key.is_empty() {
        set(&mut row.public_key, &message.public_key);
    }
    changed |= std::mem::replace(&mut row.video_disabled, message.video_disabled)
        != message.video_disabled;
    // The newest record decides, so that it can be withdrawn.
    let encryption = message.encryption_supported;
    changed |= std::mem::replace(&mut row.encryption_supported, encryption) != encryption;
    if source == Source::Rendezvous {
        changed |= std::mem::replace(&mut row.verified, message.verified) != message.verified;
    }
    if !message.addrs.is_empty() && row.addrs != message.addrs {
        row.addrs.clone_from(&message.addrs);
        changed = true;
    }
    changed
}
