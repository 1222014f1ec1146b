//! Values, in and out (storage.md 6).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rusqlite::ToSql;
use rusqlite::types::{ToSqlOutput, ValueRef};
use serde_json::Value as Json;
use sqlx::encode::IsNull;
use sqlx::sqlite::{SqliteArguments, SqliteRow, SqliteValueRef};
use sqlx::{Arguments as _, Decode, Row as _, Sqlite, TypeInfo as _, ValueRef as _};

use crate::DataError;
use crate::{json, moment};

/// Whole doubles below this are exact and are written without a fraction, as Go writes them.
const EXACT: f64 = 9_007_199_254_740_992.0;

/// One value of a row.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// NULL.
    Null,
    /// A whole number.
    Integer(i64),
    /// A double.
    Real(f64),
    /// Text; bytes that are not UTF-8 were replaced when it was read.
    Text(String),
    /// Bytes.
    Blob(Vec<u8>),
}

/// How values become JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// Rows: dates as `YYYY-MM-DD HH:MM:SS`, bytes as text (storage.md 6.2, group A).
    Rows,
    /// Aggregates and distinct values: dates as RFC 3339, bytes as base64 (group B).
    Figures,
}

impl Value {
    /// Takes a JSON value. `position` is its place among the bound values, from 1, for the error.
    ///
    /// Whole numbers stay whole: the Go program makes every number a double, so that `5` in a text column becomes
    /// `5.0` and large ids lose digits.
    ///
    /// # Errors
    /// Lists and objects cannot be stored.
    pub fn from_json(json: &Json, position: usize) -> Result<Self, DataError> {
        let unsupported = |kind: &str| {
            DataError::invalid(format!(
                "sql: converting argument ${position} type: unsupported type {kind}"
            ))
        };
        match json {
            Json::Null => Ok(Self::Null),
            Json::Bool(yes) => Ok(Self::Integer(i64::from(*yes))),
            Json::Number(number) => Ok(number.as_i64().map_or_else(
                || Self::Real(number.as_f64().unwrap_or_default()),
                Self::Integer,
            )),
            Json::String(text) => Ok(Self::Text(text.clone())),
            Json::Array(_) => Err(unsupported("[]interface {}, a slice of interface")),
            Json::Object(_) => Err(unsupported("map[string]interface {}, a map")),
        }
    }

    /// The JSON form. `date` says that the column is declared DATE, DATETIME or TIMESTAMP.
    #[must_use]
    pub fn to_json(&self, form: Form, date: bool) -> Json {
        match self {
            Self::Null => Json::Null,
            Self::Integer(number) => Json::from(*number),
            Self::Real(number) => real_to_json(*number),
            Self::Text(text) => {
                let moment = date.then(|| moment::parse(text)).flatten();
                Json::String(match (moment, form) {
                    (Some(moment), Form::Rows) => moment::plain(moment),
                    (Some(moment), Form::Figures) => moment::rfc3339(moment),
                    (None, _) => text.clone(),
                })
            }
            Self::Blob(bytes) => Json::String(match form {
                Form::Rows => String::from_utf8_lossy(bytes).into_owned(),
                Form::Figures => STANDARD.encode(bytes),
            }),
        }
    }

    /// As SQLite holds it.
    pub(crate) fn as_ref(&self) -> ValueRef<'_> {
        match self {
            Self::Null => ValueRef::Null,
            Self::Integer(number) => ValueRef::Integer(*number),
            Self::Real(number) => ValueRef::Real(*number),
            Self::Text(text) => ValueRef::Text(text.as_bytes()),
            Self::Blob(bytes) => ValueRef::Blob(bytes),
        }
    }

    /// Takes a value of a result.
    pub(crate) fn of(value: ValueRef<'_>) -> Self {
        match value {
            ValueRef::Null => Self::Null,
            ValueRef::Integer(number) => Self::Integer(number),
            ValueRef::Real(number) => Self::Real(number),
            ValueRef::Text(text) => Self::Text(String::from_utf8_lossy(text).into_owned()),
            ValueRef::Blob(bytes) => Self::Blob(bytes.to_owned()),
        }
    }

    /// The bytes of a text of a result, as they are; `None` for what is no text.
    pub(crate) fn text_of_row(row: &SqliteRow, index: usize) -> Result<Option<Vec<u8>>, DataError> {
        let raw = row.try_get_raw(index)?;
        if raw.is_null() || raw.type_info().name() != "TEXT" {
            return Ok(None);
        }
        decoded(raw).map(Some)
    }

    /// Reads one column of a result.
    pub(crate) fn of_row(row: &SqliteRow, index: usize) -> Result<Self, DataError> {
        let raw = row.try_get_raw(index)?;
        if raw.is_null() {
            return Ok(Self::Null);
        }
        let kind = raw.type_info().name().to_owned();
        Ok(match kind.as_str() {
            "REAL" => Self::Real(decoded(raw)?),
            "TEXT" => Self::Text(String::from_utf8_lossy(&decoded::<Vec<u8>>(raw)?).into_owned()),
            "BLOB" => Self::Blob(decoded(raw)?),
            _ => Self::Integer(decoded(raw)?),
        })
    }
}

/// Writes a value as [`Value::to_json`] and [`json::to_bytes`] have it.
pub(crate) fn write(value: ValueRef<'_>, form: Form, date: bool, bytes: &mut Vec<u8>) {
    match (value, form) {
        (ValueRef::Text(text), _) if !date => write_lossy(text, bytes),
        // Most dates are stored as they are shown.
        (ValueRef::Text(text), Form::Rows) if moment::is_plain(text) => write_lossy(text, bytes),
        (ValueRef::Blob(blob), Form::Rows) => write_lossy(blob, bytes),
        _ => json::write_value(&Value::of(value).to_json(form, date), bytes),
    }
}

fn write_lossy(text: &[u8], bytes: &mut Vec<u8>) {
    json::write_text(&String::from_utf8_lossy(text), bytes);
}

/// Bytes that a value takes up, about.
pub(crate) fn weight(value: ValueRef<'_>) -> usize {
    const ITSELF: usize = 16;
    ITSELF
        + match value {
            ValueRef::Null | ValueRef::Integer(_) | ValueRef::Real(_) => 8,
            ValueRef::Text(bytes) | ValueRef::Blob(bytes) => bytes.len(),
        }
}

fn real_to_json(number: f64) -> Json {
    if number.fract() == 0.0 && number.abs() < EXACT {
        #[allow(clippy::cast_possible_truncation)] // whole, and within 2^53
        return Json::from(number as i64);
    }
    // Infinity has no JSON; the Go program then answers nothing at all.
    serde_json::Number::from_f64(number).map_or(Json::Null, Json::Number)
}

fn decoded<'r, T: Decode<'r, Sqlite>>(raw: SqliteValueRef<'r>) -> Result<T, DataError> {
    T::decode(raw).map_err(|error| DataError::Sqlite(error.to_string()))
}

/// Bound values for a statement.
pub(crate) fn arguments(values: &[Value]) -> SqliteArguments {
    let mut bound = SqliteArguments::default();
    for value in values {
        // Binding a plain value cannot fail: sqlx's encoders for these types always answer `Ok`.
        let _ = bound.add(value.clone());
    }
    bound
}

impl ToSql for Value {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(self.as_ref()))
    }
}

impl sqlx::Type<Sqlite> for Value {
    fn type_info() -> sqlx::sqlite::SqliteTypeInfo {
        <str as sqlx::Type<Sqlite>>::type_info()
    }
}

impl sqlx::Encode<'_, Sqlite> for Value {
    fn encode_by_ref(
        &self,
        buffer: &mut sqlx::sqlite::SqliteArgumentsBuffer,
    ) -> Result<IsNull, sqlx::error::BoxDynError> {
        match self {
            Self::Null => Ok(IsNull::Yes),
            Self::Integer(number) => <i64 as sqlx::Encode<Sqlite>>::encode_by_ref(number, buffer),
            Self::Real(number) => <f64 as sqlx::Encode<Sqlite>>::encode_by_ref(number, buffer),
            Self::Text(text) => <String as sqlx::Encode<Sqlite>>::encode_by_ref(text, buffer),
            Self::Blob(bytes) => <Vec<u8> as sqlx::Encode<Sqlite>>::encode_by_ref(bytes, buffer),
        }
    }
}
