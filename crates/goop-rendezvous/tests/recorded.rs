//! The recorded conversations between the Go program's peers and its server, each side replaced by ours: what Go peers
//! ask is answered, and what the Go server answers, byte for byte, brings our client in contact.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use goop_identity::Keypair;
use goop_identity::presence::{PresenceKind, PresenceMessage};
use goop_rendezvous::client::{Client, ClientConfig, Contact, Heard};
use serde_json::{Value, json};
use support::server::{Running, SOON, settings};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;

fn records(file: &str) -> Vec<Value> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/wire/rendezvous");
    let text = std::fs::read_to_string(path.join(file)).unwrap();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// What one side of an exchange said first.
fn said(record: &Value, by: &str) -> Vec<u8> {
    let exchange = record["exchange"].as_array().unwrap();
    let first = exchange.iter().find(|piece| piece["dir"] == by).unwrap();
    match first["text"].as_str() {
        Some(text) => text.as_bytes().to_vec(),
        None => hex::decode(first["hex"].as_str().unwrap()).unwrap(),
    }
}

fn recorded(name: &str) -> Value {
    let mut all = records("http-and-sse.jsonl").into_iter();
    all.find(|record| record["name"] == name).unwrap()
}

fn status(bytes: &[u8]) -> u16 {
    let text = String::from_utf8_lossy(bytes);
    text.split(' ').nth(1).unwrap().parse().unwrap()
}

/// The head of the answer to a recorded request.
async fn answered(server: &Running, request: &[u8]) -> String {
    let mut stream = TcpStream::connect(server.addr).await.unwrap();
    stream.write_all(request).await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(timeout(SOON, stream.read_u8()).await.unwrap().unwrap());
    }
    String::from_utf8(head).unwrap()
}

/// Every request of the recorded Go peers, in their order. They open a socket before they publish (425), then again.
#[tokio::test]
async fn what_go_peers_ask_is_answered_as_their_server_did() {
    let server = Running::start(settings()).await;
    let mut checked = Vec::new();
    for record in records("http-and-sse.jsonl") {
        let name = record["name"].as_str().unwrap().to_owned();
        // The recorder answered these itself.
        let forged = record["server"]
            .as_str()
            .unwrap()
            .contains("made by the recorder");
        if !name.starts_with("go-") || forged {
            continue;
        }
        let request = said(&record, "client");
        let line = String::from_utf8_lossy(&request).into_owned();
        let line = line.lines().next().unwrap();
        let wanted = status(&said(&record, "server"));
        if wanted == 101 {
            let peer = line
                .split("peer_id=")
                .nth(1)
                .unwrap()
                .split(' ')
                .next()
                .unwrap();
            let online = json!({"type":"online","peerId":peer,"ts":1});
            assert_eq!(server.publish(&online).await, 204);
        }
        if wanted == 425 && checked.contains(&(line.to_owned(), 425)) {
            // It was away long enough to be forgotten; here nobody waits for that.
            continue;
        }
        let head = answered(&server, &request).await;
        // Without a relay there is none; with one, `contract` and `relay` look.
        let without_relay = line.contains(" /relay") || line.contains("/api/pulse");
        match without_relay {
            true => assert!(
                [404, 503].contains(&status(head.as_bytes())),
                "{name}: {head}"
            ),
            false => assert_eq!(status(head.as_bytes()), wanted, "{name}: {head}"),
        }
        if wanted == 101 {
            // The accept key follows from the key of the request.
            let given = String::from_utf8(said(&record, "server")).unwrap();
            let accept = |head: &str| {
                let mut lines = head.lines();
                let line = lines.find(|line| {
                    line.to_ascii_lowercase()
                        .starts_with("sec-websocket-accept")
                });
                line.unwrap().split(": ").nth(1).unwrap().to_owned()
            };
            assert_eq!(accept(&head), accept(&given), "{name}");
        }
        checked.push((line.to_owned(), wanted));
    }
    assert!(checked.len() >= 11, "{checked:?}");
    server.end().await;
}

/// A server that says what was recorded, whatever is asked; it tells which requests came.
async fn replaying(socket: Vec<u8>) -> (std::net::SocketAddr, mpsc::UnboundedReceiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let (told, seen) = mpsc::unbounded_channel();
    let relay = said(&recorded("go-A-1"), "server");
    let events = said(&recorded("go-C-3"), "server");
    // Ends with the test's runtime.
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let (told, socket) = (told.clone(), socket.clone());
            let (relay, events) = (relay.clone(), events.clone());
            tokio::spawn(async move {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    head.push(stream.read_u8().await.ok()?);
                }
                let head = String::from_utf8(head).ok()?;
                let line = head.lines().next()?.to_owned();
                let published = b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n";
                let answer = match &line {
                    line if line.contains(" /relay") => &relay[..],
                    line if line.contains(" /events") => &events[..],
                    line if line.contains(" /ws") => &socket[..],
                    _ => &published[..],
                };
                let stays = line.contains(" /events");
                let _ = told.send(line.clone());
                // The body of a record, before it is answered.
                let length = head.lines().find_map(|line| {
                    let (name, value) = line.split_once(": ")?;
                    name.eq_ignore_ascii_case("content-length")
                        .then(|| value.parse::<usize>().ok())?
                });
                stream
                    .read_exact(&mut vec![0; length.unwrap_or(0)])
                    .await
                    .ok()?;
                stream.write_all(answer).await.ok()?;
                if stays {
                    std::future::pending::<()>().await;
                }
                Some(())
            });
        }
    });
    (addr, seen)
}

struct Talking {
    client: Client,
    heard: mpsc::Receiver<Heard>,
    _own: watch::Sender<Option<PresenceMessage>>,
}

fn talk(addr: std::net::SocketAddr) -> Talking {
    let keypair = Keypair::generate_ed25519();
    let record = PresenceMessage::new(PresenceKind::Online, keypair.public().to_peer_id(), 1);
    let (own, seen) = watch::channel(Some(record));
    let (sender, heard) = mpsc::channel(64);
    let config = ClientConfig {
        server: format!("http://{addr}"),
        keypair,
        complete: Arc::new(|record| record),
    };
    Talking {
        client: Client::start(config, seen, sender).unwrap(),
        heard,
        _own: own,
    }
}

/// The recorded 404 for sockets, the recorded stream of events and the recorded relay.
#[tokio::test]
async fn the_go_servers_stream_and_relay_are_read_by_our_client() {
    let refusal = said(&recorded("go-C-2"), "server");
    assert_eq!(status(&refusal), 404);
    let (addr, _seen) = replaying(refusal).await;
    let mut talking = talk(addr);
    // What stands in the recording, apart from what is for others.
    let events = String::from_utf8(said(&recorded("go-C-3"), "server")).unwrap();
    let mut wanted: Vec<(String, String)> = events
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line.strip_prefix("data: ")?).ok())
        .filter(|message| message["type"] != "punch")
        // The recorder's own clients had ids that are none.
        .filter(|message| message["peerId"].as_str().unwrap().starts_with("12D3Koo"))
        .map(|message| (message["peerId"].to_string(), message["type"].to_string()))
        .collect();
    assert!(!wanted.is_empty(), "{events}");
    let mut relay = None;
    while relay.is_none() || !wanted.is_empty() {
        let heard = timeout(SOON, talking.heard.recv()).await;
        match heard
            .unwrap_or_else(|_| panic!("not heard: {relay:?} {wanted:?}"))
            .unwrap()
        {
            Heard::Relay(info) => relay = info,
            Heard::Record(record) => {
                let json: Value = serde_json::from_slice(&record.to_json()).unwrap();
                let key = (json["peerId"].to_string(), json["type"].to_string());
                wanted.retain(|one| *one != key);
            }
        }
    }
    let body = String::from_utf8(said(&recorded("go-A-1"), "server")).unwrap();
    let body: Value = serde_json::from_str(body.split("\r\n\r\n").nth(1).unwrap()).unwrap();
    let relay = relay.unwrap();
    assert_eq!(relay.peer.to_base58(), body["peer_id"]);
    assert_eq!(relay.refresh_interval, Some(Duration::from_secs(90)));
    assert_eq!(relay.addrs.len(), body["addrs"].as_array().unwrap().len());
    assert_eq!(talking.client.state().borrow().contact, Contact::Stream);
    talking.client.shutdown().await;
}

/// The recorded 425: our client says who it is, and asks for the socket again.
#[tokio::test]
async fn the_go_servers_too_early_makes_our_client_publish() {
    let refusal = said(&recorded("go-A-2"), "server");
    assert_eq!(status(&refusal), 425);
    let (addr, mut seen) = replaying(refusal).await;
    let talking = talk(addr);
    let mut after_refusal = Vec::new();
    let mut sockets = 0;
    while sockets < 2 || after_refusal.is_empty() {
        let line = timeout(SOON, seen.recv()).await.unwrap().unwrap();
        if line.contains(" /ws?peer_id=") {
            sockets += 1;
        } else if line.starts_with("POST /publish") && sockets > 0 {
            after_refusal.push(line);
        }
    }
    assert_eq!(talking.client.state().borrow().contact, Contact::Trying);
    talking.client.shutdown().await;
}
