//! What can go wrong, in the words callers know from the Go program.

use std::borrow::Cow;

use sqlx::error::DatabaseError;

/// Why an operation was not done. The text is the answer that a caller gets (storage.md 1, 7 to 10).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DataError {
    /// A field of the request is missing; HTTP answers 400.
    #[error("{0}")]
    Required(&'static str),
    /// A field of the request makes no sense; HTTP answers 400.
    #[error("{0}")]
    BadRequest(String),
    /// There is no such schema, row or file; HTTP answers 404.
    #[error("{0}")]
    NotFound(String),
    /// The owner does not allow it.
    #[error("{0}")]
    Refused(String),
    /// The values or names cannot be taken.
    #[error("{0}")]
    Invalid(String),
    /// What SQLite said, as the Go program's driver puts it.
    #[error("{0}")]
    Sqlite(String),
    /// The operation took longer than it may.
    #[error("this takes too long; ask for less")]
    TooLong,
    /// The database is closed or was never opened.
    #[error("database not available")]
    Unavailable,
    /// The file system failed.
    #[error("{0}")]
    Io(String),
}

impl DataError {
    /// The status with which `/api/data/*` answers it (viewer-api.md 9).
    #[must_use]
    pub fn status(&self) -> u16 {
        match self {
            Self::Required(_) | Self::BadRequest(_) => 400,
            Self::NotFound(_) => 404,
            Self::Unavailable => 503,
            Self::Refused(_) | Self::Invalid(_) | Self::Sqlite(_) | Self::TooLong | Self::Io(_) => {
                500
            }
        }
    }

    pub(crate) fn invalid(text: impl Into<String>) -> Self {
        Self::Invalid(text.into())
    }

    /// `SQL logic error: <text> (1)`, as SQLite would say it.
    pub(crate) fn logic(text: impl AsRef<str>) -> Self {
        Self::Sqlite(format!("SQL logic error: {} (1)", text.as_ref()))
    }

    /// No table of that name, as SQLite would say it: also for tables that a caller may not know of.
    pub(crate) fn no_table(name: &str) -> Self {
        Self::logic(format!("no such table: {name}"))
    }

    /// Puts what was being done before the text.
    pub(crate) fn while_doing(self, what: &str) -> Self {
        match self {
            Self::Sqlite(text) => Self::Sqlite(format!("{what}: {text}")),
            other => other,
        }
    }
}

/// Primary result code of an interrupted statement.
const SQLITE_INTERRUPT: i32 = 9;
/// There is no room for a page.
const SQLITE_FULL: i32 = 13;
/// There is no room for the index of the log.
const SQLITE_IOERR_SHMSIZE: i32 = 10 | 19 << 8;
/// What a person can do about either.
const FULL: &str =
    "; the disk is full and nothing of this change was kept: make room on it and try again";

impl From<sqlx::Error> for DataError {
    fn from(error: sqlx::Error) -> Self {
        match &error {
            sqlx::Error::Database(database) => of_sqlite(&**database),
            sqlx::Error::WorkerCrashed | sqlx::Error::PoolClosed => Self::Unavailable,
            other => Self::Sqlite(other.to_string()),
        }
    }
}

impl From<std::io::Error> for DataError {
    fn from(error: std::io::Error) -> Self {
        Self::Io(error.to_string())
    }
}

impl From<rusqlite::Error> for DataError {
    fn from(error: rusqlite::Error) -> Self {
        match error {
            rusqlite::Error::SqliteFailure(code, message) => {
                let code = code.extended_code;
                of_code(code, message.as_deref().unwrap_or(&class(code)))
            }
            other => Self::Sqlite(other.to_string()),
        }
    }
}

/// SQLite's extended result code; "SQL logic error" where it gave none.
fn code(error: &dyn DatabaseError) -> i32 {
    error.code().and_then(|code| code.parse().ok()).unwrap_or(1)
}

/// Whether SQLite found no room for a page, on the disk or within `max_page_count`. Its text cannot tell: it may name what a
/// stranger wrote.
pub(crate) fn is_full(error: &sqlx::Error) -> bool {
    matches!(error, sqlx::Error::Database(database) if code(&**database) & 0xff == SQLITE_FULL)
}

fn of_sqlite(error: &dyn DatabaseError) -> DataError {
    of_code(code(error), error.message())
}

fn of_code(code: i32, message: &str) -> DataError {
    if code & 0xff == SQLITE_INTERRUPT {
        return DataError::TooLong;
    }
    let class = class(code);
    let hint = match code {
        5 => " (SQLITE_BUSY)",
        SQLITE_FULL | SQLITE_IOERR_SHMSIZE => FULL,
        _ => "",
    };
    DataError::Sqlite(if class == message {
        format!("{class} ({code}){hint}")
    } else {
        format!("{class}: {message} ({code}){hint}")
    })
}

/// SQLite's text of a result code (`sqlite3_errstr`).
fn class(code: i32) -> Cow<'static, str> {
    Cow::Borrowed(match code & 0xff {
        1 => "SQL logic error",
        3 => "access permission denied",
        4 => "query aborted",
        5 => "database is locked",
        6 => "database table is locked",
        7 => "out of memory",
        8 => "attempt to write a readonly database",
        10 => "disk I/O error",
        11 => "database disk image is malformed",
        12 => "unknown operation",
        13 => "database or disk is full",
        14 => "unable to open database file",
        15 => "locking protocol",
        17 => "database schema has changed",
        18 => "string or blob too big",
        19 => "constraint failed",
        20 => "datatype mismatch",
        21 => "bad parameter or other API misuse",
        23 => "authorization denied",
        25 => "column index out of range",
        26 => "file is not a database",
        _ => "unknown error",
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use sqlx::{AssertSqlSafe, Connection, SqliteConnection};

    use super::{DataError, is_full};

    /// What SQLite says about the last statement; those before it work.
    async fn failing(statements: &[&str]) -> sqlx::Error {
        let mut connection = SqliteConnection::connect("sqlite::memory:").await.unwrap();
        let (last, before) = statements.split_last().unwrap();
        for sql in before {
            let query = sqlx::query(AssertSqlSafe((*sql).to_owned()));
            query.execute(&mut connection).await.unwrap();
        }
        let query = sqlx::query(AssertSqlSafe((*last).to_owned()));
        query.execute(&mut connection).await.unwrap_err()
    }

    #[tokio::test]
    async fn a_full_database_is_known_by_its_code_whatever_the_text_says() {
        let full = failing(&[
            "PRAGMA max_page_count = 2",
            "CREATE TABLE t (a)",
            "INSERT INTO t VALUES (zeroblob(100000))",
        ])
        .await;
        assert!(is_full(&full), "{full}");
        let named = failing(&["SELECT * FROM \"full (13)\""]).await;
        let said = DataError::from(failing(&["SELECT * FROM \"full (13)\""]).await).to_string();
        assert!(said.contains(" (13)"), "the text alone misleads: {said}");
        assert!(!is_full(&named), "{named}");
        assert!(!is_full(&sqlx::Error::PoolClosed));
    }
}
