//! Where the time goes: peers under `perf` while a line is taken.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::bench::Bench;
use crate::process::Process;

/// Samples a second and thread.
const FREQUENCY: &str = "997";
/// Functions below this part of the whole, in percent, are not shown.
const LIMIT: &str = "0.5";

/// A running recording.
#[derive(Debug)]
pub(crate) struct Profile {
    /// Each process's own, with its name.
    recordings: Vec<(String, Process, PathBuf)>,
}

impl Bench {
    /// Starts recording what these processes do, if a profile was asked for.
    pub(crate) fn profile_of(&self, processes: &[&Process]) -> Result<Option<Profile>> {
        if !self.profile {
            return Ok(None);
        }
        let record = |process: &&Process| {
            let file = self.folder(&format!("{}.perf", process.name));
            let mut command = Command::new("perf");
            let id = process.id().to_string();
            command
                .args(["record", "--quiet", "-F", FREQUENCY, "-p", &id, "-o"])
                .arg(&file);
            Ok((
                process.name.clone(),
                Process::start(&self.lan.here, "perf", command, self.logs())?,
                file,
            ))
        };
        Ok(Some(Profile {
            recordings: processes.iter().map(record).collect::<Result<_>>()?,
        }))
    }
}

impl Profile {
    /// Ends the recording and prints the functions that cost most, process by process.
    pub(crate) fn finish(self) -> Result<()> {
        for (name, perf, file) in self.recordings {
            perf.stop()?;
            let mut command = Command::new("perf");
            command.args([
                "report",
                "--stdio",
                "--sort",
                "dso,symbol",
                "--percent-limit",
                LIMIT,
                "-i",
            ]);
            let report = command.arg(&file).output().context("perf report")?;
            if !report.status.success() {
                bail!("perf report: {}", String::from_utf8_lossy(&report.stderr));
            }
            eprintln!("{name}:");
            let text = String::from_utf8_lossy(&report.stdout);
            text.lines()
                .filter(|line| !line.is_empty() && !line.starts_with('#'))
                .for_each(|line| eprintln!("{line}"));
        }
        Ok(())
    }
}
