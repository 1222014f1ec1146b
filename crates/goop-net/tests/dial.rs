//! The dial plan as a value: who is dialled where and when.
#![allow(clippy::unwrap_used, missing_docs)]

use std::time::{Duration, Instant};

use goop_net::dial::{DialPlan, MAX_ADDRS, MAX_DIALLING, MAX_PEERS};
use goop_net::{Multiaddr, PeerId};

const SECOND: Duration = Duration::from_secs(1);
const WANTED: Duration = Duration::from_secs(3_600);

fn addr(n: usize) -> Multiaddr {
    format!("/ip4/10.0.{}.{}/tcp/4001", n / 256, n % 256)
        .parse()
        .unwrap()
}

struct Bench {
    plan: DialPlan,
    now: Instant,
}

/// Two ids, the smaller one first.
fn pair() -> (PeerId, PeerId) {
    let (a, b) = (PeerId::random(), PeerId::random());
    (a.min(b), a.max(b))
}

impl Bench {
    fn of(me: PeerId) -> Self {
        Self {
            plan: DialPlan::seeded(me, 1),
            now: Instant::now(),
        }
    }

    fn new() -> (Self, PeerId) {
        let (me, other) = pair();
        (Self::of(me), other)
    }

    fn learn(&mut self, peer: PeerId, n: usize) {
        self.plan.learn(peer, vec![addr(n)], WANTED, self.now);
    }

    /// Lets time pass until somebody is due; how long that was.
    fn next(&mut self) -> (Duration, PeerId) {
        let start = self.now;
        self.now = self.plan.next_wake().unwrap().max(self.now);
        (self.now - start, self.plan.next_due(self.now).unwrap())
    }
}

#[test]
fn an_announced_peer_is_dialled_at_once_and_once() {
    let (mut bench, bob) = Bench::new();
    bench.learn(bob, 1);
    assert_eq!(bench.next(), (Duration::ZERO, bob));
    bench.learn(bob, 1);
    assert_eq!(bench.plan.next_due(bench.now + SECOND), None);
    bench.plan.connected(&bob, Some(addr(1)));
    bench.learn(bob, 2);
    assert_eq!(bench.plan.next_wake(), None);
}

#[test]
fn the_larger_id_lets_the_smaller_one_go_first() {
    let (other, me) = pair();
    let mut bench = Bench::of(me);
    bench.learn(other, 1);
    let (pause, _) = bench.next();
    assert!(pause > Duration::ZERO && pause < SECOND / 5, "{pause:?}");
}

#[test]
fn pauses_grow_and_end_when_nobody_says_that_the_peer_is_there() {
    let (mut bench, bob) = Bench::new();
    bench.learn(bob, 1);
    bench.next();
    let mut pauses = Vec::new();
    while bench.plan.next_wake().is_some() || bench.plan.is_dialling(&bob) {
        bench.plan.failed(&bob, bench.now);
        if bench.plan.next_wake().is_none() {
            break;
        }
        pauses.push(bench.next().0);
    }
    assert!(pauses[0] < SECOND, "{pauses:?}");
    assert!(
        pauses.windows(2).take(5).all(|pair| pair[0] < pair[1]),
        "{pauses:?}"
    );
    assert!(pauses.iter().all(|pause| *pause <= 75 * SECOND));
    assert!(pauses.iter().sum::<Duration>() <= WANTED);
}

#[test]
fn a_new_address_ends_a_long_pause() {
    let (mut bench, bob) = Bench::new();
    bench.learn(bob, 1);
    bench.next();
    for _ in 0..8 {
        bench.plan.failed(&bob, bench.now);
        bench.next();
    }
    bench.plan.failed(&bob, bench.now);
    bench.now += 6 * SECOND;
    assert!(bench.plan.next_wake().unwrap() > bench.now + 10 * SECOND);
    bench.learn(bob, 2);
    assert_eq!(bench.next(), (Duration::ZERO, bob));
    assert_eq!(bench.plan.addrs(&bob), [addr(2), addr(1)]);
}

/// A stranger could make us knock at doors of its choice.
#[test]
fn ever_new_addresses_do_not_make_us_dial_ever_faster() {
    let (mut bench, bob) = Bench::new();
    bench.learn(bob, 0);
    let start = bench.now;
    let mut dials = 0;
    for n in 1..6_000 {
        bench.now = start + n * SECOND / 100;
        bench.learn(bob, n as usize);
        if bench.plan.next_due(bench.now).is_some() {
            dials += 1;
            bench.plan.failed(&bob, bench.now);
        }
    }
    assert!(dials <= 24, "{dials} dials in a minute");
    assert_eq!(bench.plan.addrs(&bob).len(), MAX_ADDRS);
}

#[test]
fn an_address_that_worked_is_not_pushed_out_by_rumours() {
    let (mut bench, bob) = Bench::new();
    bench.learn(bob, 7);
    bench.next();
    bench.plan.connected(&bob, Some(addr(7)));
    for n in 100..200 {
        bench.learn(bob, n);
    }
    assert_eq!(bench.plan.addrs(&bob)[..2], [addr(7), addr(199)]);
    bench.plan.disconnected(&bob, bench.now);
    assert!(bench.next().0 <= SECOND);
}

#[test]
fn who_left_is_not_dialled() {
    let (mut bench, bob) = Bench::new();
    bench.learn(bob, 1);
    bench.plan.forget(&bob);
    assert_eq!(bench.plan.next_wake(), None);
    bench.learn(bob, 1);
    bench.next();
    bench.plan.connected(&bob, None);
    bench.plan.forget(&bob);
    bench.plan.disconnected(&bob, bench.now);
    assert_eq!(
        bench.plan.next_wake(),
        None,
        "its connection ended after its goodbye"
    );
}

#[test]
fn somebody_who_needs_a_peer_does_not_wait_for_the_pause() {
    let (mut bench, bob) = Bench::new();
    assert!(!bench.plan.take(&bob, bench.now), "nobody knows where");
    bench.learn(bob, 1);
    bench.next();
    bench.plan.failed(&bob, bench.now);
    assert!(bench.plan.take(&bob, bench.now));
    assert!(!bench.plan.take(&bob, bench.now), "under way");
}

#[test]
fn we_do_not_dial_ourselves_nor_nowhere() {
    let me = PeerId::random();
    let mut bench = Bench::of(me);
    bench.learn(me, 1);
    bench
        .plan
        .learn(PeerId::random(), Vec::new(), WANTED, bench.now);
    assert!(bench.plan.is_empty());
}

#[test]
fn only_so_many_are_dialled_at_once() {
    let (mut bench, _) = Bench::new();
    for n in 0..1_000 {
        bench.learn(PeerId::random(), n);
    }
    let now = bench.now + SECOND;
    let dialled: Vec<PeerId> = std::iter::from_fn(|| bench.plan.next_due(now)).collect();
    assert_eq!(dialled.len(), MAX_DIALLING);
    assert_eq!(bench.plan.next_wake(), None);
    bench.plan.failed(&dialled[0], now);
    assert!(bench.plan.next_due(now).is_some());
}

#[test]
fn the_number_of_peers_is_bounded_and_those_in_use_stay() {
    let (mut bench, bob) = Bench::new();
    bench.learn(bob, 1);
    bench.next();
    bench.plan.connected(&bob, Some(addr(1)));
    for n in 0..MAX_PEERS + 50 {
        bench.now += Duration::from_millis(1);
        bench.learn(PeerId::random(), n);
    }
    assert_eq!(bench.plan.len(), MAX_PEERS);
    assert_eq!(bench.plan.addrs(&bob), [addr(1)]);
}

#[test]
fn a_peer_behind_a_relay_is_dialled_directly_ever_more_rarely() {
    let (mut bench, peer) = Bench::new();
    bench.learn(peer, 1);
    bench.next();
    bench.plan.set_relayed(&peer, true);
    let mut pause = Duration::ZERO;
    for _ in 0..15 {
        bench.plan.failed(&peer, bench.now);
        bench.plan.learn(peer, vec![addr(1)], WANTED, bench.now);
        pause = bench.next().0;
    }
    assert!(pause > 200 * SECOND && pause < 400 * SECOND, "{pause:?}");
    bench.plan.failed(&peer, bench.now);
    // It may be somewhere else now.
    bench.learn(peer, 2);
    assert!(bench.next().0 <= 5 * SECOND);
}

#[test]
fn a_hint_ends_a_pause_but_not_in_a_row() {
    let (mut bench, peer) = Bench::new();
    bench.learn(peer, 1);
    bench.next();
    for _ in 0..5 {
        bench.plan.failed(&peer, bench.now);
        bench.next();
    }
    bench.plan.failed(&peer, bench.now);
    bench.now += 6 * SECOND;
    bench.plan.hint(&peer, bench.now);
    assert_eq!(bench.next().0, Duration::ZERO);
    bench.plan.failed(&peer, bench.now);
    bench.plan.hint(&peer, bench.now);
    assert_eq!(bench.next().0, 5 * SECOND);
}

#[test]
fn another_network_of_ours_ends_every_pause() {
    let (mut bench, peer) = Bench::new();
    bench.learn(peer, 1);
    bench.plan.set_relayed(&peer, true);
    for _ in 0..12 {
        bench.next();
        bench.plan.failed(&peer, bench.now);
    }
    let pause = bench.plan.next_wake().unwrap() - bench.now;
    assert!(pause > 60 * SECOND, "{pause:?}");
    bench.plan.moved(bench.now);
    let pause = bench.plan.next_wake().unwrap() - bench.now;
    assert!(pause <= SECOND, "{pause:?}");
    // It does not end again and again for each address that comes and goes.
    bench.plan.moved(bench.now);
    assert_eq!(bench.next().1, peer);
    bench.plan.failed(&peer, bench.now);
    let pause = bench.plan.next_wake().unwrap() - bench.now;
    assert!(pause > 2 * SECOND, "{pause:?}");
}

/// A router says nothing when the way is gone, so a dial on the old network takes as long as it may.
#[test]
fn a_dial_on_a_network_that_we_left_is_begun_anew() {
    let (mut bench, peer) = Bench::new();
    bench.learn(peer, 1);
    assert_eq!(bench.next().1, peer);
    bench.plan.moved(bench.now);
    assert!(!bench.plan.is_dialling(&peer));
    let (pause, again) = bench.next();
    assert_eq!(again, peer);
    assert!(pause <= SECOND, "{pause:?}");
    // A connection stays.
    bench.plan.connected(&peer, None);
    bench.plan.moved(bench.now);
    assert_eq!(bench.plan.next_wake(), None);
}
