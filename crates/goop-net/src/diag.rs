//! `/goop/diag/1.0.0`: what a peer says about its own state to the relay it uses, and to nobody else (network.md 7.6).
//!
//! The Go program answers everybody, with its host's name and its log (weak point 18).

use std::io;
use std::time::{Duration, Instant};

use libp2p::{Multiaddr, StreamProtocol};
use serde::{Deserialize, Deserializer, Serialize};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;

use crate::PeerId;
use crate::links::Link;
use crate::relay::RelayInfo;
use crate::topology::go_duration;

/// The protocol id.
pub const PROTOCOL: &str = "/goop/diag/1.0.0";
/// Longest answer in bytes; a rendezvous reads no more (network.md 7.6).
pub const MAX_ANSWER: usize = 64 * 1024;
/// Most log lines in an answer (network.md 7.6).
pub const MAX_LOGS: usize = 200;
/// How long one answer may take in either direction (network.md 7, summary: a rendezvous gives 3 s to open).
pub const DEADLINE: Duration = Duration::from_secs(10);

/// The document. Its fields stand in the order of their names, as they do on the wire.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Diagnosis {
    /// Where it can be reached; `null` for nowhere.
    pub addrs: Option<Vec<String>>,
    /// Processor.
    pub arch: String,
    /// Connections.
    #[serde(
        skip_serializing_if = "Vec::is_empty",
        deserialize_with = "null_is_none"
    )]
    pub connected_peer_details: Vec<ConnectionDetail>,
    /// Peers with a connection.
    pub connected_peers: u64,
    /// What the program was made with.
    pub go_version: String,
    /// It can be reached over a relay.
    pub has_circuit: bool,
    /// It serves a site.
    pub has_site: bool,
    /// Name of the machine. Ours leave it out.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub hostname: String,
    /// What it listens on.
    #[serde(deserialize_with = "null_is_none")]
    pub listen_addrs: Vec<String>,
    /// Its log, newest last, as `[HH:MM:SS] text`.
    #[serde(deserialize_with = "null_is_none")]
    pub logs: Vec<String>,
    /// Tasks that run in it.
    pub num_goroutine: u64,
    /// Operating system.
    pub os: String,
    /// Its id.
    pub peer_id: String,
    /// Silence after which it takes others for offline, as `20s`.
    pub presence_ttl: String,
    /// Protocols it answers.
    #[serde(deserialize_with = "null_is_none")]
    pub protocols: Vec<String>,
    /// The relay it was told to use.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub relay_config: Option<RelayConfig>,
    /// Its connections to the relay.
    #[serde(
        skip_serializing_if = "Vec::is_empty",
        deserialize_with = "null_is_none"
    )]
    pub relay_conn_details: Vec<ConnectionDetail>,
    /// How many there are.
    pub relay_conns: u64,
    /// Where it dials the relay.
    #[serde(
        skip_serializing_if = "Vec::is_empty",
        deserialize_with = "null_is_none"
    )]
    pub relay_peerstore_addrs: Vec<String>,
    /// How patient it is with the relay.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub relay_timing: Option<RelayTiming>,
    /// When it started, `YYYY-MM-DD HH:MM:SS` in its own time.
    pub started: String,
    /// Time since then, as `1h2m3s`.
    pub uptime: String,
}

/// One connection.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct ConnectionDetail {
    /// Where the other side is.
    pub addr: String,
    /// How long it has been there, as `12m0s`.
    pub age: String,
    /// `inbound`, `outbound` or `unknown`.
    pub dir: String,
    /// The other side is the relay.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub is_relay: bool,
    /// Who; absent in the list of connections to the relay.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub peer_id: String,
    /// Open streams.
    pub streams: u64,
}

/// The relay a peer was told to use.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct RelayConfig {
    /// Where it is.
    #[serde(deserialize_with = "null_is_none")]
    pub addrs: Vec<String>,
    /// Who it is.
    pub peer_id: String,
}

/// Waiting times with the relay (network.md 9.1), as durations in Go's form.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct RelayTiming {
    /// Between closing and connecting again.
    pub cleanup_delay: String,
    /// For a connection.
    pub connect_timeout: String,
    /// For a circuit address.
    pub poll_deadline: String,
    /// Before recovery begins.
    pub recovery_grace: String,
}

/// Go writes an empty list as `null` where it was never filled.
fn null_is_none<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> Result<Vec<T>, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// What the network does not know of itself.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Own {
    /// A site is served.
    pub has_site: bool,
    /// Lines of the log, newest last, as `[HH:MM:SS] text`.
    pub logs: Vec<String>,
    /// When the program started, `YYYY-MM-DD HH:MM:SS` in local time.
    pub started: String,
    /// Version of the program.
    pub version: String,
}

/// Why no diagnosis came.
#[derive(Debug, thiserror::Error)]
pub enum DiagError {
    /// The caller is not the relay this peer uses.
    #[error("only the relay this peer uses may ask")]
    NotTheRelay,
    /// It took too long.
    #[error("no answer within {} s", DEADLINE.as_secs())]
    TimedOut,
    /// More than [`MAX_ANSWER`] bytes.
    #[error("the answer is longer than {MAX_ANSWER} bytes")]
    TooLong,
    /// The answer is not the document.
    #[error("the answer makes no sense: {0}")]
    Malformed(#[from] serde_json::Error),
    /// The stream failed.
    #[error("the stream failed: {0}")]
    Io(#[from] io::Error),
}

impl Diagnosis {
    /// Decodes an answer. Unknown fields are left out, missing ones are empty.
    ///
    /// # Errors
    /// [`DiagError::TooLong`], [`DiagError::Malformed`].
    pub fn from_json(bytes: &[u8]) -> Result<Self, DiagError> {
        if bytes.len() > MAX_ANSWER {
            return Err(DiagError::TooLong);
        }
        Ok(serde_json::from_slice(bytes)?)
    }

    /// The answer: one JSON object and a line break, in at most [`MAX_ANSWER`] bytes. The oldest log lines go first,
    /// then whole connections.
    ///
    /// # Errors
    /// [`DiagError::TooLong`] when even that is not enough.
    pub fn to_line(&self) -> Result<Vec<u8>, DiagError> {
        let mut shown = self.clone();
        shown
            .logs
            .drain(..shown.logs.len().saturating_sub(MAX_LOGS));
        loop {
            let mut line = serde_json::to_vec(&shown)?;
            line.push(b'\n');
            if line.len() <= MAX_ANSWER {
                return Ok(line);
            }
            if !shown.logs.is_empty() {
                shown.logs.drain(..shown.logs.len().div_ceil(4));
            } else if !shown.connected_peer_details.is_empty() {
                shown
                    .connected_peer_details
                    .truncate(shown.connected_peer_details.len() * 3 / 4);
            } else {
                return Err(DiagError::TooLong);
            }
        }
    }
}

/// Answers a caller if it is the relay this peer uses; everybody else sees the end of the stream.
///
/// # Errors
/// See [`DiagError`].
pub async fn serve<S>(
    caller: PeerId,
    mut stream: S,
    relay: Option<PeerId>,
    diagnose: impl FnOnce() -> Diagnosis,
) -> Result<(), DiagError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let line = if relay == Some(caller) {
        Some(diagnose().to_line()?)
    } else {
        None
    };
    let answer = async {
        if let Some(line) = &line {
            stream.write_all(line).await?;
        }
        stream.shutdown().await
    };
    timeout(DEADLINE, answer)
        .await
        .map_err(|_| DiagError::TimedOut)??;
    if line.is_some() {
        Ok(())
    } else {
        Err(DiagError::NotTheRelay)
    }
}

/// Reads the answer at the other end.
///
/// # Errors
/// See [`DiagError`].
pub async fn fetch<S>(stream: S) -> Result<Diagnosis, DiagError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut answer = Vec::new();
    // One byte more than allowed, so that too much is noticed.
    let mut bounded = stream.take(MAX_ANSWER as u64 + 1);
    timeout(DEADLINE, bounded.read_to_end(&mut answer))
        .await
        .map_err(|_| DiagError::TimedOut)??;
    Diagnosis::from_json(&answer)
}

/// Go's name of a processor or system, where it is another one.
fn in_go(name: &str) -> &str {
    match name {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "x86" => "386",
        "macos" => "darwin",
        same => same,
    }
}

/// What the host knows of itself.
pub(crate) struct HostView<'a> {
    pub(crate) me: PeerId,
    pub(crate) started: Instant,
    pub(crate) listening: &'a [Multiaddr],
    /// Where it says it is; nothing before it says something.
    pub(crate) published: &'a [String],
    pub(crate) ttl: Duration,
    pub(crate) protocols: &'a [StreamProtocol],
    /// The relay in use, and whether others reach us through it.
    pub(crate) relay: &'a (Option<RelayInfo>, bool),
}

/// A short duration as Go writes it: `500ms`, `5s`.
fn go_millis(duration: Duration) -> String {
    if duration < Duration::from_secs(1) {
        format!("{}ms", duration.as_millis())
    } else {
        go_duration(duration)
    }
}

/// Puts the document together.
pub(crate) fn draw(own: Own, host: &HostView<'_>, links: &[(PeerId, Vec<Link>)]) -> Diagnosis {
    let now = Instant::now();
    let HostView {
        me,
        started,
        listening,
        published,
        ttl,
        protocols,
        relay,
    } = host;
    let (relay, has_circuit) = &**relay;
    let is_relay = |peer: &PeerId| relay.as_ref().is_some_and(|relay| relay.peer == *peer);
    let listening: Vec<String> = listening.iter().map(ToString::to_string).collect();
    let details = links.iter().flat_map(|(peer, links)| {
        links.iter().map(|link| ConnectionDetail {
            addr: crate::address::without_peer(link.addr.clone()).to_string(),
            age: go_duration(now.saturating_duration_since(link.since)),
            dir: if link.outbound { "outbound" } else { "inbound" }.to_owned(),
            is_relay: is_relay(peer),
            peer_id: peer.to_base58(),
            streams: link.streams() as u64,
        })
    });
    let details: Vec<ConnectionDetail> = details.collect();
    let to_relay = details.iter().filter(|detail| detail.is_relay).cloned();
    let relay_conn_details: Vec<ConnectionDetail> = to_relay
        .map(|detail| ConnectionDetail {
            is_relay: false,
            peer_id: String::new(),
            ..detail
        })
        .collect();
    let texts = |relay: &RelayInfo| relay.addrs.iter().map(ToString::to_string).collect();
    Diagnosis {
        addrs: (!published.is_empty()).then(|| published.to_vec()),
        arch: in_go(std::env::consts::ARCH).to_owned(),
        connected_peer_details: details,
        connected_peers: links.len() as u64,
        has_circuit: *has_circuit,
        relay_config: relay.as_ref().map(|relay| RelayConfig {
            addrs: texts(relay),
            peer_id: relay.peer.to_base58(),
        }),
        relay_conns: relay_conn_details.len() as u64,
        relay_conn_details,
        relay_peerstore_addrs: relay.as_ref().map(texts).unwrap_or_default(),
        relay_timing: relay.as_ref().map(|relay| RelayTiming {
            cleanup_delay: go_millis(relay.timings.cleanup_delay),
            connect_timeout: go_millis(relay.timings.connect_timeout),
            poll_deadline: go_millis(relay.timings.poll_deadline),
            recovery_grace: go_millis(relay.timings.recovery_grace),
        }),
        go_version: format!("rust, goop2 {}", own.version),
        has_site: own.has_site,
        listen_addrs: listening,
        logs: own.logs,
        num_goroutine: tokio::runtime::Handle::try_current()
            .map_or(0, |runtime| runtime.metrics().num_alive_tasks() as u64),
        os: in_go(std::env::consts::OS).to_owned(),
        peer_id: me.to_base58(),
        presence_ttl: go_duration(*ttl),
        protocols: protocols.iter().map(ToString::to_string).collect(),
        started: own.started,
        uptime: go_duration(now.saturating_duration_since(*started)),
        ..Diagnosis::default()
    }
}
