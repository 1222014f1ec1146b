//! Any bytes give a value or an error, never a panic and never more than the bounds.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use std::panic::AssertUnwindSafe;

use goop_data::protocol;
use goop_data::query::{Question, Source, SourceColumn, select};
use goop_data::schema::Schema;
use goop_data::{Data, Find, Request, Value, moment};
use goop_identity::seal::NoKeys;
use serde_json::{Value as Json, json};
use support::actors::actor;
use support::{fresh, object, owner};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::runtime::{Builder, Runtime};

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

/// A request of the data protocol.
#[test]
fn fuzz_request() {
    bolero::check!().for_each(|bytes: &[u8]| {
        if let Ok(request) = Request::from_json(bytes) {
            let again = Request::from_json(&request.to_json()).unwrap();
            assert_eq!(again.to_json(), request.to_json());
        }
        for suffix in [
            "query",
            "get-by",
            "pluck",
            "tables/create",
            "tables/drop-column",
        ] {
            let _ = Request::from_page(suffix, bytes);
        }
    });
}

/// An answer of the data protocol.
#[test]
fn fuzz_answer() {
    let peer = actor("A").peer;
    bolero::check!().for_each(|bytes: &[u8]| {
        let _ = protocol::read_answer(&peer, bytes, &NoKeys);
    });
}

/// A condition, an order, a column: what comes out holds nothing of the text but names of the table.
#[test]
fn fuzz_query() {
    let column = |name: &str| SourceColumn {
        name: name.to_owned(),
        date: false,
    };
    let columns = [column("_id"), column("title"), column("pages")];
    let source = Source {
        name: "books",
        columns: &columns,
    };
    bolero::check!().for_each(|bytes: &[u8]| {
        let text = String::from_utf8_lossy(bytes);
        for question in [
            Question {
                filter: &text,
                args: &[Value::Integer(1)],
                ..Question::default()
            },
            Question {
                order: &text,
                ..Question::default()
            },
            Question {
                filter: &text,
                owned_by: Some("me"),
                ..Question::default()
            },
        ] {
            if let Ok(statement) = select(source, &question) {
                assert!(
                    !statement.sql.contains(['\'', ';', '`', '[', '\0']),
                    "{}",
                    statement.sql
                );
                assert_eq!(
                    statement.sql.matches("FROM").count(),
                    1,
                    "{}",
                    statement.sql
                );
                assert_eq!(
                    statement.sql.matches("SELECT").count(),
                    1,
                    "{}",
                    statement.sql
                );
            }
        }
        let named = [text.to_string()];
        let _ = select(
            source,
            &Question {
                columns: &named,
                group_by: &text,
                ..Question::default()
            },
        );
    });
}

/// A schema: one that is valid makes a table.
#[test]
fn fuzz_schema() {
    bolero::check!().for_each(|bytes: &[u8]| {
        if let Ok(schema) = Schema::from_json(bytes) {
            let _ = schema.validate();
            let _ = schema.create_statement();
            assert_eq!(
                Schema::from_json(schema.to_json().to_string().as_bytes()).unwrap(),
                schema
            );
        }
        let text = String::from_utf8_lossy(bytes);
        if let Some(read) = moment::parse(&text) {
            assert!(moment::parse(&moment::plain(read)).is_some());
        }
    });
}

async fn site() -> (tempfile::TempDir, Data) {
    let (folder, data) = fresh().await;
    let schema = json!({
        "name": "books", "system_key": true,
        "columns": [{"name": "title", "type": "text", "default": "it's; \"x\""}, {"name": "pages", "type": "integer"}],
        "access": {"read": "open", "insert": "open", "update": "open", "delete": "open"},
    });
    data.create_typed(&owner(), &serde_json::from_value(schema).unwrap())
        .await
        .unwrap();
    data.insert(&owner(), "books", object(json!({"title": "Red"})))
        .await
        .unwrap();
    (folder, data)
}

/// A whole stream: whatever comes, one line of JSON answers.
#[test]
fn fuzz_serve() {
    let runtime = runtime();
    let (_folder, data) = runtime.block_on(site());
    let data = AssertUnwindSafe(data);
    bolero::check!()
        .with_iterations(300)
        .for_each(|bytes: &[u8]| {
            runtime.block_on(async {
                let (mut client, mut server) = tokio::io::duplex(1 << 16);
                client.write_all(bytes).await.unwrap();
                client.shutdown().await.unwrap();
                protocol::serve(actor("B").peer, "", &mut server, &data, &NoKeys)
                    .await
                    .unwrap();
                drop(server);
                let mut answer = Vec::new();
                client.read_to_end(&mut answer).await.unwrap();
                assert_eq!(answer.iter().filter(|byte| **byte == b'\n').count(), 1);
                let answer: Json = serde_json::from_slice(&answer).unwrap();
                assert!(answer["ok"].is_boolean());
            });
        });
}

/// A condition on a real table: SQLite takes every statement that is made, or refuses it as a question.
#[test]
fn fuzz_condition() {
    let runtime = runtime();
    let (_folder, data) = runtime.block_on(site());
    let data = AssertUnwindSafe(data);
    let words = [
        "title",
        "pages",
        "_id",
        "'a'",
        "5",
        "1.5",
        "?",
        "(",
        ")",
        "AND",
        "OR",
        "NOT",
        "=",
        "<",
        "LIKE",
        "GLOB",
        "IN",
        "BETWEEN",
        "IS",
        "NULL",
        "+",
        "-",
        "*",
        "/",
        "||",
        ",",
        "abs(",
        "lower(",
        "count(",
        "CASE",
        "WHEN",
        "THEN",
        "ELSE",
        "END",
        "CAST(",
        "AS",
        "INTEGER",
        "SELECT",
        "FROM",
        "x'00'",
        "\"zz\"",
        "COLLATE",
        "NOCASE",
        "ISNULL",
        "NOTNULL",
        "->",
        "DESC",
        "current_timestamp",
        "%",
        "&",
        "<<",
        "~",
        "!=",
        "<>",
        "==",
        "substr(",
        "trim(",
    ];
    bolero::check!()
        .with_iterations(500)
        .for_each(|bytes: &[u8]| {
            let text: Vec<&str> = bytes
                .iter()
                .map(|byte| words[usize::from(*byte) % words.len()])
                .collect();
            let find = Find {
                filter: text.join(" "),
                args: vec![json!(1); 8],
                ..Find::all("books")
            };
            let done = runtime.block_on(async { data.find(&owner(), &find).await?.whole().await });
            if let Err(error) = done {
                let text = error.to_string();
                assert!(
                    !text.contains("not authorized") && !text.contains("prohibited"),
                    "{find:?}: {text}"
                );
            }
        });
}

/// A GraphQL document: an answer with data or errors, and nothing changed by a query.
#[test]
fn fuzz_graphql() {
    use goop_data::graphql::{Query, preview};
    let runtime = runtime();
    let (_folder, data) = runtime.block_on(site());
    runtime
        .block_on(data.set_context(&owner(), "books", true))
        .unwrap();
    let data = AssertUnwindSafe(data);
    let words = [
        "query",
        "mutation",
        "fragment",
        "on",
        "books",
        "books_by_pk",
        "insert_books",
        "{",
        "{",
        "}",
        "}",
        "(",
        ")",
        "[",
        "]",
        ":",
        "...",
        "f",
        "where",
        "order_by",
        "limit",
        "title",
        "title_eq",
        "pages_gt",
        "_id",
        "asc",
        "1",
        "-1",
        "1.5",
        "\"a\"",
        "\"\"\"",
        "$v",
        "Int",
        "!",
        "=",
        "@include",
        "if",
        "true",
        "null",
        "__schema",
        "types",
        "fields",
        "name",
        "__typename",
        "# x\n",
        "object",
        "\\",
        "\u{0}",
        "🦆",
    ];
    bolero::check!()
        .with_iterations(500)
        .for_each(|bytes: &[u8]| {
            let words: Vec<&str> = bytes
                .iter()
                .map(|byte| words[usize::from(*byte) % words.len()])
                .collect();
            let texts = [words.join(" "), String::from_utf8_lossy(bytes).into_owned()];
            for text in texts {
                let query = Query::new(text).with(json!({"v": 1}));
                let answer = runtime.block_on(data.graphql(&owner(), &query));
                assert!(
                    answer["data"].is_object() || answer["errors"].is_array(),
                    "{answer}"
                );
            }
            let _ = Query::from_json(bytes);
            let _ = preview(bytes);
        });
}

/// A transformation, its functions, and the files it reads.
#[test]
fn fuzz_transformation() {
    use futures_util::future::{BoxFuture, FutureExt};
    use goop_data::transform::{FUNCTIONS, Fetch, Fetched, Transformation};
    struct NoWeb;
    impl Fetch for NoWeb {
        fn get<'a>(&'a self, _: &'a str) -> BoxFuture<'a, Result<Fetched, String>> {
            async { Err("no web".to_owned()) }.boxed()
        }
    }
    let runtime = runtime();
    let (folder, data) = runtime.block_on(site());
    std::fs::create_dir_all(folder.path().join("site")).unwrap();
    let path = folder.path().join("site/rows");
    let data = AssertUnwindSafe(data);
    bolero::check!()
        .with_iterations(300)
        .for_each(|bytes: &[u8]| {
            if let Ok(read) = Transformation::from_json(bytes) {
                let _ = read.validate();
            }
            let text = String::from_utf8_lossy(bytes);
            let args: Vec<Json> = bytes
                .iter()
                .take(3)
                .map(|byte| match byte % 5 {
                    0 => json!(null),
                    1 => json!(i64::from(*byte) - 128),
                    2 => json!(f64::from(*byte) * 1e300),
                    3 => json!(text),
                    _ => json!([text]),
                })
                .collect();
            let row = object(json!({"a": text, "b": args.first(), "c": args.last()}));
            for function in FUNCTIONS {
                let step: Transformation = serde_json::from_value(json!({"name": "x", "fields": [
                    {"target": "t", "sources": ["a"], "transform": function, "args": args},
                    {"target": "u", "sources": ["b", "c", "d"], "transform": function},
                ]}))
                .unwrap();
                let _ = step.apply(&row);
            }
            std::fs::write(&path, bytes).unwrap();
            for kind in ["csv", "json"] {
                let step: Transformation = serde_json::from_value(json!({
                    "name": "x", "source": {"type": kind, "path": "site/rows"},
                    "fields": [{"target": "t", "sources": ["a"]}],
                }))
                .unwrap();
                let seen =
                    runtime.block_on(data.preview_transformation(&owner(), &step, 5, &NoWeb));
                if let Ok(rows) = seen {
                    assert!(rows.len() <= 5);
                }
            }
        });
}
