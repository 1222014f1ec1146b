//! HTTP over libp2p, serving side: one stream carries HTTP/1.1, requests one after the other
//! (libp2p specifications, `http/README.md`; ours in `docs/protocols/http-over-libp2p.md`).

use std::convert::Infallible;
use std::time::Duration;

use bytes::Bytes;
use goop_identity::PeerId;
use goop_identity::avatar::AvatarFile;
use http::header::{ALLOW, CONTENT_LENGTH, CONTENT_TYPE, ETAG, IF_NONE_MATCH};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};

use crate::body::SiteBody;
use crate::line::LINE_DEADLINE;
use crate::path::SitePath;
use crate::respond::{matches_etag, respond};
use crate::site::{Site, SiteError};

/// The protocol id.
pub const PROTOCOL: &str = "/http/1.1";
/// Where an HTTP host says what it serves.
pub const WELL_KNOWN: &str = "/.well-known/libp2p/protocols";
/// Where our site lies; the well-known document says the same.
pub const SITE_PREFIX: &str = "/goop/site/";
/// Where our picture lies.
pub const AVATAR_PATH: &str = "/goop/avatar";
/// The well-known document: application protocol → where.
const PROTOCOLS: &str = "{\"/goop/site/2.0.0\":{\"path\":\"/goop/site/\"},\"/goop/avatar/2.0.0\":{\"path\":\"/goop/avatar\"}}\n";
/// Largest request head: a path, and what a browser's request carries.
const MAX_HEAD: usize = 16 * 1024;
/// Most headers in one.
const MAX_HEADERS: usize = 64;
/// How long a stream may stay open without a request.
pub const KEEP_ALIVE: Duration = Duration::from_secs(60);

/// What is served.
#[derive(Debug, Clone)]
pub struct Served {
    /// The site.
    pub site: Site,
    /// The picture.
    pub avatar: AvatarFile,
}

/// Serves the requests of `caller` on a stream until it ends, is silent for [`KEEP_ALIVE`], or breaks a rule.
///
/// # Errors
/// What hyper makes of a stream that fails or is not HTTP.
pub async fn serve<S>(caller: PeerId, stream: S, served: &Served) -> Result<(), hyper::Error>
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
{
    let service = service_fn(|request: Request<Incoming>| {
        let response = answer(&request, served);
        tracing::trace!(%caller, path = request.uri().path(), status = response.status().as_u16(), "served a neighbour");
        std::future::ready(Ok::<_, Infallible>(response))
    });
    let mut server = hyper::server::conn::http1::Builder::new();
    server
        .timer(TokioTimer::new())
        .header_read_timeout(LINE_DEADLINE.max(KEEP_ALIVE))
        .max_headers(MAX_HEADERS)
        .max_buf_size(MAX_HEAD);
    server.serve_connection(TokioIo::new(stream), service).await
}

fn answer<B>(request: &Request<B>, served: &Served) -> Response<SiteBody> {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let mut response = plain(StatusCode::METHOD_NOT_ALLOWED, "method not allowed\n");
        response
            .headers_mut()
            .insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return response;
    }
    let path = request.uri().path();
    let mut response = if let Some(path) = path.strip_prefix(SITE_PREFIX) {
        site_answer(request, path, &served.site)
    } else if path == AVATAR_PATH {
        avatar_answer(request, &served.avatar)
    } else if path == WELL_KNOWN {
        let mut response = plain(StatusCode::OK, PROTOCOLS);
        response
            .headers_mut()
            .insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        response
    } else {
        plain(StatusCode::NOT_FOUND, "not found\n")
    };
    if request.method() == Method::HEAD {
        *response.body_mut() = SiteBody::Empty;
    }
    response
}

fn site_answer<B>(request: &Request<B>, path: &str, site: &Site) -> Response<SiteBody> {
    let path: Vec<u8> = percent_encoding::percent_decode_str(path).collect();
    let found = SitePath::parse(&[b"/", &path[..]].concat())
        .map_err(SiteError::from)
        .and_then(|path| respond(site, request.method(), &path, request.headers()));
    match found {
        Ok(response) => response,
        Err(SiteError::Forbidden) => plain(StatusCode::FORBIDDEN, "forbidden\n"),
        Err(SiteError::NotFound) => plain(StatusCode::NOT_FOUND, "not found\n"),
        Err(SiteError::Io(error)) => {
            tracing::warn!(%error, "a file of the site cannot be read");
            plain(
                StatusCode::INTERNAL_SERVER_ERROR,
                "the file cannot be read\n",
            )
        }
    }
}

fn avatar_answer<B>(request: &Request<B>, avatar: &AvatarFile) -> Response<SiteBody> {
    let Some(avatar) = avatar.current() else {
        return plain(StatusCode::NOT_FOUND, "no picture\n");
    };
    let etag = format!("\"{}\"", avatar.hash.as_str());
    let known = request
        .headers()
        .get(IF_NONE_MATCH)
        .and_then(|known| known.to_str().ok());
    let unchanged = known.is_some_and(|known| matches_etag(known, &etag));
    let mut response = Response::new(if unchanged {
        SiteBody::Empty
    } else {
        avatar.bytes.clone().into()
    });
    if unchanged {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
    } else {
        response
            .headers_mut()
            .insert(CONTENT_LENGTH, avatar.bytes.len().into());
    }
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(avatar.content_type));
    if let Ok(etag) = HeaderValue::from_str(&etag) {
        response.headers_mut().insert(ETAG, etag);
    }
    response
}

fn plain(status: StatusCode, text: &'static str) -> Response<SiteBody> {
    let mut response = Response::new(SiteBody::from(Bytes::from_static(text.as_bytes())));
    *response.status_mut() = status;
    response.headers_mut().insert(
        CONTENT_TYPE,
        HeaderValue::from_static("text/plain; charset=utf-8"),
    );
    response
        .headers_mut()
        .insert(CONTENT_LENGTH, text.len().into());
    response
}
