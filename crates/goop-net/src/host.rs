//! The task that owns the swarm: what arrives from the network, from discovery, from the handles and from the clock
//! is put into the values ([`PeerTable`], [`DialPlan`], [`Announcer`], [`Gate`], [`Probes`]) and what they answer is
//! done.

mod addresses;
mod checking;
mod dialling;
mod doubt;
mod events;
mod mapping;
mod probing;
mod punching;
mod relaying;
mod routes;
mod saving;
mod swarm;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
mod websocket;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use futures::StreamExt;
use libp2p::gossipsub::IdentTopic;
use libp2p::swarm::ConnectionId;
use libp2p::{Multiaddr, StreamProtocol, Swarm};
use tokio::sync::{broadcast, mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::timeout_at;

use crate::PeerId;
use crate::address::{self, Reach, Vicinity};
use crate::autonat::Dialled;
use crate::circuit::transport::{self, Circuits};
use crate::config::{Discovery, Listen, LocalProfile, NetConfig, NetError};
use crate::dial::DialPlan;
use crate::directory::Directory;
use crate::fallback::Fallback;
use crate::links::{Links, OpenError, Opener};
use crate::mdns::codec::Service;
use crate::mdns::socket::{Discovery as MdnsTask, MdnsHealth, Sighting};
use crate::mdns::{Agent, Found};
use crate::net::{FavoriteError, PeerEvent};
use crate::observed::Observed;
use crate::outside::Outside;
use crate::presence::{Announcer, Gate};
use crate::reach::Probes;
use crate::relay::{RelayInfo, RelayPlan, RelayState};
use crate::router::{Router, Serving};
use crate::table::{Lifetimes, PeerRow, PeerTable, TableChange};

use goop_identity::presence::PresenceMessage;

use addresses::Candidates;
use checking::{Around, Checking, Proofs};
use doubt::Doubts;
use mapping::Mapping;
use punching::Punching;
use routes::View;
use saving::Saving;
use swarm::Behaviour;

/// How long peers of an earlier run are dialled without any other sign of them.
const TRY_OLD_PEERS: Duration = Duration::from_secs(20);
/// An address from a handle is worth dialling this long.
const WANTED: Duration = Duration::from_secs(120);
/// How long the last record may take to reach the neighbours before connections are closed. It crosses a LAN in
/// milliseconds; there is nothing to ask whether it arrived.
const LAST_WORDS: Duration = Duration::from_millis(150);
/// How long closing the connections may take.
const CLOSING: Duration = Duration::from_millis(300);
/// Pause after showing the table, for each peer in it: a hundred times what copying one costs.
const COPYING: Duration = Duration::from_micros(20);
/// A wake-up when nothing else is due; only a bound.
const IDLE: Duration = Duration::from_secs(3_600);

/// What handles ask for.
#[derive(Debug)]
pub(crate) enum Command {
    /// A stream needs a connection.
    Connect(PeerId, oneshot::Sender<Result<(), OpenError>>),
    Probe(PeerId, oneshot::Sender<bool>),
    Favorite(PeerId, bool, oneshot::Sender<Result<(), FavoriteError>>),
    AddAddrs(PeerId, Vec<Multiaddr>),
    Grace(Duration),
    SayOffline,
    /// The relay to use.
    Relay(Option<RelayInfo>),
    /// The relay asks us to be reachable again.
    Pulse,
    /// A rendezvous passed a record on.
    Heard(Box<PresenceMessage>),
    /// It was agreed to dial a peer at these addresses now.
    Punch(PeerId, Vec<Multiaddr>),
    /// Somebody has one of its addresses dialled, with this nonce for proof.
    DialBack(PeerId, Multiaddr, u64, oneshot::Sender<Dialled>),
    /// The network around us changed.
    NetworkChanged,
    /// Answered when everything before it is done and shown.
    Sync(oneshot::Sender<()>),
    Shutdown,
}

/// What we say about ourselves, as handles set it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Say {
    pub(crate) profile: LocalProfile,
    pub(crate) online: bool,
}

/// What handles may look at and set without asking.
#[derive(Debug, Clone)]
pub(crate) struct Shared {
    pub(crate) me: PeerId,
    pub(crate) started: Instant,
    pub(crate) say: watch::Sender<Say>,
    pub(crate) listening: watch::Receiver<Vec<Multiaddr>>,
    pub(crate) rows: watch::Receiver<Arc<Vec<PeerRow>>>,
    pub(crate) events: broadcast::Sender<PeerEvent>,
    pub(crate) mdns: Option<watch::Receiver<MdnsHealth>>,
    pub(crate) relay_state: watch::Receiver<RelayState>,
    /// The relay in use, and whether others reach us through it.
    pub(crate) relay_info: watch::Receiver<(Option<RelayInfo>, bool)>,
    pub(crate) own_record: watch::Receiver<Option<PresenceMessage>>,
    pub(crate) outside: watch::Receiver<Outside>,
    pub(crate) ttl: Duration,
    pub(crate) protocols: Arc<[StreamProtocol]>,
}

pub(crate) struct Host {
    me: PeerId,
    swarm: Swarm<Behaviour>,
    serving: Arc<Serving>,
    links: Arc<Links>,
    commands: mpsc::WeakSender<Command>,
    inbox: mpsc::Receiver<Command>,
    say: watch::Receiver<Say>,
    topic: IdentTopic,
    vicinity: Vicinity,
    mdns: Option<MdnsTask>,
    table: PeerTable,
    dials: DialPlan,
    /// Who waits for a connection.
    waiting: HashMap<PeerId, Vec<oneshot::Sender<Result<(), OpenError>>>>,
    presence: Announcer,
    gate: Gate,
    probes: Probes,
    probing: JoinSet<(PeerId, bool)>,
    /// Who waits for a probe.
    curious: HashMap<PeerId, Vec<oneshot::Sender<bool>>>,
    doubts: Doubts,
    saving: Saving,
    relay: RelayPlan,
    reserving: JoinSet<relaying::Answer>,
    relay_peer: watch::Sender<Option<PeerId>>,
    relay_state: watch::Sender<RelayState>,
    relay_info: watch::Sender<(Option<RelayInfo>, bool)>,
    fallback: Fallback,
    /// Dials through relays that are under way.
    circuit_dials: HashMap<ConnectionId, PeerId>,
    /// The newest dial of each peer at its own addresses, while it is under way.
    direct_dials: HashMap<PeerId, ConnectionId>,
    /// The newest dials of the relay for the plan, while they are under way.
    relay_dials: HashSet<ConnectionId>,
    /// Relays of others, which are left when nothing runs through them.
    foreign_relays: HashMap<PeerId, Instant>,
    punching: Punching,
    observed: Observed,
    checking: Checking,
    /// From where others are looked at.
    around: watch::Sender<Around>,
    mapping: Mapping,
    /// Where we may be met when a hole is punched.
    candidates: watch::Sender<Candidates>,
    /// The connection by which the relay is to see our TCP port, until it said what it sees.
    looking: Option<ConnectionId>,
    own_record: watch::Sender<Option<PresenceMessage>>,
    /// How we look from outside.
    outside: watch::Sender<Outside>,
    /// Where we listen, as far as others can do something with it.
    own_addrs: Vec<Multiaddr>,
    /// There were such addresses before.
    was_somewhere: bool,
    /// What others are told about where we are.
    published: Vec<Multiaddr>,
    listening: watch::Sender<Vec<Multiaddr>>,
    rows: watch::Sender<Arc<Vec<PeerRow>>>,
    events: broadcast::Sender<PeerEvent>,
    /// Something in the table changed that readers have not seen.
    stale: bool,
    /// Only times of last signs of life changed.
    aged: bool,
    /// The next time readers may be shown a new table.
    show_at: Instant,
}

impl Host {
    pub(crate) async fn new(
        config: NetConfig,
        router: Router,
        commands: mpsc::WeakSender<Command>,
        inbox: mpsc::Receiver<Command>,
        events: broadcast::Sender<PeerEvent>,
    ) -> Result<(Self, Shared), NetError> {
        let me = config.keypair.public().to_peer_id();
        let service = match &config.discovery {
            Discovery::Off => None,
            Discovery::Mdns { tag } => {
                Some(Service::of_tag(tag).map_err(|error| NetError::Setting(error.to_string()))?)
            }
        };
        let links = Arc::new(Links::default());
        let opener = Opener {
            me,
            links: links.clone(),
            commands: commands.clone(),
        };
        let (arrivals, arrived) = mpsc::channel(transport::QUEUE);
        let (relay_peer, relay_seen) = watch::channel(None);
        let (relay_state, relay_state_seen) = watch::channel(RelayState::default());
        let (relay_info, relay_info_seen) = watch::channel((None, false));
        let (candidates, candidates_seen) = watch::channel(Candidates::default());
        let (own_record, own_record_seen) = watch::channel(None);
        let (outside, outside_seen) = watch::channel(Outside::default());
        let reach = match config.listen {
            Listen::Lan { .. } => Reach::Network,
            Listen::Loopback { .. } => Reach::Loopback,
        };
        let vicinity = Vicinity::new(reach);
        let (around, around_seen) = watch::channel(Around {
            vicinity,
            ours: Vec::new(),
        });
        let proofs = Proofs::default();
        let view = View {
            commands: commands.clone(),
            links: links.clone(),
            arrivals,
            relay: relay_seen,
            relay_state: relay_state_seen.clone(),
            candidates: candidates_seen,
            around: around_seen,
            proofs: proofs.clone(),
        };
        let serving = routes::add(router, &view).start();
        let circuits = Circuits::new(opener, arrived);
        let topic = IdentTopic::new(config.topic.clone());
        let mut swarm =
            swarm::build(&config, serving.clone(), links.clone(), circuits, &topic).await?;
        swarm::listen(&mut swarm, &config)?;
        let now = Instant::now();
        let mdns = service.map(|service| MdnsTask::start(Agent::new(service, me, now)));
        let (say, said) = watch::channel(Say::default());
        let (listening, listening_seen) = watch::channel(Vec::new());
        let (rows, rows_seen) = watch::channel(Arc::new(Vec::new()));
        let shared = Shared {
            me,
            started: now,
            say,
            listening: listening_seen,
            rows: rows_seen,
            events: events.clone(),
            mdns: mdns.as_ref().map(MdnsTask::health),
            relay_state: relay_state_seen,
            relay_info: relay_info_seen,
            own_record: own_record_seen,
            outside: outside_seen,
            ttl: config.ttl,
            protocols: serving.protocols().clone(),
        };
        let directory = config.peer_file.as_deref().map(Directory::at);
        let known = directory.as_ref().map(Directory::load).unwrap_or_default();
        let mut host = Self {
            me,
            swarm,
            serving,
            links,
            commands,
            inbox,
            say: said,
            topic,
            vicinity,
            mdns,
            table: PeerTable::new(Lifetimes {
                ttl: config.ttl,
                grace: config.grace,
            }),
            dials: DialPlan::new(me),
            waiting: HashMap::new(),
            presence: Announcer::new(me, config.heartbeat, now),
            gate: Gate::new(me, now),
            probes: Probes::default(),
            probing: JoinSet::new(),
            curious: HashMap::new(),
            doubts: Doubts::default(),
            saving: Saving::new(directory),
            relay: RelayPlan::new(reach, now),
            reserving: JoinSet::new(),
            relay_peer,
            relay_state,
            relay_info,
            fallback: Fallback::new(),
            circuit_dials: HashMap::new(),
            direct_dials: HashMap::new(),
            relay_dials: HashSet::new(),
            foreign_relays: HashMap::new(),
            punching: Punching::new(now),
            observed: Observed::default(),
            checking: Checking::new(proofs, now),
            around,
            mapping: Mapping::new(config.port_mapping && reach == Reach::Network),
            candidates,
            looking: None,
            own_record,
            outside,
            own_addrs: Vec::new(),
            was_somewhere: false,
            published: Vec::new(),
            listening,
            rows,
            events,
            stale: false,
            aged: false,
            show_at: now,
        };
        host.remember(known, now);
        host.show();
        Ok((host, shared))
    }

    /// Opens streams for handles.
    pub(crate) fn opener(&self) -> Opener {
        Opener {
            me: self.me,
            links: self.links.clone(),
            commands: self.commands.clone(),
        }
    }

    /// Peers of an earlier run: listed as offline, and looked for where they were.
    fn remember(&mut self, known: Vec<PeerRow>, now: Instant) {
        for row in known {
            let addrs = self
                .vicinity
                .dialable(&row.id, row.addrs.iter().map(String::as_str));
            self.dials.learn(row.id, addrs, TRY_OLD_PEERS, now);
            self.stale |= !self.table.seed(row, now, SystemTime::now()).is_empty();
        }
    }

    /// Runs until told to shut down, or until the last handle is gone.
    pub(crate) async fn run(mut self) {
        let mut sleep = Box::pin(tokio::time::sleep(Duration::ZERO));
        loop {
            self.show_if_due(Instant::now());
            let wake = self.next_wake().into();
            if sleep.deadline() != wake {
                sleep.as_mut().reset(wake);
            }
            tokio::select! {
                event = self.swarm.select_next_some() => self.on_swarm(event),
                command = self.inbox.recv() => match command {
                    Some(Command::Shutdown) | None => break,
                    Some(command) => self.obey(command),
                },
                Ok(()) = self.say.changed() => self.heed(),
                sighting = next_sighting(self.mdns.as_mut()) => self.on_sighting(sighting),
                Some(probed) = self.probing.join_next() => self.on_probe_task(probed),
                Some(answered) = self.reserving.join_next() => self.on_reserve_task(answered),
                Some(step) = self.punching.next() => self.on_step(step),
                Some(doubt) = self.doubts.next() => self.on_doubt(doubt),
                () = self.saving.finished() => {}
                Some(answered) = self.mapping.next() => self.on_mapping(answered),
                Some(done) = self.checking.next() => self.on_checking(done),
                () = &mut sleep => self.tick(Instant::now()),
            }
        }
        self.leave().await;
    }

    fn next_wake(&self) -> Instant {
        let wakes = [
            self.table.next_wake(),
            self.dials.next_wake(),
            self.presence.next_wake(),
            self.probes.next_wake(),
            self.saving.next_wake(),
            self.relay.next_wake(),
            self.fallback.next_wake(),
            self.punching.sweep_at,
            self.mapping.try_at,
            self.checking.next_wake(),
            self.stale.then_some(self.show_at),
        ];
        wakes
            .into_iter()
            .flatten()
            .min()
            .unwrap_or_else(|| Instant::now() + IDLE)
    }

    fn tick(&mut self, now: Instant) {
        let changes = self.table.tick(now, SystemTime::now());
        self.changed(changes);
        while let Some(peer) = self.dials.next_due(now) {
            self.dial(peer);
        }
        while let Some(peer) = self.fallback.next_due(now) {
            self.dial_through_relay(peer);
        }
        if self.relay.next_wake().is_some_and(|at| at <= now) {
            self.relay.tick(now);
            self.settle_relay(now);
        }
        self.sweep(now);
        self.map_port(now);
        self.check(now);
        if let Some(record) = self.presence.tick(now, unix_millis()) {
            self.send_record(record);
            self.show_quietly();
        }
        for peer in self.probes.tick(now) {
            self.probe(peer, None);
        }
        // From the table itself: what readers were shown may be older than what somebody wants saved.
        let table = &self.table;
        self.saving.start(now, || Arc::new(table.rows()));
    }

    fn obey(&mut self, command: Command) {
        let now = Instant::now();
        match command {
            Command::Connect(peer, reply) => self.connect(peer, reply),
            Command::Probe(peer, reply) => self.probe(peer, Some(reply)),
            Command::Favorite(peer, favorite, reply) => {
                match self.table.set_favorite(&peer, favorite) {
                    Some(change) => {
                        self.changed(Some(change));
                        self.saving.now(now, reply);
                    }
                    None => drop(reply.send(Err(FavoriteError::UnknownPeer))),
                }
            }
            Command::AddAddrs(peer, addrs) => {
                let circuits = addrs.iter().filter_map(address::Circuit::parse).collect();
                self.fallback.learn(peer, circuits, now);
                let direct = addrs.into_iter().filter(|addr| !address::is_relayed(addr));
                let addrs = direct.map(address::without_peer).collect();
                self.dials.learn(peer, addrs, WANTED, now);
            }
            Command::Grace(grace) => self.table.set_grace(grace),
            Command::SayOffline => self.publish_offline(),
            Command::Relay(info) => self.set_relay(info),
            Command::Pulse => {
                self.relay.pulse(now);
                self.settle_relay(now);
            }
            Command::Heard(message) => self.on_rendezvous(*message),
            Command::Punch(peer, addrs) => self.punch(peer, addrs, false),
            Command::DialBack(peer, addr, nonce, reply) => {
                self.dial_back(peer, addr, nonce, reply);
            }
            Command::NetworkChanged => self.moved(now),
            Command::Sync(reply) => {
                self.show();
                let _ = reply.send(());
            }
            Command::Shutdown => {}
        }
    }

    /// What we say about ourselves changed.
    fn heed(&mut self) {
        let now = Instant::now();
        let say = self.say.borrow_and_update().clone();
        self.presence.set_profile(say.profile, now);
        if say.online {
            self.presence.go_online(now);
        }
    }

    fn on_sighting(&mut self, sighting: Sighting) {
        let now = Instant::now();
        match sighting {
            Sighting::Found(Found { peer, addrs, ttl }) => {
                let addrs = self.vicinity.believed(&peer, addrs);
                self.dials.learn(peer, addrs, ttl, now);
            }
            // Its connections tell more reliably whether it is there.
            Sighting::Gone(peer) => {
                if !self.links.is_connected(&peer) {
                    self.dials.forget(&peer);
                }
            }
        }
    }

    fn changed(&mut self, changes: impl IntoIterator<Item = TableChange>) {
        for change in changes {
            let event = match change {
                // Shown with whatever changes next, and at the next heartbeat.
                TableChange::Seen(_) => {
                    self.aged = true;
                    continue;
                }
                TableChange::Gone(peer) => {
                    self.dials.forget(&peer);
                    self.fallback.forget(&peer);
                    PeerEvent::Gone(peer)
                }
                TableChange::Changed(peer) => match self.table.get(&peer) {
                    Some(row) => PeerEvent::Changed(Box::new(row.clone())),
                    None => continue,
                },
            };
            self.stale = true;
            self.saving.later(Instant::now());
            // Nobody listening is fine.
            let _ = self.events.send(event);
        }
    }

    fn show_if_due(&mut self, now: Instant) {
        if self.stale && now >= self.show_at {
            self.show();
        }
    }

    /// Shows readers the newest table. Many changes in a row are one copy, and a large table is copied less often:
    /// thousands of peers that announce themselves at once would keep us copying.
    fn show(&mut self) {
        if std::mem::take(&mut self.stale) {
            self.aged = false;
            let peers = u32::try_from(self.table.len()).unwrap_or(u32::MAX);
            self.show_at = Instant::now() + COPYING.saturating_mul(peers);
            self.rows.send_replace(Arc::new(self.table.rows()));
            #[expect(
                clippy::cast_precision_loss,
                reason = "a gauge of at most some thousand peers"
            )]
            metrics::gauge!("goop_net_peers").set(self.table.len() as f64);
        }
    }

    /// Who looks now sees newer times; nobody is woken for them.
    fn show_quietly(&mut self) {
        if std::mem::take(&mut self.aged) {
            let newer = Arc::new(self.table.rows());
            self.rows.send_if_modified(|rows| {
                *rows = newer;
                false
            });
        }
    }

    /// The way out: `offline` first, while there are connections to say it on.
    async fn leave(mut self) {
        self.publish_offline();
        for reply in self.waiting.drain().flat_map(|(_, waiting)| waiting) {
            let _ = reply.send(Err(OpenError::Closed));
        }
        self.probing.shutdown().await;
        self.doubts.shutdown().await;
        self.reserving.shutdown().await;
        self.punching.shutdown().await;
        self.checking.shutdown().await;
        let begun = tokio::time::Instant::now();
        let mdns = self.mdns.take();
        let goodbye = async {
            if let Some(mdns) = mdns {
                let _ = timeout_at(begun + LAST_WORDS, mdns.shutdown()).await;
            }
        };
        let rows = Arc::new(self.table.rows());
        tokio::join!(
            goodbye,
            async {
                let _ = timeout_at(begun + LAST_WORDS, self.mapping.give_back()).await;
            },
            self.saving.flush(|| rows),
            self.serving.shutdown(),
            async {
                // Records leave as the swarm is polled.
                while self.swarm.connected_peers().next().is_some() {
                    if timeout_at(begun + LAST_WORDS, self.swarm.select_next_some())
                        .await
                        .is_err()
                    {
                        break;
                    }
                }
            }
        );
        let connected: Vec<PeerId> = self.swarm.connected_peers().copied().collect();
        for peer in connected {
            // Closed in the meantime.
            let _ = self.swarm.disconnect_peer_id(peer);
        }
        let until = tokio::time::Instant::now() + CLOSING;
        while self.swarm.connected_peers().next().is_some() {
            if timeout_at(until, self.swarm.select_next_some())
                .await
                .is_err()
            {
                break;
            }
        }
    }
}

/// The wall clock, as records carry it.
fn unix_millis() -> i64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
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
