//! Sealing of payloads: NaCl box (X25519, XSalsa20-Poly1305), as the Go program does it (network.md 6).
//!
//! A sealed text is standard base64 with padding of nonce (24 bytes) ‖ tag (16) ‖ ciphertext.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use crypto_box::aead::AeadInPlace;
use crypto_box::{Nonce, PublicKey, SalsaBox, SecretKey, Tag};
use sha2::{Digest, Sha256};

use crate::PeerId;

/// Bytes of a key of either kind.
pub const KEY_LEN: usize = 32;
const NONCE_LEN: usize = 24;
const TAG_LEN: usize = 16;
/// The shortest sealed text, decoded: an empty payload.
pub const OVERHEAD: usize = NONCE_LEN + TAG_LEN;

/// Why something cannot be opened, or a key cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// The text is not base64.
    #[error("the sealed text is not base64")]
    NotBase64,
    /// Fewer than 40 bytes.
    #[error("the sealed text is too short")]
    TooShort,
    /// Not sealed by that key for this key, or changed on the way.
    #[error("the sealed text does not open with these keys")]
    WrongKey,
    /// A key that is not 32 bytes of base64.
    #[error("the key is not 32 bytes in base64")]
    NotAKey,
}

/// A NaCl public key.
#[derive(Clone, PartialEq, Eq)]
pub struct NaclPublic(PublicKey);

/// A NaCl secret key. It is wiped when dropped and never printed.
#[derive(Clone)]
pub struct NaclSecret(SecretKey);

impl fmt::Debug for NaclPublic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NaclPublic({})", self.to_base64())
    }
}

impl fmt::Debug for NaclSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("NaclSecret(…)")
    }
}

impl NaclPublic {
    /// Reads the base64 form.
    ///
    /// # Errors
    /// [`SealError::NotAKey`].
    pub fn from_base64(text: &str) -> Result<Self, SealError> {
        decode_key(text).map(|bytes| Self(PublicKey::from(bytes)))
    }

    /// The base64 form that `goop.json` and presence carry.
    #[must_use]
    pub fn to_base64(&self) -> String {
        STANDARD.encode(self.0.as_bytes())
    }
}

impl NaclSecret {
    /// Reads the base64 form.
    ///
    /// # Errors
    /// [`SealError::NotAKey`].
    pub fn from_base64(text: &str) -> Result<Self, SealError> {
        decode_key(text).map(|bytes| Self(SecretKey::from(bytes)))
    }

    pub(crate) fn to_base64(&self) -> String {
        STANDARD.encode(self.0.to_bytes())
    }

    /// A secret of its own for each purpose, always the same for the same key. It says nothing about the key.
    #[must_use]
    pub fn derive_secret(&self, purpose: &[u8]) -> [u8; KEY_LEN] {
        let hash = Sha256::new()
            .chain_update(purpose)
            .chain_update(self.0.to_bytes());
        hash.finalize().into()
    }

    /// The public half.
    #[must_use]
    pub fn public(&self) -> NaclPublic {
        NaclPublic(self.0.public_key())
    }
}

fn decode_key(text: &str) -> Result<[u8; KEY_LEN], SealError> {
    STANDARD
        .decode(text.trim())
        .ok()
        .and_then(|bytes| bytes.try_into().ok())
        .ok_or(SealError::NotAKey)
}

/// A pair of NaCl keys.
#[derive(Debug, Clone)]
pub struct NaclKeys {
    /// Opens what is sealed for us.
    pub secret: NaclSecret,
    /// What others seal with.
    pub public: NaclPublic,
}

impl NaclKeys {
    /// A new random pair.
    #[must_use]
    pub fn generate() -> Self {
        let secret = NaclSecret(SecretKey::from(rand::random::<[u8; KEY_LEN]>()));
        let public = secret.public();
        Self { secret, public }
    }

    /// The pair of a secret key as `goop.json` stores it. The public half is computed, not believed.
    ///
    /// # Errors
    /// [`SealError::NotAKey`].
    pub fn from_base64(secret: &str) -> Result<Self, SealError> {
        let secret = NaclSecret::from_base64(secret)?;
        let public = secret.public();
        Ok(Self { secret, public })
    }
}

/// A secret key and the public one of somebody else, put together. That is most of the work of sealing or opening a short
/// text, so whoever does both often keeps it. It is wiped when dropped and never printed.
pub struct Pair(SalsaBox);

impl fmt::Debug for Pair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pair(…)")
    }
}

impl Pair {
    /// Puts the two together.
    #[must_use]
    pub fn new(own: &NaclSecret, other: &NaclPublic) -> Self {
        Self(SalsaBox::new(&other.0, &own.0))
    }

    /// See [`seal`].
    #[must_use]
    pub fn seal(&self, plain: &[u8]) -> String {
        self.seal_with_nonce(plain, rand::random())
    }

    fn seal_with_nonce(&self, plain: &[u8], nonce: [u8; NONCE_LEN]) -> String {
        let mut sealed = Vec::with_capacity(OVERHEAD + plain.len());
        sealed.extend_from_slice(&nonce);
        sealed.extend_from_slice(&[0; TAG_LEN]);
        sealed.extend_from_slice(plain);
        let (head, body) = sealed.split_at_mut(OVERHEAD);
        let tag = self
            .0
            .encrypt_in_place_detached(Nonce::from_slice(&nonce), &[], body)
            // XSalsa20 takes 2^70 bytes; a slice in memory is always shorter.
            .expect("a payload in memory is within the cipher's limit");
        head[NONCE_LEN..].copy_from_slice(&tag);
        STANDARD.encode(&sealed)
    }

    /// See [`open`].
    ///
    /// # Errors
    /// See [`SealError`].
    pub fn open(&self, text: &[u8]) -> Result<Vec<u8>, SealError> {
        let mut sealed = STANDARD.decode(text).map_err(|_| SealError::NotBase64)?;
        if sealed.len() < OVERHEAD {
            return Err(SealError::TooShort);
        }
        let (head, body) = sealed.split_at_mut(OVERHEAD);
        let (nonce, tag) = head.split_at(NONCE_LEN);
        self.0
            .decrypt_in_place_detached(Nonce::from_slice(nonce), &[], body, Tag::from_slice(tag))
            .map_err(|_| SealError::WrongKey)?;
        sealed.drain(..OVERHEAD);
        Ok(sealed)
    }
}

/// Seals `plain` so that only the holder of `to` can read it, and can tell it came from the holder of `from`.
#[must_use]
pub fn seal(plain: &[u8], from: &NaclSecret, to: &NaclPublic) -> String {
    Pair::new(from, to).seal(plain)
}

/// [`seal`] with a given nonce, for recorded vectors. A nonce used twice gives the payloads away.
#[doc(hidden)]
#[must_use]
pub fn seal_with_nonce(
    plain: &[u8],
    from: &NaclSecret,
    to: &NaclPublic,
    nonce: [u8; NONCE_LEN],
) -> String {
    Pair::new(from, to).seal_with_nonce(plain, nonce)
}

/// Opens a sealed text that came from the holder of `from`.
///
/// The caller bounds the length of `text`; the result is always shorter.
///
/// # Errors
/// See [`SealError`].
pub fn open(text: &[u8], from: &NaclPublic, own: &NaclSecret) -> Result<Vec<u8>, SealError> {
    Pair::new(own, from).open(text)
}

/// Seals for peers and opens what they sealed (network.md 6). `None` means: not sealed, or not to be opened.
pub trait Keyring: Send + Sync + 'static {
    /// Seals towards a peer whose key is known and that can open it.
    fn seal_for(&self, peer: &PeerId, plain: &[u8]) -> Option<String>;
    /// Opens a text from a peer.
    fn open_from(&self, peer: &PeerId, text: &[u8]) -> Option<Vec<u8>>;
}

/// A keyring that never seals.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoKeys;

impl Keyring for NoKeys {
    fn seal_for(&self, _: &PeerId, _: &[u8]) -> Option<String> {
        None
    }
    fn open_from(&self, _: &PeerId, _: &[u8]) -> Option<Vec<u8>> {
        None
    }
}
