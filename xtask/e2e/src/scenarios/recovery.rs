//! What is lost and comes back without a person: the rendezvous server with its relay, one of two servers, a peer's line.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::json;

use super::nat_matrix::{KNOWN, PAGE, Pair};
use crate::lab::{Internet, Lab, Nat, wait};
use crate::peer::{Peer, tail};
use crate::rendezvous::{Proxy, Rendezvous};

/// A client of a server that ended knows at once; a silent one is given up after 15 s (rendezvous.md 18.5).
const NOTICED: Duration = Duration::from_secs(20);
/// Everybody is back so soon after a server that was started again (the reach of issue 5), or by another one.
const BACK: Duration = Duration::from_secs(20);
/// A peer that vanished is away after its time to live of 20 s, checked each second; the server waits 30 s.
const AWAY: Duration = Duration::from_secs(45);
/// After a line came back: the longest pause of a client and of the relay plan is 30 s with 30 % jitter, then there is the
/// way through the relay (network.md 9.5).
const LINE_BACK: Duration = Duration::from_secs(60);

/// The server is killed with its relay and started again: peers that need the relay, and peers that do not.
pub(super) fn server_killed(lab: &Lab) -> Result<()> {
    let net = Internet::new(lab)?;
    let (host, address) = net.server(1)?;
    let mut server = Rendezvous::behind(lab, &host, address, Proxy::Nothing)?;
    let homes = [net.home(1, Nat::Symmetric)?, net.home(2, Nat::Symmetric)?];
    let pair = Pair::start(lab, &server, &homes)?;
    pair.known(KNOWN)?;
    pair.pages(Instant::now(), PAGE)?;
    server.kill()?;
    for (peer, _, _) in pair.sides() {
        wait_contact(peer, &server.url(Nat::Symmetric), false)?;
    }
    server.run()?;
    let back = back(&pair, BACK);
    back.with_context(|| logs(&pair))
}

/// Two servers, each with a relay; one is killed, comes back, and the other one is killed.
pub(super) fn one_of_two(lab: &Lab) -> Result<()> {
    let net = Internet::new(lab)?;
    let mut servers = Vec::new();
    for number in [1, 2] {
        let (host, address) = net.server(number)?;
        servers.push(Rendezvous::behind(lab, &host, address, Proxy::Nothing)?);
    }
    let urls = [0, 1].map(|at| servers[at].url(Nat::Symmetric));
    let presence = json!({ "rendezvous_wan": urls[0], "rendezvous_more": urls[1] });
    let homes = [net.home(1, Nat::Symmetric)?, net.home(2, Nat::Symmetric)?];
    let pair = Pair::of(
        Peer::with(lab, &homes[0].host, "Ada", &presence)?,
        Peer::with(lab, &homes[1].host, "Grace", &presence)?,
    )?;
    pair.known(KNOWN)?;
    pair.pages(Instant::now(), PAGE)?;
    for gone in [0, 1] {
        for (peer, _, _) in pair.sides() {
            wait_contact(peer, &urls[1 - gone], true)?;
        }
        servers[gone].kill()?;
        let back = back(&pair, BACK);
        back.with_context(|| logs(&pair))?;
        servers[gone].run()?;
        for (peer, _, _) in pair.sides() {
            // The longest pause of a client is 30 s with 30 % jitter.
            wait_contact(peer, &urls[gone], true)?;
        }
    }
    Ok(())
}

/// A peer's line to the internet is dead for a while; its own network shows nothing of that.
pub(super) fn line(lab: &Lab) -> Result<()> {
    let net = Internet::new(lab)?;
    let (host, address) = net.server(1)?;
    let server = Rendezvous::behind(lab, &host, address, Proxy::Nothing)?;
    let homes = [
        net.home(1, Nat::PortRestricted)?,
        net.home(2, Nat::PortRestricted)?,
    ];
    let pair = Pair::start(lab, &server, &homes)?;
    pair.known(KNOWN)?;
    pair.pages(Instant::now(), PAGE)?;
    homes[0].set_line(false)?;
    for (peer, id, name) in pair.sides() {
        peer.wait_row(&format!("{name} is away"), id, AWAY, |row| {
            row["Offline"] == true
        })?;
    }
    homes[0].set_line(true)?;
    let back = back(&pair, LINE_BACK);
    back.with_context(|| logs(&pair))
}

/// Both are here for each other, and each opens the other's page.
fn back(pair: &Pair, within: Duration) -> Result<()> {
    let start = Instant::now();
    let pages = pair.pages(start, within)?;
    pair.known(within.saturating_sub(pages))?;
    let took = start.elapsed();
    ensure!(took <= within, "it took {took:?}");
    println!(
        "        {:>6.1} s  until both were back",
        took.as_secs_f64()
    );
    Ok(())
}

/// Waits until a peer says that a server is there, or is not.
fn wait_contact(peer: &Peer, url: &str, there: bool) -> Result<()> {
    let within = match there {
        true => LINE_BACK,
        false => NOTICED,
    };
    wait(&format!("contact with {url}: {there}"), within, || {
        let health = peer.get("/api/services/health")?.json()?;
        let servers = health["rendezvous"].as_array().context("no servers")?;
        let server = servers.iter().find(|server| server["url"] == url);
        Ok(server
            .is_some_and(|server| server["ws_connected"] == there)
            .then_some(()))
    })
    .with_context(|| tail(&peer.log()))
}

fn logs(pair: &Pair) -> String {
    format!(
        "Ada:\n{}\nGrace:\n{}",
        tail(&pair.ada.log()),
        tail(&pair.grace.log())
    )
}
