//! A folder that runs a rendezvous server and nothing else, in words: its settings, its ports or the running server, its relay,
//! and whether its public name leads to it.

use std::net::{IpAddr, SocketAddr, TcpListener, UdpSocket};
use std::path::Path;

use goop_identity::config::{self, Config};
use goop_identity::folder::CONFIG_FILE;
use goop_identity::key;
use goop_rendezvous::{Settings, local_url};

use super::beyond::relay_of;
use super::{Finding, Now};

pub(super) async fn look(dir: &Path, config: &Config, now: Now, findings: &mut Vec<Finding>) {
    let settings = std::fs::read(dir.join(CONFIG_FILE))
        .map_err(|error| error.to_string())
        .and_then(|bytes| config::decode(&bytes))
        .and_then(|(config, document)| {
            Settings::of(&config, &document, dir).map_err(|error| error.to_string())
        });
    let settings = match settings {
        Ok(settings) => settings,
        Err(problem) => return findings.push(Finding::Bad(problem)),
    };
    match now {
        Now::Running => look_at_running(&settings, findings).await,
        Now::Resting | Now::Unusable => look_at_ports(&settings, config, findings),
    }
    look_at_relay(&settings, findings);
    look_at_name(&settings, now, findings).await;
    if settings.admin_password.is_none() {
        findings.push(Finding::Note(
            "there are no admin pages: presence.admin_password is empty".to_owned(),
        ));
    }
    if settings.peer_db.is_none() {
        findings.push(Finding::Note(
            "after a restart the server knows nobody until they come back, which takes seconds \
             (presence.peer_db_path keeps them)"
                .to_owned(),
        ));
    }
}

async fn look_at_running(settings: &Settings, findings: &mut Vec<Finding>) {
    let here = local_url(settings.listen);
    findings.push(match relay_of(&here).await {
        Err(problem) => Finding::Bad(format!(
            "the server does not answer at {here}: {problem}. If its settings were changed, restart it"
        )),
        Ok(None) if settings.relay.is_some() => Finding::Bad(format!(
            "the server answers at {here}, and no relay runs: restart it"
        )),
        Ok(None) => Finding::Good(format!("the server answers at {here}")),
        Ok(Some(_)) => Finding::Good(format!("the server answers at {here}, and its relay runs")),
    });
}

fn look_at_ports(settings: &Settings, config: &Config, findings: &mut Vec<Finding>) {
    let mut check = |what: &str, key: &str, bound: std::io::Result<()>| {
        findings.push(match bound {
            Ok(()) => Finding::Good(format!("{what} is free")),
            Err(error) => Finding::Bad(format!("{what} ({key}) cannot be used: {error}")),
        });
    };
    let tcp = |addr: SocketAddr| TcpListener::bind(addr).map(drop);
    let listen = settings.listen;
    check(
        &format!("{listen}"),
        "presence.rendezvous_port",
        tcp(listen),
    );
    if let Some(relay) = &settings.relay {
        let any = SocketAddr::from(([0, 0, 0, 0], relay.port));
        let both = tcp(any).and_then(|()| UdpSocket::bind(any).map(drop));
        check(
            &format!("port {} of the relay, TCP and UDP,", relay.port),
            "presence.relay_port",
            both,
        );
        if let Some(port) = relay.ws_port {
            check(
                &format!("port {port} of the relay for WebSockets"),
                "presence.relay_ws_port",
                tcp(SocketAddr::from(([127, 0, 0, 1], port))),
            );
        }
    }
    let pages = config.viewer.http_addr.trim();
    let port = pages.rsplit(':').next().and_then(|port| port.parse().ok());
    match (pages, port) {
        ("", _) => findings.push(Finding::Note(
            "its owner has no pages: viewer.http_addr is empty".to_owned(),
        )),
        (_, Some(port)) => check(
            &format!("port {port} for the owner's pages"),
            "viewer.http_addr",
            tcp(SocketAddr::from(([127, 0, 0, 1], port))),
        ),
        (pages, None) => findings.push(Finding::Bad(format!(
            "viewer.http_addr {pages:?} is not an address like 127.0.0.1:8080 or :8080"
        ))),
    }
}

fn look_at_relay(settings: &Settings, findings: &mut Vec<Finding>) {
    let Some(relay) = &settings.relay else {
        return findings.push(Finding::Note(
            "no relay: peers behind routers that let nobody in cannot be reached (set presence.relay_port, for example to \
             4001, and open it for TCP and UDP)"
                .to_owned(),
        ));
    };
    let file = relay.key_file.display();
    findings.push(match std::fs::read(&relay.key_file) {
        Ok(bytes) => match key::decode(&bytes) {
            Ok(key) => Finding::Good(format!("the relay's id is {}", key.public().to_peer_id())),
            Err(error) => Finding::Bad(format!("{file}: {error}")),
        },
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            Finding::Note("the relay has no key yet; the first start makes one".to_owned())
        }
        Err(error) => Finding::Bad(format!("the relay's key {file} cannot be read: {error}")),
    });
}

/// Where others find the server.
async fn look_at_name(settings: &Settings, now: Now, findings: &mut Vec<Finding>) {
    let Some(_) = &settings.external_url else {
        let ip = settings.listen.ip();
        findings.push(if ip.is_loopback() {
            Finding::Bad(format!(
                "only this machine reaches the server at {ip}: put a proxy with a certificate before it and set \
                 presence.external_url to its address, or set presence.rendezvous_bind to 0.0.0.0"
            ))
        } else if is_private(ip) {
            Finding::Note(format!(
                "peers on the network of {ip} reach the server; for the internet set presence.external_url"
            ))
        } else {
            Finding::Note(
                "presence.external_url is empty, so the relay does not know its public address".to_owned(),
            )
        });
        return;
    };
    let url = settings.own_url();
    if now != Now::Running {
        return;
    }
    let (there, here) = (
        relay_of(&url).await,
        relay_of(&local_url(settings.listen)).await,
    );
    let id = |relay: Option<goop_net::relay::RelayInfo>| relay.map(|relay| relay.peer);
    findings.push(match (there.map(id), here.map(id)) {
        (Err(problem), _) => Finding::Bad(format!(
            "{url} (presence.external_url) does not lead to a rendezvous server, seen from here: {problem}"
        )),
        (Ok(there), Ok(here)) if there != here => Finding::Bad(format!(
            "{url} (presence.external_url) leads to another server"
        )),
        (Ok(_), _) => Finding::Good(format!("{url} leads to a rendezvous server")),
    });
}

fn is_private(ip: IpAddr) -> bool {
    matches!(ip, IpAddr::V4(ip) if ip.is_private() || ip.is_link_local())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn said(config: &str, now: Now, folder: &Path) -> String {
        std::fs::write(folder.join(CONFIG_FILE), config).unwrap();
        let (config, _) = config::decode(config.as_bytes()).unwrap();
        let mut findings = Vec::new();
        let runtime = super::super::runtime().unwrap();
        runtime.block_on(look(folder, &config, now, &mut findings));
        let lines = findings.iter().map(|finding| match finding {
            Finding::Good(text) => format!("ok {text}\n"),
            Finding::Note(text) => format!("note {text}\n"),
            Finding::Bad(text) => format!("BAD {text}\n"),
        });
        lines.collect()
    }

    #[test]
    fn a_resting_server_is_told_about_its_ports_and_its_key() {
        let dir = tempfile::tempdir().unwrap();
        let busy = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = busy.local_addr().unwrap().port();
        let config = format!(
            "{{\"presence\":{{\"rendezvous_port\":{port},\"relay_port\":{port}}},\"viewer\":{{\"http_addr\":\":{port}\"}}}}"
        );
        std::fs::create_dir(dir.path().join("data")).unwrap();
        std::fs::write(dir.path().join("data/relay.key"), "damaged").unwrap();
        let text = said(&config, Now::Resting, dir.path());
        for key in [
            "presence.rendezvous_port",
            "presence.relay_port",
            "viewer.http_addr",
        ] {
            let line = text.lines().find(|line| line.contains(key));
            assert!(line.unwrap().starts_with("BAD"), "{key}: {text}");
        }
        assert!(text.contains("BAD") && text.contains("relay.key"), "{text}");
        assert!(text.contains("only this machine reaches"), "{text}");
        drop(busy);
        let config = format!("{{\"presence\":{{\"rendezvous_port\":{port}}}}}");
        let text = said(&config, Now::Resting, dir.path());
        assert!(
            text.contains(&format!("ok 127.0.0.1:{port} is free")),
            "{text}"
        );
        assert!(
            text.contains("no relay") && text.contains("no pages"),
            "{text}"
        );
        let text = said(
            "{\"presence\":{\"rendezvous_bind\":\"nowhere\"}}",
            Now::Resting,
            dir.path(),
        );
        assert!(text.contains("presence.rendezvous_bind"), "{text}");
    }
}
