//! Who is asking (viewer-api.md 3.2).
//!
//! One pure function looks at the listener and the request's head and says which class the caller belongs to. Nothing
//! else in this crate decides about trust; handlers only ask what class they were given. The owner additionally needs
//! a session ([`crate::session`]).

use goop_identity::PeerId;
use goop_identity::label::peer_of_label;

/// The end of a site's host name.
const SITE_DOMAIN: &str = ".localhost";

/// Which socket a request came in through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Listener {
    /// The loopback socket: control pages and the sites' origins.
    Control {
        /// Its port.
        port: u16,
    },
    /// A loopback socket of one site, for browsers that do not resolve `*.localhost`.
    Site {
        /// Its port.
        port: u16,
        /// Whose site.
        peer: PeerId,
    },
    /// A socket others can reach.
    Public,
}

/// What of a request matters for the decision.
#[derive(Debug, Clone, Copy, Default)]
pub struct Asked<'a> {
    /// `GET` or `HEAD`.
    pub is_read: bool,
    /// The host of the request, with its port.
    pub host: Option<&'a str>,
    /// `Origin`
    pub origin: Option<&'a str>,
    /// `Sec-Fetch-Site`
    pub fetch_site: Option<&'a str>,
    /// `Sec-Fetch-Mode`
    pub fetch_mode: Option<&'a str>,
    /// `Sec-Fetch-Dest`
    pub fetch_dest: Option<&'a str>,
    /// Any of `Forwarded`, `X-Forwarded-*`, `X-Real-IP`, `Via`.
    pub proxied: bool,
}

/// Who is asking.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Caller {
    /// The control origin, asked by itself or by a program on this machine. Not yet the owner: that takes a session.
    Control,
    /// A person follows a link to a control page, maybe from elsewhere. May see the empty page, never data.
    Link,
    /// A page of one site, on that site's own origin.
    SitePage(PeerId),
    /// Somebody from outside: the own site, as a stranger.
    Guest,
    /// Nobody we answer.
    Refused(Refusal),
}

/// Why a caller is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// The host is not ours: a name that somebody pointed at this machine (DNS rebinding).
    ForeignHost,
    /// Another origin asks: a page of somebody else, or of a site.
    ForeignOrigin,
}

/// Decides who is asking.
#[must_use]
pub fn classify(listener: Listener, asked: &Asked<'_>) -> Caller {
    let port = match listener {
        Listener::Public => return Caller::Guest,
        Listener::Control { port } | Listener::Site { port, .. } => port,
    };
    if asked.proxied {
        return Caller::Guest;
    }
    let Some(name) = asked.host.and_then(|host| name_of(host, port)) else {
        return Caller::Refused(Refusal::ForeignHost);
    };
    match listener {
        Listener::Site { peer, .. } if is_loopback(name) => on_site(peer, name, port, asked),
        Listener::Control { .. } if is_loopback(name) => on_control(name, port, asked),
        Listener::Control { .. } => match name.strip_suffix(SITE_DOMAIN).and_then(peer_of_label) {
            Some(peer) => on_site(peer, name, port, asked),
            None => Caller::Refused(Refusal::ForeignHost),
        },
        _ => Caller::Refused(Refusal::ForeignHost),
    }
}

/// The host name, if the port is the listener's own (80 may be left out).
fn name_of(host: &str, port: u16) -> Option<&str> {
    let (name, given) = match host.rsplit_once(':') {
        Some((name, digits)) if !digits.ends_with(']') => (name, digits.parse().ok()?),
        _ => (host, 80),
    };
    (given == port).then_some(name)
}

fn is_loopback(name: &str) -> bool {
    matches!(name, "127.0.0.1" | "[::1]") || name.eq_ignore_ascii_case("localhost")
}

fn on_control(name: &str, port: u16, asked: &Asked<'_>) -> Caller {
    let own = |origin: &str| is_origin(origin, name, port);
    match (asked.origin, asked.fetch_site) {
        (Some(origin), _) if !own(origin) => Caller::Refused(Refusal::ForeignOrigin),
        (_, None | Some("same-origin" | "none")) => Caller::Control,
        _ if is_link(asked) => Caller::Link,
        _ => Caller::Refused(Refusal::ForeignOrigin),
    }
}

fn on_site(peer: PeerId, name: &str, port: u16, asked: &Asked<'_>) -> Caller {
    let own = |origin: &str| is_origin(origin, name, port);
    match (asked.origin, asked.fetch_site) {
        (Some(origin), _) if !own(origin) => Caller::Refused(Refusal::ForeignOrigin),
        (_, None | Some("same-origin" | "none")) => Caller::SitePage(peer),
        (None, Some("same-site" | "cross-site")) if is_link(asked) || is_frame(asked) => {
            Caller::SitePage(peer)
        }
        _ => Caller::Refused(Refusal::ForeignOrigin),
    }
}

/// A person follows a link or types an address: the whole window changes.
fn is_link(asked: &Asked<'_>) -> bool {
    asked.is_read
        && asked.fetch_mode == Some("navigate")
        && matches!(asked.fetch_dest, None | Some("document"))
}

/// A frame is filled. Who may frame a site is told to the browser by `frame-ancestors`.
fn is_frame(asked: &Asked<'_>) -> bool {
    asked.is_read
        && asked.fetch_mode == Some("navigate")
        && matches!(asked.fetch_dest, Some("iframe" | "frame"))
}

fn is_origin(origin: &str, name: &str, port: u16) -> bool {
    let Some(host) = origin.strip_prefix("http://") else {
        return false;
    };
    name_of(host, port).is_some_and(|found| found.eq_ignore_ascii_case(name))
}
