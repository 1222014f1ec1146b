//! Our client and our server, over real sockets on the loopback.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use std::sync::Arc;

use goop_identity::Keypair;
use goop_identity::presence::{PresenceKind, PresenceMessage};
use goop_rendezvous::client::{Client, ClientConfig, Contact, Heard};
use support::server::{Running, SOON, settings};
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;

struct Peer {
    keypair: Keypair,
    own: watch::Sender<Option<PresenceMessage>>,
    heard: mpsc::Receiver<Heard>,
    client: Client,
}

impl Peer {
    fn of(server: &Running, name: &str) -> Self {
        Self::with(server, name, Keypair::generate_ed25519())
    }

    fn with(server: &Running, name: &str, keypair: Keypair) -> Self {
        let mut record =
            PresenceMessage::new(PresenceKind::Update, keypair.public().to_peer_id(), 0);
        record.content = name.to_owned();
        record.addrs = vec![format!("/ip4/192.0.2.{}/tcp/4001", name.len())];
        let (own, seen) = watch::channel(Some(record));
        let (told, heard) = mpsc::channel(8);
        let signer = keypair.clone();
        let config = ClientConfig {
            server: format!("http://{}", server.addr),
            keypair: keypair.clone(),
            complete: Arc::new(move |mut record| {
                record.sign(&signer).unwrap();
                record
            }),
        };
        let client = Client::start(config, seen, told).unwrap();
        Self {
            keypair,
            own,
            heard,
            client,
        }
    }

    async fn until(&self, contact: Contact) {
        let mut state = self.client.state();
        let reached = state.wait_for(|state| state.contact == contact);
        timeout(SOON, reached).await.unwrap().unwrap();
    }

    async fn hear(&mut self, wanted: impl Fn(&PresenceMessage) -> bool) -> PresenceMessage {
        let search = async {
            loop {
                match self.heard.recv().await.unwrap() {
                    Heard::Record(record) if wanted(&record) => return *record,
                    _ => {}
                }
            }
        };
        timeout(SOON, search).await.unwrap()
    }

    fn id(&self) -> goop_identity::PeerId {
        self.keypair.public().to_peer_id()
    }
}

#[tokio::test]
async fn two_peers_meet_get_hints_and_part() {
    let server = Running::start(settings()).await;
    let mut ann = Peer::of(&server, "Ann");
    ann.until(Contact::Socket).await;
    let mut benno = Peer::of(&server, "Benno");
    let (ann_id, benno_id) = (ann.id(), benno.id());
    // The record and the hint come in any order.
    let (first, second) = (
        ann.hear(|record| record.peer == benno_id).await,
        ann.hear(|record| record.peer == benno_id).await,
    );
    let (hint, seen) = if first.kind == PresenceKind::Punch {
        (first, second)
    } else {
        (second, first)
    };
    assert!(seen.is_signed());
    assert_eq!(
        (hint.kind, hint.peer, hint.target),
        (PresenceKind::Punch, benno_id, Some(ann_id))
    );
    // Who comes later is told of who is there.
    benno
        .hear(|record| record.peer == ann_id && record.content == "Ann")
        .await;
    benno.own.send_replace(Some(PresenceMessage::new(
        PresenceKind::Offline,
        benno_id,
        0,
    )));
    benno.client.shutdown().await;
    ann.hear(|record| record.peer == benno_id && record.kind == PresenceKind::Offline)
        .await;
}

#[tokio::test]
async fn changes_in_quick_succession_all_count() {
    let server = Running::start(settings()).await;
    let mut ann = Peer::of(&server, "Ann");
    let benno = Peer::of(&server, "Benno");
    ann.until(Contact::Socket).await;
    benno.until(Contact::Socket).await;
    let id = benno.id();
    for round in 0..20 {
        let name = format!("Benno {round}");
        benno
            .own
            .send_modify(|record| record.as_mut().unwrap().content.clone_from(&name));
        // The server refuses a signed record that is not newer than the last.
        ann.hear(|record| record.peer == id && record.content == name)
            .await;
    }
}

#[tokio::test]
async fn a_second_program_with_the_same_key_takes_over_the_socket() {
    let server = Running::start(settings()).await;
    let first = Peer::of(&server, "Ann");
    first.until(Contact::Socket).await;
    let key = first.keypair.clone();
    drop(first);
    let second = Peer::with(&server, "Ann again", key);
    second.until(Contact::Socket).await;
}
