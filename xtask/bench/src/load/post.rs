//! JSON requests: a number of kept connections, each posting again as soon as it was answered.

use std::cell::Cell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use argh::FromArgs;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::LocalSet;

use super::rate::{GRACE, Rate, Window};
use super::{Connection, runtime};

/// The command.
pub(crate) const COMMAND: &str = "load-post";
/// Bytes read at once: a small answer with its head.
const BUFFER: usize = 64 * 1024;

/// Post JSON to an HTTP server over kept connections.
#[derive(Debug, FromArgs)]
pub(crate) struct Options {
    /// whom to ask
    #[argh(option)]
    addr: SocketAddr,
    /// the Host header
    #[argh(option)]
    host: String,
    /// the path
    #[argh(option)]
    path: String,
    /// the Cookie header
    #[argh(option, default = "String::new()")]
    cookie: String,
    /// the body; `@` in it becomes the number of the request
    #[argh(option)]
    body: String,
    /// what the numbers are counted modulo; they jump, so that neighbours are not asked for together
    #[argh(option, default = "u64::MAX")]
    numbers: u64,
    /// connections
    #[argh(option)]
    connections: usize,
    /// milliseconds before counting begins
    #[argh(option)]
    warm: u64,
    /// milliseconds of counting
    #[argh(option)]
    run: u64,
}

/// Numbers that are spread over all of them (a prime step).
pub(crate) fn spread(count: u64, numbers: u64) -> u64 {
    if numbers == u64::MAX {
        return count;
    }
    count.wrapping_mul(7_919) % numbers
}

struct Job {
    options: Options,
    next: Cell<u64>,
    window: Window,
}

pub(crate) fn run(options: Options) -> Result<()> {
    let runtime = runtime()?;
    let rate = LocalSet::new().block_on(&runtime, measure(options))?;
    println!("{}", serde_json::to_string(&rate)?);
    Ok(())
}

async fn measure(options: Options) -> Result<Rate> {
    let mut connections = Vec::new();
    for _ in 0..options.connections {
        connections.push(Connection::open(options.addr, BUFFER).await?);
    }
    let (warm, run) = (options.warm, options.run);
    let job = Rc::new(Job {
        window: Window::new(warm, run),
        options,
        next: Cell::new(0),
    });
    let tasks: Vec<_> = connections
        .into_iter()
        .map(|each| tokio::task::spawn_local(ask(job.clone(), each)))
        .collect();
    let all = async {
        let (mut took, mut answers) = (Vec::new(), 0);
        for task in tasks {
            let (these, count) = task.await??;
            took.extend(these);
            answers += count;
        }
        Rate::of(took, answers, Duration::from_millis(run))
    };
    let limit = Duration::from_millis(warm + run) + GRACE;
    tokio::time::timeout(limit, all)
        .await
        .context("the server stopped answering")?
}

async fn ask(job: Rc<Job>, mut connection: Connection) -> Result<(Vec<Duration>, u64)> {
    let (mut took, mut answers) = (Vec::new(), 0);
    let Options {
        host,
        path,
        cookie,
        body,
        numbers,
        ..
    } = &job.options;
    loop {
        let asked = Instant::now();
        if asked >= job.window.until {
            return Ok((took, answers));
        }
        let count = job.next.get();
        job.next.set(count + 1);
        let body = body.replace('@', &spread(count, *numbers).to_string());
        let request = format!(
            "POST {path} HTTP/1.1\r\nHost: {host}\r\nCookie: {cookie}\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        connection.stream.write_all(request.as_bytes()).await?;
        let head = connection.head().await?;
        let mut read = (head.end - head.at) as u64;
        while read < head.length {
            let more = connection.stream.read(&mut connection.buffer).await?;
            if more == 0 {
                bail!("an answer broke off after {read} of {} bytes", head.length);
            }
            read += more as u64;
        }
        answers += 1;
        let now = Instant::now();
        if asked >= job.window.from && now <= job.window.until {
            took.push(now - asked);
        }
    }
}
