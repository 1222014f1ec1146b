//! `schemas/<table>.json`: what the editor of schemas edits, kept in step with the stored schemas.
//!
//! The database governs. A change of a stored schema notes, in its own transaction, which files follow from it; the
//! files are written after it and the note is taken away. What was noted and not done is done at the next start.

use std::path::{Path, PathBuf};

use goop_identity::files::{self, Privacy};
use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};
use sqlx::SqliteConnection;

use crate::DataError;
use crate::caller::{Caller, Data};
use crate::ident::is_name;
use crate::schema::{Access, Permissions, Schema};
use crate::store::Database;
use crate::tables::{owner_only, store_schema};

/// The folder, in the peer folder.
pub(crate) const FOLDER: &str = "schemas";
/// Largest schema file that is read, in bytes.
pub(crate) const MAX_FILE: u64 = 1024 * 1024;
/// Most schema files that are listed.
pub(crate) const MAX_FILES: usize = 1_000;
/// `_meta` key of what is still to be written.
const NOTE: &str = "schema_files";

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct Note {
    write: Vec<String>,
    remove: Vec<String>,
}

/// Notes that files are to follow.
pub(crate) async fn note(
    connection: &mut SqliteConnection,
    write: &[&str],
    remove: &[&str],
) -> Result<(), DataError> {
    let sql = "SELECT value FROM _meta WHERE key = ?";
    let noted: Option<String> = sqlx::query_scalar(sql)
        .bind(NOTE)
        .fetch_optional(&mut *connection)
        .await?;
    let mut noted: Note = noted
        .and_then(|text| serde_json::from_str(&text).ok())
        .unwrap_or_default();
    noted.remove.retain(|name| !write.contains(&name.as_str()));
    noted.write.retain(|name| !remove.contains(&name.as_str()));
    noted
        .write
        .extend(write.iter().map(|name| (*name).to_owned()));
    noted
        .remove
        .extend(remove.iter().map(|name| (*name).to_owned()));
    let text = serde_json::to_string(&noted).unwrap_or_default();
    let sql = "INSERT OR REPLACE INTO _meta (key, value) VALUES (?, ?)";
    sqlx::query(sql)
        .bind(NOTE)
        .bind(text)
        .execute(connection)
        .await?;
    Ok(())
}

impl Database {
    /// Writes the schema files that were noted.
    pub(crate) async fn finish_schema_files(&self) -> Result<(), DataError> {
        let folder = self.folder().join(FOLDER);
        let catalog = self.catalog();
        self.write(crate::store::Job::Shared, move |connection| {
            Box::pin(async move {
                let sql = "SELECT value FROM _meta WHERE key = ?";
                let noted: Option<String> = sqlx::query_scalar(sql)
                    .bind(NOTE)
                    .fetch_optional(&mut *connection)
                    .await?;
                let Some(noted) = noted else { return Ok(()) };
                let noted: Note = serde_json::from_str(&noted).unwrap_or_default();
                for name in &noted.write {
                    if let Some(schema) = catalog.table(name).and_then(|table| table.schema()) {
                        write(&folder, schema)?;
                    }
                }
                for name in noted.remove.iter().filter(|name| is_name(name)) {
                    match std::fs::remove_file(path(&folder, name)) {
                        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                            return Err(error.into());
                        }
                        _ => {}
                    }
                }
                sqlx::query("DELETE FROM _meta WHERE key = ?")
                    .bind(NOTE)
                    .execute(connection)
                    .await?;
                Ok(())
            })
        })
        .await
    }
}

fn path(folder: &Path, name: &str) -> PathBuf {
    folder.join(format!("{name}.json"))
}

fn write(folder: &Path, schema: &Schema) -> Result<(), DataError> {
    if !is_name(&schema.name) {
        return Err(DataError::invalid(format!(
            "invalid table name: {}",
            schema.name
        )));
    }
    std::fs::create_dir_all(folder)?;
    let mut text =
        serde_json::to_vec_pretty(schema).map_err(|error| DataError::Io(error.to_string()))?;
    text.push(b'\n');
    Ok(files::replace(
        &path(folder, &schema.name),
        &text,
        Privacy::Public,
    )?)
}

/// Reads a schema file; `None` where there is none.
fn read(folder: &Path, name: &str) -> Result<Option<Schema>, DataError> {
    use std::io::Read;
    if !is_name(name) {
        return Ok(None);
    }
    let file = match std::fs::File::open(path(folder, name)) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        file => file?,
    };
    let mut bytes = Vec::new();
    file.take(MAX_FILE + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_FILE {
        return Err(DataError::invalid(format!(
            "invalid schema: longer than {MAX_FILE} bytes"
        )));
    }
    let schema: Schema = serde_json::from_slice(&bytes)
        .map_err(|error| DataError::invalid(format!("invalid schema: {error}")))?;
    Ok(Some(Schema {
        name: name.to_owned(),
        ..schema
    }))
}

fn named(name: &str) -> Result<(), DataError> {
    if name.is_empty() {
        return Err(DataError::Required("name required"));
    }
    Ok(())
}

fn missing() -> DataError {
    DataError::NotFound("schema not found".to_owned())
}

/// Runs file work beside the event loop.
async fn beside<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, DataError> + Send + 'static,
) -> Result<T, DataError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| DataError::Io(error.to_string()))?
}

impl Data {
    fn schema_folder(&self) -> PathBuf {
        self.database.folder().join(FOLDER)
    }

    /// `[{"name","columns","has_key","context","access"?}]` of the schema files.
    ///
    /// # Errors
    /// Not the caller's to see.
    pub async fn schema_files(&self, caller: &Caller) -> Result<Json, DataError> {
        owner_only(caller)?;
        let folder = self.schema_folder();
        beside(move || {
            let entries = match std::fs::read_dir(&folder) {
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(json!([])),
                entries => entries?,
            };
            let mut names: Vec<String> = entries
                .filter_map(|entry| {
                    entry
                        .ok()?
                        .file_name()
                        .to_str()?
                        .strip_suffix(".json")
                        .map(str::to_owned)
                })
                .take(MAX_FILES)
                .collect();
            names.sort();
            let row = |name: &String| {
                let schema = read(&folder, name).ok()??;
                let mut row = json!({
                    "name": schema.name,
                    "columns": schema.columns.len(),
                    "has_key": schema.keys().next().is_some(),
                    "context": schema.context,
                });
                if let Some(access) = &schema.access {
                    row["access"] = json!(access);
                }
                Some(row)
            };
            Ok(Json::Array(names.iter().filter_map(row).collect()))
        })
        .await
    }

    /// A schema: of the file, else the stored one.
    ///
    /// # Errors
    /// There is none, or the file is not one.
    pub async fn schema(&self, caller: &Caller, name: &str) -> Result<Schema, DataError> {
        owner_only(caller)?;
        named(name)?;
        let (folder, wanted) = (self.schema_folder(), name.to_owned());
        let of_file = beside(move || read(&folder, &wanted)).await?;
        of_file.or_else(|| self.stored(name)).ok_or_else(missing)
    }

    fn stored(&self, name: &str) -> Option<Schema> {
        self.database.catalog().table(name)?.schema().cloned()
    }

    /// Writes a schema file as the editor has it; it need not be valid yet.
    ///
    /// # Errors
    /// It has no name that a file could have.
    pub async fn save_schema(&self, caller: &Caller, schema: Schema) -> Result<(), DataError> {
        owner_only(caller)?;
        if schema.name.is_empty() {
            return Err(DataError::Required("schema name required"));
        }
        let folder = self.schema_folder();
        beside(move || write(&folder, &schema)).await
    }

    /// Deletes a schema file.
    ///
    /// # Errors
    /// There is none.
    pub async fn delete_schema(&self, caller: &Caller, name: &str) -> Result<(), DataError> {
        owner_only(caller)?;
        named(name)?;
        if !is_name(name) {
            return Err(missing());
        }
        let file = path(&self.schema_folder(), name);
        beside(move || Ok(std::fs::remove_file(file)?)).await
    }

    /// Makes the table of a schema file.
    ///
    /// # Errors
    /// There is no such file, it is not valid, or the table is there.
    pub async fn apply_schema(&self, caller: &Caller, name: &str) -> Result<(), DataError> {
        owner_only(caller)?;
        named(name)?;
        let (folder, wanted) = (self.schema_folder(), name.to_owned());
        let schema = beside(move || read(&folder, &wanted))
            .await?
            .ok_or_else(missing)?;
        self.create_typed(caller, &schema).await
    }

    /// Sets whether GraphQL and federation show a table.
    ///
    /// # Errors
    /// There is no such schema.
    pub async fn set_context(
        &self,
        caller: &Caller,
        name: &str,
        context: bool,
    ) -> Result<(), DataError> {
        self.edit(caller, name, move |schema| schema.context = context)
            .await
    }

    /// Sets who may do what.
    ///
    /// # Errors
    /// There is no such schema, or a word is no policy.
    pub async fn set_access(
        &self,
        caller: &Caller,
        name: &str,
        access: Access,
    ) -> Result<(), DataError> {
        named(name)?;
        access.validate()?;
        self.edit(caller, name, move |schema| {
            schema.access = Some(access.clone())
        })
        .await
    }

    /// Sets what each role may.
    ///
    /// # Errors
    /// There is no such schema.
    pub async fn set_roles(
        &self,
        caller: &Caller,
        name: &str,
        roles: std::collections::BTreeMap<String, Permissions>,
    ) -> Result<(), DataError> {
        self.edit(caller, name, move |schema| schema.roles = roles.clone())
            .await
    }

    /// Changes one thing of a schema, in its file and in its stored form; each keeps what else it holds.
    async fn edit(
        &self,
        caller: &Caller,
        name: &str,
        change: impl Fn(&mut Schema) + Send + Sync,
    ) -> Result<(), DataError> {
        owner_only(caller)?;
        named(name)?;
        let (folder, wanted) = (self.schema_folder(), name.to_owned());
        let of_file = beside(move || read(&folder, &wanted)).await?;
        let stored = self.stored(name);
        let mut file = of_file.or_else(|| stored.clone()).ok_or_else(missing)?;
        if let Some(mut stored) = stored {
            change(&mut stored);
            self.database
                .write_tables(move |connection| {
                    Box::pin(async move { store_schema(connection, &stored).await })
                })
                .await?;
        }
        change(&mut file);
        let folder = self.schema_folder();
        beside(move || write(&folder, &file)).await
    }
}
