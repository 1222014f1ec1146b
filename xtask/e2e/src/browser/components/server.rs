//! A server of the test bed's own: the pages' modules from the repository, a page that shows one of them, and the policy of
//! a real peer on everything.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};

/// How long a browser may be silent in the middle of a request.
const PATIENCE: Duration = Duration::from_secs(5);
/// Files of the pages, and of the stage they are shown on.
const ASSETS: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../../crates/goop-viewer/assets"
);
const STAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/components");

/// What every answer needs.
struct Served {
    policy: String,
    styles: String,
}

/// Starts it on the loopback; gives its origin. It ends with this process.
pub(super) fn start(policy: &str, styles: &str) -> Result<String> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).context("the stage")?;
    let origin = format!("http://127.0.0.1:{}", listener.local_addr()?.port());
    let served = std::sync::Arc::new(Served {
        policy: policy.to_owned(),
        styles: styles.to_owned(),
    });
    std::thread::spawn(move || {
        for visitor in listener.incoming().flatten() {
            let served = served.clone();
            // A browser opens connections that it does not use at once.
            std::thread::spawn(move || answer(visitor, &served));
        }
    });
    Ok(origin)
}

fn answer(mut visitor: TcpStream, served: &Served) -> std::io::Result<()> {
    visitor.set_read_timeout(Some(PATIENCE))?;
    let mut lines = BufReader::new(visitor.try_clone()?).lines();
    let first = lines.next().transpose()?.unwrap_or_default();
    while lines
        .next()
        .transpose()?
        .is_some_and(|line| !line.is_empty())
    {}
    let target = first.split(' ').nth(1).unwrap_or_default();
    let path = target.split('?').next().unwrap_or_default();
    let (status, kind, body) = match path {
        "/" => found(STAGE, "stage.html"),
        "/pages.css" => ("200 OK", "text/css", served.styles.clone().into_bytes()),
        // Where a divider stands is said to the peer.
        "/api/split-prefs" => (
            "200 OK",
            "application/json",
            b"{\"status\":\"ok\"}".to_vec(),
        ),
        _ => match (path.strip_prefix("/assets/"), path.strip_prefix("/stage/")) {
            (Some(name), _) => found(ASSETS, name),
            (_, Some(name)) => found(STAGE, name),
            _ => nothing(),
        },
    };
    let policy = &served.policy;
    let length = body.len();
    write!(
        visitor,
        "HTTP/1.1 {status}\r\ncontent-type: {kind}\r\ncontent-length: {length}\r\ncontent-security-policy: {policy}\r\n\
         x-content-type-options: nosniff\r\nconnection: close\r\n\r\n"
    )?;
    visitor.write_all(&body)
}

type Answer = (&'static str, &'static str, Vec<u8>);

fn nothing() -> Answer {
    ("404 Not Found", "text/plain", b"there is none".to_vec())
}

fn found(root: &str, name: &str) -> Answer {
    let kind = match Path::new(name).extension().and_then(|end| end.to_str()) {
        Some("html") => "text/html; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        Some("svg") => "image/svg+xml",
        _ => "application/octet-stream",
    };
    match std::fs::read(Path::new(root).join(name)) {
        // A link of the markup under test may ask for anything.
        Ok(body) if !name.split('/').any(|part| part == "..") => ("200 OK", kind, body),
        _ => nothing(),
    }
}
