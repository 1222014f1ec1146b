//! What pages cost to load: the first time, again, and from another page. A real browser, and a neighbour in the list.

use anyhow::{Context, Result, ensure};
use fantoccini::Client;
use goop_browser::devtools::order;
use serde_json::json;

use crate::bench::Bench;
use crate::browser::{Asked, asked, drive, forget, rest};
use crate::report::{Goal, Row};
use crate::samples::{Samples, Unit};

/// Requests of a first load.
const REQUESTS: f64 = 15.0;
/// 10³ bytes of a first load.
const KILOBYTES: f64 = 250.0;
/// Bodies of a later load.
const BODIES: f64 = 2.0;
/// Pages of the control origin that are loaded.
const PAGES: [&str; 8] = [
    "/peers",
    "/messages",
    "/view",
    "/database",
    "/self",
    "/logs",
    "/topology",
    "/docs",
];
/// The page that brings an editor.
const EDITOR: &str = "/edit";
/// Where a click leads, and what is clicked, in an order in which each is there.
const CLICKS: [(&str, &str); 10] = [
    ("/peer/", ".peer a.name"),
    ("/messages", "nav a[href='/messages']"),
    ("/view", "nav a[href='/view']"),
    ("/database", "nav a[href='/database']"),
    ("/self", "nav a[href='/self']"),
    ("/logs", "nav a[href='/logs']"),
    ("/topology", "a[href='/topology']"),
    ("/docs", "nav a[href='/docs']"),
    ("/peers", "nav a[href='/peers']"),
    (EDITOR, "nav a[href='/edit']"),
];

/// What loading one page asked for.
struct Load {
    page: &'static str,
    asked: Vec<Asked>,
}

impl Load {
    fn count(&self, which: impl Fn(&Asked) -> bool) -> f64 {
        self.asked.iter().filter(|asked| which(asked)).count() as f64
    }

    fn kilobytes(&self) -> f64 {
        self.asked
            .iter()
            .map(|asked| asked.bytes as f64)
            .sum::<f64>()
            / 1e3
    }

    /// Each request, for whoever wants to know what the number is made of.
    fn explain(&self) {
        for asked in &self.asked {
            let Asked {
                status,
                bytes,
                kind,
                ..
            } = asked;
            eprintln!(
                "  {} {status} {bytes:7} {kind:11} {}",
                self.page,
                asked.path()
            );
        }
    }
}

/// Runs `work` with a browser signed in at a peer that has a neighbour.
fn with_browser<T: Send>(
    bench: &Bench,
    name: &str,
    work: impl AsyncFnOnce(&Client, &str) -> Result<T> + Send,
) -> Result<T> {
    let here = bench.peer_here(&format!("{name}-here"), 0)?;
    let there = bench.peer_there(&format!("{name}-there"), 0)?;
    here.meet(&there)?;
    let origin = format!("http://{}", here.control);
    drive(bench, name, &origin, &here.cookie, async |client| {
        work(client, &origin).await
    })
}

/// Loads a page as it is first seen (`cold`: nothing in the browser's cache), or again.
async fn load(client: &Client, origin: &str, page: &'static str, cold: bool) -> Result<Load> {
    client.goto("about:blank").await?;
    if cold {
        order(client, "Network.clearBrowserCache", json!({})).await?;
    }
    forget(client).await?;
    client.goto(&format!("{origin}{page}")).await?;
    rest(client).await.context(page)?;
    let load = Load {
        page,
        asked: asked(client).await?,
    };
    load.explain();
    let failed = load.asked.iter().find(|asked| asked.status >= 400);
    ensure!(failed.is_none(), "{page}: {failed:?}");
    ensure!(!load.asked.is_empty(), "{page} asked for nothing");
    Ok(load)
}

fn row(what: &str, unit: Unit, loads: &[Load], value: impl Fn(&Load) -> f64, goal: Goal) -> Row {
    let worst = loads.iter().max_by(|a, b| value(a).total_cmp(&value(b)));
    Row {
        what: what.to_owned(),
        unit,
        ours: Samples(loads.iter().map(&value).collect()),
        floor: None,
        goal,
        note: worst.map_or(String::new(), |worst| format!("most: {}", worst.page)),
    }
}

pub(super) fn cold(bench: &Bench) -> Result<Vec<Row>> {
    if bench.floors_only {
        return Ok(Vec::new());
    }
    let (pages, editor) = with_browser(bench, "page-cold", async |client, origin| {
        let mut pages = Vec::new();
        for page in PAGES {
            pages.push(load(client, origin, page, true).await?);
        }
        Ok((pages, load(client, origin, EDITOR, true).await?))
    })?;
    let editor = [editor];
    let requests = |load: &Load| load.count(|_| true);
    Ok(vec![
        row(
            "first load of a page: requests",
            Unit::Count,
            &pages,
            requests,
            Goal::NeverAbove(REQUESTS),
        ),
        row(
            "the same: bytes on the wire",
            Unit::Kilobytes,
            &pages,
            Load::kilobytes,
            Goal::NeverAbove(KILOBYTES),
        ),
        row(
            "the editor page: requests",
            Unit::Count,
            &editor,
            requests,
            Goal::None,
        ),
        row(
            "the same: bytes on the wire",
            Unit::Kilobytes,
            &editor,
            Load::kilobytes,
            Goal::None,
        ),
    ])
}

pub(super) fn again(bench: &Bench) -> Result<Vec<Row>> {
    if bench.floors_only {
        return Ok(Vec::new());
    }
    let pages = with_browser(bench, "page-again", async |client, origin| {
        let mut pages = Vec::new();
        for page in PAGES {
            load(client, origin, page, true).await?;
            pages.push(load(client, origin, page, false).await?);
        }
        Ok(pages)
    })?;
    Ok(vec![row(
        "second load of a page: answers with a body",
        Unit::Count,
        &pages,
        |load| load.count(Asked::has_body),
        Goal::NeverAbove(BODIES),
    )])
}

pub(super) fn change(bench: &Bench) -> Result<Vec<Row>> {
    if bench.floors_only {
        return Ok(Vec::new());
    }
    let mut pages = with_browser(bench, "page-change", async |client, origin| {
        load(client, origin, PAGES[0], true).await?;
        let mut pages = Vec::new();
        for (page, link) in CLICKS {
            forget(client).await?;
            let click = format!("document.querySelector(\"{link}\").click()");
            client.execute(&click, vec![]).await?;
            rest(client).await.context(page)?;
            let here = client.current_url().await?;
            ensure!(here.path().starts_with(page), "{link} leads to {here}");
            let load = Load {
                page,
                asked: asked(client).await?,
            };
            load.explain();
            pages.push(load);
        }
        Ok(pages)
    })?;
    let editor: Vec<Load> = pages.drain(pages.len() - 1..).collect();
    let api = |load: &Load| load.count(Asked::is_api);
    Ok(vec![
        row(
            "to another page: loads of a document",
            Unit::Count,
            &pages,
            |load| load.count(|asked| asked.kind == "Document"),
            Goal::NeverAbove(0.0),
        ),
        row(
            "the same: requests of the API",
            Unit::Count,
            &pages,
            api,
            Goal::NeverAbove(1.0),
        ),
        row(
            "to the editor: requests of the API",
            Unit::Count,
            &editor,
            api,
            Goal::None,
        ),
    ])
}
