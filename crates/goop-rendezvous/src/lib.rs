#![doc = include_str!("../README.md")]
//!
//! | Module | Offers |
//! |---|---|
//! | [`client`] | keeping in touch with a server |
//! | [`state`] | who is there, as a value: events in, actions out |
//! | [`wire`] | the messages, for both ends |
//! | [`settings`] | what a server is started with |
//! | [`server`] | the server |
//! | [`hub`] | the one task that owns the state |
//! | [`limits`] | how often and how many at once |
//! | [`address`] | whose request it is, behind proxies or not |
//! | [`store`] | the template store |
//! | [`lines`] | the lines the admin pages show |
//! | [`onlooker`] | a look at a server from inside its process |

pub mod address;
pub mod client;
mod docs;
pub mod hub;
mod keeper;
pub mod limits;
pub mod lines;
pub mod onlooker;
mod relay;
pub mod server;
pub mod settings;
pub mod state;
pub mod store;
mod web;
pub mod wire;

pub use onlooker::Onlooker;
pub use relay::RelayError;
pub use server::{Server, ServerError};
pub use settings::{Settings, local_url};
