//! Where we are: what we listen on, how others see us, and what of it is told to whom.

use std::time::{Duration, Instant};

use libp2p::Multiaddr;
use libp2p::swarm::ConnectionId;
use libp2p::swarm::dial_opts::{DialOpts, PeerCondition};
use tokio::sync::watch;
use tokio::time::timeout;

use super::Host;
use crate::PeerId;
use crate::address;
use crate::autonat::checks::Verdict;
use crate::outside::{self, Facts, Outside};

/// How long an exchange about a hole waits for the relay's view over TCP: as long as the sides of an exchange wait for
/// each other at most (`punch`).
const LOOK: Duration = Duration::from_secs(2);

/// Where we may be met when a hole is punched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Candidates {
    pub(super) addrs: Vec<Multiaddr>,
    /// Nothing is being found out.
    complete: bool,
}

impl Default for Candidates {
    fn default() -> Self {
        Self {
            addrs: Vec::new(),
            complete: true,
        }
    }
}

impl Candidates {
    /// The addresses, once all are known, or as many as are known in time.
    pub(super) async fn known(mut seen: watch::Receiver<Self>) -> Vec<Multiaddr> {
        // Who asks after the host ended gets what it knew last.
        let _ = timeout(LOOK, seen.wait_for(|candidates| candidates.complete)).await;
        seen.borrow().addrs.clone()
    }
}

impl Host {
    /// The addresses we listen on changed: tell discovery, presence, and by identify whoever is connected.
    pub(super) fn refresh_listening(&mut self) {
        let addrs: Vec<Multiaddr> = self.swarm.listeners().cloned().collect();
        self.vicinity.look_around(&addrs);
        let own = self.vicinity.published(&addrs);
        self.listening.send_replace(addrs);
        if own == self.own_addrs {
            return;
        }
        if let Some(mdns) = &self.mdns {
            mdns.set_addrs(own.clone());
        }
        self.own_addrs = own;
        // Without any address nothing can be found out; the next one brings us back here.
        let is_somewhere = !self.own_addrs.is_empty();
        if is_somewhere && std::mem::replace(&mut self.was_somewhere, true) {
            self.moved(Instant::now());
        }
        self.refresh_published();
    }

    /// Somebody told where it sees us.
    pub(super) fn observe(&mut self, peer: PeerId, connection: ConnectionId, addr: Multiaddr) {
        let Some(outbound) = self.links.is_outbound_direct(&peer, connection) else {
            return;
        };
        let of_relay = self.relay.is_relay(&peer);
        let addr = address::without_peer(addr);
        if outbound && !of_relay && self.punching.was_punched(connection) {
            // We dialled it from the port we listen on.
            if self.vicinity.is_public(&addr) && self.observed.saw_elsewhere(connection, addr) {
                self.show_outside();
            }
            return;
        }
        // Who we dialled from a port of its own saw nothing of use.
        if outbound == of_relay
            && self.vicinity.plausible(&addr)
            && self.observed.saw(connection, addr, of_relay)
        {
            self.refresh_published();
        }
    }

    /// A hole may have to be punched for TCP, and a relay we reach over QUIC, or through the proxy before its WebSockets,
    /// never saw our TCP port from outside. So it is dialled over TCP too, the first time somebody is met through it; the connection stays, because it keeps the
    /// port open that others are told.
    pub(super) fn look_over_tcp(&mut self) {
        let Some(info) = self.relay.info() else {
            return;
        };
        let relay = info.peer;
        let links = self.links.direct_addrs(&relay);
        let seen = links.is_empty() || links.iter().any(address::is_plain_tcp);
        if seen || self.looking.is_some() || !self.relay_dials.is_empty() {
            return;
        }
        let mut addrs = info.addrs.clone();
        addrs.retain(address::is_plain_tcp);
        if addrs.is_empty() {
            return;
        }
        // From the port we listen on.
        let opts = DialOpts::peer_id(relay)
            .condition(PeerCondition::Always)
            .addresses(addrs)
            .build();
        let connection = opts.connection_id();
        match self.swarm.dial(opts) {
            Ok(()) => {
                self.looking = Some(connection);
                self.refresh_published();
            }
            Err(error) => tracing::debug!(%error, "the relay is not dialled over TCP"),
        }
    }

    /// The look over TCP is over: the relay said what it sees, or there is no such connection.
    pub(super) fn looked(&mut self, connection: ConnectionId) -> bool {
        let it_was = self.looking == Some(connection);
        if it_was {
            self.looking = None;
            self.refresh_published();
        }
        it_was
    }

    fn show_outside(&self) {
        let info = self.relay.info();
        let outside = Outside::from(Facts {
            own: self.own_addrs.clone(),
            seen: self.observed.by_relay(),
            elsewhere: self.observed.elsewhere(),
            opened: self.mapping.outside(),
            confirmed: self.checking.with(Verdict::Confirmed),
            refuted: self.checking.with(Verdict::Refuted),
            relay: info
                .map(|info| self.links.direct_addrs(&info.peer))
                .unwrap_or_default(),
            offered: info.map(|info| info.addrs.clone()).unwrap_or_default(),
        });
        self.outside.send_if_modified(|seen| {
            let differs = *seen != outside;
            *seen = outside;
            differs
        });
    }

    /// What others are told about where we are, brought up to date.
    pub(super) fn refresh_published(&mut self) {
        let mut outside = outside::in_order(
            self.checking.with(Verdict::Confirmed),
            self.mapping.outside(),
            self.observed.by_relay(),
            &self.checking.with(Verdict::Refuted),
        );
        outside.retain(|addr| self.vicinity.is_public(addr));
        let published = address::told(self.relay.circuits(), &outside, &self.own_addrs);
        let mut candidates = self.mapping.outside();
        candidates.extend(self.observed.candidates(&self.own_addrs));
        candidates.extend(self.own_addrs.iter().cloned());
        candidates.truncate(crate::punch::MAX_ADDRS);
        self.set_checked(&candidates);
        let candidates = Candidates {
            addrs: candidates,
            complete: self.looking.is_none() && self.relay_dials.is_empty(),
        };
        self.candidates.send_if_modified(|seen| {
            let differs = *seen != candidates;
            *seen = candidates;
            differs
        });
        self.show_outside();
        if published == self.published {
            return;
        }
        for gone in self
            .published
            .iter()
            .filter(|addr| !published.contains(addr))
        {
            self.swarm.remove_external_address(gone);
        }
        for new in published
            .iter()
            .filter(|addr| !self.published.contains(addr))
        {
            self.swarm.add_external_address(new.clone());
        }
        let connected: Vec<PeerId> = self.swarm.connected_peers().copied().collect();
        self.swarm.behaviour_mut().identify.push(connected);
        self.presence.set_addrs(
            published.iter().map(ToString::to_string).collect(),
            Instant::now(),
        );
        self.published = published;
    }
}
