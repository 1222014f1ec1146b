#![doc = include_str!("../README.md")]

use std::path::Path;
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tappers::Interface;
use tappers::tokio::AsyncTap;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep_until};

/// What a line does to each frame, in each direction.
#[derive(Debug, Clone, Copy)]
pub struct Quality {
    /// How long a frame is on its way.
    pub delay: Duration,
    /// How many of a thousand frames are lost.
    pub loss: u16,
    /// Makes the same ones be lost again.
    pub seed: u64,
}

/// Frames on their way in one direction; more are lost, as on a real line (netem's limit, too).
const ON_THE_WAY: usize = 1_000;

/// The longest frame: an Ethernet header and the usual 1,500 bytes.
const FRAME: usize = 1_514;

/// A line that works until it is dropped.
#[derive(Debug)]
pub struct Line {
    end: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Line {
    /// Makes two devices of these names in the network namespace of the caller, joined by a line.
    ///
    /// # Errors
    /// There is no `/dev/net/tun`, the names are taken, or the caller may not make devices.
    pub fn new(names: [&str; 2], quality: Quality) -> Result<Self> {
        ensure!(
            Path::new("/dev/net/tun").exists(),
            "a slow line needs /dev/net/tun: modprobe tun"
        );
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let taps = {
            let _inside = runtime.enter();
            names
                .map(|name| {
                    let name = Interface::new(name)?;
                    AsyncTap::new_named(name)
                })
                .into_iter()
                .collect::<std::io::Result<Vec<_>>>()
                .context("the two ends of a slow line")?
        };
        let (end, ended) = oneshot::channel();
        let thread = std::thread::spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    () = carry(&taps[0], &taps[1], quality, 0) => {}
                    () = carry(&taps[1], &taps[0], quality, 1) => {}
                    _ = ended => {}
                }
            });
        });
        Ok(Self {
            end: Some(end),
            thread: Some(thread),
        })
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        drop(self.end.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Carries frames from one device to the other.
async fn carry(from: &AsyncTap, to: &AsyncTap, quality: Quality, direction: u64) {
    let mut random = StdRng::seed_from_u64(quality.seed.wrapping_mul(2).wrapping_add(direction));
    let (enter, mut leave) = mpsc::channel::<(Instant, Vec<u8>)>(ON_THE_WAY);
    let into = async {
        let mut frame = [0; FRAME];
        loop {
            // A device that is down waits; one that is gone ends the line.
            let Ok(length) = from.recv(&mut frame).await else {
                return;
            };
            if random.random_range(0..1_000) >= quality.loss {
                let due = Instant::now() + quality.delay;
                let _ = enter.try_send((due, frame[..length].to_vec()));
            }
        }
    };
    let out = async {
        while let Some((due, frame)) = leave.recv().await {
            sleep_until(due).await;
            let _ = to.send(&frame).await;
        }
    };
    tokio::select! {
        () = into => {}
        () = out => {}
    }
}
