//! Sending messages to other peers (viewer-api.md 16, mq.md 5).

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use bytes::Bytes;
use goop_identity::label::parse_peer_id;
use goop_mq::topic::PeerTopic;
use goop_mq::wire::{MsgId, Payload};
use http::StatusCode;
use serde::{Deserialize, Serialize};

use crate::front::Shared;
use crate::reply::{error, json, parse};

/// A message to one peer. A `msg_id` from the page is not looked at; the answer says the real one.
#[derive(Deserialize, utoipa::ToSchema)]
pub(crate) struct ToSend {
    #[serde(default)]
    peer_id: String,
    #[serde(default)]
    topic: String,
    #[schema(value_type = Object)]
    payload: Option<Payload>,
}

#[derive(Serialize, utoipa::ToSchema)]
pub(crate) struct SentAs {
    msg_id: String,
    status: &'static str,
}

/// Sends a message and answers when the peer has taken it, or could not be reached (within 5 s, less for some topics).
#[utoipa::path(post, path = "/api/mq/send", tag = "messages", request_body = ToSend, responses(
    (status = 200, body = SentAs),
    (status = 400, description = "something is missing, or the topic is not one to send"),
    (status = 504, description = "it was not delivered; the text says why")
))]
pub(crate) async fn send(State(shared): State<Arc<Shared>>, body: Bytes) -> Response {
    let message: ToSend = match parse(&body) {
        Ok(message) => message,
        Err(text) => return error(StatusCode::BAD_REQUEST, &text),
    };
    if message.peer_id.is_empty() || message.topic.is_empty() {
        return error(StatusCode::BAD_REQUEST, "missing peer_id or topic");
    }
    let failed = |why: &dyn std::fmt::Display| {
        error(StatusCode::GATEWAY_TIMEOUT, &format!("send failed: {why}"))
    };
    let Some(peer) = parse_peer_id(&message.peer_id) else {
        let id = &message.peer_id;
        return failed(&format_args!("mq: invalid peer id {id:?}: not a peer id"));
    };
    let too_long = message.topic.len() > goop_mq::wire::MAX_TOPIC
        || message.topic.chars().any(char::is_control);
    let topic = match PeerTopic::parse(&message.topic) {
        Ok(topic) if !too_long => topic,
        Ok(_) => return error(StatusCode::BAD_REQUEST, "the topic is too long"),
        Err(why) => return error(StatusCode::BAD_REQUEST, &why.to_string()),
    };
    let payload = message.payload.unwrap_or_else(Payload::null);
    let sent = match topic {
        // What was delivered is kept.
        PeerTopic::Chat => shared.context.chat.send_now(peer, payload).await,
        topic => shared.context.mq.send(peer, topic, payload).await,
    };
    match sent {
        Ok(id) => json(
            StatusCode::OK,
            &SentAs {
                msg_id: id.to_string(),
                status: "delivered",
            },
        ),
        Err(why) => failed(&why),
    }
}

/// A page has shown a message.
#[derive(Deserialize, utoipa::ToSchema)]
pub(crate) struct Shown {
    #[serde(default)]
    msg_id: String,
    /// Whose it was; empty for something this peer said itself.
    #[serde(default)]
    from_peer_id: String,
}

#[derive(Serialize, utoipa::ToSchema)]
pub(crate) struct Done {
    status: &'static str,
}

/// Tells a peer that its message was shown. The first page to say so counts.
#[utoipa::path(post, path = "/api/mq/ack", tag = "messages", request_body = Shown, responses(
    (status = 200, body = Done),
    (status = 400, description = "`msg_id` is missing")
))]
pub(crate) async fn ack(State(shared): State<Arc<Shared>>, body: Bytes) -> Response {
    let shown: Shown = match parse(&body) {
        Ok(shown) => shown,
        Err(text) => return error(StatusCode::BAD_REQUEST, &text),
    };
    if shown.msg_id.is_empty() {
        return error(StatusCode::BAD_REQUEST, "missing msg_id");
    }
    let Ok(id) = MsgId::parse(&shown.msg_id) else {
        return error(StatusCode::BAD_REQUEST, "msg_id is too long");
    };
    shared
        .context
        .mq
        .shown(parse_peer_id(&shown.from_peer_id), &id);
    json(StatusCode::OK, &Done { status: "ok" })
}

/// Something to everybody who is there.
#[derive(Deserialize, utoipa::ToSchema)]
pub(crate) struct ToAll {
    #[serde(default)]
    content: String,
}

/// How far a broadcast came.
#[derive(Serialize, utoipa::ToSchema)]
pub(crate) struct Reached {
    /// Peer ids of those who have it.
    delivered: Vec<String>,
    /// Of those who have not, with the reason.
    failed: Vec<Missed>,
}

#[derive(Serialize, utoipa::ToSchema)]
pub(crate) struct Missed {
    peer_id: String,
    error: String,
}

/// Sends a chat message to every peer that is there, sixteen at a time, and answers when all are done.
#[utoipa::path(post, path = "/api/chat/broadcast", tag = "messages", request_body = ToAll, responses(
    (status = 200, body = Reached),
    (status = 400, description = "`content` is empty")
))]
pub(crate) async fn broadcast(State(shared): State<Arc<Shared>>, body: Bytes) -> Response {
    let to_all: ToAll = match parse(&body) {
        Ok(to_all) => to_all,
        Err(text) => return error(StatusCode::BAD_REQUEST, &text),
    };
    if to_all.content.is_empty() {
        return error(StatusCode::BAD_REQUEST, "content required");
    }
    let Ok(payload) = Payload::of(&serde_json::json!({ "content": to_all.content })) else {
        return error(StatusCode::BAD_REQUEST, "content is too long");
    };
    let context = &shared.context;
    let there = context.net.peers();
    let there = there.iter().filter(|row| row.offline_since.is_none());
    let peers = there.map(|row| row.id).collect();
    let report = context
        .mq
        .broadcast(peers, &PeerTopic::Broadcast, &payload)
        .await;
    let failed = report.failed.iter().map(|(peer, why)| Missed {
        peer_id: peer.to_base58(),
        error: why.to_string(),
    });
    json(
        StatusCode::OK,
        &Reached {
            delivered: report
                .delivered
                .iter()
                .map(|peer| peer.to_base58())
                .collect(),
            failed: failed.collect(),
        },
    )
}
