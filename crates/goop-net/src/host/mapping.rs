//! A port on the router that leads here (PCP and NAT-PMP), asked for once somebody beyond the LAN may want it, renewed,
//! and given back at the end.
//!
//! `crab_nat` speaks with the router. The libraries that know `UPnP` too are too large or believe too much
//! (docs/decisions/0010).

use std::net::{IpAddr, Ipv4Addr, SocketAddrV4};
use std::num::NonZeroU16;
use std::time::{Duration, Instant};

use crab_nat::{
    GatewayAddress, InternetProtocol, PortMapping, PortMappingOptions, PortMappingType,
    RECOMMENDED_MAPPING_LIFETIME_SECONDS, natpmp,
};
use libp2p::Multiaddr;
use libp2p::multiaddr::Protocol;
use tokio::task::{JoinError, JoinSet};
use tokio::time::timeout;

use super::Host;
use crate::address::{ip_of, is_private};

/// Pause between tries without a mapping. One is a packet or four to the router.
const TRY_AGAIN: Duration = Duration::from_secs(900);
/// After a change of the network the router is asked this soon: our address has to settle.
const SETTLED: Duration = Duration::from_secs(2);
/// The shortest time between renewals, whatever the router grants …
const SOONEST: Duration = Duration::from_secs(60);
/// … and the longest.
const LATEST: Duration = Duration::from_secs(3_600);
/// How long one exchange may take; a router answers in milliseconds or, without the protocol, never.
const DEADLINE: Duration = Duration::from_secs(8);

/// What the router gave for one transport.
#[derive(Debug, Clone)]
pub(super) struct Lease {
    mapping: PortMapping,
    outside: SocketAddrV4,
}

/// An answer of the router, for UDP or TCP.
pub(super) type Answer = (bool, Option<Lease>);

/// Both ports, or none while nobody needs them.
#[derive(Debug)]
pub(super) struct Mapping {
    allowed: bool,
    wanted: bool,
    tcp: Option<Lease>,
    udp: Option<Lease>,
    asking: JoinSet<Answer>,
    pub(super) try_at: Option<Instant>,
}

impl Mapping {
    pub(super) fn new(allowed: bool) -> Self {
        Self {
            allowed,
            wanted: false,
            tcp: None,
            udp: None,
            asking: JoinSet::new(),
            try_at: None,
        }
    }

    /// Somebody beyond the LAN may want to reach us.
    pub(super) fn want(&mut self, now: Instant) {
        if self.allowed && !std::mem::replace(&mut self.wanted, true) {
            self.try_at = Some(now);
        }
    }

    /// The network around us changed: another router, perhaps.
    pub(super) fn verify(&mut self, now: Instant) {
        if self.wanted {
            self.tcp = None;
            self.udp = None;
            self.try_at = Some(now + SETTLED);
        }
    }

    /// Asks the router, if that is due. `own` is where we listen.
    pub(super) fn tick(&mut self, own: &[Multiaddr], now: Instant) {
        if self.try_at.is_none_or(|at| at > now) {
            return;
        }
        self.try_at = Some(now + TRY_AGAIN);
        let (Some(port), true) = (port_of(own), self.asking.is_empty()) else {
            return;
        };
        let Some((router, me)) = router_of(own) else {
            return;
        };
        for (udp, held) in [(false, self.tcp.clone()), (true, self.udp.clone())] {
            let asked = timeout(DEADLINE, ask(router, me, udp, port, held));
            self.asking
                .spawn(async move { (udp, asked.await.ok().flatten()) });
        }
    }

    /// What the router says.
    pub(super) async fn next(&mut self) -> Option<Result<Answer, JoinError>> {
        self.asking.join_next().await
    }

    fn answered(&mut self, (udp, lease): Answer, now: Instant) {
        if let Some(lease) = &lease {
            tracing::info!(outside = %lease.outside, udp, "the router opened a port");
            let half = Duration::from_secs(u64::from(lease.mapping.lifetime()) / 2);
            let renew = now + half.clamp(SOONEST, LATEST);
            self.try_at = Some(self.try_at.map_or(renew, |at| at.min(renew)));
        }
        if udp {
            self.udp = lease;
        } else {
            self.tcp = lease;
        }
    }

    /// Where the ports of the router are.
    pub(super) fn outside(&self) -> Vec<Multiaddr> {
        let at = |lease: &Lease| (Multiaddr::from(*lease.outside.ip()), lease.outside.port());
        let tcp = self.tcp.as_ref().map(at);
        let udp = self.udp.as_ref().map(at);
        let tcp = tcp.map(|(ip, port)| ip.with(Protocol::Tcp(port)));
        let udp = udp.map(|(ip, port)| ip.with(Protocol::Udp(port)).with(Protocol::QuicV1));
        tcp.into_iter().chain(udp).collect()
    }

    /// Gives the ports back. What does not get through ends by itself.
    pub(super) async fn give_back(&mut self) {
        self.asking.shutdown().await;
        let held = self.tcp.take().into_iter().chain(self.udp.take());
        futures::future::join_all(held.map(|lease| lease.mapping.try_drop())).await;
    }
}

impl Host {
    /// Asks the router for the port we listen on, if that is due.
    pub(super) fn map_port(&mut self, now: Instant) {
        self.mapping.tick(&self.own_addrs, now);
    }

    pub(super) fn on_mapping(&mut self, answered: Result<Answer, JoinError>) {
        // Asking does not panic, and it is aborted only when the host ends.
        if let Ok(answer) = answered {
            self.mapping.answered(answer, Instant::now());
            self.refresh_published();
        }
    }
}

async fn ask(
    router: Ipv4Addr,
    me: Ipv4Addr,
    udp: bool,
    port: NonZeroU16,
    held: Option<Lease>,
) -> Option<Lease> {
    let mapping = match held {
        Some(mut lease) => {
            lease.mapping.renew().await.ok()?;
            lease.mapping
        }
        None => {
            let protocol = if udp {
                InternetProtocol::Udp
            } else {
                InternetProtocol::Tcp
            };
            let options = PortMappingOptions {
                // The same number outside, where it is free: others may know it.
                external_port: Some(port),
                lifetime_seconds: Some(RECOMMENDED_MAPPING_LIFETIME_SECONDS),
                timeout_config: None,
            };
            let asked = PortMapping::new(router.into(), me.into(), protocol, port, options).await;
            asked
                .inspect_err(|error| tracing::debug!(%router, %error, "the router opens no port"))
                .ok()?
        }
    };
    let ip = match mapping.mapping_type() {
        PortMappingType::Pcp { external_ip, .. } => external_ip,
        PortMappingType::NatPmp => {
            let router = GatewayAddress::IpV4(router);
            natpmp::external_address(router, None).await.ok()?.into()
        }
    };
    let IpAddr::V4(ip) = ip else { return None };
    Some(Lease {
        outside: SocketAddrV4::new(ip, mapping.external_port().get()),
        mapping,
    })
}

fn own_v4(own: &[Multiaddr]) -> impl Iterator<Item = (Ipv4Addr, &Multiaddr)> {
    own.iter().filter_map(|addr| match ip_of(addr) {
        Some(IpAddr::V4(ip)) => Some((ip, addr)),
        _ => None,
    })
}

/// The port we listen on; it is the same for both transports.
fn port_of(own: &[Multiaddr]) -> Option<NonZeroU16> {
    let mut ports = own_v4(own).flat_map(|(_, addr)| addr.iter());
    ports.find_map(|part| match part {
        Protocol::Tcp(port) | Protocol::Udp(port) => NonZeroU16::new(port),
        _ => None,
    })
}

/// The router, and our address on its network. A router with a public address has nothing to translate.
fn router_of(own: &[Multiaddr]) -> Option<(Ipv4Addr, Ipv4Addr)> {
    let said = std::fs::read_to_string("/proc/net/route")
        .ok()
        .and_then(|table| default_router(&table));
    let private = own_v4(own)
        .map(|(ip, _)| ip)
        .filter(|ip| is_private(IpAddr::V4(*ip)));
    match said {
        Some(router) => {
            let shared = |ip: &Ipv4Addr| (u32::from(*ip) ^ u32::from(router)).leading_zeros();
            let me = private.max_by_key(shared)?;
            is_private(IpAddr::V4(router)).then_some((router, me))
        }
        // Where the system keeps no such table: most home routers are the first of their network.
        None => private.map(|me| (first_of_network(me), me)).next(),
    }
}

fn first_of_network(ip: Ipv4Addr) -> Ipv4Addr {
    let [a, b, c, _] = ip.octets();
    Ipv4Addr::new(a, b, c, 1)
}

/// The router of the default route with the lowest metric in Linux' table of routes.
fn default_router(table: &str) -> Option<Ipv4Addr> {
    let routes = table.lines().skip(1).filter_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let [_, destination, gateway, _, _, _, metric, mask, ..] = fields.as_slice() else {
            return None;
        };
        // Both in the machine's byte order, as the kernel prints them.
        let gateway = u32::from_str_radix(gateway, 16).ok()?;
        let is_default = *destination == "00000000" && *mask == "00000000" && gateway != 0;
        is_default.then(|| {
            (
                metric.parse::<u32>().ok(),
                Ipv4Addr::from(gateway.to_ne_bytes()),
            )
        })
    });
    routes
        .min_by_key(|(metric, _)| metric.unwrap_or(u32::MAX))
        .map(|(_, router)| router)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn addrs(texts: &[&str]) -> Vec<Multiaddr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn the_router_is_the_default_route_with_the_lowest_metric() {
        let hex = |ip: [u8; 4]| format!("{:08X}", u32::from_ne_bytes(ip));
        let table = format!(
            "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n\
             wlan0\t00000000\t{}\t0003\t0\t0\t600\t00000000\t0\t0\t0\n\
             eth0\t00000000\t{}\t0003\t0\t0\t100\t00000000\t0\t0\t0\n\
             eth0\t{}\t00000000\t0001\t0\t0\t100\t{}\t0\t0\t0\n\
             junk\n",
            hex([10, 0, 0, 138]),
            hex([192, 168, 1, 254]),
            hex([192, 168, 1, 0]),
            hex([255, 255, 255, 0]),
        );
        assert_eq!(
            default_router(&table),
            Some(Ipv4Addr::new(192, 168, 1, 254))
        );
        assert_eq!(default_router(""), None);
        assert_eq!(default_router("header\nno route here\n"), None);
    }

    #[test]
    fn the_port_is_the_one_we_listen_on_over_ipv4() {
        let own = addrs(&[
            "/ip6/2001:db8::1/tcp/1",
            "/ip4/192.168.1.2/udp/4001/quic-v1",
        ]);
        assert_eq!(port_of(&own).map(NonZeroU16::get), Some(4001));
        assert_eq!(port_of(&own[..1]), None);
        assert_eq!(
            first_of_network(Ipv4Addr::new(192, 168, 1, 77)),
            Ipv4Addr::new(192, 168, 1, 1)
        );
    }

    #[tokio::test]
    async fn nobody_is_asked_before_it_is_wanted_or_where_it_is_not_allowed() {
        let (now, own) = (Instant::now(), addrs(&["/ip4/192.168.1.2/tcp/4001"]));
        let mut mapping = Mapping::new(true);
        mapping.tick(&own, now);
        mapping.verify(now);
        assert_eq!((mapping.try_at, mapping.asking.len()), (None, 0));
        let mut forbidden = Mapping::new(false);
        forbidden.want(now);
        assert_eq!(forbidden.try_at, None);
        mapping.want(now);
        assert_eq!(mapping.try_at, Some(now));
        // Nothing to ask for without an IPv4 address; it is tried again later.
        mapping.tick(&addrs(&["/ip6/2001:db8::1/tcp/1"]), now);
        assert_eq!(
            (mapping.try_at, mapping.asking.len()),
            (Some(now + TRY_AGAIN), 0)
        );
        assert_eq!(mapping.outside(), []);
    }
}
