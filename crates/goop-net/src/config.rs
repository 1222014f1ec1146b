//! What a host is started with, and why it may not start.

use std::path::PathBuf;
use std::time::Duration;

use goop_identity::Keypair;

/// Where to listen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Listen {
    /// On every interface, IPv4 and IPv6.
    Lan {
        /// `p2p.listen_port`: the same number for TCP and UDP; 0 takes one that is free.
        port: u16,
    },
    /// On 127.0.0.1 only, for tests.
    Loopback {
        /// As for [`Listen::Lan`].
        port: u16,
    },
}

impl Listen {
    /// The configured port.
    #[must_use]
    pub fn port(self) -> u16 {
        match self {
            Self::Lan { port } | Self::Loopback { port } => port,
        }
    }
}

/// How connections are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Transports {
    /// TCP with TLS or Noise, QUIC, and WebSocket for dialling: what a peer runs with.
    #[default]
    All,
    /// TCP with Noise alone, to test and measure it.
    TcpNoise,
    /// TCP with TLS alone, to test and measure it.
    TcpTls,
    /// QUIC alone, to test and measure it.
    Quic,
}

/// Whether to look for peers on the network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Discovery {
    /// Only what is said through [`Net::add_known_addrs`](crate::Net::add_known_addrs).
    Off,
    /// Multicast DNS under a tag.
    Mdns {
        /// `p2p.mdns_tag`.
        tag: String,
    },
}

/// What a host is started with.
#[derive(Debug, Clone)]
pub struct NetConfig {
    /// The identity.
    pub keypair: Keypair,
    /// Where to listen.
    pub listen: Listen,
    /// How connections are made.
    pub transports: Transports,
    /// How to find peers.
    pub discovery: Discovery,
    /// Gossip topic of presence.
    pub topic: String,
    /// Silence after which a peer is offline.
    pub ttl: Duration,
    /// Time between two presence updates.
    pub heartbeat: Duration,
    /// How long an offline peer is listed.
    pub grace: Duration,
    /// What identify says about this program.
    pub agent: String,
    /// Ask the router for a port (PCP, NAT-PMP) once a rendezvous or a relay is in use: who stays on its LAN opens
    /// nothing to the internet. Never on the loopback.
    pub port_mapping: bool,
    /// File of the peers known between runs; `None` keeps nothing.
    pub peer_file: Option<PathBuf>,
}

impl NetConfig {
    /// The settings of a new peer folder (network.md 1.2, 3.1): every interface, a free port, `goop-mdns`,
    /// `goop.presence.v1`, an update every 5 s, offline after 20 s, forgotten after 15 min. Keeps nothing between runs.
    #[must_use]
    pub fn new(keypair: Keypair) -> Self {
        Self {
            keypair,
            listen: Listen::Lan { port: 0 },
            transports: Transports::All,
            discovery: Discovery::Mdns {
                tag: "goop-mdns".to_owned(),
            },
            topic: "goop.presence.v1".to_owned(),
            ttl: Duration::from_secs(20),
            heartbeat: Duration::from_secs(5),
            grace: Duration::from_secs(15 * 60),
            agent: concat!("goop-net/", env!("CARGO_PKG_VERSION")).to_owned(),
            port_mapping: true,
            peer_file: None,
        }
    }
}

/// What presence says about us.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LocalProfile {
    /// Display name.
    pub label: String,
    /// E-mail address.
    pub email: String,
    /// Short hash of the picture.
    pub avatar_hash: String,
    /// No calls.
    pub video_disabled: bool,
    /// Applied template.
    pub active_template: String,
    /// Payloads can be sealed for us.
    pub encryption_supported: bool,
    /// Version of this program.
    pub version: String,
}

/// Why the network did not start.
#[derive(Debug, thiserror::Error)]
pub enum NetError {
    /// The configured port is taken or not allowed.
    #[error(
        "p2p.listen_port {port} cannot be used: {reason}. Choose another port in goop.json (0 takes a free one), \
         or end the program that has it"
    )]
    Port {
        /// The port.
        port: u16,
        /// What the system said.
        reason: String,
    },
    /// A setting makes no sense.
    #[error("{0}")]
    Setting(String),
    /// Something below us failed.
    #[error("the network could not start: {0}")]
    Other(String),
}
