//! Content and diagnosis over in-memory streams: recorded exchanges, other ways to end, and peers that mean harm.
#![allow(clippy::unwrap_used, missing_docs)]

use std::path::Path;

use goop_net::PeerId;
use goop_net::content::{self, ContentError, MAX_LABEL};
use goop_net::diag::{self, DiagError, Diagnosis, MAX_ANSWER, MAX_LOGS};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

fn recorded(file: &str) -> Vec<Value> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../fixtures/wire/streams")
        .join(file);
    std::fs::read_to_string(path)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

async fn said(label: &str) -> Vec<u8> {
    let (mut here, there) = duplex(64 * 1024);
    content::serve(PeerId::random(), there, label)
        .await
        .unwrap();
    let mut bytes = Vec::new();
    here.read_to_end(&mut bytes).await.unwrap();
    bytes
}

async fn heard(bytes: &[u8]) -> Result<String, ContentError> {
    let (here, mut there) = duplex(bytes.len() + 1);
    there.write_all(bytes).await.unwrap();
    drop(there);
    content::fetch(here).await
}

#[tokio::test]
async fn names_are_said_and_heard_as_recorded() {
    let mut names = 0;
    for exchange in recorded("content.jsonl") {
        assert_eq!(exchange["protocol"], content::PROTOCOL);
        assert_eq!(exchange["request"]["text"], "");
        let answer = exchange["response"]["text"].as_str().unwrap();
        // A Go probe reads nothing.
        if !answer.is_empty() {
            let name = heard(answer.as_bytes()).await.unwrap();
            assert_eq!(said(&name).await, answer.as_bytes());
            names += 1;
        }
    }
    assert!(names > 0);
}

#[tokio::test]
async fn a_name_is_one_line_of_bounded_length() {
    let long = "é".repeat(MAX_LABEL);
    let cases = [
        ("Alice", "Alice\n".to_owned()),
        ("Alice\nBob", "Alice\n".to_owned()),
        ("Alice\r\nBob", "Alice\n".to_owned()),
        ("\nBob", "\n".to_owned()),
        ("", "\n".to_owned()),
        (long.as_str(), format!("{}\n", "é".repeat(MAX_LABEL / 2))),
    ];
    for (label, line) in cases {
        assert_eq!(String::from_utf8(said(label).await).unwrap(), line);
        assert!(heard(line.as_bytes()).await.is_ok());
    }
}

#[tokio::test]
async fn odd_names_are_heard_as_far_as_they_make_sense() {
    let cases: [(&[u8], &str); 5] = [
        (b"Alice\n", "Alice"),
        (b" Alice \r\nmore", "Alice"),
        (b"Alice", "Alice"),
        (b"\n", ""),
        (b"\xff\xfe\n", "\u{fffd}\u{fffd}"),
    ];
    for (bytes, name) in cases {
        assert_eq!(heard(bytes).await.unwrap(), name);
    }
    assert!(matches!(heard(b"").await, Err(ContentError::Empty)));
    assert!(heard(&[b'a'; MAX_LABEL]).await.is_ok());
    assert!(matches!(
        heard(&[b'a'; MAX_LABEL + 1]).await,
        Err(ContentError::TooLong)
    ));
    let mut long = vec![b'a'; MAX_LABEL + 1];
    long.push(b'\n');
    assert!(matches!(heard(&long).await, Err(ContentError::TooLong)));
}

#[tokio::test]
async fn an_endless_name_is_given_up_and_not_collected() {
    let (here, mut there) = duplex(1024);
    let (heard, sent) = tokio::join!(content::fetch(here), async {
        let mut sent = 0;
        while there.write_all(&[b'a'; 1024]).await.is_ok() {
            sent += 1024;
        }
        sent
    });
    assert!(matches!(heard, Err(ContentError::TooLong)));
    assert!(sent <= 4 * MAX_LABEL, "{sent}");
}

#[tokio::test(start_paused = true)]
async fn a_silent_peer_is_given_up_in_both_directions() {
    let (here, _there) = duplex(1);
    assert!(matches!(
        content::fetch(here).await,
        Err(ContentError::TimedOut)
    ));
    let (here, _there) = duplex(1);
    assert!(matches!(
        content::serve(PeerId::random(), here, "Alice").await,
        Err(ContentError::TimedOut)
    ));
    let (here, _there) = duplex(1);
    assert!(matches!(diag::fetch(here).await, Err(DiagError::TimedOut)));
    let (here, _there) = duplex(1);
    let relay = PeerId::random();
    let served = diag::serve(relay, here, Some(relay), Diagnosis::default).await;
    assert!(matches!(served, Err(DiagError::TimedOut)));
}

#[tokio::test]
async fn recorded_diagnoses_decode_and_encode_to_the_same() {
    let exchanges = recorded("diag.jsonl");
    assert!(exchanges.len() >= 2);
    for exchange in exchanges {
        assert_eq!(exchange["protocol"], diag::PROTOCOL);
        let json = &exchange["response"]["json"];
        let document = Diagnosis::from_json(&serde_json::to_vec(json).unwrap()).unwrap();
        let line = document.to_line().unwrap();
        assert_eq!(line.last(), Some(&b'\n'));
        let again: Value = serde_json::from_slice(&line).unwrap();
        assert_eq!(&again, json);
        // The recording keeps the order of the wire, which is that of the names; so do we.
        let names = |value: &Value| {
            value
                .as_object()
                .unwrap()
                .keys()
                .cloned()
                .collect::<Vec<_>>()
        };
        assert_eq!(names(&again), names(json));
        assert_eq!(
            names(&again["connected_peer_details"][0]),
            names(&json["connected_peer_details"][0])
        );
    }
}

#[tokio::test]
async fn only_the_relay_is_told() {
    let relay = PeerId::random();
    let document = || Diagnosis {
        peer_id: "me".to_owned(),
        logs: vec!["secret".to_owned()],
        ..Diagnosis::default()
    };
    for (caller, configured) in [
        (PeerId::random(), None),
        (PeerId::random(), Some(relay)),
        (relay, None),
    ] {
        let (mut here, there) = duplex(64 * 1024);
        let served = diag::serve(caller, there, configured, document).await;
        assert!(matches!(served, Err(DiagError::NotTheRelay)));
        let mut bytes = Vec::new();
        here.read_to_end(&mut bytes).await.unwrap();
        assert_eq!(bytes, b"");
    }
    let (here, there) = duplex(64 * 1024);
    let (served, fetched) = tokio::join!(
        diag::serve(relay, there, Some(relay), document),
        diag::fetch(here)
    );
    served.unwrap();
    assert_eq!(fetched.unwrap(), document());
}

#[test]
fn a_diagnosis_fits_whatever_the_log_holds() {
    let lines = |count: usize, length: usize| {
        (0..count)
            .map(|n| format!("{n} {}", "x".repeat(length)))
            .collect()
    };
    let few = Diagnosis {
        logs: lines(MAX_LOGS + 50, 10),
        ..Diagnosis::default()
    };
    let sent = Diagnosis::from_json(&few.to_line().unwrap()).unwrap();
    assert_eq!(
        (sent.logs.len(), sent.logs.last()),
        (MAX_LOGS, few.logs.last())
    );
    let long = Diagnosis {
        logs: lines(MAX_LOGS, 10_000),
        ..Diagnosis::default()
    };
    let line = long.to_line().unwrap();
    assert!(line.len() <= MAX_ANSWER);
    let sent = Diagnosis::from_json(&line).unwrap();
    assert!(!sent.logs.is_empty());
    assert_eq!(sent.logs.last(), long.logs.last(), "the newest lines stay");
    let connections = vec![
        diag::ConnectionDetail {
            addr: "a".repeat(200),
            ..Default::default()
        };
        1_000
    ];
    let many = Diagnosis {
        connected_peer_details: connections,
        ..Diagnosis::default()
    };
    assert!(many.to_line().unwrap().len() <= MAX_ANSWER);
    let hopeless = Diagnosis {
        os: "x".repeat(MAX_ANSWER),
        ..Diagnosis::default()
    };
    assert!(matches!(hopeless.to_line(), Err(DiagError::TooLong)));
}

#[tokio::test]
async fn an_endless_diagnosis_is_given_up() {
    let (here, mut there) = duplex(1024);
    let (fetched, ()) = tokio::join!(diag::fetch(here), async {
        while there.write_all(&[b' '; 1024]).await.is_ok() {}
    });
    assert!(matches!(fetched, Err(DiagError::TooLong)));
}
