//! How often we dial for others, as a value.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use crate::PeerId;
use crate::address::network_of;
use crate::bucket::Bucket;

/// Dials for one peer, and for all peers of one address, at once: as many as a peer has addresses for each kind of IP and
/// transport …
const BURST: u32 = 4;
/// … then one this often.
const EVERY: Duration = Duration::from_secs(60);
/// Dials for everybody at once …
const BURST_OF_ALL: u32 = 16;
/// … then one this often.
const EVERY_OF_ALL: Duration = Duration::from_secs(5);
/// Peers, and addresses, that are remembered. Beyond them nobody new is served until somebody's measure is full again.
const REMEMBERED: usize = 1_024;

/// What others may still have dialled.
#[derive(Debug)]
pub struct Budget {
    of_peers: HashMap<PeerId, Bucket>,
    of_addrs: HashMap<IpAddr, Bucket>,
    of_all: Bucket,
}

impl Budget {
    /// Everything is allowed that is allowed at once.
    #[must_use]
    pub fn new(now: Instant) -> Self {
        Self {
            of_peers: HashMap::new(),
            of_addrs: HashMap::new(),
            of_all: Bucket::new(BURST_OF_ALL, EVERY_OF_ALL, now),
        }
    }

    /// Whether a peer, connected from these addresses, may have something dialled now; then that counts.
    pub fn take(&mut self, peer: PeerId, from: &[IpAddr], now: Instant) -> bool {
        let from: Vec<IpAddr> = from.iter().copied().map(network_of).collect();
        let Some(of_peer) = measure(&mut self.of_peers, peer, now) else {
            return false;
        };
        if of_peer.next(now) > now || self.of_all.next(now) > now {
            return false;
        }
        for addr in &from {
            if measure(&mut self.of_addrs, *addr, now).is_none_or(|bucket| bucket.next(now) > now) {
                return false;
            }
        }
        self.of_all.take(now);
        if let Some(bucket) = self.of_peers.get_mut(&peer) {
            bucket.take(now);
        }
        for addr in from {
            if let Some(bucket) = self.of_addrs.get_mut(&addr) {
                bucket.take(now);
            }
        }
        true
    }
}

/// The measure of one of them; `None` when there is no room for one more.
fn measure<K: std::hash::Hash + Eq + Copy>(
    all: &mut HashMap<K, Bucket>,
    of: K,
    now: Instant,
) -> Option<&mut Bucket> {
    if all.len() >= REMEMBERED && !all.contains_key(&of) {
        all.retain(|_, bucket| !bucket.is_full(now));
        if all.len() >= REMEMBERED {
            return None;
        }
    }
    Some(
        all.entry(of)
            .or_insert_with(|| Bucket::new(BURST, EVERY, now)),
    )
}
