//! The shape of the network around this peer (network.md 5.5), in the JSON form of `GET /api/topology`.

use std::collections::{HashMap, HashSet};
use std::fmt::Write as _;
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::PeerId;
use crate::address::without_peer;
use crate::config::LocalProfile;
use crate::links::Link;
use crate::relay::RelayInfo;
use crate::table::PeerRow;

/// What a relay is called: it has no name of its own (network.md 5.5).
const RELAY_LABEL: &str = "Relay";

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
    /// Open streams of our protocols.
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
    /// Open streams of our protocols.
    pub streams: usize,
    /// Payloads can be sealed for it.
    #[serde(skip_serializing_if = "is_zero")]
    pub encryption_supported: bool,
}

fn is_zero<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// Puts the picture together. `rows` are in the order of their ids, and so are `links`. `relay` comes with whether
/// others reach us through it.
pub(crate) fn draw(
    me: PeerId,
    profile: &LocalProfile,
    started: Instant,
    relay: &(Option<RelayInfo>, bool),
    links: &[(PeerId, Vec<Link>)],
    rows: &[PeerRow],
) -> Topology {
    let now = Instant::now();
    let by_id: HashMap<PeerId, &PeerRow> = rows.iter().map(|row| (row.id, row)).collect();
    let (relay, has_circuit) = relay;
    let is_relay = |peer: &PeerId| relay.as_ref().is_some_and(|relay| relay.peer == *peer);
    let links: Vec<_> = links.iter().filter(|(peer, _)| !is_relay(peer)).collect();
    let linked: HashSet<PeerId> = links.iter().map(|(peer, _)| *peer).collect();
    let connected = links.iter().filter_map(|(peer, links)| {
        Neighbour::connected(*peer, by_id.get(peer).copied(), links, now)
    });
    let known = rows
        .iter()
        .filter(|row| !linked.contains(&row.id) && !is_relay(&row.id));
    let peers: Vec<Neighbour> = connected
        .chain(known.map(|row| Neighbour::away(row.id, Some(row))))
        .collect();
    let own = Own {
        id: me.to_base58(),
        label: profile.label.clone(),
        has_circuit: *has_circuit,
        connected_peers: links.len(),
        streams: peers.iter().map(|peer| peer.streams).sum(),
        uptime: go_duration(now.saturating_duration_since(started)),
        encryption_supported: profile.encryption_supported,
    };
    Topology {
        own,
        relay: relay.as_ref().map(|relay| Relay {
            id: relay.peer.to_base58(),
            label: RELAY_LABEL.to_owned(),
            addr: relay
                .addrs
                .first()
                .map(ToString::to_string)
                .unwrap_or_default(),
        }),
        peers: (!peers.is_empty()).then_some(peers),
    }
}

impl Neighbour {
    fn away(id: PeerId, row: Option<&PeerRow>) -> Self {
        let name = row
            .map(|row| row.content.clone())
            .filter(|name| !name.is_empty());
        let id = id.to_base58();
        Self {
            label: name.unwrap_or_else(|| id.chars().take(8).collect()),
            id,
            reachable: row.is_some_and(|row| row.reachable),
            connection: Connection::None,
            addr: String::new(),
            age: String::new(),
            streams: 0,
            encryption_supported: row.is_some_and(|row| row.encryption_supported),
        }
    }

    fn connected(id: PeerId, row: Option<&PeerRow>, links: &[Link], now: Instant) -> Option<Self> {
        let direct = links.iter().find(|link| !link.relayed);
        let link = direct.or_else(|| links.first())?;
        Some(Self {
            connection: if direct.is_some() {
                Connection::Direct
            } else {
                Connection::Relay
            },
            addr: without_peer(link.addr.clone()).to_string(),
            age: go_duration(now.saturating_duration_since(link.since)),
            streams: links.iter().map(Link::streams).sum(),
            ..Self::away(id, row)
        })
    }
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

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::time::SystemTime;

    use libp2p::swarm::ConnectionId;
    use serde_json::json;

    use super::*;

    fn peer(n: u8) -> PeerId {
        let mut seed = [n; 32];
        goop_identity::Keypair::ed25519_from_bytes(&mut seed)
            .unwrap()
            .public()
            .to_peer_id()
    }

    #[test]
    fn durations_are_written_as_go_does() {
        let cases = [
            (0, "0s"),
            (59, "59s"),
            (60, "1m0s"),
            (720, "12m0s"),
            (3_723, "1h2m3s"),
            (90_000, "25h0m0s"),
        ];
        for (seconds, text) in cases {
            assert_eq!(
                go_duration(Duration::from_millis(seconds * 1_000 + 999)),
                text
            );
        }
    }

    #[test]
    fn alone_there_are_no_peers_and_zeros_are_left_out() {
        let profile = LocalProfile {
            label: "Alice".to_owned(),
            ..LocalProfile::default()
        };
        let drawn = draw(peer(1), &profile, Instant::now(), &(None, false), &[], &[]);
        let id = peer(1).to_base58();
        assert_eq!(
            serde_json::to_value(drawn).unwrap(),
            json!({"self": {"id": id, "label": "Alice", "uptime": "0s"}, "peers": null})
        );
    }

    #[test]
    fn connected_peers_come_first_and_a_direct_connection_counts_before_a_relayed_one() {
        let profile = LocalProfile {
            encryption_supported: true,
            ..LocalProfile::default()
        };
        let circuit = format!(
            "/ip4/10.0.0.9/tcp/1/p2p/{}/p2p-circuit/p2p/{}",
            peer(9),
            peer(2)
        );
        let direct = format!("/ip4/10.0.0.2/tcp/4001/p2p/{}", peer(2));
        let links = [
            Link::new(
                ConnectionId::new_unchecked(1),
                circuit.parse().unwrap(),
                true,
                true,
            )
            .0,
            Link::new(
                ConnectionId::new_unchecked(2),
                direct.parse().unwrap(),
                false,
                true,
            )
            .0,
        ];
        let mut bob = PeerRow::unknown(peer(2), SystemTime::UNIX_EPOCH);
        bob.content = "Bob".to_owned();
        bob.reachable = true;
        bob.encryption_supported = true;
        let eve = PeerRow::unknown(peer(3), SystemTime::UNIX_EPOCH);
        let drawn = draw(
            peer(1),
            &profile,
            Instant::now(),
            &(None, false),
            &[(peer(2), links.to_vec())],
            &[eve, bob],
        );
        let eve = peer(3).to_base58();
        assert_eq!(
            serde_json::to_value(drawn).unwrap(),
            json!({
                "self": {
                    "id": peer(1).to_base58(), "label": "", "connected_peers": 1, "uptime": "0s",
                    "encryption_supported": true
                },
                "peers": [
                    {
                        "id": peer(2).to_base58(), "label": "Bob", "reachable": true, "connection": "direct",
                        "addr": "/ip4/10.0.0.2/tcp/4001", "age": "0s", "streams": 0, "encryption_supported": true
                    },
                    {
                        "id": eve, "label": eve[..8], "reachable": false, "connection": "none",
                        "addr": "", "age": "", "streams": 0
                    },
                ]
            })
        );
    }

    #[test]
    fn the_relay_stands_apart() {
        let addr = "/ip4/203.0.113.7/tcp/4001";
        let relay = RelayInfo {
            peer: peer(9),
            addrs: vec![
                addr.parse().unwrap(),
                "/ip4/203.0.113.7/tcp/1/ws".parse().unwrap(),
            ],
            timings: crate::relay::RelayTimings::default(),
        };
        let link = Link::new(
            ConnectionId::new_unchecked(1),
            addr.parse().unwrap(),
            false,
            true,
        )
        .0;
        let links = [(peer(9), vec![link])];
        let drawn = draw(
            peer(1),
            &LocalProfile::default(),
            Instant::now(),
            &(Some(relay), true),
            &links,
            &[],
        );
        assert_eq!(
            serde_json::to_value(drawn).unwrap(),
            json!({
                "self": {"id": peer(1).to_base58(), "label": "", "has_circuit": true, "uptime": "0s"},
                "relay": {"id": peer(9).to_base58(), "label": "Relay", "addr": addr},
                "peers": null
            })
        );
    }
}
