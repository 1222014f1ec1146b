//! Any bytes give a value or an error, never a panic and never more than the bounds.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use goop_identity::PeerId;
use goop_rendezvous::address;
use goop_rendezvous::state::{Hello, Incoming, State};
use goop_rendezvous::store;
use goop_rendezvous::wire::{ClientHello, MAX_FORWARDED, NONCE, Publication, RelayInfo};
use http::HeaderMap;
use support::Clock;

/// What a client publishes; recorded messages with some bytes changed get far into it.
#[test]
fn fuzz_publication() {
    let peer = PeerId::random();
    let recorded = br#"{"type":"update","peerId":"12D3KooWK99VoVxNE7XzyBwXEzW7xhK7Gpv85r9F3V3fyKSUKPH5","content":"Ann","addrs":["/ip4/192.0.2.7/tcp/4001"],"zzz":[1,{"a":"b"}],"ts":5}"#;
    bolero::check!()
        .with_type::<(bool, Vec<u8>, Vec<(u8, u8)>)>()
        .for_each(|(raw, bytes, changes)| {
            let mut message = if *raw {
                bytes.clone()
            } else {
                recorded.to_vec()
            };
            for (at, byte) in changes {
                if message.is_empty() {
                    break;
                }
                let at = usize::from(*at) % message.len();
                message[at] = *byte;
            }
            if let Ok(publication) = Publication::from_client(&message, Some(peer)) {
                let frame = publication.to_frame();
                assert!(frame.len() <= MAX_FORWARDED);
                let again = Publication::from_client(&frame, None).unwrap();
                assert_eq!(again.to_frame(), frame);
                assert!(publication.to_public_frame().len() <= MAX_FORWARDED);
            }
            let _ = Publication::from_server(&message);
        });
}

/// What a client says on its socket first.
#[test]
fn fuzz_hello() {
    let peer = PeerId::random();
    bolero::check!().for_each(|bytes: &[u8]| {
        if let Some(hello) = ClientHello::from_json(bytes) {
            assert!(!hello.proves(&peer, &[0; NONCE]));
        }
        drop(serde_json::from_slice::<RelayInfo>(bytes));
    });
}

/// The headers of a request behind a proxy.
#[test]
fn fuzz_forwarded() {
    let trusted = ["10.0.0.0/8".parse().unwrap()];
    bolero::check!()
        .with_type::<(bool, Vec<u8>)>()
        .for_each(|(plain, bytes)| {
            let mut headers = HeaderMap::new();
            let name = if *plain {
                "x-forwarded-for"
            } else {
                "forwarded"
            };
            if let Ok(value) = http::HeaderValue::from_bytes(bytes) {
                headers.insert(name, value);
            }
            let socket = "127.0.0.1".parse().unwrap();
            let _ = address::client(socket, &headers, &trusted);
            // A stranger's word changes nothing.
            let stranger = "192.0.2.1".parse().unwrap();
            assert_eq!(address::client(stranger, &headers, &trusted), stranger);
        });
}

/// The manifest of a template.
#[test]
fn fuzz_manifest() {
    bolero::check!().for_each(|bytes: &[u8]| {
        if let Ok(meta) = store::manifest(bytes, "tiny") {
            assert_eq!((meta.dir.as_str(), meta.source.as_str()), ("tiny", "store"));
        }
    });
}

/// Any order of events leaves the table in order.
#[test]
fn fuzz_state() {
    let people: Vec<PeerId> = (0..4).map(|_| PeerId::random()).collect();
    bolero::check!()
        .with_type::<Vec<(u8, u8, u16)>>()
        .for_each(|events| {
            let mut clock = Clock::start();
            let mut state = State::new(clock.now());
            let mut sockets = Vec::new();
            for (what, who, later) in events {
                let peer = people[usize::from(*who) % people.len()];
                match what % 7 {
                    0 | 1 => {
                        let kind = if what % 2 == 0 { "online" } else { "offline" };
                        let text = format!(r#"{{"type":"{kind}","peerId":"{peer}","content":"{who}","ts":{later}}}"#);
                        let incoming = Incoming {
                            publication: Publication::from_client(text.as_bytes(), None).unwrap(),
                            signed: who % 2 == 0,
                            verified: true,
                        };
                        let _ = state.publish(incoming, sockets.last().copied().filter(|_| later % 3 == 0), clock.now());
                    }
                    2 => {
                        let hello = if who % 2 == 0 { Hello::Promised } else { Hello::None };
                        if let Ok(welcome) = state.attach(peer, hello, clock.now()) {
                            sockets.push(welcome.socket);
                        }
                    }
                    3 => drop(sockets.pop().map(|socket| state.detach(socket, clock.now()))),
                    4 => drop(sockets.last().map(|socket| state.proved(*socket, clock.now()))),
                    5 => drop(sockets.last().map(|socket| state.alive(*socket))),
                    _ => clock.pass(std::time::Duration::from_millis(u64::from(*later))),
                }
                state.tick(clock.now(), true);
                state.drain();
                assert!(state.peers() <= people.len());
                assert_eq!(state.snapshot().len(), state.peers());
            }
        });
}
