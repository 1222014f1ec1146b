//! A libp2p peer that does nothing by itself: it accepts and opens streams, and the test writes the bytes.

use std::sync::Arc;

use futures::StreamExt;
use goop_identity::Keypair;
use libp2p::swarm::SwarmEvent;
use libp2p::swarm::dial_opts::DialOpts;
use libp2p::{Multiaddr, PeerId, StreamProtocol, Swarm, SwarmBuilder, dns, noise, tcp, yamux};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use super::within;
use crate::links::{Links, Opener};
use crate::router::{Caller, RouteLimits, Router};
use crate::stream::Stream;
use crate::streams;

type Order = Box<dyn FnOnce(&mut Swarm<streams::Behaviour>) + Send>;

pub(super) struct RawPeer {
    pub(super) id: PeerId,
    pub(super) addr: Multiaddr,
    pub(super) links: Arc<Links>,
    /// Streams others opened, with their protocol.
    pub(super) inbound: mpsc::UnboundedReceiver<(StreamProtocol, Stream)>,
    opener: Opener,
    orders: mpsc::UnboundedSender<Order>,
    _unused: mpsc::Sender<super::super::Command>,
    task: JoinHandle<()>,
}

impl Drop for RawPeer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl RawPeer {
    /// A peer that accepts streams of `protocols`.
    pub(super) async fn start(keypair: Keypair, protocols: &[&'static str]) -> Self {
        Self::listen(keypair, "/ip4/127.0.0.1/tcp/0", protocols).await
    }

    /// The same, listening somewhere else.
    pub(super) async fn listen(keypair: Keypair, listen: &str, protocols: &[&'static str]) -> Self {
        let id = keypair.public().to_peer_id();
        let (given, inbound) = mpsc::unbounded_channel();
        let router = protocols.iter().fold(Router::new(), |router, protocol| {
            let protocol = StreamProtocol::new(protocol);
            let (given, name) = (given.clone(), protocol.clone());
            router.route(
                protocol,
                RouteLimits::default(),
                move |_: Caller, stream: Stream| {
                    let _ = given.send((name.clone(), stream));
                    std::future::ready(())
                },
            )
        });
        let links = Arc::new(Links::default());
        let behaviour = streams::Behaviour::new(router.start(), links.clone());
        let mut swarm = SwarmBuilder::with_existing_identity(keypair)
            .with_tokio()
            .with_tcp(
                tcp::Config::default(),
                noise::Config::new,
                yamux::Config::default,
            )
            .unwrap()
            .with_dns_config(dns::ResolverConfig::default(), dns::ResolverOpts::default())
            .with_websocket(noise::Config::new, yamux::Config::default)
            .await
            .unwrap()
            .with_behaviour(|_| behaviour)
            .unwrap()
            .build();
        swarm.listen_on(listen.parse().unwrap()).unwrap();
        let (orders, mut todo) = mpsc::unbounded_channel::<Order>();
        let (listening, mut addr) = watch::channel(None);
        let task = tokio::spawn(async move {
            loop {
                tokio::select! {
                    event = swarm.select_next_some() => if let SwarmEvent::NewListenAddr { address, .. } = event {
                        listening.send_replace(Some(address));
                    },
                    Some(order) = todo.recv() => order(&mut swarm),
                }
            }
        });
        let addr = within("an address", addr.wait_for(Option::is_some))
            .await
            .unwrap()
            .clone()
            .unwrap();
        let (unused, _) = mpsc::channel(1);
        let opener = Opener {
            me: id,
            links: links.clone(),
            commands: unused.downgrade(),
        };
        Self {
            id,
            addr,
            links,
            inbound,
            opener,
            orders,
            _unused: unused,
            task,
        }
    }

    /// Makes one more connection.
    pub(super) async fn dial(&self, peer: PeerId, addr: Multiaddr) {
        let before = self.connections(peer);
        self.order(move |swarm| {
            swarm
                .dial(
                    DialOpts::unknown_peer_id()
                        .address(addr)
                        .allocate_new_port()
                        .build(),
                )
                .unwrap();
        });
        super::eventually("a connection", || self.connections(peer) > before).await;
    }

    pub(super) fn connections(&self, peer: PeerId) -> usize {
        self.links
            .snapshot()
            .iter()
            .find(|(known, _)| *known == peer)
            .map_or(0, |(_, links)| links.len())
    }

    pub(super) fn order(
        &self,
        order: impl FnOnce(&mut Swarm<streams::Behaviour>) + Send + 'static,
    ) {
        self.orders.send(Box::new(order)).unwrap();
    }

    pub(super) async fn open(&self, peer: PeerId, protocol: &'static str) -> Stream {
        within(
            "a stream",
            self.opener.open(peer, &[StreamProtocol::new(protocol)]),
        )
        .await
        .unwrap()
        .1
    }

    /// The next stream of a protocol that was opened to us.
    pub(super) async fn accept(&mut self, protocol: &str) -> Stream {
        within("an inbound stream", async {
            loop {
                let (name, stream) = self.inbound.recv().await.unwrap();
                if name == protocol {
                    return stream;
                }
            }
        })
        .await
    }
}
