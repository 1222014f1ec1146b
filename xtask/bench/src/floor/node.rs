//! A bare libp2p host that listens, answers bare requests, and may hold one connection.

use std::net::Ipv4Addr;

use anyhow::{Context, Result, bail};
use argh::FromArgs;
use futures::StreamExt;
use libp2p::Multiaddr;
use libp2p::swarm::SwarmEvent;

use super::host::{self, PROTOCOL, Transport};

/// The command.
pub(crate) const COMMAND: &str = "floor-node";

/// Run a bare libp2p host.
#[derive(Debug, FromArgs)]
pub(crate) struct Options {
    /// noise, tls, quic or all
    #[argh(option)]
    transport: Transport,
    /// the address to listen on
    #[argh(option)]
    listen: Ipv4Addr,
    /// a host to connect to
    #[argh(option)]
    dial: Option<Multiaddr>,
}

pub(crate) fn run(options: Options) -> Result<()> {
    super::runtime()?.block_on(node(options))
}

async fn node(options: Options) -> Result<()> {
    let mut swarm = host::build(options.transport).await?;
    let mut incoming = swarm
        .behaviour()
        .streams
        .new_control()
        .accept(PROTOCOL)
        .context("one protocol")?;
    let addrs = host::listen(
        &mut swarm,
        host::listen_addrs(options.transport, options.listen),
    )
    .await?;
    println!("{}", addrs.first().context("listening nowhere")?);
    tokio::spawn(async move {
        while let Some((_, stream)) = incoming.next().await {
            tokio::spawn(async move {
                if let Err(error) = host::answer(stream).await {
                    eprintln!("a stream broke off: {error}");
                }
            });
        }
    });
    if let Some(dial) = options.dial {
        swarm.dial(dial)?;
    }
    loop {
        match swarm.select_next_some().await {
            SwarmEvent::ConnectionEstablished { .. } => println!("connected"),
            SwarmEvent::OutgoingConnectionError { error, .. } => bail!("no connection: {error}"),
            _ => {}
        }
    }
}
