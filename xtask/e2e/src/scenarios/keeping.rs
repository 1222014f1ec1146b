//! What a person has stays: over a restart, an import that is killed, a backup.

use std::fs;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rand::{RngExt, SeedableRng};

use crate::lab::{Lab, wait};
use crate::peer::{Peer, curl};

const SOON: Duration = Duration::from_secs(10);

/// A setting that counts after a restart: the owner restarts the peer from the pages and stays signed in.
pub(super) fn restart(lab: &Lab) -> Result<()> {
    let mut ada = Peer::new(lab, &lab.host(1)?, "Ada")?;
    ada.start()?;
    let (id, origin, jar) = (ada.id()?, ada.origin()?, lab.folder().join("jar"));
    let jar = jar.to_string_lossy().into_owned();
    curl(&ada.host, &["-c", &jar, &ada.link()?])?;
    let changed = ada.post("/api/settings", "{\"p2p\":{\"listen_port\":4711}}")?;
    ensure!(
        changed.json()?["restart"][0] == "p2p.listen_port",
        "{}",
        changed.text()
    );
    ensure!(
        ada.post("/api/restart", "{}")?.status == 202,
        "the restart was refused"
    );
    wait("the peer is back", SOON, || {
        Ok((ada.log().matches("Open this").count() == 2).then_some(()))
    })?;
    wait(
        "its pages answer where they were, and know the owner",
        SOON,
        || {
            let answer = curl(&ada.host, &["-b", &jar, &format!("{origin}/api/self")])?;
            Ok((answer.status == 200 && answer.json()?["id"] == id).then_some(()))
        },
    )?;
    let settings = ada.get("/api/settings")?.json()?;
    ensure!(
        settings["sections"]["p2p"]["listen_port"] == 4711,
        "the setting was lost"
    );
    let listening = ada
        .host
        .command("ss")
        .args(["-ltnH", "sport", "=", ":4711"])
        .output()?;
    ensure!(
        !listening.stdout.is_empty(),
        "nobody listens on the new port"
    );
    ada.end("INT", SOON).map(drop)
}

/// However an import is killed, the site is the old one or the new one, and whole.
pub(super) fn killed_import(lab: &Lab) -> Result<()> {
    const FILES: usize = 300;
    let seed = std::env::var("GOOP_SEED")
        .ok()
        .and_then(|seed| seed.parse().ok())
        .unwrap_or_else(rand::random);
    println!("        seed {seed} (GOOP_SEED={seed} repeats it)");
    let mut rng = rand::rngs::StdRng::seed_from_u64(seed);
    let mut ada = Peer::new(lab, &lab.host(1)?, "Ada")?;
    let site = ada.dir.join("site");
    let write = |word: &str| -> Result<()> {
        for n in 0..FILES {
            fs::write(site.join(format!("{n}.txt")), word)?;
        }
        Ok(())
    };
    write("new")?;
    ada.start()?;
    let zip = lab.folder().join("new.zip");
    fs::write(&zip, ada.get("/api/site/export")?.body)?;
    for _ in 0..8 {
        write("old")?;
        let file = format!("file=@{}", zip.display());
        let auth = format!("Authorization: Bearer {}", ada.token()?);
        let url = format!("{}/api/site/import", ada.origin()?);
        let mut import = ada
            .host
            .command("curl")
            .args([
                "--silent",
                "--output",
                "/dev/null",
                "-H",
                &auth,
                "-F",
                &file,
                &url,
            ])
            .spawn()?;
        std::thread::sleep(Duration::from_millis(rng.random_range(0..120)));
        ada.end("KILL", SOON)?;
        import.wait()?;
        ada.start()?;
        let words: Vec<String> = (0..FILES)
            .map(|n| {
                fs::read_to_string(site.join(format!("{n}.txt")))
                    .with_context(|| format!("{n}.txt is gone"))
            })
            .collect::<Result<_>>()?;
        let new = words.iter().filter(|word| *word == "new").count();
        ensure!(new == 0 || new == FILES, "{new} of {FILES} files are new");
        ensure!(
            words.iter().all(|word| word == "new" || word == "old"),
            "half a file"
        );
        ensure!(site.join("index.html").exists(), "the front page is gone");
    }
    Ok(())
}

/// A backup of a running peer becomes the same peer elsewhere with the keys, and another one without.
pub(super) fn backup(lab: &Lab) -> Result<()> {
    let mut ada = Peer::new(lab, &lab.host(1)?, "Ada")?;
    ada.start()?;
    let id = ada.id()?;
    for (keys, same) in [(true, true), (false, false)] {
        let (file, dir) = (
            lab.folder().join(format!("{keys}.zip")),
            lab.folder().join(format!("copy-{keys}")),
        );
        let mut command = Command::new(lab.bin("goop2"));
        command
            .arg("backup")
            .args(keys.then_some("--keys"))
            .arg(&ada.dir)
            .arg(&file);
        let done = command.output()?;
        ensure!(
            done.status.success(),
            "{}",
            String::from_utf8_lossy(&done.stderr)
        );
        let done = Command::new(lab.bin("goop2"))
            .arg("restore")
            .arg(&file)
            .arg(&dir)
            .output()?;
        ensure!(
            done.status.success(),
            "{}",
            String::from_utf8_lossy(&done.stderr)
        );
        let mut copy = Peer::at(lab, &lab.host(if keys { 2 } else { 3 })?, dir);
        copy.start()?;
        ensure!(
            (copy.id()? == id) == same,
            "with keys {keys} it is {}",
            copy.id()?
        );
        let own = copy.id()?;
        ensure!(
            copy.visit(&own, "", &[])?.text().contains("Hello from Ada"),
            "the site is missing"
        );
        copy.end("INT", SOON)?;
    }
    Ok(())
}
