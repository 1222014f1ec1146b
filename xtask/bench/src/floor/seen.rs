//! The least it takes until a program that just started is known to a neighbour that it knew nothing of: one multicast
//! question, one answer with an address, one libp2p connection.

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};

use anyhow::{Context, Result, bail};
use argh::FromArgs;
use futures::StreamExt;
use libp2p::Multiaddr;
use libp2p::swarm::SwarmEvent;
use socket2::{Domain, Socket, Type};
use tokio::net::UdpSocket;

use super::host::{self, Transport};

/// The command of the neighbour that is there.
pub(crate) const WAIT: &str = "floor-seen-wait";
/// The command of the one that comes.
pub(crate) const START: &str = "floor-seen-start";
/// Group and port of the question; the group is one for private use (RFC 2365).
const GROUP: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(239, 255, 77, 77), 45_353);
/// The question.
const WHO: &[u8] = b"who";

/// Be found by multicast, and say who connected.
#[derive(Debug, FromArgs)]
pub(crate) struct Options {
    /// own address on the link
    #[argh(option)]
    listen: Ipv4Addr,
}

pub(crate) fn wait(options: Options) -> Result<()> {
    super::runtime()?.block_on(async {
        let mut swarm = host::build(Transport::All).await?;
        let addrs = host::listen(
            &mut swarm,
            host::listen_addrs(Transport::All, options.listen),
        )
        .await?;
        let addr = addrs.first().context("listening nowhere")?.to_string();
        let socket = socket(options.listen, GROUP.port())?;
        tokio::spawn(async move {
            let mut question = [0; 64];
            while let Ok((length, from)) = socket.recv_from(&mut question).await {
                if question.get(..length) == Some(WHO)
                    && let Err(error) = socket.send_to(addr.as_bytes(), from).await
                {
                    eprintln!("no answer: {error}");
                }
            }
        });
        println!("ready");
        loop {
            if let SwarmEvent::ConnectionEstablished { .. } = swarm.select_next_some().await {
                println!("seen");
            }
        }
    })
}

pub(crate) fn start(options: Options) -> Result<()> {
    super::runtime()?.block_on(async {
        let mut swarm = host::build(Transport::All).await?;
        host::listen(
            &mut swarm,
            host::listen_addrs(Transport::All, options.listen),
        )
        .await?;
        let socket = socket(options.listen, 0)?;
        socket.send_to(WHO, SocketAddr::from(GROUP)).await?;
        let mut answer = [0; 1024];
        let length = socket.recv(&mut answer).await?;
        let addr: Multiaddr = std::str::from_utf8(&answer[..length])?.parse()?;
        swarm.dial(addr)?;
        loop {
            if let SwarmEvent::OutgoingConnectionError { error, .. } =
                swarm.select_next_some().await
            {
                bail!("no connection: {error}");
            }
        }
    })
}

fn socket(on: Ipv4Addr, port: u16) -> Result<UdpSocket> {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, None)?;
    socket.bind(&SocketAddr::from((Ipv4Addr::UNSPECIFIED, port)).into())?;
    socket.join_multicast_v4(GROUP.ip(), &on)?;
    socket.set_multicast_if_v4(&on)?;
    socket.set_multicast_ttl_v4(1)?;
    socket.set_nonblocking(true)?;
    Ok(UdpSocket::from_std(socket.into())?)
}
