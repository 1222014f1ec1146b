//! `/goop/content/1.0.0`: the display name in one line, which is also how a peer proves it is there (network.md 7.1).

use std::io;
use std::time::Duration;

use libp2p::StreamProtocol;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;

use crate::PeerId;
use crate::links::{OpenError, Opener};

/// The protocol id.
pub const PROTOCOL: &str = "/goop/content/1.0.0";
/// Longest name in bytes, without its line break: presence's bound (network.md 4.1).
pub const MAX_LABEL: usize = 4_096;
/// How long one line may take in either direction: the whole of a probe (network.md 1.2).
pub const DEADLINE: Duration = Duration::from_secs(2);

/// Why no name came.
#[derive(Debug, thiserror::Error)]
pub enum ContentError {
    /// Nothing came in time.
    #[error("the peer did not say its name within {} s", DEADLINE.as_secs())]
    TimedOut,
    /// More than [`MAX_LABEL`] bytes without an end.
    #[error("the peer's name is longer than {MAX_LABEL} bytes")]
    TooLong,
    /// The stream ended before anything came.
    #[error("the peer said no name")]
    Empty,
    /// The stream failed.
    #[error("the stream failed: {0}")]
    Io(#[from] io::Error),
}

/// The line that is sent for a name: cut at its first line break and at [`MAX_LABEL`].
fn line_of(label: &str) -> String {
    let first = label.lines().next().unwrap_or_default();
    let end = first.floor_char_boundary(MAX_LABEL.min(first.len()));
    format!("{}\n", &first[..end])
}

/// Answers one caller: the name in one line, then the end of the stream. Reads nothing.
///
/// # Errors
/// When the stream fails or the caller takes nothing.
pub async fn serve<S>(_caller: PeerId, mut stream: S, label: &str) -> Result<(), ContentError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let line = line_of(label);
    let answer = async {
        stream.write_all(line.as_bytes()).await?;
        stream.shutdown().await
    };
    timeout(DEADLINE, answer)
        .await
        .map_err(|_| ContentError::TimedOut)?
        .map_err(ContentError::Io)
}

/// Reads the name of the peer at the other end, trimmed. A stream that ends without a line break still gave a name.
///
/// # Errors
/// See [`ContentError`].
pub async fn fetch<S>(mut stream: S) -> Result<String, ContentError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let read = async {
        let mut line = Vec::with_capacity(64);
        loop {
            let ended = stream.read_buf(&mut line).await? == 0;
            if let Some(name) = decode(&line, ended)? {
                return Ok(name);
            }
        }
    };
    timeout(DEADLINE, read)
        .await
        .map_err(|_| ContentError::TimedOut)?
}

/// The name in what was read so far; `None` while more has to come. Bytes that are not UTF-8 are replaced.
///
/// # Errors
/// [`ContentError::TooLong`] and, when the stream `ended` before anything came, [`ContentError::Empty`].
pub fn decode(read: &[u8], ended: bool) -> Result<Option<String>, ContentError> {
    let end = read.iter().position(|byte| *byte == b'\n');
    match end {
        _ if end.unwrap_or(read.len()) > MAX_LABEL => Err(ContentError::TooLong),
        None if !ended => Ok(None),
        None if read.is_empty() => Err(ContentError::Empty),
        _ => Ok(Some(
            String::from_utf8_lossy(&read[..end.unwrap_or(read.len())])
                .trim()
                .to_owned(),
        )),
    }
}

/// Asks a peer for its name over the network.
pub(crate) async fn ask(opener: &Opener, peer: PeerId) -> Result<String, OpenError> {
    let (_, stream) = opener.open(peer, &[StreamProtocol::new(PROTOCOL)]).await?;
    fetch(stream)
        .await
        .map_err(|error| OpenError::Failed(error.to_string()))
}
