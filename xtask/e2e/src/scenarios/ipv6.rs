//! Homes with IPv6: nothing is translated, and every router lets in only what was asked for.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::nat_matrix::{self, KNOWN, PAGE, Pair};
use crate::figures::Path;
use crate::lab::{Home, Internet, Lab, Nat, wait};
use crate::peer::{Peer, tail};
use crate::rendezvous::{PORT, Rendezvous};

/// As for every other pair (`nat_matrix`).
const PATH: Duration = Duration::from_secs(40);

/// Both have routers that nobody gets through over IPv4; over IPv6 they meet directly, because both knock at once.
pub(super) fn firewalls(lab: &Lab) -> Result<()> {
    let net = Internet::new(lab)?;
    let (host, address) = net.server(1)?;
    let rendezvous = Rendezvous::start(lab, &host, address)?;
    let homes = [net.home(1, Nat::Symmetric)?, net.home(2, Nat::Symmetric)?];
    for home in &homes {
        net.home6(home)?;
    }
    let pair = Pair::start(lab, &rendezvous, &homes)?;
    meet(&pair, Path::Direct).with_context(|| logs(&pair, &rendezvous))
}

/// One has nothing but IPv6, the other nothing but IPv4: the relay has both.
pub(super) fn one_side_only(lab: &Lab) -> Result<()> {
    let net = Internet::new(lab)?;
    let (host, address) = net.server(1)?;
    let six = net.server6(1, &host)?;
    let rendezvous = Rendezvous::of_both_families(lab, &host, address)?;
    let homes = [
        net.home(1, Nat::PortRestricted)?,
        net.home(2, Nat::PortRestricted)?,
    ];
    net.home6(&homes[0])?;
    homes[0].only_ipv6()?;
    let peer = |home: &Home, name: &str, url: String| {
        let presence = serde_json::json!({ "rendezvous_wan": url });
        Peer::with(lab, &home.host, name, &presence)
    };
    let pair = Pair::of(
        peer(&homes[0], "Ada", format!("http://[{six}]:{PORT}"))?,
        peer(&homes[1], "Grace", rendezvous.url(Nat::PortRestricted))?,
    )?;
    meet(&pair, Path::Relay).with_context(|| logs(&pair, &rendezvous))
}

fn meet(pair: &Pair, best: Path) -> Result<()> {
    pair.known(KNOWN)?;
    pair.pages(Instant::now(), PAGE)?;
    for (peer, id, name) in pair.sides() {
        wait(&format!("the path to {name} is {best:?}"), PATH, || {
            let path = nat_matrix::path(peer, id)?;
            ensure!(path == Some(best), "it is {path:?}");
            Ok(Some(()))
        })?;
    }
    Ok(())
}

fn logs(pair: &Pair, rendezvous: &Rendezvous) -> String {
    format!(
        "Ada:\n{}\nGrace:\n{}\nserver:\n{}",
        tail(&pair.ada.log()),
        tail(&pair.grace.log()),
        tail(&rendezvous.log())
    )
}
