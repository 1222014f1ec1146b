//! From the start of a process until it answers.

use anyhow::Result;

use super::servers::BareHttp;
use crate::bench::Bench;
use crate::http;
use crate::peer::Peer;
use crate::report::{Floor, Goal, Row};
use crate::samples::{Samples, Unit, ms};

/// Milliseconds until `/api/self` answers.
const GOAL: f64 = 120.0;

pub(super) fn take(bench: &Bench) -> Result<Vec<Row>> {
    let (mut first, mut second, mut floor) =
        (Samples::default(), Samples::default(), Samples::default());
    for round in 0..bench.effort.starts {
        if !bench.floors_only {
            let folder = bench.folder(&format!("start-{round}"));
            std::fs::create_dir(&folder)?;
            for times in [&mut first, &mut second] {
                let peer = Peer::start(&bench.lan.here, "starting", &bench.peer, &folder)?;
                times.push(ms(peer.start_time()));
                peer.process.stop()?;
            }
        }
        let bare = BareHttp::bytes(bench, 300, None)?;
        let target = &bare.target;
        http::get(target.space.connect(target.addr)?, &target.host, "/", None)?
            .ok("the bare server")?;
        floor.push(ms(bare.process.started.elapsed()));
    }
    let floor = Floor::new("a bare hyper server answers", floor);
    let row = |what: &str, ours| Row {
        what: what.to_owned(),
        unit: Unit::Milliseconds,
        ours,
        floor: Some(floor.clone()),
        goal: Goal::AtMost(GOAL),
        note: "signing in by the start link included".to_owned(),
    };
    Ok(vec![
        row(
            "start until `/api/self` answers, first start with new keys",
            first,
        ),
        row("the same, second start", second),
    ])
}
