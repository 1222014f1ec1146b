//! The API of a viewer that shows a rendezvous server alone: what viewer-api.md 5 marks as minimal. Everything that a peer's
//! viewer has, too, is the very same handler ([`super::of_every_viewer`]); this module has the rest.

use std::convert::Infallible;
use std::sync::Arc;

use axum::Router;
use axum::extract::{FromRef, Path, State};
use axum::response::sse::{Event, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::{StreamExt, stream};
use goop_identity::label::parse_peer_id;
use goop_rendezvous::onlooker::Topology;
use http::StatusCode;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::live::{keep_alive, until};
use super::peers::SessionInfo;
use super::{MAX_JSON, MAX_UPLOAD, finished, kept, limited};
use super::{avatars, document, of_every_viewer, pictures_of_every_viewer};
use crate::alone::Alone;
use crate::base::Base;
use crate::reply::{json, not_found};

impl FromRef<Arc<Alone>> for Base {
    fn from_ref(alone: &Arc<Alone>) -> Self {
        alone.base.clone()
    }
}

/// Every route of it, described.
pub(super) fn routes() -> OpenApiRouter<Arc<Alone>> {
    let small = of_every_viewer()
        .routes(routes!(session))
        .routes(routes!(topology))
        .routes(routes!(events))
        .routes(routes!(picture))
        .routes(routes!(document::openapi_alone));
    OpenApiRouter::with_openapi(document::basis_alone())
        .merge(limited(small, MAX_JSON))
        .merge(limited(pictures_of_every_viewer(), MAX_UPLOAD))
}

/// The routes, ready to answer.
pub(crate) fn router(alone: Arc<Alone>) -> Router {
    let (router, _) = routes().split_for_parts();
    finished(router.fallback(async || not_found()), alone)
}

/// What the pages need to know about this program and how its owner wants them.
#[utoipa::path(get, path = "/api/session", tag = "settings", responses((status = 200, body = SessionInfo)))]
async fn session(State(alone): State<Arc<Alone>>) -> Response {
    let mut info = SessionInfo::of(&alone.base);
    alone.server.dashboard().clone_into(&mut info.site_url);
    kept::mark(json(StatusCode::OK, &info))
}

/// The server and whoever published there (rendezvous.md 17).
#[utoipa::path(get, path = "/api/topology", tag = "settings", responses((status = 200, body = Topology)))]
async fn topology(State(alone): State<Arc<Alone>>) -> Response {
    json(StatusCode::OK, &alone.server.topology().await)
}

/// Says once, as an event, that this is a server alone; then nothing until it ends.
#[utoipa::path(get, path = "/api/mq/events", tag = "live", responses((status = 200, content_type = "text/event-stream")))]
async fn events(State(base): State<Base>) -> Response {
    let mode = Event::default()
        .event("message")
        .data("{\"type\":\"mode\",\"mode\":\"rendezvous\"}");
    let events = stream::iter([Ok::<_, Infallible>(mode)]).chain(stream::pending());
    Sse::new(until(base.stop.clone(), events))
        .keep_alive(keep_alive())
        .into_response()
}

/// Initials of the name that a peer has there: a server fetches nobody's picture.
#[utoipa::path(get, path = "/api/avatar/peer/{id}", tag = "avatars", params(("id" = String, Path, description = "peer id")),
    responses((status = 200)))]
async fn picture(State(alone): State<Arc<Alone>>, Path(id): Path<String>) -> Response {
    let name = match parse_peer_id(&id) {
        Some(peer) => alone.server.name(peer).await,
        None => None,
    };
    avatars::initials(&name.unwrap_or(id), "")
}
