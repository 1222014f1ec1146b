//! The JSON API of the control origin, and the part of it that site pages may use.

mod archive;
mod avatars;
mod config;
mod files;
mod folders;
mod keys;
mod live;
mod logs;
mod mq;
mod peers;
mod settings;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::response::Response;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::timeout::RequestBodyTimeoutLayer;
use utoipa::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::reply::{method_not_allowed, not_found};
use crate::server::Shared;

pub(crate) use avatars::own as own_avatar;
pub(crate) use live::site_events;
pub(crate) use peers::{Guest, guest_self};

/// Largest JSON body of any route.
const MAX_JSON: usize = 64 * 1024;
/// Largest message to a peer, with its address.
const MAX_MESSAGE: usize = goop_mq::wire::MAX_MESSAGE + MAX_JSON;
/// Largest upload of a picture, form included (peer-directory.md 7).
const MAX_UPLOAD: usize = 300 * 1024;
/// Largest text that is saved, as JSON or as a form: escaping may make six bytes of one.
const MAX_TEXT: usize = 6 * goop_site::store::MAX_EDITED as usize + MAX_JSON;
/// Largest file that is uploaded into the site, and largest archive. It is written as it comes.
const MAX_FILE: usize = 1024 * 1024 * 1024;
/// How long a body may pause.
const BODY_PAUSE: Duration = Duration::from_secs(10);

#[derive(OpenApi)]
#[openapi(
    info(title = "Goop2 viewer API", description = "What the pages of a peer use. Owner only, unless a route says otherwise."),
    tags(
        (name = "peers", description = "Who is known and who is there"),
        (name = "avatars", description = "Pictures"),
        (name = "logs", description = "What the program says"),
        (name = "settings", description = "goop.json"),
        (name = "site", description = "Files of the own site"),
        (name = "messages", description = "Messages to other peers"),
        (name = "live", description = "Events as they happen")
    )
)]
struct Document;

/// The routes, and the document that describes them.
pub(crate) fn router(shared: Arc<Shared>) -> Router {
    let (router, document) = OpenApiRouter::with_openapi(Document::openapi())
        .routes(routes!(peers::own))
        .routes(routes!(peers::session))
        .routes(routes!(peers::list))
        .routes(routes!(peers::probe))
        .routes(routes!(peers::probe_one))
        .routes(routes!(peers::favorite))
        .routes(routes!(peers::content))
        .routes(routes!(peers::topology))
        .routes(routes!(peers::say_offline))
        .routes(routes!(avatars::own_route))
        .routes(routes!(avatars::of_nobody))
        .routes(routes!(avatars::of_peer))
        .routes(routes!(avatars::remove, avatars::remove_by_delete))
        .routes(routes!(logs::list))
        .routes(routes!(logs::stream))
        .routes(routes!(logs::verbose, logs::set_verbose))
        .routes(routes!(logs::client))
        .routes(routes!(settings::quick))
        .routes(routes!(settings::quick_get))
        .routes(routes!(settings::origins))
        .routes(routes!(config::all, config::change))
        .routes(routes!(config::restart))
        .routes(routes!(folders::browse))
        .routes(routes!(folders::set_split))
        .routes(routes!(files::list))
        .routes(routes!(files::content))
        .routes(routes!(files::mkdir))
        .routes(routes!(files::rename))
        .routes(routes!(files::copy))
        .routes(routes!(files::delete))
        .routes(routes!(files::undo))
        .routes(routes!(files::upload_local))
        .routes(routes!(files::search))
        .routes(routes!(archive::export))
        .routes(routes!(live::events))
        .routes(routes!(live::group_events))
        .routes(routes!(mq::ack))
        .routes(routes!(keys::key, keys::say))
        .routes(routes!(mq::broadcast))
        .layer(DefaultBodyLimit::max(MAX_JSON))
        .merge(
            OpenApiRouter::new()
                .routes(routes!(mq::send))
                .layer(DefaultBodyLimit::max(MAX_MESSAGE)),
        )
        .merge(
            OpenApiRouter::new()
                .routes(routes!(avatars::upload))
                .layer(DefaultBodyLimit::max(MAX_UPLOAD)),
        )
        .merge(
            OpenApiRouter::new()
                .routes(routes!(files::save))
                .route("/edit/save", axum::routing::post(files::form_save))
                .route("/edit/mkdir", axum::routing::post(files::form_mkdir))
                .route("/edit/new", axum::routing::post(files::form_new))
                .route("/edit/delete", axum::routing::post(files::form_delete))
                .route("/edit/rename", axum::routing::post(files::form_rename))
                .layer(DefaultBodyLimit::max(MAX_TEXT)),
        )
        .merge(
            OpenApiRouter::new()
                .routes(routes!(files::upload))
                .routes(routes!(archive::import))
                .layer(DefaultBodyLimit::max(MAX_FILE)),
        )
        .split_for_parts();
    let document: Arc<str> = document.to_pretty_json().unwrap_or_default().into();
    router
        .route(
            "/api/openapi.json",
            axum::routing::get(async move || openapi(&document)),
        )
        .route("/metrics", axum::routing::get(peers::metrics))
        .fallback(async || not_found())
        .method_not_allowed_fallback(async || method_not_allowed())
        .layer(RequestBodyTimeoutLayer::new(BODY_PAUSE))
        .layer(CatchPanicLayer::new())
        .with_state(shared)
}

fn openapi(document: &str) -> Response {
    let mut response = crate::reply::raw_json(http::StatusCode::OK, document.to_owned());
    response.headers_mut().insert(
        http::header::CACHE_CONTROL,
        http::HeaderValue::from_static("no-cache"),
    );
    response
}
