//! A running server: sockets, connections, and the tasks behind them.
//!
//! [`Server::bind`] takes the port, so that a busy one is said before anything else happens; [`Server::run`] serves until
//! it is told to leave. Every connection and every socket is a task of one tracker, and the way out is bounded: streams
//! and sockets hear that the server ends, then the rest is cut.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt;

use crate::hub::{Hub, Keeping, now};
use crate::limits::Limits;
use crate::lines::Lines;
use crate::settings::Settings;
use crate::state::{SWEEP, State};
use crate::web::{self, Shared};

/// How long a request's head may take (rendezvous.md 1.1).
const HEAD_DEADLINE: Duration = Duration::from_secs(5);
/// Largest request head: a peer id, a cookie and what proxies add.
const MAX_HEAD: usize = 16 * 1024;
/// Connections at once. Each needs a file descriptor; the program raises its own limit as far as it may.
const MAX_CONNECTIONS: usize = 30_000;
/// Connections that wait to be accepted when everybody comes back after a restart.
const BACKLOG: u32 = 4_096;
/// How long a polite end may take (rendezvous.md 1.1).
const DRAIN: Duration = Duration::from_millis(1_500);
/// After an accept that failed (no descriptors), how long until the next try.
const BREATH: Duration = Duration::from_millis(100);

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
}

/// A server that has its port.
#[derive(Debug)]
pub struct Server {
    settings: Settings,
    listener: TcpListener,
}

impl Server {
    /// Takes the port.
    ///
    /// # Errors
    /// See [`ServerError`].
    pub async fn bind(settings: Settings) -> Result<Self, ServerError> {
        let listener = listen(settings.listen).map_err(|source| ServerError::Listen {
            addr: settings.listen,
            source,
        })?;
        Ok(Self { settings, listener })
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
        let (hub, owner) = Hub::new(State::new(now()), Keeping::No, lines.clone());
        let owner = tokio::spawn(owner);
        let shared = Shared {
            settings: Arc::new(self.settings),
            hub,
            limits: Limits::default(),
            lines,
            tasks: TaskTracker::new(),
            stop: CancellationToken::new(),
        };
        let router = web::router(shared.clone());
        let connections = TaskTracker::new();
        let sweeping = tokio::spawn(sweep(shared.limits.clone(), leave.clone()));
        accept(&self.listener, &router, &connections, &leave).await;
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
        drop((router, shared));
        // Both end by themselves: one was told, the other has nobody left to serve.
        let _ = sweeping.await;
        if tokio::time::timeout(DRAIN, owner).await.is_err() {
            tracing::debug!("some requests still run");
        }
        Ok(())
    }
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

async fn accept(
    listener: &TcpListener,
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
                let router = router.clone();
                let leave = leave.clone();
                connections.spawn(async move {
                    serve(stream, from, router, leave).await;
                    drop(permit);
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
