//! Questions to peers that are connected to the relay: how they are, and whether they still have their circuit
//! (rendezvous.md 11.5 and 11.6).

use std::time::Duration;

use futures::{AsyncRead, AsyncReadExt};
use goop_identity::PeerId;
use libp2p::StreamProtocol;
use serde_json::{Map, Value, json};
use tokio::time::timeout;

use super::{Link, Relay};

const DIAG: StreamProtocol = StreamProtocol::new("/goop/diag/1.0.0");
const REFRESH: StreamProtocol = StreamProtocol::new("/goop/relay-refresh/1.0.0");
/// How long a question may take, stream included (rendezvous.md 11.5).
const ASK_WITHIN: Duration = Duration::from_secs(3);
/// Largest answer about how a peer is, in bytes (rendezvous.md 11.5).
const MAX_DIAG: usize = 64 * 1024;
/// Largest answer about its circuit, in bytes (rendezvous.md 11.6).
const MAX_REFRESH: usize = 4 * 1024;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AskError {
    /// It has no connection to the relay. The text is the Go program's.
    #[error("peer not connected to relay")]
    NotConnected,
    /// The stream failed.
    #[error("{0}")]
    Stream(String),
    /// The answer is no JSON object, or too long.
    #[error("{0}")]
    Answer(String),
}

impl Relay {
    async fn links_of(&self, peer: PeerId) -> Result<Vec<Link>, AskError> {
        let mut links = self.links().await;
        links.retain(|link| link.peer == peer);
        if links.is_empty() {
            return Err(AskError::NotConnected);
        }
        Ok(links)
    }

    async fn ask(
        &self,
        peer: PeerId,
        protocol: StreamProtocol,
        most: usize,
    ) -> Result<Map<String, Value>, AskError> {
        let mut streams = self.streams.clone();
        let asked = async {
            let stream = streams
                .open_stream(peer, protocol)
                .await
                .map_err(|error| AskError::Stream(error.to_string()))?;
            read(stream, most).await
        };
        match timeout(ASK_WITHIN, asked).await {
            Ok(answer) => answer,
            Err(_) => Err(AskError::Stream("no answer in time".to_owned())),
        }
    }

    /// How a peer is, with what the relay sees of it (rendezvous.md 11.5).
    pub(crate) async fn diagnose(&self, peer: PeerId, name: &str) -> Result<Value, AskError> {
        let links = self.links_of(peer).await?;
        let view: Vec<Value> = links
            .iter()
            .map(|link| {
                json!({"addr": link.addr.to_string(), "dir": direction(link),
                    "age": go_duration(link.since.elapsed()), "streams": 0})
            })
            .collect();
        let mut answer = match self.ask(peer, DIAG, MAX_DIAG).await {
            Ok(answer) => answer,
            Err(AskError::Answer(problem)) => {
                return Ok(json!({"decode_error": problem, "name": name, "relay_view": view}));
            }
            Err(problem) => {
                return Ok(json!({"peer_id": peer.to_base58(), "name": name,
                    "relay_view": view, "stream_error": problem.to_string()}));
            }
        };
        answer.insert("name".to_owned(), json!(name));
        answer.insert("relay_view".to_owned(), Value::Array(view));
        Ok(Value::Object(answer))
    }

    /// Asks a peer to see to its circuit (rendezvous.md 11.6).
    pub(crate) async fn pulse(&self, peer: PeerId) -> Result<Value, AskError> {
        self.links_of(peer).await?;
        match self.ask(peer, REFRESH, MAX_REFRESH).await {
            Ok(answer) => Ok(Value::Object(answer)),
            Err(AskError::Answer(problem)) => Ok(json!({"ok": false, "error": problem})),
            Err(problem) => Err(problem),
        }
    }
}

/// `inbound` or `outbound`.
pub(crate) fn direction(link: &Link) -> &'static str {
    if link.outbound { "outbound" } else { "inbound" }
}

async fn read(stream: impl AsyncRead + Unpin, most: usize) -> Result<Map<String, Value>, AskError> {
    let mut bytes = Vec::new();
    stream
        .take(most as u64 + 1)
        .read_to_end(&mut bytes)
        .await
        .map_err(|error| AskError::Stream(error.to_string()))?;
    decode(&bytes, most)
}

/// The first JSON value, which must be an object.
pub(crate) fn decode(bytes: &[u8], most: usize) -> Result<Map<String, Value>, AskError> {
    if bytes.len() > most {
        return Err(AskError::Answer(format!("more than {most} bytes")));
    }
    match serde_json::from_slice(bytes) {
        Ok(Value::Object(answer)) => Ok(answer),
        Ok(_) => Err(AskError::Answer("not an object".to_owned())),
        Err(error) => Err(AskError::Answer(error.to_string())),
    }
}

/// A duration in whole seconds, as Go writes it: `1h2m3s`.
pub(crate) fn go_duration(time: Duration) -> String {
    let seconds = time.as_secs();
    let (h, m, s) = (seconds / 3_600, seconds / 60 % 60, seconds % 60);
    match (h, m) {
        (0, 0) => format!("{s}s"),
        (0, m) => format!("{m}m{s}s"),
        (h, m) => format!("{h}h{m}m{s}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_bytes_are_an_answer_or_a_reason() {
        assert!(decode(b"{\"ok\":true}\n", 100).is_ok());
        assert!(decode(b"{\"ok\":true}\n", 5).is_err());
        assert!(decode(b"[]", 100).is_err());
        assert_eq!(go_duration(Duration::from_secs(90)), "1m30s");
    }
}
