//! What to say and what was learned: the multicast agent as a value.
//!
//! Feed it packets, addresses and the time; do what its [`Output`]s say. It knows no sockets and no clocks, and its
//! chance comes from a seed.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use goop_identity::PeerId;
use libp2p::Multiaddr;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::advert::{self, SelfAdvert};
use super::codec::{self, About, Heard, Packet, Question, Service, TTL};
use super::neighbours::{Neighbours, News};
use crate::bucket::Bucket;

/// Addresses come one by one when a host starts or an interface comes up; they are announced together.
const SETTLE: Duration = Duration::from_millis(10);
/// The second announcement (RFC 6762, 8.3).
const SECOND_ANNOUNCEMENT: Duration = Duration::from_secs(1);
/// Our announcements hold for [`TTL`] seconds and are renewed well before.
const RENEW: Duration = Duration::from_secs(TTL as u64 / 2);
/// Second question, as a Go peer asks it.
const FIRST_PAUSE: Duration = Duration::from_secs(4);
/// Longest pause between two questions.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// Questions of our own that nobody else's replaces: those that find the neighbours of a newcomer.
const OWN_QUESTIONS: u32 = 3;
/// After so many questions left to others we ask again ourselves: theirs may not reach everybody. On a large network
/// it is one of every four neighbours who asks in turn.
const LEFT_TO_OTHERS: usize = 3;
/// See [`LEFT_TO_OTHERS`].
const ASKERS: usize = 4;
/// At most one answer of a kind to everybody in this time. Whoever asks meanwhile gets the next one.
const ANSWER_GAP: Duration = Duration::from_millis(20);
/// The same question comes over IPv4 and IPv6 and on every interface we share with the asker; one answer is enough.
const SAME_QUESTION: Duration = Duration::from_secs(1);
/// Our own questions come back to us for this long at most.
const ECHO: Duration = Duration::from_secs(2);
/// On a network with more neighbours than this, answers are spread out instead of being sent all at the same moment …
const CROWD: usize = 16;
/// … over this much for each neighbour …
const SPREAD_EACH: Duration = Duration::from_millis(1);
/// … and no longer than this, well within the half second that an asker gives (network.md 3.4).
const SPREAD: Duration = Duration::from_millis(400);
/// Answers to one asker only: enough for a room full of newcomers, too few to use us against somebody whose address
/// was forged. Beyond it everybody gets the answer.
const UNICAST_BURST: u32 = 8;
/// One more every so often.
const UNICAST_EVERY: Duration = Duration::from_millis(250);

/// Something to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// Send to the group on every interface.
    Multicast(Vec<u8>),
    /// Send to the one who asked.
    Unicast(Vec<u8>),
    /// A peer is there. It is said again from time to time while it is.
    Found(Found),
    /// A peer said goodbye, or its record ran out.
    Gone(PeerId),
}

/// A peer on the network and where it listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Who.
    pub peer: PeerId,
    /// Where, without the `/p2p/` end; as said, not yet judged. At most [`codec::MAX_ADDRS`].
    pub addrs: Vec<Multiaddr>,
    /// How long that holds unless it is said again: from 5 s to 75 min.
    pub ttl: Duration,
}

/// Answers of one kind to everybody.
#[derive(Debug, Clone, Copy, Default)]
struct Reply {
    last: Option<(Instant, u16)>,
    due: Option<(Instant, u16)>,
}

/// The kinds of answers.
#[derive(Debug, Clone, Copy)]
enum Kind {
    Service,
    Instance,
    Enumeration,
}

const KINDS: [Kind; 3] = [Kind::Service, Kind::Instance, Kind::Enumeration];

/// The agent of one service tag.
#[derive(Debug)]
pub struct Agent {
    service: Service,
    me: PeerId,
    rng: StdRng,
    instance: String,
    addrs: Vec<Multiaddr>,
    /// What was announced and not taken back: instance and addresses.
    announced: Option<(String, Vec<Multiaddr>)>,
    next_announcement: Option<Instant>,
    /// The next announcement is news and is repeated soon.
    is_news: bool,
    neighbours: Neighbours,
    next_query: Instant,
    pause: Duration,
    asked: u32,
    left_to_others: usize,
    others_asked: Option<Instant>,
    own_query: Option<(Instant, u16)>,
    /// By [`Kind`].
    replies: [Reply; KINDS.len()],
    unicasts: Bucket,
}

impl Agent {
    /// An agent that has said nothing yet. Its first [`Agent::tick`] asks; it announces once it knows addresses.
    #[must_use]
    pub fn new(service: Service, me: PeerId, now: Instant) -> Self {
        Self::seeded(service, me, rand::random(), now)
    }

    /// An agent whose choices follow from `seed`, for tests that can be repeated.
    #[must_use]
    pub fn seeded(service: Service, me: PeerId, seed: u64, now: Instant) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        Self {
            service,
            me,
            instance: random_label(&mut rng),
            rng,
            addrs: Vec::new(),
            announced: None,
            next_announcement: None,
            is_news: false,
            neighbours: Neighbours::default(),
            next_query: now,
            pause: FIRST_PAUSE,
            asked: 0,
            left_to_others: 0,
            others_asked: None,
            own_query: None,
            replies: Default::default(),
            unicasts: Bucket::new(UNICAST_BURST, UNICAST_EVERY, now),
        }
    }

    /// The service that this agent speaks of.
    #[must_use]
    pub fn service(&self) -> &Service {
        &self.service
    }

    /// How many instances of others are remembered; at most [`super::MAX_INSTANCES`].
    #[must_use]
    pub fn known(&self) -> usize {
        self.neighbours.len()
    }

    /// When [`Agent::tick`] wants to be called next.
    #[must_use]
    pub fn next_wake(&self) -> Instant {
        let replies = self
            .replies
            .iter()
            .filter_map(|reply| reply.due)
            .map(|(due, _)| due);
        let others = [self.next_announcement, self.neighbours.next_wake()];
        replies
            .chain(others.into_iter().flatten())
            .min()
            .map_or(self.next_query, |wake| wake.min(self.next_query))
    }

    /// Our addresses changed. They are announced shortly, under a new name, because others keep what they heard under
    /// the old one; that one is taken back afterwards, so that nobody believes we left.
    pub fn set_addrs(&mut self, addrs: Vec<Multiaddr>, now: Instant) {
        if addrs == self.addrs {
            return;
        }
        self.addrs = addrs;
        self.is_news = true;
        self.next_announcement = Some(now + SETTLE);
    }

    /// The network changed under us: ask anew, and announce anew at once.
    pub fn ask_again(&mut self, now: Instant) {
        self.next_query = now;
        self.pause = FIRST_PAUSE;
        self.asked = 0;
        if !self.addrs.is_empty() {
            self.is_news = true;
            self.next_announcement = Some(now);
        }
    }

    /// Takes back what we announced; the last thing to send.
    pub fn goodbye(&mut self) -> Vec<Output> {
        self.next_announcement = None;
        let announced = self.announced.take();
        announced
            .and_then(|(instance, addrs)| self.farewell(&instance, &addrs))
            .into_iter()
            .collect()
    }

    /// What is due at `now`.
    pub fn tick(&mut self, now: Instant) -> Vec<Output> {
        let mut outputs = Vec::new();
        if now >= self.next_query {
            outputs.extend(self.ask(now));
        }
        if self.next_announcement.is_some_and(|due| now >= due) {
            self.announce(now, &mut outputs);
        }
        for kind in KINDS {
            if let Some((_, id)) = self.replies[kind as usize]
                .due
                .filter(|(due, _)| now >= *due)
            {
                outputs.extend(self.reply(kind, id, now));
            }
        }
        outputs.extend(self.neighbours.expire(now).into_iter().map(Output::from));
        outputs
    }

    /// A packet arrived from `from`. Bytes that are not for us or not DNS say nothing.
    pub fn hear(&mut self, packet: &[u8], from: IpAddr, now: Instant) -> Vec<Output> {
        match codec::decode(packet) {
            Ok(packet) => self.heard(&codec::hear(&packet, &self.service), from, now),
            Err(error) => {
                tracing::trace!(%from, %error, "a multicast packet was left aside");
                Vec::new()
            }
        }
    }

    /// What a packet from `from` says, already decoded for [`Agent::service`].
    pub fn heard(&mut self, heard: &Heard, from: IpAddr, now: Instant) -> Vec<Output> {
        let mut outputs: Vec<Output> = heard
            .question
            .iter()
            .filter_map(|question| self.asked(question, now))
            .collect();
        for advert in &heard.adverts {
            // Our own packets come back to us. The name changes with our addresses, so the peer is looked at too.
            if advert.instance == self.instance
                || advert.peers.iter().any(|(peer, _)| *peer == self.me)
            {
                continue;
            }
            outputs.extend(
                self.neighbours
                    .learn(advert, from, now)
                    .into_iter()
                    .map(Output::from),
            );
        }
        outputs
    }

    fn ask(&mut self, now: Instant) -> Option<Output> {
        self.next_query = now + self.pause;
        if self.others_ask(now) {
            self.left_to_others += 1;
            return None;
        }
        let id = self.rng.random();
        self.own_query = Some((now, id));
        self.asked += 1;
        self.left_to_others = 0;
        self.pause = self
            .pause
            .mul_f64(self.rng.random_range(1.5..2.5))
            .min(LONGEST_PAUSE);
        multicast(advert::query(&self.service, id))
    }

    /// Whether somebody else lately asked everybody what we would ask: the answers reached us too (RFC 6762, 7.3).
    fn others_ask(&self, now: Instant) -> bool {
        let most = LEFT_TO_OTHERS.max(self.neighbours.len() / ASKERS);
        let lately = self
            .others_asked
            .is_some_and(|at| now.saturating_duration_since(at) < self.pause.mul_f64(0.75));
        self.asked >= OWN_QUESTIONS && self.left_to_others < most && lately
    }

    fn announce(&mut self, now: Instant, outputs: &mut Vec<Output>) {
        let old = self.announced.take();
        let changed = old.as_ref().is_none_or(|(_, addrs)| *addrs != self.addrs);
        if changed && old.is_some() {
            self.instance = random_label(&mut self.rng);
        }
        self.next_announcement = None;
        if !self.addrs.is_empty() {
            outputs.extend(self.me().announcement().and_then(multicast));
            let renew = RENEW.mul_f64(self.rng.random_range(0.8..1.0));
            let repeated = std::mem::take(&mut self.is_news);
            self.next_announcement = Some(now + if repeated { SECOND_ANNOUNCEMENT } else { renew });
            self.announced = Some((self.instance.clone(), self.addrs.clone()));
        }
        if let Some((instance, addrs)) = old.filter(|_| changed) {
            outputs.extend(self.farewell(&instance, &addrs));
        }
    }

    fn farewell(&self, instance: &str, addrs: &[Multiaddr]) -> Option<Output> {
        let advert = SelfAdvert {
            service: &self.service,
            instance,
            peer: self.me,
            addrs,
        };
        advert.goodbye().and_then(multicast)
    }

    fn me(&self) -> SelfAdvert<'_> {
        SelfAdvert {
            service: &self.service,
            instance: &self.instance,
            peer: self.me,
            addrs: &self.addrs,
        }
    }

    /// Somebody asks. What to answer at once, if anything; what is to be answered a little later is noted.
    fn asked(&mut self, question: &Question, now: Instant) -> Option<Output> {
        let own = self
            .own_query
            .is_some_and(|(at, id)| id == question.id && now.saturating_duration_since(at) < ECHO);
        if own {
            return None;
        }
        if question.about == About::Service && !question.unicast && question.known.is_empty() {
            self.others_asked = Some(now);
        }
        let kind = self.kind_of(question)?;
        let Reply { last, due } = self.replies[kind as usize];
        if last.is_some_and(|(at, id)| {
            id == question.id && now.saturating_duration_since(at) < SAME_QUESTION
        }) {
            return None;
        }
        if question.unicast && self.unicasts.take(now) {
            return self.content(kind, question.id).map(Output::Unicast);
        }
        let free = last.map_or(now, |(at, _)| now.max(at + ANSWER_GAP));
        let due = due.map_or_else(|| free + self.spread(), |(due, _)| due);
        if due <= now {
            return self.reply(kind, question.id, now);
        }
        self.replies[kind as usize].due = Some((due, question.id));
        None
    }

    /// Which answer a question gets; none before we are announced anywhere.
    fn kind_of(&self, question: &Question) -> Option<Kind> {
        if self.addrs.is_empty() {
            return None;
        }
        match &question.about {
            About::Service if question.known.contains(&self.instance) => None,
            About::Service => Some(Kind::Service),
            About::Instance(label) if *label == self.instance => Some(Kind::Instance),
            About::Instance(_) => None,
            About::Enumeration => Some(Kind::Enumeration),
        }
    }

    /// How much later than at once to answer: not at all on an ordinary network.
    fn spread(&self) -> Duration {
        let neighbours = self.neighbours.len();
        if neighbours <= CROWD {
            return Duration::ZERO;
        }
        let within = SPREAD_EACH
            .saturating_mul(u32::try_from(neighbours).unwrap_or(u32::MAX))
            .min(SPREAD);
        // From the name, which is random already: everybody has a place in the row.
        let place = self.instance.bytes().fold(0_u32, |sum, byte| {
            sum.wrapping_mul(31).wrapping_add(byte.into())
        });
        within.mul_f64(f64::from(place) / f64::from(u32::MAX))
    }

    fn reply(&mut self, kind: Kind, id: u16, now: Instant) -> Option<Output> {
        self.replies[kind as usize] = Reply {
            last: Some((now, id)),
            due: None,
        };
        self.content(kind, id).map(Output::Multicast)
    }

    fn content(&self, kind: Kind, id: u16) -> Option<Vec<u8>> {
        let packet = match kind {
            Kind::Service => self.me().answer(id)?,
            Kind::Instance => self.me().announcement()?,
            Kind::Enumeration => advert::enumeration_answer(&self.service, id),
        };
        packet.encode()
    }
}

impl From<News> for Output {
    fn from(news: News) -> Self {
        match news {
            News::Found(found) => Self::Found(found),
            News::Gone(peer) => Self::Gone(peer),
        }
    }
}

fn multicast(packet: Packet) -> Option<Output> {
    packet.encode().map(Output::Multicast)
}

/// A new instance label: 32 to 63 characters of `a-z0-9` (network.md 3.1).
fn random_label(rng: &mut StdRng) -> String {
    const ALPHABET: &[u8; 36] = b"abcdefghijklmnopqrstuvwxyz0123456789";
    let length = rng.random_range(32..=63);
    (0..length)
        .map(|_| char::from(ALPHABET[rng.random_range(0..ALPHABET.len())]))
        .collect()
}
