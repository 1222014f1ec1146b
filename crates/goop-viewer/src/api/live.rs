//! Events as they happen (viewer-api.md 16, mq.md 4).

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Query, State};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::{Stream, StreamExt, stream};
use goop_mq::log::{self, Entry, From, Next};
use goop_mq::topic::Filter;
use http::HeaderMap;
use serde::Deserialize;
use tokio_util::sync::CancellationToken;

use crate::front::Shared;

/// How often a silent stream says that it is alive; dead ones are noticed by it.
const HEARTBEAT: Duration = Duration::from_secs(15);

/// Which events.
#[derive(Deserialize, utoipa::IntoParams)]
pub(crate) struct Wanted {
    /// Topics, comma-separated: exact ones, and prefixes that end in `*`. Without it, everything but `log:…`.
    #[serde(default)]
    topics: String,
}

/// Events of this peer. An event stream that resumes: `Last-Event-ID` gets what followed, or a `reset` event when too
/// much was missed. A new stream without `topics` begins with the messages that no page has taken yet.
#[utoipa::path(get, path = "/api/mq/events", tag = "live", params(Wanted), responses((status = 200, content_type = "text/event-stream")))]
pub(crate) async fn events(
    State(shared): State<Arc<Shared>>,
    Query(wanted): Query<Wanted>,
    headers: HeaderMap,
) -> Response {
    let filter = Filter::parse(&wanted.topics);
    let from = if filter == Filter::Usual {
        From::Unheard
    } else {
        From::Now
    };
    stream(&shared, &headers, from, filter, |log, entry| {
        let event = Event::default().event("message").data(entry.data());
        Some(event.id(log.id_of(entry.number)))
    })
}

/// As [`events`], for a page of a site: what its site may see.
pub(crate) fn site_events(shared: &Shared, headers: &HeaderMap, filter: Filter) -> Response {
    stream(shared, headers, From::Now, filter, |log, entry| {
        let event = Event::default().event("message").data(entry.data());
        Some(event.id(log.id_of(entry.number)))
    })
}

/// What happens in groups, in the form older templates listen for: the event's name is its kind.
#[utoipa::path(get, path = "/api/groups/events", tag = "live", responses((status = 200, content_type = "text/event-stream")))]
pub(crate) async fn group_events(
    State(shared): State<Arc<Shared>>,
    headers: HeaderMap,
) -> Response {
    let filter = Filter::parse("group:*,group.invite");
    stream(&shared, &headers, From::Now, filter, |log, entry| {
        let log::Event::Message { payload, .. } = &entry.event else {
            return None;
        };
        let kind = match entry.topic.strip_prefix("group:") {
            Some(rest) => rest.split_once(':')?.1,
            None => "invite",
        };
        // Only what this peer itself says of its groups, and not the heartbeat.
        if entry.from.is_some() || matches!(kind, "ping" | "pong" | "meta") {
            return None;
        }
        // The name of an event is one line.
        let name: String = kind.chars().filter(|c| !c.is_control()).collect();
        let event = Event::default()
            .event(name)
            .id(log.id_of(entry.number))
            .data(goop_identity::config::escape_like_go(payload));
        Some(event)
    })
}

fn stream(
    shared: &Shared,
    headers: &HeaderMap,
    from: From<'_>,
    filter: Filter,
    say: impl Fn(&log::EventLog, &Entry) -> Option<Event> + Send + 'static,
) -> Response {
    let last_seen = headers.get("last-event-id").and_then(|id| id.to_str().ok());
    let log = shared.context.mq.log().clone();
    let listener = log.listen(last_seen.map_or(from, From::After), filter);
    let hello = stream::iter([Event::default()
        .event("connected")
        .data("{\"status\":\"ok\"}")]);
    let events = stream::unfold(listener, async |mut listener| {
        Some((listener.next().await, listener))
    })
    .flat_map(move |next| {
        let events: Vec<Event> = match next {
            Next::Events(entries) => entries
                .iter()
                .filter_map(|entry| say(&log, entry))
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
    Sse::new(until(shared.base.stop.clone(), events))
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
