//! The libp2p behaviour under [`crate::router`] and [`crate::Net::open`]: accepts streams of the routed protocols and
//! opens streams to others.
//!
//! `libp2p-stream` has a small queue for inbound streams and resets what does not fit; here the handler passes each
//! stream on the moment it is negotiated, to a task of its own.

use std::collections::{HashMap, VecDeque};
use std::convert::Infallible;
use std::fmt;
use std::future::{Ready, ready};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use libp2p::core::transport::PortUse;
use libp2p::core::upgrade::{InboundUpgrade, OutboundUpgrade, UpgradeInfo};
use libp2p::core::Endpoint;
use libp2p::swarm::handler::{
    ConnectionEvent, DialUpgradeError, FullyNegotiatedInbound, FullyNegotiatedOutbound,
};
use libp2p::swarm::{
    ConnectionClosed, ConnectionDenied, ConnectionHandler, ConnectionHandlerEvent, ConnectionId, FromSwarm,
    NetworkBehaviour, NotifyHandler, StreamUpgradeError, SubstreamProtocol, THandler, THandlerInEvent,
    THandlerOutEvent, ToSwarm,
};
use libp2p::{Multiaddr, PeerId, Stream, StreamProtocol};
use tokio::sync::oneshot;

use crate::address::is_relayed;
use crate::router::{Caller, Serving};

/// How long the other side may take to agree on a protocol.
const NEGOTIATION: Duration = Duration::from_secs(10);
/// Streams being negotiated at once on one connection, in either direction.
const MAX_NEGOTIATING: usize = 256;

/// Why no stream came.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// Nobody said where the peer is, or no address answered.
    #[error("the peer cannot be reached: {0}")]
    Unreachable(String),
    /// It does not speak any of the protocols.
    #[error("the peer does not speak the protocol")]
    NotSpoken,
    /// The connection broke, or the peer was too slow.
    #[error("the connection failed: {0}")]
    Failed(String),
    /// This host is shutting down.
    #[error("the network is shutting down")]
    Closed,
}

/// A stream and the protocol it was opened for.
pub(crate) type Opened = (StreamProtocol, Stream);

/// A wish for a stream.
pub(crate) struct OpenRequest {
    pub(crate) protocols: Vec<StreamProtocol>,
    pub(crate) reply: oneshot::Sender<Result<Opened, OpenError>>,
}

impl fmt::Debug for OpenRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OpenRequest").field("protocols", &self.protocols).finish_non_exhaustive()
    }
}

/// The behaviour.
#[derive(Debug)]
pub(crate) struct Behaviour {
    serving: Arc<Serving>,
    connections: HashMap<PeerId, Vec<(ConnectionId, bool)>>,
    actions: VecDeque<ToSwarm<Infallible, OpenRequest>>,
}

impl Behaviour {
    pub(crate) fn new(serving: Arc<Serving>) -> Self {
        Self { serving, connections: HashMap::new(), actions: VecDeque::new() }
    }

    /// Opens a stream over an existing connection, a direct one if there is one. Gives the request back when there is
    /// no connection.
    pub(crate) fn open(&mut self, peer: PeerId, request: OpenRequest) -> Option<OpenRequest> {
        let Some(connections) = self.connections.get(&peer) else { return Some(request) };
        let direct = connections.iter().rev().find(|(_, relayed)| !relayed);
        let Some((connection, _)) = direct.or_else(|| connections.last()) else { return Some(request) };
        self.actions.push_back(ToSwarm::NotifyHandler {
            peer_id: peer,
            handler: NotifyHandler::One(*connection),
            event: request,
        });
        None
    }

    pub(crate) fn is_connected(&self, peer: &PeerId) -> bool {
        self.connections.contains_key(peer)
    }

    fn handler(&mut self, peer: PeerId, connection: ConnectionId, relayed: bool) -> Handler {
        self.connections.entry(peer).or_default().push((connection, relayed));
        Handler { serving: self.serving.clone(), caller: Caller { peer, relayed }, requests: VecDeque::new(), negotiating: 0 }
    }
}

impl NetworkBehaviour for Behaviour {
    type ConnectionHandler = Handler;
    type ToSwarm = Infallible;

    fn handle_established_inbound_connection(
        &mut self,
        connection: ConnectionId,
        peer: PeerId,
        local: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(self.handler(peer, connection, is_relayed(local) || is_relayed(remote)))
    }

    fn handle_established_outbound_connection(
        &mut self,
        connection: ConnectionId,
        peer: PeerId,
        addr: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(self.handler(peer, connection, is_relayed(addr)))
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        if let FromSwarm::ConnectionClosed(ConnectionClosed { peer_id, connection_id, .. }) = event
            && let Some(connections) = self.connections.get_mut(&peer_id)
        {
            connections.retain(|(id, _)| *id != connection_id);
            if connections.is_empty() {
                self.connections.remove(&peer_id);
            }
        }
    }

    fn on_connection_handler_event(&mut self, _: PeerId, _: ConnectionId, event: THandlerOutEvent<Self>) {
        match event {}
    }

    fn poll(&mut self, _: &mut Context<'_>) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        self.actions.pop_front().map_or(Poll::Pending, Poll::Ready)
    }
}

/// One connection.
#[derive(Debug)]
pub(crate) struct Handler {
    serving: Arc<Serving>,
    caller: Caller,
    requests: VecDeque<OpenRequest>,
    negotiating: usize,
}

impl ConnectionHandler for Handler {
    type FromBehaviour = OpenRequest;
    type ToBehaviour = Infallible;
    type InboundProtocol = Offer;
    type OutboundProtocol = Offer;
    type InboundOpenInfo = ();
    type OutboundOpenInfo = oneshot::Sender<Result<Opened, OpenError>>;

    fn listen_protocol(&self) -> SubstreamProtocol<Self::InboundProtocol> {
        SubstreamProtocol::new(Offer(self.serving.protocols().to_vec()), ()).with_timeout(NEGOTIATION)
    }

    /// Go peers never close idle connections (network.md 11).
    fn connection_keep_alive(&self) -> bool {
        true
    }

    fn poll(
        &mut self,
        _: &mut Context<'_>,
    ) -> Poll<ConnectionHandlerEvent<Self::OutboundProtocol, Self::OutboundOpenInfo, Self::ToBehaviour>> {
        if self.negotiating >= MAX_NEGOTIATING {
            return Poll::Pending;
        }
        // A caller that gave up needs no stream.
        while let Some(request) = self.requests.pop_front() {
            if request.reply.is_closed() {
                continue;
            }
            self.negotiating += 1;
            return Poll::Ready(ConnectionHandlerEvent::OutboundSubstreamRequest {
                protocol: SubstreamProtocol::new(Offer(request.protocols), request.reply).with_timeout(NEGOTIATION),
            });
        }
        Poll::Pending
    }

    fn on_behaviour_event(&mut self, request: OpenRequest) {
        self.requests.push_back(request);
    }

    fn on_connection_event(
        &mut self,
        event: ConnectionEvent<'_, Offer, Offer, (), Self::OutboundOpenInfo>,
    ) {
        match event {
            ConnectionEvent::FullyNegotiatedInbound(FullyNegotiatedInbound { protocol: (protocol, stream), .. }) => {
                self.serving.accept(self.caller, &protocol, stream);
            }
            ConnectionEvent::FullyNegotiatedOutbound(FullyNegotiatedOutbound { protocol, info: reply }) => {
                self.negotiating = self.negotiating.saturating_sub(1);
                // Who asked may have given up; then the stream is closed.
                let _ = reply.send(Ok(protocol));
            }
            ConnectionEvent::DialUpgradeError(DialUpgradeError { info: reply, error }) => {
                self.negotiating = self.negotiating.saturating_sub(1);
                let error = match error {
                    StreamUpgradeError::NegotiationFailed => OpenError::NotSpoken,
                    StreamUpgradeError::Timeout => OpenError::Failed("the peer took too long to answer".to_owned()),
                    StreamUpgradeError::Io(error) => OpenError::Failed(error.to_string()),
                    StreamUpgradeError::Apply(never) => match never {},
                };
                let _ = reply.send(Err(error));
            }
            _ => {}
        }
    }
}

/// Protocols offered or accepted, the preferred one first; the stream itself is the result.
#[derive(Debug, Clone)]
pub(crate) struct Offer(Vec<StreamProtocol>);

impl UpgradeInfo for Offer {
    type Info = StreamProtocol;
    type InfoIter = std::vec::IntoIter<StreamProtocol>;

    fn protocol_info(&self) -> Self::InfoIter {
        self.0.clone().into_iter()
    }
}

impl InboundUpgrade<Stream> for Offer {
    type Output = Opened;
    type Error = Infallible;
    type Future = Ready<Result<Self::Output, Self::Error>>;

    fn upgrade_inbound(self, stream: Stream, protocol: Self::Info) -> Self::Future {
        ready(Ok((protocol, stream)))
    }
}

impl OutboundUpgrade<Stream> for Offer {
    type Output = Opened;
    type Error = Infallible;
    type Future = Ready<Result<Self::Output, Self::Error>>;

    fn upgrade_outbound(self, stream: Stream, protocol: Self::Info) -> Self::Future {
        ready(Ok((protocol, stream)))
    }
}
