//! Peers that reach each other through a relay, over 127.0.0.1: reservations that survive the relay, circuits where
//! there is no direct way, and none where there is one.

#![allow(clippy::unwrap_used)]

#[path = "support/relay_server.rs"]
mod relay_server;
mod support;

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use goop_identity::Keypair;
use goop_identity::presence::{PresenceKind, PresenceMessage};
use goop_net::{Multiaddr, Net, RelayState, RouteLimits, Router, Transports};
use relay_server::{Knows, RelayServer};
use support::{
    Cable, ECHO, Hanging, ask_echo, echo, eventually, over, start, stop, tcp_port, within,
};
use tokio::net::{TcpListener, TcpStream};

fn echoing() -> Router {
    Router::new().route(ECHO, RouteLimits::default(), echo)
}

/// Two peers without a transport in common, so only a relay brings them together.
async fn strangers() -> (Net, Net) {
    (
        start(over(Transports::TcpNoise), Router::new(), "A").await,
        start(over(Transports::Quic), echoing(), "B").await,
    )
}

async fn relay(knows: Knows) -> RelayServer {
    RelayServer::start(&Keypair::generate_ed25519(), 0, knows).await
}

async fn reserved(net: &Net) {
    let mut state = net.relay_state();
    let seen = state.wait_for(|state| matches!(state, RelayState::Reserved { .. }));
    let seen = tokio::time::timeout(support::PATIENCE, seen).await.is_ok();
    assert!(seen, "no reservation: {:?}", *net.relay_state().borrow());
}

async fn use_relay(nets: [&Net; 2], relay: &RelayServer) {
    for net in nets {
        net.set_relay(Some(relay.info())).await;
        reserved(net).await;
    }
}

/// What `net` says to its rendezvous once that is as wished.
async fn said(net: &Net, what: &str, wished: impl Fn(&PresenceMessage) -> bool) -> PresenceMessage {
    net.go_online();
    let mut own = net.own_record();
    let record = within(what, own.wait_for(|own| own.as_ref().is_some_and(&wished))).await;
    record.unwrap().clone().unwrap()
}

fn is_circuit(addr: impl AsRef<str>) -> bool {
    addr.as_ref().contains("/p2p-circuit")
}

/// How `a` is connected with `b`, and where.
fn connection(a: &Net, b: &Net) -> (goop_net::topology::Connection, String) {
    let id = b.local_peer_id().to_base58();
    let peers = a.topology().peers.unwrap_or_default();
    let peer = peers.into_iter().find(|peer| peer.id == id).unwrap();
    (peer.connection, peer.addr)
}

#[tokio::test(flavor = "multi_thread")]
async fn peers_without_a_direct_way_reach_each_other_through_a_relay() {
    use goop_net::topology::Connection;
    for knows in [Knows::Nothing, Knows::ItsAddress] {
        let relay = relay(knows).await;
        let (a, b) = strangers().await;
        use_relay([&a, &b], &relay).await;
        let record = said(&b, "circuit addresses", |own| {
            own.addrs.first().is_some_and(is_circuit)
        })
        .await;
        a.heard_from_rendezvous(record).await;
        ask_echo(&a, b.local_peer_id(), b"through the relay").await;
        assert!(relay.circuits.load(Ordering::SeqCst) > 0);
        let (kind, addr) = connection(&a, &b);
        assert_eq!(kind, Connection::Relay);
        assert!(
            addr.contains(&format!("/p2p/{}/p2p-circuit", relay.peer)),
            "{addr}"
        );
        // The one who was called sees the same, a moment after it answered perhaps.
        let id = a.local_peer_id().to_base58();
        eventually("a connection through the relay", || {
            let peers = b.topology().peers.unwrap_or_default();
            let peer = peers.iter().find(|peer| peer.id == id);
            peer.is_some_and(|peer| peer.connection == Connection::Relay)
        })
        .await;
        // Known, unreachable and heard of again: it is asked, and answers (network.md 5.3).
        support::row(&a, b.local_peer_id(), "reachable", |row| row.reachable).await;
        let topology = a.topology();
        assert!(topology.own.has_circuit);
        assert_eq!(topology.relay.unwrap().id, relay.peer.to_base58());
        let told = a.diagnosis(goop_net::diag::Own::default());
        assert_eq!((told.has_circuit, told.relay_conns), (true, 1));
        assert_eq!(told.relay_config.unwrap().peer_id, relay.peer.to_base58());
        assert_eq!(told.relay_timing.unwrap().cleanup_delay, "500ms");
        assert!(
            told.connected_peer_details
                .iter()
                .any(|detail| detail.is_relay)
        );
        assert!(
            told.protocols
                .iter()
                .any(|protocol| protocol.ends_with("/stop"))
        );
        stop([a, b]).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_tells_no_circuit_is_tried_through_our_relay() {
    let relay = relay(Knows::Nothing).await;
    let (a, b) = strangers().await;
    use_relay([&a, &b], &relay).await;
    let record = PresenceMessage::new(PresenceKind::Online, b.local_peer_id(), 1);
    a.heard_from_rendezvous(record).await;
    ask_echo(&a, b.local_peer_id(), b"through our relay").await;
    stop([a, b]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_of_the_lan_is_never_reached_through_the_relay() {
    use goop_net::topology::Connection;
    let relay = relay(Knows::Nothing).await;
    let (a, b) = (
        start(over(Transports::All), Router::new(), "A").await,
        start(over(Transports::All), echoing(), "B").await,
    );
    use_relay([&a, &b], &relay).await;
    let record = said(&b, "all addresses", |own| {
        own.addrs.first().is_some_and(is_circuit) && !own.addrs.iter().all(is_circuit)
    })
    .await;
    a.heard_from_rendezvous(record).await;
    ask_echo(&a, b.local_peer_id(), b"directly").await;
    assert_eq!(connection(&a, &b).0, Connection::Direct);
    assert_eq!(relay.circuits.load(Ordering::SeqCst), 0);
    stop([a, b]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_circuit_gives_way_to_a_direct_connection() {
    use goop_net::topology::Connection;
    let relay = relay(Knows::Nothing).await;
    let (a, b) = (
        start(over(Transports::All), Router::new(), "A").await,
        start(over(Transports::All), echoing(), "B").await,
    );
    use_relay([&a, &b], &relay).await;
    // Nothing is said of where it listens; it tells over the circuit.
    let record = PresenceMessage::new(PresenceKind::Online, b.local_peer_id(), 1);
    a.heard_from_rendezvous(record).await;
    ask_echo(&a, b.local_peer_id(), b"first").await;
    assert_eq!(relay.circuits.load(Ordering::SeqCst), 1);
    eventually("a direct connection alone", || {
        let own = goop_net::diag::Own::default();
        let details = a.diagnosis(own).connected_peer_details;
        let to_b = details
            .iter()
            .filter(|detail| detail.peer_id == b.local_peer_id().to_base58());
        connection(&a, &b).0 == Connection::Direct
            && !to_b.clone().any(|detail| is_circuit(&detail.addr))
    })
    .await;
    ask_echo(&a, b.local_peer_id(), b"then").await;
    stop([a, b]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_that_comes_back_finds_us_again() {
    let key = Keypair::generate_ed25519();
    let relay = RelayServer::start(&key, 0, Knows::Nothing).await;
    let port = relay.port();
    let (a, b) = strangers().await;
    use_relay([&a, &b], &relay).await;
    drop(relay);
    for net in [&a, &b] {
        let mut state = net.relay_state();
        let lost = state.wait_for(|state| matches!(state, RelayState::Lost { .. }));
        within("its loss", lost).await.unwrap();
    }
    // The gap outlives the grace: nobody is told the way through the relay any more.
    said(&a, "no circuits", |own| !own.addrs.iter().any(is_circuit)).await;
    let relay = RelayServer::start(&key, port, Knows::Nothing).await;
    for net in [&a, &b] {
        reserved(net).await;
    }
    said(&a, "circuits", |own| own.addrs.iter().any(is_circuit)).await;
    let record = PresenceMessage::new(PresenceKind::Online, b.local_peer_id(), 1);
    a.heard_from_rendezvous(record).await;
    ask_echo(&a, b.local_peer_id(), b"again").await;
    drop(relay);
    stop([a, b]).await;
}

/// Who moved comes back through the relay; what it left behind there looks alive, and whoever waits for an answer on it
/// learns at once that none will come.
#[tokio::test(flavor = "multi_thread")]
async fn a_circuit_that_somebody_left_behind_ends_with_what_waits_on_it() {
    let relay = relay(Knows::Nothing).await;
    let a = start(over(Transports::Quic), echoing(), "A").await;
    let b = start(over(Transports::TcpNoise), echoing(), "B").await;
    let cable = Cable::to(&relay.addrs[0]).await;
    let mut info = relay.info();
    info.addrs = vec![cable.addr.clone()];
    a.set_relay(Some(relay.info())).await;
    b.set_relay(Some(info)).await;
    reserved(&a).await;
    reserved(&b).await;
    for (here, there) in [(&a, &b), (&b, &a)] {
        let record = PresenceMessage::new(PresenceKind::Online, there.local_peer_id(), 1);
        here.heard_from_rendezvous(record).await;
    }
    let hanging = Hanging::on(&a, b.local_peer_id(), &cable).await;
    b.set_relay(Some(relay.info())).await;
    b.network_changed().await;
    ask_echo(&b, a.local_peer_id(), b"from elsewhere").await;
    hanging.ends().await;
    ask_echo(&a, b.local_peer_id(), b"to elsewhere").await;
    stop([a, b]).await;
}

/// A relay that is reached over QUIC is also looked at over TCP, and where TCP is swallowed that takes its time. The
/// relay itself is not waited for as long: it was, behind a firewall, for as long as the look took.
#[tokio::test(flavor = "multi_thread")]
async fn a_look_that_nobody_answers_does_not_keep_us_from_the_relay() {
    let relay = relay(Knows::Nothing).await;
    let (hole, swallowed) = swallowing().await;
    let a = start(over(Transports::All), echoing(), "A").await;
    let b = start(over(Transports::TcpNoise), Router::new(), "B").await;
    let mut info = relay.info();
    info.addrs.retain(|addr| tcp_port(addr).is_none());
    info.addrs.push(hole);
    a.set_relay(Some(info)).await;
    reserved(&a).await;
    b.set_relay(Some(relay.info())).await;
    reserved(&b).await;
    swallowed.lock().unwrap().clear();
    let record = PresenceMessage::new(PresenceKind::Online, a.local_peer_id(), 1);
    b.heard_from_rendezvous(record).await;
    ask_echo(&b, a.local_peer_id(), b"first").await;
    eventually("a look", || !swallowed.lock().unwrap().is_empty()).await;
    let before = relay.seen(a.local_peer_id());
    relay.close(before.last().unwrap().id);
    let again = || relay.seen(a.local_peer_id()).len() > before.len();
    eventually("another connection", again).await;
    reserved(&a).await;
    assert!(
        swallowed.lock().unwrap().iter().all(is_open),
        "the look was over before"
    );
    stop([a, b]).await;
}

/// The relay may be learned after somebody began to wait.
#[tokio::test(flavor = "multi_thread")]
async fn who_waits_for_a_direct_dial_goes_through_a_relay_that_comes_up_meanwhile() {
    let relay = relay(Knows::Nothing).await;
    let (hole, swallowed) = swallowing().await;
    let a = start(over(Transports::All), Router::new(), "A").await;
    let b = start(over(Transports::TcpNoise), echoing(), "B").await;
    b.set_relay(Some(relay.info())).await;
    reserved(&b).await;
    a.add_known_addrs(b.local_peer_id(), vec![hole]).await;
    let asked = ask_echo(&a, b.local_peer_id(), b"in between");
    let learned = async {
        eventually("a dial", || !swallowed.lock().unwrap().is_empty()).await;
        a.set_relay(Some(relay.info())).await;
    };
    tokio::join!(asked, learned);
    assert!(
        swallowed.lock().unwrap().iter().all(is_open),
        "the direct dial was waited for"
    );
    stop([a, b]).await;
}

/// A TCP address where connections are taken and nothing is ever said.
async fn swallowing() -> (Multiaddr, Arc<Mutex<Vec<TcpStream>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let swallowed = Arc::new(Mutex::new(Vec::new()));
    let keeps = swallowed.clone();
    // Ends with the test's runtime.
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            keeps.lock().unwrap().push(stream);
        }
    });
    let addr = format!("/ip4/127.0.0.1/tcp/{port}").parse().unwrap();
    (addr, swallowed)
}

/// Whether the other side did not close it.
fn is_open(stream: &TcpStream) -> bool {
    let mut buffer = [0; 1_024];
    loop {
        match stream.try_read(&mut buffer) {
            Ok(0) => return false,
            Ok(_) => {}
            Err(error) => return error.kind() == std::io::ErrorKind::WouldBlock,
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_relay_in_its_place_is_noticed_and_used_once_it_is_known() {
    let relay = relay(Knows::Nothing).await;
    let port = relay.port();
    let (a, b) = strangers().await;
    use_relay([&a, &b], &relay).await;
    drop(relay);
    let other = RelayServer::start(&Keypair::generate_ed25519(), port, Knows::Nothing).await;
    let mut state = a.relay_state();
    let told = state.wait_for(
        |state| matches!(state, RelayState::Lost { reason, .. } if reason.contains("somebody else")),
    );
    within("a reason", told).await.unwrap();
    use_relay([&a, &b], &other).await;
    assert_eq!(a.relay_peer(), Some(other.peer));
    // And none at all.
    a.set_relay(None).await;
    let mut state = a.relay_state();
    let off = state.wait_for(|state| *state == RelayState::Off);
    within("no relay", off).await.unwrap();
    eventually("no connection to it", || !a.is_connected(&other.peer)).await;
    stop([a, b]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_relay_may_ask_for_a_pulse_and_nobody_else() {
    let relay = relay(Knows::Nothing).await;
    let (a, b) = (
        start(over(Transports::All), Router::new(), "A").await,
        start(over(Transports::All), Router::new(), "B").await,
    );
    a.set_relay(Some(relay.info())).await;
    reserved(&a).await;
    support::connect(&b, &a).await;
    let protocol = goop_net::StreamProtocol::new(goop_net::relay::refresh::PROTOCOL);
    let (_, stream) = b
        .open(a.local_peer_id(), std::slice::from_ref(&protocol))
        .await
        .unwrap();
    let answer = within("an end", goop_net::relay::refresh::fetch(stream)).await;
    assert!(answer.is_err(), "{answer:?}");
    // For A, B is the relay now; it has no reservation there.
    let info = goop_net::RelayInfo {
        peer: b.local_peer_id(),
        addrs: b.listen_addrs(),
        timings: goop_net::RelayTimings::default(),
    };
    a.set_relay(Some(info)).await;
    let mut state = a.relay_state();
    let told = state.wait_for(
        |state| matches!(state, RelayState::Lost { reason, .. } if reason.contains("no relay")),
    );
    within("a reason", told).await.unwrap();
    let (_, stream) = b.open(a.local_peer_id(), &[protocol]).await.unwrap();
    let answer = within("an answer", goop_net::relay::refresh::fetch(stream)).await;
    assert_eq!(
        answer.unwrap(),
        goop_net::relay::refresh::Pulse::nudged(false)
    );
    stop([a, b]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_record_for_a_rendezvous_is_a_farewell() {
    let (a, b) = strangers().await;
    said(&a, "a first record", |own| own.kind == PresenceKind::Online).await;
    let mut own = a.own_record();
    let heard = tokio::spawn(async move {
        let seen = own.wait_for(|own| {
            own.as_ref()
                .is_some_and(|own| own.kind == PresenceKind::Offline)
        });
        seen.await.is_ok()
    });
    a.shutdown(Duration::from_secs(5)).await;
    assert!(within("a farewell", heard).await.unwrap());
    stop([b]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_nobody_reaches_is_said_so_in_words() {
    let relay = relay(Knows::Nothing).await;
    let (a, b) = strangers().await;
    use_relay([&a, &b], &relay).await;
    let gone = goop_net::PeerId::random();
    let refused = within("an answer", a.open(gone, &[ECHO])).await;
    let reason = refused.map(|_| ()).unwrap_err().to_string();
    assert!(reason.contains("the relay does not reach it"), "{reason}");
    assert!(reason.contains("not connected to it"), "{reason}");
    stop([a, b]).await;
}
