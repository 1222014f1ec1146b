//! A folder that runs a rendezvous server and nothing else, and the pages of its owner (rendezvous.md 20).

use std::fs;
use std::io::Read;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use super::pages::drive;
use crate::lab::{Host, Lab, Mount, wait};
use crate::peer::{Peer, curl, tail};

const SOON: Duration = Duration::from_secs(15);
/// Where the pages are, and where the server is.
const PAGES: u16 = 8090;
const PORT: u16 = 8787;
const EVIL: &str = "<img src=x onerror=document.title='owned'>";
const PASSWORD: &str = "open sesame";

/// A folder that asks for a server and nothing else.
fn folder(lab: &Lab, host: &Host, name: &str, viewer: &Value) -> Result<Peer> {
    let dir = lab.folder().join(name.to_lowercase().replace(' ', "-"));
    fs::create_dir_all(&dir)?;
    let config = json!({
        "profile": { "label": name },
        "presence": {
            "rendezvous_host": true, "rendezvous_only": true, "rendezvous_port": PORT, "relay_port": 4001,
            "admin_password": PASSWORD,
        },
        "viewer": viewer,
    });
    fs::write(dir.join("goop.json"), config.to_string())?;
    Ok(Peer::at(lab, host, dir))
}

/// A peer on the same host that meets others over the server.
fn guest(lab: &Lab, host: &Host, name: &str) -> Result<Peer> {
    let server = json!({ "rendezvous_wan": format!("http://127.0.0.1:{PORT}") });
    let mut peer = Peer::with(lab, host, name, &server)?;
    peer.start()?;
    Ok(peer)
}

fn config_of(peer: &Peer) -> Result<Value> {
    let text = fs::read(peer.dir.join("goop.json"))?;
    serde_json::from_slice(&text).context("goop.json")
}

/// The sealing keys in `goop.json`.
fn keys_of(peer: &Peer) -> Result<(String, String)> {
    let config = config_of(peer)?;
    let key = |name: &str| {
        let key = config["p2p"][name].as_str().unwrap_or_default().to_owned();
        ensure!(!key.is_empty(), "there is no {name}");
        Ok(key)
    };
    Ok((key("nacl_public_key")?, key("nacl_private_key")?))
}

/// Who is at the server, by name.
fn wait_listed(server: &Peer, name: &str) -> Result<Value> {
    wait(&format!("the topology lists {name}"), SOON, || {
        let topology = server.get("/api/topology")?.json()?;
        let peers = topology["peers"].as_array().context("no list")?;
        let found = peers.iter().find(|peer| peer["label"] == name);
        Ok(found.cloned())
    })
}

/// What the owner gets with the printed link, and what others get.
pub(super) fn pages(lab: &Lab) -> Result<()> {
    let host = lab.host(1)?;
    // An address that would be everybody's: others do not reach these pages all the same.
    let mut server = folder(
        lab,
        &host,
        "Meeting point",
        &json!({ "http_addr": "0.0.0.0:8090" }),
    )?;
    server.start()?;
    let origin = server.origin()?;
    ensure!(
        origin == format!("http://127.0.0.1:{PAGES}"),
        "the pages are at {origin}"
    );
    for path in [
        "/self",
        "/logs",
        "/topology",
        "/",
        "/healthz",
        "/assets/pages.css",
    ] {
        let answer = curl(&host, &[&format!("{origin}{path}")])?;
        ensure!(
            matches!(answer.status, 200 | 302),
            "{path} {}",
            answer.text()
        );
    }
    for path in [
        "/api/settings",
        "/api/logs",
        "/api/topology",
        "/api/mq/events",
    ] {
        let answer = curl(&host, &[&format!("{origin}{path}")])?;
        ensure!(answer.status == 401, "{path} {}", answer.status);
    }
    let jar = lab.folder().join("jar").to_string_lossy().into_owned();
    let link = server.link()?;
    let start = curl(&host, &["-c", &jar, &link])?;
    ensure!(
        start.location.ends_with("/self"),
        "it led to {}",
        start.location
    );
    let as_owner = |path: &str| curl(&host, &["-b", &jar, &format!("{origin}{path}")]);
    ensure!(as_owner("/api/settings")?.status == 200, "not signed in");
    ensure!(
        curl(&host, &[&link])?.status == 401,
        "the link worked a second time"
    );
    ensure!(as_owner("/healthz")?.text() == "ok", "not ok");
    ensure!(
        as_owner("/")?.location.ends_with("/self"),
        "/ leads elsewhere"
    );
    for path in [
        "/peers",
        "/edit",
        "/messages",
        "/api/self",
        "/api/peers",
        "/api/site/files",
        "/p/x/",
    ] {
        let answer = as_owner(path)?;
        ensure!(answer.status == 404, "{path}: {}", answer.status);
    }
    says_the_mode(&host, &origin, &jar)?;
    let ada = guest(lab, &host, "Ada")?;
    let row = wait_listed(&server, "Ada")?;
    ensure!(row["id"] == ada.id()?, "{row}");
    let lines = as_owner("/api/logs")?.text();
    ensure!(lines.contains("Ada"), "nothing of Ada in {lines}");
    for word in [PASSWORD, keys_of(&server)?.1.as_str()] {
        ensure!(!lines.contains(word), "a secret is in the log");
        ensure!(
            !as_owner("/api/settings")?.text().contains(word),
            "a secret"
        );
    }
    // From elsewhere neither the pages nor the API.
    let other = lab.host(2)?;
    let reached = curl(&other, &[&format!("http://10.55.0.1:{PAGES}/")]);
    ensure!(reached.is_err(), "others reach the pages: {reached:?}");
    // No part of a peer was made.
    for name in ["data/identity.key", "data.db", "site", "cache"] {
        ensure!(!server.dir.join(name).exists(), "{name} was made");
    }
    server.end("TERM", SOON).map(drop)
}

/// The stream of events says once what this is, and stays open.
fn says_the_mode(host: &Host, origin: &str, jar: &str) -> Result<()> {
    const SAID: &str = "event: message\ndata: {\"type\":\"mode\",\"mode\":\"rendezvous\"}\n\n";
    let mut stream = host
        .command("curl")
        .args(["--silent", "--no-buffer", "-b", jar])
        .arg(format!("{origin}/api/mq/events"))
        .stdout(Stdio::piped())
        .spawn()?;
    let mut heard = vec![0; SAID.len()];
    let read = stream
        .stdout
        .take()
        .context("no output")?
        .read_exact(&mut heard);
    let open = stream.try_wait()?.is_none();
    let _ = stream.kill();
    stream.wait()?;
    read?;
    let heard = String::from_utf8_lossy(&heard).into_owned();
    ensure!(heard == SAID, "it said {heard:?}");
    ensure!(open, "the stream ended");
    Ok(())
}

/// Settings stay over a restart from the pages and over kill -9, and so do the keys; the owner stays signed in.
pub(super) fn survives(lab: &Lab) -> Result<()> {
    let host = lab.host(1)?;
    let mut server = folder(
        lab,
        &host,
        "Meeting point",
        &json!({ "http_addr": ":8090" }),
    )?;
    server.start()?;
    let keys = keys_of(&server)?;
    let jar = lab.folder().join("jar").to_string_lossy().into_owned();
    let (link, origin) = (server.link()?, server.origin()?);
    curl(&host, &["-c", &jar, &link])?;
    let wanted =
        json!({ "profile": { "label": "Elsewhere" }, "presence": { "rendezvous_port": 8788 } });
    let changed = server.post("/api/settings", &wanted.to_string())?;
    ensure!(
        changed.json()?["restart"] == json!(["presence.rendezvous_port"]),
        "{}",
        changed.text()
    );
    let answers = |port: u16| {
        let url = format!("http://127.0.0.1:{port}/healthz");
        curl(&host, &[&url]).is_ok_and(|answer| answer.text() == "ok")
    };
    ensure!(answers(PORT) && !answers(8788), "it moved before a restart");
    ensure!(
        server.post("/api/restart", "{}")?.status == 202,
        "the restart was refused"
    );
    wait("the server is back at its new port", SOON, || {
        Ok(answers(8788).then_some(()))
    })
    .with_context(|| tail(&server.log()))?;
    ensure!(!answers(PORT), "it is at its old port, too");
    let signed_in = || -> Result<Value> {
        wait("its pages know the owner", SOON, || {
            let answer = curl(&host, &["-b", &jar, &format!("{origin}/api/settings")]);
            let known = answer.ok().filter(|answer| answer.status == 200);
            known.map(|answer| answer.json()).transpose()
        })
    };
    let name = &signed_in()?["sections"]["profile"]["label"];
    ensure!(name == "Elsewhere", "its name is {name}");
    for name in ["killed once", "killed twice"] {
        let body = json!({ "label": name }).to_string();
        let saved = server.post("/api/settings/quick", &body)?;
        ensure!(saved.status == 200, "{}", saved.text());
        server.end("KILL", SOON)?;
        server.start()?;
        let settings = signed_in()?;
        ensure!(
            settings["sections"]["profile"]["label"] == name,
            "{settings}"
        );
        ensure!(keys_of(&server)? == keys, "the keys were replaced");
    }
    server.end("INT", SOON).map(drop)
}

/// `goop2 rendezvous` on a peer's folder leaves it one; a folder without an address for pages has none, and one that cannot
/// be written is served all the same.
pub(super) fn leaves_alone(lab: &Lab) -> Result<()> {
    let host = lab.host(1)?;
    let mut ada = Peer::new(lab, &host, "Ada")?;
    let config = json!({ "profile": { "label": "Ada" }, "viewer": { "http_addr": ":8090" } });
    fs::write(ada.dir.join("goop.json"), config.to_string())?;
    ada.command = "rendezvous";
    ada.start()?;
    let keys = keys_of(&ada)?;
    let saved = ada.post("/api/settings", "{\"profile\":{\"label\":\"Ada, away\"}}")?;
    ensure!(saved.status == 200, "{}", saved.text());
    ada.end("INT", SOON)?;
    let presence = config_of(&ada)?["presence"].clone();
    for forced in ["rendezvous_host", "rendezvous_only"] {
        let value = &presence[forced];
        ensure!(
            value.is_null() || *value == false,
            "{forced} was saved as {value}"
        );
    }
    ada.command = "peer";
    ada.start()?;
    ensure!(
        ada.get("/api/self")?.json()?["label"] == "Ada, away",
        "no peer"
    );
    ensure!(keys_of(&ada)? == keys, "the keys were replaced");
    ada.end("INT", SOON)?;

    let mut silent = folder(lab, &host, "Silent", &json!({}))?;
    silent.spawn()?;
    let answers = || {
        let url = format!("http://127.0.0.1:{PORT}/healthz");
        Ok(curl(&host, &[&url])
            .is_ok_and(|answer| answer.text() == "ok")
            .then_some(()))
    };
    wait("a server without pages answers", SOON, answers)?;
    ensure!(silent.link().is_err(), "it has pages: {}", silent.log());
    ensure!(
        !silent.dir.join("data/control.token").exists(),
        "it has a token"
    );
    // The port of the server is taken now, and the one of the pages is not.
    let mut second = folder(lab, &host, "Second", &json!({ "http_addr": ":8090" }))?;
    second.spawn()?;
    ensure!(second.wait_end(SOON)?.code() == Some(1), "{}", second.log());
    ensure!(
        second.log().contains("presence.rendezvous_port"),
        "{}",
        second.log()
    );
    silent.end("TERM", SOON)?;

    let mut locked = folder(lab, &host, "Locked", &json!({ "http_addr": ":8090" }))?;
    let file = locked.dir.join("goop.json");
    let before = fs::read(&file)?;
    let mount = Mount::read_only(&file)?;
    locked.start()?;
    wait("a server that keeps nothing answers", SOON, answers)?;
    let refused = locked.post("/api/settings/quick", "{\"label\":\"x\"}")?;
    ensure!(refused.status == 500, "{}", refused.text());
    ensure!(fs::read(&file)? == before, "goop.json was changed");
    ensure!(
        locked.log().contains("goop.json"),
        "nothing was said: {}",
        locked.log()
    );
    locked.end("TERM", SOON)?;
    drop(mount);
    // A second program that wants the port of the pages is told which setting that is.
    locked.start()?;
    let mut other = folder(lab, &host, "Other", &json!({ "http_addr": ":8090" }))?;
    other.spawn()?;
    ensure!(other.wait_end(SOON)?.code() == Some(1), "{}", other.log());
    ensure!(other.log().contains("viewer.http_addr"), "{}", other.log());
    Ok(())
}

/// A person at a desk.
pub(super) fn person(lab: &Lab) -> Result<()> {
    used(lab, false)
}

/// The same person with a phone.
pub(super) fn phone(lab: &Lab) -> Result<()> {
    used(lab, true)
}

fn used(lab: &Lab, phone: bool) -> Result<()> {
    let host = lab.host(1)?;
    let mut server = folder(
        lab,
        &host,
        "Meeting point",
        &json!({ "http_addr": ":8090" }),
    )?;
    server.start()?;
    let _ada = guest(lab, &host, "Ada")?;
    wait_listed(&server, "Ada")?;
    // Somebody comes with a name that would be more than text, and leaves.
    for kind in ["online", "offline"] {
        let record = json!({
            "type": kind, "peerId": "12D3KooWK99VoVxNE7XzyBwXEzW7xhK7Gpv85r9F3V3fyKSUKPH5", "content": EVIL, "ts": 1,
        });
        let url = format!("http://127.0.0.1:{PORT}/publish");
        let told = curl(&host, &["-d", &record.to_string(), &url])?;
        ensure!(told.status == 204, "{}", told.text());
        if kind == "online" {
            wait_listed(&server, EVIL)?;
        }
    }
    let script = json!({
        "part": "server alone", "evil": EVIL, "phone": phone, "link": server.link()?, "folder": lab.folder(),
        "dashboard": format!("http://127.0.0.1:{PORT}/admin"),
    });
    drive(lab, &server, &script)
}

/// Who is there when pictures are taken.
pub(super) fn pictures(lab: &Lab) -> Result<()> {
    let shots = lab.shots().context("no folder for pictures")?;
    let host = lab.host(1)?;
    let mut server = folder(
        lab,
        &host,
        "Meeting point",
        &json!({ "http_addr": ":8090" }),
    )?;
    server.start()?;
    let mut guests = Vec::new();
    for name in ["Ada", "Grace", "Hedy"] {
        guests.push(guest(lab, &host, name)?);
        wait_listed(&server, name)?;
    }
    let script = json!({
        "part": "pictures of a server alone", "link": server.link()?, "origin": server.origin()?, "shots": shots,
        "folder": lab.folder(),
    });
    drive(lab, &server, &script)
}
