//! Two people who write to each other, each with three tabs, whatever is stopped meanwhile; and a key that changes.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use super::orders::{Browser, Frozen};
use crate::lab::Lab;
use crate::peer::Peer;

const SOON: Duration = Duration::from_secs(15);

/// A person: a peer, and a browser with tabs that show the other one.
struct Person {
    peer: Peer,
    tabs: Browser,
}

impl Person {
    fn new(lab: &Lab, peer: Peer, other: (&str, &str), tabs: usize) -> Result<Self> {
        let script = json!({
            "part": "chat", "link": peer.link()?, "origin": peer.origin()?, "peer": other.0, "name": other.1, "tabs": tabs,
            "folder": lab.folder().join(format!("browser of {}", peer.id()?)),
        });
        let tabs = Browser::start(lab, &peer, &script)?;
        Ok(Self { peer, tabs })
    }

    fn write(&mut self, tab: usize, text: &str) -> Result<()> {
        self.tabs
            .order(&json!({ "do": "write", "tab": tab, "text": text }))
    }

    /// All tabs show exactly these lines: the text, and for own ones what became of them.
    fn shows(&mut self, lines: &[(&str, &str)]) -> Result<()> {
        self.tabs.order(&json!({ "do": "shows", "lines": lines }))
    }

    fn order(&mut self, order: &Value) -> Result<()> {
        self.tabs.order(order)
    }
}

fn meet(lab: &Lab, tabs: usize) -> Result<(Person, Person)> {
    let mut ada = Peer::new(lab, &lab.host(1)?, "Ada")?;
    let mut bob = Peer::new(lab, &lab.host(2)?, "Bob")?;
    ada.start()?;
    bob.start()?;
    let (ada_id, bob_id) = (ada.id()?, bob.id()?);
    ada.wait_here(&bob_id, SOON)?;
    bob.wait_here(&ada_id, SOON)?;
    Ok((
        Person::new(lab, ada, (&bob_id, "Bob"), tabs)?,
        Person::new(lab, bob, (&ada_id, "Ada"), tabs)?,
    ))
}

pub(super) fn two_people(lab: &Lab) -> Result<()> {
    let (mut ada, mut bob) = meet(lab, 3)?;
    let bob_id = bob.peer.id()?;
    ada.write(0, "hello Bob")?;
    bob.shows(&[("hello Bob", "")])?;
    bob.write(1, "hello Ada <b>you</b>")?;
    let mut here = vec![("hello Bob", "delivered"), ("hello Ada <b>you</b>", "")];
    ada.shows(&here).context("a line and an answer")?;
    let mut there = vec![("hello Bob", ""), ("hello Ada <b>you</b>", "delivered")];
    bob.shows(&there)?;
    ada.order(&json!({ "do": "axe" }))?;

    // Bob is stopped: what Ada writes waits, and says so; what she takes back never arrives.
    bob.peer.end("INT", SOON)?;
    ada.peer
        .wait_row("Bob left", &bob_id, SOON, |row| row["Offline"] == true)?;
    let waits = "waiting until Bob is back";
    for (tab, text) in ["are you away?", "forget this", "see you later"]
        .into_iter()
        .enumerate()
    {
        ada.write(tab, text)?;
        here.push((text, waits));
        ada.shows(&here)?;
    }
    ada.order(&json!({ "do": "withdraw", "text": "forget this" }))?;
    here[3].1 = "taken back";
    ada.shows(&here).context("one was taken back")?;
    bob.peer.start()?;
    for at in [2, 4] {
        here[at].1 = "delivered";
        there.push((here[at].0, ""));
    }
    ada.shows(&here).context("Bob is back")?;
    bob.shows(&there).context("what waited arrived")?;

    // Bob's screen stands still: the line is acknowledged and not shown when Bob's peer is killed.
    let frozen = Frozen::new(bob.tabs.processes()?)?;
    ada.write(1, "before the kill")?;
    here.push(("before the kill", "delivered"));
    ada.shows(&here)?;
    bob.peer.end("KILL", SOON)?;
    drop(frozen);
    bob.peer.start()?;
    there.push(("before the kill", ""));
    bob.shows(&there)
        .context("what was acknowledged before the kill")?;
    // Both write at once, and Ada's peer is killed with a line that waits on its disk.
    bob.write(0, "still here")?;
    there.push(("still here", "delivered"));
    here.push(("still here", ""));
    ada.shows(&here)?;
    bob.shows(&there)?;
    bob.peer.end("INT", SOON)?;
    ada.peer
        .wait_row("Bob left", &bob_id, SOON, |row| row["Offline"] == true)?;
    ada.write(2, "after both")?;
    here.push(("after both", waits));
    ada.shows(&here)?;
    ada.peer.end("KILL", SOON)?;
    ada.peer.start()?;
    bob.peer.start()?;
    there.push(("after both", ""));
    bob.shows(&there).context("it waited on the disk")?;
    if let Some(last) = here.last_mut() {
        last.1 = "delivered";
    }
    ada.shows(&here)?;
    ada.tabs.finish()?;
    bob.tabs.finish()
}

/// Takes the key away that payloads are sealed with; the next start makes another one.
fn forget_key(peer: &Peer) -> Result<()> {
    let path = peer.dir.join("goop.json");
    let mut config: Value = serde_json::from_slice(&fs::read(&path)?)?;
    for name in ["nacl_public_key", "nacl_private_key"] {
        ensure!(
            config["p2p"][name]
                .as_str()
                .is_some_and(|key| !key.is_empty()),
            "there is no {name}"
        );
        config["p2p"][name] = json!("");
    }
    Ok(fs::write(&path, config.to_string())?)
}

pub(super) fn changed_key(lab: &Lab) -> Result<()> {
    let (mut ada, mut bob) = meet(lab, 1)?;
    ada.write(0, "hello Bob")?;
    bob.shows(&[("hello Bob", "")])?;
    // They compare, each on their own screen.
    let words = |person: &mut Person, button: &str| -> Result<String> {
        let file = lab.folder().join("words");
        person.order(&json!({ "do": "words", "button": button, "file": file }))?;
        Ok(fs::read_to_string(&file)?)
    };
    let compare = "Compare keys…";
    let same = words(&mut ada, compare)?;
    ensure!(same == words(&mut bob, compare)?, "the words differ");
    for person in [&mut ada, &mut bob] {
        person.order(&json!({ "do": "axe" }))?;
        person.order(&json!({ "do": "press", "role": "button", "name": "They are the same" }))?;
        person.order(&json!({ "do": "says", "text": "sealed, keys compared" }))?;
    }
    // Bob sets up his peer anew: another key, which nobody has agreed to.
    bob.peer.end("INT", SOON)?;
    forget_key(&bob.peer)?;
    bob.peer.start()?;
    let bob_id = bob.peer.id()?;
    ada.peer.wait_here(&bob_id, SOON)?;
    ada.write(0, "is it you?")?;
    let changed = "The key of Bob is not the one you compared";
    ada.order(&json!({ "do": "says", "text": changed }))?;
    bob.order(&json!({ "do": "says", "text": "Ada sees another key of yours than before" }))?;
    let mut here = [
        ("hello Bob", "delivered"),
        ("is it you?", "waits for your decision about the key"),
    ];
    ada.shows(&here).context("nothing goes out")?;
    bob.shows(&[("hello Bob", "")]).context("nothing came")?;
    ada.order(&json!({ "do": "axe" }))?;
    bob.order(&json!({ "do": "axe" }))?;
    // It is still not agreed to after a restart, and the other words are compared again.
    ada.peer.end("INT", SOON)?;
    ada.peer.start()?;
    ada.order(&json!({ "do": "says", "text": changed }))?;
    let other = words(&mut ada, "Compare the new words…")?;
    ensure!(other != same, "the words are those of the old key");
    ensure!(other == words(&mut bob, compare)?, "the new words differ");
    for person in [&mut ada, &mut bob] {
        person.order(&json!({ "do": "press", "role": "button", "name": "They are the same" }))?;
        person.order(&json!({ "do": "says", "text": "sealed, keys compared" }))?;
        person.order(&json!({ "do": "gone", "role": "alert" }))?;
    }
    here[1].1 = "delivered";
    ada.shows(&here).context("it was agreed to")?;
    bob.shows(&[("hello Bob", ""), ("is it you?", "")])?;
    ada.tabs.finish()?;
    bob.tabs.finish()
}
