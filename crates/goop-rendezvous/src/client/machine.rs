//! How a client keeps in touch with one server, as a value (rendezvous.md 18.5): what happened goes in with the time,
//! what to do comes out.
//!
//! It never gives up, never decides by the words of an error, and does not hammer: every pause grows, with jitter, so
//! that a server that comes back is not met by everybody at once.

use goop_http::HttpError;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

/// Pauses after failures in a row; the last one repeats.
const BACKOFF: [Duration; 7] = [
    Duration::from_millis(250),
    Duration::from_millis(500),
    Duration::from_secs(1),
    Duration::from_secs(2),
    Duration::from_secs(5),
    Duration::from_secs(10),
    Duration::from_secs(30),
];
/// A pause is longer or shorter by as much.
const JITTER: f64 = 0.3;
/// So many failures in a row open the event stream beside the attempts.
const STREAM_AFTER: u32 = 3;
/// A socket that lasted this long was a good one: the next failure is the first again.
const GOOD: Duration = Duration::from_secs(60);
/// A server that does not know us yet is asked again after this, doubling …
const UNKNOWN_FIRST: Duration = Duration::from_millis(250);
/// … to this.
const UNKNOWN_LONGEST: Duration = Duration::from_secs(2);
/// A server without sockets is asked for one again after this …
const PROBE_FIRST: Duration = Duration::from_secs(3);
/// … then this often …
const PROBE_EVERY: Duration = Duration::from_secs(10);
/// … and this often after [`PROBES_OFTEN`] failures.
const PROBE_RARELY: Duration = Duration::from_secs(60);
/// See [`PROBE_RARELY`].
const PROBES_OFTEN: u32 = 10;

/// Why something did not work, by status code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// 425: the server has no record of us (any more).
    Unknown,
    /// 403, 404, 405, 501: it offers no socket, or something between us does not let it through.
    Unsupported,
    /// Everything else: too many requests, an error of the server, the network.
    Other,
}

impl Failure {
    /// What it means that a server could not be asked.
    #[must_use]
    pub fn of(error: &HttpError) -> Self {
        match error {
            HttpError::Status(status) => match status.as_u16() {
                425 => Self::Unknown,
                403 | 404 | 405 | 501 => Self::Unsupported,
                _ => Self::Other,
            },
            HttpError::NotASocket => Self::Unsupported,
            HttpError::Address(_)
            | HttpError::Late(_)
            | HttpError::Connection(_)
            | HttpError::Body => Self::Other,
        }
    }
}

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Input {
    /// The socket is open.
    SocketOpen,
    /// It could not be opened.
    SocketFailed(Failure),
    /// A message came over it.
    SocketHeard,
    /// It ended.
    SocketClosed,
    /// A probe says that sockets work now.
    ProbeAnswered,
    /// A probe says that they still do not.
    ProbeFailed,
    /// The event stream is open.
    StreamOpen,
    /// It could not be opened, or ended.
    StreamFailed,
    /// The record was delivered.
    Delivered,
    /// The machine's addresses changed or it woke: whatever is paused is worth trying now.
    Hurry,
}

/// What to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Open the socket.
    OpenSocket,
    /// Ask whether sockets work, without opening one for good.
    Probe,
    /// Open the event stream.
    OpenStream,
    /// End the event stream.
    CloseStream,
    /// Deliver the newest record now.
    Publish,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Socket {
    /// Waits for the first record to be delivered, or for a pause to end.
    Waiting {
        until: Instant,
    },
    Opening,
    Open {
        since: Instant,
    },
    /// The server offers none; it is asked again.
    Unsupported {
        probe_at: Instant,
    },
    Probing,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stream {
    Off,
    Waiting { until: Instant },
    Opening,
    Open,
}

/// What a person may be shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Contact {
    /// Live over a socket.
    Socket,
    /// Live over the event stream.
    Stream,
    /// No contact; the next attempt is under way or due.
    Trying,
}

/// Keeping in touch with one server.
#[derive(Debug)]
pub struct Machine {
    rng: StdRng,
    socket: Socket,
    stream: Stream,
    /// Failures of the socket in a row.
    failures: u32,
    stream_failures: u32,
    unknown: u32,
    probes: u32,
}

impl Machine {
    /// A client that begins now: it says who we are first, because a server refuses the socket of a peer it does not
    /// know.
    #[must_use]
    pub fn new(now: Instant) -> Self {
        Self::seeded(now, rand::random())
    }

    /// As [`Machine::new`] with jitter that follows from `seed`, for tests that can be repeated.
    #[must_use]
    pub fn seeded(now: Instant, seed: u64) -> Self {
        Self {
            rng: StdRng::seed_from_u64(seed),
            // A record that cannot be delivered must not keep the socket from being tried.
            socket: Socket::Waiting {
                until: now + BACKOFF[1],
            },
            stream: Stream::Off,
            failures: 0,
            stream_failures: 0,
            unknown: 0,
            probes: 0,
        }
    }

    /// What a person may be shown.
    #[must_use]
    pub fn contact(&self) -> Contact {
        match (self.socket, self.stream) {
            (Socket::Open { .. }, _) => Contact::Socket,
            (_, Stream::Open) => Contact::Stream,
            _ => Contact::Trying,
        }
    }

    /// When [`Machine::tick`] has something to do.
    #[must_use]
    pub fn next_wake(&self) -> Option<Instant> {
        let socket = match self.socket {
            Socket::Waiting { until } => Some(until),
            Socket::Unsupported { probe_at } => Some(probe_at),
            Socket::Opening | Socket::Open { .. } | Socket::Probing => None,
        };
        let stream = match self.stream {
            Stream::Waiting { until } => Some(until),
            Stream::Off | Stream::Opening | Stream::Open => None,
        };
        socket.into_iter().chain(stream).min()
    }

    /// What is due.
    pub fn tick(&mut self, now: Instant) -> Vec<Action> {
        let mut actions = Vec::new();
        match self.socket {
            Socket::Waiting { until } if until <= now => {
                self.socket = Socket::Opening;
                actions.push(Action::OpenSocket);
            }
            Socket::Unsupported { probe_at } if probe_at <= now => {
                self.socket = Socket::Probing;
                actions.push(Action::Probe);
            }
            _ => {}
        }
        if let Stream::Waiting { until } = self.stream
            && until <= now
        {
            self.stream = Stream::Opening;
            actions.push(Action::OpenStream);
        }
        actions
    }

    /// Takes note of what happened.
    pub fn on(&mut self, input: Input, now: Instant) -> Vec<Action> {
        match input {
            Input::SocketOpen => {
                self.unknown = 0;
                self.probes = 0;
                self.socket = Socket::Open { since: now };
                Vec::new()
            }
            // Only now it is sure that something comes over it.
            Input::SocketHeard => self.close_stream(),
            Input::SocketFailed(Failure::Unknown) => {
                let pause = UNKNOWN_FIRST
                    .saturating_mul(1 << self.unknown.min(8))
                    .min(UNKNOWN_LONGEST);
                self.unknown += 1;
                let until = now + self.jittered(pause);
                self.socket = Socket::Waiting { until };
                vec![Action::Publish]
            }
            Input::SocketFailed(Failure::Unsupported) => {
                self.probes = 0;
                self.socket = Socket::Unsupported {
                    probe_at: now + PROBE_FIRST,
                };
                self.open_stream(now)
            }
            Input::SocketFailed(Failure::Other) => self.socket_failed(now),
            Input::SocketClosed => {
                if let Socket::Open { since } = self.socket
                    && now.saturating_duration_since(since) >= GOOD
                {
                    self.failures = 0;
                }
                self.socket_failed(now)
            }
            Input::ProbeAnswered => {
                self.failures = 0;
                self.socket = Socket::Opening;
                vec![Action::OpenSocket]
            }
            Input::ProbeFailed => {
                self.probes += 1;
                let pause = if self.probes >= PROBES_OFTEN {
                    PROBE_RARELY
                } else {
                    PROBE_EVERY
                };
                let probe_at = now + self.jittered(pause);
                self.socket = Socket::Unsupported { probe_at };
                Vec::new()
            }
            Input::StreamOpen => {
                self.stream_failures = 0;
                if self.stream == Stream::Opening {
                    self.stream = Stream::Open;
                }
                Vec::new()
            }
            Input::StreamFailed => {
                if self.stream != Stream::Off {
                    let until = now + self.pause_after(self.stream_failures);
                    self.stream_failures = self.stream_failures.saturating_add(1);
                    self.stream = Stream::Waiting { until };
                }
                Vec::new()
            }
            Input::Delivered => self.delivered(now),
            Input::Hurry => self.hurry(now),
        }
    }

    /// The server knows us now: a socket that waited for that is opened.
    fn delivered(&mut self, now: Instant) -> Vec<Action> {
        let waits_for_it = self.failures == 0 && self.unknown == 0;
        if let Socket::Waiting { until } = self.socket
            && waits_for_it
        {
            self.socket = Socket::Waiting {
                until: until.min(now),
            };
        }
        self.tick(now)
    }

    fn hurry(&mut self, now: Instant) -> Vec<Action> {
        match &mut self.socket {
            Socket::Waiting { until } => *until = now,
            Socket::Unsupported { probe_at } => *probe_at = now,
            Socket::Opening | Socket::Open { .. } | Socket::Probing => {}
        }
        if let Stream::Waiting { until } = &mut self.stream {
            *until = now;
        }
        self.tick(now)
    }

    fn socket_failed(&mut self, now: Instant) -> Vec<Action> {
        let until = now + self.pause_after(self.failures);
        self.failures = self.failures.saturating_add(1);
        self.socket = Socket::Waiting { until };
        if self.failures >= STREAM_AFTER {
            self.open_stream(now)
        } else {
            Vec::new()
        }
    }

    fn open_stream(&mut self, _now: Instant) -> Vec<Action> {
        if self.stream != Stream::Off {
            return Vec::new();
        }
        self.stream = Stream::Opening;
        vec![Action::OpenStream]
    }

    fn close_stream(&mut self) -> Vec<Action> {
        if self.stream == Stream::Off {
            return Vec::new();
        }
        self.stream = Stream::Off;
        self.stream_failures = 0;
        vec![Action::CloseStream]
    }

    fn pause_after(&mut self, failures: u32) -> Duration {
        let index = (failures as usize).min(BACKOFF.len() - 1);
        self.jittered(BACKOFF[index])
    }

    fn jittered(&mut self, pause: Duration) -> Duration {
        pause.mul_f64(self.rng.random_range(1.0 - JITTER..1.0 + JITTER))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn begun() -> (Machine, Instant) {
        let now = Instant::now();
        (Machine::seeded(now, 7), now)
    }

    /// Lets the time pass to the next wake-up; answers what is due and when that is.
    fn wait(machine: &mut Machine) -> (Vec<Action>, Instant) {
        let at = machine.next_wake().expect("something is due");
        (machine.tick(at), at)
    }

    fn fail(machine: &mut Machine, failure: Failure) -> (Duration, Vec<Action>) {
        let (due, at) = wait(machine);
        assert!(due.contains(&Action::OpenSocket), "{due:?}");
        let actions = machine.on(Input::SocketFailed(failure), at);
        let next = machine.next_wake().expect("another attempt");
        (next - at, actions)
    }

    fn within_jitter(pause: Duration, wanted: Duration) -> bool {
        pause >= wanted.mul_f64(1.0 - JITTER) && pause <= wanted.mul_f64(1.0 + JITTER)
    }

    #[test]
    fn says_who_we_are_before_it_asks_for_a_socket() {
        let (mut machine, now) = begun();
        assert_eq!(machine.tick(now), []);
        assert_eq!(machine.on(Input::Delivered, now), [Action::OpenSocket]);
    }

    #[test]
    fn tries_the_socket_even_when_the_record_does_not_get_through() {
        let (mut machine, now) = begun();
        let (due, at) = wait(&mut machine);
        assert_eq!(due, [Action::OpenSocket]);
        assert!(at <= now + Duration::from_secs(1));
    }

    #[test]
    fn an_unknown_peer_says_who_it_is_at_once_and_asks_again_soon() {
        let (mut machine, _) = begun();
        for wanted in [250, 500, 1000, 2000, 2000].map(Duration::from_millis) {
            let (pause, actions) = fail(&mut machine, Failure::Unknown);
            assert_eq!(actions, [Action::Publish]);
            assert!(within_jitter(pause, wanted), "{pause:?} for {wanted:?}");
        }
    }

    #[test]
    fn pauses_grow_and_the_third_failure_opens_the_stream_beside() {
        let (mut machine, _) = begun();
        let mut opened = 0;
        for wanted in BACKOFF.into_iter().chain([BACKOFF[6]]) {
            let (pause, actions) = fail(&mut machine, Failure::Other);
            assert!(within_jitter(pause, wanted), "{pause:?} for {wanted:?}");
            opened += actions
                .iter()
                .filter(|action| **action == Action::OpenStream)
                .count();
        }
        assert_eq!(opened, 1);
    }

    #[test]
    fn a_server_without_sockets_is_read_as_a_stream_and_asked_again() {
        let (mut machine, _) = begun();
        let (pause, actions) = fail(&mut machine, Failure::Unsupported);
        assert_eq!((pause, actions), (PROBE_FIRST, vec![Action::OpenStream]));
        for failed in 1..=PROBES_OFTEN {
            let (due, at) = wait(&mut machine);
            assert_eq!(due, [Action::Probe]);
            machine.on(Input::ProbeFailed, at);
            let wanted = if failed < PROBES_OFTEN {
                PROBE_EVERY
            } else {
                PROBE_RARELY
            };
            let pause = machine.next_wake().expect("another probe") - at;
            assert!(within_jitter(pause, wanted), "{pause:?} for {wanted:?}");
        }
        let (_, at) = wait(&mut machine);
        assert_eq!(machine.on(Input::ProbeAnswered, at), [Action::OpenSocket]);
    }

    #[test]
    fn the_stream_stays_until_the_socket_says_something() {
        let (mut machine, now) = begun();
        for _ in 0..STREAM_AFTER {
            fail(&mut machine, Failure::Other);
        }
        machine.on(Input::StreamOpen, now);
        assert_eq!(machine.contact(), Contact::Stream);
        let (_, at) = wait(&mut machine);
        assert_eq!(machine.on(Input::SocketOpen, at), []);
        assert_eq!(machine.on(Input::SocketHeard, at), [Action::CloseStream]);
        assert_eq!(machine.on(Input::SocketHeard, at), []);
        assert_eq!(machine.contact(), Contact::Socket);
    }

    #[test]
    fn a_socket_that_lasted_forgives_earlier_failures() {
        let (mut machine, _) = begun();
        fail(&mut machine, Failure::Other);
        fail(&mut machine, Failure::Other);
        for (lasted, wanted) in [(GOOD / 2, BACKOFF[2]), (GOOD, BACKOFF[0])] {
            let (_, at) = wait(&mut machine);
            machine.on(Input::SocketOpen, at);
            machine.on(Input::SocketClosed, at + lasted);
            let pause = machine.next_wake().expect("another attempt") - (at + lasted);
            assert!(within_jitter(pause, wanted), "{pause:?} for {wanted:?}");
        }
    }

    #[test]
    fn a_stream_that_fails_is_not_hammered() {
        let (mut machine, mut at) = begun();
        fail(&mut machine, Failure::Unsupported);
        for wanted in BACKOFF {
            machine.on(Input::StreamFailed, at);
            let Stream::Waiting { until } = machine.stream else {
                panic!("it waits")
            };
            assert!(within_jitter(until - at, wanted));
            at = until;
            machine.tick(at);
        }
    }

    #[test]
    fn a_closed_stream_stays_closed() {
        let (mut machine, now) = begun();
        fail(&mut machine, Failure::Unsupported);
        machine.on(Input::SocketHeard, now);
        assert_eq!(machine.on(Input::StreamFailed, now), []);
        assert_eq!(machine.stream, Stream::Off);
    }

    #[test]
    fn another_network_is_tried_at_once() {
        let (mut machine, _) = begun();
        for _ in 0..6 {
            fail(&mut machine, Failure::Other);
        }
        let now = machine.next_wake().expect("a pause") - Duration::from_secs(1);
        let actions = machine.on(Input::Hurry, now);
        assert!(actions.contains(&Action::OpenSocket), "{actions:?}");
    }

    #[test]
    fn what_to_do_follows_from_the_status() {
        for (status, failure) in [
            (425, Failure::Unknown),
            (404, Failure::Unsupported),
            (403, Failure::Unsupported),
            (405, Failure::Unsupported),
            (501, Failure::Unsupported),
            (429, Failure::Other),
            (500, Failure::Other),
            (302, Failure::Other),
        ] {
            let status = http::StatusCode::from_u16(status).expect("a status");
            assert_eq!(Failure::of(&HttpError::Status(status)), failure);
        }
    }
}
