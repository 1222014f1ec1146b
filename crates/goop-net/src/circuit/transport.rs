//! Circuits as a libp2p transport: dialling asks a relay, and what relays bring comes in.
//!
//! The transport opens its streams like everybody else, through the [`Opener`], so a circuit counts as a stream of the
//! connection to the relay, and a relay that is not connected is dialled by the plan that knows where it is.

use std::collections::VecDeque;
use std::future::{Ready, ready};
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures::future::BoxFuture;
use libp2p::core::transport::{DialOpts, ListenerId, TransportError, TransportEvent};
use libp2p::multiaddr::Protocol;
use libp2p::{Multiaddr, Transport};
use tokio::sync::mpsc;
use tokio_util::compat::{Compat, TokioAsyncReadCompatExt};

use super::{HOP, hop};
use crate::PeerId;
use crate::address::Circuit;
use crate::links::Opener;
use crate::stream::Stream;

/// Circuits that wait to be taken; the relay hears of more that there is no room.
pub(crate) const QUEUE: usize = 32;

/// What both ends write to and read from.
pub(crate) type CircuitStream = Compat<Stream>;

/// Somebody came through a relay and was told yes.
#[derive(Debug)]
pub(crate) struct Arrival {
    pub(crate) from: PeerId,
    pub(crate) relay: PeerId,
    /// Where the relay is connected to us.
    pub(crate) relay_addr: Multiaddr,
    pub(crate) stream: Stream,
}

/// The transport. It listens once, on [`everywhere`].
pub(crate) struct Circuits {
    opener: Opener,
    arrivals: mpsc::Receiver<Arrival>,
    listener: Option<ListenerId>,
    ended: VecDeque<ListenerId>,
}

impl Circuits {
    pub(crate) fn new(opener: Opener, arrivals: mpsc::Receiver<Arrival>) -> Self {
        Self {
            opener,
            arrivals,
            listener: None,
            ended: VecDeque::new(),
        }
    }
}

/// The address to listen on: any relay.
pub(crate) fn everywhere() -> Multiaddr {
    Multiaddr::from(Protocol::P2pCircuit)
}

impl Transport for Circuits {
    type Output = CircuitStream;
    type Error = io::Error;
    type ListenerUpgrade = Ready<Result<CircuitStream, io::Error>>;
    type Dial = BoxFuture<'static, Result<CircuitStream, io::Error>>;

    fn listen_on(
        &mut self,
        id: ListenerId,
        addr: Multiaddr,
    ) -> Result<(), TransportError<io::Error>> {
        if addr != everywhere() || self.listener.is_some() {
            return Err(TransportError::MultiaddrNotSupported(addr));
        }
        self.listener = Some(id);
        Ok(())
    }

    fn remove_listener(&mut self, id: ListenerId) -> bool {
        let ours = self.listener == Some(id);
        if ours {
            self.listener = None;
            self.ended.push_back(id);
        }
        ours
    }

    fn dial(
        &mut self,
        addr: Multiaddr,
        opts: DialOpts,
    ) -> Result<Self::Dial, TransportError<io::Error>> {
        // Who punches a hole dials as a listener; that is never done through a relay.
        let circuit = Circuit::parse(&addr).filter(|_| opts.role.is_dialer());
        let Some((relay, Some(target))) = circuit.map(|circuit| (circuit.relay, circuit.target))
        else {
            return Err(TransportError::MultiaddrNotSupported(addr));
        };
        let opener = self.opener.clone();
        Ok(Box::pin(async move {
            let opened = opener.open(relay, &[HOP]).await;
            let (_, mut stream) = opened.map_err(io::Error::other)?;
            hop::connect(&mut stream, target)
                .await
                .map_err(io::Error::other)?;
            Ok(stream.compat())
        }))
    }

    fn poll(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<TransportEvent<Self::ListenerUpgrade, io::Error>> {
        if let Some(listener_id) = self.ended.pop_front() {
            return Poll::Ready(TransportEvent::ListenerClosed {
                listener_id,
                reason: Ok(()),
            });
        }
        let Some(listener_id) = self.listener else {
            return Poll::Pending;
        };
        match self.arrivals.poll_recv(cx) {
            Poll::Ready(Some(arrival)) => {
                let local_addr = arrival
                    .relay_addr
                    .with(Protocol::P2p(arrival.relay))
                    .with(Protocol::P2pCircuit);
                Poll::Ready(TransportEvent::Incoming {
                    listener_id,
                    send_back_addr: local_addr.clone().with(Protocol::P2p(arrival.from)),
                    local_addr,
                    upgrade: ready(Ok(arrival.stream.compat())),
                })
            }
            // The router ended; nobody comes any more.
            Poll::Ready(None) | Poll::Pending => Poll::Pending,
        }
    }
}
