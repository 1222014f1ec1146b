//! Peer ids as text: the base58 form people see, the CID form others may write, and a lower-case form that fits
//! into a host name (`<label>.localhost`), as IPFS subdomain gateways use it.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::str::FromStr;

use cid::Cid;
use libp2p_identity::PeerId;
use multibase::Base;

/// The multicodec of a libp2p key, which a peer id in CID form carries (libp2p peer-ids specification).
const LIBP2P_KEY_CODEC: u64 = 0x72;

/// Longest text that is looked at. The longest real form, a CID of a 32-byte hash or an identity key, has 65 bytes.
const MAX_TEXT: usize = 128;

/// Ids that each thread remembers in both spellings. A page asks for many files of few peers, and changing the base of
/// a number costs more than the rest of a small answer.
const REMEMBERED: usize = 8;

type Remembered = RefCell<VecDeque<(PeerId, String)>>;

thread_local! {
    static TEXTS: Remembered = const { RefCell::new(VecDeque::new()) };
    static LABELS: Remembered = const { RefCell::new(VecDeque::new()) };
}

fn remember(known: &Remembered, peer: PeerId, text: &str) {
    let mut known = known.borrow_mut();
    known.truncate(REMEMBERED - 1);
    known.push_front((peer, text.to_owned()));
}

fn recall(known: &Remembered, text: &str) -> Option<PeerId> {
    let known = known.borrow();
    known
        .iter()
        .find(|(_, spelling)| spelling == text)
        .map(|(peer, _)| *peer)
}

/// Reads a peer id in any of its text forms: base58 multihash or CIDv1 in any base.
#[must_use]
pub fn parse_peer_id(text: &str) -> Option<PeerId> {
    if text.len() > MAX_TEXT {
        return None;
    }
    if let Some(peer) = TEXTS.with(|known| recall(known, text)) {
        return Some(peer);
    }
    let peer = decode(text)?;
    TEXTS.with(|known| remember(known, peer, text));
    Some(peer)
}

fn decode(text: &str) -> Option<PeerId> {
    if let Ok(peer) = PeerId::from_str(text) {
        return Some(peer);
    }
    let cid = Cid::from_str(text).ok()?;
    if cid.codec() != LIBP2P_KEY_CODEC {
        return None;
    }
    PeerId::from_bytes(&cid.hash().to_bytes()).ok()
}

/// The host label of a peer: its CIDv1 in base36, `k51…` for an Ed25519 key; at most 63 characters for those.
#[must_use]
pub fn host_label(peer: &PeerId) -> String {
    let known = LABELS.with_borrow(|known| {
        let found = known.iter().find(|(other, _)| other == peer);
        found.map(|(_, label)| label.clone())
    });
    known.unwrap_or_else(|| {
        let label = encode(peer);
        LABELS.with(|known| remember(known, *peer, &label));
        label
    })
}

fn encode(peer: &PeerId) -> String {
    let multihash = peer.to_bytes();
    let mut cid = Vec::with_capacity(multihash.len() + 2);
    cid.extend_from_slice(&[0x01, LIBP2P_KEY_CODEC as u8]);
    cid.extend_from_slice(&multihash);
    multibase::encode(Base::Base36Lower, cid)
}

/// The peer that a host label names. Only the exact spelling of [`host_label`] counts: one site, one origin.
#[must_use]
pub fn peer_of_label(label: &str) -> Option<PeerId> {
    if let Some(peer) = LABELS.with(|known| recall(known, label)) {
        return Some(peer);
    }
    let looks_right = label.starts_with('k') && label.len() <= MAX_TEXT;
    let peer = looks_right.then(|| decode(label))??;
    (host_label(&peer) == label).then_some(peer)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn what_is_remembered_is_what_is_true() {
        let peers: Vec<PeerId> = (0..3 * REMEMBERED).map(|_| PeerId::random()).collect();
        for _ in 0..2 {
            for peer in &peers {
                let label = encode(peer);
                assert_eq!(host_label(peer), label);
                assert_eq!(peer_of_label(&label), Some(*peer));
                assert_eq!(peer_of_label(&label.to_uppercase()), None);
                assert_eq!(parse_peer_id(&peer.to_base58()), Some(*peer));
                assert_eq!(parse_peer_id(&label), Some(*peer));
                assert_eq!(peer_of_label(&peer.to_base58()), None);
            }
        }
    }
}
