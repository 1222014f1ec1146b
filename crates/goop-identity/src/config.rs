//! `goop.json`: every field typed, nothing lost (peer-directory.md 6).
//!
//! Reading follows the Go program: a byte-order mark is skipped, names match in any case, of duplicates the last
//! wins, `null` keeps the default, a wrong type rejects the file. Writing keeps its form (order, two spaces,
//! `\u003c`, no newline at the end) and, unlike it, keeps fields it does not know, replaces the file atomically and
//! never loses the change of another writer.

mod document;
mod sections;
mod validate;

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::{Map, Value};
use tokio::sync::watch;

use crate::files::{self, Privacy};

pub use document::escape_like_go;
pub use sections::{
    Config, IdentitySection, LuaSection, P2pSection, PathsSection, PresenceSection, ProfileSection,
    ViewerSection,
};

/// Largest `goop.json` that is read. A full one takes about 2.5 KB.
const MAX_FILE: u64 = 1024 * 1024;

/// The lock beside the file that keeps two processes from writing at the same time. The Go program ignores it.
const WRITE_LOCK: &str = ".goop.json.lock";

/// What is wrong with a configuration, or with reading and writing it.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file system refused.
    #[error("{path} cannot be {what}: {source}")]
    Io {
        /// The configuration file.
        path: PathBuf,
        /// `read` or `written`.
        what: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// Not JSON, or not the right shape. The file was left alone.
    #[error(
        "{path} cannot be understood: {reason}. It was left alone; mend it or restore it from a backup"
    )]
    Malformed {
        /// The configuration file.
        path: PathBuf,
        /// What is wrong and where.
        reason: String,
    },
    /// A value that makes no sense; the text names field and rule.
    #[error("{0}")]
    Invalid(String),
}

/// The configuration of one peer folder: the newest known value, and the only way to change it.
///
/// Cheap to clone; all clones share one value.
#[derive(Debug, Clone)]
pub struct ConfigStore {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    path: PathBuf,
    /// Held over read-modify-write, so that threads queue up; other processes queue at the lock file.
    writing: Mutex<()>,
    current: watch::Sender<Arc<Config>>,
}

impl ConfigStore {
    /// Opens the file at `path`.
    ///
    /// # Errors
    /// See [`ConfigError`]; a missing file is an `Io` error of kind `NotFound`.
    pub fn open(path: &Path) -> Result<Self, ConfigError> {
        let (config, _) = load(path)?;
        config.validate()?;
        Ok(Self::holding(path, config))
    }

    /// Opens the file at `path`; writes the defaults when there is none.
    ///
    /// # Errors
    /// See [`ConfigError`].
    pub fn open_or_create(path: &Path) -> Result<Self, ConfigError> {
        let text = document::write(&Config::default(), &Map::new());
        match files::create_new(path, text.as_bytes(), Privacy::Secret) {
            Ok(()) => tracing::info!(path = %path.display(), "a default goop.json was written"),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            // Reading decides: an existing file in a read-only folder is fine, none at all is the error to tell.
            Err(_) if path.exists() => {}
            Err(source) => {
                return Err(ConfigError::Io {
                    path: path.to_owned(),
                    what: "written",
                    source,
                });
            }
        }
        Self::open(path)
    }

    fn holding(path: &Path, config: Config) -> Self {
        let (current, _) = watch::channel(Arc::new(config));
        Self {
            inner: Arc::new(Inner {
                path: path.to_owned(),
                writing: Mutex::new(()),
                current,
            }),
        }
    }

    /// The newest known configuration.
    #[must_use]
    pub fn current(&self) -> Arc<Config> {
        self.inner.current.borrow().clone()
    }

    /// A receiver that sees every later configuration.
    #[must_use]
    pub fn subscribe(&self) -> watch::Receiver<Arc<Config>> {
        self.inner.current.subscribe()
    }

    /// Takes over what somebody else wrote into the file. A file that cannot be read or makes no sense changes
    /// nothing: the last known value stays.
    ///
    /// # Errors
    /// See [`ConfigError`].
    pub fn reload(&self) -> Result<Arc<Config>, ConfigError> {
        let (config, _) = load(&self.inner.path)?;
        config.validate()?;
        Ok(self.publish(config))
    }

    /// Changes the configuration: reads the newest file, applies `change`, validates, replaces the file.
    ///
    /// Threads and processes queue up, so no change is lost. A change that changes nothing does not write.
    ///
    /// # Errors
    /// See [`ConfigError`]; file and current value stay as they were.
    pub fn update(&self, change: impl FnOnce(&mut Config)) -> Result<Arc<Config>, ConfigError> {
        let path = &self.inner.path;
        let _thread = self
            .inner
            .writing
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let _process = write_lock(path)?;
        let (before, unknown) = load(path)?;
        let mut after = before.clone();
        change(&mut after);
        after.validate()?;
        if after != before {
            let text = document::write(&after, &unknown);
            files::replace(path, text.as_bytes(), Privacy::Secret).map_err(|source| {
                ConfigError::Io {
                    path: path.clone(),
                    what: "written",
                    source,
                }
            })?;
        }
        Ok(self.publish(after))
    }

    fn publish(&self, config: Config) -> Arc<Config> {
        let config = Arc::new(config);
        self.inner.current.send_if_modified(|current| {
            let differs = **current != *config;
            *current = config.clone();
            differs
        });
        config
    }
}

/// Reads a configuration and, beside it, the document it came from (for the fields nobody here knows).
fn load(path: &Path) -> Result<(Config, Map<String, Value>), ConfigError> {
    let io = |source| ConfigError::Io {
        path: path.to_owned(),
        what: "read",
        source,
    };
    let mut bytes = Vec::new();
    File::open(path)
        .map_err(io)?
        .take(MAX_FILE + 1)
        .read_to_end(&mut bytes)
        .map_err(io)?;
    decode(&bytes).map_err(|reason| ConfigError::Malformed {
        path: path.to_owned(),
        reason,
    })
}

/// Decodes the bytes of a `goop.json` without validating the values. Total: any bytes give a value or a reason.
///
/// # Errors
/// The reason, in words.
pub fn decode(bytes: &[u8]) -> Result<(Config, Map<String, Value>), String> {
    if bytes.len() as u64 > MAX_FILE {
        return Err(format!("it is larger than {MAX_FILE} bytes"));
    }
    document::read(bytes)
}

/// Encodes a configuration in the form the Go program writes, with the unknown fields of `from`.
#[must_use]
pub fn encode(config: &Config, from: &Map<String, Value>) -> String {
    document::write(config, from)
}

/// Holds the lock between processes until dropped.
fn write_lock(path: &Path) -> Result<File, ConfigError> {
    let io = |source| ConfigError::Io {
        path: path.to_owned(),
        what: "written",
        source,
    };
    let real = fs::canonicalize(path).map_err(io)?;
    let lock = real.with_file_name(WRITE_LOCK);
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(lock)
        .map_err(io)?;
    file.lock().map_err(io)?;
    Ok(file)
}
