//! The one place where protocols meet the network: each is a function over a stream, here it gets its id, its limits
//! and its handler. It is also where what goop-site and goop-mq need (`Dialer`), sealing (`Keyring`) and the viewer
//! (`Neighbours`) is fulfilled by goop-net.

use std::io;
use std::sync::{Arc, OnceLock};

use axum::body::Body;
use futures_util::future::BoxFuture;
use goop_data::{Data, Request, Whole, protocol as data_protocol};
use goop_identity::avatar::{Avatar, AvatarHash};
use goop_identity::config::ConfigStore;
use goop_identity::seal::{self, Keyring, NaclKeys, NaclPublic};
use goop_identity::{PeerId, Profile};
use goop_mq::keys::Plan;
use goop_mq::topic::Sealing;
use goop_mq::{Mq, wire as mq_wire};
use goop_net::{
    Caller, Net, OpenError, RouteLimits, Router, Stream, StreamProtocol, content, diag,
};
use goop_site::avatar::AvatarCache;
use goop_site::http::Served;
use goop_site::{
    DialError, Dialer, SiteRequest, VisitError, Visitor, avatar, http as site_http, protocol,
};
use goop_viewer::Neighbours;

use crate::VERSION;

/// Kept streams of the data protocol: three questions of visitors are answered at once, so more would only wait.
fn data_limits() -> RouteLimits {
    RouteLimits {
        per_peer: 16,
        ..RouteLimits::default()
    }
}

/// Streams of HTTP are kept open by their peer, so they are fewer and live longer.
fn http_limits() -> RouteLimits {
    RouteLimits {
        per_peer: 128,
        ..RouteLimits::default()
    }
}

/// How many messages of a peer are here at once is the bus's own limit, which tells a flood at once by resetting what is
/// beyond it. So the router lets twice as many through to it, and resets what waits longer than a message's sender does
/// (mq.md 1.4).
fn mq_limits() -> RouteLimits {
    RouteLimits {
        per_peer: 2 * goop_mq::receiver::AT_ONCE,
        wait: goop_mq::HOLD,
        ..RouteLimits::default()
    }
}

/// Every protocol this peer speaks.
pub(crate) fn router(
    served: Served,
    data: Data,
    config: ConfigStore,
    keys: Arc<Keys>,
    mq: Mq,
) -> Router {
    let site = served.clone();
    let site_keys = keys.clone();
    let (diag_keys, started) = (keys.clone(), now_in_words());
    let data_keys = keys.clone();
    let (kept_data, kept_keys) = (data.clone(), keys.clone());
    let picture = served.avatar.clone();
    Router::new()
        .route(StreamProtocol::new(content::PROTOCOL), RouteLimits::default(), move |caller: Caller, mut stream: Stream| {
            let label = Profile::of(&config.current()).label;
            async move {
                let served = content::serve(caller.peer, &mut stream, &label).await;
                end(caller, content::PROTOCOL, stream, served.err());
            }
        })
        .route(StreamProtocol::new(protocol::PROTOCOL), RouteLimits::default(), move |caller: Caller, mut stream: Stream| {
            let (site, keys) = (site.site.clone(), site_keys.clone());
            async move {
                let served = protocol::serve(caller.peer, &mut stream, &site, &*keys).await;
                end(caller, protocol::PROTOCOL, stream, served.err());
            }
        })
        .route(StreamProtocol::new(data_protocol::PROTOCOL), RouteLimits::default(), move |caller: Caller, mut stream: Stream| {
            let (data, keys) = (data.clone(), data_keys.clone());
            async move {
                // The address a row is signed with is the one the caller announced.
                let email = keys.email_of(&caller.peer);
                let served = data_protocol::serve(caller.peer, &email, &mut stream, &data, &*keys).await;
                end(caller, data_protocol::PROTOCOL, stream, served.err());
            }
        })
        .route(StreamProtocol::new(data_protocol::KEPT), data_limits(), move |caller: Caller, mut stream: Stream| {
            let (data, keys) = (kept_data.clone(), kept_keys.clone());
            async move {
                let email = || keys.email_of(&caller.peer);
                let served = data_protocol::serve_kept(caller.peer, email, &mut stream, &data).await;
                end(caller, data_protocol::KEPT, stream, served.err());
            }
        })
        .route(StreamProtocol::new(avatar::PROTOCOL), RouteLimits::default(), move |caller: Caller, mut stream: Stream| {
            let (picture, keys) = (picture.clone(), keys.clone());
            async move {
                let served = avatar::serve(caller.peer, &mut stream, &picture, &*keys).await;
                end(caller, avatar::PROTOCOL, stream, served.err());
            }
        })
        .route(StreamProtocol::new(mq_wire::PROTOCOL), mq_limits(), move |caller: Caller, mut stream: Stream| {
            let mq = mq.clone();
            async move {
                let served = mq.serve(caller.peer, caller.relayed, &mut stream).await;
                end(caller, mq_wire::PROTOCOL, stream, served.err());
            }
        })
        .route(StreamProtocol::new(diag::PROTOCOL), RouteLimits::default(), move |caller: Caller, mut stream: Stream| {
            let (net, started) = (diag_keys.net.get().cloned(), started.clone());
            async move {
                // The log is left out: a relay is somebody else's machine.
                let own = diag::Own { has_site: true, started, version: VERSION.to_owned(), ..diag::Own::default() };
                let relay = net.as_ref().and_then(Net::relay_peer);
                let diagnose = || net.map(|net| net.diagnosis(own)).unwrap_or_default();
                let served = diag::serve(caller.peer, &mut stream, relay, diagnose).await;
                end(caller, diag::PROTOCOL, stream, served.err());
            }
        })
        .route(StreamProtocol::new(site_http::PROTOCOL), http_limits(), move |caller: Caller, stream: Stream| {
            let served = served.clone();
            async move {
                if let Err(error) = site_http::serve(caller.peer, stream, &served).await {
                    tracing::debug!(peer = %caller.peer, protocol = site_http::PROTOCOL, %error, "a stream broke off");
                }
            }
        })
}

/// As `/goop/diag/1.0.0` says when the program started: in UTC where the local time is not to be had.
fn now_in_words() -> String {
    let now = time::OffsetDateTime::now_local().unwrap_or_else(|_| time::OffsetDateTime::now_utc());
    let form = time::macros::format_description!("[year]-[month]-[day] [hour]:[minute]:[second]");
    now.format(form).unwrap_or_default()
}

/// Lets go of a served stream: the router closes it, unless it broke off in the middle of an answer.
fn end(caller: Caller, protocol: &str, stream: Stream, error: Option<impl std::fmt::Display>) {
    if let Some(error) = error {
        tracing::debug!(peer = %caller.peer, protocol, %error, "a stream broke off");
        stream.reset();
    }
}

/// The keys of this peer and, through the peer table, of the others.
#[derive(Debug)]
pub(crate) struct Keys {
    own: Option<NaclKeys>,
    /// Set once the network runs; until then nobody's key is known.
    net: OnceLock<Net>,
    /// Set with it: the keys that peers said themselves.
    mq: OnceLock<Mq>,
}

impl Keys {
    pub(crate) fn new(own: Option<NaclKeys>) -> Self {
        Self {
            own,
            net: OnceLock::new(),
            mq: OnceLock::new(),
        }
    }

    pub(crate) fn connect(&self, net: Net, mq: Mq) {
        // Called once, by the composition root.
        let _ = self.net.set(net);
        let _ = self.mq.set(mq);
    }

    /// The key that others say is a peer's: worth trying, not worth believing.
    pub(crate) fn hint(&self, peer: &PeerId) -> Option<String> {
        let row = self.net.get()?.peer(peer)?;
        (!row.public_key.is_empty()).then_some(row.public_key)
    }

    /// The address a peer announced; empty where it gave none.
    fn email_of(&self, peer: &PeerId) -> String {
        let row = self.net.get().and_then(|net| net.peer(peer));
        row.map(|row| row.email.clone()).unwrap_or_default()
    }

    fn key_of(&self, peer: &PeerId) -> Option<(NaclPublic, bool)> {
        if let Some(pinned) = self.pinned(peer) {
            return Some(pinned);
        }
        let row = self
            .net
            .get()?
            .peer(peer)
            .filter(|row| !row.public_key.is_empty())?;
        Some((
            NaclPublic::from_base64(&row.public_key).ok()?,
            row.encryption_supported,
        ))
    }
}

impl Keys {
    /// The key that a peer said itself, and whether it knows ours just as surely.
    fn pinned(&self, peer: &PeerId) -> Option<(NaclPublic, bool)> {
        self.mq.get()?.keys(|keys| {
            let key = NaclPublic::from_base64(keys.key_of(peer)?).ok()?;
            let plan = keys.plan(peer, Sealing::WhenKnown, std::time::Instant::now());
            Some((key, plan == Plan::Sealed { introduce: false }))
        })
    }
}

impl Keyring for Keys {
    fn seal_for(&self, peer: &PeerId, plain: &[u8]) -> Option<String> {
        let own = self.own.as_ref()?;
        let (key, wanted) = self.key_of(peer)?;
        wanted.then(|| seal::seal(plain, &own.secret, &key))
    }

    fn open_from(&self, peer: &PeerId, text: &[u8]) -> Option<Vec<u8>> {
        let own = self.own.as_ref()?;
        let (key, _) = self.key_of(peer)?;
        seal::open(text, &key, &own.secret).ok()
    }
}

/// Streams to other peers for goop-site.
#[derive(Debug, Clone)]
pub(crate) struct NetDialer(pub(crate) Net);

impl goop_mq::Dialer for NetDialer {
    type Stream = Stream;

    async fn open(
        &self,
        peer: PeerId,
        protocol: &'static str,
    ) -> Result<Stream, goop_mq::DialError> {
        match self.0.open(peer, &[StreamProtocol::new(protocol)]).await {
            Ok((_, stream)) => Ok(stream),
            Err(OpenError::NotSpoken) => Err(goop_mq::DialError::NotSpoken),
            Err(error) => Err(goop_mq::DialError::Unreachable(error.to_string())),
        }
    }
}

impl Dialer for NetDialer {
    type Stream = Stream;

    async fn open(&self, peer: PeerId, protocol: &'static str) -> Result<Stream, DialError> {
        match self.0.open(peer, &[StreamProtocol::new(protocol)]).await {
            Ok((_, stream)) => Ok(stream),
            Err(OpenError::NotSpoken) => Err(DialError::NotSpoken),
            Err(error) => Err(DialError::Unreachable(error.to_string())),
        }
    }

    fn speaks(&self, peer: &PeerId, protocol: &str) -> Option<bool> {
        self.0.speaks(peer, protocol)
    }

    fn is_present(&self, peer: &PeerId) -> bool {
        self.0.is_present(peer)
    }
}

/// Other peers, as the viewer asks for them.
pub(crate) struct Neighbourhood {
    pub(crate) visitor: Visitor<NetDialer, Keys>,
    pub(crate) pictures: AvatarCache,
    pub(crate) dialer: NetDialer,
    pub(crate) keys: Arc<Keys>,
    /// Streams to their databases.
    pub(crate) asked: data_protocol::Visits<Stream>,
}

impl Neighbours for Neighbourhood {
    fn fetch(
        &self,
        peer: PeerId,
        request: SiteRequest,
    ) -> BoxFuture<'_, Result<axum::http::Response<Body>, VisitError>> {
        Box::pin(async move { Ok(self.visitor.fetch(peer, request).await?.map(Body::new)) })
    }

    fn ask(
        &self,
        peer: PeerId,
        request: Request,
    ) -> BoxFuture<'_, Result<Whole, data_protocol::CallError>> {
        let open = move |protocol| async move {
            let opened = self.dialer.open(peer, protocol).await;
            opened.map_err(|error| io::Error::other(error.to_string()))
        };
        let kept = self.dialer.speaks(&peer, data_protocol::KEPT) == Some(true);
        Box::pin(async move {
            let asked = self.asked.ask(peer, open, kept, &request, &*self.keys);
            asked.await
        })
    }

    fn avatar(&self, peer: PeerId, announced: AvatarHash) -> BoxFuture<'_, Option<Avatar>> {
        Box::pin(async move {
            match self
                .pictures
                .get(peer, &announced, &self.dialer, &*self.keys)
                .await
            {
                Ok(picture) => picture,
                Err(error) => {
                    tracing::debug!(%peer, %error, "a picture could not be fetched");
                    None
                }
            }
        })
    }
}
