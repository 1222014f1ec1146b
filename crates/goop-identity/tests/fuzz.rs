//! Any bytes give a value or an error, never a panic.
#![allow(clippy::unwrap_used, missing_docs)]

use goop_identity::presence::PresenceMessage;
use goop_identity::seal::{self, NaclKeys};
use goop_identity::{avatar, config, key, label};

#[test]
fn fuzz_config() {
    bolero::check!().for_each(|bytes: &[u8]| {
        if let Ok((config, document)) = config::decode(bytes) {
            let (again, _) = config::decode(config::encode(&config, &document).as_bytes()).unwrap();
            assert_eq!(again, config);
        }
    });
}

#[test]
fn fuzz_presence() {
    bolero::check!().for_each(|bytes: &[u8]| {
        if let Ok(message) = PresenceMessage::from_json(bytes) {
            assert_eq!(PresenceMessage::from_json(&message.to_json()), Ok(message));
        }
    });
}

#[test]
fn fuzz_key() {
    bolero::check!().for_each(|bytes: &[u8]| drop(key::decode(bytes)));
}

#[test]
fn fuzz_sealed() {
    let keys = NaclKeys::generate();
    bolero::check!()
        .for_each(|bytes: &[u8]| assert!(seal::open(bytes, &keys.public, &keys.secret).is_err()));
}

#[test]
fn fuzz_labels_and_pictures() {
    bolero::check!().for_each(|bytes: &[u8]| {
        let text = String::from_utf8_lossy(bytes);
        if let Some(peer) = label::peer_of_label(&text) {
            assert_eq!(label::host_label(&peer), text);
        }
        let _ = (label::parse_peer_id(&text), avatar::sniff_image(bytes));
        let svg = avatar::initials_svg(&text, "");
        assert_eq!(svg.matches('<').count(), 5, "{svg}");
    });
}
