//! GossipSub as the Go program runs it (network.md 8, 11).

mod pipe;

use std::time::Duration;

use goop_identity::Keypair;
use libp2p::gossipsub::{self, ConfigBuilder, MessageAuthenticity, MessageId, ValidationMode};

pub(crate) use pipe::OnePipe;

/// Largest RPC (network.md 8).
pub const MAX_RPC: usize = 1024 * 1024;
/// Largest control part of an RPC: the 5,000 ids of 46 bytes that a Go peer may offer at a time (network.md 8). The
/// library would close the stream of a large network's peer at 16 KiB.
const MAX_CONTROL: usize = 256 * 1024;
/// How long a message id is remembered (network.md 8).
const SEEN: Duration = Duration::from_secs(120);
/// First look at the mesh after start (network.md 8).
const FIRST_HEARTBEAT: Duration = Duration::from_millis(100);
/// Fanout peers of a topic we do not read are kept this long (network.md 8).
const FANOUT: Duration = Duration::from_secs(60);
/// Records that wait for one neighbour that does not read. Presence is worth nothing once it is old, so this holds some
/// heartbeats of a large network instead of the library's 5,000.
const QUEUE: usize = 512;

/// The id of a message: the bytes of its author, then its number as 8 bytes big-endian. IHAVE and IWANT carry it, so it
/// must be what Go peers compute.
#[must_use]
pub fn message_id(from: &[u8], number: u64) -> Vec<u8> {
    [from, &number.to_be_bytes()].concat()
}

/// The behaviour, with signed messages only.
///
/// # Errors
/// When the numbers contradict each other, which a test rules out.
pub(crate) fn behaviour(keypair: &Keypair) -> Result<gossipsub::Behaviour, String> {
    let mut config = ConfigBuilder::default();
    config
        // 1.1 and 1.0; a Go peer knows no later ones, and asking for them first costs a round trip each.
        .protocol_id_prefix("/meshsub")
        .support_floodsub()
        .max_transmit_size(MAX_RPC)
        .max_control_message_size(MAX_CONTROL)
        .duplicate_cache_time(SEEN)
        .validation_mode(ValidationMode::Strict)
        .heartbeat_interval(Duration::from_secs(1))
        .heartbeat_initial_delay(FIRST_HEARTBEAT)
        .fanout_ttl(FANOUT)
        .mesh_n(6)
        .mesh_n_low(5)
        .mesh_n_high(12)
        .mesh_outbound_min(2)
        .retain_scores(4)
        .gossip_lazy(6)
        .gossip_factor(0.25)
        .gossip_retransimission(3)
        .history_length(5)
        .history_gossip(3)
        .prune_backoff(Duration::from_secs(60))
        .unsubscribe_backoff(Duration::from_secs(10))
        .iwant_followup_time(Duration::from_secs(3))
        .connection_handler_queue_len(QUEUE)
        // Our own records go to every neighbour, in the mesh or not: a newcomer should not wait for the next beat of
        // the mesh to hear of us. Records of others travel over the mesh.
        .flood_publish(true)
        .message_id_fn(|message: &gossipsub::Message| {
            let from = message
                .source
                .map(|peer| peer.to_bytes())
                .unwrap_or_default();
            MessageId::from(message_id(
                &from,
                message.sequence_number.unwrap_or_default(),
            ))
        });
    let config = config.build().map_err(|error| error.to_string())?;
    gossipsub::Behaviour::new(MessageAuthenticity::Signed(keypair.clone()), config)
        .map_err(str::to_owned)
}
