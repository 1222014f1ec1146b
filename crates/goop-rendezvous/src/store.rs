//! The local template store: a folder of templates, read once at the start (rendezvous.md 14.2).
//!
//! Each folder with a `manifest.json` that can be read is a template. Its bundle is packed once and kept packed; a
//! template beyond the limits is left out and said so. Links are not followed: a template is what lies in its folder.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Templates of one store.
const MAX_TEMPLATES: usize = 500;
/// Files of one template.
const MAX_FILES: usize = 2_000;
/// Bytes of one template, unpacked.
const MAX_TEMPLATE: u64 = 32 * 1024 * 1024;
/// Bytes of all bundles together: they are kept in memory.
const MAX_STORE: usize = 256 * 1024 * 1024;
/// Largest manifest.
const MAX_MANIFEST: u64 = 64 * 1024;
/// Folders within folders.
const MAX_DEPTH: usize = 16;

/// What the store says of a template (rendezvous.md 14.1).
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(default)]
pub struct Meta {
    /// Its name.
    pub name: String,
    /// What it is for.
    pub description: String,
    /// Where it belongs.
    pub category: String,
    /// A character that stands for it.
    pub icon: String,
    /// Its folder.
    pub dir: String,
    /// Always `store`.
    pub source: String,
    /// Tables, in the older form.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub tables: Option<BTreeMap<String, Value>>,
    /// Tables, by the names of their schemas.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub schemas: Option<Vec<String>>,
    /// Its visitors need an e-mail address.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub require_email: bool,
    /// What members are at first.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub default_role: String,
}

/// One template.
#[derive(Debug, Clone)]
pub struct Template {
    /// What is said of it.
    pub meta: Meta,
    /// The whole of it, as `tar.gz`.
    pub bundle: Bytes,
}

/// All templates, by the names of their folders.
#[derive(Debug, Clone, Default)]
pub struct Store {
    templates: BTreeMap<String, Template>,
}

impl Store {
    /// Reads a folder. What is no template, or too large, is left out; a folder that cannot be read is an empty store.
    /// Blocks.
    #[must_use]
    pub fn read(folder: &Path) -> Self {
        let mut store = Self::default();
        let mut size = 0;
        let mut dirs: Vec<PathBuf> = match fs::read_dir(folder) {
            Ok(entries) => entries.flatten().map(|entry| entry.path()).collect(),
            Err(error) => {
                tracing::warn!(folder = %folder.display(), %error, "presence.templates_dir cannot be read");
                return store;
            }
        };
        dirs.sort();
        for dir in dirs {
            let name = dir.file_name().and_then(|name| name.to_str());
            let Some(name) = name.filter(|name| !name.starts_with('.')) else {
                continue;
            };
            let template = match template(&dir, name) {
                Ok(Some(template)) => template,
                Ok(None) => continue,
                Err(error) => {
                    tracing::warn!(template = name, %error, "a template is left out");
                    continue;
                }
            };
            size += template.bundle.len();
            if size > MAX_STORE || store.templates.len() >= MAX_TEMPLATES {
                tracing::warn!(
                    template = name,
                    "the template store is full; the rest is left out"
                );
                break;
            }
            store.templates.insert(name.to_owned(), template);
        }
        store
    }

    /// Whether there is nothing in it: then there is no store.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.templates.is_empty()
    }

    /// What is said of each template, by name of folder.
    pub fn list(&self) -> impl ExactSizeIterator<Item = &Meta> {
        self.templates.values().map(|template| &template.meta)
    }

    /// One template.
    #[must_use]
    pub fn get(&self, dir: &str) -> Option<&Template> {
        self.templates.get(dir)
    }
}

/// Reads what a manifest says. Total: anything that is no manifest is a reason.
///
/// # Errors
/// The reason, in words.
pub fn manifest(bytes: &[u8], dir: &str) -> Result<Meta, String> {
    if bytes.len() as u64 > MAX_MANIFEST {
        return Err("manifest.json is too large".to_owned());
    }
    let bytes = bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bytes);
    let meta: Meta = serde_json::from_slice(bytes)
        .map_err(|error| format!("manifest.json cannot be understood: {error}"))?;
    Ok(Meta {
        dir: dir.to_owned(),
        source: "store".to_owned(),
        ..meta
    })
}

fn template(dir: &Path, name: &str) -> io::Result<Option<Template>> {
    if !fs::symlink_metadata(dir)?.is_dir() {
        return Ok(None);
    }
    let mut bytes = Vec::new();
    match fs::File::open(dir.join("manifest.json")) {
        Ok(file) => file.take(MAX_MANIFEST + 1).read_to_end(&mut bytes)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let meta = manifest(&bytes, name).map_err(io::Error::other)?;
    let mut files = Vec::new();
    gather(dir, 0, &mut files)?;
    files.sort();
    let mut archive = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::default()));
    let mut left = MAX_TEMPLATE;
    for path in files {
        let mut content = Vec::new();
        fs::File::open(&path)?
            .take(left + 1)
            .read_to_end(&mut content)?;
        left = left
            .checked_sub(content.len() as u64)
            .ok_or_else(|| io::Error::other("it is too large"))?;
        let inside = path.strip_prefix(dir).map_err(io::Error::other)?;
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        archive.append_data(&mut header, Path::new(name).join(inside), &content[..])?;
    }
    let bundle = archive.into_inner()?.finish()?;
    Ok(Some(Template {
        meta,
        bundle: Bytes::from(bundle),
    }))
}

/// All plain files below a folder.
fn gather(dir: &Path, depth: usize, files: &mut Vec<PathBuf>) -> io::Result<()> {
    if depth > MAX_DEPTH {
        return Err(io::Error::other("its folders are too deep"));
    }
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let kind = entry.file_type()?;
        if kind.is_dir() {
            gather(&entry.path(), depth + 1, files)?;
        } else if kind.is_file() {
            files.push(entry.path());
        }
        if files.len() > MAX_FILES {
            return Err(io::Error::other("it has too many files"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_folder_of_templates() {
        let folder = tempfile::tempdir().unwrap();
        let tiny = folder.path().join("tiny");
        fs::create_dir_all(tiny.join("css")).unwrap();
        fs::write(
            tiny.join("manifest.json"),
            r#"{"name":"Tiny","dir":"../x","new":1}"#,
        )
        .unwrap();
        fs::write(tiny.join("css/a.css"), "a").unwrap();
        fs::create_dir(folder.path().join("none")).unwrap();
        fs::create_dir(folder.path().join("bad")).unwrap();
        fs::write(folder.path().join("bad/manifest.json"), "{").unwrap();
        #[cfg(unix)]
        std::os::unix::fs::symlink("/etc/hostname", tiny.join("link")).unwrap();
        let store = Store::read(folder.path());
        assert_eq!(store.list().len(), 1);
        let template = store.get("tiny").unwrap();
        assert_eq!(
            serde_json::to_string(&template.meta).unwrap(),
            r#"{"name":"Tiny","description":"","category":"","icon":"","dir":"tiny","source":"store"}"#
        );
        let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(&template.bundle[..]));
        let names: Vec<String> = archive
            .entries()
            .unwrap()
            .map(|entry| entry.unwrap().path().unwrap().display().to_string())
            .collect();
        assert_eq!(names, ["tiny/css/a.css", "tiny/manifest.json"]);
        assert!(Store::read(&folder.path().join("missing")).is_empty());
    }
}
