//! One attempt to bring a message to a peer. [`Carrier`] is the border of the sender: a kept, pipelined stream among our
//! own peers will be another one.

use std::future::Future;

use goop_identity::PeerId;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};

use crate::wire::{Ack, MAX_ACK, Message, NoBudget, PROTOCOL, read_object, write};

/// Opens streams to peers: what this crate needs of a network, and all it knows of one.
pub trait Dialer: Clone + Send + Sync + 'static {
    /// A stream.
    type Stream: AsyncRead + AsyncWrite + Send + Unpin + 'static;

    /// Opens a stream for one protocol. The error is for people.
    fn open(
        &self,
        peer: PeerId,
        protocol: &'static str,
    ) -> impl Future<Output = Result<Self::Stream, DialError>> + Send;
}

/// Why no stream came.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DialError {
    /// The peer is there and does not speak the protocol.
    #[error("the peer does not speak this protocol")]
    NotSpoken,
    /// The peer is not there, or not reachable from here; the text says more.
    #[error("{0}")]
    Unreachable(String),
}

/// Why a message was not acknowledged. The texts are those that clients of the Go program know (mq.md 1.6).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CarryError {
    /// No stream.
    #[error("mq: open stream to {0}: {1}")]
    Open(PeerId, DialError),
    /// It broke off while writing.
    #[error("mq: encode msg: {0}")]
    Write(String),
    /// No acknowledgement.
    #[error("mq: waiting for ack from {0}: {1}")]
    NoAck(PeerId, String),
    /// The acknowledgement of something else.
    #[error("mq: ack id mismatch (got {got}, want {want})")]
    OtherAck {
        /// What was acknowledged.
        got: String,
        /// What was sent.
        want: String,
    },
}

impl CarryError {
    /// Whether trying again soon may help.
    #[must_use]
    pub fn may_pass(&self) -> bool {
        !matches!(self, Self::Open(_, DialError::NotSpoken))
    }
}

/// Brings messages to peers. The caller sets the deadline by dropping the future.
pub trait Carrier: Clone + Send + Sync + 'static {
    /// Brings one message to a peer and waits until it is acknowledged.
    fn carry(
        &self,
        peer: PeerId,
        message: &Message,
    ) -> impl Future<Output = Result<(), CarryError>> + Send;
}

/// `/goop/mq/1.0.0`: a stream for each message.
#[derive(Debug, Clone)]
pub struct Streams<D>(pub D);

impl<D: Dialer> Carrier for Streams<D> {
    async fn carry(&self, peer: PeerId, message: &Message) -> Result<(), CarryError> {
        let opened = self.0.open(peer, PROTOCOL).await;
        let mut stream = opened.map_err(|error| CarryError::Open(peer, error))?;
        exchange(peer, &mut stream, message).await?;
        // The message is acknowledged; how the stream ends changes nothing.
        let _ = stream.shutdown().await;
        Ok(())
    }
}

/// Writes a message and reads its acknowledgement, without closing in between.
///
/// # Errors
/// See [`CarryError`].
pub async fn exchange<S>(peer: PeerId, stream: &mut S, message: &Message) -> Result<(), CarryError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    write(stream, &message.encode())
        .await
        .map_err(|error| CarryError::Write(error.to_string()))?;
    let no_ack = |error: &dyn std::fmt::Display| CarryError::NoAck(peer, error.to_string());
    let bytes = read_object(stream, MAX_ACK, &mut NoBudget)
        .await
        .map_err(|error| no_ack(&error))?;
    let ack = Ack::decode(&bytes).map_err(|error| no_ack(&error))?;
    if ack.id != message.id {
        return Err(CarryError::OtherAck {
            got: ack.id.to_string(),
            want: message.id.to_string(),
        });
    }
    Ok(())
}
