//! The values: what waits to be sent, what may come in, whose key is whose, whom to ask.
#![allow(clippy::unwrap_used, missing_docs)]

use std::time::{Duration, Instant};

use goop_identity::PeerId;
use goop_identity::seal::NaclKeys;
use goop_mq::identity::{Introductions, PeerIdentity};
use goop_mq::keys::{Blocked, KeyBook, Learned, OpenError, Plan};
use goop_mq::outbox::{
    Action, Attempted, BYTES, FOR_CALLS, Failure, Item, MESSAGES, Outbox, STREAMS,
};
use goop_mq::receiver::{self, PEERS, REMEMBERED, Receiver, Verdict};
use goop_mq::topic::{Retry, Sealing, Urgency};
use goop_mq::wire::MsgId;
use goop_mq::words::Words;

const SECOND: Duration = Duration::from_secs(1);

fn item(ticket: u64, lane: &str, urgency: Urgency, now: Instant) -> Item {
    Item {
        ticket,
        bytes: 10,
        deadline: now + 5 * SECOND,
        urgency,
        lane: (!lane.is_empty()).then(|| lane.to_owned()),
        retry: Retry::Once,
    }
}

fn started(actions: &[Action]) -> Vec<u64> {
    let tickets = actions.iter().map(|action| match action {
        Action::Attempt(ticket, _) => *ticket,
        Action::Ended(..) => panic!("{action:?}"),
    });
    tickets.collect()
}

#[test]
fn a_lane_goes_one_by_one_and_calls_go_first() {
    let now = Instant::now();
    let mut outbox = Outbox::new();
    for (ticket, lane, urgency) in [
        (1, "chat", Urgency::Chatter),
        (2, "chat", Urgency::Chatter),
        (3, "group:g", Urgency::Control),
        (4, "", Urgency::Control),
        (5, "call:c", Urgency::Call),
        (6, "call:c", Urgency::Call),
    ] {
        outbox.push(item(ticket, lane, urgency, now), now).unwrap();
    }
    let first = started(&outbox.next(now));
    assert_eq!(first[0], 5);
    assert_eq!(first.len(), 4, "{first:?}");
    assert_eq!(first[3], 1);
    assert_eq!(outbox.next(now), []);
    let after = outbox.attempted(1, Attempted::Delivered, now);
    assert_eq!(after[0], Action::Ended(1, Ok(())));
    assert_eq!(started(&after[1..]), [2]);
    // An answer that nobody waits for changes nothing.
    assert_eq!(outbox.attempted(1, Attempted::Delivered, now), []);
    assert_eq!(outbox.attempted(77, Attempted::Delivered, now), []);
}

#[test]
fn streams_are_left_for_calls() {
    let now = Instant::now();
    let mut outbox = Outbox::new();
    for ticket in 0..100 {
        outbox
            .push(item(ticket, "", Urgency::Chatter, now), now)
            .unwrap();
    }
    assert_eq!(started(&outbox.next(now)).len(), STREAMS - FOR_CALLS);
    for ticket in 100..110 {
        outbox
            .push(item(ticket, "", Urgency::Call, now), now)
            .unwrap();
    }
    assert_eq!(started(&outbox.next(now)), [100, 101, 102, 103]);
}

#[test]
fn one_more_attempt_then_it_ends_once() {
    let now = Instant::now();
    let mut outbox = Outbox::new();
    outbox
        .push(item(1, "chat", Urgency::Chatter, now), now)
        .unwrap();
    outbox
        .push(item(2, "chat", Urgency::Chatter, now), now)
        .unwrap();
    outbox.next(now);
    let failed = || Attempted::Failed("no".into());
    assert_eq!(outbox.attempted(1, failed(), now), []);
    let wake = outbox.wake().unwrap();
    assert_eq!(wake, now + Duration::from_millis(300));
    assert_eq!(started(&outbox.next(wake)), [1]);
    let ended = outbox.attempted(1, failed(), wake);
    assert_eq!(
        ended[0],
        Action::Ended(1, Err(Failure::Attempt("no".into())))
    );
    assert_eq!(started(&ended[1..]), [2]);
    let ended = outbox.attempted(2, Attempted::Hopeless("never".into()), wake);
    assert_eq!(
        ended,
        [Action::Ended(2, Err(Failure::Attempt("never".into())))]
    );
    assert!(outbox.is_empty() && outbox.wake().is_none());
}

#[test]
fn what_waits_too_long_ends_and_too_much_is_refused() {
    let now = Instant::now();
    let mut outbox = Outbox::new();
    for ticket in 0..MESSAGES as u64 {
        outbox
            .push(item(ticket, "chat", Urgency::Chatter, now), now)
            .unwrap();
    }
    assert!(
        outbox
            .push(item(999, "x", Urgency::Call, now), now)
            .is_err()
    );
    assert_eq!(started(&outbox.next(now)), [0]);
    let late = now + 6 * SECOND;
    let ended = outbox.next(late);
    assert_eq!(ended.len(), MESSAGES - 1);
    assert!(
        ended
            .iter()
            .all(|action| matches!(action, Action::Ended(_, Err(Failure::Expired(_)))))
    );
    assert_eq!(
        outbox.attempted(0, Attempted::Delivered, late),
        [Action::Ended(0, Ok(()))]
    );
    assert!(outbox.is_empty());
    let big = Item {
        bytes: BYTES,
        ..item(1, "a", Urgency::Chatter, now)
    };
    outbox.push(big.clone(), now).unwrap();
    assert!(
        outbox
            .push(item(2, "b", Urgency::Chatter, now), now)
            .is_err()
    );
}

fn id(n: usize) -> MsgId {
    MsgId::parse(&format!("message {n}")).unwrap()
}

#[test]
fn a_message_is_taken_once() {
    let (mut receiver, peer, other) = (Receiver::new(), PeerId::random(), PeerId::random());
    let now = Instant::now();
    let begin = |r: &mut Receiver, peer, n| r.begin(peer, &id(n), None, 0, now);
    assert_eq!(begin(&mut receiver, peer, 1), Verdict::New);
    assert_eq!(begin(&mut receiver, peer, 1), Verdict::Busy);
    // What was not taken may come again.
    receiver.end(peer, &id(1), None, 0, false, now);
    assert_eq!(begin(&mut receiver, peer, 1), Verdict::New);
    receiver.end(peer, &id(1), None, 0, true, now);
    assert_eq!(begin(&mut receiver, peer, 1), Verdict::Known);
    // Ids belong to their sender.
    assert_eq!(begin(&mut receiver, other, 1), Verdict::New);
    receiver.end(other, &id(1), None, 0, true, now);
    for n in 2..REMEMBERED + 10 {
        assert_eq!(begin(&mut receiver, peer, n), Verdict::New);
        receiver.end(peer, &id(n), None, 0, true, now);
    }
    assert_eq!(begin(&mut receiver, peer, REMEMBERED + 9), Verdict::Known);
    assert_eq!(begin(&mut receiver, peer, 1), Verdict::New);
    // Whoever sends much makes only its own ids be forgotten.
    assert_eq!(begin(&mut receiver, other, 1), Verdict::Known);
}

#[test]
fn a_lane_is_taken_one_by_one_and_latecomers_are_not() {
    let (mut receiver, peer) = (Receiver::new(), PeerId::random());
    let now = Instant::now();
    let clock = 1 << 50;
    let mut begin = |n: usize, lane, seq, at| {
        let verdict = receiver.begin(peer, &id(n), Some(lane), seq, at);
        let end = move |r: &mut Receiver, taken| r.end(peer, &id(n), Some(lane), seq, taken, at);
        (verdict, end)
    };
    assert_eq!(begin(1, "chat", clock + 5, now).0, Verdict::New);
    assert_eq!(begin(2, "chat", clock + 6, now).0, Verdict::Busy);
    assert_eq!(begin(3, "call:x", clock + 7, now).0, Verdict::New);
    receiver.end(peer, &id(1), Some("chat"), clock + 5, true, now);
    let late = receiver.begin(peer, &id(4), Some("chat"), clock + 4, now);
    assert_eq!(late, Verdict::Late);
    // A clock that was set back does not shut a peer out.
    let later = now + 11 * SECOND;
    let after = receiver.begin(peer, &id(5), Some("chat"), clock - 1_000_000, later);
    assert_eq!(after, Verdict::New);
    receiver.end(peer, &id(5), Some("chat"), clock - 1_000_000, true, later);
    // The numbers of a Go peer say nothing about order.
    for seq in [9, 7, 8, 1] {
        let message = 10 + usize::try_from(seq).unwrap();
        let verdict = receiver.begin(peer, &id(message), Some("group:g"), seq, now);
        assert_eq!(verdict, Verdict::New);
        receiver.end(peer, &id(message), Some("group:g"), seq, true, now);
    }
}

#[test]
fn so_many_at_once_and_so_many_to_keep() {
    let (mut receiver, loud, quiet) = (Receiver::new(), PeerId::random(), PeerId::random());
    let now = Instant::now();
    for _ in 0..receiver::AT_ONCE {
        assert!(receiver.arrive(loud, now));
    }
    for _ in 0..100_000 {
        assert!(!receiver.arrive(loud, now));
    }
    assert!(receiver.arrive(quiet, now));
    receiver.leave(loud);
    assert!(receiver.arrive(loud, now) && !receiver.arrive(loud, now));
    // What ends on the disk has a measure in time.
    let (burst, rate) = receiver::KEPT;
    for _ in 0..burst {
        assert_eq!(receiver.keep(loud, now), Duration::ZERO);
    }
    let hold = receiver.keep(loud, now);
    assert!(
        hold > Duration::ZERO && hold <= SECOND / rate * 2,
        "{hold:?}"
    );
    assert_eq!(receiver.keep(quiet, now), Duration::ZERO);
    for _ in 0..10_000 {
        receiver.keep(loud, now);
        receiver.not_kept(loud, now);
    }
    let later = now + SECOND;
    assert_eq!(receiver.keep(loud, later), Duration::ZERO);
    // A clock that goes back gives nothing and takes nothing.
    assert_eq!(receiver.keep(loud, now), Duration::ZERO);
    for _ in 0..PEERS * 2 {
        receiver.arrive(PeerId::random(), now);
    }
    assert_eq!(
        receiver.len(),
        PEERS * 2 + 2,
        "who is busy is not forgotten"
    );
    let mut receiver = Receiver::new();
    for _ in 0..PEERS * 10 {
        let peer = PeerId::random();
        assert!(receiver.arrive(peer, now));
        assert_eq!(receiver.begin(peer, &id(1), None, 0, now), Verdict::New);
        receiver.end(peer, &id(1), None, 0, true, now);
        receiver.leave(peer);
    }
    assert_eq!(
        receiver.len(),
        PEERS,
        "ten thousand peers with one message each"
    );
}

#[test]
fn keys_are_pinned_and_a_compared_one_is_not_replaced() {
    let now = Instant::now();
    let [own, old, new] = std::array::from_fn(|_| NaclKeys::generate());
    let (me, peer) = (PeerId::random(), PeerId::random());
    let mut book = KeyBook::new(Some(own.clone()));
    let plan = |book: &KeyBook| book.plan(&peer, Sealing::WhenKnown, now);
    assert_eq!(plan(&book), Plan::Plain);
    assert!(!book.set_verified(&peer, true));
    assert_eq!(book.learn(peer, &old.public, true), Learned::First);
    assert_eq!(book.learn(peer, &old.public, false), Learned::Same);
    assert_eq!(plan(&book), Plan::Sealed { introduce: true });
    book.told(&peer, true, now);
    assert_eq!(plan(&book), Plan::Sealed { introduce: false });
    let later = now + 61 * SECOND;
    assert_eq!(
        book.plan(&peer, Sealing::WhenKnown, later),
        Plan::Sealed { introduce: true }
    );
    assert_eq!(book.plan(&peer, Sealing::Open, now), Plan::Plain);
    // A key that was not compared is replaced, and that is remembered until somebody has seen it.
    let changed = book.learn(peer, &new.public, true);
    assert_eq!(
        changed,
        Learned::Changed {
            old: old.public.to_base64()
        }
    );
    assert_eq!(book.replaced(&peer), Some(&*old.public.to_base64()));
    book.saw_change(&peer);
    assert_eq!(book.replaced(&peer), None);
    // A compared one is not.
    assert!(book.set_verified(&peer, true));
    assert_eq!(book.learn(peer, &old.public, true), Learned::Offered);
    assert_eq!(book.learn(peer, &old.public, true), Learned::Same);
    assert_eq!(plan(&book), Plan::Blocked(Blocked::KeyChanged));
    assert!(!book.is_verified(&peer) && !book.set_verified(&peer, true));
    let sealed = goop_identity::seal::seal(b"1", &old.secret, &own.public);
    let opened = book.open(peer, &sealed, Some(&old.public), now);
    assert_eq!(opened, Err(OpenError::WrongKey));
    // It survives a restart, and so does the question.
    let mut book = KeyBook::restore(Some(own), &book.save()).unwrap();
    assert_eq!(plan(&book), Plan::Blocked(Blocked::KeyChanged));
    assert!(book.words(&me, &peer).is_some());
    assert!(book.accept(&peer) && !book.accept(&peer));
    assert_eq!(book.key_of(&peer), Some(&*old.public.to_base64()));
    assert!(!book.is_verified(&peer));
    assert_eq!(plan(&book), Plan::Sealed { introduce: true });
    // Without a key of our own nothing goes out readable that was sealed before.
    let book = KeyBook::restore(None, &book.save()).unwrap();
    assert_eq!(plan(&book), Plan::Blocked(Blocked::NoOwnKey));
    for damaged in ["", "{", "[]", r#"{"version":1}"#] {
        assert!(KeyBook::restore(None, damaged).is_err(), "{damaged:?}");
    }
}

#[test]
fn sealed_garbage_opens_nothing_and_a_hint_has_to_prove_itself() {
    let now = Instant::now();
    let [own, theirs, other] = std::array::from_fn(|_| NaclKeys::generate());
    let peer = PeerId::random();
    let mut book = KeyBook::new(Some(own.clone()));
    let sealed = goop_identity::seal::seal(b"{}", &theirs.secret, &own.public);
    assert_eq!(book.open(peer, &sealed, None, now), Err(OpenError::NoKey));
    assert_eq!(
        book.open(peer, &sealed, Some(&other.public), now),
        Err(OpenError::WrongKey)
    );
    assert_eq!(book.key_of(&peer), None, "a wrong hint is not believed");
    let opened = book.open(peer, &sealed, Some(&theirs.public), now);
    assert_eq!(opened, Ok((b"{}".to_vec(), Learned::First)));
    assert_eq!(
        book.plan(&peer, Sealing::WhenKnown, now),
        Plan::Sealed { introduce: false },
        "who seals for us knows our key"
    );
    for garbage in ["", "AAAA", "%%%%", &"A".repeat(100), &sealed[..40]] {
        assert_eq!(
            book.open(peer, garbage, None, now),
            Err(OpenError::WrongKey),
            "{garbage}"
        );
    }
    assert!(book.came_plain(&peer) && !book.came_plain(&peer));
    assert!(!book.came_plain(&PeerId::random()));
}

#[test]
fn both_people_see_the_same_words() {
    let [a, b, c] = std::array::from_fn(|_| NaclKeys::generate());
    let [pa, pb, pc] = std::array::from_fn(|_| PeerId::random());
    let see = |own: &NaclKeys, me: &PeerId, key: &NaclKeys, peer: &PeerId| {
        let mut book = KeyBook::new(Some(own.clone()));
        book.learn(*peer, &key.public, true);
        book.words(me, peer).unwrap()
    };
    let (one, other) = (see(&a, &pa, &b, &pb), see(&b, &pb, &a, &pa));
    assert_eq!(one, other);
    assert_eq!(one.to_string(), other.to_string());
    assert!(one.matches(&other.code()));
    // Somebody in the middle shows other words to both.
    let (left, right) = (see(&a, &pa, &c, &pc), see(&b, &pb, &c, &pc));
    assert!(!left.matches(&right.code()) && !left.matches(&one.code()));
    assert_ne!(left.to_string(), right.to_string());
    let words = one.lines().concat();
    assert_eq!(words.len(), 12);
    assert!(words.iter().all(|word| (3..=8).contains(&word.len())));
}

#[test]
fn words_stay_what_they_were() {
    let peer = |text| goop_identity::label::parse_peer_id(text).unwrap();
    let alice = peer("12D3KooWK99VoVxNE7XzyBwXEzW7xhK7Gpv85r9F3V3fyKSUKPH5");
    let bob = peer("12D3KooWJWoaqZhDaoEFshF7Rh1bpY9ohihFhzcW6d69Lr2NASuq");
    let words = Words::of(
        (&alice, "ehpOcJvwhaxJSroEabmx7aCrH3ixaqu3n/7akGI+hSI="),
        (&bob, "EyxEK+AQ+9V+cmAzKKp25x/MwVA6riGTJ9FNnJmT9HI="),
    );
    // People may have written them down.
    assert_eq!(words.to_string(), WORDS);
}

const WORDS: &str = "can ridge because silly drink push / office anxiety wood donor slam nurse";

#[test]
fn one_question_at_a_time_with_growing_pauses() {
    let (mut asked, peer) = (Introductions::new(), PeerId::random());
    let start = Instant::now();
    let times: Vec<u64> = (0..3_000)
        .filter(|second| asked.ask(peer, start + SECOND * *second))
        .map(u64::from)
        .collect();
    assert_eq!(times[..6], [0, 2, 6, 14, 30, 62]);
    assert_eq!(times[times.len() - 1] - times[times.len() - 2], 300);
    asked.answered(&peer);
    assert!(asked.ask(peer, start));
}

#[test]
fn identities_have_a_name_and_limits() {
    let named = PeerIdentity {
        content: "Ada".into(),
        ..PeerIdentity::default()
    };
    assert!(named.is_valid() && !PeerIdentity::default().is_valid());
    let long = PeerIdentity {
        email: "e".repeat(513),
        ..named.clone()
    };
    assert!(!long.is_valid());
    let many = PeerIdentity {
        features: vec![String::new(); 33],
        ..named
    };
    assert!(!many.is_valid());
}
