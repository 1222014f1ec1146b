//! The packets we send: what we say about ourselves, and the question for others (network.md 3.2, 3.4).

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};

use goop_identity::PeerId;
use hickory_proto::op::{Message, MessageType, OpCode, Query};
use hickory_proto::rr::rdata::{A, AAAA, PTR, SRV, TXT};
use hickory_proto::rr::{RData, Record, RecordType};
use libp2p::Multiaddr;
use libp2p::multiaddr::Protocol;

use super::codec::{ADDR_PREFIX, MAX_ADDRS, Packet, Service, TTL};

/// A TXT string has one length byte.
const MAX_TXT: usize = 255;
/// The port in SRV records. The Go program always writes it and nobody reads it.
const SRV_PORT: u16 = 4001;

/// What we say about ourselves.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct SelfAdvert<'a> {
    /// Our service.
    pub service: &'a Service,
    /// Our instance label.
    pub instance: &'a str,
    /// Who we are.
    pub peer: PeerId,
    /// Where we listen, without the `/p2p/` end; at least one with an IP address, or Go peers ignore all of it.
    pub addrs: &'a [Multiaddr],
}

impl fmt::Debug for SelfAdvert<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SelfAdvert")
            .field("instance", &self.instance)
            .field("addrs", &self.addrs)
            .finish()
    }
}

impl SelfAdvert<'_> {
    /// An unasked announcement: everything in the answer section, in the Go program's order.
    #[must_use]
    pub fn announcement(&self) -> Option<Packet> {
        self.everything(TTL)
    }

    /// Takes an announcement back: the same with a life of 0.
    #[must_use]
    pub fn goodbye(&self) -> Option<Packet> {
        self.everything(0)
    }

    /// The answer to a question about the service.
    #[must_use]
    pub fn answer(&self, id: u16) -> Option<Packet> {
        let mut message = response(id);
        message.metadata.authoritative = true;
        message.add_answer(self.pointer(TTL)?);
        message.add_additionals(self.description(TTL)?);
        message.add_additionals(self.host_addresses(TTL)?);
        Some(Packet::new(message))
    }

    fn everything(&self, ttl: u32) -> Option<Packet> {
        let mut message = response(0);
        let unique = |mut record: Record| {
            record.mdns_cache_flush = true;
            record
        };
        message.add_answers(self.description(ttl)?.map(unique));
        message.add_answer(self.pointer(ttl)?);
        message.add_answer(enumeration(self.service, ttl));
        message.add_answers(self.host_addresses(ttl)?.into_iter().map(unique));
        Some(Packet::new(message))
    }

    fn pointer(&self, ttl: u32) -> Option<Record> {
        let instance = self.service.instance(self.instance)?;
        Some(Record::from_rdata(
            self.service.service.clone(),
            ttl,
            RData::PTR(PTR(instance)),
        ))
    }

    /// SRV and one TXT with every address.
    fn description(&self, ttl: u32) -> Option<[Record; 2]> {
        let instance = self.service.instance(self.instance)?;
        let host = self.service.host(self.instance)?;
        let strings = self
            .addrs
            .iter()
            .map(|addr| format!("{ADDR_PREFIX}{addr}/p2p/{}", self.peer));
        let strings = strings
            .filter(|text| text.len() <= MAX_TXT)
            .take(MAX_ADDRS)
            .collect();
        Some([
            Record::from_rdata(
                instance.clone(),
                ttl,
                RData::SRV(SRV::new(0, 0, SRV_PORT, host)),
            ),
            Record::from_rdata(instance, ttl, RData::TXT(TXT::new(strings))),
        ])
    }

    /// An address record for the SRV target: without one in the same packet a Go peer ignores the rest (network.md
    /// 3.3).
    fn host_addresses(&self, ttl: u32) -> Option<Vec<Record>> {
        let host = self.service.host(self.instance)?;
        let (v4, v6) = first_addresses(self.addrs);
        let records = [
            v4.map(|ip| RData::A(A(ip))),
            v6.map(|ip| RData::AAAA(AAAA(ip))),
        ];
        Some(
            records
                .into_iter()
                .flatten()
                .map(|data| Record::from_rdata(host.clone(), ttl, data))
                .collect(),
        )
    }
}

fn first_addresses(addrs: &[Multiaddr]) -> (Option<Ipv4Addr>, Option<Ipv6Addr>) {
    let firsts = || addrs.iter().filter_map(|addr| addr.iter().next());
    let v4 = firsts().find_map(|part| {
        if let Protocol::Ip4(ip) = part {
            Some(ip)
        } else {
            None
        }
    });
    let v6 = firsts().find_map(|part| {
        if let Protocol::Ip6(ip) = part {
            Some(ip)
        } else {
            None
        }
    });
    (v4, v6)
}

/// The answer to "which services are there".
#[must_use]
pub fn enumeration_answer(service: &Service, id: u16) -> Packet {
    let mut message = response(id);
    message.metadata.authoritative = true;
    message.add_answer(enumeration(service, TTL));
    Packet::new(message)
}

fn enumeration(service: &Service, ttl: u32) -> Record {
    Record::from_rdata(
        service.enumeration.clone(),
        ttl,
        RData::PTR(PTR(service.service.clone())),
    )
}

/// The question for the service, with the QU bit clear (network.md 3.2).
#[must_use]
pub fn query(service: &Service, id: u16) -> Packet {
    let mut message = Message::new(id, MessageType::Query, OpCode::Query);
    message.add_query(Query::query(service.service.clone(), RecordType::PTR));
    Packet::new(message)
}

fn response(id: u16) -> Message {
    Message::new(id, MessageType::Response, OpCode::Query)
}
