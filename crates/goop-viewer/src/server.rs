//! The server: sockets, connections, and who asks.
//!
//! Every connection is a task of one tracker; [`Viewer::run`] ends them all, event streams first, and waits a bounded
//! time. What is answered is the business of [`crate::front`] for a peer and of [`crate::alone`] for a rendezvous server
//! alone.

use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use goop_rendezvous::Onlooker;
use http::header::{HOST, ORIGIN};
use http::{HeaderMap, HeaderName, Method, Request, StatusCode};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

use crate::Context;
use crate::alone::{self, Alone};
use crate::base::{Base, Desk, MAX_CONNECTIONS};
use crate::caller::{Asked, Listener, Refusal, classify};
use crate::events;
use crate::front::{self, Shared};
use crate::reply::{EmptyResponse, error};
use crate::session::Session;

/// The port of the pages where none is configured.
const DEFAULT_PORT: u16 = 8080;
/// How long a request's head may take; a slow one does not hold a connection for ever.
const HEAD_DEADLINE: Duration = Duration::from_secs(10);
/// Largest request head.
const MAX_HEAD: usize = 32 * 1024;
/// How long open requests may take to end at shutdown.
const DRAIN: Duration = Duration::from_millis(500);
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

/// What a viewer shows.
#[derive(Clone)]
pub(crate) enum Face {
    /// A peer.
    Peer(Arc<Shared>),
    /// A rendezvous server and nothing else.
    Server(Arc<Alone>),
}

impl Face {
    fn base(&self) -> &Base {
        match self {
            Self::Peer(shared) => &shared.base,
            Self::Server(alone) => &alone.base,
        }
    }
}

/// A bound viewer.
pub struct Viewer {
    face: Face,
    control: TcpListener,
    public: Option<TcpListener>,
}

impl std::fmt::Debug for Viewer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Viewer")
            .field("control_port", &self.control_port())
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

    /// The socket for the pages of a server alone: the port of `viewer.http_addr`, on loopback whatever address stands
    /// there (rendezvous.md 20); there is no site that could be published.
    ///
    /// Port 0 takes the one from before a restart, as in [`Viewer::bind_again`], or a free one.
    ///
    /// # Errors
    /// See [`ViewerError`].
    pub async fn bind_alone(http_addr: &str, before: Option<u16>) -> Result<Sockets, ViewerError> {
        let addr = parse_addr(http_addr.trim())?;
        let port = match addr.port() {
            0 => before.unwrap_or(0),
            port => port,
        };
        let loopback: IpAddr = match addr.ip() {
            IpAddr::V6(ip) if ip.is_loopback() => Ipv6Addr::LOCALHOST.into(),
            _ => Ipv4Addr::LOCALHOST.into(),
        };
        Ok(Sockets {
            control: listen(SocketAddr::new(loopback, port)).await?,
            public: None,
        })
    }

    /// Puts the viewer of a peer together over its sockets.
    ///
    /// # Errors
    /// See [`ViewerError`].
    pub fn new(sockets: Sockets, desk: Desk, context: Context) -> Result<Self, ViewerError> {
        let base = base(&sockets, desk)?;
        let face = Face::Peer(Arc::new(Shared::new(base, context)));
        Ok(Self::over(sockets, face))
    }

    /// Puts the viewer of a rendezvous server that runs without a peer together: settings and logs, for its owner.
    ///
    /// # Errors
    /// See [`ViewerError`].
    pub fn of_server(sockets: Sockets, desk: Desk, server: Onlooker) -> Result<Self, ViewerError> {
        let base = base(&sockets, desk)?;
        let face = Face::Server(Arc::new(Alone::new(base, server)));
        Ok(Self::over(sockets, face))
    }

    fn over(sockets: Sockets, face: Face) -> Self {
        Self {
            face,
            control: sockets.control,
            public: sockets.public,
        }
    }

    /// The address of the control pages.
    #[must_use]
    pub fn control_url(&self) -> String {
        control_url(&self.control, self.control_port())
    }

    /// The port of the control pages.
    #[must_use]
    pub fn control_port(&self) -> u16 {
        self.face.base().control_port
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
        let token = self.face.base().session.start_token().unwrap_or_default();
        format!("{}/start?token={token}", self.control_url())
    }

    /// Serves until `leave` is cancelled, then ends every connection within half a second.
    pub async fn run(self, leave: CancellationToken) {
        let face = self.face;
        let base = face.base().clone();
        if let Face::Peer(shared) = &face {
            let log = shared.context.mq.log().clone();
            let peers = events::follow_peers(log, shared.context.net.events());
            base.tasks.spawn(stop_with(base.stop.clone(), peers));
        }
        let control = Listener::Control {
            port: base.control_port,
        };
        base.tasks
            .spawn(accept(face.clone(), self.control, control));
        if let Some(public) = self.public {
            base.tasks.spawn(accept(face, public, Listener::Public));
        }
        leave.cancelled().await;
        base.stop.cancel();
        base.tasks.close();
        // What still runs after this is cut off with the runtime.
        let _ = tokio::time::timeout(DRAIN, base.tasks.wait()).await;
    }
}

/// What both kinds begin with; programs of the owner find their way from here on.
fn base(sockets: &Sockets, desk: Desk) -> Result<Base, ViewerError> {
    let addr = sockets.control.local_addr().map_err(ViewerError::Token)?;
    let port = addr.port();
    let session = Session::new(&desk.secret, port);
    session
        .write_token(&desk.data_folder, &control_url(&sockets.control, port))
        .map_err(ViewerError::Token)?;
    Ok(Base::new(desk, session, port))
}

fn control_url(control: &TcpListener, port: u16) -> String {
    match control.local_addr() {
        Ok(SocketAddr::V6(_)) => format!("http://[::1]:{port}"),
        _ => format!("http://127.0.0.1:{port}"),
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

pub(crate) async fn accept(face: Face, listener: TcpListener, kind: Listener) {
    let base = face.base().clone();
    loop {
        let accepted = tokio::select! {
            () = base.stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        let Ok((stream, _)) = accepted else {
            // Out of file handles, most likely; the next connection may fare better once others ended.
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        let Ok(permit) = base.connections.clone().try_acquire_owned() else {
            tracing::warn!("more than {MAX_CONNECTIONS} connections at once; one was refused");
            continue;
        };
        let connection = serve(face.clone(), base.stop.clone(), stream, kind);
        base.tasks.spawn(async move {
            connection.await;
            drop(permit);
        });
    }
}

async fn serve(face: Face, stop: CancellationToken, stream: TcpStream, kind: Listener) {
    // Small answers must not wait for Nagle's algorithm.
    let _ = stream.set_nodelay(true);
    let service = service_fn(move |request: Request<Incoming>| {
        let face = face.clone();
        async move { Ok::<_, Infallible>(Box::pin(answer(&face, kind, request)).await) }
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

async fn answer(face: &Face, kind: Listener, request: Request<Incoming>) -> Response {
    let caller = classify(
        kind,
        &asked(
            request.method(),
            request.uri().authority().map(http::uri::Authority::as_str),
            request.headers(),
        ),
    );
    let request = request.map(Body::new);
    match face {
        Face::Peer(shared) => front::answer(shared, caller, request).await,
        Face::Server(alone) => alone::answer(alone, caller, request).await,
    }
}

/// What those are told who are nobody we answer.
pub(crate) fn refused(refusal: Refusal, path: &str) -> Response {
    match refusal {
        Refusal::ForeignHost => error(
            StatusCode::MISDIRECTED_REQUEST,
            "this address is not served here: open the link that was printed when the peer started",
        ),
        // The pages ask for it to see whether names below `localhost` resolve; it says nothing but that.
        Refusal::ForeignOrigin if path == "/favicon.ico" => {
            StatusCode::NO_CONTENT.into_response_empty()
        }
        Refusal::ForeignOrigin => error(
            StatusCode::FORBIDDEN,
            "forbidden: another site may not use this peer",
        ),
    }
}

pub(crate) const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
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
