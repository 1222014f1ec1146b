//! The network around a peer changes: connections that died with the old one are found out and replaced at once.

#![allow(clippy::unwrap_used)]

mod support;

use goop_net::{Net, PeerId, RouteLimits, Router, Transports};
use support::{Cable, ECHO, ask_echo, echo, eventually, over, start, stop, tcp_port};

/// Where a peer is connected.
fn connected_at(net: &Net, peer: PeerId) -> Option<String> {
    let (id, peers) = (peer.to_base58(), net.topology().peers);
    let peer = peers?.into_iter().find(|peer| peer.id == id)?;
    Some(peer.addr).filter(|addr| !addr.is_empty())
}

#[tokio::test(flavor = "multi_thread")]
async fn dead_connections_are_found_out_when_the_network_changes_and_living_ones_stay() {
    let echoing = || Router::new().route(ECHO, RouteLimits::default(), echo);
    let a = start(over(Transports::TcpNoise), Router::new(), "A").await;
    let others = [
        start(over(Transports::TcpNoise), echoing(), "Dead").await,
        start(over(Transports::TcpNoise), echoing(), "Living").await,
    ];
    let [dead, living] = [&others[0], &others[1]].map(Net::local_peer_id);
    let mut cables = Vec::new();
    for net in &others {
        let addrs = net.listen_addrs();
        let tcp = addrs.iter().find(|addr| tcp_port(addr).is_some()).unwrap();
        let cable = Cable::to(tcp).await;
        a.add_known_addrs(net.local_peer_id(), vec![cable.addr.clone()])
            .await;
        ask_echo(&a, net.local_peer_id(), b"before").await;
        cables.push(cable);
    }
    let before = [dead, living].map(|peer| connected_at(&a, peer));
    assert_eq!(before[0], Some(cables[0].addr.to_string()));
    cables[0].cut();
    a.network_changed().await;
    eventually("the dead connection is closed", || {
        connected_at(&a, dead) != before[0]
    })
    .await;
    ask_echo(&a, dead, b"after").await;
    ask_echo(&a, living, b"after").await;
    assert_eq!(connected_at(&a, living), before[1]);
    stop([a].into_iter().chain(others)).await;
}
