//! Peers that were seen, and favourites: what is shown of them before they are there again (storage.md 16).
//!
//! All changes go through the one writer in order. What an announcement leaves out keeps its old value: the Go program
//! wipes keys and addresses here.

use futures_util::TryStreamExt;
use sqlx::sqlite::SqliteRow;
use sqlx::{Row, SqliteConnection};

use crate::store::{Database, Job};
use crate::{DataError, moment};

/// Most addresses or protocols kept of a peer; presence itself brings twenty.
const MAX_LIST: usize = 64;

/// A peer as it was last seen.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SeenPeer {
    /// Its id.
    pub peer_id: String,
    /// Its name.
    pub content: String,
    /// Its address, as announced.
    pub email: String,
    /// The hash of its picture.
    pub avatar_hash: String,
    /// Whether it takes no calls.
    pub video_disabled: bool,
    /// Its template.
    pub active_template: String,
    /// Whether a server vouches for its address.
    pub verified: bool,
    /// Where it was reached.
    pub addrs: Vec<String>,
    /// What it speaks.
    pub protocols: Vec<String>,
    /// Its key, in base64; empty where none is known.
    pub public_key: String,
    /// When it was last heard, `YYYY-MM-DD HH:MM:SS` UTC.
    pub last_seen: String,
    /// Whether it is a favourite.
    pub favorite: bool,
}

/// The peers that were seen.
#[derive(Debug, Clone)]
pub struct SeenPeers(Database);

const COLUMNS: &str = "peer_id, content, email, avatar_hash, video_disabled, active_template, verified, \
                       addrs, protocols, public_key, last_seen";

impl SeenPeers {
    /// The peers that a database knows.
    #[must_use]
    pub fn of(database: &Database) -> Self {
        Self(database.clone())
    }

    /// Notes what a peer announced; `last_seen` and `favorite` are not taken from it. An empty key and an empty list
    /// of addresses keep the old ones, protocols are noted by [`SeenPeers::set_protocols`].
    ///
    /// # Errors
    /// The database cannot be written.
    pub async fn note(&self, peer: SeenPeer) -> Result<(), DataError> {
        self.0
            .write(Job::Shared, move |connection| {
                Box::pin(async move {
                    let insert = "INSERT INTO _peer_cache (peer_id, content, email, avatar_hash, video_disabled, \
                        active_template, verified, addrs, public_key, last_seen) \
                        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10) ON CONFLICT (peer_id) DO UPDATE SET \
                        content = ?2, email = ?3, avatar_hash = ?4, video_disabled = ?5, active_template = ?6, \
                        verified = ?7, addrs = iif(?8 = '[]', addrs, ?8), \
                        public_key = iif(?9 = '', public_key, ?9), last_seen = ?10";
                    let update = "UPDATE _favorites SET content = ?2, email = ?3, avatar_hash = ?4, \
                        video_disabled = ?5, active_template = ?6, verified = ?7, addrs = iif(?8 = '[]', addrs, ?8), \
                        public_key = iif(?9 = '', public_key, ?9), last_seen = ?10 WHERE peer_id = ?1";
                    let now = moment::now();
                    for sql in [insert, update] {
                        sqlx::query(sql)
                            .bind(&peer.peer_id)
                            .bind(&peer.content)
                            .bind(&peer.email)
                            .bind(&peer.avatar_hash)
                            .bind(peer.video_disabled)
                            .bind(&peer.active_template)
                            .bind(peer.verified)
                            .bind(list(&peer.addrs))
                            .bind(&peer.public_key)
                            .bind(&now)
                            .execute(&mut *connection)
                            .await?;
                    }
                    Ok(())
                })
            })
            .await
    }

    /// Notes what a known peer speaks.
    ///
    /// # Errors
    /// The database cannot be written.
    pub async fn set_protocols(
        &self,
        peer_id: &str,
        protocols: &[String],
    ) -> Result<(), DataError> {
        let (peer_id, protocols) = (peer_id.to_owned(), list(protocols));
        self.each(
            move |connection, sql| {
                let query = sqlx::query(sql)
                    .bind(peer_id.clone())
                    .bind(protocols.clone());
                Box::pin(async move { query.execute(connection).await.map(|_| ()) })
            },
            [
                "UPDATE _peer_cache SET protocols = ?2 WHERE peer_id = ?1",
                "UPDATE _favorites SET protocols = ?2 WHERE peer_id = ?1",
            ],
        )
        .await
    }

    /// Forgets a peer that is no favourite; a favourite stays known.
    ///
    /// # Errors
    /// The database cannot be written.
    pub async fn forget(&self, peer_id: &str) -> Result<(), DataError> {
        self.with_id(peer_id, ["DELETE FROM _peer_cache WHERE peer_id = ?"])
            .await
    }

    /// Makes a peer a favourite, or none. Answers whether the peer is known.
    ///
    /// # Errors
    /// The database cannot be written.
    pub async fn set_favorite(&self, peer_id: &str, favorite: bool) -> Result<bool, DataError> {
        if !favorite {
            self.with_id(peer_id, ["DELETE FROM _favorites WHERE peer_id = ?"])
                .await?;
            return Ok(true);
        }
        let peer_id = peer_id.to_owned();
        self.0
            .write(Job::Shared, move |connection| {
                Box::pin(async move {
                    let sql = "INSERT OR REPLACE INTO _favorites (peer_id, content, email, avatar_hash, \
                        video_disabled, active_template, verified, addrs, protocols, public_key, last_seen) \
                        SELECT peer_id, content, email, avatar_hash, video_disabled, active_template, verified, addrs, \
                        protocols, public_key, last_seen FROM _peer_cache WHERE peer_id = ?";
                    let done = sqlx::query(sql).bind(&peer_id).execute(&mut *connection).await?;
                    if done.rows_affected() > 0 {
                        return Ok(true);
                    }
                    let sql = "SELECT count(*) FROM _favorites WHERE peer_id = ?";
                    let known: i64 = sqlx::query_scalar(sql).bind(&peer_id).fetch_one(connection).await?;
                    Ok(known > 0)
                })
            })
            .await
    }

    /// One peer.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn get(&self, peer_id: &str) -> Result<Option<SeenPeer>, DataError> {
        let found = self.listed(" WHERE peer_id = ?1", Some(peer_id)).await?;
        Ok(found.into_iter().next())
    }

    /// All peers, those heard last first.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn all(&self) -> Result<Vec<SeenPeer>, DataError> {
        self.listed("", None).await
    }

    async fn listed(
        &self,
        filter: &str,
        peer_id: Option<&str>,
    ) -> Result<Vec<SeenPeer>, DataError> {
        // A favourite's own row counts only where the cache has none.
        let sql = format!(
            "SELECT {COLUMNS}, peer_id IN (SELECT peer_id FROM _favorites) FROM \
             (SELECT {COLUMNS} FROM _peer_cache UNION ALL SELECT {COLUMNS} FROM _favorites \
             WHERE peer_id NOT IN (SELECT peer_id FROM _peer_cache)){filter} ORDER BY last_seen DESC, peer_id"
        );
        self.0
            .look(async |connection| {
                let mut query = sqlx::query(sqlx::AssertSqlSafe(sql));
                if let Some(peer_id) = peer_id {
                    query = query.bind(peer_id.to_owned());
                }
                let mut rows = query.fetch(connection);
                let mut peers = Vec::new();
                while let Some(row) = rows.try_next().await? {
                    peers.push(seen(&row)?);
                }
                Ok(peers)
            })
            .await
    }

    async fn with_id<const N: usize>(
        &self,
        peer_id: &str,
        statements: [&'static str; N],
    ) -> Result<(), DataError> {
        let peer_id = peer_id.to_owned();
        self.each(
            move |connection, sql| {
                let query = sqlx::query(sql).bind(peer_id.clone());
                Box::pin(async move { query.execute(connection).await.map(|_| ()) })
            },
            statements,
        )
        .await
    }

    async fn each<F, const N: usize>(
        &self,
        run: F,
        statements: [&'static str; N],
    ) -> Result<(), DataError>
    where
        F: for<'c> Fn(
                &'c mut SqliteConnection,
                &'static str,
            ) -> futures_util::future::BoxFuture<'c, Result<(), sqlx::Error>>
            + Send
            + Sync
            + 'static,
    {
        self.0
            .write(Job::Shared, move |connection| {
                Box::pin(async move {
                    for sql in statements {
                        run(connection, sql).await?;
                    }
                    Ok(())
                })
            })
            .await
    }
}

fn list(items: &[String]) -> String {
    let some = &items[..items.len().min(MAX_LIST)];
    serde_json::to_string(some).unwrap_or_else(|_| "[]".to_owned())
}

fn seen(row: &SqliteRow) -> Result<SeenPeer, DataError> {
    // The Go program stores `null` for a list that was not announced.
    let list = |text: String| {
        serde_json::from_str::<Option<Vec<String>>>(&text)
            .ok()
            .flatten()
            .unwrap_or_default()
    };
    Ok(SeenPeer {
        peer_id: row.try_get(0)?,
        content: row.try_get(1)?,
        email: row.try_get(2)?,
        avatar_hash: row.try_get(3)?,
        video_disabled: row.try_get::<i64, _>(4)? != 0,
        active_template: row.try_get(5)?,
        verified: row.try_get::<i64, _>(6)? != 0,
        addrs: list(row.try_get(7)?),
        protocols: list(row.try_get(8)?),
        public_key: row.try_get(9)?,
        last_seen: row
            .try_get_unchecked::<Option<String>, _>(10)?
            .unwrap_or_default(),
        favorite: row.try_get::<i64, _>(11)? != 0,
    })
}
