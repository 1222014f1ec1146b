//! The test bed: real peers, each a host of its own on a private network, and a browser that visits them.
//!
//! Before anything else the program starts itself again inside namespaces of its own (network and mounts, and users
//! where it is not root). Nothing that runs in there can reach the machine's network, and everything it makes goes
//! when it ends, however it ends.

mod attacker;
mod browser;
mod figures;
mod lab;
mod peer;
mod rendezvous;
mod scenarios;

use std::borrow::Cow;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::rc::Rc;
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
    /// only scenarios with changing networks; without a filter also every pair of NAT kinds, with its table (minutes)
    #[argh(switch)]
    net: bool,
    /// only scenarios with a browser
    #[argh(switch)]
    browser: bool,
    /// only real peers behind every pair of NAT kinds (minutes)
    #[argh(switch)]
    matrix: bool,
    /// write what the pairs of NAT kinds reached, and how soon, into this file; a document with the marks of the tables
    /// keeps the rest (docs/performance.md)
    #[argh(option)]
    table: Option<PathBuf>,
    /// say the names of the scenarios instead of running them
    #[argh(switch)]
    list: bool,
    /// take pictures of every page into this folder instead of testing anything
    #[argh(option)]
    shots: Option<PathBuf>,
    /// used by the program itself: drive the browser of one host
    #[argh(option)]
    drive: Option<PathBuf>,
    /// used by the program itself: a peer on one host that keeps to no rules
    #[argh(option)]
    attack: Option<PathBuf>,
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
    /// Real peers behind a pair of NAT kinds; runs only when it is asked for.
    Matrix,
    /// A browser.
    Browser,
    /// A browser that takes pictures; runs only when they are asked for.
    Pictures,
}

/// What a scenario does in its own network.
type Run = dyn Fn(&lab::Lab) -> Result<()>;

/// A scenario: what it shows, and how.
struct Scenario {
    name: Cow<'static, str>,
    kind: Kind,
    run: Box<Run>,
}

fn main() -> ExitCode {
    let args: Args = argh::from_env();
    let done = match (&args.drive, std::env::var_os(INSIDE)) {
        (Some(script), _) => browser::drive(script),
        (None, _) if args.attack.is_some() => attacker::run(args.attack.as_deref()),
        (None, _) if args.list => list(&args),
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
    // A proxy of the machine cannot be reached from inside.
    for name in ["http_proxy", "https_proxy", "all_proxy", "no_proxy"] {
        command.env_remove(name).env_remove(name.to_uppercase());
    }
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

/// The scenarios that were asked for.
fn chosen(args: &Args) -> Result<Vec<Scenario>> {
    let asked = [
        (args.net, Kind::Net),
        (args.matrix, Kind::Matrix),
        (args.browser, Kind::Browser),
    ];
    let mut kinds: Vec<Kind> = asked
        .into_iter()
        .filter_map(|(asked, kind)| asked.then_some(kind))
        .collect();
    // Who looks at networks as a whole sees every pair of NAT kinds, too.
    if args.net && args.filter.is_none() {
        kinds.push(Kind::Matrix);
    }
    if args.shots.is_some() {
        kinds = vec![Kind::Pictures];
    } else if kinds.is_empty() {
        kinds = vec![Kind::Lan, Kind::Net, Kind::Browser];
    }
    let mut chosen = scenarios::all();
    chosen.retain(|scenario| {
        kinds.contains(&scenario.kind)
            && args
                .filter
                .as_deref()
                .is_none_or(|filter| scenario.name.contains(filter))
    });
    if chosen.is_empty() {
        bail!("no scenario matches");
    }
    Ok(chosen)
}

fn list(args: &Args) -> Result<()> {
    for scenario in chosen(args)? {
        println!("{}", scenario.name);
    }
    Ok(())
}

fn run(args: &Args) -> Result<()> {
    let chosen = chosen(args)?;
    let figures = Rc::new(figures::Figures::default());
    lab::Lab::enter().context("a place for the names of private networks")?;
    let mut failed = Vec::new();
    for scenario in &chosen {
        let start = Instant::now();
        let outcome = lab::Lab::new(&args.bin_dir, args.shots.as_deref(), &figures)
            .context("the private network")
            .and_then(|lab| (scenario.run)(&lab));
        let took = start.elapsed().as_secs_f64();
        match outcome {
            Ok(()) => println!("ok      {took:>6.1} s  {}", scenario.name),
            Err(error) => {
                println!("FAILED  {took:>6.1} s  {}\n{error:#}", scenario.name);
                failed.push(scenario.name.as_ref());
            }
        }
    }
    if figures.has_any() {
        println!("\n{}", figures.tables());
    }
    if let Some(file) = &args.table {
        figures.write(file)?;
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
