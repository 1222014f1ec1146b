//! WebSockets, by which a relay behind a proxy is reached where nothing but HTTPS leaves the house.
//!
//! The library trusts the certificate authorities that browsers trust, and no others. A relay of a company or a family
//! has a certificate of their own authority, which the machine knows: so the machine's are trusted as well. They take a
//! megabyte and a file to read, so that is done when the first secure address is dialled, beside the event loop.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use futures::future::{BoxFuture, FutureExt, Ready};
use futures::{AsyncRead, AsyncWrite};
use libp2p::core::transport::{DialOpts, ListenerId, TransportError, TransportEvent};
use libp2p::multiaddr::Protocol;
use libp2p::{Multiaddr, Transport, websocket};
use tokio::sync::OnceCell;

/// Largest frame that is taken (bytes). What is inside is secured in records of 64 KiB at most, and senders join a few.
const MAX_FRAME: usize = 1024 * 1024;

/// Dials WebSockets over `T`, which resolves names and opens TCP connections. Nobody listens on them.
pub(super) struct WebSockets<T>
where
    T: Transport,
    T::Output: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    inner: Arc<Mutex<websocket::Config<T>>>,
    /// Filled once the machine's certificates were read.
    trusting: Arc<OnceCell<()>>,
}

/// A connection over `S`.
type Socket<S> = <websocket::Config<S> as Transport>::Output;

impl<T> WebSockets<T>
where
    T: Transport + Send + Unpin + 'static,
    T::Error: Send + 'static,
    T::Dial: Send + 'static,
    T::ListenerUpgrade: Send + 'static,
    T::Output: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    pub(super) fn new(transport: T) -> Self {
        let mut inner = websocket::Config::new(transport);
        inner.set_max_data_size(MAX_FRAME);
        Self {
            inner: Arc::new(Mutex::new(inner)),
            trusting: Arc::default(),
        }
    }
}

fn lock<T>(inner: &Mutex<T>) -> MutexGuard<'_, T> {
    inner.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whether an address is one of a WebSocket, and whether that is inside TLS.
fn kind(addr: &Multiaddr) -> Option<Kind> {
    let mut secure = false;
    let mut socket = false;
    for part in addr {
        match part {
            Protocol::Tls => secure = true,
            Protocol::Ws(_) => socket = true,
            Protocol::Wss(_) => (secure, socket) = (true, true),
            _ => {}
        }
    }
    match (socket, secure) {
        (false, _) => None,
        (true, false) => Some(Kind::Plain),
        (true, true) => Some(Kind::Secure),
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Plain,
    Secure,
}

/// What browsers trust and what this machine trusts (`SSL_CERT_FILE` and `SSL_CERT_DIR` are obeyed).
fn trust() -> websocket::tls::Config {
    let found = rustls_native_certs::load_native_certs();
    for error in &found.errors {
        tracing::debug!(%error, "a certificate of the system cannot be read");
    }
    let mut config = websocket::tls::Config::builder();
    for certificate in found.certs {
        let certificate = websocket::tls::Certificate::new(certificate.to_vec());
        if let Err(error) = config.add_trust(&certificate) {
            tracing::debug!(%error, "a certificate of the system makes no sense");
        }
    }
    config.finish()
}

impl<T> Transport for WebSockets<T>
where
    T: Transport + Send + Unpin + 'static,
    T::Error: std::error::Error + Send + Sync + 'static,
    T::Dial: Send + 'static,
    T::ListenerUpgrade: Send + 'static,
    T::Output: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    type Output = Socket<T>;
    type Error = io::Error;
    type ListenerUpgrade = Ready<Result<Self::Output, io::Error>>;
    type Dial = BoxFuture<'static, Result<Self::Output, io::Error>>;

    fn listen_on(
        &mut self,
        _: ListenerId,
        addr: Multiaddr,
    ) -> Result<(), TransportError<io::Error>> {
        Err(TransportError::MultiaddrNotSupported(addr))
    }

    fn remove_listener(&mut self, _: ListenerId) -> bool {
        false
    }

    fn dial(
        &mut self,
        addr: Multiaddr,
        opts: DialOpts,
    ) -> Result<Self::Dial, TransportError<io::Error>> {
        let Some(kind) = kind(&addr) else {
            return Err(TransportError::MultiaddrNotSupported(addr));
        };
        let (inner, trusting) = (self.inner.clone(), self.trusting.clone());
        Ok(async move {
            if kind == Kind::Secure {
                let read = async {
                    // Reading does not panic; a program that ends reads nothing, and dials nobody either.
                    if let Ok(config) = tokio::task::spawn_blocking(trust).await {
                        lock(&inner).set_tls_config(config);
                    }
                };
                trusting.get_or_init(|| read).await;
            }
            let dial = lock(&inner).dial(addr, opts).map_err(io::Error::other)?;
            dial.await.map_err(io::Error::other)
        }
        .boxed())
    }

    fn poll(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<TransportEvent<Self::ListenerUpgrade, io::Error>> {
        Poll::Pending
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(addr: &str, expected: Option<Kind>) {
        assert_eq!(kind(&addr.parse().unwrap()), expected, "{addr}");
    }

    #[test]
    fn secure_addresses_are_told_from_plain_ones() {
        check("/dns4/relay.example/tcp/443/tls/ws", Some(Kind::Secure));
        check("/dns4/relay.example/tcp/443/wss", Some(Kind::Secure));
        check(
            "/ip4/203.0.113.7/tcp/443/tls/sni/relay.example/ws",
            Some(Kind::Secure),
        );
        check("/ip4/127.0.0.1/tcp/4002/ws", Some(Kind::Plain));
        check("/ip4/127.0.0.1/tcp/4002", None);
        check("/ip4/127.0.0.1/udp/4002/quic-v1", None);
    }
}
