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
    Rest(Box<List>),
    Done,
}

impl Pieces {
    /// The next piece; `None` at the end. An error in the middle comes instead of the closing bracket, so that nobody
    /// takes a part for the whole.
    pub async fn next(&mut self) -> Option<Result<Vec<u8>, DataError>> {
        let (list, opening) = match std::mem::replace(&mut self.state, State::Done) {
            State::Begin(Body::Value(value)) => return Some(Ok(to_bytes(&value))),
            State::Begin(Body::List(list)) if list.first.is_none() => {
                let text: &[u8] = if list.empty == Empty::Null {
                    b"null"
                } else {
                    b"[]"
                };
                return Some(Ok(text.to_vec()));
            }
            State::Begin(Body::List(list)) => (Box::new(list), b'['),
            State::Rest(list) => (list, b','),
            State::Done => return None,
        };
        Some(self.piece(list, opening).await)
    }

    /// Whether the answer was cut at the caller's limits. Known once [`Pieces::next`] gave `None`.
    #[must_use]
    pub fn more(&self) -> bool {
        self.more
    }

    async fn piece(&mut self, mut list: Box<List>, opening: u8) -> Result<Vec<u8>, DataError> {
        let mut bytes = Vec::with_capacity(CHUNK);
        let mut sign = opening;
        while bytes.len() < CHUNK {
            let Some(row) = list.row().await? else {
                bytes.push(b']');
                self.more = list.rest.more();
                return Ok(bytes);
            };
            bytes.push(sign);
            match list.items {
                Items::Objects => row.write(list.form, &mut bytes),
                Items::Values => row.write_first(list.form, &mut bytes),
            }
            sign = b',';
        }
        self.state = State::Rest(list);
        Ok(bytes)
    }
}

impl List {
    async fn row(&mut self) -> Result<Option<Row>, DataError> {
        match self.first.take() {
            Some(row) => Ok(Some(row)),
            None => self.rest.next().await,
        }
    }

    async fn next(&mut self) -> Result<Option<Json>, DataError> {
        let row = self.row().await?;
        Ok(row.map(|row| match self.items {
            Items::Objects => row.to_json(self.form),
            Items::Values => row.first_to_json(self.form),
        }))
    }
}
