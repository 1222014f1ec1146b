//! A small internet: one router in the middle, servers with public addresses, and homes with every kind of access.
//!
//! ```text
//! server (45.7.n.2) ── net ── edge: home's router, carrier's router or the host itself (5.9.n.2)
//!                                   └─ lan 192.168.n.0/24 ─ host (192.168.n.2)
//! ```
//!
//! The addresses look real because programs refuse documentation ranges; nothing of this can leave the sealed network.

use std::cell::RefCell;
use std::io::Write;
use std::net::Ipv4Addr;
use std::process::Stdio;

use anyhow::{Context, Result, bail};
use goop_line::{Line, Quality};

use super::nat::Nat;
use super::{Host, Lab, ip};

/// The middle of it.
pub(crate) struct Internet {
    middle: Host,
    /// Slow lines that are in use.
    lines: RefCell<Vec<Line>>,
}

/// A host with an access of some kind.
#[derive(Debug)]
pub(crate) struct Home {
    /// Where a peer runs.
    pub(crate) host: Host,
    /// Who has the public address: a router, or the host itself.
    pub(super) edge: Host,
    nat: Nat,
    pub(super) number: u8,
}

impl Internet {
    /// An internet with nobody on it, in the empty network of a scenario.
    pub(crate) fn new(_: &Lab) -> Result<Self> {
        let middle = Host::elsewhere("net".to_owned());
        middle.make()?;
        middle.forward()?;
        Ok(Self {
            middle,
            lines: RefCell::default(),
        })
    }

    /// What everything else is joined to.
    pub(super) fn middle(&self) -> &Host {
        &self.middle
    }

    /// A server with a public address.
    pub(crate) fn server(&self, number: u8) -> Result<(Host, Ipv4Addr)> {
        let host = Host::elsewhere(format!("server{number}"));
        host.make()?;
        let address = Ipv4Addr::new(45, 7, number, 2);
        self.cable(&format!("s{number}"), &host)?;
        self.address(&format!("s{number}"), &host, address)?;
        Ok((host, address))
    }

    /// A home at the end of a cable.
    pub(crate) fn home(&self, number: u8, nat: Nat) -> Result<Home> {
        self.build(number, nat, |edge| self.cable(&format!("h{number}"), edge))
    }

    /// A home at the end of a long line.
    pub(crate) fn far_home(&self, number: u8, nat: Nat, quality: Quality) -> Result<Home> {
        self.build(number, nat, |edge| {
            let middle = format!("h{number}");
            let line = Line::new([&middle, &format!("far{number}")], quality)?;
            ip(&format!("link set {middle} netns {}", self.middle.name))?;
            ip(&format!(
                "link set far{number} netns {} name wan",
                edge.name
            ))?;
            self.lines.borrow_mut().push(line);
            Ok(())
        })
    }

    fn build(&self, number: u8, nat: Nat, join: impl FnOnce(&Host) -> Result<()>) -> Result<Home> {
        let host = Host::elsewhere(format!("host{number}"));
        host.make()?;
        let rules = nat.rules();
        let mut edge = host.clone();
        if let Some(rules) = rules.home {
            edge = router(&format!("home{number}"), &rules)?;
            lan(&edge, &host, "eth0", Ipv4Addr::new(192, 168, number, 2))?;
        }
        if let Some(rules) = rules.carrier {
            let carrier = router(&format!("carrier{number}"), &rules)?;
            // RFC 6598: addresses for the space between a carrier and its customers.
            lan(&carrier, &edge, "wan", Ipv4Addr::new(100, 64, number, 2))?;
            edge = carrier;
        }
        let home = Home {
            host,
            edge,
            nat,
            number,
        };
        join(&home.edge)?;
        self.address(&format!("h{number}"), &home.edge, home.public())?;
        Ok(home)
    }

    /// A cable from the middle to the `wan` of somebody.
    fn cable(&self, name: &str, edge: &Host) -> Result<()> {
        ip(&format!(
            "link add {name} netns {} type veth peer name wan netns {}",
            self.middle.name, edge.name
        ))
    }

    /// Gives both ends of a line addresses of one /24 and leads everything through the middle.
    fn address(&self, name: &str, edge: &Host, address: Ipv4Addr) -> Result<()> {
        let gateway = first_of(address);
        self.middle
            .ip(&format!("addr add {gateway}/24 dev {name}"))?;
        self.middle.ip(&format!("link set {name} up"))?;
        edge.ip(&format!("addr add {address}/24 dev wan"))?;
        edge.ip("link set wan up")?;
        edge.ip(&format!("route add default via {gateway}"))
    }
}

impl Home {
    /// What others see of it: the address its access has on the internet.
    pub(crate) fn public(&self) -> Ipv4Addr {
        Ipv4Addr::new(5, 9, self.number, 2)
    }

    /// What kind of access it has.
    pub(crate) fn nat(&self) -> Nat {
        self.nat
    }

    /// The interface of its host, as the host calls it.
    fn interface(&self) -> &'static str {
        match self.nat {
            Nat::None => "wan",
            _ => "eth0",
        }
    }

    /// Takes the line to the internet down, beyond everything that the host sees, or brings it up again.
    pub(crate) fn set_line(&self, up: bool) -> Result<()> {
        let state = if up { "up" } else { "down" };
        self.edge.ip(&format!("link set wan {state}"))?;
        if up {
            // It went with the line.
            let gateway = first_of(self.public());
            self.edge.ip(&format!("route add default via {gateway}"))?;
        }
        Ok(())
    }

    /// Takes the host's interface down.
    pub(crate) fn leave(&self) -> Result<()> {
        self.host.ip(&format!("link set {} down", self.interface()))
    }

    /// Brings the host's interface up again, with another address of the same network; gives the address.
    pub(crate) fn come_back(&self, last: u8) -> Result<Ipv4Addr> {
        let mut octets = match self.nat {
            Nat::None => self.public(),
            _ => Ipv4Addr::new(192, 168, self.number, 2),
        }
        .octets();
        octets[3] = last;
        let address = Ipv4Addr::from(octets);
        let interface = self.interface();
        self.host.ip(&format!("addr flush dev {interface}"))?;
        self.host
            .ip(&format!("addr add {address}/24 dev {interface}"))?;
        self.host.ip(&format!("link set {interface} up"))?;
        // The default route went with the interface.
        self.host
            .ip(&format!("route add default via {}", first_of(address)))?;
        Ok(address)
    }
}

impl Host {
    /// Lets packets of others through.
    fn forward(&self) -> Result<()> {
        let done = self
            .command("sh")
            .args(["-c", "echo 1 > /proc/sys/net/ipv4/ip_forward"])
            .status()?;
        if !done.success() {
            bail!("{} could not be made a router", self.name);
        }
        Ok(())
    }

    /// Gives this host rules of the packet filter.
    pub(super) fn rules(&self, rules: &str) -> Result<()> {
        // `ip netns exec` says the same whether it or the program is missing; so the program is asked first.
        std::process::Command::new("nft")
            .arg("--version")
            .stdout(Stdio::null())
            .status()
            .context("`nft` is missing: cargo xtask setup")?;
        let mut nft = self
            .command("nft")
            .args(["-f", "-"])
            .stdin(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        nft.stdin
            .take()
            .context("no input of nft")?
            .write_all(rules.as_bytes())?;
        let output = nft.wait_with_output()?;
        if !output.status.success() {
            bail!(
                "nft on {}: {}\n{rules}",
                self.name,
                String::from_utf8_lossy(&output.stderr)
            );
        }
        Ok(())
    }
}

/// A router with rules, and no interface yet.
fn router(name: &str, rules: &str) -> Result<Host> {
    let router = Host::elsewhere(name.to_owned());
    router.make()?;
    router.forward()?;
    router.rules(rules)?;
    Ok(router)
}

/// A cable from the `lan` of a router to an interface of somebody behind it.
fn lan(router: &Host, inner: &Host, interface: &str, address: Ipv4Addr) -> Result<()> {
    ip(&format!(
        "link add lan netns {} type veth peer name {interface} netns {}",
        router.name, inner.name
    ))?;
    let gateway = first_of(address);
    router.ip(&format!("addr add {gateway}/24 dev lan"))?;
    router.ip("link set lan up")?;
    inner.ip(&format!("addr add {address}/24 dev {interface}"))?;
    inner.ip(&format!("link set {interface} up"))?;
    inner.ip(&format!("route add default via {gateway}"))
}

/// The gateway of a /24.
fn first_of(address: Ipv4Addr) -> Ipv4Addr {
    let [a, b, c, _] = address.octets();
    Ipv4Addr::new(a, b, c, 1)
}
