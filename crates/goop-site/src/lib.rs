#![doc = include_str!("../README.md")]
//!
//! | Module | Offers |
//! |---|---|
//! | [`path`] | which paths a visitor may ask for |
//! | [`Site`] | files of the folder, as visitors may see them |
//! | [`respond`] | HTTP answers: ranges, conditional requests, compression |
//! | [`protocol`] | `/goop/site/1.0.0`, both ends |
//! | [`avatar`] | `/goop/avatar/1.0.0`, both ends, and the pictures of others |
//! | [`http`] | HTTP over libp2p, serving side |
//! | [`store`] | changing the own site: list, read, write, move, delete and bring back, search |
//! | [`archive`] | a whole site in one zip file, out and in |
//! | [`Visitor`] | fetching from a neighbour, by whatever it speaks |

pub mod archive;
pub mod avatar;
pub mod body;
pub mod http;
pub mod line;
pub mod path;
pub mod protocol;
pub mod respond;
mod site;
pub mod store;
pub mod types;
mod visitor;

use std::future::Future;

use goop_identity::PeerId;
use tokio::io::{AsyncRead, AsyncWrite};

pub use body::SiteBody;
pub use path::{PathError, SitePath};
pub use site::{Content, Kept, MAX_CACHED_FILE, Site, SiteError, SiteFile};
pub use visitor::{RemoteBody, SiteRequest, VisitError, Visitor};

/// Opens streams to peers: what this crate needs of a network, and all it knows of one.
pub trait Dialer: Clone + Send + Sync + 'static {
    /// A stream.
    type Stream: AsyncRead + AsyncWrite + Send + Unpin + 'static;

    /// Opens a stream for one protocol, with a deadline of its own.
    fn open(
        &self,
        peer: PeerId,
        protocol: &'static str,
    ) -> impl Future<Output = Result<Self::Stream, DialError>> + Send;

    /// Whether the peer speaks a protocol; `None` while that is not known.
    fn speaks(&self, peer: &PeerId, protocol: &str) -> Option<bool>;

    /// Whether the peer is there. What was kept of a peer that left is thrown away.
    fn is_present(&self, peer: &PeerId) -> bool;
}

/// Why no stream came.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DialError {
    /// The peer is there and does not speak the protocol.
    #[error("the peer does not speak this protocol")]
    NotSpoken,
    /// The peer is not there, or not reachable from here; the text says more.
    #[error("{0}")]
    Unreachable(String),
}
