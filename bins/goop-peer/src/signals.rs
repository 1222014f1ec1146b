//! Ctrl-C and the polite ways to be told to stop.

use tokio_util::sync::CancellationToken;

/// Exit code after the second signal: 128 + SIGINT, as shells expect.
const EXIT_INTERRUPTED: i32 = 130;

/// A token that the first SIGINT or SIGTERM cancels. The second ends the process at once.
pub(crate) fn leave_on_signal() -> std::io::Result<CancellationToken> {
    let token = CancellationToken::new();
    let leave = token.clone();
    let mut signals = Signals::listen()?;
    tokio::spawn(async move {
        signals.next().await;
        tracing::info!("leaving; press Ctrl-C again to end at once");
        leave.cancel();
        signals.next().await;
        std::process::exit(EXIT_INTERRUPTED);
    });
    Ok(token)
}

#[cfg(unix)]
struct Signals {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl Signals {
    fn listen() -> std::io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

#[cfg(not(unix))]
struct Signals;

#[cfg(not(unix))]
impl Signals {
    fn listen() -> std::io::Result<Self> {
        Ok(Self)
    }

    async fn next(&mut self) {
        // An error means no console to listen to; then nobody can interrupt either.
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}
