//! As much of protobuf as the tests need: frames with a length before them, and fields.

use goop_identity::Keypair;
use tokio::io::{AsyncRead, AsyncReadExt};

pub(super) fn varint(mut value: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value >= 0x80 {
        bytes.push(u8::try_from(value & 0x7f).unwrap() | 0x80);
        value >>= 7;
    }
    bytes.push(u8::try_from(value).unwrap());
    bytes
}

fn take_varint(bytes: &mut &[u8]) -> u64 {
    let mut value = 0;
    for shift in (0..).step_by(7) {
        let (byte, rest) = bytes.split_first().unwrap();
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            break;
        }
    }
    value
}

/// A field of bytes.
pub(super) fn field(number: u64, bytes: &[u8]) -> Vec<u8> {
    [
        varint(number << 3 | 2),
        varint(bytes.len() as u64),
        bytes.to_vec(),
    ]
    .concat()
}

/// A message with its length before it.
pub(super) fn framed(message: &[u8]) -> Vec<u8> {
    [varint(message.len() as u64), message.to_vec()].concat()
}

/// The fields of a message, by number; numbers are given as their varint.
pub(super) fn fields(mut message: &[u8]) -> Vec<(u64, Vec<u8>)> {
    let mut found = Vec::new();
    while !message.is_empty() {
        let key = take_varint(&mut message);
        let value = match key & 7 {
            0 => varint(take_varint(&mut message)),
            2 => {
                let length = usize::try_from(take_varint(&mut message)).unwrap();
                let (value, rest) = message.split_at(length);
                message = rest;
                value.to_vec()
            }
            other => panic!("wire type {other}"),
        };
        found.push((key >> 3, value));
    }
    found
}

/// All values of one field.
pub(super) fn all(message: &[u8], number: u64) -> Vec<Vec<u8>> {
    fields(message)
        .into_iter()
        .filter(|(found, _)| *found == number)
        .map(|(_, value)| value)
        .collect()
}

/// The value of a field that is there once.
pub(super) fn one(message: &[u8], number: u64) -> Vec<u8> {
    let values = all(message, number);
    assert_eq!(
        values.len(),
        1,
        "field {number} of {}",
        hex::encode(message)
    );
    values.into_iter().next().unwrap()
}

/// The next message with its length before it.
pub(super) async fn next_frame(from: &mut (impl AsyncRead + Unpin)) -> Vec<u8> {
    let mut length = 0;
    for shift in (0..).step_by(7) {
        let byte = from.read_u8().await.unwrap();
        length |= usize::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            break;
        }
    }
    let mut frame = vec![0; length];
    from.read_exact(&mut frame).await.unwrap();
    frame
}

/// A pubsub RPC with one message, signed as GossipSub does.
pub(super) fn published(by: &Keypair, number: u64, topic: &str, data: &[u8]) -> Vec<u8> {
    let message = [
        field(1, &by.public().to_peer_id().to_bytes()),
        field(2, data),
        field(3, &number.to_be_bytes()),
        field(4, topic.as_bytes()),
    ]
    .concat();
    let signature = by
        .sign(&[b"libp2p-pubsub:".as_slice(), &message].concat())
        .unwrap();
    framed(&field(2, &[message, field(5, &signature)].concat()))
}

/// A pubsub RPC that subscribes to a topic.
pub(super) fn subscribed(topic: &str) -> Vec<u8> {
    let subscription = [varint(1 << 3), vec![1], field(2, topic.as_bytes())].concat();
    framed(&field(1, &subscription))
}
