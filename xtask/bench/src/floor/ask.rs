//! Asks a bare libp2p host over reused streams: small answers as fast as they come, or one large one.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use argh::FromArgs;
use futures::{AsyncReadExt, AsyncWriteExt};
use libp2p::{Multiaddr, PeerId, Stream};

use super::host::{self, PROTOCOL, Transport};
use crate::load::bulk::Bulk;
use crate::load::rate::{GRACE, Rate, Window};

/// The command.
pub(crate) const COMMAND: &str = "floor-ask";
/// Bytes read at once from a large answer.
const BUFFER: usize = 256 * 1024;
/// Bytes of a request, as many as one of ours has in HTTP.
const REQUEST: u32 = 200;

/// Ask a bare libp2p host.
#[derive(Debug, FromArgs)]
pub(crate) struct Options {
    /// noise, tls or quic
    #[argh(option)]
    transport: Transport,
    /// whom to ask, with the peer id
    #[argh(option)]
    addr: Multiaddr,
    /// bytes wanted in each answer
    #[argh(option)]
    length: u64,
    /// streams with small answers; without, one large answer
    #[argh(option)]
    streams: Option<usize>,
    /// each small answer over a stream of its own, which is opened and closed for it
    #[argh(switch)]
    fresh: bool,
    /// milliseconds before counting begins
    #[argh(option, default = "0")]
    warm: u64,
    /// milliseconds of counting
    #[argh(option, default = "0")]
    run: u64,
}

pub(crate) fn run(options: Options) -> Result<()> {
    super::runtime()?.block_on(ask(options))
}

async fn ask(options: Options) -> Result<()> {
    let (peer, control) = host::connect(options.transport, options.addr.clone()).await?;
    let measured = match options.streams {
        Some(streams) => serde_json::to_string(&small(&options, peer, control, streams).await?)?,
        None => serde_json::to_string(&large(&options, peer, control).await?)?,
    };
    println!("{measured}");
    Ok(())
}

async fn small(
    options: &Options,
    peer: PeerId,
    mut control: libp2p_stream::Control,
    streams: usize,
) -> Result<Rate> {
    if options.fresh {
        let window = Window::new(options.warm, options.run);
        let length = options.length;
        let task = |control| tokio::spawn(afresh(control, peer, length, window));
        let tasks = (0..streams).map(|_| task(control.clone())).collect();
        return sum(options, tasks).await;
    }
    let mut opened = Vec::new();
    for _ in 0..streams {
        opened.push(open(&mut control, peer).await?);
    }
    let window = Window::new(options.warm, options.run);
    let length = options.length;
    let tasks = opened
        .into_iter()
        .map(|stream| tokio::spawn(again(stream, length, window)))
        .collect();
    sum(options, tasks).await
}

/// How long each counted answer took, and how many answers there were.
type Took = Result<(Vec<Duration>, u64)>;

async fn sum(options: &Options, tasks: Vec<tokio::task::JoinHandle<Took>>) -> Result<Rate> {
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
        .context("the host stopped answering")?
}

/// A stream for each answer. One that the other side resets, because it came before the one before it was accepted, is no
/// answer.
async fn afresh(
    mut control: libp2p_stream::Control,
    peer: PeerId,
    length: u64,
    window: Window,
) -> Took {
    let mut answer = vec![0; usize::try_from(length)?];
    let (mut took, mut answers) = (Vec::new(), 0);
    loop {
        let asked = Instant::now();
        if asked >= window.until {
            return Ok((took, answers));
        }
        let exchange = async {
            let mut stream = control.open_stream(peer, PROTOCOL).await?;
            ask_for(&mut stream, length).await?;
            stream.read_exact(&mut answer).await?;
            anyhow::Ok(stream.close().await?)
        };
        if exchange.await.is_err() {
            continue;
        }
        answers += 1;
        let now = Instant::now();
        if asked >= window.from && now <= window.until {
            took.push(now - asked);
        }
    }
}

async fn again(mut stream: Stream, length: u64, window: Window) -> Took {
    let request = host::put_together(REQUEST, length);
    let mut answer = vec![0; usize::try_from(length)?];
    let (mut took, mut answers) = (Vec::new(), 0);
    loop {
        let asked = Instant::now();
        if asked >= window.until {
            stream.close().await?;
            return Ok((took, answers));
        }
        stream.write_all(&request).await?;
        stream.flush().await?;
        stream.read_exact(&mut answer).await?;
        answers += 1;
        let now = Instant::now();
        if asked >= window.from && now <= window.until {
            took.push(now - asked);
        }
    }
}

async fn large(
    options: &Options,
    peer: PeerId,
    mut control: libp2p_stream::Control,
) -> Result<Bulk> {
    let mut stream = open(&mut control, peer).await?;
    let mut buffer = vec![0; BUFFER];
    let asked = Instant::now();
    ask_for(&mut stream, options.length).await?;
    let (mut left, mut first) = (options.length, None);
    while left > 0 {
        let read = stream.read(&mut buffer).await?;
        if read == 0 {
            bail!("the answer broke off, {left} bytes before its end");
        }
        first.get_or_insert_with(Instant::now);
        left = left
            .checked_sub(read as u64)
            .context("more bytes than wanted")?;
    }
    let last = Instant::now();
    stream.close().await?;
    Ok(Bulk::of(options.length, asked, first.unwrap_or(last), last))
}

/// Opens a stream and uses it once. `libp2p-stream` resets a stream that arrives before the last one was accepted, so
/// the next one is opened only when this one has answered.
async fn open(control: &mut libp2p_stream::Control, peer: PeerId) -> Result<Stream> {
    let mut stream = control.open_stream(peer, PROTOCOL).await?;
    ask_for(&mut stream, 1).await?;
    stream.read_exact(&mut [0]).await?;
    Ok(stream)
}

async fn ask_for(stream: &mut Stream, length: u64) -> Result<()> {
    stream
        .write_all(&host::put_together(REQUEST, length))
        .await?;
    Ok(stream.flush().await?)
}
