//! A peer that keeps to no rules: it says whatever bytes a scenario wants over streams of `/goop/mq/1.0.0`, and writes down
//! what it hears.
//!
//! Orders come one a line on standard input, each a list of texts to send, one stream each; each is answered with a line,
//! a list of what came back (`null` where the stream ended without a word). An order `{"flood": seconds}` sends short messages
//! as fast as they leave, and is answered with how many were acknowledged and how many were not.

use std::io::BufRead;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use goop_identity::{Keypair, PeerId};
use goop_net::{
    Caller, Discovery, Listen, Net, NetConfig, RouteLimits, Router, Stream, StreamProtocol,
};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::time::{Instant, sleep, timeout};

const PROTOCOL: &str = "/goop/mq/1.0.0";
/// How long an answer is waited for; an honest one comes at once.
const ANSWER: Duration = Duration::from_secs(5);
/// How long the other peer is looked for.
const MEET: Duration = Duration::from_secs(20);
/// Streams that a flood keeps busy.
const FLOOD: usize = 1_500;
/// The longest line that is read.
const LINE: u64 = 16 * 1024 * 1024;

pub(crate) fn run(script: Option<&Path>) -> Result<()> {
    let script: Value = serde_json::from_slice(&std::fs::read(script.context("a script")?)?)?;
    let text = |name: &str| script[name].as_str().context("a text").map(str::to_owned);
    let (peer, heard): (PeerId, PathBuf) = (text("peer")?.parse()?, text("heard")?.into());
    // One thread waits for orders, the others serve.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let config = NetConfig {
            listen: Listen::Lan { port: 0 },
            discovery: Discovery::Mdns { tag: text("tag")? },
            topic: text("topic")?,
            ..NetConfig::new(Keypair::generate_ed25519())
        };
        let net = Net::start(config, router(heard)).await?;
        net.go_online();
        let deadline = Instant::now() + MEET;
        while !net.is_present(&peer) && Instant::now() < deadline {
            sleep(Duration::from_millis(50)).await;
        }
        println!("{}", net.local_peer_id());
        for line in std::io::stdin().lock().lines() {
            let line = line?;
            if let Some(seconds) = serde_json::from_str::<Value>(&line)?["flood"].as_u64() {
                let until = Instant::now() + Duration::from_secs(seconds);
                println!("{}", flood(&net, peer, until).await);
                continue;
            }
            let order: Vec<String> = serde_json::from_str(&line)?;
            let mut answers = Vec::new();
            for said in order {
                answers.push(say(&net, peer, &said).await);
            }
            println!("{}", serde_json::to_string(&answers)?);
        }
        Ok(())
    })
}

/// Says something on a stream of its own, and gives the line that came back.
async fn say(net: &Net, peer: PeerId, said: &str) -> Option<String> {
    let protocols = [StreamProtocol::new(PROTOCOL)];
    let (_, mut stream) = net.open(peer, &protocols).await.ok()?;
    let exchange = async {
        stream.write_all(said.as_bytes()).await.ok()?;
        stream.flush().await.ok()?;
        let mut line = String::new();
        let mut answer = BufReader::new((&mut stream).take(LINE));
        answer.read_line(&mut line).await.ok()?;
        (!line.is_empty()).then_some(line)
    };
    timeout(ANSWER, exchange).await.ok()?
}

/// Keeps as many streams busy as it gets, and waits for nobody.
async fn flood(net: &Net, peer: PeerId, until: Instant) -> Value {
    let number = Arc::new(AtomicU64::new(0));
    let mut senders = tokio::task::JoinSet::new();
    for _ in 0..FLOOD {
        let (net, number) = (net.clone(), number.clone());
        senders.spawn(async move {
            let (mut taken, mut refused) = (0_u64, 0_u64);
            while Instant::now() < until {
                let n = number.fetch_add(1, Ordering::Relaxed);
                let said = format!(
                    "{{\"type\":\"msg\",\"id\":\"flood-{n}\",\"seq\":{n},\"topic\":\"x:flood\",\"payload\":{n}}}\n"
                );
                let answer = timeout(until - Instant::now() + ANSWER, say(&net, peer, &said)).await;
                match answer {
                    Ok(Some(_)) => taken += 1,
                    _ => refused += 1,
                }
            }
            (taken, refused)
        });
    }
    let all = senders.join_all().await;
    let (taken, refused) = all
        .into_iter()
        .fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
    serde_json::json!({ "taken": taken, "refused": refused })
}

/// Acknowledges what comes and appends it to a file.
fn router(heard: PathBuf) -> Router {
    let heard = Arc::new(heard);
    Router::new().route(
        StreamProtocol::new(PROTOCOL),
        RouteLimits::default(),
        move |_: Caller, mut stream: Stream| {
            let heard = heard.clone();
            async move {
                let mut line = String::new();
                let mut said = BufReader::new((&mut stream).take(LINE));
                if said.read_line(&mut line).await.is_err() {
                    return;
                }
                let Ok(message) = serde_json::from_str::<Value>(&line) else {
                    return;
                };
                let ack = format!(
                    "{{\"type\":\"ack\",\"id\":{},\"seq\":{}}}\n",
                    message["id"], message["seq"]
                );
                let file = std::fs::OpenOptions::new()
                    .create(true)
                    .append(true)
                    .open(&*heard);
                let written =
                    file.and_then(|mut file| std::io::Write::write_all(&mut file, line.as_bytes()));
                if written.is_ok() {
                    // Who went away does not wait for it.
                    let _ = stream.write_all(ack.as_bytes()).await;
                }
            }
        },
    )
}
