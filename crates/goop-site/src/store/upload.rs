//! A file on its way into the site: written beside its target, seen when it is whole.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use cap_std::fs::{Dir, File};
use sha2::{Digest, Sha256};

use super::{IfMatch, MAX_EDITED, Store, StoreError};

/// Bytes read at once.
const CHUNK: usize = 64 * 1024;

/// What came of a write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Saved {
    /// The etag of what is there now.
    pub etag: String,
    /// Brings back what was replaced unseen; `None` where nothing was.
    pub undo: Option<String>,
}

/// A file that is being written.
#[derive(Debug)]
pub struct Upload {
    store: Store,
    path: PathBuf,
    temporary: PathBuf,
    file: File,
    hash: Sha256,
    len: u64,
    kept: bool,
}

impl Upload {
    pub(super) fn new(store: Store, path: PathBuf, temporary: PathBuf, file: File) -> Self {
        Self {
            store,
            path,
            temporary,
            file,
            hash: Sha256::new(),
            len: 0,
            kept: false,
        }
    }

    /// Adds bytes.
    ///
    /// # Errors
    /// [`StoreError::Full`], or when the disk fails.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        self.file.write_all(bytes)?;
        self.hash.update(bytes);
        self.len += bytes.len() as u64;
        Ok(())
    }

    /// Puts the file in its place if that is still as the writer knows it. What [`IfMatch::Any`] replaces is kept in the
    /// bin. A save that comes a second time (a double click) finds its own text there and is fine.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when the place is not as the writer knows it; the file there stays.
    pub fn commit(mut self, known: &IfMatch) -> Result<Saved, StoreError> {
        self.file.sync_all()?;
        let etag = etag_of(std::mem::take(&mut self.hash));
        let store = self.store.clone();
        let _turn = store.turn();
        let root = &store.inner.root;
        let mut undo = None;
        match known {
            IfMatch::Any if self.is_there(&etag) => return Ok(Saved { etag, undo }),
            IfMatch::Any => undo = store.keep_older(&self.path, &etag)?,
            IfMatch::New if !store.exists(&self.path) => {}
            IfMatch::New => return Err(StoreError::Conflict),
            IfMatch::Is(known) => {
                let mut now = store.file(&self.path).map_err(|_| StoreError::Conflict)?;
                let now = hash(&mut now, None)?.0;
                if now == etag {
                    return Ok(Saved { etag, undo });
                }
                if now != *known {
                    return Err(StoreError::Conflict);
                }
            }
        }
        root.rename(&self.temporary, root, &self.path)?;
        self.kept = true;
        sync_folder(root, &self.path);
        if undo.is_some() {
            store.trim_older();
        }
        Ok(Saved { etag, undo })
    }

    /// Whether the same bytes are in the place already. Files of other lengths need not be read for it.
    fn is_there(&self, etag: &str) -> bool {
        let Ok(mut now) = self.store.file(&self.path) else {
            return false;
        };
        now.metadata().is_ok_and(|meta| meta.len() == self.len)
            && hash(&mut now, None).is_ok_and(|(now, _)| now == etag)
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        if !self.kept {
            let _ = self.store.inner.root.remove_file(&self.temporary);
        }
    }
}

/// The rename itself survives a crash only when the folder reached the disk, too.
pub(super) fn sync_folder(root: &Dir, path: &Path) {
    let parent = path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty());
    let folder = match parent {
        Some(parent) => root.open_dir(parent),
        None => root.try_clone(),
    };
    if let Ok(folder) = folder {
        // Not every file system can.
        let _ = folder.into_std_file().sync_all();
    }
}

/// The etag, and the bytes if wanted and no more than so many.
pub(super) fn hash(
    file: &mut File,
    keep: Option<u64>,
) -> Result<(String, Option<Vec<u8>>), StoreError> {
    let mut hash = Sha256::new();
    let mut kept = keep.map(|len| Vec::with_capacity(usize::try_from(len).unwrap_or_default()));
    let mut chunk = vec![0; CHUNK];
    loop {
        let read = file.read(&mut chunk).map_err(StoreError::Io)?;
        if read == 0 {
            return Ok((etag_of(hash), kept));
        }
        hash.update(&chunk[..read]);
        if let Some(bytes) = &mut kept {
            bytes.extend_from_slice(&chunk[..read]);
            // It grew while it was read.
            if bytes.len() as u64 > MAX_EDITED {
                kept = None;
            }
        }
    }
}

fn etag_of(hash: Sha256) -> String {
    use std::fmt::Write;
    hash.finalize()
        .iter()
        .fold("sha256:".to_owned(), |mut text, byte| {
            // Writing to a String cannot fail.
            let _ = write!(text, "{byte:02x}");
            text
        })
}

/// The etag of some bytes.
#[must_use]
pub fn etag(bytes: &[u8]) -> String {
    etag_of(Sha256::new_with_prefix(bytes))
}
