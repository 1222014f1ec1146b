//! What `goop2 doctor` says of the network beyond the own one, behind real routers.

use anyhow::{Context, Result, ensure};
use serde_json::json;

use super::nat_matrix::{KNOWN, PAGE, Pair};
use crate::lab::{Home, Internet, Lab, Nat};
use crate::peer::Peer;
use crate::rendezvous::{PORT, Proxy, RELAY, Rendezvous};

/// What it prints for a folder.
pub(super) fn says(lab: &Lab, peer: &Peer) -> Result<String> {
    let mut command = peer.host.command(lab.bin("goop2"));
    command.arg("doctor").arg(&peer.dir);
    if let Some(trust) = &peer.trust {
        command.env("SSL_CERT_FILE", trust);
    }
    let output = command.output().context("goop2 could not be started")?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn check(said: &str, wanted: &[&str]) -> Result<()> {
    for words in wanted {
        ensure!(said.contains(words), "not said: {words}\n{said}");
    }
    Ok(())
}

/// A peer that does not run: the doctor goes to the server and its relay itself.
pub(super) fn access(lab: &Lab) -> Result<()> {
    let net = Internet::new(lab)?;
    let (host, address) = net.server(1)?;
    let server = Rendezvous::start(lab, &host, address)?;
    let (other_host, other_address) = net.server(2)?;
    let other = Rendezvous::behind(lab, &other_host, other_address, Proxy::Nothing)?;
    let kinds = [
        (Nat::None, "an address of its own on the internet"),
        (Nat::PortRestricted, "A router stands between"),
        (Nat::Symmetric, "another outside port for each connection"),
        (Nat::UdpBlocked, "UDP does not get through"),
        (Nat::HttpsOnly, "Only HTTPS gets out"),
    ];
    for (number, (nat, words)) in (1..).zip(kinds) {
        let home = net.home(number, nat)?;
        let peer = folder(lab, &home, &server, &other)?;
        let said = says(lab, &peer)?;
        let answers = format!("the rendezvous server {} answers", server.url(nat));
        let takes = format!("the relay of {} takes you", server.url(nat));
        check(&said, &[words, &answers, &takes]).with_context(|| nat.to_string())?;
    }
    Ok(())
}

fn folder(lab: &Lab, home: &Home, server: &Rendezvous, other: &Rendezvous) -> Result<Peer> {
    let more = match home.nat() {
        // Nothing but HTTPS: the other one cannot be reached from there.
        Nat::HttpsOnly => String::new(),
        nat => other.url(nat),
    };
    let presence = json!({
        "rendezvous_wan": server.url(home.nat()),
        "rendezvous_more": more,
    });
    let mut peer = Peer::with(lab, &home.host, &format!("peer {}", home.nat()), &presence)?;
    peer.trust = Some(server.certificate().to_owned());
    Ok(peer)
}

/// The folder of a server alone: while it runs behind its proxy, and when it does not.
pub(super) fn of_a_server(lab: &Lab) -> Result<()> {
    let net = Internet::new(lab)?;
    let (host, address) = net.server(1)?;
    let mut server = Rendezvous::start(lab, &host, address)?;
    let name = format!("{} leads to a rendezvous server", server.secure_url());
    let answers = format!("the server answers at http://127.0.0.1:{PORT}, and its relay runs");
    check(
        &server.doctor()?,
        &[&name, &answers, "the relay's id is 12D3KooW"],
    )?;
    server.kill()?;
    let free = [
        format!("0.0.0.0:{PORT} is free"),
        format!("port {RELAY} of the relay, TCP and UDP, is free"),
    ];
    check(&server.doctor()?, &free.each_ref().map(String::as_str))
}

/// A peer that runs is asked, also about whom it reaches; a server that is gone is said.
pub(super) fn running(lab: &Lab) -> Result<()> {
    let net = Internet::new(lab)?;
    let (host, address) = net.server(1)?;
    let mut server = Rendezvous::behind(lab, &host, address, Proxy::Nothing)?;
    let homes = [net.home(1, Nat::Symmetric)?, net.home(2, Nat::Symmetric)?];
    let pair = Pair::start(lab, &server, &homes)?;
    pair.known(KNOWN)?;
    pair.pages(std::time::Instant::now(), PAGE)?;
    let url = server.url(Nat::Symmetric);
    check(
        &says(lab, &pair.ada)?,
        &[
            &format!("connected to the rendezvous server {url}"),
            "others can reach you through the relay",
            "connected through the relay, which is slower: Grace",
        ],
    )?;
    server.kill()?;
    crate::lab::wait("the loss is said", KNOWN, || {
        check(
            &says(lab, &pair.ada)?,
            &[&format!("the rendezvous server {url} does not answer")],
        )
        .map(Some)
    })
}
