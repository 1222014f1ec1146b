//! Multicast packets recorded from Go peers: what we read in them, and that ours have their form.
#![allow(clippy::unwrap_used, missing_docs)]

use std::collections::BTreeMap;

use goop_net::mdns::advert::{self, SelfAdvert};
use goop_net::mdns::codec::{self, About, Heard, Service, TTL};
use goop_net::{Multiaddr, PeerId};
use hickory_proto::op::Message;
use hickory_proto::rr::{RData, Record, RecordType};
use serde_json::Value;

const INSTANCE: &str = "h2xi9drwjqpjgfby28jc0c3lnxctr8h6g";

struct Recorded {
    kind: String,
    bytes: Vec<u8>,
    decoded: Value,
}

fn recorded() -> Vec<Recorded> {
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../fixtures/wire/mdns/packets.jsonl"
    );
    let text = std::fs::read_to_string(path).unwrap();
    let lines = text
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap());
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    lines
        .map(|line| Recorded {
            kind: text(&line["kind"]),
            bytes: hex::decode(text(&line["udp_payload_hex"])).unwrap(),
            decoded: line["decoded"].clone(),
        })
        .collect()
}

fn of_kind(kind: &str) -> Vec<Recorded> {
    let packets: Vec<_> = recorded()
        .into_iter()
        .filter(|packet| packet.kind == kind)
        .collect();
    assert!(!packets.is_empty(), "{kind}");
    packets
}

fn service() -> Service {
    Service::of_tag("goop-mdns").unwrap()
}

fn hear(bytes: &[u8]) -> Heard {
    codec::hear(&codec::decode(bytes).unwrap(), &service())
}

/// The records of all sections of a decode, with the section's name.
fn records(decoded: &Value) -> Vec<&Value> {
    let sections = ["answers", "authority", "additional"].iter();
    sections
        .flat_map(|section| decoded[section].as_array().unwrap())
        .collect()
}

/// What the recorded TXT strings say, by peer.
fn addresses(decoded: &Value) -> Vec<(PeerId, Vec<Multiaddr>)> {
    let mut peers: BTreeMap<PeerId, Vec<Multiaddr>> = BTreeMap::new();
    for record in records(decoded)
        .iter()
        .filter(|record| record["type"] == "TXT")
    {
        for string in record["strings"].as_array().unwrap() {
            let (addr, peer) = string
                .as_str()
                .unwrap()
                .strip_prefix("dnsaddr=")
                .unwrap()
                .rsplit_once("/p2p/")
                .unwrap();
            peers
                .entry(peer.parse().unwrap())
                .or_default()
                .push(addr.parse().unwrap());
        }
    }
    peers.into_iter().collect()
}

/// Go peers compress names as we do, except in probes, where they do not.
#[test]
fn every_recorded_packet_decodes_and_encodes_to_the_same() {
    for Recorded { kind, bytes, .. } in recorded() {
        let packet = codec::decode(&bytes).unwrap();
        let again = packet.encode().unwrap();
        assert_eq!(codec::decode(&again).unwrap(), packet, "{kind}");
        let same_bytes = kind != "probe";
        assert_eq!(again == bytes, same_bytes, "{kind}");
        assert!(again.len() <= bytes.len(), "{kind}");
    }
}

#[test]
fn a_recorded_question_is_for_us() {
    for Recorded { bytes, decoded, .. } in of_kind("query") {
        let heard = hear(&bytes);
        let question = heard.question.unwrap();
        assert_eq!(u64::from(question.id), decoded["id"].as_u64().unwrap());
        assert_eq!(
            (question.about, question.unicast, question.known.len()),
            (About::Service, false, 0)
        );
        assert!(heard.adverts.is_empty());
    }
}

#[test]
fn recorded_answers_announcements_and_probes_tell_where_a_peer_is() {
    for kind in ["response", "announcement", "probe"] {
        for Recorded { bytes, decoded, .. } in of_kind(kind) {
            let heard = hear(&bytes);
            assert_eq!(heard.question, None, "{kind}: a probe asks nobody");
            let [advert] = heard.adverts.as_slice() else {
                panic!("{kind}: {heard:?}")
            };
            assert_eq!(advert.peers, addresses(&decoded), "{kind}");
            assert_eq!(advert.ttl, 3200, "{kind}");
            let name = format!("{}.goop-mdns.local.", advert.instance);
            assert!(
                records(&decoded)
                    .iter()
                    .any(|record| record["type"] == "SRV" && record["name"] == *name),
                "{kind}"
            );
        }
    }
}

/// A packet of ours as text: sections, names, types, classes, lives and contents, one record a line.
fn as_text(bytes: &[u8]) -> String {
    let message = Message::from_vec(bytes).unwrap();
    let meta = &message.metadata;
    let mut lines = vec![format!(
        "id {} {:?} aa {}",
        meta.id, meta.message_type, meta.authoritative
    )];
    lines.extend(
        message
            .queries
            .iter()
            .map(|query| format!("? {} {}", query.name(), query.query_type())),
    );
    let sections = [
        ("!", &message.answers),
        ("^", &message.authorities),
        ("+", &message.additionals),
    ];
    for (mark, records) in sections {
        lines.extend(records.iter().map(|record| {
            let flush = if record.mdns_cache_flush {
                " flush"
            } else {
                ""
            };
            format!(
                "{mark} {} {}{flush} {}",
                record.name,
                record.ttl,
                content(record)
            )
        }));
    }
    lines.join("\n")
}

fn content(record: &Record) -> String {
    match &record.data {
        RData::TXT(text) => {
            let strings = text
                .txt_data
                .iter()
                .map(|string| format!("{:?}", String::from_utf8_lossy(string)));
            format!("TXT {}", strings.collect::<Vec<_>>().join(" "))
        }
        data => format!("{} {data}", data.record_type()),
    }
}

/// A recorded packet with the lives that we give records.
fn with_our_ttl(bytes: &[u8]) -> Vec<u8> {
    let mut message = Message::from_vec(bytes).unwrap();
    for record in message.answers.iter_mut().chain(&mut message.additionals) {
        record.ttl = TTL;
    }
    message.to_vec().unwrap()
}

fn first(kind: &str) -> (Recorded, PeerId, Vec<Multiaddr>) {
    let packet = of_kind(kind).into_iter().find(|packet| {
        records(&packet.decoded)
            .iter()
            .any(|record| record["name"].as_str().unwrap().starts_with(INSTANCE))
    });
    let packet = packet.unwrap();
    let (peer, addrs) = addresses(&packet.decoded).remove(0);
    (packet, peer, addrs)
}

#[test]
fn our_answer_is_the_recorded_one_but_for_its_shorter_life() {
    let (Recorded { bytes, decoded, .. }, peer, addrs) = first("response");
    let service = service();
    let ours = SelfAdvert {
        service: &service,
        instance: INSTANCE,
        peer,
        addrs: &addrs,
    };
    let id = u16::try_from(decoded["id"].as_u64().unwrap()).unwrap();
    let answer = ours.answer(id).unwrap().encode().unwrap();
    assert_eq!(as_text(&answer), as_text(&with_our_ttl(&bytes)));
    assert_eq!(hex::encode(answer), hex::encode(with_our_ttl(&bytes)));
}

#[test]
fn our_announcement_is_the_recorded_one_but_for_its_shorter_life() {
    let (Recorded { bytes, .. }, peer, addrs) = first("announcement");
    let service = service();
    let ours = SelfAdvert {
        service: &service,
        instance: INSTANCE,
        peer,
        addrs: &addrs,
    };
    let announcement = ours.announcement().unwrap().encode().unwrap();
    assert_eq!(as_text(&announcement), as_text(&with_our_ttl(&bytes)));
    assert_eq!(hex::encode(announcement), hex::encode(with_our_ttl(&bytes)));
}

#[test]
fn our_question_is_the_recorded_one() {
    for Recorded { bytes, decoded, .. } in of_kind("query") {
        let id = u16::try_from(decoded["id"].as_u64().unwrap()).unwrap();
        assert_eq!(advert::query(&service(), id).encode().unwrap(), bytes);
    }
}

#[test]
fn our_goodbye_takes_back_every_record() {
    let (_, peer, addrs) = first("announcement");
    let service = service();
    let ours = SelfAdvert {
        service: &service,
        instance: INSTANCE,
        peer,
        addrs: &addrs,
    };
    let bytes = ours.goodbye().unwrap().encode().unwrap();
    let message = Message::from_vec(&bytes).unwrap();
    assert!(message.answers.iter().all(|record| record.ttl == 0));
    assert_eq!(hear(&bytes).adverts[0].ttl, 0);
    let types: Vec<_> = message.answers.iter().map(Record::record_type).collect();
    assert_eq!(
        types,
        [
            RecordType::SRV,
            RecordType::TXT,
            RecordType::PTR,
            RecordType::PTR,
            RecordType::A
        ]
    );
}

#[test]
fn an_ipv6_peer_gives_an_ipv6_host_record() {
    let (_, peer, _) = first("response");
    let service = service();
    let addrs = ["/ip6/fd00::1/tcp/4001".parse().unwrap()];
    let ours = SelfAdvert {
        service: &service,
        instance: INSTANCE,
        peer,
        addrs: &addrs,
    };
    let message = Message::from_vec(&ours.answer(7).unwrap().encode().unwrap()).unwrap();
    let types: Vec<_> = message
        .additionals
        .iter()
        .map(Record::record_type)
        .collect();
    assert_eq!(types, [RecordType::SRV, RecordType::TXT, RecordType::AAAA]);
}

#[test]
fn a_long_list_of_addresses_is_one_text_record_that_we_can_read() {
    let (_, peer, _) = first("response");
    let service = service();
    let addrs: Vec<Multiaddr> = (0..40)
        .map(|n| format!("/ip4/10.0.0.{n}/tcp/4001").parse().unwrap())
        .collect();
    let ours = SelfAdvert {
        service: &service,
        instance: INSTANCE,
        peer,
        addrs: &addrs,
    };
    let bytes = ours.answer(1).unwrap().encode().unwrap();
    let heard = hear(&bytes);
    assert_eq!(
        heard.adverts[0].peers,
        [(peer, addrs[..codec::MAX_ADDRS].to_vec())]
    );
}

#[track_caller]
fn check_tag(tag: &str, asked: Option<&str>) {
    let service = Service::of_tag(tag).ok();
    let name = service.map(|service| {
        let query = advert::query(&service, 0).encode().unwrap();
        Message::from_vec(&query).unwrap().queries[0]
            .name()
            .to_string()
    });
    assert_eq!(name.as_deref(), asked, "{tag:?}");
}

#[test]
fn a_tag_is_a_name_label_by_label() {
    check_tag("goop-mdns", Some("goop-mdns.local."));
    check_tag("_goop._udp", Some("_goop._udp.local."));
    check_tag(".goop.", Some("goop.local."));
    check_tag("goop,red", Some("goop.local."));
    check_tag("", None);
    check_tag(" . ", None);
    check_tag("a..b", None);
    check_tag(&"x".repeat(64), None);
    check_tag(&vec!["x".repeat(60); 4].join("."), None);
}

#[test]
fn names_of_another_tag_that_end_alike_are_not_ours() {
    let (_, peer, addrs) = first("response");
    for other in ["xgoop-mdns", "other.goop-mdns"] {
        let theirs = Service::of_tag(other).unwrap();
        let advert = SelfAdvert {
            service: &theirs,
            instance: INSTANCE,
            peer,
            addrs: &addrs,
        };
        for packet in [advert.answer(1), advert.announcement(), advert.goodbye()] {
            assert_eq!(
                hear(&packet.unwrap().encode().unwrap()),
                Heard::default(),
                "{other}"
            );
        }
        let question = hear(&advert::query(&theirs, 1).encode().unwrap()).question;
        assert!(
            question.is_none_or(|question| question.about != About::Service),
            "{other}"
        );
    }
}

#[test]
fn too_much_is_refused_before_it_is_read() {
    assert_eq!(
        codec::decode(&vec![0; codec::MAX_PACKET + 1]),
        Err(codec::PacketError::TooLarge)
    );
    let mut header = vec![0; 12];
    header[4..6].copy_from_slice(&u16::MAX.to_be_bytes());
    assert_eq!(codec::decode(&header), Err(codec::PacketError::TooLarge));
    header[4..6].copy_from_slice(&1_u16.to_be_bytes());
    assert!(matches!(
        codec::decode(&header),
        Err(codec::PacketError::NotDns(_))
    ));
    assert!(matches!(
        codec::decode(b""),
        Err(codec::PacketError::NotDns(_))
    ));
}
