//! A site with its database, out and in.

use std::io::{Cursor, Read};

use goop_data::{Caller, Data};
use goop_site::archive::Writer;
use serde_json::{Value, json};

use crate::harness::{ALICE, Alice, Answer, alice, dechunk, fixtures, multipart, part, recorded};

async fn import(peer: &Alice, archive: &[u8], choice: &str) -> (u16, Value) {
    let (kind, body) = multipart(&[part("file", true, archive)]);
    let path = format!("/api/site/import{choice}");
    let answer: Answer = peer.send("POST", &path, &[peer.owner(), kind], &body).await;
    let text = answer.text();
    (
        answer.status,
        serde_json::from_str(&text).unwrap_or_else(|_| json!(text.trim())),
    )
}

async fn export(peer: &Alice) -> Vec<u8> {
    dechunk(&peer.get("/api/site/export").await.body)
}

/// The text of a file of an archive.
fn entry(archive: &[u8], name: &str) -> String {
    let mut zip = zip::ZipArchive::new(Cursor::new(archive)).unwrap();
    let mut text = String::new();
    zip.by_name(name)
        .unwrap()
        .read_to_string(&mut text)
        .unwrap();
    text
}

async fn rows(peer: &Alice, table: &str) -> Value {
    peer.post("/api/data/find", json!({"table": table, "order": "_id"}))
        .await
        .1
}

fn archive(files: &[(&str, &str)]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut writer = Writer::new(&mut out);
    for (name, text) in files {
        writer.bytes(name, text.as_bytes()).unwrap();
    }
    writer.finish().unwrap();
    out
}

fn empty(folder: &std::path::Path) {
    std::fs::remove_file(folder.join("data.db")).unwrap();
    std::fs::remove_dir_all(folder.join("schemas")).unwrap();
}

const TABLES: [(&str, usize); 7] = [
    ("books", 5),
    ("items", 3),
    ("notes", 6),
    ("t_group", 1),
    ("t_local", 1),
    ("t_open", 2),
    ("t_owner", 1),
];

/// An export of the Go program comes in with every row, and goes out as it was.
#[tokio::test]
async fn an_export_of_the_go_program_keeps_every_row() {
    let recorded_export = std::fs::read(fixtures().join("export/export-alice.zip")).unwrap();
    let peer = recorded("alice", empty).await;
    let (status, said) = import(&peer, &recorded_export, "").await;
    assert_eq!(status, 200, "{said}");
    for (table, count) in TABLES {
        assert_eq!(said["tables"][table], count, "{said}");
        assert_eq!(rows(&peer, table).await.as_array().unwrap().len(), count);
    }
    assert!(said["left_out"].is_null(), "{said}");
    let books = rows(&peer, "books").await;
    let last = json!({"_created_at": "2026-11-21 01:49:35", "_id": 6, "_owner": ALICE, "_owner_email": "alice@example.org",
        "_updated_at": "2026-11-21 01:49:35", "isbn": "777", "pages": 7, "title": "Gold"});
    assert_eq!(books[4], last);
    let listed = peer.read("/api/data/tables").await;
    let kinds: Vec<_> = listed
        .as_array()
        .unwrap()
        .iter()
        .map(|table| &table["mode"])
        .collect();
    assert_eq!(kinds, ["orm", "orm", "classic", "orm", "orm", "orm", "orm"]);
    // Schemas, and who may what, came with them; files of schemas follow for the editor.
    let schema = peer
        .post("/api/data/tables/export-schema", json!({"table": "books"}))
        .await
        .1;
    assert_eq!(schema["roles"]["editor"]["insert"], true);
    assert!(peer.folder.root().join("schemas/books.json").exists());
    assert!(!peer.folder.root().join("schemas/notes.json").exists());
    // A row goes on counting where the others ended.
    let added = peer
        .post(
            "/api/data/insert",
            json!({"table": "books", "data": {"isbn": "1", "title": "t"}}),
        )
        .await;
    assert_eq!(added.1["id"], 7);
    peer.post("/api/data/delete", json!({"table": "books", "id": 7}))
        .await;

    // Ours has the same form: the same text, but for dates, which keep the form they were stored in.
    let ours = export(&peer).await;
    let (ours_said, theirs_said) = (
        entry(&ours, "schema.sql"),
        entry(&recorded_export, "schema.sql"),
    );
    assert_eq!(ours_said, theirs_said);
    let (mut a, mut b): (Value, Value) = (
        serde_json::from_str(&entry(&ours, "manifest.json")).unwrap(),
        serde_json::from_str(&entry(&recorded_export, "manifest.json")).unwrap(),
    );
    a["exported_at"] = Value::Null;
    b["exported_at"] = Value::Null;
    a["label"] = Value::Null;
    b["label"] = Value::Null;
    a["lua_enabled"] = Value::Null;
    b["lua_enabled"] = Value::Null;
    assert_eq!(a, b);
    for (table, _) in TABLES {
        let name = format!("schemas/{table}.json");
        let parse = |archive: &[u8]| serde_json::from_str::<Value>(&entry(archive, &name)).unwrap();
        assert_eq!(parse(&ours), parse(&recorded_export), "{table}");
    }
    peer.end().await;
}

/// Values that no text holds easily.
async fn odd_tables(data: &Data) {
    let owner = Caller::owner(ALICE, "");
    let columns = json!([
        {"name": "order", "type": "TEXT", "default": "'it''s'"}, {"name": "n", "type": "INTEGER"},
        {"name": "r", "type": "REAL"}, {"name": "b", "type": "BLOB"}, {"name": "d", "type": "DATE"},
        {"name": "at", "type": "DATETIME", "default": "(datetime('now'))"},
    ]);
    let columns: Vec<goop_data::ColumnDef> = serde_json::from_value(columns).unwrap();
    for name in ["odd", "group", "Upper"] {
        data.create_classic(&owner, name, &columns).await.unwrap();
    }
    for value in [
        json!({"order": "a;b'c\"--\n/*\u{0}é𝒕", "n": i64::MIN, "r": 1e300, "d": "1990-05-14"}),
        json!({"order": null, "n": i64::MAX, "r": -0.1, "b": "text in a blob", "d": "not a date"}),
        json!({"r": 5, "n": 1.5, "d": 7}),
        json!({"order": "x".repeat(10_000)}),
    ] {
        let row = value.as_object().cloned().unwrap();
        data.insert(&owner, "odd", row).await.unwrap();
    }
}

#[tokio::test]
async fn what_goes_out_comes_in_again() {
    let first = recorded("alice", empty).await;
    odd_tables(&first.data).await;
    let keep = json!({"table": "odd"});
    assert_eq!(
        first
            .post(
                "/api/data/tables/set-policy",
                json!({"table": "group", "policy": "open"})
            )
            .await
            .0,
        200
    );
    let exported = export(&first).await;
    let second = recorded("bob", empty).await;
    let (status, said) = import(&second, &exported, "").await;
    assert_eq!(
        (status, &said["tables"]),
        (200, &json!({"Upper": 0, "group": 0, "odd": 4})),
        "{said}"
    );
    let typed = ["order", "n", "r", "b", "d"].map(|name| format!("typeof(\"{name}\") AS t_{name}"));
    for body in [keep, json!({"table": "odd", "columns": typed})] {
        let of = async |peer: &Alice| peer.post("/api/data/query", body.clone()).await.1;
        let (a, b) = (of(&first).await, of(&second).await);
        assert!(
            a.as_array().is_some_and(|rows| rows.len() == 4) && a == b,
            "{a}\n{b}"
        );
    }
    let describe = async |peer: &Alice| {
        peer.post("/api/data/tables/describe", json!({"table": "odd"}))
            .await
            .1
    };
    let listed = second.read("/api/data/tables").await;
    assert_eq!(listed[1]["insert_policy"], "open");
    // A default with brackets is one again.
    let columns = describe(&second).await["columns"].clone();
    assert_eq!(columns[10]["default"], "datetime('now')");
    assert_eq!(describe(&first).await, describe(&second).await);
    assert_eq!(
        second
            .post("/api/data/insert", json!({"table": "odd", "data": {}}))
            .await
            .0,
        200
    );
    first.end().await;
    second.end().await;
}

#[tokio::test]
async fn tables_are_replaced_only_when_that_is_said_and_can_be_brought_back() {
    let peer = alice().await;
    let before = export(&peer).await;
    let site = archive(&[
        (
            "manifest.json",
            r#"{"tables": {"books": {"insert_policy": "open"}}}"#,
        ),
        (
            "schema.sql",
            "CREATE TABLE books (a TEXT); INSERT INTO books VALUES ('new'), ('newer');",
        ),
        ("site/index.html", "new"),
    ]);
    let (status, said) = import(&peer, &site, "").await;
    assert_eq!(
        (status, &said),
        (409, &json!({"error": "tables", "tables": {"books": 5}}))
    );
    assert_eq!(
        entry(&export(&peer).await, "schema.sql"),
        entry(&before, "schema.sql")
    );
    let (status, said) = import(&peer, &site, "?replace=true").await;
    assert_eq!(
        (status, &said["tables"]),
        (200, &json!({"books": 2})),
        "{said}"
    );
    let titles = peer
        .post("/api/data/find", json!({"table": "books"}))
        .await
        .1;
    assert_eq!(titles, json!([{"a": "new"}, {"a": "newer"}]));
    assert_eq!(
        rows(&peer, "notes").await.as_array().unwrap().len(),
        6,
        "others stay"
    );
    // The old database is whole in the backup.
    let kept = std::path::Path::new(said["backup"].as_str().unwrap());
    let old = goop_data::Database::open(kept).await.unwrap();
    let (old, me) = (Data::new(old), Caller::owner(ALICE, ""));
    let found = old.count(&me, &goop_data::Find::all("books")).await;
    assert_eq!(found.unwrap(), json!({"count": 5}));
    let (status, said) = import(&peer, &before, "?replace=true").await;
    assert_eq!(status, 200, "{said}");
    assert_eq!(
        entry(&export(&peer).await, "schema.sql"),
        entry(&before, "schema.sql")
    );
    assert_eq!(peer.read("/api/site/import").await["step"], "idle");
    peer.end().await;
}

/// What an archive's SQL may not do, and what its description may not say; nothing changes then.
#[tokio::test]
async fn hostile_archives_change_nothing() {
    let peer = alice().await;
    let (before, site) = (
        entry(&export(&peer).await, "schema.sql"),
        peer.get("/api/site/files").await.text(),
    );
    let outside = tempfile::tempdir().unwrap();
    let out = outside.path().join("out.db");
    let attach = format!("ATTACH '{}' AS x; CREATE TABLE x.t (a);", out.display());
    let vacuum = format!("VACUUM INTO '{}';", out.display());
    let many: String = (0..1_100)
        .map(|n| format!("CREATE TABLE t{n} (a);"))
        .collect();
    let wide: Vec<String> = (0..300).map(|n| format!("c{n}")).collect();
    let wide = format!("CREATE TABLE t ({});", wide.join(","));
    let doubling = format!(
        "CREATE TABLE t (a); INSERT INTO t VALUES ('{}');{}",
        "x".repeat(1_000),
        "INSERT INTO t SELECT a FROM t;".repeat(40)
    );
    let bomb = format!(
        "CREATE TABLE t (a); INSERT INTO t VALUES ({});",
        "abs(".repeat(900)
    );
    for script in [
        attach.as_str(),
        &vacuum,
        &many,
        &wide,
        &bomb,
        "CREATE TABLE _meta (a);",
        "INSERT INTO _meta VALUES ('a', 'b');",
        "CREATE TABLE sqlite_x (a);",
        "CREATE TABLE \"a b\" (a);",
        "CREATE TABLE t (\"a b\");",
        "CREATE TABLE t (a); DROP TABLE t;",
        "CREATE TABLE t (a); DELETE FROM t;",
        "CREATE TABLE t (a); UPDATE t SET a = 1;",
        "CREATE TABLE t (a); INSERT INTO t SELECT name FROM pragma_database_list;",
        &doubling,
        "CREATE TABLE t AS SELECT 1;",
        "CREATE TABLE t (a REFERENCES _meta (key));",
        "CREATE TABLE t (a); CREATE TRIGGER x AFTER INSERT ON t BEGIN SELECT 1; END;",
        "CREATE VIEW v AS SELECT 1;",
        "CREATE VIRTUAL TABLE v USING fts5 (a);",
        "CREATE TEMP TABLE t (a);",
        "PRAGMA writable_schema = ON;",
        "BEGIN;",
        "COMMIT;",
        "SAVEPOINT x;",
        "CREATE TABLE t (a); INSERT INTO t VALUES (load_extension('x'));",
        "CREATE TABLE t (a); INSERT INTO t VALUES (zeroblob(900000000));",
        "CREATE TABLE t (a); INSERT INTO t VALUES (randomblob(900000000));",
        "CREATE TABLE t (a DEFAULT (load_extension('x')));",
        "CREATE TABLE t (a CHECK (load_extension('x')));",
        "CREATE TABLE t (a); WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) INSERT INTO t SELECT x FROM c;",
        "CREATE TABLE t (a); INSERT INTO t VALUES (1); INSERT INTO t VALUES (1, 2);",
        "CREATE TABLE t (a NOT NULL); INSERT INTO t VALUES (NULL);",
        "what is this",
        "CREATE TABLE t (a",
        "'",
    ] {
        let hostile = archive(&[("site/index.html", "evil"), ("schema.sql", script)]);
        let (status, said) = import(&peer, &hostile, "?replace=true").await;
        let shown: String = script.chars().take(60).collect();
        assert!(
            status == 400
                && said
                    .as_str()
                    .is_some_and(|said| said.starts_with("failed to import: ")),
            "{shown}: {status} {said}"
        );
    }
    for (manifest, schema) in [
        ("{", "{}"),
        ("7", "{}"),
        (r#"{"schemas": ["../t"]}"#, "{}"),
        (r#"{"schemas": ["_meta"]}"#, "{}"),
        (r#"{"schemas": ["missing"]}"#, "{}"),
        (r#"{"schemas": ["t"]}"#, "{"),
        (
            r#"{"schemas": ["t"]}"#,
            r#"{"name": "t", "columns": [{"name": "zz", "type": "text"}]}"#,
        ),
    ] {
        let hostile = archive(&[
            ("site/index.html", "evil"),
            ("manifest.json", manifest),
            ("schema.sql", "CREATE TABLE t (a);"),
            ("schemas/t.json", schema),
        ]);
        let (status, said) = import(&peer, &hostile, "?replace=true").await;
        assert_eq!(status, 400, "{manifest} {schema}: {said}");
    }
    assert!(!out.exists());
    assert_eq!(entry(&export(&peer).await, "schema.sql"), before);
    assert_eq!(peer.get("/api/site/files").await.text(), site);
    let backups = peer.folder.root().join("data/import/backups");
    assert!(std::fs::read_dir(backups).map_or(0, Iterator::count) == 0);
    peer.end().await;
}

/// What cannot be brought in at the last moment takes the new files back with it.
#[tokio::test]
async fn files_come_back_with_the_database() {
    let peer = alice().await;
    let site = peer.get("/api/site/files").await.text();
    // The archive's own rows break a rule only where foreign keys are looked at.
    let broken = archive(&[
        ("site/index.html", "new"),
        (
            "schema.sql",
            "CREATE TABLE p (a PRIMARY KEY); CREATE TABLE c (a REFERENCES p (a)); INSERT INTO c VALUES (7);",
        ),
    ]);
    let (status, said) = import(&peer, &broken, "").await;
    assert!(
        status == 500 && said.as_str().unwrap().contains("everything is as it was"),
        "{status} {said}"
    );
    assert_eq!(peer.get("/api/site/files").await.text(), site);
    assert_eq!(
        peer.read("/api/data/tables")
            .await
            .as_array()
            .unwrap()
            .len(),
        7
    );
    // The next one works.
    let (status, said) = import(&peer, &archive(&[("index.html", "plain")]), "").await;
    assert_eq!((status, &said["tables"]), (200, &json!({})), "{said}");
    peer.end().await;
}
