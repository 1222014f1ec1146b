//! Three hundred peers that send each other messages while streams fail, are cut, come late and come twice; then the
//! storm ends. Everything follows from one seed, which a failure prints; `GOOP_SEED=<number>` repeats a run.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use std::collections::{BTreeMap, BTreeSet};

use goop_identity::seal::NaclKeys;
use goop_mq::topic::PeerTopic;
use goop_mq::wire::Payload;
use rand::RngExt;
use support::{Faults, Peer, World};

const PEERS: usize = 300;
const MESSAGES: usize = 12;

struct Sent {
    from: usize,
    to: usize,
    topic: String,
    n: u64,
}

/// Sends `count` messages from everybody and gives those that were acknowledged.
async fn send_all(world: &World, peers: &[Peer], round: u64) -> Vec<Sent> {
    let mut sending = tokio::task::JoinSet::new();
    for (from, peer) in peers.iter().enumerate() {
        // Few receivers and few groups each, so that lanes are long.
        let to: Vec<usize> = (0..2)
            .map(|_| world.random(|rng| (from + rng.random_range(1..PEERS)) % PEERS))
            .collect();
        for n in 0..MESSAGES {
            let to = to[n % 2];
            let group = world.random(|rng| rng.random_range(0..2));
            let topic = format!("group:g{group}:msg");
            let n = round * 1_000 + n as u64;
            let (mq, receiver) = (peer.mq.clone(), peers[to].id);
            sending.spawn(async move {
                let payload = Payload::of(&n).unwrap();
                let parsed = PeerTopic::parse(&topic).unwrap();
                let delivered = mq.send(receiver, parsed, payload).await.is_ok();
                (delivered, Sent { from, to, topic, n })
            });
            // The bus numbers messages in the order it hears of them.
            tokio::task::yield_now().await;
        }
    }
    let all = sending.join_all().await;
    assert_eq!(all.len(), PEERS * MESSAGES, "every message has an outcome");
    all.into_iter()
        .filter_map(|(delivered, sent)| delivered.then_some(sent))
        .collect()
}

fn check(peers: &[Peer], acknowledged: &[Sent], seed: u64) {
    let by_id: BTreeMap<_, _> = peers
        .iter()
        .enumerate()
        .map(|(n, peer)| (peer.id, n))
        .collect();
    let mut got = BTreeSet::new();
    for (to, peer) in peers.iter().enumerate() {
        let mut newest: BTreeMap<(usize, String), u64> = BTreeMap::new();
        for (from, topic, payload) in peer.groups.lock().unwrap().iter() {
            let (from, n) = (by_id[from], payload.as_u64().unwrap());
            assert!(
                got.insert((from, to, topic.clone(), n)),
                "seed {seed}: {n} came twice"
            );
            if let Some(before) = newest.insert((from, topic.clone()), n) {
                assert!(
                    before < n,
                    "seed {seed}: {n} after {before} in {topic} from {from} to {to}"
                );
            }
        }
    }
    for sent in acknowledged {
        let wanted = (sent.from, sent.to, sent.topic.clone(), sent.n);
        assert!(
            got.contains(&wanted),
            "seed {seed}: {wanted:?} was acknowledged and is not there"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn each_message_once_and_in_order_whatever_happens() {
    let seed = std::env::var("GOOP_SEED")
        .ok()
        .and_then(|seed| seed.parse().ok());
    let seed = seed.unwrap_or_else(rand::random);
    eprintln!("GOOP_SEED={seed}");
    let world = World::new(seed);
    // Some can seal; they learn each other's keys on the way.
    let peers: Vec<Peer> = (0..PEERS)
        .map(|n| world.peer((n % 10 == 0).then(NaclKeys::generate)))
        .collect();
    for pair in peers.chunks(10).collect::<Vec<_>>().windows(2) {
        pair[0][0].mq.ask_identity(pair[1][0].id);
    }
    *world.faults.lock().unwrap() = Faults {
        dial: 15,
        cut: 15,
        double: 20,
        delay: 900,
    };
    let mut acknowledged = send_all(&world, &peers, 1).await;
    let stormy = acknowledged.len();
    check(&peers, &acknowledged, seed);
    *world.faults.lock().unwrap() = Faults {
        delay: 50,
        ..Faults::default()
    };
    let calm = send_all(&world, &peers, 2).await;
    assert_eq!(
        calm.len(),
        PEERS * MESSAGES,
        "seed {seed}: when nothing fails everything arrives"
    );
    acknowledged.extend(calm);
    check(&peers, &acknowledged, seed);
    assert!(
        stormy > PEERS * MESSAGES / 5,
        "seed {seed}: only {stormy} in the storm"
    );
    assert!(stormy < PEERS * MESSAGES, "seed {seed}: there was no storm");
    world.leave.cancel();
}
