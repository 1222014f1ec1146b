//! `goop2 send` and `goop2 listen`: the message bus of a peer that runs, for scripts.
//!
//! They ask the running peer over its own API, as its owner.

use std::io::{Read, Write};
use std::path::Path;
use std::process::ExitCode;

use http_body_util::BodyExt;
use hyper::Method;
use serde_json::{Value, json};

use crate::control::Control;

/// Longest text from standard input that is read, in bytes; what is longer than a line may be is refused by the peer.
const MAX_TEXT: u64 = 1024 * 1024;
/// Longest event, in bytes (messages have 8 MiB); a peer of ours never sends a longer one.
const MAX_EVENT: usize = 64 * 1024 * 1024;

impl Control {
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
