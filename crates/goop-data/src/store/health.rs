//! Is the file whole? If not, what can be read is brought over into a new one, and the old one is kept.

use std::fmt;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use futures_util::TryStreamExt;
use sqlx::sqlite::SqliteRow;
use sqlx::{AssertSqlSafe, Connection, Row, SqliteConnection};
use time::OffsetDateTime;

use super::Database;
use crate::DataError;
use crate::ident::quoted;
use crate::value::{Value, arguments};

/// Largest file that is looked through at every start, in bytes; it takes a second or two.
const CHECKED: u64 = 512 * 1024 * 1024;
/// Complaints that are told.
const TOLD: usize = 20;
/// A row of `_meta` by which a version to come says that others must know its form of the file; columns and tables that
/// are merely new need none, for names are always said.
const FORM_KEY: &str = "goop_form";
/// The form that we know.
const FORM: u32 = 1;
/// What a file of SQLite begins with (its format, 1.3), and how many bytes of it are looked at.
const MAGIC: &[u8] = b"SQLite format 3\0";
const HEAD: usize = 20;
/// Where the versions for writing and reading stand; 1 is a rollback journal, 2 a write-ahead log.
const VERSIONS: std::ops::Range<usize> = 18..HEAD;
const WAL: u8 = 2;

/// How the file was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Health {
    /// Whole.
    Sound,
    /// Too large to be looked through at every start.
    Unchecked,
    /// Whole but for an index, which was made anew.
    Reindexed,
    /// Damaged: the old file is kept, the new one holds what could be read.
    Salvaged(Salvaged),
}

/// What came out of a damaged file.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Salvaged {
    /// The old file, beside the new one; nothing of it was deleted.
    pub kept: PathBuf,
    /// Tables that came over whole, and how many rows they had.
    pub whole: Vec<(String, u64)>,
    /// Tables of which rows may be missing, how many came over, and what SQLite said.
    pub broken: Vec<(String, u64, String)>,
}

impl fmt::Display for Salvaged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rows: u64 = self.whole.iter().map(|(_, rows)| rows).sum();
        write!(
            f,
            "the database was damaged: {} tables with {rows} rows came over whole",
            self.whole.len()
        )?;
        for (table, rows, why) in &self.broken {
            write!(f, "; of {table} only {rows} rows ({why})")?;
        }
        write!(f, "; the damaged file is kept as {}", self.kept.display())
    }
}

/// Opens the writing connection, repairing the file where it must be.
pub(super) async fn open(path: &Path) -> Result<(SqliteConnection, Health), DataError> {
    let size = std::fs::metadata(path).map_or(0, |found| found.len());
    if is_of_a_newer_sqlite(path) {
        return Err(newer());
    }
    match examine(path, size).await {
        Ok(found) => Ok(found),
        Err(error) if is_damage(&error) => {
            let salvaged = salvage(path).await?;
            tracing::error!("{salvaged}");
            Ok((connect(path).await?, Health::Salvaged(salvaged)))
        }
        Err(error) => Err(error.while_doing("open database")),
    }
}

async fn connect(path: &Path) -> Result<SqliteConnection, DataError> {
    Ok(SqliteConnection::connect_with(&super::writing(path)).await?)
}

/// Refused before SQLite sees it, which says of such a file that it is no database, as it does of a damaged one.
fn is_of_a_newer_sqlite(path: &Path) -> bool {
    let mut head = [0; HEAD];
    let read = std::fs::File::open(path).and_then(|mut file| file.read_exact(&mut head));
    read.is_ok() && head.starts_with(MAGIC) && head[VERSIONS].iter().any(|known| *known > WAL)
}

fn newer() -> DataError {
    DataError::invalid(
        "the database was written by a newer version, which this one does not understand: start the peer with that \
         version (nothing was changed)",
    )
}

/// Whether a later version of ours left word that its form of the file must be known.
async fn is_of_a_newer_form(connection: &mut SqliteConnection) -> Result<bool, DataError> {
    let known = "SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND name = '_meta'";
    let known: i64 = sqlx::query_scalar(known)
        .fetch_one(&mut *connection)
        .await?;
    if known == 0 {
        return Ok(false);
    }
    let form: Option<String> = sqlx::query_scalar("SELECT value FROM _meta WHERE key = ?")
        .bind(FORM_KEY)
        .fetch_optional(connection)
        .await?
        .flatten();
    Ok(form.is_some_and(|form| form.parse() != Ok(FORM)))
}

async fn examine(path: &Path, size: u64) -> Result<(SqliteConnection, Health), DataError> {
    let mut connection = connect(path).await?;
    if is_of_a_newer_form(&mut connection).await? {
        let _ = connection.close().await;
        return Err(newer());
    }
    if size > CHECKED {
        sqlx::query("SELECT count(*) FROM sqlite_schema")
            .execute(&mut connection)
            .await?;
        return Ok((connection, Health::Unchecked));
    }
    if complaints(&mut connection).await?.is_empty() {
        return Ok((connection, Health::Sound));
    }
    sqlx::query("REINDEX").execute(&mut connection).await?;
    match complaints(&mut connection).await?.first() {
        None => Ok((connection, Health::Reindexed)),
        Some(complaint) => Err(DataError::Sqlite(format!("{DAMAGED}{complaint}"))),
    }
}

/// What an error of our own look through the file begins with.
const DAMAGED: &str = "database disk image is malformed: ";

fn is_damage(error: &DataError) -> bool {
    let text = error.to_string();
    text.starts_with(DAMAGED)
        || ["(11)", "(26)", "(267)", "(523)", "(779)"]
            .iter()
            .any(|code| text.ends_with(code))
}

/// What is wrong with the file. Rows that break their own table's rules are the owner's business.
async fn complaints(connection: &mut SqliteConnection) -> Result<Vec<String>, DataError> {
    let rows: Vec<SqliteRow> = sqlx::query("PRAGMA quick_check(100)")
        .fetch_all(connection)
        .await?;
    let mut complaints = Vec::new();
    for row in rows {
        let text: String = row.try_get(0)?;
        let harmless = text == "ok"
            || text.starts_with("NULL value in")
            || text.starts_with("CHECK constraint failed")
            || text.starts_with("NUMERIC value in")
            || text.starts_with("TEXT value in")
            || text.starts_with("non-");
        if !harmless && complaints.len() < TOLD {
            complaints.push(text);
        }
    }
    Ok(complaints)
}

/// Everything that SQLite finds wrong with the file, told by its full check.
pub(crate) async fn everything_wrong(
    connection: &mut SqliteConnection,
) -> Result<Vec<String>, DataError> {
    let rows = sqlx::query("PRAGMA integrity_check(100)")
        .fetch_all(connection)
        .await;
    match rows {
        Ok(rows) => {
            let texts = rows.iter().map(|row| row.try_get(0));
            let texts = texts.collect::<Result<Vec<String>, sqlx::Error>>()?;
            Ok(texts.into_iter().filter(|text| text != "ok").collect())
        }
        Err(error) => {
            let error = DataError::from(error);
            if is_damage(&error) {
                return Ok(vec![error.to_string()]);
            }
            Err(error)
        }
    }
}

/// Moves the file away, makes a new one and copies into it whatever can be read, from both ends of each table.
async fn salvage(path: &Path) -> Result<Salvaged, DataError> {
    let stamp = OffsetDateTime::now_utc().unix_timestamp();
    let fresh = path.with_extension("db.fresh");
    for suffix in ["", "-wal", "-shm"] {
        remove_if_there(&with_suffix(&fresh, suffix))?;
    }
    let mut report = Salvaged {
        kept: path
            .with_file_name(super::DAMAGED)
            .join(format!("data-{stamp}.db")),
        ..Salvaged::default()
    };
    let mut new = connect(&fresh).await?;
    // The old file stays in its place until the new one is complete: a kill in between loses nothing.
    if let Ok(mut old) = SqliteConnection::connect_with(&super::options(path)).await {
        sqlx::query("BEGIN").execute(&mut new).await?;
        copy_tables(&mut old, &mut new, &mut report).await?;
        sqlx::query("COMMIT").execute(&mut new).await?;
        let _ = old.close().await;
    }
    sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)")
        .execute(&mut new)
        .await?;
    new.close().await?;
    if let Some(folder) = report.kept.parent() {
        std::fs::create_dir_all(folder)?;
    }
    for suffix in ["-wal", "-shm", ""] {
        let from = with_suffix(path, suffix);
        if from.exists() {
            std::fs::rename(&from, with_suffix(&report.kept, suffix))?;
        }
    }
    std::fs::rename(&fresh, path)?;
    Ok(report)
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

fn remove_if_there(path: &Path) -> Result<(), DataError> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
        _ => Ok(()),
    }
}

async fn copy_tables(
    old: &mut SqliteConnection,
    new: &mut SqliteConnection,
    report: &mut Salvaged,
) -> Result<(), DataError> {
    let listing = "SELECT name, sql FROM sqlite_schema WHERE type = 'table' AND sql IS NOT NULL \
                   AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\'";
    let tables = match sqlx::query(listing).fetch_all(&mut *old).await {
        Ok(tables) => tables,
        Err(error) => {
            let why = DataError::from(error).to_string();
            report.broken.push(("every table".to_owned(), 0, why));
            return Ok(());
        }
    };
    for table in tables {
        let (name, sql): (String, String) = (table.try_get(0)?, table.try_get(1)?);
        // The definition was a table's in the old file, and SQLite takes it for one statement here too.
        if let Err(error) = sqlx::query(AssertSqlSafe(sql)).execute(&mut *new).await {
            report
                .broken
                .push((name, 0, DataError::from(error).to_string()));
            continue;
        }
        let forward = copy_rows(old, new, &name, "").await;
        match forward {
            (rows, None) => report.whole.push((name, rows)),
            (rows, Some(why)) => {
                // What lies behind the damage, from the other end; rows that came already are left as they are.
                let (more, _) = copy_rows(old, new, &name, " ORDER BY rowid DESC").await;
                report.broken.push((name, rows + more, why.to_string()));
            }
        }
    }
    Ok(())
}

async fn copy_rows(
    old: &mut SqliteConnection,
    new: &mut SqliteConnection,
    table: &str,
    order: &str,
) -> (u64, Option<DataError>) {
    let mut copied = 0;
    let mut insert = String::new();
    let text = format!("SELECT * FROM {}{order}", quoted(table));
    let mut rows = sqlx::query(AssertSqlSafe(text)).fetch(old);
    loop {
        let row = match rows.try_next().await {
            Ok(Some(row)) => row,
            Ok(None) => return (copied, None),
            Err(error) => return (copied, Some(error.into())),
        };
        let values = (0..row.len()).map(|index| Value::of_row(&row, index));
        let values = match values.collect::<Result<Vec<Value>, DataError>>() {
            Ok(values) => values,
            Err(error) => return (copied, Some(error)),
        };
        if insert.is_empty() {
            let marks = vec!["?"; values.len()].join(", ");
            insert = format!("INSERT OR IGNORE INTO {} VALUES ({marks})", quoted(table));
        }
        let done = sqlx::query_with(AssertSqlSafe(insert.clone()), arguments(&values))
            .execute(&mut *new)
            .await;
        match done {
            Ok(done) => copied += done.rows_affected(),
            Err(error) => return (copied, Some(error.into())),
        }
    }
}

/// Writes a copy of a database file to a new file while its owner goes on writing. The copy is one moment's, with what
/// still stands in the write-ahead log.
///
/// # Errors
/// The database cannot be read, or the new file is there already or cannot be written.
pub async fn copy(database: &Path, to: &Path) -> Result<(), DataError> {
    let to = to
        .to_str()
        .ok_or_else(|| DataError::invalid("the path of the copy is not UTF-8"))?
        .to_owned();
    let mut connection = SqliteConnection::connect_with(&super::options(database)).await?;
    let copied = sqlx::query("VACUUM INTO ?")
        .bind(to)
        .execute(&mut connection)
        .await;
    let _ = connection.close().await;
    copied?;
    Ok(())
}

impl Database {
    /// Writes a copy of the whole database to a new file while everything goes on, as [`copy`] does.
    ///
    /// # Errors
    /// The file is there already or cannot be written.
    pub async fn backup(&self, to: &Path) -> Result<(), DataError> {
        copy(&self.folder().join(super::FILE), to).await
    }
}
