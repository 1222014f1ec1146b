//! The ring behind the Logs page: the newest lines, with level and area as fields, and whoever follows them.

use std::collections::VecDeque;
use std::fmt::{self, Write as _};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use serde::Serialize;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio::sync::watch;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

/// Lines that are kept (viewer-api.md 14).
pub const CAPACITY: usize = 800;
/// Longest line in bytes; the rest is cut.
const MAX_LINE: usize = 4_096;

/// One line. `ts` and `msg` are the Go program's form; the others are ours.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct LogLine {
    /// RFC 3339, UTC.
    pub ts: String,
    /// The text with its fields.
    pub msg: String,
    /// `error`, `warn`, `info`, `debug` or `trace`.
    pub level: &'static str,
    /// Which part of the program.
    pub area: String,
}

/// The ring. Cheap to clone.
#[derive(Debug, Clone)]
pub struct LogRing {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    /// Tells one process's numbers from another's.
    epoch: String,
    /// The number of the next line, and the newest lines.
    lines: Mutex<(u64, VecDeque<LogLine>)>,
    newest: watch::Sender<u64>,
}

impl Default for LogRing {
    fn default() -> Self {
        let lines = Mutex::new((0, VecDeque::new()));
        Self {
            inner: Arc::new(Inner {
                epoch: format!("{:08x}", rand::random::<u32>()),
                lines,
                newest: watch::channel(0).0,
            }),
        }
    }
}

impl LogRing {
    /// Adds a line. Line breaks and other control characters become spaces, so that a line stays one.
    pub fn push(&self, level: Level, area: &str, text: &str) {
        let mut msg: String = text
            .trim()
            .chars()
            .map(|c| if c.is_control() { ' ' } else { c })
            .collect();
        if msg.is_empty() {
            return;
        }
        if msg.len() > MAX_LINE {
            let end = (0..=MAX_LINE)
                .rev()
                .find(|at| msg.is_char_boundary(*at))
                .unwrap_or(0);
            msg.truncate(end);
        }
        let line = LogLine {
            ts: rfc3339(SystemTime::now()),
            msg,
            level: name_of(level),
            area: area.to_owned(),
        };
        let number = {
            let mut lines = self
                .inner
                .lines
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            if lines.1.len() >= CAPACITY {
                lines.1.pop_front();
            }
            lines.1.push_back(line);
            lines.0 += 1;
            lines.0
        };
        self.inner.newest.send_replace(number);
    }

    /// All kept lines, oldest first.
    #[must_use]
    pub fn lines(&self) -> Vec<LogLine> {
        self.inner
            .lines
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .1
            .iter()
            .cloned()
            .collect()
    }

    /// Follows the lines from now on.
    #[must_use]
    pub fn follow(&self) -> Follower {
        let next = self
            .inner
            .lines
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .0;
        self.follow_from(next)
    }

    /// Follows the lines after the one with the id `last_seen`; all kept ones where there is none, or none of ours.
    #[must_use]
    pub fn follow_after(&self, last_seen: Option<&str>) -> Follower {
        let newest = *self.inner.newest.borrow();
        let seen = last_seen
            .and_then(|id| {
                id.strip_prefix(&self.inner.epoch)?
                    .strip_prefix('-')?
                    .parse()
                    .ok()
            })
            .filter(|seen: &u64| *seen < newest);
        self.follow_from(seen.map_or(0, |seen| seen + 1))
    }

    fn follow_from(&self, next: u64) -> Follower {
        Follower {
            ring: self.clone(),
            next,
            newest: self.inner.newest.subscribe(),
        }
    }

    /// The id of a line on the stream.
    #[must_use]
    pub fn id_of(&self, number: u64) -> String {
        format!("{}-{number}", self.inner.epoch)
    }
}

/// Follows the ring. Who is slower than the ring is long misses lines, never memory.
#[derive(Debug)]
pub struct Follower {
    ring: LogRing,
    next: u64,
    newest: watch::Receiver<u64>,
}

impl Follower {
    /// The lines since the last call with their numbers; waits for at least one.
    pub async fn next(&mut self) -> Vec<(u64, LogLine)> {
        loop {
            {
                let lines = self
                    .ring
                    .inner
                    .lines
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner);
                let new = usize::try_from(lines.0 - self.next)
                    .unwrap_or(usize::MAX)
                    .min(lines.1.len());
                self.next = lines.0;
                if new > 0 {
                    let first = lines.0 - new as u64;
                    let new = lines.1.iter().skip(lines.1.len() - new).cloned();
                    return (first..).zip(new).collect();
                }
            }
            if self.newest.changed().await.is_err() {
                return std::future::pending().await;
            }
        }
    }
}

/// The `tracing` layer that fills the ring.
#[derive(Debug, Clone)]
pub struct RingLayer(pub LogRing);

impl<S: Subscriber> Layer<S> for RingLayer {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut text = Text::default();
        event.record(&mut text);
        let area = event
            .metadata()
            .target()
            .split("::")
            .next()
            .unwrap_or_default();
        let area = area.strip_prefix("goop_").unwrap_or(area);
        self.0.push(
            *event.metadata().level(),
            area,
            &format!("{}{}", text.message, text.fields),
        );
    }
}

#[derive(Default)]
struct Text {
    message: String,
    fields: String,
}

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        // Writing to a String cannot fail.
        let _ = match field.name() {
            "message" => write!(self.message, "{value:?}"),
            name => write!(self.fields, " {name}={value:?}"),
        };
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        let _ = match field.name() {
            "message" => write!(self.message, "{value}"),
            name => write!(self.fields, " {name}={value}"),
        };
    }
}

fn name_of(level: Level) -> &'static str {
    match level {
        Level::ERROR => "error",
        Level::WARN => "warn",
        Level::INFO => "info",
        Level::DEBUG => "debug",
        Level::TRACE => "trace",
    }
}

/// A time as RFC 3339 in UTC with its fraction.
#[must_use]
pub fn rfc3339(at: SystemTime) -> String {
    OffsetDateTime::from(at)
        .format(&Rfc3339)
        .unwrap_or_default()
}
