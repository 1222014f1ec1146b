//! The table on disk, so that a restart keeps it (rendezvous.md 10).
//!
//! One task writes, in order: once a second it asks the owner of the table what changed and writes that in one
//! transaction. The file is the Go server's with more columns, which it ignores; several servers may share one, and each
//! takes over what the others wrote. A file that cannot be opened or written costs the memory over a restart, nothing
//! else.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use goop_identity::PeerId;
use goop_identity::label::parse_peer_id;
use goop_identity::presence::{MAX_ADDRS, PresenceKind, PresenceMessage, Signature};
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous,
};
use sqlx::{FromRow, QueryBuilder, Sqlite};
use tokio_util::sync::CancellationToken;

use crate::hub::{Ending, Hub, Journal, now};
use crate::state::{Change, Entry, MAX_PEERS, TTL};
use crate::wire::Publication;

/// How often changes are written. A crash loses what came since; peers say it again within seconds.
const WRITE_EVERY: Duration = Duration::from_secs(1);
/// How often it is looked at what other instances wrote (rendezvous.md 10).
const SYNC_EVERY: u32 = 3;
/// How long another process may hold the file (rendezvous.md 10).
const BUSY: Duration = Duration::from_secs(5);
/// How long the last write may take.
const LAST_WRITE: Duration = Duration::from_secs(1);
/// How often opening the file is tried …
const OPEN_TRIES: u32 = 5;
/// … and what is waited in between.
const OPEN_PAUSE: Duration = Duration::from_millis(200);
/// Rows of one statement: SQLite takes 32,766 values in one.
const ROWS_AT_ONCE: usize = 500;

/// Columns the Go server does not have, with what they hold.
const OUR_COLUMNS: [(&str, &str); 10] = [
    ("verified", "INTEGER DEFAULT 0"),
    ("addrs", "TEXT DEFAULT ''"),
    ("public_key", "TEXT DEFAULT ''"),
    ("encryption_supported", "INTEGER DEFAULT 0"),
    ("active_template", "TEXT DEFAULT ''"),
    ("video_disabled", "INTEGER DEFAULT 0"),
    ("client_version", "TEXT DEFAULT ''"),
    ("instance", "TEXT DEFAULT ''"),
    ("signature", "BLOB"),
    ("signer_key", "BLOB"),
];

/// The file and this server's name in it.
#[derive(Debug, Clone)]
pub(crate) struct Keeper {
    pool: SqlitePool,
    instance: String,
}

#[derive(Debug, FromRow)]
struct Stored {
    peer_id: String,
    content: Option<String>,
    email: Option<String>,
    avatar_hash: Option<String>,
    ts: i64,
    last_seen: i64,
    bytes_sent: i64,
    bytes_received: i64,
    verified: i64,
    addrs: Option<String>,
    public_key: Option<String>,
    encryption_supported: Option<i64>,
    active_template: Option<String>,
    video_disabled: Option<i64>,
    client_version: Option<String>,
    instance: Option<String>,
    signature: Option<Vec<u8>>,
    signer_key: Option<Vec<u8>>,
}

impl Keeper {
    /// Opens the file, makes it and its folder where they are missing, and adds the columns an older one lacks. Several
    /// servers that start at once get in each other's way here, so it is tried more than once.
    pub(crate) async fn open(path: &Path, instance: String) -> Result<Self, sqlx::Error> {
        let mut tries = OPEN_TRIES;
        loop {
            tries -= 1;
            match Self::open_once(path, instance.clone()).await {
                Err(error) if tries > 0 => {
                    tracing::debug!(%error, "the table of peers cannot be opened yet");
                    tokio::time::sleep(OPEN_PAUSE).await;
                }
                outcome => return outcome,
            }
        }
    }

    async fn open_once(path: &Path, instance: String) -> Result<Self, sqlx::Error> {
        if let Some(folder) = path.parent() {
            // Weak point 16: in a fresh folder `data/` does not exist yet.
            std::fs::create_dir_all(folder)?;
        }
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            // Presence lives half a minute; a power cut may take the last second of it.
            .synchronous(SqliteSynchronous::Normal)
            .busy_timeout(BUSY);
        let pool = SqlitePoolOptions::new()
            .max_connections(1)
            .connect_with(options)
            .await?;
        let mut transaction = pool.begin_with("BEGIN IMMEDIATE").await?;
        sqlx::query(
            "CREATE TABLE IF NOT EXISTS peers (peer_id TEXT PRIMARY KEY, type TEXT NOT NULL DEFAULT '', \
             content TEXT DEFAULT '', email TEXT DEFAULT '', avatar_hash TEXT DEFAULT '', ts INTEGER DEFAULT 0, \
             last_seen INTEGER DEFAULT 0, bytes_sent INTEGER DEFAULT 0, bytes_received INTEGER DEFAULT 0, \
             verified INTEGER DEFAULT 0)",
        )
        .execute(&mut *transaction)
        .await?;
        let known: Vec<(String,)> = sqlx::query_as("SELECT name FROM pragma_table_info('peers')")
            .fetch_all(&mut *transaction)
            .await?;
        for (name, kind) in OUR_COLUMNS {
            if known
                .iter()
                .any(|(known,)| known.eq_ignore_ascii_case(name))
            {
                continue;
            }
            let mut add = QueryBuilder::<Sqlite>::new("ALTER TABLE peers ADD COLUMN ");
            add.push(name).push(" ").push(kind);
            add.build().execute(&mut *transaction).await?;
        }
        transaction.commit().await?;
        Ok(Self { pool, instance })
    }

    /// This server's name in the file.
    pub(crate) fn instance(&self) -> &str {
        &self.instance
    }

    /// Every row that still counts, with the instance it belongs to.
    pub(crate) async fn load(&self) -> Result<Vec<(Entry, String)>, sqlx::Error> {
        let oldest = now().ms - i64::try_from(TTL.as_millis()).unwrap_or(i64::MAX);
        let stored: Vec<Stored> = sqlx::query_as(
            "SELECT peer_id, content, email, avatar_hash, COALESCE(ts, 0) AS ts, COALESCE(last_seen, 0) AS last_seen, \
             COALESCE(bytes_sent, 0) AS bytes_sent, COALESCE(bytes_received, 0) AS bytes_received, \
             COALESCE(verified, 0) AS verified, addrs, public_key, encryption_supported, active_template, \
             video_disabled, client_version, instance, signature, signer_key \
             FROM peers WHERE last_seen >= ? LIMIT ?",
        )
        .bind(oldest)
        .bind(MAX_PEERS as i64)
        .fetch_all(&self.pool)
        .await?;
        Ok(stored.into_iter().filter_map(Stored::entry).collect())
    }

    /// Writes what changed, all of it or nothing.
    async fn write(&self, journal: &Journal) -> Result<(), sqlx::Error> {
        let mut transaction = self.pool.begin().await?;
        let entries: Vec<&Entry> = journal.values().flatten().map(|entry| &**entry).collect();
        for entries in entries.chunks(ROWS_AT_ONCE) {
            let mut insert = QueryBuilder::<Sqlite>::new(
                "INSERT OR REPLACE INTO peers (peer_id, type, content, email, avatar_hash, ts, last_seen, bytes_sent, \
                 bytes_received, verified, addrs, public_key, encryption_supported, active_template, video_disabled, \
                 client_version, instance, signature, signer_key) ",
            );
            insert.push_values(entries, |mut row, entry| {
                let record = &entry.publication.record;
                let kind = match record.kind {
                    PresenceKind::Online => "online",
                    _ => "update",
                };
                let signature = record.signature.as_ref();
                // Texts always serialise.
                let addrs = serde_json::to_string(&record.addrs).unwrap_or_default();
                row.push_bind(record.peer.to_base58())
                    .push_bind(kind)
                    .push_bind(&record.content)
                    .push_bind(&record.email)
                    .push_bind(&record.avatar_hash)
                    .push_bind(record.ts)
                    .push_bind(entry.last_seen)
                    .push_bind(i64::try_from(entry.bytes_sent).unwrap_or(i64::MAX))
                    .push_bind(i64::try_from(entry.bytes_received).unwrap_or(i64::MAX))
                    .push_bind(i64::from(record.verified))
                    .push_bind(addrs)
                    .push_bind(&record.public_key)
                    .push_bind(i64::from(record.encryption_supported))
                    .push_bind(&record.active_template)
                    .push_bind(i64::from(record.video_disabled))
                    .push_bind(&record.goop_client_version)
                    .push_bind(&self.instance)
                    .push_bind(signature.map(|signature| signature.bytes.clone()))
                    .push_bind(signature.and_then(|signature| signature.key.clone()));
            });
            insert.build().execute(&mut *transaction).await?;
        }
        for (peer, entry) in journal {
            if entry.is_none() {
                // Somebody else may have taken it over meanwhile.
                sqlx::query(
                    "DELETE FROM peers WHERE peer_id = ? AND COALESCE(instance, '') IN (?, '')",
                )
                .bind(peer.to_base58())
                .bind(&self.instance)
                .execute(&mut *transaction)
                .await?;
            }
        }
        transaction.commit().await
    }

    /// Removes what no instance keeps alive any more.
    async fn sweep(&self) -> Result<(), sqlx::Error> {
        let oldest = now().ms - i64::try_from(TTL.as_millis()).unwrap_or(i64::MAX);
        sqlx::query("DELETE FROM peers WHERE last_seen < ?")
            .bind(oldest)
            .execute(&self.pool)
            .await?;
        Ok(())
    }

    /// Writes and reads until `stop`, then writes what is left and closes the file.
    pub(crate) async fn run(self, hub: Hub, stop: CancellationToken) {
        let mut every = tokio::time::interval(WRITE_EVERY);
        every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut elsewhere = Elsewhere::default();
        let mut round: u32 = 0;
        let mut unwritten = Journal::new();
        loop {
            let last = tokio::select! {
                _ = every.tick() => false,
                () = stop.cancelled() => true,
            };
            round = round.wrapping_add(1);
            let Ok(changed) = hub.journal().await else {
                return;
            };
            unwritten.extend(changed);
            if last {
                let write = self.write(&unwritten);
                if !matches!(tokio::time::timeout(LAST_WRITE, write).await, Ok(Ok(()))) {
                    tracing::warn!("the table of peers was not written at the end");
                }
                // Nobody waits for a file that hangs.
                let _ = tokio::time::timeout(LAST_WRITE, self.pool.close()).await;
                return;
            }
            if let Err(error) = self
                .round(&hub, &mut unwritten, &mut elsewhere, round)
                .await
            {
                tracing::warn!(%error, "presence.peer_db_path cannot be written; trying again");
            }
        }
    }

    async fn round(
        &self,
        hub: &Hub,
        unwritten: &mut Journal,
        elsewhere: &mut Elsewhere,
        round: u32,
    ) -> Result<(), sqlx::Error> {
        if !unwritten.is_empty() {
            self.write(unwritten).await?;
            unwritten.clear();
        }
        if round.is_multiple_of(SYNC_EVERY) {
            self.sweep().await?;
            let rows = self.load().await?;
            let changes = elsewhere.compare(rows, &self.instance);
            if !changes.is_empty() && hub.elsewhere(changes).await == Err(Ending) {
                return Ok(());
            }
        }
        Ok(())
    }
}

impl Stored {
    /// The row as the table keeps it, if it makes sense: somebody may have edited the file.
    fn entry(self) -> Option<(Entry, String)> {
        let peer = parse_peer_id(&self.peer_id)?;
        let mut record = PresenceMessage::new(PresenceKind::Update, peer, self.ts);
        record.content = self.content.unwrap_or_default();
        record.email = self.email.unwrap_or_default();
        record.avatar_hash = self.avatar_hash.unwrap_or_default();
        record.active_template = self.active_template.unwrap_or_default();
        record.public_key = self.public_key.unwrap_or_default();
        record.goop_client_version = self.client_version.unwrap_or_default();
        record.encryption_supported = self.encryption_supported == Some(1);
        record.video_disabled = self.video_disabled == Some(1);
        record.verified = self.verified == 1;
        let addrs = self.addrs.unwrap_or_default();
        record.addrs = serde_json::from_str(&addrs).unwrap_or_default();
        record.addrs.truncate(MAX_ADDRS);
        let key = self.signer_key;
        record.signature = self.signature.map(|bytes| Signature { bytes, key });
        // What stands in the file is held to the same bounds as what a client says; the kind is not part of it.
        let publication = Publication::from_client(&record.to_json(), None).ok()?;
        let publication = Publication {
            record: PresenceMessage {
                verified: record.verified,
                ..publication.record
            },
            extra: publication.extra,
        };
        let bytes = |number: i64| u64::try_from(number).unwrap_or(0);
        Some((
            Entry {
                publication,
                last_seen: self.last_seen,
                bytes_sent: bytes(self.bytes_sent),
                bytes_received: bytes(self.bytes_received),
            },
            self.instance.unwrap_or_default(),
        ))
    }
}

/// What other instances had in the file the last time.
#[derive(Debug, Default)]
struct Elsewhere {
    rows: HashMap<PeerId, (Arc<str>, Entry)>,
}

impl Elsewhere {
    /// What happened there since.
    fn compare(&mut self, rows: Vec<(Entry, String)>, own: &str) -> Vec<(Change, Arc<str>)> {
        let mut changes = Vec::new();
        let mut before = std::mem::take(&mut self.rows);
        for (entry, instance) in rows {
            if instance == own {
                continue;
            }
            let peer = entry.publication.record.peer;
            let instance: Arc<str> = instance.into();
            let known = before.remove(&peer).filter(|(owner, _)| *owner == instance);
            match known {
                Some((_, known)) if known.publication.says_the_same_as(&entry.publication) => {
                    if known.last_seen < entry.last_seen {
                        let seen = Change::Seen {
                            peer,
                            last_seen: entry.last_seen,
                            bytes_sent: entry.bytes_sent,
                        };
                        changes.push((seen, instance.clone()));
                    }
                }
                _ => changes.push((Change::Put(Box::new(entry.clone())), instance.clone())),
            }
            self.rows.insert(peer, (instance, entry));
        }
        for (peer, (instance, _)) in before {
            if !self.rows.contains_key(&peer) {
                changes.push((Change::Gone(peer), instance));
            }
        }
        changes
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn entry(content: &str) -> Box<Entry> {
        let mut record = PresenceMessage::new(PresenceKind::Update, PeerId::random(), now().ms);
        record.content = content.to_owned();
        record.addrs = vec!["/ip4/192.0.2.1/tcp/1".to_owned()];
        record.verified = true;
        Box::new(Entry {
            publication: Publication::new(record),
            last_seen: now().ms,
            bytes_sent: 5,
            bytes_received: 7,
        })
    }

    fn journal(entries: &[&Entry]) -> Journal {
        let entries = entries.iter().map(|entry| {
            let peer = entry.publication.record.peer;
            (peer, Some(Box::new((*entry).clone())))
        });
        entries.collect()
    }

    #[tokio::test]
    async fn rows_come_back_and_go() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("data/peers.db");
        let keeper = Keeper::open(&path, "one".to_owned()).await.unwrap();
        let (ann, ben) = (entry("Ann"), entry("Ben"));
        keeper.write(&journal(&[&ann, &ben])).await.unwrap();
        let gone: Journal = [(ben.publication.record.peer, None)].into_iter().collect();
        keeper.write(&gone).await.unwrap();
        keeper.pool.close().await;
        let keeper = Keeper::open(&path, "two".to_owned()).await.unwrap();
        let rows = keeper.load().await.unwrap();
        assert_eq!(rows, [(*ann, "one".to_owned())]);
    }

    #[tokio::test]
    async fn a_file_of_the_go_server_is_taken() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("peers.db");
        let options = SqliteConnectOptions::new()
            .filename(&path)
            .create_if_missing(true);
        let pool = SqlitePool::connect_with(options).await.unwrap();
        // Older files lack `verified` and have a table that nobody reads any more.
        for statement in [
            "CREATE TABLE registrations (email TEXT PRIMARY KEY, token TEXT NOT NULL)",
            "CREATE TABLE peers (peer_id TEXT PRIMARY KEY, type TEXT NOT NULL DEFAULT '', content TEXT DEFAULT '', \
             email TEXT DEFAULT '', avatar_hash TEXT DEFAULT '', ts INTEGER DEFAULT 0, last_seen INTEGER DEFAULT 0, \
             bytes_sent INTEGER DEFAULT 0, bytes_received INTEGER DEFAULT 0)",
            "INSERT INTO peers (peer_id, content) VALUES ('not a peer', 'x')",
        ] {
            sqlx::query(statement).execute(&pool).await.unwrap();
        }
        let peer = PeerId::random();
        sqlx::query(
            "INSERT INTO peers (peer_id, type, content, last_seen) VALUES (?, 'update', 'Go', ?)",
        )
        .bind(peer.to_base58())
        .bind(now().ms)
        .execute(&pool)
        .await
        .unwrap();
        pool.close().await;
        let keeper = Keeper::open(&path, "one".to_owned()).await.unwrap();
        let rows = keeper.load().await.unwrap();
        assert_eq!(rows.len(), 1);
        assert_eq!(rows[0].0.publication.record.content, "Go");
        let tables: Vec<(String,)> =
            sqlx::query_as("SELECT name FROM sqlite_master WHERE name = 'registrations'")
                .fetch_all(&keeper.pool)
                .await
                .unwrap();
        assert_eq!(tables.len(), 1);
    }

    #[test]
    fn what_happened_at_other_instances() {
        let mut elsewhere = Elsewhere::default();
        let ann = entry("Ann");
        let row = |entry: &Entry| (entry.clone(), "other".to_owned());
        let changes = |changes: Vec<(Change, Arc<str>)>| -> Vec<&'static str> {
            let names = changes.iter().map(|(change, _)| match change {
                Change::Put(_) => "put",
                Change::Seen { .. } => "seen",
                Change::Gone(_) => "gone",
            });
            names.collect()
        };
        assert_eq!(
            changes(
                elsewhere.compare(
                    vec![row(&ann), (*entry("Me"), "own".to_owned())]
                        .into_iter()
                        .collect(),
                    "own"
                )
            ),
            ["put"]
        );
        assert!(elsewhere.compare(vec![row(&ann)], "own").is_empty());
        let later = Entry {
            last_seen: ann.last_seen + 1,
            ..(*ann).clone()
        };
        assert_eq!(
            changes(elsewhere.compare(vec![row(&later)], "own")),
            ["seen"]
        );
        assert_eq!(changes(elsewhere.compare(Vec::new(), "own")), ["gone"]);
    }
}
