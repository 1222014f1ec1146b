//! Which files a transformation may read and write.
//!
//! The owner names any file of the machine, as with the Go program; but not those on which this program rests: a
//! template's transformation that writes `data/identity.key` would end the peer.

use std::path::{Path, PathBuf};

use crate::DataError;

/// Longest path, in bytes.
const MAX_PATH: usize = 4 * 1024;
/// Folders of the peer folder that are for people: the site, and what is shared.
const FREE: [&str; 2] = ["site", "shared"];

/// The file that a path names, with all links followed. Relative paths begin in the peer folder.
pub(super) fn place(folder: &Path, path: &str) -> Result<PathBuf, DataError> {
    if path.trim().is_empty() {
        return Err(DataError::Required("path required"));
    }
    if path.len() > MAX_PATH || path.contains('\0') {
        return Err(DataError::BadRequest("this is no path".to_owned()));
    }
    let named = folder.join(path);
    // What is there is followed to its end; of what is not there yet, at least its folder must be.
    let real = match named.canonicalize() {
        Ok(real) => real,
        Err(_) => {
            let (Some(parent), Some(name)) = (named.parent(), named.file_name()) else {
                return Err(DataError::BadRequest(
                    "this is no path of a file".to_owned(),
                ));
            };
            parent.canonicalize()?.join(name)
        }
    };
    let own = folder.canonicalize()?;
    if let Ok(inside) = real.strip_prefix(&own) {
        let mut parts = inside.components();
        let first = parts.next().and_then(|part| part.as_os_str().to_str());
        let is_free = first.is_some_and(|first| FREE.contains(&first)) && parts.next().is_some();
        if !is_free {
            return Err(DataError::Refused(format!(
                "{path}: files that the peer itself needs are neither read nor written; take one in its site or shared \
                 folder, or outside"
            )));
        }
    }
    Ok(real)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_peers_own_files_are_out_of_reach() {
        let base = tempfile::tempdir().unwrap();
        let folder = base.path().join("peer");
        for made in [
            "peer/data",
            "peer/site/sub",
            "peer/shared",
            "peer/schemas",
            "other",
        ] {
            std::fs::create_dir_all(base.path().join(made)).unwrap();
        }
        for file in ["peer/goop.json", "peer/data/identity.key", "other/a.csv"] {
            std::fs::write(base.path().join(file), "x").unwrap();
        }
        #[cfg(unix)]
        {
            std::os::unix::fs::symlink(folder.join("data"), base.path().join("other/way")).unwrap();
            let key = folder.join("data/identity.key");
            std::os::unix::fs::symlink(key, base.path().join("other/key.json")).unwrap();
        }
        let other = base.path().join("other");
        let at = |name: &str| other.join(name).to_str().unwrap().to_owned();
        for path in [
            at("a.csv"),
            at("new.json"),
            "site/a.csv".into(),
            "site/sub/../b.json".into(),
            "../other/x.csv".into(),
        ] {
            assert!(place(&folder, &path).is_ok(), "{path}");
        }
        for path in [
            "goop.json".to_owned(),
            "data/identity.key".into(),
            "data.db".into(),
            "site".into(),
            "schemas/a.json".into(),
            "site/../goop.json".into(),
            "new.json".into(),
            at("way/identity.key"),
            at("way/new.json"),
            at("key.json"),
            at("../peer/data/x.json"),
            String::new(),
            " ".into(),
            "a\0b".into(),
            "nowhere/at/all.json".into(),
        ] {
            assert!(place(&folder, &path).is_err(), "{path}");
        }
    }
}
