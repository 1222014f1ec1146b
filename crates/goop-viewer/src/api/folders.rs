//! Folders of this machine, for the owner's pickers, and where the pages' dividers stand.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use axum::extract::{Query, State};
use axum::response::Response;
use bytes::Bytes;
use goop_identity::files::{self, Privacy};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::base::Base;
use crate::reply::{error, json, parse};

/// Most entries of a folder that are listed.
const MAX_ENTRIES: usize = 10_000;
/// Most dividers that are remembered, and the longest name of one.
const MAX_SPLITS: usize = 64;
const MAX_KEY: usize = 64;

#[derive(Deserialize, utoipa::IntoParams)]
pub(crate) struct Where {
    /// The folder; the home folder where none is given.
    #[serde(default)]
    dir: String,
}

#[derive(Serialize, utoipa::ToSchema)]
struct Folder {
    dir: String,
    entries: Option<Vec<Item>>,
    parent: String,
}

#[derive(Serialize, utoipa::ToSchema, PartialEq, Eq, PartialOrd, Ord)]
struct Item {
    name: String,
    is_dir: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    size: Option<u64>,
}

/// A folder of this machine: folders first, each part by name; names that begin with a dot are left out.
#[utoipa::path(get, path = "/api/fs/browse", tag = "settings", params(Where), responses((status = 200, body = Folder), (status = 400)))]
pub(crate) async fn browse(Query(asked): Query<Where>) -> Response {
    let listed = tokio::task::spawn_blocking(move || {
        let dir = if asked.dir.is_empty() {
            home()
        } else {
            PathBuf::from(&asked.dir)
        };
        look(&dir)
    });
    match listed.await {
        Ok(Ok(folder)) => json(StatusCode::OK, &folder),
        _ => error(StatusCode::BAD_REQUEST, "cannot read directory"),
    }
}

fn home() -> PathBuf {
    std::env::var_os("HOME")
        .or_else(|| std::env::var_os("USERPROFILE"))
        .map_or_else(|| PathBuf::from("/"), PathBuf::from)
}

fn look(dir: &Path) -> std::io::Result<Folder> {
    let dir = std::path::absolute(dir)?;
    let (mut folders, mut others) = (Vec::new(), Vec::new());
    for entry in std::fs::read_dir(&dir)?.flatten().take(MAX_ENTRIES) {
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.starts_with('.') {
            continue;
        }
        // Links are shown as what they are, not as what they point to.
        let Ok(meta) = entry.metadata() else { continue };
        let size = Some(meta.len()).filter(|size| *size > 0 && !meta.is_dir());
        let item = Item {
            name,
            is_dir: meta.is_dir(),
            size,
        };
        if item.is_dir {
            folders.push(item)
        } else {
            others.push(item)
        }
    }
    folders.sort();
    others.sort();
    folders.extend(others);
    let parent = dir.parent().unwrap_or(&dir).to_string_lossy().into_owned();
    Ok(Folder {
        entries: (!folders.is_empty()).then_some(folders),
        parent,
        dir: dir.to_string_lossy().into_owned(),
    })
}

#[derive(Deserialize, Default, utoipa::ToSchema)]
#[serde(default)]
pub(crate) struct Split {
    key: String,
    /// Percent.
    value: f64,
}

/// Remembers where a divider stands.
#[utoipa::path(post, path = "/api/split-prefs", tag = "settings", request_body = Split, responses((status = 200), (status = 400)))]
pub(crate) async fn set_split(State(base): State<Base>, body: Bytes) -> Response {
    let split: Split = match parse(&body) {
        Ok(split) => split,
        Err(text) => return error(StatusCode::BAD_REQUEST, &text),
    };
    if split.key.is_empty() || split.key.len() > MAX_KEY {
        return error(StatusCode::BAD_REQUEST, "missing key");
    }
    if !(0.0..=100.0).contains(&split.value) {
        return error(StatusCode::BAD_REQUEST, "value must be 0-100");
    }
    let file = base.desk.folder.join("split-prefs.json");
    let _turn = base.splits.lock().await;
    let saved = tokio::task::spawn_blocking(move || {
        let mut splits = splits(&file);
        if splits.len() >= MAX_SPLITS && !splits.contains_key(&split.key) {
            splits.pop_first();
        }
        splits.insert(split.key, split.value);
        let object: Map<String, Value> = splits
            .into_iter()
            .map(|(key, value)| (key, number(value)))
            .collect();
        files::replace(
            &file,
            serde_json::to_string_pretty(&object)?.as_bytes(),
            Privacy::Secret,
        )
    });
    match saved.await {
        Ok(Ok(())) => json(StatusCode::OK, &serde_json::json!({ "status": "ok" })),
        Ok(Err(failure)) => error(
            StatusCode::INTERNAL_SERVER_ERROR,
            &format!("failed to save: {failure}"),
        ),
        Err(_) => error(StatusCode::INTERNAL_SERVER_ERROR, "failed to save"),
    }
}

/// 40 rather than 40.0, as Go writes it.
fn number(value: f64) -> Value {
    #[expect(clippy::cast_possible_truncation, reason = "between 0 and 100")]
    let whole = value as i64;
    #[expect(clippy::cast_precision_loss, reason = "between 0 and 100")]
    if (whole as f64 - value).abs() < f64::EPSILON {
        whole.into()
    } else {
        value.into()
    }
}

/// What is remembered. A file that is no object of numbers counts as empty (peer-directory.md).
pub(crate) fn splits(file: &Path) -> BTreeMap<String, f64> {
    let text = std::fs::read(file).unwrap_or_default();
    serde_json::from_slice(&text).unwrap_or_default()
}
