//! A conversation while the disk of one side is full: what cannot be kept is neither sent nor acknowledged, and says so.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use super::bad_input::fill;
use crate::lab::{Lab, Mount, wait};
use crate::peer::Peer;

const SOON: Duration = Duration::from_secs(15);
/// Bytes of a line: a few of them fill what the database has set aside.
const LONG: usize = 4 * 1024;
/// Lines that are written at most until one does not fit.
const LINES: usize = 100;

fn line(mark: &str) -> String {
    format!("{mark} {}", "x".repeat(LONG))
}

/// Writes a line; gives the status, and the state or what went wrong.
fn write(lab: &Lab, from: &Peer, to: &str, text: &str) -> Result<(u16, String)> {
    let file = lab.folder().join("line.json");
    let body = json!({ "peer_id": to, "content": text });
    fs::write(&file, body.to_string())?;
    let answer = from.post("/api/chat/send", &format!("@{}", file.display()))?;
    let said = match answer.json() {
        Ok(said) if answer.status == 200 => said["state"].as_str().unwrap_or_default().to_owned(),
        _ => answer.text(),
    };
    Ok((answer.status, said))
}

/// The first words of the lines of a conversation, and what became of each.
fn lines(of: &Peer, with: &str) -> Result<Vec<(String, String)>> {
    let all = of.get(&format!("/api/chat/lines?peer_id={with}"))?.json()?;
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let mark = |line: &Value| text(line).split(' ').next().unwrap_or_default().to_owned();
    let lines = all["lines"].as_array().context("lines")?.iter();
    Ok(lines
        .map(|line| (mark(&line["content"]), text(&line["state"])))
        .collect())
}

pub(super) fn full_chat(lab: &Lab) -> Result<()> {
    let _disk = Mount::small(&lab.folder().join("Ada"))?;
    let mut ada = Peer::new(lab, &lab.host(1)?, "Ada")?;
    let mut grace = Peer::new(lab, &lab.host(2)?, "Grace")?;
    ada.start()?;
    grace.start()?;
    let (ada_id, grace_id) = (ada.id()?, grace.id()?);
    ada.wait_here(&grace_id, SOON)?;
    grace.wait_here(&ada_id, SOON)?;
    let process = ada.process()?;
    fill(&ada.dir)?;
    // Ada's own lines, until one does not fit: that one is refused, and did not go out.
    let mut sent = Vec::new();
    let refused = loop {
        ensure!(sent.len() < LINES, "the disk is not full");
        let mark = format!("ada-{}", sent.len());
        let (status, said) = write(lab, &ada, &grace_id, &line(&mark))?;
        if status != 200 {
            ensure!(
                status == 500 && said.contains("cannot be kept"),
                "{status} {said}"
            );
            break mark;
        }
        sent.push(mark);
    };
    // Grace's line is not acknowledged by who cannot keep it: it waits with her.
    let mut taken = 0;
    loop {
        ensure!(taken < LINES, "the disk is not full");
        let (status, said) = write(lab, &grace, &ada_id, &line(&format!("grace-{taken}")))?;
        ensure!(status == 200, "{status} {said}");
        if said == "waiting" {
            break;
        }
        ensure!(said == "delivered", "{said}");
        taken += 1;
    }
    let heard = lines(&grace, &ada_id)?;
    ensure!(
        !heard.iter().any(|(mark, _)| *mark == refused),
        "what was refused went out: {heard:?}"
    );
    ensure!(ada.process()? == process, "it does not serve on");

    // There is room again: Ada writes on, and when Grace is back her line arrives, once.
    fs::remove_file(ada.dir.join("filler"))?;
    let (status, said) = write(lab, &ada, &grace_id, "with-room")?;
    ensure!((status, &*said) == (200, "delivered"), "{status} {said}");
    grace.end("INT", SOON)?;
    ada.wait_row("Grace left", &grace_id, SOON, |row| row["Offline"] == true)?;
    grace.start()?;
    wait("what waited arrives", SOON * 2, || {
        let all = lines(&ada, &grace_id)?;
        let of_grace = all.iter().filter(|(_, state)| state == "received");
        Ok((of_grace.count() == taken + 1).then_some(()))
    })?;
    let mut marks: Vec<String> = lines(&ada, &grace_id)?
        .into_iter()
        .map(|(mark, _)| mark)
        .collect();
    let all = marks.len();
    marks.sort();
    marks.dedup();
    ensure!(marks.len() == all, "a line is there twice: {marks:?}");
    ensure!(!marks.contains(&refused), "what was refused is in the log");
    let delivered = lines(&grace, &ada_id)?;
    ensure!(
        delivered
            .iter()
            .all(|(_, state)| matches!(&**state, "delivered" | "received")),
        "{delivered:?}"
    );
    for mark in sent {
        ensure!(
            delivered.iter().any(|(heard, _)| *heard == mark),
            "{mark} was lost"
        );
    }
    Ok(())
}
