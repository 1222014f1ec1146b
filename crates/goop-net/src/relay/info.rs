//! What a rendezvous says about its relay (network.md 9.1).

use std::net::IpAddr;
use std::time::Duration;

use libp2p::Multiaddr;
use libp2p::multiaddr::Protocol;

use crate::PeerId;
use crate::address::{Reach, ip_of, is_private, without_peer};

/// Addresses of one relay that count. A Go relay tells one for each interface and two for the outside.
const MAX_ADDRS: usize = 16;
/// No configured time is longer.
const LONGEST: Duration = Duration::from_secs(3_600);

/// A relay, and how patient to be with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RelayInfo {
    /// Who.
    pub peer: PeerId,
    /// Where, with or without `/p2p/<relay>` at the end. Loopback addresses count on the loopback only.
    pub addrs: Vec<Multiaddr>,
    /// How patient to be.
    pub timings: RelayTimings,
}

/// Times around the relay, as the rendezvous gives them. Zero means the default.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RelayTimings {
    /// Between closing the connections and connecting anew.
    pub cleanup_delay: Duration,
    /// For a reservation.
    pub poll_deadline: Duration,
    /// For a connection.
    pub connect_timeout: Duration,
    /// Between two looks at whether all is well.
    pub refresh_interval: Duration,
    /// A gap that is over by then is not told to anybody.
    pub recovery_grace: Duration,
}

impl Default for RelayTimings {
    /// network.md 1.2.
    fn default() -> Self {
        Self {
            cleanup_delay: Duration::from_millis(500),
            poll_deadline: Duration::from_secs(5),
            connect_timeout: Duration::from_secs(3),
            refresh_interval: Duration::from_secs(90),
            recovery_grace: Duration::from_secs(2),
        }
    }
}

impl RelayTimings {
    fn settled(self) -> Self {
        let default = Self::default();
        let or = |value: Duration, default: Duration| {
            if value.is_zero() {
                default
            } else {
                value.min(LONGEST)
            }
        };
        Self {
            cleanup_delay: or(self.cleanup_delay, default.cleanup_delay),
            poll_deadline: or(self.poll_deadline, default.poll_deadline),
            connect_timeout: or(self.connect_timeout, default.connect_timeout),
            refresh_interval: or(self.refresh_interval, default.refresh_interval),
            recovery_grace: or(self.recovery_grace, default.recovery_grace),
        }
    }
}

impl RelayInfo {
    /// Addresses without the relay's id, each once, those that can mean something, private ones first (they are nearer
    /// where they mean something at all); times with their defaults.
    pub(super) fn settled(self, reach: Reach) -> Self {
        let mut addrs: Vec<Multiaddr> = Vec::new();
        for addr in self.addrs {
            let of_another =
                matches!(addr.iter().last(), Some(Protocol::P2p(named)) if named != self.peer);
            let addr = without_peer(addr);
            if !of_another && means_something(&addr, reach) && !addrs.contains(&addr) {
                addrs.push(addr);
            }
        }
        addrs.sort_by_key(|addr| ip_of(addr).is_none_or(|ip| !is_private(ip)));
        addrs.truncate(MAX_ADDRS);
        Self {
            peer: self.peer,
            addrs,
            timings: self.timings.settled(),
        }
    }
}

/// Whether an address of a relay can be one: loopback is our own machine, and a link-local address of IPv6 means nothing
/// without the interface it is on, which nobody says.
pub(super) fn means_something(addr: &Multiaddr, reach: Reach) -> bool {
    let never = match ip_of(addr) {
        Some(ip) => {
            ip.is_unspecified()
                || ip.is_multicast()
                || matches!(ip, IpAddr::V6(ip) if ip.is_unicast_link_local())
                || (ip.is_loopback() && reach != Reach::Loopback)
        }
        None => false,
    };
    !never && !addr.is_empty() && !crate::address::is_relayed(addr)
}
