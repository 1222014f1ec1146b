//! Where rows go: into a file beside the target, which takes its place at the end, or into a table as one change.

use std::io::{self, BufRead, BufReader, BufWriter, Seek, Write};
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use super::functions::text;
use super::{Row, Transformation, places};
use crate::DataError;
use crate::json::to_bytes;

/// How rows are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// One line a row, until they go into a table.
    Lines,
    Csv,
    Json,
}

/// A file that rows are written into.
pub(super) struct Target {
    form: Form,
    names: Vec<String>,
    file: BufWriter<NamedTempFile>,
    path: PathBuf,
    rows: u64,
    bytes: u64,
}

impl Target {
    /// Begins a file beside the target of a transformation, or one for rows of a table in the peer's own folder.
    pub(super) fn begin(folder: &Path, transformation: &Transformation) -> Result<Self, DataError> {
        let endpoint = &transformation.target;
        let form = match endpoint.kind.as_str() {
            "table" => Form::Lines,
            "csv" => Form::Csv,
            "json" => Form::Json,
            other => return Err(DataError::invalid(format!("unknown target type {other:?}"))),
        };
        let path = match form {
            Form::Lines => folder.join("data").join("rows"),
            Form::Csv | Form::Json => places::place(folder, &endpoint.path)?,
        };
        if path.exists() && !path.is_file() {
            return Err(DataError::invalid(format!("{} is no file", endpoint.path)));
        }
        let beside = path.parent().unwrap_or(folder);
        if form == Form::Lines {
            std::fs::create_dir_all(beside)?;
        }
        let file = tempfile::Builder::new()
            .prefix(".goop-")
            .tempfile_in(beside)?;
        let mut target = Self {
            form,
            names: transformation
                .fields
                .iter()
                .map(|field| field.target.clone())
                .collect(),
            file: BufWriter::new(file),
            path,
            rows: 0,
            bytes: 0,
        };
        if form == Form::Csv {
            let names = target.names.clone();
            target.line(names.iter().map(String::as_str))?;
        }
        Ok(target)
    }

    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.bytes += bytes.len() as u64;
        self.file.write_all(bytes)
    }

    fn line<'t>(&mut self, values: impl Iterator<Item = &'t str>) -> Result<(), DataError> {
        let mut writer = csv::Writer::from_writer(Vec::new());
        writer
            .write_record(values)
            .map_err(|error| DataError::Io(error.to_string()))?;
        let line = writer
            .into_inner()
            .map_err(|error| DataError::Io(error.to_string()))?;
        Ok(self.put(&line)?)
    }

    /// Writes a row. Answers how many bytes there are now.
    pub(super) fn row(&mut self, row: Row) -> Result<u64, DataError> {
        match self.form {
            Form::Lines => {
                let mut line = serde_json::to_vec(&row).map_err(io::Error::from)?;
                line.push(b'\n');
                self.put(&line)?;
            }
            Form::Csv => {
                let values: Vec<String> = self
                    .names
                    .iter()
                    .map(|name| row.get(name).map(text).unwrap_or_default())
                    .collect();
                self.line(values.iter().map(String::as_str))?;
            }
            // As the Go program writes it: two spaces, sorted names.
            Form::Json => {
                self.put(if self.rows == 0 { b"[\n  {" } else { b",\n  {" })?;
                let mut sign = "\n    ";
                for (name, value) in &row {
                    let name = to_bytes(&name.as_str().into());
                    self.put(sign.as_bytes())?;
                    self.put(&name)?;
                    self.put(b": ")?;
                    self.put(&to_bytes(value))?;
                    sign = ",\n    ";
                }
                self.put(b"\n  }")?;
            }
        }
        self.rows += 1;
        Ok(self.bytes)
    }

    /// Puts the file in the target's place.
    pub(super) fn finish(mut self) -> Result<u64, DataError> {
        if self.form == Form::Json {
            self.put(if self.rows == 0 { b"[]\n" } else { b"\n]\n" })?;
        }
        let file = self.file.into_inner().map_err(|error| error.into_error())?;
        readable(&file, &self.path)?;
        file.as_file().sync_all()?;
        file.persist(&self.path)
            .map_err(|error| DataError::from(error.error))?;
        Ok(self.rows)
    }

    /// The rows as they were written, for a table.
    pub(super) fn written(self) -> Result<Written, DataError> {
        let file = self.file.into_inner().map_err(|error| error.into_error())?;
        let (mut file, path) = file.into_parts();
        // It has no name any more: whatever happens, it is gone with this process.
        path.close()?;
        file.rewind()?;
        Ok(Written {
            lines: BufReader::new(file),
        })
    }
}

/// A file that was there keeps who may read it; a new one is for everybody, as what is not made for a secret.
fn readable(file: &NamedTempFile, path: &Path) -> io::Result<()> {
    let permissions = match std::fs::metadata(path) {
        Ok(known) => known.permissions(),
        #[cfg(unix)]
        Err(_) => std::os::unix::fs::PermissionsExt::from_mode(0o644),
        #[cfg(not(unix))]
        Err(_) => return Ok(()),
    };
    file.as_file().set_permissions(permissions)
}

/// Rows that wait for their table.
pub(super) struct Written {
    lines: BufReader<std::fs::File>,
}

impl Written {
    /// The next row; `None` at the end.
    pub(super) fn next(&mut self) -> Result<Option<Row>, DataError> {
        let mut line = Vec::new();
        if self.lines.read_until(b'\n', &mut line)? == 0 {
            return Ok(None);
        }
        let row = serde_json::from_slice(&line).map_err(io::Error::from)?;
        Ok(Some(row))
    }
}
