//! Reading one line from a stream, with a limit and a deadline.

use std::io;
use std::time::Duration;

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::time::timeout;

/// How long the other side may take for a line (network.md 7).
pub const LINE_DEADLINE: Duration = Duration::from_secs(10);
/// How long it may be silent within a body (network.md 7).
pub const IDLE_DEADLINE: Duration = Duration::from_secs(30);

/// Why there was no line.
#[derive(Debug, thiserror::Error)]
pub enum LineError {
    /// The stream ended before the line did.
    #[error("the stream ended in the middle of a line")]
    Ended,
    /// The line is longer than its limit.
    #[error("the line is too long")]
    TooLong,
    /// Nothing came in time.
    #[error("nothing came in time")]
    TimedOut,
    /// The stream failed.
    #[error("the stream failed: {0}")]
    Io(#[from] io::Error),
}

/// Reads up to and including `\n` and gives the line without it. What came after the line stays in `buffer`.
///
/// # Errors
/// See [`LineError`].
pub async fn read_line<S>(
    stream: &mut S,
    buffer: &mut BytesMut,
    max: usize,
) -> Result<BytesMut, LineError>
where
    S: AsyncRead + Unpin,
{
    let read = async {
        let mut seen = 0;
        loop {
            if let Some(end) = buffer[seen..].iter().position(|byte| *byte == b'\n') {
                let line = buffer.split_to(seen + end);
                buffer.advance(1);
                return if line.len() > max {
                    Err(LineError::TooLong)
                } else {
                    Ok(line)
                };
            }
            seen = buffer.len();
            if seen > max {
                return Err(LineError::TooLong);
            }
            buffer.reserve(1_024);
            if stream.read_buf(buffer).await? == 0 {
                return Err(LineError::Ended);
            }
        }
    };
    timeout(LINE_DEADLINE, read)
        .await
        .map_err(|_| LineError::TimedOut)?
}

/// Reads exactly `len` bytes, the first of them from `buffer`.
///
/// # Errors
/// See [`LineError`].
pub async fn read_exact<S>(
    stream: &mut S,
    buffer: &mut BytesMut,
    len: usize,
) -> Result<Vec<u8>, LineError>
where
    S: AsyncRead + Unpin,
{
    // Room is made as bytes arrive: a length alone costs nobody memory.
    const STEP: usize = 64 * 1024;
    let mut bytes = Vec::with_capacity(len.min(STEP));
    let first = buffer.len().min(len);
    bytes.extend_from_slice(&buffer.split_to(first));
    while bytes.len() < len {
        let wanted = (len - bytes.len()).min(STEP);
        bytes.reserve(wanted);
        let mut part = (&mut *stream).take(wanted as u64);
        let read = timeout(IDLE_DEADLINE, part.read_buf(&mut bytes))
            .await
            .map_err(|_| LineError::TimedOut)??;
        if read == 0 {
            return Err(LineError::Ended);
        }
    }
    Ok(bytes)
}
