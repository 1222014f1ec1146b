//! The whole site in one file: its pages, its database, its scripts (viewer-api.md 10.2).

use std::io::{self, Read, Write};
use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use bytes::{Bytes, BytesMut};
use goop_data::Dump;
use goop_identity::Profile;
use goop_site::archive::{self, Manifest, TablePolicy, Writer};
use http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use http::{HeaderValue, StatusCode};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio::runtime::Handle;
use tokio::sync::mpsc;

use crate::front::Shared;
use crate::reply::error;

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

/// A dump as a file that is read.
struct Script {
    dump: Dump,
    runtime: Handle,
    piece: Bytes,
}

impl Read for Script {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        while self.piece.is_empty() {
            let next = self.runtime.block_on(self.dump.next());
            match next.map_err(|error| io::Error::other(error.to_string()))? {
                Some(piece) => self.piece = piece.into(),
                None => return Ok(0),
            }
        }
        let taken = self.piece.split_to(to.len().min(self.piece.len()));
        to[..taken.len()].copy_from_slice(&taken);
        Ok(taken.len())
    }
}

/// The site with its database as a zip file, made while it is taken: `manifest.json`, `schema.sql`, `schemas/`, `site/`,
/// `lua/`. The database is that of one moment.
#[utoipa::path(get, path = "/api/site/export", tag = "site",
    responses((status = 200, description = "application/zip"), (status = 500, description = "the database cannot be read")))]
pub(crate) async fn export(State(shared): State<Arc<Shared>>) -> Response {
    let config = shared.base.desk.config.current();
    let now = OffsetDateTime::now_utc();
    let dump = match shared.context.data.database().dump().await {
        Ok(dump) => dump,
        Err(failure) => {
            let text = format!("the database cannot be read: {failure}");
            return error(StatusCode::INTERNAL_SERVER_ERROR, &text);
        }
    };
    let manifest = Manifest {
        version: 1,
        label: Profile::of(&config).label,
        exported_at: now.format(&Rfc3339).unwrap_or_default(),
        lua_enabled: config.lua.enabled,
        ..Manifest::default()
    };
    let name = format!(
        "goop-export-{}-{}.zip",
        file_name(&manifest.label),
        now.date()
    );
    let (to, mut chunks) = mpsc::channel(WAITING);
    let (places, runtime) = (shared.context.places.clone(), Handle::current());
    tokio::task::spawn_blocking(move || {
        let sink = Chunks {
            buffer: BytesMut::with_capacity(2 * CHUNK),
            to: to.clone(),
        };
        let mut writer = Writer::new(sink);
        let written = write_database(&mut writer, manifest, dump, runtime)
            .and_then(|()| archive::export_files(&mut writer, &places.site, &places.scripts))
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

/// Writes the manifest and the database of an archive: `manifest.json`, `schema.sql`, `schemas/`. Blocks; to be called
/// outside of `runtime`'s own threads.
///
/// # Errors
/// When the sink fails, or the database cannot be read to its end.
pub fn write_database<W: Write>(
    writer: &mut Writer<W>,
    mut manifest: Manifest,
    dump: Dump,
    runtime: Handle,
) -> io::Result<()> {
    let tables = dump.tables().to_vec();
    for table in &tables {
        let policy = TablePolicy {
            insert_policy: table.insert_policy.clone(),
        };
        manifest.tables.insert(table.name.clone(), policy);
        if table.typed {
            manifest.schemas.push(table.name.clone());
        }
    }
    manifest.require_email = dump.require_email();
    archive::export_manifest(writer, &manifest)?;
    let script = Script {
        dump,
        runtime,
        piece: Bytes::new(),
    };
    writer.file("schema.sql", script)?;
    for table in &tables {
        let name = format!("schemas/{}.json", table.name);
        writer.bytes(&name, &serde_json::to_vec_pretty(&table.schema)?)?;
    }
    Ok(())
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
