//! The identity key file: a libp2p private key in its protobuf form (peer-directory.md 5.2, network.md 2.1).

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use libp2p_identity::Keypair;

use crate::files::{self, Privacy};

/// Largest key file that is read. A 4096-bit RSA key takes about 2.4 KB; nothing real is larger than this.
const MAX_KEY_FILE: u64 = 16 * 1024;

/// Ed25519 in protobuf form: key type 1 …
const ED25519_HEADER: [u8; 3] = [0x08, 0x01, 0x12];
/// … then 64 bytes (seed, public) in what is written today, or 96 (seed, public, public) in the oldest files.
const OLD_ED25519_DATA: usize = 96;

/// Why a key file cannot be used. The file is never changed in such a case.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The file system refused.
    #[error(
        "the identity key {path} cannot be read or made: {source}. Your peer id lives in this file; it was left alone"
    )]
    Io {
        /// The key file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The bytes are no key.
    #[error(
        "the identity key {path} is damaged or not a key: {reason}. It was left alone; restore it from a backup, \
         or move it away to start as a new peer"
    )]
    NotAKey {
        /// The key file, empty when bytes were decoded without one.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
}

/// Loads the key at `path`; makes a new Ed25519 key there only when nothing exists.
///
/// The folder is made with mode 0700 and the file with 0600; a file that others may read is tightened and a warning
/// logged.
///
/// # Errors
/// An existing file that cannot be read or decoded is an error, never a reason to write.
pub fn load_or_create(path: &Path) -> Result<Keypair, KeyError> {
    let io = |source| KeyError::Io {
        path: path.to_owned(),
        source,
    };
    match read(path) {
        Ok(bytes) => {
            let key = decode(&bytes).map_err(|error| at(error, path))?;
            match files::tighten(path) {
                Ok(true) => {
                    tracing::warn!(path = %path.display(), "the identity key was readable by others; tightened")
                }
                Ok(false) => {}
                Err(error) => {
                    tracing::warn!(path = %path.display(), %error, "the identity key may be readable by others")
                }
            }
            Ok(key)
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let key = Keypair::generate_ed25519();
            if let Some(folder) = path.parent() {
                files::create_secret_folder(folder).map_err(io)?;
            }
            match files::create_new(path, &encode(&key)?, Privacy::Secret) {
                Ok(()) => Ok(key),
                // Somebody made one in the meantime: theirs counts.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                    decode(&read(path).map_err(io)?).map_err(|error| at(error, path))
                }
                Err(error) => Err(io(error)),
            }
        }
        Err(error) => Err(io(error)),
    }
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?
        .take(MAX_KEY_FILE + 1)
        .read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn at(error: KeyError, path: &Path) -> KeyError {
    match error {
        KeyError::NotAKey { reason, .. } => KeyError::NotAKey {
            path: path.to_owned(),
            reason,
        },
        other => other,
    }
}

/// Decodes a protobuf private key: Ed25519 in both forms, RSA, Secp256k1 or ECDSA.
///
/// # Errors
/// [`KeyError::NotAKey`] for anything else.
pub fn decode(bytes: &[u8]) -> Result<Keypair, KeyError> {
    let refuse = |reason: String| KeyError::NotAKey {
        path: PathBuf::new(),
        reason,
    };
    if bytes.is_empty() {
        return Err(refuse("the file is empty".to_owned()));
    }
    if bytes.len() as u64 > MAX_KEY_FILE {
        return Err(refuse(format!("it is larger than {MAX_KEY_FILE} bytes")));
    }
    if let Some(data) = old_ed25519_data(bytes) {
        let (pair, repeated) = data.split_at(64);
        if pair[32..] != *repeated {
            return Err(refuse("its two copies of the public key differ".to_owned()));
        }
        return Keypair::from_protobuf_encoding(&[&ED25519_HEADER[..], &[64], pair].concat())
            .map_err(|error| refuse(error.to_string()));
    }
    Keypair::from_protobuf_encoding(bytes).map_err(|error| refuse(error.to_string()))
}

fn old_ed25519_data(bytes: &[u8]) -> Option<&[u8]> {
    let data = bytes
        .strip_prefix(&ED25519_HEADER)?
        .strip_prefix(&[OLD_ED25519_DATA as u8])?;
    (data.len() == OLD_ED25519_DATA).then_some(data)
}

/// Encodes a key as it is written to a file: 68 bytes for Ed25519.
///
/// # Errors
/// [`KeyError::NotAKey`] for a kind of key that cannot be written (RSA).
pub fn encode(key: &Keypair) -> Result<Vec<u8>, KeyError> {
    key.to_protobuf_encoding()
        .map_err(|error| KeyError::NotAKey {
            path: PathBuf::new(),
            reason: error.to_string(),
        })
}
