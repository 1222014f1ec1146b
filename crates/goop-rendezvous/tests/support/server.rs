//! A server in this process and clients of it.

use std::net::SocketAddr;
use std::time::Duration;

use futures::{SinkExt, StreamExt};
use goop_rendezvous::Server;
use goop_rendezvous::settings::Settings;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{WebSocketStream, client_async};
use tokio_util::sync::CancellationToken;

/// Nothing in these tests takes as long.
pub const SOON: Duration = Duration::from_secs(10);

pub fn settings() -> Settings {
    let (config, document) = goop_identity::config::decode(b"{}").unwrap();
    let mut settings = Settings::of(&config, &document, std::path::Path::new("/nowhere")).unwrap();
    settings.listen = SocketAddr::from(([127, 0, 0, 1], 0));
    settings
}

pub struct Running {
    pub addr: SocketAddr,
    leave: CancellationToken,
    task: tokio::task::JoinHandle<Result<(), goop_rendezvous::ServerError>>,
}

pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    pub fn header(&self, name: &str) -> Option<String> {
        self.head.lines().find_map(|line| {
            let (key, value) = line.split_once(": ")?;
            key.eq_ignore_ascii_case(name).then(|| value.to_owned())
        })
    }
}

impl Running {
    pub async fn start(settings: Settings) -> Self {
        let server = Server::bind(settings).await.unwrap();
        let addr = server.local_addr().unwrap();
        let leave = CancellationToken::new();
        let task = tokio::spawn(server.run(leave.clone()));
        Self { addr, leave, task }
    }

    pub async fn end(self) {
        self.leave.cancel();
        timeout(SOON, self.task).await.unwrap().unwrap().unwrap();
    }

    /// Sends bytes and reads until the server closes.
    pub async fn raw(&self, request: &[u8]) -> Vec<u8> {
        let mut stream = TcpStream::connect(self.addr).await.unwrap();
        stream.write_all(request).await.unwrap();
        let mut answer = Vec::new();
        timeout(SOON, stream.read_to_end(&mut answer))
            .await
            .unwrap()
            .unwrap();
        answer
    }

    pub async fn send(&self, method: &str, path: &str, headers: &[String], body: &[u8]) -> Answer {
        let mut request = format!("{method} {path} HTTP/1.1\r\nHost: rv\r\nConnection: close\r\n");
        for header in headers {
            request.push_str(&format!("{header}\r\n"));
        }
        request.push_str(&format!("Content-Length: {}\r\n\r\n", body.len()));
        let mut request = request.into_bytes();
        request.extend_from_slice(body);
        parse(&self.raw(&request).await)
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.send("GET", path, &[], b"").await
    }

    pub async fn publish(&self, message: &Value) -> u16 {
        let body = message.to_string();
        let answer = self.send("POST", "/publish", &[], body.as_bytes()).await;
        answer.status
    }

    pub async fn socket(&self, query: &str) -> Result<Socket, u16> {
        let stream = TcpStream::connect(self.addr).await.unwrap();
        let url = format!("ws://{}/ws?{query}", self.addr);
        match timeout(SOON, client_async(url, stream)).await.unwrap() {
            Ok((stream, _)) => Ok(Socket {
                stream,
                heard: Vec::new(),
            }),
            Err(tokio_tungstenite::tungstenite::Error::Http(answer)) => {
                Err(answer.status().as_u16())
            }
            Err(error) => panic!("{error}"),
        }
    }
}

fn parse(all: &[u8]) -> Answer {
    let end = all
        .windows(4)
        .position(|window| window == b"\r\n\r\n")
        .unwrap();
    let head = String::from_utf8_lossy(&all[..end]).into_owned();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    let mut body = all[end + 4..].to_vec();
    let chunked = head
        .to_ascii_lowercase()
        .contains("transfer-encoding: chunked");
    if chunked {
        body = unchunk(&body);
    }
    Answer { status, head, body }
}

fn unchunk(mut bytes: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    loop {
        let end = bytes.windows(2).position(|two| two == b"\r\n").unwrap();
        let size = usize::from_str_radix(std::str::from_utf8(&bytes[..end]).unwrap(), 16).unwrap();
        if size == 0 {
            return body;
        }
        body.extend_from_slice(&bytes[end + 2..end + 2 + size]);
        bytes = &bytes[end + 4 + size..];
    }
}

pub struct Socket {
    pub stream: WebSocketStream<TcpStream>,
    heard: Vec<Value>,
}

impl Socket {
    /// The next text message, as JSON; `None` when the socket closed.
    pub async fn next(&mut self) -> Option<Value> {
        loop {
            match timeout(SOON, self.stream.next()).await.unwrap() {
                Some(Ok(Message::Text(text))) => return Some(serde_json::from_str(&text).unwrap()),
                Some(Ok(Message::Close(_)) | Err(_)) | None => return None,
                Some(Ok(_)) => {}
            }
        }
    }

    /// Reads until a message fits. What came before it can be asked for again: hints and presence come in any order.
    pub async fn until(&mut self, fits: impl Fn(&Value) -> bool) -> Value {
        if let Some(at) = self.heard.iter().position(&fits) {
            return self.heard.remove(at);
        }
        let deadline = tokio::time::Instant::now() + SOON;
        loop {
            let next = tokio::time::timeout_at(deadline, self.next()).await;
            let Ok(Some(message)) = next else {
                panic!("it did not come; instead: {:#?}", self.heard);
            };
            if fits(&message) {
                return message;
            }
            self.heard.push(message);
        }
    }

    pub async fn say(&mut self, message: &Value) {
        let text = Message::text(message.to_string());
        self.stream.send(text).await.unwrap();
    }
}

/// Waits for something, with a deadline.
pub async fn eventually<F: Future<Output = bool>>(what: &str, mut is_so: impl FnMut() -> F) {
    let deadline = tokio::time::Instant::now() + SOON;
    while !is_so().await {
        assert!(tokio::time::Instant::now() < deadline, "{what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
