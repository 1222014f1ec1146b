//! Whose turn it is, over a made-up clock: one processor that needs a while for each message, a flood, and others beside it.
#![allow(clippy::unwrap_used, missing_docs)]

use std::collections::{BTreeMap, HashMap};

use goop_identity::PeerId;
use goop_mq::receiver::{AT_ONCE, Receiver};
use goop_mq::turns::{Ticket, Turns};

/// Microseconds that one message of 200 bytes takes, and each further KiB.
const EACH: u64 = 250;
const EACH_KIB: u64 = 60;
const SECOND: u64 = 1_000_000;

/// How somebody sends.
#[derive(Clone, Copy)]
enum Sends {
    /// One every so many microseconds, whatever becomes of the others.
    Every(u64),
    /// So many at once; the next one when one was acknowledged.
    AtOnce(usize),
}

#[derive(Default, Debug)]
struct Saw {
    acknowledged: u64,
    refused: u64,
    /// Microseconds from sending to the acknowledgement.
    took: Vec<u64>,
}

impl Saw {
    fn median(&mut self) -> u64 {
        self.took.sort_unstable();
        self.took[self.took.len() / 2]
    }

    fn longest(&self) -> u64 {
        *self.took.iter().max().unwrap()
    }
}

/// Runs a second of it; gives what each saw, and how many messages were here at most.
fn second(senders: &[(Sends, usize)]) -> (Vec<Saw>, usize) {
    let ids: Vec<PeerId> = senders.iter().map(|_| PeerId::random()).collect();
    let start = std::time::Instant::now();
    let (mut receiver, mut turns) = (Receiver::new(), Turns::new());
    let mut saw: Vec<Saw> = senders.iter().map(|_| Saw::default()).collect();
    // What arrives when: (time, order) to sender.
    let mut arriving: BTreeMap<(u64, u64), usize> = BTreeMap::new();
    let mut order = 0;
    let mut push = |arriving: &mut BTreeMap<_, _>, at, who| {
        order += 1;
        arriving.insert((at, order), who);
    };
    for (who, (sends, _)) in senders.iter().enumerate() {
        match sends {
            Sends::Every(pause) => push(&mut arriving, *pause / 2, who),
            Sends::AtOnce(count) => (0..*count).for_each(|_| push(&mut arriving, 0, who)),
        }
    }
    let mut here: HashMap<Ticket, (usize, u64)> = HashMap::new();
    let mut running: Option<(Ticket, u64)> = None;
    let mut most = 0;
    loop {
        let next = arriving.first_key_value().map(|((at, _), _)| *at);
        let ends = running.map(|(_, ends)| ends);
        let now = next.into_iter().chain(ends).min().unwrap_or(SECOND);
        if now >= SECOND {
            return (saw, most);
        }
        let mut started = None;
        if let Some((ticket, _)) = running.filter(|(_, ends)| *ends == now) {
            let (who, sent) = here.remove(&ticket).unwrap();
            saw[who].acknowledged += 1;
            saw[who].took.push(now - sent);
            receiver.leave(ids[who]);
            running = None;
            started = turns.end(ids[who], ticket);
            if let Sends::AtOnce(_) = senders[who].0 {
                push(&mut arriving, now, who);
            }
        } else {
            let (_, who) = arriving.pop_first().unwrap();
            let (sends, bytes) = senders[who];
            if let Sends::Every(pause) = sends {
                push(&mut arriving, now + pause, who);
            }
            if receiver.arrive(ids[who], start) {
                let (ticket, begins) = turns.ask(ids[who], bytes);
                here.insert(ticket, (who, now));
                started = begins.then_some(ticket);
            } else {
                saw[who].refused += 1;
            }
        }
        if let Some(ticket) = started {
            let bytes = senders[here[&ticket].0].1 as u64;
            running = Some((ticket, now + EACH + EACH_KIB * (bytes / 1024)));
        }
        most = most.max(here.len());
        assert_eq!(turns.waiting() + usize::from(running.is_some()), here.len());
    }
}

const FLOOD: Sends = Sends::Every(10);
const NOW_AND_THEN: Sends = Sends::Every(10_007);

#[test]
fn who_is_fast_gets_everything_there_is() {
    let (saw, _) = second(&[(Sends::AtOnce(16), 200)]);
    assert!(
        saw[0].acknowledged >= SECOND / EACH - 1,
        "{:?}",
        saw[0].acknowledged
    );
    assert_eq!(saw[0].refused, 0);
}

#[test]
fn a_flood_is_told_and_others_hardly_feel_it() {
    let (mut calm, _) = second(&[(NOW_AND_THEN, 200)]);
    let (mut saw, most) = second(&[(NOW_AND_THEN, 200), (FLOOD, 200)]);
    assert!(saw[0].acknowledged >= calm[0].acknowledged - 1 && saw[0].refused == 0);
    let (alone, beside) = (calm[0].median(), saw[0].median());
    assert!(
        beside <= alone * 2,
        "{alone} µs alone, {beside} µs beside a flood"
    );
    assert!(saw[0].longest() <= alone * 2);
    // It is told, and what is here of it is bounded.
    assert!(saw[1].refused > 90_000, "{}", saw[1].refused);
    assert!(most <= AT_ONCE + 1, "{most}");
}

#[test]
fn peers_share_by_what_their_messages_cost() {
    let fast = Sends::AtOnce(16);
    let (saw, _) = second(&[(fast, 200), (FLOOD, 200), (fast, 200)]);
    let third = SECOND / EACH / 3;
    for (who, one) in saw.iter().enumerate() {
        assert!(
            one.acknowledged.abs_diff(third) <= 2,
            "{who}: {}",
            one.acknowledged
        );
    }
    assert_eq!((saw[0].refused, saw[2].refused), (0, 0));
    // Large messages do not get more than their share of the time.
    let (saw, _) = second(&[(fast, 200), (fast, 256 * 1024)]);
    let large = saw[1].acknowledged * (EACH + EACH_KIB * 256);
    assert!(
        saw[1].acknowledged > 5 && large <= SECOND * 3 / 5,
        "{large} µs"
    );
}

#[test]
fn who_was_silent_has_no_credit_and_who_leaves_gains_nothing() {
    let mut turns = Turns::new();
    let (busy, back) = (PeerId::random(), PeerId::random());
    let (mut running, begins) = turns.ask(back, 200);
    assert!(begins);
    assert_eq!(turns.end(back, running), None);
    running = turns.ask(busy, 200).0;
    for _ in 0..1_000 {
        let (next, begins) = turns.ask(busy, 200);
        assert!(!begins);
        assert_eq!(turns.end(busy, running), Some(next));
        running = next;
    }
    // Back after a thousand turns of the other one: they alternate.
    let mut tickets = HashMap::new();
    for _ in 0..10 {
        tickets.insert(turns.ask(busy, 200).0, "busy");
        tickets.insert(turns.ask(back, 200).0, "back");
    }
    let mut owner = busy;
    let mut seen = Vec::new();
    while let Some(next) = turns.end(owner, running) {
        seen.push(tickets[&next]);
        owner = if tickets[&next] == "busy" { busy } else { back };
        running = next;
    }
    let of_back = seen[..10].iter().filter(|who| **who == "back").count();
    assert!((5..=6).contains(&of_back), "{seen:?}");
    assert_eq!(seen.len(), 20);
}

#[test]
fn who_gives_up_waiting_is_passed_over() {
    let mut turns = Turns::new();
    let (one, other) = (PeerId::random(), PeerId::random());
    let (first, begins) = turns.ask(one, 0);
    let (second, third) = (turns.ask(other, 0).0, turns.ask(one, 0).0);
    assert!(begins);
    assert_eq!(turns.end(other, second), None);
    assert_eq!(turns.end(other, second), None, "twice changes nothing");
    assert_eq!(turns.end(one, first), Some(third));
    assert_eq!(turns.end(one, third), None);
    assert_eq!(turns.waiting(), 0);
    for _ in 0..10_000 {
        let peer = PeerId::random();
        let (ticket, begins) = turns.ask(peer, 0);
        assert!(begins);
        assert_eq!(turns.end(peer, ticket), None);
    }
}
