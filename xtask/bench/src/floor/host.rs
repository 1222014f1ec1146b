//! A bare rust-libp2p host: transports, identify, ping, and streams by `libp2p-stream`; nothing of ours.
//!
//! Tuned as a host that moves bytes would be: `TCP_NODELAY`, connections that stay, and the library's defaults for the
//! rest (QUIC: 10 MB window a stream, 15 MB a connection; yamux: frames of 16 KiB, window grows by itself). The stream
//! protocol is the barest there is: 12 bytes say how many follow and how many are wanted, that many come.

use std::str::FromStr;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use futures::{AsyncReadExt, AsyncWriteExt, StreamExt};
use libp2p::multiaddr::Protocol;
use libp2p::swarm::{NetworkBehaviour, SwarmEvent};
use libp2p::{
    Multiaddr, PeerId, Stream, StreamProtocol, Swarm, SwarmBuilder, identify, noise, ping, tcp,
    tls, yamux,
};

/// The protocol of a bare request and answer.
pub(crate) const PROTOCOL: StreamProtocol = StreamProtocol::new("/bench/bare/1");
/// Bytes of a request's head: how many follow (4), how many are wanted (8), little-endian.
pub(crate) const HEAD: usize = 12;
/// Bytes written at once.
pub(crate) const WRITE: usize = 64 * 1024;
/// Longer than any run. The end of time would overflow.
const STAY: Duration = Duration::from_secs(24 * 60 * 60);

/// How connections are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Transport {
    /// TCP with Noise and yamux.
    Noise,
    /// TCP with TLS 1.3 and yamux.
    Tls,
    /// QUIC.
    Quic,
    /// Everything a peer of ours has.
    All,
}

impl Transport {
    /// Those that are compared.
    pub(crate) const EACH: [Self; 3] = [Self::Quic, Self::Tls, Self::Noise];

    /// As it is written on the command line.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Noise => "noise",
            Self::Tls => "tls",
            Self::Quic => "quic",
            Self::All => "all",
        }
    }

    /// As it is written in the table.
    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Noise => "TCP, Noise, yamux",
            Self::Tls => "TCP, TLS, yamux",
            Self::Quic => "QUIC",
            Self::All => "all transports",
        }
    }
}

impl FromStr for Transport {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        let known = [Self::Noise, Self::Tls, Self::Quic, Self::All];
        known
            .into_iter()
            .find(|transport| transport.name() == text)
            .context("noise, tls, quic or all")
    }
}

/// What a bare host does.
#[derive(NetworkBehaviour)]
pub(crate) struct Behaviour {
    identify: identify::Behaviour,
    ping: ping::Behaviour,
    /// Opening and accepting streams.
    pub(crate) streams: libp2p_stream::Behaviour,
}

/// A host with a new key that does not listen yet.
pub(crate) async fn build(transport: Transport) -> Result<Swarm<Behaviour>> {
    let builder = SwarmBuilder::with_new_identity().with_tokio();
    let tcp = tcp::Config::default().nodelay(true);
    // A macro, because each set of transports is another type until the swarm is built.
    macro_rules! finish {
        ($builder:expr) => {
            $builder
                .with_behaviour(|key| Behaviour {
                    identify: identify::Behaviour::new(identify::Config::new(
                        "/bench/1".to_owned(),
                        key.public(),
                    )),
                    ping: ping::Behaviour::default(),
                    streams: libp2p_stream::Behaviour::new(),
                })?
                .with_swarm_config(|swarm| swarm.with_idle_connection_timeout(STAY))
                .build()
        };
    }
    Ok(match transport {
        Transport::Noise => {
            finish!(builder.with_tcp(tcp, noise::Config::new, yamux::Config::default)?)
        }
        Transport::Tls => {
            finish!(builder.with_tcp(tcp, tls::Config::new, yamux::Config::default)?)
        }
        Transport::Quic => finish!(builder.with_quic()),
        Transport::All => finish!(
            builder
                .with_tcp(
                    tcp,
                    (tls::Config::new, noise::Config::new),
                    yamux::Config::default
                )?
                .with_quic()
                .with_dns()?
                .with_websocket(
                    (tls::Config::new, noise::Config::new),
                    yamux::Config::default
                )
                .await?
        ),
    })
}

/// Where a host of that kind listens.
pub(crate) fn listen_addrs(transport: Transport, on: std::net::Ipv4Addr) -> Vec<Multiaddr> {
    let tcp = format!("/ip4/{on}/tcp/0");
    let quic = format!("/ip4/{on}/udp/0/quic-v1");
    let texts = match transport {
        Transport::Noise | Transport::Tls => vec![tcp],
        Transport::Quic => vec![quic],
        // The first address is the one that is dialled; our peers prefer QUIC too.
        Transport::All => vec![quic, tcp],
    };
    texts.iter().filter_map(|text| text.parse().ok()).collect()
}

/// A host that is connected with whoever has this address, which names a peer: its id, and how streams are opened there. The
/// host ends with the process.
pub(crate) async fn connect(
    transport: Transport,
    addr: Multiaddr,
) -> Result<(PeerId, libp2p_stream::Control)> {
    let peer = addr.iter().find_map(|part| match part {
        Protocol::P2p(peer) => Some(peer),
        _ => None,
    });
    let peer = peer.context("the address has no peer id")?;
    let mut swarm = build(transport).await?;
    let control = swarm.behaviour().streams.new_control();
    swarm.dial(addr)?;
    loop {
        match swarm.select_next_some().await {
            SwarmEvent::ConnectionEstablished { .. } => break,
            SwarmEvent::OutgoingConnectionError { error, .. } => bail!("no connection: {error}"),
            _ => {}
        }
    }
    tokio::spawn(async move {
        loop {
            swarm.select_next_some().await;
        }
    });
    Ok((peer, control))
}

/// Waits until the host listens, and says where, with its id.
pub(crate) async fn listen(
    swarm: &mut Swarm<Behaviour>,
    addrs: Vec<Multiaddr>,
) -> Result<Vec<Multiaddr>> {
    let mut found = Vec::new();
    for addr in addrs {
        swarm.listen_on(addr)?;
        loop {
            match swarm.select_next_some().await {
                SwarmEvent::NewListenAddr { address, .. } => {
                    found.push(
                        address
                            .with_p2p(*swarm.local_peer_id())
                            .map_err(|_| anyhow::anyhow!("odd address"))?,
                    );
                    break;
                }
                SwarmEvent::ListenerError { error, .. } => return Err(error.into()),
                SwarmEvent::ListenerClosed { reason, .. } => bail!("not listening: {reason:?}"),
                _ => {}
            }
        }
    }
    Ok(found)
}

/// Answers the requests on a stream, one after the other, until it ends.
pub(crate) async fn answer(mut stream: Stream) -> std::io::Result<()> {
    let bytes = vec![b'x'; WRITE];
    let mut asked = vec![0; WRITE];
    loop {
        let mut head = [0; HEAD];
        match stream.read_exact(&mut head).await {
            Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => {
                return stream.close().await;
            }
            other => other?,
        }
        let (rest, wanted) = take_apart(head);
        stream.read_exact(&mut asked[..rest.min(WRITE)]).await?;
        let mut left = wanted;
        while left > 0 {
            let now = usize::try_from(left).unwrap_or(WRITE).min(WRITE);
            stream.write_all(&bytes[..now]).await?;
            left -= now as u64;
        }
        stream.flush().await?;
    }
}

/// The head of a request that is `rest` bytes longer and wants `wanted` bytes.
pub(crate) fn put_together(rest: u32, wanted: u64) -> Vec<u8> {
    let mut bytes = rest.to_le_bytes().to_vec();
    bytes.extend(wanted.to_le_bytes());
    bytes.resize(HEAD + rest as usize, b'x');
    bytes
}

fn take_apart(head: [u8; HEAD]) -> (usize, u64) {
    let [a, b, c, d, wanted @ ..] = head;
    (
        u32::from_le_bytes([a, b, c, d]) as usize,
        u64::from_le_bytes(wanted),
    )
}

#[cfg(test)]
mod tests {
    use super::{HEAD, put_together, take_apart};

    #[test]
    fn a_head_says_what_follows() {
        let request = put_together(188, 10_240);
        assert_eq!(request.len(), HEAD + 188);
        assert_eq!(
            request.first_chunk().map(|head| take_apart(*head)),
            Some((188, 10_240))
        );
    }
}
