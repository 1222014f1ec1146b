//! How peers in different networks are introduced.

pub mod client;
