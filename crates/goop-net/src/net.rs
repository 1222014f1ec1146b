//! The handle everybody holds: cheap to clone, talks to the one task that owns the swarm.

use std::sync::Arc;
use std::time::Duration;

use goop_identity::presence::PresenceMessage;
use libp2p::{Multiaddr, StreamProtocol};
use tokio::sync::{Mutex, broadcast, mpsc, oneshot, watch};
use tokio::time::timeout;
use tokio_util::task::AbortOnDropHandle;

use crate::PeerId;
use crate::config::{LocalProfile, NetConfig, NetError};
use crate::content;
use crate::diag::{self, Diagnosis, HostView};
use crate::host::{Command, Host, Shared};
use crate::links::{OpenError, Opener};
use crate::mdns::socket::MdnsHealth;
use crate::outside::Outside;
use crate::relay::{RelayInfo, RelayState};
use crate::router::Router;
use crate::stream::Stream;
use crate::table::PeerRow;
use crate::topology::{self, Topology};

/// Commands that may wait for the event loop. It takes them in microseconds; a full inbox holds the senders back.
const INBOX: usize = 256;
/// Events a slow listener may fall behind before it has to look at the whole table again.
const EVENTS: usize = 1_024;

/// What happened to a peer in the table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PeerEvent {
    /// It is new or something shown changed.
    Changed(Box<PeerRow>),
    /// It was forgotten.
    Gone(PeerId),
}

/// Why a favourite was not marked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FavoriteError {
    /// The peer is not in the table.
    #[error("the peer is not known")]
    UnknownPeer,
    /// It is marked until the program ends; the file could not be written.
    #[error("the favourite could not be saved: {0}")]
    NotSaved(String),
}

/// The running network. All clones are one; without [`Net::shutdown`] the last one to go cuts it off.
#[derive(Debug, Clone)]
pub struct Net {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    commands: mpsc::Sender<Command>,
    opener: Opener,
    shared: Shared,
    task: Mutex<Option<AbortOnDropHandle<()>>>,
}

impl Net {
    /// Starts listening and looking around. It is not `online` for others until [`Net::go_online`].
    ///
    /// # Errors
    /// See [`NetError`]; a machine without network or multicast is none.
    pub async fn start(config: NetConfig, router: Router) -> Result<Self, NetError> {
        crate::counters::describe();
        let (commands, inbox) = mpsc::channel(INBOX);
        let (events, _) = broadcast::channel(EVENTS);
        let (host, shared) = Host::new(config, router, commands.downgrade(), inbox, events).await?;
        let opener = host.opener();
        let task = AbortOnDropHandle::new(tokio::spawn(host.run()));
        let inner = Inner {
            commands,
            opener,
            shared,
            task: Mutex::new(Some(task)),
        };
        Ok(Self {
            inner: Arc::new(inner),
        })
    }

    /// Our peer id.
    #[must_use]
    pub fn local_peer_id(&self) -> PeerId {
        self.inner.shared.me
    }

    /// Where we listen now. The first addresses come moments after the start; [`Net::listening`] waits for them.
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
        self.inner
            .shared
            .mdns
            .as_ref()
            .map(|health| health.borrow().clone())
    }

    /// Opens a stream to a peer, dialling it when there is no connection, and agrees on the first protocol of the
    /// list that the peer speaks. Over an existing connection that is one negotiation and nothing else.
    ///
    /// # Errors
    /// See [`OpenError`]; after at most 10 s.
    pub async fn open(
        &self,
        peer: PeerId,
        protocols: &[StreamProtocol],
    ) -> Result<(StreamProtocol, Stream), OpenError> {
        self.inner.opener.open(peer, protocols).await
    }

    /// Whether a peer speaks a protocol, by the newest list it sent; `None` while there is none. A list is never
    /// final: a peer that starts sends several.
    #[must_use]
    pub fn speaks(&self, peer: &PeerId, protocol: impl AsRef<str>) -> Option<bool> {
        self.inner.opener.links.speaks(peer, protocol.as_ref())
    }

    /// Whether a peer is there: it announced itself or was reached, and has not left since.
    #[must_use]
    pub fn is_present(&self, peer: &PeerId) -> bool {
        self.with_row(peer, |row| row.offline_since.is_none())
            .unwrap_or(false)
    }

    /// Whether there is a connection to a peer.
    #[must_use]
    pub fn is_connected(&self, peer: &PeerId) -> bool {
        self.inner.opener.links.is_connected(peer)
    }

    /// Sets what presence says about us. A change is published at once if we are online; several in a row are one.
    pub fn announce(&self, profile: LocalProfile) {
        self.inner.shared.say.send_if_modified(|say| {
            let differs = say.profile != profile;
            say.profile = profile;
            differs
        });
    }

    /// Publishes `online`, and `update` at every heartbeat from here on.
    pub fn go_online(&self) {
        self.inner
            .shared
            .say
            .send_if_modified(|say| !std::mem::replace(&mut say.online, true));
    }

    /// Publishes `offline` without leaving; the next heartbeat is online again.
    pub async fn say_offline(&self) {
        self.send(Command::SayOffline).await;
    }

    /// The relay to use from here on. It may come at any time, change, or go; one without an address that can be dialled
    /// is none.
    pub async fn set_relay(&self, relay: Option<RelayInfo>) {
        self.send(Command::Relay(relay)).await;
    }

    /// How it stands with the relay.
    #[must_use]
    pub fn relay_state(&self) -> watch::Receiver<RelayState> {
        self.inner.shared.relay_state.clone()
    }

    /// The relay in use. It alone may ask for `/goop/diag/1.0.0`.
    #[must_use]
    pub fn relay_peer(&self) -> Option<PeerId> {
        let relay = self.inner.shared.relay_info.borrow();
        relay.0.as_ref().map(|info| info.peer)
    }

    /// A record that a rendezvous passed on. What counts of it is decided here: our own is ignored, one that claims a
    /// signature must have it, and nobody may say too much.
    pub async fn heard_from_rendezvous(&self, message: PresenceMessage) {
        self.send(Command::Heard(Box::new(message))).await;
    }

    /// What we say about ourselves, for every rendezvous; it changes whenever a record is due: at heartbeats, when the
    /// profile or the addresses change, and at the end. `None` before the first. The token for the rendezvous, the
    /// public key and the signature are for its client to add.
    #[must_use]
    pub fn own_record(&self) -> watch::Receiver<Option<PresenceMessage>> {
        self.inner.shared.own_record.clone()
    }

    /// Every known peer, by id.
    #[must_use]
    pub fn peers(&self) -> Arc<Vec<PeerRow>> {
        self.inner.shared.rows.borrow().clone()
    }

    /// One known peer.
    #[must_use]
    pub fn peer(&self, id: &PeerId) -> Option<PeerRow> {
        self.with_row(id, PeerRow::clone)
    }

    fn with_row<T>(&self, id: &PeerId, look: impl FnOnce(&PeerRow) -> T) -> Option<T> {
        let rows = self.inner.shared.rows.borrow();
        // Rows stand in the order of their ids.
        rows.binary_search_by(|row| row.id.cmp(id))
            .ok()
            .map(|index| look(&rows[index]))
    }

    /// A receiver of the whole table. Many changes in a row are one.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<Arc<Vec<PeerRow>>> {
        self.inner.shared.rows.clone()
    }

    /// Changes of single peers as they happen. Who falls behind gets `Lagged` and looks at [`Net::peers`].
    #[must_use]
    pub fn events(&self) -> broadcast::Receiver<PeerEvent> {
        self.inner.shared.events.subscribe()
    }

    /// Asks a peer for its name within 2 s and notes in the table whether it answered (network.md 5). Right after a
    /// failure the answer is what the table knows.
    pub async fn probe(&self, peer: PeerId) -> bool {
        let (reply, answer) = oneshot::channel();
        self.send(Command::Probe(peer, reply)).await;
        answer.await.unwrap_or(false)
    }

    /// Probes every known peer, some at a time, and returns when the table says how that went.
    pub async fn probe_all(&self) {
        let probes = self
            .peers()
            .iter()
            .map(|row| self.probe(row.id))
            .collect::<Vec<_>>();
        futures::future::join_all(probes).await;
        let (reply, answer) = oneshot::channel();
        self.send(Command::Sync(reply)).await;
        // A network that ended has told all it will.
        let _ = answer.await;
    }

    /// Asks a peer for its display name.
    ///
    /// # Errors
    /// When it cannot be reached or says no name in time.
    pub async fn fetch_label(&self, peer: PeerId) -> Result<String, OpenError> {
        content::ask(&self.inner.opener, peer).await
    }

    /// Marks or unmarks a favourite; it is on disk when this returns.
    ///
    /// # Errors
    /// See [`FavoriteError`].
    pub async fn set_favorite(&self, peer: PeerId, favorite: bool) -> Result<(), FavoriteError> {
        let (reply, answer) = oneshot::channel();
        self.send(Command::Favorite(peer, favorite, reply)).await;
        answer.await.unwrap_or_else(|_| {
            Err(FavoriteError::NotSaved(
                "the network is shutting down".to_owned(),
            ))
        })
    }

    /// Tells where a peer may listen, as a rendezvous or a test knows it, and that it is worth dialling.
    pub async fn add_known_addrs(&self, peer: PeerId, addrs: Vec<Multiaddr>) {
        self.send(Command::AddAddrs(peer, addrs)).await;
    }

    /// What stands between us and the internet, and how others see us; changes as they say so.
    #[must_use]
    pub fn outside(&self) -> watch::Receiver<Outside> {
        self.inner.shared.outside.clone()
    }

    /// The network around us changed in a way that our addresses do not show, a machine that slept for example. Every
    /// connection is asked for a sign of life, and those without are closed. A change of our addresses needs no call.
    pub async fn network_changed(&self) {
        self.send(Command::NetworkChanged).await;
    }

    /// How long offline peers are listed from now on (`viewer.peer_offline_grace_min`).
    pub async fn set_grace(&self, grace: Duration) {
        self.send(Command::Grace(grace)).await;
    }

    /// The shape of the network around us.
    #[must_use]
    pub fn topology(&self) -> Topology {
        let shared = &self.inner.shared;
        let say = shared.say.borrow();
        topology::draw(
            shared.me,
            &say.profile,
            shared.started,
            &shared.relay_info.borrow(),
            &self.inner.opener.links.snapshot(),
            &self.peers(),
        )
    }

    /// What `/goop/diag/1.0.0` says, without the parts that are not the network's ([`diag::Own`]).
    #[must_use]
    pub fn diagnosis(&self, own: diag::Own) -> Diagnosis {
        let shared = &self.inner.shared;
        let told = shared.own_record.borrow();
        let listening = self.listen_addrs();
        let texts: Vec<String> = listening.iter().map(ToString::to_string).collect();
        let host = HostView {
            me: shared.me,
            started: shared.started,
            listening: &listening,
            published: told.as_ref().map_or(&texts, |told| &told.addrs),
            ttl: shared.ttl,
            protocols: &shared.protocols,
            relay: &shared.relay_info.borrow(),
        };
        diag::draw(own, &host, &self.inner.opener.links.snapshot())
    }

    async fn send(&self, command: Command) {
        // A network that ended has nobody to do it; who waits for an answer sees its sender gone.
        let _ = self.inner.commands.send(command).await;
    }

    /// Leaves: `offline` to everybody, goodbye on multicast, peers written, streams and connections closed. After
    /// `within` the rest is cut off.
    pub async fn shutdown(&self, within: Duration) {
        let Some(mut task) = self.inner.task.lock().await.take() else {
            return;
        };
        self.send(Command::Shutdown).await;
        if timeout(within, &mut task).await.is_err() {
            tracing::warn!("the network did not end in time and was cut off");
        }
    }
}
