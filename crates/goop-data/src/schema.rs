//! Schemas of typed ("ORM") tables: their JSON, their checks, the table they describe (storage.md 11).

use std::collections::BTreeMap;
use std::collections::HashSet;

use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use crate::DataError;
use crate::ident::{literal, quoted, user_column_name, user_table_name};

/// Most columns of a table made here. SQLite takes 2,000; a page that shows more is none.
pub const MAX_COLUMNS: usize = 256;

/// The words of column types.
const TYPES: [&str; 9] = [
    "text", "integer", "real", "blob", "guid", "datetime", "date", "time", "enum",
];
/// The words of policies.
const POLICIES: [&str; 4] = ["local", "owner", "group", "open"];

/// A typed table.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Schema {
    /// The table's name.
    #[serde(deserialize_with = "or_default")]
    pub name: String,
    /// Its columns, in order.
    #[serde(deserialize_with = "or_default")]
    pub columns: Vec<Column>,
    /// Whether GraphQL and federation may show it.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_false")]
    pub context: bool,
    /// Who may do what; without one the table's `insert_policy` decides.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub access: Option<Access>,
    /// What each role may.
    #[serde(
        deserialize_with = "or_default",
        skip_serializing_if = "BTreeMap::is_empty"
    )]
    pub roles: BTreeMap<String, Permissions>,
    /// Whether `_id` is key enough.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_false")]
    pub system_key: bool,
}

/// A column of a typed table.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Column {
    /// Its name.
    #[serde(deserialize_with = "or_default")]
    pub name: String,
    /// Its type's word.
    #[serde(rename = "type", deserialize_with = "or_default")]
    pub kind: String,
    /// Whether it is (part of) the key.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_false")]
    pub key: bool,
    /// Whether a row must have it.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_false")]
    pub required: bool,
    /// Whether a missing value is made.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_false")]
    pub auto: bool,
    /// What a missing value becomes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub default: Option<Json>,
    /// Options of an `enum`.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "Vec::is_empty")]
    pub values: Vec<Choice>,
}

/// An option of an `enum` column.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Choice {
    /// What is stored.
    #[serde(deserialize_with = "or_default")]
    pub key: String,
    /// What people read.
    #[serde(deserialize_with = "or_default")]
    pub label: String,
}

/// The policies of a table, as written; what they mean is decided in [`crate::access`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Access {
    /// Who may read.
    #[serde(
        deserialize_with = "or_default",
        skip_serializing_if = "String::is_empty"
    )]
    pub read: String,
    /// Who may add rows.
    #[serde(
        deserialize_with = "or_default",
        skip_serializing_if = "String::is_empty"
    )]
    pub insert: String,
    /// Who may change rows.
    #[serde(
        deserialize_with = "or_default",
        skip_serializing_if = "String::is_empty"
    )]
    pub update: String,
    /// Who may delete rows.
    #[serde(
        deserialize_with = "or_default",
        skip_serializing_if = "String::is_empty"
    )]
    pub delete: String,
}

/// What a role may do in a table.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[allow(clippy::struct_excessive_bools)] // the four rights of the wire format
pub struct Permissions {
    /// Read rows.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_false")]
    pub read: bool,
    /// Add rows.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_false")]
    pub insert: bool,
    /// Change rows.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_false")]
    pub update: bool,
    /// Delete rows.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_false")]
    pub delete: bool,
}

/// Go writes an empty list or map as `null`, and reads `null` as nothing said.
fn or_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: serde::Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

#[allow(clippy::trivially_copy_pass_by_ref)] // serde's signature
fn is_false(value: &bool) -> bool {
    !value
}

impl Schema {
    /// Reads a schema without checking it: stored ones need not be valid (storage.md 7.3).
    ///
    /// # Errors
    /// `schema: parse failed: …`.
    pub fn from_json(bytes: &[u8]) -> Result<Self, DataError> {
        serde_json::from_slice(bytes)
            .map_err(|error| DataError::invalid(format!("schema: parse failed: {error}")))
    }

    /// Compact JSON, as `_orm_schemas` holds it.
    #[must_use]
    pub fn to_json(&self) -> Json {
        serde_json::to_value(self).unwrap_or_default()
    }

    /// Checks it as the Go program does, with its words and in its order, then what SQLite would refuse.
    ///
    /// # Errors
    /// The first thing that is wrong (storage.md 11.3).
    pub fn validate(&self) -> Result<(), DataError> {
        let bad = |text: String| Err(DataError::BadRequest(format!("schema: {text}")));
        if self.name.is_empty() {
            return bad("table name is required".to_owned());
        }
        let table = format!("table {:?}", self.name);
        if self.columns.is_empty() {
            return bad(format!("{table} has no columns"));
        }
        if self.columns.len() > MAX_COLUMNS {
            return bad(format!("{table} has more than {MAX_COLUMNS} columns"));
        }
        let mut seen = HashSet::new();
        for column in &self.columns {
            if column.name.is_empty() {
                return bad(format!("{table} has a column with no name"));
            }
            if !seen.insert(column.name.as_str()) {
                return bad(format!("{table} has duplicate column {:?}", column.name));
            }
            if !TYPES.contains(&column.kind.to_ascii_lowercase().as_str()) {
                return bad(format!(
                    "{table} column {:?} has invalid type {:?}",
                    column.name, column.kind
                ));
            }
            if column.kind == "enum" && column.values.is_empty() {
                return bad(format!(
                    "{table} column {:?} is enum but has no values",
                    column.name
                ));
            }
        }
        if !self.system_key && !self.columns.iter().any(|column| column.key) {
            return bad(format!("{table} has no key column"));
        }
        self.access.as_ref().map_or(Ok(()), Access::validate)
    }

    /// Checks the names, which the Go program leaves to SQLite's grammar.
    ///
    /// # Errors
    /// `invalid table name: …`, `invalid column name: …`.
    pub fn validate_names(&self) -> Result<(), DataError> {
        user_table_name(&self.name)?;
        self.columns
            .iter()
            .try_for_each(|column| user_column_name(&column.name))
    }

    /// The statement that makes the table. Every name is quoted and every default is a literal.
    #[must_use]
    pub fn create_statement(&self) -> String {
        let columns = self.columns.iter().map(|column| {
            let mut text = format!("{} {}", quoted(&column.name), sqlite_type(&column.kind));
            if column.required || column.key {
                text.push_str(" NOT NULL");
            }
            if let Some(default) = column.default.as_ref().and_then(default_literal) {
                text.push_str(" DEFAULT ");
                text.push_str(&default);
            }
            text
        });
        create_table(&self.name, columns)
    }

    /// The columns of the key; none where `_id` is the key.
    pub fn keys(&self) -> impl Iterator<Item = &Column> {
        self.columns.iter().filter(|column| column.key)
    }

    /// The column of a name.
    #[must_use]
    pub fn column(&self, name: &str) -> Option<&Column> {
        self.columns.iter().find(|column| column.name == name)
    }
}

impl Access {
    /// Checks the words; empty ones count as not said.
    ///
    /// # Errors
    /// `schema: invalid <operation> policy "<word>"`.
    pub fn validate(&self) -> Result<(), DataError> {
        let words = [
            ("read", &self.read),
            ("insert", &self.insert),
            ("update", &self.update),
            ("delete", &self.delete),
        ];
        for (operation, word) in words {
            if !word.is_empty() && !POLICIES.contains(&word.as_str()) {
                return Err(DataError::BadRequest(format!(
                    "schema: invalid {operation} policy {word:?}"
                )));
            }
        }
        Ok(())
    }
}

/// `CREATE TABLE` with the system columns first (storage.md 7.1).
pub(crate) fn create_table(name: &str, columns: impl Iterator<Item = String>) -> String {
    let mut text = format!(
        "CREATE TABLE {} (\n  \"_id\" INTEGER PRIMARY KEY AUTOINCREMENT,\n  \"_owner\" TEXT NOT NULL,\n  \
         \"_owner_email\" TEXT DEFAULT '',\n  \"_created_at\" DATETIME DEFAULT CURRENT_TIMESTAMP,\n  \
         \"_updated_at\" DATETIME DEFAULT CURRENT_TIMESTAMP",
        quoted(name)
    );
    for column in columns {
        text.push_str(",\n  ");
        text.push_str(&column);
    }
    text.push_str("\n)");
    text
}

/// The SQLite type of a schema's type (storage.md 11.2); anything unknown is text.
#[must_use]
pub fn sqlite_type(word: &str) -> &'static str {
    match word.to_ascii_lowercase().as_str() {
        "integer" => "INTEGER",
        "real" => "REAL",
        "blob" => "BLOB",
        "datetime" => "DATETIME",
        "date" => "DATE",
        "time" => "TIME",
        _ => "TEXT",
    }
}

fn default_literal(default: &Json) -> Option<String> {
    match default {
        Json::Null => None,
        Json::Bool(yes) => Some(i64::from(*yes).to_string()),
        Json::Number(number) => Some(match number.as_i64() {
            Some(whole) => whole.to_string(),
            None => {
                let real = number.as_f64().unwrap_or_default();
                if real.fract() == 0.0 && real.abs() < 1e15 {
                    format!("{real:.0}")
                } else {
                    real.to_string()
                }
            }
        }),
        Json::String(text) => Some(literal(text)),
        Json::Array(_) | Json::Object(_) => Some(literal(&default.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(schema: Json, expected: &str) {
        let schema: Schema = serde_json::from_value(schema).expect("a schema");
        let got = schema.validate().err().map(|error| error.to_string());
        assert_eq!(got.as_deref().unwrap_or(""), expected);
    }

    #[test]
    fn messages_of_the_go_program() {
        check(json!({}), "schema: table name is required");
        check(
            json!({"name": "t", "columns": null}),
            "schema: table \"t\" has no columns",
        );
        check(
            json!({"name": "t", "columns": [{}]}),
            "schema: table \"t\" has a column with no name",
        );
        check(
            json!({"name": "t", "columns": [{"name": "a", "type": "text"}, {"name": "a", "type": "text"}]}),
            "schema: table \"t\" has duplicate column \"a\"",
        );
        check(
            json!({"name": "t", "columns": [{"name": "a", "type": "int"}]}),
            "schema: table \"t\" column \"a\" has invalid type \"int\"",
        );
        check(
            json!({"name": "t", "columns": [{"name": "a", "type": "enum", "values": null}]}),
            "schema: table \"t\" column \"a\" is enum but has no values",
        );
        check(
            json!({"name": "t", "columns": [{"name": "a", "type": "TEXT"}]}),
            "schema: table \"t\" has no key column",
        );
        check(
            json!({"name": "t", "columns": [{"name": "a", "type": "text"}], "system_key": true, "access": {"update": "all"}}),
            "schema: invalid update policy \"all\"",
        );
        check(
            json!({"name": "t", "columns": [{"name": "a", "type": "text", "key": true}]}),
            "",
        );
    }

    #[test]
    fn definitions_cannot_be_left() {
        let schema: Schema = serde_json::from_value(json!({
            "name": "t",
            "columns": [
                {"name": "a", "type": "text", "key": true, "default": "x'); DROP TABLE t; --"},
                {"name": "b", "type": "real", "default": 1.5},
                {"name": "c", "type": "integer", "required": true, "default": true},
            ]
        }))
        .expect("a schema");
        let statement = schema.create_statement();
        assert!(
            statement.contains("\"a\" TEXT NOT NULL DEFAULT 'x''); DROP TABLE t; --'"),
            "{statement}"
        );
        assert!(statement.contains("\"b\" REAL DEFAULT 1.5"));
        assert!(statement.contains("\"c\" INTEGER NOT NULL DEFAULT 1"));
    }

    #[test]
    fn what_is_not_said_is_not_written() {
        let text = r#"{"name":"b","columns":[{"name":"i","type":"text","key":true},{"name":"n","type":"integer","default":0}],"context":true,"access":{"read":"open"},"roles":{"editor":{"read":true}}}"#;
        let schema = Schema::from_json(text.as_bytes()).expect("a schema");
        assert_eq!(schema.to_json().to_string(), text);
    }
}
