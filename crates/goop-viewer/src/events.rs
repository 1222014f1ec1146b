//! The presence bridge (mq.md 7): what happens to peers goes into the log that pages follow.
//!
//! The log is the one of the message bus ([`goop_mq::log`]). What is told of a peer replaces what was told before, so any
//! number of changes costs no more than there are peers.

use std::time::UNIX_EPOCH;

use goop_mq::log::EventLog;
use goop_mq::topic::LocalTopic;
use goop_net::{PeerEvent, PeerRow};
use serde::Serialize;
use tokio::sync::broadcast;

/// Forwards what happens to peers until the network is gone.
pub(crate) async fn follow_peers(log: EventLog, mut events: broadcast::Receiver<PeerEvent>) {
    loop {
        match events.recv().await {
            Ok(PeerEvent::Changed(row)) => {
                log.publish_state(&LocalTopic::PeerAnnounce, row.id, &Announced::from(&*row));
            }
            Ok(PeerEvent::Gone(peer)) => {
                let gone = serde_json::json!({ "peerID": peer.to_base58() });
                log.publish_state(&LocalTopic::PeerGone, peer, &gone);
            }
            // Pages see what they missed in the list they ask for after a reset.
            Err(broadcast::error::RecvError::Lagged(_)) => log.skip(),
            Err(broadcast::error::RecvError::Closed) => return,
        }
    }
}

/// A peer as `peer:announce` tells it (peer-directory.md 9).
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Announced {
    #[serde(rename = "peerID")]
    peer_id: String,
    content: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    email: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    avatar_hash: String,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    video_disabled: bool,
    #[serde(skip_serializing_if = "String::is_empty")]
    active_template: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    public_key: String,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    encryption_supported: bool,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    verified: bool,
    #[serde(skip_serializing_if = "String::is_empty")]
    goop_client_version: String,
    reachable: bool,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    offline: bool,
    last_seen: u64,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    favorite: bool,
}

impl From<&PeerRow> for Announced {
    fn from(row: &PeerRow) -> Self {
        let since = row.last_seen.duration_since(UNIX_EPOCH).unwrap_or_default();
        Self {
            peer_id: row.id.to_base58(),
            content: row.content.clone(),
            email: row.email.clone(),
            avatar_hash: row.avatar_hash.clone(),
            video_disabled: row.video_disabled,
            active_template: row.active_template.clone(),
            public_key: row.public_key.clone(),
            encryption_supported: row.encryption_supported,
            verified: row.verified,
            goop_client_version: row.goop_client_version.clone(),
            reachable: row.reachable,
            offline: row.offline_since.is_some(),
            last_seen: u64::try_from(since.as_millis()).unwrap_or(u64::MAX),
            favorite: row.favorite,
        }
    }
}
