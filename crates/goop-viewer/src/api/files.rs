//! The files of the own site (viewer-api.md 10): what the editor and the owner's programs use.

use std::sync::Arc;

use axum::extract::{Multipart, Query, State};
use axum::response::Response;
use bytes::Bytes;
use goop_site::store::{Edited, Entry, IfMatch, Store, StoreError, StorePath};
use http::StatusCode;
use http::header::LOCATION;
use serde::{Deserialize, Serialize};

use crate::reply::{error, json, parse};
use crate::server::Shared;

/// Most matches of a search, and how many where none was said.
const MAX_MATCHES: usize = 1_000;
const USUAL_MATCHES: usize = 200;
/// What is opened where no path is given.
const INDEX: &str = "index.html";

/// Does something with the store where it may wait for the disk.
async fn with_store<T: Send + 'static>(
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
fn failed(failure: &StoreError, refused: StatusCode) -> Response {
    let status = match failure {
        StoreError::Io(_) => StatusCode::INTERNAL_SERVER_ERROR,
        _ => refused,
    };
    error(status, &failure.to_string())
}

/// One file or folder.
#[derive(Serialize, utoipa::ToSchema)]
#[serde(rename_all = "PascalCase")]
struct Listed {
    path: String,
    is_dir: bool,
    depth: usize,
    size: u64,
    /// Unix milliseconds.
    modified: u64,
}

impl From<Entry> for Listed {
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
#[utoipa::path(get, path = "/api/site/files", tag = "site", responses((status = 200, body = Vec<Listed>)))]
pub(crate) async fn list(State(shared): State<Arc<Shared>>) -> Response {
    match with_store(&shared, Store::list).await {
        Ok(entries) => json(
            StatusCode::OK,
            &entries.into_iter().map(Listed::from).collect::<Vec<_>>(),
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
#[utoipa::path(get, path = "/api/site/content", tag = "site", params(At), responses((status = 200, body = Opened), (status = 404)))]
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
    /// The etag the writer knows, `none` for a new file, empty for whatever is there.
    if_match: String,
}

#[derive(Serialize, utoipa::ToSchema)]
struct Written {
    etag: String,
    path: String,
    status: &'static str,
}

#[derive(Serialize, utoipa::ToSchema)]
struct Conflict {
    error: &'static str,
    path: String,
    /// Of what is on the disk now; empty when it is gone.
    etag: String,
    content: String,
    binary: bool,
}

/// Saves a text. When the file changed since `if_match`, the answer is 409 with what is there now, and nothing is
/// written.
#[utoipa::path(post, path = "/api/site/save", tag = "site", request_body = Save,
    responses((status = 200, body = Written), (status = 400), (status = 409, body = Conflict)))]
pub(crate) async fn save(State(shared): State<Arc<Shared>>, body: Bytes) -> Response {
    let save: Save = match parse(&body) {
        Ok(save) => save,
        Err(text) => return error(StatusCode::BAD_REQUEST, &text),
    };
    let path = match StorePath::parse(&save.path) {
        Ok(path) => path,
        Err(failure) => return failed(&failure, StatusCode::BAD_REQUEST),
    };
    let target = path.clone();
    let written = with_store(&shared, move |store| {
        match store.write(
            &target,
            save.content.as_bytes(),
            &IfMatch::parse(&save.if_match),
        ) {
            Err(StoreError::Conflict) => Ok(Err(store.read(&target).ok())),
            other => other.map(Ok),
        }
    });
    match written.await {
        Ok(Ok(etag)) => json(
            StatusCode::OK,
            &Written {
                etag,
                path: path.as_text(),
                status: "saved",
            },
        ),
        Ok(Err(now)) => {
            let (etag, text) = now.map_or_else(Default::default, |now| (now.etag, now.text));
            let there = !etag.is_empty();
            let conflict = Conflict {
                error: "conflict",
                path: path.as_text(),
                etag,
                binary: there && text.is_none(),
                content: text.unwrap_or_default(),
            };
            json(StatusCode::CONFLICT, &conflict)
        }
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
#[utoipa::path(post, path = "/api/site/mkdir", tag = "site", request_body = Named, responses((status = 200), (status = 400), (status = 409)))]
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
#[utoipa::path(post, path = "/api/site/rename", tag = "site", request_body = Moved, responses((status = 200), (status = 400), (status = 409)))]
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
#[utoipa::path(post, path = "/api/site/copy", tag = "site", request_body = Moved, responses((status = 200), (status = 400), (status = 409)))]
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
#[utoipa::path(post, path = "/api/site/delete", tag = "site", request_body = Named, responses((status = 200, body = Deleted), (status = 400)))]
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

/// Brings back what was deleted.
#[utoipa::path(post, path = "/api/site/undo", tag = "site", request_body = Undo, responses((status = 200), (status = 404), (status = 409)))]
pub(crate) async fn undo(State(shared): State<Arc<Shared>>, body: Bytes) -> Response {
    let Undo { undo } = match parse(&body) {
        Ok(undo) => undo,
        Err(text) => return error(StatusCode::BAD_REQUEST, &text),
    };
    match with_store(&shared, move |store| store.restore(&undo)).await {
        Ok(path) => json(
            StatusCode::OK,
            &serde_json::json!({ "status": "restored", "path": path }),
        ),
        Err(failure @ StoreError::NotFound) => failed(&failure, StatusCode::NOT_FOUND),
        Err(failure) => failed(&failure, StatusCode::CONFLICT),
    }
}

/// Takes a file: multipart `path` (where to), then `file`. It is written as it comes and seen when it is whole.
#[utoipa::path(post, path = "/api/site/upload", tag = "site", responses((status = 200, body = Written), (status = 400)))]
pub(crate) async fn upload(
    State(shared): State<Arc<Shared>>,
    form: Result<Multipart, axum::extract::multipart::MultipartRejection>,
) -> Response {
    let bad = |text: &str| error(StatusCode::BAD_REQUEST, text);
    let Ok(mut form) = form else {
        return bad("path required");
    };
    let mut path = None;
    loop {
        let mut field = match form.next_field().await {
            Ok(Some(field)) => field,
            Ok(None) if path.is_none() => return bad("path required"),
            Ok(None) => return bad("file required: http: no such file"),
            Err(failure) => return bad(&format!("request too large or bad form: {failure}")),
        };
        match field.name() {
            Some("path") => match field.text().await.as_deref() {
                Ok("") => return bad("path required"),
                Ok(text) => match StorePath::parse(text) {
                    Ok(parsed) => path = Some(parsed),
                    Err(failure) => return failed(&failure, StatusCode::BAD_REQUEST),
                },
                Err(failure) => return bad(&format!("request too large or bad form: {failure}")),
            },
            Some("file") => {
                let Some(path) = path else {
                    return bad("path required");
                };
                return match receive(&shared, &path, &mut field).await {
                    Ok(etag) => json(
                        StatusCode::OK,
                        &Written {
                            etag,
                            path: path.as_text(),
                            status: "uploaded",
                        },
                    ),
                    Err(failure) => failed(&failure, StatusCode::BAD_REQUEST),
                };
            }
            _ => {}
        }
    }
}

async fn receive(
    shared: &Shared,
    path: &StorePath,
    field: &mut axum::extract::multipart::Field<'_>,
) -> Result<String, StoreError> {
    let target = path.clone();
    let mut upload = with_store(shared, move |store| store.begin(&target)).await?;
    loop {
        let chunk = field
            .chunk()
            .await
            .map_err(|failure| StoreError::Io(std::io::Error::other(failure)))?;
        let Some(chunk) = chunk else { break };
        upload = with_store(shared, move |_| {
            upload.write(&chunk)?;
            Ok(upload)
        })
        .await?;
    }
    with_store(shared, move |_| upload.commit(&IfMatch::Any)).await
}

#[derive(Deserialize, Default, utoipa::ToSchema)]
#[serde(default)]
pub(crate) struct FromDisk {
    dest_path: String,
    /// Any file of this machine that the owner may read.
    src_path: String,
}

/// Copies a file of this machine into the site.
#[utoipa::path(post, path = "/api/site/upload-local", tag = "site", request_body = FromDisk, responses((status = 200, body = Written), (status = 400)))]
pub(crate) async fn upload_local(State(shared): State<Arc<Shared>>, body: Bytes) -> Response {
    let FromDisk {
        dest_path,
        src_path,
    } = match parse(&body) {
        Ok(from) => from,
        Err(text) => return error(StatusCode::BAD_REQUEST, &text),
    };
    if dest_path.is_empty() || src_path.is_empty() {
        return error(StatusCode::BAD_REQUEST, "dest_path and src_path required");
    }
    let path = match StorePath::parse(&dest_path) {
        Ok(path) => path,
        Err(failure) => return failed(&failure, StatusCode::BAD_REQUEST),
    };
    let target = path.clone();
    let copied = with_store(&shared, move |store| {
        let from = match std::fs::File::open(&src_path) {
            Ok(file) if file.metadata().is_ok_and(|meta| meta.is_file()) => file,
            Ok(_) => return Ok(Err("cannot read file: it is no plain file".to_owned())),
            Err(failure) => return Ok(Err(format!("cannot read file: {src_path}: {failure}"))),
        };
        let mut upload = store.begin(&target)?;
        let mut from = std::io::BufReader::with_capacity(256 * 1024, from);
        loop {
            use std::io::BufRead;
            let chunk = from.fill_buf().map_err(StoreError::Io)?;
            if chunk.is_empty() {
                return upload.commit(&IfMatch::Any).map(Ok);
            }
            let len = chunk.len();
            upload.write(chunk)?;
            from.consume(len);
        }
    });
    match copied.await {
        Ok(Ok(etag)) => json(
            StatusCode::OK,
            &Written {
                etag,
                path: path.as_text(),
                status: "uploaded",
            },
        ),
        Ok(Err(text)) => error(StatusCode::BAD_REQUEST, &text),
        Err(failure) => failed(&failure, StatusCode::BAD_REQUEST),
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
#[utoipa::path(get, path = "/api/site/search", tag = "site", params(Wanted), responses((status = 200, body = Matches)))]
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

/// What the Go program's own editor pages post (viewer-api.md 10.1). The forged-request token they carry is not looked
/// at: every request here proved that it is the owner's.
#[derive(Deserialize, Default)]
#[serde(default)]
pub(crate) struct Form {
    path: String,
    if_match: String,
    content: String,
    dir: String,
    name: String,
    recursive: String,
    from: String,
    to: String,
}

fn form(body: &[u8]) -> Form {
    let mut form = Form::default();
    for (key, value) in url::form_urlencoded::parse(body) {
        let field = match &*key {
            "path" => &mut form.path,
            "if_match" => &mut form.if_match,
            "content" => &mut form.content,
            "dir" => &mut form.dir,
            "name" => &mut form.name,
            "recursive" => &mut form.recursive,
            "from" => &mut form.from,
            "to" => &mut form.to,
            _ => continue,
        };
        *field = value.into_owned();
    }
    form
}

/// Where the editor goes after a form.
fn to_editor(done: Result<String, StoreError>, saved: bool) -> Response {
    match done {
        Ok(path) => {
            let path: String = url::form_urlencoded::byte_serialize(path.as_bytes()).collect();
            let mut response = Response::new(axum::body::Body::empty());
            *response.status_mut() = StatusCode::FOUND;
            let end = if saved { "&saved=1" } else { "" };
            if let Ok(to) = http::HeaderValue::from_str(&format!("/edit?path={path}{end}")) {
                response.headers_mut().insert(LOCATION, to);
            }
            response
        }
        Err(StoreError::Conflict) if saved => {
            error(StatusCode::CONFLICT, "conflict: reload and try again")
        }
        Err(StoreError::Exists) => error(StatusCode::BAD_REQUEST, "conflict"),
        Err(failure) => failed(&failure, StatusCode::BAD_REQUEST),
    }
}

/// `dir` and a name of one part; a `dir` that names a file means its folder.
fn beside(store: &Store, dir: &str, name: &str) -> Result<StorePath, StoreError> {
    if name.is_empty() || name == "." || name == ".." {
        return Err(StoreError::BadName("bad filename"));
    }
    if name.contains('/') {
        return Err(StoreError::BadName("filename must not contain slashes"));
    }
    let dir = match StorePath::parse(dir) {
        Ok(path) if store.read(&path).is_ok() => {
            dir.rsplit_once('/').map_or("", |(parent, _)| parent)
        }
        _ => dir,
    };
    StorePath::parse(&format!("{dir}/{name}"))
}

/// Saves from a form.
pub(crate) async fn form_save(State(shared): State<Arc<Shared>>, body: Bytes) -> Response {
    let form = form(&body);
    let done = with_store(&shared, move |store| {
        let path = StorePath::parse(&form.path)?;
        store.write(
            &path,
            form.content.as_bytes(),
            &IfMatch::parse(&form.if_match),
        )?;
        Ok(path.as_text())
    });
    to_editor(done.await, true)
}

/// Makes a folder from a form.
pub(crate) async fn form_mkdir(State(shared): State<Arc<Shared>>, body: Bytes) -> Response {
    let form = form(&body);
    let done = with_store(&shared, move |store| {
        let path = beside(store, &form.dir, &form.name)?;
        store.make_folder(&path)?;
        Ok(format!("{}/{INDEX}", path.as_text()))
    });
    to_editor(done.await, false)
}

/// Makes an empty file from a form.
pub(crate) async fn form_new(State(shared): State<Arc<Shared>>, body: Bytes) -> Response {
    let form = form(&body);
    let done = with_store(&shared, move |store| {
        let path = beside(store, &form.dir, &form.name)?;
        store.write(&path, b"", &IfMatch::New)?;
        Ok(path.as_text())
    });
    to_editor(done.await, false)
}

/// Deletes from a form; a folder with something in it only with `recursive`.
pub(crate) async fn form_delete(State(shared): State<Arc<Shared>>, body: Bytes) -> Response {
    let form = form(&body);
    let done = with_store(&shared, move |store| {
        let path = StorePath::parse(&form.path)?;
        let text = path.as_text();
        let inside = format!("{text}/");
        if form.recursive != "1"
            && store
                .list()?
                .iter()
                .any(|entry| entry.path.starts_with(&inside))
        {
            return Err(StoreError::Io(std::io::ErrorKind::DirectoryNotEmpty.into()));
        }
        store.delete(&path)?;
        let parent = text
            .rsplit_once('/')
            .map_or(String::new(), |(parent, _)| format!("{parent}/"));
        Ok(format!("{parent}{INDEX}"))
    });
    match done.await {
        Err(StoreError::Io(failure)) if failure.kind() == std::io::ErrorKind::DirectoryNotEmpty => {
            error(StatusCode::BAD_REQUEST, "the folder is not empty")
        }
        other => to_editor(other, false),
    }
}

/// Moves from a form. Unlike the Go program nothing is replaced.
pub(crate) async fn form_rename(State(shared): State<Arc<Shared>>, body: Bytes) -> Response {
    let form = form(&body);
    let done = with_store(&shared, move |store| {
        let to = StorePath::parse(&form.to)?;
        store.rename(&StorePath::parse(&form.from)?, &to)?;
        Ok(to.as_text())
    });
    to_editor(done.await, false)
}
