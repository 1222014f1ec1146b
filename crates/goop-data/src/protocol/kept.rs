//! `/goop/data/2.0.0`, both ends: the same requests and answers, one after the other on a stream that stays open. Ours only
//! (`docs/protocols/data.md`); the connection is sealed already, so the lines are not.

use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::io;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use goop_identity::PeerId;
use goop_identity::seal::{Keyring, NoKeys};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::{Instant, timeout};

use super::{
    ANSWER_DEADLINE, CallError, MAX_ANSWER, MAX_REQUEST, PROTOCOL, REQUEST_DEADLINE, Response,
    ServeError, answer, ask, read_answer, read_request,
};
use crate::DataError;
use crate::answer::Whole;
use crate::caller::{Caller, Data};
use crate::request::{Op, Request};

/// The protocol id.
pub const KEPT: &str = "/goop/data/2.0.0";
/// How long a stream may stay open without a request.
pub const KEEP_ALIVE: Duration = Duration::from_secs(60);
/// A visitor gives an idle stream up before its host does.
const IDLE: Duration = Duration::from_secs(KEEP_ALIVE.as_secs() / 2);
/// Idle streams that are kept for one peer.
const OF_ONE: usize = 4;
/// Idle streams that are kept together.
const OF_ALL: usize = 64;
/// How long a kept stream may take to answer before the question goes over a new one: longer than a host looks for a
/// visitor, and short for a connection whose other end has moved away without a word.
const PATIENCE: Duration = Duration::from_secs(6);
/// Bytes taken from a stream at once.
const STEP: usize = 16 * 1024;

/// Answers the requests of a peer until it ends the stream or is silent for [`KEEP_ALIVE`]. `email` says which address it
/// announces.
///
/// # Errors
/// See [`ServeError`]. What is wrong with a request is an answer; one that is too long is the last that is answered.
pub async fn serve_kept<S>(
    peer: PeerId,
    email: impl Fn() -> String,
    stream: &mut S,
    data: &Data,
) -> Result<(), ServeError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut lines = Lines::default();
    loop {
        let begun = timeout(KEEP_ALIVE, lines.begin(stream)).await;
        if !matches!(begun, Ok(Ok(true))) {
            return begun.unwrap_or(Ok(false)).map(drop).map_err(Into::into);
        }
        let line = timeout(REQUEST_DEADLINE, lines.next(stream, MAX_REQUEST))
            .await
            .map_err(|_| ServeError::NoRequest)??;
        let Some(line) = line else {
            let error = DataError::BadRequest("the request is too long".to_owned());
            return said(stream, &Response::failed(&error).line()).await;
        };
        let plain = match read_request(&peer, &line, &NoKeys) {
            Ok(request) => {
                let caller = Caller::visitor(peer.to_string(), email());
                answer(data, &caller, &request).await
            }
            Err(error) => Response::failed(&error).line(),
        };
        said(stream, &plain).await?;
    }
}

async fn said<S: AsyncWrite + Unpin>(stream: &mut S, line: &[u8]) -> Result<(), ServeError> {
    let written = async {
        stream.write_all(line).await?;
        stream.write_all(b"\n").await?;
        stream.flush().await
    };
    timeout(ANSWER_DEADLINE, written)
        .await
        .map_err(|_| ServeError::Stalled)??;
    Ok(())
}

/// Asks peers, over streams that are kept and used again where the peer is of our kind.
pub struct Visits<S> {
    idle: Mutex<HashMap<PeerId, Vec<Idle<S>>>>,
}

struct Idle<S> {
    stream: S,
    lines: Lines,
    since: Instant,
}

impl<S> Default for Visits<S> {
    fn default() -> Self {
        Self {
            idle: Mutex::default(),
        }
    }
}

impl<S> fmt::Debug for Visits<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Visits").finish_non_exhaustive()
    }
}

impl<S> Visits<S>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    /// Asks a peer. `kept` says that it speaks [`KEPT`]. What changes something goes over a stream of its own: when that
    /// fails, nothing is asked twice.
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn ask<F, Opening>(
        &self,
        peer: PeerId,
        open: F,
        kept: bool,
        request: &Request,
        keys: &impl Keyring,
    ) -> Result<Whole, CallError>
    where
        F: Fn(&'static str) -> Opening,
        Opening: Future<Output = io::Result<S>>,
    {
        if !kept || !Op::of(&request.op).is_some_and(Op::only_reads) {
            return ask(peer, || open(PROTOCOL), request, keys).await;
        }
        if let Some(idle) = self.take(&peer) {
            match self.over(peer, idle, request, PATIENCE).await {
                // The host gave it up, or is gone, or elsewhere; a new stream tells.
                Err(CallError::Io(_) | CallError::TimedOut) => {}
                done => return done,
            }
        }
        let fresh = Idle {
            stream: open(KEPT).await?,
            lines: Lines::default(),
            since: Instant::now(),
        };
        self.over(peer, fresh, request, ANSWER_DEADLINE).await
    }

    async fn over(
        &self,
        peer: PeerId,
        mut idle: Idle<S>,
        request: &Request,
        within: Duration,
    ) -> Result<Whole, CallError> {
        let mut line = request.to_json();
        line.push(b'\n');
        let stream = &mut idle.stream;
        let exchange = async {
            stream.write_all(&line).await?;
            stream.flush().await?;
            idle.lines.next(stream, MAX_ANSWER).await
        };
        let line = timeout(within, exchange)
            .await
            .map_err(|_| CallError::TimedOut)??;
        let line = line.ok_or(CallError::BadAnswer("it is too long"))?;
        let said = read_answer(&peer, &line, &NoKeys);
        if matches!(
            said,
            Ok(_) | Err(CallError::Refused(_) | CallError::NotOffered(_))
        ) {
            self.keep(peer, idle);
        }
        said
    }

    fn take(&self, peer: &PeerId) -> Option<Idle<S>> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let streams = idle.get_mut(peer)?;
        let taken = streams.pop();
        if streams.is_empty() {
            idle.remove(peer);
        }
        taken.filter(|taken| taken.since.elapsed() < IDLE)
    }

    fn keep(&self, peer: PeerId, mut stream: Idle<S>) {
        // What was said before it was asked for answers nothing.
        if !stream.lines.came.is_empty() {
            return;
        }
        stream.since = Instant::now();
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.retain(|_, streams| {
            streams.retain(|kept| kept.since.elapsed() < IDLE);
            !streams.is_empty()
        });
        if idle.values().map(Vec::len).sum::<usize>() < OF_ALL {
            let streams = idle.entry(peer).or_default();
            if streams.len() < OF_ONE {
                streams.push(stream);
            }
        }
    }
}

/// Lines of a stream, with what came beyond the last one.
#[derive(Default)]
struct Lines {
    came: Vec<u8>,
}

impl Lines {
    /// Waits for the first byte of a line; `false` at the end of the stream.
    async fn begin<S: AsyncRead + Unpin>(&mut self, stream: &mut S) -> io::Result<bool> {
        Ok(!self.came.is_empty() || self.more(stream).await? > 0)
    }

    /// The next line without its end; `None` where it is longer than `max`.
    async fn next<S: AsyncRead + Unpin>(
        &mut self,
        stream: &mut S,
        max: usize,
    ) -> io::Result<Option<Vec<u8>>> {
        let mut looked = 0;
        loop {
            if let Some(at) = self.came[looked..].iter().position(|byte| *byte == b'\n') {
                let rest = self.came.split_off(looked + at + 1);
                let mut line = std::mem::replace(&mut self.came, rest);
                line.pop();
                return Ok(Some(line).filter(|line| line.len() <= max));
            }
            looked = self.came.len();
            if looked > max {
                return Ok(None);
            }
            if self.more(stream).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }

    async fn more<S: AsyncRead + Unpin>(&mut self, stream: &mut S) -> io::Result<usize> {
        self.came.reserve(STEP);
        let mut part = stream.take(STEP as u64);
        part.read_buf(&mut self.came).await
    }
}
