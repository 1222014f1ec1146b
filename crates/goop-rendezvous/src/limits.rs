//! How often and how many at once, for each address (rendezvous.md 4.4, 5, 6.1).
//!
//! An address is an IPv4 address or an IPv6 network of 64 bits, which is what one household has. The limits are a value
//! behind a short lock: they are asked before anything else is done for a request.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use goop_identity::PeerId;

/// Messages of one peer from one address in a minute. A heartbeat every 5 s makes 12.
pub const PER_PEER: u32 = 60;
/// Messages, and other requests that cost work, from one address in a minute: ten peers behind one router.
pub const PER_ADDRESS: u32 = 600;
/// Wrong passwords from one address in a minute (weak point 17).
pub const WRONG_PASSWORDS: u32 = 5;
/// Streams of `/events` in all (rendezvous.md 5).
pub const MAX_STREAMS: usize = 1_024;
/// Streams of `/events` for one address.
pub const MAX_STREAMS_PER_ADDRESS: usize = 10;
/// Sockets in all: each takes some 25 KiB and a file descriptor.
pub const MAX_SOCKETS: usize = 20_000;
/// Sockets of one address (rendezvous.md 6.1).
pub const MAX_SOCKETS_PER_ADDRESS: usize = 100;
/// Connections of one address, whatever they are for: its sockets, its streams, and as many requests. This machine and
/// trusted proxies bring everybody's and are not counted.
pub const MAX_CONNECTIONS_PER_ADDRESS: usize = 256;
/// The span the numbers are for.
const MINUTE: Duration = Duration::from_secs(60);
/// Addresses and peers that are counted. One takes about 80 bytes; when there are more, strangers wait.
const MAX_COUNTED: usize = 100_000;

/// What is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Key {
    Peer(IpAddr, PeerId),
    Address(IpAddr),
    Password(IpAddr),
}

impl Key {
    fn per_minute(&self) -> u32 {
        match self {
            Self::Peer(..) => PER_PEER,
            Self::Address(_) => PER_ADDRESS,
            Self::Password(_) => WRONG_PASSWORDS,
        }
    }
}

/// What is open at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Open {
    /// A stream of `/events`.
    Stream,
    /// A WebSocket.
    Socket,
    /// A connection, for anything.
    Connection,
}

#[derive(Debug, Default)]
struct Counts {
    /// When the allowance is full again: one more token is one span later.
    full_at: HashMap<Key, Instant>,
    open: HashMap<(Open, IpAddr), usize>,
    in_all: HashMap<Open, usize>,
}

impl Counts {
    fn take(&mut self, key: Key, now: Instant) -> bool {
        let every = MINUTE / key.per_minute();
        if self.full_at.len() >= MAX_COUNTED && !self.full_at.contains_key(&key) {
            self.full_at.retain(|_, full_at| *full_at > now);
            if self.full_at.len() >= MAX_COUNTED {
                return false;
            }
        }
        let full_at = self.full_at.entry(key).or_insert(now);
        let after = (*full_at).max(now) + every;
        if after > now + MINUTE {
            return false;
        }
        *full_at = after;
        true
    }
}

/// The limits of one server. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct Limits {
    counts: Arc<Mutex<Counts>>,
}

/// Why something is not opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TooMany {
    /// From this address.
    OfAddress,
    /// In all.
    InAll,
}

/// Something is open; dropping this says that it is not any more.
#[derive(Debug)]
pub struct Permit {
    counts: Arc<Mutex<Counts>>,
    open: Open,
    address: IpAddr,
}

impl Limits {
    fn counts(&self) -> std::sync::MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One more request from an address.
    #[must_use]
    pub fn request(&self, from: IpAddr, now: Instant) -> bool {
        self.counts().take(Key::Address(household(from)), now)
    }

    /// One more message of a peer from an address.
    #[must_use]
    pub fn message(&self, from: IpAddr, peer: PeerId, now: Instant) -> bool {
        self.counts().take(Key::Peer(household(from), peer), now)
    }

    /// One more wrong password. Whether another one would be looked at is for [`Limits::may_try_password`] to say.
    pub fn wrong_password(&self, from: IpAddr, now: Instant) {
        let _ = self.counts().take(Key::Password(household(from)), now);
    }

    /// Whether a password from an address is looked at.
    #[must_use]
    pub fn may_try_password(&self, from: IpAddr, now: Instant) -> bool {
        let key = Key::Password(household(from));
        let counts = self.counts();
        let full_at = counts.full_at.get(&key).copied().unwrap_or(now);
        full_at.max(now) + MINUTE / key.per_minute() <= now + MINUTE
    }

    /// Something is opened.
    ///
    /// # Errors
    /// [`TooMany`] of them are open.
    pub fn open(&self, open: Open, from: IpAddr) -> Result<Permit, TooMany> {
        let address = household(from);
        let mut counts = self.counts();
        let (most, most_in_all) = match open {
            Open::Stream => (MAX_STREAMS_PER_ADDRESS, MAX_STREAMS),
            Open::Socket => (MAX_SOCKETS_PER_ADDRESS, MAX_SOCKETS),
            // How many in all is for who accepts them to say: they wait.
            Open::Connection => (MAX_CONNECTIONS_PER_ADDRESS, usize::MAX),
        };
        let in_all = counts.in_all.get(&open).copied().unwrap_or_default();
        if in_all >= most_in_all {
            return Err(TooMany::InAll);
        }
        let now_open = counts.open.entry((open, address)).or_default();
        if *now_open >= most {
            return Err(TooMany::OfAddress);
        }
        *now_open += 1;
        counts.in_all.insert(open, in_all + 1);
        Ok(Permit {
            counts: self.counts.clone(),
            open,
            address,
        })
    }

    /// Forgets what no longer matters.
    pub fn sweep(&self, now: Instant) {
        self.counts().full_at.retain(|_, full_at| *full_at > now);
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(in_all) = counts.in_all.get_mut(&self.open) {
            *in_all -= 1;
        }
        let key = (self.open, self.address);
        if let Some(open) = counts.open.get_mut(&key) {
            *open -= 1;
            if *open == 0 {
                counts.open.remove(&key);
            }
        }
    }
}

/// What counts as one address.
pub(crate) fn household(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => {
            let [a, b, c, d, ..] = v6.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap_or(IpAddr::V6(Ipv6Addr::LOCALHOST))
    }

    #[test]
    fn a_minute_of_messages_then_one_a_second() {
        let (limits, start, peer) = (Limits::default(), Instant::now(), PeerId::random());
        let taken = |now| {
            (0..200)
                .filter(|_| limits.message(ip("192.0.2.1"), peer, now))
                .count()
        };
        assert_eq!(taken(start), PER_PEER as usize);
        assert_eq!(taken(start + Duration::from_secs(2)), 2);
        assert!(limits.message(ip("192.0.2.2"), peer, start));
        limits.sweep(start + Duration::from_secs(120));
        assert_eq!(taken(start + Duration::from_secs(120)), PER_PEER as usize);
    }

    #[test]
    fn a_household_is_one_address() {
        let (limits, now) = (Limits::default(), Instant::now());
        for n in 0..PER_ADDRESS {
            assert!(limits.request(ip(&format!("2001:db8::{n:x}")), now));
        }
        assert!(!limits.request(ip("2001:db8::ffff:1"), now));
        assert!(limits.request(ip("2001:db8:0:1::1"), now));
    }

    #[test]
    fn what_closes_makes_room() {
        let limits = Limits::default();
        let mut open: Vec<Permit> = (0..MAX_STREAMS_PER_ADDRESS)
            .filter_map(|_| limits.open(Open::Stream, ip("192.0.2.1")).ok())
            .collect();
        let refused = limits.open(Open::Stream, ip("::ffff:192.0.2.1"));
        assert_eq!(refused.err(), Some(TooMany::OfAddress));
        open.pop();
        assert!(limits.open(Open::Stream, ip("192.0.2.1")).is_ok());
    }

    #[test]
    fn wrong_passwords_end_the_tries() {
        let (limits, now, from) = (Limits::default(), Instant::now(), ip("192.0.2.1"));
        for _ in 0..WRONG_PASSWORDS {
            assert!(limits.may_try_password(from, now));
            limits.wrong_password(from, now);
        }
        assert!(!limits.may_try_password(from, now));
        assert!(limits.may_try_password(from, now + Duration::from_secs(12)));
    }
}
