//! Which interfaces can multicast, and which addresses are on the networks they belong to.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use getifaddrs::{Address, InterfaceFlags, getifaddrs};

/// An address family, because the groups are joined and packets are sent for each on its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Family {
    V4,
    V6,
}

impl Family {
    pub(super) fn of(ip: IpAddr) -> Self {
        match ip {
            IpAddr::V4(_) => Self::V4,
            IpAddr::V6(_) => Self::V6,
        }
    }
}

/// A way out: one interface in one family.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Exit {
    pub(super) name: String,
    pub(super) ip: IpAddr,
}

/// A network that an interface belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Subnet {
    ip: IpAddr,
    netmask: IpAddr,
}

/// The interfaces that are up and can multicast. The loopback is not one of them: nobody else is there.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Interfaces {
    /// By interface index.
    pub(super) exits: BTreeMap<(u32, Family), Exit>,
    subnets: Vec<Subnet>,
}

impl Interfaces {
    /// Asks the system.
    pub(super) fn look() -> io::Result<Self> {
        let addresses = getifaddrs()?.filter_map(|interface| {
            let (ip, netmask) = match interface.address {
                Address::V4(v4) => (IpAddr::V4(v4.address), v4.netmask.map(IpAddr::V4)),
                Address::V6(v6) => (IpAddr::V6(v6.address), v6.netmask.map(IpAddr::V6)),
                Address::Mac(_) => return None,
            };
            let usable = InterfaceFlags::UP | InterfaceFlags::RUNNING | InterfaceFlags::MULTICAST;
            let flags = interface.flags;
            (flags.contains(usable) && !flags.contains(InterfaceFlags::LOOPBACK)).then_some((
                interface.index?,
                interface.name,
                ip,
                netmask,
            ))
        });
        Ok(Self::of(addresses))
    }

    fn of(addresses: impl IntoIterator<Item = (u32, String, IpAddr, Option<IpAddr>)>) -> Self {
        let mut found = Self::default();
        for (index, name, ip, netmask) in addresses {
            found
                .subnets
                .extend(netmask.map(|netmask| Subnet { ip, netmask }));
            let exit = Exit { name, ip };
            let chosen = found
                .exits
                .entry((index, Family::of(ip)))
                .or_insert_with(|| exit.clone());
            // The same choice every time, whatever the order the system lists them in.
            if ip < chosen.ip {
                *chosen = exit;
            }
        }
        found.subnets.sort_unstable();
        found.subnets.dedup();
        found
    }

    /// Whether a packet came from one of these networks. Everything else was forged or forwarded: multicast does not
    /// leave its network.
    pub(super) fn reach(&self, from: IpAddr) -> bool {
        let link_local = match from {
            IpAddr::V4(ip) => ip.is_link_local(),
            IpAddr::V6(ip) => ip.is_unicast_link_local(),
        };
        link_local || self.subnets.iter().any(|subnet| subnet.contains(from))
    }
}

impl Subnet {
    fn contains(&self, other: IpAddr) -> bool {
        let within_v4 = |ip: Ipv4Addr, mask: Ipv4Addr, other: Ipv4Addr| ip & mask == other & mask;
        let within_v6 = |ip: Ipv6Addr, mask: Ipv6Addr, other: Ipv6Addr| ip & mask == other & mask;
        match (self.ip, self.netmask, other) {
            (IpAddr::V4(ip), IpAddr::V4(mask), IpAddr::V4(other)) => within_v4(ip, mask, other),
            (IpAddr::V6(ip), IpAddr::V6(mask), IpAddr::V6(other)) => within_v6(ip, mask, other),
            _ => false,
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn interfaces(list: &[(u32, &str, &str)]) -> Interfaces {
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        Interfaces::of(
            list.iter().map(|(index, addr, mask)| {
                (*index, format!("if{index}"), ip(addr), Some(ip(mask)))
            }),
        )
    }

    #[track_caller]
    fn check(from: &str, reached: bool) {
        let interfaces = interfaces(&[
            (2, "192.168.1.20", "255.255.255.0"),
            (3, "10.8.0.6", "255.255.255.255"),
            (2, "fd00::20", "ffff:ffff:ffff:ffff::"),
        ]);
        assert_eq!(interfaces.reach(from.parse().unwrap()), reached, "{from}");
    }

    #[test]
    fn packets_count_only_from_our_networks() {
        check("192.168.1.99", true);
        check("192.168.2.99", false);
        check("10.8.0.6", true);
        check("10.8.0.7", false);
        check("127.0.0.1", false);
        check("8.8.8.8", false);
        check("169.254.3.4", true);
        check("fd00::1:2:3:4", true);
        check("fd01::1", false);
        check("fe80::1", true);
        check("::ffff:192.168.1.99", false);
    }

    #[test]
    fn a_packet_leaves_once_an_interface_and_family() {
        let interfaces = interfaces(&[
            (2, "192.168.1.21", "255.255.255.0"),
            (2, "192.168.1.20", "255.255.255.0"),
            (2, "fe80::1", "ffff:ffff:ffff:ffff::"),
            (5, "192.168.1.22", "255.255.255.0"),
        ]);
        let exits: Vec<_> = interfaces
            .exits
            .iter()
            .map(|((index, _), exit)| (*index, exit.ip.to_string()))
            .collect();
        let expected = [(2, "192.168.1.20"), (2, "fe80::1"), (5, "192.168.1.22")];
        assert_eq!(exits, expected.map(|(index, ip)| (index, ip.to_owned())));
    }

    #[test]
    fn the_system_can_be_asked() {
        assert!(
            Interfaces::look()
                .unwrap()
                .exits
                .values()
                .all(|exit| !exit.ip.is_loopback())
        );
    }
}
