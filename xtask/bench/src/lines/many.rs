//! The list of peers with 5,000 in it and 50 changes a second: whether the page keeps up, and what it keeps.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use fantoccini::Client;
use goop_browser::devtools::order;
use serde_json::{Value, json};

use crate::bench::Bench;
use crate::browser::{before, drive, long_tasks};
use crate::process::{Process, own_command};
use crate::report::{Goal, Row};
use crate::samples::{Samples, Unit, mib};
use crate::stand_in::COMMAND;

const OTHERS: usize = 5_000;
const RATE: u32 = 50;
/// Mebibytes of scripts' memory that may be more at the end.
const GROWTH: f64 = 2.0;
/// How long the page may take to show the list.
const SHOWN: Duration = Duration::from_secs(30);
/// How often the page is scrolled and its memory weighed.
const LOOK: Duration = Duration::from_secs(5);
/// How long the page runs before its memory is compared: by then each part was drawn and thrown away some times.
const SETTLE: Duration = Duration::from_secs(10);

/// What was seen of the page.
#[derive(Debug, Default)]
struct Seen {
    /// Tasks over 50 ms, in milliseconds.
    tasks: Vec<f64>,
    /// Scripts' memory after a collection, in MiB, at each look.
    memory: Samples,
    /// Elements in the document at each look.
    elements: Samples,
    /// Milliseconds from a key to the next frame.
    typing: Samples,
    /// Changes that the page heard of.
    changes: f64,
    seconds: f64,
}

pub(super) fn take(bench: &Bench) -> Result<Vec<Row>> {
    if bench.floors_only {
        return Ok(Vec::new());
    }
    let peer = bench.peer_here("peers-5000", 0)?;
    let arguments = [
        COMMAND.to_owned(),
        format!("--peer={}", peer.control),
        format!("--others={OTHERS}"),
        format!("--rate={RATE}"),
    ];
    let command = own_command(&arguments)?;
    let stand_in = Process::start(&bench.lan.here, COMMAND, command, bench.logs())?;
    let (_, origin) = stand_in.line(SHOWN, |line| {
        line.starts_with("http://").then(|| line.to_owned())
    })?;
    let seen = drive(bench, "peers-5000", &origin, &peer.cookie, async |client| {
        watch(client, &origin, Duration::from_secs(bench.effort.watch)).await
    })?;
    let (count, longest) = (
        seen.tasks.len() as f64,
        seen.tasks.iter().copied().fold(0.0, f64::max),
    );
    let first = seen.memory.0.first().copied().unwrap_or(f64::NAN);
    let growth = seen.memory.0.last().copied().unwrap_or(f64::NAN) - first;
    let row = |what: &str, unit, ours: Samples, goal, note: String| Row {
        what: what.to_owned(),
        unit,
        ours,
        floor: None,
        goal,
        note,
    };
    let watched = format!(
        "{:.0} changes in {:.0} s, scrolled and searched meanwhile; list and events from a stand-in, all else from the peer",
        seen.changes, seen.seconds
    );
    Ok(vec![
        row(
            "5,000 peers, 50 changes a second: tasks over 50 ms",
            Unit::Count,
            Samples(vec![count]),
            Goal::AtMost(0.0),
            watched,
        ),
        row(
            "the longest of them",
            Unit::Milliseconds,
            Samples(vec![longest]),
            Goal::None,
            String::new(),
        ),
        row(
            "from a key in the search to the next picture",
            Unit::Milliseconds,
            seen.typing,
            Goal::None,
            String::new(),
        ),
        row(
            "growth of scripts' memory",
            Unit::Mebibytes,
            Samples(vec![growth]),
            Goal::NeverAbove(GROWTH),
            format!("from {first:.1} MiB, each after a collection"),
        ),
        row(
            "elements in the page",
            Unit::Count,
            seen.elements,
            Goal::None,
            String::new(),
        ),
    ])
}

async fn watch(client: &Client, origin: &str, length: Duration) -> Result<Seen> {
    before(client).await?;
    client.goto(&format!("{origin}/peers")).await?;
    shown(client).await?;
    tokio::time::sleep(SETTLE).await;
    // What loading took is another line's business.
    long_tasks(client).await?;
    let (from, heard) = (Instant::now(), changes(client).await?);
    let mut seen = Seen::default();
    let mut turn = 0_u32;
    loop {
        weigh(client, &mut seen).await?;
        // A collection that was asked for is no task of the page.
        long_tasks(client).await?;
        if from.elapsed() >= length {
            break;
        }
        use_page(client, turn, &mut seen).await?;
        turn += 1;
        tokio::time::sleep(LOOK).await;
        seen.tasks.extend(long_tasks(client).await?);
    }
    seen.seconds = from.elapsed().as_secs_f64();
    seen.changes = changes(client).await? - heard;
    let expected = seen.seconds * f64::from(RATE) * 0.8;
    ensure!(
        seen.changes > expected,
        "the page heard of {} changes only",
        seen.changes
    );
    Ok(seen)
}

/// Waits until the list is there and live.
async fn shown(client: &Client) -> Result<()> {
    let deadline = Instant::now() + SHOWN;
    loop {
        let found = client
            .execute(
                "return [document.querySelector('[aria-setsize]')?.getAttribute('aria-setsize'), \
                 document.getElementById('link-state')?.dataset.state]",
                vec![],
            )
            .await?;
        if found == json!([OTHERS.to_string(), "live"]) {
            return Ok(());
        }
        ensure!(Instant::now() < deadline, "the list is not shown: {found}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// How many changes the page was told, counted by a second listener beside its own.
async fn changes(client: &Client) -> Result<f64> {
    let heard = client.execute("return window.benchHeard", vec![]).await?;
    heard.as_f64().context("nobody counts the changes")
}

/// Scrolls to another place, and looks for somebody.
async fn use_page(client: &Client, turn: u32, seen: &mut Seen) -> Result<()> {
    let part = f64::from(turn % 5) / 4.0;
    client
        .execute(
            "scrollTo(0, document.documentElement.scrollHeight * arguments[0])",
            vec![json!(part)],
        )
        .await?;
    for text in ["Grace 1", ""] {
        let took = client
            .execute_async(
                "const [text, done] = arguments; const field = document.querySelector('input.search'); \
                 const from = performance.now(); field.value = text; field.dispatchEvent(new Event('input', { bubbles: true })); \
                 requestAnimationFrame(() => setTimeout(() => done(performance.now() - from)))",
                vec![json!(text)],
            )
            .await?;
        seen.typing.push(took.as_f64().context("time")?);
    }
    Ok(())
}

/// Weighs what scripts keep, after a collection, and counts elements.
async fn weigh(client: &Client, seen: &mut Seen) -> Result<()> {
    order(client, "HeapProfiler.collectGarbage", json!({})).await?;
    let used = order(client, "Runtime.getHeapUsage", json!({})).await?;
    let used: &Value = &used["usedSize"];
    seen.memory
        .push(mib(used.as_f64().context("heap usage")? as u64));
    let elements = client
        .execute("return document.querySelectorAll('*').length", vec![])
        .await?;
    seen.elements.push(elements.as_f64().context("elements")?);
    Ok(())
}
