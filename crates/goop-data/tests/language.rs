//! The query language means what SQLite means: what is written anew finds the rows that the text itself would find.
#![allow(clippy::unwrap_used, missing_docs)]

#[path = "support/expressions.rs"]
mod expressions;
mod support;

use expressions::expression;
use goop_data::{Data, Find, Limits, Value};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde_json::{Value as Json, json};
use support::{fresh, object, owner};

async fn table() -> (tempfile::TempDir, Data) {
    let (folder, data) = fresh().await;
    let schema = json!({"name": "t", "system_key": true, "columns": [
        {"name": "a", "type": "integer"}, {"name": "b", "type": "text"}, {"name": "c", "type": "real"}, {"name": "d", "type": "datetime"},
    ]});
    data.create_typed(&owner(), &serde_json::from_value(schema).unwrap())
        .await
        .unwrap();
    for (a, b, c, d) in [
        (
            json!(1),
            json!("one"),
            json!(1.5),
            json!("2026-01-02 03:04:05"),
        ),
        (json!(2), json!("Two"), json!(-2.5), json!("2026-02-03")),
        (json!(-3), json!("5"), json!(0), Json::Null),
        (json!(0), json!(""), Json::Null, json!("soon")),
        (Json::Null, Json::Null, json!(1e10), json!("1990-05-14")),
        (
            json!(9_007_199_254_740_993_i64),
            json!("o%e_\\"),
            json!(2),
            json!(""),
        ),
    ] {
        data.insert(
            &owner(),
            "t",
            object(json!({"a": a, "b": b, "c": c, "d": d})),
        )
        .await
        .unwrap();
    }
    (folder, data)
}

/// Values of one column, or SQLite's refusal.
async fn raw(data: &Data, sql: &str) -> Result<Vec<Value>, String> {
    let mut rows = data
        .console(&owner(), sql, &[], Limits::VISITOR)
        .await
        .map_err(|error| error.to_string())?;
    let mut values = Vec::new();
    while let Some(row) = rows.next().await.map_err(|error| error.to_string())? {
        values.push(row.values[0].clone());
    }
    Ok(values)
}

async fn ours(data: &Data, find: &Find) -> Result<Vec<Json>, String> {
    let whole = async { data.find(&owner(), find).await?.whole().await }.await;
    let rows = whole.map_err(|error| error.to_string())?.value;
    Ok(rows
        .as_array()
        .unwrap()
        .iter()
        .map(|row| row.as_object().unwrap().values().next().unwrap().clone())
        .collect())
}

#[test]
fn texts_mean_what_sqlite_means() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let (_folder, data) = runtime.block_on(table());
    let mut runner = TestRunner::new(Config {
        cases: 2_000,
        ..Config::default()
    });
    let result = runner.run(&expression(), |text| {
        runtime.block_on(async {
            let condition = Find {
                columns: vec!["_id".to_owned()],
                filter: text.clone(),
                order: "_id".to_owned(),
                ..Find::all("t")
            };
            let expected = raw(
                &data,
                &format!("SELECT _id FROM t WHERE {text} ORDER BY _id"),
            )
            .await;
            let got = ours(&data, &condition).await;
            match (&expected, &got) {
                (Ok(expected), Ok(got)) => {
                    let expected: Vec<Json> = expected
                        .iter()
                        .map(|value| value.to_json(goop_data::Form::Rows, false))
                        .collect();
                    prop_assert_eq!(&expected, got, "{}", text);
                }
                (Err(_), Err(_)) => {}
                _ => prop_assert!(false, "{}: {:?} {:?}", text, expected, got),
            }
            // As a column: the values themselves.
            let column = Find {
                columns: vec![format!("({text}) AS v")],
                order: "_id".to_owned(),
                ..Find::all("t")
            };
            let expected = raw(&data, &format!("SELECT ({text}) AS v FROM t ORDER BY _id")).await;
            if let (Ok(expected), Ok(got)) = (&expected, &ours(&data, &column).await) {
                let expected: Vec<Json> = expected
                    .iter()
                    .map(|value| value.to_json(goop_data::Form::Rows, false))
                    .collect();
                prop_assert_eq!(&expected, got, "{}", text);
            }
            Ok(())
        })
    });
    result.unwrap();
}

async fn check(data: &Data, find: Find, expected: Json) {
    let whole = data
        .find(&owner(), &find)
        .await
        .unwrap()
        .whole()
        .await
        .unwrap();
    assert_eq!(whole.value, expected, "{find:?}");
}

#[tokio::test]
async fn marks_orders_and_names() {
    let (_folder, data) = table().await;
    let find = |filter: &str, args: Vec<Json>| Find {
        columns: vec!["_id".to_owned()],
        filter: filter.to_owned(),
        args,
        order: "_id".to_owned(),
        ..Find::all("t")
    };
    check(
        &data,
        find("a = ? AND b = ?", vec![json!(1), json!("one")]),
        json!([{"_id": 1}]),
    )
    .await;
    check(
        &data,
        find("b = ?2 AND a = ?1", vec![json!(1), json!("one")]),
        json!([{"_id": 1}]),
    )
    .await;
    check(
        &data,
        find("b = $2 AND a = $1", vec![json!(1), json!("one")]),
        json!([{"_id": 1}]),
    )
    .await;
    check(
        &data,
        find("a = ? -- the rest", vec![json!(2), json!("surplus")]),
        json!([{"_id": 2}]),
    )
    .await;
    check(
        &data,
        find("a = 9007199254740993", vec![]),
        json!([{"_id": 6}]),
    )
    .await;
    check(&data, find("rowid = 3", vec![]), json!([{"_id": 3}])).await;
    check(
        &data,
        find("b LIKE 'o\\%e%' ESCAPE '\\'", vec![]),
        json!([{"_id": 6}]),
    )
    .await;
    check(&data, find("b = \"one\"", vec![]), json!([{"_id": 1}])).await;
    check(
        &data,
        find("d IS NULL OR d IN ('soon')", vec![]),
        json!([{"_id": 3}, {"_id": 4}]),
    )
    .await;
    let by = |order: &str, limit: i64| Find {
        columns: vec!["_id".to_owned(), "a % 2 AS odd".to_owned()],
        order: order.to_owned(),
        limit,
        filter: "a IS NOT NULL".to_owned(),
        ..Find::all("T")
    };
    check(
        &data,
        by("odd DESC, _id DESC", 1),
        json!([{"_id": 6, "odd": 1}]),
    )
    .await;
    check(&data, by("2 DESC, 1", 1), json!([{"_id": 1, "odd": 1}])).await;
    check(
        &data,
        by("a COLLATE NOCASE NULLS LAST", 1),
        json!([{"_id": 3, "odd": -1}]),
    )
    .await;
    let figures = data
        .aggregate(
            &owner(),
            &Find::all("t"),
            "a % 2 AS odd, count(*) AS n",
            "odd HAVING n > 1",
        )
        .await
        .unwrap();
    assert_eq!(
        figures.whole().await.unwrap().value,
        json!([{"n": 2, "odd": 0}, {"n": 2, "odd": 1}])
    );
    let figures = data
        .aggregate(&owner(), &Find::all("t"), "COUNT( * ), max(c)", "")
        .await
        .unwrap();
    assert_eq!(
        figures.whole().await.unwrap().value,
        json!([{"COUNT( * )": 6, "max(c)": 10_000_000_000_i64}])
    );
    let error = |filter: &str, args: Vec<Json>| {
        let (data, find) = (data.clone(), find(filter, args));
        async move {
            data.find(&owner(), &find)
                .await
                .map(|_| ())
                .unwrap_err()
                .to_string()
        }
    };
    assert_eq!(
        error("a = ?", vec![]).await,
        "missing argument with index 1"
    );
    assert_eq!(
        error("a = ?3", vec![json!(1)]).await,
        "missing argument with index 3"
    );
    assert_eq!(
        error("a = :a", vec![]).await,
        "missing named argument \"a\""
    );
    assert_eq!(
        error("zz = 1", vec![]).await,
        "SQL logic error: no such column: zz (1)"
    );
    assert_eq!(
        error("a = [1]", vec![]).await,
        "SQL logic error: no such column: 1 (1)"
    );
    assert_eq!(
        error("a = ", vec![]).await,
        "SQL logic error: incomplete input (1)"
    );
    assert_eq!(
        error("a = 1 ORDER BY 1", vec![]).await,
        "SQL logic error: near \"ORDER\": syntax error (1)"
    );
    assert_eq!(
        error("count(a) > 1", vec![]).await,
        "SQL logic error: misuse of aggregate: COUNT() (1)"
    );
    assert_eq!(
        error("a = ?", vec![json!([1])]).await,
        "sql: converting argument $1 type: unsupported type []interface {}, a slice of interface"
    );
}

#[tokio::test]
async fn dates_and_bytes_as_the_go_program_shows_them() {
    let (_folder, data) = table().await;
    let find = Find {
        columns: vec!["d".to_owned()],
        order: "_id".to_owned(),
        ..Find::all("t")
    };
    let expected = json!([
        {"d": "2026-01-02 03:04:05"}, {"d": "2026-02-03 00:00:00"}, {"d": null}, {"d": "soon"}, {"d": "1990-05-14 00:00:00"}, {"d": ""},
    ]);
    check(&data, find, expected).await;
    let distinct = data
        .distinct(&owner(), &Find::all("t"), "d")
        .await
        .unwrap()
        .whole()
        .await
        .unwrap();
    assert_eq!(
        distinct.value,
        json!([
            null,
            "",
            "1990-05-14T00:00:00Z",
            "2026-01-02T03:04:05Z",
            "2026-02-03T00:00:00Z",
            "soon"
        ])
    );
    let bytes = |columns: &str| Find {
        columns: vec![columns.to_owned()],
        limit: 1,
        ..Find::all("t")
    };
    check(&data, bytes("x'ff41' AS b"), json!([{"b": "\u{fffd}A"}])).await;
    let figures = data
        .aggregate(&owner(), &Find::all("t"), "x'ff41' AS b", "")
        .await
        .unwrap()
        .whole()
        .await
        .unwrap();
    assert_eq!(figures.value[0], json!({"b": "/0E="}));
}
