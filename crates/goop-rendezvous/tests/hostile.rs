//! Clients that mean harm or are broken: each is refused or cut off, and the server keeps serving the others.
//!
//! | What | Test |
//! |---|---|
//! | spoofed ids, foreign signatures | `nobody_speaks_for_who_signs` here, `who_signs_is_not_spoken_for` in `state.rs` |
//! | stolen sockets | `nobody_takes_a_living_socket` here, `a_proof_beats_everything_but_a_proof` in `state.rs`, `one_of_ours_proves_its_socket_and_hears_news_only` in `presence.rs` |
//! | oversized and endless bodies and heads | `bodies_without_an_end_and_heads_without_measure_are_refused` here |
//! | a hundred thousand connections of one address | test bed, `flood`; `one_address_opens_only_so_many_sockets` in `presence.rs` |
//! | slow readers | `who_reads_nothing_is_cut_off_and_holds_nobody_up`, `an_answer_that_nobody_takes_is_given_up` here |
//! | slow senders | `who_sends_too_slowly_is_cut_off` here |
//! | malformed frames of WebSockets | `frames_that_are_none_end_the_socket_and_nothing_else` here |
//! | bad UTF-8, and words that make no sense | `words_that_make_no_sense_are_passed_over_and_the_socket_stays` here, `fuzz.rs` |
//! | replay | `nobody_speaks_for_who_signs` here, `wire::a_hello_proves_one_socket_of_one_peer` |
//! | a wrong clock | `a_wrong_clock_makes_a_peer_an_unsigned_one` in `state.rs` |
//! | guessing the admin's password | `other_pages_and_guesses_get_nowhere`, `guesses_of_programs_count_too` in `admin.rs` |
//! | script in what peers say | `what_peers_say_is_text` in `admin.rs`, `what_a_connected_peer_says_is_text` in `relay_hostile.rs` |
//! | a key file that cannot be read | `a_key_that_cannot_be_read_stops_the_start_and_stays` in `relay.rs`, `process.rs` of the program |
//! | a port that somebody has | `a_port_that_somebody_has_is_said` in `relay.rs`, `process.rs` of the program |
//! | a flood at the relay | `relay_hostile.rs`, `crowd::a_flood_of_one_address_stays_within_its_part_and_others_come_in`, test bed, `flood` |
//! | all places of the relay taken | `a_full_relay_says_so_and_keeps_those_it_has` in `relay.rs`, `places.rs` |
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use std::time::Duration;

use goop_identity::Keypair;
use goop_identity::presence::{PresenceKind, PresenceMessage};
use goop_rendezvous::limits::MAX_STREAMS_PER_ADDRESS;
use goop_rendezvous::wire::MAX_MESSAGE;
use serde_json::{Value, json};
use support::server::{Running, SOON, Socket, eventually, settings};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

fn id() -> String {
    goop_identity::PeerId::random().to_base58()
}

/// Publishes and opens the peer's socket.
async fn enter(server: &Running, id: &str) -> Socket {
    let online = json!({"type":"online","peerId":id,"content":"here","ts":1});
    assert_eq!(server.publish(&online).await, 204);
    server.socket(&format!("peer_id={id}")).await.unwrap()
}

/// Two honest clients meet.
async fn others_are_served(server: &Running) {
    let (ann, ben) = (id(), id());
    let mut socket = enter(server, &ann).await;
    let online = json!({"type":"online","peerId":ben,"content":"Ben","ts":1});
    assert_eq!(server.publish(&online).await, 204);
    let seen = socket.until(|message| message["peerId"] == ben).await;
    assert_eq!(seen["content"], "Ben");
}

/// The first bytes a raw client is answered; nothing when the server only closes.
async fn answer(stream: &mut TcpStream) -> String {
    let mut bytes = [0; 4_096];
    let read = timeout(SOON, stream.read(&mut bytes)).await.unwrap();
    String::from_utf8_lossy(&bytes[..read.unwrap_or(0)]).into_owned()
}

fn status(answer: &str) -> &str {
    answer.split(' ').nth(1).unwrap_or_default()
}

#[tokio::test]
async fn bodies_without_an_end_and_heads_without_measure_are_refused() {
    let server = Running::start(settings()).await;
    // A body that says how large it is, and one that does not and never ends.
    let mut huge = TcpStream::connect(server.addr).await.unwrap();
    let head = format!(
        "POST /publish HTTP/1.1\r\nHost: rv\r\nContent-Length: {}\r\n\r\n",
        u64::MAX / 4
    );
    huge.write_all(head.as_bytes()).await.unwrap();
    assert_eq!(status(&answer(&mut huge).await), "413");
    for path in ["/publish", "/admin/login"] {
        let mut endless = TcpStream::connect(server.addr).await.unwrap();
        let head =
            format!("POST {path} HTTP/1.1\r\nHost: rv\r\nTransfer-Encoding: chunked\r\n\r\n");
        endless.write_all(head.as_bytes()).await.unwrap();
        let chunk = format!("1000\r\n{}\r\n", "x".repeat(0x1000));
        let (mut hear, mut say) = endless.into_split();
        let mut bytes = [0; 4_096];
        let heard = timeout(SOON, hear.read(&mut bytes));
        let talk = async {
            let mut sent = 0;
            // It fails once the server has closed.
            while say.write_all(chunk.as_bytes()).await.is_ok() {
                sent += chunk.len();
                assert!(sent < 1_024 * MAX_MESSAGE, "{path} is read without end");
            }
            std::future::pending::<()>().await;
        };
        let read = tokio::select! {
            heard = heard => heard.unwrap().unwrap_or(0),
            () = talk => 0,
        };
        let said = String::from_utf8_lossy(&bytes[..read]).into_owned();
        let refused = ["413", "403", ""].contains(&status(&said));
        assert!(refused, "{path}: {said}");
    }
    // A head of one endless line, and one of many.
    for line in [
        "X-Long: ".to_owned() + &"x".repeat(100_000),
        "X: y\r\n".repeat(5_000),
    ] {
        let mut long = TcpStream::connect(server.addr).await.unwrap();
        // It may be closed while this is written.
        let _ = long
            .write_all(format!("GET /healthz HTTP/1.1\r\nHost: rv\r\n{line}\r\n\r\n").as_bytes())
            .await;
        let said = answer(&mut long).await;
        assert!(["431", "400", ""].contains(&status(&said)), "{said}");
    }
    others_are_served(&server).await;
    server.end().await;
}

/// The clock stands still while bytes travel and runs while nothing else happens, so deadlines cost no time here.
#[tokio::test]
async fn who_sends_too_slowly_is_cut_off() {
    let server = Running::start(settings()).await;
    let slow = id();
    let mut socket = enter(&server, &slow).await;
    socket.until(|message| message["peerId"] == slow).await;
    // The first bytes of a text frame of 100 bytes, masked, and no more.
    let half_a_frame = [0x81, 0x80 | 100, 1, 2, 3, 4, b'{'];
    socket
        .stream
        .get_mut()
        .write_all(&half_a_frame)
        .await
        .unwrap();
    let mut half_a_head = TcpStream::connect(server.addr).await.unwrap();
    half_a_head
        .write_all(b"GET / HTTP/1.1\r\nHost:")
        .await
        .unwrap();
    let mut half_a_body = TcpStream::connect(server.addr).await.unwrap();
    let head = b"POST /publish HTTP/1.1\r\nHost: rv\r\nContent-Length: 100\r\n\r\n{";
    half_a_body.write_all(head).await.unwrap();
    let mut idle = TcpStream::connect(server.addr).await.unwrap();
    // All of it has arrived once later requests are answered.
    assert_eq!(server.get("/healthz").await.status, 200);

    tokio::time::pause();
    let mut rest = String::new();
    half_a_body.read_to_string(&mut rest).await.unwrap();
    assert_eq!(status(&rest), "408", "{rest}");
    for stream in [&mut half_a_head, &mut idle] {
        // Closed, with or without a word.
        let _ = stream.read_to_end(&mut Vec::new()).await;
    }
    let mut silent = Vec::new();
    let _ = socket.stream.get_mut().read_to_end(&mut silent).await;
    tokio::time::resume();
    others_are_served(&server).await;
    server.end().await;
}

/// A record as large as they come.
fn large(id: &str, number: usize) -> Value {
    let addrs: Vec<String> = (0..20)
        .map(|n| format!("/ip4/192.0.2.{n}/tcp/4001/{}", "x".repeat(200)))
        .collect();
    json!({"type":"update","peerId":id,"content":format!("{number}{}", "x".repeat(4_000)),"addrs":addrs,
        "more":"x".repeat(4_000),"ts":1})
}

/// Connects with room for a few bytes only, and asks for something.
async fn reads_nothing(server: &Running, request: &str) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4_096).unwrap();
    let mut stream = socket.connect(server.addr).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    stream
}

#[tokio::test]
async fn who_reads_nothing_is_cut_off_and_holds_nobody_up() {
    let server = Running::start(settings()).await;
    let (slow, loud, live) = (id(), id(), id());
    assert_eq!(
        server
            .publish(&json!({"type":"online","peerId":slow,"ts":1}))
            .await,
        204
    );
    let mut listening = enter(&server, &live).await;
    let mut lazy = Vec::new();
    for _ in 0..MAX_STREAMS_PER_ADDRESS {
        lazy.push(reads_nothing(&server, "GET /events HTTP/1.1\r\nHost: rv\r\n\r\n").await);
    }
    let upgrade = format!(
        "GET /ws?peer_id={slow} HTTP/1.1\r\nHost: rv\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    let socket = reads_nothing(&server, &upgrade).await;
    listening.until(|message| message["peerId"] == slow).await;
    // More than both ends of a connection keep. Each round another address, or the server would have enough of it.
    let mut number = 0;
    let mut full = async |number: &mut usize| {
        for _ in 0..50 {
            *number += 1;
            let from = format!(
                "X-Forwarded-For: 198.51.{}.{}",
                *number / 250,
                *number % 250
            );
            let body = large(&loud, *number).to_string();
            let answer = server
                .send("POST", "/publish", &[from], body.as_bytes())
                .await;
            assert_eq!(answer.status, 204, "{}", answer.text());
        }
        // Who reads hears it, or everybody anew if it was too much at once.
        let newest = number.to_string();
        listening
            .until(|message| {
                let content = message["content"].as_str().unwrap_or_default();
                message["peerId"] == loud && content.trim_end_matches('x') == newest
            })
            .await;
    };
    let deadline = tokio::time::Instant::now() + 3 * SOON;
    // Its socket is given up after two seconds in which nothing more goes into it.
    let mut gone = false;
    while !gone {
        assert!(
            tokio::time::Instant::now() < deadline,
            "the slow socket stays"
        );
        full(&mut number).await;
        let asked = server.socket(&format!("peer_id={slow}")).await;
        gone = asked.is_ok();
    }
    drop(socket);
    drop(lazy);
    eventually("a stream is free", || async {
        let request = "GET /events HTTP/1.1\r\nHost: rv\r\n\r\n";
        let mut stream = reads_nothing(&server, request).await;
        status(&answer(&mut stream).await) == "200"
    })
    .await;
    server.end().await;
}

/// A frame as a client sends it: masked with zeros, so that the bytes are as they stand here.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first];
    match payload.len() {
        length @ 0..126 => bytes.push(0x80 | length as u8),
        length => {
            bytes.push(0x80 | 127);
            bytes.extend((length as u64).to_be_bytes());
        }
    }
    bytes.extend([0; 4]);
    bytes.extend(payload);
    bytes
}

#[tokio::test]
async fn frames_that_are_none_end_the_socket_and_nothing_else() {
    let server = Running::start(settings()).await;
    let endless = [
        &[0x81, 0x80 | 127][..],
        &(u64::MAX >> 1).to_be_bytes(),
        &[0; 4],
    ]
    .concat();
    let broken: [(&str, Vec<u8>); 9] = [
        ("a reserved opcode", frame(0x83, b"x")),
        ("reserved bits", frame(0xF1, b"x")),
        ("not masked", vec![0x81, 1, b'x']),
        ("a ping in pieces", frame(0x09, b"x")),
        ("a ping that is too long", frame(0x89, &[0; 200])),
        ("a continuation of nothing", frame(0x80, b"x")),
        ("text that is no UTF-8", frame(0x81, &[0xC3, 0x28])),
        (
            "more than a message may have",
            frame(0x81, &vec![b'x'; MAX_MESSAGE + 1]),
        ),
        ("a length of eight exabytes", endless),
    ];
    for (what, bytes) in broken {
        let mut socket = enter(&server, &id()).await;
        // It may be closed while this is written.
        let _ = socket.stream.get_mut().write_all(&bytes).await;
        let closed = async { while socket.next().await.is_some() {} };
        assert!(timeout(SOON, closed).await.is_ok(), "{what}");
    }
    // Pieces of one message without end: together they are too large.
    let mut socket = enter(&server, &id()).await;
    let raw = socket.stream.get_mut();
    let mut sent = raw.write_all(&frame(0x01, &[b'x'; 100])).await;
    let mut pieces = 0;
    while sent.is_ok() {
        pieces += 1;
        assert!(pieces < 100_000, "a message without end is read");
        sent = raw.write_all(&frame(0x00, &[b'x'; 1_000])).await;
    }
    others_are_served(&server).await;
    server.end().await;
}

#[tokio::test]
async fn words_that_make_no_sense_are_passed_over_and_the_socket_stays() {
    let server = Running::start(settings()).await;
    let (ann, ben) = (id(), id());
    let mut socket = enter(&server, &ann).await;
    let mut other = enter(&server, &ben).await;
    let deep = "[".repeat(30_000);
    for nonsense in [
        "",
        "null",
        "[]",
        "7",
        "{",
        "{}",
        "\"text\"",
        &deep,
        r#"{"type":"punch","target":"x"}"#,
        r#"{"type":["online"],"content":{}}"#,
        r#"{"type":"update","content":7}"#,
        r#"{"type":"update","addrs":"none"}"#,
        r#"{"type":"update","ts":1e400}"#,
        r#"{"type":"update","content":"\ud800"}"#,
    ] {
        let text = tokio_tungstenite::tungstenite::Message::text(nonsense);
        futures::SinkExt::send(&mut socket.stream, text)
            .await
            .unwrap();
    }
    // Neither a JSON text nor UTF-8, in a frame that need not be.
    let binary = tokio_tungstenite::tungstenite::Message::binary(vec![0xFF, 0xFE, 0x00]);
    futures::SinkExt::send(&mut socket.stream, binary)
        .await
        .unwrap();
    socket
        .say(&json!({"type":"update","content":"sense"}))
        .await;
    let of_ann = |message: &Value| message["peerId"] == ann && message["type"] == "update";
    let seen = other.until(of_ann).await;
    assert_eq!(seen["content"], "sense");
    for body in [
        &b"\xFF\xFE"[..],
        b"{\"type\":\"online\",\"peerId\":\"\xC3\x28\"}",
        b"",
        b"[[[[",
    ] {
        let answer = server.send("POST", "/publish", &[], body).await;
        assert_eq!(answer.status, 400, "{body:?}");
    }
    server.end().await;
}

fn signed(key: &Keypair, name: &str, ts: i64) -> Value {
    let mut record = PresenceMessage::new(PresenceKind::Update, key.public().to_peer_id(), ts);
    record.content = name.to_owned();
    record.sign(key).unwrap();
    serde_json::from_slice(&record.to_json()).unwrap()
}

fn now_ms() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.unwrap().as_millis() as i64
}

#[tokio::test]
async fn nobody_speaks_for_who_signs() {
    let server = Running::start(settings()).await;
    let (ann, mallory) = (Keypair::generate_ed25519(), Keypair::generate_ed25519());
    let ann_id = ann.public().to_peer_id().to_base58();
    let now = now_ms();
    let first = signed(&ann, "Ann", now - 2_000);
    assert_eq!(server.publish(&first).await, 204);
    let second = signed(&ann, "Anna", now - 1_000);
    assert_eq!(server.publish(&second).await, 204);
    // Her id without a signature, with the signature of somebody else, with her own under other words, with her own of
    // another time, and with a clock that nobody has.
    let spoofed = json!({"type":"update","peerId":ann_id,"content":"Mallory","ts":now});
    let mut foreign = signed(&mallory, "Mallory", now);
    foreign["peerId"] = json!(ann_id);
    let mut changed = second.clone();
    changed["content"] = json!("Mallory");
    let mut later = second.clone();
    later["ts"] = json!(now);
    let skewed = signed(&ann, "Ann of tomorrow", now + 24 * 3_600_000);
    let offline = json!({"type":"offline","peerId":ann_id,"ts":now});
    for lie in [spoofed, foreign, changed, later, skewed, offline] {
        assert_eq!(server.publish(&lie).await, 403, "{lie}");
    }
    // What she said once is not said again by somebody who kept it.
    for replayed in [&first, &second] {
        assert_eq!(server.publish(replayed).await, 409, "{replayed}");
    }
    let watching = id();
    let mut socket = enter(&server, &watching).await;
    let seen = socket.until(|message| message["peerId"] == ann_id).await;
    assert_eq!(seen["content"], "Anna");
    // Nor over a socket of somebody else.
    socket.say(&signed(&ann, "Ann again", now)).await;
    socket
        .say(&json!({"type":"update","content":"watching"}))
        .await;
    let seen = socket
        .until(|message| message["content"] == "watching")
        .await;
    assert_eq!(seen["peerId"], watching);
    server.end().await;
}

/// Neither the socket of somebody who signs nor the living one of somebody who does not is taken over, and what a thief
/// does with its own ends nobody else's (weak points 2 and 4).
#[tokio::test]
async fn nobody_takes_a_living_socket() {
    let server = Running::start(settings()).await;
    let (victim, watching) = (id(), id());
    let mut watch = enter(&server, &watching).await;
    let mut socket = enter(&server, &victim).await;
    watch.until(|message| message["peerId"] == victim).await;
    for _ in 0..3 {
        // The victim's side answers when it is asked whether it lives.
        let query = format!("peer_id={victim}");
        let (stolen, ()) = tokio::join!(server.socket(&query), async {
            socket.say(&json!({"type":"update","content":"mine"})).await;
        });
        assert_eq!(stolen.err(), Some(425));
    }
    // A thief with a socket of its own says that the victim left, and leaves.
    let mut thief = enter(&server, &id()).await;
    let lie = json!({"type":"offline","peerId":victim,"ts":1});
    thief.say(&lie).await;
    drop(thief);
    socket
        .say(&json!({"type":"update","content":"still here"}))
        .await;
    let of_victim = |message: &Value| {
        message["peerId"] == victim
            && (message["type"] == "offline" || message["content"] == "still here")
    };
    let seen = watch.until(of_victim).await;
    assert_eq!(seen["type"], "update", "{seen}");
    server.end().await;
}

/// The deadline of what nobody takes, without anybody waiting for it.
#[tokio::test]
async fn an_answer_that_nobody_takes_is_given_up() {
    let mut settings = settings();
    let folder = tempfile::tempdir().unwrap();
    let template = folder.path().join("large");
    std::fs::create_dir_all(&template).unwrap();
    std::fs::write(template.join("manifest.json"), r#"{"name":"Large"}"#).unwrap();
    // Nothing a connection keeps on its way, and nothing that can be packed.
    let mut noise = vec![0_u8; 16 * 1024 * 1024];
    let mut state = 7_u64;
    for byte in &mut noise {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        *byte = (state >> 56) as u8;
    }
    std::fs::write(template.join("noise"), noise).unwrap();
    settings.templates_dir = Some(folder.path().to_owned());
    let server = Running::start(settings).await;
    let request = "GET /api/templates/large/bundle HTTP/1.1\r\nHost: rv\r\n\r\n";
    let mut lazy = reads_nothing(&server, request).await;
    assert_eq!(status(&answer(&mut lazy).await), "200");
    tokio::time::pause();
    tokio::time::sleep(Duration::from_secs(60)).await;
    tokio::time::resume();
    // What was on its way comes, and then there is an end before the end of the file.
    let mut rest = Vec::new();
    let _ = timeout(SOON, lazy.read_to_end(&mut rest)).await.unwrap();
    assert!(rest.len() < 16 * 1024 * 1024, "{}", rest.len());
    others_are_served(&server).await;
    server.end().await;
}
