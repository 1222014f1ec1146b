//! Peers on one LAN.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use sha2::{Digest, Sha256};

use crate::lab::Lab;
use crate::peer::Peer;

/// Long enough for a busy machine, short enough to fail.
const SOON: Duration = Duration::from_secs(10);
/// The default time to live is 20 s; the list may take a little longer.
const TTL: Duration = Duration::from_secs(30);
/// A polite end takes at most this long.
const LEAVE: Duration = Duration::from_secs(2);

fn three(lab: &Lab) -> Result<[Peer; 3]> {
    let mut peers = [1, 2, 3]
        .map(|number| {
            let host = lab.host(number)?;
            Peer::new(
                lab,
                &host,
                ["Ada", "Grace", "Hedy"][usize::from(number) - 1],
            )
        })
        .into_iter()
        .collect::<Result<Vec<_>>>()?;
    for peer in &mut peers {
        peer.start()?;
    }
    peers.try_into().ok().context("three peers")
}

pub(super) fn find_and_browse(lab: &Lab) -> Result<()> {
    let big: Vec<u8> = (0..64_u32 * 1024 * 1024 / 4)
        .flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes())
        .collect();
    let picture = fs::read(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../fixtures/peers/sample/avatar.png"
    ))?;
    let host = lab.host(1)?;
    let mut ada = Peer::new(lab, &host, "Ada")?;
    let mut grace = Peer::new(lab, &lab.host(2)?, "Grace")?;
    let mut hedy = Peer::new(lab, &lab.host(3)?, "Hedy")?;
    fs::write(grace.dir.join("avatar.png"), &picture)?;
    fs::write(grace.dir.join("site/big.bin"), &big)?;
    fs::write(grace.dir.join("site/picture.png"), &picture)?;
    for peer in [&mut ada, &mut grace, &mut hedy] {
        peer.start()?;
    }
    let ids = [ada.id()?, grace.id()?, hedy.id()?];
    for (me, peer) in [&ada, &grace, &hedy].into_iter().enumerate() {
        for (other, id) in ids.iter().enumerate().filter(|(other, _)| *other != me) {
            let row = peer.wait_here(id, SOON)?;
            ensure!(
                row["Content"] == ["Ada", "Grace", "Hedy"][other],
                "wrong name: {row}"
            );
        }
    }
    let grace_id = &ids[1];
    let avatar = ada.get(&format!("/api/avatar/peer/{grace_id}"))?;
    ensure!(
        avatar.body == picture,
        "the picture of Grace differs ({} bytes)",
        avatar.body.len()
    );
    let page = ada.visit(grace_id, "", &[])?;
    ensure!(
        page.status == 200 && page.text().contains("Hello from Grace"),
        "{}: {}",
        page.status,
        page.text()
    );
    ensure!(
        hedy.visit(grace_id, "picture.png", &[])?.body == picture,
        "the picture on the site differs"
    );
    let download = ada.visit(grace_id, "big.bin", &[])?;
    ensure!(
        Sha256::digest(&download.body) == Sha256::digest(&big),
        "64 MB differ ({} bytes came)",
        download.body.len()
    );
    let range = ada.visit(grace_id, "big.bin", &["-H", "Range: bytes=1000-1999"])?;
    ensure!(
        range.status == 206 && range.body == big[1000..2000],
        "a range: {} with {} bytes",
        range.status,
        range.body.len()
    );
    ensure!(
        ada.visit(grace_id, "none.html", &[])?.status == 404,
        "a missing file"
    );
    ensure!(
        ada.visit(grace_id, "lua/x.lua", &[])?.status == 403,
        "a script"
    );
    Ok(())
}

pub(super) fn leaving(lab: &Lab) -> Result<()> {
    let [ada, mut grace, mut hedy] = three(lab)?;
    let (grace_id, hedy_id) = (grace.id()?, hedy.id()?);
    ada.wait_here(&grace_id, SOON)?;
    ada.wait_here(&hedy_id, SOON)?;
    let (status, took) = grace.end("INT", LEAVE)?;
    ensure!(status.success(), "a polite end gave {status}");
    ada.wait_row(
        "a polite leave is seen",
        &grace_id,
        Duration::from_secs(2),
        |row| row["Offline"] == true,
    )
    .with_context(|| format!("it took {took:?} to leave"))?;
    ensure!(
        ada.visit(&grace_id, "", &[])?.status == 502,
        "the site of somebody who left"
    );
    hedy.end("KILL", LEAVE)?;
    ada.wait_row("a killed peer is unreachable", &hedy_id, TTL, |row| {
        row["Reachable"] == false
    })?;
    ada.wait_row("a killed peer is offline", &hedy_id, TTL, |row| {
        row["Offline"] == true
    })?;
    hedy.start()?;
    ada.wait_here(&hedy_id, SOON)?;
    Ok(())
}

pub(super) fn favorites_survive(lab: &Lab) -> Result<()> {
    let [mut ada, grace, _hedy] = three(lab)?;
    let grace_id = grace.id()?;
    ada.wait_here(&grace_id, SOON)?;
    let saved = ada.post(
        "/api/peers/favorite",
        &format!("{{\"peer_id\":\"{grace_id}\",\"favorite\":true}}"),
    )?;
    ensure!(saved.status == 200, "{}", saved.text());
    ada.end("KILL", LEAVE)?;
    drop(grace);
    ada.start()?;
    let row = ada
        .row(&grace_id)?
        .context("the favourite is not listed after kill -9")?;
    ensure!(
        row["Favorite"] == true && row["Content"] == "Grace",
        "{row}"
    );
    Ok(())
}

pub(super) fn rename(lab: &Lab) -> Result<()> {
    let [ada, grace, _hedy] = three(lab)?;
    let grace_id = grace.id()?;
    ada.wait_here(&grace_id, SOON)?;
    ensure!(
        grace
            .post("/api/settings/quick", "{\"label\":\"Admiral\"}")?
            .status
            == 200,
        "the name could not be changed"
    );
    ada.wait_row(
        "the new name is heard",
        &grace_id,
        Duration::from_secs(3),
        |row| row["Content"] == "Admiral",
    )?;
    Ok(())
}
