//! `goop2 backup` and `goop2 restore`: a whole peer folder in one zip file. The peer may run meanwhile.

use std::fs;
use std::io::{BufReader, BufWriter, Write};
use std::path::Path;
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
    let mut writer = Writer::new(&mut sink);
    writer.bytes("goop.json", &config).map_err(cannot)?;
    let skip = |path: &Path| {
        let is = |name: &str| path == Path::new(name);
        is("goop.json")
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
}
