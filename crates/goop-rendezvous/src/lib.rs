#![doc = include_str!("../README.md")]
//!
//! | Module | Offers |
//! |---|---|
//! | [`client`] | keeping in touch with a server |
//! | [`state`] | who is there, as a value: events in, actions out |
//! | [`limits`] | how often and how many at once |
//! | [`wire`] | the messages, for both ends |

pub mod client;
pub mod limits;
pub mod state;
pub mod wire;
