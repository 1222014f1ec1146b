//! Who may be reached over the relay, as a value: the places are limited, and no address takes them all.
//!
//! The library counts, too, but refuses to renew while the last place is taken: whoever has one would lose it as soon as
//! the relay is full. Here a renewal takes no place, so its own count is set out of reach.

use std::collections::HashMap;
use std::net::IpAddr;

use goop_identity::PeerId;

use crate::limits::household;

/// The places of one relay.
#[derive(Debug)]
pub(super) struct Places {
    most: usize,
    most_of_address: usize,
    taken: HashMap<PeerId, IpAddr>,
}

impl Places {
    /// So many places in all, and for one address (see [`household`]).
    pub(super) fn new(most: usize, most_of_address: usize) -> Self {
        Self {
            most,
            most_of_address,
            taken: HashMap::new(),
        }
    }

    /// A peer asks for a place, or to keep the one it has. Peers behind the proxy of this machine have no address of their
    /// own, so only the number in all counts for them.
    pub(super) fn take(&mut self, peer: PeerId, from: Option<IpAddr>) -> bool {
        let from = from.map_or(IpAddr::from([127, 0, 0, 1]), household);
        if !self.taken.contains_key(&peer) {
            let of_address = self.taken.values().filter(|ip| **ip == from).count();
            let too_many = of_address >= self.most_of_address && !from.is_loopback();
            if self.taken.len() >= self.most || too_many {
                return false;
            }
        }
        self.taken.insert(peer, from);
        true
    }

    /// A peer left, or did not renew.
    pub(super) fn leave(&mut self, peer: &PeerId) {
        self.taken.remove(peer);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(last: u8) -> Option<IpAddr> {
        Some(IpAddr::from([198, 51, 100, last]))
    }

    #[test]
    fn one_address_leaves_room_for_others_and_a_full_relay_renews() {
        let mut places = Places::new(4, 2);
        let peers: Vec<PeerId> = (0..6).map(|_| PeerId::random()).collect();
        assert!(places.take(peers[0], ip(1)) && places.take(peers[1], ip(1)));
        assert!(!places.take(peers[2], ip(1)), "a third one of an address");
        assert!(places.take(peers[2], ip(2)) && places.take(peers[3], ip(3)));
        assert!(!places.take(peers[4], ip(4)), "it is full");
        assert!(places.take(peers[0], ip(1)), "a renewal");
        assert!(places.take(peers[0], ip(9)), "a renewal from elsewhere");
        places.leave(&peers[3]);
        assert!(places.take(peers[4], ip(1)), "what is left can be taken");
    }

    #[test]
    fn a_proxy_has_many_peers_and_a_network_of_ipv6_is_one() {
        let mut places = Places::new(3, 1);
        for _ in 0..2 {
            assert!(places.take(PeerId::random(), Some(IpAddr::from([127, 0, 0, 1]))));
        }
        let v6 = |text: &str| text.parse().ok();
        let mut places_v6 = Places::new(3, 1);
        assert!(places_v6.take(PeerId::random(), v6("2001:db8::1")));
        assert!(!places_v6.take(PeerId::random(), v6("2001:db8::2")));
        assert!(places_v6.take(PeerId::random(), v6("2001:db8:0:1::2")));
    }
}
