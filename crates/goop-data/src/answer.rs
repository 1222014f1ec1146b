//! What an operation answers: a value, or rows on their way.

use futures_util::{Stream, stream};
use serde_json::Value as Json;

use crate::DataError;
use crate::json::to_bytes;
use crate::store::Coming;

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

/// The JSON of a list that is read as it is sent.
#[derive(Debug)]
struct List {
    /// Empty where the list is.
    first: Vec<u8>,
    rest: Coming<Vec<u8>>,
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
    /// A list, once its first rows came: what is wrong with the question is known by then.
    pub(crate) async fn list(mut rest: Coming<Vec<u8>>, empty: Empty) -> Result<Self, DataError> {
        let first = rest.next().await?.unwrap_or_default();
        Ok(Self {
            body: Body::List(List { first, rest, empty }),
        })
    }

    /// Gathers it. Bounded by the caller's limits; the owner's are wide, so use [`Answer::chunks`] for the owner.
    ///
    /// # Errors
    /// What goes wrong while rows are read.
    pub async fn whole(self) -> Result<Whole, DataError> {
        if let Body::Value(value) = self.body {
            return Ok(Whole { value, more: false });
        }
        let (json, more) = self.json().await?;
        let value = serde_json::from_slice(&json);
        let value = value.map_err(|error| DataError::invalid(error.to_string()))?;
        Ok(Whole { value, more })
    }

    /// Gathers its JSON, and says whether it was cut. As [`Answer::whole`], and with less work.
    ///
    /// # Errors
    /// As [`Answer::whole`].
    pub(crate) async fn json(self) -> Result<(Vec<u8>, bool), DataError> {
        let mut pieces = self.pieces();
        let mut bytes = Vec::new();
        while let Some(piece) = pieces.next().await {
            let piece = piece?;
            if bytes.is_empty() {
                bytes = piece;
            } else {
                bytes.extend(piece);
            }
        }
        Ok((bytes, pieces.more()))
    }

    /// Its JSON in pieces, row by row, as [`Pieces::next`] gives them.
    pub fn chunks(self) -> impl Stream<Item = Result<Vec<u8>, DataError>> + Send {
        stream::unfold(self.pieces(), |mut pieces| async move {
            Some((pieces.next().await?, pieces))
        })
    }

    /// Its JSON in pieces, for those who tell at the end whether there is more.
    #[must_use]
    pub fn pieces(self) -> Pieces {
        Pieces {
            state: State::Begin(self.body),
            more: false,
        }
    }
}

/// The JSON of an answer on its way.
#[derive(Debug)]
pub struct Pieces {
    state: State,
    more: bool,
}

#[derive(Debug)]
enum State {
    Begin(Body),
    Rest(Coming<Vec<u8>>),
    Done,
}

impl Pieces {
    /// The next piece; `None` at the end. An error in the middle comes instead of the closing bracket, so that nobody
    /// takes a part for the whole.
    pub async fn next(&mut self) -> Option<Result<Vec<u8>, DataError>> {
        match std::mem::replace(&mut self.state, State::Done) {
            State::Begin(Body::Value(value)) => Some(Ok(to_bytes(&value))),
            State::Begin(Body::List(List { first, rest, empty })) => {
                self.state = State::Rest(rest);
                Some(Ok(match empty {
                    _ if !first.is_empty() => first,
                    Empty::List => b"[]".to_vec(),
                    Empty::Null => b"null".to_vec(),
                }))
            }
            State::Rest(mut rest) => match rest.next().await {
                Ok(Some(piece)) => {
                    self.state = State::Rest(rest);
                    Some(Ok(piece))
                }
                Ok(None) => {
                    self.more = rest.more();
                    None
                }
                Err(error) => Some(Err(error)),
            },
            State::Done => None,
        }
    }

    /// Whether the answer was cut at the caller's limits. Known once [`Pieces::next`] gave `None`.
    #[must_use]
    pub fn more(&self) -> bool {
        self.more
    }
}
