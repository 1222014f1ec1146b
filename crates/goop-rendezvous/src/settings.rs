//! What a server is started with, out of `goop.json` (rendezvous.md 1).
//!
//! Keys that only this program knows stand in `presence` beside the others; the Go program ignores them, and loses them
//! when it saves.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};

use goop_identity::config::{self, Config};
use goop_identity::folder::{CONFIG_FILE, PeerFolder};
use ipnet::IpNet;
use serde_json::{Map, Value};
use url::Url;

/// Most networks in `presence.trusted_proxies`.
const MAX_PROXIES: usize = 64;

/// Why there are no settings.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// A setting makes no sense.
    #[error("presence.{key} {problem}")]
    Wrong {
        /// Which, in `presence`.
        key: &'static str,
        /// What it must be.
        problem: String,
    },
    /// `goop.json` cannot be read.
    #[error("{CONFIG_FILE} cannot be read: {0}")]
    Unreadable(#[from] io::Error),
    /// `goop.json` is no configuration.
    #[error("{CONFIG_FILE} cannot be understood: {0}")]
    Broken(String),
}

fn wrong(key: &'static str, problem: impl Into<String>) -> SettingsError {
    SettingsError::Wrong {
        key,
        problem: problem.into(),
    }
}

/// Everything a server is started with.
#[derive(Clone)]
pub struct Settings {
    /// Where HTTP is served.
    pub listen: SocketAddr,
    /// The address people use, without a slash at its end.
    pub external_url: Option<Url>,
    /// Password of the admin pages; `None` = there are none.
    pub admin_password: Option<String>,
    /// Where the table is kept over a restart.
    pub peer_db: Option<PathBuf>,
    /// Holds this server's name among those that share that file; made when it is missing.
    pub instance_file: PathBuf,
    /// The relay, if one is wanted.
    pub relay: Option<RelaySettings>,
    /// Folder of the template store.
    pub templates_dir: Option<PathBuf>,
    /// Networks whose word about a client's address is taken, besides this machine.
    pub trusted_proxies: Vec<IpNet>,
    /// E-mail addresses must be proven by a service. Until that service answers, nobody is verified (weak point 12).
    pub registration_required: bool,
}

impl std::fmt::Debug for Settings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Settings")
            .field("listen", &self.listen)
            .field("relay", &self.relay)
            .finish_non_exhaustive()
    }
}

/// The relay's part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RelaySettings {
    /// Addresses of this machine it listens on; all, unless a test keeps to itself.
    pub bind: Vec<IpAddr>,
    /// TCP and UDP port.
    pub port: u16,
    /// Loopback port of the WebSocket listener, for a proxy that has the certificate.
    pub ws_port: Option<u16>,
    /// Where its key is.
    pub key_file: PathBuf,
    /// What peers are told to wait (rendezvous.md 11.3), in seconds.
    pub timing: Timing,
    /// What it gives.
    pub limits: RelayLimits,
}

/// Times that peers are told. 0 = their own default.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timing {
    /// Between closing and connecting.
    pub cleanup_delay_sec: i64,
    /// For a circuit address.
    pub poll_deadline_sec: i64,
    /// For a connection.
    pub connect_timeout_sec: i64,
    /// Between two looks.
    pub refresh_interval_sec: i64,
    /// Before recovery.
    pub recovery_grace_sec: i64,
}

/// What a relay gives; the defaults are the Go program's (network.md 10). Each is a key of `presence.relay_limits`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RelayLimits {
    /// `reservations`: peers that can be reached over it.
    pub reservations: usize,
    /// `reservations_per_address`: of them, for peers behind one address; half of them unless given.
    pub reservations_per_address: usize,
    /// `reservation_seconds`: how long one holds unless renewed.
    pub reservation_seconds: u64,
    /// `circuits`: relayed connections in all.
    pub circuits: usize,
    /// `circuits_per_peer`: of one peer, so that nobody takes them all.
    pub circuits_per_peer: usize,
    /// `circuit_seconds`: how long one holds.
    pub circuit_seconds: u64,
    /// `circuit_bytes`: what one may carry.
    pub circuit_bytes: u64,
    /// `requests_per_minute`: reservations and circuits of one peer, and ten times that of one address.
    pub requests_per_minute: u32,
}

impl Default for RelayLimits {
    fn default() -> Self {
        Self {
            reservations: 128,
            reservations_per_address: 64,
            reservation_seconds: 60 * 60,
            circuits: 512,
            circuits_per_peer: 64,
            circuit_seconds: 30 * 60,
            circuit_bytes: 16 * 1024 * 1024,
            requests_per_minute: 60,
        }
    }
}

impl Settings {
    /// The settings of a folder, with the keys of `goop.json` that only we know.
    ///
    /// # Errors
    /// The file cannot be read, or a key makes no sense.
    pub fn read(folder: &PeerFolder) -> Result<Self, SettingsError> {
        let bytes = std::fs::read(folder.root().join(CONFIG_FILE))?;
        let (config, document) = config::decode(&bytes).map_err(SettingsError::Broken)?;
        Self::of(&config, &document, folder.root())
    }

    /// The settings in the configuration of the folder `root`. `document` is the same file with the keys that only we
    /// know.
    ///
    /// # Errors
    /// [`SettingsError`] names the first key that makes no sense.
    pub fn of(
        config: &Config,
        document: &Map<String, Value>,
        root: &Path,
    ) -> Result<Self, SettingsError> {
        let presence = &config.presence;
        let own = document.get("presence").and_then(Value::as_object);
        let own = |key: &str| own.and_then(|own| own.get(key));
        let bind = match presence.rendezvous_bind.trim() {
            "" => IpAddr::V4(Ipv4Addr::LOCALHOST),
            text => text
                .parse()
                .map_err(|_| wrong("rendezvous_bind", "must be a valid IP address"))?,
        };
        let text = |text: &str| Some(text.trim().to_owned()).filter(|text| !text.is_empty());
        let external_url = text(presence.external_url.trim_end_matches('/'))
            .map(|url| external(&url))
            .transpose()?;
        let port = port("rendezvous_port", presence.rendezvous_port)?
            .ok_or_else(|| wrong("rendezvous_port", "must be from 1 to 65535"))?;
        Ok(Self {
            listen: SocketAddr::new(bind, port),
            external_url,
            admin_password: Some(presence.admin_password.clone())
                .filter(|password| !password.is_empty()),
            peer_db: text(&presence.peer_db_path).map(|path| root.join(path)),
            instance_file: root.join("data/rendezvous.instance"),
            relay: relay(config, own("relay_limits"), root)?,
            templates_dir: text(&presence.templates_dir)
                .filter(|_| presence.templates_url.trim().is_empty() || !presence.use_services)
                .map(|dir| root.join(dir)),
            trusted_proxies: proxies(own("trusted_proxies"))?,
            registration_required: presence.use_services
                && !presence.registration_url.trim().is_empty(),
        })
    }

    /// Where the server is, as its pages say.
    #[must_use]
    pub fn own_url(&self) -> String {
        match &self.external_url {
            Some(url) => url.as_str().trim_end_matches('/').to_owned(),
            None => format!("http://{}", self.listen),
        }
    }
}

/// Where a server that listens there is asked from its own machine: the address it is bound to, or loopback for all of
/// them.
#[must_use]
pub fn local_url(listen: SocketAddr) -> String {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    format!("http://{}", SocketAddr::new(ip, listen.port()))
}

fn external(text: &str) -> Result<Url, SettingsError> {
    let url = Url::parse(text).map_err(|error| wrong("external_url", error.to_string()))?;
    match url.scheme() {
        "http" | "https" if url.has_host() => Ok(url),
        _ => Err(wrong("external_url", "must begin with http:// or https://")),
    }
}

fn port(key: &'static str, port: i64) -> Result<Option<u16>, SettingsError> {
    if port <= 0 {
        return Ok(None);
    }
    let port = u16::try_from(port).map_err(|_| wrong(key, "must be at most 65535"))?;
    Ok(Some(port))
}

fn relay(
    config: &Config,
    limits: Option<&Value>,
    root: &Path,
) -> Result<Option<RelaySettings>, SettingsError> {
    let presence = &config.presence;
    let Some(relay_port) = port("relay_port", presence.relay_port)? else {
        return Ok(None);
    };
    Ok(Some(RelaySettings {
        bind: vec![
            IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        ],
        port: relay_port,
        ws_port: port("relay_ws_port", presence.relay_ws_port)?,
        key_file: root.join(&presence.relay_key_file),
        timing: Timing {
            cleanup_delay_sec: presence.relay_cleanup_delay_sec,
            poll_deadline_sec: presence.relay_poll_deadline_sec,
            connect_timeout_sec: presence.relay_connect_timeout_sec,
            refresh_interval_sec: presence.relay_refresh_interval_sec,
            recovery_grace_sec: presence.relay_recovery_grace_sec,
        },
        limits: relay_limits(limits)?,
    }))
}

fn relay_limits(value: Option<&Value>) -> Result<RelayLimits, SettingsError> {
    const KEY: &str = "relay_limits";
    let mut limits = RelayLimits::default();
    let given = match value {
        None | Some(Value::Null) => return Ok(limits),
        Some(Value::Object(given)) => given,
        Some(_) => return Err(wrong(KEY, "must be an object")),
    };
    let mut per_address = None;
    for (name, value) in given {
        let number = value
            .as_u64()
            .filter(|number| (1..=u64::from(u32::MAX)).contains(number))
            .ok_or_else(|| wrong(KEY, format!(".{name} must be a whole number from 1 on")))?;
        let count = usize::try_from(number).unwrap_or(usize::MAX);
        match name.as_str() {
            "reservations" => limits.reservations = count,
            "reservations_per_address" => per_address = Some(count),
            "reservation_seconds" => limits.reservation_seconds = number,
            "circuits" => limits.circuits = count,
            "circuits_per_peer" => limits.circuits_per_peer = count,
            "circuit_seconds" => limits.circuit_seconds = number,
            "circuit_bytes" => limits.circuit_bytes = number,
            "requests_per_minute" => {
                limits.requests_per_minute = u32::try_from(number).unwrap_or(u32::MAX);
            }
            _ => return Err(wrong(KEY, format!(".{name} is not known"))),
        }
    }
    limits.reservations_per_address = per_address.unwrap_or(limits.reservations.div_ceil(2));
    Ok(limits)
}

fn proxies(value: Option<&Value>) -> Result<Vec<IpNet>, SettingsError> {
    const KEY: &str = "trusted_proxies";
    let list = match value {
        None | Some(Value::Null) => return Ok(Vec::new()),
        Some(Value::Array(list)) if list.len() <= MAX_PROXIES => list,
        Some(Value::Array(_)) => return Err(wrong(KEY, "has too many networks")),
        Some(_) => return Err(wrong(KEY, "must be a list of networks like \"10.0.0.0/8\"")),
    };
    list.iter()
        .map(|network| {
            let text = network.as_str().unwrap_or_default();
            text.parse::<IpNet>()
                .or_else(|_| text.parse::<IpAddr>().map(IpNet::from))
                .map_err(|_| wrong(KEY, format!("holds {network}, which is no network")))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn check(presence: &str, expected: &str) {
        let text = format!(r#"{{"presence":{presence}}}"#);
        let (config, document) = goop_identity::config::decode(text.as_bytes()).unwrap();
        let got = match Settings::of(&config, &document, Path::new("/srv/rv")) {
            Ok(settings) => format!(
                "{} {:?} {}",
                settings.listen,
                settings.trusted_proxies,
                settings.relay.map_or(0, |relay| relay.limits.circuits)
            ),
            Err(error) => error.to_string(),
        };
        assert_eq!(got, expected, "{presence}");
    }

    #[test]
    fn an_own_server_is_asked_where_it_listens() {
        for (listen, url) in [
            ("0.0.0.0:8787", "http://127.0.0.1:8787"),
            ("192.0.2.7:80", "http://192.0.2.7:80"),
            ("[::]:8787", "http://[::1]:8787"),
            ("[2001:db8::7]:8787", "http://[2001:db8::7]:8787"),
        ] {
            assert_eq!(local_url(listen.parse().expect(listen)), url);
        }
    }

    #[test]
    fn what_stands_in_the_file() {
        check("{}", "127.0.0.1:8787 [] 0");
        check(
            r#"{"rendezvous_bind":"::1","rendezvous_port":80}"#,
            "[::1]:80 [] 0",
        );
        check(
            r#"{"trusted_proxies":["10.0.0.0/8","::1"]}"#,
            "127.0.0.1:8787 [10.0.0.0/8, ::1/128] 0",
        );
        check(
            r#"{"relay_port":4100,"relay_limits":{"circuits":7}}"#,
            "127.0.0.1:8787 [] 7",
        );
        check(
            r#"{"relay_port":4100,"relay_limits":{"circuit":7}}"#,
            "presence.relay_limits .circuit is not known",
        );
        check(
            r#"{"trusted_proxies":["mine"]}"#,
            "presence.trusted_proxies holds \"mine\", which is no network",
        );
        check(
            r#"{"external_url":"ftp://x"}"#,
            "presence.external_url must begin with http:// or https://",
        );
    }
}
