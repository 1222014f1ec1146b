//! AutoNAT v2: what is dialled for whom and what it costs them, who is asked and what is believed.

#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use goop_net::address::{Reach, Vicinity};
use goop_net::autonat::budget::Budget;
use goop_net::autonat::checks::{
    AGAIN, Checks, FORGOTTEN, Judge, MAX, NOBODY, PAUSE, Question, SETTLED, Verdict,
};
use goop_net::autonat::{
    self, AutonatError, Choice, Data, DataRequest, DialRequest, DialResponse, Dialled, Envelope,
    MAX_DATA, MIN_DATA, Said, Told, choose,
};
use goop_net::circuit::message;
use goop_net::{Multiaddr, Net, PeerId, Router, Transports};
use support::{connect, eventually, over, start, stop, within};
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, duplex};
use tokio::net::TcpListener;

fn addr(text: &str) -> Multiaddr {
    text.parse().unwrap()
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// The address of the one who asks.
const OWN: &str = "/ip4/203.0.113.7/tcp/4001";
/// Somebody else's.
const FOREIGN: &str = "/ip4/198.51.100.9/tcp/4001";

/// Somebody who asks from 203.0.113.7, and a peer that answers: what is dialled there counts, and comes to `dialled`.
struct Served {
    stream: DuplexStream,
    dials: Arc<AtomicUsize>,
    task: tokio::task::JoinHandle<Result<(), AutonatError>>,
}

fn served(dialled: Dialled, may: bool) -> Served {
    let (near, far) = duplex(256 * 1024);
    let dials = Arc::new(AtomicUsize::new(0));
    let counted = dials.clone();
    let mut vicinity = Vicinity::new(Reach::Network);
    vicinity.look_around(&[addr("/ip4/192.0.2.1/tcp/1")]);
    let choose = move |addrs: &[Vec<u8>]| choose(vicinity, &[], &[ip("203.0.113.7")], addrs);
    let dial = async move |_, nonce| {
        assert_eq!(nonce, 7);
        counted.fetch_add(1, Ordering::SeqCst);
        dialled
    };
    let task = tokio::spawn(autonat::serve(far, choose, move || may, dial));
    Served {
        stream: near,
        dials,
        task,
    }
}

impl Served {
    fn dials(&self) -> usize {
        self.dials.load(Ordering::SeqCst)
    }
}

#[tokio::test(start_paused = true)]
async fn an_address_of_ones_own_is_dialled_and_the_answer_is_told() {
    for (dialled, told) in [
        (Dialled::Proven, Told::Reached),
        (Dialled::NoAnswer, Told::NotReached),
        (Dialled::NotProven, Told::Unknown),
        (Dialled::Not, Told::Unknown),
    ] {
        let served = served(dialled, true);
        let dials = served.dials.clone();
        let answer = autonat::ask(served.stream, &addr(OWN), 7).await;
        assert_eq!(answer.unwrap(), told);
        assert_eq!(dials.load(Ordering::SeqCst), 1);
        served.task.await.unwrap().unwrap();
    }
    let refused = served(Dialled::Proven, false);
    let dials = refused.dials.clone();
    let answer = autonat::ask(refused.stream, &addr(OWN), 7).await;
    assert_eq!(answer.unwrap(), Told::Unknown);
    assert_eq!(dials.load(Ordering::SeqCst), 0, "it had its share");
}

async fn say(stream: &mut (impl AsyncWrite + Unpin), said: Said) {
    message::write(stream, &Envelope { said: Some(said) })
        .await
        .unwrap();
}

async fn hear(stream: &mut (impl AsyncRead + Unpin)) -> Option<Said> {
    let heard: Envelope = message::read(stream).await.ok()?;
    heard.said
}

fn question(addrs: &[&str]) -> Said {
    Said::Request(DialRequest {
        addrs: addrs.iter().map(|text| addr(text).to_vec()).collect(),
        nonce: 7,
    })
}

/// How much is wanted before a foreign address is dialled.
async fn price(stream: &mut (impl AsyncRead + AsyncWrite + Unpin)) -> u64 {
    say(stream, question(&[FOREIGN])).await;
    let Some(Said::DataRequest(DataRequest { index: 0, bytes })) = hear(stream).await else {
        panic!("it is dialled for nothing");
    };
    assert!((MIN_DATA..=MAX_DATA).contains(&bytes), "{bytes}");
    bytes
}

#[tokio::test(start_paused = true)]
async fn a_foreign_address_is_dialled_when_it_was_paid_for_and_not_before() {
    let paying = served(Dialled::Proven, true);
    let dials = paying.dials.clone();
    let answer = autonat::ask(paying.stream, &addr(FOREIGN), 7).await;
    assert_eq!(
        (answer.unwrap(), dials.load(Ordering::SeqCst)),
        (Told::Reached, 1)
    );

    let mut short = served(Dialled::Proven, true);
    let mut left = price(&mut short.stream).await - 1;
    while left > 0 {
        let part = left.min(4_096);
        left -= part;
        let data = vec![0; usize::try_from(part).unwrap()];
        say(&mut short.stream, Said::Data(Data { data })).await;
    }
    drop(tokio::time::timeout(Duration::from_secs(5), hear(&mut short.stream)).await);
    assert_eq!(short.dials(), 0, "one byte is missing");
    say(&mut short.stream, Said::Data(Data { data: vec![0] })).await;
    let answer = hear(&mut short.stream).await;
    assert!(matches!(
        answer,
        Some(Said::Response(DialResponse { status: 200, .. }))
    ));
    assert_eq!(short.dials(), 1);
}

#[tokio::test(start_paused = true)]
async fn who_does_not_pay_gets_nothing_dialled() {
    let cheap: [fn() -> Said; 4] = [
        || Said::Data(Data { data: Vec::new() }),
        || Said::Data(Data { data: vec![0; 99] }),
        || question(&[FOREIGN]),
        || question(&[OWN]),
    ];
    for (number, said) in cheap.into_iter().enumerate() {
        let mut served = served(Dialled::Proven, true);
        price(&mut served.stream).await;
        say(&mut served.stream, said()).await;
        assert!(hear(&mut served.stream).await.is_none(), "{number}");
        assert_eq!(served.dials(), 0, "{number}");
        assert!(matches!(
            served.task.await.unwrap(),
            Err(AutonatError::Malformed(_))
        ));
    }
    // Silence, at each point, costs a deadline.
    for paid in [false, true] {
        let mut served = served(Dialled::Proven, true);
        if paid {
            price(&mut served.stream).await;
        }
        let ended = served.task.await.unwrap();
        assert!(matches!(ended, Err(AutonatError::TimedOut)), "{ended:?}");
        assert_eq!(served.dials.load(Ordering::SeqCst), 0);
    }
}

#[test]
fn which_address_is_dialled_for_whom() {
    let mut home = Vicinity::new(Reach::Network);
    home.look_around(&[addr("/ip4/192.168.1.2/tcp/1")]);
    let ours = [ip("192.168.1.2"), ip("192.0.2.1")];
    let check = |theirs: &str, addrs: &[&str]| {
        let addrs: Vec<_> = addrs.iter().map(|text| addr(text).to_vec()).collect();
        let choice = choose(home, &ours, &[ip(theirs)], &addrs);
        choice.map(|Choice { index, pays, .. }| (index, pays))
    };
    let stranger = "203.0.113.7";
    assert_eq!(check(stranger, &[OWN]), Some((0, false)));
    assert_eq!(check(stranger, &[FOREIGN, OWN]), Some((0, true)));
    for never in [
        "/ip4/127.0.0.1/tcp/4001",
        "/ip6/::1/tcp/4001",
        "/ip4/0.0.0.0/tcp/4001",
        "/ip4/169.254.1.1/tcp/80",
        "/ip4/224.0.0.1/udp/1/quic-v1",
        "/dns4/example.org/tcp/80",
        "/unix/tmp",
        // Of our network, and others'.
        "/ip4/192.168.1.1/tcp/80",
        "/ip4/10.0.0.1/tcp/80",
        "/ip4/100.64.0.1/tcp/80",
        "/ip6/fd00::1/tcp/80",
        // Ours.
        "/ip4/192.168.1.2/tcp/4001",
        "/ip4/192.0.2.1/tcp/4001",
    ] {
        assert_eq!(check(stranger, &[never]), None, "{never}");
        assert_eq!(check(stranger, &[never, OWN]), Some((1, false)), "{never}");
    }
    // A neighbour may ask for its own address and for no other one here.
    let neighbours = ["/ip4/192.168.1.9/tcp/1", "/ip4/192.168.1.20/tcp/4001"];
    assert_eq!(check("192.168.1.20", &neighbours), Some((1, false)));
    let many: Vec<&str> = std::iter::repeat_n("/ip4/127.0.0.1/tcp/1", 16)
        .chain([OWN])
        .collect();
    assert_eq!(
        check(stranger, &many),
        None,
        "no more than 16 are looked at"
    );
}

#[test]
fn nobody_has_much_dialled() {
    let start = Instant::now();
    let from = |n: u8| [IpAddr::from([203, 0, 113, n])];
    let taken = |budget: &mut Budget, peer: &dyn Fn() -> PeerId, from: &[IpAddr], now| {
        let takes = (0..100).filter(|_| budget.take(peer(), from, now));
        takes.count()
    };
    let one = PeerId::random();
    let mut budget = Budget::new(start);
    assert_eq!(taken(&mut budget, &|| one, &from(1), start), 4, "a peer");
    assert_eq!(
        taken(&mut budget, &|| one, &from(2), start),
        0,
        "from elsewhere"
    );
    let minute = start + Duration::from_secs(60);
    assert_eq!(taken(&mut budget, &|| one, &from(1), minute), 1);
    let mut budget = Budget::new(start);
    assert_eq!(
        taken(&mut budget, &PeerId::random, &from(1), start),
        4,
        "one address with as many names as it likes"
    );
    let of_network = |n: u16| [IpAddr::from([0x2001, 0xdb8, 0, 1, 0, 0, 0, n])];
    let all: usize = (0..50)
        .map(|n| taken(&mut budget, &PeerId::random, &of_network(n), start))
        .sum();
    assert_eq!(all, 4, "a network of IPv6");
    let mut budget = Budget::new(start);
    let all: usize = (0..200)
        .map(|n| taken(&mut budget, &PeerId::random, &from(n), start))
        .sum();
    assert_eq!(all, 16, "everybody together");
    let hour = start + Duration::from_secs(3_600);
    assert_eq!(taken(&mut budget, &PeerId::random, &from(1), hour), 4);
}

fn judge(n: u8) -> Judge {
    Judge {
        peer: PeerId::random(),
        ip: IpAddr::from([198, 51, 100, n]),
        for_udp: true,
        for_tcp: true,
    }
}

/// Asks as long as there is something to ask, and answers with `told`.
fn go_through(
    checks: &mut Checks,
    judges: &[Judge],
    now: &mut Instant,
    told: impl Fn(&Question) -> Told,
) -> Vec<Question> {
    let mut asked = Vec::new();
    while let Some(question) = checks.next(judges, *now) {
        assert_eq!(checks.next(judges, *now), None, "one question at a time");
        checks.answered(&question, told(&question), *now);
        *now += PAUSE;
        asked.push(question);
    }
    asked
}

#[test]
fn one_who_came_through_confirms_and_two_who_did_not_refute() {
    let start = Instant::now();
    let (open, shut) = (addr(OWN), addr("/ip4/203.0.113.7/udp/4001/quic-v1"));
    let judges = [judge(1), judge(2), judge(3)];
    let mut checks = Checks::new(start);
    checks.set([open.clone(), shut.clone(), open.clone()], start);
    assert_eq!(checks.next(&judges, start), None, "it has to settle");
    let mut now = start + SETTLED;
    assert_eq!(checks.next_wake(), Some(now));
    let told = |question: &Question| {
        if question.addr == open {
            Told::Reached
        } else {
            Told::NotReached
        }
    };
    let asked = go_through(&mut checks, &judges, &mut now, told);
    assert_eq!(asked.len(), 3, "{asked:?}");
    assert_eq!(checks.with(Verdict::Confirmed), std::slice::from_ref(&open));
    assert_eq!(checks.with(Verdict::Refuted), std::slice::from_ref(&shut));
    // Nothing is asked until it may be otherwise; then the old verdict holds until there is another one.
    assert!(checks.next_wake().unwrap() > now + AGAIN / 2);
    now += AGAIN;
    let closed = checks.next(&judges, now).unwrap();
    checks.answered(&closed, Told::NotReached, now);
    assert_eq!(checks.verdict(&open), Some(Verdict::Confirmed));
    now += PAUSE;
    go_through(&mut checks, &judges, &mut now, |_| Told::NotReached);
    assert_eq!(checks.verdict(&open), Some(Verdict::Refuted));
    // Another network, another answer.
    assert!(checks.moved(now));
    assert_eq!(checks.verdict(&open), None);
    assert!(!checks.moved(now));
    checks.set([shut.clone()], now);
    assert_eq!(checks.verdict(&open), None);
}

#[test]
fn one_address_with_many_names_refutes_nothing() {
    let start = Instant::now();
    let judges: Vec<Judge> = (0..50).map(|_| judge(1)).collect();
    let mut checks = Checks::new(start);
    checks.set([addr(OWN)], start);
    let mut now = start + SETTLED;
    let asked = go_through(&mut checks, &judges, &mut now, |_| Told::NotReached);
    assert_eq!(asked.len(), 1);
    assert_eq!(checks.verdict(&addr(OWN)), None);
    assert_eq!(
        checks.next_wake(),
        Some(now + NOBODY),
        "nobody else can be asked"
    );
    checks.judge_came(now);
    assert!(checks.next_wake().unwrap() <= now + PAUSE);
    now += PAUSE;
    let other = [judges, vec![judge(2)]].concat();
    go_through(&mut checks, &other, &mut now, |_| Told::NotReached);
    assert_eq!(checks.verdict(&addr(OWN)), Some(Verdict::Refuted));
}

#[test]
fn who_knows_us_from_our_own_packets_is_not_asked() {
    let start = Instant::now();
    let (tcp, udp) = (addr(OWN), addr("/ip4/203.0.113.7/udp/4001/quic-v1"));
    let knocked = Judge {
        for_udp: false,
        ..judge(1)
    };
    let mut checks = Checks::new(start);
    checks.set([udp.clone(), tcp.clone()], start);
    let mut now = start + SETTLED;
    let asked = go_through(&mut checks, &[knocked], &mut now, |_| Told::Reached);
    assert_eq!(asked.len(), 1);
    assert_eq!(checks.with(Verdict::Confirmed), [tcp]);
    now += NOBODY;
    let strange = Judge {
        for_udp: true,
        ..knocked
    };
    go_through(&mut checks, &[strange], &mut now, |_| Told::Reached);
    assert_eq!(checks.verdict(&udp), Some(Verdict::Confirmed));
}

#[test]
fn who_cannot_tell_is_asked_again_much_later() {
    let start = Instant::now();
    let judges = [judge(1), judge(2)];
    let mut checks = Checks::new(start);
    let many = (0..200).map(|n| addr(&format!("/ip4/203.0.113.{n}/tcp/4001")));
    checks.set(many, start);
    let mut now = start + SETTLED;
    let asked = go_through(&mut checks, &judges, &mut now, |_| Told::Unknown);
    assert_eq!(asked.len(), 2 * MAX);
    now += NOBODY;
    assert_eq!(checks.next(&judges, now), None);
    now += FORGOTTEN;
    assert!(checks.next(&judges, now).is_some());
    // The network changed meanwhile: what it says is of the old one.
    let late = Question {
        judge: judges[0],
        addr: addr("/ip4/203.0.113.1/tcp/4001"),
    };
    checks.moved(now);
    assert!(!checks.answered(&late, Told::Reached, now));
}

#[tokio::test(start_paused = true)]
async fn a_proof_counts_where_it_is_expected() {
    for (expected, taken) in [(7, true), (8, false)] {
        let (near, far) = duplex(1_024);
        let hearing = tokio::spawn(autonat::hear(far, move |nonce| nonce == expected));
        assert_eq!(autonat::dial_back(near, 7).await.is_ok(), taken);
        assert_eq!(hearing.await.unwrap().is_ok(), taken);
    }
    let (near, _far) = duplex(1_024);
    let silent = autonat::dial_back(near, 7).await;
    assert!(matches!(silent, Err(AutonatError::TimedOut)));
}

#[tokio::test(start_paused = true)]
async fn who_wants_too_much_for_a_dial_gets_nothing() {
    for (index, bytes) in [(0, MAX_DATA + 1), (0, u64::MAX), (1, MIN_DATA)] {
        let (near, mut far) = duplex(1_024);
        let asking = tokio::spawn(async move { autonat::ask(near, &addr(OWN), 7).await });
        assert!(hear(&mut far).await.is_some());
        let wanted = DataRequest { index, bytes };
        say(&mut far, Said::DataRequest(wanted)).await;
        assert!(matches!(
            asking.await.unwrap(),
            Err(AutonatError::Malformed(_))
        ));
        assert!(hear(&mut far).await.is_none(), "not one byte was sent");
    }
}

async fn two() -> (Net, Net) {
    let (a, b) = (
        start(over(Transports::All), Router::new(), "A").await,
        start(over(Transports::All), Router::new(), "B").await,
    );
    connect(&a, &b).await;
    (a, b)
}

/// Each asks the other, whoever dialled; on this machine everybody is a stranger.
#[tokio::test(flavor = "multi_thread")]
async fn peers_confirm_each_others_addresses_and_stay_connected() {
    let (a, b) = two().await;
    for net in [&a, &b] {
        let mut outside = net.outside();
        let confirmed = outside.wait_for(|outside| outside.confirmed.len() == 2);
        let confirmed = within("two confirmed addresses", confirmed).await.unwrap();
        for addr in net.listen_addrs() {
            assert!(
                confirmed.confirmed.contains(&addr) || addr.to_string().contains("p2p-circuit"),
                "{addr} is not among {:?}",
                confirmed.confirmed
            );
        }
        assert!(confirmed.refuted.is_empty());
    }
    // What was dialled for the proofs is closed again.
    let connections = |net: &Net| {
        net.diagnosis(goop_net::diag::Own::default())
            .connected_peer_details
    };
    eventually("one connection", || {
        connections(&a).len() == 1 && connections(&b).len() == 1
    })
    .await;
    stop([a, b]).await;
}

/// What a peer says to a question that a hostile one asks over a real connection.
async fn asked(hostile: &Net, of: &Net, text: &str, pay: bool) -> Option<DialResponse> {
    let (_, mut stream) = hostile
        .open(of.local_peer_id(), &[autonat::REQUEST])
        .await
        .unwrap();
    say(&mut stream, question(&[text])).await;
    loop {
        match within("an answer", hear(&mut stream)).await? {
            Said::Response(response) => return Some(response),
            Said::DataRequest(wanted) if pay => {
                let data = vec![0; 4_000];
                for _ in 0..wanted.bytes.div_ceil(4_000) {
                    let data = data.clone();
                    say(&mut stream, Said::Data(Data { data })).await;
                }
            }
            Said::DataRequest(_) => return None,
            other => panic!("{other:?}"),
        }
    }
}

/// A third party is knocked at by nobody who did not pay, and by nobody often.
#[tokio::test(flavor = "multi_thread")]
async fn a_hostile_asker_makes_us_dial_nobody_for_nothing_and_nobody_often() {
    let (hostile, victim) = two().await;
    let third = TcpListener::bind("127.0.0.2:0").await.unwrap();
    let knocks = Arc::new(AtomicUsize::new(0));
    let counted = knocks.clone();
    let port = third.local_addr().unwrap().port();
    // Ends with the test's runtime.
    tokio::spawn(async move {
        while third.accept().await.is_ok() {
            counted.fetch_add(1, Ordering::SeqCst);
        }
    });
    let third = format!("/ip4/127.0.0.2/tcp/{port}");
    for _ in 0..3 {
        assert_eq!(asked(&hostile, &victim, &third, false).await, None);
    }
    assert_eq!(knocks.load(Ordering::SeqCst), 0, "for nothing");
    // The share of one peer is used up by what it did not pay for, too.
    let mut refused = 0;
    for _ in 0..20 {
        let answer = asked(&hostile, &victim, &third, true).await.unwrap();
        refused += usize::from(answer.status == 100);
    }
    assert!(refused >= 19, "{refused}");
    assert!(knocks.load(Ordering::SeqCst) <= 1);
    for never in ["/ip4/10.0.0.1/tcp/80", "/dns4/localhost/tcp/80"] {
        let answer = asked(&hostile, &victim, never, true).await.unwrap();
        assert_eq!(answer.status, 101, "{never}");
    }
    stop([hostile, victim]).await;
}
