#![doc = include_str!("../README.md")]
//!
//! | Module | Offers |
//! |---|---|
//! | [`Mq`] | the bus: send, broadcast, serve a stream |
//! | [`wire`] | `/goop/mq/1.0.0`: messages, acknowledgements, reading them |
//! | [`topic`] | the catalogue of topics as types |
//! | [`router`] | the typed border to those who own topics |
//! | [`carry`] | one attempt to bring a message to a peer |
//! | [`outbox`], [`receiver`], [`turns`] | what waits to be sent, what may come in, and whose turn it is, as values |
//! | [`log`] | the events that pages follow |
//! | [`chat`] | direct chat: what waits, what was written, scripts that answer |
//! | [`keys`], [`words`] | whose key is whose, and how two people compare them |
//! | [`identity`] | who somebody is, and whom to ask |

pub mod carry;
pub mod chat;
pub mod identity;
pub mod keys;
pub mod log;
mod mq;
pub mod outbox;
pub mod receiver;
pub mod router;
mod sending;
mod serve;
mod shared;
pub mod topic;
pub mod turns;
pub mod wire;
pub mod words;

pub use carry::{Carrier, DialError, Dialer, Streams};
pub use mq::{BroadcastReport, FEATURES, Hints, Mq, Own, SendError, Setup};
pub use sending::Task;
pub use serve::{HOLD, ServeError};
