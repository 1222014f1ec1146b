//! `/api/data/*`: the owner's own front (viewer-api.md 9), whose answers differ in small things from the protocol's.

use std::collections::BTreeMap;

use serde_json::{Map, Value as Json, json};

use crate::DataError;
use crate::answer::Answer;
use crate::caller::{Caller, Data};
use crate::execute::need;
use crate::ident::quoted;
use crate::request::{Op, Request, folded};
use crate::schema::{Access, Column, Permissions, Schema};
use crate::store::WRITE_DEADLINE;
use crate::tables::{ColumnDef, owner_only};

/// Most rows of `insert-many`.
pub const MAX_MANY: usize = 10_000;

/// What is posted.
struct Body(Map<String, Json>);

impl Body {
    fn read(bytes: &[u8]) -> Result<Self, DataError> {
        if bytes.trim_ascii().is_empty() {
            return Ok(Self(Map::new()));
        }
        let members = serde_json::from_slice(bytes);
        members
            .map(|members| Self(folded(members)))
            .map_err(invalid)
    }

    fn text(&self, name: &str) -> Result<String, DataError> {
        self.get(name)
    }

    fn get<T: serde::de::DeserializeOwned + Default>(&self, name: &str) -> Result<T, DataError> {
        self.0.get(name).map_or_else(
            || Ok(T::default()),
            |value| serde_json::from_value(value.clone()).map_err(invalid),
        )
    }

    fn whole<T: serde::de::DeserializeOwned>(&self) -> Result<T, DataError> {
        serde_json::from_value(Json::Object(self.0.clone())).map_err(invalid)
    }
}

#[allow(clippy::needless_pass_by_value)] // for `map_err`
fn invalid(error: serde_json::Error) -> DataError {
    DataError::BadRequest(format!("invalid json: {error}"))
}

impl Data {
    /// Answers `/api/data/<suffix>`. `GET` routes have an empty body.
    ///
    /// # Errors
    /// Why it was not done; [`DataError::status`] is the status.
    pub async fn direct(
        &self,
        caller: &Caller,
        suffix: &str,
        body: &[u8],
    ) -> Result<Answer, DataError> {
        owner_only(caller)?;
        match suffix.split_once('/') {
            None => self.direct_rows(caller, suffix, &Body::read(body)?).await,
            Some(("tables", rest)) => self
                .direct_tables(caller, rest, &Body::read(body)?)
                .await
                .map(Answer::from),
            Some(("schemas", rest)) => self
                .direct_schemas(caller, rest, &Body::read(body)?)
                .await
                .map(Answer::from),
            Some(_) => Err(unknown()),
        }
    }

    async fn direct_rows(
        &self,
        caller: &Caller,
        suffix: &str,
        body: &Body,
    ) -> Result<Answer, DataError> {
        match suffix {
            "tables" => return Ok(self.tables_with_mode(caller).into()),
            "orm-schema" => return Ok(self.schemas(caller).into()),
            "schemas" => return self.schema_files(caller).await.map(Answer::from),
            "insert-many" => {
                return self
                    .direct_insert_many(caller, body)
                    .await
                    .map(Answer::from);
            }
            "console" => {
                let (sql, args) = (body.text("sql")?, body.get::<Vec<Json>>("args")?);
                return self
                    .console_page(caller, &sql, &args)
                    .await
                    .map(Answer::from);
            }
            _ => {}
        }
        let op = match suffix {
            "find" => Op::Query,
            "find-one" | "get-by" => Op::QueryOne,
            "query" | "exists" | "count" | "pluck" | "distinct" | "aggregate" | "insert"
            | "update" | "delete" | "update-where" | "delete-where" | "upsert" | "role" => {
                Op::of(suffix).ok_or_else(unknown)?
            }
            _ => return Err(unknown()),
        };
        let mut request: Request = body.whole()?;
        request.op = op.word().to_owned();
        let column = request.one_column().to_owned();
        let both =
            |text: &'static str, other: &str| need(&request.table, text).and(need(other, text));
        match suffix {
            "get-by" => both("table and column required", &column)?,
            "pluck" | "distinct" => both("table and column required", &column)?,
            "aggregate" => both("table and expr required", &request.expr)?,
            "update-where" | "delete-where" => {
                both("table and where clause required", &request.filter)?
            }
            "upsert" => both("table and key_col required", &request.key_col)?,
            "role" => {
                need(&request.table, "table name required")?;
                let all = json!({"delete": true, "insert": true, "read": true, "update": true});
                return Ok(json!({"permissions": all, "role": "owner"}).into());
            }
            "find" => {
                need(&request.table, "table name required")?;
                return self.find(caller, &request.find()).await;
            }
            // The Go program leaves the order of these out; a page that names one wants it.
            _ => need(&request.table, "table name required")?,
        }
        if suffix == "get-by" {
            request.filter = format!("{} = ?", quoted(&column));
            request.args = vec![body.get("value")?];
        }
        self.execute(caller, &request).await
    }

    /// Adds rows as one change: what a spreadsheet or a file gives.
    async fn direct_insert_many(&self, caller: &Caller, body: &Body) -> Result<Json, DataError> {
        let (table, rows) = (
            body.text("table")?,
            body.get::<Vec<Map<String, Json>>>("rows")?,
        );
        need(&table, "table name required")?;
        if rows.is_empty() || rows.len() > MAX_MANY {
            return Err(DataError::BadRequest(format!(
                "1 to {MAX_MANY} rows are added at once"
            )));
        }
        let mut rows = rows.into_iter();
        let next = move || Ok(rows.next());
        let done = self
            .insert_all(caller, &table, next, WRITE_DEADLINE)
            .await?;
        Ok(
            json!({"status": "inserted", "count": done.rows, "first": done.first, "last": done.last}),
        )
    }

    async fn direct_tables(
        &self,
        caller: &Caller,
        suffix: &str,
        body: &Body,
    ) -> Result<Json, DataError> {
        let table = body.text("table")?;
        match suffix {
            "create" => return self.direct_create(caller, body).await,
            "describe" => return self.describe(caller, &table),
            "delete" => {
                self.delete_table(caller, &table).await?;
                return Ok(json!({"status": "deleted", "table": table}));
            }
            "rename" => {
                let (old, new) = (body.text("old_name")?, body.text("new_name")?);
                self.rename_table(caller, &old, &new).await?;
                return Ok(json!({"new_name": new, "status": "renamed"}));
            }
            "add-column" => {
                let column: ColumnDef = body.get("column")?;
                need(&table, "table and column name required")?;
                need(&column.name, "table and column name required")?;
                self.add_column(caller, &table, &column).await?;
                return Ok(json!({"status": "added"}));
            }
            "drop-column" => {
                let column = body.text("column")?;
                need(&table, "table and column name required")?;
                need(&column, "table and column name required")?;
                self.drop_column(caller, &table, &column).await?;
                return Ok(json!({"status": "dropped"}));
            }
            "set-policy" => {
                let policy = body.text("policy")?;
                self.set_policy(caller, &table, &policy).await?;
                return Ok(json!({"policy": policy, "status": "updated"}));
            }
            "export-schema" => return Ok(self.export_schema(caller, &table)?.to_json()),
            "rights" => {
                let access: Option<Access> = body.get("access")?;
                let roles: Option<BTreeMap<String, Permissions>> = body.get("roles")?;
                return self.rights(caller, &table, access, roles);
            }
            _ => {}
        }
        Err(unknown())
    }

    async fn direct_create(&self, caller: &Caller, body: &Body) -> Result<Json, DataError> {
        let name = body.text("name")?;
        need(&name, "table name required")?;
        let columns = match body.0.get("columns") {
            None => Vec::new(),
            Some(Json::Array(columns)) => columns.clone(),
            Some(_) => return Err(columns_format()),
        };
        if columns.is_empty() {
            return Err(DataError::Required("at least one column required"));
        }
        let says = |column: &Json, word: &str| column.get(word) == Some(&Json::Bool(true));
        let typed = columns.iter().any(|column| {
            ["key", "required", "auto"]
                .iter()
                .any(|word| says(column, word))
        });
        let mode = if typed {
            let columns = columns
                .into_iter()
                .map(serde_json::from_value)
                .collect::<Result<Vec<Column>, _>>();
            let columns = columns.map_err(|_| columns_format())?;
            self.create_typed(
                caller,
                &Schema {
                    name: name.clone(),
                    columns,
                    ..Schema::default()
                },
            )
            .await?;
            "orm"
        } else {
            let columns = columns
                .into_iter()
                .map(serde_json::from_value)
                .collect::<Result<Vec<ColumnDef>, _>>();
            self.create_classic(caller, &name, &columns.map_err(|_| columns_format())?)
                .await?;
            "classic"
        };
        Ok(json!({"mode": mode, "status": "created", "table": name}))
    }

    async fn direct_schemas(
        &self,
        caller: &Caller,
        suffix: &str,
        body: &Body,
    ) -> Result<Json, DataError> {
        let name = body.text("name")?;
        match suffix {
            "get" => Ok(self.schema(caller, &name).await?.to_json()),
            "save" => {
                self.save_schema(caller, body.whole()?).await?;
                Ok(json!({"name": name, "status": "saved"}))
            }
            "delete" => {
                self.delete_schema(caller, &name).await?;
                Ok(json!({"status": "deleted"}))
            }
            "apply" => {
                self.apply_schema(caller, &name).await?;
                Ok(json!({"status": "created", "table": name}))
            }
            "set-context" => {
                let context: bool = body.get("context")?;
                self.set_context(caller, &name, context).await?;
                Ok(json!({"context": context, "status": "updated"}))
            }
            "set-access" => {
                let access: Access = body.get("access")?;
                self.set_access(caller, &name, access.clone()).await?;
                Ok(json!({"access": access, "status": "updated"}))
            }
            "set-roles" => {
                let roles: BTreeMap<String, Permissions> = body.get("roles")?;
                self.set_roles(caller, &name, roles.clone()).await?;
                Ok(json!({"roles": roles, "status": "updated"}))
            }
            "ddl" => {
                let schema: Schema = body.whole()?;
                if schema.name.is_empty() || schema.columns.is_empty() {
                    return Err(DataError::Required("name and columns required"));
                }
                Ok(json!({"ddl": schema.create_statement()}))
            }
            _ => Err(unknown()),
        }
    }
}

fn columns_format() -> DataError {
    DataError::BadRequest("invalid columns format".to_owned())
}

fn unknown() -> DataError {
    DataError::NotFound("unknown data operation".to_owned())
}
