//! How this peer stands in the network beyond its own: rendezvous servers, relay, what stands between.

use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use axum::extract::State;
use axum::response::Response;
use goop_net::RelayState;
use goop_net::topology::Connection;
use goop_rendezvous::client::Contact;
use http::StatusCode;
use serde::Serialize;

use crate::front::Shared;
use crate::reply::json;

/// The whole of it.
#[derive(Serialize, utoipa::ToSchema)]
pub(super) struct Standing {
    /// The rendezvous servers of the settings; the own one first.
    servers: Vec<Server>,
    relay: Relay,
    /// Connected peers, by the way.
    peers: Ways,
    outside: Outside,
}

#[derive(Serialize, utoipa::ToSchema)]
struct Server {
    url: String,
    /// `socket`, `stream` (events only) or `trying`.
    contact: &'static str,
    /// Since when, as Unix time in milliseconds.
    since: u64,
    /// What went wrong last, in words.
    problem: Option<String>,
}

#[derive(Default, Serialize, utoipa::ToSchema)]
struct Relay {
    /// `off`, `connecting`, `reserved` or `lost`.
    state: &'static str,
    /// Its peer id.
    id: Option<String>,
    /// For how many seconds others reach this peer through it.
    seconds: Option<u64>,
    /// Why they do not, in words.
    reason: Option<String>,
    /// Seconds until the next try.
    retry: Option<u64>,
}

#[derive(Default, Serialize, utoipa::ToSchema)]
struct Ways {
    direct: usize,
    relay: usize,
}

#[derive(Serialize, utoipa::ToSchema)]
struct Outside {
    /// `unknown`, `open`, `firewall`, `port-opened`, `forwarded`, `router`, `strict`, `no-udp` or `only-https`.
    #[schema(value_type = String)]
    access: goop_net::Access,
    /// What that means, in words.
    text: &'static str,
    /// What to do about it, if anything.
    advice: Option<&'static str>,
    /// Where the relay sees this peer.
    seen: Vec<String>,
    /// Ports that the router opened.
    opened: Vec<String>,
    /// Where strangers reached this peer when it asked them to try.
    confirmed: Vec<String>,
    /// Where they did not.
    refuted: Vec<String>,
}

/// How it stands with rendezvous servers and the relay, how many peers are connected directly, and what stands between
/// this peer and the internet.
#[utoipa::path(get, path = "/api/network", tag = "services", responses((status = 200, body = Standing)))]
pub(crate) async fn standing(State(shared): State<Arc<Shared>>) -> Response {
    json(StatusCode::OK, &of(&shared))
}

/// How this peer stands now.
pub(super) fn of(shared: &Shared) -> Standing {
    let net = &shared.context.net;
    let servers = shared.base.desk.servers.borrow().clone();
    let mut peers = Ways::default();
    for peer in net.topology().peers.unwrap_or_default() {
        match peer.connection {
            Connection::Direct => peers.direct += 1,
            Connection::Relay => peers.relay += 1,
            Connection::None => {}
        }
    }
    let state = net.relay_state().borrow().clone();
    let outside = net.outside().borrow().clone();
    let (text, advice) = outside.access.in_words();
    let texts = |addrs: &[goop_net::Multiaddr]| addrs.iter().map(ToString::to_string).collect();
    Standing {
        servers: servers
            .iter()
            .map(|server| Server {
                url: server.server.clone(),
                contact: match server.contact {
                    Contact::Socket => "socket",
                    Contact::Stream => "stream",
                    Contact::Trying => "trying",
                },
                since: millis(server.since),
                problem: server.problem.clone(),
            })
            .collect(),
        relay: Relay {
            id: net.relay_peer().map(|peer| peer.to_base58()),
            ..relay(state)
        },
        peers,
        outside: Outside {
            access: outside.access,
            text,
            advice,
            seen: texts(&outside.seen),
            opened: texts(&outside.opened),
            confirmed: texts(&outside.confirmed),
            refuted: texts(&outside.refuted),
        },
    }
}

fn relay(state: RelayState) -> Relay {
    let now = Instant::now();
    match state {
        RelayState::Off => Relay {
            state: "off",
            ..Relay::default()
        },
        RelayState::Connecting => Relay {
            state: "connecting",
            ..Relay::default()
        },
        RelayState::Reserved { since, .. } => Relay {
            state: "reserved",
            seconds: Some(now.saturating_duration_since(since).as_secs()),
            ..Relay::default()
        },
        RelayState::Lost { reason, retry_at } => Relay {
            state: "lost",
            reason: Some(reason),
            retry: retry_at.map(|at| at.saturating_duration_since(now).as_secs()),
            ..Relay::default()
        },
    }
}

fn millis(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
