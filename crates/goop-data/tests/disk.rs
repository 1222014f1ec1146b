//! What the disk does to a database: it fills up at any write, it loses its power at any moment, another process writes
//! to it, its file is of a version to come.
#![cfg(unix)]
#![allow(clippy::unwrap_used, missing_docs)]

mod support;
#[path = "support/disk.rs"]
mod watched;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex};

use goop_data::meta::Meta;
use goop_data::tool::{Access, Tool};
use goop_data::{ColumnDef, Data, DataError, Database, FILE, Find, Health};
use serde_json::{Value as Json, json};
use support::{object, owner};
use watched::Disk;

async fn open(folder: &Path) -> Data {
    Data::new(Database::open(folder).await.unwrap())
}

async fn with_table(data: &Data) {
    let columns = json!([{"name": "key", "type": "text", "key": true}, {"name": "number", "type": "integer"},
        {"name": "fill", "type": "text"}]);
    let schema = serde_json::from_value(json!({"name": "rows", "columns": columns})).unwrap();
    data.create_typed(&owner(), &schema).await.unwrap();
}

/// What a database holds: rows by their key, and the owner's other tables.
#[derive(Debug, Clone, Default, PartialEq)]
struct Content {
    rows: BTreeMap<String, i64>,
    tables: BTreeSet<String>,
}

async fn content(data: &Data) -> Content {
    let find = Find {
        columns: vec!["key".to_owned(), "number".to_owned()],
        ..Find::all("rows")
    };
    let rows = data.find(&owner(), &find).await.unwrap().whole().await;
    let row = |row: &Json| {
        let key = row["key"].as_str().unwrap().to_owned();
        (key, row["number"].as_i64().unwrap())
    };
    let rows = rows
        .unwrap()
        .value
        .as_array()
        .unwrap()
        .iter()
        .map(row)
        .collect();
    let catalog = data.database().catalog();
    let others = catalog.tables.keys().filter(|name| *name != "rows");
    Content {
        rows,
        tables: others.cloned().collect(),
    }
}

/// One change, and what it leaves behind when it was answered.
#[derive(Debug, Clone)]
enum Step {
    Add(&'static str, usize),
    Many(&'static str, usize),
    Set(i64),
    Upsert(&'static str, i64),
    Delete(&'static str),
    Make(&'static str),
    Rename(&'static str, &'static str),
    Column(&'static str),
    Drop(&'static str),
}

impl Step {
    async fn take(&self, data: &Data) -> Result<(), DataError> {
        let me = &owner();
        let row = |key: String, fill: usize| {
            object(json!({"key": key, "number": 1, "fill": "x".repeat(fill)}))
        };
        match *self {
            Self::Add(key, fill) => {
                let row = row(key.to_owned(), fill);
                data.insert(me, "rows", row).await.map(drop)
            }
            Self::Many(prefix, count) => {
                let rows: Vec<_> = (0..count)
                    .map(|n| row(format!("{prefix}{n}"), 300))
                    .collect();
                let body = json!({"table": "rows", "rows": rows}).to_string();
                let done = data.direct(me, "insert-many", body.as_bytes()).await?;
                done.whole().await.map(drop)
            }
            Self::Set(number) => {
                let all = Find {
                    filter: "1 = 1".to_owned(),
                    ..Find::all("rows")
                };
                let set = object(json!({"number": number}));
                data.update_where(me, &all, &set).await.map(drop)
            }
            Self::Upsert(key, number) => {
                let row = object(json!({"key": key, "number": number}));
                data.upsert(me, "rows", "key", row).await.map(drop)
            }
            Self::Delete(key) => {
                let find = Find::by("rows", "key", json!(key));
                data.delete_where(me, &find).await.map(drop)
            }
            Self::Make(name) => {
                let columns: Vec<ColumnDef> =
                    serde_json::from_value(json!([{"name": "a", "type": "TEXT"}])).unwrap();
                data.create_classic(me, name, &columns).await
            }
            Self::Rename(old, new) => data.rename_table(me, old, new).await,
            Self::Column(table) => {
                let body = json!({"table": table, "column": {"name": "b", "type": "TEXT"}});
                let body = body.to_string();
                let done = data
                    .direct(me, "tables/add-column", body.as_bytes())
                    .await?;
                done.whole().await.map(drop)
            }
            Self::Drop(name) => data.delete_table(me, name).await,
        }
    }

    fn put(&self, content: &mut Content) {
        let rows = &mut content.rows;
        match *self {
            Self::Add(key, _) => drop(rows.insert(key.to_owned(), 1)),
            Self::Many(prefix, count) => {
                rows.extend((0..count).map(|n| (format!("{prefix}{n}"), 1)));
            }
            Self::Set(number) => rows.values_mut().for_each(|now| *now = number),
            Self::Upsert(key, number) => drop(rows.insert(key.to_owned(), number)),
            Self::Delete(key) => drop(rows.remove(key)),
            Self::Make(name) => drop(content.tables.insert(name.to_owned())),
            Self::Rename(old, new) => {
                if content.tables.remove(old) {
                    content.tables.insert(new.to_owned());
                }
            }
            Self::Column(_) => {}
            Self::Drop(name) => drop(content.tables.remove(name)),
        }
    }
}

const STEPS: &[Step] = &[
    Step::Add("a", 10),
    Step::Many("m", 40),
    Step::Make("t"),
    Step::Set(2),
    Step::Column("t"),
    Step::Upsert("a", 3),
    Step::Upsert("b", 3),
    Step::Rename("t", "u"),
    Step::Delete("m3"),
    Step::Drop("u"),
    Step::Add("c", 9_000),
];

/// Takes all steps on a disk that is full after so many writes, makes room, and looks. Tells whether it was ever full.
async fn with_room_for(prepared: &Path, writes: u64, steps: &[Step]) -> bool {
    let folder = tempfile::tempdir().unwrap();
    std::fs::copy(prepared.join(FILE), folder.path().join(FILE)).unwrap();
    let disk = Disk::under(folder.path());
    let data = open(folder.path()).await;
    let about = format!("room for {writes} writes");
    disk.fills_after(writes);
    let mut expected = Content::default();
    let mut refused = 0;
    for step in steps {
        match step.take(&data).await {
            Ok(()) => step.put(&mut expected),
            Err(error) => {
                refused += 1;
                let text = error.to_string();
                let of_missing = text.contains("no such table") || text.contains("not found");
                assert!(
                    text.contains("disk is full") && text.contains("make room") || of_missing,
                    "{about}: {step:?}: {text}"
                );
            }
        }
    }
    // What was answered can be read on the full disk, and is all there is.
    assert_eq!(content(&data).await, expected, "{about}");
    let was_full = disk.has_room_again();
    assert!(was_full || refused == 0, "{about}");
    // The next change is as good as ever, without a new start.
    let next = Step::Add("next", 5);
    next.take(&data).await.unwrap();
    next.put(&mut expected);
    assert_eq!(content(&data).await, expected, "{about}");
    data.database().close().await;
    let mut tool = Tool::open(folder.path(), Access::Read).await.unwrap();
    let report = tool.check().await.unwrap();
    assert_eq!(report.complaints, Vec::<String>::new(), "{about}");
    drop(tool);
    let again = open(folder.path()).await;
    assert_eq!(*again.database().health(), Health::Sound, "{about}");
    assert_eq!(content(&again).await, expected, "{about}");
    again.database().close().await;
    was_full
}

async fn prepared() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let data = open(folder.path()).await;
    with_table(&data).await;
    data.database().close().await;
    folder
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_disk_is_full_at_each_write() {
    let prepared = prepared().await;
    let mut writes = 0;
    while with_room_for(prepared.path(), writes, STEPS).await {
        writes += 1;
    }
    assert!(writes > 40, "only {writes} writes");
}

/// A change that is larger than SQLite's memory is written before it is complete, and its log is folded in afterwards.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_disk_is_full_in_the_middle_of_a_large_change() {
    let prepared = prepared().await;
    let steps = [
        Step::Add("large", 6_000_000),
        Step::Set(2),
        Step::Delete("large"),
    ];
    let mut writes = 0;
    let mut times = 0;
    while with_room_for(prepared.path(), writes, &steps).await {
        // Too many to stop at each; a prime meets frames, their headers, and pages of the file in turn.
        writes += 211;
        times += 1;
    }
    assert!(times > 10, "only {writes} writes");
}

/// A start that finds no room says so and harms nothing; with room it goes on.
#[tokio::test]
async fn the_disk_is_full_at_the_start() {
    let old = Path::new(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../fixtures/folders/old-group-type"
    ));
    for from in [None, Some(old)] {
        for writes in 0.. {
            let folder = tempfile::tempdir().unwrap();
            if let Some(from) = from {
                std::fs::copy(from.join(FILE), folder.path().join(FILE)).unwrap();
            }
            let disk = Disk::under(folder.path());
            disk.fills_after(writes);
            let opened = Database::open(folder.path()).await;
            let was_full = disk.has_room_again();
            match opened {
                Ok(database) => database.close().await,
                Err(error) => assert!(
                    was_full && error.to_string().contains("make room"),
                    "{error}"
                ),
            }
            let database = Database::open(folder.path()).await.unwrap();
            assert_eq!(
                *database.health(),
                Health::Sound,
                "room for {writes} writes"
            );
            let tables = database.catalog().tables.len();
            assert_eq!(tables > 0, from.is_some(), "room for {writes} writes");
            database.close().await;
            if !was_full {
                assert!(writes > 5, "only {writes} writes");
                break;
            }
        }
    }
}

/// An answered change survives the loss of power: it was waited for, alone or together with others.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_answered_survives_a_power_cut() {
    let folder = tempfile::tempdir().unwrap();
    let disk = Arc::new(Disk::under(folder.path()));
    let data = open(folder.path()).await;
    with_table(&data).await;
    // One after the other: each waits for the disk itself.
    let before = disk.syncs();
    for number in 0..20 {
        let row = object(json!({"key": format!("alone {number}"), "number": number}));
        data.insert(&owner(), "rows", row).await.unwrap();
    }
    assert!(
        disk.syncs() - before >= 20,
        "{} syncs",
        disk.syncs() - before
    );
    // Together: who waits meanwhile shares the next.
    let before = disk.syncs();
    let answered = Arc::new(Mutex::new(BTreeSet::new()));
    let (writers, each) = (16, 60);
    let mut tasks = tokio::task::JoinSet::new();
    for writer in 0..writers {
        let (data, answered) = (data.clone(), answered.clone());
        tasks.spawn(async move {
            for number in 0..each {
                let key = format!("{writer} {number}");
                let row = object(json!({"key": key, "number": number, "fill": "x".repeat(700)}));
                data.insert(&owner(), "rows", row).await.unwrap();
                answered.lock().unwrap().insert(key);
            }
        });
    }
    let mut cuts = 0;
    loop {
        let ended = tasks.try_join_next();
        if let Some(ended) = ended {
            ended.unwrap();
        }
        // First what was answered, then what the disk has.
        let said = answered.lock().unwrap().clone();
        let after = tempfile::tempdir().unwrap();
        disk.after_power_cut(after.path());
        let left = open(after.path()).await;
        assert_eq!(*left.database().health(), Health::Sound);
        let there = content(&left).await.rows;
        left.database().close().await;
        cuts += 1;
        for key in said {
            assert!(
                there.contains_key(&key),
                "after cut {cuts}: {key} was answered and is gone"
            );
        }
        if tasks.is_empty() {
            assert_eq!(there.len(), writers * each + 20);
            break;
        }
    }
    let syncs = disk.syncs() - before;
    let rows = u64::try_from(writers * each).unwrap();
    println!(
        "{rows} rows by {writers} writers: {syncs} syncs, {} writes, {cuts} cuts",
        disk.writes()
    );
    assert!(
        syncs < rows,
        "{syncs} syncs for {rows} rows: nobody shared one"
    );
}

const FOLDER: &str = "GOOP_TWO_FOLDER";

/// Two processes on one file, whatever the lock of the folder says (SQLite's own shell is such a one): both are heard.
#[tokio::test]
async fn two_processes_write_to_one_file() {
    const ROWS: i64 = 150;
    let fill = async |folder: &Path, who: &str| {
        let data = open(folder).await;
        for number in 0..ROWS {
            let row = object(json!({"key": format!("{who} {number}"), "number": number}));
            data.insert(&owner(), "rows", row).await.unwrap();
        }
        data.database().close().await;
    };
    if let Some(folder) = std::env::var_os(FOLDER) {
        fill(Path::new(&folder), "other").await;
        return;
    }
    let folder = prepared().await;
    let mut other = Command::new(std::env::current_exe().unwrap())
        .args(["two_processes_write_to_one_file", "--exact", "--nocapture"])
        .env(FOLDER, folder.path())
        .spawn()
        .unwrap();
    fill(folder.path(), "one").await;
    let ended = tokio::task::spawn_blocking(move || other.wait().unwrap())
        .await
        .unwrap();
    assert!(ended.success());
    let data = open(folder.path()).await;
    assert_eq!(*data.database().health(), Health::Sound);
    let count = data.count(&owner(), &Find::all("rows")).await.unwrap();
    assert_eq!(count, json!({"count": 2 * ROWS}));
}

/// Another program that does not let go of the file: the change is refused after a while, and the next one is as good as ever.
#[tokio::test]
async fn another_process_holds_the_file() {
    let folder = prepared().await;
    let data = open(folder.path()).await;
    let mut other = Tool::open(folder.path(), Access::Write).await.unwrap();
    other.run("BEGIN IMMEDIATE", &mut |_| {}).await.unwrap();
    let error = Step::Add("a", 1).take(&data).await.unwrap_err();
    assert_eq!(error.to_string(), "database is locked (5) (SQLITE_BUSY)");
    // Whoever only reads does not wait.
    assert_eq!(content(&data).await, Content::default());
    other.run("COMMIT", &mut |_| {}).await.unwrap();
    Step::Add("b", 1).take(&data).await.unwrap();
    assert_eq!(content(&data).await.rows.len(), 1);
    data.database().close().await;
}

/// A page goes bad while everything runs: questions that need it say so, all others go on, and the next start saves the rest.
#[tokio::test]
async fn a_page_goes_bad_while_everything_runs() {
    const PAGE: usize = 4096;
    let folder = prepared().await;
    let data = open(folder.path()).await;
    for step in [Step::Many("m", 2_000), Step::Make("other")] {
        step.take(&data).await.unwrap();
    }
    data.database().close().await;
    let data = open(folder.path()).await;
    let path = folder.path().join(FILE);
    let mut bytes = std::fs::read(&path).unwrap();
    let bad = bytes.len() / PAGE / 2;
    bytes[bad * PAGE..(bad + 1) * PAGE].fill(0xaa);
    std::fs::write(&path, &bytes).unwrap();
    let all = data.find(&owner(), &Find::all("rows")).await;
    let all = match all {
        Ok(answer) => answer.whole().await.map(drop),
        Err(error) => Err(error),
    };
    let error = all.unwrap_err().to_string();
    assert!(error.contains("malformed"), "{error}");
    let row = object(json!({"a": "x"}));
    data.insert(&owner(), "other", row).await.unwrap();
    let count = data.count(&owner(), &Find::all("other")).await.unwrap();
    assert_eq!(count, json!({"count": 1}));
    data.database().close().await;
    let again = open(folder.path()).await;
    let Health::Salvaged(report) = again.database().health().clone() else {
        panic!("{:?}", again.database().health());
    };
    let (_, rows, _) = report
        .broken
        .iter()
        .find(|(name, ..)| name == "rows")
        .unwrap();
    assert!((1_900..2_000).contains(rows), "{report}");
    assert!(report.whole.contains(&("other".to_owned(), 1)), "{report}");
    again.database().close().await;
}

/// A file that a later version wrote is left as it is, and the message says what to do.
#[tokio::test]
async fn a_file_of_a_later_version_is_left_alone() {
    for what in ["SQLite's to write", "SQLite's to read", "ours"] {
        let folder = prepared().await;
        let path = folder.path().join(FILE);
        if what == "ours" {
            let database = Database::open(folder.path()).await.unwrap();
            Meta::of(&database)
                .set(&[("goop_form", "2")])
                .await
                .unwrap();
            database.close().await;
        } else {
            let mut bytes = std::fs::read(&path).unwrap();
            bytes[if what.ends_with("write") { 18 } else { 19 }] = 3;
            std::fs::write(&path, &bytes).unwrap();
        }
        let bytes = std::fs::read(&path).unwrap();
        let error = Database::open(folder.path()).await.map(drop).unwrap_err();
        let error = error.to_string();
        assert!(error.contains("newer version"), "{what}: {error}");
        assert_eq!(std::fs::read(&path).unwrap(), bytes, "{what}");
        assert!(!folder.path().join(goop_data::DAMAGED).exists(), "{what}");
    }
}

/// What a later version adds to the tables that it shares with us stays, and we go on.
#[tokio::test]
async fn columns_of_a_later_version_stay() {
    let folder = prepared().await;
    let mut tool = Tool::open(folder.path(), Access::Write).await.unwrap();
    for sql in [
        "ALTER TABLE _peer_cache ADD COLUMN later TEXT DEFAULT 'kept'",
        "CREATE TABLE _later (a)",
        "INSERT INTO _later VALUES (7)",
        "INSERT INTO _peer_cache (peer_id) VALUES ('p')",
    ] {
        tool.run(sql, &mut |_| {}).await.unwrap();
    }
    drop(tool);
    let data = open(folder.path()).await;
    Step::Add("a", 1).take(&data).await.unwrap();
    let sql = "SELECT later, a FROM _peer_cache, _later";
    let there = data.console_page(&owner(), sql, &[]).await.unwrap();
    assert_eq!(there["rows"], json!([["kept", 7]]));
    data.database().close().await;
}
