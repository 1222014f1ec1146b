//! What was heard of others and for how long it holds.
//!
//! Everybody on the network can say anything here, so the memory is bounded, and shared out by who spoke: one machine
//! that invents peers fills its own share and pushes out nobody else's.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use goop_identity::PeerId;
use libp2p::Multiaddr;

use super::Found;
use super::codec::Advert;

/// Most instances that are remembered. A LAN has some dozens of peers; beyond this somebody floods.
pub const MAX_INSTANCES: usize = 1_024;
/// Most instances that one address may announce. A machine may run many peers, and a repeater may stand for a few.
pub const MAX_PER_SOURCE: usize = 128;
/// A peer that is still there is reported again after this long, so that a lost connection is dialled anew
/// (network.md 3.4: two Go peers can miss each other for good).
const REPORT_AGAIN: Duration = Duration::from_secs(20);
/// A record that holds for less is kept this long all the same: it was just heard.
const SHORTEST_LIFE: Duration = Duration::from_secs(5);
/// Go peers say 3200 s and never say goodbye; nobody is believed for longer than what DNS-SD recommends (RFC 6762, 10).
const LONGEST_LIFE: Duration = Duration::from_secs(75 * 60);

/// What a packet changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum News {
    Found(Found),
    Gone(PeerId),
}

#[derive(Debug)]
struct Known {
    source: IpAddr,
    peers: Vec<(PeerId, Vec<Multiaddr>)>,
    until: Instant,
    report_after: Instant,
}

/// Instances by label.
#[derive(Debug, Default)]
pub(super) struct Neighbours {
    known: BTreeMap<String, Known>,
    expiry: BTreeSet<(Instant, String)>,
    /// How many instances each source announced.
    sources: BTreeMap<IpAddr, usize>,
    /// How many instances describe each peer.
    described: BTreeMap<PeerId, usize>,
}

impl Neighbours {
    /// How many instances are known.
    pub(super) fn len(&self) -> usize {
        self.known.len()
    }

    /// When [`Neighbours::expire`] has something to do.
    pub(super) fn next_wake(&self) -> Option<Instant> {
        self.expiry.first().map(|(at, _)| *at)
    }

    /// An instance was described by somebody at `source`.
    pub(super) fn learn(&mut self, advert: &Advert, source: IpAddr, now: Instant) -> Vec<News> {
        if advert.ttl == 0 {
            return self.forget(&advert.instance);
        }
        let life = Duration::from_secs(advert.ttl.into()).clamp(SHORTEST_LIFE, LONGEST_LIFE);
        if self.known.contains_key(&advert.instance) {
            self.renew(advert, now, life)
        } else if advert.peers.is_empty() {
            Vec::new()
        } else {
            let Some(mut news) = self.make_room(source) else {
                return Vec::new();
            };
            self.insert(advert, source, now, life);
            news.extend(found(&advert.peers, life));
            news
        }
    }

    fn renew(&mut self, advert: &Advert, now: Instant, life: Duration) -> Vec<News> {
        let Some(known) = self.known.get_mut(&advert.instance) else {
            return Vec::new();
        };
        self.expiry.remove(&(known.until, advert.instance.clone()));
        known.until = now + life;
        self.expiry.insert((known.until, advert.instance.clone()));
        // A packet with a pointer alone repeats nothing.
        let changed = !advert.peers.is_empty() && known.peers != advert.peers;
        if !changed && now < known.report_after {
            return Vec::new();
        }
        known.report_after = now + REPORT_AGAIN;
        if !changed {
            return found(&known.peers, life);
        }
        let old = std::mem::replace(&mut known.peers, advert.peers.clone());
        self.count(&advert.peers);
        let mut news = self.uncount(&old);
        news.extend(found(&advert.peers, life));
        news
    }

    fn insert(&mut self, advert: &Advert, source: IpAddr, now: Instant, life: Duration) {
        let until = now + life;
        self.count(&advert.peers);
        *self.sources.entry(source).or_default() += 1;
        self.expiry.insert((until, advert.instance.clone()));
        let known = Known {
            source,
            peers: advert.peers.clone(),
            until,
            report_after: now + REPORT_AGAIN,
        };
        self.known.insert(advert.instance.clone(), known);
    }

    /// Room for one more of `source`: `None` when it has its share. When everything is full, whoever announced most
    /// gives up what runs out first.
    fn make_room(&mut self, source: IpAddr) -> Option<Vec<News>> {
        let own = self.sources.get(&source).copied().unwrap_or_default();
        if own >= MAX_PER_SOURCE {
            return None;
        }
        if self.known.len() < MAX_INSTANCES {
            return Some(Vec::new());
        }
        let (loudest, count) = self.sources.iter().max_by_key(|(_, count)| **count)?;
        if *count <= own + 1 {
            return None;
        }
        let of_loudest = self
            .known
            .iter()
            .filter(|(_, known)| known.source == *loudest);
        let label = of_loudest
            .min_by_key(|(_, known)| known.until)
            .map(|(label, _)| label.clone())?;
        Some(self.forget(&label))
    }

    /// Instances that were not heard of for their whole life are gone.
    pub(super) fn expire(&mut self, now: Instant) -> Vec<News> {
        let mut news = Vec::new();
        while let Some((_, label)) = self.expiry.first().filter(|(at, _)| *at <= now) {
            let label = label.clone();
            news.extend(self.forget(&label));
        }
        news
    }

    fn forget(&mut self, label: &str) -> Vec<News> {
        let Some(gone) = self.known.remove(label) else {
            return Vec::new();
        };
        self.expiry.remove(&(gone.until, label.to_owned()));
        if let Some(count) = self.sources.get_mut(&gone.source) {
            *count -= 1;
            if *count == 0 {
                self.sources.remove(&gone.source);
            }
        }
        self.uncount(&gone.peers)
    }

    fn count(&mut self, peers: &[(PeerId, Vec<Multiaddr>)]) {
        for (peer, _) in peers {
            *self.described.entry(*peer).or_default() += 1;
        }
    }

    /// The peers that nobody describes any more. A peer that renamed itself is still described by its new instance.
    fn uncount(&mut self, peers: &[(PeerId, Vec<Multiaddr>)]) -> Vec<News> {
        let mut gone = Vec::new();
        for (peer, _) in peers {
            let Some(count) = self.described.get_mut(peer) else {
                continue;
            };
            *count -= 1;
            if *count == 0 {
                self.described.remove(peer);
                gone.push(News::Gone(*peer));
            }
        }
        gone
    }
}

fn found(peers: &[(PeerId, Vec<Multiaddr>)], ttl: Duration) -> Vec<News> {
    peers
        .iter()
        .map(|(peer, addrs)| {
            News::Found(Found {
                peer: *peer,
                addrs: addrs.clone(),
                ttl,
            })
        })
        .collect()
}
