//! Any bytes give a value or an error, never a panic, and never more memory than came in.
#![allow(clippy::unwrap_used, missing_docs)]

use std::time::Instant;

use goop_identity::PeerId;
use goop_identity::seal::NaclKeys;
use goop_mq::identity::PeerIdentity;
use goop_mq::keys::{KeyBook, OpenError};
use goop_mq::topic::PeerTopic;
use goop_mq::wire::{Ack, Message, NoBudget, Payload, read_object};

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap()
}

#[test]
fn fuzz_mq_message() {
    bolero::check!().for_each(|bytes: &[u8]| {
        if let Ok(message) = Message::decode(bytes) {
            let again = Message::decode(&message.encode()).unwrap();
            assert_eq!((again.id, again.seq), (message.id, message.seq));
            let _ = message.payload.sealed();
        }
        let _ = Ack::decode(bytes);
    });
}

/// A message whose parts come from outside.
#[test]
fn fuzz_mq_parts() {
    bolero::check!()
        .with_type::<(String, i64, String, String)>()
        .for_each(|(id, seq, topic, payload)| {
            let quoted = |text: &str| serde_json::to_string(text).unwrap();
            let bytes = format!(
                "{{\"type\":\"msg\",\"id\":{},\"seq\":{seq},\"topic\":{},\"payload\":{}}}",
                quoted(id),
                quoted(topic),
                quoted(payload)
            );
            if let Ok(message) = Message::decode(bytes.as_bytes()) {
                assert_eq!((message.id.as_str(), &message.topic), (id.as_str(), topic));
                assert_eq!(message.payload.read::<String>().unwrap(), *payload);
            }
        });
}

#[test]
fn fuzz_mq_object() {
    let runtime = runtime();
    bolero::check!().for_each(|mut bytes: &[u8]| {
        let all = bytes.len();
        if let Ok(object) = runtime.block_on(read_object(&mut bytes, 1_000, &mut NoBudget)) {
            assert!(object.len() <= all && object.len() <= 1_000);
        }
    });
}

#[test]
fn fuzz_mq_topic() {
    bolero::check!().with_type::<String>().for_each(|text| {
        if let Ok(topic) = PeerTopic::parse(text) {
            assert_eq!(topic.to_string(), *text);
            let _ = (topic.lane(), topic.sender(), topic.entry());
        }
    });
}

/// The file of keys, which a person or another program may have changed.
#[test]
fn fuzz_mq_keys() {
    bolero::check!().with_type::<String>().for_each(|text| {
        if let Ok(book) = KeyBook::restore(None, text) {
            assert!(KeyBook::restore(None, &book.save()).is_ok());
        }
    });
}

/// What somebody seals for us, and what a peer says of itself.
#[test]
fn fuzz_mq_sealed() {
    let mut book = KeyBook::new(Some(NaclKeys::generate()));
    let peer = PeerId::random();
    book.learn(peer, &NaclKeys::generate().public, true);
    bolero::check!().with_type::<String>().for_each(|text| {
        let opened = book.open(peer, text, None, Instant::now());
        assert_eq!(opened, Err(OpenError::WrongKey));
        if let Ok(identity) = serde_json::from_str::<PeerIdentity>(text) {
            let _ = identity.is_valid();
        }
    });
}

#[test]
fn fuzz_mq_payload() {
    bolero::check!().with_type::<String>().for_each(|text| {
        if let Ok(payload) = Payload::parse(text.clone()) {
            assert_eq!(payload.as_str(), text.trim());
        }
    });
}
