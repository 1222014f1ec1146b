//! What happens, as it happens: events and the log.

use std::time::Duration;

use goop_mq::topic::LocalTopic;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::harness::alice;

/// Reads a stream until it holds `wanted`.
pub(crate) async fn read_until(stream: &mut TcpStream, wanted: &str) -> String {
    let mut all = Vec::new();
    let read = async {
        while !String::from_utf8_lossy(&all).contains(wanted) {
            assert_ne!(
                stream.read_buf(&mut all).await.unwrap(),
                0,
                "the stream ended"
            );
        }
    };
    tokio::time::timeout(Duration::from_secs(5), read)
        .await
        .unwrap_or_else(|_| panic!("no {wanted}"));
    String::from_utf8_lossy(&all).into_owned()
}

#[tokio::test]
async fn events_reach_every_listener_and_resume() {
    let alice = alice().await;
    let open = |more: String| {
        let (port, owner) = (alice.port, alice.owner());
        async move {
            let mut stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
            let head = format!(
                "GET /api/mq/events HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n{owner}\r\n{more}\r\n"
            );
            stream.write_all(head.as_bytes()).await.unwrap();
            stream
        }
    };
    let (mut one, mut two) = (open(String::new()).await, open(String::new()).await);
    for stream in [&mut one, &mut two] {
        read_until(stream, "event: connected\ndata: {\"status\":\"ok\"}").await;
    }
    let publish = |text: &str| {
        let told = serde_json::json!({ "peerID": text });
        alice.mq.log().publish(&LocalTopic::PeerGone, &told);
    };
    publish("first");
    let seen = read_until(&mut one, "first").await;
    read_until(&mut two, "first").await;
    let id = seen
        .lines()
        .find_map(|line| line.strip_prefix("id: ").or(line.strip_prefix("id:")))
        .unwrap()
        .trim()
        .to_owned();
    drop((one, two));
    publish("second");
    let mut back = open(format!("Last-Event-ID: {id}\r\n")).await;
    let resumed = read_until(&mut back, "second").await;
    assert!(
        !resumed.contains("first") && !resumed.contains("event: reset"),
        "{resumed}"
    );
    // An id of another run, or one that fell out of the log: start anew.
    let mut lost = open("Last-Event-ID: 00000000-7\r\n".into()).await;
    read_until(&mut lost, "event: reset").await;
    for n in 0..1_100 {
        alice.mq.log().publish(&LocalTopic::PeerGone, &n);
    }
    let mut late = open(format!("Last-Event-ID: {id}\r\n")).await;
    read_until(&mut late, "event: reset").await;
    alice.end().await;
}

#[tokio::test]
async fn log_lines_stay_one_line() {
    let alice = alice().await;
    let body = b"{\"level\":\"warn\",\"message\":\"one\\nFAKE two\\u001b[31m\"}";
    assert_eq!(
        alice
            .send("POST", "/api/logs/client", &[alice.owner()], body)
            .await
            .status,
        204
    );
    let lines = alice.logs.lines();
    assert!(
        lines
            .iter()
            .any(|line| line.msg == "[warn] [client] one FAKE two [31m"),
        "{lines:?}"
    );
    let listed: Value = serde_json::from_slice(&alice.get("/api/logs").await.body).unwrap();
    assert!(
        listed
            .as_array()
            .unwrap()
            .iter()
            .all(|line| line["ts"].is_string() && line["level"].is_string())
    );
    alice.end().await;
}
