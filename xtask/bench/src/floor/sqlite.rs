//! SQLite called directly: the floor of everything that a peer does with its database. The only `unsafe` of the bench.
//!
//! Contract: every handle is made, used and finalized within one thread and one call; texts that are bound outlive the
//! step that reads them; columns are read before the next step.
#![allow(unsafe_code)]

use std::ffi::{CStr, CString, c_int};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use argh::FromArgs;
use libsqlite3_sys as ffi;

use crate::load::post::spread;
use crate::load::rate::{Rate, Window};

/// The command.
pub(crate) const COMMAND: &str = "floor-sqlite";
/// Rows of a question.
pub(crate) const ROWS: u64 = 20;

/// Call SQLite as fast as it goes.
#[derive(Debug, FromArgs)]
pub(crate) struct Options {
    /// the database
    #[argh(option)]
    file: PathBuf,
    /// insert or query
    #[argh(option)]
    what: String,
    /// rows of a transaction
    #[argh(option, default = "1")]
    together: u64,
    /// rows of the table that is asked
    #[argh(option, default = "0")]
    rows: u64,
    /// threads, each with a connection
    #[argh(option, default = "1")]
    threads: usize,
    /// milliseconds before counting begins
    #[argh(option)]
    warm: u64,
    /// milliseconds of counting
    #[argh(option)]
    run: u64,
}

pub(crate) fn run(options: Options) -> Result<()> {
    if options.what == "insert" {
        let base = Base::open(&options.file)?;
        base.execute("CREATE TABLE IF NOT EXISTS items (_id INTEGER PRIMARY KEY AUTOINCREMENT, _owner TEXT NOT NULL, \
                      _owner_email TEXT DEFAULT '', _created_at DATETIME DEFAULT CURRENT_TIMESTAMP, \
                      _updated_at DATETIME DEFAULT CURRENT_TIMESTAMP, title TEXT, number INTEGER)")?;
    }
    let window = Window::new(options.warm, options.run);
    let (mut took, mut answers) = (Vec::new(), 0);
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..options.threads)
            .map(|thread| {
                let options = &options;
                scope.spawn(move || match options.what.as_str() {
                    "insert" => insert(&options.file, options.together, window),
                    _ => query(&options.file, options.rows, thread as u64, window),
                })
            })
            .collect();
        for thread in threads {
            let (these, count) = thread
                .join()
                .map_err(|_| anyhow::anyhow!("a thread fell"))??;
            took.extend(these);
            answers += count;
        }
        anyhow::Ok(())
    })?;
    let rate = Rate::of(took, answers, Duration::from_millis(options.run))?;
    println!("{}", serde_json::to_string(&rate)?);
    Ok(())
}

fn timed(window: Window, mut once: impl FnMut(u64) -> Result<()>) -> Result<(Vec<Duration>, u64)> {
    let (mut took, mut count) = (Vec::new(), 0);
    loop {
        let asked = Instant::now();
        if asked >= window.until {
            return Ok((took, count));
        }
        once(count)?;
        count += 1;
        let now = Instant::now();
        if asked >= window.from && now <= window.until {
            took.push(now - asked);
        }
    }
}

fn insert(file: &Path, together: u64, window: Window) -> Result<(Vec<Duration>, u64)> {
    let base = Base::open(file)?;
    // A log that still grows costs the disk more than one that is used again, as a peer's is after its first moments.
    base.execute(
        "PRAGMA synchronous = OFF; INSERT INTO items (_owner, title) \
         WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c LIMIT 50000) SELECT 'me', 'a title of some length' FROM c; \
         PRAGMA wal_checkpoint; PRAGMA synchronous = FULL",
    )?;
    let window = window.again();
    let statement = base.prepare("INSERT INTO items (_owner, _owner_email, title, number) VALUES ('me', '', 'a title of some length', ?)")?;
    let (took, count) = timed(window, |count| {
        if together > 1 {
            base.execute("BEGIN IMMEDIATE")?;
        }
        for _ in 0..together {
            statement.bind(1, count);
            statement.step()?;
            statement.reset();
        }
        if together > 1 {
            base.execute("COMMIT")?;
        }
        Ok(())
    })?;
    // Each row of a transaction is an answer.
    let rows = usize::try_from(together)?;
    Ok((
        took.iter()
            .flat_map(|time| std::iter::repeat_n(*time, rows))
            .collect(),
        count * together,
    ))
}

fn query(file: &Path, rows: u64, thread: u64, window: Window) -> Result<(Vec<Duration>, u64)> {
    let base = Base::open(file)?;
    let statement = base.prepare("SELECT * FROM items WHERE _id > ? ORDER BY _id LIMIT 20")?;
    timed(window, |count| {
        statement.bind(1, spread(count * 8 + thread, rows - ROWS));
        let mut json = String::with_capacity(8 * 1024);
        let mut sign = '[';
        let mut found = 0;
        while statement.step()? {
            json.push(sign);
            statement.row(&mut json);
            sign = ',';
            found += 1;
        }
        json.push(']');
        statement.reset();
        if found != ROWS {
            bail!("{found} rows instead of {ROWS}");
        }
        std::hint::black_box(json);
        Ok(())
    })
}

/// Runs statements on a database.
pub(crate) fn execute(file: &Path, sql: &str) -> Result<()> {
    Base::open(file)?.execute(sql)
}

struct Base(*mut ffi::sqlite3);

impl Base {
    fn open(file: &Path) -> Result<Self> {
        let name = CString::new(file.to_string_lossy().as_bytes())?;
        let mut handle = std::ptr::null_mut();
        // SAFETY: the name ends with a zero and the output is ours.
        let opened = unsafe { ffi::sqlite3_open(name.as_ptr(), &raw mut handle) };
        let base = Self(handle);
        if opened != ffi::SQLITE_OK {
            bail!("{} cannot be opened", file.display());
        }
        base.execute(
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA busy_timeout = 5000",
        )?;
        Ok(base)
    }

    fn execute(&self, sql: &str) -> Result<()> {
        let text = CString::new(sql)?;
        // SAFETY: the handle is open, the text ends with a zero, nothing is called back.
        let done = unsafe {
            ffi::sqlite3_exec(
                self.0,
                text.as_ptr(),
                None,
                std::ptr::null_mut(),
                std::ptr::null_mut(),
            )
        };
        self.check(done)
    }

    fn check(&self, code: c_int) -> Result<()> {
        if matches!(code, ffi::SQLITE_OK | ffi::SQLITE_ROW | ffi::SQLITE_DONE) {
            return Ok(());
        }
        // SAFETY: the handle is open; its message is copied at once.
        let text = unsafe { CStr::from_ptr(ffi::sqlite3_errmsg(self.0)) };
        bail!("{}", text.to_string_lossy())
    }

    fn prepare(&self, sql: &str) -> Result<Statement<'_>> {
        let text = CString::new(sql)?;
        let mut handle = std::ptr::null_mut();
        // SAFETY: the handle is open, the text ends with a zero, the output is ours.
        let done = unsafe {
            ffi::sqlite3_prepare_v2(
                self.0,
                text.as_ptr(),
                -1,
                &raw mut handle,
                std::ptr::null_mut(),
            )
        };
        self.check(done)?;
        Ok(Statement { base: self, handle })
    }
}

impl Drop for Base {
    fn drop(&mut self) {
        // SAFETY: it was opened here, and its statements are gone.
        unsafe { ffi::sqlite3_close(self.0) };
    }
}

struct Statement<'b> {
    base: &'b Base,
    handle: *mut ffi::sqlite3_stmt,
}

impl Statement<'_> {
    fn bind(&self, at: c_int, number: u64) {
        // SAFETY: the statement is prepared and not running.
        unsafe { ffi::sqlite3_bind_int64(self.handle, at, number.cast_signed()) };
    }

    /// Whether there is a row.
    fn step(&self) -> Result<bool> {
        // SAFETY: the statement is prepared.
        let code = unsafe { ffi::sqlite3_step(self.handle) };
        self.base.check(code)?;
        Ok(code == ffi::SQLITE_ROW)
    }

    fn reset(&self) {
        // SAFETY: the statement is prepared.
        unsafe { ffi::sqlite3_reset(self.handle) };
    }

    /// The row as JSON.
    fn row(&self, json: &mut String) {
        // SAFETY: a row is there; names and texts are copied before the next step.
        unsafe {
            for column in 0..ffi::sqlite3_column_count(self.handle) {
                json.push(if column == 0 { '{' } else { ',' });
                let name = CStr::from_ptr(ffi::sqlite3_column_name(self.handle, column));
                json.push('"');
                json.push_str(&name.to_string_lossy());
                json.push_str("\":");
                if ffi::sqlite3_column_type(self.handle, column) == ffi::SQLITE_INTEGER {
                    json.push_str(&ffi::sqlite3_column_int64(self.handle, column).to_string());
                    continue;
                }
                let text = ffi::sqlite3_column_text(self.handle, column);
                if text.is_null() {
                    json.push_str("null");
                } else {
                    let text = CStr::from_ptr(text.cast()).to_string_lossy();
                    json.push_str(&serde_json::Value::from(text.as_ref()).to_string());
                }
            }
        }
        json.push('}');
    }
}

impl Drop for Statement<'_> {
    fn drop(&mut self) {
        // SAFETY: it was prepared here.
        unsafe { ffi::sqlite3_finalize(self.handle) };
    }
}
