//! Transformations of the owner (viewer-api.md 9.6), with their runs: how far they are, and their end.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use axum::extract::State;
use axum::response::Response;
use bytes::Bytes;
use goop_data::DataError;
use goop_data::transform::Watched;
use http::StatusCode;
use serde::Deserialize;
use serde_json::json;

use super::data::{owner, refused};
use crate::front::Shared;
use crate::reply::{error, json as reply};

/// Largest body: a transformation as large as its file may be, or rows for a preview.
pub(super) const MAX_BODY: usize = 2 * 1024 * 1024;
/// Runs at once. Each may hold the database for minutes.
const MAX_RUNS: usize = 4;
/// Longest id of a run.
const MAX_ID: usize = 64;

/// Runs under way, by the ids that pages gave them.
#[derive(Default)]
pub(crate) struct Runs(Mutex<HashMap<String, Watched>>);

impl Runs {
    fn known(&self) -> std::sync::MutexGuard<'_, HashMap<String, Watched>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn begin(&self, id: &str) -> Result<(Watched, Running<'_>), &'static str> {
        let mut known = self.known();
        if known.contains_key(id) {
            return Err("a run of this id is under way");
        }
        if known.len() >= MAX_RUNS {
            return Err("other transformations run already; wait for one of them to end");
        }
        let watched = Watched::default();
        known.insert(id.to_owned(), watched.clone());
        let running = Running {
            runs: self,
            id: id.to_owned(),
        };
        Ok((watched, running))
    }
}

/// A run under way; known until this goes.
struct Running<'r> {
    runs: &'r Runs,
    id: String,
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.runs.known().remove(&self.id);
    }
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct RunId {
    run: String,
}

fn run_id(body: &[u8]) -> Option<String> {
    let RunId { run } = serde_json::from_slice(body).ok()?;
    let fits = run.len() <= MAX_ID
        && run
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    (fits && !run.is_empty()).then_some(run)
}

async fn answered(shared: &Shared, suffix: &str, body: &[u8], watched: &Watched) -> Response {
    let done = shared
        .context
        .data
        .direct_transformations(&owner(shared), suffix, body, &shared.web, watched)
        .await;
    match done {
        Ok(value) => reply(StatusCode::OK, &value),
        Err(failure) => refused(&failure, DataError::status),
    }
}

async fn plain(shared: &Shared, suffix: &str, body: &[u8]) -> Response {
    answered(shared, suffix, body, &Watched::default()).await
}

/// The transformations: `[{name,description,field_count,source_type,target_type}]`.
#[utoipa::path(get, path = "/api/data/transformations", tag = "data",
    responses((status = 200, body = Vec<Object>), (status = 500)))]
pub(crate) async fn list(State(shared): State<Arc<Shared>>) -> Response {
    plain(&shared, "", b"").await
}

/// Names of the functions that a field may call.
#[utoipa::path(get, path = "/api/data/transformations/transforms", tag = "data",
    responses((status = 200, body = Vec<String>)))]
pub(crate) async fn transforms(State(shared): State<Arc<Shared>>) -> Response {
    plain(&shared, "transforms", b"").await
}

/// One of them: `{name,description,source,target,fields}`.
#[utoipa::path(post, path = "/api/data/transformations/get", tag = "data", request_body(content = Object, description = "`{name}`"),
    responses((status = 200, body = Object), (status = 400), (status = 404), (status = 500)))]
pub(crate) async fn get(State(shared): State<Arc<Shared>>, body: Bytes) -> Response {
    plain(&shared, "get", &body).await
}

/// Keeps one: `{status,name}`.
#[utoipa::path(post, path = "/api/data/transformations/save", tag = "data", request_body(content = Object, description = "a transformation"),
    responses((status = 200, body = Object), (status = 400), (status = 500)))]
pub(crate) async fn save(State(shared): State<Arc<Shared>>, body: Bytes) -> Response {
    plain(&shared, "save", &body).await
}

/// Forgets one: `{status}`.
#[utoipa::path(post, path = "/api/data/transformations/delete", tag = "data", request_body(content = Object, description = "`{name}`"),
    responses((status = 200, body = Object), (status = 400), (status = 500, description = "there is none of that name")))]
pub(crate) async fn delete(State(shared): State<Arc<Shared>>, body: Bytes) -> Response {
    plain(&shared, "delete", &body).await
}

/// New rows of given ones, or of the first of the source. Nothing is written.
#[utoipa::path(post, path = "/api/data/transformations/preview", tag = "data",
    request_body(content = Object, description = "`{name or transformation, rows or most}`"),
    responses((status = 200, body = Vec<Object>), (status = 400), (status = 404), (status = 500)))]
pub(crate) async fn preview(State(shared): State<Arc<Shared>>, body: Bytes) -> Response {
    plain(&shared, "preview", &body).await
}

/// Runs one: `{status,target,inserted}` or `{status,target,written}`. All of it or nothing; an ended request ends the run.
#[utoipa::path(post, path = "/api/data/transformations/execute", tag = "data",
    request_body(content = Object, description = "`{name or transformation, where, args, limit}`; `run` is an id for `progress` and `cancel`"),
    responses((status = 200, body = Object), (status = 400), (status = 404),
        (status = 409, description = "too many runs at once"), (status = 500)))]
pub(crate) async fn execute(State(shared): State<Arc<Shared>>, body: Bytes) -> Response {
    let id = run_id(&body).unwrap_or_else(|| uuid::Uuid::new_v4().to_string());
    match shared.runs.begin(&id) {
        Err(text) => error(StatusCode::CONFLICT, text),
        Ok((watched, _running)) => answered(&shared, "execute", &body, &watched).await,
    }
}

/// How far a run is: `{read,written}`, in rows.
#[utoipa::path(post, path = "/api/data/transformations/progress", tag = "data", request_body(content = Object, description = "`{run}`"),
    responses((status = 200, body = Object), (status = 400, description = "no id"), (status = 404, description = "no such run is under way")))]
pub(crate) async fn progress(State(shared): State<Arc<Shared>>, body: Bytes) -> Response {
    match watched(&shared, &body) {
        Err((status, text)) => error(status, text),
        Ok(watched) => {
            let at = *watched.progress.borrow();
            reply(
                StatusCode::OK,
                &json!({"read": at.read, "written": at.written}),
            )
        }
    }
}

/// Ends a run: `{status}`. Nothing of it stays.
#[utoipa::path(post, path = "/api/data/transformations/cancel", tag = "data", request_body(content = Object, description = "`{run}`"),
    responses((status = 200, body = Object), (status = 400, description = "no id"), (status = 404, description = "no such run is under way")))]
pub(crate) async fn cancel(State(shared): State<Arc<Shared>>, body: Bytes) -> Response {
    match watched(&shared, &body) {
        Err((status, text)) => error(status, text),
        Ok(watched) => {
            watched.cancel.cancel();
            reply(StatusCode::OK, &json!({"status": "ending"}))
        }
    }
}

fn watched(shared: &Shared, body: &[u8]) -> Result<Watched, (StatusCode, &'static str)> {
    let id = run_id(body).ok_or((StatusCode::BAD_REQUEST, "run required"))?;
    let known = shared.runs.known().get(&id).cloned();
    known.ok_or((StatusCode::NOT_FOUND, "no such run is under way"))
}

/// Whether a file is there that a run would replace: `{exists}`.
#[utoipa::path(post, path = "/api/data/transformations/file-exists", tag = "data", request_body(content = Object, description = "`{path}`"),
    responses((status = 200, body = Object), (status = 400), (status = 500, description = "a file that the peer needs itself")))]
pub(crate) async fn file_exists(State(shared): State<Arc<Shared>>, body: Bytes) -> Response {
    plain(&shared, "file-exists", &body).await
}

/// What a source offers: columns of a table, or sorted names.
#[utoipa::path(post, path = "/api/data/transformations/source-fields", tag = "data",
    request_body(content = Object, description = "`{type,name,path,url}`"),
    responses((status = 200, body = Vec<Object>), (status = 400), (status = 500)))]
pub(crate) async fn source_fields(State(shared): State<Arc<Shared>>, body: Bytes) -> Response {
    plain(&shared, "source-fields", &body).await
}
