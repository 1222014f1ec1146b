//! A browser that does one order after the other, told by a scenario, and what can be done to it meanwhile.

use std::fs;
use std::io::{BufRead, BufReader, Lines, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use super::pages::driver;
use crate::lab::{Lab, wait};
use crate::peer::Peer;

/// How long it may take to end.
const SOON: Duration = Duration::from_secs(10);

/// The browser, which does one order after the other.
pub(super) struct Browser {
    child: Child,
    orders: Option<ChildStdin>,
    answers: Lines<BufReader<ChildStdout>>,
}

impl Browser {
    pub(super) fn start(lab: &Lab, ada: &Peer, script: &Value) -> Result<Self> {
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

    pub(super) fn order(&mut self, order: &Value) -> Result<()> {
        let orders = self.orders.as_mut().context("the browser was closed")?;
        writeln!(orders, "{order}").context("the browser is gone (see above)")?;
        self.answer("done")
    }

    /// No orders any more: it closes, and says whether all was well.
    pub(super) fn finish(mut self) -> Result<()> {
        self.orders = None;
        ensure!(
            self.child.wait()?.success(),
            "the browser found something wrong (see above)"
        );
        Ok(())
    }

    /// The processes of Chromium that this browser started.
    pub(super) fn processes(&self) -> Result<Vec<u32>> {
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
pub(super) struct Frozen(Vec<u32>);

impl Frozen {
    pub(super) fn new(processes: Vec<u32>) -> Result<Self> {
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
