//! The libp2p behaviour under [`crate::router`] and [`crate::links`]: accepts streams of the routed protocols and opens
//! streams to others.
//!
//! `libp2p-stream` has a small queue for inbound streams and resets what does not fit; here the handler passes each
//! stream on the moment it is negotiated, to a task of its own. The connection's own limits hold before that: 128
//! streams are negotiated at once, 256 more may wait unacknowledged, and an honest peer opens no more than that (yamux'
//! acknowledgement backlog, which Go keeps too).

use std::collections::HashMap;
use std::convert::Infallible;
use std::future::{Ready, ready};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use libp2p::core::Endpoint;
use libp2p::core::transport::PortUse;
use libp2p::core::upgrade::{InboundUpgrade, OutboundUpgrade, UpgradeInfo};
use libp2p::swarm::behaviour::ConnectionEstablished;
use libp2p::swarm::handler::{
    ConnectionEvent, DialUpgradeError, FullyNegotiatedInbound, FullyNegotiatedOutbound,
};
use libp2p::swarm::{
    ConnectionClosed, ConnectionDenied, ConnectionHandler, ConnectionHandlerEvent, ConnectionId,
    FromSwarm, NetworkBehaviour, StreamUpgradeError, SubstreamProtocol, THandler, THandlerInEvent,
    THandlerOutEvent, ToSwarm,
};
use libp2p::{Multiaddr, PeerId, Stream, StreamProtocol};
use tokio::sync::oneshot;

use crate::address::is_relayed;
use crate::links::{Link, LinkEnd, Links, OpenError, OpenRequest, Opened};
use crate::router::{Caller, PeerLoad, Serving};

/// How long the other side may take to agree on a protocol (network.md 2.2).
const NEGOTIATION: Duration = Duration::from_secs(10);
/// Streams of ours being negotiated at once on one connection: yamux' acknowledgement backlog, after which it would
/// not open more either.
const MAX_NEGOTIATING: usize = 256;

/// The behaviour.
#[derive(Debug)]
pub(crate) struct Behaviour {
    serving: Arc<Serving>,
    links: Arc<Links>,
    /// Connections that may still be denied by somebody else.
    fresh: HashMap<ConnectionId, Link>,
}

impl Behaviour {
    pub(crate) fn new(serving: Arc<Serving>, links: Arc<Links>) -> Self {
        Self {
            serving,
            links,
            fresh: HashMap::new(),
        }
    }

    fn handler(&mut self, peer: PeerId, link: Link, end: LinkEnd) -> Handler {
        let caller = Caller {
            peer,
            relayed: link.relayed,
        };
        self.fresh.insert(link.id, link);
        let load = self.serving.load_of(peer);
        Handler {
            serving: self.serving.clone(),
            load,
            caller,
            end,
            negotiating: 0,
        }
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
        let (link, end) = Link::new(
            connection,
            remote.clone(),
            is_relayed(local) || is_relayed(remote),
            false,
        );
        Ok(self.handler(peer, link, end))
    }

    fn handle_established_outbound_connection(
        &mut self,
        connection: ConnectionId,
        peer: PeerId,
        addr: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        let (link, end) = Link::new(connection, addr.clone(), is_relayed(addr), true);
        Ok(self.handler(peer, link, end))
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        match event {
            FromSwarm::ConnectionEstablished(ConnectionEstablished {
                peer_id,
                connection_id,
                ..
            }) => {
                if let Some(link) = self.fresh.remove(&connection_id) {
                    self.links.add(peer_id, link);
                }
            }
            FromSwarm::ConnectionClosed(ConnectionClosed {
                peer_id,
                connection_id,
                ..
            }) => {
                self.links.remove(&peer_id, connection_id);
            }
            FromSwarm::DialFailure(failure) => drop(self.fresh.remove(&failure.connection_id)),
            FromSwarm::ListenFailure(failure) => drop(self.fresh.remove(&failure.connection_id)),
            _ => {}
        }
    }

    fn on_connection_handler_event(
        &mut self,
        _: PeerId,
        _: ConnectionId,
        event: THandlerOutEvent<Self>,
    ) {
        match event {}
    }

    fn poll(&mut self, _: &mut Context<'_>) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        Poll::Pending
    }
}

/// One connection.
#[derive(Debug)]
pub(crate) struct Handler {
    serving: Arc<Serving>,
    load: Arc<PeerLoad>,
    caller: Caller,
    end: LinkEnd,
    negotiating: usize,
}

impl ConnectionHandler for Handler {
    type FromBehaviour = Infallible;
    type ToBehaviour = Infallible;
    type InboundProtocol = Offer;
    type OutboundProtocol = Offer;
    type InboundOpenInfo = ();
    type OutboundOpenInfo = oneshot::Sender<Result<Opened, OpenError>>;

    fn listen_protocol(&self) -> SubstreamProtocol<Self::InboundProtocol> {
        SubstreamProtocol::new(Offer(self.serving.protocols().clone()), ())
            .with_timeout(NEGOTIATION)
    }

    /// Go peers never close idle connections (network.md 11).
    fn connection_keep_alive(&self) -> bool {
        true
    }

    fn poll(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<
        ConnectionHandlerEvent<Self::OutboundProtocol, Self::OutboundOpenInfo, Self::ToBehaviour>,
    > {
        if self.negotiating >= MAX_NEGOTIATING {
            // Woken by the end of a negotiation.
            return Poll::Pending;
        }
        while let Poll::Ready(Some(OpenRequest { protocols, reply })) =
            self.end.requests.poll_recv(cx)
        {
            // A caller that gave up needs no stream.
            if reply.is_closed() {
                continue;
            }
            self.negotiating += 1;
            let protocol =
                SubstreamProtocol::new(Offer(protocols), reply).with_timeout(NEGOTIATION);
            return Poll::Ready(ConnectionHandlerEvent::OutboundSubstreamRequest { protocol });
        }
        Poll::Pending
    }

    /// The connection is being closed from this side.
    fn poll_close(&mut self, _: &mut Context<'_>) -> Poll<Option<Self::ToBehaviour>> {
        self.end.lifeline.gone.cancel();
        Poll::Ready(None)
    }

    fn on_behaviour_event(&mut self, event: Self::FromBehaviour) {
        match event {}
    }

    fn on_connection_event(
        &mut self,
        event: ConnectionEvent<'_, Offer, Offer, (), Self::OutboundOpenInfo>,
    ) {
        match event {
            ConnectionEvent::FullyNegotiatedInbound(FullyNegotiatedInbound {
                protocol: (protocol, stream),
                ..
            }) => {
                self.serving.accept(
                    self.caller,
                    &self.load,
                    &protocol,
                    stream,
                    self.end.lifeline.clone(),
                );
            }
            ConnectionEvent::FullyNegotiatedOutbound(FullyNegotiatedOutbound {
                protocol,
                info: reply,
            }) => {
                self.negotiating = self.negotiating.saturating_sub(1);
                // Who asked may have given up; then the stream is closed.
                let _ = reply.send(Ok(protocol));
            }
            ConnectionEvent::DialUpgradeError(DialUpgradeError { info: reply, error }) => {
                self.negotiating = self.negotiating.saturating_sub(1);
                let error = match error {
                    StreamUpgradeError::NegotiationFailed => OpenError::NotSpoken,
                    StreamUpgradeError::Timeout => {
                        OpenError::Failed("it took too long to answer".to_owned())
                    }
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
pub(crate) struct Offer(Arc<[StreamProtocol]>);

impl UpgradeInfo for Offer {
    type Info = StreamProtocol;
    type InfoIter = Names;

    fn protocol_info(&self) -> Names {
        Names {
            list: self.0.clone(),
            next: 0,
        }
    }
}

/// The names of an [`Offer`], without copying the list: libp2p asks for them at every turn of a connection.
#[derive(Debug)]
pub(crate) struct Names {
    list: Arc<[StreamProtocol]>,
    next: usize,
}

impl Iterator for Names {
    type Item = StreamProtocol;

    fn next(&mut self) -> Option<StreamProtocol> {
        let name = self.list.get(self.next).cloned();
        self.next += 1;
        name
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
