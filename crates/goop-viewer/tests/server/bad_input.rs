//! What nobody should send, and what happens then: a clear message at the place, and nothing lost.
//!
//! | Bad input | Test |
//! |---|---|
//! | own name or e-mail of markup, control and right-to-left characters, 1 MB long | [`own_names_are_text_with_a_limit`] |
//! | the same of a neighbour | goop-identity `tests/presence.rs`, `cargo xtask e2e --browser "only text"` |
//! | paths of that kind | [`paths_are_text_with_a_limit`], goop-site `tests/store.rs` `paths` |
//! | log lines of that kind | [`log_lines_are_text_with_a_limit`], `live.rs` `log_lines_stay_one_line` |
//! | archives with `..`, links, bombs, wrong checksums, names twice, Windows paths | goop-site `tests/archive.rs` `what_must_not_come_in_does_not_and_the_site_stays`; through the API: [`an_archive_that_is_refused_changes_nothing`] |
//! | names that differ in case only | goop-site `tests/archive.rs` `names_that_differ_in_case_only_are_two_files_where_the_disk_says_so`, `tests/store.rs` `moving_replaces_nothing` |
//! | a file that changes while it is saved | goop-site `tests/store.rs` `a_file_that_changes_while_it_is_written_is_a_conflict`; through the API: `site.rs` `two_writers_of_one_file_both_keep_their_text` |
//! | a full disk in the middle of a save or an import | `cargo xtask e2e "full disk"` |
//! | a session cookie stolen to another origin | [`a_stolen_cookie_opens_nothing_elsewhere`], `owner.rs` `the_owner_is_proven` |
//! | double clicks, two tabs at once | [`two_clicks_are_one`], [`two_tabs_at_once_lose_nothing`], [`settings_of_many_tabs_at_once_all_stay`] |
//! | a writer that does not say what it knows | [`what_is_replaced_unseen_can_be_brought_back`] |

use goop_identity::label::host_label;
use serde_json::{Value, json};

use crate::harness::{ALICE, Alice, Answer, alice, multipart, part};

const STRANGE: [&str; 4] = [
    "<img src=x onerror=alert(1)>",
    "\u{202e}txt.exe\u{2066}",
    "\"'`${x}</script>&amp;",
    "名前 🦀 e\u{301}",
];

async fn upload(alice: &Alice, path: &str, known: Option<&str>, bytes: &[u8]) -> Answer {
    let mut parts = vec![part("path", false, path.as_bytes())];
    parts.extend(known.map(|known| part("if_match", false, known.as_bytes())));
    parts.push(part("file", true, bytes));
    let (kind, body) = multipart(&parts);
    alice
        .send("POST", "/api/site/upload", &[alice.owner(), kind], &body)
        .await
}

fn value(answer: &Answer) -> Value {
    serde_json::from_slice(&answer.body).unwrap_or_else(|_| panic!("{}", answer.text()))
}

async fn text_of(alice: &Alice, path: &str) -> String {
    let opened = alice.read(&format!("/api/site/content?path={path}")).await;
    opened["content"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn own_names_are_text_with_a_limit() {
    let alice = alice().await;
    for name in STRANGE {
        let change = json!({"label": name, "email": name});
        assert_eq!(alice.post("/api/settings/quick", change).await.0, 200);
        let now = alice.read("/api/self").await;
        assert_eq!((&now["label"], &now["email"]), (&json!(name), &json!(name)));
        let raw = alice.get("/api/self").await.text();
        assert!(!raw.contains('<') && !raw.contains('&'), "{raw}");
    }
    let before = std::fs::read(alice.folder.root().join("goop.json")).unwrap();
    for (name, text) in [
        ("x".repeat(5_000), "is longer than 4096 bytes"),
        ("one\ntwo".to_owned(), "control character"),
        ("\u{1b}[31m".to_owned(), "control character"),
    ] {
        let (status, said) = alice
            .post(
                "/api/settings/quick",
                json!({"label": name, "theme": "light"}),
            )
            .await;
        let said = said.as_str().unwrap();
        assert!(
            status == 400 && said.starts_with("profile.label ") && said.contains(text),
            "{said}"
        );
        let (status, said) = alice
            .post("/api/settings", json!({"profile": {"email": name}}))
            .await;
        assert_eq!(
            (status, &said["errors"][0]["field"]),
            (400, &json!("profile.email"))
        );
    }
    let long = json!({"label": "x".repeat(1 << 20)});
    let (status, said) = alice.post("/api/settings/quick", long).await;
    assert_eq!(
        (status, said.as_str().unwrap()),
        (413, "this is too large: at most 64 KiB are taken here\n")
    );
    let now = std::fs::read(alice.folder.root().join("goop.json")).unwrap();
    assert!(now == before, "something was saved");
    alice.end().await;
}

#[tokio::test]
async fn paths_are_text_with_a_limit() {
    let alice = alice().await;
    let save = |path: String| {
        let alice = &alice;
        async move {
            alice
                .post("/api/site/save", json!({"path": path, "content": "x"}))
                .await
        }
    };
    for name in ["<b>.html", "\u{202e}lmth.html", "名前 🦀.html", "CON.html"] {
        assert_eq!(save(format!("odd/{name}")).await.0, 200, "{name}");
        let listed = alice.get("/api/site/files").await.text();
        assert!(!listed.contains('<'), "{listed}");
        let files: Value = serde_json::from_str(&listed).unwrap();
        let is_it = |file: &Value| file["Path"] == format!("odd/{name}");
        assert!(files.as_array().unwrap().iter().any(is_it), "{name}");
    }
    let files = alice.get("/api/site/files").await.text();
    for path in [
        "x".repeat(1 << 20),
        "x".repeat(300),
        "a/".repeat(10_000),
        "a\nb".to_owned(),
        "a\0b".to_owned(),
        "a\\b".to_owned(),
        "../goop.json".to_owned(),
        String::new(),
    ] {
        let shown: String = path.chars().take(20).collect();
        let (status, said) = save(path.clone()).await;
        assert!(
            status == 400 && said.is_string(),
            "{shown:?}: {status} {said}"
        );
        if !path.is_empty() {
            let answer = upload(&alice, &path, None, b"x").await;
            assert_eq!(answer.status, 400, "{shown:?}: {}", answer.text());
        }
    }
    assert_eq!(alice.get("/api/site/files").await.text(), files);
    let far = format!("/api/fs/browse?dir=/{}", "x".repeat(1 << 20));
    assert_eq!(alice.get(&far).await.status, 431);
    for dir in ["/%00", "/none%0a", "relative/none"] {
        let answer = alice.get(&format!("/api/fs/browse?dir={dir}")).await;
        assert_eq!(
            (answer.status, answer.text().as_str()),
            (400, "cannot read directory\n")
        );
    }
    alice.end().await;
}

#[tokio::test]
async fn log_lines_are_text_with_a_limit() {
    let alice = alice().await;
    let say = |message: String| {
        alice.post(
            "/api/logs/client",
            json!({"message": message, "source": "<b>\n"}),
        )
    };
    assert_eq!(say(STRANGE.concat()).await.0, 204);
    assert_eq!(say("x".repeat(50_000)).await.0, 204);
    assert_eq!(say("x".repeat(1 << 20)).await.0, 413);
    let raw = alice.get("/api/logs").await.text();
    assert!(!raw.contains('<') && raw.lines().count() == 1);
    assert!(
        alice
            .logs
            .lines()
            .iter()
            .all(|line| line.msg.len() <= 4_096)
    );
    assert!(
        alice
            .logs
            .lines()
            .iter()
            .any(|line| line.msg.contains(STRANGE[0]))
    );
    alice.end().await;
}

#[tokio::test]
async fn an_archive_that_is_refused_changes_nothing() {
    let alice = alice().await;
    let before = alice.get("/api/site/files").await.text();
    for archive in [&b""[..], b"PK\x05\x06", b"not a zip", &[0; 100_000]] {
        let (kind, body) = multipart(&[part("file", true, archive)]);
        let answer = alice
            .send("POST", "/api/site/import", &[alice.owner(), kind], &body)
            .await;
        assert_eq!(answer.status, 400, "{}", answer.text());
        assert!(answer.text().starts_with("failed to"), "{}", answer.text());
    }
    // A form that breaks off in the middle of the archive.
    let (kind, body) = multipart(&[part("file", true, &[b'x'; 1_000])]);
    let answer = alice
        .send(
            "POST",
            "/api/site/import",
            &[alice.owner(), kind],
            &body[..500],
        )
        .await;
    assert_eq!(answer.status, 400, "{}", answer.text());
    assert_eq!(alice.get("/api/site/files").await.text(), before);
    alice.end().await;
}

#[tokio::test]
async fn a_stolen_cookie_opens_nothing_elsewhere() {
    let alice = alice().await;
    let started = alice
        .send("GET", &format!("/start?token={}", alice.start), &[], b"")
        .await;
    let cookie = started.header("set-cookie").unwrap();
    let pair = cookie.split(';').next().unwrap();
    let mine = format!("Cookie: {pair}");
    assert_eq!(
        alice
            .send("GET", "/api/settings", std::slice::from_ref(&mine), b"")
            .await
            .status,
        200
    );

    let site = format!(
        "{}.localhost:{}",
        host_label(&ALICE.parse().unwrap()),
        alice.port
    );
    let from_site = [mine.clone(), format!("Host: {site}")];
    let change = b"{\"label\":\"stolen\"}";
    for path in [
        "/api/settings",
        "/api/site/files",
        "/api/logs",
        "/metrics",
        "/api/fs/browse",
    ] {
        assert_eq!(
            alice.send("GET", path, &from_site, b"").await.status,
            404,
            "{path}"
        );
    }
    for path in [
        "/api/settings/quick",
        "/api/site/save",
        "/settings/save",
        "/edit/save",
        "/open",
    ] {
        assert_eq!(
            alice.send("POST", path, &from_site, change).await.status,
            404,
            "{path}"
        );
        for origin in [
            format!("http://{site}"),
            "https://evil.example".to_owned(),
            "null".to_owned(),
        ] {
            let from = [mine.clone(), format!("Origin: {origin}")];
            assert_eq!(
                alice.send("POST", path, &from, change).await.status,
                403,
                "{path} {origin}"
            );
        }
        let proxied = [mine.clone(), "Forwarded: for=1.2.3.4".to_owned()];
        assert_eq!(
            alice.send("POST", path, &proxied, change).await.status,
            404,
            "{path}"
        );
    }
    // Browsers send the cookies of all ports of a host: that of another peer is none of ours.
    let (name, secret) = pair.split_once('=').unwrap();
    let other = format!("Cookie: {name}0={secret}");
    assert_eq!(
        alice
            .send("GET", "/api/settings", &[other], b"")
            .await
            .status,
        401
    );
    assert_eq!(alice.read("/api/self").await["label"], "Alice");
    alice.end().await;
}

#[tokio::test]
async fn two_clicks_are_one() {
    let alice = alice().await;
    let known = alice.read("/api/site/content").await["etag"].clone();
    for (path, known) in [("index.html", known), ("new.html", json!("none"))] {
        let save = || {
            alice.post(
                "/api/site/save",
                json!({"path": path, "content": "twice", "if_match": known}),
            )
        };
        let (one, two) = tokio::join!(save(), save());
        assert_eq!((one.0, two.0), (200, 200), "{path}: {} {}", one.1, two.1);
        assert_eq!(one.1["etag"], two.1["etag"]);
    }
    let make = || alice.post("/api/site/mkdir", json!({"path": "folder"}));
    let (one, two) = tokio::join!(make(), make());
    assert_eq!((one.0, two.0), (200, 200));
    let delete = || alice.post("/api/site/delete", json!({"path": "new.html"}));
    let (one, two) = tokio::join!(delete(), delete());
    let mut both = [one, two];
    both.sort_by_key(|(status, _)| *status);
    assert_eq!(
        (both[0].0, both[1].0, both[1].1.as_str()),
        (200, 400, Some("not found\n"))
    );
    let undo = || alice.post("/api/site/undo", json!({"undo": both[0].1["undo"]}));
    let (one, two) = tokio::join!(undo(), undo());
    assert_eq!(one.0.min(two.0), 200);
    assert_eq!(text_of(&alice, "new.html").await, "twice");
    alice.end().await;
}

#[tokio::test]
async fn two_tabs_at_once_lose_nothing() {
    let alice = alice().await;
    let known = alice.read("/api/site/content").await["etag"].clone();
    let save = |text: &'static str| {
        alice.post(
            "/api/site/save",
            json!({"path": "index.html", "content": text, "if_match": known}),
        )
    };
    let (one, two) = tokio::join!(save("one"), save("two"));
    let (refused, kept) = if one.0 == 409 {
        (one, "two")
    } else {
        (two, "one")
    };
    assert_eq!((refused.0, &refused.1["content"]), (409, &json!(kept)));
    assert_eq!(text_of(&alice, "index.html").await, kept);

    let known = refused.1["etag"].as_str().unwrap().to_owned();
    let (one, two) = tokio::join!(
        upload(&alice, "index.html", Some(&known), b"three"),
        upload(&alice, "index.html", Some(&known), b"four")
    );
    let (refused, kept) = if one.status == 409 {
        (one, "four")
    } else {
        (two, "three")
    };
    assert_eq!(
        (refused.status, &value(&refused)["content"]),
        (409, &json!(kept))
    );
    let new = upload(&alice, "index.html", Some("none"), b"five").await;
    assert_eq!((new.status, &value(&new)["content"]), (409, &json!(kept)));
    alice.end().await;
}

#[tokio::test]
async fn settings_of_many_tabs_at_once_all_stay() {
    let alice = alice().await;
    let changes = [
        json!({"profile": {"label": "Many"}}),
        json!({"profile": {"email": "many@example.org"}}),
        json!({"p2p": {"listen_port": 4242}}),
        json!({"viewer": {"peer_offline_grace_min": 7}}),
        json!({"presence": {"heartbeat_seconds": 4}}),
        json!({"lua": {"max_memory_mb": 11}}),
    ];
    let saved = futures_util::future::join_all(
        changes
            .iter()
            .map(|change| alice.post("/api/settings", change.clone())),
    );
    assert!(saved.await.iter().all(|(status, _)| *status == 200));
    let now = alice.read("/api/settings").await;
    for change in &changes {
        let (section, fields) = change.as_object().unwrap().iter().next().unwrap();
        let (field, value) = fields.as_object().unwrap().iter().next().unwrap();
        assert_eq!(now["sections"][section][field], *value, "{section}.{field}");
    }
    alice.end().await;
}

#[tokio::test]
async fn what_is_replaced_unseen_can_be_brought_back() {
    let alice = alice().await;
    let first = text_of(&alice, "index.html").await;
    // The editor's own route asks who does not look to look.
    let blind = json!({"path": "index.html", "content": "blind"});
    let (status, said) = alice.post("/api/site/save", blind).await;
    assert_eq!((status, &said["content"]), (409, &json!(first)));
    let any = json!({"path": "index.html", "content": "any", "if_match": "any"});
    let (_, saved) = alice.post("/api/site/save", any).await;
    let (status, back) = alice
        .post("/api/site/undo", json!({"undo": saved["undo"]}))
        .await;
    assert_eq!((status, &back["path"]), (200, &json!("index.html")));
    assert_eq!(text_of(&alice, "index.html").await, first);
    assert_eq!(
        alice
            .post("/api/site/undo", json!({"undo": back["undo"]}))
            .await
            .0,
        200
    );
    assert_eq!(text_of(&alice, "index.html").await, "any");

    // Forms and uploads of the Go program's clients replace, and say how to undo it.
    let form = [
        alice.owner(),
        "Content-Type: application/x-www-form-urlencoded".to_owned(),
    ];
    let saved = alice
        .send("POST", "/edit/save", &form, b"path=index.html&content=form")
        .await;
    let to = saved.header("location").unwrap();
    let (_, undo) = to
        .split_once("/edit?path=index.html&saved=1&undo=")
        .unwrap();
    let upload = value(&upload(&alice, "index.html", None, b"upload").await);
    let (status, said) = alice.post("/api/site/undo", json!({ "undo": undo })).await;
    assert!(
        status == 409 && said.as_str().unwrap().contains("changed since"),
        "{said}"
    );
    assert_eq!(text_of(&alice, "index.html").await, "upload");
    assert_eq!(
        alice
            .post("/api/site/undo", json!({"undo": upload["undo"]}))
            .await
            .0,
        200
    );
    assert_eq!(text_of(&alice, "index.html").await, "form");
    assert_eq!(
        alice
            .post("/api/site/undo", json!({ "undo": undo }))
            .await
            .0,
        200
    );
    assert_eq!(text_of(&alice, "index.html").await, "any");
    alice.end().await;
}

#[tokio::test]
async fn a_form_of_settings_changes_what_it_holds() {
    let alice = alice().await;
    let secret =
        json!({"profile": {"bridge_token": "s3cret"}, "presence": {"relay_key_file": "x.key"}});
    assert_eq!(alice.post("/api/settings", secret).await.0, 200);
    let kind = "Content-Type: application/x-www-form-urlencoded".to_owned();
    let save = |body: &'static str| {
        let headers = [alice.owner(), kind.clone()];
        let alice = &alice;
        async move {
            alice
                .send("POST", "/settings/save", &headers, body.as_bytes())
                .await
        }
    };
    let saved = save("csrf=x&viewer_debug=on&p2p_listen_port=4711&profile_bridge_token=").await;
    assert_eq!(
        (saved.status, saved.header("location").as_deref()),
        (302, Some("/self?saved=1#settings"))
    );
    let now = alice.read("/api/settings").await;
    assert_eq!(now["sections"]["viewer"]["debug"], true);
    assert_eq!(now["sections"]["p2p"]["listen_port"], 4711);
    assert_eq!(
        now["sections"]["presence"]["relay_key_file"], "x.key",
        "absent means unchanged"
    );
    assert_eq!(now["secrets"]["profile.bridge_token"], true, "empty, too");
    let wrong = save("viewer_debug=off&p2p_listen_port=99999").await;
    assert_eq!(
        (wrong.status, wrong.text().as_str()),
        (400, "p2p.listen_port must be 0..65535\n")
    );
    assert_eq!(
        alice.read("/api/settings").await["sections"]["viewer"]["debug"],
        true
    );
    alice.end().await;
}
