//! The shape of the network around this peer (network.md 5.5), in the JSON form of `GET /api/topology`.

use std::fmt::Write as _;
use std::time::Duration;

use serde::Serialize;

/// The whole picture.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Topology {
    /// This peer.
    #[serde(rename = "self")]
    pub own: Own,
    /// The relay in use.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub relay: Option<Relay>,
    /// Connected peers first, then known ones; `null` when there are none.
    pub peers: Option<Vec<Neighbour>>,
}

/// This peer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Own {
    /// Peer id.
    pub id: String,
    /// Display name.
    pub label: String,
    /// Others reach it through a relay.
    #[serde(skip_serializing_if = "is_zero")]
    pub has_circuit: bool,
    /// Peers with a connection.
    #[serde(skip_serializing_if = "is_zero")]
    pub connected_peers: usize,
    /// Open streams that were counted.
    #[serde(skip_serializing_if = "is_zero")]
    pub streams: usize,
    /// Time since start, as `1h2m3s`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub uptime: String,
    /// Payloads can be sealed for it.
    #[serde(skip_serializing_if = "is_zero")]
    pub encryption_supported: bool,
}

/// The relay in use.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Relay {
    /// Peer id.
    pub id: String,
    /// Display name.
    pub label: String,
    /// Its first address.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub addr: String,
}

/// How a peer is connected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Connection {
    /// Without anybody between.
    Direct,
    /// Over a relay.
    Relay,
    /// Not at all.
    None,
}

/// One other peer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Neighbour {
    /// Peer id.
    pub id: String,
    /// Display name, or the first 8 characters of the id.
    pub label: String,
    /// It answered lately.
    pub reachable: bool,
    /// How it is connected.
    pub connection: Connection,
    /// Where it is connected to, else empty.
    pub addr: String,
    /// Age of the connection, else empty.
    pub age: String,
    /// Open streams that were counted.
    pub streams: usize,
    /// Payloads can be sealed for it.
    #[serde(skip_serializing_if = "is_zero")]
    pub encryption_supported: bool,
}

fn is_zero<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// A duration as Go writes it, cut to seconds: `1h2m3s`, `12m0s`, `0s`.
#[must_use]
pub fn go_duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let (hours, minutes, seconds) = (seconds / 3_600, seconds / 60 % 60, seconds % 60);
    let mut text = String::new();
    // Writing to a String cannot fail.
    if hours > 0 {
        let _ = write!(text, "{hours}h");
    }
    if hours > 0 || minutes > 0 {
        let _ = write!(text, "{minutes}m");
    }
    let _ = write!(text, "{seconds}s");
    text
}
