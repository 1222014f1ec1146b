//! What to say and what was learned: the multicast agent as a value.
//!
//! Feed it packets, addresses and the time; do what its [`Output`]s say. It knows no sockets and no clocks.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use goop_identity::PeerId;
use libp2p::Multiaddr;
use rand::RngExt;

use super::codec::{self, About, Advert, Question, SelfAdvert, Service, TTL};

/// Most instances that are remembered. A LAN has some dozens of peers; beyond this somebody floods.
const MAX_INSTANCES: usize = 1_024;
/// A peer that is still there is reported again after this long, so that a lost connection is dialled anew
/// (network.md 3.4: two Go peers can miss each other for good).
const REPORT_AGAIN: Duration = Duration::from_secs(20);
/// The second announcement (RFC 6762, 8.3).
const SECOND_ANNOUNCEMENT: Duration = Duration::from_secs(1);
/// Second question, as a Go peer asks it.
const FIRST_PAUSE: Duration = Duration::from_secs(4);
/// Longest pause between two questions.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// Our announcements hold for [`TTL`] seconds and are renewed well before.
const RENEW: Duration = Duration::from_secs(TTL as u64 / 2);
/// At most this many answers a second, whoever asks: an answer to everybody serves all who ask.
const ANSWER_GAP: Duration = Duration::from_millis(20);
/// A record that holds for less is kept this long all the same: it was just heard.
const SHORTEST_LIFE: Duration = Duration::from_secs(5);
/// Go peers say 3200 s and never say goodbye; nobody is believed for longer than a day.
const LONGEST_LIFE: Duration = Duration::from_secs(24 * 3_600);

/// Something to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// Send to the group on every interface.
    Multicast(Vec<u8>),
    /// Send to the one who asked.
    Unicast(Vec<u8>),
    /// A peer is there.
    Found(Found),
    /// A peer said goodbye, or its record ran out.
    Gone(PeerId),
}

/// A peer on the network and where it listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Who.
    pub peer: PeerId,
    /// Where, without the `/p2p/` end; as said, not yet judged.
    pub addrs: Vec<Multiaddr>,
}

#[derive(Debug)]
struct Known {
    peers: Vec<(PeerId, Vec<Multiaddr>)>,
    until: Instant,
    report_after: Instant,
}

/// The agent of one service tag.
#[derive(Debug)]
pub struct Agent {
    service: Service,
    me: PeerId,
    instance: String,
    addrs: Vec<Multiaddr>,
    known: HashMap<String, Known>,
    next_query: Instant,
    pause: Duration,
    next_announcement: Option<Instant>,
    last_answer: Option<Instant>,
}

impl Agent {
    /// An agent that has said nothing yet. Its first [`Agent::tick`] asks; its first [`Agent::set_addrs`] announces.
    #[must_use]
    pub fn new(service: Service, me: PeerId, now: Instant) -> Self {
        Self {
            service,
            me,
            instance: random_label(),
            addrs: Vec::new(),
            known: HashMap::new(),
            next_query: now,
            pause: FIRST_PAUSE,
            next_announcement: None,
            last_answer: None,
        }
    }

    /// When [`Agent::tick`] wants to be called next.
    #[must_use]
    pub fn next_wake(&self) -> Instant {
        let expiry = self.known.values().map(|known| known.until).min();
        [Some(self.next_query), self.next_announcement, expiry].into_iter().flatten().min().unwrap_or(self.next_query)
    }

    /// Our addresses changed. What was announced is taken back and said anew under a new name, because others keep
    /// what they heard under the old one.
    pub fn set_addrs(&mut self, addrs: Vec<Multiaddr>, now: Instant) -> Vec<Output> {
        if addrs == self.addrs {
            return Vec::new();
        }
        let mut outputs = self.goodbye();
        self.instance = random_label();
        self.addrs = addrs;
        outputs.extend(self.announce());
        self.next_announcement = (!self.addrs.is_empty()).then(|| now + SECOND_ANNOUNCEMENT);
        self.next_query = now;
        self.pause = FIRST_PAUSE;
        outputs
    }

    /// The network changed under us: ask and announce at the next tick.
    pub fn ask_again(&mut self, now: Instant) {
        self.next_query = now;
        self.pause = FIRST_PAUSE;
        if !self.addrs.is_empty() {
            self.next_announcement = Some(now);
        }
    }

    /// Takes back everything we announced; the last thing to send.
    pub fn goodbye(&mut self) -> Vec<Output> {
        if self.addrs.is_empty() {
            return Vec::new();
        }
        self.me().announcement(0).map(Output::Multicast).into_iter().collect()
    }

    /// What is due at `now`.
    pub fn tick(&mut self, now: Instant) -> Vec<Output> {
        let mut outputs = Vec::new();
        if now >= self.next_query {
            outputs.extend(codec::query(&self.service, rand::random()).map(Output::Multicast));
            self.next_query = now + self.pause;
            let factor = rand::rng().random_range(1.5..2.5);
            self.pause = self.pause.mul_f64(factor).min(LONGEST_PAUSE);
        }
        if self.next_announcement.is_some_and(|due| now >= due) {
            outputs.extend(self.announce());
            self.next_announcement = Some(now + RENEW);
        }
        outputs.extend(self.expire(now));
        outputs
    }

    /// A packet arrived. Bytes that are not for us or not DNS say nothing.
    pub fn hear(&mut self, packet: &[u8], now: Instant) -> Vec<Output> {
        let heard = match codec::hear(packet, &self.service) {
            Ok(heard) => heard,
            Err(error) => {
                tracing::trace!(%error, "a multicast packet was left aside");
                return Vec::new();
            }
        };
        let mut outputs: Vec<Output> = heard.question.and_then(|question| self.answer(&question, now)).into_iter().collect();
        for advert in heard.adverts {
            self.learn(advert, now, &mut outputs);
        }
        outputs
    }

    fn me(&self) -> SelfAdvert<'_> {
        SelfAdvert { service: &self.service, instance: &self.instance, peer: self.me, addrs: &self.addrs }
    }

    fn announce(&self) -> Option<Output> {
        if self.addrs.is_empty() {
            return None;
        }
        self.me().announcement(TTL).map(Output::Multicast)
    }

    fn answer(&mut self, question: &Question, now: Instant) -> Option<Output> {
        if self.addrs.is_empty() {
            return None;
        }
        let bytes = match &question.about {
            About::Service if question.known.contains(&self.instance) => return None,
            About::Service => self.me().answer(question.id)?,
            About::Instance(label) if *label == self.instance => self.me().announcement(TTL)?,
            About::Instance(_) => return None,
            About::Enumeration => codec::enumeration_answer(&self.service, question.id)?,
        };
        if question.unicast {
            return Some(Output::Unicast(bytes));
        }
        if self.last_answer.is_some_and(|last| now.saturating_duration_since(last) < ANSWER_GAP) {
            return None;
        }
        self.last_answer = Some(now);
        Some(Output::Multicast(bytes))
    }

    fn learn(&mut self, advert: Advert, now: Instant, outputs: &mut Vec<Output>) {
        if advert.instance == self.instance {
            return;
        }
        if advert.ttl == 0 {
            outputs.extend(self.forget(&advert.instance));
            return;
        }
        let mut peers = advert.peers;
        peers.retain(|(peer, addrs)| *peer != self.me && !addrs.is_empty());
        let life = Duration::from_secs(advert.ttl.into()).clamp(SHORTEST_LIFE, LONGEST_LIFE);
        let full = self.known.len() >= MAX_INSTANCES;
        match self.known.get_mut(&advert.instance) {
            Some(known) => {
                known.until = now + life;
                // A packet with a pointer alone repeats nothing.
                let changed = !peers.is_empty() && known.peers != peers;
                if changed {
                    known.peers = peers;
                }
                if changed || now >= known.report_after {
                    known.report_after = now + REPORT_AGAIN;
                    outputs.extend(found(&known.peers));
                }
            }
            None if peers.is_empty() || full => {}
            None => {
                outputs.extend(found(&peers));
                let known = Known { peers, until: now + life, report_after: now + REPORT_AGAIN };
                self.known.insert(advert.instance, known);
            }
        }
    }

    fn expire(&mut self, now: Instant) -> Vec<Output> {
        let over: Vec<String> =
            self.known.iter().filter(|(_, known)| known.until <= now).map(|(label, _)| label.clone()).collect();
        over.iter().flat_map(|label| self.forget(label)).collect()
    }

    fn forget(&mut self, instance: &str) -> Vec<Output> {
        let Some(gone) = self.known.remove(instance) else { return Vec::new() };
        // The same peer may be there under another name: it renamed itself when its addresses changed.
        let elsewhere =
            |peer: &PeerId| self.known.values().any(|known| known.peers.iter().any(|(other, _)| other == peer));
        gone.peers.iter().filter(|(peer, _)| !elsewhere(peer)).map(|(peer, _)| Output::Gone(*peer)).collect()
    }
}

fn found(peers: &[(PeerId, Vec<Multiaddr>)]) -> Vec<Output> {
    peers.iter().map(|(peer, addrs)| Output::Found(Found { peer: *peer, addrs: addrs.clone() })).collect()
}

/// A new instance label: 32 to 63 characters of `a-z0-9` (network.md 3.1).
fn random_label() -> String {
    const ALPHABET: &[u8; 36] = b"abcdefghijklmnopqrstuvwxyz0123456789";
    let mut rng = rand::rng();
    let length = rng.random_range(32..=63);
    (0..length).map(|_| char::from(ALPHABET[rng.random_range(0..ALPHABET.len())])).collect()
}
