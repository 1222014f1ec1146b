//! Processes that are measured or that measure: started in a namespace, read line by line, weighed, ended.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use nix::sys::signal::{Signal, kill};
use nix::time::{clock_getcpuclockid, clock_gettime};
use nix::unistd::Pid;
use serde::de::DeserializeOwned;

use crate::space::Space;

/// How long a process may take to leave politely before it is killed.
const LEAVE: Duration = Duration::from_secs(5);
/// Bytes of a failed process's complaints that are shown.
const COMPLAINT: usize = 2_000;

/// A running process; dropping it kills it.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    /// What it is called here.
    pub(crate) name: String,
    lines: Receiver<(Instant, String)>,
    complaints: PathBuf,
    /// Just before it was started.
    pub(crate) started: Instant,
}

/// What a process has in memory, in bytes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Memory {
    /// Resident.
    pub(crate) rss: u64,
    /// Resident, shared pages divided among those who share them.
    pub(crate) pss: u64,
}

impl Process {
    /// Starts `command` inside `space`. What it complains about goes to a file in `logs`.
    pub(crate) fn start(
        space: &Space,
        name: &str,
        mut command: Command,
        logs: &Path,
    ) -> Result<Self> {
        static STARTED: AtomicUsize = AtomicUsize::new(0);
        let number = STARTED.fetch_add(1, Ordering::Relaxed);
        let complaints = logs.join(format!("{name}-{number}.log"));
        let stderr = File::create(&complaints)?;
        command
            .env_remove("RUST_LOG")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(stderr);
        let (started, mut child) = space.enter(|| {
            Ok((
                Instant::now(),
                command
                    .spawn()
                    .with_context(|| format!("{name} does not start"))?,
            ))
        })?;
        let stdout = child.stdout.take().context("no stdout")?;
        let (sender, lines) = channel();
        // Ends with the process's stdout.
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if sender.send((Instant::now(), line)).is_err() {
                    return;
                }
            }
        });
        Ok(Self {
            child,
            name: name.to_owned(),
            lines,
            complaints,
            started,
        })
    }

    /// The first line from which `find` makes something, and when it came.
    pub(crate) fn line<T>(
        &self,
        within: Duration,
        find: impl Fn(&str) -> Option<T>,
    ) -> Result<(Instant, T)> {
        let deadline = Instant::now() + within;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.lines.recv_timeout(left) {
                Ok((at, line)) => {
                    if let Some(found) = find(&line) {
                        return Ok((at, found));
                    }
                }
                Err(RecvTimeoutError::Timeout) => {
                    return Err(self.failed("said nothing useful in time"));
                }
                Err(RecvTimeoutError::Disconnected) => return Err(self.failed("ended")),
            }
        }
    }

    /// Processor time used so far by all its threads, ended ones included.
    pub(crate) fn cpu(&self) -> Result<Duration> {
        let clock = clock_getcpuclockid(self.pid()?)
            .with_context(|| format!("{} has no clock", self.name))?;
        Ok(Duration::from(clock_gettime(clock)?))
    }

    /// What it has in memory now.
    pub(crate) fn memory(&self) -> Result<Memory> {
        Ok(Memory {
            rss: self.field("status", "VmRSS:")?,
            pss: self.field("smaps_rollup", "Pss:")?,
        })
    }

    /// The most it had resident since [`Self::forget_peak`].
    pub(crate) fn peak(&self) -> Result<u64> {
        self.field("status", "VmHWM:")
    }

    /// Bytes it has read so far, from files and pipes; sockets that are received from do not count (proc(5), io, `rchar`).
    pub(crate) fn read_bytes(&self) -> Result<u64> {
        let text = std::fs::read_to_string(self.proc("io")).map_err(|_| self.failed("is gone"))?;
        let count = text.lines().find_map(|line| line.strip_prefix("rchar:"));
        Ok(count.context("no rchar")?.trim().parse()?)
    }

    /// Starts a new measurement of the peak.
    pub(crate) fn forget_peak(&self) -> Result<()> {
        // proc(5), clear_refs: 5 resets the high water mark.
        std::fs::write(self.proc("clear_refs"), "5").context("the peak of memory cannot be reset")
    }

    /// Its threads.
    pub(crate) fn threads(&self) -> Result<usize> {
        Ok(std::fs::read_dir(self.proc("task"))?.count())
    }

    /// Asks it to leave and waits; kills it when it does not.
    pub(crate) fn stop(mut self) -> Result<()> {
        kill(self.pid()?, Signal::SIGTERM)?;
        let deadline = Instant::now() + LEAVE;
        while Instant::now() < deadline {
            if self.child.try_wait()?.is_some() {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        bail!("{} did not leave within {} s", self.name, LEAVE.as_secs())
    }

    /// Its process id.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    fn pid(&self) -> Result<Pid> {
        Ok(Pid::from_raw(i32::try_from(self.child.id())?))
    }

    fn proc(&self, file: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/{file}", self.child.id()))
    }

    fn field(&self, file: &str, name: &str) -> Result<u64> {
        let text = std::fs::read_to_string(self.proc(file)).map_err(|_| self.failed("is gone"))?;
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix(name))
            .with_context(|| format!("no {name}"))?;
        let kibibytes: u64 = line.trim().trim_end_matches("kB").trim().parse()?;
        Ok(kibibytes * 1024)
    }

    fn failed(&self, what: &str) -> anyhow::Error {
        let mut text = String::new();
        let read = File::open(&self.complaints).and_then(|mut file| file.read_to_string(&mut text));
        let tail = text
            .char_indices()
            .rev()
            .nth(COMPLAINT)
            .map_or(0, |(at, _)| at);
        match read {
            Ok(_) if !text.trim().is_empty() => {
                anyhow!("{} {what}; it said: {}", self.name, text[tail..].trim())
            }
            _ => anyhow!("{} {what}", self.name),
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Both fail only when it is gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs a command of this program inside `space` to its end and reads the one JSON line it prints.
pub(crate) fn ask<T: DeserializeOwned>(
    space: &Space,
    arguments: &[String],
    within: Duration,
    logs: &Path,
) -> Result<T> {
    let process = Process::start(space, &arguments[0], own_command(arguments)?, logs)?;
    let (_, answer) = process.line(within, |line| {
        line.starts_with('{').then(|| line.to_owned())
    })?;
    serde_json::from_str(&answer).with_context(|| format!("{} said {answer}", arguments[0]))
}

/// A command of this program.
pub(crate) fn own_command(arguments: &[String]) -> Result<Command> {
    let mut command = Command::new(std::env::current_exe().context("own program file")?);
    command.args(arguments);
    Ok(command)
}
