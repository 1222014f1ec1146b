#![doc = include_str!("../README.md")]
//!
//! | Module | Offers |
//! |---|---|
//! | [`caller`] | who is asking, decided in one function |
//! | [`session`] | how the owner proves to be the owner |
//! | [`Viewer`] | the server: bind, run, shut down |
//! | [`logs`] | the ring behind the Logs page |

mod api;
mod assets;
pub mod caller;
mod events;
pub mod logs;
mod outgoing;
mod reply;
mod server;
pub mod session;
mod sites;

use std::path::PathBuf;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use goop_data::Data;
use goop_identity::avatar::{Avatar, AvatarFile, AvatarHash};
use goop_identity::config::ConfigStore;
use goop_identity::{Keypair, PeerId};
use goop_net::Net;
use goop_rendezvous::client::ServerState;
use goop_site::archive::Places;
use goop_site::store::Store;
use goop_site::{Site, SiteRequest, VisitError};
use tokio::sync::watch;

pub use api::write_database;
pub use logs::LogRing;
pub use server::{Sockets, Viewer, ViewerError};

/// What the viewer asks of other peers. The composition root implements it on top of the network.
pub trait Neighbours: Send + Sync + 'static {
    /// Fetches a file of a neighbour's site.
    fn fetch(
        &self,
        peer: PeerId,
        request: SiteRequest,
    ) -> BoxFuture<'_, Result<http::Response<axum::body::Body>, VisitError>>;

    /// The picture that a neighbour announced; `None` when it cannot be had.
    fn avatar(&self, peer: PeerId, announced: AvatarHash) -> BoxFuture<'_, Option<Avatar>>;

    /// Asks for data of a neighbour's site, as this peer.
    fn ask(
        &self,
        peer: PeerId,
        request: goop_data::Request,
    ) -> BoxFuture<'_, Result<goop_data::Whole, goop_data::protocol::CallError>>;
}

/// Opens a web address in the system's browser.
pub type Opener = Arc<dyn Fn(&str) -> std::io::Result<()> + Send + Sync>;

/// Everything the viewer shows and does, put together by the composition root.
#[derive(Clone)]
pub struct Context {
    /// The key pair; the owner's session is derived from it.
    pub keypair: Keypair,
    /// The configuration of the peer folder.
    pub config: ConfigStore,
    /// The network.
    pub net: Net,
    /// The message bus; its log is what pages follow.
    pub mq: goop_mq::Mq,
    /// What people write to each other.
    pub chat: goop_mq::chat::Chat,
    /// The own site.
    pub site: Site,
    /// The own site, to be changed.
    pub store: Store,
    /// The database of the own site.
    pub data: Data,
    /// Where the site lies, for export and import.
    pub places: Places,
    /// The peer folder.
    pub folder: PathBuf,
    /// The own picture.
    pub avatar: AvatarFile,
    /// How it stands with the rendezvous servers.
    pub servers: watch::Receiver<Arc<Vec<ServerState>>>,
    /// Other peers.
    pub neighbours: Arc<dyn Neighbours>,
    /// The log.
    pub logs: LogRing,
    /// Called when name or picture changed, so that others hear of it.
    pub profile_changed: Arc<dyn Fn() + Send + Sync>,
    /// Ends the peer and starts it again; answers at once.
    pub restart: Arc<dyn Fn() + Send + Sync>,
    /// Opens a web address in the system's browser; it was checked before.
    pub open: Opener,
    /// Switches the details of the network in the log on or off.
    pub verbose: Arc<dyn Fn(bool) + Send + Sync>,
    /// Renders the metrics for `/metrics`.
    pub metrics: Option<metrics_exporter_prometheus::PrometheusHandle>,
    /// The peer folder's `data/`, for the control token.
    pub data_folder: PathBuf,
    /// Version of this program.
    pub version: &'static str,
}

impl std::fmt::Debug for Context {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Context")
            .field("version", &self.version)
            .finish_non_exhaustive()
    }
}
