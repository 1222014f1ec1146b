//! Circuit relay v2, as one who is relayed (network.md 9.2, 10).
//!
//! There is no libp2p behaviour in it: asking a relay is a function over a stream ([`hop`]), so is being asked by one
//! ([`stop`]), and `transport` turns the streams that come of it into connections. The library's own client takes a
//! reservation without addresses for a broken relay, and that is what a Go relay without a public address grants.

pub mod hop;
pub mod message;
pub(crate) mod security;
pub mod stop;
pub(crate) mod transport;

use std::io;
use std::time::Duration;

use libp2p::StreamProtocol;

/// Asking a relay: to be reachable through it, or for a circuit to somebody who is.
pub const HOP: StreamProtocol = StreamProtocol::new("/libp2p/circuit/relay/0.2.0/hop");
/// A relay says that somebody is at its other end.
pub const STOP: StreamProtocol = StreamProtocol::new("/libp2p/circuit/relay/0.2.0/stop");
/// How long one exchange may take. A relay gives the one who is called 30 s, but a dial of ours is given up after 10.
pub const DEADLINE: Duration = Duration::from_secs(10);

/// Why there is no reservation or no circuit.
#[derive(Debug, thiserror::Error)]
pub enum CircuitError {
    /// No.
    #[error("the relay refuses: {0}")]
    Refused(message::Status),
    /// It took too long.
    #[error("the relay did not answer within {} s", DEADLINE.as_secs())]
    TimedOut,
    /// What came is not what the protocol says.
    #[error("the relay's answer makes no sense: {0}")]
    Malformed(&'static str),
    /// The stream failed.
    #[error("the stream to the relay failed: {0}")]
    Io(#[from] io::Error),
}

/// What a relay lets through one circuit. A relay without bounds says none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Limit {
    /// How long a circuit may last.
    pub duration: Option<Duration>,
    /// Bytes in each direction.
    pub bytes: Option<u64>,
}
