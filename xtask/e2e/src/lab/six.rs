//! IPv6 on the small internet: networks of their own for servers and homes, without translation, and routers at home
//! that let in only what was asked for.
//!
//! ```text
//! server (2a0d:45:n::2) ── net ── home's router (2a0d:5:n::2) ── lan 2a0d:5:n:1::/64 ── host (…::2)
//! ```

use std::net::Ipv6Addr;

use anyhow::{Result, ensure};

use super::Host;
use super::internet::{Home, Internet};

/// A router lets out everything and in what answers it; neighbours have to find each other.
const FIREWALL: &str = r#"
table ip6 firewall {
  chain input { type filter hook input priority filter; policy drop;
    iifname { "lan", "lo" } accept
    meta l4proto ipv6-icmp accept
  }
  chain forward { type filter hook forward priority filter; policy drop;
    iifname "lan" oifname "wan" accept
    iifname "wan" ct state established,related accept
  }
}
"#;

impl Internet {
    /// Gives a server an address of IPv6 beside its other one.
    pub(crate) fn server6(&self, number: u8, host: &Host) -> Result<Ipv6Addr> {
        let network = format!("2a0d:45:{number}:");
        self.line6(&format!("s{number}"), host, &network)?;
        Ok(format!("{network}:2").parse()?)
    }

    /// Gives a home behind a router a network of IPv6 beside its other one.
    pub(crate) fn home6(&self, home: &Home) -> Result<()> {
        let number = home.number;
        ensure!(
            home.edge.name() != home.host.name(),
            "home {number} has no router"
        );
        let (outer, inner) = (format!("2a0d:5:{number}:"), format!("2a0d:5:{number}:1:"));
        self.line6(&format!("h{number}"), &home.edge, &outer)?;
        let middle = self.middle();
        middle.ip(&format!("-6 route add {inner}:/64 via {outer}:2"))?;
        home.edge.forward6()?;
        home.edge
            .ip(&format!("-6 addr add {inner}:1/64 dev lan nodad"))?;
        home.host
            .ip(&format!("-6 addr add {inner}:2/64 dev eth0 nodad"))?;
        home.host
            .ip(&format!("-6 route add default via {inner}:1"))?;
        home.edge.rules(FIREWALL)
    }

    /// Addresses for both ends of a line, and the way out.
    fn line6(&self, name: &str, edge: &Host, network: &str) -> Result<()> {
        let middle = self.middle();
        middle.forward6()?;
        middle.ip(&format!("-6 addr add {network}:1/64 dev {name} nodad"))?;
        edge.ip(&format!("-6 addr add {network}:2/64 dev wan nodad"))?;
        edge.ip(&format!("-6 route add default via {network}:1"))
    }
}

impl Home {
    /// Takes IPv4 away from its host.
    pub(crate) fn only_ipv6(&self) -> Result<()> {
        self.host.ip("-4 addr flush dev eth0")
    }
}

impl Host {
    fn forward6(&self) -> Result<()> {
        let set = "echo 1 > /proc/sys/net/ipv6/conf/all/forwarding";
        let done = self.command("sh").args(["-c", set]).status()?;
        ensure!(done.success(), "{} could not be made a router", self.name());
        Ok(())
    }
}
