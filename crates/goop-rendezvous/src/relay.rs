//! The circuit relay: peers that nobody can dial are reached over it (rendezvous.md 11, network.md 10).
//!
//! A libp2p host of its own, with a key of its own: one task owns its swarm and ends with the server. What a person needs
//! to know of it stands in its lines. Peers are told where it is by [`Relay::info`]; where the server's public name leads
//! is looked up again every [`LOOK_UP_EVERY`], because home connections change (weak point 32).

mod addresses;
mod ask;
mod boxed;
mod crowd;
mod places;

use std::collections::{BTreeMap, HashMap};
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures::StreamExt;
use goop_identity::PeerId;
use goop_identity::key::{self, KeyError};
use libp2p::connection_limits::{self, ConnectionLimits};
use libp2p::core::ConnectedPoint;
use libp2p::swarm::{ConnectionId, NetworkBehaviour, SwarmEvent};
use libp2p::{Multiaddr, Swarm, SwarmBuilder, identify, noise, ping, quic, relay, tcp, tls, yamux};
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

use crate::hub::Hub;
use crate::lines::Lines;
use crate::settings::{RelayLimits, RelaySettings};
use crate::wire::RelayInfo;

use addresses::Addresses;
use boxed::Boxed;
use crowd::Crowd;
use places::Places;

pub(crate) use ask::{AskError, direction, go_duration};

/// How often it is looked up where the server's name leads.
const LOOK_UP_EVERY: Duration = Duration::from_secs(5 * 60);
/// How long that may take.
const LOOK_UP_WITHIN: Duration = Duration::from_secs(10);
/// How often the relay says who is connected (rendezvous.md 11.4).
const REPORT_EVERY: Duration = Duration::from_secs(60);
/// Connections of one peer (network.md 2.2).
const MAX_PER_PEER: u32 = 8;
/// Connections being set up at once.
const MAX_PENDING: u32 = 256;
/// Connections for each reservation that may be had: those who dial over the relay are connected, too.
const CONNECTIONS_PER_RESERVATION: u32 = 16;
/// Of all of these, and of those being set up, one address gets this part: a school behind one router finds room, and a
/// flood leaves most of it to others.
const PART_OF_ADDRESS: u32 = 4;
/// How long setting up a connection may take.
const CONNECT: Duration = Duration::from_secs(10);
/// Peers that are silent for longer are asked for a sign of life; their reservation is gone with the connection.
const PING_EVERY: Duration = Duration::from_secs(15);
/// How long the answer may take.
const PING_WITHIN: Duration = Duration::from_secs(10);
/// Streams of one connection: a circuit takes two.
const MAX_STREAMS: usize = 1_024;
/// Streams of a peer beside its circuits: reservations, signs of life, who it is.
const OTHER_STREAMS: usize = 32;
/// Bytes of a QUIC stream in flight, as our peers have it: a gigabit at 20 ms.
const QUIC_STREAM_WINDOW: u32 = 2_560 * 1024;
/// Questions from pages that wait.
const INBOX: usize = 16;

/// Why the relay does not start.
#[derive(Debug, thiserror::Error)]
pub enum RelayError {
    /// Its key file is there and not usable, or cannot be made. It is never overwritten (weak point 34).
    #[error("the relay's key: {0}")]
    Key(#[from] KeyError),
    /// The port is taken or not allowed.
    #[error(
        "the relay cannot listen on port {port}: {reason}. End the program that has the port, or change presence.{setting} in \
         goop.json"
    )]
    Port {
        /// Which setting names it.
        setting: &'static str,
        /// The port.
        port: u16,
        /// What the system said.
        reason: String,
    },
    /// libp2p refused.
    #[error("the relay does not start: {0}")]
    Other(String),
}

/// One connection of the relay.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Link {
    pub(crate) peer: PeerId,
    pub(crate) addr: Multiaddr,
    pub(crate) outbound: bool,
    pub(crate) since: Instant,
    pub(crate) reserved: bool,
}

enum Command {
    Links(oneshot::Sender<Vec<Link>>),
}

/// The relay, as the rest of the server talks to it. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Relay {
    pub(crate) peer_id: PeerId,
    pub(crate) settings: RelaySettings,
    pub(crate) lines: Lines,
    commands: mpsc::Sender<Command>,
    streams: libp2p_stream::Control,
    info: watch::Receiver<Vec<String>>,
}

impl std::fmt::Debug for Relay {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Relay")
            .field("peer_id", &self.peer_id)
            .finish_non_exhaustive()
    }
}

impl Relay {
    /// What `/relay` says.
    pub(crate) fn info(&self) -> RelayInfo {
        let timing = &self.settings.timing;
        RelayInfo {
            peer_id: self.peer_id.to_base58(),
            addrs: self.info.borrow().clone(),
            cleanup_delay_sec: timing.cleanup_delay_sec,
            poll_deadline_sec: timing.poll_deadline_sec,
            connect_timeout_sec: timing.connect_timeout_sec,
            refresh_interval_sec: timing.refresh_interval_sec,
            recovery_grace_sec: timing.recovery_grace_sec,
        }
    }

    /// Its connections, oldest first. None when the server ends.
    pub(crate) async fn links(&self) -> Vec<Link> {
        let (reply, answer) = oneshot::channel();
        if self.commands.send(Command::Links(reply)).await.is_err() {
            return Vec::new();
        }
        answer.await.unwrap_or_default()
    }
}

#[derive(NetworkBehaviour)]
struct Behaviour {
    crowd: Crowd,
    limits: connection_limits::Behaviour,
    relay: relay::Behaviour,
    identify: identify::Behaviour,
    ping: ping::Behaviour,
    streams: libp2p_stream::Behaviour,
}

/// A relay that listens, and does nothing until [`Running::run`].
pub(crate) struct Running {
    swarm: Swarm<Boxed<Behaviour>>,
    commands: mpsc::Receiver<Command>,
    addresses: Addresses,
    links: BTreeMap<ConnectionId, Link>,
    circuits: usize,
    places: Arc<Mutex<Places>>,
    relay: Relay,
}

impl std::fmt::Debug for Running {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Running").finish_non_exhaustive()
    }
}

/// What a QUIC connection may have open and under way. The library reserves room for every stream that may be opened, and
/// a window is what the relay keeps for a reader that pauses.
fn quic_config(mut quic: quic::Config, limits: &RelayLimits) -> quic::Config {
    let streams = limits.circuits_per_peer.saturating_add(OTHER_STREAMS);
    quic.max_concurrent_stream_limit = u32::try_from(streams).unwrap_or(u32::MAX);
    quic.max_stream_data = QUIC_STREAM_WINDOW;
    quic.max_connection_data = 2 * QUIC_STREAM_WINDOW;
    quic
}

fn limits(limits: &RelayLimits, places: Arc<Mutex<Places>>) -> relay::Config {
    let per_peer = NonZeroU32::new(limits.requests_per_minute).unwrap_or(NonZeroU32::MIN);
    let per_address =
        NonZeroU32::new(limits.requests_per_minute.saturating_mul(10)).unwrap_or(NonZeroU32::MIN);
    let every = |count: NonZeroU32| Duration::from_secs(60) / count.get();
    let config = relay::Config {
        // Counted by the places.
        max_reservations: usize::MAX,
        // One in effect, as in go-libp2p: a peer has one for each connection here.
        max_reservations_per_peer: MAX_PER_PEER as usize,
        reservation_duration: Duration::from_secs(limits.reservation_seconds),
        reservation_rate_limiters: Vec::new(),
        max_circuits: limits.circuits,
        max_circuits_per_peer: limits.circuits_per_peer,
        max_circuit_duration: Duration::from_secs(limits.circuit_seconds),
        max_circuit_bytes: limits.circuit_bytes,
        circuit_src_rate_limiters: Vec::new(),
    };
    let mut config = config
        .reservation_rate_per_peer(per_peer, every(per_peer))
        .reservation_rate_per_ip(per_address, every(per_address))
        .circuit_src_per_peer(per_peer, every(per_peer))
        .circuit_src_per_ip(per_address, every(per_address));
    // Asked last: what passes takes a place.
    let take = move |peer: PeerId, addr: &Multiaddr, _| {
        let mut places = places.lock().unwrap_or_else(PoisonError::into_inner);
        places.take(peer, crowd::ip_of(addr))
    };
    config.reservation_rate_limiters.push(Box::new(take));
    config
}

/// Starts the relay: reads or makes its key, and listens.
///
/// # Errors
/// See [`RelayError`].
pub(crate) async fn start(
    settings: RelaySettings,
    external: Option<url::Url>,
) -> Result<(Relay, Running), RelayError> {
    let keypair = key::load_or_create(&settings.key_file)?;
    let peer_id = keypair.public().to_peer_id();
    let other = |error: &dyn std::fmt::Display| RelayError::Other(error.to_string());
    let streams = libp2p_stream::Behaviour::new();
    let control = streams.new_control();
    let most = u32::try_from(settings.limits.reservations).unwrap_or(u32::MAX);
    let most = most.saturating_mul(CONNECTIONS_PER_RESERVATION);
    let part = |of: u32| usize::try_from(of.div_ceil(PART_OF_ADDRESS)).unwrap_or(usize::MAX);
    let places = Places::new(
        settings.limits.reservations,
        settings.limits.reservations_per_address,
    );
    let places = Arc::new(Mutex::new(places));
    let connections = ConnectionLimits::default()
        .with_max_established(Some(most))
        .with_max_established_per_peer(Some(MAX_PER_PEER))
        .with_max_pending_incoming(Some(MAX_PENDING));
    let public = keypair.public();
    let behaviour = Behaviour {
        crowd: Crowd::new(part(most), part(MAX_PENDING)),
        limits: connection_limits::Behaviour::new(connections),
        relay: relay::Behaviour::new(peer_id, limits(&settings.limits, places.clone())),
        identify: identify::Behaviour::new(
            identify::Config::new(String::new(), public)
                .with_agent_version(format!("goop2-rendezvous/{}", env!("CARGO_PKG_VERSION")))
                .with_cache_size(0),
        ),
        ping: ping::Behaviour::new(
            ping::Config::new()
                .with_interval(PING_EVERY)
                .with_timeout(PING_WITHIN),
        ),
        streams,
    };
    let muxer = || {
        let mut config = yamux::Config::default();
        config.set_max_num_streams(MAX_STREAMS);
        config
    };
    let security = (tls::Config::new, noise::Config::new);
    let mut swarm = SwarmBuilder::with_existing_identity(keypair)
        .with_tokio()
        .with_tcp(tcp::Config::default().nodelay(true), security, muxer)
        .map_err(|error| other(&error))?
        .with_quic_config(|quic| quic_config(quic, &settings.limits))
        .with_dns_config(
            libp2p::dns::ResolverConfig::default(),
            libp2p::dns::ResolverOpts::default(),
        )
        .with_websocket(security, muxer)
        .await
        .map_err(|error| other(&error))?
        .with_behaviour(|_| Boxed(behaviour))
        .map_err(|error| other(&error))?
        .with_swarm_config(|config| {
            // Peers that hold a reservation are silent most of the time.
            config.with_idle_connection_timeout(Duration::from_secs(u64::from(u32::MAX)))
        })
        .with_connection_timeout(CONNECT)
        .build();
    addresses::listen(&mut swarm, &settings)?;
    let lines = Lines::default();
    lines.push(&format!("relay {peer_id} on port {}", settings.port));
    let (sender, commands) = mpsc::channel(INBOX);
    let (addresses, info) = Addresses::new(peer_id, &settings, external);
    let relay = Relay {
        peer_id,
        settings,
        lines,
        commands: sender,
        streams: control,
        info,
    };
    let running = Running {
        swarm,
        commands,
        addresses,
        links: BTreeMap::new(),
        circuits: 0,
        places,
        relay: relay.clone(),
    };
    Ok((relay, running))
}

impl Running {
    /// Serves until `stop`. `hub` knows names and who publishes a circuit address.
    pub(crate) async fn run(mut self, hub: Hub, stop: CancellationToken) {
        let (resolved, mut public) = mpsc::channel(1);
        let look_up = self.addresses.look_up(resolved);
        let mut look_up = std::pin::pin!(look_up);
        let report = report(self.relay.clone(), hub);
        let mut report = std::pin::pin!(report);
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                event = self.swarm.select_next_some() => self.event(event),
                Some(Command::Links(reply)) = self.commands.recv() => {
                    let mut links: Vec<Link> = self.links.values().cloned().collect();
                    links.sort_by_key(|link| link.since);
                    // The page may be gone.
                    let _ = reply.send(links);
                }
                Some(found) = public.recv() => {
                    for addr in self.addresses.leads_to(found) {
                        self.swarm.add_external_address(addr);
                    }
                }
                () = &mut look_up => {}
                () = &mut report => {}
            }
        }
    }

    fn event(&mut self, event: SwarmEvent<BehaviourEvent>) {
        match event {
            SwarmEvent::NewListenAddr { address, .. } => {
                for addr in self.addresses.listens_on(address) {
                    self.swarm.add_external_address(addr);
                }
            }
            SwarmEvent::ExpiredListenAddr { address, .. } => {
                self.swarm.remove_external_address(&address);
                self.addresses.no_longer_on(&address);
            }
            SwarmEvent::ConnectionEstablished {
                peer_id,
                connection_id,
                endpoint,
                ..
            } => {
                let (addr, outbound) = match endpoint {
                    ConnectedPoint::Dialer { address, .. } => (address, true),
                    ConnectedPoint::Listener { send_back_addr, .. } => (send_back_addr, false),
                };
                let direction = if outbound { "outbound" } else { "inbound" };
                self.say(&format!("connected: {peer_id} {addr} {direction}"));
                let link = Link {
                    peer: peer_id,
                    addr,
                    outbound,
                    since: Instant::now(),
                    reserved: false,
                };
                self.links.insert(connection_id, link);
            }
            SwarmEvent::ConnectionClosed {
                peer_id,
                connection_id,
                num_established,
                ..
            } => {
                self.links.remove(&connection_id);
                if num_established == 0 {
                    self.leave(&peer_id);
                }
                self.say(&format!("disconnected: {peer_id}"));
            }
            SwarmEvent::Behaviour(BehaviourEvent::Relay(event)) => self.relayed(event),
            _ => {}
        }
        metrics::gauge!("goop_relay_connections").set(self.links.len() as f64);
    }

    fn relayed(&mut self, event: relay::Event) {
        use relay::Event;
        match event {
            Event::ReservationReqAccepted {
                src_peer_id,
                renewed,
            } => {
                self.mark(src_peer_id, true);
                let what = if renewed { "renewed" } else { "created" };
                self.say(&format!("reservation {what}: {src_peer_id}"));
            }
            Event::ReservationReqDenied {
                src_peer_id,
                status,
            } => self.say(&format!(
                "reservation refused: {src_peer_id} {}",
                screaming(&format!("{status:?}"))
            )),
            Event::ReservationTimedOut { src_peer_id } => {
                self.leave(&src_peer_id);
                self.mark(src_peer_id, false);
                self.say(&format!("reservation closed: {src_peer_id}"));
            }
            Event::ReservationClosed { src_peer_id } => {
                self.mark(src_peer_id, false);
                self.say(&format!("reservation closed: {src_peer_id}"));
            }
            Event::CircuitReqDenied {
                src_peer_id,
                dst_peer_id,
                status,
            } => self.say(&format!(
                "circuit refused: {src_peer_id} to {dst_peer_id} {}",
                screaming(&format!("{status:?}"))
            )),
            Event::CircuitReqAccepted {
                src_peer_id,
                dst_peer_id,
            } => {
                self.circuits += 1;
                let active = self.circuits;
                self.say(&format!(
                    "circuit opened: {src_peer_id} to {dst_peer_id}, {active} active"
                ));
            }
            Event::CircuitClosed {
                src_peer_id,
                dst_peer_id,
                ..
            } => {
                self.circuits = self.circuits.saturating_sub(1);
                let active = self.circuits;
                self.say(&format!(
                    "circuit closed: {src_peer_id} to {dst_peer_id}, {active} active"
                ));
            }
            _ => {}
        }
        metrics::gauge!("goop_relay_circuits").set(self.circuits as f64);
    }

    fn leave(&self, peer: &PeerId) {
        let mut places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        places.leave(peer);
    }

    fn mark(&mut self, peer: PeerId, reserved: bool) {
        let links = self.links.values_mut().filter(|link| link.peer == peer);
        links.for_each(|link| link.reserved = reserved);
    }

    fn say(&self, text: &str) {
        self.relay.lines.push(text);
    }
}

/// `ResourceLimitExceeded` as the specification spells it, `RESOURCE_LIMIT_EXCEEDED`.
fn screaming(name: &str) -> String {
    let mut text = String::new();
    for (at, c) in name.chars().enumerate() {
        if at > 0 && c.is_uppercase() {
            text.push('_');
        }
        text.extend(c.to_uppercase());
    }
    text
}

/// Says every minute who is connected, and who of them publishes no circuit address. Never ends.
async fn report(relay: Relay, hub: Hub) {
    let mut every = tokio::time::interval(REPORT_EVERY);
    every.tick().await;
    loop {
        every.tick().await;
        let mut peers: HashMap<PeerId, usize> = HashMap::new();
        for link in relay.links().await {
            *peers.entry(link.peer).or_default() += 1;
        }
        if peers.is_empty() {
            continue;
        }
        let mut without = Vec::new();
        for peer in peers.keys() {
            if let Ok(Some(row)) = hub.standing(*peer).await
                && !row.addrs.iter().any(|addr| addr.contains("/p2p-circuit"))
            {
                without.push(short(peer));
            }
        }
        let names: Vec<String> = peers.keys().map(short).collect();
        let count = peers.len();
        relay
            .lines
            .push(&format!("{count} peers: {}", names.join(" ")));
        if !without.is_empty() {
            relay
                .lines
                .push(&format!("NO_RESERVATION: {}", without.join(" ")));
        }
    }
}

/// The end of an id, which is what differs.
fn short(peer: &PeerId) -> String {
    let text = peer.to_base58();
    text[text.len().saturating_sub(8)..].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_refusals() {
        assert_eq!(
            screaming("ResourceLimitExceeded"),
            "RESOURCE_LIMIT_EXCEEDED"
        );
    }
}
