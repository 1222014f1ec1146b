//! A stream to another peer, as every protocol sees it.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::sync::{OwnedSemaphorePermit, oneshot};
use tokio_util::compat::{Compat, FuturesAsyncReadCompatExt};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

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
    reading: Waiting,
    writing: Waiting,
    ticket: Ticket,
}

/// What a connection and its streams know of each other.
#[derive(Debug, Clone, Default)]
pub(crate) struct Lifeline {
    /// Streams of routed protocols, both directions.
    pub(crate) live: Arc<AtomicUsize>,
    /// The connection is over.
    pub(crate) gone: CancellationToken,
}

/// Counts a stream while it lives, and holds its place in the limits.
#[derive(Debug)]
pub(crate) struct Ticket {
    lifeline: Lifeline,
    _slot: Option<OwnedSemaphorePermit>,
}

impl Ticket {
    pub(crate) fn new(lifeline: Lifeline, slot: Option<OwnedSemaphorePermit>) -> Self {
        lifeline.live.fetch_add(1, Ordering::Relaxed);
        Self {
            lifeline,
            _slot: slot,
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.lifeline.live.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Waits for the end of the connection while there is nothing to read, or no room to write: yamux wakes nobody when its
/// connection is closed from this side, and who waited for an answer would wait for as long as patience lasts.
#[derive(Debug, Default)]
struct Waiting(Option<Pin<Box<WaitForCancellationFutureOwned>>>);

impl Waiting {
    /// What came, or the end of the connection.
    fn or_gone<T>(
        &mut self,
        polled: Poll<io::Result<T>>,
        gone: &CancellationToken,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<T>> {
        if polled.is_ready() {
            return polled;
        }
        let end = self
            .0
            .get_or_insert_with(|| Box::pin(gone.clone().cancelled_owned()));
        ready!(end.as_mut().poll(cx));
        Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()))
    }
}

impl Stream {
    /// A stream we asked for.
    pub(crate) fn opened(stream: libp2p::Stream, ticket: Ticket) -> Self {
        Self {
            raw: Some(stream.compat()),
            home: None,
            reading: Waiting::default(),
            writing: Waiting::default(),
            ticket,
        }
    }

    /// A stream for a handler, and where it comes back when the handler is done with it.
    pub(crate) fn served(stream: libp2p::Stream, ticket: Ticket) -> (Self, oneshot::Receiver<Raw>) {
        let (home, back) = oneshot::channel();
        (
            Self {
                raw: Some(stream.compat()),
                home: Some(home),
                reading: Waiting::default(),
                writing: Waiting::default(),
                ticket,
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

    fn written<T>(
        &mut self,
        polled: Poll<io::Result<T>>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<T>> {
        let gone = &self.ticket.lifeline.gone;
        self.writing.or_gone(polled, gone, cx)
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
        let polled = futures::AsyncRead::poll_read(Pin::new(raw), cx, space);
        let this = &mut *self;
        let gone = &this.ticket.lifeline.gone;
        let read = ready!(this.reading.or_gone(polled, gone, cx))?;
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
        let polled = self.raw()?.poll_write(cx, buf);
        self.written(polled, cx)
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
            let polled = self.raw()?.poll_write(cx, first);
            return self.written(polled, cx);
        }
        let mut joined = Vec::with_capacity(total);
        joined.extend_from_slice(first);
        pieces.for_each(|piece| joined.extend_from_slice(piece));
        let polled = self.raw()?.poll_write(cx, &joined);
        self.written(polled, cx)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = self.raw()?.poll_flush(cx);
        self.written(polled, cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = self.raw()?.poll_shutdown(cx);
        self.written(polled, cx)
    }
}
