//! Connections that may be dead without knowing: they are asked for a sign of life, and what gives none is closed, so that
//! the next one takes its place.
//!
//! TCP and a NAT say nothing when the way to the other side is gone: with the ping alone it takes most of a minute until
//! that is found out.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use libp2p::core::ConnectedPoint;
use libp2p::ping;
use libp2p::swarm::ConnectionId;
use tokio::task::{JoinError, JoinSet};

use super::Host;
use crate::PeerId;
use crate::links::Link;

/// How long a connection may take to answer when the other side did something it would not do if it worked. A LAN answers
/// in milliseconds, the other side of the world in a third of this; a live connection that is closed by mistake costs a
/// transfer.
const DOUBT: Duration = Duration::from_secs(1);
/// And how long after the network around us changed: the first packets on a new one may be lost.
const MOVED: Duration = Duration::from_secs(2);

/// What a doubted connection did.
#[derive(Debug, Clone, Copy)]
pub(super) struct Doubt {
    connection: ConnectionId,
    answers: bool,
}

/// Connections that are being asked, or missed a ping.
#[derive(Debug, Default)]
pub(super) struct Doubts {
    asked: HashSet<ConnectionId>,
    asking: JoinSet<Doubt>,
    /// Missed a ping.
    silent: HashSet<ConnectionId>,
}

impl Doubts {
    fn ask(&mut self, link: Link, within: Duration) {
        if self.asked.insert(link.id) {
            self.asking.spawn(async move {
                Doubt {
                    connection: link.id,
                    answers: link.answers(within).await,
                }
            });
        }
    }

    pub(super) async fn next(&mut self) -> Option<Result<Doubt, JoinError>> {
        self.asking.join_next().await
    }

    /// A connection ended.
    pub(super) fn gone(&mut self, connection: ConnectionId) {
        self.silent.remove(&connection);
    }

    pub(super) async fn shutdown(&mut self) {
        self.asking.shutdown().await;
    }
}

impl Host {
    /// Nobody dials a peer it is connected with, nor goes through a relay to it: who does may have been killed, or lost
    /// the way between, with its old connections still looking alive from here.
    pub(super) fn doubt_others(
        &mut self,
        peer: PeerId,
        new: ConnectionId,
        endpoint: &ConnectedPoint,
    ) {
        if endpoint.is_dialer() {
            return;
        }
        // Two circuits may well be on the way at once, one from each side; that one works is found out as well.
        for link in self.links.others(&peer, new) {
            self.doubts.ask(link, DOUBT);
        }
    }

    /// The network around us changed. Circuits end with the connection to their relay.
    pub(super) fn moved(&mut self, now: Instant) {
        self.mapping.verify(now);
        self.check_anew(now);
        self.dial_anew(now);
        for (_, links) in self.links.snapshot() {
            for link in links.into_iter().filter(|link| !link.relayed) {
                self.doubts.ask(link, MOVED);
            }
        }
        self.relay.verify(now);
        self.settle_relay(now);
    }

    pub(super) fn on_doubt(&mut self, doubt: Result<Doubt, JoinError>) {
        // Asking does not panic, and it is aborted only when the host ends.
        let Ok(doubt) = doubt else { return };
        self.doubts.asked.remove(&doubt.connection);
        if !doubt.answers && self.swarm.close_connection(doubt.connection) {
            tracing::debug!(connection = %doubt.connection, "it does not answer any more");
            metrics::counter!("goop_net_connections_dead").increment(1);
            // It may know nothing of us any more.
            self.presence.greet(Instant::now());
        }
    }

    /// A connection that misses two pings in a row is dead; one may get lost in a flood of data.
    pub(super) fn on_ping(&mut self, event: &ping::Event) {
        match &event.result {
            Ok(_) => drop(self.doubts.silent.remove(&event.connection)),
            Err(ping::Failure::Unsupported) => {}
            Err(error) => {
                tracing::debug!(peer = %event.peer, %error, "a ping failed");
                if !self.doubts.silent.insert(event.connection) {
                    self.swarm.close_connection(event.connection);
                }
            }
        }
    }
}
