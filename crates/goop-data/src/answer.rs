//! What an operation answers: a value, or rows on their way.

use futures_util::{Stream, stream};
use serde_json::Value as Json;

use crate::DataError;
use crate::json::to_bytes;
use crate::store::{Row, Rows};
use crate::value::Form;

/// Bytes of JSON gathered before they are handed on.
const CHUNK: usize = 16 * 1024;

/// The answer of an operation.
#[derive(Debug)]
pub struct Answer {
    body: Body,
}

#[derive(Debug)]
enum Body {
    Value(Json),
    List(List),
}

/// A list that is read as it is sent.
#[derive(Debug)]
struct List {
    first: Option<Row>,
    rest: Rows,
    form: Form,
    items: Items,
    empty: Empty,
}

/// What stands in the list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Items {
    /// Rows as objects.
    Objects,
    /// The first value of each row.
    Values,
}

/// What an empty list looks like: the Go program answers both.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Empty {
    /// `[]`.
    List,
    /// `null`.
    Null,
}

impl From<Json> for Answer {
    fn from(value: Json) -> Self {
        Self {
            body: Body::Value(value),
        }
    }
}

/// An answer as one value.
#[derive(Debug, Clone, PartialEq)]
pub struct Whole {
    /// The value.
    pub value: Json,
    /// Whether it was cut at the caller's limits.
    pub more: bool,
}

impl Answer {
    /// A list, once its first row came: what is wrong with the question is known by then.
    pub(crate) async fn list(
        mut rest: Rows,
        form: Form,
        items: Items,
        empty: Empty,
    ) -> Result<Self, DataError> {
        let first = rest.next().await?;
        Ok(Self {
            body: Body::List(List {
                first,
                rest,
                form,
                items,
                empty,
            }),
        })
    }

    /// Gathers it. Bounded by the caller's limits; the owner's are wide, so use [`Answer::chunks`] for the owner.
    ///
    /// # Errors
    /// What goes wrong while rows are read.
    pub async fn whole(self) -> Result<Whole, DataError> {
        let mut list = match self.body {
            Body::Value(value) => return Ok(Whole { value, more: false }),
            Body::List(list) => list,
        };
        let mut values = Vec::new();
        while let Some(value) = list.next().await? {
            values.push(value);
        }
        let value = if values.is_empty() && list.empty == Empty::Null {
            Json::Null
        } else {
            Json::Array(values)
        };
        Ok(Whole {
            value,
            more: list.rest.more(),
        })
    }

    /// Its JSON in pieces, row by row. An error in the middle ends the stream without the closing bracket, so that
    /// nobody takes a part for the whole.
    pub fn chunks(self) -> impl Stream<Item = Result<Vec<u8>, DataError>> + Send {
        stream::unfold(Chunks::Begin(self.body), |state| async move {
            match state {
                Chunks::Begin(Body::Value(value)) => Some((Ok(to_bytes(&value)), Chunks::Done)),
                Chunks::Begin(Body::List(list)) if list.first.is_none() => {
                    let text: &[u8] = if list.empty == Empty::Null {
                        b"null"
                    } else {
                        b"[]"
                    };
                    Some((Ok(text.to_vec()), Chunks::Done))
                }
                Chunks::Begin(Body::List(list)) => Some(chunk(list, b'[').await),
                Chunks::Rest(list) => Some(chunk(*list, b',').await),
                Chunks::Done => None,
            }
        })
    }
}

enum Chunks {
    Begin(Body),
    Rest(Box<List>),
    Done,
}

async fn chunk(mut list: List, opening: u8) -> (Result<Vec<u8>, DataError>, Chunks) {
    let mut bytes = Vec::with_capacity(CHUNK);
    let mut sign = opening;
    while bytes.len() < CHUNK {
        match list.next().await {
            Ok(Some(value)) => {
                bytes.push(sign);
                bytes.extend(to_bytes(&value));
                sign = b',';
            }
            Ok(None) => {
                bytes.push(b']');
                return (Ok(bytes), Chunks::Done);
            }
            Err(error) => return (Err(error), Chunks::Done),
        }
    }
    (Ok(bytes), Chunks::Rest(Box::new(list)))
}

impl List {
    async fn next(&mut self) -> Result<Option<Json>, DataError> {
        let row = match self.first.take() {
            Some(row) => Some(row),
            None => self.rest.next().await?,
        };
        Ok(row.map(|row| match self.items {
            Items::Objects => row.to_json(self.form),
            Items::Values => row.first_to_json(self.form),
        }))
    }
}
