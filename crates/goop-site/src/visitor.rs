//! Fetching from a neighbour.
//!
//! Our own kind is asked over HTTP on streams that are kept and used again; everybody else over the Go program's
//! protocol. Small answers are kept with their validator while the peer is there, and asked about each time: a `304`
//! brings no bytes. Nothing is ever shown of a peer that left.

use std::future::Future;
use std::io;
use std::num::NonZeroUsize;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::TryStreamExt;
use goop_identity::PeerId;
use goop_identity::label::{host_label, peer_of_label};
use goop_identity::seal::Keyring;
use http::header::{
    ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, ETAG, HOST, IF_NONE_MATCH,
    RANGE,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri};
use http_body::Frame;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Empty, Full, StreamBody};
use hyper::body::Incoming;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use lru::LruCache;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use tokio::time::timeout;

use crate::http::{KEEP_ALIVE, PROTOCOL as HTTP, SITE_PREFIX};
use crate::line::{IDLE_DEADLINE, LineError};
use crate::protocol::{self, FetchError};
use crate::respond::matches_etag;
use crate::{DialError, Dialer};

/// How long a peer may take until its answer begins (viewer-api.md 2.1).
const ANSWER_DEADLINE: Duration = Duration::from_secs(10);
/// Idle streams that are kept for one peer.
const MAX_IDLE: usize = 32;
/// They are given up before the other side does.
const IDLE: Duration = Duration::from_secs(KEEP_ALIVE.as_secs() / 2);
/// Largest answer that is kept.
const MAX_KEPT: u64 = 64 * 1024;
/// Most answers that are kept; together at most 4 MiB.
const MAX_ENTRIES: NonZeroUsize = NonZeroUsize::new(64).expect("64 is not 0");
/// Bytes taken from a stream at once.
const CHUNK: usize = 64 * 1024;
/// What of a browser's request the peer needs to know.
const PASSED_ON: [HeaderName; 5] = [
    RANGE,
    http::header::IF_RANGE,
    http::header::IF_NONE_MATCH,
    http::header::IF_MODIFIED_SINCE,
    ACCEPT_ENCODING,
];

/// A body that arrives from a peer.
pub type RemoteBody = UnsyncBoxBody<Bytes, io::Error>;

/// A request for a file of somebody's site.
#[derive(Debug, Clone)]
pub struct SiteRequest {
    /// GET or HEAD.
    pub method: Method,
    /// The path below the site's root, decoded, beginning with `/`.
    pub path: String,
    /// The browser's headers; only those that matter for a file are passed on.
    pub headers: HeaderMap,
}

/// Why nothing was fetched.
#[derive(Debug, thiserror::Error)]
pub enum VisitError {
    /// The peer has no such file.
    #[error("not found")]
    NotFound,
    /// The peer does not serve it.
    #[error("forbidden")]
    Forbidden,
    /// The peer cannot be reached.
    #[error("peer unreachable: {0}")]
    Unreachable(String),
    /// The peer took too long.
    #[error("the peer did not answer within {} s", ANSWER_DEADLINE.as_secs())]
    TimedOut,
    /// The peer's answer cannot be used.
    #[error("{0}")]
    BadAnswer(String),
}

impl From<DialError> for VisitError {
    fn from(error: DialError) -> Self {
        Self::Unreachable(error.to_string())
    }
}

impl From<FetchError> for VisitError {
    fn from(error: FetchError) -> Self {
        match error {
            FetchError::NotFound => Self::NotFound,
            FetchError::Forbidden => Self::Forbidden,
            FetchError::Line(LineError::TimedOut) => Self::TimedOut,
            other => Self::BadAnswer(other.to_string()),
        }
    }
}

type KeptAnswers = LruCache<(PeerId, String), Arc<KeptAnswer>>;
type HttpClient<D> = Client<PeerConnector<D>, Empty<Bytes>>;

/// Fetches files of other peers' sites. Cheap to clone; all clones share streams and kept answers.
pub struct Visitor<D: Dialer, K: Keyring> {
    dialer: D,
    keys: Arc<K>,
    http: HttpClient<D>,
    kept: Arc<Mutex<KeptAnswers>>,
}

impl<D: Dialer, K: Keyring> Clone for Visitor<D, K> {
    fn clone(&self) -> Self {
        Self {
            dialer: self.dialer.clone(),
            keys: self.keys.clone(),
            http: self.http.clone(),
            kept: self.kept.clone(),
        }
    }
}

impl<D: Dialer, K: Keyring> std::fmt::Debug for Visitor<D, K> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Visitor").finish_non_exhaustive()
    }
}

#[derive(Debug)]
struct KeptAnswer {
    etag: HeaderValue,
    headers: HeaderMap,
    bytes: Bytes,
}

impl<D: Dialer, K: Keyring> Visitor<D, K> {
    /// A visitor that opens streams through `dialer` and seals with `keys` towards Go peers.
    #[must_use]
    pub fn new(dialer: D, keys: Arc<K>) -> Self {
        let http = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE)
            .pool_max_idle_per_host(MAX_IDLE)
            .set_host(false)
            .build(PeerConnector(dialer.clone()));
        Self {
            dialer,
            keys,
            http,
            kept: Arc::new(Mutex::new(LruCache::new(MAX_ENTRIES))),
        }
    }

    /// Throws away what was kept of a peer that left.
    pub fn forget(&self, peer: &PeerId) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let gone: Vec<_> = kept
            .iter()
            .map(|(key, _)| key)
            .filter(|(owner, _)| owner == peer)
            .cloned()
            .collect();
        for key in gone {
            kept.pop(&key);
        }
    }

    /// Fetches a file. The body arrives as fast as it is taken; there is no limit on its size.
    ///
    /// # Errors
    /// See [`VisitError`].
    pub async fn fetch(
        &self,
        peer: PeerId,
        request: SiteRequest,
    ) -> Result<Response<RemoteBody>, VisitError> {
        if self.dialer.speaks(&peer, HTTP) != Some(false) {
            match self.fetch_http(peer, &request).await {
                Err(Failure::NotSpoken) => {}
                Err(Failure::Visit(error)) => return Err(error),
                Ok(response) => return Ok(response),
            }
        }
        timeout(ANSWER_DEADLINE, self.fetch_compatible(peer, &request))
            .await
            .map_err(|_| VisitError::TimedOut)?
    }

    async fn fetch_http(
        &self,
        peer: PeerId,
        request: &SiteRequest,
    ) -> Result<Response<RemoteBody>, Failure> {
        let key = (peer, request.path.clone());
        let kept = self.usable(&key, request);
        let mut asked = Request::new(Empty::new());
        *asked.method_mut() = request.method.clone();
        *asked.uri_mut() = uri_of(&peer, &request.path).ok_or(VisitError::NotFound)?;
        for name in PASSED_ON {
            if let Some(value) = request.headers.get(&name) {
                asked.headers_mut().insert(name, value.clone());
            }
        }
        // HTTP/1.1 wants one; over libp2p the connection says who is meant.
        asked
            .headers_mut()
            .insert(HOST, HeaderValue::from_static("libp2p"));
        if let Some(kept) = &kept {
            asked.headers_mut().insert(IF_NONE_MATCH, kept.etag.clone());
        }
        let response = timeout(ANSWER_DEADLINE, self.http.request(asked))
            .await
            .map_err(|_| VisitError::TimedOut)?
            .map_err(|error| Failure::of(&error))?;
        match (response.status(), kept) {
            (StatusCode::NOT_MODIFIED, Some(kept)) => Ok(answer_from(&kept, request)),
            (StatusCode::OK, _) if worth_keeping(&response, request) => {
                self.keep(key, response).await
            }
            (StatusCode::NOT_FOUND, _) => Err(VisitError::NotFound.into()),
            (StatusCode::FORBIDDEN, _) => Err(VisitError::Forbidden.into()),
            (status, _)
                if status.is_success()
                    || status == StatusCode::NOT_MODIFIED
                    || status == StatusCode::RANGE_NOT_SATISFIABLE =>
            {
                Ok(only_file_headers(response)
                    .map(|body| body.map_err(io::Error::other).boxed_unsync()))
            }
            (status, _) => Err(VisitError::BadAnswer(format!("the peer answered {status}")).into()),
        }
    }

    /// What is kept for a plain request while the peer is there.
    fn usable(&self, key: &(PeerId, String), request: &SiteRequest) -> Option<Arc<KeptAnswer>> {
        let plain = request.method == Method::GET && !request.headers.contains_key(RANGE);
        if !plain {
            return None;
        }
        if !self.dialer.is_present(&key.0) {
            self.forget(&key.0);
            return None;
        }
        let kept = self
            .kept
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(key)
            .cloned()?;
        // A packed answer is only for browsers that take it; they all do, or none does.
        let packed = kept.headers.contains_key(CONTENT_ENCODING);
        (!packed || request.headers.contains_key(ACCEPT_ENCODING)).then_some(kept)
    }

    async fn keep(
        &self,
        key: (PeerId, String),
        response: Response<Incoming>,
    ) -> Result<Response<RemoteBody>, Failure> {
        let (parts, body) = only_file_headers(response).into_parts();
        let read = timeout(IDLE_DEADLINE, body.collect())
            .await
            .map_err(|_| VisitError::TimedOut)?;
        let bytes = read
            .map_err(|error| VisitError::BadAnswer(error.to_string()))?
            .to_bytes();
        if let Some(etag) = parts.headers.get(ETAG) {
            let kept = KeptAnswer {
                etag: etag.clone(),
                headers: parts.headers.clone(),
                bytes: bytes.clone(),
            };
            self.kept
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .put(key, Arc::new(kept));
        }
        Ok(Response::from_parts(parts, full(bytes)))
    }

    async fn fetch_compatible(
        &self,
        peer: PeerId,
        request: &SiteRequest,
    ) -> Result<Response<RemoteBody>, VisitError> {
        let mut stream = self.dialer.open(peer, protocol::PROTOCOL).await?;
        let fetched = protocol::fetch(peer, &mut stream, &request.path, &*self.keys).await?;
        let mut response = Response::new(());
        let content_type = HeaderValue::from_str(&fetched.content_type)
            .unwrap_or_else(|_| HeaderValue::from_static(crate::types::UNKNOWN));
        response.headers_mut().insert(CONTENT_TYPE, content_type);
        response
            .headers_mut()
            .insert(CONTENT_LENGTH, fetched.len.into());
        let body = if request.method == Method::HEAD {
            full(Bytes::new())
        } else if fetched.streaming {
            let rest_len = fetched.len - fetched.start.len() as u64;
            let start = futures_util::stream::iter([Ok(fetched.start)]);
            let chunks = futures_util::StreamExt::chain(start, rest(stream, rest_len));
            StreamBody::new(chunks.map_ok(Frame::data)).boxed_unsync()
        } else {
            full(fetched.start)
        };
        Ok(response.map(|()| body))
    }
}

/// The remaining `left` bytes of a plain answer; a stream that ends early or falls silent is an error.
fn rest<S>(stream: S, left: u64) -> impl futures_util::Stream<Item = io::Result<Bytes>>
where
    S: AsyncRead + Unpin,
{
    futures_util::stream::try_unfold((stream, left), async |(mut stream, left)| {
        if left == 0 {
            return Ok(None);
        }
        let mut chunk = BytesMut::with_capacity(CHUNK);
        let mut part = (&mut stream).take(left);
        let read = timeout(IDLE_DEADLINE, part.read_buf(&mut chunk)).await??;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(Some((chunk.freeze(), (stream, left - read as u64))))
    })
}

enum Failure {
    NotSpoken,
    Visit(VisitError),
}

impl From<VisitError> for Failure {
    fn from(error: VisitError) -> Self {
        Self::Visit(error)
    }
}

impl Failure {
    fn of(error: &hyper_util::client::legacy::Error) -> Self {
        let mut source: Option<&(dyn std::error::Error + 'static)> = Some(error);
        while let Some(inner) = source {
            match inner.downcast_ref::<DialError>() {
                Some(DialError::NotSpoken) => return Self::NotSpoken,
                Some(unreachable) => return Self::Visit(unreachable.clone().into()),
                None => source = inner.source(),
            }
        }
        Self::Visit(VisitError::BadAnswer(format!(
            "the peer's answer broke off: {error}"
        )))
    }
}

fn uri_of(peer: &PeerId, path: &str) -> Option<Uri> {
    /// Everything a path segment may not hold as it stands (RFC 3986).
    const UNSAFE: &percent_encoding::AsciiSet = &percent_encoding::NON_ALPHANUMERIC
        .remove(b'/')
        .remove(b'-')
        .remove(b'.')
        .remove(b'_')
        .remove(b'~');
    let path = percent_encoding::utf8_percent_encode(path.trim_start_matches('/'), UNSAFE);
    format!("http://{}{SITE_PREFIX}{path}", host_label(peer))
        .parse()
        .ok()
}

fn worth_keeping<B>(response: &Response<B>, request: &SiteRequest) -> bool {
    let len = response
        .headers()
        .get(CONTENT_LENGTH)
        .and_then(|len| len.to_str().ok()?.parse::<u64>().ok());
    request.method == Method::GET
        && response.headers().contains_key(ETAG)
        && len.is_some_and(|len| len <= MAX_KEPT)
}

/// A neighbour's headers that describe the file; nothing else of what it says reaches a browser.
fn only_file_headers<B>(response: Response<B>) -> Response<B> {
    const DESCRIBING: [HeaderName; 8] = [
        CONTENT_TYPE,
        CONTENT_LENGTH,
        CONTENT_ENCODING,
        ETAG,
        http::header::LAST_MODIFIED,
        http::header::ACCEPT_RANGES,
        http::header::CONTENT_RANGE,
        http::header::VARY,
    ];
    let (mut parts, body) = response.into_parts();
    let mut headers = HeaderMap::with_capacity(DESCRIBING.len());
    for name in DESCRIBING {
        if let Some(value) = parts.headers.remove(&name) {
            headers.insert(name, value);
        }
    }
    parts.headers = headers;
    parts.extensions.clear();
    Response::from_parts(parts, body)
}

fn answer_from(kept: &KeptAnswer, request: &SiteRequest) -> Response<RemoteBody> {
    let known = request
        .headers
        .get(IF_NONE_MATCH)
        .and_then(|known| known.to_str().ok());
    let unchanged = known
        .zip(kept.etag.to_str().ok())
        .is_some_and(|(known, etag)| matches_etag(known, etag));
    let mut response = Response::new(full(if unchanged {
        Bytes::new()
    } else {
        kept.bytes.clone()
    }));
    *response.headers_mut() = kept.headers.clone();
    if unchanged {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        response.headers_mut().remove(CONTENT_LENGTH);
    }
    response
}

fn full(bytes: Bytes) -> RemoteBody {
    Full::new(bytes)
        .map_err(|never| match never {})
        .boxed_unsync()
}

/// Opens a stream for hyper's client; the host of the URI is the peer's label.
#[derive(Clone)]
struct PeerConnector<D>(D);

impl<D: Dialer> tower::Service<Uri> for PeerConnector<D> {
    type Response = TokioIo<PeerStream<D::Stream>>;
    type Error = DialError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, DialError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), DialError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let dialer = self.0.clone();
        let peer = uri.host().and_then(peer_of_label);
        Box::pin(async move {
            let peer = peer.ok_or_else(|| DialError::Unreachable("no such peer".to_owned()))?;
            dialer
                .open(peer, HTTP)
                .await
                .map(|stream| TokioIo::new(PeerStream(stream)))
        })
    }
}

/// A stream as hyper's client wants it.
struct PeerStream<S>(S);

impl<S> Connection for PeerStream<S> {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for PeerStream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for PeerStream<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }
    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write_vectored(cx, pieces)
    }
    fn is_write_vectored(&self) -> bool {
        self.0.is_write_vectored()
    }
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}
