#![doc = include_str!("../README.md")]

pub mod devtools;

use std::fs::File;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use fantoccini::wd::Capabilities;
use fantoccini::{Client, ClientBuilder};
use serde_json::json;

/// Where chromedriver listens; each host has a loopback of its own.
const PORT: u16 = 9515;
/// How long a browser may take to start on a busy machine.
const START: Duration = Duration::from_secs(15);

/// chromedriver, ended when dropped; the browsers it started end with their sessions.
#[derive(Debug)]
pub struct Driver(Child);

impl Driver {
    /// Starts it in the caller's network namespace; what it says goes into a file in `folder`.
    ///
    /// # Errors
    /// It is not installed, or the folder cannot be written.
    pub fn start(folder: &Path) -> Result<Self> {
        let log = File::create(folder.join("chromedriver.log"))?;
        let child = Command::new("chromedriver")
            .arg(format!("--port={PORT}"))
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .context("a headless Chromium is needed: `cargo xtask setup` installs it")?;
        Ok(Self(child))
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        // Both fail only when it is gone already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What kind of browser.
#[derive(Debug, Clone, Copy, Default)]
pub struct Wanted {
    /// A phone with its touch screen instead of a window of a desktop.
    pub phone: bool,
    /// Whether requests are kept for [`devtools::log`].
    pub log: bool,
}

/// Starts a browser with a profile in `folder`.
///
/// # Errors
/// It did not start within 15 s.
pub async fn connect(folder: &Path, wanted: &Wanted) -> Result<Client> {
    let profile = folder.join("chromium");
    // Chromedriver lets sites open windows; people's browsers do not.
    let mut options = json!({ "excludeSwitches": ["disable-popup-blocking"], "args": [
        "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-dev-shm-usage",
        "--disable-background-networking", "--disable-component-update", "--disable-sync", "--window-size=1280,800",
        format!("--user-data-dir={}", profile.display()),
    ] });
    if wanted.phone {
        let screen =
            json!({ "width": 390, "height": 844, "pixelRatio": 2, "touch": true, "mobile": true });
        options["mobileEmulation"] = json!({ "deviceMetrics": screen });
    }
    let mut capabilities = Capabilities::new();
    capabilities.insert("goog:chromeOptions".to_owned(), options);
    if wanted.log {
        let kinds = json!({ "performance": "ALL" });
        capabilities.insert("goog:loggingPrefs".to_owned(), kinds);
    }
    let deadline = Instant::now() + START;
    loop {
        // The plain connector: WebDriver is spoken over the loopback only.
        let tried = ClientBuilder::new(hyper_util::client::legacy::connect::HttpConnector::new())
            .capabilities(capabilities.clone())
            .connect(&format!("http://127.0.0.1:{PORT}"))
            .await;
        match tried {
            Ok(client) => return Ok(client),
            Err(error) if Instant::now() > deadline => {
                return Err(error)
                    .context("the browser did not start; `cargo xtask setup` installs it");
            }
            Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    }
}
