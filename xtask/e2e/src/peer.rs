//! A real peer on a host, and how a person or a program talks to it.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use crate::lab::{Host, Lab, wait};

/// How long a start may take on a busy machine.
const START: Duration = Duration::from_secs(15);

/// A peer folder, and the process on it while it runs.
pub(crate) struct Peer {
    pub(crate) host: Host,
    pub(crate) dir: PathBuf,
    /// The certificates it trusts, instead of the machine's.
    pub(crate) trust: Option<PathBuf>,
    /// What its log tells beside the usual (`RUST_LOG`).
    pub(crate) tells: Option<&'static str>,
    /// How it is started: `peer`, or `rendezvous` for a folder that runs a server alone.
    pub(crate) command: &'static str,
    program: PathBuf,
    log: PathBuf,
    child: Option<Child>,
}

/// An HTTP answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: Vec<u8>,
    pub(crate) location: String,
}

impl Answer {
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub(crate) fn json(&self) -> Result<Value> {
        serde_json::from_slice(&self.body)
            .with_context(|| format!("not JSON ({}): {}", self.status, self.text()))
    }
}

impl Peer {
    /// A folder with a name and a front page, not running yet.
    pub(crate) fn new(lab: &Lab, host: &Host, name: &str) -> Result<Self> {
        Self::with(lab, host, name, &json!({}))
    }

    /// The same with settings of `presence`.
    pub(crate) fn with(lab: &Lab, host: &Host, name: &str, presence: &Value) -> Result<Self> {
        let dir = lab.folder().join(name);
        fs::create_dir_all(dir.join("site"))?;
        let config = json!({"profile": {"label": name}, "presence": presence});
        fs::write(dir.join("goop.json"), config.to_string())?;
        fs::write(
            dir.join("site/index.html"),
            format!("<!doctype html><title>{name}</title><h1>Hello from {name}</h1>"),
        )?;
        Ok(Self::at(lab, host, dir))
    }

    /// A folder that exists.
    pub(crate) fn at(lab: &Lab, host: &Host, dir: PathBuf) -> Self {
        static LOGS: AtomicUsize = AtomicUsize::new(0);
        let log = dir.with_extension(format!("{}.log", LOGS.fetch_add(1, Ordering::Relaxed)));
        Self {
            host: host.clone(),
            program: lab.bin("goop2"),
            dir,
            trust: None,
            tells: None,
            command: "peer",
            log,
            child: None,
        }
    }

    /// Starts it and waits until its API answers.
    pub(crate) fn start(&mut self) -> Result<()> {
        self.spawn()?;
        self.started()
    }

    /// Waits until the API of one that was spawned answers.
    pub(crate) fn started(&mut self) -> Result<()> {
        wait("the peer's API answers", START, || {
            if let Some(status) = self
                .child
                .as_mut()
                .and_then(|child| child.try_wait().transpose())
                .transpose()?
            {
                bail!("the peer ended at its start ({status}): {}", self.log());
            }
            Ok(self.link().ok().filter(|_| {
                self.get("/api/session")
                    .is_ok_and(|answer| answer.status == 200)
            }))
        })
        .map(drop)
    }

    /// Starts it without waiting.
    pub(crate) fn spawn(&mut self) -> Result<()> {
        let log = File::create(&self.log)?;
        let mut command = self.host.command(&self.program);
        command
            .arg(self.command)
            .arg(&self.dir)
            .stdout(log.try_clone()?)
            .stderr(log);
        if let Some(certificates) = &self.trust {
            command.env("SSL_CERT_FILE", certificates);
        }
        if let Some(tells) = self.tells {
            command.env("RUST_LOG", tells);
        }
        self.child = Some(command.spawn().context("goop2 could not be started")?);
        Ok(())
    }

    /// What it printed.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// The start link it printed.
    pub(crate) fn link(&self) -> Result<String> {
        let log = self.log();
        log.split_whitespace()
            .find(|word| word.starts_with("http://127.0.0.1:") && word.contains("/start?token="))
            .map(str::to_owned)
            .context("no start link was printed yet")
    }

    /// The control origin.
    pub(crate) fn origin(&self) -> Result<String> {
        let link = self.link()?;
        Ok(link.split("/start").next().unwrap_or_default().to_owned())
    }

    /// What the owner's programs send.
    pub(crate) fn token(&self) -> Result<String> {
        fs::read_to_string(self.dir.join("data/control.token")).context("the control token")
    }

    /// Its id.
    pub(crate) fn id(&self) -> Result<String> {
        let me = self.get("/api/self")?.json()?;
        Ok(me["id"].as_str().context("no id")?.to_owned())
    }

    /// Asks the API as the owner.
    pub(crate) fn get(&self, path: &str) -> Result<Answer> {
        let auth = format!("Authorization: Bearer {}", self.token()?);
        curl(
            &self.host,
            &["-H", &auth, &format!("{}{path}", self.origin()?)],
        )
    }

    /// Posts JSON to the API as the owner.
    pub(crate) fn post(&self, path: &str, body: &str) -> Result<Answer> {
        let auth = format!("Authorization: Bearer {}", self.token()?);
        curl(
            &self.host,
            &[
                "-H",
                &auth,
                "-d",
                body,
                &format!("{}{path}", self.origin()?),
            ],
        )
    }

    /// Visits a path of somebody's site through this peer, as a browser on its host does.
    pub(crate) fn visit(&self, id: &str, path: &str, extra: &[&str]) -> Result<Answer> {
        let lead = self.get(&format!("/p/{id}/{path}"))?;
        if lead.status != 302 {
            return Ok(lead);
        }
        let (origin, rest) = lead
            .location
            .trim_start_matches("http://")
            .split_once('/')
            .context("no path")?;
        let url = format!("{}/{rest}", self.origin()?);
        let host = format!("Host: {origin}");
        let args: Vec<&str> = ["-H", &host]
            .into_iter()
            .chain(extra.iter().copied())
            .chain([url.as_str()])
            .collect();
        curl(&self.host, &args)
    }

    /// The row of another peer in this one's list.
    pub(crate) fn row(&self, id: &str) -> Result<Option<Value>> {
        let list = self.get("/api/peers")?.json()?;
        Ok(list
            .as_array()
            .and_then(|rows| rows.iter().find(|row| row["ID"] == id))
            .cloned())
    }

    /// Waits until another peer is listed as `wanted` says.
    pub(crate) fn wait_row(
        &self,
        what: &str,
        id: &str,
        within: Duration,
        wanted: impl Fn(&Value) -> bool,
    ) -> Result<Value> {
        wait(what, within, || Ok(self.row(id)?.filter(|row| wanted(row)))).with_context(|| {
            format!(
                "the list was {:?}; log:\n{}",
                self.row(id).ok(),
                tail(&self.log())
            )
        })
    }

    /// Waits until another peer is here.
    pub(crate) fn wait_here(&self, id: &str, within: Duration) -> Result<Value> {
        self.wait_row("the peer is listed as here", id, within, |row| {
            row["Offline"] == false && row["Reachable"] == true
        })
    }

    /// Ends it with a signal and waits for the process. `ip netns exec` becomes the program, so the id is its own.
    pub(crate) fn end(&mut self, signal: &str, within: Duration) -> Result<(ExitStatus, Duration)> {
        let mut child = self.child.take().context("the peer does not run")?;
        let start = Instant::now();
        kill(&child, signal)?;
        let ended = wait("the peer ends", within, || Ok(child.try_wait()?));
        if ended.is_err() {
            let _ = child.kill();
        }
        Ok((ended.with_context(|| tail(&self.log()))?, start.elapsed()))
    }

    /// The id of its process.
    pub(crate) fn process(&self) -> Result<u32> {
        Ok(self.child.as_ref().context("the peer does not run")?.id())
    }

    /// Sends a signal and does not wait.
    pub(crate) fn signal(&self, signal: &str) -> Result<()> {
        kill(
            self.child.as_ref().context("the peer does not run")?,
            signal,
        )
    }

    /// Waits until it ended by itself.
    pub(crate) fn wait_end(&mut self, within: Duration) -> Result<ExitStatus> {
        let mut child = self.child.take().context("the peer does not run")?;
        wait("the peer ends by itself", within, || Ok(child.try_wait()?))
            .with_context(|| tail(&self.log()))
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn kill(child: &Child, signal: &str) -> Result<()> {
    let status = std::process::Command::new("kill")
        .args([&format!("-{signal}"), &child.id().to_string()])
        .status()?;
    if !status.success() {
        bail!("the signal {signal} was not delivered");
    }
    Ok(())
}

/// The end of a log, for error messages: 15 lines, or as many as `GOOP_E2E_LINES` says.
pub(crate) fn tail(log: &str) -> String {
    let wanted = std::env::var("GOOP_E2E_LINES").ok();
    let wanted = wanted.and_then(|lines| lines.parse().ok()).unwrap_or(15);
    let lines: Vec<&str> = log.lines().collect();
    lines[lines.len().saturating_sub(wanted)..].join("\n")
}

/// Asks with curl from a host.
pub(crate) fn curl(host: &Host, args: &[&str]) -> Result<Answer> {
    const MARK: &str = "\n--goop-e2e--";
    let output = host
        .command("curl")
        .args([
            "--silent",
            "--show-error",
            "--max-time",
            "30",
            "--write-out",
            &format!("{MARK}%{{http_code}} %{{redirect_url}}"),
        ])
        .args(args)
        .stderr(Stdio::piped())
        .output()
        .context("`curl` is missing: apt-get install curl")?;
    let at = output
        .stdout
        .windows(MARK.len())
        .rposition(|window| window == MARK.as_bytes())
        .context("curl said nothing")?;
    let end = String::from_utf8_lossy(&output.stdout[at + MARK.len()..]).into_owned();
    let (status, location) = end.split_once(' ').unwrap_or((&end, ""));
    if !output.status.success() {
        bail!("curl: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(Answer {
        status: status.parse()?,
        body: output.stdout[..at].to_vec(),
        location: location.to_owned(),
    })
}

/// Copies a folder with everything in it.
pub(crate) fn copy_tree(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from).with_context(|| format!("{}", from.display()))? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_tree(&entry.path(), &target)?
        } else {
            fs::copy(entry.path(), &target).map(drop)?
        }
    }
    Ok(())
}
