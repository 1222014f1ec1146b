//! Real peers behind each pair of NAT kinds, introduced by a real rendezvous server: both see each other, each opens the
//! other's page, and they end on the best path their routers allow (`nat_kinds` shows which that is).

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::nat_kinds::FAR;
use crate::figures::{Cell, Path, Series};
use crate::lab::{Home, Internet, Lab, Nat, Quality, wait};
use crate::peer::{Peer, tail};
use crate::rendezvous::Rendezvous;
use crate::{Kind, Scenario};

/// Two starts, a first presence record each, and the server's word to the other.
pub(super) const KNOWN: Duration = Duration::from_secs(30);
/// The first attempts may run into routers that say nothing (dialling: 10 s).
pub(super) const PAGE: Duration = Duration::from_secs(30);
/// Three attempts at a direct connection, 10 s each at most (network.md 9.7).
const PATH: Duration = Duration::from_secs(40);
/// A dead connection is noticed (10 s), the relay is found again (full refresh: 10 s), and a page comes.
const BACK: Duration = Duration::from_secs(60);

/// What a peer's log says of a hole …
const HOLE: &str = "a hole is tried";
/// … and of one that was tried before.
const AGAIN: &str = "a hole is tried once more";

/// Every pair, whatever the order, and the two series.
pub(super) fn all() -> Vec<Scenario> {
    let mut all = Vec::new();
    for (at, a) in Nat::ALL.into_iter().enumerate() {
        for b in Nat::ALL.into_iter().skip(at) {
            all.push(cell(format!("NAT pair: {a} × {b}"), move |lab| {
                pair(lab, Series::Plain, (a, b))
            }));
        }
    }
    for a in Nat::ALL {
        all.push(cell(format!("NAT pair on long lines: {a}"), move |lab| {
            pair(lab, Series::LongLines, (a, a))
        }));
    }
    for a in Nat::ALL {
        all.push(cell(format!("NAT pair, one moves: {a}"), move |lab| {
            pair(lab, Series::Moving, (a, Nat::PortRestricted))
        }));
    }
    all
}

fn cell(name: String, run: impl Fn(&Lab) -> Result<()> + 'static) -> Scenario {
    Scenario {
        name: name.into(),
        kind: Kind::Matrix,
        run: Box::new(run),
    }
}

fn pair(lab: &Lab, series: Series, (a, b): (Nat, Nat)) -> Result<()> {
    let net = Internet::new(lab)?;
    let (host, address) = net.server(1)?;
    let rendezvous = Rendezvous::start(lab, &host, address)?;
    let far = (series == Series::LongLines).then_some(FAR);
    let home = |number, nat| match far {
        Some(quality) => net.far_home(
            number,
            nat,
            Quality {
                seed: quality.seed + u64::from(number),
                ..quality
            },
        ),
        None => net.home(number, nat),
    };
    let homes = [home(1, a)?, home(2, b)?];
    let pair = Pair::start(lab, &rendezvous, &homes)?;
    let outcome = pair.measure(lab, series, &homes);
    outcome.with_context(|| {
        format!(
            "Ada:\n{}\nGrace:\n{}\nserver:\n{}",
            tail(&pair.ada.log()),
            tail(&pair.grace.log()),
            tail(&rendezvous.log())
        )
    })
}

/// What most people have at home: both routers let in who was talked to, and the two connect directly.
pub(super) fn two_homes(lab: &Lab) -> Result<()> {
    pair(
        lab,
        Series::Plain,
        (Nat::PortRestricted, Nat::PortRestricted),
    )
}

/// Routers with another port for each connection: only the relay is left.
pub(super) fn over_the_relay(lab: &Lab) -> Result<()> {
    pair(lab, Series::Plain, (Nat::Symmetric, Nat::Symmetric))
}

/// Both hear of each other at the same moment, so each calls the other over the relay. Were a door dialled twice from one port,
/// for two holes at once or by two dials of the relay, the system would let the second leave from another port, and libp2p
/// would say so.
pub(super) fn one_hole(lab: &Lab) -> Result<()> {
    const DIALS: &str = "dialing address";
    const ANOTHER_PORT: &str = "re-dialing with new port";
    let net = Internet::new(lab)?;
    let (host, address) = net.server(1)?;
    let rendezvous = Rendezvous::start(lab, &host, address)?;
    let homes = [net.home(1, Nat::UdpBlocked)?, net.home(2, Nat::UdpBlocked)?];
    let [mut ada, mut grace] = [
        peer(lab, &rendezvous, &homes[0], "Ada")?,
        peer(lab, &rendezvous, &homes[1], "Grace")?,
    ];
    for peer in [&mut ada, &mut grace] {
        peer.tells = Some("libp2p_tcp=debug");
    }
    let pair = Pair::of(ada, grace)?;
    pair.known(KNOWN)?;
    pair.path(Instant::now(), &homes)?;
    for (peer, _, _) in pair.sides() {
        let log = peer.log();
        ensure!(log.contains(DIALS), "it tells nothing: {}", tail(&log));
        let other = log.lines().find(|line| line.contains(ANOTHER_PORT));
        ensure!(other.is_none(), "{other:?}");
    }
    Ok(())
}

/// Peers that know no server find each other as soon as their owners enter its address, without a restart.
pub(super) fn entered_later(lab: &Lab) -> Result<()> {
    let net = Internet::new(lab)?;
    let (host, address) = net.server(1)?;
    let rendezvous = Rendezvous::start(lab, &host, address)?;
    let homes = [
        net.home(1, Nat::PortRestricted)?,
        net.home(2, Nat::PortRestricted)?,
    ];
    let [mut ada, mut grace] = [
        Peer::new(lab, &homes[0].host, "Ada")?,
        Peer::new(lab, &homes[1].host, "Grace")?,
    ];
    ada.start()?;
    grace.start()?;
    let ids = [ada.id()?, grace.id()?];
    let pair = Pair { ada, grace, ids };
    for (peer, id, name) in pair.sides() {
        ensure!(peer.row(id)?.is_none(), "{name} is known already");
    }
    let enter = |peer: &Peer, url: &str| -> Result<()> {
        let change = serde_json::json!({ "presence": { "rendezvous_wan": url } });
        let answer = peer.post("/api/settings", &change.to_string())?;
        ensure!(answer.status == 200, "{}", answer.text());
        let restart = &answer.json()?["restart"];
        ensure!(restart.as_array().is_some_and(Vec::is_empty), "{restart}");
        Ok(())
    };
    for (peer, _, _) in pair.sides() {
        enter(peer, &rendezvous.url(Nat::PortRestricted))?;
    }
    for (peer, id, name) in pair.sides() {
        peer.wait_row(&format!("{name} is known"), id, KNOWN, |row| {
            row["Offline"] == false
        })?;
    }
    pair.pages(Instant::now(), PAGE)?;
    Ok(())
}

/// Two peers and their ids.
pub(super) struct Pair {
    pub(super) ada: Peer,
    pub(super) grace: Peer,
    ids: [String; 2],
}

impl Pair {
    pub(super) fn start(lab: &Lab, rendezvous: &Rendezvous, homes: &[Home; 2]) -> Result<Self> {
        let [mut ada, mut grace] = [
            peer(lab, rendezvous, &homes[0], "Ada")?,
            peer(lab, rendezvous, &homes[1], "Grace")?,
        ];
        for peer in [&mut ada, &mut grace] {
            peer.tells = Some("info,goop_net::host::punching=debug");
        }
        Self::of(ada, grace)
    }

    /// Starts both.
    pub(super) fn of(mut ada: Peer, mut grace: Peer) -> Result<Self> {
        ada.spawn()?;
        grace.spawn()?;
        ada.started()?;
        grace.started()?;
        let ids = [ada.id()?, grace.id()?];
        Ok(Self { ada, grace, ids })
    }

    /// Each side: the peer, the other's id, the other's name.
    pub(super) fn sides(&self) -> [(&Peer, &str, &str); 2] {
        [
            (&self.ada, &self.ids[1], "Grace"),
            (&self.grace, &self.ids[0], "Ada"),
        ]
    }

    fn measure(&self, lab: &Lab, series: Series, homes: &[Home; 2]) -> Result<()> {
        self.known(KNOWN)?;
        let mut start = Instant::now();
        let mut page = self.pages(start, PAGE)?;
        let mut first = self.first()?;
        let mut direct = self.path(start, homes)?;
        if series == Series::Moving {
            homes[0].leave()?;
            homes[0].come_back(77)?;
            start = Instant::now();
            page = self.pages(start, BACK)?;
            first = self.first()?;
            direct = self.path(start, homes)?;
        }
        let (punched, again) = (self.tells(HOLE), self.tells(AGAIN));
        ensure!(
            first == Path::Direct || direct.is_none() || punched,
            "it is not said how they came from the relay to each other"
        );
        lab.figures().add(Cell {
            at_first_try: !again,
            series,
            pair: (homes[0].nat(), homes[1].nat()),
            first,
            page,
            direct,
        });
        Ok(())
    }

    /// Whether one of them says something in its log.
    fn tells(&self, text: &str) -> bool {
        self.sides()
            .iter()
            .any(|(peer, ..)| peer.log().contains(text))
    }

    /// Waits until each has the other in its list.
    pub(super) fn known(&self, within: Duration) -> Result<()> {
        for (peer, id, name) in self.sides() {
            peer.wait_row(&format!("{name} is known"), id, within, |row| {
                row["Offline"] == false
            })?;
        }
        Ok(())
    }

    /// Each opens the other's page; gives how long it took until both had.
    pub(super) fn pages(&self, start: Instant, within: Duration) -> Result<Duration> {
        for (peer, id, name) in self.sides() {
            let page = wait(&format!("the page of {name}"), within, || {
                let answer = peer.visit(id, "", &[])?;
                ensure!(answer.status == 200, "{}: {}", answer.status, answer.text());
                Ok(Some(answer.text()))
            })?;
            ensure!(page.contains(&format!("Hello from {name}")), "{page}");
        }
        Ok(start.elapsed())
    }

    /// How both are connected now: direct only when each says so.
    fn first(&self) -> Result<Path> {
        for (peer, id, _) in self.sides() {
            if path(peer, id)? != Some(Path::Direct) {
                return Ok(Path::Relay);
            }
        }
        Ok(Path::Direct)
    }

    /// Waits for the best path; gives how long it took when that is the direct one.
    fn path(&self, start: Instant, homes: &[Home; 2]) -> Result<Option<Duration>> {
        let best = match homes[0].nat().direct(homes[1].nat()) {
            true => Path::Direct,
            false => Path::Relay,
        };
        for (peer, id, name) in self.sides() {
            wait(&format!("the path to {name} is {best:?}"), PATH, || {
                let path = path(peer, id)?;
                ensure!(path == Some(best), "it is {path:?}");
                Ok(Some(()))
            })?;
        }
        Ok((best == Path::Direct).then(|| start.elapsed()))
    }
}

pub(super) fn peer(lab: &Lab, rendezvous: &Rendezvous, home: &Home, name: &str) -> Result<Peer> {
    let presence = serde_json::json!({ "rendezvous_wan": rendezvous.url(home.nat()) });
    let mut peer = Peer::with(lab, &home.host, name, &presence)?;
    peer.trust = Some(rendezvous.certificate().to_owned());
    Ok(peer)
}

/// How a peer is connected to another one, from its picture of the network (network.md 5.5).
pub(super) fn path(peer: &Peer, id: &str) -> Result<Option<Path>> {
    let topology = peer.get("/api/topology")?.json()?;
    let row = topology["peers"]
        .as_array()
        .and_then(|rows| rows.iter().find(|row| row["id"] == id));
    Ok(match row.and_then(|row| row["connection"].as_str()) {
        Some("direct") => Some(Path::Direct),
        Some("relay") => Some(Path::Relay),
        _ => None,
    })
}
