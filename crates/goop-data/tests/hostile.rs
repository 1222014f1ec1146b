//! What strangers send who want more than they may have.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use std::time::Duration;

use goop_data::{Caller, Data, DataError, Find, Limits, Request};
use serde_json::{Value as Json, json};
use support::{fixture, fresh, object, owner};

const SECRET: &str = "swordfish";

/// A site with an open table, one whose rows are their authors', a local one, and secrets in the system tables.
async fn site() -> (tempfile::TempDir, Data) {
    let (folder, data) = fresh().await;
    for (name, policy) in [("books", "open"), ("diary", "owner"), ("vault", "local")] {
        let schema = json!({
            "name": name, "system_key": true,
            "columns": [{"name": "title", "type": "text"}, {"name": "pages", "type": "integer"}, {"name": "order", "type": "text"}],
            "access": {"read": policy, "insert": "open", "update": policy, "delete": policy},
        });
        data.create_typed(&owner(), &serde_json::from_value(schema).unwrap())
            .await
            .unwrap();
    }
    for (table, title) in [
        ("books", "Red"),
        ("books", "Blue"),
        ("diary", SECRET),
        ("vault", SECRET),
    ] {
        data.insert(&owner(), table, object(json!({"title": title, "pages": 7})))
            .await
            .unwrap();
    }
    data.insert(&visitor(), "diary", object(json!({"title": "mine"})))
        .await
        .unwrap();
    (folder, data)
}

fn visitor() -> Caller {
    Caller::visitor("12D3KooWvisitor", "v@example.org")
}

/// Everything a text could try, in whatever place it arrives (`fixtures/hostile/sql.json`).
fn hostile() -> Vec<String> {
    serde_json::from_slice(&std::fs::read(fixture("hostile/sql.json")).unwrap()).unwrap()
}

/// Every place of a question that takes a text.
fn questions(text: &str) -> Vec<Request> {
    let base = |op: &str| Request {
        op: op.to_owned(),
        table: "books".to_owned(),
        ..Request::default()
    };
    let text = || text.to_owned();
    vec![
        Request {
            filter: text(),
            ..base("query")
        },
        Request {
            order: text(),
            ..base("query")
        },
        Request {
            columns: vec![text()],
            ..base("query")
        },
        Request {
            fields: vec![text()],
            ..base("query-one")
        },
        Request {
            filter: text(),
            ..base("count")
        },
        Request {
            filter: text(),
            ..base("exists")
        },
        Request {
            key_col: text(),
            ..base("pluck")
        },
        Request {
            key_col: text(),
            ..base("distinct")
        },
        Request {
            expr: text(),
            ..base("aggregate")
        },
        Request {
            expr: "count(*)".to_owned(),
            group_by: text(),
            ..base("aggregate")
        },
        Request {
            expr: "count(*)".to_owned(),
            filter: text(),
            ..base("aggregate")
        },
        Request {
            table: text(),
            ..base("query")
        },
        Request {
            table: text(),
            ..base("describe")
        },
        Request {
            filter: text(),
            ..Request {
                table: "diary".to_owned(),
                ..base("query")
            }
        },
        Request {
            columns: vec![text()],
            ..Request {
                table: "diary".to_owned(),
                ..base("query")
            }
        },
        Request {
            data: object(json!({"title": "x"})),
            key_col: text(),
            ..base("upsert")
        },
        Request {
            data: [(text(), json!("x"))].into_iter().collect(),
            ..base("insert")
        },
    ]
}

async fn everything(data: &Data) -> String {
    let mut all = String::new();
    for table in ["diary", "vault", "_meta", "_tables", "_orm_schemas"] {
        let whole = data
            .find(&owner(), &Find::all(table))
            .await
            .unwrap()
            .whole()
            .await
            .unwrap();
        all.push_str(&whole.value.to_string());
    }
    all
}

#[tokio::test]
async fn nothing_leaks_and_nothing_is_harmed() {
    let (_folder, data) = site().await;
    let before = everything(&data).await;
    assert!(before.contains(SECRET));
    let (mut answered, mut refused) = (0, 0);
    let texts = hostile();
    assert!(texts.len() > 70);
    for text in &texts {
        for request in questions(text) {
            let done = match data.execute(&visitor(), &request).await {
                Ok(answer) => answer.whole().await,
                Err(error) => Err(error),
            };
            match done {
                Ok(whole) => {
                    answered += 1;
                    assert!(
                        !whole.value.to_string().contains(SECRET),
                        "{request:?}: {}",
                        whole.value
                    );
                }
                Err(error) => {
                    refused += 1;
                    assert!(!error.to_string().contains(SECRET), "{request:?}: {error}");
                    assert_ne!(error, DataError::Unavailable, "{request:?}");
                }
            }
        }
    }
    assert_eq!(everything(&data).await, before);
    assert!(
        refused > 10 * answered && answered > 0,
        "{answered} answered, {refused} refused"
    );
}

#[tokio::test]
async fn tables_of_the_system_are_not_there() {
    let (_folder, data) = site().await;
    for table in [
        "_meta",
        "_tables",
        "_orm_schemas",
        "_chat_messages",
        "_peer_cache",
        "_group_members",
        "sqlite_schema",
        "sqlite_master",
        "zz",
        "_META",
    ] {
        for op in [
            "query",
            "query-one",
            "exists",
            "count",
            "insert",
            "delete-where",
            "update-where",
            "upsert",
            "update",
            "delete",
        ] {
            let request = Request {
                table: table.to_owned(),
                id: 1,
                filter: if op.ends_with("where") {
                    "1=1".to_owned()
                } else {
                    String::new()
                },
                key_col: "key".to_owned(),
                data: object(json!({"key": "x"})),
                ..Request {
                    op: op.to_owned(),
                    ..Request::default()
                }
            };
            let error = data
                .execute(&visitor(), &request)
                .await
                .map(|_| ())
                .unwrap_err();
            assert_eq!(
                error.to_string(),
                format!("SQL logic error: no such table: {table} (1)"),
                "{op}"
            );
        }
    }
}

#[tokio::test]
async fn somebody_elses_rows_stay_theirs() {
    let (_folder, data) = site().await;
    let them = visitor();
    let whole = |request: Request| {
        let (data, them) = (data.clone(), them.clone());
        async move { Ok::<Json, DataError>(data.execute(&them, &request).await?.whole().await?.value) }
    };
    let base = |op: &str, table: &str| Request {
        op: op.to_owned(),
        table: table.to_owned(),
        ..Request::default()
    };
    // Reading, counting and choosing see the caller's rows alone.
    let rows = whole(base("query", "diary")).await.unwrap();
    assert_eq!(rows.as_array().unwrap().len(), 1);
    assert_eq!(
        whole(base("count", "diary")).await.unwrap(),
        json!({"count": 1})
    );
    let all = Request {
        filter: "1=1 OR 1=1".to_owned(),
        ..base("count", "diary")
    };
    assert_eq!(whole(all).await.unwrap(), json!({"count": 1}));
    let set = |op: &str| Request {
        filter: "1=1 OR 1=1".to_owned(),
        data: object(json!({"pages": 3})),
        ..base(op, "diary")
    };
    assert_eq!(
        whole(set("update-where")).await.unwrap(),
        json!({"affected": 1})
    );
    let one = |op: &str, id: i64| Request {
        id,
        data: object(json!({"title": "y"})),
        ..base(op, "diary")
    };
    let error = whole(one("update", 1)).await.unwrap_err();
    assert_eq!(error.to_string(), "update not allowed: owner only");
    assert_eq!(
        whole(one("delete", 1)).await.unwrap_err().to_string(),
        "delete not allowed: owner only"
    );
    // The author may change their own row, as the guide says.
    assert_eq!(
        whole(one("update", 2)).await.unwrap(),
        json!({"status": "updated"})
    );
    // Nobody gives rows to somebody else, or to themselves.
    for name in [
        "_owner",
        "_owner_email",
        "_id",
        "_created_at",
        "_updated_at",
    ] {
        for op in ["insert", "update", "update-where", "upsert"] {
            let request = Request {
                id: 1,
                filter: "1=1".to_owned(),
                key_col: "title".to_owned(),
                data: object(json!({"title": "x", name: "12D3KooWvisitor"})),
                ..base(op, "books")
            };
            let error = whole(request).await.unwrap_err().to_string();
            assert_eq!(error, format!("invalid column name: {name}"), "{op}");
        }
    }
    // An upsert finds the owner's row by its key and leaves it alone.
    let request = Request {
        key_col: "title".to_owned(),
        data: object(json!({"title": SECRET, "pages": 0})),
        ..base("upsert", "diary")
    };
    assert_eq!(
        whole(request).await.unwrap_err().to_string(),
        "update not allowed: owner only"
    );
    // Who may write but not read cannot ask by writing.
    let request = Request {
        filter: "title LIKE 's%'".to_owned(),
        data: object(json!({"pages": 0})),
        ..base("update-where", "vault")
    };
    assert_eq!(
        whole(request).await.unwrap_err().to_string(),
        "update not allowed: table is local-only"
    );
    assert_eq!(
        whole(one("delete", 2)).await.unwrap(),
        json!({"status": "deleted"})
    );
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
