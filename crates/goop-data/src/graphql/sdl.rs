//! A look at what a table becomes, before it is one.

use super::names::{Kind, SYSTEM};
use crate::schema::Schema;

/// A table's part of the schema in GraphQL's own language, in the form that the Go program's designer shows: columns that
/// a row must have carry `!` (groups.md 16.2), although a row that is read may have none in the schema itself.
#[must_use]
pub fn sdl(schema: &Schema) -> String {
    let name = sanitized(&schema.name);
    let mut text = format!("type {name} {{\n");
    for (column, kind, _) in SYSTEM {
        text.push_str(&format!("  {column}: {}\n", kind.word()));
    }
    for column in &schema.columns {
        let must = if column.required || column.key {
            "!"
        } else {
            ""
        };
        text.push_str(&format!(
            "  {}: {}{must}\n",
            sanitized(&column.name),
            Kind::of(column).word()
        ));
    }
    text.push_str("}\n\ntype Query {\n");
    text.push_str(&format!(
        "  {name}(where: {name}_where, limit: Int, offset: Int, order_by: {name}_order_by): [{name}!]!\n"
    ));
    text.push_str(&format!("  {name}_by_pk(_id: Int!): {name}\n"));
    text.push_str("}\n\ntype Mutation {\n");
    text.push_str(&format!(
        "  insert_{name}(object: {name}_insert_input!): {name}\n"
    ));
    text.push_str(&format!(
        "  update_{name}_by_pk(_id: Int!, _set: {name}_set_input!): {name}\n"
    ));
    text.push_str(&format!(
        "  delete_{name}_by_pk(_id: Int!): {name}_delete_result\n}}\n"
    ));
    text
}

/// A name as GraphQL takes it.
fn sanitized(name: &str) -> String {
    let mut text: String = name
        .chars()
        .map(|letter| {
            if letter.is_ascii_alphanumeric() || letter == '_' {
                letter
            } else {
                '_'
            }
        })
        .collect();
    if text.starts_with(|letter: char| letter.is_ascii_digit()) || text.is_empty() {
        text.insert(0, '_');
    }
    text
}
