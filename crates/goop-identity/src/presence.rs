//! The presence record: what a peer says about itself on gossip and to a rendezvous (network.md 4.1), and our signed
//! form of it (`docs/protocols/presence.md`).
//!
//! Decoding is lenient the way the Go program is (unknown fields, any case of names, `null` for absent) and strict
//! where it is not: ids must be peer ids, and every text has a bound.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use libp2p_identity::{Keypair, PeerId, PublicKey, SigningError};
use serde::Serialize;
use serde_json::{Map, Value};

use crate::config::escape_like_go;
use crate::label::parse_peer_id;

/// Longest display name in bytes; rendezvous servers refuse more.
pub const MAX_CONTENT: usize = 4096;
/// Longest e-mail address in bytes.
pub const MAX_EMAIL: usize = 320;
/// Most addresses in one record.
pub const MAX_ADDRS: usize = 20;
/// Longest address in bytes.
pub const MAX_ADDR: usize = 256;
/// Longest of the remaining texts (hash, template, version, keys). The Go program has no bound; nothing real comes near.
const MAX_TEXT: usize = 512;
/// Largest record that is looked at: all fields at their bound, escaped, with room.
pub const MAX_RECORD: usize = 64 * 1024;
/// What a signature is made over begins with this, so that it can mean nothing else.
const SIGNING_DOMAIN: &[u8] = b"goop-presence-v1:";

/// What a record announces.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum PresenceKind {
    /// Once after start.
    Online,
    /// Every heartbeat, and when something changes.
    Update,
    /// At a polite end.
    Offline,
    /// A rendezvous asks two peers to dial each other.
    Punch,
}

impl PresenceKind {
    fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "online" => Self::Online,
            "update" => Self::Update,
            "offline" => Self::Offline,
            "punch" => Self::Punch,
            _ => return None,
        })
    }
}

/// One presence record. Empty texts mean "not said".
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PresenceMessage {
    /// What it announces.
    pub kind: PresenceKind,
    /// Whom it is about.
    pub peer: PeerId,
    /// Display name.
    pub content: String,
    /// E-mail address, as claimed.
    pub email: String,
    /// Short hash of the picture.
    pub avatar_hash: String,
    /// No calls.
    pub video_disabled: bool,
    /// Applied template.
    pub active_template: String,
    /// For [`PresenceKind::Punch`]: whom the hint is for.
    pub target: Option<PeerId>,
    /// Where the peer can be dialled, as multiaddresses.
    pub addrs: Vec<String>,
    /// Proof for a rendezvous; never sent to peers.
    pub verification_token: String,
    /// NaCl public key in base64. Only authenticated sources may be believed.
    pub public_key: String,
    /// Payloads may be sealed for this peer.
    pub encryption_supported: bool,
    /// Version of the peer's program.
    pub goop_client_version: String,
    /// Unix milliseconds at the sender. Its clock may be wrong.
    pub ts: i64,
    /// Set by a rendezvous: the e-mail address is proven.
    pub verified: bool,
    /// Our extension: see [`PresenceMessage::sign`].
    pub signature: Option<Signature>,
}

/// A signature by the peer that the record is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signature {
    /// Signature bytes.
    pub bytes: Vec<u8>,
    /// The public key in protobuf form, only where the peer id does not contain it.
    pub key: Option<Vec<u8>>,
}

/// Why a record is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PresenceError {
    /// Over [`MAX_RECORD`].
    #[error("the record is larger than {MAX_RECORD} bytes")]
    TooLarge,
    /// Not one JSON object.
    #[error("the record is not a JSON object")]
    NotJson,
    /// A field has the wrong type, is missing, or is too long.
    #[error("{field} {problem}")]
    Field {
        /// Name of the field on the wire.
        field: &'static str,
        /// What is wrong with it.
        problem: &'static str,
    },
}

/// The wire form; the order of the fields is the Go program's.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Wire<'a> {
    #[serde(rename = "type")]
    kind: PresenceKind,
    peer_id: String,
    #[serde(skip_serializing_if = "str::is_empty")]
    content: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    email: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    avatar_hash: &'a str,
    #[serde(skip_serializing_if = "is_false")]
    video_disabled: bool,
    #[serde(skip_serializing_if = "str::is_empty")]
    active_template: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    target: Option<String>,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    addrs: &'a [String],
    #[serde(skip_serializing_if = "str::is_empty")]
    verification_token: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    public_key: &'a str,
    #[serde(skip_serializing_if = "is_false")]
    encryption_supported: bool,
    #[serde(skip_serializing_if = "str::is_empty")]
    goop_client_version: &'a str,
    ts: i64,
    #[serde(skip_serializing_if = "is_false")]
    verified: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    signature: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    signer_key: Option<String>,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde passes a reference"
)]
fn is_false(value: &bool) -> bool {
    !value
}

impl PresenceMessage {
    /// An empty record.
    #[must_use]
    pub fn new(kind: PresenceKind, peer: PeerId, ts: i64) -> Self {
        Self {
            kind,
            peer,
            ts,
            content: String::new(),
            email: String::new(),
            avatar_hash: String::new(),
            video_disabled: false,
            active_template: String::new(),
            target: None,
            addrs: Vec::new(),
            verification_token: String::new(),
            public_key: String::new(),
            encryption_supported: false,
            goop_client_version: String::new(),
            verified: false,
            signature: None,
        }
    }

    /// Decodes a record from anywhere.
    ///
    /// # Errors
    /// See [`PresenceError`].
    pub fn from_json(bytes: &[u8]) -> Result<Self, PresenceError> {
        if bytes.len() > MAX_RECORD {
            return Err(PresenceError::TooLarge);
        }
        let fields = match serde_json::from_slice(bytes) {
            Ok(Value::Object(fields)) => Fields(fields),
            _ => return Err(PresenceError::NotJson),
        };
        let kind = PresenceKind::parse(fields.text("type", MAX_TEXT)?.trim()).ok_or(
            PresenceError::Field {
                field: "type",
                problem: "is not a kind of presence",
            },
        )?;
        let peer = fields.peer("peerId")?.ok_or(PresenceError::Field {
            field: "peerId",
            problem: "is required",
        })?;
        Ok(Self {
            kind,
            peer,
            content: fields.text("content", MAX_CONTENT)?,
            email: fields.text("email", MAX_EMAIL)?,
            avatar_hash: fields.text("avatarHash", MAX_TEXT)?,
            video_disabled: fields.flag("videoDisabled")?,
            active_template: fields.text("activeTemplate", MAX_TEXT)?,
            target: fields.peer("target")?,
            addrs: fields.addrs()?,
            verification_token: fields.text("verificationToken", MAX_TEXT)?,
            public_key: fields.text("publicKey", MAX_TEXT)?,
            encryption_supported: fields.flag("encryptionSupported")?,
            goop_client_version: fields.text("goopClientVersion", MAX_TEXT)?,
            ts: fields.number("ts")?,
            verified: fields.flag("verified")?,
            signature: fields.signature()?,
        })
    }

    /// The bytes that go out, identical to the Go program's for the fields it knows.
    #[must_use]
    pub fn to_json(&self) -> Vec<u8> {
        let wire = Wire {
            kind: self.kind,
            peer_id: self.peer.to_base58(),
            content: &self.content,
            email: &self.email,
            avatar_hash: &self.avatar_hash,
            video_disabled: self.video_disabled,
            active_template: &self.active_template,
            target: self.target.map(|peer| peer.to_base58()),
            addrs: &self.addrs,
            verification_token: &self.verification_token,
            public_key: &self.public_key,
            encryption_supported: self.encryption_supported,
            goop_client_version: &self.goop_client_version,
            ts: self.ts,
            verified: self.verified,
            signature: self
                .signature
                .as_ref()
                .map(|signature| STANDARD.encode(&signature.bytes)),
            signer_key: self
                .signature
                .as_ref()
                .and_then(|signature| signature.key.as_ref().map(|key| STANDARD.encode(key))),
        };
        // Texts, numbers and lists of texts always serialise.
        escape_like_go(&serde_json::to_string(&wire).unwrap_or_default()).into_bytes()
    }

    /// Keeps what is said of oneself within the bounds others enforce: texts are cut at a character, addresses that
    /// are too long or too many are left out.
    pub fn cap(&mut self) {
        cut(&mut self.content, MAX_CONTENT);
        cut(&mut self.email, MAX_EMAIL);
        cut(&mut self.active_template, MAX_TEXT);
        self.addrs.retain(|addr| addr.len() <= MAX_ADDR);
        self.addrs.truncate(MAX_ADDRS);
    }

    /// Signs the record with the key of the peer it is about. The signature covers all but what a rendezvous sets or
    /// strips on the way (`verified`, `verificationToken`).
    ///
    /// # Errors
    /// When the key cannot sign.
    pub fn sign(&mut self, keypair: &Keypair) -> Result<(), SigningError> {
        let public = keypair.public();
        let bytes = keypair.sign(&self.signed_bytes())?;
        let contained = key_within(&self.peer).is_some();
        self.signature = Some(Signature {
            bytes,
            key: (!contained).then(|| public.encode_protobuf()),
        });
        Ok(())
    }

    /// Whether the record carries a valid signature of the peer it is about.
    #[must_use]
    pub fn is_signed(&self) -> bool {
        let Some(signature) = &self.signature else {
            return false;
        };
        let key = match &signature.key {
            Some(key) => PublicKey::try_decode_protobuf(key).ok(),
            None => key_within(&self.peer),
        };
        key.is_some_and(|key| {
            key.to_peer_id() == self.peer && key.verify(&self.signed_bytes(), &signature.bytes)
        })
    }

    fn signed_bytes(&self) -> Vec<u8> {
        let plain = Self {
            signature: None,
            verified: false,
            verification_token: String::new(),
            ..self.clone()
        };
        [SIGNING_DOMAIN, &plain.to_json()].concat()
    }
}

/// The public key inside a peer id, where it is small enough to be there (Ed25519).
fn key_within(peer: &PeerId) -> Option<PublicKey> {
    let multihash = peer.to_bytes();
    // Multihash code 0 is the identity hash: the digest is the key.
    let key = multihash.strip_prefix(&[0x00])?.get(1..)?;
    PublicKey::try_decode_protobuf(key).ok()
}

fn cut(text: &mut String, max: usize) {
    if text.len() > max {
        let end = (0..=max)
            .rev()
            .find(|at| text.is_char_boundary(*at))
            .unwrap_or(0);
        text.truncate(end);
    }
}

/// A decoded object whose fields are asked for by name, in any case.
struct Fields(Map<String, Value>);

impl Fields {
    fn find(&self, name: &str) -> Option<&Value> {
        let mut found = self
            .0
            .iter()
            .filter(|(key, _)| key.eq_ignore_ascii_case(name))
            .map(|(_, value)| value);
        found.rfind(|value| !value.is_null())
    }

    fn text(&self, field: &'static str, max: usize) -> Result<String, PresenceError> {
        match self.find(field) {
            None => Ok(String::new()),
            Some(Value::String(text)) if text.len() <= max => Ok(text.clone()),
            Some(Value::String(_)) => Err(PresenceError::Field {
                field,
                problem: "is too long",
            }),
            Some(_) => Err(PresenceError::Field {
                field,
                problem: "must be a text",
            }),
        }
    }

    fn flag(&self, field: &'static str) -> Result<bool, PresenceError> {
        match self.find(field) {
            None => Ok(false),
            Some(Value::Bool(flag)) => Ok(*flag),
            Some(_) => Err(PresenceError::Field {
                field,
                problem: "must be true or false",
            }),
        }
    }

    fn number(&self, field: &'static str) -> Result<i64, PresenceError> {
        match self.find(field) {
            None => Ok(0),
            Some(value) => value.as_i64().ok_or(PresenceError::Field {
                field,
                problem: "must be a whole number",
            }),
        }
    }

    fn peer(&self, field: &'static str) -> Result<Option<PeerId>, PresenceError> {
        let text = self.text(field, MAX_TEXT)?;
        let text = text.trim();
        if text.is_empty() {
            return Ok(None);
        }
        parse_peer_id(text).map(Some).ok_or(PresenceError::Field {
            field,
            problem: "is not a peer id",
        })
    }

    fn addrs(&self) -> Result<Vec<String>, PresenceError> {
        let refuse = |problem| PresenceError::Field {
            field: "addrs",
            problem,
        };
        let list = match self.find("addrs") {
            None => return Ok(Vec::new()),
            Some(Value::Array(list)) if list.len() <= MAX_ADDRS => list,
            Some(Value::Array(_)) => return Err(refuse("has too many addresses")),
            Some(_) => return Err(refuse("must be a list")),
        };
        list.iter()
            .map(|addr| match addr {
                Value::String(addr) if addr.len() <= MAX_ADDR => Ok(addr.clone()),
                Value::String(_) => Err(refuse("has an address that is too long")),
                _ => Err(refuse("must be a list of texts")),
            })
            .collect()
    }

    fn signature(&self) -> Result<Option<Signature>, PresenceError> {
        let decode = |field: &'static str| -> Result<Option<Vec<u8>>, PresenceError> {
            // An RSA signature or key of 4096 bits takes 700 characters in base64.
            let text = self.text(field, 2 * MAX_TEXT)?;
            if text.is_empty() {
                return Ok(None);
            }
            let bytes = STANDARD.decode(text);
            bytes.map(Some).map_err(|_| PresenceError::Field {
                field,
                problem: "is not base64",
            })
        };
        let key = decode("signerKey")?;
        Ok(decode("signature")?.map(|bytes| Signature { bytes, key }))
    }
}
