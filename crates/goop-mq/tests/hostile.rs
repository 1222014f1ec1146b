//! What nobody who keeps to the rules sends: tampered, odd, unread, too much of it, and claims about others.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use std::time::Duration;

use goop_identity::PeerId;
use goop_identity::seal::NaclKeys;
use goop_mq::log::{From, Next};
use goop_mq::topic::Filter;
use goop_mq::{DialError, Dialer, ServeError};
use serde_json::{Value, json};
use support::{World, alone, content, hand, introduce, pair, raw, topic};
use tokio::io::{AsyncWriteExt, DuplexStream, duplex};
use tokio::time::{Instant, timeout};

/// Sealed by somebody else, cut short, sent again, in another order.
#[tokio::test(start_paused = true)]
async fn sealed_messages_that_were_tampered_with() {
    let world = World::new(12);
    let (ada, bob) = pair(&world);
    introduce(&ada, &bob).await;
    let (ours, theirs) = (ada.keys.clone().unwrap(), bob.keys.clone().unwrap());
    let sealed = |id: &str, keys: &NaclKeys, n: u32| {
        let text =
            goop_identity::seal::seal(n.to_string().as_bytes(), &keys.secret, &theirs.public);
        (
            raw(id, "group:g:msg", &json!({ "enc": text }).to_string()),
            text,
        )
    };
    let (one, text) = sealed("one", &ours, 1);
    let (_, ack) = hand(&bob.mq, ada.id, &one).await;
    assert!(ack.is_some());
    // The same bytes again are acknowledged and not taken again.
    let (_, ack) = hand(&bob.mq, ada.id, &one).await;
    assert!(ack.is_some());
    // Nobody else can use what Ada sealed, and nobody else's key opens as hers.
    let (served, ack) = hand(&bob.mq, PeerId::random(), &one).await;
    assert!(matches!(served, Err(ServeError::Sealed(_))) && ack.is_none());
    let (foreign, _) = sealed("foreign", &NaclKeys::generate(), 2);
    let (served, ack) = hand(&bob.mq, ada.id, &foreign).await;
    assert!(matches!(served, Err(ServeError::Sealed(_))) && ack.is_none());
    for len in [0, 1, 4, 32, 40, text.len() - 4, text.len() - 1] {
        let cut = raw(
            "cut",
            "group:g:msg",
            &json!({ "enc": text[..len] }).to_string(),
        );
        let (served, ack) = hand(&bob.mq, ada.id, &cut).await;
        assert!(served.is_err() && ack.is_none(), "{len}");
    }
    // Of two of one lane the older one comes too late; in another lane it does not.
    let numbered = |id: &str, topic: &str, seq: i64, n: u32| {
        let text =
            goop_identity::seal::seal(n.to_string().as_bytes(), &ours.secret, &theirs.public);
        format!("{{\"type\":\"msg\",\"id\":\"{id}\",\"seq\":{seq},\"topic\":\"{topic}\",\"payload\":{{\"enc\":\"{text}\"}}}}\n").into_bytes()
    };
    let clock = 1_i64 << 50;
    let newer = numbered("newer", "group:h:msg", clock + 2, 4);
    let older = numbered("older", "group:h:msg", clock + 1, 3);
    assert!(hand(&bob.mq, ada.id, &newer).await.1.is_some());
    let (served, ack) = hand(&bob.mq, ada.id, &older).await;
    assert!(matches!(served, Err(ServeError::Late)) && ack.is_none());
    let other = numbered("other", "group:i:msg", clock + 1, 5);
    assert!(hand(&bob.mq, ada.id, &other).await.1.is_some());
    let taken: Vec<Value> = bob
        .groups
        .lock()
        .unwrap()
        .iter()
        .map(|(_, _, said)| said.clone())
        .collect();
    assert_eq!(taken, [json!(1), json!(4), json!(5)]);
}

/// Payloads that are JSON and yet odd: each is taken as it is or refused, and none stops anything.
#[tokio::test(start_paused = true)]
async fn odd_payloads_are_taken_or_refused() {
    let world = World::new(13);
    let (bob, from) = (world.peer(None), PeerId::random());
    let deep = |n: usize| format!("{}{}", "[".repeat(n), "]".repeat(n));
    let odd: [(&str, &str, bool); 8] = [
        ("x:deep", &deep(120), true),
        ("x:deeper", &deep(121), false),
        ("x:deepest", &deep(200_000), false),
        (
            "x:numbers",
            "[1e400,-0,123456789012345678901234567890,1E-999]",
            true,
        ),
        ("x:twice", r#"{"content":"one","content":"two"}"#, true),
        ("x:surrogate", r#"{"content":"\ud800"}"#, true),
        ("group:g:msg", r#"{"content":"\ud800"}"#, false),
        ("x:raw", "{\"content\":\"\u{1}\"}", false),
    ];
    for (topic, payload, taken) in odd {
        let (served, ack) = hand(&bob.mq, from, &raw(topic, topic, payload)).await;
        assert_eq!((served.is_ok(), ack.is_some()), (taken, taken), "{topic}");
    }
    // Who the message says it is from is nobody's business, and neither is the identity inside.
    let foreign = format!(
        "{{\"type\":\"msg\",\"id\":\"foreign\",\"seq\":1,\"topic\":\"x:foreign\",\"from\":\"{}\",\"payload\":1}}\n",
        bob.id
    );
    assert!(hand(&bob.mq, from, foreign.as_bytes()).await.1.is_some());
    let mut heard = bob.mq.identities();
    let named = json!({ "peerID": bob.id.to_base58(), "content": "Bob", "publicKey": NaclKeys::generate().public.to_base64() });
    let said = raw("named", "identity.response", &named.to_string());
    assert!(hand(&bob.mq, from, &said).await.1.is_some());
    let (who, identity) = heard.recv().await.unwrap();
    assert_eq!(
        (who, identity.peer_id.as_str()),
        (from, from.to_base58().as_str())
    );
    assert!(bob.mq.keys(|keys| keys.key_of(&bob.id).is_none()));
    let mut log = bob.mq.log().listen(From::Unheard, Filter::Usual);
    let Next::Events(events) = log.next().await else {
        panic!("events")
    };
    let of_foreign = events
        .iter()
        .find(|entry| &*entry.topic == "x:foreign")
        .unwrap();
    assert_eq!(of_foreign.from, Some(from));
}

/// Opens streams into a pipe that holds a few bytes and that nobody reads.
#[derive(Clone, Default)]
struct Deaf(std::sync::Arc<std::sync::Mutex<Vec<DuplexStream>>>);

impl Dialer for Deaf {
    type Stream = DuplexStream;
    async fn open(&self, _: PeerId, _: &'static str) -> Result<DuplexStream, DialError> {
        let (near, far) = duplex(16);
        self.0.lock().unwrap().push(far);
        Ok(near)
    }
}

#[tokio::test(start_paused = true)]
async fn who_stops_reading_costs_no_more_than_a_deadline() {
    let (mq, leave) = alone(Deaf::default());
    let before = Instant::now();
    let sent = mq
        .send(PeerId::random(), topic("chat"), content("hi"))
        .await;
    assert!(sent.unwrap_err().to_string().contains("timed out"));
    assert!(
        before.elapsed() <= Duration::from_secs(5),
        "{:?}",
        before.elapsed()
    );
    leave.cancel();
    // A sender that does not take its acknowledgement; others have their turn meanwhile, also of the same lane.
    let world = World::new(14);
    let (bob, from) = (world.peer(None), PeerId::random());
    let message = raw("unread", "group:g:msg", "1");
    for forged in [false, true] {
        let (mut near, mut far) = duplex(16);
        let mq = bob.mq.clone();
        let served = tokio::spawn(async move { mq.serve(from, false, &mut far).await });
        let text = if forged {
            raw("forged", "peer:gone", "1")
        } else {
            message.clone()
        };
        near.write_all(&text).await.unwrap();
        let before = Instant::now();
        let (_, ack) = hand(
            &bob.mq,
            from,
            &raw(&format!("next-{forged}"), "group:g:msg", "2"),
        )
        .await;
        assert!(ack.is_some());
        assert_eq!(before.elapsed(), Duration::ZERO);
        served.await.unwrap().unwrap();
        assert_eq!(before.elapsed(), Duration::from_secs(3));
    }
    assert_eq!(bob.groups.lock().unwrap().len(), 3);
}

#[tokio::test(start_paused = true)]
async fn ten_thousand_peers_with_one_message_each() {
    let world = World::new(15);
    let bob = world.peer(None);
    for n in 0..10_000 {
        let message = raw(&format!("m-{n}"), "x:one", &n.to_string());
        let (_, ack) = hand(&bob.mq, PeerId::random(), &message).await;
        assert!(ack.is_some(), "{n}");
    }
    let mut page = bob.mq.log().listen(From::Unheard, Filter::Usual);
    assert!(
        matches!(page.next().await, Next::Reset(_)),
        "it is told that some are gone"
    );
    let mut kept = 0;
    while let Ok(Next::Events(events)) = timeout(Duration::from_secs(1), page.next()).await {
        kept += events.len();
    }
    assert_eq!(kept, goop_mq::log::KEPT_OF_PEERS);
}

/// Acknowledgements of what was never sent, and a claim of somebody else, change nothing and tell no page.
#[tokio::test(start_paused = true)]
async fn shown_is_believed_of_the_receiver_and_once() {
    let world = World::new(16);
    let (ada, bob) = (world.peer(None), world.peer(None));
    let id = ada
        .mq
        .send(bob.id, topic("x:one"), content("hi"))
        .await
        .unwrap();
    let mut told = ada.mq.log().listen(From::Now, Filter::Usual);
    let claim = |n: u32, id: &str| {
        raw(
            &format!("claim-{n}"),
            "mq.ack",
            &json!({ "msg_id": id }).to_string(),
        )
    };
    for (n, (from, about)) in [
        (PeerId::random(), id.as_str()),
        (bob.id, "unknown"),
        (bob.id, ""),
        (bob.id, &"i".repeat(10_000)),
    ]
    .into_iter()
    .enumerate()
    {
        let (served, ack) = hand(&ada.mq, from, &claim(u32::try_from(n).unwrap(), about)).await;
        assert!(served.is_ok() && ack.is_some());
    }
    for n in 10..13 {
        assert!(
            hand(&ada.mq, bob.id, &claim(n, id.as_str()))
                .await
                .1
                .is_some()
        );
    }
    let Next::Events(told) = told.next().await else {
        panic!("events")
    };
    let told: Vec<String> = told.iter().map(|entry| entry.data()).collect();
    assert_eq!(
        told,
        [json!({ "type": "delivered", "msg_id": id.as_str() }).to_string()]
    );
}
