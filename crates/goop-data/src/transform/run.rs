//! One run of a transformation.

use std::time::Duration;

use serde_json::{Value as Json, json};
use tokio_util::sync::CancellationToken;

use super::source::{Source, told};
use super::target::Target;
use super::{Endpoint, Fetch, Row, Transformation, places};
use crate::DataError;
use crate::access::Operation;
use crate::caller::{Caller, Data};
use crate::reading::Find;
use crate::store::TableKind;
use crate::tables::owner_only;

/// Rows of a table that are read where no limit is given (groups.md 17).
pub const ROWS: i64 = 10_000;
/// Most bytes that a run writes before they go to their place.
pub const SPOOL_MOST: u64 = 8 * 1024 * 1024 * 1024;
/// How long the change of a table may take, all rows together: nobody else writes meanwhile.
pub const WRITE_DEADLINE: Duration = Duration::from_secs(10 * 60);
/// Most rows of a preview.
pub const MAX_PREVIEW: usize = 1_000;
/// Rows between two looks at whether the run was ended, and between two words about how far it is.
const STEP: u64 = 64;

/// Which rows of a source that is a table.
#[derive(Debug, Clone, Default, serde::Deserialize)]
#[serde(default)]
pub struct Run {
    /// Which of its rows.
    #[serde(rename = "where")]
    pub filter: String,
    /// What the marks in it stand for.
    pub args: Vec<Json>,
    /// How many of them; [`ROWS`] where it is 0 or less.
    pub limit: i64,
}

/// How far a run is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Progress {
    /// Rows that were read and made anew.
    pub read: u64,
    /// Rows that went into the table; of a file, they go there in one piece at the end.
    pub written: u64,
}

/// What a run did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Done {
    /// So many rows went into a table.
    Inserted(String, u64),
    /// So many rows stand in a file.
    Written(String, u64),
}

impl Done {
    /// `{"status":"executed","target","inserted"}`, or `…"written"}`.
    #[must_use]
    pub fn to_json(&self) -> Json {
        match self {
            Self::Inserted(target, rows) => {
                json!({"status": "executed", "target": target, "inserted": rows})
            }
            Self::Written(target, rows) => {
                json!({"status": "executed", "target": target, "written": rows})
            }
        }
    }
}

fn ended() -> DataError {
    DataError::invalid("the run was ended; nothing was changed")
}

impl Data {
    /// Runs a transformation. `progress` hears now and then how far it is; dropping the future or cancelling `cancel`
    /// ends the run and leaves everything as it was.
    ///
    /// # Errors
    /// What is wrong, with the step before it: `source`, `source query`, `source read`, `transform`, `target`, `insert`.
    pub async fn transform(
        &self,
        caller: &Caller,
        transformation: &Transformation,
        run: Run,
        fetch: &dyn Fetch,
        progress: impl Fn(Progress) + Send + Sync + 'static,
        cancel: CancellationToken,
    ) -> Result<Done, DataError> {
        owner_only(caller)?;
        transformation.validate_fields()?;
        let target = &transformation.target;
        if target.kind == "table" {
            self.reach(caller, &target.name, Operation::Insert)
                .map_err(|error| told("target", error))?;
        }
        let find = Find {
            filter: run.filter,
            args: run.args,
            limit: if run.limit > 0 { run.limit } else { ROWS },
            ..Find::default()
        };
        let reading = async {
            let mut source =
                Source::open(self, caller, &transformation.source, find, fetch).await?;
            let folder = self.database.folder();
            let mut written =
                Target::begin(folder, transformation).map_err(|error| told("target", error))?;
            let mut read = 0;
            while let Some(row) = source.next().await? {
                let made = transformation.apply(&row).map_err(|error| {
                    told(
                        "transform",
                        DataError::invalid(format!("row {read}: {error}")),
                    )
                })?;
                let bytes = written
                    .row(made)
                    .map_err(|error| told("target write", error))?;
                if bytes > SPOOL_MOST {
                    let text = format!("more than {SPOOL_MOST} bytes");
                    return Err(told("target write", DataError::invalid(text)));
                }
                read += 1;
                if read % STEP == 0 {
                    progress(Progress { read, written: 0 });
                    // A source that is always ready must not keep the thread from others.
                    tokio::task::yield_now().await;
                }
            }
            progress(Progress { read, written: 0 });
            Ok((written, read))
        };
        let (written, read) = tokio::select! {
            biased;
            () = cancel.cancelled() => return Err(ended()),
            done = reading => done?,
        };
        if target.kind != "table" {
            let finished = tokio::task::spawn_blocking(|| written.finish()).await;
            let rows = finished
                .map_err(|error| DataError::Io(error.to_string()))?
                .map_err(|error| told("target write", error))?;
            progress(Progress {
                read,
                written: rows,
            });
            return Ok(Done::Written(target.path.clone(), rows));
        }
        let mut rows = written.written()?;
        let going_on = cancel.child_token();
        // The writing task goes on when this future is dropped; then it hears of it here.
        let _ends = going_on.clone().drop_guard();
        let mut count = 0;
        let next = move || {
            if count % STEP == 0 {
                if going_on.is_cancelled() {
                    return Err(ended());
                }
                progress(Progress {
                    read,
                    written: count,
                });
            }
            count += 1;
            rows.next()
        };
        let inserted = self
            .insert_all(caller, &target.name, next, WRITE_DEADLINE)
            .await
            .map_err(|error| {
                if error == ended() {
                    error
                } else {
                    told("insert", error)
                }
            })?;
        Ok(Done::Inserted(target.name.clone(), inserted.rows))
    }

    /// Makes new rows of the first `most` of a transformation's source, for a look at what it would do.
    ///
    /// # Errors
    /// As [`Data::transform`].
    pub async fn preview_transformation(
        &self,
        caller: &Caller,
        transformation: &Transformation,
        most: usize,
        fetch: &dyn Fetch,
    ) -> Result<Vec<Row>, DataError> {
        owner_only(caller)?;
        transformation.validate_fields()?;
        let rows = self
            .first_rows(caller, &transformation.source, most.min(MAX_PREVIEW), fetch)
            .await?;
        transformation.apply_many(&rows)
    }

    async fn first_rows(
        &self,
        caller: &Caller,
        source: &Endpoint,
        most: usize,
        fetch: &dyn Fetch,
    ) -> Result<Vec<Row>, DataError> {
        let find = Find {
            limit: i64::try_from(most).unwrap_or(ROWS),
            ..Find::default()
        };
        let mut source = Source::open(self, caller, source, find, fetch).await?;
        let mut rows = Vec::new();
        while rows.len() < most
            && let Some(row) = source.next().await?
        {
            rows.push(row);
        }
        Ok(rows)
    }

    /// What a source has to offer: columns of a table as `tables/describe` has them, else the sorted names of the first
    /// row; `null` where there is none.
    ///
    /// # Errors
    /// The source cannot be read.
    pub async fn source_fields(
        &self,
        caller: &Caller,
        source: &Endpoint,
        fetch: &dyn Fetch,
    ) -> Result<Json, DataError> {
        owner_only(caller)?;
        if source.kind == "table" {
            let described = self.describe(caller, &source.name)?;
            let catalog = self.database.catalog();
            let typed = catalog
                .table(&source.name)
                .is_some_and(|table| matches!(table.kind, TableKind::Typed(_)));
            let part = if typed {
                &described["schema"]["columns"]
            } else {
                &described["columns"]
            };
            return Ok(part.clone());
        }
        let rows = self.first_rows(caller, source, 1, fetch).await?;
        let Some(row) = rows.first() else {
            return Ok(Json::Null);
        };
        let mut names: Vec<&String> = row.keys().collect();
        names.sort();
        Ok(json!(names))
    }

    /// Whether a file is there that a transformation would replace.
    ///
    /// # Errors
    /// No transformation may name it.
    pub async fn file_exists(&self, caller: &Caller, path: &str) -> Result<bool, DataError> {
        owner_only(caller)?;
        let (folder, path) = (self.database.folder().to_owned(), path.to_owned());
        let looked = tokio::task::spawn_blocking(move || match places::place(&folder, &path) {
            Ok(place) => Ok(place.exists()),
            Err(DataError::Io(_)) => Ok(false),
            Err(error) => Err(error),
        });
        looked
            .await
            .map_err(|error| DataError::Io(error.to_string()))?
    }
}
