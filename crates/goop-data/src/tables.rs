//! Making and changing tables: the table, its registry row, its stored schema and its schema file go together
//! (storage.md 7).

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json, json};
use sqlx::{AssertSqlSafe, SqliteConnection};

use crate::access::Standing;
use crate::caller::{Caller, CallerKind, Data};
use crate::definition;
use crate::ident::{quoted, user_column_name, user_table_name};
use crate::schema::{Column, MAX_COLUMNS, Schema, create_table};
use crate::schema_files;
use crate::store::{Table, TableKind};
use crate::{DataError, moment};

/// A column as SQL has it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ColumnDef {
    /// Its name.
    pub name: String,
    /// Its SQL type.
    #[serde(rename = "type")]
    pub kind: String,
    /// Whether it must have a value.
    pub not_null: bool,
    /// Its default, as SQL; none where it is empty.
    pub default: String,
}

/// What others are told who would change tables.
const NOT_YOURS: &str = "schema operations not allowed for remote peers";

pub(crate) fn owner_only(caller: &Caller) -> Result<(), DataError> {
    if caller.kind == CallerKind::Owner {
        Ok(())
    } else {
        Err(DataError::Refused(NOT_YOURS.to_owned()))
    }
}

impl Data {
    /// `[{"name","insert_policy","created_at"}]` of the tables the caller may read, or `null`.
    #[must_use]
    pub fn tables(&self, caller: &Caller) -> Json {
        let listed = self.visible(caller, |table| {
            json!({
                "name": table.name,
                "insert_policy": table.insert_policy,
                "created_at": moment::rfc3339_of(&table.created_at),
            })
        });
        if listed.is_empty() {
            Json::Null
        } else {
            Json::Array(listed)
        }
    }

    /// The owner's listing, with `mode`.
    #[must_use]
    pub fn tables_with_mode(&self, caller: &Caller) -> Json {
        Json::Array(self.visible(caller, |table| {
            let typed = table.kind != TableKind::Classic;
            let policy = match table.schema().and_then(|schema| schema.access.as_ref()) {
                Some(access) => &access.insert,
                None => &table.insert_policy,
            };
            json!({
                "name": table.name,
                "insert_policy": policy,
                "created_at": moment::rfc3339_of(&table.created_at),
                "mode": if typed { "orm" } else { "classic" },
            })
        }))
    }

    fn visible(&self, caller: &Caller, row: impl Fn(&Table) -> Json) -> Vec<Json> {
        let standing = self.standing(caller);
        let catalog = self.database.catalog();
        let visible = catalog
            .tables
            .values()
            .filter(|table| self.is_visible(&standing, table));
        visible.map(row).collect()
    }

    /// Schemas of the typed tables the caller may read, by name.
    #[must_use]
    pub fn schemas(&self, caller: &Caller) -> Json {
        let standing = self.standing(caller);
        let catalog = self.database.catalog();
        let visible = catalog
            .tables
            .values()
            .filter(|table| self.is_visible(&standing, table));
        let schemas =
            visible.filter_map(|table| Some((table.name.clone(), table.schema()?.to_json())));
        Json::Object(schemas.collect::<Map<_, _>>())
    }

    /// Schema or columns of a table. One that the caller may not know of looks like one that is not there.
    ///
    /// # Errors
    /// No name was given.
    pub fn describe(&self, caller: &Caller, name: &str) -> Result<Json, DataError> {
        if name.is_empty() {
            return Err(DataError::Required("table name required"));
        }
        crate::ident::table_name(name)?;
        let standing = self.standing(caller);
        let catalog = self.database.catalog();
        let table = catalog
            .table(name)
            .filter(|table| self.is_visible(&standing, table));
        Ok(match table {
            None => json!({"columns": null, "mode": "classic"}),
            Some(table) => match table.schema() {
                Some(schema) => json!({"mode": "orm", "schema": schema.to_json()}),
                None => json!({"columns": columns_json(table), "mode": "classic"}),
            },
        })
    }

    /// `{"permissions","role"}`: what the caller is for this table.
    ///
    /// # Errors
    /// No name was given.
    pub fn role(&self, caller: &Caller, name: &str) -> Result<Json, DataError> {
        use crate::access::{Membership, permissions};
        if name.is_empty() {
            return Err(DataError::Required("table name required"));
        }
        let catalog = self.database.catalog();
        let roles = catalog
            .table(name)
            .and_then(|table| table.rules.roles.clone());
        let role = match self.standing(caller) {
            Standing::Owner => "owner".to_owned(),
            Standing::Visitor(Membership::Role(role)) => role,
            Standing::Script | Standing::Visitor(_) => String::new(),
        };
        let granted = roles.filter(|_| !role.is_empty()).map(|roles| {
            let may = permissions(&roles, &role);
            json!({"delete": may.delete, "insert": may.insert, "read": may.read, "update": may.update})
        });
        Ok(json!({"permissions": granted, "role": role}))
    }

    /// Makes a classic table.
    ///
    /// # Errors
    /// The name is taken, or a definition is not one.
    pub async fn create_classic(
        &self,
        caller: &Caller,
        name: &str,
        columns: &[ColumnDef],
    ) -> Result<(), DataError> {
        owner_only(caller)?;
        self.free_name(name)?;
        if columns.is_empty() {
            return Err(DataError::Required("at least one column required"));
        }
        if columns.len() > MAX_COLUMNS {
            return Err(DataError::invalid(format!(
                "more than {MAX_COLUMNS} columns"
            )));
        }
        let columns = columns
            .iter()
            .map(definition::column)
            .collect::<Result<Vec<String>, DataError>>()?;
        let statement = create_table(name, columns.into_iter());
        let name = name.to_owned();
        self.database
            .write_tables(move |connection| {
                Box::pin(async move { register(connection, &name, statement).await })
            })
            .await
    }

    /// Makes a typed table, with a unique index over its key.
    ///
    /// # Errors
    /// The name is taken, or the schema is not valid.
    pub async fn create_typed(&self, caller: &Caller, schema: &Schema) -> Result<(), DataError> {
        owner_only(caller)?;
        schema.validate()?;
        self.free_name(&schema.name)?;
        schema.validate_names()?;
        let schema = schema.clone();
        self.database
            .write_tables(move |connection| {
                Box::pin(async move {
                    register(connection, &schema.name, schema.create_statement()).await?;
                    index_keys(connection, &schema).await?;
                    store_schema(connection, &schema).await
                })
            })
            .await
    }

    fn free_name(&self, name: &str) -> Result<(), DataError> {
        if name.is_empty() {
            return Err(DataError::Required("table name required"));
        }
        user_table_name(name)?;
        if self.database.catalog().table(name).is_some() {
            return Err(DataError::invalid(format!("table {name:?} already exists")));
        }
        Ok(())
    }

    /// Adds a column, to the stored schema too.
    ///
    /// # Errors
    /// There is no such table, the column is there, or its definition is not one.
    pub async fn add_column(
        &self,
        caller: &Caller,
        table: &str,
        column: &ColumnDef,
    ) -> Result<(), DataError> {
        owner_only(caller)?;
        user_table_name(table)?;
        let text = definition::added_column(column)?;
        let catalog = self.database.catalog();
        let known = catalog
            .table(table)
            .ok_or_else(|| DataError::no_table(table))?;
        let schema = known.schema().map(|schema| {
            let mut schema = schema.clone();
            schema.columns.push(Column {
                name: column.name.clone(),
                kind: definition::schema_type(&column.kind),
                required: column.not_null,
                default: definition::default_json(column),
                ..Column::default()
            });
            schema
        });
        let alter = format!("ALTER TABLE {} ADD COLUMN {text}", quoted(&known.name));
        self.alter(vec![alter], schema).await
    }

    /// Takes a column away, from the stored schema too.
    ///
    /// # Errors
    /// There is no such table or column, or the column is one of the system's.
    pub async fn drop_column(
        &self,
        caller: &Caller,
        table: &str,
        column: &str,
    ) -> Result<(), DataError> {
        owner_only(caller)?;
        user_table_name(table)?;
        user_column_name(column)?;
        let catalog = self.database.catalog();
        let known = catalog
            .table(table)
            .ok_or_else(|| DataError::no_table(table))?;
        let exact = known
            .exact(column)
            .ok_or_else(|| DataError::logic(format!("no such column: \"{column}\"")))?;
        let mut statements = Vec::new();
        let schema = known.schema().map(|schema| {
            let mut schema = schema.clone();
            if schema.column(exact).is_some_and(|column| column.key) {
                // The index would keep its column.
                statements.push(format!(
                    "DROP INDEX IF EXISTS {}",
                    quoted(&key_index(&known.name))
                ));
            }
            schema.columns.retain(|column| column.name != exact);
            let keyless = schema.keys().next().is_none();
            schema.system_key |= keyless;
            schema
        });
        statements.push(format!(
            "ALTER TABLE {} DROP COLUMN {}",
            quoted(&known.name),
            quoted(exact)
        ));
        self.alter(statements, schema).await
    }

    async fn alter(
        &self,
        statements: Vec<String>,
        schema: Option<Schema>,
    ) -> Result<(), DataError> {
        self.database
            .write_tables(move |connection| {
                Box::pin(async move {
                    for statement in statements {
                        run(connection, statement).await?;
                    }
                    match schema {
                        Some(schema) => {
                            store_schema(connection, &schema).await?;
                            schema_files::note(connection, &[&schema.name], &[]).await
                        }
                        None => Ok(()),
                    }
                })
            })
            .await?;
        self.database.finish_schema_files().await
    }

    /// Renames a table with everything that names it.
    ///
    /// # Errors
    /// There is no such table, or the new name is taken.
    pub async fn rename_table(
        &self,
        caller: &Caller,
        old: &str,
        new: &str,
    ) -> Result<(), DataError> {
        owner_only(caller)?;
        if old.is_empty() || new.is_empty() {
            return Err(DataError::Required("old and new name required"));
        }
        user_table_name(old)?;
        user_table_name(new)?;
        let catalog = self.database.catalog();
        let known = catalog
            .table(old)
            .ok_or_else(|| DataError::no_table(old).while_doing("rename table"))?;
        let (old, new) = (known.name.clone(), new.to_owned());
        let schema = known.schema().map(|schema| Schema {
            name: new.clone(),
            ..schema.clone()
        });
        self.database
            .write_tables(move |connection| {
                Box::pin(async move {
                    let indexed = has_index(connection, &key_index(&old)).await?;
                    run(
                        connection,
                        format!("DROP INDEX IF EXISTS {}", quoted(&key_index(&old))),
                    )
                    .await?;
                    let alter = format!("ALTER TABLE {} RENAME TO {}", quoted(&old), quoted(&new));
                    run(connection, alter)
                        .await
                        .map_err(|error| error.while_doing("rename table"))?;
                    bound(
                        connection,
                        "DELETE FROM _tables WHERE name = ?2 AND name <> ?1",
                        &[&old, &new],
                    )
                    .await?;
                    bound(
                        connection,
                        "UPDATE _tables SET name = ?2 WHERE name = ?1",
                        &[&old, &new],
                    )
                    .await?;
                    bound(
                        connection,
                        "DELETE FROM _orm_schemas WHERE table_name = ?",
                        &[&old],
                    )
                    .await?;
                    if let Some(schema) = schema {
                        if indexed {
                            index_keys(connection, &schema).await?;
                        }
                        store_schema(connection, &schema).await?;
                        schema_files::note(connection, &[&new], &[&old]).await?;
                    }
                    template_tables(connection, |name| {
                        Some(if name == old {
                            new.clone()
                        } else {
                            name.to_owned()
                        })
                    })
                    .await
                })
            })
            .await?;
        self.database.finish_schema_files().await
    }

    /// Deletes a table with its rows. A name that is not registered is no error. The schema file stays: the editor may
    /// make the table anew from it.
    ///
    /// # Errors
    /// The name is not one of the owner's tables.
    pub async fn delete_table(&self, caller: &Caller, name: &str) -> Result<(), DataError> {
        owner_only(caller)?;
        if name.is_empty() {
            return Err(DataError::Required("table name required"));
        }
        user_table_name(name)?;
        let exact = self
            .database
            .catalog()
            .table(name)
            .map_or_else(|| name.to_owned(), |table| table.name.clone());
        self.database
            .write_tables(move |connection| {
                Box::pin(async move {
                    run(
                        connection,
                        format!("DROP TABLE IF EXISTS {}", quoted(&exact)),
                    )
                    .await?;
                    bound(connection, "DELETE FROM _tables WHERE name = ?", &[&exact]).await?;
                    bound(
                        connection,
                        "DELETE FROM _orm_schemas WHERE table_name = ?",
                        &[&exact],
                    )
                    .await?;
                    template_tables(connection, |name| (name != exact).then(|| name.to_owned()))
                        .await
                })
            })
            .await
    }

    /// Sets who may add rows: in the stored schema of a typed table, in the registry for a classic one.
    ///
    /// # Errors
    /// There is no such table, or no such policy.
    pub async fn set_policy(
        &self,
        caller: &Caller,
        table: &str,
        policy: &str,
    ) -> Result<(), DataError> {
        owner_only(caller)?;
        if table.is_empty() {
            return Err(DataError::Required("table name required"));
        }
        if !matches!(policy, "owner" | "open" | "group" | "local") {
            return Err(DataError::BadRequest(
                "policy must be owner, open, group, or local".to_owned(),
            ));
        }
        let catalog = self.database.catalog();
        let known = catalog
            .table(table)
            .ok_or_else(|| DataError::no_table(table))?;
        if let Some(schema) = known.schema() {
            let mut schema = schema.clone();
            let mut access = known.rules.access.clone();
            access.insert = policy.to_owned();
            schema.access = Some(access);
            return self.alter(Vec::new(), Some(schema)).await;
        }
        let (name, policy) = (known.name.clone(), policy.to_owned());
        self.database
            .write_tables(move |connection| {
                Box::pin(async move {
                    bound(
                        connection,
                        "UPDATE _tables SET insert_policy = ?2 WHERE name = ?1",
                        &[&name, &policy],
                    )
                    .await
                })
            })
            .await
    }

    /// The schema of a table; a classic one is described by its columns (storage.md 12).
    ///
    /// # Errors
    /// There is no such table.
    pub fn export_schema(&self, caller: &Caller, table: &str) -> Result<Schema, DataError> {
        owner_only(caller)?;
        if table.is_empty() {
            return Err(DataError::Required("table name required"));
        }
        let catalog = self.database.catalog();
        let known = catalog.table(table).ok_or_else(|| {
            DataError::invalid(format!(
                "schema: table {table:?} not found or has no columns"
            ))
        })?;
        Ok(known
            .schema()
            .cloned()
            .unwrap_or_else(|| definition::schema_of(known)))
    }
}

/// The unique index over a typed table's key.
fn key_index(table: &str) -> String {
    format!("_key_{table}")
}

pub(crate) async fn index_keys(
    connection: &mut SqliteConnection,
    schema: &Schema,
) -> Result<(), DataError> {
    let keys: Vec<String> = schema.keys().map(|column| quoted(&column.name)).collect();
    if keys.is_empty() {
        return Ok(());
    }
    let (index, table) = (quoted(&key_index(&schema.name)), quoted(&schema.name));
    run(
        connection,
        format!(
            "CREATE UNIQUE INDEX {index} ON {table} ({})",
            keys.join(", ")
        ),
    )
    .await
}

async fn has_index(connection: &mut SqliteConnection, name: &str) -> Result<bool, DataError> {
    let sql = "SELECT count(*) FROM sqlite_schema WHERE type = 'index' AND name = ?";
    let found: i64 = sqlx::query_scalar(sql)
        .bind(name.to_owned())
        .fetch_one(connection)
        .await?;
    Ok(found > 0)
}

fn columns_json(table: &Table) -> Json {
    let columns = table.columns.iter().map(|column| {
        json!({
            "cid": column.cid,
            "name": column.name,
            "type": column.kind,
            "not_null": column.not_null,
            "default": column.default,
            "pk": column.primary,
        })
    });
    columns.collect()
}

pub(crate) async fn run(connection: &mut SqliteConnection, sql: String) -> Result<(), DataError> {
    // Made of quoted names and checked definitions alone.
    sqlx::query(AssertSqlSafe(sql)).execute(connection).await?;
    Ok(())
}

pub(crate) async fn bound(
    connection: &mut SqliteConnection,
    sql: &'static str,
    values: &[&str],
) -> Result<(), DataError> {
    let mut query = sqlx::query(sql);
    for value in values {
        query = query.bind((*value).to_owned());
    }
    query.execute(connection).await?;
    Ok(())
}

async fn register(
    connection: &mut SqliteConnection,
    name: &str,
    statement: String,
) -> Result<(), DataError> {
    run(connection, statement.clone())
        .await
        .map_err(|error| error.while_doing("create table"))?;
    let sql = "INSERT OR REPLACE INTO _tables (name, schema) VALUES (?, ?)";
    bound(connection, sql, &[name, &statement]).await
}

pub(crate) async fn store_schema(
    connection: &mut SqliteConnection,
    schema: &Schema,
) -> Result<(), DataError> {
    let sql = "INSERT INTO _orm_schemas (table_name, schema_json) VALUES (?, ?) \
               ON CONFLICT (table_name) DO UPDATE SET schema_json = excluded.schema_json";
    bound(
        connection,
        sql,
        &[&schema.name, &schema.to_json().to_string()],
    )
    .await
}

/// Keeps the list of the template's tables in step.
pub(crate) async fn template_tables(
    connection: &mut SqliteConnection,
    rename: impl Fn(&str) -> Option<String>,
) -> Result<(), DataError> {
    let sql = "SELECT value FROM _meta WHERE key = 'template_tables'";
    let listed: Option<Option<String>> = sqlx::query_scalar(sql)
        .fetch_optional(&mut *connection)
        .await?;
    let Some(listed) = listed.flatten().filter(|listed| !listed.is_empty()) else {
        return Ok(());
    };
    let renamed: Vec<String> = listed.split(',').filter_map(rename).collect();
    let sql = "UPDATE _meta SET value = ? WHERE key = 'template_tables'";
    bound(connection, sql, &[&renamed.join(",")]).await
}
