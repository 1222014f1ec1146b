//! One outbound pubsub stream a peer, and none over relays.
//!
//! gossipsub opens one on every connection, and two connections to one peer are the rule where both found each other at
//! the same moment. A Go peer keeps one inbound stream a peer and resets the older; gossipsub would open it again, five
//! times, and then never more. So only one connection of a peer may open it; when that one ends, the next one may.
//! Inbound streams are taken on every direct connection: which one the other side picks is its business.

use std::collections::{HashMap, HashSet, VecDeque};
use std::task::{Context, Poll};

use libp2p::core::transport::PortUse;
use libp2p::core::{ConnectedPoint, Endpoint};
use libp2p::swarm::behaviour::ConnectionEstablished;
use libp2p::swarm::handler::ConnectionEvent;
use libp2p::swarm::{
    ConnectionClosed, ConnectionDenied, ConnectionHandler, ConnectionHandlerEvent, ConnectionId,
    FromSwarm, NetworkBehaviour, NotifyHandler, SubstreamProtocol, THandler, THandlerInEvent,
    THandlerOutEvent, ToSwarm, dummy,
};
use libp2p::{Multiaddr, PeerId, gossipsub};

use crate::address::is_relayed;

type Inner = THandler<gossipsub::Behaviour>;
type Outbound = <Inner as ConnectionHandler>::OutboundProtocol;

/// gossipsub, held to one pipe.
pub(crate) struct OnePipe {
    inner: gossipsub::Behaviour,
    /// Direct connections of each peer; the first one has the pipe.
    direct: HashMap<PeerId, Vec<(ConnectionId, ConnectedPoint)>>,
    relayed: HashSet<ConnectionId>,
    successors: VecDeque<(PeerId, ConnectionId)>,
}

impl OnePipe {
    pub(crate) fn new(inner: gossipsub::Behaviour) -> Self {
        Self {
            inner,
            direct: HashMap::new(),
            relayed: HashSet::new(),
            successors: VecDeque::new(),
        }
    }

    pub(crate) fn gossip(&mut self) -> &mut gossipsub::Behaviour {
        &mut self.inner
    }

    /// Has gossipsub say again what we listen to. It says so once to each peer; but who comes on a new stream may have
    /// started anew and know nothing.
    fn introduce_again(
        &mut self,
        peer_id: PeerId,
        connection_id: ConnectionId,
        endpoint: &ConnectedPoint,
    ) {
        let event = ConnectionEstablished {
            peer_id,
            connection_id,
            endpoint,
            failed_addresses: &[],
            other_established: 0,
        };
        self.inner
            .on_swarm_event(FromSwarm::ConnectionEstablished(event));
    }

    fn pipe(&self, peer: &PeerId, inner: Inner) -> THandler<Self> {
        let may_open = self.direct.get(peer).is_none_or(Vec::is_empty);
        either::Either::Left(Pipe {
            inner,
            turn: if may_open { Turn::Open } else { Turn::Wait },
        })
    }
}

impl NetworkBehaviour for OnePipe {
    type ConnectionHandler = either::Either<Pipe, dummy::ConnectionHandler>;
    type ToSwarm = gossipsub::Event;

    fn handle_established_inbound_connection(
        &mut self,
        connection: ConnectionId,
        peer: PeerId,
        local: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        if is_relayed(local) || is_relayed(remote) {
            self.relayed.insert(connection);
            return Ok(either::Either::Right(dummy::ConnectionHandler));
        }
        let inner = self
            .inner
            .handle_established_inbound_connection(connection, peer, local, remote)?;
        Ok(self.pipe(&peer, inner))
    }

    fn handle_established_outbound_connection(
        &mut self,
        connection: ConnectionId,
        peer: PeerId,
        addr: &Multiaddr,
        role: Endpoint,
        port: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        if is_relayed(addr) {
            self.relayed.insert(connection);
            return Ok(either::Either::Right(dummy::ConnectionHandler));
        }
        let inner = self
            .inner
            .handle_established_outbound_connection(connection, peer, addr, role, port)?;
        Ok(self.pipe(&peer, inner))
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        match event {
            // gossipsub counts connections by these numbers; it must not count the relayed ones.
            FromSwarm::ConnectionEstablished(established) => {
                if self.relayed.contains(&established.connection_id) {
                    return;
                }
                let direct = self.direct.entry(established.peer_id).or_default();
                let other_established = direct.len();
                direct.push((established.connection_id, established.endpoint.clone()));
                let event = ConnectionEstablished {
                    other_established,
                    ..established
                };
                self.inner
                    .on_swarm_event(FromSwarm::ConnectionEstablished(event));
            }
            FromSwarm::ConnectionClosed(closed) => {
                if self.relayed.remove(&closed.connection_id) {
                    return;
                }
                let Some(direct) = self.direct.get_mut(&closed.peer_id) else {
                    return;
                };
                let had_the_pipe = direct
                    .first()
                    .is_some_and(|(first, _)| *first == closed.connection_id);
                direct.retain(|(connection, _)| *connection != closed.connection_id);
                let remaining_established = direct.len();
                let next = direct.first().cloned();
                if next.is_none() {
                    self.direct.remove(&closed.peer_id);
                }
                let event = ConnectionClosed {
                    remaining_established,
                    ..closed
                };
                self.inner
                    .on_swarm_event(FromSwarm::ConnectionClosed(event));
                if let Some((next, endpoint)) = next.filter(|_| had_the_pipe) {
                    self.successors.push_back((closed.peer_id, next));
                    self.introduce_again(closed.peer_id, next, &endpoint);
                }
            }
            FromSwarm::AddressChange(change) if self.relayed.contains(&change.connection_id) => {}
            other => self.inner.on_swarm_event(other),
        }
    }

    fn on_connection_handler_event(
        &mut self,
        peer: PeerId,
        connection: ConnectionId,
        event: THandlerOutEvent<Self>,
    ) {
        match event {
            either::Either::Left(event) => self
                .inner
                .on_connection_handler_event(peer, connection, event),
            either::Either::Right(never) => match never {},
        }
    }

    fn poll(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        if let Some((peer_id, connection)) = self.successors.pop_front() {
            let handler = NotifyHandler::One(connection);
            return Poll::Ready(ToSwarm::NotifyHandler {
                peer_id,
                handler,
                event: either::Either::Left(In::MayOpen),
            });
        }
        self.inner
            .poll(cx)
            .map(|action| action.map_in(|event| either::Either::Left(In::Inner(event))))
    }
}

/// What the behaviour says to a connection.
#[derive(Debug)]
pub(crate) enum In {
    /// The pipe is yours now.
    MayOpen,
    /// From gossipsub.
    Inner(<Inner as ConnectionHandler>::FromBehaviour),
}

/// gossipsub on one direct connection.
pub(crate) struct Pipe {
    inner: Inner,
    turn: Turn,
}

/// Whose turn it is to open the outbound stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Turn {
    /// Another connection has it. What gossipsub asks for is not done, and it goes on waiting for it.
    Wait,
    /// It is ours now, and gossipsub may be waiting: the stream is asked for without it.
    TakeOver,
    /// Asked for; gossipsub learns of the result as if it had asked.
    Opening,
    /// gossipsub decides.
    Open,
}

impl Pipe {
    /// The stream gossipsub would ask for; `None` when it gave up on this connection.
    fn outbound(&self) -> Option<SubstreamProtocol<Outbound>> {
        match self.inner.listen_protocol().into_upgrade().0 {
            either::Either::Left(protocol) => Some(SubstreamProtocol::new(protocol, ())),
            either::Either::Right(_) => None,
        }
    }
}

impl ConnectionHandler for Pipe {
    type FromBehaviour = In;
    type ToBehaviour = <Inner as ConnectionHandler>::ToBehaviour;
    type InboundProtocol = <Inner as ConnectionHandler>::InboundProtocol;
    type OutboundProtocol = Outbound;
    type InboundOpenInfo = ();
    type OutboundOpenInfo = ();

    fn listen_protocol(&self) -> SubstreamProtocol<Self::InboundProtocol> {
        self.inner.listen_protocol()
    }

    fn connection_keep_alive(&self) -> bool {
        self.inner.connection_keep_alive()
    }

    fn poll(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<ConnectionHandlerEvent<Self::OutboundProtocol, (), Self::ToBehaviour>> {
        if self.turn == Turn::TakeOver {
            let protocol = self.outbound();
            self.turn = if protocol.is_some() {
                Turn::Opening
            } else {
                Turn::Open
            };
            if let Some(protocol) = protocol {
                return Poll::Ready(ConnectionHandlerEvent::OutboundSubstreamRequest { protocol });
            }
        }
        loop {
            match self.inner.poll(cx) {
                Poll::Ready(ConnectionHandlerEvent::OutboundSubstreamRequest { .. })
                    if self.turn != Turn::Open => {}
                Poll::Ready(request @ ConnectionHandlerEvent::OutboundSubstreamRequest { .. }) => {
                    self.turn = Turn::Opening;
                    return Poll::Ready(request);
                }
                other => return other,
            }
        }
    }

    fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<Option<Self::ToBehaviour>> {
        self.inner.poll_close(cx)
    }

    fn on_behaviour_event(&mut self, event: In) {
        match event {
            In::MayOpen if self.turn == Turn::Wait => self.turn = Turn::TakeOver,
            In::MayOpen => {}
            In::Inner(event) => self.inner.on_behaviour_event(event),
        }
    }

    fn on_connection_event(
        &mut self,
        event: ConnectionEvent<'_, Self::InboundProtocol, Self::OutboundProtocol>,
    ) {
        if event.is_outbound() {
            self.turn = Turn::Open;
        }
        self.inner.on_connection_event(event);
    }
}
