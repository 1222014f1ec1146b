//! What is shown where there is nothing to show, how far something is, pictures of people, and texts of others.

use anyhow::{Result, ensure};

use super::Stage;
use crate::browser::find::Name;

const MARKUP: &str = r#"<img src="/pwned.png" onerror="window.pwned=1"><pwned-mark>"#;

pub(super) async fn states(stage: &Stage<'_>) -> Result<()> {
    let page = stage.page;
    stage.open("states").await?;
    page.the("heading", &format!("Nothing {MARKUP}")).await?;
    page.press("button", "A way out").await?;
    stage.said("way out").await?;
    page.says("Loading…").await?;
    // What failed is said at once, with the way to try again.
    let alerts = page.all(None, "alert", Name::Any).await?;
    ensure!(alerts.len() == 1, "{} alerts", alerts.len());
    let said = alerts[0].text().await?;
    ensure!(
        said.contains(&format!("The disk is full {MARKUP}")),
        "it says {said}"
    );
    page.press("button", "Try again").await?;
    stage.said("again").await?;
    page.the(
        "heading",
        "This page belongs to the person who started this peer",
    )
    .await?;
    stage.look().await?;

    let lost = "The connection to your peer is lost.";
    page.press("button", "Lose the connection").await?;
    page.says(lost).await?;
    stage
        .is(
            "it is read out",
            "[...document.querySelectorAll('[role=status]')].some((one) => one.textContent.includes('is lost'))",
        )
        .await?;
    stage.look().await?;
    page.press("button", "Find it again").await?;
    stage
        .is(
            "it is gone",
            &format!("!document.body.innerText.includes('{lost}')"),
        )
        .await?;

    page.the("progressbar", "Sending").await?;
    stage
        .is(
            "how far it is",
            "document.querySelector('progress').value === 0.25",
        )
        .await?;
    page.press("button", "Change the progress").await?;
    stage
        .is(
            "nobody knows how far it is",
            "!document.querySelector('progress').hasAttribute('value')",
        )
        .await?;

    // A picture that is none is replaced by one that is.
    stage
        .is(
            "another picture",
            "document.querySelector('.avatar').src.endsWith('/mark.svg') && document.querySelector('.avatar').naturalWidth > 0",
        )
        .await?;
    texts(stage).await
}

/// Markdown of others: its markup is text or nothing, its links lead where they may.
async fn texts(stage: &Stage<'_>) -> Result<()> {
    let page = stage.page;
    page.the("heading", "שלום עולם").await?;
    page.says("a trap").await?;
    page.gone("link", "a trap").await?;
    page.the("link", "a page").await?;
    let away = page.the("link", "away").await?;
    ensure!(
        away.attr("rel").await?.as_deref() == Some("noreferrer")
            && away.attr("target").await?.as_deref() == Some("_blank"),
        "a link to elsewhere leads away from the page, or says where it was"
    );
    page.the("columnheader", "a").await.map(drop)
}
