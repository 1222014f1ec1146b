//! A whole site from one file, its database with it: all of it or nothing (viewer-api.md 10.3, templates.md 10.3).
//!
//! | Step | What is there afterwards if it fails, or if the program is killed |
//! |---|---|
//! | receive, unpack, read the database of the archive into a file of its own | everything as it was |
//! | copy the database here into the backup | everything as it was |
//! | exchange the files, with a note | the old files are put back, now or at the next start |
//! | bring the database in: one transaction, with the mark of the exchange | the old files are put back |
//! | take the note away | the mark says that the new files stay |

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use axum::extract::multipart::{Field, MultipartRejection};
use axum::extract::{Multipart, Query, State};
use axum::response::Response;
use goop_data::{BroughtIn, DataError, FILE, Incoming, Told};
use goop_site::archive::{ArchiveError, Staged};
use http::StatusCode;
use serde::{Deserialize, Serialize};

use crate::front::Shared;
use crate::reply::{error, json};

/// How far an import is.
#[derive(Debug, Clone, Copy, Default, Serialize, utoipa::ToSchema)]
pub(crate) struct Progress {
    step: Step,
    /// Rows that are done, where rows are counted.
    rows: u64,
    /// Of how many, where that is known.
    of: Option<u64>,
}

/// What an import does now.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
enum Step {
    /// Nothing.
    #[default]
    Idle,
    /// The archive arrives.
    Receiving,
    /// It is unpacked.
    Unpacking,
    /// Its database is read.
    Reading,
    /// The database here is copied.
    Backup,
    /// The files take their place.
    Files,
    /// Rows take their place.
    Rows,
}

/// Who replaces the site, and how far that is.
#[derive(Debug, Default)]
pub(crate) struct Importing {
    turn: Arc<tokio::sync::Mutex<()>>,
    progress: Arc<Mutex<Progress>>,
}

impl Importing {
    fn at(&self, step: Step) {
        set(
            &self.progress,
            Progress {
                step,
                ..Progress::default()
            },
        );
    }

    fn told(&self, step: Step) -> Told {
        let progress = self.progress.clone();
        Arc::new(move |rows, of| set(&progress, Progress { step, rows, of }))
    }
}

fn set(progress: &Mutex<Progress>, now: Progress) {
    *progress.lock().unwrap_or_else(PoisonError::into_inner) = now;
}

#[derive(Serialize, utoipa::ToSchema)]
struct ImportDone {
    status: &'static str,
    files: usize,
    /// Rows by table.
    tables: BTreeMap<String, u64>,
    /// Where the old site is kept, its database with it.
    backup: String,
    /// Files of the archive that were not taken.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    left_out: Vec<String>,
}

/// Tables here that the archive would replace.
#[derive(Serialize, utoipa::ToSchema)]
struct Replaced {
    /// `tables`
    error: &'static str,
    /// Rows they have, by table.
    tables: BTreeMap<String, u64>,
}

/// The fields of an import.
#[derive(utoipa::ToSchema)]
#[expect(dead_code, reason = "it is only described")]
struct ImportForm {
    #[schema(value_type = String, format = Binary)]
    file: Vec<u8>,
}

#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
pub(crate) struct Choice {
    /// Tables of the same names, and those of the template here, may be replaced with all their rows.
    #[serde(default)]
    replace: bool,
}

/// How far the import is that is under way.
#[utoipa::path(get, path = "/api/site/import", tag = "site", responses((status = 200, body = Progress)))]
pub(crate) async fn progress(State(shared): State<Arc<Shared>>) -> Response {
    let progress = shared.importing.progress.lock();
    let now = *progress.unwrap_or_else(PoisonError::into_inner);
    json(StatusCode::OK, &now)
}

/// Replaces the site by what a zip file holds: multipart `file`, unpacked at most 4 GiB in 100,000 files. Its tables come
/// with every row; others here stay. All of it or nothing; the old site is kept with its database, and so are the four
/// before it.
#[utoipa::path(post, path = "/api/site/import", tag = "site", params(Choice),
    request_body(content = ImportForm, content_type = "multipart/form-data"),
    responses((status = 200, body = ImportDone), (status = 400, description = "the archive is broken, or holds what no site does; everything is as it was"),
        (status = 409, description = "another import is under way (text), or tables would be replaced (JSON): say `replace=true`", body = Replaced),
        (status = 500), (status = 507, description = "the disk is full; everything is as it was")))]
pub(crate) async fn import(
    State(shared): State<Arc<Shared>>,
    Query(choice): Query<Choice>,
    form: Result<Multipart, MultipartRejection>,
) -> Response {
    let bad = |text: &str| error(StatusCode::BAD_REQUEST, text);
    let Ok(mut form) = form else {
        return bad("file required");
    };
    // Two at once would be each other's backup.
    let Ok(turn) = shared.importing.turn.clone().try_lock_owned() else {
        return error(
            StatusCode::CONFLICT,
            "another import is under way; try again when it is done",
        );
    };
    loop {
        match form.next_field().await {
            Ok(Some(mut field)) if field.name() == Some("file") => {
                let file = match receive(&shared, &mut field).await {
                    Ok(file) => file,
                    Err(failure) => return failure.response(),
                };
                // Whoever asked may leave; what was begun comes to its end all the same.
                let work = tokio::spawn(async move {
                    let done = take(&shared, file, &choice).await;
                    shared.importing.at(Step::Idle);
                    drop(turn);
                    done
                });
                return match work.await.map_err(io::Error::other) {
                    Ok(Ok(done)) => json(StatusCode::OK, &done),
                    Ok(Err(failure)) => failure.response(),
                    Err(failure) => Failure::from(failure).response(),
                };
            }
            Ok(Some(_)) => {}
            Ok(None) => return bad("file required"),
            Err(failure) => return bad(&format!("request too large or bad form: {failure}")),
        }
    }
}

/// Why nothing was imported.
enum Failure {
    Form(String),
    Archive(ArchiveError),
    /// The database of the archive.
    Incoming(DataError),
    /// The database here.
    Data(DataError),
    Replaced(BroughtIn),
}

impl<E: Into<ArchiveError>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::Archive(error.into())
    }
}

impl Failure {
    fn response(&self) -> Response {
        let full = |text: &str| {
            text.contains("database or disk is full") || text.contains("No space left")
        };
        match self {
            Self::Form(text) => error(StatusCode::BAD_REQUEST, text),
            Self::Archive(failure) => {
                let status = match failure {
                    ArchiveError::Full => StatusCode::INSUFFICIENT_STORAGE,
                    ArchiveError::Io(_) => StatusCode::INTERNAL_SERVER_ERROR,
                    _ => StatusCode::BAD_REQUEST,
                };
                error(status, &failure.to_string())
            }
            Self::Incoming(failure) | Self::Data(failure) if full(&failure.to_string()) => error(
                StatusCode::INSUFFICIENT_STORAGE,
                &ArchiveError::Full.to_string(),
            ),
            Self::Incoming(failure) => error(
                StatusCode::BAD_REQUEST,
                &format!("failed to import: {failure}"),
            ),
            Self::Data(failure) => {
                let text = format!("failed to import: {failure}; everything is as it was");
                error(StatusCode::INTERNAL_SERVER_ERROR, &text)
            }
            Self::Replaced(tables) => {
                let tables = tables.clone();
                json(
                    StatusCode::CONFLICT,
                    &Replaced {
                        error: "tables",
                        tables,
                    },
                )
            }
        }
    }
}

async fn take(
    shared: &Shared,
    file: std::fs::File,
    choice: &Choice,
) -> Result<ImportDone, Failure> {
    let (importing, places) = (&shared.importing, shared.context.places.clone());
    let database = shared.context.data.database();
    importing.at(Step::Unpacking);
    let staged = beside(move || Staged::unpack(io::BufReader::new(file), &places)).await??;
    let incoming = match staged.database() {
        Some(folder) => {
            let told = importing.told(Step::Reading);
            let incoming = Incoming::read(&folder, &told)
                .await
                .map_err(Failure::Incoming)?;
            let replaced = database
                .replaced_by(&incoming)
                .await
                .map_err(Failure::Data)?;
            if !replaced.is_empty() && !choice.replace {
                return Err(Failure::Replaced(replaced));
            }
            importing.at(Step::Backup);
            let copy = staged.backup()?.join(FILE);
            database.backup(&copy).await.map_err(Failure::Data)?;
            Some(incoming)
        }
        None => None,
    };
    importing.at(Step::Files);
    let exchanged = beside(move || staged.exchange()).await??;
    let mut tables = BTreeMap::new();
    if let Some(incoming) = incoming {
        let told = importing.told(Step::Rows);
        match database.bring_in(incoming, &exchanged.mark(), told).await {
            Ok(brought) => tables = brought,
            Err(failure) => {
                beside(move || exchanged.undo()).await??;
                return Err(Failure::Data(failure));
            }
        }
    }
    let imported = beside(move || exchanged.keep()).await??;
    tracing::info!(files = imported.files, tables = tables.len(), backup = %imported.backup.display(), "a site was imported");
    Ok(ImportDone {
        status: "imported",
        files: imported.files,
        tables,
        backup: imported.backup.display().to_string(),
        left_out: imported.left_out,
    })
}

/// Runs file work beside the event loop.
async fn beside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> io::Result<T> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(io::Error::other)
}

/// The archive goes to a file first: its table of contents is at its end.
async fn receive(shared: &Shared, field: &mut Field<'_>) -> Result<std::fs::File, Failure> {
    use tokio::io::AsyncWriteExt;
    shared.importing.at(Step::Receiving);
    let work = &shared.context.places.work;
    std::fs::create_dir_all(work)?;
    let mut file = tokio::fs::File::from_std(tempfile::tempfile_in(work)?);
    loop {
        match field.chunk().await {
            Ok(Some(chunk)) => file.write_all(&chunk).await?,
            Ok(None) => {
                file.flush().await?;
                return Ok(file.into_std().await);
            }
            Err(failure) => {
                return Err(Failure::Form(format!(
                    "request too large or bad form: {failure}"
                )));
            }
        }
    }
}
