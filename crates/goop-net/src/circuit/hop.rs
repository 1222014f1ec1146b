//! Asking a relay for a reservation or for a circuit, over a stream of [`HOP`](super::HOP).

use std::time::Duration;

use goop_identity::PeerId;
use libp2p::Multiaddr;
use libp2p::multiaddr::Protocol;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;

use super::message::{self, Hop, Peer, Status};
use super::{CircuitError, DEADLINE, Limit};

/// RESERVE on the wire.
const RESERVE: i32 = 0;
/// CONNECT on the wire.
const CONNECT: i32 = 1;
/// STATUS on the wire.
const STATUS: i32 = 2;
/// Addresses of a relay that are looked at; a Go relay has a handful.
const MAX_ADDRS: usize = 16;

/// Others may reach us through the relay.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Granted {
    /// How long, if the relay's clock is ours: it says when it ends. Zero when that is past.
    pub lifetime: Duration,
    /// Where the relay says that it is, without its id. A relay without a public address says none.
    pub addrs: Vec<Multiaddr>,
    /// What one circuit may carry.
    pub limit: Limit,
}

/// Asks the relay at the other end for a reservation. `unix_seconds` is what our clock shows.
///
/// # Errors
/// See [`CircuitError`].
pub async fn reserve<S>(
    mut stream: S,
    relay: PeerId,
    unix_seconds: u64,
) -> Result<Granted, CircuitError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let request = Hop {
        kind: RESERVE,
        ..Hop::default()
    };
    let answer = ask(&mut stream, &request).await?;
    let reservation = answer
        .reservation
        .ok_or(CircuitError::Malformed("it says yes and grants nothing"))?;
    let addrs = reservation.addrs.into_iter().take(MAX_ADDRS);
    Ok(Granted {
        lifetime: Duration::from_secs(reservation.expire.saturating_sub(unix_seconds)),
        addrs: addrs.filter_map(|addr| of_relay(addr, relay)).collect(),
        limit: answer.limit.map(Limit::from).unwrap_or_default(),
    })
}

/// An address of the relay without its id. Junk, and what names another peer, is left out.
fn of_relay(addr: Vec<u8>, relay: PeerId) -> Option<Multiaddr> {
    let mut addr = Multiaddr::try_from(addr).ok()?;
    match addr.iter().last()? {
        Protocol::P2p(named) if named == relay => drop(addr.pop()),
        Protocol::P2p(_) => return None,
        _ => {}
    }
    (!addr.is_empty() && !crate::address::is_relayed(&addr)).then_some(addr)
}

/// Asks the relay at the other end for a circuit to `target`. Afterwards the stream is that circuit.
///
/// # Errors
/// See [`CircuitError`].
pub async fn connect<S>(stream: &mut S, target: PeerId) -> Result<Limit, CircuitError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let request = Hop {
        kind: CONNECT,
        peer: Some(Peer {
            id: target.to_bytes(),
            addrs: Vec::new(),
        }),
        ..Hop::default()
    };
    let answer = ask(stream, &request).await?;
    Ok(answer.limit.map(Limit::from).unwrap_or_default())
}

/// Sends a request and waits for a yes.
async fn ask<S>(stream: &mut S, request: &Hop) -> Result<Hop, CircuitError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let exchange = async {
        message::write(stream, request).await?;
        message::read::<_, Hop>(stream).await
    };
    let answer = timeout(DEADLINE, exchange)
        .await
        .map_err(|_| CircuitError::TimedOut)??;
    if answer.kind != STATUS {
        return Err(CircuitError::Malformed("it is no status"));
    }
    match answer.status.map(Status::from_code) {
        Some(Status::Ok) => Ok(answer),
        Some(status) => Err(CircuitError::Refused(status)),
        None => Err(CircuitError::Malformed("its status says nothing")),
    }
}
