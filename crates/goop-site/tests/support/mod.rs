//! What several tests use: the recorded site, recorded streams, keys.
#![allow(dead_code, clippy::unwrap_used)]

#[path = "../../../goop-identity/tests/support/actors.rs"]
pub(crate) mod actors;

use std::fs;
use std::path::{Path, PathBuf};

use goop_site::Site;
use serde_json::Value;

pub(crate) fn fixture(path: &str) -> PathBuf {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../fixtures")).join(path)
}

pub(crate) fn lines(path: &str) -> Vec<Value> {
    fs::read_to_string(fixture(path))
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// Recorded bytes; `None` where only a part was kept.
pub(crate) fn bytes(value: &Value) -> Option<Vec<u8>> {
    if value["cut"] == true {
        return None;
    }
    match (value["text"].as_str(), value["hex"].as_str()) {
        (Some(text), _) => Some(text.as_bytes().to_vec()),
        (_, Some(digits)) => Some(hex::decode(digits).unwrap()),
        _ => None,
    }
}

/// A copy of Alice's recorded site, which a test may change.
pub(crate) fn alices_site() -> (tempfile::TempDir, Site) {
    let dir = tempfile::tempdir().unwrap();
    copy(&fixture("folders/alice/site"), dir.path());
    let site = Site::open(dir.path(), &[]).unwrap();
    (dir, site)
}

fn copy(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            fs::create_dir_all(&target).unwrap();
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}
