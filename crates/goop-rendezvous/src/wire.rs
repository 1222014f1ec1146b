//! The one message of `/publish`, `/events` and `/ws` (rendezvous.md 2.1), as both ends of this crate use it.
//!
//! A [`Publication`] is a presence record and what else stood beside it: other versions may say things that this one
//! does not know, and their neighbours may understand them. The Go server loses such keys; here they are passed on, up
//! to [`MAX_EXTRA`] bytes of them.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use goop_identity::PeerId;
use goop_identity::config::escape_like_go;
use goop_identity::label::parse_peer_id;
use goop_identity::presence::{
    MAX_ADDR, MAX_ADDRS, MAX_CONTENT, MAX_EMAIL, PresenceError, PresenceKind, PresenceMessage,
};
use libp2p::identity::{Keypair, PublicKey};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// Largest body of `/publish` and largest frame from a client, in bytes (rendezvous.md 4.2).
pub const MAX_MESSAGE: usize = 64 * 1024;
/// Largest message that is passed on, in bytes. Go clients read `/events` in lines of at most 64 KiB (rendezvous.md 4.2).
pub const MAX_FORWARDED: usize = 48 * 1024;
/// Bytes of unknown keys, names and values together, that are kept (rendezvous.md 4.2).
pub const MAX_EXTRA: usize = 4 * 1024;
/// Longest peer id that is looked at; the text of the refusal is the Go program's (rendezvous.md 4.2).
const MAX_PEER_ID: usize = 256;
/// Bytes of the nonce in a [`ServerHello`]: too many to guess or to meet twice.
pub const NONCE: usize = 32;
/// A hello of a server is far smaller; a presence record need not be looked at twice.
const MAX_HELLO: usize = 256;
/// What a hello's signature is made over begins with this, so that it can mean nothing else.
const HELLO_DOMAIN: &[u8] = b"goop-rendezvous-hello-v1:";

/// Names of the fields a record has; everything else is extra.
const KNOWN: [&str; 17] = [
    "type",
    "peerId",
    "content",
    "email",
    "avatarHash",
    "videoDisabled",
    "activeTemplate",
    "target",
    "addrs",
    "verificationToken",
    "publicKey",
    "encryptionSupported",
    "goopClientVersion",
    "ts",
    "verified",
    "signature",
    "signerKey",
];

/// A presence record with the keys this version does not know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Publication {
    /// What is known of it.
    pub record: PresenceMessage,
    /// The rest, in the order it came.
    pub extra: Map<String, Value>,
}

/// Why a message is refused. The texts are the Go program's, which people may have learned to look for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// More than [`MAX_MESSAGE`] bytes.
    #[error("the message is larger than {MAX_MESSAGE} bytes")]
    TooLarge,
    /// Not one JSON object.
    #[error("bad json")]
    BadJson,
    /// Understood, and not acceptable.
    #[error("bad message: {0}")]
    BadMessage(String),
}

impl Refusal {
    fn message(reason: impl Into<String>) -> Self {
        Self::BadMessage(reason.into())
    }
}

impl Publication {
    /// A record alone.
    #[must_use]
    pub fn new(record: PresenceMessage) -> Self {
        Self {
            record,
            extra: Map::new(),
        }
    }

    /// Decodes what a client publishes: `online`, `update` or `offline`. `from` is whom the message is about when it
    /// does not say (a socket's peer). Bytes after the first JSON value are ignored, and addresses beyond the twentieth
    /// are left out: the Go server refuses such a peer as a whole (weak point 26).
    ///
    /// # Errors
    /// See [`Refusal`].
    pub fn from_client(bytes: &[u8], from: Option<PeerId>) -> Result<Self, Refusal> {
        let mut fields = object(bytes)?;
        normalise(&mut fields, from)?;
        let publication = Self::from_fields(fields)?;
        if publication.to_frame().len() > MAX_FORWARDED {
            return Err(Refusal::message("too large"));
        }
        Ok(publication)
    }

    /// Decodes what a server sends: the same, and `punch`.
    ///
    /// # Errors
    /// See [`Refusal`].
    pub fn from_server(bytes: &[u8]) -> Result<Self, Refusal> {
        Self::from_fields(object(bytes)?)
    }

    fn from_fields(fields: Map<String, Value>) -> Result<Self, Refusal> {
        let (known, extra): (Map<_, _>, Map<_, _>) =
            fields.into_iter().partition(|(name, _)| is_known(name));
        let extra = bounded(extra);
        // A map of texts and numbers always serialises.
        let known = serde_json::to_vec(&known).unwrap_or_default();
        let record = PresenceMessage::from_json(&known).map_err(|error| match error {
            PresenceError::TooLarge => Refusal::TooLarge,
            PresenceError::NotJson => Refusal::BadJson,
            error @ PresenceError::Field { .. } => Refusal::message(error.to_string()),
        })?;
        Ok(Self { record, extra })
    }

    /// The message as it goes to clients: without the verification token, with the unknown keys at its end.
    #[must_use]
    pub fn to_frame(&self) -> Bytes {
        let json = if self.record.verification_token.is_empty() {
            self.record.to_json()
        } else {
            let record = PresenceMessage {
                verification_token: String::new(),
                ..self.record.clone()
            };
            record.to_json()
        };
        Bytes::from(with_extra(json, &self.extra))
    }

    /// The message as strangers on `/events` see it: also without the e-mail address (weak point 13). A signature goes
    /// with it, because it covers the address.
    #[must_use]
    pub fn to_public_frame(&self) -> Bytes {
        let record = PresenceMessage {
            verification_token: String::new(),
            email: String::new(),
            signature: self
                .record
                .signature
                .clone()
                .filter(|_| self.record.email.is_empty()),
            ..self.record.clone()
        };
        Bytes::from(with_extra(record.to_json(), &self.extra))
    }

    /// Whether it says the same as another, apart from when it was said, whether it was the first time, and the
    /// signature over that.
    #[must_use]
    pub fn says_the_same_as(&self, other: &Self) -> bool {
        let (a, b) = (&self.record, &other.record);
        a.peer == b.peer
            && (a.kind == PresenceKind::Offline) == (b.kind == PresenceKind::Offline)
            && a.content == b.content
            && a.email == b.email
            && a.avatar_hash == b.avatar_hash
            && a.video_disabled == b.video_disabled
            && a.active_template == b.active_template
            && a.addrs == b.addrs
            && a.public_key == b.public_key
            && a.encryption_supported == b.encryption_supported
            && a.goop_client_version == b.goop_client_version
            && a.verified == b.verified
            && a.signature.is_some() == b.signature.is_some()
            && self.extra == other.extra
    }
}

/// What the server says of a peer that is gone: the three fields the Go server sends (rendezvous.md 2.1).
#[must_use]
pub fn gone(peer: PeerId, ts: i64) -> Bytes {
    Bytes::from(PresenceMessage::new(PresenceKind::Offline, peer, ts).to_json())
}

/// A hint for `target`: `about` is reachable at `addrs`, and is told of `target` at the same time (rendezvous.md 8).
#[must_use]
pub fn punch(about: PeerId, target: PeerId, addrs: &[String], ts: i64) -> Bytes {
    let mut record = PresenceMessage::new(PresenceKind::Punch, about, ts);
    record.target = Some(target);
    record.addrs = addrs.to_vec();
    Bytes::from(record.to_json())
}

fn is_known(name: &str) -> bool {
    KNOWN.iter().any(|known| known.eq_ignore_ascii_case(name))
}

/// The first JSON value of the bytes, which must be an object.
fn object(bytes: &[u8]) -> Result<Map<String, Value>, Refusal> {
    if bytes.len() > MAX_MESSAGE {
        return Err(Refusal::TooLarge);
    }
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    match Value::deserialize(&mut reader) {
        Ok(Value::Object(fields)) => Ok(fields),
        _ => Err(Refusal::BadJson),
    }
}

/// Checks what the Go server checks, with its texts, and mends what need not be refused.
fn normalise(fields: &mut Map<String, Value>, from: Option<PeerId>) -> Result<(), Refusal> {
    let kind = text(fields, "type").trim().to_owned();
    let peer = text(fields, "peerId").trim().to_owned();
    let peer = match (peer.is_empty(), from) {
        (true, Some(from)) => from.to_base58(),
        _ => peer,
    };
    if kind.is_empty() || peer.is_empty() {
        return Err(Refusal::message("type and peerId are required"));
    }
    if !["online", "update", "offline"].contains(&kind.as_str()) {
        let shown: String = kind.chars().take(MAX_PEER_ID).collect();
        return Err(Refusal::message(format!("unknown type {shown:?}")));
    }
    if peer.len() > MAX_PEER_ID {
        return Err(Refusal::message("peerId too long"));
    }
    if text(fields, "content").len() > MAX_CONTENT {
        return Err(Refusal::message("content too long"));
    }
    if text(fields, "email").len() > MAX_EMAIL {
        return Err(Refusal::message("email too long"));
    }
    if let Some(Value::Array(addrs)) = find_mut(fields, "addrs") {
        addrs.truncate(MAX_ADDRS);
        let long = |addr: &Value| addr.as_str().is_some_and(|addr| addr.len() > MAX_ADDR);
        if addrs.iter().any(long) {
            return Err(Refusal::message("addr too long"));
        }
    }
    if parse_peer_id(&peer).is_none() {
        return Err(Refusal::message("peerId is not a peer id"));
    }
    fields.retain(|name, _| {
        // Whether somebody is verified is the server's word, and hints are its own.
        !["peerId", "verified", "target"]
            .iter()
            .any(|gone| gone.eq_ignore_ascii_case(name))
    });
    fields.insert("peerId".to_owned(), Value::String(peer));
    Ok(())
}

fn find_mut<'a>(fields: &'a mut Map<String, Value>, name: &str) -> Option<&'a mut Value> {
    let mut found = fields
        .iter_mut()
        .filter(|(key, value)| key.eq_ignore_ascii_case(name) && !value.is_null())
        .map(|(_, value)| value);
    found.next_back()
}

fn text<'a>(fields: &'a Map<String, Value>, name: &str) -> &'a str {
    let mut found = fields
        .iter()
        .filter(|(key, value)| key.eq_ignore_ascii_case(name) && !value.is_null())
        .map(|(_, value)| value);
    found
        .next_back()
        .and_then(Value::as_str)
        .unwrap_or_default()
}

/// Keeps unknown keys until they are too much, in the order they came.
fn bounded(extra: Map<String, Value>) -> Map<String, Value> {
    let mut left = MAX_EXTRA;
    let fits = extra.into_iter().take_while(|(name, value)| {
        let size = name.len() + value.to_string().len();
        let fits = size <= left;
        left = left.saturating_sub(size);
        fits
    });
    fits.collect()
}

/// Puts the unknown keys at the end of an encoded object, which is never empty.
fn with_extra(mut json: Vec<u8>, extra: &Map<String, Value>) -> Vec<u8> {
    if extra.is_empty() {
        return json;
    }
    // What came as JSON goes as JSON.
    let tail = serde_json::to_string(extra).unwrap_or_default();
    let tail = escape_like_go(&tail);
    if let (Some(b'}'), Some(tail)) = (json.last(), tail.strip_prefix('{')) {
        json.pop();
        json.push(b',');
        json.extend_from_slice(tail.as_bytes());
    }
    json
}

/// Goes before a snapshot on a socket that asked for news only (`news=1`): whoever is not among the next `count` messages
/// is gone. Others never see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotMark {
    /// Always `snapshot`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Messages that follow.
    pub count: usize,
}

impl SnapshotMark {
    /// The mark of a snapshot of so many messages.
    #[must_use]
    pub fn of(count: usize) -> Self {
        Self {
            kind: "snapshot".to_owned(),
            count,
        }
    }
}

/// What the server says first on a socket whose client asked for it with `hello=1`. Others never see it: it has no
/// `peerId`, and Go clients pass over such messages.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerHello {
    /// Always `hello`.
    #[serde(rename = "type")]
    pub kind: String,
    /// [`NONCE`] random bytes in base64.
    pub nonce: String,
}

impl fmt::Debug for ServerHello {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerHello").finish_non_exhaustive()
    }
}

impl ServerHello {
    /// Reads a hello out of a frame; anything else is `None`.
    #[must_use]
    pub fn from_json(bytes: &[u8]) -> Option<Self> {
        if bytes.len() > MAX_HELLO {
            return None;
        }
        let hello: Self = serde_json::from_slice(bytes).ok()?;
        (hello.kind == "hello").then_some(hello)
    }

    /// A hello with this nonce.
    #[must_use]
    pub fn new(nonce: &[u8; NONCE]) -> Self {
        Self {
            kind: "hello".to_owned(),
            nonce: STANDARD.encode(nonce),
        }
    }
}

/// The client's answer: whoever sends it has the key of the peer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ClientHello {
    /// Always `hello`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Whose socket it is.
    pub peer_id: String,
    /// base64 of the signature over `goop-rendezvous-hello-v1:` and the nonce's bytes.
    pub signature: String,
    /// base64 of the public key in libp2p's protobuf form, only where the peer id does not contain it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub signer_key: String,
}

impl ClientHello {
    /// Answers a hello. `None` when its nonce cannot be read or the key cannot sign.
    #[must_use]
    pub fn answer(hello: &ServerHello, keypair: &Keypair) -> Option<Self> {
        let nonce = nonce(&hello.nonce)?;
        let public = keypair.public();
        let peer = public.to_peer_id();
        let key = match key_within(&peer) {
            Some(_) => String::new(),
            None => STANDARD.encode(public.encode_protobuf()),
        };
        Some(Self {
            kind: "hello".to_owned(),
            peer_id: peer.to_base58(),
            signature: STANDARD.encode(keypair.sign(&signed(&nonce)).ok()?),
            signer_key: key,
        })
    }

    /// Reads a hello out of a frame; anything else is `None`.
    #[must_use]
    pub fn from_json(bytes: &[u8]) -> Option<Self> {
        if bytes.len() > MAX_MESSAGE {
            return None;
        }
        let hello: Self = serde_json::from_slice(bytes).ok()?;
        (hello.kind == "hello").then_some(hello)
    }

    /// Whether `peer` signed `nonce`.
    #[must_use]
    pub fn proves(&self, peer: &PeerId, nonce: &[u8; NONCE]) -> bool {
        let key = if self.signer_key.is_empty() {
            key_within(peer)
        } else {
            let bytes = STANDARD.decode(&self.signer_key).ok();
            bytes.and_then(|bytes| PublicKey::try_decode_protobuf(&bytes).ok())
        };
        let Ok(signature) = STANDARD.decode(&self.signature) else {
            return false;
        };
        key.is_some_and(|key| key.to_peer_id() == *peer && key.verify(&signed(nonce), &signature))
    }
}

fn nonce(text: &str) -> Option<[u8; NONCE]> {
    STANDARD.decode(text).ok()?.try_into().ok()
}

fn signed(nonce: &[u8; NONCE]) -> Vec<u8> {
    [HELLO_DOMAIN, nonce].concat()
}

/// The public key inside a peer id, where it is small enough to be there (Ed25519).
fn key_within(peer: &PeerId) -> Option<PublicKey> {
    // Multihash code 0 is the identity hash: the digest is the key.
    let multihash = peer.to_bytes();
    let key = multihash.strip_prefix(&[0x00])?.get(1..)?;
    PublicKey::try_decode_protobuf(key).ok()
}

/// The answer of `/relay` (rendezvous.md 11.3). A client takes 0 for its own default.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct RelayInfo {
    /// Id of the relay.
    pub peer_id: String,
    /// Where it listens, with or without `/p2p/<id>` at the end.
    pub addrs: Vec<String>,
    /// Seconds between closing the relay's connections and connecting again.
    #[serde(default)]
    pub cleanup_delay_sec: i64,
    /// Seconds to wait for a circuit address.
    #[serde(default)]
    pub poll_deadline_sec: i64,
    /// Seconds for a connection to the relay.
    #[serde(default)]
    pub connect_timeout_sec: i64,
    /// Seconds between two looks at the reservation.
    #[serde(default)]
    pub refresh_interval_sec: i64,
    /// Seconds before a lost reservation is acted on.
    #[serde(default)]
    pub recovery_grace_sec: i64,
}

/// The answer of `/api/capabilities` (rendezvous.md 3.1): which services and whether a relay.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(default)]
#[allow(
    clippy::struct_excessive_bools,
    reason = "the wire form is a list of switches"
)]
pub struct Capabilities {
    /// Thin clients have a bridge.
    pub bridge: bool,
    /// Credits are kept.
    pub credits: bool,
    /// Keys of peers are kept.
    pub encryption: bool,
    /// E-mail addresses are verified.
    pub registration: bool,
    /// A circuit relay runs.
    pub relay: bool,
    /// Templates come from a service.
    pub templates: bool,
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn peer() -> PeerId {
        "12D3KooWK99VoVxNE7XzyBwXEzW7xhK7Gpv85r9F3V3fyKSUKPH5"
            .parse()
            .unwrap()
    }

    fn check(body: &str, expected: &str) {
        let body = body.replace("ID", &peer().to_base58());
        let got = match Publication::from_client(body.as_bytes(), None) {
            Ok(publication) => String::from_utf8(publication.to_frame().to_vec()).unwrap(),
            Err(refusal) => refusal.to_string(),
        };
        assert_eq!(got, expected.replace("ID", &peer().to_base58()), "{body}");
    }

    #[test]
    fn what_a_client_says() {
        check(
            r#"{"type":"online","peerId":"ID","ts":1}"#,
            r#"{"type":"online","peerId":"ID","ts":1}"#,
        );
        // The server's own words, the token and hints do not come from clients.
        check(
            r#"{"type":"online","peerId":"ID","verified":true,"target":"ID","verificationToken":"t","ts":1} rest"#,
            r#"{"type":"online","peerId":"ID","ts":1}"#,
        );
        check(
            r#"{"new":{"a":"<"},"type":"update","peerId":"ID","ts":1}"#,
            r#"{"type":"update","peerId":"ID","ts":1,"new":{"a":"\u003c"}}"#,
        );
        check(
            r#"{"type":"online"}"#,
            "bad message: type and peerId are required",
        );
        check(
            r#"{"type":"punch","peerId":"ID"}"#,
            r#"bad message: unknown type "punch""#,
        );
        check(
            r#"{"type":"online","peerId":"me"}"#,
            "bad message: peerId is not a peer id",
        );
        check("[]", "bad json");
        check("", "bad json");
    }

    #[test]
    fn too_many_addresses_are_cut_and_too_many_keys_left_out() {
        let addrs: Vec<String> = (0..30).map(|n| format!("/ip4/192.0.2.{n}/tcp/1")).collect();
        let body = serde_json::json!({"type":"online","peerId":peer().to_base58(),"addrs":addrs,"ts":1,
            "big":"x".repeat(MAX_EXTRA),"small":1});
        let publication = Publication::from_client(body.to_string().as_bytes(), None).unwrap();
        assert_eq!(publication.record.addrs.len(), MAX_ADDRS);
        assert!(publication.extra.is_empty());
    }

    #[test]
    fn a_socket_need_not_say_whose_it_is() {
        let publication =
            Publication::from_client(br#"{"type":"update","ts":1}"#, Some(peer())).unwrap();
        assert_eq!(publication.record.peer, peer());
    }

    #[test]
    fn strangers_see_no_address() {
        let keypair = Keypair::generate_ed25519();
        let mut record =
            PresenceMessage::new(PresenceKind::Online, keypair.public().to_peer_id(), 1);
        record.email = "ann@example.org".to_owned();
        record.sign(&keypair).unwrap();
        let frame = Publication::new(record).to_public_frame();
        let frame = String::from_utf8(frame.to_vec()).unwrap();
        assert!(
            !frame.contains("ann@") && !frame.contains("signature"),
            "{frame}"
        );
    }

    #[test]
    fn a_hello_proves_one_socket_of_one_peer() {
        let (keypair, other) = (Keypair::generate_ed25519(), Keypair::generate_ed25519());
        let peer = keypair.public().to_peer_id();
        let hello = ClientHello::answer(&ServerHello::new(&[7; NONCE]), &keypair).unwrap();
        let again = ClientHello::from_json(&serde_json::to_vec(&hello).unwrap()).unwrap();
        assert!(again.proves(&peer, &[7; NONCE]));
        assert!(!again.proves(&peer, &[8; NONCE]));
        assert!(!again.proves(&other.public().to_peer_id(), &[7; NONCE]));
    }
}
