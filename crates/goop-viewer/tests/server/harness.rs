//! A viewer over a recorded folder, and how it is asked.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::Body;
use futures_util::future::BoxFuture;
use goop_data::chat::ChatLog;
use goop_data::protocol::{self, CallError};
use goop_data::{Data, Database, Request, Whole};
use goop_identity::PeerId;
use goop_identity::avatar::{Avatar, AvatarFile, AvatarHash};
use goop_identity::folder::PeerFolder;
use goop_identity::seal::NoKeys;
use goop_mq::keys::KeyBook;
use goop_mq::{DialError, Dialer, Mq, Setup, Streams};
use goop_net::{Discovery, Listen, Net, NetConfig, Router};
use goop_site::archive::Places;
use goop_site::store::Store;
use goop_site::{Site, SiteRequest, VisitError};
use goop_viewer::session::Secret;
use goop_viewer::{Context, Desk, LogRing, Neighbours, Viewer};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

pub(crate) const ALICE: &str = "12D3KooWK99VoVxNE7XzyBwXEzW7xhK7Gpv85r9F3V3fyKSUKPH5";

/// Other peers: nobody, but for the data of those that are given.
#[derive(Default)]
pub(crate) struct Others {
    pub(crate) data: Vec<(PeerId, Data)>,
    /// Who asks them.
    pub(crate) me: Option<(PeerId, &'static str)>,
}

pub(crate) const BOB: &str = "12D3KooWJWoaqZhDaoEFshF7Rh1bpY9ohihFhzcW6d69Lr2NASuq";

pub(crate) fn peer_id(text: &str) -> PeerId {
    goop_identity::label::parse_peer_id(text).unwrap()
}

/// Who can be reached, in memory; nobody else has an address.
#[derive(Clone, Default)]
pub(crate) struct World(Arc<Mutex<HashMap<PeerId, Mq>>>);

/// One peer's way to the others.
#[derive(Clone)]
struct Way {
    from: PeerId,
    world: World,
}

impl Dialer for Way {
    type Stream = tokio::io::DuplexStream;

    async fn open(&self, peer: PeerId, _: &'static str) -> Result<Self::Stream, DialError> {
        let Some(mq) = self.world.0.lock().unwrap().get(&peer).cloned() else {
            return Err(DialError::Unreachable("no addresses".into()));
        };
        let (near, mut far) = tokio::io::duplex(1 << 16);
        let from = self.from;
        tokio::spawn(async move { mq.serve(from, false, &mut far).await });
        Ok(near)
    }
}

impl World {
    /// A bus that others reach; it runs until `leave`.
    fn bus(&self, me: PeerId, router: goop_mq::router::Router, leave: &CancellationToken) -> Mq {
        let (mq, sending) = Mq::new(Setup {
            me,
            own: Arc::new(Default::default),
            keys: KeyBook::new(None),
            hints: Arc::new(|_| None),
            router,
        });
        let world = self.clone();
        tokio::spawn(sending.run(Streams(Way { from: me, world }), leave.clone()));
        self.0.lock().unwrap().insert(me, mq.clone());
        mq
    }
}

impl Neighbours for Others {
    fn fetch(
        &self,
        _: PeerId,
        _: SiteRequest,
    ) -> BoxFuture<'_, Result<http::Response<Body>, VisitError>> {
        Box::pin(async { Err(VisitError::Unreachable("nobody is there".into())) })
    }
    /// Over the data protocol, through a pipe.
    fn ask(&self, peer: PeerId, request: Request) -> BoxFuture<'_, Result<Whole, CallError>> {
        let data = self.data.iter().find(|(id, _)| *id == peer);
        let data = data.map(|(_, data)| data.clone());
        let me = self.me;
        Box::pin(async move {
            let (Some(data), Some((me, email))) = (data, me) else {
                return Err(std::io::Error::other("open stream: failed to dial").into());
            };
            let (mut near, mut far) = tokio::io::duplex(64 * 1024);
            let serving = async {
                let served = protocol::serve(me, email, &mut far, &data, &NoKeys).await;
                drop(far);
                served.unwrap();
            };
            let (answer, ()) =
                tokio::join!(protocol::call(peer, &mut near, &request, &NoKeys), serving);
            answer
        })
    }
    /// Alice's picture is all there is.
    fn avatar(&self, _: PeerId, hash: AvatarHash) -> BoxFuture<'_, Option<Avatar>> {
        let file = AvatarFile::open(&fixtures().join("folders/alice/avatar.png"));
        let avatar = file.current().filter(|avatar| avatar.hash == hash);
        Box::pin(async { avatar })
    }
}

pub(crate) struct Alice {
    pub(crate) port: u16,
    pub(crate) token: String,
    pub(crate) start: String,
    pub(crate) logs: LogRing,
    pub(crate) data: Data,
    pub(crate) mq: Mq,
    /// The other one, whom messages reach.
    pub(crate) bob: Mq,
    leave: CancellationToken,
    running: tokio::task::JoinHandle<()>,
    pub(crate) folder: PeerFolder,
    /// What was opened in the system's browser.
    pub(crate) opened: Arc<Mutex<Vec<String>>>,
    _dir: tempfile::TempDir,
}

pub(crate) fn fixtures() -> PathBuf {
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

/// What belongs to a folder and its owner.
pub(crate) fn desk(folder: &PeerFolder, secret: Secret, logs: &LogRing) -> Desk {
    Desk {
        secret,
        id: None,
        config: folder.config().clone(),
        folder: folder.root().to_owned(),
        data_folder: folder.root().join("data"),
        avatar: AvatarFile::open(&folder.root().join("avatar.png")),
        servers: tokio::sync::watch::channel(Arc::default()).1,
        logs: logs.clone(),
        profile_changed: Arc::new(|| ()),
        restart: Arc::new(|| ()),
        open: Arc::new(|_| Ok(())),
        verbose: Arc::new(|_| ()),
        metrics: None,
        version: "0.0.0",
    }
}

/// Alice's recorded folder, running.
pub(crate) async fn alice() -> Alice {
    recorded("alice", |_| ()).await
}

/// A recorded folder, changed before it runs.
pub(crate) async fn recorded(name: &str, prepare: impl FnOnce(&Path)) -> Alice {
    beside(name, prepare, Others::default()).await
}

/// A recorded folder, changed before it runs, and other peers.
pub(crate) async fn beside(name: &str, prepare: impl FnOnce(&Path), others: Others) -> Alice {
    recorded_among(&World::default(), name, prepare, others).await
}

/// The same among those whom messages reach.
pub(crate) async fn recorded_among(
    world: &World,
    name: &str,
    prepare: impl FnOnce(&Path),
    others: Others,
) -> Alice {
    let dir = tempfile::tempdir().unwrap();
    copy(&fixtures().join("folders").join(name), dir.path());
    prepare(dir.path());
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
        peer_file: Some(folder.root().join("data/peers.json")),
        ..NetConfig::new(identity.keypair.clone())
    };
    let net = Net::start(config, Router::new()).await.unwrap();
    let data = Data::new(Database::open(folder.root()).await.unwrap());
    let logs = LogRing::default();
    let opened = Arc::new(Mutex::new(Vec::new()));
    let (inbox, prepared) = goop_mq::chat::prepare(Arc::new(ChatLog::of(data.database())));
    let leave = CancellationToken::new();
    let other = peer_id(if name == "alice" { BOB } else { ALICE });
    let met = world.0.lock().unwrap().get(&other).cloned();
    let bob = met.unwrap_or_else(|| world.bus(other, goop_mq::router::Router::new(), &leave));
    let router = goop_mq::router::Router::new().listen(inbox);
    let mq = world.bus(identity.peer_id, router, &leave);
    let (chat, chatting) = prepared.start(mq.clone(), None);
    tokio::spawn(chatting.run(leave.clone()));
    let opener = opened.clone();
    let desk = Desk {
        open: Arc::new(move |url: &str| {
            opener.lock().unwrap().push(url.to_owned());
            Ok(())
        }),
        id: Some(identity.peer_id),
        ..desk(&folder, Secret::of_peer(&identity.keypair), &logs)
    };
    let context = Context {
        mq: mq.clone(),
        chat,
        net,
        site: Site::open(&folder.root().join("site"), &[]).unwrap(),
        store: Store::open(&folder.root().join("site"), &folder.root().join("data/bin")).unwrap(),
        places: Places {
            site: folder.root().join("site"),
            scripts: folder.root().join("site/lua"),
            work: folder.root().join("data/import"),
        },
        neighbours: Arc::new(others),
        data: data.clone(),
    };
    let viewer = Viewer::new(Viewer::bind("127.0.0.1:0").await.unwrap(), desk, context).unwrap();
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
        data,
        mq,
        bob,
        leave,
        running,
        folder,
        opened,
        _dir: dir,
    }
}

pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
    pub(crate) fn header(&self, name: &str) -> Option<String> {
        let line = self
            .head
            .lines()
            .find(|line| line.to_lowercase().starts_with(&format!("{name}:")))?;
        Some(line.split_once(':')?.1.trim().to_owned())
    }
}

/// Sends a request head line by line and reads the whole answer.
pub(crate) async fn send(
    port: u16,
    method: &str,
    path: &str,
    headers: &[String],
    body: &[u8],
) -> Answer {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    let mut head = format!(
        "{method} {path} HTTP/1.1\r\nConnection: close\r\nContent-Length: {}\r\n",
        body.len()
    );
    if !headers.iter().any(|line| line.starts_with("Host:")) {
        head.push_str(&format!("Host: 127.0.0.1:{}\r\n", port));
    }
    for line in headers {
        head.push_str(line);
        head.push_str("\r\n");
    }
    stream
        .write_all(format!("{head}\r\n").as_bytes())
        .await
        .unwrap();
    // A body that is refused may not be read to its end.
    let _ = stream.write_all(body).await;
    let mut all = Vec::new();
    let _ = stream.read_to_end(&mut all).await;
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

impl Alice {
    /// Sends a request head line by line and reads the whole answer.
    pub(crate) async fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[String],
        body: &[u8],
    ) -> Answer {
        send(self.port, method, path, headers, body).await
    }

    pub(crate) fn owner(&self) -> String {
        format!("Authorization: Bearer {}", self.token)
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send("GET", path, &[self.owner()], b"").await
    }

    pub(crate) async fn end(self) {
        self.leave.cancel();
        tokio::time::timeout(Duration::from_secs(2), self.running)
            .await
            .unwrap()
            .unwrap();
    }
}

fn post_json(path: &str, body: &Value) -> (String, Vec<u8>) {
    (path.to_owned(), body.to_string().into_bytes())
}

impl Alice {
    pub(crate) async fn post(&self, path: &str, body: Value) -> (u16, Value) {
        let (path, body) = post_json(path, &body);
        let answer = self.send("POST", &path, &[self.owner()], &body).await;
        let value = serde_json::from_slice(&answer.body).unwrap_or(Value::from(answer.text()));
        (answer.status, value)
    }

    pub(crate) async fn read_within(&self, path: &str, deadline: Duration) -> Value {
        tokio::time::timeout(deadline, self.read(path))
            .await
            .unwrap()
    }

    pub(crate) async fn read(&self, path: &str) -> Value {
        serde_json::from_slice(&self.get(path).await.body).unwrap()
    }
}

/// A part of a form.
pub(crate) fn part(name: &str, file: bool, bytes: &[u8]) -> Vec<u8> {
    let file = if file { "; filename=\"x\"" } else { "" };
    let head = format!("--b\r\nContent-Disposition: form-data; name=\"{name}\"{file}\r\n\r\n");
    [head.as_bytes(), bytes, b"\r\n"].concat()
}

/// A multipart form: its header and its body.
pub(crate) fn multipart(parts: &[Vec<u8>]) -> (String, Vec<u8>) {
    let kind = "Content-Type: multipart/form-data; boundary=b".to_owned();
    (kind, [parts.concat(), b"--b--\r\n".to_vec()].concat())
}

/// The body of an answer in chunks (RFC 9112, 7.1).
pub(crate) fn dechunk(mut body: &[u8]) -> Vec<u8> {
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
