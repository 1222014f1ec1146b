//! Two peers that cannot dial each other meet over the relay, and its key is kept.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use futures::{AsyncReadExt, AsyncWriteExt, StreamExt};
use goop_identity::Keypair;
use goop_rendezvous::{Server, ServerError};
use libp2p::core::multiaddr::Protocol;
use libp2p::swarm::SwarmEvent;
use libp2p::{PeerId, relay};
use support::relay::{BehaviourEvent, message, peer, plain, relay_of, reserves, say, with_relay};
use support::server::{Running, SOON};
use tokio::time::timeout;

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

/// The recorded streams of a file.
fn recorded(file: &str) -> Vec<serde_json::Value> {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/wire/streams");
    let text = std::fs::read_to_string(path.join(file)).unwrap();
    let lines = text.lines().map(|line| serde_json::from_str(line).unwrap());
    lines.collect()
}

/// The first message of a recorded side: its length, and as many bytes.
fn first_message(side: &serde_json::Value) -> Vec<u8> {
    let bytes = hex::decode(side["hex"].as_str().unwrap()).unwrap();
    let long = bytes[0] & 0x80 != 0;
    let length = usize::from(bytes[0] & 0x7F) + if long { usize::from(bytes[1]) << 7 } else { 0 };
    bytes[..length + if long { 2 } else { 1 }].to_vec()
}

/// A message with another peer id in the place of the recorded one.
fn about(message: &[u8], peer: PeerId) -> Vec<u8> {
    // Both are ids of Ed25519 keys, so as long; they begin 00 24 08 01 12 20.
    let head = [0x00, 0x24, 0x08, 0x01, 0x12, 0x20];
    let at = message.windows(6).position(|six| six == head).unwrap();
    [&message[..at], &peer.to_bytes(), &message[at + 38..]].concat()
}

/// What Go peers sent to their relay, sent to ours; what it says to who is called is what theirs said.
#[tokio::test]
async fn the_recorded_circuits_are_made_by_our_relay() {
    let folder = tempfile::tempdir().unwrap();
    let server = Running::start(with_relay(folder.path())).await;
    let (relay, addr) = relay_of(&server).await;
    let (caller, mut calls) = plain(&addr).await;
    let (called, mut called_control) = plain(&addr).await;
    let mut hears = called_control
        .accept(libp2p::relay::STOP_PROTOCOL_NAME)
        .unwrap();
    support::server::eventually("both are there", || async {
        let admin = ["Authorization: Basic YWRtaW46c2VjcmV0".to_owned()];
        let status = server.send("GET", "/relay-status.json", &admin, b"").await;
        status.json()["peers"]
            .as_array()
            .is_some_and(|peers| peers.len() == 2)
    })
    .await;
    let (mut reserved, mut refused, mut made) = (0, 0, 0);
    for line in recorded("circuit-hop.jsonl") {
        let request = first_message(&line["request"]);
        let wanted = first_message(&line["response"]);
        let mut stream = called_control
            .open_stream(relay, libp2p::relay::HOP_PROTOCOL_NAME)
            .await
            .unwrap();
        if request == [2, 8, 0] {
            say(&mut stream, &request).await;
            let answer = message(&mut stream).await;
            // A status (2) with a reservation in front, and the same limit and the same 100 at the end.
            let prefix = if answer[0] & 0x80 != 0 { 2 } else { 1 };
            assert_eq!(answer[prefix..prefix + 3], [8, 2, 0x1a], "{answer:?}");
            let end = wanted.len() - 12;
            assert!(answer.ends_with(&wanted[end..]), "{answer:?} {wanted:?}");
            reserved += 1;
            continue;
        }
        let mut stream = calls
            .open_stream(relay, libp2p::relay::HOP_PROTOCOL_NAME)
            .await
            .unwrap();
        if wanted.ends_with(&[0x28, 0xcc, 0x01]) {
            // Somebody who has no place there.
            let nobody = Keypair::generate_ed25519().public().to_peer_id();
            say(&mut stream, &about(&request, nobody)).await;
            assert_eq!(message(&mut stream).await, wanted);
            refused += 1;
            continue;
        }
        say(&mut stream, &about(&request, called)).await;
        let stop = &recorded("circuit-stop.jsonl")[made];
        let (_, mut call) = timeout(SOON, hears.next()).await.unwrap().unwrap();
        assert_eq!(
            message(&mut call).await,
            about(&first_message(&stop["request"]), caller)
        );
        say(&mut call, &first_message(&stop["response"])).await;
        assert_eq!(message(&mut stream).await, wanted);
        // From here on it only passes on.
        say(&mut call, b"hello").await;
        let mut heard = [0; 5];
        timeout(SOON, stream.read_exact(&mut heard))
            .await
            .unwrap()
            .unwrap();
        assert_eq!(&heard, b"hello");
        made += 1;
    }
    assert_eq!((reserved, refused, made), (4, 4, 2));

    // A pulse, as the Go peers answered it.
    let protocol = libp2p::StreamProtocol::new("/goop/relay-refresh/1.0.0");
    let mut asked = called_control.accept(protocol).unwrap();
    for line in recorded("relay-refresh.jsonl") {
        let text = line["response"]["text"].as_str().unwrap();
        let answer = async {
            let (_, mut stream) = asked.next().await.unwrap();
            stream.write_all(text.as_bytes()).await.unwrap();
            stream.close().await.unwrap();
        };
        let path = format!("/api/pulse?peer={called}");
        let (pulse, ()) = tokio::join!(server.send("POST", &path, &[], b""), answer);
        assert_eq!((pulse.status, pulse.text().as_str()), (200, text));
    }
    server.end().await;
}

#[tokio::test]
async fn a_full_relay_says_so_and_keeps_those_it_has() {
    let folder = tempfile::tempdir().unwrap();
    let mut settings = with_relay(folder.path());
    settings.relay.as_mut().unwrap().limits.reservations = 2;
    let server = Running::start(settings).await;
    let (relay, addr) = relay_of(&server).await;
    let circuit = addr.with(Protocol::P2p(relay)).with(Protocol::P2pCircuit);
    let (mut ann, mut ben, mut cy) = (peer(), peer(), peer());
    assert!(reserves(&mut ann, &circuit).await && reserves(&mut ben, &circuit).await);
    assert!(!reserves(&mut cy, &circuit).await, "there are two places");
    // Who has a place keeps it, although the last one is taken; the library alone would refuse.
    assert!(reserves(&mut ann, &circuit).await, "a renewal");
    let admin = ["Authorization: Basic YWRtaW46c2VjcmV0".to_owned()];
    let status = server.send("GET", "/relay-status.json", &admin, b"").await;
    let refused = format!("refused: {} RESOURCE_LIMIT_EXCEEDED", cy.local_peer_id());
    assert!(status.text().contains(&refused), "{}", status.text());
    // What somebody leaves is had by the next.
    drop(ben);
    support::server::eventually("a free place", || async {
        let mut dee = peer();
        reserves(&mut dee, &circuit).await
    })
    .await;
    assert_eq!(server.get("/healthz").await.status, 200);
    server.end().await;
}

#[tokio::test]
async fn a_key_that_cannot_be_read_stops_the_start_and_stays() {
    let folder = tempfile::tempdir().unwrap();
    let key = folder.path().join("data/relay.key");
    std::fs::create_dir_all(&key).unwrap();
    let refused = Server::bind(with_relay(folder.path())).await.unwrap_err();
    assert!(matches!(refused, ServerError::Relay(_)));
    assert!(refused.to_string().contains("relay.key"), "{refused}");
    assert!(key.is_dir());
    for damaged in [&b""[..], b"damaged", &[8, 1, 18, 64], &[0; 100_000]] {
        let key = folder.path().join(format!("{}.key", damaged.len()));
        std::fs::write(&key, damaged).unwrap();
        let mut settings = with_relay(folder.path());
        settings.relay.as_mut().unwrap().key_file = key.clone();
        let refused = Server::bind(settings).await;
        assert!(matches!(refused, Err(ServerError::Relay(_))), "{damaged:?}");
        assert_eq!(std::fs::read(&key).unwrap(), damaged);
    }
}

/// Each port of the relay by itself: one that somebody has is said, with the setting that names it.
#[tokio::test]
async fn a_port_that_somebody_has_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let refusal = async |settings| match Server::bind(settings).await {
        Ok(_) => panic!("it started"),
        Err(refused) => refused.to_string(),
    };
    let tcp = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = tcp.local_addr().unwrap().port();
    let on = |port| {
        let mut settings = with_relay(folder.path());
        settings.relay.as_mut().unwrap().port = port;
        settings
    };
    let said = refusal(on(port)).await;
    assert!(
        said.contains(&port.to_string()) && said.contains("presence.relay_port"),
        "{said}"
    );
    drop(tcp);
    let udp = std::net::UdpSocket::bind(("127.0.0.1", 0)).unwrap();
    let said = refusal(on(udp.local_addr().unwrap().port())).await;
    assert!(said.contains("presence.relay_port"), "{said}");
    let ws = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mut settings = with_relay(folder.path());
    settings.relay.as_mut().unwrap().ws_port = Some(ws.local_addr().unwrap().port());
    let said = refusal(settings).await;
    assert!(said.contains("presence.relay_ws_port"), "{said}");
}
