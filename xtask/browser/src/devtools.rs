//! What WebDriver itself cannot do, through chromedriver's way to the DevTools: scripts that run before a page's own,
//! windows as narrow as a phone, what went over the wire.

use anyhow::{Context, Result};
use fantoccini::Client;
use fantoccini::wd::WebDriverCompatibleCommand;
use http::Method;
use serde_json::{Value, json};
use url::{ParseError, Url};

/// Below this width, in CSS pixels, a window is a phone's: its scroll bars take no room.
const PHONE: u32 = 600;

/// A command of chromedriver's own.
#[derive(Debug)]
struct Order {
    path: &'static str,
    body: Value,
}

impl WebDriverCompatibleCommand for Order {
    fn endpoint(&self, base: &Url, session: Option<&str>) -> Result<Url, ParseError> {
        let session = session.unwrap_or_default();
        base.join(&format!("session/{session}/{}", self.path))
    }

    fn method_and_body(&self, _: &Url) -> (Method, Option<String>) {
        (Method::POST, Some(self.body.to_string()))
    }
}

/// Gives an order of the DevTools protocol; its answer.
///
/// # Errors
/// The browser refused it or is gone.
pub async fn order(client: &Client, name: &'static str, params: Value) -> Result<Value> {
    let body = json!({ "cmd": name, "params": params });
    let path = "goog/cdp/execute";
    client
        .issue_cmd(Order { path, body })
        .await
        .with_context(|| name)
}

/// Runs a script in every later page of this tab before the page's own.
///
/// # Errors
/// As [`order`].
pub async fn before_pages(client: &Client, source: &str) -> Result<()> {
    let params = json!({ "source": source });
    order(client, "Page.addScriptToEvaluateOnNewDocument", params).await?;
    Ok(())
}

/// Gives this tab's page a size, in CSS pixels, that a window of the system may not have.
///
/// # Errors
/// As [`order`].
pub async fn size(client: &Client, width: u32, height: u32) -> Result<()> {
    let params = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < PHONE });
    order(client, "Emulation.setDeviceMetricsOverride", params).await?;
    Ok(())
}

/// The events of the DevTools protocol since this was last called, as `{method, params}`: requests and answers. Needs
/// [`crate::Wanted::log`].
///
/// # Errors
/// As [`order`].
pub async fn log(client: &Client) -> Result<Vec<Value>> {
    let (path, body) = ("se/log", json!({ "type": "performance" }));
    let found = client.issue_cmd(Order { path, body }).await?;
    let entries = found.as_array().context("no list of events")?;
    entries
        .iter()
        .map(|entry| {
            let text = entry["message"].as_str().context("an event without text")?;
            let mut event: Value = serde_json::from_str(text)?;
            Ok(event["message"].take())
        })
        .collect()
}

/// Sets the colours that the system prefers: `light` or `dark`. Sites in frames follow it.
///
/// # Errors
/// As [`order`].
pub async fn prefers(client: &Client, theme: &str) -> Result<()> {
    let params = json!({ "features": [{ "name": "prefers-color-scheme", "value": theme }] });
    order(client, "Emulation.setEmulatedMedia", params).await?;
    Ok(())
}
