//! Changing the own site: each rule, and that nothing is lost.
#![allow(clippy::unwrap_used, missing_docs)]

use std::fs;
use std::path::Path;

use goop_site::store::{
    self, IfMatch, MAX_DELETED, MAX_EDITED, MAX_OLDER, MAX_OLDER_BYTES, Saved, Store, StoreError,
    StorePath,
};

struct Bench {
    _dir: tempfile::TempDir,
    site: std::path::PathBuf,
    store: Store,
}

impl Bench {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let site = dir.path().join("site");
        fs::create_dir_all(site.join("images")).unwrap();
        fs::write(site.join("index.html"), "<h1>Hello</h1>\n").unwrap();
        let store = Store::open(&site, &dir.path().join("data/bin")).unwrap();
        Self {
            site,
            store,
            _dir: dir,
        }
    }

    fn write(&self, name: &str, text: &str, known: &str) -> Result<String, StoreError> {
        self.save(name, text, known).map(|saved| saved.etag)
    }

    fn save(&self, name: &str, text: &str, known: &str) -> Result<Saved, StoreError> {
        self.store
            .write(&path(name), text.as_bytes(), &IfMatch::parse(known))
    }

    fn text(&self, name: &str) -> Option<String> {
        self.store
            .read(&path(name))
            .ok()
            .and_then(|edited| edited.text)
    }

    fn names(&self) -> Vec<String> {
        self.store
            .list()
            .unwrap()
            .into_iter()
            .map(|entry| entry.path)
            .collect()
    }
}

fn path(text: &str) -> StorePath {
    StorePath::parse(text).unwrap()
}

#[track_caller]
fn check_path(text: &str, expected: Result<&str, &str>) {
    let parsed = StorePath::parse(text)
        .map(|path| path.as_text())
        .map_err(|error| error.to_string());
    assert_eq!(
        parsed.as_deref().map_err(String::as_str),
        expected,
        "{text:?}"
    );
}

#[test]
fn paths() {
    check_path("index.html", Ok("index.html"));
    check_path("/a//b/./c.txt", Ok("a/b/c.txt"));
    check_path("a/../b", Ok("b"));
    check_path("lua/.state/x", Ok("lua/.state/x"));
    check_path("../goop.json", Err("path outside root"));
    check_path("a/../../x", Err("path outside root"));
    check_path("", Err("this name cannot be used: it is empty"));
    check_path("/", Err("this name cannot be used: it is empty"));
    check_path(
        "a/.goop-1",
        Err("this name cannot be used: it is kept for temporary files"),
    );
    check_path(
        "a\0b",
        Err("this name cannot be used: it holds a zero byte"),
    );
    check_path(
        &"x".repeat(5_000),
        Err("this name cannot be used: it is too long"),
    );
}

#[test]
fn a_file_is_written_as_a_whole_and_only_over_what_its_writer_knows() {
    let bench = Bench::new();
    let first = bench.write("new/page.html", "one", "none").unwrap();
    assert_eq!(first, store::etag(b"one"));
    assert!(matches!(
        bench.write("new/page.html", "x", "none"),
        Err(StoreError::Conflict)
    ));
    let second = bench.write("new/page.html", "two", &first).unwrap();
    assert!(matches!(
        bench.write("new/page.html", "three", &first),
        Err(StoreError::Conflict)
    ));
    assert!(matches!(
        bench.write("missing", "x", &first),
        Err(StoreError::Conflict)
    ));
    assert_eq!(bench.text("new/page.html").as_deref(), Some("two"));
    bench.write("new/page.html", "four", "").unwrap();
    assert_ne!(
        bench.store.read(&path("new/page.html")).unwrap().etag,
        second
    );
    assert_eq!(
        bench.names(),
        ["images", "index.html", "new", "new/page.html"],
        "nothing temporary is left"
    );
}

#[test]
fn of_many_writers_who_know_the_same_state_one_wins() {
    let bench = Bench::new();
    let known = bench.store.read(&path("index.html")).unwrap().etag;
    let won = std::thread::scope(|scope| {
        let writers: Vec<_> = (0..16)
            .map(|n| {
                let (bench, known) = (&bench, &known);
                scope.spawn(move || {
                    bench
                        .write("index.html", &format!("writer {n}"), known)
                        .is_ok()
                })
            })
            .collect();
        writers
            .into_iter()
            .filter(|_| true)
            .map(|writer| writer.join().unwrap())
            .filter(|won| *won)
            .count()
    });
    assert_eq!(won, 1);
    assert!(bench.text("index.html").unwrap().starts_with("writer "));
}

#[test]
fn an_upload_that_breaks_off_leaves_the_old_file() {
    let bench = Bench::new();
    let mut upload = bench.store.begin(&path("index.html")).unwrap();
    upload.write(b"half of").unwrap();
    drop(upload);
    assert_eq!(
        bench.text("index.html").as_deref(),
        Some("<h1>Hello</h1>\n")
    );
    assert_eq!(fs::read_dir(&bench.site).unwrap().count(), 2);
}

#[test]
fn names_that_stand_in_the_way_are_conflicts() {
    let bench = Bench::new();
    assert!(matches!(
        bench.write("images", "x", ""),
        Err(StoreError::Conflict)
    ));
    assert!(matches!(
        bench.write("index.html/x", "x", ""),
        Err(StoreError::Conflict)
    ));
    assert!(matches!(
        bench.store.make_folder(&path("index.html")),
        Err(StoreError::Conflict)
    ));
    assert!(matches!(
        bench.write("logo.PNG", "x", ""),
        Err(StoreError::ImagesOnly)
    ));
    assert!(matches!(
        bench.write("a\nb", "x", ""),
        Err(StoreError::BadName(_))
    ));
    bench.write("images/logo.png", "x", "").unwrap();
}

#[test]
fn what_is_no_text_is_said_so() {
    let bench = Bench::new();
    for (name, bytes) in [("a.bin", &b"\x00\x01"[..]), ("b.txt", b"\xff\xfe")] {
        fs::write(bench.site.join(name), bytes).unwrap();
        let edited = bench.store.read(&path(name)).unwrap();
        assert_eq!(
            (edited.text, edited.len, edited.etag),
            (None, 2, store::etag(bytes))
        );
    }
    fs::write(
        bench.site.join("large.txt"),
        vec![b'x'; usize::try_from(MAX_EDITED).unwrap() + 1],
    )
    .unwrap();
    assert_eq!(bench.store.read(&path("large.txt")).unwrap().text, None);
    assert!(matches!(
        bench.store.read(&path("images")),
        Err(StoreError::NotFound)
    ));
    assert!(matches!(
        bench.store.read(&path("none")),
        Err(StoreError::NotFound)
    ));
}

#[test]
fn moving_replaces_nothing() {
    let bench = Bench::new();
    bench.write("a/x.txt", "x", "").unwrap();
    bench.write("b.txt", "b", "").unwrap();
    let rename = |from: &str, to: &str| bench.store.rename(&path(from), &path(to));
    assert!(matches!(
        rename("a/x.txt", "b.txt"),
        Err(StoreError::Exists)
    ));
    assert!(matches!(rename("none", "c"), Err(StoreError::NotFound)));
    assert!(matches!(rename("a", "a/deeper"), Err(StoreError::Conflict)));
    rename("a/x.txt", "c/d/y.txt").unwrap();
    rename("b.txt", "B.txt").unwrap();
    rename("c", "e").unwrap();
    assert_eq!(
        bench.names(),
        [
            "B.txt",
            "a",
            "e",
            "e/d",
            "e/d/y.txt",
            "images",
            "index.html"
        ]
    );
}

#[test]
fn copies_are_whole() {
    let bench = Bench::new();
    bench.write("a/b/x.txt", "x", "").unwrap();
    bench.store.copy(&path("a"), &path("copy")).unwrap();
    assert_eq!(bench.text("copy/b/x.txt").as_deref(), Some("x"));
    assert!(matches!(
        bench.store.copy(&path("a"), &path("copy")),
        Err(StoreError::Exists)
    ));
    assert!(matches!(
        bench.store.copy(&path("a"), &path("a/in")),
        Err(StoreError::Conflict)
    ));
    assert!(matches!(
        bench.store.copy(&path("a"), &path("a")),
        Err(StoreError::Exists)
    ));
}

#[test]
fn what_was_deleted_comes_back_with_everything_in_it() {
    let bench = Bench::new();
    bench.write("a/b/x.txt", "x", "").unwrap();
    let token = bench.store.delete(&path("a")).unwrap();
    assert!(!bench.site.join("a").exists());
    assert_eq!(bench.store.restore(&token).unwrap().path, "a");
    assert_eq!(bench.text("a/b/x.txt").as_deref(), Some("x"));
    assert!(
        matches!(bench.store.restore(&token), Err(StoreError::NotFound)),
        "once"
    );
    let token = bench.store.delete(&path("index.html")).unwrap();
    bench.write("index.html", "new", "none").unwrap();
    assert!(matches!(
        bench.store.restore(&token),
        Err(StoreError::Exists)
    ));
    assert_eq!(bench.text("index.html").as_deref(), Some("new"));
    assert!(matches!(
        bench.store.delete(&path("none")),
        Err(StoreError::NotFound)
    ));
    for bad in ["", "..", "../x", "a/b"] {
        assert!(
            matches!(bench.store.restore(bad), Err(StoreError::NotFound)),
            "{bad:?}"
        );
    }
}

#[test]
fn the_bin_is_bounded() {
    let bench = Bench::new();
    let tokens: Vec<String> = (0..MAX_DELETED + 5)
        .map(|n| {
            let name = format!("{n}.txt");
            bench.write(&name, "x", "").unwrap();
            bench.store.delete(&path(&name)).unwrap()
        })
        .collect();
    assert!(bench.store.restore(tokens.last().unwrap()).is_ok());
    let kept = tokens
        .iter()
        .filter(|token| bench.store.restore(token).is_ok())
        .count();
    assert_eq!(kept, MAX_DELETED - 1);
}

#[test]
fn what_is_replaced_unseen_is_kept() {
    let bench = Bench::new();
    let first = bench.text("index.html").unwrap();
    assert_eq!(bench.save("new.html", "x", "").unwrap().undo, None);
    assert_eq!(
        bench.save("new.html", "x", "").unwrap().undo,
        None,
        "the same again"
    );
    let second = bench.save("index.html", "second", "").unwrap();
    let third = bench.save("index.html", "third", &second.etag).unwrap();
    assert_eq!(
        third.undo, None,
        "who knows what is there replaces it on purpose"
    );
    let undo = second.undo.unwrap();
    assert!(matches!(
        bench.store.restore(&undo),
        Err(StoreError::Conflict)
    ));
    assert_eq!(
        bench.text("index.html").as_deref(),
        Some("third"),
        "changed since: it stays"
    );
    bench.write("index.html", "second", &third.etag).unwrap();
    let back = bench.store.restore(&undo).unwrap();
    assert_eq!(bench.text("index.html"), Some(first.clone()));
    assert!(
        matches!(bench.store.restore(&undo), Err(StoreError::NotFound)),
        "once"
    );
    bench.store.restore(&back.undo.unwrap()).unwrap();
    assert_eq!(bench.text("index.html").as_deref(), Some("second"));
    // Where the file is gone meanwhile, the older version takes its place.
    let undo = bench
        .save("index.html", "fourth", "")
        .unwrap()
        .undo
        .unwrap();
    bench.store.delete(&path("index.html")).unwrap();
    assert_eq!(bench.store.restore(&undo).unwrap().undo, None);
    assert_eq!(bench.text("index.html").as_deref(), Some("second"));
    assert_eq!(bench.names(), ["images", "index.html", "new.html"]);
}

#[test]
fn older_versions_are_bounded_and_push_nothing_deleted_out() {
    let bench = Bench::new();
    bench.write("gone.txt", "gone", "").unwrap();
    let deleted = bench.store.delete(&path("gone.txt")).unwrap();
    let older: Vec<String> = (0..MAX_OLDER + 5)
        .map(|n| {
            bench
                .save("index.html", &n.to_string(), "")
                .unwrap()
                .undo
                .unwrap()
        })
        .collect();
    let folder = bench.site.with_file_name("data").join("bin/older");
    assert_eq!(fs::read_dir(&folder).unwrap().count(), MAX_OLDER);
    assert!(matches!(
        bench.store.restore(&older[0]),
        Err(StoreError::NotFound)
    ));
    assert_eq!(bench.store.restore(&deleted).unwrap().path, "gone.txt");
    // Large ones sooner: the newest stays whatever its size.
    let large = fs::File::create(bench.site.join("large.bin")).unwrap();
    for text in ["a", "b"] {
        large.set_len(MAX_OLDER_BYTES + 1).unwrap();
        bench.save("large.bin", text, "").unwrap().undo.unwrap();
        fs::File::create(bench.site.join("large.bin"))
            .unwrap()
            .set_len(MAX_OLDER_BYTES + 1)
            .unwrap();
    }
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 1);
}

#[test]
fn a_file_that_changes_while_it_is_written_is_a_conflict() {
    let bench = Bench::new();
    let known = bench.store.read(&path("index.html")).unwrap().etag;
    let mut upload = bench.store.begin(&path("index.html")).unwrap();
    upload.write(b"ours").unwrap();
    // Another program, not through the store.
    fs::write(bench.site.join("index.html"), "theirs").unwrap();
    let lost = upload.commit(&IfMatch::Is(known));
    assert!(matches!(lost, Err(StoreError::Conflict)));
    assert_eq!(bench.text("index.html").as_deref(), Some("theirs"));

    let mut upload = bench.store.begin(&path("new.html")).unwrap();
    upload.write(b"ours").unwrap();
    fs::write(bench.site.join("new.html"), "theirs").unwrap();
    assert!(matches!(
        upload.commit(&IfMatch::New),
        Err(StoreError::Conflict)
    ));
    assert_eq!(bench.text("new.html").as_deref(), Some("theirs"));
    assert_eq!(bench.names(), ["images", "index.html", "new.html"]);
}

#[test]
fn names_the_disk_does_not_take_are_bad_names() {
    let bench = Bench::new();
    let long = "x".repeat(300);
    assert!(matches!(
        bench.write(&format!("{long}/a"), "x", ""),
        Err(StoreError::BadName(_))
    ));
    assert!(matches!(
        bench.write(&format!("{long}.html"), "x", ""),
        Err(StoreError::BadName(_))
    ));
    assert!(matches!(
        bench.store.make_folder(&path(&long)),
        Err(StoreError::BadName(_))
    ));
    assert_eq!(bench.names(), ["images", "index.html"]);
}

#[test]
fn lists_are_in_order_and_leave_out_what_leads_outside() {
    let bench = Bench::new();
    for name in ["a.b", "a/z", "a/b/c", "lua/x.lua", ".hidden"] {
        bench.write(name, "x", "").unwrap();
    }
    fs::write(bench.site.join(".goop-left"), "x").unwrap();
    #[cfg(unix)]
    {
        std::os::unix::fs::symlink("/etc/passwd", bench.site.join("out")).unwrap();
        std::os::unix::fs::symlink("index.html", bench.site.join("in.html")).unwrap();
        std::os::unix::fs::symlink(".", bench.site.join("circle")).unwrap();
    }
    let expected = [
        ".hidden",
        "a",
        "a/b",
        "a/b/c",
        "a/z",
        "a.b",
        "images",
        "in.html",
        "index.html",
        "lua",
        "lua/x.lua",
    ];
    assert_eq!(bench.names(), expected);
    let entries = bench.store.list().unwrap();
    let deep = entries.iter().find(|entry| entry.path == "a/b/c").unwrap();
    assert_eq!((deep.is_dir, deep.depth, deep.len), (false, 2, 1));
    assert!(deep.modified > 1_600_000_000_000);
}

#[cfg(unix)]
#[test]
fn no_link_leads_a_change_outside() {
    let bench = Bench::new();
    let outside = tempfile::tempdir().unwrap();
    fs::write(outside.path().join("x.txt"), "theirs").unwrap();
    std::os::unix::fs::symlink(outside.path(), bench.site.join("out")).unwrap();
    assert!(bench.write("out/x.txt", "ours", "").is_err());
    assert!(bench.write("out/new.txt", "ours", "").is_err());
    assert!(
        bench
            .store
            .rename(&path("index.html"), &path("out/y.html"))
            .is_err()
    );
    assert!(bench.store.delete(&path("out/x.txt")).is_err());
    assert!(bench.store.read(&path("out/x.txt")).is_err());
    // The link itself may go; what it points to stays.
    bench.store.delete(&path("out")).unwrap();
    assert_eq!(
        fs::read_to_string(Path::new(outside.path()).join("x.txt")).unwrap(),
        "theirs"
    );
    assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 1);
}

#[test]
fn a_search_finds_lines_in_text_files() {
    let bench = Bench::new();
    bench
        .write("a.txt", "one\n  Größe: two\nthree", "")
        .unwrap();
    fs::write(bench.site.join("b.bin"), b"two\0").unwrap();
    let (found, more) = bench.store.search("TWO", 10).unwrap();
    assert!(!more);
    let [only] = found.as_slice() else {
        panic!("{found:?}")
    };
    assert_eq!(
        (
            only.path.as_str(),
            only.line,
            only.column,
            only.text.as_str()
        ),
        ("a.txt", 2, 10, "Größe: two")
    );
    assert!(bench.store.search("e", 1).unwrap().1);
    assert!(bench.store.search("", 10).unwrap().0.is_empty());
}
