//! The connections that exist, and opening streams over them.
//!
//! The event loop writes this registry, everybody reads it: a stream to a connected peer is asked for at the connection
//! itself and costs one negotiation, without a detour over the event loop. Only a peer without a connection is the
//! loop's business ([`Command::Connect`]).

use std::collections::{HashMap, HashSet};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use libp2p::swarm::ConnectionId;
use libp2p::{Multiaddr, StreamProtocol};
use tokio::sync::{Notify, Semaphore, mpsc, oneshot};
use tokio::time::timeout;

use crate::PeerId;
use crate::content;
use crate::host::Command;
use crate::stream::{Lifeline, Stream, Ticket};

/// Dialling, securing and negotiating together. A page waits for it, so it ends before a person does.
pub(crate) const OPEN_DEADLINE: Duration = Duration::from_secs(10);
/// Streams of ours on one connection at the same time; more wait. Both directions share yamux' limit
/// (`MAX_STREAMS`), and who exceeds that loses the connection, so ours stay well below.
const OUTBOUND_STREAMS: usize = 850;
/// Requests that may wait for a connection's task; more hold their senders back.
const REQUESTS: usize = 64;
/// A connection may break between choosing and using it; then another one is tried. Who moves to another network leaves
/// several behind, which end one after the other.
const ATTEMPTS: usize = 6;
/// Rest before the third attempt, doubled before each later one: together 0.75 s.
const REST: Duration = Duration::from_millis(50);

/// Why no stream came.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// Nobody said where the peer is, or no address answered.
    #[error("the peer cannot be reached: {0}")]
    Unreachable(String),
    /// It is there and does not speak any of the protocols.
    #[error("the peer does not speak the protocol")]
    NotSpoken,
    /// The connection broke, or the peer was too slow.
    #[error("the connection to the peer failed: {0}")]
    Failed(String),
    /// This host is shutting down.
    #[error("the network is shutting down")]
    Closed,
}

/// A stream and the protocol it was opened for.
pub(crate) type Opened = (StreamProtocol, libp2p::Stream);

/// A wish for a stream, at a connection.
#[derive(Debug)]
pub(crate) struct OpenRequest {
    pub(crate) protocols: Arc<[StreamProtocol]>,
    pub(crate) reply: oneshot::Sender<Result<Opened, OpenError>>,
}

/// One connection.
#[derive(Debug, Clone)]
pub(crate) struct Link {
    pub(crate) id: ConnectionId,
    /// Where the other side is.
    pub(crate) addr: Multiaddr,
    pub(crate) relayed: bool,
    /// We dialled.
    pub(crate) outbound: bool,
    pub(crate) since: Instant,
    /// It was made for something short and ends soon: streams go elsewhere if they can.
    aside: bool,
    pub(crate) lifeline: Lifeline,
    requests: mpsc::Sender<OpenRequest>,
    slots: Arc<Semaphore>,
}

/// What the connection's handler holds of a [`Link`].
#[derive(Debug)]
pub(crate) struct LinkEnd {
    pub(crate) requests: mpsc::Receiver<OpenRequest>,
    pub(crate) lifeline: Lifeline,
}

impl Drop for LinkEnd {
    fn drop(&mut self) {
        self.lifeline.gone.cancel();
    }
}

impl Link {
    pub(crate) fn new(
        id: ConnectionId,
        addr: Multiaddr,
        relayed: bool,
        outbound: bool,
    ) -> (Self, LinkEnd) {
        let (requests, inbox) = mpsc::channel(REQUESTS);
        let lifeline = Lifeline::default();
        let end = LinkEnd {
            requests: inbox,
            lifeline: lifeline.clone(),
        };
        let slots = Arc::new(Semaphore::new(OUTBOUND_STREAMS));
        (
            Self {
                id,
                addr,
                relayed,
                outbound,
                since: Instant::now(),
                aside: false,
                lifeline,
                requests,
                slots,
            },
            end,
        )
    }

    /// Streams that are open on it.
    pub(crate) fn streams(&self) -> usize {
        self.lifeline.live.load(Ordering::Relaxed)
    }

    /// Whether the other side still answers. Agreeing on a protocol takes it, whatever it says to ours.
    pub(crate) async fn answers(&self, within: Duration) -> bool {
        let asked = self.open([StreamProtocol::new(content::PROTOCOL)].into());
        matches!(
            timeout(within, asked).await,
            Ok(Some(Ok(_) | Err(OpenError::NotSpoken)))
        )
    }

    /// `None` when the connection ended before a stream came.
    pub(crate) async fn open(
        &self,
        protocols: Arc<[StreamProtocol]>,
    ) -> Option<Result<(StreamProtocol, Stream), OpenError>> {
        let slot = self.slots.clone().acquire_owned().await.ok()?;
        let (reply, answer) = oneshot::channel();
        self.requests
            .send(OpenRequest { protocols, reply })
            .await
            .ok()?;
        let opened = answer.await.ok()?;
        Some(opened.map(|(protocol, stream)| {
            metrics::counter!("goop_net_streams_opened").increment(1);
            (
                protocol,
                Stream::opened(stream, Ticket::new(self.lifeline.clone(), Some(slot))),
            )
        }))
    }
}

/// What is known of a connected peer.
#[derive(Debug, Default)]
struct Connected {
    links: Vec<Link>,
    /// The newest list identify brought.
    protocols: Option<Arc<[StreamProtocol]>>,
}

/// Connections that stand aside from the moment they are there.
#[derive(Debug, Default)]
struct Aside {
    /// Those we dial.
    dialled: HashSet<ConnectionId>,
    /// Those that these peers dial.
    callers: HashSet<PeerId>,
}

/// Every connection, by peer.
#[derive(Debug, Default)]
pub(crate) struct Links {
    peers: RwLock<HashMap<PeerId, Connected>>,
    aside: Mutex<Aside>,
    /// A connection ended.
    removed: Notify,
}

impl Links {
    fn read(&self) -> std::sync::RwLockReadGuard<'_, HashMap<PeerId, Connected>> {
        self.peers.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> std::sync::RwLockWriteGuard<'_, HashMap<PeerId, Connected>> {
        self.peers.write().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn add(&self, peer: PeerId, mut link: Link) {
        let called = !link.outbound && !link.relayed;
        link.aside = self.with_aside(|aside| {
            aside.dialled.contains(&link.id) || called && aside.callers.contains(&peer)
        });
        self.write().entry(peer).or_default().links.push(link);
    }

    fn with_aside<T>(&self, act: impl FnOnce(&mut Aside) -> T) -> T {
        act(&mut self.aside.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// A connection that is being dialled stands aside until [`Links::aside_no_more`].
    pub(crate) fn put_aside(&self, id: ConnectionId) {
        self.with_aside(|aside| aside.dialled.insert(id));
    }

    /// It ended, or never came.
    pub(crate) fn aside_no_more(&self, id: ConnectionId) {
        self.with_aside(|aside| aside.dialled.remove(&id));
    }

    /// What a peer dials directly from now on stands aside until [`Links::expect_no_more`].
    pub(crate) fn expect_aside(&self, peer: PeerId) {
        self.with_aside(|aside| aside.callers.insert(peer));
    }

    /// What such a peer dialled and did not close is a connection like any other.
    pub(crate) fn expect_no_more(&self, peer: &PeerId) {
        self.with_aside(|aside| aside.callers.remove(peer));
        if let Some(connected) = self.write().get_mut(peer) {
            let called = connected.links.iter_mut().filter(|link| !link.outbound);
            called.for_each(|link| link.aside = false);
        }
    }

    /// Whether a connection stands aside.
    pub(crate) fn is_aside(&self, peer: &PeerId, id: ConnectionId) -> bool {
        self.link(peer, id).is_some_and(|link| link.aside)
    }

    /// Whether a peer dialled us for something short.
    pub(crate) fn called_aside(&self, peer: &PeerId) -> bool {
        let peers = self.read();
        let mut links = peers
            .get(peer)
            .into_iter()
            .flat_map(|connected| &connected.links);
        links.any(|link| link.aside && !link.outbound)
    }

    /// A connection ended; what identify said goes with the last one, because the peer may come back as another
    /// version.
    pub(crate) fn remove(&self, peer: &PeerId, id: ConnectionId) {
        let mut peers = self.write();
        let Some(connected) = peers.get_mut(peer) else {
            return;
        };
        connected.links.retain(|link| link.id != id);
        if connected.links.is_empty() {
            peers.remove(peer);
        }
        drop(peers);
        self.removed.notify_waiters();
    }

    /// Waits while all connections of a peer are about to end: none of them is of use, and the event loop, which takes the
    /// peer for connected, makes no other.
    async fn without_ending(&self, peer: &PeerId) {
        loop {
            let removed = self.removed.notified();
            if self.best(peer).is_some() || !self.is_connected(peer) {
                return;
            }
            removed.await;
        }
    }

    /// Takes a list from identify. A Go peer sends it several times while it starts (network.md 2.3), so each one
    /// replaces the last.
    pub(crate) fn learn_protocols(&self, peer: &PeerId, list: Vec<StreamProtocol>) {
        if let Some(connected) = self.write().get_mut(peer) {
            connected.protocols = Some(list.into());
        }
    }

    pub(crate) fn speaks(&self, peer: &PeerId, protocol: &str) -> Option<bool> {
        let peers = self.read();
        let list = peers.get(peer)?.protocols.as_ref()?;
        Some(list.iter().any(|spoken| spoken.as_ref() == protocol))
    }

    pub(crate) fn is_connected(&self, peer: &PeerId) -> bool {
        self.read().contains_key(peer)
    }

    /// A connection without a relay, as the Go program counts "connected".
    pub(crate) fn is_direct(&self, peer: &PeerId) -> bool {
        self.read()
            .get(peer)
            .is_some_and(|connected| connected.links.iter().any(|link| !link.relayed))
    }

    /// Whether we dialled a connection; `None` for one through a relay, or that is not there any more.
    pub(crate) fn is_outbound_direct(&self, peer: &PeerId, id: ConnectionId) -> Option<bool> {
        let peers = self.read();
        let mut links = peers.get(peer)?.links.iter();
        let link = links.find(|link| link.id == id && !link.relayed)?;
        Some(link.outbound)
    }

    /// One connection.
    pub(crate) fn link(&self, peer: &PeerId, id: ConnectionId) -> Option<Link> {
        let peers = self.read();
        let links = &peers.get(peer)?.links;
        links.iter().find(|link| link.id == id).cloned()
    }

    /// Where a peer is that is connected without a relay.
    pub(crate) fn direct_addr(&self, peer: &PeerId) -> Option<Multiaddr> {
        let peers = self.read();
        let direct = peers.get(peer)?.links.iter().find(|link| !link.relayed)?;
        Some(crate::address::without_peer(direct.addr.clone()))
    }

    /// Where every connection of a peer that runs through no relay goes.
    pub(crate) fn direct_addrs(&self, peer: &PeerId) -> Vec<Multiaddr> {
        let peers = self.read();
        let links = peers
            .get(peer)
            .into_iter()
            .flat_map(|connected| &connected.links);
        links
            .filter(|link| !link.relayed)
            .map(|link| link.addr.clone())
            .collect()
    }

    /// Since when there is a direct connection.
    pub(crate) fn oldest_direct(&self, peer: &PeerId) -> Option<Instant> {
        let peers = self.read();
        let direct = peers.get(peer)?.links.iter().filter(|link| !link.relayed);
        direct.map(|link| link.since).min()
    }

    /// The connections of a peer through relays.
    pub(crate) fn relayed(&self, peer: &PeerId) -> Vec<Link> {
        let peers = self.read();
        let links = peers
            .get(peer)
            .into_iter()
            .flat_map(|connected| &connected.links);
        links.filter(|link| link.relayed).cloned().collect()
    }

    /// The connection by which a peer called us through a relay last: older ones may have died unnoticed.
    pub(crate) fn newest_call(&self, peer: &PeerId) -> Option<Link> {
        let peers = self.read();
        let mut links = peers.get(peer)?.links.iter().rev();
        links.find(|link| link.relayed && !link.outbound).cloned()
    }

    /// Whether any stream of a routed protocol is open.
    pub(crate) fn is_busy(&self, peer: &PeerId) -> bool {
        self.read()
            .get(peer)
            .is_some_and(|connected| connected.links.iter().any(|link| link.streams() > 0))
    }

    /// All connections of a peer, except one.
    pub(crate) fn others(&self, peer: &PeerId, except: ConnectionId) -> Vec<Link> {
        let peers = self.read();
        let links = peers
            .get(peer)
            .into_iter()
            .flat_map(|connected| &connected.links);
        links.filter(|link| link.id != except).cloned().collect()
    }

    /// The direct connections of a peer, except one.
    pub(crate) fn other_direct(&self, peer: &PeerId, except: ConnectionId) -> Vec<Link> {
        let peers = self.read();
        let links = peers
            .get(peer)
            .into_iter()
            .flat_map(|connected| &connected.links);
        links
            .filter(|link| !link.relayed && link.id != except)
            .cloned()
            .collect()
    }

    /// Connected peers.
    pub(crate) fn count(&self) -> usize {
        self.read().len()
    }

    /// A picture of everything, for the topology and the diagnosis.
    pub(crate) fn snapshot(&self) -> Vec<(PeerId, Vec<Link>)> {
        let peers = self.read();
        let mut all: Vec<_> = peers
            .iter()
            .map(|(peer, connected)| (*peer, connected.links.clone()))
            .collect();
        all.sort_by_cached_key(|(peer, _)| peer.to_base58());
        all
    }

    /// The connection to use: a direct one before a relayed one, the newest first, because a peer that came back made a
    /// new one and its old one may be dead without knowing. One that stands aside comes last.
    fn best(&self, peer: &PeerId) -> Option<Link> {
        let peers = self.read();
        let links = &peers.get(peer)?.links;
        let mut usable = links.iter().rev().filter(|link| !link.requests.is_closed());
        usable
            .clone()
            .find(|link| !link.relayed && !link.aside)
            .or_else(|| usable.clone().find(|link| !link.aside))
            .or_else(|| usable.next())
            .cloned()
    }
}

/// Opens streams for handles and for the host's own tasks.
#[derive(Debug, Clone)]
pub(crate) struct Opener {
    pub(crate) me: PeerId,
    pub(crate) links: Arc<Links>,
    /// Weak, so that the host's own tasks do not keep it alive.
    pub(crate) commands: mpsc::WeakSender<Command>,
}

impl Opener {
    /// See [`Net::open`](crate::Net::open). Cancel-safe: what was asked for and not taken is closed.
    pub(crate) async fn open(
        &self,
        peer: PeerId,
        protocols: &[StreamProtocol],
    ) -> Result<(StreamProtocol, Stream), OpenError> {
        let opened = timeout(OPEN_DEADLINE, self.try_open(peer, protocols)).await;
        opened.unwrap_or_else(|_| {
            Err(OpenError::Failed(format!(
                "no answer within {} s",
                OPEN_DEADLINE.as_secs()
            )))
        })
    }

    async fn try_open(
        &self,
        peer: PeerId,
        protocols: &[StreamProtocol],
    ) -> Result<(StreamProtocol, Stream), OpenError> {
        if peer == self.me {
            return Err(OpenError::Unreachable(
                "that is this peer itself".to_owned(),
            ));
        }
        let protocols: Arc<[StreamProtocol]> = protocols.into();
        let mut rest = REST;
        for attempt in 0..ATTEMPTS {
            if attempt >= 2 {
                tokio::time::sleep(rest).await;
                rest *= 2;
            }
            self.links.without_ending(&peer).await;
            if self.links.best(&peer).is_none() {
                self.connect(peer).await?;
            }
            let Some(link) = self.links.best(&peer) else {
                continue;
            };
            if let Some(answer) = link.open(protocols.clone()).await {
                return answer;
            }
        }
        Err(OpenError::Failed(
            "it breaks as soon as it is there".to_owned(),
        ))
    }

    /// Waits for a connection; all who wait share one dial.
    async fn connect(&self, peer: PeerId) -> Result<(), OpenError> {
        let (reply, answer) = oneshot::channel();
        let commands = self.commands.upgrade().ok_or(OpenError::Closed)?;
        commands
            .send(Command::Connect(peer, reply))
            .await
            .map_err(|_| OpenError::Closed)?;
        drop(commands);
        answer.await.map_err(|_| OpenError::Closed)?
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn of_several_calls_through_relays_the_newest_counts() {
        let (links, peer) = (Links::default(), PeerId::random());
        let add = |number, relayed, outbound| {
            let id = ConnectionId::new_unchecked(number);
            let addr = "/ip4/127.0.0.1/tcp/1".parse().unwrap();
            links.add(peer, Link::new(id, addr, relayed, outbound).0);
            id
        };
        assert!(links.newest_call(&peer).is_none());
        let first = add(1, true, false);
        assert_eq!(links.newest_call(&peer).unwrap().id, first);
        let second = add(2, true, false);
        add(3, true, true);
        let direct = add(4, false, false);
        assert_eq!(links.newest_call(&peer).unwrap().id, second);
        let others: Vec<_> = links
            .others(&peer, second)
            .iter()
            .map(|link| link.id)
            .collect();
        assert_eq!(others.len(), 3);
        assert!(others.contains(&first) && others.contains(&direct));
    }

    /// Over a connection that is made for a proof and closed after it, nobody's request may run.
    #[test]
    fn a_connection_that_stands_aside_is_the_last_choice() {
        let (links, peer) = (Links::default(), PeerId::random());
        let mut ends = Vec::new();
        let mut add = |number, relayed, outbound| {
            let id = ConnectionId::new_unchecked(number);
            let addr = "/ip4/127.0.0.1/tcp/1".parse().unwrap();
            let (link, end) = Link::new(id, addr, relayed, outbound);
            links.add(peer, link);
            ends.push(end);
            id
        };
        links.put_aside(ConnectionId::new_unchecked(1));
        links.expect_aside(peer);
        let dialled = add(1, false, true);
        let called = add(2, false, false);
        assert!(links.is_aside(&peer, dialled) && links.is_aside(&peer, called));
        assert!(links.called_aside(&peer));
        assert_eq!(links.best(&peer).unwrap().id, called, "better than none");
        let circuit = add(3, true, false);
        assert!(!links.is_aside(&peer, circuit));
        assert_eq!(links.best(&peer).unwrap().id, circuit);
        let direct = add(4, false, true);
        add(5, false, false);
        assert_eq!(links.best(&peer).unwrap().id, direct);
        // Who called and was not closed is there to stay.
        links.expect_no_more(&peer);
        assert!(!links.called_aside(&peer) && links.is_aside(&peer, dialled));
        assert_eq!(
            links.best(&peer).unwrap().id,
            ConnectionId::new_unchecked(5)
        );
        let other = PeerId::random();
        links.add(
            other,
            Link::new(
                called,
                "/ip4/127.0.0.1/tcp/1".parse().unwrap(),
                false,
                false,
            )
            .0,
        );
        assert!(!links.called_aside(&other));
    }

    /// Somebody moved: what they left behind ends only when it is used, one connection after the other, and the good one
    /// is the oldest, so all others are chosen before it.
    #[tokio::test(start_paused = true)]
    async fn a_connection_that_works_is_found_behind_several_that_die_when_used() {
        /// Three ended within microseconds when this was seen; more are within the attempts.
        const DYING: usize = 5;
        let (links, peer) = (Arc::new(Links::default()), PeerId::random());
        let add = |number| {
            let id = ConnectionId::new_unchecked(number);
            let addr = "/ip4/127.0.0.1/tcp/1".parse().unwrap();
            let (link, end) = Link::new(id, addr, false, true);
            links.add(peer, link);
            end
        };
        let mut good = add(0);
        let mut tasks = tokio::task::JoinSet::new();
        tasks.spawn(async move {
            let asked = good.requests.recv().await.unwrap();
            asked.reply.send(Err(OpenError::NotSpoken)).unwrap();
        });
        for number in 1..=DYING {
            let mut dying = add(number);
            tasks.spawn(async move {
                // Both go at the end of this task: the question and the connection it was asked of.
                assert!(dying.requests.recv().await.is_some());
            });
        }
        let (commands, mut dials) = mpsc::channel(1);
        let opener = Opener {
            me: PeerId::random(),
            links: links.clone(),
            commands: commands.downgrade(),
        };
        let protocol = StreamProtocol::new("/test/1.0.0");
        let answer = opener.open(peer, &[protocol]).await;
        assert!(
            matches!(answer, Err(OpenError::NotSpoken)),
            "the good connection was not asked: {answer:?}"
        );
        assert_eq!(tasks.join_all().await.len(), DYING + 1);
        assert!(dials.try_recv().is_err(), "nothing had to be dialled");
    }
}
