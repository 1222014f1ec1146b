//! `/goop/avatar/1.0.0`, both ends (network.md 7.4), and the pictures of others as files.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use goop_identity::PeerId;
use goop_identity::avatar::{Avatar, AvatarFile, AvatarHash, MAX_REMOTE, sniff_image};
use goop_identity::files::{self, Privacy};
use goop_identity::seal::Keyring;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;

use crate::line::{IDLE_DEADLINE, LineError, read_exact, read_line};
use crate::{DialError, Dialer};

/// The protocol id.
pub const PROTOCOL: &str = "/goop/avatar/1.0.0";
/// Longest header: `EOK ` and a number.
const MAX_HEADER: usize = 64;
/// Largest sealed picture, in base64 (network.md 7.4).
const MAX_SEALED: usize = 2 * 1024 * 1024;
/// The whole of a fetch (viewer-api.md 2.1).
const FETCH_DEADLINE: Duration = Duration::from_secs(5);
/// Most pictures that are kept.
const MAX_KEPT: usize = 1_024;

/// Why no picture came.
#[derive(Debug, thiserror::Error)]
pub enum AvatarError {
    /// The peer cannot be reached.
    #[error(transparent)]
    Dial(#[from] DialError),
    /// The answer is not one of this protocol.
    #[error("unexpected response")]
    BadAnswer,
    /// The picture is too large.
    #[error("refusing avatar size {0}")]
    TooLarge(u64),
    /// A sealed picture that our keys do not open.
    #[error("the picture is sealed with a key that is not known here")]
    Sealed,
    /// Not the picture that was announced, or no picture at all.
    #[error("the peer sent something else than the picture it announced")]
    Forged,
    /// Too slow.
    #[error("the peer did not send its picture within {} s", FETCH_DEADLINE.as_secs())]
    TimedOut,
    /// The stream failed.
    #[error(transparent)]
    Line(#[from] LineError),
    /// The disk failed.
    #[error("the picture cannot be kept: {0}")]
    Io(#[from] io::Error),
}

/// Answers one caller with the own picture. The stream is left open for the router to close.
///
/// # Errors
/// When the caller does not take it.
pub async fn serve<S>(
    caller: PeerId,
    stream: &mut S,
    own: &AvatarFile,
    keys: &impl Keyring,
) -> io::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let answer = match own.current() {
        None => b"NONE\n".to_vec(),
        Some(avatar) => match keys.seal_for(&caller, &avatar.bytes) {
            Some(sealed) => format!("EOK {}\n{sealed}", sealed.len()).into_bytes(),
            None => [
                format!("OK {}\n", avatar.bytes.len()).as_bytes(),
                &avatar.bytes,
            ]
            .concat(),
        },
    };
    let written = async {
        stream.write_all(&answer).await?;
        stream.flush().await
    };
    timeout(IDLE_DEADLINE, written).await?
}

/// Reads a peer's picture; `None` when it has none. The bytes are not yet compared with what was announced.
///
/// # Errors
/// See [`AvatarError`].
pub async fn fetch<S>(
    peer: PeerId,
    stream: &mut S,
    keys: &impl Keyring,
) -> Result<Option<Vec<u8>>, AvatarError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut buffer = BytesMut::new();
    let header = read_line(stream, &mut buffer, MAX_HEADER).await?;
    let (sealed, len) = match parse_header(&header)? {
        None => return Ok(None),
        Some(header) => header,
    };
    let limit = if sealed { MAX_SEALED } else { MAX_REMOTE };
    let len = usize::try_from(len)
        .ok()
        .filter(|len| *len <= limit)
        .ok_or(AvatarError::TooLarge(len))?;
    let bytes = read_exact(stream, &mut buffer, len).await?;
    if !sealed {
        return Ok(Some(bytes));
    }
    keys.open_from(&peer, &bytes)
        .map(Some)
        .ok_or(AvatarError::Sealed)
}

/// The header of an answer: `None` for no picture, else whether it is sealed and how long it is.
///
/// # Errors
/// [`AvatarError::BadAnswer`].
pub fn parse_header(line: &[u8]) -> Result<Option<(bool, u64)>, AvatarError> {
    let line = std::str::from_utf8(line)
        .map_err(|_| AvatarError::BadAnswer)?
        .trim();
    if line == "NONE" {
        return Ok(None);
    }
    let (sealed, len) = match (line.strip_prefix("OK "), line.strip_prefix("EOK ")) {
        (Some(len), _) => (false, len),
        (None, Some(len)) => (true, len),
        (None, None) => return Err(AvatarError::BadAnswer),
    };
    len.trim()
        .parse()
        .map(|len| Some((sealed, len)))
        .map_err(|_| AvatarError::BadAnswer)
}

/// Pictures of others, on disk under the peer's folder, each under the hash its owner announced and checked against
/// it. The folder goes with a polite end.
#[derive(Debug, Clone)]
pub struct AvatarCache {
    folder: PathBuf,
    /// One fetch a peer at a time.
    fetching: Arc<Mutex<HashMap<PeerId, Weak<tokio::sync::Mutex<()>>>>>,
}

impl AvatarCache {
    /// The cache in `folder`, which is made when the first picture comes.
    #[must_use]
    pub fn at(folder: &Path) -> Self {
        Self {
            folder: folder.to_owned(),
            fetching: Arc::default(),
        }
    }

    /// The picture of a peer with the announced hash: from the disk, else from the peer.
    ///
    /// # Errors
    /// See [`AvatarError`].
    pub async fn get<D: Dialer>(
        &self,
        peer: PeerId,
        announced: &AvatarHash,
        dialer: &D,
        keys: &impl Keyring,
    ) -> Result<Option<Avatar>, AvatarError> {
        if let Some(kept) = self.kept(&peer, announced) {
            return Ok(Some(kept));
        }
        let turn = self.turn(peer);
        let _turn = turn.lock().await;
        if let Some(kept) = self.kept(&peer, announced) {
            return Ok(Some(kept));
        }
        let fetched = async {
            let mut stream = dialer.open(peer, PROTOCOL).await?;
            fetch(peer, &mut stream, keys).await
        };
        let Some(bytes) = timeout(FETCH_DEADLINE, fetched)
            .await
            .map_err(|_| AvatarError::TimedOut)??
        else {
            return Ok(None);
        };
        let content_type = sniff_image(&bytes).ok_or(AvatarError::Forged)?;
        if AvatarHash::of(&bytes) != *announced {
            return Err(AvatarError::Forged);
        }
        self.keep(&peer, announced, &bytes)?;
        Ok(Some(Avatar {
            bytes: bytes.into(),
            hash: announced.clone(),
            content_type,
        }))
    }

    /// The picture on disk, if it is the announced one.
    #[must_use]
    pub fn kept(&self, peer: &PeerId, announced: &AvatarHash) -> Option<Avatar> {
        let (picture, hash) = self.paths(peer);
        if fs::read_to_string(hash).ok()?.trim() != announced.as_str() {
            return None;
        }
        let bytes = fs::read(picture)
            .ok()
            .filter(|bytes| AvatarHash::of(bytes) == *announced)?;
        let content_type = sniff_image(&bytes)?;
        Some(Avatar {
            bytes: Bytes::from(bytes),
            hash: announced.clone(),
            content_type,
        })
    }

    fn keep(&self, peer: &PeerId, hash: &AvatarHash, bytes: &[u8]) -> io::Result<()> {
        fs::create_dir_all(&self.folder)?;
        // Two files a picture; more than this is a flood, not a neighbourhood.
        if fs::read_dir(&self.folder)?.count() >= 2 * MAX_KEPT {
            return Ok(());
        }
        let (picture_path, hash_path) = self.paths(peer);
        files::replace(&picture_path, bytes, Privacy::Public)?;
        files::replace(&hash_path, hash.as_str().as_bytes(), Privacy::Public)
    }

    fn paths(&self, peer: &PeerId) -> (PathBuf, PathBuf) {
        let name = peer.to_base58();
        (
            self.folder.join(format!("{name}.png")),
            self.folder.join(format!("{name}.hash")),
        )
    }

    fn turn(&self, peer: PeerId) -> Arc<tokio::sync::Mutex<()>> {
        let mut fetching = self.fetching.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(turn) = fetching.get(&peer).and_then(Weak::upgrade) {
            return turn;
        }
        fetching.retain(|_, turn| turn.strong_count() > 0);
        let turn = Arc::new(tokio::sync::Mutex::new(()));
        fetching.insert(peer, Arc::downgrade(&turn));
        turn
    }

    /// Throws everything away; the web is ephemeral.
    pub fn clear(&self) {
        if let Err(error) = fs::remove_dir_all(&self.folder)
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::debug!(%error, "the pictures of others could not be removed");
        }
    }
}
