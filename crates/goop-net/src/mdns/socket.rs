//! The sockets under the agent: port 5353, both families, every interface that can multicast.
//!
//! One task owns them; its handle [`Discovery`] ends it. Interfaces come and go; a machine without any is no error.
//! What works is told as a value that `goop2 doctor` prints.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::time::{Duration, Instant};

use futures::StreamExt;
use goop_identity::PeerId;
use libp2p::Multiaddr;
use socket2::{Domain, Protocol, SockRef, Socket, Type};
use tokio::net::UdpSocket;
use tokio::sync::{mpsc, watch};

use super::agent::{Agent, Found, Output};
use super::codec::MAX_PACKET;
use super::interfaces::{Family, Interfaces};

/// RFC 6762, 3.
const PORT: u16 = 5353;
const GROUP_V4: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 251);
const GROUP_V6: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0xfb);
/// RFC 6762, 11.
const TTL: u32 = 255;
/// Cables come and go without an address changing, and a taken port may become free.
const LOOK_AGAIN: Duration = Duration::from_secs(30);
/// An interface that comes up gets its addresses one by one; they are looked at together.
const SETTLE: Duration = Duration::from_millis(50);
/// Findings on their way to the host. More wait as one a peer, so that nothing queues up.
const QUEUE: usize = 16;
/// An IPv6 address cannot be used in its first second or two; what could not be sent is said again after this.
const SAY_AGAIN: Duration = Duration::from_secs(2);
/// Receiving fails again and again when an interface goes away; this keeps it from spinning.
const AFTER_ERROR: Duration = Duration::from_millis(100);

/// What multicast can do from here.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MdnsHealth {
    /// Addresses of the interfaces in use, with the interface's name.
    pub interfaces: Vec<(String, IpAddr)>,
    /// What did not work, in words.
    pub problems: Vec<String>,
}

/// What the network says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sighting {
    /// A peer is there.
    Found(Found),
    /// A peer left.
    Gone(PeerId),
}

/// A running agent. Dropping it ends the task as well, with a goodbye that nobody waits for.
#[derive(Debug)]
pub struct Discovery {
    addrs: watch::Sender<Vec<Multiaddr>>,
    sightings: mpsc::Receiver<Sighting>,
    health: watch::Receiver<MdnsHealth>,
    task: tokio::task::JoinHandle<()>,
}

impl Discovery {
    /// Starts the agent's task. It never fails: without multicast it waits for an interface that can.
    #[must_use]
    pub fn start(agent: Agent) -> Self {
        let (addrs, addrs_seen) = watch::channel(Vec::new());
        let (found, sightings) = mpsc::channel(QUEUE);
        let (health_told, health) = watch::channel(MdnsHealth::default());
        let task = tokio::spawn(Task::new(agent, found, health_told).run(addrs_seen));
        Self {
            addrs,
            sightings,
            health,
            task,
        }
    }

    /// Tells where we listen.
    pub fn set_addrs(&self, addrs: Vec<Multiaddr>) {
        self.addrs.send_if_modified(|current| {
            let differs = *current != addrs;
            *current = addrs;
            differs
        });
    }

    /// The next sighting. Cancel-safe.
    pub async fn next(&mut self) -> Option<Sighting> {
        self.sightings.recv().await
    }

    /// What multicast can do from here.
    #[must_use]
    pub fn health(&self) -> watch::Receiver<MdnsHealth> {
        self.health.clone()
    }

    /// Says goodbye and ends. Sending some packets takes no time worth a deadline of its own.
    pub async fn shutdown(self) {
        let Self {
            addrs,
            sightings,
            health: _,
            task,
        } = self;
        // The task must not wait for anybody to take what it found.
        drop((addrs, sightings));
        let _ = task.await;
    }
}

/// What the task waits for.
enum Event<'a> {
    Addresses,
    Packet(&'a [u8], SocketAddr),
    HandedOver,
    Interfaces,
    Time,
}

struct Task {
    agent: Agent,
    found: mpsc::Sender<Sighting>,
    /// What the host has not taken yet: the newest of each peer.
    waiting: BTreeMap<PeerId, Sighting>,
    health: watch::Sender<MdnsHealth>,
    sockets: Sockets,
    say_again: Option<Instant>,
}

impl Task {
    fn new(agent: Agent, found: mpsc::Sender<Sighting>, health: watch::Sender<MdnsHealth>) -> Self {
        Self {
            agent,
            found,
            waiting: BTreeMap::new(),
            health,
            sockets: Sockets::default(),
            say_again: None,
        }
    }

    async fn run(mut self, mut addrs: watch::Receiver<Vec<Multiaddr>>) {
        self.look_at_interfaces();
        let mut watcher = if_watch::tokio::IfWatcher::new().ok();
        let mut look = Instant::now() + LOOK_AGAIN;
        let (mut buffer_v4, mut buffer_v6) = (vec![0; MAX_PACKET + 1], vec![0; MAX_PACKET + 1]);
        loop {
            let wake = self
                .say_again
                .map_or(look, |at| at.min(look))
                .min(self.agent.next_wake());
            let event = tokio::select! {
                changed = addrs.changed() => if changed.is_ok() { Event::Addresses } else { break },
                (packet, from) = receive(self.sockets.v4.as_ref(), &mut buffer_v4) => Event::Packet(packet, from),
                (packet, from) = receive(self.sockets.v6.as_ref(), &mut buffer_v6) => Event::Packet(packet, from),
                () = hand_over(&mut self.waiting, &self.found) => Event::HandedOver,
                () = next_change(watcher.as_mut()) => Event::Interfaces,
                () = tokio::time::sleep_until(wake.into()) => Event::Time,
            };
            let now = Instant::now();
            match event {
                Event::Addresses => self.agent.set_addrs(addrs.borrow_and_update().clone(), now),
                Event::Packet(packet, from) => {
                    if self.sockets.interfaces.reach(from.ip()) {
                        let outputs = self.agent.hear(packet, from.ip(), now);
                        self.obey(outputs, Some(from)).await;
                    }
                }
                Event::HandedOver => {}
                Event::Interfaces => look = look.min(now + SETTLE),
                Event::Time => {
                    if look <= now {
                        self.look_at_interfaces();
                        look = now + LOOK_AGAIN;
                    }
                    if self.say_again.take_if(|at| *at <= now).is_some() {
                        self.agent.ask_again(now);
                    }
                    let outputs = self.agent.tick(now);
                    self.obey(outputs, None).await;
                }
            }
        }
        let farewell = self.agent.goodbye();
        self.obey(farewell, None).await;
    }

    async fn obey(&mut self, outputs: Vec<Output>, from: Option<SocketAddr>) {
        for output in outputs {
            match output {
                Output::Multicast(packet) => {
                    let mute = self.sockets.mute.len();
                    if self.sockets.multicast(&packet).await {
                        self.tell_health();
                    }
                    if self.sockets.mute.len() > mute {
                        self.say_again = Some(Instant::now() + SAY_AGAIN);
                    }
                }
                Output::Unicast(packet) => {
                    if let Some(to) = from {
                        self.sockets.unicast(&packet, to).await;
                    }
                }
                Output::Found(found) => {
                    drop(self.waiting.insert(found.peer, Sighting::Found(found)))
                }
                Output::Gone(peer) => drop(self.waiting.insert(peer, Sighting::Gone(peer))),
            }
        }
    }

    /// When the interfaces changed, the agent asks and announces again at once: a new network has new neighbours.
    fn look_at_interfaces(&mut self) {
        if self.sockets.look() {
            self.agent.ask_again(Instant::now());
        }
        self.tell_health();
    }

    fn tell_health(&self) {
        let health = self.sockets.health();
        self.health.send_if_modified(|current| {
            let differs = *current != health;
            *current = health;
            differs
        });
    }
}

/// One socket a family, and where they are members.
#[derive(Default)]
struct Sockets {
    v4: Option<UdpSocket>,
    v6: Option<UdpSocket>,
    interfaces: Interfaces,
    /// Memberships, with the address that they were entered with and are left with.
    joined: BTreeMap<(u32, Family), IpAddr>,
    problems: BTreeSet<String>,
    /// Interfaces that did not take the last packet.
    mute: BTreeMap<(u32, Family), String>,
}

impl Sockets {
    /// Looks at the interfaces, opens what is missing and joins the groups where we are no members yet. Whether
    /// anything is new.
    fn look(&mut self) -> bool {
        self.problems.clear();
        let interfaces = Interfaces::look().unwrap_or_else(|error| {
            self.problems
                .insert(format!("the interfaces cannot be listed: {error}"));
            Interfaces::default()
        });
        self.open_missing(&interfaces);
        let gone: Vec<_> = self
            .joined
            .keys()
            .filter(|key| !interfaces.exits.contains_key(key))
            .copied()
            .collect();
        for key in gone {
            self.leave(key);
        }
        self.mute
            .retain(|key, _| interfaces.exits.contains_key(key));
        let mut is_new = interfaces != self.interfaces;
        for (key, exit) in &interfaces.exits {
            match self.join(*key, exit.ip) {
                Some(Ok(())) => is_new |= self.joined.insert(*key, exit.ip).is_none(),
                // That there is no socket is a problem told already.
                None => {}
                Some(Err(error)) => {
                    self.problems
                        .insert(format!("{} ({}): {error}", exit.name, exit.ip));
                }
            }
        }
        if interfaces.exits.is_empty() {
            self.problems
                .insert("no interface with multicast is up".to_owned());
        }
        self.interfaces = interfaces;
        is_new
    }

    fn open_missing(&mut self, interfaces: &Interfaces) {
        let has = |family| interfaces.exits.keys().any(|(_, of)| *of == family);
        let mut note = |what: &str, opened: io::Result<UdpSocket>| {
            opened
                .map_err(|error| {
                    self.problems
                        .insert(format!("{what} on port {PORT}: {error}"))
                })
                .ok()
        };
        if self.v4.is_none() && has(Family::V4) {
            self.v4 = note("IPv4 multicast", open_v4());
        }
        if self.v6.is_none() && has(Family::V6) {
            self.v6 = note("IPv6 multicast", open_v6());
        }
    }

    /// Joins again where we are a member already: the membership may have ended with an address.
    fn join(&self, (index, _): (u32, Family), ip: IpAddr) -> Option<io::Result<()>> {
        let joined = match ip {
            IpAddr::V4(ip) => self.v4.as_ref()?.join_multicast_v4(GROUP_V4, ip),
            IpAddr::V6(_) => self.v6.as_ref()?.join_multicast_v6(&GROUP_V6, index),
        };
        Some(match joined {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => Ok(()),
            other => other,
        })
    }

    /// A membership of an interface that went away still counts for the system's limit (20 on Linux).
    fn leave(&mut self, key: (u32, Family)) {
        let left = match (self.joined.remove(&key), &self.v4, &self.v6) {
            (Some(IpAddr::V4(ip)), Some(socket), _) => socket.leave_multicast_v4(GROUP_V4, ip),
            (Some(IpAddr::V6(_)), _, Some(socket)) => socket.leave_multicast_v6(&GROUP_V6, key.0),
            _ => Ok(()),
        };
        if let Err(error) = left {
            tracing::debug!(?key, %error, "a multicast group could not be left");
        }
    }

    fn health(&self) -> MdnsHealth {
        let members = self
            .interfaces
            .exits
            .iter()
            .filter(|(key, _)| self.joined.contains_key(key));
        MdnsHealth {
            interfaces: members
                .map(|(_, exit)| (exit.name.clone(), exit.ip))
                .collect(),
            problems: self
                .problems
                .iter()
                .chain(self.mute.values())
                .cloned()
                .collect(),
        }
    }

    /// Sends to the group on every interface. Whether what does not work changed.
    async fn multicast(&mut self, packet: &[u8]) -> bool {
        let before = self.mute.clone();
        for (key, exit) in &self.interfaces.exits {
            let sent = match (exit.ip, &self.v4, &self.v6) {
                (IpAddr::V4(ip), Some(socket), _) => send_v4(socket, packet, ip).await,
                (IpAddr::V6(_), _, Some(socket)) => send_v6(socket, packet, key.0).await,
                _ => Ok(()),
            };
            match sent {
                Ok(()) => drop(self.mute.remove(key)),
                Err(error) => {
                    tracing::debug!(interface = %exit.name, %error, "a multicast packet was not sent");
                    self.mute.insert(
                        *key,
                        format!("{} ({}) sends nothing: {error}", exit.name, exit.ip),
                    );
                }
            }
        }
        self.mute != before
    }

    async fn unicast(&self, packet: &[u8], to: SocketAddr) {
        let socket = match to {
            SocketAddr::V4(_) => &self.v4,
            SocketAddr::V6(_) => &self.v6,
        };
        if let Some(socket) = socket
            && let Err(error) = socket.send_to(packet, to).await
        {
            tracing::debug!(%to, %error, "a multicast answer was not sent");
        }
    }
}

async fn receive<'a>(socket: Option<&UdpSocket>, buffer: &'a mut [u8]) -> (&'a [u8], SocketAddr) {
    let Some(socket) = socket else {
        return std::future::pending().await;
    };
    loop {
        match socket.recv_from(buffer).await {
            Ok((length, from)) => return (&buffer[..length], from),
            Err(error) => {
                tracing::debug!(%error, "a multicast packet could not be received");
                tokio::time::sleep(AFTER_ERROR).await;
            }
        }
    }
}

/// Gives the host one finding when it has room for it. Cancel-safe.
async fn hand_over(waiting: &mut BTreeMap<PeerId, Sighting>, found: &mpsc::Sender<Sighting>) {
    if waiting.is_empty() {
        return std::future::pending().await;
    }
    match found.reserve().await {
        Ok(place) => drop(
            waiting
                .pop_first()
                .map(|(_, sighting)| place.send(sighting)),
        ),
        // The host is going; so are we in a moment.
        Err(_) => std::future::pending().await,
    }
}

async fn next_change(watcher: Option<&mut if_watch::tokio::IfWatcher>) {
    let change = match watcher {
        Some(watcher) => watcher.next().await,
        None => None,
    };
    if !matches!(change, Some(Ok(_))) {
        // Looking again from time to time has to do.
        std::future::pending().await
    }
}

async fn send_v4(socket: &UdpSocket, packet: &[u8], through: Ipv4Addr) -> io::Result<()> {
    SockRef::from(socket).set_multicast_if_v4(&through)?;
    socket.send_to(packet, (GROUP_V4, PORT)).await.map(drop)
}

async fn send_v6(socket: &UdpSocket, packet: &[u8], through: u32) -> io::Result<()> {
    let to = SocketAddrV6::new(GROUP_V6, PORT, 0, through);
    socket.send_to(packet, SocketAddr::V6(to)).await.map(drop)
}

fn open_v4() -> io::Result<UdpSocket> {
    let socket = shared_socket(Domain::IPV4)?;
    socket.set_multicast_ttl_v4(TTL)?;
    socket.set_multicast_loop_v4(true)?;
    // Otherwise Linux also delivers what other programs joined on interfaces that we did not.
    #[cfg(target_os = "linux")]
    socket.set_multicast_all_v4(false)?;
    socket.bind(&SocketAddr::from((Ipv4Addr::UNSPECIFIED, PORT)).into())?;
    UdpSocket::from_std(socket.into())
}

fn open_v6() -> io::Result<UdpSocket> {
    let socket = shared_socket(Domain::IPV6)?;
    socket.set_only_v6(true)?;
    socket.set_multicast_hops_v6(TTL)?;
    socket.set_multicast_loop_v6(true)?;
    #[cfg(target_os = "linux")]
    socket.set_multicast_all_v6(false)?;
    socket.bind(&SocketAddr::from((Ipv6Addr::UNSPECIFIED, PORT)).into())?;
    UdpSocket::from_std(socket.into())
}

/// Other programs on the machine (Go peers, system responders) use the port too.
fn shared_socket(domain: Domain) -> io::Result<Socket> {
    let socket = Socket::new(domain, Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_reuse_address(true)?;
    #[cfg(all(unix, not(target_os = "linux")))]
    socket.set_reuse_port(true)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}
