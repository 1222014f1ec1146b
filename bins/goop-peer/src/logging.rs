//! Where log lines go: stderr for the person at the terminal, the ring for the Logs page.

use goop_viewer::LogRing;
use goop_viewer::logs::RingLayer;
use tracing::Subscriber;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, fmt, reload};

/// What stderr shows unless `RUST_LOG` says otherwise: what a person can act on.
const TERMINAL: &str = "warn,goop_peer=info";
/// The same where nothing but a rendezvous server runs.
const TERMINAL_OF_SERVER: &str = "warn,goop_peer=info,goop_rendezvous=info,\
     goop_rendezvous::lines=warn,goop_rendezvous_server=info";
/// What the Logs page shows.
const PAGE: &str =
    "info,goop_net=debug,goop_site=debug,goop_viewer=debug,libp2p=warn,hickory_proto=error";

/// What it shows while its switch for details is on.
const DETAILS: &str =
    "info,goop_net=trace,goop_site=debug,goop_viewer=debug,libp2p=debug,hickory_proto=error";

/// Starts logging; gives what switches the details of the Logs page on and off. A second start in one process (tests)
/// changes nothing.
pub(crate) fn start(ring: &LogRing) -> impl Fn(bool) + Send + Sync + 'static {
    start_with(ring, TERMINAL)
}

/// The same for a rendezvous server alone.
pub(crate) fn start_of_server(ring: &LogRing) -> impl Fn(bool) + Send + Sync + 'static {
    start_with(ring, TERMINAL_OF_SERVER)
}

fn start_with(ring: &LogRing, terminal: &str) -> impl Fn(bool) + Send + Sync + 'static {
    let terminal = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(terminal));
    let terminal = fmt::layer()
        .with_writer(std::io::stderr)
        .with_target(true)
        .with_filter(terminal);
    let (page, details) = page(ring);
    let _ = tracing_subscriber::registry()
        .with(terminal)
        .with(page)
        .try_init();
    details
}

/// What fills the ring, and what switches its details.
fn page<S>(ring: &LogRing) -> (impl Layer<S>, impl Fn(bool) + Send + Sync + 'static)
where
    S: Subscriber + for<'span> LookupSpan<'span>,
{
    let (filter, details) = reload::Layer::new(EnvFilter::new(PAGE));
    let switch = move |on| {
        let filter = EnvFilter::new(if on { DETAILS } else { PAGE });
        if let Err(error) = details.reload(filter) {
            tracing::warn!(%error, "the details of the log cannot be switched");
        }
    };
    (RingLayer(ring.clone()).with_filter(filter), switch)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn details_come_and_go_with_their_switch() {
        let ring = LogRing::default();
        let (page, details) = page(&ring);
        let log = tracing_subscriber::registry().with(page);
        tracing::subscriber::with_default(log, || {
            let say = |text: &str| {
                tracing::debug!(target: "libp2p_swarm", "{text}");
                tracing::info!("{text} for everybody");
            };
            say("before");
            details(true);
            say("on");
            details(false);
            say("off");
        });
        let lines: Vec<String> = ring.lines().into_iter().map(|line| line.msg).collect();
        assert_eq!(
            lines,
            [
                "before for everybody",
                "on",
                "on for everybody",
                "off for everybody"
            ]
        );
    }
}
