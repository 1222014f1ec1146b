//! Where log lines go: stderr for the person at the terminal, the ring for the Logs page.

use goop_viewer::LogRing;
use goop_viewer::logs::RingLayer;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, fmt};

/// What stderr shows unless `RUST_LOG` says otherwise: what a person can act on.
const TERMINAL: &str = "warn,goop_peer=info";
/// What the Logs page shows.
const PAGE: &str =
    "info,goop_net=debug,goop_site=debug,goop_viewer=debug,libp2p=warn,hickory_proto=error";

/// Starts logging. A second start in one process (tests) changes nothing.
pub(crate) fn start(ring: &LogRing) {
    let terminal = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(TERMINAL));
    let terminal = fmt::layer()
        .with_writer(std::io::stderr)
        .with_target(true)
        .with_filter(terminal);
    let page = RingLayer(ring.clone()).with_filter(EnvFilter::new(PAGE));
    let _ = tracing_subscriber::registry()
        .with(terminal)
        .with(page)
        .try_init();
}
