//! What must hold: tests, lints, licences; and what is measured.

use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::Result;

use crate::run::{cargo, root, run, target_dir};
use crate::setup;

/// Milliseconds of random input for each decoder in an ordinary test run.
const FUZZ_BRIEFLY: u64 = 300;

/// The README's test command.
pub(crate) fn test(filter: Option<&str>) -> Result<()> {
    let mut steps = Steps::default();
    steps.step("set up", setup::test_bed)?;
    steps.step("functions and crates", || {
        let mut command = cargo(&["test", "--workspace", "--quiet"]);
        command
            .args(filter)
            .env("BOLERO_RANDOM_TEST_TIME_MS", FUZZ_BRIEFLY.to_string());
        run(&mut command)
    })?;
    if filter.is_none() {
        // With the features of the whole workspace, so that nothing but this crate is built anew.
        steps.step("a weakened build is caught", || {
            run(&mut cargo(&[
                "test",
                "--workspace",
                "--quiet",
                "--features",
                "goop-data/weakened",
                "--test",
                "weakened",
            ]))
        })?;
        steps.step("processes and browser", || e2e(&Chosen::default()))?;
    }
    steps.table();
    Ok(())
}

/// Which scenarios of the test bed, and what becomes of them; by default those that need no asking for.
#[derive(Debug, Default)]
pub(crate) struct Chosen {
    pub(crate) net: bool,
    pub(crate) browser: bool,
    pub(crate) matrix: bool,
    pub(crate) list: bool,
    pub(crate) table: Option<PathBuf>,
    pub(crate) filter: Option<String>,
}

/// The test bed with real processes.
pub(crate) fn e2e(chosen: &Chosen) -> Result<()> {
    let mut command = test_bed()?;
    let switches = [
        (chosen.net, "--net"),
        (chosen.browser, "--browser"),
        (chosen.matrix, "--matrix"),
        (chosen.list, "--list"),
    ];
    command.args(
        switches
            .into_iter()
            .filter_map(|(wanted, switch)| wanted.then_some(switch)),
    );
    if let Some(table) = &chosen.table {
        command.arg("--table").arg(table);
    }
    run(command.args(&chosen.filter))
}

/// Pictures of every page, for whoever wants to look.
pub(crate) fn shots(folder: Option<PathBuf>) -> Result<()> {
    let folder = std::path::absolute(folder.unwrap_or_else(|| target_dir().join("shots")))?;
    run(test_bed()?.arg("--shots").arg(&folder))?;
    eprintln!("The pictures are in {}.", folder.display());
    Ok(())
}

/// The test bed, built.
fn test_bed() -> Result<Command> {
    setup::test_bed()?;
    run(&mut cargo(&[
        "build",
        "--quiet",
        "--package",
        "goop2",
        "--package",
        "goop-peer",
        "--package",
        "goop-e2e",
    ]))?;
    let built = target_dir().join("debug");
    let mut command = Command::new(built.join("goop-e2e"));
    command.arg("--bin-dir").arg(&built);
    Ok(command)
}

/// The figures.
pub(crate) fn bench(name: Option<&str>) -> Result<()> {
    setup::test_bed()?;
    run(&mut cargo(&[
        "build",
        "--release",
        "--package",
        "goop2",
        "--package",
        "goop-peer",
        "--package",
        "goop-rendezvous-server",
        "--package",
        "goop-bench",
    ]))?;
    let built = target_dir().join("release");
    let mut command = Command::new(built.join("goop-bench"));
    command.arg("--bin-dir").arg(&built);
    match name {
        Some(name) => command.arg(name),
        None => command
            .arg("--write")
            .arg(root().join("docs/performance.md")),
    };
    run(&mut command)
}

/// Random and mutated input for longer.
pub(crate) fn fuzz(target: Option<&str>, seconds: u64) -> Result<()> {
    let mut command = cargo(&["test", "--workspace", "--test", "fuzz"]);
    command
        .args(target)
        .env("BOLERO_RANDOM_TEST_TIME_MS", (seconds * 1_000).to_string());
    command.env("BOLERO_RANDOM_ITERATIONS", u64::MAX.to_string());
    run(&mut command)
}

/// Everything a change must pass.
pub(crate) fn ci() -> Result<()> {
    let mut steps = Steps::default();
    steps.step("format", || run(&mut cargo(&["fmt", "--all", "--check"])))?;
    steps.step("set up", setup::everything)?;
    steps.step("lints", || {
        run(&mut cargo(&[
            "clippy",
            "--workspace",
            "--all-targets",
            "--quiet",
            "--",
            "--deny",
            "warnings",
        ]))
    })?;
    steps.step("documentation", || {
        run(cargo(&["doc", "--workspace", "--no-deps", "--quiet"])
            .env("RUSTDOCFLAGS", "--deny warnings"))
    })?;
    steps.step("dependencies", || {
        run(&mut cargo(&[
            "deny",
            "--log-level",
            "error",
            "check",
            "licenses",
            "bans",
            "sources",
        ]))
    })?;
    steps.step("tests", || test(None))?;
    steps.table();
    Ok(())
}

/// Steps with the time each took.
#[derive(Default)]
struct Steps {
    done: Vec<(&'static str, Duration)>,
}

impl Steps {
    fn step(&mut self, name: &'static str, work: impl FnOnce() -> Result<()>) -> Result<()> {
        eprintln!("== {name}");
        let start = Instant::now();
        work()?;
        self.done.push((name, start.elapsed()));
        Ok(())
    }

    fn table(&self) {
        eprintln!("== done");
        for (name, took) in &self.done {
            eprintln!("{:>7.1} s  {name}", took.as_secs_f64());
        }
        eprintln!(
            "{:>7.1} s  in all",
            self.done
                .iter()
                .map(|(_, took)| took.as_secs_f64())
                .sum::<f64>()
        );
    }
}
