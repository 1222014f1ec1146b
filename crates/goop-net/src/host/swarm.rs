//! Putting the libp2p swarm together: transports, limits, behaviours, listeners.

use std::net::{Ipv4Addr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use libp2p::connection_limits::{self, ConnectionLimits};
use libp2p::core::multiaddr::Protocol;
use libp2p::gossipsub::IdentTopic;
use libp2p::swarm::NetworkBehaviour;
use libp2p::{Multiaddr, Swarm, SwarmBuilder, dns, gossipsub, identify, noise, ping, tcp, tls, yamux};

use crate::gossip;
use crate::net::{Listen, NetConfig, NetError};
use crate::router::Serving;
use crate::streams;

/// Streams one connection may have open; a Go peer allows 1000 inbound (network.md 2.2).
const MAX_STREAMS: usize = 1_024;
/// Connections in all. A LAN of peers fits; a flood does not.
const MAX_CONNECTIONS: u32 = 1_024;
/// Connections of one peer (network.md 2.2).
const MAX_PER_PEER: u32 = 8;
/// Connections that are being set up by others at the same time.
const MAX_PENDING_INBOUND: u32 = 128;
/// How long setting up a connection may take (network.md 2.2).
const CONNECT: Duration = Duration::from_secs(10);
/// A dead connection is noticed this fast.
const PING_EVERY: Duration = Duration::from_secs(10);
const PING_WITHIN: Duration = Duration::from_secs(10);
/// Largest data a QUIC stream may have in flight; fills a gigabit at 30 ms.
const QUIC_STREAM_WINDOW: u32 = 4 * 1024 * 1024;

/// Everything one connection does.
#[derive(NetworkBehaviour)]
pub(super) struct Behaviour {
    limits: connection_limits::Behaviour,
    identify: identify::Behaviour,
    ping: ping::Behaviour,
    pub(super) gossip: gossipsub::Behaviour,
    pub(super) streams: streams::Behaviour,
}

pub(super) async fn build(
    config: &NetConfig,
    serving: Arc<Serving>,
    topic: &IdentTopic,
) -> Result<Swarm<Behaviour>, NetError> {
    let other = |error: &dyn std::fmt::Display| NetError::Other(error.to_string());
    let muxer = || {
        let mut config = yamux::Config::default();
        config.set_max_num_streams(MAX_STREAMS);
        config
    };
    let mut gossip = gossip::behaviour(&config.keypair).map_err(NetError::Other)?;
    gossip.subscribe(topic).map_err(|error| other(&error))?;
    let identify = identify::Config::new(String::new(), config.keypair.public())
        .with_agent_version(config.agent.clone())
        .with_push_listen_addr_updates(true);
    let behaviour = Behaviour {
        limits: connection_limits::Behaviour::new(
            ConnectionLimits::default()
                .with_max_established(Some(MAX_CONNECTIONS))
                .with_max_established_per_peer(Some(MAX_PER_PEER))
                .with_max_pending_incoming(Some(MAX_PENDING_INBOUND)),
        ),
        identify: identify::Behaviour::new(identify),
        ping: ping::Behaviour::new(ping::Config::new().with_interval(PING_EVERY).with_timeout(PING_WITHIN)),
        gossip,
        streams: streams::Behaviour::new(serving),
    };
    let swarm = SwarmBuilder::with_existing_identity(config.keypair.clone())
        .with_tokio()
        .with_tcp(tcp::Config::default().nodelay(true), (tls::Config::new, noise::Config::new), muxer)
        .map_err(|error| other(&error))?
        .with_quic_config(|mut quic| {
            quic.max_concurrent_stream_limit = u32::try_from(MAX_STREAMS).unwrap_or(u32::MAX);
            quic.max_stream_data = QUIC_STREAM_WINDOW;
            quic.max_connection_data = 2 * QUIC_STREAM_WINDOW;
            quic
        })
        .with_dns_config(dns::ResolverConfig::default(), dns::ResolverOpts::default())
        .with_websocket((tls::Config::new, noise::Config::new), muxer)
        .await
        .map_err(|error| other(&error))?
        .with_behaviour(|_| behaviour)
        .map_err(|error| other(&error))?
        .with_swarm_config(|swarm| swarm.with_idle_connection_timeout(Duration::from_secs(u64::MAX / 4)))
        .with_connection_timeout(CONNECT)
        .build();
    Ok(swarm)
}

/// Starts every listener. One that works is enough; a taken TCP port is an error, because others were told it.
pub(super) async fn listen(swarm: &mut Swarm<Behaviour>, listen: Listen) -> Result<(), NetError> {
    let port = match listen {
        Listen::Loopback => {
            let addr = Multiaddr::empty().with(Protocol::Ip4(Ipv4Addr::LOCALHOST)).with(Protocol::Tcp(0));
            return swarm.listen_on(addr).map(drop).map_err(|error| NetError::Other(error.to_string()));
        }
        Listen::Network { port } => port,
    };
    let taken = |reason: String| NetError::Port { port, reason };
    if port != 0 {
        // libp2p shares the port (SO_REUSEPORT), so it would not notice another listener.
        TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).map_err(|error| taken(error.to_string()))?;
    }
    let tcp_v4 = swarm.listen_on(ip4().with(Protocol::Tcp(port)));
    let tcp_v6 = swarm.listen_on(ip6().with(Protocol::Tcp(port)));
    if let (Err(error), Err(_)) = (&tcp_v4, &tcp_v6) {
        return Err(taken(error.to_string()));
    }
    for addr in [ip4(), ip6()] {
        let addr = addr.with(Protocol::Udp(port)).with(Protocol::QuicV1);
        if let Err(error) = swarm.listen_on(addr.clone()) {
            tracing::info!(%addr, %error, "not listening here; other addresses serve");
        }
    }
    Ok(())
}

fn ip4() -> Multiaddr {
    Multiaddr::empty().with(Protocol::Ip4(Ipv4Addr::UNSPECIFIED))
}

fn ip6() -> Multiaddr {
    Multiaddr::empty().with(Protocol::Ip6(std::net::Ipv6Addr::UNSPECIFIED))
}
