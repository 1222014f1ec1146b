//! What may come in, as a value (mq.md 13: W5, W9): how much of each peer, messages that were there before, and the order
//! of each lane. Events and the time go in, decisions come out. Whose message is worked on next says [`crate::turns`].

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use goop_identity::PeerId;
use sha2::{Digest, Sha256};
use tokio::sync::Semaphore;

use crate::wire::MsgId;

/// Messages of one peer at once, from their first byte to their acknowledgement: as many streams of a protocol as a Go peer
/// takes. Whoever waits for acknowledgements before it sends more never meets it; a flood does, and is told at once.
pub const AT_ONCE: usize = 64;
/// Of them, messages above [`LARGE`] bytes that are read at the same time: two of the largest are a quarter of the room for
/// everybody.
pub const LARGE_AT_ONCE: usize = 2;
/// A message of more bytes is large. Nothing people type is.
pub const LARGE: usize = 64 * 1024;
/// Messages of a peer that end on the disk (a line of a chat, a key): at once, and then each second. 200 lines may wait for
/// somebody who comes back; nobody types 50 a second.
pub const KEPT: (u32, u32) = (400, 50);
/// Ids that are remembered of everybody. A message may be repeated within 5 s of its sender's time; that is what one peer
/// at 20,000 a second sends in it. Whoever has most is forgotten first.
pub const REMEMBERED: usize = 128 * 1024;
/// Peers that are remembered; who was silent longest is forgotten first.
pub const PEERS: usize = 1_024;
/// Lanes that are remembered of a peer.
const LANES: usize = 256;
/// How long after a message of its lane an older one counts as late: longer than one send of it can last.
const LATE: Duration = Duration::from_secs(10);
/// Our senders number from a clock in microseconds; a Go sender would have to send this many messages to get here.
const FROM_A_CLOCK: i64 = 1 << 40;

/// What to do with a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Take it, then say how that went with [`Receiver::end`].
    New,
    /// It was taken before: acknowledge it again.
    Known,
    /// Another one of its lane, or itself, is being taken. Ask again when that ended.
    Busy,
    /// Its sender gave up on it and sent a newer one of its lane, which was taken: taking it now would turn the order
    /// around.
    Late,
}

/// A fingerprint of an id, so that long ids cost no more than short ones.
type Print = [u8; 16];

fn print(id: &MsgId) -> Print {
    let digest = Sha256::digest(id.as_str().as_bytes());
    let mut print = [0; 16];
    print.copy_from_slice(&digest[..16]);
    print
}

/// So many at once, then so many each second.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bucket {
    left: f64,
    at: Instant,
}

impl Bucket {
    pub(crate) fn full(burst: u32, now: Instant) -> Self {
        Self {
            left: f64::from(burst),
            at: now,
        }
    }

    fn refill(&mut self, burst: u32, rate: f64, now: Instant) {
        let passed = now.saturating_duration_since(self.at).as_secs_f64();
        self.at = self.at.max(now);
        self.left = (self.left + passed * rate).min(f64::from(burst));
    }

    /// Takes one if there is one.
    pub(crate) fn try_take(&mut self, (burst, rate): (u32, f64), now: Instant) -> bool {
        self.refill(burst, rate, now);
        let there = self.left >= 1.0;
        if there {
            self.left -= 1.0;
        }
        there
    }

    /// Takes one and says how long to wait until that is paid for.
    fn take(&mut self, (burst, rate): (u32, u32), now: Instant) -> Duration {
        self.refill(burst, f64::from(rate), now);
        self.left -= 1.0;
        if self.left >= 0.0 {
            return Duration::ZERO;
        }
        Duration::from_secs_f64(-self.left / f64::from(rate))
    }

    fn give_back(&mut self) {
        self.left += 1.0;
    }
}

#[derive(Debug)]
struct Peer {
    /// Messages that came and are not answered yet.
    inside: usize,
    kept: Bucket,
    large: Arc<Semaphore>,
    order: VecDeque<Print>,
    known: HashSet<Print>,
    busy: HashSet<Print>,
    busy_lanes: HashSet<String>,
    /// Newest number of a lane, and when it was taken.
    lanes: HashMap<String, (i64, Instant)>,
    active: Instant,
}

impl Peer {
    fn new(now: Instant) -> Self {
        Self {
            inside: 0,
            kept: Bucket::full(KEPT.0, now),
            large: Arc::new(Semaphore::new(LARGE_AT_ONCE)),
            order: VecDeque::new(),
            known: HashSet::new(),
            busy: HashSet::new(),
            busy_lanes: HashSet::new(),
            lanes: HashMap::new(),
            active: now,
        }
    }
}

/// Everything that is remembered of those who send.
#[derive(Debug, Default)]
pub struct Receiver {
    peers: HashMap<PeerId, Peer>,
    /// Ids of all peers together.
    ids: usize,
}

impl Receiver {
    /// Nobody sent anything yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn peer(&mut self, id: PeerId, now: Instant) -> &mut Peer {
        if self.peers.len() >= PEERS && !self.peers.contains_key(&id) {
            let idle = self.peers.iter().filter(|(_, peer)| peer.inside == 0);
            let oldest = idle
                .min_by_key(|(_, peer)| peer.active)
                .map(|(peer, _)| *peer);
            let gone = oldest.and_then(|peer| self.peers.remove(&peer));
            self.ids -= gone.map_or(0, |peer| peer.order.len());
        }
        let peer = self.peers.entry(id).or_insert_with(|| Peer::new(now));
        peer.active = peer.active.max(now);
        peer
    }

    /// A peer wants to send a message. `false` when it has sent so many at once that this one is not even read; otherwise
    /// [`Receiver::leave`] follows.
    pub fn arrive(&mut self, peer: PeerId, now: Instant) -> bool {
        let peer = self.peer(peer, now);
        let fits = peer.inside < AT_ONCE;
        peer.inside += usize::from(fits);
        fits
    }

    /// A message was answered, or not.
    pub fn leave(&mut self, peer: PeerId) {
        if let Some(peer) = self.peers.get_mut(&peer) {
            peer.inside = peer.inside.saturating_sub(1);
        }
    }

    /// What large messages of a peer wait for.
    pub fn large(&mut self, peer: PeerId, now: Instant) -> Arc<Semaphore> {
        self.peer(peer, now).large.clone()
    }

    /// A message is to be kept: how long it is held back until then. [`Receiver::not_kept`] takes it back.
    pub fn keep(&mut self, peer: PeerId, now: Instant) -> Duration {
        self.peer(peer, now).kept.take(KEPT, now)
    }

    /// It was not kept after all.
    pub fn not_kept(&mut self, peer: PeerId, now: Instant) {
        self.peer(peer, now).kept.give_back();
    }

    /// A message was read and opened. `lane` is where its order counts.
    pub fn begin(
        &mut self,
        peer: PeerId,
        id: &MsgId,
        lane: Option<&str>,
        seq: i64,
        now: Instant,
    ) -> Verdict {
        let peer = self.peer(peer, now);
        let print = print(id);
        if peer.known.contains(&print) {
            return Verdict::Known;
        }
        if peer.busy.contains(&print) || lane.is_some_and(|lane| peer.busy_lanes.contains(lane)) {
            return Verdict::Busy;
        }
        if let Some(lane) = lane {
            let newest = peer.lanes.get(lane);
            let overtaken = newest.is_some_and(|(newest, when)| {
                seq >= FROM_A_CLOCK && seq < *newest && now.saturating_duration_since(*when) < LATE
            });
            if overtaken {
                return Verdict::Late;
            }
            peer.busy_lanes.insert(lane.to_owned());
        }
        peer.busy.insert(print);
        Verdict::New
    }

    /// What [`Verdict::New`] became: `taken` messages are known from now on.
    pub fn end(
        &mut self,
        peer: PeerId,
        id: &MsgId,
        lane: Option<&str>,
        seq: i64,
        taken: bool,
        now: Instant,
    ) {
        let peer = self.peer(peer, now);
        let print = print(id);
        peer.busy.remove(&print);
        if let Some(lane) = lane {
            peer.busy_lanes.remove(lane);
        }
        if !taken {
            return;
        }
        let new = peer.known.insert(print);
        if new {
            peer.order.push_back(print);
        }
        if let Some(lane) = lane {
            if peer.lanes.len() >= LANES && !peer.lanes.contains_key(lane) {
                peer.lanes
                    .retain(|_, (_, when)| now.saturating_duration_since(*when) < LATE);
                if peer.lanes.len() >= LANES {
                    peer.lanes.clear();
                }
            }
            peer.lanes.insert(lane.to_owned(), (seq, now));
        }
        self.ids += usize::from(new);
        if self.ids > REMEMBERED {
            self.forget();
        }
    }

    /// Forgets the oldest id of the peer that has most.
    fn forget(&mut self) {
        let most = self.peers.values_mut().max_by_key(|peer| peer.order.len());
        if let Some(peer) = most
            && let Some(oldest) = peer.order.pop_front()
        {
            peer.known.remove(&oldest);
            self.ids -= 1;
        }
    }

    /// How many peers are remembered.
    #[must_use]
    pub fn len(&self) -> usize {
        self.peers.len()
    }

    /// Whether nobody is remembered.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.peers.is_empty()
    }
}
