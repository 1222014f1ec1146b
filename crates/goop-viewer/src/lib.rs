#![doc = include_str!("../README.md")]
//!
//! | Module | Offers |
//! |---|---|
//! | [`caller`] | who is asking, decided in one function |
//! | [`session`] | how the owner proves to be the owner |
//! | [`Viewer`] | the server: bind, run, shut down |
//! | [`Desk`], [`Context`] | what it shows: the folder and its owner, and a peer's parts |
//! | [`logs`] | the ring behind the Logs page |

mod alone;
mod api;
mod assets;
mod base;
pub mod caller;
mod control;
mod events;
mod front;
pub mod logs;
mod outgoing;
mod reply;
mod server;
pub mod session;
mod sites;

use std::sync::Arc;

use futures_util::future::BoxFuture;
use goop_data::Data;
use goop_identity::PeerId;
use goop_identity::avatar::{Avatar, AvatarHash};
use goop_net::Net;
use goop_site::archive::Places;
use goop_site::store::Store;
use goop_site::{Site, SiteRequest, VisitError};

pub use api::write_database;
pub use base::{Desk, Opener};
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

/// What makes a viewer the one of a peer, put together by the composition root.
#[derive(Clone)]
pub struct Context {
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
    /// Other peers.
    pub neighbours: Arc<dyn Neighbours>,
}

impl std::fmt::Debug for Context {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Context").finish_non_exhaustive()
    }
}
