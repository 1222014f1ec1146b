//! The run: options, the LAN, the lines in order, the table.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use argh::FromArgs;
use tempfile::TempDir;

use crate::lines;
use crate::report::{self, Outcome};
use crate::space::{self, Lan};

/// The word before a line's name that asks for a profile.
const PROFILE: &str = "profile";

/// Where a whole run goes.
const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/performance.md");

/// Measure a peer beside floors taken in the same run. Without names, every line.
#[derive(Debug, FromArgs)]
pub(crate) struct Arguments {
    /// lines to take (`--list` names them); after `profile`, under perf
    #[argh(positional)]
    names: Vec<String>,
    /// where `goop-peer` is (target/release)
    #[argh(option, default = "PathBuf::from(\"target/release\")")]
    bin_dir: PathBuf,
    /// rounds of each line (5)
    #[argh(option, default = "5")]
    rounds: usize,
    /// starts of each kind, for lines about starting (9)
    #[argh(option, default = "9")]
    starts: usize,
    /// milliseconds of counting in a round (2000)
    #[argh(option, default = "2000")]
    run: u64,
    /// seconds of watching an idle peer (60)
    #[argh(option, default = "60")]
    idle: u64,
    /// seconds of watching a page with 5,000 peers (120; 600 tells more of its memory)
    #[argh(option, default = "120")]
    watch: u64,
    /// a look instead of a measurement: 2 rounds of 500 ms, 3 starts, 10 s idle, 20 s of watching
    #[argh(switch)]
    quick: bool,
    /// take the floors only; no peer is needed
    #[argh(switch)]
    floors: bool,
    /// write the table into this page, between its marks (docs/performance.md after all lines)
    #[argh(option)]
    write: Option<PathBuf>,
    /// name the lines and leave
    #[argh(switch)]
    list: bool,
}

/// What every line needs.
#[derive(Debug)]
pub(crate) struct Bench {
    /// The network.
    pub(crate) lan: Lan,
    /// The binary.
    pub(crate) peer: PathBuf,
    /// Folders of peers and what processes complain about; gone afterwards.
    pub(crate) work: TempDir,
    /// How much is measured.
    pub(crate) effort: Effort,
    /// Whether peers are left out.
    pub(crate) floors_only: bool,
    /// Whether peers run under perf.
    pub(crate) profile: bool,
}

/// How much is measured.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Effort {
    /// Rounds of a line.
    pub(crate) rounds: usize,
    /// Starts of each kind.
    pub(crate) starts: usize,
    /// Milliseconds before counting.
    pub(crate) warm: u64,
    /// Milliseconds of counting.
    pub(crate) run: u64,
    /// Seconds of watching an idle peer.
    pub(crate) idle: u64,
    /// Seconds of watching a page.
    pub(crate) watch: u64,
}

impl Bench {
    /// A folder below the working one.
    pub(crate) fn folder(&self, name: &str) -> PathBuf {
        self.work.path().join(name)
    }

    /// Where processes complain.
    pub(crate) fn logs(&self) -> &Path {
        self.work.path()
    }
}

pub(crate) fn run(arguments: Arguments) -> Result<ExitCode> {
    if arguments.list {
        lines::ALL
            .iter()
            .for_each(|line| println!("{:18} {}", line.name, line.what));
        return Ok(ExitCode::SUCCESS);
    }
    let profile = arguments.names.first().is_some_and(|name| name == PROFILE);
    let names = &arguments.names[usize::from(profile)..];
    let chosen = lines::choose(names)?;
    let peer = arguments.bin_dir.join("goop-peer");
    if !arguments.floors && !peer.is_file() {
        bail!(
            "{} is missing: cargo build --release -p goop-peer",
            peer.display()
        );
    }
    if let Some(code) = space::go_inside()? {
        return Ok(code);
    }
    let work = TempDir::with_prefix("goop-bench-")?;
    end_with_ctrl_c(work.path().to_owned())?;
    let effort = if arguments.quick {
        Effort {
            rounds: 2,
            starts: 3,
            warm: 200,
            run: 500,
            idle: 10,
            watch: 20,
        }
    } else {
        Effort {
            rounds: arguments.rounds,
            starts: arguments.starts,
            warm: 300,
            run: arguments.run,
            idle: arguments.idle,
            watch: arguments.watch,
        }
    };
    let bench = Bench {
        lan: Lan::new()?,
        peer,
        work,
        effort,
        floors_only: arguments.floors,
        profile,
    };
    let mut outcomes = Vec::new();
    for line in chosen {
        eprintln!("{}: {} …", line.name, line.what);
        let result = (line.take)(&bench);
        if let Err(error) = &result {
            eprintln!("{} FAILED: {error:#}", line.name);
        }
        outcomes.push(Outcome { line, result });
    }
    let failed = outcomes.iter().any(|outcome| outcome.result.is_err());
    let table = report::table(&outcomes, &effort)?;
    println!("{table}");
    let whole = arguments.names.is_empty() && !arguments.quick && !arguments.floors;
    if let Some(page) = arguments
        .write
        .or_else(|| whole.then(|| PathBuf::from(PAGE)))
    {
        if failed {
            bail!("a line failed; {} stays as it was", page.display());
        }
        report::write(&page, &table)
            .with_context(|| format!("{} cannot be written", page.display()))?;
    }
    Ok(if failed {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}

/// The bench is the first process of its PID namespace, which the kernel spares signals that it does not handle.
fn end_with_ctrl_c(work: PathBuf) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    std::thread::spawn(move || {
        runtime.block_on(async {
            // An error means that there is no terminal; then nobody can interrupt.
            if tokio::signal::ctrl_c().await.is_ok() {
                // What cannot be removed stays for the system's own tidying.
                let _ = std::fs::remove_dir_all(work);
                std::process::exit(130);
            }
        });
    });
    Ok(())
}
