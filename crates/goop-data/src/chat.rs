//! Direct chat, kept by the other side's peer id (storage.md 15), with what became of each line and how far it was read.
//!
//! The Go program knows the first five columns alone; a row it wrote has no id and no state. It keeps 200 lines of each
//! conversation, we keep more: 200 is what it reads.

use futures_util::TryStreamExt;
use serde::Serialize;
use sqlx::Row;
use sqlx::sqlite::SqliteRow;

use crate::DataError;
use crate::store::{Database, Job};

/// Lines kept of one conversation; those that wait to be sent are kept in any case.
pub const KEPT: i64 = 5_000;
/// Lines that are read at once where nobody says how many (storage.md 15).
pub const USUAL: i64 = 200;
/// Longest message that is kept, in bytes; chat has its own, smaller limit.
pub const MAX_CONTENT: usize = 64 * 1024;
/// The state of a line of the other side.
pub const RECEIVED: &str = "received";
/// The state of a line that is not sent yet.
pub const WAITING: &str = "waiting";

/// A line.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct ChatMessage {
    /// Its place in the log, which grows with each line; 0 before it is stored.
    pub number: i64,
    /// Who wrote it.
    pub from: String,
    /// What was written.
    pub content: String,
    /// When, in milliseconds since 1970.
    pub timestamp: i64,
    /// The id of the message; empty for lines of the Go program.
    pub id: String,
    /// What became of it; empty for lines of the Go program, which has only what came in and what was delivered.
    pub state: String,
    /// Why, where that is worth saying.
    pub why: String,
}

/// Where one conversation stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conversation {
    /// The other side.
    pub peer: String,
    /// What the other side was called when somebody last looked; maybe empty.
    pub name: String,
    /// Lines of the other side after the one that was read last. What the Go program kept was read there.
    pub unread: i64,
    /// The newest line.
    pub last: ChatMessage,
}

/// The chat log.
#[derive(Debug, Clone)]
pub struct ChatLog(Database);

const COLUMNS: &str = "id, from_id, content, ts, msg_id, state, why";

fn line(row: &SqliteRow, first: usize) -> Result<ChatMessage, sqlx::Error> {
    Ok(ChatMessage {
        number: row.try_get(first)?,
        from: row.try_get(first + 1)?,
        content: row.try_get(first + 2)?,
        timestamp: row.try_get(first + 3)?,
        id: row.try_get(first + 4)?,
        state: row.try_get(first + 5)?,
        why: row.try_get(first + 6)?,
    })
}

impl ChatLog {
    /// The chat log of a database.
    #[must_use]
    pub fn of(database: &Database) -> Self {
        Self(database.clone())
    }

    /// Keeps a line exchanged with `peer`, and the newest [`KEPT`] of that peer. Answers whether it is new: a line whose id
    /// is in the conversation already is not kept a second time, nor is an empty one.
    ///
    /// # Errors
    /// It is longer than [`MAX_CONTENT`], or the disk is full.
    pub async fn store(&self, peer: &str, message: ChatMessage) -> Result<bool, DataError> {
        if message.content.is_empty() {
            return Ok(false);
        }
        if message.content.len() > MAX_CONTENT {
            return Err(DataError::invalid("the message is too long to be kept"));
        }
        let peer = peer.to_owned();
        self.0
            .write(Job::Shared, move |connection| {
                Box::pin(async move {
                    let insert = "INSERT INTO _chat_messages (peer_id, from_id, content, ts, msg_id, state, why) \
                        SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7 WHERE ?5 = '' OR NOT EXISTS \
                        (SELECT 1 FROM _chat_messages WHERE peer_id = ?1 AND msg_id = ?5)";
                    let done = sqlx::query(insert)
                        .bind(&peer)
                        .bind(message.from)
                        .bind(message.content)
                        .bind(message.timestamp)
                        .bind(message.id)
                        .bind(message.state)
                        .bind(message.why)
                        .execute(&mut *connection)
                        .await?;
                    let old = "DELETE FROM _chat_messages WHERE peer_id = ?1 AND state <> ?3 AND id <= \
                        (SELECT id FROM _chat_messages WHERE peer_id = ?1 ORDER BY id DESC LIMIT 1 OFFSET ?2)";
                    sqlx::query(old)
                        .bind(&peer)
                        .bind(KEPT)
                        .bind(WAITING)
                        .execute(connection)
                        .await?;
                    Ok(done.rows_affected() > 0)
                })
            })
            .await
    }

    /// Notes what became of a line. One that is not there any more is none of anybody's business.
    ///
    /// # Errors
    /// The database cannot be written.
    pub async fn set_state(
        &self,
        peer: &str,
        id: &str,
        state: &str,
        why: &str,
    ) -> Result<(), DataError> {
        let [peer, id, state, why] = [peer, id, state, why].map(str::to_owned);
        self.0
            .write(Job::Shared, move |connection| {
                Box::pin(async move {
                    let sql = "UPDATE _chat_messages SET state = ?3, why = ?4 WHERE peer_id = ?1 AND msg_id = ?2";
                    let query = sqlx::query(sql).bind(peer).bind(id).bind(state).bind(why);
                    query.execute(connection).await?;
                    Ok(())
                })
            })
            .await
    }

    /// The newest lines exchanged with `peer`, oldest first: `limit` of them, or [`USUAL`] where it is 0 or less. With
    /// `before`, of those with a smaller number.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn newest(
        &self,
        peer: &str,
        before: Option<i64>,
        limit: i64,
    ) -> Result<Vec<ChatMessage>, DataError> {
        let limit = if limit <= 0 { USUAL } else { limit };
        let (peer, before) = (peer.to_owned(), before.unwrap_or(i64::MAX));
        let mut lines = self
            .0
            .look(async |connection| {
                let sql = format!(
                    "SELECT {COLUMNS} FROM _chat_messages WHERE peer_id = ? AND id < ? ORDER BY id DESC LIMIT ?"
                );
                let query = sqlx::query(sqlx::AssertSqlSafe(sql));
                let mut rows = query.bind(peer).bind(before).bind(limit).fetch(connection);
                let mut lines = Vec::new();
                while let Some(row) = rows.try_next().await? {
                    lines.push(line(&row, 0)?);
                }
                Ok(lines)
            })
            .await?;
        // By the clock, as the Go program has them; where it stood still or went back, in the order they came.
        lines.sort_by_key(|line| (line.timestamp, line.number));
        Ok(lines)
    }

    /// Lines that contain a text, whatever its case (of ASCII letters), of one conversation or all, newest first.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn search(
        &self,
        peer: Option<&str>,
        text: &str,
        limit: i64,
    ) -> Result<Vec<(String, ChatMessage)>, DataError> {
        let wanted: String = text
            .chars()
            .flat_map(|c| {
                matches!(c, '%' | '_' | '\\')
                    .then_some('\\')
                    .into_iter()
                    .chain([c])
            })
            .collect();
        let (peer, wanted) = (peer.unwrap_or_default().to_owned(), format!("%{wanted}%"));
        self.0
            .look(async |connection| {
                let sql = format!(
                    "SELECT peer_id, {COLUMNS} FROM _chat_messages WHERE (?1 = '' OR peer_id = ?1) \
                     AND content LIKE ?2 ESCAPE '\\' ORDER BY id DESC LIMIT ?3"
                );
                let query = sqlx::query(sqlx::AssertSqlSafe(sql));
                let mut rows = query.bind(peer).bind(wanted).bind(limit).fetch(connection);
                let mut found = Vec::new();
                while let Some(row) = rows.try_next().await? {
                    found.push((row.try_get(0)?, line(&row, 1)?));
                }
                Ok(found)
            })
            .await
    }

    /// Every line that waits to be sent, oldest first, with its receiver.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn waiting(&self) -> Result<Vec<(String, ChatMessage)>, DataError> {
        self.0
            .look(async |connection| {
                let sql = format!(
                    "SELECT peer_id, {COLUMNS} FROM _chat_messages WHERE state = ? ORDER BY id"
                );
                let query = sqlx::query(sqlx::AssertSqlSafe(sql));
                let mut rows = query.bind(WAITING).fetch(connection);
                let mut found = Vec::new();
                while let Some(row) = rows.try_next().await? {
                    found.push((row.try_get(0)?, line(&row, 1)?));
                }
                Ok(found)
            })
            .await
    }

    /// Every conversation with its newest line and the number of lines that were not read, the newest first.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn conversations(&self, limit: i64) -> Result<Vec<Conversation>, DataError> {
        self.0
            .look(async |connection| {
                let sql = format!(
                    "SELECT peer_id, coalesce(name, ''), (SELECT count(*) FROM _chat_messages AS m \
                     WHERE m.peer_id = newest.peer_id AND m.state = 'received' AND m.id > coalesce(read_up_to, 0)), {COLUMNS} \
                     FROM (SELECT *, max(id) FROM _chat_messages GROUP BY peer_id) AS newest \
                     LEFT JOIN _chats USING (peer_id) ORDER BY id DESC LIMIT ?"
                );
                let query = sqlx::query(sqlx::AssertSqlSafe(sql));
                let mut rows = query.bind(limit).fetch(connection);
                let mut found = Vec::new();
                while let Some(row) = rows.try_next().await? {
                    found.push(Conversation {
                        peer: row.try_get(0)?,
                        name: row.try_get(1)?,
                        unread: row.try_get(2)?,
                        last: line(&row, 3)?,
                    });
                }
                Ok(found)
            })
            .await
    }

    /// Notes that the lines of `peer` up to a number were read, and what it is called now (`""`: nobody knows). Reading
    /// does not go back.
    ///
    /// # Errors
    /// The database cannot be written.
    pub async fn mark_read(&self, peer: &str, number: i64, name: &str) -> Result<(), DataError> {
        let (peer, name) = (peer.to_owned(), name.to_owned());
        self.0
            .write(Job::Shared, move |connection| {
                Box::pin(async move {
                    let sql = "INSERT INTO _chats (peer_id, read_up_to, name) VALUES (?1, ?2, ?3) ON CONFLICT (peer_id) \
                        DO UPDATE SET read_up_to = max(read_up_to, ?2), name = iif(?3 = '', name, ?3)";
                    let query = sqlx::query(sql).bind(peer).bind(number).bind(name);
                    query.execute(connection).await?;
                    Ok(())
                })
            })
            .await
    }

    /// Up to which number the lines of `peer` were read; 0 where none was.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn read_up_to(&self, peer: &str) -> Result<i64, DataError> {
        let peer = peer.to_owned();
        self.0
            .look(async |connection| {
                let sql = "SELECT read_up_to FROM _chats WHERE peer_id = ?";
                let found = sqlx::query_scalar(sql)
                    .bind(peer)
                    .fetch_optional(connection);
                Ok(found.await?.unwrap_or_default())
            })
            .await
    }

    /// Forgets what was exchanged with `peer`.
    ///
    /// # Errors
    /// The database cannot be written.
    pub async fn clear(&self, peer: &str) -> Result<(), DataError> {
        let peer = peer.to_owned();
        self.0
            .write(Job::Shared, move |connection| {
                Box::pin(async move {
                    for sql in [
                        "DELETE FROM _chat_messages WHERE peer_id = ?",
                        "DELETE FROM _chats WHERE peer_id = ?",
                    ] {
                        let query = sqlx::query(sql).bind(&peer);
                        query.execute(&mut *connection).await?;
                    }
                    Ok(())
                })
            })
            .await
    }
}
