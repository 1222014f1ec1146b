//! The own picture (`avatar.png`) and the initials that stand in for a missing one (peer-directory.md 7).

use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use bytes::Bytes;
use sha2::{Digest, Sha256};

use crate::files::{self, Privacy};

/// Largest own picture (peer-directory.md 7).
pub const MAX_OWN: usize = 256 * 1024;
/// Largest picture that is taken from somebody else (network.md 7.4).
pub const MAX_REMOTE: usize = 512 * 1024;

/// The short hash by which a picture is announced: the first 8 bytes of its SHA-256, as 16 lower-case hex digits.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct AvatarHash(String);

impl AvatarHash {
    /// The hash of a picture.
    #[must_use]
    pub fn of(picture: &[u8]) -> Self {
        use std::fmt::Write;
        let digest = Sha256::digest(picture);
        let mut text = String::with_capacity(16);
        for byte in &digest[..8] {
            // Writing to a String cannot fail.
            let _ = write!(text, "{byte:02x}");
        }
        Self(text)
    }

    /// Reads an announced hash; `None` unless it is exactly 16 lower-case hex digits.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let right =
            text.len() == 16 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        right.then(|| Self(text.to_owned()))
    }

    /// The 16 hex digits.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A picture with its hash and type.
#[derive(Debug, Clone)]
pub struct Avatar {
    /// The file as it is.
    pub bytes: Bytes,
    /// Its announced hash.
    pub hash: AvatarHash,
    /// Its media type, found in its bytes.
    pub content_type: &'static str,
}

/// Why a picture is not taken. The texts are shown to the person.
#[derive(Debug, thiserror::Error)]
pub enum AvatarError {
    /// Over [`MAX_OWN`].
    #[error("file too large (max 256KB)")]
    TooLarge,
    /// Not a PNG, JPEG, GIF or WebP.
    #[error("the file is not a PNG, JPEG, GIF or WebP picture")]
    NotAPicture,
    /// The file system refused.
    #[error("the picture could not be saved: {0}")]
    Io(#[from] io::Error),
}

/// The media type of a picture, by its first bytes. Vector graphics are left out: they can carry scripts.
#[must_use]
pub fn sniff_image(bytes: &[u8]) -> Option<&'static str> {
    match bytes {
        [0x89, b'P', b'N', b'G', 0x0D, 0x0A, 0x1A, 0x0A, ..] => Some("image/png"),
        [0xFF, 0xD8, 0xFF, ..] => Some("image/jpeg"),
        [b'G', b'I', b'F', b'8', b'7' | b'9', b'a', ..] => Some("image/gif"),
        [
            b'R',
            b'I',
            b'F',
            b'F',
            _,
            _,
            _,
            _,
            b'W',
            b'E',
            b'B',
            b'P',
            ..,
        ] => Some("image/webp"),
        _ => None,
    }
}

/// The picture file of a peer folder. Cheap to clone; a change made by hand in the folder is noticed at the next look.
#[derive(Debug, Clone)]
pub struct AvatarFile {
    path: PathBuf,
    seen: Arc<Mutex<Seen>>,
}

#[derive(Debug, Default)]
struct Seen {
    stamp: Option<(u64, SystemTime)>,
    avatar: Option<Avatar>,
}

impl AvatarFile {
    /// The picture at `path`, which need not exist.
    #[must_use]
    pub fn open(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
            seen: Arc::default(),
        }
    }

    /// The picture as it is on disk now; `None` when there is none, or it is no picture, or it is too large.
    #[must_use]
    pub fn current(&self) -> Option<Avatar> {
        let stamp = fs::metadata(&self.path)
            .ok()
            .filter(|meta| meta.is_file())
            .and_then(|meta| Some((meta.len(), meta.modified().ok()?)));
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.stamp != stamp {
            seen.avatar = stamp.and_then(|_| self.read());
            seen.stamp = stamp;
        }
        seen.avatar.clone()
    }

    fn read(&self) -> Option<Avatar> {
        let mut bytes = Vec::new();
        fs::File::open(&self.path)
            .ok()?
            .take(MAX_REMOTE as u64 + 1)
            .read_to_end(&mut bytes)
            .ok()?;
        if bytes.len() > MAX_REMOTE {
            tracing::warn!(path = %self.path.display(), "avatar.png is larger than others accept; it is not shown");
            return None;
        }
        let content_type = sniff_image(&bytes)?;
        Some(Avatar {
            hash: AvatarHash::of(&bytes),
            bytes: Bytes::from(bytes),
            content_type,
        })
    }

    /// Replaces the picture.
    ///
    /// # Errors
    /// See [`AvatarError`]; the old picture stays.
    pub fn set(&self, picture: &[u8]) -> Result<AvatarHash, AvatarError> {
        if picture.len() > MAX_OWN {
            return Err(AvatarError::TooLarge);
        }
        sniff_image(picture).ok_or(AvatarError::NotAPicture)?;
        files::replace(&self.path, picture, Privacy::Public)?;
        self.forget();
        Ok(AvatarHash::of(picture))
    }

    /// Removes the picture; it is fine when there is none.
    ///
    /// # Errors
    /// When the file system refuses.
    pub fn remove(&self) -> Result<(), AvatarError> {
        let removed = fs::remove_file(&self.path);
        self.forget();
        match removed {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error.into()),
            _ => Ok(()),
        }
    }

    fn forget(&self) {
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = Seen::default();
    }
}

/// The colours a drawn avatar may have, in the order the Go program picks from (peer-directory.md 7).
const PALETTE: [&str; 14] = [
    "#e74c3c", "#e67e22", "#f1c40f", "#2ecc71", "#1abc9c", "#3498db", "#9b59b6", "#e91e63",
    "#00bcd4", "#ff5722", "#607d8b", "#795548", "#8bc34a", "#673ab7",
];

/// The picture of somebody who has none: a coloured disc with initials, as an SVG document.
#[must_use]
pub fn initials_svg(label: &str, email: &str) -> String {
    let mut hasher = Sha256::new();
    hasher.update(label.as_bytes());
    hasher.update(email.as_bytes());
    let colour = PALETTE[usize::from(hasher.finalize()[0]) % PALETTE.len()];
    let text = escape_xml(&initials(label));
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"256\" height=\"256\" viewBox=\"0 0 256 256\">\
         <rect width=\"256\" height=\"256\" rx=\"128\" fill=\"{colour}\"/>\
         <text x=\"128\" y=\"128\" dy=\".35em\" text-anchor=\"middle\" font-family=\"sans-serif\" font-size=\"100\" \
         font-weight=\"600\" fill=\"#fff\">{text}</text></svg>"
    )
}

/// First letters of the first two words, or the first two letters of a single one; `?` for nobody.
fn initials(label: &str) -> String {
    let mut words = label.split_whitespace();
    let letters: String = match (words.next(), words.next()) {
        (None, _) => "?".to_owned(),
        (Some(one), None) => one.chars().take(2).collect(),
        (Some(first), Some(second)) => first
            .chars()
            .take(1)
            .chain(second.chars().take(1))
            .collect(),
    };
    letters.to_uppercase()
}

fn escape_xml(text: &str) -> String {
    text.chars()
        .filter(|c| !c.is_control())
        .map(|c| match c {
            '<' => "&lt;".to_owned(),
            '>' => "&gt;".to_owned(),
            '&' => "&amp;".to_owned(),
            '"' => "&quot;".to_owned(),
            other => other.to_string(),
        })
        .collect()
}
