//! The small internet shows what it claims: which outside ports each kind of access gives, who may come in, which pairs
//! can talk directly. Plain UDP and TCP, no peer: what the scenarios with peers build on.
//!
//! That something does not arrive is shown without waiting: something that must arrive is sent after it.

use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use socket2::Socket;

use crate::lab::{
    ARRIVES, Home, Host, Internet, Lab, Nat, Quality, accepted, carry, connect, connected, dial,
    port, receive, receive_until, wait,
};

/// The port every kind of access lets connections out to.
const HTTPS: u16 = 443;
/// One that the narrowest does not.
const HTTP: u16 = 80;

/// Which outside port a host's port gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ports {
    /// Its own.
    Own,
    /// One, whoever is talked to.
    One,
    /// Another one for each.
    Each,
}

/// Who reaches a host at an outside port besides the one that was talked to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stranger {
    /// A host that was never talked to.
    Host,
    /// Another port of a host that was talked to.
    Port,
}

const ANYBODY: &[Stranger] = &[Stranger::Host, Stranger::Port];

/// What is expected of a kind of access.
struct Expected {
    ports: Ports,
    lets_in: &'static [Stranger],
    udp: bool,
    http: bool,
}

pub(super) fn no_nat(lab: &Lab) -> Result<()> {
    check(lab, Nat::None, (Ports::Own, ANYBODY))
}

pub(super) fn open(lab: &Lab) -> Result<()> {
    check(lab, Nat::Open, (Ports::One, ANYBODY))
}

pub(super) fn address_restricted(lab: &Lab) -> Result<()> {
    check(lab, Nat::AddressRestricted, (Ports::One, &[Stranger::Port]))
}

pub(super) fn port_restricted(lab: &Lab) -> Result<()> {
    check(lab, Nat::PortRestricted, (Ports::One, &[]))
}

pub(super) fn symmetric(lab: &Lab) -> Result<()> {
    check(lab, Nat::Symmetric, (Ports::Each, &[]))
}

pub(super) fn carrier(lab: &Lab) -> Result<()> {
    check(lab, Nat::Carrier, (Ports::One, &[]))
}

pub(super) fn udp_blocked(lab: &Lab) -> Result<()> {
    check(lab, Nat::UdpBlocked, (Ports::One, &[]))
}

pub(super) fn https_only(lab: &Lab) -> Result<()> {
    check(lab, Nat::HttpsOnly, (Ports::One, &[]))
}

/// Shows that a kind of access is what it says, for UDP and TCP.
fn check(lab: &Lab, nat: Nat, (ports, lets_in): (Ports, &'static [Stranger])) -> Result<()> {
    let expected = Expected {
        ports,
        lets_in,
        udp: !matches!(nat, Nat::UdpBlocked | Nat::HttpsOnly),
        http: nat != Nat::HttpsOnly,
    };
    let net = Internet::new(lab)?;
    let servers = [1, 2, 3]
        .map(|number| net.server(number))
        .into_iter()
        .collect::<Result<Vec<_>>>()?;
    let hosts: Vec<&Host> = servers.iter().map(|(host, _)| host).collect();
    let addresses: Vec<SocketAddr> = servers
        .iter()
        .map(|(_, address)| SocketAddr::from((*address, 0)))
        .collect();
    let home = net.home(1, nat)?;
    tcp(&home, &hosts, &addresses, &expected).with_context(|| format!("TCP, {nat}"))?;
    udp(&home, &hosts, &addresses, &expected).with_context(|| format!("UDP, {nat}"))
}

/// Shows the outside ports that servers saw.
fn check_ports(home: &Home, own: u16, seen: &[SocketAddr], expected: Ports) -> Result<()> {
    ensure!(
        seen.iter().all(|from| from.ip() == home.public()),
        "not the public address: {seen:?}"
    );
    // Random ports are the same now and then, but hardly all three of them.
    let one = seen.iter().all(|from| from.port() == seen[0].port());
    let found = match one {
        true if seen[0].port() == own => Ports::Own,
        true => Ports::One,
        false => Ports::Each,
    };
    ensure!(found == expected, "port {own} was seen as {seen:?}");
    Ok(())
}

fn udp(
    home: &Home,
    servers: &[&Host],
    addresses: &[SocketAddr],
    expected: &Expected,
) -> Result<()> {
    let [talked, also, another, stranger] = [
        servers[0].udp()?,
        servers[0].udp()?,
        servers[0].udp()?,
        servers[2].udp()?,
    ];
    let elsewhere = servers[1].udp()?;
    let at = |server: usize, socket: &UdpSocket| -> Result<SocketAddr> {
        let mut address = addresses[server];
        address.set_port(socket.local_addr()?.port());
        Ok(address)
    };
    let socket = home.host.udp()?;
    if !expected.udp {
        socket.send_to(b"hello", at(0, &talked)?)?;
        let listener = servers[0].listen(HTTPS)?;
        let mut to = addresses[0];
        to.set_port(HTTPS);
        let (ours, theirs, _) = connect(home.host.tcp(0)?, &listener, to)?;
        carry(&ours, &theirs)?;
        talked.set_nonblocking(true)?;
        ensure!(
            talked.recv_from(&mut [0; 8]).is_err(),
            "a datagram came through"
        );
        return Ok(());
    }
    let mut seen = Vec::new();
    for (server, to) in [(0, &talked), (0, &also), (1, &elsewhere)] {
        socket.send_to(b"hello", at(server, to)?)?;
        seen.push(receive(to)?.1);
    }
    check_ports(home, socket.local_addr()?.port(), &seen, expected.ports)?;
    let outside = seen[0];
    for (who, from) in [(Stranger::Host, &stranger), (Stranger::Port, &another)] {
        from.send_to(format!("{who:?}").as_bytes(), outside)?;
        if expected.lets_in.contains(&who) {
            let (text, _) = receive(&socket).with_context(|| format!("{who:?} was kept out"))?;
            ensure!(text == format!("{who:?}"), "{text} instead of {who:?}");
        }
    }
    talked.send_to(b"answer", outside)?;
    let others = receive_until(&socket, "answer")?;
    ensure!(others.is_empty(), "{others:?} came in");
    Ok(())
}

fn tcp(
    home: &Home,
    servers: &[&Host],
    addresses: &[SocketAddr],
    expected: &Expected,
) -> Result<()> {
    let listeners = [servers[0].listen(HTTPS)?, servers[1].listen(HTTPS)?];
    let own = home.host.listen(0)?;
    let number = port(&own)?;
    let mut seen = Vec::new();
    let mut open = Vec::new();
    for server in [0, 1] {
        let mut to = addresses[server];
        to.set_port(HTTPS);
        let (ours, theirs, from) = connect(home.host.tcp(number)?, &listeners[server], to)?;
        seen.push(from);
        open.push((ours, theirs));
    }
    let http = servers[0].listen(HTTP)?;
    let mut to = addresses[0];
    to.set_port(HTTP);
    let dialling = home.host.tcp(number)?;
    if expected.http {
        seen.push(connect(dialling, &http, to)?.2);
    } else {
        dial(&dialling, to)?;
        carry(&open[0].0, &open[0].1)?;
        ensure!(
            accepted(&http)?.is_none(),
            "a connection to port {HTTP} came through"
        );
    }
    check_ports(home, number, &seen, expected.ports)?;
    let outside = seen[0];
    for (who, from) in [(Stranger::Host, servers[2]), (Stranger::Port, servers[0])] {
        let socket = from.tcp(0)?;
        if expected.lets_in.contains(&who) {
            connect(socket, &own, outside).with_context(|| format!("{who:?} was kept out"))?;
        } else {
            dial(&socket, outside)?;
            carry(&open[0].1, &open[0].0)?;
            ensure!(accepted(&own)?.is_none(), "{who:?} came in");
        }
    }
    Ok(())
}

/// Each pair of kinds, with what a peer does: both learn their outside ports from a server, then try at once.
pub(super) fn pairs(lab: &Lab) -> Result<()> {
    let net = Internet::new(lab)?;
    let (server, address) = net.server(1)?;
    let listener = server.listen(HTTPS)?;
    let to = SocketAddr::from((address, HTTPS));
    let mut homes = Vec::new();
    for (number, nat) in (1..).zip(Nat::ALL.into_iter().chain(Nat::ALL)) {
        homes.push(net.home(number, nat)?);
    }
    let (left, right) = homes.split_at(Nat::ALL.len());
    let mut apart = Vec::new();
    for (at, a) in left.iter().enumerate() {
        for b in &right[at..] {
            let pair = format!("{} × {}", a.nat(), b.nat());
            let direct = a.nat().direct(b.nat());
            let no_udp = |nat| matches!(nat, Nat::UdpBlocked | Nat::HttpsOnly);
            if !no_udp(a.nat()) && !no_udp(b.nat()) {
                let found = punch_udp(a, b, &server, address.into())
                    .with_context(|| format!("UDP, {pair}"))?;
                ensure!(found == direct, "UDP, {pair}: direct is {found}");
            }
            let both = Both {
                a: Punching::new(a, &listener, to)?,
                b: Punching::new(b, &listener, to)?,
                pair,
            };
            both.begin()?;
            if direct {
                wait(&format!("TCP, {}", both.pair), ARRIVES, || {
                    Ok(both.met()?.then_some(()))
                })?;
            } else {
                apart.push(both);
            }
        }
    }
    for both in &apart {
        both.fence()?;
        ensure!(!both.met()?, "TCP, {}: connected", both.pair);
    }
    Ok(())
}

/// Whether two hosts reach each other both ways when each sends to what the server saw of the other.
fn punch_udp(a: &Home, b: &Home, server: &Host, address: std::net::IpAddr) -> Result<bool> {
    let introducer = server.udp()?;
    let to = SocketAddr::new(address, introducer.local_addr()?.port());
    let mut ends = Vec::new();
    for home in [a, b] {
        let socket = home.host.udp()?;
        socket.send_to(b"hello", to)?;
        ends.push((socket, receive(&introducer)?.1));
    }
    let [(a, a_outside), (b, b_outside)] = &ends[..] else {
        unreachable!("two ends");
    };
    // The first of each opens the own router, the second comes through that of the other.
    for _ in 0..2 {
        a.send_to(b"punch", b_outside)?;
        b.send_to(b"punch", a_outside)?;
    }
    for (here, there, outside) in [(a, b, a_outside), (b, a, b_outside)] {
        introducer.send_to(b"that is all", outside)?;
        let mut source = None;
        loop {
            let (text, from) = receive(here)?;
            match text.as_str() {
                "punch" => source = Some(from),
                _ => break,
            }
        }
        if let Some(source) = source {
            here.send_to(b"welcome", source)?;
            receive_until(there, "welcome")?;
            return Ok(true);
        }
    }
    Ok(false)
}

/// One side of a pair that tries over TCP: it listens and dials on the port that the server saw.
struct Punching {
    server: (TcpStream, TcpStream),
    outside: SocketAddr,
    listener: Socket,
    dialling: Socket,
}

impl Punching {
    fn new(home: &Home, listener: &Socket, to: SocketAddr) -> Result<Self> {
        let own = home.host.listen(0)?;
        let number = port(&own)?;
        let (ours, theirs, outside) = connect(home.host.tcp(number)?, listener, to)
            .with_context(|| format!("{} reaches the server", home.nat()))?;
        Ok(Self {
            server: (ours, theirs),
            outside,
            dialling: home.host.tcp(number)?,
            listener: own,
        })
    }

    fn met(&self) -> Result<bool> {
        // A refused dial is no end: what the other dialled may still be accepted.
        Ok(connected(&self.dialling).unwrap_or(false) || accepted(&self.listener)?.is_some())
    }
}

struct Both {
    a: Punching,
    b: Punching,
    pair: String,
}

impl Both {
    fn begin(&self) -> Result<()> {
        dial(&self.a.dialling, self.b.outside)?;
        dial(&self.b.dialling, self.a.outside)
    }

    fn met(&self) -> Result<bool> {
        Ok(self.a.met()? || self.b.met()?)
    }

    /// After this, what was sent before has arrived or never will.
    fn fence(&self) -> Result<()> {
        for side in [&self.a, &self.b] {
            carry(&side.server.0, &side.server.1)?;
            carry(&side.server.1, &side.server.0)?;
        }
        Ok(())
    }
}

/// A line that loses two of a hundred and takes 80 ms there and back.
pub(super) const FAR: Quality = Quality {
    delay: std::time::Duration::from_millis(40),
    loss: 20,
    seed: 7,
};

/// Datagrams that are sent before anybody looks; fewer than a socket keeps.
const AT_ONCE: usize = 100;

pub(super) fn long_line(lab: &Lab) -> Result<()> {
    let net = Internet::new(lab)?;
    let (server, address) = net.server(1)?;
    let home = net.far_home(1, Nat::PortRestricted, FAR)?;
    let listener = server.listen(HTTPS)?;
    let to = SocketAddr::from((address, HTTPS));
    let (ours, theirs, _) = connect(home.host.tcp(0)?, &listener, to)?;
    let start = Instant::now();
    carry(&ours, &theirs)?;
    carry(&theirs, &ours)?;
    let took = start.elapsed();
    ensure!(took >= 2 * FAR.delay, "there and back took only {took:?}");
    let (here, there) = (home.host.udp()?, server.udp()?);
    there.set_nonblocking(true)?;
    let to = SocketAddr::from((address, there.local_addr()?.port()));
    let (mut sent, mut came) = (0, 0);
    while sent < 1_000 {
        for _ in 0..AT_ONCE {
            here.send_to(b"frame", to)?;
        }
        sent += AT_ONCE;
        // TCP sends a lost byte again, and the line keeps the order.
        carry(&ours, &theirs)?;
        while there.recv_from(&mut [0; 8]).is_ok() {
            came += 1;
        }
    }
    let lost = sent - came;
    ensure!((5..50).contains(&lost), "{lost} of {sent} were lost");
    Ok(())
}

/// An interface goes down and comes back with another address.
pub(super) fn moving(lab: &Lab) -> Result<()> {
    let net = Internet::new(lab)?;
    let (server, address) = net.server(1)?;
    for (number, nat) in [(1, Nat::None), (2, Nat::Open), (3, Nat::Symmetric)] {
        let home = net.home(number, nat)?;
        let there = server.udp()?;
        let to = SocketAddr::from((address, there.local_addr()?.port()));
        let here = home.host.udp()?;
        here.send_to(b"before", to)?;
        let before = receive(&there)?.1;
        home.leave()?;
        ensure!(
            here.send_to(b"lost", to).is_err(),
            "{nat}: sent without an interface"
        );
        let address = home.come_back(77)?;
        let here = home.host.udp()?;
        here.send_to(b"after", to)?;
        let (text, after) = receive(&there)?;
        ensure!(text == "after", "{nat}: {text}");
        match nat {
            Nat::None => ensure!(
                after.ip() == address && after.ip() != before.ip(),
                "{after}"
            ),
            _ => ensure!(after.ip() == before.ip(), "{nat}: {after} after {before}"),
        }
        there.send_to(b"answer", after)?;
        ensure!(receive(&here)?.0 == "answer", "{nat}: no answer");
    }
    Ok(())
}
