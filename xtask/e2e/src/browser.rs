//! Driving a browser: chromedriver and headless Chromium on one host, WebDriver through fantoccini.

mod axe;
mod chat;
mod components;
mod database;
mod find;
mod focus;
mod hostile;
mod keyboard;
mod keys;
mod live;
mod only_text;
mod person;
mod pictures;
mod server_alone;
mod three_tabs;

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use fantoccini::{Client, Locator};
use goop_browser::{Driver, Wanted};
use serde_json::Value;

const SOON: Duration = Duration::from_secs(15);

/// Runs the part a script names. Called on the host itself.
pub(crate) fn drive(script: &Path) -> Result<()> {
    let script: Value = serde_json::from_slice(&std::fs::read(script)?)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let folder = Path::new(script["folder"].as_str().context("folder")?);
        let _driver = Driver::start(folder)?;
        let wanted = Wanted {
            phone: script["phone"] == true,
            ..Wanted::default()
        };
        let client = goop_browser::connect(folder, &wanted).await?;
        let done = match script["part"].as_str() {
            Some("live") => live::run(&client, &script).await,
            Some("person") => person::uses_every_page(&client, &script).await,
            Some("keyboard") => keyboard::uses_every_page(&client, &script).await,
            Some("only text") => only_text::run(&client, &script).await,
            Some("chat") => chat::run(&client, &script).await,
            Some("three tabs") => three_tabs::run(&client, &script).await,
            Some("hostile") => hostile::run(&client, &script).await,
            Some("database") => database::run(&client, &script).await,
            Some("components") => components::run(&client, &script).await,
            Some("server alone") => server_alone::run(&client, &script).await,
            Some("pictures of a server alone") => pictures::server_alone(&client, &script).await,
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
