//! `goop2 backup` and `goop2 restore`: a whole peer folder in one zip file. The peer may run meanwhile.
//!
//! Databases are copied by SQLite, not as files: a file alone is not one moment's, and lacks what is in its log.

use std::fs;
use std::io::{BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use goop_site::archive::{self, Writer};
use serde_json::Value;

/// Made anew by every run, or worth nothing elsewhere.
const LEFT_OUT: [&str; 6] = [
    "data/control.token",
    "data/control.url",
    "data/import",
    "data/bin",
    "cache",
    ".goop.lock",
];
/// What only its owner may have.
const KEYS: [&str; 2] = ["data/identity.key", "data/relay.key"];
/// Fields of `goop.json` that are as good as keys.
const SECRETS: [(&str, &str); 10] = [
    ("p2p", "nacl_private_key"),
    ("p2p", "nacl_public_key"),
    ("presence", "admin_password"),
    ("presence", "credits_admin_token"),
    ("presence", "registration_admin_token"),
    ("presence", "templates_admin_token"),
    ("presence", "bridge_admin_token"),
    ("presence", "encryption_admin_token"),
    ("profile", "verification_token"),
    ("profile", "bridge_token"),
];

/// Whether the keys go into a backup.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Keys {
    Included,
    LeftOut,
}

/// Writes the backup; says what it did.
pub(crate) fn backup(dir: &Path, file: &Path, keys: Keys) -> ExitCode {
    match write(dir, file, keys) {
        Ok(()) => {
            println!("{} holds everything in {}.", file.display(), dir.display());
            match keys {
                Keys::Included => println!(
                    "It holds your keys: whoever has it can be you. Keep it where nobody else reads it."
                ),
                Keys::LeftOut => println!(
                    "Your keys are not in it: restored, it is another peer. `--keys` puts them in."
                ),
            }
            ExitCode::SUCCESS
        }
        Err(error) => fail(&error),
    }
}

fn fail(error: &str) -> ExitCode {
    eprintln!("Error: {error}");
    ExitCode::FAILURE
}

fn write(dir: &Path, file: &Path, keys: Keys) -> Result<(), String> {
    let config = fs::read(dir.join("goop.json")).map_err(|error| {
        format!(
            "{} is no peer folder: goop.json cannot be read: {error}",
            dir.display()
        )
    })?;
    let config = match keys {
        Keys::Included => config,
        Keys::LeftOut => without_secrets(&config)
            .map_err(|error| format!("goop.json makes no sense: {error}"))?,
    };
    let cannot = |error: std::io::Error| format!("{} cannot be written: {error}", file.display());
    if file.exists() {
        return Err(format!(
            "{} exists already; nothing was written",
            file.display()
        ));
    }
    // Beside its place first, and as private as what is in it.
    let folder = file
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    let temporary = tempfile::NamedTempFile::new_in(folder).map_err(cannot)?;
    let mut sink = BufWriter::new(temporary);
    let own = file.canonicalize().ok();
    let databases = databases(dir);
    let mut writer = Writer::new(&mut sink);
    writer.bytes("goop.json", &config).map_err(cannot)?;
    for database in &databases {
        let copies = tempfile::tempdir_in(folder).map_err(cannot)?;
        let copy = copies.path().join("copy.db");
        copy_database(&dir.join(database), &copy).map_err(|error| {
            format!(
                "{} cannot be copied: {error}. A peer that starts repairs its database; then try again",
                database.display()
            )
        })?;
        let name: Vec<_> = database.iter().map(|part| part.to_string_lossy()).collect();
        let copy = fs::File::open(&copy).map_err(cannot)?;
        writer.file(&name.join("/"), copy).map_err(cannot)?;
    }
    let skip = |path: &Path| {
        let is = |name: &str| path == Path::new(name);
        is("goop.json")
            || databases.iter().any(|database| belongs(path, database))
            || LEFT_OUT.iter().any(|name| is(name))
            || keys == Keys::LeftOut && KEYS.iter().any(|name| is(name))
            || own
                .as_ref()
                .is_some_and(|own| dir.join(path).canonicalize().is_ok_and(|path| path == *own))
    };
    writer.tree("", dir, &skip).map_err(cannot)?;
    writer.finish().map_err(cannot)?;
    sink.flush().map_err(cannot)?;
    let temporary = sink
        .into_inner()
        .map_err(|error| cannot(error.into_error()))?;
    temporary.as_file().sync_all().map_err(cannot)?;
    temporary
        .persist_noclobber(file)
        .map(drop)
        .map_err(|error| cannot(error.error))
}

/// What every SQLite file begins with (sqlite.org/fileformat.html 1.3).
const MAGIC: &[u8; 16] = b"SQLite format 3\0";

/// The databases of this program in a peer folder. What a site holds of its own is content like any other.
fn databases(dir: &Path) -> Vec<PathBuf> {
    let below = ["", "data"].into_iter().flat_map(|below| {
        let entries = fs::read_dir(dir.join(below))
            .into_iter()
            .flatten()
            .flatten();
        entries.map(move |entry| Path::new(below).join(entry.file_name()))
    });
    let is_database = |path: &PathBuf| {
        let mut magic = [0; 16];
        path.extension().is_some_and(|extension| extension == "db")
            && fs::symlink_metadata(dir.join(path)).is_ok_and(|found| found.is_file())
            && fs::File::open(dir.join(path))
                .and_then(|mut file| file.read_exact(&mut magic))
                .is_ok_and(|()| magic == *MAGIC)
    };
    let mut databases: Vec<_> = below.filter(is_database).collect();
    databases.sort();
    databases
}

/// Whether a file is this database, or one that SQLite keeps beside it.
fn belongs(path: &Path, database: &Path) -> bool {
    let (path, database) = (path.as_os_str(), database.as_os_str());
    ["", "-wal", "-shm", "-journal"].iter().any(|suffix| {
        let mut name = database.to_owned();
        name.push(suffix);
        name == path
    })
}

fn copy_database(from: &Path, to: &Path) -> Result<(), String> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| error.to_string())?;
    runtime
        .block_on(goop_data::copy(from, to))
        .map_err(|error| error.to_string())
}

fn without_secrets(config: &[u8]) -> serde_json::Result<Vec<u8>> {
    let mut config: Value = serde_json::from_slice(config)?;
    for (section, field) in SECRETS {
        if let Some(section) = config.get_mut(section).and_then(Value::as_object_mut) {
            section.remove(field);
        }
    }
    serde_json::to_vec_pretty(&config)
}

/// Unpacks a backup into a new folder.
pub(crate) fn restore(file: &Path, dir: &Path) -> ExitCode {
    let opened =
        fs::File::open(file).map_err(|error| format!("{} cannot be read: {error}", file.display()));
    let restored = opened.and_then(|opened| {
        archive::restore(BufReader::new(opened), dir).map_err(|error| error.to_string())
    });
    match restored.and_then(|files| private(dir).map(|()| files)) {
        Ok(files) => {
            println!(
                "{files} files are in {}. Start it with: goop2 peer {}",
                dir.display(),
                dir.display()
            );
            ExitCode::SUCCESS
        }
        Err(error) => fail(&error),
    }
}

/// An archive does not keep who may read what.
#[cfg(unix)]
fn private(dir: &Path) -> Result<(), String> {
    use std::os::unix::fs::PermissionsExt;
    let secrets = KEYS.iter().copied().chain(["goop.json"]);
    for path in secrets
        .map(|name| dir.join(name))
        .filter(|path| path.exists())
    {
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600))
            .map_err(|error| format!("{} could not be made private: {error}", path.display()))?;
    }
    Ok(())
}

#[cfg(not(unix))]
fn private(_: &Path) -> Result<(), String> {
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn folder() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in [
            (
                "peer/goop.json",
                "{\"profile\": {\"label\": \"Ann\", \"bridge_token\": \"t0ken\"}, \"p2p\": {\"nacl_private_key\": \"k3y\"}, \"later\": 1}",
            ),
            ("peer/site/index.html", "page"),
            ("peer/data/identity.key", "k3y"),
            ("peer/data/peers.json", "{}"),
            ("peer/data/control.token", "t0ken"),
        ] {
            let path = dir.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        dir
    }

    #[track_caller]
    fn check(keys: Keys, has_keys: bool) {
        let dir = folder();
        let (peer, file, new) = (
            dir.path().join("peer"),
            dir.path().join("b.zip"),
            dir.path().join("new"),
        );
        write(&peer, &file, keys).unwrap();
        archive::restore(fs::File::open(&file).unwrap(), &new).unwrap();
        private(&new).unwrap();
        assert_eq!(
            fs::read_to_string(new.join("site/index.html")).unwrap(),
            "page"
        );
        assert!(new.join("data/peers.json").exists() && !new.join("data/control.token").exists());
        assert_eq!(new.join("data/identity.key").exists(), has_keys);
        let config = fs::read_to_string(new.join("goop.json")).unwrap();
        assert!(
            config.contains("Ann") && config.contains("later"),
            "{config}"
        );
        assert_eq!(
            config.contains("k3y") || config.contains("t0ken"),
            has_keys,
            "{config}"
        );
        assert!(
            write(&peer, &file, keys)
                .unwrap_err()
                .contains("exists already")
        );
    }

    #[test]
    fn keys_are_in_a_backup_only_when_asked_for() {
        check(Keys::LeftOut, false);
        check(Keys::Included, true);
    }

    #[test]
    fn a_folder_that_is_no_peer_is_said_so() {
        let dir = tempfile::tempdir().unwrap();
        let error = write(dir.path(), &dir.path().join("b.zip"), Keys::LeftOut).unwrap_err();
        assert!(error.contains("is no peer folder"), "{error}");
    }

    #[test]
    fn what_a_running_peer_wrote_to_its_database_is_in_the_backup() {
        use goop_data::{Caller, Data, Database, Find, schema::Schema};
        let dir = folder();
        let (peer, file, new) = (
            dir.path().join("peer"),
            dir.path().join("b.zip"),
            dir.path().join("new"),
        );
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let owner = Caller::owner("12D3KooWowner", "");
        let books: Schema = serde_json::from_value(serde_json::json!({
            "name": "books",
            "columns": [{"name": "isbn", "type": "text", "key": true}],
        }))
        .unwrap();
        let running = runtime.block_on(async {
            let data = Data::new(Database::open(&peer).await.unwrap());
            data.create_typed(&owner, &books).await.unwrap();
            let row = serde_json::json!({"isbn": "1"}).as_object().cloned();
            data.insert(&owner, "books", row.unwrap()).await.unwrap();
            data
        });
        assert!(peer.join("data.db-wal").metadata().unwrap().len() > 0);
        write(&peer, &file, Keys::LeftOut).unwrap();
        archive::restore(fs::File::open(&file).unwrap(), &new).unwrap();
        assert!(!new.join("data.db-wal").exists());
        runtime.block_on(async {
            let data = Data::new(Database::open(&new).await.unwrap());
            let found = data.find(&owner, &Find::all("books")).await.unwrap();
            assert_eq!(found.whole().await.unwrap().value[0]["isbn"], "1");
            running.database().close().await;
        });
    }
}
