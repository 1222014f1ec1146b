//! Replacing files so that a crash at any moment leaves either the old or the new content, never a torn one.

use std::fs::{self, File, Permissions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// Who may read a file that is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Privacy {
    /// Mode 0600: keys, configuration, anything with a secret.
    Secret,
    /// Mode 0644: what others may see anyway.
    Public,
}

impl Privacy {
    #[cfg(unix)]
    fn permissions(self) -> Permissions {
        use std::os::unix::fs::PermissionsExt;
        Permissions::from_mode(match self {
            Self::Secret => 0o600,
            Self::Public => 0o644,
        })
    }
}

/// Replaces `path` with `bytes`: temporary file in the same folder, synced, renamed over it, folder synced.
///
/// A symbolic link at `path` stays a link; its target is replaced. On an error the old file is untouched and the
/// temporary one is gone.
///
/// # Errors
/// Any error of the file system, for example a full disk or a read-only folder.
pub fn replace(path: &Path, bytes: &[u8], privacy: Privacy) -> io::Result<()> {
    let target = resolve_link(path)?;
    let temporary = write_temporary(&target, bytes, privacy)?;
    temporary.persist(&target).map_err(|error| error.error)?;
    sync_folder(&target)
}

/// Creates `path` with `bytes`; fails with [`io::ErrorKind::AlreadyExists`] when anything is there already.
///
/// # Errors
/// As [`replace`], and when the file exists.
pub fn create_new(path: &Path, bytes: &[u8], privacy: Privacy) -> io::Result<()> {
    let temporary = write_temporary(path, bytes, privacy)?;
    temporary
        .persist_noclobber(path)
        .map_err(|error| error.error)?;
    sync_folder(path)
}

fn write_temporary(
    target: &Path,
    bytes: &[u8],
    privacy: Privacy,
) -> io::Result<tempfile::NamedTempFile> {
    let mut temporary = tempfile::Builder::new()
        .prefix(".goop-")
        .tempfile_in(folder_of(target))?;
    temporary.write_all(bytes)?;
    #[cfg(unix)]
    temporary.as_file().set_permissions(privacy.permissions())?;
    #[cfg(not(unix))]
    let _ = privacy;
    temporary.as_file().sync_all()?;
    Ok(temporary)
}

fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

fn resolve_link(path: &Path) -> io::Result<PathBuf> {
    match fs::symlink_metadata(path) {
        Ok(meta) if meta.file_type().is_symlink() => fs::canonicalize(path),
        _ => Ok(path.to_owned()),
    }
}

/// Makes a rename durable. Some file systems cannot sync a folder; the rename is atomic there all the same.
fn sync_folder(path: &Path) -> io::Result<()> {
    match File::open(folder_of(path)).and_then(|folder| folder.sync_all()) {
        Err(error) if error.kind() == io::ErrorKind::InvalidInput => Ok(()),
        other => other,
    }
}

/// Creates a folder and its parents for secrets (mode 0700 where the system has modes).
///
/// # Errors
/// Any error of the file system.
pub fn create_secret_folder(path: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::DirBuilderExt;
        builder.mode(0o700);
    }
    builder.create(path)
}

/// Takes group and others their rights away if they have any. Answers whether it had to.
///
/// # Errors
/// Any error of the file system.
pub fn tighten(path: &Path) -> io::Result<bool> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = fs::metadata(path)?.permissions().mode();
        if mode & 0o077 != 0 {
            fs::set_permissions(path, Permissions::from_mode(mode & 0o700))?;
            return Ok(true);
        }
    }
    #[cfg(not(unix))]
    let _ = path;
    Ok(false)
}
