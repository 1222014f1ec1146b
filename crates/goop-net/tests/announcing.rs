//! What is said about us and when, and which records of others count, as values.
#![allow(clippy::unwrap_used, missing_docs)]

use std::time::{Duration, Instant};

use goop_identity::presence::{MAX_RECORD, PresenceError, PresenceKind, PresenceMessage};
use goop_net::presence::{Announcer, Gate, Refused};
use goop_net::{LocalProfile, PeerId};

const HEARTBEAT: Duration = Duration::from_secs(5);
const MS: Duration = Duration::from_millis(1);

struct Bench {
    announcer: Announcer,
    now: Instant,
}

impl Bench {
    fn new() -> Self {
        let now = Instant::now();
        Self {
            announcer: Announcer::new(PeerId::random(), HEARTBEAT, now),
            now,
        }
    }

    fn online() -> Self {
        let mut bench = Self::new();
        bench.announcer.go_online(bench.now);
        assert_eq!(bench.said(Duration::ZERO).len(), 1);
        bench
    }

    /// Lets time pass; the kinds of the records and when they came.
    fn said(&mut self, time: Duration) -> Vec<(Duration, PresenceKind)> {
        let (start, end) = (self.now, self.now + time);
        let mut said = Vec::new();
        while let Some(wake) = self.announcer.next_wake().filter(|wake| *wake <= end) {
            self.now = wake.max(self.now);
            let record = self.announcer.tick(self.now, 0);
            said.extend(record.map(|record| (self.now - start, record.kind)));
        }
        self.now = end;
        said
    }
}

fn named(name: &str) -> LocalProfile {
    LocalProfile {
        label: name.to_owned(),
        ..LocalProfile::default()
    }
}

#[test]
fn nothing_is_said_before_going_online_and_online_comes_first() {
    let mut bench = Bench::new();
    bench.announcer.set_profile(named("Ann"), bench.now);
    bench.announcer.greet(bench.now);
    assert_eq!(bench.said(10 * HEARTBEAT), []);
    assert_eq!(bench.announcer.farewell(0), None, "nobody was told");
    bench.announcer.go_online(bench.now);
    bench.announcer.go_online(bench.now);
    let kinds: Vec<_> = bench.said(2 * HEARTBEAT);
    let expected = [
        (Duration::ZERO, PresenceKind::Online),
        (HEARTBEAT, PresenceKind::Update),
        (2 * HEARTBEAT, PresenceKind::Update),
    ];
    assert_eq!(kinds, expected);
}

#[test]
fn changes_that_come_together_are_one_record() {
    let mut bench = Bench::online();
    bench.said(10 * MS);
    bench.announcer.set_profile(named("Ann"), bench.now);
    bench.announcer.set_profile(named("Anna"), bench.now);
    bench
        .announcer
        .set_addrs(vec!["/ip4/10.0.0.1/tcp/1".to_owned()], bench.now);
    let said = bench.said(HEARTBEAT / 2);
    assert!(
        matches!(said.as_slice(), [(at, PresenceKind::Update)] if *at < 50 * MS),
        "{said:?}"
    );
    bench.announcer.set_profile(named("Anna"), bench.now);
    assert_eq!(
        bench.said(HEARTBEAT / 4),
        [],
        "what does not change is not said"
    );
}

#[test]
fn a_newcomer_is_told_that_we_are_new_to_it() {
    let mut bench = Bench::online();
    bench.said(10 * MS);
    bench.announcer.greet(bench.now);
    let said = bench.said(HEARTBEAT / 2);
    assert!(
        matches!(said.as_slice(), [(at, PresenceKind::Online)] if *at < 50 * MS),
        "{said:?}"
    );
}

/// Every record goes to everybody: who makes us speak would make everybody listen.
#[test]
fn a_crowd_of_newcomers_is_greeted_together() {
    let mut bench = Bench::online();
    let mut said = 0;
    for _ in 0..1_000 {
        bench.announcer.greet(bench.now);
        said += bench.said(10 * MS).len();
    }
    assert!((10..=16).contains(&said), "{said} records in 10 s");
}

#[test]
fn after_a_goodbye_the_next_record_is_online_again() {
    let mut bench = Bench::online();
    let farewell = bench.announcer.farewell(7).unwrap();
    assert_eq!((farewell.kind, farewell.ts), (PresenceKind::Offline, 7));
    assert_eq!(bench.announcer.farewell(8), None, "once");
    let said = bench.said(HEARTBEAT);
    assert_eq!(said, [(HEARTBEAT, PresenceKind::Online)]);
}

#[test]
fn absurd_heartbeats_are_bounded() {
    for heartbeat in [Duration::ZERO, Duration::MAX] {
        let now = Instant::now();
        let mut announcer = Announcer::new(PeerId::random(), heartbeat, now);
        announcer.go_online(now);
        announcer.tick(now, 0).unwrap();
        let next = announcer.next_wake().unwrap() - now;
        assert!(
            next >= 50 * MS && next <= Duration::from_secs(24 * 3_600),
            "{next:?}"
        );
    }
}

fn record(kind: PresenceKind, of: PeerId) -> Vec<u8> {
    PresenceMessage::new(kind, of, 1).to_json()
}

fn admit(signer: Option<PeerId>, me: PeerId, data: &[u8]) -> Result<PresenceKind, Refused> {
    let now = Instant::now();
    Gate::new(me, now)
        .admit(signer, data, now)
        .map(|message| message.kind)
}

#[test]
fn a_record_counts_only_when_its_signer_is_the_peer_it_speaks_of() {
    let (me, bob, mallory) = (PeerId::random(), PeerId::random(), PeerId::random());
    for kind in [
        PresenceKind::Online,
        PresenceKind::Update,
        PresenceKind::Offline,
    ] {
        assert_eq!(admit(Some(bob), me, &record(kind, bob)), Ok(kind));
        assert_eq!(
            admit(Some(mallory), me, &record(kind, bob)),
            Err(Refused::OfSomebodyElse(bob))
        );
        assert_eq!(admit(None, me, &record(kind, bob)), Err(Refused::Unsigned));
        assert_eq!(admit(Some(me), me, &record(kind, me)), Err(Refused::Own));
        assert_eq!(
            admit(Some(mallory), me, &record(kind, me)),
            Err(Refused::OfSomebodyElse(me))
        );
    }
    assert_eq!(
        admit(Some(bob), me, &record(PresenceKind::Punch, bob)),
        Err(Refused::Hint)
    );
}

#[test]
fn what_cannot_be_read_and_what_is_too_large_does_not_count() {
    let (me, bob) = (PeerId::random(), PeerId::random());
    for data in [
        &b""[..],
        b"null",
        b"{}",
        b"[1]",
        b"{\"type\":\"online\"}",
        b"\xff\xfe",
    ] {
        assert!(
            matches!(admit(Some(bob), me, data), Err(Refused::Unreadable(_))),
            "{data:?}"
        );
    }
    let mut large = record(PresenceKind::Online, bob);
    large.resize(MAX_RECORD + 1, b' ');
    assert_eq!(
        admit(Some(bob), me, &large),
        Err(Refused::Unreadable(PresenceError::TooLarge))
    );
}

#[test]
fn who_talks_too_much_is_not_heard_until_later_and_harms_nobody_else() {
    let (me, bob, mallory) = (PeerId::random(), PeerId::random(), PeerId::random());
    let now = Instant::now();
    let mut gate = Gate::new(me, now);
    let flood = record(PresenceKind::Update, mallory);
    let heard = (0..10_000)
        .filter(|_| gate.admit(Some(mallory), &flood, now).is_ok())
        .count();
    assert_eq!(heard, 100);
    assert!(
        gate.admit(Some(bob), &record(PresenceKind::Update, bob), now)
            .is_ok()
    );
    assert!(
        gate.admit(Some(mallory), &flood, now + Duration::from_secs(10))
            .is_ok()
    );
}
