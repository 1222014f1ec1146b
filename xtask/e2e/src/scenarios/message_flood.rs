//! A peer that sends as much as it can: others are served meanwhile, and nothing grows.

use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::json;

use super::messages::{Attacker, raw, send};
use crate::lab::Lab;
use crate::peer::Peer;

const SOON: Duration = Duration::from_secs(15);
/// Seconds the flood lasts.
const FLOOD: u64 = 6;
/// Bytes the flooded peer may grow by: what is being read, what pages may still want, and what was kept to know messages
/// again are far below it.
const GROWTH: u64 = 96 * 1024 * 1024;

/// Sends so many messages, one after the other, and gives the median of how long each took.
fn median(from: &Peer, to: &str, count: usize) -> Result<Duration> {
    let mut took = Vec::new();
    for n in 0..count {
        let before = Instant::now();
        let (status, said) = send(from, to, "x:quiet", &json!(n))?;
        ensure!(
            status == 200,
            "message {n} was not delivered: {status} {said}"
        );
        took.push(before.elapsed());
    }
    took.sort();
    Ok(took[took.len() / 2])
}

/// Resident bytes of a process.
fn resident(process: u32) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{process}/status"))?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    let number = line.and_then(|line| line.split_whitespace().nth(1));
    let kib: u64 = number.context("no size")?.parse()?;
    Ok(kib * 1024)
}

pub(super) fn flood(lab: &Lab) -> Result<()> {
    let mut bob = Peer::new(lab, &lab.host(1)?, "Bob")?;
    let mut ada = Peer::new(lab, &lab.host(2)?, "Ada")?;
    bob.start()?;
    ada.start()?;
    let (ada_id, bob_id) = (ada.id()?, bob.id()?);
    ada.wait_here(&bob_id, SOON)?;
    bob.wait_here(&ada_id, SOON)?;
    let mut mallory = Attacker::start(lab, &lab.host(3)?, &bob)?;
    let here = mallory.id.clone();
    bob.wait_here(&here, SOON * 2)?;

    let process = bob.process()?;
    let calm = median(&ada, &bob_id, 30)?;
    let before = resident(process)?;
    mallory.flood(FLOOD)?;
    let until = Instant::now() + Duration::from_secs(FLOOD);
    let mut beside = Vec::new();
    while Instant::now() < until {
        beside.push(median(&ada, &bob_id, 5)?);
    }
    beside.sort();
    let (taken, refused) = mallory.flooded()?;
    let grown = resident(process)?.saturating_sub(before);
    eprintln!(
        "a message took {calm:?} before and {:?} beside a flood of {} messages a second, {refused} of {} not acknowledged; {} KiB more",
        beside[beside.len() / 2],
        (taken + refused) / FLOOD,
        taken + refused,
        grown / 1024
    );
    ensure!(taken > 1_000, "a flood of {taken} messages is none");
    ensure!(grown < GROWTH, "it grew by {grown} bytes");
    ensure!(
        mallory.say(&[raw("after-the-flood", "x:calm", &json!(1))])? == [true],
        "who was loud is shut out"
    );
    ensure!(bob.process()? == process, "it does not serve on");
    Ok(())
}
