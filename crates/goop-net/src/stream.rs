//! A stream to another peer, as every protocol sees it.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::sync::{OwnedSemaphorePermit, oneshot};
use tokio_util::compat::{Compat, FuturesAsyncReadCompatExt};

/// Most bytes that one read takes.
const READ: usize = 256 * 1024;
/// Most bytes of several pieces that are joined for one write: an answer's head with a small body.
const JOINED: usize = 64 * 1024;

/// The libp2p stream under a [`Stream`].
pub(crate) type Raw = Compat<libp2p::Stream>;

/// A libp2p stream with tokio's traits.
///
/// How it ends matters: a Go peer throws away what it has not read yet when a stream is reset (network.md 2.2), so
/// whoever wrote an answer must close the stream before letting go of it.
///
/// - A stream that a [`Handler`](crate::Handler) was given is closed by the router when the handler lets go of it,
///   wherever it was moved to. A handler that panics or is cut off resets it.
/// - A stream from [`Net::open`](crate::Net::open) that is dropped is reset, which tells the other side that nobody
///   waits any more. To leave politely, [`finish`](Stream::finish) first.
/// - [`reset`](Stream::reset) says that what was sent is not the whole.
///
/// Over QUIC a reset looks like an end: the library below offers no other way. A protocol must therefore show by itself
/// (a length, a last chunk) that an answer is whole.
#[derive(Debug)]
pub struct Stream {
    /// `None` only after `reset`, which consumes the stream, and while dropping.
    raw: Option<Raw>,
    /// Where a served stream goes to be closed.
    home: Option<oneshot::Sender<Raw>>,
    _ticket: Ticket,
}

/// Counts a stream while it lives, and holds its place in the limits.
#[derive(Debug)]
pub(crate) struct Ticket {
    live: Arc<AtomicUsize>,
    _slot: Option<OwnedSemaphorePermit>,
}

impl Ticket {
    pub(crate) fn new(live: Arc<AtomicUsize>, slot: Option<OwnedSemaphorePermit>) -> Self {
        live.fetch_add(1, Ordering::Relaxed);
        Self { live, _slot: slot }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.live.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Stream {
    /// A stream we asked for.
    pub(crate) fn opened(stream: libp2p::Stream, ticket: Ticket) -> Self {
        Self {
            raw: Some(stream.compat()),
            home: None,
            _ticket: ticket,
        }
    }

    /// A stream for a handler, and where it comes back when the handler is done with it.
    pub(crate) fn served(stream: libp2p::Stream, ticket: Ticket) -> (Self, oneshot::Receiver<Raw>) {
        let (home, back) = oneshot::channel();
        (
            Self {
                raw: Some(stream.compat()),
                home: Some(home),
                _ticket: ticket,
            },
            back,
        )
    }

    /// Sends what is buffered and closes the writing side; the other side sees the end of the stream. Reading goes on.
    ///
    /// # Errors
    /// When the stream or its connection is gone.
    pub async fn finish(&mut self) -> io::Result<()> {
        self.shutdown().await
    }

    /// Ends the stream at once; over TCP the other side sees an error, not an end.
    pub fn reset(mut self) {
        self.home = None;
    }

    fn raw(&mut self) -> io::Result<Pin<&mut Raw>> {
        self.raw
            .as_mut()
            .map(Pin::new)
            .ok_or_else(|| io::ErrorKind::BrokenPipe.into())
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        // An unwinding handler did not finish its answer; closing would say that it did.
        if !std::thread::panicking()
            && let (Some(home), Some(raw)) = (self.home.take(), self.raw.take())
        {
            // Nobody there: the handler was cut off.
            let _ = home.send(raw);
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        // libp2p reads into initialised memory. A caller with a large buffer (hyper's grows to 400 KiB) would have all of
        // it zeroed for every read.
        let room = buf.remaining().min(READ);
        let space = buf.initialize_unfilled_to(room);
        let raw = self.raw()?.get_mut().get_mut();
        let read = ready!(futures::AsyncRead::poll_read(Pin::new(raw), cx, space))?;
        buf.advance(read);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.raw()?.poll_write(cx, buf)
    }

    /// Each write becomes a frame of its own: pieces that fit together are one, a large piece is not copied.
    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut pieces = pieces.iter().filter(|piece| !piece.is_empty());
        let Some(first) = pieces.next() else {
            return Poll::Ready(Ok(0));
        };
        let total = first.len() + pieces.clone().map(|piece| piece.len()).sum::<usize>();
        if total == first.len() || total > JOINED {
            return self.raw()?.poll_write(cx, first);
        }
        let mut joined = Vec::with_capacity(total);
        joined.extend_from_slice(first);
        pieces.for_each(|piece| joined.extend_from_slice(piece));
        self.raw()?.poll_write(cx, &joined)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.raw()?.poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.raw()?.poll_shutdown(cx)
    }
}
