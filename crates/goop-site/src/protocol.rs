//! `/goop/site/1.0.0`, both ends, byte for byte as the Go program speaks it (network.md 7.2).

use std::io;

use bytes::BytesMut;
use goop_identity::PeerId;
use goop_identity::seal::Keyring;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;

use crate::body::FileReader;
use crate::line::{IDLE_DEADLINE, LineError, read_exact, read_line};
use crate::path::SitePath;
use crate::site::{Content, Site, SiteError, SiteFile};

/// The protocol id.
pub const PROTOCOL: &str = "/goop/site/1.0.0";
/// Longest request or header line.
pub const MAX_LINE: usize = 8 * 1024;
/// Largest file that is sealed: both sides hold it in memory. A Go peer refuses more in any form.
pub const MAX_SEALED_FILE: u64 = 50 * 1024 * 1024;
/// Largest sealed answer, in base64, that is read (network.md 7.2).
pub const MAX_SEALED_ANSWER: u64 = 100 * 1024 * 1024;
/// What a sealed request begins with.
const SEALED: &[u8] = b"ENC:";

/// Why serving ended early. The caller has nobody left to tell.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// No request, or not in time.
    #[error("no request: {0}")]
    Line(#[from] LineError),
    /// The stream or the file failed in the middle.
    #[error("the answer broke off: {0}")]
    Io(#[from] io::Error),
    /// The caller did not take the answer.
    #[error("the caller stopped reading")]
    Stalled,
}

/// Answers one request of `caller`. The stream is left open for the router to close.
///
/// # Errors
/// See [`ServeError`].
pub async fn serve<S>(
    caller: PeerId,
    stream: &mut S,
    site: &Site,
    keys: &impl Keyring,
) -> Result<(), ServeError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut buffer = BytesMut::new();
    let line = read_line(stream, &mut buffer, MAX_LINE).await?;
    match find(&line, &caller, site, keys) {
        Ok(file) => send(caller, stream, file, keys).await,
        Err(refusal) => write(stream, format!("ERR {refusal}\n").as_bytes()).await,
    }
}

fn find(
    line: &[u8],
    caller: &PeerId,
    site: &Site,
    keys: &impl Keyring,
) -> Result<SiteFile, &'static str> {
    let line = line.trim_ascii();
    let opened;
    let request = match line.strip_prefix(SEALED) {
        Some(sealed) => {
            opened = keys.open_from(caller, sealed).ok_or("bad request")?;
            &opened[..]
        }
        None => line,
    };
    let path = request.strip_prefix(b"GET ").ok_or("bad request")?;
    if path.is_empty() {
        return Err("bad request");
    }
    SitePath::parse(path)
        .map_err(SiteError::from)
        .and_then(|path| site.get(&path))
        .map_err(|error| match error {
            SiteError::Forbidden => "forbidden",
            SiteError::NotFound => "not found",
            SiteError::Io(error) => {
                tracing::warn!(%error, "a file of the site cannot be read");
                "not found"
            }
        })
}

async fn send<S>(
    caller: PeerId,
    stream: &mut S,
    file: SiteFile,
    keys: &impl Keyring,
) -> Result<(), ServeError>
where
    S: AsyncWrite + Unpin,
{
    let kind = file.peer_type;
    // An empty probe tells whether sealing is on, before a large file is read for nothing.
    if file.len <= MAX_SEALED_FILE && keys.seal_for(&caller, b"").is_some() {
        let plain = whole(file).await?;
        if let Some(sealed) = keys.seal_for(&caller, &plain) {
            let head = format!("EOK {kind} {}\n", sealed.len());
            write(stream, &[head.as_bytes(), sealed.as_bytes()].concat()).await?;
        }
        return Ok(());
    }
    let head = format!("OK {kind} {}\n", file.len);
    match file.content {
        Content::Memory(kept) => write(stream, &[head.as_bytes(), &kept.bytes].concat()).await,
        Content::File(open) => {
            write(stream, head.as_bytes()).await?;
            let mut reader = FileReader::new(open, 0, file.len);
            while let Some(chunk) = reader.chunk().await {
                write(stream, &chunk?).await?;
            }
            Ok(())
        }
    }
}

async fn whole(file: SiteFile) -> io::Result<Vec<u8>> {
    match file.content {
        Content::Memory(kept) => Ok(kept.bytes.to_vec()),
        Content::File(open) => {
            let mut reader = FileReader::new(open, 0, file.len);
            let mut bytes = Vec::with_capacity(usize::try_from(file.len).unwrap_or_default());
            while let Some(chunk) = reader.chunk().await {
                bytes.extend_from_slice(&chunk?);
            }
            Ok(bytes)
        }
    }
}

async fn write<S: AsyncWrite + Unpin>(stream: &mut S, bytes: &[u8]) -> Result<(), ServeError> {
    let written = async {
        stream.write_all(bytes).await?;
        stream.flush().await
    };
    timeout(IDLE_DEADLINE, written)
        .await
        .map_err(|_| ServeError::Stalled)?
        .map_err(ServeError::Io)
}

/// Why nothing was fetched.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// The peer has no such file.
    #[error("not found")]
    NotFound,
    /// The peer does not serve it.
    #[error("forbidden")]
    Forbidden,
    /// The peer answered with another error.
    #[error("the peer answered: {0}")]
    Refused(String),
    /// The answer is not one of this protocol.
    #[error("the peer's answer makes no sense: {0}")]
    BadAnswer(&'static str),
    /// A sealed answer that our keys do not open.
    #[error("the peer's answer is sealed with a key that is not known here")]
    Sealed,
    /// The stream ended, failed, or was too slow.
    #[error(transparent)]
    Line(#[from] LineError),
    /// The stream failed.
    #[error("the stream failed: {0}")]
    Io(#[from] io::Error),
}

/// A fetched file.
#[derive(Debug)]
pub struct Fetched {
    /// The type the peer named.
    pub content_type: String,
    /// Its length.
    pub len: u64,
    /// What has arrived of it already; all of it where the answer was sealed.
    pub start: bytes::Bytes,
    /// Whether the rest (`len` minus the start) is still to be read from the stream.
    pub streaming: bool,
}

/// The header of an answer.
#[derive(Debug, PartialEq, Eq)]
pub struct Header<'a> {
    /// `EOK`.
    pub sealed: bool,
    /// The named type; it may contain spaces.
    pub content_type: &'a str,
    /// Bytes that follow.
    pub len: u64,
}

/// Reads the header line of an answer, without its line break.
///
/// # Errors
/// The peer's error, or [`FetchError::BadAnswer`].
pub fn parse_header(line: &[u8]) -> Result<Header<'_>, FetchError> {
    let line = std::str::from_utf8(line)
        .map_err(|_| FetchError::BadAnswer("the header is not text"))?
        .trim();
    if let Some(reason) = line.strip_prefix("ERR ") {
        return Err(match reason {
            "not found" => FetchError::NotFound,
            "forbidden" => FetchError::Forbidden,
            other => FetchError::Refused(other.chars().take(200).collect()),
        });
    }
    let (sealed, rest) = match (line.strip_prefix("OK "), line.strip_prefix("EOK ")) {
        (Some(rest), _) => (false, rest),
        (None, Some(rest)) => (true, rest),
        (None, None) => return Err(FetchError::BadAnswer("unknown header")),
    };
    let (content_type, len) = rest
        .rsplit_once(' ')
        .ok_or(FetchError::BadAnswer("no length"))?;
    let len = len
        .parse()
        .map_err(|_| FetchError::BadAnswer("the length is no number"))?;
    Ok(Header {
        sealed,
        content_type,
        len,
    })
}

/// Asks for a path and reads the header of the answer, and all of a sealed one.
///
/// # Errors
/// See [`FetchError`].
pub async fn fetch<S>(
    peer: PeerId,
    stream: &mut S,
    path: &str,
    keys: &impl Keyring,
) -> Result<Fetched, FetchError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let path = if path.is_empty() || path == "/" {
        "/index.html"
    } else {
        path
    };
    if path.contains(['\n', '\r']) {
        return Err(FetchError::NotFound);
    }
    let request = format!("GET {path}");
    let line = match keys.seal_for(&peer, request.as_bytes()) {
        Some(sealed) => format!("ENC:{sealed}\n"),
        None => format!("{request}\n"),
    };
    stream.write_all(line.as_bytes()).await?;
    stream.flush().await?;
    let mut buffer = BytesMut::new();
    let header = read_line(stream, &mut buffer, MAX_LINE).await?;
    let header = parse_header(&header)?;
    let content_type = header.content_type.to_owned();
    if !header.sealed {
        let known = usize::try_from(header.len)
            .unwrap_or(usize::MAX)
            .min(buffer.len());
        let start = buffer.split_to(known).freeze();
        return Ok(Fetched {
            content_type,
            len: header.len,
            start,
            streaming: known as u64 != header.len,
        });
    }
    let len = usize::try_from(header.len.min(MAX_SEALED_ANSWER + 1)).unwrap_or(usize::MAX);
    if len as u64 > MAX_SEALED_ANSWER {
        return Err(FetchError::BadAnswer("the sealed answer is too large"));
    }
    let sealed = read_exact(stream, &mut buffer, len).await?;
    let plain = keys.open_from(&peer, &sealed).ok_or(FetchError::Sealed)?;
    Ok(Fetched {
        content_type,
        len: plain.len() as u64,
        start: plain.into(),
        streaming: false,
    })
}
