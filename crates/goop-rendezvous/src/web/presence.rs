//! `/publish` and the small answers beside it (rendezvous.md 3 and 4).

use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use bytes::Bytes;
use http::StatusCode;
use http_body::Body as _;
use http_body_util::{BodyExt, LengthLimitError, Limited};

use super::reply::{self, JSON, JSON_PLAIN};
use super::{BODY_DEADLINE, Client, Shared, instant};
use crate::state::{Incoming, Refused};
use crate::wire::{Capabilities, MAX_MESSAGE, Publication, Refusal, RelayInfo};

/// Adds what only the server can find out. Checking a signature takes some 60 µs, so it is done by whoever received the
/// message, not by the owner of the table.
pub(super) fn judge(publication: Publication, shared: &Shared) -> Incoming {
    let record = &publication.record;
    Incoming {
        signed: record.signature.is_some() && record.is_signed(),
        verified: !shared.settings.registration_required,
        publication,
    }
}

/// Reads a whole body, with its limit and its deadline.
pub(super) async fn read(body: Body, most: usize) -> Result<Bytes, Response> {
    let too_large = || reply::error(StatusCode::PAYLOAD_TOO_LARGE, Refusal::TooLarge);
    // One that says how large it is need not be waited for.
    let says = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
    if says > most {
        return Err(too_large());
    }
    let limited = Limited::new(body, most).collect();
    match tokio::time::timeout(BODY_DEADLINE, limited).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(problem)) if problem.is::<LengthLimitError>() => Err(too_large()),
        Ok(Err(_)) => Err(reply::error(StatusCode::BAD_REQUEST, "the body broke off")),
        Err(_) => Err(reply::error(
            StatusCode::REQUEST_TIMEOUT,
            "the body took too long",
        )),
    }
}

fn too_often() -> Response {
    reply::error(StatusCode::TOO_MANY_REQUESTS, "rate limit exceeded")
}

/// A peer says that it is there, what changed, or that it leaves.
#[utoipa::path(post, path = "/publish", tag = "presence", request_body(content = String, description = "a presence record", content_type = "application/json"),
    responses((status = 204), (status = 400), (status = 403, description = "the peer signs, and this is not signed"),
    (status = 409, description = "older than what is known"), (status = 413), (status = 429)))]
pub(super) async fn publish(
    State(shared): State<Shared>,
    Client(address): Client,
    body: Body,
) -> Response {
    if !shared.limits.request(address, instant()) {
        return too_often();
    }
    let body = match read(body, MAX_MESSAGE).await {
        Ok(body) => body,
        Err(response) => return response,
    };
    let publication = match Publication::from_client(&body, None) {
        Ok(publication) => publication,
        Err(refusal) => return reply::error(StatusCode::BAD_REQUEST, refusal),
    };
    if !shared
        .limits
        .message(address, publication.record.peer, instant())
    {
        return too_often();
    }
    match shared.hub.publish(judge(publication, &shared), None).await {
        Ok(Ok(())) => reply::no_content(),
        Ok(Err(refused)) => {
            let status = match refused {
                Refused::NeedsSignature | Refused::NotYours => StatusCode::FORBIDDEN,
                Refused::Outdated => StatusCode::CONFLICT,
                Refused::Full => StatusCode::SERVICE_UNAVAILABLE,
            };
            reply::error(status, refused)
        }
        Err(ending) => reply::ending(ending),
    }
}

/// Alive.
#[utoipa::path(get, path = "/healthz", tag = "presence", responses((status = 200, description = "`ok`")))]
pub(super) async fn healthz() -> Response {
    reply::of(StatusCode::OK, reply::TEXT, "ok")
}

/// What this server offers.
#[utoipa::path(get, path = "/api/capabilities", tag = "presence", responses((status = 200, body = Capabilities)))]
pub(super) async fn capabilities(State(shared): State<Shared>) -> Response {
    let capabilities = Capabilities {
        relay: shared.relay.is_some(),
        ..Capabilities::default()
    };
    reply::json(JSON_PLAIN, &capabilities)
}

/// Where the relay is.
#[utoipa::path(get, path = "/relay", tag = "relay", responses((status = 200, body = RelayInfo), (status = 404, description = "no relay")))]
pub(super) async fn relay(State(shared): State<Shared>) -> Response {
    match &shared.relay {
        Some(relay) => reply::json(JSON, &relay.info()),
        None => reply::not_found(),
    }
}
