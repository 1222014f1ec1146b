//! All tables of the owner as a text of SQL, in the form of the Go program's exports (storage.md 13).
//!
//! One moment's: everything is read in one transaction, on a connection of its own, while the peer goes on. The text
//! comes in pieces, so that a database of any size takes no memory.

use std::path::Path;

use futures_util::TryStreamExt;
use sqlx::sqlite::SqliteRow;
use sqlx::{AssertSqlSafe, Connection, SqliteConnection};
use tokio::sync::{mpsc, oneshot};
use tokio_util::task::AbortOnDropHandle;

use crate::DataError;
use crate::definition::schema_of;
use crate::ident::{is_keyword, is_name, literal, quoted};
use crate::meta::TEMPLATE_REQUIRE_EMAIL;
use crate::schema::Schema;
use crate::store::{Catalog, ColumnInfo, Database, FILE, Table};
use crate::value::Value;

/// Bytes of text gathered before they are handed on.
const PIECE: usize = 64 * 1024;
const HEX: &[u8; 16] = b"0123456789ABCDEF";
/// Pieces that wait for whoever takes them.
const WAITING: usize = 4;

/// A table that is in a dump.
#[derive(Debug, Clone, PartialEq)]
pub struct DumpedTable {
    /// Its name.
    pub name: String,
    /// Who may add rows.
    pub insert_policy: String,
    /// Its schema; of a classic table, what its columns say.
    pub schema: Schema,
    /// Whether the schema is stored, or only describes.
    pub typed: bool,
}

/// A database on its way out.
#[derive(Debug)]
pub struct Dump {
    tables: Vec<DumpedTable>,
    require_email: bool,
    coming: mpsc::Receiver<Result<Vec<u8>, DataError>>,
    _reading: AbortOnDropHandle<()>,
}

impl Database {
    /// The tables of the owner as SQL.
    ///
    /// # Errors
    /// The file cannot be read.
    pub async fn dump(&self) -> Result<Dump, DataError> {
        Dump::of(self.folder()).await
    }
}

impl Dump {
    /// The tables of a peer folder's database, which may be in use by its peer.
    ///
    /// # Errors
    /// There is none, or it cannot be read.
    pub async fn of(folder: &Path) -> Result<Self, DataError> {
        let options = crate::store::reading(&folder.join(FILE));
        let mut connection = SqliteConnection::connect_with(&options).await?;
        let (sender, coming) = mpsc::channel(WAITING);
        let (found, tables) = oneshot::channel();
        let reading = tokio::spawn(async move {
            let catalog = match begin(&mut connection).await {
                Ok((catalog, require_email)) => {
                    let tables = catalog.tables.values().map(dumped).collect();
                    if found.send(Ok((tables, require_email))).is_err() {
                        return;
                    }
                    catalog
                }
                Err(error) => {
                    let _ = found.send(Err(error));
                    return;
                }
            };
            if let Err(error) = write(&mut connection, &catalog, &sender).await {
                let _ = sender.send(Err(error)).await;
            }
            let _ = connection.close().await;
        });
        let (tables, require_email) = tables.await.map_err(|_| DataError::Unavailable)??;
        Ok(Self {
            tables,
            require_email,
            coming,
            _reading: AbortOnDropHandle::new(reading),
        })
    }

    /// The tables, by name.
    #[must_use]
    pub fn tables(&self) -> &[DumpedTable] {
        &self.tables
    }

    /// Whether visitors must have an e-mail address.
    #[must_use]
    pub fn require_email(&self) -> bool {
        self.require_email
    }

    /// The next piece of the text; `None` at its end.
    ///
    /// # Errors
    /// The file cannot be read any further.
    pub async fn next(&mut self) -> Result<Option<Vec<u8>>, DataError> {
        self.coming.recv().await.transpose()
    }
}

fn dumped(table: &Table) -> DumpedTable {
    let access = table.schema().and_then(|schema| schema.access.as_ref());
    DumpedTable {
        name: table.name.clone(),
        insert_policy: access
            .map_or(&table.insert_policy, |access| &access.insert)
            .clone(),
        schema: table.schema().cloned().unwrap_or_else(|| schema_of(table)),
        typed: table.schema().is_some(),
    }
}

async fn begin(connection: &mut SqliteConnection) -> Result<(Catalog, bool), DataError> {
    sqlx::query("BEGIN").execute(&mut *connection).await?;
    let catalog = Catalog::load(connection).await?;
    let sql = "SELECT value FROM _meta WHERE key = ?";
    let required: Option<Option<String>> = sqlx::query_scalar(sql)
        .bind(TEMPLATE_REQUIRE_EMAIL)
        .fetch_optional(connection)
        .await?;
    Ok((catalog, required.flatten().as_deref() == Some("1")))
}

async fn write(
    connection: &mut SqliteConnection,
    catalog: &Catalog,
    sender: &mpsc::Sender<Result<Vec<u8>, DataError>>,
) -> Result<(), DataError> {
    let mut text = Vec::with_capacity(2 * PIECE);
    for table in catalog.tables.values() {
        text.extend(definition(table).into_bytes());
        let names: Vec<String> = table
            .columns
            .iter()
            .map(|column| plain(&column.name))
            .collect();
        let names = names.join(", ");
        let head = format!("INSERT INTO {} ({names}) VALUES (", plain(&table.name));
        let order = if table.has("_id") {
            " ORDER BY \"_id\""
        } else {
            ""
        };
        let columns: Vec<String> = table
            .columns
            .iter()
            .map(|column| quoted(&column.name))
            .collect();
        let select = format!(
            "SELECT {} FROM {}{order}",
            columns.join(", "),
            quoted(&table.name)
        );
        let mut rows = sqlx::query(AssertSqlSafe(select))
            .persistent(false)
            .fetch(&mut *connection);
        while let Some(row) = rows.try_next().await? {
            text.extend(head.as_bytes());
            for index in 0..table.columns.len() {
                if index > 0 {
                    text.extend(b", ");
                }
                literal_of(&row, index, &mut text)?;
            }
            text.extend(b");\n");
            if text.len() >= PIECE {
                let piece = std::mem::replace(&mut text, Vec::with_capacity(2 * PIECE));
                if sender.send(Ok(piece)).await.is_err() {
                    return Ok(());
                }
            }
        }
        text.push(b'\n');
    }
    let _ = sender.send(Ok(text)).await;
    Ok(())
}

/// A name without quotes where that is the same: the Go program finds the tables of an import by a pattern.
fn plain(name: &str) -> String {
    if is_name(name) && !is_keyword(name) {
        name.to_owned()
    } else {
        quoted(name)
    }
}

fn definition(table: &Table) -> String {
    let keys: Vec<String> = table
        .columns
        .iter()
        .filter(|column| column.primary)
        .map(|column| plain(&column.name))
        .collect();
    let mut lines: Vec<String> = table
        .columns
        .iter()
        .map(|found| column(found, keys.len() == 1))
        .collect();
    if keys.len() > 1 {
        lines.push(format!("  PRIMARY KEY ({})", keys.join(", ")));
    }
    format!(
        "CREATE TABLE IF NOT EXISTS {} (\n{}\n);\n",
        plain(&table.name),
        lines.join(",\n")
    )
}

fn column(column: &ColumnInfo, single_key: bool) -> String {
    let mut text = format!("  {}", plain(&column.name));
    let harmless = |letter: char| letter.is_ascii_alphanumeric() || " _(),.".contains(letter);
    if column.kind.chars().all(harmless) {
        text.push(' ');
        text.push_str(&column.kind);
    } else {
        text.push(' ');
        text.push_str(&quoted(&column.kind));
    }
    if column.primary && single_key {
        text.push_str(" PRIMARY KEY");
        if column.kind.eq_ignore_ascii_case("integer") {
            text.push_str(" AUTOINCREMENT");
        }
    } else if column.not_null {
        text.push_str(" NOT NULL");
    }
    if let Some(default) = &column.default {
        text.push_str(" DEFAULT ");
        if is_plain_default(default) {
            text.push_str(default);
        } else {
            text.push_str(&format!("({default})"));
        }
    }
    text
}

/// Whether a default needs no brackets. What the table says of it lost them.
fn is_plain_default(text: &str) -> bool {
    let upper = text.to_ascii_uppercase();
    let word = matches!(
        upper.as_str(),
        "NULL" | "TRUE" | "FALSE" | "CURRENT_TIMESTAMP" | "CURRENT_DATE" | "CURRENT_TIME"
    );
    let number = text.parse::<f64>().is_ok() && text.bytes().any(|byte| byte.is_ascii_digit());
    let inner = text
        .strip_prefix('\'')
        .and_then(|rest| rest.strip_suffix('\''));
    let quote = inner.is_some_and(|inner| !inner.replace("''", "").contains('\''));
    word || number || quote
}

/// A value as SQL, the same value when it is read again.
fn literal_of(row: &SqliteRow, index: usize, text: &mut Vec<u8>) -> Result<(), DataError> {
    let hex = |bytes: &[u8], text: &mut Vec<u8>| {
        text.extend(b"X'");
        for byte in bytes {
            text.extend([byte >> 4, byte & 15].map(|digit| HEX[usize::from(digit)]));
        }
        text.push(b'\'');
    };
    if let Some(bytes) = Value::text_of_row(row, index)? {
        match std::str::from_utf8(&bytes) {
            Ok(plain) if !plain.contains('\0') => text.extend(literal(plain).into_bytes()),
            // No literal of SQL holds these.
            _ => {
                text.extend(b"CAST(");
                hex(&bytes, text);
                text.extend(b" AS TEXT)");
            }
        }
        return Ok(());
    }
    match Value::of_row(row, index)? {
        Value::Null => text.extend(b"NULL"),
        Value::Integer(number) => text.extend(number.to_string().into_bytes()),
        // SQLite reads numbers beyond the largest double as infinite.
        Value::Real(number) if number.is_infinite() => {
            text.extend(if number > 0.0 {
                &b"9e999"[..]
            } else {
                b"-9e999"
            });
        }
        Value::Real(number) => text.extend(format!("{number:?}").into_bytes()),
        Value::Text(plain) => text.extend(literal(&plain).into_bytes()),
        Value::Blob(bytes) => hex(&bytes, text),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_keep_their_meaning() {
        for text in [
            "5",
            "-1.5",
            "NULL",
            "'it''s'",
            "''",
            "current_timestamp",
            "+3",
            "1e5",
        ] {
            assert!(is_plain_default(text), "{text}");
        }
        for text in [
            "datetime('now')",
            "1 + 1",
            "'a' || 'b'",
            "inf",
            "nan",
            "x'00'",
            "abs(-1)",
        ] {
            assert!(!is_plain_default(text), "{text}");
        }
    }
}
