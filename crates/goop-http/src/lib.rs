//! Asking web servers that somebody named.
//!
//! One question is one request: no redirect is followed (a server must not send us elsewhere, for example to another
//! program of this machine), nothing but the path we chose is asked for, the answer has a largest size, and all of it has
//! one deadline. What is trusted and which proxy is used follows from this machine, not from the caller.
#![doc = include_str!("../README.md")]

mod server;
mod socket;
mod trust;
mod web;

use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE, USER_AGENT};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::proxy::Tunnel;
use hyper_util::client::legacy::connect::{Connect, HttpConnector};
use hyper_util::client::proxy::matcher::Matcher;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::ClientConfig;
use tokio::time::timeout;

pub use server::Server;
pub use socket::Socket;
pub use trust::of_the_machine;
pub use web::Web;

/// Connecting alone. Two address families are tried within it.
const CONNECT: Duration = Duration::from_secs(4);
/// A kept connection without use is closed; heartbeats come every 5 or 10 s.
const IDLE: Duration = Duration::from_secs(30);
/// How long a question and its answer may take, unless the caller says otherwise (rendezvous.md 18.1).
pub const DEADLINE: Duration = Duration::from_secs(5);
/// Largest answer, unless the caller says otherwise, in bytes. Those of servers have a few hundred.
pub const MAX_ANSWER: usize = 64 * 1024;

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
    /// The answer is larger than asked for, or breaks off.
    #[error("the answer cannot be read")]
    Body,
    /// The answer to the upgrade is not one.
    #[error("the server does not speak WebSocket")]
    NotASocket,
}

/// One question.
#[derive(Debug, Clone)]
pub struct Ask<'a> {
    /// `GET` or `POST`.
    pub method: Method,
    /// Path below the server's address, with a slash before it.
    pub path: &'a str,
    /// What stands behind the question mark, not yet encoded.
    pub query: &'a [(&'a str, &'a str)],
    /// JSON.
    pub body: Bytes,
    /// How long all of it may take.
    pub within: Duration,
    /// Largest answer in bytes.
    pub largest: usize,
}

impl<'a> Ask<'a> {
    /// A `GET` with the usual limits.
    #[must_use]
    pub fn get(path: &'a str) -> Self {
        Self {
            method: Method::GET,
            path,
            query: &[],
            body: Bytes::new(),
            within: DEADLINE,
            largest: MAX_ANSWER,
        }
    }

    /// A `POST` of JSON with the usual limits.
    #[must_use]
    pub fn post(path: &'a str, body: Vec<u8>) -> Self {
        Self {
            method: Method::POST,
            body: body.into(),
            ..Self::get(path)
        }
    }
}

/// What a server said.
#[derive(Debug, Clone)]
pub struct Answer {
    /// Its status.
    pub status: StatusCode,
    /// All of its body.
    pub body: Bytes,
}

/// A body that is sent.
type Body = Full<Bytes>;

#[derive(Debug, Clone)]
enum Pool {
    Direct(Client<HttpsConnector<HttpConnector>, Body>),
    Proxied(Client<HttpsConnector<Tunnel<HttpConnector>>, Body>),
}

/// One server, and the connections to it. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Http {
    pool: Pool,
    server: Server,
    agent: HeaderValue,
}

impl Http {
    /// A client of `server`, which is told `agent` about this program. Names are resolved at each connection by the
    /// system, so a server that moves is found again, and both address families are tried. A proxy of the environment
    /// (`HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY`, `NO_PROXY`) is used for all but this machine.
    ///
    /// # Errors
    /// [`HttpError::Address`] when `agent` cannot stand in a header.
    pub fn new(server: &Server, agent: &str) -> Result<Self, HttpError> {
        let tls = if server.is_secure() {
            trust::with_roots()
        } else {
            // An unexpected way to TLS fails.
            trust::without_roots()
        };
        Self::trusting(server, agent, tls)
    }

    fn trusting(server: &Server, agent: &str, tls: ClientConfig) -> Result<Self, HttpError> {
        let agent = agent
            .parse()
            .map_err(|_| HttpError::Address(format!("“{agent}” is no name of a program")))?;
        let mut connector = HttpConnector::new();
        connector.enforce_http(false);
        connector.set_connect_timeout(Some(CONNECT));
        connector.set_nodelay(true);
        let proxy = if server.is_loopback() {
            None
        } else {
            Matcher::from_env().intercept(&server.uri("", &[])?)
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
        Ok(Self {
            pool,
            server: server.clone(),
            agent,
        })
    }

    /// The server.
    #[must_use]
    pub fn server(&self) -> &Server {
        &self.server
    }

    /// Opens a stream, such as one of events; its body is for the caller to read and to bound.
    ///
    /// # Errors
    /// See [`HttpError`]; [`HttpError::Status`] unless the server agrees.
    pub async fn stream(
        &self,
        path: &str,
        accept: &'static str,
        within: Duration,
    ) -> Result<Incoming, HttpError> {
        let mut request = Request::new(Body::default());
        *request.uri_mut() = self.server.uri(path, &[])?;
        request
            .headers_mut()
            .insert(ACCEPT, HeaderValue::from_static(accept));
        let answer = self.deliver(request, within).await?;
        if answer.status().is_success() {
            Ok(answer.into_body())
        } else {
            Err(HttpError::Status(answer.status()))
        }
    }

    async fn deliver(
        &self,
        mut request: Request<Body>,
        within: Duration,
    ) -> Result<Response<Incoming>, HttpError> {
        request.headers_mut().insert(USER_AGENT, self.agent.clone());
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
    ///
    /// # Errors
    /// See [`HttpError`]; never [`HttpError::Status`].
    pub async fn ask(&self, ask: Ask<'_>) -> Result<Answer, HttpError> {
        let mut request = Request::new(Full::new(ask.body));
        *request.method_mut() = ask.method;
        *request.uri_mut() = self.server.uri(ask.path, ask.query)?;
        request
            .headers_mut()
            .insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let whole = async {
            let answer = self.deliver(request, ask.within).await?;
            let status = answer.status();
            let body = Limited::new(answer.into_body(), ask.largest);
            let body = body.collect().await.map_err(|_| HttpError::Body)?;
            Ok(Answer {
                status,
                body: body.to_bytes(),
            })
        };
        timeout(ask.within, whole)
            .await
            .unwrap_or(Err(HttpError::Late(ask.within)))
    }
}

fn pool<C: Connect + Clone>(connector: C) -> Client<C, Body> {
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

/// What failed at the bottom; the layers above it only say “client error (Connect)”.
fn in_words(error: &(dyn std::error::Error + 'static)) -> String {
    let mut deepest: &(dyn std::error::Error + 'static) = error;
    while let Some(source) = deepest.source() {
        deepest = source;
    }
    deepest.to_string()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::net::SocketAddr;
    use std::sync::Arc;

    use rustls::pki_types::{CertificateDer, PrivateKeyDer};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;
    use tokio_rustls::TlsAcceptor;

    use super::*;

    /// A server that reads one head and says `answer`, for each connection.
    async fn plain(answer: &'static [u8]) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut head = [0; 1024];
                let _ = stream.read(&mut head).await;
                let _ = stream.write_all(answer).await;
                // Open until the other side closes.
                let _ = stream.read(&mut head).await;
            }
        });
        addr
    }

    fn http(addr: SocketAddr) -> Http {
        let server = Server::parse(&format!("http://{addr}")).unwrap();
        Http::new(&server, "test").unwrap()
    }

    #[tokio::test]
    async fn a_redirect_is_an_answer_like_any_other() {
        let addr = plain(
            b"HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 2\r\n\r\nno",
        )
        .await;
        let answer = http(addr).ask(Ask::get("/")).await.unwrap();
        assert_eq!(
            (answer.status.as_u16(), &answer.body[..]),
            (302, &b"no"[..])
        );
    }

    #[tokio::test]
    async fn a_large_answer_is_refused() {
        let addr = plain(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nnine byte").await;
        let mut ask = Ask::get("/");
        ask.largest = 8;
        let error = http(addr).ask(ask.clone()).await.unwrap_err();
        assert!(matches!(error, HttpError::Body), "{error:?}");
        ask.largest = 9;
        assert_eq!(http(addr).ask(ask).await.unwrap().body, "nine byte");
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_says_nothing_or_half_is_late() {
        for answer in [
            &b""[..],
            b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nnine",
        ] {
            let addr = plain(answer).await;
            let error = http(addr).ask(Ask::get("/")).await.unwrap_err();
            assert!(matches!(error, HttpError::Late(DEADLINE)), "{error:?}");
        }
    }

    #[tokio::test]
    async fn who_is_trusted_follows_from_the_certificates_given() {
        let rcgen::CertifiedKey { cert, signing_key } =
            rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let certificate: CertificateDer<'static> = cert.der().clone();
        let key = PrivateKeyDer::try_from(signing_key.serialize_der()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.clone()], key)
            .unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let Ok(mut stream) = acceptor.accept(stream).await else {
                    continue;
                };
                let mut head = [0; 1024];
                let _ = stream.read(&mut head).await;
                let answer = b"HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n";
                let _ = stream.write_all(answer).await;
                let _ = stream.shutdown().await;
            }
        });
        let server = Server::parse(&format!("https://localhost:{port}")).unwrap();
        let trusting =
            |certificates| Http::trusting(&server, "test", trust::trusting(certificates)).unwrap();
        let stranger = trusting(Vec::new()).ask(Ask::get("/")).await.unwrap_err();
        assert!(stranger.to_string().contains("UnknownIssuer"), "{stranger}");
        let known = trusting(vec![certificate]).ask(Ask::get("/")).await;
        assert_eq!(known.unwrap().status, StatusCode::NO_CONTENT);
    }
}
