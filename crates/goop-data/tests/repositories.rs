//! Chat, peers and named texts.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use goop_data::chat::{ChatLog, ChatMessage, KEPT};
use goop_data::meta::Meta;
use goop_data::peers::{SeenPeer, SeenPeers};
use goop_data::{Database, FILE};
use support::{ALICE, fixture, fresh};

fn message(from: &str, content: &str, timestamp: i64) -> ChatMessage {
    ChatMessage {
        from: from.to_owned(),
        content: content.to_owned(),
        timestamp,
    }
}

#[tokio::test]
async fn chat_keeps_the_newest_of_each_peer() {
    let (_folder, data) = fresh().await;
    let chat = ChatLog::of(data.database());
    for number in 0..KEPT + 5 {
        chat.store("peer", message("peer", &number.to_string(), 1_000 + number))
            .await
            .unwrap();
    }
    chat.store("other", message("me", "hello", 1))
        .await
        .unwrap();
    chat.store("other", message("me", "", 2)).await.unwrap();
    let all = chat.newest("peer", 0).await.unwrap();
    assert_eq!((all.len(), all[0].content.as_str()), (200, "5"));
    let last = chat.newest("peer", 2).await.unwrap();
    assert_eq!(
        last.iter()
            .map(|message| message.content.as_str())
            .collect::<Vec<_>>(),
        ["203", "204"]
    );
    assert_eq!(
        chat.newest("other", 0).await.unwrap(),
        [message("me", "hello", 1)]
    );
    chat.clear("peer").await.unwrap();
    assert_eq!(chat.newest("peer", 0).await.unwrap(), []);
    assert_eq!(chat.newest("other", 0).await.unwrap().len(), 1);
    let long = "x".repeat(goop_data::chat::MAX_CONTENT + 1);
    assert!(chat.store("peer", message("me", &long, 1)).await.is_err());
}

#[tokio::test]
async fn what_the_go_program_kept_is_read() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::copy(fixture("folders/bob/data.db"), folder.path().join(FILE)).unwrap();
    let database = Database::open(folder.path()).await.unwrap();
    let chat = ChatLog::of(&database).newest(ALICE, 0).await.unwrap();
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
