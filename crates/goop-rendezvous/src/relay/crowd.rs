//! One address gets only a part of the relay's connections, so that a flood from one machine leaves the rest to others.

use std::collections::HashMap;
use std::convert::Infallible;
use std::fmt;
use std::net::IpAddr;
use std::task::{Context, Poll};

use goop_identity::PeerId;
use libp2p::Multiaddr;
use libp2p::core::Endpoint;
use libp2p::core::multiaddr::Protocol;
use libp2p::core::transport::PortUse;
use libp2p::swarm::{
    ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour, THandler, THandlerInEvent,
    THandlerOutEvent, ToSwarm, dummy,
};

use crate::limits::household;

/// The IP address at the front of a multiaddress.
pub(super) fn ip_of(addr: &Multiaddr) -> Option<IpAddr> {
    match addr.iter().next()? {
        Protocol::Ip4(ip) => Some(ip.into()),
        Protocol::Ip6(ip) => Some(IpAddr::from(ip).to_canonical()),
        _ => None,
    }
}

/// Connections that others opened, by address. Those of the proxy on this machine are not counted: it has all clients.
#[derive(Debug)]
pub(super) struct Crowd {
    most_pending: usize,
    most: usize,
    /// Being set up.
    pending: HashMap<ConnectionId, IpAddr>,
    established: HashMap<ConnectionId, IpAddr>,
    counts: HashMap<IpAddr, Count>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Count {
    pending: usize,
    established: usize,
}

/// Why a connection is refused.
#[derive(Debug)]
struct TooMany;

impl fmt::Display for TooMany {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("too many connections from this address")
    }
}

impl std::error::Error for TooMany {}

impl Crowd {
    /// So many connections of one address, and so many of them being set up.
    pub(super) fn new(most: usize, most_pending: usize) -> Self {
        Self {
            most_pending,
            most,
            pending: HashMap::new(),
            established: HashMap::new(),
            counts: HashMap::new(),
        }
    }

    fn no_longer_pending(&mut self, connection: ConnectionId) -> Option<IpAddr> {
        let ip = self.pending.remove(&connection)?;
        self.lower(ip, |count| count.pending -= 1);
        Some(ip)
    }

    fn lower(&mut self, ip: IpAddr, lower: impl FnOnce(&mut Count)) {
        if let Some(count) = self.counts.get_mut(&ip) {
            lower(count);
            if count.pending == 0 && count.established == 0 {
                self.counts.remove(&ip);
            }
        }
    }
}

impl NetworkBehaviour for Crowd {
    type ConnectionHandler = dummy::ConnectionHandler;
    type ToSwarm = Infallible;

    fn handle_pending_inbound_connection(
        &mut self,
        connection: ConnectionId,
        _: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<(), ConnectionDenied> {
        let Some(ip) = ip_of(remote).filter(|ip| !ip.is_loopback()) else {
            return Ok(());
        };
        let ip = household(ip);
        let count = self.counts.entry(ip).or_default();
        if count.pending >= self.most_pending || count.pending + count.established >= self.most {
            metrics::counter!("goop_relay_connections_refused").increment(1);
            return Err(ConnectionDenied::new(TooMany));
        }
        count.pending += 1;
        self.pending.insert(connection, ip);
        Ok(())
    }

    fn handle_established_inbound_connection(
        &mut self,
        _: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        _: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(dummy::ConnectionHandler)
    }

    fn handle_established_outbound_connection(
        &mut self,
        _: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(dummy::ConnectionHandler)
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        match event {
            FromSwarm::ConnectionEstablished(event) => {
                if let Some(ip) = self.no_longer_pending(event.connection_id) {
                    self.established.insert(event.connection_id, ip);
                    self.counts.entry(ip).or_default().established += 1;
                }
            }
            FromSwarm::ConnectionClosed(event) => {
                if let Some(ip) = self.established.remove(&event.connection_id) {
                    self.lower(ip, |count| count.established -= 1);
                }
            }
            FromSwarm::ListenFailure(event) => {
                self.no_longer_pending(event.connection_id);
            }
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use libp2p::core::ConnectedPoint;
    use libp2p::swarm::behaviour::ConnectionEstablished;
    use libp2p::swarm::{ConnectionClosed, ListenError, ListenFailure};

    use super::*;

    /// A connection of a machine reaches the relay; answers whether it may be set up.
    fn knocks(crowd: &mut Crowd, number: usize, from: &str) -> bool {
        let (local, remote) = (here(), from.parse().unwrap());
        let id = ConnectionId::new_unchecked(number);
        crowd
            .handle_pending_inbound_connection(id, &local, &remote)
            .is_ok()
    }

    fn here() -> Multiaddr {
        "/ip4/192.0.2.1/tcp/4001".parse().unwrap()
    }

    fn settle(crowd: &mut Crowd, number: usize, there: bool) {
        let endpoint = ConnectedPoint::Listener {
            local_addr: here(),
            send_back_addr: here(),
        };
        let (peer_id, connection_id) = (PeerId::random(), ConnectionId::new_unchecked(number));
        if there {
            crowd.on_swarm_event(FromSwarm::ConnectionEstablished(ConnectionEstablished {
                peer_id,
                connection_id,
                endpoint: &endpoint,
                failed_addresses: &[],
                other_established: 0,
            }));
        } else {
            crowd.on_swarm_event(FromSwarm::ListenFailure(ListenFailure {
                local_addr: &here(),
                send_back_addr: &here(),
                error: &ListenError::Aborted,
                connection_id,
                peer_id: None,
            }));
        }
    }

    #[test]
    fn a_flood_of_one_address_stays_within_its_part_and_others_come_in() {
        let (one, two) = ("/ip4/198.51.100.1/tcp/1", "/ip4/198.51.100.2/udp/1/quic-v1");
        let mut crowd = Crowd::new(3, 2);
        assert!(knocks(&mut crowd, 1, one) && knocks(&mut crowd, 2, one));
        assert!(!knocks(&mut crowd, 3, one), "two are being set up");
        assert!(knocks(&mut crowd, 4, two), "somebody else");
        settle(&mut crowd, 1, true);
        settle(&mut crowd, 2, false);
        assert!(knocks(&mut crowd, 5, one) && knocks(&mut crowd, 6, one));
        settle(&mut crowd, 5, true);
        settle(&mut crowd, 6, true);
        assert!(!knocks(&mut crowd, 7, one), "three are there");
        let endpoint = ConnectedPoint::Listener {
            local_addr: here(),
            send_back_addr: here(),
        };
        crowd.on_swarm_event(FromSwarm::ConnectionClosed(ConnectionClosed {
            peer_id: PeerId::random(),
            connection_id: ConnectionId::new_unchecked(1),
            endpoint: &endpoint,
            cause: None,
            remaining_established: 0,
        }));
        assert!(knocks(&mut crowd, 8, one), "one left");
    }

    #[test]
    fn the_proxy_of_this_machine_has_as_many_as_it_needs_and_nothing_is_left_behind() {
        let mut crowd = Crowd::new(1, 1);
        for number in 0..10 {
            assert!(knocks(&mut crowd, number, "/ip4/127.0.0.1/tcp/1"));
        }
        for number in 10..20 {
            assert!(knocks(&mut crowd, number, "/ip6/2001:db8::1/tcp/1"));
            assert!(!knocks(&mut crowd, 99, "/ip6/2001:db8::2/tcp/1"));
            settle(&mut crowd, number, false);
        }
        assert!(crowd.pending.is_empty() && crowd.counts.is_empty());
    }
}
