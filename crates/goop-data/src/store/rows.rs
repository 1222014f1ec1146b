//! Answers, row by row: a large one never stands in memory whole.

use std::sync::Arc;
use std::time::Duration;

use futures_util::TryStreamExt;
use serde_json::{Map, Value as Json};
use sqlx::sqlite::SqliteColumn;
use sqlx::{AssertSqlSafe, Column as _, Row as _, TypeInfo as _};
use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;

use super::readers::Readers;
use crate::DataError;
use crate::guard::Scope;
use crate::query::{Output, Statement};
use crate::value::{Form, Value, arguments};

/// Rows read ahead of whoever takes them.
const AHEAD: usize = 64;

/// How much one question may get.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Most rows.
    pub rows: usize,
    /// Most bytes of values.
    pub bytes: usize,
    /// Longest time until the next row, or until the end where `whole` is set.
    pub time: Duration,
    /// Whether the time is that of the whole answer.
    pub whole: bool,
}

impl Limits {
    /// For everybody but the owner. The spec suggests 1,000 rows and 1 MiB (storage.md 19.7); sites that Go peers serve
    /// show more, and ten thousand small rows still leave in one line.
    pub const VISITOR: Self = Self {
        rows: 10_000,
        bytes: 4 * 1024 * 1024,
        time: Duration::from_secs(5),
        whole: true,
    };
    /// For the owner: the bytes are streamed, so only a question that makes no progress is ended.
    pub const OWNER: Self = Self {
        rows: usize::MAX,
        bytes: usize::MAX,
        time: Duration::from_secs(60),
        whole: false,
    };
}

/// Names of an answer's columns, in the order in which JSON has them.
#[derive(Debug)]
struct Shape {
    outputs: Vec<Output>,
    /// By name; of two with one name the last counts (storage.md 6.2).
    sorted: Vec<usize>,
}

impl Shape {
    fn new(outputs: Vec<Output>) -> Self {
        let mut by_name = std::collections::BTreeMap::new();
        for (index, output) in outputs.iter().enumerate() {
            by_name.insert(output.name.clone(), index);
        }
        Self {
            sorted: by_name.into_values().collect(),
            outputs,
        }
    }
}

/// One row of an answer.
#[derive(Debug, Clone)]
pub struct Row {
    shape: Arc<Shape>,
    /// Its values, in the order they were asked for.
    pub values: Vec<Value>,
}

impl Row {
    /// As an object with sorted names.
    #[must_use]
    pub fn to_json(&self, form: Form) -> Json {
        let member = |index: &usize| {
            let output = self.shape.outputs.get(*index)?;
            let value = self.values.get(*index)?;
            Some((output.name.clone(), value.to_json(form, output.date)))
        };
        Json::Object(
            self.shape
                .sorted
                .iter()
                .filter_map(member)
                .collect::<Map<_, _>>(),
        )
    }

    /// Names of its columns, in the order they were asked for.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.shape.outputs.iter().map(|output| output.name.as_str())
    }

    /// As a list, in the order its columns were asked for.
    #[must_use]
    pub fn to_values(&self, form: Form) -> Vec<Json> {
        let outputs = self.shape.outputs.iter();
        let values = self.values.iter().zip(outputs);
        values
            .map(|(value, output)| value.to_json(form, output.date))
            .collect()
    }

    /// Its first value alone.
    #[must_use]
    pub fn first_to_json(&self, form: Form) -> Json {
        let date = self.shape.outputs.first().is_some_and(|output| output.date);
        self.values
            .first()
            .map_or(Json::Null, |value| value.to_json(form, date))
    }

    /// Bytes it takes up, about.
    pub(crate) fn weight(&self) -> usize {
        self.values.iter().map(|value| value.weight() + 16).sum()
    }
}

/// Rows on their way. Dropping it ends the question.
#[derive(Debug)]
pub struct Rows {
    coming: mpsc::Receiver<Result<Part, DataError>>,
    more: bool,
    _reading: AbortOnDropHandle<()>,
}

#[derive(Debug)]
enum Part {
    Row(Row),
    /// The limits were reached; there is more in the table.
    More,
}

impl Rows {
    /// The next row; `None` at the end.
    ///
    /// # Errors
    /// What SQLite says, also in the middle of an answer.
    pub async fn next(&mut self) -> Result<Option<Row>, DataError> {
        match self.coming.recv().await {
            Some(Ok(Part::Row(row))) => Ok(Some(row)),
            Some(Ok(Part::More)) => {
                self.more = true;
                Ok(None)
            }
            Some(Err(error)) => Err(error),
            None => Ok(None),
        }
    }

    /// Whether the answer ended at its limits, with more in the table. Known once [`Rows::next`] gave `None`.
    #[must_use]
    pub fn more(&self) -> bool {
        self.more
    }
}

/// Reads a statement's rows in a task that ends with the returned value.
pub(super) fn start(readers: &Readers, statement: Statement, scope: Scope, limits: Limits) -> Rows {
    let (sender, coming) = mpsc::channel(AHEAD);
    let readers = readers.clone();
    let reading = tokio::spawn(async move {
        if let Err(error) = read(&readers, statement, scope, limits, &sender).await {
            let _ = sender.send(Err(error)).await;
        }
    });
    Rows {
        coming,
        more: false,
        _reading: AbortOnDropHandle::new(reading),
    }
}

fn foreign_output(column: &SqliteColumn) -> Output {
    let kind = column.type_info().name();
    Output {
        name: column.name().to_owned(),
        date: matches!(kind, "DATE" | "DATETIME" | "TIMESTAMP"),
    }
}

async fn read(
    readers: &Readers,
    statement: Statement,
    scope: Scope,
    limits: Limits,
    sender: &mpsc::Sender<Result<Part, DataError>>,
) -> Result<(), DataError> {
    let mut lease = readers.lease_for(limits).await?;
    let (connection, guard) = lease.parts()?;
    // A statement of one table is prepared under the scope that its own text names, so that a cached one can be used
    // again. Other scopes are for foreign texts, which are prepared each time.
    let cached = matches!(scope, Scope::Table { .. });
    guard.open(scope, limits.time);
    // A foreign statement names its columns when its first row comes.
    let foreign = statement.outputs.is_empty();
    let mut shape = Arc::new(Shape::new(statement.outputs));
    let query = sqlx::query_with(AssertSqlSafe(statement.sql), arguments(&statement.values));
    let mut found = query.persistent(cached).fetch(connection);
    let (mut rows, mut bytes) = (0, 0);
    while let Some(row) = found.try_next().await? {
        if foreign && rows == 0 {
            shape = Arc::new(Shape::new(
                row.columns().iter().map(foreign_output).collect(),
            ));
        }
        let values = (0..shape.outputs.len()).map(|index| Value::of_row(&row, index));
        let values = values.collect::<Result<Vec<Value>, DataError>>()?;
        let row = Row {
            shape: shape.clone(),
            values,
        };
        rows += 1;
        bytes += row.weight();
        let full = rows > limits.rows || bytes > limits.bytes;
        let part = if full { Part::More } else { Part::Row(row) };
        // Whoever does not take what they asked for must not keep others from asking.
        let taken = tokio::time::timeout(limits.time, sender.send(Ok(part))).await;
        if taken.map_err(|_| DataError::TooLong)?.is_err() || full {
            return Ok(());
        }
        if !limits.whole {
            guard.allow(limits.time);
        }
    }
    drop(found);
    lease.finished();
    Ok(())
}
