//! The bin: what was deleted from the site, and older versions of files that were replaced by a writer who did not say
//! what it knew of them. It lies outside the site, and each thing in it has a token that brings it back.
//!
//! A thing is a folder named by its token with `path` (where it was), `item`, and for an older version `replaced` (the
//! etag of what came after it).

use std::io;
use std::path::Path;

use cap_std::ambient_authority;
use cap_std::fs::Dir;

use super::upload::{hash, sync_folder};
use super::{Store, StoreError, StorePath, TEMPORARY, copy_tree, remove_tree, text_of, token};

/// Most deleted things that can be brought back; the oldest go.
pub const MAX_DELETED: usize = 50;
/// Most older versions that can be brought back; the oldest go.
pub const MAX_OLDER: usize = 50;
/// Most bytes of all older versions together, the newest not counted: large files that a program sends again and again
/// must not fill the disk.
pub const MAX_OLDER_BYTES: u64 = 256 * 1024 * 1024;
/// Older versions have a folder of their own, so that many of them never push out what was deleted.
const OLDER: &str = "older";
const ITEM: &str = "item";
const PATH: &str = "path";
const REPLACED: &str = "replaced";

/// What came back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Restored {
    /// Where it is.
    pub path: String,
    /// Brings back what an older version took the place of.
    pub undo: Option<String>,
}

impl Store {
    /// Puts a file, or a folder with everything in it, into the bin. Gives the token that brings it back.
    ///
    /// # Errors
    /// [`StoreError::NotFound`].
    pub fn delete(&self, path: &StorePath) -> Result<String, StoreError> {
        let _turn = self.turn();
        if !self.exists(&path.0) {
            return Err(StoreError::NotFound);
        }
        let (bin, token) = (self.bin()?, token());
        let place = new_place(&bin, &token, &path.as_text())?;
        let root = &self.inner.root;
        let mut is_copy = false;
        let taken = match root.rename(&path.0, &place, ITEM) {
            Err(error) if error.kind() == io::ErrorKind::CrossesDevices => {
                is_copy = true;
                copy_tree(root, &path.0, &place, Path::new(ITEM))
            }
            other => other,
        };
        if let Err(error) = taken {
            let _ = bin.remove_dir_all(&token);
            return Err(error.into());
        }
        if is_copy {
            // The whole copy stays in the bin, however far this comes.
            remove_tree(root, &path.0)?;
        }
        keep_newest(&bin, MAX_DELETED, u64::MAX);
        Ok(token)
    }

    /// Keeps what is at `path` as an older version of what will have the etag `by`; `None` where nothing is. The file
    /// stays in its place: at no moment is there none. The bin is trimmed by [`Store::trim_older`], later.
    pub(super) fn keep_older(&self, path: &Path, by: &str) -> Result<Option<String>, StoreError> {
        if !self.exists(path) {
            return Ok(None);
        }
        let bin = self.bin()?;
        bin.create_dir_all(OLDER)?;
        let (bin, token) = (bin.open_dir(OLDER)?, token());
        let place = new_place(&bin, &token, &text_of(path))?;
        let root = &self.inner.root;
        let kept = place.write(REPLACED, by).and_then(|()| {
            // A link costs nothing; on another disk, or one that has no links, it is a copy.
            root.hard_link(path, &place, ITEM)
                .or_else(|_| root.copy(path, &place, ITEM).map(drop))
        });
        if let Err(error) = kept {
            let _ = bin.remove_dir_all(&token);
            return Err(error.into());
        }
        Ok(Some(token))
    }

    /// Drops older versions beyond their limits.
    pub(super) fn trim_older(&self) {
        if let Ok(older) = self.bin().and_then(|bin| bin.open_dir(OLDER)) {
            keep_newest(&older, MAX_OLDER, MAX_OLDER_BYTES);
        }
    }

    /// Brings back what [`Store::delete`] took or a write replaced.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] when it is too long ago, [`StoreError::Exists`] when something else has its place,
    /// [`StoreError::Conflict`] when the file was changed after it was replaced. It stays in the bin then.
    pub fn restore(&self, token: &str) -> Result<Restored, StoreError> {
        let is_token = |byte: u8| byte.is_ascii_hexdigit() || byte == b'-';
        if token.is_empty() || !token.bytes().all(is_token) {
            return Err(StoreError::NotFound);
        }
        let _turn = self.turn();
        let deleted = self.bin()?;
        let bin = match deleted.symlink_metadata(token) {
            Ok(_) => deleted,
            Err(_) => deleted.open_dir(OLDER)?,
        };
        let place = bin.open_dir(token)?;
        let path = StorePath::parse(&place.read_to_string(PATH)?)?;
        let mut undo = None;
        if self.exists(&path.0) {
            let Ok(replaced) = place.read_to_string(REPLACED) else {
                return Err(StoreError::Exists);
            };
            let mut now = self.file(&path.0).map_err(|_| StoreError::Conflict)?;
            if hash(&mut now, None)?.0 != replaced {
                return Err(StoreError::Conflict);
            }
            // Of a link there is no etag; it comes back all the same, once.
            let older = place.open(ITEM).ok();
            let older = older.and_then(|mut older| hash(&mut older, None).ok());
            undo = self.keep_older(&path.0, &older.unwrap_or_default().0)?;
        }
        self.make_parents(&path.0)?;
        self.bring(&place, &path.0)?;
        let _ = bin.remove_dir_all(token);
        self.trim_older();
        Ok(Restored {
            path: path.as_text(),
            undo,
        })
    }

    /// Moves the item of a thing to its place in one step.
    fn bring(&self, place: &Dir, path: &Path) -> io::Result<()> {
        let root = &self.inner.root;
        match place.rename(ITEM, root, path) {
            Err(error) if error.kind() == io::ErrorKind::CrossesDevices => {
                let beside = path.with_file_name(format!("{TEMPORARY}{}", token()));
                let copied = copy_tree(place, Path::new(ITEM), root, &beside)
                    .and_then(|()| root.rename(&beside, root, path));
                if copied.is_err() {
                    let _ = remove_tree(root, &beside);
                }
                copied?;
            }
            other => other?,
        }
        sync_folder(root, path);
        Ok(())
    }

    fn bin(&self) -> io::Result<Dir> {
        std::fs::create_dir_all(&self.inner.bin)?;
        Dir::open_ambient_dir(&self.inner.bin, ambient_authority())
    }
}

/// Makes the folder of a thing.
fn new_place(bin: &Dir, token: &str, path: &str) -> io::Result<Dir> {
    bin.create_dir(token)?;
    let made = bin
        .open_dir(token)
        .and_then(|place| place.write(PATH, path).map(|()| place));
    if made.is_err() {
        let _ = bin.remove_dir_all(token);
    }
    made
}

/// Only the newest stay, the very newest in any case. Tokens begin with their time, so they sort by age.
fn keep_newest(bin: &Dir, most: usize, most_bytes: u64) {
    let Ok(entries) = bin.entries() else { return };
    let mut tokens: Vec<_> = entries
        .flatten()
        .map(|entry| entry.file_name())
        .filter(|name| name != OLDER)
        .collect();
    tokens.sort();
    let mut bytes = 0_u64;
    for (age, token) in tokens.iter().rev().enumerate() {
        if age > 0 && most_bytes < u64::MAX {
            let item = Path::new(token).join(ITEM);
            bytes = bytes.saturating_add(bin.metadata(item).map_or(0, |meta| meta.len()));
        }
        if age >= most || bytes > most_bytes {
            let _ = bin.remove_dir_all(token);
        }
    }
}
