//! Which tables and columns have a place in a schema, and under which names.

use std::collections::HashSet;

use crate::ident::is_name;
use crate::schema::Column;
use crate::store::Table;

/// Most columns of all tables in a schema together: each becomes ten names, and the introspection answers all of them.
pub const MAX_COLUMNS: usize = 5_000;

/// Names that a schema has of itself.
const TAKEN: [&str; 8] = [
    "Query",
    "Mutation",
    "OrderDirection",
    "Int",
    "Float",
    "String",
    "Boolean",
    "ID",
];

/// What GraphQL makes of a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Int,
    Float,
    Text,
}

impl Kind {
    pub(super) fn of(column: &Column) -> Self {
        match column.kind.to_ascii_lowercase().as_str() {
            "integer" => Self::Int,
            "real" => Self::Float,
            _ => Self::Text,
        }
    }

    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Int => "Int",
            Self::Float => "Float",
            Self::Text => "String",
        }
    }
}

/// The system columns with their kinds and the comparisons that they offer.
pub(super) const SYSTEM: [(&str, Kind, &[&str]); 5] = [
    ("_id", Kind::Int, ORDERED),
    ("_owner", Kind::Text, TEXTUAL),
    ("_owner_email", Kind::Text, TEXTUAL),
    ("_created_at", Kind::Text, ORDERED),
    ("_updated_at", Kind::Text, ORDERED),
];

const ORDERED: &[&str] = &["eq", "neq", "gt", "gte", "lt", "lte"];
const TEXTUAL: &[&str] = &["eq", "neq", "like"];
const EQUAL: &[&str] = &["eq", "neq"];

/// The comparisons that a column offers (groups.md 16.1).
pub(super) fn comparisons(column: &Column) -> &'static [&'static str] {
    match column.kind.to_ascii_lowercase().as_str() {
        "integer" | "real" | "datetime" | "date" | "time" => ORDERED,
        "text" | "guid" | "enum" => TEXTUAL,
        _ => EQUAL,
    }
}

/// The operator of a comparison.
pub(super) fn operator(comparison: &str) -> &'static str {
    match comparison {
        "neq" => "!=",
        "gt" => ">",
        "gte" => ">=",
        "lt" => "<",
        "lte" => "<=",
        "like" => "LIKE",
        _ => "=",
    }
}

/// The columns of a table that a schema shows: those that are there, and whose names GraphQL takes.
pub(super) fn columns(table: &Table) -> impl Iterator<Item = &Column> {
    let columns = table.schema().map_or(&[][..], |schema| &schema.columns);
    let mut seen = HashSet::new();
    columns.iter().filter(move |column| {
        is_name(&column.name)
            && !column.name.starts_with('_')
            && table.has(&column.name)
            && seen.insert(column.name.as_str())
    })
}

/// The names of types and fields that a table brings.
fn family(table: &str) -> [String; 10] {
    [
        table.to_owned(),
        format!("{table}_where"),
        format!("{table}_order_by"),
        format!("{table}_insert_input"),
        format!("{table}_set_input"),
        format!("{table}_delete_result"),
        format!("{table}_by_pk"),
        format!("insert_{table}"),
        format!("update_{table}_by_pk"),
        format!("delete_{table}_by_pk"),
    ]
}

/// Tables with a place in the schema, and the others with the reason: one odd table must not take the rest with it.
pub(super) fn choose<'t>(
    tables: impl Iterator<Item = &'t Table>,
) -> (Vec<String>, Vec<(String, &'static str)>) {
    let (mut chosen, mut left_out) = (Vec::new(), Vec::new());
    let mut taken: HashSet<String> = TAKEN.iter().map(|name| (*name).to_owned()).collect();
    let mut total = 0;
    for table in tables {
        let names = family(&table.name);
        let count = columns(table).count();
        let reason = if !is_name(&table.name) {
            Some("its name is no GraphQL name")
        } else if names.iter().any(|name| taken.contains(name)) {
            Some("a name that it brings is taken")
        } else if count == 0 || !table.has("_id") {
            Some("it has no columns of a stored schema")
        } else if total + count > MAX_COLUMNS {
            Some("there are too many columns in context")
        } else {
            None
        };
        if let Some(reason) = reason {
            left_out.push((table.name.clone(), reason));
            continue;
        }
        total += count;
        taken.extend(names);
        chosen.push(table.name.clone());
    }
    (chosen, left_out)
}
