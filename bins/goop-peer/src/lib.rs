//! The composition root: the one place that knows all crates of a peer and puts them together.
//!
//! [`run_to_exit`] is what both programs call; a folder whose settings ask for a rendezvous server and nothing else is one
//! (`server_alone`), which is also what [`run_server_to_exit`] runs. Order of a start: log, folder and its lock, identity, site, the
//! viewer's sockets (a busy port is said before anybody hears of us), network, pages, `online`. The way out is the
//! reverse: pages stop, `offline` goes to everybody, connections close, the folder's lock goes last. The first Ctrl-C
//! starts it and has [`LEAVE_WITHIN`]; the second ends the process at once.

mod compose;
mod hosting;
mod introductions;
mod logging;
mod protocols;
mod server_alone;
mod signals;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

pub use compose::run;

/// The version of this build, also announced in presence as `goopClientVersion`.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// How long a polite end may take. People wait for it at a terminal.
pub const LEAVE_WITHIN: Duration = Duration::from_millis(1_800);

/// Whether the pages and the HTTP API are served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ViewerSwitch {
    /// Serve them, at `viewer.http_addr` or a free loopback port.
    On,
    /// A peer without a window: it is visited, nobody browses from here.
    Off,
}

/// What a peer is started with; everything else stands in the folder's `goop.json`.
#[derive(Debug, Clone)]
pub struct Options {
    /// The peer folder. It must exist.
    pub dir: PathBuf,
    /// Whether to serve the viewer.
    pub viewer: ViewerSwitch,
}

/// How a peer ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// It was told to leave.
    Left,
    /// Its owner wants it to start again, with the pages where they were.
    ToStartAgain {
        /// The port of the control pages.
        control_port: Option<u16>,
    },
}

/// Tells a program that starts itself again where its pages were.
const CONTROL_PORT: &str = "GOOP2_CONTROL_PORT";

/// Worker threads of the runtime. A peer mostly waits; more threads only cost memory on a machine with many cores.
const MAX_WORKERS: usize = 4;

/// Runs a peer until it is told to leave and says, as a process does, how it went.
///
/// An error is printed to stderr in full; the exit code is 0 after a polite end and 1 after an error
/// (peer-directory.md 1.2).
#[must_use]
pub fn run_to_exit(options: &Options) -> ExitCode {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    to_exit(cores.min(MAX_WORKERS), run(options))
}

/// Runs a rendezvous server alone on a folder until it is told to leave, whatever `presence.rendezvous_only` says there; that
/// is never written into `goop.json`. The folder is made when it is missing.
///
/// Ends as [`run_to_exit`] does.
#[must_use]
pub fn run_server_to_exit(dir: &Path) -> ExitCode {
    // Ten thousand peers may be connected: every core may help.
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    to_exit(cores, server_alone::run_on(dir))
}

fn to_exit(workers: usize, work: impl Future<Output = anyhow::Result<Ended>>) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(workers)
        .enable_all()
        .build();
    let outcome = match runtime {
        Ok(runtime) => {
            let outcome = runtime.block_on(work);
            // What still blocks in a worker (a disk that hangs) must not keep the process.
            runtime.shutdown_background();
            outcome
        }
        Err(error) => Err(anyhow::Error::new(error).context("the async runtime did not start")),
    };
    match outcome {
        Ok(Ended::Left) => ExitCode::SUCCESS,
        Ok(Ended::ToStartAgain { control_port }) => start_again(control_port),
        Err(error) => {
            eprintln!("Error: {}", in_words(&error));
            ExitCode::FAILURE
        }
    }
}

/// Becomes a new run of the same program with the same arguments. Returns only when that does not work.
fn start_again(control_port: Option<u16>) -> ExitCode {
    let started = std::env::current_exe().and_then(|program| {
        let mut command = std::process::Command::new(program);
        command.args(std::env::args_os().skip(1));
        if let Some(port) = control_port {
            command.env(CONTROL_PORT, port.to_string());
        }
        become_it(command)
    });
    match started {
        Ok(code) => code,
        Err(error) => {
            eprintln!("Error: the peer could not start again: {error}");
            ExitCode::FAILURE
        }
    }
}

#[cfg(unix)]
fn become_it(mut command: std::process::Command) -> std::io::Result<ExitCode> {
    use std::os::unix::process::CommandExt;
    Err(command.exec())
}

#[cfg(not(unix))]
fn become_it(mut command: std::process::Command) -> std::io::Result<ExitCode> {
    let code = command.status()?.code().unwrap_or(1);
    Ok(ExitCode::from(u8::try_from(code).unwrap_or(1)))
}

/// The error and its causes. Many errors name their cause themselves; nobody needs to read it twice.
fn in_words(error: &anyhow::Error) -> String {
    error.chain().fold(String::new(), |said, cause| {
        let cause = cause.to_string();
        if said.is_empty() {
            cause
        } else if said.contains(&cause) {
            said
        } else {
            format!("{said}: {cause}")
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cause_is_said_once() {
        let error = anyhow::anyhow!("busy")
            .context("a.txt cannot be written: busy")
            .context("not saved");
        assert_eq!(in_words(&error), "not saved: a.txt cannot be written: busy");
    }
}
