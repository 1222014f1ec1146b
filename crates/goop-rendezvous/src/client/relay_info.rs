//! What `GET /relay` says (rendezvous.md 11.3): where the relay is and how patient to be with it.

use std::time::Duration;

use goop_identity::PeerId;
use serde::Deserialize;

/// Most addresses that are kept of a relay. A server lists its interfaces, with several forms each.
const MAX_ADDRS: usize = 64;
/// Longest address.
const MAX_ADDR: usize = 256;
/// No time of a relay is longer.
const LONGEST: u64 = 3_600;

/// A relay as its rendezvous server describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RelayInfo {
    /// Its id.
    pub peer: PeerId,
    /// Its addresses as they were sent, at most 64; some may be unreadable.
    pub addrs: Vec<String>,
    /// Pause between closing the connections to it and connecting again; `None` leaves it to the peer.
    pub cleanup_delay: Option<Duration>,
    /// How long to wait for a reservation.
    pub poll_deadline: Option<Duration>,
    /// How long connecting may take.
    pub connect_timeout: Option<Duration>,
    /// How often to look after the reservation.
    pub refresh_interval: Option<Duration>,
    /// How long to wait before a lost reservation is taken for lost.
    pub recovery_grace: Option<Duration>,
}

#[derive(Deserialize)]
struct Wire {
    #[serde(default)]
    peer_id: String,
    #[serde(default)]
    addrs: Option<Vec<String>>,
    #[serde(default)]
    cleanup_delay_sec: i64,
    #[serde(default)]
    poll_deadline_sec: i64,
    #[serde(default)]
    connect_timeout_sec: i64,
    #[serde(default)]
    refresh_interval_sec: i64,
    #[serde(default)]
    recovery_grace_sec: i64,
}

impl RelayInfo {
    /// Reads the answer; `None` when it names no relay.
    #[must_use]
    pub fn from_json(bytes: &[u8]) -> Option<Self> {
        let wire: Wire = serde_json::from_slice(bytes).ok()?;
        let seconds = |value: i64| {
            u64::try_from(value)
                .ok()
                .filter(|seconds| *seconds > 0)
                .map(|seconds| Duration::from_secs(seconds.min(LONGEST)))
        };
        let addrs = wire.addrs.unwrap_or_default().into_iter();
        Some(Self {
            peer: goop_identity::label::parse_peer_id(wire.peer_id.trim())?,
            addrs: addrs
                .filter(|addr| addr.len() <= MAX_ADDR)
                .take(MAX_ADDRS)
                .collect(),
            cleanup_delay: seconds(wire.cleanup_delay_sec),
            poll_deadline: seconds(wire.poll_deadline_sec),
            connect_timeout: seconds(wire.connect_timeout_sec),
            refresh_interval: seconds(wire.refresh_interval_sec),
            recovery_grace: seconds(wire.recovery_grace_sec),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answer_of_a_go_server_is_read() {
        let text = br#"{"peer_id":"12D3KooWGC6TvWhfapngX6wvJHMYvKpDMXPb3ZnCZ6dMoaMtimQ5","addrs":["/ip4/127.0.0.1/tcp/4001","/ip4/203.0.113.9/tcp/4001"],"cleanup_delay_sec":3,"poll_deadline_sec":0,"connect_timeout_sec":-1,"refresh_interval_sec":90,"recovery_grace_sec":99999999}"#;
        let info = RelayInfo::from_json(text).expect("a relay");
        assert_eq!(info.addrs.len(), 2);
        assert_eq!(info.cleanup_delay, Some(Duration::from_secs(3)));
        assert_eq!(info.poll_deadline, None);
        assert_eq!(info.connect_timeout, None);
        assert_eq!(info.recovery_grace, Some(Duration::from_secs(LONGEST)));
    }

    #[test]
    fn what_names_no_relay_is_none() {
        for text in [
            &b""[..],
            b"null",
            b"{}",
            b"[]",
            br#"{"peer_id":"x"}"#,
            br#"{"peer_id":7}"#,
        ] {
            assert_eq!(RelayInfo::from_json(text), None);
        }
    }

    #[test]
    fn a_flood_of_addresses_is_cut() {
        let peer = PeerId::random();
        let addrs = vec!["/ip4/192.0.2.1/tcp/1".to_owned(); 10_000];
        let text = serde_json::json!({ "peer_id": peer.to_base58(), "addrs": addrs }).to_string();
        let info = RelayInfo::from_json(text.as_bytes()).expect("a relay");
        assert_eq!(info.addrs.len(), MAX_ADDRS);
    }
}
