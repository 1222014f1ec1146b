//! A whole site in one zip file, out and in (viewer-api.md 10.2 and 10.3).
//!
//! Going out it is written as it is read, so a site of any size takes no memory. Coming in, the archive is checked and
//! unpacked beside the site first; only a whole one takes its place, what was there is kept as a backup, and a program
//! that is killed in between puts the old site back at its next start.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use zip::write::{SimpleFileOptions, StreamWriter};
use zip::{CompressionMethod, DateTime, ZipArchive, ZipWriter};

use crate::path::MAX_PATH;

/// Most files of an archive that comes in.
pub const MAX_FILES: usize = 100_000;
/// Most bytes of all files of an archive that comes in, unpacked.
pub const MAX_UNPACKED: u64 = 4 * 1024 * 1024 * 1024;
/// An archive that unpacks to more than this many times its own size (and [`HARMLESS`]) is a trap, not a site.
const MAX_RATIO: u64 = 200;
/// So much unpacked never fills a disk.
const HARMLESS: u64 = 64 * 1024 * 1024;
/// Most sites from before an import that are kept; the oldest go (templates.md 10.4).
pub const MAX_BACKUPS: usize = 5;
/// Where they are.
const BACKUPS: &str = "backups";
/// Bytes copied at once.
const CHUNK: usize = 64 * 1024;
/// Scripts lie here within the site and have an entry of their own in archives.
const SCRIPTS: &str = "lua";
/// What an archive says of itself.
const MANIFEST: &str = "manifest.json";
/// Tables and rows of its database, as SQL.
const SCRIPT: &str = "schema.sql";
/// Schemas of its tables, a file each.
const SCHEMAS: &str = "schemas";
/// Where the files of its database go in the stage.
const DATABASE: &str = "database";
/// What scripts remember; not exported and not replaced.
const STATE: &str = ".state";
/// Written while a site is being replaced.
const JOURNAL: &str = "import.json";
/// In a backup: everything old is in it, what is in the site is new.
const MOVED: &str = "moved";
/// Where an archive is unpacked.
const STAGE: &str = "import";

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

/// An archive that is being written, part by part.
pub struct Writer<W: Write> {
    zip: ZipWriter<StreamWriter<W>>,
}

impl<W: Write> std::fmt::Debug for Writer<W> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Writer").finish_non_exhaustive()
    }
}

impl<W: Write> Writer<W> {
    /// An archive that goes to `sink` as it is made; `sink` need not seek.
    #[must_use]
    pub fn new(sink: W) -> Self {
        Self {
            zip: ZipWriter::new_stream(sink),
        }
    }

    /// Adds a file from memory.
    ///
    /// # Errors
    /// When the sink fails.
    pub fn bytes(&mut self, name: &str, bytes: &[u8]) -> io::Result<()> {
        self.zip
            .start_file(name, options(name))
            .map_err(io::Error::other)?;
        self.zip.write_all(bytes)
    }

    /// Adds a file from a reader.
    ///
    /// # Errors
    /// When either side fails.
    pub fn file(&mut self, name: &str, mut from: impl Read) -> io::Result<()> {
        self.zip
            .start_file(name, options(name))
            .map_err(io::Error::other)?;
        let mut chunk = vec![0; CHUNK];
        loop {
            match from.read(&mut chunk)? {
                0 => return Ok(()),
                read => self.zip.write_all(&chunk[..read])?,
            }
        }
    }

    /// Adds every plain file below a folder, with `prefix` before its path, in the order of their names. Links are left
    /// out, and what `skip` says of a path relative to the folder. A file that vanishes meanwhile is left out, too.
    ///
    /// # Errors
    /// When the sink fails or a file cannot be read to its end.
    pub fn tree(
        &mut self,
        prefix: &str,
        folder: &Path,
        skip: &dyn Fn(&Path) -> bool,
    ) -> io::Result<()> {
        let mut folders = vec![PathBuf::new()];
        while let Some(below) = folders.pop() {
            let Ok(entries) = fs::read_dir(folder.join(&below)) else {
                continue;
            };
            let mut names: Vec<_> = entries.flatten().map(|entry| entry.file_name()).collect();
            names.sort();
            for name in names {
                let path = below.join(&name);
                if skip(&path) || name.to_string_lossy().starts_with(".goop-") {
                    continue;
                }
                let full = folder.join(&path);
                let Ok(meta) = fs::symlink_metadata(&full) else {
                    continue;
                };
                if meta.is_dir() {
                    folders.push(path);
                } else if meta.is_file() {
                    let Ok(file) = fs::File::open(&full) else {
                        continue;
                    };
                    let parts: Vec<_> = path.iter().map(|part| part.to_string_lossy()).collect();
                    self.file(&format!("{prefix}{}", parts.join("/")), file)?;
                }
            }
        }
        Ok(())
    }

    /// Writes the end.
    ///
    /// # Errors
    /// When the sink fails.
    pub fn finish(self) -> io::Result<()> {
        self.zip
            .finish()
            .map_err(io::Error::other)?
            .into_inner()
            .flush()
    }
}

/// What is packed already is stored as it is. Every file may be larger than 4 GiB.
fn options(name: &str) -> SimpleFileOptions {
    const PACKED: [&str; 12] = [
        "png", "jpg", "jpeg", "gif", "webp", "zip", "gz", "mp3", "mp4", "webm", "ogg", "woff2",
    ];
    let ending = name.rsplit('.').next().unwrap_or_default().to_lowercase();
    let method = if PACKED.contains(&ending.as_str()) {
        CompressionMethod::Stored
    } else {
        CompressionMethod::Deflated
    };
    SimpleFileOptions::default()
        .compression_method(method)
        .large_file(true)
        .last_modified_time(DateTime::default())
}

/// Writes what an archive says of itself.
///
/// # Errors
/// When the sink fails.
pub fn export_manifest<W: Write>(writer: &mut Writer<W>, manifest: &Manifest) -> io::Result<()> {
    writer.bytes(MANIFEST, &serde_json::to_vec_pretty(manifest)?)
}

/// Writes the files of a site: `site/…` without scripts, and `lua/…` without what they remember.
///
/// # Errors
/// When the sink fails or a file cannot be read to its end.
pub fn export_files<W: Write>(
    writer: &mut Writer<W>,
    site: &Path,
    scripts: &Path,
) -> io::Result<()> {
    let within = scripts.strip_prefix(site).ok().map(Path::to_owned);
    writer.tree("site/", site, &|path| within.as_deref() == Some(path))?;
    writer.tree("lua/", scripts, &|path| path.starts_with(STATE))
}

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

/// Unpacks the database of an archive (`manifest.json`, `schema.sql`, `schemas/`) into `folder`, which must not exist or
/// be empty. Its site and scripts are left aside.
///
/// # Errors
/// See [`ArchiveError`].
pub fn unpack_database(archive: impl Read + Seek, folder: &Path) -> Result<(), ArchiveError> {
    fs::create_dir_all(folder)?;
    unpack(archive, folder, Layout::Database).map(drop)
}

/// Unpacks an archive of a whole folder into `folder`, which must not exist or be empty. All of it or nothing.
///
/// # Errors
/// See [`ArchiveError`].
pub fn restore(archive: impl Read + Seek, folder: &Path) -> Result<usize, ArchiveError> {
    if fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_some()) {
        return Err(ArchiveError::Refused(format!(
            "{} is not empty",
            folder.display()
        )));
    }
    fs::create_dir_all(folder)?;
    let unpacked = unpack(archive, folder, Layout::AsItIs);
    if unpacked.is_err() {
        clear(folder)?;
    }
    unpacked.map(|unpacked| unpacked.files)
}

/// What the names of an archive mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Layout {
    /// An export, or a plain zip of a site.
    Site,
    /// The files of an export's database alone.
    Database,
    /// Paths below the folder.
    AsItIs,
}

/// What was unpacked.
#[derive(Debug, Default)]
struct Unpacked {
    files: usize,
    /// Names of files that have no place here.
    left_out: Vec<String>,
}

/// Unpacks into an empty folder.
fn unpack(
    mut archive: impl Read + Seek,
    stage: &Path,
    layout: Layout,
) -> Result<Unpacked, ArchiveError> {
    let len = archive.seek(io::SeekFrom::End(0))?;
    let mut zip = ZipArchive::new(archive)?;
    // Programs do not agree which of two is meant.
    if zip.has_duplicate_names() {
        return Err(ArchiveError::Refused("it holds a name twice".to_owned()));
    }
    if zip.len() > MAX_FILES {
        return Err(ArchiveError::Refused(format!(
            "it holds more than {MAX_FILES} files"
        )));
    }
    // Bytes that count for several files are how small archives unpack to huge ones.
    if zip.has_overlapping_entries()? {
        return Err(ArchiveError::Refused(
            "its files overlap each other".to_owned(),
        ));
    }
    let mut names = Vec::with_capacity(zip.len());
    let (mut packed, mut unpacked) = (0_u64, 0_u64);
    for index in 0..zip.len() {
        let entry = zip.by_index_raw(index)?;
        if entry.encrypted() {
            return Err(ArchiveError::Refused("it is encrypted".to_owned()));
        }
        if entry.is_symlink() {
            return Err(ArchiveError::Refused(format!(
                "{:?} is a link",
                entry.name()
            )));
        }
        packed = packed.saturating_add(entry.compressed_size());
        unpacked = unpacked.saturating_add(entry.size());
        names.push(if entry.is_dir() {
            None
        } else {
            Some(clean(&entry.name()?)?)
        });
    }
    let packed = packed.min(len);
    if unpacked > MAX_UNPACKED || unpacked > HARMLESS.max(packed.saturating_mul(MAX_RATIO)) {
        return Err(ArchiveError::Refused(
            "it unpacks to more than any site needs".to_owned(),
        ));
    }
    let strip = match layout {
        Layout::Site | Layout::Database => common_folder(&names),
        Layout::AsItIs => String::new(),
    };
    let mut seen = BTreeSet::new();
    let mut left = unpacked;
    let mut done = Unpacked::default();
    for (index, name) in names.iter().enumerate() {
        let Some(name) = name else { continue };
        let name = name.strip_prefix(&strip).unwrap_or(name);
        let target = match layout {
            Layout::Site => place_of(name),
            Layout::Database => place_in_database(name),
            Layout::AsItIs => Some(PathBuf::from(name)),
        };
        let Some(target) = target else {
            done.left_out.push(name.to_owned());
            continue;
        };
        if !seen.insert(target.clone()) {
            return Err(ArchiveError::Refused(format!("it holds {name:?} twice")));
        }
        let mut entry = zip.by_index(index)?;
        let path = stage.join(&target);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).map_err(|error| in_the_way(name, error))?;
        }
        let mut file = fs::File::create_new(&path).map_err(|error| in_the_way(name, error))?;
        // What the archive says of its sizes was checked; what it holds may be more.
        let copied = io::copy(&mut (&mut entry).take(left.saturating_add(1)), &mut file).map_err(
            |error| match error.kind() {
                io::ErrorKind::InvalidData
                | io::ErrorKind::InvalidInput
                | io::ErrorKind::UnexpectedEof
                | io::ErrorKind::Other => ArchiveError::Broken(format!("{name:?}: {error}")),
                _ => error.into(),
            },
        )?;
        left = left
            .checked_sub(copied)
            .ok_or_else(|| ArchiveError::Refused("it unpacks to more than it says".to_owned()))?;
        file.sync_all()?;
        done.files += usize::from(layout != Layout::Site || !target.starts_with(DATABASE));
    }
    Ok(done)
}

fn in_the_way(name: &str, error: io::Error) -> ArchiveError {
    match error.kind() {
        // Where the disk does not tell cases apart, a name that differs only in that exists, too.
        io::ErrorKind::AlreadyExists => {
            ArchiveError::Refused(format!("{name:?} and another name are one on this disk"))
        }
        io::ErrorKind::NotADirectory | io::ErrorKind::IsADirectory => {
            ArchiveError::Refused(format!("{name:?} is a file and a folder"))
        }
        io::ErrorKind::InvalidFilename => {
            ArchiveError::Refused(format!("{name:?} is too long a name for this disk"))
        }
        _ => error.into(),
    }
}

/// A name with `/` between its parts that stays below the root. Windows programs write `\`.
fn clean(name: &str) -> Result<String, ArchiveError> {
    let refuse = |why: &str| {
        ArchiveError::Refused(format!(
            "{:?} {why}",
            name.chars().take(200).collect::<String>()
        ))
    };
    if name.len() > MAX_PATH {
        return Err(refuse("is too long"));
    }
    let name = name.replace('\\', "/");
    if name.starts_with('/')
        || name.chars().any(char::is_control)
        || name.as_bytes().get(1) == Some(&b':')
    {
        return Err(refuse("is no name within a site"));
    }
    let mut parts = Vec::new();
    for part in name.split('/') {
        match part {
            "" | "." => {}
            ".." => return Err(refuse("leads outside")),
            part => parts.push(part),
        }
    }
    if parts.is_empty() {
        Err(refuse("is no name within a site"))
    } else {
        Ok(parts.join("/"))
    }
}

/// The folder that everything lies in, with its `/`; empty where there is none (or it is one that means something).
fn common_folder(names: &[Option<String>]) -> String {
    let mut files = names.iter().flatten();
    let Some((first, _)) = files.clone().next().and_then(|name| name.split_once('/')) else {
        return String::new();
    };
    let folder = format!("{first}/");
    let means_something = matches!(first, "site" | "lua" | "schemas");
    if !means_something && files.all(|name| name.starts_with(&folder)) {
        folder
    } else {
        String::new()
    }
}

/// Where a file of the archive goes in the stage; `None` for what is not ours to place.
fn place_of(name: &str) -> Option<PathBuf> {
    let top = name.split('/').next().unwrap_or_default();
    match top {
        "site" | "lua" if name.contains('/') => Some(PathBuf::from(name)),
        SCHEMAS => Some(Path::new(DATABASE).join(place_in_database(name)?)),
        _ if matches!(name, MANIFEST | SCRIPT) => Some(Path::new(DATABASE).join(name)),
        // A plain zip of a site, not an export.
        _ => Some(Path::new("site").join(name)),
    }
}

/// Where a file of an archive's database goes; `None` for other files.
fn place_in_database(name: &str) -> Option<PathBuf> {
    let file = name.strip_prefix("schemas/");
    let is_schema = file.is_some_and(|file| file.ends_with(".json") && !file.contains('/'));
    (is_schema || matches!(name, MANIFEST | SCRIPT)).then(|| PathBuf::from(name))
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
