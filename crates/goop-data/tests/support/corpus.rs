//! What strangers send who want more than they may have. `hostile.rs` sends it to the program as it is; `weakened.rs` to
//! one that is weak on purpose, and wants it to be noticed.

use goop_data::{Caller, Data, DataError, Find, Request};
use serde_json::{Value as Json, json};

use crate::support::{fixture, fresh, object, owner};

pub(crate) const SECRET: &str = "swordfish";

/// A site with an open table, one whose rows are their authors', a local one, and secrets in the system tables.
pub(crate) async fn site() -> (tempfile::TempDir, Data) {
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

pub(crate) fn visitor() -> Caller {
    Caller::visitor("12D3KooWvisitor", "v@example.org")
}

/// Everything a text could try, in whatever place it arrives (`fixtures/hostile/sql.json`).
pub(crate) fn hostile() -> Vec<String> {
    serde_json::from_slice(&std::fs::read(fixture("hostile/sql.json")).unwrap()).unwrap()
}

/// Every place of a question that takes a text.
pub(crate) fn questions(text: &str) -> Vec<Request> {
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

/// Every text in every place: nothing leaks, and nothing is harmed. Tells how many were answered and refused.
pub(crate) async fn nothing_leaks_and_nothing_is_harmed(data: Data) -> (usize, usize) {
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
    (answered, refused)
}

/// What the program keeps for itself does not exist for others.
pub(crate) async fn tables_of_the_system_are_not_there(data: Data) {
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

/// Whoever wrote a row, and nobody else, may do with it what its table's policy says.
pub(crate) async fn somebody_elses_rows_stay_theirs(data: Data) {
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
