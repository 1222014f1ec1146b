//! WebSockets, by which a relay behind a proxy is reached where nothing but HTTPS leaves the house.
//!
//! It is the longest way, so the others get a head start, and it is not gone at all once one of them is there.
//!
//! The library trusts the certificate authorities that browsers trust, and no others. A relay of a company or a family
//! has a certificate of their own authority, which the machine knows: so the machine's are trusted as well. They take a
//! megabyte and a file to read, so that is done when the first secure address is dialled, beside the event loop.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use futures::future::{BoxFuture, FutureExt, Ready};
use futures::{AsyncRead, AsyncWrite};
use libp2p::core::transport::{DialOpts, ListenerId, TransportError, TransportEvent};
use libp2p::multiaddr::Protocol;
use libp2p::{Multiaddr, Transport, websocket};
use tokio::sync::OnceCell;

use crate::PeerId;
use crate::links::Links;

/// Largest frame that is taken (bytes). What is inside is secured in records of 64 KiB at most, and senders join a few.
const MAX_FRAME: usize = 1024 * 1024;

/// The head start of every other way to the same peer. QUIC and TCP need two round trips less than a WebSocket, so that is
/// enough for them almost everywhere.
const HEAD_START: Duration = Duration::from_millis(250);

/// Dials WebSockets over `T`, which resolves names and opens TCP connections. Nobody listens on them.
pub(super) struct WebSockets<T>
where
    T: Transport,
    T::Output: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    inner: Arc<Mutex<websocket::Config<T>>>,
    /// Filled once the machine's certificates were read.
    trusting: Arc<OnceCell<()>>,
    certificates: Certificates,
    links: Arc<Links>,
}

/// Reads the certificates (DER) that this machine trusts.
type Certificates = Arc<dyn Fn() -> Vec<Vec<u8>> + Send + Sync>;

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
    /// `links` tells whether a peer was reached another way.
    pub(super) fn new(transport: T, links: Arc<Links>) -> Self {
        Self::trusting(transport, links, Arc::new(of_the_machine))
    }

    fn trusting(transport: T, links: Arc<Links>, certificates: Certificates) -> Self {
        let mut inner = websocket::Config::new(transport);
        inner.set_max_data_size(MAX_FRAME);
        Self {
            inner: Arc::new(Mutex::new(inner)),
            trusting: Arc::default(),
            certificates,
            links,
        }
    }
}

/// Whose address it is, if it says so.
fn peer_of(addr: &Multiaddr) -> Option<PeerId> {
    addr.iter().find_map(|part| match part {
        Protocol::P2p(peer) => Some(peer),
        _ => None,
    })
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

/// The certificates this machine trusts.
fn of_the_machine() -> Vec<Vec<u8>> {
    let found = goop_http::of_the_machine();
    found.iter().map(|found| found.to_vec()).collect()
}

/// What browsers trust, and these.
fn trust(certificates: Vec<Vec<u8>>) -> websocket::tls::Config {
    let mut config = websocket::tls::Config::builder();
    for certificate in certificates {
        let certificate = websocket::tls::Certificate::new(certificate);
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
        let certificates = self.certificates.clone();
        let links = self.links.clone();
        Ok(async move {
            if let Some(peer) = peer_of(&addr) {
                tokio::time::sleep(HEAD_START).await;
                if links.is_direct(&peer) {
                    return Err(io::Error::other("it was reached another way"));
                }
            }
            if kind == Kind::Secure {
                let read = async {
                    // Reading does not panic; a program that ends reads nothing, and dials nobody either.
                    let config = tokio::task::spawn_blocking(move || trust(certificates()));
                    if let Ok(config) = config.await {
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
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures::StreamExt;
    use libp2p::core::Endpoint;
    use libp2p::core::transport::PortUse;
    use libp2p::tcp;

    use super::*;
    use crate::links::Link;

    /// A listener with a certificate of no known authority; gives its port and the certificate.
    async fn listener() -> (u16, Vec<u8>) {
        let rcgen::CertifiedKey { cert, signing_key } =
            rcgen::generate_simple_self_signed(["relay.example".to_owned()]).unwrap();
        let certificate = cert.der().to_vec();
        let tls = websocket::tls::Config::new(
            websocket::tls::PrivateKey::new(signing_key.serialize_der()),
            [websocket::tls::Certificate::new(certificate.clone())],
        );
        let mut listener =
            websocket::Config::new(tcp::tokio::Transport::new(tcp::Config::default()));
        listener.set_tls_config(tls.unwrap());
        let addr = "/ip4/127.0.0.1/tcp/0/tls/ws".parse().unwrap();
        listener.listen_on(ListenerId::next(), addr).unwrap();
        let mut listener = listener.boxed();
        let listening = listener.select_next_some().await;
        let addr = listening.into_new_address().unwrap();
        let port = addr.iter().find_map(|part| match part {
            Protocol::Tcp(port) => Some(port),
            _ => None,
        });
        tokio::spawn(async move {
            let mut open = Vec::new();
            loop {
                if let TransportEvent::Incoming { upgrade, .. } = listener.select_next_some().await
                {
                    open.push(upgrade.await);
                }
            }
        });
        (port.unwrap(), certificate)
    }

    async fn dial(sockets: &mut WebSockets<tcp::tokio::Transport>, port: u16) -> io::Result<()> {
        let addr = format!("/ip4/127.0.0.1/tcp/{port}/tls/sni/relay.example/ws");
        let opts = DialOpts {
            role: Endpoint::Dialer,
            port_use: PortUse::New,
        };
        let dial = sockets.dial(addr.parse().unwrap(), opts).unwrap();
        dial.await.map(drop)
    }

    #[tokio::test]
    async fn an_authority_of_the_machine_is_trusted_and_read_once_when_needed() {
        let (port, certificate) = listener().await;
        let reads = Arc::new(AtomicUsize::new(0));
        let of = |certificates: Vec<Vec<u8>>| {
            let reads = reads.clone();
            let read = move || {
                reads.fetch_add(1, Ordering::SeqCst);
                certificates.clone()
            };
            let tcp = tcp::tokio::Transport::new(tcp::Config::default());
            WebSockets::trusting(tcp, Arc::default(), Arc::new(read))
        };
        let error = dial(&mut of(Vec::new()), port).await.unwrap_err();
        assert!(error.to_string().contains("UnknownIssuer"), "{error}");
        let mut sockets = of(vec![b"no certificate".to_vec(), certificate]);
        assert_eq!(reads.load(Ordering::SeqCst), 1, "nobody was dialled");
        dial(&mut sockets, port).await.unwrap();
        dial(&mut sockets, port).await.unwrap();
        assert_eq!(reads.load(Ordering::SeqCst), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn who_was_reached_another_way_is_not_dialled() {
        let (links, peer) = (Arc::new(Links::default()), PeerId::random());
        let tcp = tcp::tokio::Transport::new(tcp::Config::default());
        let mut sockets = WebSockets::trusting(tcp, links.clone(), Arc::new(Vec::new));
        let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        silent.set_nonblocking(true).unwrap();
        let port = silent.local_addr().unwrap().port();
        let opts = DialOpts {
            role: Endpoint::Dialer,
            port_use: PortUse::New,
        };
        let addr = format!("/ip4/127.0.0.1/tcp/{port}/ws/p2p/{peer}");
        let dial = sockets.dial(addr.parse().unwrap(), opts).unwrap();
        let id = libp2p::swarm::ConnectionId::new_unchecked(1);
        let elsewhere = "/ip4/127.0.0.1/udp/1/quic-v1".parse().unwrap();
        links.add(peer, Link::new(id, elsewhere, false, true).0);
        let error = dial.await.map(drop).unwrap_err();
        assert!(error.to_string().contains("another way"), "{error}");
        let nobody = silent.accept().unwrap_err();
        assert_eq!(nobody.kind(), io::ErrorKind::WouldBlock);
    }

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
