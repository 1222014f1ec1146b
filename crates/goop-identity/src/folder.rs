//! The peer folder: where things lie in it (peer-directory.md 5.1), and the lock that keeps it to one process.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};

use crate::config::{ConfigError, ConfigStore};

/// The configuration.
pub const CONFIG_FILE: &str = "goop.json";
/// The own picture.
pub const AVATAR_FILE: &str = "avatar.png";
/// Pictures of others, removed at a polite end.
pub const AVATAR_CACHE: &str = "cache/avatars";
/// Keys and what only this program reads.
pub const DATA_FOLDER: &str = "data";
/// Our lock. The Go program ignores the file; its own processes do not lock.
const LOCK_FILE: &str = ".goop.lock";
/// A process id takes at most 20 digits.
const MAX_LOCK_TEXT: u64 = 32;

/// Why a folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// Nothing there, or not a folder.
    #[error("Peer directory does not exist: {0}")]
    Missing(PathBuf),
    /// Another process has it.
    #[error("{dir} is in use by process {pid}: end that one first, or choose another folder")]
    InUse {
        /// The folder.
        dir: PathBuf,
        /// Who has it, as far as it said.
        pid: String,
    },
    /// The file system refused.
    #[error("{dir} cannot be used: {source}")]
    Io {
        /// The folder.
        dir: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// `goop.json` is not usable.
    #[error("Failed to load config: {0}")]
    Config(#[from] ConfigError),
}

/// An open peer folder. The lock is the operating system's: it ends with the process, however it ends.
#[derive(Debug)]
pub struct PeerFolder {
    root: PathBuf,
    config: ConfigStore,
    _lock: File,
}

impl PeerFolder {
    /// Opens and locks a folder. A missing `goop.json` is written with the defaults; a missing folder is an error.
    ///
    /// # Errors
    /// See [`FolderError`].
    pub fn open(dir: &Path) -> Result<Self, FolderError> {
        let root = existing_folder(dir)?;
        let lock = lock(&root)?;
        let config = ConfigStore::open_or_create(&root.join(CONFIG_FILE))?;
        Ok(Self {
            root,
            config,
            _lock: lock,
        })
    }

    /// The folder as an absolute path.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Where a configured path points: relative ones are meant from the folder, absolute ones stay.
    #[must_use]
    pub fn resolve(&self, configured: &str) -> PathBuf {
        self.root.join(configured)
    }

    /// Its configuration.
    #[must_use]
    pub fn config(&self) -> &ConfigStore {
        &self.config
    }
}

/// The absolute, link-free path of a folder that exists.
///
/// # Errors
/// [`FolderError::Missing`] when there is none, or it is not a folder.
pub fn existing_folder(dir: &Path) -> Result<PathBuf, FolderError> {
    let absolute = std::path::absolute(dir).unwrap_or_else(|_| dir.to_owned());
    match fs::canonicalize(&absolute) {
        Ok(root) if root.is_dir() => Ok(root),
        Err(source) if source.kind() == io::ErrorKind::PermissionDenied => Err(FolderError::Io {
            dir: absolute,
            source,
        }),
        _ => Err(FolderError::Missing(absolute)),
    }
}

fn lock(root: &Path) -> Result<File, FolderError> {
    let io = |source| FolderError::Io {
        dir: root.to_owned(),
        source,
    };
    let mut file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .read(true)
        .write(true)
        .open(root.join(LOCK_FILE))
        .map_err(io)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(fs::TryLockError::WouldBlock) => {
            let mut pid = String::new();
            // What it says is only for the message.
            let _ = file.take(MAX_LOCK_TEXT).read_to_string(&mut pid);
            let pid = if pid.trim().is_empty() {
                "(unknown)".to_owned()
            } else {
                pid.trim().to_owned()
            };
            return Err(FolderError::InUse {
                dir: root.to_owned(),
                pid,
            });
        }
        Err(fs::TryLockError::Error(source)) => return Err(io(source)),
    }
    let note = file
        .set_len(0)
        .and_then(|()| file.rewind())
        .and_then(|()| write!(file, "{}", std::process::id()));
    if let Err(error) = note {
        // A full disk must not keep a peer from starting; only the message for a second starter suffers.
        tracing::debug!(%error, "the lock file does not name this process");
    }
    Ok(file)
}
