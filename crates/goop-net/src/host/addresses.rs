//! Where we are: what we listen on, how others see us, and what of it is told to whom.

use std::time::Instant;

use libp2p::Multiaddr;
use libp2p::swarm::ConnectionId;

use super::Host;
use crate::PeerId;
use crate::address;

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
        let moved = !self.own_addrs.is_empty();
        self.own_addrs = own;
        if moved {
            let now = Instant::now();
            self.mapping.verify(now);
            self.relay.verify(now);
            self.settle_relay(now);
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
        // Who we dialled from a port of its own saw nothing of use.
        if outbound == of_relay
            && self.vicinity.plausible(&addr)
            && self.observed.saw(connection, addr, of_relay)
        {
            self.refresh_published();
        }
    }

    /// What others are told about where we are, brought up to date.
    pub(super) fn refresh_published(&mut self) {
        let mut outside = self.mapping.outside();
        outside.extend(self.observed.by_relay());
        outside.retain(|addr| self.vicinity.is_public(addr));
        let published = address::told(self.relay.circuits(), &outside, &self.own_addrs);
        let mut candidates = self.mapping.outside();
        candidates.extend(self.observed.candidates(&self.own_addrs));
        candidates.extend(self.own_addrs.iter().cloned());
        candidates.truncate(crate::punch::MAX_ADDRS);
        self.candidates.send_if_modified(|seen| {
            let differs = *seen != candidates;
            *seen = candidates;
            differs
        });
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
