//! Values and shapes at the edge of what can be stored, and beyond it.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use goop_data::{Caller, ColumnDef, Data, DataError, Find, Request};
use serde_json::{Value as Json, json};
use support::{fresh, object, owner};

async fn site() -> (tempfile::TempDir, Data) {
    let (folder, data) = fresh().await;
    let schema = json!({
        "name": "t", "system_key": true,
        "columns": [{"name": "a", "type": "text"}, {"name": "n", "type": "integer"}, {"name": "r", "type": "real"},
            {"name": "d", "type": "date"}, {"name": "m", "type": "datetime"}, {"name": "b", "type": "blob"}],
        "access": {"read": "open", "insert": "open", "update": "open", "delete": "open"},
    });
    data.create_typed(&owner(), &serde_json::from_value(schema).unwrap())
        .await
        .unwrap();
    (folder, data)
}

fn visitor() -> Caller {
    Caller::visitor("12D3KooWvisitor", "")
}

async fn rows(data: &Data, find: &Find) -> Result<Json, DataError> {
    Ok(data.find(&owner(), find).await?.whole().await?.value)
}

async fn count(data: &Data) -> Json {
    data.count(&owner(), &Find::all("t")).await.unwrap()["count"].clone()
}

/// 100 MB in one value, from everybody and in every place of a question: a refusal, and nothing of it stays.
#[tokio::test]
async fn values_of_100_megabytes() {
    let (_folder, data) = site().await;
    let large = "x".repeat(100 << 20);
    let row = || object(json!({"a": large.as_str()}));
    let is_too_large = |error: DataError| {
        let text = error.to_string();
        assert!(
            text.contains("too big") || text.contains("too large") || text.contains("longer than"),
            "{}",
            &text[..text.len().min(200)]
        );
    };
    for caller in [owner(), visitor()] {
        is_too_large(data.insert(&caller, "t", row()).await.unwrap_err());
        is_too_large(data.upsert(&caller, "t", "a", row()).await.unwrap_err());
        let id = data
            .insert(&caller, "t", object(json!({"a": "small"})))
            .await
            .unwrap();
        is_too_large(data.update(&caller, "t", id, &row()).await.unwrap_err());
        let find = Find {
            filter: "a = ?".to_owned(),
            args: vec![json!(large.as_str())],
            ..Find::all("t")
        };
        is_too_large(data.count(&caller, &find).await.unwrap_err());
        let find = Find {
            filter: large.clone(),
            ..Find::all("t")
        };
        is_too_large(data.count(&caller, &find).await.unwrap_err());
    }
    assert_eq!(count(&data).await, json!(2));
    let found = rows(&data, &Find::all("t")).await.unwrap();
    assert!(
        found
            .as_array()
            .unwrap()
            .iter()
            .all(|row| row["a"] == "small"),
        "{found}"
    );
    // What is large but not too large comes back as it was.
    let fits = "y".repeat(8 << 20);
    let id = data
        .insert(&owner(), "t", object(json!({"a": fits.as_str()})))
        .await
        .unwrap();
    let found = rows(&data, &Find::by("t", "_id", json!(id))).await.unwrap();
    assert_eq!(found[0]["a"], fits.as_str());
}

#[tokio::test]
async fn ten_thousand_columns() {
    let (_folder, data) = site().await;
    let many = 10_000;
    let columns: Vec<Json> = (0..many)
        .map(|n| json!({"name": format!("c{n}"), "type": "TEXT"}))
        .collect();
    let classic: Vec<ColumnDef> = serde_json::from_value(json!(columns)).unwrap();
    let error = data
        .create_classic(&owner(), "wide", &classic)
        .await
        .unwrap_err();
    assert_eq!(error.to_string(), "more than 256 columns");
    let columns: Vec<Json> = (0..many)
        .map(|n| json!({"name": format!("c{n}"), "type": "text"}))
        .collect();
    let schema =
        serde_json::from_value(json!({"name": "wide", "system_key": true, "columns": columns}))
            .unwrap();
    let error = data.create_typed(&owner(), &schema).await.unwrap_err();
    assert!(
        error.to_string().contains("more than 256 columns"),
        "{error}"
    );
    assert!(data.database().catalog().table("wide").is_none());
    let names = |word: &str| -> Vec<String> { (0..many).map(|_| word.to_owned()).collect() };
    for caller in [owner(), visitor()] {
        // A row that names them, a question that wants them, keys that sort by them.
        let row = (0..many).map(|n| (format!("c{n}"), json!(n))).collect();
        let error = data.insert(&caller, "t", row).await.unwrap_err();
        assert_eq!(
            error.to_string(),
            "SQL logic error: table t has no column named c0 (1)"
        );
        let find = Find {
            columns: names("a"),
            ..Find::all("t")
        };
        assert!(data.find(&caller, &find).await.is_err());
        let find = Find {
            columns: vec![names("*").join(", ")],
            ..Find::all("t")
        };
        assert!(data.find(&caller, &find).await.is_err());
        let find = Find {
            order: names("a").join(", "),
            ..Find::all("t")
        };
        assert!(data.find(&caller, &find).await.is_err());
        let request = Request {
            op: "query".to_owned(),
            table: "t".to_owned(),
            filter: "a = ?".to_owned(),
            args: (0..many).map(|n| json!(n)).collect(),
            ..Request::default()
        };
        let done = data.execute(&caller, &request).await;
        assert_eq!(
            done.map(drop).unwrap_err().to_string(),
            "more than 1000 arguments"
        );
    }
    // As many as there may be work.
    let schema = json!({"name": "wide", "system_key": true, "columns": columns[..250]});
    data.create_typed(&owner(), &serde_json::from_value(schema).unwrap())
        .await
        .unwrap();
    let row = (0..250)
        .map(|n| (format!("c{n}"), json!(n.to_string())))
        .collect();
    data.insert(&visitor(), "wide", row).await.unwrap_err();
    let row = (0..250)
        .map(|n| (format!("c{n}"), json!(n.to_string())))
        .collect();
    data.insert(&owner(), "wide", row).await.unwrap();
    let found = rows(&data, &Find::all("wide")).await.unwrap();
    assert_eq!(found[0]["c249"], "249");
}

/// Numbers at the edge: what fits stays exact, what does not is the nearest double or is refused, and nothing wraps.
#[tokio::test]
async fn numbers_at_the_edge() {
    let (_folder, data) = site().await;
    let stored = async |column: &str, text: &str| -> Result<Json, String> {
        let body = format!("{{\"table\": \"t\", \"data\": {{\"{column}\": {text}}}}}");
        let done = data.direct(&owner(), "insert", body.as_bytes()).await;
        let done = match done {
            Ok(answer) => answer.whole().await,
            Err(error) => Err(error),
        };
        let id = done.map_err(|error| error.to_string())?.value["id"].clone();
        let found = rows(&data, &Find::by("t", "_id", id)).await.unwrap();
        Ok(found[0][column].clone())
    };
    for (text, expected) in [
        ("9223372036854775807", json!(i64::MAX)),
        ("-9223372036854775808", json!(i64::MIN)),
        ("9007199254740993", json!(9_007_199_254_740_993_i64)),
        ("0", json!(0)),
        ("-0", json!(0)),
    ] {
        assert_eq!(stored("n", text).await, Ok(expected.clone()), "{text}");
    }
    // 2^63 and beyond are no whole numbers of SQLite: a double is kept, never a wrapped one.
    for text in [
        "9223372036854775808",
        "18446744073709551615",
        "-9223372036854775809",
        "1e300",
    ] {
        match stored("r", text).await {
            Ok(Json::Number(number)) => {
                let (got, wanted) = (number.as_f64().unwrap(), text.parse::<f64>().unwrap());
                assert_eq!(got.to_bits(), wanted.to_bits(), "{text}");
            }
            other => panic!("{text}: {other:?}"),
        }
        if let Ok(kept) = stored("n", text).await {
            assert_eq!(kept.as_f64(), text.parse().ok(), "{text}");
        }
    }
    // Neither JSON nor a double.
    for text in [
        "NaN",
        "Infinity",
        "-Infinity",
        "1e999",
        "-1e999",
        "0x10",
        "01",
        "1.",
        "+1",
    ] {
        let error = stored("r", text).await.unwrap_err();
        assert!(error.contains("invalid json"), "{text}: {error}");
    }
    // SQLite makes infinities and NULLs of calculations; JSON has no word for the first.
    let find = Find {
        columns: vec![
            "r * 1e308 * 10 AS up".to_owned(),
            "9223372036854775807 + 1 AS over".to_owned(),
            "1 / 0 AS none".to_owned(),
        ],
        filter: "r = ?".to_owned(),
        args: vec![json!(1e300)],
        limit: 1,
        ..Find::all("t")
    };
    let found = rows(&data, &find).await.unwrap();
    assert_eq!(
        found,
        json!([{"up": null, "over": 9_223_372_036_854_775_808.0_f64, "none": null}])
    );
    // Ids and counts at the edge are answers too.
    for id in [i64::MIN, -1, 0] {
        let error = data.delete(&owner(), "t", id).await.unwrap_err();
        assert_eq!(error.to_string(), "valid row id required", "{id}");
    }
    data.delete(&owner(), "t", i64::MAX).await.unwrap();
    for (limit, offset) in [
        (i64::MAX, i64::MAX),
        (i64::MIN, i64::MIN),
        (1, i64::MAX),
        (i64::MAX, 0),
    ] {
        let find = Find {
            limit,
            offset,
            ..Find::all("t")
        };
        rows(&data, &find).await.unwrap();
    }
    // The last id of all: there is no next one, and that is said.
    let last = object(json!({"_id": i64::MAX, "a": "last"}));
    assert_eq!(data.insert(&owner(), "t", last).await.unwrap(), i64::MAX);
    let error = data
        .insert(&owner(), "t", object(json!({"a": "beyond"})))
        .await
        .unwrap_err();
    assert!(error.to_string().contains("full"), "{error}");
}

/// Dates of every form go in as they are and come out as one, or as the text they were.
#[tokio::test]
async fn dates_of_every_form() {
    let (_folder, data) = site().await;
    for (text, shown) in [
        ("2026-02-28", "2026-02-28 00:00:00"),
        ("2026-02-28 13:14", "2026-02-28 13:14:00"),
        ("2026-02-28T13:14:15", "2026-02-28 13:14:15"),
        ("2026-02-28 13:14:15.123456789", "2026-02-28 13:14:15"),
        ("2026-02-28T13:14:15Z", "2026-02-28 13:14:15"),
        ("2026-02-28T13:14:15+02:00", "2026-02-28 11:14:15"),
        ("2026-02-28T00:30:00+02:00", "2026-02-27 22:30:00"),
        ("2024-02-29", "2024-02-29 00:00:00"),
        ("0001-01-01", "0001-01-01 00:00:00"),
        ("9999-12-31T23:59:59Z", "9999-12-31 23:59:59"),
        // No dates: they stay the texts that they are.
        ("2026-02-29", "2026-02-29"),
        ("2026-13-01", "2026-13-01"),
        ("2026-00-10", "2026-00-10"),
        ("0000-00-00", "0000-00-00"),
        ("10000-01-01", "10000-01-01"),
        ("-0001-01-01", "-0001-01-01"),
        ("2026-02-28 25:00", "2026-02-28 25:00"),
        ("2026-02-28 13:14:60", "2026-02-28 13:14:60"),
        ("28.02.2026", "28.02.2026"),
        ("2026-2-8", "2026-2-8"),
        ("２０２６-02-28", "２０２６-02-28"),
        ("now", "now"),
        ("", ""),
    ] {
        for column in ["d", "m"] {
            let row = object(json!({column: text}));
            match data.insert(&owner(), "t", row).await {
                Ok(id) => {
                    let found = rows(&data, &Find::by("t", "_id", json!(id))).await.unwrap();
                    assert_eq!(found[0][column], shown, "{text} in {column}");
                }
                Err(error) => assert!(error.to_string().contains(column), "{text}: {error}"),
            }
        }
    }
    for value in [json!(20_260_228), json!(1.5), json!(true)] {
        let row = object(json!({"m": value}));
        if let Ok(id) = data.insert(&owner(), "t", row).await {
            let found = rows(&data, &Find::by("t", "_id", json!(id))).await.unwrap();
            assert!(!found[0]["m"].is_null(), "{value}");
        }
    }
}

/// Bytes that are no text.
#[tokio::test]
async fn texts_of_every_kind() {
    let (_folder, data) = site().await;
    for text in [
        "",
        "\0",
        "a\0b",
        "\u{feff}",
        "\u{202e}evil",
        "e\u{301}",
        "𝒕",
        "'; DROP TABLE t; --",
        "\r\n\t",
        "\u{10ffff}",
    ] {
        for column in ["a", "b"] {
            let id = data
                .insert(&visitor(), "t", object(json!({column: text})))
                .await
                .unwrap();
            let found = rows(&data, &Find::by("t", "_id", json!(id))).await.unwrap();
            assert_eq!(found[0][column], text, "{text:?} in {column}");
            let find = Find::by("t", column, json!(text));
            assert_ne!(
                data.count(&visitor(), &find).await.unwrap(),
                json!({"count": 0}),
                "{text:?}"
            );
        }
    }
    for value in [json!([1]), json!({"a": 1}), json!([[[]]])] {
        let row = object(json!({"a": value}));
        assert!(data.insert(&visitor(), "t", row).await.is_err(), "{value}");
    }
}
