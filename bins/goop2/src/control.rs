//! Asking the peer that runs on a folder, over its own API and as its owner: `data/control.url` says where, and
//! `data/control.token` proves it.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST};
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;
use tokio::time::timeout;

/// How long the peer may take to answer; a message may take five seconds to be delivered, and a name a moment to be found.
pub(crate) const ANSWER: Duration = Duration::from_secs(15);
/// Longest answer that is read, in bytes: a list of 10,000 peers has half of it.
const MAX_ANSWER: usize = 16 * 1024 * 1024;

/// What a path answers that is not there.
const NO_PAGE: &[u8] = b"404 page not found";

/// A peer that runs, asked by its owner.
pub(crate) struct Control {
    host: String,
    token: String,
}

impl Control {
    /// The peer of a folder.
    pub(crate) fn of(dir: &Path) -> Result<Self, String> {
        let read = |name: &str| {
            fs::read_to_string(dir.join(name)).map_err(|error| {
                let dir = dir.display();
                format!("{dir}/{name} cannot be read ({error}): is that a peer's folder, and does the peer run? `goop2 peer {dir}` starts it")
            })
        };
        let url = read("data/control.url")?;
        // Whatever the file says, the token goes nowhere else.
        let host = url.trim().strip_prefix("http://").filter(|host| {
            let addr = host.parse::<SocketAddr>();
            addr.is_ok_and(|addr| addr.ip().is_loopback())
        });
        Ok(Self {
            host: host
                .ok_or_else(|| format!("data/control.url makes no sense: {url:?}"))?
                .to_owned(),
            token: read("data/control.token")?.trim().to_owned(),
        })
    }

    /// Asks, and gives the answer's head as soon as it is there.
    pub(crate) async fn ask(
        &self,
        method: Method,
        path: &str,
        body: Vec<u8>,
    ) -> Result<Response<Incoming>, String> {
        let gone = |error: &dyn std::fmt::Display| {
            format!("the peer does not answer ({error}): does it run? Its viewer has to be on")
        };
        let stream = TcpStream::connect(&self.host)
            .await
            .map_err(|error| gone(&error))?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|error| gone(&error))?;
        // It ends with the program, or with the answer's last byte.
        tokio::spawn(connection);
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(HOST, &self.host)
            .header(AUTHORIZATION, format!("Bearer {}", self.token))
            .header(CONTENT_TYPE, "application/json")
            .body(Full::new(Bytes::from(body)))
            .map_err(|error| error.to_string())?;
        let asking = sender.send_request(request);
        let answer = timeout(ANSWER, asking)
            .await
            .map_err(|_| gone(&"no answer in time"))?;
        let answer = answer.map_err(|error| gone(&error))?;
        if answer.status() == StatusCode::UNAUTHORIZED {
            return Err(
                "the peer that runs there is another one, or was started anew just now".to_owned(),
            );
        }
        Ok(answer)
    }

    /// Asks and reads the whole answer.
    pub(crate) async fn whole(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Value, String> {
        let body = body.map(Value::to_string).unwrap_or_default();
        let answer = self.ask(method, path, body.into_bytes()).await?;
        let status = answer.status();
        let body = http_body_util::Limited::new(answer.into_body(), MAX_ANSWER);
        let bytes = timeout(ANSWER, body.collect())
            .await
            .map_err(|_| "the peer stopped in the middle of its answer".to_owned())?
            .map_err(|error| error.to_string())?
            .to_bytes();
        if status == StatusCode::NOT_FOUND && bytes.starts_with(NO_PAGE) {
            return Err(format!(
                "what runs there does not offer {path}: it is a rendezvous server without a peer, or another version"
            ));
        }
        if !status.is_success() {
            return Err(String::from_utf8_lossy(&bytes).trim().to_owned());
        }
        serde_json::from_slice(&bytes).map_err(|error| format!("the answer is no JSON: {error}"))
    }
}
