//! Circuit relay v2, the pulse and punching against recorded bytes and over pipes.

#![allow(clippy::unwrap_used)]

use std::time::Duration;

use goop_net::circuit::message::{self, Hop, Peer, Status, Stop};
use goop_net::circuit::{CircuitError, Limit, hop, stop};
use goop_net::punch::{self, HolePunch, PunchError};
use goop_net::relay::refresh::{self, Pulse, PulseError};
use goop_net::{Multiaddr, PeerId};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

fn recorded(file: &str) -> Vec<Value> {
    let path = format!(
        "{}/../../fixtures/wire/streams/{file}",
        env!("CARGO_MANIFEST_DIR")
    );
    let text = std::fs::read_to_string(path).unwrap();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

fn bytes(side: &Value) -> Vec<u8> {
    hex::decode(side["hex"].as_str().unwrap()).unwrap()
}

fn id(hex: &str) -> PeerId {
    PeerId::from_bytes(&hex::decode(hex).unwrap()).unwrap()
}

/// The recorded relay.
fn relay_id() -> PeerId {
    id("002408011220ca93ac1705187071d67b83c7ff0efe8108e8ec4530575d7726879333dbdabe7c")
}

/// What a recorded other side says, for a function that asks it; and what it was asked.
async fn against<T>(answer: &[u8], ask: impl AsyncFnOnce(DuplexStream) -> T) -> (T, Vec<u8>) {
    let (near, mut far) = duplex(64 * 1024);
    far.write_all(answer).await.unwrap();
    far.shutdown().await.unwrap();
    let answer = ask(near).await;
    let mut asked = Vec::new();
    far.read_to_end(&mut asked).await.unwrap();
    (answer, asked)
}

#[tokio::test]
async fn recorded_reservations_are_asked_for_and_granted() {
    let mut seen = 0;
    for line in recorded("circuit-hop.jsonl") {
        if line["request"]["hex"] != "020800" {
            continue;
        }
        let answer = bytes(&line["response"]);
        let ask = async |stream| hop::reserve(stream, relay_id(), 1_800_000_000).await;
        let (granted, asked) = against(&answer, ask).await;
        assert_eq!(asked, bytes(&line["request"]));
        let granted = granted.unwrap();
        assert_eq!(
            granted.addrs,
            ["/ip4/11.0.0.4/tcp/4100".parse::<Multiaddr>().unwrap()]
        );
        let limit = Limit {
            duration: Some(Duration::from_secs(1_800)),
            bytes: Some(16 << 20),
        };
        assert_eq!(granted.limit, limit);
        seen += 1;
    }
    assert_eq!(seen, 4);
}

#[tokio::test]
async fn recorded_circuits_are_asked_for_and_refused() {
    let (mut refused, mut made) = (0, 0);
    for line in recorded("circuit-hop.jsonl") {
        let request = bytes(&line["request"]);
        if request[0] != 0x2c {
            continue;
        }
        let target = PeerId::from_bytes(&request[7..45]).unwrap();
        let answer = bytes(&line["response"]);
        let ask = async |mut stream: DuplexStream| {
            let answer = hop::connect(&mut stream, target).await;
            let mut rest = Vec::new();
            stream.read_to_end(&mut rest).await.unwrap();
            (answer, rest)
        };
        let ((answered, rest), asked) = against(&answer, ask).await;
        assert_eq!(asked, request[..45]);
        match answered {
            Ok(limit) => {
                assert_eq!(limit.bytes, Some(16 << 20));
                // The circuit begins right behind the answer, and not one byte of it is lost.
                assert!(rest.starts_with(b"\x13/multistream/1.0.0\n"), "{rest:?}");
                made += 1;
            }
            Err(error) => {
                assert!(
                    matches!(error, CircuitError::Refused(Status::NoReservation)),
                    "{error}"
                );
                refused += 1;
            }
        }
    }
    assert_eq!((made, refused), (2, 4));
}

#[tokio::test]
async fn recorded_calls_are_heard_and_answered() {
    for line in recorded("circuit-stop.jsonl") {
        let request = bytes(&line["request"]);
        let hear = async |mut stream: DuplexStream| {
            let call = stop::hear(&mut stream).await.unwrap();
            stop::answer(&mut stream, Status::Ok).await.unwrap();
            let mut rest = Vec::new();
            stream.read_to_end(&mut rest).await.unwrap();
            (call, rest)
        };
        let ((call, rest), answered) = against(&request, hear).await;
        assert_eq!(
            call.from,
            id("0024080112208139770ea87d175f56a35466c34c7ecccb8d8a91b4ee37a25df60f5b8fc9b394")
        );
        assert_eq!(call.limit.duration, Some(Duration::from_secs(1_800)));
        assert!(rest.starts_with(b"\x13/multistream/1.0.0\n"));
        assert!(
            bytes(&line["response"]).starts_with(&answered),
            "{answered:?}"
        );
        assert_eq!(hex::encode(answered), "0408012064");
    }
}

#[tokio::test]
async fn a_relay_without_an_address_grants_all_the_same() {
    let answer = message::encode(&Hop {
        kind: 2,
        reservation: Some(message::Reservation {
            expire: 1_900,
            addrs: Vec::new(),
            voucher: None,
        }),
        status: Some(100),
        ..Hop::default()
    });
    let ask = async |stream| hop::reserve(stream, relay_id(), 1_000).await;
    let granted = against(&answer, ask).await.0.unwrap();
    assert_eq!(granted.lifetime, Duration::from_secs(900));
    assert_eq!(granted.addrs, []);
    // An end that is past by our clock is none to fail at.
    let ask = async |stream| hop::reserve(stream, relay_id(), 5_000).await;
    assert_eq!(
        against(&answer, ask).await.0.unwrap().lifetime,
        Duration::ZERO
    );
}

#[tokio::test]
async fn addresses_that_name_another_relay_or_make_no_sense_are_left_out() {
    let said = |text: &str| text.parse::<Multiaddr>().unwrap().to_vec();
    let relay = relay_id();
    let addrs = vec![
        said(&format!("/ip4/203.0.113.7/tcp/1/p2p/{relay}")),
        said("/ip4/203.0.113.7/tcp/2"),
        said(&format!("/ip4/203.0.113.7/tcp/3/p2p/{}", PeerId::random())),
        said(&format!("/ip4/203.0.113.7/tcp/4/p2p/{relay}/p2p-circuit")),
        vec![0xff; 7],
        Vec::new(),
    ];
    let answer = message::encode(&Hop {
        kind: 2,
        reservation: Some(message::Reservation {
            expire: 0,
            addrs,
            voucher: None,
        }),
        status: Some(100),
        ..Hop::default()
    });
    let ask = async |stream| hop::reserve(stream, relay, 0).await;
    let granted = against(&answer, ask).await.0.unwrap();
    let expected = ["/ip4/203.0.113.7/tcp/1", "/ip4/203.0.113.7/tcp/2"];
    let expected = expected.map(|text| text.parse::<Multiaddr>().unwrap());
    assert_eq!(granted.addrs, expected);
}

#[tokio::test]
async fn answers_that_make_no_sense_are_said_so() {
    let status = |kind, status| {
        message::encode(&Hop {
            kind,
            status,
            ..Hop::default()
        })
    };
    let cases: [(&str, Vec<u8>); 6] = [
        ("nothing", Vec::new()),
        ("half", vec![9, 8]),
        ("junk", vec![3, 0xff, 0xff, 0xff]),
        ("too long", vec![0xff, 0xff, 0xff, 0x7f]),
        ("a request", status(0, Some(100))),
        ("no status", status(2, None)),
    ];
    for (what, answer) in cases {
        let ask = async |stream| hop::reserve(stream, relay_id(), 0).await;
        let answered = against(&answer, ask).await.0;
        let senseless = matches!(
            answered,
            Err(CircuitError::Malformed(_) | CircuitError::Io(_))
        );
        assert!(senseless, "{what}: {answered:?}");
    }
    // Yes, and nothing granted.
    let ask = async |stream| hop::reserve(stream, relay_id(), 0).await;
    let answered = against(&status(2, Some(100)), ask).await.0;
    assert!(
        matches!(answered, Err(CircuitError::Malformed(_))),
        "{answered:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_relay_that_says_nothing_is_not_waited_for() {
    let (near, _far) = duplex(64);
    let asked = hop::reserve(near, relay_id(), 0).await;
    assert!(matches!(asked, Err(CircuitError::TimedOut)));
    let (mut near, _far) = duplex(64);
    assert!(matches!(
        stop::hear(&mut near).await,
        Err(CircuitError::TimedOut)
    ));
}

#[tokio::test]
async fn a_call_from_nobody_is_answered_with_its_mistake() {
    let nobody = Stop::default();
    let junk = Stop {
        peer: Some(Peer {
            id: vec![1, 2, 3],
            addrs: Vec::new(),
        }),
        ..Stop::default()
    };
    let status = Stop {
        kind: 1,
        status: Some(100),
        ..Stop::default()
    };
    for request in [nobody, junk, status] {
        let hear = async |mut stream: DuplexStream| stop::hear(&mut stream).await;
        let (heard, answered) = against(&message::encode(&request), hear).await;
        assert!(
            matches!(heard, Err(CircuitError::Malformed(_))),
            "{request:?}"
        );
        let expected = Stop {
            kind: 1,
            status: Some(400),
            ..Stop::default()
        };
        assert_eq!(answered, message::encode(&expected));
    }
}

#[tokio::test]
async fn recorded_pulses_are_written_and_read() {
    let relay = PeerId::random();
    for line in recorded("relay-refresh.jsonl") {
        let text = line["response"]["text"].as_str().unwrap();
        let (mut near, far) = duplex(1_024);
        refresh::serve(relay, far, Some(relay), async { Pulse::fine() })
            .await
            .unwrap();
        let mut written = String::new();
        near.read_to_string(&mut written).await.unwrap();
        assert_eq!(written, text);
        assert_eq!(refresh::decode(text.as_bytes()).unwrap(), Pulse::fine());
    }
    let nudged = serde_json::to_string(&Pulse::nudged(false)).unwrap();
    assert_eq!(
        nudged,
        r#"{"has_circuit":false,"ok":false,"recovering":true}"#
    );
}

#[tokio::test]
async fn nobody_but_the_relay_gets_a_pulse_and_nothing_is_done_for_them() {
    for relay in [None, Some(PeerId::random())] {
        let (mut near, far) = duplex(1_024);
        let never = async { panic!("nothing is done for strangers") };
        let served = refresh::serve(PeerId::random(), far, relay, never).await;
        assert!(matches!(served, Err(PulseError::NotTheRelay)));
        let mut written = Vec::new();
        near.read_to_end(&mut written).await.unwrap();
        assert_eq!(written, b"");
    }
}

fn addrs(texts: &[&str]) -> Vec<Multiaddr> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

#[tokio::test(start_paused = true)]
async fn both_sides_learn_where_the_other_is_and_dial_at_the_same_time() {
    let (near, far) = duplex(8 * 1024);
    let (a, b) = (
        addrs(&["/ip4/203.0.113.7/tcp/1"]),
        addrs(&["/ip4/198.51.100.1/udp/2/quic-v1"]),
    );
    let (begun, answered) = tokio::join!(punch::begin(near, &a), punch::answer(far, &b));
    assert_eq!(begun.unwrap(), b);
    assert_eq!(answered.unwrap(), a);
}

#[tokio::test]
async fn who_tells_too_many_addresses_or_relayed_ones_is_cut() {
    let relayed = format!(
        "/ip4/203.0.113.7/tcp/1/p2p/{}/p2p-circuit",
        PeerId::random()
    );
    let mut told = vec![relayed.parse().unwrap()];
    told.extend((1..=40).map(|port| {
        format!("/ip4/203.0.113.7/tcp/{port}")
            .parse::<Multiaddr>()
            .unwrap()
    }));
    let (near, far) = duplex(64 * 1024);
    let own = addrs(&["/ip4/198.51.100.1/tcp/2"]);
    // `begin` cuts its own list; another program may not.
    let connect = message::encode(&HolePunch {
        kind: 100,
        addrs: told.iter().map(Multiaddr::to_vec).collect(),
    });
    let other = async {
        let mut near = near;
        near.write_all(&connect).await.unwrap();
        let _: HolePunch = message::read(&mut near).await.unwrap();
        let sync = HolePunch {
            kind: 300,
            addrs: Vec::new(),
        };
        near.write_all(&message::encode(&sync)).await.unwrap();
        near
    };
    let (answered, _near) = tokio::join!(punch::answer(far, &own), other);
    let answered = answered.unwrap();
    assert_eq!(answered.len(), punch::MAX_ADDRS - 1);
    assert!(
        answered
            .iter()
            .all(|addr| !goop_net::address::is_relayed(addr))
    );
}

#[tokio::test]
async fn an_exchange_that_makes_no_sense_is_said_so() {
    let own = addrs(&["/ip4/198.51.100.1/tcp/2"]);
    let say = |kind, addrs: &[Multiaddr]| {
        message::encode(&HolePunch {
            kind,
            addrs: addrs.iter().map(Multiaddr::to_vec).collect(),
        })
    };
    let sync_first = against(&say(300, &own), async |stream| {
        punch::answer(stream, &own).await
    })
    .await
    .0;
    assert!(
        matches!(sync_first, Err(PunchError::Malformed(_))),
        "{sync_first:?}"
    );
    let nowhere = against(&say(100, &[]), async |stream| {
        punch::answer(stream, &own).await
    })
    .await
    .0;
    assert!(matches!(nowhere, Err(PunchError::NoAddress)), "{nowhere:?}");
    let twice = [say(100, &own), say(100, &own)].concat();
    let twice = against(&twice, async |stream| punch::answer(stream, &own).await)
        .await
        .0;
    assert!(matches!(twice, Err(PunchError::Malformed(_))), "{twice:?}");
    let junk = against(&[2, 0xff, 0xff], async |stream| {
        punch::begin(stream, &own).await
    })
    .await
    .0;
    assert!(matches!(junk, Err(PunchError::Malformed(_))), "{junk:?}");
}

#[tokio::test(start_paused = true)]
async fn who_does_not_answer_is_not_waited_for() {
    let own = addrs(&["/ip4/198.51.100.1/tcp/2"]);
    let (near, _far) = duplex(8 * 1024);
    assert!(matches!(
        punch::begin(near, &own).await,
        Err(PunchError::TimedOut)
    ));
}
