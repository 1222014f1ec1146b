//! Messages for everybody: collected for a moment, at most one for each peer, encoded once.
//!
//! What came in since the last batch goes out together, so a thousand peers that arrive at once wake every listener a
//! few times, not a thousand times. There is no queue for each listener: all of them read the same batches, and whoever
//! falls behind takes a snapshot of the table instead of what it missed (see `server::lanes`).

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use goop_identity::PeerId;
use indexmap::IndexMap;

use super::Now;
use super::table::Table;
use crate::wire;

/// Encoded messages, shared by all who get them.
pub type Frames = Arc<[Bytes]>;

/// Batches are at least this far apart; nobody notices it.
const SHORTEST: Duration = Duration::from_millis(50);
/// With many listeners each batch costs more, and more of them are worth saving.
const LONGEST: Duration = Duration::from_secs(1);
/// Listeners for which a batch may cost a millisecond more.
const LISTENERS_PER_MS: usize = 20;
/// Hints in one batch for those who listen on `/events`.
const MAX_HINTS: usize = 1_024;

/// What goes out at one moment.
#[derive(Debug, Clone)]
pub struct Batch {
    /// For sockets: everything.
    pub all: Frames,
    /// For sockets that need no repeats: what is new. Empty when nothing is.
    pub changes: Frames,
    /// For `/events`: everything without e-mail addresses, and the hints of those who have no socket.
    pub strangers: Frames,
}

/// Whether a message says something that was not said before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum News {
    Yes,
    /// The peer is still there, and nothing else.
    No,
}

#[derive(Debug)]
struct Pending {
    frame: Bytes,
    is_news: bool,
}

#[derive(Debug)]
pub(super) struct Fanout {
    pending: IndexMap<PeerId, Pending>,
    hints: Vec<Bytes>,
    /// When something came to an empty batch.
    since: Instant,
    flushed: Option<Instant>,
}

impl Fanout {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            pending: IndexMap::new(),
            hints: Vec::new(),
            since: now,
            flushed: None,
        }
    }

    /// The newest message about a peer; it takes the place of one that waits.
    pub(super) fn push(&mut self, peer: PeerId, frame: Bytes, news: News, now: Instant) {
        self.mark(now);
        let before = self.pending.get(&peer);
        let is_news = news == News::Yes || before.is_some_and(|before| before.is_news);
        self.pending.insert(peer, Pending { frame, is_news });
    }

    pub(super) fn push_hint(&mut self, frame: Bytes, now: Instant) {
        self.mark(now);
        if self.hints.len() < MAX_HINTS {
            self.hints.push(frame);
        }
    }

    fn mark(&mut self, now: Instant) {
        if self.pending.is_empty() && self.hints.is_empty() {
            self.since = now;
        }
    }

    /// When the next batch goes out, if something waits: at once after a quiet time.
    pub(super) fn next(&self, listeners: usize) -> Option<Instant> {
        if self.pending.is_empty() && self.hints.is_empty() {
            return None;
        }
        let ms = (listeners / LISTENERS_PER_MS) as u64;
        let apart = Duration::from_millis(ms).clamp(SHORTEST, LONGEST);
        Some(
            self.flushed
                .map_or(self.since, |at| (at + apart).max(self.since)),
        )
    }

    pub(super) fn flush(
        &mut self,
        table: &Table,
        listeners: usize,
        strangers: bool,
        now: Now,
    ) -> Option<Batch> {
        if self.next(listeners)? > now.at {
            return None;
        }
        self.flushed = Some(now.at);
        let hints = std::mem::take(&mut self.hints);
        let pending = std::mem::take(&mut self.pending);
        let strangers = if strangers {
            let public = pending.keys().map(|peer| match table.get(peer) {
                Some(row) => row.publication.to_public_frame(),
                None => wire::gone(*peer, now.ms),
            });
            public.chain(hints).collect()
        } else {
            Frames::default()
        };
        let news = pending.values().filter(|pending| pending.is_news);
        Some(Batch {
            changes: news.map(|pending| pending.frame.clone()).collect(),
            all: pending.into_values().map(|pending| pending.frame).collect(),
            strangers,
        })
    }
}
