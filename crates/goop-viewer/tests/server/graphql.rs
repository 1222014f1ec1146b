//! GraphQL and transformations over HTTP: the recorded contract, who may ask, runs that are followed and ended.

use goop_identity::label::host_label;
use serde_json::{Value, json};

use crate::harness::{ALICE, Alice, Answer, alice, fixtures, recorded};

fn lines(path: &str) -> Vec<Value> {
    let text = std::fs::read_to_string(fixtures().join(path)).unwrap();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

async fn ask(peer: &Alice, record: &Value, files: &str) -> Answer {
    let request = &record["request"];
    let body = request["body_text"].as_str().unwrap_or_default();
    let body = body.replace("/srv/goop", files);
    let (method, path) = (&request["method"], &request["path"]);
    let headers = [peer.owner()];
    peer.send(
        method.as_str().unwrap(),
        path.as_str().unwrap(),
        &headers,
        body.as_bytes(),
    )
    .await
}

/// Whether a record's answer has other words here, or other values of the same kinds: goop-data's tests say which and why.
enum Same {
    Text,
    Kind,
}

#[track_caller]
fn check(record: &Value, answer: &Answer, same: &Same, files: &str) {
    let (n, response) = (&record["n"], &record["response"]);
    let status = response["status"].as_u64().unwrap();
    assert_eq!(u64::from(answer.status), status, "{n} {}", answer.text());
    let kind = response["headers"]["content-type"].as_str();
    assert_eq!(answer.header("content-type").as_deref(), kind, "{n}");
    let theirs = match response["body_text"].as_str() {
        Some(text) => text.replace("/srv/goop", files),
        None => response["body_json"].to_string(),
    };
    let read = |text: &str| serde_json::from_str::<Value>(text);
    match (same, read(&answer.text()), read(&theirs)) {
        (Same::Text, Ok(ours), Ok(theirs)) => assert_eq!(ours, theirs, "{n}"),
        (Same::Text, ours, _) => {
            assert!(ours.is_err(), "{n}");
            assert_eq!(answer.text(), theirs, "{n}");
        }
        (Same::Kind, ours, theirs) => assert_eq!(ours.is_ok(), theirs.is_ok(), "{n}"),
    }
}

#[tokio::test]
async fn the_recorded_requests_in_graphql() {
    let alice = recorded("alice", |_| ()).await;
    let bob = recorded("bob", |_| ()).await;
    let empty = recorded("bob", |folder| {
        std::fs::remove_file(folder.join("data.db")).unwrap();
    })
    .await;
    let owner = goop_data::Caller::owner(ALICE, "");
    let row = json!({"pages": 99});
    let row = row.as_object().unwrap();
    // As it was when the recording began.
    alice.data.delete(&owner, "books", 6).await.unwrap();
    alice.data.update(&owner, "books", 2, row).await.unwrap();
    let mut replayed = 0;
    for record in lines("wire/viewer/graphql.jsonl") {
        let n = record["n"].as_u64().unwrap();
        let path = record["request"]["path"].as_str().unwrap();
        if n > 597 || !path.starts_with("/api/graphql") {
            continue;
        }
        let peer = match (record["peer"].as_str().unwrap(), n) {
            ("A", _) => &alice,
            (_, 552 | 553) => &empty,
            _ => &bob,
        };
        let answer = ask(peer, &record, "").await;
        let same = match n {
            557 | 559 | 561..=564 | 566 | 587 | 589 | 593 => Same::Kind,
            // The added row has another number, for it was there before.
            586 => Same::Kind,
            _ => Same::Text,
        };
        check(&record, &answer, &same, "");
        replayed += 1;
    }
    assert_eq!(replayed, 29);
    for peer in [alice, bob, empty] {
        peer.end().await;
    }
}

#[tokio::test]
async fn the_recorded_transformations() {
    let alice = recorded("alice", |_| ()).await;
    let owner = goop_data::Caller::owner(ALICE, "");
    // They came later.
    for id in [7, 8] {
        alice.data.delete(&owner, "notes", id).await.unwrap();
    }
    let disk = tempfile::tempdir().unwrap();
    std::fs::create_dir(disk.path().join("media")).unwrap();
    let files = disk.path().to_str().unwrap();
    for record in lines("wire/viewer/transformations.jsonl") {
        let answer = ask(&alice, &record, files).await;
        // Where the folder lies on the disk is nobody's business.
        let same = match record["n"].as_u64().unwrap() {
            272 | 279 => Same::Kind,
            _ => Same::Text,
        };
        check(&record, &answer, &same, files);
    }
    alice.end().await;
}

const ROUTES: [(&str, &str); 16] = [
    ("POST", "graphql"),
    ("POST", "graphql/rebuild"),
    ("POST", "graphql/schema"),
    ("GET", "graphql/status"),
    ("GET", "graphql/sdl"),
    ("GET", "data/transformations"),
    ("GET", "data/transformations/transforms"),
    ("POST", "data/transformations/get"),
    ("POST", "data/transformations/save"),
    ("POST", "data/transformations/delete"),
    ("POST", "data/transformations/preview"),
    ("POST", "data/transformations/execute"),
    ("POST", "data/transformations/progress"),
    ("POST", "data/transformations/cancel"),
    ("POST", "data/transformations/file-exists"),
    ("POST", "data/transformations/source-fields"),
];

/// They read and write files of this machine: the owner's alone, also against a page of the own site.
#[tokio::test]
async fn only_the_owner_asks() {
    let alice = alice().await;
    let site = format!(
        "Host: {}.localhost:{}",
        host_label(&ALICE.parse().unwrap()),
        alice.port
    );
    let nobody = "X-Nothing: x".to_owned();
    let guest = "X-Forwarded-For: 192.0.2.1".to_owned();
    let elsewhere = "Origin: http://evil.example".to_owned();
    for (method, route) in ROUTES {
        let path = format!("/api/{route}");
        for header in [&site, &nobody, &guest] {
            let answer = alice
                .send(method, &path, std::slice::from_ref(header), b"{}")
                .await;
            assert!(
                [401, 403, 404, 405].contains(&answer.status),
                "{header} {path}: {}",
                answer.status
            );
        }
        let headers = [alice.owner(), elsewhere.clone()];
        let answer = alice.send(method, &path, &headers, b"{}").await;
        assert_eq!(answer.status, 403, "{path}");
        for body in [&b"{"[..], b"[]", b"\xff", b"{\"name\": 5}"] {
            let answer = alice.send(method, &path, &[alice.owner()], body).await;
            // A document that says nothing is answered with its errors.
            let may = method == "GET" || ["graphql", "graphql/rebuild"].contains(&route);
            assert!(may || answer.status >= 400, "{path}: {}", answer.status);
        }
    }
    alice.end().await;
}

/// What this machine says is not read by a transformation, and what the peer is made of is not written.
#[tokio::test]
async fn a_transformation_reaches_no_further_than_it_should() {
    let alice = alice().await;
    let fields = json!([{"target": "a", "sources": ["a"]}]);
    let own = format!("http://127.0.0.1:{}/api/self", alice.port);
    for (source, target) in [
        (
            json!({"type": "json", "url": own}),
            json!({"type": "json", "path": "site/x.json"}),
        ),
        (
            json!({"type": "json", "url": "file:///etc/passwd"}),
            json!({"type": "json", "path": "site/x.json"}),
        ),
        (
            json!({"type": "csv", "path": "data/identity.key"}),
            json!({"type": "json", "path": "site/x.json"}),
        ),
        (
            json!({"type": "table", "name": "books"}),
            json!({"type": "json", "path": "goop.json"}),
        ),
        (
            json!({"type": "table", "name": "books"}),
            json!({"type": "csv", "path": "data/identity.key"}),
        ),
        (
            json!({"type": "table", "name": "books"}),
            json!({"type": "csv", "path": "site/../data.db"}),
        ),
    ] {
        let body = json!({"transformation": {"name": "x", "source": source, "target": target, "fields": fields}});
        let (status, said) = alice.post("/api/data/transformations/execute", body).await;
        assert_eq!(status, 500, "{source} {target}: {said}");
    }
    let key = std::fs::read(alice.folder.root().join("data/identity.key")).unwrap();
    assert_eq!(
        key,
        std::fs::read(fixtures().join("folders/alice/data/identity.key")).unwrap()
    );
    assert!(!alice.folder.root().join("site/x.json").exists());
    alice.end().await;
}

/// A run of a slow source is known by its id, and ends when it is told to, or when whoever asked is gone.
#[cfg(unix)]
#[tokio::test]
async fn runs_are_followed_and_ended() {
    let alice = alice().await;
    let rows: String = (0..200_000).map(|n| format!("{n},{n}\n")).collect();
    std::fs::write(
        alice.folder.root().join("site/rows.csv"),
        format!("k,v\n{rows}"),
    )
    .unwrap();
    let body = json!({"run": "one", "transformation": {
        "name": "x", "source": {"type": "csv", "path": "site/rows.csv"}, "target": {"type": "table", "name": "t_open"},
        "fields": [{"target": "k", "sources": ["k"], "transform": "to_int"}, {"target": "v", "sources": ["v"]}],
    }});
    let count = async || {
        let (_, said) = alice
            .post("/api/data/count", json!({"table": "t_open"}))
            .await;
        said["count"].as_u64().unwrap()
    };
    let before = count().await;
    let (_, said) = alice
        .post("/api/data/transformations/progress", json!({"run": "one"}))
        .await;
    assert!(said.to_string().contains("no such run"), "{said}");
    let following = async {
        // Until it is there, and has begun.
        loop {
            let (status, said) = alice
                .post("/api/data/transformations/progress", json!({"run": "one"}))
                .await;
            if status == 200 && said["read"].as_u64().unwrap() > 0 {
                break;
            }
            tokio::task::yield_now().await;
        }
        let (status, _) = alice
            .post("/api/data/transformations/execute", body.clone())
            .await;
        assert_eq!(status, 409);
        alice
            .post("/api/data/transformations/cancel", json!({"run": "one"}))
            .await
    };
    let run = alice.post("/api/data/transformations/execute", body.clone());
    let ((status, said), (ending, _)) = tokio::join!(run, following);
    assert_eq!((status, ending), (500, 200), "{said}");
    assert!(said.to_string().contains("the run was ended"), "{said}");
    assert_eq!(count().await, before);
    alice.end().await;
}
