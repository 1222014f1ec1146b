//! Names of tables and columns (storage.md 5).

use crate::DataError;

/// Longest name of a table or column, in bytes.
pub const MAX_NAME: usize = 64;

/// Whether a text is a name: `[A-Za-z_][A-Za-z0-9_]*`, 1 to 64 bytes.
#[must_use]
pub fn is_name(text: &str) -> bool {
    let bytes = text.as_bytes();
    bytes.len() <= MAX_NAME
        && bytes
            .first()
            .is_some_and(|first| first.is_ascii_alphabetic() || *first == b'_')
        && bytes
            .iter()
            .all(|byte| byte.is_ascii_alphanumeric() || *byte == b'_')
}

/// Whether a name is kept for this program (`_…`) or for SQLite (`sqlite_…`).
#[must_use]
pub fn is_reserved(name: &str) -> bool {
    name.starts_with('_')
        || name
            .get(..7)
            .is_some_and(|start| start.eq_ignore_ascii_case("sqlite_"))
}

/// Refuses what is not a table's name.
///
/// # Errors
/// `invalid table name: <x>`.
pub fn table_name(text: &str) -> Result<(), DataError> {
    if is_name(text) {
        Ok(())
    } else {
        Err(DataError::invalid(format!(
            "invalid table name: {}",
            shown(text)
        )))
    }
}

/// Refuses what cannot name a table of the owner: also system tables, which the Go program lets through.
///
/// # Errors
/// `invalid table name: <x>`.
pub fn user_table_name(text: &str) -> Result<(), DataError> {
    table_name(text)?;
    if is_reserved(text) {
        Err(DataError::invalid(format!(
            "invalid table name: {}",
            shown(text)
        )))
    } else {
        Ok(())
    }
}

/// Refuses what is not a column's name.
///
/// # Errors
/// `invalid column name: <x>`.
pub fn column_name(text: &str) -> Result<(), DataError> {
    if is_name(text) {
        Ok(())
    } else {
        Err(DataError::invalid(format!(
            "invalid column name: {}",
            shown(text)
        )))
    }
}

/// Refuses what cannot name a column of the owner.
///
/// # Errors
/// `invalid column name: <x>`.
pub fn user_column_name(text: &str) -> Result<(), DataError> {
    column_name(text)?;
    if text.starts_with('_') {
        Err(DataError::invalid(format!(
            "invalid column name: {}",
            shown(text)
        )))
    } else {
        Ok(())
    }
}

/// Words of SQLite that name nothing unless they are quoted; for all others, its parser falls back to a name.
const KEYWORDS: &[&str] = &[
    "ADD",
    "ALL",
    "ALTER",
    "AND",
    "AS",
    "AUTOINCREMENT",
    "BETWEEN",
    "CASE",
    "CHECK",
    "COLLATE",
    "COMMIT",
    "CONSTRAINT",
    "CREATE",
    "CROSS",
    "CURRENT_DATE",
    "CURRENT_TIME",
    "CURRENT_TIMESTAMP",
    "DEFAULT",
    "DEFERRABLE",
    "DELETE",
    "DISTINCT",
    "DROP",
    "ELSE",
    "ESCAPE",
    "EXCEPT",
    "EXISTS",
    "FILTER",
    "FOREIGN",
    "FROM",
    "FULL",
    "GROUP",
    "HAVING",
    "IN",
    "INDEX",
    "INDEXED",
    "INNER",
    "INSERT",
    "INTERSECT",
    "INTO",
    "IS",
    "ISNULL",
    "JOIN",
    "LEFT",
    "LIMIT",
    "NATURAL",
    "NOT",
    "NOTHING",
    "NOTNULL",
    "NULL",
    "ON",
    "OR",
    "ORDER",
    "OUTER",
    "OVER",
    "PRIMARY",
    "REFERENCES",
    "RETURNING",
    "RIGHT",
    "SELECT",
    "SET",
    "TABLE",
    "TEMPORARY",
    "THEN",
    "TO",
    "TRANSACTION",
    "UNION",
    "UNIQUE",
    "UPDATE",
    "USING",
    "VALUES",
    "WHEN",
    "WHERE",
    "WINDOW",
];

/// Whether a name must be quoted because SQL has the word.
#[must_use]
pub fn is_keyword(name: &str) -> bool {
    KEYWORDS.iter().any(|word| word.eq_ignore_ascii_case(name))
}

/// A name as an SQL identifier, whatever it holds.
#[must_use]
pub fn quoted(name: &str) -> String {
    let mut text = String::with_capacity(name.len() + 2);
    text.push('"');
    for part in name.chars().filter(|part| *part != '\0') {
        if part == '"' {
            text.push('"');
        }
        text.push(part);
    }
    text.push('"');
    text
}

/// A text as an SQL string literal. Only for definitions, where SQLite takes no bound values.
#[must_use]
pub fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\0', "").replace('\'', "''"))
}

/// As much of a wrong name as belongs into an answer.
fn shown(text: &str) -> String {
    text.chars().take(2 * MAX_NAME).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        for name in ["a", "_a", "A9_", "order", &"x".repeat(64)] {
            assert!(is_name(name), "{name}");
        }
        for name in ["", "9a", "a b", "a;b", "é", "a\"", &"x".repeat(65)] {
            assert!(!is_name(name), "{name}");
        }
    }

    #[test]
    fn reserved_names() {
        for name in ["_meta", "sqlite_master", "SQLite_x"] {
            assert!(
                is_reserved(name) && user_table_name(name).is_err(),
                "{name}"
            );
        }
        assert!(user_table_name("sqlit").is_ok());
    }

    #[test]
    fn quoting_keeps_one_identifier() {
        assert_eq!(quoted("a\"b\0"), "\"a\"\"b\"");
        assert_eq!(literal("it's"), "'it''s'");
    }
}
