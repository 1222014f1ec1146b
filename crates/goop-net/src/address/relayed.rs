//! Addresses that lead through a relay: `<relay's address>/p2p/<relay>/p2p-circuit`, with or without the peer at the
//! end (network.md 4.3).

use goop_identity::PeerId;
use goop_identity::presence::{MAX_ADDR, MAX_ADDRS};
use libp2p::Multiaddr;
use libp2p::multiaddr::Protocol;

use super::{Vicinity, without_peer};

/// Ways through relays that are kept for one peer. A Go peer tells one for each public address of its one relay.
pub const MAX_CIRCUITS: usize = 4;

/// One way to a peer through a relay.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Circuit {
    /// Where the relay is, without its id; empty when only the id was said.
    pub relay_addr: Multiaddr,
    /// The relay.
    pub relay: PeerId,
    /// The peer at the other end, where it was said.
    pub target: Option<PeerId>,
}

impl Circuit {
    /// Takes an address apart; `None` when it is none through exactly one relay.
    #[must_use]
    pub fn parse(addr: &Multiaddr) -> Option<Self> {
        let mut relay_addr = Multiaddr::empty();
        let mut parts = addr.iter();
        let relay = loop {
            match parts.next()? {
                Protocol::P2p(relay) => break relay,
                Protocol::P2pCircuit => return None,
                part => relay_addr.push(part),
            }
        };
        if parts.next()? != Protocol::P2pCircuit {
            return None;
        }
        let target = match parts.next() {
            None => None,
            Some(Protocol::P2p(target)) => Some(target),
            Some(_) => return None,
        };
        parts.next().is_none().then_some(Self {
            relay_addr,
            relay,
            target,
        })
    }

    /// The address, without the peer at its end, as it is published.
    #[must_use]
    pub fn to_addr(&self) -> Multiaddr {
        self.relay_addr
            .clone()
            .with(Protocol::P2p(self.relay))
            .with(Protocol::P2pCircuit)
    }

    /// The address to hand to the dialler. A name of the relay is left out: the connection to the relay is made by who
    /// knows where it is, and nothing should be looked up once more. Something of TCP or UDP is always in it, because the
    /// library lets addresses without either wait for a second.
    #[must_use]
    pub fn dial_addr(&self) -> Multiaddr {
        let mut shown = self.clone();
        let named = shown.relay_addr.iter().any(|part| is_name(&part));
        if named || shown.relay_addr.is_empty() {
            let port = self.relay_addr.iter().find_map(|part| match part {
                Protocol::Tcp(port) => Some(port),
                _ => None,
            });
            shown.relay_addr = Protocol::Tcp(port.unwrap_or_default()).into();
        }
        shown.to_addr()
    }
}

impl Vicinity {
    /// The ways through relays among the addresses of `peer` that are worth trying, at most [`MAX_CIRCUITS`]: those
    /// through the relay we use ourselves, wherever it is said to be, and those through one at a plausible address.
    #[must_use]
    pub fn circuits<'a>(
        &self,
        peer: &PeerId,
        texts: impl IntoIterator<Item = &'a str>,
        own_relay: Option<PeerId>,
    ) -> Vec<Circuit> {
        let mut kept: Vec<Circuit> = Vec::new();
        let addrs = texts
            .into_iter()
            .take(MAX_ADDRS)
            .filter(|text| text.len() <= MAX_ADDR)
            .filter_map(|text| text.parse().ok());
        for mut circuit in addrs.filter_map(|addr| Circuit::parse(&addr)) {
            let to_it = circuit.target.is_none_or(|target| target == *peer);
            if !to_it || circuit.relay == *peer || kept.len() >= MAX_CIRCUITS {
                continue;
            }
            circuit.target = None;
            let through_ours = own_relay == Some(circuit.relay);
            if through_ours {
                // We know better where it is.
                circuit.relay_addr = Multiaddr::empty();
            } else if !self.plausible(&circuit.relay_addr) {
                continue;
            }
            if !kept.contains(&circuit) {
                kept.push(circuit);
            }
        }
        kept
    }
}

/// Whether an address leads, or a connection runs, through a relay.
#[must_use]
pub fn is_relayed(addr: &Multiaddr) -> bool {
    addr.iter().any(|part| matches!(part, Protocol::P2pCircuit))
}

fn is_name(part: &Protocol<'_>) -> bool {
    matches!(
        part,
        Protocol::Dns(_) | Protocol::Dns4(_) | Protocol::Dns6(_) | Protocol::Dnsaddr(_)
    )
}

/// An address of a relay in the form that works for dialling: without its id, and
/// `/ip4/…/tcp/443/tls/sni/<host>/ws` as `/dns4/<host>/tcp/443/tls/ws`, because the proxy before such a relay picks the
/// site by the `Host` of the request, and Go peers send the name there (network.md 11).
#[must_use]
pub fn for_dialling(addr: Multiaddr) -> Multiaddr {
    let addr = without_peer(addr);
    let parts: Vec<Protocol<'_>> = addr.iter().collect();
    match parts.as_slice() {
        [
            ip @ (Protocol::Ip4(_) | Protocol::Ip6(_)),
            Protocol::Tcp(port),
            Protocol::Tls,
            Protocol::Sni(host),
            Protocol::Ws(path),
        ] => {
            let name = if matches!(ip, Protocol::Ip4(_)) {
                Protocol::Dns4(host.clone())
            } else {
                Protocol::Dns6(host.clone())
            };
            [
                name,
                Protocol::Tcp(*port),
                Protocol::Tls,
                Protocol::Ws(path.clone()),
            ]
            .into_iter()
            .collect()
        }
        _ => addr,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::address::Reach;

    const RELAY: &str = "12D3KooWK99VoVxNE7XzyBwXEzW7xhK7Gpv85r9F3V3fyKSUKPH5";
    const BOB: &str = "12D3KooWJWoaqZhDaoEFshF7Rh1bpY9ohihFhzcW6d69Lr2NASuq";

    fn parse(text: &str) -> Option<Circuit> {
        Circuit::parse(&text.parse().unwrap())
    }

    #[test]
    fn a_circuit_is_taken_apart_with_and_without_the_peer() {
        let short = format!("/ip4/203.0.113.7/tcp/4001/p2p/{RELAY}/p2p-circuit");
        let circuit = parse(&short).unwrap();
        assert_eq!(circuit.relay.to_base58(), RELAY);
        assert_eq!(circuit.target, None);
        assert_eq!(circuit.to_addr().to_string(), short);
        let long = parse(&format!("{short}/p2p/{BOB}")).unwrap();
        assert_eq!(long.target.unwrap().to_base58(), BOB);
        assert_eq!(long.to_addr().to_string(), short);
    }

    #[test]
    fn what_is_no_circuit_is_none() {
        for text in [
            "/ip4/203.0.113.7/tcp/4001".to_owned(),
            format!("/ip4/203.0.113.7/tcp/4001/p2p/{RELAY}"),
            "/ip4/203.0.113.7/tcp/4001/p2p-circuit".to_owned(),
            "/p2p-circuit".to_owned(),
            format!("/ip4/1.2.3.4/tcp/1/p2p/{RELAY}/p2p-circuit/p2p/{BOB}/p2p-circuit"),
            format!("/ip4/1.2.3.4/tcp/1/p2p/{RELAY}/p2p-circuit/tcp/5"),
            format!("/ip4/1.2.3.4/tcp/1/p2p/{RELAY}/p2p/{BOB}/p2p-circuit"),
        ] {
            assert_eq!(parse(&text), None, "{text}");
        }
    }

    #[track_caller]
    fn believed(text: &str, own_relay: Option<&str>) -> Vec<String> {
        let vicinity = Vicinity::new(Reach::Network);
        let own_relay = own_relay.map(|relay| relay.parse().unwrap());
        vicinity
            .circuits(&BOB.parse().unwrap(), [text], own_relay)
            .iter()
            .map(|circuit| circuit.to_addr().to_string())
            .collect()
    }

    #[test]
    fn only_plausible_relays_and_our_own_are_believed() {
        let through = |relay_addr: &str| format!("{relay_addr}/p2p/{RELAY}/p2p-circuit");
        let plain = through("/ip4/203.0.113.7/tcp/4001");
        let same = std::slice::from_ref(&plain);
        assert_eq!(believed(&plain, None), same);
        assert_eq!(believed(&format!("{plain}/p2p/{BOB}"), None), same);
        let ours = through("");
        for odd in [
            "/ip4/127.0.0.1/tcp/4001",
            "/dns4/evil.example/tcp/443/tls/ws",
            "/ip4/203.0.113.7/tcp/443/tls/sni/relay.example/ws",
            "/ip4/224.0.0.1/tcp/1",
            "",
        ] {
            assert_eq!(believed(&through(odd), None), [""; 0], "{odd}");
            let through_ours = believed(&through(odd), Some(RELAY));
            assert_eq!(through_ours, std::slice::from_ref(&ours), "{odd}");
        }
        assert_eq!(
            believed(&format!("{plain}/p2p/{RELAY}"), None),
            [""; 0],
            "to somebody else"
        );
        let itself = format!("/ip4/203.0.113.7/tcp/4001/p2p/{BOB}/p2p-circuit");
        assert_eq!(
            believed(&itself, None),
            [""; 0],
            "a peer is no relay to itself"
        );
    }

    #[test]
    fn a_record_full_of_circuits_is_cut() {
        let vicinity = Vicinity::new(Reach::Network);
        let texts: Vec<String> = (1..20)
            .map(|port| format!("/ip4/203.0.113.7/tcp/{port}/p2p/{RELAY}/p2p-circuit"))
            .collect();
        let kept = vicinity.circuits(
            &BOB.parse().unwrap(),
            texts.iter().map(String::as_str),
            None,
        );
        assert_eq!(kept.len(), MAX_CIRCUITS);
    }

    #[track_caller]
    fn dialled(said: &str, expected: &str) {
        assert_eq!(for_dialling(said.parse().unwrap()).to_string(), expected);
    }

    #[test]
    fn a_relay_behind_a_proxy_is_dialled_by_name() {
        dialled(
            "/ip4/203.0.113.7/tcp/443/tls/sni/relay.example/ws",
            "/dns4/relay.example/tcp/443/tls/ws",
        );
        dialled(
            &format!("/ip6/2001:db8::1/tcp/443/tls/sni/relay.example/ws/p2p/{RELAY}"),
            "/dns6/relay.example/tcp/443/tls/ws",
        );
        dialled(
            &format!("/ip4/203.0.113.7/tcp/4001/p2p/{RELAY}"),
            "/ip4/203.0.113.7/tcp/4001",
        );
        dialled("/ip4/127.0.0.1/tcp/4002/ws", "/ip4/127.0.0.1/tcp/4002/ws");
    }

    #[test]
    fn the_dialler_gets_no_name_to_look_up() {
        let circuit = parse(&format!(
            "/dns4/relay.example/tcp/443/tls/ws/p2p/{RELAY}/p2p-circuit"
        ));
        assert_eq!(
            circuit.unwrap().dial_addr().to_string(),
            format!("/tcp/443/p2p/{RELAY}/p2p-circuit")
        );
        let unplaced = parse(&format!("/p2p/{RELAY}/p2p-circuit")).unwrap();
        let shown = unplaced.dial_addr();
        assert!(shown.iter().any(|part| matches!(part, Protocol::Tcp(_))));
        assert_eq!(Circuit::parse(&shown).unwrap().relay, unplaced.relay);
    }
}
