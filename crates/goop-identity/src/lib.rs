#![doc = include_str!("../README.md")]
//!
//! | Module | Offers |
//! |---|---|
//! | [`folder`] | the peer folder, its layout and its lock |
//! | [`config`] | `goop.json`: typed, lossless, replaced atomically |
//! | [`key`] | the identity key file |
//! | [`seal`] | NaCl sealing of payloads |
//! | [`avatar`] | the own picture and the drawn initials |
//! | [`presence`] | the presence record, plain and signed |
//! | [`label`] | peer ids as text and as host labels |

pub mod avatar;
pub mod config;
pub mod files;
pub mod folder;
pub mod key;
pub mod label;
pub mod presence;
pub mod seal;

use std::fmt;

pub use libp2p_identity::{Keypair, PeerId};

use config::Config;
use folder::PeerFolder;
use seal::NaclKeys;

/// Who this peer is: the libp2p key pair and, where the folder has a usable one, the NaCl pair.
#[derive(Clone)]
pub struct Identity {
    /// The key pair that proves the peer id.
    pub keypair: Keypair,
    /// The id others know this peer by.
    pub peer_id: PeerId,
    /// The pair that payloads are sealed with. `None` when `goop.json` holds one that cannot be read: the peer goes
    /// on without sealing, as the Go program does (peer-directory.md 2.2, step 6).
    pub nacl: Option<NaclKeys>,
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity")
            .field("peer_id", &self.peer_id)
            .finish_non_exhaustive()
    }
}

/// Why an identity could not be loaded.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// The key file is there but not usable, or could not be made.
    #[error(transparent)]
    Key(#[from] key::KeyError),
    /// The freshly made NaCl keys could not be saved.
    #[error("the sealing keys could not be saved: {0}")]
    Config(#[from] config::ConfigError),
}

impl Identity {
    /// Loads the identity of a folder; makes key file and NaCl pair where they do not exist yet.
    ///
    /// # Errors
    /// A key file that exists and cannot be read is an error and stays as it is: a new key would be another peer.
    pub fn load(folder: &PeerFolder) -> Result<Self, IdentityError> {
        let config = folder.config().current();
        let keypair = key::load_or_create(&folder.resolve(&config.identity.key_file))?;
        let peer_id = keypair.public().to_peer_id();
        let nacl = sealing_keys(folder)?;
        Ok(Self {
            keypair,
            peer_id,
            nacl,
        })
    }
}

/// The NaCl pair of a folder; made and saved where there is none. A folder that runs a rendezvous server alone has one, too
/// (rendezvous.md 20). `None` when `goop.json` holds one that cannot be read; it stays as it is.
///
/// # Errors
/// A fresh pair could not be saved.
pub fn sealing_keys(folder: &PeerFolder) -> Result<Option<NaclKeys>, config::ConfigError> {
    let config = folder.config().current();
    let p2p = &config.p2p;
    if p2p.nacl_public_key.is_empty() || p2p.nacl_private_key.is_empty() {
        let fresh = NaclKeys::generate();
        let newest = folder.config().update(|config| {
            // Another process may have been faster; its pair is as good.
            if config.p2p.nacl_public_key.is_empty() || config.p2p.nacl_private_key.is_empty() {
                config.p2p.nacl_public_key = fresh.public.to_base64();
                config.p2p.nacl_private_key = fresh.secret.to_base64();
            }
        })?;
        return Ok(NaclKeys::from_base64(&newest.p2p.nacl_private_key).ok());
    }
    match NaclKeys::from_base64(&p2p.nacl_private_key) {
        Ok(keys) => Ok(Some(keys)),
        Err(error) => {
            tracing::warn!(%error, "p2p.nacl_private_key cannot be used; payloads will not be sealed");
            Ok(None)
        }
    }
}

/// What a person says about themselves, with the defaults that are announced (peer-directory.md 2.1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Profile {
    /// The display name; `hello` when none is set.
    pub label: String,
    /// The e-mail address as announced, maybe empty.
    pub email: String,
    /// Whether calls are disabled.
    pub video_disabled: bool,
    /// The applied template, maybe empty.
    pub active_template: String,
}

/// The name of a peer that gave none.
pub const DEFAULT_LABEL: &str = "hello";

impl Profile {
    /// The profile that a configuration describes.
    #[must_use]
    pub fn of(config: &Config) -> Self {
        let label = config.profile.label.trim();
        Self {
            label: if label.is_empty() {
                DEFAULT_LABEL.to_owned()
            } else {
                label.to_owned()
            },
            email: config.profile.email.clone(),
            video_disabled: config.viewer.video_disabled,
            active_template: config.viewer.active_template.clone(),
        }
    }
}
