//! A look at a server from inside its process: what the pages of a server alone draw (rendezvous.md 17, 20).

use goop_identity::PeerId;
use goop_identity::presence::PresenceKind;
use serde::Serialize;
use tokio::sync::watch;

use crate::hub::Hub;
use crate::settings::{Settings, local_url};
use crate::state::Standing;

/// What the server is called in the picture: it has no peer id.
const OWN_ID: &str = "rendezvous";
/// Its label without a public address.
const OWN_LABEL: &str = "Rendezvous";
/// What a relay is called: it has no name of its own.
const RELAY_LABEL: &str = "Relay";
/// The part of an address that leads over a relay.
const CIRCUIT: &str = "/p2p-circuit";

/// Looks at a server, before, while and after it runs. Cheap to clone; it keeps nothing running.
#[derive(Debug, Clone)]
pub struct Onlooker {
    hub: watch::Receiver<Option<Hub>>,
    label: String,
    dashboard: String,
    relay: Option<PeerId>,
}

impl Onlooker {
    pub(crate) fn new(
        hub: watch::Receiver<Option<Hub>>,
        settings: &Settings,
        relay: Option<PeerId>,
    ) -> Self {
        let public = settings.external_url.as_ref().map(|_| settings.own_url());
        let home = public.clone().unwrap_or_else(|| local_url(settings.listen));
        let admin = settings.admin_password.as_ref().map_or("/", |_| "/admin");
        Self {
            hub,
            label: public.unwrap_or_else(|| OWN_LABEL.to_owned()),
            dashboard: format!("{home}{admin}"),
            relay,
        }
    }

    /// Where the pages of the server are: the admin's where there are any, else the public one.
    #[must_use]
    pub fn dashboard(&self) -> &str {
        &self.dashboard
    }

    /// The name under which a peer is there, as it claims.
    pub async fn name(&self, peer: PeerId) -> Option<String> {
        let hub = self.hub.borrow().clone()?;
        let standing = hub.standing(peer).await.ok().flatten()?;
        Some(standing.content)
    }

    /// Who is there and how they can be reached; nobody before the server runs and after it ended.
    pub async fn topology(&self) -> Topology {
        // The borrow ends before anything waits.
        let hub = self.hub.borrow().clone();
        let standings = match hub {
            Some(hub) => hub.standings().await.unwrap_or_default(),
            None => Vec::new(),
        };
        Topology {
            own: Own {
                id: OWN_ID,
                label: self.label.clone(),
                has_circuit: self.relay.is_some(),
            },
            peers: standings.into_iter().map(Reached::from).collect(),
            relay: self.relay.map(|id| RelayHost {
                id: id.to_base58(),
                label: RELAY_LABEL,
            }),
        }
    }
}

/// The server and whoever it knows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[schema(as = ServerTopology)]
pub struct Topology {
    /// The server.
    #[serde(rename = "self")]
    pub own: Own,
    /// Whoever published, in the order of `/peers.json`; empty when nobody did (the Go server says `null`).
    pub peers: Vec<Reached>,
    /// The relay, while one runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub relay: Option<RelayHost>,
}

/// The server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[schema(as = ServerItself)]
pub struct Own {
    /// Always `rendezvous`.
    pub id: &'static str,
    /// Its public address, or `Rendezvous`.
    pub label: String,
    /// It has a relay.
    pub has_circuit: bool,
}

/// A peer, as it published itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Reached {
    /// Peer id.
    pub id: String,
    /// Display name, as claimed.
    pub label: String,
    /// It did not say that it left.
    pub reachable: bool,
    /// `relay` when one of its addresses leads over a relay, else `direct`; `none` for who left.
    pub connection: &'static str,
    /// Its first address, maybe empty.
    pub addr: String,
    /// It listens over a WebSocket.
    pub ws_connected: bool,
    /// It opens sealed payloads.
    pub encryption_supported: bool,
}

impl From<Standing> for Reached {
    fn from(row: Standing) -> Self {
        let reachable = row.kind != PresenceKind::Offline;
        let connection = if row.addrs.iter().any(|addr| addr.contains(CIRCUIT)) {
            "relay"
        } else if reachable {
            "direct"
        } else {
            "none"
        };
        Self {
            id: row.peer_id,
            label: row.content,
            reachable,
            connection,
            addr: row.addrs.into_iter().next().unwrap_or_default(),
            ws_connected: row.ws_connected,
            encryption_supported: row.encryption_supported,
        }
    }
}

/// The relay of a server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct RelayHost {
    /// Peer id.
    pub id: String,
    /// `Relay`.
    pub label: &'static str,
}
