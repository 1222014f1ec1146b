//! Asking one server: HTTP and HTTPS, through a proxy where the environment names one (`HTTPS_PROXY`, `HTTP_PROXY`,
//! `ALL_PROXY`, `NO_PROXY`), with a bound and a deadline on everything.
//!
//! Names are resolved at each connection by the system, so a server that moves is found again, and both address
//! families are tried.

use std::sync::OnceLock;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, CONNECTION, CONTENT_TYPE, HOST, UPGRADE, USER_AGENT};
use http::{Method, Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::proxy::Tunnel;
use hyper_util::client::proxy::matcher::Matcher;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use rustls::ClientConfig;
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::client::generate_key;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};
use url::Url;

use crate::client::Failure;

/// A whole request and its answer (rendezvous.md 18.1).
pub(super) const REST: Duration = Duration::from_secs(5);
/// Connecting, the TLS handshake and the upgrade to a socket (rendezvous.md 18.5).
pub(super) const HANDSHAKE: Duration = Duration::from_secs(5);
/// Connecting alone. Two families are tried within it.
const CONNECT: Duration = Duration::from_secs(4);
/// A kept connection without use is closed; a heartbeat comes every 5 or 10 s.
const IDLE: Duration = Duration::from_secs(30);
/// Largest JSON answer that is read.
const MAX_ANSWER: usize = 64 * 1024;
/// Largest message on a socket (rendezvous.md 6.2); the Go server sends records of up to 20 addresses, far less.
const MAX_FRAME: usize = 64 * 1024;

/// An open socket.
pub(super) type Socket = WebSocketStream<TokioIo<hyper::upgrade::Upgraded>>;

/// Why a server could not be asked.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// The address makes no sense.
    #[error("{0}")]
    Address(String),
    /// No answer in time.
    #[error("no answer within {} s", .0.as_secs())]
    Late(Duration),
    /// The connection failed.
    #[error("{0}")]
    Connection(String),
    /// It answered with a status that says no.
    #[error("the server answered {0}")]
    Status(StatusCode),
    /// The answer is larger than anything sensible, or breaks off.
    #[error("the answer cannot be read")]
    Body,
    /// The answer to the upgrade is not one.
    #[error("the server does not speak WebSocket")]
    NotASocket,
}

impl HttpError {
    /// What the client does about it.
    pub(super) fn failure(&self) -> Failure {
        match self {
            Self::Status(status) => match status.as_u16() {
                425 => Failure::Unknown,
                403 | 404 | 405 | 501 => Failure::Unsupported,
                _ => Failure::Other,
            },
            Self::NotASocket => Failure::Unsupported,
            Self::Address(_) | Self::Late(_) | Self::Connection(_) | Self::Body => Failure::Other,
        }
    }
}

type Body = Full<Bytes>;

#[derive(Debug, Clone)]
enum Pool {
    Direct(Client<HttpsConnector<HttpConnector>, Body>),
    Proxied(Client<HttpsConnector<Tunnel<HttpConnector>>, Body>),
}

/// One server.
#[derive(Debug, Clone)]
pub(super) struct Http {
    pool: Pool,
    base: Url,
}

impl Http {
    /// A client of the server at `base`.
    ///
    /// # Errors
    /// [`HttpError::Address`] when it is no http or https address with a host.
    pub(super) fn new(base: &str) -> Result<Self, HttpError> {
        let base = parse_base(base)?;
        let mut connector = HttpConnector::new();
        connector.enforce_http(false);
        connector.set_connect_timeout(Some(CONNECT));
        connector.set_nodelay(true);
        let proxy = if is_loopback(&base) {
            None
        } else {
            let uri: Uri = as_uri(&base)?;
            Matcher::from_env().intercept(&uri)
        };
        let tls = if base.scheme() == "https" {
            with_roots()
        } else {
            without_roots()
        };
        let pool = match proxy {
            None => Pool::Direct(pool(wrap(connector, tls))),
            Some(proxy) => {
                let mut tunnel = Tunnel::new(proxy.uri().clone(), connector);
                if let Some(auth) = proxy.basic_auth() {
                    tunnel = tunnel.with_auth(auth.clone());
                }
                Pool::Proxied(pool(wrap(tunnel, tls)))
            }
        };
        Ok(Self { pool, base })
    }

    /// The address, without a slash at the end.
    pub(super) fn base(&self) -> &str {
        self.base.as_str().trim_end_matches('/')
    }

    fn uri(&self, path: &str) -> Result<Uri, HttpError> {
        format!("{}{path}", self.base())
            .parse()
            .map_err(|_| HttpError::Address(format!("{path} is no path")))
    }

    async fn send(
        &self,
        request: Request<Body>,
        within: Duration,
    ) -> Result<Response<Incoming>, HttpError> {
        let sent = async {
            match &self.pool {
                Pool::Direct(pool) => pool.request(request).await,
                Pool::Proxied(pool) => pool.request(request).await,
            }
        };
        match timeout(within, sent).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => Err(HttpError::Connection(in_words(&error))),
            Err(_) => Err(HttpError::Late(within)),
        }
    }

    /// Asks and reads the whole answer.
    pub(super) async fn ask(
        &self,
        method: Method,
        path: &str,
        body: Vec<u8>,
        within: Duration,
    ) -> Result<(StatusCode, Bytes), HttpError> {
        let request = Request::builder()
            .method(method)
            .uri(self.uri(path)?)
            .header(USER_AGENT, AGENT)
            .header(CONTENT_TYPE, "application/json")
            .body(Full::new(Bytes::from(body)))
            .map_err(|error| HttpError::Address(error.to_string()))?;
        let whole = async {
            let answer = self.send(request, within).await?;
            let status = answer.status();
            let body = Limited::new(answer.into_body(), MAX_ANSWER).collect().await;
            Ok((status, body.map_err(|_| HttpError::Body)?.to_bytes()))
        };
        timeout(within, whole)
            .await
            .unwrap_or(Err(HttpError::Late(within)))
    }

    /// Opens the event stream; its body is for the caller to read.
    pub(super) async fn events(&self) -> Result<Incoming, HttpError> {
        let request = Request::builder()
            .uri(self.uri("/events")?)
            .header(USER_AGENT, AGENT)
            .header(ACCEPT, "text/event-stream")
            .body(Full::default())
            .map_err(|error| HttpError::Address(error.to_string()))?;
        let answer = self.send(request, HANDSHAKE).await?;
        if answer.status().is_success() {
            Ok(answer.into_body())
        } else {
            Err(HttpError::Status(answer.status()))
        }
    }

    /// Opens a socket at `path`.
    pub(super) async fn socket(&self, path: &str) -> Result<Socket, HttpError> {
        timeout(HANDSHAKE, self.upgrade(path))
            .await
            .unwrap_or(Err(HttpError::Late(HANDSHAKE)))
    }

    async fn upgrade(&self, path: &str) -> Result<Socket, HttpError> {
        let key = generate_key();
        let uri = self.uri(path)?;
        let host = uri.authority().map(ToString::to_string).unwrap_or_default();
        let request = Request::builder()
            .uri(uri)
            .header(HOST, host)
            .header(USER_AGENT, AGENT)
            .header(CONNECTION, "Upgrade")
            .header(UPGRADE, "websocket")
            .header("sec-websocket-version", "13")
            .header("sec-websocket-key", &key)
            .body(Full::default())
            .map_err(|error| HttpError::Address(error.to_string()))?;
        let answer = self.send(request, HANDSHAKE).await?;
        if answer.status() != StatusCode::SWITCHING_PROTOCOLS {
            return Err(HttpError::Status(answer.status()));
        }
        let accepted = answer.headers().get("sec-websocket-accept");
        if accepted.is_none_or(|accepted| {
            accepted.as_bytes() != derive_accept_key(key.as_bytes()).as_bytes()
        }) {
            return Err(HttpError::NotASocket);
        }
        let upgraded = hyper::upgrade::on(answer)
            .await
            .map_err(|error| HttpError::Connection(error.to_string()))?;
        let limits = WebSocketConfig::default()
            .max_message_size(Some(MAX_FRAME))
            .max_frame_size(Some(MAX_FRAME));
        Ok(
            WebSocketStream::from_raw_socket(TokioIo::new(upgraded), Role::Client, Some(limits))
                .await,
        )
    }
}

const AGENT: &str = concat!("goop2-rust/", env!("CARGO_PKG_VERSION"));

/// Reads the address of a server as people write it (rendezvous.md 1, `rendezvous_wan`).
pub(super) fn parse_base(text: &str) -> Result<Url, HttpError> {
    let refuse = |why: &str| HttpError::Address(format!("“{text}” {why}"));
    let url = Url::parse(text.trim()).map_err(|_| {
        refuse("is no address of a rendezvous server; it looks like https://example.org")
    })?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(refuse("must begin with http:// or https://"));
    }
    if url.host().is_none() || !url.username().is_empty() || url.password().is_some() {
        return Err(refuse(
            "must be a host without a name or password before it",
        ));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(refuse("must not have a question mark or a hash"));
    }
    Ok(url)
}

fn as_uri(url: &Url) -> Result<Uri, HttpError> {
    url.as_str()
        .parse()
        .map_err(|_| HttpError::Address(format!("“{url}” is no address")))
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(url::Host::Ipv4(ip)) => ip.is_loopback(),
        Some(url::Host::Ipv6(ip)) => ip.is_loopback(),
        Some(url::Host::Domain(name)) => name.eq_ignore_ascii_case("localhost"),
        None => false,
    }
}

fn pool<C>(connector: C) -> Client<C, Body>
where
    C: hyper_util::client::legacy::connect::Connect + Clone,
{
    Client::builder(TokioExecutor::new())
        .pool_idle_timeout(IDLE)
        .pool_timer(TokioTimer::new())
        .pool_max_idle_per_host(2)
        .build(connector)
}

fn wrap<C>(connector: C, tls: ClientConfig) -> HttpsConnector<C> {
    HttpsConnectorBuilder::new()
        .with_tls_config(tls)
        .https_or_http()
        .enable_http1()
        .wrap_connector(connector)
}

/// The certificates this machine trusts (`SSL_CERT_FILE` and `SSL_CERT_DIR` are obeyed); on a machine without any,
/// those that browsers trust. Read once, and only when somebody asks for https.
fn with_roots() -> ClientConfig {
    static ROOTS: OnceLock<ClientConfig> = OnceLock::new();
    ROOTS
        .get_or_init(|| {
            let mut roots = rustls::RootCertStore::empty();
            let found = rustls_native_certs::load_native_certs();
            for error in &found.errors {
                tracing::debug!(%error, "a certificate of the system cannot be read");
            }
            roots.add_parsable_certificates(found.certs);
            if roots.is_empty() {
                roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
            }
            tls_config(roots)
        })
        .clone()
}

/// For a server without TLS: trusts nobody, so that an unexpected redirect to TLS fails.
fn without_roots() -> ClientConfig {
    tls_config(rustls::RootCertStore::empty())
}

fn tls_config(roots: rustls::RootCertStore) -> ClientConfig {
    let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
    ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("the provider has the protocol versions that rustls calls safe")
        .with_root_certificates(roots)
        .with_no_client_auth()
}

/// What failed at the bottom; the layers above it only say “client error (Connect)”.
fn in_words(error: &(dyn std::error::Error + 'static)) -> String {
    let mut deepest: &(dyn std::error::Error + 'static) = error;
    while let Some(source) = deepest.source() {
        deepest = source;
    }
    deepest.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_as_people_write_them() {
        for (text, base) in [
            ("https://goop.example", "https://goop.example"),
            (" https://goop.example/ ", "https://goop.example"),
            ("http://192.0.2.7:8787", "http://192.0.2.7:8787"),
            ("http://[::1]:8787/", "http://[::1]:8787"),
            ("https://example.org/goop//", "https://example.org/goop"),
        ] {
            let http = Http::new(text).expect(text);
            assert_eq!(http.base(), base);
        }
        for text in [
            "",
            "goop.example",
            "ftp://goop.example",
            "https://me:secret@goop.example",
            "https://goop.example?x=1",
            "https://",
        ] {
            assert!(Http::new(text).is_err(), "{text}");
        }
    }

    #[test]
    fn what_to_do_follows_from_the_status() {
        for (status, failure) in [
            (425, Failure::Unknown),
            (404, Failure::Unsupported),
            (403, Failure::Unsupported),
            (405, Failure::Unsupported),
            (501, Failure::Unsupported),
            (429, Failure::Other),
            (500, Failure::Other),
            (302, Failure::Other),
        ] {
            let status = StatusCode::from_u16(status).expect("a status");
            assert_eq!(HttpError::Status(status).failure(), failure);
        }
    }
}
