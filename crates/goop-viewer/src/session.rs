//! How the owner proves to be the owner.
//!
//! At start a link with a one-time token is printed; following it sets a cookie. Programs send the control token from
//! `data/control.token` as a bearer token instead. Both are derived from a key of the folder ([`Secret`]), so a reload
//! after a restart stays signed in, nothing has to be stored for it, and a copy of one does not give the other.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use goop_identity::Keypair;
use goop_identity::files::{self, Privacy};
use goop_identity::seal::NaclKeys;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

/// The file with the control token, mode 0600.
pub const TOKEN_FILE: &str = "control.token";
/// The file beside it that says where the API is; it is of the last start.
pub const URL_FILE: &str = "control.url";

/// What the session is derived from: nobody without the folder's keys can make it.
#[derive(Clone)]
pub struct Secret([u8; 32]);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret")
    }
}

impl Secret {
    const PURPOSE: &'static [u8] = b"goop2 viewer session";

    /// Of the key pair of a peer.
    #[must_use]
    pub fn of_peer(keypair: &Keypair) -> Self {
        Self(
            keypair
                .derive_secret(Self::PURPOSE)
                .unwrap_or_else(rand::random),
        )
    }

    /// Of the sealing keys of a folder that is no peer's. Without any, the owner signs in anew after each start.
    #[must_use]
    pub fn of_sealing(keys: Option<&NaclKeys>) -> Self {
        let Some(keys) = keys else {
            return Self(rand::random());
        };
        Self(keys.secret.derive_secret(Self::PURPOSE))
    }
}

/// The proofs of this peer's owner.
pub struct Session {
    cookie_name: String,
    cookie: String,
    bearer: String,
    /// The token of the start link; gone once it was used.
    start: Mutex<Option<String>>,
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session")
            .field("cookie_name", &self.cookie_name)
            .finish_non_exhaustive()
    }
}

impl Session {
    /// The session of an owner whose control pages listen on `port`. The port is in the cookie's name because browsers
    /// keep one set of cookies for all ports of a host.
    #[must_use]
    pub fn new(Secret(secret): &Secret, port: u16) -> Self {
        let derive = |purpose: &[u8]| {
            hex(&Sha256::new()
                .chain_update(purpose)
                .chain_update(secret)
                .finalize())
        };
        Self {
            cookie_name: format!("goop2_owner_{port}"),
            cookie: derive(b"cookie:"),
            bearer: derive(b"bearer:"),
            start: Mutex::new(Some(hex(&rand::random::<[u8; 16]>()))),
        }
    }

    /// Writes the control token for programs, and where they find the API.
    ///
    /// # Errors
    /// When the file system refuses.
    pub fn write_token(&self, folder: &Path, url: &str) -> io::Result<PathBuf> {
        let path = folder.join(TOKEN_FILE);
        files::create_secret_folder(folder)?;
        files::replace(&folder.join(URL_FILE), url.as_bytes(), Privacy::Secret)?;
        files::replace(&path, self.bearer.as_bytes(), Privacy::Secret)?;
        Ok(path)
    }

    /// The token of the start link, while it was not used.
    #[must_use]
    pub fn start_token(&self) -> Option<String> {
        self.start
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Takes the start token; it works once.
    #[must_use]
    pub fn redeem(&self, token: &str) -> bool {
        let mut start = self.start.lock().unwrap_or_else(PoisonError::into_inner);
        let right = start.as_deref().is_some_and(|right| same(right, token));
        if right {
            *start = None;
        }
        right
    }

    /// The `Set-Cookie` of a redeemed link.
    #[must_use]
    pub fn set_cookie(&self) -> String {
        // A month; the peer is asked for a new link after that.
        format!(
            "{}={}; Path=/; HttpOnly; SameSite=Strict; Max-Age=2592000",
            self.cookie_name, self.cookie
        )
    }

    /// Whether the request's `Cookie` or `Authorization` header proves the owner.
    #[must_use]
    pub fn is_owner(&self, cookies: Option<&str>, authorization: Option<&str>) -> bool {
        let by_cookie = cookies.is_some_and(|cookies| {
            let values = cookies
                .split(';')
                .filter_map(|cookie| cookie.trim().split_once('='));
            values
                .filter(|(name, _)| *name == self.cookie_name)
                .any(|(_, value)| same(&self.cookie, value))
        });
        by_cookie
            || authorization
                .and_then(|text| text.strip_prefix("Bearer "))
                .is_some_and(|token| same(&self.bearer, token.trim()))
    }
}

fn same(right: &str, given: &str) -> bool {
    right.as_bytes().ct_eq(given.as_bytes()).into()
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes
        .iter()
        .fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
            // Writing to a String cannot fail.
            let _ = write!(text, "{byte:02x}");
            text
        })
}
