//! A recorded database after changes of ours: read with SQLite alone, the Go program's rules still hold (storage.md 1, 2,
//! 7, 8.1 and 11.2), and what nobody touched is what it was.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use std::collections::BTreeMap;
use std::path::Path;

use goop_data::{Caller, ColumnDef, Data, Database, FILE, Find};
use serde_json::{Value as Json, json};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{AssertSqlSafe, Connection, Row as _, SqliteConnection};
use support::{ALICE, fixture, object, owner};

const MADE: &str = "made_by_us";
const CLASSIC: &str = "classic_of_ours";

async fn connect(folder: &Path) -> SqliteConnection {
    let options = SqliteConnectOptions::new()
        .filename(folder.join(FILE))
        .read_only(true);
    SqliteConnection::connect_with(&options).await.unwrap()
}

/// The first value of each row, as text.
async fn texts(connection: &mut SqliteConnection, sql: String) -> Vec<String> {
    let rows = sqlx::query(AssertSqlSafe(sql)).fetch_all(connection).await;
    let text = |row: &sqlx::sqlite::SqliteRow| row.try_get::<Option<String>, _>(0).unwrap();
    let rows = rows.unwrap();
    rows.iter()
        .map(|row| text(row).unwrap_or_default())
        .collect()
}

async fn one(connection: &mut SqliteConnection, sql: &str) -> String {
    texts(connection, format!("SELECT CAST(({sql}) AS TEXT)"))
        .await
        .remove(0)
}

/// Every row of a table in SQL's own words, by its `_id`.
async fn rows(connection: &mut SqliteConnection, table: &str) -> BTreeMap<String, String> {
    let columns = format!("SELECT name FROM pragma_table_info('{table}')");
    let columns = texts(connection, columns).await;
    let quoted: Vec<String> = columns
        .iter()
        .map(|name| format!("quote(\"{name}\")"))
        .collect();
    let all = format!(
        "SELECT CAST(_id AS TEXT), {} FROM \"{table}\"",
        quoted.join(" || ',' || ")
    );
    let found = sqlx::query(AssertSqlSafe(all))
        .fetch_all(connection)
        .await
        .unwrap();
    found.iter().map(|row| (row.get(0), row.get(1))).collect()
}

/// Everything that people do with tables; changes one recorded book and deletes a row of `t_group`.
async fn change(data: &Data, book: i64, of_group: i64) {
    let me = &owner();
    let visitor = Caller::visitor("12D3KooWvisitor", "v@example.org");
    let row = |value: Json| object(value);
    data.insert(
        me,
        "books",
        row(json!({"isbn": "9", "title": "Ours", "pages": 7})),
    )
    .await
    .unwrap();
    data.update(me, "books", book, &row(json!({"title": "Changed"})))
        .await
        .unwrap();
    data.upsert(
        me,
        "books",
        "isbn",
        row(json!({"isbn": "10", "title": "Ours too"})),
    )
    .await
    .unwrap();
    let items = json!({"title": "ours", "qty": 3, "price": 2.5, "day": "2026-03-04", "at": "05:06:07", "blobby": "text"});
    data.insert(me, "items", row(items)).await.unwrap();
    data.insert(
        me,
        "notes",
        row(json!({"title": "ours", "stars": 4, "score": 0.5})),
    )
    .await
    .unwrap();
    data.insert(&visitor, "t_open", row(json!({"v": "a visitor's"})))
        .await
        .unwrap();
    let many = json!({"table": "t_owner", "rows": [{"v": "one"}, {"v": "two"}]}).to_string();
    data.direct(me, "insert-many", many.as_bytes())
        .await
        .unwrap();
    data.delete(me, "t_group", of_group).await.unwrap();
    let columns: Vec<ColumnDef> = serde_json::from_value(json!([
        {"name": "a", "type": "TEXT", "not_null": true}, {"name": "b", "type": "INTEGER", "default": "5"},
    ]))
    .unwrap();
    data.create_classic(me, "before_renaming", &columns)
        .await
        .unwrap();
    data.insert(me, "before_renaming", row(json!({"a": "x"})))
        .await
        .unwrap();
    data.rename_table(me, "before_renaming", CLASSIC)
        .await
        .unwrap();
    let added =
        json!({"table": CLASSIC, "column": {"name": "c", "type": "TEXT", "default": "'it''s'"}});
    data.direct(me, "tables/add-column", added.to_string().as_bytes())
        .await
        .unwrap();
    let schema = json!({"name": MADE, "columns": [
        {"name": "k", "type": "guid", "key": true, "auto": true}, {"name": "n", "type": "integer", "auto": true},
        {"name": "t", "type": "text", "required": true, "default": "it's"}, {"name": "r", "type": "real", "default": 1.5},
        {"name": "e", "type": "enum", "default": "a", "values": [{"key": "a", "label": "A"}]},
        {"name": "made", "type": "datetime", "auto": true}, {"name": "day", "type": "date", "auto": true},
        {"name": "at", "type": "time", "auto": true}, {"name": "b", "type": "blob"}],
        "access": {"read": "open", "insert": "open", "update": "owner", "delete": "owner"}});
    data.create_typed(me, &serde_json::from_value(schema).unwrap())
        .await
        .unwrap();
    for _ in 0..2 {
        data.insert(&visitor, MADE, row(json!({"t": "x", "r": 2})))
            .await
            .unwrap();
    }
}

#[tokio::test]
async fn the_rules_of_the_go_program_hold_after_our_changes() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::copy(
        fixture("folders/alice").join(FILE),
        folder.path().join(FILE),
    )
    .unwrap();
    let mut connection = connect(folder.path()).await;
    let listing = "SELECT name FROM sqlite_schema WHERE type = 'table' AND substr(name, 1, 1) <> '_' AND name <> 'sqlite_sequence'";
    let mut before = BTreeMap::new();
    for table in texts(&mut connection, listing.to_owned()).await {
        before.insert(table.clone(), rows(&mut connection, &table).await);
    }
    connection.close().await.unwrap();

    let data = Data::new(Database::open(folder.path()).await.unwrap());
    let id = |table: &str| before[table].keys().next().unwrap().clone();
    let touched = [("books", id("books")), ("t_group", id("t_group"))];
    let numbers = touched.clone().map(|(_, id)| id.parse().unwrap());
    change(&data, numbers[0], numbers[1]).await;
    let tables = data.count(&owner(), &Find::all(MADE)).await.unwrap();
    assert_eq!(tables, json!({"count": 2}));
    data.database().close().await;

    let mut raw = connect(folder.path()).await;
    let raw = &mut raw;
    // The file itself.
    for (pragma, expected) in [
        ("pragma_user_version", "0"),
        ("pragma_application_id", "0"),
        ("pragma_auto_vacuum", "0"),
        ("pragma_page_size", "4096"),
        ("pragma_encoding", "UTF-8"),
        ("pragma_journal_mode", "wal"),
        ("pragma_integrity_check", "ok"),
    ] {
        assert_eq!(
            one(raw, &format!("SELECT * FROM {pragma} LIMIT 1")).await,
            expected,
            "{pragma}"
        );
    }
    let others = "SELECT group_concat(name) FROM sqlite_schema WHERE type IN ('view', 'trigger') OR type = 'index' AND sql IS NOT NULL AND tbl_name <> '_chat_messages'";
    // A key of ours is one (its weak point 15); the Go program only sees rows refused that it would take twice.
    assert_eq!(one(raw, others).await, format!("_key_{MADE}"));

    let tables = texts(raw, listing.to_owned()).await;
    assert!(tables.iter().any(|name| name == MADE) && tables.iter().any(|name| name == CLASSIC));
    assert!(!tables.iter().any(|name| name == "before_renaming"));
    for table in &tables {
        // System columns come first, and are what the Go program makes them.
        let columns = format!(
            "SELECT name || ' ' || type || ' ' || \"notnull\" || ' ' || ifnull(dflt_value, '-') || ' ' || pk FROM pragma_table_info('{table}')"
        );
        assert_eq!(
            texts(raw, columns).await[..5],
            [
                "_id INTEGER 0 - 1",
                "_owner TEXT 1 - 0",
                "_owner_email TEXT 0 '' 0",
                "_created_at DATETIME 0 CURRENT_TIMESTAMP 0",
                "_updated_at DATETIME 0 CURRENT_TIMESTAMP 0"
            ],
            "{table}"
        );
        let counted = format!(
            "SELECT instr(upper(sql), 'AUTOINCREMENT') > 0 FROM sqlite_schema WHERE name = '{table}'"
        );
        assert_eq!(one(raw, &counted).await, "1", "{table}");
        // Their values, whoever wrote them.
        let stamp =
            "GLOB '[0-9][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9] [0-9][0-9]:[0-9][0-9]:[0-9][0-9]'";
        let odd = format!(
            "SELECT count(*) FROM \"{table}\" WHERE typeof(_id) <> 'integer' OR typeof(_owner) <> 'text' OR _owner = '' \
             OR typeof(_owner_email) <> 'text' OR NOT _created_at {stamp} OR NOT _updated_at {stamp}"
        );
        assert_eq!(one(raw, &odd).await, "0", "{table}");
        // It is registered, once, and what is stored of it names it.
        let entry = format!(
            "SELECT count(*) FROM _tables WHERE name = '{table}' AND insert_policy IN ('owner', 'open', 'group', 'local') AND schema <> ''"
        );
        assert_eq!(one(raw, &entry).await, "1", "{table}");
        // Rows that nobody touched are what they were, to the last bit.
        let now = rows(raw, table).await;
        for (id, row) in before.get(table).into_iter().flatten() {
            let was_touched = touched.contains(&(table.as_str(), id.clone()));
            assert_eq!(
                now.get(id) == Some(row),
                !was_touched,
                "{table} {id}: {row} {:?}",
                now.get(id)
            );
        }
    }
    assert_eq!(
        one(raw, "SELECT count(*) FROM _tables").await,
        tables.len().to_string()
    );
    for (name, stored) in
        sqlx::query_as::<_, (String, String)>("SELECT table_name, schema_json FROM _orm_schemas")
            .fetch_all(&mut *raw)
            .await
            .unwrap()
    {
        let stored: Json = serde_json::from_str(&stored).unwrap();
        assert_eq!(stored["name"], json!(name));
        assert!(tables.contains(&name), "{name}");
    }
    // A typed table of ours: types, defaults and NOT NULL as the Go program would write them.
    let columns = format!(
        "SELECT name || ' ' || type || ' ' || \"notnull\" || ' ' || ifnull(dflt_value, '-') FROM pragma_table_info('{MADE}')"
    );
    assert_eq!(
        texts(raw, columns).await[5..],
        [
            "k TEXT 1 -",
            "n INTEGER 0 -",
            "t TEXT 1 'it''s'",
            "r REAL 0 1.5",
            "e TEXT 0 'a'",
            "made DATETIME 0 -",
            "day DATE 0 -",
            "at TIME 0 -",
            "b BLOB 0 -"
        ]
    );
    let columns = format!(
        "SELECT name || ' ' || type || ' ' || \"notnull\" || ' ' || ifnull(dflt_value, '-') FROM pragma_table_info('{CLASSIC}')"
    );
    assert_eq!(
        texts(raw, columns).await[5..],
        ["a TEXT 1 -", "b INTEGER 0 5", "c TEXT 0 'it''s'"]
    );
    // Values that the peer made.
    let digit = "[0-9]";
    let (two, hex) = (digit.repeat(2), "[0-9a-f]");
    let guid = format!(
        "{}-{}-4{}-[89ab]{}-{}",
        hex.repeat(8),
        hex.repeat(4),
        hex.repeat(3),
        hex.repeat(3),
        hex.repeat(12)
    );
    let (day, at) = (
        format!("{two}{two}-{two}-{two}"),
        format!("{two}:{two}:{two}"),
    );
    let odd = format!(
        "SELECT count(*) FROM {MADE} WHERE NOT k GLOB '{guid}' OR NOT made GLOB '{day}T{at}Z' OR NOT day GLOB '{day}' OR NOT at GLOB '{at}' \
         OR typeof(n) <> 'integer' OR typeof(r) <> 'real' OR typeof(t) <> 'text' OR e <> 'a' OR b IS NOT NULL"
    );
    assert_eq!(one(raw, &odd).await, "0");
    assert_eq!(
        texts(
            raw,
            format!("SELECT CAST(n AS TEXT) FROM {MADE} ORDER BY _id")
        )
        .await,
        ["1", "2"]
    );
    assert_eq!(
        texts(
            raw,
            format!("SELECT DISTINCT _owner || ' ' || _owner_email FROM {MADE}")
        )
        .await,
        ["12D3KooWvisitor v@example.org"]
    );
    // Values of ours in tables of the Go program.
    let types = "SELECT typeof(title) || typeof(qty) || typeof(price) || typeof(kind) || typeof(day) || typeof(at) || typeof(blobby) || (uid GLOB '{guid}') || _owner FROM items WHERE title = 'ours'";
    let types = types.replace("{guid}", &guid);
    assert_eq!(
        one(raw, &types).await,
        format!("textintegerrealtexttexttexttext1{ALICE}")
    );
    let next = "SELECT k = (SELECT max(k) FROM t_open WHERE v <> 'a visitor''s') + 1 FROM t_open WHERE v = 'a visitor''s'";
    assert_eq!(one(raw, next).await, "1");
    assert_eq!(
        one(
            raw,
            &format!(
                "SELECT title || typeof(isbn) FROM books WHERE _id = {}",
                numbers[0]
            )
        )
        .await,
        "Changedtext"
    );
}
