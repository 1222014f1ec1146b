//! Peers that hold a place on a relay and do nothing else: each is a libp2p host with a key and a connection of its own, as
//! it is in the wild. Or as many that are only connected, to a bare host.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail};
use argh::FromArgs;
use futures::StreamExt;
use goop_net::circuit::{HOP, hop};
use libp2p::multiaddr::Protocol;
use libp2p::swarm::SwarmEvent;
use libp2p::{Multiaddr, PeerId};
use tokio::sync::{Semaphore, mpsc};
use tokio_util::compat::FuturesAsyncReadCompatExt;

use crate::floor::host::{self, Transport};

/// The command.
pub(crate) const COMMAND: &str = "load-places";
/// Said when all are there, with the milliseconds it took.
pub(crate) const HELD: &str = "held";
/// Those who are on their way at once; a relay lets 64 of one address in.
const COMING: usize = 32;
/// How long one may take.
const PATIENCE: Duration = Duration::from_secs(60);
/// Hold many places on a relay.
#[derive(Debug, FromArgs)]
pub(crate) struct Options {
    /// noise, tls or quic
    #[argh(option)]
    transport: Transport,
    /// the relay, with its peer id
    #[argh(option)]
    addr: Multiaddr,
    /// how many
    #[argh(option)]
    clients: usize,
    /// ask for no place: it is a bare host
    #[argh(switch)]
    bare: bool,
}

pub(crate) fn run(options: Options) -> Result<()> {
    let files = nix::sys::resource::Resource::RLIMIT_NOFILE;
    let (_, hard) = nix::sys::resource::getrlimit(files)?;
    nix::sys::resource::setrlimit(files, hard, hard)?;
    crate::floor::runtime()?.block_on(hold(options))
}

async fn hold(options: Options) -> Result<()> {
    let relay = options.addr.iter().find_map(|part| match part {
        Protocol::P2p(peer) => Some(peer),
        _ => None,
    });
    let relay = relay.context("the address has no peer id")?;
    let start = Instant::now();
    let coming = Arc::new(Semaphore::new(COMING));
    let (there, mut arrived) = mpsc::channel(COMING);
    for _ in 0..options.clients {
        let (coming, there) = (coming.clone(), there.clone());
        let (transport, addr, bare) = (options.transport, options.addr.clone(), options.bare);
        tokio::spawn(async move {
            let turn = coming.acquire_owned().await;
            let came = async {
                tokio::time::timeout(PATIENCE, one(transport, addr, relay, bare))
                    .await
                    .context("it takes too long")?
            };
            let came = came.await;
            drop(turn);
            // The receiver is gone when another one failed.
            let _ = there.send(came).await;
        });
    }
    for _ in 0..options.clients {
        arrived.recv().await.context("nobody is left")??;
    }
    println!("{HELD} {}", start.elapsed().as_millis());
    std::future::pending().await
}

/// Comes, takes a place, and stays until the process ends.
async fn one(transport: Transport, addr: Multiaddr, relay: PeerId, bare: bool) -> Result<()> {
    let mut swarm = host::build(transport).await?;
    let mut control = swarm.behaviour().streams.new_control();
    swarm.dial(addr)?;
    loop {
        match swarm.select_next_some().await {
            SwarmEvent::ConnectionEstablished { .. } => break,
            SwarmEvent::OutgoingConnectionError { error, .. } => bail!("no connection: {error}"),
            _ => {}
        }
    }
    tokio::spawn(async move {
        loop {
            if let SwarmEvent::ConnectionClosed { cause, .. } = swarm.select_next_some().await {
                eprintln!("a connection ended: {cause:?}");
            }
        }
    });
    if bare {
        return Ok(());
    }
    let stream = control.open_stream(relay, HOP).await?;
    let clock = SystemTime::now().duration_since(UNIX_EPOCH)?;
    hop::reserve(stream.compat(), relay, clock.as_secs()).await?;
    Ok(())
}
