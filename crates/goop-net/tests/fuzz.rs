//! Any bytes give a value or an error, never a panic and never more than the bounds.
#![allow(clippy::unwrap_used, missing_docs)]

use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

use goop_net::address::{Circuit, Reach, Vicinity, for_dialling, is_relayed};
use goop_net::circuit::message;
use goop_net::content::{self, MAX_LABEL};
use goop_net::diag::{Diagnosis, MAX_ANSWER};
use goop_net::directory;
use goop_net::mdns::codec::{self, Service};
use goop_net::mdns::{Agent, MAX_INSTANCES};
use goop_net::presence::Gate;
use goop_net::punch::HolePunch;
use goop_net::relay::refresh;
use goop_net::{Multiaddr, PeerId};

/// An answer of `/goop/content/1.0.0`.
#[test]
fn fuzz_content() {
    bolero::check!().for_each(|bytes: &[u8]| {
        for ended in [false, true] {
            if let Ok(Some(name)) = content::decode(bytes, ended) {
                // Bytes that are not UTF-8 become three each.
                assert!(name.len() <= 3 * MAX_LABEL);
                assert!(!name.contains('\n'));
            }
        }
    });
}

/// An answer of `/goop/diag/1.0.0`.
#[test]
fn fuzz_diag() {
    bolero::check!().for_each(|bytes: &[u8]| {
        if let Ok(document) = Diagnosis::from_json(bytes)
            && let Ok(line) = document.to_line()
        {
            assert!(line.len() <= MAX_ANSWER);
            assert!(Diagnosis::from_json(&line).is_ok());
        }
    });
}

/// A message of AutoNAT v2, either side.
#[test]
fn fuzz_autonat() {
    use goop_net::autonat::{DialBack, DialBackResponse, Envelope, Said};
    use goop_net::circuit::message::encode;
    bolero::check!().for_each(|bytes: &[u8]| {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        runtime.block_on(async {
            if let Ok(envelope) = message::read_within::<_, Envelope>(&mut &*bytes, 4_112).await {
                assert!(encode(&envelope).len() <= 4_112 + 2);
                if let Some(Said::Request(request)) = envelope.said {
                    let home = Vicinity::new(Reach::Network);
                    let theirs = [IpAddr::V4(Ipv4Addr::new(203, 0, 113, 7))];
                    let chosen = goop_net::autonat::choose(home, &[], &theirs, &request.addrs);
                    assert!(chosen.is_none_or(|chosen| home.plausible(&chosen.addr)));
                }
            }
            let _ = message::read::<_, DialBack>(&mut &*bytes).await;
            let _ = message::read::<_, DialBackResponse>(&mut &*bytes).await;
        });
    });
}

/// A multicast packet, alone.
#[test]
fn fuzz_mdns_packet() {
    let service = Service::of_tag("goop-mdns").unwrap();
    bolero::check!().for_each(|bytes: &[u8]| {
        if let Ok(packet) = codec::decode(bytes) {
            let heard = codec::hear(&packet, &service);
            assert!(
                heard
                    .adverts
                    .iter()
                    .flat_map(|advert| &advert.peers)
                    .all(|(_, addrs)| addrs.len() <= codec::MAX_ADDRS)
            );
            if let Some(again) = packet.encode() {
                assert_eq!(
                    codec::hear(&codec::decode(&again).unwrap(), &service),
                    heard
                );
            }
        }
    });
}

/// A multicast packet, as the agent takes it: recorded packets with some bytes changed get far into it.
#[test]
fn fuzz_mdns_agent() {
    let recorded: Vec<Vec<u8>> = include_str!("../../../fixtures/wire/mdns/packets.jsonl")
        .lines()
        .map(|line| {
            let line: serde_json::Value = serde_json::from_str(line).unwrap();
            hex::decode(line["udp_payload_hex"].as_str().unwrap()).unwrap()
        })
        .collect();
    let now = Instant::now();
    let from = IpAddr::V4(Ipv4Addr::new(192, 168, 1, 20));
    bolero::check!()
        .with_type::<(u8, Vec<(u16, u8)>)>()
        .for_each(|(which, changes)| {
            let mut packet = recorded[usize::from(*which) % recorded.len()].clone();
            for (at, byte) in changes {
                let at = usize::from(*at) % packet.len();
                packet[at] = *byte;
            }
            let mut agent = Agent::seeded(
                Service::of_tag("goop-mdns").unwrap(),
                PeerId::random(),
                1,
                now,
            );
            agent.set_addrs(vec!["/ip4/192.168.1.21/tcp/4001".parse().unwrap()], now);
            let outputs = agent.hear(&packet, from, now);
            assert!(outputs.len() <= MAX_INSTANCES);
            agent.tick(now + Duration::from_secs(1));
        });
}

/// A presence record whose signature was verified.
#[test]
fn fuzz_presence_gate() {
    let (me, signer, now) = (PeerId::random(), PeerId::random(), Instant::now());
    bolero::check!().for_each(|bytes: &[u8]| {
        let mut gate = Gate::new(me, now);
        if let Ok(message) = gate.admit(Some(signer), bytes, now) {
            assert_eq!(message.peer, signer);
        }
    });
}

/// Addresses as a peer writes them.
#[test]
fn fuzz_addresses() {
    let vicinity = Vicinity::new(Reach::Network);
    let peer = PeerId::random();
    bolero::check!().for_each(|bytes: &[u8]| {
        let text = String::from_utf8_lossy(bytes);
        for addr in vicinity.dialable(&peer, text.split('\n')) {
            assert!(vicinity.plausible(&addr));
        }
    });
}

/// The file of known peers, which somebody may have edited.
#[test]
fn fuzz_directory() {
    bolero::check!().for_each(|bytes: &[u8]| drop(directory::decode(bytes)));
}

/// A message of circuit relay v2 or of hole punching: never more than 4 KiB, and what was read can be written.
#[test]
fn fuzz_circuit() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    bolero::check!().for_each(|bytes: &[u8]| {
        runtime.block_on(async {
            if let Ok(hop) = message::read::<_, message::Hop>(&mut &*bytes).await {
                let again = message::encode(&hop);
                let again = message::read::<_, message::Hop>(&mut &*again).await;
                assert_eq!(again.ok(), Some(hop));
            }
            let _ = message::read::<_, message::Stop>(&mut &*bytes).await;
            let _ = message::read::<_, HolePunch>(&mut &*bytes).await;
        });
    });
}

/// The answer to a pulse.
#[test]
fn fuzz_pulse() {
    bolero::check!().for_each(|bytes: &[u8]| drop(refresh::decode(bytes)));
}

/// Addresses through relays.
#[test]
fn fuzz_circuit_address() {
    let vicinity = Vicinity::new(Reach::Network);
    let peer = PeerId::random();
    bolero::check!().for_each(|bytes: &[u8]| {
        let Ok(addr) = Multiaddr::try_from(bytes.to_vec()) else {
            return;
        };
        if let Some(circuit) = Circuit::parse(&addr) {
            assert!(is_relayed(&circuit.to_addr()));
        }
        let _ = for_dialling(addr.clone());
        let text = addr.to_string();
        assert!(vicinity.circuits(&peer, [text.as_str()], None).len() <= 1);
    });
}
