//! Operations that change rows (storage.md 8 and 9). All front ends come through here: made values, checks, rights.

use std::time::Duration;

use serde_json::{Value as Json, json};
use sqlx::{AssertSqlSafe, Row as _, SqliteConnection};
use time::OffsetDateTime;

use crate::access::Operation;
use crate::caller::{Caller, CallerKind, Data, Reach};
use crate::check::{Data as Row, check_insert, check_update, counters, fill};
use crate::ident::{column_name, quoted};
use crate::query::{Statement, change};
use crate::reading::{Find, values};
use crate::store::{Job, Limits, Table, WRITE_DEADLINE};
use crate::value::{Value, arguments};
use crate::{DataError, moment};

impl Caller {
    /// How long one change of theirs may take.
    fn within(&self) -> Duration {
        match self.kind {
            CallerKind::Owner => WRITE_DEADLINE,
            CallerKind::Script | CallerKind::Visitor => Limits::VISITOR.time,
        }
    }
}

/// Exact columns and values of a row that comes in.
fn columns(
    caller: &Caller,
    table: &Table,
    data: &Row,
    first: usize,
    unknown: impl Fn(&str) -> DataError,
) -> Result<Vec<(String, Value)>, DataError> {
    let mut columns: Vec<(String, Value)> = Vec::with_capacity(data.len());
    for (index, (name, value)) in data.iter().enumerate() {
        column_name(name)?;
        // `_owner`, `_id` and the like are ours: a visitor could otherwise give rows to anybody.
        let ours = name.starts_with('_');
        #[cfg(feature = "weakened")]
        let ours = ours && !crate::weakened::is(crate::weakened::Weakness::Columns);
        if ours && caller.kind == CallerKind::Visitor {
            return Err(DataError::invalid(format!("invalid column name: {name}")));
        }
        let exact = table.exact(name).ok_or_else(|| unknown(name))?;
        let value = Value::from_json(value, first + index)?;
        if columns.iter().any(|(known, _)| known == exact) {
            return Err(DataError::invalid(format!("column {exact} is given twice")));
        }
        columns.push((exact.to_owned(), value));
    }
    Ok(columns)
}

/// A row on its way into a table.
struct Fresh {
    table: String,
    columns: Vec<(String, Value)>,
    /// Columns that get their next number.
    counters: Vec<String>,
}

/// Rows that were added as one change; the `_id`s of those that named none follow each other.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Inserted {
    pub(crate) rows: u64,
    pub(crate) first: i64,
    pub(crate) last: i64,
}

/// The affected rows, in the forms of the answers.
fn affected(count: u64) -> Json {
    json!({"affected": count})
}

impl Data {
    fn writable<'r>(reach: &'r Reach, name: &str) -> Result<&'r Table, DataError> {
        reach.table().ok_or_else(|| DataError::no_table(name))
    }

    fn fresh(caller: &Caller, table: &Table, mut data: Row) -> Result<Fresh, DataError> {
        data.keys().try_for_each(|name| column_name(name))?;
        let mut missing = Vec::new();
        if let Some(schema) = table.schema() {
            fill(schema, &mut data, OffsetDateTime::now_utc());
            missing = counters(schema, &data)
                .into_iter()
                .map(str::to_owned)
                .collect();
            check_insert(schema, &data)?;
        }
        // Their place is taken by what they count to.
        for name in &missing {
            data.remove(name);
        }
        for ours in ["_owner", "_owner_email"] {
            if caller.kind != CallerKind::Visitor {
                data.remove(ours);
            }
        }
        let unknown = |name: &str| {
            DataError::logic(format!("table {} has no column named {name}", table.name))
        };
        let mut columns = columns(caller, table, &data, 3, unknown)?;
        for (name, value) in [("_owner", &caller.id), ("_owner_email", &caller.email)] {
            if table.has(name) {
                columns.push((name.to_owned(), Value::Text(value.clone())));
            }
        }
        Ok(Fresh {
            table: table.name.clone(),
            columns,
            counters: missing,
        })
    }

    /// Adds a row and answers its `_id`.
    ///
    /// # Errors
    /// Not the caller's to do, or the row does not fit.
    pub async fn insert(&self, caller: &Caller, table: &str, data: Row) -> Result<i64, DataError> {
        let reach = self.reach(caller, table, Operation::Insert)?;
        let fresh = Self::fresh(caller, Self::writable(&reach, table)?, data)?;
        // Looking for the next number may read the whole table.
        let job = if fresh.counters.is_empty() {
            Job::Shared
        } else {
            Job::Alone(caller.within())
        };
        self.database
            .write(job, move |connection| {
                Box::pin(async move { put(connection, fresh).await })
            })
            .await
    }

    /// Adds rows as one change, and answers how many. `next` gives them one by one while the change is made, so it must
    /// not wait for anybody.
    ///
    /// # Errors
    /// As [`Data::insert`], or what `next` says; then none of them is there.
    pub(crate) async fn insert_all(
        &self,
        caller: &Caller,
        table: &str,
        mut next: impl FnMut() -> Result<Option<Row>, DataError> + Send + 'static,
        within: Duration,
    ) -> Result<Inserted, DataError> {
        let reach = self.reach(caller, table, Operation::Insert)?;
        Self::writable(&reach, table)?;
        let (caller, name) = (caller.clone(), table.to_owned());
        self.database
            .write(Job::Alone(within), move |connection| {
                Box::pin(async move {
                    let table = Self::writable(&reach, &name)?;
                    let mut counted = Counted::default();
                    let mut done = Inserted::default();
                    while let Some(row) = next()? {
                        let fresh = Self::fresh(&caller, table, row);
                        let fresh = counted.count(connection, fresh?).await?;
                        done.last = put(connection, fresh).await?;
                        if done.rows == 0 {
                            done.first = done.last;
                        }
                        done.rows += 1;
                    }
                    Ok(done)
                })
            })
            .await
    }

    /// Changes a row.
    ///
    /// # Errors
    /// Not the caller's to do, or the values do not fit. No such row is an error only where the caller may change their
    /// own rows alone.
    pub async fn update(
        &self,
        caller: &Caller,
        table: &str,
        id: i64,
        data: &Row,
    ) -> Result<(), DataError> {
        let reach = self.reach(caller, table, Operation::Update)?;
        if id <= 0 {
            return Err(DataError::Required("valid row id required"));
        }
        let set = Self::settings(caller, Self::writable(&reach, table)?, data)?;
        let statement = self.one_row(&reach, Some(&set), id)?;
        let done = self.run(Job::Shared, statement).await?;
        found(done, &reach)
    }

    /// Deletes a row.
    ///
    /// # Errors
    /// As [`Data::update`].
    pub async fn delete(&self, caller: &Caller, table: &str, id: i64) -> Result<(), DataError> {
        let reach = self.reach(caller, table, Operation::Delete)?;
        if id <= 0 {
            return Err(DataError::Required("valid row id required"));
        }
        Self::writable(&reach, table)?;
        let statement = self.one_row(&reach, None, id)?;
        let done = self.run(Job::Shared, statement).await?;
        found(done, &reach)
    }

    /// Changes all rows that fit; answers `{"affected":n}`.
    ///
    /// # Errors
    /// Not the caller's to do, or something does not fit. Who may not read rows may not choose them either: the count
    /// would tell what is in them.
    pub async fn update_where(
        &self,
        caller: &Caller,
        find: &Find,
        data: &Row,
    ) -> Result<Json, DataError> {
        let reach = self.reach(caller, &find.table, Operation::Update)?;
        let set = Self::settings(caller, Self::writable(&reach, &find.table)?, data)?;
        self.many_rows(caller, &reach, Some(&set), find).await
    }

    /// Deletes all rows that fit; answers `{"affected":n}`.
    ///
    /// # Errors
    /// As [`Data::update_where`].
    pub async fn delete_where(&self, caller: &Caller, find: &Find) -> Result<Json, DataError> {
        let reach = self.reach(caller, &find.table, Operation::Delete)?;
        Self::writable(&reach, &find.table)?;
        self.many_rows(caller, &reach, None, find).await
    }

    /// Changes the row whose key is given, or adds it. Answers its `_id`. One transaction: two at once make one row.
    ///
    /// # Errors
    /// Not the caller's to do (both adding and changing must be), or the row does not fit.
    pub async fn upsert(
        &self,
        caller: &Caller,
        table: &str,
        key: &str,
        data: Row,
    ) -> Result<i64, DataError> {
        let reach = self.reach(caller, table, Operation::Insert)?;
        let changing = self.reach(caller, table, Operation::Update)?;
        let known = Self::writable(&reach, table)?;
        if !crate::ident::is_name(key) {
            return Err(DataError::invalid("invalid identifier"));
        }
        let missing =
            || DataError::invalid(format!("upsert: data must contain key column {key:?}"));
        let sought = Value::from_json(data.get(key).ok_or_else(missing)?, 1)?;
        let exact = known
            .exact(key)
            .ok_or_else(|| DataError::logic(format!("no such column: {key}")))?;
        let mut rest = data.clone();
        rest.remove(key);
        // Whichever it will be, it must fit; a row that is there already needs less.
        let set = Self::settings(caller, known, &rest)?;
        let fresh = Self::fresh(caller, known, data);
        let look = format!(
            "SELECT \"_id\", {} FROM {} WHERE {} = ? LIMIT 1",
            if known.has("_owner") {
                "\"_owner\""
            } else {
                "''"
            },
            quoted(&known.name),
            quoted(exact)
        );
        let (name, owned_by, otherwise) = (
            known.name.clone(),
            changing.owned_by.clone(),
            changing.otherwise.clone(),
        );
        self.database
            .write(Job::Alone(caller.within()), move |connection| {
                Box::pin(async move {
                    let row = sqlx::query_with(AssertSqlSafe(look), arguments(&[sought]))
                        .fetch_optional(&mut *connection)
                        .await?;
                    let Some(row) = row else {
                        return put(connection, fresh?).await;
                    };
                    let (id, owner): (i64, String) = (row.try_get(0)?, row.try_get(1)?);
                    if owned_by.is_some_and(|own| own != owner) {
                        return Err(DataError::Refused(otherwise));
                    }
                    let source = crate::query::Source {
                        name: &name,
                        columns: &id_column(),
                    };
                    let statement = change(
                        source,
                        Some(&set),
                        "\"_id\" = ?",
                        &[Value::Integer(id)],
                        None,
                    )?;
                    execute(connection, statement).await?;
                    Ok(id)
                })
            })
            .await
    }

    /// The columns to set: `_updated_at` first, as the Go program orders them.
    fn settings(
        caller: &Caller,
        table: &Table,
        data: &Row,
    ) -> Result<Vec<(String, Value)>, DataError> {
        if let Some(schema) = table.schema() {
            check_update(schema, data)?;
        }
        let unknown = |name: &str| DataError::logic(format!("no such column: {name}"));
        let mut set = columns(caller, table, data, 2, unknown)?;
        if table.has("_updated_at") && !data.contains_key("_updated_at") {
            set.insert(0, ("_updated_at".to_owned(), Value::Text(moment::now())));
        }
        if set.is_empty() {
            return Err(DataError::invalid("nothing to change"));
        }
        Ok(set)
    }

    fn one_row(
        &self,
        reach: &Reach,
        set: Option<&[(String, Value)]>,
        id: i64,
    ) -> Result<Statement, DataError> {
        let id = [Value::Integer(id)];
        change(
            reach.source(),
            set,
            "_id = ?",
            &id,
            reach.owned_by.as_deref(),
        )
    }

    async fn many_rows(
        &self,
        caller: &Caller,
        reach: &Reach,
        set: Option<&[(String, Value)]>,
        find: &Find,
    ) -> Result<Json, DataError> {
        if find.filter.trim().is_empty() {
            return Err(DataError::Required("table and where clause required"));
        }
        let readable = self.reach(caller, &find.table, Operation::Read)?;
        let owned_by = reach.owned_by.as_deref().or(readable.owned_by.as_deref());
        let statement = change(
            reach.source(),
            set,
            &find.filter,
            &values(&find.args)?,
            owned_by,
        )?;
        let done = self.run(Job::Alone(caller.within()), statement).await?;
        Ok(affected(done))
    }

    async fn run(&self, job: Job, statement: Statement) -> Result<u64, DataError> {
        self.database
            .write(job, |connection| Box::pin(execute(connection, statement)))
            .await
    }
}

fn id_column() -> [crate::query::SourceColumn; 1] {
    [crate::query::SourceColumn {
        name: "_id".to_owned(),
        date: false,
    }]
}

fn found(rows: u64, reach: &Reach) -> Result<(), DataError> {
    if rows == 0 && reach.owned_by.is_some() {
        return Err(DataError::Refused(reach.otherwise.clone()));
    }
    Ok(())
}

async fn execute(
    connection: &mut SqliteConnection,
    statement: Statement,
) -> Result<u64, DataError> {
    let done = sqlx::query_with(AssertSqlSafe(statement.sql), arguments(&statement.values))
        .execute(connection)
        .await?;
    Ok(done.rows_affected())
}

/// The last numbers of counting columns, so that many rows do not look for them one by one.
#[derive(Default)]
struct Counted {
    last: std::collections::HashMap<String, i64>,
}

impl Counted {
    async fn count(
        &mut self,
        connection: &mut SqliteConnection,
        mut fresh: Fresh,
    ) -> Result<Fresh, DataError> {
        for (name, value) in &fresh.columns {
            if let (Some(last), Value::Integer(given)) = (self.last.get_mut(name), value) {
                *last = (*last).max(*given);
            }
        }
        for counter in std::mem::take(&mut fresh.counters) {
            let number = match self.last.get(&counter) {
                Some(last) => last
                    .checked_add(1)
                    .ok_or_else(|| DataError::invalid(format!("column {counter} is full")))?,
                None => match next_number(connection, &fresh.table, &counter).await? {
                    Value::Integer(number) => number,
                    other => {
                        fresh.columns.push((counter, other));
                        continue;
                    }
                },
            };
            self.last.insert(counter.clone(), number);
            fresh.columns.push((counter, Value::Integer(number)));
        }
        Ok(fresh)
    }
}

async fn next_number(
    connection: &mut SqliteConnection,
    table: &str,
    counter: &str,
) -> Result<Value, DataError> {
    let text = format!(
        "SELECT coalesce(max({}), 0) + 1 FROM {}",
        quoted(counter),
        quoted(table)
    );
    let row = sqlx::query(AssertSqlSafe(text))
        .fetch_one(connection)
        .await?;
    Value::of_row(&row, 0)
}

async fn put(connection: &mut SqliteConnection, mut fresh: Fresh) -> Result<i64, DataError> {
    let table = quoted(&fresh.table);
    for counter in std::mem::take(&mut fresh.counters) {
        let number = next_number(connection, &fresh.table, &counter).await?;
        fresh.columns.push((counter, number));
    }
    let names: Vec<String> = fresh.columns.iter().map(|(name, _)| quoted(name)).collect();
    let marks = vec!["?"; names.len()].join(", ");
    let text = format!(
        "INSERT INTO {table} ({}) VALUES ({marks})",
        names.join(", ")
    );
    let values: Vec<Value> = fresh.columns.into_iter().map(|(_, value)| value).collect();
    let done = sqlx::query_with(AssertSqlSafe(text), arguments(&values))
        .execute(connection)
        .await?;
    Ok(done.last_insert_rowid())
}
