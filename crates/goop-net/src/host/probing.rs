//! Doing what [`Probes`](crate::reach::Probes) says: asking peers for their name and noting in the table who answers.

use std::time::{Instant, SystemTime};

use tokio::sync::oneshot;
use tokio::task::JoinError;
use tokio::time::timeout;

use super::Host;
use crate::PeerId;
use crate::content;
use crate::reach::{After, PROBE_DEADLINE, Wish};

impl Host {
    /// Asks a peer whether it is there. Who asks while it is being asked shares the answer.
    pub(super) fn probe(&mut self, peer: PeerId, reply: Option<oneshot::Sender<bool>>) {
        match self.probes.want(peer, Instant::now()) {
            Wish::UnderWay => self.curious.entry(peer).or_default().extend(reply),
            Wish::TooSoon => {
                if let Some(reply) = reply {
                    let _ = reply.send(self.shows_reachable(&peer));
                }
            }
        }
        self.start_probes();
    }

    fn shows_reachable(&self, peer: &PeerId) -> bool {
        self.table.get(peer).is_some_and(|row| row.reachable)
    }

    fn start_probes(&mut self) {
        while let Some(peer) = self.probes.start_next() {
            metrics::counter!("goop_net_probes").increment(1);
            let opener = self.opener();
            self.probing.spawn(async move {
                // A connection alone proves nothing: only a peer that says its name is there (weak point 8).
                let answer = timeout(PROBE_DEADLINE, content::ask(&opener, peer)).await;
                (peer, matches!(answer, Ok(Ok(_))))
            });
        }
    }

    pub(super) fn on_probe_task(&mut self, probed: Result<(PeerId, bool), JoinError>) {
        // A probe does not panic, and it is aborted only when the host ends.
        let Ok((peer, reached)) = probed else { return };
        let now = Instant::now();
        let change = if reached {
            self.table.reached(&peer, now, SystemTime::now())
        } else {
            metrics::counter!("goop_net_probes_failed").increment(1);
            self.table.missed(&peer, now)
        };
        self.changed(change);
        self.show();
        let shown = self.shows_reachable(&peer);
        if self.probes.ended(peer, reached, shown, now) == After::CloseIdle
            && !self.links.is_busy(&peer)
        {
            // Nothing to close is fine.
            let _ = self.swarm.disconnect_peer_id(peer);
        }
        for reply in self.curious.remove(&peer).unwrap_or_default() {
            let _ = reply.send(reached);
        }
        self.start_probes();
    }
}
