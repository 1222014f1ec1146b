//! What people write to each other (mq.md 5 and 8): conversations as the Go program's pages ask for them, and as ours do,
//! which know what became of each line.

use std::sync::Arc;

use axum::extract::{Query, State};
use axum::response::Response;
use bytes::Bytes;
use goop_identity::PeerId;
use goop_identity::label::parse_peer_id;
use goop_mq::chat::{ChatError, ChatLine, ChatLogError, ChatState, HISTORY};
use goop_mq::wire::MsgId;
use http::StatusCode;
use serde::{Deserialize, Serialize};

use super::kept;
use super::keys::{self, KeyState};
use crate::front::Shared;
use crate::reply::{error, json, parse};

/// Lines that are read at once where nobody says how many.
const PAGE: usize = 50;
/// Longest text that is searched for, in characters.
const MAX_WANTED: usize = 200;

#[derive(Deserialize, utoipa::IntoParams)]
pub(crate) struct OfPeer {
    #[serde(default)]
    peer_id: String,
}

/// A line as the Go program tells it.
#[derive(Serialize, utoipa::ToSchema)]
pub(crate) struct Told {
    from: String,
    content: String,
    /// Milliseconds since 1970.
    timestamp: i64,
}

/// A line of a conversation.
#[derive(Serialize, utoipa::ToSchema)]
pub(crate) struct Line {
    /// Its place in the log; later lines have larger ones.
    number: i64,
    msg_id: String,
    from: String,
    content: String,
    /// Milliseconds since 1970.
    timestamp: i64,
    /// `received`, `waiting`, `delivered`, `failed` or `withdrawn`.
    state: &'static str,
    /// Why it failed.
    #[serde(skip_serializing_if = "String::is_empty")]
    why: String,
}

impl From<ChatLine> for Line {
    fn from(line: ChatLine) -> Self {
        let (state, why) = named(line.state);
        Self {
            number: line.number,
            msg_id: line.id.to_string(),
            from: line.from.to_base58(),
            content: line.content,
            timestamp: line.timestamp,
            state,
            why,
        }
    }
}

fn named(state: ChatState) -> (&'static str, String) {
    match state {
        ChatState::Received => ("received", String::new()),
        ChatState::Waiting => ("waiting", String::new()),
        ChatState::Delivered => ("delivered", String::new()),
        ChatState::Failed(why) => ("failed", why),
        ChatState::Withdrawn => ("withdrawn", String::new()),
    }
}

fn no_peer(text: &str) -> Response {
    let why = if text.is_empty() {
        "missing peer_id"
    } else {
        "peer_id is not a peer id"
    };
    error(StatusCode::BAD_REQUEST, why)
}

fn not_kept(why: &ChatLogError) -> Response {
    error(StatusCode::INTERNAL_SERVER_ERROR, &why.to_string())
}

/// What a peer is called now; empty where nobody knows.
fn name_of(shared: &Shared, peer: &PeerId) -> String {
    let row = shared.context.net.peer(peer);
    row.map(|row| row.content.clone()).unwrap_or_default()
}

/// The newest 200 lines exchanged with a peer, oldest first.
#[utoipa::path(get, path = "/api/chat/history", tag = "messages", params(OfPeer), responses(
    (status = 200, body = Vec<Told>),
    (status = 400, description = "`peer_id` is missing, or no peer id"),
    (status = 500, description = "the database says why")
))]
pub(crate) async fn history(
    State(shared): State<Arc<Shared>>,
    Query(of): Query<OfPeer>,
) -> Response {
    let Some(peer) = parse_peer_id(&of.peer_id) else {
        return match of.peer_id.is_empty() {
            true => no_peer(""),
            // Nothing was exchanged with somebody who cannot be.
            false => json(StatusCode::OK, &Vec::<Told>::new()),
        };
    };
    match shared.context.chat.history(peer, None, HISTORY).await {
        Ok(lines) => {
            let told = lines.into_iter().map(|line| Told {
                from: line.from.to_base58(),
                content: line.content,
                timestamp: line.timestamp,
            });
            json(StatusCode::OK, &told.collect::<Vec<_>>())
        }
        Err(why) => not_kept(&why),
    }
}

/// Forgets what was exchanged with a peer, and takes back what waits for it.
#[utoipa::path(delete, path = "/api/chat/history", tag = "messages", params(OfPeer), responses(
    (status = 200, body = Done),
    (status = 400, description = "`peer_id` is missing, or no peer id"),
    (status = 500, description = "the database says why")
))]
pub(crate) async fn clear(State(shared): State<Arc<Shared>>, Query(of): Query<OfPeer>) -> Response {
    let Some(peer) = parse_peer_id(&of.peer_id) else {
        return match of.peer_id.is_empty() {
            true => no_peer(""),
            false => json(StatusCode::OK, &Done { status: "ok" }),
        };
    };
    match shared.context.chat.clear(peer).await {
        Ok(()) => json(StatusCode::OK, &Done { status: "ok" }),
        Err(why) => not_kept(&why),
    }
}

#[derive(Serialize, utoipa::ToSchema)]
#[schema(as = ChatDone)]
pub(crate) struct Done {
    status: &'static str,
}

#[derive(Deserialize, utoipa::IntoParams)]
pub(crate) struct LinesOf {
    #[serde(default)]
    peer_id: String,
    /// Only lines with a smaller number.
    before: Option<i64>,
    /// How many, up to 200.
    limit: Option<usize>,
    /// With what is known of the peer's key.
    #[serde(default)]
    key: bool,
}

/// Lines of a conversation.
#[derive(Serialize, utoipa::ToSchema)]
pub(crate) struct Lines {
    /// Oldest first.
    lines: Vec<Line>,
    /// There are older ones.
    more: bool,
    /// Up to which number somebody has read.
    read: i64,
    /// The answer of `/api/mq/key`, where it was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<KeyState>,
}

/// The newest lines exchanged with a peer, or those before a number, with what became of each.
#[utoipa::path(get, path = "/api/chat/lines", tag = "messages", params(LinesOf), responses(
    (status = 200, body = Lines),
    (status = 400, description = "`peer_id` is missing, or no peer id"),
    (status = 500, description = "the database says why")
))]
pub(crate) async fn lines(
    State(shared): State<Arc<Shared>>,
    Query(of): Query<LinesOf>,
) -> Response {
    let Some(peer) = parse_peer_id(&of.peer_id) else {
        return no_peer(&of.peer_id);
    };
    let chat = &shared.context.chat;
    let limit = of.limit.unwrap_or(PAGE).clamp(1, HISTORY);
    let read = match chat.read_up_to(peer).await {
        Ok(read) => read,
        Err(why) => return not_kept(&why),
    };
    match chat.history(peer, of.before, limit).await {
        Ok(found) => {
            // A full page may be the last; asking once more then finds nothing.
            let more = found.len() == limit;
            let lines = found.into_iter().map(Line::from).collect();
            let key = of.key.then(|| keys::look(&shared, &peer));
            let lines = Lines {
                lines,
                more,
                read,
                key,
            };
            json(StatusCode::OK, &lines)
        }
        Err(why) => not_kept(&why),
    }
}

/// A conversation.
#[derive(Serialize, utoipa::ToSchema)]
pub(crate) struct Conversation {
    peer_id: String,
    /// What the peer was called when the conversation was looked at last.
    name: String,
    /// Lines of the peer that nobody has read.
    unread: u64,
    last: Line,
}

/// All conversations with their newest line, the newest first; at most 1,000.
#[utoipa::path(get, path = "/api/chat/conversations", tag = "messages", responses(
    (status = 200, body = Vec<Conversation>),
    (status = 500, description = "the database says why")
))]
pub(crate) async fn conversations(State(shared): State<Arc<Shared>>) -> Response {
    match shared.context.chat.conversations().await {
        Ok(all) => {
            let told = all.into_iter().map(|one| Conversation {
                peer_id: one.last.peer.to_base58(),
                name: Some(name_of(&shared, &one.last.peer))
                    .filter(|name| !name.is_empty())
                    .unwrap_or(one.name),
                unread: one.unread,
                last: one.last.into(),
            });
            kept::mark(json(StatusCode::OK, &told.collect::<Vec<_>>()))
        }
        Err(why) => not_kept(&why),
    }
}

/// Lines that nobody has read. A database that does not say leaves the pages as they are: they show it where it matters.
pub(super) async fn unread(shared: &Shared) -> u64 {
    let all = shared.context.chat.conversations().await;
    all.unwrap_or_default().iter().map(|one| one.unread).sum()
}

/// How far somebody has read.
#[derive(Deserialize, utoipa::ToSchema)]
pub(crate) struct Read {
    #[serde(default)]
    peer_id: String,
    #[serde(default)]
    number: i64,
}

/// Notes that the lines of a peer up to a number were read. All pages hear of it.
#[utoipa::path(post, path = "/api/chat/read", tag = "messages", request_body = Read, responses(
    (status = 200, body = Done),
    (status = 400, description = "`peer_id` is missing, or no peer id"),
    (status = 500, description = "the database says why")
))]
pub(crate) async fn read(State(shared): State<Arc<Shared>>, body: Bytes) -> Response {
    let read: Read = match parse(&body) {
        Ok(read) => read,
        Err(text) => return error(StatusCode::BAD_REQUEST, &text),
    };
    let Some(peer) = parse_peer_id(&read.peer_id) else {
        return no_peer(&read.peer_id);
    };
    let name = name_of(&shared, &peer);
    let chat = &shared.context.chat;
    match chat.mark_read(peer, read.number, name).await {
        Ok(()) => json(StatusCode::OK, &Done { status: "ok" }),
        Err(why) => not_kept(&why),
    }
}

/// A line to somebody.
#[derive(Deserialize, utoipa::ToSchema)]
pub(crate) struct ToPeer {
    #[serde(default)]
    peer_id: String,
    /// Up to 64 KiB.
    #[serde(default)]
    content: String,
}

/// What became of a line that was written.
#[derive(Serialize, utoipa::ToSchema)]
pub(crate) struct Written {
    msg_id: String,
    /// `delivered`, or `waiting` until the peer is back, or `failed`.
    state: &'static str,
    #[serde(skip_serializing_if = "String::is_empty")]
    why: String,
}

/// Writes to a peer. The line is on disk before it is sent; when the peer cannot be reached it waits there until the peer
/// is back, a week at most. Answers after the first attempt.
#[utoipa::path(post, path = "/api/chat/send", tag = "messages", request_body = ToPeer, responses(
    (status = 200, body = Written),
    (status = 400, description = "no peer id, nothing to say, or too much"),
    (status = 409, description = "200 lines wait for this peer already"),
    (status = 500, description = "the database says why; nothing was sent"),
    (status = 503, description = "this peer is leaving")
))]
pub(crate) async fn send(State(shared): State<Arc<Shared>>, body: Bytes) -> Response {
    let line: ToPeer = match parse(&body) {
        Ok(line) => line,
        Err(text) => return error(StatusCode::BAD_REQUEST, &text),
    };
    let Some(peer) = parse_peer_id(&line.peer_id) else {
        return no_peer(&line.peer_id);
    };
    match shared.context.chat.send(peer, line.content).await {
        Ok((id, state)) => {
            let (state, why) = named(state);
            let msg_id = id.to_string();
            json(StatusCode::OK, &Written { msg_id, state, why })
        }
        Err(why) => {
            let status = match why {
                ChatError::Empty | ChatError::TooLong | ChatError::ToSelf => {
                    StatusCode::BAD_REQUEST
                }
                ChatError::TooMany(_) => StatusCode::CONFLICT,
                ChatError::Log(_) => StatusCode::INTERNAL_SERVER_ERROR,
                ChatError::Leaving => StatusCode::SERVICE_UNAVAILABLE,
            };
            error(status, &why.to_string())
        }
    }
}

/// A line to take back.
#[derive(Deserialize, utoipa::ToSchema)]
pub(crate) struct ToWithdraw {
    #[serde(default)]
    peer_id: String,
    #[serde(default)]
    msg_id: String,
}

/// Takes a line back that still waits.
#[utoipa::path(post, path = "/api/chat/withdraw", tag = "messages", request_body = ToWithdraw, responses(
    (status = 200, body = Done),
    (status = 400, description = "no peer id, or no message id"),
    (status = 409, description = "it does not wait any more, or is on its way right now")
))]
pub(crate) async fn withdraw(State(shared): State<Arc<Shared>>, body: Bytes) -> Response {
    let line: ToWithdraw = match parse(&body) {
        Ok(line) => line,
        Err(text) => return error(StatusCode::BAD_REQUEST, &text),
    };
    let Some(peer) = parse_peer_id(&line.peer_id) else {
        return no_peer(&line.peer_id);
    };
    let Ok(id) = MsgId::parse(&line.msg_id) else {
        return error(StatusCode::BAD_REQUEST, "msg_id is missing, or too long");
    };
    if shared.context.chat.withdraw(peer, id).await {
        return json(StatusCode::OK, &Done { status: "ok" });
    }
    error(
        StatusCode::CONFLICT,
        "this message does not wait any more, or is on its way right now",
    )
}

#[derive(Deserialize, utoipa::IntoParams)]
pub(crate) struct Wanted {
    /// Part of what was written, whatever its case.
    #[serde(default)]
    q: String,
    /// Only of this conversation.
    #[serde(default)]
    peer_id: String,
}

/// A line that was found.
#[derive(Serialize, utoipa::ToSchema)]
pub(crate) struct Found {
    peer_id: String,
    line: Line,
}

/// Lines that contain a text, newest first; at most 200.
#[utoipa::path(get, path = "/api/chat/search", tag = "messages", params(Wanted), responses(
    (status = 200, body = Vec<Found>),
    (status = 400, description = "`q` is empty or too long, or `peer_id` no peer id"),
    (status = 500, description = "the database says why")
))]
pub(crate) async fn search(
    State(shared): State<Arc<Shared>>,
    Query(wanted): Query<Wanted>,
) -> Response {
    let text = wanted.q.trim();
    if text.is_empty() || text.chars().count() > MAX_WANTED {
        return error(
            StatusCode::BAD_REQUEST,
            &format!("q has 1 to {MAX_WANTED} characters"),
        );
    }
    let peer = match wanted.peer_id.as_str() {
        "" => None,
        id => match parse_peer_id(id) {
            Some(peer) => Some(peer),
            None => return no_peer(id),
        },
    };
    match shared.context.chat.search(peer, text).await {
        Ok(lines) => {
            let found = lines.into_iter().map(|line| Found {
                peer_id: line.peer.to_base58(),
                line: line.into(),
            });
            json(StatusCode::OK, &found.collect::<Vec<_>>())
        }
        Err(why) => not_kept(&why),
    }
}
