//! Circuits as a value: when one is tried, and when not.

#![allow(clippy::unwrap_used)]

use std::time::{Duration, Instant};

use goop_net::address::Circuit;
use goop_net::fallback::{Fallback, HEAD_START, MAX_PEERS};
use goop_net::{Multiaddr, PeerId};

fn circuit() -> Circuit {
    Circuit {
        relay_addr: "/ip4/203.0.113.7/tcp/4001".parse::<Multiaddr>().unwrap(),
        relay: PeerId::random(),
        target: None,
    }
}

fn start() -> (Fallback, PeerId, Instant) {
    (Fallback::new(), PeerId::random(), Instant::now())
}

#[test]
fn nobody_is_reached_through_a_relay_unless_somebody_needs_it() {
    let (mut fallback, peer, now) = start();
    fallback.learn(peer, vec![circuit()], now);
    assert_eq!(fallback.next_wake(), None);
    assert_eq!(fallback.next_due(now + Duration::from_secs(999)), None);
}

#[test]
fn a_direct_dial_gets_a_head_start() {
    let (mut fallback, peer, now) = start();
    fallback.learn(peer, vec![circuit()], now);
    fallback.want(peer, true, now);
    assert_eq!(
        fallback.next_due(now + HEAD_START - Duration::from_millis(1)),
        None
    );
    assert_eq!(fallback.next_due(now + HEAD_START), Some(peer));
    assert!(fallback.is_under_way(&peer));
}

#[test]
fn without_a_direct_dial_or_after_it_failed_there_is_nothing_to_wait_for() {
    let (mut fallback, peer, now) = start();
    fallback.want(peer, false, now);
    assert_eq!(fallback.next_due(now), Some(peer));
    let other = PeerId::random();
    fallback.want(other, true, now);
    fallback.direct_failed(&other, now);
    assert_eq!(fallback.next_due(now), Some(other));
}

#[test]
fn a_direct_connection_makes_it_needless() {
    let (mut fallback, peer, now) = start();
    fallback.want(peer, true, now);
    fallback.direct_connected(&peer);
    assert_eq!(fallback.next_wake(), None);
    assert!(!fallback.is_under_way(&peer));
}

#[test]
fn who_is_needed_by_many_is_dialled_once() {
    let (mut fallback, peer, now) = start();
    fallback.want(peer, false, now);
    fallback.want(peer, false, now);
    assert_eq!(fallback.next_due(now), Some(peer));
    fallback.want(peer, false, now);
    assert_eq!(fallback.next_due(now), None);
    fallback.connected(peer, now);
    fallback.want(peer, false, now);
    assert_eq!(fallback.next_due(now), None);
    fallback.disconnected(&peer);
    fallback.want(peer, false, now);
    assert_eq!(fallback.next_due(now), Some(peer));
}

#[test]
fn failures_make_the_next_one_wait_and_a_new_way_ends_that() {
    let (mut fallback, peer, now) = start();
    let mut at = now;
    let mut pauses = Vec::new();
    fallback.want(peer, false, at);
    for _ in 0..6 {
        assert_eq!(fallback.next_due(at), Some(peer));
        fallback.failed(&peer, at);
        fallback.want(peer, false, at);
        let next = fallback.next_wake().unwrap();
        pauses.push((next - at).as_secs());
        at = next;
    }
    assert_eq!(pauses, [1, 2, 4, 8, 8, 8]);
    assert_eq!(fallback.next_due(at), Some(peer));
    fallback.failed(&peer, at);
    fallback.learn(peer, vec![circuit()], at);
    fallback.want(peer, false, at);
    assert_eq!(fallback.next_due(at), Some(peer));
}

#[test]
fn the_newest_record_is_the_whole_truth() {
    let (mut fallback, peer, now) = start();
    let (first, second) = (circuit(), circuit());
    fallback.learn(peer, vec![first], now);
    fallback.learn(peer, vec![second.clone()], now);
    assert_eq!(fallback.circuits(&peer), [second]);
    fallback.learn(peer, Vec::new(), now);
    assert_eq!(fallback.circuits(&peer), []);
}

#[test]
fn who_left_is_forgotten() {
    let (mut fallback, peer, now) = start();
    fallback.learn(peer, vec![circuit()], now);
    fallback.want(peer, true, now);
    fallback.forget(&peer);
    assert!(fallback.is_empty());
    assert_eq!(fallback.next_wake(), None);
    // Not while it is connected; that ends by itself.
    fallback.connected(peer, now);
    fallback.forget(&peer);
    assert_eq!(fallback.len(), 1);
}

#[test]
fn strangers_are_bounded() {
    let (mut fallback, _, now) = start();
    let needed = PeerId::random();
    fallback.want(needed, true, now);
    for number in 0..MAX_PEERS + 10 {
        let later = now + Duration::from_millis(number as u64);
        fallback.learn(PeerId::random(), vec![circuit()], later);
    }
    assert_eq!(fallback.len(), MAX_PEERS);
    assert!(fallback.is_under_way(&needed));
}
