//! What SQLite itself refuses on a connection that runs other people's questions. The only `unsafe` of this crate.
//!
//! Contract: a raw handle of sqlx is used only while its `LockedSqliteHandle` keeps the connection's thread away from it,
//! one of rusqlite only in the thread that owns the connection, during one call. The one pointer that SQLite keeps points to a [`Guard`] that is never freed: it is leaked, about a hundred bytes
//! for each of the few connections of a process. The callback reads C strings only during the call that passes them,
//! takes one short lock and does not unwind.
#![allow(unsafe_code)]

use std::ffi::{CStr, c_char, c_int, c_void};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use libsqlite3_sys as ffi;
use rusqlite::Connection;
use sqlx::SqliteConnection;

use crate::DataError;
use crate::query::functions;

/// Longest text or blob that a question may make or read, in bytes: a row of the owner, with room.
const MAX_VALUE: c_int = 16 * 1024 * 1024;
/// Longest statement, in bytes; what is rebuilt from the largest question is shorter.
const MAX_STATEMENT: c_int = 256 * 1024;
/// Longest statement of a text that fills a database: the largest value twice, in hexadecimal, with room.
pub(crate) const MAX_LOADED: c_int = 2 * MAX_VALUE + MAX_STATEMENT;
/// Deepest expression; ours are bounded before (`query::MAX_DEPTH`, and what stands around it).
const MAX_DEPTH: c_int = 500;
/// Instructions of a prepared statement.
const MAX_INSTRUCTIONS: c_int = 100_000;
/// Arguments of a function.
const MAX_ARGUMENTS: c_int = 32;
/// Pattern of LIKE and GLOB, in bytes: longer ones cost time that grows with their square.
const MAX_PATTERN: c_int = 1_000;
/// Bound values of a statement.
const MAX_BOUND: c_int = 4_096;
/// Instructions between two looks at the clock: about 10 µs.
const LOOK_EVERY: i32 = 1_000;

/// What the statement that is prepared next may read.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) enum Scope {
    /// Nothing.
    #[default]
    Closed,
    /// One table, by its exact name; `None` means all of its columns.
    Table {
        name: String,
        columns: Option<&'static [&'static str]>,
    },
    /// Every table whose name is not reserved: questions of the owner's scripts.
    UserTables,
    /// Every table: the owner's own console.
    Everything,
    /// A foreign text fills a database that is read by nobody but us: it makes tables and adds rows, and no more.
    Loading,
    /// Statements of our own in such a database.
    Loaded,
}

/// Scope and clock of one connection.
#[derive(Debug, Default)]
pub(crate) struct Guard {
    scope: Mutex<Scope>,
    /// When the running statement is ended, in milliseconds since [`clock`] began.
    deadline: AtomicU64,
    /// The number of the question that runs; 0 where questions have none.
    turn: AtomicU64,
    /// The last question whose asker left.
    left: AtomicU64,
}

/// Milliseconds of a moment since this process first asked.
fn clock(now: Instant) -> u64 {
    static START: OnceLock<Instant> = OnceLock::new();
    let start = *START.get_or_init(Instant::now);
    u64::try_from(now.saturating_duration_since(start).as_millis()).unwrap_or(u64::MAX)
}

impl Guard {
    /// A guard for a connection, as long as the process.
    pub(crate) fn new() -> &'static Self {
        Box::leak(Box::default())
    }

    /// Says which question comes next; numbers grow.
    pub(crate) fn begin(&self, turn: u64) {
        self.turn.store(turn, Ordering::Relaxed);
    }

    /// Ends a question, if it is the one that runs.
    pub(crate) fn leave(&self, turn: u64) {
        self.left.fetch_max(turn, Ordering::Relaxed);
    }

    /// Whether what runs may go on.
    fn goes_on(&self) -> bool {
        let turn = self.turn.load(Ordering::Relaxed);
        (turn == 0 || self.left.load(Ordering::Relaxed) < turn)
            && clock(Instant::now()) < self.deadline.load(Ordering::Relaxed)
    }

    /// Says what may be read from now on, and for how long.
    pub(crate) fn open(&self, scope: Scope, within: Duration) {
        *self.scope.lock().unwrap_or_else(PoisonError::into_inner) = scope;
        self.allow(within);
    }

    /// Says for how long statements may run from now on.
    pub(crate) fn allow(&self, within: Duration) {
        self.allow_since(Instant::now(), within);
    }

    /// As [`Guard::allow`], for those who know what time it is.
    pub(crate) fn allow_since(&self, now: Instant, within: Duration) {
        let within = u64::try_from(within.as_millis()).unwrap_or(u64::MAX);
        self.deadline
            .store(clock(now).saturating_add(within), Ordering::Relaxed);
    }

    fn allows(&self, action: c_int, first: Option<&str>, second: Option<&str>) -> bool {
        #[cfg(feature = "weakened")]
        if crate::weakened::is(crate::weakened::Weakness::Authorizer) {
            return true;
        }
        let scope = self.scope.lock().unwrap_or_else(PoisonError::into_inner);
        match &*scope {
            Scope::Loading => return loads(action, first, second),
            Scope::Loaded => return true,
            _ => {}
        }
        match action {
            ffi::SQLITE_SELECT => *scope != Scope::Closed,
            ffi::SQLITE_FUNCTION => match &*scope {
                Scope::Closed | Scope::Loading | Scope::Loaded => false,
                // Texts of the owner and of their scripts: every function that only calculates.
                Scope::UserTables | Scope::Everything => second.is_some_and(|name| {
                    let name = name.to_ascii_lowercase();
                    !functions::reaches_outside(&name)
                }),
                Scope::Table { .. } => {
                    second.is_some_and(|name| functions::is_known(&name.to_ascii_lowercase()))
                }
            },
            ffi::SQLITE_READ => match &*scope {
                Scope::Closed | Scope::Loading | Scope::Loaded => false,
                Scope::Everything => true,
                Scope::UserTables => first.is_some_and(|table| !crate::ident::is_reserved(table)),
                Scope::Table { name, columns } => {
                    first.is_some_and(|table| table == name)
                        && columns.is_none_or(|columns| {
                            second.is_some_and(|column| {
                                column.is_empty() || columns.contains(&column)
                            })
                        })
                }
            },
            ffi::SQLITE_RECURSIVE => matches!(&*scope, Scope::UserTables | Scope::Everything),
            _ => false,
        }
    }
}

/// What a text may do that fills a database of its own, and sees nothing else.
fn loads(action: c_int, first: Option<&str>, second: Option<&str>) -> bool {
    let is = |name: Option<&str>, known: &[&str]| name.is_some_and(|name| known.contains(&name));
    let ours = |name: Option<&str>| name.is_some_and(|name| !crate::ident::is_reserved(name));
    let inside = ["sqlite_master", "sqlite_schema", "sqlite_sequence"];
    match action {
        ffi::SQLITE_CREATE_TABLE => ours(first) || is(first, &["sqlite_sequence"]),
        ffi::SQLITE_CREATE_INDEX => ours(second),
        ffi::SQLITE_INSERT => ours(first) || is(first, &inside),
        ffi::SQLITE_READ => ours(first) || is(first, &inside),
        ffi::SQLITE_UPDATE => is(first, &inside),
        ffi::SQLITE_SELECT => true,
        ffi::SQLITE_FUNCTION => {
            second.is_some_and(|name| functions::is_known(&name.to_ascii_lowercase()))
        }
        _ => false,
    }
}

/// Puts the authorizer onto a connection to a database that a foreign text fills, whose statements are as long as the
/// largest value in hexadecimal.
pub(crate) async fn fill(connection: &mut SqliteConnection) -> Result<&'static Guard, DataError> {
    let guard = restrict(connection).await?;
    let mut handle = connection.lock_handle().await?;
    // SAFETY: the handle is open and ours while `handle` lives; limits are plain numbers.
    unsafe {
        ffi::sqlite3_limit(
            handle.as_raw_handle().as_ptr(),
            ffi::SQLITE_LIMIT_SQL_LENGTH,
            MAX_LOADED,
        );
    }
    Ok(guard)
}

/// Puts clock, limits and authorizer onto a connection of ours that only looks.
pub(crate) async fn restrict(
    connection: &mut SqliteConnection,
) -> Result<&'static Guard, DataError> {
    let guard = watch(connection).await?;
    let mut handle = connection.lock_handle().await?;
    authorized(handle.as_raw_handle().as_ptr(), guard)?;
    Ok(guard)
}

/// Puts clock, limits and authorizer onto a connection that answers questions.
pub(crate) fn restrict_reader(
    connection: &Connection,
    guard: &'static Guard,
) -> Result<(), DataError> {
    connection.progress_handler(LOOK_EVERY, Some(|| !guard.goes_on()))?;
    // SAFETY: the handle is open and this thread's own as long as `connection` is borrowed.
    let raw = unsafe { connection.handle() };
    limited(raw);
    authorized(raw, guard)
}

/// Puts clock and limits onto a connection: conditions of others run on the writing one too.
pub(crate) async fn watch(connection: &mut SqliteConnection) -> Result<&'static Guard, DataError> {
    let guard = Guard::new();
    guard.allow(Duration::from_secs(60));
    let mut handle = connection.lock_handle().await?;
    handle.set_progress_handler(LOOK_EVERY, || guard.goes_on());
    limited(handle.as_raw_handle().as_ptr());
    Ok(guard)
}

/// `raw` must be open and nobody else's during the call.
fn limited(raw: *mut ffi::sqlite3) {
    for (limit, most) in [
        (ffi::SQLITE_LIMIT_LENGTH, MAX_VALUE),
        (ffi::SQLITE_LIMIT_SQL_LENGTH, MAX_STATEMENT),
        (ffi::SQLITE_LIMIT_EXPR_DEPTH, MAX_DEPTH),
        (ffi::SQLITE_LIMIT_VDBE_OP, MAX_INSTRUCTIONS),
        (ffi::SQLITE_LIMIT_FUNCTION_ARG, MAX_ARGUMENTS),
        (ffi::SQLITE_LIMIT_ATTACHED, 0),
        (ffi::SQLITE_LIMIT_LIKE_PATTERN_LENGTH, MAX_PATTERN),
        (ffi::SQLITE_LIMIT_VARIABLE_NUMBER, MAX_BOUND),
        (ffi::SQLITE_LIMIT_WORKER_THREADS, 0),
    ] {
        // SAFETY: the handle is open and ours; limits are plain numbers.
        unsafe { ffi::sqlite3_limit(raw, limit, most) };
    }
}

/// `raw` must be open and nobody else's during the call.
fn authorized(raw: *mut ffi::sqlite3, guard: &'static Guard) -> Result<(), DataError> {
    // SAFETY: the handle is open and ours; the pointer is to a leaked guard, and `authorize` keeps to the callback's
    // contract.
    let set = unsafe {
        ffi::sqlite3_set_authorizer(
            raw,
            Some(authorize),
            std::ptr::from_ref(guard).cast_mut().cast(),
        )
    };
    if set == ffi::SQLITE_OK {
        Ok(())
    } else {
        Err(DataError::Unavailable)
    }
}

/// Whether a text is one statement that only reads. It is prepared under the connection's authorizer and not run.
pub(crate) fn is_one_reading_statement(
    connection: &Connection,
    sql: &str,
) -> Result<bool, DataError> {
    let length =
        c_int::try_from(sql.len()).map_err(|_| DataError::invalid("the statement is too long"))?;
    let mut statement = std::ptr::null_mut();
    let mut tail = std::ptr::null();
    // SAFETY: the handle is open and this thread's own as long as `connection` is borrowed; `sql` is readable for `length`
    // bytes and outlives the call; the outputs are ours; the statement is finalized here; `tail` points into `sql` or is
    // null.
    unsafe {
        let raw = connection.handle();
        let prepared =
            ffi::sqlite3_prepare_v2(raw, sql.as_ptr().cast(), length, &mut statement, &mut tail);
        if prepared != ffi::SQLITE_OK {
            let text = CStr::from_ptr(ffi::sqlite3_errmsg(raw))
                .to_string_lossy()
                .into_owned();
            return Err(DataError::logic(text));
        }
        if statement.is_null() {
            return Ok(false);
        }
        let reads = ffi::sqlite3_stmt_readonly(statement) != 0;
        ffi::sqlite3_finalize(statement);
        let used = usize::try_from(tail.offset_from(sql.as_ptr().cast())).unwrap_or_default();
        let rest = sql.get(used..).unwrap_or_default();
        Ok(reads
            && rest
                .trim_matches(|letter: char| letter == ';' || letter.is_whitespace())
                .is_empty())
    }
}

/// `sqlite3_set_authorizer`'s callback.
unsafe extern "C" fn authorize(
    user: *mut c_void,
    action: c_int,
    first: *const c_char,
    second: *const c_char,
    _database: *const c_char,
    _trigger: *const c_char,
) -> c_int {
    // SAFETY: `user` is the leaked guard given to `sqlite3_set_authorizer`; the texts are null or end with a zero and
    // live as long as this call.
    let (guard, first, second) = unsafe { (&*user.cast::<Guard>(), text(first), text(second)) };
    if guard.allows(action, first, second) {
        ffi::SQLITE_OK
    } else {
        ffi::SQLITE_DENY
    }
}

/// SAFETY: `pointer` is null or ends with a zero, and lives as long as what is made of it.
unsafe fn text<'t>(pointer: *const c_char) -> Option<&'t str> {
    if pointer.is_null() {
        return None;
    }
    // SAFETY: the caller's promise.
    unsafe { CStr::from_ptr(pointer) }.to_str().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn closed_is_closed() {
        let guard = Guard::default();
        for action in 0..40 {
            assert!(!guard.allows(action, Some("t"), Some("count")));
        }
    }

    #[test]
    fn one_table_is_one_table() {
        let guard = Guard::default();
        guard.open(
            Scope::Table {
                name: "t".to_owned(),
                columns: None,
            },
            Duration::from_secs(1),
        );
        for action in 0..40 {
            let expected = action == ffi::SQLITE_SELECT
                || action == ffi::SQLITE_READ
                || action == ffi::SQLITE_FUNCTION;
            assert_eq!(
                guard.allows(action, Some("t"), Some("count")),
                expected,
                "{action}"
            );
        }
        assert!(!guard.allows(ffi::SQLITE_READ, Some("u"), Some("a")));
        assert!(!guard.allows(ffi::SQLITE_FUNCTION, None, Some("load_extension")));
    }

    #[test]
    fn some_columns_are_some_columns() {
        let guard = Guard::default();
        guard.open(
            Scope::Table {
                name: "_groups".to_owned(),
                columns: Some(&["id"]),
            },
            Duration::from_secs(1),
        );
        assert!(guard.allows(ffi::SQLITE_READ, Some("_groups"), Some("id")));
        assert!(guard.allows(ffi::SQLITE_READ, Some("_groups"), Some("")));
        assert!(!guard.allows(ffi::SQLITE_READ, Some("_groups"), Some("roles")));
    }
}
