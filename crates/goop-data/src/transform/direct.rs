//! `/api/data/transformations/*`: the owner's routes (viewer-api.md 9.6).

use serde::Deserialize;
use serde_json::{Value as Json, json};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::{Endpoint, FUNCTIONS, Fetch, MAX_PREVIEW, Progress, Row, Run, Transformation, bad};
use crate::DataError;
use crate::caller::{Caller, Data};
use crate::tables::owner_only;

/// Rows of a preview where no number is given.
const PREVIEW: usize = 20;

/// How others follow a run, and end it.
#[derive(Debug, Clone, Default)]
pub struct Watched {
    /// Ends the run.
    pub cancel: CancellationToken,
    /// How far it is.
    pub progress: watch::Sender<Progress>,
}

/// What these routes are told.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Body {
    name: String,
    path: String,
    rows: Option<Vec<Row>>,
    most: Option<usize>,
    /// As it stands in the editor, instead of the kept one.
    transformation: Option<Transformation>,
    #[serde(flatten)]
    run: Run,
}

fn read<T: for<'de> Deserialize<'de>>(body: &[u8]) -> Result<T, DataError> {
    let body = if body.trim_ascii().is_empty() {
        b"{}"
    } else {
        body
    };
    let members: Result<Row, _> = serde_json::from_slice(body);
    members
        .and_then(|members| serde_json::from_value(Json::Object(members)))
        .map_err(|error| bad(format!("invalid json: {error}")))
}

impl Data {
    /// Answers `/api/data/transformations/<suffix>`; the list has an empty one.
    ///
    /// Beyond the Go program's: `preview` without `rows` takes the first `most` of the source, and `preview` and `execute`
    /// take a whole `transformation` instead of the name of a kept one.
    ///
    /// # Errors
    /// Why it was not done; [`DataError::status`] is the status.
    pub async fn direct_transformations(
        &self,
        caller: &Caller,
        suffix: &str,
        body: &[u8],
        fetch: &dyn Fetch,
        watched: &Watched,
    ) -> Result<Json, DataError> {
        owner_only(caller)?;
        match suffix {
            "" => self.transformations(caller).await,
            "transforms" => Ok(json!(FUNCTIONS)),
            "save" => {
                let transformation = Transformation::from_json(body)?;
                let name = transformation.name.clone();
                self.save_transformation(caller, transformation).await?;
                Ok(json!({"name": name, "status": "saved"}))
            }
            "source-fields" => {
                let source: Endpoint = read(body)?;
                self.source_fields(caller, &source, fetch).await
            }
            "get" => {
                let body: Body = read(body)?;
                let found = self.transformation(caller, &body.name).await?;
                serde_json::to_value(found).map_err(|error| DataError::Io(error.to_string()))
            }
            "delete" => {
                let body: Body = read(body)?;
                self.delete_transformation(caller, &body.name).await?;
                Ok(json!({"status": "deleted"}))
            }
            "file-exists" => {
                let body: Body = read(body)?;
                Ok(json!({"exists": self.file_exists(caller, &body.path).await?}))
            }
            "preview" => {
                let body: Body = read(body)?;
                let transformation = self.meant(caller, &body).await?;
                let rows = match body.rows {
                    Some(rows) if rows.len() > MAX_PREVIEW => {
                        return Err(bad(format!("at most {MAX_PREVIEW} rows are previewed")));
                    }
                    Some(rows) => transformation.apply_many(&rows)?,
                    None => {
                        let most = body.most.unwrap_or(PREVIEW);
                        self.preview_transformation(caller, &transformation, most, fetch)
                            .await?
                    }
                };
                Ok(json!(rows))
            }
            "execute" => {
                let body: Body = read(body)?;
                let transformation = self.meant(caller, &body).await?;
                let progress = watched.progress.clone();
                let done = self
                    .transform(
                        caller,
                        &transformation,
                        body.run,
                        fetch,
                        move |at| {
                            progress.send_replace(at);
                        },
                        watched.cancel.clone(),
                    )
                    .await?;
                Ok(done.to_json())
            }
            _ => Err(DataError::NotFound("unknown data operation".to_owned())),
        }
    }

    async fn meant(&self, caller: &Caller, body: &Body) -> Result<Transformation, DataError> {
        match &body.transformation {
            Some(transformation) => Ok(transformation.clone()),
            None => self.transformation(caller, &body.name).await,
        }
    }
}
