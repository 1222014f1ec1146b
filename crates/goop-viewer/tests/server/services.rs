//! Services and rendezvous servers that the settings name: a stand-in says what recorded ones said.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Redirect, Response};
use http::StatusCode;
use serde_json::{Value, json};

use crate::harness::{Alice, alice};

/// What was asked, line by line.
type Asked = Arc<Mutex<Vec<String>>>;

async fn answer(State(asked): State<Asked>, request: Request) -> Response {
    let uri = request.uri().to_string();
    let line = format!("{} {uri}", request.method());
    let body = axum::body::to_bytes(request.into_body(), 1 << 16)
        .await
        .unwrap();
    asked.lock().unwrap().push(
        format!("{line} {}", String::from_utf8_lossy(&body))
            .trim_end()
            .to_owned(),
    );
    let path = uri.split('?').next().unwrap();
    let json = |value: Value| axum::Json(value).into_response();
    match path {
        "/healthz" => "ok".into_response(),
        "/api/reg/status" => {
            json(json!({"dummy_mode": true, "registration_required": true, "secret": "x"}))
        }
        "/api/capabilities" => json(
            json!({"bridge": false, "credits": false, "encryption": false,
            "registration": false, "relay": true, "templates": false, "note": "<b>"}),
        ),
        "/api/credits/store-data" => json(json!({"credits_active": true, "balance": 7})),
        "/api/bridge/request-token" => json(json!({"error": "email not\nverified"})),
        "/elsewhere/healthz" | "/elsewhere/api/capabilities" => {
            Redirect::temporary("/healthz").into_response()
        }
        "/huge/healthz" | "/huge/api/capabilities" => vec![b'x'; 1 << 20].into_response(),
        "/slow/healthz" | "/slow/api/capabilities" => std::future::pending().await,
        "/odd/api/capabilities" => "no json".into_response(),
        _ => StatusCode::NOT_FOUND.into_response(),
    }
}

/// A server that says what services say; gives its address.
async fn stand_in() -> (String, Asked) {
    let asked = Asked::default();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let app = Router::new().fallback(answer).with_state(asked.clone());
    tokio::spawn(async move { axum::serve(listener, app).await });
    (url, asked)
}

async fn set(alice: &Alice, change: Value) {
    assert_eq!(alice.post("/api/settings", change).await.0, 200);
}

#[tokio::test]
async fn a_service_says_how_it_is() {
    let alice = alice().await;
    let (url, asked) = stand_in().await;
    let check = |at: String| {
        let alice = &alice;
        async move {
            alice
                .read(&format!("/api/services/check?type=registration&url={at}"))
                .await
        }
    };
    assert_eq!(
        check(format!("{url}/")).await,
        json!({"dummy_mode": true, "ok": true, "registration_required": true, "url": format!("{url}/")})
    );
    assert_eq!(
        *asked.lock().unwrap(),
        ["GET /healthz", "GET /api/reg/status"]
    );
    for at in ["elsewhere", "huge", "none"] {
        let at = format!("{url}/{at}");
        assert_eq!(
            check(at.clone()).await,
            json!({"error": "not reachable", "ok": false, "url": at})
        );
    }
    assert!(
        asked
            .lock()
            .unwrap()
            .iter()
            .filter(|line| *line == "GET /healthz")
            .count()
            == 1,
        "a redirect was followed"
    );
    set(&alice, json!({"presence": {"registration_url": url, "email_url": "http://127.0.0.1:1", "rendezvous_wan": url}})).await;
    let health = alice.read("/api/services/health").await;
    assert_eq!(health["registration"]["ok"], true);
    assert_eq!(
        health["email"],
        json!({"ok": false, "url": "http://127.0.0.1:1"})
    );
    assert_eq!(health["credits"], json!({"ok": false, "url": ""}));
    assert_eq!(
        health["rendezvous"],
        json!([{"url": url, "ws_connected": false}])
    );
    alice.end().await;
}

#[tokio::test]
async fn a_rendezvous_says_what_it_offers() {
    let alice = alice().await;
    let (url, _) = stand_in().await;
    let check = |at: String| {
        let alice = &alice;
        async move { alice.read(&format!("/api/rendezvous/check?url={at}")).await }
    };
    // Record 792 of the contract; the rest of what a server says is not passed on.
    assert_eq!(
        check(url.clone()).await,
        json!({"bridge": false, "credits": false, "encryption": false, "registration": false, "relay": true, "templates": false})
    );
    for (at, error) in [
        ("none", "status 404"),
        ("odd", "invalid response"),
        ("elsewhere", "status 307"),
        ("huge", "unreachable"),
    ] {
        assert_eq!(
            check(format!("{url}/{at}")).await,
            json!({ "error": error }),
            "{at}"
        );
    }
    assert_eq!(
        check("file:///etc/passwd".to_owned()).await["error"],
        "unreachable"
    );
    alice.end().await;
}

#[tokio::test]
async fn a_server_that_never_answers_holds_nobody_up() {
    let alice = alice().await;
    let (url, _) = stand_in().await;
    let path = format!("/api/rendezvous/check?url={url}/slow");
    let slow = alice.read_within(&path, Duration::from_secs(20));
    assert_eq!(slow.await, json!({"error": "unreachable"}));
    alice.end().await;
}

#[tokio::test]
async fn credits_and_tokens_come_from_the_rendezvous_of_the_settings() {
    let alice = alice().await;
    let (url, asked) = stand_in().await;
    let token = || alice.post("/api/bridge/request-token", json!({}));
    set(
        &alice,
        json!({"profile": {"email": "", "verification_token": "t0ken"}}),
    )
    .await;
    assert_eq!(
        token().await,
        (200, json!({"error": "no email configured"}))
    );
    set(&alice, json!({"profile": {"email": "a@b.example"}})).await;
    assert_eq!(
        token().await,
        (200, json!({"error": "no WAN rendezvous configured"}))
    );
    assert_eq!(
        alice.read("/api/my-balance").await,
        json!({"credits_active": false})
    );
    set(&alice, json!({"presence": {"rendezvous_wan": url}})).await;
    // A Go rendezvous answers 200 to refusals; they are refusals all the same, on one line.
    assert_eq!(token().await, (200, json!({"error": "email not verified"})));
    assert_eq!(
        alice.read("/api/my-balance").await,
        json!({"credits_active": true, "balance": 7})
    );
    let asked = asked.lock().unwrap().clone();
    assert_eq!(
        asked[0],
        "POST /api/bridge/request-token {\"email\":\"a@b.example\",\"verification_token\":\"t0ken\"}"
    );
    assert_eq!(
        asked[1],
        format!(
            "GET /api/credits/store-data?peer_id={}",
            crate::harness::ALICE
        )
    );
    alice.end().await;
}

#[tokio::test]
async fn an_address_is_opened_for_the_owner_only() {
    let alice = alice().await;
    let open = |url: &str, more: Vec<String>| {
        let path = format!("/open?url={url}");
        let alice = &alice;
        async move { alice.send("GET", &path, &more, b"").await }
    };
    let owner = alice.owner();
    let back = format!("Referer: http://127.0.0.1:{}/peers?x=1", alice.port);
    for (more, to) in [
        (vec![owner.clone()], "/self"),
        (vec![owner.clone(), back], "/peers?x=1"),
        (
            vec![owner.clone(), "Referer: http://evil.example/peers".into()],
            "/self",
        ),
        (
            vec![
                owner.clone(),
                format!("Referer: http://127.0.0.1:{}//evil.example", alice.port),
            ],
            "/self",
        ),
    ] {
        let answer = open("https://a.example/", more).await;
        assert_eq!(
            (answer.status, answer.header("location").as_deref()),
            (302, Some(to))
        );
    }
    assert_eq!(open("https://a.example/", vec![]).await.status, 401);
    let foreign = vec![owner.clone(), "Sec-Fetch-Site: cross-site".into()];
    assert_eq!(open("https://a.example/", foreign).await.status, 403);
    for (url, text) in [
        ("", "missing url\n"),
        ("file:///etc/passwd", "scheme not allowed\n"),
        ("x", "invalid url\n"),
    ] {
        let answer = open(url, vec![owner.clone()]).await;
        assert_eq!((answer.status, answer.text().as_str()), (400, text));
    }
    assert_eq!(*alice.opened.lock().unwrap(), vec!["https://a.example/"; 4]);
    alice.end().await;
}

#[tokio::test]
async fn the_description_of_the_api_comes_packed_to_who_takes_that() {
    let alice = alice().await;
    let plain = alice.get("/api/openapi.json").await;
    assert_eq!(plain.header("content-encoding"), None);
    let gzip = [alice.owner(), "Accept-Encoding: gzip".to_owned()];
    let packed = alice.send("GET", "/api/openapi.json", &gzip, b"").await;
    assert_eq!(packed.header("content-encoding").as_deref(), Some("gzip"));
    let mut text = Vec::new();
    std::io::Read::read_to_end(
        &mut flate2::read::GzDecoder::new(&packed.body[..]),
        &mut text,
    )
    .unwrap();
    assert!(text == plain.body && text.len() > 10 * packed.body.len() / 2);
    alice.end().await;
}
