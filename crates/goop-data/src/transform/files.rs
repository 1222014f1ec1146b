//! `transformations/<name>.json` in the peer folder.

use std::path::{Path, PathBuf};

use goop_identity::files::{self, Privacy};
use serde_json::{Value as Json, json};

use super::{Transformation, is_name};
use crate::DataError;
use crate::caller::{Caller, Data};
use crate::tables::owner_only;

/// The folder, in the peer folder.
pub const FOLDER: &str = "transformations";
/// Largest file of a transformation, in bytes.
pub const MAX_FILE: u64 = 1024 * 1024;
/// Most transformations that are listed.
pub const MAX_FILES: usize = 1_000;

fn path(folder: &Path, name: &str) -> PathBuf {
    folder.join(FOLDER).join(format!("{name}.json"))
}

fn missing(name: &str) -> DataError {
    let shown: String = name.chars().take(64).collect();
    DataError::NotFound(format!("there is no transformation {shown:?}"))
}

fn read(folder: &Path, name: &str) -> Result<Transformation, DataError> {
    use std::io::Read;
    if !is_name(name) {
        return Err(missing(name));
    }
    let file = match std::fs::File::open(path(folder, name)) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Err(missing(name)),
        file => file?,
    };
    let mut bytes = Vec::new();
    file.take(MAX_FILE + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_FILE {
        return Err(DataError::NotFound(format!(
            "{name}: longer than {MAX_FILE} bytes"
        )));
    }
    let read = Transformation::from_json(&bytes)
        .map_err(|error| DataError::NotFound(format!("{name}: {error}")))?;
    // The file's name governs: it is what others are called by.
    Ok(Transformation {
        name: name.to_owned(),
        ..read
    })
}

/// Runs file work beside the event loop.
async fn beside<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, DataError> + Send + 'static,
) -> Result<T, DataError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| DataError::Io(error.to_string()))?
}

impl Data {
    /// `[{"name","description","field_count","source_type","target_type"}]`, by name. Files that cannot be read are left
    /// out.
    ///
    /// # Errors
    /// Not the caller's to see, or the folder cannot be read.
    pub async fn transformations(&self, caller: &Caller) -> Result<Json, DataError> {
        owner_only(caller)?;
        let folder = self.database.folder().to_owned();
        beside(move || {
            let entries = match std::fs::read_dir(folder.join(FOLDER)) {
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(json!([])),
                entries => entries?,
            };
            let name = |entry: std::io::Result<std::fs::DirEntry>| {
                let name = entry.ok()?.file_name();
                name.to_str()?.strip_suffix(".json").map(str::to_owned)
            };
            let mut names: Vec<String> = entries.filter_map(name).take(MAX_FILES).collect();
            names.sort();
            let row = |name: &String| {
                let found = read(&folder, name).ok()?;
                Some(json!({
                    "name": found.name,
                    "description": found.description,
                    "field_count": found.fields.len(),
                    "source_type": found.source.kind,
                    "target_type": found.target.kind,
                }))
            };
            Ok(names.iter().filter_map(row).collect())
        })
        .await
    }

    /// A transformation.
    ///
    /// # Errors
    /// There is none of that name, or its file is not one.
    pub async fn transformation(
        &self,
        caller: &Caller,
        name: &str,
    ) -> Result<Transformation, DataError> {
        owner_only(caller)?;
        if name.is_empty() {
            return Err(DataError::Required("name required"));
        }
        let (folder, name) = (self.database.folder().to_owned(), name.to_owned());
        beside(move || read(&folder, &name)).await
    }

    /// Keeps a transformation, in the form of the Go program.
    ///
    /// # Errors
    /// It is not valid, or cannot be written.
    pub async fn save_transformation(
        &self,
        caller: &Caller,
        transformation: Transformation,
    ) -> Result<(), DataError> {
        owner_only(caller)?;
        transformation.validate()?;
        let folder = self.database.folder().to_owned();
        beside(move || {
            let mut text = serde_json::to_vec_pretty(&transformation)
                .map_err(|error| DataError::Io(error.to_string()))?;
            text.push(b'\n');
            if text.len() as u64 > MAX_FILE {
                return Err(DataError::BadRequest(format!(
                    "the transformation is longer than {MAX_FILE} bytes"
                )));
            }
            std::fs::create_dir_all(folder.join(FOLDER))?;
            let path = path(&folder, &transformation.name);
            Ok(files::replace(&path, &text, Privacy::Public)?)
        })
        .await
    }

    /// Forgets a transformation.
    ///
    /// # Errors
    /// There is none of that name.
    pub async fn delete_transformation(
        &self,
        caller: &Caller,
        name: &str,
    ) -> Result<(), DataError> {
        owner_only(caller)?;
        if name.is_empty() {
            return Err(DataError::Required("name required"));
        }
        let gone = || DataError::Io(missing(name).to_string());
        if !is_name(name) {
            return Err(gone());
        }
        let file = path(self.database.folder(), name);
        let removed = beside(move || Ok(std::fs::remove_file(file))).await?;
        removed.map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => gone(),
            _ => error.into(),
        })
    }
}
