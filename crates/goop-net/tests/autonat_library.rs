//! AutoNAT v2 with the library's own implementation at the other end, in both roles, over 127.0.0.1.

#![allow(clippy::unwrap_used)]

mod support;

use std::time::Duration;

use futures::StreamExt;
use goop_identity::Keypair;
use goop_net::{Router, Transports};
use libp2p::swarm::{NetworkBehaviour, Swarm, SwarmEvent};
use libp2p::{SwarmBuilder, identify, noise, tcp, tls, yamux};
use libp2p_autonat::v2::{client, server};
use support::{over, start, stop, within};
use tokio_util::task::AbortOnDropHandle;

#[derive(NetworkBehaviour)]
struct Server {
    autonat: server::Behaviour,
    identify: identify::Behaviour,
}

#[derive(NetworkBehaviour)]
struct Client {
    autonat: client::Behaviour,
    identify: identify::Behaviour,
}

/// A peer as the library makes it, which listens.
async fn library<B: NetworkBehaviour>(behaviour: impl Fn(&Keypair) -> B) -> Swarm<B> {
    let mut swarm = SwarmBuilder::with_existing_identity(Keypair::generate_ed25519())
        .with_tokio()
        .with_tcp(
            tcp::Config::default(),
            (tls::Config::new, noise::Config::new),
            yamux::Config::default,
        )
        .unwrap()
        .with_behaviour(|key| behaviour(key))
        .unwrap()
        .with_swarm_config(|swarm| swarm.with_idle_connection_timeout(Duration::from_secs(3_600)))
        .build();
    swarm
        .listen_on("/ip4/127.0.0.1/tcp/0".parse().unwrap())
        .unwrap();
    within("a listener", async {
        while !matches!(
            swarm.select_next_some().await,
            SwarmEvent::NewListenAddr { .. }
        ) {}
    })
    .await;
    swarm
}

fn identify_of(key: &Keypair) -> identify::Behaviour {
    identify::Behaviour::new(identify::Config::new(String::new(), key.public()))
}

/// It wants data for every address, because it compares ports, too.
#[tokio::test(flavor = "multi_thread")]
async fn the_librarys_server_confirms_our_address() {
    let mut swarm = library(|key| Server {
        autonat: server::Behaviour::default(),
        identify: identify_of(key),
    })
    .await;
    let peer = *swarm.local_peer_id();
    let addrs = swarm.listeners().cloned().collect();
    let _task = AbortOnDropHandle::new(tokio::spawn(async move {
        loop {
            swarm.select_next_some().await;
        }
    }));
    let net = start(over(Transports::TcpNoise), Router::new(), "A").await;
    net.add_known_addrs(peer, addrs).await;
    let mut outside = net.outside();
    let confirmed = outside.wait_for(|outside| !outside.confirmed.is_empty());
    let confirmed = within("a confirmed address", confirmed).await.unwrap();
    assert!(net.listen_addrs().contains(&confirmed.confirmed[0]));
    drop(confirmed);
    stop([net]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn we_confirm_the_address_of_the_librarys_client() {
    let mut swarm = library(|key| Client {
        autonat: client::Behaviour::default(),
        identify: identify_of(key),
    })
    .await;
    let net = start(over(Transports::TcpNoise), Router::new(), "A").await;
    let addrs = net.listen_addrs();
    let tcp = addrs.iter().find(|addr| support::tcp_port(addr).is_some());
    swarm.dial(tcp.unwrap().clone()).unwrap();
    let own: Vec<_> = swarm.listeners().cloned().collect();
    let event = within("a confirmed address", async {
        loop {
            if let SwarmEvent::Behaviour(ClientEvent::Autonat(event)) =
                swarm.select_next_some().await
            {
                return event;
            }
        }
    })
    .await;
    assert!(event.result.is_ok(), "{:?}", event.result);
    assert_eq!(event.server, net.local_peer_id());
    assert!(own.contains(&event.tested_addr), "{}", event.tested_addr);
    assert_eq!(event.bytes_sent, 0, "its own address costs nothing");
    stop([net]).await;
}
