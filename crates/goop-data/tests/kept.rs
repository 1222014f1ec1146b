//! Streams of the data protocol that are kept: many questions, one stream; and what may go wrong with one.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use goop_data::protocol::{self, CallError, KEPT, PROTOCOL, ServeError, Visits, serve_kept};
use goop_data::{Data, Op, Request};
use goop_identity::seal::NoKeys;
use serde_json::json;
use support::actors::actor;
use support::{fresh, object, owner};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::task::JoinHandle;

async fn site() -> (tempfile::TempDir, Data) {
    let (folder, data) = fresh().await;
    let schema = json!({"name": "books", "system_key": true, "columns": [{"name": "title", "type": "text"}],
        "access": {"read": "open", "insert": "open", "update": "owner", "delete": "owner"}});
    data.create_typed(&owner(), &serde_json::from_value(schema).unwrap())
        .await
        .unwrap();
    data.insert(&owner(), "books", object(json!({"title": "Red"})))
        .await
        .unwrap();
    (folder, data)
}

fn about(op: Op) -> Request {
    Request {
        table: "books".to_owned(),
        ..Request::new(op)
    }
}

type Served = JoinHandle<Result<(), ServeError>>;

/// A host, and the streams that were opened to it.
#[derive(Clone)]
struct Host {
    data: Data,
    opened: Arc<Mutex<Vec<(&'static str, Served)>>>,
}

impl Host {
    fn new(data: &Data) -> Self {
        Self {
            data: data.clone(),
            opened: Arc::default(),
        }
    }

    fn open(&self, spoken: &'static str) -> DuplexStream {
        let (visitor, mut host) = duplex(1 << 16);
        let data = self.data.clone();
        let served = tokio::spawn(async move {
            let peer = actor("B").peer;
            match spoken {
                KEPT => serve_kept(peer, || "bob@example.org".to_owned(), &mut host, &data).await,
                _ => protocol::serve(peer, "bob@example.org", &mut host, &data, &NoKeys).await,
            }
        });
        self.opened.lock().unwrap().push((spoken, served));
        visitor
    }

    fn opened(&self) -> Vec<&'static str> {
        let opened = self.opened.lock().unwrap();
        opened.iter().map(|(spoken, _)| *spoken).collect()
    }

    /// Ends the streams that are open, as a host that stops.
    fn stop(&self) {
        for (_, served) in &*self.opened.lock().unwrap() {
            served.abort();
        }
    }

    async fn ask(
        &self,
        visits: &Visits<DuplexStream>,
        request: &Request,
    ) -> Result<serde_json::Value, CallError> {
        let open = |spoken| {
            let stream = self.open(spoken);
            async move { Ok(stream) }
        };
        let asked = visits.ask(actor("A").peer, open, true, request, &NoKeys);
        asked.await.map(|whole| whole.value)
    }
}

#[tokio::test]
async fn questions_go_over_one_stream_and_changes_over_their_own() {
    let (_folder, data) = site().await;
    let (host, visits) = (Host::new(&data), Visits::default());
    for _ in 0..3 {
        let count = host.ask(&visits, &about(Op::Count)).await.unwrap();
        assert_eq!(count, json!({"count": 1}));
    }
    assert_eq!(host.opened(), [KEPT]);
    // A refusal is an answer like others.
    let wrong = Request {
        filter: "nothing = 1".to_owned(),
        ..about(Op::Count)
    };
    let refused = host.ask(&visits, &wrong).await.unwrap_err();
    assert!(matches!(refused, CallError::Refused(_)), "{refused}");
    let insert = Request {
        data: object(json!({"title": "Blue"})),
        ..about(Op::Insert)
    };
    host.ask(&visits, &insert).await.unwrap();
    let rows = host.ask(&visits, &about(Op::Query)).await.unwrap();
    assert_eq!(rows[1]["title"], "Blue");
    assert_eq!(rows[1]["_owner_email"], "bob@example.org");
    assert_eq!(host.opened(), [KEPT, PROTOCOL]);
}

#[tokio::test]
async fn a_stream_that_ended_is_replaced() {
    let (_folder, data) = site().await;
    let (host, visits) = (Host::new(&data), Visits::default());
    host.ask(&visits, &about(Op::Count)).await.unwrap();
    host.stop();
    let count = host.ask(&visits, &about(Op::Count)).await.unwrap();
    assert_eq!(count, json!({"count": 1}));
    assert_eq!(host.opened(), [KEPT, KEPT]);
}

/// The other end of a kept stream may have moved away without a word.
#[tokio::test(start_paused = true)]
async fn a_stream_that_says_nothing_any_more_is_replaced() {
    let opened = AtomicUsize::new(0);
    let open = |_| {
        opened.fetch_add(1, Ordering::Relaxed);
        let (visitor, mut host) = duplex(1 << 16);
        tokio::spawn(async move {
            while host.read_u8().await.is_ok_and(|byte| byte != b'\n') {}
            let answer = b"{\"ok\":true,\"data\":{\"count\":1}}\n";
            host.write_all(answer).await.unwrap();
            // From now on it takes what comes and says nothing.
            let _ = tokio::io::copy(&mut host, &mut tokio::io::sink()).await;
        });
        async move { Ok::<_, io::Error>(visitor) }
    };
    let (visits, question) = (Visits::default(), about(Op::Count));
    for expected in [1, 2] {
        let asked = visits.ask(actor("A").peer, open, true, &question, &NoKeys);
        assert_eq!(asked.await.unwrap().value, json!({"count": 1}));
        assert_eq!(opened.load(Ordering::Relaxed), expected);
    }
}

#[tokio::test]
async fn requests_that_come_together_are_answered_in_order() {
    let (_folder, data) = site().await;
    let host = Host::new(&data);
    let mut stream = host.open(KEPT);
    stream
        .write_all(b"{\"op\":\"count\",\"table\":\"books\"}\nnonsense\n{\"op\":\"exists\",\"table\":\"books\"}\n")
        .await
        .unwrap();
    stream.shutdown().await.unwrap();
    let mut said = String::new();
    stream.read_to_string(&mut said).await.unwrap();
    let lines: Vec<_> = said.lines().collect();
    assert_eq!(lines[0], r#"{"ok":true,"data":{"count":1}}"#);
    assert!(lines[1].contains("invalid json"), "{}", lines[1]);
    assert_eq!(lines[2], r#"{"ok":true,"data":{"exists":true}}"#);
    assert_eq!(lines.len(), 3);
}

#[tokio::test]
async fn a_request_without_end_is_the_last() {
    let (_folder, data) = site().await;
    let host = Host::new(&data);
    let (mut from, mut to) = tokio::io::split(host.open(KEPT));
    let flood = tokio::spawn(async move {
        let much = vec![b'x'; 1 << 16];
        while to.write_all(&much).await.is_ok() {}
    });
    let mut said = String::new();
    from.read_to_string(&mut said).await.unwrap();
    assert!(said.contains("the request is too long"), "{said}");
    flood.abort();
}

/// Whoever is silent between requests is let go after a while, whoever is silent within one sooner; both without a word.
#[tokio::test(start_paused = true)]
async fn silence_ends_a_stream() {
    let (_folder, data) = site().await;
    let host = Host::new(&data);
    let begun = tokio::time::Instant::now();
    let mut stream = host.open(KEPT);
    assert_eq!(stream.read(&mut [0; 8]).await.unwrap(), 0);
    assert_eq!(begun.elapsed().as_secs(), protocol::KEEP_ALIVE.as_secs());
    let begun = tokio::time::Instant::now();
    let mut stream = host.open(KEPT);
    stream.write_all(b"{").await.unwrap();
    assert_eq!(stream.read(&mut [0; 8]).await.unwrap(), 0);
    assert_eq!(
        begun.elapsed().as_secs(),
        protocol::REQUEST_DEADLINE.as_secs()
    );
}
