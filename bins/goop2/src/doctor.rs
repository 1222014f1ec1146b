//! `goop2 doctor <dir>`: what works from here, in words.

mod beyond;
mod server;

use std::net::{TcpListener, ToSocketAddrs};
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use goop_identity::Keypair;
use goop_identity::config::{Config, ConfigStore};
use goop_identity::folder::{CONFIG_FILE, FolderError, PeerFolder};
use goop_identity::key;
use goop_net::mdns::Agent;
use goop_net::mdns::codec::Service;
use goop_net::mdns::socket::{Discovery, MdnsHealth};

/// How long the look at the network may take.
const LOOK: Duration = Duration::from_millis(800);

/// One finding.
enum Finding {
    Good(String),
    /// Works, with a drawback the person should know.
    Note(String),
    /// Does not work, and what to do about it.
    Bad(String),
}

/// What is going on in the folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Now {
    /// Something runs on it.
    Running,
    /// Nothing does.
    Resting,
    /// Its settings cannot be had; more is not to be said of it.
    Unusable,
}

/// Looks at everything and prints it. The exit code is 1 if something does not work.
pub(crate) fn run(dir: &Path) -> ExitCode {
    println!("goop2 doctor: {}", dir.display());
    let mut findings = Vec::new();
    // Opening the folder would write settings where there are none.
    let (config, now) = match look_at_settings(dir, &mut findings) {
        Some(config) => (config, look_at_lock(dir, &mut findings)),
        None => (Config::default(), Now::Unusable),
    };
    let is_server = config.presence.rendezvous_only || is_server_alone(dir, now);
    match (is_server, runtime()) {
        (true, Ok(runtime)) => {
            runtime.block_on(server::look(dir, &config, now, &mut findings));
        }
        (true, Err(error)) => findings.push(Finding::Bad(error.to_string())),
        (false, runtime) => look_at_peer(dir, &config, now, runtime, &mut findings),
    }
    let mut broken = false;
    for finding in &findings {
        match finding {
            Finding::Good(text) => println!("  ok    {text}"),
            Finding::Note(text) => println!("  note  {text}"),
            Finding::Bad(text) => {
                broken = true;
                println!("  BAD   {text}");
            }
        }
    }
    if broken {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    }
}

/// A folder of a peer.
fn look_at_peer(
    dir: &Path,
    config: &Config,
    now: Now,
    runtime: std::io::Result<tokio::runtime::Runtime>,
    findings: &mut Vec<Finding>,
) {
    match (now, runtime) {
        (Now::Running, _) => {
            look_at_network(config, findings);
            beyond::ask_peer(dir, findings);
        }
        (Now::Resting | Now::Unusable, runtime) => {
            if now == Now::Resting {
                look_at_site(dir, config, findings);
            }
            look_at_ports(config, findings);
            look_at_network(config, findings);
            if let Ok(runtime) = runtime {
                runtime.block_on(beyond::look(config, findings));
            }
        }
    }
    look_at_names(findings);
}

/// Whether what runs on the folder is a server alone, whatever its settings say (`goop2 rendezvous`).
fn is_server_alone(dir: &Path, now: Now) -> bool {
    now == Now::Running
        && beyond::ask(dir, "/api/topology")
            .is_some_and(|picture| picture["self"]["id"] == "rendezvous")
}

fn look_at_settings(dir: &Path, findings: &mut Vec<Finding>) -> Option<Config> {
    match ConfigStore::open(&dir.join(CONFIG_FILE)) {
        Ok(store) => {
            findings.push(Finding::Good(
                "goop.json can be read and makes sense".to_owned(),
            ));
            Some((*store.current()).clone())
        }
        Err(_) if dir.is_dir() && !dir.join(CONFIG_FILE).exists() => {
            findings.push(Finding::Note(
                "there is no goop.json yet; the first start writes one".to_owned(),
            ));
            None
        }
        Err(error) => {
            findings.push(Finding::Bad(error.to_string()));
            None
        }
    }
}

fn look_at_lock(dir: &Path, findings: &mut Vec<Finding>) -> Now {
    match PeerFolder::open(dir) {
        Ok(_) => findings.push(Finding::Good(
            "the folder can be locked and written".to_owned(),
        )),
        Err(FolderError::InUse { pid, .. }) => {
            findings.push(Finding::Note(format!(
                "goop2 is running on this folder (process {pid}); its ports are its own"
            )));
            return Now::Running;
        }
        Err(error) => findings.push(Finding::Bad(error.to_string())),
    }
    Now::Resting
}

fn look_at_site(dir: &Path, config: &Config, findings: &mut Vec<Finding>) {
    let site = dir.join(&config.paths.site_root);
    findings.push(if site.join("index.html").is_file() {
        Finding::Good(format!(
            "your site begins with {}",
            site.join("index.html").display()
        ))
    } else {
        Finding::Note(format!(
            "{} is missing: visitors of your site get \"not found\"",
            site.join("index.html").display()
        ))
    });
    look_at_key(&dir.join(&config.identity.key_file), findings);
}

fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
}

fn look_at_key(path: &Path, findings: &mut Vec<Finding>) {
    findings.push(match std::fs::read(path) {
        Ok(bytes) => match key::decode(&bytes) {
            Ok(key) => Finding::Good(format!("your peer id is {}", key.public().to_peer_id())),
            Err(error) => Finding::Bad(format!("{}: {error}", path.display())),
        },
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            Finding::Note("there is no identity key yet; the first start makes one".to_owned())
        }
        Err(error) => Finding::Bad(format!(
            "the identity key {} cannot be read: {error}",
            path.display()
        )),
    });
}

fn look_at_ports(config: &Config, findings: &mut Vec<Finding>) {
    match u16::try_from(config.p2p.listen_port) {
        Ok(0) => findings.push(Finding::Good(
            "other peers connect to a free port, a new one at each start".to_owned(),
        )),
        Ok(port) => findings.push(match TcpListener::bind(("0.0.0.0", port)) {
            Ok(_) => Finding::Good(format!(
                "port {port} is free for other peers (open it in your firewall, TCP and UDP)"
            )),
            Err(error) => Finding::Bad(format!(
                "port {port} (p2p.listen_port) cannot be used: {error}"
            )),
        }),
        Err(_) => findings.push(Finding::Bad("p2p.listen_port is no port".to_owned())),
    }
    let addr = config.viewer.http_addr.trim();
    let wanted = if addr.is_empty() {
        "127.0.0.1:8080".to_owned()
    } else if addr.starts_with(':') {
        format!("127.0.0.1{addr}")
    } else {
        addr.to_owned()
    };
    findings.push(match TcpListener::bind(&wanted) {
        Ok(_) => Finding::Good(format!("the pages can be shown on {wanted}")),
        Err(_) if addr.is_empty() => Finding::Note(format!(
            "{wanted} is taken; the pages get another port, printed at start"
        )),
        Err(error) => Finding::Bad(format!(
            "the pages cannot be shown on {wanted} (viewer.http_addr): {error}"
        )),
    });
}

fn look_at_network(config: &Config, findings: &mut Vec<Finding>) {
    let service = match Service::of_tag(&config.p2p.mdns_tag) {
        Ok(service) => service,
        Err(error) => {
            findings.push(Finding::Bad(error.to_string()));
            return;
        }
    };
    let Ok(runtime) = runtime() else {
        return;
    };
    let health = runtime.block_on(look_around(service));
    for (name, address) in &health.interfaces {
        findings.push(Finding::Good(format!(
            "multicast works on {name} ({address})"
        )));
    }
    for problem in &health.problems {
        findings.push(if health.interfaces.is_empty() {
            Finding::Bad(format!("peers on your network cannot be found: {problem}"))
        } else {
            Finding::Note(format!("multicast: {problem}"))
        });
    }
}

async fn look_around(service: Service) -> MdnsHealth {
    let me = Keypair::generate_ed25519().public().to_peer_id();
    let discovery = Discovery::start(Agent::new(service, me, Instant::now()));
    let mut health = discovery.health();
    // The first look is done as soon as the task runs.
    let _ = tokio::time::timeout(LOOK, health.changed()).await;
    let seen = health.borrow().clone();
    discovery.shutdown().await;
    seen
}

fn look_at_names(findings: &mut Vec<Finding>) {
    let resolves = ("goop2-doctor.localhost", 80)
        .to_socket_addrs()
        .is_ok_and(|mut addrs| addrs.all(|addr| addr.ip().is_loopback()));
    findings.push(if resolves {
        Finding::Good("names below localhost resolve, so every site gets an origin of its own".to_owned())
    } else {
        Finding::Note(
            "this system does not resolve names below localhost. Chromium and Firefox do it themselves; for other \
             browsers each site gets a port of its own"
                .to_owned(),
        )
    });
}
