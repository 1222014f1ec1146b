//! Column definitions of classic tables, which arrive as pieces of SQL: read, and written anew.

use serde_json::Value as Json;

use crate::DataError;
use crate::ident::{literal, quoted, user_column_name};
use crate::schema::{Column, Schema};
use crate::store::{ColumnInfo, Table};
use crate::tables::ColumnDef;

/// Longest type or default, in bytes.
const MAX_TEXT: usize = 1_024;

/// A column of a new table.
pub(crate) fn column(column: &ColumnDef) -> Result<String, DataError> {
    user_column_name(&column.name)?;
    let mut text = format!("{} {}", quoted(&column.name), sql_type(&column.kind)?);
    if column.not_null {
        text.push_str(" NOT NULL");
    }
    if !column.default.is_empty() {
        text.push_str(&format!(" DEFAULT {}", default(&column.default)?));
    }
    Ok(text)
}

/// A column that joins rows which are there already: without a default, `NOT NULL` needs one (storage.md 7.2).
pub(crate) fn added_column(added: &ColumnDef) -> Result<String, DataError> {
    let mut added = added.clone();
    if added.not_null && added.default.is_empty() {
        added.default = "''".to_owned();
    }
    column(&added)
}

/// A type's name, maybe with lengths, and the constraints that people write behind it.
fn sql_type(text: &str) -> Result<String, DataError> {
    let wrong = || {
        DataError::invalid(format!(
            "invalid column type: {}",
            text.chars().take(64).collect::<String>()
        ))
    };
    if text.len() > MAX_TEXT {
        return Err(wrong());
    }
    let spaced = text
        .replace('(', " ( ")
        .replace(')', " ) ")
        .replace(',', " , ");
    let words: Vec<String> = spaced
        .split_whitespace()
        .map(str::to_ascii_uppercase)
        .collect();
    let mut words = words.iter().map(String::as_str).peekable();
    let mut written: Vec<String> = Vec::new();
    while let Some(word) = words.peek() {
        let is_word = word.starts_with(|letter: char| letter.is_ascii_alphabetic())
            && word
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        if !is_word || ends_type(word) {
            break;
        }
        written.push((*word).to_owned());
        words.next();
    }
    if words.next_if_eq(&"(").is_some() {
        let mut lengths = Vec::new();
        loop {
            let length = words
                .next()
                .and_then(|word| word.parse::<u32>().ok())
                .ok_or_else(wrong)?;
            lengths.push(length.to_string());
            match words.next() {
                Some(",") if lengths.len() < 2 => {}
                Some(")") => break,
                _ => return Err(wrong()),
            }
        }
        written.push(format!("({})", lengths.join(", ")));
    }
    while let Some(word) = words.next() {
        match word {
            "NOT" if words.next() == Some("NULL") => written.push("NOT NULL".to_owned()),
            "NULL" => {}
            "UNIQUE" => written.push("UNIQUE".to_owned()),
            "COLLATE" => match words.next() {
                Some(name @ ("NOCASE" | "BINARY" | "RTRIM")) => {
                    written.push(format!("COLLATE {name}"))
                }
                _ => return Err(wrong()),
            },
            _ => return Err(wrong()),
        }
    }
    Ok(written.join(" "))
}

/// Words that begin a constraint, and those that no column of ours may have.
fn ends_type(word: &str) -> bool {
    matches!(
        word,
        "NOT"
            | "NULL"
            | "UNIQUE"
            | "COLLATE"
            | "PRIMARY"
            | "CHECK"
            | "DEFAULT"
            | "REFERENCES"
            | "GENERATED"
            | "AS"
            | "CONSTRAINT"
            | "ON"
            | "FOREIGN"
    )
}

/// A default, as a literal or one of the moments that SQLite knows.
fn default(text: &str) -> Result<String, DataError> {
    let text = text.trim();
    if text.len() > MAX_TEXT {
        return Err(DataError::invalid("a default is too long"));
    }
    let upper = text.to_ascii_uppercase();
    if matches!(
        upper.as_str(),
        "NULL" | "TRUE" | "FALSE" | "CURRENT_TIMESTAMP" | "CURRENT_DATE" | "CURRENT_TIME"
    ) {
        return Ok(upper);
    }
    let packed: String = text
        .chars()
        .filter(|letter| !letter.is_whitespace())
        .collect();
    let packed = packed
        .trim_start_matches('(')
        .trim_end_matches(')')
        .to_ascii_lowercase();
    for moment in ["datetime('now'", "date('now'", "time('now'", "unixepoch("] {
        if packed == moment {
            return Ok(format!("({moment}))"));
        }
    }
    if let Some(number) = number(text) {
        return Ok(number);
    }
    let bytes = text.as_bytes();
    if let [quote @ (b'\'' | b'"'), .., last] = bytes
        && quote == last
    {
        let quote = char::from(*quote);
        let inner = &text[1..text.len() - 1];
        let single = inner.replace(&quote.to_string().repeat(2), "\0");
        if single.contains(quote) {
            return Err(DataError::invalid(format!("invalid default: {text}")));
        }
        return Ok(literal(&single.replace('\0', &quote.to_string())));
    }
    // SQLite takes a bare word for a text; pages send `none`.
    if crate::ident::is_name(text) {
        return Ok(literal(text));
    }
    Err(DataError::invalid(format!("invalid default: {text}")))
}

fn number(text: &str) -> Option<String> {
    if let Ok(whole) = text.parse::<i64>() {
        return Some(whole.to_string());
    }
    let digits = text.trim_start_matches(['+', '-']);
    let plain = digits
        .bytes()
        .all(|byte| byte.is_ascii_digit() || matches!(byte, b'.' | b'e' | b'E' | b'-' | b'+'));
    let real = text
        .parse::<f64>()
        .ok()
        .filter(|real| plain && real.is_finite())?;
    Some(format!("{real:?}"))
}

/// The schema's word for an SQL type.
pub(crate) fn schema_type(kind: &str) -> String {
    let lower = kind.to_ascii_lowercase();
    let words = [
        "text", "integer", "real", "blob", "guid", "datetime", "date", "time",
    ];
    if words.contains(&lower.as_str()) {
        return lower;
    }
    affinity(kind).to_owned()
}

fn affinity(kind: &str) -> &'static str {
    let kind = kind.to_ascii_uppercase();
    if kind.contains("INT") {
        "integer"
    } else if ["REAL", "FLOAT", "DOUBLE"]
        .iter()
        .any(|real| kind.contains(real))
    {
        "real"
    } else if kind.contains("BLOB") {
        "blob"
    } else {
        "text"
    }
}

/// A column's default as a schema has it.
pub(crate) fn default_json(column: &ColumnDef) -> Option<Json> {
    let text = match (column.default.as_str(), column.not_null) {
        ("", true) => "''".to_owned(),
        ("", false) => return None,
        (text, _) => default(text).ok()?,
    };
    as_json(&text, affinity(&column.kind))
}

fn as_json(text: &str, kind: &str) -> Option<Json> {
    if text.eq_ignore_ascii_case("null") {
        return None;
    }
    if let Some(inner) = text
        .strip_prefix('\'')
        .and_then(|rest| rest.strip_suffix('\''))
    {
        return Some(Json::String(inner.replace("''", "'")));
    }
    let number = match kind {
        "integer" => text.parse::<i64>().ok().map(Json::from),
        "real" => text.parse::<f64>().ok().map(Json::from),
        _ => None,
    };
    Some(number.unwrap_or_else(|| Json::String(text.to_owned())))
}

/// A classic table as a schema (storage.md 12).
pub(crate) fn schema_of(table: &Table) -> Schema {
    let column = |column: &ColumnInfo| Column {
        name: column.name.clone(),
        kind: affinity(&column.kind).to_owned(),
        key: column.primary,
        required: column.not_null && !column.primary,
        default: column
            .default
            .as_deref()
            .and_then(|text| as_json(text, affinity(&column.kind))),
        ..Column::default()
    };
    Schema {
        name: table.name.clone(),
        columns: table.columns.iter().map(column).collect(),
        ..Schema::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(kind: &str, text: &str, expected: Option<&str>) {
        let definition = ColumnDef {
            name: "a".to_owned(),
            kind: kind.to_owned(),
            not_null: false,
            default: text.to_owned(),
        };
        assert_eq!(
            column(&definition).ok().as_deref(),
            expected,
            "{kind} {text}"
        );
    }

    #[test]
    fn definitions_are_written_anew() {
        check("TEXT", "", Some("\"a\" TEXT"));
        check("varchar(10)", "", Some("\"a\" VARCHAR (10)"));
        check("DECIMAL(10, 2)", "", Some("\"a\" DECIMAL (10, 2)"));
        check("double precision", "", Some("\"a\" DOUBLE PRECISION"));
        check(
            "TEXT unique not null",
            "",
            Some("\"a\" TEXT UNIQUE NOT NULL"),
        );
        check("TEXT collate nocase", "", Some("\"a\" TEXT COLLATE NOCASE"));
        check("", "5", Some("\"a\"  DEFAULT 5"));
        check("REAL", "-1.50", Some("\"a\" REAL DEFAULT -1.5"));
        check("TEXT", "none", Some("\"a\" TEXT DEFAULT 'none'"));
        check("TEXT", "'it''s'", Some("\"a\" TEXT DEFAULT 'it''s'"));
        check("TEXT", "\"x\"", Some("\"a\" TEXT DEFAULT 'x'"));
        check(
            "DATETIME",
            "current_timestamp",
            Some("\"a\" DATETIME DEFAULT CURRENT_TIMESTAMP"),
        );
        check(
            "DATETIME",
            "(datetime('now'))",
            Some("\"a\" DATETIME DEFAULT (datetime('now'))"),
        );
        check(
            "INTEGER",
            "unixepoch()",
            Some("\"a\" INTEGER DEFAULT (unixepoch())"),
        );
    }

    #[test]
    fn what_leaves_the_definition_is_refused() {
        for kind in [
            "TEXT); DROP TABLE t; --",
            "TEXT, b TEXT",
            "TEXT PRIMARY KEY",
            "TEXT CHECK (1)",
            "TEXT DEFAULT 1",
            "INT REFERENCES _meta",
            "TEXT GENERATED ALWAYS AS (1)",
            "TEXT(1,2,3)",
            "TEXT(x)",
            "TEXT -- x",
            "TEXT COLLATE x",
        ] {
            check(kind, "", None);
        }
        for text in [
            "1); DROP TABLE t",
            "'a' || 'b'",
            "'a''",
            "(SELECT 1)",
            "randomblob(9)",
            "1 CHECK (0)",
            "'a' 'b'",
            "'",
        ] {
            check("TEXT", text, None);
        }
    }
}
