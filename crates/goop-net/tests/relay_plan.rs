//! The relay plan as a value: what it asks for, when, and that nothing makes it give up.

#![allow(clippy::unwrap_used)]

use std::time::{Duration, Instant};

use goop_net::address::Reach;
use goop_net::circuit::Limit;
use goop_net::circuit::hop::Granted;
use goop_net::relay::{Action, RelayInfo, RelayPlan, RelayState, RelayTimings, Trouble};
use goop_net::{Multiaddr, PeerId};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

fn addr(text: &str) -> Multiaddr {
    text.parse().unwrap()
}

fn info(addrs: &[&str]) -> RelayInfo {
    RelayInfo {
        peer: PeerId::random(),
        addrs: addrs.iter().map(|text| addr(text)).collect(),
        timings: RelayTimings::default(),
    }
}

const HOME: &str = "/ip4/203.0.113.7/tcp/4001";

fn granted(seconds: u64, addrs: &[&str]) -> Granted {
    Granted {
        lifetime: Duration::from_secs(seconds),
        addrs: addrs.iter().map(|text| addr(text)).collect(),
        limit: Limit::default(),
    }
}

/// A plan with its clock and what it asked for.
struct Bench {
    plan: RelayPlan,
    now: Instant,
    relay: PeerId,
    asked: Vec<Action>,
}

impl Bench {
    fn new(info: RelayInfo) -> Self {
        let now = Instant::now();
        let mut plan = RelayPlan::seeded(Reach::Network, 7, now);
        let relay = info.peer;
        plan.set(Some(info), now);
        Self {
            plan,
            now,
            relay,
            asked: Vec::new(),
        }
    }

    fn actions(&mut self) -> Vec<Action> {
        let new = std::iter::from_fn(|| self.plan.next_action());
        self.asked.extend(new);
        std::mem::take(&mut self.asked)
    }

    /// Time passes, up to the moment when the plan asks for something.
    fn wait(&mut self, time: Duration) {
        let end = self.now + time;
        self.asked = self.actions();
        if !self.asked.is_empty() {
            return;
        }
        while let Some(wake) = self.plan.next_wake().filter(|wake| *wake <= end) {
            self.now = self.now.max(wake);
            self.plan.tick(self.now);
            self.asked = self.actions();
            if !self.asked.is_empty() {
                return;
            }
        }
        self.now = end;
    }

    fn dials(&mut self) -> Vec<Multiaddr> {
        let relay = self.relay;
        match self.actions().as_slice() {
            [Action::Dial { relay: who, addrs }] if *who == relay => addrs.clone(),
            other => panic!("not a dial: {other:?}"),
        }
    }

    fn asks(&mut self) -> u64 {
        match self.actions().as_slice() {
            [Action::Reserve { attempt, .. }] => *attempt,
            other => panic!("not a request: {other:?}"),
        }
    }

    fn answer(&mut self, attempt: u64, answer: Result<Granted, Trouble>) {
        self.plan.answered(attempt, answer, self.now);
    }

    fn connect(&mut self) {
        self.plan.connected(addr(HOME), self.now);
    }

    /// Up to a reservation of an hour.
    fn reserve(&mut self) {
        self.dials();
        self.connect();
        let attempt = self.asks();
        self.answer(attempt, Ok(granted(3_600, &[])));
        assert!(self.plan.has_circuit());
    }

    fn retry_in(&self) -> Duration {
        match self.plan.state() {
            RelayState::Lost {
                retry_at: Some(at), ..
            } => at - self.now,
            other => panic!("no pause: {other:?}"),
        }
    }

    fn circuits(&self) -> Vec<String> {
        let circuits = self.plan.circuits().iter();
        let suffix = format!("/p2p/{}/p2p-circuit", self.relay);
        circuits
            .map(|way| way.to_string().replace(&suffix, " circuit"))
            .collect()
    }
}

#[test]
fn dialled_asked_held() {
    let mut bench = Bench::new(info(&[HOME]));
    assert_eq!(bench.plan.state(), RelayState::Connecting);
    assert_eq!(bench.dials(), [addr(HOME)]);
    bench.connect();
    let attempt = bench.asks();
    bench.wait(Duration::from_secs(1));
    bench.answer(attempt, Ok(granted(3_600, &[])));
    let expected = RelayState::Reserved {
        addrs: bench.plan.circuits().to_vec(),
        since: bench.now,
    };
    assert_eq!(bench.plan.state(), expected);
    assert_eq!(bench.circuits(), [format!("{HOME} circuit")]);
    assert_eq!(bench.actions(), []);
}

#[test]
fn addresses_of_the_relay_are_cleaned_and_private_ones_come_first() {
    let peer = PeerId::random();
    let mut relay = info(&[
        "/ip4/127.0.0.1/tcp/4001",
        HOME,
        "/ip4/203.0.113.7/tcp/443/tls/sni/relay.example/ws",
        "/ip4/0.0.0.0/tcp/4001",
        "/ip6/fe80::1/tcp/4001",
        "/ip4/10.0.0.5/tcp/4001",
    ]);
    relay.peer = peer;
    relay.addrs.push(addr(&format!("{HOME}/p2p/{peer}")));
    relay
        .addrs
        .push(addr(&format!("{HOME}/p2p/{}", PeerId::random())));
    relay.addrs.push(addr(&format!(
        "/ip4/203.0.113.7/tcp/443/tls/sni/relay.example/ws/p2p/{peer}"
    )));
    let mut bench = Bench::new(relay);
    let expected = [
        addr("/ip4/10.0.0.5/tcp/4001"),
        addr(HOME),
        addr("/dns4/relay.example/tcp/443/tls/ws"),
    ];
    assert_eq!(bench.dials(), expected);
}

#[test]
fn a_relay_that_is_nowhere_is_none() {
    let mut bench = Bench::new(info(&["/ip4/127.0.0.1/tcp/4001"]));
    assert_eq!(bench.plan.state(), RelayState::Off);
    assert_eq!(bench.actions(), []);
    assert_eq!(bench.plan.next_wake(), None);
}

#[test]
fn a_reservation_without_addresses_leads_where_we_are_connected() {
    let mut bench = Bench::new(info(&["/dns4/relay.example/tcp/443/tls/ws", HOME]));
    bench.dials();
    bench.connect();
    let attempt = bench.asks();
    bench.answer(attempt, Ok(granted(3_600, &[])));
    assert_eq!(
        bench.circuits(),
        [
            format!("{HOME} circuit"),
            "/dns4/relay.example/tcp/443/tls/ws circuit".to_owned(),
        ]
    );
}

#[test]
fn what_the_relay_says_of_itself_is_told_without_nonsense() {
    let mut bench = Bench::new(info(&[HOME]));
    bench.dials();
    bench.connect();
    let attempt = bench.asks();
    let said = [
        "/ip4/127.0.0.1/tcp/4001",
        "/ip4/203.0.113.7/udp/4001/quic-v1",
        HOME,
    ];
    bench.answer(attempt, Ok(granted(3_600, &said)));
    assert_eq!(
        bench.circuits(),
        [
            format!("{HOME} circuit"),
            "/ip4/203.0.113.7/udp/4001/quic-v1 circuit".to_owned(),
        ]
    );
}

#[test]
fn tries_come_at_once_then_ever_later_and_never_end() {
    let mut bench = Bench::new(info(&[HOME]));
    bench.dials();
    bench.plan.dial_failed("nobody".to_owned(), bench.now);
    // At once.
    bench.dials();
    for seconds in [1.0, 3.0, 6.0, 12.0, 30.0, 30.0, 30.0] {
        bench.plan.dial_failed("nobody".to_owned(), bench.now);
        let pause = bench.retry_in().as_secs_f64();
        assert!(
            (0.75..1.25).contains(&(pause / seconds)),
            "{pause} for {seconds}"
        );
        bench.wait(bench.retry_in());
        bench.dials();
    }
    // The reason is for people; a try under way has no time.
    let expected = RelayState::Lost {
        reason: "nobody".to_owned(),
        retry_at: None,
    };
    assert_eq!(bench.plan.state(), expected);
}

#[test]
fn a_dial_without_an_answer_is_given_up_in_time() {
    let mut bench = Bench::new(info(&[HOME]));
    bench.dials();
    bench.wait(RelayTimings::default().connect_timeout);
    bench.dials();
    // The late one counts all the same.
    bench.connect();
    bench.asks();
}

#[test]
fn a_renewal_comes_before_the_end_and_leaves_no_gap() {
    let mut bench = Bench::new(info(&[HOME]));
    bench.reserve();
    let RelayState::Reserved { since, .. } = bench.plan.state() else {
        panic!("not reserved")
    };
    bench.wait(Duration::from_secs(1_800));
    assert_eq!(bench.actions(), []);
    bench.wait(Duration::from_secs(1_200));
    let attempt = bench.asks();
    assert!(bench.plan.has_circuit());
    bench.answer(attempt, Ok(granted(3_600, &[])));
    let still =
        matches!(bench.plan.state(), RelayState::Reserved { since: same, .. } if same == since);
    assert!(still, "{:?}", bench.plan.state());
}

#[test]
fn a_clock_that_is_wrong_neither_floods_the_relay_nor_lets_the_reservation_end() {
    // What is left of the reservation by our clock, and how soon it must and may be renewed.
    for (seconds, soonest, latest) in [(0, 60, 120), (u64::MAX / 2, 1_800, 3_600)] {
        let mut bench = Bench::new(info(&[HOME]));
        bench.dials();
        bench.connect();
        let attempt = bench.asks();
        bench.answer(attempt, Ok(granted(seconds, &[])));
        bench.wait(Duration::from_secs(soonest));
        assert_eq!(bench.actions(), [], "{seconds}");
        bench.wait(Duration::from_secs(latest - soonest));
        bench.asks();
    }
}

#[test]
fn a_lost_connection_is_made_again_at_once_and_a_short_gap_is_told_nobody() {
    let mut bench = Bench::new(info(&[HOME]));
    bench.reserve();
    bench.plan.disconnected(bench.now);
    assert!(!bench.plan.has_circuit());
    bench.wait(Duration::from_secs(1));
    assert_eq!(bench.circuits().len(), 1, "within the grace");
    bench.dials();
    bench.connect();
    let attempt = bench.asks();
    bench.answer(attempt, Ok(granted(3_600, &[])));
    bench.wait(Duration::from_secs(60));
    assert_eq!(bench.circuits().len(), 1);
}

#[test]
fn a_long_gap_is_told() {
    let mut bench = Bench::new(info(&[HOME]));
    bench.reserve();
    bench.plan.disconnected(bench.now);
    bench.dials();
    bench.wait(RelayTimings::default().recovery_grace);
    assert_eq!(bench.circuits(), [""; 0]);
}

#[test]
fn a_refusal_keeps_the_connection() {
    let mut bench = Bench::new(info(&[HOME]));
    bench.dials();
    bench.connect();
    let attempt = bench.asks();
    bench.answer(attempt, Err(Trouble::Refused("full".to_owned())));
    let attempt = bench.asks();
    bench.answer(attempt, Err(Trouble::Refused("full".to_owned())));
    assert_eq!(bench.actions(), []);
    bench.wait(bench.retry_in());
    bench.asks();
}

#[test]
fn a_connection_that_does_not_answer_is_closed_and_made_anew() {
    let mut bench = Bench::new(info(&[HOME]));
    bench.dials();
    bench.connect();
    bench.asks();
    bench.wait(RelayTimings::default().poll_deadline);
    assert_eq!(bench.actions(), [Action::Close { relay: bench.relay }]);
    bench.plan.disconnected(bench.now);
    assert_eq!(bench.actions(), [], "the relay has to notice first");
    bench.wait(RelayTimings::default().cleanup_delay);
    bench.dials();
}

#[test]
fn an_answer_to_an_earlier_request_changes_nothing() {
    let mut bench = Bench::new(info(&[HOME]));
    bench.dials();
    bench.connect();
    let old = bench.asks();
    bench.plan.disconnected(bench.now);
    bench.dials();
    bench.connect();
    let new = bench.asks();
    bench.answer(old, Ok(granted(3_600, &[])));
    assert!(!bench.plan.has_circuit());
    bench.answer(new, Ok(granted(3_600, &[])));
    assert!(bench.plan.has_circuit());
}

#[test]
fn a_pulse_ends_a_pause_and_does_everything_anew_if_that_does_not_help() {
    let mut bench = Bench::new(info(&[HOME]));
    bench.dials();
    bench.connect();
    for _ in 0..5 {
        let attempt = bench.asks();
        bench.answer(attempt, Err(Trouble::Refused("full".to_owned())));
        bench.wait(Duration::from_secs(60));
    }
    let attempt = bench.asks();
    bench.answer(attempt, Err(Trouble::Refused("full".to_owned())));
    assert!(bench.retry_in() > Duration::from_secs(20));
    bench.plan.pulse(bench.now);
    let attempt = bench.asks();
    bench.answer(attempt, Err(Trouble::Refused("full".to_owned())));
    let asked = bench.now;
    bench.wait(Duration::from_secs(20));
    assert_eq!(bench.actions(), [Action::Close { relay: bench.relay }]);
    assert_eq!(bench.now - asked, RelayTimings::default().recovery_grace);
}

#[test]
fn a_pulse_to_a_peer_that_is_well_does_nothing() {
    let mut bench = Bench::new(info(&[HOME]));
    bench.reserve();
    bench.plan.pulse(bench.now);
    bench.wait(Duration::from_secs(600));
    assert_eq!(bench.actions(), []);
}

#[test]
fn without_a_relay_nothing_happens() {
    let now = Instant::now();
    let mut plan = RelayPlan::new(Reach::Network, now);
    plan.pulse(now);
    plan.nudge(now);
    plan.refresh(now);
    plan.verify(now);
    plan.connected(addr(HOME), now);
    plan.disconnected(now);
    plan.tick(now);
    assert_eq!(plan.next_action(), None);
    assert_eq!(plan.next_wake(), None);
    assert_eq!(plan.state(), RelayState::Off);
}

#[test]
fn another_network_makes_the_reservation_be_looked_at() {
    let mut bench = Bench::new(info(&[HOME]));
    bench.reserve();
    bench.plan.verify(bench.now);
    bench.asks();
    assert!(bench.plan.has_circuit(), "until it is shown to be gone");
}

#[test]
fn a_dial_on_a_network_that_we_left_is_begun_anew() {
    let mut bench = Bench::new(info(&[HOME]));
    bench.dials();
    bench.plan.verify(bench.now);
    bench.dials();
}

#[test]
fn the_same_relay_elsewhere_keeps_its_reservation_and_another_one_does_not() {
    let first = info(&[HOME]);
    let mut bench = Bench::new(first.clone());
    bench.reserve();
    let mut moved = first.clone();
    moved.addrs.push(addr("/ip4/203.0.113.8/tcp/4001"));
    bench.plan.set(Some(moved.clone()), bench.now);
    assert_eq!(bench.actions(), []);
    assert_eq!(bench.circuits().len(), 2);
    bench.plan.set(Some(moved), bench.now);
    assert!(bench.plan.has_circuit());
    let other = info(&["/ip4/203.0.113.9/tcp/4001"]);
    bench.plan.set(Some(other.clone()), bench.now);
    let expected = [
        Action::Close { relay: first.peer },
        Action::Dial {
            relay: other.peer,
            addrs: other.addrs.clone(),
        },
    ];
    assert_eq!(bench.actions(), expected);
    assert_eq!(bench.circuits(), [""; 0]);
    bench.plan.set(None, bench.now);
    assert_eq!(bench.actions(), [Action::Close { relay: other.peer }]);
    assert_eq!(bench.plan.state(), RelayState::Off);
    assert_eq!(bench.plan.next_wake(), None);
}

/// A relay and a network that do what they like for an hour, then behave: the reservation is back soon.
#[test]
fn whatever_happened_the_reservation_comes_back() {
    let seeds = match std::env::var("GOOP_SEED") {
        Ok(seed) => {
            let seed: u64 = seed.parse().unwrap();
            seed..seed + 1
        }
        Err(_) => 0..200,
    };
    for seed in seeds {
        let mut rng = StdRng::seed_from_u64(seed);
        let mut bench = Bench::new(info(&[HOME]));
        let mut world = World::default();
        for _ in 0..400 {
            world.misbehave(&mut bench, &mut rng);
        }
        let calm = bench.now;
        while !bench.plan.has_circuit() {
            world.behave(&mut bench);
            let gap = bench.now - calm;
            assert!(
                gap < Duration::from_secs(50),
                "GOOP_SEED={seed}: {gap:?}, {:?}",
                bench.plan
            );
        }
        assert!(!bench.plan.circuits().is_empty(), "GOOP_SEED={seed}");
    }
}

/// What the host would do and see.
#[derive(Default)]
struct World {
    connected: bool,
    dialling: bool,
    asked: Option<u64>,
}

impl World {
    fn take(&mut self, bench: &mut Bench) {
        for action in bench.actions() {
            match action {
                Action::Dial { .. } => self.dialling = true,
                Action::Reserve { attempt, .. } => self.asked = Some(attempt),
                Action::Close { .. } if self.connected => {
                    self.connected = false;
                    self.asked = None;
                    bench.plan.disconnected(bench.now);
                }
                Action::Close { .. } => {}
            }
        }
    }

    fn misbehave(&mut self, bench: &mut Bench, rng: &mut StdRng) {
        self.take(bench);
        match rng.random_range(0..9) {
            0 if self.dialling && !self.connected => {
                self.dialling = false;
                self.connected = true;
                bench.connect();
            }
            1 if self.dialling => {
                self.dialling = false;
                bench.plan.dial_failed("no".to_owned(), bench.now);
            }
            2 if self.connected => {
                self.connected = false;
                bench.plan.disconnected(bench.now);
            }
            3 => {
                if let Some(attempt) = self.asked.take() {
                    let answer = match rng.random_range(0..3) {
                        0 => Ok(granted(rng.random_range(0..4_000), &[])),
                        1 => Err(Trouble::Refused("no".to_owned())),
                        _ => Err(Trouble::Broken("what".to_owned())),
                    };
                    bench.answer(attempt, answer);
                }
            }
            4 => bench.plan.pulse(bench.now),
            5 => bench.plan.verify(bench.now),
            _ => bench.wait(Duration::from_millis(rng.random_range(0..20_000))),
        }
    }

    fn behave(&mut self, bench: &mut Bench) {
        self.take(bench);
        if std::mem::take(&mut self.dialling) && !self.connected {
            self.connected = true;
            bench.connect();
        }
        self.take(bench);
        if let Some(attempt) = self.asked.take().filter(|_| self.connected) {
            bench.answer(attempt, Ok(granted(3_600, &[])));
        }
        bench.wait(Duration::from_millis(100));
    }
}
