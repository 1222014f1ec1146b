#![doc = include_str!("../README.md")]
//!
//! One task owns the swarm ([`Net`] is its handle and [`Net::shutdown`] ends it); discovery runs in a second one that
//! the first owns; every inbound stream has a task that ends with the router. Nothing else is spawned.

pub mod address;
pub mod content;
pub mod dial;
pub mod directory;
pub mod gossip;
mod host;
pub mod mdns;
mod net;
mod router;
mod stream;
mod streams;
pub mod table;
pub mod topology;

pub use goop_identity::PeerId;
pub use libp2p::{Multiaddr, StreamProtocol};
pub use net::{Discovery, Listen, LocalProfile, Net, NetConfig, NetError, PeerEvent, UnknownPeer};
pub use router::{Caller, Handler, RouteLimits, Router};
pub use stream::Stream;
pub use streams::OpenError;
pub use table::PeerRow;
