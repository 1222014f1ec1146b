//! `goop-rendezvous <dir>`: one rendezvous server and nothing else.

use std::path::PathBuf;
use std::process::ExitCode;

use argh::FromArgs;

/// Run a rendezvous server for Goop2 peers until Ctrl-C.
#[derive(FromArgs)]
struct Args {
    /// the folder of its settings and state; it and its `goop.json` are made when they are missing
    #[argh(positional)]
    dir: Option<PathBuf>,
    /// print the version and leave
    #[argh(switch)]
    version: bool,
}

fn main() -> ExitCode {
    let args: Args = argh::from_env();
    if args.version {
        println!("Goop² v{}", goop_rendezvous_server::VERSION);
        return ExitCode::SUCCESS;
    }
    let Some(dir) = args.dir else {
        eprintln!("Error: a folder is required\nUsage: goop-rendezvous <directory>");
        return ExitCode::FAILURE;
    };
    goop_rendezvous_server::run_to_exit(&dir)
}
