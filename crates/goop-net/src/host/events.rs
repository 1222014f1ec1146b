//! What the swarm reports, and what of it goes into the values.

use std::time::{Instant, SystemTime};

use goop_identity::presence::{PresenceKind, PresenceMessage};
use libp2p::core::ConnectedPoint;
use libp2p::swarm::{ConnectionId, SwarmEvent};
use libp2p::{Multiaddr, gossipsub};

use super::swarm::BehaviourEvent;
use super::{Host, unix_millis};
use crate::PeerId;
use crate::presence::Refused;
use crate::table::Source;
use crate::{address, identify};

impl Host {
    pub(super) fn on_swarm(&mut self, event: SwarmEvent<BehaviourEvent>) {
        match event {
            SwarmEvent::Behaviour(BehaviourEvent::Gossip(event)) => self.on_gossip(event),
            SwarmEvent::Behaviour(BehaviourEvent::Identify(event)) => self.on_identify(event),
            SwarmEvent::Behaviour(BehaviourEvent::Ping(event)) => self.on_ping(&event),
            SwarmEvent::ConnectionEstablished {
                peer_id,
                connection_id,
                endpoint,
                ..
            } => {
                metrics::counter!("goop_net_connections").increment(1);
                self.gauge_connected();
                if !self.is_for_proof(&peer_id, connection_id) {
                    self.on_connected(peer_id, connection_id, &endpoint);
                    self.doubt_others(peer_id, connection_id, &endpoint);
                }
            }
            SwarmEvent::ConnectionClosed {
                peer_id,
                connection_id,
                endpoint,
                cause,
                ..
            } => {
                tracing::debug!(peer = %peer_id, ?cause, "a connection ended");
                self.on_closed(peer_id, connection_id, endpoint.is_relayed());
            }
            SwarmEvent::OutgoingConnectionError {
                peer_id: Some(peer),
                connection_id,
                error,
            } => self.on_dial_error(peer, connection_id, &error),
            SwarmEvent::NewListenAddr { address, .. } => {
                tracing::info!(%address, "listening");
                self.refresh_listening();
            }
            SwarmEvent::ExpiredListenAddr { address, .. } => {
                tracing::info!(%address, "no longer listening");
                self.refresh_listening();
            }
            SwarmEvent::ListenerError { error, .. } => {
                tracing::warn!(%error, "a listener reports an error")
            }
            SwarmEvent::ListenerClosed {
                addresses, reason, ..
            } => {
                tracing::warn!(?addresses, ?reason, "a listener ended");
                self.refresh_listening();
            }
            _ => {}
        }
    }

    fn on_connected(&mut self, peer: PeerId, connection: ConnectionId, endpoint: &ConnectedPoint) {
        let now = Instant::now();
        let addr = endpoint.get_remote_address();
        let dialled = endpoint
            .is_dialer()
            .then(|| address::without_peer(addr.clone()));
        if endpoint.is_relayed() {
            // It proves less than a direct one: it may outlive the peer.
            self.circuit_dials.remove(&connection);
            self.fallback.connected(peer, now);
            self.dials.set_relayed(&peer, true);
            if !endpoint.is_dialer() {
                self.called_anew(&peer);
            }
            self.look_over_tcp();
            if self.links.is_direct(&peer) {
                self.watch_circuits(peer);
            }
        } else if self.relay.is_relay(&peer) {
            self.relay_is_there(peer, connection, addr);
            self.waiting_want_relay(now);
        } else {
            self.direct_dialled(&peer, connection);
            self.dials.connected(&peer, dialled);
            self.fallback.direct_connected(&peer);
            self.direct_is_there(peer, connection);
            let change = self.table.reached(&peer, now, SystemTime::now());
            self.changed(change);
        }
        self.answer_waiting(&peer, &Ok(()));
    }

    fn on_closed(&mut self, peer: PeerId, connection: ConnectionId, relayed: bool) {
        metrics::counter!("goop_net_connections_closed").increment(1);
        self.gauge_connected();
        self.doubts.gone(connection);
        self.punching.gone(connection);
        self.observed.gone(connection);
        self.proof_gone(connection);
        self.looked(connection);
        let now = Instant::now();
        if relayed && self.links.relayed(&peer).is_empty() {
            self.fallback.disconnected(&peer);
            self.dials.set_relayed(&peer, false);
            self.no_circuit_left(&peer);
        } else if relayed {
            // It may have been ours, because of which the other side was to begin.
            self.consider_punching(peer);
        } else if !self.links.is_direct(&peer) {
            if self.relay.is_relay(&peer) {
                self.relay.disconnected(now);
                self.settle_relay(now);
            } else {
                self.dials.disconnected(&peer, now);
                self.direct_is_lost(peer);
            }
        } else if self.relay.is_relay(&peer) {
            // The reservation may have been the lost connection's.
            self.relay.verify(now);
            self.settle_relay(now);
        }
        if self.links.is_connected(&peer) {
            return;
        }
        self.foreign_relays.remove(&peer);
        // A polite peer said goodbye before; of the others we find out.
        if self.table.get(&peer).is_some_and(|row| row.reachable) {
            self.probe(peer, None);
        }
    }

    fn gauge_connected(&self) {
        #[expect(
            clippy::cast_precision_loss,
            reason = "a gauge of at most some thousand peers"
        )]
        metrics::gauge!("goop_net_connected_peers").set(self.links.count() as f64);
    }

    fn on_identify(&mut self, event: libp2p::identify::Event) {
        let libp2p::identify::Event::Received {
            connection_id,
            peer_id,
            info,
        } = event
        else {
            return;
        };
        tracing::debug!(peer = %peer_id, agent = info.agent_version, "identified");
        self.links
            .learn_protocols(&peer_id, identify::protocols(&info));
        self.observe(peer_id, connection_id, info.observed_addr);
        self.looked(connection_id);
        if !self.relay.is_relay(&peer_id) {
            let addrs = self.vicinity.believed(&peer_id, info.listen_addrs);
            let wanted = self.table.lifetimes().ttl;
            self.dials.learn(peer_id, addrs, wanted, Instant::now());
        }
        self.consider_punching(peer_id);
        self.consider_asking(&peer_id, Instant::now());
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

    /// A presence record. What counts is the gate's decision.
    fn on_record(&mut self, signer: Option<PeerId>, data: &[u8]) {
        let now = Instant::now();
        let message = match self.gate.admit(signer, data, now) {
            Ok(message) => message,
            Err(refused) => return refuse(signer, &refused),
        };
        metrics::counter!("goop_net_presence_in").increment(1);
        let source = if self.links.is_direct(&message.peer) {
            Source::Neighbour
        } else {
            Source::Gossip
        };
        match message.kind {
            PresenceKind::Online | PresenceKind::Update => self.announced(&message, source, now),
            PresenceKind::Offline => self.said_goodbye(&message, now),
            // Only a rendezvous may send hints, so the gate lets none through.
            PresenceKind::Punch => {}
        }
    }

    /// What a rendezvous passed on.
    pub(super) fn on_rendezvous(&mut self, message: PresenceMessage) {
        let now = Instant::now();
        self.mapping.want(now);
        let signed_before = self.table.is_signed(&message.peer);
        let message = match self.gate.admit_passed_on(message, signed_before, now) {
            Ok(message) => message,
            Err(refused) => return refuse(None, &refused),
        };
        metrics::counter!("goop_net_presence_in").increment(1);
        match message.kind {
            PresenceKind::Online | PresenceKind::Update => {
                self.announced(&message, Source::Rendezvous, now);
            }
            PresenceKind::Offline => {
                // The rendezvous lost it; if we did not, it is asked.
                if self.links.is_connected(&message.peer) {
                    self.probe(message.peer, None);
                } else {
                    self.said_goodbye(&message, now);
                }
            }
            PresenceKind::Punch => self.hinted(&message, now),
        }
    }

    fn learn_addrs(&mut self, message: &PresenceMessage, now: Instant) -> Vec<Multiaddr> {
        let peer = message.peer;
        let texts = || message.addrs.iter().map(String::as_str);
        let relay = self.relay.info().map(|info| info.peer);
        let circuits = self.vicinity.circuits(&peer, texts(), relay);
        self.fallback.learn(peer, circuits, now);
        if self.waiting.contains_key(&peer) {
            self.waiting_want_relay(now);
        }
        let addrs = self.vicinity.dialable(&peer, texts());
        let wanted = self.table.lifetimes().ttl;
        self.dials.learn(peer, addrs.clone(), wanted, now);
        addrs
    }

    fn announced(&mut self, message: &PresenceMessage, source: Source, now: Instant) {
        if self.relay.is_relay(&message.peer) {
            return;
        }
        self.learn_addrs(message, now);
        let changes = self
            .table
            .announced(message, source, now, SystemTime::now());
        self.changed(changes);
        self.note_reachability(message.peer, now);
    }

    fn said_goodbye(&mut self, message: &PresenceMessage, now: Instant) {
        let change = self.table.said_goodbye(message, now, SystemTime::now());
        self.dials.forget(&message.peer);
        self.fallback.forget(&message.peer);
        self.changed(change);
    }

    /// A rendezvous says where a peer is, and told it the same of us: both dial now.
    fn hinted(&mut self, message: &PresenceMessage, now: Instant) {
        let addrs = self.learn_addrs(message, now);
        if !self.links.is_direct(&message.peer) {
            self.dials.hint(&message.peer, now);
            self.punch_by_hint(message.peer, &addrs);
        }
        self.probe(message.peer, None);
    }

    fn note_reachability(&mut self, peer: PeerId, now: Instant) {
        if self.table.get(&peer).is_none_or(|row| row.reachable) {
            return;
        }
        if self.links.is_direct(&peer) {
            // It just spoke and there is a connection to it; that is as good as an answer.
            let change = self.table.reached(&peer, now, SystemTime::now());
            self.changed(change);
        } else {
            self.probe(peer, None);
        }
    }

    pub(super) fn publish_offline(&mut self) {
        if let Some(record) = self.presence.farewell(unix_millis()) {
            self.send_record(record);
        }
    }

    pub(super) fn send_record(&mut self, record: PresenceMessage) {
        let sent = self
            .swarm
            .behaviour_mut()
            .gossip
            .gossip()
            .publish(self.topic.clone(), record.to_json());
        match sent {
            Ok(_) => metrics::counter!("goop_net_presence_out").increment(1),
            // Nobody is there yet; whoever comes is greeted.
            Err(gossipsub::PublishError::NoPeersSubscribedToTopic) => {}
            Err(error) => tracing::debug!(%error, "a presence record was not sent"),
        }
        self.own_record.send_replace(Some(record));
    }
}

fn refuse(signer: Option<PeerId>, refused: &Refused) {
    if *refused != Refused::Own {
        metrics::counter!("goop_net_presence_refused").increment(1);
        tracing::debug!(?signer, %refused, "a presence record was refused");
    }
}
