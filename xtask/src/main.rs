//! The project's build system: `cargo xtask <command>`; `cargo xtask --help` lists the commands.
//!
//! It stays small so that it is ready in seconds. What needs the workspace's own crates (the test bed, the
//! benchmarks) is a package of its own that is started from here.

mod checks;
mod dist;
mod run;
mod setup;
mod vendor;

use std::path::PathBuf;
use std::process::ExitCode;

use argh::FromArgs;

/// Builds, runs, tests and measures Goop2.
#[derive(FromArgs)]
struct Args {
    #[argh(subcommand)]
    command: Command,
}

#[derive(FromArgs)]
#[argh(subcommand)]
enum Command {
    Setup(Setup),
    Peer(Peer),
    Test(Test),
    E2e(E2e),
    Bench(Bench),
    Fuzz(Fuzz),
    Ci(Ci),
    Dist(Dist),
    Vendor(Vendor),
}

/// Install what the tests need (Debian and Ubuntu, as root or with sudo); elsewhere print the exact command.
#[derive(FromArgs)]
#[argh(subcommand, name = "setup")]
struct Setup {}

/// Build a peer and put a folder online; without a folder a sample peer is copied beside this one.
#[derive(FromArgs)]
#[argh(subcommand, name = "peer")]
struct Peer {
    /// the peer folder
    #[argh(positional)]
    dir: Option<PathBuf>,
}

/// Run every test: functions, crates, real processes in private networks, a browser.
#[derive(FromArgs)]
#[argh(subcommand, name = "test")]
struct Test {
    /// only tests whose name contains this (functions and crates only)
    #[argh(positional)]
    filter: Option<String>,
}

/// Run the test bed: real processes in private networks.
#[derive(FromArgs)]
#[argh(subcommand, name = "e2e")]
struct E2e {
    /// only scenarios with changing networks; without a filter also every pair of NAT kinds, with its table (minutes)
    #[argh(switch)]
    net: bool,
    /// only scenarios with a browser
    #[argh(switch)]
    browser: bool,
    /// only real peers behind every pair of NAT kinds (minutes)
    #[argh(switch)]
    matrix: bool,
    /// write what the pairs of NAT kinds reached, and how soon, into this file
    #[argh(option)]
    table: Option<PathBuf>,
    /// say the names of the scenarios instead of running them
    #[argh(switch)]
    list: bool,
    /// take pictures of every page, in both themes and at the widths of a desk and a phone, instead of testing anything
    #[argh(switch)]
    shots: bool,
    /// only scenarios whose name contains this; with --shots, the folder of the pictures (target/shots)
    #[argh(positional)]
    filter: Option<String>,
}

/// Measure, each figure beside a floor of the same run, and write docs/performance.md.
#[derive(FromArgs)]
#[argh(subcommand, name = "bench")]
struct Bench {
    /// only figures whose name contains this
    #[argh(positional)]
    name: Option<String>,
}

/// Feed random and mutated input to the decoders for a while.
#[derive(FromArgs)]
#[argh(subcommand, name = "fuzz")]
struct Fuzz {
    /// only targets whose name contains this
    #[argh(positional)]
    target: Option<String>,
    /// seconds for each target
    #[argh(option, default = "60")]
    seconds: u64,
}

/// What the continuous integration runs: format, lints, documentation, licences, tests.
#[derive(FromArgs)]
#[argh(subcommand, name = "ci")]
struct Ci {}

/// Build release archives into target/dist.
#[derive(FromArgs)]
#[argh(subcommand, name = "dist")]
struct Dist {}

/// Bundle the JavaScript of others that the pages use, in the versions xtask/vendor pins (needs npm; rarely run).
#[derive(FromArgs)]
#[argh(subcommand, name = "vendor")]
struct Vendor {}

fn main() -> ExitCode {
    let args: Args = argh::from_env();
    let done = match args.command {
        Command::Setup(_) => setup::everything(),
        Command::Peer(peer) => run::peer(peer.dir),
        Command::Test(test) => checks::test(test.filter.as_deref()),
        Command::E2e(e2e) if e2e.shots => checks::shots(e2e.filter.map(PathBuf::from)),
        Command::E2e(e2e) => checks::e2e(&checks::Chosen {
            net: e2e.net,
            browser: e2e.browser,
            matrix: e2e.matrix,
            list: e2e.list,
            table: e2e.table,
            filter: e2e.filter,
        }),
        Command::Bench(bench) => checks::bench(bench.name.as_deref()),
        Command::Fuzz(fuzz) => checks::fuzz(fuzz.target.as_deref(), fuzz.seconds),
        Command::Ci(_) => checks::ci(),
        Command::Dist(_) => dist::build(),
        Command::Vendor(_) => vendor::build(),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}
