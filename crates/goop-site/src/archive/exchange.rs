//! Coming in: a new site takes the place of the old one, which is kept, whole or not at all.

use std::fs;
use std::io::{self, Read, Seek};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::unpack::{DATABASE, Layout, Unpacked, unpack};
use super::{ArchiveError, SCHEMAS, SCRIPT, STATE, clear, stamp};

/// Most sites from before an import that are kept; the oldest go (templates.md 10.4).
pub const MAX_BACKUPS: usize = 5;
/// Where they are.
const BACKUPS: &str = "backups";
/// Scripts lie here within the site and have an entry of their own in archives.
const SCRIPTS: &str = "lua";
/// Written while a site is being replaced.
const JOURNAL: &str = "import.json";
/// In a backup: everything old is in it, what is in the site is new.
const MOVED: &str = "moved";
/// Where an archive is unpacked.
const STAGE: &str = "import";

/// Where an import happens.
#[derive(Debug, Clone)]
pub struct Places {
    /// The site folder. It stays the same folder; what is in it is exchanged.
    pub site: PathBuf,
    /// The folder of the scripts, within the site or elsewhere.
    pub scripts: PathBuf,
    /// A folder of the program's own, on the same disk as the site if possible; it is made when it is needed.
    pub work: PathBuf,
}

/// What an import did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Imported {
    /// Files that came in.
    pub files: usize,
    /// Where the old site is kept.
    pub backup: PathBuf,
    /// Files of the archive that were not taken.
    pub left_out: Vec<String>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Journal {
    backup: PathBuf,
}

/// Replaces a site by what an archive holds, its database left aside. All of it, or nothing: after an error the site is
/// as it was.
///
/// # Errors
/// See [`ArchiveError`].
pub fn import(archive: impl Read + Seek, places: &Places) -> Result<Imported, ArchiveError> {
    Staged::unpack(archive, places)?.exchange()?.keep()
}

/// An archive, unpacked beside the site and found good. Dropping it removes what was unpacked.
#[derive(Debug)]
pub struct Staged {
    places: Places,
    unpacked: Unpacked,
    backup: PathBuf,
}

impl Staged {
    /// Checks and unpacks an archive. The site stays as it is.
    ///
    /// # Errors
    /// See [`ArchiveError`].
    pub fn unpack(archive: impl Read + Seek, places: &Places) -> Result<Self, ArchiveError> {
        let path = places.work.join(JOURNAL);
        if path.exists() {
            return Err(ArchiveError::Refused(
                "an earlier import did not come to its end; start the peer again".to_owned(),
            ));
        }
        fs::create_dir_all(&places.work)?;
        let stage = places.work.join(STAGE);
        clear(&stage)?;
        let mut staged = Self {
            places: places.clone(),
            unpacked: Unpacked::default(),
            backup: places.work.join(BACKUPS).join(stamp()),
        };
        staged.unpacked = unpack(archive, &stage, Layout::Site)?;
        if stage.join("site").exists() {
            Ok(staged)
        } else {
            Err(ArchiveError::NoSite)
        }
    }

    fn stage(&self) -> PathBuf {
        self.places.work.join(STAGE)
    }

    /// Where the files of the archive's database lie (`manifest.json`, `schema.sql`, `schemas/`), if it has one.
    #[must_use]
    pub fn database(&self) -> Option<PathBuf> {
        let folder = self.stage().join(DATABASE);
        (folder.join(SCRIPT).exists() || folder.join(SCHEMAS).exists()).then_some(folder)
    }

    /// The folder, made now, where the old site will be kept, and what else is to be kept with it.
    ///
    /// # Errors
    /// When the disk says no.
    pub fn backup(&self) -> io::Result<&Path> {
        fs::create_dir_all(&self.backup)?;
        Ok(&self.backup)
    }

    /// Puts what was unpacked in the place of the site. It is only there to stay once [`Exchanged::keep`] was called.
    ///
    /// # Errors
    /// See [`ArchiveError`]; the site is as it was.
    pub fn exchange(mut self) -> Result<Exchanged, ArchiveError> {
        self.backup()?;
        exchange(&self.stage(), &self.backup, &self.places)?;
        Ok(Exchanged {
            places: self.places.clone(),
            unpacked: std::mem::take(&mut self.unpacked),
            backup: self.backup.clone(),
        })
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        // What is left is removed by the next import.
        let _ = clear(&self.stage());
        // Only where nothing was put into it.
        let _ = fs::remove_dir(&self.backup);
    }
}

/// A new site is in its place; the old one is kept beside it.
#[derive(Debug)]
#[must_use = "the next start puts the old site back unless it is kept"]
pub struct Exchanged {
    places: Places,
    unpacked: Unpacked,
    backup: PathBuf,
}

impl Exchanged {
    /// The name of the backup, by which [`recover`] knows this exchange.
    #[must_use]
    pub fn mark(&self) -> String {
        mark(&self.backup)
    }

    /// The new site stays.
    ///
    /// # Errors
    /// When the disk says no.
    pub fn keep(self) -> Result<Imported, ArchiveError> {
        settle(&self.places, &self.backup)?;
        keep_newest_backups(&self.places.work.join(BACKUPS));
        Ok(Imported {
            files: self.unpacked.files,
            backup: self.backup,
            left_out: self.unpacked.left_out,
        })
    }

    /// The old site comes back.
    ///
    /// # Errors
    /// When the disk says no; the next start tries again.
    pub fn undo(self) -> Result<(), ArchiveError> {
        put_back(&self.places, &self.backup)?;
        let _ = fs::remove_dir_all(&self.backup);
        Ok(fs::remove_file(self.places.work.join(JOURNAL))?)
    }
}

fn mark(backup: &Path) -> String {
    let name = backup.file_name().unwrap_or_default();
    name.to_string_lossy().into_owned()
}

/// The import is over: nothing is to be undone any more.
fn settle(places: &Places, backup: &Path) -> io::Result<()> {
    fs::remove_file(places.work.join(JOURNAL))?;
    let _ = fs::remove_file(backup.join(MOVED));
    Ok(())
}

/// Puts the old site back if a program was killed while it was being replaced. To be called at the start. An import whose
/// database was brought in (`done` is its [`Exchanged::mark`]) is not undone.
///
/// # Errors
/// When the disk says no.
pub fn recover(places: &Places, done: &str) -> io::Result<()> {
    let path = places.work.join(JOURNAL);
    let journal: Journal = match fs::read(&path) {
        Ok(bytes) => serde_json::from_slice(&bytes)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    if mark(&journal.backup) == done {
        return settle(places, &journal.backup);
    }
    tracing::warn!(backup = %journal.backup.display(), "an import did not come to its end; the old site is put back");
    put_back(places, &journal.backup)?;
    fs::remove_file(path)
}

/// Puts the stage in the place of the site and leaves a note of it.
fn exchange(stage: &Path, backup: &Path, places: &Places) -> Result<(), ArchiveError> {
    let journal = Journal {
        backup: backup.to_owned(),
    };
    let path = places.work.join(JOURNAL);
    goop_identity::files::replace(
        &path,
        &serde_json::to_vec(&journal).map_err(io::Error::from)?,
        goop_identity::files::Privacy::Secret,
    )?;
    let replaced = replace(stage, backup, places);
    if replaced.is_err() {
        put_back(places, backup)?;
        let _ = fs::remove_dir_all(backup);
        fs::remove_file(&path)?;
    }
    Ok(replaced?)
}

/// Their names begin with the time, in as many digits.
fn keep_newest_backups(folder: &Path) {
    let Ok(entries) = fs::read_dir(folder) else {
        return;
    };
    let mut names: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
    names.sort();
    let old = names.len().saturating_sub(MAX_BACKUPS);
    for path in &names[..old] {
        let _ = fs::remove_dir_all(path);
    }
}

/// Whether the scripts are a part of the site folder, by their name in it.
fn scripts_within(places: &Places) -> Option<&Path> {
    places
        .scripts
        .strip_prefix(&places.site)
        .ok()
        .filter(|path| path.components().count() == 1)
}

/// First everything old goes to the backup, then that is noted, then everything new comes. So it is always known what is
/// old and what is new.
fn replace(stage: &Path, backup: &Path, places: &Places) -> io::Result<()> {
    let scripts = scripts_within(places).unwrap_or(Path::new(SCRIPTS));
    let is_scripts = |name: &Path| name == scripts;
    let is_state = |name: &Path| name == Path::new(STATE);
    let new_scripts = stage.join("lua");
    move_children(&places.site, &backup.join("site"), &is_scripts)?;
    if new_scripts.exists() {
        fs::create_dir_all(&places.scripts)?;
        move_children(&places.scripts, &backup.join("lua"), &is_state)?;
    }
    fs::File::create(backup.join(MOVED))?.sync_all()?;
    if new_scripts.exists() {
        move_children(&new_scripts, &places.scripts, &is_state)?;
    }
    move_children(&stage.join("site"), &places.site, &is_scripts)?;
    Ok(())
}

/// Undoes [`replace`], however far it came.
fn put_back(places: &Places, backup: &Path) -> io::Result<()> {
    let scripts = scripts_within(places).unwrap_or(Path::new(SCRIPTS));
    let everything_moved = backup.join(MOVED).exists();
    let parts: [(PathBuf, &Path, &Path); 2] = [
        (backup.join("site"), &places.site, scripts),
        (backup.join("lua"), &places.scripts, Path::new(STATE)),
    ];
    for (old, place, stayed) in parts {
        if !old.exists() {
            continue;
        }
        if everything_moved {
            for entry in fs::read_dir(place)? {
                let name = entry?.file_name();
                if Path::new(&name) != stayed {
                    remove(&place.join(&name))?;
                }
            }
        }
        move_children(&old, place, &|_| false)?;
    }
    Ok(())
}

/// Moves everything in a folder, except what `stays`, into another one, which is made.
fn move_children(from: &Path, to: &Path, stays: &dyn Fn(&Path) -> bool) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let name = entry?.file_name();
        if !stays(Path::new(&name)) {
            move_one(&from.join(&name), &to.join(&name))?;
        }
    }
    Ok(())
}

fn move_one(from: &Path, to: &Path) -> io::Result<()> {
    match fs::rename(from, to) {
        Err(error) if error.kind() == io::ErrorKind::CrossesDevices => {
            copy(from, to)?;
            remove(from)
        }
        other => other,
    }
}

fn copy(from: &Path, to: &Path) -> io::Result<()> {
    let meta = fs::symlink_metadata(from)?;
    if meta.is_dir() {
        fs::create_dir_all(to)?;
        for entry in fs::read_dir(from)? {
            let name = entry?.file_name();
            copy(&from.join(&name), &to.join(&name))?;
        }
        return Ok(());
    }
    fs::copy(from, to).map(drop)
}

fn remove(path: &Path) -> io::Result<()> {
    if fs::symlink_metadata(path)?.is_dir() {
        fs::remove_dir_all(path)
    } else {
        fs::remove_file(path)
    }
}
