//! Opening, accepting and ending streams, over every transport.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use goop_net::{
    Caller, OpenError, PeerId, RouteLimits, Router, Stream, StreamProtocol, Transports,
};
use support::{
    ECHO, OTHER, PATIENCE, ask_echo, connect, echo, eventually, introduce, over, pair, start, stop,
    within,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::{Notify, Semaphore};

const EACH: [Transports; 4] = [
    Transports::TcpNoise,
    Transports::TcpTls,
    Transports::Quic,
    Transports::All,
];

fn echoing() -> Router {
    Router::new().route(ECHO, RouteLimits::default(), echo)
}

fn serving<Fut>(handler: impl Fn(Stream) -> Fut + Send + Sync + 'static) -> Router
where
    Fut: Future<Output = ()> + Send + 'static,
{
    Router::new().route(
        ECHO,
        RouteLimits::default(),
        move |_: Caller, stream: Stream| handler(stream),
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_question_is_answered_over_every_transport() {
    for transports in EACH {
        let (a, b) = pair(transports, echoing()).await;
        ask_echo(&a, b.local_peer_id(), b"hello").await;
        ask_echo(&a, b.local_peer_id(), &vec![7; 1 << 20]).await;
        stop([a, b]).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_dials_when_there_is_no_connection() {
    let (a, b) = (
        start(over(Transports::All), Router::new(), "A").await,
        start(over(Transports::All), echoing(), "B").await,
    );
    introduce(&a, &b).await;
    futures::future::join_all((0..32).map(|_| ask_echo(&a, b.local_peer_id(), b"hello"))).await;
    let connections = b
        .diagnosis(goop_net::diag::Own::default())
        .connected_peer_details;
    assert_eq!(
        connections.len(),
        1,
        "all waited for one dial: {connections:?}"
    );
    stop([a, b]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_streams_opened_at_once_are_all_served() {
    for (transports, streams) in EACH
        .into_iter()
        .flat_map(|transports| [(transports, 32), (transports, 256)])
    {
        let (a, b) = pair(transports, echoing()).await;
        let asked = (0..streams).map(|number: u32| {
            let (a, b) = (a.clone(), b.local_peer_id());
            tokio::spawn(async move { ask_echo(&a, b, &number.to_be_bytes()).await })
        });
        let answered = within("answers", futures::future::join_all(asked)).await;
        assert!(
            answered.into_iter().all(|answer| answer.is_ok()),
            "{transports:?}, {streams} streams"
        );
        stop([a, b]).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_that_all_stay_open_are_all_accepted_and_wait_their_turn() {
    for transports in [Transports::TcpTls, Transports::Quic] {
        let gate = Arc::new(Semaphore::new(0));
        let most = Arc::new(AtomicUsize::new(0));
        let busy = Arc::new(AtomicUsize::new(0));
        let router = serving({
            let (gate, most, busy) = (gate.clone(), most.clone(), busy.clone());
            move |mut stream| {
                let (gate, most, busy) = (gate.clone(), most.clone(), busy.clone());
                async move {
                    most.fetch_max(busy.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                    gate.acquire().await.unwrap().forget();
                    busy.fetch_sub(1, Ordering::SeqCst);
                    stream.write_all(b"done").await.unwrap();
                }
            }
        });
        let (a, b) = pair(transports, router).await;
        let opened = futures::future::join_all(
            (0..600).map(async |_| a.open(b.local_peer_id(), &[ECHO]).await),
        );
        let opened = within("streams", opened).await;
        let limit = RouteLimits::default().per_peer;
        eventually("a full house", || busy.load(Ordering::SeqCst) == limit).await;
        gate.add_permits(600);
        for stream in opened {
            let mut answer = String::new();
            within("an answer", stream.unwrap().1.read_to_string(&mut answer))
                .await
                .unwrap();
            assert_eq!(answer, "done");
        }
        assert_eq!(most.load(Ordering::SeqCst), limit, "{transports:?}");
        stop([a, b]).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_waits_too_long_for_its_turn_is_reset() {
    let never = Arc::new(Notify::new());
    let limits = RouteLimits {
        per_peer: 1,
        total: 1,
        wait: Duration::from_millis(50),
    };
    let router = Router::new().route(ECHO, limits, move |_: Caller, stream: Stream| {
        let never = never.clone();
        async move {
            never.notified().await;
            drop(stream);
        }
    });
    let (a, b) = pair(Transports::TcpTls, router).await;
    let (_, mut first) = a.open(b.local_peer_id(), &[ECHO]).await.unwrap();
    first.write_all(b"x").await.unwrap();
    eventually("the first one served", || b.topology().own.streams == 1).await;
    let (_, mut second) = a.open(b.local_peer_id(), &[ECHO]).await.unwrap();
    let ended = within("an end", second.read_u8()).await;
    assert!(ended.is_err());
    assert_eq!(b.topology().own.streams, 1, "the first one is still served");
    // One protocol's crowd holds up no other.
    assert_eq!(a.fetch_label(b.local_peer_id()).await, Ok("B".to_owned()));
    stop([a, b]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_reader_holds_the_writer_back_and_loses_nothing() {
    const ALL: usize = 32 << 20;
    for transports in EACH {
        let written = Arc::new(AtomicUsize::new(0));
        let count = written.clone();
        let router = serving(move |mut stream| {
            let written = count.clone();
            async move {
                for _ in 0..ALL / 65_536 {
                    stream.write_all(&[9; 65_536]).await.unwrap();
                    written.fetch_add(65_536, Ordering::SeqCst);
                }
            }
        });
        let (a, b) = pair(transports, router).await;
        let (_, mut stream) = a.open(b.local_peer_id(), &[ECHO]).await.unwrap();
        assert_eq!(within("the first byte", stream.read_u8()).await.unwrap(), 9);
        // The writer stops by itself: what it wrote stays the same while others are served.
        let mut before = usize::MAX;
        within("a pause", async {
            while std::mem::replace(&mut before, written.load(Ordering::SeqCst))
                != written.load(Ordering::SeqCst)
            {
                for _ in 0..20 {
                    a.fetch_label(b.local_peer_id()).await.unwrap();
                }
            }
        })
        .await;
        assert!(
            before < ALL / 2,
            "{transports:?}: {before} bytes left without a reader"
        );
        let mut rest = Vec::with_capacity(ALL);
        within("the rest", stream.read_to_end(&mut rest))
            .await
            .unwrap();
        assert_eq!(rest.len(), ALL - 1, "{transports:?}");
        stop([a, b]).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handler_that_panics_harms_only_its_own_stream() {
    for transports in [Transports::TcpNoise, Transports::Quic] {
        let router = Router::new()
            .route(ECHO, RouteLimits::default(), echo)
            .route(
                OTHER,
                RouteLimits::default(),
                |_: Caller, _: Stream| async { panic!("on purpose") },
            );
        let (a, b) = pair(transports, router).await;
        let (_, mut bad) = a.open(b.local_peer_id(), &[OTHER]).await.unwrap();
        let mut nothing = Vec::new();
        let read = within("an end", bad.read_to_end(&mut nothing)).await;
        assert!(read.is_err() || nothing.is_empty());
        for _ in 0..2 * RouteLimits::default().per_peer {
            drop(a.open(b.local_peer_id(), &[OTHER]).await);
        }
        ask_echo(&a, b.local_peer_id(), b"still there").await;
        stop([a, b]).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_handler_wrote_arrives_whole_and_ends_with_an_end() {
    for transports in EACH {
        let router = serving(|mut stream| async move {
            stream.write_all(&[1; 300_000]).await.unwrap();
            // Dropped without closing it, also by another task than the handler's.
            tokio::spawn(async move {
                stream.write_all(&[2; 300_000]).await.unwrap();
            });
        });
        let (a, b) = pair(transports, router).await;
        let (_, mut stream) = a.open(b.local_peer_id(), &[ECHO]).await.unwrap();
        let mut answer = Vec::new();
        within("an answer", stream.read_to_end(&mut answer))
            .await
            .unwrap();
        assert_eq!(answer.len(), 600_000, "{transports:?}");
        stop([a, b]).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reset_is_seen_as_an_error() {
    let router = serving(|mut stream| async move {
        stream.write_all(b"half of ").await.unwrap();
        stream.flush().await.unwrap();
        let mut go = [0];
        stream.read_exact(&mut go).await.unwrap();
        stream.reset();
    });
    let (a, b) = pair(Transports::TcpTls, router).await;
    let (_, mut stream) = a.open(b.local_peer_id(), &[ECHO]).await.unwrap();
    let mut half = [0; 8];
    within("half", stream.read_exact(&mut half)).await.unwrap();
    stream.write_all(b"!").await.unwrap();
    stream.flush().await.unwrap();
    let rest = within("an end", stream.read_u8()).await;
    assert!(rest.is_err());
    stop([a, b]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_that_goes_away_ends_the_handler() {
    for transports in EACH {
        let gone = Arc::new(Notify::new());
        let told = gone.clone();
        let router = serving(move |mut stream| {
            let gone = told.clone();
            async move {
                let mut nothing = Vec::new();
                let _ = stream.read_to_end(&mut nothing).await;
                gone.notify_one();
            }
        });
        let (a, b) = pair(transports, router).await;
        let (_, mut stream) = a.open(b.local_peer_id(), &[ECHO]).await.unwrap();
        stream.write_all(b"x").await.unwrap();
        stream.flush().await.unwrap();
        drop(stream);
        within("an end", gone.notified()).await;
        stop([a, b]).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_protocol_both_speak_is_taken() {
    let both = || echoing().route(OTHER, RouteLimits::default(), echo);
    let cases: [(Router, &[StreamProtocol], Result<StreamProtocol, OpenError>); 5] = [
        (echoing(), &[OTHER, ECHO], Ok(ECHO)),
        (both(), &[OTHER, ECHO], Ok(OTHER)),
        (both(), &[ECHO, OTHER], Ok(ECHO)),
        (echoing(), &[OTHER], Err(OpenError::NotSpoken)),
        (Router::new(), &[OTHER, ECHO], Err(OpenError::NotSpoken)),
    ];
    for (router, wanted, expected) in cases {
        let (a, b) = pair(Transports::TcpTls, router).await;
        let agreed = a
            .open(b.local_peer_id(), wanted)
            .await
            .map(|(protocol, _)| protocol);
        assert_eq!(agreed, expected, "{wanted:?}");
        stop([a, b]).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_identify_said_is_known_until_the_connection_ends() {
    let (a, b) = pair(Transports::All, echoing()).await;
    eventually("a protocol list", || {
        a.speaks(&b.local_peer_id(), ECHO).is_some()
    })
    .await;
    assert_eq!(a.speaks(&b.local_peer_id(), ECHO), Some(true));
    assert_eq!(a.speaks(&b.local_peer_id(), OTHER), Some(false));
    assert_eq!(a.speaks(&PeerId::random(), ECHO), None);
    let gone = b.local_peer_id();
    stop([b]).await;
    eventually("forgetting", || a.speaks(&gone, ECHO).is_none()).await;
    stop([a]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_cannot_be_reached_is_said_so() {
    let a = start(over(Transports::All), Router::new(), "A").await;
    let unknown = a.open(PeerId::random(), &[ECHO]).await.map(|_| ());
    assert!(
        matches!(unknown, Err(OpenError::Unreachable(_))),
        "{unknown:?}"
    );
    let own = a.open(a.local_peer_id(), &[ECHO]).await.map(|_| ());
    assert!(matches!(own, Err(OpenError::Unreachable(_))), "{own:?}");
    // A port where nobody listens any more.
    let b = start(over(Transports::TcpTls), Router::new(), "B").await;
    let (gone, addrs) = (b.local_peer_id(), b.listen_addrs());
    stop([b]).await;
    a.add_known_addrs(gone, addrs).await;
    let refused = a.open(gone, &[ECHO]).await.map(|_| ());
    assert!(
        matches!(refused, Err(OpenError::Unreachable(_))),
        "{refused:?}"
    );
    // Somebody else there.
    let c = start(over(Transports::TcpTls), Router::new(), "C").await;
    a.add_known_addrs(gone, c.listen_addrs()).await;
    let other = a.open(gone, &[ECHO]).await.map(|_| ());
    assert!(matches!(other, Err(OpenError::Unreachable(_))), "{other:?}");
    stop([a.clone(), c]).await;
    assert_eq!(
        a.open(gone, &[ECHO]).await.map(|_| ()),
        Err(OpenError::Closed)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_connection_is_made_again_when_it_is_needed() {
    let key = goop_identity::Keypair::generate_ed25519();
    let a = start(over(Transports::TcpTls), Router::new(), "A").await;
    let first = start(support::config_of(&key), echoing(), "B").await;
    connect(&a, &first).await;
    ask_echo(&a, first.local_peer_id(), b"one").await;
    let peer = first.local_peer_id();
    stop([first]).await;
    let second = start(support::config_of(&key), echoing(), "B").await;
    introduce(&a, &second).await;
    ask_echo(&a, peer, b"two").await;
    stop([a, second]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn shutting_down_ends_handlers_and_is_bounded() {
    let router = serving(|stream| async move {
        std::future::pending::<()>().await;
        drop(stream);
    });
    let (a, b) = pair(Transports::All, router).await;
    let (_, mut stream) = a.open(b.local_peer_id(), &[ECHO]).await.unwrap();
    stream.write_all(b"x").await.unwrap();
    let begun = std::time::Instant::now();
    b.shutdown(PATIENCE).await;
    assert!(
        begun.elapsed() < Duration::from_secs(5),
        "{:?}",
        begun.elapsed()
    );
    assert!(within("an end", stream.read_u8()).await.is_err());
    b.shutdown(PATIENCE).await;
    stop([a]).await;
}
