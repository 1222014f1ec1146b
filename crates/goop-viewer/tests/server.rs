//! A real viewer on 127.0.0.1 over the recorded folder of Alice: the recorded contract, sessions, events, limits.
#![allow(clippy::unwrap_used, missing_docs)]

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use futures_util::future::BoxFuture;
use goop_identity::PeerId;
use goop_identity::avatar::{Avatar, AvatarFile, AvatarHash};
use goop_identity::folder::PeerFolder;
use goop_identity::label::host_label;
use goop_net::{Discovery, Listen, Net, NetConfig, Router};
use goop_site::{Site, SiteRequest, VisitError};
use goop_viewer::{Context, LogRing, Neighbours, Viewer};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

const ALICE: &str = "12D3KooWK99VoVxNE7XzyBwXEzW7xhK7Gpv85r9F3V3fyKSUKPH5";

struct Nobody;

impl Neighbours for Nobody {
    fn fetch(
        &self,
        _: PeerId,
        _: SiteRequest,
    ) -> BoxFuture<'_, Result<http::Response<Body>, VisitError>> {
        Box::pin(async { Err(VisitError::Unreachable("nobody is there".into())) })
    }
    fn avatar(&self, _: PeerId, _: AvatarHash) -> BoxFuture<'_, Option<Avatar>> {
        Box::pin(async { None })
    }
}

struct Alice {
    port: u16,
    token: String,
    start: String,
    logs: LogRing,
    events: goop_viewer::events::EventLog,
    leave: CancellationToken,
    running: tokio::task::JoinHandle<()>,
    _folder: PeerFolder,
    _dir: tempfile::TempDir,
}

fn fixtures() -> PathBuf {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../fixtures")).to_owned()
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target)
        } else {
            std::fs::copy(entry.path(), target).map(drop).unwrap()
        }
    }
}

async fn alice() -> Alice {
    let dir = tempfile::tempdir().unwrap();
    copy(&fixtures().join("folders/alice"), dir.path());
    let folder = PeerFolder::open(dir.path()).unwrap();
    let identity = goop_identity::Identity::load(&folder).unwrap();
    // The recording began before its own changes of settings.
    folder
        .config()
        .update(|config| {
            config.viewer.theme = "dark".into();
            config.viewer.preferred_cam = String::new();
        })
        .unwrap();
    let config = NetConfig {
        listen: Listen::Loopback { port: 0 },
        discovery: Discovery::Off,
        ..NetConfig::new(identity.keypair.clone())
    };
    let net = Net::start(config, Router::new()).await.unwrap();
    let logs = LogRing::default();
    let context = Context {
        keypair: identity.keypair,
        config: folder.config().clone(),
        net,
        site: Site::open(&folder.root().join("site"), &[]).unwrap(),
        avatar: AvatarFile::open(&folder.root().join("avatar.png")),
        neighbours: Arc::new(Nobody),
        logs: logs.clone(),
        profile_changed: Arc::new(|| ()),
        metrics: None,
        data_folder: folder.root().join("data"),
        version: "0.0.0",
    };
    let viewer = Viewer::new(Viewer::bind("127.0.0.1:0").await.unwrap(), context).unwrap();
    let port = viewer
        .control_url()
        .rsplit(':')
        .next()
        .unwrap()
        .parse()
        .unwrap();
    let start = viewer
        .start_link()
        .split_once("token=")
        .unwrap()
        .1
        .to_owned();
    let token = std::fs::read_to_string(folder.root().join("data/control.token")).unwrap();
    let (leave, events) = (CancellationToken::new(), viewer.events());
    let running = tokio::spawn(viewer.run(leave.clone()));
    Alice {
        port,
        token,
        start,
        logs,
        events,
        leave,
        running,
        _folder: folder,
        _dir: dir,
    }
}

struct Answer {
    status: u16,
    head: String,
    body: Vec<u8>,
}

impl Answer {
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
    fn header(&self, name: &str) -> Option<String> {
        let line = self
            .head
            .lines()
            .find(|line| line.to_lowercase().starts_with(&format!("{name}:")))?;
        Some(line.split_once(':')?.1.trim().to_owned())
    }
}

impl Alice {
    /// Sends a request head line by line and reads the whole answer.
    async fn send(&self, method: &str, path: &str, headers: &[String], body: &[u8]) -> Answer {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).await.unwrap();
        let mut head = format!(
            "{method} {path} HTTP/1.1\r\nConnection: close\r\nContent-Length: {}\r\n",
            body.len()
        );
        if !headers.iter().any(|line| line.starts_with("Host:")) {
            head.push_str(&format!("Host: 127.0.0.1:{}\r\n", self.port));
        }
        for line in headers {
            head.push_str(line);
            head.push_str("\r\n");
        }
        stream
            .write_all(format!("{head}\r\n").as_bytes())
            .await
            .unwrap();
        stream.write_all(body).await.unwrap();
        let mut all = Vec::new();
        stream.read_to_end(&mut all).await.unwrap();
        let end = all
            .windows(4)
            .position(|window| window == b"\r\n\r\n")
            .unwrap();
        let head = String::from_utf8_lossy(&all[..end]).into_owned();
        Answer {
            status: head[9..12].parse().unwrap(),
            head,
            body: all[end + 4..].to_vec(),
        }
    }

    fn owner(&self) -> String {
        format!("Authorization: Bearer {}", self.token)
    }

    async fn get(&self, path: &str) -> Answer {
        self.send("GET", path, &[self.owner()], b"").await
    }

    async fn end(self) {
        self.leave.cancel();
        tokio::time::timeout(Duration::from_secs(2), self.running)
            .await
            .unwrap()
            .unwrap();
    }
}

/// Records that are answered differently on purpose, with the reason.
fn deviates(n: u64) -> Option<&'static str> {
    Some(match n {
        2 | 3 | 4 | 5 | 13 => "another peer took part in the recording",
        7 | 34 => "the parser names the mistake in its own words",
        15 | 16 => "so does the network",
        18..=22 | 26..=29 => "recorded at Bob's; pictures have tests of their own",
        35..=44 => "services, rendezvous and pane positions come with later parts",
        52 | 57..=61 | 67..=69 | 71 => "pages and routes of later parts, or our own document",
        62 | 63 | 66 => "the SDK and its assets come with a later part",
        64 => "ours answers for monitors",
        74..=112 => "sites have origins of their own here; the tests of sites cover them",
        726.. => "a second run with other peers",
        _ => return None,
    })
}

#[tokio::test]
async fn the_recorded_contract() {
    let alice = alice().await;
    let mut checked = Vec::new();
    for line in std::fs::read_to_string(fixtures().join("wire/viewer/http.jsonl"))
        .unwrap()
        .lines()
    {
        let record: Value = serde_json::from_str(line).unwrap();
        let n = record["n"].as_u64().unwrap();
        let area = record["area"].as_str().unwrap();
        if record["peer"] != "A"
            || deviates(n).is_some()
            || !["identity", "avatar", "settings", "logs", "static"].contains(&area)
        {
            continue;
        }
        let (request, response) = (&record["request"], &record["response"]);
        let body = request["body_text"].as_str().unwrap_or_default();
        let path = request["path"].as_str().unwrap();
        let answer = alice
            .send(
                request["method"].as_str().unwrap(),
                path,
                &[alice.owner()],
                body.as_bytes(),
            )
            .await;
        assert_eq!(
            u64::from(answer.status),
            response["status"].as_u64().unwrap(),
            "{n} {path}: {}",
            answer.text()
        );
        if let Some(text) = response["body_text"]
            .as_str()
            .filter(|_| response["body_cut"] != true)
        {
            assert_eq!(answer.text(), text, "{n} {path}");
        }
        for name in [
            "content-type",
            "location",
            "cache-control",
            "x-content-type-options",
        ] {
            if let Some(value) = response["headers"][name]
                .as_str()
                .filter(|_| area != "static" || name == "location")
            {
                assert_eq!(
                    answer.header(name).as_deref(),
                    Some(value),
                    "{n} {path} {name}"
                );
            }
        }
        checked.push(n);
    }
    assert!(checked.len() >= 20, "{checked:?}");
    alice.end().await;
}

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
    assert_ne!(port, alice.port);
    let site = Alice { port, ..alice };
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

/// Reads a stream until it holds `wanted`.
async fn read_until(stream: &mut TcpStream, wanted: &str) -> String {
    let mut all = Vec::new();
    let read = async {
        while !String::from_utf8_lossy(&all).contains(wanted) {
            assert_ne!(
                stream.read_buf(&mut all).await.unwrap(),
                0,
                "the stream ended"
            );
        }
    };
    tokio::time::timeout(Duration::from_secs(5), read)
        .await
        .unwrap_or_else(|_| panic!("no {wanted}"));
    String::from_utf8_lossy(&all).into_owned()
}

#[tokio::test]
async fn events_reach_every_listener_and_resume() {
    let alice = alice().await;
    let open = |more: String| {
        let (port, owner) = (alice.port, alice.owner());
        async move {
            let mut stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
            let head = format!(
                "GET /api/mq/events HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n{owner}\r\n{more}\r\n"
            );
            stream.write_all(head.as_bytes()).await.unwrap();
            stream
        }
    };
    let (mut one, mut two) = (open(String::new()).await, open(String::new()).await);
    for stream in [&mut one, &mut two] {
        read_until(stream, "event: connected\ndata: {\"status\":\"ok\"}").await;
    }
    alice
        .events
        .publish("peer:gone", &serde_json::json!({ "peerID": "first" }));
    let seen = read_until(&mut one, "first").await;
    read_until(&mut two, "first").await;
    let id = seen
        .lines()
        .find_map(|line| line.strip_prefix("id: ").or(line.strip_prefix("id:")))
        .unwrap()
        .trim()
        .to_owned();
    drop((one, two));
    alice
        .events
        .publish("peer:gone", &serde_json::json!({ "peerID": "second" }));
    let mut back = open(format!("Last-Event-ID: {id}\r\n")).await;
    let resumed = read_until(&mut back, "second").await;
    assert!(
        !resumed.contains("first") && !resumed.contains("event: reset"),
        "{resumed}"
    );
    // An id of another run, or one that fell out of the log: start anew.
    let mut lost = open("Last-Event-ID: 00000000-7\r\n".into()).await;
    read_until(&mut lost, "event: reset").await;
    for n in 0..1_100 {
        alice.events.publish("peer:gone", &n);
    }
    let mut late = open(format!("Last-Event-ID: {id}\r\n")).await;
    read_until(&mut late, "event: reset").await;
    alice.end().await;
}

#[tokio::test]
async fn log_lines_stay_one_line() {
    let alice = alice().await;
    let body = b"{\"level\":\"warn\",\"message\":\"one\\nFAKE two\\u001b[31m\"}";
    assert_eq!(
        alice
            .send("POST", "/api/logs/client", &[alice.owner()], body)
            .await
            .status,
        204
    );
    let lines = alice.logs.lines();
    assert!(
        lines
            .iter()
            .any(|line| line.msg == "[warn] [client] one FAKE two [31m"),
        "{lines:?}"
    );
    let listed: Value = serde_json::from_slice(&alice.get("/api/logs").await.body).unwrap();
    assert!(
        listed
            .as_array()
            .unwrap()
            .iter()
            .all(|line| line["ts"].is_string() && line["level"].is_string())
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
