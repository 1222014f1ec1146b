//! The relay we use, and holding a place on it (network.md 9), as a value: what happens goes in with the time, what to
//! do comes out of [`RelayPlan::next_action`].
//!
//! One owner decides about the reservation (weak point 13 of the Go program): it is counted by what the relay granted
//! and not by the look of our addresses (12), the relay may be learned, changed or lost at any time (14), and nothing
//! makes it give up.

mod info;
pub mod refresh;

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use libp2p::Multiaddr;
use libp2p::multiaddr::Protocol;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::PeerId;
use crate::address::{Reach, for_dialling, ip_of, is_private};
use crate::circuit::hop::Granted;

pub use info::{RelayInfo, RelayTimings};

/// Pauses before tries, the first at once (network.md 9.5), then as often as Go asks anew (9.2).
const PAUSES: [Duration; 6] = [
    Duration::ZERO,
    Duration::from_secs(1),
    Duration::from_secs(3),
    Duration::from_secs(6),
    Duration::from_secs(12),
    Duration::from_secs(30),
];
/// A reservation is renewed after this part of its life, so that a lost answer can be asked for again.
const RENEW_AT: f64 = 0.7;
/// No reservation is taken to be shorter than this, because the relay's clock, in which it says the end, may be wrong …
const SHORTEST: Duration = Duration::from_secs(120);
/// … nor longer (a Go relay grants 1 h).
const LONGEST: Duration = Duration::from_secs(3_600);
/// Addresses through the relay that are told to others: they need few, and each takes one of 20 places.
const MAX_PUBLISHED: usize = 6;
/// Checks without a reservation before everything is done anew (network.md 9.6).
const CHECKS: u32 = 3;

/// How it stands with the relay, for people.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum RelayState {
    /// No relay is known.
    #[default]
    Off,
    /// It is being asked for the first time.
    Connecting,
    /// Others can reach us through it.
    Reserved {
        /// The addresses that lead to us.
        addrs: Vec<Multiaddr>,
        /// Since when, without a gap.
        since: Instant,
    },
    /// Nobody reaches us through it at present.
    Lost {
        /// Why, in words.
        reason: String,
        /// The next try; `None` while one is under way.
        retry_at: Option<Instant>,
    },
}

/// What to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Dial the relay at these addresses, all of them.
    Dial {
        /// Who.
        relay: PeerId,
        /// Where.
        addrs: Vec<Multiaddr>,
    },
    /// Ask it for a reservation; the answer goes to [`RelayPlan::answered`] with the same number.
    Reserve {
        /// Who.
        relay: PeerId,
        /// Tells this request from earlier ones.
        attempt: u64,
    },
    /// Close every connection to it.
    Close {
        /// Who.
        relay: PeerId,
    },
}

/// Why there was no reservation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trouble {
    /// The relay answered, and the answer is no. The connection is fine.
    Refused(String),
    /// No answer, or none that makes sense: the connection may be dead.
    Broken(String),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Nothing to do.
    Off,
    Pausing {
        until: Instant,
    },
    /// Connections were closed, so that the relay notices before we come again.
    Cleaning {
        until: Instant,
    },
    Dialling {
        until: Instant,
    },
    Asking {
        until: Instant,
    },
    Held {
        renew_at: Instant,
    },
    Renewing {
        until: Instant,
    },
}

impl Phase {
    fn until(self) -> Option<Instant> {
        match self {
            Self::Off => None,
            Self::Pausing { until }
            | Self::Cleaning { until }
            | Self::Dialling { until }
            | Self::Asking { until }
            | Self::Renewing { until } => Some(until),
            Self::Held { renew_at } => Some(renew_at),
        }
    }
}

/// The plan.
#[derive(Debug)]
pub struct RelayPlan {
    reach: Reach,
    info: Option<RelayInfo>,
    phase: Phase,
    /// Where the relay is connected.
    connected: Option<Multiaddr>,
    /// What the newest reservation said.
    granted: Vec<Multiaddr>,
    /// Addresses through the relay, while they are worth telling.
    circuits: Vec<Multiaddr>,
    since: Instant,
    /// When the last reservation ended without another.
    lost_at: Option<Instant>,
    reason: Option<String>,
    failures: usize,
    attempt: u64,
    check_at: Instant,
    checks: u32,
    /// Everything anew, unless there is a reservation by then.
    refresh_at: Option<Instant>,
    actions: VecDeque<Action>,
    rng: StdRng,
}

impl RelayPlan {
    /// A plan without a relay.
    #[must_use]
    pub fn new(reach: Reach, now: Instant) -> Self {
        Self::seeded(reach, rand::random(), now)
    }

    /// A plan whose jitter follows from `seed`, for tests that can be repeated.
    #[must_use]
    pub fn seeded(reach: Reach, seed: u64, now: Instant) -> Self {
        Self {
            reach,
            info: None,
            phase: Phase::Off,
            connected: None,
            granted: Vec::new(),
            circuits: Vec::new(),
            since: now,
            lost_at: None,
            reason: None,
            failures: 0,
            attempt: 0,
            check_at: now,
            checks: 0,
            refresh_at: None,
            actions: VecDeque::new(),
            rng: StdRng::seed_from_u64(seed),
        }
    }

    /// The relay to use from here on, if any. The same one with other addresses keeps its reservation.
    pub fn set(&mut self, info: Option<RelayInfo>, now: Instant) {
        let info = info
            .map(|info| info.settled(self.reach))
            .filter(|info| !info.addrs.is_empty());
        if info == self.info {
            return;
        }
        let same = match (&self.info, &info) {
            (Some(old), Some(new)) => old.peer == new.peer,
            _ => false,
        };
        let old = std::mem::replace(&mut self.info, info);
        if same {
            self.circuits = self.ways();
            self.nudge(now);
            return;
        }
        if let Some(old) = old {
            self.actions.push_back(Action::Close { relay: old.peer });
        }
        self.phase = Phase::Off;
        self.connected = None;
        self.granted.clear();
        self.circuits.clear();
        self.lost_at = None;
        self.reason = None;
        self.failures = 0;
        self.checks = 0;
        self.refresh_at = None;
        if let Some(info) = &self.info {
            self.check_at = now + info.timings.refresh_interval;
            self.begin(now);
        }
    }

    /// The relay in use.
    #[must_use]
    pub fn info(&self) -> Option<&RelayInfo> {
        self.info.as_ref()
    }

    /// Whether a peer is the relay in use.
    #[must_use]
    pub fn is_relay(&self, peer: &PeerId) -> bool {
        self.info.as_ref().is_some_and(|info| info.peer == *peer)
    }

    /// Where the relay is connected to us.
    #[must_use]
    pub fn connected_at(&self) -> Option<&Multiaddr> {
        self.connected.as_ref()
    }

    /// Where the relay is connected to us, or was until a moment ago: who needs it waits for a short gap to close (the
    /// recovery grace), as those do who were told the way through it.
    #[must_use]
    pub fn reached_at(&self) -> Option<&Multiaddr> {
        let grace = !self.circuits.is_empty();
        let was = self.info.as_ref().filter(|_| grace);
        self.connected.as_ref().or_else(|| was?.addrs.first())
    }

    /// Whether others can reach us through the relay, as far as we know.
    #[must_use]
    pub fn has_circuit(&self) -> bool {
        matches!(self.phase, Phase::Held { .. } | Phase::Renewing { .. })
    }

    /// The addresses through the relay to tell others. They outlive a short gap (the recovery grace).
    #[must_use]
    pub fn circuits(&self) -> &[Multiaddr] {
        &self.circuits
    }

    /// How it stands, for people.
    #[must_use]
    pub fn state(&self) -> RelayState {
        match (&self.reason, self.phase) {
            (_, Phase::Off) => RelayState::Off,
            (_, Phase::Held { .. } | Phase::Renewing { .. }) => RelayState::Reserved {
                addrs: self.circuits.clone(),
                since: self.since,
            },
            (None, _) => RelayState::Connecting,
            (Some(reason), phase) => RelayState::Lost {
                reason: reason.clone(),
                retry_at: match phase {
                    Phase::Pausing { until } | Phase::Cleaning { until } => Some(until),
                    _ => None,
                },
            },
        }
    }

    /// What to do next; to be asked until there is nothing.
    pub fn next_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// When [`RelayPlan::tick`] has something to do.
    #[must_use]
    pub fn next_wake(&self) -> Option<Instant> {
        self.info.as_ref()?;
        [
            self.phase.until(),
            Some(self.check_at),
            self.refresh_at,
            self.withdraw_at(),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    fn withdraw_at(&self) -> Option<Instant> {
        let grace = self.info.as_ref()?.timings.recovery_grace;
        self.lost_at
            .filter(|_| !self.circuits.is_empty())
            .map(|lost| lost + grace)
    }

    /// Does what is due.
    pub fn tick(&mut self, now: Instant) {
        let Some(interval) = self.info.as_ref().map(|info| info.timings.refresh_interval) else {
            return;
        };
        if self.phase.until().is_some_and(|until| until <= now) {
            self.time_is_up(now);
        }
        if self.withdraw_at().is_some_and(|at| at <= now) {
            self.circuits.clear();
        }
        if self.refresh_at.is_some_and(|at| at <= now) {
            self.refresh_at = None;
            if !self.has_circuit() {
                self.refresh(now);
            }
        }
        if self.check_at <= now {
            self.check_at = now + interval;
            self.check(now);
        }
    }

    fn time_is_up(&mut self, now: Instant) {
        match self.phase {
            Phase::Off => {}
            Phase::Pausing { .. } | Phase::Cleaning { .. } => self.begin(now),
            Phase::Dialling { .. } => {
                self.failed("nobody answers at its addresses".to_owned(), now)
            }
            Phase::Asking { .. } | Phase::Renewing { .. } => {
                self.broken("it does not answer".to_owned(), now);
            }
            Phase::Held { .. } => self.ask(now),
        }
    }

    /// The regular look (network.md 9.6): nothing is left alone without a reservation.
    fn check(&mut self, now: Instant) {
        if self.has_circuit() {
            self.checks = 0;
            return;
        }
        self.checks += 1;
        if self.checks >= CHECKS {
            self.checks = 0;
            self.refresh(now);
        } else {
            self.nudge(now);
        }
    }

    /// A pause ends now (network.md 9.3).
    pub fn nudge(&mut self, now: Instant) {
        if let Phase::Pausing { .. } = self.phase {
            self.begin(now);
        }
    }

    /// The relay itself asks us to be reachable again (network.md 7.7): a nudge, and everything anew if that does not
    /// help within the grace.
    pub fn pulse(&mut self, now: Instant) {
        let Some(grace) = self.info.as_ref().map(|info| info.timings.recovery_grace) else {
            return;
        };
        if !self.has_circuit() {
            self.nudge(now);
            self.refresh_at.get_or_insert(now + grace);
        }
    }

    /// Everything anew (network.md 9.4): closed, a moment for the relay to notice, connected, asked.
    pub fn refresh(&mut self, now: Instant) {
        if self.info.is_none() || matches!(self.phase, Phase::Cleaning { .. }) {
            return;
        }
        self.end_reservation(now);
        if self.connected.is_some() {
            self.clean(Duration::ZERO, now);
        } else {
            self.begin(now);
        }
    }

    /// Closes the connections and waits, so that the relay notices before we come again.
    fn clean(&mut self, at_least: Duration, now: Instant) {
        let Some(info) = &self.info else { return };
        self.actions.push_back(Action::Close { relay: info.peer });
        self.phase = Phase::Cleaning {
            until: now + info.timings.cleanup_delay.max(at_least),
        };
    }

    /// The network around us changed: the connection may be dead without knowing, and asking finds out.
    pub fn verify(&mut self, now: Instant) {
        match self.phase {
            Phase::Held { .. } => self.ask(now),
            // A dial that is under way began on the old network.
            Phase::Dialling { .. } => self.begin(now),
            _ => self.nudge(now),
        }
    }

    /// A direct connection to the relay came up; `addr` is where it is.
    pub fn connected(&mut self, addr: Multiaddr, now: Instant) {
        if self.info.is_none() {
            return;
        }
        self.connected.get_or_insert(addr);
        if matches!(self.phase, Phase::Dialling { .. } | Phase::Pausing { .. }) {
            self.ask(now);
        }
    }

    /// The last connection to the relay went down.
    pub fn disconnected(&mut self, now: Instant) {
        if self.info.is_none() || self.connected.take().is_none() {
            return;
        }
        if !matches!(self.phase, Phase::Cleaning { .. } | Phase::Dialling { .. }) {
            self.failed("the connection to it was lost".to_owned(), now);
        }
    }

    /// A dial that was asked for failed.
    pub fn dial_failed(&mut self, reason: String, now: Instant) {
        if matches!(self.phase, Phase::Dialling { .. }) {
            self.failed(reason, now);
        }
    }

    /// What became of [`Action::Reserve`]. Answers to earlier requests change nothing.
    pub fn answered(&mut self, attempt: u64, answer: Result<Granted, Trouble>, now: Instant) {
        let waiting = matches!(self.phase, Phase::Asking { .. } | Phase::Renewing { .. });
        if attempt != self.attempt || !waiting {
            return;
        }
        match answer {
            Ok(granted) => self.held(granted, now),
            Err(Trouble::Refused(reason)) => self.failed(reason, now),
            Err(Trouble::Broken(reason)) => self.broken(reason, now),
        }
    }

    fn held(&mut self, granted: Granted, now: Instant) {
        if matches!(self.phase, Phase::Asking { .. }) {
            self.since = now;
        }
        let life = granted.lifetime.clamp(SHORTEST, LONGEST);
        self.phase = Phase::Held {
            renew_at: now + life.mul_f64(RENEW_AT * self.rng.random_range(0.9..1.1)),
        };
        self.granted = granted.addrs;
        self.circuits = self.ways();
        self.lost_at = None;
        self.reason = None;
        self.failures = 0;
        self.checks = 0;
        self.refresh_at = None;
    }

    fn begin(&mut self, now: Instant) {
        let Some(info) = &self.info else { return };
        if self.connected.is_some() {
            self.ask(now);
            return;
        }
        let mut addrs: Vec<Multiaddr> = Vec::new();
        for addr in info.addrs.iter().cloned().map(for_dialling) {
            if !addrs.contains(&addr) {
                addrs.push(addr);
            }
        }
        self.phase = Phase::Dialling {
            until: now + info.timings.connect_timeout,
        };
        self.actions.push_back(Action::Dial {
            relay: info.peer,
            addrs,
        });
    }

    fn ask(&mut self, now: Instant) {
        let Some(info) = &self.info else { return };
        self.attempt += 1;
        let until = now + info.timings.poll_deadline;
        self.phase = if self.has_circuit() {
            Phase::Renewing { until }
        } else {
            Phase::Asking { until }
        };
        self.actions.push_back(Action::Reserve {
            relay: info.peer,
            attempt: self.attempt,
        });
    }

    fn end_reservation(&mut self, now: Instant) {
        if self.has_circuit() {
            self.lost_at = Some(now);
        }
    }

    /// Tries again later, and later each time.
    fn failed(&mut self, reason: String, now: Instant) {
        let pause = self.note_failure(reason, now);
        self.phase = Phase::Pausing { until: now + pause };
        if pause.is_zero() {
            self.begin(now);
        }
    }

    /// How long to wait before the next try.
    fn note_failure(&mut self, reason: String, now: Instant) -> Duration {
        self.end_reservation(now);
        self.reason = Some(reason);
        let pause = PAUSES[self.failures.min(PAUSES.len() - 1)];
        self.failures += 1;
        // Jitter, so that all who lost one relay do not come back in step.
        pause.mul_f64(self.rng.random_range(0.75..1.25))
    }

    /// A connection that does not answer is of no use.
    fn broken(&mut self, reason: String, now: Instant) {
        if self.connected.is_some() {
            let pause = self.note_failure(reason, now);
            self.clean(pause, now);
        } else {
            self.failed(reason, now);
        }
    }

    /// The addresses through the relay: where we reach it, where it says it is, where we were told it is.
    fn ways(&self) -> Vec<Multiaddr> {
        let Some(info) = self.info.as_ref().filter(|_| self.has_circuit()) else {
            return Vec::new();
        };
        let mut ways = Vec::new();
        let said = self
            .connected
            .iter()
            .chain(&self.granted)
            .chain(&info.addrs);
        for addr in said {
            let way = addr
                .clone()
                .with(Protocol::P2p(info.peer))
                .with(Protocol::P2pCircuit);
            if info::means_something(addr, self.reach) && !ways.contains(&way) {
                ways.push(way);
            }
        }
        // What works from everywhere first.
        ways.sort_by_key(|way| ip_of(way).is_some_and(is_private));
        ways.truncate(MAX_PUBLISHED);
        ways
    }
}
