//! `goop2 db`, as a person runs it: beside a peer that has the folder, and without one.
#![allow(clippy::unwrap_used, missing_docs)]

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use goop_data::{Caller, Data, Database, Find};
use goop_identity::folder::PeerFolder;
use serde_json::json;

fn fixture(path: &str) -> PathBuf {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../fixtures")).join(path)
}

/// A folder with Alice's recorded database.
fn alice() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for name in ["data.db", "goop.json"] {
        std::fs::copy(fixture("folders/alice").join(name), dir.path().join(name)).unwrap();
    }
    dir
}

fn goop2(dir: &Path, args: &[&str], input: &str) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_goop2"))
        .arg("db")
        .arg(dir)
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // Who ends early reads no more.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    child.wait_with_output().unwrap()
}

#[track_caller]
fn check(dir: &Path, args: &[&str], input: &str, ok: bool, said: &[&str]) -> String {
    let output = goop2(dir, args, input);
    let text = String::from_utf8_lossy(&output.stdout).into_owned()
        + &String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.success(), ok, "{args:?} {text}");
    for part in said {
        assert!(text.contains(part), "{args:?} {part}: {text}");
    }
    text
}

fn path(dir: &Path, name: &str) -> String {
    dir.join(name).to_str().unwrap().to_owned()
}

const CHECKED: [&str; 4] = [
    "7 tables",
    "books: 5 rows, typed",
    "notes: 6 rows, classic",
    "The database is whole.",
];

#[tokio::test(flavor = "multi_thread")]
async fn beside_a_running_peer() {
    let (dir, out) = (alice(), tempfile::tempdir().unwrap());
    let (copy, archive) = (path(out.path(), "copy.db"), path(out.path(), "out.zip"));
    let folder = PeerFolder::open(dir.path()).unwrap();
    let data = Data::new(Database::open(folder.root()).await.unwrap());
    let owner = Caller::owner("12D3KooWowner", "");
    let row = json!({"isbn": "9", "title": "while it runs"})
        .as_object()
        .cloned()
        .unwrap();
    data.insert(&owner, "books", row.clone()).await.unwrap();
    check(
        dir.path(),
        &["check"],
        "",
        true,
        &["books: 6 rows", "The database is whole."],
    );
    check(
        dir.path(),
        &["backup", &copy],
        "",
        true,
        &["whole by itself"],
    );
    check(
        dir.path(),
        &["backup", &copy],
        "",
        false,
        &["exists already; nothing was written"],
    );
    check(
        dir.path(),
        &["export", &archive],
        "",
        true,
        &["7 tables with every row"],
    );
    check(
        dir.path(),
        &["export", &archive],
        "",
        false,
        &["exists already"],
    );
    let said = check(
        dir.path(),
        &["shell"],
        "SELECT title\nFROM books WHERE isbn = '9';\n.tables\nSELECT 1 AS a",
        true,
        &["title\nwhile it runs\n", "t_owner"],
    );
    assert!(said.ends_with("a\n1\n"), "{said}");
    // What changes the database is not done beside it, and it is said who has it.
    let pid = std::process::id().to_string();
    let busy = [
        pid.as_str(),
        "end that one first",
        "works beside a running peer",
    ];
    check(
        dir.path(),
        &["shell", "--write"],
        "DELETE FROM books;",
        false,
        &busy,
    );
    check(
        dir.path(),
        &["import", &archive, "--replace"],
        "",
        false,
        &busy,
    );
    check(
        dir.path(),
        &["shell"],
        "DELETE FROM books;",
        false,
        &["attempt to write a readonly database"],
    );
    // The peer goes on.
    let more = json!({"isbn": "10", "title": "after it"})
        .as_object()
        .cloned()
        .unwrap();
    data.insert(&owner, "books", more).await.unwrap();
    assert_eq!(
        data.count(&owner, &Find::all("books")).await.unwrap(),
        json!({"count": 7})
    );
    data.database().close().await;
    // The copy is the database of that moment.
    let folder = tempfile::tempdir().unwrap();
    std::fs::copy(&copy, folder.path().join("data.db")).unwrap();
    check(
        folder.path(),
        &["check"],
        "",
        true,
        &["books: 6 rows", "whole"],
    );
}

#[test]
fn out_of_one_folder_and_into_another() {
    let (from, to) = (alice(), tempfile::tempdir().unwrap());
    check(from.path(), &["check"], "", true, &CHECKED);
    let archive = path(to.path(), "out.zip");
    check(from.path(), &["export", &archive], "", true, &[]);
    let new = to.path().join("peer");
    std::fs::create_dir(&new).unwrap();
    check(
        &new,
        &["check"],
        "",
        false,
        &["has no database (data.db) yet"],
    );
    check(
        &new,
        &["import", &archive],
        "",
        true,
        &[
            "books: 5 rows",
            "7 tables came in",
            "data/import/backups/site-",
        ],
    );
    check(&new, &["check"], "", true, &CHECKED);
    let again = path(to.path(), "again.zip");
    check(
        &new,
        &["import", &archive],
        "",
        false,
        &["books (5 rows)", "`--replace`", "nothing was changed"],
    );
    check(
        &new,
        &["shell", "--write"],
        "UPDATE books SET pages = 1000;\nSELECT count(*) AS n FROM books WHERE pages = 1000;",
        true,
        &["5 rows changed", "n\n5\n"],
    );
    check(
        &new,
        &["import", &archive, "--replace"],
        "",
        true,
        &["books: 5 rows"],
    );
    check(&new, &["export", &again], "", true, &[]);
    // A whole site's export gives its tables here, and the Go program's as well.
    let go = fixture("export/export-alice.zip");
    check(
        &new,
        &["import", go.to_str().unwrap(), "--replace"],
        "",
        true,
        &["notes: 6 rows"],
    );
    let script = |file: &str| {
        let mut zip = zip::ZipArchive::new(std::fs::File::open(file).unwrap()).unwrap();
        std::io::read_to_string(zip.by_name("schema.sql").unwrap()).unwrap()
    };
    assert_eq!(script(&archive), script(&again));
    std::fs::write(to.path().join("x.zip"), "not a zip").unwrap();
    check(
        &new,
        &["import", &path(to.path(), "x.zip")],
        "",
        false,
        &["failed to extract zip"],
    );
    check(
        &new,
        &["import", &path(to.path(), "missing.zip")],
        "",
        false,
        &["cannot be read"],
    );
    check(
        &new.join("missing"),
        &["check"],
        "",
        false,
        &["Peer directory does not exist"],
    );
}

#[test]
fn a_damaged_database_is_said_so() {
    let dir = alice();
    let file = dir.path().join("data.db");
    let mut bytes = std::fs::read(&file).unwrap();
    let page = bytes.len() / 4096 / 2 * 4096;
    bytes[page..page + 4096].fill(0xa5);
    std::fs::write(&file, bytes).unwrap();
    check(
        dir.path(),
        &["check"],
        "",
        false,
        &["DAMAGED", "brings over what can be read"],
    );
    std::fs::write(&file, "no database at all").unwrap();
    check(
        dir.path(),
        &["check"],
        "",
        false,
        &["file is not a database"],
    );
}

#[test]
fn a_shell_in_a_pipe_ends_at_the_first_mistake() {
    let dir = alice();
    let said = check(
        dir.path(),
        &["shell"],
        "SELECT zzz;\nSELECT 'went on';\n",
        false,
        &["no such column: zzz"],
    );
    assert!(!said.contains("went on"));
    let odd = "SELECT 'a' || char(27) || '[2J' AS t, NULL AS n, x'6162' AS b;";
    check(
        dir.path(),
        &["shell"],
        odd,
        true,
        &["t | n | b\na\\u{1b}[2J | NULL | \"YWI=\"\n"],
    );
}

#[test]
fn help_names_the_commands() {
    for args in [&["db", "--help"][..], &["--help"]] {
        let output = Command::new(env!("CARGO_BIN_EXE_goop2"))
            .args(args)
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let wanted: &[&str] = if args.len() == 2 {
            &["check", "backup", "export", "import", "shell"]
        } else {
            &["db"]
        };
        assert!(
            output.status.success() && wanted.iter().all(|word| text.contains(word)),
            "{text}"
        );
    }
}
