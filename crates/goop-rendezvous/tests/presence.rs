//! Publishing, listening and being told, over real sockets on the loopback.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use goop_identity::Keypair;
use goop_identity::presence::{PresenceKind, PresenceMessage};
use goop_rendezvous::limits::{MAX_SOCKETS_PER_ADDRESS, MAX_STREAMS_PER_ADDRESS};
use goop_rendezvous::wire::{ClientHello, MAX_MESSAGE, ServerHello};
use serde_json::{Value, json};
use support::server::{Running, SOON, eventually, settings};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::time::timeout;

fn person() -> (Keypair, String) {
    let keypair = Keypair::generate_ed25519();
    let id = keypair.public().to_peer_id().to_base58();
    (keypair, id)
}

fn about<'a>(kind: &'a str, peer: &'a str) -> impl Fn(&Value) -> bool + 'a {
    move |message| message["type"] == kind && message["peerId"] == peer
}

fn now_ms() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.unwrap().as_millis() as i64
}

#[tokio::test]
async fn two_go_clients_meet() {
    let server = Running::start(settings()).await;
    let ((_, ann), (_, ben)) = (person(), person());
    let online = |id: &str, host: u8| {
        json!({"type":"online","peerId":id,"content":"x","email":"a@example.org","verificationToken":"secret",
            "addrs":[format!("/ip4/192.0.2.{host}/tcp/4001")],"ts":0,"later":7})
    };
    assert_eq!(
        server.socket(&format!("peer_id={ann}")).await.err(),
        Some(425)
    );
    assert_eq!(server.publish(&online(&ann, 1)).await, 204);
    let mut first = server.socket(&format!("peer_id={ann}")).await.unwrap();
    let own = first.until(about("online", &ann)).await;
    assert_eq!(own["verified"], true);
    assert!(own.get("verificationToken").is_none());
    assert!(own["ts"].as_i64().unwrap() > 0);
    assert_eq!(own["later"], 7);

    assert_eq!(server.publish(&online(&ben, 2)).await, 204);
    let seen = first.until(about("online", &ben)).await;
    assert_eq!(seen["email"], "a@example.org");
    let hint = first.until(about("punch", &ben)).await;
    assert_eq!(hint["target"], ann);
    assert_eq!(hint["addrs"], json!(["/ip4/192.0.2.2/tcp/4001"]));

    // Ben's hint waited for his socket, and Ann is in what he starts with.
    let mut second = server.socket(&format!("peer_id={ben}")).await.unwrap();
    second.until(about("online", &ann)).await;
    second.until(about("punch", &ann)).await;

    // An update over the socket need not say whose it is, and cannot be somebody else's.
    second
        .say(&json!({"type":"update","peerId":ann,"content":"not Ann"}))
        .await;
    second.say(&json!({"type":"update","content":"Ben"})).await;
    let seen = first
        .until(|message| message["content"] != "x" && message["type"] == "update")
        .await;
    assert_eq!(
        (&seen["peerId"], &seen["content"]),
        (&json!(ben), &json!("Ben"))
    );

    // A closed socket is an end.
    drop(second);
    first.until(about("offline", &ben)).await;
    server.end().await;
    assert!(first.next().await.is_none());
}

#[tokio::test]
async fn one_of_ours_proves_its_socket_and_hears_news_only() {
    let server = Running::start(settings()).await;
    let ((key, ann), (_, ben)) = (person(), person());
    let publish = |name: &str, ts: i64| {
        let peer = key.public().to_peer_id();
        let mut record = PresenceMessage::new(PresenceKind::Update, peer, ts);
        record.content = name.to_owned();
        record.sign(&key).unwrap();
        serde_json::from_slice::<Value>(&record.to_json()).unwrap()
    };
    assert_eq!(server.publish(&publish("Ann", now_ms())).await, 204);
    let stranger = json!({"type":"update","peerId":ann,"content":"Mallory","ts":1});
    assert_eq!(server.publish(&stranger).await, 403);

    // A stranger sits on the peer's socket, and is displaced by the proof.
    let mut squatter = server.socket(&format!("peer_id={ann}")).await.unwrap();
    let query = format!("peer_id={ann}&hello=1&news=1");
    let mut own = server.socket(&query).await.unwrap();
    let hello: ServerHello = serde_json::from_value(own.next().await.unwrap()).unwrap();
    let answer = ClientHello::answer(&hello, &key).unwrap();
    own.say(&serde_json::to_value(answer).unwrap()).await;
    let mark = own.next().await.unwrap();
    assert_eq!(mark, json!({"type":"snapshot","count":1}));
    own.until(about("update", &ann)).await;
    while squatter.next().await.is_some() {}
    assert_eq!(
        server.socket(&format!("peer_id={ann}")).await.err(),
        Some(425)
    );

    let online = json!({"type":"online","peerId":ben,"content":"Ben","ts":1});
    assert_eq!(server.publish(&online).await, 204);
    own.until(about("online", &ben)).await;
    own.say(&publish("Anna", now_ms() + 1)).await;
    let seen = own.until(about("update", &ann)).await;
    assert_eq!(seen["content"], "Anna");
    assert!(seen["signature"].is_string());
    server.end().await;
}

#[tokio::test]
async fn events_are_for_strangers() {
    let server = Running::start(settings()).await;
    let (_, ann) = person();
    let stream = TcpStream::connect(server.addr).await.unwrap();
    let mut stream = BufReader::new(stream);
    stream
        .write_all(b"GET /events HTTP/1.1\r\nHost: rv\r\n\r\n")
        .await
        .unwrap();
    let mut read = async || {
        let mut line = String::new();
        timeout(SOON, stream.read_line(&mut line))
            .await
            .unwrap()
            .unwrap();
        line
    };
    while read().await != ": ok\n" {}
    let online =
        json!({"type":"online","peerId":ann,"content":"Ann","email":"a@example.org","ts":1});
    assert_eq!(server.publish(&online).await, 204);
    let line = loop {
        let line = read().await;
        if let Some(data) = line.strip_prefix("data: ") {
            break data.to_owned();
        }
    };
    let message: Value = serde_json::from_str(&line).unwrap();
    assert_eq!(message["content"], "Ann");
    assert!(message.get("email").is_none());
    // The stream ends with the server.
    server.end().await;
    while !read().await.is_empty() {}
}

#[tokio::test]
async fn too_much_is_refused() {
    let server = Running::start(settings()).await;
    let (_, ann) = person();
    let large = json!({"type":"online","peerId":ann,"content":"x".repeat(MAX_MESSAGE)});
    assert_eq!(server.publish(&large).await, 413);
    let online = json!({"type":"online","peerId":ann,"ts":1});
    assert_eq!(server.publish(&online).await, 204);
    let mut statuses = Vec::new();
    for _ in 0..70 {
        statuses.push(server.publish(&online).await);
    }
    assert_eq!(statuses.last(), Some(&429));

    let mut streams = Vec::new();
    for n in 0..=MAX_STREAMS_PER_ADDRESS {
        let mut stream = TcpStream::connect(server.addr).await.unwrap();
        stream
            .write_all(b"GET /events HTTP/1.1\r\nHost: rv\r\n\r\n")
            .await
            .unwrap();
        let mut stream = BufReader::new(stream);
        let mut line = String::new();
        timeout(SOON, stream.read_line(&mut line))
            .await
            .unwrap()
            .unwrap();
        let expected = if n < MAX_STREAMS_PER_ADDRESS {
            "200"
        } else {
            "429"
        };
        assert!(line.contains(expected), "{n}: {line}");
        streams.push(stream);
    }
    // What closes makes room.
    streams.clear();
    eventually("a stream is free", || async {
        let mut stream = TcpStream::connect(server.addr).await.unwrap();
        stream
            .write_all(b"GET /events HTTP/1.1\r\nHost: rv\r\n\r\n")
            .await
            .unwrap();
        let mut line = String::new();
        BufReader::new(stream).read_line(&mut line).await.unwrap();
        line.contains("200")
    })
    .await;
    server.end().await;
}

#[tokio::test]
async fn one_address_opens_only_so_many_sockets() {
    let server = Running::start(settings()).await;
    let mut open = Vec::new();
    for n in 0..=MAX_SOCKETS_PER_ADDRESS {
        let (_, id) = person();
        let online = json!({"type":"online","peerId":id,"ts":1});
        assert_eq!(server.publish(&online).await, 204);
        let socket = server.socket(&format!("peer_id={id}")).await;
        assert_eq!(socket.is_ok(), n < MAX_SOCKETS_PER_ADDRESS, "{n}");
        if let Err(status) = &socket {
            assert_eq!(*status, 429);
        }
        open.push(socket);
    }
    server.end().await;
}

#[tokio::test]
async fn a_proxy_says_who_its_clients_are() {
    let server = Running::start(settings()).await;
    let (_, ann) = person();
    let body = json!({"type":"online","peerId":ann,"ts":1}).to_string();
    for n in 0..100 {
        let from = format!("X-Forwarded-For: 198.51.100.{n}");
        let answer = server
            .send("POST", "/publish", &[from], body.as_bytes())
            .await;
        assert_eq!(answer.status, 204, "{n}");
    }
    server.end().await;
}

#[tokio::test]
async fn a_restart_keeps_the_table() {
    let folder = tempfile::tempdir().unwrap();
    let start = async || {
        let mut settings = settings();
        settings.peer_db = Some(folder.path().join("data/peers.db"));
        settings.instance_file = folder.path().join("data/rendezvous.instance");
        Running::start(settings).await
    };
    let server = start().await;
    let ((key, ann), (_, ben)) = (person(), person());
    let mut record =
        PresenceMessage::new(PresenceKind::Online, key.public().to_peer_id(), now_ms());
    record.content = "Ann".to_owned();
    record.addrs = vec!["/ip4/192.0.2.7/tcp/4001".to_owned()];
    record.sign(&key).unwrap();
    let signed: Value = serde_json::from_slice(&record.to_json()).unwrap();
    assert_eq!(server.publish(&signed).await, 204);
    assert_eq!(
        server
            .publish(&json!({"type":"online","peerId":ben,"ts":1}))
            .await,
        204
    );
    assert_eq!(
        server
            .publish(&json!({"type":"offline","peerId":ben,"ts":2}))
            .await,
        204
    );
    server.end().await;

    let server = start().await;
    // Go clients come back without publishing first, and are not sent away.
    let mut socket = server.socket(&format!("peer_id={ann}")).await.unwrap();
    let seen = socket.until(|message| message["peerId"] == ann).await;
    assert_eq!(seen["content"], "Ann");
    assert_eq!(seen["addrs"], json!(["/ip4/192.0.2.7/tcp/4001"]));
    assert_eq!(
        server.socket(&format!("peer_id={ben}")).await.err(),
        Some(425)
    );
    // Who signed before still signs.
    let spoof = json!({"type":"update","peerId":ann,"content":"Mallory","ts":1});
    assert_eq!(server.publish(&spoof).await, 403);
    assert_eq!(server.publish(&signed).await, 409);
    server.end().await;
}

#[tokio::test]
async fn servers_that_share_a_file_know_of_each_others_peers() {
    let folder = tempfile::tempdir().unwrap();
    let start = async |name: &str| {
        let mut settings = settings();
        settings.peer_db = Some(folder.path().join("peers.db"));
        settings.instance_file = folder.path().join(name);
        Running::start(settings).await
    };
    let (one, two) = (start("one").await, start("two").await);
    let ((_, ann), (_, ben)) = (person(), person());
    assert_eq!(
        one.publish(&json!({"type":"online","peerId":ann,"ts":1}))
            .await,
        204
    );
    let mut socket = one.socket(&format!("peer_id={ann}")).await.unwrap();
    let online = json!({"type":"online","peerId":ben,"content":"Ben","ts":1});
    assert_eq!(two.publish(&online).await, 204);
    let seen = socket.until(|message| message["peerId"] == ben).await;
    assert_eq!(seen["content"], "Ben");
    assert_eq!(
        two.publish(&json!({"type":"offline","peerId":ben,"ts":2}))
            .await,
        204
    );
    socket.until(about("offline", &ben)).await;
    one.end().await;
    two.end().await;
}
