//! The test bed: real peers, each a host of its own on a private network, and a browser that visits them.
//!
//! Before anything else the program starts itself again inside namespaces of its own (network and mounts, and users
//! where it is not root). Nothing that runs in there can reach the machine's network, and everything it makes goes
//! when it ends, however it ends.

mod browser;
mod lab;
mod peer;
mod scenarios;

use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::time::Instant;

use anyhow::{Context, Result, bail};
use argh::FromArgs;

/// Set for the process that runs inside the namespaces.
const INSIDE: &str = "GOOP_E2E_INSIDE";

/// Runs scenarios with real processes in private networks.
#[derive(FromArgs)]
struct Args {
    /// where `goop2` and `goop-peer` were built
    #[argh(option)]
    bin_dir: PathBuf,
    /// only scenarios with changing networks
    #[argh(switch)]
    net: bool,
    /// only scenarios with a browser
    #[argh(switch)]
    browser: bool,
    /// take pictures of every page into this folder instead of testing anything
    #[argh(option)]
    shots: Option<PathBuf>,
    /// used by the program itself: drive the browser of one host
    #[argh(option)]
    drive: Option<PathBuf>,
    /// only scenarios whose name contains this
    #[argh(positional)]
    filter: Option<String>,
}

/// What a scenario needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Peers on one LAN.
    Lan,
    /// A network that changes.
    Net,
    /// A browser.
    Browser,
    /// A browser that takes pictures; runs only when they are asked for.
    Pictures,
}

/// A scenario: what it shows, and how.
struct Scenario {
    name: &'static str,
    kind: Kind,
    run: fn(&lab::Lab) -> Result<()>,
}

fn main() -> ExitCode {
    let args: Args = argh::from_env();
    let done = match (&args.drive, std::env::var_os(INSIDE)) {
        (Some(script), _) => browser::drive(script),
        (None, Some(_)) => run(&args),
        (None, None) => enter(),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("e2e: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Starts this program again in namespaces of its own; does not return when that works.
fn enter() -> Result<()> {
    let root = Command::new("id")
        .arg("-u")
        .output()
        .is_ok_and(|output| output.stdout.trim_ascii() == b"0");
    let mut command = Command::new("unshare");
    command.args([
        "--net",
        "--mount",
        "--propagation",
        "private",
        "--pid",
        "--fork",
        "--kill-child",
        "--mount-proc",
    ]);
    if !root {
        command.args(["--user", "--map-root-user"]);
    }
    // An ordinary user's programs are looked for elsewhere than those of routers and proxies.
    let path = std::env::var("PATH").unwrap_or_default();
    let error = command
        .env("PATH", format!("{path}:/usr/local/sbin:/usr/sbin:/sbin"))
        .arg("--")
        .arg(std::env::current_exe()?)
        .args(std::env::args_os().skip(1))
        .env(INSIDE, "1")
        .exec();
    bail!(
        "a private network cannot be made: {error}. It takes `unshare` (apt-get install util-linux) and a kernel that \
         allows user namespaces (sysctl kernel.unprivileged_userns_clone=1), or root"
    )
}

fn run(args: &Args) -> Result<()> {
    let all = scenarios::all();
    let kinds: Vec<Kind> = match (args.net, args.browser) {
        _ if args.shots.is_some() => vec![Kind::Pictures],
        (false, false) => vec![Kind::Lan, Kind::Net, Kind::Browser],
        (net, browser) => net
            .then_some(Kind::Net)
            .into_iter()
            .chain(browser.then_some(Kind::Browser))
            .collect(),
    };
    let wanted = |scenario: &&Scenario| {
        kinds.contains(&scenario.kind)
            && args
                .filter
                .as_deref()
                .is_none_or(|filter| scenario.name.contains(filter))
    };
    let chosen: Vec<&Scenario> = all.iter().filter(wanted).collect();
    if chosen.is_empty() {
        bail!("no scenario matches");
    }
    lab::Lab::enter().context("a place for the names of private networks")?;
    let mut failed = Vec::new();
    for scenario in &chosen {
        let start = Instant::now();
        let outcome = lab::Lab::new(&args.bin_dir, args.shots.as_deref())
            .context("the private network")
            .and_then(|lab| (scenario.run)(&lab));
        let took = start.elapsed().as_secs_f64();
        match outcome {
            Ok(()) => println!("ok      {took:>6.1} s  {}", scenario.name),
            Err(error) => {
                println!("FAILED  {took:>6.1} s  {}\n{error:#}", scenario.name);
                failed.push(scenario.name);
            }
        }
    }
    println!(
        "e2e: {} passed, {} failed",
        chosen.len() - failed.len(),
        failed.len()
    );
    if failed.is_empty() {
        Ok(())
    } else {
        bail!("failed: {}", failed.join("; "))
    }
}
