//! A real viewer on 127.0.0.1 over the recorded folder of Alice: the recorded contract, sessions, events, limits.
#![allow(clippy::unwrap_used, missing_docs)]

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use base64::Engine;
use futures_util::future::BoxFuture;
use goop_identity::PeerId;
use goop_identity::avatar::{Avatar, AvatarFile, AvatarHash};
use goop_identity::folder::PeerFolder;
use goop_identity::label::host_label;
use goop_mq::keys::KeyBook;
use goop_mq::topic::{LocalTopic, PeerTopic};
use goop_mq::wire::Payload;
use goop_mq::{DialError, Dialer, Mq, Setup, Streams};
use goop_net::{Discovery, Listen, Net, NetConfig, Router};
use goop_site::archive::Places;
use goop_site::store::Store;
use goop_site::{Site, SiteRequest, VisitError};
use goop_viewer::{Context, LogRing, Neighbours, Viewer};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

const ALICE: &str = "12D3KooWK99VoVxNE7XzyBwXEzW7xhK7Gpv85r9F3V3fyKSUKPH5";
const BOB: &str = "12D3KooWJWoaqZhDaoEFshF7Rh1bpY9ohihFhzcW6d69Lr2NASuq";

fn peer_id(text: &str) -> PeerId {
    goop_identity::label::parse_peer_id(text).unwrap()
}

fn bus(me: &str) -> (Mq, goop_mq::Task) {
    Mq::new(Setup {
        me: peer_id(me),
        own: Arc::new(Default::default),
        keys: KeyBook::new(None),
        hints: Arc::new(|_| None),
        router: goop_mq::router::Router::new(),
    })
}

/// Leads to one other peer in memory; nobody else has an address.
#[derive(Clone)]
struct To(PeerId, Mq);

impl Dialer for To {
    type Stream = tokio::io::DuplexStream;

    async fn open(&self, peer: PeerId, _: &'static str) -> Result<Self::Stream, DialError> {
        if peer != self.1.me() {
            return Err(DialError::Unreachable("no addresses".into()));
        }
        let (near, mut far) = tokio::io::duplex(1 << 16);
        let (from, mq) = (self.0, self.1.clone());
        tokio::spawn(async move { mq.serve(from, false, &mut far).await });
        Ok(near)
    }
}

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
    mq: Mq,
    bob: Mq,
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
    let ((mq, sending), (bob, answering)) = (bus(ALICE), bus(BOB));
    let leave = CancellationToken::new();
    let to = |from: &Mq, to: &Mq| Streams(To(from.me(), to.clone()));
    tokio::spawn(sending.run(to(&mq, &bob), leave.clone()));
    tokio::spawn(answering.run(to(&bob, &mq), leave.clone()));
    let context = Context {
        mq: mq.clone(),
        keypair: identity.keypair,
        config: folder.config().clone(),
        net,
        site: Site::open(&folder.root().join("site"), &[]).unwrap(),
        store: Store::open(&folder.root().join("site"), &folder.root().join("data/bin")).unwrap(),
        places: Places {
            site: folder.root().join("site"),
            scripts: folder.root().join("site/lua"),
            work: folder.root().join("data/import"),
        },
        folder: folder.root().to_owned(),
        avatar: AvatarFile::open(&folder.root().join("avatar.png")),
        neighbours: Arc::new(Nobody),
        logs: logs.clone(),
        profile_changed: Arc::new(|| ()),
        restart: Arc::new(|| ()),
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
    let running = tokio::spawn(viewer.run(leave.clone()));
    Alice {
        port,
        token,
        start,
        logs,
        mq,
        bob,
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
        35..=41 => "services and rendezvous come with later parts",
        113 => "the folder was recorded when it had more files",
        50 | 124 => "files of the recording's machine; a test of its own browses and takes one",
        126 => "the system's error in its own words",
        131 => "the owner is proven by more than a token in the form",
        137 => "the path on the disk is nobody's business",
        140..=148 => "scripts come with a later part",
        52 | 57..=61 | 67..=69 | 71 => "pages and routes of later parts, or our own document",
        62 | 63 | 66 => "the SDK and its assets come with a later part",
        64 => "ours answers for monitors",
        74..=112 => "sites have origins of their own here; the tests of sites cover them",
        726.. => "a second run with other peers",
        _ => return None,
    })
}

/// Whether an answer says everything that the recorded one says. It may say more.
fn covers(ours: &Value, theirs: &Value) -> bool {
    match (ours, theirs) {
        (Value::Object(ours), Value::Object(theirs)) => theirs
            .iter()
            .all(|(key, value)| ours.get(key).is_some_and(|own| covers(own, value))),
        (Value::Array(ours), Value::Array(theirs)) => {
            ours.len() == theirs.len()
                && ours
                    .iter()
                    .zip(theirs)
                    .all(|(own, value)| covers(own, value))
        }
        _ => ours == theirs,
    }
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
            || ![
                "identity", "avatar", "settings", "logs", "static", "site-api", "editor", "fs",
            ]
            .contains(&area)
        {
            continue;
        }
        let (request, response) = (&record["request"], &record["response"]);
        let body = match request["body_base64"].as_str() {
            Some(text) => base64::engine::general_purpose::STANDARD
                .decode(text)
                .unwrap(),
            None => request["body_text"]
                .as_str()
                .unwrap_or_default()
                .as_bytes()
                .to_vec(),
        };
        let mut headers = vec![alice.owner()];
        for (name, value) in request["headers"].as_object().into_iter().flatten() {
            headers.push(format!("{name}: {}", value.as_str().unwrap()));
        }
        let path = request["path"].as_str().unwrap();
        let answer = alice
            .send(request["method"].as_str().unwrap(), path, &headers, &body)
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
            match (
                serde_json::from_str(&answer.text()),
                serde_json::from_str(text),
            ) {
                (Ok(ours), Ok(theirs)) if ["site-api", "fs"].contains(&area) => {
                    assert!(
                        covers(&ours, &theirs),
                        "{n} {path}: {ours} instead of {theirs}"
                    );
                }
                _ => assert_eq!(answer.text(), text, "{n} {path}"),
            }
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
    assert!(checked.len() >= 45, "{checked:?}");
    alice.end().await;
}

/// Message ids, which differ each time.
fn without_ids(text: &str) -> String {
    match text.split_once("\"msg_id\":\"") {
        Some((before, after)) if after.len() > 36 => format!("{before}{}", &after[36..]),
        _ => text.to_owned(),
    }
}

#[tokio::test]
async fn messages_are_sent_and_shown_as_recorded() {
    let alice = alice().await;
    let mut checked = 0;
    for line in std::fs::read_to_string(fixtures().join("wire/viewer/mq.jsonl"))
        .unwrap()
        .lines()
    {
        let record: Value = serde_json::from_str(line).unwrap();
        let (request, response) = (&record["request"], &record["response"]);
        if record["peer"] != "A" {
            continue;
        }
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let answer = alice
            .send(
                &text(&request["method"]),
                &text(&request["path"]),
                &[alice.owner()],
                text(&request["body_text"]).as_bytes(),
            )
            .await;
        let n = record["n"].as_u64().unwrap();
        let (ours, theirs) = (answer.text(), text(&response["body_text"]));
        assert_eq!(
            u64::from(answer.status),
            response["status"].as_u64().unwrap(),
            "{n}: {ours}"
        );
        // The network and the parser of ids name the mistake in their own words.
        let same = match n {
            420 => {
                ours.split(" to ").next() == theirs.split(" to ").next()
                    && ours.contains("no addresses")
            }
            421 => ours.starts_with("send failed: mq: invalid peer id \"xyz\": "),
            _ => without_ids(&ours) == without_ids(&theirs),
        };
        assert!(same, "{n}: {ours} instead of {theirs}");
        assert_eq!(
            answer.header("content-type").as_deref(),
            response["headers"]["content-type"].as_str(),
            "{n}"
        );
        checked += 1;
    }
    assert!(checked > 15, "{checked}");
    // Bob's page hears them in order, and the payload of each as it was.
    let mut page = alice
        .bob
        .log()
        .listen(goop_mq::log::From::Unheard, goop_mq::topic::Filter::Usual);
    let goop_mq::log::Next::Events(events) = page.next().await else {
        panic!("events")
    };
    let topics: Vec<&str> = events.iter().map(|entry| &*entry.topic).collect();
    assert_eq!(
        topics[..5],
        [
            "chat",
            "chat.broadcast",
            "x:custom",
            "x:none",
            "realtime:invite"
        ]
    );
    assert!(
        events[2]
            .data()
            .contains("\"payload\":[1,2.5,\"s\",null,true]")
    );
    alice.end().await;
}

#[tokio::test]
async fn what_pages_may_not_send_is_refused() {
    let alice = alice().await;
    for topic in [
        "peer:announce",
        "log:mq",
        "group:",
        "call:loopback:x",
        &"t".repeat(300),
        "a\\nb",
    ] {
        let body = format!("{{\"peer_id\":\"{BOB}\",\"topic\":\"{topic}\"}}");
        let answer = alice
            .send("POST", "/api/mq/send", &[alice.owner()], body.as_bytes())
            .await;
        assert_eq!(answer.status, 400, "{topic}: {}", answer.text());
    }
    let deep = format!(
        "{{\"peer_id\":\"{BOB}\",\"topic\":\"x\",\"payload\":{}{}}}",
        "[".repeat(5_000),
        "]".repeat(5_000)
    );
    let answer = alice
        .send("POST", "/api/mq/send", &[alice.owner()], deep.as_bytes())
        .await;
    assert_eq!(answer.status, 400);
    let large = format!(
        "{{\"peer_id\":\"{BOB}\",\"topic\":\"x\",\"payload\":\"{}\"}}",
        "x".repeat(1 << 20)
    );
    let answer = alice
        .send("POST", "/api/mq/send", &[alice.owner()], large.as_bytes())
        .await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let long_ack = format!("{{\"msg_id\":\"{}\"}}", "i".repeat(200));
    let answer = alice
        .send("POST", "/api/mq/ack", &[alice.owner()], long_ack.as_bytes())
        .await;
    assert_eq!(answer.status, 400);
    for path in ["/api/mq/send", "/api/mq/ack", "/api/chat/broadcast"] {
        let answer = alice.send("POST", path, &[], b"{}").await;
        assert_eq!(answer.status, 401, "{path}: only the owner");
    }
    alice.end().await;
}

#[tokio::test]
async fn a_site_hears_its_own_peer_only_and_groups_have_their_old_form() {
    let alice = alice().await;
    let open = async |host: String, path: &str, owner: String| {
        let mut stream = TcpStream::connect(("127.0.0.1", alice.port)).await.unwrap();
        let head = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n{owner}\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        read_until(&mut stream, "event: connected").await;
        stream
    };
    let site = format!("{}.localhost:{}", host_label(&peer_id(BOB)), alice.port);
    let mut site = open(site, "/api/mq/events", String::new()).await;
    let control = format!("127.0.0.1:{}", alice.port);
    let owner = format!("{}\r\n", alice.owner());
    let mut groups = open(control, "/api/groups/events", owner).await;
    let payload = |text: &str| Payload::of(&json!({ "content": text })).unwrap();
    for (topic, text) in [
        ("chat", "secret"),
        ("call:c", "secret"),
        ("x:move", "for the site"),
    ] {
        let topic = PeerTopic::parse(topic).unwrap();
        alice
            .bob
            .send(peer_id(ALICE), topic, payload(text))
            .await
            .unwrap();
    }
    let seen = read_until(&mut site, "for the site").await;
    assert!(!seen.contains("secret"), "{seen}");
    let topic = |kind: &str| LocalTopic::Group {
        group: "g1".into(),
        kind: kind.into(),
    };
    let told = json!({ "type": "ping", "group": "g1" });
    alice.mq.log().publish(&topic("ping"), &told);
    let told = json!({ "type": "msg", "group": "g1", "payload": { "text": "<b>\n" } });
    alice.mq.log().publish(&topic("msg"), &told);
    let seen = read_until(&mut groups, "u003cb").await;
    assert!(
        seen.contains("event: msg\n") && !seen.contains("event: ping"),
        "{seen}"
    );
    alice.end().await;
}

#[tokio::test]
async fn keys_are_compared_and_only_the_key_that_was_looked_at_counts() {
    let alice = alice().await;
    let path = format!("/api/mq/key?peer_id={BOB}");
    let state = async || -> Value { serde_json::from_str(&alice.get(&path).await.text()).unwrap() };
    assert_eq!(state().await["key"], "", "not known yet; Bob is asked");
    let own = goop_identity::seal::NaclKeys::generate();
    let [bob, other] = std::array::from_fn(|_| goop_identity::seal::NaclKeys::generate().public);
    alice.mq.change_keys(|keys| {
        *keys = KeyBook::new(Some(own));
        keys.learn(peer_id(BOB), &bob, true)
    });
    let known = state().await;
    assert_eq!(known["words"].as_array().unwrap().len(), 2);
    assert_eq!(known["words"][1].as_array().unwrap().len(), 6);
    let say = async |said: &str, key: &str, scanned: Option<&str>| {
        let mut body = json!({ "peer_id": BOB, "said": said, "key": key });
        if let Some(scanned) = scanned {
            body["scanned"] = scanned.into();
        }
        let body = body.to_string();
        alice
            .send("POST", "/api/mq/key", &[alice.owner()], body.as_bytes())
            .await
            .status
    };
    let (key, code) = (bob.to_base64(), known["code"].as_str().unwrap().to_owned());
    assert_eq!(say("verified", "another", None).await, 409);
    assert_eq!(say("verified", &key, Some("goop-verify:1:x")).await, 409);
    assert_eq!(say("hello", &key, None).await, 400);
    assert_eq!(say("verified", &key, Some(&code)).await, 200);
    assert_eq!(state().await["verified"], true);
    alice
        .mq
        .change_keys(|keys| keys.learn(peer_id(BOB), &other, true));
    let changed = state().await;
    assert_eq!(
        (&changed["verified"], &changed["offered"]),
        (&json!(false), &json!(other.to_base64()))
    );
    assert_eq!(
        say("accept", &key, None).await,
        409,
        "it is the old one that was looked at"
    );
    assert_eq!(say("accept", &other.to_base64(), None).await, 200);
    assert_eq!(state().await["key"], other.to_base64());
    alice.end().await;
}

/// A page that opens the stream and never reads holds nobody up and is told what it missed.
#[tokio::test]
async fn a_page_that_never_reads_hurts_nobody() {
    let alice = alice().await;
    let open = async || {
        let mut stream = TcpStream::connect(("127.0.0.1", alice.port)).await.unwrap();
        let head = format!(
            "GET /api/mq/events HTTP/1.1\r\nHost: 127.0.0.1:{}\r\n{}\r\n\r\n",
            alice.port,
            alice.owner()
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        stream
    };
    let mut stuck = open().await;
    let mut reads = open().await;
    read_until(&mut reads, "event: connected").await;
    let big = "x".repeat(16 * 1024);
    for round in 0..40 {
        for _ in 0..50 {
            alice.mq.log().publish(&LocalTopic::Invite, &big);
        }
        let mark = format!("round-{round}-");
        alice.mq.log().publish(&LocalTopic::Invite, &mark);
        let seen = read_until(&mut reads, &mark).await;
        assert!(!seen.contains("event: reset"), "who reads misses nothing");
    }
    // What lay in the buffers between, then that something was missed.
    let mut tail = Vec::new();
    let reset = async {
        while !tail.windows(12).any(|part| part == b"event: reset") {
            tail.drain(..tail.len().saturating_sub(12));
            let mut part = vec![0; 64 * 1024];
            let read = stuck.read(&mut part).await.unwrap();
            assert_ne!(read, 0, "the stream ended");
            tail.extend_from_slice(&part[..read]);
        }
    };
    let told = tokio::time::timeout(Duration::from_secs(30), reset).await;
    assert!(told.is_ok(), "it hears that it missed something");
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
    let publish = |text: &str| {
        let told = serde_json::json!({ "peerID": text });
        alice.mq.log().publish(&LocalTopic::PeerGone, &told);
    };
    publish("first");
    let seen = read_until(&mut one, "first").await;
    read_until(&mut two, "first").await;
    let id = seen
        .lines()
        .find_map(|line| line.strip_prefix("id: ").or(line.strip_prefix("id:")))
        .unwrap()
        .trim()
        .to_owned();
    drop((one, two));
    publish("second");
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
        alice.mq.log().publish(&LocalTopic::PeerGone, &n);
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

fn post_json(path: &str, body: &Value) -> (String, Vec<u8>) {
    (path.to_owned(), body.to_string().into_bytes())
}

impl Alice {
    async fn post(&self, path: &str, body: Value) -> (u16, Value) {
        let (path, body) = post_json(path, &body);
        let answer = self.send("POST", &path, &[self.owner()], &body).await;
        let value = serde_json::from_slice(&answer.body).unwrap_or(Value::from(answer.text()));
        (answer.status, value)
    }

    async fn read(&self, path: &str) -> Value {
        serde_json::from_slice(&self.get(path).await.body).unwrap()
    }
}

#[tokio::test]
async fn two_writers_of_one_file_both_keep_their_text() {
    let alice = alice().await;
    let opened = alice.read("/api/site/content?path=index.html").await;
    let (status, first) = alice
        .post(
            "/api/site/save",
            json!({"path": "index.html", "content": "one", "if_match": opened["etag"]}),
        )
        .await;
    assert_eq!((status, &first["status"]), (200, &json!("saved")));
    let (status, conflict) = alice
        .post(
            "/api/site/save",
            json!({"path": "index.html", "content": "two", "if_match": opened["etag"]}),
        )
        .await;
    assert_eq!(status, 409);
    assert_eq!(
        (&conflict["content"], &conflict["etag"]),
        (&json!("one"), &first["etag"])
    );
    let (status, _) = alice
        .post(
            "/api/site/save",
            json!({"path": "index.html", "content": "two", "if_match": conflict["etag"]}),
        )
        .await;
    assert_eq!(status, 200);
    let (status, conflict) = alice
        .post(
            "/api/site/save",
            json!({"path": "sub/index.html", "content": "x", "if_match": "none"}),
        )
        .await;
    assert_eq!((status, &conflict["error"]), (409, &json!("conflict")));
    alice.end().await;
}

#[tokio::test]
async fn files_are_moved_copied_deleted_and_brought_back() {
    let alice = alice().await;
    assert_eq!(
        alice
            .post("/api/site/mkdir", json!({"path": "a/b"}))
            .await
            .0,
        200
    );
    assert_eq!(
        alice
            .post(
                "/api/site/copy",
                json!({"from": "index.html", "to": "a/b/c.html"})
            )
            .await
            .0,
        200
    );
    assert_eq!(
        alice
            .post("/api/site/rename", json!({"from": "a", "to": "d"}))
            .await
            .0,
        200
    );
    assert_eq!(
        alice
            .post(
                "/api/site/rename",
                json!({"from": "d/b/c.html", "to": "index.html"})
            )
            .await
            .0,
        409
    );
    let (status, deleted) = alice.post("/api/site/delete", json!({"path": "d"})).await;
    assert_eq!(status, 200);
    assert_eq!(
        alice.get("/api/site/content?path=d/b/c.html").await.status,
        404
    );
    let (status, restored) = alice
        .post("/api/site/undo", json!({"undo": deleted["undo"]}))
        .await;
    assert_eq!((status, &restored["path"]), (200, &json!("d")));
    let found = alice.read("/api/site/search?q=hello%20from").await;
    assert_eq!(found["matches"][0]["path"], "d/b/c.html");
    assert_eq!(
        alice
            .post("/api/site/undo", json!({"undo": deleted["undo"]}))
            .await
            .0,
        404
    );
    alice.end().await;
}

#[tokio::test]
async fn a_large_file_is_uploaded_as_it_comes_and_one_of_this_machine_is_taken() {
    let alice = alice().await;
    let content = vec![b'x'; 3 * 1024 * 1024];
    let mut body =
        b"--b\r\nContent-Disposition: form-data; name=\"path\"\r\n\r\nbig/x.bin\r\n--b\r\n\
        Content-Disposition: form-data; name=\"file\"; filename=\"x\"\r\n\r\n"
            .to_vec();
    body.extend_from_slice(&content);
    body.extend_from_slice(b"\r\n--b--\r\n");
    let form = "Content-Type: multipart/form-data; boundary=b".to_owned();
    let answer = alice
        .send("POST", "/api/site/upload", &[alice.owner(), form], &body)
        .await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let opened = alice.read("/api/site/content?path=big/x.bin").await;
    assert_eq!(
        (&opened["size"], &opened["binary"]),
        (&json!(content.len()), &json!(false))
    );

    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("note.txt"), "a note").unwrap();
    std::fs::create_dir(folder.path().join("sub")).unwrap();
    std::fs::write(folder.path().join(".hidden"), "").unwrap();
    let dir = folder.path().display().to_string();
    let listed = alice.read(&format!("/api/fs/browse?dir={dir}")).await;
    let expected =
        json!([{"name": "sub", "is_dir": true}, {"name": "note.txt", "is_dir": false, "size": 6}]);
    assert_eq!(listed["entries"], expected);
    let from = json!({"dest_path": "note.txt", "src_path": format!("{dir}/note.txt")});
    assert_eq!(alice.post("/api/site/upload-local", from).await.0, 200);
    assert_eq!(
        alice.read("/api/site/content?path=note.txt").await["content"],
        "a note"
    );
    alice.end().await;
}

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
    let file = std::fs::read_to_string(alice._folder.root().join("split-prefs.json")).unwrap();
    assert!(
        file.contains("\"editor\": 33") && file.contains("\"docs\": 12.5"),
        "{file}"
    );
    alice.end().await;
}

fn form_with_file(bytes: &[u8]) -> (String, Vec<u8>) {
    let head = "--b\r\nContent-Disposition: form-data; name=\"csrf\"\r\n\r\nx\r\n--b\r\n\
        Content-Disposition: form-data; name=\"file\"; filename=\"x.zip\"\r\n\r\n";
    let body = [head.as_bytes(), bytes, b"\r\n--b--\r\n"].concat();
    (
        "Content-Type: multipart/form-data; boundary=b".to_owned(),
        body,
    )
}

#[tokio::test]
async fn a_site_goes_out_and_comes_in_again() {
    let alice = alice().await;
    let exported = alice.get("/api/site/export").await;
    let named = exported.header("content-disposition").unwrap();
    assert!(
        named.starts_with("attachment; filename=\"goop-export-Alice-") && named.ends_with(".zip\""),
        "{named}"
    );
    assert_eq!(
        exported.header("content-type").as_deref(),
        Some("application/zip")
    );
    let zip = dechunk(&exported.body);
    alice
        .post(
            "/api/site/save",
            json!({"path": "index.html", "content": "changed"}),
        )
        .await;
    alice
        .post(
            "/api/site/save",
            json!({"path": "extra.html", "content": "extra"}),
        )
        .await;
    let (kind, body) = form_with_file(&zip);
    let answer = alice
        .send("POST", "/api/site/import", &[alice.owner(), kind], &body)
        .await;
    let done: Value =
        serde_json::from_slice(&answer.body).unwrap_or_else(|_| panic!("{}", answer.text()));
    assert_eq!(done["status"], "imported");
    assert!(
        alice.read("/api/site/content").await["content"]
            .as_str()
            .unwrap()
            .contains("Hello from Alice")
    );
    assert_eq!(
        alice.get("/api/site/content?path=extra.html").await.status,
        404
    );
    let kept = std::path::Path::new(done["backup"].as_str().unwrap()).join("site/extra.html");
    assert_eq!(std::fs::read_to_string(kept).unwrap(), "extra");

    let (kind, body) = form_with_file(b"not a zip");
    let answer = alice
        .send("POST", "/api/site/import", &[alice.owner(), kind], &body)
        .await;
    assert_eq!(answer.status, 400);
    assert!(
        answer.text().starts_with("failed to extract zip"),
        "{}",
        answer.text()
    );
    let nothing = alice
        .send("POST", "/api/site/import", &[alice.owner()], b"")
        .await;
    assert_eq!(
        (nothing.status, nothing.text().as_str()),
        (400, "file required\n")
    );
    alice.end().await;
}

/// The body of an answer in chunks (RFC 9112, 7.1).
fn dechunk(mut body: &[u8]) -> Vec<u8> {
    let mut whole = Vec::new();
    loop {
        let end = body.windows(2).position(|part| part == b"\r\n").unwrap();
        let len = usize::from_str_radix(std::str::from_utf8(&body[..end]).unwrap(), 16).unwrap();
        if len == 0 {
            return whole;
        }
        whole.extend_from_slice(&body[end + 2..end + 2 + len]);
        body = &body[end + 4 + len..];
    }
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
