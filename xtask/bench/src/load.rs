//! The load generators: hidden commands that ask an HTTP server, ours or a floor, in exactly the same way.
//!
//! They know as much HTTP as a kept connection needs and cost little beside what they measure: one thread, no
//! allocation per request. Every answer is checked for its status and its length, and anything unexpected ends them
//! with an error.

pub(crate) mod bulk;
pub(crate) mod flood;
pub(crate) mod places;
pub(crate) mod post;
pub(crate) mod rate;
pub(crate) mod sockets;

use std::net::SocketAddr;

use anyhow::{Context, Result, bail};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

/// Bytes read at once; an answer's head has to fit.
const BUFFER: usize = 256 * 1024;

/// A kept connection.
struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

/// The head of an answer, and how many bytes of the body came with it.
struct Head {
    /// Bytes of the whole body.
    length: u64,
    /// Where the body begins in the buffer.
    at: usize,
    /// Where what was read ends in the buffer.
    end: usize,
}

impl Connection {
    async fn open(addr: SocketAddr, buffer: usize) -> Result<Self> {
        let stream = TcpStream::connect(addr)
            .await
            .with_context(|| format!("nobody listens on {addr}"))?;
        stream.set_nodelay(true)?;
        Ok(Self {
            stream,
            buffer: vec![0; buffer],
        })
    }

    async fn head(&mut self) -> Result<Head> {
        let mut end = 0;
        loop {
            let read = self.stream.read(&mut self.buffer[end..]).await?;
            if read == 0 {
                bail!("the server closed the connection after {end} bytes of an answer's head");
            }
            let searched = end.saturating_sub(3);
            end += read;
            if let Some(at) = self.buffer[searched..end]
                .windows(4)
                .position(|four| four == b"\r\n\r\n")
            {
                let at = searched + at + 4;
                return Ok(Head {
                    length: content_length(&self.buffer[..at])?,
                    at,
                    end,
                });
            }
        }
    }
}

/// The `Content-Length` of an answer that is `200`.
fn content_length(head: &[u8]) -> Result<u64> {
    const NAME: &[u8] = b"content-length:";
    if head.get(9..12) != Some(b"200") {
        let line = head.split(|byte| *byte == b'\r').next().unwrap_or_default();
        bail!("the server answered {:?}", String::from_utf8_lossy(line));
    }
    let mut lines = head.split(|byte| *byte == b'\n');
    let found =
        lines.find(|line| line.len() > NAME.len() && line[..NAME.len()].eq_ignore_ascii_case(NAME));
    let value = found.map(|line| {
        String::from_utf8_lossy(&line[NAME.len()..])
            .trim()
            .to_owned()
    });
    value
        .and_then(|value| value.parse().ok())
        .context("the answer has no Content-Length")
}

/// The bytes of a request.
fn request(host: &str, path: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n").into_bytes()
}

fn runtime() -> Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?)
}

#[cfg(test)]
mod tests {
    use super::content_length;

    #[test]
    fn heads() {
        let check = |head: &str, length: Option<u64>| {
            assert_eq!(content_length(head.as_bytes()).ok(), length, "{head}")
        };
        check(
            "HTTP/1.1 200 OK\r\nContent-Length: 10240\r\n\r\n",
            Some(10_240),
        );
        check(
            "HTTP/1.1 200 OK\r\ndate: x\r\ncontent-length:7\r\nx: y\r\n\r\n",
            Some(7),
        );
        check(
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n",
            None,
        );
        check("HTTP/1.1 404 Not Found\r\ncontent-length: 7\r\n\r\n", None);
        check("", None);
    }
}
