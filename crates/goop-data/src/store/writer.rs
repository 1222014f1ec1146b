//! The one task that writes.
//!
//! Changes that wait together are written as one transaction, each inside a savepoint of its own, and answered when the
//! transaction is on disk. A failing change undoes itself alone. Where SQLite gives up the whole transaction (a full
//! disk), everybody in it is told.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::BoxFuture;
use sqlx::sqlite::SqliteOperation;
use sqlx::{Connection, Executor, SqliteConnection};
use tokio::sync::{broadcast, mpsc, oneshot};

use super::{Change, ChangeKind, WRITE_DEADLINE};
use crate::DataError;
use crate::guard::{self, Guard};
use crate::ident::is_reserved;

/// Changes that may wait; more senders wait with theirs.
const WAITING: usize = 256;
/// Changes that share one write to disk.
const TOGETHER: usize = 64;
/// Changes told one by one of one transaction; beyond them each table is told once, as [`ChangeKind::Many`].
const TOLD: usize = 512;

/// How a change is to be run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Job {
    /// With others: it touches few rows and cannot run long.
    Shared,
    /// In a transaction of its own, at most this long.
    Alone(Duration),
}

/// Answers once it is known whether the change is on disk.
type Tell = Box<dyn FnOnce(Result<(), DataError>) + Send>;
/// Gets no connection where there is no transaction to work in.
type Work = Box<
    dyn for<'c> FnOnce(Result<&'c mut SqliteConnection, DataError>) -> BoxFuture<'c, (bool, Tell)>
        + Send,
>;

enum Order {
    Work(Job, Work),
    Close(oneshot::Sender<()>),
}

/// The way to the writing task.
pub(super) struct Writer {
    orders: mpsc::Sender<Order>,
}

impl Writer {
    pub(super) async fn start(
        mut connection: SqliteConnection,
        changes: broadcast::Sender<Change>,
    ) -> Result<Self, DataError> {
        let guard = guard::watch(&mut connection).await?;
        let seen = Arc::new(Mutex::new(Vec::new()));
        let noted = seen.clone();
        connection
            .lock_handle()
            .await?
            .set_update_hook(move |update| {
                let kind = match update.operation {
                    SqliteOperation::Insert => ChangeKind::Inserted,
                    SqliteOperation::Update => ChangeKind::Updated,
                    SqliteOperation::Delete => ChangeKind::Deleted,
                    SqliteOperation::Unknown(_) => return,
                };
                let mut noted = noted.lock().unwrap_or_else(PoisonError::into_inner);
                if is_reserved(update.table) {
                    return;
                }
                let full = noted.len() >= TOLD;
                let told = |change: &Change| {
                    change.kind == ChangeKind::Many && change.table == update.table
                };
                if full && noted[TOLD..].iter().any(told) {
                    return;
                }
                noted.push(Change {
                    table: update.table.to_owned(),
                    kind: if full { ChangeKind::Many } else { kind },
                    id: if full { 0 } else { update.rowid },
                });
            });
        let (orders, inbox) = mpsc::channel(WAITING);
        let task = Task {
            connection,
            guard,
            seen,
            changes,
        };
        // Ends when the last handle is dropped, or with `close`.
        tokio::spawn(task.run(inbox));
        Ok(Self { orders })
    }

    pub(super) async fn run<T, F>(&self, job: Job, work: F) -> Result<T, DataError>
    where
        T: Send + 'static,
        F: for<'c> FnOnce(&'c mut SqliteConnection) -> BoxFuture<'c, Result<T, DataError>>
            + Send
            + 'static,
    {
        let (sender, answer) = oneshot::channel();
        let work: Work = Box::new(move |connection| {
            Box::pin(async move {
                let done = match connection {
                    Ok(connection) => work(connection).await,
                    Err(error) => Err(error),
                };
                let kept = done.is_ok();
                let tell: Tell = Box::new(move |written| {
                    let _ = sender.send(done.and_then(|value| written.map(|()| value)));
                });
                (kept, tell)
            })
        });
        let sent = self.orders.send(Order::Work(job, work)).await;
        sent.map_err(|_| DataError::Unavailable)?;
        answer.await.map_err(|_| DataError::Unavailable)?
    }

    pub(super) async fn close(&self) {
        let (sender, closed) = oneshot::channel();
        if self.orders.send(Order::Close(sender)).await.is_ok() {
            let _ = closed.await;
        }
    }
}

struct Task {
    connection: SqliteConnection,
    guard: &'static Guard,
    seen: Arc<Mutex<Vec<Change>>>,
    changes: broadcast::Sender<Change>,
}

impl Task {
    async fn run(mut self, mut inbox: mpsc::Receiver<Order>) {
        let mut next = inbox.recv().await;
        let mut closing = None;
        while let Some(order) = next.take() {
            match order {
                Order::Close(told) => {
                    closing = Some(told);
                    break;
                }
                Order::Work(job, work) => next = self.together(job, work, &mut inbox).await,
            }
            if next.is_none() {
                next = inbox.recv().await;
            }
        }
        inbox.close();
        // The log is folded into the file, so that a copy of the file alone is whole.
        self.guard.allow(WRITE_DEADLINE);
        let folded = self
            .connection
            .execute("PRAGMA wal_checkpoint(TRUNCATE)")
            .await;
        if let Err(error) = folded {
            tracing::debug!(%error, "the log of the database stays beside it");
        }
        let _ = self.connection.close().await;
        if let Some(told) = closing {
            let _ = told.send(());
        }
    }

    /// Runs a change and those that wait behind it. Gives back the first order that did not belong to them.
    async fn together(
        &mut self,
        job: Job,
        work: Work,
        inbox: &mut mpsc::Receiver<Order>,
    ) -> Option<Order> {
        let mut told = Vec::new();
        let mut left = None;
        let begun = self.command("BEGIN IMMEDIATE").await;
        let mut broken = begun.err();
        let (mut job, mut work) = (job, work);
        loop {
            let (kept, tell) = self.one(job, work, &mut broken).await;
            told.push((kept, tell));
            if broken.is_some() || told.len() >= TOGETHER || matches!(job, Job::Alone(_)) {
                break;
            }
            match inbox.try_recv() {
                Ok(Order::Work(Job::Shared, following)) => (job, work) = (Job::Shared, following),
                Ok(order) => {
                    left = Some(order);
                    break;
                }
                Err(_) => break,
            }
        }
        if broken.is_none() {
            broken = self.command("COMMIT").await.err();
        }
        if broken.is_some() {
            // May already be undone by SQLite itself.
            let _ = self.command("ROLLBACK").await;
        }
        let seen = std::mem::take(&mut *self.seen.lock().unwrap_or_else(PoisonError::into_inner));
        for (_, tell) in told {
            tell(broken.clone().map_or(Ok(()), Err));
        }
        if broken.is_none() {
            for change in seen {
                // Nobody may be listening.
                let _ = self.changes.send(change);
            }
        }
        left
    }

    async fn one(&mut self, job: Job, work: Work, broken: &mut Option<DataError>) -> (bool, Tell) {
        let before = self
            .seen
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .len();
        if broken.is_none() {
            *broken = self.command("SAVEPOINT change").await.err();
        }
        self.guard.allow(match job {
            Job::Shared => WRITE_DEADLINE,
            Job::Alone(within) => within,
        });
        let (kept, tell) = match broken {
            Some(error) => work(Err(error.clone())).await,
            None => work(Ok(&mut self.connection)).await,
        };
        if broken.is_none() {
            if !kept {
                *broken = self.command("ROLLBACK TO change").await.err();
                self.seen
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .truncate(before);
            }
            if broken.is_none() {
                *broken = self.command("RELEASE change").await.err();
            }
        }
        (kept, tell)
    }

    async fn command(&mut self, sql: &'static str) -> Result<(), DataError> {
        self.guard.allow(WRITE_DEADLINE);
        sqlx::query(sql).execute(&mut self.connection).await?;
        Ok(())
    }
}
