//! `data.db`: one connection that writes, a few that read, and what is known of the tables.

mod catalog;
pub(crate) mod health;
mod looks;
mod lookup;
mod readers;
mod rows;
mod system;
mod writer;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use futures_util::future::BoxFuture;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use sqlx::{ConnectOptions, SqliteConnection};
use tokio::sync::broadcast;

use crate::DataError;
use crate::answer::Items;
use crate::guard::Scope;
use crate::value::Form;

pub(crate) use catalog::GROUPS_VIEW;
pub use catalog::{Catalog, ColumnInfo, Table, TableKind};
pub use health::{Health, Salvaged, copy};
pub(crate) use lookup::Lookup;
pub(crate) use rows::Coming;
pub use rows::{Limits, Row, Rows};
pub(crate) use writer::Job;

/// The file, in the peer folder.
pub const FILE: &str = "data.db";
/// Files of the database in the peer folder, in any state; and the folder of those that were damaged.
pub const FILES: [&str; 6] = [
    FILE,
    "data.db-wal",
    "data.db-shm",
    "data.db.fresh",
    "data.db.fresh-wal",
    DAMAGED,
];
/// Where a damaged file is kept, in the peer folder.
pub const DAMAGED: &str = "data.db.damaged";
/// Changes kept for a listener that is slow; beyond them it is told that it missed some.
const CHANGES_KEPT: usize = 1_024;
/// How long SQLite waits for another process that has the file open (storage.md 1).
const BUSY: Duration = Duration::from_secs(5);
/// How long one change of data may take.
pub(crate) const WRITE_DEADLINE: Duration = Duration::from_secs(30);

/// A row of the owner's tables was changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The table.
    pub table: String,
    /// What was done.
    pub kind: ChangeKind,
    /// The row's `_id`.
    pub id: i64,
}

/// What was done with a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChangeKind {
    /// It is new.
    Inserted,
    /// It is another.
    Updated,
    /// It is gone.
    Deleted,
    /// More rows of the table changed than are told one by one: it is to be read anew. The id is 0.
    Many,
}

/// The open database. Cheap to clone; the last clone that goes ends its connections.
#[derive(Clone)]
pub struct Database {
    inner: Arc<Inner>,
}

struct Inner {
    folder: PathBuf,
    writer: writer::Writer,
    looks: looks::Looks,
    readers: readers::Readers,
    catalog: RwLock<Arc<Catalog>>,
    changes: broadcast::Sender<Change>,
    health: Health,
}

impl fmt::Debug for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Database")
            .field("folder", &self.inner.folder)
            .finish_non_exhaustive()
    }
}

impl Database {
    /// Opens the database of a peer folder: makes it where there is none, takes over what older versions left, looks
    /// whether it is whole and brings out of a damaged one what can be read.
    ///
    /// The folder must be locked by the caller (`PeerFolder`): others may read the file meanwhile, not write it.
    ///
    /// # Errors
    /// The file or the folder cannot be used. A damaged file is no error: it is kept beside the new one, and
    /// [`Database::health`] says so.
    pub async fn open(folder: &Path) -> Result<Self, DataError> {
        let path = folder.join(FILE);
        let (mut connection, health) = health::open(&path).await?;
        system::prepare(&mut connection).await?;
        let catalog = Catalog::load(&mut connection).await?;
        let changes = broadcast::channel(CHANGES_KEPT).0;
        let writer = writer::Writer::start(connection, changes.clone()).await?;
        let database = Self {
            inner: Arc::new(Inner {
                folder: folder.to_owned(),
                looks: looks::Looks::new(&path),
                readers: readers::Readers::new(&path),
                writer,
                catalog: RwLock::new(Arc::new(catalog)),
                changes,
                health,
            }),
        };
        database.finish_schema_files().await?;
        Ok(database)
    }

    /// How the file was found when it was opened.
    #[must_use]
    pub fn health(&self) -> &Health {
        &self.inner.health
    }

    /// The peer folder.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.inner.folder
    }

    /// What is known of the tables now.
    #[must_use]
    pub fn catalog(&self) -> Arc<Catalog> {
        self.inner
            .catalog
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Changes of rows from now on, after they are on disk.
    #[must_use]
    pub fn changes(&self) -> broadcast::Receiver<Change> {
        self.inner.changes.subscribe()
    }

    /// Takes no more work, finishes what was given, folds the log into the file and closes it.
    pub async fn close(&self) {
        self.inner.looks.close().await;
        self.inner.readers.close().await;
        self.inner.writer.close().await;
    }

    /// Runs a change: all of it or nothing, on disk when this answers. Changes that come together share one write to
    /// disk; a [`Job::Alone`] shares it with none, because a statement that is cut off takes its company with it.
    pub(crate) async fn write<T, F>(&self, job: Job, work: F) -> Result<T, DataError>
    where
        T: Send + 'static,
        F: for<'c> FnOnce(&'c mut SqliteConnection) -> BoxFuture<'c, Result<T, DataError>>
            + Send
            + 'static,
    {
        self.inner.writer.run(job, work).await
    }

    /// Runs a change of tables and looks at them anew.
    pub(crate) async fn write_tables<T, F>(&self, work: F) -> Result<T, DataError>
    where
        T: Send + 'static,
        F: for<'c> FnOnce(&'c mut SqliteConnection) -> BoxFuture<'c, Result<T, DataError>>
            + Send
            + 'static,
    {
        self.write_tables_within(WRITE_DEADLINE, work).await
    }

    /// As [`Database::write_tables`], with another deadline.
    pub(crate) async fn write_tables_within<T, F>(
        &self,
        within: Duration,
        work: F,
    ) -> Result<T, DataError>
    where
        T: Send + 'static,
        F: for<'c> FnOnce(&'c mut SqliteConnection) -> BoxFuture<'c, Result<T, DataError>>
            + Send
            + 'static,
    {
        let (answer, catalog) = self
            .write(Job::Alone(within), |connection| {
                Box::pin(async move {
                    let answer = work(connection).await?;
                    Ok((answer, Catalog::load(connection).await?))
                })
            })
            .await?;
        let mut current = self
            .inner
            .catalog
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        // Two changes may come back in another order than they were made.
        if catalog.version > current.version {
            *current = Arc::new(catalog);
        }
        Ok(answer)
    }

    /// Rows of a statement, as they are read.
    pub(crate) async fn rows(&self, lookup: Lookup) -> Result<Rows, DataError> {
        lookup::rows(&self.inner.readers, lookup).await
    }

    /// The JSON of a list of them, as they are read.
    pub(crate) async fn list(
        &self,
        lookup: Lookup,
        form: Form,
        items: Items,
    ) -> Result<Coming<Vec<u8>>, DataError> {
        lookup::json(&self.inner.readers, lookup, form, items).await
    }

    /// Reads with statements of our own.
    pub(crate) async fn look<T>(
        &self,
        work: impl AsyncFnOnce(&mut SqliteConnection) -> Result<T, DataError>,
    ) -> Result<T, DataError> {
        let mut lease = self.inner.looks.lease().await?;
        let (connection, guard) = lease.parts()?;
        guard.open(Scope::Everything, Limits::OWNER.time);
        let answer = work(connection).await?;
        lease.finished();
        Ok(answer)
    }
}

/// How every connection is opened.
pub(crate) fn options(path: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .busy_timeout(BUSY)
        .foreign_keys(true)
        // Views and defaults of a file that came from elsewhere call no function with side effects.
        .pragma("trusted_schema", "OFF")
        .disable_statement_logging()
}

/// A connection that only reads, without limits: for texts of our own.
pub(crate) fn reading(path: &Path) -> SqliteConnectOptions {
    options(path).read_only(true).pragma("query_only", "ON")
}

/// The writing connection: every commit is on disk before it is answered, as with the Go program.
fn writing(path: &Path) -> SqliteConnectOptions {
    options(path)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::query::Statement;

    async fn fill(database: &Database, job: Job, sql: &'static str) -> Result<(), DataError> {
        let work = database.write(job, move |connection| {
            Box::pin(async move {
                sqlx::query(sql).execute(connection).await?;
                Ok(())
            })
        });
        work.await
    }

    /// A change that takes too long takes nothing along, before it or after it.
    #[tokio::test]
    async fn a_change_that_is_cut_off_is_undone_alone() {
        let folder = tempfile::tempdir().unwrap();
        let database = Database::open(folder.path()).await.unwrap();
        fill(
            &database,
            Job::Shared,
            "INSERT INTO _meta VALUES ('a', '1')",
        )
        .await
        .unwrap();
        let endless = "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) \
                       INSERT INTO _meta SELECT x, x FROM c";
        let (cut, beside) = tokio::join!(
            fill(&database, Job::Alone(Duration::from_millis(50)), endless),
            fill(
                &database,
                Job::Shared,
                "INSERT INTO _meta VALUES ('b', '2')"
            ),
        );
        assert_eq!(cut, Err(DataError::TooLong));
        beside.unwrap();
        fill(
            &database,
            Job::Shared,
            "INSERT INTO _meta VALUES ('a', 'twice')",
        )
        .await
        .unwrap_err();
        let count = database.look(async |connection| {
            Ok(sqlx::query_scalar::<_, i64>("SELECT count(*) FROM _meta")
                .fetch_one(connection)
                .await?)
        });
        assert_eq!(count.await, Ok(2));
    }

    /// Whatever a statement says: a connection that reads sees its scope and nothing else.
    #[tokio::test]
    async fn the_authorizer_refuses_what_no_language_would_let_through() {
        let folder = tempfile::tempdir().unwrap();
        let database = Database::open(folder.path()).await.unwrap();
        let scope = || Scope::Table {
            name: "_groups".to_owned(),
            columns: Some(GROUPS_VIEW),
        };
        let ask = async |sql: &str| {
            let statement = Statement {
                sql: sql.to_owned(),
                values: Vec::new(),
                outputs: Vec::new(),
            };
            let lookup = Lookup::new(statement, scope(), Limits::VISITOR);
            let mut rows = database.rows(lookup).await?;
            rows.next().await.map(|row| row.is_some())
        };
        assert_eq!(ask("SELECT id, count(*) FROM _groups").await, Ok(true));
        for sql in [
            "SELECT roles FROM _groups",
            "SELECT * FROM _groups",
            "SELECT id FROM _groups UNION SELECT value FROM _meta",
            "SELECT (SELECT value FROM _meta) FROM _groups",
            "SELECT name FROM sqlite_schema",
            "SELECT * FROM pragma_table_info('_meta')",
            "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT x FROM c",
            "SELECT randomblob(10)",
            "SELECT zeroblob(10)",
            "SELECT load_extension('x')",
            "PRAGMA user_version",
            "ATTACH ':memory:' AS x",
            "DELETE FROM _groups",
            "INSERT INTO _groups (id, name) VALUES (1, 2)",
            "CREATE TEMP TABLE x (a)",
            "BEGIN IMMEDIATE",
        ] {
            assert!(ask(sql).await.is_err(), "{sql}");
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod durability {
    use super::*;

    /// What is answered must be on disk, not only with the system: `FULL` in a log of its own.
    #[tokio::test]
    async fn the_writer_waits_for_the_disk() {
        let folder = tempfile::tempdir().unwrap();
        let database = Database::open(folder.path()).await.unwrap();
        let pragmas = database.write(Job::Shared, |connection| {
            Box::pin(async move {
                let synchronous: i64 = sqlx::query_scalar("PRAGMA synchronous")
                    .fetch_one(&mut *connection)
                    .await?;
                let journal: String = sqlx::query_scalar("PRAGMA journal_mode")
                    .fetch_one(connection)
                    .await?;
                Ok((synchronous, journal))
            })
        });
        assert_eq!(pragmas.await.unwrap(), (2, "wal".to_owned()));
    }
}
