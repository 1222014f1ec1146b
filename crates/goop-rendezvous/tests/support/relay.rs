//! Peers that use a relay in this process.

use std::time::Duration;

use futures::{AsyncReadExt, AsyncWriteExt, StreamExt};
use goop_identity::Keypair;
use goop_rendezvous::settings::{RelayLimits, RelaySettings, Settings, Timing};
use libp2p::swarm::{NetworkBehaviour, SwarmEvent};
use libp2p::{Multiaddr, PeerId, Swarm, SwarmBuilder, identify, noise, ping, relay, tcp, yamux};
use tokio::time::timeout;

use super::server::{Running, SOON, eventually, settings};

#[derive(NetworkBehaviour)]
pub struct Behaviour {
    pub relay: relay::client::Behaviour,
    pub identify: identify::Behaviour,
    pub ping: ping::Behaviour,
    pub streams: libp2p_stream::Behaviour,
}

pub fn peer() -> Swarm<Behaviour> {
    SwarmBuilder::with_existing_identity(Keypair::generate_ed25519())
        .with_tokio()
        .with_tcp(
            tcp::Config::default(),
            noise::Config::new,
            yamux::Config::default,
        )
        .unwrap()
        .with_relay_client(noise::Config::new, yamux::Config::default)
        .unwrap()
        .with_behaviour(|key, relay| Behaviour {
            relay,
            identify: identify::Behaviour::new(identify::Config::new(String::new(), key.public())),
            ping: ping::Behaviour::default(),
            streams: libp2p_stream::Behaviour::new(),
        })
        .unwrap()
        .with_swarm_config(|config| config.with_idle_connection_timeout(Duration::from_secs(60)))
        .build()
}

pub fn with_relay(folder: &std::path::Path) -> Settings {
    let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mut settings = settings();
    settings.admin_password = Some("secret".to_owned());
    settings.relay = Some(RelaySettings {
        bind: vec![[127, 0, 0, 1].into()],
        port: socket.local_addr().unwrap().port(),
        ws_port: None,
        key_file: folder.join("data/relay.key"),
        timing: Timing {
            cleanup_delay_sec: 3,
            poll_deadline_sec: 10,
            connect_timeout_sec: 5,
            refresh_interval_sec: 90,
            recovery_grace_sec: 5,
        },
        limits: RelayLimits::default(),
    });
    settings
}

pub async fn relay_of(server: &Running) -> (PeerId, Multiaddr) {
    let found = std::cell::RefCell::new(None);
    eventually("the relay says where it is", || async {
        let info = server.get("/relay").await.json();
        let addrs = info["addrs"].as_array().unwrap();
        let loopback = addrs.iter().find(|addr| {
            let addr = addr.as_str().unwrap();
            addr.starts_with("/ip4/127.0.0.1/tcp/")
        });
        let addr = loopback.map(|addr| addr.as_str().unwrap().parse().unwrap());
        let peer = info["peer_id"].as_str().unwrap().parse().unwrap();
        *found.borrow_mut() = addr.map(|addr| (peer, addr));
        found.borrow().is_some()
    })
    .await;
    found.into_inner().unwrap()
}

/// A peer that speaks every protocol by hand.
#[derive(NetworkBehaviour)]
pub struct Plain {
    identify: identify::Behaviour,
    streams: libp2p_stream::Behaviour,
}

/// Connects a plain peer to the relay; it lives until the task is aborted with the test.
pub async fn plain(relay: &Multiaddr) -> (PeerId, libp2p_stream::Control) {
    let mut swarm = SwarmBuilder::with_existing_identity(Keypair::generate_ed25519())
        .with_tokio()
        .with_tcp(
            tcp::Config::default(),
            noise::Config::new,
            yamux::Config::default,
        )
        .unwrap()
        .with_behaviour(|key| Plain {
            identify: identify::Behaviour::new(identify::Config::new(String::new(), key.public())),
            streams: libp2p_stream::Behaviour::new(),
        })
        .unwrap()
        .with_swarm_config(|config| config.with_idle_connection_timeout(Duration::from_secs(60)))
        .build();
    let (id, control) = (
        *swarm.local_peer_id(),
        swarm.behaviour().streams.new_control(),
    );
    swarm.dial(relay.clone()).unwrap();
    let connected = async {
        loop {
            let event = swarm.select_next_some().await;
            if let SwarmEvent::ConnectionEstablished { .. } = event {
                return;
            }
        }
    };
    timeout(SOON, connected).await.unwrap();
    tokio::spawn(async move {
        loop {
            swarm.select_next_some().await;
        }
    });
    (id, control)
}

/// Reads one message with its length.
pub async fn message(stream: &mut libp2p::Stream) -> Vec<u8> {
    let read = async {
        let mut bytes = vec![0];
        stream.read_exact(&mut bytes).await.unwrap();
        let mut length = usize::from(bytes[0] & 0x7F);
        if bytes[0] & 0x80 != 0 {
            let mut more = [0];
            stream.read_exact(&mut more).await.unwrap();
            bytes.extend(more);
            length |= usize::from(more[0]) << 7;
        }
        let mut rest = vec![0; length];
        stream.read_exact(&mut rest).await.unwrap();
        bytes.extend(rest);
        bytes
    };
    timeout(SOON, read).await.unwrap()
}

/// Sends bytes now.
pub async fn say(stream: &mut libp2p::Stream, bytes: &[u8]) {
    stream.write_all(bytes).await.unwrap();
    stream.flush().await.unwrap();
}

/// Reserves a place; answers whether the relay gave one.
pub async fn reserves(peer: &mut Swarm<Behaviour>, circuit: &Multiaddr) -> bool {
    peer.listen_on(circuit.clone()).unwrap();
    let answered = async {
        loop {
            match peer.select_next_some().await {
                SwarmEvent::Behaviour(BehaviourEvent::Relay(
                    relay::client::Event::ReservationReqAccepted { .. },
                )) => return true,
                SwarmEvent::ListenerClosed { .. } => return false,
                _ => {}
            }
        }
    };
    timeout(SOON, answered).await.unwrap()
}
