//! The peer table as a value: each rule with a clock of the test's own (peer-directory.md 9).
#![allow(clippy::unwrap_used, missing_docs)]

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use goop_identity::presence::{PresenceKind, PresenceMessage};
use goop_net::table::{FAILURE_WINDOW, Lifetimes, MAX_PEERS, PeerTable, Source, TableChange};
use goop_net::{PeerId, PeerRow};

const TTL: Duration = Duration::from_secs(20);
const GRACE: Duration = Duration::from_secs(900);
const SECOND: Duration = Duration::from_secs(1);

struct Bench {
    table: PeerTable,
    now: Instant,
    wall: SystemTime,
    ts: i64,
}

impl Bench {
    fn new() -> Self {
        let wall = UNIX_EPOCH + Duration::from_secs(1_800_000_000);
        Self {
            table: PeerTable::new(Lifetimes {
                ttl: TTL,
                grace: GRACE,
            }),
            now: Instant::now(),
            wall,
            ts: 1_000,
        }
    }

    /// Time passes; what the table makes of it.
    fn wait(&mut self, time: Duration) -> Vec<TableChange> {
        self.now += time;
        self.wall += time;
        self.table.tick(self.now, self.wall)
    }

    fn record(&mut self, kind: PresenceKind, peer: PeerId) -> PresenceMessage {
        self.ts += 1;
        PresenceMessage::new(kind, peer, self.ts)
    }

    fn hear(&mut self, message: &PresenceMessage, source: Source) -> Vec<TableChange> {
        self.table.announced(message, source, self.now, self.wall)
    }

    fn online(&mut self, peer: PeerId) -> Vec<TableChange> {
        let message = self.record(PresenceKind::Online, peer);
        self.hear(&message, Source::Gossip)
    }

    fn offline(&mut self, peer: PeerId) -> Option<TableChange> {
        let message = self.record(PresenceKind::Offline, peer);
        self.table.said_goodbye(&message, self.now, self.wall)
    }

    fn reached(&mut self, peer: PeerId) -> Option<TableChange> {
        self.table.reached(&peer, self.now, self.wall)
    }

    fn missed(&mut self, peer: PeerId) -> Option<TableChange> {
        self.table.missed(&peer, self.now)
    }

    fn favorite(&mut self, peer: PeerId) {
        self.table.set_favorite(&peer, true).unwrap();
    }

    fn row(&self, peer: PeerId) -> &PeerRow {
        self.table.get(&peer).unwrap()
    }

    fn is_there(&self, peer: PeerId) -> bool {
        self.table
            .get(&peer)
            .is_some_and(|row| row.offline_since.is_none())
    }
}

#[test]
fn a_first_record_is_news_and_a_repeated_one_is_a_sign_of_life() {
    let (mut bench, bob) = (Bench::new(), PeerId::random());
    assert_eq!(bench.online(bob), [TableChange::Changed(bob)]);
    bench.wait(SECOND);
    assert_eq!(bench.online(bob), [TableChange::Seen(bob)]);
    assert_eq!(bench.row(bob).last_seen, bench.wall);
}

#[test]
fn silence_makes_offline_and_then_forgotten() {
    let (mut bench, bob) = (Bench::new(), PeerId::random());
    bench.online(bob);
    assert_eq!(bench.wait(TTL - SECOND), []);
    assert_eq!(bench.wait(SECOND), [TableChange::Changed(bob)]);
    assert_eq!(bench.row(bob).offline_since, Some(bench.wall));
    assert_eq!(bench.wait(GRACE - SECOND), []);
    assert_eq!(bench.wait(SECOND), [TableChange::Gone(bob)]);
    assert!(bench.table.is_empty());
    assert_eq!(bench.table.next_wake(), None);
}

#[test]
fn a_heartbeat_before_the_end_of_its_time_keeps_a_peer() {
    let (mut bench, bob) = (Bench::new(), PeerId::random());
    for _ in 0..10 {
        bench.online(bob);
        assert_eq!(bench.wait(TTL - SECOND), []);
    }
    assert!(bench.is_there(bob));
}

#[test]
fn a_goodbye_counts_at_once() {
    let (mut bench, bob) = (Bench::new(), PeerId::random());
    bench.online(bob);
    bench.reached(bob);
    assert_eq!(bench.offline(bob), Some(TableChange::Changed(bob)));
    assert!(!bench.is_there(bob));
    assert!(!bench.row(bob).reachable);
    assert_eq!(bench.offline(bob), None, "once is enough");
    assert_eq!(
        bench.offline(PeerId::random()),
        None,
        "a stranger's goodbye is nothing"
    );
}

#[test]
fn a_record_that_its_goodbye_overtook_does_not_bring_a_peer_back() {
    let (mut bench, bob) = (Bench::new(), PeerId::random());
    bench.online(bob);
    let late = bench.record(PresenceKind::Update, bob);
    bench.offline(bob);
    assert_eq!(bench.hear(&late, Source::Gossip), []);
    assert!(!bench.is_there(bob));
    // A peer that starts again with a clock set back is heard as soon as the old record must have come.
    bench.wait(10 * SECOND);
    assert_eq!(
        bench.hear(&late, Source::Gossip),
        [TableChange::Changed(bob)]
    );
}

#[test]
fn a_peer_that_starts_again_at_once_is_back_at_once() {
    let (mut bench, bob) = (Bench::new(), PeerId::random());
    bench.online(bob);
    bench.offline(bob);
    assert_eq!(bench.online(bob), [TableChange::Changed(bob)]);
    assert!(bench.is_there(bob));
}

#[test]
fn what_a_record_says_is_shown_and_what_it_withdraws_is_withdrawn() {
    let (mut bench, bob) = (Bench::new(), PeerId::random());
    let mut message = bench.record(PresenceKind::Online, bob);
    message.content = "Bob".to_owned();
    message.email = "bob@example.org".to_owned();
    message.avatar_hash = "ab12".to_owned();
    message.video_disabled = true;
    message.active_template = "blog".to_owned();
    message.public_key = "key".to_owned();
    message.encryption_supported = true;
    message.goop_client_version = "1.2".to_owned();
    message.addrs = vec!["/ip4/10.0.0.2/tcp/1".to_owned()];
    bench.hear(&message, Source::Gossip);
    let row = bench.row(bob).clone();
    assert_eq!(
        (
            row.content.as_str(),
            row.email.as_str(),
            row.avatar_hash.as_str()
        ),
        ("Bob", "bob@example.org", "ab12")
    );
    assert!(row.video_disabled && row.encryption_supported);
    assert_eq!(
        (row.active_template.as_str(), row.public_key.as_str()),
        ("blog", "key")
    );
    assert_eq!(
        (row.goop_client_version.as_str(), row.addrs.len()),
        ("1.2", 1)
    );
    let plain = bench.record(PresenceKind::Update, bob);
    assert_eq!(
        bench.hear(&plain, Source::Gossip),
        [TableChange::Changed(bob)]
    );
    let row = bench.row(bob);
    assert!(
        row.content.is_empty()
            && row.avatar_hash.is_empty()
            && !row.video_disabled
            && !row.encryption_supported
    );
    assert_eq!(
        row.addrs.len(),
        1,
        "a record without addresses says nothing about them"
    );
}

#[test]
fn a_key_once_known_is_not_replaced_by_a_record() {
    let (mut bench, bob) = (Bench::new(), PeerId::random());
    for key in ["first", "second"] {
        let mut message = bench.record(PresenceKind::Update, bob);
        message.public_key = key.to_owned();
        bench.hear(&message, Source::Gossip);
    }
    assert_eq!(bench.row(bob).public_key, "first");
}

#[test]
fn only_a_rendezvous_vouches() {
    let (mut bench, bob) = (Bench::new(), PeerId::random());
    let mut message = bench.record(PresenceKind::Online, bob);
    message.verified = true;
    for source in [Source::Gossip, Source::Neighbour] {
        bench.hear(&message, source);
        assert!(!bench.row(bob).verified);
    }
    bench.hear(&message, Source::Rendezvous);
    assert!(bench.row(bob).verified);
    let plain = bench.record(PresenceKind::Update, bob);
    bench.hear(&plain, Source::Gossip);
    assert!(
        bench.row(bob).verified,
        "gossip does not take it back either"
    );
}

#[test]
fn two_failures_apart_make_a_peer_unreachable_but_not_absent() {
    let (mut bench, bob) = (Bench::new(), PeerId::random());
    bench.online(bob);
    bench.reached(bob);
    assert_eq!(bench.missed(bob), None);
    bench.wait(SECOND);
    assert_eq!(bench.missed(bob), None, "so soon it is the same failure");
    bench.wait(FAILURE_WINDOW);
    assert_eq!(bench.missed(bob), Some(TableChange::Changed(bob)));
    assert!(!bench.row(bob).reachable);
    assert!(bench.is_there(bob));
}

#[test]
fn a_success_between_two_failures_clears_the_first() {
    let (mut bench, bob) = (Bench::new(), PeerId::random());
    bench.online(bob);
    bench.reached(bob);
    bench.missed(bob);
    bench.wait(3 * SECOND);
    assert_eq!(bench.reached(bob), Some(TableChange::Seen(bob)));
    bench.wait(3 * SECOND);
    assert_eq!(bench.missed(bob), None);
    assert!(bench.row(bob).reachable);
}

#[test]
fn a_peer_that_was_reached_is_there_whatever_its_last_record_said() {
    let (mut bench, bob) = (Bench::new(), PeerId::random());
    bench.online(bob);
    bench.wait(TTL);
    assert!(!bench.is_there(bob));
    assert_eq!(bench.reached(bob), Some(TableChange::Changed(bob)));
    assert!(bench.is_there(bob));
    assert!(bench.row(bob).met);
    assert_eq!(
        bench.reached(PeerId::random()),
        None,
        "strangers are not listed by connecting"
    );
}

#[test]
fn a_favourite_is_kept_when_it_leaves_until_it_is_none() {
    let (mut bench, bob) = (Bench::new(), PeerId::random());
    bench.online(bob);
    bench.favorite(bob);
    bench.offline(bob);
    assert_eq!(bench.wait(GRACE * 100), []);
    assert_eq!(
        bench.row(bob).offline_since.unwrap() + GRACE * 100,
        bench.wall
    );
    assert_eq!(
        bench.table.set_favorite(&bob, false),
        Some(TableChange::Changed(bob))
    );
    assert_eq!(bench.wait(Duration::ZERO), [TableChange::Gone(bob)]);
}

#[test]
fn a_peer_of_an_earlier_run_is_offline_until_it_shows_up() {
    let (mut bench, bob) = (Bench::new(), PeerId::random());
    let mut row = PeerRow::unknown(bob, bench.wall - GRACE);
    (row.reachable, row.encryption_supported, row.offline_since) = (true, true, None);
    let (now, wall) = (bench.now, bench.wall);
    assert_eq!(
        bench.table.seed(row.clone(), now, wall),
        [TableChange::Changed(bob)]
    );
    assert!(
        !bench.is_there(bob) && !bench.row(bob).reachable && !bench.row(bob).encryption_supported
    );
    assert_eq!(bench.row(bob).last_seen, wall - GRACE);
    assert_eq!(
        bench.table.seed(row, now, wall),
        [],
        "who is known already stays as it is"
    );
    bench.online(bob);
    assert!(bench.is_there(bob));
}

#[test]
fn a_shorter_grace_counts_at_once() {
    let (mut bench, bob) = (Bench::new(), PeerId::random());
    bench.online(bob);
    bench.offline(bob);
    bench.wait(60 * SECOND);
    bench.table.set_grace(30 * SECOND);
    assert_eq!(bench.wait(Duration::ZERO), [TableChange::Gone(bob)]);
}

/// The wall clock is only noted for people: it may jump wherever it likes.
#[test]
fn a_jumping_wall_clock_changes_nothing_but_what_is_shown() {
    let (mut bench, bob) = (Bench::new(), PeerId::random());
    bench.online(bob);
    for wall in [
        UNIX_EPOCH,
        UNIX_EPOCH + Duration::from_secs(1 << 35),
        bench.wall,
    ] {
        bench.wall = wall;
        assert_eq!(bench.wait(SECOND), []);
        assert!(bench.is_there(bob));
        bench.online(bob);
        assert_eq!(bench.row(bob).last_seen, bench.wall);
    }
    bench.wall = UNIX_EPOCH;
    assert_eq!(bench.wait(TTL), [TableChange::Changed(bob)]);
    bench.wall = UNIX_EPOCH + Duration::from_secs(1 << 35);
    assert_eq!(bench.wait(GRACE), [TableChange::Gone(bob)]);
}

/// A laptop that slept wakes to a monotonic clock that may have moved by hours at once.
#[test]
fn after_a_long_sleep_everybody_is_offline_first_and_forgotten_after_the_grace() {
    let (mut bench, bob) = (Bench::new(), PeerId::random());
    bench.online(bob);
    assert_eq!(bench.wait(8 * 3_600 * SECOND), [TableChange::Changed(bob)]);
    assert_eq!(
        bench.online(bob),
        [TableChange::Changed(bob)],
        "it is still there"
    );
}

#[test]
fn absurd_lifetimes_do_not_overflow() {
    let mut bench = Bench::new();
    bench.table = PeerTable::new(Lifetimes {
        ttl: Duration::MAX,
        grace: Duration::MAX,
    });
    let bob = PeerId::random();
    bench.online(bob);
    assert!(bench.table.next_wake().is_some());
    bench.offline(bob);
    bench.table.set_grace(Duration::MAX);
    assert!(bench.table.next_wake().is_some());
}

#[test]
fn ten_thousand_announced_strangers_push_nobody_out() {
    let mut bench = Bench::new();
    let (friend, met) = (PeerId::random(), PeerId::random());
    bench.online(friend);
    bench.favorite(friend);
    bench.offline(friend);
    bench.online(met);
    bench.reached(met);
    let strangers: Vec<PeerId> = (0..2 * MAX_PEERS).map(|_| PeerId::random()).collect();
    let listed = strangers
        .iter()
        .filter(|peer| !bench.online(**peer).is_empty())
        .count();
    assert_eq!(bench.table.len(), MAX_PEERS);
    assert_eq!(listed, MAX_PEERS - 2);
    assert!(bench.table.get(&friend).is_some() && bench.is_there(met));

    // Somebody real takes the place of the newest rumour.
    let neighbour = PeerId::random();
    let message = bench.record(PresenceKind::Online, neighbour);
    let changes = bench.hear(&message, Source::Neighbour);
    assert!(
        matches!(changes.as_slice(), [TableChange::Gone(_), TableChange::Changed(peer)] if *peer == neighbour)
    );
    assert_eq!(bench.table.len(), MAX_PEERS);
    let old_friend = PeerRow {
        favorite: true,
        ..PeerRow::unknown(PeerId::random(), bench.wall)
    };
    assert_eq!(bench.table.seed(old_friend, bench.now, bench.wall).len(), 2);

    // They fall silent together and are gone together.
    let gone = bench.wait(TTL).len();
    assert!(gone >= MAX_PEERS - 3, "{gone}");
    bench.wait(GRACE);
    assert_eq!(bench.table.len(), 2, "the favourites");
}

#[test]
fn rows_come_in_the_order_of_their_ids() {
    let mut bench = Bench::new();
    for _ in 0..50 {
        bench.online(PeerId::random());
    }
    let ids: Vec<PeerId> = bench.table.rows().iter().map(|row| row.id).collect();
    assert!(ids.is_sorted());
    assert_eq!(ids.len(), 50);
}
