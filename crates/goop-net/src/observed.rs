//! What others say is our address, as a value.
//!
//! Behind a NAT nobody knows its own address; others see it. Two views count: the relay's, because we dial it from the
//! port we listen on, so it sees the mapping that others need; and that of a peer that dialled us, because it says
//! where it reached us. The relay has a view for each connection to it, so one for UDP and one for TCP. What the relay
//! saw is told to others, what others saw is only tried when a hole is punched: anybody may say anything.

use std::collections::HashMap;
use std::net::IpAddr;

use libp2p::Multiaddr;
use libp2p::multiaddr::Protocol;
use libp2p::swarm::ConnectionId;

use crate::address::ip_of;

/// Views that are kept; a connection has one.
const MAX: usize = 64;

#[derive(Debug)]
struct View {
    addr: Multiaddr,
    of_relay: bool,
}

/// The views of others.
#[derive(Debug, Default)]
pub(crate) struct Observed {
    views: HashMap<ConnectionId, View>,
    /// Views of peers that we dialled from the port we listen on. They only tell what the router does.
    elsewhere: HashMap<ConnectionId, Multiaddr>,
}

impl Observed {
    /// The other side of a connection says where it sees us. Answers whether that is news.
    pub(crate) fn saw(
        &mut self,
        connection: ConnectionId,
        addr: Multiaddr,
        of_relay: bool,
    ) -> bool {
        if !self.views.contains_key(&connection) && self.views.len() >= MAX && !of_relay {
            return false;
        }
        let old = self.views.insert(
            connection,
            View {
                addr: addr.clone(),
                of_relay,
            },
        );
        old.is_none_or(|old| old.addr != addr)
    }

    /// A peer that we dialled from the port we listen on says where it sees us. Answers whether that is news.
    pub(crate) fn saw_elsewhere(&mut self, connection: ConnectionId, addr: Multiaddr) -> bool {
        let room = self.elsewhere.len() < MAX;
        room && self.elsewhere.insert(connection, addr.clone()) != Some(addr)
    }

    /// What such peers say.
    pub(crate) fn elsewhere(&self) -> Vec<Multiaddr> {
        self.elsewhere.values().cloned().collect()
    }

    /// A connection ended, and its view with it.
    pub(crate) fn gone(&mut self, connection: ConnectionId) -> bool {
        self.elsewhere.remove(&connection);
        self.views.remove(&connection).is_some()
    }

    /// Where the relay sees us.
    pub(crate) fn by_relay(&self) -> Vec<Multiaddr> {
        self.sorted(|view| view.of_relay)
    }

    /// Where we may be met through a NAT, the best first: where the relay sees us, where peers reached us, and the
    /// ports we listen on at the relay's view of us, because most NATs keep a port that is free.
    pub(crate) fn candidates(&self, listening: &[Multiaddr]) -> Vec<Multiaddr> {
        let by_relay = self.by_relay();
        let ips: Vec<IpAddr> = by_relay.iter().filter_map(ip_of).collect();
        let mut all = by_relay;
        // A stranger may name a port; whose machine it is, the relay saw.
        all.extend(self.sorted(|view| {
            !view.of_relay && ip_of(&view.addr).is_some_and(|ip| ips.contains(&ip))
        }));
        for ip in ips {
            all.extend(listening.iter().filter_map(|addr| moved(addr, ip)));
        }
        let mut once: Vec<Multiaddr> = Vec::new();
        for addr in all {
            if !once.contains(&addr) {
                once.push(addr);
            }
        }
        once
    }

    fn sorted(&self, wanted: impl Fn(&View) -> bool) -> Vec<Multiaddr> {
        let views = self.views.values().filter(|view| wanted(view));
        let mut addrs: Vec<Multiaddr> = views.map(|view| view.addr.clone()).collect();
        addrs.sort_by_cached_key(Multiaddr::to_vec);
        addrs.dedup();
        addrs
    }
}

/// The address with another IP address of the same family.
fn moved(addr: &Multiaddr, ip: IpAddr) -> Option<Multiaddr> {
    let same = ip_of(addr)?.is_ipv4() == ip.is_ipv4();
    same.then(|| {
        let rest = addr.iter().skip(1);
        std::iter::once(Protocol::from(ip)).chain(rest).collect()
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn addr(text: &str) -> Multiaddr {
        text.parse().unwrap()
    }

    fn id(number: usize) -> ConnectionId {
        ConnectionId::new_unchecked(number)
    }

    #[test]
    fn the_relays_view_comes_first_and_brings_the_ports_we_listen_on() {
        let mut observed = Observed::default();
        assert!(observed.saw(id(1), addr("/ip4/203.0.113.7/tcp/8001"), false));
        assert!(observed.saw(id(3), addr("/ip4/198.51.100.9/tcp/4001"), false));
        assert!(observed.saw(id(2), addr("/ip4/203.0.113.7/udp/50123/quic-v1"), true));
        assert!(
            !observed.saw(id(2), addr("/ip4/203.0.113.7/udp/50123/quic-v1"), true),
            "no news"
        );
        let listening = [
            addr("/ip4/192.168.1.2/tcp/4001"),
            addr("/ip4/192.168.1.2/udp/4001/quic-v1"),
            addr("/ip6/fd00::2/tcp/4001"),
        ];
        let expected = [
            addr("/ip4/203.0.113.7/udp/50123/quic-v1"),
            addr("/ip4/203.0.113.7/tcp/8001"),
            addr("/ip4/203.0.113.7/tcp/4001"),
            addr("/ip4/203.0.113.7/udp/4001/quic-v1"),
        ];
        assert_eq!(observed.candidates(&listening), expected);
        assert_eq!(observed.by_relay(), expected[..1]);
    }

    #[test]
    fn a_view_ends_with_its_connection_and_strangers_cannot_flood() {
        let mut observed = Observed::default();
        for number in 0..2 * MAX {
            observed.saw(id(number), addr("/ip4/198.51.100.9/tcp/1"), false);
        }
        assert_eq!(observed.views.len(), MAX);
        assert!(
            observed.saw(id(9_999), addr("/ip4/203.0.113.7/tcp/4001"), true),
            "the relay's always counts"
        );
        assert!(observed.gone(id(9_999)));
        assert_eq!(observed.by_relay(), []);
    }
}
