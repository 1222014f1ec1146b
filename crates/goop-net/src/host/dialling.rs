//! Doing what the dial plan says, and what it is told about it.

use std::time::Instant;

use libp2p::swarm::DialError;
use libp2p::swarm::dial_opts::{DialOpts, PeerCondition};
use tokio::sync::oneshot;

use super::Host;
use crate::PeerId;
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
        let refuse = |reply: oneshot::Sender<_>, reason: &str| {
            let _ = reply.send(Err(OpenError::Unreachable(reason.to_owned())));
        };
        if self.dials.addrs(&peer).is_empty() {
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
        if self.dials.take(&peer, Instant::now()) {
            self.dial(peer);
        } else if !self.dials.is_dialling(&peer) {
            self.answer_waiting(
                &peer,
                &Err(OpenError::Failed("the connection was just lost".to_owned())),
            );
        }
    }

    pub(super) fn answer_waiting(&mut self, peer: &PeerId, answer: &Result<(), OpenError>) {
        for reply in self.waiting.remove(peer).unwrap_or_default() {
            let _ = reply.send(answer.clone());
        }
    }

    pub(super) fn dial(&mut self, peer: PeerId) {
        let opts = DialOpts::peer_id(peer)
            .condition(PeerCondition::DisconnectedAndNotDialing)
            .addresses(self.dials.addrs(&peer).to_vec())
            // Two sides that dial each other from the ports they listen on would meet in one TCP connection that both
            // take for their own.
            .allocate_new_port()
            .build();
        metrics::counter!("goop_net_dials").increment(1);
        if let Err(error) = self.swarm.dial(opts) {
            if self.links.is_connected(&peer) {
                self.dials.connected(&peer, None);
                self.answer_waiting(&peer, &Ok(()));
            } else {
                self.dial_failed(peer, &error);
            }
        }
    }

    pub(super) fn dial_failed(&mut self, peer: PeerId, error: &DialError) {
        metrics::counter!("goop_net_dials_failed").increment(1);
        tracing::debug!(%peer, %error, "dialling failed");
        if self.links.is_connected(&peer) {
            return;
        }
        self.dials.failed(&peer, Instant::now());
        self.answer_waiting(&peer, &Err(OpenError::Unreachable(in_words(error))));
    }
}

/// What a person can do something with; the rest is in the log.
fn in_words(error: &DialError) -> String {
    match error {
        DialError::Transport(tried) => match tried.as_slice() {
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
