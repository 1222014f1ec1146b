//! Presence over GossipSub with recorded Go peers (fixtures/wire/pubsub/frames.jsonl) and with forgers.

use std::time::{Duration, Instant};

use goop_identity::Keypair;
use goop_identity::presence::{PresenceKind, PresenceMessage};
use libp2p::multiaddr::Protocol;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use super::proto::{all, field, next_frame, one, published, subscribed};
use super::raw::RawPeer;
use super::{bytes, eventually, host, recorded, recorded_key, within};
use crate::gossip::message_id;
use crate::stream::Stream;
use crate::{Multiaddr, Net, PeerId};

const MESH: &str = "/meshsub/1.1.0";
const TOPIC: &str = "goop.presence.v1";

/// A raw peer that is connected to a host, with its pubsub stream open.
async fn neighbour(keypair: Keypair) -> (RawPeer, Net, Stream) {
    let raw = RawPeer::start(keypair, &[MESH]).await;
    let net = host().await;
    raw.dial(net.local_peer_id(), net.listen_addrs()[0].clone())
        .await;
    let stream = raw.open(net.local_peer_id(), MESH).await;
    (raw, net, stream)
}

fn shown(net: &Net, peer: PeerId) -> Option<(String, bool)> {
    net.peer(&peer)
        .map(|row| (row.content, row.offline_since.is_none()))
}

fn record(kind: PresenceKind, peer: PeerId, name: &str) -> Vec<u8> {
    let mut message = PresenceMessage::new(kind, peer, 1);
    name.clone_into(&mut message.content);
    message.to_json()
}

/// Sends an honest record of the sender's own, and waits until it counted: everything before it has been looked at.
async fn honest_word(keypair: &Keypair, net: &Net, stream: &mut Stream, number: u64) {
    let me = keypair.public().to_peer_id();
    let name = format!("honest {number}");
    let frame = published(
        keypair,
        number,
        TOPIC,
        &record(PresenceKind::Update, me, &name),
    );
    stream.write_all(&frame).await.unwrap();
    stream.flush().await.unwrap();
    eventually("an honest word", || {
        shown(net, me) == Some((name.clone(), true))
    })
    .await;
}

#[test]
fn recorded_ids_and_signatures_are_computed_the_same_way() {
    let frames = recorded("pubsub/frames.jsonl");
    let messages: Vec<_> = frames
        .iter()
        .filter_map(|frame| frame["decoded"]["publish"].as_array())
        .flatten()
        .collect();
    assert!(messages.len() > 20);
    for message in messages {
        let (from, number) = (bytes(&message["from_hex"]), bytes(&message["seqno_hex"]));
        let id = message_id(&from, u64::from_be_bytes(number.try_into().unwrap()));
        assert_eq!(id, bytes(&message["message_id_hex"]));
        let key = recorded_key(message["from"].as_str().unwrap());
        assert_eq!(key.public().to_peer_id().to_bytes(), from);
        assert!(key.public().verify(
            &bytes(&message["signed_bytes_hex"]),
            &bytes(&message["signature_hex"])
        ));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_go_peer_published_is_taken_in() {
    let frames = recorded("pubsub/frames.jsonl");
    let of_stream = |number: u64| frames.iter().filter(move |frame| frame["stream"] == number);
    let (_raw, net, mut stream) = neighbour(recorded_key("A")).await;
    let mut seen = Vec::new();
    // Run 1: Alice to Bob, from her subscription to her goodbye; run 2: what she forwards for others.
    for frame in of_stream(1).chain(of_stream(4)) {
        stream.write_all(&bytes(&frame["frame_hex"])).await.unwrap();
        stream.flush().await.unwrap();
        for message in frame["decoded"]["publish"].as_array().into_iter().flatten() {
            let peer = recorded_key(message["from"].as_str().unwrap())
                .public()
                .to_peer_id();
            let said =
                PresenceMessage::from_json(message["data"].as_str().unwrap().as_bytes()).unwrap();
            let online = said.kind != PresenceKind::Offline;
            eventually("a row", || {
                net.peer(&peer)
                    .is_some_and(|row| row.offline_since.is_none() == online)
            })
            .await;
            let row = net.peer(&peer).unwrap();
            if online {
                assert_eq!(
                    (&row.content, &row.email, &row.avatar_hash),
                    (&said.content, &said.email, &said.avatar_hash)
                );
            }
            seen.push((row.content, online));
        }
    }
    assert!(
        seen.contains(&("Alice".to_owned(), true)) && seen.contains(&("Alice".to_owned(), false)),
        "{seen:?}"
    );
    assert!(seen.iter().any(|(name, _)| name == "Carol"), "{seen:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_we_publish_is_what_a_go_peer_expects() {
    let (mut raw, net, mut to) = neighbour(recorded_key("A")).await;
    to.write_all(&subscribed(TOPIC)).await.unwrap();
    to.flush().await.unwrap();
    net.go_online();
    let mut from = raw.accept(MESH).await;
    let me = net.local_peer_id();
    let mut subscribed_first = false;
    let (message, number) = within("a record", async {
        loop {
            let rpc = next_frame(&mut from).await;
            let subscriptions = all(&rpc, 1);
            // Before any record, as a Go peer does; ours has two more fields, which it does not know.
            subscribed_first |= !subscriptions.is_empty();
            assert!(
                subscriptions
                    .iter()
                    .all(|subscription| one(subscription, 1) == [1])
            );
            assert!(
                subscriptions
                    .iter()
                    .all(|subscription| one(subscription, 2) == TOPIC.as_bytes())
            );
            if let Some(message) = all(&rpc, 2).into_iter().next() {
                assert!(subscribed_first);
                let number = one(&message, 3);
                break (message, number);
            }
        }
    })
    .await;
    assert_eq!(one(&message, 1), me.to_bytes());
    assert_eq!(number.len(), 8);
    assert_eq!(one(&message, 4), TOPIC.as_bytes());
    assert_eq!(
        all(&message, 6),
        Vec::<Vec<u8>>::new(),
        "no key: it is in the peer id"
    );
    let unsigned = [
        field(1, &one(&message, 1)),
        field(2, &one(&message, 2)),
        field(3, &number),
        field(4, TOPIC.as_bytes()),
    ]
    .concat();
    let signed = [b"libp2p-pubsub:".as_slice(), &unsigned].concat();
    let key = libp2p::identity::PublicKey::try_decode_protobuf(&me.to_bytes()[2..]).unwrap();
    assert!(key.verify(&signed, &one(&message, 5)));
    let said = PresenceMessage::from_json(&one(&message, 2)).unwrap();
    assert_eq!(
        (said.kind, said.peer, said.content.as_str()),
        (PresenceKind::Online, me, "Host")
    );
    net.shutdown(super::PATIENCE).await;
    within("the last word", async {
        loop {
            let rpc = next_frame(&mut from).await;
            let records = all(&rpc, 2)
                .into_iter()
                .map(|message| PresenceMessage::from_json(&one(&message, 2)).unwrap());
            if records
                .into_iter()
                .any(|said| said.kind == PresenceKind::Offline && said.peer == me)
            {
                break;
            }
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_counts_only_if_its_signer_is_the_peer_it_speaks_of() {
    let (forger, victim) = (Keypair::generate_ed25519(), PeerId::random());
    let (_raw, net, mut stream) = neighbour(forger.clone()).await;
    honest_word(&forger, &net, &mut stream, 1).await;
    for (number, kind) in (2..).zip([
        PresenceKind::Online,
        PresenceKind::Update,
        PresenceKind::Offline,
    ]) {
        stream
            .write_all(&published(
                &forger,
                number,
                TOPIC,
                &record(kind, victim, "Mallory"),
            ))
            .await
            .unwrap();
    }
    honest_word(&forger, &net, &mut stream, 10).await;
    assert_eq!(net.peer(&victim), None);
    // Nor may it take the host offline for itself.
    let about_us = published(
        &forger,
        11,
        TOPIC,
        &record(PresenceKind::Offline, net.local_peer_id(), ""),
    );
    stream.write_all(&about_us).await.unwrap();
    honest_word(&forger, &net, &mut stream, 12).await;
    assert_eq!(net.peers().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_signatures_and_nonsense_are_dropped() {
    let key = Keypair::generate_ed25519();
    let (raw, net, mut stream) = neighbour(key.clone()).await;
    let good = published(
        &key,
        1,
        TOPIC,
        &record(PresenceKind::Online, raw.id, "unsigned"),
    );
    let mut bad = good.clone();
    *bad.last_mut().unwrap() ^= 1;
    stream.write_all(&bad).await.unwrap();
    for (number, data) in (2..).zip([
        b"".as_slice(),
        b"{}",
        b"null",
        b"[1",
        &[0xff; 300],
        &vec![b'{'; 100_000],
    ]) {
        stream
            .write_all(&published(&key, number, TOPIC, data))
            .await
            .unwrap();
    }
    stream
        .write_all(&published(
            &key,
            20,
            "another topic",
            &record(PresenceKind::Online, raw.id, "x"),
        ))
        .await
        .unwrap();
    honest_word(&key, &net, &mut stream, 21).await;
    assert_eq!(net.peers().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn endless_frames_end_their_stream_and_nothing_else() {
    let key = Keypair::generate_ed25519();
    let (raw, net, stream) = neighbour(key.clone()).await;
    // Announces 64 MiB and sends more than 1 MiB of it; nobody reads on.
    let (mut from, mut to) = tokio::io::split(stream);
    let flood = async {
        to.write_all(&super::proto::varint(64 << 20)).await.unwrap();
        while to.write_all(&[0; 65_536]).await.is_ok() {}
    };
    let mut end = Vec::new();
    tokio::select! {
        () = flood => {}
        _ = within("an end", tokio::io::AsyncReadExt::read_to_end(&mut from, &mut end)) => {}
    }
    let mut stream = raw.open(net.local_peer_id(), MESH).await;
    honest_word(&key, &net, &mut stream, 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_with_two_connections_gets_one_pubsub_stream_and_a_new_one_when_that_ends() {
    let key = Keypair::generate_ed25519();
    let mut raw = RawPeer::start(key.clone(), &[MESH]).await;
    let net = host().await;
    net.go_online();
    let (peer, addr) = (net.local_peer_id(), net.listen_addrs()[0].clone());
    raw.dial(peer, addr.clone()).await;
    let mut first = raw.accept(MESH).await;
    raw.dial(peer, addr).await;
    let mut to = raw.open(peer, MESH).await;
    to.write_all(&subscribed(TOPIC)).await.unwrap();
    to.flush().await.unwrap();
    // Several heartbeats on the one stream; a second one would have come with the first of them.
    let mut records = 0;
    within("records", async {
        while records < 5 {
            records += all(&next_frame(&mut first).await, 2).len();
        }
    })
    .await;
    assert!(raw.inbound.try_recv().is_err(), "a second pubsub stream");
    let oldest = raw.links.snapshot()[0].1[0].id;
    raw.order(move |swarm| assert!(swarm.close_connection(oldest)));
    let mut to = raw.open(peer, MESH).await;
    to.write_all(&subscribed(TOPIC)).await.unwrap();
    to.flush().await.unwrap();
    let mut second = raw.accept(MESH).await;
    within("a record", async {
        while all(&next_frame(&mut second).await, 2).is_empty() {}
    })
    .await;
}

/// Passes bytes on between whoever connects and `to`, until it is told to stop; the sockets stay open.
async fn wire_that_can_go_dead(to: &Multiaddr) -> (Multiaddr, watch::Sender<bool>) {
    let to = {
        let parts: Vec<_> = to.iter().collect();
        let [Protocol::Ip4(ip), Protocol::Tcp(port)] = parts.as_slice() else {
            panic!("{to}")
        };
        (*ip, *port)
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (dead, mut told) = watch::channel(false);
    tokio::spawn(async move {
        let (mut here, _) = listener.accept().await.unwrap();
        let mut there = TcpStream::connect(to).await.unwrap();
        tokio::select! {
            _ = tokio::io::copy_bidirectional(&mut here, &mut there) => {}
            _ = told.wait_for(|dead| *dead) => {}
        }
        std::future::pending::<()>().await;
    });
    (format!("/ip4/127.0.0.1/tcp/{port}").parse().unwrap(), dead)
}

/// A peer that was killed and starts again is still connected as far as we can see. It must not wait until the old
/// connection is found dead to hear of us.
#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_starts_again_hears_us_although_its_old_connection_looks_alive() {
    let key = Keypair::generate_ed25519();
    let mut raw = RawPeer::start(key.clone(), &[MESH]).await;
    let net = host().await;
    net.go_online();
    let (peer, addr) = (net.local_peer_id(), net.listen_addrs()[0].clone());
    let (wire, dead) = wire_that_can_go_dead(&addr).await;
    raw.dial(peer, wire).await;
    let _first = raw.accept(MESH).await;
    let mut to = raw.open(peer, MESH).await;
    to.write_all(&subscribed(TOPIC)).await.unwrap();
    to.flush().await.unwrap();
    dead.send_replace(true);
    raw.dial(peer, addr).await;
    let mut to = raw.open(peer, MESH).await;
    to.write_all(&subscribed(TOPIC)).await.unwrap();
    to.flush().await.unwrap();
    let start = Instant::now();
    let mut second = raw.accept(MESH).await;
    let (mut subscriptions, mut records) = (0, 0);
    within("a subscription and a record", async {
        while subscriptions == 0 || records == 0 {
            let frame = next_frame(&mut second).await;
            subscriptions += all(&frame, 1).len();
            records += all(&frame, 2).len();
        }
    })
    .await;
    assert!(
        start.elapsed() < Duration::from_secs(5),
        "{:?}",
        start.elapsed()
    );
}
