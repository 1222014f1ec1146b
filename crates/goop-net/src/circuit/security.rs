//! TLS or Noise over a circuit, as the other side prefers. The builder of the library has the same for its own
//! transports and keeps it to itself.

use std::io;

use futures::future::{BoxFuture, Either};
use futures::{AsyncRead, AsyncWrite, FutureExt};
use libp2p::core::UpgradeInfo;
use libp2p::core::upgrade::{InboundConnectionUpgrade, OutboundConnectionUpgrade};
use libp2p::{noise, tls};

use crate::PeerId;
use crate::config::NetError;
use goop_identity::Keypair;

/// What both sides may agree on, the preferred one first (network.md 2.2).
const OFFERS: [&str; 2] = ["/tls/1.0.0", "/noise"];

/// The upgrade.
#[derive(Clone)]
pub(crate) struct Security {
    tls: tls::Config,
    noise: noise::Config,
}

impl Security {
    pub(crate) fn new(keypair: &Keypair) -> Result<Self, NetError> {
        Ok(Self {
            tls: tls::Config::new(keypair).map_err(|error| NetError::Other(error.to_string()))?,
            noise: noise::Config::new(keypair)
                .map_err(|error| NetError::Other(error.to_string()))?,
        })
    }
}

impl UpgradeInfo for Security {
    type Info = &'static str;
    type InfoIter = [&'static str; 2];

    fn protocol_info(&self) -> Self::InfoIter {
        OFFERS
    }
}

/// Who is there, and the secured stream to it.
type Secured<S> = (PeerId, Either<tls::TlsStream<S>, noise::Output<S>>);

impl<S> InboundConnectionUpgrade<S> for Security
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    type Output = Secured<S>;
    type Error = io::Error;
    type Future = BoxFuture<'static, Result<Secured<S>, io::Error>>;

    fn upgrade_inbound(self, stream: S, offer: &'static str) -> Self::Future {
        async move {
            if offer == OFFERS[0] {
                let (peer, stream) = self
                    .tls
                    .upgrade_inbound(stream, offer)
                    .await
                    .map_err(io::Error::other)?;
                Ok((peer, Either::Left(stream)))
            } else {
                let (peer, stream) = self
                    .noise
                    .upgrade_inbound(stream, offer)
                    .await
                    .map_err(io::Error::other)?;
                Ok((peer, Either::Right(stream)))
            }
        }
        .boxed()
    }
}

impl<S> OutboundConnectionUpgrade<S> for Security
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    type Output = Secured<S>;
    type Error = io::Error;
    type Future = BoxFuture<'static, Result<Secured<S>, io::Error>>;

    fn upgrade_outbound(self, stream: S, offer: &'static str) -> Self::Future {
        async move {
            if offer == OFFERS[0] {
                let (peer, stream) = self
                    .tls
                    .upgrade_outbound(stream, offer)
                    .await
                    .map_err(io::Error::other)?;
                Ok((peer, Either::Left(stream)))
            } else {
                let (peer, stream) = self
                    .noise
                    .upgrade_outbound(stream, offer)
                    .await
                    .map_err(io::Error::other)?;
                Ok((peer, Either::Right(stream)))
            }
        }
        .boxed()
    }
}
