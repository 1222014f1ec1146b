//! Services and rendezvous servers, as the settings page asks about them (viewer-api.md 13, services.md 7).
//!
//! Nothing here needs them to work: what does not answer is said to be silent. Until this peer takes part in a rendezvous
//! itself, its own connection to one is reported as not there.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use axum::extract::{Query, State};
use axum::response::Response;
use futures_util::future::join_all;
use goop_identity::config::PresenceSection;
use goop_rendezvous::client::Contact;
use http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use goop_http::Server;

use crate::base::Base;
use crate::front::Shared;
use crate::outgoing::{DEADLINE, Outgoing};
use crate::reply::json as reply;

/// What each kind of service is asked after it said that it lives (viewer-api.md 13).
const STATUS_PATHS: [(&str, &str); 6] = [
    ("registration", "/api/reg/status"),
    ("credits", "/api/credits/store-data"),
    ("email", "/api/email/status"),
    ("templates", "/api/templates/status"),
    ("bridge", "/api/bridge/status"),
    ("encryption", "/api/encryption/status"),
];

/// How a service is. Fields in the order the Go program writes them.
#[derive(Debug, Default, Serialize, utoipa::ToSchema)]
struct Health {
    /// It only pretends, for tests.
    #[serde(skip_serializing_if = "Option::is_none")]
    dummy_mode: Option<bool>,
    /// `no url` or `not reachable`.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'static str>,
    ok: bool,
    /// Only of the registration service.
    #[serde(skip_serializing_if = "Option::is_none")]
    registration_required: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    url: Option<String>,
}

async fn health_of(outgoing: &Outgoing, kind: &str, url: &str) -> Health {
    let mut health = Health {
        url: Some(url.to_owned()),
        ..Health::default()
    };
    let asked = async {
        let server = Server::parse(url).ok()?;
        let alive = outgoing.get(&server, "/healthz", &[]).await.ok()?;
        if alive.status() != StatusCode::OK {
            return None;
        }
        let path = STATUS_PATHS.iter().find(|(name, _)| *name == kind);
        let status = match path {
            Some((_, path)) => outgoing.get(&server, path, &[]).await.ok(),
            None => None,
        };
        Some(
            status
                .and_then(|status| status.object())
                .unwrap_or_default(),
        )
    };
    // Both questions together have the time of one.
    let Ok(Some(status)) = tokio::time::timeout(DEADLINE, asked).await else {
        return health;
    };
    let flag = |name: &str| status.get(name).and_then(Value::as_bool);
    health.ok = true;
    health.dummy_mode = flag("dummy_mode");
    if kind == "registration" {
        health.registration_required = flag("registration_required");
    }
    health
}

fn url_of<'a>(presence: &'a PresenceSection, kind: &str) -> &'a str {
    match kind {
        "registration" => &presence.registration_url,
        "credits" => &presence.credits_url,
        "email" => &presence.email_url,
        "templates" => &presence.templates_url,
        "bridge" => &presence.bridge_url,
        _ => &presence.encryption_url,
    }
}

/// The rendezvous servers of the settings, the own one first.
fn rendezvous_urls(presence: &PresenceSection) -> Vec<String> {
    let bind = presence.rendezvous_bind.trim().parse();
    let bind = bind.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST));
    let own = u16::try_from(presence.rendezvous_port)
        .ok()
        .filter(|_| presence.rendezvous_host)
        .map(|port| goop_rendezvous::local_url(SocketAddr::new(bind, port)));
    let others = presence.servers().into_iter().map(str::to_owned);
    own.into_iter().chain(others).collect()
}

/// Asks every service of the settings how it is, all at once and within three seconds.
#[utoipa::path(get, path = "/api/services/health", tag = "services",
    responses((status = 200, description = "`{\"<service>\": health, …, \"rendezvous\": [{\"url\", \"ws_connected\"}] or null}`", body = Object)))]
pub(crate) async fn health(State(base): State<Base>) -> Response {
    let config = base.desk.config.current();
    let presence = &config.presence;
    let asked = STATUS_PATHS.map(|(kind, _)| {
        let base = &base;
        async move {
            let url = url_of(presence, kind).trim();
            let health = if url.is_empty() {
                Health {
                    url: Some(String::new()),
                    ..Health::default()
                }
            } else {
                health_of(&base.outgoing, kind, url).await
            };
            (kind, json!(health))
        }
    });
    let mut all: BTreeMap<&str, Value> = join_all(asked).await.into_iter().collect();
    let servers = base.desk.servers.borrow().clone();
    let rendezvous: Vec<Value> = rendezvous_urls(presence)
        .into_iter()
        .map(|url| {
            let connected = servers
                .iter()
                .any(|state| state.server == url && state.contact == Contact::Socket);
            json!({ "url": url, "ws_connected": connected })
        })
        .collect();
    let rendezvous = if rendezvous.is_empty() {
        Value::Null
    } else {
        rendezvous.into()
    };
    all.insert("rendezvous", rendezvous);
    reply(StatusCode::OK, &all)
}

#[derive(Deserialize, utoipa::IntoParams)]
pub(crate) struct Checked {
    /// The address as it stands in the form.
    #[serde(default)]
    url: String,
    /// `registration`, `credits`, `email`, `templates`, `bridge` or `encryption`.
    #[serde(default, rename = "type")]
    kind: String,
}

/// Asks one service how it is, before its address is saved. Always 200; `error` says what is wrong.
#[utoipa::path(get, path = "/api/services/check", tag = "services", params(Checked), responses((status = 200, body = Health)))]
pub(crate) async fn check(State(base): State<Base>, Query(checked): Query<Checked>) -> Response {
    let url = checked.url.trim();
    let health = if url.is_empty() {
        Health {
            error: Some("no url"),
            ..Health::default()
        }
    } else {
        let mut health = health_of(&base.outgoing, &checked.kind, url).await;
        health.error = (!health.ok).then_some("not reachable");
        health
    };
    reply(StatusCode::OK, &health)
}

#[derive(Deserialize, utoipa::IntoParams)]
pub(crate) struct Rendezvous {
    /// The address as it stands in the form.
    #[serde(default)]
    url: String,
}

/// What a rendezvous server offers, by its own account: true or false by name. Always 200; `error` is `no url`,
/// `unreachable`, `status <n>` or `invalid response`.
#[utoipa::path(get, path = "/api/rendezvous/check", tag = "services", params(Rendezvous), responses((status = 200, body = Object)))]
pub(crate) async fn rendezvous(
    State(base): State<Base>,
    Query(asked): Query<Rendezvous>,
) -> Response {
    let said = capabilities(&base.outgoing, asked.url.trim()).await;
    match said {
        Ok(capabilities) => reply(StatusCode::OK, &capabilities),
        Err(error) => reply(StatusCode::OK, &json!({ "error": error })),
    }
}

async fn capabilities(outgoing: &Outgoing, url: &str) -> Result<BTreeMap<String, bool>, String> {
    if url.is_empty() {
        return Err("no url".to_owned());
    }
    let unreachable = || "unreachable".to_owned();
    let server = Server::parse(url).map_err(|_| unreachable())?;
    let heard = outgoing.get(&server, "/api/capabilities", &[]).await;
    let heard = heard.map_err(|_| unreachable())?;
    if heard.status() != StatusCode::OK {
        return Err(format!("status {}", heard.status().as_u16()));
    }
    let object: Map<String, Value> = heard
        .object()
        .ok_or_else(|| "invalid response".to_owned())?;
    // Only what is a capability: the rest is none of the page's business.
    Ok(object
        .into_iter()
        .filter_map(|(name, value)| Some((name, value.as_bool()?)))
        .collect())
}

/// Asks the rendezvous server of the settings to mail a bridge token. Always 200: `{"status":"ok"}` or `{"error"}`.
#[utoipa::path(post, path = "/api/bridge/request-token", tag = "services", responses((status = 200, body = Object)))]
pub(crate) async fn bridge_token(State(base): State<Base>) -> Response {
    match ask_for_token(&base).await {
        Ok(()) => reply(StatusCode::OK, &json!({ "status": "ok" })),
        Err(error) => reply(StatusCode::OK, &json!({ "error": error })),
    }
}

async fn ask_for_token(base: &Base) -> Result<(), String> {
    let config = base.desk.config.current();
    let (email, token) = (
        config.profile.email.trim(),
        config.profile.verification_token.trim(),
    );
    if email.is_empty() {
        return Err("no email configured".to_owned());
    }
    if token.is_empty() {
        return Err("email not verified — verify your email first".to_owned());
    }
    let Ok(server) = Server::parse(&config.presence.rendezvous_wan) else {
        return Err("no WAN rendezvous configured".to_owned());
    };
    let asked = json!({ "email": email, "verification_token": token });
    let heard = base
        .outgoing
        .post(&server, "/api/bridge/request-token", &asked)
        .await
        .map_err(|silent| format!("bridge request failed: {silent}"))?;
    // A Go rendezvous says 200 to refusals, too.
    match (heard.error(), heard.status()) {
        (Some(error), _) => Err(error),
        (None, StatusCode::OK | StatusCode::CREATED) => Ok(()),
        (None, status) => Err(format!("bridge returned {}", status.as_u16())),
    }
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
struct Balance {
    credits_active: bool,
    /// Absent when no rendezvous answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    balance: Option<i64>,
}

/// The credits of this peer, from the first rendezvous server that answers within three seconds.
#[utoipa::path(get, path = "/api/my-balance", tag = "services", responses((status = 200, body = Balance)))]
pub(crate) async fn balance(State(shared): State<Arc<Shared>>) -> Response {
    let config = shared.base.desk.config.current();
    let own = shared.context.net.local_peer_id().to_base58();
    let asked = async {
        for url in rendezvous_urls(&config.presence) {
            let Ok(server) = Server::parse(&url) else {
                continue;
            };
            let query = [("peer_id", own.as_str())];
            if let Ok(heard) = shared
                .base
                .outgoing
                .get(&server, "/api/credits/store-data", &query)
                .await
            {
                // A rendezvous without credits says 404: it answered, and there are none.
                let object = heard.object().filter(|_| heard.status().is_success());
                let object = object.unwrap_or_default();
                let active = object.get("credits_active").and_then(Value::as_bool);
                let balance = object.get("balance").and_then(Value::as_i64);
                return Some(Balance {
                    credits_active: active.unwrap_or(false),
                    balance: Some(balance.unwrap_or(0)),
                });
            }
        }
        None
    };
    let found = tokio::time::timeout(DEADLINE, asked).await.ok().flatten();
    let none = Balance {
        credits_active: false,
        balance: None,
    };
    reply(StatusCode::OK, &found.unwrap_or(none))
}
