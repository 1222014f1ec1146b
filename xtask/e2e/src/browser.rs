//! Driving a browser: chromedriver and headless Chromium on one host, WebDriver through fantoccini.

mod axe;
mod components;
mod devtools;
mod find;
mod focus;
mod hostile;
mod keyboard;
mod keys;
mod live;
mod only_text;
mod person;
mod pictures;
mod three_tabs;

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use fantoccini::wd::Capabilities;
use fantoccini::{Client, ClientBuilder, Locator};
use serde_json::{Value, json};

const PORT: u16 = 9515;
const SOON: Duration = Duration::from_secs(15);

/// Runs the part a script names. Called on the host itself.
pub(crate) fn drive(script: &Path) -> Result<()> {
    let script: Value = serde_json::from_slice(&std::fs::read(script)?)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let folder = script["folder"].as_str().context("folder")?.to_owned();
        let _driver = Driver::start(&folder)?;
        let client = connect(&folder, script["phone"] == true).await?;
        let done = match script["part"].as_str() {
            Some("live") => live::run(&client, &script).await,
            Some("person") => person::uses_every_page(&client, &script).await,
            Some("keyboard") => keyboard::uses_every_page(&client, &script).await,
            Some("only text") => only_text::run(&client, &script).await,
            Some("three tabs") => three_tabs::run(&client, &script).await,
            Some("hostile") => hostile::run(&client, &script).await,
            Some("components") => components::run(&client, &script).await,
            Some("pictures alone") => pictures::alone(&client, &script).await,
            Some("pictures") => pictures::everything(&client, &script).await,
            part => bail!("there is no part {part:?}"),
        };
        if done.is_err() {
            describe(&client).await;
        }
        let _ = client.close().await;
        done
    })
}

/// Says where the browser stands, for whoever reads a failure.
async fn describe(client: &Client) {
    let text = client
        .execute(
            "const got = performance.getEntriesByType('resource').map((r) => `${r.responseStatus} ${Math.round(r.duration)} ms ${r.name}`); \
             return `${location.href} (${document.readyState})\\n${document.body.innerText.slice(0, 2000)}\\n\
             ${document.getElementById('main')?.innerHTML.slice(0, 1500)}\\n${got.join('\\n')}`",
            vec![],
        )
        .await;
    eprintln!(
        "the browser stands at {}",
        text.ok()
            .and_then(|text| text.as_str().map(str::to_owned))
            .unwrap_or_default()
    );
}

/// chromedriver, ended when dropped.
struct Driver(Child);

impl Driver {
    fn start(folder: &str) -> Result<Self> {
        let log = std::fs::File::create(format!("{folder}/chromedriver.log"))?;
        let child = Command::new("chromedriver")
            .arg(format!("--port={PORT}"))
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .context("`chromedriver` is missing: apt-get install chromium chromium-driver")?;
        Ok(Self(child))
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts the browser: a window of a desktop, or a phone with its touch screen.
async fn connect(folder: &str, phone: bool) -> Result<Client> {
    // Chromedriver lets sites open windows; people's browsers do not.
    let mut options = json!({ "excludeSwitches": ["disable-popup-blocking"], "args": [
        "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-dev-shm-usage",
        "--disable-background-networking", "--disable-component-update", "--disable-sync", "--window-size=1280,800",
        format!("--user-data-dir={folder}/chromium"),
    ] });
    if phone {
        let screen =
            json!({ "width": 390, "height": 844, "pixelRatio": 2, "touch": true, "mobile": true });
        options["mobileEmulation"] = json!({ "deviceMetrics": screen });
    }
    let mut capabilities = Capabilities::new();
    capabilities.insert("goog:chromeOptions".to_owned(), options);
    let deadline = Instant::now() + SOON;
    loop {
        let tried = ClientBuilder::new(hyper_connector())
            .capabilities(capabilities.clone())
            .connect(&format!("http://127.0.0.1:{PORT}"))
            .await;
        match tried {
            Ok(client) => return Ok(client),
            Err(error) if Instant::now() > deadline => {
                return Err(error).context("the browser did not start");
            }
            Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    }
}

/// The plain connector: WebDriver is spoken over the loopback only.
fn hyper_connector() -> hyper_util::client::legacy::connect::HttpConnector {
    hyper_util::client::legacy::connect::HttpConnector::new()
}

/// The text of an element as soon as there is one.
async fn text_of(client: &Client, css: &str) -> Result<String> {
    let deadline = Instant::now() + SOON;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let element = client
            .wait()
            .at_most(left)
            .for_element(Locator::Css(css))
            .await
            .with_context(|| format!("no {css}"))?;
        match element.text().await {
            Ok(text) => return Ok(text),
            // A live page drew it anew in between.
            Err(error) if error.is_stale_element_reference() && Instant::now() < deadline => {}
            Err(error) => return Err(error.into()),
        }
    }
}
