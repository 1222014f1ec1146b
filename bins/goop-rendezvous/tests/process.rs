//! The real program on a fresh folder: a plain WebSocket client talks to it, and it ends when told to.
#![allow(clippy::unwrap_used, missing_docs)]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use futures::StreamExt;
use serde_json::{Value, json};

const SOON: Duration = Duration::from_secs(20);
const ANN: &str = "12D3KooWK99VoVxNE7XzyBwXEzW7xhK7Gpv85r9F3V3fyKSUKPH5";

struct Server {
    child: Child,
    addr: String,
    _folder: tempfile::TempDir,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn free_port() -> u16 {
    let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    socket.local_addr().unwrap().port()
}

fn start() -> Server {
    let folder = tempfile::tempdir().unwrap();
    let port = free_port();
    let config = json!({"presence":{"rendezvous_host":true,"rendezvous_port":port,"peer_db_path":"data/peers.db"}});
    std::fs::write(folder.path().join("goop.json"), config.to_string()).unwrap();
    let before = std::fs::read(folder.path().join("goop.json")).unwrap();
    let mut child = Command::new(env!("CARGO_BIN_EXE_goop-rendezvous"))
        .arg(folder.path())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let line = lines.find(|line| line.as_ref().unwrap().starts_with("Rendezvous:"));
    assert!(line.unwrap().unwrap().contains(&port.to_string()));
    // A server's start leaves the folder as it was (weak point 29).
    assert_eq!(
        std::fs::read(folder.path().join("goop.json")).unwrap(),
        before
    );
    Server {
        child,
        addr: format!("127.0.0.1:{port}"),
        _folder: folder,
    }
}

fn ask(server: &Server, request: &str, body: &str) -> String {
    let mut stream = TcpStream::connect(&server.addr).unwrap();
    stream.set_read_timeout(Some(SOON)).unwrap();
    let length = body.len();
    write!(stream, "{request} HTTP/1.1\r\nHost: rv\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn a_plain_client_is_served_until_the_end() {
    let mut server = start();
    assert!(ask(&server, "GET /healthz", "").ends_with("\r\n\r\nok"));
    let online = json!({"type":"online","peerId":ANN,"content":"Ann","ts":1}).to_string();
    assert!(ask(&server, "POST /publish", &online).starts_with("HTTP/1.1 204"));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let url = format!("ws://{}/ws?peer_id={ANN}", server.addr);
    runtime.block_on(async {
        let heard = async {
            let (mut socket, _) = tokio_tungstenite::connect_async(url).await.unwrap();
            let first = socket.next().await.unwrap().unwrap();
            let first: Value = serde_json::from_str(first.to_text().unwrap()).unwrap();
            assert_eq!(first["content"], "Ann");
            terminate(&server.child);
            // The server says that it ends.
            while let Some(Ok(_)) = socket.next().await {}
        };
        tokio::time::timeout(SOON, heard).await.unwrap();
    });
    let deadline = Instant::now() + SOON;
    let status = loop {
        if let Some(status) = server.child.try_wait().unwrap() {
            break status;
        }
        assert!(Instant::now() < deadline, "it does not end");
        std::thread::yield_now();
    };
    assert!(status.success(), "{status}");
}

/// Runs the program on a folder with these settings, which must end it; what it says.
fn refusal(presence: &Value) -> String {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("data")).unwrap();
    std::fs::write(folder.path().join("data/relay.key"), b"damaged").unwrap();
    let config = json!({ "presence": presence });
    std::fs::write(folder.path().join("goop.json"), config.to_string()).unwrap();
    let mut child = Command::new(env!("CARGO_BIN_EXE_goop-rendezvous"))
        .arg(folder.path())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = String::new();
    let deadline = Instant::now() + SOON;
    while child.try_wait().unwrap().is_none() {
        if Instant::now() >= deadline {
            child.kill().unwrap();
        }
        std::thread::yield_now();
    }
    child
        .stderr
        .take()
        .unwrap()
        .read_to_string(&mut said)
        .unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(1), "{said}");
    let key = std::fs::read(folder.path().join("data/relay.key")).unwrap();
    assert_eq!(key, b"damaged");
    said
}

#[test]
fn a_busy_port_and_a_damaged_key_are_said_and_nothing_is_replaced() {
    let busy = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = busy.local_addr().unwrap().port();
    let said = refusal(&json!({ "rendezvous_port": port }));
    assert!(
        said.contains(&port.to_string()) && said.contains("rendezvous_port"),
        "{said}"
    );
    let ports = json!({
        "rendezvous_host": true, "rendezvous_port": free_port(), "relay_port": free_port(),
    });
    let said = refusal(&ports);
    assert!(said.contains("relay.key"), "{said}");
}

#[cfg(unix)]
fn terminate(child: &Child) {
    let pid = rustix::process::Pid::from_child(child);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
}
