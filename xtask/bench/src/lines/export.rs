//! A site of a gigabyte taken out as one file: it streams, so the peer's memory hardly grows.

use std::time::Instant;

use anyhow::{Result, ensure};

use crate::bench::Bench;
use crate::report::{Goal, Row};
use crate::samples::{Samples, Unit, mib};

/// Bytes of the site.
const SITE: u64 = 1 << 30;
/// Mebibytes by which the peer may grow.
const GROWTH: f64 = 16.0;

pub(super) fn take(bench: &Bench) -> Result<Vec<Row>> {
    if bench.floors_only {
        return Ok(Vec::new());
    }
    let peer = bench.peer_here("export-1gb", SITE)?;
    let (mut growth, mut speed) = (Samples::default(), Samples::default());
    peer.process.forget_peak()?;
    let before = peer.process.memory()?.rss;
    for _ in 0..bench.effort.rounds.min(3) {
        let from = Instant::now();
        let bytes = peer.drain("/api/site/export")?;
        ensure!(bytes > SITE, "the export has {bytes} bytes");
        speed.push(bytes as f64 / 1e6 / from.elapsed().as_secs_f64());
        growth.push(mib(peer.process.peak()?.saturating_sub(before)));
    }
    Ok(vec![
        Row {
            what: "export of a site of 1 GiB: growth of the peer's memory".to_owned(),
            unit: Unit::Mebibytes,
            ours: growth,
            floor: None,
            goal: Goal::NeverAbove(GROWTH),
            note: "highest resident size over the one before the first export".to_owned(),
        },
        Row {
            what: "its speed".to_owned(),
            unit: Unit::Megabytes,
            ours: speed,
            floor: None,
            goal: Goal::None,
            note: "bytes that cannot be packed".to_owned(),
        },
    ])
}
