//! The fields of `goop.json` with type and default (peer-directory.md 6.2), in the order they are written.

use serde_json::{Map, Value};

use super::document::{Field, Reading, take};

/// Declares a section: its struct, its defaults, how it is read from and written to JSON.
macro_rules! section {
    ($(#[$doc:meta])* $name:ident { $($(#[$field_doc:meta])* $field:ident: $type:ty = $default:expr),* $(,)? }
     omitted when empty { $($(#[$opt_doc:meta])* $opt:ident),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub struct $name {
            $($(#[$field_doc])* pub $field: $type,)*
            $($(#[$opt_doc])* pub $opt: String,)*
        }

        impl Default for $name {
            fn default() -> Self {
                Self { $($field: $default.into(),)* $($opt: String::new(),)* }
            }
        }

        impl Reading for $name {
            const KNOWN: &'static [&'static str] = &[$(stringify!($field),)* $(stringify!($opt),)*];

            fn read(section: &'static str, object: &Map<String, Value>) -> Result<Self, String> {
                let mut read = Self::default();
                $(take(section, stringify!($field), object, &mut read.$field)?;)*
                $(take(section, stringify!($opt), object, &mut read.$opt)?;)*
                Ok(read)
            }

            fn write(&self, into: &mut Map<String, Value>) {
                $(into.insert(stringify!($field).to_owned(), Field::to_json(&self.$field));)*
                $(if !self.$opt.is_empty() {
                    into.insert(stringify!($opt).to_owned(), Field::to_json(&self.$opt));
                })*
            }
        }
    };
}

section! {
    /// `identity`
    IdentitySection {
        /// Path of the key file, relative to the peer folder or absolute.
        key_file: String = "data/identity.key",
    } omitted when empty {}
}

section! {
    /// `paths`
    PathsSection {
        /// The folder served to visitors.
        site_root: String = "site",
        /// Reserved by the Go program; never served.
        site_source: String = "site/src",
        /// Reserved by the Go program; never served.
        site_stage: String = "site/stage",
    } omitted when empty {}
}

section! {
    /// `p2p`
    P2pSection {
        /// TCP and UDP port others connect to; 0 = another one at each start.
        listen_port: i64 = 0,
        /// Decides who sees whom on a LAN.
        mdns_tag: String = "goop-mdns",
        /// Thin client mode (a later part).
        bridge_mode: bool = false,
        /// NaCl public key, base64 of 32 bytes; announced in presence.
        nacl_public_key: String = "",
        /// NaCl secret key, base64 of 32 bytes.
        nacl_private_key: String = "",
    } omitted when empty {}
}

section! {
    /// `presence`
    PresenceSection {
        /// The gossip topic.
        topic: String = "goop.presence.v1",
        /// Seconds of silence after which an online peer counts as offline.
        ttl_seconds: i64 = 20,
        /// Seconds between two presence updates.
        heartbeat_seconds: i64 = 5,
        /// Run a rendezvous server.
        rendezvous_host: bool = false,
        /// Its port.
        rendezvous_port: i64 = 8787,
        /// Its listen address.
        rendezvous_bind: String = "127.0.0.1",
        /// URL of a rendezvous server to join.
        rendezvous_wan: String = "",
        /// Only the rendezvous server, no peer.
        rendezvous_only: bool = false,
        /// Password of the server's admin pages; empty = off.
        admin_password: String = "",
        /// Database of the server; empty = memory.
        peer_db_path: String = "",
        /// URL of the server as others see it.
        external_url: String = "",
        /// Port of the circuit relay; 0 = off.
        relay_port: i64 = 0,
        /// Port of the relay's WebSocket listener; 0 = off.
        relay_ws_port: i64 = 0,
        /// Key file of the relay.
        relay_key_file: String = "data/relay.key",
        /// Seconds between closing and opening the relay connection.
        relay_cleanup_delay_sec: i64 = 3,
        /// Seconds to wait for a reservation.
        relay_poll_deadline_sec: i64 = 10,
        /// Seconds to dial the relay.
        relay_connect_timeout_sec: i64 = 5,
        /// Seconds between two checks of the reservation.
        relay_refresh_interval_sec: i64 = 90,
        /// Seconds before a lost reservation is acted on.
        relay_recovery_grace_sec: i64 = 5,
        /// Master switch for the services.
        use_services: bool = false,
        /// Base URL of the credits service.
        credits_url: String = "",
        /// Base URL of the registration service.
        registration_url: String = "",
        /// Base URL of the e-mail service.
        email_url: String = "",
        /// Base URL of the template service.
        templates_url: String = "",
        /// Base URL of the bridge service.
        bridge_url: String = "",
        /// Base URL of the encryption service.
        encryption_url: String = "",
        /// Folder of the local template store.
        templates_dir: String = "",
        /// Bearer token of the credits service's admin routes.
        credits_admin_token: String = "",
        /// Bearer token of the registration service's admin routes.
        registration_admin_token: String = "",
        /// Bearer token of the template service's admin routes.
        templates_admin_token: String = "",
        /// Bearer token of the bridge service's admin routes.
        bridge_admin_token: String = "",
        /// Bearer token of the encryption service's admin routes.
        encryption_admin_token: String = "",
    } omitted when empty {
        /// URLs of more rendezvous servers to join, separated by spaces. The Go program drops them when it saves.
        rendezvous_more,
    }
}

section! {
    /// `profile`
    ProfileSection {
        /// The display name.
        label: String = "hello",
        /// The announced e-mail address.
        email: String = "",
        /// Sent to rendezvous servers only.
        verification_token: String = "",
        /// Bridge mode authentication.
        bridge_token: String = "",
    } omitted when empty {}
}

section! {
    /// `viewer`
    ViewerSection {
        /// Listen address of the viewer; empty = loopback port 8080, or a free one.
        http_addr: String = "",
        /// Debug widgets on the pages.
        debug: bool = false,
        /// `dark` or `light`.
        theme: String = "dark",
        /// Preferred camera.
        preferred_cam: String = "",
        /// Preferred microphone.
        preferred_mic: String = "",
        /// Announced: no calls.
        video_disabled: bool = false,
        /// Hide unverified peers in the list.
        hide_unverified: bool = false,
        /// The applied template.
        active_template: String = "",
        /// Open peer sites in the system browser.
        open_sites_external: bool = false,
        /// Name of the splash picture.
        splash: String = "goop2-splash2.png",
        /// Minutes until an offline peer is forgotten; 1 to 60, else 15.
        peer_offline_grace_min: i64 = 15,
    } omitted when empty {
        /// Executor for cluster jobs.
        cluster_binary_path,
        /// `oneshot` or `daemon`.
        cluster_binary_mode,
    }
}

section! {
    /// `lua`
    LuaSection {
        /// Start the script engine.
        enabled: bool = false,
        /// Script folder; never served.
        script_dir: String = "site/lua",
        /// Seconds per invocation.
        timeout_seconds: i64 = 5,
        /// Memory per invocation in MB.
        max_memory_mb: i64 = 10,
        /// Calls per minute per peer and function.
        rate_limit_per_peer: i64 = 30,
        /// Calls per minute in all.
        rate_limit_global: i64 = 120,
        /// Allow `goop.http`.
        http_enabled: bool = true,
        /// Allow `goop.kv`.
        kv_enabled: bool = true,
    } omitted when empty {}
}

/// Most rendezvous servers that one peer joins: each costs a connection, and the same news once more.
const MAX_SERVERS: usize = 4;

impl PresenceSection {
    /// The rendezvous servers of others to join, the first one first, without repetition and at most four.
    #[must_use]
    pub fn servers(&self) -> Vec<&str> {
        let named = std::iter::once(self.rendezvous_wan.as_str())
            .chain(self.rendezvous_more.split_whitespace());
        let mut servers = Vec::new();
        for server in named.map(|server| server.trim().trim_end_matches('/')) {
            if !server.is_empty() && !servers.contains(&server) {
                servers.push(server);
            }
        }
        servers.truncate(MAX_SERVERS);
        servers
    }
}

/// All of `goop.json`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Config {
    /// Where the key is.
    pub identity: IdentitySection,
    /// Where the site is.
    pub paths: PathsSection,
    /// The network host.
    pub p2p: P2pSection,
    /// Presence, rendezvous, relay and services.
    pub presence: PresenceSection,
    /// Who the person is.
    pub profile: ProfileSection,
    /// The pages.
    pub viewer: ViewerSection,
    /// Scripts.
    pub lua: LuaSection,
}
