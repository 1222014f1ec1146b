//! What identify says of us, and what is taken from what it says of others (network.md 2.3).

use libp2p::{StreamProtocol, identify};

use goop_identity::Keypair;

/// Protocols of one peer that are kept; a Go peer has 16, and a message of 4 KiB holds not many more than this.
const MAX_PROTOCOLS: usize = 128;

/// The behaviour. It shows the addresses we publish and no others: a host with many interfaces would exceed the 4 KiB
/// that are read, and loopback addresses help nobody.
pub(crate) fn behaviour(keypair: &Keypair, agent: &str) -> identify::Behaviour {
    let config = identify::Config::new(String::new(), keypair.public())
        .with_agent_version(agent.to_owned())
        .with_hide_listen_addrs(true)
        // The dial plan remembers addresses.
        .with_cache_size(0);
    identify::Behaviour::new(config)
}

/// The protocol list of a message, bounded.
pub(crate) fn protocols(info: &identify::Info) -> Vec<StreamProtocol> {
    info.protocols.iter().take(MAX_PROTOCOLS).cloned().collect()
}
