//! A rendezvous server with many peers: what it costs, how soon a newcomer is known, how soon all are back after it was
//! started again.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::bench::Bench;
use crate::load::sockets;
use crate::process::{Process, own_command};
use crate::report::{Goal, Row};
use crate::samples::{Samples, Unit, mib};

const PORT: u16 = 8_787;
/// Milliseconds between two records of one peer (rendezvous.md 1, `heartbeat_seconds`).
const HEARTBEAT: u64 = 5_000;
/// Addresses that a peer tells: two ways through a relay, two on its own network.
const ADDRESSES: usize = 4;
/// Peers of the large line.
const MANY: usize = 10_000;
/// Peers of the line with a restart.
const RESTARTED: usize = 5_000;
/// Peers of the curve.
const CURVE: [usize; 5] = [100, 600, 1_000, 5_000, 10_000];
/// Per cent of one core.
const CPU: f64 = 25.0;
/// MiB.
const MEMORY: f64 = 300.0;
/// Milliseconds until everybody knows a newcomer.
const KNOWN: f64 = 1_000.0;
/// Milliseconds until everybody is back.
const BACK: f64 = 20_000.0;
/// How long a phase of the load may take.
const PATIENCE: Duration = Duration::from_secs(600);
/// How long the server may take to start.
const START: Duration = Duration::from_secs(10);

/// What was seen of a server with so many peers.
struct Seen {
    /// Per cent of a core.
    cpu: f64,
    memory: f64,
    known: f64,
    opened: f64,
}

pub(super) fn many(bench: &Bench) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for (addresses, says) in [
        (0, "without addresses"),
        (ADDRESSES, "each with 4 addresses"),
    ] {
        let seen = match bench.floors_only {
            true => None,
            false => Some(with_peers(bench, MANY, addresses)?),
        };
        let row = |what: String, unit, goal, of: fn(&Seen) -> f64| Row {
            what,
            unit,
            ours: Samples(seen.iter().map(of).collect()),
            floor: None,
            goal,
            note: String::new(),
        };
        rows.extend([
            row(
                format!("{MANY} peers by WebSocket, heartbeat 5 s, {says}: of one core"),
                Unit::Percent,
                Goal::AtMost(CPU),
                |seen| seen.cpu,
            ),
            row(
                "its resident memory".to_owned(),
                Unit::Mebibytes,
                Goal::AtMost(MEMORY),
                |seen| seen.memory,
            ),
            row(
                "a newcomer is known to all".to_owned(),
                Unit::Milliseconds,
                Goal::AtMost(KNOWN),
                |seen| seen.known,
            ),
            row(
                "all sockets open after".to_owned(),
                Unit::Milliseconds,
                Goal::None,
                |seen| seen.opened,
            ),
        ]);
    }
    Ok(rows)
}

pub(super) fn curve(bench: &Bench) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for peers in CURVE {
        let mut ours = Samples::default();
        let mut note = String::new();
        if !bench.floors_only {
            let seen = with_peers(bench, peers, ADDRESSES)?;
            ours.push(seen.cpu);
            note = format!(
                "{:.0} MiB; newcomer known after {:.0} ms",
                seen.memory, seen.known
            );
        }
        rows.push(Row {
            what: format!("{peers} peers with 4 addresses each: of one core"),
            unit: Unit::Percent,
            ours,
            floor: None,
            goal: Goal::None,
            note,
        });
    }
    Ok(rows)
}

pub(super) fn restart(bench: &Bench) -> Result<Vec<Row>> {
    let mut ours = Samples::default();
    if !bench.floors_only {
        let server = start(bench, "rendezvous-restart")?;
        let load = clients(bench, RESTARTED, ADDRESSES, true)?;
        phase(&load, "known")?;
        drop(server);
        let _again = start(bench, "rendezvous-restart")?;
        ours.push(phase(&load, "back")?);
    }
    Ok(vec![Row {
        what: format!("server killed and started again with {RESTARTED} peers: all back"),
        unit: Unit::Milliseconds,
        ours,
        floor: None,
        goal: Goal::AtMost(BACK),
        note: "peers try again after 0.25 s, doubling to 2 s".to_owned(),
    }])
}

fn with_peers(bench: &Bench, peers: usize, addresses: usize) -> Result<Seen> {
    let server = start(bench, &format!("rendezvous-{peers}-{addresses}"))?;
    let load = clients(bench, peers, addresses, false)?;
    let opened = phase(&load, "open")?;
    phase(&load, "quiet")?;
    let (start, before) = (Instant::now(), server.cpu()?);
    phase(&load, "ran")?;
    let used = server.cpu()?.saturating_sub(before);
    Ok(Seen {
        cpu: 100.0 * used.as_secs_f64() / start.elapsed().as_secs_f64(),
        memory: mib(server.memory()?.rss),
        known: phase(&load, "known")?,
        opened,
    })
}

/// A server on loopback, which believes who its peers say they are.
fn start(bench: &Bench, name: &str) -> Result<Process> {
    let program = program(bench)?;
    let folder = bench.folder(name);
    std::fs::create_dir_all(&folder)?;
    let settings = serde_json::json!({"presence": {"rendezvous_host": true, "rendezvous_only": true, "rendezvous_port": PORT}});
    std::fs::write(folder.join("goop.json"), settings.to_string())?;
    let mut command = Command::new(program);
    command.arg(&folder);
    let server = Process::start(&bench.lan.here, name, command, bench.logs())?;
    server.line(START, |line| line.starts_with("Rendezvous:").then_some(()))?;
    Ok(server)
}

/// It lies beside the peer.
pub(super) fn program(bench: &Bench) -> Result<PathBuf> {
    let program = bench.peer.with_file_name("goop-rendezvous");
    if !program.is_file() {
        bail!(
            "{} is missing: cargo build --release -p goop-rendezvous-server",
            program.display()
        );
    }
    Ok(program)
}

fn clients(bench: &Bench, peers: usize, addresses: usize, restart: bool) -> Result<Process> {
    let mut arguments = vec![
        sockets::COMMAND.to_owned(),
        format!("--addr={}", SocketAddr::from((Ipv4Addr::LOCALHOST, PORT))),
        format!("--clients={peers}"),
        format!("--addresses={addresses}"),
        format!("--heartbeat={HEARTBEAT}"),
        // Whole heartbeats, so that each peer is counted as often.
        format!("--run={}", bench.effort.idle.div_ceil(5).min(6) * HEARTBEAT),
    ];
    arguments.extend(restart.then(|| "--restart".to_owned()));
    let command = own_command(&arguments)?;
    Process::start(&bench.lan.here, sockets::COMMAND, command, bench.logs())
}

/// Waits for a phase; gives the milliseconds it says, if any.
fn phase(load: &Process, name: &str) -> Result<f64> {
    let (_, said) = load
        .line(PATIENCE, |line| {
            let rest = line.strip_prefix(name)?;
            Some(rest.trim().parse().unwrap_or(0.0))
        })
        .with_context(|| format!("the peers are never {name}"))?;
    Ok(said)
}
