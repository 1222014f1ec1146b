//! Answers of fields: each is an operation of [`Data`] with the caller's rights.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_graphql::dynamic::{Field, FieldFuture, FieldValue, ResolverContext, TypeRef};
use async_graphql::{Error, Value};
use serde_json::{Map, Value as Json};

use super::names::{Kind, operator};
use crate::DataError;
use crate::access::Operation;
use crate::caller::{Caller, Data};
use crate::ident::quoted;
use crate::reading::Find;
use crate::value::Form;

/// How long a request that only reads may take.
pub const DEADLINE: Duration = Duration::from_secs(10);
/// Most rows of one list.
pub const MAX_ROWS: usize = 10_000;
/// Most values of all rows of one answer: they stand in memory together, each with its name and its place.
pub const MAX_CELLS: usize = 100_000;
/// Most bytes of values of one answer.
pub const MAX_BYTES: usize = 8 * 1024 * 1024;

/// What the fields of one request may still read together.
pub(super) struct Budget {
    cells: AtomicUsize,
    bytes: AtomicUsize,
    cut: Mutex<Vec<String>>,
}

impl Default for Budget {
    fn default() -> Self {
        Self {
            cells: AtomicUsize::new(MAX_CELLS),
            bytes: AtomicUsize::new(MAX_BYTES),
            cut: Mutex::default(),
        }
    }
}

impl Budget {
    fn pay(&self, cells: usize, bytes: usize) -> bool {
        let pay = |purse: &AtomicUsize, price: usize| {
            purse
                .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| {
                    left.checked_sub(price)
                })
                .is_ok()
        };
        pay(&self.cells, cells) && pay(&self.bytes, bytes)
    }

    fn note(&self, field: &str) {
        let mut cut = self.cut.lock().unwrap_or_else(PoisonError::into_inner);
        if !cut.iter().any(|known| known == field) {
            cut.push(field.to_owned());
        }
    }

    /// Names in the answer of lists that end before the table does.
    pub(super) fn cut(&self) -> Vec<String> {
        let mut cut = self.cut.lock().unwrap_or_else(PoisonError::into_inner);
        cut.sort();
        std::mem::take(&mut *cut)
    }
}

/// Who asks, and what it may cost.
pub(super) struct Session {
    pub(super) data: Data,
    pub(super) caller: Caller,
    pub(super) budget: Arc<Budget>,
}

/// A row that was read, or what came of a deletion.
struct Fetched(Map<String, Json>);

type Resolver = Box<dyn for<'a> Fn(ResolverContext<'a>) -> FieldFuture<'a> + Send + Sync>;

/// What a field at the top does with its table.
#[derive(Debug, Clone, Copy)]
enum Action {
    List,
    One,
    Insert,
    Update,
    Delete,
}

pub(super) fn list(table: Arc<str>) -> Resolver {
    resolver(table, Action::List)
}

pub(super) fn by_pk(table: Arc<str>) -> Resolver {
    resolver(table, Action::One)
}

pub(super) fn insert(table: Arc<str>) -> Resolver {
    resolver(table, Action::Insert)
}

pub(super) fn update(table: Arc<str>) -> Resolver {
    resolver(table, Action::Update)
}

pub(super) fn delete(table: Arc<str>) -> Resolver {
    resolver(table, Action::Delete)
}

/// What goes wrong becomes an error beside a `null`, so that other fields keep their answers.
fn resolver(table: Arc<str>, action: Action) -> Resolver {
    Box::new(move |context| {
        let table = table.clone();
        FieldFuture::new(async move {
            match run(&context, &table, action).await {
                Ok(value) => Ok(value),
                Err(error) => {
                    let place = context.ctx.item.pos;
                    let error = Error::new(error.to_string()).into_server_error(place);
                    context.ctx.add_error(context.ctx.set_error_path(error));
                    Ok(None)
                }
            }
        })
    })
}

async fn run(
    context: &ResolverContext<'_>,
    table: &str,
    action: Action,
) -> Result<Option<FieldValue<'static>>, DataError> {
    let session = context
        .ctx
        .data_opt::<Session>()
        .ok_or(DataError::Unavailable)?;
    let (data, caller) = (&session.data, &session.caller);
    match action {
        Action::List => {
            let rows = rows(context, session, find(context, table)?).await?;
            Ok(Some(FieldValue::list(
                rows.into_iter().map(FieldValue::owned_any),
            )))
        }
        Action::One => one(context, session, table, id(context)?).await,
        Action::Insert => {
            let id = data
                .insert(caller, table, object(context, "object")?)
                .await?;
            changed(context, session, table, id).await
        }
        Action::Update => {
            let id = id(context)?;
            data.update(caller, table, id, &object(context, "_set")?)
                .await?;
            changed(context, session, table, id).await
        }
        Action::Delete => {
            let find = Find::by(table, "_id", id(context)?.into());
            let done = data.delete_where(caller, &find).await?;
            let affected = done.get("affected").cloned().unwrap_or_default();
            let result = Map::from_iter([("affected_rows".to_owned(), affected)]);
            Ok(Some(FieldValue::owned_any(Fetched(result))))
        }
    }
}

/// The row after a change. Who may change but not read learns its `_id`.
async fn changed(
    context: &ResolverContext<'_>,
    session: &Session,
    table: &str,
    id: i64,
) -> Result<Option<FieldValue<'static>>, DataError> {
    let readable = session.data.reach(&session.caller, table, Operation::Read);
    if readable.is_ok() {
        return one(context, session, table, id).await;
    }
    let row = Map::from_iter([("_id".to_owned(), id.into())]);
    Ok(Some(FieldValue::owned_any(Fetched(row))))
}

async fn one(
    context: &ResolverContext<'_>,
    session: &Session,
    table: &str,
    id: i64,
) -> Result<Option<FieldValue<'static>>, DataError> {
    let find = Find {
        limit: 1,
        ..Find::by(table, "_id", id.into())
    };
    let rows = rows(context, session, find).await?;
    Ok(rows.into_iter().next().map(FieldValue::owned_any))
}

/// Reads rows as far as the budget goes, and only the columns that the document names.
async fn rows(
    context: &ResolverContext<'_>,
    session: &Session,
    mut find: Find,
) -> Result<Vec<Fetched>, DataError> {
    let field = context.ctx.field();
    let mut cells = 0;
    for selected in field.selection_set() {
        cells += 1;
        let name = selected.name();
        if !name.starts_with("__") && !find.columns.iter().any(|known| known == name) {
            find.columns.push(name.to_owned());
        }
    }
    if find.columns.is_empty() {
        find.columns.push("_id".to_owned());
    }
    let name = field.alias().unwrap_or(field.name());
    let mut coming = session.data.rows_of(&session.caller, &find).await?;
    let mut rows = Vec::new();
    while let Some(row) = coming.next().await? {
        if rows.len() >= MAX_ROWS || !session.budget.pay(cells, row.weight()) {
            session.budget.note(name);
            return Ok(rows);
        }
        if let Json::Object(row) = row.to_json(Form::Rows) {
            rows.push(Fetched(row));
        }
    }
    if coming.more() {
        session.budget.note(name);
    }
    Ok(rows)
}

/// The question of a list's arguments. What is `null` was not asked (groups.md 16.1).
fn find(context: &ResolverContext<'_>, table: &str) -> Result<Find, DataError> {
    let mut find = Find::all(table);
    let mut conditions = Vec::new();
    for (name, value) in &object(context, "where")? {
        let Some((column, comparison)) = name.rsplit_once('_') else {
            continue;
        };
        if value.is_null() {
            continue;
        }
        conditions.push(format!("{} {} ?", quoted(column), operator(comparison)));
        find.args.push(value.clone());
    }
    find.filter = conditions.join(" AND ");
    let order: Vec<String> = object(context, "order_by")?
        .iter()
        .filter(|(_, direction)| !direction.is_null())
        .map(|(column, direction)| {
            let descends = if *direction == "desc" { " DESC" } else { "" };
            format!("{}{descends}", quoted(column))
        })
        .collect();
    // Without an order SQLite follows whichever index it likes, and pages would not fit each other.
    find.order = if order.is_empty() {
        quoted("_id")
    } else {
        order.join(", ")
    };
    find.limit = number(context, "limit")?;
    find.offset = number(context, "offset")?;
    Ok(find)
}

fn id(context: &ResolverContext<'_>) -> Result<i64, DataError> {
    number(context, "_id")
}

/// A number that is an argument; 0 where there is none.
fn number(context: &ResolverContext<'_>, name: &str) -> Result<i64, DataError> {
    match context.args.get(name).filter(|value| !value.is_null()) {
        Some(value) => value.i64().map_err(|_| misfit(name, "Int")),
        None => Ok(0),
    }
}

/// The members of an argument; none where there is none. The checker lets a list pass for an object.
fn object(context: &ResolverContext<'_>, name: &str) -> Result<Map<String, Json>, DataError> {
    let Some(given) = context.args.get(name).filter(|value| !value.is_null()) else {
        return Ok(Map::new());
    };
    match given.as_value().clone().into_json() {
        Ok(Json::Object(members)) => Ok(members),
        _ => Err(misfit(name, "object")),
    }
}

fn misfit(name: &str, kind: &str) -> DataError {
    DataError::BadRequest(format!(
        "invalid value for argument {name:?}, expected {kind}"
    ))
}

/// The value of a column, as its type in the schema has it; what does not fit into that type is `null`.
pub(super) fn value(column: String, kind: Kind) -> Resolver {
    Box::new(move |context| {
        let row = context.parent_value.downcast_ref::<Fetched>();
        let value = row.and_then(|Fetched(row)| row.get(&column)).cloned();
        FieldFuture::from_value(value.and_then(|value| typed(value, kind)))
    })
}

fn typed(value: Json, kind: Kind) -> Option<Value> {
    match (kind, value) {
        (_, Json::Null) => None,
        (Kind::Int, Json::Number(number)) => number.as_i64().map(Value::from),
        (Kind::Float, Json::Number(number)) => Some(Value::Number(number)),
        (Kind::Int | Kind::Float, _) => None,
        (Kind::Text, Json::String(text)) => Some(Value::String(text)),
        (Kind::Text, other) => Some(Value::String(other.to_string())),
    }
}

/// `affected_rows` of a deletion.
pub(super) fn affected() -> Field {
    let name = "affected_rows";
    Field::new(
        name,
        TypeRef::named(TypeRef::INT),
        value(name.to_owned(), Kind::Int),
    )
}
