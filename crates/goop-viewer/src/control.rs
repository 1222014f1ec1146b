//! The control pages of a viewer: what their addresses answer before the API is asked, and that only the owner gets there.
//!
//! A peer has all pages, a rendezvous server alone a few of them; both are the same files ([`Mode`]).

use axum::Router;
use axum::body::Body;
use axum::response::Response;
use http::header::{CONTENT_TYPE, COOKIE, SET_COOKIE};
use http::request::Parts;
use http::{HeaderValue, Method, Request, StatusCode};
use tower::ServiceExt;

use crate::api;
use crate::assets;
use crate::base::Base;
use crate::reply::{error, method_not_allowed, redirect};

/// What the pages show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// A peer: every page.
    Peer,
    /// A rendezvous server and nothing else (viewer-pages.md 14): its settings and what it says.
    ServerAlone,
}

impl Mode {
    /// The control pages; the script in the shell shows what the path names.
    pub(crate) fn is_page(self, path: &str) -> bool {
        let both = matches!(path, "/self" | "/logs" | "/topology");
        match self {
            Self::ServerAlone => both,
            Self::Peer => {
                both || matches!(
                    path,
                    "/peers" | "/messages" | "/view" | "/edit" | "/database" | "/docs"
                ) || path.strip_prefix("/peer/").is_some_and(|id| !id.is_empty())
            }
        }
    }

    /// Where people begin.
    fn home(self) -> &'static str {
        match self {
            Self::Peer => "/peers",
            Self::ServerAlone => "/self",
        }
    }

    pub(crate) fn redirect_of(self, path: &str) -> Option<&'static str> {
        Some(match path {
            "/" => self.home(),
            "/settings" => "/self#settings",
            "/apidocs" if self == Self::Peer => "/docs",
            _ => return None,
        })
    }
}

/// Answers what the control origin is asked by itself. Only the owner's requests reach `router`.
pub(crate) async fn answer(
    base: &Base,
    mode: Mode,
    request: Request<Body>,
    router: impl FnOnce() -> Router,
) -> Response {
    let (mut parts, body) = request.into_parts();
    let path = parts.uri.path();
    let is_read = matches!(parts.method, Method::GET | Method::HEAD);
    if is_read && let Some(asset) = path.strip_prefix("/assets/") {
        return assets::file(asset, &parts.headers);
    }
    if is_read && let Some(to) = mode.redirect_of(path) {
        return redirect(StatusCode::FOUND, to);
    }
    if is_read && mode.is_page(path) {
        return assets::shell(&parts.headers, mode);
    }
    match path {
        "/healthz" => return text("ok"),
        "/favicon.ico" | "/favicon.svg" => return assets::file("images/mark.svg", &parts.headers),
        "/start" if parts.method == Method::GET => return start(base, mode, &parts),
        _ => {}
    }
    if !base.is_owner(&parts.headers) {
        return error(
            StatusCode::UNAUTHORIZED,
            "this belongs to the person who started this peer: open the link that was printed when it started",
        );
    }
    if parts.method == Method::HEAD {
        return method_not_allowed();
    }
    // The session was looked at; handlers do not need it.
    parts.headers.remove(COOKIE);
    parts.extensions.insert(api::Asker::Owner);
    to_router(router(), Request::from_parts(parts, body)).await
}

/// A person follows the link that was printed at the start: this browser is the owner's from here on.
fn start(base: &Base, mode: Mode, parts: &Parts) -> Response {
    let query = parts.uri.query().unwrap_or_default();
    let token = query
        .split('&')
        .find_map(|pair| pair.strip_prefix("token="))
        .unwrap_or_default();
    let redeemed = base.session.redeem(token);
    if !redeemed && !base.is_owner(&parts.headers) {
        return error(
            StatusCode::UNAUTHORIZED,
            "this link was used already, or is an old one: start the peer again and open the link it prints",
        );
    }
    let mut response = redirect(StatusCode::FOUND, mode.home());
    if redeemed && let Ok(cookie) = HeaderValue::from_str(&base.session.set_cookie()) {
        response.headers_mut().insert(SET_COOKIE, cookie);
    }
    response
}

pub(crate) async fn to_router(router: Router, request: Request<Body>) -> Response {
    match router.oneshot(request).await {
        Ok(response) => response,
        Err(never) => match never {},
    }
}

fn text(text: &'static str) -> Response {
    let mut response = Response::new(Body::from(text));
    response.headers_mut().insert(
        CONTENT_TYPE,
        HeaderValue::from_static("text/plain; charset=utf-8"),
    );
    response
}
