//! Who is the owner, and what everybody else gets.

use goop_identity::PeerId;
use goop_identity::label::host_label;

use crate::harness::{ALICE, alice};

#[tokio::test]
async fn the_owner_is_proven() {
    let alice = alice().await;
    assert_eq!(alice.send("GET", "/api/self", &[], b"").await.status, 401);
    assert_eq!(
        alice
            .send(
                "GET",
                "/api/self",
                &["Authorization: Bearer 00".into()],
                b""
            )
            .await
            .status,
        401
    );
    assert_eq!(
        alice
            .send("GET", "/start?token=wrong", &[], b"")
            .await
            .status,
        401
    );
    let started = alice
        .send("GET", &format!("/start?token={}", alice.start), &[], b"")
        .await;
    assert_eq!(
        (started.status, started.header("location").as_deref()),
        (302, Some("/peers"))
    );
    let cookie = started.header("set-cookie").unwrap();
    assert!(
        cookie.contains("HttpOnly") && cookie.contains("SameSite=Strict"),
        "{cookie}"
    );
    let cookie = format!("Cookie: a=b; {}", cookie.split(';').next().unwrap());
    assert_eq!(
        alice
            .send("GET", "/api/self", std::slice::from_ref(&cookie), b"")
            .await
            .status,
        200
    );
    assert_eq!(
        alice
            .send("GET", &format!("/start?token={}", alice.start), &[], b"")
            .await
            .status,
        401,
        "the link works once"
    );
    for foreign in [
        "Origin: https://evil.example",
        "Sec-Fetch-Site: cross-site",
        "Origin: null",
    ] {
        let answer = alice
            .send(
                "POST",
                "/api/settings/quick",
                &[cookie.clone(), foreign.into()],
                b"{\"label\":\"x\"}",
            )
            .await;
        assert_eq!(answer.status, 403, "{foreign}");
    }
    let rebound = alice
        .send(
            "GET",
            "/api/self",
            &[cookie.clone(), format!("Host: evil.example:{}", alice.port)],
            b"",
        )
        .await;
    assert_eq!(rebound.status, 421);
    let proxied = alice
        .send(
            "GET",
            "/api/peers",
            &[cookie, "X-Forwarded-For: 1.2.3.4".into()],
            b"",
        )
        .await;
    assert_eq!(
        proxied.status, 404,
        "the owner's cookie means nothing behind a proxy"
    );
    alice.end().await;
}

#[tokio::test]
async fn sites_live_on_their_own_origins() {
    let alice = alice().await;
    let peer = ALICE.parse().unwrap();
    let origin = format!("{}.localhost:{}", host_label(&peer), alice.port);
    let lead = alice.get(&format!("/p/{ALICE}/sub/index.html?x=1")).await;
    assert_eq!(
        lead.header("location").unwrap(),
        format!("http://{origin}/p/{ALICE}/sub/index.html?x=1")
    );
    let host = format!("Host: {origin}");
    let site = |path: String| {
        let host = host.clone();
        let alice = &alice;
        async move { alice.send("GET", &path, &[host], b"").await }
    };
    let page = site(format!("/p/{ALICE}/")).await;
    assert!(page.text().contains("Hello from Alice"));
    let policy = page.header("content-security-policy").unwrap();
    assert!(
        policy.contains("default-src 'none'")
            && policy.contains(&format!("http://127.0.0.1:{}", alice.port)),
        "{policy}"
    );
    assert_eq!(site(format!("/p/{ALICE}")).await.status, 302);
    for (path, status) in [
        (format!("/p/{ALICE}/lua/echo.lua"), 403),
        (format!("/p/{ALICE}/.hidden"), 403),
        (format!("/p/{ALICE}/none"), 404),
        (format!("/p/{ALICE}/..%2f..%2fgoop.json"), 404),
        (format!("/p/{ALICE}/sub/"), 404),
        (
            "/p/12D3KooWJWoaqZhDaoEFshF7Rh1bpY9ohihFhzcW6d69Lr2NASuq/".into(),
            404,
        ),
        ("/api/settings/quick/get".into(), 404),
        ("/api/logs".into(), 404),
        ("/metrics".into(), 404),
        ("/peers".into(), 404),
        ("/api/self".into(), 200),
        ("/api/peers".into(), 200),
        ("/favicon.ico".into(), 204),
    ] {
        assert_eq!(site(path.clone()).await.status, status, "{path}");
    }
    // A neighbour that is not there: a page in words, with the diagnosis escaped.
    let other: PeerId = "12D3KooWJWoaqZhDaoEFshF7Rh1bpY9ohihFhzcW6d69Lr2NASuq"
        .parse()
        .unwrap();
    let gone = alice
        .send(
            "GET",
            &format!("/p/{other}/<b>"),
            &[format!(
                "Host: {}.localhost:{}",
                host_label(&other),
                alice.port
            )],
            b"",
        )
        .await;
    assert!(gone.status == 502 || gone.status == 400, "{}", gone.status);
    alice.end().await;
}

#[tokio::test]
async fn a_site_can_have_a_port_instead() {
    let alice = alice().await;
    let mode = alice
        .send(
            "POST",
            "/api/origins",
            &[alice.owner()],
            b"{\"mode\":\"port\"}",
        )
        .await;
    let cookie = format!(
        "Cookie: {}",
        mode.header("set-cookie")
            .unwrap()
            .split(';')
            .next()
            .unwrap()
    );
    let lead = alice
        .send(
            "GET",
            &format!("/p/{ALICE}/"),
            &[alice.owner(), cookie.clone()],
            b"",
        )
        .await;
    let to = lead.header("location").unwrap();
    let port: u16 = to
        .trim_start_matches("http://127.0.0.1:")
        .split('/')
        .next()
        .unwrap()
        .parse()
        .unwrap();
    let mut site = alice;
    let control = std::mem::replace(&mut site.port, port);
    assert_ne!(control, port);
    let page = site.send("GET", &format!("/p/{ALICE}/"), &[], b"").await;
    assert!(page.text().contains("Hello from Alice"));
    assert_eq!(
        site.send("GET", "/api/logs", &[site.owner()], b"")
            .await
            .status,
        404,
        "the owner's proof means nothing there"
    );
    site.end().await;
}

/// What the pages ask a site's origin to see whether its name resolves: no error in the console, and no more than that.
#[tokio::test]
async fn the_probe_of_origins_is_answered_and_nothing_else() {
    let alice = alice().await;
    let session = alice.read("/api/session").await;
    let probe = session["probe_url"].as_str().unwrap().to_owned();
    let host = probe
        .trim_start_matches("http://")
        .split('/')
        .next()
        .unwrap()
        .to_owned();
    let from_elsewhere = [
        format!("Host: {host}"),
        "Sec-Fetch-Site: cross-site".to_owned(),
        "Sec-Fetch-Mode: no-cors".to_owned(),
        "Sec-Fetch-Dest: empty".to_owned(),
    ];
    assert_eq!(
        alice
            .send("GET", "/favicon.ico", &from_elsewhere, b"")
            .await
            .status,
        204
    );
    for path in [
        "/",
        "/api/self",
        &format!("/p/{}/", host.split('.').next().unwrap()),
    ] {
        assert_eq!(
            alice.send("GET", path, &from_elsewhere, b"").await.status,
            403,
            "{path}"
        );
    }
    alice.end().await;
}
