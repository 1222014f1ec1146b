//! Asking other HTTP servers: services and rendezvous servers that the owner named. All answers are JSON, and what they
//! say is somebody else's.

mod web;

use std::sync::Arc;
use std::time::Duration;

use goop_http::{Answer, Ask, Http, HttpError, Server};
use http::StatusCode;
use serde::Serialize;
use serde_json::{Map, Value};

pub(crate) use web::Web;

/// How long all questions for one answer to a page may take (viewer-api.md 2.1).
pub(crate) const DEADLINE: Duration = Duration::from_secs(3);
/// Most bytes of an error of another server that are shown.
const MAX_ERROR: usize = 300;

/// What a server said.
#[derive(Debug)]
pub(crate) struct Heard(Answer);

impl Heard {
    pub(crate) fn status(&self) -> StatusCode {
        self.0.status
    }

    /// The answer as a JSON object.
    pub(crate) fn object(&self) -> Option<Map<String, Value>> {
        serde_json::from_slice(&self.0.body).ok()
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

/// Asks servers. Questions are rare; no connection is kept for the next one.
#[derive(Clone)]
pub(crate) struct Outgoing {
    agent: Arc<str>,
}

impl Outgoing {
    /// `version` is what servers are told about this program.
    pub(crate) fn new(version: &str) -> Self {
        Self {
            agent: format!("goop2-rs/{version}").into(),
        }
    }

    /// `GET <server><path>`.
    pub(crate) async fn get(
        &self,
        server: &Server,
        path: &str,
        query: &[(&str, &str)],
    ) -> Result<Heard, HttpError> {
        let ask = Ask {
            query,
            ..Ask::get(path)
        };
        self.ask(server, ask).await
    }

    /// `POST <server><path>` with a JSON body.
    pub(crate) async fn post(
        &self,
        server: &Server,
        path: &str,
        body: &impl Serialize,
    ) -> Result<Heard, HttpError> {
        let body =
            serde_json::to_vec(body).map_err(|error| HttpError::Address(error.to_string()))?;
        self.ask(server, Ask::post(path, body)).await
    }

    async fn ask(&self, server: &Server, ask: Ask<'_>) -> Result<Heard, HttpError> {
        let ask = Ask {
            within: DEADLINE,
            ..ask
        };
        Http::new(server, &self.agent)?.ask(ask).await.map(Heard)
    }
}
