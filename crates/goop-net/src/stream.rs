//! A stream to another peer, as every protocol sees it.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio_util::compat::{Compat, FuturesAsyncReadCompatExt};

/// A libp2p stream with tokio's traits.
///
/// A Go peer throws away what it has not read yet when a stream is reset, so a stream that was answered on must be
/// closed ([`Stream::finish`]) before it is dropped. The router does that after each handler.
#[derive(Debug)]
pub struct Stream {
    inner: Compat<libp2p::Stream>,
}

impl Stream {
    pub(crate) fn new(inner: libp2p::Stream) -> Self {
        Self { inner: inner.compat() }
    }

    /// Sends what is buffered and closes the writing side.
    ///
    /// # Errors
    /// When the stream or its connection is gone.
    pub async fn finish(&mut self) -> io::Result<()> {
        self.inner.shutdown().await
    }
}

impl AsyncRead for Stream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(cx, buf)
    }
}

impl AsyncWrite for Stream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write_vectored(cx, bufs)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}
