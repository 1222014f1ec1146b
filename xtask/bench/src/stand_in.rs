//! A server that stands in for a peer who knows 5,000 others.
//!
//! Everything is the real peer's, asked for over its own socket: pages, session, pictures. Only the list of peers and the
//! stream of events are made here, in the form in which the peer gives them.

use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use argh::FromArgs;
use bytes::Bytes;
use futures::stream::{self, Stream, StreamExt};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::header::{CONTENT_TYPE, HOST, HeaderValue, ORIGIN};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio::net::{TcpListener, TcpStream};

/// The command.
pub(crate) const COMMAND: &str = "stand-in";

/// Stand in for a peer that knows many others.
#[derive(Debug, FromArgs)]
pub(crate) struct Options {
    /// where the real peer's pages are
    #[argh(option)]
    peer: SocketAddr,
    /// how many others it knows
    #[argh(option)]
    others: usize,
    /// how often in a second something about one of them changes
    #[argh(option)]
    rate: u32,
}

type Answer = Response<BoxBody<Bytes, hyper::Error>>;

#[derive(Debug)]
struct StandIn {
    peer: SocketAddr,
    ids: Vec<String>,
    rate: u32,
}

/// Serves until it is killed; prints where.
pub(crate) fn run(options: Options) -> Result<()> {
    let ids = (0..options.others)
        .map(|_| {
            libp2p::identity::Keypair::generate_ed25519()
                .public()
                .to_peer_id()
        })
        .map(|id| id.to_base58())
        .collect();
    let stand_in = Arc::new(StandIn {
        peer: options.peer,
        ids,
        rate: options.rate,
    });
    crate::floor::runtime()?.block_on(async {
        let listener = TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).await?;
        println!("http://{}", listener.local_addr()?);
        loop {
            let (stream, _) = listener.accept().await?;
            let stand_in = stand_in.clone();
            tokio::spawn(async move {
                let _ = stream.set_nodelay(true);
                let service = service_fn(move |request| {
                    let stand_in = stand_in.clone();
                    async move { Ok::<_, Infallible>(stand_in.answer(request).await) }
                });
                // A browser that leaves a stream breaks its connection off; that is its right.
                let _ = hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), service)
                    .await;
            });
        }
    })
}

impl StandIn {
    async fn answer(self: Arc<Self>, request: Request<Incoming>) -> Answer {
        match request.uri().path() {
            "/api/peers" => {
                let list: Vec<Value> = (0..self.ids.len()).map(|at| self.listed(at)).collect();
                text("application/json", Full::from(json!(list).to_string()))
            }
            "/api/mq/events" => {
                let frames = self
                    .events()
                    .map(|event| Ok(Frame::data(Bytes::from(event))));
                let mut answer = Response::new(BodyExt::boxed(StreamBody::new(frames)));
                let kind = HeaderValue::from_static("text/event-stream");
                answer.headers_mut().insert(CONTENT_TYPE, kind);
                answer
            }
            _ => self.forward(request).await.unwrap_or_else(|error| {
                let mut answer = text("text/plain", Full::from(format!("{error:#}")));
                *answer.status_mut() = StatusCode::BAD_GATEWAY;
                answer
            }),
        }
    }

    /// Asks the real peer.
    async fn forward(&self, mut request: Request<Incoming>) -> Result<Answer> {
        let stream = TcpStream::connect(self.peer).await?;
        stream.set_nodelay(true)?;
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        let headers = request.headers_mut();
        headers.insert(HOST, HeaderValue::from_str(&self.peer.to_string())?);
        if headers.contains_key(ORIGIN) {
            let origin = format!("http://{}", self.peer);
            headers.insert(ORIGIN, HeaderValue::from_str(&origin)?);
        }
        Ok(sender.send_request(request).await?.map(BodyExt::boxed))
    }

    /// A row as `/api/peers` has it.
    fn listed(&self, at: usize) -> Value {
        let seen = OffsetDateTime::now_utc().format(&Rfc3339);
        json!({
            "ID": self.ids[at], "Content": name(at, 0), "Email": "", "AvatarHash": "", "VideoDisabled": false,
            "ActiveTemplate": "", "Verified": false, "Reachable": !at.is_multiple_of(3), "Offline": at.is_multiple_of(7),
            "LastSeen": seen.unwrap_or_default(), "Favorite": at.is_multiple_of(500),
        })
    }

    /// The greeting, then one change after the other: somebody comes, goes, is reachable or not, or has a new name.
    fn events(self: Arc<Self>) -> impl Stream<Item = String> {
        let every = tokio::time::interval(Duration::from_secs(1) / self.rate.max(1));
        let changes = stream::unfold((every, 0_usize), move |(mut every, number)| {
            let event = self.change(number);
            async move {
                every.tick().await;
                Some((event, (every, number + 1)))
            }
        });
        let hello = "event: connected\ndata: {\"status\":\"ok\"}\n\n".to_owned();
        stream::once(std::future::ready(hello)).chain(changes)
    }

    fn change(&self, number: usize) -> String {
        // Goes through all of them in a mixed order: 2,731 shares no factor with 5,000.
        let at = number * 2_731 % self.ids.len();
        let turn = number / self.ids.len() + 1;
        let named = if number.is_multiple_of(4) { turn } else { 0 };
        let now = OffsetDateTime::now_utc().unix_timestamp_nanos() / 1_000_000;
        let payload = json!({
            "peerID": self.ids[at], "content": name(at, named), "reachable": !(at + number).is_multiple_of(3),
            "offline": (at + number).is_multiple_of(7), "lastSeen": u64::try_from(now).unwrap_or_default(),
            "favorite": at.is_multiple_of(500),
        });
        let event = json!({
            "type": "message",
            "msg": { "type": "msg", "id": number.to_string(), "seq": number, "topic": "peer:announce", "payload": payload },
        });
        format!("event: message\nid: bench-{number}\ndata: {event}\n\n")
    }
}

/// Somebody's name, and what they are called after some changes.
fn name(at: usize, turn: usize) -> String {
    let first = [
        "Ada", "Grace", "Barbara", "Radia", "Frances", "Karen", "Lynn", "Sophie",
    ][at % 8];
    match turn {
        0 => format!("{first} {at}"),
        turn => format!("{first} {at} ({turn})"),
    }
}

fn text(kind: &'static str, body: Full<Bytes>) -> Answer {
    let body = body.map_err(|never: Infallible| match never {}).boxed();
    let mut answer = Response::new(body);
    answer
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    answer
}
