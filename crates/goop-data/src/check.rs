//! What a typed table asks of a row: made values and checks (storage.md 8.1 to 8.3).

use serde_json::{Map, Value as Json};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::schema::{Column, Schema};
use crate::{DataError, moment};

/// A row as it comes in.
pub type Data = Map<String, Json>;

/// Fills `auto` columns that have no value, but for integers: their next number is asked of the table.
pub(crate) fn fill(schema: &Schema, data: &mut Data, now: OffsetDateTime) {
    for column in schema.columns.iter().filter(|column| column.auto) {
        if is_given(data, &column.name) {
            continue;
        }
        let stamp = moment::plain(now);
        let made = match column.kind.as_str() {
            "guid" => Uuid::new_v4().to_string(),
            "datetime" => format!("{}T{}Z", &stamp[..10], &stamp[11..]),
            "date" => stamp[..10].to_owned(),
            "time" => stamp[11..].to_owned(),
            _ => continue,
        };
        data.insert(column.name.clone(), Json::String(made));
    }
}

/// Columns whose next number is to be asked of the table.
pub(crate) fn counters<'s>(schema: &'s Schema, data: &Data) -> Vec<&'s str> {
    schema
        .columns
        .iter()
        .filter(|column| column.auto && column.kind == "integer" && !is_given(data, &column.name))
        .map(|column| column.name.as_str())
        .collect()
}

fn is_given(data: &Data, name: &str) -> bool {
    !matches!(data.get(name), None | Some(Json::Null))
        && data.get(name) != Some(&Json::String(String::new()))
}

/// Checks a new row.
///
/// # Errors
/// The first column that is wrong, in the schema's order.
pub fn check_insert(schema: &Schema, data: &Data) -> Result<(), DataError> {
    for column in &schema.columns {
        match data.get(&column.name) {
            None | Some(Json::Null) => {
                if column.required && !column.auto && column.default.is_none() {
                    return Err(DataError::invalid(format!(
                        "column {:?} is required",
                        column.name
                    )));
                }
            }
            Some(value) => check_value(column, value)?,
        }
    }
    Ok(())
}

/// Checks changes of a row: only what is given and not null.
///
/// # Errors
/// The first column that is wrong, in the schema's order.
pub fn check_update(schema: &Schema, data: &Data) -> Result<(), DataError> {
    for column in &schema.columns {
        match data.get(&column.name) {
            None | Some(Json::Null) => {}
            Some(value) => check_value(column, value)?,
        }
    }
    Ok(())
}

fn check_value(column: &Column, value: &Json) -> Result<(), DataError> {
    let fits = match column.kind.as_str() {
        "integer" | "real" => value.is_number(),
        "text" | "guid" | "datetime" | "date" | "time" | "enum" | "blob" => value.is_string(),
        // Stored schemas may hold words that no check knows (`int`, capitals).
        _ => true,
    };
    if !fits {
        return Err(DataError::invalid(format!(
            "column {:?} expects {}, got {}",
            column.name,
            column.kind,
            go_type(value)
        )));
    }
    let options = column.kind == "enum" && !column.values.is_empty();
    if let (true, Json::String(text)) = (options, value)
        && !column.values.iter().any(|choice| choice.key == *text)
    {
        return Err(DataError::invalid(format!(
            "column {:?}: value {text:?} is not a valid enum option",
            column.name
        )));
    }
    Ok(())
}

fn go_type(value: &Json) -> &'static str {
    match value {
        Json::Null => "nil",
        Json::Bool(_) => "bool",
        Json::Number(_) => "float64",
        Json::String(_) => "string",
        Json::Array(_) => "[]interface {}",
        Json::Object(_) => "map[string]interface {}",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use time::macros::datetime;

    use super::*;

    fn schema() -> Schema {
        serde_json::from_value(json!({"name": "t", "columns": [
            {"name": "id", "type": "guid", "key": true, "required": true, "auto": true},
            {"name": "n", "type": "integer", "auto": true},
            {"name": "title", "type": "text", "required": true},
            {"name": "kind", "type": "enum", "default": "a", "values": [{"key": "a"}, {"key": "b"}]},
            {"name": "made", "type": "datetime", "auto": true},
            {"name": "day", "type": "date", "auto": true},
            {"name": "at", "type": "time", "auto": true},
            {"name": "odd", "type": "INT"},
        ]}))
        .expect("a schema")
    }

    fn check(data: Json, expected: &str) {
        let data: Data = serde_json::from_value(data).expect("a row");
        let got = check_insert(&schema(), &data)
            .err()
            .map(|error| error.to_string());
        assert_eq!(got.as_deref().unwrap_or(""), expected);
    }

    #[test]
    fn messages_of_the_go_program() {
        check(json!({}), "column \"title\" is required");
        check(
            json!({"title": 5}),
            "column \"title\" expects text, got float64",
        );
        check(
            json!({"title": {}}),
            "column \"title\" expects text, got map[string]interface {}",
        );
        check(
            json!({"title": "x", "kind": "z"}),
            "column \"kind\": value \"z\" is not a valid enum option",
        );
        check(
            json!({"title": "x", "n": true}),
            "column \"n\" expects integer, got bool",
        );
        check(json!({"title": "x", "n": 1.5, "odd": []}), "");
    }

    #[test]
    fn missing_values_are_made() {
        let mut data: Data =
            serde_json::from_value(json!({"day": "", "at": "12:00:00"})).expect("a row");
        fill(&schema(), &mut data, datetime!(2026-02-03 04:05:06 UTC));
        assert_eq!(data["made"], json!("2026-02-03T04:05:06Z"));
        assert_eq!(data["day"], json!("2026-02-03"));
        assert_eq!(data["at"], json!("12:00:00"));
        assert_eq!(data["id"].as_str().map(str::len), Some(36));
        assert_eq!(counters(&schema(), &data), ["n"]);
    }
}
