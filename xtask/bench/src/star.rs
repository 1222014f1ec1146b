//! A star of three network namespaces: two peers, each with a line to the middle, where a server runs.
//!
//! ```text
//! here (5.9.1.2) ── middle (45.7.0.1 on lo) ── there (5.9.2.2)
//! ```
//!
//! The addresses look like those of the internet, because private ones say that whoever has them is near; nothing of this
//! can leave the namespaces. The middle passes no packet on, and says nothing to whoever tries: the peers have no way to each other but the server.

use std::net::Ipv4Addr;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use goop_line::Line;

use crate::space::{Space, ip, wait_for_link};

/// Where the server is, for both peers.
pub(crate) const SERVER: Ipv4Addr = Ipv4Addr::new(45, 7, 0, 1);

/// How many bytes a line carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Rate {
    /// What the machine can.
    #[default]
    Unlimited,
    /// 10⁹ bits a second, in each direction.
    Gigabit,
}

/// What both lines are like.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Quality {
    /// How long a packet is on its way from either peer to the server. Without it, a line is a plain link of the kernel.
    pub(crate) away: Option<Duration>,
    /// How many bytes pass.
    pub(crate) rate: Rate,
}

impl From<Rate> for Quality {
    fn from(rate: Rate) -> Self {
        Self { away: None, rate }
    }
}

/// The namespaces, and the lines between them.
#[derive(Debug)]
pub(crate) struct Star {
    /// Where the browsing person is.
    pub(crate) here: Space,
    /// Where the owner of the site is.
    pub(crate) there: Space,
    /// Where the server is.
    pub(crate) middle: Space,
    /// Dropped, they end.
    _lines: Vec<Line>,
}

impl Star {
    /// Makes it.
    pub(crate) fn new(Quality { away, rate }: Quality) -> Result<Self> {
        let [here, there] = [
            Space::new(Ipv4Addr::new(5, 9, 1, 2))?,
            Space::new(Ipv4Addr::new(5, 9, 2, 2))?,
        ];
        let middle = Space::new(SERVER)?;
        middle.enter(|| {
            // It is inherited, and a machine with containers forwards.
            std::fs::write("/proc/sys/net/ipv4/ip_forward", "0").context("no forwarding")?;
            ip(&["link", "set", "lo", "up"])?;
            ip(&["addr", "add", &format!("{SERVER}/32"), "dev", "lo"])
        })?;
        let mut lines = Vec::new();
        for (space, name) in [(&here, "here"), (&there, "there")] {
            lines.extend(join(space, &middle, name, away)?);
            let gateway = gateway(space.address);
            middle.enter(|| {
                ip(&["addr", "add", &format!("{gateway}/24"), "dev", name])?;
                ip(&["link", "set", name, "up"])
            })?;
            space.enter(|| {
                ip(&["link", "set", "lo", "up"])?;
                ip(&[
                    "addr",
                    "add",
                    &format!("{}/24", space.address),
                    "dev",
                    "eth0",
                ])?;
                ip(&["link", "set", "eth0", "up"])?;
                ip(&["route", "add", "default", "via", &gateway.to_string()])
            })?;
        }
        if rate == Rate::Gigabit {
            for (space, name) in [
                (&here, "eth0"),
                (&there, "eth0"),
                (&middle, "here"),
                (&middle, "there"),
            ] {
                space.enter(|| hold(name))?;
            }
        }
        if away.is_none() {
            for space in [&here, &there] {
                space.enter(|| wait_for_link("eth0"))?;
            }
        }
        Ok(Self {
            here,
            there,
            middle,
            _lines: lines,
        })
    }
}

/// Lets what leaves by an interface go at a gigabit. What a program may have in its queue is worth 20 ms.
fn hold(name: &str) -> Result<()> {
    let rate = ["rate", "1gbit", "burst", "128kb", "latency", "20ms"];
    let output = Command::new("tc")
        .args(["qdisc", "add", "dev", name, "root", "tbf"])
        .args(rate)
        .output()
        .context("tc(8) of iproute2 is needed")?;
    ensure!(
        output.status.success(),
        "tc: {}",
        String::from_utf8_lossy(&output.stderr).trim()
    );
    Ok(())
}

/// Joins the `eth0` of a space to the interface `name` of the middle.
fn join(space: &Space, middle: &Space, name: &str, away: Option<Duration>) -> Result<Option<Line>> {
    let far = space.path();
    let Some(delay) = away else {
        middle.enter(|| {
            ip(&[
                "link", "add", name, "type", "veth", "peer", "name", "eth0", "netns", &far,
            ])
        })?;
        return Ok(None);
    };
    let quality = goop_line::Quality {
        delay,
        loss: 0,
        seed: 0,
    };
    let end = format!("{name}-far");
    let line = middle.enter(|| {
        let line = Line::new([name, &end], quality)?;
        ip(&["link", "set", &end, "netns", &far, "name", "eth0"])?;
        Ok(line)
    })?;
    Ok(Some(line))
}

/// The middle's address on the line of a peer.
fn gateway(of: Ipv4Addr) -> Ipv4Addr {
    let [a, b, c, _] = of.octets();
    Ipv4Addr::new(a, b, c, 1)
}
