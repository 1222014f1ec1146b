//! Which paths a visitor may ask for.
//!
//! A path is cleaned as text, then each component is compared: nothing outside the site, no scripts (`lua`), no dot
//! files (which covers temporary files of the editor). What links do is the business of [`crate::Site`].

use std::path::{Component, Path, PathBuf};

/// Longest path that is looked at, in bytes.
pub const MAX_PATH: usize = 4_096;
/// The page of the bare site.
const INDEX: &str = "index.html";
/// Scripts lie here and are never served, in any case of letters.
const SCRIPTS: &str = "lua";

/// A path below the site's root that a visitor may ask for. The file need not exist.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct SitePath(PathBuf);

/// Why a path is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// It leaves the site or names something that is never served.
    #[error("forbidden")]
    Forbidden,
    /// It cannot name a file.
    #[error("not found")]
    NotAName,
}

impl SitePath {
    /// Reads a path as it came: decoded, with or without a leading `/`. Empty and `/` mean the index page.
    ///
    /// `..` in a path that begins with `/` stops at the root, as everywhere on the web; in one that does not it leaves
    /// the site (network.md 7.2).
    ///
    /// # Errors
    /// See [`PathError`].
    pub fn parse(text: &[u8]) -> Result<Self, PathError> {
        if text.len() > MAX_PATH || text.contains(&0) {
            return Err(PathError::NotAName);
        }
        let rooted = matches!(text.first(), None | Some(b'/' | b'\\'));
        let mut cleaned = PathBuf::new();
        for part in text.split(|byte| *byte == b'/') {
            match part {
                b"" | b"." => {}
                b".." => {
                    if !cleaned.pop() && !rooted {
                        return Err(PathError::Forbidden);
                    }
                }
                name => cleaned.push(component(name)?),
            }
        }
        if is_hidden(&cleaned) {
            return Err(PathError::Forbidden);
        }
        if cleaned.as_os_str().is_empty() {
            return Ok(Self(PathBuf::from(INDEX)));
        }
        // `/docs/` names a folder, and folders have no index.
        if matches!(text.last(), Some(b'/')) {
            return Err(PathError::NotAName);
        }
        Ok(Self(cleaned))
    }

    /// The path relative to the root.
    #[must_use]
    pub fn as_path(&self) -> &Path {
        &self.0
    }
}

/// One name as the system spells it. On systems where `\` and `:` have a meaning, names with them are none.
fn component(name: &[u8]) -> Result<PathBuf, PathError> {
    #[cfg(unix)]
    let path = {
        use std::os::unix::ffi::OsStrExt;
        PathBuf::from(std::ffi::OsStr::from_bytes(name))
    };
    #[cfg(not(unix))]
    let path = PathBuf::from(std::str::from_utf8(name).map_err(|_| PathError::NotAName)?);
    let mut parts = path.components();
    match (parts.next(), parts.next()) {
        (Some(Component::Normal(_)), None) => Ok(path),
        _ => Err(PathError::Forbidden),
    }
}

fn is_hidden(path: &Path) -> bool {
    path.components().enumerate().any(|(depth, part)| {
        let name = part.as_os_str().to_string_lossy();
        name.starts_with('.') || (depth == 0 && name.eq_ignore_ascii_case(SCRIPTS))
    })
}
