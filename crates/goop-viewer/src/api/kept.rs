//! Answers that a browser keeps and asks about: the second time it gets a `304` without a body.
//!
//! A handler says so with `Cache-Control: no-cache`; here each such answer gets an etag of its bytes. Nothing is remembered
//! for it, so it costs a hash and saves the way.

use axum::body::{Body, to_bytes};
use axum::extract::Request;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::header::{CACHE_CONTROL, ETAG, IF_NONE_MATCH};
use http::{HeaderValue, Method, StatusCode};
use hyper::body::Body as _;
use sha2::{Digest, Sha256};

/// Largest answer that gets an etag; larger ones are streams, which are not read twice.
const MAX_KEPT: u64 = 512 * 1024;
const ASK: HeaderValue = HeaderValue::from_static("private, no-cache");

/// Lets the owner's browser keep an answer.
pub(super) fn mark(mut response: Response) -> Response {
    response.headers_mut().insert(CACHE_CONTROL, ASK);
    response
}

/// Gives answers that may be kept an etag, and says "you have it" to who has it.
pub(super) async fn validate(request: Request, next: Next) -> Response {
    let is_read = request.method() == Method::GET;
    let known = request.headers().get(IF_NONE_MATCH).cloned();
    let response = next.run(request).await;
    let length = response.body().size_hint().exact();
    let headers = response.headers();
    let may_be_kept = headers
        .get(CACHE_CONTROL)
        .and_then(|rule| rule.to_str().ok())
        .is_some_and(|rule| rule.split(',').any(|part| part.trim() == "no-cache"));
    if !is_read
        || response.status() != StatusCode::OK
        || !may_be_kept
        || headers.contains_key(ETAG)
        || length.is_none_or(|length| length > MAX_KEPT)
    {
        return response;
    }
    let (mut parts, body) = response.into_parts();
    // Its length was known, so it is in memory already.
    let Ok(bytes) = to_bytes(body, usize::MAX).await else {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    };
    let hash = Sha256::digest(&bytes);
    let mark: String = hash[..16]
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let etag = format!("\"{mark}\"");
    let known = known.as_ref().and_then(|known| known.to_str().ok());
    let is_known = known.is_some_and(|known| goop_site::respond::matches_etag(known, &etag));
    if let Ok(etag) = HeaderValue::from_str(&etag) {
        parts.headers.insert(ETAG, etag);
    }
    if is_known {
        parts.status = StatusCode::NOT_MODIFIED;
        parts.headers.remove(http::header::CONTENT_LENGTH);
        return Response::from_parts(parts, Body::empty());
    }
    Response::from_parts(parts, Body::from(bytes))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use axum::Router;
    use axum::routing::get;
    use tower::ServiceExt;

    /// Asks a server whose answer is `rule` and `text`, with what a browser knows.
    async fn ask(rule: &'static str, text: &'static str, known: Option<&HeaderValue>) -> Response {
        let answer = async move || {
            let mut response = Response::new(Body::from(text));
            response
                .headers_mut()
                .insert(CACHE_CONTROL, HeaderValue::from_static(rule));
            response
        };
        let router: Router = Router::new()
            .route("/", get(answer))
            .layer(axum::middleware::from_fn(validate));
        let mut request = Request::new(Body::empty());
        if let Some(known) = known {
            request.headers_mut().insert(IF_NONE_MATCH, known.clone());
        }
        router.oneshot(request).await.unwrap()
    }

    #[tokio::test]
    async fn the_second_time_only_a_change_is_sent() {
        let first = ask("private, no-cache", "one", None).await;
        let etag = first.headers()[ETAG].clone();
        assert_eq!(to_bytes(first.into_body(), 9).await.unwrap(), "one");
        let second = ask("private, no-cache", "one", Some(&etag)).await;
        assert_eq!(second.status(), StatusCode::NOT_MODIFIED);
        assert_eq!(second.headers()[ETAG], etag);
        assert!(to_bytes(second.into_body(), 9).await.unwrap().is_empty());
        let changed = ask("private, no-cache", "two", Some(&etag)).await;
        assert_eq!(changed.status(), StatusCode::OK);
        assert_eq!(to_bytes(changed.into_body(), 9).await.unwrap(), "two");
    }

    #[tokio::test]
    async fn what_may_not_be_kept_gets_no_etag() {
        for rule in ["no-store", "max-age=5", "no-cache-at-all"] {
            assert!(!ask(rule, "one", None).await.headers().contains_key(ETAG));
        }
    }
}
