//! Changing the own site: what the editor and programs of the owner do.
//!
//! A file is written beside its target, synced and renamed, so that nobody ever sees half of one. Who changes a file says
//! which state of it they know ([`IfMatch`]); somebody else's change in between is a conflict and nothing is lost. What is
//! deleted, or replaced by somebody who did not look, goes to a bin outside the site and can be brought back. As in
//! [`crate::Site`], no link leads out of the folder.

mod bin;
mod upload;

use std::io::{self, Read};
use std::path::{Component, Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use cap_std::ambient_authority;
use cap_std::fs::{Dir, File, OpenOptions};

use crate::path::MAX_PATH;

pub use bin::{MAX_DELETED, MAX_OLDER, MAX_OLDER_BYTES, Restored};
use upload::hash;
pub use upload::{Saved, Upload, etag};

/// Largest file that is read into memory for the editor.
pub const MAX_EDITED: u64 = 4 * 1024 * 1024;
/// Most files and folders that are listed.
pub const MAX_LISTED: usize = 200_000;
/// Largest file that is searched.
const MAX_SEARCHED: u64 = 2 * 1024 * 1024;
/// How long a search may take.
const SEARCH_DEADLINE: Duration = Duration::from_secs(5);
/// Most characters of a line that a search shows.
const MAX_SHOWN: usize = 240;
/// Temporary files begin with this (viewer-api.md 10).
const TEMPORARY: &str = ".goop-";
/// Pictures lie below this folder (viewer-api.md 10).
const IMAGES: &str = "images";
/// What counts as a picture.
const IMAGE_ENDINGS: [&str; 8] = ["png", "jpg", "jpeg", "gif", "webp", "svg", "ico", "bmp"];
/// Why something was not done.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The path leaves the site.
    #[error("path outside root")]
    OutsideRoot,
    /// No file can have this name.
    #[error("this name cannot be used: {0}")]
    BadName(&'static str),
    /// Templates and Go peers expect pictures in one place.
    #[error("image files must be placed in the images/ folder")]
    ImagesOnly,
    /// No such file or folder.
    #[error("not found")]
    NotFound,
    /// It is not what the caller thinks it is: it changed, it is a folder, or something stands in the way.
    #[error("conflict")]
    Conflict,
    /// The target exists.
    #[error("there is something with this name already")]
    Exists,
    /// The disk is full, or a quota is used up.
    #[error("No space left on the disk: nothing was changed. Make room and try again")]
    Full,
    /// The disk said no.
    #[error("{0}")]
    Io(#[source] io::Error),
}

impl From<io::Error> for StoreError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::NotFound => Self::NotFound,
            io::ErrorKind::NotADirectory | io::ErrorKind::IsADirectory => Self::Conflict,
            io::ErrorKind::AlreadyExists | io::ErrorKind::DirectoryNotEmpty => Self::Exists,
            io::ErrorKind::StorageFull
            | io::ErrorKind::QuotaExceeded
            | io::ErrorKind::FileTooLarge => Self::Full,
            io::ErrorKind::InvalidFilename => Self::BadName("it is too long for this disk"),
            _ => Self::Io(error),
        }
    }
}

/// A path below the root of the site, scripts and dot files included: the owner may change them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StorePath(PathBuf);

impl StorePath {
    /// Reads a path with `/` between its parts; a leading one does not matter.
    ///
    /// # Errors
    /// [`StoreError::OutsideRoot`] and [`StoreError::BadName`]; an empty path is a bad name.
    pub fn parse(text: &str) -> Result<Self, StoreError> {
        if text.len() > MAX_PATH {
            return Err(StoreError::BadName("it is too long"));
        }
        if text.contains('\0') {
            return Err(StoreError::BadName("it holds a zero byte"));
        }
        let mut path = PathBuf::new();
        for part in text.split('/') {
            match part {
                "" | "." => {}
                ".." if path.pop() => {}
                ".." => return Err(StoreError::OutsideRoot),
                name if name.starts_with(TEMPORARY) => {
                    return Err(StoreError::BadName("it is kept for temporary files"));
                }
                // On Windows a name may hold a drive or a second separator.
                name if Path::new(name)
                    .components()
                    .ne([Component::Normal(name.as_ref())]) =>
                {
                    return Err(StoreError::OutsideRoot);
                }
                name => path.push(name),
            }
        }
        if path.as_os_str().is_empty() {
            return Err(StoreError::BadName("it is empty"));
        }
        Ok(Self(path))
    }

    /// The path with `/` between its parts.
    #[must_use]
    pub fn as_text(&self) -> String {
        text_of(&self.0)
    }

    fn is_image(&self) -> bool {
        let ending = self
            .0
            .extension()
            .map(|ending| ending.to_string_lossy().to_lowercase());
        ending.is_some_and(|ending| IMAGE_ENDINGS.contains(&ending.as_str()))
    }

    /// Refuses new names that other systems or browsers could not take.
    fn fit_for_new(&self) -> Result<(), StoreError> {
        let text = self.as_text();
        if text.contains('\\') || text.chars().any(char::is_control) {
            return Err(StoreError::BadName(
                "it holds a backslash or a control character",
            ));
        }
        if self.is_image() && !self.0.starts_with(IMAGES) {
            return Err(StoreError::ImagesOnly);
        }
        Ok(())
    }
}

fn text_of(path: &Path) -> String {
    let parts: Vec<_> = path
        .components()
        .map(|part| part.as_os_str().to_string_lossy())
        .collect();
    parts.join("/")
}

/// What a writer knows of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IfMatch {
    /// Nothing; whatever is there is replaced, and kept as an older version.
    Any,
    /// There is none yet.
    New,
    /// The file with this etag.
    Is(String),
}

impl IfMatch {
    /// Reads the form of the API: empty, `none`, or an etag.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        match text {
            "" => Self::Any,
            "none" => Self::New,
            etag => Self::Is(etag.to_owned()),
        }
    }
}

/// A file or folder in a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Where, with `/` between the parts.
    pub path: String,
    /// A folder.
    pub is_dir: bool,
    /// Folders above it.
    pub depth: usize,
    /// Bytes; 0 for folders.
    pub len: u64,
    /// Unix milliseconds of the last change.
    pub modified: u64,
}

/// A file for the editor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edited {
    /// `sha256:` and the hash of the content in hex.
    pub etag: String,
    /// Bytes.
    pub len: u64,
    /// Its text; `None` when it is none (not UTF-8, a zero byte) or larger than [`MAX_EDITED`].
    pub text: Option<String>,
}

/// A line that a search found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Match {
    /// In which file.
    pub path: String,
    /// Counted from 1.
    pub line: usize,
    /// In characters, counted from 1.
    pub column: usize,
    /// The line, shortened.
    pub text: String,
}

/// The site folder, to be changed. Cheap to clone; all clones take turns.
#[derive(Debug, Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    root: Dir,
    /// Deleted things, outside the site.
    bin: PathBuf,
    /// One change at a time.
    turn: Mutex<()>,
}

impl Store {
    /// Opens the site folder at `root`. What is deleted goes to `bin`, which is made when it is needed and must not lie in
    /// the site.
    ///
    /// # Errors
    /// When the folder cannot be opened.
    pub fn open(root: &Path, bin: &Path) -> io::Result<Self> {
        let root = Dir::open_ambient_dir(root.canonicalize()?, ambient_authority())?;
        Ok(Self {
            inner: Arc::new(Inner {
                root,
                bin: bin.to_owned(),
                turn: Mutex::new(()),
            }),
        })
    }

    fn turn(&self) -> MutexGuard<'_, ()> {
        self.inner
            .turn
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Every file and folder, folder by folder, parents before what is in them. Temporary files are left out, and what a
    /// link outside the site points to. No file is opened.
    ///
    /// # Errors
    /// When the root cannot be read; folders below it that cannot are listed empty.
    pub fn list(&self) -> Result<Vec<Entry>, StoreError> {
        let mut found = Vec::new();
        self.walk(|path, meta| {
            found.push(Entry {
                path: text_of(path),
                is_dir: meta.is_dir(),
                depth: path.components().count() - 1,
                len: if meta.is_dir() { 0 } else { meta.len() },
                modified: millis(
                    meta.modified()
                        .ok()
                        .map(cap_std::time::SystemTime::into_std),
                ),
            });
            found.len() < MAX_LISTED
        })?;
        // As paths are compared: `a/b` before `a.b`.
        found.sort_by_cached_key(|entry| entry.path.replace('/', "\0"));
        Ok(found)
    }

    /// Calls `visit` for everything below the root until it says stop.
    fn walk(
        &self,
        mut visit: impl FnMut(&Path, &cap_std::fs::Metadata) -> bool,
    ) -> Result<(), StoreError> {
        let mut folders = vec![PathBuf::new()];
        while let Some(folder) = folders.pop() {
            let entries = if folder.as_os_str().is_empty() {
                self.inner.root.entries()?
            } else {
                match self.inner.root.read_dir(&folder) {
                    Ok(entries) => entries,
                    Err(_) => continue,
                }
            };
            for entry in entries.flatten() {
                let name = entry.file_name();
                if name.to_string_lossy().starts_with(TEMPORARY) {
                    continue;
                }
                let path = folder.join(name);
                // Links are followed within the site only; a folder behind one is not entered, so nothing goes in circles.
                let is_link = entry.file_type().is_ok_and(|kind| kind.is_symlink());
                // What is no link is looked at where it was found, not from the root on.
                let looked = if is_link {
                    self.inner.root.metadata(&path)
                } else {
                    entry.metadata()
                };
                let Ok(meta) = looked else {
                    continue;
                };
                if !(meta.is_file() || meta.is_dir() && !is_link) {
                    continue;
                }
                if !visit(&path, &meta) {
                    return Ok(());
                }
                if meta.is_dir() {
                    folders.push(path);
                }
            }
        }
        Ok(())
    }

    /// A file for the editor.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] also for folders.
    pub fn read(&self, path: &StorePath) -> Result<Edited, StoreError> {
        let mut file = self.file(&path.0)?;
        let len = file.metadata()?.len();
        let (etag, bytes) = hash(&mut file, if len <= MAX_EDITED { Some(len) } else { None })?;
        let bytes = bytes.filter(|bytes| !bytes.contains(&0));
        let text = bytes.and_then(|bytes| String::from_utf8(bytes).ok());
        Ok(Edited { etag, len, text })
    }

    fn file(&self, path: &Path) -> Result<File, StoreError> {
        let mut options = OpenOptions::new();
        options.read(true);
        #[cfg(unix)]
        {
            use cap_std::fs::OpenOptionsExt;
            // A pipe must not make us wait for its writer.
            options.custom_flags(rustix::fs::OFlags::NONBLOCK.bits().cast_signed());
        }
        let file =
            self.inner.root.open_with(path, &options).map_err(|error| {
                match StoreError::from(error) {
                    StoreError::Conflict => StoreError::NotFound,
                    other => other,
                }
            })?;
        if file.metadata()?.is_file() {
            Ok(file)
        } else {
            Err(StoreError::NotFound)
        }
    }

    fn exists(&self, path: &Path) -> bool {
        self.inner.root.symlink_metadata(path).is_ok()
    }

    /// Writes a whole file.
    ///
    /// # Errors
    /// See [`Upload::commit`] and [`Store::begin`].
    pub fn write(
        &self,
        path: &StorePath,
        bytes: &[u8],
        known: &IfMatch,
    ) -> Result<Saved, StoreError> {
        let mut upload = self.begin(path)?;
        upload.write(bytes)?;
        upload.commit(known)
    }

    /// Begins writing a file of any length. Folders above it are made. Nothing is seen of it before
    /// [`Upload::commit`].
    ///
    /// # Errors
    /// [`StoreError::BadName`], [`StoreError::ImagesOnly`], and [`StoreError::Conflict`] when a folder has this name or a
    /// file stands where a folder must be.
    pub fn begin(&self, path: &StorePath) -> Result<Upload, StoreError> {
        path.fit_for_new()?;
        if self
            .inner
            .root
            .metadata(&path.0)
            .is_ok_and(|meta| meta.is_dir())
        {
            return Err(StoreError::Conflict);
        }
        self.make_parents(&path.0)?;
        let temporary = path.0.with_file_name(format!("{TEMPORARY}{}", token()));
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        let file = self.inner.root.open_with(&temporary, &options)?;
        Ok(Upload::new(self.clone(), path.0.clone(), temporary, file))
    }

    fn make_parents(&self, path: &Path) -> Result<(), StoreError> {
        let Some(parent) = path
            .parent()
            .filter(|parent| !parent.as_os_str().is_empty())
        else {
            return Ok(());
        };
        self.inner
            .root
            .create_dir_all(parent)
            .map_err(|error| match StoreError::from(error) {
                StoreError::Exists => StoreError::Conflict,
                other => other,
            })
    }

    /// Makes a folder; one that exists is fine.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when a file has this name.
    pub fn make_folder(&self, path: &StorePath) -> Result<(), StoreError> {
        let text = path.as_text();
        if text.contains('\\') || text.chars().any(char::is_control) {
            return Err(StoreError::BadName(
                "it holds a backslash or a control character",
            ));
        }
        let _turn = self.turn();
        self.inner
            .root
            .create_dir_all(&path.0)
            .map_err(|error| match StoreError::from(error) {
                StoreError::Exists => StoreError::Conflict,
                other => other,
            })
    }

    /// Moves a file or folder. Nothing is replaced; only the case of letters may differ.
    ///
    /// # Errors
    /// [`StoreError::NotFound`], [`StoreError::Exists`], and [`StoreError::Conflict`] for a folder into itself.
    pub fn rename(&self, from: &StorePath, to: &StorePath) -> Result<(), StoreError> {
        let _turn = self.turn();
        self.may_become(from, to)?;
        self.make_parents(&to.0)?;
        Ok(self.inner.root.rename(&from.0, &self.inner.root, &to.0)?)
    }

    fn may_become(&self, from: &StorePath, to: &StorePath) -> Result<(), StoreError> {
        to.fit_for_new()?;
        if !self.exists(&from.0) {
            return Err(StoreError::NotFound);
        }
        if to.0 != from.0 && to.0.starts_with(&from.0) {
            return Err(StoreError::Conflict);
        }
        let only_case = text_of(&from.0).to_lowercase() == text_of(&to.0).to_lowercase();
        if self.exists(&to.0) && !(only_case && self.same(&from.0, &to.0)) {
            return Err(StoreError::Exists);
        }
        Ok(())
    }

    /// Whether two names are one file, as on systems that do not tell cases apart.
    fn same(&self, a: &Path, b: &Path) -> bool {
        #[cfg(unix)]
        {
            use cap_std::fs::MetadataExt;
            let place = |path: &Path| {
                self.inner
                    .root
                    .symlink_metadata(path)
                    .ok()
                    .map(|meta| (meta.dev(), meta.ino()))
            };
            a != b && place(a) == place(b)
        }
        #[cfg(not(unix))]
        {
            a != b
        }
    }

    /// Copies a file, or a folder with everything in it.
    ///
    /// # Errors
    /// As [`Store::rename`].
    pub fn copy(&self, from: &StorePath, to: &StorePath) -> Result<(), StoreError> {
        let _turn = self.turn();
        if from == to {
            return Err(StoreError::Exists);
        }
        self.may_become(from, to)?;
        self.make_parents(&to.0)?;
        let copied = copy_tree(&self.inner.root, &from.0, &self.inner.root, &to.0);
        if copied.is_err() {
            // Half a copy would look like a whole one.
            let _ = remove_tree(&self.inner.root, &to.0);
        }
        Ok(copied?)
    }

    /// Lines that hold `wanted`, whatever the case of letters, in text files up to 2 MiB. At most `limit`; the second
    /// value says whether there may be more.
    ///
    /// # Errors
    /// When the root cannot be read.
    pub fn search(&self, wanted: &str, limit: usize) -> Result<(Vec<Match>, bool), StoreError> {
        let wanted = wanted.to_lowercase();
        if wanted.is_empty() {
            return Ok((Vec::new(), false));
        }
        let deadline = Instant::now() + SEARCH_DEADLINE;
        let mut files = Vec::new();
        self.walk(|path, meta| {
            if meta.is_file() && meta.len() <= MAX_SEARCHED {
                files.push(path.to_owned());
            }
            files.len() < MAX_LISTED
        })?;
        files.sort();
        let mut found = Vec::new();
        for path in files {
            if Instant::now() > deadline {
                return Ok((found, true));
            }
            let Ok(mut file) = self.file(&path) else {
                continue;
            };
            let mut bytes = Vec::new();
            if (&mut file)
                .take(MAX_SEARCHED)
                .read_to_end(&mut bytes)
                .is_err()
                || bytes.contains(&0)
            {
                continue;
            }
            let text = String::from_utf8_lossy(&bytes);
            for (number, line) in text.lines().enumerate() {
                let lower = line.to_lowercase();
                let Some(at) = lower.find(&wanted) else {
                    continue;
                };
                if found.len() >= limit {
                    return Ok((found, true));
                }
                found.push(Match {
                    path: text_of(&path),
                    line: number + 1,
                    column: lower[..at].chars().count() + 1,
                    text: line.trim().chars().take(MAX_SHOWN).collect(),
                });
            }
        }
        Ok((found, false))
    }
}

fn copy_tree(from_root: &Dir, from: &Path, to_root: &Dir, to: &Path) -> io::Result<()> {
    if !from_root.symlink_metadata(from)?.is_dir() {
        from_root.copy(from, to_root, to)?;
        return Ok(());
    }
    to_root.create_dir(to)?;
    for entry in from_root.read_dir(from)? {
        let name = entry?.file_name();
        copy_tree(from_root, &from.join(&name), to_root, &to.join(&name))?;
    }
    Ok(())
}

fn remove_tree(root: &Dir, path: &Path) -> io::Result<()> {
    if root.symlink_metadata(path)?.is_dir() {
        root.remove_dir_all(path)
    } else {
        root.remove_file(path)
    }
}

fn millis(time: Option<SystemTime>) -> u64 {
    let since = time
        .and_then(|time| time.duration_since(UNIX_EPOCH).ok())
        .unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// A name nobody has: the time first, so that names sort by age.
fn token() -> String {
    format!(
        "{:013x}-{:016x}",
        millis(Some(SystemTime::now())),
        rand::random::<u64>()
    )
}
