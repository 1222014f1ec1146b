//! Doing what the dial plan says, and what it is told about it.

use std::time::{Duration, Instant};

use libp2p::swarm::dial_opts::{DialOpts, PeerCondition};
use libp2p::swarm::{ConnectionId, DialError};
use tokio::sync::oneshot;

use super::Host;
use crate::PeerId;
use crate::address::{Circuit, is_relayed};
use crate::links::OpenError;

/// Streams that wait for one peer's connection.
const MAX_WAITING: usize = 1_024;

impl Host {
    /// A stream needs a connection to a peer: joins the dial under way, or starts one.
    pub(super) fn connect(&mut self, peer: PeerId, reply: oneshot::Sender<Result<(), OpenError>>) {
        if self.links.is_connected(&peer) {
            let _ = reply.send(Ok(()));
            return;
        }
        let is_relay = self.relay.is_relay(&peer);
        let through_relay = !is_relay && self.has_way_through_relay(&peer);
        let refuse = |reply: oneshot::Sender<_>, reason: &str| {
            let _ = reply.send(Err(OpenError::Unreachable(reason.to_owned())));
        };
        if !is_relay && !through_relay && self.dials.addrs(&peer).is_empty() {
            refuse(reply, "nobody on the network knows where it is");
            return;
        }
        let waiting = self.waiting.entry(peer).or_default();
        waiting.retain(|reply| !reply.is_closed());
        if waiting.len() >= MAX_WAITING {
            refuse(reply, "too many streams wait for it");
            return;
        }
        waiting.push(reply);
        let now = Instant::now();
        if is_relay {
            self.relay.nudge(now);
            self.settle_relay(now);
            return;
        }
        if self.dials.take(&peer, now) {
            self.dial(peer);
        }
        let direct_under_way = self.dials.is_dialling(&peer);
        if through_relay {
            self.fallback.want(peer, direct_under_way, now);
        } else if !direct_under_way {
            self.answer_waiting(
                &peer,
                &Err(OpenError::Failed("the connection was just lost".to_owned())),
            );
        }
    }

    /// A relay came up, or somebody told the way through one: who waits for a direct dial need not wait for its end.
    pub(super) fn waiting_want_relay(&mut self, now: Instant) {
        let waiting: Vec<PeerId> = self.waiting.keys().copied().collect();
        for peer in waiting {
            let connected = self.relay.is_relay(&peer) || self.links.is_connected(&peer);
            if !connected && self.has_way_through_relay(&peer) {
                let direct_under_way = self.dials.is_dialling(&peer);
                self.fallback.want(peer, direct_under_way, now);
            }
        }
    }

    pub(super) fn answer_waiting(&mut self, peer: &PeerId, answer: &Result<(), OpenError>) {
        for reply in self.waiting.remove(peer).unwrap_or_default() {
            let _ = reply.send(answer.clone());
        }
    }

    pub(super) fn dial(&mut self, peer: PeerId) {
        if self.links.is_direct(&peer) {
            self.dials.connected(&peer, None);
            self.answer_waiting(&peer, &Ok(()));
            return;
        }
        let opts = DialOpts::peer_id(peer)
            // The plan dials nobody twice; a circuit, there or being made, is no reason to do without a direct way.
            .condition(PeerCondition::Always)
            .addresses(self.dials.addrs(&peer).to_vec())
            // Two sides that dial each other from the ports they listen on would meet in one TCP connection that both
            // take for their own.
            .allocate_new_port()
            .build();
        metrics::counter!("goop_net_dials").increment(1);
        self.direct_dials.insert(peer, opts.connection_id());
        if let Err(error) = self.swarm.dial(opts) {
            self.direct_dials.remove(&peer);
            self.dial_failed(peer, &error);
        }
    }

    /// A direct connection came up, by this dial or another way.
    pub(super) fn direct_dialled(&mut self, peer: &PeerId, connection: ConnectionId) {
        if self.direct_dials.get(peer) == Some(&connection) {
            self.direct_dials.remove(peer);
        }
    }

    /// Dials under way may be of no use any more: they began on a network that we left, and routers say nothing. They are
    /// begun anew; what becomes of the old ones counts only if it is a connection.
    pub(super) fn dial_anew(&mut self, now: Instant) {
        self.direct_dials.clear();
        self.relay_dials.clear();
        self.looking = None;
        self.dials.moved(now);
        let wanted: Vec<PeerId> = self.waiting.keys().copied().collect();
        for peer in wanted {
            if !self.relay.is_relay(&peer) && self.dials.take(&peer, now) {
                self.dial(peer);
            }
        }
    }

    pub(super) fn dial_failed(&mut self, peer: PeerId, error: &DialError) {
        metrics::counter!("goop_net_dials_failed").increment(1);
        tracing::debug!(%peer, %error, "dialling failed");
        if self.links.is_direct(&peer) {
            return;
        }
        let now = Instant::now();
        self.dials.failed(&peer, now);
        self.fallback.direct_failed(&peer, now);
        self.give_up_waiting(peer, error);
    }

    /// Nobody waits any longer once neither way is being tried.
    fn give_up_waiting(&mut self, peer: PeerId, error: &DialError) {
        if !self.dials.is_dialling(&peer) && !self.fallback.is_under_way(&peer) {
            self.answer_waiting(&peer, &Err(OpenError::Unreachable(in_words(error))));
        }
    }

    /// Whether the peer may be reached through a relay: one it told, or ours, where everybody else of the same
    /// rendezvous is too.
    fn has_way_through_relay(&self, peer: &PeerId) -> bool {
        !self.fallback.circuits(peer).is_empty() || self.relay.reached_at().is_some()
    }

    /// Dials through relays, beside a direct dial that may be under way.
    pub(super) fn dial_through_relay(&mut self, peer: PeerId) {
        let now = Instant::now();
        let mut circuits = self.fallback.circuits(&peer).to_vec();
        if let (Some(info), Some(addr)) = (self.relay.info(), self.relay.reached_at()) {
            let ours = Circuit {
                relay_addr: addr.clone(),
                relay: info.peer,
                target: None,
            };
            circuits.retain(|circuit| circuit.relay != ours.relay);
            circuits.insert(0, ours);
        }
        let mut addrs = Vec::new();
        circuits.retain(|circuit| circuit.relay != self.me);
        for circuit in &circuits {
            if !self.relay.is_relay(&circuit.relay) && !circuit.relay_addr.is_empty() {
                let relay_addrs = vec![circuit.relay_addr.clone()];
                self.dials
                    .learn(circuit.relay, relay_addrs, Duration::ZERO, now);
                self.know_foreign_relay(circuit.relay);
            }
            addrs.push(circuit.dial_addr());
        }
        metrics::counter!("goop_net_circuits_out").increment(1);
        tracing::debug!(%peer, "dialling through a relay");
        let opts = DialOpts::peer_id(peer)
            .condition(PeerCondition::Always)
            .addresses(addrs)
            .build();
        let connection = opts.connection_id();
        match self.swarm.dial(opts) {
            Ok(()) => drop(self.circuit_dials.insert(connection, peer)),
            Err(error) => self.circuit_failed(peer, &error),
        }
    }

    fn circuit_failed(&mut self, peer: PeerId, error: &DialError) {
        tracing::debug!(%peer, %error, "dialling through a relay failed");
        self.fallback.failed(&peer, Instant::now());
        // We may have left it to the other side, which we do not call after all.
        self.consider_punching(peer);
        self.give_up_waiting(peer, error);
    }

    /// A dial failed; which one decides what follows.
    pub(super) fn on_dial_error(
        &mut self,
        peer: PeerId,
        connection: ConnectionId,
        error: &DialError,
    ) {
        if self.looked(connection) {
            tracing::debug!(%error, "the relay is not reached over TCP");
        } else if self.dial_back_failed(connection, error) {
            tracing::debug!(%peer, %error, "a dial for somebody else failed");
        } else if self.circuit_dials.remove(&connection).is_some() {
            self.circuit_failed(peer, error);
        } else if self.punch_failed(connection) {
            tracing::debug!(%peer, %error, "no hole");
        } else if self.relay.is_relay(&peer) {
            if !self.relay_dialled(connection) {
                tracing::debug!(%error, "an old dial of the relay ended");
                return;
            }
            if !self.relay_dials.is_empty() || self.links.is_direct(&peer) {
                tracing::debug!(%error, "one way to the relay leads nowhere");
                self.refresh_published();
                return;
            }
            let now = Instant::now();
            self.answer_waiting(&peer, &Err(OpenError::Unreachable(in_words(error))));
            self.relay.dial_failed(in_words(error), now);
            self.settle_relay(now);
        } else if self.direct_dials.get(&peer) == Some(&connection) {
            self.direct_dialled(&peer, connection);
            self.dial_failed(peer, error);
        } else {
            tracing::debug!(%peer, %error, "an old dial ended");
        }
    }
}

/// What a relay said is under what the transports made of it.
fn innermost(error: &dyn std::error::Error) -> String {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}

/// What a person can do something with; the rest is in the log.
pub(super) fn in_words(error: &DialError) -> String {
    match error {
        DialError::Transport(tried) => match tried.as_slice() {
            [first, ..] if tried.iter().all(|(addr, _)| is_relayed(addr)) => {
                format!("the relay does not reach it ({})", innermost(&first.1))
            }
            [(addr, _)] => format!("nobody answers at {addr}"),
            [(addr, _), ..] => format!(
                "nobody answers at {addr} nor at {} other addresses",
                tried.len() - 1
            ),
            [] => "nobody answers".to_owned(),
        },
        DialError::WrongPeerId { address, .. } => format!("somebody else answers at {address}"),
        DialError::LocalPeerId { .. } => "its address is our own".to_owned(),
        DialError::NoAddresses => "nobody on the network knows where it is".to_owned(),
        DialError::Denied { .. } => "there are too many connections already".to_owned(),
        DialError::DialPeerConditionFalse(_) => "it is being dialled already".to_owned(),
        DialError::Aborted => "dialling was given up".to_owned(),
    }
}
