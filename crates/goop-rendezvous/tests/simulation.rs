//! Hundreds of peers that come, go, crash, flap and lie, from a seed: whoever listens knows in the end what the server
//! knows, whether it heard everything, only the news, or fell behind and took a snapshot. `GOOP_SEED=<n>` repeats a run.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use bytes::Bytes;
use goop_identity::Keypair;
use goop_rendezvous::state::{Action, Hello, SocketId, State, TTL};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use support::{Clock, addr, offline, online, signed, unsigned};

const PEERS: usize = 150;
const STEPS: usize = 2_000;

/// What a client believes: each peer's name.
#[derive(Default)]
struct Listener {
    known: BTreeMap<String, String>,
}

impl Listener {
    fn hear<'a>(&mut self, frames: impl IntoIterator<Item = &'a Bytes>) {
        for frame in frames {
            let message: serde_json::Value = serde_json::from_slice(frame).unwrap();
            let peer = message["peerId"].as_str().unwrap().to_owned();
            match message["type"].as_str().unwrap() {
                "offline" => drop(self.known.remove(&peer)),
                "punch" => {}
                _ => {
                    let name = message["content"].as_str().unwrap_or_default().to_owned();
                    self.known.insert(peer, name);
                }
            }
        }
    }

    /// Falls behind and begins again.
    fn restart(&mut self, snapshot: &[Bytes]) {
        self.known.clear();
        self.hear(snapshot);
    }
}

fn run(seed: u64) {
    let mut random = StdRng::seed_from_u64(seed);
    let mut clock = Clock::start();
    let mut state = State::new(clock.now());
    let people: Vec<Keypair> = (0..PEERS).map(|_| Keypair::generate_ed25519()).collect();
    let mut sockets: HashMap<usize, SocketId> = HashMap::new();
    let (mut all, mut news, mut strangers, mut slow) = (
        Listener::default(),
        Listener::default(),
        Listener::default(),
        Listener::default(),
    );
    let mut behind = false;
    for _ in 0..STEPS {
        let who = random.random_range(0..PEERS);
        let person = &people[who];
        let signs = who % 3 == 0;
        let say = |record, clock: &Clock| {
            if signs {
                signed(person, record, clock.now().ms)
            } else {
                unsigned(record)
            }
        };
        match random.random_range(0..100) {
            0..55 => {
                let name = format!("{who}-{}", random.random_range(0..2));
                let place = addr(who + PEERS * random.random_range(0..2));
                let message = say(online(person, &name, &[&place]), &clock);
                let _ = state.publish(message, sockets.get(&who).copied(), clock.now());
            }
            55..65 => {
                let message = say(offline(person, clock.now().ms), &clock);
                let _ = state.publish(message, None, clock.now());
            }
            // Somebody else speaks for the peer.
            65..70 => {
                let lie = unsigned(online(person, &format!("{who}-lie"), &[]));
                if state.publish(lie, None, clock.now()).is_ok() {
                    assert!(!signs || !said_signed(&state, person), "seed {seed}");
                }
            }
            70..85 => {
                let hello = if signs { Hello::Promised } else { Hello::None };
                if let Ok(welcome) = state.attach(person.public().to_peer_id(), hello, clock.now())
                {
                    if signs {
                        state.proved(welcome.socket, clock.now());
                    }
                    sockets.insert(who, welcome.socket);
                }
            }
            _ => {
                if let Some(socket) = sockets.remove(&who) {
                    state.detach(socket, clock.now());
                }
            }
        }
        clock.pass(Duration::from_millis(random.random_range(0..120)));
        state.tick(clock.now(), true);
        for action in state.drain() {
            match action {
                Action::Frames(batch) => {
                    all.hear(batch.all.iter());
                    news.hear(batch.changes.iter());
                    strangers.hear(batch.strangers.iter());
                    if behind && random.random_bool(0.3) {
                        slow.restart(&state.snapshot());
                        behind = false;
                    } else if !behind {
                        slow.hear(batch.all.iter());
                        behind = random.random_bool(0.05);
                    }
                }
                Action::Close(socket) => {
                    sockets.retain(|_, open| *open != socket);
                    state.detach(socket, clock.now());
                }
                Action::Challenge(socket) if random.random_bool(0.5) => state.alive(socket),
                _ => {}
            }
        }
    }
    if behind {
        slow.restart(&state.snapshot());
    }
    // What waits goes out; nobody is silent for long enough to be dropped.
    clock.pass(Duration::from_millis(1_100));
    state.tick(clock.now(), true);
    for action in state.drain() {
        if let Action::Frames(batch) = action {
            all.hear(batch.all.iter());
            news.hear(batch.changes.iter());
            strangers.hear(batch.strangers.iter());
            slow.hear(batch.all.iter());
        }
    }
    let truth: BTreeMap<String, String> = state
        .standings()
        .into_iter()
        .map(|row| (row.peer_id, row.content))
        .collect();
    assert!(truth.len() > 20, "seed {seed}: {} peers", truth.len());
    for (name, listener) in [
        ("all", &all),
        ("news", &news),
        ("strangers", &strangers),
        ("slow", &slow),
    ] {
        assert_eq!(listener.known, truth, "seed {seed}: {name}");
    }
    // Everybody falls silent.
    for _ in 0..10 {
        clock.pass(TTL / 4);
        state.tick(clock.now(), true);
    }
    assert_eq!(state.peers(), 0, "seed {seed}");
    // With nobody there, nothing has to be done but the next look.
    state.drain();
    assert!(state.next() > clock.now().at, "seed {seed}");
}

fn said_signed(state: &State, person: &Keypair) -> bool {
    let row = state.standing(&person.public().to_peer_id());
    row.is_some_and(|row| row.signed)
}

#[test]
fn listeners_know_what_the_server_knows() {
    match std::env::var("GOOP_SEED") {
        Ok(seed) => run(seed.parse().unwrap()),
        Err(_) => (0..3).for_each(run),
    }
}
