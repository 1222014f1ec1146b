//! Identify with recorded Go peers (fixtures/wire/identity/identify.jsonl).

use tokio::io::AsyncWriteExt;

use super::proto::{all, next_frame, one};
use super::raw::RawPeer;
use super::{bytes, eventually, host, recorded, recorded_key, within};

const ID: &str = "/ipfs/id/1.0.0";
const PUSH: &str = "/ipfs/id/push/1.0.0";

#[tokio::test(flavor = "multi_thread")]
async fn the_list_of_a_starting_go_peer_grows_with_each_push() {
    let messages: Vec<_> = recorded("identity/identify.jsonl")
        .into_iter()
        .filter(|line| line["run"] == "run1" && line["sender"] == "B" && line["receiver"] == "A")
        .collect();
    let (first, pushes) = messages.split_first().unwrap();
    assert_eq!((first["protocol"].as_str(), pushes.len()), (Some(ID), 3));
    let mut go = RawPeer::start(recorded_key("B"), &[ID]).await;
    let net = host().await;
    net.add_known_addrs(go.id, vec![go.addr.clone()]).await;
    let mut stream = go.accept(ID).await;
    stream
        .write_all(&bytes(&first["stream_hex"]))
        .await
        .unwrap();
    drop(stream);
    eventually("a first list", || {
        net.speaks(&go.id, "/goop/site/1.0.0") == Some(true)
    })
    .await;
    assert_eq!(net.speaks(&go.id, "/goop/docs/1.0.0"), Some(false));
    for push in pushes {
        let mut stream = go.open(net.local_peer_id(), PUSH).await;
        stream.write_all(&bytes(&push["stream_hex"])).await.unwrap();
        stream.finish().await.unwrap();
        let list = push["decoded"]["protocols"].as_array().unwrap();
        let spoken = |protocol: &serde_json::Value| {
            net.speaks(&go.id, protocol.as_str().unwrap()) == Some(true)
        };
        eventually("a longer list", || list.iter().all(spoken)).await;
    }
    assert_eq!(net.speaks(&go.id, "/goop/docs/1.0.0"), Some(true));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_about_somebody_else_is_not_believed() {
    let line = recorded("identity/identify.jsonl")
        .into_iter()
        .find(|line| line["sender"] == "A")
        .unwrap();
    let mut forger = RawPeer::start(recorded_key("B"), &[ID]).await;
    let net = host().await;
    net.add_known_addrs(forger.id, vec![forger.addr.clone()])
        .await;
    let mut stream = forger.accept(ID).await;
    stream.write_all(&bytes(&line["stream_hex"])).await.unwrap();
    drop(stream);
    // An honest word on a second connection: the first one has been looked at by then.
    let honest = recorded("identity/identify.jsonl")
        .into_iter()
        .find(|line| line["sender"] == "B")
        .unwrap();
    forger
        .dial(net.local_peer_id(), net.listen_addrs()[0].clone())
        .await;
    let mut stream = forger.accept(ID).await;
    stream
        .write_all(&bytes(&honest["stream_hex"]))
        .await
        .unwrap();
    drop(stream);
    eventually("a list", || {
        net.speaks(&forger.id, "/goop/site/1.0.0").is_some()
    })
    .await;
    assert_eq!(
        net.speaks(&forger.id, "/goop/docs/1.0.0"),
        Some(false),
        "that was A's list"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn we_say_what_a_go_peer_needs_in_one_small_message() {
    let raw = RawPeer::start(recorded_key("B"), &["/meshsub/1.1.0"]).await;
    let net = host().await;
    raw.dial(net.local_peer_id(), net.listen_addrs()[0].clone())
        .await;
    let mut stream = raw.open(net.local_peer_id(), ID).await;
    let message = within("a message", next_frame(&mut stream)).await;
    assert!(
        message.len() < 2_048,
        "Go splits above that: {}",
        message.len()
    );
    assert_eq!(one(&message, 5), b"", "protocol version");
    assert_eq!(
        one(&message, 6),
        concat!("goop-net/", env!("CARGO_PKG_VERSION")).as_bytes()
    );
    assert_eq!(all(&message, 2), [net.listen_addrs()[0].to_vec()]);
    let protocols: Vec<String> = all(&message, 3)
        .into_iter()
        .map(|name| String::from_utf8(name).unwrap())
        .collect();
    for expected in [
        ID,
        PUSH,
        "/ipfs/ping/1.0.0",
        "/meshsub/1.1.0",
        "/meshsub/1.0.0",
        "/floodsub/1.0.0",
    ] {
        assert!(
            protocols.iter().any(|protocol| protocol == expected),
            "{expected} in {protocols:?}"
        );
    }
    assert!(
        !protocols
            .iter()
            .any(|protocol| protocol.starts_with("/meshsub/1.2")),
        "{protocols:?}"
    );
}
