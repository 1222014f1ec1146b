//! GraphQL over the owner's tables in context (groups.md 16.2).

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use bytes::Bytes;
use goop_data::DataError;
use goop_data::graphql::{self, Query};
use http::StatusCode;
use serde_json::{Value, json};

use super::data::{owner, refused};
use crate::front::Shared;
use crate::reply::json as reply;

fn said(done: Result<Value, DataError>) -> Response {
    match done {
        Ok(value) => reply(StatusCode::OK, &value),
        Err(failure) => refused(&failure, DataError::status),
    }
}

/// Runs a document: `{query,variables,operationName}` to `{data,errors}`, with 200 also for errors of the document.
///
/// At most 32 KiB, 1,000 fields, 30 of them at the top, 16 levels; lists end at 10,000 rows, answers at 100,000 values and
/// 8 MiB, and what was cut is named in `extensions.more`. A query has 10 seconds.
#[utoipa::path(post, path = "/api/graphql", tag = "data", request_body(content = Object, description = "`{query,variables,operationName}`"),
    responses((status = 200, description = "`{data}`, `{errors}` or both", body = Object), (status = 400, description = "no JSON")))]
pub(crate) async fn run(State(shared): State<Arc<Shared>>, body: Bytes) -> Response {
    let query = match Query::from_json(&body) {
        Ok(query) => query,
        Err(failure) => return refused(&failure, DataError::status),
    };
    let answer = shared.context.data.graphql(&owner(&shared), &query).await;
    reply(StatusCode::OK, &answer)
}

/// Makes the schema anew. It follows the tables by itself.
#[utoipa::path(post, path = "/api/graphql/rebuild", tag = "data",
    responses((status = 200, description = "`{status}`", body = Object)))]
pub(crate) async fn rebuild(State(shared): State<Arc<Shared>>) -> Response {
    shared.context.data.graphql_rebuild();
    reply(StatusCode::OK, &json!({"status": "rebuilt"}))
}

/// What a table becomes in the schema, before it is one.
#[utoipa::path(post, path = "/api/graphql/schema", tag = "data", request_body(content = Object, description = "a table as a schema has it"),
    responses((status = 200, description = "`{sdl}`", body = Object), (status = 400, description = "no name or no columns")))]
pub(crate) async fn preview(body: Bytes) -> Response {
    said(graphql::preview(&body))
}

/// The tables in context, and those that have no place in a schema with the reason.
#[utoipa::path(get, path = "/api/graphql/status", tag = "data",
    responses((status = 200, description = "`{enabled,tables,left_out}`", body = Object)))]
pub(crate) async fn status(State(shared): State<Arc<Shared>>) -> Response {
    reply(
        StatusCode::OK,
        &shared.context.data.graphql_status(&owner(&shared)),
    )
}

/// The whole schema in GraphQL's own language; `null` without a table in context.
#[utoipa::path(get, path = "/api/graphql/sdl", tag = "data",
    responses((status = 200, description = "`{sdl}`", body = Object)))]
pub(crate) async fn sdl(State(shared): State<Arc<Shared>>) -> Response {
    let sdl = shared.context.data.graphql_schema(&owner(&shared));
    reply(StatusCode::OK, &json!({ "sdl": sdl }))
}
