//! Visiting a neighbour over in-memory streams: HTTP where it is spoken, the Go program's protocol elsewhere.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use goop_identity::PeerId;
use goop_identity::avatar::{AvatarFile, AvatarHash};
use goop_identity::seal::NoKeys;
use goop_site::avatar::AvatarCache;
use goop_site::http::Served;
use goop_site::{
    DialError, Dialer, SiteRequest, VisitError, Visitor, avatar, http as site_http, protocol,
};
use http::header::{CONTENT_TYPE, ETAG, IF_NONE_MATCH, RANGE};
use http::{HeaderMap, Method};
use http_body_util::BodyExt;
use support::actors::actor;
use support::{alices_site, fixture};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

/// Alice, who serves whatever is opened to her.
#[derive(Clone)]
struct Alice {
    served: Served,
    speaks_http: bool,
    silent: bool,
    present: Arc<AtomicBool>,
    opened: Arc<AtomicUsize>,
}

impl Dialer for Alice {
    type Stream = DuplexStream;

    async fn open(&self, _: PeerId, protocol: &'static str) -> Result<DuplexStream, DialError> {
        if !self.present.load(Ordering::Relaxed) {
            return Err(DialError::Unreachable("nobody there".into()));
        }
        if protocol == site_http::PROTOCOL && !self.speaks_http {
            return Err(DialError::NotSpoken);
        }
        self.opened.fetch_add(1, Ordering::Relaxed);
        let (client, mut server) = tokio::io::duplex(64 * 1024);
        let alice = self.clone();
        tokio::spawn(async move {
            let caller = actor("B").peer;
            if alice.silent {
                let mut all = Vec::new();
                let _ = server.read_to_end(&mut all).await;
                return;
            }
            let _ = match protocol {
                site_http::PROTOCOL => site_http::serve(caller, server, &alice.served)
                    .await
                    .map_err(drop),
                protocol::PROTOCOL => {
                    protocol::serve(caller, &mut server, &alice.served.site, &NoKeys)
                        .await
                        .map_err(drop)
                }
                _ => avatar::serve(caller, &mut server, &alice.served.avatar, &NoKeys)
                    .await
                    .map_err(drop),
            };
        });
        Ok(client)
    }

    fn speaks(&self, _: &PeerId, _: &str) -> Option<bool> {
        None
    }

    fn is_present(&self, _: &PeerId) -> bool {
        self.present.load(Ordering::Relaxed)
    }
}

fn alice(speaks_http: bool) -> (tempfile::TempDir, Alice) {
    let (dir, site) = alices_site();
    let served = Served {
        site,
        avatar: AvatarFile::open(&fixture("folders/alice/avatar.png")),
    };
    let alice = Alice {
        served,
        speaks_http,
        silent: false,
        present: Arc::new(AtomicBool::new(true)),
        opened: Arc::default(),
    };
    (dir, alice)
}

fn request(path: &str) -> SiteRequest {
    SiteRequest {
        method: Method::GET,
        path: path.to_owned(),
        headers: HeaderMap::new(),
    }
}

async fn text(visitor: &Visitor<Alice, NoKeys>, path: &str) -> Result<String, VisitError> {
    let response = visitor.fetch(actor("A").peer, request(path)).await?;
    Ok(
        String::from_utf8_lossy(&response.into_body().collect().await.unwrap().to_bytes())
            .into_owned(),
    )
}

#[tokio::test]
async fn both_protocols_give_the_same_site() {
    for speaks_http in [true, false] {
        let (_dir, alice) = alice(speaks_http);
        let visitor = Visitor::new(alice.clone(), Arc::new(NoKeys));
        assert!(
            text(&visitor, "/")
                .await
                .unwrap()
                .contains("Hello from Alice")
        );
        assert!(
            text(&visitor, "/with space.txt")
                .await
                .unwrap()
                .contains("space in the name")
        );
        assert!(matches!(
            text(&visitor, "/none").await,
            Err(VisitError::NotFound)
        ));
        assert!(matches!(
            text(&visitor, "/lua/echo.lua").await,
            Err(VisitError::Forbidden)
        ));
        let css = visitor
            .fetch(actor("A").peer, request("/style.css"))
            .await
            .unwrap();
        assert_eq!(css.headers()[CONTENT_TYPE], "text/css; charset=utf-8");
        // Streams of HTTP are used again, those of the other protocol are not.
        let opened = alice.opened.load(Ordering::Relaxed);
        assert_eq!(opened, if speaks_http { 1 } else { 5 });
        alice.present.store(false, Ordering::Relaxed);
        assert!(!speaks_http || text(&visitor, "/").await.is_err() || opened == 1);
    }
}

#[tokio::test]
async fn large_files_stream_and_ranges_pass() {
    for speaks_http in [true, false] {
        let (dir, alice) = alice(speaks_http);
        let large: Vec<u8> = (0..3_000_000_u32).map(|n| n.to_le_bytes()[1]).collect();
        std::fs::write(dir.path().join("large.bin"), &large).unwrap();
        let visitor = Visitor::new(alice, Arc::new(NoKeys));
        let whole = visitor
            .fetch(actor("A").peer, request("/large.bin"))
            .await
            .unwrap();
        assert_eq!(whole.into_body().collect().await.unwrap().to_bytes(), large);
        if speaks_http {
            let mut part = request("/large.bin");
            part.headers.insert(RANGE, "bytes=100-199".parse().unwrap());
            let part = visitor.fetch(actor("A").peer, part).await.unwrap();
            assert_eq!(part.status(), 206);
            assert_eq!(
                part.into_body().collect().await.unwrap().to_bytes(),
                large[100..200]
            );
        }
    }
}

#[tokio::test]
async fn kept_answers_are_asked_about_and_go_with_the_peer() {
    let (dir, alice) = alice(true);
    let visitor = Visitor::new(alice.clone(), Arc::new(NoKeys));
    let first = visitor
        .fetch(actor("A").peer, request("/style.css"))
        .await
        .unwrap();
    let etag = first.headers()[ETAG].clone();
    assert_eq!(
        text(&visitor, "/style.css").await.unwrap(),
        "h1{color:teal}\n"
    );
    let mut known = request("/style.css");
    known.headers.insert(IF_NONE_MATCH, etag);
    assert_eq!(
        visitor
            .fetch(actor("A").peer, known)
            .await
            .unwrap()
            .status(),
        304
    );
    std::fs::write(dir.path().join("style.css"), "h1{color:red}\n").unwrap();
    assert_eq!(
        text(&visitor, "/style.css").await.unwrap(),
        "h1{color:red}\n"
    );
    visitor.forget(&actor("A").peer);
    assert_eq!(
        text(&visitor, "/style.css").await.unwrap(),
        "h1{color:red}\n"
    );
}

#[tokio::test(start_paused = true)]
async fn a_silent_peer_is_given_up() {
    for speaks_http in [true, false] {
        let (_dir, mut alice) = alice(speaks_http);
        alice.silent = true;
        let visitor = Visitor::new(alice, Arc::new(NoKeys));
        assert!(
            matches!(text(&visitor, "/").await, Err(VisitError::TimedOut)),
            "http: {speaks_http}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn endless_and_missing_lines() {
    let (_dir, site) = alices_site();
    let (mut client, mut server) = tokio::io::duplex(1 << 20);
    client.write_all(&vec![b'x'; 100_000]).await.unwrap();
    assert!(
        protocol::serve(actor("B").peer, &mut server, &site, &NoKeys)
            .await
            .is_err()
    );
    let (_client, mut server) = tokio::io::duplex(1 << 10);
    assert!(
        protocol::serve(actor("B").peer, &mut server, &site, &NoKeys)
            .await
            .is_err(),
        "silence has a deadline"
    );
    let (mut client, mut server) = tokio::io::duplex(1 << 20);
    server.write_all(&vec![b'O'; 100_000]).await.unwrap();
    assert!(
        protocol::fetch(actor("A").peer, &mut client, "/", &NoKeys)
            .await
            .is_err()
    );
    let (mut client, mut server) = tokio::io::duplex(1 << 20);
    server
        .write_all(b"EOK text/plain 99999999999\n")
        .await
        .unwrap();
    assert!(
        protocol::fetch(actor("A").peer, &mut client, "/", &NoKeys)
            .await
            .is_err(),
        "a length nobody sends"
    );
}

#[tokio::test]
async fn pictures_are_checked_and_kept() {
    let (_dir, alice) = alice(true);
    let folder = tempfile::tempdir().unwrap();
    let cache = AvatarCache::at(&folder.path().join("avatars"));
    let announced = AvatarHash::parse("7b8e166a7956e86b").unwrap();
    let peer = actor("A").peer;
    let picture = cache
        .get(peer, &announced, &alice, &NoKeys)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(picture.content_type, "image/png");
    assert_eq!(alice.opened.load(Ordering::Relaxed), 1);
    cache
        .get(peer, &announced, &alice, &NoKeys)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(
        alice.opened.load(Ordering::Relaxed),
        1,
        "the second time it comes from the disk"
    );
    let other = AvatarHash::parse("0000000000000000").unwrap();
    assert!(
        cache.get(peer, &other, &alice, &NoKeys).await.is_err(),
        "not the picture that was announced"
    );
    cache.clear();
    assert!(cache.kept(&peer, &announced).is_none());
}
