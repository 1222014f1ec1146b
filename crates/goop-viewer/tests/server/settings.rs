//! Settings, and what the settings page asks.

use goop_viewer::Viewer;
use serde_json::{Value, json};

use crate::harness::alice;

#[tokio::test]
async fn settings_are_changed_all_or_none_and_secrets_never_leave() {
    let alice = alice().await;
    let secret =
        json!({"profile": {"verification_token": "s3cret"}, "presence": {"admin_password": "pw"}});
    assert_eq!(
        alice.post("/api/settings", secret).await,
        (
            200,
            json!({"status": "ok",
        "restart": ["profile.verification_token", "presence.admin_password"]})
        )
    );
    let text = alice.get("/api/settings").await.text();
    assert!(
        !text.contains("s3cret") && !text.contains("nacl_private_key"),
        "{text}"
    );
    let all: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(all["secrets"]["profile.verification_token"], true);
    assert_eq!(all["secrets"]["profile.bridge_token"], false);

    let changed = json!({"profile": {"label": "Alice L.", "verification_token": ""}, "p2p": {"listen_port": 4711}});
    assert_eq!(
        alice.post("/api/settings", changed).await,
        (200, json!({"status": "ok", "restart": ["p2p.listen_port"]}))
    );
    for (wanted, field) in [
        (
            json!({"p2p": {"listen_port": 99_999}, "profile": {"label": "lost"}}),
            "p2p.listen_port",
        ),
        (json!({"p2p": {"listen_port": "x"}}), "p2p.listen_port"),
        (json!({"p2p": {"no_such": 1}}), "p2p.no_such"),
        (json!({"nothing": {"x": 1}}), "nothing.x"),
        (
            json!({"p2p": {"nacl_public_key": "mine"}}),
            "p2p.nacl_public_key",
        ),
        (
            json!({"presence": {"ttl_seconds": null}}),
            "presence.ttl_seconds",
        ),
        (
            json!({"presence": {"heartbeat_seconds": 50}}),
            "presence.heartbeat_seconds",
        ),
    ] {
        let (status, answer) = alice.post("/api/settings", wanted.clone()).await;
        assert_eq!(
            (status, &answer["errors"][0]["field"]),
            (400, &json!(field)),
            "{wanted} {answer}"
        );
    }
    let all = alice.read("/api/settings").await;
    assert_eq!(
        (
            &all["sections"]["profile"]["label"],
            &all["sections"]["p2p"]["listen_port"]
        ),
        (&json!("Alice L."), &json!(4711))
    );
    assert_eq!(
        all["secrets"]["profile.verification_token"], true,
        "an empty secret means unchanged"
    );
    let erased = json!({"profile": {"verification_token": null}});
    assert_eq!(alice.post("/api/settings", erased).await.0, 200);
    assert_eq!(
        alice.read("/api/settings").await["secrets"]["profile.verification_token"],
        false
    );
    alice.end().await;
}

#[tokio::test]
async fn dividers_stay_where_they_were() {
    let alice = alice().await;
    for (key, value) in [("editor", json!(33)), ("docs", json!(12.5))] {
        assert_eq!(
            alice
                .post("/api/split-prefs", json!({"key": key, "value": value}))
                .await
                .0,
            200
        );
    }
    assert_eq!(
        alice.read("/api/session").await["split_prefs"]["docs"],
        12.5
    );
    let file = std::fs::read_to_string(alice.folder.root().join("split-prefs.json")).unwrap();
    assert!(
        file.contains("\"editor\": 33") && file.contains("\"docs\": 12.5"),
        "{file}"
    );
    alice.end().await;
}

#[tokio::test]
async fn uploads_and_bodies_have_limits() {
    let alice = alice().await;
    let form = |bytes: &[u8]| {
        let mut body =
            b"--x\r\nContent-Disposition: form-data; name=\"avatar\"; filename=\"a\"\r\n\r\n"
                .to_vec();
        body.extend_from_slice(bytes);
        body.extend_from_slice(b"\r\n--x--\r\n");
        body
    };
    let kind = "Content-Type: multipart/form-data; boundary=x".to_owned();
    let put = |bytes: Vec<u8>| {
        let (alice, kind) = (&alice, kind.clone());
        async move {
            alice
                .send(
                    "POST",
                    "/api/avatar/upload",
                    &[alice.owner(), kind],
                    &form(&bytes),
                )
                .await
        }
    };
    assert_eq!(put(b"GIF89a....".to_vec()).await.status, 200);
    assert_eq!(
        alice
            .get("/api/avatar")
            .await
            .header("content-type")
            .unwrap(),
        "image/gif"
    );
    assert_eq!(put(b"<svg onload=alert(1)>".to_vec()).await.status, 400);
    assert_eq!(
        put([b"GIF89a".to_vec(), vec![0; 270_000]].concat())
            .await
            .text(),
        "file too large (max 256KB)\n"
    );
    let large = format!("{{\"label\":\"{}\"}}", "x".repeat(70_000));
    assert!(
        alice
            .send(
                "POST",
                "/api/settings/quick",
                &[alice.owner()],
                large.as_bytes()
            )
            .await
            .status
            >= 400
    );
    alice.end().await;
}

#[tokio::test]
async fn busy_and_wrong_addresses_are_said() {
    let taken = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let error = Viewer::bind(&taken.local_addr().unwrap().to_string())
        .await
        .unwrap_err()
        .to_string();
    assert!(error.contains("viewer.http_addr"), "{error}");
    assert!(Viewer::bind("nonsense").await.is_err());
    Viewer::bind("").await.unwrap();
}
