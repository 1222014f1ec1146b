//! The task of one client: does what the machine says and tells it what came of it.

use std::pin::Pin;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use futures::stream::{FuturesUnordered, SplitSink, SplitStream};
use futures::{FutureExt, SinkExt, StreamExt};
use goop_http::{Ask, Http, HttpError, Socket};
use goop_identity::PeerId;
use goop_identity::presence::{PresenceKind, PresenceMessage};
use http::StatusCode;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tokio::sync::{mpsc, watch};
use tokio::time::{sleep_until, timeout};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_util::sync::CancellationToken;

use super::machine::{Action, Contact, Failure, Input, Machine};
use super::sse::Lines;
use super::{ClientConfig, Heard, RelayInfo, ServerState};
use crate::wire::{ClientHello, ServerHello};

/// Connecting, the TLS handshake and the upgrade to a socket (rendezvous.md 18.5).
const HANDSHAKE: Duration = Duration::from_secs(5);
/// Largest message on a socket (rendezvous.md 6.2); the Go server sends records of up to 20 addresses, far less.
const MAX_FRAME: usize = 64 * 1024;
/// How long a server may take for a record (rendezvous.md 18.2).
const PUBLISH: Duration = Duration::from_secs(2);
/// A record is delivered again at least this often, whatever the heartbeat: servers forget a peer after 30 s
/// (rendezvous.md 9).
const REPEAT: Duration = Duration::from_secs(10);
/// Over HTTP a record that says nothing new is delivered no more often than this: the Go server takes 60 a minute from
/// one address, which may be a whole household.
const POST_UNCHANGED: Duration = Duration::from_secs(9);
/// Silence after which a socket is dead; servers ping every 5 s (rendezvous.md 6.2).
const SILENCE: Duration = Duration::from_secs(15);
/// A socket is asked for a sign of life when the network changed, and has so long to give one: a connection that died with
/// the old network does not say so.
const SIGN: Duration = Duration::from_secs(2);
/// Silence after which an event stream is dead; servers say something every 25 s (rendezvous.md 5).
const STREAM_SILENCE: Duration = Duration::from_secs(60);
/// One frame may take so long to go out.
const WRITE: Duration = Duration::from_secs(2);
/// A relay is asked for so often while there is none …
const RELAY_WANTED: Duration = Duration::from_secs(30);
/// … and while there is one, which may move.
const RELAY_KNOWN: Duration = Duration::from_secs(300);
/// A relay answer that failed is repeated after this.
const RELAY_FAILED: Duration = Duration::from_secs(5);
/// The farewell.
const LAST_WORDS: Duration = Duration::from_secs(1);

type Done = Pin<Box<dyn Future<Output = Outcome> + Send>>;

/// What came of something that was started.
enum Outcome {
    Socket(Result<Box<Socket>, HttpError>),
    Probe(bool),
    Stream(Result<Incoming, HttpError>),
    Published(Result<StatusCode, HttpError>),
    Relay(Result<Option<RelayInfo>, HttpError>),
}

pub(super) struct Task {
    http: Http,
    config: ClientConfig,
    me: PeerId,
    own: watch::Receiver<Option<PresenceMessage>>,
    heard: mpsc::Sender<Heard>,
    state: watch::Sender<ServerState>,
    machine: Machine,
    writer: Option<SplitSink<Socket, Message>>,
    reader: Option<SplitStream<Socket>>,
    last_frame: Instant,
    /// By when the socket has to give a sign of life.
    sign_by: Option<Instant>,
    last_bytes: Instant,
    stream: Option<(Incoming, Lines)>,
    /// The stream was asked for and not closed since.
    wants_stream: bool,
    running: FuturesUnordered<Done>,
    publishing: bool,
    /// Something to deliver came while a delivery was under way.
    publish_again: bool,
    /// What was delivered last, without its time, and when.
    delivered: Option<(PresenceMessage, Instant)>,
    last_ts: i64,
    repeat_at: Instant,
    relay_at: Instant,
    asking_relay: bool,
    relay: Option<Option<RelayInfo>>,
}

impl Task {
    pub(super) fn new(
        http: Http,
        config: ClientConfig,
        own: watch::Receiver<Option<PresenceMessage>>,
        heard: mpsc::Sender<Heard>,
        state: watch::Sender<ServerState>,
    ) -> Self {
        let now = Instant::now();
        let me = config.keypair.public().to_peer_id();
        Self {
            http,
            config,
            me,
            own,
            heard,
            state,
            machine: Machine::new(now),
            writer: None,
            reader: None,
            last_frame: now,
            sign_by: None,
            last_bytes: now,
            stream: None,
            wants_stream: false,
            running: FuturesUnordered::new(),
            publishing: false,
            publish_again: false,
            delivered: None,
            last_ts: 0,
            repeat_at: now,
            relay_at: now,
            asking_relay: false,
            relay: None,
        }
    }

    pub(super) async fn run(mut self, mut hurried: mpsc::Receiver<()>, stop: CancellationToken) {
        self.own.mark_changed();
        loop {
            let wake = self.next_wake();
            tokio::select! {
                () = stop.cancelled() => break,
                changed = self.own.changed() => match changed {
                    Ok(()) => self.publish().await,
                    Err(_) => break,
                },
                Some(()) = hurried.recv() => {
                    self.relay_at = Instant::now();
                    self.doubt().await;
                    self.tell(Input::Hurry).await;
                }
                Some(done) = self.running.next() => self.on_done(done).await,
                frame = next_frame(self.reader.as_mut()) => self.on_frame(frame).await,
                bytes = next_bytes(self.stream.as_mut().map(|(body, _)| body)) => self.on_bytes(bytes).await,
                () = sleep_until(wake.into()) => self.on_time().await,
            }
            self.show();
        }
        self.farewell().await;
    }

    fn next_wake(&self) -> Instant {
        let silence = self.reader.is_some().then(|| self.last_frame + SILENCE);
        let stream = self
            .stream
            .is_some()
            .then(|| self.last_bytes + STREAM_SILENCE);
        let relay = (!self.asking_relay).then_some(self.relay_at);
        let times = [
            self.machine.next_wake(),
            silence,
            self.sign_by,
            stream,
            relay,
            Some(self.repeat_at),
        ];
        times.into_iter().flatten().min().unwrap_or(self.repeat_at)
    }

    async fn on_time(&mut self) {
        let now = Instant::now();
        let no_sign = self.sign_by.is_some_and(|by| by <= now);
        if self.reader.is_some() && (self.last_frame + SILENCE <= now || no_sign) {
            self.problem("the server fell silent".to_owned());
            self.lose_socket().await;
        }
        if self.stream.is_some() && self.last_bytes + STREAM_SILENCE <= now {
            self.problem("the server fell silent".to_owned());
            self.lose_stream().await;
        }
        if self.repeat_at <= now {
            self.publish().await;
        }
        if !self.asking_relay && self.relay_at <= now {
            self.ask_relay();
        }
        let actions = self.machine.tick(now);
        self.act(actions).await;
    }

    async fn tell(&mut self, input: Input) {
        let actions = self.machine.on(input, Instant::now());
        self.act(actions).await;
    }

    async fn act(&mut self, actions: Vec<Action>) {
        for action in actions {
            match action {
                Action::OpenSocket => {
                    let http = self.http.clone();
                    let path = format!("/ws?peer_id={}&hello=1", self.me.to_base58());
                    let open =
                        async move { http.socket(&path, HANDSHAKE, MAX_FRAME).await.map(Box::new) };
                    self.running.push(open.map(Outcome::Socket).boxed());
                }
                Action::Probe => {
                    let http = self.http.clone();
                    self.running.push(probe(http).map(Outcome::Probe).boxed());
                }
                Action::OpenStream => {
                    self.wants_stream = true;
                    let http = self.http.clone();
                    let open =
                        async move { http.stream("/events", "text/event-stream", HANDSHAKE).await };
                    self.running.push(open.map(Outcome::Stream).boxed());
                }
                Action::CloseStream => {
                    self.wants_stream = false;
                    self.stream = None;
                }
                // Boxed, because delivering a record may tell the machine something.
                Action::Publish => self.post(),
            }
        }
    }

    async fn on_done(&mut self, done: Outcome) {
        match done {
            Outcome::Socket(Ok(socket)) => {
                let (writer, reader) = (*socket).split();
                self.writer = Some(writer);
                self.reader = Some(reader);
                self.last_frame = Instant::now();
                self.sign_by = None;
                self.well();
                // The server may be another one than before: so may its relay.
                if self.relay.is_some() {
                    self.relay_at = Instant::now();
                }
                self.tell(Input::SocketOpen).await;
            }
            Outcome::Socket(Err(error)) => {
                if Failure::of(&error) != Failure::Unknown {
                    self.problem(error.to_string());
                }
                self.tell(Input::SocketFailed(Failure::of(&error))).await;
            }
            Outcome::Probe(answered) => {
                self.tell(if answered {
                    Input::ProbeAnswered
                } else {
                    Input::ProbeFailed
                })
                .await;
            }
            // The socket was faster.
            Outcome::Stream(Ok(_)) if !self.wants_stream => {}
            Outcome::Stream(Ok(body)) => {
                self.stream = Some((body, Lines::default()));
                self.last_bytes = Instant::now();
                self.well();
                self.tell(Input::StreamOpen).await;
            }
            Outcome::Stream(Err(error)) => {
                self.problem(error.to_string());
                self.tell(Input::StreamFailed).await;
            }
            Outcome::Published(answer) => self.on_published(answer).await,
            Outcome::Relay(answer) => self.on_relay(answer).await,
        }
    }

    async fn on_frame(&mut self, frame: Option<Message>) {
        let Some(frame) = frame else {
            self.lose_socket().await;
            return;
        };
        self.last_frame = Instant::now();
        self.sign_by = None;
        match frame {
            Message::Text(text) => {
                self.tell(Input::SocketHeard).await;
                match ServerHello::from_json(text.as_bytes()) {
                    Some(hello) => self.answer(&hello).await,
                    None => self.hear(text.as_bytes()).await,
                }
            }
            Message::Binary(bytes) => {
                self.tell(Input::SocketHeard).await;
                self.hear(&bytes).await;
            }
            // The answer to a ping lies ready in the socket and goes out with the flush.
            Message::Ping(_) => {
                let flushed = match &mut self.writer {
                    Some(writer) => timeout(WRITE, writer.flush()).await,
                    None => return,
                };
                if !matches!(flushed, Ok(Ok(()))) {
                    self.lose_socket().await;
                }
            }
            Message::Close(_) => self.lose_socket().await,
            Message::Pong(_) | Message::Frame(_) => {}
        }
    }

    async fn on_bytes(&mut self, bytes: Option<Bytes>) {
        let Some(bytes) = bytes else {
            self.lose_stream().await;
            return;
        };
        self.last_bytes = Instant::now();
        let records = match &mut self.stream {
            Some((_, lines)) => lines.feed(&bytes),
            None => return,
        };
        for record in records {
            self.hear(&record).await;
        }
    }

    /// A record of somebody. While whoever listens is busy, the server waits.
    async fn hear(&mut self, bytes: &[u8]) {
        let record = match PresenceMessage::from_json(bytes) {
            Ok(record) => record,
            Err(error) => {
                tracing::debug!(server = %self.http.server(), %error, "a record of the server is left out");
                return;
            }
        };
        let me = self.me;
        let for_another = record.kind == PresenceKind::Punch && record.target != Some(me);
        if record.peer != me && !for_another {
            // Nobody listens any more: the peer is about to end.
            let _ = self.heard.send(Heard::Record(Box::new(record))).await;
        }
    }

    /// Proves that the socket is ours. A server of the Go program never asks.
    async fn answer(&mut self, hello: &ServerHello) {
        let Some(answer) = ClientHello::answer(hello, &self.config.keypair) else {
            return;
        };
        // Texts always serialise.
        let text = serde_json::to_string(&answer).unwrap_or_default();
        self.write(Message::text(text)).await;
    }

    /// Sends a frame; a socket that does not take it in time is given up.
    async fn write(&mut self, message: Message) -> bool {
        let sent = match &mut self.writer {
            Some(writer) => timeout(WRITE, writer.send(message)).await,
            None => return false,
        };
        let sent = matches!(sent, Ok(Ok(())));
        if !sent {
            self.lose_socket().await;
        }
        sent
    }

    /// The network changed: what hangs on the old one is found out. A stream cannot be asked; it is opened anew.
    async fn doubt(&mut self) {
        if self.reader.is_some() && self.write(Message::Ping(Bytes::new())).await {
            self.sign_by.get_or_insert(Instant::now() + SIGN);
        }
        if self.stream.is_some() {
            self.lose_stream().await;
        }
    }

    async fn lose_stream(&mut self) {
        self.stream = None;
        self.tell(Input::StreamFailed).await;
    }

    async fn lose_socket(&mut self) {
        if self.reader.take().is_some() {
            self.writer = None;
            self.sign_by = None;
            self.tell(Input::SocketClosed).await;
        }
    }

    /// The newest record, made ready; `None` while there is nothing to say.
    fn record(&mut self) -> Option<PresenceMessage> {
        let mut record = self.own.borrow().clone()?;
        // A clock that stands still or goes back must not make a record look old.
        self.last_ts = unix_millis().max(self.last_ts + 1);
        record.ts = self.last_ts;
        Some((self.config.complete)(record))
    }

    /// Delivers the newest record: over the socket if there is one.
    async fn publish(&mut self) {
        self.repeat_at = Instant::now() + REPEAT;
        self.own.mark_unchanged();
        let Some(record) = self.record() else { return };
        if self.writer.is_none() {
            let said = self.delivered.as_ref();
            let is_news = said.is_none_or(|(last, at)| {
                at.elapsed() >= POST_UNCHANGED || without_time(&record) != *last
            });
            if is_news {
                self.post();
            }
            return;
        }
        let message = Message::text(String::from_utf8_lossy(&record.to_json()).into_owned());
        if self.write(message).await {
            self.delivered = Some((without_time(&record), Instant::now()));
        }
    }

    /// Delivers the newest record by HTTP; one at a time.
    fn post(&mut self) {
        if self.publishing {
            self.publish_again = true;
            return;
        }
        let Some(record) = self.record() else { return };
        self.publishing = true;
        self.delivered = Some((without_time(&record), Instant::now()));
        let http = self.http.clone();
        let post = async move { post(&http, &record).await };
        self.running.push(post.map(Outcome::Published).boxed());
    }

    async fn on_published(&mut self, answer: Result<StatusCode, HttpError>) {
        self.publishing = false;
        match answer {
            Ok(status) if status.is_success() => {
                if self.machine.contact() == Contact::Stream {
                    self.well();
                }
                self.tell(Input::Delivered).await;
            }
            Ok(status) => {
                self.delivered = None;
                self.problem(HttpError::Status(status).to_string());
            }
            Err(error) => {
                self.delivered = None;
                self.problem(error.to_string());
            }
        }
        if std::mem::take(&mut self.publish_again) {
            self.publish().await;
        }
    }

    fn ask_relay(&mut self) {
        self.asking_relay = true;
        let http = self.http.clone();
        let ask = async move {
            let answer = http.ask(Ask::get("/relay")).await?;
            match answer.status.as_u16() {
                200..=299 => Ok(RelayInfo::from_json(&answer.body)),
                // It has none (rendezvous.md 18.2).
                404 | 502 => Ok(None),
                _ => Err(HttpError::Status(answer.status)),
            }
        };
        self.running.push(ask.map(Outcome::Relay).boxed());
    }

    async fn on_relay(&mut self, answer: Result<Option<RelayInfo>, HttpError>) {
        self.asking_relay = false;
        let pause = match answer {
            Ok(relay) => {
                let pause = if relay.is_some() {
                    RELAY_KNOWN
                } else {
                    RELAY_WANTED
                };
                if self.relay.as_ref() != Some(&relay) {
                    self.relay = Some(relay.clone());
                    let _ = self.heard.send(Heard::Relay(relay)).await;
                }
                pause
            }
            // What is known of it still holds.
            Err(_) if self.relay.is_some() => RELAY_WANTED,
            Err(_) => RELAY_FAILED,
        };
        self.relay_at = Instant::now() + pause;
    }

    fn problem(&self, problem: String) {
        let server = self.http.server();
        self.state.send_if_modified(|state| {
            let is_news = state.problem.as_ref() != Some(&problem);
            if is_news {
                tracing::info!(%server, problem, "the rendezvous server is not there");
            }
            state.problem = Some(problem);
            is_news
        });
    }

    fn well(&self) {
        self.state
            .send_if_modified(|state| state.problem.take().is_some());
    }

    fn show(&self) {
        let contact = self.machine.contact();
        let server = self.http.server();
        self.state.send_if_modified(|state| {
            if state.contact == contact {
                return false;
            }
            tracing::info!(%server, ?contact, "rendezvous server");
            state.contact = contact;
            state.since = SystemTime::now();
            if contact != Contact::Trying {
                state.problem = None;
            }
            true
        });
    }

    /// The last record, and a polite end of the socket.
    async fn farewell(mut self) {
        let Some(record) = self.record() else { return };
        let last_words = async {
            if let Some(mut writer) = self.writer.take() {
                let text = String::from_utf8_lossy(&record.to_json()).into_owned();
                writer.send(Message::text(text)).await.ok()?;
                let close = CloseFrame {
                    code: CloseCode::Normal,
                    reason: "".into(),
                };
                writer.send(Message::Close(Some(close))).await.ok()?;
                return Some(());
            }
            post(&self.http, &record).await.ok().map(drop)
        };
        if !matches!(timeout(LAST_WORDS, last_words).await, Ok(Some(()))) {
            tracing::debug!(server = %self.http.server(), "the farewell was not delivered");
        }
    }
}

async fn post(http: &Http, record: &PresenceMessage) -> Result<StatusCode, HttpError> {
    let mut ask = Ask::post("/publish", record.to_json());
    ask.within = PUBLISH;
    Ok(http.ask(ask).await?.status)
}

/// Whether the server opens sockets now; the one it opens is closed at once (rendezvous.md 6.1).
async fn probe(http: Http) -> bool {
    match timeout(PUBLISH, http.socket("/ws?probe=1", HANDSHAKE, MAX_FRAME)).await {
        Ok(Ok(mut socket)) => {
            // It closes by itself; this is only politeness.
            let _ = timeout(WRITE, socket.close(None)).await;
            true
        }
        _ => false,
    }
}

/// What of a record is news: neither its time nor what depends on it.
fn without_time(record: &PresenceMessage) -> PresenceMessage {
    PresenceMessage {
        ts: 0,
        signature: None,
        ..record.clone()
    }
}

async fn next_frame(reader: Option<&mut SplitStream<Socket>>) -> Option<Message> {
    match reader {
        Some(reader) => reader.next().await.and_then(Result::ok),
        None => std::future::pending().await,
    }
}

async fn next_bytes(body: Option<&mut Incoming>) -> Option<Bytes> {
    let Some(body) = body else {
        return std::future::pending().await;
    };
    loop {
        match body.frame().await {
            Some(Ok(frame)) => {
                if let Ok(bytes) = frame.into_data() {
                    return Some(bytes);
                }
            }
            Some(Err(_)) | None => return None,
        }
    }
}

fn unix_millis() -> i64 {
    let since = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
