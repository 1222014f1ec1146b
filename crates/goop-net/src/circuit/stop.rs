//! A relay says that somebody calls, over a stream of [`STOP`](super::STOP).

use goop_identity::PeerId;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;

use super::message::{self, Status, Stop};
use super::{CircuitError, DEADLINE, Limit};

/// CONNECT on the wire.
const CONNECT: i32 = 0;
/// STATUS on the wire.
const STATUS: i32 = 1;

/// Somebody calls through a relay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Call {
    /// Who, as the relay says; the handshake over the circuit proves it.
    pub from: PeerId,
    /// What the circuit may carry.
    pub limit: Limit,
}

/// Reads who calls.
///
/// # Errors
/// See [`CircuitError`]; for a request that makes no sense the relay was told so.
pub async fn hear<S>(stream: &mut S) -> Result<Call, CircuitError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let request = timeout(DEADLINE, message::read::<_, Stop>(stream))
        .await
        .map_err(|_| CircuitError::TimedOut)??;
    let from = request
        .peer
        .filter(|_| request.kind == CONNECT)
        .and_then(|peer| PeerId::from_bytes(&peer.id).ok());
    match from {
        Some(from) => Ok(Call {
            from,
            limit: request.limit.map(Limit::from).unwrap_or_default(),
        }),
        None => {
            answer(stream, Status::MalformedMessage).await?;
            Err(CircuitError::Malformed("it names nobody who calls"))
        }
    }
}

/// Says yes or no. After [`Status::Ok`] the stream is the circuit.
///
/// # Errors
/// When the stream fails or the relay does not read.
pub async fn answer<S>(stream: &mut S, status: Status) -> Result<(), CircuitError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let message = Stop {
        kind: STATUS,
        status: Some(status.code()),
        ..Stop::default()
    };
    Ok(timeout(DEADLINE, message::write(stream, &message))
        .await
        .map_err(|_| CircuitError::TimedOut)??)
}
