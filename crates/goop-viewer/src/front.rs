//! What a peer's viewer answers: each request goes to a site, the control pages, or the API, by who asks.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use axum::Router;
use axum::body::Body;
use axum::response::Response;
use goop_identity::PeerId;
use goop_identity::label::host_label;
use goop_mq::topic::Filter;
use http::header::{COOKIE, SET_COOKIE};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode};
use sha2::{Digest, Sha256};
use tokio::net::TcpListener;

use crate::Context;
use crate::api;
use crate::assets;
use crate::base::Base;
use crate::caller::{Caller, Listener};
use crate::control::{self, Mode};
use crate::outgoing::Web;
use crate::reply::{EmptyResponse, error, not_found, redirect};
use crate::server::{FETCH_SITE, Face, accept, refused};
use crate::sites::{self, site_url};

/// Most sites with a loopback port of their own.
const MAX_SITE_PORTS: usize = 64;
/// Remembers in the browser that `*.localhost` does not resolve there.
pub(crate) const ORIGIN_COOKIE: &str = "goop2_origins";
/// Remembers a visitor from outside.
const GUEST_COOKIE: &str = "goop2_guest";

/// What every request of a peer's viewer may need.
pub(crate) struct Shared {
    pub(crate) base: Base,
    pub(crate) context: Context,
    /// The id of this peer as a text.
    pub(crate) own: String,
    /// The web, for transformations.
    pub(crate) web: Web,
    /// Transformations that run.
    pub(crate) runs: api::Runs,
    pub(crate) site_policy: HeaderValue,
    /// Who replaces the site.
    pub(crate) importing: api::Importing,
    site_ports: Mutex<HashMap<PeerId, u16>>,
    router: OnceLock<Router>,
}

/// Answers a request of somebody whose class is known.
pub(crate) async fn answer(
    shared: &Arc<Shared>,
    caller: Caller,
    request: Request<Body>,
) -> Response {
    match caller {
        Caller::SitePage(peer) => {
            if api::peer_of_data(request.uri().path()) == Some(peer) {
                return to_data(shared, request, api::Asker::SitePage(peer)).await;
            }
            let (parts, _) = request.into_parts();
            site_page(shared, &parts, peer).await
        }
        Caller::Control => control(shared, request).await,
        Caller::Link => link(shared, request).await,
        Caller::Guest => {
            let own = shared.context.net.local_peer_id();
            if api::peer_of_data(request.uri().path()) == Some(own) {
                return guests_data(shared, request).await;
            }
            let (parts, _) = request.into_parts();
            guest(shared, &parts).await
        }
        Caller::Refused(refusal) => refused(refusal, request.uri().path()),
    }
}

/// A page of a site, on its own origin: its files, and the part of the API made for sites (viewer-api.md 3.1).
async fn site_page(shared: &Arc<Shared>, parts: &Parts, peer: PeerId) -> Response {
    let path = parts.uri.path();
    if site_url(path).is_some() {
        return sites::serve(shared, parts, peer).await;
    }
    if !matches!(parts.method, Method::GET | Method::HEAD) {
        return not_found();
    }
    match path {
        "/" => redirect(StatusCode::FOUND, &format!("/p/{}/", peer.to_base58())),
        "/favicon.ico" => StatusCode::NO_CONTENT.into_response_empty(),
        "/goop-unreachable.css" => assets::file("unreachable.css", &parts.headers),
        "/api/mq/events" => {
            let own = peer == shared.context.net.local_peer_id();
            api::site_events(shared, &parts.headers, Filter::Site { of: peer, own })
        }
        "/api/self" | "/api/peers" => to_router(shared, bare_request(parts)).await,
        _ if path.starts_with("/api/avatar/peer/") => to_router(shared, bare_request(parts)).await,
        _ => not_found(),
    }
}

/// Somebody from outside: the own site, pictures of nobody but the owner, an identity that is nobody's.
async fn guest(shared: &Arc<Shared>, parts: &Parts) -> Response {
    let own = shared.context.net.local_peer_id();
    if let Some(url) = site_url(parts.uri.path()) {
        return sites::serve_guest(shared, parts, &url).await;
    }
    if !matches!(parts.method, Method::GET | Method::HEAD) {
        return not_found();
    }
    match parts.uri.path() {
        "/" => redirect(StatusCode::FOUND, &format!("/p/{}/", own.to_base58())),
        "/favicon.ico" => StatusCode::NO_CONTENT.into_response_empty(),
        "/api/self" => guest_self(parts),
        path if path == format!("/api/avatar/peer/{own}") => api::own_avatar(&shared.base),
        _ => not_found(),
    }
}

fn guest_self(parts: &Parts) -> Response {
    let guest = Guest::of(&parts.headers);
    guest.remembered(api::guest_self(&api::Guest(guest.id())))
}

/// A visitor from outside, known by what their browser keeps.
///
/// The id stands in rows that others read, so it must not be what proves it: the browser keeps a secret, and the id is
/// made of it.
struct Guest {
    secret: String,
    is_new: bool,
}

impl Guest {
    fn of(headers: &HeaderMap) -> Self {
        let known = cookie(headers, GUEST_COOKIE)
            .filter(|secret| secret.len() == 32 && secret.bytes().all(|b| b.is_ascii_hexdigit()));
        Self {
            secret: known.map_or_else(|| uuid::Uuid::new_v4().simple().to_string(), str::to_owned),
            is_new: known.is_none(),
        }
    }

    fn id(&self) -> String {
        let hash = Sha256::new()
            .chain_update("goop2 guest:")
            .chain_update(self.secret.to_ascii_lowercase())
            .finalize();
        let hex = hash[..16].iter().map(|byte| format!("{byte:02x}"));
        format!("guest-{}", hex.collect::<String>())
    }

    /// An answer that makes the browser remember.
    fn remembered(&self, mut response: Response) -> Response {
        let secret = &self.secret;
        let cookie =
            format!("{GUEST_COOKIE}={secret}; Path=/; HttpOnly; SameSite=Lax; Max-Age=31536000");
        if self.is_new
            && let Ok(cookie) = HeaderValue::from_str(&cookie)
        {
            response.headers_mut().insert(SET_COOKIE, cookie);
        }
        response
    }
}

/// A person followed a link from somewhere else: the page may load, with the next request it is the page that asks.
async fn link(shared: &Arc<Shared>, request: Request<Body>) -> Response {
    let path = request.uri().path();
    if path == "/start"
        || site_url(path).is_some()
        || Mode::Peer.is_page(path)
        || Mode::Peer.redirect_of(path).is_some()
    {
        return control(shared, request).await;
    }
    error(
        StatusCode::FORBIDDEN,
        "forbidden: another site may not use this peer",
    )
}

async fn control(shared: &Arc<Shared>, request: Request<Body>) -> Response {
    let (parts, body) = request.into_parts();
    if let Some(url) = site_url(parts.uri.path()) {
        return sites::lead_to_origin(shared, &parts, &url);
    }
    if parts.uri.path() == "/p" {
        return redirect(StatusCode::TEMPORARY_REDIRECT, "/p/");
    }
    let request = Request::from_parts(parts, body);
    control::answer(&shared.base, Mode::Peer, request, || shared.router()).await
}

/// Asks for data, as somebody whose class is known.
async fn to_data(shared: &Arc<Shared>, mut request: Request<Body>, asker: api::Asker) -> Response {
    request.extensions_mut().insert(asker);
    to_router(shared, request).await
}

/// Somebody from outside asks for data of the own site, as a stranger.
async fn guests_data(shared: &Arc<Shared>, request: Request<Body>) -> Response {
    // Another site's page in the guest's browser would speak for the guest.
    let from = request.headers().get(&FETCH_SITE);
    if from.is_some_and(|from| from != "same-origin" && from != "none") {
        return error(
            StatusCode::FORBIDDEN,
            "forbidden: another site may not use this peer",
        );
    }
    let guest = Guest::of(request.headers());
    let response = to_data(shared, request, api::Asker::Guest(guest.id())).await;
    guest.remembered(response)
}

fn bare_request(parts: &Parts) -> Request<Body> {
    let mut request = Request::new(Body::empty());
    *request.method_mut() = parts.method.clone();
    *request.uri_mut() = parts.uri.clone();
    if let Some(known) = parts.headers.get(http::header::IF_NONE_MATCH) {
        request
            .headers_mut()
            .insert(http::header::IF_NONE_MATCH, known.clone());
    }
    request
}

async fn to_router(shared: &Arc<Shared>, request: Request<Body>) -> Response {
    control::to_router(shared.router(), request).await
}

fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let cookies = headers.get(COOKIE)?.to_str().ok()?;
    cookies
        .split(';')
        .filter_map(|cookie| cookie.trim().split_once('='))
        .find(|(key, _)| *key == name)
        .map(|(_, value)| value)
}

impl Shared {
    pub(crate) fn new(base: Base, context: Context) -> Self {
        Self {
            own: context.net.local_peer_id().to_base58(),
            web: Web::new(base.desk.version),
            runs: api::Runs::default(),
            site_policy: sites::site_policy(base.control_port),
            importing: api::Importing::default(),
            site_ports: Mutex::default(),
            router: OnceLock::new(),
            base,
            context,
        }
    }

    fn router(self: &Arc<Self>) -> Router {
        self.router
            .get_or_init(|| api::router(self.clone()))
            .clone()
    }

    /// The origin of a site where names below `localhost` resolve.
    pub(crate) fn label_origin(&self, peer: &PeerId) -> String {
        format!(
            "http://{}.localhost:{}",
            host_label(peer),
            self.base.control_port
        )
    }

    /// The origin of a site for this browser; `None` when no port is left.
    pub(crate) fn origin_of(self: &Arc<Self>, peer: &PeerId, parts: &Parts) -> Option<String> {
        if cookie(&parts.headers, ORIGIN_COOKIE) != Some("port")
            || !self.base.is_owner(&parts.headers)
        {
            return Some(self.label_origin(peer));
        }
        self.site_port(*peer)
            .map(|port| format!("http://127.0.0.1:{port}"))
    }

    /// The loopback port of a site, bound when it is first asked for.
    fn site_port(self: &Arc<Self>, peer: PeerId) -> Option<u16> {
        let mut ports = self
            .site_ports
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(port) = ports.get(&peer) {
            return Some(*port);
        }
        if ports.len() >= MAX_SITE_PORTS {
            return None;
        }
        let socket = std::net::TcpListener::bind((IpAddr::V4(Ipv4Addr::LOCALHOST), 0)).ok()?;
        socket.set_nonblocking(true).ok()?;
        let listener = TcpListener::from_std(socket).ok()?;
        let port = listener.local_addr().ok()?.port();
        self.base.tasks.spawn(accept(
            Face::Peer(self.clone()),
            listener,
            Listener::Site { port, peer },
        ));
        ports.insert(peer, port);
        Some(port)
    }
}
