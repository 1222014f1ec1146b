//! Who was recorded, with their keys. Tests of several crates include this file.

use std::fs;

use goop_identity::PeerId;
use goop_identity::label::parse_peer_id;
use goop_identity::seal::{self, Keyring, NaclKeys, NaclPublic};
use serde_json::Value;

const ACTORS: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../../fixtures/wire/identity/keys.json"
);

/// A recorded actor.
pub(crate) struct Actor {
    pub(crate) peer: PeerId,
    pub(crate) nacl: Option<NaclKeys>,
}

pub(crate) fn actor(name: &str) -> Actor {
    let all: Vec<Value> = serde_json::from_slice(&fs::read(ACTORS).unwrap()).unwrap();
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
