//! The schema of the tables in context (groups.md 16.1).

use std::sync::Arc;

use async_graphql::dynamic::{
    Enum, Field, InputObject, InputValue, Object, Schema, SchemaError, TypeRef,
};

use super::names::{Kind, SYSTEM, columns, comparisons};
use super::run;
use crate::schema::Column;
use crate::store::Table;

const DIRECTION: &str = "OrderDirection";

/// A schema of tables that [`super::names::choose`] chose.
pub(super) fn build(tables: &[&Table]) -> Result<Schema, SchemaError> {
    let mut query = Object::new("Query");
    let mut mutation = Object::new("Mutation");
    let mut schema = Schema::build("Query", Some("Mutation"), None)
        .register(Enum::new(DIRECTION).items(["asc", "desc"]))
        // `super::cost` measures documents first, with more in mind.
        .limit_recursive_depth(super::MAX_NESTING)
        .limit_directives(8);
    for table in tables {
        let name = &table.name;
        let shared: Arc<str> = name.as_str().into();
        let settable: Vec<&Column> = columns(table).filter(|column| !column.key).collect();
        schema = schema
            .register(object(table))
            .register(filter(table))
            .register(order(table))
            .register(insertion(table))
            .register(Object::new(format!("{name}_delete_result")).field(run::affected()));
        query = query
            .field(
                Field::new(
                    name,
                    TypeRef::named_list(name.as_str()),
                    run::list(shared.clone()),
                )
                .argument(argument("where", &format!("{name}_where")))
                .argument(argument("limit", TypeRef::INT))
                .argument(argument("offset", TypeRef::INT))
                .argument(argument("order_by", &format!("{name}_order_by"))),
            )
            .field(
                Field::new(
                    format!("{name}_by_pk"),
                    TypeRef::named(name.as_str()),
                    run::by_pk(shared.clone()),
                )
                .argument(needed("_id", TypeRef::INT)),
            );
        mutation = mutation
            .field(
                Field::new(
                    format!("insert_{name}"),
                    TypeRef::named(name.as_str()),
                    run::insert(shared.clone()),
                )
                .argument(needed("object", &format!("{name}_insert_input"))),
            )
            .field(
                Field::new(
                    format!("delete_{name}_by_pk"),
                    TypeRef::named(format!("{name}_delete_result")),
                    run::delete(shared.clone()),
                )
                .argument(needed("_id", TypeRef::INT)),
            );
        // A type without a field is none; a table of keys alone has nothing to set.
        if !settable.is_empty() {
            let input = settable.iter().fold(
                InputObject::new(format!("{name}_set_input")),
                |input, column| input.field(argument(&column.name, Kind::of(column).word())),
            );
            schema = schema.register(input);
            mutation = mutation.field(
                Field::new(
                    format!("update_{name}_by_pk"),
                    TypeRef::named(name.as_str()),
                    run::update(shared),
                )
                .argument(needed("_id", TypeRef::INT))
                .argument(needed("_set", &format!("{name}_set_input"))),
            );
        }
    }
    schema.register(query).register(mutation).finish()
}

fn argument(name: &str, kind: &str) -> InputValue {
    InputValue::new(name, TypeRef::named(kind))
}

fn needed(name: &str, kind: &str) -> InputValue {
    InputValue::new(name, TypeRef::named_nn(kind))
}

fn object(table: &Table) -> Object {
    let system = SYSTEM
        .iter()
        .filter(|(name, ..)| table.has(name))
        .map(|(name, kind, _)| ((*name).to_owned(), *kind));
    let own = columns(table).map(|column| (column.name.clone(), Kind::of(column)));
    system.chain(own).fold(
        Object::new(&table.name).description(format!("A row of {}.", table.name)),
        |object, (name, kind)| {
            let value = run::value(name.clone(), kind);
            object.field(Field::new(name, TypeRef::named(kind.word()), value))
        },
    )
}

fn filter(table: &Table) -> InputObject {
    let system = SYSTEM
        .iter()
        .filter(|(name, ..)| table.has(name))
        .map(|(name, kind, comparisons)| (*name, *kind, *comparisons));
    let own =
        columns(table).map(|column| (column.name.as_str(), Kind::of(column), comparisons(column)));
    let mut input = InputObject::new(format!("{}_where", table.name))
        .description("Conditions; a row must fit all of them.");
    for (name, kind, comparisons) in system.chain(own) {
        for comparison in comparisons {
            input = input.field(argument(&format!("{name}_{comparison}"), kind.word()));
        }
    }
    input
}

fn order(table: &Table) -> InputObject {
    let system = ["_id", "_created_at", "_updated_at"]
        .into_iter()
        .filter(|name| table.has(name));
    let own = columns(table).map(|column| column.name.as_str());
    system.chain(own).fold(
        InputObject::new(format!("{}_order_by", table.name))
            .description("In which order; the first named counts first."),
        |input, name| input.field(argument(name, DIRECTION)),
    )
}

fn insertion(table: &Table) -> InputObject {
    columns(table).fold(
        InputObject::new(format!("{}_insert_input", table.name)),
        |input, column| {
            let kind = Kind::of(column).word();
            let must = (column.required || column.key) && !column.auto;
            input.field(if must {
                needed(&column.name, kind)
            } else {
                argument(&column.name, kind)
            })
        },
    )
}
