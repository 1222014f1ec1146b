//! Transformations: the recorded requests, every source and target, and what must not go wrong.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use std::path::Path;
use std::sync::{Arc, Mutex};

use futures_util::future::BoxFuture;
use futures_util::{FutureExt, StreamExt, stream};
use goop_data::schema::Schema;
use goop_data::transform::{self, Done, Endpoint, Fetch, Fetched, Progress, Run, Transformation};
use goop_data::{Caller, Data, DataError, Database, Find};
use serde_json::{Value as Json, json};
use support::{ALICE, fixture, fresh, lines, object, owner};
use tokio_util::sync::CancellationToken;

/// A web with one page.
#[derive(Default)]
struct Web {
    pieces: Vec<Result<Vec<u8>, String>>,
    /// Whether the answer goes on for ever.
    endless: bool,
    asked: Mutex<Vec<String>>,
}

impl Web {
    fn of(text: &str) -> Self {
        Self {
            pieces: text
                .as_bytes()
                .chunks(3)
                .map(|piece| Ok(piece.to_vec()))
                .collect(),
            ..Self::default()
        }
    }
}

impl Fetch for Web {
    fn get<'a>(&'a self, url: &'a str) -> BoxFuture<'a, Result<Fetched, String>> {
        self.asked.lock().unwrap().push(url.to_owned());
        let pieces = stream::iter(self.pieces.clone());
        let answer: Fetched = if self.endless {
            pieces.chain(stream::pending()).boxed()
        } else {
            pieces.boxed()
        };
        async { Ok(answer) }.boxed()
    }
}

fn transformation(json: Json) -> Transformation {
    serde_json::from_value(json).unwrap()
}

async fn run(data: &Data, transformation: &Transformation, web: &Web) -> Result<Done, DataError> {
    let cancel = CancellationToken::new();
    data.transform(
        &owner(),
        transformation,
        Run::default(),
        web,
        |_| (),
        cancel,
    )
    .await
}

async fn table(data: &Data, name: &str) {
    let schema: Schema = serde_json::from_value(json!({
        "name": name, "system_key": true,
        "columns": [
            {"name": "no", "type": "integer", "auto": true, "key": true},
            {"name": "title", "type": "text", "required": true},
            {"name": "pages", "type": "integer"},
        ],
    }))
    .unwrap();
    data.create_typed(&owner(), &schema).await.unwrap();
}

async fn rows(data: &Data, table: &str) -> Vec<Json> {
    let find = Find {
        order: "_id".into(),
        columns: vec!["no".into(), "title".into(), "pages".into()],
        ..Find::all(table)
    };
    let found = data.find(&owner(), &find).await.unwrap();
    found
        .whole()
        .await
        .unwrap()
        .value
        .as_array()
        .unwrap()
        .clone()
}

/// A transformation into the table `t`, from a JSON list of `{"a","b"}`.
fn into_table(source: Json) -> Transformation {
    transformation(json!({
        "name": "x", "source": source, "target": {"type": "table", "name": "t"},
        "fields": [
            {"target": "title", "sources": ["a"], "transform": "trim"},
            {"target": "pages", "sources": ["b"], "transform": "to_int"},
        ],
    }))
}

#[tokio::test]
async fn the_recorded_requests() {
    let folder = tempfile::tempdir().unwrap();
    let peer = folder.path().join("alice");
    std::fs::create_dir_all(peer.join("data")).unwrap();
    std::fs::create_dir_all(folder.path().join("media")).unwrap();
    std::fs::copy(fixture("folders/alice/data.db"), peer.join(goop_data::FILE)).unwrap();
    let data = Data::new(Database::open(&peer).await.unwrap());
    // They came later.
    for id in [7, 8] {
        data.delete(&owner(), "notes", id).await.unwrap();
    }
    let here = folder.path().to_str().unwrap().to_owned();
    let mut replayed = 0;
    for record in lines("wire/viewer/transformations.jsonl") {
        let n = record["n"].as_u64().unwrap();
        let suffix = record["request"]["path"].as_str().unwrap();
        let suffix = suffix.strip_prefix("/api/data/transformations").unwrap();
        let body = record["request"]["body_text"].as_str().unwrap_or_default();
        let body = body.replace("/srv/goop", &here).into_bytes();
        let done = data
            .direct_transformations(
                &owner(),
                suffix.trim_start_matches('/'),
                &body,
                &Web::default(),
                &transform::Watched::default(),
            )
            .await;
        let (status, ours) = match done {
            Ok(json) => (
                200,
                String::from_utf8(goop_data::json::to_bytes(&json)).unwrap(),
            ),
            Err(error) => (u64::from(error.status()), error.to_string()),
        };
        assert_eq!(
            status,
            record["response"]["status"].as_u64().unwrap(),
            "{n} {ours}"
        );
        let theirs = record["response"]["body_text"].as_str().unwrap();
        let theirs = theirs.trim().replace("/srv/goop", &here);
        match n {
            // Where the folder lies is nobody's business.
            272 | 279 => assert_eq!(ours, "there is no transformation \"zz\""),
            _ => assert_eq!(ours, theirs, "{n}"),
        }
        replayed += 1;
        if n == 268 {
            let kept = std::fs::read_to_string(peer.join("transformations/tr.json")).unwrap();
            assert!(
                kept.starts_with(
                    "{\n  \"name\": \"tr\",\n  \"source\": {\n    \"type\": \"table\""
                ),
                "{kept}"
            );
            assert!(kept.ends_with("  ]\n}\n"));
        }
        if n == 274 {
            // As long as the Go program's file.
            let text = std::fs::read_to_string(folder.path().join("media/out.json")).unwrap();
            assert_eq!(text.len(), 171, "{text}");
        }
    }
    assert_eq!(replayed, 12);
}

#[tokio::test]
async fn every_source_goes_into_every_target() {
    let (folder, data) = fresh().await;
    std::fs::create_dir_all(folder.path().join("site")).unwrap();
    table(&data, "t").await;
    table(&data, "u").await;
    for (title, pages) in [("ä, \"b\"\nc", 1), ("", 2)] {
        data.insert(
            &owner(),
            "u",
            object(json!({"title": title, "pages": pages})),
        )
        .await
        .unwrap();
    }
    let mut step = transformation(json!({
        "name": "x", "source": {"type": "table", "name": "u"}, "target": {"type": "csv", "path": "site/a.csv"},
        "fields": [{"target": "title", "sources": ["title"]}, {"target": "pages", "sources": ["pages"], "transform": "to_int"}],
    }));
    let path = folder.path().join("site/a.csv");
    let done = run(&data, &step, &Web::default()).await.unwrap();
    assert_eq!(done, Done::Written("site/a.csv".into(), 2));
    assert_eq!(
        std::fs::read_to_string(&path).unwrap(),
        "title,pages\n\"ä, \"\"b\"\"\nc\",1\n,2\n"
    );
    // A file that was there is replaced, with who may read it kept.
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).unwrap();
        run(&data, &step, &Web::default()).await.unwrap();
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    }
    step.source = Endpoint {
        kind: "csv".into(),
        path: "site/a.csv".into(),
        ..Endpoint::default()
    };
    step.target = Endpoint {
        kind: "json".into(),
        path: "site/b.json".into(),
        ..Endpoint::default()
    };
    run(&data, &step, &Web::default()).await.unwrap();
    let text = std::fs::read_to_string(folder.path().join("site/b.json")).unwrap();
    let list: Json = serde_json::from_str(&text).unwrap();
    assert_eq!(
        list,
        json!([{"title": "ä, \"b\"\nc", "pages": 1}, {"title": "", "pages": 2}])
    );
    step.source = step.target.clone();
    step.target = Endpoint {
        kind: "table".into(),
        name: "t".into(),
        ..Endpoint::default()
    };
    assert_eq!(
        run(&data, &step, &Web::default()).await.unwrap(),
        Done::Inserted("t".into(), 2)
    );
    step.source = Endpoint {
        kind: "json".into(),
        url: "http://a.example/x".into(),
        ..Endpoint::default()
    };
    let web = Web::of(&text);
    assert_eq!(
        run(&data, &step, &web).await.unwrap(),
        Done::Inserted("t".into(), 2)
    );
    assert_eq!(*web.asked.lock().unwrap(), ["http://a.example/x"]);
    // Rows of a table into the same table: those that were there when it was read.
    step.source = step.target.clone();
    assert_eq!(
        run(&data, &step, &Web::default()).await.unwrap(),
        Done::Inserted("t".into(), 4)
    );
    let rows = rows(&data, "t").await;
    let numbers: Vec<i64> = rows.iter().map(|row| row["no"].as_i64().unwrap()).collect();
    assert_eq!(numbers, (1..=8).collect::<Vec<_>>());
    assert!(
        rows.iter()
            .all(|row| row["pages"] == 1 || row["pages"] == 2)
    );
    let first = data.find_one(&owner(), &Find::all("t")).await.unwrap();
    assert_eq!(first["_owner"], ALICE);
    // Nothing is left behind beside the files.
    let left = |folder: &Path| {
        std::fs::read_dir(folder)
            .unwrap()
            .filter(|entry| {
                entry
                    .as_ref()
                    .unwrap()
                    .file_name()
                    .to_str()
                    .unwrap()
                    .starts_with(".goop-")
            })
            .count()
    };
    assert_eq!(
        left(&folder.path().join("site")) + left(&folder.path().join("data")),
        0
    );
}

/// All or nothing: the last of many rows does not fit.
#[tokio::test]
async fn a_run_that_fails_changes_nothing() {
    let (folder, data) = fresh().await;
    std::fs::create_dir_all(folder.path().join("site")).unwrap();
    table(&data, "t").await;
    data.insert(&owner(), "t", object(json!({"title": "kept"})))
        .await
        .unwrap();
    let before = rows(&data, "t").await;
    let many = |last: &str| {
        let rows: String = (0..500)
            .map(|n| format!("{{\"a\": \"{n}\", \"b\": {n}}},"))
            .collect();
        format!("[{rows}{last}]")
    };
    for (text, words) in [
        (
            many("{\"a\": \"x\", \"b\": \"x\"}"),
            "transform: row 500: field \"pages\": cannot convert",
        ),
        (many("{\"a\": \"x\"}, 5"), "source read: invalid type"),
        (many("{\"a\": \"x\"}] garbage"), "source read: trailing"),
        (many("{\"a\": "), "source read: "),
        (
            "{\"a\": 1}".to_owned(),
            "source read: invalid type: map, expected a list of objects",
        ),
        (String::new(), "source read: EOF"),
    ] {
        let error = run(
            &data,
            &into_table(json!({"type": "json", "url": "http://x.example"})),
            &Web::of(&text),
        )
        .await
        .unwrap_err();
        assert!(error.to_string().contains(words), "{words}: {error}");
        assert_eq!(rows(&data, "t").await, before);
    }
    let mut step = into_table(json!({"type": "json", "url": "http://x.example"}));
    // A column that is not there shows itself with the first row, a missing value with its own.
    step.fields[0].target = "nope".into();
    let error = run(&data, &step, &Web::of(&many("{}"))).await.unwrap_err();
    assert!(error.to_string().starts_with("insert: "), "{error}");
    step.fields[0].target = "title".into();
    step.fields[0].transform = String::new();
    let error = run(&data, &step, &Web::of(&many("{}"))).await.unwrap_err();
    assert_eq!(error.to_string(), "insert: column \"title\" is required");
    assert_eq!(rows(&data, "t").await, before);
    // The same for a file.
    let path = folder.path().join("site/a.json");
    std::fs::write(&path, "before").unwrap();
    step.target = Endpoint {
        kind: "json".into(),
        path: "site/a.json".into(),
        ..Endpoint::default()
    };
    run(&data, &step, &Web::of(&many("5"))).await.unwrap_err();
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "before");
    assert_eq!(
        std::fs::read_dir(folder.path().join("site"))
            .unwrap()
            .count(),
        1
    );
}

/// A run that is ended, at each of its steps.
#[tokio::test]
async fn a_run_that_is_ended_changes_nothing() {
    let (_folder, data) = fresh().await;
    table(&data, "t").await;
    let text: String = (0..1_000)
        .map(|n| format!("{{\"a\": \"{n}\", \"b\": {n}}},"))
        .collect();
    let text = format!("[{text}{{\"a\": \"last\"}}]");
    let step = into_table(json!({"type": "json", "url": "http://x.example"}));
    // While an answer does not come to its end.
    let endless = Web {
        endless: true,
        pieces: vec![Ok(b"[{\"a\": \"1\"},".to_vec())],
        ..Web::default()
    };
    let cancel = CancellationToken::new();
    let me = owner();
    let waiting = data.transform(&me, &step, Run::default(), &endless, |_| (), cancel.clone());
    let ending = async {
        tokio::task::yield_now().await;
        cancel.cancel();
    };
    let (done, ()) = tokio::join!(waiting, ending);
    assert_eq!(
        done.unwrap_err().to_string(),
        "the run was ended; nothing was changed"
    );
    // While it reads, and while it writes.
    let web = Web::of(&text);
    let is_there: [fn(Progress) -> bool; 2] = [|at| at.read >= 640, |at| at.written >= 640];
    for there in is_there {
        let (cancel, seen) = (CancellationToken::new(), Arc::new(Mutex::new(Vec::new())));
        let progress = {
            let (cancel, seen) = (cancel.clone(), seen.clone());
            move |at: Progress| {
                seen.lock().unwrap().push(at);
                if there(at) {
                    cancel.cancel();
                }
            }
        };
        let done = data
            .transform(&owner(), &step, Run::default(), &web, progress, cancel)
            .await;
        assert_eq!(
            done.unwrap_err().to_string(),
            "the run was ended; nothing was changed"
        );
        assert!(
            seen.lock()
                .unwrap()
                .windows(2)
                .all(|two| two[0].read <= two[1].read && two[0].written <= two[1].written)
        );
        assert_eq!(rows(&data, "t").await.len(), 0);
    }
    assert_eq!(
        run(&data, &step, &web).await.unwrap(),
        Done::Inserted("t".into(), 1_001)
    );
}

#[tokio::test(start_paused = true)]
async fn an_answer_has_an_end() {
    let (_folder, data) = fresh().await;
    table(&data, "t").await;
    let step = into_table(json!({"type": "json", "url": "http://x.example"}));
    let endless = Web {
        endless: true,
        pieces: vec![Ok(b"[".to_vec())],
        ..Web::default()
    };
    // The clock stands while the parser's thread waits, so it is moved by hand.
    let passing = async {
        while endless.asked.lock().unwrap().is_empty() {
            tokio::task::yield_now().await;
        }
        tokio::time::advance(transform::FETCH_DEADLINE).await;
        std::future::pending::<()>().await;
    };
    let error = tokio::select! {
        done = run(&data, &step, &endless) => done.unwrap_err(),
        () = passing => unreachable!("it waits for ever"),
    };
    assert!(error.to_string().contains("takes too long"), "{error}");
    let broken = Web {
        pieces: vec![Ok(b"[{}".to_vec()), Err("gone".into())],
        ..Web::default()
    };
    let error = run(&data, &step, &broken).await.unwrap_err();
    assert!(error.to_string().contains("gone"), "{error}");
}

#[tokio::test]
async fn a_row_has_an_end() {
    let (folder, data) = fresh().await;
    std::fs::create_dir_all(folder.path().join("site")).unwrap();
    table(&data, "t").await;
    let long = "x".repeat(transform::MAX_ROW + 100_000);
    for (kind, text) in [
        ("csv", format!("a,b\n\"{long}")),
        ("json", format!("[{{\"a\": \"{long}\"}}]")),
    ] {
        let name = format!("site/long.{kind}");
        std::fs::write(folder.path().join(&name), text).unwrap();
        let error = run(
            &data,
            &into_table(json!({"type": kind, "path": name})),
            &Web::default(),
        )
        .await;
        assert!(
            error.unwrap_err().to_string().contains("a row is longer"),
            "{kind}"
        );
    }
}

#[tokio::test]
async fn csv_of_every_form() {
    let (folder, data) = fresh().await;
    std::fs::create_dir_all(folder.path().join("site")).unwrap();
    let fields = json!({"type": "csv", "path": "site/a.csv"});
    let check = async |bytes: &[u8], expected: Result<Json, &str>| {
        std::fs::write(folder.path().join("site/a.csv"), bytes).unwrap();
        let step = transformation(json!({
            "name": "x", "source": fields, "target": {"type": "json", "path": "site/b.json"},
            "fields": [{"target": "t", "sources": ["a"]}, {"target": "u", "sources": ["b"]}],
        }));
        let seen = data
            .preview_transformation(&owner(), &step, 10, &Web::default())
            .await;
        match (seen, expected) {
            (Ok(rows), Ok(expected)) => assert_eq!(json!(rows), expected, "{bytes:?}"),
            (Err(error), Err(words)) => assert!(error.to_string().contains(words), "{error}"),
            (seen, expected) => panic!("{seen:?} instead of {expected:?}"),
        }
    };
    check(
        b"\xef\xbb\xbf a , b\r\n1,2\r\n",
        Ok(json!([{"t": "1", "u": "2"}])),
    )
    .await;
    check(b"a\n\xff\n", Ok(json!([{"t": "\u{fffd}", "u": null}]))).await;
    check(b"a,a\n1,2", Ok(json!([{"t": "2", "u": null}]))).await;
    check(b"", Ok(json!([]))).await;
    check(b"a,b\n", Ok(json!([]))).await;
    check(b"a,b\n1\n", Err("source read")).await;
    check(
        b"a,b\n=1+1,\"2\"\"\"\n",
        Ok(json!([{"t": "=1+1", "u": "2\""}])),
    )
    .await;
}

#[tokio::test]
async fn what_is_saved_is_checked() {
    let (folder, data) = fresh().await;
    let check = async |json: Json, words: &str| {
        let saved = data
            .save_transformation(&owner(), transformation(json))
            .await;
        let error = saved
            .err()
            .map(|error| error.to_string())
            .unwrap_or_default();
        assert_eq!(error.is_empty(), words.is_empty(), "{error}");
        assert!(error.contains(words), "{error}");
    };
    let field = json!([{"target": "a", "sources": ["b"]}]);
    check(json!({"name": "a", "fields": field}), "").await;
    check(
        json!({"name": " ", "fields": field}),
        "transformation name is required",
    )
    .await;
    for name in ["../goop", "a/b", "a.b", "ä", "a\0", &"x".repeat(65)] {
        check(
            json!({"name": name, "fields": field}),
            "a transformation's name is of",
        )
        .await;
        assert!(data.transformation(&owner(), name).await.is_err());
        assert!(data.delete_transformation(&owner(), name).await.is_err());
    }
    check(
        json!({"name": "a"}),
        "transformation must have at least one field",
    )
    .await;
    check(json!({"name": "a", "fields": null}), "at least one field").await;
    check(
        json!({"name": "a", "fields": [{"target": " ", "sources": ["b"]}]}),
        "target is required",
    )
    .await;
    check(json!({"name": "a", "fields": [{"target": "a", "sources": ["b"]}, {"target": "a", "sources": ["c"]}]}), "duplicate").await;
    check(
        json!({"name": "a", "fields": [{"target": "a", "sources": ["b"], "transform": "rm"}]}),
        "unknown transform \"rm\"",
    )
    .await;
    check(
        json!({"name": "a", "fields": [{"target": "a"}]}),
        "a source or a constant is required",
    )
    .await;
    check(
        json!({"name": "a", "fields": [{"target": "a", "transform": "guid"}]}),
        "",
    )
    .await;
    check(
        json!({"name": "a", "fields": [{"target": "a", "constant": false}]}),
        "",
    )
    .await;
    let many: Vec<Json> = (0..300)
        .map(|n| json!({"target": n.to_string(), "constant": 1}))
        .collect();
    check(json!({"name": "a", "fields": many}), "at most 256").await;
    // Files that others left there do no harm.
    let kept = folder.path().join("transformations");
    for (name, text) in [
        ("broken.json", "{"),
        ("odd name.json", "{}"),
        ("list.json", "[]"),
        ("other.txt", "x"),
    ] {
        std::fs::write(kept.join(name), text).unwrap();
    }
    std::fs::write(kept.join("large.json"), vec![b' '; 2 * 1024 * 1024]).unwrap();
    let list = data.transformations(&owner()).await.unwrap();
    let names: Vec<&str> = list
        .as_array()
        .unwrap()
        .iter()
        .map(|row| row["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["a"]);
    for caller in [Caller::visitor(ALICE, ""), Caller::script(ALICE)] {
        assert!(data.transformations(&caller).await.is_err());
        assert!(data.transformation(&caller, "a").await.is_err());
        assert!(data.delete_transformation(&caller, "a").await.is_err());
        assert!(data.file_exists(&caller, "/etc/passwd").await.is_err());
    }
}

#[tokio::test]
async fn what_cannot_run_says_why() {
    let (folder, data) = fresh().await;
    std::fs::create_dir_all(folder.path().join("site")).unwrap();
    std::fs::write(folder.path().join("site/a.json"), "[]").unwrap();
    table(&data, "t").await;
    let file = json!({"type": "json", "path": "site/a.json"});
    for (source, target, words) in [
        (
            json!({"type": "api", "url": "x"}),
            file.clone(),
            "unknown source type \"api\"",
        ),
        (json!({}), file.clone(), "unknown source type \"\""),
        (
            json!({"type": "table", "name": "nope"}),
            file.clone(),
            "source query: SQL logic error: no such table",
        ),
        (
            json!({"type": "table", "name": "t; DROP TABLE t"}),
            file.clone(),
            "source query: invalid table name",
        ),
        (
            json!({"type": "table", "name": "_meta\u{0}"}),
            file.clone(),
            "source query: invalid table name",
        ),
        (
            json!({"type": "csv", "path": "site/none.csv"}),
            file.clone(),
            "source: ",
        ),
        (
            json!({"type": "json", "path": "data.db"}),
            file.clone(),
            "neither read nor written",
        ),
        (
            json!({"type": "csv", "path": "/dev/zero"}),
            file.clone(),
            "is no file",
        ),
        (
            json!({"type": "csv"}),
            file.clone(),
            "source: path required",
        ),
        (
            file.clone(),
            json!({"type": "csv", "path": "goop.json"}),
            "neither read nor written",
        ),
        (
            file.clone(),
            json!({"type": "csv", "path": "site"}),
            "neither read nor written",
        ),
        (
            file.clone(),
            json!({"type": "csv", "path": "/dev/null"}),
            "is no file",
        ),
        (
            file.clone(),
            json!({"type": "table", "name": "_meta"}),
            "target: ",
        ),
        (
            file.clone(),
            json!({"type": "table", "name": "nope"}),
            "target: ",
        ),
        (
            file.clone(),
            json!({"type": "api"}),
            "unknown target type \"api\"",
        ),
    ] {
        let step = transformation(json!({
            "name": "x", "source": source, "target": target, "fields": [{"target": "title", "sources": ["a"]}],
        }));
        let error = run(&data, &step, &Web::default())
            .await
            .unwrap_err()
            .to_string();
        assert!(error.contains(words), "{words}: {error}");
    }
    assert_eq!(
        std::fs::read_to_string(folder.path().join("site/a.json")).unwrap(),
        "[]"
    );
}
