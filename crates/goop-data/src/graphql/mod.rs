//! GraphQL over the tables in context (groups.md 16): the Go program's schema, our access path.
//!
//! Every field is answered by the operations of [`Data`] with the rights of its caller, so nothing is
//! reached here that is not reached elsewhere. A document is measured before it runs (`cost`), and what it may read is
//! one budget for all its fields (`run::Budget`).

mod cost;
mod names;
mod run;
mod schema;
mod sdl;

use std::sync::{Arc, Mutex, PoisonError};

use async_graphql::parser::types::{DocumentOperations, ExecutableDocument, OperationType};
use async_graphql::{Request, Response, ServerError, Variables};
use serde::Deserialize;
use serde_json::{Value as Json, json};

use crate::DataError;
use crate::access::Standing;
use crate::caller::{Caller, Data};
use crate::schema::Schema;
use crate::store::Table;

pub use cost::{MAX_DEPTH, MAX_FIELDS, MAX_LISTS, MAX_NESTING, MAX_QUERIES};
pub use names::MAX_COLUMNS as MAX_CONTEXT_COLUMNS;
use run::{Budget, Session};
pub use run::{DEADLINE, MAX_BYTES, MAX_CELLS, MAX_ROWS};
pub use sdl::sdl;

/// Longest request in JSON, in bytes: a large document and the values of a large row.
pub const MAX_REQUEST: usize = 64 * 1024;
/// Longest document, in bytes. The introspection of common tools takes two thousand.
pub const MAX_DOCUMENT: usize = 32 * 1024;
/// Schemas that are kept: callers who see the same tables share one.
const KEPT: usize = 8;

/// What is said while no table is in context; the Go program's words.
const NOT_BUILT: &str = "no tables in context — mark at least one schema with context: true";

/// A request: a document, what its variables stand for, and which of its operations to run.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Query {
    query: Option<String>,
    variables: Option<Json>,
    #[serde(rename = "operationName")]
    operation: Option<String>,
}

impl Query {
    /// A document without variables.
    #[must_use]
    pub fn new(document: impl Into<String>) -> Self {
        Self {
            query: Some(document.into()),
            ..Self::default()
        }
    }

    /// The same document with variables.
    #[must_use]
    pub fn with(self, variables: Json) -> Self {
        Self {
            variables: Some(variables),
            ..self
        }
    }

    /// Reads the body of `POST /api/graphql`.
    ///
    /// # Errors
    /// `invalid json: …`, or it is longer than [`MAX_REQUEST`].
    pub fn from_json(bytes: &[u8]) -> Result<Self, DataError> {
        if bytes.len() > MAX_REQUEST {
            return Err(DataError::BadRequest("the request is too long".to_owned()));
        }
        let members: Result<serde_json::Map<String, Json>, _> = serde_json::from_slice(bytes);
        members
            .and_then(|members| serde_json::from_value(Json::Object(members)))
            .map_err(|error| DataError::BadRequest(format!("invalid json: {error}")))
    }
}

/// Schemas by the tables in them, for one state of the tables.
#[derive(Default)]
pub(crate) struct Schemas {
    built: Mutex<Vec<Built>>,
}

struct Built {
    catalog: u64,
    tables: Vec<String>,
    schema: Arc<async_graphql::dynamic::Schema>,
}

/// What there is for a caller: tables in the schema, and those that could not get into it, with the reason.
struct Context {
    catalog: Arc<crate::store::Catalog>,
    tables: Vec<String>,
    left_out: Vec<(String, &'static str)>,
}

impl Data {
    fn context(&self, caller: &Caller) -> Context {
        let catalog = self.database.catalog();
        let standing = self.standing(caller);
        let shown = |table: &&Table| {
            table.schema().is_some_and(|schema| schema.context)
                && (standing == Standing::Owner || self.is_visible(&standing, table))
        };
        let (tables, left_out) = names::choose(catalog.tables.values().filter(shown));
        Context {
            catalog,
            tables,
            left_out,
        }
    }

    /// `{"enabled":true,"tables":[names]}`, and `left_out` with reasons where a table has no place in a schema.
    #[must_use]
    pub fn graphql_status(&self, caller: &Caller) -> Json {
        let context = self.context(caller);
        let mut status = json!({"enabled": true, "tables": context.tables});
        if !context.left_out.is_empty() {
            let reasons = context
                .left_out
                .iter()
                .map(|(table, reason)| json!({"table": table, "reason": reason}));
            status["left_out"] = reasons.collect();
        }
        status
    }

    /// Forgets built schemas. They follow the tables by themselves; the Go program's pages ask for it.
    pub fn graphql_rebuild(&self) {
        self.graphql
            .built
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clear();
    }

    /// The schema in GraphQL's own language, as it is for this caller; `None` without a table in context.
    #[must_use]
    pub fn graphql_schema(&self, caller: &Caller) -> Option<String> {
        let context = self.context(caller);
        let schema = self.built(&context)?;
        Some(schema.sdl())
    }

    /// Runs a request with the rights of its caller: `{"data":…}`, `{"errors":[…]}` or both. What was cut at a limit is
    /// named in `extensions.more`.
    pub async fn graphql(&self, caller: &Caller, query: &Query) -> Json {
        let context = self.context(caller);
        let Some(schema) = self.built(&context) else {
            return json!({"data": null, "errors": [{"message": NOT_BUILT, "locations": null}]});
        };
        let document = match read(query.query.as_deref().unwrap_or_default()) {
            Ok(document) => document,
            Err(error) => return written(Response::from_errors(vec![error])),
        };
        let mutates = mutates(&document, query.operation.as_deref());
        let budget = Arc::new(Budget::default());
        let mut request = Request::new(String::new())
            .variables(Variables::from_json(
                query.variables.clone().unwrap_or_default(),
            ))
            .data(Session {
                data: self.clone(),
                caller: caller.clone(),
                budget: budget.clone(),
            });
        request.set_parsed_query(document);
        if let Some(operation) = query.operation.as_deref().filter(|name| !name.is_empty()) {
            request = request.operation_name(operation);
        }
        let running = schema.execute(request);
        // A change is never left without its answer: each has a deadline of its own below.
        let response = if mutates {
            running.await
        } else {
            tokio::time::timeout(DEADLINE, running)
                .await
                .unwrap_or_else(|_| {
                    let text = DataError::TooLong.to_string();
                    Response::from_errors(vec![ServerError::new(text, None)])
                })
        };
        let mut answer = written(response);
        let cut = budget.cut();
        if !cut.is_empty() {
            answer["extensions"] = json!({"more": cut});
        }
        answer
    }

    fn built(&self, context: &Context) -> Option<Arc<async_graphql::dynamic::Schema>> {
        if context.tables.is_empty() {
            return None;
        }
        let is_it = |built: &&Built| {
            built.catalog == context.catalog.version && built.tables == context.tables
        };
        let kept = || {
            self.graphql
                .built
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
        };
        if let Some(built) = kept().iter().find(is_it) {
            return Some(built.schema.clone());
        }
        let tables: Vec<&Table> = context
            .tables
            .iter()
            .filter_map(|name| context.catalog.table(name))
            .collect();
        let schema = match schema::build(&tables) {
            Ok(schema) => Arc::new(schema),
            Err(error) => {
                tracing::warn!(%error, "the tables in context make no GraphQL schema");
                return None;
            }
        };
        let mut kept = kept();
        kept.retain(|built| built.catalog >= context.catalog.version);
        if kept.len() >= KEPT {
            kept.remove(0);
        }
        kept.push(Built {
            catalog: context.catalog.version,
            tables: context.tables.clone(),
            schema: schema.clone(),
        });
        Some(schema)
    }
}

/// Parses a document that is neither too long nor too deep, and measures it.
fn read(text: &str) -> Result<ExecutableDocument, ServerError> {
    let refused = |text: String| ServerError::new(text, None);
    if text.len() > MAX_DOCUMENT {
        return Err(refused(format!(
            "the document is too long: at most {MAX_DOCUMENT} bytes are read"
        )));
    }
    cost::nesting(text).map_err(refused)?;
    let document = async_graphql::parser::parse_query(text)?;
    cost::measure(&document).map_err(refused)?;
    Ok(document)
}

fn mutates(document: &ExecutableDocument, operation: Option<&str>) -> bool {
    let chosen = match &document.operations {
        DocumentOperations::Single(single) => Some(single),
        DocumentOperations::Multiple(many) => match operation {
            Some(name) => many.get(name),
            None => many.values().next(),
        },
    };
    chosen.is_some_and(|operation| operation.node.ty == OperationType::Mutation)
}

fn written(response: Response) -> Json {
    serde_json::to_value(&response).unwrap_or_else(|error| {
        json!({"data": null, "errors": [{"message": error.to_string(), "locations": null}]})
    })
}

/// Reads the body of `POST /api/graphql/schema`: a table as a schema has it, for a look at what it becomes.
///
/// # Errors
/// `name and columns required`, or `invalid json: …`.
pub fn preview(bytes: &[u8]) -> Result<Json, DataError> {
    let schema: Schema = serde_json::from_slice(bytes)
        .map_err(|error| DataError::BadRequest(format!("invalid json: {error}")))?;
    if schema.name.is_empty() || schema.columns.is_empty() {
        return Err(DataError::Required("name and columns required"));
    }
    Ok(json!({"sdl": sdl(&schema)}))
}
