//! Neighbours whose names, addresses, pictures and files are attempts at the pages of whoever meets them.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use super::pages::drive;
use crate::lab::Lab;
use crate::peer::Peer;

const SOON: Duration = Duration::from_secs(20);
/// Longest name that is announced (peer-directory.md 3), in characters of one byte.
const LONGEST: usize = 4_000;

const MARKUP: &str = r#"<img src="/pwned.png" onerror="window.pwned=1"><pwned-mark>"#;
const EMAIL: &str =
    r#""<img src=//10.55.0.1:7777/pwned onerror=window.pwned=2><pwned-mark>"@evil.example"#;

/// A name, and the part of it that a page shows in any case.
fn names() -> Vec<(String, &'static str)> {
    let named = |name: &str, shown| (name.to_owned(), shown);
    vec![
        named(&format!("{MARKUP} Mark"), r#"<img src="/pwned.png""#),
        named(
            r#"'"></a><script src="/pwned.js"></script><svg onload=window.pwned=3> ' onmouseover='window.pwned=3"#,
            r#"'"></a><script src="/pwned.js"></script>"#,
        ),
        named(
            "Bell\u{7}\u{1b}[31m and\r\nline\u{2028}breaks\u{85}\u{9b}end ${window.pwned=4} {{window.pwned=4}} javascript:window.pwned=4",
            "Bell",
        ),
        named(
            "\u{202e}gnp.exe \u{2067}\u{202d}tfel ot thgir\u{2069}\u{2069}\u{202e} stays",
            "gnp.exe",
        ),
        (format!("Wide{}", "W".repeat(LONGEST)), "WideWWWWWWWWWWWW"),
        (
            format!("Z{} tall", "\u{300}\u{489}\u{fdfa}".repeat(300)),
            "Z\u{300}\u{489}",
        ),
    ]
}

/// What a hostile site tries from inside its frame; all of it is refused.
const TRIES: &str = "const marker = 'http://10.55.0.1:7777/pwned';
const tries = [() => alert('pwned'), () => confirm('pwned'), () => open(`${marker}-open`), () => { top.location = `${marker}-top`; }, () => fetch(`${marker}-fetch`).catch(() => {}),
  () => { new Image().src = `${marker}-image`; }, () => { parent.document.title = 'pwned'; }, () => parent.postMessage({ topic: 'peer:gone', state: 'lost' }, '*'),
  () => { new BroadcastChannel('goop2-events').postMessage({ state: 'lost' }); }, () => { history.pushState({}, '', '?pwned'); }];
for (const act of tries) { try { act(); } catch {} }
document.title = '<pwned-mark>';
document.documentElement.dataset.tried = 'all';
const out = document.createElement('iframe'); out.src = `${marker}-frame`; document.body.append(out);
";

/// A folder with a name, an address, a broken picture and a hostile site.
fn folder(lab: &Lab, name: &str, label: &str) -> Result<std::path::PathBuf> {
    let dir = lab.folder().join(name);
    fs::create_dir_all(dir.join("site"))?;
    let config = json!({
        "profile": { "label": label, "email": EMAIL },
        "viewer": { "active_template": format!("template-of-mine{MARKUP}") },
    });
    fs::write(dir.join("goop.json"), config.to_string())?;
    let mut picture = b"\x89PNG\r\n\x1a\n".to_vec();
    picture.extend_from_slice(
        b"<svg xmlns='http://www.w3.org/2000/svg' onload='window.pwned=5'><script>window.pwned=5</script></svg>",
    );
    fs::write(dir.join("avatar.png"), picture)?;
    fs::write(
        dir.join("site/index.html"),
        "<!doctype html><title>site</title><h1>Welcome</h1><script src=\"try.js\"></script>",
    )?;
    fs::write(dir.join("site/try.js"), TRIES)?;
    Ok(dir)
}

/// Files of the own site with such names: path, and what the tree shows of it.
fn files() -> Vec<(String, String)> {
    let named = |path: &str, shown: &str| (path.to_owned(), shown.to_owned());
    vec![
        named(
            "<img src=x onerror=window.pwned=6><pwned-mark>.html",
            "<img src=x onerror=window.pwned=6><pwned-mark>.html",
        ),
        named(
            "'\"><svg onload=window.pwned=6>&amp;.svg",
            "'\"><svg onload=window.pwned=6>&amp;.svg",
        ),
        named(
            "<pwned-mark>/line\nbreak\u{7}\u{1b}.txt",
            "line break\u{7}\u{1b}.txt",
        ),
        named("\u{202e}txt.exe", "txt.exe"),
        (format!("{}.md", "w".repeat(240)), "w".repeat(240)),
        named("${window.pwned=6} %3Cimg%3E #x?y.js", "${window.pwned=6}"),
    ]
}

/// Whatever a neighbour says of itself is read by people and by nobody else.
pub(super) fn only_text(lab: &Lab) -> Result<()> {
    let label = format!("{MARKUP}{}", "W".repeat(LONGEST - MARKUP.len()));
    let host = lab.host(1)?;
    let mut ada = Peer::at(lab, &host, folder(lab, "Ada <pwned-mark>&'\"", &label)?);
    fs::write(
        ada.dir.join("site/index.html"),
        "<!doctype html><title>mine</title><h1>Mine</h1>",
    )?;
    for (path, _) in files() {
        let path = ada.dir.join("site").join(path);
        fs::create_dir_all(path.parent().context("no folder")?)?;
        fs::write(
            path,
            "inside the file <pwned-mark><img src=/pwned.png onerror=window.pwned=7>\n",
        )?;
    }
    ada.start()?;
    let (mut others, mut said) = (Vec::new(), Vec::new());
    for ((name, shown), number) in names().into_iter().zip(2..) {
        let dir = folder(lab, &format!("other-{number}"), &name)?;
        let mut peer = Peer::at(lab, &lab.host(number)?, dir);
        peer.start()?;
        let id = peer.id()?;
        ada.wait_row("the hostile neighbour is here", &id, SOON, |row| {
            let content = row["Content"].as_str().unwrap_or_default();
            row["Reachable"] == true
                && content.contains(shown)
                && row["Email"] != ""
                && row["AvatarHash"] != ""
        })?;
        said.push(json!({ "id": id, "shown": shown, "host": number }));
        others.push(peer);
    }
    let line = format!("a line {MARKUP} \u{202e}of a page");
    for source in [
        format!("area{MARKUP}{}", "w".repeat(300)),
        "plain".to_owned(),
    ] {
        let body = json!({ "level": "error", "source": source, "message": line });
        let answer = ada.post("/api/logs/client", &body.to_string())?;
        ensure!(
            answer.status == 204,
            "the line was refused: {}",
            answer.text()
        );
    }
    let files: Vec<Value> = files()
        .into_iter()
        .zip(1..)
        .map(|((path, shown), number)| json!({ "path": path, "shown": shown, "number": number }))
        .collect();
    let script = json!({
        "part": "only text", "link": ada.link()?, "origin": ada.origin()?, "folder": lab.folder(), "peers": said,
        "label": label, "files": files, "line": format!("a line {MARKUP}"),
    });
    drive(lab, &ada, &script)
}
