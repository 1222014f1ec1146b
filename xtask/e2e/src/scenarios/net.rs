//! Networks that change, or are not there.

use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::json;

use crate::lab::{Internet, Lab, Nat, ip, wait};
use crate::peer::Peer;

const SOON: Duration = Duration::from_secs(15);
const LATER: Duration = Duration::from_secs(45);

pub(super) fn new_addresses(lab: &Lab) -> Result<()> {
    let moving = lab.host(2)?;
    let mut ada = Peer::new(lab, &lab.host(1)?, "Ada")?;
    let mut grace = Peer::new(lab, &moving, "Grace")?;
    ada.start()?;
    grace.start()?;
    let id = grace.id()?;
    ada.wait_here(&id, SOON)?;
    grace.end("KILL", SOON)?;
    moving.set_address("10.55.0.77")?;
    grace.start()?;
    ada.wait_row(
        "the peer is reachable at its new address",
        &id,
        SOON,
        |row| row["Reachable"] == true && row["Offline"] == false,
    )?;
    let page = wait("its site opens", SOON, || {
        Ok(Some(ada.visit(&id, "", &[])?).filter(|answer| answer.status == 200))
    })?;
    ensure!(page.text().contains("Hello from Grace"), "{}", page.text());
    Ok(())
}

pub(super) fn cable(lab: &Lab) -> Result<()> {
    let moving = lab.host(2)?;
    let mut ada = Peer::new(lab, &lab.host(1)?, "Ada")?;
    let mut grace = Peer::new(lab, &moving, "Grace")?;
    ada.start()?;
    grace.start()?;
    let id = grace.id()?;
    ada.wait_here(&id, SOON)?;
    moving.unplug()?;
    ada.wait_row("a pulled cable shows", &id, LATER, |row| {
        row["Offline"] == true
    })?;
    moving.plug()?;
    moving.set_address("10.55.0.99")?;
    ada.wait_row("it is back with the cable", &id, LATER, |row| {
        row["Reachable"] == true && row["Offline"] == false
    })?;
    ensure!(
        ada.visit(&id, "", &[])?.status == 200,
        "its site does not open"
    );
    Ok(())
}

pub(super) fn lonely(lab: &Lab) -> Result<()> {
    let mut ada = Peer::new(lab, &lab.lonely_host(1)?, "Ada")?;
    ada.start()?;
    let id = ada.id()?;
    ensure!(
        ada.visit(&id, "", &[])?.status == 200,
        "the own site does not open without a network"
    );
    let (status, _) = ada.end("INT", Duration::from_secs(2))?;
    ensure!(status.success(), "{status}");
    Ok(())
}

pub(super) fn only_v6(lab: &Lab) -> Result<()> {
    let hosts = [lab.host(1)?, lab.host(2)?];
    for (number, _) in hosts.iter().enumerate() {
        ip(&format!(
            "-n h{} addr flush dev eth0 scope global",
            number + 1
        ))?;
        ip(&format!(
            "-n h{0} addr add fd00:55::{0}/64 dev eth0 nodad",
            number + 1
        ))?;
    }
    let mut ada = Peer::new(lab, &hosts[0], "Ada")?;
    let mut grace = Peer::new(lab, &hosts[1], "Grace")?;
    ada.start()?;
    grace.start()?;
    let id = grace.id()?;
    ada.wait_here(&id, SOON)?;
    ensure!(
        ada.visit(&id, "", &[])?.status == 200,
        "its site does not open"
    );
    Ok(())
}

/// One peer on a public host runs the rendezvous server beside itself; one at home knows its address only.
pub(super) fn hosting(lab: &Lab) -> Result<()> {
    let net = Internet::new(lab)?;
    let (host, address) = net.server(1)?;
    let home = net.home(1, Nat::Symmetric)?;
    let mut ada = Peer::with(
        lab,
        &host,
        "Ada",
        &json!({"rendezvous_host": true, "rendezvous_bind": "0.0.0.0", "relay_port": 4001}),
    )?;
    let mut grace = Peer::with(
        lab,
        &home.host,
        "Grace",
        &json!({"rendezvous_wan": format!("http://{address}:8787")}),
    )?;
    ada.start()?;
    grace.start()?;
    let ids = [ada.id()?, grace.id()?];
    for (peer, id, name) in [(&ada, &ids[1], "Grace"), (&grace, &ids[0], "Ada")] {
        peer.wait_here(id, LATER)?;
        let page = wait("its site opens", LATER, || {
            Ok(Some(peer.visit(id, "", &[])?).filter(|answer| answer.status == 200))
        })?;
        ensure!(page.text().contains(&format!("Hello from {name}")));
    }
    let (status, _) = ada.end("INT", SOON)?;
    ensure!(status.success(), "{status}");
    grace.wait_row("its polite leave shows", &ids[0], SOON, |row| {
        row["Offline"] == true
    })?;
    Ok(())
}
