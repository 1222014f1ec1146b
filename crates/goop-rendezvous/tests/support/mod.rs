//! What the tests say and read.
#![allow(clippy::unwrap_used, dead_code, unreachable_pub, missing_docs)]

use std::time::{Duration, Instant};

use bytes::Bytes;
use goop_identity::Keypair;
use goop_identity::presence::{PresenceKind, PresenceMessage};
use goop_rendezvous::state::{Action, Batch, Incoming, Now};
use goop_rendezvous::wire::Publication;

pub mod relay;
pub mod server;

/// A clock that a test moves.
pub struct Clock {
    now: Now,
}

impl Clock {
    pub fn start() -> Self {
        Self {
            now: Now {
                at: Instant::now(),
                ms: 1_760_000_000_000,
            },
        }
    }

    pub fn now(&self) -> Now {
        self.now
    }

    pub fn pass(&mut self, time: Duration) {
        self.now.at += time;
        self.now.ms += time.as_millis() as i64;
    }
}

pub fn addr(n: usize) -> String {
    format!("/ip4/10.{}.{}.1/tcp/4001", n / 256, n % 256)
}

pub fn online(keypair: &Keypair, name: &str, addrs: &[&str]) -> PresenceMessage {
    let mut record = PresenceMessage::new(PresenceKind::Online, keypair.public().to_peer_id(), 1);
    record.content = name.to_owned();
    record.addrs = addrs.iter().map(|addr| (*addr).to_owned()).collect();
    record
}

pub fn offline(keypair: &Keypair, ts: i64) -> PresenceMessage {
    PresenceMessage::new(PresenceKind::Offline, keypair.public().to_peer_id(), ts)
}

pub fn unsigned(record: PresenceMessage) -> Incoming {
    Incoming {
        publication: Publication::new(record),
        signed: false,
        verified: true,
    }
}

pub fn signed(keypair: &Keypair, mut record: PresenceMessage, ts: i64) -> Incoming {
    record.ts = ts;
    record.sign(keypair).unwrap();
    Incoming {
        signed: record.is_signed(),
        publication: Publication::new(record),
        verified: true,
    }
}

pub fn said(actions: &[Action]) -> Vec<Batch> {
    let batches = actions.iter().filter_map(|action| match action {
        Action::Frames(batch) => Some(batch.clone()),
        _ => None,
    });
    batches.collect()
}

fn field(frame: &Bytes, name: &str) -> String {
    let frame: serde_json::Value = serde_json::from_slice(frame).unwrap();
    frame[name].as_str().unwrap().to_owned()
}

pub fn kind_of(frame: &Bytes) -> String {
    field(frame, "type")
}

pub fn peer_of(frame: &Bytes) -> String {
    field(frame, "peerId")
}
