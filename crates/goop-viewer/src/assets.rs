//! The pages: files embedded in the binary.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::{LazyLock, Mutex, PoisonError};

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use http::header::{
    ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG,
    IF_NONE_MATCH, REFERRER_POLICY, VARY, X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderMap, HeaderValue, StatusCode};
use rust_embed::RustEmbed;
use sha2::{Digest, Sha256};

use crate::reply::not_found;

#[derive(RustEmbed)]
#[folder = "assets/"]
struct Assets;

/// Pages of the control origin: own scripts and styles only, no HTML from strings (Trusted Types), sites in frames.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; \
     connect-src 'self' http://*.localhost:*; font-src 'self'; frame-src http://*.localhost:* http://127.0.0.1:*; \
     manifest-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; \
     require-trusted-types-for 'script'; trusted-types 'none'";

/// The styles in the order they are joined: a browser asks for them once.
const STYLES: [&str; 13] = [
    "tokens", "shell", "parts", "forms", "overlays", "panes", "peers", "visiting", "self", "logs",
    "topology", "docs", "editor",
];
/// Where the joined styles are.
const JOINED: &str = "pages.css";

static JOINED_STYLES: LazyLock<(Vec<u8>, [u8; 32])> = LazyLock::new(|| {
    let files = STYLES
        .iter()
        .filter_map(|name| Assets::get(&format!("css/{name}.css")));
    let joined = files.fold(Vec::new(), |mut joined, file| {
        joined.extend_from_slice(&file.data);
        joined
    });
    let hash = Sha256::digest(&joined).into();
    (joined, hash)
});

/// A file's bytes and their hash.
fn find(path: &str) -> Option<(Cow<'static, [u8]>, [u8; 32])> {
    if path == JOINED {
        let (bytes, hash) = &*JOINED_STYLES;
        return Some((Cow::Borrowed(bytes), *hash));
    }
    Assets::get(path).map(|file| {
        let hash = file.metadata.sha256_hash();
        (file.data, hash)
    })
}

/// Below this, packing costs more than it saves.
const MIN_PACKED: usize = 1_024;

/// Files packed with gzip, each once when it is first asked for.
static PACKED: LazyLock<Mutex<HashMap<String, Bytes>>> = LazyLock::new(Mutex::default);

/// The packed form of a file; `None` where that does not help.
fn packed(path: &str, bytes: &[u8]) -> Option<Bytes> {
    use std::io::Write;
    if bytes.len() < MIN_PACKED {
        return None;
    }
    let mut known = PACKED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(packed) = known.get(path) {
        return Some(packed.clone());
    }
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).ok()?;
    let packed = Bytes::from(encoder.finish().ok()?);
    known.insert(path.to_owned(), packed.clone());
    Some(packed)
}

/// A file of the pages, by its path below `assets/`.
pub(crate) fn file(path: &str, headers: &HeaderMap) -> Response {
    let Some((bytes, hash)) = find(path) else {
        return not_found();
    };
    let kind = goop_site::types::by_extension(
        std::path::Path::new(path),
        goop_site::types::Audience::Browser,
    );
    let accepted = headers
        .get(ACCEPT_ENCODING)
        .is_some_and(goop_site::respond::accepts_gzip);
    let gzip = (accepted && kind.is_some_and(goop_site::types::is_compressible))
        .then(|| packed(path, &bytes))
        .flatten();
    let mark = if gzip.is_some() { "-gz" } else { "" };
    let etag = format!("\"{}{mark}\"", hex(&hash[..16]));
    let known = headers
        .get(IF_NONE_MATCH)
        .and_then(|known| known.to_str().ok());
    let unchanged = known.is_some_and(|known| goop_site::respond::matches_etag(known, &etag));
    let is_packed = gzip.is_some();
    let body = match (gzip, bytes) {
        _ if unchanged => Body::empty(),
        (Some(gzip), _) => Body::from(gzip),
        (None, Cow::Borrowed(bytes)) => Body::from(bytes),
        (None, Cow::Owned(bytes)) => Body::from(bytes),
    };
    let mut response = Response::new(body);
    if unchanged {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
    } else if is_packed {
        response
            .headers_mut()
            .insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    let out = response.headers_mut();
    out.insert(
        CONTENT_TYPE,
        HeaderValue::from_static(kind.unwrap_or(goop_site::types::UNKNOWN)),
    );
    out.insert(VARY, HeaderValue::from_static("accept-encoding"));
    // Asked about at each load; a new program brings new pages at once.
    out.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    out.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if let Ok(etag) = HeaderValue::from_str(&etag) {
        out.insert(ETAG, etag);
    }
    response
}

/// The one HTML page; its script shows what the URL names.
pub(crate) fn shell(headers: &HeaderMap) -> Response {
    let mut response = file("index.html", headers);
    let out = response.headers_mut();
    out.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    out.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    response
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pictures_that_settings_name_are_there() {
        for name in ["goop2-splash", "goop2-splash2", "goop2-splash3"] {
            let picture = Assets::get(&format!("images/{name}.png")).map(|file| file.data);
            assert!(
                picture.is_some_and(|bytes| bytes.starts_with(b"\x89PNG")),
                "{name}"
            );
            assert!(
                Assets::get(&format!("images/{name}.svg")).is_some(),
                "{name}"
            );
        }
    }

    #[test]
    fn every_style_is_joined() {
        let mut files: Vec<String> = Assets::iter()
            .filter_map(|path| Some(path.strip_prefix("css/")?.strip_suffix(".css")?.to_owned()))
            .collect();
        files.sort();
        let mut listed = STYLES.map(str::to_owned).to_vec();
        listed.sort();
        assert_eq!(files, listed);
        assert!(JOINED_STYLES.0.starts_with(b"/* Every colour"));
    }
}
