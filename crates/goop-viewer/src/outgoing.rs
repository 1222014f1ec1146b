//! Asking other HTTP servers: services and rendezvous servers that the owner named.
//!
//! One question is one request: no redirect is followed (a server must not send us elsewhere, for example to another
//! program of this machine), nothing but the path we chose is asked for, the answer is small, and all of it has one
//! deadline.

mod web;

use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE, USER_AGENT};
use http::{HeaderValue, Method, Request, StatusCode, Uri};
use http_body_util::{BodyExt, Full, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde::Serialize;
use serde_json::{Map, Value};
use url::Url;

pub(crate) use web::Web;

/// How long all questions for one answer to a page may take (viewer-api.md 2.1).
pub(crate) const DEADLINE: Duration = Duration::from_secs(3);
/// Largest answer. Those that are asked for have a few hundred bytes.
const MAX_ANSWER: usize = 64 * 1024;
/// Longest address of a server.
const MAX_URL: usize = 2 * 1024;
/// Most bytes of an error of another server that are shown.
const MAX_ERROR: usize = 300;

/// The address of a server, without what belongs to one page of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Server(Url);

impl Server {
    /// Reads what a person typed; `None` for what is no web address.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        if text.len() > MAX_URL {
            return None;
        }
        let mut url = Url::parse(text).ok()?;
        let is_web = matches!(url.scheme(), "http" | "https") && url.has_host();
        // Name and password in an address would be sent to whoever answers.
        if !is_web || !url.username().is_empty() || url.password().is_some() {
            return None;
        }
        url.set_query(None);
        url.set_fragment(None);
        Some(Self(url))
    }

    fn at(&self, path: &str, query: &[(&str, &str)]) -> Option<Uri> {
        let mut url = self.0.clone();
        let base = url.path().trim_end_matches('/').to_owned();
        url.set_path(&format!("{base}{path}"));
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        url.as_str().parse().ok()
    }
}

/// What a server said.
#[derive(Debug)]
pub(crate) struct Heard {
    pub(crate) status: StatusCode,
    body: Bytes,
}

impl Heard {
    /// The answer as a JSON object.
    pub(crate) fn object(&self) -> Option<Map<String, Value>> {
        serde_json::from_slice(&self.body).ok()
    }

    /// The text of its `error`, short and on one line: it is somebody else's.
    pub(crate) fn error(&self) -> Option<String> {
        let object = self.object()?;
        let text = object.get("error")?.as_str()?.trim();
        let shown: String = text
            .chars()
            .map(|letter| if letter.is_control() { ' ' } else { letter })
            .take(MAX_ERROR)
            .collect();
        (!shown.is_empty()).then_some(shown)
    }
}

/// Nobody answered, too late, or too much.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Silent(String);

/// Asks servers. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Outgoing {
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    agent: HeaderValue,
}

impl Outgoing {
    /// `version` is what servers are told about this program.
    pub(crate) fn new(version: &str) -> Self {
        let https = HttpsConnectorBuilder::new()
            .with_provider_and_webpki_roots(rustls::crypto::ring::default_provider())
            .expect("the ring provider has suites for TLS 1.2 and 1.3")
            .https_or_http()
            .enable_http1()
            .build();
        let mut client = Client::builder(TokioExecutor::new());
        // Questions are rare; no connection is kept for the next one.
        client.pool_max_idle_per_host(0);
        Self {
            client: client.build(https),
            agent: HeaderValue::from_str(&format!("goop2-rs/{version}"))
                .unwrap_or(HeaderValue::from_static("goop2-rs")),
        }
    }

    /// `GET <server><path>`, with a header where one is given.
    pub(crate) async fn get(
        &self,
        server: &Server,
        path: &str,
        query: &[(&str, &str)],
    ) -> Result<Heard, Silent> {
        self.ask(Method::GET, server.at(path, query), Bytes::new())
            .await
    }

    /// `POST <server><path>` with a JSON body.
    pub(crate) async fn post(
        &self,
        server: &Server,
        path: &str,
        body: &impl Serialize,
    ) -> Result<Heard, Silent> {
        let body = serde_json::to_vec(body).map_err(|error| Silent(error.to_string()))?;
        self.ask(Method::POST, server.at(path, &[]), body.into())
            .await
    }

    async fn ask(&self, method: Method, uri: Option<Uri>, body: Bytes) -> Result<Heard, Silent> {
        let uri = uri.ok_or_else(|| Silent("this is no web address".to_owned()))?;
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = method;
        *request.uri_mut() = uri;
        let headers = request.headers_mut();
        headers.insert(USER_AGENT, self.agent.clone());
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let asked = async {
            let response = self
                .client
                .request(request)
                .await
                .map_err(|error| Silent(cause(&error)))?;
            let (head, body) = response.into_parts();
            let body = Limited::new(body, MAX_ANSWER)
                .collect()
                .await
                .map_err(|error| Silent(error.to_string()))?;
            Ok(Heard {
                status: head.status,
                body: body.to_bytes(),
            })
        };
        tokio::time::timeout(DEADLINE, asked)
            .await
            .unwrap_or_else(|_| Err(Silent("no answer within 3 seconds".to_owned())))
    }
}

/// The innermost cause: the outer ones only say "connect error".
fn cause(error: &dyn std::error::Error) -> String {
    let mut inner = error;
    while let Some(next) = inner.source() {
        inner = next;
    }
    inner.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: Option<&str>) {
        let asked = Server::parse(text).and_then(|server| server.at("/healthz", &[]));
        assert_eq!(
            asked.map(|uri| uri.to_string()).as_deref(),
            expected,
            "{text:?}"
        );
    }

    #[test]
    fn only_web_addresses_are_asked_and_only_the_chosen_path() {
        check("http://a.example", Some("http://a.example/healthz"));
        check(
            " https://a.example/base/?x=1#y ",
            Some("https://a.example/base/healthz"),
        );
        check("http://[::1]:8804//", Some("http://[::1]:8804/healthz"));
        check("ftp://a.example", None);
        check("file:///etc/passwd", None);
        check("http://", None);
        check("a.example", None);
        check("http://me:secret@a.example", None);
        check(&format!("http://{}", "x".repeat(5_000)), None);
    }
}
