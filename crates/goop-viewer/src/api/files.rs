//! The files of the own site (viewer-api.md 10): what the editor and the owner's programs use.

use std::sync::Arc;

use axum::extract::{Query, State};
use axum::response::Response;
use bytes::Bytes;
use goop_site::store::{
    Edited, Entry, IfMatch, Restored, Saved, Store, StoreError, StorePath, etag,
};
use http::StatusCode;
use serde::{Deserialize, Serialize};

use crate::front::Shared;
use crate::reply::{error, json, parse};

/// Most matches of a search, and how many where none was said.
const MAX_MATCHES: usize = 1_000;
const USUAL_MATCHES: usize = 200;
/// What is opened where no path is given.
pub(super) const INDEX: &str = "index.html";

/// Does something with the store where it may wait for the disk.
pub(super) async fn with_store<T: Send + 'static>(
    shared: &Shared,
    work: impl FnOnce(&Store) -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    let store = shared.context.store.clone();
    match tokio::task::spawn_blocking(move || work(&store)).await {
        Ok(done) => done,
        Err(panicked) => Err(StoreError::Io(std::io::Error::other(panicked))),
    }
}

/// An error as the Go program's clients know it; `refused` is the status of what the caller did wrong.
pub(super) fn failed(failure: &StoreError, refused: StatusCode) -> Response {
    let status = match failure {
        StoreError::Full => StatusCode::INSUFFICIENT_STORAGE,
        StoreError::Io(_) => StatusCode::INTERNAL_SERVER_ERROR,
        _ => refused,
    };
    error(status, &failure.to_string())
}

/// One file or folder.
#[derive(Serialize, utoipa::ToSchema)]
#[serde(rename_all = "PascalCase")]
struct FileRow {
    path: String,
    is_dir: bool,
    depth: usize,
    size: u64,
    /// Unix milliseconds.
    modified: u64,
}

impl From<Entry> for FileRow {
    fn from(entry: Entry) -> Self {
        Self {
            path: entry.path,
            is_dir: entry.is_dir,
            depth: entry.depth,
            size: entry.len,
            modified: entry.modified,
        }
    }
}

/// Every file and folder, parents first. No file is opened for it.
#[utoipa::path(get, path = "/api/site/files", tag = "site", responses((status = 200, body = Vec<FileRow>), (status = 500)))]
pub(crate) async fn list(State(shared): State<Arc<Shared>>) -> Response {
    match with_store(&shared, Store::list).await {
        Ok(entries) => json(
            StatusCode::OK,
            &entries.into_iter().map(FileRow::from).collect::<Vec<_>>(),
        ),
        Err(failure) => failed(&failure, StatusCode::INTERNAL_SERVER_ERROR),
    }
}

#[derive(Deserialize, utoipa::IntoParams)]
pub(crate) struct At {
    /// Below the site's root.
    #[serde(default)]
    path: String,
}

/// A file as the editor needs it.
#[derive(Serialize, utoipa::ToSchema)]
struct Opened {
    /// Its text; empty when `binary`.
    content: String,
    etag: String,
    path: String,
    /// It is no text, or too large to edit.
    binary: bool,
    size: u64,
}

impl Opened {
    fn of(path: &StorePath, edited: Edited) -> Self {
        Self {
            binary: edited.text.is_none(),
            content: edited.text.unwrap_or_default(),
            etag: edited.etag,
            path: path.as_text(),
            size: edited.len,
        }
    }
}

/// One file; `index.html` where no path is given.
#[utoipa::path(get, path = "/api/site/content", tag = "site", params(At), responses((status = 200, body = Opened), (status = 404), (status = 500)))]
pub(crate) async fn content(State(shared): State<Arc<Shared>>, Query(at): Query<At>) -> Response {
    let wanted = if at.path.is_empty() {
        INDEX.to_owned()
    } else {
        at.path
    };
    let opened = with_store(&shared, move |store| {
        let path = StorePath::parse(&wanted)?;
        store.read(&path).map(|edited| Opened::of(&path, edited))
    });
    match opened.await {
        Ok(opened) => json(StatusCode::OK, &opened),
        Err(failure) => failed(&failure, StatusCode::NOT_FOUND),
    }
}

#[derive(Deserialize, Default, utoipa::ToSchema)]
#[serde(default)]
pub(crate) struct Save {
    path: String,
    content: String,
    /// The etag the writer knows; `none` or nothing for a new file; `any` to replace whatever is there, which is kept as
    /// an older version.
    if_match: String,
}

/// What was written.
#[derive(Serialize, utoipa::ToSchema)]
pub(super) struct Written {
    etag: String,
    path: String,
    status: &'static str,
    /// Brings back, through `/api/site/undo`, what was replaced by a writer who did not say what it knew.
    #[serde(skip_serializing_if = "Option::is_none")]
    undo: Option<String>,
}

impl Written {
    pub(super) fn of(path: &StorePath, saved: Saved, status: &'static str) -> Self {
        Self {
            etag: saved.etag,
            path: path.as_text(),
            status,
            undo: saved.undo,
        }
    }
}

/// Somebody else's version is there. Nothing was written.
#[derive(Serialize, utoipa::ToSchema)]
pub(super) struct Conflict {
    error: &'static str,
    path: String,
    /// Of what is on the disk now; empty when it is gone.
    etag: String,
    /// Empty when `binary`.
    content: String,
    binary: bool,
}

impl Conflict {
    /// `now` is what is there, if anything is.
    pub(super) fn at(path: &StorePath, now: Option<Edited>) -> Self {
        let (etag, text) = now.map_or_else(Default::default, |now| (now.etag, now.text));
        let there = !etag.is_empty();
        Self {
            error: "conflict",
            path: path.as_text(),
            etag,
            binary: there && text.is_none(),
            content: text.unwrap_or_default(),
        }
    }
}

/// Saves a text of at most 4 MiB. When the file changed since `if_match`, or is there although the writer knows of none,
/// the answer is 409 with what is there now, and nothing is written. The same text a second time is fine.
#[utoipa::path(post, path = "/api/site/save", tag = "site", request_body = Save,
    responses((status = 200, body = Written), (status = 400, description = "the path cannot be used, or is a folder"),
        (status = 409, body = Conflict), (status = 500), (status = 507, description = "the disk is full; nothing was changed")))]
pub(crate) async fn save(State(shared): State<Arc<Shared>>, body: Bytes) -> Response {
    let save: Save = match parse(&body) {
        Ok(save) => save,
        Err(text) => return error(StatusCode::BAD_REQUEST, &text),
    };
    let path = match StorePath::parse(&save.path) {
        Ok(path) => path,
        Err(failure) => return failed(&failure, StatusCode::BAD_REQUEST),
    };
    let known = match save.if_match.as_str() {
        "" => IfMatch::New,
        "any" => IfMatch::Any,
        known => IfMatch::parse(known),
    };
    let target = path.clone();
    let written = with_store(&shared, move |store| {
        match store.write(&target, save.content.as_bytes(), &known) {
            Err(StoreError::Conflict) => match store.read(&target).ok() {
                // Two clicks on one button.
                Some(now) if now.etag == etag(save.content.as_bytes()) => Ok(Ok(Saved {
                    etag: now.etag,
                    undo: None,
                })),
                now => Ok(Err(now)),
            },
            other => other.map(Ok),
        }
    });
    match written.await {
        Ok(Ok(saved)) => json(StatusCode::OK, &Written::of(&path, saved, "saved")),
        Ok(Err(now)) => json(StatusCode::CONFLICT, &Conflict::at(&path, now)),
        Err(failure) => failed(&failure, StatusCode::BAD_REQUEST),
    }
}

#[derive(Deserialize, Default, utoipa::ToSchema)]
#[serde(default)]
pub(crate) struct Named {
    path: String,
}

#[derive(Deserialize, Default, utoipa::ToSchema)]
#[serde(default)]
pub(crate) struct Moved {
    from: String,
    to: String,
}

fn status(status: &str) -> Response {
    json(StatusCode::OK, &serde_json::json!({ "status": status }))
}

fn moved(done: Result<(), StoreError>, word: &str) -> Response {
    match done {
        Ok(()) => status(word),
        Err(failure @ (StoreError::Exists | StoreError::Conflict)) => {
            failed(&failure, StatusCode::CONFLICT)
        }
        Err(failure) => failed(&failure, StatusCode::BAD_REQUEST),
    }
}

/// Makes a folder and those above it.
#[utoipa::path(post, path = "/api/site/mkdir", tag = "site", request_body = Named, responses((status = 200), (status = 400), (status = 409), (status = 500), (status = 507, description = "the disk is full; nothing was changed")))]
pub(crate) async fn mkdir(State(shared): State<Arc<Shared>>, body: Bytes) -> Response {
    let named: Named = match parse(&body) {
        Ok(named) => named,
        Err(text) => return error(StatusCode::BAD_REQUEST, &text),
    };
    let made = with_store(&shared, move |store| {
        store.make_folder(&StorePath::parse(&named.path)?)
    });
    moved(made.await, "created")
}

/// Moves a file or folder. Nothing is replaced: 409 when something is there.
#[utoipa::path(post, path = "/api/site/rename", tag = "site", request_body = Moved, responses((status = 200), (status = 400), (status = 409), (status = 500), (status = 507, description = "the disk is full; nothing was changed")))]
pub(crate) async fn rename(State(shared): State<Arc<Shared>>, body: Bytes) -> Response {
    let Moved { from, to } = match parse(&body) {
        Ok(moved) => moved,
        Err(text) => return error(StatusCode::BAD_REQUEST, &text),
    };
    let done = with_store(&shared, move |store| {
        store.rename(&StorePath::parse(&from)?, &StorePath::parse(&to)?)
    });
    moved(done.await, "renamed")
}

/// Copies a file, or a folder with everything in it.
#[utoipa::path(post, path = "/api/site/copy", tag = "site", request_body = Moved, responses((status = 200), (status = 400), (status = 409), (status = 500), (status = 507, description = "the disk is full; nothing was changed")))]
pub(crate) async fn copy(State(shared): State<Arc<Shared>>, body: Bytes) -> Response {
    let Moved { from, to } = match parse(&body) {
        Ok(moved) => moved,
        Err(text) => return error(StatusCode::BAD_REQUEST, &text),
    };
    let done = with_store(&shared, move |store| {
        store.copy(&StorePath::parse(&from)?, &StorePath::parse(&to)?)
    });
    moved(done.await, "copied")
}

#[derive(Serialize, utoipa::ToSchema)]
struct Deleted {
    status: &'static str,
    /// Brings it back through `/api/site/undo`.
    undo: String,
}

/// Deletes a file, or a folder with everything in it. It can be brought back for a while.
#[utoipa::path(post, path = "/api/site/delete", tag = "site", request_body = Named, responses((status = 200, body = Deleted), (status = 400), (status = 500), (status = 507, description = "the disk is full; nothing was changed")))]
pub(crate) async fn delete(State(shared): State<Arc<Shared>>, body: Bytes) -> Response {
    let Named { path } = match parse(&body) {
        Ok(named) => named,
        Err(text) => return error(StatusCode::BAD_REQUEST, &text),
    };
    if path.is_empty() {
        return error(StatusCode::BAD_REQUEST, "path required");
    }
    match with_store(&shared, move |store| {
        store.delete(&StorePath::parse(&path)?)
    })
    .await
    {
        Ok(undo) => json(
            StatusCode::OK,
            &Deleted {
                status: "deleted",
                undo,
            },
        ),
        Err(failure) => failed(&failure, StatusCode::BAD_REQUEST),
    }
}

#[derive(Deserialize, Default, utoipa::ToSchema)]
#[serde(default)]
pub(crate) struct Undo {
    undo: String,
}

#[derive(Serialize, utoipa::ToSchema)]
struct Undone {
    path: String,
    status: &'static str,
    /// Brings back what was in its place.
    #[serde(skip_serializing_if = "Option::is_none")]
    undo: Option<String>,
}

/// Brings back what was deleted, or an older version. What that takes the place of can be brought back in turn. When
/// something else has the place, or the file was changed since, nothing happens (409).
#[utoipa::path(post, path = "/api/site/undo", tag = "site", request_body = Undo,
    responses((status = 200, body = Undone), (status = 400), (status = 404, description = "it is too long ago"), (status = 409), (status = 500), (status = 507)))]
pub(crate) async fn undo(State(shared): State<Arc<Shared>>, body: Bytes) -> Response {
    let Undo { undo } = match parse(&body) {
        Ok(undo) => undo,
        Err(text) => return error(StatusCode::BAD_REQUEST, &text),
    };
    match with_store(&shared, move |store| store.restore(&undo)).await {
        Ok(Restored { path, undo }) => json(
            StatusCode::OK,
            &Undone {
                path,
                status: "restored",
                undo,
            },
        ),
        Err(failure @ StoreError::NotFound) => failed(&failure, StatusCode::NOT_FOUND),
        Err(StoreError::Conflict) => error(
            StatusCode::CONFLICT,
            "the file was changed since; it stays as it is. Move it away to bring the older version back",
        ),
        Err(failure) => failed(&failure, StatusCode::CONFLICT),
    }
}

#[derive(Deserialize, utoipa::IntoParams)]
pub(crate) struct Wanted {
    /// What to look for, whatever the case of letters.
    #[serde(default)]
    q: String,
    /// Most matches (200; never more than 1,000).
    limit: Option<usize>,
}

#[derive(Serialize, utoipa::ToSchema)]
struct Matches {
    matches: Vec<Matched>,
    /// There may be more.
    more: bool,
}

#[derive(Serialize, utoipa::ToSchema)]
struct Matched {
    path: String,
    /// Counted from 1, as the column.
    line: usize,
    column: usize,
    text: String,
}

/// Looks for a text in the site's text files.
#[utoipa::path(get, path = "/api/site/search", tag = "site", params(Wanted), responses((status = 200, body = Matches), (status = 500)))]
pub(crate) async fn search(
    State(shared): State<Arc<Shared>>,
    Query(wanted): Query<Wanted>,
) -> Response {
    let limit = wanted.limit.unwrap_or(USUAL_MATCHES).min(MAX_MATCHES);
    match with_store(&shared, move |store| store.search(&wanted.q, limit)).await {
        Ok((found, more)) => {
            let matches = found.into_iter().map(|found| Matched {
                path: found.path,
                line: found.line,
                column: found.column,
                text: found.text,
            });
            json(
                StatusCode::OK,
                &Matches {
                    matches: matches.collect(),
                    more,
                },
            )
        }
        Err(failure) => failed(&failure, StatusCode::BAD_REQUEST),
    }
}
