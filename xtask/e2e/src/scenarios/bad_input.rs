//! What goes wrong: the person is told, and nothing is lost.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use rand::{RngExt, SeedableRng};
use serde_json::Value;

use super::go_tables;
use crate::lab::{Lab, Mount};
use crate::peer::{Peer, copy_tree, curl, tail};

const SOON: Duration = Duration::from_secs(10);

pub(super) fn second_signal(lab: &Lab) -> Result<()> {
    let mut ada = Peer::new(lab, &lab.host(1)?, "Ada")?;
    ada.start()?;
    ada.signal("INT")?;
    let start = Instant::now();
    // The first may be through already; then the process is gone, which is what the second is for.
    let _ = ada.signal("INT");
    ada.wait_end(Duration::from_secs(2))?;
    ensure!(
        start.elapsed() < Duration::from_secs(2),
        "it took {:?}",
        start.elapsed()
    );
    Ok(())
}

pub(super) fn busy(lab: &Lab) -> Result<()> {
    let host = lab.host(1)?;
    let mut ada = Peer::new(lab, &host, "Ada")?;
    ada.start()?;
    let mut twin = Peer::at(lab, &host, ada.dir.clone());
    fails_saying(&mut twin, "is in use by process")?;
    let port = ada
        .origin()?
        .rsplit(':')
        .next()
        .unwrap_or_default()
        .to_owned();
    let mut grace = Peer::new(lab, &host, "Grace")?;
    fs::write(
        grace.dir.join("goop.json"),
        format!("{{\"viewer\":{{\"http_addr\":\":{port}\"}}}}"),
    )?;
    fails_saying(&mut grace, "viewer.http_addr")?;
    let mut first = Peer::new(lab, &host, "First")?;
    fs::write(
        first.dir.join("goop.json"),
        "{\"p2p\":{\"listen_port\":4777}}",
    )?;
    first.start()?;
    let mut second = Peer::new(lab, &host, "Second")?;
    fs::write(
        second.dir.join("goop.json"),
        "{\"p2p\":{\"listen_port\":4777}}",
    )?;
    fails_saying(&mut second, "p2p.listen_port 4777")?;
    // Without a configured address a busy port is no problem: another one is taken.
    let mut third = Peer::new(lab, &host, "Third")?;
    third.start()
}

/// Starts a peer that must end with code 1 and a message.
fn fails_saying(peer: &mut Peer, message: &str) -> Result<()> {
    peer.spawn()?;
    let status = peer.wait_end(SOON)?;
    let log = peer.log();
    ensure!(
        status.code() == Some(1),
        "it ended with {status}: {}",
        tail(&log)
    );
    ensure!(
        log.contains(message),
        "it did not say {message:?}: {}",
        tail(&log)
    );
    Ok(())
}

pub(super) fn damaged(lab: &Lab) -> Result<()> {
    let host = lab.host(1)?;
    let mut ada = Peer::new(lab, &host, "Ada")?;
    fs::create_dir_all(ada.dir.join("data"))?;
    let key = ada.dir.join("data/identity.key");
    fs::write(&key, "not a key")?;
    fails_saying(&mut ada, "identity key")?;
    ensure!(
        fs::read(&key)? == b"not a key",
        "the damaged key was changed"
    );
    let mut grace = Peer::new(lab, &host, "Grace")?;
    fs::write(grace.dir.join("goop.json"), "{\"profile\":{\"label\":\"Gr")?;
    fails_saying(&mut grace, "goop.json")?;
    ensure!(
        fs::read_to_string(grace.dir.join("goop.json"))? == "{\"profile\":{\"label\":\"Gr",
        "goop.json was changed"
    );
    Ok(())
}

/// A full disk is said, what was saved stays, and everything works again when there is room.
pub(super) fn full_disk(lab: &Lab) -> Result<()> {
    let mut grace = Peer::new(lab, &lab.host(2)?, "Grace")?;
    grace.start()?;
    let friend = grace.id()?;
    let _disk = Mount::small(&lab.folder().join("Ada"))?;
    let mut ada = Peer::new(lab, &lab.host(1)?, "Ada")?;
    ada.start()?;
    let id = ada.id()?;
    ada.wait_here(&friend, SOON)?;
    let before = fs::read(ada.dir.join("goop.json"))?;
    fill(&ada.dir)?;
    let favorite = format!("{{\"peer_id\":\"{friend}\",\"favorite\":true}}");
    for (path, body) in [
        ("/api/settings/quick", "{\"label\":\"Ada the second\"}"),
        ("/api/peers/favorite", &favorite),
    ] {
        let answer = ada.post(path, body)?;
        ensure!(
            answer.status == 500 && answer.text().contains("No space left"),
            "{path} answered {} {}",
            answer.status,
            answer.text()
        );
    }
    ensure!(
        fs::read(ada.dir.join("goop.json"))? == before,
        "goop.json was changed"
    );
    ensure!(
        ada.visit(&id, "", &[])?.text().contains("Hello from Ada"),
        "the own site is gone"
    );
    ada.end("KILL", SOON)?;
    fails_saying(&mut ada, "No space left")?;
    fs::remove_file(ada.dir.join("filler"))?;
    ada.start()?;
    ensure!(ada.id()? == id, "the peer id changed");
    ada.wait_here(&friend, SOON)?;
    ensure!(
        ada.post("/api/peers/favorite", &favorite)?.status == 200,
        "the favourite"
    );
    ensure!(
        ada.get("/api/self")?.json()?["label"] == "Ada",
        "the name was lost"
    );
    Ok(())
}

/// More than the small disk holds, in few bytes where it is packed.
const TOO_MUCH: usize = 512 * 1024;

/// A save, an upload and an import that meet a full disk half way say so; the site stays as it was, and nothing half is
/// left behind.
pub(super) fn full_disk_and_site(lab: &Lab) -> Result<()> {
    let mut grace = Peer::new(lab, &lab.host(2)?, "Grace")?;
    fs::write(grace.dir.join("site/large.txt"), vec![b'x'; TOO_MUCH])?;
    grace.start()?;
    let archive = lab.folder().join("site.zip");
    fs::write(&archive, grace.get("/api/site/export")?.body)?;
    ensure!(
        fs::metadata(&archive)?.len() < 64 * 1024,
        "the archive itself must fit"
    );

    let _disk = Mount::small(&lab.folder().join("Ada"))?;
    let mut ada = Peer::new(lab, &lab.host(1)?, "Ada")?;
    ada.start()?;
    let id = ada.id()?;
    let files = ada.get("/api/site/files")?.text();
    let large = lab.folder().join("large.txt");
    fs::write(&large, vec![b'y'; TOO_MUCH])?;
    let post = |path: &str, form: &[&str]| {
        let auth = format!("Authorization: Bearer {}", ada.token()?);
        let url = format!("{}{path}", ada.origin()?);
        let fields = form.iter().flat_map(|field| ["-F", field]);
        let args: Vec<&str> = ["-H", &auth].into_iter().chain(fields).collect();
        curl(&ada.host, &[args, vec![&url]].concat())
    };
    let json = lab.folder().join("save.json");
    let save = serde_json::json!({
        "path": "index.html", "content": "y".repeat(TOO_MUCH), "if_match": "any",
    });
    fs::write(&json, save.to_string())?;
    let file = format!("file=@{}", large.display());
    let site = format!("file=@{}", archive.display());
    let local = serde_json::json!({ "dest_path": "index.html", "src_path": large }).to_string();
    for (what, answer) in [
        (
            "a save",
            ada.post("/api/site/save", &format!("@{}", json.display()))?,
        ),
        ("a local file", ada.post("/api/site/upload-local", &local)?),
        (
            "an upload",
            post("/api/site/upload", &["path=index.html", &file])?,
        ),
        ("an import", post("/api/site/import", &[&site])?),
    ] {
        ensure!(
            answer.status == 507 && answer.text().contains("No space left"),
            "{what} answered {} {}",
            answer.status,
            answer.text()
        );
    }
    ensure!(
        ada.get("/api/site/files")?.text() == files,
        "the site changed"
    );
    ensure!(
        ada.visit(&id, "", &[])?.text().contains("Hello from Ada"),
        "the front page is gone"
    );
    let left: Vec<String> = files_of(&ada.dir)?
        .into_iter()
        .map(|(path, _)| path)
        .filter(|path| path.contains(".goop-") || path.starts_with("data/import/"))
        .collect();
    ensure!(left.is_empty(), "{left:?} was left behind");
    let small = "{\"path\":\"index.html\",\"content\":\"small\",\"if_match\":\"any\"}";
    let saved = ada.post("/api/site/save", small)?;
    ensure!(
        saved.status == 200,
        "with room it answered {} {}",
        saved.status,
        saved.text()
    );
    Ok(())
}

/// Writes until the disk is full.
pub(super) fn fill(dir: &Path) -> Result<()> {
    use std::io::Write;
    let mut filler = fs::File::create(dir.join("filler"))?;
    loop {
        match filler.write(&[0; 512]) {
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::StorageFull => return Ok(()),
            Err(error) => return Err(error.into()),
        }
    }
}

/// A goop.json that nobody may write is enough to be online; a change is refused and says why.
pub(super) fn read_only(lab: &Lab) -> Result<()> {
    let mut ada = Peer::new(lab, &lab.host(1)?, "Ada")?;
    let file = ada.dir.join("goop.json");
    let locked = Mount::read_only(&file)?;
    // Its first start makes keys that it must keep.
    fails_saying(&mut ada, "goop.json cannot be written")?;
    drop(locked);
    ada.start()?;
    ada.end("INT", SOON)?;
    let _locked = Mount::read_only(&file)?;
    let before = fs::read(&file)?;
    ada.start()?;
    let answer = ada.post("/api/settings/quick", "{\"label\":\"Ada the second\"}")?;
    ensure!(
        answer.status == 500 && answer.text().contains("goop.json"),
        "it answered {} {}",
        answer.status,
        answer.text()
    );
    ensure!(fs::read(&file)? == before, "goop.json was changed");
    let now = ada.get("/api/self")?.json()?;
    ensure!(now["label"] == "Ada", "what was not saved is shown: {now}");
    Ok(())
}

pub(super) fn kill_anywhere(lab: &Lab) -> Result<()> {
    let seed = std::env::var("GOOP_SEED")
        .ok()
        .and_then(|seed| seed.parse().ok())
        .unwrap_or_else(rand::random);
    println!("        seed {seed} (GOOP_SEED={seed} repeats it)");
    let mut rng = rand::rngs::StdRng::seed_from_u64(seed);
    let mut ada = Peer::new(lab, &lab.host(1)?, "Ada")?;
    for _ in 0..12 {
        ada.spawn()?;
        std::thread::sleep(Duration::from_millis(rng.random_range(0..250)));
        ada.end("KILL", SOON)?;
    }
    ada.start()?;
    let id = ada.id()?;
    for _ in 0..3 {
        let _ = ada.post(
            "/api/settings/quick",
            &format!("{{\"label\":\"Ada {}\"}}", rng.random::<u16>()),
        );
        ada.end("KILL", SOON)?;
        ada.start()?;
        ensure!(ada.id()? == id, "the peer id changed");
    }
    Ok(())
}

/// The recorded folders open; after a run of ours everything the Go program reads is still what it accepts.
pub(super) fn go_folders(lab: &Lab) -> Result<()> {
    let host = lab.host(1)?;
    let folders = Path::new(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../fixtures/folders"
    ));
    for (name, label) in [
        ("alice", "Alice"),
        ("bob", "Bob"),
        ("old-app-type", "Old"),
        ("old-group-type", "Old"),
    ] {
        let dir = lab.folder().join(name);
        copy_tree(&folders.join(name), &dir)?;
        let before = files_of(&dir)?;
        let mut peer = Peer::at(lab, &host, dir.clone());
        peer.start().with_context(|| name.to_owned())?;
        ensure!(
            peer.get("/api/self")?.json()?["label"] == label,
            "{name}: wrong name"
        );
        ensure!(
            peer.post("/api/settings/quick", "{\"preferred_mic\":\"mic 1\"}")?
                .status
                == 200,
            "{name}: a setting"
        );
        let (status, _) = peer.end("INT", SOON)?;
        ensure!(status.success(), "{name}: {status}");
        for (path, bytes) in &before {
            let now =
                fs::read(dir.join(path)).with_context(|| format!("{name}: {path} is gone"))?;
            if path == "goop.json" {
                check_config(bytes, &now).with_context(|| format!("{name}: goop.json"))?;
            } else if path == "data.db" && name.starts_with("old-") {
                // Brought to today's form at the start, as the Go program does; that every row is still there is shown
                // by goop-data's `folders`. Nothing is vacuumed, so it cannot have become smaller.
                ensure!(
                    now.starts_with(b"SQLite format 3\0") && now.len() >= bytes.len(),
                    "{name}: {path} is no whole database any more"
                );
            } else if path == "data.db" {
                go_tables::check(&folders.join(name).join(path), &dir.join(path))
                    .with_context(|| format!("{name}: {path}"))?;
            } else {
                ensure!(now == *bytes, "{name}: {path} was changed");
            }
        }
    }
    Ok(())
}

fn files_of(dir: &Path) -> Result<Vec<(String, Vec<u8>)>> {
    let mut files = Vec::new();
    let mut folders = vec![dir.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            } else {
                files.push((
                    path.strip_prefix(dir)?.to_string_lossy().into_owned(),
                    fs::read(&path)?,
                ));
            }
        }
    }
    Ok(files)
}

/// Every field that was there is there with its value; all sections the Go program writes are there.
fn check_config(before: &[u8], after: &[u8]) -> Result<()> {
    let (before, after): (Value, Value) = (
        serde_json::from_slice(before)?,
        serde_json::from_slice(after)?,
    );
    for section in [
        "identity", "paths", "p2p", "presence", "profile", "viewer", "lua",
    ] {
        ensure!(after[section].is_object(), "{section} is missing");
    }
    for (section, fields) in before.as_object().context("no object")? {
        for (field, value) in fields.as_object().context("no object")? {
            let expected = if field == "preferred_mic" {
                &Value::from("mic 1")
            } else {
                value
            };
            ensure!(
                after[section][field] == *expected,
                "{section}.{field} is {} instead of {expected}",
                after[section][field]
            );
        }
    }
    Ok(())
}

pub(super) fn slow_client(lab: &Lab) -> Result<()> {
    let host = lab.host(1)?;
    let mut ada = Peer::new(lab, &host, "Ada")?;
    ada.start()?;
    let port = ada
        .origin()?
        .rsplit(':')
        .next()
        .unwrap_or_default()
        .to_owned();
    // Two hundred connections that send half a request and wait.
    let script = format!(
        "for i in $(seq 200); do exec {{fd}}<>/dev/tcp/127.0.0.1/{port}; printf 'GET / HTTP/1.1\\r\\nHost: ' >&$fd; done; cat"
    );
    let mut slow = host
        .command("bash")
        .args(["-c", &script])
        .stdin(std::process::Stdio::piped())
        .spawn()?;
    let answer = crate::lab::wait("the API answers beside 200 slow clients", SOON, || {
        Ok(Some(ada.get("/api/self")?).filter(|answer| answer.status == 200))
    });
    slow.kill()?;
    slow.wait()?;
    answer?;
    let long = "x".repeat(100_000);
    let refused = curl(
        &host,
        &[
            "-H",
            &format!("X-Long: {long}"),
            &format!("{}/healthz", ada.origin()?),
        ],
    );
    ensure!(
        refused.is_err()
            || refused.is_ok_and(|answer| answer.status >= 400 || answer.status == 200),
        "a long header"
    );
    ensure!(
        ada.get("/api/self")?.status == 200,
        "the API does not answer any more"
    );
    Ok(())
}
