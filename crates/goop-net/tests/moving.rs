//! The network around a peer changes: connections that died with the old one are found out and replaced at once.

#![allow(clippy::unwrap_used)]

mod support;

use goop_net::{Net, PeerId, RouteLimits, Router, Transports};
use support::{
    Cable, ECHO, Hanging, ask_echo, echo, eventually, over, start, stop, tcp_port, within,
};

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

/// Nobody waits for a dial of the old network until it has taken all the time it may.
#[tokio::test(flavor = "multi_thread")]
async fn a_dial_that_went_nowhere_is_begun_anew_when_the_network_changes() {
    let echoing = Router::new().route(ECHO, RouteLimits::default(), echo);
    let a = start(over(Transports::TcpNoise), Router::new(), "A").await;
    let b = start(over(Transports::TcpNoise), echoing, "B").await;
    // Takes connections and says nothing, as a way that is gone does.
    let hole = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = hole.local_addr().unwrap().port();
    let nowhere = format!("/ip4/127.0.0.1/tcp/{port}").parse().unwrap();
    a.add_known_addrs(b.local_peer_id(), vec![nowhere]).await;
    let (mut swallowed, _) = within("a dial", hole.accept()).await.unwrap();
    support::introduce(&a, &b).await;
    a.network_changed().await;
    ask_echo(&a, b.local_peer_id(), b"after").await;
    // The old dial would have been given up by now, had it been waited for.
    let mut sent = Vec::new();
    let closed = tokio::io::AsyncReadExt::read_to_end(&mut swallowed, &mut sent);
    let still_open = tokio::time::timeout(std::time::Duration::ZERO, closed).await;
    assert!(still_open.is_err(), "the old dial was waited for");
    stop([a, b]).await;
}

/// Who waits for an answer on a connection that turns out to be dead learns it at once, not when patience ends.
#[tokio::test(flavor = "multi_thread")]
async fn streams_of_a_dead_connection_end_with_it() {
    let echoing = Router::new().route(ECHO, RouteLimits::default(), echo);
    let a = start(over(Transports::TcpNoise), Router::new(), "A").await;
    let b = start(over(Transports::TcpNoise), echoing, "B").await;
    let addrs = b.listen_addrs();
    let tcp = addrs.iter().find(|addr| tcp_port(addr).is_some()).unwrap();
    let cable = Cable::to(tcp).await;
    a.add_known_addrs(b.local_peer_id(), vec![cable.addr.clone()])
        .await;
    let hanging = Hanging::on(&a, b.local_peer_id(), &cable).await;
    a.network_changed().await;
    hanging.ends().await;
    // It learns it, too, and need not be waited for.
    b.network_changed().await;
    stop([a, b]).await;
}
