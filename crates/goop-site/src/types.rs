//! Media types: by extension first, then by the first bytes (network.md 7.2, viewer-api.md 7).

use std::path::Path;

/// Who is told. Both name the same things; the wire keeps the Go program's spelling for scripts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Audience {
    /// A peer over the site protocol: `text/javascript`.
    Peer,
    /// A browser: `application/javascript`, as the Go viewer says.
    Browser,
}

/// What the first 512 bytes decide when the extension says nothing.
pub const SNIFF: usize = 512;

/// Type of bytes nobody can name.
pub const UNKNOWN: &str = "application/octet-stream";
/// Type of text nobody can name.
pub const TEXT: &str = "text/plain; charset=utf-8";

/// The type of a file, by its name and, if that says nothing, its first bytes.
#[must_use]
pub fn content_type(path: &Path, first: &[u8], audience: Audience) -> &'static str {
    by_extension(path, audience).unwrap_or_else(|| sniff(first))
}

/// The type that an extension, in any case of letters, stands for.
#[must_use]
pub fn by_extension(path: &Path, audience: Audience) -> Option<&'static str> {
    let extension = path.extension()?.to_str()?.to_ascii_lowercase();
    Some(match extension.as_str() {
        "html" | "htm" => "text/html; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "js" | "mjs" => match audience {
            Audience::Peer => "text/javascript; charset=utf-8",
            Audience::Browser => "application/javascript; charset=utf-8",
        },
        "json" | "map" => "application/json",
        "webmanifest" => "application/manifest+json",
        "xml" => "text/xml; charset=utf-8",
        "txt" => TEXT,
        "md" => "text/markdown; charset=utf-8",
        "csv" => "text/csv; charset=utf-8",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "jpg" | "jpeg" => "image/jpeg",
        "gif" => "image/gif",
        "webp" => "image/webp",
        "avif" => "image/avif",
        "ico" => "image/x-icon",
        "bmp" => "image/bmp",
        "woff" => "font/woff",
        "woff2" => "font/woff2",
        "ttf" => "font/ttf",
        "otf" => "font/otf",
        "mp3" => "audio/mpeg",
        "ogg" | "oga" | "opus" => "audio/ogg",
        "wav" => "audio/wav",
        "flac" => "audio/flac",
        "m4a" => "audio/mp4",
        "mp4" | "m4v" => "video/mp4",
        "webm" => "video/webm",
        "pdf" => "application/pdf",
        "wasm" => "application/wasm",
        "zip" => "application/zip",
        "gz" => "application/gzip",
        _ => return None,
    })
}

/// The type that a remote peer named, unless it named nothing useful (viewer-api.md 7).
#[must_use]
pub fn for_browser<'a>(path: &Path, named: &'a str) -> std::borrow::Cow<'a, str> {
    let vague = named.is_empty() || named.starts_with("text/plain") || named.starts_with(UNKNOWN);
    match by_extension(path, Audience::Browser) {
        Some(known) if vague || known.starts_with("application/javascript") => known.into(),
        _ if named.is_empty() => UNKNOWN.into(),
        _ => named.into(),
    }
}

/// The type of bytes, after the WHATWG's table where it matters for a site.
#[must_use]
pub fn sniff(first: &[u8]) -> &'static str {
    let first = &first[..first.len().min(SNIFF)];
    if let Some(picture) = goop_identity::avatar::sniff_image(first) {
        return picture;
    }
    let text = first.trim_ascii_start().to_ascii_lowercase();
    if [
        &b"<!doctype html"[..],
        b"<html",
        b"<head",
        b"<body",
        b"<script",
        b"<h1",
        b"<div",
        b"<title",
        b"<p>",
        b"<!--",
    ]
    .iter()
    .any(|tag| text.starts_with(tag))
    {
        return "text/html; charset=utf-8";
    }
    if text.starts_with(b"<?xml") {
        return "text/xml; charset=utf-8";
    }
    match first {
        [b'%', b'P', b'D', b'F', b'-', ..] => "application/pdf",
        [b'P', b'K', 3, 4, ..] => "application/zip",
        [0x1F, 0x8B, 8, ..] => "application/x-gzip",
        _ if first.iter().any(|byte| is_binary(*byte)) => UNKNOWN,
        _ => TEXT,
    }
}

/// Bytes that never stand in text (WHATWG mimesniff, "binary data byte").
fn is_binary(byte: u8) -> bool {
    matches!(byte, 0..=8 | 0x0B | 0x0E..=0x1A | 0x1C..=0x1F)
}

/// Whether compressing pays.
#[must_use]
pub fn is_compressible(content_type: &str) -> bool {
    let kind = content_type.split(';').next().unwrap_or_default().trim();
    kind.starts_with("text/")
        || matches!(
            kind,
            "application/javascript"
                | "application/json"
                | "application/manifest+json"
                | "image/svg+xml"
                | "application/wasm"
        )
}
