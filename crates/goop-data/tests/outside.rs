//! Whatever a text says, the statement that is made of it touches one table, the columns that exist for the caller, and
//! functions from the list: SQLite tells, through an authorizer that lets everything pass and writes it down.
#![allow(clippy::unwrap_used, missing_docs, unsafe_code)]

#[path = "support/expressions.rs"]
mod expressions;
mod support;

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::ptr;

use expressions::expression;
use goop_data::Value;
use goop_data::query::{Question, Source, SourceColumn, Statement, change, functions, select};
use libsqlite3_sys as ffi;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use support::fixture;

/// What SQLite asked about: the action, and its first two names.
type Record = (c_int, String, String);

/// A database of its own whose authorizer writes down.
struct Recorder {
    raw: *mut ffi::sqlite3,
    /// Leaked into SQLite until the end.
    records: *mut Vec<Record>,
}

/// `sqlite3_set_authorizer`'s callback.
unsafe extern "C" fn write_down(
    user: *mut c_void,
    action: c_int,
    first: *const c_char,
    second: *const c_char,
    _database: *const c_char,
    _trigger: *const c_char,
) -> c_int {
    let text = |pointer: *const c_char| {
        if pointer.is_null() {
            return String::new();
        }
        // SAFETY: SQLite's names end with a zero and live as long as this call.
        unsafe { CStr::from_ptr(pointer) }
            .to_string_lossy()
            .into_owned()
    };
    // SAFETY: `user` is the recorder's list, which nobody else uses while SQLite prepares.
    unsafe { (*user.cast::<Vec<Record>>()).push((action, text(first), text(second))) };
    ffi::SQLITE_OK
}

impl Recorder {
    fn new(tables: &CStr) -> Self {
        let mut raw = ptr::null_mut();
        let records: *mut Vec<Record> = Box::into_raw(Box::default());
        // SAFETY: the names end with a zero; the handle is ours; the list lives until `drop`, after the handle.
        unsafe {
            assert_eq!(
                ffi::sqlite3_open(c":memory:".as_ptr(), &mut raw),
                ffi::SQLITE_OK
            );
            let done =
                ffi::sqlite3_exec(raw, tables.as_ptr(), None, ptr::null_mut(), ptr::null_mut());
            assert_eq!(done, ffi::SQLITE_OK);
            ffi::sqlite3_set_authorizer(raw, Some(write_down), records.cast());
        }
        Self { raw, records }
    }

    /// What a statement would touch; `None` where SQLite does not take it.
    fn prepare(&self, sql: &str) -> Option<Vec<Record>> {
        let text = CString::new(sql).expect("no zero gets into a statement");
        let (mut statement, mut tail) = (ptr::null_mut(), ptr::null());
        // SAFETY: the text ends with a zero and outlives the call; the statement is finalized here; nobody else has the
        // list while SQLite prepares.
        unsafe {
            (*self.records).clear();
            let done =
                ffi::sqlite3_prepare_v2(self.raw, text.as_ptr(), -1, &mut statement, &mut tail);
            ffi::sqlite3_finalize(statement);
            assert!(
                done != ffi::SQLITE_OK || *tail == 0,
                "more than one statement: {sql}"
            );
            (done == ffi::SQLITE_OK).then(|| (*self.records).clone())
        }
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        // SAFETY: every statement is finalized; the list was made by `Box::into_raw`.
        unsafe {
            ffi::sqlite3_close(self.raw);
            drop(Box::from_raw(self.records));
        }
    }
}

/// Random expressions, texts of the corpus, and the one in the middle of the other.
fn texts() -> impl Strategy<Value = String> {
    let hostile = std::fs::read(fixture("hostile/sql.json")).unwrap();
    let hostile: Vec<String> = serde_json::from_slice(&hostile).unwrap();
    let hostile = prop::sample::select(hostile);
    let spliced = (expression(), hostile.clone(), any::<prop::sample::Index>());
    let spliced = spliced.prop_map(|(text, hostile, at)| {
        let letters: Vec<char> = text.chars().collect();
        let (before, after) = letters.split_at(at.index(letters.len() + 1));
        [before, &hostile.chars().collect::<Vec<_>>(), after]
            .concat()
            .into_iter()
            .collect()
    });
    prop_oneof![2 => expression(), 1 => hostile, 2 => spliced]
}

fn source_columns() -> Vec<SourceColumn> {
    let names = ["_id", "_owner", "a", "b", "c", "d", "title", "pages"];
    let column = |name: &str| SourceColumn {
        name: name.to_owned(),
        date: false,
    };
    names.map(column).into()
}

/// Every statement that is made of a text, wherever it stands.
fn statements(source: Source<'_>, text: &str) -> Vec<Statement> {
    let args = vec![Value::Integer(1); 4];
    let whole = Question {
        args: &args,
        ..Question::default()
    };
    let (columns, grouped) = ([text.to_owned()], [format!("count(*), {text}")]);
    let having = format!("a HAVING {text}");
    let asked = [
        Question {
            filter: text,
            ..whole
        },
        Question {
            filter: text,
            owned_by: Some("me"),
            ..whole
        },
        Question {
            order: text,
            ..whole
        },
        Question {
            group_by: text,
            ..whole
        },
        Question {
            group_by: &having,
            ..whole
        },
        Question {
            columns: &columns,
            ..whole
        },
        Question {
            columns: &grouped,
            group_by: "a",
            distinct: true,
            limit: 5,
            offset: 1,
            ..whole
        },
    ];
    let set = [("a".to_owned(), Value::Integer(1))];
    let made = asked.iter().map(|question| select(source, question));
    let changes = [
        change(source, Some(&set), text, &args, Some("me")),
        change(source, Some(&set), text, &args, None),
        change(source, None, text, &args, Some("me")),
    ];
    made.chain(changes).filter_map(Result::ok).collect()
}

#[test]
fn nothing_outside_the_table_is_touched() {
    let columns = source_columns();
    let source = Source {
        name: "t",
        columns: &columns,
    };
    let recorder = Recorder::new(
        c"CREATE TABLE t (_id INTEGER PRIMARY KEY, _owner, a, b, c, d, title, pages, hidden); \
          CREATE TABLE vault (_id INTEGER PRIMARY KEY, title, a, b); CREATE TABLE _meta (key, value);",
    );
    let seen = RefCell::new(BTreeSet::new());
    let refused = Cell::new(0);
    let mut runner = TestRunner::new(Config {
        cases: 3_000,
        ..Config::default()
    });
    let result = runner.run(&texts(), |text| {
        let made = statements(source, &text);
        refused.set(refused.get() + usize::from(made.is_empty()));
        for statement in made {
            let Some(records) = recorder.prepare(&statement.sql) else {
                continue;
            };
            let reads = statement.sql.starts_with("SELECT");
            for (action, first, second) in records {
                let fine = match action {
                    ffi::SQLITE_SELECT => reads,
                    // `count(*)` reads the table and no column.
                    ffi::SQLITE_READ => {
                        first == "t" && (second.is_empty() || source.column(&second).is_some())
                    }
                    ffi::SQLITE_FUNCTION => functions::is_known(&second.to_ascii_lowercase()),
                    ffi::SQLITE_UPDATE => {
                        statement.sql.starts_with("UPDATE")
                            && (first.as_str(), second.as_str()) == ("t", "a")
                    }
                    ffi::SQLITE_DELETE => statement.sql.starts_with("DELETE") && first == "t",
                    _ => false,
                };
                prop_assert!(
                    fine,
                    "{text:?} became {:?}, which touches {action} {first} {second}",
                    statement.sql
                );
                seen.borrow_mut().insert(action);
            }
        }
        Ok(())
    });
    result.unwrap();
    // It was not silent because nothing came so far.
    let all = [
        ffi::SQLITE_SELECT,
        ffi::SQLITE_READ,
        ffi::SQLITE_FUNCTION,
        ffi::SQLITE_UPDATE,
        ffi::SQLITE_DELETE,
    ];
    assert_eq!(seen.into_inner(), BTreeSet::from(all));
    assert!(refused.get() > 300, "{}", refused.get());
    let stranger = recorder
        .prepare("SELECT value, hidden FROM t, _meta")
        .unwrap();
    assert!(stranger.contains(&(ffi::SQLITE_READ, "_meta".to_owned(), "value".to_owned())));
}
