//! The task that owns the swarm: what arrives from the network, from discovery, from the handles and from the clock
//! is put into the values ([`PeerTable`], [`DialPlan`]) and what they answer is done.

mod events;
mod presence;
mod swarm;

use std::collections::HashMap;
use std::sync::{Arc, RwLock};
use std::time::{Duration, Instant, SystemTime};

use futures::StreamExt;
use libp2p::gossipsub::IdentTopic;
use libp2p::{Multiaddr, Swarm};
use tokio::sync::{broadcast, mpsc, oneshot, watch};

use crate::PeerId;
use crate::address::{self, Reach};
use crate::dial::DialPlan;
use crate::directory::Directory;
use crate::mdns::codec::Service;
use crate::mdns::socket::{Discovery as MdnsTask, MdnsHealth, Sighting};
use crate::mdns::{Agent, Found};
use crate::net::{Discovery, Listen, LocalProfile, NetConfig, NetError, PeerEvent};
use crate::router::{Router, Serving};
use crate::streams::{OpenError, OpenRequest};
use crate::table::{Lifetimes, PeerRow, PeerTable, TableChange};
use crate::topology::{Connection, Neighbour, Own, Topology, go_duration};

use swarm::Behaviour;

/// How long peers of an earlier run are dialled without any other sign of them.
const TRY_OLD_PEERS: Duration = Duration::from_secs(20);
/// A peer seen on multicast is worth dialling this long; it is seen again every 60 s.
const MDNS_WANTED: Duration = Duration::from_secs(120);
/// Changes of the table are written at most this often.
const SAVE_PAUSE: Duration = Duration::from_secs(10);
/// Streams that wait for one peer's connection.
const MAX_WAITING: usize = 256;
/// How long the last records may take to leave.
const FAREWELL: Duration = Duration::from_millis(400);

/// What handles ask for.
#[derive(Debug)]
pub(crate) enum Command {
    Open(PeerId, OpenRequest),
    Announce(LocalProfile),
    GoOnline,
    SayOffline,
    Probed(PeerId, bool),
    Favorite(PeerId, bool, oneshot::Sender<bool>),
    AddAddrs(PeerId, Vec<Multiaddr>),
    Grace(Duration),
    Topology(oneshot::Sender<Topology>),
    Sync(oneshot::Sender<()>),
    Shutdown,
}

/// What handles may look at without asking.
#[derive(Debug, Clone)]
pub(crate) struct Shared {
    pub(crate) me: PeerId,
    pub(crate) listening: watch::Receiver<Vec<Multiaddr>>,
    pub(crate) rows: watch::Receiver<Arc<Vec<PeerRow>>>,
    pub(crate) events: broadcast::Sender<PeerEvent>,
    pub(crate) mdns: Option<watch::Receiver<MdnsHealth>>,
    protocols: Arc<RwLock<HashMap<PeerId, Vec<libp2p::StreamProtocol>>>>,
}

impl Shared {
    pub(crate) fn speaks(&self, peer: &PeerId, protocol: &str) -> Option<bool> {
        let known = self.protocols.read().unwrap_or_else(std::sync::PoisonError::into_inner);
        known.get(peer).map(|list| list.iter().any(|spoken| spoken.as_ref() == protocol))
    }

    fn note_protocols(&self, peer: PeerId, list: Vec<libp2p::StreamProtocol>) {
        self.protocols.write().unwrap_or_else(std::sync::PoisonError::into_inner).insert(peer, list);
    }

    fn forget_protocols(&self, peer: &PeerId) {
        self.protocols.write().unwrap_or_else(std::sync::PoisonError::into_inner).remove(peer);
    }
}

/// A connection to a peer, for the topology.
#[derive(Debug)]
struct Link {
    addr: Multiaddr,
    since: Instant,
}

pub(crate) struct Host {
    swarm: Swarm<Behaviour>,
    serving: Arc<Serving>,
    topic: IdentTopic,
    reach: Reach,
    started: Instant,
    inbox: mpsc::Receiver<Command>,
    mdns: Option<MdnsTask>,
    table: PeerTable,
    dials: DialPlan,
    directory: Option<Directory>,
    waiting: HashMap<PeerId, Vec<OpenRequest>>,
    links: HashMap<PeerId, Vec<(libp2p::swarm::ConnectionId, Link)>>,
    listening: watch::Sender<Vec<Multiaddr>>,
    rows: watch::Sender<Arc<Vec<PeerRow>>>,
    shared: Shared,
    presence: presence::Presence,
    probes: presence::Probes,
    /// Something in the table changed that readers have not seen.
    stale: bool,
    save_at: Option<Instant>,
}

impl Host {
    pub(crate) async fn new(
        config: NetConfig,
        router: Router,
        inbox: mpsc::Receiver<Command>,
        events: broadcast::Sender<PeerEvent>,
    ) -> Result<(Self, Shared), NetError> {
        let me = config.keypair.public().to_peer_id();
        let reach = match config.listen {
            Listen::Network { .. } => Reach::Network,
            Listen::Loopback => Reach::Loopback,
        };
        let service = match &config.discovery {
            Discovery::Off => None,
            Discovery::Mdns { tag } => {
                Some(Service::of_tag(tag).map_err(|error| NetError::Setting(error.to_string()))?)
            }
        };
        let serving = router.start();
        let topic = IdentTopic::new(config.topic.clone());
        let mut swarm = swarm::build(&config, serving.clone(), &topic).await?;
        swarm::listen(&mut swarm, config.listen).await?;
        let now = Instant::now();
        let mdns = service.map(|service| MdnsTask::start(Agent::new(service, me, now)));
        let (listening, listening_seen) = watch::channel(Vec::new());
        let (rows, rows_seen) = watch::channel(Arc::new(Vec::new()));
        let shared = Shared {
            me,
            listening: listening_seen,
            rows: rows_seen,
            events,
            mdns: mdns.as_ref().map(MdnsTask::health),
            protocols: Arc::default(),
        };
        let mut host = Self {
            swarm,
            serving,
            topic,
            reach,
            started: now,
            inbox,
            mdns,
            table: PeerTable::new(Lifetimes { ttl: config.ttl, grace: config.grace }),
            dials: DialPlan::new(me),
            directory: config.peer_file.as_deref().map(Directory::at),
            waiting: HashMap::new(),
            links: HashMap::new(),
            listening,
            rows,
            shared: shared.clone(),
            presence: presence::Presence::new(config.heartbeat, config.ttl),
            probes: presence::Probes::default(),
            stale: false,
            save_at: None,
        };
        host.remember_old_peers(now);
        host.refresh_listening();
        Ok((host, shared))
    }

    fn remember_old_peers(&mut self, now: Instant) {
        let Some(directory) = &self.directory else { return };
        for row in directory.load() {
            let addrs = address::dialable(row.addrs.iter().map(String::as_str), self.reach);
            self.dials.learn(row.id, addrs, TRY_OLD_PEERS, now);
            if self.table.seed(row, now, SystemTime::now()).is_some() {
                self.stale = true;
            }
        }
    }

    /// Runs until told to shut down.
    pub(crate) async fn run(mut self) {
        loop {
            self.publish_rows();
            let wake = tokio::time::Instant::from_std(self.next_wake());
            tokio::select! {
                event = self.swarm.select_next_some() => self.on_swarm(event),
                command = self.inbox.recv() => match command {
                    Some(Command::Shutdown) | None => break,
                    Some(command) => self.obey(command),
                },
                sighting = next_sighting(self.mdns.as_mut()) => self.on_sighting(sighting),
                (peer, reached) = self.probes.next() => self.on_probed(peer, reached),
                () = tokio::time::sleep_until(wake) => self.tick(Instant::now()),
            }
        }
        self.leave().await;
    }

    fn next_wake(&self) -> Instant {
        // Nothing is ever due later than a heartbeat, which keeps the fallback harmless.
        let far = Instant::now() + Duration::from_secs(60);
        let wakes = [self.table.next_wake(), self.dials.next_wake(), self.presence.next_wake(), self.save_at];
        wakes.into_iter().flatten().min().unwrap_or(far)
    }

    fn tick(&mut self, now: Instant) {
        for change in self.table.tick(now, SystemTime::now()) {
            if let TableChange::Gone(peer) = &change {
                self.dials.forget(peer);
            }
            self.changed(Some(change));
        }
        while let Some(peer) = self.dials.next_due(now) {
            self.dial(peer);
        }
        if self.presence.is_due(now) {
            self.publish(now);
        }
        if self.save_at.is_some_and(|due| due <= now) {
            self.save();
        }
    }

    fn obey(&mut self, command: Command) {
        let now = Instant::now();
        match command {
            Command::Open(peer, request) => self.open(peer, request),
            Command::Announce(profile) => self.presence.set_profile(profile, now),
            Command::GoOnline => {
                self.presence.go_online();
                self.publish(now);
            }
            Command::SayOffline => self.publish_offline(),
            Command::Probed(peer, reached) => self.on_probed(peer, reached),
            Command::Favorite(peer, favorite, reply) => {
                let change = self.table.set_favorite(&peer, favorite);
                let known = change.is_some();
                self.changed(change);
                // A favourite is something the person saved: it is on disk before we say yes.
                let _ = reply.send(known && self.save());
            }
            Command::AddAddrs(peer, addrs) => {
                let addrs = addrs.into_iter().map(address::without_peer).collect();
                self.dials.learn(peer, addrs, MDNS_WANTED, now);
            }
            Command::Grace(grace) => self.table.set_grace(grace),
            Command::Topology(reply) => drop(reply.send(self.topology())),
            Command::Sync(reply) => {
                self.publish_rows();
                let _ = reply.send(());
            }
            Command::Shutdown => {}
        }
    }

    fn open(&mut self, peer: PeerId, request: OpenRequest) {
        let Some(request) = self.swarm.behaviour_mut().streams.open(peer, request) else { return };
        if self.dials.addrs(&peer).is_empty() {
            let nobody = "nobody on the network knows where it is".to_owned();
            let _ = request.reply.send(Err(OpenError::Unreachable(nobody)));
            return;
        }
        let waiting = self.waiting.entry(peer).or_default();
        if waiting.len() >= MAX_WAITING {
            let _ = request.reply.send(Err(OpenError::Unreachable("too many streams wait for it".to_owned())));
            return;
        }
        waiting.push(request);
        if self.dials.take(&peer) {
            self.dial(peer);
        }
    }

    fn on_sighting(&mut self, sighting: Sighting) {
        let now = Instant::now();
        match sighting {
            Sighting::Found(Found { peer, addrs }) => {
                let mut addrs: Vec<Multiaddr> =
                    addrs.into_iter().filter(|addr| address::plausible(addr, self.reach)).collect();
                addrs.dedup();
                self.dials.learn(peer, addrs, MDNS_WANTED, now);
            }
            // Its connections tell more reliably whether it is there.
            Sighting::Gone(peer) => {
                if !self.swarm.behaviour().streams.is_connected(&peer) {
                    self.dials.forget(&peer);
                }
            }
        }
    }

    fn changed(&mut self, change: Option<TableChange>) {
        let Some(change) = change else { return };
        self.stale = true;
        self.save_at.get_or_insert_with(|| Instant::now() + SAVE_PAUSE);
        let event = match change {
            TableChange::Gone(peer) => PeerEvent::Gone(peer),
            TableChange::Changed(peer) => match self.table.get(&peer) {
                Some(row) => PeerEvent::Changed(Box::new(row.clone())),
                None => return,
            },
        };
        // Nobody listening is fine.
        let _ = self.shared.events.send(event);
    }

    /// Shows readers the newest table; many changes in a row are one copy.
    fn publish_rows(&mut self) {
        if std::mem::take(&mut self.stale) {
            self.rows.send_replace(Arc::new(self.table.rows()));
            #[expect(clippy::cast_precision_loss, reason = "a gauge of at most some thousand peers")]
            metrics::gauge!("goop_net_peers").set(self.table.len() as f64);
        }
    }

    fn save(&mut self) -> bool {
        self.save_at = None;
        let Some(directory) = &self.directory else { return true };
        match directory.save(&self.table.rows()) {
            Ok(()) => true,
            Err(error) => {
                tracing::warn!(%error, "the known peers could not be saved");
                false
            }
        }
    }

    fn refresh_listening(&mut self) {
        let addrs: Vec<Multiaddr> = self.swarm.listeners().cloned().collect();
        let told = address::published(&addrs, self.reach);
        if let Some(mdns) = &self.mdns {
            mdns.set_addrs(told.clone());
        }
        self.presence.set_addrs(told.iter().map(ToString::to_string).collect(), Instant::now());
        self.listening.send_replace(addrs);
    }

    fn topology(&self) -> Topology {
        let now = Instant::now();
        let label_of = |peer: &PeerId| {
            let id = peer.to_base58();
            let name = self.table.get(peer).map(|row| row.content.clone()).filter(|name| !name.is_empty());
            name.unwrap_or_else(|| id.chars().take(8).collect())
        };
        let mut connected: Vec<(&PeerId, &Vec<_>)> = self.links.iter().collect();
        connected.sort_by_key(|(peer, _)| peer.to_base58());
        let mut peers: Vec<Neighbour> = connected
            .into_iter()
            .filter_map(|(peer, links)| {
                let direct = links.iter().find(|(_, link)| !address::is_relayed(&link.addr));
                let (_, link) = direct.or_else(|| links.first())?;
                let row = self.table.get(peer);
                Some(Neighbour {
                    id: peer.to_base58(),
                    label: label_of(peer),
                    reachable: row.is_some_and(|row| row.reachable),
                    connection: if direct.is_some() { Connection::Direct } else { Connection::Relay },
                    addr: address::without_peer(link.addr.clone()).to_string(),
                    age: go_duration(now.saturating_duration_since(link.since)),
                    streams: links.len(),
                    encryption_supported: row.is_some_and(|row| row.encryption_supported),
                })
            })
            .collect();
        let known = self.table.rows();
        peers.extend(known.iter().filter(|row| !self.links.contains_key(&row.id)).map(|row| Neighbour {
            id: row.id.to_base58(),
            label: label_of(&row.id),
            reachable: row.reachable,
            connection: Connection::None,
            addr: String::new(),
            age: String::new(),
            streams: 0,
            encryption_supported: row.encryption_supported,
        }));
        Topology {
            own: Own {
                id: self.shared.me.to_base58(),
                label: self.presence.profile().label.clone(),
                has_circuit: false,
                connected_peers: self.links.len(),
                streams: 0,
                uptime: go_duration(now.saturating_duration_since(self.started)),
                encryption_supported: self.presence.profile().encryption_supported,
            },
            relay: None,
            peers: (!peers.is_empty()).then_some(peers),
        }
    }

    /// The way out: `offline` first, while there are connections to say it on.
    async fn leave(mut self) {
        self.publish_offline();
        self.save();
        let until = tokio::time::Instant::now() + FAREWELL;
        if let Some(mdns) = self.mdns.take() {
            let _ = tokio::time::timeout_at(until, mdns.shutdown()).await;
        }
        // Records leave as the swarm is polled; without connections there is nobody to tell.
        while !self.links.is_empty() {
            match tokio::time::timeout_at(until, self.swarm.select_next_some()).await {
                Ok(event) => self.on_swarm(event),
                Err(_) => break,
            }
        }
        self.serving.shutdown().await;
    }
}

async fn next_sighting(mdns: Option<&mut MdnsTask>) -> Sighting {
    match mdns {
        Some(mdns) => match mdns.next().await {
            Some(sighting) => sighting,
            None => std::future::pending().await,
        },
        None => std::future::pending().await,
    }
}
