//! Events as they happen (viewer-api.md 16, mq.md 4).

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::{Stream, StreamExt, stream};
use http::HeaderMap;
use tokio_util::sync::CancellationToken;

use crate::events::Next;
use crate::server::Shared;

/// How often a silent stream says that it is alive; dead ones are noticed by it.
const HEARTBEAT: Duration = Duration::from_secs(15);

/// Events of this peer. An event stream that resumes: `Last-Event-ID` gets what followed, or a `reset` event when too
/// much was missed.
#[utoipa::path(get, path = "/api/mq/events", tag = "live", responses((status = 200, content_type = "text/event-stream")))]
pub(crate) async fn events(State(shared): State<Arc<Shared>>, headers: HeaderMap) -> Response {
    stream(&shared, &headers)
}

pub(crate) fn stream(shared: &Shared, headers: &HeaderMap) -> Response {
    let last_seen = headers.get("last-event-id").and_then(|id| id.to_str().ok());
    let log = shared.events.clone();
    let listener = shared.events.listen(last_seen);
    let hello = stream::iter([Event::default()
        .event("connected")
        .data("{\"status\":\"ok\"}")]);
    let events = stream::unfold(listener, async |mut listener| {
        Some((listener.next().await, listener))
    })
    .flat_map(move |next| {
        let events: Vec<Event> = match next {
            Next::Events(entries) => entries
                .into_iter()
                .map(|entry| {
                    Event::default()
                        .event("message")
                        .id(log.id_of(entry.number))
                        .data(&*entry.data)
                })
                .collect(),
            Next::Reset(number) => vec![
                Event::default()
                    .event("reset")
                    .id(log.id_of(number))
                    .data("{}"),
            ],
        };
        stream::iter(events)
    });
    let events = hello.chain(events).map(Ok::<_, Infallible>);
    Sse::new(until(shared.stop.clone(), events))
        .keep_alive(keep_alive())
        .into_response()
}

/// A stream that ends when the server does.
pub(super) fn until<S: Stream>(stop: CancellationToken, stream: S) -> impl Stream<Item = S::Item> {
    stream.take_until(async move { stop.cancelled().await })
}

pub(super) fn keep_alive() -> KeepAlive {
    KeepAlive::new().interval(HEARTBEAT).text("alive")
}
