//! Answers in the Go server's form: plain text with a line break, JSON with one.

use axum::body::Body;
use axum::response::Response;
use http::header::{CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderValue, StatusCode};
use serde::Serialize;

use crate::hub::Ending;

pub(crate) const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");
pub(crate) const JSON: HeaderValue = HeaderValue::from_static("application/json; charset=utf-8");
/// What some of the Go server's answers say.
pub(crate) const JSON_PLAIN: HeaderValue = HeaderValue::from_static("application/json");

/// An answer of one kind.
pub(crate) fn of(status: StatusCode, kind: HeaderValue, body: impl Into<Body>) -> Response {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
        .headers_mut()
        .insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

/// An error, as text.
pub(crate) fn error(status: StatusCode, text: impl std::fmt::Display) -> Response {
    of(status, TEXT, format!("{text}\n"))
}

pub(crate) fn not_found() -> Response {
    error(StatusCode::NOT_FOUND, "404 page not found")
}

pub(crate) fn method_not_allowed() -> Response {
    error(StatusCode::METHOD_NOT_ALLOWED, "method not allowed")
}

pub(crate) fn ending(ending: Ending) -> Response {
    error(StatusCode::SERVICE_UNAVAILABLE, ending)
}

/// A value as JSON with a line break.
pub(crate) fn json(kind: HeaderValue, value: &impl Serialize) -> Response {
    match serde_json::to_string(value) {
        Ok(mut text) => {
            text.push('\n');
            of(StatusCode::OK, kind, text)
        }
        Err(problem) => {
            tracing::error!(%problem, "an answer cannot be written");
            error(
                StatusCode::INTERNAL_SERVER_ERROR,
                "the answer cannot be written",
            )
        }
    }
}

/// An answer without a body.
pub(crate) fn no_content() -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    response
}
