//! The body of an answer: nothing, bytes in memory, or a file that is read as fast as it is taken.

use std::fs::File;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::task::JoinHandle;

/// Bytes read from disk at once. Large enough that the thread hop does not show, small enough for many at once.
pub const CHUNK: usize = 256 * 1024;

/// The body of an answer.
#[derive(Debug)]
pub enum SiteBody {
    /// Nothing (more).
    Empty,
    /// Bytes in memory.
    Bytes(Bytes),
    /// A part of a file.
    File(FileReader),
}

impl From<Bytes> for SiteBody {
    fn from(bytes: Bytes) -> Self {
        if bytes.is_empty() {
            Self::Empty
        } else {
            Self::Bytes(bytes)
        }
    }
}

impl Body for SiteBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        match &mut *self {
            Self::Empty => Poll::Ready(None),
            Self::Bytes(bytes) => {
                let bytes = std::mem::take(bytes);
                *self = Self::Empty;
                Poll::Ready(Some(Ok(Frame::data(bytes))))
            }
            Self::File(file) => file
                .poll_chunk(cx)
                .map(|chunk| chunk.map(|chunk| chunk.map(Frame::data))),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Bytes(_) => false,
            Self::File(file) => file.left == 0,
        }
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(match self {
            Self::Empty => 0,
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::File(file) => file.left,
        })
    }
}

/// Reads a part of a file in chunks, one of them ahead.
///
/// A file that became shorter, or cannot be read any more, is an error: the receiver must not take half a file for a
/// whole one.
#[derive(Debug)]
pub struct FileReader {
    file: Arc<File>,
    next: u64,
    /// What the receiver has not got yet.
    left: u64,
    ahead: Option<JoinHandle<io::Result<Bytes>>>,
}

impl FileReader {
    /// The `len` bytes of `file` from `start`.
    #[must_use]
    pub fn new(file: File, start: u64, len: u64) -> Self {
        Self {
            file: Arc::new(file),
            next: start,
            left: len,
            ahead: None,
        }
    }

    /// The next chunk; `None` at the end.
    pub async fn chunk(&mut self) -> Option<io::Result<Bytes>> {
        std::future::poll_fn(|cx| self.poll_chunk(cx)).await
    }

    fn poll_chunk(&mut self, cx: &mut Context<'_>) -> Poll<Option<io::Result<Bytes>>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        if self.ahead.is_none() {
            self.ahead = Some(self.read(self.next, self.left));
        }
        let Some(ahead) = &mut self.ahead else {
            return Poll::Ready(None);
        };
        let read = ready!(Pin::new(ahead).poll(cx))
            .map_err(io::Error::other)
            .and_then(|read| read);
        self.ahead = None;
        match read {
            Ok(bytes) => {
                self.next += bytes.len() as u64;
                self.left -= bytes.len() as u64;
                self.ahead = (self.left > 0).then(|| self.read(self.next, self.left));
                Poll::Ready(Some(Ok(bytes)))
            }
            Err(error) => {
                self.left = 0;
                Poll::Ready(Some(Err(error)))
            }
        }
    }

    fn read(&self, at: u64, left: u64) -> JoinHandle<io::Result<Bytes>> {
        let file = self.file.clone();
        let wanted = usize::try_from(left).unwrap_or(CHUNK).min(CHUNK);
        tokio::task::spawn_blocking(move || read_exact_at(&file, at, wanted))
    }
}

fn read_exact_at(file: &File, at: u64, wanted: usize) -> io::Result<Bytes> {
    let mut bytes = vec![0; wanted];
    #[cfg(unix)]
    std::os::unix::fs::FileExt::read_exact_at(file, &mut bytes, at)?;
    #[cfg(windows)]
    {
        let mut done = 0;
        while done < wanted {
            match std::os::windows::fs::FileExt::seek_read(
                file,
                &mut bytes[done..],
                at + done as u64,
            )? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                read => done += read,
            }
        }
    }
    Ok(Bytes::from(bytes))
}
