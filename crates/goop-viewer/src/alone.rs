//! The viewer of a rendezvous server that runs without a peer (rendezvous.md 20, viewer-pages.md 14): settings and what the
//! server says, for its owner. There is no site here, so there are no site pages and no guests.

use std::sync::{Arc, OnceLock};

use axum::Router;
use axum::body::Body;
use axum::response::Response;
use goop_rendezvous::Onlooker;
use http::{Request, StatusCode};

use crate::api;
use crate::base::Base;
use crate::caller::Caller;
use crate::control::{self, Mode};
use crate::reply::{error, not_found};
use crate::server::refused;

/// What every request may need.
pub(crate) struct Alone {
    pub(crate) base: Base,
    pub(crate) server: Onlooker,
    router: OnceLock<Router>,
}

impl Alone {
    pub(crate) fn new(base: Base, server: Onlooker) -> Self {
        Self {
            base,
            server,
            router: OnceLock::new(),
        }
    }
}

/// Answers a request of somebody whose class is known.
pub(crate) async fn answer(alone: &Arc<Alone>, caller: Caller, request: Request<Body>) -> Response {
    let router = || {
        alone
            .router
            .get_or_init(|| api::alone::router(alone.clone()))
            .clone()
    };
    let path = request.uri().path();
    let mode = Mode::ServerAlone;
    match caller {
        Caller::Control => control::answer(&alone.base, mode, request, router).await,
        Caller::Link
            if path == "/start" || mode.is_page(path) || mode.redirect_of(path).is_some() =>
        {
            control::answer(&alone.base, mode, request, router).await
        }
        Caller::Link => error(
            StatusCode::FORBIDDEN,
            "forbidden: another site may not use this peer",
        ),
        // Whoever comes through a proxy, or asks for a site: there is none.
        Caller::Guest | Caller::SitePage(_) => not_found(),
        Caller::Refused(refusal) => refused(refusal, path),
    }
}
