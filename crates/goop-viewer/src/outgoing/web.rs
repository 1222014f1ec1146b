//! Asking the web for rows, where a transformation names an address.

use futures_util::future::{BoxFuture, FutureExt};
use futures_util::stream::StreamExt;
use goop_data::transform::{Fetch, Fetched};
use http::HeaderValue;
use http_body_util::BodyExt;

/// Largest answer, in bytes. Its rows are taken one by one.
const MAX_BODY: usize = 256 * 1024 * 1024;

/// Asks the public internet, and nothing of this machine or its network. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Web(goop_http::Web);

impl Web {
    /// `version` is what servers are told about this program.
    pub(crate) fn new(version: &str) -> Self {
        let agent = HeaderValue::from_str(&format!("goop2-rs/{version}"));
        let agent = agent.unwrap_or(HeaderValue::from_static("goop2-rs"));
        Self(goop_http::Web::new(agent))
    }
}

impl Fetch for Web {
    fn get<'a>(&'a self, url: &'a str) -> BoxFuture<'a, Result<Fetched, String>> {
        async move {
            let body = self.0.get(url, "application/json").await;
            let body = body.map_err(|error| error.to_string())?;
            let mut left = MAX_BODY;
            let pieces = body.into_data_stream().map(move |piece| {
                let piece = piece.map_err(|error| error.to_string())?;
                left = left
                    .checked_sub(piece.len())
                    .ok_or_else(|| format!("the answer is longer than {MAX_BODY} bytes"))?;
                Ok(piece.to_vec())
            });
            Ok(pieces.boxed())
        }
        .boxed()
    }
}
