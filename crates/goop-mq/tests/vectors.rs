//! Recorded streams of `/goop/mq/1.0.0`, byte by byte, both ways, and the sealed payloads in them.
#![allow(clippy::unwrap_used, missing_docs)]

use goop_identity::seal::{self, NaclKeys};
use goop_mq::log::{EventLog, From, Next};
use goop_mq::topic::{Filter, LocalTopic};
use goop_mq::wire::{
    Ack, MAX_ACK, MAX_MESSAGE, Message, MsgId, NoBudget, Payload, WireError, read_object,
};
use serde_json::Value;
use serde_json::value::RawValue;

fn records() -> Vec<Value> {
    include_str!("../../../fixtures/wire/streams/mq.jsonl")
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

fn keys(name: &str) -> NaclKeys {
    let all: Vec<Value> =
        serde_json::from_str(include_str!("../../../fixtures/wire/identity/keys.json")).unwrap();
    let actor = all.iter().find(|actor| actor["name"] == name).unwrap();
    NaclKeys::from_base64(actor["nacl_private_key"].as_str().unwrap()).unwrap()
}

/// What the recorder's made-up client sent and no program sends; a Go peer acknowledges it all the same.
fn refused(id: &str) -> Option<fn(&WireError) -> bool> {
    match id {
        "mq-5" | "mq-6" => Some(|error| matches!(error, WireError::OtherKind(_))),
        "mq-7" => Some(|error| matches!(error, WireError::Malformed(_))),
        "mq-8" => Some(|error| matches!(error, WireError::BadTopic)),
        _ => None,
    }
}

#[tokio::test]
async fn recorded_messages_and_acks() {
    let (mut checked, mut sealed) = (0, 0);
    for record in records() {
        let request = record["request"]["text"].as_str().unwrap();
        let about = &request[..request.len().min(120)];
        let mut stream = request.as_bytes();
        let read = read_object(&mut stream, MAX_MESSAGE, &mut NoBudget).await;
        let decoded = read.and_then(|bytes| Message::decode(&bytes));
        if let Some(expected) = refused(record["id"].as_str().unwrap_or_default()) {
            assert!(decoded.as_ref().is_err_and(expected), "{about}");
            continue;
        }
        let message = decoded.unwrap_or_else(|error| panic!("{about}: {error}"));
        // The made-up client leaves members out; a program never does.
        if record["opener"] != "X" {
            assert_eq!(String::from_utf8(message.encode()).unwrap(), request);
        }
        let mut answer = record["response"]["text"].as_str().unwrap().as_bytes();
        let whole = answer;
        let bytes = read_object(&mut answer, MAX_ACK, &mut NoBudget)
            .await
            .unwrap();
        let ack = Ack::decode(&bytes).unwrap();
        assert_eq!((&ack.id, ack.seq), (&message.id, message.seq));
        assert_eq!(ack.encode(), whole);
        let text = message.payload.sealed();
        if let Some(plain) = record["opened"]["payload"].as_str() {
            let text = text.expect("a sealed payload");
            let from = keys(record["opener"].as_str().unwrap()).public;
            let own = keys(record["responder"].as_str().unwrap()).secret;
            let opened = seal::open(text.as_bytes(), &from, &own).unwrap();
            assert_eq!(String::from_utf8(opened).unwrap(), plain, "{about}");
            sealed += 1;
        } else {
            assert_eq!(text, None, "{about}");
        }
        checked += 1;
    }
    assert!(checked > 180 && sealed > 50, "{checked}, {sealed}");
}

#[test]
fn calculated_boxes() {
    let all: Vec<Value> = serde_json::from_str(include_str!(
        "../../../fixtures/wire/identity/sealed-fixed-nonce.json"
    ))
    .unwrap();
    for record in &all {
        let text = |name: &str| record[name].as_str().unwrap();
        let nonce: [u8; 24] = hex::decode(text("nonce_hex")).unwrap().try_into().unwrap();
        let payload = Payload::parse(text("plaintext").to_owned()).unwrap();
        let sealed = seal::seal_with_nonce(
            payload.as_str().as_bytes(),
            &keys(text("from")).secret,
            &keys(text("to")).public,
            nonce,
        );
        assert_eq!(sealed, text("sealed_base64"));
        let envelope = Payload::envelope(&sealed);
        assert_eq!(envelope.as_str(), format!("{{\"enc\":\"{sealed}\"}}"));
        assert_eq!(envelope.sealed().as_deref(), Some(text("sealed_base64")));
    }
    assert_eq!(all.len(), 3);
}

#[test]
fn only_the_exact_envelope_is_sealed() {
    let check = |text: &str| Payload::parse(text.into()).unwrap().sealed().is_some();
    assert!(check(r#"{"enc":"AAAA"}"#) && check(" {\"enc\" : \"\"}".trim()));
    for plain in [
        r#"{"enc":1}"#,
        r#"{"enc":"A","x":1}"#,
        r#"{"$enc":"A"}"#,
        r#""ENC:AAAA""#,
        "null",
        "{}",
        r#"["enc"]"#,
    ] {
        assert!(!check(plain), "{plain}");
    }
}

#[test]
fn numbers_keep_their_digits() {
    let text = r#"{"a":9223372036854775807,"b":1.10,"c":1e400,"d":12345678901234567890123}"#;
    let bytes =
        format!(r#"{{"type":"msg","id":"0123456789","seq":1,"topic":"x","payload":{text}}}"#);
    let message = Message::decode(bytes.as_bytes()).unwrap();
    assert_eq!(message.payload.as_str(), text);
    assert_eq!(String::from_utf8(message.encode()).unwrap(), bytes + "\n");
}

/// Ids of every length, texts that are no text, other versions, wrong types, depth: an answer each, never a panic.
#[test]
fn bad_input() {
    let decode = |id: &[u8], rest: &str| {
        let bytes = [
            b"{\"type\":\"msg\",\"id\":\"",
            id,
            b"\",",
            rest.as_bytes(),
            b"}",
        ]
        .concat();
        Message::decode(&bytes)
    };
    let rest = r#""seq":1,"topic":"chat","payload":null"#;
    for len in 0..=300 {
        assert_eq!(
            decode(&vec![b'i'; len], rest).is_ok(),
            (1..=128).contains(&len),
            "{len}"
        );
    }
    for id in [&b"\xff\xfe"[..], b"\xc3", b"a\x00b", b"\\u0000", b"\\ud800"] {
        assert!(decode(id, rest).is_err(), "{id:?}");
    }
    for rest in [
        r#""seq":1.5,"topic":"chat""#,
        r#""seq":"1","topic":"chat""#,
        r#""seq":9223372036854775808,"topic":"chat""#,
        r#""seq":1"#,
        r#""seq":1,"topic":7"#,
        r#""seq":1,"topic":"a\nb""#,
        r#""seq":1,"topic":"chat","topic":"x""#,
    ] {
        assert!(decode(b"12345678", rest).is_err(), "{rest}");
    }
    let long = "t".repeat(257);
    assert!(decode(b"12345678", &format!(r#""seq":1,"topic":"{long}""#)).is_err());
    let deep = |n| {
        format!(
            r#""topic":"x","payload":{}{}"#,
            "[".repeat(n),
            "]".repeat(n)
        )
    };
    assert!(decode(b"12345678", &deep(120)).is_ok());
    assert!(matches!(
        decode(b"12345678", &deep(100_000)),
        Err(WireError::TooDeep)
    ));
    for kind in ["ack", "msg2", "", "MSG"] {
        let bytes = format!(r#"{{"type":"{kind}","id":"12345678","topic":"x"}}"#);
        assert!(
            matches!(
                Message::decode(bytes.as_bytes()),
                Err(WireError::OtherKind(_))
            ),
            "{kind}"
        );
    }
    assert!(Ack::decode(br#"{"type":"msg","id":"12345678","seq":1}"#).is_err());
}

/// A reader stops at the closing brace, wherever the bytes are cut, and at its limit.
#[tokio::test]
async fn objects_end_at_their_brace() {
    let object = r#"{"a":"}\"{","b":[{"c":"\\"}]}"#;
    for cut in 1..object.len() {
        let (mut tx, mut rx) = tokio::io::duplex(1 << 12);
        let write = async {
            use tokio::io::AsyncWriteExt;
            tx.write_all(&object.as_bytes()[..cut]).await.unwrap();
            tokio::task::yield_now().await;
            tx.write_all(&object.as_bytes()[cut..]).await.unwrap();
        };
        let mut room = NoBudget;
        let (read, ()) = tokio::join!(read_object(&mut rx, 100, &mut room), write);
        assert_eq!(read.unwrap(), object.as_bytes());
    }
    let read = async |bytes: Vec<u8>| read_object(&mut &bytes[..], 1_000, &mut NoBudget).await;
    assert_eq!(read(b" \r\n\t{} junk".to_vec()).await.unwrap(), b"{}");
    assert!(matches!(
        read(vec![b' '; 100_000]).await,
        Err(WireError::TooLarge(_))
    ));
    let big = format!("{{\"a\":\"{}\"}}", "x".repeat(1_000)).into_bytes();
    assert!(matches!(read(big).await, Err(WireError::TooLarge(1_000))));
    assert!(matches!(read(b"".to_vec()).await, Err(WireError::Ended)));
    assert!(matches!(
        read(b"{\"a\":1".to_vec()).await,
        Err(WireError::Ended)
    ));
    assert!(matches!(
        read(b"[1]".to_vec()).await,
        Err(WireError::Malformed(_))
    ));
}

/// The events that a Go peer's pages got, from what ours would have been told.
#[test]
fn recorded_events() {
    #[derive(serde::Deserialize)]
    struct Data<'a> {
        from: Option<String>,
        msg_id: Option<String>,
        #[serde(borrow)]
        msg: Option<Msg<'a>>,
    }
    #[derive(serde::Deserialize)]
    struct Msg<'a> {
        r#type: String,
        id: String,
        seq: i64,
        topic: String,
        #[serde(borrow)]
        payload: &'a RawValue,
    }
    let peer = |text: &str| goop_identity::label::parse_peer_id(text).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    let (mut of_peers, mut own, mut shown, mut odd) = (0, 0, 0, 0);
    for line in include_str!("../../../fixtures/wire/viewer/sse.jsonl").lines() {
        let record: Value = serde_json::from_str(line).unwrap();
        if record["path"] != "/api/mq/events" || record["event"] != "message" {
            continue;
        }
        let frame = record["frame"].as_str().unwrap();
        let data = frame.strip_prefix("event: message\ndata: ").unwrap();
        let data = data.strip_suffix("\n\n").unwrap();
        let read: Data<'_> = serde_json::from_str(data).unwrap();
        let log = EventLog::default();
        let mut page = log.listen(From::Now, Filter::parse("*"));
        let is_own = read.from.is_none();
        match (read.msg, read.from, read.msg_id) {
            // What the made-up client sent is refused here, see `refused`.
            (Some(msg), _, _) if msg.r#type != "msg" || msg.topic.is_empty() => {
                odd += 1;
                continue;
            }
            (Some(msg), Some(from), _) => {
                let message = Message {
                    id: MsgId::parse(&msg.id).unwrap(),
                    seq: msg.seq,
                    topic: msg.topic,
                    payload: Payload::parse(msg.payload.get().to_owned()).unwrap(),
                };
                log.deliver(peer(&from), &message);
                of_peers += 1;
            }
            (Some(msg), None, _) => {
                let topic = local(&msg.topic).unwrap_or_else(|| panic!("{}", msg.topic));
                assert_eq!(topic.to_string(), msg.topic);
                log.publish(&topic, &msg.payload);
                own += 1;
            }
            (None, _, Some(id)) => {
                log.delivered(MsgId::parse(&id).unwrap());
                shown += 1;
            }
            _ => panic!("{data}"),
        }
        let Next::Events(events) = runtime.block_on(page.next()) else {
            panic!("an event")
        };
        // What this peer itself says has an id and a number of its own.
        let same = |text: &str| {
            let rest = text
                .split_once("\"topic\":")
                .map(|(_, rest)| rest.to_owned());
            rest.filter(|_| is_own).unwrap_or_else(|| text.to_owned())
        };
        // `<text>` is where the recorder left words out.
        let data = goop_identity::config::escape_like_go(data);
        assert_eq!(same(&events[0].data()), same(&data));
    }
    assert!(
        of_peers > 60 && own > 100 && shown == 3 && odd <= 6,
        "{of_peers}, {own}, {shown}, {odd}"
    );
}

/// What a peer says to its own pages, by the topic's text.
fn local(topic: &str) -> Option<LocalTopic> {
    let text = |text: &str| Box::<str>::from(text);
    Some(match topic {
        "peer:announce" => LocalTopic::PeerAnnounce,
        "peer:gone" => LocalTopic::PeerGone,
        "relay:status" => LocalTopic::RelayStatus,
        "log:mq" => LocalTopic::LogMq,
        "log:call" => LocalTopic::LogCall,
        "group.invite" => LocalTopic::Invite,
        _ => {
            if let Some(group) = topic.strip_prefix("listen:") {
                let group = text(group.strip_suffix(":state")?);
                LocalTopic::Listen { group }
            } else if let Some(channel) = topic.strip_prefix("call:") {
                let channel = text(channel);
                LocalTopic::Call { channel }
            } else if let Some(rest) = topic.strip_prefix("group:") {
                let (group, kind) = rest.split_once(':')?;
                let (group, kind) = (text(group), text(kind));
                LocalTopic::Group { group, kind }
            } else {
                let (group, kind) = topic.strip_prefix("chat.room:")?.rsplit_once(':')?;
                let (group, kind) = (text(group), text(kind));
                LocalTopic::Room { group, kind }
            }
        }
    })
}
