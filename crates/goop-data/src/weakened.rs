//! Guards that can be taken away, so that a test can show that the corpus of attacks would notice (`tests/weakened.rs`).
//! Only with the feature `weakened`, which no program has and which does not build without debug assertions.

use std::sync::atomic::{AtomicU8, Ordering};

#[cfg(not(debug_assertions))]
compile_error!("the feature `weakened` is for one test, and never for a program");

/// A guard that is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Weakness {
    /// Nobody asks [`crate::access::decide`]: everybody may everything.
    Decision = 1,
    /// Where only own rows are within reach, all are.
    Owners = 2,
    /// Texts go into statements as they came.
    Texts = 4,
    /// SQLite's authorizer lets everything through that reads.
    Authorizer = 8,
    /// Visitors may name the columns that are ours.
    Columns = 16,
}

static NOW: AtomicU8 = AtomicU8::new(0);

/// Makes this process weak in these ways, and in no others.
pub fn be(weak: &[Weakness]) {
    let bits = weak.iter().fold(0, |bits, one| bits | *one as u8);
    NOW.store(bits, Ordering::SeqCst);
}

pub(crate) fn is(weakness: Weakness) -> bool {
    NOW.load(Ordering::SeqCst) & weakness as u8 != 0
}
