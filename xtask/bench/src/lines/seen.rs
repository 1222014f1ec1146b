//! From the start of a second peer until the first one has it in its list.

use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::bench::Bench;
use crate::floor::seen::{START, WAIT};
use crate::peer::{Peer, make_folder};
use crate::process::{Process, own_command};
use crate::report::{Floor, Goal, Row};
use crate::samples::{Samples, Unit, ms};
use crate::space::Space;

/// Milliseconds.
const GOAL: f64 = 300.0;
/// How long it may take before something is wrong.
const PATIENCE: Duration = Duration::from_secs(15);
/// How long a list is asked again.
const LOOK: Duration = Duration::from_millis(2);

pub(super) fn take(bench: &Bench) -> Result<Vec<Row>> {
    let (mut seen, mut sees, mut floor) =
        (Samples::default(), Samples::default(), Samples::default());
    let waiting = bare(bench, &bench.lan.here, WAIT)?;
    waiting.line(PATIENCE, |line| (line == "ready").then_some(()))?;
    let there = if bench.floors_only {
        None
    } else {
        let peer = bench.peer_here("seen-first", 0)?;
        let events = peer.watch()?;
        Some((peer, events))
    };
    for round in 0..bench.effort.starts {
        if let Some((first, events)) = &there {
            let (by_first, by_second) = ours(bench, first, events, round)?;
            seen.push(by_first);
            sees.push(by_second);
        }
        let coming = bare(bench, &bench.lan.there, START)?;
        let (at, ()) = waiting.line(PATIENCE, |line| (line == "seen").then_some(()))?;
        floor.push(ms(at - coming.started));
    }
    let floor = Floor::new(
        "bare multicast question and answer, bare libp2p connection",
        floor,
    );
    let row = |what: &str, ours, goal| Row {
        what: what.to_owned(),
        unit: Unit::Milliseconds,
        ours,
        floor: Some(floor.clone()),
        goal,
        note: "new keys each time, neither knew the other".to_owned(),
    };
    Ok(vec![
        row(
            "second peer seen by the first after its start (LAN)",
            seen,
            Goal::AtMost(GOAL),
        ),
        row("first peer in the second one's list", sees, Goal::None),
    ])
}

/// (until the first lists the second, until the second lists the first), in milliseconds from the second one's start.
fn ours(
    bench: &Bench,
    first: &Peer<'_>,
    events: &Receiver<(Instant, String)>,
    round: usize,
) -> Result<(f64, f64)> {
    let folder = bench.folder(&format!("seen-{round}"));
    make_folder(&folder, 0)?;
    let second = Peer::start(&bench.lan.there, "seen-second", &bench.peer, &folder)?;
    let started = second.process.started;
    let deadline = started + PATIENCE;
    let by_second = loop {
        if second.lists(&first.id)? {
            break started.elapsed();
        }
        if Instant::now() > deadline {
            bail!("the second peer does not list the first");
        }
        std::thread::sleep(LOOK);
    };
    let by_first = loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let (at, peer) = events
            .recv_timeout(left)
            .context("the first peer does not announce the second")?;
        if peer == second.id {
            break at - started;
        }
    };
    if !first.lists(&second.id)? {
        bail!("the first peer announced the second and does not list it");
    }
    second.process.stop()?;
    Ok((ms(by_first), ms(by_second)))
}

fn bare(bench: &Bench, space: &Space, command: &str) -> Result<Process> {
    let arguments = [command.to_owned(), format!("--listen={}", space.address)];
    Process::start(space, command, own_command(&arguments)?, bench.logs())
}
