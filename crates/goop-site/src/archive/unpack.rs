//! Unpacking: what an archive may hold, what its names mean, and nothing outside the folder that is meant.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Read, Seek};
use std::path::{Path, PathBuf};

use zip::ZipArchive;

use super::{ArchiveError, MANIFEST, SCHEMAS, SCRIPT, clear};
use crate::path::MAX_PATH;

/// Most files of an archive that comes in.
pub const MAX_FILES: usize = 100_000;
/// Most bytes of all files of an archive that comes in, unpacked.
pub const MAX_UNPACKED: u64 = 4 * 1024 * 1024 * 1024;
/// An archive that unpacks to more than this many times its own size (and [`HARMLESS`]) is a trap, not a site.
const MAX_RATIO: u64 = 200;
/// So much unpacked never fills a disk.
const HARMLESS: u64 = 64 * 1024 * 1024;
/// Where the files of its database go in the stage.
pub(super) const DATABASE: &str = "database";

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
pub(super) enum Layout {
    /// An export, or a plain zip of a site.
    Site,
    /// The files of an export's database alone.
    Database,
    /// Paths below the folder.
    AsItIs,
}

/// What was unpacked.
#[derive(Debug, Default)]
pub(super) struct Unpacked {
    pub(super) files: usize,
    /// Names of files that have no place here.
    pub(super) left_out: Vec<String>,
}

/// Unpacks into an empty folder.
pub(super) fn unpack(
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
