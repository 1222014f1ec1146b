//! Starting and ending a host: ports, settings, handles.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use std::net::{TcpListener, UdpSocket};
use std::time::{Duration, Instant};

use goop_net::{Discovery, Listen, Multiaddr, Net, NetConfig, NetError, Router};
use support::{config, start, stop, within};

fn port_of(addr: &Multiaddr) -> u16 {
    use libp2p::multiaddr::Protocol;
    addr.iter()
        .find_map(|part| match part {
            Protocol::Tcp(port) | Protocol::Udp(port) => Some(port),
            _ => None,
        })
        .unwrap()
}

#[tokio::test]
async fn tcp_and_quic_listen_on_the_same_number() {
    let net = start(config(), Router::new(), "A").await;
    let both = |addrs: &Vec<Multiaddr>| addrs.len() == 2;
    let addrs = within("two addresses", net.listening().wait_for(both))
        .await
        .unwrap()
        .clone();
    assert_eq!(port_of(&addrs[0]), port_of(&addrs[1]));
    assert!(
        addrs
            .iter()
            .any(|addr| addr.to_string().ends_with("/quic-v1")),
        "{addrs:?}"
    );
    stop([net]).await;
}

#[tokio::test]
async fn a_configured_port_is_used_again_right_after_the_last_run() {
    let net = start(config(), Router::new(), "A").await;
    let port = port_of(&net.listen_addrs()[0]);
    stop([net]).await;
    let again = NetConfig {
        listen: Listen::Loopback { port },
        ..config()
    };
    let net = start(again, Router::new(), "A").await;
    assert_eq!(port_of(&net.listen_addrs()[0]), port);
    stop([net]).await;
}

#[tokio::test]
async fn a_taken_port_is_named_with_what_to_do() {
    let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
    let other = start(config(), Router::new(), "A").await;
    let taken = [
        tcp.local_addr().unwrap().port(),
        udp.local_addr().unwrap().port(),
        // libp2p shares its ports, so this one would go unnoticed.
        port_of(&other.listen_addrs()[0]),
    ];
    for port in taken {
        let config = NetConfig {
            listen: Listen::Loopback { port },
            ..config()
        };
        let refused = Net::start(config, Router::new()).await.map(|_| ());
        let Err(NetError::Port { port: named, .. }) = refused else {
            panic!("{port}: {refused:?}")
        };
        assert_eq!(named, port);
        let text = refused.unwrap_err().to_string();
        assert!(
            text.contains(&port.to_string()) && text.contains("goop.json"),
            "{text}"
        );
    }
    stop([other]).await;
}

#[tokio::test]
async fn a_tag_that_is_no_name_is_refused() {
    let config = NetConfig {
        discovery: Discovery::Mdns {
            tag: "x".repeat(100),
        },
        ..config()
    };
    let refused = Net::start(config, Router::new()).await.map(|_| ());
    assert!(matches!(refused, Err(NetError::Setting(_))), "{refused:?}");
}

#[tokio::test]
async fn a_host_ends_with_its_last_handle() {
    let net = start(config(), Router::new(), "A").await;
    let port = port_of(&net.listen_addrs()[0]);
    let mut changes = net.changes();
    drop(net);
    within("an end", async { while changes.changed().await.is_ok() {} }).await;
    within("a free port", async {
        while TcpListener::bind(("127.0.0.1", port)).is_err() {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn starting_and_ending_takes_no_time() {
    let begun = Instant::now();
    let net = Net::start(config(), Router::new()).await.unwrap();
    // Far above what it takes, far below what waiting for anything would.
    assert!(
        begun.elapsed() < Duration::from_secs(2),
        "{:?}",
        begun.elapsed()
    );
    let begun = Instant::now();
    net.shutdown(Duration::from_secs(5)).await;
    assert!(
        begun.elapsed() < Duration::from_secs(1),
        "{:?}",
        begun.elapsed()
    );
    // What is asked of a host that ended is answered.
    assert!(!net.probe(net.local_peer_id()).await);
    net.probe_all().await;
    assert!(net.set_favorite(net.local_peer_id(), true).await.is_err());
}
