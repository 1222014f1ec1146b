//! A browser on a host.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::json;

use crate::lab::Lab;
use crate::peer::{Peer, copy_tree, curl};

const SOON: Duration = Duration::from_secs(10);

fn pair(lab: &Lab, second: &str) -> Result<(Peer, Peer)> {
    let fixtures = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../fixtures/peers"));
    let mut ada = Peer::new(lab, &lab.host(1)?, "Ada")?;
    let dir = lab.folder().join(second);
    copy_tree(&fixtures.join(second), &dir)?;
    let mut other = Peer::at(lab, &lab.host(2)?, dir);
    ada.start()?;
    other.start()?;
    ada.wait_here(&other.id()?, SOON)?;
    Ok((ada, other))
}

/// A command that runs one part of [`crate::browser`] on Ada's host.
pub(super) fn driver(lab: &Lab, ada: &Peer, script: &serde_json::Value) -> Result<Command> {
    // A scenario may have several browsers, each with a folder of its own.
    let folder = Path::new(script["folder"].as_str().context("a folder")?);
    fs::create_dir_all(folder)?;
    let path = folder.join("script.json");
    fs::write(&path, script.to_string())?;
    let mut command = ada.host.command(std::env::current_exe()?);
    command
        .arg("--bin-dir")
        .arg(lab.bin(""))
        .arg("--drive")
        .arg(&path);
    Ok(command)
}

/// Runs such a part to its end.
pub(super) fn drive(lab: &Lab, ada: &Peer, script: &serde_json::Value) -> Result<()> {
    ensure!(
        driver(lab, ada, script)?.status()?.success(),
        "the browser found something wrong (see above)"
    );
    Ok(())
}

pub(super) fn live(lab: &Lab) -> Result<()> {
    let (ada, sample) = pair(lab, "sample")?;
    let script = json!({
        "part": "live", "link": ada.link()?, "origin": ada.origin()?, "peer": sample.id()?, "own": ada.id()?,
        "folder": lab.folder(),
    });
    drive(lab, &ada, &script)
}

pub(super) fn hostile(lab: &Lab) -> Result<()> {
    let (ada, hostile) = pair(lab, "hostile")?;
    let mut third = Peer::new(lab, &lab.host(3)?, "Hedy")?;
    third.start()?;
    ada.wait_here(&third.id()?, SOON)?;
    let script = json!({
        "part": "hostile", "link": ada.link()?, "origin": ada.origin()?, "peer": hostile.id()?, "own": ada.id()?,
        "third": third.id()?, "folder": lab.folder(),
    });
    drive(lab, &ada, &script)
}

/// A person at a desk.
pub(super) fn person(lab: &Lab) -> Result<()> {
    used(lab, "person", false)
}

/// The same person with a phone.
pub(super) fn phone(lab: &Lab) -> Result<()> {
    used(lab, "person", true)
}

/// Somebody without a mouse.
pub(super) fn keyboard(lab: &Lab) -> Result<()> {
    used(lab, "keyboard", false)
}

/// Ada with two neighbours, and a file in her site that is long enough to scroll.
fn used(lab: &Lab, part: &str, phone: bool) -> Result<()> {
    let (ada, sample) = pair(lab, "sample")?;
    let mut hedy = Peer::new(lab, &lab.host(3)?, "Hedy")?;
    hedy.start()?;
    ada.wait_here(&hedy.id()?, SOON)?;
    let lines: Vec<String> = (1..=400)
        .map(|line| format!("line number {line}"))
        .collect();
    fs::write(
        ada.dir.join("site/long.txt"),
        lines.join("\n").replace("number 321", "with the needle"),
    )?;
    let script = json!({
        "part": part, "phone": phone, "link": ada.link()?, "own": ada.id()?, "site": ada.dir.join("site"),
        "neighbour": { "host": 2, "origin": sample.origin()?, "token": sample.token()? },
        "folder": lab.folder(),
    });
    drive(lab, &ada, &script)
}

/// Components by themselves, with the styles and the policy of a real peer.
pub(super) fn components(lab: &Lab) -> Result<()> {
    let mut ada = Peer::new(lab, &lab.host(1)?, "Ada")?;
    ada.start()?;
    let head = curl(&ada.host, &["--head", &format!("{}/peers", ada.origin()?)])?.text();
    let policy = head
        .lines()
        .find_map(|line| line.strip_prefix("content-security-policy: "))
        .context("the pages have no policy")?;
    let styles = ada.get("/assets/pages.css")?;
    ensure!(styles.status == 200, "no styles: {}", styles.status);
    let script = json!({
        "part": "components", "folder": lab.folder(), "policy": policy.trim(), "styles": styles.text(),
    });
    drive(lab, &ada, &script)
}
