//! The threads that answer questions: few, each with a connection restricted by SQLite itself, each at one question at a
//! time.
//!
//! They call SQLite themselves (rusqlite) and hand rows over in bundles: a hand-over of every row, as sqlx does it, costs
//! several times what SQLite needs to find it (`docs/decisions/0011`).

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;

use super::lookup::Asked;
use super::{BUSY, Limits};
use crate::DataError;
use crate::guard::{self, Guard};

/// Questions at once. Each connection is a thread and about 2 MB of cache; a Raspberry Pi has four cores.
const READERS: usize = 4;
/// Of them for everybody but the owner: strangers wait for each other, the owner does not wait for them.
const FOR_OTHERS: usize = READERS - 1;
/// Prepared statements that a connection keeps.
const STATEMENTS: usize = 64;

/// The readers of one file.
pub(super) struct Readers {
    path: Arc<PathBuf>,
    free: Arc<Semaphore>,
    others: Arc<Semaphore>,
    idle: Arc<Idle>,
    threads: TaskTracker,
}

/// Readers without a question; `None` once no more are wanted.
type Idle = Mutex<Option<Vec<Reader>>>;

/// The way to a thread. The thread ends when it is dropped.
struct Reader {
    work: mpsc::Sender<Work>,
    guard: &'static Guard,
    /// Questions it was given.
    turn: u64,
}

/// A question, and whose turn it is.
struct Work {
    asked: Asked,
    turn: Turn,
}

/// What a question holds while it is answered. Dropped, the reader is free for the next.
struct Turn {
    /// Always there until it is dropped.
    reader: Option<Reader>,
    idle: Arc<Idle>,
    _permit: OwnedSemaphorePermit,
    /// Of those who are not the owner.
    _others: Option<OwnedSemaphorePermit>,
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if let (Some(idle), Some(reader)) = (idle.as_mut(), self.reader.take()) {
            idle.push(reader);
        }
    }
}

/// Ends the question when it is dropped, if it is still running.
#[derive(Debug)]
pub(super) struct Asker {
    guard: &'static Guard,
    turn: u64,
}

impl Drop for Asker {
    fn drop(&mut self) {
        self.guard.leave(self.turn);
    }
}

impl Readers {
    pub(super) fn new(path: &Path) -> Self {
        Self {
            path: Arc::new(path.to_owned()),
            free: Arc::new(Semaphore::new(READERS)),
            others: Arc::new(Semaphore::new(FOR_OTHERS)),
            idle: Arc::new(Mutex::new(Some(Vec::new()))),
            threads: TaskTracker::new(),
        }
    }

    /// Has a question answered, as soon as a reader is free: one is never given to strangers.
    pub(super) async fn ask(&self, asked: Asked) -> Result<Asker, DataError> {
        let others = if asked.limits() == Limits::OWNER {
            None
        } else {
            Some(take(&self.others).await?)
        };
        let permit = take(&self.free).await?;
        let idle = {
            let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
            idle.as_mut().ok_or(DataError::Unavailable)?.pop()
        };
        let mut reader = match idle {
            Some(reader) => reader,
            None => Reader::start(self.path.clone(), self.threads.token())?,
        };
        reader.turn += 1;
        let asker = Asker {
            guard: reader.guard,
            turn: reader.turn,
        };
        reader.guard.begin(reader.turn);
        let work = reader.work.clone();
        let turn = Turn {
            reader: Some(reader),
            idle: self.idle.clone(),
            _permit: permit,
            _others: others,
        };
        if let Err(mpsc::SendError(lost)) = work.send(Work { asked, turn }) {
            // Its thread fell, and no other question shall meet it.
            let Work { mut turn, .. } = lost;
            turn.reader = None;
            return Err(DataError::Unavailable);
        }
        Ok(asker)
    }

    /// Answers no more, ends what runs, and waits until the file is closed.
    pub(super) async fn close(&self) {
        self.free.close();
        self.others.close();
        let idle = self
            .idle
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        drop(idle);
        self.threads.close();
        self.threads.wait().await;
    }
}

async fn take(of: &Arc<Semaphore>) -> Result<OwnedSemaphorePermit, DataError> {
    let permit = of.clone().acquire_owned().await;
    permit.map_err(|_| DataError::Unavailable)
}

impl Reader {
    fn start(path: Arc<PathBuf>, token: TaskTrackerToken) -> Result<Self, DataError> {
        let guard = Guard::new();
        let (work, inbox) = mpsc::channel();
        let run = move || {
            serve(&path, guard, &inbox);
            drop(token);
        };
        thread::Builder::new().name("data".to_owned()).spawn(run)?;
        Ok(Self {
            work,
            guard,
            turn: 0,
        })
    }
}

fn serve(path: &Path, guard: &'static Guard, inbox: &mpsc::Receiver<Work>) {
    let mut open = None;
    for Work { asked, turn } in inbox {
        let connection = match open.take() {
            Some(connection) => Ok(connection),
            None => connect(path, guard),
        };
        match connection {
            Ok(connection) => {
                asked.answer(&connection, guard);
                open = Some(connection);
            }
            Err(error) => asked.refuse(error),
        }
        drop(turn);
    }
}

fn connect(path: &Path, guard: &'static Guard) -> Result<Connection, DataError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY)?;
    connection.execute_batch(
        // As every connection of ours (`store::options`), and it only reads.
        "PRAGMA foreign_keys = ON; PRAGMA trusted_schema = OFF; PRAGMA query_only = ON",
    )?;
    // Without it, every value that is bound anew has the statement prepared anew.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    guard::restrict_reader(&connection, guard)?;
    Ok(connection)
}
