//! Two and three peers over in-memory streams: delivery, sealing, keys, and those who do not keep to the rules.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use std::time::Duration;

use futures_util::StreamExt;
use goop_identity::PeerId;
use goop_identity::seal::NaclKeys;
use goop_mq::keys::KeyBook;
use goop_mq::log::{From, Next};
use goop_mq::topic::{Filter, PeerTopic};
use goop_mq::wire::{Message, MsgId, Payload};
use goop_mq::{DialError, Dialer, Mq, SendError, ServeError};
use serde_json::{Value, json};
use support::{Peer, World, alone, content, hand, introduce, pair, raw, topic, wait_for};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::time::{Instant, timeout};

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
    let (mq, leave) = alone(Odd(answer.as_bytes().to_vec()));
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

/// Sends so many messages, so many of them at once and the next when one was answered; gives how many were acknowledged.
async fn send_fast(mq: &Mq, from: PeerId, topic: &str, count: usize, at_once: usize) -> usize {
    let sending = futures_util::stream::iter(0..count).map(|n| async move {
        let message = raw(&format!("{topic}-{n}"), topic, r#"{"content":"line"}"#);
        hand(mq, from, &message).await.1.is_some()
    });
    let answers: Vec<bool> = sending.buffer_unordered(at_once).collect().await;
    answers.into_iter().filter(|taken| *taken).count()
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_answers_is_never_stopped() {
    let world = World::new(6);
    let bob = world.peer(None);
    let before = Instant::now();
    let taken = send_fast(&bob.mq, PeerId::random(), "x:fast", 10_000, 16).await;
    assert_eq!((taken, before.elapsed()), (10_000, Duration::ZERO));
}

#[tokio::test(start_paused = true)]
async fn a_flood_is_refused_and_hurts_nobody_else() {
    let world = World::new(6);
    let (bob, loud) = (world.peer(None), PeerId::random());
    // So many streams at once, on which nothing was written yet.
    let mut streams: Vec<_> = (0..2_000)
        .map(|_| {
            let (near, mut far) = duplex(1 << 12);
            let mq = bob.mq.clone();
            let served = tokio::spawn(async move { mq.serve(loud, false, &mut far).await });
            (near, served)
        })
        .collect();
    wait_for("all but so many are refused", || {
        streams.retain(|(_, served)| !served.is_finished());
        streams.len() <= goop_mq::receiver::AT_ONCE
    })
    .await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(streams.iter().all(|(_, served)| !served.is_finished()));
    assert_eq!(streams.len(), goop_mq::receiver::AT_ONCE);
    let quiet = hand(&bob.mq, PeerId::random(), &raw("q", "x:quiet", "2")).await;
    assert!(quiet.1.is_some());
    let refused = hand(&bob.mq, loud, &raw("f", "x:flood", "1")).await;
    assert!(matches!(refused, (Err(ServeError::TooMuch), None)));
    // What was let in is taken, and then there is room again.
    for (n, (mut near, served)) in streams.into_iter().enumerate() {
        let message = raw(&format!("f-{n}"), "x:flood", "1");
        near.write_all(&message).await.unwrap();
        served.await.unwrap().unwrap();
    }
    let taken = hand(&bob.mq, loud, &raw("f", "x:flood", "1")).await;
    assert!(taken.1.is_some());
    let events = page(&bob.mq, "").await;
    let of = |topic: &str| {
        let all = events.iter();
        all.filter(|event| event["msg"]["topic"] == topic).count()
    };
    assert_eq!((of("x:quiet"), of("x:flood")), (1, 65));
}

/// A peer may send many lines of a chat, and then only so many a second: they are written to the disk.
#[tokio::test(start_paused = true)]
async fn what_is_kept_is_held_back_and_other_topics_are_not() {
    let world = World::new(6);
    let (bob, loud) = (world.peer(None), PeerId::random());
    let (burst, rate) = goop_mq::receiver::KEPT;
    let before = Instant::now();
    let taken = send_fast(&bob.mq, loud, "chat", burst as usize, 16).await;
    assert_eq!((taken, before.elapsed()), (burst as usize, Duration::ZERO));
    // One at a time it goes on at that rate; nothing is refused.
    let taken = send_fast(&bob.mq, loud, "chat", 3 * rate as usize, 1).await;
    assert_eq!(taken, 3 * rate as usize);
    assert_eq!(before.elapsed().as_secs_f64().round() as u64, 3);
    let waited = before.elapsed();
    assert_eq!(send_fast(&bob.mq, loud, "x:other", 100, 16).await, 100);
    assert_eq!(before.elapsed(), waited);
}

/// A few large messages at a time; small ones of the same peer pass them, and so do all of others.
#[tokio::test(start_paused = true)]
async fn large_messages_that_come_slowly_take_no_room_from_others() {
    let world = World::new(6);
    let (bob, slow) = (world.peer(None), PeerId::random());
    let mut streams = Vec::new();
    for n in 0..goop_mq::receiver::AT_ONCE - 1 {
        let (mut near, mut far) = duplex(1 << 23);
        let whole = raw(
            &format!("l-{n}"),
            "x:large",
            &format!("\"{}\"", "x".repeat(4 << 20)),
        );
        near.write_all(&whole[..whole.len() - 10]).await.unwrap();
        let mq = bob.mq.clone();
        let served = tokio::spawn(async move { mq.serve(slow, false, &mut far).await });
        streams.push((near, served));
    }
    tokio::time::sleep(Duration::from_millis(100)).await;
    for from in [slow, PeerId::random()] {
        let large = format!(
            "\"{}\"",
            "y".repeat(if from == slow { 100 } else { 4 << 20 })
        );
        let (_, ack) = hand(&bob.mq, from, &raw("other", "x:other", &large)).await;
        assert!(ack.is_some());
    }
    for (near, served) in streams {
        assert!(matches!(served.await.unwrap(), Err(ServeError::TimedOut)));
        drop(near);
    }
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

/// Nobody is there, and it takes a while to find that out.
#[derive(Clone, Default)]
struct Counting(std::sync::Arc<std::sync::Mutex<(usize, usize)>>);

impl Dialer for Counting {
    type Stream = DuplexStream;
    async fn open(&self, _: PeerId, _: &'static str) -> Result<DuplexStream, DialError> {
        {
            let mut counted = self.0.lock().unwrap();
            counted.0 += 1;
            counted.1 = counted.1.max(counted.0);
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
        self.0.lock().unwrap().0 -= 1;
        Err(DialError::Unreachable("nobody answers".into()))
    }
}

#[tokio::test(start_paused = true)]
async fn a_broadcast_is_brought_to_some_at_a_time() {
    let dialer = Counting::default();
    let (mq, leave) = alone(dialer.clone());
    let to = (0..200).map(|_| PeerId::random()).collect();
    let report = mq
        .broadcast(to, &PeerTopic::Broadcast, &content("all"))
        .await;
    assert_eq!((report.delivered.len(), report.failed.len()), (0, 200));
    assert_eq!(dialer.0.lock().unwrap().1, 16);
    leave.cancel();
}
