//! A peer under measurement: its folder with test files, the running binary, and the owner's way in.

use std::fs::{self, File};
use std::io::{BufRead, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::http::{self, Reply};
use crate::process::Process;
use crate::space::Space;

/// How long a peer may take to say that it runs.
const START: Duration = Duration::from_secs(20);
/// How long two peers may take to find each other.
const MEET: Duration = Duration::from_secs(30);

/// Small files of a site; more than any cache of answers holds, so that each request brings bytes from the neighbour.
pub(crate) const SMALL_FILES: usize = 256;
/// Bytes in each.
pub(crate) const SMALL: u64 = 10 * 1024;
/// Bytes in the large file of the own site.
pub(crate) const LARGE: u64 = 64 << 20;
/// Bytes in the neighbour's large file.
pub(crate) const HUGE: u64 = 256 << 20;
/// The name of the large files.
pub(crate) const LARGE_FILE: &str = "large.bin";

/// Makes a peer folder with a site of small files and, if `large` is not 0, a large one.
pub(crate) fn make_folder(folder: &Path, large: u64) -> Result<()> {
    let site = folder.join("site");
    fs::create_dir_all(&site)?;
    fs::write(
        site.join("index.html"),
        "<!doctype html><title>bench</title>\n",
    )?;
    for file in 0..SMALL_FILES {
        fs::write(site.join(small_file(file)), small_bytes(file))?;
    }
    if large > 0 {
        let mut file = File::create(site.join(LARGE_FILE))?;
        let mut noise = Noise(1);
        let mut block = vec![0; 1 << 20];
        for _ in 0..large >> 20 {
            noise.fill(&mut block);
            file.write_all(&block)?;
        }
    }
    Ok(())
}

/// The names of the small files; `{}` stands for the number.
pub(crate) const SMALL_NAMES: &str = "page-{}.html";

/// The name of a small file.
pub(crate) fn small_file(file: usize) -> String {
    SMALL_NAMES.replace("{}", &file.to_string())
}

/// What is in it.
pub(crate) fn small_bytes(file: usize) -> Vec<u8> {
    let mut bytes = vec![0; usize::try_from(SMALL).unwrap_or_default()];
    Noise(file as u64 + 2).fill(&mut bytes);
    // Text, so that a server which wanted to pack or sniff it would do what it does with pages.
    bytes.iter_mut().for_each(|byte| *byte = b' ' + *byte % 64);
    bytes
}

/// Bytes that do not repeat (xorshift; Marsaglia 2003).
struct Noise(u64);

impl Noise {
    fn fill(&mut self, bytes: &mut [u8]) {
        for eight in bytes.chunks_mut(8) {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            eight.copy_from_slice(&self.0.to_le_bytes()[..eight.len()]);
        }
    }
}

/// A running peer whose owner is signed in.
#[derive(Debug)]
pub(crate) struct Peer<'a> {
    pub(crate) space: &'a Space,
    /// The process.
    pub(crate) process: Process,
    /// Its folder.
    pub(crate) folder: PathBuf,
    /// Its peer id.
    pub(crate) id: String,
    /// Where the control pages are.
    pub(crate) control: SocketAddr,
    /// The owner's session, `name=value`.
    pub(crate) cookie: String,
    /// When `/api/self` had answered.
    pub(crate) answered: Instant,
}

impl<'a> Peer<'a> {
    /// Starts `binary` over `folder` and signs in as its owner, who then asks who they are.
    pub(crate) fn start(
        space: &'a Space,
        name: &str,
        binary: &Path,
        folder: &Path,
    ) -> Result<Self> {
        let mut command = Command::new(binary);
        command.arg(folder);
        let logs = folder.parent().unwrap_or(folder);
        let process = Process::start(space, name, command, logs)?;
        let (_, link) = process.line(START, |line| {
            line.find("http://")
                .filter(|_| line.contains("/start?token="))
                .map(|at| line[at..].trim().to_owned())
        })?;
        let (host, path) = link
            .trim_start_matches("http://")
            .split_once('/')
            .context("the start link has no path")?;
        let control: SocketAddr = host
            .parse()
            .with_context(|| format!("the start link leads to {host}"))?;
        let signed_in = http::get(space.connect(control)?, host, &format!("/{path}"), None)?;
        let cookie = signed_in
            .header("set-cookie")
            .and_then(|cookie| cookie.split(';').next());
        let cookie = cookie
            .with_context(|| format!("{name}'s start link gave no session"))?
            .to_owned();
        let who = http::get(space.connect(control)?, host, "/api/self", Some(&cookie))?
            .ok("/api/self")?;
        let answered = Instant::now();
        let who: Value = serde_json::from_slice(&who.body)?;
        let id = who["id"]
            .as_str()
            .context("/api/self names no id")?
            .to_owned();
        Ok(Self {
            space,
            process,
            folder: folder.to_owned(),
            id,
            control,
            cookie,
            answered,
        })
    }

    /// From its start until `/api/self` had answered.
    pub(crate) fn start_time(&self) -> Duration {
        self.answered - self.process.started
    }

    /// Asks the control pages as the owner.
    pub(crate) fn ask(&self, path: &str) -> Result<Reply> {
        http::get(
            self.space.connect(self.control)?,
            &self.control.to_string(),
            path,
            Some(&self.cookie),
        )
    }

    /// Posts JSON as the owner.
    pub(crate) fn post(&self, path: &str, body: &serde_json::Value) -> Result<Reply> {
        let (stream, host) = (self.space.connect(self.control)?, self.control.to_string());
        http::post(stream, &host, path, &self.cookie, &body.to_string())?.ok(path)
    }

    /// Takes an answer of any length as the owner and throws it away; its bytes.
    pub(crate) fn drain(&self, path: &str) -> Result<u64> {
        let stream = self.space.connect(self.control)?;
        http::drain(stream, &self.control.to_string(), path, &self.cookie)
    }

    /// The `Host` under which a site is shown here, found by following its link.
    pub(crate) fn site_host(&self, of: &str) -> Result<String> {
        let reply = self.ask(&format!("/p/{of}/"))?;
        let target = reply
            .header("location")
            .with_context(|| format!("/p/{of}/ answered {} without a way on", reply.status))?;
        let host = target
            .strip_prefix("http://")
            .and_then(|rest| rest.split('/').next());
        Ok(host
            .with_context(|| format!("/p/{of}/ leads to {target}"))?
            .to_owned())
    }

    /// A page of a site as its visitor gets it.
    pub(crate) fn visit(&self, host: &str, of: &str, file: &str) -> Result<Reply> {
        http::get(
            self.space.connect(self.control)?,
            host,
            &format!("/p/{of}/{file}"),
            None,
        )?
        .ok(file)
    }

    /// Whether the list says that `other` is there.
    pub(crate) fn lists(&self, other: &str) -> Result<bool> {
        let row = self.row(other)?;
        Ok(row.is_some_and(|row| row["Offline"] == false && row["Reachable"] == true))
    }

    /// Whether the list says that `other` is online, reached or not.
    pub(crate) fn knows(&self, other: &str) -> Result<bool> {
        Ok(self.row(other)?.is_some_and(|row| row["Offline"] == false))
    }

    fn row(&self, other: &str) -> Result<Option<Value>> {
        let list = self.ask("/api/peers")?.ok("/api/peers")?;
        let rows: Vec<Value> = serde_json::from_slice(&list.body)?;
        Ok(rows.into_iter().find(|row| row["ID"] == other))
    }

    /// Waits until both list each other.
    pub(crate) fn meet(&self, other: &Self) -> Result<()> {
        let deadline = Instant::now() + MEET;
        loop {
            let (seen, sees) = (other.lists(&self.id)?, self.lists(&other.id)?);
            if seen && sees {
                return Ok(());
            }
            if Instant::now() > deadline {
                let within = MEET.as_secs();
                bail!(
                    "two peers did not meet within {within} s: first lists second {sees}, second lists first {seen}"
                );
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Listens for peers that come, as its pages do.
    pub(crate) fn watch(&self) -> Result<Receiver<(Instant, String)>> {
        let stream = self.space.connect(self.control)?;
        let events = http::events(
            stream,
            &self.control.to_string(),
            "/api/mq/events",
            &self.cookie,
        )?;
        let (sender, receiver) = channel();
        // Ends with the peer or the receiver.
        std::thread::spawn(move || {
            for line in events.lines().map_while(Result::ok) {
                let now = Instant::now();
                let Some(event) = line.strip_prefix("data:") else {
                    continue;
                };
                let Ok(event) = serde_json::from_str::<Value>(event) else {
                    continue;
                };
                let Some(peer) = come(&event["msg"]) else {
                    continue;
                };
                if sender.send((now, peer.to_owned())).is_err() {
                    return;
                }
            }
        });
        Ok(receiver)
    }
}

/// The peer that a message says is there.
fn come(message: &Value) -> Option<&str> {
    let peer = &message["payload"];
    let is_there = message["topic"] == "peer:announce" && peer["offline"] != true;
    peer["peerID"].as_str().filter(|_| is_there)
}
