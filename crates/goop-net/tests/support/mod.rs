//! Hosts on 127.0.0.1 for tests, and waiting for conditions.

#![allow(dead_code, clippy::unwrap_used, unreachable_pub, missing_docs)]

use std::future::Future;
use std::time::Duration;

use goop_identity::Keypair;
use goop_net::{
    Caller, Discovery, Listen, LocalProfile, Net, NetConfig, PeerId, RouteLimits, Router, Stream,
    StreamProtocol, Transports, content,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// Longest a condition may take to come true on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(20);

pub const ECHO: StreamProtocol = StreamProtocol::new("/test/echo/1.0.0");
pub const OTHER: StreamProtocol = StreamProtocol::new("/test/other/1.0.0");

/// Settings of a host that stays on this machine and is found by nobody.
pub fn config() -> NetConfig {
    NetConfig {
        listen: Listen::Loopback { port: 0 },
        discovery: Discovery::Off,
        ..NetConfig::new(Keypair::generate_ed25519())
    }
}

pub fn config_of(keypair: &Keypair) -> NetConfig {
    NetConfig {
        keypair: keypair.clone(),
        ..config()
    }
}

pub fn over(transports: Transports) -> NetConfig {
    NetConfig {
        transports,
        ..config()
    }
}

/// A host that listens and says its name.
pub async fn start(config: NetConfig, router: Router, name: &'static str) -> Net {
    let content = StreamProtocol::new(content::PROTOCOL);
    let say = move |caller: Caller, stream: Stream| async move {
        content::serve(caller.peer, stream, name).await.unwrap();
    };
    let router = router.route(content, RouteLimits::default(), say);
    let net = Net::start(config, router).await.unwrap();
    net.announce(profile(name));
    within(
        "listening",
        net.listening().wait_for(|addrs| !addrs.is_empty()),
    )
    .await
    .unwrap();
    net
}

pub fn profile(name: &str) -> LocalProfile {
    LocalProfile {
        label: name.to_owned(),
        version: "1.2.3".to_owned(),
        ..LocalProfile::default()
    }
}

/// Tells `a` where `b` is.
pub async fn introduce(a: &Net, b: &Net) {
    a.add_known_addrs(b.local_peer_id(), b.listen_addrs()).await;
}

/// Two connected hosts over the same transports, the second one with `router`.
pub async fn pair(transports: Transports, router: Router) -> (Net, Net) {
    let (a, b) = (
        start(over(transports), Router::new(), "A").await,
        start(over(transports), router, "B").await,
    );
    connect(&a, &b).await;
    (a, b)
}

pub async fn connect(a: &Net, b: &Net) {
    introduce(a, b).await;
    eventually("a connection", || {
        a.is_connected(&b.local_peer_id()) && b.is_connected(&a.local_peer_id())
    })
    .await;
}

pub async fn stop(nets: impl IntoIterator<Item = Net>) {
    futures::future::join_all(
        nets.into_iter()
            .map(async |net| net.shutdown(PATIENCE).await),
    )
    .await;
}

/// The result of a future, or a failed test.
pub async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(PATIENCE, future).await {
        Ok(value) => value,
        Err(_) => panic!("no {what} within {PATIENCE:?}"),
    }
}

/// Waits until a condition holds.
pub async fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    within(what, async {
        let mut look = tokio::time::interval(Duration::from_millis(5));
        while !condition() {
            look.tick().await;
        }
    })
    .await;
}

/// The row of a peer once it looks as wished.
pub async fn row(net: &Net, peer: PeerId, what: &str, wished: impl Fn(&goop_net::PeerRow) -> bool) {
    let mut changes = net.changes();
    let seen = changes.wait_for(|rows| rows.iter().any(|row| row.id == peer && wished(row)));
    let seen = tokio::time::timeout(PATIENCE, seen)
        .await
        .map(|seen| seen.is_ok());
    assert_eq!(
        seen,
        Ok(true),
        "{what}; the table says {:?}",
        net.peer(&peer)
    );
}

/// Sends back what comes, to the end.
pub async fn echo(_: Caller, mut stream: Stream) {
    let mut buffer = vec![0; 16 * 1024];
    loop {
        let read = stream.read(&mut buffer).await.unwrap();
        if read == 0 {
            return;
        }
        stream.write_all(&buffer[..read]).await.unwrap();
    }
}

/// Asks an echo and checks the answer, up to the end of the stream.
pub async fn ask_echo(net: &Net, peer: PeerId, text: &[u8]) {
    let (_, stream) = net.open(peer, &[ECHO]).await.unwrap();
    let (mut from, mut to) = tokio::io::split(stream);
    let ask = async {
        to.write_all(text).await.unwrap();
        to.shutdown().await.unwrap();
    };
    let mut answer = Vec::new();
    let hear = async { from.read_to_end(&mut answer).await.unwrap() };
    within("an answer", async { tokio::join!(ask, hear) }).await;
    assert_eq!(answer, text);
}

/// A question whose answer is awaited over a way that is gone.
pub struct Hanging(tokio::task::JoinHandle<std::io::Result<usize>>);

impl Hanging {
    /// Talks with an echo, cuts the cable between, and asks once more; a task of its own, which nothing wakes but the stream
    /// itself, waits for what will not come.
    pub async fn on(net: &Net, peer: PeerId, cable: &Cable) -> Self {
        let (_, mut stream) = net.open(peer, &[ECHO]).await.unwrap();
        stream.write_all(b"before").await.unwrap();
        let mut answer = [0; 6];
        within("an echo", stream.read_exact(&mut answer))
            .await
            .unwrap();
        cable.cut();
        stream.write_all(b"after").await.unwrap();
        Self(tokio::spawn(async move { stream.read(&mut answer).await }))
    }

    /// It learns that no answer will come.
    pub async fn ends(self) {
        eventually("an end", || self.0.is_finished()).await;
        let read = self.0.await.unwrap();
        assert!(!read.is_ok_and(|read| read > 0));
    }
}

/// A cable that can be cut without either end noticing: what comes afterwards is swallowed.
pub struct Cable {
    pub addr: goop_net::Multiaddr,
    cut: tokio_util::sync::CancellationToken,
    _task: tokio_util::task::AbortOnDropHandle<()>,
}

impl Cable {
    /// Leads from a port of its own to a TCP address.
    pub async fn to(addr: &goop_net::Multiaddr) -> Self {
        use tokio::net::{TcpListener, TcpStream};
        let port = tcp_port(addr).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let own = listener.local_addr().unwrap().port();
        let cut = tokio_util::sync::CancellationToken::new();
        let ends = cut.clone();
        let task = tokio::spawn(async move {
            let mut lines = tokio::task::JoinSet::new();
            // Kept, so that nobody is told that the other end is gone.
            let mut ended = Vec::new();
            loop {
                let mut near = tokio::select! {
                    accepted = listener.accept() => accepted.unwrap().0,
                    Some(line) = lines.join_next() => {
                        ended.push(line);
                        continue;
                    }
                };
                let ends = ends.clone();
                lines.spawn(async move {
                    let mut far = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
                    tokio::select! {
                        _ = tokio::io::copy_bidirectional(&mut near, &mut far) => None,
                        () = ends.cancelled() => Some((near, far)),
                    }
                });
            }
        });
        Self {
            addr: format!("/ip4/127.0.0.1/tcp/{own}").parse().unwrap(),
            cut,
            _task: tokio_util::task::AbortOnDropHandle::new(task),
        }
    }

    pub fn cut(&self) {
        self.cut.cancel();
    }
}

/// The port of an address over TCP.
pub fn tcp_port(addr: &goop_net::Multiaddr) -> Option<u16> {
    addr.iter().find_map(|part| match part {
        libp2p::multiaddr::Protocol::Tcp(port) => Some(port),
        _ => None,
    })
}
