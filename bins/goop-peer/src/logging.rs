//! Where log lines go: stderr for the person at the terminal, the ring for the Logs page.

use goop_viewer::LogRing;
use goop_viewer::logs::RingLayer;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, fmt, reload};

/// What stderr shows unless `RUST_LOG` says otherwise: what a person can act on.
const TERMINAL: &str = "warn,goop_peer=info";
/// What the Logs page shows.
const PAGE: &str =
    "info,goop_net=debug,goop_site=debug,goop_viewer=debug,libp2p=warn,hickory_proto=error";

/// What it shows while its switch for details is on.
const DETAILS: &str =
    "info,goop_net=trace,goop_site=debug,goop_viewer=debug,libp2p=debug,hickory_proto=error";

/// Starts logging; gives what switches the details of the Logs page on and off. A second start in one process (tests)
/// changes nothing.
pub(crate) fn start(ring: &LogRing) -> impl Fn(bool) + Send + Sync + 'static {
    let terminal = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(TERMINAL));
    let terminal = fmt::layer()
        .with_writer(std::io::stderr)
        .with_target(true)
        .with_filter(terminal);
    let (filter, details) = reload::Layer::new(EnvFilter::new(PAGE));
    let page = RingLayer(ring.clone()).with_filter(filter);
    let _ = tracing_subscriber::registry()
        .with(terminal)
        .with(page)
        .try_init();
    move |on| {
        let filter = EnvFilter::new(if on { DETAILS } else { PAGE });
        if let Err(error) = details.reload(filter) {
            tracing::warn!(%error, "the details of the log cannot be switched");
        }
    }
}
