//! Peers that ask a relay without end, say what is no message, or say nothing: they get their part, and others are served.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use futures::{AsyncReadExt, AsyncWriteExt, StreamExt};
use libp2p::core::multiaddr::Protocol;
use libp2p::{Multiaddr, PeerId, StreamProtocol};
use support::relay::{message, peer, plain, relay_of, reserves, say, with_relay};
use support::server::{Running, SOON, eventually};
use tokio::time::timeout;

const HOP: StreamProtocol = StreamProtocol::new("/libp2p/circuit/relay/0.2.0/hop");
const DIAG: StreamProtocol = StreamProtocol::new("/goop/diag/1.0.0");
/// The admin with the password of [`with_relay`].
const ADMIN: &str = "Authorization: Basic YWRtaW46c2VjcmV0";

/// The circuit address of a relay.
fn circuit(relay: PeerId, addr: &Multiaddr) -> Multiaddr {
    let addr = addr.clone().with(Protocol::P2p(relay));
    addr.with(Protocol::P2pCircuit)
}

async fn others_are_served(server: &Running, circuit: &Multiaddr) {
    assert!(reserves(&mut peer(), circuit).await, "another one gets in");
    assert_eq!(server.get("/healthz").await.status, 200);
}

/// Says one message of circuit relay v2 on a stream of its own; the status the relay answers with.
async fn asks(control: &mut libp2p_stream::Control, relay: PeerId, body: &[u8]) -> u16 {
    let mut stream = control.open_stream(relay, HOP).await.unwrap();
    say(&mut stream, &[&[body.len() as u8], body].concat()).await;
    let answer = message(&mut stream).await;
    // Field 5 is the last: a number in groups of seven bits.
    let at = answer.iter().rposition(|byte| *byte == 0x28).unwrap();
    let groups = answer[at + 1..].iter().rev();
    groups.fold(0, |status, byte| status << 7 | u16::from(byte & 0x7F))
}

/// A call of somebody who is not there (HopMessage CONNECT).
fn call() -> Vec<u8> {
    let id = PeerId::random().to_bytes();
    let peer = [&[0x0A, id.len() as u8][..], &id].concat();
    [&[0x08, 1, 0x12, peer.len() as u8][..], &peer].concat()
}

/// Asks twice as often as one may, in one moment: what is allowed gets `served`, the rest `refused`, and others are served.
async fn check(body: &[u8], served: u16, refused: u16) {
    const ALLOWED: u32 = 5;
    let folder = tempfile::tempdir().unwrap();
    let mut settings = with_relay(folder.path());
    let limits = &mut settings.relay.as_mut().unwrap().limits;
    limits.requests_per_minute = ALLOWED;
    let server = Running::start(settings).await;
    let (relay, addr) = relay_of(&server).await;
    let (_, mut loud) = plain(&addr).await;
    let mut said = Vec::new();
    for _ in 0..2 * ALLOWED {
        said.push(asks(&mut loud, relay, body).await);
    }
    let expected = [[served; ALLOWED as usize], [refused; ALLOWED as usize]].concat();
    assert_eq!(said, expected);
    let (_, mut calm) = plain(&addr).await;
    assert_eq!(asks(&mut calm, relay, body).await, served);
    others_are_served(&server, &circuit(relay, &addr)).await;
    server.end().await;
}

#[tokio::test]
async fn who_reserves_without_end_is_refused_and_others_come_in() {
    // RESERVE; OK, then RESOURCE_LIMIT_EXCEEDED.
    check(&[0x08, 0], 100, 201).await;
}

#[tokio::test]
async fn who_calls_without_end_is_refused_and_others_come_in() {
    // NO_RESERVATION, then the same: nobody is called, and asking for it counts all the same.
    check(&call(), 204, 201).await;
}

#[tokio::test]
async fn bytes_that_are_none_and_streams_that_say_nothing_end_by_themselves() {
    let folder = tempfile::tempdir().unwrap();
    let server = Running::start(with_relay(folder.path())).await;
    let (relay, addr) = relay_of(&server).await;
    let (_, mut control) = plain(&addr).await;
    // Streams that begin and go on saying nothing, beside all that follows.
    let mut silent = Vec::new();
    for _ in 0..8 {
        silent.push(control.open_stream(relay, HOP).await.unwrap());
    }
    let endless = [&[0xFF; 9][..], &[0x7F]].concat();
    let large = [&[0xFF, 0xFF, 0xFF, 0x7F][..], &[b'x'; 10_000]].concat();
    let broken: [(&str, &[u8]); 6] = [
        ("no protobuf", &[4, 0xFF, 0xFF, 0xFF, 0xFF]),
        ("a length of eight exabytes", &endless),
        ("more than a message may have", &large),
        ("a type that there is not", &[2, 0x08, 0x63]),
        ("a call to nobody", &[2, 0x08, 1]),
        (
            "a peer id that is none",
            &[8, 0x08, 1, 0x12, 4, 0x0A, 2, 0, 0],
        ),
    ];
    for (what, bytes) in broken {
        let mut stream = control.open_stream(relay, HOP).await.unwrap();
        // It may be closed while this is written.
        let _ = stream.write_all(bytes).await;
        let _ = stream.flush().await;
        let _ = stream.close().await;
        // An answer that says so, or an end.
        let ended = timeout(SOON, stream.read_to_end(&mut Vec::new())).await;
        assert!(ended.is_ok(), "{what}");
    }
    others_are_served(&server, &circuit(relay, &addr)).await;
    drop(silent);
    server.end().await;
}

/// Answers the next question of the relay.
async fn answers(asked: &mut libp2p_stream::IncomingStreams, answer: &[u8]) {
    let (_, mut stream) = asked.next().await.unwrap();
    // Too much is not heard to its end.
    let _ = stream.write_all(answer).await;
    let _ = stream.close().await;
}

/// What a peer says of itself when it is asked, and its name, are text on the pages of the relay; too much of it is refused.
#[tokio::test]
async fn what_a_connected_peer_says_is_text() {
    const EVIL: &str = "</pre><script>alert(1)</script><img src=x onerror=alert(1)>";
    let folder = tempfile::tempdir().unwrap();
    let server = Running::start(with_relay(folder.path())).await;
    let (_, addr) = relay_of(&server).await;
    let (id, mut control) = plain(&addr).await;
    let online = serde_json::json!({"type":"online","peerId":id.to_base58(),"content":EVIL,"ts":1});
    assert_eq!(server.publish(&online).await, 204);
    let mut asked = control.accept(DIAG).unwrap();
    let admin = [ADMIN.to_owned()];
    let look = async |path: String| server.send("GET", &path, &admin, b"").await.text();
    let is_text = |page: &str| {
        assert!(page.contains("&lt;script&gt;"), "{page}");
        assert!(
            !page.contains("<script") && !page.contains("<img src=x"),
            "{page}"
        );
    };
    is_text(&look("/admin/relay".to_owned()).await);
    let page = look(format!("/admin/diag?peer={id}"));
    let evil = serde_json::json!({ "hostname": EVIL }).to_string();
    let (page, ()) = tokio::join!(page, answers(&mut asked, evil.as_bytes()));
    is_text(&page);
    let page = look(format!("/admin/diag?peer={id}"));
    let (page, ()) = tokio::join!(page, answers(&mut asked, &[b'['; 1_000_000]));
    assert!(page.contains("decode_error"), "{page}");
    // Names that are no peer id, and of somebody who is not there.
    let page = look("/admin/diag?peer=<script>".to_owned()).await;
    assert!(!page.contains("<script"), "{page}");
    eventually("the server goes on", || async {
        server.get("/healthz").await.status == 200
    })
    .await;
    server.end().await;
}
