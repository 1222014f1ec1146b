//! Messages between real peers: to pages that are open, to pages that come later, to people who do not keep to the rules.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Lines, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use goop_identity::seal::{self, NaclKeys, NaclPublic};
use serde_json::{Value, json};

use crate::lab::{Host, Lab, wait};
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

pub(super) fn send(from: &Peer, to: &str, topic: &str, payload: &Value) -> Result<(u16, String)> {
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

pub(super) fn command_line(lab: &Lab) -> Result<()> {
    let mut ada = Peer::new(lab, &lab.host(1)?, "Ada")?;
    let mut bob = Peer::new(lab, &lab.host(2)?, "Bob")?;
    let goop2 = |peer: &Peer, args: &[&str]| -> Result<(bool, String, String)> {
        let mut command = peer.host.command(lab.bin("goop2"));
        let output = command
            .arg(args[0])
            .arg(&peer.dir)
            .args(&args[1..])
            .output()?;
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        Ok((
            output.status.success(),
            text(output.stdout),
            text(output.stderr),
        ))
    };
    let (fine, _, said) = goop2(&ada, &["send", "Bob", "hello"])?;
    ensure!(
        !fine && said.contains("does the peer run?"),
        "not running: {said}"
    );
    ada.start()?;
    bob.start()?;
    let (ada_id, bob_id) = (ada.id()?, bob.id()?);
    ada.wait_here(&bob_id, SOON)?;
    bob.wait_here(&ada_id, SOON)?;
    let file = lab.folder().join("listened");
    let listening = bob
        .host
        .command(lab.bin("goop2"))
        .arg("listen")
        .arg(&bob.dir)
        .arg("chat,x:*")
        .stdout(File::create(&file)?)
        .spawn()?;
    let mut listening = Page {
        curl: listening,
        file,
    };
    // It listens as soon as something of this arrives.
    wait("the listener listens", SOON, || {
        send(&ada, &bob_id, "x:ping", &json!(1))?;
        Ok(listening.text().contains("x:ping").then_some(()))
    })?;
    let (fine, said, wrong) = goop2(&ada, &["send", "bob", "two words"])?;
    ensure!(fine && said == "delivered\n", "{said}{wrong}");
    listening.wait("two words")?;
    let mut piped = ada
        .host
        .command(lab.bin("goop2"))
        .arg("send")
        .arg(&ada.dir)
        .arg(&bob_id)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()?;
    piped
        .stdin
        .take()
        .context("no input")?
        .write_all(b"from a pipe\n")?;
    ensure!(piped.wait()?.success(), "what was piped was not sent");
    listening.wait("from a pipe\"")?;
    let lines = listening.text();
    for line in lines.lines() {
        let event: Value = serde_json::from_str(line).with_context(|| line.to_owned())?;
        ensure!(event["from"] == *ada_id, "from somebody else: {line}");
    }
    for (who, what) in [("Nobody", "nobody called"), ("", "nobody called")] {
        let (fine, _, wrong) = goop2(&ada, &["send", who, "hello"])?;
        ensure!(!fine && wrong.contains(what), "{who}: {wrong}");
    }
    let (fine, _, wrong) = goop2(&ada, &["send", &bob_id, ""])?;
    ensure!(!fine && wrong.contains("empty"), "{wrong}");
    // Who is away gets it later; the listener of a peer that ends says so.
    bob.end("INT", SOON)?;
    let ended = wait("the listener ends", SOON, || {
        Ok(listening.curl.try_wait()?)
    })?;
    ensure!(ended.code() == Some(1), "it ended with {ended}");
    ada.wait_row("Bob left", &bob_id, SOON, |row| row["Offline"] == true)?;
    let (fine, said, wrong) = goop2(&ada, &["send", &bob_id, "later"])?;
    ensure!(fine && said.starts_with("waiting"), "{said}{wrong}");
    bob.start()?;
    wait("what waited arrives", SOON * 3, || {
        let lines = bob
            .get(&format!("/api/chat/lines?peer_id={ada_id}"))?
            .json()?;
        let last = &lines["lines"].as_array().context("lines")?.last();
        Ok(last
            .is_some_and(|line| line["content"] == "later")
            .then_some(()))
    })
}

/// A peer that keeps to no rules, on a host of its own.
pub(super) struct Attacker {
    child: Child,
    orders: ChildStdin,
    answers: Lines<BufReader<ChildStdout>>,
    pub(super) id: String,
    heard: PathBuf,
}

impl Drop for Attacker {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Attacker {
    pub(super) fn start(lab: &Lab, host: &Host, victim: &Peer) -> Result<Self> {
        let config: Value = serde_json::from_slice(&fs::read(victim.dir.join("goop.json"))?)?;
        let heard = lab.folder().join("heard");
        let script = json!({
            "peer": victim.id()?, "heard": heard, "tag": config["p2p"]["mdns_tag"], "topic": config["presence"]["topic"],
        });
        let path = lab.folder().join("attack.json");
        fs::write(&path, script.to_string())?;
        let mut child = host
            .command(std::env::current_exe()?)
            .arg("--bin-dir")
            .arg(lab.bin(""))
            .arg("--attack")
            .arg(&path)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let orders = child.stdin.take().context("no orders")?;
        let mut answers = BufReader::new(child.stdout.take().context("no answers")?).lines();
        let id = answers.next().context("the attacker did not start")??;
        Ok(Self {
            child,
            orders,
            answers,
            id,
            heard,
        })
    }

    /// Begins to send as much as it can, for so many seconds.
    pub(super) fn flood(&mut self, seconds: u64) -> Result<()> {
        Ok(writeln!(self.orders, "{}", json!({ "flood": seconds }))?)
    }

    /// Waits for the end of the flood; gives how many messages were acknowledged, and how many were not.
    pub(super) fn flooded(&mut self) -> Result<(u64, u64)> {
        let counted = self.answers.next().context("the attacker ended")??;
        let counted: Value = serde_json::from_str(&counted)?;
        let number = |name: &str| counted[name].as_u64().context("a number");
        Ok((number("taken")?, number("refused")?))
    }

    /// Says texts, one stream each, and gives which were acknowledged.
    pub(super) fn say(&mut self, texts: &[String]) -> Result<Vec<bool>> {
        writeln!(self.orders, "{}", json!(texts))?;
        let answers = self.answers.next().context("the attacker ended")??;
        let answers: Vec<Option<String>> = serde_json::from_str(&answers)?;
        let is_ack =
            |line: &Option<String>| line.as_ref().is_some_and(|line| line.contains("\"ack\""));
        Ok(answers.iter().map(is_ack).collect())
    }
}

/// A message as it is on the wire.
pub(super) fn raw(id: &str, topic: &str, payload: &Value) -> String {
    let message = json!({ "type": "msg", "id": id, "seq": 1, "topic": topic, "payload": payload });
    format!("{message}\n")
}

pub(super) fn attacks(lab: &Lab) -> Result<()> {
    let mut bob = Peer::new(lab, &lab.host(1)?, "Bob")?;
    bob.start()?;
    let process = bob.process()?;
    let page = Page::open(lab, &bob, "bob.events", "")?;
    let mut mallory = Attacker::start(lab, &lab.host(2)?, &bob)?;
    let here = mallory.id.clone();
    bob.wait_here(&here, SOON * 2)?;

    // Ids of every length (mq.md W1). Those that make sense are taken.
    let ids = [
        "",
        "1",
        "1234567",
        &"i".repeat(128),
        &"i".repeat(1_000_000),
        "\u{0}",
    ];
    let said: Vec<String> = ids.iter().map(|id| raw(id, "x:id", &json!("id"))).collect();
    let taken = mallory.say(&said)?;
    ensure!(
        taken == [false, true, true, true, false, false],
        "ids: {taken:?}"
    );
    // Topics that a peer tells its own pages (W2), and such as make no sense.
    let topics = [
        "peer:announce",
        "peer:gone",
        "relay:status",
        "log:mq",
        "log:call",
        "listen:g:state",
        "call:loopback:x",
        "mq:key",
        "mq:chat",
        "",
        "group::msg",
        "group:g:",
        &"t".repeat(300),
    ];
    let forged = json!({ "peerID": here, "content": "forged", "status": "lost" });
    let said: Vec<String> = topics
        .iter()
        .enumerate()
        .map(|(n, topic)| raw(&format!("forged-{n}"), topic, &forged))
        .collect();
    mallory.say(&said)?;
    // What is no message, too deep, too large a number, or sealed by nobody.
    let deep = format!(
        "{{\"type\":\"msg\",\"id\":\"deep-one\",\"seq\":1,\"topic\":\"x:deep\",\"payload\":{}{}}}\n",
        "[".repeat(200_000),
        "]".repeat(200_000)
    );
    let taken = mallory.say(&[
        "{".into(),
        "[]\n".into(),
        "\u{0}\u{1}\n".into(),
        deep,
        "{\"type\":\"msg\",\"id\":\"large-seq\",\"seq\":1e400,\"topic\":\"x:n\",\"payload\":1}\n"
            .into(),
        raw("sealed-0", "chat", &json!({ "enc": "" })),
        raw("sealed-1", "chat", &json!({ "enc": "AAAA" })),
        raw("sealed-2", "chat", &json!({ "enc": "A".repeat(400) })),
    ])?;
    ensure!(!taken.contains(&true), "something was taken: {taken:?}");
    // Who says somebody else's name is still who the connection says; once is once.
    let pretended = format!(
        "{{\"type\":\"msg\",\"id\":\"pretended\",\"seq\":1,\"topic\":\"chat\",\"payload\":{{\"content\":\"pretended\"}},\"from\":\"{}\"}}\n",
        bob.id()?
    );
    let taken = mallory.say(&[pretended.clone(), pretended])?;
    ensure!(taken == [true, true], "{taken:?}");
    page.wait("pretended\"")?;
    let seen = page.text();
    ensure!(
        !seen.contains("forged"),
        "a forged topic reached a page:\n{seen}"
    );
    let line = seen
        .lines()
        .find(|line| line.contains("\"content\":\"pretended\""))
        .context("no line")?;
    ensure!(line.contains(&format!("\"from\":\"{here}\"")), "{line}");
    ensure!(
        seen.matches("\"content\":\"pretended\"").count() == 1,
        "it came twice"
    );

    downgrade(&bob, &page, &mut mallory)?;
    ensure!(
        bob.process()? == process && bob.get("/api/self")?.status == 200,
        "it does not serve on"
    );
    Ok(())
}

/// Whoever has sealed once is not believed plain text without a word, and never gets any (mq.md W18).
fn downgrade(bob: &Peer, page: &Page, mallory: &mut Attacker) -> Result<()> {
    let config: Value = serde_json::from_slice(&fs::read(bob.dir.join("goop.json"))?)?;
    let of_bob = config["p2p"]["nacl_public_key"]
        .as_str()
        .context("Bob's key")?;
    let of_bob = NaclPublic::from_base64(of_bob)?;
    let own = NaclKeys::generate();
    let identity = |key: &str| json!({ "peerID": "", "content": "Mallory", "publicKey": key, "encryptionSupported": !key.is_empty(), "reachable": true });
    let sealed = |id: &str, text: &str| {
        let plain = json!({ "content": text }).to_string();
        raw(
            id,
            "chat",
            &json!({ "enc": seal::seal(plain.as_bytes(), &own.secret, &of_bob) }),
        )
    };
    let taken = mallory.say(&[
        raw(
            "identity-1",
            "identity.response",
            &identity(&own.public.to_base64()),
        ),
        sealed("sealed-right", "sealed"),
        raw("plain-after", "chat", &json!({ "content": "plain" })),
        // "I have no key any more."
        raw("identity-2", "identity.response", &identity("")),
    ])?;
    ensure!(taken == [true; 4], "{taken:?}");
    page.wait("\"content\":\"sealed\"")?;
    page.wait("\"event\":\"plain\"")
        .context("the person is told that it came unsealed")?;
    let id = mallory.id.clone();
    let (status, text) = send(bob, &id, "chat", &json!({ "content": "to you alone" }))?;
    ensure!(status == 200, "{status} {text}");
    let heard = fs::read_to_string(&mallory.heard)?;
    let line = heard
        .lines()
        .find(|line| line.contains("\"topic\":\"chat\""))
        .context("nothing came")?;
    ensure!(
        line.contains("\"enc\":") && !heard.contains("to you alone"),
        "it went out readable: {line}"
    );
    Ok(())
}
