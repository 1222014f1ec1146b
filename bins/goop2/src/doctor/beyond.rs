//! The network beyond the own one, in words: rendezvous servers, their relays, what the router does, and how peers are
//! reached. A peer that runs on the folder is asked; otherwise the doctor goes there itself, as nobody in particular.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use goop_identity::Keypair;
use goop_identity::config::Config;
use goop_net::relay::{RelayInfo, RelayTimings};
use goop_net::{Access, Discovery, Multiaddr, Net, NetConfig, RelayState, Router};
use goop_rendezvous::client::{Client, ClientConfig, Heard};
use hyper::Method;
use serde_json::Value;
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;

use super::Finding;
use crate::control::Control;

/// How long a server may take to answer; its client gives each question 5 s and asks again.
const SERVER: Duration = Duration::from_secs(8);
/// How long its relay may take: dialling everywhere it may be (10 s), and a place on it.
const RELAY: Duration = Duration::from_secs(15);
/// A relay says where it sees us right after it is connected.
const SEEN: Duration = Duration::from_secs(3);
/// The own peer answers at once.
const OWN: Duration = Duration::from_secs(5);
/// Names in a sentence; more are counted.
const NAMES: usize = 5;

/// What the peer that runs on this folder says.
pub(super) fn ask_peer(dir: &Path, findings: &mut Vec<Finding>) {
    let asked = ask(dir, "/api/network").and_then(|standing| {
        let picture = ask(dir, "/api/topology")?;
        Some((standing, picture))
    });
    match asked {
        Some((standing, picture)) => say_standing(&standing, &picture, findings),
        None => findings.push(Finding::Note(
            "the running peer does not answer, so nothing is known of its network".to_owned(),
        )),
    }
}

/// Asks the peer's own API.
pub(super) fn ask(dir: &Path, path: &str) -> Option<Value> {
    let control = Control::of(dir).ok()?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .ok()?;
    let asked = async { timeout(OWN, control.whole(Method::GET, path, None)).await };
    runtime.block_on(asked).ok()?.ok()
}

fn say_standing(standing: &Value, picture: &Value, findings: &mut Vec<Finding>) {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let servers = standing["servers"].as_array().cloned().unwrap_or_default();
    for server in &servers {
        let url = text(&server["url"]);
        findings.push(match server["contact"].as_str() {
            Some("socket") => Finding::Good(format!("connected to the rendezvous server {url}")),
            Some("stream") => Finding::Note(format!(
                "{url} is heard, but something between lets no WebSockets through; it works, more slowly"
            )),
            _ => Finding::Bad(format!(
                "the rendezvous server {url} does not answer: {}",
                server["problem"].as_str().unwrap_or("no answer yet")
            )),
        });
    }
    let relay = &standing["relay"];
    match relay["state"].as_str() {
        Some("reserved") => findings.push(Finding::Good(
            "others can reach you through the relay".to_owned(),
        )),
        Some("lost") => findings.push(Finding::Bad(format!(
            "nobody reaches you through the relay: {}",
            text(&relay["reason"])
        ))),
        Some("connecting") => findings.push(Finding::Note(
            "a place on the relay is being asked for; look again in a moment".to_owned(),
        )),
        _ if !servers.is_empty() => findings.push(no_relay()),
        _ => {}
    }
    let access = serde_json::from_value(standing["outside"]["access"].clone());
    say_access(access.unwrap_or_default(), findings);
    say_reached(&standing["outside"], findings);
    say_peers(picture, findings);
}

/// Where other peers came through when they were asked to try, and where they did not.
fn say_reached(outside: &Value, findings: &mut Vec<Finding>) {
    let addrs = |which: &str| -> Vec<String> {
        let addrs = outside[which].as_array().into_iter().flatten();
        addrs
            .filter_map(|addr| addr.as_str().map(printable))
            .collect()
    };
    let (confirmed, refuted) = (addrs("confirmed"), addrs("refuted"));
    if !confirmed.is_empty() {
        findings.push(Finding::Good(format!(
            "other peers tried and reached you at {}",
            names(&confirmed)
        )));
    }
    if !refuted.is_empty() {
        findings.push(Finding::Note(format!(
            "other peers tried and did not reach you at {}",
            names(&refuted)
        )));
    }
}

/// Which peers are reached, and how.
fn say_peers(picture: &Value, findings: &mut Vec<Finding>) {
    let peers = picture["peers"].as_array().cloned().unwrap_or_default();
    let by = |way: &str| -> Vec<String> {
        let of = peers.iter().filter(|peer| peer["connection"] == way);
        of.filter_map(|peer| peer["label"].as_str().map(printable))
            .collect()
    };
    let (direct, relayed) = (by("direct"), by("relay"));
    if !direct.is_empty() {
        findings.push(Finding::Good(format!(
            "directly connected: {}",
            names(&direct)
        )));
    }
    if !relayed.is_empty() {
        findings.push(Finding::Note(format!(
            "connected through the relay, which is slower: {}",
            names(&relayed)
        )));
    }
    if direct.is_empty() && relayed.is_empty() {
        findings.push(Finding::Note("nobody is connected right now".to_owned()));
    }
}

/// A name somebody else chose, without what a terminal would act on.
fn printable(name: &str) -> String {
    name.chars().filter(|char| !char.is_control()).collect()
}

fn names(all: &[String]) -> String {
    let first = all[..all.len().min(NAMES)].join(", ");
    match all.len().saturating_sub(NAMES) {
        0 => first,
        more => format!("{first} and {more} more"),
    }
}

fn no_relay() -> Finding {
    Finding::Note(
        "the rendezvous server offers no relay: peers whose routers do not get along cannot meet. Whoever runs it sets \
         presence.relay_port"
            .to_owned(),
    )
}

fn say_access(access: Access, findings: &mut Vec<Finding>) {
    let (text, advice) = access.in_words();
    findings.push(match advice {
        None => Finding::Good(text.to_owned()),
        Some(advice) => Finding::Note(format!("{text} {advice}")),
    });
}

/// Goes to the servers of the settings and their relays.
pub(super) async fn look(config: &Config, findings: &mut Vec<Finding>) {
    let servers = config.presence.servers();
    if servers.is_empty() {
        return say_access(Access::Unknown, findings);
    }
    let settings = NetConfig {
        discovery: Discovery::Off,
        ..NetConfig::new(Keypair::generate_ed25519())
    };
    let net = match Net::start(settings, Router::new()).await {
        Ok(net) => net,
        Err(error) => return findings.push(Finding::Bad(error.to_string())),
    };
    let mut views = Views::default();
    let mut access = Access::Unknown;
    for server in servers {
        match relay_of(server).await {
            Err(problem) => findings.push(Finding::Bad(format!(
                "the rendezvous server {server} does not answer: {problem}"
            ))),
            Ok(None) => {
                findings.push(Finding::Good(format!(
                    "the rendezvous server {server} answers"
                )));
                findings.push(no_relay());
            }
            Ok(Some(relay)) => {
                findings.push(Finding::Good(format!(
                    "the rendezvous server {server} answers"
                )));
                let (finding, seen_as) = try_relay(&net, server, relay, &mut views).await;
                findings.push(finding);
                if seen_as != Access::Unknown {
                    access = seen_as;
                }
            }
        }
    }
    // One port towards one relay and another one towards the next.
    if access == Access::Router && (views.udp.len() > 1 || views.tcp.len() > 1) {
        access = Access::Strict;
    }
    say_access(access, findings);
    net.shutdown(Duration::from_secs(1)).await;
}

/// Asks a server for its relay; the error is in words.
pub(super) async fn relay_of(server: &str) -> Result<Option<RelayInfo>, String> {
    let (_own, own) = watch::channel(None);
    let (told, mut hears) = mpsc::channel(8);
    let settings = ClientConfig {
        server: server.to_owned(),
        keypair: Keypair::generate_ed25519(),
        complete: std::sync::Arc::new(|record| record),
    };
    let client = Client::start(settings, own, told).map_err(|error| error.to_string())?;
    let answer = timeout(SERVER, async {
        loop {
            match hears.recv().await {
                Some(Heard::Relay(relay)) => return relay,
                Some(Heard::Record(_)) => {}
                None => return None,
            }
        }
    });
    let relay = answer.await.map_err(|_| {
        let state = client.state().borrow().clone();
        state
            .problem
            .unwrap_or_else(|| "no answer in time".to_owned())
    })?;
    client.shutdown().await;
    Ok(relay.map(|relay| RelayInfo {
        peer: relay.peer,
        addrs: relay
            .addrs
            .iter()
            .filter_map(|addr| addr.parse().ok())
            .collect(),
        timings: RelayTimings::default(),
    }))
}

/// Where relays saw us.
#[derive(Debug, Default)]
struct Views {
    udp: BTreeSet<String>,
    tcp: BTreeSet<String>,
}

/// Takes a place on a relay, notes where it sees us, and leaves it.
async fn try_relay(
    net: &Net,
    server: &str,
    relay: RelayInfo,
    views: &mut Views,
) -> (Finding, Access) {
    net.set_relay(Some(relay)).await;
    let mut state = net.relay_state();
    let reserved = state.wait_for(|state| matches!(state, RelayState::Reserved { .. }));
    let reserved = timeout(RELAY, reserved)
        .await
        .is_ok_and(|state| state.is_ok());
    let mut outside = net.outside();
    // What is not said in time stays unknown.
    let _ = timeout(SEEN, outside.wait_for(|outside| !outside.seen.is_empty())).await;
    let outside = outside.borrow().clone();
    for seen in outside.seen.iter().map(Multiaddr::to_string) {
        if seen.contains("/udp/") {
            views.udp.insert(seen);
        } else if !seen.contains("/ws") {
            views.tcp.insert(seen);
        }
    }
    let finding = match &*net.relay_state().borrow() {
        RelayState::Reserved { .. } if reserved => {
            Finding::Good(format!("the relay of {server} takes you"))
        }
        RelayState::Lost { reason, .. } => {
            Finding::Bad(format!("the relay of {server} does not take you: {reason}"))
        }
        _ => Finding::Bad(format!(
            "the relay of {server} cannot be reached: its ports may be closed (presence.relay_port, TCP and UDP)"
        )),
    };
    // The next one must not be mistaken for this one.
    net.set_relay(None).await;
    let gone = state.wait_for(|state| *state == RelayState::Off);
    let _ = timeout(SEEN, gone).await;
    let mut unseen = net.outside();
    let _ = timeout(SEEN, unseen.wait_for(|outside| outside.seen.is_empty())).await;
    (finding, outside.access)
}
