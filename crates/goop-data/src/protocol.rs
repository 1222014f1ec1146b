//! `/goop/data/1.0.0`, both ends: one JSON line each way, maybe sealed (network.md 7.3). Among ourselves the stream is kept.

mod kept;

use std::future::Future;
use std::io;
use std::time::Duration;

use goop_identity::PeerId;
use goop_identity::seal::Keyring;
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;

use crate::DataError;
use crate::answer::Whole;
use crate::caller::{Caller, Data};
use crate::json::to_bytes;
use crate::request::{Op, Request};

pub use kept::{KEEP_ALIVE, KEPT, Visits, serve_kept};

/// The protocol id.
pub const PROTOCOL: &str = "/goop/data/1.0.0";
/// Longest request line, in bytes: 1 MiB (network.md 7), or as much again by a half once it is sealed.
pub const MAX_REQUEST: usize = 3 * 512 * 1024;
/// Longest answer that is read, in bytes. Go peers have no limit of their own; ours end far below.
pub const MAX_ANSWER: usize = 32 * 1024 * 1024;
/// How long the other side may take for its request (network.md 7 gives headers 10 s; these may be a megabyte).
pub const REQUEST_DEADLINE: Duration = Duration::from_secs(30);
/// How long an operation may take, a data function's 30 s included.
pub const WORK_DEADLINE: Duration = Duration::from_secs(35);
/// How long an answer may be on its way, and how long one is waited for.
pub const ANSWER_DEADLINE: Duration = Duration::from_secs(60);
/// What a sealed line begins with.
const SEALED: &[u8] = b"ENC:";

/// Why serving ended early. The caller has nobody left to tell.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// No request came in time.
    #[error("no request came in time")]
    NoRequest,
    /// The caller did not take the answer.
    #[error("the caller stopped reading")]
    Stalled,
    /// The stream failed.
    #[error("the stream failed: {0}")]
    Io(#[from] io::Error),
}

/// An answer on the wire.
#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
struct Response {
    ok: bool,
    /// Absent where there is none; an empty list of rows may be `null`.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "present")]
    data: Option<Json>,
    #[serde(skip_serializing_if = "String::is_empty")]
    error: String,
    /// There is more than what was sent. Ours only: Go peers leave it out and do not mind it.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    more: bool,
}

/// `null` is not the same as nothing.
fn present<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Json>, D::Error> {
    Json::deserialize(deserializer).map(Some)
}

impl Response {
    fn failed(error: &DataError) -> Self {
        Self {
            error: error.to_string(),
            ..Self::default()
        }
    }

    fn line(&self) -> Vec<u8> {
        to_bytes(&serde_json::to_value(self).unwrap_or_default())
    }
}

/// Answers one request of a peer, whose announced address is `email`. The stream is left open for the router to close.
///
/// # Errors
/// See [`ServeError`]. What is wrong with a request is an answer, not an error.
pub async fn serve<S>(
    peer: PeerId,
    email: &str,
    stream: &mut S,
    data: &Data,
    keys: &impl Keyring,
) -> Result<(), ServeError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let line = timeout(REQUEST_DEADLINE, read_line(stream, MAX_REQUEST))
        .await
        .map_err(|_| ServeError::NoRequest)??;
    let answer = match line.as_deref().map(|line| read_request(&peer, line, keys)) {
        None => {
            Response::failed(&DataError::BadRequest("the request is too long".to_owned())).line()
        }
        // These three come before anything is known of the caller's keys (network.md 7.3).
        Some(Err(error)) => Response::failed(&error).line(),
        Some(Ok(request)) => {
            let caller = Caller::visitor(peer.to_string(), email);
            let plain = answer(data, &caller, &request).await;
            match keys.seal_for(&peer, &plain) {
                Some(sealed) => [SEALED, sealed.as_bytes()].concat(),
                None => plain,
            }
        }
    };
    let written = async {
        stream.write_all(&answer).await?;
        stream.write_all(b"\n").await?;
        stream.flush().await
    };
    timeout(ANSWER_DEADLINE, written)
        .await
        .map_err(|_| ServeError::Stalled)??;
    Ok(())
}

fn read_request(peer: &PeerId, line: &[u8], keys: &impl Keyring) -> Result<Request, DataError> {
    let line = line.trim_ascii();
    match line.strip_prefix(SEALED) {
        Some(sealed) => {
            let opened = keys.open_from(peer, sealed);
            Request::from_json(
                &opened.ok_or_else(|| DataError::BadRequest("decrypt error".to_owned()))?,
            )
        }
        None => Request::from_json(line),
    }
}

/// The line that answers a request.
async fn answer(data: &Data, caller: &Caller, request: &Request) -> Vec<u8> {
    let work = async { data.execute(caller, request).await?.json().await };
    let done = timeout(WORK_DEADLINE, work)
        .await
        .unwrap_or(Err(DataError::TooLong));
    match done {
        Ok((json, more)) => {
            // Nothing found is nothing said, but for lists (network.md 7.3).
            let single = matches!(Op::of(&request.op), Some(Op::QueryOne | Op::LuaCall));
            if single && json == b"null" {
                return br#"{"ok":true}"#.to_vec();
            }
            // As `Response` would be written, whose `data` this is.
            let end: &[u8] = if more { br#","more":true}"# } else { b"}" };
            [br#"{"ok":true,"data":"#, &json[..], end].concat()
        }
        Err(error) => Response::failed(&error).line(),
    }
}

/// Reads up to `\n` or the end. `None` when it is longer than `max`.
async fn read_line<S: AsyncRead + Unpin>(
    stream: &mut S,
    max: usize,
) -> io::Result<Option<Vec<u8>>> {
    const STEP: usize = 16 * 1024;
    let mut line = Vec::with_capacity(1_024);
    loop {
        let before = line.len();
        line.reserve(STEP);
        let mut part = (&mut *stream).take(STEP as u64);
        let read = part.read_buf(&mut line).await?;
        if let Some(end) = line[before..].iter().position(|byte| *byte == b'\n') {
            line.truncate(before + end);
            return Ok(Some(line).filter(|line| line.len() <= max));
        }
        if line.len() > max {
            return Ok(None);
        }
        if read == 0 {
            return Ok(Some(line));
        }
    }
}

/// Why a peer gave no data.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// The peer refuses or cannot do it; its own words.
    #[error("{0}")]
    Refused(String),
    /// The peer's program does not offer this operation to others, as the Go program does not.
    #[error("{0}")]
    NotOffered(String),
    /// The answer is not one of this protocol.
    #[error("the peer's answer makes no sense: {0}")]
    BadAnswer(&'static str),
    /// A sealed answer that our keys do not open.
    #[error("the peer's answer is sealed with a key that is not known here")]
    Sealed,
    /// Nothing came in time.
    #[error("the peer did not answer in time")]
    TimedOut,
    /// No stream could be opened, or it failed.
    #[error("{0}")]
    Io(#[from] io::Error),
}

/// What the Go program says of operations it does not offer to others.
fn is_not_offered(text: &str) -> bool {
    text.ends_with(" not available for remote peers yet")
        || text.ends_with(" not allowed for remote peers")
}

/// Asks a peer over a fresh stream.
///
/// # Errors
/// See [`CallError`].
pub async fn call<S>(
    peer: PeerId,
    stream: &mut S,
    request: &Request,
    keys: &impl Keyring,
) -> Result<Whole, CallError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let plain = request.to_json();
    let mut line = match keys.seal_for(&peer, &plain) {
        Some(sealed) => [SEALED, sealed.as_bytes()].concat(),
        None => plain,
    };
    line.push(b'\n');
    let exchange = async {
        stream.write_all(&line).await?;
        stream.flush().await?;
        // The Go program's own visitors end their side here.
        stream.shutdown().await?;
        read_line(stream, MAX_ANSWER).await
    };
    let line = timeout(ANSWER_DEADLINE, exchange)
        .await
        .map_err(|_| CallError::TimedOut)??;
    read_answer(
        &peer,
        &line.ok_or(CallError::BadAnswer("it is too long"))?,
        keys,
    )
}

/// Reads the line of an answer.
///
/// # Errors
/// See [`CallError`].
pub fn read_answer(peer: &PeerId, line: &[u8], keys: &impl Keyring) -> Result<Whole, CallError> {
    let line = line.trim_ascii();
    if line.is_empty() {
        // A Go peer that cannot write its answer as JSON ends like this.
        return Err(CallError::BadAnswer("it is empty"));
    }
    let opened;
    let line = match line.strip_prefix(SEALED) {
        Some(sealed) => {
            opened = keys.open_from(peer, sealed).ok_or(CallError::Sealed)?;
            &opened[..]
        }
        None => line,
    };
    let response: Response =
        serde_json::from_slice(line).map_err(|_| CallError::BadAnswer("it is no JSON answer"))?;
    if response.ok {
        return Ok(Whole {
            value: response.data.unwrap_or_default(),
            more: response.more,
        });
    }
    Err(if is_not_offered(&response.error) {
        CallError::NotOffered(response.error)
    } else {
        CallError::Refused(response.error)
    })
}

/// Asks a peer; what the Go program does not offer to others is asked of it as a plain query.
///
/// # Errors
/// See [`CallError`].
pub async fn ask<S, F, Opening>(
    peer: PeerId,
    open: F,
    request: &Request,
    keys: &impl Keyring,
) -> Result<Whole, CallError>
where
    S: AsyncRead + AsyncWrite + Unpin,
    F: Fn() -> Opening,
    Opening: Future<Output = io::Result<S>>,
{
    let asked = call(peer, &mut open().await?, request, keys).await;
    let Err(CallError::NotOffered(text)) = asked else {
        return asked;
    };
    let Some((query, form)) = as_query(request) else {
        return Err(CallError::NotOffered(text));
    };
    let found = call(peer, &mut open().await?, &query, keys).await?;
    Ok(Whole {
        value: form.of(found.value),
        more: found.more,
    })
}

/// What to make of the rows of a query that stands for another operation.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Form {
    First,
    Exists,
    Count,
    Values,
    Rows,
}

impl Form {
    fn of(&self, rows: Json) -> Json {
        let rows = match rows {
            Json::Array(rows) => rows,
            _ => Vec::new(),
        };
        let only = |row: &Json| {
            row.as_object()
                .and_then(|row| row.values().next().cloned())
                .unwrap_or_default()
        };
        match self {
            Self::First => rows.into_iter().next().unwrap_or_default(),
            Self::Exists => serde_json::json!({"exists": !rows.is_empty()}),
            Self::Count => serde_json::json!({"count": rows.first().map_or(Json::from(0), only)}),
            Self::Values => rows.iter().map(only).collect(),
            Self::Rows => Json::Array(rows),
        }
    }
}

/// The query that stands for an operation: the Go program takes expressions as columns.
fn as_query(request: &Request) -> Option<(Request, Form)> {
    let (columns, form) = match Op::of(&request.op)? {
        Op::QueryOne => (None, Form::First),
        Op::Exists => (None, Form::Exists),
        Op::Count => (Some("COUNT(*) AS n".to_owned()), Form::Count),
        Op::Pluck => (Some(request.one_column().to_owned()), Form::Values),
        Op::Distinct => (
            Some(format!("DISTINCT {}", request.one_column())),
            Form::Values,
        ),
        Op::Aggregate if request.group_by.is_empty() => (Some(request.expr.clone()), Form::Rows),
        _ => return None,
    };
    let limit = match form {
        Form::First | Form::Exists => 1,
        _ => request.limit,
    };
    let own = if request.columns.is_empty() {
        &request.fields
    } else {
        &request.columns
    };
    let query = Request {
        table: request.table.clone(),
        filter: request.filter.clone(),
        args: request.args.clone(),
        columns: columns.map_or_else(|| own.clone(), |column| vec![column]),
        limit,
        ..Request::new(Op::Query)
    };
    Some((query, form))
}
