//! A running server: sockets, connections, and the tasks behind them.
//!
//! [`Server::bind`] takes the port, so that a busy one is said before anything else happens; [`Server::run`] serves until
//! it is told to leave. Every connection and every socket is a task of one tracker, and the way out is bounded: streams
//! and sockets hear that the server ends, then the rest is cut.

use std::convert::Infallible;
use std::fs::File;
use std::io::{self, Read};
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use goop_identity::files::{self, Privacy};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio_io_timeout::TimeoutStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt;

use crate::address;
use crate::hub::{Hub, Keeping, now};
use crate::keeper::Keeper;
use crate::limits::{Limits, Open, Permit, TooMany};
use crate::lines::Lines;
use crate::onlooker::Onlooker;
use crate::relay::{self, Relay, RelayError};
use crate::settings::Settings;
use crate::state::{SWEEP, State};
use crate::store::Store;
use crate::web::{self, Sessions, Shared};

/// How long a request's head may take (rendezvous.md 1.1).
const HEAD_DEADLINE: Duration = Duration::from_secs(5);
/// Largest request head: a peer id, a cookie and what proxies add.
const MAX_HEAD: usize = 16 * 1024;
/// How long a client may leave an answer lying. One that reads nothing keeps its connection no longer than this.
const TAKE_WITHIN: Duration = Duration::from_secs(30);
/// Connections at once. Each needs a file descriptor; the program raises its own limit as far as it may.
const MAX_CONNECTIONS: usize = 30_000;
/// Connections that wait to be accepted when everybody comes back after a restart.
const BACKLOG: u32 = 4_096;
/// How long a polite end may take (rendezvous.md 1.1).
const DRAIN: Duration = Duration::from_millis(1_500);
/// After an accept that failed (no descriptors), how long until the next try.
const BREATH: Duration = Duration::from_millis(100);

/// Longest name of an instance.
const MAX_INSTANCE: u64 = 64;

/// Why a server does not start.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// The port is taken or not allowed.
    #[error(
        "the rendezvous cannot listen on {addr}: {source}. End the program that has the port, or change \
         presence.rendezvous_port or presence.rendezvous_bind in goop.json"
    )]
    Listen {
        /// The address.
        addr: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// The relay does not start.
    #[error(transparent)]
    Relay(#[from] RelayError),
}

/// A server that has its port.
pub struct Server {
    settings: Settings,
    listener: TcpListener,
    relay: Option<(Relay, relay::Running)>,
    metrics: Option<PrometheusHandle>,
    /// Who has the state, while the server runs.
    hub: watch::Sender<Option<Hub>>,
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Server")
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}

impl Server {
    /// Takes the port and starts the relay, if one is wanted.
    ///
    /// # Errors
    /// See [`ServerError`].
    pub async fn bind(settings: Settings) -> Result<Self, ServerError> {
        let listener = listen(settings.listen).map_err(|source| ServerError::Listen {
            addr: settings.listen,
            source,
        })?;
        let relay = match settings.relay.clone() {
            Some(relay) => Some(relay::start(relay, settings.external_url.clone()).await?),
            None => None,
        };
        Ok(Self {
            settings,
            listener,
            relay,
            metrics: None,
            hub: watch::channel(None).0,
        })
    }

    /// Shows these numbers at `/metrics`.
    #[must_use]
    pub fn with_metrics(mut self, metrics: PrometheusHandle) -> Self {
        self.metrics = Some(metrics);
        self
    }

    /// Who looks at it from inside this process.
    #[must_use]
    pub fn onlooker(&self) -> Onlooker {
        let relay = self.relay.as_ref().map(|(relay, _)| relay.peer_id);
        Onlooker::new(self.hub.subscribe(), &self.settings, relay)
    }

    /// Where it listens.
    ///
    /// # Errors
    /// What the system says.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves until `leave` is cancelled, and ends within two seconds of that.
    ///
    /// # Errors
    /// See [`ServerError`].
    pub async fn run(self, leave: CancellationToken) -> Result<(), ServerError> {
        let lines = Lines::default();
        let keeper = keeper(&self.settings).await;
        let keeping = if keeper.is_some() {
            Keeping::Yes
        } else {
            Keeping::No
        };
        let state = restored(keeper.as_ref()).await;
        let (hub, owner) = Hub::new(state, keeping, lines.clone());
        let owner = tokio::spawn(owner);
        self.hub.send_replace(Some(hub.clone()));
        let stop = CancellationToken::new();
        let mut parts = tokio::task::JoinSet::new();
        if let Some(keeper) = keeper {
            parts.spawn(keeper.run(hub.clone(), stop.clone()));
        }
        let relay = self.relay.map(|(relay, running)| {
            parts.spawn(running.run(hub.clone(), stop.clone()));
            relay
        });
        let store = templates(self.settings.templates_dir.clone()).await;
        let shared = Shared {
            settings: Arc::new(self.settings),
            hub,
            limits: Limits::default(),
            lines,
            relay,
            store: Arc::new(store),
            sessions: Sessions::default(),
            metrics: self.metrics,
            tasks: TaskTracker::new(),
            stop,
        };
        let router = web::router(shared.clone());
        let door = Door {
            limits: shared.limits.clone(),
            settings: shared.settings.clone(),
        };
        let connections = TaskTracker::new();
        let sweeping = tokio::spawn(sweep(shared.limits.clone(), leave.clone()));
        accept(&self.listener, &door, &router, &connections, &leave).await;
        drop(self.listener);
        shared.stop.cancel();
        let drained = async {
            connections.close();
            connections.wait().await;
            shared.tasks.close();
            shared.tasks.wait().await;
        };
        if tokio::time::timeout(DRAIN, drained).await.is_err() {
            tracing::debug!("connections are cut");
        }
        while parts.join_next().await.is_some() {}
        self.hub.send_replace(None);
        drop((router, shared, door));
        // Both end by themselves: one was told, the other has nobody left to serve.
        let _ = sweeping.await;
        if tokio::time::timeout(DRAIN, owner).await.is_err() {
            tracing::debug!("some requests still run");
        }
        Ok(())
    }
}

/// The file of the table, if one is wanted and can be had.
async fn keeper(settings: &Settings) -> Option<Keeper> {
    let path = settings.peer_db.as_ref()?;
    let instance = match instance(&settings.instance_file) {
        Ok(instance) => instance,
        Err(error) => {
            tracing::warn!(path = %settings.instance_file.display(), %error, "this server has no name of its own; peers are not remembered");
            return None;
        }
    };
    match Keeper::open(path, instance).await {
        Ok(keeper) => Some(keeper),
        Err(error) => {
            tracing::warn!(path = %path.display(), %error, "presence.peer_db_path cannot be opened; peers are not remembered over a restart");
            None
        }
    }
}

/// The name of this server among those that share a file: random, and the same after a restart.
fn instance(path: &Path) -> io::Result<String> {
    if let Some(folder) = path.parent() {
        files::create_secret_folder(folder)?;
    }
    let fresh = format!("{:016x}", rand::random::<u64>());
    match files::create_new(path, fresh.as_bytes(), Privacy::Secret) {
        Ok(()) => return Ok(fresh),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(error),
    }
    let mut name = String::new();
    File::open(path)?
        .take(MAX_INSTANCE)
        .read_to_string(&mut name)?;
    match name.trim() {
        "" => Err(io::Error::other("the file is empty; remove it")),
        name => Ok(name.to_owned()),
    }
}

/// The table as it was before a restart.
async fn restored(keeper: Option<&Keeper>) -> State {
    let mut state = State::new(now());
    let Some(keeper) = keeper else { return state };
    match keeper.load().await {
        Ok(rows) => {
            for (entry, instance) in rows {
                // What a Go server wrote has no instance; a restart may have changed the program.
                if instance.is_empty() || instance == keeper.instance() {
                    state.restore(entry, now());
                }
            }
        }
        Err(error) => tracing::warn!(%error, "presence.peer_db_path cannot be read"),
    }
    state
}

async fn templates(folder: Option<PathBuf>) -> Store {
    let Some(folder) = folder else {
        return Store::default();
    };
    let read = tokio::task::spawn_blocking(move || Store::read(&folder));
    read.await.unwrap_or_default()
}

fn listen(addr: SocketAddr) -> io::Result<TcpListener> {
    let socket = match addr {
        SocketAddr::V4(_) => TcpSocket::new_v4(),
        SocketAddr::V6(_) => TcpSocket::new_v6(),
    }?;
    // Connections of the last run may still linger on the port.
    #[cfg(unix)]
    socket.set_reuseaddr(true)?;
    socket.bind(addr)?;
    socket.listen(BACKLOG)
}

async fn sweep(limits: Limits, leave: CancellationToken) {
    let mut every = tokio::time::interval(SWEEP);
    loop {
        tokio::select! {
            _ = every.tick() => limits.sweep(tokio::time::Instant::now().into_std()),
            () = leave.cancelled() => return,
        }
    }
}

/// Who may come in.
struct Door {
    limits: Limits,
    settings: Arc<Settings>,
}

/// What an open connection holds; `None` for a proxy, which brings everybody's.
type Ticket = Option<Permit>;

impl Door {
    /// # Errors
    /// The address has too many connections.
    fn admit(&self, from: IpAddr) -> Result<Ticket, TooMany> {
        if address::is_trusted(from.to_canonical(), &self.settings.trusted_proxies) {
            return Ok(None);
        }
        self.limits.open(Open::Connection, from).map(Some)
    }
}

async fn accept(
    listener: &TcpListener,
    door: &Door,
    router: &Router,
    connections: &TaskTracker,
    leave: &CancellationToken,
) {
    let room = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        let permit = tokio::select! {
            permit = room.clone().acquire_owned() => permit,
            () = leave.cancelled() => return,
        };
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = leave.cancelled() => return,
        };
        match accepted {
            Ok((stream, from)) => {
                // Closed at once, so that it costs nobody else a place.
                let Ok(ticket) = door.admit(from.ip()) else {
                    metrics::counter!("goop_rendezvous_connections_refused_total").increment(1);
                    continue;
                };
                let router = router.clone();
                let leave = leave.clone();
                connections.spawn(async move {
                    serve(stream, from, router, leave).await;
                    drop((permit, ticket));
                });
            }
            Err(error) => {
                tracing::warn!(%error, "a connection was not accepted");
                tokio::time::sleep(BREATH).await;
            }
        }
    }
}

async fn serve(stream: TcpStream, from: SocketAddr, router: Router, leave: CancellationToken) {
    // Messages are small and worth more at once.
    let _ = stream.set_nodelay(true);
    let mut stream = TimeoutStream::new(stream);
    stream.set_write_timeout(Some(TAKE_WITHIN));
    let stream = Box::pin(stream);
    let service = service_fn(move |request: hyper::Request<Incoming>| {
        let router = router.clone();
        async move {
            let mut request = request.map(Body::new);
            request.extensions_mut().insert(ConnectInfo(from));
            Ok::<_, Infallible>(match router.oneshot(request).await {
                Ok(response) => response,
                Err(never) => match never {},
            })
        }
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_DEADLINE)
        .max_buf_size(MAX_HEAD)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    let mut connection = std::pin::pin!(connection);
    let outcome = tokio::select! {
        outcome = connection.as_mut() => outcome,
        () = leave.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = outcome {
        tracing::trace!(%error, "a connection broke off");
    }
}
