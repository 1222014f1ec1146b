//! What was recorded from the Go program decodes here, and what we encode is what it would.
#![allow(clippy::unwrap_used, missing_docs)]

use std::fs;
use std::path::PathBuf;

use goop_identity::config::{self, ConfigStore};
use goop_identity::folder::PeerFolder;
use goop_identity::label::{host_label, parse_peer_id, peer_of_label};
use goop_identity::presence::PresenceMessage;
use goop_identity::seal::{self, NaclKeys, NaclPublic};
use goop_identity::{Identity, key};
use serde_json::Value;

fn fixture(path: &str) -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../fixtures")).join(path)
}

fn keys() -> Vec<Value> {
    serde_json::from_slice(&fs::read(fixture("wire/identity/keys.json")).unwrap()).unwrap()
}

fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value[field].as_str().unwrap()
}

#[test]
fn key_files_peer_ids_and_nacl_pairs() {
    for actor in keys() {
        let bytes = hex::decode(text(&actor, "identity_key_file_hex")).unwrap();
        let keypair = key::decode(&bytes).unwrap();
        assert_eq!(key::encode(&keypair).unwrap(), bytes);
        let peer = keypair.public().to_peer_id();
        assert_eq!(peer.to_base58(), text(&actor, "peer_id"));
        assert_eq!(
            hex::encode(peer.to_bytes()),
            text(&actor, "peer_id_multihash_hex")
        );
        // The oldest form repeats the public key.
        let mut old = bytes.clone();
        old[3] = 96;
        old.extend_from_slice(&bytes[36..]);
        assert_eq!(key::decode(&old).unwrap().public(), keypair.public());
        old[99] ^= 1;
        assert!(
            key::decode(&old).is_err(),
            "two different copies of the public key"
        );
        // The made-up client has no NaCl pair.
        if let Some(secret) = actor["nacl_private_key"].as_str() {
            assert_eq!(
                NaclKeys::from_base64(secret).unwrap().public.to_base64(),
                text(&actor, "nacl_public_key")
            );
        }
        let label = host_label(&peer);
        assert!(label.len() <= 63 && label.starts_with("k51"), "{label}");
        assert_eq!(peer_of_label(&label), Some(peer));
        assert_eq!(peer_of_label(&label.to_uppercase()), None);
        assert_eq!(parse_peer_id(&label), Some(peer));
    }
}

#[test]
fn sealed_payloads_with_a_fixed_nonce() {
    let actors = keys();
    let of = |name: &Value| {
        actors
            .iter()
            .find(|actor| actor["name"] == *name)
            .unwrap()
            .clone()
    };
    let boxes: Vec<Value> = serde_json::from_slice(
        &fs::read(fixture("wire/identity/sealed-fixed-nonce.json")).unwrap(),
    )
    .unwrap();
    assert!(!boxes.is_empty());
    for sealed in boxes {
        let (from, to) = (of(&sealed["from"]), of(&sealed["to"]));
        let nonce: [u8; 24] = hex::decode(text(&sealed, "nonce_hex"))
            .unwrap()
            .try_into()
            .unwrap();
        let sender = NaclKeys::from_base64(text(&from, "nacl_private_key")).unwrap();
        let receiver = NaclKeys::from_base64(text(&to, "nacl_private_key")).unwrap();
        let public = NaclPublic::from_base64(text(&to, "nacl_public_key")).unwrap();
        let plain = text(&sealed, "plaintext").as_bytes();
        let expected = text(&sealed, "sealed_base64");
        assert_eq!(
            seal::seal_with_nonce(plain, &sender.secret, &public, nonce),
            expected
        );
        assert_eq!(
            seal::open(expected.as_bytes(), &sender.public, &receiver.secret).unwrap(),
            plain
        );
        assert!(
            seal::open(expected.as_bytes(), &receiver.public, &receiver.secret).is_err(),
            "the wrong sender"
        );
    }
}

#[test]
fn presence_records_of_gossip() {
    let mut seen = 0;
    for line in fs::read_to_string(fixture("wire/pubsub/frames.jsonl"))
        .unwrap()
        .lines()
    {
        let frame: Value = serde_json::from_str(line).unwrap();
        for message in frame["decoded"]["publish"].as_array().into_iter().flatten() {
            let data = text(message, "data");
            let record = PresenceMessage::from_json(data.as_bytes()).unwrap();
            assert_eq!(
                hex::encode(record.peer.to_bytes()),
                text(message, "from_hex")
            );
            assert_eq!(String::from_utf8(record.to_json()).unwrap(), data);
            seen += 1;
        }
    }
    assert_eq!(seen, 31, "every recorded record");
}

#[test]
fn recorded_folders_open_and_stay_as_they_are() {
    for (name, whole) in [
        ("alice", true),
        ("bob", true),
        ("old-app-type", false),
        ("old-group-type", false),
    ] {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("data")).unwrap();
        let original = fs::read_to_string(fixture("folders").join(name).join("goop.json")).unwrap();
        fs::write(dir.path().join("goop.json"), &original).unwrap();
        let key = fixture("folders").join(name).join("data/identity.key");
        fs::copy(&key, dir.path().join("data/identity.key")).unwrap();
        let folder = PeerFolder::open(dir.path()).unwrap();
        let identity = Identity::load(&folder).unwrap();
        assert!(identity.nacl.is_some(), "{name}");
        folder.config().update(|_| ()).unwrap();
        let now = fs::read_to_string(dir.path().join("goop.json")).unwrap();
        assert_eq!(
            now, original,
            "{name}: nothing changed, so nothing is written"
        );
        let (config, document) = config::decode(original.as_bytes()).unwrap();
        if whole {
            assert_eq!(config::encode(&config, &document), original, "{name}");
        }
        ConfigStore::open(&dir.path().join("goop.json")).unwrap();
    }
}
