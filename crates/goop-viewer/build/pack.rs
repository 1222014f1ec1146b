//! The files of the pages as they lie in the binary.
//!
//! Modules become few files, styles one. Then the whole set gets a version, the hash of all of it, that stands in the
//! addresses by which pages name files (`/assets/` becomes `/assets/<version>/`): what is at such an address never
//! changes, so a browser may keep it. At last each file is packed, and the smaller form is what goes into the binary.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::path::Path;

use flate2::Compression;
use flate2::write::GzEncoder;
use sha2::{Digest, Sha256};

use super::join::{Sources, join};

/// The module that runs first, and the one that holds what several pages need.
const FIRST: &str = "js/boot.js";
const SHELL: &str = "js/app.js";
/// Components that stand ready, with their tests, for pages that come with later subsystems; until a page imports one, it
/// is not in the program.
const WAITING: [&str; 1] = ["js/components/date-time.js"];
/// The styles in the order they are joined: what comes later counts.
const STYLES: [&str; 16] = [
    "tokens", "shell", "parts", "forms", "overlays", "panes", "peers", "chat", "visiting", "self",
    "logs", "topology", "docs", "editor", "pickers", "database",
];
/// Where the joined styles are.
const JOINED_STYLES: &str = "pages.css";
/// How a style names a drawing of ours.
const DRAWING: &str = "url(\"/assets/";
/// The one page.
const PAGE: &str = "index.html";
/// How our files name each other.
const PREFIX: &str = "/assets/";

/// Reads `assets` and writes into `out` the files and `assets.rs`, which lists them.
///
/// # Errors
/// A text for whoever builds: a file cannot be read, or a module or style does not fit.
pub(crate) fn pack(assets: &Path, out: &Path) -> Result<(), String> {
    let mut files = BTreeMap::new();
    read(assets, "", &mut files)?;
    let scripts = join_scripts(&mut files)?;
    let styles = join_styles(&mut files)?;
    let ours: BTreeSet<String> = scripts.keys().cloned().chain([PAGE.to_owned()]).collect();
    files.extend(scripts);
    files.insert(JOINED_STYLES.to_owned(), styles);
    let version = version_of(&files);
    for path in ours {
        let text = files
            .get(&path)
            .ok_or_else(|| format!("{path} is missing"))?;
        let text = String::from_utf8_lossy(text).replace(PREFIX, &format!("{PREFIX}{version}/"));
        files.insert(path, text.into_bytes());
    }
    let mut list = format!("const VERSION: &str = {version:?};\nstatic FILES: &[Embedded] = &[\n");
    for (place, (path, bytes)) in files.iter().enumerate() {
        let packed = gzip(bytes).map_err(|error| format!("{path}: {error}"))?;
        let is_packed = packed.len() < bytes.len();
        let name = format!("asset-{place}");
        let stored = out.join(&name);
        fs::write(&stored, if is_packed { &packed } else { bytes })
            .map_err(|error| format!("{}: {error}", stored.display()))?;
        let (hash, length) = (&hex(&Sha256::digest(bytes))[..32], bytes.len());
        // Writing to a String cannot fail.
        let _ = writeln!(
            list,
            "    Embedded {{ path: {path:?}, hash: {hash:?}, length: {length}, is_packed: {is_packed}, \
             bytes: include_bytes!(\"{name}\") }},"
        );
    }
    list.push_str("];\n");
    fs::write(out.join("assets.rs"), list).map_err(|error| error.to_string())
}

fn read(folder: &Path, below: &str, files: &mut BTreeMap<String, Vec<u8>>) -> Result<(), String> {
    let failed = |error: std::io::Error| format!("{}: {error}", folder.display());
    for entry in fs::read_dir(folder).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let name = entry
            .file_name()
            .into_string()
            .map_err(|name| format!("{name:?} is no text"))?;
        let path = format!("{below}{name}");
        if entry.file_type().map_err(failed)?.is_dir() {
            read(&entry.path(), &format!("{path}/"), files)?;
        } else {
            files.insert(path, fs::read(entry.path()).map_err(failed)?);
        }
    }
    Ok(())
}

fn take(
    files: &mut BTreeMap<String, Vec<u8>>,
    folder: &str,
    ending: &str,
) -> Result<BTreeMap<String, String>, String> {
    let (taken, rest) = std::mem::take(files)
        .into_iter()
        .partition::<BTreeMap<_, _>, _>(|(path, _)| {
            path.starts_with(folder) && path.ends_with(ending)
        });
    *files = rest;
    taken
        .into_iter()
        .map(|(path, bytes)| match String::from_utf8(bytes) {
            Ok(text) => Ok((path, text)),
            Err(_) => Err(format!("{path} is not UTF-8")),
        })
        .collect()
}

fn join_scripts(
    files: &mut BTreeMap<String, Vec<u8>>,
) -> Result<BTreeMap<String, Vec<u8>>, String> {
    let mut modules = take(files, "js/", ".js")?;
    for path in WAITING {
        modules
            .remove(path)
            .ok_or_else(|| format!("{path} is missing"))?;
    }
    let vendored = files
        .keys()
        .filter(|path| path.starts_with("vendor/") && path.ends_with(".js"));
    let joined = join(&Sources {
        modules: &modules,
        vendored: &vendored.cloned().collect(),
        first: FIRST,
        shell: SHELL,
    })?;
    Ok(joined
        .into_iter()
        .map(|(path, text)| (path, text.into_bytes()))
        .collect())
}

fn join_styles(files: &mut BTreeMap<String, Vec<u8>>) -> Result<Vec<u8>, String> {
    let mut styles = take(files, "css/", ".css")?;
    let mut joined = String::new();
    for name in STYLES {
        let path = format!("css/{name}.css");
        joined.push_str(
            &styles
                .remove(&path)
                .ok_or_else(|| format!("{path} is missing"))?,
        );
    }
    match styles.keys().next() {
        Some(unlisted) => Err(format!(
            "{unlisted} is not in the list of styles in build/pack.rs"
        )),
        None => Ok(with_drawings(&joined, files)?.into_bytes()),
    }
}

/// Puts drawings into the styles that show them: one request less each. They stand nowhere else.
fn with_drawings(styles: &str, files: &mut BTreeMap<String, Vec<u8>>) -> Result<String, String> {
    let mut parts = styles.split(DRAWING);
    let mut whole = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (path, rest) = part
            .split_once("\")")
            .ok_or_else(|| format!("{DRAWING} has no end in the styles"))?;
        let drawing = files
            .remove(path)
            .ok_or_else(|| format!("{path} is in the styles, but missing, or there twice"))?;
        let drawing = String::from_utf8(drawing).map_err(|_| format!("{path} is not UTF-8"))?;
        whole.push_str("url(\"data:image/svg+xml,");
        for letter in drawing.trim().chars() {
            match letter {
                // What ends the address or means something in it (RFC 3986 2.1).
                '"' | '#' | '%' | '<' | '>' | '\\' | '\n' | '\r' => {
                    let _ = write!(whole, "%{:02X}", u32::from(letter));
                }
                letter => whole.push(letter),
            }
        }
        whole.push_str("\")");
        whole.push_str(rest);
    }
    Ok(whole)
}

fn version_of(files: &BTreeMap<String, Vec<u8>>) -> String {
    let mut hash = Sha256::new();
    for (path, bytes) in files {
        hash.update(format!("{path}\n{}\n", bytes.len()));
        hash.update(bytes);
    }
    hex(&hash.finalize())[..12].to_owned()
}

fn gzip(bytes: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes)?;
    encoder.finish()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
