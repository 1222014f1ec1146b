//! What several tests use: recorded streams and answers, actors, databases of their own.
#![allow(dead_code, clippy::unwrap_used)]

#[path = "../../../goop-identity/tests/support/actors.rs"]
pub(crate) mod actors;

use std::fs;
use std::path::{Path, PathBuf};

use goop_data::{Caller, Data, Database};
use serde_json::{Map, Value as Json};
use tempfile::TempDir;

pub(crate) const ALICE: &str = "12D3KooWK99VoVxNE7XzyBwXEzW7xhK7Gpv85r9F3V3fyKSUKPH5";

pub(crate) fn fixture(path: &str) -> PathBuf {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../fixtures")).join(path)
}

pub(crate) fn lines(path: &str) -> Vec<Json> {
    let text = fs::read_to_string(fixture(path)).unwrap();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

pub(crate) fn bytes(value: &Json) -> Vec<u8> {
    match value["text"].as_str() {
        Some(text) => text.as_bytes().to_vec(),
        None => hex::decode(value["hex"].as_str().unwrap_or_default()).unwrap(),
    }
}

pub(crate) fn owner() -> Caller {
    Caller::owner(ALICE, "alice@example.org")
}

pub(crate) fn object(json: Json) -> Map<String, Json> {
    json.as_object().cloned().unwrap()
}

/// A fresh database in a folder of its own.
pub(crate) async fn fresh() -> (TempDir, Data) {
    let folder = tempfile::tempdir().unwrap();
    let data = Data::new(Database::open(folder.path()).await.unwrap());
    (folder, data)
}

/// A copy of a database, in a folder of its own.
pub(crate) async fn copy_of(data: &Data) -> (TempDir, Data) {
    let folder = tempfile::tempdir().unwrap();
    data.database()
        .backup(&folder.path().join(goop_data::FILE))
        .await
        .unwrap();
    let copy = Data::new(Database::open(folder.path()).await.unwrap());
    (folder, copy)
}

/// Text of a JSON answer with what differs from run to run made equal: times and random ids.
pub(crate) fn settled(text: &str) -> String {
    match serde_json::from_str::<Json>(text) {
        Ok(mut json) => {
            settle(&mut json);
            String::from_utf8(goop_data::json::to_bytes(&json)).unwrap()
        }
        Err(_) => text.trim().to_owned(),
    }
}

fn settle(json: &mut Json) {
    match json {
        Json::Object(members) => {
            for (name, value) in members {
                let volatile = [
                    "_created_at",
                    "_updated_at",
                    "created_at",
                    "made",
                    "uid",
                    "c",
                ];
                match value {
                    Json::String(text) if volatile.contains(&name.as_str()) => {
                        *text = text
                            .chars()
                            .map(|letter| {
                                if letter.is_ascii_alphanumeric() {
                                    '0'
                                } else {
                                    letter
                                }
                            })
                            .collect();
                        if name == "made" {
                            "a moment".clone_into(text);
                        }
                    }
                    other => settle(other),
                }
            }
        }
        Json::Array(items) => items.iter_mut().for_each(settle),
        _ => {}
    }
}
