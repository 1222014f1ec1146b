//! Two peers who have no way to each other but the relay of a rendezvous server: how fast a file passes, how soon the first
//! page is there, and what reservations cost that nobody uses.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};

use super::rendezvous::program;
use super::servers::{BareHttp, BareNode};
use super::{BULK, Target};
use crate::bench::Bench;
use crate::floor::{host::Transport, splice};
use crate::http;
use crate::load::bulk::{self, Bulk};
use crate::load::places;
use crate::peer::{self, HUGE, LARGE_FILE, Peer};
use crate::process::{self, Process, own_command};
use crate::profile::Profile;
use crate::report::{Floor, Goal, Row};
use crate::samples::{Samples, Unit, mib, ms};
use crate::star::{Rate, SERVER, Star};

const PORT: u16 = 8_787;
const RELAY: u16 = 4_001;
const SPLICE: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(SERVER), 9_000);
/// Part of the splice's speed.
const SPEED: f64 = 0.7;
/// There and back between the two peers, over the server.
const ROUND_TRIP: Duration = Duration::from_millis(80);
/// Until the first byte, without the round trips …
const FIRST: f64 = 500.0;
/// … of which there may be this many.
const ROUND_TRIPS: f64 = 2.0;
/// Those who hold a place.
const PLACES: usize = 1_000;
/// MiB for all of them.
const MEMORY: f64 = 40.0;
/// How long a server may take to start.
const START: Duration = Duration::from_secs(10);
/// How long two peers may take until both know each other, and until a page is there.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long lists are asked again.
const LOOK: Duration = Duration::from_millis(2);
/// How long 1,000 hosts may take to come.
const COMING: Duration = Duration::from_secs(120);
/// What connecting took is given back by then.
const REST: Duration = Duration::from_secs(5);

pub(super) fn throughput(bench: &Bench) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for (rate, what, goal) in [
        (
            Rate::Unlimited,
            "256 MB file of a site over the relay",
            Goal::OfFloor(SPEED),
        ),
        (
            Rate::Gigabit,
            "the same over lines of 1 Gbit/s",
            Goal::OfFloor(SPEED),
        ),
    ] {
        let star = Star::new(rate.into())?;
        let (ours, floor) = speed(bench, &star, rate)?;
        rows.push(Row {
            what: what.to_owned(),
            unit: Unit::Megabytes,
            ours,
            floor: Some(Floor::new("bare TCP splice, bare hyper behind it", floor)),
            goal,
            note: "the relay's limit of 16 MiB for a circuit is lifted".to_owned(),
        });
    }
    Ok(rows)
}

/// Of our peers, and of the splice.
fn speed(bench: &Bench, star: &Star, rate: Rate) -> Result<(Samples, Samples)> {
    let (mut ours, mut floor) = (Samples::default(), Samples::default());
    let name = format!("relay-throughput-{rate:?}").to_lowercase();
    let file = bench.folder(&name);
    peer::make_folder(&file, HUGE)?;
    let file = file.join("site").join(LARGE_FILE);
    let bare = BareHttp::file_in(bench, &star.there, &file)?;
    let _splice = start_splice(bench, star, bare.target.addr)?;
    let around = match bench.floors_only {
        true => None,
        false => Some((
            Server::start(bench, star, &name)?,
            Pair::meet(bench, star, &name, HUGE)?,
        )),
    };
    let profile = match &around {
        Some((server, pair)) => {
            bench.profile_of(&[&pair.here.process, &server.process, &pair.there.process])?
        }
        None => None,
    };
    for _ in 0..bench.effort.rounds {
        if let Some((_, pair)) = &around {
            ours.push(large(bench, &pair.target(LARGE_FILE), None)?.megabytes);
            pair.is_relayed()?;
        }
        let target = Target {
            space: &star.here,
            addr: SPLICE,
            host: SPLICE.to_string(),
            path: "/".to_owned(),
            files: 1,
        };
        floor.push(large(bench, &target, None)?.megabytes);
    }
    profile.map(Profile::finish).transpose()?;
    if let Some((_, pair)) = &around {
        let compare = pair.there.folder.join("site").join(LARGE_FILE);
        large(bench, &pair.target(LARGE_FILE), Some(&compare))?;
    }
    Ok((ours, floor))
}

fn large(bench: &Bench, target: &Target<'_>, compare: Option<&Path>) -> Result<Bulk> {
    let mut arguments = vec![
        bulk::COMMAND.to_owned(),
        format!("--addr={}", target.addr),
        format!("--host={}", target.host),
        format!("--path={}", target.path),
        format!("--length={HUGE}"),
    ];
    arguments.extend(compare.map(|file| format!("--compare={}", file.display())));
    process::ask(target.space, &arguments, BULK, bench.logs())
}

pub(super) fn first_byte(bench: &Bench) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for (round_trip, what) in [
        (
            None,
            "first byte of a page over the relay, after both know each other".to_owned(),
        ),
        (
            Some(ROUND_TRIP),
            format!(
                "the same with a round trip of {} ms between them",
                ROUND_TRIP.as_millis()
            ),
        ),
    ] {
        // A round trip between the peers has four ways to or from the server.
        let star = Star::new(crate::star::Quality {
            away: round_trip.map(|round_trip| round_trip / 4),
            rate: Rate::Unlimited,
        })?;
        let (ours, floor, refused) = first_bytes(bench, &star, round_trip.is_some())?;
        let goal = FIRST + ROUND_TRIPS * round_trip.map_or(0.0, ms);
        rows.push(Row {
            what,
            unit: Unit::Milliseconds,
            ours,
            floor: Some(Floor::new("through a bare TCP splice", floor)),
            goal: Goal::AtMost(goal),
            note: format!(
                "new keys each time; nobody answers at the peers' own addresses; {refused} pages had to be asked for again"
            ),
        });
    }
    Ok(rows)
}

/// Of our peers, and through the splice; and how often a page was refused.
fn first_bytes(bench: &Bench, star: &Star, far: bool) -> Result<(Samples, Samples, usize)> {
    let (mut ours, mut floor) = (Samples::default(), Samples::default());
    let mut refused = 0;
    let name = format!("relay-first-byte-{}", if far { "far" } else { "near" });
    let bare = BareHttp::bytes_in(bench, &star.there, 64)?;
    let _splice = start_splice(bench, star, bare.target.addr)?;
    let _server = match bench.floors_only {
        true => None,
        false => Some(Server::start(bench, star, &name)?),
    };
    for round in 0..bench.effort.starts {
        if !bench.floors_only {
            let pair = Pair::start(bench, star, &format!("{name}-{round}"), 0)?;
            let known = pair.known()?;
            refused += pair.page()?;
            ours.push(ms(known.elapsed()));
            pair.is_relayed()?;
        }
        let asked = Instant::now();
        let stream = star.here.connect(SPLICE)?;
        http::get(stream, &SPLICE.to_string(), "/", None)?.ok("the floor")?;
        floor.push(ms(asked.elapsed()));
    }
    Ok((ours, floor, refused))
}

pub(super) fn idle(bench: &Bench) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for (transport, over) in [
        (Transport::Quic, "QUIC, as our peers have it"),
        (Transport::Tls, "TCP, TLS and yamux, as Go peers have it"),
    ] {
        let (mut ours, mut floor) = (Samples::default(), Samples::default());
        for round in 0..bench.effort.rounds {
            let star = Star::new(crate::star::Quality::default())?;
            if !bench.floors_only {
                let name = format!("relay-idle-{}-{round}", transport.name());
                let server = Server::start(bench, &star, &name)?;
                let addr = server.relay_addr(transport);
                ours.push(growth(
                    bench,
                    &star,
                    &server.process,
                    transport,
                    &addr,
                    false,
                )?);
            }
            let bare = BareNode::start(bench, &star.middle, transport, None)?;
            floor.push(growth(
                bench,
                &star,
                &bare.process,
                transport,
                &bare.addr,
                true,
            )?);
        }
        rows.push(Row {
            what: format!("{PLACES} idle reservations over {over}: growth of the server's memory"),
            unit: Unit::Mebibytes,
            ours,
            floor: Some(Floor::new(
                "as many connections to a bare libp2p host",
                floor,
            )),
            goal: Goal::AtMost(MEMORY),
            note: format!(
                "resident {} s after the last came, less before",
                REST.as_secs()
            ),
        });
    }
    Ok(rows)
}

/// MiB by which a process grows when everybody has come.
fn growth(
    bench: &Bench,
    star: &Star,
    process: &Process,
    transport: Transport,
    addr: &str,
    bare: bool,
) -> Result<f64> {
    std::thread::sleep(REST);
    let before = process.memory()?.rss;
    let mut arguments = vec![
        places::COMMAND.to_owned(),
        format!("--transport={}", transport.name()),
        format!("--addr={addr}"),
        format!("--clients={PLACES}"),
    ];
    arguments.extend(bare.then(|| "--bare".to_owned()));
    let load = Process::start(
        &star.here,
        places::COMMAND,
        own_command(&arguments)?,
        bench.logs(),
    )?;
    load.line(COMING, |line| line.starts_with(places::HELD).then_some(()))?;
    std::thread::sleep(REST);
    Ok(mib(process.memory()?.rss.saturating_sub(before)))
}

fn start_splice(bench: &Bench, star: &Star, to: SocketAddr) -> Result<Process> {
    let arguments = [
        splice::COMMAND.to_owned(),
        format!("--listen={SPLICE}"),
        format!("--to={to}"),
    ];
    let process = Process::start(
        &star.middle,
        splice::COMMAND,
        own_command(&arguments)?,
        bench.logs(),
    )?;
    process.line(START, |line| line.starts_with("tcp://").then_some(()))?;
    Ok(process)
}

/// A rendezvous server with its relay, set up by an operator who has many guests and lets them use it: the limits that the
/// Go program has would end a circuit after 16 MiB, and let 128 peers in.
struct Server {
    process: Process,
    relay: String,
}

impl Server {
    fn start(bench: &Bench, star: &Star, name: &str) -> Result<Self> {
        let folder = bench.folder(&format!("{name}-server"));
        std::fs::create_dir_all(&folder)?;
        let settings = json!({"presence": {
            "rendezvous_host": true,
            "rendezvous_only": true,
            "rendezvous_bind": "0.0.0.0",
            "rendezvous_port": PORT,
            "relay_port": RELAY,
            "external_url": url(),
            "relay_limits": {
                "circuit_bytes": u32::MAX,
                "reservations": PLACES + 8,
                "reservations_per_address": PLACES + 4,
                // Ten times as many of one address.
                "requests_per_minute": PLACES,
            },
        }});
        std::fs::write(folder.join("goop.json"), settings.to_string())?;
        let mut command = Command::new(program(bench)?);
        command.arg(&folder);
        let process = Process::start(&star.middle, "server", command, bench.logs())?;
        process.line(START, |line| line.starts_with("Rendezvous:").then_some(()))?;
        let stream = star.middle.connect(SocketAddr::from((SERVER, PORT)))?;
        let said = http::get(stream, &format!("{SERVER}:{PORT}"), "/relay", None)?.ok("/relay")?;
        let said: Value = serde_json::from_slice(&said.body)?;
        let relay = said["peer_id"].as_str().context("/relay names no relay")?;
        Ok(Self {
            process,
            relay: relay.to_owned(),
        })
    }

    fn relay_addr(&self, transport: Transport) -> String {
        let relay = &self.relay;
        match transport {
            Transport::Quic => format!("/ip4/{SERVER}/udp/{RELAY}/quic-v1/p2p/{relay}"),
            _ => format!("/ip4/{SERVER}/tcp/{RELAY}/p2p/{relay}"),
        }
    }
}

fn url() -> String {
    format!("http://{SERVER}:{PORT}")
}

/// Two peers with nothing but the server between them.
struct Pair<'a> {
    here: Peer<'a>,
    there: Peer<'a>,
    host: String,
}

impl<'a> Pair<'a> {
    fn start(bench: &Bench, star: &'a Star, name: &str, large: u64) -> Result<Self> {
        let start = |space: &'a crate::space::Space, side: &str, large| {
            let folder = bench.folder(&format!("{name}-{side}"));
            peer::make_folder(&folder, large)?;
            let settings = json!({"presence": {"rendezvous_wan": url()}});
            std::fs::write(folder.join("goop.json"), settings.to_string())?;
            Peer::start(space, side, &bench.peer, &folder)
        };
        let here = start(&star.here, "here", 0)?;
        let there = start(&star.there, "there", large)?;
        let host = here.site_host(&there.id)?;
        Ok(Self { here, there, host })
    }

    /// Likewise, and waits until a page comes.
    fn meet(bench: &Bench, star: &'a Star, name: &str, large: u64) -> Result<Self> {
        let pair = Self::start(bench, star, name, large)?;
        pair.known()?;
        pair.page()?;
        pair.is_relayed()?;
        Ok(pair)
    }

    /// Waits until each lists the other as online; gives the moment.
    fn known(&self) -> Result<Instant> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let now = Instant::now();
            if self.here.knows(&self.there.id)? && self.there.knows(&self.here.id)? {
                return Ok(now);
            }
            ensure!(now < deadline, "two peers never heard of each other");
            std::thread::sleep(LOOK);
        }
    }

    /// Asks for a page until it comes; gives how often it did not.
    fn page(&self) -> Result<usize> {
        let deadline = Instant::now() + PATIENCE;
        let mut refused = 0;
        loop {
            match self.here.visit(&self.host, &self.there.id, "index.html") {
                Ok(_) => return Ok(refused),
                Err(error) if Instant::now() > deadline => {
                    return Err(error.context("the page never comes"));
                }
                Err(_) => refused += 1,
            }
            std::thread::sleep(LOOK);
        }
    }

    fn is_relayed(&self) -> Result<()> {
        let said = self.here.ask("/api/topology")?.ok("/api/topology")?;
        let said: Value = serde_json::from_slice(&said.body)?;
        let peers = said["peers"].as_array().map(Vec::as_slice);
        let mut rows = peers.unwrap_or_default().iter();
        let row = rows.find(|row| row["id"] == self.there.id.as_str());
        match row.and_then(|row| row["connection"].as_str()) {
            Some("relay") => Ok(()),
            other => bail!("the peers are connected by {other:?}, not over the relay"),
        }
    }

    fn target(&self, file: &str) -> Target<'a> {
        Target {
            space: self.here.space,
            addr: self.here.control,
            host: self.host.clone(),
            path: format!("/p/{}/{file}", self.there.id),
            files: 1,
        }
    }
}
