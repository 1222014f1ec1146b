//! The JSON API of the control origin, and the part of it that site pages may use.

pub(crate) mod alone;
mod archive;
mod avatars;
mod chat;
mod config;
mod data;
mod document;
mod files;
mod folders;
mod forms;
mod graphql;
mod import;
mod kept;
mod keys;
mod live;
mod logs;
mod mq;
mod network;
mod open;
mod peers;
mod services;
mod settings;
mod settings_form;
mod transformations;
mod uploads;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{DefaultBodyLimit, FromRef};
use axum::response::Response;
use http::{StatusCode, Uri};
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::timeout::RequestBodyTimeoutLayer;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::base::Base;
use crate::front::Shared;
use crate::reply::{error, method_not_allowed};

pub use archive::write_database;
pub(crate) use avatars::own as own_avatar;
pub(crate) use data::{Asker, peer_of as peer_of_data};
pub(crate) use import::Importing;
pub(crate) use live::site_events;
pub(crate) use peers::{Guest, guest_self};
pub(crate) use transformations::Runs;

/// Largest JSON body of any route.
const MAX_JSON: usize = 64 * 1024;
/// Largest message to a peer, with its address.
const MAX_MESSAGE: usize = goop_mq::wire::MAX_MESSAGE + MAX_JSON;
/// Largest line of a conversation, with its address: escaping may make six bytes of one.
const MAX_LINE: usize = 6 * goop_mq::chat::MAX_LINE + MAX_JSON;
/// Largest upload of a picture, form included (peer-directory.md 7).
const MAX_UPLOAD: usize = 300 * 1024;
/// Largest text that is saved, as JSON or as a form: escaping may make six bytes of one.
const MAX_TEXT: usize = 6 * goop_site::store::MAX_EDITED as usize + MAX_JSON;
/// Largest file that is uploaded into the site, and largest archive. It is written as it comes.
const MAX_FILE: usize = 1024 * 1024 * 1024;
/// How long a body may pause.
const BODY_PAUSE: Duration = Duration::from_secs(10);

impl FromRef<Arc<Shared>> for Base {
    fn from_ref(shared: &Arc<Shared>) -> Self {
        shared.base.clone()
    }
}

/// What every viewer answers, a peer's and that of a server alone.
fn of_every_viewer<S>() -> OpenApiRouter<S>
where
    S: Clone + Send + Sync + 'static,
    Base: FromRef<S>,
{
    OpenApiRouter::new()
        .routes(routes!(peers::metrics))
        .routes(routes!(avatars::own_route))
        .routes(routes!(avatars::of_nobody))
        .routes(routes!(avatars::remove, avatars::remove_by_delete))
        .routes(routes!(logs::list))
        .routes(routes!(logs::stream))
        .routes(routes!(logs::verbose, logs::set_verbose))
        .routes(routes!(logs::client))
        .routes(routes!(settings::quick))
        .routes(routes!(settings::quick_get))
        .routes(routes!(settings_form::save))
        .routes(routes!(config::all, config::change))
        .routes(routes!(config::restart))
        .routes(routes!(services::health))
        .routes(routes!(services::check))
        .routes(routes!(services::rendezvous))
        .routes(routes!(services::bridge_token))
        .routes(routes!(open::open, open::open_by_post))
        .routes(routes!(folders::browse))
        .routes(routes!(folders::set_split))
}

/// The route of every viewer that takes a picture.
fn pictures_of_every_viewer<S>() -> OpenApiRouter<S>
where
    S: Clone + Send + Sync + 'static,
    Base: FromRef<S>,
{
    OpenApiRouter::new().routes(routes!(avatars::upload))
}

/// Every route of the router, described.
fn routes() -> OpenApiRouter<Arc<Shared>> {
    let small = of_every_viewer()
        .routes(routes!(peers::own))
        .routes(routes!(peers::session))
        .routes(routes!(peers::list))
        .routes(routes!(peers::probe))
        .routes(routes!(peers::probe_one))
        .routes(routes!(peers::favorite))
        .routes(routes!(peers::content))
        .routes(routes!(peers::topology))
        .routes(routes!(peers::say_offline))
        .routes(routes!(avatars::of_peer))
        .routes(routes!(settings::origins))
        .routes(routes!(network::standing))
        .routes(routes!(services::balance))
        .routes(routes!(files::list))
        .routes(routes!(files::content))
        .routes(routes!(files::mkdir))
        .routes(routes!(files::rename))
        .routes(routes!(files::copy))
        .routes(routes!(files::delete))
        .routes(routes!(files::undo))
        .routes(routes!(files::search))
        .routes(routes!(uploads::upload_local))
        .routes(routes!(forms::form_mkdir))
        .routes(routes!(forms::form_new))
        .routes(routes!(forms::form_delete))
        .routes(routes!(forms::form_rename))
        .routes(routes!(archive::export))
        .routes(routes!(live::events))
        .routes(routes!(live::group_events))
        .routes(routes!(mq::ack))
        .routes(routes!(keys::key, keys::say))
        .routes(routes!(mq::broadcast))
        .routes(routes!(graphql::run))
        .routes(routes!(graphql::rebuild))
        .routes(routes!(graphql::preview))
        .routes(routes!(graphql::status))
        .routes(routes!(graphql::sdl))
        .routes(routes!(chat::history, chat::clear))
        .routes(routes!(chat::lines))
        .routes(routes!(chat::conversations))
        .routes(routes!(chat::read))
        .routes(routes!(chat::withdraw))
        .routes(routes!(chat::search))
        .routes(routes!(document::openapi));
    let texts = OpenApiRouter::new()
        .routes(routes!(files::save))
        .routes(routes!(forms::form_save));
    let messages = OpenApiRouter::new().routes(routes!(mq::send));
    let transformations = OpenApiRouter::new()
        .routes(routes!(transformations::list))
        .routes(routes!(transformations::transforms))
        .routes(routes!(transformations::get))
        .routes(routes!(transformations::save))
        .routes(routes!(transformations::delete))
        .routes(routes!(transformations::preview))
        .routes(routes!(transformations::execute))
        .routes(routes!(transformations::progress))
        .routes(routes!(transformations::cancel))
        .routes(routes!(transformations::file_exists))
        .routes(routes!(transformations::source_fields));
    let lines = OpenApiRouter::new().routes(routes!(chat::send));
    let large = OpenApiRouter::new()
        .routes(routes!(uploads::upload))
        .routes(routes!(import::progress, import::import));
    OpenApiRouter::with_openapi(document::basis())
        .merge(limited(small, MAX_JSON))
        .merge(limited(pictures_of_every_viewer(), MAX_UPLOAD))
        .merge(limited(texts, MAX_TEXT))
        .merge(limited(lines, MAX_LINE))
        .merge(limited(messages, MAX_MESSAGE))
        .merge(limited(large, MAX_FILE))
        .merge(limited(transformations, transformations::MAX_BODY))
        .merge(limited(data::own_routes(), data::MAX_OWN))
        .merge(limited(data::page_routes(), data::MAX_PAGE))
}

/// Routes whose bodies have at most so many bytes, which their description says, too.
fn limited<S>(mut routes: OpenApiRouter<S>, most: usize) -> OpenApiRouter<S>
where
    S: Clone + Send + Sync + 'static,
{
    document::describe_limit(routes.get_openapi_mut(), most);
    routes
        .layer(DefaultBodyLimit::max(most))
        .layer(axum::middleware::map_response(
            move |answer: Response| async move {
                if answer.status() == StatusCode::PAYLOAD_TOO_LARGE {
                    return error(
                        StatusCode::PAYLOAD_TOO_LARGE,
                        &format!("this is too large: at most {} are taken here", size(most)),
                    );
                }
                answer
            },
        ))
}

/// A size as people read it.
fn size(bytes: usize) -> String {
    const KIB: usize = 1024;
    match bytes {
        _ if bytes >= KIB * KIB * KIB => format!("{} GiB", bytes / KIB / KIB / KIB),
        _ if bytes >= KIB * KIB => format!("{} MiB", bytes / KIB / KIB),
        _ => format!("{} KiB", bytes / KIB),
    }
}

/// The routes, ready to answer.
pub(crate) fn router(shared: Arc<Shared>) -> Router {
    let (router, _) = routes().split_for_parts();
    let router = router.fallback(async |uri: Uri| data::unrouted(&uri));
    finished(router, shared)
}

/// What stands around the routes of every viewer.
fn finished<S>(router: Router<S>, state: S) -> Router
where
    S: Clone + Send + Sync + 'static,
{
    router
        .method_not_allowed_fallback(async || method_not_allowed())
        .layer(axum::middleware::from_fn(kept::validate))
        .layer(RequestBodyTimeoutLayer::new(BODY_PAUSE))
        .layer(CatchPanicLayer::new())
        .with_state(state)
}
