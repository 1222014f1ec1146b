//! The server: sockets, connections, and where each request goes.
//!
//! Every connection is a task of one tracker; [`Viewer::run`] ends them all, event streams first, and waits a bounded
//! time.

use std::collections::HashMap;
use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::response::Response;
use goop_identity::PeerId;
use goop_identity::label::host_label;
use http::header::{AUTHORIZATION, CONTENT_TYPE, COOKIE, HOST, ORIGIN, SET_COOKIE};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use sha2::{Digest, Sha256};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt;

use crate::Context;
use crate::api;
use crate::assets;
use crate::caller::{Asked, Caller, Listener, Refusal, classify};
use crate::events;
use crate::outgoing::{Outgoing, Web};
use crate::reply::{error, method_not_allowed, not_found, redirect};
use crate::session::Session;
use crate::sites::{self, site_url};
use goop_mq::topic::Filter;

/// The port of the pages where none is configured.
const DEFAULT_PORT: u16 = 8080;
/// How long a request's head may take; a slow one does not hold a connection for ever.
const HEAD_DEADLINE: Duration = Duration::from_secs(10);
/// Connections at once on all sockets. A browser opens six.
const MAX_CONNECTIONS: usize = 512;
/// Largest request head.
const MAX_HEAD: usize = 32 * 1024;
/// Most sites with a loopback port of their own.
const MAX_SITE_PORTS: usize = 64;
/// How long open requests may take to end at shutdown.
const DRAIN: Duration = Duration::from_millis(500);
/// Remembers in the browser that `*.localhost` does not resolve there.
pub(crate) const ORIGIN_COOKIE: &str = "goop2_origins";
/// Remembers a visitor from outside.
const GUEST_COOKIE: &str = "goop2_guest";

/// Why the viewer did not start.
#[derive(Debug, thiserror::Error)]
pub enum ViewerError {
    /// The configured address makes no sense.
    #[error("viewer.http_addr {0:?} is not an address like 127.0.0.1:8080 or :8080")]
    BadAddress(String),
    /// The socket is taken or not allowed.
    #[error(
        "the viewer cannot listen on {addr}: {source}. End the program that has the port, or set viewer.http_addr in \
         goop.json to another one (empty takes a free one)"
    )]
    Listen {
        /// The address.
        addr: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// The control token could not be written.
    #[error("the control token cannot be written: {0}")]
    Token(io::Error),
}

/// What every request may need.
pub(crate) struct Shared {
    pub(crate) context: Context,
    pub(crate) outgoing: Outgoing,
    /// The web, for transformations.
    pub(crate) web: Web,
    /// Transformations that run.
    pub(crate) runs: api::Runs,
    pub(crate) session: Session,
    pub(crate) stop: CancellationToken,
    pub(crate) verbose: AtomicBool,
    pub(crate) site_policy: HeaderValue,
    /// Who replaces the site.
    pub(crate) importing: api::Importing,
    /// Who writes down where dividers stand.
    pub(crate) splits: tokio::sync::Mutex<()>,
    pub(crate) control_port: u16,
    site_ports: Mutex<HashMap<PeerId, u16>>,
    tasks: TaskTracker,
    connections: Arc<Semaphore>,
    router: std::sync::OnceLock<Router>,
}

/// A bound viewer.
pub struct Viewer {
    shared: Arc<Shared>,
    control: TcpListener,
    public: Option<TcpListener>,
}

impl std::fmt::Debug for Viewer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Viewer")
            .field("control_port", &self.shared.control_port)
            .finish_non_exhaustive()
    }
}

/// The sockets of the viewer, bound before anything else starts, so that a busy port is said first.
#[derive(Debug)]
pub struct Sockets {
    control: TcpListener,
    public: Option<TcpListener>,
}

impl Viewer {
    /// Binds the sockets of `viewer.http_addr` (viewer-api.md 1.1 and its last section).
    ///
    /// Empty takes 127.0.0.1:8080, or a free port when that is taken. A loopback address is the control socket. Any
    /// other address publishes the own site there and nothing else; control then gets a free loopback port.
    ///
    /// # Errors
    /// See [`ViewerError`].
    pub async fn bind(http_addr: &str) -> Result<Sockets, ViewerError> {
        Self::bind_again(http_addr, None).await
    }

    /// As [`Viewer::bind`], after a restart: where the setting leaves the control port open, it is the one from before if
    /// that is free, so that open pages find their peer again.
    ///
    /// # Errors
    /// See [`ViewerError`].
    pub async fn bind_again(http_addr: &str, before: Option<u16>) -> Result<Sockets, ViewerError> {
        let text = http_addr.trim();
        let loopback = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        if text.is_empty() {
            let control = match listen(loopback(before.unwrap_or(DEFAULT_PORT))).await {
                Ok(control) => control,
                Err(_) => listen(loopback(0)).await?,
            };
            return Ok(Sockets {
                control,
                public: None,
            });
        }
        let addr = parse_addr(text)?;
        if addr.ip().is_loopback() {
            return Ok(Sockets {
                control: listen(addr).await?,
                public: None,
            });
        }
        let public = listen(addr).await?;
        let control = match listen(loopback(before.unwrap_or(0))).await {
            Ok(control) => control,
            Err(_) => listen(loopback(0)).await?,
        };
        Ok(Sockets {
            control,
            public: Some(public),
        })
    }

    /// Puts the viewer together over its sockets.
    ///
    /// # Errors
    /// See [`ViewerError`].
    pub fn new(sockets: Sockets, context: Context) -> Result<Self, ViewerError> {
        let control_port = sockets
            .control
            .local_addr()
            .map(|addr| addr.port())
            .map_err(ViewerError::Token)?;
        let session = Session::new(&context.keypair, control_port);
        session
            .write_token(
                &context.data_folder,
                &format!("http://127.0.0.1:{control_port}"),
            )
            .map_err(ViewerError::Token)?;
        let shared = Arc::new(Shared {
            outgoing: Outgoing::new(context.version),
            web: Web::new(context.version),
            runs: api::Runs::default(),
            context,
            session,
            stop: CancellationToken::new(),
            verbose: AtomicBool::new(false),
            site_policy: sites::site_policy(control_port),
            importing: api::Importing::default(),
            splits: tokio::sync::Mutex::new(()),
            control_port,
            site_ports: Mutex::default(),
            tasks: TaskTracker::new(),
            connections: Arc::new(Semaphore::new(MAX_CONNECTIONS)),
            router: std::sync::OnceLock::new(),
        });
        Ok(Self {
            shared,
            control: sockets.control,
            public: sockets.public,
        })
    }

    /// The address of the control pages.
    #[must_use]
    pub fn control_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.shared.control_port)
    }

    /// The port of the control pages.
    #[must_use]
    pub fn control_port(&self) -> u16 {
        self.shared.control_port
    }

    /// Where the own site is published, if it is.
    #[must_use]
    pub fn public_addr(&self) -> Option<SocketAddr> {
        self.public
            .as_ref()
            .and_then(|listener| listener.local_addr().ok())
    }

    /// The link that makes its first visitor the owner.
    #[must_use]
    pub fn start_link(&self) -> String {
        let token = self.shared.session.start_token().unwrap_or_default();
        format!("{}/start?token={token}", self.control_url())
    }

    /// Serves until `leave` is cancelled, then ends every connection within half a second.
    pub async fn run(self, leave: CancellationToken) {
        let shared = self.shared;
        let log = shared.context.mq.log().clone();
        let peers = events::follow_peers(log, shared.context.net.events());
        shared.tasks.spawn(stop_with(shared.stop.clone(), peers));
        let control = Listener::Control {
            port: shared.control_port,
        };
        shared
            .tasks
            .spawn(accept(shared.clone(), self.control, control));
        if let Some(public) = self.public {
            shared
                .tasks
                .spawn(accept(shared.clone(), public, Listener::Public));
        }
        leave.cancelled().await;
        shared.stop.cancel();
        shared.tasks.close();
        // What still runs after this is cut off with the runtime.
        let _ = tokio::time::timeout(DRAIN, shared.tasks.wait()).await;
    }
}

fn parse_addr(text: &str) -> Result<SocketAddr, ViewerError> {
    let full = if text.starts_with(':') {
        format!("127.0.0.1{text}")
    } else {
        text.replace("localhost:", "127.0.0.1:")
    };
    full.parse()
        .map_err(|_| ViewerError::BadAddress(text.to_owned()))
}

async fn listen(addr: SocketAddr) -> Result<TcpListener, ViewerError> {
    TcpListener::bind(addr)
        .await
        .map_err(|source| ViewerError::Listen { addr, source })
}

async fn stop_with(stop: CancellationToken, task: impl Future<Output = ()>) {
    tokio::select! {
        () = stop.cancelled() => {}
        () = task => {}
    }
}

async fn accept(shared: Arc<Shared>, listener: TcpListener, kind: Listener) {
    loop {
        let accepted = tokio::select! {
            () = shared.stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        let Ok((stream, _)) = accepted else {
            // Out of file handles, most likely; the next connection may fare better once others ended.
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        let Ok(permit) = shared.connections.clone().try_acquire_owned() else {
            tracing::warn!("more than {MAX_CONNECTIONS} connections at once; one was refused");
            continue;
        };
        let connection = serve(shared.clone(), stream, kind);
        shared.tasks.spawn(async move {
            connection.await;
            drop(permit);
        });
    }
}

async fn serve(shared: Arc<Shared>, stream: TcpStream, kind: Listener) {
    // Small answers must not wait for Nagle's algorithm.
    let _ = stream.set_nodelay(true);
    let stop = shared.stop.clone();
    let service = service_fn(move |request: Request<Incoming>| {
        let shared = shared.clone();
        async move { Ok::<_, Infallible>(Box::pin(answer(&shared, kind, request)).await) }
    });
    let mut server = hyper::server::conn::http1::Builder::new();
    server
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_DEADLINE)
        .max_buf_size(MAX_HEAD.max(512 * 1024));
    let connection = server.serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    tokio::select! {
        ended = &mut connection => {
            if let Err(error) = ended {
                tracing::trace!(%error, "a connection broke off");
            }
            return;
        }
        () = stop.cancelled() => connection.as_mut().graceful_shutdown(),
    }
    // The request under way may end.
    let _ = connection.await;
}

async fn answer(shared: &Arc<Shared>, kind: Listener, request: Request<Incoming>) -> Response {
    let caller = classify(
        kind,
        &asked(
            request.method(),
            request.uri().authority().map(http::uri::Authority::as_str),
            request.headers(),
        ),
    );
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
        Caller::Refused(Refusal::ForeignHost) => error(
            StatusCode::MISDIRECTED_REQUEST,
            "this address is not served here: open the link that was printed when the peer started",
        ),
        // The pages ask for it to see whether names below `localhost` resolve; it says nothing but that.
        Caller::Refused(Refusal::ForeignOrigin) if request.uri().path() == "/favicon.ico" => {
            StatusCode::NO_CONTENT.into_response_empty()
        }
        Caller::Refused(Refusal::ForeignOrigin) => error(
            StatusCode::FORBIDDEN,
            "forbidden: another site may not use this peer",
        ),
    }
}

const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
const FETCH_MODE: HeaderName = HeaderName::from_static("sec-fetch-mode");
const FETCH_DEST: HeaderName = HeaderName::from_static("sec-fetch-dest");
/// What proxies add. A person's own browser sends none of them.
static PROXY_HEADERS: [HeaderName; 8] = [
    http::header::FORWARDED,
    http::header::VIA,
    HeaderName::from_static("x-forwarded-for"),
    HeaderName::from_static("x-forwarded-host"),
    HeaderName::from_static("x-forwarded-proto"),
    HeaderName::from_static("x-forwarded-server"),
    HeaderName::from_static("x-forwarded-port"),
    HeaderName::from_static("x-real-ip"),
];

fn asked<'a>(method: &Method, authority: Option<&'a str>, headers: &'a HeaderMap) -> Asked<'a> {
    let text = |name: &HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    Asked {
        is_read: matches!(*method, Method::GET | Method::HEAD),
        host: headers
            .get(HOST)
            .and_then(|host| host.to_str().ok())
            .or(authority),
        origin: headers.get(ORIGIN).and_then(|origin| origin.to_str().ok()),
        fetch_site: text(&FETCH_SITE),
        fetch_mode: text(&FETCH_MODE),
        fetch_dest: text(&FETCH_DEST),
        proxied: PROXY_HEADERS.iter().any(|name| headers.contains_key(name)),
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
        path if path == format!("/api/avatar/peer/{own}") => api::own_avatar(shared),
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
async fn link(shared: &Arc<Shared>, request: Request<Incoming>) -> Response {
    let path = request.uri().path();
    if path == "/start" || site_url(path).is_some() || is_page(path) || redirect_of(path).is_some()
    {
        return control(shared, request).await;
    }
    error(
        StatusCode::FORBIDDEN,
        "forbidden: another site may not use this peer",
    )
}

async fn control(shared: &Arc<Shared>, request: Request<Incoming>) -> Response {
    let (mut parts, body) = request.into_parts();
    let path = parts.uri.path();
    let is_read = matches!(parts.method, Method::GET | Method::HEAD);
    if let Some(url) = site_url(path) {
        return sites::lead_to_origin(shared, &parts, &url);
    }
    if is_read && let Some(asset) = path.strip_prefix("/assets/") {
        return assets::file(asset, &parts.headers);
    }
    if is_read && let Some(to) = redirect_of(path) {
        return redirect(StatusCode::FOUND, to);
    }
    if is_read && is_page(path) {
        return assets::shell(&parts.headers);
    }
    match path {
        "/healthz" => return text("ok"),
        "/favicon.ico" | "/favicon.svg" => return assets::file("images/mark.svg", &parts.headers),
        "/start" if parts.method == Method::GET => return start(shared, &parts),
        "/p" => return redirect(StatusCode::TEMPORARY_REDIRECT, "/p/"),
        _ => {}
    }
    if !shared.is_owner(&parts.headers) {
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
    to_router(shared, Request::from_parts(parts, Body::new(body))).await
}

/// Asks for data, as somebody whose class is known.
async fn to_data(shared: &Arc<Shared>, request: Request<Incoming>, asker: api::Asker) -> Response {
    let mut request = request.map(Body::new);
    request.extensions_mut().insert(asker);
    to_router(shared, request).await
}

/// Somebody from outside asks for data of the own site, as a stranger.
async fn guests_data(shared: &Arc<Shared>, request: Request<Incoming>) -> Response {
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

/// The control pages; the script in the shell shows what the path names.
fn is_page(path: &str) -> bool {
    matches!(
        path,
        "/peers"
            | "/messages"
            | "/view"
            | "/edit"
            | "/database"
            | "/self"
            | "/logs"
            | "/topology"
            | "/docs"
    ) || path.strip_prefix("/peer/").is_some_and(|id| !id.is_empty())
}

fn redirect_of(path: &str) -> Option<&'static str> {
    Some(match path {
        "/" => "/peers",
        "/settings" => "/self#settings",
        "/apidocs" => "/docs",
        _ => return None,
    })
}

fn start(shared: &Shared, parts: &Parts) -> Response {
    let query = parts.uri.query().unwrap_or_default();
    let token = query
        .split('&')
        .find_map(|pair| pair.strip_prefix("token="))
        .unwrap_or_default();
    let redeemed = shared.session.redeem(token);
    if !redeemed && !shared.is_owner(&parts.headers) {
        return error(
            StatusCode::UNAUTHORIZED,
            "this link was used already, or is an old one: start the peer again and open the link it prints",
        );
    }
    let mut response = redirect(StatusCode::FOUND, "/peers");
    if redeemed && let Ok(cookie) = HeaderValue::from_str(&shared.session.set_cookie()) {
        response.headers_mut().insert(SET_COOKIE, cookie);
    }
    response
}

fn text(text: &'static str) -> Response {
    let mut response = Response::new(Body::from(text));
    response.headers_mut().insert(
        CONTENT_TYPE,
        HeaderValue::from_static("text/plain; charset=utf-8"),
    );
    response
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
    let router = shared
        .router
        .get_or_init(|| api::router(shared.clone()))
        .clone();
    match router.oneshot(request).await {
        Ok(response) => response,
        Err(never) => match never {},
    }
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
    fn is_owner(&self, headers: &HeaderMap) -> bool {
        let text = |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
        self.session.is_owner(text(COOKIE), text(AUTHORIZATION))
    }

    /// The origin of a site where names below `localhost` resolve.
    pub(crate) fn label_origin(&self, peer: &PeerId) -> String {
        format!(
            "http://{}.localhost:{}",
            host_label(peer),
            self.control_port
        )
    }

    /// The origin of a site for this browser; `None` when no port is left.
    pub(crate) fn origin_of(self: &Arc<Self>, peer: &PeerId, parts: &Parts) -> Option<String> {
        if cookie(&parts.headers, ORIGIN_COOKIE) != Some("port") || !self.is_owner(&parts.headers) {
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
        self.tasks.spawn(accept(
            self.clone(),
            listener,
            Listener::Site { port, peer },
        ));
        ports.insert(peer, port);
        Some(port)
    }
}

trait EmptyResponse {
    fn into_response_empty(self) -> Response;
}

impl EmptyResponse for StatusCode {
    fn into_response_empty(self) -> Response {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = self;
        response
    }
}
