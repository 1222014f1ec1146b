//! A peer that sends short messages as fast as they leave, each over a stream of its own, and waits for nobody; or one that
//! asks a bare host in the same way, which costs the machine as much.

use std::time::{Duration, Instant};

use anyhow::Result;
use argh::FromArgs;
use futures::{AsyncReadExt, AsyncWriteExt};
use libp2p::{Multiaddr, PeerId, StreamProtocol};
use serde::{Deserialize, Serialize};

use crate::floor::host::{self, PROTOCOL, Transport};

/// The command.
pub(crate) const COMMAND: &str = "load-flood";
/// Said once the other side is connected and the flood begins.
pub(crate) const BEGUN: &str = "begun";
/// The protocol of messages (mq.md 1).
const MESSAGES: StreamProtocol = StreamProtocol::new("/goop/mq/1.0.0");
/// Streams that are kept busy; more than any host takes at once.
const STREAMS: usize = 1_000;
/// How long the last answers are waited for.
const LAST: Duration = Duration::from_secs(1);
/// Bytes that a bare host is asked for, as many as an acknowledgement has.
const ANSWER: u64 = 80;
/// Bytes by which a request of a bare host is longer than its head: together as many as a message has.
const REQUEST: u32 = 72;

/// Flood a host.
#[derive(Debug, FromArgs)]
pub(crate) struct Options {
    /// whom, with the peer id
    #[argh(option)]
    addr: Multiaddr,
    /// it is a bare host
    #[argh(switch)]
    bare: bool,
    /// milliseconds
    #[argh(option)]
    run: u64,
}

/// What became of it.
#[derive(Debug, Default, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Flood {
    /// Messages that were answered.
    pub(crate) taken: u64,
    /// Those whose stream ended without an answer.
    pub(crate) refused: u64,
}

pub(crate) fn run(options: Options) -> Result<()> {
    crate::floor::runtime()?.block_on(flood(options))
}

async fn flood(options: Options) -> Result<()> {
    let (peer, control) = host::connect(Transport::All, options.addr).await?;
    println!("{BEGUN}");
    let until = Instant::now() + Duration::from_millis(options.run);
    let tasks = (0..STREAMS).map(|task| {
        let (control, bare) = (control.clone(), options.bare);
        tokio::spawn(one_stream(control, peer, bare, task, until))
    });
    let tasks: Vec<_> = tasks.collect();
    let mut all = Flood::default();
    for task in tasks {
        let one = task.await?;
        all.taken += one.taken;
        all.refused += one.refused;
    }
    println!("{}", serde_json::to_string(&all)?);
    Ok(())
}

/// One message after the other, until then.
async fn one_stream(
    mut control: libp2p_stream::Control,
    peer: PeerId,
    bare: bool,
    task: usize,
    until: Instant,
) -> Flood {
    let mut flood = Flood::default();
    let mut number = 0_u64;
    while Instant::now() < until {
        number += 1;
        let (protocol, said) = match bare {
            true => (PROTOCOL, host::put_together(REQUEST, ANSWER)),
            false => (MESSAGES, message(task, number)),
        };
        let exchange = async {
            let mut stream = control.open_stream(peer, protocol).await?;
            stream.write_all(&said).await?;
            stream.flush().await?;
            stream.read_exact(&mut [0]).await?;
            anyhow::Ok(stream.close().await?)
        };
        let left = until.saturating_duration_since(Instant::now()) + LAST;
        match tokio::time::timeout(left, exchange).await {
            Ok(Ok(())) => flood.taken += 1,
            _ => flood.refused += 1,
        }
    }
    flood
}

fn message(task: usize, number: u64) -> Vec<u8> {
    format!(
        "{{\"type\":\"msg\",\"id\":\"flood-{task}-{number}\",\"seq\":{number},\"topic\":\"x:flood-{task}\",\"payload\":{number}}}\n"
    )
    .into_bytes()
}

#[cfg(test)]
mod tests {
    use super::message;

    #[test]
    fn a_message_is_a_line_of_json() {
        let line = message(3, 7);
        let said: serde_json::Value = serde_json::from_slice(&line).unwrap_or_default();
        assert_eq!(said["id"], "flood-3-7");
        assert_eq!(line.last(), Some(&b'\n'));
    }
}
