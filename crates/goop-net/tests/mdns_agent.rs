//! The multicast agent as a value: what it says and when, and what it makes of what others say.
#![allow(clippy::unwrap_used, missing_docs)]

use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

use goop_identity::Keypair;
use goop_net::mdns::advert::{self, SelfAdvert};
use goop_net::mdns::codec::{self, About, Heard, Service, TTL};
use goop_net::mdns::{Agent, Found, MAX_INSTANCES, MAX_PER_SOURCE, Output};
use goop_net::{Multiaddr, PeerId};
use hickory_proto::op::{Message, MessageType, OpCode, Query};
use hickory_proto::rr::rdata::PTR;
use hickory_proto::rr::{Name, RData, Record, RecordType};

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);
const ALICE: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 168, 1, 20));
const BOB: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 168, 1, 21));

fn service() -> Service {
    Service::of_tag("goop-mdns").unwrap()
}

fn random_peer() -> PeerId {
    Keypair::generate_ed25519().public().to_peer_id()
}

fn addrs(n: u8) -> Vec<Multiaddr> {
    vec![format!("/ip4/192.168.1.{n}/tcp/4001").parse().unwrap()]
}

/// An agent and the time.
struct Bench {
    agent: Agent,
    me: PeerId,
    now: Instant,
}

impl Bench {
    fn new() -> Self {
        let (me, now) = (random_peer(), Instant::now());
        Self {
            agent: Agent::seeded(service(), me, 7, now),
            me,
            now,
        }
    }

    /// One that asked, announced twice and is quiet now.
    fn settled() -> Self {
        let mut bench = Self::new();
        bench.agent.set_addrs(addrs(20), bench.now);
        bench.run(3 * SECOND);
        bench
    }

    /// Lets time pass; what was said on the way, with the time since the beginning of this run.
    fn run(&mut self, time: Duration) -> Vec<(Duration, Output)> {
        let (start, end) = (self.now, self.now + time);
        let mut said = Vec::new();
        while self.agent.next_wake() <= end {
            self.now = self.agent.next_wake().max(self.now);
            let outputs = self.agent.tick(self.now);
            said.extend(outputs.into_iter().map(|output| (self.now - start, output)));
        }
        self.now = end;
        said
    }

    fn hear(&mut self, packet: &[u8], from: IpAddr) -> Vec<Output> {
        self.agent.hear(packet, from, self.now)
    }

    fn ask(&mut self, id: u16) -> Vec<Output> {
        self.hear(&advert::query(&service(), id).encode().unwrap(), BOB)
    }

    /// Our announcement as others hear it.
    fn announcement(&mut self) -> (String, Vec<u8>) {
        let bytes = self.ask(999).into_iter().find_map(|output| match output {
            Output::Multicast(bytes) => Some(bytes),
            _ => None,
        });
        let bytes = bytes.unwrap();
        (hear(&bytes).adverts[0].instance.clone(), bytes)
    }
}

fn hear(bytes: &[u8]) -> Heard {
    codec::hear(&codec::decode(bytes).unwrap(), &service())
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Said {
    Question,
    Announcement,
    Goodbye,
    Answer,
    ToOne,
    Other,
}

fn kind(output: &Output) -> Said {
    match output {
        Output::Unicast(_) => Said::ToOne,
        Output::Multicast(bytes) => {
            let (message, heard) = (Message::from_vec(bytes).unwrap(), hear(bytes));
            match heard.adverts.first().map(|advert| advert.ttl) {
                None if heard.question.is_some() => Said::Question,
                Some(0) => Said::Goodbye,
                Some(_) if message.metadata.authoritative => Said::Answer,
                Some(_) => Said::Announcement,
                None => Said::Other,
            }
        }
        Output::Found(_) | Output::Gone(_) => Said::Other,
    }
}

fn said(outputs: &[(Duration, Output)], what: Said) -> Vec<Duration> {
    outputs
        .iter()
        .filter(|(_, output)| kind(output) == what)
        .map(|(at, _)| *at)
        .collect()
}

fn kinds(outputs: &[Output]) -> Vec<Said> {
    outputs.iter().map(kind).collect()
}

/// What another peer says.
fn announcement_of(peer: PeerId, instance: &str, addrs: &[Multiaddr]) -> Vec<u8> {
    let service = service();
    SelfAdvert {
        service: &service,
        instance,
        peer,
        addrs,
    }
    .announcement()
    .unwrap()
    .encode()
    .unwrap()
}

fn goodbye_of(peer: PeerId, instance: &str, addrs: &[Multiaddr]) -> Vec<u8> {
    let service = service();
    SelfAdvert {
        service: &service,
        instance,
        peer,
        addrs,
    }
    .goodbye()
    .unwrap()
    .encode()
    .unwrap()
}

fn found(peer: PeerId, addrs: Vec<Multiaddr>) -> Output {
    Output::Found(Found {
        peer,
        addrs,
        ttl: Duration::from_secs(TTL.into()),
    })
}

#[test]
fn a_newcomer_asks_at_once_and_announces_as_soon_as_it_listens() {
    let mut bench = Bench::new();
    assert_eq!(bench.agent.next_wake(), bench.now);
    bench.agent.set_addrs(addrs(20), bench.now);
    let outputs = bench.run(3 * SECOND);
    assert_eq!(said(&outputs, Said::Question), [Duration::ZERO]);
    assert_eq!(
        said(&outputs, Said::Announcement),
        [10 * MS, 10 * MS + SECOND]
    );
    assert_eq!(outputs.len(), 3);
}

#[test]
fn addresses_that_come_together_are_announced_together() {
    let mut bench = Bench::new();
    for n in 0..5 {
        bench
            .agent
            .set_addrs((0..=n).flat_map(addrs).collect(), bench.now);
        bench.run(MS);
    }
    let outputs = bench.run(SECOND / 2);
    assert_eq!(said(&outputs, Said::Announcement).len(), 1);
    assert_eq!(said(&outputs, Said::Goodbye).len(), 0);
    let (_, bytes) = bench.announcement();
    assert_eq!(hear(&bytes).adverts[0].peers[0].1.len(), 5);
}

#[test]
fn questions_come_after_4_s_and_then_ever_more_rarely() {
    let mut bench = Bench::new();
    let times = said(&bench.run(Duration::from_secs(600)), Said::Question);
    assert_eq!(times[..2], [Duration::ZERO, 4 * SECOND]);
    let gaps: Vec<f64> = times
        .windows(2)
        .map(|pair| (pair[1] - pair[0]).as_secs_f64())
        .collect();
    for pair in gaps.windows(2).filter(|pair| pair[1] < 59.9) {
        assert!((1.5..2.5).contains(&(pair[1] / pair[0])), "{gaps:?}");
    }
    assert!(
        gaps.iter().all(|gap| *gap <= 60.1) && gaps.last().unwrap() > &59.9,
        "{gaps:?}"
    );
}

#[test]
fn announcements_are_renewed_before_they_run_out() {
    let mut bench = Bench::settled();
    let times = said(&bench.run(Duration::from_secs(600)), Said::Announcement);
    assert!(times.len() >= 9);
    assert!(
        times
            .windows(2)
            .all(|pair| pair[1] - pair[0] <= Duration::from_secs(u64::from(TTL) / 2)),
        "{times:?}"
    );
}

#[test]
fn a_question_is_answered_at_once() {
    let mut bench = Bench::settled();
    let outputs = bench.ask(4711);
    let [Output::Multicast(bytes)] = outputs.as_slice() else {
        panic!("{outputs:?}")
    };
    let message = Message::from_vec(bytes).unwrap();
    assert_eq!(
        (message.metadata.id, message.metadata.authoritative),
        (4711, true)
    );
    assert!(message.queries.is_empty());
    assert_eq!(hear(bytes).adverts[0].peers, [(bench.me, addrs(20))]);
}

#[test]
fn whoever_asks_right_after_another_is_answered_too() {
    let mut bench = Bench::settled();
    assert_eq!(kinds(&bench.ask(1)), [Said::Answer]);
    bench.run(5 * MS);
    assert_eq!(kinds(&bench.ask(2)), []);
    bench.run(5 * MS);
    assert_eq!(kinds(&bench.ask(3)), []);
    let later = bench.run(SECOND);
    assert_eq!(said(&later, Said::Answer), [10 * MS], "one answer for both");
}

#[test]
fn the_same_question_over_both_families_is_answered_once() {
    let mut bench = Bench::settled();
    assert_eq!(kinds(&bench.ask(1)), [Said::Answer]);
    bench.run(30 * MS);
    assert_eq!(kinds(&bench.ask(1)), []);
    assert_eq!(bench.run(SECOND / 2), []);
    bench.run(SECOND);
    assert_eq!(kinds(&bench.ask(1)), [Said::Answer]);
}

#[test]
fn on_a_crowded_network_answers_are_spread_out_but_come_in_time() {
    let mut bench = Bench::settled();
    for n in 0..100 {
        let source = IpAddr::V4(Ipv4Addr::new(192, 168, 2, n));
        let packet = announcement_of(random_peer(), &format!("crowd{n}"), &addrs(n));
        bench.hear(&packet, source);
    }
    assert_eq!(kinds(&bench.ask(1)), []);
    let times = said(&bench.run(SECOND), Said::Answer);
    assert!(times.len() == 1 && times[0] <= 400 * MS, "{times:?}");
}

fn question(edit: impl FnOnce(&mut Message)) -> Vec<u8> {
    let mut message = Message::new(77, MessageType::Query, OpCode::Query);
    message.add_query(Query::query(
        Name::from_ascii("goop-mdns.local.").unwrap(),
        RecordType::PTR,
    ));
    edit(&mut message);
    message.to_vec().unwrap()
}

#[test]
fn who_asks_for_an_answer_of_its_own_gets_it_until_that_is_too_often() {
    let mut bench = Bench::settled();
    let packet = question(|message| {
        message.queries[0].set_mdns_unicast_response(true);
    });
    let mut outputs = Vec::new();
    for _ in 0..100 {
        outputs.extend(bench.hear(&packet, BOB));
    }
    assert_eq!(
        outputs
            .iter()
            .filter(|output| kind(output) == Said::ToOne)
            .count(),
        8
    );
    assert!(
        outputs.len() <= 9,
        "{} packets for 100 questions",
        outputs.len()
    );
}

#[test]
fn a_known_answer_is_not_repeated() {
    let mut bench = Bench::settled();
    let (own, _) = bench.announcement();
    bench.run(5 * SECOND);
    let known = |label: &str, ttl: u32| {
        question(|message| {
            let instance = Name::from_ascii(format!("{label}.goop-mdns.local.")).unwrap();
            let name = Name::from_ascii("goop-mdns.local.").unwrap();
            message.add_answer(Record::from_rdata(name, ttl, RData::PTR(PTR(instance))));
        })
    };
    for ttl in [3200, 1600, 120, 60] {
        assert_eq!(bench.hear(&known(&own, ttl), BOB), [], "{ttl}");
    }
    assert_eq!(
        kinds(&bench.hear(&known("somebodyelse", 3200), BOB)),
        [Said::Answer]
    );
    bench.run(2 * SECOND);
    assert_eq!(kinds(&bench.hear(&known(&own, 59), BOB)), [Said::Answer]);
}

#[test]
fn a_probe_is_not_answered_but_its_claim_is_heard() {
    let mut bench = Bench::settled();
    let bob = random_peer();
    let claim = Message::from_vec(&announcement_of(bob, "bobsname", &addrs(21))).unwrap();
    let probe = question(|message| {
        message.queries[0].set_name(Name::from_ascii("bobsname.goop-mdns.local.").unwrap());
        message.add_authorities(claim.answers.into_iter().take(2));
    });
    assert_eq!(bench.hear(&probe, BOB), [found(bob, addrs(21))]);
}

#[test]
fn the_instance_and_the_list_of_services_are_answered() {
    let mut bench = Bench::settled();
    let (own, _) = bench.announcement();
    let ask = |name: &str| {
        let name = Name::from_ascii(name).unwrap();
        question(|message| {
            message.queries[0].set_name(name);
        })
    };
    assert_eq!(
        kinds(&bench.hear(&ask(&format!("{own}.goop-mdns.local.")), BOB)),
        [Said::Announcement]
    );
    assert_eq!(
        bench.hear(&ask("_services._dns-sd._udp.local."), BOB).len(),
        1
    );
    assert_eq!(bench.hear(&ask("another.goop-mdns.local."), BOB), []);
    assert_eq!(bench.hear(&ask("goop-mdns2.local."), BOB), []);
}

#[test]
fn before_it_listens_it_answers_nobody() {
    let mut bench = Bench::new();
    bench.run(SECOND);
    assert_eq!(bench.ask(1), []);
}

#[test]
fn an_announcement_is_reported_at_once_and_again_while_it_is_repeated() {
    let mut bench = Bench::settled();
    let bob = random_peer();
    let packet = announcement_of(bob, "bobsname", &addrs(21));
    assert_eq!(bench.hear(&packet, BOB), [found(bob, addrs(21))]);
    assert_eq!(bench.hear(&packet, BOB), []);
    bench.run(19 * SECOND);
    assert_eq!(bench.hear(&packet, BOB), []);
    bench.run(SECOND);
    assert_eq!(bench.hear(&packet, BOB), [found(bob, addrs(21))]);
    let moved = announcement_of(bob, "bobsname", &addrs(22));
    assert_eq!(bench.hear(&moved, BOB), [found(bob, addrs(22))]);
}

#[test]
fn a_silent_instance_is_gone_when_its_record_runs_out() {
    let mut bench = Bench::settled();
    let bob = random_peer();
    bench.hear(&announcement_of(bob, "bobsname", &addrs(21)), BOB);
    let outputs = bench.run(Duration::from_secs(u64::from(TTL) + 1));
    let gone: Vec<_> = outputs
        .iter()
        .filter(|(_, output)| *output == Output::Gone(bob))
        .collect();
    assert_eq!(
        gone,
        [&(Duration::from_secs(TTL.into()), Output::Gone(bob))]
    );
    assert_eq!(bench.agent.known(), 0);
}

#[test]
fn a_goodbye_counts_at_once_unless_the_peer_is_there_under_another_name() {
    let mut bench = Bench::settled();
    let bob = random_peer();
    bench.hear(&announcement_of(bob, "first", &addrs(21)), BOB);
    assert_eq!(
        bench.hear(&announcement_of(bob, "second", &addrs(22)), BOB),
        [found(bob, addrs(22))]
    );
    assert_eq!(bench.hear(&goodbye_of(bob, "first", &addrs(21)), BOB), []);
    assert_eq!(
        bench.hear(&goodbye_of(bob, "second", &addrs(22)), BOB),
        [Output::Gone(bob)]
    );
    assert_eq!(
        bench.hear(&goodbye_of(bob, "never heard of", &addrs(22)), BOB),
        []
    );
}

#[test]
fn new_addresses_come_under_a_new_name_and_the_old_one_is_taken_back_after_that() {
    let mut bench = Bench::settled();
    let (old, _) = bench.announcement();
    bench.agent.set_addrs(addrs(30), bench.now);
    let outputs: Vec<_> = bench
        .run(SECOND / 2)
        .into_iter()
        .map(|(_, output)| output)
        .collect();
    assert_eq!(kinds(&outputs), [Said::Announcement, Said::Goodbye]);
    let adverts = outputs.iter().map(|output| match output {
        Output::Multicast(bytes) => hear(bytes).adverts.remove(0),
        other => panic!("{other:?}"),
    });
    let adverts: Vec<_> = adverts.collect();
    assert_ne!(adverts[0].instance, old);
    assert_eq!(adverts[0].peers, [(bench.me, addrs(30))]);
    assert_eq!(
        (adverts[1].instance.as_str(), adverts[1].ttl),
        (old.as_str(), 0)
    );
    assert_eq!(
        said(&bench.run(2 * SECOND), Said::Announcement).len(),
        1,
        "the second announcement"
    );
}

#[test]
fn losing_every_address_takes_the_announcement_back() {
    let mut bench = Bench::settled();
    bench.agent.set_addrs(Vec::new(), bench.now);
    let outputs = bench.run(SECOND / 2);
    assert_eq!(
        outputs
            .iter()
            .map(|(_, output)| kind(output))
            .collect::<Vec<_>>(),
        [Said::Goodbye]
    );
    assert_eq!(bench.ask(5), []);
    assert_eq!(bench.agent.goodbye(), []);
}

#[test]
fn the_end_is_a_goodbye() {
    let mut bench = Bench::settled();
    let (own, _) = bench.announcement();
    let outputs = bench.agent.goodbye();
    assert_eq!(kinds(&outputs), [Said::Goodbye]);
    let Output::Multicast(bytes) = &outputs[0] else {
        panic!()
    };
    assert_eq!(hear(bytes).adverts[0].instance, own);
    assert_eq!(Bench::new().agent.goodbye(), [], "nothing was announced");
}

#[test]
fn a_changed_network_is_asked_and_told_at_once() {
    let mut bench = Bench::settled();
    bench.run(Duration::from_secs(100));
    bench.agent.ask_again(bench.now);
    let outputs = bench.run(5 * SECOND);
    assert_eq!(said(&outputs, Said::Question), [Duration::ZERO, 4 * SECOND]);
    assert_eq!(said(&outputs, Said::Announcement), [Duration::ZERO, SECOND]);
}

#[test]
fn our_own_packets_say_nothing_to_us() {
    let mut bench = Bench::new();
    bench.agent.set_addrs(addrs(20), bench.now);
    let mut all = bench.run(10 * SECOND);
    bench.agent.set_addrs(addrs(30), bench.now);
    all.extend(bench.run(MS * 20));
    let goodbye = bench.agent.goodbye();
    for output in all.into_iter().map(|(_, output)| output).chain(goodbye) {
        let Output::Multicast(bytes) = output else {
            panic!("{output:?}")
        };
        if hear(&bytes).question.is_none() {
            assert_eq!(bench.hear(&bytes, ALICE), []);
        }
    }
    let mut bench = Bench::settled();
    bench.agent.ask_again(bench.now);
    for (_, output) in bench.run(Duration::ZERO) {
        let Output::Multicast(bytes) = output else {
            panic!("{output:?}")
        };
        assert_eq!(bench.hear(&bytes, ALICE), [], "our own question comes back");
    }
}

#[test]
fn others_questions_spare_us_ours_but_not_for_ever() {
    let mut quiet = Bench::new();
    quiet.run(Duration::from_secs(200));
    let alone = said(&quiet.run(Duration::from_secs(600)), Said::Question).len();
    let mut bench = Bench::new();
    bench.run(Duration::from_secs(200));
    let mut own = 0;
    for n in 0..60 {
        bench.ask(n);
        own += said(&bench.run(10 * SECOND), Said::Question).len();
    }
    assert!(
        alone >= 9 && (1..alone / 2).contains(&own),
        "{own} questions instead of {alone}"
    );
}

#[test]
fn one_machine_that_invents_peers_pushes_out_nobody() {
    let mut bench = Bench::settled();
    let bob = random_peer();
    bench.hear(&announcement_of(bob, "bobsname", &addrs(21)), BOB);
    let mut reported = 0;
    for n in 0..10_000_u32 {
        let packet = announcement_of(random_peer(), &format!("invented{n}"), &addrs(66));
        reported += bench.hear(&packet, ALICE).len();
    }
    assert_eq!(reported, MAX_PER_SOURCE);
    assert_eq!(bench.agent.known(), MAX_PER_SOURCE + 1);
    let carol = random_peer();
    let news = bench.hear(
        &announcement_of(carol, "carolsname", &addrs(22)),
        IpAddr::V4(Ipv4Addr::new(192, 168, 1, 22)),
    );
    assert_eq!(news, [found(carol, addrs(22))]);
}

#[test]
fn ten_thousand_announced_peers_are_bounded_and_the_loudest_makes_room() {
    let mut bench = Bench::settled();
    let source = |n: u32| IpAddr::V4(Ipv4Addr::from(0x0a00_0000 + n));
    for n in 0..10_000 {
        // A hundred each from a hundred machines.
        bench.hear(
            &announcement_of(random_peer(), &format!("crowd{n}"), &addrs(1)),
            source(n / 100),
        );
    }
    assert_eq!(bench.agent.known(), MAX_INSTANCES);
    let bob = random_peer();
    let news = bench.hear(&announcement_of(bob, "bobsname", &addrs(21)), BOB);
    assert!(
        matches!(news.as_slice(), [Output::Gone(_), last] if *last == found(bob, addrs(21))),
        "{news:?}"
    );
    assert_eq!(bench.agent.known(), MAX_INSTANCES);
    bench.run(Duration::from_secs(u64::from(TTL) + 1));
    assert_eq!(bench.agent.known(), 0);
}

#[test]
fn names_are_random_and_of_the_agreed_form() {
    let now = Instant::now();
    let mut seen = std::collections::BTreeSet::new();
    for seed in 0..50 {
        let mut agent = Agent::seeded(service(), random_peer(), seed, now);
        agent.set_addrs(addrs(1), now);
        let outputs = agent.tick(now + SECOND);
        let label = outputs.iter().find_map(|output| match output {
            Output::Multicast(bytes) => hear(bytes)
                .adverts
                .first()
                .map(|advert| advert.instance.clone()),
            _ => None,
        });
        let label = label.unwrap();
        assert!((32..=63).contains(&label.len()), "{label}");
        assert!(
            label
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit()),
            "{label}"
        );
        assert!(seen.insert(label));
    }
}

#[test]
fn two_tags_do_not_meet() {
    let mut bench = Bench::settled();
    let other = Service::of_tag("another").unwrap();
    let advert = SelfAdvert {
        service: &other,
        instance: "x",
        peer: random_peer(),
        addrs: &addrs(9),
    };
    assert_eq!(
        bench.hear(&advert.announcement().unwrap().encode().unwrap(), BOB),
        []
    );
    let question = advert::query(&other, 3).encode().unwrap();
    assert_eq!(bench.hear(&question, BOB), []);
    assert_eq!(
        hear(&question).question.map(|question| question.about),
        None::<About>
    );
}
