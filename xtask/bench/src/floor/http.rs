//! A bare hyper server: the same bytes from memory for every request, or one file streamed.

use std::fs::File;
use std::io::{self, Read};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use anyhow::{Context as _, Result};
use argh::FromArgs;
use bytes::Bytes;
use http_body_util::{Either, Full};
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// The command.
pub(crate) const COMMAND: &str = "floor-http";
/// Bytes of the file read at once, one read ahead. Larger ones were not faster.
const CHUNK: usize = 256 * 1024;

/// Serve the same bytes for every request with nothing but hyper.
#[derive(Debug, FromArgs)]
pub(crate) struct Options {
    /// the address to listen on (loopback)
    #[argh(option, default = "Ipv4Addr::LOCALHOST")]
    listen: Ipv4Addr,
    /// answer this many bytes from memory
    #[argh(option, default = "0")]
    bytes: usize,
    /// answer this file, streamed
    #[argh(option)]
    file: Option<PathBuf>,
    /// a header of every answer, `name: value`
    #[argh(option)]
    header: Vec<String>,
}

#[derive(Debug)]
struct Answer {
    headers: HeaderMap,
    bytes: Bytes,
    file: Option<PathBuf>,
}

pub(crate) fn run(options: Options) -> Result<()> {
    super::runtime()?.block_on(serve(options))
}

async fn serve(options: Options) -> Result<()> {
    let mut headers = HeaderMap::new();
    for header in &options.header {
        let (name, value) = header
            .split_once(": ")
            .context("a header is `name: value`")?;
        headers.append(name.parse::<HeaderName>()?, value.parse::<HeaderValue>()?);
    }
    let answer = Arc::new(Answer {
        headers,
        bytes: vec![b'x'; options.bytes].into(),
        file: options.file,
    });
    let listener = TcpListener::bind(SocketAddr::from((options.listen, 0))).await?;
    println!("http://{}", listener.local_addr()?);
    loop {
        let (stream, _) = listener.accept().await?;
        tokio::spawn(connection(stream, answer.clone()));
    }
}

async fn connection(stream: TcpStream, answer: Arc<Answer>) {
    let _ = stream.set_nodelay(true);
    let service = service_fn(move |_: Request<Incoming>| std::future::ready(respond(&answer)));
    if let Err(error) = hyper::server::conn::http1::Builder::new()
        .serve_connection(TokioIo::new(stream), service)
        .await
    {
        eprintln!("a connection broke off: {error}");
    }
}

fn respond(answer: &Answer) -> io::Result<Response<Either<Full<Bytes>, Streamed>>> {
    let body = match &answer.file {
        Some(path) => Either::Right(Streamed::new(path)?),
        None => Either::Left(Full::new(answer.bytes.clone())),
    };
    let mut response = Response::new(body);
    response.headers_mut().clone_from(&answer.headers);
    Ok(response)
}

/// A file that is read as fast as it is taken.
#[derive(Debug)]
struct Streamed {
    /// Bytes that are not being read yet.
    left: u64,
    next: Next,
}

#[derive(Debug)]
enum Next {
    Rest(File),
    Ahead(JoinHandle<io::Result<(Bytes, File)>>),
    End,
}

impl Streamed {
    fn new(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        Ok(Self {
            left: file.metadata()?.len(),
            next: Next::Rest(file),
        })
    }

    fn read(&mut self, mut file: File) -> Next {
        let now = usize::try_from(self.left).unwrap_or(CHUNK).min(CHUNK);
        if now == 0 {
            return Next::End;
        }
        self.left -= now as u64;
        Next::Ahead(tokio::task::spawn_blocking(move || {
            let mut bytes = Vec::with_capacity(now);
            (&mut file).take(now as u64).read_to_end(&mut bytes)?;
            if bytes.len() < now {
                Err(io::ErrorKind::UnexpectedEof.into())
            } else {
                Ok((bytes.into(), file))
            }
        }))
    }
}

impl Body for Streamed {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let next = match std::mem::replace(&mut self.next, Next::End) {
            Next::Rest(file) => self.read(file),
            other => other,
        };
        let Next::Ahead(mut reading) = next else {
            return Poll::Ready(None);
        };
        let Poll::Ready(read) = Pin::new(&mut reading).poll(cx) else {
            self.next = Next::Ahead(reading);
            return Poll::Pending;
        };
        match read.map_err(io::Error::other).flatten() {
            Ok((bytes, file)) => {
                self.next = self.read(file);
                Poll::Ready(Some(Ok(Frame::data(bytes))))
            }
            Err(error) => Poll::Ready(Some(Err(error))),
        }
    }

    fn size_hint(&self) -> SizeHint {
        // Asked for before the first frame only.
        SizeHint::with_exact(self.left)
    }
}
