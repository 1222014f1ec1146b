//! What a peer costs that does nothing but know a neighbour.

use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::Result;

use super::servers::BareNode;
use crate::bench::Bench;
use crate::floor::host::Transport;
use crate::process::Process;
use crate::report::{Floor, Goal, Row};
use crate::samples::{Samples, Unit, mib, ms};

/// Resident MiB.
const MEMORY: f64 = 20.0;
/// Milliseconds of processor time in a minute.
const CPU: f64 = 75.0;
/// Seconds until what the start needed is put away.
const SETTLE: Duration = Duration::from_secs(10);
/// How often memory is looked at.
const LOOK: Duration = Duration::from_secs(5);
const MINUTE: f64 = 60.0;

/// What was seen of two processes that belong together.
#[derive(Debug, Default)]
struct Seen {
    rss: Samples,
    pss: Samples,
    cpu: Samples,
}

impl Seen {
    fn look(&mut self, processes: &[&Process]) -> Result<()> {
        for process in processes {
            let memory = process.memory()?;
            self.rss.push(mib(memory.rss));
            self.pss.push(mib(memory.pss));
        }
        Ok(())
    }
}

pub(super) fn take(bench: &Bench) -> Result<Vec<Row>> {
    let bare_there = BareNode::start(bench, &bench.lan.there, Transport::All, None)?;
    let bare_here = BareNode::start(
        bench,
        &bench.lan.here,
        Transport::All,
        Some(&bare_there.addr),
    )?;
    let mut peers = Vec::new();
    if !bench.floors_only {
        peers = vec![
            bench.peer_here("idle-here", 0)?,
            bench.peer_there("idle-there", 0)?,
        ];
        peers[0].meet(&peers[1])?;
    }
    let ours: Vec<_> = peers.iter().map(|peer| &peer.process).collect();
    let (ours, bare) = watch(bench, &ours, &[&bare_here.process, &bare_there.process])?;
    let threads = peers
        .first()
        .map(|peer| peer.process.threads())
        .transpose()?;
    let threads = threads
        .map(|ours| format!("{ours} threads"))
        .unwrap_or_default();
    let row = |what: &str, unit, ours: Samples, floor: Samples, goal, note: String| Row {
        what: what.to_owned(),
        unit,
        ours,
        floor: Some(Floor::new("two bare libp2p hosts", floor)),
        goal,
        note,
    };
    let kept_awake = format!("watched for {} s", bench.effort.idle);
    Ok(vec![
        row(
            "idle peer with one neighbour, resident",
            Unit::Mebibytes,
            ours.rss,
            bare.rss,
            Goal::AtMost(MEMORY),
            threads,
        ),
        row(
            "its proportional share (PSS)",
            Unit::Mebibytes,
            ours.pss,
            bare.pss,
            Goal::None,
            String::new(),
        ),
        row(
            "its processor time in a minute",
            Unit::Milliseconds,
            ours.cpu,
            bare.cpu,
            Goal::AtMost(CPU),
            kept_awake,
        ),
    ])
}

/// Watches all at the same time; they leave each other alone.
fn watch(bench: &Bench, ours: &[&Process], bare: &[&Process]) -> Result<(Seen, Seen)> {
    sleep(SETTLE);
    let (mut seen_ours, mut seen_bare) = (Seen::default(), Seen::default());
    let cpu = |processes: &[&Process]| {
        processes
            .iter()
            .map(|process| process.cpu())
            .collect::<Result<Vec<_>>>()
    };
    let (from, ours_before, bare_before) = (Instant::now(), cpu(ours)?, cpu(bare)?);
    let until = from + Duration::from_secs(bench.effort.idle);
    loop {
        seen_ours.look(ours)?;
        seen_bare.look(bare)?;
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            break;
        }
        sleep(left.min(LOOK));
    }
    let (ours_after, bare_after) = (cpu(ours)?, cpu(bare)?);
    let minutes = from.elapsed().as_secs_f64() / MINUTE;
    let per_minute = |before: &[Duration], after: &[Duration]| {
        Samples(
            before
                .iter()
                .zip(after)
                .map(|(before, after)| ms(after.saturating_sub(*before)) / minutes)
                .collect(),
        )
    };
    seen_ours.cpu = per_minute(&ours_before, &ours_after);
    seen_bare.cpu = per_minute(&bare_before, &bare_after);
    Ok((seen_ours, seen_bare))
}
