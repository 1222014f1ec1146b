//! Two hundred peers that send each other messages while streams fail, are cut, come late and come twice, while peers are
//! restarted and the network falls apart and heals; then the storm ends. Everything follows from a seed, which a failure
//! prints. `GOOP_SEED=<number>` repeats a run, `GOOP_SEEDS=<count>` runs so many, from `GOOP_FIRST` (0) on.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use goop_identity::PeerId;
use goop_identity::seal::NaclKeys;
use goop_mq::keys::KeyBook;
use goop_mq::topic::PeerTopic;
use goop_mq::wire::Payload;
use rand::RngExt;
use support::{Faults, Peer, World};
use tokio::time::{Instant, sleep_until};

const PEERS: usize = 200;
/// Messages of each peer in a round.
const MESSAGES: usize = 6;
/// Rounds of the storm.
const ROUNDS: u64 = 3;
/// Peers that are restarted in a round of the storm.
const RESTARTS: usize = 20;
/// Seeds of a usual run.
const SEEDS: u64 = 4;

struct Sent {
    from: usize,
    to: usize,
    topic: String,
    n: u64,
}

/// The lives of each peer; the last one is now.
type Lives = Vec<Vec<Peer>>;

/// What happens to peers while messages are on their way.
enum Fate {
    Restart(usize),
    Part(BTreeSet<PeerId>),
    Heal,
}

/// When what happens in a round of the storm.
fn fates(world: &World, lives: &Lives) -> Vec<(Duration, Fate)> {
    let ids: Vec<PeerId> = lives.iter().map(|lives| lives[0].id).collect();
    let mut all = world.random(|rng| {
        let mut at = |most: u64| Duration::from_millis(rng.random_range(0..most));
        let times: Vec<Duration> = (0..RESTARTS).map(|_| at(4_000)).collect();
        let (part, heal) = (at(1_000), Duration::from_secs(1) + at(4_000));
        let share = rng.random_range(1..PEERS / 2);
        let apart = (0..share)
            .map(|_| ids[rng.random_range(0..PEERS)])
            .collect();
        let mut all = vec![(part, Fate::Part(apart)), (heal, Fate::Heal)];
        all.extend(
            times
                .into_iter()
                .map(|at| (at, Fate::Restart(rng.random_range(0..PEERS)))),
        );
        all
    });
    all.sort_by_key(|(at, _)| *at);
    all
}

fn befall(world: &World, lives: &mut Lives, fate: Fate) {
    match fate {
        Fate::Part(apart) => *world.apart.lock().unwrap() = apart.into_iter().collect(),
        Fate::Heal => world.apart.lock().unwrap().clear(),
        // It forgets what it has taken, and knows the keys that were on its disk.
        Fate::Restart(who) => {
            let old = lives[who].last().unwrap();
            let book = KeyBook::restore(old.keys.clone(), &old.mq.keys(KeyBook::save)).unwrap();
            let new = world.returning(old.id, book, old.keys.clone());
            lives[who].push(new);
        }
    }
}

/// Sends messages from everybody and gives those that were acknowledged.
async fn send_all(
    world: &World,
    lives: &mut Lives,
    round: u64,
    fates: Vec<(Duration, Fate)>,
) -> Vec<Sent> {
    let mut sending = tokio::task::JoinSet::new();
    let start = Instant::now();
    for from in 0..PEERS {
        // Few receivers and few groups each, so that lanes are long.
        let to: Vec<usize> = (0..2)
            .map(|_| world.random(|rng| (from + rng.random_range(1..PEERS)) % PEERS))
            .collect();
        for n in 0..MESSAGES {
            let to = to[n % 2];
            let group = world.random(|rng| rng.random_range(0..2));
            let topic = format!("group:g{group}:msg");
            let n = round * 1_000 + n as u64;
            let (mq, receiver) = (lives[from].last().unwrap().mq.clone(), lives[to][0].id);
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
    for (at, fate) in fates {
        sleep_until(start + at).await;
        befall(world, lives, fate);
    }
    let all = sending.join_all().await;
    assert_eq!(all.len(), PEERS * MESSAGES, "every message has an outcome");
    all.into_iter()
        .filter_map(|(delivered, sent)| delivered.then_some(sent))
        .collect()
}

/// The model: what was acknowledged is there; nothing is there twice in one life; each sender's order is kept.
fn check(lives: &Lives, acknowledged: &[Sent], seed: u64) {
    let by_id: BTreeMap<_, _> = lives
        .iter()
        .enumerate()
        .map(|(n, lives)| (lives[0].id, n))
        .collect();
    let mut got = BTreeSet::new();
    for (to, lives) in lives.iter().enumerate() {
        for peer in lives {
            let mut once = BTreeSet::new();
            let mut newest: BTreeMap<(usize, String), u64> = BTreeMap::new();
            for (from, topic, payload) in peer.groups.lock().unwrap().iter() {
                let (from, n) = (by_id[from], payload.as_u64().unwrap());
                assert!(
                    once.insert((from, topic.clone(), n)),
                    "seed {seed}: {n} came twice"
                );
                got.insert((from, to, topic.clone(), n));
                if let Some(before) = newest.insert((from, topic.clone()), n) {
                    assert!(
                        before < n,
                        "seed {seed}: {n} after {before} in {topic} from {from} to {to}"
                    );
                }
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

async fn run(seed: u64) {
    let world = World::new(seed);
    // Some can seal; they learn each other's keys on the way.
    let mut lives: Lives = (0..PEERS)
        .map(|n| vec![world.peer((n % 10 == 0).then(NaclKeys::generate))])
        .collect();
    for pair in lives.chunks(10).collect::<Vec<_>>().windows(2) {
        pair[0][0][0].mq.ask_identity(pair[1][0][0].id);
    }
    *world.faults.lock().unwrap() = Faults {
        dial: 15,
        cut: 15,
        double: 20,
        delay: 900,
    };
    let mut acknowledged = Vec::new();
    for round in 1..=ROUNDS {
        let fates = fates(&world, &lives);
        acknowledged.extend(send_all(&world, &mut lives, round, fates).await);
    }
    let (stormy, all) = (acknowledged.len(), PEERS * MESSAGES * ROUNDS as usize);
    assert!(stormy > all / 10, "seed {seed}: only {stormy} in the storm");
    assert!(stormy < all, "seed {seed}: there was no storm");
    *world.faults.lock().unwrap() = Faults {
        delay: 50,
        ..Faults::default()
    };
    let calm = send_all(&world, &mut lives, ROUNDS + 1, Vec::new()).await;
    assert_eq!(
        calm.len(),
        PEERS * MESSAGES,
        "seed {seed}: when nothing fails everything arrives"
    );
    acknowledged.extend(calm);
    check(&lives, &acknowledged, seed);
    world.leave.cancel();
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

#[test]
fn each_message_once_and_in_order_whatever_happens() {
    let seeds: Vec<u64> = match (number("GOOP_SEED"), number("GOOP_SEEDS")) {
        (Some(seed), _) => vec![seed],
        (None, Some(count)) => {
            let first = number("GOOP_FIRST").unwrap_or_default();
            (first..first + count).collect()
        }
        (None, None) => (0..SEEDS).map(|_| rand::random()).collect(),
    };
    let next = AtomicU64::new(0);
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let at = usize::try_from(next.fetch_add(1, Ordering::Relaxed)).unwrap();
                    let Some(seed) = seeds.get(at) else { return };
                    eprintln!("GOOP_SEED={seed}");
                    let runtime = tokio::runtime::Builder::new_current_thread()
                        .enable_time()
                        .start_paused(true)
                        .build()
                        .unwrap();
                    runtime.block_on(run(*seed));
                }
            });
        }
    });
}
