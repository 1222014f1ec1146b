//! Asking the public internet, where somebody else named the address.
//!
//! A script or a transformation may come with a stranger's template, and this machine sees more than its author does: other
//! programs of the machine, the router, devices of the network. So only addresses of the public internet are asked, which
//! is looked at after the name was looked up, on the very addresses that are dialled; no redirect is followed, and no
//! proxy is used, which would look the name up elsewhere.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::pin::Pin;
use std::task::{Context, Poll};

use http::header::{ACCEPT, USER_AGENT};
use http::{HeaderValue, Request, StatusCode};
use hyper::body::Incoming;
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::dns::Name;
use hyper_util::rt::TokioExecutor;
use tower::Service;
use url::{Host, Url};

use crate::{Body, CONNECT, HttpError, in_words, trust, wrap};

/// Longest address that is asked, in bytes.
const MAX_URL: usize = 8 * 1024;

/// Which addresses may be asked.
type Allowed = fn(IpAddr) -> bool;

/// Looks names up, and keeps the addresses that may be asked.
#[derive(Debug, Clone)]
struct Careful(Allowed);

impl Service<Name> for Careful {
    type Response = std::vec::IntoIter<SocketAddr>;
    type Error = std::io::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let allowed = self.0;
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let found: Vec<SocketAddr> = found.filter(|addr| allowed(addr.ip())).collect();
            if found.is_empty() {
                return Err(std::io::Error::other(NOT_PUBLIC));
            }
            Ok(found.into_iter())
        })
    }
}

const NOT_PUBLIC: &str = "this address is not one of the public internet, and no other is asked";

type Careless = Client<HttpsConnector<HttpConnector<Careful>>, Body>;

/// Asks the public internet. Cheap to clone; nothing is read or opened before the first question.
#[derive(Debug, Clone)]
pub struct Web {
    agent: HeaderValue,
    allowed: Allowed,
}

impl Web {
    /// `agent` is what servers are told about this program.
    #[must_use]
    pub fn new(agent: HeaderValue) -> Self {
        Self {
            agent,
            allowed: is_public,
        }
    }

    fn client(&self, secure: bool) -> Careless {
        let mut connector = HttpConnector::new_with_resolver(Careful(self.allowed));
        connector.enforce_http(false);
        connector.set_connect_timeout(Some(CONNECT));
        let tls = if secure {
            trust::with_roots()
        } else {
            trust::without_roots()
        };
        Client::builder(TokioExecutor::new())
            .pool_max_idle_per_host(0)
            .build(wrap(connector, tls))
    }

    /// Asks for what is at an address and gives the body of a 200, which is for the caller to bound and to time.
    ///
    /// # Errors
    /// See [`HttpError`]; [`HttpError::Status`] for every answer but 200.
    pub async fn get(&self, text: &str, accept: &'static str) -> Result<Incoming, HttpError> {
        let no_address = || HttpError::Address("this is no web address".to_owned());
        let url = Url::parse(text.trim())
            .ok()
            .filter(|url| {
                matches!(url.scheme(), "http" | "https")
                    && text.len() <= MAX_URL
                    && url.has_host()
                    && url.username().is_empty()
                    && url.password().is_none()
            })
            .ok_or_else(no_address)?;
        // An address that is written out is never looked up.
        let written = match url.host() {
            Some(Host::Ipv4(ip)) => Some(IpAddr::V4(ip)),
            Some(Host::Ipv6(ip)) => Some(IpAddr::V6(ip)),
            _ => None,
        };
        if written.is_some_and(|ip| !(self.allowed)(ip)) {
            return Err(HttpError::Address(NOT_PUBLIC.to_owned()));
        }
        let mut request = Request::new(Body::default());
        *request.uri_mut() = url.as_str().parse().map_err(|_| no_address())?;
        let headers = request.headers_mut();
        headers.insert(USER_AGENT, self.agent.clone());
        headers.insert(ACCEPT, HeaderValue::from_static(accept));
        let answer = self.client(url.scheme() == "https").request(request).await;
        let answer = answer.map_err(|error| HttpError::Connection(in_words(&error)))?;
        match answer.status() {
            StatusCode::OK => Ok(answer.into_body()),
            status => Err(HttpError::Status(status)),
        }
    }
}

/// Whether an address is one of the public internet (RFC 6890 and what followed it), also inside of addresses that carry
/// another one.
fn is_public(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => is_public_v4(ip),
        IpAddr::V6(ip) => is_public_v6(ip),
    }
}

fn is_public_v4(ip: Ipv4Addr) -> bool {
    let [a, b, c, _] = ip.octets();
    let apart = ip.is_loopback()
        || ip.is_private()
        || ip.is_link_local()
        || ip.is_documentation()
        // This network; multicast, reserved and broadcast.
        || a == 0
        || a >= 224
        // Between a provider and its customers; protocol assignments; benchmarks.
        || (a == 100 && (64..128).contains(&b))
        || (a, b, c) == (192, 0, 0)
        || (a, b, c) == (192, 88, 99)
        || (a == 198 && (b == 18 || b == 19));
    !apart
}

fn is_public_v6(ip: Ipv6Addr) -> bool {
    let s = ip.segments();
    let carried = |high: u16, low: u16| {
        let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
        is_public_v4(Ipv4Addr::new(a, b, c, d))
    };
    match s {
        // ::ffff:a.b.c.d and the old ::a.b.c.d, with :: and ::1
        [0, 0, 0, 0, 0, 0 | 0xffff, high, low] => carried(high, low),
        // NAT64 and 6to4
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] | [0x2002, high, low, ..] => carried(high, low),
        // Teredo and other assignments, documentation
        [0x2001, second, ..] if second < 0x200 || second == 0xdb8 => false,
        // Only global unicast is given out
        [first, ..] => first & 0xe000 == 0x2000,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use http_body_util::BodyExt;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    const AGENT: HeaderValue = HeaderValue::from_static("test");

    #[test]
    fn public_addresses() {
        for (text, expected) in [
            ("1.1.1.1", true),
            ("93.184.216.34", true),
            ("2606:4700::1111", true),
            ("2a00:1450:4001::8a", true),
            ("64:ff9b::101:101", true),
            ("127.0.0.1", false),
            ("127.9.9.9", false),
            ("0.0.0.0", false),
            ("10.1.2.3", false),
            ("172.31.0.1", false),
            ("192.168.0.1", false),
            ("169.254.169.254", false),
            ("100.64.0.1", false),
            ("192.0.0.8", false),
            ("198.18.0.1", false),
            ("224.0.0.1", false),
            ("255.255.255.255", false),
            ("::", false),
            ("::1", false),
            ("::ffff:127.0.0.1", false),
            ("::ffff:10.0.0.1", false),
            ("::7f00:1", false),
            ("64:ff9b::7f00:1", false),
            ("2002:7f00:1::1", false),
            ("2001:0:1::1", false),
            ("2001:db8::1", false),
            ("fc00::1", false),
            ("fd12::1", false),
            ("fe80::1", false),
            ("fec0::1", false),
            ("ff02::1", false),
        ] {
            let ip: IpAddr = text.parse().unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST));
            assert_eq!(is_public(ip), expected, "{text}");
        }
    }

    /// A server that gives one answer to each connection; gives its port.
    async fn server(answer: &'static str) -> u16 {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await;
        let listener = listener.expect("a free port");
        let port = listener.local_addr().expect("its address").port();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut head = [0; 1024];
                let _ = stream.read(&mut head).await;
                let _ = stream.write_all(answer.as_bytes()).await;
            }
        });
        port
    }

    async fn got(web: &Web, url: &str) -> Result<String, String> {
        let said = web.get(url, "*/*").await;
        let body = said.map_err(|error| error.to_string())?.collect().await;
        let body = body.map_err(|error| error.to_string())?.to_bytes();
        Ok(String::from_utf8_lossy(&body).into_owned())
    }

    /// What this machine and its network say is out of reach, however the address is written.
    #[tokio::test]
    async fn no_program_of_this_machine_is_asked() {
        let port = server("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n[]").await;
        let web = Web::new(AGENT);
        for host in [
            "127.0.0.1",
            "localhost",
            "0x7f.1",
            "2130706433",
            "0177.0.0.1",
            "127.1",
            "[::1]",
            "[::ffff:127.0.0.1]",
            "0",
            "LOCALHOST.",
            "me.localhost",
        ] {
            let said = got(&web, &format!("http://{host}:{port}/")).await;
            assert!(said.is_err(), "{host}: {said:?}");
        }
        for text in [
            "ftp://a.example/",
            "file:///etc/passwd",
            "http://me:x@1.1.1.1/",
            "",
            "x",
            "http://",
        ] {
            assert_eq!(
                got(&web, text).await,
                Err("this is no web address".to_owned()),
                "{text}"
            );
        }
        // The same server would have answered.
        let open = Web {
            agent: AGENT,
            allowed: |_| true,
        };
        for host in ["127.0.0.1", "localhost"] {
            let said = got(&open, &format!("http://{host}:{port}/a?b")).await;
            assert_eq!(said.as_deref(), Ok("[]"), "{host}");
        }
    }

    #[tokio::test]
    async fn only_a_plain_answer_counts() {
        let open = Web {
            agent: AGENT,
            allowed: |_| true,
        };
        for (answer, words) in [
            (
                "HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1/\r\ncontent-length: 0\r\n\r\n",
                "answered 302",
            ),
            (
                "HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n",
                "answered 404",
            ),
            ("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n[]", ""),
            ("garbage", ""),
        ] {
            let port = server(answer).await;
            let said = got(&open, &format!("http://127.0.0.1:{port}/")).await;
            assert!(
                said.clone().is_err_and(|error| error.contains(words)),
                "{answer}: {said:?}"
            );
        }
    }
}
