//! Recorded streams of the site and avatar protocols, both ends.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use goop_identity::avatar::AvatarFile;
use goop_identity::seal::{Keyring, NoKeys};
use goop_site::avatar;
use goop_site::protocol::{self, FetchError, parse_header};
use support::actors::{Pair, actor, pair};
use support::{alices_site, bytes, fixture, lines};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// Gives `request` to our server and reads its whole answer.
async fn ask(request: &[u8], keys: &impl Keyring) -> Vec<u8> {
    let (dir, site) = alices_site();
    let (mut client, mut server) = tokio::io::duplex(1 << 20);
    client.write_all(request).await.unwrap();
    client.shutdown().await.unwrap();
    // A request that breaks off gets no answer, as from a Go peer.
    let _ = protocol::serve(actor("B").peer, &mut server, &site, keys).await;
    drop((server, dir));
    let mut answer = Vec::new();
    client.read_to_end(&mut answer).await.unwrap();
    answer
}

/// What we answer differently on purpose: files with a dot in front are never served.
const REFUSED_HERE: &str = "/.hidden";

#[tokio::test]
async fn our_server_answers_as_recorded() {
    let mut checked = 0;
    for record in lines("wire/streams/site.jsonl") {
        let (Some(request), Some(response)) =
            (bytes(&record["request"]), bytes(&record["response"]))
        else {
            continue;
        };
        let sealed_answer = response.starts_with(b"EOK ");
        if record["responder"] != "A" || request.ends_with(b"/large.bin\n") {
            // Of the file over 50 MiB only the header was kept.
            continue;
        }
        let keys = pair("A", "B", sealed_answer);
        // Where A had no key of B it could not open what B sealed.
        let answer = if request.starts_with(b"ENC:") || sealed_answer {
            ask(&request, &keys).await
        } else {
            ask(&request, &NoKeys).await
        };
        let about = String::from_utf8_lossy(&request).into_owned();
        if about.contains(REFUSED_HERE) {
            assert_eq!(answer, b"ERR forbidden\n");
        } else if sealed_answer {
            assert_eq!(open(&answer, &keys), open(&response, &keys), "{about}");
        } else {
            assert_eq!(answer, response, "{about}");
        }
        checked += 1;
    }
    assert!(checked > 40, "{checked}");
}

/// Header words and content of a sealed answer.
fn open(answer: &[u8], keys: &Pair) -> (String, u64, Vec<u8>) {
    let end = answer.iter().position(|byte| *byte == b'\n').unwrap();
    let header = parse_header(&answer[..end]).unwrap();
    let (content_type, len) = (header.content_type.to_owned(), header.len);
    assert!(header.sealed);
    // The recorded boxes were sealed by A for B; A's pair opens them as well as B's.
    (
        content_type,
        len,
        keys.open_from(&actor("B").peer, &answer[end + 1..])
            .unwrap(),
    )
}

#[tokio::test]
async fn our_client_asks_and_understands_as_recorded() {
    let mut checked = 0;
    for record in lines("wire/streams/site.jsonl") {
        let (Some(request), Some(response)) =
            (bytes(&record["request"]), bytes(&record["response"]))
        else {
            continue;
        };
        if record["opener"] != "B" || request.ends_with(b"/large.bin\n") {
            continue;
        }
        let sealed = request.starts_with(b"ENC:");
        let keys = pair("B", "A", sealed);
        let line = if sealed {
            keys.open_from(&actor("A").peer, request[4..].trim_ascii())
                .unwrap()
        } else {
            request.clone()
        };
        let path = String::from_utf8(line).unwrap();
        let path = path
            .trim_start_matches("GET ")
            .trim_end_matches('\n')
            .to_owned();
        let (mut client, mut server) = tokio::io::duplex(1 << 20);
        server.write_all(&response).await.unwrap();
        server.shutdown().await.unwrap();
        let fetched = protocol::fetch(actor("A").peer, &mut client, &path, &keys).await;
        drop(client);
        let mut asked = Vec::new();
        server.read_to_end(&mut asked).await.unwrap();
        if sealed {
            assert_eq!(
                keys.open_from(&actor("A").peer, asked[4..].trim_ascii())
                    .unwrap(),
                format!("GET {path}").as_bytes()
            );
        } else {
            assert_eq!(asked, request);
        }
        match fetched {
            Ok(file) => assert_eq!(file.len, file.start.len() as u64, "{path}"),
            Err(FetchError::NotFound) => assert_eq!(response, b"ERR not found\n"),
            Err(FetchError::Forbidden) => assert_eq!(response, b"ERR forbidden\n"),
            Err(error) => panic!("{path}: {error}"),
        }
        checked += 1;
    }
    assert!(checked > 20, "{checked}");
}

#[tokio::test]
async fn pictures_as_recorded() {
    let own = AvatarFile::open(&fixture("folders/alice/avatar.png"));
    let picture = own.current().unwrap().bytes;
    let mut checked = 0;
    for record in lines("wire/streams/avatar.jsonl") {
        let response = bytes(&record["response"]).unwrap();
        let opener = if record["opener"] == "C" { "C" } else { "B" };
        let sealed = response.starts_with(b"EOK ");
        let (mut client, mut server) = tokio::io::duplex(1 << 20);
        server.write_all(&response).await.unwrap();
        server.shutdown().await.unwrap();
        let fetched = avatar::fetch(actor("A").peer, &mut client, &pair(opener, "A", false))
            .await
            .unwrap();
        assert_eq!(fetched.as_deref(), Some(&picture[..]));
        let (mut client, mut server) = tokio::io::duplex(1 << 20);
        avatar::serve(
            actor(opener).peer,
            &mut server,
            &own,
            &pair("A", opener, sealed),
        )
        .await
        .unwrap();
        drop(server);
        let mut answer = Vec::new();
        client.read_to_end(&mut answer).await.unwrap();
        assert_eq!(answer.len(), response.len());
        assert!(sealed || answer == response);
        checked += 1;
    }
    assert!(checked >= 7, "{checked}");
}
