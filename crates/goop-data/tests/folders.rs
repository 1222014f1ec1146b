//! Folders that the Go program left open here, and stay what they are.
#![allow(clippy::unwrap_used, missing_docs)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use goop_data::{Database, FILE, Health};
use serde_json::{Value as Json, json};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{AssertSqlSafe, Connection, Row, SqliteConnection, TypeInfo, ValueRef};

fn fixtures() -> PathBuf {
    Path::new(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../fixtures/folders"
    ))
    .to_owned()
}

fn copy(name: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::copy(fixtures().join(name).join(FILE), folder.path().join(FILE)).unwrap();
    folder
}

async fn connect(folder: &Path) -> SqliteConnection {
    let options = SqliteConnectOptions::new().filename(folder.join(FILE));
    SqliteConnection::connect_with(&options).await.unwrap()
}

/// Columns and rows of every table, in the form of `content.json`.
async fn content(folder: &Path) -> BTreeMap<String, (Json, Json)> {
    let mut connection = connect(folder).await;
    let check: String = sqlx::query_scalar("PRAGMA integrity_check")
        .fetch_one(&mut connection)
        .await
        .unwrap();
    assert_eq!(check, "ok");
    let tables: Vec<String> = sqlx::query_scalar(
        "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite%'",
    )
    .fetch_all(&mut connection)
    .await
    .unwrap();
    let mut content = BTreeMap::new();
    for table in tables {
        let columns =
            sqlx::query("SELECT name, type, \"notnull\", dflt_value, pk FROM pragma_table_info(?)")
                .bind(&table)
                .fetch_all(&mut connection)
                .await
                .unwrap();
        let columns = columns.iter().map(|row| {
            json!({
                "name": row.get::<String, _>(0), "type": row.get::<String, _>(1), "not_null": row.get::<i64, _>(2),
                "default": row.get::<Option<String>, _>(3), "pk": row.get::<i64, _>(4),
            })
        });
        let columns: Vec<Json> = columns.collect();
        let rows = sqlx::query(AssertSqlSafe(format!("SELECT * FROM \"{table}\"")))
            .fetch_all(&mut connection)
            .await
            .unwrap();
        let cell = |row: &sqlx::sqlite::SqliteRow, index: usize| {
            let raw = row.try_get_raw(index).unwrap();
            match (raw.is_null(), raw.type_info().name()) {
                (true, _) => Json::Null,
                (_, "REAL") => json!(row.get_unchecked::<f64, _>(index)),
                (_, "TEXT") => json!(row.get_unchecked::<String, _>(index)),
                (_, "BLOB") => json!("blob"),
                _ => json!(row.get_unchecked::<i64, _>(index)),
            }
        };
        let rows: Vec<Json> = rows
            .iter()
            .map(|row| (0..row.len()).map(|index| cell(row, index)).collect())
            .collect();
        content.insert(table, (json!(columns), json!(rows)));
    }
    content
}

/// Without what only our program keeps in the file.
fn as_go_has_it(mut content: BTreeMap<String, (Json, Json)>) -> BTreeMap<String, (Json, Json)> {
    content.remove("_chats");
    if let Some((columns, rows)) = content.get_mut("_chat_messages") {
        let (columns, rows) = (
            columns.as_array_mut().unwrap(),
            rows.as_array_mut().unwrap(),
        );
        let ours = ["msg_id", "state", "why"];
        for at in (0..columns.len()).rev() {
            if ours.contains(&columns[at]["name"].as_str().unwrap()) {
                columns.remove(at);
                for row in rows.iter_mut() {
                    row.as_array_mut().unwrap().remove(at);
                }
            }
        }
    }
    content
}

/// Opens a copy twice and compares it with what the Go program made of the same folder.
async fn check(name: &str, recorded: &str) {
    let folder = copy(name);
    for _ in 0..2 {
        let database = Database::open(folder.path()).await.unwrap();
        assert_eq!(*database.health(), Health::Sound);
        database.close().await;
        assert!(
            !folder.path().join("data.db-wal").exists(),
            "the log is folded in"
        );
    }
    let ours = as_go_has_it(content(folder.path()).await);
    let recorded_text = std::fs::read_to_string(fixtures().join("content.json")).unwrap();
    let all: Json = serde_json::from_str(&recorded_text).unwrap();
    let recorded = all[recorded].as_object().unwrap();
    assert_eq!(
        ours.keys().collect::<Vec<_>>(),
        recorded.keys().collect::<Vec<_>>()
    );
    for (table, expected) in recorded {
        let (columns, rows) = &ours[table];
        let by_name = |columns: &Json| -> BTreeMap<String, Json> {
            let named =
                |column: &Json| (column["name"].as_str().unwrap().to_owned(), column.clone());
            columns.as_array().unwrap().iter().map(named).collect()
        };
        assert_eq!(by_name(columns), by_name(&expected["columns"]), "{table}");
        // The registry's SQL text is informational and not recorded.
        if table == "_tables" || expected.get("rows_note").is_some() {
            continue;
        }
        let count = |rows: &Json| rows.as_array().map_or(0, Vec::len);
        assert_eq!(count(rows), count(&expected["rows"]), "{table}");
        let same_order = columns
            .as_array()
            .unwrap()
            .iter()
            .map(|column| &column["name"])
            .collect::<Vec<_>>()
            == expected["columns"]
                .as_array()
                .unwrap()
                .iter()
                .map(|column| &column["name"])
                .collect::<Vec<_>>();
        let volatile = ["_peer_cache", "_favorites"].contains(&table.as_str());
        if same_order && !volatile {
            assert_eq!(rows, &expected["rows"], "{table}");
        }
    }
}

#[tokio::test]
async fn a_folder_with_everything() {
    check("alice", "alice").await;
}

#[tokio::test]
async fn a_folder_with_a_template() {
    check("bob", "bob").await;
}

#[tokio::test]
async fn groups_of_the_oldest_form_are_forgotten() {
    check(
        "old-app-type",
        "old-app-type after one start of the Go program",
    )
    .await;
}

#[tokio::test]
async fn groups_of_the_older_form_stay() {
    check(
        "old-group-type",
        "old-group-type after one start of the Go program",
    )
    .await;
}

#[tokio::test]
async fn a_fresh_folder_looks_like_one_of_the_go_program() {
    let folder = tempfile::tempdir().unwrap();
    Database::open(folder.path()).await.unwrap().close().await;
    let fresh = as_go_has_it(content(folder.path()).await);
    let old = copy("alice");
    let recorded = content(old.path()).await;
    for (table, (columns, rows)) in &fresh {
        let mut expected = recorded[table].0.as_array().unwrap().clone();
        let mut ours = columns.as_array().unwrap().clone();
        let name = |column: &Json| column["name"].to_string();
        expected.sort_by_key(name);
        ours.sort_by_key(name);
        assert_eq!(ours, expected, "{table}");
        assert_eq!(rows, &json!([]), "{table}");
    }
    assert_eq!(fresh.len(), 10);
    let mut connection = connect(folder.path()).await;
    let mode: String = sqlx::query_scalar("PRAGMA journal_mode")
        .fetch_one(&mut connection)
        .await
        .unwrap();
    assert_eq!(mode, "wal");
}

/// A writer that was killed leaves its log; the rows in it are there.
#[tokio::test]
async fn what_is_in_the_log_of_a_killed_writer_is_there() {
    let folder = copy("alice");
    let mut writer = connect(folder.path()).await;
    sqlx::query("PRAGMA journal_mode = WAL")
        .execute(&mut writer)
        .await
        .unwrap();
    sqlx::query("INSERT INTO _meta VALUES ('k', 'v')")
        .execute(&mut writer)
        .await
        .unwrap();
    let killed = tempfile::tempdir().unwrap();
    for name in ["data.db", "data.db-wal"] {
        std::fs::copy(folder.path().join(name), killed.path().join(name)).unwrap();
    }
    let database = Database::open(killed.path()).await.unwrap();
    database.close().await;
    assert_eq!(content(killed.path()).await["_meta"].1, json!([["k", "v"]]));
}

/// A damaged file is kept, what can be read comes over, and the report says what did not.
#[tokio::test]
async fn a_damaged_file_loses_nothing_silently() {
    let folder = copy("alice");
    let path = folder.path().join(FILE);
    let mut connection = connect(folder.path()).await;
    let long = "x".repeat(3_000);
    for _ in 0..200 {
        sqlx::query("INSERT INTO notes (_owner, title) VALUES ('o', ?)")
            .bind(&long)
            .execute(&mut connection)
            .await
            .unwrap();
    }
    sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)")
        .execute(&mut connection)
        .await
        .unwrap();
    let books: i64 = sqlx::query_scalar("SELECT count(*) FROM books")
        .fetch_one(&mut connection)
        .await
        .unwrap();
    connection.close().await.unwrap();
    let mut bytes = std::fs::read(&path).unwrap();
    let middle = bytes.len() / 4096 - 60;
    bytes[middle * 4096..(middle + 3) * 4096].fill(0xaa);
    std::fs::write(&path, &bytes).unwrap();

    let database = Database::open(folder.path()).await.unwrap();
    let Health::Salvaged(report) = database.health().clone() else {
        panic!("{:?}", database.health());
    };
    assert_eq!(std::fs::read(&report.kept).unwrap(), bytes);
    assert!(
        report
            .whole
            .contains(&("books".to_owned(), u64::try_from(books).unwrap())),
        "{report:?}"
    );
    let (_, notes, _) = report
        .broken
        .iter()
        .find(|(table, ..)| table == "notes")
        .unwrap();
    assert!(*notes > 100 && *notes < 210, "{report:?}");
    assert!(database.catalog().table("notes").is_some());
    database.close().await;
    let again = Database::open(folder.path()).await.unwrap();
    assert_eq!(*again.health(), Health::Sound);
}

#[tokio::test]
async fn what_is_no_database_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join(FILE), vec![7; 10_000]).unwrap();
    let database = Database::open(folder.path()).await.unwrap();
    let Health::Salvaged(report) = database.health() else {
        panic!("{:?}", database.health());
    };
    assert_eq!(std::fs::read(&report.kept).unwrap(), vec![7; 10_000]);
}

#[tokio::test]
async fn a_copy_is_whole() {
    let folder = copy("bob");
    let database = Database::open(folder.path()).await.unwrap();
    let to = tempfile::tempdir().unwrap();
    database.backup(&to.path().join(FILE)).await.unwrap();
    assert!(
        database.backup(&to.path().join(FILE)).await.is_err(),
        "nothing is overwritten"
    );
    database.close().await;
    assert_eq!(content(folder.path()).await, content(to.path()).await);
}
