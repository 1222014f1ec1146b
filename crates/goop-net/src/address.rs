//! Which addresses are told to others, and which of theirs are believed (network.md 4.3, 4.4).

mod relayed;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use goop_identity::PeerId;
use goop_identity::presence::{MAX_ADDR, MAX_ADDRS};
use libp2p::Multiaddr;
use libp2p::multiaddr::Protocol;

pub use relayed::{Circuit, MAX_CIRCUITS, for_dialling, is_relayed};

/// Where a host listens and dials.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// The network: loopback and link-local addresses mean nothing to others.
    Network,
    /// This machine only, for tests: nothing but loopback counts.
    Loopback,
}

/// Where we are, as far as it decides which addresses make sense from here.
///
/// A private address is plausible only for a host that has a private address itself: to any other it can mean nothing
/// but somebody else's neighbour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Vicinity {
    reach: Reach,
    private_v4: bool,
    private_v6: bool,
}

impl Vicinity {
    /// Before anything is known of our own addresses: private ones may be near.
    #[must_use]
    pub fn new(reach: Reach) -> Self {
        Self {
            reach,
            private_v4: true,
            private_v6: true,
        }
    }

    /// Takes note of the addresses we listen on. None at all says nothing.
    pub fn look_around(&mut self, listening: &[Multiaddr]) {
        let own: Vec<IpAddr> = listening
            .iter()
            .filter_map(ip_of)
            .filter(|ip| is_machine(*ip))
            .collect();
        if !own.is_empty() {
            self.private_v4 = own.iter().any(|ip| ip.is_ipv4() && is_private(*ip));
            self.private_v6 = own.iter().any(|ip| ip.is_ipv6() && is_private(*ip));
        }
    }

    /// Whether a peer may be dialled at `addr` because somebody said so.
    ///
    /// Only plain IP addresses with a TCP, WebSocket or QUIC port count. Names would let a stranger make us resolve
    /// them; loopback, link-local, unspecified and multicast addresses are never another machine's to give.
    #[must_use]
    pub fn plausible(&self, addr: &Multiaddr) -> bool {
        let Some(ip) = ip_of(addr).filter(|_| has_transport(addr)) else {
            return false;
        };
        match self.reach {
            Reach::Loopback => ip.is_loopback(),
            Reach::Network => is_machine(ip) && (!is_private(ip) || self.has_private(ip)),
        }
    }

    fn has_private(&self, like: IpAddr) -> bool {
        if like.is_ipv4() {
            self.private_v4
        } else {
            self.private_v6
        }
    }

    /// The addresses of ours that are told to others: plausible ones, TCP before QUIC (a Go peer listens on TCP and
    /// some read only the first), then by bytes; bounded as presence bounds them.
    #[must_use]
    pub fn published(&self, listening: &[Multiaddr]) -> Vec<Multiaddr> {
        let own = Self {
            private_v4: true,
            private_v6: true,
            ..*self
        };
        let mut addrs: Vec<Multiaddr> = listening
            .iter()
            .filter(|addr| own.plausible(addr))
            .cloned()
            .collect();
        addrs.sort_by_cached_key(|addr| (!is_tcp(addr), addr.to_vec()));
        addrs.dedup();
        addrs.retain(|addr| addr.to_string().len() <= MAX_ADDR);
        addrs.truncate(MAX_ADDRS);
        addrs
    }

    /// Whether others anywhere may know us by `addr`.
    #[must_use]
    pub fn is_public(&self, addr: &Multiaddr) -> bool {
        self.plausible(addr) && ip_of(addr).is_some_and(|ip| is_machine(ip) && !is_private(ip))
    }

    /// Whether this machine alone counts.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        self.reach == Reach::Loopback
    }

    /// Whether strangers, beyond our own network, are at `addr` or may reach us there. On the loopback everybody is one.
    #[must_use]
    pub fn for_strangers(&self, addr: &Multiaddr) -> bool {
        match self.reach {
            Reach::Loopback => self.plausible(addr),
            Reach::Network => self.is_public(addr),
        }
    }

    /// The addresses of `peer` that are worth dialling, from the texts it sent: plausible ones, each once, at most
    /// [`MAX_ADDRS`]. With `/p2p/` at the end they must name that peer.
    #[must_use]
    pub fn dialable<'a>(
        &self,
        peer: &PeerId,
        texts: impl IntoIterator<Item = &'a str>,
    ) -> Vec<Multiaddr> {
        let short = texts
            .into_iter()
            .take(MAX_ADDRS)
            .filter(|text| text.len() <= MAX_ADDR);
        self.believed(peer, short.filter_map(|text| text.parse().ok()))
    }

    /// As [`Vicinity::dialable`], from addresses that are decoded already.
    #[must_use]
    pub fn believed(
        &self,
        peer: &PeerId,
        addrs: impl IntoIterator<Item = Multiaddr>,
    ) -> Vec<Multiaddr> {
        let mut kept = Vec::new();
        for addr in addrs.into_iter().take(MAX_ADDRS) {
            let of_another =
                matches!(addr.iter().last(), Some(Protocol::P2p(named)) if named != *peer);
            let addr = without_peer(addr);
            if !of_another && self.plausible(&addr) && !kept.contains(&addr) {
                kept.push(addr);
            }
        }
        kept
    }
}

pub(crate) fn ip_of(addr: &Multiaddr) -> Option<IpAddr> {
    match addr.iter().next()? {
        Protocol::Ip4(ip) => Some(IpAddr::V4(ip)),
        Protocol::Ip6(ip) => Some(IpAddr::V6(ip)),
        _ => None,
    }
}

/// What belongs to one customer or one network: an IPv4 address, and 64 bits of an IPv6 address.
pub(crate) fn network_of(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V4(_) => ip,
        IpAddr::V6(ip) => {
            let [a, b, c, d, ..] = ip.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
    }
}

/// Everything that is told to others (network.md 4.1): ways through a relay first, because for many they are the only
/// ones, then where we are seen from outside, then where we listen; bounded as presence bounds them.
#[must_use]
pub fn told(
    circuits: &[Multiaddr],
    outside: &[Multiaddr],
    listening: &[Multiaddr],
) -> Vec<Multiaddr> {
    let mut told: Vec<Multiaddr> = Vec::new();
    for addr in circuits.iter().chain(outside).chain(listening) {
        if !told.contains(addr) && addr.to_string().len() <= MAX_ADDR {
            told.push(addr.clone());
        }
    }
    told.truncate(MAX_ADDRS);
    told
}

/// Whether what follows the IP address is a transport we speak, with a port, and nothing else.
fn has_transport(addr: &Multiaddr) -> bool {
    let mut parts = addr.iter().skip(1);
    let port = match (parts.next(), parts.next()) {
        (Some(Protocol::Tcp(port)), None | Some(Protocol::Ws(_) | Protocol::Wss(_))) => port,
        (Some(Protocol::Udp(port)), Some(Protocol::QuicV1)) => port,
        _ => return false,
    };
    port != 0 && parts.next().is_none()
}

/// Whether an address can be another machine's on this network or beyond.
fn is_machine(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => {
            let never =
                ip.is_loopback() || ip.is_multicast() || ip.is_link_local() || ip.is_broadcast();
            !never && ip.octets()[0] != 0
        }
        IpAddr::V6(ip) => {
            let never = ip.is_loopback()
                || ip.is_multicast()
                || ip.is_unicast_link_local()
                || ip.is_unspecified();
            !never && ip.to_ipv4_mapped().is_none()
        }
    }
}

/// Whether an address means something only within a network (network.md 4.3).
pub(crate) fn is_private(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.is_private() || is_shared(ip),
        IpAddr::V6(ip) => is_unique_local(ip),
    }
}

/// 100.64.0.0/10, between a provider and its customers (RFC 6598), also used by overlay networks.
fn is_shared(ip: Ipv4Addr) -> bool {
    let [a, b, ..] = ip.octets();
    a == 100 && (64..128).contains(&b)
}

/// fc00::/7 (RFC 4193).
fn is_unique_local(ip: Ipv6Addr) -> bool {
    ip.octets()[0] & 0xfe == 0xfc
}

fn is_tcp(addr: &Multiaddr) -> bool {
    addr.iter().any(|part| matches!(part, Protocol::Tcp(_)))
}

/// A WebSocket.
pub(crate) fn is_web(addr: &Multiaddr) -> bool {
    addr.iter()
        .any(|part| matches!(part, Protocol::Ws(_) | Protocol::Wss(_)))
}

/// TCP and nothing around it, with or without the peer at its end.
pub(crate) fn is_plain_tcp(addr: &Multiaddr) -> bool {
    matches!(
        without_peer(addr.clone()).iter().last(),
        Some(Protocol::Tcp(_))
    )
}

/// An address without the `/p2p/<peer>` at its end.
#[must_use]
pub fn without_peer(mut addr: Multiaddr) -> Multiaddr {
    if matches!(addr.iter().last(), Some(Protocol::P2p(_))) {
        addr.pop();
    }
    addr
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const BOB: &str = "12D3KooWK99VoVxNE7XzyBwXEzW7xhK7Gpv85r9F3V3fyKSUKPH5";
    const CAROL: &str = "12D3KooWJWoaqZhDaoEFshF7Rh1bpY9ohihFhzcW6d69Lr2NASuq";

    fn addrs(texts: &[&str]) -> Vec<Multiaddr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    fn network(own: &[&str]) -> Vicinity {
        let mut vicinity = Vicinity::new(Reach::Network);
        vicinity.look_around(&addrs(own));
        vicinity
    }

    #[track_caller]
    fn check(vicinity: Vicinity, addr: &str, plausible: bool) {
        assert_eq!(
            vicinity.plausible(&addr.parse().unwrap()),
            plausible,
            "{addr}"
        );
    }

    #[test]
    fn addresses_of_machines_are_plausible() {
        let home = network(&["/ip4/192.168.1.2/tcp/4001", "/ip6/fd00::2/tcp/4001"]);
        check(home, "/ip4/192.168.1.20/tcp/4711", true);
        check(home, "/ip4/10.1.2.3/tcp/4711", true);
        check(home, "/ip4/100.64.0.1/tcp/4711", true);
        check(home, "/ip4/203.0.113.7/udp/4711/quic-v1", true);
        check(home, "/ip4/203.0.113.7/tcp/80/ws", true);
        check(home, "/ip6/fd00::1/tcp/4711", true);
        check(home, "/ip6/2001:db8::1/udp/1/quic-v1", true);
    }

    #[test]
    fn what_names_no_machine_is_not() {
        let home = network(&["/ip4/192.168.1.2/tcp/4001"]);
        for addr in [
            "/ip4/127.0.0.1/tcp/4711",
            "/ip4/0.0.0.0/tcp/4711",
            "/ip4/0.1.2.3/tcp/4711",
            "/ip4/224.0.0.251/udp/5353/quic-v1",
            "/ip4/255.255.255.255/tcp/4711",
            "/ip4/169.254.1.1/tcp/4711",
            "/ip6/::1/tcp/4711",
            "/ip6/::/tcp/4711",
            "/ip6/fe80::1/tcp/4711",
            "/ip6/ff02::fb/tcp/4711",
            "/ip6/::ffff:127.0.0.1/tcp/4711",
            "/dns4/example.org/tcp/4711",
            "/dns/router.local/tcp/80",
            "/ip4/192.168.1.20/tcp/0",
            "/ip4/192.168.1.20/udp/4711",
            "/ip4/192.168.1.20",
            "/unix/tmp",
            "/ip4/192.168.1.20/tcp/1/tcp/2",
        ] {
            check(home, addr, false);
        }
    }

    #[test]
    fn private_addresses_mean_nothing_to_a_host_without_one() {
        let server = network(&["/ip4/203.0.113.7/tcp/4001", "/ip4/127.0.0.1/tcp/4001"]);
        check(server, "/ip4/192.168.1.20/tcp/4711", false);
        check(server, "/ip4/100.100.0.1/tcp/4711", false);
        check(server, "/ip6/fd00::1/tcp/4711", false);
        check(server, "/ip4/198.51.100.1/tcp/4711", true);
        // Before the first address is known nothing is ruled out.
        check(network(&[]), "/ip4/192.168.1.20/tcp/4711", true);
    }

    #[test]
    fn on_the_loopback_nothing_else_counts() {
        let alone = Vicinity::new(Reach::Loopback);
        check(alone, "/ip4/127.0.0.1/tcp/4711", true);
        check(alone, "/ip4/192.168.1.20/tcp/4711", false);
    }

    #[test]
    fn our_addresses_are_told_in_order_and_bounded() {
        let vicinity = network(&["/ip4/192.168.1.2/tcp/4001"]);
        let listening = addrs(&[
            "/ip4/192.168.1.2/udp/4001/quic-v1",
            "/ip4/127.0.0.1/tcp/4001",
            "/ip4/192.168.1.2/tcp/4001",
            "/ip6/fe80::2/tcp/4001",
            "/ip4/10.0.0.2/tcp/4001",
            "/ip4/192.168.1.2/tcp/4001",
        ]);
        let expected = addrs(&[
            "/ip4/10.0.0.2/tcp/4001",
            "/ip4/192.168.1.2/tcp/4001",
            "/ip4/192.168.1.2/udp/4001/quic-v1",
        ]);
        assert_eq!(vicinity.published(&listening), expected);
        let many: Vec<Multiaddr> = (0..200)
            .map(|n| format!("/ip4/10.0.0.{n}/tcp/4001").parse().unwrap())
            .collect();
        assert_eq!(vicinity.published(&many).len(), MAX_ADDRS);
    }

    #[test]
    fn a_peers_texts_become_what_is_worth_dialling() {
        let vicinity = network(&["/ip4/192.168.1.2/tcp/4001"]);
        let (own, other) = (
            format!("/ip4/192.168.1.21/tcp/1/p2p/{BOB}"),
            format!("/ip4/192.168.1.22/tcp/1/p2p/{CAROL}"),
        );
        let long = format!("/dns4/{}/tcp/1", "x".repeat(300));
        let texts = [
            "/ip4/192.168.1.20/tcp/1",
            "junk",
            &own,
            &other,
            &long,
            "",
            "/ip4/192.168.1.20/tcp/1",
        ];
        let expected = addrs(&["/ip4/192.168.1.20/tcp/1", "/ip4/192.168.1.21/tcp/1"]);
        assert_eq!(vicinity.dialable(&BOB.parse().unwrap(), texts), expected);
        let endless = std::iter::repeat("/ip4/192.168.1.20/tcp/1");
        assert_eq!(vicinity.dialable(&BOB.parse().unwrap(), endless).len(), 1);
    }
}
