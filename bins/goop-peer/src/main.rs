//! `goop-peer <dir>`: one peer and nothing else, for small machines and services.

use std::path::PathBuf;
use std::process::ExitCode;

use argh::FromArgs;

/// Put a folder online as a Goop2 peer until Ctrl-C.
#[derive(FromArgs)]
struct Args {
    /// the peer folder; it must exist, `goop.json` is written when it is missing
    #[argh(positional)]
    dir: Option<PathBuf>,
    /// do not start the viewer (the pages and the HTTP API)
    #[argh(switch)]
    no_viewer: bool,
    /// print the version and leave
    #[argh(switch)]
    version: bool,
}

fn main() -> ExitCode {
    let args: Args = argh::from_env();
    if args.version {
        println!("Goop² v{}", goop_peer::VERSION);
        return ExitCode::SUCCESS;
    }
    let Some(dir) = args.dir else {
        eprintln!("Error: a peer folder is required\nUsage: goop-peer <peer-directory>");
        return ExitCode::FAILURE;
    };
    let viewer = if args.no_viewer {
        goop_peer::ViewerSwitch::Off
    } else {
        goop_peer::ViewerSwitch::On
    };
    goop_peer::run_to_exit(&goop_peer::Options { dir, viewer })
}
