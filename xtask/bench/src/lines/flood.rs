//! A flood of messages from one peer, and what others notice of it.
//!
//! The cores are busy with the flood itself, whatever it hits. So the floor is the same message to the same peer while the
//! same flood hits a bare host beside it: what is more than that, the flooded peer makes its other peers wait.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::messages::{calm, hello};
use super::servers::BareNode;
use crate::bench::Bench;
use crate::floor::host::Transport;
use crate::load::flood::{self, Flood};
use crate::peer::Peer;
use crate::process::{Process, own_command};
use crate::report::{Floor, Goal, Row};
use crate::samples::{Samples, Unit, mib};

/// Times the floor's median.
const LATENCY: f64 = 2.0;
/// MiB by which the flooded peer may grow: messages that are read, what pages may still want, ids that are remembered.
const GROWTH: f64 = 64.0;
/// How long a flood may take to begin, and to end after its time.
const PATIENCE: Duration = Duration::from_secs(20);

/// Where `here` reaches a neighbour.
fn address(here: &Peer<'_>, there: &str) -> Result<String> {
    let topology: Value = serde_json::from_slice(&here.ask("/api/topology")?.ok("topology")?.body)?;
    let peers = topology["peers"].as_array().context("no peers")?;
    let row = peers.iter().find(|peer| peer["id"] == there);
    let addr = row.and_then(|row| row["addr"].as_str());
    let addr = addr.context("the neighbour has no address")?;
    Ok(match addr.contains("/p2p/") {
        true => addr.to_owned(),
        false => format!("{addr}/p2p/{there}"),
    })
}

/// What a message took beside a flood, and the flood in numbers.
fn beside(
    bench: &Bench,
    addr: &str,
    bare: bool,
    send: impl FnOnce() -> Result<f64>,
) -> Result<(f64, Flood)> {
    // As long as a round of messages, and what it takes to begin and end.
    let run = bench.effort.warm + bench.effort.run + 500;
    let mut arguments = vec![
        flood::COMMAND.to_owned(),
        format!("--addr={addr}"),
        format!("--run={run}"),
    ];
    arguments.extend(bare.then(|| "--bare".to_owned()));
    let command = own_command(&arguments)?;
    let flooding = Process::start(&bench.lan.here, flood::COMMAND, command, bench.logs())?;
    flooding.line(PATIENCE, |line| (line == flood::BEGUN).then_some(()))?;
    let took = send()?;
    let (_, said) = flooding.line(Duration::from_millis(run) + PATIENCE, |line| {
        serde_json::from_str::<Flood>(line).ok()
    })?;
    ensure!(said.taken > 0, "nothing of the flood was taken");
    Ok((took, said))
}

pub(super) fn take(bench: &Bench) -> Result<Vec<Row>> {
    if bench.floors_only {
        return Ok(Vec::new());
    }
    let there = bench.peer_there("flood-there", 0)?;
    let here = bench.peer_here("flood-here", 0)?;
    here.meet(&there)?;
    hello(&here, &there.id)?;
    let bare = BareNode::start(bench, &bench.lan.there, Transport::All, None)?;
    let addr = address(&here, &there.id)?;
    let send = || Ok(calm(bench, &here, &there.id)?.p50);
    let (mut before, mut ours, mut floor, mut growth) = <[Samples; 4]>::default().into();
    let mut flooded = [Flood::default(); 2];
    for _ in 0..bench.effort.rounds {
        before.push(send()?);
        let (took, said) = beside(bench, &bare.addr, true, send)?;
        floor.push(took);
        flooded[0] = said;
        there.process.forget_peak()?;
        let resident = there.process.memory()?.rss;
        let (took, said) = beside(bench, &addr, false, send)?;
        ours.push(took);
        flooded[1] = said;
        growth.push(mib(there.process.peak()?.saturating_sub(resident)));
    }
    let seconds = (bench.effort.warm + bench.effort.run + 500) as f64 / 1e3;
    let rate = |flood: Flood| (flood.taken + flood.refused) as f64 / seconds;
    Ok(vec![
        Row {
            what: "a message of 200 bytes beside a flood from another peer, median".to_owned(),
            unit: Unit::Milliseconds,
            ours,
            floor: Some(Floor::new(
                "the same while the flood hits a bare libp2p host on these cores",
                floor,
            )),
            goal: Goal::TimesFloor(LATENCY),
            note: format!(
                "{} without a flood; {:.0} messages a second at the peer ({} of {} not taken), {:.0} at the bare host",
                Unit::Milliseconds.show(before.median()),
                rate(flooded[1]),
                flooded[1].refused,
                flooded[1].refused + flooded[1].taken,
                rate(flooded[0]),
            ),
        },
        Row {
            what: "growth of the flooded peer's memory".to_owned(),
            unit: Unit::Mebibytes,
            ours: growth,
            floor: None,
            goal: Goal::NeverAbove(GROWTH),
            note: "highest resident size over the one before each flood".to_owned(),
        },
    ])
}
