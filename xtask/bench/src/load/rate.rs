//! Small answers: a number of kept connections, each asking again as soon as it was answered.

use std::cell::Cell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use argh::FromArgs;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::LocalSet;

use super::{Connection, request, runtime};

/// The command.
pub(crate) const COMMAND: &str = "load-rate";
/// Bytes read at once: a small answer with its head.
const BUFFER: usize = 32 * 1024;
/// How long it may take beyond what was asked for, before something hangs.
pub(crate) const GRACE: Duration = Duration::from_secs(10);

/// Ask an HTTP server for small files over kept connections.
#[derive(Debug, FromArgs)]
pub(crate) struct Options {
    /// whom to ask
    #[argh(option)]
    addr: SocketAddr,
    /// the Host header
    #[argh(option)]
    host: String,
    /// the path; `{}` in it becomes the number of the file
    #[argh(option)]
    path: String,
    /// how many files there are; they are asked for in turn by all connections together
    #[argh(option, default = "1")]
    files: usize,
    /// bytes in each
    #[argh(option)]
    length: u64,
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

/// What was measured, here and by [`crate::floor::ask`].
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Rate {
    /// Answers counted per second.
    pub(crate) per_second: f64,
    /// Half of the counted answers took at most this long, in milliseconds.
    pub(crate) p50: f64,
    /// 99 of 100 took at most this long, in milliseconds.
    pub(crate) p99: f64,
    /// All answers, those before counting began included.
    pub(crate) answers: u64,
}

impl Rate {
    /// Sums up how long each counted answer took.
    pub(crate) fn of(mut took: Vec<Duration>, answers: u64, run: Duration) -> Result<Self> {
        if took.is_empty() {
            bail!("not a single answer in {} ms", run.as_millis());
        }
        took.sort_unstable();
        let at =
            |part: usize| took[(took.len() * part / 100).min(took.len() - 1)].as_secs_f64() * 1e3;
        let per_second = took.len() as f64 / run.as_secs_f64();
        Ok(Self {
            per_second,
            p50: at(50),
            p99: at(99),
            answers,
        })
    }
}

/// When counting begins and ends.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Window {
    /// The first moment that counts.
    pub(crate) from: Instant,
    /// The last.
    pub(crate) until: Instant,
}

impl Window {
    /// The same, from now on without a time before: what was to be done first is done.
    pub(crate) fn again(self) -> Self {
        let from = Instant::now();
        Self {
            from,
            until: from + (self.until - self.from),
        }
    }

    /// A window that opens after `warm` and is `run` long, both in milliseconds.
    pub(crate) fn new(warm: u64, run: u64) -> Self {
        let from = Instant::now() + Duration::from_millis(warm);
        Self {
            from,
            until: from + Duration::from_millis(run),
        }
    }
}

struct Job {
    requests: Vec<Vec<u8>>,
    length: u64,
    next: Cell<usize>,
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
    let path = |file: usize| options.path.replace("{}", &file.to_string());
    let job = Rc::new(Job {
        requests: (0..options.files)
            .map(|file| request(&options.host, &path(file)))
            .collect(),
        length: options.length,
        next: Cell::new(0),
        window: Window::new(options.warm, options.run),
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
        Rate::of(took, answers, Duration::from_millis(options.run))
    };
    let limit = Duration::from_millis(options.warm + options.run) + GRACE;
    tokio::time::timeout(limit, all)
        .await
        .context("the server stopped answering")?
}

async fn ask(job: Rc<Job>, mut connection: Connection) -> Result<(Vec<Duration>, u64)> {
    let (mut took, mut answers) = (Vec::new(), 0);
    loop {
        let asked = Instant::now();
        if asked >= job.window.until {
            return Ok((took, answers));
        }
        let file = job.next.get();
        job.next.set((file + 1) % job.requests.len());
        connection.stream.write_all(&job.requests[file]).await?;
        answer(&mut connection, job.length).await?;
        answers += 1;
        let now = Instant::now();
        if asked >= job.window.from && now <= job.window.until {
            took.push(now - asked);
        }
    }
}

async fn answer(connection: &mut Connection, length: u64) -> Result<()> {
    let head = connection.head().await?;
    if head.length != length {
        bail!("an answer of {} bytes instead of {length}", head.length);
    }
    let mut body = (head.end - head.at) as u64;
    while body < length {
        let read = connection.stream.read(&mut connection.buffer).await?;
        if read == 0 {
            bail!("an answer broke off after {body} of {length} bytes");
        }
        body += read as u64;
    }
    if body > length {
        bail!("{body} bytes where {length} were announced");
    }
    Ok(())
}
