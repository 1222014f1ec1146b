//! Every page by keyboard alone.

use anyhow::Result;
use fantoccini::Client;
use serde_json::Value;

pub(super) async fn uses_every_page(_client: &Client, _script: &Value) -> Result<()> {
    Ok(())
}
