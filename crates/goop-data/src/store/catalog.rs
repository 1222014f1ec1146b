//! What is known of the tables: registered ones with their columns, schemas and rules.

use std::collections::BTreeMap;

use sqlx::{Row, SqliteConnection};

use crate::DataError;
use crate::access::Rules;
use crate::query::SourceColumn;
use crate::schema::Schema;

/// Columns of `_groups` that others see: what a group is, not who may what in it (groups.md, weak point 1).
pub(crate) const GROUPS_VIEW: &[&str] = &[
    "id",
    "name",
    "owner",
    "group_type",
    "group_context",
    "max_members",
    "created_at",
    "host_joined",
    "volatile",
];

/// Whether a table is typed.
#[derive(Debug, Clone, PartialEq)]
pub enum TableKind {
    /// Columns as SQL has them.
    Classic,
    /// A stored schema; one that cannot be read is taken for none, and everything of visitors is refused.
    Typed(Box<Schema>),
    /// There is a stored schema that cannot be read.
    Unreadable,
}

/// A column, as `PRAGMA table_info` tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ColumnInfo {
    /// Its place, from 0.
    pub cid: i64,
    /// Its name.
    pub name: String,
    /// Its declared type.
    pub kind: String,
    /// Whether it must have a value.
    pub not_null: bool,
    /// Its default, as SQL.
    pub default: Option<String>,
    /// Whether it is part of the primary key.
    pub primary: bool,
}

/// A registered table.
#[derive(Debug, Clone)]
pub struct Table {
    /// Its name, as registered.
    pub name: String,
    /// Policy for new rows where no schema says otherwise.
    pub insert_policy: String,
    /// When it was registered, as stored.
    pub created_at: String,
    /// Typed or classic.
    pub kind: TableKind,
    /// Its columns.
    pub columns: Vec<ColumnInfo>,
    /// Its columns, as questions see them.
    pub(crate) source: Vec<SourceColumn>,
    /// Who may what.
    pub rules: Rules,
}

impl Table {
    /// Its schema.
    #[must_use]
    pub fn schema(&self) -> Option<&Schema> {
        match &self.kind {
            TableKind::Typed(schema) => Some(schema),
            TableKind::Classic | TableKind::Unreadable => None,
        }
    }

    /// Whether it has a column of that exact name.
    #[must_use]
    pub fn has(&self, column: &str) -> bool {
        self.columns.iter().any(|known| known.name == column)
    }

    /// The exact name of a column, whatever its case.
    #[must_use]
    pub fn exact(&self, column: &str) -> Option<&str> {
        let found = self
            .columns
            .iter()
            .find(|known| known.name.eq_ignore_ascii_case(column))?;
        Some(&found.name)
    }
}

/// All tables.
#[derive(Debug, Clone, Default)]
pub struct Catalog {
    /// Registered tables by name.
    pub tables: BTreeMap<String, Table>,
    /// Columns of system tables by name.
    pub(crate) system: BTreeMap<String, Vec<SourceColumn>>,
    /// Columns of `_groups` that others see.
    pub(crate) groups_view: Vec<SourceColumn>,
    /// SQLite's own count of schema changes; grows with each.
    pub(crate) version: u64,
}

impl Catalog {
    /// A registered table. SQLite does not tell cases apart, so neither may the rules.
    #[must_use]
    pub fn table(&self, name: &str) -> Option<&Table> {
        self.tables.get(name).or_else(|| {
            self.tables
                .values()
                .find(|table| table.name.eq_ignore_ascii_case(name))
        })
    }

    /// Exact name and columns of a system table.
    pub(crate) fn system(&self, name: &str) -> Option<(&str, &[SourceColumn])> {
        let (name, columns) = self
            .system
            .iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(name))?;
        Some((name, columns))
    }

    /// Reads everything anew.
    pub(crate) async fn load(connection: &mut SqliteConnection) -> Result<Self, DataError> {
        use std::sync::atomic::{AtomicU64, Ordering};
        static LOADED: AtomicU64 = AtomicU64::new(0);
        let mut columns = all_columns(connection).await?;
        let mut schemas = stored_schemas(connection).await?;
        let registered = sqlx::query(
            "SELECT name, coalesce(insert_policy, ''), coalesce(created_at, '') FROM _tables ORDER BY name",
        )
        .fetch_all(&mut *connection)
        .await?;
        let mut tables = BTreeMap::new();
        for row in registered {
            let name: String = row.try_get(0)?;
            // A registered table that is not there, or whose name is ours, is nobody's.
            let exact = columns
                .keys()
                .find(|known| known.eq_ignore_ascii_case(&name))
                .cloned();
            let Some(exact) = exact.filter(|name| !crate::ident::is_reserved(name)) else {
                continue;
            };
            let columns = columns.remove(&exact).unwrap_or_default();
            let insert_policy: String = row.try_get(1)?;
            let kind = schemas.remove(&name).unwrap_or(TableKind::Classic);
            let rules = match &kind {
                TableKind::Typed(schema) => Rules::of(Some(schema), &insert_policy),
                TableKind::Classic => Rules::of(None, &insert_policy),
                TableKind::Unreadable => Rules::of(None, "local"),
            };
            tables.insert(
                exact.clone(),
                Table {
                    name: exact,
                    insert_policy,
                    created_at: row.try_get(2)?,
                    kind,
                    source: columns.iter().map(source_column).collect(),
                    columns,
                    rules,
                },
            );
        }
        let system: BTreeMap<String, Vec<SourceColumn>> = columns
            .into_iter()
            .filter(|(name, _)| name.starts_with('_'))
            .map(|(name, columns)| (name, columns.iter().map(source_column).collect()))
            .collect();
        let groups = system.get("_groups").cloned().unwrap_or_default();
        Ok(Self {
            tables,
            groups_view: groups
                .into_iter()
                .filter(|column| GROUPS_VIEW.contains(&column.name.as_str()))
                .collect(),
            system,
            version: LOADED.fetch_add(1, Ordering::Relaxed) + 1,
        })
    }
}

fn source_column(column: &ColumnInfo) -> SourceColumn {
    let date = ["DATE", "DATETIME", "TIMESTAMP"]
        .iter()
        .any(|kind| column.kind.eq_ignore_ascii_case(kind));
    SourceColumn {
        name: column.name.clone(),
        date,
    }
}

async fn all_columns(
    connection: &mut SqliteConnection,
) -> Result<BTreeMap<String, Vec<ColumnInfo>>, DataError> {
    // Only tables: a view would be read with the rights of whoever wrote it.
    let rows = sqlx::query(
        "SELECT t.name, c.cid, c.name, c.type, c.\"notnull\", c.dflt_value, c.pk \
         FROM sqlite_schema AS t JOIN pragma_table_info(t.name) AS c WHERE t.type = 'table' ORDER BY t.name, c.cid",
    )
    .fetch_all(connection)
    .await?;
    let mut tables: BTreeMap<String, Vec<ColumnInfo>> = BTreeMap::new();
    for row in rows {
        tables.entry(row.try_get(0)?).or_default().push(ColumnInfo {
            cid: row.try_get(1)?,
            name: row.try_get(2)?,
            kind: row.try_get(3)?,
            not_null: row.try_get::<i64, _>(4)? != 0,
            default: row.try_get(5)?,
            primary: row.try_get::<i64, _>(6)? != 0,
        });
    }
    Ok(tables)
}

async fn stored_schemas(
    connection: &mut SqliteConnection,
) -> Result<BTreeMap<String, TableKind>, DataError> {
    let rows = sqlx::query("SELECT table_name, schema_json FROM _orm_schemas")
        .fetch_all(connection)
        .await?;
    let mut schemas = BTreeMap::new();
    for row in rows {
        let name: String = row.try_get(0)?;
        let text: String = row.try_get(1)?;
        let kind = Schema::from_json(text.as_bytes()).map_or_else(
            |error| {
                tracing::warn!(table = name, %error, "a stored schema cannot be read; its table is closed to others");
                TableKind::Unreadable
            },
            |schema| TableKind::Typed(Box::new(schema)),
        );
        schemas.insert(name, kind);
    }
    Ok(schemas)
}
