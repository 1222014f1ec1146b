//! Messages between two peers: until they are acknowledged, until a page of the other one has them, and what it costs that
//! some wait or that many pages listen.
//!
//! They are sent as a page sends them, so a loopback HTTP answer is part of what is measured; the floor opens, uses and
//! closes a bare libp2p stream for each, over the fastest transport, and has none.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use super::servers::BareNode;
use crate::bench::Bench;
use crate::floor::host::Transport;
use crate::http;
use crate::load::rate::Rate;
use crate::peer::Peer;
use crate::report::{Floor, Goal, Row};
use crate::samples::{Samples, Unit, mib, ms};

/// Bytes of an acknowledgement with its line break.
pub(super) const ACK: u64 = 80;
/// Bytes of text in a message.
const TEXT: usize = 200;
/// Messages that are on their way at once.
const AT_ONCE: usize = 16;
/// Times the floor's median.
const LATENCY: f64 = 2.5;
/// Part of the floor's rate.
const RATE: f64 = 0.5;
/// Milliseconds after the acknowledgement in which a page has a message.
const TO_PAGE: f64 = 2.0;
/// Peers that are away, and messages that wait for each; together 10,000.
const AWAY: usize = 50;
const EACH: usize = 200;
/// Milliseconds by which a start may be slower, and MiB by which a peer may be larger, with those.
const SLOWER: f64 = 50.0;
const LARGER: f64 = 10.0;
/// Pages that listen, and MiB that each may cost.
const PAGES: usize = 100;
const PER_PAGE: f64 = 1.0;
/// How long an answer may take.
const ANSWER: Duration = Duration::from_secs(10);

/// A connection to a peer's API that is kept.
struct Kept {
    reader: BufReader<TcpStream>,
    head: String,
}

impl Kept {
    fn open(peer: &Peer<'_>) -> Result<Self> {
        let stream = peer.space.connect(peer.control)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(ANSWER))?;
        let head = format!("Host: {}\r\nCookie: {}\r\n", peer.control, peer.cookie);
        Ok(Self {
            reader: BufReader::new(stream),
            head,
        })
    }

    fn post(&mut self, path: &str, body: &Value) -> Result<(u16, String)> {
        let body = body.to_string();
        let request = format!(
            "POST {path} HTTP/1.1\r\n{}Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            self.head,
            body.len()
        );
        self.reader.get_mut().write_all(request.as_bytes())?;
        let mut line = String::new();
        self.reader.read_line(&mut line)?;
        let status = line.split(' ').nth(1).and_then(|code| code.parse().ok());
        let status = status.with_context(|| format!("not an answer: {line:?}"))?;
        let mut length = 0;
        loop {
            line.clear();
            self.reader.read_line(&mut line)?;
            if line.trim().is_empty() {
                break;
            }
            if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse()?;
            }
        }
        let mut answer = vec![0; length];
        self.reader.read_exact(&mut answer)?;
        Ok((status, String::from_utf8_lossy(&answer).into_owned()))
    }

    fn send(&mut self, to: &str, text: &str) -> Result<()> {
        self.send_on(to, "x:bench", text)
    }

    fn send_on(&mut self, to: &str, topic: &str, text: &str) -> Result<()> {
        let message = json!({ "peer_id": to, "topic": topic, "payload": { "content": text } });
        let (status, said) = self.post("/api/mq/send", &message)?;
        ensure!(status == 200, "not sent: {status} {said}");
        Ok(())
    }
}

/// Sends for as long as a round counts, and gives how long each took. Each connection has a topic of its own: within one,
/// messages keep their order and go one at a time.
fn send_on(bench: &Bench, here: &Peer<'_>, to: &str, connections: usize) -> Result<Rate> {
    let run = Duration::from_millis(bench.effort.run);
    let warm = Duration::from_millis(bench.effort.warm);
    // They are opened here: a thread has no network namespace of its own.
    let kept = (0..connections).map(|_| Kept::open(here));
    let kept: Vec<Kept> = kept.collect::<Result<_>>()?;
    let from = Instant::now() + warm;
    let until = from + run;
    let text = "x".repeat(TEXT);
    let all = std::thread::scope(|scope| {
        let sending: Vec<_> = kept
            .into_iter()
            .enumerate()
            .map(|(number, mut kept)| {
                let (text, topic) = (&text, format!("x:bench-{number}"));
                scope.spawn(move || -> Result<Vec<Duration>> {
                    let mut took = Vec::new();
                    while Instant::now() < until {
                        let asked = Instant::now();
                        kept.send_on(to, &topic, text)?;
                        if asked >= from {
                            took.push(asked.elapsed());
                        }
                    }
                    Ok(took)
                })
            })
            .collect();
        let mut all = Vec::new();
        for one in sending {
            let took = one
                .join()
                .map_err(|_| anyhow::anyhow!("a sender panicked"))?;
            all.extend(took?);
        }
        anyhow::Ok(all)
    })?;
    let answers = all.len() as u64;
    Rate::of(all, answers, run)
}

/// Messages one at a time, while something else goes on.
pub(super) fn calm(bench: &Bench, here: &Peer<'_>, to: &str) -> Result<Rate> {
    send_on(bench, here, to, 1)
}

/// A first message, after which keys are known and payloads sealed.
pub(super) fn hello(here: &Peer<'_>, to: &str) -> Result<()> {
    Kept::open(here)?.send(to, "hello")
}

/// From a send to the line on the other one's event stream, beyond the acknowledgement, one message at a time.
fn to_page(here: &Peer<'_>, there: &Peer<'_>) -> Result<f64> {
    let stream = there.space.connect(there.control)?;
    let mut events = http::events(
        stream,
        &there.control.to_string(),
        "/api/mq/events?topics=x:bench",
        &there.cookie,
    )?;
    events.get_ref().set_read_timeout(Some(ANSWER))?;
    let mut kept = Kept::open(here)?;
    let mut later = Vec::new();
    for number in 0..200 {
        let mark = format!("mark-{number}-");
        let (to, kept) = (there.id.as_str(), &mut kept);
        let seen = std::thread::scope(|scope| {
            let sending = scope.spawn(|| kept.send(to, &mark).map(|()| Instant::now()));
            let mut line = String::new();
            while !line.contains(&mark) {
                line.clear();
                ensure!(events.read_line(&mut line)? > 0, "the stream ended");
            }
            let seen = Instant::now();
            let acknowledged = sending
                .join()
                .map_err(|_| anyhow::anyhow!("the sender panicked"))??;
            anyhow::Ok(ms(seen.saturating_duration_since(acknowledged)))
        })?;
        later.push(seen);
    }
    later.sort_by(f64::total_cmp);
    Ok(later[later.len() / 2])
}

pub(super) fn sending(bench: &Bench) -> Result<Vec<Row>> {
    let start = |transport| BareNode::start(bench, &bench.lan.there, transport, None);
    let nodes: Vec<BareNode> = Transport::EACH
        .into_iter()
        .map(start)
        .collect::<Result<_>>()?;
    let pair = if bench.floors_only {
        None
    } else {
        let there = bench.peer_there("messages-there", 0)?;
        let here = bench.peer_here("messages-here", 0)?;
        here.meet(&there)?;
        hello(&here, &there.id)?;
        Some((here, there))
    };
    let mut ours = <[Samples; 4]>::default();
    let mut floors = <[(Samples, Samples); Transport::EACH.len()]>::default();
    for _ in 0..bench.effort.rounds {
        if let Some((here, there)) = &pair {
            let one = send_on(bench, here, &there.id, 1)?;
            let many = send_on(bench, here, &there.id, AT_ONCE)?;
            ours[0].push(one.p50);
            ours[1].push(one.p99);
            ours[2].push(many.per_second);
            ours[3].push(to_page(here, there)?);
        }
        for ((transport, node), (latency, rate)) in
            Transport::EACH.into_iter().zip(&nodes).zip(&mut floors)
        {
            latency.push(bench.bare_messages(transport, &node.addr, 1)?.p50);
            rate.push(
                bench
                    .bare_messages(transport, &node.addr, AT_ONCE)?
                    .per_second,
            );
        }
    }
    let [p50, p99, per_second, page] = ours;
    let place = |better: fn(f64, f64) -> bool, pick: fn(&(Samples, Samples)) -> &Samples| {
        let best = (0..floors.len()).reduce(|best, next| {
            let [one, other] = [best, next].map(|at| pick(&floors[at]).median());
            if better(one, other) { best } else { next }
        });
        let at = best.unwrap_or_default();
        let title = format!("bare {}, a stream each", Transport::EACH[at].title());
        Floor::new(title, pick(&floors[at]).clone())
    };
    let row = |what: &str, unit, ours, floor, goal, note: &str| Row {
        what: what.to_owned(),
        unit,
        ours,
        floor,
        goal,
        note: note.to_owned(),
    };
    Ok(vec![
        row(
            "a message of 200 bytes until it is acknowledged, one at a time, median",
            Unit::Milliseconds,
            p50,
            Some(place(|one, other| one <= other, |floor| &floor.0)),
            Goal::TimesFloor(LATENCY),
            &format!(
                "p99 {}; HTTP to the own peer included",
                Unit::Milliseconds.show(p99.median())
            ),
        ),
        row(
            "messages of 200 bytes, 16 at once",
            Unit::PerSecond,
            per_second,
            Some(place(|one, other| one >= other, |floor| &floor.1)),
            Goal::OfFloor(RATE),
            "16 topics, each in order; HTTP to the own peer included",
        ),
        row(
            "on the neighbour's event stream after the acknowledgement",
            Unit::Milliseconds,
            page,
            None,
            Goal::AtMost(TO_PAGE),
            "0 where it was there before",
        ),
    ])
}

/// A peer id that nobody has.
fn nobody(number: usize) -> String {
    let mut bytes = vec![0x00, 0x24, 0x08, 0x01, 0x12, 0x20];
    bytes.extend([0; 24]);
    bytes.extend((number as u64 + 1).to_be_bytes());
    libp2p::PeerId::from_bytes(&bytes).map_or_else(|_| String::new(), |peer| peer.to_base58())
}

pub(super) fn waiting(bench: &Bench) -> Result<Vec<Row>> {
    if bench.floors_only {
        return Ok(Vec::new());
    }
    let mut samples = <[(Samples, Samples); 2]>::default();
    let kinds = [("waiting-none", 0), ("waiting-many", EACH)];
    for ((name, count), (start, memory)) in kinds.into_iter().zip(&mut samples) {
        let peer = bench.peer_here(name, 0)?;
        let folder = peer.folder.clone();
        let mut kept = Kept::open(&peer)?;
        for away in 0..AWAY {
            for number in 0..count {
                let line = json!({ "peer_id": nobody(away), "content": format!("line {number}") });
                let (status, said) = kept.post("/api/chat/send", &line)?;
                ensure!(status == 200 && said.contains("waiting"), "{status} {said}");
            }
        }
        peer.process.stop()?;
        for _ in 0..bench.effort.starts {
            let peer = Peer::start(&bench.lan.here, name, &bench.peer, &folder)?;
            start.push(ms(peer.start_time()));
            memory.push(mib(peer.process.memory()?.rss));
            peer.process.stop()?;
        }
    }
    let [none, many] = samples;
    let row = |what: &str, unit, ours: &Samples, without: &Samples, most: f64| Row {
        what: what.to_owned(),
        unit,
        ours: ours.clone(),
        floor: Some(Floor::new(
            "the same peer, and nothing waits",
            without.clone(),
        )),
        goal: Goal::AtMost(without.median() + most),
        note: "50 peers who are away, 200 messages each".to_owned(),
    };
    Ok(vec![
        row(
            "start with 10,000 messages that wait",
            Unit::Milliseconds,
            &many.0,
            &none.0,
            SLOWER,
        ),
        row(
            "memory after such a start",
            Unit::Mebibytes,
            &many.1,
            &none.1,
            LARGER,
        ),
    ])
}

pub(super) fn listeners(bench: &Bench) -> Result<Vec<Row>> {
    if bench.floors_only {
        return Ok(Vec::new());
    }
    let there = bench.peer_there("listeners-there", 0)?;
    let here = bench.peer_here("listeners-here", 0)?;
    here.meet(&there)?;
    let (mut each, mut slowest) = (Samples::default(), Samples::default());
    for _ in 0..bench.effort.rounds {
        there.process.forget_peak()?;
        let before = there.process.memory()?.rss;
        let mut pages = Vec::new();
        for _ in 0..PAGES {
            let stream = there.space.connect(there.control)?;
            let host = there.control.to_string();
            pages.push(http::events(
                stream,
                &host,
                "/api/mq/events?topics=x:bench",
                &there.cookie,
            )?);
        }
        let mut kept = Kept::open(&here)?;
        for number in 0..100 {
            kept.send(&there.id, &format!("line-{number}-{}", "x".repeat(TEXT)))?;
        }
        let sent = Instant::now();
        for page in &mut pages {
            page.get_ref().set_read_timeout(Some(ANSWER))?;
            let mut line = String::new();
            while !line.contains("line-99-") {
                line.clear();
                ensure!(page.read_line(&mut line)? > 0, "a page's stream ended");
            }
        }
        slowest.push(ms(sent.elapsed()));
        each.push(mib(there.process.peak()?.saturating_sub(before)) / PAGES as f64);
    }
    let row = |what: &str, unit, ours, goal, note: &str| Row {
        what: what.to_owned(),
        unit,
        ours,
        floor: None,
        goal,
        note: note.to_owned(),
    };
    Ok(vec![
        row(
            "memory for each of 100 pages that follow events",
            Unit::Mebibytes,
            each,
            Goal::NeverAbove(PER_PAGE),
            "highest resident size while 100 messages came, over the one before",
        ),
        row(
            "until the last of them has the last message",
            Unit::Milliseconds,
            slowest,
            Goal::None,
            "after its acknowledgement",
        ),
    ])
}
