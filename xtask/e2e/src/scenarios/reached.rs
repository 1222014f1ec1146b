//! Peers ask each other whether strangers reach them: who has an address of its own is told so, and who sits behind a router
//! that lets in only whom it talked to is told that, too.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use super::doctor;
use super::nat_matrix::KNOWN;
use crate::lab::{Internet, Lab, Nat, wait};
use crate::peer::{Peer, tail};
use crate::rendezvous::Rendezvous;

/// Both questions have to wait for the other peers, and two others have to try a router that says nothing, 10 s each.
const ASKED: Duration = Duration::from_secs(90);

pub(super) fn told(lab: &Lab) -> Result<()> {
    let net = Internet::new(lab)?;
    let (host, address) = net.server(1)?;
    let rendezvous = Rendezvous::start(lab, &host, address)?;
    let mut peers = Vec::new();
    for (number, name) in (1..).zip(["Ada", "Bob", "Carol", "Grace"]) {
        let nat = match name {
            "Grace" => Nat::PortRestricted,
            _ => Nat::None,
        };
        let home = net.home(number, nat)?;
        let presence = json!({ "rendezvous_wan": rendezvous.url(nat) });
        let mut peer = Peer::with(lab, &home.host, name, &presence)?;
        peer.spawn()?;
        peers.push((peer, home));
    }
    for (peer, _) in &mut peers {
        peer.started()?;
    }
    let asked = asked(lab, &peers.iter().map(|(peer, _)| peer).collect::<Vec<_>>());
    let public = peers[3].1.public().to_string();
    asked
        .and_then(|refuted| {
            ensure!(
                refuted.iter().all(|addr| addr.contains(&public)),
                "{refuted:?} is not at {public}"
            );
            Ok(())
        })
        .with_context(|| {
            let logs = peers.iter().map(|(peer, _)| tail(&peer.log()));
            logs.collect::<Vec<_>>().join("\n----\n")
        })
}

/// Gives where nobody reaches Grace.
fn asked(lab: &Lab, peers: &[&Peer]) -> Result<Vec<String>> {
    let [ada, _, _, grace] = peers else {
        anyhow::bail!("four peers")
    };
    for peer in [ada, grace] {
        for other in peers {
            let id = other.id()?;
            if id != peer.id()? {
                peer.wait_row("a peer is known", &id, KNOWN, |row| row["Offline"] == false)?;
            }
        }
    }
    wait("strangers reach Ada", ASKED, || {
        let outside = outside(ada)?;
        ensure!(
            outside["access"] == "open" && !addrs(&outside, "confirmed").is_empty(),
            "{outside}"
        );
        Ok(Some(()))
    })?;
    let refuted = wait("strangers do not reach Grace", ASKED, || {
        let outside = outside(grace)?;
        let refuted = addrs(&outside, "refuted");
        ensure!(
            outside["access"] == "router" && !refuted.is_empty(),
            "{outside}"
        );
        Ok(Some(refuted))
    })?;
    let confirmed = addrs(&outside(grace)?, "confirmed");
    ensure!(confirmed.is_empty(), "{confirmed:?} is reached");
    let (of_ada, of_grace) = (doctor::says(lab, ada)?, doctor::says(lab, grace)?);
    ensure!(
        of_ada.contains("other peers tried and reached you at"),
        "{of_ada}"
    );
    ensure!(
        of_grace.contains("other peers tried and did not reach you at"),
        "{of_grace}"
    );
    Ok(refuted)
}

fn outside(peer: &Peer) -> Result<Value> {
    Ok(peer.get("/api/network")?.json()?["outside"].clone())
}

fn addrs(outside: &Value, which: &str) -> Vec<String> {
    let addrs = outside[which].as_array().into_iter().flatten();
    addrs
        .filter_map(|addr| addr.as_str().map(str::to_owned))
        .collect()
}
