//! What the table does with what clients say: signatures, sockets, hints, batches, silence.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use std::time::Duration;

use goop_identity::Keypair;
use goop_rendezvous::state::{
    Action, Change, Hello, LINGER, MAX_PARTNERS, NotYet, REPEAT, Refused, SIGNED_WINDOW, SWEEP,
    State, TTL,
};
use support::{Clock, addr, kind_of, online, peer_of, said, signed, unsigned};

fn step(state: &mut State, clock: &Clock) -> Vec<Action> {
    state.tick(clock.now(), true);
    state.drain()
}

/// Lets what waits go out.
fn settle(state: &mut State, clock: &mut Clock) -> Vec<Action> {
    clock.pass(Duration::from_secs(1));
    step(state, clock)
}

#[test]
fn news_goes_out_at_once_and_repeats_now_and_then() {
    let mut clock = Clock::start();
    let mut state = State::new(clock.now());
    let ann = Keypair::generate_ed25519();
    let say = |state: &mut State, clock: &mut Clock, name: &str| {
        state
            .publish(unsigned(online(&ann, name, &[])), None, clock.now())
            .unwrap();
        let actions = settle(state, clock);
        let batches = said(&actions);
        let count = |lane: fn(&goop_rendezvous::state::Batch) -> usize| {
            batches.iter().map(lane).sum::<usize>()
        };
        (
            count(|batch| batch.changes.len()),
            count(|batch| batch.all.len()),
        )
    };
    assert_eq!(say(&mut state, &mut clock, "Ann"), (1, 1));
    assert_eq!(say(&mut state, &mut clock, "Ann"), (0, 0));
    assert_eq!(say(&mut state, &mut clock, "Anna"), (1, 1));
    clock.pass(REPEAT);
    assert_eq!(say(&mut state, &mut clock, "Anna"), (0, 1));
}

#[test]
fn a_thousand_arrivals_make_a_few_batches() {
    let mut clock = Clock::start();
    let mut state = State::new(clock.now());
    let mut batches = 0;
    let mut frames = 0;
    for n in 0..1_000 {
        let keypair = Keypair::generate_ed25519();
        state
            .publish(
                unsigned(online(&keypair, &format!("{n}"), &[])),
                None,
                clock.now(),
            )
            .unwrap();
        clock.pass(Duration::from_micros(100));
        for batch in said(&step(&mut state, &clock)) {
            batches += 1;
            frames += batch.all.len();
        }
    }
    frames += said(&settle(&mut state, &mut clock))
        .iter()
        .map(|batch| batch.all.len())
        .sum::<usize>();
    assert_eq!(frames, 1_000);
    assert!(batches <= 3, "{batches} batches in 100 ms");
}

#[test]
fn several_messages_of_one_peer_become_the_newest() {
    let mut clock = Clock::start();
    let mut state = State::new(clock.now());
    let ann = Keypair::generate_ed25519();
    for name in ["a", "b", "c"] {
        state
            .publish(unsigned(online(&ann, name, &[])), None, clock.now())
            .unwrap();
    }
    state
        .publish(unsigned(support::offline(&ann, 9)), None, clock.now())
        .unwrap();
    let batches = said(&settle(&mut state, &mut clock));
    assert_eq!(batches.len(), 1);
    assert_eq!(batches[0].all.len(), 1);
    assert_eq!(kind_of(&batches[0].all[0]), "offline");
}

#[test]
fn who_signs_is_not_spoken_for() {
    let mut clock = Clock::start();
    let mut state = State::new(clock.now());
    let ann = Keypair::generate_ed25519();
    // A stranger was first.
    state
        .publish(unsigned(online(&ann, "Mallory", &[])), None, clock.now())
        .unwrap();
    let first = online(&ann, "Ann", &[]);
    let first = signed(&ann, first, clock.now().ms);
    state.publish(first.clone(), None, clock.now()).unwrap();
    let spoof = || unsigned(online(&ann, "Mallory", &[]));
    assert_eq!(
        state.publish(spoof(), None, clock.now()),
        Err(Refused::NeedsSignature)
    );
    let leave = unsigned(support::offline(&ann, clock.now().ms));
    assert_eq!(
        state.publish(leave, None, clock.now()),
        Err(Refused::NeedsSignature)
    );
    // What was said once cannot be said again, not even after the peer left.
    assert_eq!(
        state.publish(first.clone(), None, clock.now()),
        Err(Refused::Outdated)
    );
    clock.pass(Duration::from_millis(10));
    let leave = signed(&ann, support::offline(&ann, 0), clock.now().ms);
    state.publish(leave, None, clock.now()).unwrap();
    assert_eq!(state.peers(), 0);
    assert_eq!(
        state.publish(first, None, clock.now()),
        Err(Refused::Outdated)
    );
    // The same person with a program that does not sign is welcome.
    state.publish(spoof(), None, clock.now()).unwrap();
    assert_eq!(state.peers(), 1);
}

#[test]
fn a_wrong_clock_makes_a_peer_an_unsigned_one() {
    let clock = Clock::start();
    let mut state = State::new(clock.now());
    let ann = Keypair::generate_ed25519();
    let long_ago = clock.now().ms - SIGNED_WINDOW.as_millis() as i64 - 1;
    let message = signed(&ann, online(&ann, "Ann", &[]), long_ago);
    state.publish(message, None, clock.now()).unwrap();
    assert!(!state.standings()[0].signed);
    let message = signed(&ann, online(&ann, "Ann", &[]), clock.now().ms);
    state.publish(message, None, clock.now()).unwrap();
    assert!(state.standings()[0].signed);
}

#[test]
fn silence_is_an_end_and_says_so() {
    let mut clock = Clock::start();
    let mut state = State::new(clock.now());
    let ann = Keypair::generate_ed25519();
    state
        .publish(unsigned(online(&ann, "Ann", &[])), None, clock.now())
        .unwrap();
    settle(&mut state, &mut clock);
    clock.pass(TTL - Duration::from_secs(1));
    step(&mut state, &clock);
    assert_eq!(state.peers(), 1);
    clock.pass(SWEEP);
    let mut actions = step(&mut state, &clock);
    actions.extend(settle(&mut state, &mut clock));
    assert_eq!(state.peers(), 0);
    assert!(actions.iter().any(|action| matches!(action,
        Action::Change(Change::Gone(gone)) if *gone == ann.public().to_peer_id())));
    assert_eq!(kind_of(&said(&actions)[0].changes[0]), "offline");
}

#[test]
fn a_client_that_comes_right_back_was_never_gone() {
    let mut clock = Clock::start();
    let mut state = State::new(clock.now());
    let ann = Keypair::generate_ed25519();
    let peer = ann.public().to_peer_id();
    assert_eq!(
        state.attach(peer, Hello::None, clock.now()).err(),
        Some(NotYet::Unknown)
    );
    state
        .publish(unsigned(online(&ann, "Ann", &[])), None, clock.now())
        .unwrap();
    let first = state.attach(peer, Hello::None, clock.now()).unwrap();
    settle(&mut state, &mut clock);
    state.detach(first.socket, clock.now());
    clock.pass(LINGER / 2);
    let second = state.attach(peer, Hello::None, clock.now()).unwrap();
    clock.pass(LINGER);
    assert!(said(&step(&mut state, &clock)).is_empty());
    assert_eq!(state.peers(), 1);
    // The end of the replaced socket is nobody's end (weak point 4).
    state.detach(first.socket, clock.now());
    clock.pass(LINGER);
    step(&mut state, &clock);
    assert_eq!(state.peers(), 1);
    state.detach(second.socket, clock.now());
    clock.pass(LINGER);
    step(&mut state, &clock);
    assert_eq!(state.peers(), 0);
}

#[test]
fn a_socket_is_taken_over_only_when_it_is_silent() {
    let mut clock = Clock::start();
    let mut state = State::new(clock.now());
    let ann = Keypair::generate_ed25519();
    let peer = ann.public().to_peer_id();
    state
        .publish(unsigned(online(&ann, "Ann", &[])), None, clock.now())
        .unwrap();
    let first = state.attach(peer, Hello::None, clock.now()).unwrap();
    state.drain();
    let again = |state: &mut State, clock: &Clock| state.attach(peer, Hello::None, clock.now());
    assert_eq!(again(&mut state, &clock).err(), Some(NotYet::Occupied));
    let asked = state.drain();
    assert!(matches!(asked[..], [Action::Challenge(socket)] if socket == first.socket));
    state.alive(first.socket);
    clock.pass(Duration::from_secs(3));
    assert_eq!(again(&mut state, &clock).err(), Some(NotYet::Occupied));
    // This time it says nothing.
    clock.pass(Duration::from_secs(3));
    state.drain();
    let second = again(&mut state, &clock).unwrap();
    assert!(matches!(state.drain()[..], [Action::Close(socket)] if socket == first.socket));
    assert_ne!(first.socket, second.socket);
    let message = || unsigned(online(&ann, "Ann", &[]));
    assert_eq!(
        state.publish(message(), Some(first.socket), clock.now()),
        Err(Refused::NotYours)
    );
    state
        .publish(message(), Some(second.socket), clock.now())
        .unwrap();
}

#[test]
fn a_proof_beats_everything_but_a_proof() {
    let mut clock = Clock::start();
    let mut state = State::new(clock.now());
    let ann = Keypair::generate_ed25519();
    let peer = ann.public().to_peer_id();
    state
        .publish(unsigned(online(&ann, "Ann", &[])), None, clock.now())
        .unwrap();
    let stranger = state.attach(peer, Hello::None, clock.now()).unwrap();
    let own = state.attach(peer, Hello::Promised, clock.now()).unwrap();
    let message = || unsigned(online(&ann, "Ann", &[]));
    assert_eq!(
        state.publish(message(), Some(own.socket), clock.now()),
        Err(Refused::NotYours)
    );
    state.drain();
    state.proved(own.socket, clock.now());
    assert!(matches!(state.drain()[..], [Action::Close(socket)] if socket == stranger.socket));
    state
        .publish(message(), Some(own.socket), clock.now())
        .unwrap();
    for _ in 0..3 {
        clock.pass(Duration::from_secs(3));
        assert_eq!(
            state.attach(peer, Hello::None, clock.now()).err(),
            Some(NotYet::Occupied)
        );
    }
    // One that promised and does not deliver is closed, and the socket of the peer stays.
    let liar = state.attach(peer, Hello::Promised, clock.now()).unwrap();
    clock.pass(Duration::from_secs(10));
    state.drain();
    let actions = step(&mut state, &clock);
    assert!(actions.iter().any(|action| matches!(action,
        Action::Close(socket) if *socket == liar.socket)));
    state
        .publish(message(), Some(own.socket), clock.now())
        .unwrap();
}

#[test]
fn each_pair_gets_one_hint_each_way_wherever_its_sockets_are() {
    let mut clock = Clock::start();
    let mut state = State::new(clock.now());
    let people: Vec<Keypair> = (0..20).map(|_| Keypair::generate_ed25519()).collect();
    let mut heard: Vec<(String, String)> = Vec::new();
    let mut sockets = std::collections::HashMap::new();
    let mut take = |target: String, frames: &[bytes::Bytes]| {
        for frame in frames {
            assert_eq!(kind_of(frame), "punch");
            heard.push((target.clone(), peer_of(frame)));
        }
    };
    for (n, person) in people.iter().enumerate() {
        let peer = person.public().to_peer_id();
        state
            .publish(unsigned(online(person, "", &[&addr(n)])), None, clock.now())
            .unwrap();
        // Every other one opens its socket before hints are made, the rest some time after.
        if n % 2 == 0 {
            let welcome = state.attach(peer, Hello::None, clock.now()).unwrap();
            assert!(welcome.hints.is_empty());
            sockets.insert(welcome.socket, peer.to_base58());
        }
        for action in settle(&mut state, &mut clock) {
            if let Action::Hints(socket, frames) = action {
                take(sockets[&socket].clone(), &frames);
            }
        }
    }
    for person in people.iter().skip(1).step_by(2) {
        let peer = person.public().to_peer_id();
        let welcome = state.attach(peer, Hello::None, clock.now()).unwrap();
        take(peer.to_base58(), &welcome.hints);
    }
    let all = heard.len();
    heard.sort();
    heard.dedup();
    assert_eq!(heard.len(), all, "somebody was told twice");
    assert_eq!(all, 20 * 19);
}

#[test]
fn restless_addresses_are_not_passed_on_all_the_time() {
    let mut clock = Clock::start();
    let mut state = State::new(clock.now());
    let (ann, ben) = (Keypair::generate_ed25519(), Keypair::generate_ed25519());
    let target = ben.public().to_peer_id();
    state
        .publish(unsigned(online(&ben, "", &[&addr(1)])), None, clock.now())
        .unwrap();
    let socket = state
        .attach(target, Hello::None, clock.now())
        .unwrap()
        .socket;
    settle(&mut state, &mut clock);
    let mut hints = 0;
    for n in 0..240 {
        state
            .publish(unsigned(online(&ann, "", &[&addr(n)])), None, clock.now())
            .unwrap();
        state
            .publish(
                unsigned(online(&ben, "", &[&addr(1)])),
                Some(socket),
                clock.now(),
            )
            .unwrap();
        for action in settle(&mut state, &mut clock) {
            if let Action::Hints(to, frames) = action {
                assert_eq!(to, socket);
                hints += frames.len();
            }
        }
    }
    // Two at once, then one a minute, in four minutes.
    assert!((5..=6).contains(&hints), "{hints}");
}

#[test]
fn a_full_house_makes_no_square_of_hints() {
    let mut clock = Clock::start();
    let mut state = State::new(clock.now());
    let newcomers = 40;
    for n in 0..600 {
        let person = Keypair::generate_ed25519();
        let addrs: &[&str] = &[&addr(n)];
        state
            .publish(unsigned(online(&person, "", addrs)), None, clock.now())
            .unwrap();
        if n == 600 - newcomers - 1 {
            while state.next() <= clock.now().at + Duration::from_secs(1) {
                settle(&mut state, &mut clock);
            }
        }
    }
    let mut hints = 0;
    for _ in 0..10 {
        hints += said(&settle(&mut state, &mut clock))
            .iter()
            .flat_map(|batch| batch.strangers.iter())
            .filter(|frame| kind_of(frame) == "punch")
            .count();
    }
    assert!(
        hints > 0 && hints <= 2 * newcomers * MAX_PARTNERS,
        "{hints}"
    );
}

#[test]
fn another_instance_is_heard_and_does_not_overrule() {
    let mut clock = Clock::start();
    let (mut here, mut there) = (State::new(clock.now()), State::new(clock.now()));
    let (ann, ben) = (Keypair::generate_ed25519(), Keypair::generate_ed25519());
    let name: std::sync::Arc<str> = "there".into();
    here.publish(unsigned(online(&ann, "Ann", &[])), None, clock.now())
        .unwrap();
    for person in [&ann, &ben] {
        there
            .publish(
                unsigned(online(person, "elsewhere", &[])),
                None,
                clock.now(),
            )
            .unwrap();
    }
    settle(&mut here, &mut clock);
    let tell = |here: &mut State, there: &mut State, clock: &Clock| {
        for action in there.drain() {
            if let Action::Change(change) = action {
                here.from_elsewhere(change, &name, clock.now());
            }
        }
    };
    tell(&mut here, &mut there, &clock);
    let names: Vec<String> = here
        .standings()
        .into_iter()
        .map(|row| row.content)
        .collect();
    assert!(names.contains(&"Ann".to_owned()) && names.contains(&"elsewhere".to_owned()));
    assert_eq!(names.len(), 2);
    let frames = said(&settle(&mut here, &mut clock));
    assert_eq!(
        peer_of(&frames[0].changes[0]),
        ben.public().to_peer_id().to_base58()
    );
    for person in [&ann, &ben] {
        let leave = unsigned(support::offline(person, 0));
        there.publish(leave, None, clock.now()).unwrap();
    }
    tell(&mut here, &mut there, &clock);
    assert_eq!(here.peers(), 1);
    assert_eq!(here.standings()[0].content, "Ann");
}
