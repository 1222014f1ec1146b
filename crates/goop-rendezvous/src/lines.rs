//! The lines the admin pages show: the newest five hundred, as `[HH:MM:SS] text`.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use time::OffsetDateTime;
use time::macros::format_description;

/// Lines that are kept (rendezvous.md 3, `/logs.json`).
pub const CAPACITY: usize = 500;
/// Longest line in bytes; the rest is cut. Names of peers have 4 KiB, and nobody needs all of one here.
const MAX_LINE: usize = 512;
/// They also go to the log under this name, for the Logs page of the viewer. There is one for each change of each peer, so
/// what is shown at a terminal leaves them out.
pub const LOG: &str = "goop_rendezvous::lines";

/// Bytes of `[HH:MM:SS] `, which the log says by itself.
const CLOCK: usize = 11;

/// A ring of lines. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Lines {
    lines: Arc<Mutex<VecDeque<String>>>,
}

impl Lines {
    /// Adds a line. Control characters become spaces, so that a line stays one.
    pub fn push(&self, text: &str) {
        let mut line = format!("[{}] ", clock());
        for c in text.chars() {
            if line.len() + c.len_utf8() > MAX_LINE {
                break;
            }
            line.push(if c.is_control() { ' ' } else { c });
        }
        tracing::info!(target: LOG, "{}", line.get(CLOCK..).unwrap_or_default());
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        if lines.len() >= CAPACITY {
            lines.pop_front();
        }
        lines.push_back(line);
    }

    /// All of them, oldest first.
    #[must_use]
    pub fn all(&self) -> Vec<String> {
        let lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        lines.iter().cloned().collect()
    }
}

/// The time of day, local where the system says what that is.
fn clock() -> String {
    let now = OffsetDateTime::now_local().unwrap_or_else(|_| OffsetDateTime::now_utc());
    now.format(format_description!("[hour]:[minute]:[second]"))
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_lines_stay_and_each_is_one() {
        let lines = Lines::default();
        for n in 0..CAPACITY + 3 {
            lines.push(&format!("{n}\n{}", "é".repeat(MAX_LINE)));
        }
        let all = lines.all();
        assert_eq!(all.len(), CAPACITY);
        assert!(
            all.iter()
                .all(|line| line.len() <= MAX_LINE && !line.contains('\n'))
        );
        assert!(all.first().is_some_and(|line| line.contains("] 3 é")));
    }
}
