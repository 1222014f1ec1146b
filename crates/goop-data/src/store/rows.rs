//! Answers, row by row: a large one never stands in memory whole.

use std::sync::Arc;
use std::time::Duration;

use flume::Receiver;
use rusqlite::types::ValueRef;
use serde_json::{Map, Value as Json};

use super::readers::Asker;
use crate::DataError;
use crate::json::write_text;
use crate::query::Output;
use crate::value::{self, Form, Value};

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
pub(super) struct Shape {
    outputs: Vec<Output>,
    /// By name; of two with one name the last counts (storage.md 6.2).
    sorted: Vec<usize>,
    /// Of each of them `"name":` with what comes before it, as JSON has it.
    keys: Vec<Vec<u8>>,
}

impl Shape {
    pub(super) fn new(outputs: Vec<Output>) -> Self {
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

    /// How many columns there are.
    pub(super) fn width(&self) -> usize {
        self.outputs.len()
    }

    /// Writes a row as [`Row::to_json`] and [`crate::json::to_bytes`] have it.
    pub(super) fn write(&self, values: &[ValueRef<'_>], form: Form, bytes: &mut Vec<u8>) {
        if self.sorted.is_empty() {
            bytes.push(b'{');
        }
        for (index, key) in self.sorted.iter().zip(&self.keys) {
            if let (Some(output), Some(value)) = (self.outputs.get(*index), values.get(*index)) {
                bytes.extend_from_slice(key);
                value::write(*value, form, output.date, bytes);
            }
        }
        bytes.push(b'}');
    }

    /// Writes the first value of a row, as [`Row::first_to_json`] has it.
    pub(super) fn write_first(&self, values: &[ValueRef<'_>], form: Form, bytes: &mut Vec<u8>) {
        let date = self.outputs.first().is_some_and(|output| output.date);
        let first = values.first().copied().unwrap_or(ValueRef::Null);
        value::write(first, form, date, bytes);
    }
}

/// One row of an answer.
#[derive(Debug, Clone)]
pub struct Row {
    pub(super) shape: Arc<Shape>,
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
        let weights = self
            .values
            .iter()
            .map(|value| value::weight(value.as_ref()));
        weights.sum()
    }
}

/// An answer on its way, in bundles. Dropping it ends the question.
#[derive(Debug)]
pub(crate) struct Coming<T> {
    pub(super) bundles: Receiver<Result<Bundle<T>, DataError>>,
    pub(super) end: End,
    pub(super) _asker: Asker,
}

/// A part of an answer.
#[derive(Debug)]
pub(super) struct Bundle<T> {
    pub(super) content: T,
    pub(super) end: End,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// Others follow.
    Not,
    /// This is the last.
    Last,
    /// This is the last within the limits; there is more in the table.
    Cut,
}

impl<T> Coming<T> {
    /// The next bundle; `None` at the end.
    pub(crate) async fn next(&mut self) -> Result<Option<T>, DataError> {
        if self.end != End::Not {
            return Ok(None);
        }
        let bundle = self.bundles.recv_async().await;
        // A reader that says nothing at the end fell.
        let bundle = bundle.unwrap_or(Err(DataError::Unavailable));
        let bundle = bundle.inspect_err(|_| self.end = End::Last)?;
        self.end = bundle.end;
        Ok(Some(bundle.content))
    }

    /// Whether the answer ended at its limits, with more in the table. Known once [`Coming::next`] gave `None`.
    pub(crate) fn more(&self) -> bool {
        self.end == End::Cut
    }
}

/// Rows on their way. Dropping it ends the question.
#[derive(Debug)]
pub struct Rows {
    coming: Coming<Vec<Row>>,
    here: std::vec::IntoIter<Row>,
}

impl Rows {
    pub(super) fn new(coming: Coming<Vec<Row>>) -> Self {
        Self {
            coming,
            here: Vec::new().into_iter(),
        }
    }

    /// The next row; `None` at the end.
    ///
    /// # Errors
    /// What SQLite says, also in the middle of an answer.
    pub async fn next(&mut self) -> Result<Option<Row>, DataError> {
        loop {
            if let Some(row) = self.here.next() {
                return Ok(Some(row));
            }
            match self.coming.next().await? {
                Some(rows) => self.here = rows.into_iter(),
                None => return Ok(None),
            }
        }
    }

    /// Whether the answer ended at its limits, with more in the table. Known once [`Rows::next`] gave `None`.
    #[must_use]
    pub fn more(&self) -> bool {
        self.coming.more()
    }
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
            let values: Vec<ValueRef<'_>> = row.values.iter().map(Value::as_ref).collect();
            for form in [Form::Rows, Form::Figures] {
                let mut written = Vec::new();
                row.shape.write(&values, form, &mut written);
                prop_assert_eq!(String::from_utf8(written), String::from_utf8(to_bytes(&row.to_json(form))));
                let mut first = Vec::new();
                row.shape.write_first(&values, form, &mut first);
                prop_assert_eq!(first, to_bytes(&row.first_to_json(form)));
            }
        }
    }
}
