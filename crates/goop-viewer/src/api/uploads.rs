//! Files that come into the site (viewer-api.md 10): from a browser, or from elsewhere on this machine.

use std::io::{BufRead, BufReader, Read};
use std::sync::Arc;

use axum::extract::multipart::{Field, MultipartRejection};
use axum::extract::{Multipart, State};
use axum::response::Response;
use bytes::Bytes;
use goop_site::store::{IfMatch, Saved, StoreError, StorePath};
use http::StatusCode;
use serde::Deserialize;

use super::MAX_FILE;
use super::files::{Conflict, Written, failed, with_store};
use crate::front::Shared;
use crate::reply::{error, json, parse};

/// Longest text field of an upload: a path or an etag.
const MAX_FIELD: usize = 8 * 1024;
/// Bytes of a local file read at once.
const CHUNK: usize = 256 * 1024;

/// The fields of an upload, in this order.
#[derive(utoipa::ToSchema)]
#[expect(dead_code, reason = "it is only described")]
struct Form {
    path: String,
    if_match: Option<String>,
    #[schema(value_type = String, format = Binary)]
    file: Vec<u8>,
}

/// Takes a file: multipart `path` (where to), maybe `if_match` (an etag, or `none` for a new file), then `file`. It is
/// written as it comes and seen when it is whole. Without `if_match` it replaces what is there, as the Go program does;
/// the older version is kept, and `undo` brings it back.
#[utoipa::path(post, path = "/api/site/upload", tag = "site",
    request_body(content = Form, content_type = "multipart/form-data"),
    responses((status = 200, body = Written), (status = 400, description = "the path cannot be used, or is a folder, or the form broke off"),
        (status = 409, body = Conflict), (status = 500), (status = 507, description = "the disk is full; nothing was changed")))]
pub(crate) async fn upload(
    State(shared): State<Arc<Shared>>,
    form: Result<Multipart, MultipartRejection>,
) -> Response {
    let bad = |text: &str| error(StatusCode::BAD_REQUEST, text);
    let Ok(mut form) = form else {
        return bad("path required");
    };
    let mut path = None;
    let mut known = String::new();
    loop {
        let mut field = match form.next_field().await {
            Ok(Some(field)) => field,
            Ok(None) if path.is_none() => return bad("path required"),
            Ok(None) => return bad("file required: http: no such file"),
            Err(failure) => return bad(&format!("request too large or bad form: {failure}")),
        };
        match field.name() {
            Some("path") => match short_text(&mut field).await.as_deref() {
                Ok("") => return bad("path required"),
                Ok(text) => match StorePath::parse(text) {
                    Ok(parsed) => path = Some(parsed),
                    Err(failure) => return failed(&failure, StatusCode::BAD_REQUEST),
                },
                Err(text) => return bad(text),
            },
            Some("if_match") => match short_text(&mut field).await {
                Ok(text) => known = text,
                Err(text) => return bad(&text),
            },
            Some("file") => {
                let Some(path) = path else {
                    return bad("path required");
                };
                let received = receive(&shared, &path, &known, &mut field).await;
                return answer(&shared, path, &known, received).await;
            }
            _ => {}
        }
    }
}

/// The text of a field that is never long.
async fn short_text(field: &mut Field<'_>) -> Result<String, String> {
    let mut bytes = Vec::new();
    loop {
        match field.chunk().await {
            Ok(Some(chunk)) if bytes.len() + chunk.len() <= MAX_FIELD => {
                bytes.extend_from_slice(&chunk);
            }
            Ok(Some(_)) => return Err("this name cannot be used: it is too long".to_owned()),
            Ok(None) => return Ok(String::from_utf8_lossy(&bytes).into_owned()),
            Err(failure) => return Err(format!("request too large or bad form: {failure}")),
        }
    }
}

/// Why a file did not come in.
enum NotReceived {
    /// The form broke off, or is too large.
    Form(String),
    /// The site does not take it.
    Store(StoreError),
}

impl From<StoreError> for NotReceived {
    fn from(failure: StoreError) -> Self {
        Self::Store(failure)
    }
}

async fn receive(
    shared: &Shared,
    path: &StorePath,
    known: &str,
    field: &mut Field<'_>,
) -> Result<Saved, NotReceived> {
    let target = path.clone();
    let mut upload = with_store(shared, move |store| store.begin(&target)).await?;
    loop {
        let chunk = field.chunk().await.map_err(|failure| {
            NotReceived::Form(format!("request too large or bad form: {failure}"))
        })?;
        let Some(chunk) = chunk else { break };
        upload = with_store(shared, move |_| {
            upload.write(&chunk)?;
            Ok(upload)
        })
        .await?;
    }
    let known = IfMatch::parse(known);
    Ok(with_store(shared, move |_| upload.commit(&known)).await?)
}

async fn answer(
    shared: &Shared,
    path: StorePath,
    known: &str,
    received: Result<Saved, NotReceived>,
) -> Response {
    match received {
        Ok(saved) => json(StatusCode::OK, &Written::of(&path, saved, "uploaded")),
        Err(NotReceived::Form(text)) => error(StatusCode::BAD_REQUEST, &text),
        // Who names a version is told which one is there.
        Err(NotReceived::Store(StoreError::Conflict)) if !known.is_empty() => {
            let target = path.clone();
            let now = with_store(shared, move |store| store.read(&target)).await;
            json(StatusCode::CONFLICT, &Conflict::at(&path, now.ok()))
        }
        Err(NotReceived::Store(failure)) => failed(&failure, StatusCode::BAD_REQUEST),
    }
}

#[derive(Deserialize, Default, utoipa::ToSchema)]
#[serde(default)]
pub(crate) struct FromDisk {
    dest_path: String,
    /// Any file of this machine that the owner may read.
    src_path: String,
    /// As in `/api/site/upload`.
    if_match: String,
}

/// Copies a file of this machine into the site, at most 1 GiB.
#[utoipa::path(post, path = "/api/site/upload-local", tag = "site", request_body = FromDisk,
    responses((status = 200, body = Written), (status = 400, description = "the file cannot be read, or the path cannot be used"),
        (status = 409, body = Conflict), (status = 500), (status = 507, description = "the disk is full; nothing was changed")))]
pub(crate) async fn upload_local(State(shared): State<Arc<Shared>>, body: Bytes) -> Response {
    let FromDisk {
        dest_path,
        src_path,
        if_match,
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
    let (target, known) = (path.clone(), IfMatch::parse(&if_match));
    let copied = with_store(&shared, move |store| {
        let unreadable = |why: String| Ok(Err(format!("cannot read file: {why}")));
        let from = match std::fs::File::open(&src_path) {
            Ok(file) if file.metadata().is_ok_and(|meta| meta.is_file()) => file,
            Ok(_) => return unreadable("it is no plain file".to_owned()),
            Err(failure) => return unreadable(format!("{src_path}: {failure}")),
        };
        let mut upload = store.begin(&target)?;
        let mut from = BufReader::with_capacity(CHUNK, from.take(MAX_FILE as u64 + 1));
        let mut len = 0;
        loop {
            let chunk = match from.fill_buf() {
                Ok([]) => return upload.commit(&known).map(Ok),
                Ok(chunk) => chunk,
                Err(failure) => return unreadable(format!("{src_path}: {failure}")),
            };
            len += chunk.len();
            if len > MAX_FILE {
                return unreadable("it is larger than 1 GiB".to_owned());
            }
            let read = chunk.len();
            upload.write(chunk)?;
            from.consume(read);
        }
    });
    match copied.await {
        Ok(Ok(saved)) => answer(&shared, path, &if_match, Ok(saved)).await,
        Ok(Err(text)) => error(StatusCode::BAD_REQUEST, &text),
        Err(failure) => answer(&shared, path, &if_match, Err(failure.into())).await,
    }
}
