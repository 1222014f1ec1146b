#![doc = include_str!("../README.md")]
//!
//! One task owns the swarm; [`Net`] is its handle and [`Net::shutdown`] ends it (or the last handle that goes).
//! Discovery runs in a second task that the first one owns, each inbound stream in one that the router owns, each probe
//! and each write of the peer file in one that the host awaits. Nothing else is spawned, apart from what libp2p runs for
//! each connection.

pub mod address;
pub mod autonat;
mod bucket;
pub mod circuit;
mod config;
pub mod content;
mod counters;
pub mod diag;
pub mod dial;
pub mod directory;
pub mod fallback;
pub mod gossip;
mod host;
mod identify;
mod links;
pub mod mdns;
mod net;
mod observed;
mod outside;
pub mod presence;
pub mod punch;
mod reach;
pub mod relay;
mod router;
mod stream;
mod streams;
pub mod table;
pub mod topology;

pub use config::{Discovery, Listen, LocalProfile, NetConfig, NetError, Transports};
pub use goop_identity::PeerId;
pub use libp2p::{Multiaddr, StreamProtocol};
pub use links::OpenError;
pub use net::{FavoriteError, Net, PeerEvent};
pub use outside::{Access, Outside};
pub use relay::{RelayInfo, RelayState, RelayTimings};
pub use router::{Caller, Handler, RouteLimits, Router};
pub use stream::Stream;
pub use table::PeerRow;
