//! Which of our addresses strangers reach, as a value: what is asked, of whom, and what follows from the answers.
//!
//! One peer that came through confirms an address, because its connection is there to see. That nobody answers is only
//! somebody's word, so two of them at different addresses have to say it. A peer that our own packets went to from the port
//! we listen on is no stranger: the router may let it in for that alone.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use libp2p::Multiaddr;
use libp2p::multiaddr::Protocol;

use super::Told;
use crate::PeerId;

/// Addresses that are looked at: TCP and QUIC, IPv4 and IPv6, as the relay sees us and as we listen.
pub const MAX: usize = 8;
/// Others at different addresses who have to say that nobody answers.
pub const REFUSALS: usize = 2;
/// An address has to stay this long before anybody is asked: at the start much comes and goes, and there is more to do.
pub const SETTLED: Duration = Duration::from_secs(5);
/// Between two questions.
pub const PAUSE: Duration = Duration::from_secs(2);
/// An answer is asked for again after this long: routers forget, and people change their settings.
pub const AGAIN: Duration = Duration::from_secs(30 * 60);
/// Who could not tell is asked again after this long.
pub const FORGOTTEN: Duration = Duration::from_secs(10 * 60);
/// Where nobody can be asked it is looked again after this long.
pub const NOBODY: Duration = Duration::from_secs(60);

/// What is known of an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// A stranger came through.
    Confirmed,
    /// Strangers do not come through.
    Refuted,
}

/// Somebody who can be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Judge {
    /// Who.
    pub peer: PeerId,
    /// Where it is.
    pub ip: IpAddr,
    /// No UDP of ours went there from the port we listen on.
    pub for_udp: bool,
    /// And no TCP.
    pub for_tcp: bool,
}

impl Judge {
    fn is_stranger_to(&self, addr: &Multiaddr) -> bool {
        let udp = addr.iter().any(|part| matches!(part, Protocol::Udp(_)));
        if udp { self.for_udp } else { self.for_tcp }
    }
}

/// What is asked of whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// Whom.
    pub judge: Judge,
    /// About this address.
    pub addr: Multiaddr,
}

#[derive(Debug)]
struct Subject {
    addr: Multiaddr,
    verdict: Option<Verdict>,
    /// When somebody is to be asked.
    due: Instant,
    /// Who was asked since the last verdict, and when.
    asked: HashMap<PeerId, Instant>,
    /// Who says that nobody answers, since the last verdict.
    refusals: HashSet<IpAddr>,
}

/// What strangers reach.
#[derive(Debug)]
pub struct Checks {
    subjects: Vec<Subject>,
    asking: bool,
    /// Nobody is asked before.
    rest: Instant,
}

impl Checks {
    /// Nothing is known.
    #[must_use]
    pub fn new(now: Instant) -> Self {
        Self {
            subjects: Vec::new(),
            asking: false,
            rest: now,
        }
    }

    /// The addresses at which we may be reached, the most likely first.
    pub fn set(&mut self, addrs: impl IntoIterator<Item = Multiaddr>, now: Instant) {
        let mut subjects: Vec<Subject> = Vec::new();
        for addr in addrs {
            // Where we listen may be where we are seen.
            if subjects.iter().any(|subject| subject.addr == addr) {
                continue;
            }
            if subjects.len() == MAX {
                break;
            }
            let known = self
                .subjects
                .iter()
                .position(|subject| subject.addr == addr);
            subjects.push(match known {
                Some(at) => self.subjects.swap_remove(at),
                None => Subject {
                    addr,
                    verdict: None,
                    due: now + SETTLED,
                    asked: HashMap::new(),
                    refusals: HashSet::new(),
                },
            });
        }
        self.subjects = subjects;
    }

    /// The network around us changed: what was said of it counts no more. Answers whether anything was.
    pub fn moved(&mut self, now: Instant) -> bool {
        let knew = self
            .subjects
            .iter()
            .any(|subject| subject.verdict.is_some());
        for subject in &mut self.subjects {
            subject.verdict = None;
            subject.due = now + SETTLED;
            subject.asked.clear();
            subject.refusals.clear();
        }
        knew
    }

    /// Somebody new can be asked.
    pub fn judge_came(&mut self, now: Instant) {
        self.rest = self.rest.min(now + PAUSE);
    }

    /// When [`Checks::next`] has something to do.
    #[must_use]
    pub fn next_wake(&self) -> Option<Instant> {
        let due = self.subjects.iter().map(|subject| subject.due).min()?;
        (!self.asking).then_some(due.max(self.rest))
    }

    /// The next question, if it is time for one and somebody can be asked. [`Checks::answered`] has to follow.
    pub fn next(&mut self, judges: &[Judge], now: Instant) -> Option<Question> {
        if self.next_wake().is_none_or(|at| at > now) {
            return None;
        }
        let due = self
            .subjects
            .iter_mut()
            .filter(|subject| subject.due <= now);
        for subject in due {
            subject
                .asked
                .retain(|_, at| now.saturating_duration_since(*at) < FORGOTTEN);
            let fit = judges.iter().find(|judge| {
                judge.is_stranger_to(&subject.addr)
                    && !subject.asked.contains_key(&judge.peer)
                    && !subject.refusals.contains(&judge.ip)
            });
            if let Some(judge) = fit {
                subject.asked.insert(judge.peer, now);
                self.asking = true;
                return Some(Question {
                    judge: *judge,
                    addr: subject.addr.clone(),
                });
            }
        }
        self.rest = now + NOBODY;
        None
    }

    /// What came of a question. Answers whether a verdict is another now.
    pub fn answered(&mut self, question: &Question, told: Told, now: Instant) -> bool {
        self.asking = false;
        self.rest = now + PAUSE;
        let mut subjects = self.subjects.iter_mut();
        let Some(subject) = subjects.find(|subject| subject.addr == question.addr) else {
            return false;
        };
        // The network changed since it was asked.
        if !subject.asked.contains_key(&question.judge.peer) {
            return false;
        }
        let verdict = match told {
            Told::Reached => Verdict::Confirmed,
            Told::NotReached => {
                subject.refusals.insert(question.judge.ip);
                if subject.refusals.len() < REFUSALS {
                    return false;
                }
                Verdict::Refuted
            }
            Told::Unknown => return false,
        };
        subject.due = now + AGAIN;
        subject.asked.clear();
        subject.refusals.clear();
        subject.verdict.replace(verdict) != Some(verdict)
    }

    /// What is known of an address.
    #[must_use]
    pub fn verdict(&self, addr: &Multiaddr) -> Option<Verdict> {
        let mut subjects = self.subjects.iter();
        subjects.find(|subject| subject.addr == *addr)?.verdict
    }

    /// The addresses of which this is known.
    #[must_use]
    pub fn with(&self, verdict: Verdict) -> Vec<Multiaddr> {
        let subjects = self.subjects.iter();
        subjects
            .filter(|subject| subject.verdict == Some(verdict))
            .map(|subject| subject.addr.clone())
            .collect()
    }
}
