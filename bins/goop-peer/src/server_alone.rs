//! A folder that runs a rendezvous server and nothing else (rendezvous.md 20): no identity, no network of a peer, no
//! database, no site. Where `viewer.http_addr` is set, its owner has pages for the settings and the log.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Context as _;
use goop_identity::avatar::AvatarFile;
use goop_identity::folder::{AVATAR_FILE, DATA_FOLDER, PeerFolder};
use goop_identity::sealing_keys;
use goop_viewer::session::Secret;
use goop_viewer::{Desk, LogRing, Viewer};
use metrics_exporter_prometheus::PrometheusHandle;
use tokio_util::sync::CancellationToken;

use crate::{Ended, VERSION, ViewerSwitch, logging, signals};

/// Who follows the log, and what switches its details.
pub(crate) struct Log {
    pub(crate) ring: LogRing,
    pub(crate) verbose: Arc<dyn Fn(bool) + Send + Sync>,
}

/// Runs a server on a folder, which is made when it is missing, until it is told to leave.
pub(crate) async fn run_on(dir: &std::path::Path) -> anyhow::Result<Ended> {
    let ring = LogRing::default();
    let verbose = Arc::new(logging::start_of_server(&ring));
    let leave = signals::leave_on_signal().context("signals cannot be received")?;
    let folder = goop_rendezvous_server::folder(dir)?;
    run(&folder, ViewerSwitch::On, Log { ring, verbose }, leave).await
}

/// Runs a server on an open folder until `leave`.
pub(crate) async fn run(
    folder: &PeerFolder,
    viewer: ViewerSwitch,
    log: Log,
    leave: CancellationToken,
) -> anyhow::Result<Ended> {
    let config = folder.config().current();
    let before = std::env::var(crate::CONTROL_PORT).ok();
    let before = before.and_then(|port| port.parse().ok());
    // The sockets first: a busy port is said before anybody hears of the server.
    let sockets = match (viewer, config.viewer.http_addr.trim()) {
        (ViewerSwitch::Off, _) | (_, "") => None,
        (ViewerSwitch::On, addr) => Some(Viewer::bind_alone(addr, before).await?),
    };
    let (server, metrics) = goop_rendezvous_server::start(folder).await?;
    let again = Arc::new(AtomicBool::new(false));
    let restart = {
        let (again, leave) = (again.clone(), leave.clone());
        move || {
            again.store(true, Ordering::Relaxed);
            leave.cancel();
        }
    };
    let desk = desk(folder, log, metrics, Arc::new(restart));
    let viewer = sockets
        .map(|sockets| Viewer::of_server(sockets, desk, server.onlooker()))
        .transpose()?;
    let control_port = viewer.as_ref().map(Viewer::control_port);
    if let Some(viewer) = &viewer {
        println!("Open this:  {}", viewer.start_link());
    }
    let pages = async {
        if let Some(viewer) = viewer {
            viewer.run(leave.clone()).await;
        }
    };
    let (served, ()) = tokio::join!(server.run(leave.clone()), pages);
    served?;
    Ok(if again.load(Ordering::Relaxed) {
        Ended::ToStartAgain { control_port }
    } else {
        Ended::Left
    })
}

fn desk(
    folder: &PeerFolder,
    log: Log,
    metrics: Option<PrometheusHandle>,
    restart: Arc<dyn Fn() + Send + Sync>,
) -> Desk {
    // The server itself needs none, so a folder that cannot be written does not stop it.
    let keys = sealing_keys(folder).unwrap_or_else(|error| {
        tracing::warn!(%error, "goop.json gets no keys for sealing; sign in anew after each start");
        None
    });
    Desk {
        secret: Secret::of_sealing(keys.as_ref()),
        id: None,
        config: folder.config().clone(),
        folder: folder.root().to_owned(),
        data_folder: folder.root().join(DATA_FOLDER),
        avatar: AvatarFile::open(&folder.root().join(AVATAR_FILE)),
        servers: tokio::sync::watch::channel(Arc::default()).1,
        logs: log.ring,
        profile_changed: Arc::new(|| ()),
        restart,
        open: Arc::new(|url| open::that_detached(url)),
        verbose: log.verbose,
        metrics,
        version: VERSION,
    }
}
