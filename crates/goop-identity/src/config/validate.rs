//! The rules of peer-directory.md 6.2, checked in its order; the first broken one is the error's text.

use std::net::IpAddr;
use std::path::{Component, Path, PathBuf};

use url::{Host, Url};

use super::{Config, ConfigError};

const PORTS: std::ops::RangeInclusive<i64> = 0..=65_535;
const REAL_PORTS: std::ops::RangeInclusive<i64> = 1..=65_535;

impl Config {
    /// Checks every rule.
    ///
    /// # Errors
    /// [`ConfigError::Invalid`] with the text of the first broken rule.
    pub fn validate(&self) -> Result<(), ConfigError> {
        self.first_broken_rule()
            .map_or(Ok(()), |text| Err(ConfigError::Invalid(text)))
    }

    fn first_broken_rule(&self) -> Option<String> {
        self.required()
            .or_else(|| self.broken_network_rule())
            .or_else(|| self.broken_hosting_rule())
            .or_else(|| broken_wan_rule("rendezvous_wan", &self.presence.rendezvous_wan))
            .or_else(|| {
                let mut more = self.presence.rendezvous_more.split_whitespace();
                more.find_map(|server| broken_wan_rule("rendezvous_more", server))
            })
            .or_else(|| self.broken_lua_rule())
    }

    fn required(&self) -> Option<String> {
        let blank = |value: &str| value.trim().is_empty();
        let rules = [
            ("identity.key_file", blank(&self.identity.key_file)),
            ("paths.site_root", blank(&self.paths.site_root)),
            ("paths.site_source", blank(&self.paths.site_source)),
            ("paths.site_stage", blank(&self.paths.site_stage)),
        ];
        if let Some((field, _)) = rules.iter().find(|(_, broken)| *broken) {
            return Some(format!("{field} is required"));
        }
        (clean(&self.paths.site_source) == clean(&self.paths.site_stage))
            .then(|| "paths.site_source and paths.site_stage must differ".to_owned())
    }

    fn broken_network_rule(&self) -> Option<String> {
        let presence = &self.presence;
        let broken = if !PORTS.contains(&self.p2p.listen_port) {
            "p2p.listen_port must be 0..65535"
        } else if self.p2p.mdns_tag.trim().is_empty() {
            "p2p.mdns_tag is required"
        } else if presence.topic.trim().is_empty() {
            "presence.topic is required"
        } else if presence.ttl_seconds <= 0 {
            "presence.ttl_seconds must be > 0"
        } else if presence.heartbeat_seconds <= 0 {
            "presence.heartbeat_seconds must be > 0"
        } else if presence.heartbeat_seconds >= presence.ttl_seconds {
            "presence.heartbeat_seconds must be < presence.ttl_seconds"
        } else if presence.rendezvous_only && !presence.rendezvous_host {
            "presence.rendezvous_only requires presence.rendezvous_host=true"
        } else {
            return None;
        };
        Some(broken.to_owned())
    }

    fn broken_hosting_rule(&self) -> Option<String> {
        let presence = &self.presence;
        if presence.rendezvous_host {
            if !REAL_PORTS.contains(&presence.rendezvous_port) {
                return Some("presence.rendezvous_port must be 1..65535".to_owned());
            }
            let bind = presence.rendezvous_bind.trim();
            if !bind.is_empty() && bind.parse::<IpAddr>().is_err() {
                return Some("presence.rendezvous_bind must be a valid IP address".to_owned());
            }
        }
        if presence.relay_port <= 0 {
            return None;
        }
        if !presence.rendezvous_host {
            return Some("presence.relay_port requires presence.rendezvous_host=true".to_owned());
        }
        let too_large = [
            ("relay_port", presence.relay_port),
            ("relay_ws_port", presence.relay_ws_port),
        ];
        if let Some((field, _)) = too_large.iter().find(|(_, port)| *port > *PORTS.end()) {
            return Some(format!("presence.{field} must be 0..65535"));
        }
        let timings = [
            ("relay_cleanup_delay_sec", presence.relay_cleanup_delay_sec),
            ("relay_poll_deadline_sec", presence.relay_poll_deadline_sec),
            (
                "relay_connect_timeout_sec",
                presence.relay_connect_timeout_sec,
            ),
            (
                "relay_refresh_interval_sec",
                presence.relay_refresh_interval_sec,
            ),
            (
                "relay_recovery_grace_sec",
                presence.relay_recovery_grace_sec,
            ),
        ];
        timings
            .iter()
            .find(|(_, seconds)| *seconds < 0)
            .map(|(field, _)| format!("presence.{field} must be >= 0"))
    }

    fn broken_lua_rule(&self) -> Option<String> {
        let lua = &self.lua;
        if !lua.enabled {
            return None;
        }
        let broken = if lua.script_dir.trim().is_empty() {
            "lua.script_dir is required"
        } else if !(1..=60).contains(&lua.timeout_seconds) {
            "lua.timeout_seconds must be 1..60"
        } else if !(1..=1024).contains(&lua.max_memory_mb) {
            "lua.max_memory_mb must be 1..1024"
        } else if lua.rate_limit_per_peer <= 0 {
            "lua.rate_limit_per_peer must be > 0"
        } else if lua.rate_limit_global <= 0 {
            "lua.rate_limit_global must be > 0"
        } else {
            return None;
        };
        Some(broken.to_owned())
    }
}

fn broken_wan_rule(field: &str, text: &str) -> Option<String> {
    let text = text.trim();
    if text.is_empty() {
        return None;
    }
    let broken = |reason: &str| Some(format!("presence.{field}: {reason}"));
    let url = match Url::parse(text) {
        Ok(url) => url,
        Err(error) => return broken(&error.to_string()),
    };
    if !matches!(url.scheme(), "http" | "https") {
        return broken("the scheme must be http or https");
    }
    let unspecified = match url.host() {
        None => return broken("a host is required"),
        Some(Host::Ipv4(address)) => address.is_unspecified(),
        Some(Host::Ipv6(address)) => address.is_unspecified(),
        Some(Host::Domain(_)) => false,
    };
    if unspecified {
        return broken("the host must be an address others can reach");
    }
    match url.port() {
        Some(0) => broken("the port must be 1..65535"),
        _ => None,
    }
}

/// A path without `.`, and with `..` taken back, as text comparison of two settings needs it.
fn clean(path: &str) -> PathBuf {
    let mut cleaned = PathBuf::new();
    for part in Path::new(path.trim()).components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir
                if cleaned
                    .components()
                    .next_back()
                    .is_some_and(|last| matches!(last, Component::Normal(_))) =>
            {
                cleaned.pop();
            }
            other => cleaned.push(other),
        }
    }
    cleaned
}
