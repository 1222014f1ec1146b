//! What every viewer has, whether it shows a peer or a rendezvous server alone.

use std::ops::Deref;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use goop_identity::PeerId;
use goop_identity::avatar::AvatarFile;
use goop_identity::config::ConfigStore;
use goop_rendezvous::client::ServerState;
use http::header::{AUTHORIZATION, COOKIE};
use http::{HeaderMap, HeaderName};
use tokio::sync::{Semaphore, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::logs::LogRing;
use crate::outgoing::Outgoing;
use crate::session::{Secret, Session};

/// Connections at once on all sockets. A browser opens six.
pub(crate) const MAX_CONNECTIONS: usize = 512;

/// Opens a web address in the system's browser.
pub type Opener = Arc<dyn Fn(&str) -> std::io::Result<()> + Send + Sync>;

/// What belongs to the folder and to its owner, put together by the composition root.
#[derive(Clone)]
pub struct Desk {
    /// What the owner's session is derived from.
    pub secret: Secret,
    /// The peer id; a server alone has none.
    pub id: Option<PeerId>,
    /// The configuration of the folder.
    pub config: ConfigStore,
    /// The folder.
    pub folder: PathBuf,
    /// Its `data/`, for the control token.
    pub data_folder: PathBuf,
    /// The own picture.
    pub avatar: AvatarFile,
    /// How it stands with the rendezvous servers that this peer joined.
    pub servers: watch::Receiver<Arc<Vec<ServerState>>>,
    /// The log.
    pub logs: LogRing,
    /// Called when name or picture changed, so that others hear of it.
    pub profile_changed: Arc<dyn Fn() + Send + Sync>,
    /// Ends the program's work and starts it again; answers at once.
    pub restart: Arc<dyn Fn() + Send + Sync>,
    /// Opens a web address in the system's browser; it was checked before.
    pub open: Opener,
    /// Switches the details of the network in the log on or off.
    pub verbose: Arc<dyn Fn(bool) + Send + Sync>,
    /// Renders the metrics for `/metrics`.
    pub metrics: Option<metrics_exporter_prometheus::PrometheusHandle>,
    /// Version of this program.
    pub version: &'static str,
}

impl std::fmt::Debug for Desk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Desk")
            .field("folder", &self.folder)
            .field("version", &self.version)
            .finish_non_exhaustive()
    }
}

/// What every request of every viewer may need. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Base(Arc<Parts>);

/// The parts of a [`Base`].
pub(crate) struct Parts {
    pub(crate) desk: Desk,
    pub(crate) outgoing: Outgoing,
    pub(crate) session: Session,
    pub(crate) stop: CancellationToken,
    pub(crate) verbose: AtomicBool,
    /// Who writes down where dividers stand.
    pub(crate) splits: tokio::sync::Mutex<()>,
    pub(crate) control_port: u16,
    pub(crate) tasks: TaskTracker,
    pub(crate) connections: Arc<Semaphore>,
}

impl Deref for Base {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.0
    }
}

impl Base {
    pub(crate) fn new(desk: Desk, session: Session, control_port: u16) -> Self {
        Self(Arc::new(Parts {
            outgoing: Outgoing::new(desk.version),
            desk,
            session,
            stop: CancellationToken::new(),
            verbose: AtomicBool::new(false),
            splits: tokio::sync::Mutex::new(()),
            control_port,
            tasks: TaskTracker::new(),
            connections: Arc::new(Semaphore::new(MAX_CONNECTIONS)),
        }))
    }

    /// Whether a request proves to be the owner's.
    pub(crate) fn is_owner(&self, headers: &HeaderMap) -> bool {
        let text = |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
        self.session.is_owner(text(COOKIE), text(AUTHORIZATION))
    }
}
