//! The kinds of access people have to the internet, as rules of the kernel's own packet filter.
//!
//! A router of ours is silent towards strangers, as routers at home are: what it does not let in is dropped, never
//! refused. Mappings of the outside ports are those of RFC 4787 and RFC 5382: the filter names there say who may use
//! one. UDP and TCP are treated alike.

use std::fmt::{self, Display, Formatter};

/// How a host is connected to the internet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Nat {
    /// A public address of its own, and nothing in between.
    None,
    /// One outside port whoever is talked to, and anybody may use it ("open", "full cone").
    Open,
    /// One outside port, for hosts that were talked to, from any of their ports.
    AddressRestricted,
    /// One outside port, for exactly those ports of hosts that were talked to ("moderate"). Most routers at home.
    PortRestricted,
    /// Another random outside port for each that is talked to, and for that one only ("strict").
    Symmetric,
    /// A router at home behind one of the carrier, both port-restricted.
    Carrier,
    /// Port-restricted for TCP, and no UDP at all.
    UdpBlocked,
    /// Connections to TCP port 443, and nothing else in either direction.
    HttpsOnly,
}

impl Nat {
    /// Every kind, the easiest to reach first.
    pub(crate) const ALL: [Self; 8] = [
        Self::None,
        Self::Open,
        Self::AddressRestricted,
        Self::PortRestricted,
        Self::Carrier,
        Self::UdpBlocked,
        Self::Symmetric,
        Self::HttpsOnly,
    ];

    /// Who may send to an outside port of a host that talked to somebody; `None` when only answers come in, each to
    /// a port of its own.
    fn lets_in(self) -> Option<Filter> {
        match self {
            Self::None | Self::Open => Some(Filter::Anybody),
            Self::AddressRestricted => Some(Filter::Address),
            Self::PortRestricted | Self::Carrier | Self::UdpBlocked => Some(Filter::Port),
            Self::Symmetric | Self::HttpsOnly => None,
        }
    }

    /// Whether two hosts of these kinds can talk without a third, each knowing the outside port that the other has
    /// towards a server, and both trying at once.
    pub(crate) fn direct(self, other: Self) -> bool {
        // A strict one comes from a port nobody knows, so the other must not be particular about ports.
        let strict = |strict: Self, other: Self| {
            strict == Self::Symmetric
                && matches!(other.lets_in(), Some(Filter::Anybody | Filter::Address))
        };
        (self.lets_in().is_some() && other.lets_in().is_some())
            || strict(self, other)
            || strict(other, self)
    }

    /// The rules of the router at home, and of the carrier's.
    pub(super) fn rules(self) -> Rules {
        let home =
            |out: &str, masquerade: &str, inward: &str| router(HOME_TWIST, out, masquerade, inward);
        let (everything, keep_port) = ("accept", "masquerade");
        match self {
            Self::None => Rules {
                home: None,
                carrier: None,
            },
            Self::Open => Rules::home(home(
                everything,
                keep_port,
                "dnat to meta l4proto . th dport map @owner",
            )),
            Self::AddressRestricted => Rules::home(home(
                everything,
                keep_port,
                "meta l4proto . th dport . ip saddr @talked dnat to meta l4proto . th dport map @owner",
            )),
            Self::PortRestricted => Rules::home(home(everything, keep_port, "")),
            Self::Symmetric => Rules::home(home(everything, "masquerade fully-random", "")),
            Self::Carrier => Rules {
                home: Some(home(everything, keep_port, "")),
                carrier: Some(router(CARRIER_TWIST, everything, keep_port, "")),
            },
            Self::UdpBlocked => Rules::home(home("meta l4proto != udp accept", keep_port, "")),
            Self::HttpsOnly => Rules::home(home("tcp dport 443 accept", keep_port, "")),
        }
    }
}

impl Display for Nat {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "no NAT",
            Self::Open => "open",
            Self::AddressRestricted => "address-restricted",
            Self::PortRestricted => "port-restricted",
            Self::Symmetric => "symmetric",
            Self::Carrier => "carrier",
            Self::UdpBlocked => "UDP blocked",
            Self::HttpsOnly => "only HTTPS",
        })
    }
}

/// Who may send to an outside port (RFC 4787, section 5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Filter {
    Anybody,
    Address,
    Port,
}

/// What the routers between a host and the internet are told.
#[derive(Debug)]
pub(super) struct Rules {
    pub(super) home: Option<String>,
    pub(super) carrier: Option<String>,
}

impl Rules {
    fn home(rules: String) -> Self {
        Self {
            home: Some(rules),
            carrier: None,
        }
    }
}

/// A router between its interfaces `lan` and `wan`.
///
/// - `out`: what may leave.
/// - `masquerade`: which outside port it gets. The kernel keeps the port of a host whenever it can, and for the one
///   host of a home it always can.
/// - `inward`: who else may come in.
///
/// `owner` and `talked` are refreshed by every packet that leaves. The first table exchanges one bit of every port on
/// the way from and to the host, before and after anything else looks: so an outside port is never the host's own, and
/// a peer that tells others its own port is not reached by accident.
fn router(twist: u16, out: &str, masquerade: &str, inward: &str) -> String {
    format!(
        r#"
table ip twist {{
  chain from_lan {{ type filter hook prerouting priority raw; policy accept;
    iifname "lan" udp sport set udp sport xor {twist}
    iifname "lan" tcp sport set tcp sport xor {twist}
  }}
  chain to_lan {{ type filter hook postrouting priority 300; policy accept;
    oifname "lan" udp dport set udp dport xor {twist}
    oifname "lan" tcp dport set tcp dport xor {twist}
  }}
}}
table ip home {{
  map owner {{ typeof meta l4proto . th dport : ip saddr; flags dynamic,timeout; timeout 5m; size 65535; }}
  set talked {{ typeof meta l4proto . th dport . ip saddr; flags dynamic,timeout; timeout 5m; size 65535; }}
  chain input {{ type filter hook input priority filter; policy drop;
    iifname {{ "lan", "lo" }} accept
    ct state established,related accept
  }}
  chain forward {{ type filter hook forward priority filter; policy drop;
    iifname "lan" oifname "wan" meta l4proto {{ tcp, udp }} update @owner {{ meta l4proto . th sport : ip saddr }}
    iifname "lan" oifname "wan" meta l4proto {{ tcp, udp }} update @talked {{ meta l4proto . th sport . ip daddr }}
    iifname "lan" oifname "wan" {out}
    iifname "wan" ct state established,related accept
    iifname "wan" ct status dnat accept
  }}
  chain inward {{ type nat hook prerouting priority dstnat; policy accept;
    {inward}
  }}
  chain outward {{ type nat hook postrouting priority srcnat; policy accept;
    oifname "wan" {masquerade}
  }}
}}
"#,
        inward = match inward {
            "" => String::new(),
            inward => format!("iifname \"wan\" meta l4proto {{ tcp, udp }} {inward}"),
        }
    )
}

/// The bit of a port that a router at home exchanges.
const HOME_TWIST: u16 = 0x0040;
/// And that of a carrier: another one, or the outside port would be the host's own again.
const CARRIER_TWIST: u16 = 0x0080;
