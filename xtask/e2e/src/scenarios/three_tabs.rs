//! Three tabs with the list of peers, whatever happens around them.

use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::json;

use super::orders::{Browser, Frozen};
use crate::lab::{Lab, wait};
use crate::peer::{Peer, curl};

const SOON: Duration = Duration::from_secs(10);
/// Silence after which a peer counts as away is 20 s (peer-directory.md 6).
const SILENCE: Duration = Duration::from_secs(40);
/// Seconds a tab may lag behind what the peer says.
const LAG: u64 = 10;
/// How long the browser is stopped.
const FROZEN: Duration = Duration::from_secs(12);
/// More events than the peer keeps (1,024).
const FLOOD: usize = 1_200;

/// All tabs show what the peer says, and say that they are live.
fn complete(tabs: &mut Browser, after: &str) -> Result<()> {
    tabs.order(&json!({ "do": "complete", "seconds": LAG }))
        .and_then(|()| tabs.order(&json!({ "do": "said", "words": ["live"] })))
        .with_context(|| format!("after {after}"))
}

fn rename(peer: &Peer, name: &str) -> Result<()> {
    let body = json!({ "label": name }).to_string();
    let answer = peer.post("/api/settings/quick", &body)?;
    ensure!(
        answer.status == 200,
        "the name was refused: {}",
        answer.text()
    );
    Ok(())
}

/// Makes a peer a favourite or takes that back, as soon as the API answers.
fn favorite(ada: &Peer, id: &str, on: bool) -> Result<()> {
    let body = json!({ "peer_id": id, "favorite": on }).to_string();
    wait("the API takes a favourite", SOON, || {
        let answer = ada.post("/api/peers/favorite", &body)?;
        Ok((answer.status < 300).then_some(()))
    })
}

/// Makes a peer a favourite and takes it back, often enough that the oldest events are forgotten.
fn flood(ada: &Peer, id: &str) -> Result<()> {
    let (auth, url) = (
        format!("Authorization: Bearer {}", ada.token()?),
        format!("{}/api/peers/favorite", ada.origin()?),
    );
    let body = |on: bool| json!({ "peer_id": id, "favorite": on }).to_string();
    let (on, off) = (body(true), body(false));
    let mut args = Vec::new();
    for number in 0..FLOOD {
        if number > 0 {
            args.push("--next");
        }
        // The last one leaves a favourite.
        let body = if number % 2 == 0 { &off } else { &on };
        args.extend(["--silent", "-H", &auth, "-d", body, "-o", "/dev/null", &url]);
    }
    curl(&ada.host, &args).map(drop)
}

pub(super) fn three_tabs(lab: &Lab) -> Result<()> {
    let mut ada = Peer::new(lab, &lab.host(1)?, "Ada")?;
    fs::write(
        ada.dir.join("goop.json"),
        r#"{"profile":{"label":"Ada"},"viewer":{"peer_offline_grace_min":1}}"#,
    )?;
    let mut bob = Peer::new(lab, &lab.host(2)?, "Bob")?;
    let mut hedy = Peer::new(lab, &lab.host(3)?, "Hedy")?;
    let mut grace = Peer::new(lab, &lab.host(4)?, "Grace")?;
    for peer in [&mut ada, &mut bob, &mut hedy] {
        peer.start()?;
    }
    let (bob_id, hedy_id) = (bob.id()?, hedy.id()?);
    ada.wait_here(&bob_id, SOON)?;
    ada.wait_here(&hedy_id, SOON)?;
    let script = json!({
        "part": "three tabs", "link": ada.link()?, "origin": ada.origin()?, "folder": lab.folder(),
        "token": ada.dir.join("data/control.token"),
    });
    let mut tabs = Browser::start(lab, &ada, &script)?;
    complete(&mut tabs, "the start")?;

    grace.start()?;
    let grace_id = grace.id()?;
    ada.wait_here(&grace_id, SOON)?;
    complete(&mut tabs, "somebody came")?;
    rename(&bob, "Robert")?;
    wait_name(&ada, &bob_id, "Robert")?;
    complete(&mut tabs, "somebody took another name")?;
    grace.end("KILL", SOON)?;
    hedy.end("INT", SOON)?;
    wait_away(&ada, &hedy_id)?;
    complete(&mut tabs, "somebody left")?;
    wait_away(&ada, &grace_id)?;
    let gone_since = Instant::now();
    complete(&mut tabs, "somebody fell silent")?;

    ada.host.unplug()?;
    wait_away(&ada, &bob_id)?;
    complete(&mut tabs, "the cable was pulled")?;
    rename(&bob, "Bobby")?;
    ada.host.plug()?;
    ada.host.set_address("10.55.0.1")?;
    ada.wait_here(&bob_id, SILENCE)?;
    wait_name(&ada, &bob_id, "Bobby")?;
    complete(&mut tabs, "the cable was put in")?;

    favorite(&ada, &grace_id, true)?;
    complete(&mut tabs, "somebody became a favourite")?;
    tabs.order(&json!({ "do": "forget" }))?;
    tabs.order(&json!({ "do": "spoil" }))?;
    let link = ada.log().matches("Open this").count();
    ensure!(ada.post("/api/restart", "{}")?.status == 202, "no restart");
    wait("the peer is back", SOON, || {
        Ok((ada.log().matches("Open this").count() > link).then_some(()))
    })?;
    // Nobody tells the tabs of this: they are not connected again yet. And who is away sends no signs of life that would
    // bring a row in order later.
    favorite(&ada, &grace_id, false)?;
    tabs.order(&json!({ "do": "said", "words": ["connection lost", "live"] }))?;
    // One tab still waits for a list from before this.
    favorite(&ada, &hedy_id, true)?;
    complete(&mut tabs, "a restart")?;

    let frozen = Frozen::new(tabs.processes()?)?;
    let thaw = Instant::now() + FROZEN;
    rename(&bob, "Bob of the ice")?;
    hedy.start()?;
    ada.wait_here(&hedy_id, SOON)?;
    wait_name(&ada, &bob_id, "Bob of the ice")?;
    flood(&ada, &hedy_id)?;
    std::thread::sleep(thaw.saturating_duration_since(Instant::now()));
    drop(frozen);
    complete(&mut tabs, "the browser stood still")?;

    let row = wait(
        "an absent peer leaves the list",
        Duration::from_secs(75),
        || Ok(ada.row(&grace_id)?.is_none().then_some(())),
    );
    row.with_context(|| format!("it left {:?} ago", gone_since.elapsed()))?;
    complete(&mut tabs, "somebody was forgotten")?;
    tabs.finish()
}

fn wait_name(ada: &Peer, id: &str, name: &str) -> Result<()> {
    ada.wait_row("the new name is heard", id, SOON * 2, |row| {
        row["Content"] == name
    })
    .map(drop)
}

fn wait_away(ada: &Peer, id: &str) -> Result<()> {
    ada.wait_row("the peer counts as away", id, SILENCE, |row| {
        row["Offline"] == true
    })
    .map(drop)
}
