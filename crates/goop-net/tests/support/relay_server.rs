//! A relay as the library has it, on 127.0.0.1, that can be killed.

#![allow(dead_code, clippy::unwrap_used, unreachable_pub)]

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use futures::StreamExt;
use goop_identity::Keypair;
use goop_net::{Multiaddr, PeerId, RelayInfo, RelayTimings};
use libp2p::swarm::{ConnectionId, NetworkBehaviour, SwarmEvent};
use libp2p::{SwarmBuilder, identify, noise, relay, tls, yamux};
use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;

use super::support::{eventually, within};

#[derive(NetworkBehaviour)]
struct Behaviour {
    relay: relay::Behaviour,
    identify: identify::Behaviour,
}

/// Whether the relay knows an address of its own, which it then says in its reservations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Knows {
    ItsAddress,
    Nothing,
}

/// A connection to the relay.
#[derive(Debug, Clone)]
pub struct Seen {
    pub peer: PeerId,
    pub id: ConnectionId,
    pub from: Multiaddr,
}

/// A running relay. Dropping it kills it.
pub struct RelayServer {
    pub peer: PeerId,
    pub addrs: Vec<Multiaddr>,
    pub circuits: Arc<AtomicUsize>,
    pub reservations: Arc<AtomicUsize>,
    /// Every connection there was: whose, and from where.
    pub seen: Arc<Mutex<Vec<Seen>>>,
    closing: mpsc::UnboundedSender<ConnectionId>,
    _task: AbortOnDropHandle<()>,
}

impl RelayServer {
    /// Listens on a port for TCP and QUIC; 0 takes a free one.
    pub async fn start(keypair: &Keypair, port: u16, knows: Knows) -> Self {
        let mut swarm = SwarmBuilder::with_existing_identity(keypair.clone())
            .with_tokio()
            .with_tcp(
                libp2p::tcp::Config::default(),
                (tls::Config::new, noise::Config::new),
                yamux::Config::default,
            )
            .unwrap()
            .with_quic()
            .with_behaviour(|key| Behaviour {
                relay: relay::Behaviour::new(key.public().to_peer_id(), relay::Config::default()),
                identify: identify::Behaviour::new(identify::Config::new(
                    String::new(),
                    key.public(),
                )),
            })
            .unwrap()
            .with_swarm_config(|swarm| {
                swarm.with_idle_connection_timeout(std::time::Duration::from_secs(3_600))
            })
            .build();
        swarm
            .listen_on(format!("/ip4/127.0.0.1/tcp/{port}").parse().unwrap())
            .unwrap();
        let mut addrs = Vec::new();
        while addrs.len() < 2 {
            if let SwarmEvent::NewListenAddr { address, .. } =
                within("a listening relay", swarm.select_next_some()).await
            {
                if addrs.is_empty() {
                    let quic = format!("/ip4/127.0.0.1/udp/{}/quic-v1", port_of(&address));
                    // One that was just killed may not have let go of its port.
                    eventually("a free port", || {
                        swarm.listen_on(quic.parse().unwrap()).is_ok()
                    })
                    .await;
                }
                addrs.push(address);
            }
        }
        // It would wait until it knows an address, which a Go relay does not.
        let always = Some(relay::Status::Enable);
        swarm.behaviour_mut().relay.set_status(always);
        if knows == Knows::ItsAddress {
            swarm.add_external_address(addrs[0].clone());
        }
        let circuits = Arc::new(AtomicUsize::new(0));
        let reservations = Arc::new(AtomicUsize::new(0));
        let counts = (circuits.clone(), reservations.clone());
        let seen = Arc::new(Mutex::new(Vec::new()));
        let sees = seen.clone();
        let (closing, mut to_close) = mpsc::unbounded_channel();
        let task = tokio::spawn(async move {
            loop {
                let event = tokio::select! {
                    event = swarm.select_next_some() => event,
                    Some(id) = to_close.recv() => {
                        swarm.close_connection(id);
                        continue;
                    }
                };
                match event {
                    SwarmEvent::ConnectionEstablished {
                        peer_id,
                        connection_id,
                        endpoint,
                        ..
                    } => sees.lock().unwrap().push(Seen {
                        peer: peer_id,
                        id: connection_id,
                        from: endpoint.get_remote_address().clone(),
                    }),
                    SwarmEvent::Behaviour(BehaviourEvent::Relay(
                        relay::Event::CircuitReqAccepted { .. },
                    )) => drop(counts.0.fetch_add(1, Ordering::SeqCst)),
                    SwarmEvent::Behaviour(BehaviourEvent::Relay(
                        relay::Event::ReservationReqAccepted { .. },
                    )) => drop(counts.1.fetch_add(1, Ordering::SeqCst)),
                    _ => {}
                }
            }
        });
        Self {
            peer: keypair.public().to_peer_id(),
            addrs,
            circuits,
            reservations,
            seen,
            closing,
            _task: AbortOnDropHandle::new(task),
        }
    }

    /// The connections a peer made.
    pub fn seen(&self, peer: PeerId) -> Vec<Seen> {
        let seen = self.seen.lock().unwrap();
        seen.iter()
            .filter(|seen| seen.peer == peer)
            .cloned()
            .collect()
    }

    pub fn close(&self, id: ConnectionId) {
        self.closing.send(id).unwrap();
    }

    pub fn port(&self) -> u16 {
        port_of(&self.addrs[0])
    }

    /// What a rendezvous would say of it.
    pub fn info(&self) -> RelayInfo {
        RelayInfo {
            peer: self.peer,
            addrs: self.addrs.clone(),
            timings: RelayTimings::default(),
        }
    }
}

fn port_of(addr: &Multiaddr) -> u16 {
    use libp2p::multiaddr::Protocol;
    addr.iter()
        .find_map(|part| match part {
            Protocol::Tcp(port) | Protocol::Udp(port) => Some(port),
            _ => None,
        })
        .unwrap()
}
