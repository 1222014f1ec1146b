//! What the program says (viewer-api.md 14).

use std::convert::Infallible;
use std::sync::atomic::Ordering;

use axum::extract::{Query, State};
use axum::response::sse::{Event, Sse};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http::{HeaderMap, StatusCode};
use serde::{Deserialize, Serialize};
use tracing::Level;

use super::live::{keep_alive, until};
use crate::base::Base;
use crate::logs::LogLine;
use crate::reply::{error, go_json, json, parse};

/// The newest lines, oldest first.
#[utoipa::path(get, path = "/api/logs", tag = "logs", responses((status = 200, body = [LogLine])))]
pub(crate) async fn list(State(base): State<Base>) -> Response {
    json(StatusCode::OK, &base.desk.logs.lines())
}

#[derive(Deserialize, utoipa::IntoParams)]
pub(crate) struct Wanted {
    /// Whether the kept lines come first, and a `verbose` event with the answer of `/api/logs/verbose` before them.
    #[serde(default)]
    all: bool,
}

/// New lines as server-sent events. A stream that resumes: `Last-Event-ID` gets what followed.
#[utoipa::path(get, path = "/api/logs/stream", tag = "logs", params(Wanted),
    responses((status = 200, content_type = "text/event-stream")))]
pub(crate) async fn stream(
    State(base): State<Base>,
    Query(wanted): Query<Wanted>,
    headers: HeaderMap,
) -> Response {
    let logs = base.desk.logs.clone();
    let last_seen = headers.get("last-event-id").and_then(|id| id.to_str().ok());
    let (follower, hello) = if wanted.all {
        let on = serde_json::json!({ "on": base.verbose.load(Ordering::Relaxed) });
        let hello = Event::default().event("verbose").data(on.to_string());
        (logs.follow_after(last_seen), Some(hello))
    } else if last_seen.is_some() {
        (logs.follow_after(last_seen), None)
    } else {
        (logs.follow(), None)
    };
    let lines = stream::unfold(follower, async |mut follower| {
        Some((follower.next().await, follower))
    })
    .flat_map(stream::iter)
    .map(move |(number, line)| {
        Event::default()
            .event("message")
            .id(logs.id_of(number))
            .data(go_json(&line).trim_end())
    });
    let events = stream::iter(hello).chain(lines).map(Ok::<_, Infallible>);
    Sse::new(until(base.stop.clone(), events))
        .keep_alive(keep_alive())
        .into_response()
}

#[derive(Deserialize, Serialize, utoipa::ToSchema)]
pub(crate) struct Verbose {
    on: bool,
}

/// Whether details of the network are logged.
#[utoipa::path(get, path = "/api/logs/verbose", tag = "logs", responses((status = 200, body = Verbose)))]
pub(crate) async fn verbose(State(base): State<Base>) -> Response {
    json(
        StatusCode::OK,
        &Verbose {
            on: base.verbose.load(Ordering::Relaxed),
        },
    )
}

/// Switches the details of the network on or off, until the peer ends.
#[utoipa::path(post, path = "/api/logs/verbose", tag = "logs", request_body = Verbose, responses((status = 204), (status = 400)))]
pub(crate) async fn set_verbose(State(base): State<Base>, body: Bytes) -> Response {
    match parse::<Verbose>(&body) {
        Ok(Verbose { on }) => {
            base.verbose.store(on, Ordering::Relaxed);
            (base.desk.verbose)(on);
            StatusCode::NO_CONTENT.into_response()
        }
        Err(_) => error(StatusCode::BAD_REQUEST, "bad json"),
    }
}

#[derive(Deserialize, utoipa::ToSchema)]
#[serde(default)]
#[derive(Default)]
pub(crate) struct ClientLine {
    level: String,
    source: String,
    message: String,
}

/// A line from a page, at most 4 KiB of it on one line. `debug` is not kept.
#[utoipa::path(post, path = "/api/logs/client", tag = "logs", request_body = ClientLine, responses((status = 204), (status = 400)))]
pub(crate) async fn client(State(base): State<Base>, body: Bytes) -> Response {
    let line: ClientLine = match parse(&body) {
        Ok(line) => line,
        Err(text) => return error(StatusCode::BAD_REQUEST, &text),
    };
    if line.message.is_empty() {
        return error(StatusCode::BAD_REQUEST, "message required");
    }
    let level = match line.level.as_str() {
        "debug" => return StatusCode::NO_CONTENT.into_response(),
        "error" => Level::ERROR,
        "warn" => Level::WARN,
        _ => Level::INFO,
    };
    let source = if line.source.is_empty() {
        "client"
    } else {
        &line.source
    };
    base.desk.logs.push(
        level,
        source,
        &format!(
            "[{}] [{source}] {}",
            level.as_str().to_lowercase(),
            line.message
        ),
    );
    StatusCode::NO_CONTENT.into_response()
}
