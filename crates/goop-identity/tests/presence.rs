//! Bounds and signatures of presence records, pictures of one's own.
#![allow(clippy::unwrap_used, missing_docs)]

use goop_identity::Keypair;
use goop_identity::avatar::{AvatarError, AvatarFile, AvatarHash, initials_svg};
use goop_identity::presence::{MAX_ADDRS, PresenceKind, PresenceMessage};

#[test]
fn only_the_peer_itself_can_sign() {
    let (alice, mallory) = (Keypair::generate_ed25519(), Keypair::generate_ed25519());
    let mut message = PresenceMessage::new(PresenceKind::Online, alice.public().to_peer_id(), 1);
    message.content = "Alice".into();
    assert!(!message.is_signed());
    message.sign(&alice).unwrap();
    let mut sent = PresenceMessage::from_json(&message.to_json()).unwrap();
    assert!(sent.is_signed());
    // A rendezvous marks and strips on the way.
    sent.verified = true;
    assert!(sent.is_signed());
    sent.content = "Mallory".into();
    assert!(!sent.is_signed());
    message.sign(&mallory).unwrap();
    assert!(!message.is_signed());
}

#[test]
fn bounds() {
    let peer = Keypair::generate_ed25519().public().to_peer_id();
    let mut message = PresenceMessage::new(PresenceKind::Update, peer, 0);
    message.content = "ä".repeat(4_000);
    message.addrs = vec!["/ip4/1.2.3.4/tcp/1".to_owned(); 30];
    assert!(PresenceMessage::from_json(&message.to_json()).is_err());
    message.cap();
    let capped = PresenceMessage::from_json(&message.to_json()).unwrap();
    assert_eq!(
        (capped.content.len(), capped.addrs.len()),
        (4_096, MAX_ADDRS)
    );
    for refused in [
        "{}",
        "[]",
        "{\"type\":\"online\"}",
        "{\"type\":\"online\",\"peerId\":\"../x\"}",
        &format!("{{\"type\":\"dance\",\"peerId\":\"{peer}\"}}"),
        &format!("{{\"type\":\"online\",\"peerId\":\"{peer}\",\"ts\":\"1\"}}"),
    ] {
        assert!(
            PresenceMessage::from_json(refused.as_bytes()).is_err(),
            "{refused}"
        );
    }
    let lenient =
        format!("{{\"TYPE\":\"online\",\"PeerID\":\"{peer}\",\"content\":null,\"new\":1}}");
    assert!(PresenceMessage::from_json(lenient.as_bytes()).is_ok());
}

#[test]
fn the_own_picture_follows_the_file() {
    let png = include_bytes!("../../../fixtures/folders/alice/avatar.png");
    let dir = tempfile::tempdir().unwrap();
    let file = AvatarFile::open(&dir.path().join("avatar.png"));
    assert!(file.current().is_none());
    assert_eq!(file.set(png).unwrap().as_str(), "7b8e166a7956e86b");
    assert_eq!(file.current().unwrap().content_type, "image/png");
    assert!(matches!(file.set(b"<svg/>"), Err(AvatarError::NotAPicture)));
    assert!(matches!(
        file.set(&vec![0x89; 300_000]),
        Err(AvatarError::TooLarge)
    ));
    std::fs::write(dir.path().join("avatar.png"), b"GIF89a other").unwrap();
    assert_eq!(file.current().unwrap().content_type, "image/gif");
    file.remove().unwrap();
    file.remove().unwrap();
    assert!(file.current().is_none());
    assert!(AvatarHash::parse("../../etc/passwd").is_none());
}

#[test]
fn initials_are_the_recorded_ones_and_escaped() {
    assert!(initials_svg("Bob", "bob@example.org").contains("#1abc9c"));
    assert!(initials_svg("Bob", "bob@example.org").contains(">BO<"));
    assert!(initials_svg("<script>", "").contains(">&lt;S<"));
    assert!(initials_svg("  ", "").contains(">?<"));
    assert!(initials_svg("ada lovelace byron", "").contains(">AL<"));
}
