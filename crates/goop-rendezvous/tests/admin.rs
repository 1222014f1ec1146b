//! The operator's pages: who gets in, and that what peers say stays text.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use goop_identity::PeerId;
use goop_rendezvous::limits::WRONG_PASSWORDS;
use serde_json::json;
use support::server::{Answer, Running, settings};

async fn with_password() -> Running {
    let mut settings = settings();
    settings.admin_password = Some("right horse".to_owned());
    Running::start(settings).await
}

async fn sign_in(server: &Running, password: &str, extra: &[&str]) -> Answer {
    let mut headers = vec!["Content-Type: application/x-www-form-urlencoded".to_owned()];
    headers.extend(extra.iter().map(|header| (*header).to_owned()));
    let body = format!("password={}", password.replace(' ', "+"));
    server
        .send("POST", "/admin/login", &headers, body.as_bytes())
        .await
}

#[tokio::test]
async fn a_person_signs_in_and_out() {
    let server = with_password().await;
    let browser = ["Accept: text/html".to_owned()];
    let page = server.send("GET", "/admin", &browser, b"").await;
    assert_eq!(page.status, 200);
    assert!(page.text().contains("type=\"password\""));
    assert!(!page.text().contains("Sign out"));
    assert_eq!(server.get("/admin").await.status, 401);

    let signed_in = sign_in(&server, "right horse", &["Sec-Fetch-Site: same-origin"]).await;
    assert_eq!(signed_in.status, 303);
    let cookie = signed_in.header("set-cookie").unwrap();
    assert!(
        cookie.contains("HttpOnly") && cookie.contains("SameSite=Strict"),
        "{cookie}"
    );
    let cookie = [format!("Cookie: {}", cookie.split(';').next().unwrap())];
    for path in ["/admin", "/admin/logs", "/admin/relay", "/peers.json"] {
        let page = server.send("GET", path, &cookie, b"").await;
        assert_eq!(page.status, 200, "{path}");
    }
    let policy = server.send("GET", "/admin", &cookie, b"").await;
    assert!(
        policy
            .header("content-security-policy")
            .unwrap()
            .starts_with("default-src 'none'")
    );
    let out = server.send("POST", "/admin/logout", &cookie, b"").await;
    assert_eq!(out.status, 303);
    assert_eq!(
        server.send("GET", "/peers.json", &cookie, b"").await.status,
        401
    );
    server.end().await;
}

#[tokio::test]
async fn other_pages_and_guesses_get_nowhere() {
    let server = with_password().await;
    let foreign = sign_in(&server, "right horse", &["Sec-Fetch-Site: cross-site"]).await;
    assert_eq!(foreign.status, 403);
    let foreign = sign_in(&server, "right horse", &["Origin: http://evil.example"]).await;
    assert_eq!(foreign.status, 403);
    for _ in 0..WRONG_PASSWORDS {
        assert_eq!(sign_in(&server, "wrong", &[]).await.status, 401);
    }
    assert_eq!(sign_in(&server, "right horse", &[]).await.status, 429);
    // Others are not locked out with them.
    let from = "X-Forwarded-For: 198.51.100.7";
    assert_eq!(sign_in(&server, "right horse", &[from]).await.status, 303);
    server.end().await;

    let server = Running::start(settings()).await;
    assert_eq!(server.get("/admin").await.status, 403);
    assert_eq!(sign_in(&server, "", &[]).await.status, 403);
    server.end().await;
}

/// Programs send the password with each request; who guesses that way is throttled alike, and both ways count together.
#[tokio::test]
async fn guesses_of_programs_count_too() {
    let server = with_password().await;
    let ask = async |path: &str, user: &str, password: &str, from: &str| {
        let header = format!(
            "Authorization: Basic {}",
            STANDARD.encode(format!("{user}:{password}"))
        );
        let headers = [header, format!("X-Forwarded-For: {from}")];
        server.send("GET", path, &headers, b"").await.status
    };
    let (guesser, operator) = ("198.51.100.8", "198.51.100.9");
    let form = [&*format!("X-Forwarded-For: {guesser}")];
    assert_eq!(sign_in(&server, "wrong", &form).await.status, 401);
    let guesses = [
        ("/peers.json", "admin", "wrong"),
        ("/logs.json", "admin", ""),
        ("/admin", "root", "right horse"),
        ("/metrics", "admin", "right horse "),
    ];
    assert_eq!(guesses.len() + 1, WRONG_PASSWORDS as usize);
    for (path, user, password) in guesses {
        let status = ask(path, user, password, guesser).await;
        assert_eq!(status, 401, "{path} {user} {password:?}");
    }
    // From now on not even the right one helps, neither way.
    let late = ask("/peers.json", "admin", "right horse", guesser).await;
    assert_eq!(late, 429);
    assert_eq!(sign_in(&server, "right horse", &form).await.status, 429);
    let other = ask("/peers.json", "admin", "right horse", operator).await;
    assert_eq!(other, 200);
    assert_eq!(server.get("/healthz").await.status, 200);
    server.end().await;
}

#[tokio::test]
async fn what_peers_say_is_text() {
    let server = with_password().await;
    let evil = "<script>alert(1)</script>\"><img src=x onerror=alert(1)>";
    let online = json!({"type":"online","peerId":PeerId::random().to_base58(),"content":evil,"email":evil,
        "addrs":[evil],"ts":1});
    assert_eq!(server.publish(&online).await, 204);
    let admin = ["Authorization: Basic YWRtaW46cmlnaHQgaG9yc2U=".to_owned()];
    for path in ["/admin", "/admin/logs"] {
        let page = server.send("GET", path, &admin, b"").await;
        assert_eq!(page.status, 200);
        assert!(page.text().contains("&lt;script&gt;"), "{path}");
        assert!(
            !page.text().contains("<script") && !page.text().contains("<img src=x"),
            "{path}"
        );
    }
    server.end().await;
}

#[tokio::test]
async fn everybody_may_read_the_front() {
    let server = with_password().await;
    for path in [
        "/",
        "/store",
        "/docs/overview",
        "/docs/rendezvous",
        "/docs/protocol",
        "/docs/executor",
        "/docs/limits",
    ] {
        let page = server.get(path).await;
        assert_eq!(page.status, 200, "{path}");
        assert!(page.text().contains("<h1>"), "{path}");
    }
    assert_eq!(server.get("/docs/quickstart").await.status, 302);
    assert!(
        server
            .get("/assets/style.css")
            .await
            .text()
            .contains("--accent")
    );
    server.end().await;
}
