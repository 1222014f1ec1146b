//! AutoNAT v2: a peer asks others to dial one of its addresses back, and so learns whether strangers reach it there.
//!
//! Whoever wants to know opens [`REQUEST`] and [`ask`]s; the other side [`serve`]s it, dials, and proves over the new
//! connection that it came through ([`dial_back`], which the one who asked [`hear`]s). All are functions over a stream. What
//! of our addresses is worth asking about, and whom, is a value ([`checks`]), and so is how often we dial for others
//! ([`budget`]). The library's own behaviours dial whatever address is paid for, as often as somebody asks, and believe one
//! answer for ever (docs/decisions/0012).

pub mod budget;
pub mod checks;
mod serve;

use std::io;
use std::time::Duration;

use libp2p::{Multiaddr, StreamProtocol};
use prost::{Message, Oneof};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;

use crate::circuit::CircuitError;
use crate::circuit::message::{self, MAX_MESSAGE};

pub use serve::{Choice, Dialled, choose, serve};

/// Asking to be dialled.
pub const REQUEST: StreamProtocol = StreamProtocol::new("/libp2p/autonat/2/dial-request");
/// Proving that the dial came through.
pub const DIAL_BACK: StreamProtocol = StreamProtocol::new("/libp2p/autonat/2/dial-back");
/// How long a question may take: the data, the pause before a foreign address is dialled, and the dial itself (10 s).
pub const ASKING: Duration = Duration::from_secs(30);
/// How long the proof may take: two messages over a connection that is there.
pub const PROOF: Duration = Duration::from_secs(5);
/// Fewest bytes that whoever dials a foreign address may want for it (the protocol's specification).
pub const MIN_DATA: u64 = 30_000;
/// And most.
pub const MAX_DATA: u64 = 100_000;
/// Bytes of data in one message of ours.
const CHUNK: usize = 4_000;
/// Longest message with data in bytes: 4,096 of them and what is around them.
const MAX_DATA_MESSAGE: usize = MAX_MESSAGE + 16;

/// Either side's message on a [`REQUEST`] stream.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct Envelope {
    /// What it says.
    #[prost(oneof = "Said", tags = "1, 2, 3, 4")]
    pub said: Option<Said>,
}

/// What is said on a [`REQUEST`] stream.
#[derive(Clone, PartialEq, Eq, Oneof)]
pub enum Said {
    /// The question.
    #[prost(message, tag = "1")]
    Request(DialRequest),
    /// The answer.
    #[prost(message, tag = "2")]
    Response(DialResponse),
    /// Data is wanted first.
    #[prost(message, tag = "3")]
    DataRequest(DataRequest),
    /// Data.
    #[prost(message, tag = "4")]
    Data(Data),
}

/// The question.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct DialRequest {
    /// Addresses, the most wanted first; one of them is dialled.
    #[prost(bytes = "vec", repeated, tag = "1")]
    pub addrs: Vec<Vec<u8>>,
    /// Comes back over the new connection.
    #[prost(fixed64, tag = "2")]
    pub nonce: u64,
}

/// The answer.
#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub struct DialResponse {
    /// 200 when something was dialled, 100 for too many questions, 101 when no address may be dialled.
    #[prost(int32, tag = "1")]
    pub status: i32,
    /// Which address.
    #[prost(uint32, tag = "2")]
    pub index: u32,
    /// 200 when the proof was taken, 100 when nobody answered there, 101 when the proof was not taken.
    #[prost(int32, tag = "3")]
    pub dial: i32,
}

/// How much data is wanted before an address is dialled that is not its asker's.
#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub struct DataRequest {
    /// Which address.
    #[prost(uint32, tag = "1")]
    pub index: u32,
    /// Bytes.
    #[prost(uint64, tag = "2")]
    pub bytes: u64,
}

/// Data that nobody looks at: it costs its sender as much as a dial costs somebody else.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct Data {
    /// At most 4,096 bytes.
    #[prost(bytes = "vec", tag = "1")]
    pub data: Vec<u8>,
}

/// The proof.
#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub struct DialBack {
    /// Of the question.
    #[prost(fixed64, tag = "1")]
    pub nonce: u64,
}

/// It was taken.
#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub struct DialBackResponse {
    /// 0
    #[prost(int32, tag = "1")]
    pub status: i32,
}

/// OK on the wire.
const OK: i32 = 200;
/// Too many questions.
const REJECTED: i32 = 100;
/// None of the addresses may be dialled from here.
const REFUSED: i32 = 101;
/// Nobody answers there.
const DIAL_ERROR: i32 = 100;
/// Somebody answers, and does not take the proof.
const PROOF_ERROR: i32 = 101;

/// What came of a question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Told {
    /// The other side says that its dial came through.
    Reached,
    /// It dialled and nobody answered.
    NotReached,
    /// It did not dial, or cannot tell.
    Unknown,
}

/// Why an exchange failed.
#[derive(Debug, thiserror::Error)]
pub enum AutonatError {
    /// It took too long.
    #[error("no answer in time")]
    TimedOut,
    /// What came is not what the protocol says.
    #[error("the exchange makes no sense: {0}")]
    Malformed(&'static str),
    /// The stream failed.
    #[error("the stream failed: {0}")]
    Io(#[from] io::Error),
}

impl From<CircuitError> for AutonatError {
    fn from(error: CircuitError) -> Self {
        match error {
            CircuitError::Io(error) => Self::Io(error),
            CircuitError::TimedOut => Self::TimedOut,
            CircuitError::Malformed(what) => Self::Malformed(what),
            CircuitError::Refused(_) => Self::Malformed("it is a refusal"),
        }
    }
}

async fn write<S: AsyncWrite + Unpin>(stream: &mut S, said: Said) -> io::Result<()> {
    message::write(stream, &Envelope { said: Some(said) }).await
}

async fn read<S: AsyncRead + Unpin>(stream: &mut S, most: usize) -> Result<Said, AutonatError> {
    let envelope: Envelope = message::read_within(stream, most).await?;
    envelope
        .said
        .ok_or(AutonatError::Malformed("it is an empty message"))
}

/// Asks whether strangers reach us at an address. [`Told::Reached`] counts only if the nonce came back, too.
///
/// # Errors
/// See [`AutonatError`].
pub async fn ask<S>(mut stream: S, addr: &Multiaddr, nonce: u64) -> Result<Told, AutonatError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let exchange = async {
        let addrs = vec![addr.to_vec()];
        write(&mut stream, Said::Request(DialRequest { addrs, nonce })).await?;
        match read(&mut stream, MAX_MESSAGE).await? {
            Said::DataRequest(wanted) => {
                pay(&mut stream, wanted).await?;
                answer(read(&mut stream, MAX_MESSAGE).await?)
            }
            said => answer(said),
        }
    };
    timeout(ASKING, exchange)
        .await
        .map_err(|_| AutonatError::TimedOut)?
}

/// Sends the data that a dial costs.
async fn pay<S: AsyncWrite + Unpin>(
    stream: &mut S,
    wanted: DataRequest,
) -> Result<(), AutonatError> {
    if wanted.index != 0 || wanted.bytes > MAX_DATA {
        return Err(AutonatError::Malformed("it wants too much data"));
    }
    let mut left = usize::try_from(wanted.bytes).unwrap_or_default();
    while left > 0 {
        let data = vec![0; left.min(CHUNK)];
        left -= data.len();
        write(stream, Said::Data(Data { data })).await?;
    }
    Ok(())
}

fn answer(said: Said) -> Result<Told, AutonatError> {
    let Said::Response(response) = said else {
        return Err(AutonatError::Malformed("it is no answer"));
    };
    Ok(match (response.status, response.index, response.dial) {
        (OK, 0, OK) => Told::Reached,
        (OK, 0, DIAL_ERROR) => Told::NotReached,
        _ => Told::Unknown,
    })
}

/// Proves over a new connection that the dial came through.
///
/// # Errors
/// See [`AutonatError`].
pub async fn dial_back<S>(mut stream: S, nonce: u64) -> Result<(), AutonatError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let exchange = async {
        message::write(&mut stream, &DialBack { nonce }).await?;
        let taken: DialBackResponse = message::read(&mut stream).await?;
        if taken.status == 0 {
            Ok(())
        } else {
            Err(AutonatError::Malformed("the proof was not taken"))
        }
    };
    timeout(PROOF, exchange)
        .await
        .map_err(|_| AutonatError::TimedOut)?
}

/// Hears a proof, and takes it if it is one that we wait for.
///
/// # Errors
/// See [`AutonatError`].
pub async fn hear<S>(mut stream: S, expected: impl FnOnce(u64) -> bool) -> Result<(), AutonatError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let exchange = async {
        let proof: DialBack = message::read(&mut stream).await?;
        if !expected(proof.nonce) {
            return Err(AutonatError::Malformed("nobody waits for it"));
        }
        Ok(message::write(&mut stream, &DialBackResponse { status: 0 }).await?)
    };
    timeout(PROOF, exchange)
        .await
        .map_err(|_| AutonatError::TimedOut)?
}
