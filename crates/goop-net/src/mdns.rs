//! Finding peers on the same network by multicast DNS (network.md 3).
//!
//! Three parts: [`codec`] turns packets into values and back, [`Agent`] decides what to say and what was learned (a
//! value without sockets or clocks), and [`socket`] moves the bytes on every interface that can multicast.

mod agent;
pub mod codec;
pub mod socket;

pub use agent::{Agent, Found, Output};
