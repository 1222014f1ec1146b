//! The viewer of a rendezvous server alone: what was recorded of the Go program's, what it has and what it has not.

use std::path::Path;
use std::time::Duration;

use goop_identity::folder::PeerFolder;
use goop_identity::sealing_keys;
use goop_rendezvous::{Server, Settings};
use goop_viewer::session::Secret;
use goop_viewer::{LogRing, Viewer};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

use crate::harness::{ALICE, Answer, BOB, desk, fixtures, multipart, part, send};

const CAROL: &str = "12D3KooWRndVhVZPCiQwHBBBdg769GyrPUW13zxwqQyf9r3ANaba";
/// Whom the recording calls `test-peer-1`, which is no peer id.
const ONE: &str = "12D3KooWGC6TvWhfagifX5tZ2FhWdFvbAzzgXiQsmHKKKW1kWaKX";
const SOON: Duration = Duration::from_secs(10);

/// A server and its viewer.
struct Alone {
    port: u16,
    rendezvous: u16,
    token: String,
    start: String,
    folder: PeerFolder,
    leave: CancellationToken,
    running: tokio::task::JoinHandle<()>,
    _dir: tempfile::TempDir,
}

fn free_port() -> u16 {
    let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    socket.local_addr().unwrap().port()
}

/// The settings of a folder; the relay keeps to this machine.
fn settings(folder: &PeerFolder) -> Settings {
    let mut settings = Settings::read(folder).unwrap();
    if let Some(relay) = &mut settings.relay {
        relay.bind = vec![[127, 0, 0, 1].into()];
    }
    settings
}

impl Alone {
    async fn start(presence: Value) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut config = json!({
            "profile": {"label": "Server"},
            "presence": {"rendezvous_host": true, "rendezvous_only": true, "rendezvous_port": free_port()},
        });
        for (key, value) in presence.as_object().unwrap() {
            config["presence"][key] = value.clone();
        }
        std::fs::write(dir.path().join("goop.json"), config.to_string()).unwrap();
        let folder = PeerFolder::open(dir.path()).unwrap();
        let keys = sealing_keys(&folder).unwrap();
        let settings = settings(&folder);
        let rendezvous = settings.listen.port();
        let server = Server::bind(settings).await.unwrap();
        let desk = desk(
            &folder,
            Secret::of_sealing(keys.as_ref()),
            &LogRing::default(),
        );
        // Whatever address stands in the settings, others do not reach it.
        let sockets = Viewer::bind_alone("0.0.0.0:0", None).await.unwrap();
        let viewer = Viewer::of_server(sockets, desk, server.onlooker()).unwrap();
        let (port, link) = (viewer.control_port(), viewer.start_link());
        let leave = CancellationToken::new();
        let (serving, showing) = (leave.clone(), leave.clone());
        let running = tokio::spawn(async move {
            let (served, ()) = tokio::join!(server.run(serving), viewer.run(showing));
            served.unwrap();
        });
        Self {
            port,
            rendezvous,
            token: std::fs::read_to_string(dir.path().join("data/control.token")).unwrap(),
            start: link.split_once("token=").unwrap().1.to_owned(),
            folder,
            leave,
            running,
            _dir: dir,
        }
    }

    async fn ask(&self, method: &str, path: &str, body: &[u8]) -> Answer {
        let owner = format!("Authorization: Bearer {}", self.token);
        send(self.port, method, path, &[owner], body).await
    }

    async fn get(&self, path: &str) -> Answer {
        self.ask("GET", path, b"").await
    }

    async fn read(&self, path: &str) -> Value {
        serde_json::from_slice(&self.get(path).await.body).unwrap()
    }

    /// A peer says at the server that it is there.
    async fn publish(&self, peer: &str, label: &str, addrs: &[&str], sealed: bool) {
        let online = json!({
            "type": "online", "peerId": peer, "content": label, "addrs": addrs, "encryptionSupported": sealed, "ts": 1,
        });
        let body = online.to_string();
        let answer = send(self.rendezvous, "POST", "/publish", &[], body.as_bytes()).await;
        assert_eq!(answer.status, 204, "{}", answer.text());
    }

    /// The socket of a peer at the server, open while it is kept.
    async fn socket(&self, peer: &str) -> TcpStream {
        let mut stream = TcpStream::connect(("127.0.0.1", self.rendezvous))
            .await
            .unwrap();
        let head = format!(
            "GET /ws?peer_id={peer} HTTP/1.1\r\nHost: rv\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut answer = [0; 12];
        stream.read_exact(&mut answer).await.unwrap();
        assert_eq!(&answer, b"HTTP/1.1 101");
        stream
    }

    async fn end(self) {
        self.leave.cancel();
        tokio::time::timeout(SOON, self.running)
            .await
            .unwrap()
            .unwrap();
    }
}

fn records() -> Vec<Value> {
    let path = fixtures().join("wire/rendezvous/http-api.jsonl");
    let text = std::fs::read_to_string(path).unwrap();
    let all = text.replace("test-peer-1", ONE);
    let records = all
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap());
    records.filter(|record| record["peer"] == "RV").collect()
}

/// In the order of their ids: who published in one millisecond has no order.
fn by_id(mut topology: Value) -> Value {
    let peers = topology["peers"].as_array_mut().unwrap();
    peers.sort_by_key(|peer| peer["id"].as_str().unwrap().to_owned());
    topology
}

/// Every record of the viewer of a server alone. Ours is asked as its owner: nobody else gets an answer (viewer-api.md,
/// weak points 1 and 2; `nobody_else`).
#[tokio::test]
async fn every_recorded_answer() {
    let alone = Alone::start(json!({
        "external_url": "http://11.0.0.4:8787", "relay_port": free_port(),
    }))
    .await;
    alone.publish(ONE, "One", &[], false).await;
    let mut sockets = Vec::new();
    let mut checked = Vec::new();
    for record in records() {
        let n = record["n"].as_u64().unwrap();
        if n == 799 {
            // Who was there in the recording.
            let circuit = format!("/p2p/{ALICE}/p2p-circuit");
            for (peer, label, addr) in [
                (ALICE, "Alice", "/ip4/10.77.0.1/tcp/4001"),
                (BOB, "Bob", "/ip4/10.77.0.2/tcp/4002"),
                (CAROL, "Carol", "/ip4/10.77.0.3/tcp/4003"),
            ] {
                let over = format!("/ip4/11.0.0.4/tcp/4100{circuit}");
                alone.publish(peer, label, &[addr, &over], true).await;
            }
            let addr = "/ip4/192.0.2.11/tcp/1";
            alone
                .publish(ONE, "by another socket", &[addr], false)
                .await;
            sockets = vec![alone.socket(ALICE).await, alone.socket(BOB).await];
        }
        let (request, response) = (&record["request"], &record["response"]);
        let path = request["path"].as_str().unwrap();
        let answer = alone
            .ask(request["method"].as_str().unwrap(), path, b"")
            .await;
        assert_eq!(response["status"], answer.status, "{n} {}", answer.text());
        let headers = &response["headers"];
        for name in ["location", "content-type"] {
            // Our redirects have no text.
            if let Some(value) = headers[name].as_str()
                && (n != 782 || name == "location")
            {
                assert_eq!(answer.header(name).as_deref(), Some(value), "{n} {name}");
            }
        }
        let text = response["body_text"].as_str().unwrap();
        match n {
            782 => assert!(answer.body.is_empty()),
            783 | 799 => {
                let (ours, theirs): (Value, Value) = (
                    serde_json::from_slice(&answer.body).unwrap(),
                    serde_json::from_str(text).unwrap(),
                );
                let mut theirs = by_id(theirs);
                // The relay's key is made here.
                let relay = ours["relay"]["id"].as_str().unwrap();
                assert!(relay.starts_with("12D3KooW"), "{relay}");
                theirs["relay"]["id"] = relay.into();
                assert_eq!(by_id(ours), theirs, "{n}");
            }
            _ => assert_eq!(answer.text(), text, "{n}"),
        }
        checked.push(n);
    }
    assert_eq!(checked, [782, 783, 784, 785, 786, 787, 788, 799]);
    let picture = alone.get(&format!("/api/avatar/peer/{CAROL}")).await;
    let initials = goop_identity::avatar::initials_svg("Carol", "");
    assert_eq!(picture.text(), initials);
    drop(sockets);
    alone.end().await;
}

#[tokio::test]
async fn an_empty_server_has_an_empty_list_and_no_relay() {
    let alone = Alone::start(json!({})).await;
    let topology = alone.read("/api/topology").await;
    assert_eq!(
        topology,
        json!({"self": {"id": "rendezvous", "label": "Rendezvous", "has_circuit": false}, "peers": []})
    );
    alone.end().await;
}

/// Which pages and routes there are, and that what belongs to a peer is not there.
#[tokio::test]
async fn what_it_has_and_what_it_has_not() {
    let alone = Alone::start(json!({})).await;
    for page in ["/self", "/logs", "/topology"] {
        let answer = alone.get(page).await;
        assert_eq!(answer.status, 200, "{page}");
        assert!(
            answer.text().contains("<html data-mode=\"rendezvous\""),
            "{page}"
        );
        let policy = answer.header("content-security-policy").unwrap();
        assert!(policy.contains("require-trusted-types-for"), "{policy}");
    }
    for (path, to) in [("/", "/self"), ("/settings", "/self#settings")] {
        assert_eq!(
            alone.get(path).await.header("location").as_deref(),
            Some(to)
        );
    }
    for path in [
        "/assets/pages.css",
        "/api/session",
        "/api/settings",
        "/api/settings/quick/get",
        "/api/services/health",
        "/api/services/check",
        "/api/rendezvous/check",
        "/api/logs",
        "/api/logs/verbose",
        "/api/fs/browse",
        "/api/avatar",
        &format!("/api/avatar/peer/{ALICE}"),
        "/api/openapi.json",
    ] {
        let answer = alone.get(path).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
    }
    let own = format!("/p/{ALICE}/");
    for path in [
        "/peers",
        "/messages",
        "/view",
        "/edit",
        "/database",
        "/docs",
        "/apidocs",
        "/peer/x",
        "/p",
        &own,
        "/api/self",
        "/api/peers",
        "/api/site/files",
        "/api/data/tables",
        "/api/chat/conversations",
        "/api/network",
        "/api/groups/events",
        "/api/my-balance",
    ] {
        let answer = alone.get(path).await;
        assert_eq!(answer.status, 404, "{path}");
        assert_eq!(answer.text(), "404 page not found\n", "{path}");
    }
    alone.end().await;
}

/// The description names every route, and nothing that is not there.
#[tokio::test]
async fn what_is_described_is_there() {
    let alone = Alone::start(json!({})).await;
    let described = alone.read("/api/openapi.json").await;
    let paths = described["paths"].as_object().unwrap();
    assert!(paths.contains_key("/api/topology") && !paths.contains_key("/api/peers"));
    for (path, item) in paths {
        let can_be_asked = item["get"].is_object()
            && !["/api/mq/events", "/api/logs/stream", "/{page}"].contains(&path.as_str());
        if can_be_asked {
            let path = path.replace("{id}", BOB).replace("{file}", "pages.css");
            let answer = alone.get(&path).await;
            assert!(
                answer.status != 404 || path == "/metrics",
                "{path} is described and not there"
            );
        }
    }
    alone.end().await;
}

/// `/api/mq/events` says the mode once and stays open.
#[tokio::test]
async fn the_stream_says_the_mode_and_stays_open() {
    let alone = Alone::start(json!({})).await;
    let mut stream = TcpStream::connect(("127.0.0.1", alone.port)).await.unwrap();
    let (port, token) = (alone.port, &alone.token);
    let head = format!(
        "GET /api/mq/events HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nAuthorization: Bearer {token}\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut heard = Vec::new();
    let said = "event: message\ndata: {\"type\":\"mode\",\"mode\":\"rendezvous\"}\n\n";
    let reading = async {
        while !String::from_utf8_lossy(&heard).contains(said) {
            assert!(
                stream.read_buf(&mut heard).await.unwrap() > 0,
                "it ended: {heard:?}"
            );
        }
    };
    tokio::time::timeout(SOON, reading).await.unwrap();
    let text = String::from_utf8_lossy(&heard).into_owned();
    assert!(text.contains("content-type: text/event-stream"), "{text}");
    assert_eq!(text.matches("event:").count(), 1, "{text}");
    // It ends with the server and not before.
    alone.leave.cancel();
    let rest = tokio::time::timeout(SOON, stream.read_to_end(&mut heard)).await;
    rest.unwrap().unwrap();
    assert!(heard.ends_with(b"0\r\n\r\n"), "{heard:?}");
    alone.end().await;
}

/// What the pages need, changing settings, the own picture.
#[tokio::test]
async fn its_owner_changes_settings() {
    let alone = Alone::start(json!({"admin_password": "secret"})).await;
    let session = alone.read("/api/session").await;
    let dashboard = format!("http://127.0.0.1:{}/admin", alone.rendezvous);
    assert_eq!(session["site_url"], dashboard);
    assert_eq!(session["probe_url"], "");
    let settings = alone.read("/api/settings").await;
    assert_eq!(settings["me"]["id"], "");
    assert_eq!(settings["sections"]["presence"]["admin_password"], "");
    assert_eq!(settings["secrets"]["presence.admin_password"], true);
    let keys = settings["sections"]["p2p"]["nacl_public_key"].clone();
    assert_eq!(keys, alone.folder.config().current().p2p.nacl_public_key);
    let wanted = json!({"profile": {"label": "Our server"}, "presence": {"relay_port": 4001}});
    let answer = alone
        .ask("POST", "/api/settings", wanted.to_string().as_bytes())
        .await;
    let said: Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!(said["restart"], json!(["presence.relay_port"]), "{said}");
    let form = b"presence_external_url=https://rv.example";
    let answer = alone.ask("POST", "/settings/save", form).await;
    assert_eq!(answer.status, 302);
    let config = alone.folder.config().current();
    assert_eq!(config.profile.label, "Our server");
    assert_eq!(config.presence.relay_port, 4001);
    assert_eq!(config.presence.external_url, "https://rv.example");
    assert_eq!(
        (config.presence.rendezvous_only, &config.p2p.nacl_public_key),
        (true, &keys.as_str().unwrap().to_owned())
    );
    let picture = std::fs::read(fixtures().join("folders/alice/avatar.png")).unwrap();
    let (kind, body) = multipart(&[part("avatar", true, &picture)]);
    let owner = format!("Authorization: Bearer {}", alone.token);
    let headers = [owner, kind];
    let answer = send(alone.port, "POST", "/api/avatar/upload", &headers, &body).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(alone.get("/api/avatar").await.body, picture);
    alone.end().await;
}

/// The printed link works once, and nobody gets an answer without it: no page of another origin, nobody through a proxy,
/// no site of anybody.
#[tokio::test]
async fn nobody_else() {
    let alone = Alone::start(json!({})).await;
    let port = alone.port;
    let ask = async |path: &str, headers: &[&str]| {
        let headers: Vec<String> = headers.iter().map(|line| (*line).to_owned()).collect();
        send(port, "GET", path, &headers, b"").await
    };
    for path in [
        "/api/settings",
        "/api/topology",
        "/api/logs",
        "/api/mq/events",
    ] {
        assert_eq!(ask(path, &[]).await.status, 401, "{path}");
        assert_eq!(ask(path, &["Host: evil.example"]).await.status, 421);
        let site = format!(
            "Host: {}.localhost:{port}",
            goop_identity::label::host_label(&crate::harness::peer_id(ALICE))
        );
        assert_eq!(ask(path, &[&site]).await.status, 404, "{path} of a site");
        let owner = format!("Authorization: Bearer {}", alone.token);
        for header in [
            "Origin: http://evil.example",
            "Sec-Fetch-Site: cross-site",
            "Sec-Fetch-Site: same-site",
        ] {
            assert_eq!(ask(path, &[&owner, header]).await.status, 403, "{header}");
        }
        assert_eq!(
            ask(path, &[&owner, "X-Forwarded-For: 192.0.2.1"])
                .await
                .status,
            404
        );
    }
    let start = format!("/start?token={}", alone.start);
    let first = ask(&start, &[]).await;
    assert_eq!(
        (first.status, first.header("location").as_deref()),
        (302, Some("/self"))
    );
    let cookie = first.header("set-cookie").unwrap();
    let cookie = format!("Cookie: {}", cookie.split(';').next().unwrap());
    assert_eq!(ask("/api/session", &[&cookie]).await.status, 200);
    assert_eq!(ask(&start, &[]).await.status, 401);
    assert_eq!(ask("/start?token=", &[]).await.status, 401);
    alone.end().await;
}

/// Whoever signed in once stays so over a restart; another folder's cookie is worth nothing.
#[test]
fn a_session_is_of_the_folder() {
    let secret_of = |dir: &Path| {
        let folder = PeerFolder::open(dir).unwrap();
        let keys = sealing_keys(&folder).unwrap();
        Secret::of_sealing(keys.as_ref())
    };
    let cookie = |secret: &Secret| {
        let session = goop_viewer::session::Session::new(secret, 8080);
        session.set_cookie()
    };
    let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let first = cookie(&secret_of(one.path()));
    assert_eq!(first, cookie(&secret_of(one.path())));
    assert_ne!(first, cookie(&secret_of(other.path())));
    // Keys that cannot be read are nobody's to replace.
    let file = other.path().join("goop.json");
    let text = std::fs::read_to_string(&file).unwrap();
    let mut config: Value = serde_json::from_str(&text).unwrap();
    config["p2p"]["nacl_private_key"] = "damaged".into();
    std::fs::write(&file, config.to_string()).unwrap();
    let folder = PeerFolder::open(other.path()).unwrap();
    assert!(sealing_keys(&folder).unwrap().is_none());
    let kept: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    assert_eq!(kept["p2p"]["nacl_private_key"], "damaged");
    assert_ne!(
        cookie(&Secret::of_sealing(None)),
        cookie(&Secret::of_sealing(None))
    );
}

/// Only loopback is bound, whatever stands in the settings.
#[tokio::test]
async fn the_address_of_the_settings_gives_the_port_only() {
    for addr in ["127.0.0.1:0", ":0", "0.0.0.0:0", "192.0.2.7:0", "[::]:0"] {
        let sockets = Viewer::bind_alone(addr, None).await.unwrap();
        assert!(format!("{sockets:?}").contains("127.0.0.1:"), "{sockets:?}");
    }
    let port = free_port();
    let sockets = Viewer::bind_alone("0.0.0.0:0", Some(port)).await.unwrap();
    assert!(
        format!("{sockets:?}").contains(&port.to_string()),
        "{sockets:?}"
    );
    let busy = Viewer::bind_alone(&format!(":{port}"), None)
        .await
        .unwrap_err();
    assert!(busy.to_string().contains("viewer.http_addr"), "{busy}");
    let wrong = Viewer::bind_alone("nowhere", None).await.unwrap_err();
    assert!(wrong.to_string().contains("nowhere"), "{wrong}");
}
