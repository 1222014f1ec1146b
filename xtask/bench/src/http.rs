//! A few requests from the bench itself, one connection each: signing in, looking at a list, comparing a page.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use anyhow::{Context, Result, bail};

/// How long an answer may take.
const ANSWER: Duration = Duration::from_secs(15);
/// Largest answer that is read.
const MAX_ANSWER: u64 = 8 << 20;

/// An answer.
#[derive(Debug)]
pub(crate) struct Reply {
    /// Status code.
    pub(crate) status: u16,
    /// Header names in lower case, and values.
    pub(crate) headers: Vec<(String, String)>,
    /// The body, taken out of its chunks.
    pub(crate) body: Vec<u8>,
}

impl Reply {
    /// The first header of that name (lower case).
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(found, _)| found == name)
            .map(|(_, value)| value.as_str())
    }

    /// The answer if it is `200`.
    pub(crate) fn ok(self, what: &str) -> Result<Self> {
        if self.status != 200 {
            bail!(
                "{what} answered {}: {}",
                self.status,
                String::from_utf8_lossy(&self.body).trim()
            );
        }
        Ok(self)
    }
}

/// Asks for `path` over a fresh connection and reads the whole answer.
pub(crate) fn get(
    mut stream: TcpStream,
    host: &str,
    path: &str,
    cookie: Option<&str>,
) -> Result<Reply> {
    send(&mut stream, host, path, cookie)?;
    reply(stream)
}

/// Posts JSON to `path` over a fresh connection and reads the whole answer.
pub(crate) fn post(
    mut stream: TcpStream,
    host: &str,
    path: &str,
    cookie: &str,
    body: &str,
) -> Result<Reply> {
    stream.set_read_timeout(Some(ANSWER))?;
    let request = format!(
        "POST {path} HTTP/1.1\r\nHost: {host}\r\nCookie: {cookie}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).context("request")?;
    reply(stream)
}

fn reply(stream: TcpStream) -> Result<Reply> {
    let mut reader = BufReader::new(stream.take(MAX_ANSWER));
    let (status, headers) = head(&mut reader)?;
    let mut body = Vec::new();
    let mut reply = Reply {
        status,
        headers,
        body: Vec::new(),
    };
    if reply.header("transfer-encoding") == Some("chunked") {
        loop {
            let mut size = String::new();
            reader.read_line(&mut size)?;
            let size = u64::from_str_radix(size.trim(), 16)
                .with_context(|| format!("chunk of size {size:?}"))?;
            (&mut reader).take(size).read_to_end(&mut body)?;
            reader.read_line(&mut String::new())?;
            if size == 0 {
                break;
            }
        }
    } else if let Some(length) = reply.header("content-length") {
        let length: usize = length.parse()?;
        body.resize(length, 0);
        reader.read_exact(&mut body)?;
    } else {
        reader.read_to_end(&mut body)?;
    }
    reply.body = body;
    Ok(reply)
}

/// Takes a chunked answer of any length and throws it away; the bytes of its body. A break in between is an error.
pub(crate) fn drain(mut stream: TcpStream, host: &str, path: &str, cookie: &str) -> Result<u64> {
    send(&mut stream, host, path, Some(cookie))?;
    let mut reader = BufReader::with_capacity(256 * 1024, stream);
    let (status, headers) = head(&mut reader)?;
    let chunked = ("transfer-encoding".to_owned(), "chunked".to_owned());
    if status != 200 || !headers.contains(&chunked) {
        bail!("{path} answered {status}, not in chunks");
    }
    let mut bytes = 0;
    loop {
        let mut size = String::new();
        reader.read_line(&mut size)?;
        let size = u64::from_str_radix(size.trim(), 16)
            .with_context(|| format!("chunk of size {size:?}"))?;
        let taken = std::io::copy(&mut (&mut reader).take(size), &mut std::io::sink())?;
        if taken < size {
            bail!("{path} broke off after {} bytes", bytes + taken);
        }
        bytes += size;
        reader.read_line(&mut String::new())?;
        if size == 0 {
            return Ok(bytes);
        }
    }
}

/// Asks for an event stream; each line of it can then be read. There is no deadline on a line.
pub(crate) fn events(
    mut stream: TcpStream,
    host: &str,
    path: &str,
    cookie: &str,
) -> Result<BufReader<TcpStream>> {
    send(&mut stream, host, path, Some(cookie))?;
    let mut reader = BufReader::new(stream);
    let (status, _) = head(&mut reader)?;
    if status != 200 {
        bail!("{path} answered {status}");
    }
    reader.get_ref().set_read_timeout(None)?;
    Ok(reader)
}

fn send(stream: &mut TcpStream, host: &str, path: &str, cookie: Option<&str>) -> Result<()> {
    stream.set_read_timeout(Some(ANSWER))?;
    let cookie = cookie
        .map(|cookie| format!("Cookie: {cookie}\r\n"))
        .unwrap_or_default();
    let request =
        format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n{cookie}Connection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).context("request")
}

fn head(reader: &mut impl BufRead) -> Result<(u16, Vec<(String, String)>)> {
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let status = line.split(' ').nth(1).and_then(|code| code.parse().ok());
    let status = status.with_context(|| format!("not an answer: {line:?}"))?;
    let mut headers = Vec::new();
    loop {
        line.clear();
        reader.read_line(&mut line)?;
        let Some((name, value)) = line.trim_end().split_once(':') else {
            break;
        };
        headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    Ok((status, headers))
}
