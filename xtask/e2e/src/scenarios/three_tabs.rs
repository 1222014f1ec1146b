//! Three tabs with the list of peers, whatever happens around them.

use std::fs;
use std::io::{BufRead, BufReader, Lines, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};

use super::pages::driver;
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

/// The browser, which does one order after the other.
struct Browser {
    child: Child,
    orders: Option<ChildStdin>,
    answers: Lines<BufReader<ChildStdout>>,
}

impl Browser {
    fn start(lab: &Lab, ada: &Peer, script: &Value) -> Result<Self> {
        let mut child = driver(lab, ada, script)?
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let orders = child.stdin.take();
        let answers = BufReader::new(child.stdout.take().context("no answers")?).lines();
        let mut browser = Self {
            child,
            orders,
            answers,
        };
        browser.answer("ready")?;
        Ok(browser)
    }

    fn answer(&mut self, wanted: &str) -> Result<()> {
        match self.answers.next() {
            Some(Ok(line)) if line == wanted => Ok(()),
            Some(other) => bail!("the browser says {other:?}"),
            None => bail!("the browser found something wrong (see above)"),
        }
    }

    fn order(&mut self, order: &Value) -> Result<()> {
        let orders = self.orders.as_mut().context("the browser was closed")?;
        writeln!(orders, "{order}").context("the browser is gone (see above)")?;
        self.answer("done")
    }

    /// All tabs show what the peer says, and say that they are live.
    fn complete(&mut self, after: &str) -> Result<()> {
        self.order(&json!({ "do": "complete", "seconds": LAG }))
            .and_then(|()| self.order(&json!({ "do": "said", "words": ["live"] })))
            .with_context(|| format!("after {after}"))
    }

    /// The processes of Chromium that this browser started.
    fn processes(&self) -> Result<Vec<u32>> {
        let mut all = Vec::new();
        for entry in fs::read_dir("/proc")? {
            let Ok(id) = entry?.file_name().to_string_lossy().parse::<u32>() else {
                continue;
            };
            // `id (name) state parent …`; a name may hold spaces and brackets.
            let Ok(stat) = fs::read_to_string(format!("/proc/{id}/stat")) else {
                continue;
            };
            let name = stat
                .split_once('(')
                .and_then(|(_, rest)| rest.rsplit_once(')'));
            if let Some((name, rest)) = name {
                let parent = rest
                    .split_whitespace()
                    .nth(1)
                    .and_then(|text| text.parse().ok());
                all.push((id, name.to_owned(), parent.unwrap_or(0)));
            }
        }
        let (mut ours, mut chromium) = (vec![self.child.id()], Vec::new());
        while let Some(above) = ours.pop() {
            for (id, name, _) in all.iter().filter(|(_, _, parent)| *parent == above) {
                ours.push(*id);
                if name != "chromedriver" {
                    chromium.push(*id);
                }
            }
        }
        ensure!(chromium.len() > 3, "Chromium was not found: {all:?}");
        Ok(chromium)
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // Without orders it closes the browser and ends.
        self.orders = None;
        let ended = wait("the browser ends", SOON, || Ok(self.child.try_wait()?));
        if ended.is_err() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// Processes that stand still until this is dropped.
struct Frozen(Vec<u32>);

impl Frozen {
    fn new(processes: Vec<u32>) -> Result<Self> {
        let frozen = Self(processes);
        frozen.send("STOP")?;
        Ok(frozen)
    }

    fn send(&self, signal: &str) -> Result<()> {
        let status = Command::new("kill")
            .arg(format!("-{signal}"))
            .args(self.0.iter().map(u32::to_string))
            .status()?;
        ensure!(status.success(), "{signal} was not delivered");
        Ok(())
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        let _ = self.send("CONT");
    }
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
    tabs.complete("the start")?;

    grace.start()?;
    let grace_id = grace.id()?;
    ada.wait_here(&grace_id, SOON)?;
    tabs.complete("somebody came")?;
    rename(&bob, "Robert")?;
    wait_name(&ada, &bob_id, "Robert")?;
    tabs.complete("somebody took another name")?;
    grace.end("KILL", SOON)?;
    hedy.end("INT", SOON)?;
    wait_away(&ada, &hedy_id)?;
    tabs.complete("somebody left")?;
    wait_away(&ada, &grace_id)?;
    let gone_since = Instant::now();
    tabs.complete("somebody fell silent")?;

    ada.host.unplug()?;
    wait_away(&ada, &bob_id)?;
    tabs.complete("the cable was pulled")?;
    rename(&bob, "Bobby")?;
    ada.host.plug()?;
    ada.host.set_address("10.55.0.1")?;
    ada.wait_here(&bob_id, SILENCE)?;
    wait_name(&ada, &bob_id, "Bobby")?;
    tabs.complete("the cable was put in")?;

    favorite(&ada, &grace_id, true)?;
    tabs.complete("somebody became a favourite")?;
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
    tabs.complete("a restart")?;

    let frozen = Frozen::new(tabs.processes()?)?;
    let thaw = Instant::now() + FROZEN;
    rename(&bob, "Bob of the ice")?;
    hedy.start()?;
    ada.wait_here(&hedy_id, SOON)?;
    wait_name(&ada, &bob_id, "Bob of the ice")?;
    flood(&ada, &hedy_id)?;
    std::thread::sleep(thaw.saturating_duration_since(Instant::now()));
    drop(frozen);
    tabs.complete("the browser stood still")?;

    let row = wait(
        "an absent peer leaves the list",
        Duration::from_secs(75),
        || Ok(ada.row(&grace_id)?.is_none().then_some(())),
    );
    row.with_context(|| format!("it left {:?} ago", gone_since.elapsed()))?;
    tabs.complete("somebody was forgotten")?;
    tabs.orders = None;
    let status = tabs.child.wait()?;
    ensure!(
        status.success(),
        "the browser found something wrong (see above)"
    );
    Ok(())
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
