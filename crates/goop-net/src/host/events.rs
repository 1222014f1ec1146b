//! What the swarm reports, and what of it goes into the values.

use std::time::{Instant, SystemTime};

use goop_identity::presence::{PresenceKind, PresenceMessage};
use libp2p::core::ConnectedPoint;
use libp2p::swarm::SwarmEvent;
use libp2p::swarm::dial_opts::{DialOpts, PeerCondition};
use libp2p::{StreamProtocol, gossipsub, identify};
use tokio::sync::oneshot;

use super::presence::Presence;
use super::swarm::BehaviourEvent;
use super::{Host, Link};
use crate::PeerId;
use crate::address;
use crate::content;
use crate::streams::{OpenError, OpenRequest};
use crate::table::Source;

/// Protocols of one peer that are kept; a Go peer has 16.
const MAX_PROTOCOLS: usize = 128;

impl Host {
    pub(super) fn on_swarm(&mut self, event: SwarmEvent<BehaviourEvent>) {
        match event {
            SwarmEvent::Behaviour(BehaviourEvent::Gossip(event)) => self.on_gossip(event),
            SwarmEvent::Behaviour(BehaviourEvent::Identify(event)) => self.on_identify(event),
            SwarmEvent::ConnectionEstablished { peer_id, connection_id, endpoint, .. } => {
                self.on_connected(peer_id, connection_id, &endpoint);
            }
            SwarmEvent::ConnectionClosed { peer_id, connection_id, num_established, .. } => {
                metrics::counter!("goop_net_connections_closed").increment(1);
                if let Some(links) = self.links.get_mut(&peer_id) {
                    links.retain(|(id, _)| *id != connection_id);
                }
                if num_established == 0 {
                    self.links.remove(&peer_id);
                    self.dials.disconnected(&peer_id, Instant::now());
                    self.shared.forget_protocols(&peer_id);
                    self.verify_absence(peer_id);
                }
            }
            SwarmEvent::OutgoingConnectionError { peer_id: Some(peer), error, .. } => {
                metrics::counter!("goop_net_dials_failed").increment(1);
                tracing::debug!(%peer, %error, "dialling failed");
                self.dials.failed(&peer, Instant::now());
                self.refuse_waiting(&peer, &error.to_string());
            }
            SwarmEvent::NewListenAddr { address, .. } => {
                tracing::info!(%address, "listening");
                self.refresh_listening();
            }
            SwarmEvent::ExpiredListenAddr { address, .. } => {
                tracing::info!(%address, "no longer listening");
                self.refresh_listening();
            }
            SwarmEvent::ListenerError { error, .. } => tracing::warn!(%error, "a listener reports an error"),
            SwarmEvent::ListenerClosed { addresses, reason, .. } => {
                tracing::warn!(?addresses, ?reason, "a listener ended");
                self.refresh_listening();
            }
            _ => {}
        }
    }

    fn on_connected(&mut self, peer: PeerId, id: libp2p::swarm::ConnectionId, endpoint: &ConnectedPoint) {
        metrics::counter!("goop_net_connections").increment(1);
        let now = Instant::now();
        let addr = endpoint.get_remote_address().clone();
        let direct = !address::is_relayed(&addr);
        self.links.entry(peer).or_default().push((id, Link { addr, since: now }));
        self.dials.connected(&peer);
        if direct {
            let change = self.table.reached(&peer, now, SystemTime::now());
            self.changed(change);
        }
        for request in self.waiting.remove(&peer).unwrap_or_default() {
            if let Some(request) = self.swarm.behaviour_mut().streams.open(peer, request) {
                let _ = request.reply.send(Err(OpenError::Failed("the connection was lost".to_owned())));
            }
        }
    }

    fn refuse_waiting(&mut self, peer: &PeerId, reason: &str) {
        for request in self.waiting.remove(peer).unwrap_or_default() {
            let _ = request.reply.send(Err(OpenError::Unreachable(reason.to_owned())));
        }
    }

    /// The last connection to a peer went down. A polite peer said so before; of the others we find out.
    fn verify_absence(&mut self, peer: PeerId) {
        if self.table.get(&peer).is_some_and(|row| row.reachable) {
            self.probe(peer);
        }
    }

    fn on_identify(&mut self, event: identify::Event) {
        let identify::Event::Received { peer_id, info, .. } = event else { return };
        // A Go peer sends its list several times while it starts (network.md 2.3): each one replaces the last.
        let protocols: Vec<StreamProtocol> = info.protocols.into_iter().take(MAX_PROTOCOLS).collect();
        self.shared.note_protocols(peer_id, protocols);
        let addrs: Vec<_> =
            info.listen_addrs.into_iter().filter(|addr| address::plausible(addr, self.reach)).collect();
        let wanted = self.presence.ttl;
        self.dials.learn(peer_id, addrs, wanted, Instant::now());
    }

    fn on_gossip(&mut self, event: gossipsub::Event) {
        match event {
            gossipsub::Event::Message { message, .. } if message.topic == self.topic.hash() => {
                self.on_record(message.source, &message.data);
            }
            gossipsub::Event::Subscribed { topic, .. } if topic == self.topic.hash() => {
                self.presence.greet(Instant::now());
            }
            _ => {}
        }
    }

    /// A presence record. It counts only if its signer is the peer it speaks of (network.md 4.5).
    fn on_record(&mut self, signer: Option<PeerId>, data: &[u8]) {
        let message = match PresenceMessage::from_json(data) {
            Ok(message) => message,
            Err(error) => {
                metrics::counter!("goop_net_presence_refused").increment(1);
                tracing::debug!(?signer, %error, "a presence record was refused");
                return;
            }
        };
        if signer != Some(message.peer) {
            metrics::counter!("goop_net_presence_refused").increment(1);
            tracing::warn!(?signer, about = %message.peer, "a presence record was signed by somebody else; refused");
            return;
        }
        if message.peer == self.shared.me {
            return;
        }
        metrics::counter!("goop_net_presence_in").increment(1);
        let now = Instant::now();
        let peer = message.peer;
        match message.kind {
            PresenceKind::Online | PresenceKind::Update => {
                let addrs = address::dialable(message.addrs.iter().map(String::as_str), self.reach);
                self.dials.learn(peer, addrs, self.presence.ttl, now);
                let change = self.table.announced(&message, Source::Gossip, now, SystemTime::now());
                self.changed(change);
                self.note_reachability(peer, message.kind, now);
            }
            PresenceKind::Offline => {
                let change = self.table.left(&peer, now, SystemTime::now());
                self.dials.forget(&peer);
                self.changed(change);
            }
            // Only a rendezvous may send hints.
            PresenceKind::Punch => {}
        }
    }

    fn note_reachability(&mut self, peer: PeerId, kind: PresenceKind, now: Instant) {
        let reachable = self.table.get(&peer).is_some_and(|row| row.reachable);
        if !reachable && self.links.contains_key(&peer) {
            // The record came from a peer we are connected to; that is as good as an answer.
            let change = self.table.reached(&peer, now, SystemTime::now());
            self.changed(change);
        } else if !reachable || (kind == PresenceKind::Online && !self.links.contains_key(&peer)) {
            self.probe(peer);
        }
    }

    fn probe(&mut self, peer: PeerId) {
        if !self.probes.may_start(peer, Instant::now()) {
            return;
        }
        let (reply, stream) = oneshot::channel();
        self.open(peer, OpenRequest { protocols: vec![StreamProtocol::new(content::PROTOCOL)], reply });
        self.probes.start(peer, stream);
    }

    pub(super) fn on_probed(&mut self, peer: PeerId, reached: bool) {
        let now = Instant::now();
        let change = if reached {
            self.table.reached(&peer, now, SystemTime::now())
        } else {
            self.table.missed(&peer, now)
        };
        self.changed(change);
    }

    pub(super) fn dial(&mut self, peer: PeerId) {
        let opts = DialOpts::peer_id(peer)
            .condition(PeerCondition::DisconnectedAndNotDialing)
            .addresses(self.dials.addrs(&peer).to_vec())
            .build();
        metrics::counter!("goop_net_dials").increment(1);
        if let Err(error) = self.swarm.dial(opts) {
            if self.links.contains_key(&peer) {
                self.dials.connected(&peer);
            } else {
                self.dials.failed(&peer, Instant::now());
                self.refuse_waiting(&peer, &error.to_string());
            }
        }
    }

    pub(super) fn publish(&mut self, now: Instant) {
        if !self.presence.is_online() {
            return;
        }
        let record = self.presence.record(self.shared.me, now);
        self.send_record(&record);
    }

    pub(super) fn publish_offline(&mut self) {
        if self.presence.is_online() {
            let record = Presence::farewell(self.shared.me);
            self.send_record(&record);
        }
    }

    fn send_record(&mut self, record: &PresenceMessage) {
        let sent = self.swarm.behaviour_mut().gossip.publish(self.topic.clone(), record.to_json());
        match sent {
            Ok(_) => metrics::counter!("goop_net_presence_out").increment(1),
            // Nobody is there yet; whoever comes is greeted.
            Err(gossipsub::PublishError::NoPeersSubscribedToTopic) => {}
            Err(error) => tracing::debug!(%error, "a presence record was not sent"),
        }
    }
}
