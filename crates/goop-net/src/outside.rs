//! How this peer looks from outside: what stands between it and the internet, as far as others' views tell, in words that a
//! person can act on.

use std::collections::HashSet;
use std::net::IpAddr;

use libp2p::Multiaddr;
use libp2p::multiaddr::Protocol;
use serde::{Deserialize, Serialize};

use crate::address::{ip_of, is_plain_tcp, is_private};

/// What stands between this peer and the internet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Access {
    /// Nobody beyond the own network looked yet.
    #[default]
    Unknown,
    /// Nothing.
    Open,
    /// An address of its own, with a firewall before it.
    Firewall,
    /// A router that opened a port because we asked it to.
    PortOpened,
    /// A router that lets strangers through to us.
    Forwarded,
    /// A router; as far as is known it uses one outside port, whoever is talked to.
    Router,
    /// A router with another outside port for each that is talked to.
    Strict,
    /// Something that lets no UDP through.
    NoUdp,
    /// Something that lets nothing out but HTTPS.
    OnlyHttps,
}

impl Access {
    /// What it means, and what to do about it, if anything.
    #[must_use]
    pub fn in_words(self) -> (&'static str, Option<&'static str>) {
        match self {
            Self::Unknown => (
                "Nobody beyond your network has seen this peer yet.",
                Some(
                    "To meet peers on the internet, enter the address of a rendezvous server with a relay (Me → Rendezvous).",
                ),
            ),
            Self::Open => (
                "This peer has an address of its own on the internet: everybody can connect to it directly.",
                None,
            ),
            Self::Firewall => (
                "This peer has an address of its own on the internet, and a firewall keeps strangers out. Most others can \
                 connect directly all the same; the rest comes through the relay.",
                Some(
                    "To be reached directly by everybody, choose a port (Me → Network) and let TCP and UDP in there.",
                ),
            ),
            Self::Forwarded => (
                "Your router lets others through to this peer: everybody can connect to it directly.",
                None,
            ),
            Self::PortOpened => (
                "Your router opened a port for this peer: everybody can connect to it directly.",
                None,
            ),
            Self::Router => (
                "A router stands between this peer and the internet. Most others can connect directly all the same; the rest \
                 comes through the relay.",
                Some(
                    "To be reached directly by everybody, switch on PCP or NAT-PMP in the router, or choose a port (Me → \
                     Network) and forward it to this machine, TCP and UDP.",
                ),
            ),
            Self::Strict => (
                "Your router uses another outside port for each connection. Only peers with open routers connect directly; all \
                 others come through the relay.",
                Some(
                    "Choose a port (Me → Network) and forward it to this machine in the router, TCP and UDP, or switch on PCP \
                     or NAT-PMP there. Routers call the strict way \"symmetric NAT\"; some have a switch for games that ends it.",
                ),
            ),
            Self::NoUdp => (
                "UDP does not get through from here. Direct connections take longer to come up, and some come through the \
                 relay instead.",
                Some(
                    "If the firewall is yours, let UDP out and answers in; for connections of others, forward the port of this \
                     peer.",
                ),
            ),
            Self::OnlyHttps => (
                "Only HTTPS gets out of this network. Everybody comes through the relay.",
                Some(
                    "In somebody else's network (office, school, hotel) that is how it is. If the firewall is yours, let TCP \
                     and UDP out.",
                ),
            ),
        }
    }
}

/// What is known of how others see us.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Outside {
    /// What follows from the rest.
    pub access: Access,
    /// Where we listen.
    pub own: Vec<Multiaddr>,
    /// Where the relay sees us.
    pub seen: Vec<Multiaddr>,
    /// Ports that the router opened.
    pub opened: Vec<Multiaddr>,
    /// Where strangers reached us when we asked them to try.
    pub confirmed: Vec<Multiaddr>,
    /// Where they did not.
    pub refuted: Vec<Multiaddr>,
}

/// The facts that [`Outside`] is made of.
#[derive(Debug, Clone, Default)]
pub(crate) struct Facts {
    /// Where we listen.
    pub(crate) own: Vec<Multiaddr>,
    /// Where the relay sees us.
    pub(crate) seen: Vec<Multiaddr>,
    /// Where peers see us that we dialled from the port we listen on.
    pub(crate) elsewhere: Vec<Multiaddr>,
    /// Ports that the router opened.
    pub(crate) opened: Vec<Multiaddr>,
    /// Where strangers reached us.
    pub(crate) confirmed: Vec<Multiaddr>,
    /// Where they did not.
    pub(crate) refuted: Vec<Multiaddr>,
    /// How the relay is connected, at its addresses.
    pub(crate) relay: Vec<Multiaddr>,
    /// Where the relay says that it is.
    pub(crate) offered: Vec<Multiaddr>,
}

impl From<Facts> for Outside {
    fn from(facts: Facts) -> Self {
        Self {
            access: access(&facts),
            own: facts.own,
            seen: facts.seen,
            opened: facts.opened,
            confirmed: facts.confirmed,
            refuted: facts.refuted,
        }
    }
}

/// Where others beyond our network may find us: what strangers reach first, and of that TCP, because some read only the first
/// address and expect it; what they do not reach last. A port that the router opened and that does not lead here is left out.
/// Where the relay sees us stays, reached or not: holes are punched there.
pub(crate) fn in_order(
    confirmed: Vec<Multiaddr>,
    opened: Vec<Multiaddr>,
    seen: Vec<Multiaddr>,
    refuted: &[Multiaddr],
) -> Vec<Multiaddr> {
    let mut all = confirmed;
    all.sort_by_key(|addr| !is_plain_tcp(addr));
    all.extend(opened.into_iter().filter(|addr| !refuted.contains(addr)));
    let (last, rest): (Vec<_>, Vec<_>) = seen.into_iter().partition(|addr| refuted.contains(addr));
    all.extend(rest);
    all.extend(last);
    let mut once = Vec::new();
    for addr in all {
        if !once.contains(&addr) {
            once.push(addr);
        }
    }
    once
}

fn access(facts: &Facts) -> Access {
    let own: HashSet<IpAddr> = facts.own.iter().filter_map(ip_of).collect();
    // A relay of the own network sees the own address, too.
    let is_own =
        |addr: &Multiaddr| ip_of(addr).is_some_and(|ip| own.contains(&ip) && !is_private(ip));
    let reached = |addr: &Multiaddr| facts.confirmed.contains(addr);
    let shut = |addr: &Multiaddr| facts.refuted.contains(addr);
    if facts.confirmed.iter().any(is_own) {
        Access::Open
    } else if facts.seen.iter().any(is_own) {
        match facts.own.iter().any(shut) {
            true => Access::Firewall,
            false => Access::Open,
        }
    } else if facts.opened.iter().any(|addr| reached(addr) || !shut(addr)) {
        Access::PortOpened
    } else if !facts.confirmed.is_empty() {
        Access::Forwarded
    } else if facts.relay.is_empty() {
        Access::Unknown
    } else if facts.relay.iter().all(is_web) {
        Access::OnlyHttps
    } else if has_many_ports(facts, is_quic) || has_many_ports(facts, is_tcp) {
        Access::Strict
    } else if facts.offered.iter().any(is_quic) && !facts.relay.iter().any(is_quic) {
        Access::NoUdp
    } else if facts.seen.is_empty() {
        Access::Unknown
    } else {
        Access::Router
    }
}

/// Whether the outside port depends on who looks.
fn has_many_ports(facts: &Facts, of: fn(&Multiaddr) -> bool) -> bool {
    let views = facts.seen.iter().chain(&facts.elsewhere);
    let v4 = views.filter(|addr| of(addr) && ip_of(addr).is_some_and(|ip| ip.is_ipv4()));
    let ports: HashSet<Option<u16>> = v4.map(port).collect();
    ports.len() > 1
}

fn port(addr: &Multiaddr) -> Option<u16> {
    addr.iter().find_map(|part| match part {
        Protocol::Tcp(port) | Protocol::Udp(port) => Some(port),
        _ => None,
    })
}

fn is_quic(addr: &Multiaddr) -> bool {
    addr.iter().any(|part| part == Protocol::QuicV1)
}

fn is_tcp(addr: &Multiaddr) -> bool {
    addr.iter().any(|part| matches!(part, Protocol::Tcp(_))) && !is_web(addr)
}

fn is_web(addr: &Multiaddr) -> bool {
    addr.iter()
        .any(|part| matches!(part, Protocol::Ws(_) | Protocol::Wss(_)))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn addrs(texts: &[&str]) -> Vec<Multiaddr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn what_strangers_reach_is_told_first_and_a_port_that_leads_nowhere_is_not() {
        let [guess, quic, tcp, mapped] = [
            "/ip4/203.0.113.7/tcp/7001",
            "/ip4/203.0.113.7/udp/7001/quic-v1",
            "/ip4/203.0.113.7/tcp/50124",
            "/ip4/203.0.113.7/tcp/7002",
        ];
        let check = |confirmed: &[&str], refuted: &[&str], expected: &[&str]| {
            let refuted = addrs(refuted);
            let told = in_order(
                addrs(confirmed),
                addrs(&[mapped]),
                addrs(&[quic, tcp]),
                &refuted,
            );
            assert_eq!(told, addrs(expected), "{confirmed:?} {refuted:?}");
        };
        check(&[], &[], &[mapped, quic, tcp]);
        check(&[quic, guess], &[], &[guess, quic, mapped, tcp]);
        check(&[], &[mapped, quic], &[tcp, quic]);
        check(&[tcp], &[mapped, quic, guess], &[tcp, quic]);
    }

    #[test]
    fn what_stands_between_follows_from_what_others_see() {
        let quic = "/ip4/198.51.100.1/udp/4001/quic-v1";
        let tcp = "/ip4/198.51.100.1/tcp/4001";
        let home = Facts {
            own: addrs(&[
                "/ip4/192.168.1.2/tcp/7001",
                "/ip4/192.168.1.2/udp/7001/quic-v1",
            ]),
            relay: addrs(&[quic]),
            offered: addrs(&[tcp, quic]),
            ..Facts::default()
        };
        let seen = |seen: &[&str]| Facts {
            seen: addrs(seen),
            ..home.clone()
        };
        let at_home = seen(&["/ip4/203.0.113.7/udp/50123/quic-v1"]);
        let own_address = Facts {
            own: addrs(&[
                "/ip4/203.0.113.7/tcp/7001",
                "/ip4/203.0.113.7/udp/7001/quic-v1",
            ]),
            ..seen(&["/ip4/203.0.113.7/udp/7001/quic-v1"])
        };
        let cases = [
            (Facts::default(), Access::Unknown),
            (home.clone(), Access::Unknown),
            (at_home.clone(), Access::Router),
            (
                Facts {
                    own: addrs(&["/ip4/203.0.113.7/udp/7001/quic-v1"]),
                    ..seen(&["/ip4/203.0.113.7/udp/7001/quic-v1"])
                },
                Access::Open,
            ),
            (seen(&["/ip4/192.168.1.2/udp/7001/quic-v1"]), Access::Router),
            (
                Facts {
                    refuted: addrs(&["/ip4/203.0.113.7/tcp/7001"]),
                    ..own_address.clone()
                },
                Access::Firewall,
            ),
            (
                // One of two is enough for everybody to come.
                Facts {
                    confirmed: addrs(&["/ip4/203.0.113.7/udp/7001/quic-v1"]),
                    refuted: addrs(&["/ip4/203.0.113.7/tcp/7001"]),
                    ..own_address.clone()
                },
                Access::Open,
            ),
            (
                Facts {
                    confirmed: addrs(&["/ip4/203.0.113.7/tcp/7001"]),
                    ..at_home.clone()
                },
                Access::Forwarded,
            ),
            (
                Facts {
                    refuted: addrs(&["/ip4/203.0.113.7/tcp/7001"]),
                    ..at_home.clone()
                },
                Access::Router,
            ),
            (
                // The router opened a port, and another router before it did not.
                Facts {
                    opened: addrs(&["/ip4/203.0.113.7/tcp/7001"]),
                    refuted: addrs(&["/ip4/203.0.113.7/tcp/7001"]),
                    ..at_home.clone()
                },
                Access::Router,
            ),
            (
                Facts {
                    opened: addrs(&["/ip4/203.0.113.7/tcp/7001"]),
                    ..at_home.clone()
                },
                Access::PortOpened,
            ),
            (
                // UDP and TCP have ports of their own with every router.
                seen(&[
                    "/ip4/203.0.113.7/udp/50123/quic-v1",
                    "/ip4/203.0.113.7/tcp/50124",
                ]),
                Access::Router,
            ),
            (
                Facts {
                    elsewhere: addrs(&["/ip4/203.0.113.7/udp/50999/quic-v1"]),
                    ..at_home.clone()
                },
                Access::Strict,
            ),
            (
                Facts {
                    relay: addrs(&[tcp]),
                    ..seen(&["/ip4/203.0.113.7/tcp/50123"])
                },
                Access::NoUdp,
            ),
            (
                Facts {
                    relay: addrs(&["/dns4/rv.example.org/tcp/443/wss"]),
                    ..home.clone()
                },
                Access::OnlyHttps,
            ),
        ];
        for (facts, expected) in cases {
            assert_eq!(access(&facts), expected, "{facts:?}");
        }
    }
}
