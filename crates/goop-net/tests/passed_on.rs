//! Records that a rendezvous passed on: which of them count, and what follows.

#![allow(clippy::unwrap_used)]

mod support;

use std::time::{Duration, Instant};

use goop_identity::Keypair;
use goop_identity::presence::{PresenceKind, PresenceMessage};
use goop_net::presence::{Gate, Refused};
use goop_net::{Net, PeerId, Router};
use support::{config, connect, eventually, row, start, stop};

fn record(kind: PresenceKind, peer: PeerId) -> PresenceMessage {
    PresenceMessage::new(kind, peer, 1)
}

fn signed(keypair: &Keypair) -> PresenceMessage {
    let mut record = record(PresenceKind::Update, keypair.public().to_peer_id());
    record.content = "Bob".to_owned();
    record.sign(keypair).unwrap();
    record
}

#[track_caller]
fn check(message: PresenceMessage, signed_before: bool, expected: Result<(), Refused>) {
    let (me, now) = (PeerId::random(), Instant::now());
    let admitted = Gate::new(me, now).admit_passed_on(message, signed_before, now);
    assert_eq!(admitted.map(|_| ()), expected);
}

#[test]
fn who_never_signed_is_believed_without_and_who_did_is_not() {
    let bob = Keypair::generate_ed25519();
    let unsigned = record(PresenceKind::Update, bob.public().to_peer_id());
    check(unsigned.clone(), false, Ok(()));
    check(unsigned, true, Err(Refused::Unsigned));
    check(signed(&bob), false, Ok(()));
    check(signed(&bob), true, Ok(()));
}

#[test]
fn a_record_that_was_changed_on_the_way_is_none() {
    let bob = Keypair::generate_ed25519();
    let mut changed = signed(&bob);
    changed.public_key = "c29tZWJvZHkgZWxzZQ==".to_owned();
    check(changed, false, Err(Refused::Forged));
    let mut of_another = signed(&bob);
    of_another.peer = PeerId::random();
    check(of_another, false, Err(Refused::Forged));
    // What a rendezvous adds of its own accord.
    let mut vouched = signed(&bob);
    vouched.verified = true;
    check(vouched, true, Ok(()));
}

#[test]
fn that_somebody_left_is_the_servers_word() {
    check(
        record(PresenceKind::Offline, PeerId::random()),
        true,
        Ok(()),
    );
}

#[test]
fn hints_for_others_and_records_of_our_own_are_not_for_us() {
    let (me, other, now) = (PeerId::random(), PeerId::random(), Instant::now());
    let mut gate = Gate::new(me, now);
    let mut hint = record(PresenceKind::Punch, other);
    assert_eq!(
        gate.admit_passed_on(hint.clone(), false, now),
        Err(Refused::NotForUs)
    );
    hint.target = Some(other);
    assert_eq!(
        gate.admit_passed_on(hint.clone(), false, now),
        Err(Refused::NotForUs)
    );
    hint.target = Some(me);
    assert!(gate.admit_passed_on(hint, true, now).is_ok());
    let own = record(PresenceKind::Online, me);
    assert_eq!(gate.admit_passed_on(own, false, now), Err(Refused::Own));
}

#[test]
fn nobody_is_spoken_of_without_end() {
    let (peer, now) = (PeerId::random(), Instant::now());
    let mut gate = Gate::new(PeerId::random(), now);
    let mut admitted = |now| {
        let message = record(PresenceKind::Update, peer);
        gate.admit_passed_on(message, false, now).is_ok()
    };
    let at_once = (0..1_000).filter(|_| admitted(now)).count();
    assert!((50..500).contains(&at_once), "{at_once}");
    assert!(admitted(now + Duration::from_secs(60)), "it is forgiven");
}

async fn host(name: &'static str) -> Net {
    start(config(), Router::new(), name).await
}

/// What a server would pass on of a peer.
fn of(net: &Net, kind: PresenceKind) -> PresenceMessage {
    let mut message = record(kind, net.local_peer_id());
    message.content = "Bob".to_owned();
    message.addrs = net.listen_addrs().iter().map(ToString::to_string).collect();
    message
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_is_heard_of_is_listed_dialled_and_asked() {
    let (a, b) = (host("A").await, host("B").await);
    let mut message = of(&b, PresenceKind::Online);
    message.verified = true;
    a.heard_from_rendezvous(message).await;
    row(&a, b.local_peer_id(), "Bob", |row| {
        row.content == "Bob" && row.verified && row.reachable
    })
    .await;
    // It says itself that nobody vouches for it; that is the server's to say.
    stop([a, b]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hint_says_where_to_dial_and_makes_nobody_known() {
    let (a, b) = (host("A").await, host("B").await);
    let mut hint = of(&b, PresenceKind::Punch);
    hint.target = Some(a.local_peer_id());
    a.heard_from_rendezvous(hint).await;
    eventually("a connection", || a.is_connected(&b.local_peer_id())).await;
    assert_eq!(a.peer(&b.local_peer_id()), None);
    // What it says of itself may come after the hint; it is there and reached at once.
    a.heard_from_rendezvous(of(&b, PresenceKind::Online)).await;
    row(&a, b.local_peer_id(), "listed and reached", |row| {
        row.reachable && row.offline_since.is_none()
    })
    .await;
    stop([a, b]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_lost_somebody_is_not_believed_against_a_connection() {
    let (a, b) = (host("A").await, host("B").await);
    a.heard_from_rendezvous(of(&b, PresenceKind::Online)).await;
    row(&a, b.local_peer_id(), "reachable", |row| row.reachable).await;
    a.heard_from_rendezvous(record(PresenceKind::Offline, b.local_peer_id()))
        .await;
    // All of that is done once the answer to this is there.
    a.probe_all().await;
    assert!(a.is_present(&b.local_peer_id()));
    stop([b.clone()]).await;
    eventually("no connection", || !a.is_connected(&b.local_peer_id())).await;
    a.heard_from_rendezvous(record(PresenceKind::Offline, b.local_peer_id()))
        .await;
    row(&a, b.local_peer_id(), "gone", |row| {
        row.offline_since.is_some()
    })
    .await;
    stop([a]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn our_own_record_is_for_a_rendezvous_too_and_has_no_secrets() {
    let (a, b) = (host("A").await, host("B").await);
    assert_eq!(*a.own_record().borrow(), None);
    a.go_online();
    let mut own = a.own_record();
    let first = own
        .wait_for(Option::is_some)
        .await
        .unwrap()
        .clone()
        .unwrap();
    assert_eq!(first.kind, PresenceKind::Online);
    assert_eq!(
        (first.content.as_str(), first.public_key.as_str()),
        ("A", "")
    );
    assert_eq!(first.verification_token, "");
    a.announce(support::profile("Anna"));
    let changed = own.wait_for(|own| own.as_ref().is_some_and(|own| own.content == "Anna"));
    support::within("a changed record", changed).await.unwrap();
    connect(&a, &b).await;
    a.say_offline().await;
    let left = own.wait_for(|own| {
        own.as_ref()
            .is_some_and(|own| own.kind == PresenceKind::Offline)
    });
    support::within("a farewell", left).await.unwrap();
    stop([a, b]).await;
}
