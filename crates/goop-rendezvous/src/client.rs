//! Keeping in touch with one rendezvous server (rendezvous.md 18, 19).
//!
//! One task a server. It owns the [`machine`](Machine) that decides, the socket and the event stream; [`Client`] is its
//! handle and [`Client::shutdown`] ends it after the last record was delivered, or dropping it cuts it off. Several
//! servers are several clients: none waits for another.
//!
//! What goes out is the newest record of a `watch` channel; there is no queue that could grow or fall behind. What comes
//! in are [`Heard`] values on a bounded channel.

mod machine;
mod relay_info;
mod sse;
mod task;

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use goop_http::{Ask, Http, Server};
use goop_identity::presence::PresenceMessage;
use goop_identity::{Keypair, PeerId};
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

pub use goop_http::HttpError;
pub use machine::{Action, Contact, Failure, Input, Machine};
pub use relay_info::RelayInfo;

/// What servers are told about this program.
const AGENT: &str = concat!("goop2-rs/", env!("CARGO_PKG_VERSION"));
/// How long the last record may take (rendezvous.md 19: up to 1 s), the end of the task included.
const FAREWELL: Duration = Duration::from_millis(1_200);

/// Makes the record that is sent out of the one the network gives: adds what only a server may see (the verification
/// token), the public key, and the signature. Called at each delivery, when the time is set already: it grows with each
/// record, as servers of ours want it of those that sign.
pub type Complete = Arc<dyn Fn(PresenceMessage) -> PresenceMessage + Send + Sync>;

/// What a client is started with.
#[derive(Clone)]
pub struct ClientConfig {
    /// Base address of the server, `https://…` or `http://…` (`presence.rendezvous_wan`).
    pub server: String,
    /// Who we are. The key proves to a server of ours that a socket is this peer's (`docs/protocols/rendezvous.md`).
    pub keypair: Keypair,
    /// See [`Complete`].
    pub complete: Complete,
}

impl fmt::Debug for ClientConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientConfig")
            .field("server", &self.server)
            .finish_non_exhaustive()
    }
}

/// What a server told us.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Heard {
    /// A record of another peer, or a hint for us. Hints for others are left out, and so is what speaks of ourselves.
    Record(Box<PresenceMessage>),
    /// The relay it recommends; `None` when it has none.
    Relay(Option<RelayInfo>),
}

/// How it stands with one server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerState {
    /// Its address.
    pub server: String,
    /// Whether it is there.
    pub contact: Contact,
    /// Since when `contact` is so.
    pub since: SystemTime,
    /// What went wrong last, in words; `None` while all is well.
    pub problem: Option<String>,
}

/// The client of one server.
#[derive(Debug)]
pub struct Client {
    http: Http,
    state: watch::Receiver<ServerState>,
    hurry: mpsc::Sender<()>,
    stop: CancellationToken,
    task: AbortOnDropHandle<()>,
}

impl Client {
    /// Starts keeping in touch. `own` is what we say about ourselves, `None` while that is nothing; each change is
    /// delivered, and the newest one again at least every 10 s.
    ///
    /// # Errors
    /// [`HttpError::Address`] when the address of the server makes no sense. A server that cannot be reached is none:
    /// it is tried for as long as the client lives.
    pub fn start(
        config: ClientConfig,
        own: watch::Receiver<Option<PresenceMessage>>,
        heard: mpsc::Sender<Heard>,
    ) -> Result<Self, HttpError> {
        let http = Http::new(&Server::parse(&config.server)?, AGENT)?;
        let (state, seen) = watch::channel(ServerState {
            server: http.server().to_string(),
            contact: Contact::Trying,
            since: SystemTime::now(),
            problem: None,
        });
        let (hurry, hurried) = mpsc::channel(1);
        let stop = CancellationToken::new();
        let task = task::Task::new(http.clone(), config, own, heard, state);
        let task = AbortOnDropHandle::new(tokio::spawn(task.run(hurried, stop.clone())));
        Ok(Self {
            http,
            state: seen,
            hurry,
            stop,
            task,
        })
    }

    /// How it stands.
    #[must_use]
    pub fn state(&self) -> watch::Receiver<ServerState> {
        self.state.clone()
    }

    /// The network changed: pauses end now, and a connection that died with the old one is found out.
    pub fn hurry(&self) {
        // A full channel means that it will hurry anyway.
        let _ = self.hurry.try_send(());
    }

    /// Asks the relay's server to remind `peer` of its reservation (rendezvous.md 11.6).
    ///
    /// # Errors
    /// When the server is not there or refuses.
    pub async fn pulse(&self, peer: &PeerId) -> Result<(), HttpError> {
        let path = format!("/api/pulse?peer={}", peer.to_base58());
        let answer = self.http.ask(Ask::post(&path, Vec::new())).await?;
        if answer.status.is_success() {
            Ok(())
        } else {
            Err(HttpError::Status(answer.status))
        }
    }

    /// Delivers the newest record, which should be the farewell by now, and ends; after at most 1.2 s.
    pub async fn shutdown(self) {
        self.stop.cancel();
        let mut task = self.task;
        if timeout(FAREWELL, &mut task).await.is_err() {
            tracing::debug!(
                server = %self.http.server(),
                "the farewell was not taken in time"
            );
        }
    }
}
