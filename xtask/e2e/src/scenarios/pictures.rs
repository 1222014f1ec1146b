//! Who is there when pictures are taken.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::json;

use super::pages::drive;
use crate::lab::Lab;
use crate::peer::{Peer, copy_tree};

const SOON: Duration = Duration::from_secs(20);
/// Who is silent counts as there for this long, in seconds: longer than the pictures take.
const TTL: u32 = 3_600;

/// The neighbours: name, e-mail, and a sentence of their site.
const NEIGHBOURS: [(&str, &str, &str); 4] = [
    ("Hedy's frequencies", "hedy@example.org", "Hop with me"),
    ("Grace", "", "Moths found: one"),
    (
        "Radio Marconi",
        "tower@example.net",
        "On the air while I am awake",
    ),
    ("Tesla's workshop", "", "Mind the coil"),
];

/// A folder with the sample's site under another name.
fn folder(lab: &Lab, folder: &str, config: &serde_json::Value) -> Result<std::path::PathBuf> {
    let sample = Path::new(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../fixtures/peers/sample/site"
    ));
    let dir = lab.folder().join(folder);
    copy_tree(sample, &dir.join("site"))?;
    fs::write(dir.join("goop.json"), config.to_string())?;
    Ok(dir)
}

/// What people wrote: to one long enough to scroll, to others a line or two.
fn conversations(ada: &Peer, others: &[Peer], ids: &[String]) -> Result<()> {
    let own = ada.id()?;
    let say = |from: &Peer, to: &str, text: &str| -> Result<()> {
        let body = json!({ "peer_id": to, "content": text }).to_string();
        from.post("/api/chat/send", &body).map(drop)
    };
    let sample = &others[0];
    for number in 1..=12 {
        say(
            sample,
            &own,
            &format!("Chapter {number} of my story is on my site now."),
        )?;
        say(
            ada,
            &ids[0],
            "I will read it tonight, when the machine has cooled down.",
        )?;
    }
    say(
        sample,
        &own,
        "The drawings are at https://example.org/engine?plate=7 (they are large).",
    )?;
    say(ada, &ids[0], "🎉")?;
    say(
        ada,
        &ids[0],
        "Thank you!\nThe second plate shows the mill from above, doesn't it? I ask because its wheels turn the other way round in my notes, \
         and one of us must be wrong.",
    )?;
    say(sample, &own, "It is me. <b>Sorry</b>.")?;
    say(&others[1], &own, "Shall we hop to another channel?")?;
    say(&others[2], &own, "I found a moth.")
}

/// Every page, alone and among others.
pub(super) fn every_page(lab: &Lab) -> Result<()> {
    let shots = lab.shots().context("no folder for pictures")?;
    let host = lab.host(1)?;
    let mut newcomer = Peer::at(lab, &host, folder(lab, "newcomer", &json!({}))?);
    newcomer.start()?;
    let script = json!({
        "part": "pictures alone", "link": newcomer.link()?, "origin": newcomer.origin()?, "shots": shots,
        "folder": lab.folder(),
    });
    drive(lab, &newcomer, &script)?;
    newcomer.end("TERM", SOON)?;

    let config = json!({
        "profile": { "label": "Ada Lovelace", "email": "ada@example.org" },
        "presence": { "ttl_seconds": TTL },
    });
    let mut ada = Peer::at(lab, &host, folder(lab, "ada", &config)?);
    ada.start()?;
    super::database::fill(lab, &ada, 2_000)?;
    let sample = json!({ "profile": { "label": "Sample peer" } });
    let dir = folder(lab, "sample", &sample)?;
    let fixture = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../fixtures/peers/sample/avatar.png"
    );
    fs::copy(fixture, dir.join("avatar.png"))?;
    let mut others = vec![Peer::at(lab, &lab.host(2)?, dir)];
    for ((name, email, says), number) in NEIGHBOURS.into_iter().zip(3..) {
        let peer = Peer::new(lab, &lab.host(number)?, &format!("other-{number}"))?;
        let config = json!({ "profile": { "label": name, "email": email } });
        fs::write(peer.dir.join("goop.json"), config.to_string())?;
        let site = format!("<!doctype html><title>{name}</title><h1>{says}</h1>");
        fs::write(peer.dir.join("site/index.html"), site)?;
        others.push(peer);
    }
    let mut ids = Vec::new();
    for peer in &mut others {
        peer.start()?;
        let id = peer.id()?;
        ada.wait_here(&id, SOON)?;
        ids.push(id);
    }
    for favorite in [&ids[2], &ids[3]] {
        let body = json!({ "peer_id": favorite, "favorite": true }).to_string();
        ada.post("/api/peers/favorite", &body)?;
    }
    conversations(&ada, &others, &ids)?;
    // One left, one does not answer any more.
    others[3].end("TERM", SOON)?;
    ada.wait_row("one left", &ids[3], SOON, |row| row["Offline"] == true)?;
    others[4].signal("STOP")?;
    ada.post("/api/peers/probe", "{}")?;
    ada.wait_row("one is silent", &ids[4], SOON, |row| {
        row["Offline"] == false && row["Reachable"] == false
    })?;
    let waits = json!({ "peer_id": ids[3], "content": "Are you on the air tonight?" }).to_string();
    ada.post("/api/chat/send", &waits)?;
    let script = json!({
        "part": "pictures", "away": ids[3], "link": ada.link()?, "origin": ada.origin()?, "shots": shots, "folder": lab.folder(),
        "sample": ids[0], "quiet": ids[4], "site": ada.dir.join("site"), "process": ada.process()?,
    });
    drive(lab, &ada, &script)
}
