//! The address of a server, as people write it.

use std::fmt;

use http::Uri;
use url::{Host, Url};

use crate::HttpError;

/// Longest address.
const MAX_URL: usize = 2 * 1024;

/// The address of a server: scheme, host, port, and a path before all of its paths.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server(Url);

impl Server {
    /// Reads what a person typed (rendezvous.md 1, `rendezvous_wan`).
    ///
    /// # Errors
    /// [`HttpError::Address`], in words for that person: no http or https address with a host, or something in it that
    /// does not belong to a server (a name and password would be sent to whoever answers).
    pub fn parse(text: &str) -> Result<Self, HttpError> {
        let text = text.trim();
        if text.len() > MAX_URL {
            return Err(HttpError::Address("the address is too long".to_owned()));
        }
        let refuse = |why: &str| HttpError::Address(format!("“{text}” {why}"));
        let url = Url::parse(text)
            .map_err(|_| refuse("is no address of a server; it looks like https://example.org"))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(refuse("must begin with http:// or https://"));
        }
        if !url.has_host() || !url.username().is_empty() || url.password().is_some() {
            return Err(refuse(
                "must be a host without a name or password before it",
            ));
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err(refuse("must not have a question mark or a hash"));
        }
        Ok(Self(url))
    }

    /// The address, without a slash at the end.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.as_str().trim_end_matches('/')
    }

    /// Whether it is asked over TLS.
    #[must_use]
    pub fn is_secure(&self) -> bool {
        self.0.scheme() == "https"
    }

    pub(crate) fn is_loopback(&self) -> bool {
        match self.0.host() {
            Some(Host::Ipv4(ip)) => ip.is_loopback(),
            Some(Host::Ipv6(ip)) => ip.is_loopback(),
            Some(Host::Domain(name)) => name.eq_ignore_ascii_case("localhost"),
            None => false,
        }
    }

    /// The address of something on it: `path` as it is, with a query already in it or in `query`.
    pub(crate) fn uri(&self, path: &str, query: &[(&str, &str)]) -> Result<Uri, HttpError> {
        let no_path = || HttpError::Address(format!("{path} is no path"));
        let mut url = Url::parse(&format!("{}{path}", self.as_str())).map_err(|_| no_path())?;
        if url.origin() != self.0.origin() {
            return Err(no_path());
        }
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        url.as_str().parse().map_err(|_| no_path())
    }
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: Option<&str>) {
        let server = Server::parse(text);
        let uri = server.map(|server| server.uri("/healthz", &[]).unwrap().to_string());
        assert_eq!(uri.ok().as_deref(), expected, "{text:?}");
    }

    #[test]
    fn addresses_are_read_as_people_write_them() {
        check("http://a.example", Some("http://a.example/healthz"));
        check(
            " https://a.example/base// ",
            Some("https://a.example/base/healthz"),
        );
        check("http://[::1]:8804//", Some("http://[::1]:8804/healthz"));
        check(
            "http://192.0.2.7:8787",
            Some("http://192.0.2.7:8787/healthz"),
        );
        for text in [
            "",
            "a.example",
            "ftp://a.example",
            "file:///etc/passwd",
            "http://",
            "http://me:secret@a.example",
            "http://a.example?x=1",
            "http://a.example#y",
        ] {
            check(text, None);
        }
        check(&format!("http://{}", "x".repeat(5_000)), None);
    }

    #[test]
    fn only_paths_of_the_server_are_asked() {
        let server = Server::parse("http://a.example:80").unwrap();
        for path in ["@b.example/", ".b.example/", ":81/"] {
            assert!(server.uri(path, &[]).is_err(), "{path}");
        }
        let uri = server.uri("/a", &[("b", "c&d")]).unwrap();
        assert_eq!(uri.to_string(), "http://a.example/a?b=c%26d");
    }
}
