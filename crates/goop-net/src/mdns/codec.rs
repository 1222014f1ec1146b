//! What packets of our multicast service say.
//!
//! Decoding is total and bounded. Reading a packet has two steps: [`decode`] turns bytes into a [`Packet`], [`hear`]
//! picks out what it says about one service. What we send is in [`super::advert`].

use goop_identity::PeerId;
use hickory_proto::op::{Message, MessageType};
use hickory_proto::rr::rdata::TXT;
use hickory_proto::rr::{Name, RData, Record};
use libp2p::Multiaddr;
use libp2p::multiaddr::Protocol;

/// Largest packet that is looked at: what fits into a jumbo frame (RFC 6762, 17).
pub const MAX_PACKET: usize = 9_000;
/// Most questions and records of one packet. A Go peer sends five.
pub const MAX_RECORDS: usize = 256;
/// Most addresses of one instance that are kept and sent.
pub const MAX_ADDRS: usize = 20;
/// Most peers one instance may describe. A Go peer and ours describe one, themselves.
pub const MAX_PEERS_PER_INSTANCE: usize = 4;
/// What every string of the TXT record begins with.
pub(super) const ADDR_PREFIX: &str = "dnsaddr=";
/// How long others keep what we say (seconds). With at most 120 s Go peers report us again at their next question
/// (network.md 3.4).
pub const TTL: u32 = 120;
/// A known answer at least this fresh suppresses ours: half of what we say (RFC 6762, 7.1).
const KNOWN_TTL: u32 = TTL / 2;
/// Bytes of a DNS header.
const HEADER: usize = 12;

/// The names of one service tag.
///
/// The service name is `<tag>.local.` as it stands, not a `_name._proto` pair, because the Go program's is
/// (network.md 3.1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Service {
    pub(super) service: Name,
    local: Name,
    pub(super) enumeration: Name,
}

/// A tag that cannot be a service name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "p2p.mdns_tag {0:?} cannot be a name on the network: use letters, digits, dots and dashes, at most 63 a part"
)]
pub struct BadTag(String);

impl Service {
    /// The service of a configured tag: dots separate labels, dots at the ends are trimmed, text after a comma is a
    /// subtype and left out.
    ///
    /// # Errors
    /// A tag that gives no valid name.
    pub fn of_tag(tag: &str) -> Result<Self, BadTag> {
        let bad = || BadTag(tag.to_owned());
        let name = tag
            .split(',')
            .next()
            .unwrap_or_default()
            .trim()
            .trim_matches('.');
        if name.is_empty() || name.split('.').any(str::is_empty) {
            return Err(bad());
        }
        let local = Name::from_labels(["local"]).map_err(|_| bad())?;
        let service = Name::from_labels(name.split('.').map(str::as_bytes))
            .and_then(|name| name.append_domain(&local))
            .map_err(|_| bad())?;
        let enumeration =
            Name::from_labels(["_services", "_dns-sd", "_udp", "local"]).map_err(|_| bad())?;
        let service = Self {
            service,
            local,
            enumeration,
        };
        // Instances must fit in front of it.
        let longest = "x".repeat(63);
        service.instance(&longest).ok_or_else(bad)?;
        Ok(service)
    }

    pub(super) fn instance(&self, label: &str) -> Option<Name> {
        Name::from_labels([label.as_bytes()])
            .and_then(|name| name.append_domain(&self.service))
            .ok()
    }

    pub(super) fn host(&self, label: &str) -> Option<Name> {
        Name::from_labels([label.as_bytes()])
            .and_then(|name| name.append_domain(&self.local))
            .ok()
    }

    /// The first label of an instance of this service; names of other tags that merely end alike do not count.
    fn instance_label(&self, name: &Name) -> Option<String> {
        if name.num_labels() != self.service.num_labels() + 1 || !self.service.zone_of(name) {
            return None;
        }
        name.iter()
            .next()
            .map(|label| String::from_utf8_lossy(label).into_owned())
    }
}

/// A decoded packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packet {
    message: Message,
}

/// Why bytes are no packet.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PacketError {
    /// Over [`MAX_PACKET`] bytes or [`MAX_RECORDS`] records.
    #[error("the packet is too large")]
    TooLarge,
    /// Not DNS.
    #[error("the packet is not DNS: {0}")]
    NotDns(String),
}

/// Decodes a packet from the network.
///
/// # Errors
/// See [`PacketError`].
pub fn decode(bytes: &[u8]) -> Result<Packet, PacketError> {
    // Looked at before anything is allocated for the records.
    if bytes.len() > MAX_PACKET || announced_records(bytes) > MAX_RECORDS {
        return Err(PacketError::TooLarge);
    }
    let message =
        Message::from_vec(bytes).map_err(|error| PacketError::NotDns(error.to_string()))?;
    Ok(Packet { message })
}

/// How many questions and records the header promises.
fn announced_records(bytes: &[u8]) -> usize {
    let counts = bytes.get(4..HEADER).unwrap_or_default();
    counts
        .chunks_exact(2)
        .map(|count| usize::from(u16::from_be_bytes([count[0], count[1]])))
        .sum()
}

impl Packet {
    pub(super) fn new(message: Message) -> Self {
        Self { message }
    }

    /// The bytes that go out. `None` only for what cannot be said in a DNS packet.
    #[must_use]
    pub fn encode(&self) -> Option<Vec<u8>> {
        self.message.to_vec().ok()
    }
}

/// What one packet says that matters here.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Heard {
    /// Somebody asks for us.
    pub question: Option<Question>,
    /// Instances described, each with its peers.
    pub adverts: Vec<Advert>,
}

/// A question we answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// The id to copy.
    pub id: u16,
    /// Answer to the sender only (the QU bit).
    pub unicast: bool,
    /// What is asked for.
    pub about: About,
    /// Instance labels the asker knows already.
    pub known: Vec<String>,
}

/// What a question is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum About {
    /// Who offers the service.
    Service,
    /// One instance, by its label.
    Instance(String),
    /// Which services there are.
    Enumeration,
}

/// One instance and the peers it describes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Advert {
    /// First label of the instance name.
    pub instance: String,
    /// Seconds it holds; 0 is a goodbye.
    pub ttl: u32,
    /// At most [`MAX_PEERS_PER_INSTANCE`] peers with [`MAX_ADDRS`] addresses together, without the `/p2p/` end.
    pub peers: Vec<(PeerId, Vec<Multiaddr>)>,
}

/// What a packet says about a service. Answers, announcements, and what a probe claims in its authority section all
/// count (network.md 3.4).
#[must_use]
pub fn hear(packet: &Packet, service: &Service) -> Heard {
    Heard {
        question: question(&packet.message, service),
        adverts: adverts(&packet.message, service),
    }
}

fn question(message: &Message, service: &Service) -> Option<Question> {
    // A probe claims a name and asks nobody (network.md 3.2, 4).
    let asks =
        message.metadata.message_type == MessageType::Query && message.authorities.is_empty();
    if !asks {
        return None;
    }
    message.queries.iter().find_map(|query| {
        let about = if *query.name() == service.service {
            About::Service
        } else if *query.name() == service.enumeration {
            About::Enumeration
        } else {
            About::Instance(service.instance_label(query.name())?)
        };
        Some(Question {
            id: message.metadata.id,
            unicast: query.mdns_unicast_response(),
            about,
            known: known_answers(message, service),
        })
    })
}

fn known_answers(message: &Message, service: &Service) -> Vec<String> {
    let pointers = message
        .answers
        .iter()
        .filter(|record| record.name == service.service && record.ttl >= KNOWN_TTL);
    pointers
        .filter_map(|record| match &record.data {
            RData::PTR(pointer) => service.instance_label(&pointer.0),
            _ => None,
        })
        .collect()
}

fn adverts(message: &Message, service: &Service) -> Vec<Advert> {
    let mut adverts: Vec<Advert> = Vec::new();
    for record in message.all_sections() {
        let Some(label) = described(record, message.metadata.message_type, service) else {
            continue;
        };
        let at = adverts
            .iter()
            .position(|advert| advert.instance == label)
            .unwrap_or_else(|| {
                adverts.push(Advert {
                    instance: label,
                    ttl: record.ttl,
                    peers: Vec::new(),
                });
                adverts.len() - 1
            });
        // As a Go peer reads it: the last record decides (network.md 3.3).
        adverts[at].ttl = record.ttl;
        if let RData::TXT(text) = &record.data {
            adverts[at].peers = peers_of(text);
        }
    }
    adverts
}

/// The instance that a record describes.
fn described(record: &Record, kind: MessageType, service: &Service) -> Option<String> {
    match &record.data {
        // A pointer inside a question is a known answer: it says nothing about who is there now.
        RData::PTR(_) if kind == MessageType::Query => None,
        RData::PTR(pointer) if record.name == service.service => service.instance_label(&pointer.0),
        RData::SRV(_) | RData::TXT(_) => service.instance_label(&record.name),
        _ => None,
    }
}

/// The peers of a TXT record. One address without its `/p2p/` end spoils the whole record, as for a Go peer.
fn peers_of(text: &TXT) -> Vec<(PeerId, Vec<Multiaddr>)> {
    let mut peers: Vec<(PeerId, Vec<Multiaddr>)> = Vec::new();
    let mut kept = 0;
    for string in &text.txt_data {
        let text = std::str::from_utf8(string)
            .ok()
            .and_then(|text| text.strip_prefix(ADDR_PREFIX));
        let Some(Ok(mut addr)) = text.map(str::parse::<Multiaddr>) else {
            continue;
        };
        let Some(Protocol::P2p(peer)) = addr.pop() else {
            return Vec::new();
        };
        let at = match peers.iter().position(|(known, _)| *known == peer) {
            Some(at) => at,
            None if peers.len() >= MAX_PEERS_PER_INSTANCE => continue,
            None => {
                peers.push((peer, Vec::new()));
                peers.len() - 1
            }
        };
        let addrs = &mut peers[at].1;
        if kept < MAX_ADDRS && !addr.is_empty() && !addrs.contains(&addr) {
            kept += 1;
            addrs.push(addr);
        }
    }
    peers.retain(|(_, addrs)| !addrs.is_empty());
    peers
}
