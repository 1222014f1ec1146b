//! Peer ids as text: the base58 form people see, the CID form others may write, and a lower-case form that fits
//! into a host name (`<label>.localhost`), as IPFS subdomain gateways use it.

use std::str::FromStr;

use cid::Cid;
use libp2p_identity::PeerId;
use multibase::Base;

/// The multicodec of a libp2p key, which a peer id in CID form carries (libp2p peer-ids specification).
const LIBP2P_KEY_CODEC: u64 = 0x72;

/// Longest text that is looked at. The longest real form, a CID of a 32-byte hash or an identity key, has 65 bytes.
const MAX_TEXT: usize = 128;

/// Reads a peer id in any of its text forms: base58 multihash or CIDv1 in any base.
#[must_use]
pub fn parse_peer_id(text: &str) -> Option<PeerId> {
    if text.len() > MAX_TEXT {
        return None;
    }
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
    let multihash = peer.to_bytes();
    let mut cid = Vec::with_capacity(multihash.len() + 2);
    cid.extend_from_slice(&[0x01, LIBP2P_KEY_CODEC as u8]);
    cid.extend_from_slice(&multihash);
    multibase::encode(Base::Base36Lower, cid)
}

/// The peer that a host label names. Only the exact spelling of [`host_label`] counts: one site, one origin.
#[must_use]
pub fn peer_of_label(label: &str) -> Option<PeerId> {
    let peer = label.starts_with('k').then(|| parse_peer_id(label))??;
    (host_label(&peer) == label).then_some(peer)
}
