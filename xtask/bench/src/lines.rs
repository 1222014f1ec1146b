//! The lines of the table, in its order, and what several of them need.

mod data;
mod export;
mod flood;
mod idle;
mod many;
mod messages;
mod own;
mod pages;
mod relay;
mod rendezvous;
mod seen;
mod servers;
mod size;
mod start;
mod tree;
mod visit;

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::bench::Bench;
use crate::floor::{ask, host::Transport};
use crate::load::bulk::{self, Bulk};
use crate::load::rate::{self, GRACE, Rate};
use crate::peer::{self, Peer};
use crate::process::{self, Process};
use crate::report::Row;
use crate::space::Space;

/// How long one large answer may take.
const BULK: Duration = Duration::from_secs(120);

/// One line.
#[derive(Debug)]
pub(crate) struct Line {
    /// Its name on the command line.
    pub(crate) name: &'static str,
    /// What it measures.
    pub(crate) what: &'static str,
    /// Measures it.
    pub(crate) take: fn(&Bench) -> Result<Vec<Row>>,
}

/// Every line.
pub(crate) const ALL: &[Line] = &[
    Line {
        name: "start",
        what: "start until /api/self answers",
        take: start::take,
    },
    Line {
        name: "idle",
        what: "memory and processor time of an idle peer with one neighbour",
        take: idle::take,
    },
    Line {
        name: "own-small",
        what: "own site, 10 KB file, 8 connections",
        take: own::small,
    },
    Line {
        name: "own-large",
        what: "own site, 64 MB file",
        take: own::large,
    },
    Line {
        name: "visit-latency",
        what: "neighbour's site, 10 KB, one after the other",
        take: visit::latency,
    },
    Line {
        name: "visit-rate",
        what: "neighbour's site, 10 KB, 32 connections",
        take: visit::rate,
    },
    Line {
        name: "visit-large",
        what: "neighbour's site, 256 MB file",
        take: visit::large,
    },
    Line {
        name: "data-insert",
        what: "rows added over HTTP, one a request, 8 clients",
        take: data::insert,
    },
    Line {
        name: "data-query",
        what: "20 of 1,000,000 rows by key over HTTP, 8 clients",
        take: data::query,
    },
    Line {
        name: "data-neighbour",
        what: "20 of a neighbour's 1,000,000 rows by key",
        take: data::neighbour,
    },
    Line {
        name: "data-scan",
        what: "1,000,000 rows scanned by a neighbour",
        take: data::scan,
    },
    Line {
        name: "data-decide",
        what: "who may what, one decision",
        take: data::decision,
    },
    Line {
        name: "data-open",
        what: "a database of 4 GiB opened, beside one of 4 MiB",
        take: data::open,
    },
    Line {
        name: "size",
        what: "goop-peer, stripped",
        take: size::take,
    },
    Line {
        name: "seen",
        what: "second peer seen after its start",
        take: seen::take,
    },
    Line {
        name: "page-cold",
        what: "a page's first load in a browser",
        take: pages::cold,
    },
    Line {
        name: "page-again",
        what: "a page's second load in a browser",
        take: pages::again,
    },
    Line {
        name: "page-change",
        what: "from one page to another in a browser",
        take: pages::change,
    },
    Line {
        name: "peers-5000",
        what: "5,000 peers in the list, 50 changes a second, in a browser",
        take: many::take,
    },
    Line {
        name: "tree-20000",
        what: "a site of 20,000 files, listed and in the editor",
        take: tree::take,
    },
    Line {
        name: "messages",
        what: "messages to a neighbour: one at a time, 16 at once, and to the neighbour's pages",
        take: messages::sending,
    },
    Line {
        name: "messages-waiting",
        what: "10,000 messages that wait for peers who are away",
        take: messages::waiting,
    },
    Line {
        name: "messages-listeners",
        what: "100 pages that follow the events of one peer",
        take: messages::listeners,
    },
    Line {
        name: "flood",
        what: "a message to a peer that another one floods",
        take: flood::take,
    },
    Line {
        name: "export-1gb",
        what: "a site of 1 GiB as one file",
        take: export::take,
    },
    Line {
        name: "rendezvous",
        what: "rendezvous server with 10,000 peers",
        take: rendezvous::many,
    },
    Line {
        name: "rendezvous-curve",
        what: "rendezvous server with 100 to 10,000 peers that tell addresses",
        take: rendezvous::curve,
    },
    Line {
        name: "rendezvous-restart",
        what: "rendezvous server started again with 5,000 peers",
        take: rendezvous::restart,
    },
    Line {
        name: "relay-throughput",
        what: "a 256 MB file over the relay",
        take: relay::throughput,
    },
    Line {
        name: "relay-first-byte",
        what: "first byte of a page over the relay, once both know each other",
        take: relay::first_byte,
    },
    Line {
        name: "relay-idle",
        what: "a relay with 1,000 idle reservations",
        take: relay::idle,
    },
];

/// The lines with these names, or all.
pub(crate) fn choose(names: &[String]) -> Result<Vec<&'static Line>> {
    if names.is_empty() {
        return Ok(ALL.iter().collect());
    }
    let find = |name: &String| ALL.iter().find(|line| line.name == name);
    let known = || {
        ALL.iter()
            .map(|line| line.name)
            .collect::<Vec<_>>()
            .join(", ")
    };
    names
        .iter()
        .map(|name| find(name).with_context(|| format!("no line {name}; there are {}", known())))
        .collect()
}

/// Whom a load generator asks, and for what.
#[derive(Debug)]
struct Target<'a> {
    space: &'a Space,
    addr: SocketAddr,
    host: String,
    /// `{}` stands for the number of the file.
    path: String,
    files: usize,
}

impl Bench {
    /// Small answers over kept connections.
    fn rate_of(&self, target: &Target<'_>, connections: usize) -> Result<Rate> {
        let arguments = [
            rate::COMMAND.to_owned(),
            format!("--addr={}", target.addr),
            format!("--host={}", target.host),
            format!("--path={}", target.path),
            format!("--files={}", target.files),
            format!("--length={}", peer::SMALL),
            format!("--connections={connections}"),
            format!("--warm={}", self.effort.warm),
            format!("--run={}", self.effort.run),
        ];
        process::ask(target.space, &arguments, self.patience(), self.logs())
    }

    /// One large answer, equal to the file `compare` if there is one.
    fn bulk_of(
        &self,
        target: &Target<'_>,
        length: u64,
        compare: Option<&Peer<'_>>,
    ) -> Result<Bulk> {
        let mut arguments = vec![
            bulk::COMMAND.to_owned(),
            format!("--addr={}", target.addr),
            format!("--host={}", target.host),
            format!("--path={}", target.path),
            format!("--length={length}"),
        ];
        arguments.extend(compare.map(|owner| {
            format!(
                "--compare={}",
                owner.folder.join("site").join(peer::LARGE_FILE).display()
            )
        }));
        process::ask(target.space, &arguments, BULK, self.logs())
    }

    /// Small answers over reused libp2p streams.
    fn bare_rate(&self, transport: Transport, addr: &str, streams: usize) -> Result<Rate> {
        let arguments = [
            ask::COMMAND.to_owned(),
            format!("--transport={}", transport.name()),
            format!("--addr={addr}"),
            format!("--length={}", peer::SMALL),
            format!("--streams={streams}"),
            format!("--warm={}", self.effort.warm),
            format!("--run={}", self.effort.run),
        ];
        process::ask(&self.lan.here, &arguments, self.patience(), self.logs())
    }

    /// Answers as large as a message, each over a libp2p stream that is opened for it.
    fn bare_messages(&self, transport: Transport, addr: &str, streams: usize) -> Result<Rate> {
        let arguments = [
            ask::COMMAND.to_owned(),
            format!("--transport={}", transport.name()),
            format!("--addr={addr}"),
            format!("--length={}", messages::ACK),
            format!("--streams={streams}"),
            "--fresh".to_owned(),
            format!("--warm={}", self.effort.warm),
            format!("--run={}", self.effort.run),
        ];
        process::ask(&self.lan.here, &arguments, self.patience(), self.logs())
    }

    /// One large answer over a libp2p stream.
    fn bare_bulk(&self, transport: Transport, addr: &str, length: u64) -> Result<Bulk> {
        let arguments = [
            ask::COMMAND.to_owned(),
            format!("--transport={}", transport.name()),
            format!("--addr={addr}"),
            format!("--length={length}"),
        ];
        process::ask(&self.lan.here, &arguments, BULK, self.logs())
    }

    fn patience(&self) -> Duration {
        Duration::from_millis(self.effort.warm + self.effort.run) + 2 * GRACE
    }

    /// A peer on this side with a folder of small files and a large one of that many bytes.
    fn peer_here(&self, name: &str, large: u64) -> Result<Peer<'_>> {
        self.peer_in(&self.lan.here, name, large)
    }

    /// The same on the other side.
    fn peer_there(&self, name: &str, large: u64) -> Result<Peer<'_>> {
        self.peer_in(&self.lan.there, name, large)
    }

    fn peer_in<'a>(&self, space: &'a Space, name: &str, large: u64) -> Result<Peer<'a>> {
        let folder = self.folder(name);
        peer::make_folder(&folder, large)?;
        Peer::start(space, name, &self.peer, &folder)
    }
}

/// Processor time that `work` costs `server`, divided by the answers it counts; in microseconds.
fn cost_of(server: &Process, work: impl FnOnce() -> Result<Rate>) -> Result<(Rate, f64)> {
    let before = server.cpu()?;
    let rate = work()?;
    let used = server.cpu()?.saturating_sub(before);
    let cost = used.as_secs_f64() * 1e6 / rate.answers as f64;
    Ok((rate, cost))
}

/// The page that `visitor` gets has to be the one that `owner` has.
fn compare(visitor: &Peer<'_>, host: &str, owner: &Peer<'_>) -> Result<()> {
    for file in [0, 1, peer::SMALL_FILES - 1] {
        let name = peer::small_file(file);
        if visitor.visit(host, &owner.id, &name)?.body != peer::small_bytes(file) {
            bail!("{name} arrived with other bytes than it has");
        }
    }
    Ok(())
}
