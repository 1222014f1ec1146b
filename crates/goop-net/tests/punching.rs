//! Holes punched together with the library's own implementation, in both roles, over 127.0.0.1.
//!
//! The other side hides where it listens, so no direct dial can find it: only the exchange through the relay does.

#![allow(clippy::unwrap_used)]

#[path = "support/relay_server.rs"]
mod relay_server;
mod support;

use std::sync::atomic::Ordering;

use futures::StreamExt;
use goop_identity::Keypair;
use goop_identity::presence::{PresenceKind, PresenceMessage};
use goop_net::topology::Connection;
use goop_net::{Multiaddr, Net, PeerId, RelayInfo, RelayState, Router, Transports};
use libp2p::multiaddr::Protocol;
use libp2p::swarm::dial_opts::{DialOpts, PeerCondition};
use libp2p::swarm::{NetworkBehaviour, Swarm, SwarmEvent};
use libp2p::{SwarmBuilder, dcutr, identify, noise, ping, relay, tls, yamux};
use relay_server::{Knows, RelayServer};
use support::{Cable, eventually, over, start, stop, tcp_port, within};
use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;

#[derive(NetworkBehaviour)]
struct Behaviour {
    relay: relay::client::Behaviour,
    identify: identify::Behaviour,
    dcutr: dcutr::Behaviour,
    ping: ping::Behaviour,
}

/// A peer as the library makes it.
struct Other {
    id: PeerId,
    dials: mpsc::UnboundedSender<Multiaddr>,
    leaves: mpsc::UnboundedSender<PeerId>,
    punched: mpsc::UnboundedReceiver<Result<(), String>>,
    _task: AbortOnDropHandle<()>,
}

fn swarm() -> Swarm<Behaviour> {
    SwarmBuilder::with_existing_identity(Keypair::generate_ed25519())
        .with_tokio()
        .with_tcp(
            libp2p::tcp::Config::default(),
            (tls::Config::new, noise::Config::new),
            yamux::Config::default,
        )
        .unwrap()
        .with_quic()
        .with_relay_client(
            (tls::Config::new, noise::Config::new),
            yamux::Config::default,
        )
        .unwrap()
        .with_behaviour(|key, relay| Behaviour {
            relay,
            identify: identify::Behaviour::new(
                identify::Config::new(String::new(), key.public()).with_hide_listen_addrs(true),
            ),
            dcutr: dcutr::Behaviour::new(key.public().to_peer_id()),
            ping: ping::Behaviour::default(),
        })
        .unwrap()
        .with_swarm_config(|swarm| {
            swarm.with_idle_connection_timeout(std::time::Duration::from_secs(3_600))
        })
        .build()
}

impl Other {
    /// Listens at `listen` and through the relay.
    async fn start(relay: &RelayServer, listen: &str) -> Self {
        let mut swarm = swarm();
        let id = *swarm.local_peer_id();
        swarm.listen_on(listen.parse().unwrap()).unwrap();
        let relay_addr = relay
            .addrs
            .iter()
            .find(|addr| listen.contains("udp") == addr.to_string().contains("udp"));
        let circuit = relay_addr
            .unwrap()
            .clone()
            .with(Protocol::P2p(relay.peer))
            .with(Protocol::P2pCircuit);
        let mut asked = false;
        within("a reservation", async {
            loop {
                match swarm.select_next_some().await {
                    SwarmEvent::NewListenAddr { .. } if !asked => {
                        asked = true;
                        swarm.listen_on(circuit.clone()).unwrap();
                    }
                    SwarmEvent::Behaviour(BehaviourEvent::Relay(
                        relay::client::Event::ReservationReqAccepted { .. },
                    )) => return,
                    _ => {}
                }
            }
        })
        .await;
        let (dials, mut to_dial) = mpsc::unbounded_channel::<Multiaddr>();
        let (leaves, mut to_leave) = mpsc::unbounded_channel::<PeerId>();
        let (tell, punched) = mpsc::unbounded_channel();
        let task = tokio::spawn(async move {
            loop {
                tokio::select! {
                    // Leaving ends dials that are under way, too, so it comes first.
                    biased;
                    Some(peer) = to_leave.recv() => swarm.disconnect_peer_id(peer).unwrap(),
                    Some(addr) = to_dial.recv() => {
                        let peer = addr.iter().last();
                        let Some(Protocol::P2p(peer)) = peer else { panic!("dial whom?") };
                        let opts = DialOpts::peer_id(peer)
                            .condition(PeerCondition::Always)
                            .addresses(vec![addr]);
                        swarm.dial(opts.build()).unwrap();
                    }
                    event = swarm.select_next_some() => {
                        if let SwarmEvent::Behaviour(BehaviourEvent::Dcutr(event)) = event {
                            let result = event.result.map(|_| ()).map_err(|error| error.to_string());
                            let _ = tell.send(result);
                        }
                    }
                }
            }
        });
        Self {
            id,
            dials,
            leaves,
            punched,
            _task: AbortOnDropHandle::new(task),
        }
    }
}

async fn ours(relay: &RelayServer) -> Net {
    let net = start(over(Transports::All), Router::new(), "A").await;
    net.set_relay(Some(relay.info())).await;
    let mut state = net.relay_state();
    let reserved = state.wait_for(|state| matches!(state, RelayState::Reserved { .. }));
    within("a reservation", reserved).await.unwrap();
    net
}

fn connection(net: &Net, peer: PeerId) -> Option<Connection> {
    let id = peer.to_base58();
    let peers = net.topology().peers.unwrap_or_default();
    let found = peers.into_iter().find(|peer| peer.id == id);
    found.map(|peer| peer.connection)
}

const LISTENS: [&str; 2] = ["/ip4/127.0.0.1/udp/0/quic-v1", "/ip4/127.0.0.1/tcp/0"];

#[tokio::test(flavor = "multi_thread")]
async fn who_we_called_through_the_relay_punches_and_we_answer() {
    for listen in LISTENS {
        let relay = RelayServer::start(&Keypair::generate_ed25519(), 0, Knows::ItsAddress).await;
        let net = ours(&relay).await;
        let mut other = Other::start(&relay, listen).await;
        net.heard_from_rendezvous(PresenceMessage::new(PresenceKind::Online, other.id, 1))
            .await;
        within("a hole", other.punched.recv())
            .await
            .unwrap()
            .unwrap();
        eventually("a direct connection", || {
            connection(&net, other.id) == Some(Connection::Direct)
        })
        .await;
        stop([net]).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_called_us_through_the_relay_answers_and_we_punch() {
    for listen in LISTENS {
        let relay = RelayServer::start(&Keypair::generate_ed25519(), 0, Knows::ItsAddress).await;
        let net = ours(&relay).await;
        let mut other = Other::start(&relay, listen).await;
        let circuit = relay.addrs[0]
            .clone()
            .with(Protocol::P2p(relay.peer))
            .with(Protocol::P2pCircuit)
            .with(Protocol::P2p(net.local_peer_id()));
        other.dials.send(circuit).unwrap();
        within("a hole", other.punched.recv())
            .await
            .unwrap()
            .unwrap();
        eventually("a direct connection", || {
            connection(&net, other.id) == Some(Connection::Direct)
        })
        .await;
        stop([net]).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_reached_over_quic_sees_our_tcp_port_once_somebody_is_met_through_it() {
    let relay = RelayServer::start(&Keypair::generate_ed25519(), 0, Knows::ItsAddress).await;
    let net = start(over(Transports::All), Router::new(), "A").await;
    let me = net.local_peer_id();
    let quic: Vec<Multiaddr> = relay.addrs[1..].to_vec();
    let only_quic = RelayInfo {
        addrs: quic,
        ..relay.info()
    };
    net.set_relay(Some(only_quic)).await;
    let mut state = net.relay_state();
    let reserved = state.wait_for(|state| matches!(state, RelayState::Reserved { .. }));
    within("a reservation", reserved).await.unwrap();
    net.set_relay(Some(relay.info())).await;
    assert_eq!(relay.seen(me).len(), 1, "nobody needs another one yet");
    assert_eq!(tcp_port(&relay.seen(me)[0].from), None);

    let other = Other::start(&relay, LISTENS[1]).await;
    let circuit = relay.addrs[0]
        .clone()
        .with(Protocol::P2p(relay.peer))
        .with(Protocol::P2pCircuit)
        .with(Protocol::P2p(me));
    other.dials.send(circuit).unwrap();
    eventually("a connection over TCP", || relay.seen(me).len() == 2).await;
    let listening: Vec<u16> = net.listen_addrs().iter().filter_map(tcp_port).collect();
    let seen = tcp_port(&relay.seen(me)[1].from);
    assert_eq!(seen.as_slice(), listening, "from the port we listen on");

    // Whichever connection has the reservation, losing it is noticed.
    let before = relay.reservations.load(Ordering::SeqCst);
    relay.close(relay.seen(me)[0].id);
    eventually("another reservation", || {
        relay.reservations.load(Ordering::SeqCst) > before
    })
    .await;
    stop([net]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_comes_through_the_relay_has_lost_its_direct_connection() {
    let relay = RelayServer::start(&Keypair::generate_ed25519(), 0, Knows::ItsAddress).await;
    let net = ours(&relay).await;
    let me = Protocol::P2p(net.local_peer_id());
    let tcp = net.listen_addrs();
    let cable = Cable::to(tcp.iter().find(|addr| tcp_port(addr).is_some()).unwrap()).await;
    let mut other = Other::start(&relay, LISTENS[1]).await;
    other
        .dials
        .send(cable.addr.clone().with(me.clone()))
        .unwrap();
    eventually("a direct connection", || {
        connection(&net, other.id) == Some(Connection::Direct)
    })
    .await;
    cable.cut();
    other.leaves.send(net.local_peer_id()).unwrap();
    let circuit = relay.addrs[0]
        .clone()
        .with(Protocol::P2p(relay.peer))
        .with(Protocol::P2pCircuit)
        .with(me);
    other.dials.send(circuit).unwrap();
    within("a hole", other.punched.recv())
        .await
        .unwrap()
        .unwrap();
    stop([net]).await;
}
