//! The catalogue: every topic of the specification, who may send it, who hears it, and what peers may not say.
#![allow(clippy::unwrap_used, missing_docs)]

use std::collections::{BTreeMap, HashSet};

use goop_identity::PeerId;
use goop_mq::topic::Hears::{Pages, Program};
use goop_mq::topic::Retry::{Never, Once, UntilBack};
use goop_mq::topic::Sender::{Anybody, Host, HostOrMember, Member};
use goop_mq::topic::{
    CATALOGUE, Family, Filter, Hears, LocalTopic, PeerTopic, Retry, Sealing, Sender, TopicError,
    Urgency,
};

/// Topic, family, who sends, who hears, retry, lane.
type Line = (
    &'static str,
    Family,
    Sender,
    Hears,
    Retry,
    Option<&'static str>,
);

#[rustfmt::skip]
const TABLE: &[Line] = &[
    ("mq.ack", Family::Ack, Anybody, Program, Never, None),
    ("identity", Family::Identity, Anybody, Program, Never, None),
    ("identity.response", Family::IdentityResponse, Anybody, Program, Once, None),
    ("identity.notice", Family::KeyNotice, Anybody, Program, Once, None),
    ("chat", Family::Chat, Anybody, Pages, UntilBack, Some("chat")),
    ("chat.broadcast", Family::Broadcast, Anybody, Pages, Once, Some("chat.broadcast")),
    ("chat.room:g1:msg", Family::Room, HostOrMember, Program, Once, Some("chat.room:g1")),
    ("chat.room:a:b:history", Family::Room, Host, Program, Once, Some("chat.room:a:b")),
    ("chat.room:g1:members", Family::Room, Host, Program, Once, Some("chat.room:g1")),
    ("group.invite", Family::Invite, Anybody, Program, Once, Some("group.invite")),
    ("group:g1:join", Family::Group, Member, Program, Once, Some("group:g1")),
    ("group:g1:leave", Family::Group, Member, Program, Once, Some("group:g1")),
    ("group:g1:pong", Family::Group, Member, Program, Once, Some("group:g1")),
    ("group:g1:ping", Family::Group, Host, Program, Once, Some("group:g1")),
    ("group:g1:close", Family::Group, Host, Program, Once, Some("group:g1")),
    ("group:g1:error", Family::Group, Host, Program, Once, Some("group:g1")),
    ("group:g1:welcome", Family::Group, Host, Program, Once, Some("group:g1")),
    ("group:g1:members", Family::Group, Host, Program, Once, Some("group:g1")),
    ("group:g1:meta", Family::Group, Host, Program, Once, Some("group:g1")),
    ("group:g1:msg", Family::Group, HostOrMember, Program, Once, Some("group:g1")),
    ("group:g1:state", Family::Group, HostOrMember, Program, Once, Some("group:g1")),
    ("group:g1:a:b", Family::Group, HostOrMember, Program, Once, Some("group:g1")),
    ("cluster:g1:job:assign", Family::Cluster, Host, Pages, Once, Some("cluster:g1")),
    ("cluster:g1:job:cancel", Family::Cluster, Host, Pages, Once, Some("cluster:g1")),
    ("cluster:g1:job:ack", Family::Cluster, Member, Pages, Once, Some("cluster:g1")),
    ("cluster:g1:job:progress", Family::Cluster, Member, Pages, Once, Some("cluster:g1")),
    ("cluster:g1:job:result", Family::Cluster, Member, Pages, Once, Some("cluster:g1")),
    ("cluster:g1:worker:binary", Family::Cluster, Member, Pages, Once, Some("cluster:g1")),
    ("cluster:g1:worker:verified", Family::Cluster, Member, Pages, Once, Some("cluster:g1")),
    ("cluster:g1:worker:status", Family::Cluster, Member, Pages, Once, Some("cluster:g1")),
    ("cluster:g1:worker:pause", Family::Cluster, Host, Pages, Once, Some("cluster:g1")),
    ("cluster:g1:worker:resume", Family::Cluster, Host, Pages, Once, Some("cluster:g1")),
    ("cluster:g1:shutdown", Family::Cluster, Host, Pages, Once, Some("cluster:g1")),
    ("call:nc-1", Family::Call, Anybody, Pages, Once, Some("call:nc-1")),
    ("realtime:invite", Family::Realtime, Anybody, Pages, Once, Some("realtime:invite")),
    ("realtime:rt-12345678", Family::Realtime, Anybody, Pages, Once, Some("realtime:rt-12345678")),
    ("x:custom", Family::Custom, Anybody, Pages, Once, Some("x:custom")),
    ("peerless", Family::Custom, Anybody, Pages, Once, Some("peerless")),
    ("chatter", Family::Custom, Anybody, Pages, Once, Some("chatter")),
];

#[test]
fn every_topic_has_its_line() {
    let mut met = HashSet::new();
    for (text, family, sender, hears, retry, lane) in TABLE {
        let topic = PeerTopic::parse(text).unwrap();
        let entry = topic.entry();
        assert_eq!(topic.to_string(), *text);
        assert_eq!((topic.family(), entry.family), (*family, *family), "{text}");
        assert_eq!(topic.sender(), *sender, "{text}");
        assert_eq!((entry.hears, entry.retry), (*hears, *retry), "{text}");
        assert_eq!(topic.lane().as_deref(), *lane, "{text}");
        met.insert(*family);
    }
    assert_eq!(
        met.len(),
        CATALOGUE.len(),
        "the table names every line of the catalogue"
    );
    assert!(CATALOGUE.iter().all(|entry| met.contains(&entry.family)));
}

#[test]
fn calls_go_first_and_only_keys_go_unsealed() {
    let urgency = |text| PeerTopic::parse(text).unwrap().entry().urgency;
    assert!(urgency("call:x") < urgency("realtime:x"));
    assert!(urgency("realtime:x") < urgency("group:g:msg"));
    assert!(urgency("identity") < urgency("chat"));
    assert_eq!(urgency("x:any"), Urgency::Chatter);
    let open: Vec<Family> = CATALOGUE
        .iter()
        .filter(|entry| entry.sealing == Sealing::Open)
        .map(|entry| entry.family)
        .collect();
    assert_eq!(
        open,
        [
            Family::Identity,
            Family::IdentityResponse,
            Family::KeyNotice
        ]
    );
}

#[test]
fn peers_cannot_say_what_a_peer_tells_its_own_pages() {
    let local = [
        LocalTopic::PeerAnnounce,
        LocalTopic::PeerGone,
        LocalTopic::RelayStatus,
        LocalTopic::LogMq,
        LocalTopic::LogCall,
        LocalTopic::Listen { group: "g1".into() },
        LocalTopic::Listen { group: "".into() },
        LocalTopic::Key,
        LocalTopic::ChatState,
    ];
    for topic in local {
        assert_eq!(
            PeerTopic::parse(&topic.to_string()),
            Err(TopicError::Local),
            "{topic}"
        );
    }
    for text in ["call:loopback:x", "log:anything", "peer:", "listen:g:else"] {
        assert_eq!(PeerTopic::parse(text), Err(TopicError::Local), "{text}");
    }
    for text in [
        "",
        "group:",
        "group:g1",
        "group::msg",
        "group:g1:",
        "chat.room:g1",
        "chat.room::msg",
        "cluster:x",
        "call:",
        "realtime:",
    ] {
        assert_eq!(
            PeerTopic::parse(text),
            Err(TopicError::Incomplete),
            "{text}"
        );
    }
}

#[test]
fn every_recorded_topic_is_in_the_catalogue() {
    let counted: BTreeMap<String, u64> = serde_json::from_str(include_str!(
        "../../../fixtures/wire/streams/mq-topics.json"
    ))
    .unwrap();
    for form in counted.keys() {
        let text = form
            .replace("<id>", "18e9ec53bed087c9")
            .replace("<channel>", "nc-1");
        // The recorder also sent messages without a topic, which no program does.
        assert_eq!(PeerTopic::parse(&text).is_ok(), !form.is_empty(), "{form}");
    }
}

#[test]
fn listeners_choose() {
    let check = |patterns: &str, topic: &str| Filter::parse(patterns).wants(topic, None);
    assert!(check("", "chat") && check("", "call:x") && !check("", "log:mq"));
    assert!(check("log:*", "log:mq") && !check("log:*", "chat"));
    assert!(check("*", "log:mq"));
    assert!(check("chat, call:*", "chat") && check("chat, call:*", "call:1"));
    assert!(!check("chat", "chat.broadcast"));
}

#[test]
fn a_site_hears_what_is_made_for_sites_from_its_own_peer() {
    let (site, other) = (PeerId::random(), PeerId::random());
    let check = |own, topic: &str, from| Filter::Site { of: site, own }.wants(topic, from);
    assert!(check(false, "peer:announce", None) && check(false, "peer:gone", None));
    for topic in ["realtime:invite", "realtime:rt-1", "x:move"] {
        assert!(check(false, topic, Some(site)), "{topic}");
        assert!(
            !check(false, topic, Some(other)) && check(true, topic, Some(other)),
            "{topic}"
        );
    }
    for topic in [
        "chat",
        "chat.broadcast",
        "chat.room:g:msg",
        "group:g:msg",
        "group.invite",
        "cluster:g:job:ack",
        "call:c",
        "log:mq",
        "mq:key",
        "mq.ack",
        "relay:status",
    ] {
        for from in [None, Some(site), Some(other)] {
            assert!(!check(true, topic, from), "{topic}");
        }
    }
}
