//! Which socket speaks for which peer.
//!
//! One socket at a time. Anybody can say any peer id when opening one, so: a socket that proved its peer (by signing a
//! nonce) is displaced only by another that does; one that did not is displaced by a newcomer only after it failed to
//! give a sign of life within [`CONTEST`]. A newcomer that promises a proof is let in beside the current socket and has
//! [`HELLO_WITHIN`] for it (weak point 2).

use std::collections::HashMap;
use std::time::{Duration, Instant};

use goop_identity::PeerId;

/// How long a socket that somebody else contests has for a sign of life: a round trip over a bad line.
pub const CONTEST: Duration = Duration::from_secs(2);
/// How long a socket that promised a proof beside another one may take.
const HELLO_WITHIN: Duration = Duration::from_secs(5);
/// Sockets that wait beside the current one, for one peer: its own next attempts, and as many of a stranger.
const MAX_CANDIDATES: usize = 4;

/// Names one socket for as long as the process lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SocketId(pub u64);

/// Whether the client of a new socket asked for a nonce to sign.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hello {
    /// It will prove whose it is.
    Promised,
    /// A Go client.
    None,
}

/// What came of opening one.
#[derive(Debug)]
pub(super) enum Attach {
    Opened {
        socket: SocketId,
        displaced: Option<SocketId>,
    },
    Occupied {
        challenge: Option<SocketId>,
    },
}

#[derive(Debug)]
struct Current {
    socket: SocketId,
    proven: bool,
    /// Somebody else wants its place since then, and it said nothing.
    contested: Option<Instant>,
}

#[derive(Debug, Default)]
struct Claims {
    current: Option<Current>,
    candidates: Vec<(SocketId, Instant)>,
}

#[derive(Debug, Default)]
pub(super) struct Sockets {
    next: u64,
    claims: HashMap<PeerId, Claims>,
    peers: HashMap<SocketId, PeerId>,
}

impl Sockets {
    pub(super) fn attach(&mut self, peer: PeerId, hello: Hello, now: Instant) -> Attach {
        let claims = self.claims.entry(peer).or_default();
        let mut displaced = None;
        if let Some(current) = &mut claims.current {
            match (hello, current.proven) {
                (Hello::Promised, _) => {
                    if claims.candidates.len() >= MAX_CANDIDATES {
                        return Attach::Occupied { challenge: None };
                    }
                    let socket = SocketId(self.next);
                    self.next += 1;
                    claims.candidates.push((socket, now + HELLO_WITHIN));
                    self.peers.insert(socket, peer);
                    return Attach::Opened {
                        socket,
                        displaced: None,
                    };
                }
                (Hello::None, true) => return Attach::Occupied { challenge: None },
                (Hello::None, false) => match current.contested {
                    Some(since) if now.saturating_duration_since(since) >= CONTEST => {
                        displaced = Some(current.socket);
                    }
                    Some(_) => return Attach::Occupied { challenge: None },
                    None => {
                        current.contested = Some(now);
                        return Attach::Occupied {
                            challenge: Some(current.socket),
                        };
                    }
                },
            }
        }
        let socket = SocketId(self.next);
        self.next += 1;
        claims.current = Some(Current {
            socket,
            proven: false,
            contested: None,
        });
        self.peers.insert(socket, peer);
        if let Some(displaced) = &displaced {
            self.peers.remove(displaced);
        }
        Attach::Opened { socket, displaced }
    }

    /// The socket proved its peer. `None` for one that is over; else the socket it displaces, if any.
    pub(super) fn proved(&mut self, socket: SocketId) -> Option<Option<SocketId>> {
        let claims = self.claims.get_mut(self.peers.get(&socket)?)?;
        claims
            .candidates
            .retain(|(candidate, _)| *candidate != socket);
        let before = claims.current.replace(Current {
            socket,
            proven: true,
            contested: None,
        });
        let displaced = before
            .map(|current| current.socket)
            .filter(|before| *before != socket);
        if let Some(displaced) = &displaced {
            self.peers.remove(displaced);
        }
        Some(displaced)
    }

    pub(super) fn alive(&mut self, socket: SocketId) {
        if let Some(peer) = self.peers.get(&socket)
            && let Some(claims) = self.claims.get_mut(peer)
            && let Some(current) = &mut claims.current
            && current.socket == socket
        {
            current.contested = None;
        }
    }

    /// Forgets a socket. Its peer, if it was the one that spoke for it.
    pub(super) fn detach(&mut self, socket: SocketId) -> Option<PeerId> {
        let peer = self.peers.remove(&socket)?;
        let claims = self.claims.get_mut(&peer)?;
        claims
            .candidates
            .retain(|(candidate, _)| *candidate != socket);
        let spoke = claims
            .current
            .as_ref()
            .is_some_and(|current| current.socket == socket);
        if spoke {
            claims.current = None;
        }
        if claims.current.is_none() && claims.candidates.is_empty() {
            self.claims.remove(&peer);
        }
        spoke.then_some(peer)
    }

    /// Candidates that did not prove in time; they are forgotten.
    pub(super) fn sweep(&mut self, now: Instant) -> Vec<SocketId> {
        let mut late = Vec::new();
        for claims in self.claims.values_mut() {
            claims.candidates.retain(|(socket, until)| {
                if *until <= now {
                    late.push(*socket);
                }
                *until > now
            });
        }
        self.claims
            .retain(|_, claims| claims.current.is_some() || !claims.candidates.is_empty());
        for socket in &late {
            self.peers.remove(socket);
        }
        late
    }

    /// The socket that speaks for a peer.
    pub(super) fn current(&self, peer: &PeerId) -> Option<SocketId> {
        let current = self.claims.get(peer)?.current.as_ref()?;
        Some(current.socket)
    }

    /// Whose socket it is, as long as it is open.
    pub(super) fn peer(&self, socket: SocketId) -> Option<PeerId> {
        self.peers.get(&socket).copied()
    }

    /// Whether messages of this peer may come over this socket.
    pub(super) fn is_of(&self, socket: SocketId, peer: &PeerId) -> bool {
        self.current(peer) == Some(socket)
    }

    pub(super) fn len(&self) -> usize {
        self.peers.len()
    }
}
