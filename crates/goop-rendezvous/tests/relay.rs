//! Two peers that cannot dial each other meet over the relay, and its key is kept.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use std::time::Duration;

use futures::{AsyncWriteExt, StreamExt};
use goop_identity::Keypair;
use goop_rendezvous::settings::{RelayLimits, RelaySettings, Settings, Timing};
use goop_rendezvous::{Server, ServerError};
use libp2p::core::multiaddr::Protocol;
use libp2p::swarm::{NetworkBehaviour, SwarmEvent};
use libp2p::{Multiaddr, PeerId, Swarm, SwarmBuilder, identify, noise, ping, relay, tcp, yamux};
use support::server::{Running, SOON, settings};
use tokio::time::timeout;

#[derive(NetworkBehaviour)]
struct Behaviour {
    relay: relay::client::Behaviour,
    identify: identify::Behaviour,
    ping: ping::Behaviour,
    streams: libp2p_stream::Behaviour,
}

fn peer() -> Swarm<Behaviour> {
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

fn with_relay(folder: &std::path::Path) -> Settings {
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

async fn relay_of(server: &Running) -> (PeerId, Multiaddr) {
    let found = std::cell::RefCell::new(None);
    support::server::eventually("the relay says where it is", || async {
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

#[tokio::test]
async fn two_peers_meet_over_the_relay() {
    let folder = tempfile::tempdir().unwrap();
    let server = Running::start(with_relay(folder.path())).await;
    let (relay, addr) = relay_of(&server).await;
    let circuit = addr.with(Protocol::P2p(relay)).with(Protocol::P2pCircuit);
    let (mut ann, mut ben) = (peer(), peer());
    let ann_id = *ann.local_peer_id();
    ann.listen_on(circuit.clone()).unwrap();
    let met = async {
        loop {
            if let SwarmEvent::Behaviour(BehaviourEvent::Relay(
                relay::client::Event::ReservationReqAccepted { .. },
            )) = ann.select_next_some().await
            {
                break;
            }
        }
        ben.dial(circuit.with(Protocol::P2p(ann_id))).unwrap();
        loop {
            tokio::select! {
                _ = ann.select_next_some() => {}
                event = ben.select_next_some() => match event {
                    SwarmEvent::ConnectionEstablished { peer_id, endpoint, .. } if peer_id == ann_id => {
                        assert!(endpoint.is_relayed());
                        return;
                    }
                    SwarmEvent::OutgoingConnectionError { error, .. } => panic!("{error}"),
                    _ => {}
                }
            }
        }
    };
    timeout(SOON, met).await.unwrap();

    // What the operator sees, and what a peer that answers nothing gives.
    let admin = ["Authorization: Basic YWRtaW46c2VjcmV0".to_owned()];
    let status = server
        .send("GET", "/relay-status.json", &admin, b"")
        .await
        .json();
    assert_eq!(status["peers"].as_array().unwrap().len(), 2);
    let lines = status["logs"].to_string();
    assert!(
        lines.contains("reservation created") && lines.contains("circuit opened"),
        "{lines}"
    );
    let mut control = ann.behaviour().streams.new_control();
    let asked = async {
        let path = format!("/diag?peer={ann_id}");
        let diag = server.send("GET", &path, &admin, b"").await.json();
        assert_eq!(diag["peer_id"], ann_id.to_base58());
        assert!(diag["stream_error"].is_string() && diag["relay_view"][0]["dir"] == "inbound");
        let pulse = server
            .send("POST", &format!("/api/pulse?peer={ann_id}"), &[], b"")
            .await;
        assert_eq!(pulse.status, 502, "{}", pulse.text());

        // One that answers. It writes at once and reads nothing.
        let protocol = libp2p::StreamProtocol::new("/goop/relay-refresh/1.0.0");
        let mut incoming = control.accept(protocol).unwrap();
        let answer = async {
            let (caller, mut stream) = incoming.next().await.unwrap();
            assert_eq!(caller, relay);
            stream
                .write_all(b"{\"has_circuit\":true,\"ok\":true}\n")
                .await
                .unwrap();
            stream.close().await.unwrap();
        };
        let path = format!("/api/pulse?peer={ann_id}");
        let (pulse, ()) = tokio::join!(server.send("POST", &path, &[], b""), answer);
        assert_eq!(pulse.text(), "{\"has_circuit\":true,\"ok\":true}\n");
    };
    let live = async {
        loop {
            tokio::select! {
                _ = ann.select_next_some() => {}
                _ = ben.select_next_some() => {}
            }
        }
    };
    tokio::select! {
        () = live => {}
        asked = timeout(SOON, asked) => asked.unwrap(),
    }
    server.end().await;

    // The key is kept over a restart, and a damaged one is not overwritten (weak point 34).
    let again = Running::start(with_relay(folder.path())).await;
    assert_eq!(relay_of(&again).await.0, relay);
    again.end().await;
    let key = folder.path().join("data/relay.key");
    std::fs::write(&key, b"damaged").unwrap();
    let refused = Server::bind(with_relay(folder.path())).await;
    assert!(matches!(refused, Err(ServerError::Relay(_))));
    assert_eq!(std::fs::read(&key).unwrap(), b"damaged");
}
