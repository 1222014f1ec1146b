//! Who this peer is, who else there is (viewer-api.md 12).

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::{Query, State};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use goop_identity::Profile;
use goop_identity::label::parse_peer_id;
use goop_net::{FavoriteError, PeerRow};
use http::StatusCode;
use http::header::CONTENT_TYPE;
use serde::{Deserialize, Serialize};

use super::kept;
use crate::base::Base;
use crate::front::Shared;
use crate::logs::rfc3339;
use crate::reply::{error, json, not_found, parse, redirect};

/// Who somebody is.
#[derive(Serialize, utoipa::ToSchema)]
pub(crate) struct Who {
    avatar_hash: String,
    email: String,
    id: String,
    label: String,
}

/// This peer's identity.
#[utoipa::path(get, path = "/api/self", tag = "peers", responses((status = 200, body = Who)))]
pub(crate) async fn own(State(shared): State<Arc<Shared>>) -> Response {
    json(StatusCode::OK, &own_identity(&shared.base))
}

pub(crate) fn own_identity(base: &Base) -> Who {
    let profile = Profile::of(&base.desk.config.current());
    let hash = base
        .desk
        .avatar
        .current()
        .map(|avatar| avatar.hash.as_str().to_owned());
    Who {
        avatar_hash: hash.unwrap_or_default(),
        email: profile.email,
        id: base.desk.id.map(|id| id.to_base58()).unwrap_or_default(),
        label: profile.label,
    }
}

/// The identity of a visitor from outside: an id that is nobody's peer id, kept in the browser so that games and forms
/// recognise their player.
pub(crate) struct Guest(pub(crate) String);

pub(crate) fn guest_self(guest: &Guest) -> Response {
    let who = Who {
        avatar_hash: String::new(),
        email: String::new(),
        id: guest.0.clone(),
        label: "Guest".to_owned(),
    };
    json(StatusCode::OK, &who)
}

#[derive(Serialize, utoipa::ToSchema)]
pub(crate) struct SessionInfo {
    version: String,
    theme: String,
    /// The own site; a server alone has its dashboard instead.
    pub(super) site_url: String,
    /// Where the browser can be asked whether it resolves site names; empty where there are no sites.
    probe_url: String,
    /// Where the pages' dividers stand, in percent.
    split_prefs: BTreeMap<String, f64>,
    /// File name of the picture beside the list of peers.
    splash: String,
    quick: Choices,
    /// Lines of all conversations that nobody has read.
    unread: u64,
}

/// How the owner wants the pages: those quick settings that more than one page goes by.
#[derive(Serialize, utoipa::ToSchema)]
struct Choices {
    label: String,
    hide_unverified: bool,
    open_sites_external: bool,
    video_disabled: bool,
}

impl SessionInfo {
    /// What every viewer knows.
    pub(super) fn of(base: &Base) -> Self {
        let config = base.desk.config.current();
        Self {
            version: base.desk.version.to_owned(),
            theme: config.viewer.theme.clone(),
            site_url: String::new(),
            probe_url: String::new(),
            split_prefs: super::folders::splits(&base.desk.folder.join("split-prefs.json")),
            splash: config.viewer.splash.clone(),
            quick: Choices {
                label: config.profile.label.clone(),
                hide_unverified: config.viewer.hide_unverified,
                open_sites_external: config.viewer.open_sites_external,
                video_disabled: config.viewer.video_disabled,
            },
            unread: 0,
        }
    }
}

/// What the pages need to know about this program and how its owner wants them, in one answer. A browser that knows it
/// already is told so (`If-None-Match`).
#[utoipa::path(get, path = "/api/session", tag = "peers", responses((status = 200, body = SessionInfo)))]
pub(crate) async fn session(State(shared): State<Arc<Shared>>) -> Response {
    let own = shared.context.net.local_peer_id();
    let unread = super::chat::unread(&shared).await;
    kept::mark(json(
        StatusCode::OK,
        &SessionInfo {
            site_url: format!("/p/{}/", own.to_base58()),
            probe_url: format!("{}/favicon.ico", shared.label_origin(&own)),
            unread,
            ..SessionInfo::of(&shared.base)
        },
    ))
}

/// A peer in the list, with the names the Go program uses.
#[derive(Serialize, utoipa::ToSchema)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Listed {
    #[serde(rename = "ID")]
    id: String,
    content: String,
    email: String,
    avatar_hash: String,
    video_disabled: bool,
    active_template: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    public_key: String,
    verified: bool,
    reachable: bool,
    offline: bool,
    last_seen: String,
    favorite: bool,
}

impl From<&PeerRow> for Listed {
    fn from(row: &PeerRow) -> Self {
        Self {
            id: row.id.to_base58(),
            content: row.content.clone(),
            email: row.email.clone(),
            avatar_hash: row.avatar_hash.clone(),
            video_disabled: row.video_disabled,
            active_template: row.active_template.clone(),
            public_key: row.public_key.clone(),
            verified: row.verified,
            reachable: row.reachable,
            offline: row.offline_since.is_some(),
            last_seen: rfc3339(row.last_seen),
            favorite: row.favorite,
        }
    }
}

/// Every known peer, by id.
#[utoipa::path(get, path = "/api/peers", tag = "peers", responses((status = 200, body = [Listed])))]
pub(crate) async fn list(State(shared): State<Arc<Shared>>) -> Response {
    listed(&shared)
}

fn listed(shared: &Shared) -> Response {
    let rows = shared.context.net.peers();
    json(
        StatusCode::OK,
        &rows.iter().map(Listed::from).collect::<Vec<_>>(),
    )
}

/// Asks every known peer whether it is there, and answers with the list.
#[utoipa::path(post, path = "/api/peers/probe", tag = "peers", responses((status = 200, body = [Listed])))]
pub(crate) async fn probe(State(shared): State<Arc<Shared>>) -> Response {
    shared.context.net.probe_all().await;
    listed(&shared)
}

#[derive(Deserialize, utoipa::IntoParams)]
pub(crate) struct ById {
    /// A peer id.
    id: Option<String>,
}

/// Asks one peer whether it is there.
#[utoipa::path(post, path = "/api/peer/probe", tag = "peers", params(ById), responses((status = 200), (status = 400)))]
pub(crate) async fn probe_one(
    State(shared): State<Arc<Shared>>,
    Query(query): Query<ById>,
) -> Response {
    match query.id.as_deref().and_then(parse_peer_id) {
        Some(peer) => {
            let reachable = shared.context.net.probe(peer).await;
            json(
                StatusCode::OK,
                &serde_json::json!({ "reachable": reachable }),
            )
        }
        None => error(StatusCode::BAD_REQUEST, "missing id"),
    }
}

#[derive(Deserialize, utoipa::ToSchema)]
pub(crate) struct FavoriteChange {
    #[serde(default)]
    peer_id: String,
    #[serde(default)]
    favorite: bool,
}

/// Marks or unmarks a favourite; it is saved when this answers.
#[utoipa::path(post, path = "/api/peers/favorite", tag = "peers", request_body = FavoriteChange,
    responses((status = 200), (status = 400), (status = 500)))]
pub(crate) async fn favorite(State(shared): State<Arc<Shared>>, body: Bytes) -> Response {
    let change: FavoriteChange = match parse(&body) {
        Ok(change) => change,
        Err(text) => return error(StatusCode::BAD_REQUEST, &text),
    };
    if change.peer_id.is_empty() {
        return error(StatusCode::BAD_REQUEST, "peer_id required");
    }
    let Some(peer) = parse_peer_id(&change.peer_id) else {
        return error(StatusCode::BAD_REQUEST, "peer_id is not a peer id");
    };
    match shared.context.net.set_favorite(peer, change.favorite).await {
        Ok(()) => StatusCode::OK.into_response(),
        Err(FavoriteError::UnknownPeer) => {
            error(StatusCode::INTERNAL_SERVER_ERROR, "failed to update")
        }
        Err(failure @ FavoriteError::NotSaved(_)) => error(
            StatusCode::INTERNAL_SERVER_ERROR,
            &format!("failed to update: {failure}"),
        ),
    }
}

/// Asks a peer for its display name.
#[utoipa::path(get, path = "/api/peer/content", tag = "peers", params(ById),
    responses((status = 200), (status = 400), (status = 502)))]
pub(crate) async fn content(
    State(shared): State<Arc<Shared>>,
    Query(query): Query<ById>,
) -> Response {
    let Some(id) = query.id.filter(|id| !id.is_empty()) else {
        return error(StatusCode::BAD_REQUEST, "missing id");
    };
    let failed = |text: String| {
        json(
            StatusCode::BAD_GATEWAY,
            &serde_json::json!({ "error": text }),
        )
    };
    let Some(peer) = parse_peer_id(&id) else {
        return failed("failed to parse peer ID".to_owned());
    };
    match shared.context.net.fetch_label(peer).await {
        Ok(label) => json(StatusCode::OK, &serde_json::json!({ "content": label })),
        Err(failure) => failed(format!("failed to dial: {failure}")),
    }
}

/// The shape of the network around this peer.
#[utoipa::path(get, path = "/api/topology", tag = "peers", responses((status = 200)))]
pub(crate) async fn topology(State(shared): State<Arc<Shared>>) -> Response {
    #[derive(Serialize)]
    struct Picture {
        #[serde(flatten)]
        topology: goop_net::topology::Topology,
        /// As `/api/network` says it; the page that draws this shows both.
        standing: super::network::Standing,
    }
    let picture = Picture {
        topology: shared.context.net.topology(),
        standing: super::network::of(&shared),
    };
    json(StatusCode::OK, &picture)
}

/// Says `offline` to everybody; the next heartbeat is online again.
#[utoipa::path(post, path = "/offline", tag = "peers", responses((status = 302)))]
pub(crate) async fn say_offline(State(shared): State<Arc<Shared>>) -> Response {
    shared.context.net.say_offline().await;
    redirect(StatusCode::FOUND, "/peers")
}

/// The metrics, in Prometheus' text form.
#[utoipa::path(get, path = "/metrics", tag = "logs",
    responses((status = 200, content_type = "text/plain"), (status = 404, description = "this run has none")))]
pub(crate) async fn metrics(State(base): State<Base>) -> Response {
    match &base.desk.metrics {
        Some(metrics) => (
            [(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")],
            metrics.render(),
        )
            .into_response(),
        None => not_found(),
    }
}
