//! A lookup in a reader's thread: a statement is run and its rows are gathered, as rows or as the JSON of a list.

use std::sync::Arc;
use std::time::{Duration, Instant};

use flume::{SendTimeoutError, Sender};
use rusqlite::types::ValueRef;
use rusqlite::{Connection, Statement as Prepared};

use super::readers::Readers;
use super::rows::{Bundle, Coming, End, Limits, Row, Rows, Shape};
use crate::DataError;
use crate::answer::Items;
use crate::guard::{Guard, Scope, is_one_reading_statement};
use crate::query::{Output, Statement};
use crate::value::{self, Form, Value};

/// Most rows of a bundle.
const BUNDLE: usize = 64;
/// Bytes, of values or of JSON, after which a bundle is handed over.
const HEAVY: usize = 64 * 1024;
/// How long a bundle waits to be filled, if rows come slowly.
const FILL: Duration = Duration::from_millis(5);
/// Bundles read ahead of whoever takes them.
const AHEAD: usize = 2;

/// What is to be read, and within which bounds.
pub(crate) struct Lookup {
    statement: Statement,
    scope: Scope,
    limits: Limits,
    /// Whether its text is not of our making: looked through before it runs, and not kept.
    foreign: bool,
}

impl Lookup {
    /// A statement of ours.
    pub(crate) fn new(statement: Statement, scope: Scope, limits: Limits) -> Self {
        Self {
            statement,
            scope,
            limits,
            foreign: false,
        }
    }

    /// A statement of somebody else. It must be one and only read.
    pub(crate) fn foreign(statement: Statement, scope: Scope, limits: Limits) -> Self {
        Self {
            foreign: true,
            ..Self::new(statement, scope, limits)
        }
    }
}

/// A lookup on its way to a reader.
pub(super) struct Asked {
    lookup: Lookup,
    taker: Taker,
}

/// Who takes the answer.
enum Taker {
    Rows(Sender<Result<Bundle<Vec<Row>>, DataError>>),
    Json(Form, Items, Sender<Result<Bundle<Vec<u8>>, DataError>>),
}

/// Has rows read.
pub(super) async fn rows(readers: &Readers, lookup: Lookup) -> Result<Rows, DataError> {
    let (taker, bundles) = flume::bounded(AHEAD);
    let taker = Taker::Rows(taker);
    Ok(Rows::new(Coming {
        _asker: readers.ask(Asked { lookup, taker }).await?,
        bundles,
        end: End::Not,
    }))
}

/// Has the JSON of a list read, in pieces that are the list when they are put together; nothing at all where it is empty.
pub(super) async fn json(
    readers: &Readers,
    lookup: Lookup,
    form: Form,
    items: Items,
) -> Result<Coming<Vec<u8>>, DataError> {
    let (taker, bundles) = flume::bounded(AHEAD);
    let taker = Taker::Json(form, items, taker);
    Ok(Coming {
        _asker: readers.ask(Asked { lookup, taker }).await?,
        bundles,
        end: End::Not,
    })
}

impl Asked {
    pub(super) fn limits(&self) -> Limits {
        self.lookup.limits
    }

    /// Answers that it cannot be.
    pub(super) fn refuse(self, error: DataError) {
        let patience = self.lookup.limits.time;
        // Nobody may be waiting any more.
        match self.taker {
            Taker::Rows(taker) => drop(taker.send_timeout(Err(error), patience)),
            Taker::Json(_, _, taker) => drop(taker.send_timeout(Err(error), patience)),
        }
    }

    /// Runs it, in a reader's thread.
    pub(super) fn answer(self, connection: &Connection, guard: &Guard) {
        if let Err(error) = self.run(connection, guard) {
            self.refuse(error);
        }
    }

    fn run(&self, connection: &Connection, guard: &Guard) -> Result<(), DataError> {
        let lookup = &self.lookup;
        guard.open(lookup.scope.clone(), lookup.limits.time);
        let sql = &lookup.statement.sql;
        if lookup.foreign {
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
        // A foreign statement has marks of its own: values beyond them are left out, and a mark without a value is NULL.
        let marks = prepared.parameter_count();
        let statement = &self.lookup.statement;
        for (place, value) in statement.values.iter().enumerate().take(marks) {
            prepared.raw_bind_parameter(place + 1, value)?;
        }
        let outputs = if statement.outputs.is_empty() {
            foreign_outputs(prepared)
        } else {
            statement.outputs.clone()
        };
        let shape = Arc::new(Shape::new(outputs));
        let limits = self.lookup.limits;
        match &self.taker {
            Taker::Rows(taker) => {
                let gathered = Gathered {
                    shape,
                    rows: Vec::new(),
                    weight: 0,
                };
                read(prepared, limits, guard, gathered, taker)
            }
            Taker::Json(form, items, taker) => {
                let listed = Listed {
                    shape,
                    form: *form,
                    items: *items,
                    begun: false,
                    bytes: Vec::new(),
                };
                read(prepared, limits, guard, listed, taker)
            }
        }
    }
}

/// What becomes of the rows that are found.
trait Gather {
    type Content;
    fn width(&self) -> usize;
    /// Adds a row whose values weigh so much; answers what all weighs that was gathered since the last time.
    fn add(&mut self, values: &[ValueRef<'_>], weight: usize) -> usize;
    /// What was gathered since the last time.
    fn content(&mut self, end: End) -> Self::Content;
}

/// As rows.
struct Gathered {
    shape: Arc<Shape>,
    rows: Vec<Row>,
    weight: usize,
}

impl Gather for Gathered {
    type Content = Vec<Row>;

    fn width(&self) -> usize {
        self.shape.width()
    }

    fn add(&mut self, values: &[ValueRef<'_>], weight: usize) -> usize {
        self.rows.push(Row {
            shape: self.shape.clone(),
            values: values.iter().map(|value| Value::of(*value)).collect(),
        });
        self.weight += weight;
        self.weight
    }

    fn content(&mut self, _: End) -> Vec<Row> {
        self.weight = 0;
        std::mem::take(&mut self.rows)
    }
}

/// As the JSON of a list.
struct Listed {
    shape: Arc<Shape>,
    form: Form,
    items: Items,
    /// Whether anything is in the list.
    begun: bool,
    bytes: Vec<u8>,
}

impl Gather for Listed {
    type Content = Vec<u8>;

    fn width(&self) -> usize {
        self.shape.width()
    }

    fn add(&mut self, values: &[ValueRef<'_>], _: usize) -> usize {
        self.bytes.push(if self.begun { b',' } else { b'[' });
        self.begun = true;
        match self.items {
            Items::Objects => self.shape.write(values, self.form, &mut self.bytes),
            Items::Values => self.shape.write_first(values, self.form, &mut self.bytes),
        }
        self.bytes.len()
    }

    fn content(&mut self, end: End) -> Vec<u8> {
        if self.begun && end != End::Not {
            self.bytes.push(b']');
        }
        std::mem::take(&mut self.bytes)
    }
}

fn read<G: Gather>(
    prepared: &mut Prepared<'_>,
    limits: Limits,
    guard: &Guard,
    mut gather: G,
    taker: &Sender<Result<Bundle<G::Content>, DataError>>,
) -> Result<(), DataError> {
    // Whoever does not take what they asked for must not keep others from asking. Says whether somebody takes it.
    let hand_over =
        |content, end| match taker.send_timeout(Ok(Bundle { content, end }), limits.time) {
            Ok(()) => Ok(true),
            Err(SendTimeoutError::Disconnected(_)) => Ok(false),
            Err(SendTimeoutError::Timeout(_)) => Err(DataError::TooLong),
        };
    let width = gather.width();
    let mut found = prepared.raw_query();
    let (mut rows, mut bytes, mut gathered) = (0, 0, 0);
    let mut begun = Instant::now();
    while let Some(row) = found.next()? {
        let mut values = Vec::with_capacity(width);
        for index in 0..width {
            values.push(row.get_ref(index)?);
        }
        let heavy: usize = values.iter().map(|value| value::weight(*value)).sum();
        rows += 1;
        bytes += heavy;
        if rows > limits.rows || bytes > limits.bytes {
            hand_over(gather.content(End::Cut), End::Cut)?;
            return Ok(());
        }
        let weight = gather.add(&values, heavy);
        gathered += 1;
        let now = Instant::now();
        if gathered >= BUNDLE || weight >= HEAVY || now - begun >= FILL {
            if !hand_over(gather.content(End::Not), End::Not)? {
                return Ok(());
            }
            (gathered, begun) = (0, now);
        }
        if !limits.whole {
            guard.allow_since(now, limits.time);
        }
    }
    hand_over(gather.content(End::Last), End::Last)?;
    Ok(())
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
