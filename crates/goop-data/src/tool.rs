//! A database from outside its peer: looking at it, copying it, asking it. Nothing is migrated or repaired on the way, and
//! all of it but writing works beside the running peer.

use std::path::{Path, PathBuf};

use futures_util::TryStreamExt;
use sqlx::{AssertSqlSafe, Column as _, Connection, Either, Row as _, SqliteConnection};

use crate::DataError;
use crate::ident::quoted;
use crate::store::{Catalog, FILE, TableKind, health};
use crate::value::{Form, Value};

/// Whether statements may change the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// No.
    Read,
    /// Yes. The folder must be locked (`PeerFolder`).
    Write,
}

/// The database of a peer folder, opened beside whoever else has it.
#[derive(Debug)]
pub struct Tool {
    connection: SqliteConnection,
    path: PathBuf,
}

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// Bytes of the file and of its log.
    pub size: u64,
    /// What SQLite complains of; nothing where the file is whole.
    pub complaints: Vec<String>,
    /// The owner's tables.
    pub tables: Vec<TableReport>,
}

/// What was found of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableReport {
    /// Its name.
    pub name: String,
    /// `typed`, `classic`, or that its schema cannot be read.
    pub kind: &'static str,
    /// Its rows, or why they cannot be counted.
    pub rows: Result<u64, String>,
}

/// A line of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Line {
    /// Names of the columns that follow.
    Names(Vec<String>),
    /// One row, as people read it.
    Row(Vec<String>),
    /// A statement ended and changed so many rows.
    Changed(u64),
}

impl Tool {
    /// Opens the database of a folder.
    ///
    /// # Errors
    /// There is none, or it cannot be opened.
    pub async fn open(folder: &Path, access: Access) -> Result<Self, DataError> {
        let path = folder.join(FILE);
        let options = crate::store::options(&path);
        let options = match access {
            Access::Read => options.pragma("query_only", "ON"),
            Access::Write => options,
        };
        Ok(Self {
            connection: SqliteConnection::connect_with(&options).await?,
            path,
        })
    }

    /// Looks through the whole file.
    ///
    /// # Errors
    /// It is no database at all.
    pub async fn check(&mut self) -> Result<Report, DataError> {
        let complaints = health::everything_wrong(&mut self.connection).await?;
        let log = self.path.with_extension("db-wal");
        let size = |path: &Path| std::fs::metadata(path).map_or(0, |found| found.len());
        let mut tables = Vec::new();
        // A damaged file may not even tell its tables; what is wrong was said then.
        let catalog = match Catalog::load(&mut self.connection).await {
            Ok(catalog) => catalog,
            Err(_) if !complaints.is_empty() => Catalog::default(),
            Err(error) => return Err(error),
        };
        for table in catalog.tables.values() {
            let count = format!("SELECT count(*) FROM {}", quoted(&table.name));
            let counted: Result<i64, sqlx::Error> = sqlx::query_scalar(AssertSqlSafe(count))
                .fetch_one(&mut self.connection)
                .await;
            tables.push(TableReport {
                name: table.name.clone(),
                kind: match table.kind {
                    TableKind::Typed(_) => "typed",
                    TableKind::Classic => "classic",
                    TableKind::Unreadable => "typed, but its schema cannot be read",
                },
                rows: counted
                    .map(i64::unsigned_abs)
                    .map_err(|error| DataError::from(error).to_string()),
            });
        }
        Ok(Report {
            size: size(&self.path) + size(&log),
            complaints,
            tables,
        })
    }

    /// Writes a copy to a new file: one moment's, whole by itself.
    ///
    /// # Errors
    /// The file is there already or cannot be written.
    pub async fn backup(mut self, to: &Path) -> Result<(), DataError> {
        let to = to
            .to_str()
            .ok_or_else(|| DataError::invalid("the path of the copy is not UTF-8"))?;
        // It changes nothing here, but SQLite counts it among what does.
        sqlx::query("PRAGMA query_only = OFF")
            .execute(&mut self.connection)
            .await?;
        sqlx::query("VACUUM INTO ?")
            .bind(to)
            .execute(&mut self.connection)
            .await?;
        Ok(())
    }

    /// Runs what the owner typed and tells each line of the answer.
    ///
    /// # Errors
    /// What SQLite says.
    pub async fn run(&mut self, sql: &str, tell: &mut dyn FnMut(Line)) -> Result<(), DataError> {
        let query = sqlx::query(AssertSqlSafe(sql.to_owned())).persistent(false);
        // `fetch_many` alone says how many rows were changed.
        #[allow(deprecated)]
        let mut coming = query.fetch_many(&mut self.connection);
        let mut named = false;
        while let Some(part) = coming.try_next().await? {
            match part {
                Either::Left(done) => {
                    if !named {
                        tell(Line::Changed(done.rows_affected()));
                    }
                    named = false;
                }
                Either::Right(row) => {
                    if !named {
                        let names = row.columns().iter().map(|column| column.name().to_owned());
                        tell(Line::Names(names.collect()));
                        named = true;
                    }
                    let values =
                        (0..row.len()).map(|index| Ok(shown(&Value::of_row(&row, index)?)));
                    tell(Line::Row(values.collect::<Result<_, DataError>>()?));
                }
            }
        }
        Ok(())
    }
}

/// A value on one line: what a terminal would take for a command is written out.
fn shown(value: &Value) -> String {
    let text = match value {
        Value::Null => return "NULL".to_owned(),
        Value::Blob(_) => value.to_json(Form::Figures, false).to_string(),
        Value::Text(text) => text.clone(),
        number => number.to_json(Form::Figures, false).to_string(),
    };
    let plain = |letter: char| {
        !letter.is_control() && !matches!(letter, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    let mut line = String::with_capacity(text.len());
    for letter in text.chars() {
        if plain(letter) {
            line.push(letter);
        } else {
            line.extend(letter.escape_default());
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_stay_on_their_line() {
        assert_eq!(
            shown(&Value::Text("a\n\u{1b}[2J\u{202e}é".to_owned())),
            "a\\n\\u{1b}[2J\\u{202e}é"
        );
        assert_eq!(shown(&Value::Null), "NULL");
        assert_eq!(shown(&Value::Integer(-5)), "-5");
    }
}
