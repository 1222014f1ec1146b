//! Messages: sent, shown, followed, and what people say about keys.

use std::time::Duration;

use goop_identity::label::host_label;
use goop_mq::keys::KeyBook;
use goop_mq::topic::{LocalTopic, PeerTopic};
use goop_mq::wire::Payload;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::harness::{ALICE, BOB, alice, fixtures, peer_id};
use crate::live::read_until;

/// Message ids, which differ each time.
fn without_ids(text: &str) -> String {
    match text.split_once("\"msg_id\":\"") {
        Some((before, after)) if after.len() > 36 => format!("{before}{}", &after[36..]),
        _ => text.to_owned(),
    }
}

#[tokio::test]
async fn messages_are_sent_and_shown_as_recorded() {
    let alice = alice().await;
    let mut checked = 0;
    for line in std::fs::read_to_string(fixtures().join("wire/viewer/mq.jsonl"))
        .unwrap()
        .lines()
    {
        let record: Value = serde_json::from_str(line).unwrap();
        let (request, response) = (&record["request"], &record["response"]);
        if record["peer"] != "A" {
            continue;
        }
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let answer = alice
            .send(
                &text(&request["method"]),
                &text(&request["path"]),
                &[alice.owner()],
                text(&request["body_text"]).as_bytes(),
            )
            .await;
        let n = record["n"].as_u64().unwrap();
        let (ours, theirs) = (answer.text(), text(&response["body_text"]));
        assert_eq!(
            u64::from(answer.status),
            response["status"].as_u64().unwrap(),
            "{n}: {ours}"
        );
        // The network and the parser of ids name the mistake in their own words.
        let same = match n {
            420 => {
                ours.split(" to ").next() == theirs.split(" to ").next()
                    && ours.contains("no addresses")
            }
            421 => ours.starts_with("send failed: mq: invalid peer id \"xyz\": "),
            _ => without_ids(&ours) == without_ids(&theirs),
        };
        assert!(same, "{n}: {ours} instead of {theirs}");
        assert_eq!(
            answer.header("content-type").as_deref(),
            response["headers"]["content-type"].as_str(),
            "{n}"
        );
        checked += 1;
    }
    assert!(checked > 15, "{checked}");
    // Bob's page hears them in order, and the payload of each as it was.
    let mut page = alice
        .bob
        .log()
        .listen(goop_mq::log::From::Unheard, goop_mq::topic::Filter::Usual);
    let goop_mq::log::Next::Events(events) = page.next().await else {
        panic!("events")
    };
    let topics: Vec<&str> = events.iter().map(|entry| &*entry.topic).collect();
    assert_eq!(
        topics[..5],
        [
            "chat",
            "chat.broadcast",
            "x:custom",
            "x:none",
            "realtime:invite"
        ]
    );
    assert!(
        events[2]
            .data()
            .contains("\"payload\":[1,2.5,\"s\",null,true]")
    );
    alice.end().await;
}

#[tokio::test]
async fn what_pages_may_not_send_is_refused() {
    let alice = alice().await;
    for topic in [
        "peer:announce",
        "log:mq",
        "group:",
        "call:loopback:x",
        &"t".repeat(300),
        "a\\nb",
    ] {
        let body = format!("{{\"peer_id\":\"{BOB}\",\"topic\":\"{topic}\"}}");
        let answer = alice
            .send("POST", "/api/mq/send", &[alice.owner()], body.as_bytes())
            .await;
        assert_eq!(answer.status, 400, "{topic}: {}", answer.text());
    }
    let deep = format!(
        "{{\"peer_id\":\"{BOB}\",\"topic\":\"x\",\"payload\":{}{}}}",
        "[".repeat(5_000),
        "]".repeat(5_000)
    );
    let answer = alice
        .send("POST", "/api/mq/send", &[alice.owner()], deep.as_bytes())
        .await;
    assert_eq!(answer.status, 400);
    let large = format!(
        "{{\"peer_id\":\"{BOB}\",\"topic\":\"x\",\"payload\":\"{}\"}}",
        "x".repeat(1 << 20)
    );
    let answer = alice
        .send("POST", "/api/mq/send", &[alice.owner()], large.as_bytes())
        .await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let long_ack = format!("{{\"msg_id\":\"{}\"}}", "i".repeat(200));
    let answer = alice
        .send("POST", "/api/mq/ack", &[alice.owner()], long_ack.as_bytes())
        .await;
    assert_eq!(answer.status, 400);
    for path in ["/api/mq/send", "/api/mq/ack", "/api/chat/broadcast"] {
        let answer = alice.send("POST", path, &[], b"{}").await;
        assert_eq!(answer.status, 401, "{path}: only the owner");
    }
    alice.end().await;
}

#[tokio::test]
async fn a_site_hears_its_own_peer_only_and_groups_have_their_old_form() {
    let alice = alice().await;
    let open = async |host: String, path: &str, owner: String| {
        let mut stream = TcpStream::connect(("127.0.0.1", alice.port)).await.unwrap();
        let head = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n{owner}\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        read_until(&mut stream, "event: connected").await;
        stream
    };
    let site = format!("{}.localhost:{}", host_label(&peer_id(BOB)), alice.port);
    let mut site = open(site, "/api/mq/events", String::new()).await;
    let control = format!("127.0.0.1:{}", alice.port);
    let owner = format!("{}\r\n", alice.owner());
    let mut groups = open(control, "/api/groups/events", owner).await;
    let payload = |text: &str| Payload::of(&json!({ "content": text })).unwrap();
    for (topic, text) in [
        ("chat", "secret"),
        ("call:c", "secret"),
        ("x:move", "for the site"),
    ] {
        let topic = PeerTopic::parse(topic).unwrap();
        alice
            .bob
            .send(peer_id(ALICE), topic, payload(text))
            .await
            .unwrap();
    }
    let seen = read_until(&mut site, "for the site").await;
    assert!(!seen.contains("secret"), "{seen}");
    let topic = |kind: &str| LocalTopic::Group {
        group: "g1".into(),
        kind: kind.into(),
    };
    let told = json!({ "type": "ping", "group": "g1" });
    alice.mq.log().publish(&topic("ping"), &told);
    let told = json!({ "type": "msg", "group": "g1", "payload": { "text": "<b>\n" } });
    alice.mq.log().publish(&topic("msg"), &told);
    let seen = read_until(&mut groups, "u003cb").await;
    assert!(
        seen.contains("event: msg\n") && !seen.contains("event: ping"),
        "{seen}"
    );
    alice.end().await;
}

/// What a Go peer's templates got of groups, from what ours is told of them.
#[tokio::test]
async fn recorded_group_events_come_as_they_were() {
    let alice = alice().await;
    let mut stream = TcpStream::connect(("127.0.0.1", alice.port)).await.unwrap();
    let head = format!(
        "GET /api/groups/events HTTP/1.1\r\nHost: 127.0.0.1:{}\r\n{}\r\n\r\n",
        alice.port,
        alice.owner()
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    read_until(
        &mut stream,
        "event: connected\ndata: {\"status\":\"ok\"}\n\n",
    )
    .await;
    let mut checked = 0;
    for line in std::fs::read_to_string(fixtures().join("wire/viewer/sse.jsonl"))
        .unwrap()
        .lines()
    {
        let record: Value = serde_json::from_str(line).unwrap();
        let kind = record["event"].as_str().unwrap_or_default();
        if record["path"] != "/api/groups/events" || matches!(kind, "" | "connected") {
            continue;
        }
        let frame = record["frame"].as_str().unwrap();
        let data = frame
            .strip_prefix(&format!("event: {kind}\ndata: "))
            .unwrap()
            .trim_end();
        let told: Box<serde_json::value::RawValue> = serde_json::from_str(data).unwrap();
        let group: Value = serde_json::from_str(data).unwrap();
        let topic = LocalTopic::Group {
            group: group["group"].as_str().unwrap().into(),
            kind: kind.into(),
        };
        alice.mq.log().publish(&topic, &told);
        let seen = read_until(&mut stream, "}\n\n").await;
        assert!(seen.contains(&format!("event: {kind}\n")), "{kind}: {seen}");
        assert!(
            seen.contains(&format!("\ndata: {data}\n\n")),
            "{data}\n{seen}"
        );
        checked += 1;
    }
    assert_eq!(checked, 26);
    alice.end().await;
}

#[tokio::test]
async fn keys_are_compared_and_only_the_key_that_was_looked_at_counts() {
    let alice = alice().await;
    let path = format!("/api/mq/key?peer_id={BOB}");
    let state = async || -> Value { serde_json::from_str(&alice.get(&path).await.text()).unwrap() };
    assert_eq!(state().await["key"], "", "not known yet; Bob is asked");
    let own = goop_identity::seal::NaclKeys::generate();
    let [bob, other] = std::array::from_fn(|_| goop_identity::seal::NaclKeys::generate().public);
    alice.mq.change_keys(|keys| {
        *keys = KeyBook::new(Some(own));
        keys.learn(peer_id(BOB), &bob, true)
    });
    let known = state().await;
    assert_eq!(known["words"].as_array().unwrap().len(), 2);
    assert_eq!(known["words"][1].as_array().unwrap().len(), 6);
    let say = async |said: &str, key: &str, scanned: Option<&str>| {
        let mut body = json!({ "peer_id": BOB, "said": said, "key": key });
        if let Some(scanned) = scanned {
            body["scanned"] = scanned.into();
        }
        let body = body.to_string();
        alice
            .send("POST", "/api/mq/key", &[alice.owner()], body.as_bytes())
            .await
            .status
    };
    let (key, code) = (bob.to_base64(), known["code"].as_str().unwrap().to_owned());
    assert_eq!(say("verified", "another", None).await, 409);
    assert_eq!(say("verified", &key, Some("goop-verify:1:x")).await, 409);
    assert_eq!(say("hello", &key, None).await, 400);
    assert_eq!(say("verified", &key, Some(&code)).await, 200);
    assert_eq!(state().await["verified"], true);
    alice
        .mq
        .change_keys(|keys| keys.learn(peer_id(BOB), &other, true));
    let changed = state().await;
    assert_eq!(
        (&changed["verified"], &changed["offered"]),
        (&json!(false), &json!(other.to_base64()))
    );
    assert_eq!(
        say("accept", &key, None).await,
        409,
        "it is the old one that was looked at"
    );
    assert_eq!(say("accept", &other.to_base64(), None).await, 200);
    assert_eq!(state().await["key"], other.to_base64());
    alice.end().await;
}

/// A page that opens the stream and never reads holds nobody up and is told what it missed.
#[tokio::test]
async fn a_page_that_never_reads_hurts_nobody() {
    let alice = alice().await;
    let open = async || {
        let mut stream = TcpStream::connect(("127.0.0.1", alice.port)).await.unwrap();
        let head = format!(
            "GET /api/mq/events HTTP/1.1\r\nHost: 127.0.0.1:{}\r\n{}\r\n\r\n",
            alice.port,
            alice.owner()
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        stream
    };
    let mut stuck = open().await;
    let mut reads = open().await;
    read_until(&mut reads, "event: connected").await;
    let big = "x".repeat(16 * 1024);
    for round in 0..40 {
        for _ in 0..50 {
            alice.mq.log().publish(&LocalTopic::Invite, &big);
        }
        let mark = format!("round-{round}-");
        alice.mq.log().publish(&LocalTopic::Invite, &mark);
        let seen = read_until(&mut reads, &mark).await;
        assert!(!seen.contains("event: reset"), "who reads misses nothing");
    }
    // What lay in the buffers between, then that something was missed.
    let mut tail = Vec::new();
    let reset = async {
        while !tail.windows(12).any(|part| part == b"event: reset") {
            tail.drain(..tail.len().saturating_sub(12));
            let mut part = vec![0; 64 * 1024];
            let read = stuck.read(&mut part).await.unwrap();
            assert_ne!(read, 0, "the stream ended");
            tail.extend_from_slice(&part[..read]);
        }
    };
    let told = tokio::time::timeout(Duration::from_secs(30), reset).await;
    assert!(told.is_ok(), "it hears that it missed something");
    alice.end().await;
}

#[tokio::test]
async fn a_conversation_is_written_read_and_searched() {
    let alice = alice().await;
    let away = "12D3KooWSrKnMZUcSxK8G7wmBbXdU8nFEfWGhLu6H8xjn8LmCSJb";
    alice
        .send(
            "DELETE",
            &format!("/api/chat/history?peer_id={BOB}"),
            &[alice.owner()],
            b"",
        )
        .await;
    let write = async |peer: &str, text: &str| {
        let body = json!({ "peer_id": peer, "content": text });
        alice.post("/api/chat/send", body).await
    };
    let (status, first) = write(BOB, "hello <b>Bob</b>\nyou").await;
    assert_eq!((status, &first["state"]), (200, &json!("delivered")));
    let (status, waits) = write(away, "are you there?").await;
    assert_eq!((status, &waits["state"]), (200, &json!("waiting")));
    for (text, wanted) in [("", 400), (&*"x".repeat(70_000), 400)] {
        assert_eq!(write(BOB, text).await.0, wanted);
    }
    assert_eq!(write("xyz", "hello").await.0, 400);
    assert_eq!(write(ALICE, "hello").await.0, 400);
    // Bob answers; his line is there before his page hears that it was delivered.
    let payload = Payload::of(&json!({ "content": "100% here" })).unwrap();
    alice
        .bob
        .send(peer_id(ALICE), PeerTopic::Chat, payload)
        .await
        .unwrap();
    let lines = alice.read(&format!("/api/chat/lines?peer_id={BOB}")).await;
    let states: Vec<&str> = lines["lines"]
        .as_array()
        .unwrap()
        .iter()
        .map(|line| line["state"].as_str().unwrap())
        .collect();
    assert_eq!(states, ["delivered", "received"]);
    assert_eq!(lines["lines"][0]["msg_id"], first["msg_id"]);
    // The page of a peer asks once for both: the lines, and whose key it is.
    assert_eq!(lines.get("key"), None);
    let with_key = format!("/api/chat/lines?peer_id={BOB}&key=true");
    let mut with_key = alice.read(&with_key).await;
    let key = with_key["key"].take();
    assert_eq!(key, alice.read(&format!("/api/mq/key?peer_id={BOB}")).await);
    assert_eq!(with_key["lines"], lines["lines"]);
    let last = lines["lines"][1]["number"].as_i64().unwrap();
    let above = format!("/api/chat/lines?peer_id={BOB}&before={last}&limit=1");
    assert_eq!(
        alice.read(&above).await["lines"][0]["content"],
        "hello <b>Bob</b>\nyou"
    );
    // All conversations, and what is unread of them.
    let unread = async || {
        let all = alice.read("/api/chat/conversations").await;
        let of = |peer: &str| {
            let mut found = all.as_array().unwrap().iter();
            let found = found.find(|one| one["peer_id"] == peer).unwrap();
            (found["unread"].clone(), found["last"]["content"].clone())
        };
        (of(BOB), of(away))
    };
    let waiting = (json!(0), json!("are you there?"));
    assert_eq!(
        unread().await,
        ((json!(1), json!("100% here")), waiting.clone())
    );
    let body = json!({ "peer_id": BOB, "number": last });
    assert_eq!(alice.post("/api/chat/read", body).await.0, 200);
    assert_eq!(unread().await, ((json!(0), json!("100% here")), waiting));
    let found = alice
        .read(&format!("/api/chat/search?q=0%25&peer_id={BOB}"))
        .await;
    assert_eq!(found[0]["line"]["number"], last);
    assert_eq!(
        alice.read("/api/chat/search?q=THERE").await[0]["peer_id"],
        away
    );
    for query in ["", "?q=", "?q=x&peer_id=xyz"] {
        let answer = alice.get(&format!("/api/chat/search{query}")).await;
        assert_eq!(answer.status, 400, "{query}");
    }
    // What waits can be taken back, once.
    let body = json!({ "peer_id": away, "msg_id": waits["msg_id"] });
    assert_eq!(alice.post("/api/chat/withdraw", body.clone()).await.0, 200);
    assert_eq!(alice.post("/api/chat/withdraw", body).await.0, 409);
    let lines = alice.read(&format!("/api/chat/lines?peer_id={away}")).await;
    let last = lines["lines"].as_array().unwrap().last().unwrap();
    assert_eq!(last["state"], "withdrawn");
    for path in ["/api/chat/send", "/api/chat/read", "/api/chat/withdraw"] {
        let answer = alice.send("POST", path, &[], b"{}").await;
        assert_eq!(answer.status, 401, "{path}: only the owner");
    }
    alice.end().await;
}
