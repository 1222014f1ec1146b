//! Whose key is whose: what two people compare, and what they agreed to.

use std::sync::Arc;
use std::time::Instant;

use axum::extract::{Query, State};
use axum::response::Response;
use bytes::Bytes;
use goop_identity::PeerId;
use goop_identity::label::parse_peer_id;
use goop_mq::keys::{KeyBook, Plan};
use goop_mq::topic::Sealing;
use http::StatusCode;
use serde::{Deserialize, Serialize};

use crate::front::Shared;
use crate::reply::{error, json, parse};

#[derive(Deserialize, utoipa::IntoParams)]
pub(crate) struct OfPeer {
    #[serde(default)]
    peer_id: String,
}

/// The key of a peer.
#[derive(Serialize, utoipa::ToSchema)]
pub(crate) struct KeyState {
    /// The key that counts; empty when none is known.
    key: String,
    /// The two people compared it.
    verified: bool,
    /// Another one that the owner has to agree to; nothing is sent to the peer before.
    offered: String,
    /// The one before, until the owner has seen that it changed.
    replaced: String,
    /// The own key that the peer says is another one than before, until the owner has seen that.
    doubted: String,
    /// What is written to the peer is sealed.
    sealed: bool,
    /// Words to compare with those on the other screen, six a line. Of the offered key, if there is one.
    words: Vec<Vec<String>>,
    /// The same as the text of a QR code.
    code: String,
}

fn plan(keys: &KeyBook, peer: &PeerId) -> Plan {
    keys.plan(peer, Sealing::WhenKnown, Instant::now())
}

fn state_of(shared: &Shared, peer: &PeerId) -> KeyState {
    let mq = &shared.context.mq;
    let text = |key: Option<&str>| key.unwrap_or_default().to_owned();
    mq.keys(|keys| {
        let words = keys.words(&mq.me(), peer);
        let lines = words.as_ref().map(|words| {
            let lines = words.lines();
            lines.map(|line| line.map(str::to_owned).to_vec()).to_vec()
        });
        KeyState {
            key: text(keys.key_of(peer)),
            verified: keys.is_verified(peer),
            offered: text(keys.offered(peer)),
            replaced: text(keys.replaced(peer)),
            doubted: text(keys.doubted(peer)),
            sealed: matches!(plan(keys, peer), Plan::Sealed { .. }),
            words: lines.unwrap_or_default(),
            code: words.map(|words| words.code()).unwrap_or_default(),
        }
    })
}

/// What is known of a peer's key. A peer whose key is not known is asked for it.
pub(super) fn look(shared: &Shared, peer: &PeerId) -> KeyState {
    let state = state_of(shared, peer);
    if state.key.is_empty() && *peer != shared.context.mq.me() {
        shared.context.mq.ask_identity(*peer);
    }
    state
}

/// What is known of a peer's key. A peer whose key is not known is asked for it.
#[utoipa::path(get, path = "/api/mq/key", tag = "messages", params(OfPeer), responses(
    (status = 200, body = KeyState),
    (status = 400, description = "`peer_id` is no peer id")
))]
pub(crate) async fn key(State(shared): State<Arc<Shared>>, Query(of): Query<OfPeer>) -> Response {
    let Some(peer) = parse_peer_id(&of.peer_id) else {
        return error(StatusCode::BAD_REQUEST, "peer_id is not a peer id");
    };
    json(StatusCode::OK, &look(&shared, &peer))
}

/// What the owner says about a key.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Said {
    /// The words were the same on both screens.
    Verified,
    /// They were not, or it is no longer sure.
    Unverified,
    /// The offered key is right.
    Accept,
    /// That it changed was seen.
    Seen,
}

#[derive(Deserialize, utoipa::ToSchema)]
pub(crate) struct SaidOf {
    peer_id: String,
    said: Said,
    /// The key that was looked at, so that nothing is agreed to that came meanwhile.
    key: String,
    /// The text of the other one's QR code, if one was scanned.
    scanned: Option<String>,
}

/// Notes what the owner says about a key: `verified`, `unverified`, `accept` or `seen`.
#[utoipa::path(post, path = "/api/mq/key", tag = "messages", request_body = SaidOf, responses(
    (status = 200, body = KeyState),
    (status = 400, description = "not a peer id, or not one of the four"),
    (status = 409, description = "it is another key by now, or another code was scanned")
))]
pub(crate) async fn say(State(shared): State<Arc<Shared>>, body: Bytes) -> Response {
    let said: SaidOf = match parse(&body) {
        Ok(said) => said,
        Err(text) => return error(StatusCode::BAD_REQUEST, &text),
    };
    let Some(peer) = parse_peer_id(&said.peer_id) else {
        return error(StatusCode::BAD_REQUEST, "peer_id is not a peer id");
    };
    let mq = &shared.context.mq;
    let me = mq.me();
    let done = mq.change_keys(|keys| {
        let looked_at = keys.offered(&peer).or_else(|| keys.key_of(&peer));
        let scanned = said.scanned.as_ref().is_none_or(|code| {
            keys.words(&me, &peer)
                .is_some_and(|words| words.matches(code))
        });
        if looked_at != Some(&*said.key) || !scanned {
            return false;
        }
        match said.said {
            Said::Verified => keys.set_verified(&peer, true),
            Said::Unverified => keys.set_verified(&peer, false),
            Said::Accept => keys.accept(&peer),
            Said::Seen => {
                keys.saw_change(&peer);
                true
            }
        }
    });
    if done {
        // What waited for this goes out.
        shared.context.chat.back(peer).await;
        return json(StatusCode::OK, &state_of(&shared, &peer));
    }
    error(
        StatusCode::CONFLICT,
        "it is another key by now, or not the one that was scanned; look at it again",
    )
}
