//! The address a request comes from, behind proxies or not (rendezvous.md 21, weak point 1).

use std::net::IpAddr;

use http::HeaderMap;
use http::header::{FORWARDED, HeaderName};
use ipnet::IpNet;

/// What most proxies set.
const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
/// Addresses in such a header that are looked at, from the right. Nobody chains more proxies.
const MAX_HOPS: usize = 16;

/// The client's address: the socket's, or, where the socket is a proxy's that is trusted, the right-most one it names
/// that is not a trusted proxy itself. This machine is trusted, as is everything in `trusted`.
#[must_use]
pub fn client(socket: IpAddr, headers: &HeaderMap, trusted: &[IpNet]) -> IpAddr {
    let is_trusted = |address: IpAddr| is_trusted(address, trusted);
    let socket = socket.to_canonical();
    if !is_trusted(socket) {
        return socket;
    }
    let mut last = socket;
    for hop in hops(headers) {
        // Something that is no address hides what is left of it.
        let Some(hop) = hop else { return last };
        last = hop.to_canonical();
        if !is_trusted(last) {
            return last;
        }
    }
    last
}

/// Whether an address is a proxy's whose word counts: this machine's, or one in `trusted`.
#[must_use]
pub fn is_trusted(address: IpAddr, trusted: &[IpNet]) -> bool {
    address.is_loopback() || trusted.iter().any(|network| network.contains(&address))
}

/// The addresses a request passed, nearest first.
fn hops(headers: &HeaderMap) -> Vec<Option<IpAddr>> {
    let list = |name: &HeaderName| {
        let values = headers.get_all(name).iter();
        let words: Vec<String> = values
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .map(|word| word.trim().to_owned())
            .filter(|word| !word.is_empty())
            .collect();
        words
    };
    let plain = list(&X_FORWARDED_FOR);
    let words: Vec<Option<IpAddr>> = if plain.is_empty() {
        let elements = list(&FORWARDED);
        elements.iter().map(|element| forwarded(element)).collect()
    } else {
        plain.iter().map(|word| address(word)).collect()
    };
    words.into_iter().rev().take(MAX_HOPS).collect()
}

/// The `for` of one element of `Forwarded` (RFC 7239).
fn forwarded(element: &str) -> Option<IpAddr> {
    let pair = element.split(';').find_map(|pair| {
        let (name, value) = pair.split_once('=')?;
        name.trim().eq_ignore_ascii_case("for").then_some(value)
    })?;
    address(pair.trim().trim_matches('"'))
}

/// An address with or without port and brackets.
fn address(text: &str) -> Option<IpAddr> {
    if let Ok(address) = text.parse() {
        return Some(address);
    }
    if let Some(inner) = text.strip_prefix('[') {
        return inner.split_once(']')?.0.parse().ok();
    }
    text.split_once(':')?.0.parse().ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn check(socket: &str, header: (&str, &str), expected: &str) {
        let mut headers = HeaderMap::new();
        let name: HeaderName = header.0.parse().unwrap();
        headers.insert(name, header.1.parse().unwrap());
        let trusted = ["10.0.0.0/8".parse().unwrap()];
        let got = client(socket.parse().unwrap(), &headers, &trusted);
        assert_eq!(got.to_string(), expected, "{socket} {header:?}");
    }

    #[test]
    fn whose_word_counts() {
        check(
            "192.0.2.1",
            ("x-forwarded-for", "198.51.100.7"),
            "192.0.2.1",
        );
        check(
            "127.0.0.1",
            ("x-forwarded-for", "198.51.100.7"),
            "198.51.100.7",
        );
        check("127.0.0.1", ("x-other", "198.51.100.7"), "127.0.0.1");
        check(
            "::ffff:127.0.0.1",
            ("x-forwarded-for", "198.51.100.7"),
            "198.51.100.7",
        );
        // What stands left of the last stranger is the stranger's word.
        check(
            "10.1.1.1",
            ("x-forwarded-for", "203.0.113.9, 198.51.100.7, 10.2.2.2"),
            "198.51.100.7",
        );
        check(
            "10.1.1.1",
            ("x-forwarded-for", "what, 10.2.2.2"),
            "10.2.2.2",
        );
        check(
            "127.0.0.1",
            (
                "forwarded",
                "for=203.0.113.9, For=\"[2001:db8::1]:4711\";proto=https",
            ),
            "2001:db8::1",
        );
        check(
            "127.0.0.1",
            ("forwarded", "for=198.51.100.7:80"),
            "198.51.100.7",
        );
        check("127.0.0.1", ("forwarded", "for=_hidden"), "127.0.0.1");
    }
}
