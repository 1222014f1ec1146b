//! The connections on which this crate's own statements read: few, restricted by SQLite itself, lent one look each.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use sqlx::{Connection, SqliteConnection};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::DataError;
use crate::guard::{self, Guard};

/// Looks at once. Each connection is a thread and up to 2 MB of cache.
const LOOKS: usize = 2;

/// The looking connections of one file.
pub(super) struct Looks {
    path: PathBuf,
    free: Arc<Semaphore>,
    idle: Arc<Mutex<Vec<Look>>>,
}

struct Look {
    connection: SqliteConnection,
    guard: &'static Guard,
    /// Whether a statement may still run on it: whoever looked left before its end.
    busy: bool,
}

impl Looks {
    pub(super) fn new(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
            free: Arc::new(Semaphore::new(LOOKS)),
            idle: Arc::default(),
        }
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
        let mut look = match idle {
            Some(look) => look,
            None => open(&self.path).await?,
        };
        if look.busy {
            // Its deadline has passed already, so this is short; only then may the guard be opened anew.
            look.connection.ping().await?;
        }
        look.busy = true;
        Ok(Lease {
            look: Some(look),
            idle: self.idle.clone(),
            _permit: permit,
        })
    }

    /// Lends no more and closes what is not lent.
    pub(super) async fn close(&self) {
        self.free.close();
        let idle = std::mem::take(&mut *self.idle.lock().unwrap_or_else(PoisonError::into_inner));
        for look in idle {
            let _ = look.connection.close().await;
        }
    }
}

async fn open(path: &Path) -> Result<Look, DataError> {
    let options = super::options(path)
        .read_only(true)
        .pragma("query_only", "ON");
    let mut connection = SqliteConnection::connect_with(&options).await?;
    let guard = guard::restrict(&mut connection).await?;
    Ok(Look {
        connection,
        guard,
        busy: false,
    })
}

/// A borrowed connection.
pub(crate) struct Lease {
    /// Always there until it is dropped.
    look: Option<Look>,
    idle: Arc<Mutex<Vec<Look>>>,
    _permit: OwnedSemaphorePermit,
}

impl fmt::Debug for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lease").finish_non_exhaustive()
    }
}

impl Lease {
    /// The connection and what restricts it.
    pub(crate) fn parts(&mut self) -> Result<(&mut SqliteConnection, &'static Guard), DataError> {
        let look = self.look.as_mut().ok_or(DataError::Unavailable)?;
        Ok((&mut look.connection, look.guard))
    }

    /// The look came to its end.
    pub(crate) fn finished(&mut self) {
        if let Some(look) = &mut self.look {
            look.busy = false;
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Some(look) = self.look.take() {
            if look.busy {
                // What still runs for nobody is ended at the next look at the clock.
                look.guard.allow(Duration::ZERO);
            }
            let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
            idle.push(look);
        }
    }
}
