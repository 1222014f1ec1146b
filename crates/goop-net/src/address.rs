//! Which addresses are told to others, and which of theirs are believed (network.md 4.3, 4.4).

use std::net::IpAddr;

use goop_identity::presence::{MAX_ADDR, MAX_ADDRS};
use libp2p::Multiaddr;
use libp2p::multiaddr::Protocol;

/// Where a host listens and dials.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// The network: loopback and link-local addresses mean nothing to others.
    Network,
    /// This machine only, for tests: nothing but loopback counts.
    Loopback,
}

/// Whether a peer may be dialled at `addr` because somebody said so.
///
/// Only plain IP addresses with a TCP or QUIC port count. Names would let a stranger make us resolve them; loopback,
/// unspecified, multicast and documentation addresses are never another machine.
#[must_use]
pub fn plausible(addr: &Multiaddr, reach: Reach) -> bool {
    let mut parts = addr.iter();
    let ip = match parts.next() {
        Some(Protocol::Ip4(ip)) => IpAddr::V4(ip),
        Some(Protocol::Ip6(ip)) => IpAddr::V6(ip),
        _ => return false,
    };
    let transport = match (parts.next(), parts.next(), parts.next()) {
        (Some(Protocol::Tcp(port)), None | Some(Protocol::P2p(_)), None) => port != 0,
        (Some(Protocol::Tcp(port)), Some(Protocol::Ws(_) | Protocol::Wss(_)), None | Some(Protocol::P2p(_))) => port != 0,
        (Some(Protocol::Udp(port)), Some(Protocol::QuicV1), None | Some(Protocol::P2p(_))) => port != 0,
        _ => false,
    };
    transport
        && match reach {
            Reach::Loopback => ip.is_loopback(),
            Reach::Network => is_machine(ip),
        }
}

fn is_machine(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => {
            !(ip.is_loopback() || ip.is_unspecified() || ip.is_multicast() || ip.is_broadcast() || ip.is_link_local())
                && ip.octets()[0] != 0
        }
        IpAddr::V6(ip) => {
            !(ip.is_loopback() || ip.is_unspecified() || ip.is_multicast() || ip.is_unicast_link_local())
                && ip.to_ipv4_mapped().is_none()
        }
    }
}

/// The addresses of ours that are told to others: plausible ones, TCP before QUIC (a Go peer listens on TCP and some
/// read only the first), bounded as presence bounds them.
#[must_use]
pub fn published(listening: &[Multiaddr], reach: Reach) -> Vec<Multiaddr> {
    let mut addrs: Vec<Multiaddr> = listening.iter().filter(|addr| plausible(addr, reach)).cloned().collect();
    addrs.sort_by_key(|addr| (!is_tcp(addr), addr.to_vec()));
    addrs.dedup();
    addrs.retain(|addr| addr.to_string().len() <= MAX_ADDR);
    addrs.truncate(MAX_ADDRS);
    addrs
}

fn is_tcp(addr: &Multiaddr) -> bool {
    addr.iter().any(|part| matches!(part, Protocol::Tcp(_)))
}

/// The addresses of a peer that are worth dialling, from the texts it sent.
#[must_use]
pub fn dialable<'a>(texts: impl IntoIterator<Item = &'a str>, reach: Reach) -> Vec<Multiaddr> {
    let addrs = texts.into_iter().take(MAX_ADDRS).filter_map(|text| text.parse::<Multiaddr>().ok());
    addrs.map(without_peer).filter(|addr| plausible(addr, reach)).collect()
}

/// An address without the `/p2p/<peer>` at its end.
#[must_use]
pub fn without_peer(mut addr: Multiaddr) -> Multiaddr {
    if matches!(addr.iter().last(), Some(Protocol::P2p(_))) {
        addr.pop();
    }
    addr
}

/// Whether a connection runs over a relay.
#[must_use]
pub fn is_relayed(addr: &Multiaddr) -> bool {
    addr.iter().any(|part| matches!(part, Protocol::P2pCircuit))
}
