//! Where the relay is: what it listens on, and where the server's public name leads.

use std::fmt::Display;
use std::io;
use std::net::{IpAddr, Ipv4Addr};

use goop_identity::PeerId;
use libp2p::core::multiaddr::Protocol;
use libp2p::{Multiaddr, Swarm};
use tokio::sync::{mpsc, watch};
use url::{Host, Url};

use super::boxed::Boxed;
use super::{Behaviour, LOOK_UP_EVERY, LOOK_UP_WITHIN, RelayError};
use crate::settings::RelaySettings;

/// The port of the proxy in front of the WebSocket listener; fixed by what the Go program announces (network.md 10).
const WSS_PORT: u16 = 443;

/// Starts every listener: TCP and QUIC on the relay's port, WebSocket on loopback.
pub(super) fn listen(
    swarm: &mut Swarm<Boxed<Behaviour>>,
    settings: &RelaySettings,
) -> Result<(), RelayError> {
    let port = settings.port;
    for ip in &settings.bind {
        is_free(*ip, port).map_err(|error| refused("relay_port", port, &error))?;
    }
    let mut reason = None;
    let mut listening = 0;
    for family in &settings.bind {
        let base = Multiaddr::from(*family);
        let tcp = base.clone().with(Protocol::Tcp(port));
        let quic = base.with(Protocol::Udp(port)).with(Protocol::QuicV1);
        for addr in [tcp, quic] {
            match swarm.listen_on(addr.clone()) {
                Ok(_) => listening += 1,
                // A machine without IPv6.
                Err(error) => {
                    tracing::info!(%addr, %error, "the relay does not listen here");
                    reason.get_or_insert(error);
                }
            }
        }
    }
    if let (0, Some(error)) = (listening, reason) {
        return Err(refused("relay_port", port, &error));
    }
    if let Some(port) = settings.ws_port {
        let loopback = Ipv4Addr::LOCALHOST;
        std::net::TcpListener::bind((loopback, port))
            .map_err(|error| refused("relay_ws_port", port, &error))?;
        let addr = Multiaddr::from(loopback)
            .with(Protocol::Tcp(port))
            .with(Protocol::Ws("/".into()));
        swarm
            .listen_on(addr)
            .map_err(|error| refused("relay_ws_port", port, &error))?;
    }
    Ok(())
}

fn refused(setting: &'static str, port: u16, error: &dyn Display) -> RelayError {
    RelayError::Port {
        setting,
        port,
        reason: error.to_string(),
    }
}

/// Whether nobody else has the port. It is tried without sharing: libp2p's own sockets share a port with whoever does so, too,
/// and two relays on one would each get a part of the connections.
fn is_free(ip: IpAddr, port: u16) -> io::Result<()> {
    let tried = [
        std::net::TcpListener::bind((ip, port)).map(drop),
        std::net::UdpSocket::bind((ip, port)).map(drop),
    ];
    let taken = tried.into_iter().filter_map(Result::err);
    // Other failures are those of a machine without that family of addresses.
    match taken
        .into_iter()
        .find(|error| error.kind() == io::ErrorKind::AddrInUse)
    {
        Some(error) => Err(error),
        None => Ok(()),
    }
}

/// The addresses, and who is told when they change.
#[derive(Debug)]
pub(super) struct Addresses {
    peer_id: PeerId,
    port: u16,
    wss: bool,
    external: Option<Url>,
    listening: Vec<Multiaddr>,
    public: Option<IpAddr>,
    told: watch::Sender<Vec<String>>,
}

impl Addresses {
    pub(super) fn new(
        peer_id: PeerId,
        settings: &RelaySettings,
        external: Option<Url>,
    ) -> (Self, watch::Receiver<Vec<String>>) {
        let (told, info) = watch::channel(Vec::new());
        let addresses = Self {
            peer_id,
            port: settings.port,
            wss: settings.ws_port.is_some(),
            external,
            listening: Vec::new(),
            public: None,
            told,
        };
        (addresses, info)
    }

    /// A listener has this address. What may be told in reservations: everything but loopback, or that if there is
    /// nothing else.
    pub(super) fn listens_on(&mut self, addr: Multiaddr) -> Vec<Multiaddr> {
        if !self.listening.contains(&addr) && !is_link_local(&addr) {
            self.listening.push(addr);
            self.listening
                .sort_by_key(|addr| (is_udp(addr), addr.to_string()));
        }
        self.tell();
        let outside: Vec<Multiaddr> = self
            .listening
            .iter()
            .filter(|addr| !is_loopback(addr))
            .cloned()
            .collect();
        if outside.is_empty() {
            self.listening.clone()
        } else {
            outside
        }
    }

    pub(super) fn no_longer_on(&mut self, addr: &Multiaddr) {
        self.listening.retain(|known| known != addr);
        self.tell();
    }

    /// The server's name leads here now.
    pub(super) fn leads_to(&mut self, ip: IpAddr) -> Vec<Multiaddr> {
        self.public = Some(ip);
        self.tell();
        let base = Multiaddr::from(ip);
        let mut addrs = vec![
            base.clone().with(Protocol::Tcp(self.port)),
            base.with(Protocol::Udp(self.port)).with(Protocol::QuicV1),
        ];
        addrs.extend(self.wss_addr(ip));
        addrs
    }

    /// Where a proxy with the certificate forwards to the WebSocket listener.
    fn wss_addr(&self, ip: IpAddr) -> Option<Multiaddr> {
        let url = self.external.as_ref().filter(|_| self.wss)?;
        let base = Multiaddr::from(ip).with(Protocol::Tcp(WSS_PORT));
        Some(
            base.with(Protocol::Tls)
                .with(Protocol::Sni(url.host_str()?.to_owned().into()))
                .with(Protocol::Ws("/".into())),
        )
    }

    fn tell(&self) {
        let mut addrs: Vec<String> = self.listening.iter().map(ToString::to_string).collect();
        if let Some(ip) = self.public {
            // Others take the last one, with the id, for the way in from outside (rendezvous.md 11.3).
            let last = self
                .wss_addr(ip)
                .unwrap_or_else(|| Multiaddr::from(ip).with(Protocol::Tcp(self.port)));
            addrs.push(last.with(Protocol::P2p(self.peer_id)).to_string());
        }
        addrs.dedup();
        self.told.send_if_modified(|told| {
            let differs = *told != addrs;
            *told = addrs;
            differs
        });
    }

    /// Looks up again and again where the name leads, and says so. Never ends.
    pub(super) fn look_up(&self, found: mpsc::Sender<IpAddr>) -> impl Future<Output = ()> + use<> {
        let host = self
            .external
            .as_ref()
            .and_then(Url::host)
            .map(|host| host.to_owned());
        async move {
            let mut every = tokio::time::interval(LOOK_UP_EVERY);
            loop {
                every.tick().await;
                let address = match &host {
                    None => std::future::pending().await,
                    Some(Host::Ipv4(ip)) => Some(IpAddr::V4(*ip)),
                    Some(Host::Ipv6(ip)) => Some(IpAddr::V6(*ip)),
                    Some(Host::Domain(name)) => resolve(name).await,
                };
                if let Some(address) = address
                    && found.send(address).await.is_err()
                {
                    std::future::pending().await
                }
            }
        }
    }
}

/// The first IPv4 address of a name, else the first of any kind.
async fn resolve(name: &str) -> Option<IpAddr> {
    let looked_up = tokio::time::timeout(LOOK_UP_WITHIN, tokio::net::lookup_host((name, 0))).await;
    match looked_up {
        Ok(Ok(found)) => {
            let found: Vec<IpAddr> = found.map(|addr| addr.ip()).collect();
            let v4 = found.iter().find(|ip| ip.is_ipv4());
            v4.or(found.first()).copied()
        }
        Ok(Err(error)) => {
            tracing::warn!(%name, %error, "presence.external_url cannot be looked up; the relay's public address is not told");
            None
        }
        Err(_) => None,
    }
}

fn is_udp(addr: &Multiaddr) -> bool {
    addr.iter().any(|part| matches!(part, Protocol::Udp(_)))
}

/// An address of IPv6 that means nothing without the interface it is on.
fn is_link_local(addr: &Multiaddr) -> bool {
    matches!(addr.iter().next(), Some(Protocol::Ip6(ip)) if ip.is_unicast_link_local())
}

fn is_loopback(addr: &Multiaddr) -> bool {
    match addr.iter().next() {
        Some(Protocol::Ip4(ip)) => ip.is_loopback(),
        Some(Protocol::Ip6(ip)) => ip.is_loopback(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn addresses_that_mean_nothing_elsewhere_are_not_told() {
        let folder = tempfile::tempdir().unwrap();
        let config = br#"{"presence":{"rendezvous_host":true,"relay_port":4001}}"#;
        std::fs::write(folder.path().join("goop.json"), config).unwrap();
        let folder = goop_identity::folder::PeerFolder::open(folder.path()).unwrap();
        let settings = crate::Settings::read(&folder).unwrap().relay.unwrap();
        let (mut addresses, told) = Addresses::new(PeerId::random(), &settings, None);
        let addr = |text: &str| -> Multiaddr { text.parse().unwrap() };
        let local = [
            addr("/ip6/fe80::1/tcp/4001"),
            addr("/ip6/fe80::1/udp/4001/quic-v1"),
        ];
        let real = addr("/ip6/2001:db8::1/tcp/4001");
        for addr in local.into_iter().chain([real.clone()]) {
            let granted = addresses.listens_on(addr);
            assert!(granted.iter().all(|addr| *addr == real), "{granted:?}");
        }
        assert_eq!(*told.borrow(), [real.to_string()]);
    }
}
