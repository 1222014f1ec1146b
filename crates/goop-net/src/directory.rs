//! Peers known between runs and the favourites: one small file of our own (`data/peers.json`).
//!
//! It is replaced atomically. Favourites are something a person saved, so they are written at once; the rest follows
//! with the next write. A file that cannot be read is set aside, never overwritten.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use goop_identity::files::{self, Privacy};
use goop_identity::label::parse_peer_id;
use serde::{Deserialize, Serialize};

use crate::table::PeerRow;

/// Most peers that are written; the ones seen last win.
pub const MAX_KEPT: usize = 1_000;
/// Largest file that is read: [`MAX_KEPT`] rows at their bounds.
const MAX_FILE: u64 = 16 * 1024 * 1024;

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Saved {
    peers: Vec<SavedPeer>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct SavedPeer {
    id: String,
    content: String,
    email: String,
    avatar_hash: String,
    active_template: String,
    public_key: String,
    goop_client_version: String,
    video_disabled: bool,
    verified: bool,
    favorite: bool,
    last_seen: u64,
    addrs: Vec<String>,
}

impl Default for SavedPeer {
    fn default() -> Self {
        Self::from(&PeerRow::unknown(goop_identity::PeerId::random(), UNIX_EPOCH))
    }
}

impl From<&PeerRow> for SavedPeer {
    fn from(row: &PeerRow) -> Self {
        Self {
            id: row.id.to_base58(),
            content: row.content.clone(),
            email: row.email.clone(),
            avatar_hash: row.avatar_hash.clone(),
            active_template: row.active_template.clone(),
            public_key: row.public_key.clone(),
            goop_client_version: row.goop_client_version.clone(),
            video_disabled: row.video_disabled,
            verified: row.verified,
            favorite: row.favorite,
            last_seen: row.last_seen.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs(),
            addrs: row.addrs.clone(),
        }
    }
}

impl SavedPeer {
    fn into_row(self) -> Option<PeerRow> {
        let seen = UNIX_EPOCH.checked_add(Duration::from_secs(self.last_seen)).unwrap_or(UNIX_EPOCH);
        let mut row = PeerRow::unknown(parse_peer_id(&self.id)?, seen);
        row.content = self.content;
        row.email = self.email;
        row.avatar_hash = self.avatar_hash;
        row.active_template = self.active_template;
        row.public_key = self.public_key;
        row.goop_client_version = self.goop_client_version;
        row.video_disabled = self.video_disabled;
        row.verified = self.verified;
        row.favorite = self.favorite;
        row.addrs = self.addrs;
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
        Self { path: path.to_owned() }
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

    /// Writes the peers that are worth keeping: favourites, then those seen last.
    ///
    /// # Errors
    /// When the file system refuses; the old file stays.
    pub fn save(&self, rows: &[PeerRow]) -> io::Result<()> {
        let mut kept: Vec<&PeerRow> = rows.iter().collect();
        kept.sort_by_key(|row| (std::cmp::Reverse(row.favorite), std::cmp::Reverse(row.last_seen)));
        kept.truncate(MAX_KEPT.max(rows.iter().filter(|row| row.favorite).count()));
        let saved = Saved { peers: kept.into_iter().map(SavedPeer::from).collect() };
        if let Some(folder) = self.path.parent() {
            files::create_secret_folder(folder)?;
        }
        files::replace(&self.path, &serde_json::to_vec_pretty(&saved)?, Privacy::Secret)
    }
}

/// Decodes the bytes of the file; rows with an id that is none are left out.
///
/// # Errors
/// When the bytes are not the file's JSON.
pub fn decode(bytes: &[u8]) -> Result<Vec<PeerRow>, serde_json::Error> {
    let saved: Saved = serde_json::from_slice(bytes)?;
    Ok(saved.peers.into_iter().filter_map(SavedPeer::into_row).collect())
}

fn read_bounded(path: &Path) -> io::Result<Vec<u8>> {
    use io::Read;
    let mut bytes = Vec::new();
    fs::File::open(path)?.take(MAX_FILE + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_FILE {
        return Err(io::Error::other("the file is too large"));
    }
    Ok(bytes)
}

