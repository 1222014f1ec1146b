//! From an inbound stream to the handler of its protocol.
//!
//! Each accepted stream has a task of its own from the moment it is negotiated, so no queue can overflow and none is
//! lost. How many are served at once is bounded by permits, a peer and a protocol at a time: a stream over the limit
//! waits unread, which holds its sender back through flow control and stops nobody else. What waits too long, and what
//! comes when a peer or the whole host already has its fill, is reset.
//!
//! A handler that panics ends its own stream only. The host's shutdown ends them all.

use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use libp2p::StreamProtocol;
use tokio::io::AsyncWriteExt;
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::PeerId;
use crate::stream::{Lifeline, Stream, Ticket};

/// How long closing a stream may take once its handler let go of it: what is buffered has to leave.
const FINISH_WAIT: Duration = Duration::from_secs(10);
/// Streams of one peer that are served or wait, over all protocols and connections. A Go peer accepts 1000 a connection
/// (network.md 2.2).
const STREAMS_PER_PEER: usize = 1_000;
/// Streams of everybody that are served or wait. Unread, each may hold 256 KiB (yamux' first window), so a flood from
/// many peers stops at 1 GiB of other people's bytes and far below that in practice.
const STREAMS: usize = 4_096;

/// Who opened a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Caller {
    /// The authenticated peer.
    pub peer: PeerId,
    /// The connection runs over a relay, which counts bytes and time.
    pub relayed: bool,
}

/// Serves the streams of one protocol.
///
/// Any `Fn(Caller, Stream) -> impl Future<Output = ()>` is one. The handler sets its own deadlines, because only it
/// knows what is slow; the router closes the stream when the handler lets go of it (see [`Stream`]).
pub trait Handler: Send + Sync + 'static {
    /// Serves one stream.
    fn serve(&self, caller: Caller, stream: Stream) -> BoxFuture<'static, ()>;
}

impl<F, Fut> Handler for F
where
    F: Fn(Caller, Stream) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = ()> + Send + 'static,
{
    fn serve(&self, caller: Caller, stream: Stream) -> BoxFuture<'static, ()> {
        Box::pin(self(caller, stream))
    }
}

/// How much of one protocol is served at the same time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RouteLimits {
    /// Streams served at once for one peer; more wait.
    pub per_peer: usize,
    /// Streams served at once for all peers together; more wait.
    pub total: usize,
    /// How long a stream waits for its turn before it is reset.
    pub wait: Duration,
}

impl Default for RouteLimits {
    /// As a Go peer: 64 a protocol and peer, 512 a protocol (network.md 2.2), and as long as a Go peer waits for a
    /// stream to be negotiated.
    fn default() -> Self {
        Self {
            per_peer: 64,
            total: 512,
            wait: Duration::from_secs(15),
        }
    }
}

struct Route {
    handler: Box<dyn Handler>,
    limits: RouteLimits,
    turns: Semaphore,
}

/// The protocols a host serves. All of them are known before it listens, so that the first list others see is whole.
#[derive(Default)]
pub struct Router {
    routes: Vec<(StreamProtocol, Route)>,
}

impl fmt::Debug for Router {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list()
            .entries(self.routes.iter().map(|(protocol, _)| protocol.as_ref()))
            .finish()
    }
}

impl Router {
    /// No protocols yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a protocol, or replaces the handler it had.
    #[must_use]
    pub fn route(
        mut self,
        protocol: StreamProtocol,
        limits: RouteLimits,
        handler: impl Handler,
    ) -> Self {
        self.routes.retain(|(known, _)| *known != protocol);
        let turns = Semaphore::new(limits.total);
        self.routes.push((
            protocol,
            Route {
                handler: Box::new(handler),
                limits,
                turns,
            },
        ));
        self
    }

    /// The protocols it knows, in the order they were added.
    pub fn protocols(&self) -> impl Iterator<Item = &StreamProtocol> {
        self.routes.iter().map(|(protocol, _)| protocol)
    }

    pub(crate) fn start(self) -> Arc<Serving> {
        let protocols: Arc<[StreamProtocol]> = self.protocols().cloned().collect();
        let routes = self
            .routes
            .into_iter()
            .map(|(_, route)| Arc::new(route))
            .collect();
        let streams = Arc::new(Semaphore::new(STREAMS));
        let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
        Arc::new(Serving {
            protocols,
            routes,
            streams,
            loads: Mutex::default(),
            tasks,
            stop,
        })
    }
}

/// A router at work.
pub(crate) struct Serving {
    protocols: Arc<[StreamProtocol]>,
    /// In the order of `protocols`.
    routes: Box<[Arc<Route>]>,
    streams: Arc<Semaphore>,
    loads: Mutex<HashMap<PeerId, Weak<PeerLoad>>>,
    tasks: TaskTracker,
    stop: CancellationToken,
}

/// What one peer keeps busy here; shared by all its connections.
#[derive(Debug)]
pub(crate) struct PeerLoad {
    streams: Arc<Semaphore>,
    /// Turns by route.
    turns: Box<[Arc<Semaphore>]>,
}

impl fmt::Debug for Serving {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Serving")
            .field("protocols", &self.protocols)
            .finish_non_exhaustive()
    }
}

impl Serving {
    pub(crate) fn protocols(&self) -> &Arc<[StreamProtocol]> {
        &self.protocols
    }

    /// The load of a peer; lives as long as one of its connections.
    pub(crate) fn load_of(&self, peer: PeerId) -> Arc<PeerLoad> {
        let mut loads = self.loads.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(load) = loads.get(&peer).and_then(Weak::upgrade) {
            return load;
        }
        loads.retain(|_, load| load.strong_count() > 0);
        let turns = self
            .routes
            .iter()
            .map(|route| Arc::new(Semaphore::new(route.limits.per_peer)))
            .collect();
        let load = Arc::new(PeerLoad {
            streams: Arc::new(Semaphore::new(STREAMS_PER_PEER)),
            turns,
        });
        loads.insert(peer, Arc::downgrade(&load));
        load
    }

    /// Takes a negotiated stream. Never waits; `lifeline` is its connection's.
    pub(crate) fn accept(
        &self,
        caller: Caller,
        load: &PeerLoad,
        protocol: &StreamProtocol,
        stream: libp2p::Stream,
        lifeline: Lifeline,
    ) {
        let Some(index) = self.protocols.iter().position(|known| known == protocol) else {
            return;
        };
        let (Ok(of_peer), Ok(of_all)) = (
            load.streams.clone().try_acquire_owned(),
            self.streams.clone().try_acquire_owned(),
        ) else {
            metrics::counter!("goop_net_streams_refused").increment(1);
            tracing::debug!(peer = %caller.peer, %protocol, "too many streams; one was reset");
            return;
        };
        metrics::counter!("goop_net_streams_accepted").increment(1);
        let route = self.routes[index].clone();
        let turns = load.turns[index].clone();
        let stop = self.stop.clone();
        let protocol = protocol.clone();
        self.tasks.spawn(async move {
            let (_of_peer, _of_all) = (of_peer, of_all);
            let served = AssertUnwindSafe(route.serve(caller, &turns, stream, lifeline)).catch_unwind();
            if let Some(Err(_)) = stop.run_until_cancelled(served).await {
                metrics::counter!("goop_net_handler_panics").increment(1);
                tracing::error!(peer = %caller.peer, %protocol, "a protocol handler panicked; its stream was reset");
            }
        });
    }

    /// Ends every handler that is still at work.
    pub(crate) async fn shutdown(&self) {
        self.tasks.close();
        self.stop.cancel();
        self.tasks.wait().await;
    }
}

impl Route {
    async fn serve(
        &self,
        caller: Caller,
        of_peer: &Semaphore,
        stream: libp2p::Stream,
        lifeline: Lifeline,
    ) {
        let turn = async { (of_peer.acquire().await, self.turns.acquire().await) };
        let Ok((Ok(_own), Ok(_total))) = timeout(self.limits.wait, turn).await else {
            metrics::counter!("goop_net_streams_refused").increment(1);
            tracing::debug!(peer = %caller.peer, "a stream waited too long for its turn and was reset");
            return;
        };
        let (stream, back) = Stream::served(stream, Ticket::new(lifeline, None));
        self.handler.serve(caller, stream).await;
        // The handler may have moved the stream to where it lives on; its turn lasts as long.
        if let Ok(mut raw) = back.await {
            // The peer may be gone; then there is nothing left to close.
            let _ = timeout(FINISH_WAIT, raw.shutdown()).await;
        }
    }
}
