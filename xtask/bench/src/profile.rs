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
    perf: Process,
    file: PathBuf,
}

impl Bench {
    /// Starts recording what these processes do, if a profile was asked for.
    pub(crate) fn profile_of(&self, name: &str, processes: &[&Process]) -> Result<Option<Profile>> {
        if !self.profile {
            return Ok(None);
        }
        let file = self.folder(&format!("{name}.perf"));
        let ids: Vec<_> = processes
            .iter()
            .map(|process| process.id().to_string())
            .collect();
        let mut command = Command::new("perf");
        command
            .args([
                "record",
                "--quiet",
                "-F",
                FREQUENCY,
                "-g",
                "-p",
                &ids.join(","),
                "-o",
            ])
            .arg(&file);
        let perf = Process::start(&self.lan.here, "perf", command, self.logs())?;
        Ok(Some(Profile { perf, file }))
    }
}

impl Profile {
    /// Ends the recording and prints the functions that cost most, each process by itself.
    pub(crate) fn finish(self) -> Result<()> {
        self.perf.stop()?;
        let mut command = Command::new("perf");
        command.args([
            "report",
            "--stdio",
            "--no-children",
            "-g",
            "none",
            "--sort",
            "pid,dso,symbol",
        ]);
        let report = command
            .args(["--percent-limit", LIMIT, "-i"])
            .arg(&self.file)
            .output()
            .context("perf report")?;
        if !report.status.success() {
            bail!("perf report: {}", String::from_utf8_lossy(&report.stderr));
        }
        let text = String::from_utf8_lossy(&report.stdout);
        text.lines()
            .filter(|line| !line.is_empty() && !line.starts_with('#'))
            .for_each(|line| eprintln!("{line}"));
        Ok(())
    }
}
