//! The floors: the least that could do a line's work, each a hidden command and so a process of its own.
//!
//! They use the same libraries in the same versions with the same compiler settings and as many worker threads as a
//! peer, and leave out everything a peer does beyond moving the bytes.

pub(crate) mod ask;
pub(crate) mod host;
pub(crate) mod http;
pub(crate) mod node;
pub(crate) mod seen;
pub(crate) mod splice;
pub(crate) mod sqlite;

use anyhow::Result;

/// Worker threads of a peer at most (`goop_peer`); the floors get the same.
const MAX_WORKERS: usize = 4;

pub(crate) fn runtime() -> Result<tokio::runtime::Runtime> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    Ok(tokio::runtime::Builder::new_multi_thread()
        .worker_threads(cores.min(MAX_WORKERS))
        .enable_all()
        .build()?)
}
