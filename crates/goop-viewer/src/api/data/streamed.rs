//! Answers of the database as HTTP: small ones in one piece, large ones row by row as they are read.

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use futures_util::stream;
use goop_data::json::to_bytes;
use goop_data::{Answer, DataError, Pieces, Whole};
use http::header::{CACHE_CONTROL, CONTENT_TYPE, TRAILER, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderMap, HeaderName, HeaderValue};
use http_body_util::StreamBody;
use hyper::body::Frame;

/// Says that an answer was cut at the limits of who asked, and there is more: a header where it is known in time, else
/// a trailer. JSON lists have no place for it.
static MORE: HeaderName = HeaderName::from_static("goop-more");
/// Bytes gathered before an answer is sent; whatever goes wrong until then is an error with its own status.
const AT_ONCE: usize = 64 * 1024;

/// An answer in one piece.
pub(super) fn whole(whole: &Whole) -> Response {
    let mut bytes = to_bytes(&whole.value);
    bytes.push(b'\n');
    response(Body::from(bytes), whole.more)
}

/// An answer as it comes.
///
/// # Errors
/// What went wrong before anything was sent. Later, the connection breaks off before the closing bracket.
pub(super) async fn answer(answer: Answer) -> Result<Response, DataError> {
    let mut pieces = answer.pieces();
    let mut first = Vec::new();
    while let Some(piece) = pieces.next().await {
        first.extend(piece?);
        if first.len() >= AT_ONCE {
            return Ok(stream(first, pieces));
        }
    }
    first.push(b'\n');
    Ok(response(Body::from(first), pieces.more()))
}

enum Rest {
    First(Vec<u8>, Pieces),
    Pieces(Pieces),
    Trailer(bool),
    Done,
}

fn stream(first: Vec<u8>, pieces: Pieces) -> Response {
    let frames = stream::unfold(Rest::First(first, pieces), |rest| async move {
        match rest {
            Rest::First(bytes, pieces) => Some((data(bytes), Rest::Pieces(pieces))),
            Rest::Pieces(mut pieces) => Some(match pieces.next().await {
                Some(Ok(bytes)) => (data(bytes), Rest::Pieces(pieces)),
                Some(Err(failure)) => {
                    tracing::warn!(%failure, "an answer of the database broke off");
                    (Err(failure), Rest::Done)
                }
                None => (data(b"\n".to_vec()), Rest::Trailer(pieces.more())),
            }),
            Rest::Trailer(true) => {
                let trailer =
                    HeaderMap::from_iter([(MORE.clone(), HeaderValue::from_static("true"))]);
                Some((Ok(Frame::trailers(trailer)), Rest::Done))
            }
            Rest::Trailer(false) | Rest::Done => None,
        }
    });
    let mut response = response(Body::new(StreamBody::new(frames)), false);
    response
        .headers_mut()
        .insert(TRAILER, HeaderValue::from_static("goop-more"));
    response
}

fn data(bytes: Vec<u8>) -> Result<Frame<Bytes>, DataError> {
    Ok(Frame::data(Bytes::from(bytes)))
}

fn response(body: Body, more: bool) -> Response {
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    // Rows change, and what a stranger's site answers stays nowhere.
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if more {
        headers.insert(MORE.clone(), HeaderValue::from_static("true"));
    }
    response
}
