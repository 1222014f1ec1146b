//! One large answer: when its first byte came, and how fast the rest.

use std::fs::File;
use std::net::SocketAddr;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use argh::FromArgs;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{BUFFER, Connection, request, runtime};
use crate::samples::ms;

/// The command.
pub(crate) const COMMAND: &str = "load-bulk";

/// Ask an HTTP server for one large file.
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
    /// bytes in the file
    #[argh(option)]
    length: u64,
    /// a file that the answer has to be equal to; comparing takes time
    #[argh(option)]
    compare: Option<PathBuf>,
}

/// What was measured, here and by [`crate::floor::ask`].
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Bulk {
    /// 10⁶ bytes per second, from the request to the last byte.
    pub(crate) megabytes: f64,
    /// From the request to the first byte of the body, in milliseconds.
    pub(crate) first: f64,
}

impl Bulk {
    /// From three moments.
    pub(crate) fn of(bytes: u64, asked: Instant, first: Instant, last: Instant) -> Self {
        Self {
            megabytes: bytes as f64 / 1e6 / (last - asked).as_secs_f64(),
            first: ms(first - asked),
        }
    }
}

pub(crate) fn run(options: Options) -> Result<()> {
    let bulk = runtime()?.block_on(measure(options))?;
    println!("{}", serde_json::to_string(&bulk)?);
    Ok(())
}

async fn measure(options: Options) -> Result<Bulk> {
    let compare = options
        .compare
        .map(File::open)
        .transpose()
        .context("the file to compare with")?;
    let mut connection = Connection::open(options.addr, BUFFER).await?;
    let asked = Instant::now();
    connection
        .stream
        .write_all(&request(&options.host, &options.path))
        .await?;
    let head = connection.head().await?;
    if head.length != options.length {
        bail!(
            "an answer of {} bytes instead of {}",
            head.length,
            options.length
        );
    }
    let (mut at, mut end) = (head.at, head.end);
    let (mut body, mut first) = (0, None);
    loop {
        if end > at {
            first.get_or_insert_with(Instant::now);
            same(compare.as_ref(), &connection.buffer[at..end], body)?;
            body += (end - at) as u64;
        }
        if body >= options.length {
            break;
        }
        (at, end) = (0, connection.stream.read(&mut connection.buffer).await?);
        if end == 0 {
            bail!(
                "the answer broke off after {body} of {} bytes",
                options.length
            );
        }
    }
    let last = Instant::now();
    Ok(Bulk::of(body, asked, first.unwrap_or(last), last))
}

fn same(file: Option<&File>, bytes: &[u8], at: u64) -> Result<()> {
    let Some(file) = file else { return Ok(()) };
    let mut right = vec![0; bytes.len()];
    file.read_exact_at(&mut right, at)?;
    if right != bytes {
        bail!(
            "the answer differs from the file between {at} and {}",
            at + bytes.len() as u64
        );
    }
    Ok(())
}
