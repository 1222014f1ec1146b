//! What several tests use: the recorded site, recorded streams, keys.
#![allow(dead_code, clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};

use goop_identity::PeerId;
use goop_identity::label::parse_peer_id;
use goop_identity::seal::{self, NaclKeys, NaclPublic};
use goop_site::{Keyring, Site};
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

/// A recorded actor.
pub(crate) struct Actor {
    pub(crate) peer: PeerId,
    pub(crate) nacl: Option<NaclKeys>,
}

pub(crate) fn actor(name: &str) -> Actor {
    let all: Vec<Value> =
        serde_json::from_slice(&fs::read(fixture("wire/identity/keys.json")).unwrap()).unwrap();
    let found = all.iter().find(|actor| actor["name"] == name).unwrap();
    Actor {
        peer: parse_peer_id(found["peer_id"].as_str().unwrap()).unwrap(),
        nacl: found["nacl_private_key"]
            .as_str()
            .map(|secret| NaclKeys::from_base64(secret).unwrap()),
    }
}

/// One side's keys towards one other side.
pub(crate) struct Pair {
    pub(crate) own: NaclKeys,
    pub(crate) other: NaclPublic,
    /// Whether to seal, not only to open.
    pub(crate) seals: bool,
}

impl Keyring for Pair {
    fn seal_for(&self, _: &PeerId, plain: &[u8]) -> Option<String> {
        self.seals
            .then(|| seal::seal(plain, &self.own.secret, &self.other))
    }
    fn open_from(&self, _: &PeerId, text: &[u8]) -> Option<Vec<u8>> {
        seal::open(text, &self.other, &self.own.secret).ok()
    }
}

pub(crate) fn pair(own: &str, other: &str, seals: bool) -> Pair {
    Pair {
        own: actor(own).nacl.unwrap(),
        other: actor(other).nacl.unwrap().public,
        seals,
    }
}
