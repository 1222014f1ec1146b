//! `/events`: presence as server-sent events, for clients that get no WebSocket through (rendezvous.md 5).
//!
//! Strangers read here, so e-mail addresses are left out. A reader that falls behind is given everybody who is there
//! instead of what it missed.

use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use bytes::{BufMut, Bytes, BytesMut};
use futures::stream;
use http::header::{CACHE_CONTROL, CONNECTION, CONTENT_TYPE};
use http::{HeaderName, HeaderValue, StatusCode};
use tokio::sync::broadcast;
use tokio_util::sync::CancellationToken;

use super::{Client, Shared, reply};
use crate::hub::Hub;
use crate::limits::{MAX_STREAMS, MAX_STREAMS_PER_ADDRESS, Open, Permit, TooMany};
use crate::state::Frames;

/// Proxies close what is silent for longer (rendezvous.md 5).
const PING_EVERY: Duration = Duration::from_secs(25);
/// Tells nginx not to keep events back.
const ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

struct Reader {
    lane: broadcast::Receiver<Frames>,
    hub: Hub,
    stop: CancellationToken,
    greeted: bool,
    _permit: Permit,
}

/// Presence as it happens, without e-mail addresses.
#[utoipa::path(get, path = "/events", tag = "presence", responses((status = 200, content_type = "text/event-stream"), (status = 429)))]
pub(super) async fn follow(State(shared): State<Shared>, Client(address): Client) -> Response {
    let permit = match shared.limits.open(Open::Stream, address) {
        Ok(permit) => permit,
        Err(too_many) => {
            let text = match too_many {
                TooMany::InAll => format!("too many SSE connections ({MAX_STREAMS})"),
                TooMany::OfAddress => {
                    format!("too many SSE connections from {address} ({MAX_STREAMS_PER_ADDRESS})")
                }
            };
            return reply::error(StatusCode::TOO_MANY_REQUESTS, text);
        }
    };
    let reader = Reader {
        lane: shared.hub.follow_as_stranger(),
        hub: shared.hub.clone(),
        stop: shared.stop.clone(),
        greeted: false,
        _permit: permit,
    };
    let events = stream::unfold(reader, |mut reader| async {
        let chunk = reader.next().await?;
        Some((Ok::<_, std::convert::Infallible>(chunk), reader))
    });
    let mut response = Response::new(Body::from_stream(events));
    for (name, value) in [
        (CONTENT_TYPE, "text/event-stream"),
        (CACHE_CONTROL, "no-cache"),
        (CONNECTION, "keep-alive"),
        (ACCEL_BUFFERING, "no"),
    ] {
        let value = HeaderValue::from_static(value);
        response.headers_mut().insert(name, value);
    }
    response
}

impl Reader {
    /// The next piece of the stream; `None` when the server ends.
    async fn next(&mut self) -> Option<Bytes> {
        if !self.greeted {
            self.greeted = true;
            return Some(Bytes::from_static(b": ok\n\n"));
        }
        tokio::select! {
            () = self.stop.cancelled() => None,
            () = tokio::time::sleep(PING_EVERY) => Some(Bytes::from_static(b": ping\n\n")),
            frames = self.lane.recv() => match frames {
                Ok(frames) => Some(written(&frames)),
                Err(broadcast::error::RecvError::Closed) => None,
                Err(broadcast::error::RecvError::Lagged(_)) => {
                    metrics::counter!("goop_rendezvous_snapshots_total", "why" => "behind").increment(1);
                    // What is in the ring is older than the snapshot and would undo parts of it.
                    self.lane = self.lane.resubscribe();
                    let frames = self.hub.strangers_snapshot().await.ok()?;
                    Some(written(&frames))
                }
            },
        }
    }
}

/// Messages as events. A message is one line: JSON has its line breaks escaped.
fn written(frames: &[Bytes]) -> Bytes {
    let size = frames.iter().map(|frame| frame.len() + 8).sum();
    let mut text = BytesMut::with_capacity(size);
    for frame in frames {
        text.put_slice(b"data: ");
        text.put_slice(frame);
        text.put_slice(b"\n\n");
    }
    text.freeze()
}
