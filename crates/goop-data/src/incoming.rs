//! The database of an archive, brought in: all of it or nothing (storage.md 13, templates.md 10.3).
//!
//! The archive's SQL is somebody else's. It fills a database of its own first, where it may make tables and add rows and
//! nothing else; what came of it is then looked at and copied, in one transaction. So the SQL may be as odd as SQLite
//! takes it, and reaches nothing here.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use futures_util::TryStreamExt;
use serde::Deserialize;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, Row as _, SqliteConnection};
use tokio::io::AsyncReadExt;

use crate::DataError;
use crate::error;
use crate::guard::{self, Guard, Scope};
use crate::ident::{is_name, is_reserved, quoted};
use crate::meta::{IMPORTED, TEMPLATE_REQUIRE_EMAIL, TEMPLATE_TABLES};
use crate::schema::{MAX_COLUMNS, Schema};
use crate::schema_files;
use crate::split::Splitter;
use crate::store::Database;
use crate::tables::{bound, index_keys, run, store_schema};
use crate::value::{Value, arguments};

/// Its description, in the unpacked archive.
pub const MANIFEST: &str = "manifest.json";
/// Its tables and rows.
pub const SCRIPT: &str = "schema.sql";
/// Most tables of an archive.
const MAX_TABLES: usize = 1_000;
/// Largest description of an archive, in bytes.
const MAX_MANIFEST: u64 = 1024 * 1024;
/// How long one statement of an archive may take.
const STATEMENT: Duration = Duration::from_secs(30);
/// How long bringing everything in may take: ten million rows on a slow disk.
const DEADLINE: Duration = Duration::from_secs(60 * 60);
/// Rows after which it is told how far it is.
const TOLD_EVERY: u64 = 1_000;
/// So many bytes never fill a disk.
const HARMLESS: u64 = 64 * 1024 * 1024;
/// The database that the archive's SQL fills, beside it.
const SCRATCH: &str = "incoming.db";

/// Hears how far an import is: rows done, and of how many if that is known.
pub type Told = Arc<dyn Fn(u64, Option<u64>) + Send + Sync>;

/// What of an archive's description concerns its database.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Description {
    tables: BTreeMap<String, Policy>,
    schemas: Vec<String>,
    require_email: bool,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Policy {
    insert_policy: String,
}

/// A table that comes in.
#[derive(Debug)]
struct Table {
    name: String,
    /// The statement that makes it, as SQLite wrote it down.
    sql: String,
    columns: Vec<String>,
    rows: u64,
    policy: String,
    schema: Option<Schema>,
}

/// The database of an archive, read and found good.
#[derive(Debug)]
pub struct Incoming {
    connection: SqliteConnection,
    tables: Vec<Table>,
    require_email: bool,
}

/// What was brought in: rows by table.
pub type BroughtIn = BTreeMap<String, u64>;

impl Incoming {
    /// Reads the database of an unpacked archive: `manifest.json`, `schema.sql` and `schemas/` in `folder`, where a file
    /// is made for it. Nothing of the peer's is touched.
    ///
    /// # Errors
    /// What is wrong with it.
    pub async fn read(folder: &Path, told: &Told) -> Result<Self, DataError> {
        let description = description(folder)?;
        let scratch = folder.join(SCRATCH);
        let options = SqliteConnectOptions::new()
            .filename(&scratch)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Off)
            .synchronous(SqliteSynchronous::Off)
            .foreign_keys(false)
            .pragma("trusted_schema", "OFF")
            .pragma(
                "max_page_count",
                most_pages(&folder.join(SCRIPT)).to_string(),
            )
            .disable_statement_logging();
        let mut connection = SqliteConnection::connect_with(&options).await?;
        let guard = guard::fill(&mut connection).await?;
        command(&mut connection, guard, "BEGIN").await?;
        load(&mut connection, guard, &folder.join(SCRIPT), told).await?;
        command(&mut connection, guard, "COMMIT").await?;
        guard.open(Scope::Loaded, DEADLINE);
        let mut tables = tables(&mut connection).await?;
        for table in &tables {
            defaults(&mut connection, guard, &table.name).await?;
        }
        guard.open(Scope::Loaded, DEADLINE);
        add_schemas(&mut tables, folder, &description)?;
        for table in &mut tables {
            let named = description.tables.iter();
            let mut named = named.filter(|(name, _)| name.eq_ignore_ascii_case(&table.name));
            if let Some((_, policy)) = named.next() {
                table.policy.clone_from(&policy.insert_policy);
            }
        }
        Ok(Self {
            connection,
            tables,
            require_email: description.require_email,
        })
    }

    /// The tables that come in, and how many rows they have.
    #[must_use]
    pub fn tables(&self) -> BroughtIn {
        let tables = self.tables.iter();
        tables
            .map(|table| (table.name.clone(), table.rows))
            .collect()
    }
}

fn read_file(path: &Path, most: u64) -> Result<Option<Vec<u8>>, DataError> {
    let file = match std::fs::File::open(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        file => file?,
    };
    let mut bytes = Vec::new();
    file.take(most + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > most {
        return Err(DataError::invalid("a file of the archive is too long"));
    }
    Ok(Some(bytes))
}

fn description(folder: &Path) -> Result<Description, DataError> {
    let Some(bytes) = read_file(&folder.join(MANIFEST), MAX_MANIFEST)? else {
        return Ok(Description::default());
    };
    serde_json::from_slice(&bytes)
        .map_err(|error| DataError::invalid(format!("{MANIFEST} makes no sense: {error}")))
}

/// Pages of 4 KiB that the text may fill: small rows take several times their text.
fn most_pages(script: &Path) -> u64 {
    const PAGE: u64 = 4 * 1024;
    let len = std::fs::metadata(script).map_or(0, |found| found.len());
    HARMLESS / PAGE + len.saturating_mul(4) / PAGE
}

/// Looks at the defaults of a table, which SQLite reads only when they are needed.
async fn defaults(
    connection: &mut SqliteConnection,
    guard: &Guard,
    table: &str,
) -> Result<(), DataError> {
    guard.open(Scope::Loading, STATEMENT);
    let text = format!("EXPLAIN INSERT INTO {} DEFAULT VALUES", quoted(table));
    let query = sqlx::query(AssertSqlSafe(text)).persistent(false);
    let done = query.execute(connection).await;
    done.map(drop).map_err(|error| {
        DataError::invalid(format!(
            "a default of table {table:?}: {}",
            DataError::from(error)
        ))
    })
}

async fn command(
    connection: &mut SqliteConnection,
    guard: &Guard,
    sql: &'static str,
) -> Result<(), DataError> {
    guard.open(Scope::Loaded, STATEMENT);
    sqlx::query(sql)
        .persistent(false)
        .execute(connection)
        .await?;
    Ok(())
}

async fn load(
    connection: &mut SqliteConnection,
    guard: &Guard,
    script: &Path,
    told: &Told,
) -> Result<(), DataError> {
    let mut file = match tokio::fs::File::open(script).await {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        file => file?,
    };
    let mut splitter = Splitter::default();
    let mut piece = vec![0; 64 * 1024];
    let mut count = 0;
    loop {
        let read = file.read(&mut piece).await?;
        let statements = if read == 0 {
            splitter.take()?.into_iter().collect()
        } else {
            splitter.push(&piece[..read])?
        };
        for statement in statements {
            one(connection, guard, statement).await?;
            count += 1;
            if count % TOLD_EVERY == 0 {
                told(count, None);
            }
        }
        if read == 0 {
            return Ok(());
        }
    }
}

async fn one(
    connection: &mut SqliteConnection,
    guard: &Guard,
    statement: String,
) -> Result<(), DataError> {
    guard.open(Scope::Loading, STATEMENT);
    let shown: String = statement.trim().chars().take(80).collect();
    let repaired = repaired(&statement);
    let run = async |connection: &mut SqliteConnection, text: String| {
        let query = sqlx::query(AssertSqlSafe(text)).persistent(false);
        query.execute(connection).await.map(drop)
    };
    let mut done = run(connection, statement).await;
    if done.is_err()
        && let Some(repaired) = repaired
    {
        done = run(connection, repaired).await;
    }
    let Err(error) = done else { return Ok(()) };
    if error::is_full(&error) && has_no_pages_left(connection, guard).await? {
        return Err(DataError::invalid(format!(
            "{SCRIPT} makes more rows than it holds, in {shown:?}"
        )));
    }
    Err(DataError::invalid(format!(
        "{SCRIPT}: {} in {shown:?}",
        DataError::from(error)
    )))
}

/// Whether it is not the disk that is full.
async fn has_no_pages_left(
    connection: &mut SqliteConnection,
    guard: &Guard,
) -> Result<bool, DataError> {
    guard.open(Scope::Loaded, STATEMENT);
    let mut pragma = async |sql: &'static str| -> Result<i64, DataError> {
        Ok(sqlx::query_scalar(sql).fetch_one(&mut *connection).await?)
    };
    // A statement that failed gave its pages back, but no more than it had taken.
    let used = pragma("PRAGMA page_count").await?;
    Ok(used * 4 >= pragma("PRAGMA max_page_count").await?)
}

/// A definition as the Go program writes it where it is no valid SQL: with the brackets around a default, and one key of
/// several columns instead of several keys. `None` for other statements.
fn repaired(statement: &str) -> Option<String> {
    const KEY: &str = " PRIMARY KEY";
    let text = statement.trim();
    let (head, rest) = text.split_once('\n')?;
    let body = rest.strip_suffix(')')?.trim_end_matches('\n');
    if !head.get(..12)?.eq_ignore_ascii_case("create table") || !head.ends_with('(') {
        return None;
    }
    let keys: Vec<&str> = body
        .lines()
        .filter(|line| line.contains(KEY))
        .filter_map(|line| line.split_whitespace().next())
        .collect();
    let mut lines: Vec<String> = Vec::new();
    for line in body.lines() {
        let line = line.trim_end().trim_end_matches(',');
        let mut line = line.to_owned();
        if keys.len() > 1 {
            line = line.replace(" AUTOINCREMENT", "").replace(KEY, "");
        }
        if let Some((before, default)) = line.split_once(" DEFAULT ") {
            line = format!("{before} DEFAULT ({default})");
        }
        lines.push(line);
    }
    if keys.len() > 1 {
        lines.push(format!("  PRIMARY KEY ({})", keys.join(", ")));
    }
    Some(format!("{head}\n{}\n)", lines.join(",\n")))
}

/// What the script made.
async fn tables(connection: &mut SqliteConnection) -> Result<Vec<Table>, DataError> {
    let sql = "SELECT name, sql FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' \
               ORDER BY name";
    let found = sqlx::query(sql).fetch_all(&mut *connection).await?;
    if found.len() > MAX_TABLES {
        return Err(DataError::invalid(format!("more than {MAX_TABLES} tables")));
    }
    let mut tables = Vec::new();
    for row in found {
        let (name, sql): (String, String) = (row.try_get(0)?, row.try_get(1)?);
        if !is_name(&name) || is_reserved(&name) {
            return Err(DataError::invalid(format!("invalid table name: {name}")));
        }
        let query = "SELECT name FROM pragma_table_info(?)";
        let columns: Vec<String> = sqlx::query_scalar(query)
            .bind(&name)
            .fetch_all(&mut *connection)
            .await?;
        if let Some(column) = columns.iter().find(|column| !is_name(column)) {
            return Err(DataError::invalid(format!("invalid column name: {column}")));
        }
        // The columns of the system come to those that people make.
        if columns.is_empty() || columns.len() > MAX_COLUMNS + 5 {
            return Err(DataError::invalid(format!(
                "table {name:?} has too many columns"
            )));
        }
        let count = format!("SELECT count(*) FROM {}", quoted(&name));
        let rows: i64 = sqlx::query_scalar(AssertSqlSafe(count))
            .fetch_one(&mut *connection)
            .await?;
        tables.push(Table {
            name,
            sql,
            columns,
            rows: rows.unsigned_abs(),
            policy: "owner".to_owned(),
            schema: None,
        });
    }
    // A reference to a table of ours would keep us from changing it.
    let names: BTreeSet<String> = tables
        .iter()
        .map(|table| table.name.to_ascii_lowercase())
        .collect();
    for table in &tables {
        let query = "SELECT \"table\" FROM pragma_foreign_key_list(?)";
        let others: Vec<String> = sqlx::query_scalar(query)
            .bind(&table.name)
            .fetch_all(&mut *connection)
            .await?;
        if let Some(other) = others
            .iter()
            .find(|other| !names.contains(&other.to_ascii_lowercase()))
        {
            return Err(DataError::invalid(format!(
                "table {:?} refers to {other:?}, which is not there",
                table.name
            )));
        }
    }
    Ok(tables)
}

/// Takes the schemas of typed tables. The Go program writes such a file for every table, so the description says which
/// are meant.
fn add_schemas(
    tables: &mut Vec<Table>,
    folder: &Path,
    description: &Description,
) -> Result<(), DataError> {
    for name in &description.schemas {
        if !is_name(name) || is_reserved(name) {
            return Err(DataError::invalid(format!("invalid table name: {name}")));
        }
        let path: PathBuf = folder
            .join(schema_files::FOLDER)
            .join(format!("{name}.json"));
        let bytes = read_file(&path, schema_files::MAX_FILE)?
            .ok_or_else(|| DataError::invalid(format!("schemas/{name}.json is missing")))?;
        let mut schema = Schema::from_json(&bytes)
            .map_err(|error| DataError::invalid(format!("schemas/{name}.json: {error}")))?;
        let known = tables
            .iter_mut()
            .find(|table| table.name.eq_ignore_ascii_case(name));
        match known {
            Some(table) => {
                let has = |wanted: &str| {
                    table
                        .columns
                        .iter()
                        .any(|column| column.eq_ignore_ascii_case(wanted))
                };
                if let Some(column) = schema.columns.iter().find(|column| !has(&column.name)) {
                    return Err(DataError::invalid(format!(
                        "schemas/{name}.json: the table has no column {:?}",
                        column.name
                    )));
                }
                schema.name.clone_from(&table.name);
                table.schema = Some(schema);
            }
            None => {
                schema.name.clone_from(name);
                schema.validate_names()?;
                tables.push(Table {
                    name: name.clone(),
                    sql: schema.create_statement(),
                    columns: Vec::new(),
                    rows: 0,
                    policy: "owner".to_owned(),
                    schema: Some(schema),
                });
            }
        }
    }
    Ok(())
}

impl Database {
    /// The tables here that bringing `incoming` in replaces or, where they belong to a template, takes away; with their
    /// rows.
    ///
    /// # Errors
    /// The file cannot be read.
    pub async fn replaced_by(&self, incoming: &Incoming) -> Result<BroughtIn, DataError> {
        let catalog = self.catalog();
        let coming = incoming.tables.iter();
        let mut names: BTreeSet<String> = coming
            .filter_map(|table| Some(catalog.table(&table.name)?.name.clone()))
            .collect();
        self.look(async |connection| {
            let of_template = of_template(connection).await?;
            names.extend(
                of_template
                    .iter()
                    .filter_map(|name| Some(catalog.table(name)?.name.clone())),
            );
            let mut replaced = BroughtIn::new();
            for name in &names {
                let count = format!("SELECT count(*) FROM {}", quoted(name));
                let rows: i64 = sqlx::query_scalar(AssertSqlSafe(count))
                    .fetch_one(&mut *connection)
                    .await?;
                replaced.insert(name.clone(), rows.unsigned_abs());
            }
            Ok(replaced)
        })
        .await
    }

    /// Brings the database of an archive in, in one transaction; tables of the same names are replaced, those of the
    /// template here are taken away, others stay. `mark` is noted with it (`meta::IMPORTED`), so that whoever changes
    /// files together with this knows after a crash whether it was done.
    ///
    /// # Errors
    /// Nothing was changed then.
    pub async fn bring_in(
        &self,
        incoming: Incoming,
        mark: &str,
        told: Told,
    ) -> Result<BroughtIn, DataError> {
        let mark = mark.to_owned();
        let brought = self
            .write_tables_within(DEADLINE, move |connection| {
                Box::pin(async move { bring(connection, incoming, &mark, &told).await })
            })
            .await?;
        self.finish_schema_files().await?;
        Ok(brought)
    }
}

async fn of_template(connection: &mut SqliteConnection) -> Result<Vec<String>, DataError> {
    let sql = "SELECT value FROM _meta WHERE key = ?";
    let listed: Option<Option<String>> = sqlx::query_scalar(sql)
        .bind(TEMPLATE_TABLES)
        .fetch_optional(connection)
        .await?;
    let listed = listed.flatten().unwrap_or_default();
    Ok(listed
        .split(',')
        .filter(|name| is_name(name) && !is_reserved(name))
        .map(str::to_owned)
        .collect())
}

async fn bring(
    connection: &mut SqliteConnection,
    mut incoming: Incoming,
    mark: &str,
    told: &Told,
) -> Result<BroughtIn, DataError> {
    sqlx::query("PRAGMA defer_foreign_keys = ON")
        .execute(&mut *connection)
        .await?;
    let mut gone = of_template(connection).await?;
    gone.extend(incoming.tables.iter().map(|table| table.name.clone()));
    for name in &gone {
        run(connection, format!("DROP TABLE IF EXISTS {}", quoted(name))).await?;
        bound(
            connection,
            "DELETE FROM _tables WHERE name = ? COLLATE NOCASE",
            &[name],
        )
        .await?;
        bound(
            connection,
            "DELETE FROM _orm_schemas WHERE table_name = ? COLLATE NOCASE",
            &[name],
        )
        .await?;
    }
    let set = "INSERT OR REPLACE INTO _meta (key, value) VALUES (?, ?)";
    bound(connection, set, &[TEMPLATE_TABLES, ""]).await?;
    let required = if incoming.require_email { "1" } else { "" };
    bound(connection, set, &[TEMPLATE_REQUIRE_EMAIL, required]).await?;
    bound(connection, set, &[IMPORTED, mark]).await?;
    let all: u64 = incoming.tables.iter().map(|table| table.rows).sum();
    let mut done = 0;
    let mut brought = BroughtIn::new();
    let mut files = Vec::new();
    for table in &incoming.tables {
        // One statement that SQLite took for a table's, under an authorizer that knew nothing of ours.
        run(connection, table.sql.clone()).await?;
        let register =
            "INSERT OR REPLACE INTO _tables (name, schema, insert_policy) VALUES (?, ?, ?)";
        bound(
            connection,
            register,
            &[&table.name, &table.sql, &table.policy],
        )
        .await?;
        if !table.columns.is_empty() {
            copy(connection, &mut incoming.connection, table, &mut |rows| {
                told(done + rows, Some(all))
            })
            .await?;
        }
        let count = format!("SELECT count(*) FROM {}", quoted(&table.name));
        let rows: i64 = sqlx::query_scalar(AssertSqlSafe(count))
            .fetch_one(&mut *connection)
            .await?;
        if rows.unsigned_abs() != table.rows {
            return Err(DataError::invalid(format!(
                "table {:?} has {rows} rows instead of {}; nothing was imported",
                table.name, table.rows
            )));
        }
        done += table.rows;
        brought.insert(table.name.clone(), table.rows);
        if let Some(schema) = &table.schema {
            store_schema(connection, schema).await?;
            // The Go program lets keys repeat; then there is no index over them.
            if let Err(error) = index_keys(connection, schema).await {
                tracing::info!(table = table.name, %error, "the key of an imported table is not unique");
            }
            files.push(table.name.as_str());
        }
    }
    told(all, Some(all));
    schema_files::note(connection, &files, &[]).await?;
    Ok(brought)
}

async fn copy(
    connection: &mut SqliteConnection,
    from: &mut SqliteConnection,
    table: &Table,
    told: &mut (dyn FnMut(u64) + Send),
) -> Result<(), DataError> {
    let columns: Vec<String> = table.columns.iter().map(|column| quoted(column)).collect();
    let (columns, marks) = (
        columns.join(", "),
        vec!["?"; table.columns.len()].join(", "),
    );
    let name = quoted(&table.name);
    let select = format!("SELECT {columns} FROM {name}");
    let insert = format!("INSERT INTO {name} ({columns}) VALUES ({marks})");
    let mut rows = sqlx::query(AssertSqlSafe(select))
        .persistent(false)
        .fetch(from);
    let mut count = 0;
    while let Some(row) = rows.try_next().await? {
        let values = (0..table.columns.len()).map(|index| Value::of_row(&row, index));
        let values = values.collect::<Result<Vec<Value>, DataError>>()?;
        sqlx::query_with(AssertSqlSafe(insert.clone()), arguments(&values))
            .execute(&mut *connection)
            .await?;
        count += 1;
        if count % TOLD_EVERY == 0 {
            told(count);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn definitions_of_the_go_program_are_repaired() {
        let broken = "CREATE TABLE IF NOT EXISTS t (\n  a INTEGER PRIMARY KEY AUTOINCREMENT,\n  b TEXT PRIMARY KEY,\n  \
                      c DATETIME NOT NULL DEFAULT datetime('now'),\n  d TEXT\n)";
        assert_eq!(
            repaired(broken).as_deref(),
            Some(
                "CREATE TABLE IF NOT EXISTS t (\n  a INTEGER,\n  b TEXT,\n  c DATETIME NOT NULL DEFAULT (datetime('now')),\n  \
                 d TEXT,\n  PRIMARY KEY (a, b)\n)"
            )
        );
        for other in [
            "INSERT INTO t VALUES (1,\n2)",
            "CREATE TABLE t (a)",
            "",
            "CREATE VIEW v AS (\nSELECT 1)",
        ] {
            assert_eq!(repaired(other), None, "{other}");
        }
    }
}
