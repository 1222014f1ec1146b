//! From an inbound stream to the handler of its protocol.
//!
//! Every accepted stream gets a task of its own at once, so none is ever lost in a queue. What a peer may do at the
//! same time is bounded by permits: a stream over the limit waits unread, which holds its sender back through flow
//! control, and one that waited too long is closed. A handler that panics ends its own stream only.

use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use futures::future::BoxFuture;
use libp2p::StreamProtocol;
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::PeerId;
use crate::stream::Stream;

/// How long a stream may wait for a permit. Longer than any honest handler takes for a small answer.
const PERMIT_WAIT: Duration = Duration::from_secs(30);
/// How long closing a stream may take once its handler returned.
const FINISH_WAIT: Duration = Duration::from_secs(10);

/// Who opened a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Caller {
    /// The authenticated peer.
    pub peer: PeerId,
    /// The connection runs over a relay.
    pub relayed: bool,
}

/// Serves the streams of one protocol.
///
/// Any `Fn(Caller, Stream) -> impl Future` is one. The handler sets its own deadlines; the router closes the stream.
pub trait Handler: Send + Sync + 'static {
    /// Serves one stream and gives it back to be closed; a handler that keeps it returns `None`.
    fn serve(&self, caller: Caller, stream: Stream) -> BoxFuture<'static, Option<Stream>>;
}

impl<F, Fut> Handler for F
where
    F: Fn(Caller, Stream) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Option<Stream>> + Send + 'static,
{
    fn serve(&self, caller: Caller, stream: Stream) -> BoxFuture<'static, Option<Stream>> {
        Box::pin(self(caller, stream))
    }
}

/// What one peer may do at the same time on one protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RouteLimits {
    /// Streams served at once for one peer; more wait.
    pub per_peer: usize,
}

impl Default for RouteLimits {
    /// As many as a Go peer allows (network.md 2.2: 64 a protocol and peer).
    fn default() -> Self {
        Self { per_peer: 64 }
    }
}

struct Route {
    handler: Box<dyn Handler>,
    limits: RouteLimits,
    /// One semaphore a peer that has streams open.
    permits: Mutex<HashMap<PeerId, Weak<Semaphore>>>,
}

/// The protocols a host serves. All of them are known before it listens, so that the first list others see is whole.
#[derive(Default)]
pub struct Router {
    routes: Vec<(StreamProtocol, Route)>,
}

impl fmt::Debug for Router {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.routes.iter().map(|(protocol, _)| protocol.as_ref())).finish()
    }
}

impl Router {
    /// No protocols yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a protocol.
    #[must_use]
    pub fn route(mut self, protocol: StreamProtocol, limits: RouteLimits, handler: impl Handler) -> Self {
        let route = Route { handler: Box::new(handler), limits, permits: Mutex::default() };
        self.routes.push((protocol, route));
        self
    }

    pub(crate) fn start(self) -> Arc<Serving> {
        let protocols = self.routes.iter().map(|(protocol, _)| protocol.clone()).collect();
        let routes = self.routes.into_iter().map(|(protocol, route)| (protocol, Arc::new(route))).collect();
        Arc::new(Serving { routes, protocols, tasks: TaskTracker::new(), stop: CancellationToken::new() })
    }
}

/// A router at work.
pub(crate) struct Serving {
    routes: HashMap<StreamProtocol, Arc<Route>>,
    protocols: Vec<StreamProtocol>,
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl fmt::Debug for Serving {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Serving").field("protocols", &self.protocols).finish_non_exhaustive()
    }
}

impl Serving {
    pub(crate) fn protocols(&self) -> &[StreamProtocol] {
        &self.protocols
    }

    /// Takes a negotiated stream. Never waits and never refuses.
    pub(crate) fn accept(&self, caller: Caller, protocol: &StreamProtocol, stream: libp2p::Stream) {
        let Some(route) = self.routes.get(protocol).cloned() else { return };
        metrics::counter!("goop_net_streams_accepted").increment(1);
        let stop = self.stop.clone();
        self.tasks.spawn(async move {
            tokio::select! {
                () = stop.cancelled() => {}
                () = route.serve(caller, Stream::new(stream)) => {}
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
    async fn serve(&self, caller: Caller, stream: Stream) {
        let permits = self.permits_of(caller.peer);
        let Ok(Ok(_permit)) = timeout(PERMIT_WAIT, permits.acquire_owned()).await else {
            metrics::counter!("goop_net_streams_refused").increment(1);
            return;
        };
        let served = self.handler.serve(caller, stream).await;
        if let Some(mut stream) = served {
            // The peer may be gone; then there is nothing left to close.
            let _ = timeout(FINISH_WAIT, stream.finish()).await;
        }
    }

    fn permits_of(&self, peer: PeerId) -> Arc<Semaphore> {
        let mut permits = self.permits.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(existing) = permits.get(&peer).and_then(Weak::upgrade) {
            return existing;
        }
        permits.retain(|_, weak| weak.strong_count() > 0);
        let fresh = Arc::new(Semaphore::new(self.limits.per_peer));
        permits.insert(peer, Arc::downgrade(&fresh));
        fresh
    }
}
