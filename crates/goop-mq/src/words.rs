//! What two people compare to be sure of each other's keys: words on both screens, or a QR code that one scans.
//!
//! Each side's peer id and key make six words of the BIP-39 list. Each half is hashed many times, so that finding another
//! key with the same words costs about 2^80 hashes; halves are separate, so that an attacker between the two cannot look
//! for two keys that fit each other.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use goop_identity::PeerId;
use sha2::{Digest, Sha256};

/// Words of each side, 11 bits each.
pub const WORDS: usize = 6;
/// How often each half is hashed, 2^14.
const ROUNDS: u32 = 1 << 14;
/// What the text of a QR code begins with.
const SCHEME: &str = "goop-verify:1:";

/// The words of two people. They are the same whoever asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Words {
    halves: [[u8; 32]; 2],
}

impl Words {
    /// The words of two peers and their keys (base64).
    #[must_use]
    pub fn of(one: (&PeerId, &str), other: (&PeerId, &str)) -> Self {
        let mut halves = [half(one), half(other)];
        halves.sort_unstable();
        Self { halves }
    }

    /// The words, those of one side and those of the other.
    #[must_use]
    pub fn lines(&self) -> [[&'static str; WORDS]; 2] {
        let list = bip39::Language::English.word_list();
        self.halves.map(|half| {
            let mut bits = half
                .iter()
                .flat_map(|byte| (0..8).rev().map(move |bit| usize::from(byte >> bit & 1)));
            // 66 of 256 bits; eleven of them are always below 2048.
            std::array::from_fn(|_| list[bits.by_ref().take(11).fold(0, |n, bit| n << 1 | bit)])
        })
    }

    /// What a QR code says.
    #[must_use]
    pub fn code(&self) -> String {
        format!("{SCHEME}{}", URL_SAFE_NO_PAD.encode(self.halves.concat()))
    }

    /// Whether a scanned code is the one of the same two keys.
    #[must_use]
    pub fn matches(&self, scanned: &str) -> bool {
        scanned.trim() == self.code()
    }
}

impl fmt::Display for Words {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [one, other] = self.lines();
        write!(f, "{} / {}", one.join(" "), other.join(" "))
    }
}

fn half((peer, key): (&PeerId, &str)) -> [u8; 32] {
    let mut hash: [u8; 32] = Sha256::new()
        .chain_update(SCHEME)
        .chain_update(peer.to_bytes())
        .chain_update(key)
        .finalize()
        .into();
    for _ in 0..ROUNDS {
        hash = Sha256::new()
            .chain_update(hash)
            .chain_update(key)
            .finalize()
            .into();
    }
    hash
}
