//! `/ws`: one WebSocket for one peer (rendezvous.md 6).
//!
//! One task for each socket reads, writes and asks for signs of life. It ends when the client closes, says nothing for
//! [`SILENCE`], cannot take a message within [`WRITE_WITHIN`], is displaced, or the server ends; its seat tells the owner
//! of the table so, however it ends. Our own clients ask for two things more: `hello=1` gives a nonce to sign, which
//! proves the socket, and `news=1` leaves out the repeats that Go clients need.

use std::time::Duration;

use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::ws::{CloseFrame, Message, Utf8Bytes, WebSocket, WebSocketUpgrade, close_code};
use axum::extract::{Query, State};
use axum::response::Response;
use bytes::Bytes;
use futures::SinkExt;
use goop_identity::PeerId;
use goop_identity::label::parse_peer_id;
use http::header::SEC_WEBSOCKET_VERSION;
use http::{HeaderValue, StatusCode};
use rand::RngExt;
use serde::Deserialize;
use tokio::sync::broadcast;
use tokio::time::{Instant, timeout};

use super::presence::judge;
use super::{Client, Shared, instant, reply};
use crate::hub::{Connected, Lane, ToSocket};
use crate::limits::{Open, Permit};
use crate::state::{Frames, Hello, NotYet};
use crate::wire::{ClientHello, MAX_MESSAGE, NONCE, Publication, ServerHello, SnapshotMark};

/// A client that gives no sign of life is gone (rendezvous.md 6.2).
const SILENCE: Duration = Duration::from_secs(15);
/// How often a quiet client is asked for one; Go clients give the server up after 15 s without (rendezvous.md 6.2).
const PING_EVERY: Duration = Duration::from_secs(5);
/// A client that cannot take what it is sent within this is gone (rendezvous.md 6.2).
const WRITE_WITHIN: Duration = Duration::from_secs(2);
/// Buffers of one socket, in bytes, so that an idle one costs little; larger messages make room for themselves.
const BUFFER: usize = 4 * 1024;
/// Bytes that wait for the network before writing waits for it, too.
const MAX_BUFFERED: usize = 256 * 1024;

#[derive(Debug, Deserialize)]
pub(super) struct Asked {
    #[serde(default)]
    peer_id: String,
    #[serde(default)]
    probe: String,
    #[serde(default)]
    hello: String,
    #[serde(default)]
    news: String,
}

/// A WebSocket for one peer that published already.
#[utoipa::path(get, path = "/ws", tag = "presence",
    params(("peer_id" = String, Query), ("probe" = Option<String>, Query), ("hello" = Option<String>, Query), ("news" = Option<String>, Query)),
    responses((status = 101), (status = 400), (status = 425, description = "publish first, or another socket speaks for the peer"), (status = 429)))]
pub(super) async fn open(
    State(shared): State<Shared>,
    Client(address): Client,
    Query(asked): Query<Asked>,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Response {
    if asked.probe == "1" {
        return match upgrade {
            Ok(upgrade) => upgrade.on_upgrade(|mut socket| async move {
                close(&mut socket, close_code::NORMAL, "probe-ok").await;
            }),
            Err(_) => no_upgrade(),
        };
    }
    if asked.peer_id.is_empty() {
        return reply::error(StatusCode::BAD_REQUEST, "peer_id required");
    }
    let too_early = |not_yet: NotYet| reply::error(StatusCode::TOO_EARLY, not_yet);
    // Not a peer id: then it published nothing either.
    let Some(peer) = parse_peer_id(asked.peer_id.trim()) else {
        return too_early(NotYet::Unknown);
    };
    match shared.hub.standing(peer).await {
        Ok(Some(_)) => {}
        Ok(None) => return too_early(NotYet::Unknown),
        Err(ending) => return reply::ending(ending),
    }
    let Ok(permit) = shared.limits.open(Open::Socket, address) else {
        return reply::error(
            StatusCode::TOO_MANY_REQUESTS,
            "too many WebSocket connections from this IP",
        );
    };
    let Ok(upgrade) = upgrade else {
        return no_upgrade();
    };
    let nonce = (asked.hello == "1").then(|| {
        let mut nonce = [0; NONCE];
        rand::rng().fill(&mut nonce);
        nonce
    });
    let hello = match nonce {
        Some(_) => Hello::Promised,
        None => Hello::None,
    };
    let lane = match asked.news.as_str() {
        "1" => Lane::Changes,
        _ => Lane::All,
    };
    let connected = match shared.hub.attach(peer, hello, lane).await {
        Ok(Ok(connected)) => connected,
        Ok(Err(not_yet)) => return too_early(not_yet),
        Err(ending) => return reply::ending(ending),
    };
    let tasks = shared.tasks.token();
    upgrade
        .read_buffer_size(BUFFER)
        .write_buffer_size(BUFFER)
        .max_write_buffer_size(MAX_BUFFERED)
        .max_message_size(MAX_MESSAGE)
        .max_frame_size(MAX_MESSAGE)
        .on_upgrade(move |socket| async move {
            let _task = tasks;
            let session = Session {
                socket,
                shared,
                peer,
                address,
                nonce,
                lane,
                challenged: false,
                _permit: permit,
            };
            session.run(connected).await;
        })
}

fn no_upgrade() -> Response {
    let mut response = reply::error(StatusCode::BAD_REQUEST, "Bad Request");
    let version = HeaderValue::from_static("13");
    response
        .headers_mut()
        .insert(SEC_WEBSOCKET_VERSION, version);
    response
}

async fn close(socket: &mut WebSocket, code: u16, reason: &'static str) {
    let frame = CloseFrame {
        code,
        reason: Utf8Bytes::from_static(reason),
    };
    // The client may be gone already.
    let _ = timeout(WRITE_WITHIN, socket.send(Message::Close(Some(frame)))).await;
}

struct Session {
    socket: WebSocket,
    shared: Shared,
    peer: PeerId,
    address: std::net::IpAddr,
    nonce: Option<[u8; NONCE]>,
    lane: Lane,
    /// Somebody else wants the place of this socket.
    challenged: bool,
    _permit: Permit,
}

/// Why a session is over.
enum Over {
    Gone,
    Close(u16, &'static str),
}

impl Session {
    async fn run(mut self, connected: Connected) {
        match self.serve(connected).await {
            Over::Gone => {}
            Over::Close(code, reason) => close(&mut self.socket, code, reason).await,
        }
    }

    async fn serve(&mut self, connected: Connected) -> Over {
        let Connected {
            seat,
            snapshot,
            hints,
            mut lane,
            mut inbox,
        } = connected;
        if self.greet(snapshot, hints).await.is_none() {
            return Over::Gone;
        }
        let stop = self.shared.stop.clone();
        let mut heard = Instant::now();
        let mut pinged = heard;
        loop {
            // A client that speaks is not asked whether it lives, but it asks that of us.
            let ping_at = pinged + PING_EVERY;
            let written = tokio::select! {
                message = self.socket.recv() => {
                    let Some(Ok(message)) = message else { return Over::Gone };
                    heard = Instant::now();
                    if std::mem::take(&mut self.challenged) {
                        self.shared.hub.alive(seat.socket).await;
                    }
                    match message {
                        Message::Text(text) => self.take(text.as_bytes(), &seat).await,
                        Message::Binary(bytes) => self.take(&bytes, &seat).await,
                        Message::Close(_) => return Over::Gone,
                        Message::Ping(_) | Message::Pong(_) => {}
                    }
                    Some(())
                }
                frames = lane.recv() => match frames {
                    Ok(frames) => self.write(&frames).await,
                    Err(broadcast::error::RecvError::Closed) => return Over::Close(close_code::AWAY, "the server ends"),
                    Err(broadcast::error::RecvError::Lagged(_)) => {
                        metrics::counter!("goop_rendezvous_snapshots_total", "why" => "behind").increment(1);
                        // What is in the ring is older than the snapshot and would undo parts of it.
                        lane = lane.resubscribe();
                        match self.shared.hub.snapshot().await {
                            Ok(snapshot) => self.greet(snapshot, Vec::new()).await,
                            Err(_) => return Over::Close(close_code::AWAY, "the server ends"),
                        }
                    }
                },
                message = inbox.recv() => match message {
                    Some(ToSocket::Hints(frames)) => self.write(&frames).await,
                    Some(ToSocket::Challenge) => {
                        self.challenged = true;
                        pinged = Instant::now();
                        self.ping().await
                    }
                    Some(ToSocket::Close) | None => {
                        return Over::Close(close_code::POLICY, "another connection speaks for this peer");
                    }
                },
                () = tokio::time::sleep_until(ping_at) => {
                    if heard.elapsed() >= SILENCE {
                        return Over::Gone;
                    }
                    pinged = Instant::now();
                    self.ping().await
                }
                () = stop.cancelled() => return Over::Close(close_code::AWAY, "the server ends"),
            };
            if written.is_none() {
                return Over::Gone;
            }
        }
    }

    /// Everybody who is there, and what waited.
    async fn greet(&mut self, snapshot: Frames, hints: Vec<Bytes>) -> Option<()> {
        if let Some(nonce) = &self.nonce {
            let hello = serde_json::to_vec(&ServerHello::new(nonce)).ok()?;
            self.write(&[Bytes::from(hello)]).await?;
        }
        if self.lane == Lane::Changes {
            let mark = serde_json::to_vec(&SnapshotMark::of(snapshot.len())).ok()?;
            self.write(&[Bytes::from(mark)]).await?;
        }
        self.write(&snapshot).await?;
        self.write(&hints).await
    }

    /// What the client says. Nothing of it is answered: Go clients expect nothing (rendezvous.md 6.3).
    async fn take(&mut self, bytes: &[u8], seat: &crate::hub::Seat) {
        if let Some(nonce) = &self.nonce
            && let Some(hello) = ClientHello::from_json(bytes)
        {
            if hello.proves(&self.peer, nonce) {
                // Once is enough, and once only.
                self.nonce = None;
                self.shared.hub.proved(seat.socket).await;
            }
            return;
        }
        if !self
            .shared
            .limits
            .message(self.address, self.peer, instant())
        {
            return;
        }
        let Ok(publication) = Publication::from_client(bytes, Some(self.peer)) else {
            return;
        };
        let incoming = judge(publication, &self.shared);
        if let Ok(Err(refused)) = self.shared.hub.publish(incoming, Some(seat.socket)).await {
            tracing::debug!(peer = %self.peer, %refused, "a message on a socket changes nothing");
        }
    }

    async fn ping(&mut self) -> Option<()> {
        let ping = self.socket.send(Message::Ping(Bytes::new()));
        timeout(WRITE_WITHIN, ping).await.ok()?.ok()
    }

    /// Writes messages, together where they fit.
    async fn write(&mut self, frames: &[Bytes]) -> Option<()> {
        for frame in frames {
            // Everything that is sent was encoded here, as JSON.
            let Ok(text) = Utf8Bytes::try_from(frame.clone()) else {
                continue;
            };
            let fed = self.socket.feed(Message::Text(text));
            timeout(WRITE_WITHIN, fed).await.ok()?.ok()?;
        }
        timeout(WRITE_WITHIN, self.socket.flush()).await.ok()?.ok()
    }
}
