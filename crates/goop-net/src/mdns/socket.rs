//! The sockets under the agent: port 5353, both families, every interface that can multicast.
//!
//! One task owns them. Interfaces come and go; a machine without any is no error. What works is told as a value that
//! `goop2 doctor` prints.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::time::{Duration, Instant};

use futures::StreamExt;
use if_addrs::{IfAddr, Interface};
use libp2p::Multiaddr;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::UdpSocket;
use tokio::sync::{mpsc, watch};

use super::agent::{Agent, Found, Output};
use super::codec::MAX_PACKET;

/// RFC 6762, 3.
const PORT: u16 = 5353;
const GROUP_V4: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 251);
const GROUP_V6: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0xfb);
/// RFC 6762, 11.
const TTL: u32 = 255;
/// Interfaces may change without the system telling us.
const LOOK_AGAIN: Duration = Duration::from_secs(30);
/// How many findings may wait for the host. It takes them at once; more is a flood.
const QUEUE: usize = 256;

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
    Gone(goop_identity::PeerId),
}

/// A running agent. Dropping it ends the task without a goodbye.
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
        let task = tokio::spawn(Task::new(agent, addrs_seen, found, health_told).run());
        Self { addrs, sightings, health, task }
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

    /// Says goodbye and ends. Sending three packets takes no time worth a deadline of its own.
    pub async fn shutdown(self) {
        drop(self.addrs);
        let _ = self.task.await;
    }
}

struct Task {
    agent: Agent,
    addrs: watch::Receiver<Vec<Multiaddr>>,
    found: mpsc::Sender<Sighting>,
    health: watch::Sender<MdnsHealth>,
    v4: Option<UdpSocket>,
    v6: Option<UdpSocket>,
    interfaces: Vec<Interface>,
}

impl Task {
    fn new(
        agent: Agent,
        addrs: watch::Receiver<Vec<Multiaddr>>,
        found: mpsc::Sender<Sighting>,
        health: watch::Sender<MdnsHealth>,
    ) -> Self {
        Self { agent, addrs, found, health, v4: None, v6: None, interfaces: Vec::new() }
    }

    async fn run(mut self) {
        self.look_at_interfaces();
        let mut watcher = if_watch::tokio::IfWatcher::new().ok();
        let mut look = tokio::time::interval(LOOK_AGAIN);
        let (mut buffer4, mut buffer6) = (vec![0; MAX_PACKET + 1], vec![0; MAX_PACKET + 1]);
        loop {
            let wake = tokio::time::Instant::from_std(self.agent.next_wake());
            let outputs = tokio::select! {
                changed = self.addrs.changed() => match changed {
                    Ok(()) => {
                        let addrs = self.addrs.borrow_and_update().clone();
                        (self.agent.set_addrs(addrs, Instant::now()), None)
                    }
                    Err(_) => break,
                },
                (packet, from) = receive(self.v4.as_ref(), &mut buffer4) => (self.heard(packet, from), Some(from)),
                (packet, from) = receive(self.v6.as_ref(), &mut buffer6) => (self.heard(packet, from), Some(from)),
                () = next_change(watcher.as_mut()) => { self.look_at_interfaces(); (Vec::new(), None) }
                _ = look.tick() => { self.look_at_interfaces(); (Vec::new(), None) }
                () = tokio::time::sleep_until(wake) => (self.agent.tick(Instant::now()), None),
            };
            self.obey(outputs.0, outputs.1).await;
        }
        let farewell = self.agent.goodbye();
        self.obey(farewell, None).await;
    }

    fn heard(&mut self, packet: &[u8], from: SocketAddr) -> Vec<Output> {
        if !on_link(from.ip(), &self.interfaces) {
            return Vec::new();
        }
        self.agent.hear(packet, Instant::now())
    }

    async fn obey(&mut self, outputs: Vec<Output>, from: Option<SocketAddr>) {
        for output in outputs {
            match output {
                Output::Multicast(packet) => self.multicast(&packet).await,
                Output::Unicast(packet) => {
                    let socket = match from {
                        Some(SocketAddr::V4(_)) => self.v4.as_ref(),
                        _ => self.v6.as_ref(),
                    };
                    if let (Some(socket), Some(to)) = (socket, from) {
                        let _ = socket.send_to(&packet, to).await;
                    }
                }
                // A full queue means the host is far behind; the peer is reported again soon.
                Output::Found(found) => drop(self.found.try_send(Sighting::Found(found))),
                Output::Gone(peer) => drop(self.found.try_send(Sighting::Gone(peer))),
            }
        }
    }

    async fn multicast(&self, packet: &[u8]) {
        for interface in &self.interfaces {
            let sent = match (&interface.addr, interface.index) {
                (IfAddr::V4(addr), _) => match &self.v4 {
                    Some(socket) => send_v4(socket, packet, addr.ip).await,
                    None => Ok(()),
                },
                (IfAddr::V6(_), Some(index)) => match &self.v6 {
                    Some(socket) => {
                        let to = SocketAddrV6::new(GROUP_V6, PORT, 0, index);
                        socket.send_to(packet, SocketAddr::V6(to)).await.map(drop)
                    }
                    None => Ok(()),
                },
                (IfAddr::V6(_), None) => Ok(()),
            };
            if let Err(error) = sent {
                tracing::debug!(interface = %interface.name, %error, "a multicast packet was not sent");
            }
        }
    }

    /// Looks at the interfaces and joins the groups on those that are new. When the set changed, the agent asks and
    /// announces again at once: a new network has new neighbours.
    fn look_at_interfaces(&mut self) {
        let interfaces = usable_interfaces();
        if interfaces == self.interfaces && (self.v4.is_some() || self.v6.is_some()) {
            return;
        }
        let mut health = MdnsHealth::default();
        let has = |wanted: fn(&IfAddr) -> bool| interfaces.iter().any(|interface| wanted(&interface.addr));
        if self.v4.is_none() && has(|addr| matches!(addr, IfAddr::V4(_))) {
            self.v4 = note(open_v4(), "IPv4 multicast", &mut health.problems);
        }
        if self.v6.is_none() && has(|addr| matches!(addr, IfAddr::V6(_))) {
            self.v6 = note(open_v6(), "IPv6 multicast", &mut health.problems);
        }
        for interface in &interfaces {
            match self.join(interface) {
                Ok(()) => health.interfaces.push((interface.name.clone(), interface.ip())),
                Err(error) => health.problems.push(format!("{} ({}): {error}", interface.name, interface.ip())),
            }
        }
        if interfaces.is_empty() {
            health.problems.push("no interface with multicast is up".to_owned());
        }
        self.interfaces = interfaces;
        self.health.send_replace(health);
        self.agent.ask_again(Instant::now());
    }

    fn join(&self, interface: &Interface) -> io::Result<()> {
        let joined = match (&interface.addr, &self.v4, &self.v6) {
            (IfAddr::V4(addr), Some(socket), _) => socket.join_multicast_v4(GROUP_V4, addr.ip),
            (IfAddr::V6(_), _, Some(socket)) => socket.join_multicast_v6(&GROUP_V6, interface.index.unwrap_or(0)),
            _ => Err(io::Error::other("no socket for this family")),
        };
        match joined {
            // Joined before, through another address of the same interface or at an earlier look.
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => Ok(()),
            other => other,
        }
    }
}

fn note<T>(result: io::Result<T>, what: &str, problems: &mut Vec<String>) -> Option<T> {
    result.map_err(|error| problems.push(format!("{what}: {error}"))).ok()
}

async fn receive<'a>(socket: Option<&UdpSocket>, buffer: &'a mut [u8]) -> (&'a [u8], SocketAddr) {
    let Some(socket) = socket else { return std::future::pending().await };
    loop {
        match socket.recv_from(buffer).await {
            Ok((length, from)) => return (&buffer[..length], from),
            Err(error) => {
                tracing::debug!(%error, "a multicast packet could not be received");
                // An error that repeats (an interface that went away) must not spin.
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn next_change(watcher: Option<&mut if_watch::tokio::IfWatcher>) {
    match watcher {
        Some(watcher) => match watcher.next().await {
            Some(Ok(_)) => {}
            Some(Err(_)) | None => std::future::pending().await,
        },
        None => std::future::pending().await,
    }
}

async fn send_v4(socket: &UdpSocket, packet: &[u8], through: Ipv4Addr) -> io::Result<()> {
    socket2::SockRef::from(socket).set_multicast_if_v4(&through)?;
    socket.send_to(packet, SocketAddr::V4(SocketAddrV4::new(GROUP_V4, PORT))).await.map(drop)
}

fn open_v4() -> io::Result<UdpSocket> {
    let socket = shared_socket(Domain::IPV4)?;
    socket.set_multicast_ttl_v4(TTL)?;
    socket.set_multicast_loop_v4(true)?;
    socket.bind(&SocketAddr::from((Ipv4Addr::UNSPECIFIED, PORT)).into())?;
    UdpSocket::from_std(socket.into())
}

fn open_v6() -> io::Result<UdpSocket> {
    let socket = shared_socket(Domain::IPV6)?;
    socket.set_only_v6(true)?;
    socket.set_multicast_hops_v6(TTL)?;
    socket.set_multicast_loop_v6(true)?;
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

/// Interfaces that are up and not the loopback, one entry an address; of IPv6 one address an interface.
fn usable_interfaces() -> Vec<Interface> {
    let mut all = if_addrs::get_if_addrs().unwrap_or_default();
    all.retain(|interface| !interface.is_loopback() && interface.is_oper_up());
    all.sort_by_key(|interface| (interface.index, interface.ip()));
    all.dedup_by(|second, first| second.index == first.index && first.ip().is_ipv6() && second.ip().is_ipv6());
    all
}

/// Whether a packet came from this network: multicast is link-local, everything else is forged or forwarded.
fn on_link(from: IpAddr, interfaces: &[Interface]) -> bool {
    let within = |interface: &Interface| match (&interface.addr, from) {
        (IfAddr::V4(addr), IpAddr::V4(from)) => {
            let mask = u32::from(addr.netmask);
            u32::from(addr.ip) & mask == u32::from(from) & mask
        }
        (IfAddr::V6(addr), IpAddr::V6(from)) => {
            let mask = u128::from(addr.netmask);
            u128::from(addr.ip) & mask == u128::from(from) & mask
        }
        _ => false,
    };
    let link_local = match from {
        IpAddr::V4(ip) => ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    };
    link_local || interfaces.iter().any(within)
}

