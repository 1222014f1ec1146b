//! What others get when a person publishes the own site: the site, and nothing else.

use std::fs;
use std::time::Duration;

use anyhow::{Result, ensure};

use crate::lab::{Host, Lab, wait};
use crate::peer::{Peer, curl};

/// Paths of the control origin; a stranger must not get any of them.
const CONTROL: [&str; 17] = [
    "/peers",
    "/self",
    "/logs",
    "/view",
    "/start?token=x",
    "/api/peers",
    "/api/logs",
    "/api/logs/stream",
    "/api/topology",
    "/api/session",
    "/api/settings/quick/get",
    "/api/mq/events",
    "/api/openapi.json",
    "/metrics",
    "/healthz",
    "/assets/js/app.js",
    "/api/peers/probe",
];

fn published(lab: &Lab, host: &Host, addr: &str) -> Result<Peer> {
    let mut ada = Peer::new(lab, host, "Ada")?;
    fs::write(
        ada.dir.join("goop.json"),
        format!("{{\"profile\":{{\"label\":\"Ada\"}},\"viewer\":{{\"http_addr\":\"{addr}\"}}}}"),
    )?;
    fs::create_dir_all(ada.dir.join("site/lua"))?;
    fs::write(ada.dir.join("site/lua/secret.lua"), "-- secret")?;
    fs::write(ada.dir.join("site/.hidden"), "secret")?;
    ada.start()?;
    Ok(ada)
}

/// A stranger at `base` gets Ada's site and nothing else. `extra` are the headers the stranger sends.
fn check(stranger: &Host, base: &str, ada: &Peer, token: &str, extra: &[&str]) -> Result<()> {
    let id = ada.id()?;
    let ask = |path: &str, more: &[&str]| {
        let url = format!("{base}{path}");
        curl(
            stranger,
            &extra
                .iter()
                .chain(more)
                .copied()
                .chain([url.as_str()])
                .collect::<Vec<_>>(),
        )
    };
    let page = ask(&format!("/p/{id}/"), &[])?;
    ensure!(
        page.status == 200 && page.text().contains("Hello from Ada"),
        "the own site: {} {}",
        page.status,
        page.text()
    );
    ensure!(
        ask("/", &[])?.status == 302,
        "the bare address leads to the site"
    );
    let me = ask("/api/self", &[])?.json()?;
    ensure!(
        me["id"]
            .as_str()
            .is_some_and(|guest| guest.starts_with("guest-")),
        "a stranger is told to be {me}"
    );
    let auth = format!("Authorization: Bearer {token}");
    for path in CONTROL {
        for more in [&[][..], &["-H", &auth][..], &["-X", "POST", "-d", "{}"][..]] {
            let answer = ask(path, more)?;
            ensure!(
                answer.status == 404,
                "{path} {more:?} answered {}: {}",
                answer.status,
                answer.text()
            );
        }
    }
    for hidden in [
        "lua/secret.lua",
        ".hidden",
        "../goop.json",
        "%2e%2e/goop.json",
        "..%2fgoop.json",
        "LUA/secret.lua",
    ] {
        let answer = ask(&format!("/p/{id}/{hidden}"), &["--path-as-is"])?;
        ensure!(
            answer.status >= 400 && !answer.text().contains("secret"),
            "{hidden} answered {}",
            answer.status
        );
    }
    let other = "12D3KooWJWoaqZhDaoEFshF7Rh1bpY9ohihFhzcW6d69Lr2NASuq";
    ensure!(
        ask(&format!("/p/{other}/"), &[])?.status == 404,
        "a neighbour's site through our peer"
    );
    Ok(())
}

pub(super) fn public_listener(lab: &Lab) -> Result<()> {
    let host = lab.host(1)?;
    let stranger = lab.host(2)?;
    let ada = published(lab, &host, "0.0.0.0:8090")?;
    let token = ada.token()?;
    check(&stranger, "http://10.55.0.1:8090", &ada, &token, &[])?;
    // The same socket over the loopback is no control origin either.
    check(&host, "http://127.0.0.1:8090", &ada, &token, &[])?;
    ensure!(
        ada.get("/api/peers")?.status == 200,
        "the owner's own origin"
    );
    let origin = ada.origin()?;
    let port = origin.rsplit(':').next().unwrap_or_default();
    ensure!(
        curl(&stranger, &[&format!("http://10.55.0.1:{port}/healthz")]).is_err(),
        "control can be reached from outside"
    );
    Ok(())
}

pub(super) fn behind_nginx(lab: &Lab) -> Result<()> {
    let host = lab.host(1)?;
    let stranger = lab.host(2)?;
    let ada = published(lab, &host, "")?;
    let origin = ada.origin()?;
    let folder = lab.folder().join("nginx");
    fs::create_dir_all(&folder)?;
    let at = folder.display();
    let config = format!(
        "daemon off; user root; pid {at}/pid; error_log {at}/error.log; events {{}}\n\
         http {{ access_log off; client_body_temp_path {at}; proxy_temp_path {at}; fastcgi_temp_path {at}; uwsgi_temp_path {at}; \
         scgi_temp_path {at};\n\
         server {{ listen 8091; location / {{ proxy_pass {origin}; proxy_set_header X-Forwarded-For $remote_addr; \
         proxy_set_header Host $host; }} }} }}\n"
    );
    fs::write(folder.join("nginx.conf"), config)?;
    let mut nginx = host
        .command("nginx")
        .arg("-c")
        .arg(folder.join("nginx.conf"))
        .arg("-p")
        .arg(&folder)
        .spawn()?;
    let checked = wait("nginx answers", Duration::from_secs(10), || {
        Ok(curl(&stranger, &["http://10.55.0.1:8091/"])
            .ok()
            .filter(|answer| answer.status != 502))
    })
    .and_then(|_| check(&stranger, "http://10.55.0.1:8091", &ada, &ada.token()?, &[]));
    nginx.kill()?;
    nginx.wait()?;
    checked
}
