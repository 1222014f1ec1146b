//! The HTTP side: which path goes where (rendezvous.md 3), and what every handler shares.

mod events;
mod presence;
mod reply;
mod socket;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::{ConnectInfo, DefaultBodyLimit, FromRef, FromRequestParts};
use axum::routing::{any, get, post};
use http::request::Parts;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::address;
use crate::hub::Hub;
use crate::limits::Limits;
use crate::lines::Lines;
use crate::settings::Settings;
use crate::wire::MAX_MESSAGE;

/// How long the body of a request may take. A message has a few hundred bytes.
const BODY_DEADLINE: Duration = Duration::from_secs(10);

/// What every request may need. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Shared {
    pub(crate) settings: Arc<Settings>,
    pub(crate) hub: Hub,
    pub(crate) limits: Limits,
    pub(crate) lines: Lines,
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

/// All routes.
pub(crate) fn router(shared: Shared) -> Router {
    Router::new()
        .route("/publish", post(presence::publish))
        .route("/events", get(events::follow))
        .route("/ws", get(socket::open))
        .route("/healthz", any(presence::healthz))
        .route("/api/capabilities", any(presence::capabilities))
        .route("/relay", get(presence::relay))
        .method_not_allowed_fallback(async || reply::method_not_allowed())
        .fallback(async || reply::not_found())
        .layer(DefaultBodyLimit::max(MAX_MESSAGE))
        .with_state(shared)
}
