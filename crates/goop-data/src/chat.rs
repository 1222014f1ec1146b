//! Direct chat, kept by the other side's peer id (storage.md 15).

use futures_util::TryStreamExt;
use serde::Serialize;
use sqlx::Row;

use crate::DataError;
use crate::store::{Database, Job};

/// Messages kept of one peer.
pub const KEPT: i64 = 200;
/// Longest message that is kept, in bytes; chat has its own, smaller limit.
pub const MAX_CONTENT: usize = 64 * 1024;

/// A message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ChatMessage {
    /// Who wrote it.
    pub from: String,
    /// What was written.
    pub content: String,
    /// When, in milliseconds since 1970.
    pub timestamp: i64,
}

/// The chat log.
#[derive(Debug, Clone)]
pub struct ChatLog(Database);

impl ChatLog {
    /// The chat log of a database.
    #[must_use]
    pub fn of(database: &Database) -> Self {
        Self(database.clone())
    }

    /// Keeps a message exchanged with `peer`, and the newest [`KEPT`] of that peer.
    ///
    /// # Errors
    /// It is longer than [`MAX_CONTENT`], or the disk is full.
    pub async fn store(&self, peer: &str, message: ChatMessage) -> Result<(), DataError> {
        if message.content.is_empty() {
            return Ok(());
        }
        if message.content.len() > MAX_CONTENT {
            return Err(DataError::invalid("the message is too long to be kept"));
        }
        let peer = peer.to_owned();
        self.0
            .write(Job::Shared, move |connection| {
                Box::pin(async move {
                    sqlx::query("INSERT INTO _chat_messages (peer_id, from_id, content, ts) VALUES (?, ?, ?, ?)")
                        .bind(&peer)
                        .bind(message.from)
                        .bind(message.content)
                        .bind(message.timestamp)
                        .execute(&mut *connection)
                        .await?;
                    let old = "DELETE FROM _chat_messages WHERE peer_id = ?1 AND id NOT IN \
                               (SELECT id FROM _chat_messages WHERE peer_id = ?1 ORDER BY id DESC LIMIT ?2)";
                    sqlx::query(old).bind(&peer).bind(KEPT).execute(connection).await?;
                    Ok(())
                })
            })
            .await
    }

    /// The newest messages exchanged with `peer`, oldest first; all that are kept where `limit` is 0 or less.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn newest(&self, peer: &str, limit: i64) -> Result<Vec<ChatMessage>, DataError> {
        let limit = if limit <= 0 { KEPT } else { limit };
        self.0
            .look(async |connection| {
                let sql = "SELECT from_id, content, ts FROM (SELECT id, from_id, content, ts FROM _chat_messages \
                           WHERE peer_id = ? ORDER BY id DESC LIMIT ?) ORDER BY ts, id";
                let mut rows = sqlx::query(sql).bind(peer).bind(limit).fetch(connection);
                let mut messages = Vec::new();
                while let Some(row) = rows.try_next().await? {
                    messages.push(ChatMessage {
                        from: row.try_get(0)?,
                        content: row.try_get(1)?,
                        timestamp: row.try_get(2)?,
                    });
                }
                Ok(messages)
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
                    sqlx::query("DELETE FROM _chat_messages WHERE peer_id = ?")
                        .bind(peer)
                        .execute(connection)
                        .await?;
                    Ok(())
                })
            })
            .await
    }
}
