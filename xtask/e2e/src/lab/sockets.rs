//! Sockets on a host, used from here: a socket belongs to the network it was made in, whoever holds it.

use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::errno::Errno;
use nix::sched::{CloneFlags, setns};
use socket2::{Domain, Protocol, Socket, Type};

use super::{Host, wait};

/// How long something that must arrive may take.
pub(crate) const ARRIVES: Duration = Duration::from_secs(5);

/// The longest datagram of a test.
const DATAGRAM: usize = 64;

impl Host {
    /// Runs something short in the host's network.
    pub(crate) fn inside<T: Send>(&self, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        let network = File::open(format!("/run/netns/{}", self.name()))
            .with_context(|| format!("the network of {}", self.name()))?;
        std::thread::scope(|scope| {
            scope
                .spawn(|| {
                    // A network is a thread's: this one moves, and ends when the work is done.
                    setns(&network, CloneFlags::CLONE_NEWNET).context("entering a network")?;
                    work()
                })
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// A UDP socket on a free port.
    pub(crate) fn udp(&self) -> Result<UdpSocket> {
        let socket = self.inside(|| Ok(UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?))?;
        socket.set_read_timeout(Some(ARRIVES))?;
        Ok(socket)
    }

    /// A TCP socket on a port that others on this host may share, as a peer's listener and its connections do; 0 is a
    /// free one.
    pub(crate) fn tcp(&self, port: u16) -> Result<Socket> {
        self.inside(|| {
            let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP))?;
            socket.set_reuse_address(true)?;
            socket.set_reuse_port(true)?;
            socket.bind(&SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, port).into())?;
            socket.set_nonblocking(true)?;
            Ok(socket)
        })
    }

    /// A TCP socket that listens.
    pub(crate) fn listen(&self, port: u16) -> Result<Socket> {
        let socket = self.tcp(port)?;
        socket.listen(16)?;
        Ok(socket)
    }
}

/// The port of a socket.
pub(crate) fn port(socket: &Socket) -> Result<u16> {
    let address = socket.local_addr()?.as_socket().context("no port")?;
    Ok(address.port())
}

/// Begins to connect. A connection with the same two ends that came in just before is as good: it waits in a listener.
pub(crate) fn dial(socket: &Socket, to: SocketAddr) -> Result<()> {
    match socket.connect(&to.into()) {
        Ok(()) => Ok(()),
        Err(error) if error.raw_os_error() == Some(Errno::EINPROGRESS as i32) => Ok(()),
        Err(error) if error.kind() == ErrorKind::AddrNotAvailable => Ok(()),
        Err(error) => Err(error).with_context(|| format!("dialling {to}")),
    }
}

/// Whether a socket that dials is connected by now.
pub(crate) fn connected(socket: &Socket) -> Result<bool> {
    if let Some(error) = socket.take_error()? {
        return Err(error.into());
    }
    Ok(socket.peer_addr().is_ok())
}

/// Somebody who connected by now, and from where.
pub(crate) fn accepted(listener: &Socket) -> Result<Option<(TcpStream, SocketAddr)>> {
    match listener.accept() {
        Ok((socket, from)) => {
            let from = from.as_socket().context("no address")?;
            Ok(Some((socket.into(), from)))
        }
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Connects to a listener; gives both ends, and the address the listener sees.
pub(crate) fn connect(
    socket: Socket,
    listener: &Socket,
    to: SocketAddr,
) -> Result<(TcpStream, TcpStream, SocketAddr)> {
    dial(&socket, to)?;
    let (theirs, from) = wait(&format!("a connection to {to}"), ARRIVES, || {
        accepted(listener)
    })?;
    wait(&format!("connected to {to}"), ARRIVES, || {
        Ok(connected(&socket)?.then_some(()))
    })?;
    let ours = TcpStream::from(socket);
    for stream in [&ours, &theirs] {
        stream.set_nonblocking(false)?;
        stream.set_read_timeout(Some(ARRIVES))?;
    }
    Ok((ours, theirs, from))
}

/// Sends a byte and takes it at the other end: what was sent before on the same way has been carried by then.
pub(crate) fn carry(mut from: &TcpStream, mut to: &TcpStream) -> Result<()> {
    from.write_all(b"!")?;
    to.read_exact(&mut [0]).context("a byte of a connection")
}

/// A datagram: its text and where it came from.
pub(crate) fn receive(socket: &UdpSocket) -> Result<(String, SocketAddr)> {
    let mut datagram = [0; DATAGRAM];
    let (length, from) = socket.recv_from(&mut datagram).context("a datagram")?;
    Ok((
        String::from_utf8_lossy(&datagram[..length]).into_owned(),
        from,
    ))
}

/// Takes datagrams until one says `last`; gives what the others said.
pub(crate) fn receive_until(socket: &UdpSocket, last: &str) -> Result<Vec<String>> {
    let deadline = Instant::now() + ARRIVES;
    let mut texts = Vec::new();
    while Instant::now() < deadline {
        let (text, _) = receive(socket).with_context(|| format!("{last} after {texts:?}"))?;
        if text == last {
            return Ok(texts);
        }
        texts.push(text);
    }
    bail!("{last} did not come, but {texts:?}")
}
