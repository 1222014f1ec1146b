//! Peers of a rendezvous server that do nothing but be there: each with a socket of its own, a heartbeat, and perhaps
//! addresses. They are asked for news only, as `docs/protocols/rendezvous.md` has it, and come from an address each, as a
//! proxy would say it.
//!
//! The phases are told line by line, so that the bench can weigh the server in between: `open <ms>` when every socket is
//! open, `quiet` when the arrivals have been told to all, `known <ms>` when all have heard of one more, `back <ms>` when all
//! are back after the server was started again (that phase is waited for only if it is asked for).

use std::cell::Cell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use argh::FromArgs;
use libp2p::PeerId;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::task::LocalSet;
use tokio::time::{interval_at, sleep};

use super::runtime;

/// The command.
pub(crate) const COMMAND: &str = "load-sockets";
/// Sockets being opened at the same time.
const OPENING: usize = 64;
/// A frame is read in pieces of this size.
const BUFFER: usize = 16 * 1024;
/// What a peer gets in [`QUIET`] once the arrivals have been told: pings, two bytes each.
const QUIET_BYTES: u64 = 32;
/// No more than [`QUIET_BYTES`] a peer for so long: what the arrivals caused is over.
const QUIET: Duration = Duration::from_secs(2);
/// How often counters are looked at.
const LOOK: Duration = Duration::from_millis(20);
/// The mask of our frames. It has to be one; which does not matter (RFC 6455, 5.3 is about browsers).
const MASK: [u8; 4] = [0; 4];

/// Be many peers of a rendezvous server.
#[derive(Debug, FromArgs)]
pub(crate) struct Options {
    /// the server
    #[argh(option)]
    addr: SocketAddr,
    /// how many
    #[argh(option)]
    clients: usize,
    /// addresses that each of them tells
    #[argh(option, default = "0")]
    addresses: usize,
    /// milliseconds between two records of one
    #[argh(option)]
    heartbeat: u64,
    /// milliseconds of doing nothing else, after it became quiet
    #[argh(option)]
    run: u64,
    /// wait for the server to be started again
    #[argh(switch)]
    restart: bool,
}

/// What all of them share.
#[derive(Default)]
struct Desk {
    open: Cell<usize>,
    bytes: Cell<u64>,
    /// How often a socket was opened.
    opened: Cell<usize>,
    /// Whom everybody looks out for.
    newcomer: Cell<Option<PeerId>>,
    seen: Cell<usize>,
}

pub(crate) fn run(options: Options) -> Result<()> {
    let soft = nix::sys::resource::Resource::RLIMIT_NOFILE;
    let (_, hard) = nix::sys::resource::getrlimit(soft)?;
    nix::sys::resource::setrlimit(soft, hard, hard)?;
    ensure!(
        hard > options.clients as u64 + 64,
        "only {hard} files may be open: ulimit -n"
    );
    LocalSet::new().block_on(&runtime()?, drive(options))
}

async fn drive(options: Options) -> Result<()> {
    let desk = Rc::new(Desk::default());
    let opening = Rc::new(Semaphore::new(OPENING));
    let start = Instant::now();
    for number in 0..options.clients {
        let peer = Peer::new(number, &options);
        tokio::task::spawn_local(peer.stay(desk.clone(), opening.clone()));
    }
    until(|| desk.open.get() == options.clients).await;
    println!("open {}", start.elapsed().as_millis());
    let mut before = 0;
    while desk.bytes.get() - before > QUIET_BYTES * options.clients as u64 {
        before = desk.bytes.get();
        sleep(QUIET).await;
    }
    println!("quiet");
    sleep(Duration::from_millis(options.run)).await;
    println!("ran");
    let newcomer = Peer::new(options.clients, &options);
    desk.newcomer.set(Some(newcomer.id));
    let (start, before) = (Instant::now(), desk.opened.get());
    tokio::task::spawn_local(newcomer.stay(desk.clone(), opening));
    until(|| desk.seen.get() >= options.clients).await;
    println!("known {}", start.elapsed().as_millis());
    ensure!(desk.opened.get() <= before + 1, "sockets broke");
    if options.restart {
        let before = desk.opened.get();
        until(|| desk.open.get() == 0).await;
        let start = Instant::now();
        until(|| desk.open.get() > options.clients && desk.opened.get() > before).await;
        println!("back {}", start.elapsed().as_millis());
    }
    Ok(())
}

async fn until(is_so: impl Fn() -> bool) {
    while !is_so() {
        sleep(LOOK).await;
    }
}

/// One of them.
struct Peer {
    number: usize,
    id: PeerId,
    addr: SocketAddr,
    heartbeat: Duration,
    addresses: String,
}

impl Peer {
    fn new(number: usize, options: &Options) -> Self {
        let addresses: Vec<String> = (0..options.addresses)
            .map(|at| {
                format!(
                    "\"/ip4/192.168.{}.{}/tcp/{}\"",
                    number / 250 % 250,
                    at + 1,
                    2_000 + number
                )
            })
            .collect();
        Self {
            number,
            id: PeerId::random(),
            addr: options.addr,
            heartbeat: Duration::from_millis(options.heartbeat),
            addresses: match options.addresses {
                0 => String::new(),
                _ => format!(",\"addrs\":[{}]", addresses.join(",")),
            },
        }
    }

    fn record(&self, kind: &str) -> String {
        format!(
            "{{\"type\":\"{kind}\",\"peerId\":\"{}\",\"content\":\"Peer {}\"{},\"ts\":0}}",
            self.id, self.number, self.addresses
        )
    }

    /// The address a proxy would name.
    fn from(&self) -> String {
        let [_, a, b, c] = (self.number as u32 + 1).to_be_bytes();
        format!("10.{a}.{b}.{c}")
    }

    async fn stay(self, desk: Rc<Desk>, opening: Rc<Semaphore>) {
        let mut pause = Duration::from_millis(250);
        loop {
            let opened = {
                let Ok(_turn) = opening.acquire().await else {
                    return;
                };
                self.open().await
            };
            if let Ok(stream) = opened {
                pause = Duration::from_millis(250);
                desk.open.set(desk.open.get() + 1);
                desk.opened.set(desk.opened.get() + 1);
                if let Err(error) = self.talk(stream, &desk).await {
                    eprintln!("peer {}: {error:#}", self.number);
                }
                desk.open.set(desk.open.get() - 1);
            }
            sleep(pause).await;
            pause = (2 * pause).min(Duration::from_secs(2));
        }
    }

    /// Says who it is, then opens its socket on the same connection.
    async fn open(&self) -> Result<TcpStream> {
        let mut stream = TcpStream::connect(self.addr).await?;
        stream.set_nodelay(true)?;
        let (host, from, body) = (self.addr, self.from(), self.record("online"));
        let publish = format!(
            "POST /publish HTTP/1.1\r\nHost: {host}\r\nX-Forwarded-For: {from}\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(publish.as_bytes()).await?;
        ensure!(
            status(&mut stream).await? == 204,
            "the record was not taken"
        );
        let upgrade = format!(
            "GET /ws?peer_id={}&news=1 HTTP/1.1\r\nHost: {host}\r\nX-Forwarded-For: {from}\r\nConnection: Upgrade\r\n\
             Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n",
            self.id
        );
        stream.write_all(upgrade.as_bytes()).await?;
        ensure!(status(&mut stream).await? == 101, "no socket");
        Ok(stream)
    }

    /// Until the socket ends.
    async fn talk(&self, stream: TcpStream, desk: &Desk) -> Result<()> {
        let (mut reader, mut writer) = stream.into_split();
        // Spread over the heartbeat, as those of real peers are.
        let first = self
            .heartbeat
            .mul_f64((self.number % 1_000) as f64 / 1_000.0);
        let mut beats = interval_at(tokio::time::Instant::now() + first, self.heartbeat);
        let mut buffer = vec![0; BUFFER];
        let (mut looked, mut tail) = (false, Vec::new());
        // What is left of the frame at hand, for finding the next head.
        let mut frames = Frames::default();
        loop {
            tokio::select! {
                _ = beats.tick() => writer.write_all(&frame(1, self.record("update").as_bytes())).await?,
                read = reader.read(&mut buffer) => {
                    let read = read?;
                    if read == 0 {
                        return Ok(());
                    }
                    desk.bytes.set(desk.bytes.get() + read as u64);
                    if frames.pings(&buffer[..read]) {
                        writer.write_all(&frame(10, b"")).await?;
                    }
                    if let (false, Some(newcomer)) = (looked, desk.newcomer.get()) {
                        let name = newcomer.to_base58();
                        tail.extend_from_slice(&buffer[..read]);
                        if tail.windows(name.len()).any(|part| part == name.as_bytes()) {
                            looked = true;
                            desk.seen.set(desk.seen.get() + 1);
                        }
                        let keep = tail.len().saturating_sub(name.len());
                        tail.drain(..keep);
                    }
                }
            }
        }
    }
}

/// The status of an answer without a body.
async fn status(stream: &mut TcpStream) -> Result<u16> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await?);
        ensure!(head.len() < BUFFER, "an endless head");
    }
    let status = head.get(9..12).context("no status")?;
    Ok(String::from_utf8_lossy(status).parse()?)
}

/// A masked frame.
fn frame(opcode: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![0x80 | opcode];
    match u16::try_from(payload.len()) {
        Ok(short) if short < 126 => frame.push(0x80 | short as u8),
        Ok(long) => {
            frame.push(0x80 | 126);
            frame.extend(long.to_be_bytes());
        }
        // No record is that long.
        Err(_) => return Vec::new(),
    }
    frame.extend(MASK);
    frame.extend(payload);
    frame
}

/// Finds the frames in what is read.
#[derive(Debug, Default)]
struct Frames {
    left: u64,
    head: Vec<u8>,
}

impl Frames {
    /// Whether there was a ping among these bytes.
    fn pings(&mut self, mut bytes: &[u8]) -> bool {
        let mut pinged = false;
        while !bytes.is_empty() {
            if self.left > 0 {
                let skip = self.left.min(bytes.len() as u64);
                self.left -= skip;
                bytes = &bytes[usize::try_from(skip).unwrap_or(bytes.len())..];
                continue;
            }
            self.head.push(bytes[0]);
            bytes = &bytes[1..];
            let long = |from: usize| {
                let digits = self.head.get(2..from)?;
                Some(
                    digits
                        .iter()
                        .fold(0, |value, digit| value << 8 | u64::from(*digit)),
                )
            };
            let length = match self.head.get(1).map(|length| length & 0x7f) {
                None => None,
                Some(126) => long(4),
                Some(127) => long(10),
                Some(short) => Some(u64::from(short)),
            };
            if let Some(length) = length {
                pinged |= self.head[0] & 0x0f == 9;
                self.left = length;
                self.head.clear();
            }
        }
        pinged
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pings_are_found_wherever_the_reads_end() {
        let mut bytes = vec![0x81, 5, b'h', b'e', b'l', b'l', b'o', 0x81, 126, 0, 200];
        bytes.extend([0x89; 200]);
        assert!(!Frames::default().pings(&bytes));
        bytes.extend([0x89, 0]);
        for step in 1..bytes.len() {
            let mut frames = Frames::default();
            let found = bytes.chunks(step).filter(|part| frames.pings(part)).count();
            assert_eq!(found, 1, "in pieces of {step}");
        }
    }
}
