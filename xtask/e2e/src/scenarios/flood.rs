//! One machine opens connections to a rendezvous server and its relay without end. It gets its part, and others meet as
//! if it were not there.

use std::collections::VecDeque;
use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use nix::sys::resource::{Resource, getrlimit, setrlimit};

use super::nat_matrix::{KNOWN, PAGE, Pair};
use crate::lab::{Host, Internet, Lab, Nat, wait};
use crate::peer::tail;
use crate::rendezvous::{PORT, Proxy, RELAY, Rendezvous};

/// Connections that are opened at least.
const CONNECTIONS: usize = 100_000;
/// Of them the newest are held.
const HELD: usize = 2_000;
/// One of so many goes to the relay.
const TO_RELAY: usize = 16;
/// What a server lets one address have open (`docs/limits.md`).
const ALLOWED: usize = 256;
/// A connection that is not taken: the machine on the other side is only a namespace away.
const PATIENCE: Duration = Duration::from_secs(1);
/// The newest are closed for being too many, not yet for saying nothing (5 s).
const CLOSED: Duration = Duration::from_secs(2);

pub(super) fn one_address(lab: &Lab) -> Result<()> {
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, most, most)?;
    let net = Internet::new(lab)?;
    let (host, address) = net.server(1)?;
    let server = Rendezvous::behind(lab, &host, address, Proxy::Nothing)?;
    let attacker = net.home(3, Nat::None)?;
    // These two have nothing but the relay.
    let homes = [
        net.home(1, Nat::PortRestricted)?,
        net.home(2, Nat::Symmetric)?,
    ];
    let flood = Flood::begin(attacker.host, address);
    let pair = Pair::start(lab, &server, &homes)?;
    let met = pair
        .known(KNOWN)
        .and_then(|()| pair.pages(Instant::now(), PAGE));
    let held = flood.end().context("the flood")?;
    met.with_context(|| {
        format!(
            "Ada:\n{}\nGrace:\n{}\nserver:\n{}",
            tail(&pair.ada.log()),
            tail(&pair.grace.log()),
            tail(&server.log())
        )
    })?;
    ensure!(held.len() > ALLOWED, "only {} were held", held.len());
    wait("the server closes what is too much", CLOSED, || {
        let open = held.iter().filter(|stream| is_open(stream)).count();
        ensure!(open <= ALLOWED, "{open} are open");
        Ok(Some(()))
    })
}

/// A thread that opens connections until it is told to end and has opened enough.
struct Flood {
    end: Arc<AtomicBool>,
    thread: JoinHandle<Result<Vec<TcpStream>>>,
}

impl Flood {
    fn begin(host: Host, address: Ipv4Addr) -> Self {
        let end = Arc::new(AtomicBool::new(false));
        let ended = end.clone();
        let thread = std::thread::spawn(move || {
            host.inside(|| {
                let mut held = VecDeque::new();
                let mut opened = 0;
                while opened < CONNECTIONS || !ended.load(Ordering::Relaxed) {
                    opened += 1;
                    let port = if opened % TO_RELAY == 0 { RELAY } else { PORT };
                    let to = SocketAddr::from((address, port));
                    // Refused or not taken in time is what a flood may expect.
                    if let Ok(stream) = TcpStream::connect_timeout(&to, PATIENCE) {
                        stream.set_nonblocking(true)?;
                        held.push_back((port, stream));
                    }
                    if held.len() > HELD {
                        held.pop_front();
                    }
                }
                let to_server = held.into_iter().filter(|(port, _)| *port == PORT);
                Ok(to_server.map(|(_, stream)| stream).collect())
            })
        });
        Self { end, thread }
    }

    /// The newest connections to the server, some of which it closed.
    fn end(self) -> Result<Vec<TcpStream>> {
        self.end.store(true, Ordering::Relaxed);
        self.thread
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }
}

fn is_open(stream: &TcpStream) -> bool {
    match stream.peek(&mut [0]) {
        Ok(read) => read > 0,
        Err(error) => error.kind() == ErrorKind::WouldBlock,
    }
}
