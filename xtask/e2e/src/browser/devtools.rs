//! What WebDriver itself cannot do, through chromedriver's way to the DevTools: scripts that run before a page's own, and
//! windows as narrow as a phone.

use anyhow::Result;
use fantoccini::Client;
use fantoccini::wd::WebDriverCompatibleCommand;
use http::Method;
use serde_json::{Value, json};
use url::{ParseError, Url};

/// Below this width, in CSS pixels, a window is a phone's: its scroll bars take no room.
const PHONE: u32 = 600;

/// A DevTools command.
#[derive(Debug)]
struct Order {
    name: &'static str,
    params: Value,
}

impl WebDriverCompatibleCommand for Order {
    fn endpoint(&self, base: &Url, session: Option<&str>) -> Result<Url, ParseError> {
        base.join(&format!(
            "session/{}/goog/cdp/execute",
            session.unwrap_or_default()
        ))
    }

    fn method_and_body(&self, _: &Url) -> (Method, Option<String>) {
        let body = json!({ "cmd": self.name, "params": self.params });
        (Method::POST, Some(body.to_string()))
    }
}

async fn order(client: &Client, name: &'static str, params: Value) -> Result<()> {
    client.issue_cmd(Order { name, params }).await?;
    Ok(())
}

/// Runs a script in every later page of this tab before the page's own.
pub(super) async fn before_pages(client: &Client, source: &str) -> Result<()> {
    let params = json!({ "source": source });
    order(client, "Page.addScriptToEvaluateOnNewDocument", params).await
}

/// Gives this tab's page a size, in CSS pixels, that a window of the system may not have.
pub(super) async fn size(client: &Client, width: u32, height: u32) -> Result<()> {
    let params = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < PHONE });
    order(client, "Emulation.setDeviceMetricsOverride", params).await
}

/// Sets the colours that the system prefers: `light` or `dark`. Sites in frames follow it.
pub(super) async fn prefers(client: &Client, theme: &str) -> Result<()> {
    let params = json!({ "features": [{ "name": "prefers-color-scheme", "value": theme }] });
    order(client, "Emulation.setEmulatedMedia", params).await
}
