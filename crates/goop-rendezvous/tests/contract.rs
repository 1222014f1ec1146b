//! The recorded conversations of the Go server, replayed against ours. Where ours answers differently on purpose,
//! `deviates` names the reason.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use goop_rendezvous::settings::{RelayLimits, RelaySettings, Timing};
use goop_rendezvous::wire::Publication;
use serde_json::Value;
use support::server::{Running, settings};

/// The recorder's made-up clients had ids that are none; ours takes peer ids only.
const IDS: [(&str, &str); 2] = [
    (
        "test-peer-1",
        "12D3KooWGC6TvWhfagifX5tZ2FhWdFvbAzzgXiQsmHKKKW1kWaKX",
    ),
    (
        "test-peer-2",
        "12D3KooWRndVhVZPCiQwHBBBdg769GyrPUW13zxwqQyf9r3ANaba",
    ),
];

/// Records that are answered differently on purpose, with the reason.
fn deviates(n: u64) -> Option<&'static str> {
    Some(match n {
        730 => "the relay has other addresses, and its key is made here; its form is checked",
        742 => "too many addresses are cut, not refused (weak point 26); the id is none",
        748 => "the ids are longer, so the bytes are more; the rest is checked",
        750 | 751 => "the lines are our own; their form is checked",
        754 => "an empty list is a list",
        764 | 765 | 767 => "checked against the recorded template",
        769 => {
            "without credits everything is owned, or Go peers could not use a template (rendezvous.md 14.5)"
        }
        773 | 774 | 775 | 777 | 779 => "the pages are our own; that they are there is checked",
        778 => "our icon is an SVG",
        780 => "ours describes the server it comes from",
        781 => "the words are our own; its form is checked",
        782..=788 | 799 => {
            "the viewer of a server alone: crate goop-viewer replays them (`tests/server/alone.rs`)"
        }
        795..=798 | 848..=850 => {
            "Go peers took part in the recording; the tests of relay and presence have their own"
        }
        853 | 854 => {
            "the limit is for each peer, not for everybody behind one address (weak point 1); it has a test"
        }
        _ => return None,
    })
}

fn records(file: &str) -> Vec<Value> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/wire/rendezvous");
    let text = std::fs::read_to_string(path.join(file)).unwrap();
    let text = IDS
        .iter()
        .fold(text, |text, (from, to)| text.replace(from, to));
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

fn unpacked(bundle: &[u8]) -> BTreeMap<String, Vec<u8>> {
    let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(bundle));
    let files = archive.entries().unwrap().map(|entry| {
        let mut entry = entry.unwrap();
        let path = entry.path().unwrap().display().to_string();
        let mut content = Vec::new();
        entry.read_to_end(&mut content).unwrap();
        (path, content)
    });
    files.collect()
}

fn recorded(records: &[Value], n: u64) -> &Value {
    records.iter().find(|record| record["n"] == n).unwrap()
}

#[tokio::test]
async fn every_recorded_answer() {
    let all = records("http-api.jsonl");
    let folder = tempfile::tempdir().unwrap();
    let bundle = recorded(&all, 767)["response"]["body_base64"]
        .as_str()
        .unwrap();
    let bundle = unpacked(&STANDARD.decode(bundle).unwrap());
    for (path, content) in &bundle {
        let path = folder.path().join("templates").join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }
    let mut settings = settings();
    settings.admin_password = Some("test-admin".to_owned());
    settings.templates_dir = Some(folder.path().join("templates"));
    settings.relay = Some(RelaySettings {
        bind: vec![[127, 0, 0, 1].into()],
        port: free_port(),
        ws_port: None,
        key_file: folder.path().join("relay.key"),
        timing: Timing {
            cleanup_delay_sec: 3,
            poll_deadline_sec: 10,
            connect_timeout_sec: 5,
            refresh_interval_sec: 90,
            recovery_grace_sec: 5,
        },
        limits: RelayLimits::default(),
    });
    let server = Running::start(settings).await;
    let mut checked = 0;
    for record in &all {
        let n = record["n"].as_u64().unwrap();
        let (request, response) = (&record["request"], &record["response"]);
        if record["peer"] != "R" {
            assert!(deviates(n).is_some(), "{n} is not looked at: {record}");
            continue;
        }
        let (method, path) = (
            request["method"].as_str().unwrap(),
            request["path"].as_str().unwrap(),
        );
        let headers: Vec<String> = request["headers"]
            .as_object()
            .into_iter()
            .flatten()
            .map(|(name, value)| format!("{name}: {}", value.as_str().unwrap()))
            .collect();
        let body = request["body_text"].as_str().unwrap_or_default();
        let answer = server.send(method, path, &headers, body.as_bytes()).await;
        let status = response["status"].as_u64().unwrap();
        let needs_the_recording = matches!(n, 797..=798 | 849..=850 | 853..=854);
        if !needs_the_recording && ![742, 769].contains(&n) {
            assert_eq!(
                u64::from(answer.status),
                status,
                "{n} {path}: {}",
                answer.text()
            );
        }
        checked += 1;
        form(n, &answer, &bundle);
        if deviates(n).is_some() {
            continue;
        }
        if let Some(text) = response["body_text"].as_str() {
            assert_eq!(answer.text(), text, "{n} {path}");
        }
        for name in [
            "content-type",
            "cache-control",
            "www-authenticate",
            "location",
        ] {
            if let Some(value) = response["headers"][name].as_str() {
                assert_eq!(
                    answer.header(name).as_deref(),
                    Some(value),
                    "{n} {path} {name}"
                );
            }
        }
    }
    assert_eq!(checked, 64);
    server.end().await;
}

/// What of an answer with a reason can still be checked.
fn form(n: u64, answer: &support::server::Answer, bundle: &BTreeMap<String, Vec<u8>>) {
    match n {
        730 => {
            let info = answer.json();
            let keys: Vec<&String> = info.as_object().unwrap().keys().collect();
            assert_eq!(keys.len(), 7);
            assert_eq!(info["refresh_interval_sec"], 90);
        }
        748 => {
            let row = &answer.json()[0];
            assert_eq!(
                (&row["type"], &row["content"], &row["ts"], &row["verified"]),
                (&"update".into(), &"One".into(), &5.into(), &true.into())
            );
            assert_eq!(row["bytes_sent"], row["bytes_received"]);
        }
        750 => assert!(answer.json()[0].as_str().unwrap().starts_with('[')),
        751 => {
            assert!(answer.json()["peers"].is_null());
            assert!(
                answer.json()["logs"][0]
                    .as_str()
                    .unwrap()
                    .contains("relay 12D3")
            );
        }
        754 => assert_eq!(answer.json(), serde_json::json!([])),
        764 => {
            let meta = &answer.json()[0];
            assert_eq!(meta["dir"], "tiny");
            assert_eq!(meta["default_role"], "writer");
        }
        765 => assert_eq!(answer.json()["schemas"], serde_json::json!(["guest"])),
        767 => assert_eq!(&unpacked(&answer.body), bundle),
        769 => assert_eq!(answer.json()["owned"], true),
        773 | 775 | 777 | 779 => assert!(answer.text().starts_with("<!DOCTYPE html>"), "{n}"),
        774 => assert_eq!(answer.header("location").as_deref(), Some("/docs/overview")),
        780 => assert!(answer.json()["paths"]["/publish"].is_object()),
        781 => {
            assert_eq!(
                answer.header("content-type").as_deref(),
                Some("application/x-yaml")
            );
            assert_eq!(answer.header("cache-control").as_deref(), Some("no-cache"));
            assert!(answer.text().contains("\n  /_protocol/job-execution:\n"));
        }
        _ => {}
    }
}

fn free_port() -> u16 {
    let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    socket.local_addr().unwrap().port()
}

/// The raw requests of a made-up client, byte for byte, up to the first answer's status line and body.
#[tokio::test]
async fn the_recorded_handshakes() {
    let server = Running::start(settings()).await;
    for n in [1, 2] {
        let online = serde_json::json!({"type":"online","peerId":IDS[n - 1].1,"ts":1});
        assert_eq!(server.publish(&online).await, 204);
    }
    let mut checked = 0;
    for record in records("http-and-sse.jsonl") {
        let name = record["name"].as_str().unwrap();
        if ![
            "ws-no-peer",
            "ws-unknown-peer",
            "ws-not-upgrade",
            "ws-probe",
        ]
        .contains(&name)
        {
            continue;
        }
        let exchange = record["exchange"].as_array().unwrap();
        let request = exchange[0]["text"].as_str().unwrap();
        // An answer without upgrade keeps the connection; the test wants its end.
        let request = request.replace(
            "\r\n\r\n",
            "\r\n\r\nGET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        );
        let request = if name == "ws-probe" {
            exchange[0]["text"].as_str().unwrap().to_owned()
        } else {
            request
        };
        let answer = server.raw(request.as_bytes()).await;
        let expected = match exchange[1]["text"].as_str() {
            Some(text) => text.as_bytes().to_vec(),
            None => hex::decode(exchange[1]["hex"].as_str().unwrap()).unwrap(),
        };
        let status = |bytes: &[u8]| {
            String::from_utf8_lossy(bytes)
                .lines()
                .next()
                .unwrap()
                .to_owned()
        };
        assert_eq!(status(&answer), status(&expected), "{name}");
        if name == "ws-probe" {
            // The close frame with its code and reason is the end of both.
            assert!(answer.ends_with(&expected[expected.len() - 12..]), "{name}");
        } else {
            let body = String::from_utf8(expected).unwrap();
            let body = body.split("\r\n\r\n").nth(1).unwrap().to_owned();
            assert!(String::from_utf8_lossy(&answer).contains(&body), "{name}");
        }
        checked += 1;
    }
    assert_eq!(checked, 4);
    server.end().await;
}

/// What Go peers and the Go server say to each other is understood, and goes out as it came in.
#[test]
fn recorded_messages_come_out_as_they_went_in() {
    let mut checked = 0;
    for record in records("ws-frames.jsonl") {
        if record["opcode"] != "text" {
            continue;
        }
        let payload = record["payload"].as_str().unwrap();
        let from_server = record["dir"] == "server";
        let decoded = if from_server {
            Publication::from_server(payload.as_bytes())
        } else {
            Publication::from_client(payload.as_bytes(), None)
        };
        let decoded = decoded.unwrap();
        assert!(decoded.extra.is_empty());
        assert_eq!(
            String::from_utf8(decoded.to_frame().to_vec()).unwrap(),
            payload
        );
        checked += 1;
    }
    assert!(checked > 30, "{checked}");
}
