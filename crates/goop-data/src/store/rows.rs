//! Answers, row by row: a large one never stands in memory whole.

use std::sync::Arc;
use std::time::{Duration, Instant};

use flume::{Receiver, SendTimeoutError, Sender};
use rusqlite::{Connection, Statement as Prepared};
use serde_json::{Map, Value as Json};

use super::readers::{Asker, Readers};
use crate::DataError;
use crate::guard::{Guard, Scope, is_one_reading_statement};
use crate::json::{write_text, write_value};
use crate::query::{Output, Statement};
use crate::value::{Form, Value};

/// Most rows of a bundle.
const BUNDLE: usize = 64;
/// Bytes of values after which a bundle is handed over.
const HEAVY: usize = 64 * 1024;
/// How long a bundle waits to be filled, if rows come slowly.
const FILL: Duration = Duration::from_millis(5);
/// Bundles read ahead of whoever takes them.
const AHEAD: usize = 2;

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
    /// Of each of them `"name":` with what comes before it, as JSON has it.
    keys: Vec<Vec<u8>>,
}

impl Shape {
    fn new(outputs: Vec<Output>) -> Self {
        let mut by_name = std::collections::BTreeMap::new();
        for (index, output) in outputs.iter().enumerate() {
            by_name.insert(output.name.clone(), index);
        }
        let key = |(place, name): (usize, &String)| {
            let mut key = vec![if place == 0 { b'{' } else { b',' }];
            write_text(name, &mut key);
            key.push(b':');
            key
        };
        Self {
            keys: by_name.keys().enumerate().map(key).collect(),
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

    /// Writes what [`Row::to_json`] gives, as [`crate::json::to_bytes`] does.
    pub(crate) fn write(&self, form: Form, bytes: &mut Vec<u8>) {
        if self.shape.sorted.is_empty() {
            bytes.push(b'{');
        }
        for (index, key) in self.shape.sorted.iter().zip(&self.shape.keys) {
            if let (Some(output), Some(value)) =
                (self.shape.outputs.get(*index), self.values.get(*index))
            {
                bytes.extend_from_slice(key);
                value.write(form, output.date, bytes);
            }
        }
        bytes.push(b'}');
    }

    /// Writes what [`Row::first_to_json`] gives.
    pub(crate) fn write_first(&self, form: Form, bytes: &mut Vec<u8>) {
        let date = self.shape.outputs.first().is_some_and(|output| output.date);
        match self.values.first() {
            Some(value) => value.write(form, date, bytes),
            None => write_value(&Json::Null, bytes),
        }
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
    coming: Receiver<Result<Bundle, DataError>>,
    here: std::vec::IntoIter<Row>,
    end: End,
    _asker: Asker,
}

/// Some rows of an answer.
#[derive(Debug)]
struct Bundle {
    rows: Vec<Row>,
    end: End,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// Others follow.
    Not,
    /// These were the last.
    Last,
    /// These were the last within the limits; there is more in the table.
    Cut,
}

impl Rows {
    /// The next row; `None` at the end.
    ///
    /// # Errors
    /// What SQLite says, also in the middle of an answer.
    pub async fn next(&mut self) -> Result<Option<Row>, DataError> {
        loop {
            if let Some(row) = self.here.next() {
                return Ok(Some(row));
            }
            if self.end != End::Not {
                return Ok(None);
            }
            let bundle = self.coming.recv_async().await;
            let bundle = bundle.map_err(|_| DataError::Unavailable)?;
            let bundle = bundle.inspect_err(|_| self.end = End::Last)?;
            self.here = bundle.rows.into_iter();
            self.end = bundle.end;
        }
    }

    /// Whether the answer ended at its limits, with more in the table. Known once [`Rows::next`] gave `None`.
    #[must_use]
    pub fn more(&self) -> bool {
        self.end == End::Cut
    }
}

/// A question on its way to a reader.
pub(super) struct Asked {
    statement: Statement,
    scope: Scope,
    pub(super) limits: Limits,
    /// Whether its text is not of our making: looked through before it runs, and not kept.
    foreign: bool,
    taker: Sender<Result<Bundle, DataError>>,
}

/// Has a statement's rows read. A `foreign` one must be one and only read.
pub(super) async fn ask(
    readers: &Readers,
    statement: Statement,
    scope: Scope,
    limits: Limits,
    foreign: bool,
) -> Result<Rows, DataError> {
    let (taker, coming) = flume::bounded(AHEAD);
    let asked = Asked {
        statement,
        scope,
        limits,
        foreign,
        taker,
    };
    Ok(Rows {
        _asker: readers.ask(asked).await?,
        coming,
        here: Vec::new().into_iter(),
        end: End::Not,
    })
}

impl Asked {
    /// Answers that it cannot be.
    pub(super) fn refuse(self, error: DataError) {
        // Nobody may be waiting any more.
        let _ = self.taker.send_timeout(Err(error), self.limits.time);
    }

    /// Runs it, in a reader's thread.
    pub(super) fn answer(self, connection: &Connection, guard: &Guard) {
        if let Err(error) = self.run(connection, guard) {
            self.refuse(error);
        }
    }

    fn run(&self, connection: &Connection, guard: &Guard) -> Result<(), DataError> {
        guard.open(self.scope.clone(), self.limits.time);
        let sql = &self.statement.sql;
        if self.foreign {
            if !is_one_reading_statement(connection, sql)? {
                return Err(DataError::invalid(
                    "one statement that only reads is wanted",
                ));
            }
            return self.read(&mut connection.prepare(sql)?, guard);
        }
        // It is prepared under the scope that its own text names, so that a kept one can be used again.
        self.read(&mut *connection.prepare_cached(sql)?, guard)
    }

    fn read(&self, prepared: &mut Prepared<'_>, guard: &Guard) -> Result<(), DataError> {
        // A foreign statement has marks of its own: what it has none for is left out, and a mark without a value is NULL.
        let marks = prepared.parameter_count();
        for (place, value) in self.statement.values.iter().enumerate().take(marks) {
            prepared.raw_bind_parameter(place + 1, value)?;
        }
        let outputs = if self.statement.outputs.is_empty() {
            foreign_outputs(prepared)
        } else {
            self.statement.outputs.clone()
        };
        let width = outputs.len();
        let shape = Arc::new(Shape::new(outputs));
        let mut found = prepared.raw_query();
        let (mut count, mut bytes, mut weight) = (0, 0, 0);
        let mut bundle = Vec::new();
        let mut begun = Instant::now();
        while let Some(row) = found.next()? {
            let values = (0..width).map(|index| row.get_ref(index).map(Value::of));
            let row = Row {
                shape: shape.clone(),
                values: values.collect::<Result<_, rusqlite::Error>>()?,
            };
            count += 1;
            bytes += row.weight();
            if count > self.limits.rows || bytes > self.limits.bytes {
                self.hand_over(bundle, End::Cut)?;
                return Ok(());
            }
            weight += row.weight();
            bundle.push(row);
            if bundle.len() >= BUNDLE || weight >= HEAVY || begun.elapsed() >= FILL {
                if !self.hand_over(std::mem::take(&mut bundle), End::Not)? {
                    return Ok(());
                }
                weight = 0;
                begun = Instant::now();
            }
            if !self.limits.whole {
                guard.allow(self.limits.time);
            }
        }
        self.hand_over(bundle, End::Last)?;
        Ok(())
    }

    /// Whether somebody takes it.
    fn hand_over(&self, rows: Vec<Row>, end: End) -> Result<bool, DataError> {
        // Whoever does not take what they asked for must not keep others from asking.
        let sent = self
            .taker
            .send_timeout(Ok(Bundle { rows, end }), self.limits.time);
        match sent {
            Ok(()) => Ok(true),
            Err(SendTimeoutError::Disconnected(_)) => Ok(false),
            Err(SendTimeoutError::Timeout(_)) => Err(DataError::TooLong),
        }
    }
}

fn foreign_outputs(prepared: &Prepared<'_>) -> Vec<Output> {
    let columns = prepared.columns().into_iter();
    let output = |column: rusqlite::Column<'_>| Output {
        name: column.name().to_owned(),
        date: column.decl_type().is_some_and(|kind| {
            ["date", "datetime", "timestamp"]
                .iter()
                .any(|known| kind.eq_ignore_ascii_case(known))
        }),
    };
    columns.map(output).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::json::to_bytes;

    fn any_value() -> impl Strategy<Value = Value> {
        prop_oneof![
            Just(Value::Null),
            any::<i64>().prop_map(Value::Integer),
            any::<f64>().prop_map(Value::Real),
            ".*".prop_map(Value::Text),
            "[<>&\u{2028}\u{2029}é\"\\\\\n]{0,8}".prop_map(Value::Text),
            "2024-0[1-4]-3[01][ T]1[0-9]:[05]9:[05]9Z?".prop_map(Value::Text),
            any::<Vec<u8>>().prop_map(Value::Blob),
        ]
    }

    fn any_column() -> impl Strategy<Value = (String, bool, Value)> {
        ("[ab<\"é]{0,2}", any::<bool>(), any_value())
    }

    proptest! {
        /// What is written straight into an answer is what the value would be.
        #[test]
        fn rows_are_written_as_their_values(columns in prop::collection::vec(any_column(), 0..6)) {
            let outputs = columns.iter().map(|(name, date, _)| Output { name: name.clone(), date: *date });
            let row = Row {
                shape: Arc::new(Shape::new(outputs.collect())),
                values: columns.iter().map(|(_, _, value)| value.clone()).collect(),
            };
            for form in [Form::Rows, Form::Figures] {
                let mut written = Vec::new();
                row.write(form, &mut written);
                prop_assert_eq!(String::from_utf8(written), String::from_utf8(to_bytes(&row.to_json(form))));
                let mut first = Vec::new();
                row.write_first(form, &mut first);
                prop_assert_eq!(first, to_bytes(&row.first_to_json(form)));
            }
        }
    }
}
