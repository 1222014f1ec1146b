//! The visiting end of the data protocol, against our host and against what a Go host says.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use goop_data::protocol::{self, CallError, ask, call};
use goop_data::{Data, Op, Request};
use goop_identity::seal::NoKeys;
use serde_json::{Value as Json, json};
use support::actors::{actor, pair};
use support::{fresh, object, owner};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

async fn site() -> (tempfile::TempDir, Data) {
    let (folder, data) = fresh().await;
    let schema = json!({"name": "books", "system_key": true, "columns": [{"name": "title", "type": "text"}],
        "access": {"read": "open", "insert": "open", "update": "owner", "delete": "owner"}});
    data.create_typed(&owner(), &serde_json::from_value(schema).unwrap())
        .await
        .unwrap();
    for title in ["Red", "Blue", "Blue"] {
        data.insert(&owner(), "books", object(json!({"title": title})))
            .await
            .unwrap();
    }
    (folder, data)
}

fn about(op: Op) -> Request {
    Request {
        table: "books".to_owned(),
        ..Request::new(op)
    }
}

#[tokio::test]
async fn both_ends_of_ours_sealed() {
    let (_folder, data) = site().await;
    let (mut visitor, mut host) = duplex(1 << 16);
    let serving = tokio::spawn(async move {
        protocol::serve(
            actor("B").peer,
            "bob@example.org",
            &mut host,
            &data,
            &pair("A", "B", true),
        )
        .await
    });
    let request = Request {
        filter: "title = ?".to_owned(),
        args: vec![json!("Blue")],
        ..about(Op::Count)
    };
    let whole = call(
        actor("A").peer,
        &mut visitor,
        &request,
        &pair("B", "A", true),
    )
    .await
    .unwrap();
    assert_eq!(whole.value, json!({"count": 2}));
    serving.await.unwrap().unwrap();
}

/// Says one line to whoever asks, as a host of the Go program does, and counts the questions.
type Opening = std::pin::Pin<Box<dyn Future<Output = io::Result<DuplexStream>> + Send>>;

fn go_host(
    answers: &[(&'static str, &'static str)],
) -> (Arc<AtomicUsize>, impl Fn() -> Opening + use<>) {
    let asked = Arc::new(AtomicUsize::new(0));
    let (count, answers) = (asked.clone(), answers.to_vec());
    let open = move || -> Opening {
        let (visitor, mut host) = duplex(1 << 16);
        let (count, answers) = (count.clone(), answers.clone());
        tokio::spawn(async move {
            count.fetch_add(1, Ordering::Relaxed);
            let mut line = String::new();
            host.read_to_string(&mut line).await.unwrap();
            let request: Json = serde_json::from_str(line.trim_end()).unwrap();
            let said = answers
                .iter()
                .find(|(op, _)| request["op"] == *op)
                .unwrap()
                .1;
            host.write_all(said.as_bytes()).await.unwrap();
        });
        Box::pin(async move { Ok(visitor) })
    };
    (asked, open)
}

async fn check(request: Request, refusal: &'static str, rows: &'static str, expected: Json) {
    let (asked, open) = go_host(&[
        (Op::of(&request.op).unwrap().word(), refusal),
        ("query", rows),
    ]);
    let whole = ask(actor("A").peer, open, &request, &NoKeys).await.unwrap();
    assert_eq!(whole.value, expected, "{}", request.op);
    assert_eq!(asked.load(Ordering::Relaxed), 2);
}

#[tokio::test]
async fn what_go_hosts_do_not_offer_is_asked_as_a_query() {
    let rows = "{\"ok\":true,\"data\":[{\"title\":\"Red\"},{\"title\":\"Blue\"}]}\n";
    let none = "{\"ok\":true,\"data\":null}\n";
    check(
        about(Op::QueryOne),
        "{\"ok\":false,\"error\":\"query-one not available for remote peers yet\"}\n",
        rows,
        json!({"title": "Red"}),
    )
    .await;
    check(
        about(Op::QueryOne),
        "{\"ok\":false,\"error\":\"query-one not available for remote peers yet\"}\n",
        none,
        Json::Null,
    )
    .await;
    check(
        about(Op::Exists),
        "{\"ok\":false,\"error\":\"exists not available for remote peers yet\"}\n",
        none,
        json!({"exists": false}),
    )
    .await;
    let counted = "{\"ok\":true,\"data\":[{\"n\":2}]}\n";
    check(
        about(Op::Count),
        "{\"ok\":false,\"error\":\"count not available for remote peers yet\"}\n",
        counted,
        json!({"count": 2}),
    )
    .await;
    let pluck = Request {
        key_col: "title".to_owned(),
        ..about(Op::Pluck)
    };
    check(
        pluck,
        "{\"ok\":false,\"error\":\"pluck not available for remote peers yet\"}\n",
        rows,
        json!(["Red", "Blue"]),
    )
    .await;
    let sum = Request {
        expr: "COUNT(*) AS n".to_owned(),
        ..about(Op::Aggregate)
    };
    check(
        sum,
        "{\"ok\":false,\"error\":\"aggregate not available for remote peers yet\"}\n",
        counted,
        json!([{"n": 2}]),
    )
    .await;
}

#[tokio::test]
async fn refusals_stay_refusals() {
    let (_, open) = go_host(&[(
        "upsert",
        "{\"ok\":false,\"error\":\"upsert not allowed for remote peers\"}\n",
    )]);
    let error = ask(actor("A").peer, open, &about(Op::Upsert), &NoKeys)
        .await
        .unwrap_err();
    assert!(
        matches!(&error, CallError::NotOffered(text) if text == "upsert not allowed for remote peers"),
        "{error}"
    );
    let (_, open) = go_host(&[(
        "query",
        "{\"ok\":false,\"error\":\"query not allowed: table is local-only\"}\n",
    )]);
    let error = ask(actor("A").peer, open, &about(Op::Query), &NoKeys)
        .await
        .unwrap_err();
    assert!(
        matches!(&error, CallError::Refused(text) if text.contains("local-only")),
        "{error}"
    );
    for (said, expected) in [
        ("\n", "it is empty"),
        ("nonsense\n", "it is no JSON answer"),
        ("ENC:AAAA\n", "sealed"),
    ] {
        let (_, open) = go_host(&[("query", said)]);
        let error = ask(actor("A").peer, open, &about(Op::Query), &NoKeys)
            .await
            .unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
    }
}

#[tokio::test(start_paused = true)]
async fn silence_ends() {
    let (mut visitor, _silent) = duplex(1 << 16);
    let error = call(actor("A").peer, &mut visitor, &about(Op::Query), &NoKeys)
        .await
        .unwrap_err();
    assert!(matches!(error, CallError::TimedOut), "{error}");
}

/// A double of a neighbour is shown as the neighbour said it.
#[test]
fn numbers_pass_unchanged() {
    let line = br#"{"ok":true,"data":[{"far":-3.12e37,"near":0.1,"whole":9007199254740993}]}"#;
    let whole = protocol::read_answer(&actor("B").peer, line, &NoKeys).unwrap();
    assert_eq!(
        goop_data::json::to_bytes(&whole.value),
        br#"[{"far":-3.12e+37,"near":0.1,"whole":9007199254740993}]"#
    );
}

#[tokio::test]
async fn a_line_without_end_is_refused() {
    let (_folder, data) = site().await;
    let (mut visitor, mut host) = duplex(1 << 16);
    let serving = tokio::spawn(async move {
        protocol::serve(actor("B").peer, "", &mut host, &data, &NoKeys).await
    });
    let long = vec![b' '; protocol::MAX_REQUEST + 100_000];
    // The host stops reading before the end.
    let _ = visitor.write_all(&long).await;
    serving.await.unwrap().unwrap();
    let mut answer = String::new();
    visitor.read_to_string(&mut answer).await.unwrap();
    assert_eq!(
        answer,
        "{\"ok\":false,\"error\":\"the request is too long\"}\n"
    );
}

/// A script engine that answers with what it was given.
struct Echo;
impl goop_data::Scripts for Echo {
    fn call(
        &self,
        caller: &goop_data::Caller,
        function: &str,
        params: Json,
    ) -> futures_util::future::BoxFuture<'_, Result<Json, goop_data::DataError>> {
        let said = if function == "nothing" {
            Json::Null
        } else {
            json!({"caller": caller.id, "function": function, "params": params})
        };
        Box::pin(async move { Ok(said) })
    }

    fn list(&self) -> Json {
        json!([{"name": "echo", "description": ""}])
    }
}

#[tokio::test]
async fn functions_of_the_site_are_called_for_their_caller() {
    let (_folder, data) = site().await;
    let off = data
        .execute(
            &owner(),
            &Request {
                function: "x".to_owned(),
                ..Request::new(Op::LuaCall)
            },
        )
        .await;
    assert_eq!(
        off.map(|_| ()).unwrap_err().to_string(),
        "lua scripting not enabled"
    );
    let data = data.with_scripts(Arc::new(Echo));
    let asked = async |line: &str| {
        let (mut visitor, mut host) = duplex(1 << 16);
        visitor.write_all(line.as_bytes()).await.unwrap();
        visitor.shutdown().await.unwrap();
        protocol::serve(actor("B").peer, "", &mut host, &data, &NoKeys)
            .await
            .unwrap();
        drop(host);
        let mut answer = String::new();
        visitor.read_to_string(&mut answer).await.unwrap();
        answer
    };
    let said: Json = serde_json::from_str(
        &asked("{\"op\":\"lua-call\",\"function\":\"echo\",\"params\":{\"a\":1}}").await,
    )
    .unwrap();
    let peer = actor("B").peer.to_string();
    assert_eq!(
        said["data"],
        json!({"caller": peer, "function": "echo", "params": {"a": 1}})
    );
    assert_eq!(
        asked("{\"op\":\"lua-call\",\"function\":\"nothing\"}").await,
        "{\"ok\":true}\n"
    );
    assert_eq!(
        asked("{\"op\":\"lua-call\"}").await,
        "{\"ok\":false,\"error\":\"function name required\"}\n"
    );
    assert_eq!(
        asked("{\"op\":\"lua-list\"}").await,
        "{\"ok\":true,\"data\":{\"functions\":[{\"name\":\"echo\",\"description\":\"\"}]}}\n"
    );
}
