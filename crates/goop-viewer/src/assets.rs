//! The pages: files in the binary, made ready by `build/pack.rs`.
//!
//! A file has two addresses. With the version of the whole set in it (`/assets/<version>/…`) it never changes, so a
//! browser keeps it and does not ask again; that is how our own pages name files. Without, it is asked about each time.
//! An old version's address leads nowhere: a page must not mix two programs, and loads anew instead.

use std::borrow::Cow;
use std::io::Read;
use std::sync::LazyLock;

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use flate2::read::GzDecoder;
use http::header::{
    ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG,
    IF_NONE_MATCH, REFERRER_POLICY, VARY, X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderMap, HeaderValue, StatusCode};

use crate::control::Mode;
use crate::reply::not_found;

/// A file as it lies in the binary.
#[derive(Debug)]
struct Embedded {
    path: &'static str,
    /// SHA-256 of what it is when unpacked, the first 16 bytes in hex.
    hash: &'static str,
    /// Bytes when unpacked.
    length: usize,
    /// Whether `bytes` is gzip: where that is smaller.
    is_packed: bool,
    bytes: &'static [u8],
}

// `VERSION` and `FILES`, the latter sorted by path.
include!(concat!(env!("OUT_DIR"), "/assets.rs"));

/// Pages of the control origin: own scripts and styles only, no HTML from strings (Trusted Types), sites in frames.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; \
     connect-src 'self' http://*.localhost:*; font-src 'self'; frame-src http://*.localhost:* http://127.0.0.1:*; \
     manifest-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; \
     require-trusted-types-for 'script'; trusted-types 'none'";

/// Asked about at each load; a new program brings new pages at once.
const ASK: HeaderValue = HeaderValue::from_static("no-cache");
/// Never asked about again (RFC 8246).
const KEEP: HeaderValue = HeaderValue::from_static("private, max-age=31536000, immutable");

impl Embedded {
    /// What a client gets that takes packed answers, or not.
    fn body(&self, packed: bool) -> Cow<'static, [u8]> {
        if packed || !self.is_packed {
            return Cow::Borrowed(self.bytes);
        }
        let mut unpacked = Vec::with_capacity(self.length);
        // Our own bytes; reading from memory into memory cannot fail.
        let _ = GzDecoder::new(self.bytes).read_to_end(&mut unpacked);
        Cow::Owned(unpacked)
    }
}

fn find(path: &str) -> Option<&'static Embedded> {
    let place = FILES.binary_search_by(|file| file.path.cmp(path)).ok()?;
    FILES.get(place)
}

/// A file of the pages, by what follows `/assets/` in its address.
pub(crate) fn file(address: &str, headers: &HeaderMap) -> Response {
    let versioned = address
        .strip_prefix(VERSION)
        .and_then(|rest| rest.strip_prefix('/'));
    let Some(file) = find(versioned.unwrap_or(address)) else {
        return not_found();
    };
    let accepted = headers
        .get(ACCEPT_ENCODING)
        .is_some_and(goop_site::respond::accepts_gzip);
    let packed = accepted && file.is_packed;
    let mark = if packed { "-gz" } else { "" };
    let etag = format!("\"{}{mark}\"", file.hash);
    let known = headers
        .get(IF_NONE_MATCH)
        .and_then(|known| known.to_str().ok());
    let unchanged = known.is_some_and(|known| goop_site::respond::matches_etag(known, &etag));
    let mut response = if unchanged {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        response
    } else {
        Response::new(match file.body(packed) {
            Cow::Borrowed(bytes) => Body::from(bytes),
            Cow::Owned(bytes) => Body::from(bytes),
        })
    };
    let out = response.headers_mut();
    if packed && !unchanged {
        out.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    let kind = goop_site::types::by_extension(
        std::path::Path::new(file.path),
        goop_site::types::Audience::Browser,
    );
    out.insert(
        CONTENT_TYPE,
        HeaderValue::from_static(kind.unwrap_or(goop_site::types::UNKNOWN)),
    );
    out.insert(VARY, HeaderValue::from_static("accept-encoding"));
    out.insert(CACHE_CONTROL, if versioned.is_some() { KEEP } else { ASK });
    out.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if let Ok(etag) = HeaderValue::from_str(&etag) {
        out.insert(ETAG, etag);
    }
    response
}

/// The page of a server alone: the same, with a word about it for the script, so that nothing of a peer flashes up.
static ALONE: LazyLock<Bytes> = LazyLock::new(|| {
    let page = find("index.html").map(|file| file.body(false).into_owned());
    let page = String::from_utf8(page.unwrap_or_default()).unwrap_or_default();
    page.replacen("<html ", "<html data-mode=\"rendezvous\" ", 1)
        .into()
});

/// The one HTML page; its script shows what the URL names.
pub(crate) fn shell(headers: &HeaderMap, mode: Mode) -> Response {
    let mut response = match mode {
        Mode::Peer => file("index.html", headers),
        Mode::ServerAlone => {
            let mut response = Response::new(Body::from(ALONE.clone()));
            let out = response.headers_mut();
            out.insert(
                CONTENT_TYPE,
                HeaderValue::from_static("text/html; charset=utf-8"),
            );
            out.insert(CACHE_CONTROL, ASK);
            out.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
            response
        }
    };
    let out = response.headers_mut();
    out.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    out.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    response
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn ask(address: &str, headers: &[(&str, &str)]) -> (StatusCode, HeaderMap, Vec<u8>) {
        let mut asked = HeaderMap::new();
        for (name, value) in headers {
            let name = http::HeaderName::from_bytes(name.as_bytes()).unwrap();
            asked.insert(name, value.parse().unwrap());
        }
        let (parts, body) = file(address, &asked).into_parts();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        let body = runtime
            .block_on(axum::body::to_bytes(body, 1 << 21))
            .unwrap();
        (parts.status, parts.headers, body.to_vec())
    }

    #[test]
    fn the_pictures_that_settings_name_are_there() {
        for name in ["goop2-splash", "goop2-splash2", "goop2-splash3"] {
            let (status, _, picture) = ask(&format!("images/{name}.png"), &[]);
            assert_eq!(status, StatusCode::OK, "{name}");
            assert!(picture.starts_with(b"\x89PNG"), "{name}");
            assert!(find(&format!("images/{name}.svg")).is_some(), "{name}");
        }
    }

    #[test]
    fn files_can_be_found_by_their_path() {
        for file in FILES {
            assert_eq!(find(file.path).map(|found| found.path), Some(file.path));
        }
        assert!(find("js/nobody.js").is_none());
    }

    #[test]
    fn whoever_takes_no_gzip_gets_the_same_file_unpacked() {
        for file in FILES {
            let (_, headers, packed) = ask(file.path, &[("accept-encoding", "gzip")]);
            let (_, plain_headers, plain) = ask(file.path, &[]);
            assert_eq!(plain.len(), file.length, "{}", file.path);
            assert!(!plain_headers.contains_key(CONTENT_ENCODING));
            assert_eq!(headers.contains_key(CONTENT_ENCODING), file.is_packed);
            if file.is_packed {
                let mut unpacked = Vec::new();
                GzDecoder::new(&packed[..])
                    .read_to_end(&mut unpacked)
                    .unwrap();
                assert_eq!(unpacked, plain, "{}", file.path);
                assert!(packed.len() < plain.len(), "{}", file.path);
                assert_ne!(headers[ETAG], plain_headers[ETAG]);
            }
        }
    }

    #[test]
    fn a_browser_keeps_what_has_a_version_and_asks_about_the_rest() {
        let versioned = format!("{VERSION}/pages.css");
        assert_eq!(ask(&versioned, &[]).1[CACHE_CONTROL], KEEP);
        let (_, headers, _) = ask("pages.css", &[]);
        assert_eq!(headers[CACHE_CONTROL], ASK);
        let etag = headers[ETAG].to_str().unwrap();
        let (status, _, body) = ask("pages.css", &[("if-none-match", etag)]);
        assert_eq!((status, body.len()), (StatusCode::NOT_MODIFIED, 0));
        assert_eq!(ask("000000000000/pages.css", &[]).0, StatusCode::NOT_FOUND);
    }

    #[test]
    fn the_page_names_only_files_of_its_version() {
        let (_, _, page) = ask("index.html", &[]);
        let page = String::from_utf8(page).unwrap();
        let named: Vec<&str> = page
            .split("/assets/")
            .skip(1)
            .filter_map(|rest| rest.split('"').next())
            .collect();
        assert!(named.len() >= 3, "{named:?}");
        for address in named {
            assert!(address.starts_with(VERSION), "{address}");
            assert_eq!(ask(address, &[]).0, StatusCode::OK, "{address}");
        }
    }
}
