//! A neighbour's site, as a browser on this side asks for it: browser → own peer → neighbour and back.
//!
//! The floor is taken over each transport alone; the fastest one counts, the others stand below for comparison.

use anyhow::Result;

use super::servers::{BareHttp, BareNode};
use super::{Target, compare};
use crate::bench::Bench;
use crate::floor::host::Transport;
use crate::load::rate::Rate;
use crate::peer::{self, HUGE, LARGE_FILE, Peer, SMALL, SMALL_FILES};
use crate::profile::Profile;
use crate::report::{Floor, Goal, Row};
use crate::samples::{Samples, Unit, mib};

/// Connections of the line about rate.
const CONNECTIONS: usize = 32;
/// Times the floor's median.
const LATENCY: f64 = 2.0;
/// Part of the floor's rate.
const RATE: f64 = 0.6;
/// Part of the floor's speed.
const SPEED: f64 = 0.8;
/// Milliseconds until the first byte of a large file.
const FIRST: f64 = 5.0;
/// MiB by which either side may grow while it passes.
const GROWTH: f64 = 8.0;

/// What one thing measured over each transport.
type PerTransport = [Samples; Transport::EACH.len()];

pub(super) fn latency(bench: &Bench) -> Result<Vec<Row>> {
    let measured = small(bench, "visit-latency", 1)?;
    let floors = measured
        .bare
        .each_ref()
        .map(|bare| bare.p50.plus(&measured.http.p50));
    let mut rows = rows(
        "neighbour's site, 10 KB, one after the other, median",
        Unit::Milliseconds,
        &measured.ours.p50,
        floors,
        " + loopback hyper",
        Goal::TimesFloor(LATENCY),
    );
    rows[0].note = format!(
        "p99 {}; {}",
        Unit::Milliseconds.show(measured.ours.p99.median()),
        measured.path
    );
    rows.push(again(
        "the same page again",
        Unit::Milliseconds,
        measured.again.p50,
    ));
    Ok(rows)
}

pub(super) fn rate(bench: &Bench) -> Result<Vec<Row>> {
    let measured = small(bench, "visit-rate", CONNECTIONS)?;
    let floors = measured.bare.each_ref().map(|bare| bare.per_second.clone());
    let what = "neighbour's site, 10 KB, 32 connections";
    let mut rows = rows(
        what,
        Unit::PerSecond,
        &measured.ours.per_second,
        floors,
        "",
        Goal::OfFloor(RATE),
    );
    rows[0].note = format!(
        "p99 {}; {}",
        Unit::Milliseconds.show(measured.ours.p99.median()),
        measured.path
    );
    let both = Samples::one_after_the_other(&measured.http.per_second, &fastest(&rows));
    rows.push(Row {
        what: "the same beside both halves".to_owned(),
        unit: Unit::PerSecond,
        ours: measured.ours.per_second.clone(),
        floor: Some(Floor::new(
            "the fastest of these and bare hyper, one after the other on the same cores",
            both,
        )),
        goal: Goal::None,
        note: "a visit is an HTTP answer and a libp2p answer; the goal counts the latter only"
            .to_owned(),
    });
    rows.push(again(
        "the same page again",
        Unit::PerSecond,
        measured.again.per_second,
    ));
    Ok(rows)
}

/// The floor that the goal is about: the first row's.
fn fastest(rows: &[Row]) -> Samples {
    let floor = rows.first().and_then(|row| row.floor.as_ref());
    floor.map(|floor| floor.samples.clone()).unwrap_or_default()
}

fn again(what: &str, unit: Unit, ours: Samples) -> Row {
    let note = "one file, asked for again and again: what a kept answer saves".to_owned();
    Row {
        what: what.to_owned(),
        unit,
        ours,
        floor: None,
        goal: Goal::None,
        note,
    }
}

/// Rates of several rounds.
#[derive(Debug, Default)]
struct Rates {
    per_second: Samples,
    p50: Samples,
    p99: Samples,
}

impl Rates {
    fn push(&mut self, rate: &Rate) {
        self.per_second.push(rate.per_second);
        self.p50.push(rate.p50);
        self.p99.push(rate.p99);
    }
}

/// What visits of small files gave.
#[derive(Debug, Default)]
struct Small {
    ours: Rates,
    /// The same file over and over.
    again: Rates,
    bare: [Rates; Transport::EACH.len()],
    http: Rates,
    path: String,
}

fn small(bench: &Bench, name: &str, connections: usize) -> Result<Small> {
    let pair = Pair::start(bench, name, 0)?;
    let nodes = nodes(bench)?;
    let bare_http = BareHttp::bytes(bench, SMALL, None)?;
    let profile = pair.as_ref().map(|pair| pair.profile(bench)).transpose()?;
    let mut measured = Small::default();
    for _ in 0..bench.effort.rounds {
        if let Some(pair) = &pair {
            let before = bench.lan.there.packets_sent()?;
            measured.ours.push(&bench.rate_of(
                &pair.target(bench, peer::SMALL_NAMES, SMALL_FILES),
                connections,
            )?);
            measured.path = path(before, bench.lan.there.packets_sent()?);
        }
        for ((transport, node), rates) in Transport::EACH
            .into_iter()
            .zip(&nodes)
            .zip(&mut measured.bare)
        {
            rates.push(&bench.bare_rate(transport, &node.addr, connections)?);
        }
        measured
            .http
            .push(&bench.rate_of(&bare_http.target, connections)?);
        if let Some(pair) = &pair {
            measured
                .again
                .push(&bench.rate_of(&pair.target(bench, &peer::small_file(0), 1), connections)?);
        }
    }
    profile.flatten().map(Profile::finish).transpose()?;
    Ok(measured)
}

pub(super) fn large(bench: &Bench) -> Result<Vec<Row>> {
    let pair = Pair::start(bench, "visit-large", HUGE)?;
    let nodes = nodes(bench)?;
    let profile = pair.as_ref().map(|pair| pair.profile(bench)).transpose()?;
    let before_any = pair.as_ref().map(Pair::resident).transpose()?;
    let (mut ours, mut first, mut growth) = (
        Samples::default(),
        Samples::default(),
        <[Samples; 2]>::default(),
    );
    let (mut floors, mut floor_first) = (PerTransport::default(), PerTransport::default());
    let mut note = String::new();
    for _ in 0..bench.effort.rounds {
        if let (Some(pair), Some(before_any)) = (&pair, before_any) {
            pair.here.process.forget_peak()?;
            pair.there.process.forget_peak()?;
            let before = bench.lan.there.packets_sent()?;
            let bulk = bench.bulk_of(&pair.target(bench, LARGE_FILE, 1), HUGE, None)?;
            note = path(before, bench.lan.there.packets_sent()?);
            ours.push(bulk.megabytes);
            first.push(bulk.first);
            let peaks = [pair.here.process.peak()?, pair.there.process.peak()?];
            for side in 0..growth.len() {
                growth[side].push(mib(peaks[side].saturating_sub(before_any[side])));
            }
        }
        for (place, (transport, node)) in Transport::EACH.into_iter().zip(&nodes).enumerate() {
            let bulk = bench.bare_bulk(transport, &node.addr, HUGE)?;
            floors[place].push(bulk.megabytes);
            floor_first[place].push(bulk.first);
        }
    }
    profile.flatten().map(Profile::finish).transpose()?;
    // Compared byte by byte only now: what the first transfer leaves behind in memory was to be seen.
    if let Some(pair) = &pair {
        bench.bulk_of(&pair.target(bench, LARGE_FILE, 1), HUGE, Some(&pair.there))?;
    }
    let what = "neighbour's site, 256 MB file";
    let mut rows = rows(
        what,
        Unit::Megabytes,
        &ours,
        floors,
        ", one stream",
        Goal::OfFloor(SPEED),
    );
    rows[0].note = note;
    let fastest = rows[0].floor.clone();
    let first_floor = Transport::EACH.iter().position(|each| {
        fastest
            .as_ref()
            .is_some_and(|floor| floor.what.contains(each.title()))
    });
    let first_floor = first_floor.map(|place| {
        Floor::new(
            format!("bare {}", Transport::EACH[place].title()),
            floor_first[place].clone(),
        )
    });
    let note = "from the request to the first byte of the body".to_owned();
    rows.push(Row {
        what: "its first byte".to_owned(),
        unit: Unit::Milliseconds,
        ours: first,
        floor: first_floor,
        goal: Goal::AtMost(FIRST),
        note,
    });
    for (who, samples) in ["reader", "owner"].into_iter().zip(growth) {
        rows.push(Row {
            what: format!("growth of the {who}'s memory meanwhile"),
            unit: Unit::Mebibytes,
            ours: samples,
            floor: None,
            goal: Goal::NeverAbove(GROWTH),
            note: "highest resident size over the one before the first transfer".to_owned(),
        });
    }
    Ok(rows)
}

/// A row beside the fastest floor, which the goal is about, and one beside each of the others.
fn rows(
    what: &str,
    unit: Unit,
    ours: &Samples,
    floors: PerTransport,
    plus: &str,
    goal: Goal,
) -> Vec<Row> {
    let mut floors: Vec<_> = Transport::EACH.into_iter().zip(floors).collect();
    floors.sort_by(|(_, one), (_, two)| match unit {
        Unit::Milliseconds => one.median().total_cmp(&two.median()),
        _ => two.median().total_cmp(&one.median()),
    });
    let row = |(place, (transport, samples)): (usize, (Transport, Samples))| Row {
        what: if place == 0 {
            what.to_owned()
        } else {
            format!("the same beside {}", transport.title())
        },
        unit,
        ours: ours.clone(),
        floor: Some(Floor::new(
            format!("bare {}{plus}", transport.title()),
            samples,
        )),
        goal: if place == 0 { goal } else { Goal::None },
        note: String::new(),
    };
    floors.into_iter().enumerate().map(row).collect()
}

/// What the neighbour's packets went over.
fn path(before: (u64, u64), after: (u64, u64)) -> String {
    let (udp, tcp) = (after.0 - before.0, after.1 - before.1);
    format!("our peers used {}", if udp > tcp { "QUIC" } else { "TCP" })
}

/// A bare host on the other side for each transport.
fn nodes(bench: &Bench) -> Result<Vec<BareNode>> {
    let start = |transport| BareNode::start(bench, &bench.lan.there, transport, None);
    Transport::EACH.into_iter().map(start).collect()
}

/// Two peers that know each other.
struct Pair<'a> {
    here: Peer<'a>,
    there: Peer<'a>,
    host: String,
}

impl<'a> Pair<'a> {
    fn start(bench: &'a Bench, name: &str, large: u64) -> Result<Option<Self>> {
        if bench.floors_only {
            return Ok(None);
        }
        let there = bench.peer_there(&format!("{name}-there"), large)?;
        let here = bench.peer_here(&format!("{name}-here"), 0)?;
        here.meet(&there)?;
        let host = here.site_host(&there.id)?;
        compare(&here, &host, &there)?;
        Ok(Some(Self { here, there, host }))
    }

    fn target(&self, bench: &'a Bench, file: &str, files: usize) -> Target<'a> {
        let path = format!("/p/{}/{file}", self.there.id);
        Target {
            space: &bench.lan.here,
            addr: self.here.control,
            host: self.host.clone(),
            path,
            files,
        }
    }

    /// Resident bytes of (reader, owner).
    fn resident(&self) -> Result<[u64; 2]> {
        Ok([
            self.here.process.memory()?.rss,
            self.there.process.memory()?.rss,
        ])
    }

    fn profile(&self, bench: &Bench) -> Result<Option<Profile>> {
        bench.profile_of(&[&self.here.process, &self.there.process])
    }
}
