//! A database of the Go program beside what a run of ours left of it: nothing is missing or another, and what came to it is
//! what is listed here.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::{Context, Result, ensure};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{AssertSqlSafe, Connection, SqliteConnection};

/// Tables of ours.
const TABLES: [&str; 1] = ["_chats"];
/// Columns of ours in tables of the Go program.
const COLUMNS: [(&str, &str); 3] = [
    ("_chat_messages", "msg_id"),
    ("_chat_messages", "state"),
    ("_chat_messages", "why"),
];
/// Indexes of ours; the one of a table's key is made by SQLite.
const INDEXES: [&str; 4] = [
    "_chat_messages_line",
    "_chat_messages_msg",
    "_chat_messages_waiting",
    "sqlite_autoindex__chats_1",
];

/// Compares two files that nobody has open.
pub(super) fn check(before: &Path, after: &Path) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async { compare(&read(before).await?, &read(after).await?) })
}

/// A table: how each column was declared, by its name, and the values of each row in the order of these names, as SQL
/// writes them, so that `1` and `'1'` are not the same.
#[derive(Debug, PartialEq, Eq)]
struct Table {
    columns: BTreeMap<String, String>,
    rows: Vec<BTreeMap<String, String>>,
}

#[derive(Debug)]
struct Content {
    tables: BTreeMap<String, Table>,
    /// Indexes, views and triggers: what made them.
    others: BTreeMap<String, Option<String>>,
}

async fn read(file: &Path) -> Result<Content> {
    let options = SqliteConnectOptions::new()
        .filename(file)
        .read_only(true)
        .immutable(true);
    let mut connection = SqliteConnection::connect_with(&options).await?;
    let sound: String = sqlx::query_scalar("PRAGMA integrity_check")
        .fetch_one(&mut connection)
        .await?;
    ensure!(sound == "ok", "{}: {sound}", file.display());
    let all: Vec<(String, String, Option<String>)> =
        sqlx::query_as("SELECT type, name, sql FROM sqlite_schema")
            .fetch_all(&mut connection)
            .await?;
    let (mut tables, mut others) = (BTreeMap::new(), BTreeMap::new());
    for (kind, name, sql) in all {
        if kind == "table" {
            tables.insert(name.clone(), table(&mut connection, &name).await?);
        } else {
            others.insert(name, sql);
        }
    }
    connection.close().await?;
    Ok(Content { tables, others })
}

async fn table(connection: &mut SqliteConnection, name: &str) -> Result<Table> {
    let declared = "SELECT name, format('%s, not null %d, default %s, key %d', type, \"notnull\", \
                    coalesce(dflt_value, 'none'), pk) FROM pragma_table_xinfo(?)";
    let columns: Vec<(String, String)> = sqlx::query_as(declared)
        .bind(name)
        .fetch_all(&mut *connection)
        .await?;
    let mut rows = Vec::new();
    for (column, _) in &columns {
        let quoted = |name: &str| format!("\"{}\"", name.replace('"', "\"\""));
        let values = format!(
            "SELECT quote({}) FROM {} ORDER BY rowid",
            quoted(column),
            quoted(name)
        );
        let values: Vec<String> = sqlx::query_scalar(AssertSqlSafe(values))
            .fetch_all(&mut *connection)
            .await?;
        rows.resize_with(values.len(), BTreeMap::new);
        for (row, value) in rows.iter_mut().zip(values) {
            row.insert(column.clone(), value);
        }
    }
    Ok(Table {
        columns: columns.into_iter().collect(),
        rows,
    })
}

fn compare(before: &Content, after: &Content) -> Result<()> {
    for (name, old) in &before.tables {
        let new = after.tables.get(name);
        let new = new.with_context(|| format!("table {name} is gone"))?;
        let ours = |column: &String| COLUMNS.contains(&(name.as_str(), column.as_str()));
        let columns: BTreeMap<_, _> = new
            .columns
            .clone()
            .into_iter()
            .filter(|(column, _)| old.columns.contains_key(column) || !ours(column))
            .collect();
        ensure!(
            columns == old.columns,
            "the columns of {name} are {columns:?} instead of {:?}",
            old.columns
        );
        let mut rows = new.rows.clone();
        for row in &mut rows {
            row.retain(|column, _| old.columns.contains_key(column));
        }
        ensure!(
            rows == old.rows,
            "the rows of {name} are {rows:?} instead of {:?}",
            old.rows
        );
    }
    for (name, sql) in &before.others {
        ensure!(
            after.others.get(name) == Some(sql),
            "{name} was made by {sql:?} and is {:?}",
            after.others.get(name)
        );
    }
    only_ours(before.tables.keys(), after.tables.keys(), &TABLES)?;
    only_ours(before.others.keys(), after.others.keys(), &INDEXES)
}

fn only_ours<'a>(
    before: impl Iterator<Item = &'a String>,
    after: impl Iterator<Item = &'a String>,
    ours: &[&str],
) -> Result<()> {
    let before: BTreeSet<_> = before.collect();
    let added: Vec<_> = after
        .filter(|name| !before.contains(name) && !ours.contains(&name.as_str()))
        .collect();
    ensure!(added.is_empty(), "{added:?} came to it");
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// What the comparison says of a database of the Go program after a statement.
    fn after(statement: &str) -> Result<()> {
        let recorded = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../../fixtures/folders/alice/data.db"
        );
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("data.db");
        std::fs::copy(recorded, &file).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let options = SqliteConnectOptions::new().filename(&file);
            let mut connection = SqliteConnection::connect_with(&options).await.unwrap();
            let query = sqlx::raw_sql(AssertSqlSafe(statement.to_owned()));
            query.execute(&mut connection).await.unwrap();
            connection.close().await.unwrap();
        });
        check(Path::new(recorded), &file)
    }

    #[test]
    fn only_what_is_ours_may_have_come() {
        for allowed in [
            "",
            "CREATE TABLE _chats (a TEXT PRIMARY KEY)",
            "ALTER TABLE _chat_messages ADD COLUMN state TEXT NOT NULL DEFAULT ''",
            "CREATE INDEX _chat_messages_msg ON _chat_messages (peer_id)",
        ] {
            after(allowed).unwrap();
        }
        for change in [
            "CREATE TABLE other (a)",
            "ALTER TABLE _chat_messages ADD COLUMN other TEXT",
            "ALTER TABLE notes ADD COLUMN state TEXT",
            "CREATE INDEX other ON notes (_owner)",
            "DROP INDEX _chat_messages_peer",
            "DROP TABLE _favorites",
            "ALTER TABLE _favorites RENAME COLUMN email TO mail",
            "DELETE FROM _groups WHERE rowid = 1",
            "UPDATE _chat_messages SET content = content || ' ' WHERE id = 3",
            "UPDATE _chat_messages SET content = x'00' WHERE id = 3",
            "INSERT INTO _meta VALUES ('a', '1')",
        ] {
            assert!(after(change).is_err(), "{change}");
        }
    }
}
