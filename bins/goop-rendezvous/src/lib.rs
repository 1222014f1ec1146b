//! One rendezvous server as a process: folder, log, port, and the way out.
//!
//! [`run_to_exit`] is what `goop-rendezvous` calls; [`start`] is the part of it that `goop2` shares, which adds the pages of
//! the viewer. That the folder is a server's is decided by the command alone and never written into `goop.json`: the same
//! folder can be a peer's again.

use std::io::IsTerminal;
use std::path::Path;
use std::process::ExitCode;

use anyhow::Context;
use goop_identity::folder::PeerFolder;
use goop_rendezvous::{Server, Settings};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;

/// The version of this build.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Exit code after the second signal: 128 + SIGINT, as shells expect.
const EXIT_INTERRUPTED: i32 = 130;
/// What stderr shows unless `RUST_LOG` says otherwise: what a person can act on.
const TERMINAL: &str =
    "warn,goop_rendezvous=info,goop_rendezvous::lines=warn,goop_rendezvous_server=info";

/// Runs a server on a folder until it is told to leave and says, as a process does, how it went.
#[must_use]
pub fn run_to_exit(dir: &Path) -> ExitCode {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(TERMINAL));
    // A second start in one process (tests) changes nothing.
    let _ = tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_env_filter(filter)
        .try_init();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build();
    let outcome = match runtime {
        Ok(runtime) => {
            let outcome = runtime.block_on(run(dir));
            // What still blocks in a worker (a disk that hangs) must not keep the process.
            runtime.shutdown_background();
            outcome
        }
        Err(error) => Err(anyhow::Error::new(error).context("the async runtime did not start")),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("Error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(dir: &Path) -> anyhow::Result<()> {
    let folder = folder(dir)?;
    let leave = leave_on_signal().context("signals cannot be received")?;
    let (server, _) = start(&folder).await?;
    server.run(leave).await?;
    Ok(())
}

/// The folder of a server; it and its `goop.json` are made when they are missing.
///
/// # Errors
/// It cannot be made, or not be used.
pub fn folder(dir: &Path) -> anyhow::Result<PeerFolder> {
    std::fs::create_dir_all(dir).with_context(|| format!("{} cannot be made", dir.display()))?;
    Ok(PeerFolder::open(dir)?)
}

/// Takes the ports that the settings of a folder name, and says where the server is. Nothing is written into `goop.json`.
///
/// # Errors
/// A setting makes no sense, a port is taken, or the relay's key cannot be used.
pub async fn start(folder: &PeerFolder) -> anyhow::Result<(Server, Option<PrometheusHandle>)> {
    let settings = Settings::read(folder)?;
    let open_files = raise_open_files();
    let url = settings.own_url();
    let admin = settings.admin_password.is_some();
    let server = Server::bind(settings).await?;
    println!("Goop² v{VERSION} rendezvous on {}", folder.root().display());
    println!("Rendezvous: {url} (listening on {})", server.local_addr()?);
    if admin {
        println!("Admin:      {url}/admin");
    }
    if open_files < 4_096 {
        tracing::warn!(
            open_files,
            "this many connections at most; raise the limit of open files (ulimit -n) for more"
        );
    }
    match PrometheusBuilder::new().install_recorder() {
        Ok(metrics) => Ok((server.with_metrics(metrics.clone()), Some(metrics))),
        Err(error) => {
            tracing::warn!(%error, "there are no metrics");
            Ok((server, None))
        }
    }
}

/// Every connection is an open file: as many as the system lets this process have. How many that are.
#[cfg(unix)]
fn raise_open_files() -> u64 {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let most = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    let after = match setrlimit(Resource::Nofile, most) {
        Ok(()) => limit.maximum,
        Err(_) => limit.current,
    };
    after.unwrap_or(u64::MAX)
}

#[cfg(not(unix))]
fn raise_open_files() -> u64 {
    u64::MAX
}

/// A token that the first SIGINT or SIGTERM cancels. The second ends the process at once.
fn leave_on_signal() -> std::io::Result<CancellationToken> {
    let token = CancellationToken::new();
    let leave = token.clone();
    let mut signals = signals()?;
    tokio::spawn(async move {
        signals.recv().await;
        tracing::info!("leaving; press Ctrl-C again to end at once");
        leave.cancel();
        signals.recv().await;
        std::process::exit(EXIT_INTERRUPTED);
    });
    Ok(token)
}

/// Gives a unit for each signal. Its task waits for signals as long as the process lives.
#[cfg(unix)]
fn signals() -> std::io::Result<tokio::sync::mpsc::Receiver<()>> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let (sender, receiver) = tokio::sync::mpsc::channel(2);
    tokio::spawn(async move {
        loop {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            if sender.send(()).await.is_err() {
                return;
            }
        }
    });
    Ok(receiver)
}

#[cfg(not(unix))]
fn signals() -> std::io::Result<tokio::sync::mpsc::Receiver<()>> {
    let (sender, receiver) = tokio::sync::mpsc::channel(2);
    tokio::spawn(async move {
        // An error means no console to listen to; then nobody can interrupt either.
        while tokio::signal::ctrl_c().await.is_ok() {
            if sender.send(()).await.is_err() {
                return;
            }
        }
        std::future::pending::<()>().await;
    });
    Ok(receiver)
}
