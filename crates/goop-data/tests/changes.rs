//! Changes: all or nothing, together, told after they are on disk.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use std::collections::BTreeSet;

use goop_data::schema::Schema;
use goop_data::{Change, ChangeKind, ColumnDef, Data, DataError, Database, Find};
use serde_json::{Value as Json, json};
use support::{fresh, object, owner};
use tokio::sync::broadcast::error::TryRecvError;

async fn with_table(data: &Data) {
    let schema: Schema = serde_json::from_value(json!({"name": "t", "columns": [
        {"name": "k", "type": "integer", "key": true, "auto": true}, {"name": "v", "type": "text", "required": true},
    ]}))
    .unwrap();
    data.create_typed(&owner(), &schema).await.unwrap();
}

fn change(kind: ChangeKind, id: i64) -> Change {
    Change {
        table: "t".to_owned(),
        kind,
        id,
    }
}

#[tokio::test]
async fn changes_are_told_once_they_are_on_disk() {
    let (_folder, data) = fresh().await;
    with_table(&data).await;
    let mut changes = data.database().changes();
    let id = data
        .insert(&owner(), "t", object(json!({"v": "a"})))
        .await
        .unwrap();
    assert_eq!(
        changes.recv().await.unwrap(),
        change(ChangeKind::Inserted, id)
    );
    data.update(&owner(), "t", id, &object(json!({"v": "b"})))
        .await
        .unwrap();
    assert_eq!(
        changes.recv().await.unwrap(),
        change(ChangeKind::Updated, id)
    );
    // What fails is not told, nor what the program keeps for itself.
    data.insert(&owner(), "t", object(json!({"k": 1, "v": "twice"})))
        .await
        .unwrap_err();
    goop_data::meta::Meta::of(data.database())
        .set(&[("a", "b")])
        .await
        .unwrap();
    assert_eq!(changes.try_recv(), Err(TryRecvError::Empty));
    data.delete_where(
        &owner(),
        &Find {
            filter: "1 = 1".to_owned(),
            ..Find::all("t")
        },
    )
    .await
    .unwrap();
    assert_eq!(
        changes.recv().await.unwrap(),
        change(ChangeKind::Deleted, id)
    );
}

#[tokio::test]
async fn more_changes_than_are_told_are_said_to_be_many() {
    let (_folder, data) = fresh().await;
    with_table(&data).await;
    for number in 0..600 {
        data.insert(&owner(), "t", object(json!({"k": number, "v": "a"})))
            .await
            .unwrap();
    }
    let mut changes = data.database().changes();
    let all = Find {
        filter: "1 = 1".to_owned(),
        ..Find::all("t")
    };
    let done = data
        .update_where(&owner(), &all, &object(json!({"v": "b"})))
        .await
        .unwrap();
    assert_eq!(done, json!({"affected": 600}));
    let mut told = Vec::new();
    while let Ok(change) = changes.try_recv() {
        told.push(change);
    }
    assert_eq!(told.len(), 513);
    assert!(
        told[..512]
            .iter()
            .all(|change| change.kind == ChangeKind::Updated)
    );
    assert_eq!(told[512], change(ChangeKind::Many, 0));
}

#[tokio::test]
async fn many_at_once_all_count() {
    let (_folder, data) = fresh().await;
    with_table(&data).await;
    let tasks: Vec<_> = (0..100)
        .map(|number| {
            let data = data.clone();
            tokio::spawn(async move {
                match number % 4 {
                    // The same key: one row, however many come at once.
                    0 => {
                        data.upsert(&owner(), "t", "v", object(json!({"v": "same"})))
                            .await
                    }
                    // Wrong: undone alone.
                    1 => {
                        data.insert(&owner(), "t", object(json!({"nope": 1, "v": "x"})))
                            .await
                    }
                    _ => {
                        data.insert(&owner(), "t", object(json!({"v": number.to_string()})))
                            .await
                    }
                }
            })
        })
        .collect();
    let mut ids = BTreeSet::new();
    let mut failed = 0;
    for task in tasks {
        match task.await.unwrap() {
            Ok(id) => drop(ids.insert(id)),
            Err(error) => {
                assert_eq!(
                    error.to_string(),
                    "SQL logic error: table t has no column named nope (1)"
                );
                failed += 1;
            }
        }
    }
    assert_eq!((failed, ids.len()), (25, 51));
    let count = data.count(&owner(), &Find::all("t")).await.unwrap();
    assert_eq!(count, json!({"count": 51}));
    // Numbers of the auto column are each used once.
    let numbers = data
        .distinct(&owner(), &Find::all("t"), "k")
        .await
        .unwrap()
        .whole()
        .await
        .unwrap();
    assert_eq!(numbers.value.as_array().unwrap().len(), 51);
}

#[tokio::test]
async fn what_was_answered_is_there_after_a_kill() {
    let (folder, data) = fresh().await;
    with_table(&data).await;
    for number in 0..20 {
        data.insert(&owner(), "t", object(json!({"v": number.to_string()})))
            .await
            .unwrap();
    }
    // As a kill leaves it: files as they are, nothing closed.
    let after = tempfile::tempdir().unwrap();
    for name in ["data.db", "data.db-wal"] {
        std::fs::copy(folder.path().join(name), after.path().join(name)).unwrap();
    }
    let again = Data::new(Database::open(after.path()).await.unwrap());
    assert_eq!(
        again.count(&owner(), &Find::all("t")).await.unwrap(),
        json!({"count": 20})
    );
}

#[tokio::test]
async fn after_closing_nothing_is_taken() {
    let (_folder, data) = fresh().await;
    with_table(&data).await;
    data.database().close().await;
    let error = data
        .insert(&owner(), "t", object(json!({"v": "a"})))
        .await
        .unwrap_err();
    assert_eq!(error, DataError::Unavailable);
    assert_eq!(error.to_string(), "database not available");
    assert_eq!(
        data.count(&owner(), &Find::all("t")).await.unwrap_err(),
        DataError::Unavailable
    );
}

fn file(folder: &std::path::Path, name: &str) -> Option<Json> {
    let text = std::fs::read(folder.join("schemas").join(format!("{name}.json"))).ok()?;
    Some(serde_json::from_slice(&text).unwrap())
}

/// Table, stored schema and schema file go together.
#[tokio::test]
async fn tables_change_with_their_schemas() {
    let (folder, data) = fresh().await;
    with_table(&data).await;
    goop_data::meta::Meta::of(data.database())
        .set(&[("template_tables", "t,u")])
        .await
        .unwrap();
    let column = ColumnDef {
        name: "extra".to_owned(),
        kind: "INTEGER".to_owned(),
        not_null: false,
        default: "5".to_owned(),
    };
    data.insert(&owner(), "t", object(json!({"v": "a"})))
        .await
        .unwrap();
    data.add_column(&owner(), "t", &column).await.unwrap();
    let names = |json: &Json| -> Vec<String> {
        json["columns"]
            .as_array()
            .unwrap()
            .iter()
            .map(|column| column["name"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(
        names(&file(folder.path(), "t").unwrap()),
        ["k", "v", "extra"]
    );
    let described = data.describe(&owner(), "T").unwrap();
    assert_eq!(names(&described["schema"]), ["k", "v", "extra"]);
    let row = data.find_one(&owner(), &Find::all("t")).await.unwrap();
    assert_eq!(
        (row["extra"].clone(), row["v"].clone()),
        (json!(5), json!("a"))
    );

    data.rename_table(&owner(), "t", "order").await.unwrap();
    assert!(file(folder.path(), "t").is_none());
    assert_eq!(file(folder.path(), "order").unwrap()["name"], "order");
    let meta = goop_data::meta::Meta::of(data.database());
    assert_eq!(meta.get("template_tables").await.unwrap(), "order,u");
    data.insert(&owner(), "order", object(json!({"v": "b", "extra": 6})))
        .await
        .unwrap();

    // The key's column goes with its index; the row's own id is key enough then.
    data.drop_column(&owner(), "order", "k").await.unwrap();
    let schema = file(folder.path(), "order").unwrap();
    assert_eq!(
        (names(&schema), schema["system_key"].clone()),
        (vec!["v".to_owned(), "extra".to_owned()], json!(true))
    );
    data.drop_column(&owner(), "order", "_owner")
        .await
        .unwrap_err();

    data.set_policy(&owner(), "order", "open").await.unwrap();
    assert_eq!(
        file(folder.path(), "order").unwrap()["access"]["insert"],
        "open"
    );
    data.delete_table(&owner(), "ORDER").await.unwrap();
    assert_eq!(meta.get("template_tables").await.unwrap(), "u");
    assert_eq!(data.tables(&owner()), Json::Null);
    assert!(
        file(folder.path(), "order").is_some(),
        "the editor may make the table anew"
    );
    data.apply_schema(&owner(), "order").await.unwrap();
    assert_eq!(
        data.count(&owner(), &Find::all("order")).await.unwrap(),
        json!({"count": 0})
    );

    for name in ["_meta", "_groups", "sqlite_sequence"] {
        let expected = format!("invalid table name: {name}");
        assert_eq!(
            data.delete_table(&owner(), name)
                .await
                .unwrap_err()
                .to_string(),
            expected
        );
        assert_eq!(
            data.rename_table(&owner(), name, "x")
                .await
                .unwrap_err()
                .to_string(),
            expected
        );
        assert_eq!(
            data.rename_table(&owner(), "order", name)
                .await
                .unwrap_err()
                .to_string(),
            expected
        );
        assert_eq!(
            data.create_classic(&owner(), name, std::slice::from_ref(&column))
                .await
                .unwrap_err()
                .to_string(),
            expected
        );
    }
    let error = data
        .create_classic(&owner(), "Order", &[column])
        .await
        .unwrap_err();
    assert_eq!(error.to_string(), "table \"Order\" already exists");
}

/// A schema file that was still to be written when the program was killed is written at the next start.
#[tokio::test]
async fn schema_files_catch_up() {
    let (folder, data) = fresh().await;
    with_table(&data).await;
    let note = r#"{"write":["t","gone"],"remove":["old","../goop"]}"#;
    goop_data::meta::Meta::of(data.database())
        .set(&[("schema_files", note)])
        .await
        .unwrap();
    std::fs::create_dir(folder.path().join("schemas")).unwrap();
    std::fs::write(folder.path().join("schemas/old.json"), "{}").unwrap();
    std::fs::write(folder.path().join("goop.json"), "{}").unwrap();
    data.database().close().await;
    let database = Database::open(folder.path()).await.unwrap();
    assert_eq!(file(folder.path(), "t").unwrap()["name"], "t");
    assert!(file(folder.path(), "old").is_none() && file(folder.path(), "gone").is_none());
    assert!(folder.path().join("goop.json").exists());
    assert_eq!(
        goop_data::meta::Meta::of(&database)
            .get("schema_files")
            .await
            .unwrap(),
        ""
    );
}

#[tokio::test]
async fn names_of_schema_files_stay_in_their_folder() {
    let (folder, data) = fresh().await;
    std::fs::write(folder.path().join("goop.json"), "{}").unwrap();
    for name in ["../goop", "..", "a/b", "a.b", "C:x", ""] {
        assert!(data.schema(&owner(), name).await.is_err(), "{name}");
        assert!(data.delete_schema(&owner(), name).await.is_err(), "{name}");
        assert!(data.apply_schema(&owner(), name).await.is_err(), "{name}");
        let schema = Schema {
            name: name.to_owned(),
            ..Schema::default()
        };
        assert!(data.save_schema(&owner(), schema).await.is_err(), "{name}");
    }
    assert_eq!(
        std::fs::read_dir(folder.path())
            .unwrap()
            .filter(|entry| entry.as_ref().unwrap().file_name() == "goop.json")
            .count(),
        1
    );
}

/// Large answers are read while they are sent.
#[tokio::test]
async fn large_answers_come_in_pieces() {
    use futures_util::StreamExt;
    let (_folder, data) = fresh().await;
    with_table(&data).await;
    for number in 0..300 {
        data.insert(
            &owner(),
            "t",
            object(json!({"k": number, "v": "<x>".repeat(200)})),
        )
        .await
        .unwrap();
    }
    let answer = data
        .find(
            &owner(),
            &Find {
                order: "k".to_owned(),
                ..Find::all("t")
            },
        )
        .await
        .unwrap();
    let chunks: Vec<Vec<u8>> = answer.chunks().map(Result::unwrap).collect().await;
    assert!(chunks.len() > 10, "{}", chunks.len());
    // A piece is handed on with the row that makes it 64 KiB; one has under 3 KiB here.
    let largest = chunks.iter().map(Vec::len).max().unwrap();
    assert!(largest < 67 * 1024, "{largest}");
    let all: Json = serde_json::from_slice(&chunks.concat()).unwrap();
    assert_eq!(
        (all.as_array().unwrap().len(), all[299]["k"].clone()),
        (300, json!(299))
    );
    let none = Find {
        filter: "k < 0".to_owned(),
        ..Find::all("t")
    };
    let empty: Vec<Vec<u8>> = data
        .find(&owner(), &none)
        .await
        .unwrap()
        .chunks()
        .map(Result::unwrap)
        .collect()
        .await;
    assert_eq!(empty, [b"[]".to_vec()]);
    let nothing: Vec<Vec<u8>> = data
        .query(&owner(), &none)
        .await
        .unwrap()
        .chunks()
        .map(Result::unwrap)
        .collect()
        .await;
    assert_eq!(nothing, [b"null".to_vec()]);
}
