//! Transformations: rows of a table, a CSV or JSON file or a web address, made into rows of another shape
//! (groups.md 17, viewer-api.md 9.6).
//!
//! A run reads row by row, writes what it made into a file of its own and puts that in place at the end: as one change of
//! the table, or as one replacement of the file. So nothing of a run that failed, was ended or was killed is ever seen,
//! and nobody waits for a slow source while it is read.

mod direct;
mod files;
mod functions;
mod places;
mod run;
mod source;
mod target;

use std::collections::{BTreeMap, HashSet};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};

use crate::DataError;

pub use direct::Watched;
pub use files::{FOLDER, MAX_FILE, MAX_FILES};
pub use functions::{FUNCTIONS, MAX_VALUE};
pub use run::{Done, MAX_PREVIEW, Progress, ROWS, Run, SPOOL_MOST, WRITE_DEADLINE};
pub use source::{FETCH_DEADLINE, Fetch, Fetched, MAX_ROW, MAX_URL};

/// Longest name of a transformation.
pub const MAX_NAME: usize = 64;
/// Most fields of a transformation; as many as a table may have columns.
pub const MAX_FIELDS: usize = crate::schema::MAX_COLUMNS;

/// A transformation.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Transformation {
    /// Its name, which is its file's.
    pub name: String,
    /// What it is for.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// Where rows come from.
    pub source: Endpoint,
    /// Where rows go.
    pub target: Endpoint,
    /// What each row is made of.
    #[serde(deserialize_with = "or_default")]
    pub fields: Vec<Field>,
}

/// A source or a target.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Endpoint {
    /// `table`, `csv` or `json`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The table's name.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// The file; a relative one lies in the peer folder.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub path: String,
    /// The web address of a `json` source.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub url: String,
}

/// A value of the new row.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Field {
    /// Its name in the new row.
    pub target: String,
    /// Names in the old row.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "Vec::is_empty")]
    pub sources: Vec<String>,
    /// The function; the plain value where it is empty.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub transform: String,
    /// What the function is told besides.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "Vec::is_empty")]
    pub args: Vec<Json>,
    /// A fixed value, whatever else is said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub constant: Option<Json>,
}

fn or_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: serde::Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// A row, in the order in which JSON has it.
pub type Row = Map<String, Json>;

fn bad(text: impl Into<String>) -> DataError {
    DataError::BadRequest(text.into())
}

impl Transformation {
    /// Reads one without checking it: what a person works on need not be whole.
    ///
    /// # Errors
    /// `invalid json: …`.
    pub fn from_json(bytes: &[u8]) -> Result<Self, DataError> {
        let members: Result<Row, _> = serde_json::from_slice(bytes);
        members
            .and_then(|members| serde_json::from_value(Json::Object(members)))
            .map_err(|error| bad(format!("invalid json: {error}")))
    }

    /// Checks what is saved (groups.md 17).
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn validate(&self) -> Result<(), DataError> {
        if self.name.trim().is_empty() {
            return Err(bad("transformation name is required"));
        }
        if !is_name(&self.name) {
            return Err(bad(
                "a transformation's name is of letters, digits, - and _, at most 64",
            ));
        }
        self.validate_fields()
    }

    /// Checks what every run needs.
    fn validate_fields(&self) -> Result<(), DataError> {
        if self.fields.is_empty() {
            return Err(bad("transformation must have at least one field"));
        }
        if self.fields.len() > MAX_FIELDS {
            return Err(bad(format!(
                "a transformation has at most {MAX_FIELDS} fields"
            )));
        }
        let mut seen = HashSet::new();
        for (index, field) in self.fields.iter().enumerate() {
            let target = &field.target;
            if target.trim().is_empty() {
                return Err(bad(format!("field {index}: target is required")));
            }
            if !seen.insert(target.as_str()) {
                return Err(bad(format!("duplicate target field {target:?}")));
            }
            if !field.transform.is_empty() && !FUNCTIONS.contains(&field.transform.as_str()) {
                return Err(bad(format!(
                    "field {target:?}: unknown transform {:?}",
                    field.transform
                )));
            }
            let makes = functions::MAKERS.contains(&field.transform.as_str());
            if field.sources.is_empty() && field.constant.is_none() && !makes {
                return Err(bad(format!(
                    "field {target:?}: a source or a constant is required"
                )));
            }
        }
        Ok(())
    }

    /// Makes a new row of an old one.
    ///
    /// # Errors
    /// `field "<target>": …`.
    pub fn apply(&self, row: &Row) -> Result<Row, DataError> {
        // Sorted, as the Go program writes rows.
        let mut made = BTreeMap::new();
        for field in &self.fields {
            let value = field.value(row).map_err(|error| {
                DataError::invalid(format!("field {:?}: {error}", field.target))
            })?;
            made.insert(field.target.clone(), value);
        }
        Ok(made.into_iter().collect())
    }

    /// Makes rows of rows, for a look at what becomes of them.
    ///
    /// # Errors
    /// `row <i>: field "<target>": …`.
    pub fn apply_many(&self, rows: &[Row]) -> Result<Vec<Row>, DataError> {
        let apply = |(index, row)| {
            self.apply(row)
                .map_err(|error| DataError::invalid(format!("row {index}: {error}")))
        };
        rows.iter().enumerate().map(apply).collect()
    }
}

impl Field {
    fn value(&self, row: &Row) -> Result<Json, String> {
        if let Some(constant) = self.constant.as_ref().filter(|value| !value.is_null()) {
            return Ok(constant.clone());
        }
        let mut values: Vec<Json> = self
            .sources
            .iter()
            .map(|source| row.get(source).cloned().unwrap_or_default())
            .collect();
        if !self.transform.is_empty() {
            return functions::call(&self.transform, values, &self.args);
        }
        Ok(match values.len() {
            0 => Json::Null,
            1 => values.remove(0),
            _ => Json::Array(values),
        })
    }
}

/// Whether a text names a transformation: the Go program makes a path of any text.
fn is_name(text: &str) -> bool {
    (1..=MAX_NAME).contains(&text.len())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
}
