//! A site of 20,000 files in the editor: its list is made of names and sizes alone, and only what is in sight is drawn.

use std::fs;
use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use fantoccini::Locator;
use serde_json::Value;

use crate::bench::Bench;
use crate::browser::{before, drive, long_tasks, rest};
use crate::peer::Peer;
use crate::report::{Floor, Goal, Row};
use crate::samples::{Samples, Unit, mib, ms};

/// Files of the site, in folders of this many.
const FILES: usize = 20_000;
const FOLDER: usize = 2_000;
/// Bytes in each; a list that opened them would read all of these.
const EACH: usize = 1_024;
/// Mebibytes that a list may read: a twentieth of what lies in the files.
const READ: f64 = 1.0;
/// Rows that may exist in the document.
const ROWS: f64 = 200.0;

pub(super) fn take(bench: &Bench) -> Result<Vec<Row>> {
    let folder = bench.folder("tree-20000");
    make_site(&folder.join("site"))?;
    let mut walks = Samples::default();
    for _ in 0..bench.effort.rounds {
        let from = Instant::now();
        let found = walk(&folder.join("site"))?;
        walks.push(ms(from.elapsed()));
        ensure!(found > FILES, "{found} files were found");
    }
    let mut lists = Samples::default();
    let mut read = Samples::default();
    let mut rows = Samples::default();
    let mut tasks = Samples::default();
    if !bench.floors_only {
        let peer = Peer::start(&bench.lan.here, "tree-20000", &bench.peer, &folder)?;
        prove_that_reading_counts(&peer)?;
        for _ in 0..bench.effort.rounds {
            let (before, from) = (peer.process.read_bytes()?, Instant::now());
            let answer = peer.ask("/api/site/files")?.ok("/api/site/files")?;
            lists.push(ms(from.elapsed()));
            read.push(mib(peer.process.read_bytes()?.saturating_sub(before)));
            let list: Vec<Value> = serde_json::from_slice(&answer.body)?;
            ensure!(list.len() > FILES, "{} files are listed", list.len());
        }
        (rows, tasks) = look(bench, &peer)?;
    }
    Ok(vec![
        Row {
            what: "list of a site of 20,000 files".to_owned(),
            unit: Unit::Milliseconds,
            ours: lists,
            floor: Some(Floor::new("reading the folders alone", walks)),
            goal: Goal::None,
            note: "`/api/site/files`, all of it".to_owned(),
        },
        Row {
            what: "bytes that the peer reads from files for it".to_owned(),
            unit: Unit::Mebibytes,
            ours: read,
            floor: None,
            goal: Goal::NeverAbove(READ),
            note: format!("{:.1} MiB lie in them", mib((FILES * EACH) as u64)),
        },
        Row {
            what:
                "rows of the tree that exist, a folder of 2,000 open, at its start, middle and end"
                    .to_owned(),
            unit: Unit::Count,
            ours: rows,
            floor: None,
            goal: Goal::NeverAbove(ROWS),
            note: String::new(),
        },
        Row {
            what: "tasks of the page longer than 50 ms meanwhile, the longest".to_owned(),
            unit: Unit::Milliseconds,
            ours: tasks,
            floor: None,
            goal: Goal::None,
            note: "reading the editor and the list included".to_owned(),
        },
    ])
}

fn make_site(site: &Path) -> Result<()> {
    let text = "x".repeat(EACH);
    for folder in 0..FILES / FOLDER {
        let folder = site.join(format!("folder-{folder}"));
        fs::create_dir_all(&folder)?;
        for file in 0..FOLDER {
            fs::write(folder.join(format!("file-{file:04}.txt")), &text)?;
        }
    }
    fs::write(
        site.join("index.html"),
        "<!doctype html><title>bench</title>\n",
    )?;
    Ok(())
}

/// Names, sizes and times, as a list has to say them.
fn walk(folder: &Path) -> Result<usize> {
    let mut found = 0;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let about = entry.metadata()?;
        found += 1;
        if about.is_dir() {
            found += walk(&entry.path())?;
        }
    }
    Ok(found)
}

/// A counter that stands still would make every list look good.
fn prove_that_reading_counts(peer: &Peer<'_>) -> Result<()> {
    let before = peer.process.read_bytes()?;
    let path = "/api/site/content?path=folder-0/file-0000.txt";
    peer.ask(path)?.ok(path)?;
    let read = peer.process.read_bytes()?.saturating_sub(before);
    ensure!(
        read >= EACH as u64,
        "opening a file of {EACH} bytes counted as {read}"
    );
    Ok(())
}

/// Opens the editor and a folder of 2,000 files, and goes through it: rows at each look, long tasks.
fn look(bench: &Bench, peer: &Peer<'_>) -> Result<(Samples, Samples)> {
    let origin = format!("http://{}", peer.control);
    drive(bench, "tree-20000", &origin, &peer.cookie, async |client| {
        before(client).await?;
        client.goto(&format!("{origin}/edit")).await?;
        rest(client).await?;
        let first = "[role=tree] [data-path='folder-0']";
        client.find(Locator::Css(first)).await?.click().await?;
        let mut rows = Samples::default();
        for part in [0.0, 0.5, 1.0] {
            let scroll = format!(
                "const tree = document.querySelector('[role=tree]'); tree.scrollTop = tree.scrollHeight * {part}"
            );
            client.execute(&scroll, vec![]).await?;
            rest(client).await?;
            let counted = client
                .execute(
                    "const tree = document.querySelector('[role=tree]'); \
                     return [tree.querySelectorAll('[data-path]').length, tree.scrollHeight]",
                    vec![],
                )
                .await?;
            let height = counted[1].as_f64().context("height")?;
            ensure!(
                height > FOLDER as f64 * 10.0,
                "the folder is not open: {height} px"
            );
            rows.push(counted[0].as_f64().context("rows")?);
        }
        let longest = long_tasks(client).await?.into_iter().fold(0.0, f64::max);
        Ok((rows, Samples(vec![longest])))
    })
}
