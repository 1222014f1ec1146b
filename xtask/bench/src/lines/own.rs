//! The own site, as the owner's browser asks for it.

use anyhow::Result;

use super::servers::{BareHttp, Nginx};
use super::{Target, compare, cost_of};
use crate::bench::Bench;
use crate::peer::{self, LARGE, LARGE_FILE, Peer, SMALL};
use crate::profile::Profile;
use crate::report::{Floor, Goal, Row};
use crate::samples::{Samples, Unit};

/// Connections that ask for small files.
const CONNECTIONS: usize = 8;
/// Part of the floor's speed.
const GOAL: f64 = 0.75;

pub(super) fn small(bench: &Bench) -> Result<Vec<Row>> {
    let file = peer::small_file(0);
    let own = Own::start(bench, "own-small", 0, &file)?;
    let like = own
        .as_ref()
        .map(|own| own.peer.visit(&own.target.host, &own.peer.id, &file))
        .transpose()?;
    let bare = BareHttp::bytes(bench, SMALL, like.as_ref())?;
    let nginx = Nginx::start(bench, &site(bench, "own-small", 0)?)?;
    let profile = own
        .as_ref()
        .map(|own| bench.profile_of(&[&own.peer.process]))
        .transpose()?;
    let mut rates: [Samples; 3] = Default::default();
    let mut costs: [Samples; 2] = Default::default();
    let mut tails = Samples::default();
    for _ in 0..bench.effort.rounds {
        if let Some(own) = &own {
            let (rate, cost) = cost_of(&own.peer.process, || {
                bench.rate_of(&own.target, CONNECTIONS)
            })?;
            rates[0].push(rate.per_second);
            costs[0].push(cost);
            tails.push(rate.p99);
        }
        let (rate, cost) = cost_of(&bare.process, || bench.rate_of(&bare.target, CONNECTIONS))?;
        rates[1].push(rate.per_second);
        costs[1].push(cost);
        if let Some(nginx) = &nginx {
            rates[2].push(
                bench
                    .rate_of(&nginx.target(bench, &file), CONNECTIONS)?
                    .per_second,
            );
        }
    }
    profile.flatten().map(Profile::finish).transpose()?;
    let [ours, floor, orientation] = rates;
    let note = format!(
        "p99 {}; processor time per answer {:.0} µs, floor {:.0} µs",
        Unit::Milliseconds.show(tails.median()),
        costs[0].median(),
        costs[1].median()
    );
    let what = "own site, 10 KB file, 8 connections";
    rows(
        what,
        Unit::PerSecond,
        ours,
        Floor::new("bare hyper, from memory", floor),
        orientation,
        nginx,
        note,
    )
}

pub(super) fn large(bench: &Bench) -> Result<Vec<Row>> {
    let own = Own::start(bench, "own-large", LARGE, LARGE_FILE)?;
    let root = site(bench, "own-large", LARGE)?;
    let bare = BareHttp::file(bench, &root.join(LARGE_FILE), None)?;
    let nginx = Nginx::start(bench, &root)?;
    if let Some(own) = &own {
        bench.bulk_of(&own.target, LARGE, Some(&own.peer))?;
    }
    let profile = own
        .as_ref()
        .map(|own| bench.profile_of(&[&own.peer.process]))
        .transpose()?;
    let mut speeds: [Samples; 3] = Default::default();
    let mut first = Samples::default();
    // A file takes some 30 ms; several in a row make a round.
    for _ in 0..bench.effort.rounds * 4 {
        if let Some(own) = &own {
            let bulk = bench.bulk_of(&own.target, LARGE, None)?;
            speeds[0].push(bulk.megabytes);
            first.push(bulk.first);
        }
        speeds[1].push(bench.bulk_of(&bare.target, LARGE, None)?.megabytes);
        if let Some(nginx) = &nginx {
            speeds[2].push(
                bench
                    .bulk_of(&nginx.target(bench, LARGE_FILE), LARGE, None)?
                    .megabytes,
            );
        }
    }
    profile.flatten().map(Profile::finish).transpose()?;
    let [ours, floor, orientation] = speeds;
    let note = format!(
        "first byte after {}",
        Unit::Milliseconds.show(first.median())
    );
    let what = "own site, 64 MB file";
    rows(
        what,
        Unit::Megabytes,
        ours,
        Floor::new("bare hyper, streaming the file", floor),
        orientation,
        nginx,
        note,
    )
}

fn rows(
    what: &str,
    unit: Unit,
    ours: Samples,
    floor: Floor,
    orientation: Samples,
    nginx: Option<Nginx>,
    note: String,
) -> Result<Vec<Row>> {
    let installed = nginx.is_some();
    nginx.map(Nginx::stop).transpose()?;
    Ok(vec![
        Row {
            what: what.to_owned(),
            unit,
            ours: ours.clone(),
            floor: Some(floor),
            goal: Goal::OfFloor(GOAL),
            note,
        },
        Row {
            what: "the same beside nginx".to_owned(),
            unit,
            ours,
            floor: installed.then(|| Floor::new("nginx", orientation)),
            goal: Goal::None,
            note: if installed {
                String::new()
            } else {
                "nginx is not installed".to_owned()
            },
        },
    ])
}

/// The site's folder, made when no peer did.
fn site(bench: &Bench, name: &str, large: u64) -> Result<std::path::PathBuf> {
    let folder = bench.folder(name);
    if bench.floors_only {
        peer::make_folder(&folder, large)?;
    }
    Ok(folder.join("site"))
}

/// A peer and a file of its own site.
struct Own<'a> {
    peer: Peer<'a>,
    target: Target<'a>,
}

impl<'a> Own<'a> {
    fn start(bench: &'a Bench, name: &str, large: u64, file: &str) -> Result<Option<Self>> {
        if bench.floors_only {
            return Ok(None);
        }
        let peer = bench.peer_here(name, large)?;
        let host = peer.site_host(&peer.id)?;
        compare(&peer, &host, &peer)?;
        let path = format!("/p/{}/{file}", peer.id);
        let target = Target {
            space: &bench.lan.here,
            addr: peer.control,
            host,
            path,
            files: 1,
        };
        Ok(Some(Self { peer, target }))
    }
}
