//! WebSockets (RFC 6455) to a server.

use std::time::Duration;

use http::header::{
    CONNECTION, HOST, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION, UPGRADE,
};
use http::{HeaderValue, Request, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::client::generate_key;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};

use crate::{Body, Http, HttpError};

/// An open socket.
pub type Socket = WebSocketStream<TokioIo<hyper::upgrade::Upgraded>>;

impl Http {
    /// Opens a socket at a path. Messages larger than `largest` bytes end it.
    ///
    /// # Errors
    /// See [`HttpError`]. [`HttpError::Status`] is the server's refusal to open one.
    pub async fn socket(
        &self,
        path: &str,
        within: Duration,
        largest: usize,
    ) -> Result<Socket, HttpError> {
        timeout(within, self.upgrade(path, within, largest))
            .await
            .unwrap_or(Err(HttpError::Late(within)))
    }

    async fn upgrade(
        &self,
        path: &str,
        within: Duration,
        largest: usize,
    ) -> Result<Socket, HttpError> {
        let key = generate_key();
        let uri = self.server().uri(path, &[])?;
        let host = uri.authority().map(ToString::to_string).unwrap_or_default();
        let mut request = Request::new(Body::default());
        *request.uri_mut() = uri;
        let headers = request.headers_mut();
        let value = |text: &str| {
            HeaderValue::from_str(text).map_err(|error| HttpError::Address(error.to_string()))
        };
        headers.insert(HOST, value(&host)?);
        headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
        headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
        headers.insert(SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
        headers.insert(SEC_WEBSOCKET_KEY, value(&key)?);
        let answer = self.deliver(request, within).await?;
        if answer.status() != StatusCode::SWITCHING_PROTOCOLS {
            return Err(HttpError::Status(answer.status()));
        }
        let accepted = answer.headers().get(SEC_WEBSOCKET_ACCEPT);
        if accepted.is_none_or(|accepted| {
            accepted.as_bytes() != derive_accept_key(key.as_bytes()).as_bytes()
        }) {
            return Err(HttpError::NotASocket);
        }
        let upgraded = hyper::upgrade::on(answer)
            .await
            .map_err(|error| HttpError::Connection(error.to_string()))?;
        let limits = WebSocketConfig::default()
            .max_message_size(Some(largest))
            .max_frame_size(Some(largest));
        let socket =
            WebSocketStream::from_raw_socket(TokioIo::new(upgraded), Role::Client, Some(limits));
        Ok(socket.await)
    }
}
