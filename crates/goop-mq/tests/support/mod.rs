//! Peers in memory, and streams between them that lose, delay, double and cut.
#![allow(dead_code, clippy::unwrap_used)]

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use goop_identity::PeerId;
use goop_identity::seal::NaclKeys;
use goop_mq::identity::PeerIdentity;
use goop_mq::keys::KeyBook;
use goop_mq::router::{Received, Refused, Router};
use goop_mq::topic::{Family, PeerTopic};
use goop_mq::wire::{Ack, MAX_ACK, NoBudget, Payload, read_object};
use goop_mq::{DialError, Dialer, Mq, ServeError, Setup, Streams, router};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio_util::sync::CancellationToken;

/// What a listener took: sender, topic, payload.
pub(crate) type Taken = Arc<Mutex<Vec<(PeerId, String, Value)>>>;

/// Takes what comes in groups.
pub(crate) struct Groups(pub(crate) Taken);

impl router::Listens for Groups {
    type Payload = Value;
    const FAMILY: Family = Family::Group;

    async fn take(&self, message: Received<Value>) -> Result<(), Refused> {
        let entry = (message.from, message.topic.to_string(), message.payload);
        self.0.lock().unwrap().push(entry);
        Ok(())
    }
}

/// How streams behave.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Faults {
    /// Of a hundred dials, so many fail.
    pub(crate) dial: u32,
    /// Of a hundred streams, so many are cut somewhere.
    pub(crate) cut: u32,
    /// Of a hundred messages, so many arrive a second time, later.
    pub(crate) double: u32,
    /// Longest delay of each direction, in milliseconds.
    pub(crate) delay: u64,
}

/// Everybody, and what lies between them.
#[derive(Clone)]
pub(crate) struct World {
    peers: Arc<Mutex<HashMap<PeerId, Mq>>>,
    pub(crate) faults: Arc<Mutex<Faults>>,
    /// Those who reach only each other, and are reached by nobody else.
    pub(crate) apart: Arc<Mutex<HashSet<PeerId>>>,
    rng: Arc<Mutex<StdRng>>,
    pub(crate) leave: CancellationToken,
}

pub(crate) struct Peer {
    pub(crate) id: PeerId,
    pub(crate) mq: Mq,
    pub(crate) groups: Taken,
    pub(crate) keys: Option<NaclKeys>,
}

impl World {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            peers: Arc::default(),
            faults: Arc::default(),
            apart: Arc::default(),
            rng: Arc::new(Mutex::new(StdRng::seed_from_u64(seed))),
            leave: CancellationToken::new(),
        }
    }

    pub(crate) fn random<T>(&self, draw: impl FnOnce(&mut StdRng) -> T) -> T {
        draw(&mut self.rng.lock().unwrap())
    }

    pub(crate) fn peer(&self, keys: Option<NaclKeys>) -> Peer {
        self.returning(PeerId::random(), KeyBook::new(keys.clone()), keys)
    }

    /// A peer that was here before, with what it kept.
    pub(crate) fn returning(&self, id: PeerId, book: KeyBook, keys: Option<NaclKeys>) -> Peer {
        self.listening(id, book, keys, Router::new())
    }

    pub(crate) fn listening(
        &self,
        id: PeerId,
        book: KeyBook,
        keys: Option<NaclKeys>,
        router: Router,
    ) -> Peer {
        let groups = Taken::default();
        let (mq, task) = Mq::new(Setup {
            me: id,
            own: Arc::new(|| PeerIdentity {
                content: "somebody".into(),
                ..PeerIdentity::default()
            }),
            keys: book,
            hints: Arc::new(|_| None),
            router: router.listen(Groups(groups.clone())),
        });
        let wire = Wire {
            from: id,
            world: self.clone(),
        };
        tokio::spawn(task.run(Streams(wire), self.leave.clone()));
        self.peers.lock().unwrap().insert(id, mq.clone());
        Peer {
            id,
            mq,
            groups,
            keys,
        }
    }

    pub(crate) fn remove(&self, peer: &PeerId) {
        self.peers.lock().unwrap().remove(peer);
    }

    fn serve(&self, from: PeerId, to: &PeerId, mut stream: DuplexStream) {
        let Some(mq) = self.peers.lock().unwrap().get(to).cloned() else {
            return;
        };
        tokio::spawn(async move {
            // A stream that is not served is dropped, which is as good as a reset here.
            let _ = mq.serve(from, false, &mut stream).await;
        });
    }
}

/// A peer without keys that knows nobody and reaches others as `dialer` does, until the token is cancelled.
pub(crate) fn alone(dialer: impl Dialer) -> (Mq, CancellationToken) {
    let (mq, task) = Mq::new(Setup {
        me: PeerId::random(),
        own: Arc::new(PeerIdentity::default),
        keys: KeyBook::new(None),
        hints: Arc::new(|_| None),
        router: Router::new(),
    });
    let leave = CancellationToken::new();
    tokio::spawn(task.run(Streams(dialer), leave.clone()));
    (mq, leave)
}

/// A peer's way to the others.
#[derive(Clone)]
pub(crate) struct Wire {
    pub(crate) from: PeerId,
    pub(crate) world: World,
}

impl Dialer for Wire {
    type Stream = DuplexStream;

    async fn open(&self, peer: PeerId, _: &'static str) -> Result<DuplexStream, DialError> {
        let faults = *self.world.faults.lock().unwrap();
        let (fails, cut, double, there, back, later) = self.world.random(|rng| {
            let mut percent = |of: u32| rng.random_range(0..100) < of;
            let (fails, cuts, double) = (
                percent(faults.dial),
                percent(faults.cut),
                percent(faults.double),
            );
            let cut = cuts.then(|| rng.random_range(0..400_usize));
            let mut delay = || Duration::from_millis(rng.random_range(0..=faults.delay));
            (fails, cut, double, delay(), delay(), delay() * 2)
        });
        tokio::time::sleep(there / 2).await;
        let known = self.world.peers.lock().unwrap().contains_key(&peer);
        let parted = {
            let apart = self.world.apart.lock().unwrap();
            apart.contains(&self.from) != apart.contains(&peer)
        };
        if fails || !known || parted {
            return Err(DialError::Unreachable("nobody answers".into()));
        }
        let (near, middle) = duplex(1 << 16);
        let (far, remote) = duplex(1 << 16);
        self.world.serve(self.from, &peer, remote);
        let (world, from) = (self.world.clone(), self.from);
        tokio::spawn(async move {
            let (mut near_in, mut near_out) = tokio::io::split(middle);
            let (mut far_in, mut far_out) = tokio::io::split(far);
            let mut seen = Vec::new();
            let forward = async {
                let mut left = cut.unwrap_or(usize::MAX);
                let mut buffer = vec![0; 4_096];
                loop {
                    let read = near_in.read(&mut buffer).await.unwrap_or(0);
                    tokio::time::sleep(there).await;
                    let pass = read.min(left);
                    if double {
                        seen.extend_from_slice(&buffer[..read]);
                    }
                    if far_out.write_all(&buffer[..pass]).await.is_err() || pass < read || read == 0
                    {
                        return;
                    }
                    left -= pass;
                }
            };
            let backward = async {
                // The first half of the cuts hits messages, the other one acknowledgements.
                let mut left = cut
                    .filter(|cut| cut % 2 == 0)
                    .map_or(usize::MAX, |cut| cut / 8);
                let mut buffer = vec![0; 4_096];
                loop {
                    let read = far_in.read(&mut buffer).await.unwrap_or(0);
                    tokio::time::sleep(back).await;
                    let pass = read.min(left);
                    if near_out.write_all(&buffer[..pass]).await.is_err()
                        || pass < read
                        || read == 0
                    {
                        return;
                    }
                    left -= pass;
                }
            };
            tokio::select! {
                () = forward => {}
                () = backward => {}
            }
            if double && !seen.is_empty() {
                tokio::time::sleep(later).await;
                let (mut again, remote) = duplex(1 << 16);
                world.serve(from, &peer, remote);
                let _ = again.write_all(&seen).await;
                let _ = again.read(&mut [0; 512]).await;
            }
        });
        Ok(near)
    }
}

/// Waits for a condition, at most a minute of the test's time.
pub(crate) async fn wait_for(what: &str, mut holds: impl FnMut() -> bool) {
    let waiting = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    if tokio::time::timeout(Duration::from_secs(60), waiting)
        .await
        .is_err()
    {
        panic!("never: {what}");
    }
}

pub(crate) fn topic(text: &str) -> PeerTopic {
    PeerTopic::parse(text).unwrap()
}

pub(crate) fn content(text: &str) -> Payload {
    Payload::of(&json!({ "content": text })).unwrap()
}

/// Gives bytes to a peer as if `from` had sent them, and reads the acknowledgement.
pub(crate) async fn hand(
    mq: &Mq,
    from: PeerId,
    bytes: &[u8],
) -> (Result<(), ServeError>, Option<Ack>) {
    let (mut near, mut far) = duplex(1 << 16);
    let write = async {
        // A peer that refuses early stops reading.
        let _ = near.write_all(bytes).await;
        read_object(&mut near, MAX_ACK, &mut NoBudget).await.ok()
    };
    let serve = async {
        let served = mq.serve(from, false, &mut far).await;
        drop(far);
        served
    };
    let (served, ack) = tokio::join!(serve, write);
    (served, ack.and_then(|bytes| Ack::decode(&bytes).ok()))
}

pub(crate) fn raw(id: &str, topic: &str, payload: &str) -> Vec<u8> {
    format!("{{\"type\":\"msg\",\"id\":\"{id}\",\"seq\":1,\"topic\":\"{topic}\",\"payload\":{payload}}}\n").into_bytes()
}

pub(crate) fn pair(world: &World) -> (Peer, Peer) {
    (
        world.peer(Some(NaclKeys::generate())),
        world.peer(Some(NaclKeys::generate())),
    )
}

pub(crate) async fn introduce(one: &Peer, other: &Peer) {
    one.mq.ask_identity(other.id);
    wait_for("keys", || {
        one.mq.keys(|keys| keys.key_of(&other.id).is_some())
            && other.mq.keys(|keys| keys.key_of(&one.id).is_some())
    })
    .await;
}
