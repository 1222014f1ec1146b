//! `/goop/content/1.0.0`: the display name in one line, which is also how a peer proves it is there (network.md 7.1).

use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;

use crate::PeerId;

/// The protocol id.
pub const PROTOCOL: &str = "/goop/content/1.0.0";
/// Longest name that is read, newline included: presence's bound (network.md 4.1).
pub const MAX_LINE: usize = 4_097;
/// How long one line may take in either direction.
pub const DEADLINE: Duration = Duration::from_secs(2);

/// Why no name came.
#[derive(Debug, thiserror::Error)]
pub enum ContentError {
    /// Nothing came in time.
    #[error("the peer did not say its name within {} s", DEADLINE.as_secs())]
    TimedOut,
    /// More than [`MAX_LINE`] bytes without an end.
    #[error("the peer's name is too long")]
    TooLong,
    /// The stream ended or failed.
    #[error("the stream failed: {0}")]
    Io(#[from] std::io::Error),
}

/// Answers one caller: the name, cut at its first line break, then the end of the stream.
///
/// # Errors
/// When the stream fails or the caller does not read.
pub async fn serve<S>(_caller: PeerId, mut stream: S, label: &str) -> Result<(), ContentError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let first = label.lines().next().unwrap_or_default();
    let line = format!("{first}\n");
    let answer = async {
        stream.write_all(line.as_bytes()).await?;
        stream.shutdown().await
    };
    timeout(DEADLINE, answer).await.map_err(|_| ContentError::TimedOut)?.map_err(ContentError::Io)
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
            if stream.read_buf(&mut line).await? == 0 {
                return if line.is_empty() { Err(std::io::Error::from(std::io::ErrorKind::UnexpectedEof).into()) } else { Ok(line) };
            }
            if let Some(end) = line.iter().position(|byte| *byte == b'\n') {
                line.truncate(end);
                return Ok(line);
            }
            if line.len() >= MAX_LINE {
                return Err(ContentError::TooLong);
            }
        }
    };
    let line = timeout(DEADLINE, read).await.map_err(|_| ContentError::TimedOut)??;
    if line.len() >= MAX_LINE {
        return Err(ContentError::TooLong);
    }
    Ok(String::from_utf8_lossy(&line).trim().to_owned())
}
