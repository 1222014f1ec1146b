//! What the owner's pages ask besides: many rows at once, what others may, statements of their own.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use goop_data::schema::Schema;
use goop_data::{Caller, Data, MAX_MANY};
use serde_json::{Value as Json, json};
use support::{ALICE, fresh, owner};

async fn ask(data: &Data, caller: &Caller, suffix: &str, body: Json) -> Result<Json, String> {
    let done = data
        .direct(caller, suffix, body.to_string().as_bytes())
        .await;
    match done {
        Ok(answer) => Ok(answer.whole().await.unwrap().value),
        Err(error) => Err(error.to_string()),
    }
}

async fn site(read: &str, roles: Json) -> (tempfile::TempDir, Data) {
    let (folder, data) = fresh().await;
    let schema: Schema = serde_json::from_value(json!({
        "name": "t", "system_key": true, "columns": [{"name": "a", "type": "text", "required": true}],
        "access": {"read": read, "insert": "open", "update": "owner", "delete": "local"}, "roles": roles,
    }))
    .unwrap();
    data.create_typed(&owner(), &schema).await.unwrap();
    (folder, data)
}

#[tokio::test]
async fn many_rows_are_one_change() {
    let (_folder, data) = site("open", json!({})).await;
    let rows: Vec<Json> = (0..10).map(|n| json!({"a": n.to_string()})).collect();
    let done = ask(
        &data,
        &owner(),
        "insert-many",
        json!({"table": "t", "rows": rows}),
    )
    .await;
    assert_eq!(
        done,
        Ok(json!({"status": "inserted", "count": 10, "first": 1, "last": 10}))
    );
    let mut wrong = rows.clone();
    wrong.push(json!({"a": null}));
    for (rows, words) in [
        (json!(wrong), "column \"a\" is required"),
        (json!([]), "rows are added at once"),
        (
            json!(vec![json!({}); MAX_MANY + 1]),
            "rows are added at once",
        ),
        (json!([5]), "invalid json"),
        (json!([{"a": "x", "nope": 1}]), "no column named nope"),
    ] {
        let error = ask(
            &data,
            &owner(),
            "insert-many",
            json!({"table": "t", "rows": rows}),
        )
        .await
        .unwrap_err();
        assert!(error.contains(words), "{error}");
    }
    assert_eq!(
        ask(&data, &owner(), "count", json!({"table": "t"})).await,
        Ok(json!({"count": 10}))
    );
}

#[tokio::test]
async fn what_others_may_is_what_the_decision_says() {
    let (_folder, data) = site("owner", json!({"editor": {"read": true}})).await;
    let said = ask(&data, &owner(), "tables/rights", json!({"table": "t"}))
        .await
        .unwrap();
    let who: Vec<&str> = said["callers"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| row["who"].as_str().unwrap())
        .collect();
    assert_eq!(who, ["stranger", "member", "owner"]);
    let rights = |said: &Json, at: usize| {
        ["read", "insert", "update", "delete"].map(|word| {
            said["callers"][at]["rights"][word]["can"]
                .as_str()
                .unwrap()
                .to_owned()
        })
    };
    assert_eq!(rights(&said, 0), ["own", "all", "own", "no"]);
    assert_eq!(rights(&said, 2), ["all"; 4]);
    assert_eq!(
        said["callers"][0]["rights"]["delete"]["why"],
        "delete not allowed: table is local-only"
    );
    // As it would be with other rules, also of a table that is not there yet.
    for table in ["t", "new"] {
        let body = json!({"table": table, "access": {"read": "group", "insert": "group"}, "roles": {"editor": {"insert": true}}});
        let said = ask(&data, &owner(), "tables/rights", body).await.unwrap();
        assert_eq!(rights(&said, 0), ["no"; 4]);
        assert_eq!(rights(&said, 1), ["no", "all", "no", "no"]);
    }
    assert!(
        ask(&data, &owner(), "tables/rights", json!({"table": "new"}))
            .await
            .is_err()
    );
    let visitor = Caller::visitor(ALICE, "");
    for (route, body) in [
        ("tables/rights", json!({"table": "t"})),
        ("console", json!({"sql": "SELECT 1"})),
        ("insert-many", json!({"table": "t", "rows": [{"a": "x"}]})),
    ] {
        assert!(ask(&data, &visitor, route, body).await.is_err(), "{route}");
    }
}

#[tokio::test]
async fn the_console_reads() {
    let (_folder, data) = site("open", json!({})).await;
    let rows: Vec<Json> = (0..1_200).map(|n| json!({"a": n.to_string()})).collect();
    ask(
        &data,
        &owner(),
        "insert-many",
        json!({"table": "t", "rows": rows}),
    )
    .await
    .unwrap();
    let sql = async |sql: &str, args: Json| {
        ask(
            &data,
            &owner(),
            "console",
            json!({"sql": sql, "args": args}),
        )
        .await
    };
    let said = sql(
        "SELECT a, a AS a, count(*) AS n FROM t WHERE _id > ?",
        json!([5]),
    )
    .await
    .unwrap();
    assert_eq!(
        said,
        json!({"columns": ["a", "a", "n"], "rows": [["5", "5", 1195]], "more": false})
    );
    let said = sql("SELECT a FROM t", json!([])).await.unwrap();
    assert_eq!(
        (said["rows"].as_array().unwrap().len(), &said["more"]),
        (1_000, &json!(true))
    );
    assert_eq!(
        sql("SELECT 1 WHERE 0", json!([])).await.unwrap()["rows"],
        json!([])
    );
    for text in [
        "",
        " ",
        "DELETE FROM t",
        "SELECT 1; SELECT 2",
        "PRAGMA user_version = 5",
        "ATTACH 'x' AS y",
        "nonsense",
    ] {
        assert!(sql(text, json!([])).await.is_err(), "{text}");
    }
}
