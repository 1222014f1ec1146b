//! The protocols that belong to the network itself. They are known before anything listens, so the first list others
//! see is whole; what they may do is decided when they are asked.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use libp2p::StreamProtocol;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::timeout;

use super::Command;
use super::addresses::Candidates;
use super::checking::{Around, Proofs};
use crate::PeerId;
use crate::address::ip_of;
use crate::autonat::budget::Budget;
use crate::autonat::{self, Dialled};
use crate::circuit::message::Status;
use crate::circuit::transport::Arrival;
use crate::circuit::{CircuitError, STOP, stop};
use crate::links::Links;
use crate::punch;
use crate::relay::RelayState;
use crate::relay::refresh::{self, Pulse};
use crate::router::{Caller, RouteLimits, Router};
use crate::stream::Stream;

/// How long a pulse waits for what the nudge brings. The relay waits 3 s for its stream (network.md 1.2).
const NUDGED: Duration = Duration::from_millis(1_500);

/// What the protocols see of the host.
#[derive(Debug, Clone)]
pub(super) struct View {
    pub(super) commands: mpsc::WeakSender<Command>,
    pub(super) links: Arc<Links>,
    pub(super) arrivals: mpsc::Sender<Arrival>,
    /// The relay in use.
    pub(super) relay: watch::Receiver<Option<PeerId>>,
    pub(super) relay_state: watch::Receiver<RelayState>,
    /// Where we may be met.
    pub(super) candidates: watch::Receiver<Candidates>,
    /// From where others are looked at.
    pub(super) around: watch::Receiver<Around>,
    /// Proofs that we wait for.
    pub(super) proofs: Proofs,
}

/// All circuits come from one peer, the relay, and a turn lasts as long as its circuit.
const CIRCUITS: RouteLimits = RouteLimits {
    per_peer: 256,
    total: 256,
    wait: Duration::from_secs(5),
};
/// Rare and short.
const RARE: RouteLimits = RouteLimits {
    per_peer: 4,
    total: 64,
    wait: Duration::from_secs(5),
};

/// Each may cost a dial of ten seconds; one peer has no more than one under way.
const DIALS: RouteLimits = RouteLimits {
    per_peer: 1,
    total: 8,
    wait: Duration::from_secs(5),
};

/// Adds them.
pub(super) fn add(router: Router, view: &View) -> Router {
    let (calls, punches, pulses) = (view.clone(), view.clone(), view.clone());
    let (proofs, wishes) = (view.clone(), view.clone());
    let budget = Arc::new(Mutex::new(Budget::new(Instant::now())));
    router
        .route(autonat::REQUEST, DIALS, move |caller: Caller, mut stream: Stream| {
            let (view, budget) = (wishes.clone(), budget.clone());
            async move {
                if let Err(error) = dial_for(&view, &budget, caller, &mut stream).await {
                    tracing::debug!(peer = %caller.peer, %error, "nothing was dialled for a peer");
                    stream.reset();
                }
            }
        })
        .route(autonat::DIAL_BACK, RARE, move |caller: Caller, mut stream: Stream| {
            let view = proofs.clone();
            async move {
                // It has to come over the connection that it proves.
                let may = !caller.relayed && view.links.called_aside(&caller.peer);
                let expected = |nonce| may && view.proofs.came(nonce, caller.peer);
                if let Err(error) = autonat::hear(&mut stream, expected).await {
                    tracing::debug!(peer = %caller.peer, %error, "a proof was not taken");
                    stream.reset();
                }
            }
        })
        .route(STOP, CIRCUITS, move |caller: Caller, stream: Stream| {
            let view = calls.clone();
            async move {
                if let Err(error) = take_call(&view, caller, stream).await {
                    tracing::debug!(relay = %caller.peer, %error, "a call through a relay came to nothing");
                }
            }
        })
        .route(punch::PROTOCOL, RARE, move |caller: Caller, stream: Stream| {
            let view = punches.clone();
            async move {
                if caller.relayed {
                    agree(&view, caller.peer, stream).await;
                } else {
                    // There is nothing to agree on.
                    stream.reset();
                }
            }
        })
        .route(
            StreamProtocol::new(refresh::PROTOCOL),
            RARE,
            move |caller: Caller, mut stream: Stream| {
                let view = pulses.clone();
                async move {
                    let relay = *view.relay.borrow();
                    if let Err(error) = refresh::serve(caller.peer, &mut stream, relay, pulse(view)).await {
                        tracing::debug!(peer = %caller.peer, %error, "a pulse was not answered");
                        stream.reset();
                    }
                }
            },
        )
}

/// Somebody calls through a relay. Only the one we asked may bring calls.
async fn take_call(view: &View, caller: Caller, mut stream: Stream) -> Result<(), CircuitError> {
    let call = stop::hear(&mut stream).await?;
    let relay_addr = view.links.direct_addr(&caller.peer);
    let ours = *view.relay.borrow() == Some(caller.peer);
    let (Some(relay_addr), true) = (relay_addr, ours && !caller.relayed) else {
        return stop::answer(&mut stream, Status::NoReservation).await;
    };
    let Ok(room) = view.arrivals.try_reserve() else {
        return stop::answer(&mut stream, Status::ResourceLimitExceeded).await;
    };
    stop::answer(&mut stream, Status::Ok).await?;
    metrics::counter!("goop_net_circuits_in").increment(1);
    room.send(Arrival {
        from: call.from,
        relay: caller.peer,
        relay_addr,
        stream,
    });
    Ok(())
}

/// Somebody wants to know whether it is reached at its addresses.
async fn dial_for(
    view: &View,
    budget: &Mutex<Budget>,
    caller: Caller,
    stream: &mut Stream,
) -> Result<(), autonat::AutonatError> {
    let peer = caller.peer;
    // Through a relay nobody has an address.
    let theirs: Vec<IpAddr> = match caller.relayed {
        true => Vec::new(),
        false => view
            .links
            .direct_addrs(&peer)
            .iter()
            .filter_map(ip_of)
            .collect(),
    };
    let Around { vicinity, ours } = view.around.borrow().clone();
    let choose = |addrs: &[Vec<u8>]| {
        let known = !theirs.is_empty();
        known.then(|| autonat::choose(vicinity, &ours, &theirs, addrs))?
    };
    let may = || {
        let mut budget = budget.lock().unwrap_or_else(PoisonError::into_inner);
        budget.take(peer, &theirs, Instant::now())
    };
    let dial = async |addr, nonce| {
        let (reply, dialled) = oneshot::channel();
        let Some(commands) = view.commands.upgrade() else {
            return Dialled::Not;
        };
        let wish = Command::DialBack(peer, addr, nonce, reply);
        // A network that ended dials nobody.
        if commands.send(wish).await.is_err() {
            return Dialled::Not;
        }
        drop(commands);
        dialled.await.unwrap_or(Dialled::Not)
    };
    autonat::serve(stream, choose, may, dial).await
}

async fn agree(view: &View, peer: PeerId, stream: Stream) {
    let own = Candidates::known(view.candidates.clone()).await;
    match punch::answer(stream, &own).await {
        Ok(addrs) => {
            let Some(commands) = view.commands.upgrade() else {
                return;
            };
            // A network that ended has nobody to do it.
            let _ = commands.send(Command::Punch(peer, addrs)).await;
        }
        Err(error) => tracing::debug!(%peer, %error, "no agreement on punching a hole"),
    }
}

async fn pulse(view: View) -> Pulse {
    let reserved = |state: &RelayState| matches!(state, RelayState::Reserved { .. });
    if reserved(&view.relay_state.borrow()) {
        return Pulse::fine();
    }
    if let Some(commands) = view.commands.upgrade() {
        let _ = commands.send(Command::Pulse).await;
    }
    let mut state = view.relay_state.clone();
    let came = timeout(NUDGED, state.wait_for(reserved)).await;
    Pulse::nudged(matches!(came, Ok(Ok(_))))
}
