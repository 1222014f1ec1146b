//! What strangers send who want more than they may have.
#![allow(clippy::unwrap_used, missing_docs)]

#[path = "support/corpus.rs"]
mod corpus;
mod support;

use std::time::Duration;

use corpus::{SECRET, hostile, questions, site, visitor};
use goop_data::{Caller, DataError, Find, Limits};
use serde_json::{Value as Json, json};
use support::{object, owner};

#[tokio::test]
async fn nothing_leaks_and_nothing_is_harmed() {
    assert!(hostile().len() > 90);
    let (_folder, data) = site().await;
    let (answered, refused) = corpus::nothing_leaks_and_nothing_is_harmed(data).await;
    assert!(
        refused > 10 * answered && answered > 0,
        "{answered} answered, {refused} refused"
    );
}

#[tokio::test]
async fn tables_of_the_system_are_not_there() {
    let (_folder, data) = site().await;
    corpus::tables_of_the_system_are_not_there(data).await;
}

#[tokio::test]
async fn somebody_elses_rows_stay_theirs() {
    let (_folder, data) = site().await;
    corpus::somebody_elses_rows_stay_theirs(data).await;
}

#[tokio::test]
async fn long_and_deep_texts_are_refused() {
    let (_folder, data) = site().await;
    let deep = |open: &str, close: &str, times: usize| {
        format!("{}1{}", open.repeat(times), close.repeat(times))
    };
    for text in [
        "x".repeat(100_000),
        deep("(", ")", 5_000),
        deep("abs(", ")", 2_000),
        deep("NOT ", "", 4_000),
        deep("-", "", 900),
        deep("CASE WHEN 1 THEN ", " END", 400),
        vec!["1=1"; 1_500].join(" AND "),
        vec!["1"; 1_900].join(" OR "),
        format!("pages IN ({})", vec!["1"; 5_000].join(",")),
    ] {
        for request in questions(&text) {
            let done = data.execute(&visitor(), &request).await;
            assert!(done.is_err(), "{} {}", request.op, &text[..40]);
        }
    }
    // What people write is not.
    for text in [
        vec!["pages = 7"; 150].join(" AND "),
        deep("(", ")", 20),
        format!("pages IN ({})", vec!["7"; 900].join(",")),
    ] {
        let find = Find {
            filter: text,
            ..Find::all("books")
        };
        data.count(&visitor(), &find).await.unwrap();
    }
}

#[tokio::test]
async fn a_question_that_does_not_end_is_ended() {
    let (_folder, data) = site().await;
    for _ in 0..40 {
        data.insert(
            &owner(),
            "books",
            object(json!({"title": "x".repeat(20_000)})),
        )
        .await
        .unwrap();
    }
    let endless =
        "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT max(x) FROM c";
    let limits = Limits {
        time: Duration::from_millis(50),
        ..Limits::VISITOR
    };
    let mut rows = data.console(&owner(), endless, &[], limits).await.unwrap();
    assert_eq!(rows.next().await.unwrap_err(), DataError::TooLong);
    // The connection is as good as before, for others and for the next question.
    for _ in 0..8 {
        assert!(data.count(&visitor(), &Find::all("books")).await.is_ok());
    }
}

#[tokio::test]
async fn answers_end_at_their_limits_and_say_so() {
    let (_folder, data) = site().await;
    for number in 0..60 {
        data.insert(
            &owner(),
            "books",
            object(json!({"title": "x".repeat(100_000), "pages": number})),
        )
        .await
        .unwrap();
    }
    let whole = data
        .find(&visitor(), &Find::all("books"))
        .await
        .unwrap()
        .whole()
        .await
        .unwrap();
    let rows = whole.value.as_array().unwrap().len();
    assert!(whole.more && rows > 10 && rows < 62, "{rows}");
    let few = Find {
        limit: 3,
        ..Find::all("books")
    };
    let whole = data
        .find(&visitor(), &few)
        .await
        .unwrap()
        .whole()
        .await
        .unwrap();
    assert!(!whole.more && whole.value.as_array().unwrap().len() == 3);
    let whole = data
        .find(&owner(), &Find::all("books"))
        .await
        .unwrap()
        .whole()
        .await
        .unwrap();
    assert!(!whole.more && whole.value.as_array().unwrap().len() == 62);
}

/// The console of the owner and the statements of scripts: SQLite decides.
#[tokio::test]
async fn statements_only_read_and_only_what_they_may() {
    let (_folder, data) = site().await;
    let script = Caller::script("12D3KooWvisitor");
    let run = |caller: Caller, sql: &'static str| {
        let data = data.clone();
        async move {
            let mut rows = data.console(&caller, sql, &[], Limits::VISITOR).await?;
            let mut all = Vec::new();
            while let Some(row) = rows.next().await? {
                all.push(row.to_json(goop_data::Form::Rows));
            }
            Ok::<Vec<Json>, DataError>(all)
        }
    };
    let titles = run(
        script.clone(),
        "WITH v AS (SELECT title FROM vault) SELECT title AS t FROM v ;  ",
    )
    .await
    .unwrap();
    assert_eq!(titles, [json!({"t": SECRET})]);
    assert_eq!(
        run(owner(), "SELECT count(*) AS n FROM _tables")
            .await
            .unwrap(),
        [json!({"n": 3})]
    );
    assert_eq!(
        run(script.clone(), "SELECT ';' AS a").await.unwrap(),
        [json!({"a": ";"})]
    );
    for sql in [
        "SELECT * FROM _meta",
        "SELECT * FROM sqlite_schema",
        "SELECT * FROM pragma_table_info('vault')",
        "PRAGMA table_info(vault)",
        "ATTACH DATABASE ':memory:' AS x",
        "DELETE FROM vault",
        "UPDATE vault SET title = 1",
        "WITH v AS (SELECT 1) DELETE FROM vault",
        "INSERT INTO vault (_owner) VALUES (1)",
        "DROP TABLE vault",
        "CREATE TEMP TABLE x (a)",
        "SELECT 1; SELECT 2",
        "SELECT 1; DROP TABLE vault",
        "",
        " -- nothing",
        "BEGIN",
        "VACUUM",
        "EXPLAIN DELETE FROM vault; SELECT 1",
        "SELECT load_extension('x')",
        "REINDEX",
        "ANALYZE",
    ] {
        assert!(run(script.clone(), sql).await.is_err(), "{sql}");
        let reads = sql.starts_with("SELECT * FROM _meta")
            || sql.starts_with("SELECT * FROM sqlite_schema");
        assert_eq!(run(owner(), sql).await.is_ok(), reads, "{sql}");
        assert!(run(visitor(), sql).await.is_err(), "{sql}");
    }
}

/// Whoever leaves before the end takes the question along: it does not live on with the time of others.
#[tokio::test]
async fn questions_of_those_who_left_are_ended() {
    let (_folder, data) = site().await;
    let endless =
        "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT max(x) FROM c";
    for _ in 0..8 {
        let mut rows = data
            .console(&owner(), endless, &[], Limits::OWNER)
            .await
            .unwrap();
        let waited = tokio::time::timeout(Duration::from_millis(20), rows.next()).await;
        assert!(waited.is_err(), "it does not end by itself");
    }
    // More questions were left than there are connections: one that still ran would go on for the five seconds of this
    // one, and hold it up as long.
    let (them, all) = (visitor(), Find::all("books"));
    let asked = data.count(&them, &all);
    let answered = tokio::time::timeout(Duration::from_secs(4), asked).await;
    assert_eq!(
        answered.expect("nothing runs for nobody").unwrap(),
        json!({"count": 2})
    );
}

/// Whoever asks and does not take the answer keeps nobody from asking: not the owner, and after a while no stranger.
#[tokio::test]
async fn answers_that_nobody_takes_hold_up_nobody() {
    let (_folder, data) = site().await;
    let many = "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c LIMIT 9000) SELECT x FROM c";
    let limits = Limits {
        time: Duration::from_millis(1_500),
        ..Limits::VISITOR
    };
    let script = Caller::script("12D3KooWvisitor");
    let mut left = Vec::new();
    for _ in 0..6 {
        left.push(data.console(&script, many, &[], limits).await.unwrap());
    }
    let all = Find::all("books");
    let (me, soon) = (owner(), Duration::from_millis(1_400));
    let asked = tokio::time::timeout(soon, data.count(&me, &all)).await;
    assert_eq!(asked.unwrap().unwrap(), json!({"count": 2}));
    let (them, later) = (visitor(), Duration::from_secs(15));
    let asked = tokio::time::timeout(later, data.count(&them, &all)).await;
    assert_eq!(asked.unwrap().unwrap(), json!({"count": 2}));
}
