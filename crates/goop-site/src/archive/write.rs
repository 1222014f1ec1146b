//! Going out: an archive that is written as the site is read.

use std::fs;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use zip::write::{SimpleFileOptions, StreamWriter};
use zip::{CompressionMethod, DateTime, ZipWriter};

use super::{MANIFEST, Manifest, STATE};

/// Bytes copied at once.
const CHUNK: usize = 64 * 1024;

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
