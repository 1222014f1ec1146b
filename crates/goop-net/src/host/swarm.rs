//! Putting the libp2p swarm together: transports, limits, behaviours, listeners.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use libp2p::connection_limits::{self, ConnectionLimits};
use libp2p::core::ConnectedPoint;
use libp2p::core::multiaddr::Protocol;
use libp2p::core::muxing::{StreamMuxer, StreamMuxerBox};
use libp2p::core::transport::Boxed;
use libp2p::core::upgrade::Version;
use libp2p::gossipsub::IdentTopic;
use libp2p::swarm::NetworkBehaviour;
use libp2p::{Multiaddr, Swarm, SwarmBuilder, Transport, dns, noise, ping, quic, tcp, tls, yamux};

use super::websocket::WebSockets;
use crate::PeerId;
use crate::circuit::security::Security;
use crate::circuit::transport::{Circuits, everywhere};
use crate::config::{Listen, NetConfig, NetError, Transports};
use crate::gossip::{self, OnePipe};
use crate::identify;
use crate::links::Links;
use crate::router::Serving;
use crate::streams;

/// Streams one yamux connection may have open, both directions together; a peer that exceeds it loses the connection.
/// Go peers allow 1000 inbound and reset the rest (network.md 2.2), ours open at most 850.
const MAX_STREAMS: usize = 2_048;
/// Connections in all. A LAN of peers fits; a flood does not.
const MAX_CONNECTIONS: u32 = 1_024;
/// Connections of one peer (network.md 2.2).
const MAX_PER_PEER: u32 = 8;
/// Connections that others are setting up at the same time.
const MAX_PENDING_INBOUND: u32 = 128;
/// How long setting up a connection may take (network.md 2.2 gives 5 s on a LAN and 15 s elsewhere).
const CONNECT: Duration = Duration::from_secs(10);
/// A connection is asked for a sign of life this often. Go peers ask every 5 s of their own accord (yamux), QUIC does
/// too, so this finds only what neither sees.
const PING_EVERY: Duration = Duration::from_secs(15);
/// As long as a Go peer waits for its own (network.md 2.2).
const PING_WITHIN: Duration = Duration::from_secs(10);
/// Streams that the other side may have open on a QUIC connection: the 850 that ours open (`OUTBOUND_STREAMS`), and those of
/// the library. The library reserves room for each on every connection, 42 KiB in all; for 2,048 it would be 168.
const QUIC_STREAMS: u32 = 896;
/// Bytes a QUIC stream may have in flight, which is also what either side buffers for a reader that pauses. It fills a
/// gigabit at 20 ms.
const QUIC_STREAM_WINDOW: u32 = 2_560 * 1024;
/// All streams of a QUIC connection together.
const QUIC_WINDOW: u32 = 2 * QUIC_STREAM_WINDOW;
/// A QUIC connection without a sign of life is gone after this (milliseconds); it asks for one every 5 s.
const QUIC_IDLE: u32 = 15_000;
/// Listeners on a port the system chose: how often another one is tried when the first is taken for UDP or IPv6.
const FREE_PORT_TRIES: usize = 16;

/// Everything one connection does. The limits come first, so that nobody else sees what they refuse.
#[derive(NetworkBehaviour)]
pub(super) struct Behaviour {
    limits: connection_limits::Behaviour,
    pub(super) identify: libp2p::identify::Behaviour,
    ping: ping::Behaviour,
    pub(super) gossip: OnePipe,
    streams: streams::Behaviour,
}

fn muxer() -> yamux::Config {
    let mut config = yamux::Config::default();
    config.set_max_num_streams(MAX_STREAMS);
    config
}

fn quic_config(mut quic: quic::Config) -> quic::Config {
    quic.max_concurrent_stream_limit = QUIC_STREAMS;
    quic.max_stream_data = QUIC_STREAM_WINDOW;
    quic.max_connection_data = QUIC_WINDOW;
    quic.max_idle_timeout = QUIC_IDLE;
    quic
}

fn other(error: &dyn std::fmt::Display) -> NetError {
    NetError::Other(error.to_string())
}

/// A swarm that does not listen yet. Waits for nothing: names are resolved when somebody dials one.
pub(super) async fn build(
    config: &NetConfig,
    serving: Arc<Serving>,
    links: Arc<Links>,
    circuits: Circuits,
    topic: &IdentTopic,
) -> Result<Swarm<Behaviour>, NetError> {
    let mut gossip = gossip::behaviour(&config.keypair).map_err(NetError::Other)?;
    gossip.subscribe(topic).map_err(|error| other(&error))?;
    let limits = ConnectionLimits::default()
        .with_max_established(Some(MAX_CONNECTIONS))
        .with_max_established_per_peer(Some(MAX_PER_PEER))
        .with_max_pending_incoming(Some(MAX_PENDING_INBOUND));
    let behaviour = Behaviour {
        limits: connection_limits::Behaviour::new(limits),
        identify: identify::behaviour(&config.keypair, &config.agent),
        ping: ping::Behaviour::new(
            ping::Config::new()
                .with_interval(PING_EVERY)
                .with_timeout(PING_WITHIN),
        ),
        gossip: OnePipe::new(gossip),
        streams: streams::Behaviour::new(serving, links.clone()),
    };
    let circuits = circuits
        .upgrade(Version::V1Lazy)
        .authenticate(Security::new(&config.keypair)?)
        .multiplex(muxer());
    let tcp = tcp::Config::default().nodelay(true);
    let builder = SwarmBuilder::with_existing_identity(config.keypair.clone()).with_tokio();
    // A macro, because each set of transports is another type until the swarm is built.
    macro_rules! finish {
        ($builder:expr) => {
            $builder
                .with_behaviour(|_| behaviour)
                .map_err(|error| other(&error))?
                .with_swarm_config(|swarm| {
                    swarm
                        // Go peers never close idle connections (network.md 11). The end of time overflows.
                        .with_idle_connection_timeout(Duration::from_secs(u64::from(u32::MAX)))
                        // QUIC first, TCP 30 ms later: one handshake instead of a race of all addresses.
                        .with_smart_dial()
                })
                .with_connection_timeout(CONNECT)
                .build()
        };
    }
    Ok(match config.transports {
        Transports::All => {
            let circuits = circuits.map(boxed);
            let every = every_transport(config, tcp, circuits, links)?;
            let builder = builder
                .with_other_transport(|_| every)
                .map_err(|error| other(&error))?;
            finish!(builder)
        }
        Transports::TcpNoise => {
            finish!(
                builder
                    .with_tcp(tcp, noise::Config::new, muxer)
                    .map_err(|error| other(&error))?
                    .with_other_transport(|_| circuits)
                    .map_err(|error| other(&error))?
            )
        }
        Transports::TcpTls => {
            finish!(
                builder
                    .with_tcp(tcp, tls::Config::new, muxer)
                    .map_err(|error| other(&error))?
                    .with_other_transport(|_| circuits)
                    .map_err(|error| other(&error))?
            )
        }
        Transports::Quic => finish!(
            builder
                .with_tcp(tcp, tls::Config::new, muxer)
                .map_err(|error| other(&error))?
                .with_quic_config(quic_config)
                .with_other_transport(|_| circuits)
                .map_err(|error| other(&error))?
        ),
    })
}

/// TCP, QUIC and circuits, at names too, and WebSockets. The library's builder would put them together, but for WebSockets
/// it trusts no certificate of the machine, and does not start on one without name servers.
fn every_transport(
    config: &NetConfig,
    tcp: tcp::Config,
    circuits: impl Transport<
        Output = (PeerId, StreamMuxerBox),
        Error: Send + Sync,
        Dial: Send,
        ListenerUpgrade: Send,
    > + Send
    + Unpin
    + 'static,
    links: Arc<Links>,
) -> Result<Boxed<(PeerId, StreamMuxerBox)>, NetError> {
    let (resolver, options) = system_dns();
    let security = Security::new(&config.keypair)?;
    let sockets = WebSockets::new(
        dns::tokio::Transport::custom(
            tcp::tokio::Transport::new(tcp.clone()),
            resolver.clone(),
            options.clone(),
        ),
        links,
    )
    .upgrade(Version::V1Lazy)
    .authenticate(security.clone())
    .multiplex(muxer())
    .map(boxed);
    let direct = tcp::tokio::Transport::new(tcp)
        .upgrade(Version::V1Lazy)
        .authenticate(security)
        .multiplex(muxer())
        .map(boxed)
        .or_transport(
            quic::tokio::Transport::new(quic_config(quic::Config::new(&config.keypair))).map(boxed),
        )
        .map(|either, _| either.into_inner())
        .or_transport(circuits)
        .map(|either, _| either.into_inner());
    // A WebSocket keeps its name: that is what its certificate is for.
    Ok(sockets
        .or_transport(dns::tokio::Transport::custom(direct, resolver, options))
        .map(|either, _| either.into_inner())
        .boxed())
}

fn boxed<M>((peer, connection): (PeerId, M), _: ConnectedPoint) -> (PeerId, StreamMuxerBox)
where
    M: StreamMuxer + Send + 'static,
    M::Substream: Send + 'static,
    M::Error: Send + Sync + 'static,
{
    (peer, StreamMuxerBox::new(connection))
}

/// The name servers of the machine. Without any, addresses with names cannot be dialled, and nothing else is missing.
fn system_dns() -> (dns::ResolverConfig, dns::ResolverOpts) {
    hickory_resolver::system_conf::read_system_conf().unwrap_or_else(|error| {
        tracing::info!(%error, "no name servers; addresses with names cannot be dialled");
        Default::default()
    })
}

/// Starts every listener, all on one port number.
///
/// # Errors
/// [`NetError::Port`] when the configured port is taken: others were told it, so another one would not do.
pub(super) fn listen(swarm: &mut Swarm<Behaviour>, config: &NetConfig) -> Result<(), NetError> {
    let families: &[IpAddr] = match config.listen {
        Listen::Lan { .. } => &[
            IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        ],
        Listen::Loopback { .. } => &[IpAddr::V4(Ipv4Addr::LOCALHOST)],
    };
    let (tcp, quic) = match config.transports {
        Transports::All => (true, true),
        Transports::TcpNoise | Transports::TcpTls => (true, false),
        Transports::Quic => (false, true),
    };
    let port = config.listen.port();
    let mut tries = if port == 0 { FREE_PORT_TRIES } else { 1 };
    let port = loop {
        match claim(families, port) {
            Ok(free) => break free,
            Err(error) if tries <= 1 => {
                return Err(NetError::Port {
                    port,
                    reason: error.to_string(),
                });
            }
            Err(_) => tries -= 1,
        }
    };
    let mut reason = None;
    let mut listening = 0;
    for family in families {
        let addrs = [
            tcp.then(|| Multiaddr::from(*family).with(Protocol::Tcp(port))),
            quic.then(|| {
                Multiaddr::from(*family)
                    .with(Protocol::Udp(port))
                    .with(Protocol::QuicV1)
            }),
        ];
        for addr in addrs.into_iter().flatten() {
            match swarm.listen_on(addr.clone()) {
                Ok(_) => listening += 1,
                Err(error) => {
                    tracing::info!(%addr, %error, "not listening here");
                    reason.get_or_insert(error.to_string());
                }
            }
        }
    }
    if listening == 0 {
        let reason = reason.unwrap_or_else(|| "no address to listen on".to_owned());
        return Err(NetError::Port { port, reason });
    }
    swarm
        .listen_on(everywhere())
        .map_err(|error| other(&error))?;
    Ok(())
}

/// Sees whether a port is free in all families and for TCP and UDP, and which one the system gives for 0. libp2p shares
/// its TCP port (`SO_REUSEPORT`), so it would not notice another program of the same person.
fn claim(families: &[IpAddr], port: u16) -> io::Result<u16> {
    let mut port = port;
    let mut held = Vec::new();
    let mut refused = None;
    for family in families {
        let socket = match bind_alone(*family, port) {
            Ok(socket) => socket,
            // A machine without this family; the other one serves.
            Err(error)
                if error.kind() != io::ErrorKind::AddrInUse
                    && error.kind() != io::ErrorKind::PermissionDenied =>
            {
                refused.get_or_insert(error);
                continue;
            }
            Err(error) => return Err(error),
        };
        port = socket.0.local_addr()?.port();
        held.push(socket);
    }
    match refused {
        Some(error) if held.is_empty() => Err(error),
        _ => Ok(port),
    }
}

fn bind_alone(family: IpAddr, port: u16) -> io::Result<(TcpListener, UdpSocket)> {
    use socket2::{Domain, Socket, Type};
    let addr = SocketAddr::new(family, port);
    let tcp = Socket::new(Domain::for_address(addr), Type::STREAM, None)?;
    if family.is_ipv6() {
        tcp.set_only_v6(true)?;
    }
    // Connections of the last run may still linger on the port; that is no reason to refuse it.
    #[cfg(unix)]
    tcp.set_reuse_address(true)?;
    tcp.bind(&addr.into())?;
    // Another listener with `SO_REUSEADDR` is noticed only here.
    tcp.listen(1)?;
    let tcp = TcpListener::from(tcp);
    let addr = SocketAddr::new(family, tcp.local_addr()?.port());
    let udp = Socket::new(Domain::for_address(addr), Type::DGRAM, None)?;
    if family.is_ipv6() {
        udp.set_only_v6(true)?;
    }
    udp.bind(&addr.into())?;
    Ok((tcp, UdpSocket::from(udp)))
}
