//! Two and three peers over in-memory streams: delivery, sealing, keys, and those who do not keep to the rules.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use std::time::Duration;

use goop_identity::PeerId;
use goop_identity::seal::NaclKeys;
use goop_mq::keys::KeyBook;
use goop_mq::log::{From, Next};
use goop_mq::topic::{Filter, PeerTopic};
use goop_mq::wire::{Ack, MAX_ACK, Message, MsgId, NoBudget, Payload, read_object};
use goop_mq::{DialError, Dialer, Mq, SendError, ServeError, Setup, Streams};
use serde_json::{Value, json};
use support::{Peer, World, wait_for};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

fn topic(text: &str) -> PeerTopic {
    PeerTopic::parse(text).unwrap()
}

fn content(text: &str) -> Payload {
    Payload::of(&json!({ "content": text })).unwrap()
}

/// What a page of a peer sees until nothing more comes for a second.
async fn page(mq: &Mq, topics: &str) -> Vec<Value> {
    let mut listener = mq.log().listen(From::Unheard, Filter::parse(topics));
    let mut all = Vec::new();
    while let Ok(next) = timeout(Duration::from_secs(1), listener.next()).await {
        if let Next::Events(events) = next {
            let read = |text: String| serde_json::from_str::<Value>(&text).unwrap();
            all.extend(events.iter().map(|entry| read(entry.data())));
        }
    }
    all
}

/// Gives bytes to a peer as if `from` had sent them, and reads the acknowledgement.
async fn hand(mq: &Mq, from: PeerId, bytes: &[u8]) -> (Result<(), ServeError>, Option<Ack>) {
    let (mut near, mut far) = duplex(1 << 16);
    let write = async {
        // A peer that refuses early stops reading.
        let _ = near.write_all(bytes).await;
        read_object(&mut near, MAX_ACK, &mut NoBudget).await.ok()
    };
    let serve = async {
        let served = mq.serve(from, false, &mut far).await;
        drop(far);
        served
    };
    let (served, ack) = tokio::join!(serve, write);
    (served, ack.and_then(|bytes| Ack::decode(&bytes).ok()))
}

fn raw(id: &str, topic: &str, payload: &str) -> Vec<u8> {
    format!("{{\"type\":\"msg\",\"id\":\"{id}\",\"seq\":1,\"topic\":\"{topic}\",\"payload\":{payload}}}\n").into_bytes()
}

#[tokio::test(start_paused = true)]
async fn a_message_reaches_every_window() {
    let world = World::new(1);
    let (ada, bob) = (world.peer(None), world.peer(None));
    let id = ada
        .mq
        .send(bob.id, topic("chat"), content("hi"))
        .await
        .unwrap();
    let expected = json!({ "type": "message", "from": ada.id.to_base58(), "msg": {
        "type": "msg", "id": id.as_str(), "topic": "chat", "payload": { "content": "hi" } } });
    for event in page(&bob.mq, "").await {
        assert_eq!(event["msg"]["payload"], expected["msg"]["payload"]);
        assert_eq!(
            (&event["from"], &event["msg"]["id"]),
            (&expected["from"], &expected["msg"]["id"])
        );
    }
    let both = tokio::join!(page(&bob.mq, "chat"), page(&bob.mq, "chat"), async {
        ada.mq
            .send(bob.id, topic("chat"), content("again"))
            .await
            .unwrap();
    });
    for (events, name) in [(both.0, "one"), (both.1, "other")] {
        assert!(
            events
                .iter()
                .any(|event| event["msg"]["payload"]["content"] == "again"),
            "{name}"
        );
    }
    // Shown in a window, however many say so.
    for _ in 0..3 {
        bob.mq.shown(Some(ada.id), &id);
    }
    wait_for("delivered", || ada.mq.log().id_of(1).ends_with("-1")).await;
    let delivered = page(&ada.mq, "").await;
    assert_eq!(
        delivered,
        [json!({ "type": "delivered", "msg_id": id.as_str() })]
    );
}

#[tokio::test(start_paused = true)]
async fn nobody_there_is_said_in_time() {
    let world = World::new(2);
    let ada = world.peer(None);
    let before = Instant::now();
    let sent = ada
        .mq
        .send(PeerId::random(), topic("chat"), content("hi"))
        .await;
    let text = sent.unwrap_err().to_string();
    assert!(
        text.starts_with("mq: open stream to ") && text.contains("nobody answers"),
        "{text}"
    );
    assert!(before.elapsed() < Duration::from_secs(1));
    assert_eq!(
        ada.mq.send(ada.id, topic("chat"), content("me")).await,
        Err(SendError::ToSelf)
    );
    world.leave.cancel();
    let sent = ada
        .mq
        .send(PeerId::random(), topic("chat"), content("hi"))
        .await;
    assert!(sent.is_err());
}

/// A peer that answers what it likes.
#[derive(Clone)]
struct Odd(Vec<u8>);

impl Dialer for Odd {
    type Stream = DuplexStream;
    async fn open(&self, _: PeerId, _: &'static str) -> Result<DuplexStream, DialError> {
        let (near, mut far) = duplex(1 << 16);
        let answer = self.0.clone();
        tokio::spawn(async move {
            let mut bytes = vec![0; 4_096];
            let read = far.read(&mut bytes).await.unwrap_or(0);
            let id =
                Message::decode(bytes[..read].trim_ascii()).map(|message| message.id.to_string());
            let answer = String::from_utf8(answer)
                .unwrap()
                .replace("<id>", &id.unwrap_or_default());
            let _ = far.write_all(answer.as_bytes()).await;
            // It keeps the stream until the other side lets go.
            let _ = far.read(&mut bytes).await;
        });
        Ok(near)
    }
}

async fn odd(answer: &str) -> (Result<MsgId, SendError>, Duration) {
    let (mq, task) = Mq::new(Setup {
        me: PeerId::random(),
        own: std::sync::Arc::new(Default::default),
        keys: KeyBook::new(None),
        hints: std::sync::Arc::new(|_| None),
        router: goop_mq::router::Router::new(),
    });
    let leave = CancellationToken::new();
    tokio::spawn(task.run(Streams(Odd(answer.as_bytes().to_vec())), leave.clone()));
    let before = Instant::now();
    let sent = mq
        .send(PeerId::random(), topic("chat"), content("hi"))
        .await;
    leave.cancel();
    (sent, before.elapsed())
}

#[tokio::test(start_paused = true)]
async fn those_who_do_not_keep_to_the_rules() {
    let (sent, took) = odd("").await;
    assert!(sent.unwrap_err().to_string().contains("timed out"));
    assert!(took <= Duration::from_secs(5), "{took:?}");
    let ack = r#"{"type":"ack","id":"<id>","seq":1}"#;
    assert!(odd(ack).await.0.is_ok(), "the line break is not needed");
    assert!(odd(&format!("{ack}\n{ack}\n")).await.0.is_ok());
    let text = odd(r#"{"type":"ack","id":"another","seq":1}"#)
        .await
        .0
        .unwrap_err()
        .to_string();
    assert!(
        text.starts_with("mq: ack id mismatch (got another, want "),
        "{text}"
    );
    for junk in [
        "junk",
        "{}",
        "[]",
        r#"{"type":"msg","id":"<id>"}"#,
        r#"{"type":"ack","id":7}"#,
    ] {
        let text = odd(junk).await.0.unwrap_err().to_string();
        assert!(
            text.starts_with("mq: waiting for ack from "),
            "{junk}: {text}"
        );
    }
    let endless = format!("{{\"type\":\"{}", "x".repeat(10_000));
    assert!(odd(&endless).await.0.is_err());
}

#[tokio::test(start_paused = true)]
async fn what_comes_twice_is_taken_once_and_acknowledged_again() {
    let world = World::new(3);
    let (bob, from) = (world.peer(None), PeerId::random());
    for attempt in 0..3 {
        let (served, ack) = hand(&bob.mq, from, &raw("m-1", "group:g:msg", "1")).await;
        served.unwrap();
        assert_eq!(ack.unwrap().id.as_str(), "m-1", "{attempt}");
    }
    assert_eq!(bob.groups.lock().unwrap().len(), 1);
    let (_, ack) = hand(&bob.mq, PeerId::random(), &raw("m-1", "group:g:msg", "1")).await;
    assert!(ack.is_some());
    assert_eq!(
        bob.groups.lock().unwrap().len(),
        2,
        "ids belong to their sender"
    );
}

#[tokio::test(start_paused = true)]
async fn forged_topics_reach_nobody() {
    let world = World::new(4);
    let (bob, from) = (world.peer(None), PeerId::random());
    for topic in [
        "peer:announce",
        "peer:gone",
        "relay:status",
        "log:mq",
        "log:call",
        "listen:g:state",
        "call:loopback:x",
        "mq:key",
    ] {
        let (served, ack) = hand(&bob.mq, from, &raw("forged", topic, "{}")).await;
        assert!(
            served.is_ok() && ack.is_some(),
            "{topic}: a Go peer would send it again"
        );
    }
    // "Delivered" for what was never sent to it.
    let claim = raw("a", "mq.ack", r#"{"msg_id":"anything"}"#);
    assert!(hand(&bob.mq, from, &claim).await.1.is_some());
    assert_eq!(page(&bob.mq, "*").await, [] as [Value; 0]);
    for (topic, payload) in [
        ("", "1"),
        ("group:", "1"),
        ("cluster:x", "1"),
        ("group.invite", "{}"),
        ("chat.room:g:msg", "{}"),
    ] {
        let (served, ack) = hand(&bob.mq, from, &raw("b", topic, payload)).await;
        assert!(served.is_err() && ack.is_none(), "{topic}");
    }
}

#[tokio::test(start_paused = true)]
async fn large_and_slow_and_broken_messages() {
    let world = World::new(5);
    let (bob, from) = (world.peer(None), PeerId::random());
    let large = format!("\"{}\"", "x".repeat(1 << 20));
    let (served, ack) = hand(&bob.mq, from, &raw("large", "x:large", &large)).await;
    assert!(served.is_ok() && ack.is_some());
    let payload = &page(&bob.mq, "").await[0]["msg"]["payload"];
    assert_eq!(payload.as_str().unwrap().len(), 1 << 20);
    let too_large = format!("\"{}\"", "x".repeat(8 << 20));
    let (served, ack) = hand(
        &bob.mq,
        PeerId::random(),
        &raw("large", "x:large", &too_large),
    )
    .await;
    assert!(served.is_err() && ack.is_none());
    // Half a message, then silence.
    let (mut near, mut far) = duplex(1 << 16);
    near.write_all(b"{\"type\":\"msg\",").await.unwrap();
    let before = Instant::now();
    let served = bob.mq.serve(from, false, &mut far).await;
    assert!(matches!(served, Err(ServeError::TimedOut)));
    assert_eq!(before.elapsed().as_secs(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_flood_is_held_back_and_then_refused_and_hurts_nobody_else() {
    let world = World::new(6);
    let (bob, loud) = (world.peer(None), PeerId::random());
    let flood: Vec<_> = (0..2_000)
        .map(|n| {
            let mq = bob.mq.clone();
            tokio::spawn(async move {
                hand(&mq, loud, &raw(&format!("f-{n}"), "x:flood", "1"))
                    .await
                    .1
                    .is_some()
            })
        })
        .collect();
    let quiet = hand(&bob.mq, PeerId::random(), &raw("q", "x:quiet", "2")).await;
    assert!(quiet.1.is_some());
    let mut acknowledged = 0;
    for message in flood {
        acknowledged += usize::from(message.await.unwrap());
    }
    // The burst, and what a second and a half pays for.
    assert!((400..=720).contains(&acknowledged), "{acknowledged}");
    let events = page(&bob.mq, "").await;
    assert_eq!(
        events
            .iter()
            .filter(|event| event["msg"]["topic"] == "x:quiet")
            .count(),
        1
    );
}

fn pair(world: &World) -> (Peer, Peer) {
    (
        world.peer(Some(NaclKeys::generate())),
        world.peer(Some(NaclKeys::generate())),
    )
}

async fn introduce(one: &Peer, other: &Peer) {
    one.mq.ask_identity(other.id);
    wait_for("keys", || {
        one.mq.keys(|keys| keys.key_of(&other.id).is_some())
            && other.mq.keys(|keys| keys.key_of(&one.id).is_some())
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn keys_are_exchanged_and_payloads_sealed() {
    let world = World::new(7);
    let (ada, bob) = pair(&world);
    let mut heard = ada.mq.identities();
    introduce(&ada, &bob).await;
    let (from, identity) = heard.recv().await.unwrap();
    assert_eq!((from, identity.content.as_str()), (bob.id, "somebody"));
    assert_eq!(identity.peer_id, bob.id.to_base58());
    let mut log = bob.mq.log().listen(From::Now, Filter::parse("log:*"));
    ada.mq
        .send(bob.id, topic("group:g:msg"), Payload::of(&1).unwrap())
        .await
        .unwrap();
    let Next::Events(events) = log.next().await else {
        panic!("an event")
    };
    assert!(
        events
            .iter()
            .any(|entry| entry.data().contains("\"encrypted\":true"))
    );
    assert_eq!(bob.groups.lock().unwrap()[0].2, json!(1));
    // Both see the same words.
    let words =
        |one: &Peer, other: &Peer| one.mq.keys(|keys| keys.words(&one.id, &other.id)).unwrap();
    assert_eq!(words(&ada, &bob), words(&bob, &ada));
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_forgot_our_key_hears_it_again_and_nothing_is_lost() {
    let world = World::new(8);
    let (ada, bob) = pair(&world);
    introduce(&ada, &bob).await;
    ada.mq
        .send(bob.id, topic("group:g:msg"), Payload::of(&1).unwrap())
        .await
        .unwrap();
    // Bob comes back without his list of keys; Ada has not noticed.
    let bob = world.returning(bob.id, KeyBook::new(bob.keys.clone()), bob.keys);
    ada.mq
        .send(bob.id, topic("group:g:msg"), Payload::of(&2).unwrap())
        .await
        .unwrap();
    assert_eq!(bob.groups.lock().unwrap().len(), 1);
    assert_eq!(bob.groups.lock().unwrap()[0].2, json!(2));
}

/// Nobody else could tell the sender why nothing opens any more.
#[tokio::test(start_paused = true)]
async fn who_cannot_open_a_message_tells_its_new_key_to_the_sender() {
    let world = World::new(10);
    let (ada, bob) = pair(&world);
    introduce(&ada, &bob).await;
    ada.mq.change_keys(|keys| keys.set_verified(&bob.id, true));
    let (kept, new) = (bob.mq.keys(KeyBook::save), NaclKeys::generate());
    let book = KeyBook::restore(Some(new.clone()), &kept).unwrap();
    let bob = world.returning(bob.id, book, Some(new.clone()));
    let sent = ada
        .mq
        .send(bob.id, topic("group:g:msg"), Payload::of(&1).unwrap())
        .await;
    assert!(sent.is_err(), "a compared key is not replaced by itself");
    let offered = ada.mq.keys(|keys| keys.offered(&bob.id).map(str::to_owned));
    assert_eq!(offered, Some(new.public.to_base64()));
    wait_for("Bob hears that his key is another one", || {
        bob.mq
            .keys(|keys| keys.doubted(&ada.id) == Some(&*new.public.to_base64()))
    })
    .await;
    assert!(bob.groups.lock().unwrap().is_empty());
    ada.mq.change_keys(|keys| keys.accept(&bob.id));
    ada.mq
        .send(bob.id, topic("group:g:msg"), Payload::of(&2).unwrap())
        .await
        .unwrap();
    assert_eq!(bob.groups.lock().unwrap().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_key_that_changes_is_shown_to_both_and_a_compared_one_stops_everything() {
    let world = World::new(9);
    let (ada, bob) = pair(&world);
    introduce(&ada, &bob).await;
    let key_events = async |mq: &Mq| {
        let mut listener = mq
            .log()
            .listen(From::After(&mq.log().id_of(0)), Filter::parse("mq:key"));
        let mut events = Vec::new();
        while let Ok(Next::Events(more)) = timeout(Duration::from_secs(3), listener.next()).await {
            events.extend(more.iter().map(|entry| {
                let event: Value = serde_json::from_str(&entry.data()).unwrap();
                event["msg"]["payload"]["event"]
                    .as_str()
                    .unwrap()
                    .to_owned()
            }));
        }
        events
    };
    // Bob has a new key, and remembers Ada's.
    let kept = bob.mq.keys(KeyBook::save);
    let new = NaclKeys::generate();
    let bob = world.returning(
        bob.id,
        KeyBook::restore(Some(new.clone()), &kept).unwrap(),
        Some(new),
    );
    bob.mq
        .send(ada.id, topic("group:g:msg"), Payload::of(&1).unwrap())
        .await
        .unwrap();
    assert_eq!(ada.groups.lock().unwrap().len(), 1);
    assert_eq!(key_events(&ada.mq).await, ["changed"]);
    assert_eq!(key_events(&bob.mq).await, ["noticed"]);
    // The two compare; the next change is not believed.
    assert!(ada.mq.change_keys(|keys| keys.set_verified(&bob.id, true)));
    let kept = bob.mq.keys(KeyBook::save);
    let third = NaclKeys::generate();
    let bob = world.returning(
        bob.id,
        KeyBook::restore(Some(third.clone()), &kept).unwrap(),
        Some(third),
    );
    let sent = bob
        .mq
        .send(ada.id, topic("group:g:msg"), Payload::of(&2).unwrap())
        .await;
    assert!(sent.is_err(), "not acknowledged, so Bob knows");
    assert_eq!(ada.groups.lock().unwrap().len(), 1);
    assert_eq!(key_events(&ada.mq).await, ["offered"]);
    let text = ada
        .mq
        .send(bob.id, topic("chat"), content("hi"))
        .await
        .unwrap_err()
        .to_string();
    assert!(text.contains("is not the one you compared"), "{text}");
    // Ada asked Bob some other way, and agrees.
    assert!(ada.mq.change_keys(|keys| keys.accept(&bob.id)));
    bob.mq
        .send(ada.id, topic("group:g:msg"), Payload::of(&3).unwrap())
        .await
        .unwrap();
    ada.mq
        .send(bob.id, topic("group:g:msg"), Payload::of(&4).unwrap())
        .await
        .unwrap();
    assert_eq!(
        (
            ada.groups.lock().unwrap().len(),
            bob.groups.lock().unwrap().len()
        ),
        (2, 1)
    );
}

#[tokio::test(start_paused = true)]
async fn sealed_garbage_is_not_acknowledged_and_plain_text_of_one_who_sealed_is_shown() {
    let world = World::new(10);
    let (ada, bob) = pair(&world);
    introduce(&ada, &bob).await;
    ada.mq
        .send(bob.id, topic("group:g:msg"), Payload::of(&1).unwrap())
        .await
        .unwrap();
    for garbage in ["", "AAAA", "not base64", &"A".repeat(200)] {
        let bytes = raw(
            "garbage",
            "group:g:msg",
            &format!("{{\"enc\":\"{garbage}\"}}"),
        );
        let (served, ack) = hand(&bob.mq, ada.id, &bytes).await;
        assert!(
            matches!(served, Err(ServeError::Sealed(_))) && ack.is_none(),
            "{garbage}"
        );
    }
    let (served, _) = hand(&bob.mq, ada.id, &raw("plain", "group:g:msg", "2")).await;
    served.unwrap();
    let shown = bob
        .mq
        .log()
        .listen(From::After(&bob.mq.log().id_of(0)), Filter::parse("mq:key"));
    let mut shown = shown;
    let Next::Events(events) = shown.next().await else {
        panic!("an event")
    };
    assert!(
        events[0].data().contains("\"event\":\"plain\""),
        "{}",
        events[0].data()
    );
}

#[tokio::test(start_paused = true)]
async fn a_broadcast_reaches_everybody_who_is_there() {
    let world = World::new(11);
    let ada = world.peer(None);
    let others: Vec<Peer> = (0..60).map(|_| world.peer(None)).collect();
    let mut to: Vec<PeerId> = others.iter().map(|peer| peer.id).collect();
    to.push(PeerId::random());
    let report = ada
        .mq
        .broadcast(to, &PeerTopic::Broadcast, &content("all"))
        .await;
    assert_eq!((report.delivered.len(), report.failed.len()), (60, 1));
    for peer in &others {
        assert_eq!(
            page(&peer.mq, "").await[0]["msg"]["topic"],
            "chat.broadcast"
        );
    }
}
