//! System tables and what older versions left (storage.md 2 and 3).

use sqlx::{AssertSqlSafe, Connection, Row, SqliteConnection};

use crate::DataError;

/// Every system table with its columns, as a fresh file has them. Older files get missing columns at the end, so
/// columns are always named.
const TABLES: &[(&str, &str)] = &[
    ("_meta", "key TEXT PRIMARY KEY, value TEXT"),
    (
        "_tables",
        "name TEXT PRIMARY KEY, schema TEXT NOT NULL, insert_policy TEXT DEFAULT 'owner', \
         created_at DATETIME DEFAULT CURRENT_TIMESTAMP",
    ),
    (
        "_orm_schemas",
        "table_name TEXT PRIMARY KEY, schema_json TEXT NOT NULL, created_at DATETIME DEFAULT CURRENT_TIMESTAMP",
    ),
    (
        "_groups",
        "id TEXT PRIMARY KEY, name TEXT NOT NULL, owner TEXT DEFAULT '', group_type TEXT DEFAULT '', \
         group_context TEXT DEFAULT '', max_members INTEGER DEFAULT 0, \
         created_at DATETIME DEFAULT CURRENT_TIMESTAMP, host_joined INTEGER DEFAULT 0, \
         volatile INTEGER DEFAULT 0, default_role TEXT DEFAULT 'viewer', roles TEXT DEFAULT '[]'",
    ),
    (
        "_group_subscriptions",
        "host_peer_id TEXT NOT NULL, group_id TEXT NOT NULL, group_name TEXT DEFAULT '', \
         group_type TEXT DEFAULT '', role TEXT DEFAULT 'member', \
         subscribed_at DATETIME DEFAULT CURRENT_TIMESTAMP, max_members INTEGER DEFAULT 0, \
         volatile INTEGER DEFAULT 0, host_name TEXT DEFAULT '', PRIMARY KEY (host_peer_id, group_id)",
    ),
    (
        "_cluster_jobs",
        "id TEXT PRIMARY KEY, group_id TEXT NOT NULL, type TEXT NOT NULL, mode TEXT DEFAULT 'oneshot', \
         payload TEXT DEFAULT '{}', priority INTEGER DEFAULT 0, timeout_s INTEGER DEFAULT 0, \
         max_retry INTEGER DEFAULT 0, status TEXT DEFAULT 'pending', worker_id TEXT DEFAULT '', \
         result TEXT DEFAULT '{}', error TEXT DEFAULT '', progress INTEGER DEFAULT 0, \
         progress_msg TEXT DEFAULT '', retries INTEGER DEFAULT 0, created_at TEXT DEFAULT '', \
         started_at TEXT DEFAULT '', done_at TEXT DEFAULT '', elapsed_ms INTEGER DEFAULT 0",
    ),
    (
        "_group_members",
        "group_id TEXT NOT NULL, peer_id TEXT NOT NULL, role TEXT DEFAULT 'viewer', PRIMARY KEY (group_id, peer_id)",
    ),
    ("_peer_cache", PEER_COLUMNS),
    (
        "_chat_messages",
        "id INTEGER PRIMARY KEY AUTOINCREMENT, peer_id TEXT NOT NULL, from_id TEXT NOT NULL, \
         content TEXT NOT NULL, ts INTEGER NOT NULL, msg_id TEXT NOT NULL DEFAULT '', \
         state TEXT NOT NULL DEFAULT '', why TEXT NOT NULL DEFAULT ''",
    ),
    // Ours: how far conversations were read. The Go program leaves it alone.
    (
        "_chats",
        "peer_id TEXT PRIMARY KEY, read_up_to INTEGER NOT NULL DEFAULT 0, name TEXT NOT NULL DEFAULT ''",
    ),
    ("_favorites", PEER_COLUMNS),
];

const PEER_COLUMNS: &str = "peer_id TEXT PRIMARY KEY, content TEXT NOT NULL DEFAULT '', \
     email TEXT NOT NULL DEFAULT '', avatar_hash TEXT NOT NULL DEFAULT '', \
     video_disabled INTEGER NOT NULL DEFAULT 0, active_template TEXT NOT NULL DEFAULT '', \
     verified INTEGER NOT NULL DEFAULT 0, addrs TEXT NOT NULL DEFAULT '[]', \
     last_seen DATETIME DEFAULT CURRENT_TIMESTAMP, protocols TEXT NOT NULL DEFAULT '[]', \
     public_key TEXT NOT NULL DEFAULT ''";

/// Columns that older files lack: table, column, definition.
const ADDED: &[(&str, &str, &str)] = &[
    ("_tables", "insert_policy", "TEXT DEFAULT 'owner'"),
    ("_groups", "host_joined", "INTEGER DEFAULT 0"),
    ("_groups", "volatile", "INTEGER DEFAULT 0"),
    ("_groups", "owner", "TEXT DEFAULT ''"),
    ("_groups", "group_context", "TEXT DEFAULT ''"),
    ("_groups", "default_role", "TEXT DEFAULT 'viewer'"),
    ("_groups", "roles", "TEXT DEFAULT '[]'"),
    ("_group_subscriptions", "max_members", "INTEGER DEFAULT 0"),
    ("_group_subscriptions", "volatile", "INTEGER DEFAULT 0"),
    ("_group_subscriptions", "host_name", "TEXT DEFAULT ''"),
    ("_group_members", "role", "TEXT DEFAULT 'viewer'"),
    ("_peer_cache", "protocols", "TEXT NOT NULL DEFAULT '[]'"),
    ("_peer_cache", "public_key", "TEXT NOT NULL DEFAULT ''"),
    // Ours: the ids of messages, and what became of them.
    ("_chat_messages", "msg_id", "TEXT NOT NULL DEFAULT ''"),
    ("_chat_messages", "state", "TEXT NOT NULL DEFAULT ''"),
    ("_chat_messages", "why", "TEXT NOT NULL DEFAULT ''"),
    ("_favorites", "protocols", "TEXT NOT NULL DEFAULT '[]'"),
    ("_favorites", "public_key", "TEXT NOT NULL DEFAULT ''"),
];

/// Tables whose `app_type` was renamed, with those whose rows of that time make no sense any more.
const RENAMED: &[(&str, &[&str])] = &[
    ("_groups", &["_groups", "_group_members"]),
    ("_group_subscriptions", &["_group_subscriptions"]),
];

/// Makes the system tables what they are now; all of it or nothing.
pub(super) async fn prepare(connection: &mut SqliteConnection) -> Result<(), DataError> {
    let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
    let connection = &mut *transaction;
    for (table, columns) in TABLES {
        run(
            connection,
            format!("CREATE TABLE IF NOT EXISTS {table} ({columns})"),
        )
        .await
        .map_err(|error| error.while_doing(&format!("create {table}")))?;
    }
    run(
        connection,
        "CREATE INDEX IF NOT EXISTS _chat_messages_peer ON _chat_messages (peer_id, ts DESC)"
            .to_owned(),
    )
    .await?;
    for (table, emptied) in RENAMED {
        let columns = columns(connection, table).await?;
        let has = |name: &str| columns.iter().any(|column| column == name);
        if has("app_type") && !has("group_type") {
            run(
                connection,
                format!("ALTER TABLE {table} RENAME COLUMN app_type TO group_type"),
            )
            .await?;
            for table in *emptied {
                run(connection, format!("DELETE FROM {table}")).await?;
            }
        }
    }
    for (table, column, definition) in ADDED {
        if !columns(connection, table)
            .await?
            .iter()
            .any(|has| has == column)
        {
            run(
                connection,
                format!("ALTER TABLE {table} ADD COLUMN {column} {definition}"),
            )
            .await?;
        }
    }
    for index in [
        "CREATE INDEX IF NOT EXISTS _chat_messages_line ON _chat_messages (peer_id, id)",
        "CREATE INDEX IF NOT EXISTS _chat_messages_msg ON _chat_messages (peer_id, msg_id)",
        "CREATE INDEX IF NOT EXISTS _chat_messages_waiting ON _chat_messages (state) WHERE state = 'waiting'",
    ] {
        run(connection, index.to_owned()).await?;
    }
    run(connection, "DROP TABLE IF EXISTS _peer_names".to_owned()).await?;
    transaction.commit().await?;
    Ok(())
}

async fn run(connection: &mut SqliteConnection, sql: String) -> Result<(), DataError> {
    // Made of the constants above alone.
    sqlx::query(AssertSqlSafe(sql)).execute(connection).await?;
    Ok(())
}

async fn columns(connection: &mut SqliteConnection, table: &str) -> Result<Vec<String>, DataError> {
    let rows = sqlx::query("SELECT name FROM pragma_table_info(?)")
        .bind(table)
        .fetch_all(connection)
        .await?;
    rows.iter().map(|row| Ok(row.try_get(0)?)).collect()
}
