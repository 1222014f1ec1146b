//! `goop.json`: reading, rules, and that nothing is lost.
#![allow(clippy::unwrap_used, missing_docs)]

use std::fs;

use goop_identity::config::{Config, ConfigError, ConfigStore, decode, encode};
use goop_identity::folder::{FolderError, PeerFolder};
use proptest::prelude::*;
use serde_json::{Map, Value, json};

fn check(json: &str, expected: Result<impl Fn(&Config) -> bool, &str>) {
    let outcome = decode(json.as_bytes()).and_then(|(config, _)| match config.validate() {
        Ok(()) => Ok(config),
        Err(error) => Err(error.to_string()),
    });
    match (outcome, expected) {
        (Ok(config), Ok(holds)) => assert!(holds(&config), "{json}: {config:?}"),
        (Err(error), Err(text)) => assert!(error.contains(text), "{json}: {error}"),
        (Ok(_), Err(text)) => panic!("{json} was accepted instead of: {text}"),
        (Err(error), Ok(_)) => panic!("{json} was refused: {error}"),
    }
}

fn good(json: &str, holds: impl Fn(&Config) -> bool) {
    check(json, Ok(holds));
}

fn bad(json: &str, text: &str) {
    check(json, Err::<fn(&Config) -> bool, _>(text));
}

#[test]
fn reading() {
    good("{}", |config| *config == Config::default());
    good("\u{feff}{\"profile\":{\"label\":\"A\"}}", |config| {
        config.profile.label == "A"
    });
    good(
        "{\"PROFILE\":{\"Label\":\"A\",\"LABEL\":\"B\"}}",
        |config| config.profile.label == "B",
    );
    good("{\"profile\":{\"label\":null},\"viewer\":null}", |config| {
        config.profile.label == "hello"
    });
    good("{\"p2p\":{\"listen_port\":4001}}", |config| {
        config.p2p.listen_port == 4001
    });
    bad("", "empty");
    bad("[]", "object");
    bad("{} {}", "trailing");
    bad(
        "{\"p2p\":{\"listen_port\":5.5}}",
        "p2p.listen_port must be a whole number",
    );
    bad(
        "{\"p2p\":{\"listen_port\":\"5\"}}",
        "p2p.listen_port must be a whole number",
    );
    bad("{\"p2p\":[]}", "p2p must be an object");
    bad(
        "{\"viewer\":{\"debug\":1}}",
        "viewer.debug must be true or false",
    );
}

#[test]
fn rules() {
    bad(
        "{\"identity\":{\"key_file\":\" \"}}",
        "identity.key_file is required",
    );
    bad(
        "{\"paths\":{\"site_source\":\"a/./b\",\"site_stage\":\"a/b/\"}}",
        "paths.site_source and paths.site_stage must differ",
    );
    bad(
        "{\"p2p\":{\"listen_port\":65536}}",
        "p2p.listen_port must be 0..65535",
    );
    bad("{\"p2p\":{\"mdns_tag\":\"\"}}", "p2p.mdns_tag is required");
    bad(
        "{\"presence\":{\"ttl_seconds\":0}}",
        "presence.ttl_seconds must be > 0",
    );
    bad(
        "{\"presence\":{\"heartbeat_seconds\":20}}",
        "presence.heartbeat_seconds must be < presence.ttl_seconds",
    );
    bad(
        "{\"presence\":{\"rendezvous_only\":true}}",
        "presence.rendezvous_only requires presence.rendezvous_host=true",
    );
    bad(
        "{\"presence\":{\"rendezvous_host\":true,\"rendezvous_bind\":\"x\"}}",
        "presence.rendezvous_bind must be a valid IP address",
    );
    bad(
        "{\"presence\":{\"relay_port\":4100}}",
        "presence.relay_port requires presence.rendezvous_host=true",
    );
    for url in [
        "ftp://x",
        "http://0.0.0.0:1",
        "http://[::]/",
        "http://a:0",
        "not a url",
    ] {
        bad(
            &format!("{{\"presence\":{{\"rendezvous_wan\":\"{url}\"}}}}"),
            "presence.rendezvous_wan: ",
        );
    }
    bad(
        "{\"presence\":{\"rendezvous_more\":\"http://a ftp://b\"}}",
        "presence.rendezvous_more: ",
    );
    good(
        "{\"presence\":{\"rendezvous_wan\":\" http://a/ \",\"rendezvous_more\":\"http://b  http://a http://c/ http://d http://e\"}}",
        |config| config.presence.servers() == ["http://a", "http://b", "http://c", "http://d"],
    );
    good(
        "{\"presence\":{\"rendezvous_wan\":\"http://127.0.0.1:8787\"}}",
        |_| true,
    );
    good("{\"lua\":{\"timeout_seconds\":0}}", |_| true);
    bad(
        "{\"lua\":{\"enabled\":true,\"timeout_seconds\":0}}",
        "lua.timeout_seconds",
    );
}

#[test]
fn every_field_is_written_and_empty_cluster_fields_are_not() {
    let text = encode(&Config::default(), &Map::new());
    assert!(
        text.starts_with("{\n  \"identity\": {\n    \"key_file\": \"data/identity.key\"\n  },"),
        "{text}"
    );
    assert!(!text.ends_with('\n') && !text.contains("cluster_binary"));
    let mut config = Config::default();
    config.viewer.cluster_binary_path = "x".into();
    config.profile.label = "<&>".into();
    let text = encode(&config, &Map::new());
    assert!(
        text.contains("\"cluster_binary_path\": \"x\"") && text.contains("\\u003c\\u0026\\u003e")
    );
}

proptest! {
    #[test]
    fn unknown_fields_survive(names in proptest::collection::vec("[a-z_]{1,12}x9", 0..6), values in proptest::collection::vec(any::<i64>(), 6)) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("goop.json");
        let mut document = json!({ "profile": { "label": "A" }, "new_section": { "deep": [1, { "x": null }] } });
        for (name, value) in names.iter().zip(&values) {
            document[name.as_str()] = json!(value);
            document["profile"][name.as_str()] = json!([value]);
        }
        fs::write(&path, document.to_string()).unwrap();
        let store = ConfigStore::open(&path).unwrap();
        store.update(|config| config.profile.email = "a@b.c".into()).unwrap();
        let now: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        prop_assert_eq!(&now["new_section"], &document["new_section"]);
        prop_assert_eq!(&now["profile"]["email"], "a@b.c");
        for (name, value) in names.iter().zip(&values) {
            if names.iter().filter(|other| *other == name).count() == 1 {
                prop_assert_eq!(&now[name.as_str()], &json!(value));
                prop_assert_eq!(&now["profile"][name.as_str()], &json!([value]));
            }
        }
    }
}

#[test]
fn concurrent_writers_lose_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("goop.json");
    fs::write(&path, "{\"counter\":0}").unwrap();
    std::thread::scope(|scope| {
        for writer in 0..8 {
            let path = &path;
            scope.spawn(move || {
                // A store of its own, as another process has.
                let store = ConfigStore::open(path).unwrap();
                for _ in 0..20 {
                    store
                        .update(|config| config.viewer.preferred_cam.push_str(&writer.to_string()))
                        .unwrap();
                }
            });
        }
    });
    let store = ConfigStore::open(&path).unwrap();
    let written = &store.current().viewer.preferred_cam;
    for writer in 0..8 {
        assert_eq!(
            written.matches(&writer.to_string()).count(),
            20,
            "{written}"
        );
    }
}

#[test]
fn an_invalid_change_or_a_broken_file_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("goop.json");
    let store = ConfigStore::open_or_create(&path).unwrap();
    let before = fs::read(&path).unwrap();
    let error = store
        .update(|config| config.p2p.listen_port = -1)
        .unwrap_err();
    assert!(matches!(error, ConfigError::Invalid(_)), "{error}");
    assert_eq!(fs::read(&path).unwrap(), before);
    fs::write(&path, "{\"profile\":").unwrap();
    assert!(
        store
            .update(|config| config.profile.label = "x".into())
            .is_err()
    );
    assert!(store.reload().is_err());
    assert_eq!(store.current().profile.label, "hello");
    assert_eq!(fs::read(&path).unwrap(), b"{\"profile\":");
}

#[cfg(unix)]
#[test]
fn secrets_are_private_and_links_stay_links() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let real = dir.path().join("real.json");
    fs::write(&real, "{}").unwrap();
    fs::set_permissions(&real, fs::Permissions::from_mode(0o644)).unwrap();
    let link = dir.path().join("goop.json");
    std::os::unix::fs::symlink(&real, &link).unwrap();
    ConfigStore::open(&link)
        .unwrap()
        .update(|config| config.profile.label = "A".into())
        .unwrap();
    assert!(
        fs::symlink_metadata(&link)
            .unwrap()
            .file_type()
            .is_symlink()
    );
    assert_eq!(
        fs::metadata(&real).unwrap().permissions().mode() & 0o777,
        0o600
    );
    assert!(
        fs::read_to_string(&real)
            .unwrap()
            .contains("\"label\": \"A\"")
    );
}

#[test]
fn a_folder_is_used_once() {
    let dir = tempfile::tempdir().unwrap();
    let folder = PeerFolder::open(dir.path()).unwrap();
    let Err(FolderError::InUse { pid, .. }) = PeerFolder::open(dir.path()) else {
        panic!("it opened twice")
    };
    assert_eq!(pid, std::process::id().to_string());
    drop(folder);
    PeerFolder::open(dir.path()).unwrap();
    assert!(matches!(
        PeerFolder::open(&dir.path().join("none")),
        Err(FolderError::Missing(_))
    ));
}

#[test]
fn a_disk_error_leaves_the_old_file() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("goop.json");
    // A folder in the file's place cannot be replaced; the temporary file must not stay behind either.
    fs::create_dir(&path).unwrap();
    fs::write(path.join("inside"), "x").unwrap();
    assert!(
        goop_identity::files::replace(&path, b"new", goop_identity::files::Privacy::Secret)
            .is_err()
    );
    let left: Vec<_> = fs::read_dir(dir.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(left, ["goop.json"]);
}
