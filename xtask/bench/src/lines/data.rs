//! The database of a site: written and asked by its owner and by a neighbour, beside SQLite called directly.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use goop_data::Database;
use goop_data::access::{Membership, Operation, Rules, Standing, Target, decide};
use serde_json::{Value, json};

use super::servers::BareNode;
use crate::bench::Bench;
use crate::floor::host::Transport;
use crate::floor::sqlite::{self, ROWS};
use crate::load::post;
use crate::load::rate::Rate;
use crate::peer::Peer;
use crate::process;
use crate::report::{Floor, Goal, Row};
use crate::samples::{Samples, Unit, mib};

/// Clients at once.
const CLIENTS: usize = 8;
/// Rows of the table that is asked.
const MILLION: u64 = 1_000_000;
/// Rows that a neighbour gets at once (goop-data `Limits::VISITOR`).
const PAGE: u64 = 10_000;
/// Part of SQLite's own rate of transactions.
const INSERTS: f64 = 0.6;
/// Part of SQLite's own rate of questions.
const QUERIES: f64 = 0.5;
/// Times the median of a bare stream.
const LATENCY: f64 = 2.0;
/// MiB by which either side may grow during a scan.
const GROWTH: f64 = 16.0;
/// Microseconds of a decision.
const DECISION: f64 = 1.0;
/// Milliseconds by which a large file may open later.
const OPENING: f64 = 50.0;
/// How long the table of a million rows may take to be there.
const ANSWER: Duration = Duration::from_secs(60);

fn row(
    what: &str,
    unit: Unit,
    ours: Samples,
    floor: Option<Floor>,
    goal: Goal,
    note: String,
) -> Row {
    Row {
        what: what.to_owned(),
        unit,
        ours,
        floor,
        goal,
        note,
    }
}

/// A table that everybody may read, with so many rows.
fn table(peer: &Peer<'_>, rows: u64) -> Result<()> {
    let schema = json!({"name": "items", "system_key": true,
        "columns": [{"name": "title", "type": "text"}, {"name": "number", "type": "integer"}],
        "access": {"read": "open", "insert": "open", "update": "owner", "delete": "owner"}});
    peer.post("/api/data/schemas/save", &schema)?;
    peer.post("/api/data/schemas/apply", &json!({"name": "items"}))?;
    if rows > 0 {
        let sql = format!(
            "INSERT INTO items (_owner, _owner_email, title, number) \
             WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c LIMIT {rows}) \
             SELECT 'me', '', 'a title of some length', x FROM c"
        );
        sqlite::execute(&peer.folder.join("data.db"), &sql)?;
    }
    Ok(())
}

/// Posts over kept connections; `site` is whose data, or the owner's own route.
fn posts(
    bench: &Bench,
    peer: &Peer<'_>,
    path: &str,
    body: &Value,
    numbers: u64,
    connections: usize,
) -> Result<Rate> {
    // Numbers are no strings.
    let body = body.to_string().replace("\"@\"", "@");
    let arguments = [
        post::COMMAND.to_owned(),
        format!("--addr={}", peer.control),
        format!("--host={}", peer.control),
        format!("--path={path}"),
        format!("--cookie={}", peer.cookie),
        format!("--body={body}"),
        format!("--numbers={numbers}"),
        format!("--connections={connections}"),
        format!("--warm={}", bench.effort.warm),
        format!("--run={}", bench.effort.run),
    ];
    process::ask(&bench.lan.here, &arguments, bench.patience(), bench.logs())
}

fn floor(bench: &Bench, file: &Path, what: &str, threads: usize, together: usize) -> Result<Rate> {
    let arguments = [
        sqlite::COMMAND.to_owned(),
        format!("--file={}", file.display()),
        format!("--what={what}"),
        format!("--rows={MILLION}"),
        format!("--threads={threads}"),
        format!("--together={together}"),
        format!("--warm={}", bench.effort.warm),
        format!("--run={}", bench.effort.run),
    ];
    process::ask(&bench.lan.here, &arguments, bench.patience(), bench.logs())
}

fn question() -> Value {
    json!({"table": "items", "where": "_id > ?", "args": ["@"], "order": "_id", "limit": ROWS})
}

pub(super) fn insert(bench: &Bench) -> Result<Vec<Row>> {
    let peer = (!bench.floors_only)
        .then(|| bench.peer_here("data-insert", 0))
        .transpose()?;
    if let Some(peer) = &peer {
        table(peer, 0)?;
    }
    let body =
        json!({"table": "items", "data": {"title": "a title of some length", "number": "@"}});
    let [mut ours, mut direct, mut grouped, mut tails]: [Samples; 4] = Default::default();
    for round in 0..bench.effort.rounds {
        if let Some(peer) = &peer {
            let rate = posts(bench, peer, "/api/data/insert", &body, u64::MAX, CLIENTS)?;
            ours.push(rate.per_second);
            tails.push(rate.p99);
        }
        let file = bench.folder(&format!("floor-insert-{round}.db"));
        direct.push(floor(bench, &file, "insert", 1, 1)?.per_second);
        grouped.push(floor(bench, &file, "insert", 1, CLIENTS)?.per_second);
    }
    let note = format!("p99 {}", Unit::Milliseconds.show(tails.median()));
    Ok(vec![
        row(
            "rows added over HTTP, one a request, 8 clients",
            Unit::PerSecond,
            ours.clone(),
            Some(Floor::new("SQLite, one row a transaction", direct)),
            Goal::OfFloor(INSERTS),
            note,
        ),
        row(
            "the same beside what eight rows in a transaction give",
            Unit::PerSecond,
            ours,
            Some(Floor::new("SQLite, 8 rows a transaction", grouped)),
            Goal::None,
            "changes that wait together share one write to disk; no 8 clients get more than this"
                .to_owned(),
        ),
    ])
}

pub(super) fn query(bench: &Bench) -> Result<Vec<Row>> {
    if bench.floors_only {
        return Ok(Vec::new());
    }
    let peer = bench.peer_here("data-query", 0)?;
    table(&peer, MILLION)?;
    let (mut ours, mut direct, mut tails) =
        (Samples::default(), Samples::default(), Samples::default());
    for _ in 0..bench.effort.rounds {
        let rate = posts(
            bench,
            &peer,
            "/api/data/find",
            &question(),
            MILLION - ROWS,
            CLIENTS,
        )?;
        ours.push(rate.per_second);
        tails.push(rate.p99);
        direct.push(floor(bench, &peer.folder.join("data.db"), "query", CLIENTS, 1)?.per_second);
    }
    let note = format!(
        "p99 {}; or the rate of `own-small`, whichever is lower",
        Unit::Milliseconds.show(tails.median())
    );
    Ok(vec![row(
        "20 of 1,000,000 rows by key over HTTP, 8 clients",
        Unit::PerSecond,
        ours,
        Some(Floor::new("SQLite with the same JSON, 8 threads", direct)),
        Goal::OfFloor(QUERIES),
        note,
    )])
}

pub(super) fn neighbour(bench: &Bench) -> Result<Vec<Row>> {
    if bench.floors_only {
        return Ok(Vec::new());
    }
    let (here, there) = (
        bench.peer_here("data-visitor", 0)?,
        bench.peer_there("data-host", 0)?,
    );
    table(&there, MILLION)?;
    here.meet(&there)?;
    let bare = BareNode::start(bench, &bench.lan.there, Transport::Noise, None)?;
    let path = format!("/api/p/{}/data/find", there.id);
    let (mut ours, mut direct, mut tails) =
        (Samples::default(), Samples::default(), Samples::default());
    for _ in 0..bench.effort.rounds {
        let rate = posts(bench, &here, &path, &question(), MILLION - ROWS, 1)?;
        ours.push(rate.p50);
        tails.push(rate.p99);
        direct.push(bench.bare_rate(Transport::Noise, &bare.addr, 1)?.p50);
    }
    let note = format!(
        "p99 {}; HTTP to the own peer and from there; the floor's answer has 10 KB",
        Unit::Milliseconds.show(tails.median())
    );
    Ok(vec![row(
        "the same of a neighbour, one after the other, median",
        Unit::Milliseconds,
        ours,
        Some(Floor::new("bare libp2p, noise, reused stream", direct)),
        Goal::TimesFloor(LATENCY),
        note,
    )])
}

pub(super) fn scan(bench: &Bench) -> Result<Vec<Row>> {
    if bench.floors_only {
        return Ok(Vec::new());
    }
    let (here, there) = (
        bench.peer_here("data-scanner", 0)?,
        bench.peer_there("data-scanned", 0)?,
    );
    table(&there, MILLION)?;
    here.meet(&there)?;
    let path = format!("/api/p/{}/data/find", there.id);
    let ask = |from: u64| -> Result<u64> {
        let body = json!({"table": "items", "columns": ["_id", "number"], "where": "_id > ?", "args": [from], "order": "_id", "limit": PAGE});
        let rows: Value = serde_json::from_slice(&here.post(&path, &body)?.body)?;
        let rows = rows.as_array().map(Vec::as_slice).unwrap_or_default();
        if rows.len() as u64 != PAGE {
            bail!("{} rows instead of {PAGE} after {from}", rows.len());
        }
        Ok(rows
            .last()
            .and_then(|row| row["_id"].as_u64())
            .unwrap_or_default())
    };
    // What the first pages need is not what a scan needs.
    let mut last = 0;
    for _ in 0..3 {
        last = ask(last)?;
    }
    let before = [here.process.memory()?.rss, there.process.memory()?.rss];
    here.process.forget_peak()?;
    there.process.forget_peak()?;
    let begun = Instant::now();
    while last < MILLION {
        last = ask(last)?;
    }
    let took = begun.elapsed();
    let grown = |process: &process::Process, before: u64| -> Result<Samples> {
        Ok(Samples(vec![mib(process.peak()?.saturating_sub(before))]))
    };
    let rows = MILLION as f64 / took.as_secs_f64();
    let note = format!("{} of rows, {PAGE} a question", Unit::PerSecond.show(rows));
    Ok(vec![
        row(
            "1,000,000 rows scanned by a neighbour: growth of the neighbour",
            Unit::Mebibytes,
            grown(&here.process, before[0])?,
            None,
            Goal::AtMost(GROWTH),
            note,
        ),
        row(
            "growth of the host",
            Unit::Mebibytes,
            grown(&there.process, before[1])?,
            None,
            Goal::AtMost(GROWTH),
            String::new(),
        ),
    ])
}

pub(super) fn decision(bench: &Bench) -> Result<Vec<Row>> {
    let schema = json!({"name": "t", "columns": [{"name": "a", "type": "text", "key": true}],
        "access": {"read": "group", "insert": "open", "update": "owner", "delete": "local"},
        "roles": {"editor": {"read": true}, "writer": {"insert": true}, "reader": {"read": true}}});
    let rules = Rules::of(Some(&serde_json::from_value(schema)?), "owner");
    let caller = Standing::Visitor(Membership::Role("reader".to_owned()));
    let mut ours = Samples::default();
    const TIMES: u32 = 200_000;
    for _ in 0..bench.effort.rounds {
        let begun = Instant::now();
        for _ in 0..TIMES {
            for operation in Operation::ALL {
                std::hint::black_box(decide(
                    std::hint::black_box(&caller),
                    Target::Table(&rules),
                    operation,
                ));
            }
        }
        ours.push(begun.elapsed().as_secs_f64() * 1e6 / f64::from(TIMES) / 4.0);
    }
    let note = "of the four operations, refusals with their texts among them".to_owned();
    Ok(vec![row(
        "who may what, one decision",
        Unit::Microseconds,
        ours,
        None,
        Goal::AtMost(DECISION),
        note,
    )])
}

pub(super) fn open(bench: &Bench) -> Result<Vec<Row>> {
    // A quick look makes a file that is only just not looked through.
    let large: u64 = if bench.effort.rounds > 2 {
        4 << 10
    } else {
        640
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let (mut times, begun) = ([Samples::default(), Samples::default()], Instant::now());
    let folders = ["open-small", "open-large"].map(|name| bench.folder(name));
    for (folder, size) in folders.iter().zip([4, large]) {
        std::fs::create_dir_all(folder)?;
        runtime.block_on(async {
            Database::open(folder).await?.close().await;
            anyhow::Ok(())
        })?;
        let file = folder.join("data.db");
        sqlite::execute(
            &file,
            "CREATE TABLE items (_id INTEGER PRIMARY KEY, body BLOB); PRAGMA wal_autocheckpoint = 100000",
        )?;
        for part in 0..size {
            let sql = format!(
                "INSERT INTO items VALUES ({part}, randomblob(1048576)); PRAGMA wal_checkpoint(TRUNCATE)"
            );
            sqlite::execute(&file, &sql)?;
        }
    }
    for _ in 0..bench.effort.starts {
        for (folder, samples) in folders.iter().zip(&mut times) {
            runtime.block_on(async {
                let begun = Instant::now();
                let database = Database::open(folder).await?;
                samples.push(begun.elapsed().as_secs_f64() * 1e3);
                database.close().await;
                anyhow::Ok(())
            })?;
        }
    }
    let [small, large_times] = times;
    let later = Samples(vec![large_times.median() - small.median()]);
    let note = format!(
        "{} and {}; a file of up to 512 MiB is looked through at each start; the files were made in {:.0} s",
        Unit::Milliseconds.show(small.median()),
        Unit::Milliseconds.show(large_times.median()),
        begun.elapsed().min(ANSWER * 60).as_secs_f64(),
    );
    let what = format!("a database of {large} MiB opened, later than one of 4 MiB");
    Ok(vec![row(
        &what,
        Unit::Milliseconds,
        later,
        None,
        Goal::AtMost(OPENING),
        note,
    )])
}
