//! A token bucket as a value: so many things at once, then one every so often.

use std::time::{Duration, Instant};

/// How often something may happen.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bucket {
    burst: u32,
    every: Duration,
    /// The bucket was full at this time or will be; each token taken moves it forward.
    full_at: Instant,
}

impl Bucket {
    /// A full bucket of `burst` tokens that gets one back `every` so often.
    pub(crate) fn new(burst: u32, every: Duration, now: Instant) -> Self {
        Self {
            burst,
            every,
            full_at: now,
        }
    }

    /// Takes a token if there is one.
    pub(crate) fn take(&mut self, now: Instant) -> bool {
        if self.next(now) > now {
            return false;
        }
        self.full_at = self.full_at.max(now) + self.every;
        true
    }

    /// Whether all tokens are there.
    pub(crate) fn is_full(&self, now: Instant) -> bool {
        self.full_at <= now
    }

    /// When there is a token; `now` if there is one already.
    pub(crate) fn next(&self, now: Instant) -> Instant {
        let missing = self.full_at.saturating_duration_since(now) + self.every;
        let allowed = self.every * self.burst;
        now + missing.saturating_sub(allowed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_then_one_at_a_time() {
        let start = Instant::now();
        let mut bucket = Bucket::new(3, Duration::from_secs(1), start);
        let taken = |bucket: &mut Bucket, now| (0..9).filter(|_| bucket.take(now)).count();
        assert_eq!(taken(&mut bucket, start), 3);
        assert_eq!(bucket.next(start), start + Duration::from_secs(1));
        assert_eq!(taken(&mut bucket, start + Duration::from_millis(999)), 0);
        assert_eq!(taken(&mut bucket, start + Duration::from_secs(1)), 1);
        assert_eq!(taken(&mut bucket, start + Duration::from_secs(60)), 3);
    }
}
