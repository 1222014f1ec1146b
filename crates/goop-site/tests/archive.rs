//! A site out and in: what comes in is the same, what must not come in does not, and nothing is lost on the way.
#![allow(clippy::unwrap_used, missing_docs)]

use std::collections::BTreeMap;
use std::fs;
use std::io::{Cursor, Write};
use std::path::{Path, PathBuf};

use goop_site::archive::{
    self, ArchiveError, Imported, MAX_BACKUPS, Manifest, Places, Staged, Writer,
};
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

struct Bench {
    dir: tempfile::TempDir,
    places: Places,
}

impl Bench {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let site = dir.path().join("site");
        let places = Places {
            scripts: site.join("lua"),
            work: dir.path().join("data/import"),
            site,
        };
        let bench = Self { dir, places };
        for (name, text) in [
            ("index.html", "old page"),
            ("a/b.txt", "old text"),
            ("lua/echo.lua", "old script"),
            ("lua/.state/count", "7"),
        ] {
            bench.put(name, text);
        }
        bench
    }

    fn put(&self, name: &str, text: &str) {
        let path = self.places.site.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn import(&self, archive: Vec<u8>) -> Result<Imported, ArchiveError> {
        archive::import(Cursor::new(archive), &self.places)
    }

    fn export(&self) -> Vec<u8> {
        let mut out = Vec::new();
        let mut writer = Writer::new(&mut out);
        let manifest = Manifest {
            version: 1,
            label: "Ann".to_owned(),
            ..Manifest::default()
        };
        archive::export_manifest(&mut writer, &manifest).unwrap();
        archive::export_files(&mut writer, &self.places.site, &self.places.scripts).unwrap();
        writer.finish().unwrap();
        out
    }

    fn files(&self) -> BTreeMap<String, String> {
        tree(&self.places.site)
    }
}

fn tree(root: &Path) -> BTreeMap<String, String> {
    let mut files = BTreeMap::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path: PathBuf = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let name = path
                    .strip_prefix(root)
                    .unwrap()
                    .to_string_lossy()
                    .into_owned();
                files.insert(name, fs::read_to_string(&path).unwrap());
            }
        }
    }
    files
}

fn zip(files: &[(&str, &str)]) -> Vec<u8> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, text) in files {
        zip.start_file(*name, SimpleFileOptions::default()).unwrap();
        zip.write_all(text.as_bytes()).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

#[test]
fn what_went_out_comes_in_again() {
    let from = Bench::new();
    let archive = from.export();
    let to = Bench::new();
    to.put("index.html", "another page");
    to.put("more.txt", "more");
    to.put("lua/other.lua", "another script");
    to.put("lua/.state/count", "9");
    let before = to.files();
    let imported = to.import(archive).unwrap();
    assert_eq!(imported.files, 3);
    let mut expected = from.files();
    expected.insert("lua/.state/count".to_owned(), "9".to_owned());
    assert_eq!(to.files(), expected, "what scripts remember stays");
    let backup = tree(&imported.backup);
    assert_eq!(backup["site/more.txt"], before["more.txt"]);
    assert_eq!(backup["lua/other.lua"], before["lua/other.lua"]);
    assert!(
        !to.places.work.join("import").exists() && !to.places.work.join("import.json").exists()
    );
}

#[test]
fn a_plain_zip_of_a_site_is_taken_too_with_or_without_a_folder_around_it() {
    for archive in [
        zip(&[("index.html", "new"), ("css/style.css", "c")]),
        zip(&[
            ("my site/index.html", "new"),
            ("my site/css/style.css", "c"),
        ]),
        zip(&[("site/index.html", "new"), ("site/css/style.css", "c")]),
        zip(&[
            ("export/manifest.json", "{}"),
            ("export/site/index.html", "new"),
            ("export/site/css/style.css", "c"),
        ]),
        zip(&[("site\\index.html", "new"), ("site\\css\\style.css", "c")]),
    ] {
        let bench = Bench::new();
        bench.import(archive).unwrap();
        let files = bench.files();
        assert_eq!(
            (
                files["index.html"].as_str(),
                files["css/style.css"].as_str()
            ),
            ("new", "c"),
            "{files:?}"
        );
        assert_eq!(
            files["lua/echo.lua"], "old script",
            "no scripts came, the old ones stay"
        );
        assert!(!files.contains_key("a/b.txt"));
    }
}

#[track_caller]
fn refused(archive: Vec<u8>, text: &str) {
    let bench = Bench::new();
    let before = bench.files();
    let error = bench.import(archive).unwrap_err().to_string();
    assert!(error.contains(text), "{error}");
    assert_eq!(bench.files(), before, "{error}");
    assert_eq!(
        fs::read_dir(bench.dir.path()).unwrap().count(),
        2,
        "{error}"
    );
}

#[test]
fn what_must_not_come_in_does_not_and_the_site_stays() {
    refused(b"not a zip".to_vec(), "failed to extract zip");
    refused(Vec::new(), "failed to extract zip");
    refused(zip(&[]), "no site");
    refused(
        zip(&[("manifest.json", "{}"), ("lua/x.lua", "x")]),
        "no site",
    );
    refused(zip(&[("site/../../goop.json", "x")]), "leads outside");
    refused(zip(&[("site/..\\..\\goop.json", "x")]), "leads outside");
    refused(zip(&[("/etc/passwd", "x")]), "no name within a site");
    refused(zip(&[("C:\\windows\\x", "x")]), "no name within a site");
    refused(zip(&[("site/a\nb", "x")]), "no name within a site");
    refused(zip(&[("site/a", "x"), ("site/a/b", "y")]), "site/a/b");

    let mut links = ZipWriter::new(Cursor::new(Vec::new()));
    links
        .start_file("site/index.html", SimpleFileOptions::default())
        .unwrap();
    links
        .add_symlink("site/out", "/etc", SimpleFileOptions::default())
        .unwrap();
    refused(links.finish().unwrap().into_inner(), "is a link");

    let mut broken = zip(&[("site/index.html", "some text that is stored as it is")]);
    let at = broken
        .windows(4)
        .position(|part| part == b"PK\x01\x02")
        .unwrap();
    // Inside the packed bytes of the one file.
    broken[at - 10] ^= 0xff;
    refused(broken, "failed to extract zip");
    refused(
        zip(&[
            ("site/index.html", "x"),
            (&format!("site/{}", "y".repeat(300)), "z"),
        ]),
        "too long",
    );

    // A name twice: programs do not agree which one counts.
    let mut twice = zip(&[("site/index.html", "one"), ("site/index.htm2", "two")]);
    for at in 0..twice.len() - 15 {
        if twice[at..].starts_with(b"site/index.htm2") {
            twice[at + 14] = b'l';
        }
    }
    refused(twice, "a name twice");
    refused(zip(&[("site/a", "x"), ("site/./a", "y")]), "twice");
    // Both files are the same packed bytes.
    let mut overlapping = zip(&[("site/index.html", "one"), ("site/second.html", "one")]);
    let entries: Vec<usize> = (0..overlapping.len() - 4)
        .filter(|at| overlapping[*at..].starts_with(b"PK\x01\x02"))
        .collect();
    let (first, second) = (entries[0] + 42, entries[1] + 42);
    overlapping.copy_within(first..first + 4, second);
    refused(overlapping, "overlap");
    let whole = Bench::new().export();
    refused(whole[..whole.len() / 2].to_vec(), "failed to extract zip");

    let mut bomb = ZipWriter::new(Cursor::new(Vec::new()));
    bomb.start_file("site/index.html", SimpleFileOptions::default())
        .unwrap();
    let zeros = vec![0; 1024 * 1024];
    for _ in 0..100 {
        bomb.write_all(&zeros).unwrap();
    }
    refused(
        bomb.finish().unwrap().into_inner(),
        "more than any site needs",
    );
}

#[test]
fn what_is_not_taken_is_said() {
    let bench = Bench::new();
    let imported = bench
        .import(zip(&[
            ("manifest.json", "{}"),
            ("schema.sql", "CREATE TABLE t"),
            ("schemas/t.json", "{}"),
            ("schemas/deep/t.json", "{}"),
            ("schemas/t.txt", "{}"),
            ("site/index.html", "x"),
        ]))
        .unwrap();
    assert_eq!(imported.left_out, ["schemas/deep/t.json", "schemas/t.txt"]);
    assert_eq!(imported.files, 1);
}

/// Files and database change together: what was only exchanged comes back, what was kept stays, whoever is killed when.
#[test]
fn an_exchange_stays_only_with_its_database() {
    let archive = zip(&[
        ("manifest.json", "{}"),
        ("schema.sql", "CREATE TABLE t (a);"),
        ("schemas/t.json", "{}"),
        ("site/index.html", "new"),
    ]);
    let unpack = |bench: &Bench| Staged::unpack(Cursor::new(&archive), &bench.places).unwrap();
    let is_new =
        |bench: &Bench| fs::read_to_string(bench.places.site.join("index.html")).unwrap() == "new";

    let bench = Bench::new();
    let before = bench.files();
    let staged = unpack(&bench);
    let database = staged.database().unwrap();
    assert!(database.join("schemas/t.json").exists() && database.join("manifest.json").exists());
    assert_eq!(bench.files(), before);
    drop(staged);
    assert!(!database.exists() && bench.files() == before);
    assert_eq!(tree(&bench.places.work), BTreeMap::new());

    unpack(&bench).exchange().unwrap().undo().unwrap();
    assert_eq!(bench.files(), before);

    // Killed before the database was brought in, and after.
    let exchanged = unpack(&bench).exchange().unwrap();
    let mark = exchanged.mark();
    drop(exchanged);
    assert!(is_new(&bench));
    assert!(Staged::unpack(Cursor::new(&archive), &bench.places).is_err());
    archive::recover(&bench.places, "site-0").unwrap();
    assert_eq!(bench.files(), before);
    let exchanged = unpack(&bench).exchange().unwrap();
    assert_ne!(mark, exchanged.mark());
    let mark = exchanged.mark();
    drop(exchanged);
    archive::recover(&bench.places, &mark).unwrap();
    assert!(is_new(&bench) && bench.places.work.join("backups").join(&mark).exists());
    archive::recover(&bench.places, "").unwrap();
    assert!(is_new(&bench));
}

#[test]
fn the_newest_backups_are_kept() {
    let bench = Bench::new();
    let backups: Vec<PathBuf> = (0..MAX_BACKUPS + 2)
        .map(|n| {
            let imported = bench
                .import(zip(&[("index.html", &n.to_string())]))
                .unwrap();
            // Their names are times.
            let kept = imported.backup.with_file_name(format!("site-{n:013}"));
            fs::rename(&imported.backup, &kept).unwrap();
            kept
        })
        .collect();
    let there: Vec<bool> = backups.iter().map(|backup| backup.exists()).collect();
    assert_eq!(there, [false, false, true, true, true, true, true]);
}

/// Killed at any step of the exchange, the next start puts the old site back.
#[test]
fn an_import_that_was_killed_is_undone_at_the_next_start() {
    let bench = Bench::new();
    let before = bench.files();
    let (site, work) = (&bench.places.site, &bench.places.work);
    let backup = work.join("backups/site-1");
    let journal = || {
        fs::create_dir_all(&backup).unwrap();
        fs::write(
            work.join("import.json"),
            serde_json::json!({ "backup": backup }).to_string(),
        )
        .unwrap();
    };
    // Half of the old site was moved away.
    journal();
    fs::create_dir_all(backup.join("site")).unwrap();
    fs::rename(site.join("a"), backup.join("site/a")).unwrap();
    archive::recover(&bench.places, "").unwrap();
    assert_eq!(bench.files(), before);
    // All of it, and half of the new one came.
    journal();
    fs::rename(site.join("a"), backup.join("site/a")).unwrap();
    fs::rename(site.join("index.html"), backup.join("site/index.html")).unwrap();
    fs::create_dir_all(backup.join("lua")).unwrap();
    fs::rename(site.join("lua/echo.lua"), backup.join("lua/echo.lua")).unwrap();
    fs::write(backup.join("moved"), "").unwrap();
    bench.put("index.html", "new page");
    bench.put("lua/new.lua", "new script");
    archive::recover(&bench.places, "").unwrap();
    assert_eq!(bench.files(), before);
    assert!(!work.join("import.json").exists());
    archive::recover(&bench.places, "").unwrap();
}

#[test]
fn a_backup_is_unpacked_as_it_is_into_an_empty_folder_only() {
    let dir = tempfile::tempdir().unwrap();
    let archive = zip(&[
        ("goop.json", "{}"),
        ("site/A.txt", "x"),
        ("site/b/c", "y"),
        ("data/peers.json", "{}"),
    ]);
    let folder = dir.path().join("new/peer");
    assert_eq!(
        archive::restore(Cursor::new(archive.clone()), &folder).unwrap(),
        4
    );
    assert_eq!(tree(&folder)["site/b/c"], "y");
    let again = archive::restore(Cursor::new(archive), &folder)
        .unwrap_err()
        .to_string();
    assert!(again.contains("is not empty"), "{again}");
    let hostile = zip(&[("goop.json", "{}"), ("../outside", "x")]);
    assert!(archive::restore(Cursor::new(hostile), &dir.path().join("other")).is_err());
    assert!(!dir.path().join("other").exists() && !dir.path().join("outside").exists());
}

#[cfg(unix)]
#[test]
fn names_that_differ_in_case_only_are_two_files_where_the_disk_says_so() {
    let from = Bench::new();
    from.put("A.txt", "upper");
    from.put("a.txt", "lower");
    let to = Bench::new();
    to.import(from.export()).unwrap();
    assert_eq!(to.files(), from.files());
}

#[test]
fn a_large_site_goes_out_without_being_held() {
    struct Counting(u64);
    impl Write for Counting {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            assert!(
                bytes.len() <= 1024 * 1024,
                "a piece of {} bytes",
                bytes.len()
            );
            self.0 += bytes.len() as u64;
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let bench = Bench::new();
    let large = fs::File::create(bench.places.site.join("large.zip")).unwrap();
    large.set_len(64 * 1024 * 1024).unwrap();
    let mut sink = Counting(0);
    let mut writer = Writer::new(&mut sink);
    archive::export_files(&mut writer, &bench.places.site, &bench.places.scripts).unwrap();
    writer.finish().unwrap();
    assert!(sink.0 > 64 * 1024 * 1024);
}
