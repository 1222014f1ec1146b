//! The whole site in one file, out and in (viewer-api.md 10.2 and 10.3).

use std::io::{self, Write};
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Multipart, State};
use axum::response::Response;
use bytes::{Bytes, BytesMut};
use goop_identity::Profile;
use goop_site::archive::{self, ArchiveError, Manifest, Writer};
use http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use http::{HeaderValue, StatusCode};
use serde::Serialize;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio::sync::mpsc;

use crate::reply::{error, json};
use crate::server::Shared;

/// Bytes sent at once.
const CHUNK: usize = 64 * 1024;
/// Chunks that wait for a slow reader. The archive is made no faster than it is taken.
const WAITING: usize = 4;

/// Sends what is written to it, in chunks.
struct Chunks {
    buffer: BytesMut,
    to: mpsc::Sender<io::Result<Bytes>>,
}

impl Chunks {
    fn send(&mut self) -> io::Result<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let chunk = self.buffer.split().freeze();
        self.to
            .blocking_send(Ok(chunk))
            .map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}

impl Write for Chunks {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.buffer.extend_from_slice(bytes);
        if self.buffer.len() >= CHUNK {
            self.send()?;
        }
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        self.send()
    }
}

/// The site as a zip file, made while it is taken.
#[utoipa::path(get, path = "/api/site/export", tag = "site", responses((status = 200, description = "application/zip")))]
pub(crate) async fn export(State(shared): State<Arc<Shared>>) -> Response {
    let config = shared.context.config.current();
    let now = OffsetDateTime::now_utc();
    let manifest = Manifest {
        version: 1,
        label: Profile::of(&config).label,
        exported_at: now.format(&Rfc3339).unwrap_or_default(),
        lua_enabled: config.lua.enabled,
    };
    let name = format!(
        "goop-export-{}-{}.zip",
        file_name(&manifest.label),
        now.date()
    );
    let (to, mut chunks) = mpsc::channel(WAITING);
    let places = shared.context.places.clone();
    tokio::task::spawn_blocking(move || {
        let sink = Chunks {
            buffer: BytesMut::with_capacity(2 * CHUNK),
            to: to.clone(),
        };
        let mut writer = Writer::new(sink);
        let written = archive::export_files(&mut writer, &manifest, &places.site, &places.scripts)
            .and_then(|()| writer.finish());
        if let Err(failure) = written {
            // Whoever takes it sees that it broke off.
            tracing::warn!(error = %failure, "an export broke off");
            let _ = to.blocking_send(Err(failure));
        }
    });
    let body = futures_util::stream::poll_fn(move |cx| chunks.poll_recv(cx));
    let mut response = Response::new(Body::from_stream(body));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/zip"));
    if let Ok(value) = HeaderValue::from_str(&format!("attachment; filename=\"{name}\"")) {
        headers.insert(CONTENT_DISPOSITION, value);
    }
    response
}

/// A name as a part of a file name that every system takes.
fn file_name(label: &str) -> String {
    let kept: String = label
        .chars()
        .map(|letter| {
            if letter.is_ascii_alphanumeric() || "-_.".contains(letter) {
                letter
            } else {
                '_'
            }
        })
        .take(64)
        .collect();
    if kept.trim_matches(['_', '.']).is_empty() {
        "peer".to_owned()
    } else {
        kept
    }
}

#[derive(Serialize, utoipa::ToSchema)]
struct ImportDone {
    status: &'static str,
    files: usize,
    /// Where the old site is kept.
    backup: String,
    /// Files of the archive that were not taken: its database.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    left_out: Vec<String>,
}

/// The fields of an import.
#[derive(utoipa::ToSchema)]
#[expect(dead_code, reason = "it is only described")]
struct ImportForm {
    #[schema(value_type = String, format = Binary)]
    file: Vec<u8>,
}

/// Replaces the site by what a zip file holds: multipart `file`, unpacked at most 4 GiB in 100,000 files. All of it or
/// nothing; the old site is kept, and so are the four before it.
#[utoipa::path(post, path = "/api/site/import", tag = "site",
    request_body(content = ImportForm, content_type = "multipart/form-data"),
    responses((status = 200, body = ImportDone), (status = 400, description = "the archive is broken, or holds what no site does; the site is as it was"),
        (status = 409, description = "another import is under way"), (status = 500), (status = 507, description = "the disk is full; the site is as it was")))]
pub(crate) async fn import(
    State(shared): State<Arc<Shared>>,
    form: Result<Multipart, axum::extract::multipart::MultipartRejection>,
) -> Response {
    let bad = |text: &str| error(StatusCode::BAD_REQUEST, text);
    let Ok(mut form) = form else {
        return bad("file required");
    };
    // Two at once would be each other's backup.
    let Ok(_turn) = shared.importing.try_lock() else {
        return error(
            StatusCode::CONFLICT,
            "another import is under way; try again when it is done",
        );
    };
    loop {
        match form.next_field().await {
            Ok(Some(mut field)) if field.name() == Some("file") => {
                let received = receive(&shared, &mut field).await;
                return match received {
                    Ok(done) => done,
                    Err(failure) => not_imported(&failure.into()),
                };
            }
            Ok(Some(_)) => {}
            Ok(None) => return bad("file required"),
            Err(failure) => return bad(&format!("request too large or bad form: {failure}")),
        }
    }
}

/// The archive goes to a file first: its table of contents is at its end.
async fn receive(
    shared: &Shared,
    field: &mut axum::extract::multipart::Field<'_>,
) -> io::Result<Response> {
    let places = shared.context.places.clone();
    std::fs::create_dir_all(&places.work)?;
    let mut file = tokio::fs::File::from_std(tempfile::tempfile_in(&places.work)?);
    loop {
        use tokio::io::AsyncWriteExt;
        match field.chunk().await {
            Ok(Some(chunk)) => file.write_all(&chunk).await?,
            Ok(None) => {
                file.flush().await?;
                break;
            }
            Err(failure) => {
                let text = format!("request too large or bad form: {failure}");
                return Ok(error(StatusCode::BAD_REQUEST, &text));
            }
        }
    }
    let file = file.into_std().await;
    let imported =
        tokio::task::spawn_blocking(move || archive::import(io::BufReader::new(file), &places));
    Ok(match imported.await.map_err(io::Error::other)? {
        Ok(imported) => {
            tracing::info!(files = imported.files, backup = %imported.backup.display(), "a site was imported");
            json(
                StatusCode::OK,
                &ImportDone {
                    status: "imported",
                    files: imported.files,
                    backup: imported.backup.display().to_string(),
                    left_out: imported.left_out,
                },
            )
        }
        Err(failure) => not_imported(&failure),
    })
}

fn not_imported(failure: &ArchiveError) -> Response {
    let status = match failure {
        ArchiveError::Full => StatusCode::INSUFFICIENT_STORAGE,
        ArchiveError::Io(_) => StatusCode::INTERNAL_SERVER_ERROR,
        _ => StatusCode::BAD_REQUEST,
    };
    error(status, &failure.to_string())
}
