//! HTTP answers for a site's files: conditional requests, one range, compression (RFC 9110).
//!
//! Used for the own site in the browser and for neighbours over libp2p alike. Several ranges at once are answered
//! with the whole file, which RFC 9110 (14.2) allows. Files over 256 KiB are not compressed.

use http::header::{
    ACCEPT_ENCODING, ACCEPT_RANGES, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE,
    ETAG, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, LAST_MODIFIED, RANGE, VARY,
};
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode};

use crate::body::{FileReader, SiteBody};
use crate::path::SitePath;
use crate::site::{Content, Said, Site, SiteError, SiteFile};
use crate::types::is_compressible;

/// Below this, compressing costs more than it saves.
const MIN_COMPRESSED: u64 = 1_024;

/// Answers a request for a path of the site.
///
/// # Errors
/// See [`SiteError`]; the caller decides what a person sees.
pub fn respond(
    site: &Site,
    method: &Method,
    path: &SitePath,
    headers: &HeaderMap,
) -> Result<Response<SiteBody>, SiteError> {
    let file = site.get(path)?;
    let mut response = answer(file, headers);
    if method == Method::HEAD {
        *response.body_mut() = SiteBody::Empty;
    }
    Ok(response)
}

/// Answers a request with a file.
#[must_use]
pub fn answer(file: SiteFile, headers: &HeaderMap) -> Response<SiteBody> {
    let packable = file.len >= MIN_COMPRESSED && is_compressible(file.content_type);
    let packed = packable
        && headers.get(RANGE).is_none()
        && headers.get(ACCEPT_ENCODING).is_some_and(accepts_gzip);
    if packed
        && let Content::Memory(kept) = &file.content
        && let Some(gzip) = kept.gzip()
    {
        let mut response = describe(&file, &kept.said.packed_etag, &kept.said.modified, true);
        if not_modified(&file, &kept.said.packed_etag, headers) {
            *response.status_mut() = StatusCode::NOT_MODIFIED;
            return response;
        }
        response
            .headers_mut()
            .insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        set_length(&mut response, gzip.len() as u64);
        *response.body_mut() = gzip.clone().into();
        return response;
    }
    let said = match &file.content {
        Content::Memory(kept) => kept.said.clone(),
        Content::File(_) => Said::of(&file.etag, file.modified),
    };
    let mut response = describe(&file, &said.etag, &said.modified, packable);
    if not_modified(&file, &said.etag, headers) {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        return response;
    }
    let len = file.len;
    let (start, wanted) = match requested_range(headers, &file) {
        Wanted::All => (0, len),
        Wanted::Part { start, len: part } => {
            *response.status_mut() = StatusCode::PARTIAL_CONTENT;
            set_range(
                &mut response,
                &format!("bytes {start}-{}/{len}", start + part - 1),
            );
            (start, part)
        }
        Wanted::Impossible => {
            *response.status_mut() = StatusCode::RANGE_NOT_SATISFIABLE;
            set_range(&mut response, &format!("bytes */{len}"));
            set_length(&mut response, 0);
            return response;
        }
    };
    set_length(&mut response, wanted);
    *response.body_mut() = match file.content {
        Content::Memory(kept) => {
            let from = usize::try_from(start).unwrap_or_default();
            let to = usize::try_from(start + wanted).unwrap_or_default();
            kept.bytes.slice(from..to).into()
        }
        Content::File(file) => SiteBody::File(FileReader::new(file, start, wanted)),
    };
    response
}

fn describe(
    file: &SiteFile,
    etag: &HeaderValue,
    modified: &HeaderValue,
    varies: bool,
) -> Response<SiteBody> {
    let mut response = Response::new(SiteBody::Empty);
    let headers = response.headers_mut();
    // With what a caller may add.
    headers.reserve(12);
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(file.content_type));
    headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    headers.insert(ETAG, etag.clone());
    headers.insert(LAST_MODIFIED, modified.clone());
    if varies {
        headers.insert(VARY, HeaderValue::from_static("accept-encoding"));
    }
    response
}

fn set_length(response: &mut Response<SiteBody>, len: u64) {
    response.headers_mut().insert(CONTENT_LENGTH, len.into());
}

fn set_range(response: &mut Response<SiteBody>, text: &str) {
    if let Ok(value) = HeaderValue::from_str(text) {
        response.headers_mut().insert(CONTENT_RANGE, value);
    }
}

/// Whether gzip is among the accepted encodings with a weight above zero.
#[must_use]
pub fn accepts_gzip(accepted: &HeaderValue) -> bool {
    let Ok(accepted) = accepted.to_str() else {
        return false;
    };
    accepted.split(',').any(|item| {
        let mut parts = item.split(';').map(str::trim);
        let named = parts
            .next()
            .is_some_and(|name| name.eq_ignore_ascii_case("gzip"));
        let refused = parts.any(|part| {
            part.strip_prefix("q=")
                .is_some_and(|q| q.trim_matches(['0', '.']).is_empty())
        });
        named && !refused
    })
}

/// RFC 9110, 13.2.2: the validator decides; the date only where none was sent.
fn not_modified(file: &SiteFile, etag: &HeaderValue, headers: &HeaderMap) -> bool {
    if let Some(known) = headers.get(IF_NONE_MATCH) {
        let known = known.to_str().ok().zip(etag.to_str().ok());
        return known.is_some_and(|(known, etag)| matches_etag(known, etag));
    }
    let since = headers
        .get(IF_MODIFIED_SINCE)
        .and_then(|since| since.to_str().ok());
    let since = since.and_then(|since| httpdate::parse_http_date(since).ok());
    // HTTP dates have whole seconds.
    since.is_some_and(|since| file.modified <= since + std::time::Duration::from_millis(999))
}

/// Weak comparison against a list of validators (RFC 9110, 8.8.3.2).
#[must_use]
pub fn matches_etag(known: &str, etag: &str) -> bool {
    fn bare(tag: &str) -> &str {
        tag.trim().trim_start_matches("W/")
    }
    known
        .split(',')
        .any(|tag| tag.trim() == "*" || bare(tag) == bare(etag))
}

enum Wanted {
    All,
    Part { start: u64, len: u64 },
    Impossible,
}

fn requested_range(headers: &HeaderMap, file: &SiteFile) -> Wanted {
    let Some(range) = headers.get(RANGE).and_then(|range| range.to_str().ok()) else {
        return Wanted::All;
    };
    if let Some(condition) = headers
        .get(IF_RANGE)
        .and_then(|condition| condition.to_str().ok())
    {
        // Only a strong validator proves that the part fits to what the client has.
        let same = if condition.starts_with('"') {
            condition == &*file.etag
        } else {
            httpdate::parse_http_date(condition).is_ok_and(|date| {
                httpdate::fmt_http_date(date) == httpdate::fmt_http_date(file.modified)
            })
        };
        if !same {
            return Wanted::All;
        }
    }
    let Some(spec) = range
        .strip_prefix("bytes=")
        .filter(|spec| !spec.contains(','))
    else {
        return Wanted::All;
    };
    let Some((first, last)) = spec.trim().split_once('-') else {
        return Wanted::All;
    };
    let part = match (first.trim().parse::<u64>(), last.trim().parse::<u64>()) {
        (Ok(first), Ok(last)) if first <= last => {
            Some((first, last.min(file.len.saturating_sub(1))))
        }
        (Ok(first), Err(_)) if last.trim().is_empty() => Some((first, file.len.saturating_sub(1))),
        (Err(_), Ok(suffix)) if first.trim().is_empty() => {
            if suffix == 0 {
                return Wanted::Impossible;
            }
            Some((file.len.saturating_sub(suffix), file.len.saturating_sub(1)))
        }
        _ => None,
    };
    match part {
        None => Wanted::All,
        Some((start, end)) if start < file.len && start <= end => Wanted::Part {
            start,
            len: end - start + 1,
        },
        Some(_) => Wanted::Impossible,
    }
}
