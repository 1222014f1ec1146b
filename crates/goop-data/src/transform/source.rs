//! Where rows come from, one by one.
//!
//! Files and answers of the web are parsed in a thread of their own, which waits while nobody takes its rows and ends
//! when nobody will.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::BoxStream;
use serde::de::{DeserializeSeed, Deserializer, SeqAccess, Visitor};
use serde_json::Value as Json;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};
use tokio_util::task::AbortOnDropHandle;

use super::{Endpoint, Row, places};
use crate::DataError;
use crate::caller::{Caller, Data};
use crate::reading::Find;
use crate::store::Rows;
use crate::value::Form;

/// Largest row of a file or an answer, in bytes: the largest value that the database takes, with its escapes.
pub const MAX_ROW: usize = 32 * 1024 * 1024;
/// Longest web address.
pub const MAX_URL: usize = 2 * 1024;
/// How long an answer of the web may take as a whole (groups.md 17).
pub const FETCH_DEADLINE: Duration = Duration::from_secs(30);
/// Rows parsed ahead of whoever takes them.
const AHEAD: usize = 64;

/// The body of an answer, as it comes.
pub type Fetched = BoxStream<'static, Result<Vec<u8>, String>>;

/// Asks the web. Whoever has an HTTP client implements it, and refuses addresses of this machine and its network after
/// their names were looked up: a transformation may come with somebody's template.
pub trait Fetch: Send + Sync {
    /// Asks for an address; answers the body of a `200`.
    fn get<'a>(&'a self, url: &'a str) -> BoxFuture<'a, Result<Fetched, String>>;
}

/// Where a parser's rows go.
type Wanted = mpsc::Sender<Result<Row, String>>;

/// Rows on their way.
pub(super) enum Source {
    Table(Rows),
    Parsed {
        coming: mpsc::Receiver<Result<Row, String>>,
        /// Carries an answer of the web to its parser.
        _feeding: Option<AbortOnDropHandle<()>>,
    },
}

impl Source {
    /// Opens a source. `find` says which rows of a table.
    pub(super) async fn open(
        data: &Data,
        caller: &Caller,
        endpoint: &Endpoint,
        find: Find,
        fetch: &dyn Fetch,
    ) -> Result<Self, DataError> {
        match (endpoint.kind.as_str(), endpoint.url.is_empty()) {
            ("table", _) => {
                let find = Find {
                    table: endpoint.name.clone(),
                    ..find
                };
                let rows = data.rows_of(caller, &find).await;
                rows.map(Self::Table)
                    .map_err(|error| told("source query", error))
            }
            ("csv", _) => Ok(Self::parsed(file(data, endpoint).await?, csv)),
            ("json", true) => Ok(Self::parsed(file(data, endpoint).await?, json)),
            ("json", false) => Self::fetched(&endpoint.url, fetch)
                .await
                .map_err(|error| told("source", error)),
            (other, _) => Err(DataError::invalid(format!("unknown source type {other:?}"))),
        }
    }

    fn parsed(
        bytes: impl Read + Send + 'static,
        parse: fn(Limited, &Wanted) -> Result<(), String>,
    ) -> Self {
        let (sender, coming) = mpsc::channel(AHEAD);
        tokio::task::spawn_blocking(move || {
            if let Err(error) = parse(Limited::new(bytes), &sender) {
                // Nobody may be listening any more.
                let _ = sender.blocking_send(Err(error));
            }
        });
        Self::Parsed {
            coming,
            _feeding: None,
        }
    }

    async fn fetched(url: &str, fetch: &dyn Fetch) -> Result<Self, DataError> {
        if url.len() > MAX_URL {
            return Err(DataError::BadRequest("the address is too long".to_owned()));
        }
        let end = Instant::now() + FETCH_DEADLINE;
        let late = || DataError::invalid("the answer takes too long");
        let asked = timeout_at(end, fetch.get(url)).await;
        let mut body = asked.map_err(|_| late())?.map_err(DataError::Invalid)?;
        let (sender, bytes) = mpsc::channel(AHEAD);
        let feeding = tokio::spawn(async move {
            loop {
                let part = match timeout_at(end, body.next()).await {
                    Ok(Some(part)) => part,
                    Ok(None) => return,
                    Err(_) => Err(late().to_string()),
                };
                if sender.send(part).await.is_err() {
                    return;
                }
            }
        });
        let reader = Pieces {
            coming: bytes,
            current: io::Cursor::default(),
        };
        let Self::Parsed { coming, .. } = Self::parsed(reader, json) else {
            return Err(DataError::Unavailable);
        };
        Ok(Self::Parsed {
            coming,
            _feeding: Some(AbortOnDropHandle::new(feeding)),
        })
    }

    /// The next row; `None` at the end.
    pub(super) async fn next(&mut self) -> Result<Option<Row>, DataError> {
        match self {
            Self::Table(rows) => {
                let row = rows
                    .next()
                    .await
                    .map_err(|error| told("source query", error))?;
                Ok(row.map(|row| match row.to_json(Form::Rows) {
                    Json::Object(row) => row,
                    _ => Row::new(),
                }))
            }
            Self::Parsed { coming, .. } => match coming.recv().await {
                Some(Ok(row)) => Ok(Some(row)),
                Some(Err(error)) => Err(DataError::invalid(format!("source read: {error}"))),
                None => Ok(None),
            },
        }
    }
}

/// Puts what was being done before an error's text.
pub(super) fn told(what: &str, error: DataError) -> DataError {
    match error {
        DataError::TooLong => DataError::TooLong,
        other => DataError::invalid(format!("{what}: {other}")),
    }
}

async fn file(data: &Data, endpoint: &Endpoint) -> Result<File, DataError> {
    let (folder, path): (PathBuf, String) =
        (data.database.folder().to_owned(), endpoint.path.clone());
    let opened = tokio::task::spawn_blocking(move || {
        let place = places::place(&folder, &path)?;
        // A device or a pipe would be read for ever.
        if !std::fs::metadata(&place)?.is_file() {
            return Err(DataError::invalid(format!("{path} is no file")));
        }
        Ok(File::open(place)?)
    });
    let opened = opened
        .await
        .map_err(|error| DataError::Io(error.to_string()))?;
    opened.map_err(|error| told("source", error))
}

/// Bytes of which a row may take so many.
struct Limited {
    inner: Box<dyn Read + Send>,
    since_row: Arc<AtomicUsize>,
}

impl Limited {
    fn new(inner: impl Read + Send + 'static) -> Self {
        Self {
            inner: Box::new(inner),
            since_row: Arc::default(),
        }
    }
}

impl Read for Limited {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        if self.since_row.fetch_add(read, Ordering::Relaxed) + read > MAX_ROW {
            return Err(io::Error::other(format!(
                "a row is longer than {MAX_ROW} bytes"
            )));
        }
        Ok(read)
    }
}

/// Pieces that another task brings.
struct Pieces {
    coming: mpsc::Receiver<Result<Vec<u8>, String>>,
    current: io::Cursor<Vec<u8>>,
}

impl Read for Pieces {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let read = self.current.read(buffer)?;
            if read > 0 || buffer.is_empty() {
                return Ok(read);
            }
            match self.coming.blocking_recv() {
                Some(Ok(piece)) => self.current = io::Cursor::new(piece),
                Some(Err(error)) => return Err(io::Error::other(error)),
                None => return Ok(0),
            }
        }
    }
}

/// Rows of a CSV text with a header line; every value is a text.
fn csv(bytes: Limited, rows: &Wanted) -> Result<(), String> {
    let since_row = bytes.since_row.clone();
    let said = |error: csv::Error| error.to_string();
    let mut reader = csv::ReaderBuilder::new().from_reader(bytes);
    let names: Vec<String> = reader
        .byte_headers()
        .map_err(said)?
        .iter()
        .map(|name| text(name).trim_start_matches('\u{feff}').trim().to_owned())
        .collect();
    let mut record = csv::ByteRecord::new();
    while reader.read_byte_record(&mut record).map_err(said)? {
        since_row.store(0, Ordering::Relaxed);
        let values = record.iter().map(|value| Json::String(text(value)));
        let row = names.iter().cloned().zip(values).collect();
        if rows.blocking_send(Ok(row)).is_err() {
            return Ok(());
        }
    }
    Ok(())
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Rows of a JSON list of objects.
fn json(bytes: Limited, rows: &Wanted) -> Result<(), String> {
    let since_row = bytes.since_row.clone();
    let mut reader = serde_json::Deserializer::from_reader(BufReader::new(bytes));
    let list = List { since_row, rows };
    let listened = list.deserialize(&mut reader);
    match listened {
        Ok(true) => reader.end().map_err(|error| error.to_string()),
        Ok(false) => Ok(()),
        // Whoever stopped listening wants no error either.
        Err(_) if rows.is_closed() => Ok(()),
        Err(error) => Err(error.to_string()),
    }
}

/// A list whose members are sent on as they come; answers whether all of them were wanted.
struct List<'s> {
    since_row: Arc<AtomicUsize>,
    rows: &'s Wanted,
}

impl<'de> DeserializeSeed<'de> for List<'_> {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<bool, D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for List<'_> {
    type Value = bool;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a list of objects")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<bool, A::Error> {
        while let Some(row) = list.next_element::<Row>()? {
            self.since_row.store(0, Ordering::Relaxed);
            if self.rows.blocking_send(Ok(row)).is_err() {
                return Err(serde::de::Error::custom("nobody wants the rest"));
            }
        }
        Ok(true)
    }
}
