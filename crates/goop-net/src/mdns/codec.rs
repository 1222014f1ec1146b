//! Packets of our multicast service: what is said about peers in them, and the packets we send.
//!
//! The service name is `<tag>.local.` as it stands, not a `_name._proto` pair, because the Go program's is
//! (network.md 3.1). Decoding is total and bounded.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};

use goop_identity::PeerId;
use hickory_proto::op::{Message, MessageType, OpCode, Query};
use hickory_proto::rr::rdata::{A, AAAA, PTR, SRV, TXT};
use hickory_proto::rr::{Name, RData, Record, RecordType};
use libp2p::Multiaddr;
use libp2p::multiaddr::Protocol;

/// Largest packet that is looked at: what fits into a jumbo frame (RFC 6762, 17).
pub const MAX_PACKET: usize = 9_000;
/// Most records of one packet that are looked at. A Go peer sends five.
const MAX_RECORDS: usize = 256;
/// Most addresses of one peer that are kept.
pub const MAX_ADDRS: usize = 20;
/// What every string of the TXT record begins with.
const ADDR_PREFIX: &str = "dnsaddr=";
/// A TXT string has one length byte.
const MAX_TXT: usize = 255;
/// The port in SRV records. The Go program always writes it and nobody reads it.
const SRV_PORT: u16 = 4001;
/// How long others keep what we say. With at most 120 s Go peers report us again at their next question (3.4).
pub const TTL: u32 = 120;
/// A known answer at least this fresh (half the Go program's 3200 s) suppresses ours …
const KNOWN_TTL_GO: u32 = 1_600;
/// … and at least half of our own.
const KNOWN_TTL_OURS: u32 = TTL / 2;

/// The names of one service tag.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Service {
    service: Name,
    local: Name,
    enumeration: Name,
}

/// A tag that cannot be a service name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("p2p.mdns_tag {0:?} cannot be a name on the network: use letters, digits, dots and dashes, at most 63 a part")]
pub struct BadTag(String);

impl Service {
    /// The service of a configured tag: dots separate labels, dots at the ends are trimmed, text after a comma is a
    /// subtype and left out.
    ///
    /// # Errors
    /// A tag that gives no valid name.
    pub fn of_tag(tag: &str) -> Result<Self, BadTag> {
        let bad = || BadTag(tag.to_owned());
        let name = tag.split(',').next().unwrap_or_default().trim().trim_matches('.');
        if name.is_empty() || name.split('.').any(str::is_empty) {
            return Err(bad());
        }
        let local = Name::from_labels(["local"]).map_err(|_| bad())?;
        let service = Name::from_labels(name.split('.').map(str::as_bytes))
            .and_then(|name| name.append_domain(&local))
            .map_err(|_| bad())?;
        let enumeration = Name::from_labels(["_services", "_dns-sd", "_udp", "local"]).map_err(|_| bad())?;
        Ok(Self { service, local, enumeration })
    }

    fn instance(&self, label: &str) -> Option<Name> {
        Name::from_labels([label.as_bytes()]).and_then(|name| name.append_domain(&self.service)).ok()
    }

    fn host(&self, label: &str) -> Option<Name> {
        Name::from_labels([label.as_bytes()]).and_then(|name| name.append_domain(&self.local)).ok()
    }

    /// The first label of an instance of this service; names of other tags that merely end alike do not count.
    fn instance_label(&self, name: &Name) -> Option<String> {
        if name.num_labels() != self.service.num_labels() + 1 || !self.service.zone_of(name) {
            return None;
        }
        name.iter().next().map(|label| String::from_utf8_lossy(label).into_owned())
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

/// One instance and the peers it describes (a Go peer describes itself only).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Advert {
    /// First label of the instance name.
    pub instance: String,
    /// Seconds it holds; 0 is a goodbye.
    pub ttl: u32,
    /// Peers with their addresses, without the `/p2p/` end.
    pub peers: Vec<(PeerId, Vec<Multiaddr>)>,
}

/// Why bytes are no packet.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PacketError {
    /// Over [`MAX_PACKET`], or too many records.
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
pub fn hear(bytes: &[u8], service: &Service) -> Result<Heard, PacketError> {
    if bytes.len() > MAX_PACKET {
        return Err(PacketError::TooLarge);
    }
    let message = Message::from_vec(bytes).map_err(|error| PacketError::NotDns(error.to_string()))?;
    if message.all_sections().count() + message.queries.len() > MAX_RECORDS {
        return Err(PacketError::TooLarge);
    }
    Ok(Heard { question: question(&message, service), adverts: adverts(&message, service) })
}

fn question(message: &Message, service: &Service) -> Option<Question> {
    // A probe: it claims a name and asks nobody (network.md 3.2, 4).
    let asks = message.metadata.message_type == MessageType::Query && message.authorities.is_empty();
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
    let fresh = |record: &&Record| record.ttl >= if record.ttl > TTL { KNOWN_TTL_GO } else { KNOWN_TTL_OURS };
    let pointers = message.answers.iter().filter(|record| record.name == service.service).filter(fresh);
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
        let label = match &record.data {
            RData::PTR(pointer) if record.name == service.service => service.instance_label(&pointer.0),
            RData::SRV(_) | RData::TXT(_) => service.instance_label(&record.name),
            _ => None,
        };
        // A known answer inside a question says nothing about who is there now.
        let is_known_answer =
            message.metadata.message_type == MessageType::Query && matches!(record.data, RData::PTR(_));
        let Some(label) = label.filter(|_| !is_known_answer) else { continue };
        let at = adverts.iter().position(|advert| advert.instance == label).unwrap_or_else(|| {
            adverts.push(Advert { instance: label, ttl: record.ttl, peers: Vec::new() });
            adverts.len() - 1
        });
        adverts[at].ttl = record.ttl;
        if let RData::TXT(text) = &record.data {
            adverts[at].peers = peers_of(text);
        }
    }
    adverts
}

/// The peers of a TXT record. One address without its `/p2p/` end spoils the whole record, as for a Go peer.
fn peers_of(text: &TXT) -> Vec<(PeerId, Vec<Multiaddr>)> {
    let mut peers: Vec<(PeerId, Vec<Multiaddr>)> = Vec::new();
    for string in &text.txt_data {
        let Some(addr) = std::str::from_utf8(string).ok().and_then(|text| text.strip_prefix(ADDR_PREFIX)) else {
            continue;
        };
        let Ok(mut addr) = addr.parse::<Multiaddr>() else { continue };
        let Some(Protocol::P2p(peer)) = addr.pop() else { return Vec::new() };
        let at = peers.iter().position(|(known, _)| *known == peer).unwrap_or_else(|| {
            peers.push((peer, Vec::new()));
            peers.len() - 1
        });
        let addrs = &mut peers[at].1;
        if addrs.len() < MAX_ADDRS && !addrs.contains(&addr) {
            addrs.push(addr);
        }
    }
    peers
}

/// What we say about ourselves.
#[derive(Clone, PartialEq, Eq)]
pub struct SelfAdvert<'a> {
    /// Our service.
    pub service: &'a Service,
    /// Our instance label.
    pub instance: &'a str,
    /// Who we are.
    pub peer: PeerId,
    /// Where we listen, without the `/p2p/` end.
    pub addrs: &'a [Multiaddr],
}

impl fmt::Debug for SelfAdvert<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SelfAdvert").field("instance", &self.instance).field("addrs", &self.addrs).finish()
    }
}

impl SelfAdvert<'_> {
    /// An unasked announcement: everything in the answer section. A `ttl` of 0 is a goodbye.
    #[must_use]
    pub fn announcement(&self, ttl: u32) -> Option<Vec<u8>> {
        let mut message = response(0);
        let mut unique = self.description(ttl)?;
        for record in &mut unique {
            record.mdns_cache_flush = true;
        }
        message.add_answers(unique);
        message.add_answer(self.pointer(ttl)?);
        message.add_answer(enumeration(self.service, ttl));
        message.to_vec().ok()
    }

    /// The answer to a question about the service.
    #[must_use]
    pub fn answer(&self, id: u16) -> Option<Vec<u8>> {
        let mut message = response(id);
        message.add_answer(self.pointer(TTL)?);
        message.add_additionals(self.description(TTL)?);
        message.to_vec().ok()
    }

    fn pointer(&self, ttl: u32) -> Option<Record> {
        let instance = self.service.instance(self.instance)?;
        Some(Record::from_rdata(self.service.service.clone(), ttl, RData::PTR(PTR(instance))))
    }

    /// SRV, one TXT with every address, and an address record for the SRV target: a Go peer wants all of them in
    /// one packet (network.md 3.3).
    fn description(&self, ttl: u32) -> Option<Vec<Record>> {
        let instance = self.service.instance(self.instance)?;
        let host = self.service.host(self.instance)?;
        let strings: Vec<String> = self
            .addrs
            .iter()
            .map(|addr| format!("{ADDR_PREFIX}{addr}/p2p/{}", self.peer))
            .filter(|text| text.len() <= MAX_TXT)
            .take(MAX_ADDRS)
            .collect();
        let mut records = vec![
            Record::from_rdata(instance.clone(), ttl, RData::SRV(SRV::new(0, 0, SRV_PORT, host.clone()))),
            Record::from_rdata(instance, ttl, RData::TXT(TXT::new(strings))),
        ];
        let (v4, v6) = first_addresses(self.addrs);
        if let Some(v4) = v4 {
            records.push(Record::from_rdata(host.clone(), ttl, RData::A(A(v4))));
        }
        if let Some(v6) = v6 {
            records.push(Record::from_rdata(host, ttl, RData::AAAA(AAAA(v6))));
        }
        Some(records)
    }
}

fn first_addresses(addrs: &[Multiaddr]) -> (Option<Ipv4Addr>, Option<Ipv6Addr>) {
    let firsts = || addrs.iter().filter_map(|addr| addr.iter().next());
    let v4 = firsts().find_map(|part| if let Protocol::Ip4(ip) = part { Some(ip) } else { None });
    let v6 = firsts().find_map(|part| if let Protocol::Ip6(ip) = part { Some(ip) } else { None });
    (v4, v6)
}

/// The answer to "which services are there".
#[must_use]
pub fn enumeration_answer(service: &Service, id: u16) -> Option<Vec<u8>> {
    let mut message = response(id);
    message.add_answer(enumeration(service, TTL));
    message.to_vec().ok()
}

fn enumeration(service: &Service, ttl: u32) -> Record {
    Record::from_rdata(service.enumeration.clone(), ttl, RData::PTR(PTR(service.service.clone())))
}

/// The question for the service, with the QU bit clear (network.md 3.2).
#[must_use]
pub fn query(service: &Service, id: u16) -> Option<Vec<u8>> {
    let mut message = Message::new(id, MessageType::Query, OpCode::Query);
    message.add_query(Query::query(service.service.clone(), RecordType::PTR));
    message.to_vec().ok()
}

fn response(id: u16) -> Message {
    let mut message = Message::new(id, MessageType::Response, OpCode::Query);
    message.metadata.authoritative = true;
    message
}
