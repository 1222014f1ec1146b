//! `/goop/mq/1.0.0` on the wire (mq.md 1): one JSON object each way, read as it comes.
//!
//! Decoding is total. A message is read up to its closing brace, because Go peers neither half-close nor need the line
//! break. Payloads stay the text they came as, so numbers keep all their digits.

use std::fmt;
use std::io;

use goop_identity::config::escape_like_go;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// The protocol's id.
pub const PROTOCOL: &str = "/goop/mq/1.0.0";
/// Largest message, in bytes (mq.md 12.7): welcomes, histories and job messages can be large.
pub const MAX_MESSAGE: usize = 8 * 1024 * 1024;
/// Largest acknowledgement, in bytes. It holds an id and a number.
pub const MAX_ACK: usize = 4 * 1024;
/// Longest message id, in bytes. Go peers and ours send 36.
pub const MAX_ID: usize = 128;
/// Longest topic, in bytes. The longest of the catalogue are near 100.
pub const MAX_TOPIC: usize = 256;
/// Deepest nesting of a payload: what the readers of payloads can follow.
pub const MAX_DEPTH: usize = 120;
/// Room that is made at a time while bytes arrive: a claim alone costs nobody memory.
const STEP: usize = 16 * 1024;

/// Why bytes are no message or no acknowledgement.
#[derive(Debug, thiserror::Error)]
pub enum WireError {
    /// The stream ended before the object did.
    #[error("the stream ended in the middle of a message")]
    Ended,
    /// More bytes than are taken.
    #[error("the message is larger than {0} bytes")]
    TooLarge(usize),
    /// The bytes are no JSON object of the expected form.
    #[error("not a message: {0}")]
    Malformed(String),
    /// The `type` is not the one this protocol version has.
    #[error("a {0:?} where a message was expected")]
    OtherKind(String),
    /// The id is empty, too long, or has control characters.
    #[error("the message id is empty or too long")]
    BadId,
    /// The topic is empty, too long, or has control characters.
    #[error("the topic is empty or too long")]
    BadTopic,
    /// The payload is nested too deeply.
    #[error("the payload is nested too deeply")]
    TooDeep,
    /// The stream failed.
    #[error("the stream failed: {0}")]
    Io(#[from] io::Error),
}

/// The id of a message: 1 to [`MAX_ID`] bytes without control characters. Ours are UUIDs.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MsgId(Box<str>);

impl MsgId {
    /// A new random id.
    #[must_use]
    pub fn random() -> Self {
        Self(uuid::Uuid::new_v4().to_string().into())
    }

    /// Takes an id from outside.
    ///
    /// # Errors
    /// [`WireError::BadId`].
    pub fn parse(text: &str) -> Result<Self, WireError> {
        let fits = (1..=MAX_ID).contains(&text.len()) && !text.chars().any(char::is_control);
        fits.then(|| Self(text.into())).ok_or(WireError::BadId)
    }

    /// The id of a line that was kept without one.
    pub(crate) fn of_row(number: i64) -> Self {
        Self(format!("row-{number}").into())
    }

    /// Its text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for MsgId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A payload: JSON text, kept as it was written.
#[derive(Clone)]
pub struct Payload(Box<RawValue>);

impl fmt::Debug for Payload {
    /// Says how long it is; what people write to each other does not belong in a log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Payload({} bytes)", self.0.get().len())
    }
}

impl PartialEq for Payload {
    fn eq(&self, other: &Self) -> bool {
        self.0.get() == other.0.get()
    }
}

impl Payload {
    /// `null`, as messages without a payload carry it.
    #[must_use]
    pub fn null() -> Self {
        Self(RawValue::NULL.to_owned())
    }

    /// A value as a payload.
    ///
    /// # Errors
    /// [`WireError::Malformed`] for what JSON cannot say.
    pub fn of(value: &impl Serialize) -> Result<Self, WireError> {
        let text = serde_json::to_string(value).map_err(malformed)?;
        Self::parse(text)
    }

    /// JSON text as a payload.
    ///
    /// # Errors
    /// See [`WireError`]; at most [`MAX_MESSAGE`] bytes and [`MAX_DEPTH`] levels.
    pub fn parse(text: String) -> Result<Self, WireError> {
        if text.len() > MAX_MESSAGE {
            return Err(WireError::TooLarge(MAX_MESSAGE));
        }
        let raw = RawValue::from_string(text).map_err(malformed)?;
        Self::checked(raw)
    }

    fn checked(raw: Box<RawValue>) -> Result<Self, WireError> {
        if depth(raw.get().as_bytes()) > MAX_DEPTH {
            return Err(WireError::TooDeep);
        }
        Ok(Self(raw))
    }

    /// The JSON text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.get()
    }

    /// Bytes of the text.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.get().len()
    }

    /// Never: a payload is at least `null`.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        false
    }

    /// Reads it as a value.
    ///
    /// # Errors
    /// [`WireError::Malformed`].
    pub fn read<'a, T: Deserialize<'a>>(&'a self) -> Result<T, WireError> {
        serde_json::from_str(self.0.get()).map_err(malformed)
    }

    /// The sealed text of `{"enc":"…"}`, an object with exactly that member (mq.md 2).
    #[must_use]
    pub fn sealed(&self) -> Option<String> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Envelope {
            enc: String,
        }
        self.0
            .get()
            .starts_with('{')
            .then(|| self.read::<Envelope>().ok())
            .flatten()
            .map(|envelope| envelope.enc)
    }

    /// The envelope around a sealed text.
    #[must_use]
    pub fn envelope(sealed: &str) -> Self {
        // Base64 needs no escapes.
        Self(
            RawValue::from_string(format!("{{\"enc\":\"{sealed}\"}}"))
                .unwrap_or_else(|_| RawValue::NULL.to_owned()),
        )
    }
}

impl Serialize for Payload {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Payload {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = Box::<RawValue>::deserialize(deserializer)?;
        Self::checked(raw).map_err(serde::de::Error::custom)
    }
}

fn malformed(error: serde_json::Error) -> WireError {
    WireError::Malformed(error.to_string())
}

/// How deep brackets are nested in JSON text.
fn depth(text: &[u8]) -> usize {
    let mut scan = Scan::default();
    let mut deepest = 0;
    for byte in text {
        scan.step(*byte);
        deepest = deepest.max(scan.open);
    }
    deepest
}

/// A message between peers.
#[derive(Debug, Clone, PartialEq)]
pub struct Message {
    /// Its id, the same at every attempt.
    pub id: MsgId,
    /// Counts up for one sender. It starts from a clock with ours and from 1 with Go peers.
    pub seq: i64,
    /// What it is about, not yet looked at.
    pub topic: String,
    /// What it says.
    pub payload: Payload,
}

#[derive(Serialize, Deserialize)]
struct WireMessage<'a> {
    #[serde(rename = "type", default)]
    kind: std::borrow::Cow<'a, str>,
    #[serde(default)]
    id: std::borrow::Cow<'a, str>,
    #[serde(default)]
    seq: i64,
    #[serde(default)]
    topic: std::borrow::Cow<'a, str>,
    #[serde(default)]
    payload: Option<Box<RawValue>>,
}

impl Message {
    /// The bytes as a Go peer writes them: its escapes, members in its order, a line break at the end.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let text = serde_json::to_string(&WireMessage {
            kind: "msg".into(),
            id: self.id.as_str().into(),
            seq: self.seq,
            topic: self.topic.as_str().into(),
            payload: Some(self.payload.0.clone()),
        });
        // Strings and JSON text always make JSON text.
        line(text.unwrap_or_default())
    }

    /// Reads one object.
    ///
    /// # Errors
    /// See [`WireError`].
    pub fn decode(bytes: &[u8]) -> Result<Self, WireError> {
        let wire: WireMessage<'_> = serde_json::from_slice(bytes).map_err(malformed)?;
        if wire.kind != "msg" {
            return Err(WireError::OtherKind(wire.kind.chars().take(32).collect()));
        }
        let id = MsgId::parse(&wire.id)?;
        let topic = wire.topic.into_owned();
        if !(1..=MAX_TOPIC).contains(&topic.len()) || topic.chars().any(char::is_control) {
            return Err(WireError::BadTopic);
        }
        let payload = match wire.payload {
            Some(raw) => Payload::checked(raw)?,
            None => Payload::null(),
        };
        Ok(Self {
            id,
            seq: wire.seq,
            topic,
            payload,
        })
    }
}

/// The acknowledgement of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ack {
    /// The message's id. The sender takes no other.
    pub id: MsgId,
    /// The message's number, repeated.
    pub seq: i64,
}

#[derive(Serialize, Deserialize)]
struct WireAck<'a> {
    #[serde(rename = "type", default)]
    kind: std::borrow::Cow<'a, str>,
    #[serde(default)]
    id: std::borrow::Cow<'a, str>,
    #[serde(default)]
    seq: i64,
}

impl Ack {
    /// The bytes as a Go peer writes them.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let text = serde_json::to_string(&WireAck {
            kind: "ack".into(),
            id: self.id.as_str().into(),
            seq: self.seq,
        });
        line(text.unwrap_or_default())
    }

    /// Reads one object.
    ///
    /// # Errors
    /// See [`WireError`].
    pub fn decode(bytes: &[u8]) -> Result<Self, WireError> {
        let wire: WireAck<'_> = serde_json::from_slice(bytes).map_err(malformed)?;
        if wire.kind != "ack" {
            return Err(WireError::OtherKind(wire.kind.chars().take(32).collect()));
        }
        Ok(Self {
            id: MsgId::parse(&wire.id)?,
            seq: wire.seq,
        })
    }
}

fn line(text: String) -> Vec<u8> {
    let mut bytes = escape_like_go(&text).into_bytes();
    bytes.push(b'\n');
    bytes
}

/// Follows brackets and strings through JSON text, a byte at a time.
#[derive(Debug, Default)]
struct Scan {
    open: usize,
    in_string: bool,
    escaped: bool,
}

impl Scan {
    /// Whether the byte closed the outermost bracket.
    fn step(&mut self, byte: u8) -> bool {
        if self.in_string {
            match byte {
                _ if self.escaped => self.escaped = false,
                b'\\' => self.escaped = true,
                b'"' => self.in_string = false,
                _ => {}
            }
            return false;
        }
        match byte {
            b'"' => self.in_string = true,
            b'{' | b'[' => self.open += 1,
            b'}' | b']' => {
                self.open = self.open.saturating_sub(1);
                return self.open == 0;
            }
            _ => {}
        }
        false
    }
}

/// Makes room for `bytes` more of one message, or waits until there is; gives it back when dropped.
pub trait Room {
    /// Waits for room. Nobody waits for ever: the caller has a deadline.
    fn more(&mut self, bytes: usize) -> impl Future<Output = ()> + Send;
}

/// Room without a budget.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoBudget;

impl Room for NoBudget {
    async fn more(&mut self, _: usize) {}
}

/// Reads one JSON object of at most `max` bytes up to its closing brace. White space before it is skipped, bytes after
/// it are left to nobody. The caller sets the deadline.
///
/// # Errors
/// See [`WireError`].
pub async fn read_object<S>(
    stream: &mut S,
    max: usize,
    room: &mut impl Room,
) -> Result<Vec<u8>, WireError>
where
    S: AsyncRead + Unpin,
{
    let mut bytes = Vec::new();
    let mut scan = Scan::default();
    let mut seen = 0;
    let mut skipped = 0;
    loop {
        if bytes.capacity() - bytes.len() < STEP / 4 {
            let step = bytes.len().clamp(STEP, 64 * STEP);
            room.more(step).await;
            bytes.reserve_exact(step);
        }
        if stream.read_buf(&mut bytes).await? == 0 {
            return Err(WireError::Ended);
        }
        if seen == 0 {
            let blank = bytes.iter().take_while(|b| b.is_ascii_whitespace()).count();
            skipped += blank;
            bytes.drain(..blank);
            match bytes.first() {
                _ if skipped > MAX_ACK => return Err(WireError::TooLarge(max)),
                None => continue,
                Some(b'{') => {}
                Some(_) => return Err(WireError::Malformed("no JSON object".to_owned())),
            }
        }
        while seen < bytes.len() {
            let closed = scan.step(bytes[seen]);
            seen += 1;
            if closed {
                bytes.truncate(seen);
                return if seen > max {
                    Err(WireError::TooLarge(max))
                } else {
                    Ok(bytes)
                };
            }
        }
        if bytes.len() > max {
            return Err(WireError::TooLarge(max));
        }
    }
}

/// Writes all bytes and sends them off, without closing: the other side answers on the same stream.
///
/// # Errors
/// What the stream says.
pub async fn write<S: AsyncWrite + Unpin>(stream: &mut S, bytes: &[u8]) -> io::Result<()> {
    stream.write_all(bytes).await?;
    stream.flush().await
}
