//! Answers in the forms clients of the Go program know (viewer-api.md 2).

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use goop_identity::config::escape_like_go;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, LOCATION, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderValue, StatusCode};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// A value as JSON the way Go's encoder writes it: `<`, `>`, `&` escaped, a line break at the end.
pub(crate) fn go_json(value: &impl Serialize) -> String {
    let mut text =
        escape_like_go(&serde_json::to_string(value).unwrap_or_else(|_| "null".to_owned()));
    text.push('\n');
    text
}

/// A JSON answer.
pub(crate) fn json(status: StatusCode, value: &impl Serialize) -> Response {
    raw_json(status, go_json(value))
}

/// A JSON answer from text that is JSON already.
pub(crate) fn raw_json(status: StatusCode, text: impl Into<Body>) -> Response {
    let mut response = Response::new(text.into());
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// An error a person or a program can read: plain text, never sniffed as anything else.
pub(crate) fn error(status: StatusCode, text: &str) -> Response {
    let text = format!("{text}\n");
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(
        CONTENT_TYPE,
        HeaderValue::from_static("text/plain; charset=utf-8"),
    );
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(CONTENT_LENGTH, text.len().into());
    *response.body_mut() = Body::from(text);
    response
}

pub(crate) fn not_found() -> Response {
    error(StatusCode::NOT_FOUND, "404 page not found")
}

pub(crate) fn method_not_allowed() -> Response {
    error(StatusCode::METHOD_NOT_ALLOWED, "method not allowed")
}

pub(crate) fn redirect(status: StatusCode, to: &str) -> Response {
    match HeaderValue::from_str(to) {
        Ok(location) => (status, [(LOCATION, location)]).into_response(),
        Err(_) => not_found(),
    }
}

/// Reads a JSON body whatever its content type says; that the request is the owner's was proven before.
pub(crate) fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, String> {
    if body.trim_ascii().is_empty() {
        return Err("invalid json: EOF".to_owned());
    }
    // Like Go's decoder: one value; what follows it does not matter.
    let mut values = serde_json::Deserializer::from_slice(body).into_iter::<T>();
    match values.next() {
        Some(Ok(value)) => Ok(value),
        Some(Err(error)) => Err(format!("invalid json: {error}")),
        None => Err("invalid json: EOF".to_owned()),
    }
}

pub(crate) trait EmptyResponse {
    fn into_response_empty(self) -> Response;
}

impl EmptyResponse for StatusCode {
    fn into_response_empty(self) -> Response {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = self;
        response
    }
}
