//! Messages between real peers: to pages that are open, to pages that come later, to people who do not keep to the rules.

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use crate::lab::{Lab, wait};
use crate::peer::Peer;

/// Long enough for a busy machine, short enough to fail.
const SOON: Duration = Duration::from_secs(10);

/// A page that follows events: curl that writes to a file.
struct Page {
    curl: Child,
    file: PathBuf,
}

impl Drop for Page {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.curl.kill();
        let _ = self.curl.wait();
    }
}

impl Page {
    fn open(lab: &Lab, peer: &Peer, name: &str, query: &str) -> Result<Self> {
        let file = lab.folder().join(name);
        let curl = peer
            .host
            .command("curl")
            .args(["--silent", "--no-buffer", "--header"])
            .arg(format!("Authorization: Bearer {}", peer.token()?))
            .arg(format!("{}/api/mq/events{query}", peer.origin()?))
            .stdout(File::create(&file)?)
            .stderr(Stdio::null())
            .spawn()
            .context("`curl` is missing: apt-get install curl")?;
        let page = Self { curl, file };
        page.wait("event: connected")?;
        Ok(page)
    }

    fn text(&self) -> String {
        fs::read_to_string(&self.file).unwrap_or_default()
    }

    fn wait(&self, text: &str) -> Result<()> {
        let seen = || Ok(self.text().contains(text).then_some(()));
        wait("a page sees it", SOON, seen)
            .with_context(|| format!("{text:?} is not in:\n{}", self.text()))
    }
}

fn send(from: &Peer, to: &str, topic: &str, payload: &Value) -> Result<(u16, String)> {
    let body = json!({ "peer_id": to, "topic": topic, "payload": payload }).to_string();
    let answer = from.post("/api/mq/send", &body)?;
    Ok((answer.status, answer.text()))
}

pub(super) fn between_peers(lab: &Lab) -> Result<()> {
    let mut ada = Peer::new(lab, &lab.host(1)?, "Ada")?;
    let mut bob = Peer::new(lab, &lab.host(2)?, "Bob")?;
    ada.start()?;
    bob.start()?;
    let (ada_id, bob_id) = (ada.id()?, bob.id()?);
    ada.wait_here(&bob_id, SOON)?;
    bob.wait_here(&ada_id, SOON)?;
    let (status, text) = send(
        &ada,
        &bob_id,
        "chat",
        &json!({ "content": "before any page" }),
    )?;
    ensure!(
        status == 200 && text.contains("delivered"),
        "{status} {text}"
    );
    let first = Page::open(lab, &bob, "first.events", "")?;
    first.wait("before any page")?;
    let second = Page::open(lab, &bob, "second.events", "")?;
    // Keys: asked for once, known to both, and from then on payloads are sealed.
    send(&ada, &bob_id, "identity", &Value::Null)?;
    let key = |of: &Peer, peer: &str| -> Result<Value> {
        of.get(&format!("/api/mq/key?peer_id={peer}"))?.json()
    };
    for (of, peer) in [(&ada, &bob_id), (&bob, &ada_id)] {
        wait("keys are known", SOON, || {
            Ok((key(of, peer)?["key"] != "").then_some(()))
        })?;
    }
    ensure!(
        key(&ada, &bob_id)?["words"] == key(&bob, &ada_id)?["words"],
        "two people see different words"
    );
    let log = Page::open(lab, &bob, "log.events", "?topics=log:*")?;
    send(&ada, &bob_id, "chat", &json!({ "content": "sealed" }))?;
    log.wait("\"encrypted\":true")?;
    let many: Result<Vec<_>> = (0..20)
        .map(|n| send(&ada, &bob_id, "x:count", &json!({ "n": n })))
        .collect();
    ensure!(
        many?.iter().all(|(status, _)| *status == 200),
        "one of twenty was not delivered"
    );
    for page in [&first, &second] {
        page.wait("{\"n\":19}")?;
        let text = page.text();
        let at: Vec<Option<usize>> = (0..20)
            .map(|n| text.find(&format!("{{\"n\":{n}}}")))
            .collect();
        ensure!(
            at.is_sorted() && at[0].is_some(),
            "a page missed one, or saw another order:\n{text}"
        );
        ensure!(
            text.matches("\"sealed\"").count() == 1,
            "once, not more or less:\n{text}"
        );
    }
    let (status, text) = send(&ada, &bob_id, "peer:gone", &json!({ "peerID": ada_id }))?;
    ensure!(
        status == 400,
        "a topic of its own left a peer: {status} {text}"
    );
    // Killed and back: the keys are still those that were seen, and the other one is told of ours again.
    bob.end("KILL", SOON)?;
    let (status, text) = send(&ada, &bob_id, "chat", &json!({ "content": "to nobody" }))?;
    ensure!(
        status == 504 && text.starts_with("send failed: mq: "),
        "{status} {text}"
    );
    let known = key(&ada, &bob_id)?["key"].clone();
    ada.end("INT", SOON)?;
    ada.start()?;
    bob.start()?;
    ada.wait_here(&bob_id, SOON)?;
    ensure!(key(&ada, &bob_id)?["key"] == known, "the key was forgotten");
    let (status, text) = send(&ada, &bob_id, "chat", &json!({ "content": "back again" }))?;
    ensure!(status == 200, "{status} {text}");
    Page::open(lab, &bob, "third.events", "")?.wait("back again")
}
