//! Finding peers on the same network by multicast DNS (network.md 3).
//!
//! [`codec`] turns packets into values, [`advert`] makes those we send, [`Agent`] decides what to say and what was
//! learned (a value without sockets or clocks), and [`socket`] moves the bytes on every interface that can multicast.
//!
//! What is heard here is a rumour: anybody on the network can say anything about anybody. It only leads to dialling,
//! and the connection proves who is there. Nothing is believed from outside the network: a packet counts only when its
//! source address belongs to a network of one of our interfaces ([`socket`]). Its hop limit is not looked at, because
//! Go peers do not look at it either and some bridges change it.

pub mod advert;
mod agent;
pub mod codec;
mod interfaces;
mod neighbours;
pub mod socket;

pub use agent::{Agent, Found, Output};
pub use neighbours::{MAX_INSTANCES, MAX_PER_SOURCE};
