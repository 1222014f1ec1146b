//! Asking the web for rows, where a transformation names an address.
//!
//! A transformation may come with somebody's template, and this machine sees more than its author does: other programs
//! of the machine, the router, devices of the network. So only addresses of the public internet are asked, which is
//! looked at after the name was looked up, on the very addresses that are dialled; and no redirect is followed.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::future::{BoxFuture, FutureExt};
use futures_util::stream::StreamExt;
use goop_data::transform::{Fetch, Fetched};
use http::header::{ACCEPT, USER_AGENT};
use http::{HeaderValue, Request, StatusCode};
use http_body_util::{BodyExt, Empty};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::dns::Name;
use hyper_util::rt::TokioExecutor;
use tower::Service;
use url::{Host, Url};

use super::{Server, cause};

/// Largest answer, in bytes. Its rows are taken one by one.
pub(crate) const MAX_BODY: usize = 256 * 1024 * 1024;

/// Which addresses may be asked.
type Allowed = fn(IpAddr) -> bool;

/// Looks names up, and keeps the addresses that may be asked.
#[derive(Clone)]
struct Careful(Allowed);

impl Service<Name> for Careful {
    type Response = std::vec::IntoIter<SocketAddr>;
    type Error = std::io::Error;
    type Future = BoxFuture<'static, Result<Self::Response, Self::Error>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let allowed = self.0;
        async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let found: Vec<SocketAddr> = found.filter(|addr| allowed(addr.ip())).collect();
            if found.is_empty() {
                return Err(std::io::Error::other(NOT_PUBLIC));
            }
            Ok(found.into_iter())
        }
        .boxed()
    }
}

const NOT_PUBLIC: &str = "this address is not one of the public internet, and no other is asked";

/// Asks the web. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Web {
    client: Client<HttpsConnector<HttpConnector<Careful>>, Empty<Bytes>>,
    agent: HeaderValue,
    allowed: Allowed,
}

impl Web {
    /// `version` is what servers are told about this program.
    pub(crate) fn new(version: &str) -> Self {
        Self::asking(version, is_public)
    }

    fn asking(version: &str, allowed: Allowed) -> Self {
        let mut http = HttpConnector::new_with_resolver(Careful(allowed));
        http.enforce_http(false);
        let https = HttpsConnectorBuilder::new()
            .with_provider_and_webpki_roots(rustls::crypto::ring::default_provider())
            .expect("the ring provider has suites for TLS 1.2 and 1.3")
            .https_or_http()
            .enable_http1()
            .wrap_connector(http);
        let mut client = Client::builder(TokioExecutor::new());
        client.pool_max_idle_per_host(0);
        Self {
            client: client.build(https),
            agent: HeaderValue::from_str(&format!("goop2-rs/{version}"))
                .unwrap_or(HeaderValue::from_static("goop2-rs")),
            allowed,
        }
    }

    async fn ask(&self, text: &str) -> Result<Fetched, String> {
        // The same forms as a server of the settings, but with what stands behind the host.
        let is_web = Server::parse(text).is_some();
        let url = Url::parse(text.trim()).ok().filter(|_| is_web);
        let url = url.ok_or("this is no web address")?;
        // An address that is written out is never looked up.
        let written = match url.host() {
            Some(Host::Ipv4(ip)) => Some(IpAddr::V4(ip)),
            Some(Host::Ipv6(ip)) => Some(IpAddr::V6(ip)),
            _ => None,
        };
        if written.is_some_and(|ip| !(self.allowed)(ip)) {
            return Err(NOT_PUBLIC.to_owned());
        }
        let mut request = Request::new(Empty::new());
        *request.uri_mut() = url
            .as_str()
            .parse()
            .map_err(|_| "this is no web address".to_owned())?;
        let headers = request.headers_mut();
        headers.insert(USER_AGENT, self.agent.clone());
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        let answer = self
            .client
            .request(request)
            .await
            .map_err(|error| cause(&error))?;
        if answer.status() != StatusCode::OK {
            return Err(format!("the server answers {}", answer.status()));
        }
        let mut left = MAX_BODY;
        let pieces = answer.into_body().into_data_stream().map(move |piece| {
            let piece = piece.map_err(|error| cause(&error))?;
            left = left
                .checked_sub(piece.len())
                .ok_or_else(|| format!("the answer is longer than {MAX_BODY} bytes"))?;
            Ok(piece.to_vec())
        });
        Ok(pieces.boxed())
    }
}

impl Fetch for Web {
    fn get<'a>(&'a self, url: &'a str) -> BoxFuture<'a, Result<Fetched, String>> {
        self.ask(url).boxed()
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
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

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
        let mut pieces = web.get(url).await?;
        let mut text = Vec::new();
        while let Some(piece) = pieces.next().await {
            text.extend(piece?);
        }
        Ok(String::from_utf8_lossy(&text).into_owned())
    }

    /// What this machine and its network say is out of reach, however the address is written.
    #[tokio::test]
    async fn no_program_of_this_machine_is_asked() {
        let port = server("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n[]").await;
        let web = Web::new("0");
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
        let open = Web::asking("0", |_| true);
        for host in ["127.0.0.1", "localhost"] {
            let said = got(&open, &format!("http://{host}:{port}/a?b")).await;
            assert_eq!(said.as_deref(), Ok("[]"), "{host}");
        }
    }

    #[tokio::test]
    async fn only_a_plain_answer_counts() {
        let open = Web::asking("0", |_| true);
        for (answer, words) in [
            (
                "HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1/\r\ncontent-length: 0\r\n\r\n",
                "answers 302",
            ),
            (
                "HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n",
                "answers 404",
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
