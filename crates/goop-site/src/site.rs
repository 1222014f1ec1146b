//! The site folder as visitors may see it.
//!
//! The folder is opened once; every later access goes through that handle and cannot leave it, whatever links say
//! (cap-std). Small files are kept in memory and checked against the disk at each request, so a hot page costs one
//! look at its metadata.

use std::fs::File;
use std::io::{self, Read};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::SystemTime;

use bytes::Bytes;
use cap_std::ambient_authority;
use cap_std::fs::{Dir, Metadata, OpenOptions};
use http::HeaderValue;
use lru::LruCache;

use crate::path::{PathError, SitePath};
use crate::types::{self, Audience, SNIFF};

/// Largest file that is kept in memory and compressed.
pub const MAX_CACHED_FILE: u64 = 256 * 1024;
/// Memory of all kept files. A peer should run in 20 MiB.
const MAX_CACHE: usize = 4 * 1024 * 1024;
/// Most files that are kept.
const MAX_CACHED_FILES: NonZeroUsize = NonZeroUsize::new(512).expect("512 is not 0");

/// Why a file is not served.
#[derive(Debug, thiserror::Error)]
pub enum SiteError {
    /// No such file, or nothing a visitor may know of.
    #[error("not found")]
    NotFound,
    /// Never served.
    #[error("forbidden")]
    Forbidden,
    /// The disk failed.
    #[error("the file cannot be read: {0}")]
    Io(io::Error),
}

impl From<PathError> for SiteError {
    fn from(error: PathError) -> Self {
        match error {
            PathError::Forbidden => Self::Forbidden,
            PathError::NotAName => Self::NotFound,
        }
    }
}

/// A file about to be served.
#[derive(Debug)]
pub struct SiteFile {
    /// Its length in bytes.
    pub len: u64,
    /// When it was last changed.
    pub modified: SystemTime,
    /// A strong validator in quotes; it changes whenever the file does.
    pub etag: Arc<str>,
    /// Its type for a browser.
    pub content_type: &'static str,
    /// Its type on the site protocol.
    pub peer_type: &'static str,
    /// What is in it.
    pub content: Content,
}

/// What is in a file.
#[derive(Debug)]
pub enum Content {
    /// All of it, in memory.
    Memory(Arc<Kept>),
    /// To be read from the start.
    File(File),
}

/// A file in memory.
#[derive(Debug)]
pub struct Kept {
    stamp: Stamp,
    etag: Arc<str>,
    modified: SystemTime,
    /// What answers say of it, ready made.
    pub(crate) said: Said,
    content_type: &'static str,
    peer_type: &'static str,
    /// Its bytes.
    pub bytes: Bytes,
    gzip: OnceLock<Option<Bytes>>,
}

/// A file's validators as header values.
#[derive(Debug, Clone)]
pub(crate) struct Said {
    pub(crate) etag: HeaderValue,
    /// Of the compressed bytes.
    pub(crate) packed_etag: HeaderValue,
    pub(crate) modified: HeaderValue,
}

impl Said {
    pub(crate) fn of(etag: &str, modified: SystemTime) -> Self {
        let value = |text: &str| {
            HeaderValue::from_str(text).unwrap_or_else(|_| HeaderValue::from_static(""))
        };
        Self {
            etag: value(etag),
            packed_etag: value(&format!("{}-gz\"", etag.trim_end_matches('"'))),
            modified: value(&httpdate::fmt_http_date(modified)),
        }
    }
}

impl Kept {
    /// The bytes compressed with gzip; `None` where that does not make them smaller. Made once.
    #[must_use]
    pub fn gzip(&self) -> Option<&Bytes> {
        self.gzip.get_or_init(|| compress(&self.bytes)).as_ref()
    }
}

fn compress(bytes: &[u8]) -> Option<Bytes> {
    use io::Write;
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(bytes).ok()?;
    let packed = encoder.finish().ok()?;
    (packed.len() < bytes.len()).then(|| Bytes::from(packed))
}

/// What tells two states of a file apart. The time of the last status change cannot be set back by a program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    len: u64,
    modified: i128,
    changed: i128,
}

impl Stamp {
    #[cfg(unix)]
    fn of(meta: &Metadata) -> Self {
        use cap_std::fs::MetadataExt;
        let nanos =
            |seconds: i64, nanos: i64| i128::from(seconds) * 1_000_000_000 + i128::from(nanos);
        Self {
            device: meta.dev(),
            inode: meta.ino(),
            len: meta.len(),
            modified: nanos(meta.mtime(), meta.mtime_nsec()),
            changed: nanos(meta.ctime(), meta.ctime_nsec()),
        }
    }

    #[cfg(unix)]
    // The fields' types differ from system to system.
    #[allow(clippy::unnecessary_cast, clippy::cast_sign_loss)]
    fn of_stat(stat: &rustix::fs::Stat) -> Self {
        let nanos = |seconds: i128, nanos: i128| seconds * 1_000_000_000 + nanos;
        Self {
            device: stat.st_dev as u64,
            inode: stat.st_ino as u64,
            len: stat.st_size as u64,
            modified: nanos(i128::from(stat.st_mtime), i128::from(stat.st_mtime_nsec)),
            changed: nanos(i128::from(stat.st_ctime), i128::from(stat.st_ctime_nsec)),
        }
    }

    #[cfg(not(unix))]
    fn of(meta: &Metadata) -> Self {
        let modified = meta
            .modified()
            .map(cap_std::time::SystemTime::into_std)
            .ok();
        let nanos = modified.and_then(|time| time.duration_since(SystemTime::UNIX_EPOCH).ok());
        let modified = nanos.map_or(0, |since| since.as_nanos() as i128);
        Self {
            device: 0,
            inode: 0,
            len: meta.len(),
            modified,
            changed: modified,
        }
    }

    fn etag(&self) -> Arc<str> {
        format!(
            "\"{:x}-{:x}-{:x}-{:x}\"",
            self.inode, self.len, self.modified, self.changed
        )
        .into()
    }
}

fn modified(meta: &Metadata) -> SystemTime {
    meta.modified()
        .map_or(SystemTime::UNIX_EPOCH, cap_std::time::SystemTime::into_std)
}

/// A site folder. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Site {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    root: Dir,
    /// Folders below the root that are never served, beside those [`SitePath`] refuses.
    hidden: Vec<PathBuf>,
    cache: Mutex<Cache>,
}

#[derive(Debug)]
struct Cache {
    files: LruCache<PathBuf, Arc<Kept>>,
    bytes: usize,
}

impl Site {
    /// Opens the folder at `root`, which may itself be a link. `hidden` names folders that are never served; those
    /// outside the root do not matter.
    ///
    /// # Errors
    /// When the folder cannot be opened.
    pub fn open(root: &Path, hidden: &[PathBuf]) -> io::Result<Self> {
        let real = root.canonicalize()?;
        let below = |path: &PathBuf| {
            let path = path.canonicalize().unwrap_or_else(|_| path.clone());
            let relative = path
                .strip_prefix(&real)
                .or_else(|_| path.strip_prefix(root))
                .ok()?;
            (!relative.as_os_str().is_empty()).then(|| relative.to_owned())
        };
        Ok(Self {
            inner: Arc::new(Inner {
                root: Dir::open_ambient_dir(&real, ambient_authority())?,
                hidden: hidden.iter().filter_map(below).collect(),
                cache: Mutex::new(Cache {
                    files: LruCache::new(MAX_CACHED_FILES),
                    bytes: 0,
                }),
            }),
        })
    }

    /// Finds a file. Never blocks for longer than reading [`MAX_CACHED_FILE`] bytes.
    ///
    /// # Errors
    /// See [`SiteError`]. Folders, pipes, devices, and links that lead out of the site are not found.
    pub fn get(&self, path: &SitePath) -> Result<SiteFile, SiteError> {
        let path = path.as_path();
        if self
            .inner
            .hidden
            .iter()
            .any(|hidden| starts_with_any_case(path, hidden))
        {
            return Err(SiteError::Forbidden);
        }
        match self.kept(path) {
            Some(kept) => Ok(SiteFile::in_memory(kept)),
            None => self.read(path),
        }
    }

    /// What is kept of a file that is still the same.
    fn kept(&self, path: &Path) -> Option<Arc<Kept>> {
        let kept = self
            .inner
            .cache
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .files
            .get(path)
            .cloned()?;
        if self.stamp(path) == Some(kept.stamp) {
            return Some(kept);
        }
        self.inner
            .cache
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .forget(path);
        None
    }

    /// The state of the file that is at `path` now.
    ///
    /// This look may leave the site through a folder that became a link, where opening would not; but it only compares
    /// with a file that was opened within the site, device and inode included, and gives nothing away.
    #[cfg(unix)]
    fn stamp(&self, path: &Path) -> Option<Stamp> {
        let plain = rustix::fs::statat(
            &self.inner.root,
            path,
            rustix::fs::AtFlags::SYMLINK_NOFOLLOW,
        )
        .ok()?;
        if rustix::fs::FileType::from_raw_mode(plain.st_mode).is_file() {
            return Some(Stamp::of_stat(&plain));
        }
        // A link within the site: the careful way.
        self.inner
            .root
            .metadata(path)
            .ok()
            .map(|meta| Stamp::of(&meta))
    }

    #[cfg(not(unix))]
    fn stamp(&self, path: &Path) -> Option<Stamp> {
        self.inner
            .root
            .metadata(path)
            .ok()
            .map(|meta| Stamp::of(&meta))
    }

    fn read(&self, path: &Path) -> Result<SiteFile, SiteError> {
        let mut options = OpenOptions::new();
        options.read(true);
        #[cfg(unix)]
        {
            use cap_std::fs::OpenOptionsExt;
            // A pipe that took the file's place must not make us wait for its writer.
            options.custom_flags(rustix::fs::OFlags::NONBLOCK.bits().cast_signed());
        }
        let mut file = self
            .inner
            .root
            .open_with(path, &options)
            .map_err(not_served)?;
        let meta = file.metadata().map_err(SiteError::Io)?;
        if !meta.is_file() {
            return Err(SiteError::NotFound);
        }
        let stamp = Stamp::of(&meta);
        if meta.len() <= MAX_CACHED_FILE {
            let mut bytes = Vec::with_capacity(usize::try_from(meta.len()).unwrap_or_default());
            (&mut file)
                .take(MAX_CACHED_FILE + 1)
                .read_to_end(&mut bytes)
                .map_err(SiteError::Io)?;
            // A file that changed while it was read is served as read and not kept.
            let still = file
                .metadata()
                .map(|meta| Stamp::of(&meta))
                .map_err(SiteError::Io)?
                == stamp
                && bytes.len() as u64 == stamp.len;
            let etag = stamp.etag();
            let kept = Arc::new(Kept {
                stamp,
                said: Said::of(&etag, modified(&meta)),
                etag,
                modified: modified(&meta),
                content_type: types::content_type(path, &bytes, Audience::Browser),
                peer_type: types::content_type(path, &bytes, Audience::Peer),
                bytes: Bytes::from(bytes),
                gzip: OnceLock::new(),
            });
            if still {
                self.inner
                    .cache
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .keep(path, &kept);
            }
            return Ok(SiteFile::in_memory(kept));
        }
        let mut first = [0; SNIFF];
        let file = file.into_std();
        let known = read_start(&file, &mut first).map_err(SiteError::Io)?;
        Ok(SiteFile {
            len: stamp.len,
            modified: modified(&meta),
            etag: stamp.etag(),
            content_type: types::content_type(path, &first[..known], Audience::Browser),
            peer_type: types::content_type(path, &first[..known], Audience::Peer),
            content: Content::File(file),
        })
    }
}

impl SiteFile {
    fn in_memory(kept: Arc<Kept>) -> Self {
        Self {
            len: kept.bytes.len() as u64,
            modified: kept.modified,
            etag: kept.etag.clone(),
            content_type: kept.content_type,
            peer_type: kept.peer_type,
            content: Content::Memory(kept),
        }
    }
}

impl Cache {
    fn keep(&mut self, path: &Path, kept: &Arc<Kept>) {
        self.forget(path);
        self.bytes += weight(kept);
        if let Some((_, old)) = self.files.push(path.to_owned(), kept.clone()) {
            self.bytes -= weight(&old);
        }
        while self.bytes > MAX_CACHE {
            let Some((_, old)) = self.files.pop_lru() else {
                break;
            };
            self.bytes -= weight(&old);
        }
    }

    fn forget(&mut self, path: &Path) {
        if let Some(old) = self.files.pop(path) {
            self.bytes -= weight(&old);
        }
    }
}

/// What a kept file may take at most: itself, its compressed form, and the entry.
fn weight(kept: &Kept) -> usize {
    2 * kept.bytes.len() + 512
}

fn read_start(file: &File, into: &mut [u8]) -> io::Result<usize> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::FileExt;
        file.read_at(into, 0)
    }
    #[cfg(windows)]
    {
        use std::os::windows::fs::FileExt;
        file.seek_read(into, 0)
    }
}

/// A disk error is one thing; that a link leads out, or that rights are missing, is nobody's business outside.
fn not_served(error: io::Error) -> SiteError {
    match error.kind() {
        io::ErrorKind::NotFound
        | io::ErrorKind::PermissionDenied
        | io::ErrorKind::NotADirectory
        | io::ErrorKind::IsADirectory
        | io::ErrorKind::InvalidInput
        | io::ErrorKind::InvalidFilename => SiteError::NotFound,
        #[cfg(unix)]
        _ if error.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error()) => {
            SiteError::NotFound
        }
        _ => SiteError::Io(error),
    }
}

fn starts_with_any_case(path: &Path, prefix: &Path) -> bool {
    let lower = |part: std::path::Component<'_>| part.as_os_str().to_string_lossy().to_lowercase();
    let mut parts = path.components().map(lower);
    prefix
        .components()
        .map(lower)
        .all(|wanted| parts.next().is_some_and(|part| part == wanted))
}
