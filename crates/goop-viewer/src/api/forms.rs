//! What the Go program's own editor pages post (viewer-api.md 10.1). The forged-request token they carry is not looked
//! at: every request here proved that it is the owner's.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use bytes::Bytes;
use goop_site::store::{IfMatch, Store, StoreError, StorePath};
use http::StatusCode;

use super::files::{INDEX, failed, with_store};
use crate::front::Shared;
use crate::reply::{error, redirect};

/// The fields of all five forms.
#[derive(Default)]
struct Form {
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

/// Where the editor goes after a form; `more` stands behind the path.
fn editor_at(path: &str, more: &str) -> Response {
    let path: String = url::form_urlencoded::byte_serialize(path.as_bytes()).collect();
    redirect(StatusCode::FOUND, &format!("/edit?path={path}{more}"))
}

fn to_editor(done: Result<String, StoreError>) -> Response {
    match done {
        Ok(path) => editor_at(&path, ""),
        Err(StoreError::BadName(text)) if SAID.contains(&text) => {
            error(StatusCode::BAD_REQUEST, text)
        }
        Err(StoreError::Exists) => error(StatusCode::BAD_REQUEST, "conflict"),
        Err(failure) => failed(&failure, StatusCode::BAD_REQUEST),
    }
}

/// What is said of names that are none (peer-directory.md 8).
struct Said {
    empty: &'static str,
    slashes: &'static str,
    invalid: &'static str,
}

const FILE: Said = Said {
    empty: "bad filename",
    slashes: "filename must not contain slashes",
    invalid: "bad filename",
};
const FOLDER: Said = Said {
    empty: "empty folder name",
    slashes: "folder name must not contain slashes",
    invalid: "invalid folder name",
};

/// What the Go program says in these words alone.
const SAID: [&str; 5] = [
    FILE.empty,
    FILE.slashes,
    FOLDER.empty,
    FOLDER.slashes,
    FOLDER.invalid,
];

/// `dir` and a name of one part; a `dir` that names a file means its folder.
fn beside(store: &Store, dir: &str, name: &str, said: &Said) -> Result<StorePath, StoreError> {
    let name = name.trim();
    if name.is_empty() {
        return Err(StoreError::BadName(said.empty));
    }
    if name.contains(['/', '\\']) {
        return Err(StoreError::BadName(said.slashes));
    }
    if name == "." || name == ".." {
        return Err(StoreError::BadName(said.invalid));
    }
    let dir = match StorePath::parse(dir) {
        Ok(path) if store.read(&path).is_ok() => {
            dir.rsplit_once('/').map_or("", |(parent, _)| parent)
        }
        _ => dir,
    };
    StorePath::parse(&format!("{dir}/{name}"))
}

/// Saves from a form. Without `if_match` it replaces what is there, as the Go program does; the older version is kept, and
/// `undo` in the address of the editor brings it back.
#[utoipa::path(post, path = "/edit/save", tag = "site",
    request_body(content = String, content_type = "application/x-www-form-urlencoded", description = "`path`, `content`, maybe `if_match` (an etag, or `none` for a new file)"),
    responses((status = 302, description = "to the editor"), (status = 400), (status = 409, description = "the file changed since `if_match`; nothing was written"), (status = 500), (status = 507, description = "the disk is full; nothing was changed")))]
pub(crate) async fn form_save(State(shared): State<Arc<Shared>>, body: Bytes) -> Response {
    let form = form(&body);
    let done = with_store(&shared, move |store| {
        let path = StorePath::parse(&form.path)?;
        let known = IfMatch::parse(&form.if_match);
        let saved = store.write(&path, form.content.as_bytes(), &known)?;
        Ok((path.as_text(), saved.undo))
    });
    match done.await {
        Ok((path, None)) => editor_at(&path, "&saved=1"),
        Ok((path, Some(undo))) => editor_at(&path, &format!("&saved=1&undo={undo}")),
        Err(StoreError::Conflict) => error(StatusCode::CONFLICT, "conflict: reload and try again"),
        Err(failure) => to_editor(Err(failure)),
    }
}

/// Makes a folder from a form.
#[utoipa::path(post, path = "/edit/mkdir", tag = "site",
    request_body(content = String, content_type = "application/x-www-form-urlencoded", description = "`dir` and `name`"),
    responses((status = 302, description = "to the editor"), (status = 400), (status = 500), (status = 507, description = "the disk is full; nothing was changed")))]
pub(crate) async fn form_mkdir(State(shared): State<Arc<Shared>>, body: Bytes) -> Response {
    let form = form(&body);
    let done = with_store(&shared, move |store| {
        let path = beside(store, &form.dir, &form.name, &FOLDER)?;
        store.make_folder(&path)?;
        Ok(format!("{}/{INDEX}", path.as_text()))
    });
    to_editor(done.await)
}

/// Makes an empty file from a form.
#[utoipa::path(post, path = "/edit/new", tag = "site",
    request_body(content = String, content_type = "application/x-www-form-urlencoded", description = "`dir` and `name`"),
    responses((status = 302, description = "to the editor"), (status = 400), (status = 500), (status = 507, description = "the disk is full; nothing was changed")))]
pub(crate) async fn form_new(State(shared): State<Arc<Shared>>, body: Bytes) -> Response {
    let form = form(&body);
    let done = with_store(&shared, move |store| {
        let path = beside(store, &form.dir, &form.name, &FILE)?;
        store.write(&path, b"", &IfMatch::New)?;
        Ok(path.as_text())
    });
    to_editor(done.await)
}

/// Deletes from a form; a folder with something in it only with `recursive`.
#[utoipa::path(post, path = "/edit/delete", tag = "site",
    request_body(content = String, content_type = "application/x-www-form-urlencoded", description = "`path`, and `recursive=1` for a folder with something in it"),
    responses((status = 302, description = "to the editor"), (status = 400), (status = 500), (status = 507, description = "the disk is full; nothing was changed")))]
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
        other => to_editor(other),
    }
}

/// Moves from a form. Unlike the Go program nothing is replaced.
#[utoipa::path(post, path = "/edit/rename", tag = "site",
    request_body(content = String, content_type = "application/x-www-form-urlencoded", description = "`from` and `to`, both below the root"),
    responses((status = 302, description = "to the editor"), (status = 400), (status = 500), (status = 507, description = "the disk is full; nothing was changed")))]
pub(crate) async fn form_rename(State(shared): State<Arc<Shared>>, body: Bytes) -> Response {
    let form = form(&body);
    let done = with_store(&shared, move |store| {
        let to = StorePath::parse(&form.to)?;
        store.rename(&StorePath::parse(&form.from)?, &to)?;
        Ok(to.as_text())
    });
    to_editor(done.await)
}
