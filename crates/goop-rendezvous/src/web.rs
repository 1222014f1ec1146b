//! The HTTP side: which path goes where (rendezvous.md 3), and what every handler shares.

mod admin;
mod events;
mod pages;
mod presence;
mod reply;
mod socket;
mod templates;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::{ConnectInfo, DefaultBodyLimit, FromRef, FromRequestParts};
use axum::response::Response;
use axum::routing::{any, get, post};
use http::header::CACHE_CONTROL;
use http::request::Parts;
use http::{HeaderValue, StatusCode};
use metrics_exporter_prometheus::PrometheusHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use utoipa::OpenApi;

use crate::address;
use crate::docs;
use crate::hub::Hub;
use crate::limits::Limits;
use crate::lines::Lines;
use crate::relay::Relay;
use crate::settings::Settings;
use crate::store::Store;
use crate::wire::MAX_MESSAGE;

pub(crate) use admin::Sessions;

/// How long the body of a request may take. A message has a few hundred bytes.
const BODY_DEADLINE: Duration = Duration::from_secs(10);

/// What every request may need. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Shared {
    pub(crate) settings: Arc<Settings>,
    pub(crate) hub: Hub,
    pub(crate) limits: Limits,
    pub(crate) lines: Lines,
    pub(crate) relay: Option<Relay>,
    pub(crate) store: Arc<Store>,
    pub(crate) sessions: Sessions,
    pub(crate) metrics: Option<PrometheusHandle>,
    pub(crate) tasks: TaskTracker,
    pub(crate) stop: CancellationToken,
}

/// Who asks, by address: the client's own, behind proxies or not.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Client(pub(crate) IpAddr);

impl<S> FromRequestParts<S> for Client
where
    S: Send + Sync,
    Shared: FromRef<S>,
{
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Self::Rejection> {
        let shared = Shared::from_ref(state);
        let socket = parts
            .extensions
            .get::<ConnectInfo<SocketAddr>>()
            // Only tests call handlers without a connection.
            .map_or(IpAddr::from([127, 0, 0, 1]), |info| info.0.ip());
        let trusted = &shared.settings.trusted_proxies;
        Ok(Self(address::client(socket, &parts.headers, trusted)))
    }
}

/// The moment, as limits count it.
fn instant() -> Instant {
    tokio::time::Instant::now().into_std()
}

#[derive(OpenApi)]
#[openapi(
    info(title = "Goop2 rendezvous API", description = "What peers and the operator of a rendezvous server use."),
    tags(
        (name = "presence", description = "Who is there"),
        (name = "relay", description = "Reaching those who cannot be dialled"),
        (name = "templates", description = "The template store"),
        (name = "admin", description = "For the operator: HTTP Basic, user admin")
    ),
    paths(
        presence::publish, events::follow, socket::open, presence::healthz, presence::capabilities, presence::relay,
        admin::pulse, templates::list, templates::part, templates::spend, admin::peers, admin::logs, admin::relay_status,
        admin::diag
    )
)]
struct Document;

/// The document of what is served, made from the handlers.
#[must_use]
pub(crate) fn openapi() -> String {
    // A document always serialises.
    Document::openapi().to_json().unwrap_or_default()
}

async fn openapi_json() -> Response {
    let mut response = reply::of(StatusCode::OK, reply::JSON_PLAIN, openapi());
    let no_cache = HeaderValue::from_static("no-cache");
    response.headers_mut().insert(CACHE_CONTROL, no_cache);
    response
}

async fn executor_api() -> Response {
    let yaml = HeaderValue::from_static("application/x-yaml");
    let mut response = reply::of(StatusCode::OK, yaml, docs::EXECUTOR_API);
    let no_cache = HeaderValue::from_static("no-cache");
    response.headers_mut().insert(CACHE_CONTROL, no_cache);
    response
}

/// All routes.
pub(crate) fn router(shared: Shared) -> Router {
    Router::new()
        .route("/", get(pages::front))
        .route("/assets/style.css", get(pages::style))
        .route("/assets/mark.svg", get(pages::mark))
        .route("/favicon.ico", get(pages::mark))
        .route("/docs", any(pages::docs_root))
        .route("/docs/", any(pages::docs_root))
        .route("/docs/{slug}", get(pages::docs_page))
        .route("/store", get(pages::store))
        .route("/publish", post(presence::publish))
        .route("/events", get(events::follow))
        .route("/ws", get(socket::open))
        .route("/healthz", any(presence::healthz))
        .route("/api/capabilities", any(presence::capabilities))
        .route("/api/openapi.json", get(openapi_json))
        .route("/api/executor-api.yaml", get(executor_api))
        .route("/relay", get(presence::relay))
        .route("/api/pulse", post(admin::pulse))
        .route("/api/templates", get(templates::list))
        .route("/api/templates/{dir}/{part}", get(templates::part))
        .route("/api/credits/spend", post(templates::spend))
        .route("/admin", get(pages::admin))
        .route("/admin/logs", get(pages::admin_logs))
        .route("/admin/relay", get(pages::admin_relay))
        .route("/admin/diag", get(pages::admin_diag))
        .route("/admin/login", post(admin::sign_in))
        .route("/admin/logout", post(admin::sign_out))
        .route("/peers.json", get(admin::peers))
        .route("/logs.json", get(admin::logs))
        .route("/relay-status.json", get(admin::relay_status))
        .route("/registrations.json", get(admin::nothing))
        .route("/accounts.json", get(admin::nothing))
        .route("/api/services/logs", get(admin::nothing))
        .route("/diag", get(admin::diag))
        .route("/metrics", get(admin::metrics))
        .method_not_allowed_fallback(async || reply::method_not_allowed())
        .fallback(async || reply::not_found())
        .layer(DefaultBodyLimit::max(MAX_MESSAGE))
        .with_state(shared)
}
