//! A recorded run of the Go program, step by step on one database: the owner's requests, then those of other peers.
//!
//! Every answer is compared byte by byte, but for times and random ids. Where ours differs on purpose, the reason
//! stands beside the record in [`deviates`] and our answer beside it; such a step is taken on a copy, so that the
//! database stays what the Go program's was.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use std::collections::BTreeSet;
use std::sync::Arc;

use goop_data::access::{Membership, Roles};
use goop_data::protocol::{self, CallError};
use goop_data::schema::Schema;
use goop_data::{Data, DataError, Request};
use goop_identity::seal::{Keyring, NoKeys};
use serde_json::{Value as Json, json};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{Connection, SqliteConnection};
use support::actors::{actor, pair};
use support::{ALICE, bytes, copy_of, fixture, fresh, lines, object, owner, settled};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// Our answer where it is another.
#[derive(Debug, Clone, Copy)]
enum Ours {
    Is(&'static str),
    /// The recorded one without these members, at any depth, and without the listed tables of these names.
    Without(&'static [&'static str]),
    /// That of another record.
    LikeHttp(u64),
}

const AUTO: &str = "a missing number of an auto column is made, as the documents promise";
const MORE: &str =
    "operations that read, and those that a policy allows, are offered to other peers too";
const HIDDEN: &str = "tables that a caller may not read are not listed";
const ORDER: &str = "an order is followed wherever it is given, and so are fields";
const COLUMN: &str =
    "the pages' library names the column as a text; the whole row answers, as on the direct route";
const CHECKED: &str = "rows of others are checked like the owner's";
const PARSER: &str = "the words of another JSON parser";
const GROUPS: &str = "others see what a group is, not which role it hands out";

const BLUE: &str = r#"200 {"_created_at":"2026-11-21 01:49:16","_id":2,"_owner":"12D3KooWK99VoVxNE7XzyBwXEzW7xhK7Gpv85r9F3V3fyKSUKPH5","_owner_email":"alice@example.org","_updated_at":"2026-11-21 01:49:16","isbn":"222","pages":20,"title":"Blue"}"#;
const CLOSED: &[&str] = &["t_local", "t_group"];

/// Records that are answered differently on purpose: which, why, and how.
const DEVIATES: &[(&str, &str, Ours)] = &[
    ("http 186", ORDER, Ours::LikeHttp(192)),
    ("http 288", COLUMN, Ours::Is(BLUE)),
    ("http 289", COLUMN, Ours::Is(BLUE)),
    (
        "http 318",
        AUTO,
        Ours::Is(r#"200 {"id":2,"status":"inserted"}"#),
    ),
    (
        "http 323",
        AUTO,
        Ours::Is(r#"200 {"id":2,"status":"inserted"}"#),
    ),
    (
        "http 328",
        AUTO,
        Ours::Is(r#"200 {"id":2,"status":"inserted"}"#),
    ),
    (
        "http 333",
        AUTO,
        Ours::Is(r#"200 {"id":2,"status":"inserted"}"#),
    ),
    (
        "http 339",
        PARSER,
        Ours::Is("400 key must be a string at line 1 column 2"),
    ),
    ("stream 10", HIDDEN, Ours::Without(CLOSED)),
    ("stream 11", HIDDEN, Ours::Without(CLOSED)),
    (
        "stream 16",
        ORDER,
        Ours::Is(r#"{"ok":true,"data":[{"title":"Blue2"}]}"#),
    ),
    ("stream 17", MORE, Ours::Is(r#"{"ok":true}"#)),
    (
        "stream 18",
        MORE,
        Ours::Is(r#"{"ok":true,"data":{"isbn":"222"}}"#),
    ),
    (
        "stream 19",
        MORE,
        Ours::Is(r#"{"ok":true,"data":{"exists":true}}"#),
    ),
    (
        "stream 20",
        MORE,
        Ours::Is(r#"{"ok":true,"data":{"count":2}}"#),
    ),
    (
        "stream 21",
        MORE,
        Ours::Is(r#"{"ok":true,"data":["Blue2","Green"]}"#),
    ),
    ("stream 22", MORE, Ours::Is(r#"{"ok":true,"data":[1]}"#)),
    (
        "stream 23",
        MORE,
        Ours::Is(r#"{"ok":true,"data":[{"n":2}]}"#),
    ),
    (
        "stream 28",
        MORE,
        Ours::Is(r#"{"ok":true,"data":{"affected":3}}"#),
    ),
    // Deleting is the owner's and the author's: of these rows the caller wrote none.
    (
        "stream 29",
        MORE,
        Ours::Is(r#"{"ok":true,"data":{"affected":0}}"#),
    ),
    (
        "stream 30",
        MORE,
        Ours::Is(r#"{"ok":true,"data":{"id":2,"status":"ok"}}"#),
    ),
    (
        "stream 47",
        AUTO,
        Ours::Is(r#"{"ok":true,"data":{"id":3,"status":"inserted"}}"#),
    ),
    ("stream 73", HIDDEN, Ours::Without(CLOSED)),
    ("stream 74", HIDDEN, Ours::Without(CLOSED)),
    (
        "stream 81",
        ORDER,
        Ours::Is(r#"{"ok":true,"data":[{"title":"Green"},{"title":"Blue2"},{"title":"Green"}]}"#),
    ),
    (
        "stream 87",
        GROUPS,
        Ours::Without(&["default_role", "roles"]),
    ),
    (
        "stream 91",
        AUTO,
        Ours::Is(r#"{"ok":true,"data":{"id":4,"status":"inserted"}}"#),
    ),
    (
        "stream 95",
        CHECKED,
        Ours::Is(r#"{"ok":false,"error":"column \"isbn\" is required"}"#),
    ),
    (
        "stream 96",
        CHECKED,
        Ours::Is(r#"{"ok":false,"error":"column \"isbn\" is required"}"#),
    ),
    (
        "stream 114",
        MORE,
        Ours::Is(
            r#"{"ok":true,"data":{"_created_at":"2026-11-21 01:49:16","_id":2,"_owner":"12D3KooWK99VoVxNE7XzyBwXEzW7xhK7Gpv85r9F3V3fyKSUKPH5","_owner_email":"alice@example.org","_updated_at":"2026-11-21 01:49:16","isbn":"222","pages":99,"title":"Blue2"}}"#,
        ),
    ),
    (
        "stream 115",
        MORE,
        Ours::Is(r#"{"ok":true,"data":{"exists":true}}"#),
    ),
    (
        "stream 116",
        MORE,
        Ours::Is(r#"{"ok":true,"data":{"count":4}}"#),
    ),
    (
        "stream 117",
        MORE,
        Ours::Is(r#"{"ok":true,"data":["Blue2","Green","Green","C book"]}"#),
    ),
    (
        "stream 118",
        MORE,
        Ours::Is(r#"{"ok":true,"data":["Blue2","C book","Green"]}"#),
    ),
    (
        "stream 119",
        MORE,
        Ours::Is(r#"{"ok":true,"data":[{"COUNT(*)":4}]}"#),
    ),
    (
        "stream 120",
        MORE,
        Ours::Is(r#"{"ok":true,"data":{"affected":4}}"#),
    ),
    (
        "stream 121",
        MORE,
        Ours::Is(r#"{"ok":true,"data":{"affected":0}}"#),
    ),
    (
        "stream 122",
        MORE,
        Ours::Is(r#"{"ok":true,"data":{"id":5,"status":"ok"}}"#),
    ),
    (
        "stream 136",
        PARSER,
        Ours::Is(r#"{"ok":false,"error":"invalid json: expected ident at line 1 column 2"}"#),
    ),
    (
        "stream 138",
        PARSER,
        Ours::Is(
            r#"{"ok":false,"error":"invalid json: invalid type: sequence, expected a map at line 1 column 0"}"#,
        ),
    ),
    ("stream 140", HIDDEN, Ours::Without(CLOSED)),
    ("stream 141", HIDDEN, Ours::Without(CLOSED)),
    (
        "stream 143",
        PARSER,
        Ours::Is(r#"{"ok":false,"error":"invalid json: trailing characters at line 1 column 17"}"#),
    ),
];

fn deviates(id: &str) -> Option<Ours> {
    DEVIATES
        .iter()
        .find(|(known, ..)| *known == id)
        .map(|(.., ours)| *ours)
}

fn without(json: &mut Json, names: &[&str]) {
    match json {
        Json::Object(members) => {
            members.retain(|name, _| !names.contains(&name.as_str()));
            members.values_mut().for_each(|value| without(value, names));
        }
        Json::Array(items) => {
            items.retain(|item| {
                !item["name"]
                    .as_str()
                    .is_some_and(|name| names.contains(&name))
            });
            items.iter_mut().for_each(|item| without(item, names));
        }
        _ => {}
    }
}

#[derive(Default)]
struct Comparison {
    mismatches: Vec<String>,
    deviated: BTreeSet<String>,
    checked: usize,
}

impl Comparison {
    fn compare(&mut self, id: &str, about: &str, ours: &str, recorded: &str) {
        // Whole numbers stay whole in text columns: the Go program stores 12 as 12.0.
        let recorded = recorded.replace("\"12.0\"", "\"12\"");
        let expected = match deviates(id) {
            None => recorded.clone(),
            Some(Ours::Is(text)) => with_status(text),
            Some(Ours::Without(names)) => {
                let mut json = serde_json::from_str(&recorded).unwrap();
                without(&mut json, names);
                json.to_string()
            }
            Some(Ours::LikeHttp(n)) => {
                let records = lines("wire/viewer/data.jsonl");
                let record = records.iter().find(|record| record["n"] == n).unwrap();
                with_status(&recorded_page(record))
            }
        };
        if deviates(id).is_some() {
            self.deviated.insert(id.to_owned());
            assert_ne!(
                settled(ours),
                settled(&recorded),
                "{id} does not differ any more"
            );
        }
        self.checked += 1;
        if settled(ours) != settled(&expected) {
            self.mismatches.push(format!(
                "{id} {about}\n  ours     {}\n  expected {}",
                settled(ours),
                settled(&expected)
            ));
        }
    }
}

fn recorded_page(record: &Json) -> String {
    let response = &record["response"];
    let text = response["body_text"]
        .as_str()
        .map_or_else(|| response["body_json"].to_string(), str::to_owned);
    format!("{} {}", response["status"], text.trim())
}

async fn status_and_text(done: Result<goop_data::Answer, DataError>, site: bool) -> String {
    match done {
        Ok(answer) => {
            let whole = answer.whole().await.unwrap();
            format!(
                "200 {}",
                String::from_utf8(goop_data::json::to_bytes(&whole.value)).unwrap()
            )
        }
        Err(error) => format!("{} {error}", if site { 500 } else { error.status() }),
    }
}

/// Splits the status off, so that the rest can be compared as JSON.
fn with_status(text: &str) -> String {
    match text.split_once(' ') {
        Some((status, body)) if status.parse::<u16>().is_ok() => {
            format!("{status} {}", settled(body))
        }
        _ => settled(text),
    }
}

async fn page(data: &Data, path: &str, body: &[u8]) -> String {
    if let Some(suffix) = path.strip_prefix("/api/data/") {
        return status_and_text(data.direct(&owner(), suffix, body).await, false).await;
    }
    let suffix = path.rsplit_once("/data/").unwrap().1;
    match Request::from_page(suffix, body) {
        Ok(request) => status_and_text(data.execute(&owner(), &request).await, true).await,
        Err(error) => format!("{} {error}", error.status()),
    }
}

/// Gives a line to our server as `name` and reads the answer's line.
async fn stream(data: &Data, name: &str, line: &[u8], keys: &impl Keyring) -> String {
    let (mut client, mut server) = tokio::io::duplex(1 << 20);
    client.write_all(line).await.unwrap();
    client.shutdown().await.unwrap();
    let email = if name == "B" { "bob@example.org" } else { "" };
    protocol::serve(actor(name).peer, email, &mut server, data, keys)
        .await
        .unwrap();
    drop(server);
    let mut answer = String::new();
    client.read_to_string(&mut answer).await.unwrap();
    assert!(
        answer.ends_with('\n') && answer.matches('\n').count() == 1,
        "one line: {answer}"
    );
    answer
}

/// The four tables with one policy each that the recorder made beside the recorded requests.
async fn policy_tables(data: &Data) {
    for name in ["t_open", "t_owner", "t_local", "t_group"] {
        let text = std::fs::read(fixture(&format!("folders/alice/schemas/{name}.json"))).unwrap();
        data.create_typed(&owner(), &Schema::from_json(&text).unwrap())
            .await
            .unwrap();
        data.insert(&owner(), name, object(json!({"k": 1, "v": "from A"})))
            .await
            .unwrap();
    }
}

/// The groups that were hosted when the last client asked.
async fn groups(folder: &std::path::Path) {
    let options = SqliteConnectOptions::new().filename(folder.join(goop_data::FILE));
    let mut connection = SqliteConnection::connect_with(&options).await.unwrap();
    for (id, name, kind, context, most, at) in [
        (
            "4234d2762ce051b4",
            "Cinema",
            "files",
            "",
            7,
            "2026-11-21 01:49:19",
        ),
        (
            "listen-81788644572480fb",
            "Radio",
            "listen",
            "Radio",
            0,
            "2026-11-21 01:49:33",
        ),
    ] {
        let sql = "INSERT INTO _groups (id, name, owner, group_type, group_context, max_members, created_at, host_joined) \
                   VALUES (?, ?, ?, ?, ?, ?, ?, 1)";
        let query = sqlx::query(sql)
            .bind(id)
            .bind(name)
            .bind(ALICE)
            .bind(kind)
            .bind(context)
            .bind(most)
            .bind(at);
        query.execute(&mut connection).await.unwrap();
    }
}

/// Peers are known and in no group.
struct Strangers;
impl Roles for Strangers {
    fn of(&self, _: &str) -> Membership {
        Membership::Stranger
    }
}

/// Takes a step: on a copy where ours differs.
async fn on(data: &Data, id: &str) -> (Option<tempfile::TempDir>, Data) {
    if deviates(id).is_none() {
        return (None, data.clone());
    }
    let (folder, copy) = copy_of(data).await;
    (Some(folder), copy.with_roles(Arc::new(Strangers)))
}

#[tokio::test]
async fn the_recorded_run() {
    let (folder, data) = fresh().await;
    let data = data.with_roles(Arc::new(Strangers));
    let mut comparison = Comparison::default();
    for record in lines("wire/viewer/data.jsonl") {
        let (n, path) = (
            record["n"].as_u64().unwrap(),
            record["request"]["path"].as_str().unwrap(),
        );
        if n == 280 {
            policy_tables(&data).await;
        }
        // Scripts are another crate's.
        if path.contains("/lua/") {
            continue;
        }
        let body = record["request"]["body_text"]
            .as_str()
            .unwrap_or_default()
            .as_bytes();
        let id = format!("http {n}");
        let (_folder, here) = on(&data, &id).await;
        let ours = page(&here, path, body).await;
        let about = format!("{path} {}", String::from_utf8_lossy(body));
        comparison.compare(
            &id,
            &about,
            &with_status(&ours),
            &with_status(&recorded_page(&record)),
        );
    }
    let records = lines("wire/streams/data.jsonl");
    for index in (10..69).chain(73..144) {
        if index == 73 {
            groups(folder.path()).await;
        }
        let line = bytes(&records[index]["request"]);
        let about = String::from_utf8_lossy(&line).into_owned();
        if about.contains("\"lua-") {
            continue;
        }
        let id = format!("stream {index}");
        let (_folder, here) = on(&data, &id).await;
        let ours = stream(
            &here,
            records[index]["opener"].as_str().unwrap(),
            &line,
            &NoKeys,
        )
        .await;
        let recorded = String::from_utf8(bytes(&records[index]["response"])).unwrap();
        comparison.compare(&id, &about, &ours, &recorded);
    }
    // Then B knew A's key: what was said stays the same, in a sealed line.
    for (index, record) in records.iter().enumerate().take(72).skip(69) {
        let line = bytes(&record["request"]);
        let ours = stream(&data, "B", &line, &pair("A", "B", true)).await;
        let sealed = ours.trim_end().strip_prefix("ENC:").unwrap();
        let opened = pair("B", "A", true)
            .open_from(&actor("A").peer, sealed.as_bytes())
            .unwrap();
        let about = String::from_utf8_lossy(&line).into_owned();
        let recorded = record["opened"]["response"].as_str().unwrap();
        comparison.compare(
            &format!("stream {index}"),
            &about,
            &String::from_utf8(opened).unwrap(),
            recorded,
        );
    }
    let Comparison {
        mismatches,
        deviated,
        checked,
    } = comparison;
    assert!(
        mismatches.is_empty(),
        "{} of {checked}:\n{}",
        mismatches.len(),
        mismatches.join("\n")
    );
    assert_eq!(
        deviated.len(),
        DEVIATES.len(),
        "every listed deviation was met"
    );
    assert!(checked > 280, "{checked}");
    assert!(DEVIATES.iter().all(|(_, why, _)| !why.is_empty()));
}

/// What the Go program's visitors send and its hosts answer is read and, where ours writes it, the same.
#[test]
fn recorded_lines_are_read() {
    let mut read = 0;
    for record in lines("wire/streams/data.jsonl") {
        let opened = &record["opened"];
        let request = opened["request"].as_str().map_or_else(
            || bytes(&record["request"]),
            |text| text.as_bytes().to_vec(),
        );
        let text = String::from_utf8_lossy(&request);
        if record["opener"] != "X" {
            let ours = Request::from_json(text.trim().as_bytes()).unwrap();
            let written = String::from_utf8(ours.to_json()).unwrap();
            // Go escapes `>` inside texts, and so do we.
            let (a, b): (Json, Json) = (
                serde_json::from_str(&written).unwrap(),
                serde_json::from_str(&text).unwrap(),
            );
            assert_eq!(a, b);
        }
        let answer = opened["response"].as_str().map_or_else(
            || bytes(&record["response"]),
            |text| text.as_bytes().to_vec(),
        );
        let said: Json = serde_json::from_slice(&answer).unwrap();
        match protocol::read_answer(&actor("A").peer, &answer, &NoKeys) {
            Ok(whole) => assert!(said["ok"] == true && whole.value == said["data"] && !whole.more),
            Err(CallError::Refused(text)) => {
                assert!(said["ok"] == false && said["error"] == *text, "{text}");
            }
            Err(CallError::NotOffered(text)) => {
                assert!(
                    said["error"] == *text && text.ends_with(" yet")
                        || text.contains("not allowed for remote peers"),
                    "{text}"
                );
            }
            Err(other) => panic!("{other}"),
        }
        read += 1;
    }
    assert_eq!(read, 153);
}

/// A member of the group that a template made.
struct Writers;
impl Roles for Writers {
    fn of(&self, caller: &str) -> Membership {
        if caller == ALICE {
            Membership::Role("writer".to_owned())
        } else {
            Membership::Stranger
        }
    }
}

#[tokio::test]
async fn a_member_of_the_templates_group() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::copy(
        fixture("folders/bob/data.db"),
        folder.path().join(goop_data::FILE),
    )
    .unwrap();
    let data = Data::new(goop_data::Database::open(folder.path()).await.unwrap());
    let records = lines("wire/streams/data.jsonl");
    for (index, roles) in [
        (2, Arc::new(Strangers) as Arc<dyn Roles>),
        (3, Arc::new(Strangers)),
        (4, Arc::new(Writers)),
        (6, Arc::new(Writers)),
        (7, Arc::new(Writers)),
        (8, Arc::new(Writers)),
    ] {
        let here = data.clone().with_roles(roles);
        let ours = stream(&here, "A", &bytes(&records[index]["request"]), &NoKeys).await;
        assert_eq!(
            ours.as_bytes(),
            bytes(&records[index]["response"]),
            "{index}"
        );
    }
    // The recorded insert failed for want of its auto column; ours makes it, and its author may change it.
    let here = data.with_roles(Arc::new(Writers));
    let ours = stream(&here, "A", &bytes(&records[5]["request"]), &NoKeys).await;
    assert_eq!(
        ours,
        "{\"ok\":true,\"data\":{\"id\":1,\"status\":\"inserted\"}}\n"
    );
    let ours = stream(&here, "A", &bytes(&records[7]["request"]), &NoKeys).await;
    assert_eq!(ours, "{\"ok\":true,\"data\":{\"status\":\"updated\"}}\n");
}
