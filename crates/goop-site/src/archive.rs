//! A whole site in one zip file, out and in (viewer-api.md 10.2 and 10.3).
//!
//! Going out it is written as it is read, so a site of any size takes no memory. Coming in, the archive is checked and
//! unpacked beside the site first; only a whole one takes its place, what was there is kept as a backup, and a program
//! that is killed in between puts the old site back at its next start.

mod exchange;
mod unpack;
mod write;

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};

pub use exchange::{Exchanged, Imported, MAX_BACKUPS, Places, Staged, import, recover};
pub use unpack::{MAX_FILES, MAX_UNPACKED, restore, unpack_database};
pub use write::{Writer, export_files, export_manifest};

/// What an archive says of itself.
const MANIFEST: &str = "manifest.json";
/// Tables and rows of its database, as SQL.
const SCRIPT: &str = "schema.sql";
/// Schemas of its tables, a file each.
const SCHEMAS: &str = "schemas";
/// What scripts remember; not exported and not replaced.
const STATE: &str = ".state";

/// Why an archive was not taken, or not written.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// It is no zip file, or a broken one.
    #[error("failed to extract zip: {0}")]
    Broken(String),
    /// It holds something that no export of a site does.
    #[error("failed to import: {0}")]
    Refused(String),
    /// There is no site in it.
    #[error(
        "failed to import: the archive holds no site (a folder `site/` or a file `index.html`)"
    )]
    NoSite,
    /// The disk is full, or a quota is used up.
    #[error(
        "failed to import: No space left on the disk. The site is as it was; make room and try again"
    )]
    Full,
    /// The disk said no.
    #[error("failed to import: {0}")]
    Io(#[source] io::Error),
}

impl From<io::Error> for ArchiveError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::StorageFull
            | io::ErrorKind::QuotaExceeded
            | io::ErrorKind::FileTooLarge => Self::Full,
            _ => Self::Io(error),
        }
    }
}

impl From<zip::result::ZipError> for ArchiveError {
    fn from(error: zip::result::ZipError) -> Self {
        match error {
            zip::result::ZipError::Io(error)
                if error.kind() != io::ErrorKind::InvalidData
                    && error.kind() != io::ErrorKind::UnexpectedEof =>
            {
                error.into()
            }
            other => Self::Broken(other.to_string()),
        }
    }
}

/// What an archive says of itself.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Manifest {
    /// 1.
    pub version: u32,
    /// Name of the peer.
    pub label: String,
    /// RFC 3339, UTC.
    pub exported_at: String,
    /// Whether scripts ran.
    pub lua_enabled: bool,
    /// Who may add rows to the tables of its database.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub tables: BTreeMap<String, TablePolicy>,
    /// Tables whose file below `schemas/` is their schema.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub schemas: Vec<String>,
    /// Whether visitors must have an e-mail address.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub require_email: bool,
}

/// What an archive says of one table.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct TablePolicy {
    /// Who may add rows.
    pub insert_policy: String,
}

fn clear(folder: &Path) -> io::Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// A name for what is kept from before an import: names sort by time.
#[must_use]
pub fn stamp() -> String {
    let since = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap_or_default();
    format!("site-{}", since.as_millis())
}
