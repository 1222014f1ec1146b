//! Writing the peer file beside the event loop: one write at a time, the newest state wins.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::directory::Directory;
use crate::net::FavoriteError;
use crate::table::PeerRow;

/// Changes that nobody waits for are written at most this often.
const PAUSE: Duration = Duration::from_secs(10);

/// Who waits for a change to be on disk.
pub(super) type Waiter = oneshot::Sender<Result<(), FavoriteError>>;

/// The peer file.
#[derive(Debug)]
pub(super) struct Saving {
    directory: Option<Directory>,
    due: Option<Instant>,
    running: Option<JoinHandle<io::Result<()>>>,
    /// Served by the write that runs.
    served: Vec<Waiter>,
    /// Came after it began.
    waiting: Vec<Waiter>,
}

impl Saving {
    pub(super) fn new(directory: Option<Directory>) -> Self {
        Self {
            directory,
            due: None,
            running: None,
            served: Vec::new(),
            waiting: Vec::new(),
        }
    }

    /// Something changed; it is written with the next ones.
    pub(super) fn later(&mut self, now: Instant) {
        if self.directory.is_some() {
            self.due.get_or_insert(now + PAUSE);
        }
    }

    /// Something changed that a person waits for.
    pub(super) fn now(&mut self, now: Instant, waiter: Waiter) {
        if self.directory.is_none() {
            let _ = waiter.send(Ok(()));
            return;
        }
        self.waiting.push(waiter);
        self.due = Some(now);
    }

    /// When [`Saving::start`] has something to do.
    pub(super) fn next_wake(&self) -> Option<Instant> {
        if self.running.is_some() {
            None
        } else {
            self.due
        }
    }

    /// Starts the write that is due. `rows` is asked for only then.
    pub(super) fn start(&mut self, now: Instant, rows: impl FnOnce() -> Arc<Vec<PeerRow>>) {
        if self.running.is_some() || self.due.is_none_or(|due| due > now) {
            return;
        }
        self.due = None;
        if let Some(directory) = self.directory.clone() {
            let rows = rows();
            self.served = std::mem::take(&mut self.waiting);
            self.running = Some(tokio::task::spawn_blocking(move || directory.save(&rows)));
        }
    }

    /// Waits for the write that runs. Cancel-safe.
    pub(super) async fn finished(&mut self) {
        let Some(running) = &mut self.running else {
            return std::future::pending().await;
        };
        // A write does not panic; one that did is one that failed.
        let saved = running
            .await
            .unwrap_or_else(|error| Err(io::Error::other(error)));
        self.running = None;
        if let Err(error) = &saved {
            tracing::warn!(%error, "the known peers could not be saved");
        }
        for waiter in self.served.drain(..) {
            let _ = waiter.send(
                saved
                    .as_ref()
                    .copied()
                    .map_err(|error| FavoriteError::NotSaved(error.to_string())),
            );
        }
    }

    /// The last write: whatever is not on disk yet.
    pub(super) async fn flush(&mut self, rows: impl FnOnce() -> Arc<Vec<PeerRow>>) {
        if self.running.is_some() {
            self.finished().await;
        }
        if self.due.is_some() {
            self.due = Some(Instant::now());
            self.start(Instant::now(), rows);
            self.finished().await;
        }
    }
}
