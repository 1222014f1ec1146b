//! `/libp2p/dcutr`: two peers that are connected through a relay agree to dial each other at the same moment, so that
//! each opens its own NAT for the other (network.md 9.7).
//!
//! Who was called through the relay begins ([`begin`]), the other one answers ([`answer`]); both are functions over a
//! stream. What they agree on is done by the host, at addresses it finds plausible: the library's own behaviour dials
//! whatever the other side names.

use std::io;
use std::time::{Duration, Instant};

use libp2p::{Multiaddr, StreamProtocol};
use prost::Message;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;

use crate::address::{is_relayed, without_peer};
use crate::circuit::CircuitError;
use crate::circuit::message;

/// The protocol id.
pub const PROTOCOL: StreamProtocol = StreamProtocol::new("/libp2p/dcutr");
/// How long the exchange may take. A Go peer gives it a minute; over a relay it takes three round trips.
pub const DEADLINE: Duration = Duration::from_secs(15);
/// Tries in a row (network.md 9.7).
pub const TRIES: u32 = 3;
/// Addresses that are told and taken. A Go peer tells its public ones.
pub const MAX_ADDRS: usize = 12;
/// No moment is waited for longer, whatever the round trip was.
const LONGEST_WAIT: Duration = Duration::from_secs(2);

/// CONNECT on the wire.
const CONNECT: i32 = 100;
/// SYNC on the wire.
const SYNC: i32 = 300;

/// A message of either side.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct HolePunch {
    /// 100 CONNECT, 300 SYNC.
    #[prost(int32, required, tag = "1")]
    pub kind: i32,
    /// Where its sender may be met.
    #[prost(bytes = "vec", repeated, tag = "2")]
    pub addrs: Vec<Vec<u8>>,
}

/// Why nothing was agreed on.
#[derive(Debug, thiserror::Error)]
pub enum PunchError {
    /// It took too long.
    #[error("no agreement within {} s", DEADLINE.as_secs())]
    TimedOut,
    /// The other side told no address that can be dialled.
    #[error("the other side knows no address of its own")]
    NoAddress,
    /// What came is not what the protocol says.
    #[error("the exchange makes no sense: {0}")]
    Malformed(&'static str),
    /// The stream failed.
    #[error("the stream failed: {0}")]
    Io(#[from] io::Error),
}

impl From<CircuitError> for PunchError {
    fn from(error: CircuitError) -> Self {
        match error {
            CircuitError::Io(error) => Self::Io(error),
            CircuitError::TimedOut => Self::TimedOut,
            CircuitError::Malformed(what) => Self::Malformed(what),
            CircuitError::Refused(_) => Self::Malformed("it is a refusal"),
        }
    }
}

/// Begins. When this returns it is the moment to dial the addresses, as the one who listens.
///
/// # Errors
/// See [`PunchError`].
pub async fn begin<S>(mut stream: S, own: &[Multiaddr]) -> Result<Vec<Multiaddr>, PunchError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let exchange = async {
        message::write(&mut stream, &connect(own)).await?;
        let asked = Instant::now();
        let answer: HolePunch = message::read(&mut stream).await?;
        let round_trip = asked.elapsed();
        let addrs = theirs(answer)?;
        let sync = HolePunch {
            kind: SYNC,
            addrs: Vec::new(),
        };
        message::write(&mut stream, &sync).await?;
        // Our word takes half a round trip; then the other side dials, and so do we.
        tokio::time::sleep((round_trip / 2).min(LONGEST_WAIT)).await;
        Ok(addrs)
    };
    timeout(DEADLINE, exchange)
        .await
        .map_err(|_| PunchError::TimedOut)?
}

/// Answers. When this returns it is the moment to dial the addresses.
///
/// # Errors
/// See [`PunchError`].
pub async fn answer<S>(mut stream: S, own: &[Multiaddr]) -> Result<Vec<Multiaddr>, PunchError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let exchange = async {
        let request: HolePunch = message::read(&mut stream).await?;
        let addrs = theirs(request)?;
        message::write(&mut stream, &connect(own)).await?;
        let sync: HolePunch = message::read(&mut stream).await?;
        if sync.kind == SYNC {
            Ok(addrs)
        } else {
            Err(PunchError::Malformed("it is no SYNC"))
        }
    };
    timeout(DEADLINE, exchange)
        .await
        .map_err(|_| PunchError::TimedOut)?
}

fn connect(own: &[Multiaddr]) -> HolePunch {
    HolePunch {
        kind: CONNECT,
        addrs: own.iter().take(MAX_ADDRS).map(Multiaddr::to_vec).collect(),
    }
}

fn theirs(message: HolePunch) -> Result<Vec<Multiaddr>, PunchError> {
    if message.kind != CONNECT {
        return Err(PunchError::Malformed("it is no CONNECT"));
    }
    let addrs = message.addrs.into_iter().take(MAX_ADDRS);
    let addrs: Vec<Multiaddr> = addrs
        .filter_map(|addr| Multiaddr::try_from(addr).ok())
        .filter(|addr| !is_relayed(addr))
        .map(without_peer)
        .collect();
    if addrs.is_empty() {
        return Err(PunchError::NoAddress);
    }
    Ok(addrs)
}
