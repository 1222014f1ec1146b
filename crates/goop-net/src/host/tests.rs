//! The host against a peer whose every byte the test decides: recorded Go peers, forgers, and peers with two
//! connections.

mod autonat;
mod identify;
mod proto;
mod pubsub;
mod raw;

use std::time::Duration;

use goop_identity::Keypair;

use crate::{Discovery, Listen, LocalProfile, Net, NetConfig, Router, StreamProtocol, Transports};
use raw::RawPeer;

/// Longest a condition may take to come true on a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);

/// A host that listens on 127.0.0.1 and speaks as plainly as the raw peer.
async fn host() -> Net {
    let config = NetConfig {
        listen: Listen::Loopback { port: 0 },
        transports: Transports::TcpNoise,
        discovery: Discovery::Off,
        heartbeat: Duration::from_millis(200),
        ..NetConfig::new(Keypair::generate_ed25519())
    };
    let net = Net::start(config, Router::new()).await.unwrap();
    net.announce(LocalProfile {
        label: "Host".to_owned(),
        ..LocalProfile::default()
    });
    within(
        "an address",
        net.listening().wait_for(|addrs| !addrs.is_empty()),
    )
    .await
    .unwrap();
    net
}

/// The key of a recorded peer: a seed of one byte repeated (fixtures/wire/identity/keys.json).
fn recorded_key(name: &str) -> Keypair {
    let seed = match name {
        "A" => 1,
        "B" => 2,
        "C" => 3,
        other => panic!("{other} is not in keys.json"),
    };
    Keypair::ed25519_from_bytes([seed; 32]).unwrap()
}

/// The lines of a recording.
fn recorded(file: &str) -> Vec<serde_json::Value> {
    let path = format!("{}/../../fixtures/wire/{file}", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(path).unwrap();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

fn bytes(hex: &serde_json::Value) -> Vec<u8> {
    hex::decode(hex.as_str().unwrap()).unwrap()
}

async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(PATIENCE, future).await {
        Ok(value) => value,
        Err(_) => panic!("no {what} within {PATIENCE:?}"),
    }
}

async fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    within(what, async {
        let mut look = tokio::time::interval(Duration::from_millis(5));
        while !condition() {
            look.tick().await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn peers_that_listen_on_websocket_are_dialled() {
    let config = NetConfig {
        listen: Listen::Loopback { port: 0 },
        discovery: Discovery::Off,
        ..NetConfig::new(Keypair::generate_ed25519())
    };
    let net = Net::start(config, Router::new()).await.unwrap();
    let mut raw = RawPeer::listen(
        Keypair::generate_ed25519(),
        "/ip4/127.0.0.1/tcp/0/ws",
        &["/test/1"],
    )
    .await;
    assert!(raw.addr.to_string().ends_with("/ws"), "{}", raw.addr);
    net.add_known_addrs(raw.id, vec![raw.addr.clone()]).await;
    within(
        "a stream",
        net.open(raw.id, &[StreamProtocol::new("/test/1")]),
    )
    .await
    .unwrap();
    raw.accept("/test/1").await;
}
