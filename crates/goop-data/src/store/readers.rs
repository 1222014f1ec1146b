//! The connections that read: few, restricted by SQLite itself, lent one question each.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use sqlx::{Connection, SqliteConnection};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::DataError;
use crate::guard::{self, Guard};

use super::Limits;

/// Questions at once. Each connection is a thread and about 2 MB of cache; a Raspberry Pi has four cores.
pub(super) const READERS: usize = 4;
/// Of them for everybody but the owner: strangers wait for each other, the owner does not wait for them.
const FOR_OTHERS: usize = READERS - 1;

/// The readers of one file.
#[derive(Clone)]
pub(super) struct Readers {
    path: Arc<PathBuf>,
    free: Arc<Semaphore>,
    others: Arc<Semaphore>,
    idle: Arc<Mutex<Vec<Reader>>>,
}

struct Reader {
    connection: SqliteConnection,
    guard: &'static Guard,
    /// Whether a question may still run on it: whoever asked left before its end.
    busy: bool,
}

impl Readers {
    pub(super) fn new(path: &Path) -> Self {
        Self {
            path: Arc::new(path.to_owned()),
            free: Arc::new(Semaphore::new(READERS)),
            others: Arc::new(Semaphore::new(FOR_OTHERS)),
            idle: Arc::default(),
        }
    }

    /// Borrows a connection for a question with these limits: one connection is never lent to strangers.
    pub(super) async fn lease_for(&self, limits: Limits) -> Result<Lease, DataError> {
        if limits == Limits::OWNER {
            return self.lease().await;
        }
        let turn = self.others.clone().acquire_owned().await;
        let turn = turn.map_err(|_| DataError::Unavailable)?;
        let mut lease = self.lease().await?;
        lease._turn = Some(turn);
        Ok(lease)
    }

    /// Borrows a connection, or waits until one is free.
    pub(super) async fn lease(&self) -> Result<Lease, DataError> {
        let permit = self.free.clone().acquire_owned().await;
        let permit = permit.map_err(|_| DataError::Unavailable)?;
        let idle = self
            .idle
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .pop();
        let mut reader = match idle {
            Some(reader) => reader,
            None => open(&self.path).await?,
        };
        if reader.busy {
            // Its deadline has passed already, so this is short; only then may the guard be opened anew.
            reader.connection.ping().await?;
        }
        reader.busy = true;
        Ok(Lease {
            reader: Some(reader),
            idle: self.idle.clone(),
            _permit: permit,
            _turn: None,
        })
    }

    /// Lends no more and closes what is not lent.
    pub(super) async fn close(&self) {
        self.free.close();
        self.others.close();
        let idle = std::mem::take(&mut *self.idle.lock().unwrap_or_else(PoisonError::into_inner));
        for reader in idle {
            let _ = reader.connection.close().await;
        }
    }
}

async fn open(path: &Path) -> Result<Reader, DataError> {
    let options = super::options(path)
        .read_only(true)
        .pragma("query_only", "ON");
    let mut connection = SqliteConnection::connect_with(&options).await?;
    let guard = guard::restrict(&mut connection).await?;
    Ok(Reader {
        connection,
        guard,
        busy: false,
    })
}

/// A borrowed connection.
pub(crate) struct Lease {
    /// Always there until it is dropped.
    reader: Option<Reader>,
    idle: Arc<Mutex<Vec<Reader>>>,
    _permit: OwnedSemaphorePermit,
    /// Of those who are not the owner.
    _turn: Option<OwnedSemaphorePermit>,
}

impl fmt::Debug for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lease").finish_non_exhaustive()
    }
}

impl Lease {
    /// The connection and what restricts it.
    pub(crate) fn parts(&mut self) -> Result<(&mut SqliteConnection, &'static Guard), DataError> {
        let reader = self.reader.as_mut().ok_or(DataError::Unavailable)?;
        Ok((&mut reader.connection, reader.guard))
    }

    /// The question came to its end.
    pub(crate) fn finished(&mut self) {
        if let Some(reader) = &mut self.reader {
            reader.busy = false;
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Some(reader) = self.reader.take() {
            if reader.busy {
                // What still runs for nobody is ended at the next look at the clock.
                reader.guard.allow(Duration::ZERO);
            }
            let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
            idle.push(reader);
        }
    }
}
