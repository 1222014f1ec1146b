//! A process that writes is killed, somewhere, many times: what it answered is there, what it began is whole or not there
//! at all, and the file is sound.
//!
//! This test is also the process: started again with `GOOP_CRASH_FOLDER` it writes until it is killed, and tells each
//! answered change on a line. `GOOP_KILLS` says how often (24), `GOOP_SEED` where a run begins.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant, SystemTime};

use goop_data::tool::{Access, Tool};
use goop_data::{Data, DataError, Database, Find, Form, Health, Limits};
use serde_json::{Value as Json, json};
use support::{object, owner};

const FOLDER: &str = "GOOP_CRASH_FOLDER";
const SEED: &str = "GOOP_SEED";
/// What a line about a change begins with.
const MARK: &str = "@change";
/// Tasks that write at once, so that changes share their way to disk.
const WRITERS: u64 = 4;
/// Longest life of a process, in milliseconds: a checkpoint and more.
const LIFE: u64 = 250;

/// A small generator, so that a seed repeats a run.
struct Dice(u64);
impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % sides
    }
}

/// What a row must say, whatever was done to it: both halves are always written together.
fn row(key: &str, number: u64) -> serde_json::Map<String, Json> {
    let fill = "x".repeat(usize::try_from(number % 6_000).unwrap());
    object(json!({"key": key, "number": number, "twice": number * 2, "fill": fill}))
}

/// One change. A writer tells it before it begins, and again once it was answered.
#[derive(Debug, Clone, PartialEq)]
enum Step {
    /// The row of a key has this number.
    Put(String, u64),
    /// There is no row of a key.
    Gone(String),
    /// Every row of the writer has this number.
    All(u64),
    /// A table is there.
    Made(String),
    /// It has another name.
    Renamed(String, String),
    /// It is gone.
    Dropped(String),
}

impl Step {
    fn line(&self) -> String {
        match self {
            Self::Put(key, number) => format!("put {key} {number} ;"),
            Self::Gone(key) => format!("gone {key} ;"),
            Self::All(number) => format!("all {number} ;"),
            Self::Made(name) => format!("made {name} ;"),
            Self::Renamed(old, new) => format!("renamed {old} {new} ;"),
            Self::Dropped(name) => format!("dropped {name} ;"),
        }
    }

    /// `None` for a line that was cut off.
    fn parse(words: &[&str]) -> Option<Self> {
        let text = |word: &str| word.to_owned();
        Some(match *words {
            ["put", key, number, ";"] => Self::Put(text(key), number.parse().ok()?),
            ["gone", key, ";"] => Self::Gone(text(key)),
            ["all", number, ";"] => Self::All(number.parse().ok()?),
            ["made", name, ";"] => Self::Made(text(name)),
            ["renamed", old, new, ";"] => Self::Renamed(text(old), text(new)),
            ["dropped", name, ";"] => Self::Dropped(text(name)),
            _ => return None,
        })
    }

    async fn take(&self, data: &Data, writer: u64) -> Result<(), DataError> {
        let me = &owner();
        match self {
            Self::Put(key, number) => {
                let put = data.upsert(me, "rows", "key", row(key, *number));
                put.await.map(drop)
            }
            Self::Gone(key) => {
                let gone = Find::by("rows", "key", json!(key));
                data.delete_where(me, &gone).await.map(drop)
            }
            Self::All(number) => {
                let all = Find {
                    filter: "\"key\" LIKE ?".to_owned(),
                    args: vec![json!(format!("{writer}-%"))],
                    ..Find::all("rows")
                };
                let same = object(json!({"number": number, "twice": number * 2}));
                data.update_where(me, &all, &same).await.map(drop)
            }
            Self::Made(name) => {
                let columns = json!([{"name": "a", "type": "TEXT"}]);
                let columns: Vec<_> = serde_json::from_value(columns).unwrap();
                data.create_classic(me, name, &columns).await
            }
            Self::Renamed(old, new) => data.rename_table(me, old, new).await,
            Self::Dropped(name) => data.delete_table(me, name).await,
        }
    }
}

fn tell(writer: u64, word: &str, step: &Step) {
    // In one write, and at once: the parent reads until the kill.
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(format!("{MARK} {writer} {word} {}\n", step.line()).as_bytes());
    let _ = out.flush();
}

/// Writes until it is killed.
async fn write(folder: &Path, seed: u64) {
    let data = Data::new(Database::open(folder).await.unwrap());
    let mut tasks = Vec::new();
    for writer in 0..WRITERS {
        let data = data.clone();
        tasks.push(tokio::spawn(async move {
            let mut dice = Dice(seed * 31 + writer + 1);
            for count in 1_u64.. {
                let key = format!("{writer}-{}", dice.roll(40));
                let number = seed * 1_000_000 + count;
                let name = format!("t{number}");
                let steps = match dice.roll(10) {
                    0 => vec![Step::Gone(key)],
                    // A table and everything that names it go together.
                    1 if writer == 0 => vec![
                        Step::Made(name.clone()),
                        Step::Renamed(name.clone(), format!("{name}_new")),
                        Step::Dropped(format!("{name}_new")),
                    ],
                    2 => vec![Step::All(number)],
                    _ => vec![Step::Put(key, number)],
                };
                for step in steps {
                    tell(writer, "begins", &step);
                    step.take(&data, writer).await.unwrap();
                    tell(writer, "did", &step);
                }
            }
        }));
    }
    for task in tasks {
        task.await.unwrap();
    }
}

/// What one writer's part of the database is.
#[derive(Debug, Clone, Default, PartialEq)]
struct Part {
    rows: BTreeMap<String, u64>,
    tables: BTreeSet<String>,
}

impl Part {
    fn after(mut self, step: &Step) -> Self {
        match step {
            Step::Put(key, number) => drop(self.rows.insert(key.clone(), *number)),
            Step::Gone(key) => drop(self.rows.remove(key)),
            Step::All(number) => self.rows.values_mut().for_each(|now| *now = *number),
            Step::Made(name) => drop(self.tables.insert(name.clone())),
            Step::Renamed(old, new) => {
                self.tables.remove(old);
                self.tables.insert(new.clone());
            }
            Step::Dropped(name) => drop(self.tables.remove(name)),
        }
        self
    }
}

/// What was answered to each writer, and what it had begun when it was killed.
#[derive(Default)]
struct Expected {
    parts: BTreeMap<u64, Part>,
    begun: BTreeMap<u64, Step>,
    answered: u64,
}

impl Expected {
    fn hear(&mut self, line: &str) {
        let words: Vec<&str> = line.split(' ').collect();
        let [_, writer, word, ref step @ ..] = words[..] else {
            return;
        };
        let (Ok(writer), Some(step)) = (writer.parse(), Step::parse(step)) else {
            return;
        };
        match word {
            "begins" => drop(self.begun.insert(writer, step)),
            _ => {
                assert_eq!(self.begun.remove(&writer).as_ref(), Some(&step));
                let part = self.parts.remove(&writer).unwrap_or_default();
                self.parts.insert(writer, part.after(&step));
                self.answered += 1;
            }
        }
    }
}

/// Looks at what is left: what was answered, and of each writer's last step everything or nothing.
async fn look(folder: &Path, expected: &mut Expected, about: &str) {
    let mut tool = Tool::open(folder, Access::Read).await.unwrap();
    let report = tool.check().await.unwrap();
    assert_eq!(report.complaints, Vec::<String>::new(), "{about}");
    drop(tool);
    let database = Database::open(folder).await.unwrap();
    assert_eq!(*database.health(), Health::Sound, "{about}");
    let data = Data::new(database);
    let found = data.find(&owner(), &Find::all("rows")).await.unwrap();
    let mut there: BTreeMap<u64, Part> = BTreeMap::new();
    for row in found.whole().await.unwrap().value.as_array().unwrap() {
        let (key, number) = (
            row["key"].as_str().unwrap(),
            row["number"].as_u64().unwrap(),
        );
        assert_eq!(row["twice"], number * 2, "{about}: half a change of {key}");
        let writer = key.split('-').next().unwrap().parse().unwrap();
        let rows = &mut there.entry(writer).or_default().rows;
        assert!(
            rows.insert(key.to_owned(), number).is_none(),
            "{about}: {key} twice"
        );
    }
    // Tables: in the file and in the registry alike, or in neither.
    let registered: BTreeSet<String> = data.database().catalog().tables.keys().cloned().collect();
    let names = "SELECT name FROM sqlite_schema WHERE type = 'table' AND substr(name, 1, 1) <> '_' AND name <> 'sqlite_sequence'";
    let mut rows = data
        .console(&owner(), names, &[], Limits::OWNER)
        .await
        .unwrap();
    let mut made = BTreeSet::new();
    while let Some(row) = rows.next().await.unwrap() {
        made.insert(row.first_to_json(Form::Rows).as_str().unwrap().to_owned());
    }
    assert_eq!(registered, made, "{about}");
    there.entry(0).or_default().tables = registered
        .into_iter()
        .filter(|name| name != "rows")
        .collect();
    for writer in 0..WRITERS {
        let is = there.get(&writer).cloned().unwrap_or_default();
        let said = expected.parts.get(&writer).cloned().unwrap_or_default();
        let begun = expected.begun.get(&writer);
        let further = begun.map(|step| said.clone().after(step));
        assert!(
            is == said || further.is_some_and(|further| is == further),
            "{about}: writer {writer}, in the middle of {begun:?}\nthere    {is:?}\nanswered {said:?}"
        );
    }
    for name in there.get(&0).into_iter().flat_map(|part| &part.tables) {
        data.delete_table(&owner(), name).await.unwrap();
    }
    there.entry(0).or_default().tables.clear();
    expected.parts = there;
    expected.begun.clear();
    data.database().close().await;
}

/// From when the life of a process is counted.
#[derive(Debug, Clone, Copy, PartialEq)]
enum From {
    /// Its start: most are killed while they open the file.
    Start,
    /// Its first change.
    Change,
}

/// Starts the writing process, kills it after a while and hears what it had answered.
fn one_life(folder: &Path, seed: u64, from: From, after: Duration, expected: &mut Expected) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["killed_while_it_writes", "--exact", "--nocapture"])
        .env(FOLDER, folder)
        .env(SEED, seed.to_string())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let out = BufReader::new(child.stdout.take().unwrap());
    let (first, begun) = std::sync::mpsc::channel();
    let reading = std::thread::spawn(move || {
        let mut lines = Vec::new();
        // The test's own name may stand before the first.
        for line in out.lines().map_while(Result::ok) {
            if let Some(at) = line.find(MARK) {
                lines.push(line[at..].to_owned());
                let _ = first.send(());
            }
        }
        lines
    });
    if from == From::Change {
        begun
            .recv_timeout(Duration::from_secs(60))
            .expect("it writes");
    }
    park(after);
    child.kill().unwrap();
    child.wait().unwrap();
    let lines = reading.join().unwrap();
    lines.iter().for_each(|line| expected.hear(line));
}

/// The moment of the kill is what is random here; nothing is waited for.
fn park(time: Duration) {
    let end = Instant::now() + time;
    while let Some(left) = end
        .checked_duration_since(Instant::now())
        .filter(|left| !left.is_zero())
    {
        std::thread::park_timeout(left);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_while_it_writes() {
    let number = |name: &str| {
        std::env::var(name)
            .ok()
            .and_then(|text| text.parse::<u64>().ok())
    };
    let now = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap();
    let seed = number(SEED).unwrap_or(u64::from(now.subsec_micros()) + 1);
    if let Some(folder) = std::env::var_os(FOLDER) {
        write(Path::new(&folder), seed).await;
        return;
    }
    let kills = number("GOOP_KILLS").unwrap_or(24);
    println!("{SEED}={seed}");
    let mut dice = Dice(seed);
    let folder = tempfile::tempdir().unwrap();
    let mut expected = Expected::default();
    let data = Data::new(Database::open(folder.path()).await.unwrap());
    let columns = json!([{"name": "key", "type": "text", "key": true}, {"name": "number", "type": "integer"},
        {"name": "twice", "type": "integer"}, {"name": "fill", "type": "text"}]);
    let schema = serde_json::from_value(json!({"name": "rows", "columns": columns})).unwrap();
    data.create_typed(&owner(), &schema).await.unwrap();
    data.database().close().await;
    for kill in 0..kills {
        let from = if dice.roll(6) == 0 {
            From::Start
        } else {
            From::Change
        };
        let after = Duration::from_micros(dice.roll(LIFE * 1_000));
        one_life(folder.path(), kill + 1, from, after, &mut expected);
        let about = format!("{SEED}={seed} kill {kill}, {after:?} after its {from:?}");
        look(folder.path(), &mut expected, &about).await;
    }
    println!("{kills} kills, {} answered changes", expected.answered);
    assert!(expected.answered > kills, "{}", expected.answered);
}
