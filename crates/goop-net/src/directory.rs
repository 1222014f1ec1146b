//! Peers known between runs and the favourites: one small file of our own (`data/peers.json`).
//!
//! It is replaced atomically. Favourites are something a person saved, so they are written at once; the rest follows
//! with the next write, which a `kill -9` may lose. A file that makes no sense is set aside, never overwritten; a row
//! that makes no sense is left out. `docs/decisions/0002-peers-known-between-runs.md` says why this is a file.

use std::borrow::Cow;
use std::cmp::Reverse;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use goop_identity::files::{self, Privacy};
use goop_identity::label::parse_peer_id;
use goop_identity::presence::MAX_ADDRS;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::table::PeerRow;

/// Most peers that are written beside the favourites: those that were met, then those seen last.
pub const MAX_KEPT: usize = 1_000;
/// Largest file that is read (bytes): [`MAX_KEPT`] rows at their bounds, and as many favourites.
const MAX_FILE: u64 = 32 * 1024 * 1024;

#[derive(Debug, Serialize)]
struct Saved<'a> {
    peers: Vec<SavedPeer<'a>>,
}

#[derive(Debug, Deserialize)]
struct Loaded {
    #[serde(default)]
    peers: Vec<Value>,
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct SavedPeer<'a> {
    id: String,
    content: Cow<'a, str>,
    email: Cow<'a, str>,
    avatar_hash: Cow<'a, str>,
    active_template: Cow<'a, str>,
    public_key: Cow<'a, str>,
    goop_client_version: Cow<'a, str>,
    video_disabled: bool,
    verified: bool,
    favorite: bool,
    met: bool,
    /// Unix seconds.
    last_seen: u64,
    addrs: Cow<'a, [String]>,
}

impl<'a> From<&'a PeerRow> for SavedPeer<'a> {
    fn from(row: &'a PeerRow) -> Self {
        Self {
            id: row.id.to_base58(),
            content: (&row.content).into(),
            email: (&row.email).into(),
            avatar_hash: (&row.avatar_hash).into(),
            active_template: (&row.active_template).into(),
            public_key: (&row.public_key).into(),
            goop_client_version: (&row.goop_client_version).into(),
            video_disabled: row.video_disabled,
            verified: row.verified,
            favorite: row.favorite,
            met: row.met,
            last_seen: row
                .last_seen
                .duration_since(UNIX_EPOCH)
                .unwrap_or_default()
                .as_secs(),
            addrs: (&row.addrs).into(),
        }
    }
}

impl SavedPeer<'_> {
    fn into_row(self) -> Option<PeerRow> {
        let seen = UNIX_EPOCH
            .checked_add(Duration::from_secs(self.last_seen))
            .unwrap_or(UNIX_EPOCH);
        let mut row = PeerRow::unknown(parse_peer_id(&self.id)?, seen);
        row.content = self.content.into_owned();
        row.email = self.email.into_owned();
        row.avatar_hash = self.avatar_hash.into_owned();
        row.active_template = self.active_template.into_owned();
        row.public_key = self.public_key.into_owned();
        row.goop_client_version = self.goop_client_version.into_owned();
        row.video_disabled = self.video_disabled;
        row.verified = self.verified;
        row.favorite = self.favorite;
        row.met = self.met;
        row.addrs = self.addrs.into_owned();
        row.addrs.truncate(MAX_ADDRS);
        Some(row)
    }
}

/// The file.
#[derive(Debug, Clone)]
pub struct Directory {
    path: PathBuf,
}

impl Directory {
    /// The file at `path`, which need not exist.
    #[must_use]
    pub fn at(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
        }
    }

    /// The peers of earlier runs. A file that makes no sense is renamed to `….broken` and counts as empty.
    #[must_use]
    pub fn load(&self) -> Vec<PeerRow> {
        let bytes = match read_bounded(&self.path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Vec::new(),
            Err(error) => {
                tracing::warn!(path = %self.path.display(), %error, "peers of earlier runs cannot be read");
                return Vec::new();
            }
        };
        match decode(&bytes) {
            Ok(rows) => rows,
            Err(error) => {
                let aside = self.path.with_extension("json.broken");
                tracing::warn!(path = %self.path.display(), %error, "peers of earlier runs make no sense; set aside");
                if let Err(error) = fs::rename(&self.path, &aside) {
                    tracing::warn!(%error, "the broken file could not be set aside");
                }
                Vec::new()
            }
        }
    }

    /// Writes the peers that are worth keeping: favourites, then those that were met, then those seen last, so that a
    /// flood of strangers pushes nobody out.
    ///
    /// # Errors
    /// When the file system refuses; the old file stays.
    pub fn save(&self, rows: &[PeerRow]) -> io::Result<()> {
        let mut kept: Vec<&PeerRow> = rows.iter().collect();
        kept.sort_by_key(|row| {
            (
                Reverse(row.favorite),
                Reverse(row.met),
                Reverse(row.last_seen),
            )
        });
        kept.truncate(MAX_KEPT + rows.iter().filter(|row| row.favorite).count());
        let saved = Saved {
            peers: kept.into_iter().map(SavedPeer::from).collect(),
        };
        if let Some(folder) = self.path.parent() {
            files::create_secret_folder(folder)?;
        }
        files::replace(
            &self.path,
            &serde_json::to_vec_pretty(&saved)?,
            Privacy::Secret,
        )
    }
}

/// Decodes the bytes of the file; rows that make no sense are left out.
///
/// # Errors
/// When the bytes are not the file's JSON.
pub fn decode(bytes: &[u8]) -> Result<Vec<PeerRow>, serde_json::Error> {
    let loaded: Loaded = serde_json::from_slice(bytes)?;
    let rows = loaded
        .peers
        .into_iter()
        .filter_map(|row| serde_json::from_value(row).ok());
    Ok(rows.filter_map(SavedPeer::into_row).collect())
}

fn read_bounded(path: &Path) -> io::Result<Vec<u8>> {
    use io::Read;
    let mut bytes = Vec::new();
    fs::File::open(path)?
        .take(MAX_FILE + 1)
        .read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_FILE {
        return Err(io::Error::other("the file is too large"));
    }
    Ok(bytes)
}
