//! The handle everybody holds: cheap to clone, talks to the one task that owns the swarm.

use std::sync::Arc;
use std::time::Duration;

use goop_identity::Keypair;
use libp2p::{Multiaddr, StreamProtocol};
use tokio::sync::{broadcast, mpsc, oneshot, watch};
use tokio::time::timeout;

use crate::PeerId;
use crate::content;
use crate::host::{self, Command, Shared};
use crate::mdns::socket::MdnsHealth;
use crate::router::Router;
use crate::stream::Stream;
use crate::streams::{OpenError, OpenRequest};
use crate::table::PeerRow;
use crate::topology::Topology;

/// How long dialling, securing and negotiating may take together.
const OPEN_DEADLINE: Duration = Duration::from_secs(10);
/// How long a probe may take (network.md 1.2).
const PROBE_DEADLINE: Duration = Duration::from_secs(2);
/// Probes that run at the same time.
const PROBES: usize = 32;
/// Commands that may wait for the event loop. It answers in microseconds; a full inbox holds the senders back.
const INBOX: usize = 256;
/// Events a slow listener may fall behind before it has to look at the whole table again.
const EVENTS: usize = 1_024;

/// Where to listen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Listen {
    /// On every interface, IPv4 and IPv6, TCP and QUIC; port 0 takes a free one.
    Network {
        /// The same number for TCP and UDP.
        port: u16,
    },
    /// On 127.0.0.1 only, for tests.
    Loopback,
}

/// Whether to look for peers on the network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Discovery {
    /// Only what is said through [`Net::add_addrs`].
    Off,
    /// Multicast DNS under a tag.
    Mdns {
        /// `p2p.mdns_tag`.
        tag: String,
    },
}

/// What a host is started with.
#[derive(Debug, Clone)]
pub struct NetConfig {
    /// The identity.
    pub keypair: Keypair,
    /// Where to listen.
    pub listen: Listen,
    /// How to find peers.
    pub discovery: Discovery,
    /// Gossip topic of presence.
    pub topic: String,
    /// Silence after which a peer is offline.
    pub ttl: Duration,
    /// Time between two presence updates.
    pub heartbeat: Duration,
    /// How long an offline peer is listed.
    pub grace: Duration,
    /// What identify says about this program.
    pub agent: String,
    /// File of the peers known between runs; `None` keeps nothing.
    pub peer_file: Option<std::path::PathBuf>,
}

/// What presence says about us.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LocalProfile {
    /// Display name.
    pub label: String,
    /// E-mail address.
    pub email: String,
    /// Short hash of the picture.
    pub avatar_hash: String,
    /// No calls.
    pub video_disabled: bool,
    /// Applied template.
    pub active_template: String,
    /// Payloads can be sealed for us.
    pub encryption_supported: bool,
    /// Version of this program.
    pub version: String,
}

/// What happened to a peer in the table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PeerEvent {
    /// It is new or something shown changed.
    Changed(Box<PeerRow>),
    /// It was forgotten.
    Gone(PeerId),
}

/// Why the network did not start.
#[derive(Debug, thiserror::Error)]
pub enum NetError {
    /// The configured port is taken or not allowed.
    #[error(
        "p2p.listen_port {port} cannot be used: {reason}. Choose another port in goop.json (0 takes a free one), \
         or end the program that has it"
    )]
    Port {
        /// The port.
        port: u16,
        /// What the system said.
        reason: String,
    },
    /// A setting makes no sense.
    #[error("{0}")]
    Setting(String),
    /// Something below us failed.
    #[error("the network could not start: {0}")]
    Other(String),
}

/// A peer that is not in the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the peer is not known")]
pub struct UnknownPeer;

/// The running network. All clones are one.
#[derive(Debug, Clone)]
pub struct Net {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    commands: mpsc::Sender<Command>,
    shared: Shared,
    task: tokio::sync::Mutex<Option<tokio::task::JoinHandle<()>>>,
}

impl Net {
    /// Starts listening and looking around. It is not `online` for others until [`Net::go_online`].
    ///
    /// # Errors
    /// See [`NetError`]; a machine without network or multicast is none.
    pub async fn start(config: NetConfig, router: Router) -> Result<Self, NetError> {
        let (commands, inbox) = mpsc::channel(INBOX);
        let (events, _) = broadcast::channel(EVENTS);
        let (host, shared) = host::Host::new(config, router, inbox, events).await?;
        let task = tokio::spawn(host.run());
        let inner = Inner { commands, shared, task: tokio::sync::Mutex::new(Some(task)) };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Our peer id.
    #[must_use]
    pub fn local_peer_id(&self) -> PeerId {
        self.inner.shared.me
    }

    /// Where we listen.
    #[must_use]
    pub fn listen_addrs(&self) -> Vec<Multiaddr> {
        self.inner.shared.listening.borrow().clone()
    }

    /// A receiver of the addresses we listen on.
    #[must_use]
    pub fn listening(&self) -> watch::Receiver<Vec<Multiaddr>> {
        self.inner.shared.listening.clone()
    }

    /// What multicast can do from here; `None` without discovery.
    #[must_use]
    pub fn mdns_health(&self) -> Option<MdnsHealth> {
        self.inner.shared.mdns.as_ref().map(|health| health.borrow().clone())
    }

    /// Opens a stream to a peer, dialling it when there is no connection, and agrees on the first protocol of the
    /// list that the peer speaks.
    ///
    /// # Errors
    /// See [`OpenError`]; after at most 10 s.
    pub async fn open(&self, peer: PeerId, protocols: &[StreamProtocol]) -> Result<(StreamProtocol, Stream), OpenError> {
        let (reply, answer) = oneshot::channel();
        let request = OpenRequest { protocols: protocols.to_vec(), reply };
        let opened = async {
            self.send(Command::Open(peer, request)).await.map_err(|_| OpenError::Closed)?;
            answer.await.map_err(|_| OpenError::Failed("the connection was closed".to_owned()))?
        };
        let (protocol, stream) = timeout(OPEN_DEADLINE, opened)
            .await
            .map_err(|_| OpenError::Unreachable(format!("no answer within {} s", OPEN_DEADLINE.as_secs())))??;
        Ok((protocol, Stream::new(stream)))
    }

    /// Whether a peer speaks a protocol, by the newest list it sent; `None` while there is none.
    #[must_use]
    pub fn speaks(&self, peer: &PeerId, protocol: &str) -> Option<bool> {
        self.inner.shared.speaks(peer, protocol)
    }

    /// Sets what presence says about us. A change is published at once if we are online.
    pub async fn announce(&self, profile: LocalProfile) {
        // A closed network has nobody to tell.
        let _ = self.send(Command::Announce(profile)).await;
    }

    /// Publishes `online` and keeps publishing from here on.
    pub async fn go_online(&self) {
        let _ = self.send(Command::GoOnline).await;
    }

    /// Publishes `offline` without leaving; the next heartbeat is online again.
    pub async fn say_offline(&self) {
        let _ = self.send(Command::SayOffline).await;
    }

    /// Every known peer, by id.
    #[must_use]
    pub fn peers(&self) -> Arc<Vec<PeerRow>> {
        self.inner.shared.rows.borrow().clone()
    }

    /// One known peer.
    #[must_use]
    pub fn peer(&self, id: &PeerId) -> Option<PeerRow> {
        let rows = self.peers();
        rows.iter().find(|row| row.id == *id).cloned()
    }

    /// A receiver that sees every later state of the table.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<Arc<Vec<PeerRow>>> {
        self.inner.shared.rows.clone()
    }

    /// Changes of single peers as they happen. Who falls behind gets `Lagged` and looks at [`Net::peers`].
    #[must_use]
    pub fn events(&self) -> broadcast::Receiver<PeerEvent> {
        self.inner.shared.events.subscribe()
    }

    /// Asks a peer for its name within 2 s and notes whether it answered.
    pub async fn probe(&self, peer: PeerId) -> bool {
        let reached = timeout(PROBE_DEADLINE, self.fetch_label(peer)).await.is_ok_and(|label| label.is_ok());
        let _ = self.send(Command::Probed(peer, reached)).await;
        reached
    }

    /// Probes every known peer, some at a time.
    pub async fn probe_all(&self) {
        use futures::StreamExt;
        let peers: Vec<PeerId> = self.peers().iter().map(|row| row.id).collect();
        futures::stream::iter(peers).for_each_concurrent(PROBES, async |peer| {
            self.probe(peer).await;
        }).await;
        let _ = self.sync().await;
    }

    /// Asks a peer for its display name.
    ///
    /// # Errors
    /// When it cannot be reached or says no name in time.
    pub async fn fetch_label(&self, peer: PeerId) -> Result<String, OpenError> {
        let (_, stream) = self.open(peer, &[StreamProtocol::new(content::PROTOCOL)]).await?;
        content::fetch(stream).await.map_err(|error| OpenError::Failed(error.to_string()))
    }

    /// Marks or unmarks a favourite; it is on disk when this returns.
    ///
    /// # Errors
    /// [`UnknownPeer`].
    pub async fn set_favorite(&self, peer: PeerId, favorite: bool) -> Result<(), UnknownPeer> {
        let (reply, answer) = oneshot::channel();
        self.send(Command::Favorite(peer, favorite, reply)).await.map_err(|_| UnknownPeer)?;
        match answer.await {
            Ok(true) => Ok(()),
            _ => Err(UnknownPeer),
        }
    }

    /// Tells where a peer may listen, as a rendezvous or a test knows it.
    pub async fn add_addrs(&self, peer: PeerId, addrs: Vec<Multiaddr>) {
        let _ = self.send(Command::AddAddrs(peer, addrs)).await;
    }

    /// How long offline peers are listed from now on.
    pub async fn set_grace(&self, grace: Duration) {
        let _ = self.send(Command::Grace(grace)).await;
    }

    /// The shape of the network around us.
    pub async fn topology(&self) -> Option<Topology> {
        let (reply, answer) = oneshot::channel();
        self.send(Command::Topology(reply)).await.ok()?;
        answer.await.ok()
    }

    /// Waits until everything sent before was done.
    async fn sync(&self) -> Result<(), OpenError> {
        let (reply, answer) = oneshot::channel();
        self.send(Command::Sync(reply)).await.map_err(|_| OpenError::Closed)?;
        answer.await.map_err(|_| OpenError::Closed)
    }

    async fn send(&self, command: Command) -> Result<(), mpsc::error::SendError<Command>> {
        self.inner.commands.send(command).await
    }

    /// Leaves: `offline` to everybody, goodbye on multicast, peers written, connections closed. After `within` the
    /// rest is cut off.
    pub async fn shutdown(&self, within: Duration) {
        let Some(mut task) = self.inner.task.lock().await.take() else { return };
        let _ = self.send(Command::Shutdown).await;
        if timeout(within, &mut task).await.is_err() {
            tracing::warn!("the network did not end in time and was cut off");
            task.abort();
        }
    }
}
