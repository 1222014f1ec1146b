//! The pages of the database, with as many rows as anybody has.

use std::fs::{self, File};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use super::pages::drive;
use crate::lab::{Lab, wait};
use crate::peer::Peer;

/// Rows of the large table.
const ROWS: usize = 1_000_000;
/// A value that is a page when it is taken for one.
const HOSTILE: &str = "<img src=x onerror=\"document.title='caught'\">";
const SOON: Duration = Duration::from_secs(10);

fn posted_file(ada: &Peer, path: &str, file: &Path) -> Result<()> {
    let answer = ada.post(path, &format!("@{}", file.display()))?;
    ensure!(answer.status == 200, "{path}: {}", answer.text());
    Ok(())
}

fn posted(ada: &Peer, path: &str, body: &Value) -> Result<()> {
    let answer = ada.post(path, &body.to_string())?;
    ensure!(
        answer.status == 200,
        "{path}: {} {}",
        answer.status,
        answer.text()
    );
    Ok(())
}

/// A table in context without rows, one with a few, a transformation.
fn make(ada: &Peer) -> Result<()> {
    let words = json!({
        "name": "words", "context": true, "system_key": true,
        "columns": [{"name": "word", "type": "text", "required": true}, {"name": "size", "type": "real"}, {"name": "day", "type": "date"},
            {"name": "kind", "type": "enum", "values": [{"key": "a", "label": "Apple"}, {"key": "b", "label": "Bean"}]}],
        "access": {"read": "open", "insert": "group", "update": "owner", "delete": "local"},
        "roles": {"editor": {"read": true, "insert": true}},
    });
    posted(ada, "/api/data/schemas/save", &words)?;
    posted(ada, "/api/data/schemas/apply", &json!({"name": "words"}))?;
    let guests = json!({"name": "guests", "columns": [{"name": "name", "type": "TEXT"}, {"name": "visits", "type": "INTEGER"}]});
    posted(ada, "/api/data/tables/create", &guests)?;
    let rows = json!([{"name": "Grace", "visits": 3}, {"name": HOSTILE, "visits": 1}, {"name": "Hedy", "visits": 2}]);
    posted(
        ada,
        "/api/data/insert-many",
        &json!({"table": "guests", "rows": rows}),
    )?;
    let step = json!({
        "name": "guest-list", "description": "who was here", "source": {"type": "table", "name": "guests"},
        "target": {"type": "csv", "path": "site/guests.csv"},
        "fields": [{"target": "guest", "sources": ["name"], "transform": "uppercase"}, {"target": "visits", "sources": ["visits"]}],
    });
    posted(ada, "/api/data/transformations/save", &step)
}

/// A peer with some rows, for the pictures.
pub(super) fn fill(lab: &Lab, ada: &Peer, rows: usize) -> Result<()> {
    make(ada)?;
    let many: Vec<Value> = (1..=rows)
        .map(|n| json!({"word": format!("word {n}"), "size": n, "day": "2026-01-02", "kind": if n % 2 == 0 { "b" } else { "a" }}))
        .collect();
    let file = lab.folder().join("rows.json");
    fs::write(&file, json!({"table": "words", "rows": many}).to_string())?;
    posted_file(ada, "/api/data/insert-many", &file)
}

/// The owner's own way to many rows at once: the shell, while the peer does not run.
fn many(lab: &Lab, ada: &Peer) -> Result<()> {
    let statement = format!(
        "INSERT INTO words (_owner, word, size, day, kind) WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n LIMIT {ROWS}) \
         SELECT 'ada', 'word ' || x, x, '2026-01-02', CASE x % 2 WHEN 0 THEN 'b' ELSE 'a' END FROM n;\n"
    );
    let file = lab.folder().join("rows.sql");
    fs::write(&file, statement)?;
    let mut shell = Command::new(lab.bin("goop2"));
    shell
        .arg("db")
        .arg(&ada.dir)
        .args(["shell", "--write"])
        .stdin(File::open(&file)?);
    let ended = shell.status().context("goop2 db")?;
    ensure!(ended.success(), "goop2 db ended with {ended}");
    Ok(())
}

/// A person with a million rows.
pub(super) fn pages(lab: &Lab) -> Result<()> {
    let mut ada = Peer::new(lab, &lab.host(1)?, "Ada")?;
    ada.start()?;
    make(&ada)?;
    ada.end("INT", SOON)?;
    many(lab, &ada)?;
    ada.start()?;
    let script = json!({
        "part": "database", "link": ada.link()?, "origin": ada.origin()?, "folder": lab.folder(), "hostile": HOSTILE,
    });
    drive(lab, &ada, &script)?;
    // What was typed is in the table, what was taken back is not, and the transformation wrote its file.
    let asked = |body: Value| -> Result<Value> {
        let answer = ada.post("/api/data/find", &body.to_string())?;
        serde_json::from_str(&answer.text()).context("rows")
    };
    let rows = asked(json!({"table": "words", "where": "word LIKE '%by hand%'"}))?;
    ensure!(
        rows.as_array()
            .is_some_and(|rows| rows.len() == 1 && rows[0]["_id"] == 2),
        "{rows}"
    );
    let rows = asked(json!({"table": "guests", "order": "_id"}))?;
    let names: Vec<&str> = rows
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|row| row["name"].as_str())
        .collect();
    ensure!(
        names == ["Grace", HOSTILE, "Hedy", "Ada", "Mary"],
        "{names:?}"
    );
    wait("the file of the transformation", SOON, || {
        let text = fs::read_to_string(ada.dir.join("site/guests.csv")).unwrap_or_default();
        Ok(text.starts_with("guest,visits\nGRACE,3\n").then_some(()))
    })
}
