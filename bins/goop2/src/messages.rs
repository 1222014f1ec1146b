//! `goop2 send` and `goop2 listen`: the message bus of a peer that runs, for scripts.
//!
//! They ask the running peer over its own API, as its owner: `data/control.url` says where, `data/control.token` proves it.

use std::fs;
use std::io::{Read, Write};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST};
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// How long the peer may take to answer; a message may take five seconds to be delivered, and a name a moment to be found.
const ANSWER: Duration = Duration::from_secs(15);
/// Longest answer that is read, in bytes: a list of 10,000 peers has half of it.
const MAX_ANSWER: usize = 16 * 1024 * 1024;
/// Longest text from standard input that is read, in bytes; what is longer than a line may be is refused by the peer.
const MAX_TEXT: u64 = 1024 * 1024;
/// Longest event, in bytes (messages have 8 MiB); a peer of ours never sends a longer one.
const MAX_EVENT: usize = 64 * 1024 * 1024;

/// A peer that runs, asked by its owner.
struct Control {
    host: String,
    token: String,
}

impl Control {
    fn of(dir: &Path) -> Result<Self, String> {
        let read = |name: &str| {
            fs::read_to_string(dir.join(name)).map_err(|error| {
                let dir = dir.display();
                format!("{dir}/{name} cannot be read ({error}): is that a peer's folder, and does the peer run? `goop2 peer {dir}` starts it")
            })
        };
        let url = read("data/control.url")?;
        let host = url.trim().strip_prefix("http://");
        Ok(Self {
            host: host
                .ok_or_else(|| format!("data/control.url makes no sense: {url:?}"))?
                .to_owned(),
            token: read("data/control.token")?.trim().to_owned(),
        })
    }

    /// Asks, and gives the answer's head as soon as it is there.
    async fn ask(
        &self,
        method: Method,
        path: &str,
        body: Vec<u8>,
    ) -> Result<Response<Incoming>, String> {
        let gone = |error: &dyn std::fmt::Display| {
            format!("the peer does not answer ({error}): does it run? Its viewer has to be on")
        };
        let stream = TcpStream::connect(&self.host)
            .await
            .map_err(|error| gone(&error))?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|error| gone(&error))?;
        // It ends with the program, or with the answer's last byte.
        tokio::spawn(connection);
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(HOST, &self.host)
            .header(AUTHORIZATION, format!("Bearer {}", self.token))
            .header(CONTENT_TYPE, "application/json")
            .body(Full::new(Bytes::from(body)))
            .map_err(|error| error.to_string())?;
        let asking = sender.send_request(request);
        let answer = timeout(ANSWER, asking)
            .await
            .map_err(|_| gone(&"no answer in time"))?;
        let answer = answer.map_err(|error| gone(&error))?;
        if answer.status() == StatusCode::UNAUTHORIZED {
            return Err(
                "the peer that runs there is another one, or was started anew just now".to_owned(),
            );
        }
        Ok(answer)
    }

    /// Asks and reads the whole answer.
    async fn whole(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Value, String> {
        let body = body.map(Value::to_string).unwrap_or_default();
        let answer = self.ask(method, path, body.into_bytes()).await?;
        let status = answer.status();
        let body = http_body_util::Limited::new(answer.into_body(), MAX_ANSWER);
        let bytes = timeout(ANSWER, body.collect())
            .await
            .map_err(|_| "the peer stopped in the middle of its answer".to_owned())?
            .map_err(|error| error.to_string())?
            .to_bytes();
        if !status.is_success() {
            return Err(String::from_utf8_lossy(&bytes).trim().to_owned());
        }
        serde_json::from_slice(&bytes).map_err(|error| format!("the answer is no JSON: {error}"))
    }

    /// The peer that somebody means: an id, or the name of exactly one.
    async fn find(&self, wanted: &str) -> Result<String, String> {
        if goop_identity::label::parse_peer_id(wanted).is_some() {
            return Ok(wanted.to_owned());
        }
        let all = self.whole(Method::GET, "/api/peers", None).await?;
        let named = |peer: &&Value| {
            let name = peer["Content"].as_str().unwrap_or_default();
            name.trim().to_lowercase() == wanted.trim().to_lowercase()
        };
        let found: Vec<&Value> = all.as_array().into_iter().flatten().filter(named).collect();
        match found.as_slice() {
            [one] => Ok(one["ID"].as_str().unwrap_or_default().to_owned()),
            [] => Err(format!(
                "nobody called {wanted:?} is known; give the peer id instead"
            )),
            several => {
                let ids: Vec<&str> = several
                    .iter()
                    .filter_map(|peer| peer["ID"].as_str())
                    .collect();
                Err(format!(
                    "{} peers are called {wanted:?}; give one of these ids: {}",
                    ids.len(),
                    ids.join(", ")
                ))
            }
        }
    }
}

fn run(work: impl Future<Output = Result<(), String>>) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let done = match runtime {
        Ok(runtime) => runtime.block_on(work),
        Err(error) => Err(error.to_string()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("Error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Writes a line to a peer, and says whether it has it or whether it waits. Without a text, standard input is read.
pub(crate) fn send(dir: &Path, peer: &str, text: Option<&str>) -> ExitCode {
    run(async {
        let control = Control::of(dir)?;
        let content = match text {
            None => {
                let mut text = String::new();
                let input = std::io::stdin().lock().take(MAX_TEXT);
                { input }
                    .read_to_string(&mut text)
                    .map_err(|error| format!("standard input cannot be read: {error}"))?;
                text.trim_end_matches('\n').to_owned()
            }
            Some(text) => text.to_owned(),
        };
        let peer_id = control.find(peer).await?;
        let body = json!({ "peer_id": peer_id, "content": content });
        let written = control
            .whole(Method::POST, "/api/chat/send", Some(&body))
            .await?;
        match written["state"].as_str().unwrap_or_default() {
            "failed" => Err(format!(
                "not delivered: {}",
                written["why"].as_str().unwrap_or_default()
            )),
            "waiting" => {
                println!("waiting until they are back");
                Ok(())
            }
            state => {
                println!("{state}");
                Ok(())
            }
        }
    })
}

/// Prints what comes in, one JSON object a line, until it is ended or the peer ends.
pub(crate) fn listen(dir: &Path, topic: Option<&str>) -> ExitCode {
    run(async {
        let control = Control::of(dir)?;
        let topics = topic.unwrap_or_default();
        if topics.chars().any(|c| c.is_control() || c.is_whitespace()) || !topics.is_ascii() {
            return Err("a topic has no spaces and no letters outside ASCII".to_owned());
        }
        // Without a topic: everything that peers send and this peer says, as pages hear it, but nothing is taken from them.
        let wanted = if topics.is_empty() { "*" } else { topics };
        let escaped = wanted
            .replace('%', "%25")
            .replace('&', "%26")
            .replace('#', "%23")
            .replace('+', "%2B");
        let path = format!("/api/mq/events?topics={escaped}");
        let answer = control.ask(Method::GET, &path, Vec::new()).await?;
        if !answer.status().is_success() {
            return Err(format!("the peer refuses: {}", answer.status()));
        }
        let mut body = answer.into_body();
        let mut rest: Vec<u8> = Vec::new();
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|_| "the peer ended".to_owned())?;
            rest.extend_from_slice(frame.data_ref().map_or(&[][..], |data| data));
            while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = rest.drain(..=end).collect();
                say(&line, topics.is_empty())?;
            }
            if rest.len() > MAX_EVENT {
                return Err("the peer sends an event without an end".to_owned());
            }
        }
        Err("the peer ended".to_owned())
    })
}

fn is_log(data: &str) -> bool {
    let event: Result<Value, _> = serde_json::from_str(data);
    event.is_ok_and(|event| {
        let topic = event["msg"]["topic"].as_str().unwrap_or_default();
        topic.starts_with("log:")
    })
}

/// Prints the data of an event's line.
fn say(line: &[u8], without_log: bool) -> Result<(), String> {
    let line = String::from_utf8_lossy(line);
    if line.trim_end() == "event: reset" {
        eprintln!("some events were missed");
    }
    let Some(data) = line.strip_prefix("data:") else {
        return Ok(());
    };
    let data = data.trim();
    // The first event says that it is connected, a missed one that it was missed: neither is a message.
    if !data.starts_with("{\"type\":") {
        return Ok(());
    }
    // The log has an event for each message; who wants it names it.
    if without_log && is_log(data) {
        return Ok(());
    }
    let mut out = std::io::stdout().lock();
    // Whoever read it went away: that is an end like any other.
    if writeln!(out, "{data}").and_then(|()| out.flush()).is_err() {
        std::process::exit(0);
    }
    Ok(())
}
