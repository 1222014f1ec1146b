//! The rendezvous server that a peer runs beside itself (`presence.rendezvous_host`, peer-directory.md 2.2).
//!
//! It takes its port before the peer goes online, so that a busy one is said at once, and ends after the peer said goodbye
//! to it.

use std::time::Duration;

use goop_identity::folder::PeerFolder;
use goop_rendezvous::{Server, ServerError, Settings};
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// A server ends within two seconds (rendezvous.md 1.1).
const ENDS: Duration = Duration::from_millis(2_500);

/// A server that has its port.
pub(crate) struct Hosting {
    server: Server,
    urls: Urls,
}

/// Where the own server is found.
#[derive(Debug, Clone)]
pub(crate) struct Urls {
    /// From this process.
    pub(crate) own: String,
    /// As its pages say.
    pub(crate) shown: String,
}

impl Hosting {
    /// Takes the port, if the settings ask for a server.
    pub(crate) async fn bind(folder: &PeerFolder) -> anyhow::Result<Option<Self>> {
        if !folder.config().current().presence.rendezvous_host {
            return Ok(None);
        }
        let settings = Settings::read(folder)?;
        let urls = Urls {
            own: goop_rendezvous::local_url(settings.listen),
            shown: settings.own_url(),
        };
        let server = Server::bind(settings).await?;
        Ok(Some(Self { server, urls }))
    }

    pub(crate) fn urls(&self) -> &Urls {
        &self.urls
    }

    pub(crate) fn run(self, metrics: Option<PrometheusHandle>) -> Running {
        let leave = CancellationToken::new();
        let server = match metrics {
            Some(metrics) => self.server.with_metrics(metrics),
            None => self.server,
        };
        Running {
            task: tokio::spawn(server.run(leave.clone())),
            leave,
        }
    }
}

/// A server that runs.
pub(crate) struct Running {
    task: JoinHandle<Result<(), ServerError>>,
    leave: CancellationToken,
}

impl Running {
    pub(crate) async fn shutdown(self) {
        self.leave.cancel();
        match tokio::time::timeout(ENDS, self.task).await {
            Ok(Ok(Err(error))) => tracing::warn!(%error, "the rendezvous server failed"),
            Ok(Err(error)) => tracing::error!(%error, "the rendezvous server broke down"),
            Ok(Ok(Ok(()))) => {}
            Err(_) => tracing::warn!("the rendezvous server took too long to end"),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_folder_that_asks_for_a_server_has_one_until_the_end() {
        let dir = tempfile::tempdir().unwrap();
        let folder = PeerFolder::open(dir.path()).unwrap();
        assert!(Hosting::bind(&folder).await.unwrap().is_none());
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let busy = port.local_addr().unwrap();
        folder
            .config()
            .update(|config| {
                config.presence.rendezvous_host = true;
                config.presence.rendezvous_port = i64::from(busy.port());
            })
            .unwrap();
        let error = Hosting::bind(&folder).await.err().unwrap().to_string();
        assert!(error.contains("presence.rendezvous_port"), "{error}");
        drop(port);
        let hosting = Hosting::bind(&folder).await.unwrap().unwrap();
        assert_eq!(hosting.urls().own, format!("http://{busy}"));
        let running = hosting.run(None);
        let connected = tokio::net::TcpStream::connect(busy).await;
        assert!(connected.is_ok(), "{connected:?}");
        running.shutdown().await;
        assert!(tokio::net::TcpStream::connect(busy).await.is_err());
    }
}
