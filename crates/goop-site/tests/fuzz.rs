//! Any bytes give a value or an error, never a panic; no path leaves the site and no answer holds what is not served.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use std::fs;
use std::path::Component;

use goop_identity::PeerId;
use goop_identity::avatar::AvatarFile;
use goop_site::http::Served;
use goop_site::{SitePath, avatar, http, protocol, types};
use support::actors::pair;
use support::alices_site;
use tokio::io::join;
use tokio::runtime::{Builder, Runtime};

/// What lies where nobody may read it.
const SECRET: &str = "a secret that is not served";

/// Time passes only where nothing else can happen.
fn runtime() -> Runtime {
    Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap()
}

fn with_secret() -> (tempfile::TempDir, Served) {
    let (dir, site) = alices_site();
    fs::create_dir_all(dir.path().join("lua")).unwrap();
    for name in ["lua/functions.lua", ".env"] {
        fs::write(dir.path().join(name), SECRET).unwrap();
    }
    let avatar = AvatarFile::open(&dir.path().join("avatar"));
    (dir, Served { site, avatar })
}

fn is_clean(answer: &[u8]) -> bool {
    !answer
        .windows(SECRET.len())
        .any(|part| part == SECRET.as_bytes())
}

/// What a stranger sends to the Go program's site protocol.
#[test]
fn fuzz_site_request() {
    let (_dir, served) = with_secret();
    let (runtime, peer, keys) = (runtime(), PeerId::random(), pair("A", "B", true));
    bolero::check!().for_each(|bytes: &[u8]| {
        let mut answer = Vec::new();
        let mut stream = join(bytes, &mut answer);
        let _ = runtime.block_on(protocol::serve(peer, &mut stream, &served.site, &keys));
        assert!(is_clean(&answer));
    });
}

/// What a stranger sends over HTTP: whole requests for any path.
#[test]
fn fuzz_http_request() {
    let (_dir, served) = with_secret();
    let (runtime, peer) = (runtime(), PeerId::random());
    bolero::check!()
        .with_type::<(bool, Vec<u8>)>()
        .for_each(|(whole, bytes)| {
            let mut answer = Vec::new();
            let request = if *whole {
                [
                    b"GET /goop/site/",
                    &bytes[..],
                    b" HTTP/1.1\r\nhost: libp2p\r\n\r\n",
                ]
                .concat()
            } else {
                bytes.clone()
            };
            let stream = join(&request[..], &mut answer);
            let _ = runtime.block_on(http::serve(peer, stream, &served));
            assert!(is_clean(&answer));
        });
}

/// What a neighbour answers to a visit.
#[test]
fn fuzz_site_answer() {
    let (runtime, peer, keys) = (runtime(), PeerId::random(), pair("A", "B", true));
    bolero::check!().for_each(|bytes: &[u8]| {
        let mut asked = Vec::new();
        let mut stream = join(bytes, &mut asked);
        if let Ok(fetched) =
            runtime.block_on(protocol::fetch(peer, &mut stream, "/index.html", &keys))
        {
            assert!(fetched.start.len() as u64 <= fetched.len.max(bytes.len() as u64));
        }
    });
}

/// What a neighbour says its picture is.
#[test]
fn fuzz_avatar_answer() {
    let (runtime, peer, keys) = (runtime(), PeerId::random(), pair("A", "B", true));
    bolero::check!().for_each(|bytes: &[u8]| {
        let mut asked = Vec::new();
        let mut stream = join(bytes, &mut asked);
        if let Ok(Some(picture)) = runtime.block_on(avatar::fetch(peer, &mut stream, &keys)) {
            assert!(picture.len() <= bytes.len());
        }
    });
}

#[test]
fn fuzz_path() {
    bolero::check!().for_each(|bytes: &[u8]| {
        if let Ok(path) = SitePath::parse(bytes) {
            let mut parts = path.as_path().components();
            assert!(parts.clone().next().is_some());
            assert!(parts.all(|part| matches!(part, Component::Normal(name) if !name.to_string_lossy().starts_with('.'))));
        }
    });
}

#[test]
fn fuzz_site_header() {
    bolero::check!().for_each(|bytes: &[u8]| drop(protocol::parse_header(bytes)));
}

#[test]
fn fuzz_avatar_header() {
    bolero::check!().for_each(|bytes: &[u8]| drop(avatar::parse_header(bytes)));
}

#[test]
fn fuzz_types() {
    bolero::check!().for_each(|bytes: &[u8]| {
        let name = String::from_utf8_lossy(bytes);
        let _ = types::for_browser(std::path::Path::new(&*name), &name);
        assert!(!types::sniff(bytes).is_empty());
    });
}
