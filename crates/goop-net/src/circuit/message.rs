//! The messages of circuit relay v2: protobuf with the length before it, at most [`MAX_MESSAGE`] bytes.

use std::fmt;
use std::io;

use prost::Message;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::CircuitError;

/// Longest message in bytes (network.md 9.2).
pub const MAX_MESSAGE: usize = 4_096;
/// Bytes of a length prefix that can still mean an allowed length.
const MAX_PREFIX: usize = 2;

/// What a relay, or one who is called, says to a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// 100
    Ok,
    /// 200: no room for one more reservation.
    ReservationRefused,
    /// 201: too much is under way.
    ResourceLimitExceeded,
    /// 202
    PermissionDenied,
    /// 203: who is called does not answer.
    ConnectionFailed,
    /// 204: who is called has no reservation there.
    NoReservation,
    /// 400
    MalformedMessage,
    /// 401
    UnexpectedMessage,
    /// Something newer than this program.
    Other(i32),
}

impl Status {
    /// From the number on the wire.
    #[must_use]
    pub fn from_code(code: i32) -> Self {
        match code {
            100 => Self::Ok,
            200 => Self::ReservationRefused,
            201 => Self::ResourceLimitExceeded,
            202 => Self::PermissionDenied,
            203 => Self::ConnectionFailed,
            204 => Self::NoReservation,
            400 => Self::MalformedMessage,
            401 => Self::UnexpectedMessage,
            other => Self::Other(other),
        }
    }

    /// The number on the wire.
    #[must_use]
    pub fn code(self) -> i32 {
        match self {
            Self::Ok => 100,
            Self::ReservationRefused => 200,
            Self::ResourceLimitExceeded => 201,
            Self::PermissionDenied => 202,
            Self::ConnectionFailed => 203,
            Self::NoReservation => 204,
            Self::MalformedMessage => 400,
            Self::UnexpectedMessage => 401,
            Self::Other(code) => code,
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words = match self {
            Self::Ok => "all is well",
            Self::ReservationRefused => "it has no room for another peer",
            Self::ResourceLimitExceeded => "too much is under way there",
            Self::PermissionDenied => "it does not allow it",
            Self::ConnectionFailed => "the peer does not answer it",
            Self::NoReservation => "the peer is not connected to it",
            Self::MalformedMessage => "it could not read the request",
            Self::UnexpectedMessage => "it did not expect the request",
            Self::Other(code) => return write!(f, "status {code}"),
        };
        f.write_str(words)
    }
}

/// Both ends of a hop stream.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct Hop {
    /// 0 RESERVE, 1 CONNECT, 2 STATUS.
    #[prost(int32, required, tag = "1")]
    pub kind: i32,
    /// Who is called.
    #[prost(message, optional, tag = "2")]
    pub peer: Option<Peer>,
    /// What was granted.
    #[prost(message, optional, tag = "3")]
    pub reservation: Option<Reservation>,
    /// What one circuit may carry.
    #[prost(message, optional, tag = "4")]
    pub limit: Option<WireLimit>,
    /// See [`Status`].
    #[prost(int32, optional, tag = "5")]
    pub status: Option<i32>,
}

/// Both ends of a stop stream.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct Stop {
    /// 0 CONNECT, 1 STATUS.
    #[prost(int32, required, tag = "1")]
    pub kind: i32,
    /// Who calls.
    #[prost(message, optional, tag = "2")]
    pub peer: Option<Peer>,
    /// What the circuit may carry.
    #[prost(message, optional, tag = "3")]
    pub limit: Option<WireLimit>,
    /// See [`Status`].
    #[prost(int32, optional, tag = "4")]
    pub status: Option<i32>,
}

/// A peer.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct Peer {
    /// Its id.
    #[prost(bytes = "vec", required, tag = "1")]
    pub id: Vec<u8>,
    /// Where it is; nobody reads it.
    #[prost(bytes = "vec", repeated, tag = "2")]
    pub addrs: Vec<Vec<u8>>,
}

/// What was granted.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct Reservation {
    /// Unix seconds by the relay's clock.
    #[prost(uint64, required, tag = "1")]
    pub expire: u64,
    /// Where the relay is, as it sees itself.
    #[prost(bytes = "vec", repeated, tag = "2")]
    pub addrs: Vec<Vec<u8>>,
    /// Proof for third parties; nobody asks for it.
    #[prost(bytes = "vec", optional, tag = "3")]
    pub voucher: Option<Vec<u8>>,
}

/// What one circuit may carry; 0 and absent are without bound.
#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub struct WireLimit {
    /// Seconds.
    #[prost(uint32, optional, tag = "1")]
    pub duration: Option<u32>,
    /// Bytes in each direction.
    #[prost(uint64, optional, tag = "2")]
    pub data: Option<u64>,
}

impl From<WireLimit> for super::Limit {
    fn from(wire: WireLimit) -> Self {
        Self {
            duration: wire
                .duration
                .filter(|seconds| *seconds > 0)
                .map(|seconds| std::time::Duration::from_secs(seconds.into())),
            bytes: wire.data.filter(|bytes| *bytes > 0),
        }
    }
}

/// The bytes of a message, its length before it.
#[must_use]
pub fn encode(message: &impl Message) -> Vec<u8> {
    message.encode_length_delimited_to_vec()
}

/// Writes a message.
///
/// # Errors
/// When the stream fails.
pub async fn write<S: AsyncWrite + Unpin>(
    stream: &mut S,
    message: &impl Message,
) -> io::Result<()> {
    stream.write_all(&encode(message)).await?;
    stream.flush().await
}

/// Reads a message and not one byte more: what follows is a connection.
///
/// # Errors
/// [`CircuitError::Malformed`] and [`CircuitError::Io`]; an end before the message is one too.
pub async fn read<S, M>(stream: &mut S) -> Result<M, CircuitError>
where
    S: AsyncRead + Unpin,
    M: Message + Default,
{
    read_within(stream, MAX_MESSAGE).await
}

/// As [`read`], for a protocol with another longest message, in bytes; at most 16,383.
///
/// # Errors
/// As [`read`].
pub async fn read_within<S, M>(stream: &mut S, most: usize) -> Result<M, CircuitError>
where
    S: AsyncRead + Unpin,
    M: Message + Default,
{
    let mut length = 0_usize;
    for place in 0..MAX_PREFIX {
        let byte = stream.read_u8().await?;
        length |= usize::from(byte & 0x7f) << (7 * place);
        if byte & 0x80 == 0 {
            if length > most {
                break;
            }
            let mut body = vec![0; length];
            stream.read_exact(&mut body).await?;
            return M::decode(&*body)
                .map_err(|_| CircuitError::Malformed("it is not the message of the protocol"));
        }
    }
    Err(CircuitError::Malformed(
        "it is longer than the protocol allows",
    ))
}
