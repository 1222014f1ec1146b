//! Who sees whom: presence over real hosts on this machine, with discovery by hand.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use std::time::{Duration, Instant};

use goop_identity::Keypair;
use goop_net::{FavoriteError, Net, NetConfig, PeerEvent, PeerId, Router};
use support::{
    config, config_of, connect, eventually, introduce, profile, row, start, stop, within,
};

/// Long enough that no heartbeat comes to the rescue.
const NEVER: Duration = Duration::from_secs(3_600);

async fn online(config: NetConfig, name: &'static str) -> Net {
    let net = start(config, Router::new(), name).await;
    net.go_online();
    net
}

fn without_heartbeat() -> NetConfig {
    NetConfig {
        heartbeat: NEVER,
        ttl: NEVER,
        ..config()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_peers_see_each_other_as_soon_as_they_are_connected() {
    let (a, b) = (
        online(without_heartbeat(), "Alice").await,
        online(without_heartbeat(), "Bob").await,
    );
    let begun = Instant::now();
    introduce(&a, &b).await;
    let shown =
        |name: &'static str| move |row: &goop_net::PeerRow| row.content == name && row.reachable;
    tokio::join!(
        row(&a, b.local_peer_id(), "Bob at Alice's", shown("Bob")),
        row(&b, a.local_peer_id(), "Alice at Bob's", shown("Alice")),
    );
    assert!(
        begun.elapsed() < Duration::from_secs(2),
        "{:?}",
        begun.elapsed()
    );
    let bob = a.peer(&b.local_peer_id()).unwrap();
    assert_eq!(
        (
            bob.offline_since,
            bob.goop_client_version.as_str(),
            bob.favorite
        ),
        (None, "1.2.3", false)
    );
    assert!(a.is_present(&b.local_peer_id()));
    stop([a, b]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn everybody_sees_everybody_without_waiting_for_a_heartbeat() {
    let names = ["A", "B", "C", "D", "E", "F"];
    let nets = futures::future::join_all(names.map(|name| online(without_heartbeat(), name))).await;
    for a in &nets {
        for b in &nets {
            introduce(a, b).await;
        }
    }
    for a in &nets {
        for (b, name) in nets
            .iter()
            .zip(names)
            .filter(|(b, _)| b.local_peer_id() != a.local_peer_id())
        {
            row(a, b.local_peer_id(), name, |row| {
                row.content == name && row.reachable
            })
            .await;
        }
    }
    stop(nets).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_reaches_peers_that_are_only_connected_through_another() {
    let (a, b, c) = (
        online(config(), "A").await,
        online(config(), "B").await,
        online(config(), "C").await,
    );
    connect(&a, &b).await;
    connect(&b, &c).await;
    row(&a, c.local_peer_id(), "C at A's", |row| row.content == "C").await;
    // The record says where C is, so A goes there.
    eventually("a connection", || a.is_connected(&c.local_peer_id())).await;
    stop([a, b, c]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_profile_is_told_at_once() {
    let (a, b) = (
        online(without_heartbeat(), "A").await,
        online(without_heartbeat(), "B").await,
    );
    connect(&a, &b).await;
    row(&a, b.local_peer_id(), "B", |row| row.content == "B").await;
    b.announce(goop_net::LocalProfile {
        video_disabled: true,
        email: "b@example.org".to_owned(),
        ..profile("Bea")
    });
    row(&a, b.local_peer_id(), "Bea", |row| {
        row.content == "Bea" && row.video_disabled
    })
    .await;
    stop([a, b]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_told_before_going_online() {
    let (a, b) = (
        online(config(), "A").await,
        start(config(), Router::new(), "B").await,
    );
    connect(&a, &b).await;
    row(&b, a.local_peer_id(), "A", |row| row.content == "A").await;
    assert_eq!(a.peer(&b.local_peer_id()), None);
    b.go_online();
    row(&a, b.local_peer_id(), "B", |row| row.content == "B").await;
    stop([a, b]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_polite_end_is_seen_at_once() {
    let (a, b) = (
        online(without_heartbeat(), "A").await,
        online(without_heartbeat(), "B").await,
    );
    connect(&a, &b).await;
    row(&a, b.local_peer_id(), "B", |row| row.content == "B").await;
    let mut events = a.events();
    let begun = Instant::now();
    let (gone, ()) = tokio::join!(
        row(&a, b.local_peer_id(), "B gone", |row| row
            .offline_since
            .is_some()),
        b.shutdown(Duration::from_secs(2)),
    );
    let () = gone;
    assert!(
        begun.elapsed() < Duration::from_secs(2),
        "{:?}",
        begun.elapsed()
    );
    let event = within("an event", async {
        loop {
            match events.recv().await.unwrap() {
                PeerEvent::Changed(row) if row.offline_since.is_some() => break row.id,
                _ => {}
            }
        }
    });
    assert_eq!(event.await, b.local_peer_id());
    assert!(!a.is_present(&b.local_peer_id()));
    stop([a]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn saying_offline_is_not_leaving() {
    let heartbeat = Duration::from_millis(300);
    let (a, b) = (
        online(config(), "A").await,
        online(
            NetConfig {
                heartbeat,
                ..config()
            },
            "B",
        )
        .await,
    );
    connect(&a, &b).await;
    row(&a, b.local_peer_id(), "B", |row| {
        row.offline_since.is_none()
    })
    .await;
    b.say_offline().await;
    row(&a, b.local_peer_id(), "B offline", |row| {
        row.offline_since.is_some()
    })
    .await;
    row(&a, b.local_peer_id(), "B online", |row| {
        row.offline_since.is_none() && row.reachable
    })
    .await;
    stop([a, b]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_is_silent_too_long_is_offline_and_later_forgotten() {
    let short = NetConfig {
        ttl: Duration::from_millis(300),
        grace: Duration::from_millis(300),
        ..config()
    };
    let (a, b) = (
        online(short, "A").await,
        online(without_heartbeat(), "B").await,
    );
    connect(&a, &b).await;
    row(&a, b.local_peer_id(), "B", |row| row.content == "B").await;
    row(&a, b.local_peer_id(), "B offline", |row| {
        row.offline_since.is_some()
    })
    .await;
    eventually("forgetting", || a.peer(&b.local_peer_id()).is_none()).await;
    stop([a, b]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_vanishes_is_found_out() {
    let a = online(
        NetConfig {
            ttl: NEVER,
            ..config()
        },
        "A",
    )
    .await;
    let b = online(config(), "B").await;
    connect(&a, &b).await;
    row(&a, b.local_peer_id(), "B", |row| {
        row.content == "B" && row.reachable
    })
    .await;
    let gone = b.local_peer_id();
    // Without shutdown: the connection breaks and nobody says why.
    drop(b);
    row(&a, gone, "B away", |row| !row.reachable).await;
    assert!(!a.probe(gone).await);
    stop([a]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_comes_back_elsewhere_is_reachable_again() {
    let key = Keypair::generate_ed25519();
    let a = online(config(), "A").await;
    let first = online(config_of(&key), "B").await;
    connect(&a, &first).await;
    let peer = first.local_peer_id();
    row(&a, peer, "B", |row| row.content == "B" && row.reachable).await;
    let before = first.listen_addrs();
    drop(first);
    row(&a, peer, "B away", |row| !row.reachable).await;
    let second = online(config_of(&key), "B2").await;
    assert_ne!(second.listen_addrs(), before);
    // This time it is B that knows where A is.
    introduce(&second, &a).await;
    row(&a, peer, "B back", |row| {
        row.content == "B2" && row.reachable
    })
    .await;
    assert!(a.probe(peer).await);
    assert_eq!(a.fetch_label(peer).await, Ok("B2".to_owned()));
    stop([a, second]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn probing_everybody_updates_the_table() {
    let (a, b, c) = (
        online(
            NetConfig {
                ttl: NEVER,
                ..config()
            },
            "A",
        )
        .await,
        online(config(), "B").await,
        online(config(), "C").await,
    );
    connect(&a, &b).await;
    connect(&a, &c).await;
    row(&a, b.local_peer_id(), "B", |row| row.reachable).await;
    row(&a, c.local_peer_id(), "C", |row| row.reachable).await;
    a.probe_all().await;
    assert!(a.peers().iter().all(|row| row.reachable));
    assert!(!a.probe(PeerId::random()).await);
    stop([a, b, c]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn peers_and_favourites_are_known_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let key = Keypair::generate_ed25519();
    let kept = || NetConfig {
        peer_file: Some(folder.path().join("data/peers.json")),
        ..config_of(&key)
    };
    let (a, b) = (online(kept(), "A").await, online(config(), "B").await);
    let peer = b.local_peer_id();
    assert_eq!(
        a.set_favorite(peer, true).await,
        Err(FavoriteError::UnknownPeer)
    );
    connect(&a, &b).await;
    row(&a, peer, "B", |row| {
        row.content == "B" && !row.addrs.is_empty()
    })
    .await;
    assert_eq!(a.set_favorite(peer, true).await, Ok(()));
    // Killed right after: it was said to be on disk.
    let saved = std::fs::read_to_string(folder.path().join("data/peers.json")).unwrap();
    assert!(saved.contains(&peer.to_base58()));
    drop(a);
    let again = online(kept(), "A").await;
    let row_of_b = again.peer(&peer).unwrap();
    assert_eq!((row_of_b.content.as_str(), row_of_b.favorite), ("B", true));
    // Nobody introduces them: the address of the last run serves.
    row(&again, peer, "B again", |row| {
        row.reachable && row.offline_since.is_none()
    })
    .await;
    stop([again, b]).await;
}
