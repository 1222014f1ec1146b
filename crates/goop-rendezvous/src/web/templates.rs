//! The template store over HTTP (rendezvous.md 14).

use axum::extract::{Path, State};
use axum::response::Response;
use http::{HeaderValue, StatusCode};

use super::Shared;
use super::reply::{self, JSON};
use crate::store::Meta;

const GZIP: HeaderValue = HeaderValue::from_static("application/gzip");

/// What there is.
#[utoipa::path(get, path = "/api/templates", tag = "templates", responses((status = 200, body = Vec<Meta>), (status = 404, description = "no store")))]
pub(super) async fn list(State(shared): State<Shared>) -> Response {
    if shared.store.is_empty() {
        return reply::not_found();
    }
    reply::json(JSON, &shared.store.list().collect::<Vec<_>>())
}

/// One template: what is said of it, or all of it.
#[utoipa::path(get, path = "/api/templates/{dir}/{part}", tag = "templates",
    params(("dir" = String, Path), ("part" = String, Path, description = "`manifest` or `bundle`")),
    responses((status = 200, description = "JSON, or a tar.gz"), (status = 404)))]
pub(super) async fn part(
    State(shared): State<Shared>,
    Path((dir, part)): Path<(String, String)>,
) -> Response {
    let Some(template) = shared.store.get(&dir) else {
        return reply::not_found();
    };
    match part.as_str() {
        "manifest" => reply::json(JSON, &template.meta),
        "bundle" => reply::of(StatusCode::OK, GZIP, template.bundle.clone()),
        _ => reply::not_found(),
    }
}

/// A Go peer pays before it applies a template, even where nothing costs anything, and takes 404 for a refusal
/// (rendezvous.md 14.5). Without credits everything is owned.
#[utoipa::path(post, path = "/api/credits/spend", tag = "templates", responses((status = 200, description = "`{\"balance\":0,\"owned\":true}`")))]
pub(super) async fn spend() -> Response {
    reply::json(JSON, &serde_json::json!({"balance": 0, "owned": true}))
}
