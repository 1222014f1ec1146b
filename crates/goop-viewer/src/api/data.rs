//! The database over HTTP: `/api/data/*` for the owner (viewer-api.md 9), `/api/p/<peer>/data/*` for pages of sites
//! (viewer-api.md 8): the own database, or a neighbour's over the data protocol.
//!
//! Who asks was decided before ([`Asker`]); what they may is decided by goop-data. Nothing here looks into a question.

mod operations;
mod streamed;

use std::sync::Arc;

use axum::Extension;
use axum::extract::State;
use axum::response::Response;
use axum::routing::{MethodRouter, get, post};
use bytes::Bytes;
use goop_data::protocol::{CallError, MAX_REQUEST, WORK_DEADLINE};
use goop_data::{Answer, Caller, DataError, Request};
use goop_identity::label::parse_peer_id;
use goop_identity::{PeerId, Profile};
use http::{StatusCode, Uri};
use tokio::time::timeout;
use utoipa_axum::router::OpenApiRouter;

use self::operations::{Method, OPERATIONS};
use crate::front::Shared;
use crate::reply::{error, not_found};

/// Largest body of the owner's own routes: a value of 16 MiB, the largest that the database takes, with every second
/// letter escaped.
pub(super) const MAX_OWN: usize = 32 * 1024 * 1024;
/// Largest body of a site's page: that of a request of the data protocol.
pub(super) const MAX_PAGE: usize = MAX_REQUEST;

/// Who asks for data, as the server found out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Asker {
    /// The owner, on the control origin.
    Owner,
    /// A page of this peer's site, in the owner's browser.
    SitePage(PeerId),
    /// Somebody from outside, by the id of their browser.
    Guest(String),
}

/// The owner's routes.
pub(super) fn own_routes() -> OpenApiRouter<Arc<Shared>> {
    let mut router = OpenApiRouter::new();
    for operation in OPERATIONS {
        if let Some(method) = operation.own {
            let path = format!("/api/data/{}", operation.suffix);
            operations::describe(router.get_openapi_mut(), &path, operation, method);
            let handler: MethodRouter<Arc<Shared>> = match method {
                Method::Get => get(own),
                Method::Post => post(own),
            };
            router = router.route(&path, handler);
        }
    }
    router
}

/// The routes of sites.
pub(super) fn page_routes() -> OpenApiRouter<Arc<Shared>> {
    let mut router = OpenApiRouter::new();
    for operation in OPERATIONS.iter().filter(|operation| operation.of_sites) {
        let path = format!("/api/p/{{peer}}/data/{}", operation.suffix);
        // The Go program takes any method, and pages use both.
        for method in [Method::Get, Method::Post] {
            operations::describe(router.get_openapi_mut(), &path, operation, method);
        }
        router = router.route(&path, get(of_site).post(of_site));
    }
    router
}

/// An address below `/api/p/`, taken apart.
struct DataUrl<'a> {
    id: &'a str,
    suffix: &'a str,
}

impl<'a> DataUrl<'a> {
    fn parse(path: &'a str) -> Option<Result<Self, Response>> {
        let after = path.strip_prefix("/api/p/")?;
        let Some((id, rest)) = after.split_once('/') else {
            return Some(Err(error(StatusCode::BAD_REQUEST, "missing peer id")));
        };
        let suffix = match rest.strip_prefix("data") {
            Some("") => "",
            Some(rest) if rest.starts_with('/') => &rest[1..],
            _ => return Some(Err(error(StatusCode::NOT_FOUND, "not found"))),
        };
        Some(Ok(Self { id, suffix }))
    }
}

/// The peer whose data an address names, if it names one.
pub(crate) fn peer_of(path: &str) -> Option<PeerId> {
    parse_peer_id(DataUrl::parse(path)?.ok()?.id)
}

/// What an address that is no route gets.
pub(super) fn unrouted(uri: &Uri) -> Response {
    match DataUrl::parse(uri.path()) {
        Some(Ok(_)) => error(StatusCode::NOT_FOUND, "unknown data operation"),
        Some(Err(response)) => response,
        None => not_found(),
    }
}

/// One of the owner's own routes.
async fn own(
    State(shared): State<Arc<Shared>>,
    Extension(asker): Extension<Asker>,
    uri: Uri,
    body: Bytes,
) -> Response {
    let suffix = uri.path().strip_prefix("/api/data/").unwrap_or_default();
    if asker != Asker::Owner {
        return not_found();
    }
    let done = shared
        .context
        .data
        .direct(&owner(&shared), suffix, &body)
        .await;
    sent(done, DataError::status).await
}

/// An operation on the data of a site.
async fn of_site(
    State(shared): State<Arc<Shared>>,
    Extension(asker): Extension<Asker>,
    uri: Uri,
    body: Bytes,
) -> Response {
    let url = match DataUrl::parse(uri.path()) {
        Some(Ok(url)) => url,
        Some(Err(response)) => return response,
        None => return not_found(),
    };
    let Some(peer) = parse_peer_id(url.id) else {
        return error(StatusCode::BAD_GATEWAY, "failed to parse peer ID");
    };
    let request = match Request::from_page(url.suffix, &body) {
        Ok(request) => request,
        Err(failure) => return refused(&failure, DataError::status),
    };
    let is_own = peer == shared.context.net.local_peer_id();
    let caller = match asker {
        Asker::Owner | Asker::SitePage(_) if is_own => owner(&shared),
        Asker::Guest(id) if is_own => Caller::visitor(id, ""),
        Asker::Owner => return of_neighbour(&shared, peer, request).await,
        Asker::SitePage(site) if site == peer => {
            return of_neighbour(&shared, peer, request).await;
        }
        Asker::SitePage(_) | Asker::Guest(_) => return not_found(),
    };
    let work = shared.context.data.execute(&caller, &request);
    let done = timeout(WORK_DEADLINE, work).await;
    sent(done.unwrap_or(Err(DataError::TooLong)), |_| 500).await
}

/// The neighbour decides by the id of this peer; Go peers answer in one piece.
async fn of_neighbour(shared: &Shared, peer: PeerId, request: Request) -> Response {
    match shared.context.neighbours.ask(peer, request).await {
        Ok(whole) => streamed::whole(&whole),
        Err(failure @ (CallError::Refused(_) | CallError::NotOffered(_))) => {
            error(StatusCode::INTERNAL_SERVER_ERROR, &failure.to_string())
        }
        Err(failure) => error(StatusCode::BAD_GATEWAY, &failure.to_string()),
    }
}

pub(super) fn owner(shared: &Shared) -> Caller {
    Caller::owner(
        shared.own.clone(),
        Profile::of(&shared.base.desk.config.current()).email,
    )
}

async fn sent(done: Result<Answer, DataError>, status: fn(&DataError) -> u16) -> Response {
    let sent = match done {
        Ok(answer) => streamed::answer(answer).await,
        Err(failure) => Err(failure),
    };
    sent.unwrap_or_else(|failure| refused(&failure, status))
}

pub(super) fn refused(failure: &DataError, status: fn(&DataError) -> u16) -> Response {
    let status = StatusCode::from_u16(status(failure)).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    error(status, &failure.to_string())
}
