//! `/goop/relay-refresh/1.0.0`, the pulse: the relay asks a peer whether it can be reached through it, and to see to it
//! (network.md 7.7). The Go program answers everybody, and dies of it without a relay (weak point 1).

use std::future::Future;
use std::io;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;

use crate::PeerId;

/// The protocol id.
pub const PROTOCOL: &str = "/goop/relay-refresh/1.0.0";
/// Longest answer in bytes; a rendezvous reads no more (network.md 7, summary).
pub const MAX_ANSWER: usize = 4_096;
/// How long one answer may take in either direction: the relay waits for what a nudge brings.
pub const DEADLINE: Duration = Duration::from_secs(10);

/// The answer. Its fields stand in the order they have on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pulse {
    /// The peer can be reached through the relay.
    #[serde(default)]
    pub has_circuit: bool,
    /// The same.
    #[serde(default)]
    pub ok: bool,
    /// Only after a nudge: it goes on trying.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recovering: Option<bool>,
}

impl Pulse {
    /// All was well.
    #[must_use]
    pub fn fine() -> Self {
        Self {
            has_circuit: true,
            ok: true,
            recovering: None,
        }
    }

    /// After a nudge.
    #[must_use]
    pub fn nudged(has_circuit: bool) -> Self {
        Self {
            has_circuit,
            ok: has_circuit,
            recovering: Some(!has_circuit),
        }
    }
}

/// Why there was no pulse.
#[derive(Debug, thiserror::Error)]
pub enum PulseError {
    /// The caller is not the relay this peer uses.
    #[error("only the relay this peer uses may ask")]
    NotTheRelay,
    /// It took too long.
    #[error("no answer within {} s", DEADLINE.as_secs())]
    TimedOut,
    /// The answer is not the document, or longer than [`MAX_ANSWER`].
    #[error("the answer makes no sense: {0}")]
    Malformed(#[from] serde_json::Error),
    /// The stream failed.
    #[error("the stream failed: {0}")]
    Io(#[from] io::Error),
}

/// Answers a caller if it is the relay this peer uses; everybody else sees the end of the stream. `pulse` sees to the
/// reservation.
///
/// # Errors
/// See [`PulseError`].
pub async fn serve<S>(
    caller: PeerId,
    mut stream: S,
    relay: Option<PeerId>,
    pulse: impl Future<Output = Pulse>,
) -> Result<(), PulseError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let allowed = relay == Some(caller);
    let answer = async {
        if allowed {
            let mut line = serde_json::to_vec(&pulse.await).map_err(io::Error::other)?;
            line.push(b'\n');
            stream.write_all(&line).await?;
        }
        stream.shutdown().await
    };
    timeout(DEADLINE, answer)
        .await
        .map_err(|_| PulseError::TimedOut)??;
    if allowed {
        Ok(())
    } else {
        Err(PulseError::NotTheRelay)
    }
}

/// Reads the answer at the other end.
///
/// # Errors
/// See [`PulseError`].
pub async fn fetch<S>(stream: S) -> Result<Pulse, PulseError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut answer = Vec::new();
    let mut bounded = stream.take(MAX_ANSWER as u64);
    timeout(DEADLINE, bounded.read_to_end(&mut answer))
        .await
        .map_err(|_| PulseError::TimedOut)??;
    decode(&answer)
}

/// The answer in what was read.
///
/// # Errors
/// [`PulseError::Malformed`]
pub fn decode(answer: &[u8]) -> Result<Pulse, PulseError> {
    Ok(serde_json::from_slice(answer)?)
}
