//! The client against a small server of its own: what it does when the server is there, refuses, falls silent, lies or
//! goes.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use goop_identity::presence::{PresenceKind, PresenceMessage};
use goop_identity::{Keypair, PeerId};
use goop_rendezvous::client::{Client, ClientConfig, Contact, Heard};
use tokio::net::TcpListener;
use tokio::sync::{broadcast, mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// Far longer than anything here takes.
const SOON: Duration = Duration::from_secs(20);

/// What ends every open socket without a word.
const GOING: &str = "going";

/// What makes every open socket mute and deaf, without an end.
const STUCK: &str = "stuck";

/// Sooner than a mute socket is given up for its silence alone (15 s).
const SOONER: Duration = Duration::from_secs(10);

/// What the server does with sockets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sockets {
    /// As the Go program: 425 before the first record, then a socket.
    AfterPublish,
    /// A proxy that lets no upgrade through.
    Never,
}

/// What the server was told and what it says.
struct Desk {
    sockets: Mutex<Sockets>,
    published: mpsc::UnboundedSender<PresenceMessage>,
    known: Mutex<bool>,
    says: broadcast::Sender<String>,
    relays: Mutex<VecDeque<String>>,
}

struct Server {
    desk: Arc<Desk>,
    addr: std::net::SocketAddr,
    task: JoinHandle<()>,
    published: mpsc::UnboundedReceiver<PresenceMessage>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(listener: TcpListener, desk: Arc<Desk>) {
    let app = Router::new()
        .route("/publish", post(publish))
        .route("/ws", get(socket))
        .route("/events", get(events))
        .route("/relay", get(relay))
        .with_state(desk);
    axum::serve(listener, app).await.expect("it serves");
}

impl Server {
    async fn start(sockets: Sockets) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let addr = listener.local_addr().expect("an address");
        let (published, seen) = mpsc::unbounded_channel();
        let desk = Arc::new(Desk {
            sockets: Mutex::new(sockets),
            published,
            known: Mutex::new(false),
            says: broadcast::channel(64).0,
            relays: Mutex::default(),
        });
        let task = tokio::spawn(serve(listener, desk.clone()));
        Self {
            desk,
            addr,
            task,
            published: seen,
        }
    }

    /// Ends every connection and forgets everybody, as a server that is started again.
    async fn restart(&mut self) {
        self.task.abort();
        let _ = self.desk.says.send(GOING.to_owned());
        *self.desk.known.lock().expect("no panic") = false;
        let listener = loop {
            match TcpListener::bind(self.addr).await {
                Ok(listener) => break listener,
                Err(_) => tokio::task::yield_now().await,
            }
        };
        self.task = tokio::spawn(serve(listener, self.desk.clone()));
    }

    async fn next_published(&mut self) -> PresenceMessage {
        timeout(SOON, self.published.recv())
            .await
            .expect("a record in time")
            .expect("a server")
    }

    fn say(&self, record: &PresenceMessage) {
        let text = String::from_utf8(record.to_json()).expect("text");
        self.desk.says.send(text).expect("somebody listens");
    }
}

fn take_in(desk: &Desk, bytes: &[u8]) -> StatusCode {
    match PresenceMessage::from_json(bytes) {
        Ok(record) => {
            *desk.known.lock().expect("no panic") = record.kind != PresenceKind::Offline;
            let _ = desk.published.send(record);
            StatusCode::NO_CONTENT
        }
        Err(_) => StatusCode::BAD_REQUEST,
    }
}

async fn publish(State(desk): State<Arc<Desk>>, body: axum::body::Bytes) -> StatusCode {
    take_in(&desk, &body)
}

async fn relay(State(desk): State<Arc<Desk>>) -> Response {
    match desk.relays.lock().expect("no panic").pop_front() {
        Some(text) => text.into_response(),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

async fn socket(
    State(desk): State<Arc<Desk>>,
    Query(query): Query<std::collections::HashMap<String, String>>,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Response {
    if *desk.sockets.lock().expect("no panic") == Sockets::Never {
        return StatusCode::NOT_FOUND.into_response();
    }
    let Ok(upgrade) = upgrade else {
        return StatusCode::BAD_REQUEST.into_response();
    };
    if query.contains_key("probe") {
        return upgrade.on_upgrade(|_| async {});
    }
    if !*desk.known.lock().expect("no panic") {
        return StatusCode::from_u16(425).expect("a status").into_response();
    }
    upgrade.on_upgrade(move |socket| talk(socket, desk))
}

async fn talk(mut socket: WebSocket, desk: Arc<Desk>) {
    let mut says = desk.says.subscribe();
    loop {
        tokio::select! {
            text = says.recv() => {
                let Ok(text) = text else { return };
                if text == GOING {
                    return;
                }
                if text == STUCK {
                    drop(says);
                    return std::future::pending().await;
                }
                if socket.send(Message::text(text)).await.is_err() {
                    return;
                }
            }
            frame = socket.recv() => match frame {
                Some(Ok(Message::Text(text))) => drop(take_in(&desk, text.as_bytes())),
                Some(Ok(Message::Close(_)) | Err(_)) | None => return,
                Some(Ok(_)) => {}
            }
        }
    }
}

async fn events(State(desk): State<Arc<Desk>>) -> Response {
    let says = desk.says.subscribe();
    let lines = futures::stream::unfold(says, |mut says| async {
        let text = says.recv().await.ok()?;
        Some((Ok::<_, std::io::Error>(format!("data: {text}\n\n")), says))
    });
    (
        [("content-type", "text/event-stream")],
        axum::body::Body::from_stream(lines),
    )
        .into_response()
}

/// A peer that keeps in touch with a server.
struct Peer {
    id: PeerId,
    own: watch::Sender<Option<PresenceMessage>>,
    heard: mpsc::Receiver<Heard>,
    client: Client,
}

impl Peer {
    fn of(server: &Server) -> Self {
        let keypair = Keypair::generate_ed25519();
        let id = keypair.public().to_peer_id();
        let (own, own_seen) = watch::channel(Some(named(id, "Ann")));
        let (told, heard) = mpsc::channel(8);
        let config = ClientConfig {
            server: format!("http://{}", server.addr),
            keypair,
            complete: Arc::new(|mut record| {
                record.public_key = "key".to_owned();
                record
            }),
        };
        let client = Client::start(config, own_seen, told).expect("an address that makes sense");
        Self {
            id,
            own,
            heard,
            client,
        }
    }

    async fn until(&self, contact: Contact) {
        let mut state = self.client.state();
        let reached = state.wait_for(|state| state.contact == contact);
        timeout(SOON, reached)
            .await
            .expect("contact in time")
            .expect("a client");
    }

    async fn hear(&mut self) -> Heard {
        timeout(SOON, self.heard.recv())
            .await
            .expect("news in time")
            .expect("a client")
    }

    /// The next record, whatever is said of relays in between.
    async fn hear_record(&mut self) -> PresenceMessage {
        loop {
            if let Heard::Record(record) = self.hear().await {
                return *record;
            }
        }
    }
}

fn named(peer: PeerId, name: &str) -> PresenceMessage {
    let mut record = PresenceMessage::new(PresenceKind::Update, peer, 0);
    record.content = name.to_owned();
    record
}

#[tokio::test]
async fn says_who_it_is_opens_a_socket_and_hears_others() {
    let mut server = Server::start(Sockets::AfterPublish).await;
    let mut peer = Peer::of(&server);
    let first = server.next_published().await;
    assert_eq!(
        (first.content.as_str(), first.public_key.as_str()),
        ("Ann", "key")
    );
    assert!(first.ts > 0);
    peer.until(Contact::Socket).await;
    let other = named(PeerId::random(), "Bob");
    // Neither its own record nor a hint for somebody else is passed on.
    server.say(&named(peer.id, "Ann"));
    let mut hint = PresenceMessage::new(PresenceKind::Punch, PeerId::random(), 1);
    hint.target = Some(PeerId::random());
    server.say(&hint);
    server.say(&other);
    assert_eq!(peer.hear_record().await, other);
    hint.target = Some(peer.id);
    server.say(&hint);
    assert_eq!(peer.hear_record().await, hint);
}

#[tokio::test]
async fn a_change_is_delivered_and_so_is_the_farewell() {
    let mut server = Server::start(Sockets::AfterPublish).await;
    let peer = Peer::of(&server);
    peer.until(Contact::Socket).await;
    while server.published.try_recv().is_ok() {}
    peer.own.send_replace(Some(named(peer.id, "Ann at home")));
    assert_eq!(server.next_published().await.content, "Ann at home");
    peer.own.send_replace(Some(PresenceMessage::new(
        PresenceKind::Offline,
        peer.id,
        0,
    )));
    timeout(SOON, peer.client.shutdown())
        .await
        .expect("it ends");
    assert_eq!(server.next_published().await.kind, PresenceKind::Offline);
}

#[tokio::test]
async fn without_sockets_it_reads_the_stream_and_publishes_by_post() {
    let mut server = Server::start(Sockets::Never).await;
    let mut peer = Peer::of(&server);
    assert_eq!(server.next_published().await.content, "Ann");
    peer.until(Contact::Stream).await;
    let other = named(PeerId::random(), "Bob");
    server.say(&other);
    assert_eq!(peer.hear_record().await, other);
    peer.own
        .send_replace(Some(named(peer.id, "Ann on a train")));
    assert_eq!(server.next_published().await.content, "Ann on a train");
    // The way is free: it moves to a socket, and loses nothing on the way.
    *server.desk.sockets.lock().expect("no panic") = Sockets::AfterPublish;
    peer.until(Contact::Socket).await;
    server.say(&other);
    assert_eq!(peer.hear_record().await, other);
}

#[tokio::test]
async fn a_server_that_comes_back_is_found_again() {
    let mut server = Server::start(Sockets::AfterPublish).await;
    let mut peer = Peer::of(&server);
    peer.until(Contact::Socket).await;
    server.restart().await;
    while server.published.try_recv().is_ok() {}
    // It knows nobody, so it has to be told again.
    assert_eq!(server.next_published().await.content, "Ann");
    peer.until(Contact::Socket).await;
    let other = named(PeerId::random(), "Bob");
    let heard = async {
        loop {
            // Until its socket is there, nobody listens.
            let _ = server
                .desk
                .says
                .send(String::from_utf8(other.to_json()).expect("text"));
            if let Ok(record) = timeout(Duration::from_millis(50), peer.hear_record()).await {
                return record;
            }
        }
    };
    assert_eq!(timeout(SOON, heard).await.expect("in time"), other);
}

#[tokio::test]
async fn a_socket_that_died_with_the_old_network_is_replaced_and_a_living_one_stays() {
    let mut server = Server::start(Sockets::AfterPublish).await;
    let peer = Peer::of(&server);
    peer.until(Contact::Socket).await;
    let since = peer.client.state().borrow().since;
    peer.client.hurry();
    while server.published.try_recv().is_ok() {}
    // Written after the question, and the answer to that comes before it is taken.
    peer.own.send_replace(Some(named(peer.id, "Ann at home")));
    assert_eq!(server.next_published().await.content, "Ann at home");
    assert_eq!(peer.client.state().borrow().since, since);
    let sent = server.desk.says.send(STUCK.to_owned());
    sent.expect("a socket");
    while server.desk.says.receiver_count() > 0 {
        tokio::task::yield_now().await;
    }
    peer.client.hurry();
    let mut state = peer.client.state();
    let anew = state.wait_for(|state| state.contact == Contact::Socket && state.since != since);
    let anew = timeout(SOONER, anew).await.map(drop);
    assert!(anew.is_ok(), "{:?}", *peer.client.state().borrow());
}

#[tokio::test]
async fn a_relay_that_changes_is_told() {
    let server = Server::start(Sockets::AfterPublish).await;
    let relay = PeerId::random();
    let answer = format!(r#"{{"peer_id":"{relay}","addrs":["/ip4/192.0.2.1/tcp/4001"]}}"#);
    server
        .desk
        .relays
        .lock()
        .expect("no panic")
        .push_back(answer);
    let mut peer = Peer::of(&server);
    let Heard::Relay(Some(told)) = peer.hear().await else {
        panic!("a relay")
    };
    assert_eq!(told.peer, relay);
    // Asked again when the socket opens, and when the network changed: the relay is gone.
    peer.client.hurry();
    assert_eq!(peer.hear().await, Heard::Relay(None));
}

#[tokio::test]
async fn what_makes_no_sense_is_left_out_and_the_rest_arrives() {
    let server = Server::start(Sockets::AfterPublish).await;
    let mut peer = Peer::of(&server);
    peer.until(Contact::Socket).await;
    for text in [
        "",
        "null",
        "{",
        "[1]",
        r#"{"type":"online"}"#,
        &"x".repeat(60_000),
    ] {
        server
            .desk
            .says
            .send(text.to_owned())
            .expect("somebody listens");
    }
    let other = named(PeerId::random(), "Bob");
    server.say(&other);
    assert_eq!(peer.hear_record().await, other);
}

#[tokio::test]
async fn a_frame_that_is_too_large_ends_the_socket_and_another_is_opened() {
    let server = Server::start(Sockets::AfterPublish).await;
    let mut peer = Peer::of(&server);
    peer.until(Contact::Socket).await;
    server
        .desk
        .says
        .send("x".repeat(10_000_000))
        .expect("somebody listens");
    peer.until(Contact::Trying).await;
    peer.until(Contact::Socket).await;
    let other = named(PeerId::random(), "Bob");
    server.say(&other);
    assert_eq!(peer.hear_record().await, other);
}

#[tokio::test]
async fn an_address_that_makes_no_sense_is_refused_in_words() {
    let (_own, own) = watch::channel(None);
    let config = ClientConfig {
        server: "goop.example".to_owned(),
        keypair: Keypair::generate_ed25519(),
        complete: Arc::new(|record| record),
    };
    let error = Client::start(config, own, mpsc::channel(1).0).expect_err("no address");
    assert!(error.to_string().contains("https://"), "{error}");
}

#[tokio::test]
async fn a_server_that_is_not_there_is_said_in_words_and_the_client_ends_in_time() {
    let server = Server::start(Sockets::AfterPublish).await;
    server.task.abort();
    let peer = Peer::of(&server);
    let mut state = peer.client.state();
    let told = state.wait_for(|state| state.problem.is_some());
    timeout(SOON, told)
        .await
        .expect("in time")
        .expect("a client");
    timeout(Duration::from_secs(5), peer.client.shutdown())
        .await
        .expect("it ends");
}
