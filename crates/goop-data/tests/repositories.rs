//! Chat, peers and named texts.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use goop_data::chat::{ChatLog, ChatMessage, RECEIVED, USUAL, WAITING};
use goop_data::meta::Meta;
use goop_data::peers::{SeenPeer, SeenPeers};
use goop_data::{Database, FILE};
use support::{ALICE, fixture, fresh};

fn message(from: &str, content: &str, timestamp: i64) -> ChatMessage {
    ChatMessage {
        from: from.to_owned(),
        content: content.to_owned(),
        timestamp,
        ..ChatMessage::default()
    }
}

/// Lines without their numbers.
fn unnumbered(lines: Vec<ChatMessage>) -> Vec<ChatMessage> {
    let plain = |line| ChatMessage { number: 0, ..line };
    lines.into_iter().map(plain).collect()
}

#[tokio::test]
async fn a_conversation_is_read_from_its_end_upward() {
    let (_folder, data) = fresh().await;
    let chat = ChatLog::of(data.database());
    for number in 0..USUAL + 5 {
        chat.store("peer", message("peer", &number.to_string(), 1_000 + number))
            .await
            .unwrap();
    }
    chat.store("other", message("me", "hello", 1))
        .await
        .unwrap();
    assert!(!chat.store("other", message("me", "", 2)).await.unwrap());
    let all = chat.newest("peer", None, 0).await.unwrap();
    assert_eq!((all.len(), all[0].content.as_str()), (200, "5"));
    let texts = |lines: Vec<ChatMessage>| -> Vec<String> {
        lines.into_iter().map(|line| line.content).collect()
    };
    let last = chat.newest("peer", None, 2).await.unwrap();
    let above = chat.newest("peer", Some(last[0].number), 2).await.unwrap();
    assert_eq!(
        (texts(last), texts(above)),
        (
            vec!["203".to_owned(), "204".to_owned()],
            vec!["201".to_owned(), "202".to_owned()]
        )
    );
    assert_eq!(
        unnumbered(chat.newest("other", None, 0).await.unwrap()),
        [message("me", "hello", 1)]
    );
    chat.clear("peer").await.unwrap();
    assert_eq!(chat.newest("peer", None, 0).await.unwrap(), []);
    assert_eq!(chat.newest("other", None, 0).await.unwrap().len(), 1);
    let long = "x".repeat(goop_data::chat::MAX_CONTENT + 1);
    assert!(chat.store("peer", message("me", &long, 1)).await.is_err());
}

#[tokio::test]
async fn lines_are_kept_once_and_what_waits_is_found() {
    let (_folder, data) = fresh().await;
    let chat = ChatLog::of(data.database());
    let line = |id: &str, state: &str, content: &str| ChatMessage {
        id: id.to_owned(),
        state: state.to_owned(),
        ..message("me", content, 7)
    };
    assert!(chat.store("bob", line("1", WAITING, "one")).await.unwrap());
    assert!(!chat.store("bob", line("1", WAITING, "one")).await.unwrap());
    assert!(
        chat.store("ada", line("1", WAITING, "other"))
            .await
            .unwrap()
    );
    chat.store("bob", line("2", WAITING, "two")).await.unwrap();
    chat.set_state("bob", "1", "failed", "too late")
        .await
        .unwrap();
    let waiting = chat.waiting().await.unwrap();
    let waiting: Vec<_> = waiting
        .iter()
        .map(|(peer, line)| (peer.as_str(), line.content.as_str()))
        .collect();
    assert_eq!(waiting, [("ada", "other"), ("bob", "two")]);
    let first = &chat.newest("bob", None, 0).await.unwrap()[0];
    assert_eq!(
        (first.state.as_str(), first.why.as_str()),
        ("failed", "too late")
    );
}

#[tokio::test]
async fn what_was_read_is_remembered_and_texts_are_found() {
    let (_folder, data) = fresh().await;
    let chat = ChatLog::of(data.database());
    for (peer, from, text) in [
        ("bob", "bob", "100% sure"),
        ("bob", "me", "1000 times"),
        ("ada", "ada", "hello"),
        ("bob", "bob", "surely"),
    ] {
        let state = if from == "me" { "delivered" } else { RECEIVED };
        let line = ChatMessage {
            state: state.to_owned(),
            ..message(from, text, 1)
        };
        chat.store(peer, line).await.unwrap();
    }
    // A line of the Go program was read there.
    chat.store("ada", message("ada", "Sure_thing", 1))
        .await
        .unwrap();
    let open = async || -> Vec<(String, i64, String)> {
        let all = chat.conversations(10).await.unwrap();
        all.into_iter()
            .map(|one| (one.peer, one.unread, one.last.content))
            .collect()
    };
    let bob = |unread| ("bob".to_owned(), unread, "surely".to_owned());
    let ada = ("ada".to_owned(), 1, "Sure_thing".to_owned());
    assert_eq!(open().await, [ada.clone(), bob(2)]);
    let lines = chat.newest("bob", None, 0).await.unwrap();
    chat.mark_read("bob", lines[1].number, "Bob").await.unwrap();
    chat.mark_read("bob", lines[0].number, "").await.unwrap();
    assert_eq!(open().await, [ada, bob(1)], "reading does not go back");
    assert_eq!(chat.conversations(2).await.unwrap()[1].name, "Bob");
    assert_eq!(chat.read_up_to("bob").await.unwrap(), lines[1].number);
    let found = async |peer: Option<&str>, text: &str| -> Vec<String> {
        let found = chat.search(peer, text, 10).await.unwrap();
        found.into_iter().map(|(_, line)| line.content).collect()
    };
    assert_eq!(
        found(None, "sure").await,
        ["Sure_thing", "surely", "100% sure"]
    );
    assert_eq!(
        found(Some("bob"), "0%").await,
        ["100% sure"],
        "as it is written"
    );
    assert_eq!(found(None, "e_t").await, ["Sure_thing"]);
}

#[tokio::test]
async fn what_the_go_program_kept_is_read() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::copy(fixture("folders/bob/data.db"), folder.path().join(FILE)).unwrap();
    let database = Database::open(folder.path()).await.unwrap();
    let chat = ChatLog::of(&database).newest(ALICE, None, 0).await.unwrap();
    assert_eq!(
        (chat.len(), chat[0].content.as_str(), chat[0].timestamp),
        (7, "hello Bob", 1_795_225_756_770)
    );
    assert_eq!(
        Meta::of(&database).get("template_tables").await.unwrap(),
        "guest"
    );
    let peers = SeenPeers::of(&database).all().await.unwrap();
    assert!(
        peers
            .iter()
            .any(|peer| peer.peer_id == ALICE && peer.content == "Alice"),
        "{peers:?}"
    );
}

#[tokio::test]
async fn peers_keep_what_an_announcement_leaves_out() {
    let (_folder, data) = fresh().await;
    let peers = SeenPeers::of(data.database());
    let full = SeenPeer {
        peer_id: "p".to_owned(),
        content: "Ann".to_owned(),
        email: "ann@example.org".to_owned(),
        addrs: vec!["/ip4/10.0.0.1/tcp/1".to_owned()],
        public_key: "key".to_owned(),
        verified: true,
        ..SeenPeer::default()
    };
    peers.note(full.clone()).await.unwrap();
    peers
        .set_protocols("p", &["/x/1".to_owned()])
        .await
        .unwrap();
    let gossip = SeenPeer {
        peer_id: "p".to_owned(),
        content: "Anna".to_owned(),
        ..SeenPeer::default()
    };
    peers.note(gossip).await.unwrap();
    let seen = peers.get("p").await.unwrap().unwrap();
    assert_eq!(
        (seen.content.as_str(), seen.email.as_str(), seen.verified),
        ("Anna", "", false)
    );
    assert_eq!(
        (seen.addrs.clone(), seen.public_key.as_str()),
        (full.addrs.clone(), "key")
    );
    assert_eq!(seen.protocols, ["/x/1"]);
    assert!(!seen.favorite && seen.last_seen.len() == 19);

    assert!(!peers.set_favorite("nobody", true).await.unwrap());
    assert!(peers.set_favorite("p", true).await.unwrap());
    peers
        .note(SeenPeer {
            content: "Annie".to_owned(),
            ..full
        })
        .await
        .unwrap();
    peers.forget("p").await.unwrap();
    let kept = peers.get("p").await.unwrap().unwrap();
    assert!(kept.favorite && kept.content == "Annie" && kept.protocols == ["/x/1"]);
    assert!(
        peers.set_favorite("p", true).await.unwrap(),
        "a favourite that is not there now stays one"
    );
    assert_eq!(peers.all().await.unwrap().len(), 1);
    peers.set_favorite("p", false).await.unwrap();
    assert_eq!(peers.get("p").await.unwrap(), None);
}

#[tokio::test]
async fn named_texts_change_together() {
    let (_folder, data) = fresh().await;
    let meta = Meta::of(data.database());
    assert_eq!(meta.get("template_group_id").await.unwrap(), "");
    meta.set(&[("template_group_id", "1"), ("template_group_name", "Blog")])
        .await
        .unwrap();
    meta.set(&[("template_group_id", "2")]).await.unwrap();
    assert_eq!(meta.get("template_group_id").await.unwrap(), "2");
    assert_eq!(meta.get("template_group_name").await.unwrap(), "Blog");
}
