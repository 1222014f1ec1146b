//! Tabs, two panes with a divider, and the contents of a long page.

use anyhow::{Context, Result, ensure};
use fantoccini::key::Key;

use super::Stage;

const MARKED: &str = r#"Tab <img src="/pwned.png" onerror="window.pwned=1"><pwned-mark>"#;

pub(super) async fn tabs(stage: &Stage<'_>) -> Result<()> {
    let page = stage.page;
    stage.open("panes").await?;
    page.the("tablist", "Letters").await?;
    page.the("tabpanel", "Tab a").await?;
    page.press("tab", "Tab a").await?;
    for (key, name) in [
        (Key::Right, "Tab b"),
        (Key::End, MARKED),
        (Key::Right, "Tab a"),
        (Key::Left, MARKED),
        (Key::Home, "Tab a"),
    ] {
        page.key(key).await?;
        page.stands("tab", name).await?;
        page.wait_state("tab", name, "aria-selected", "true")
            .await?;
        page.the("tabpanel", name).await?;
    }
    page.wait_state("tab", "Tab b", "tabindex", "-1").await?;
    stage.look().await?;
    page.press("tab", "Tab b").await?;
    page.key(Key::Delete).await?;
    stage.said("closed b").await?;
    page.gone("tab", "Tab b").await?;
    page.the("tabpanel", "Tab a").await?;
    // The cross is for the mouse; keys have Delete.
    let cross = "document.querySelector('[role=tab] .tab-close').click(); return true";
    page.holds("a press on the cross", cross, &[]).await?;
    stage.said("closed a").await?;
    page.the("tabpanel", MARKED).await.map(drop)
}

pub(super) async fn split(stage: &Stage<'_>) -> Result<()> {
    const DIVIDER: &str = "Width of the left side";
    let page = stage.page;
    stage.open("panes").await?;
    page.wait_state("separator", DIVIDER, "aria-valuenow", "30")
        .await?;
    let focus = "document.querySelector('[role=separator]').focus(); return true";
    page.holds("the focus on the divider", focus, &[]).await?;
    // Chromium calls a separator that moves a splitter.
    for (key, value) in [
        (Key::Right, "32"),
        (Key::Left, "30"),
        (Key::End, "50"),
        (Key::Right, "50"),
        (Key::Home, "20"),
        (Key::Enter, "30"),
    ] {
        page.key(key).await?;
        page.wait_state("separator", DIVIDER, "aria-valuenow", value)
            .await?;
    }
    // A tenth of the width.
    let bar = page.the("separator", DIVIDER).await?;
    let part = "return document.querySelector('[role=separator]').parentElement.clientWidth / 10";
    let part = page.client.execute(part, vec![]).await?;
    let part = part.as_f64().context("a width")?;
    page.drag(&bar, part.round(), 0.0).await?;
    page.wait("it stands near 40", async || {
        let bar = page.the("separator", DIVIDER).await?;
        let value = bar.attr("aria-valuenow").await?.unwrap_or_default();
        // The hand takes it somewhere in its width.
        ensure!(
            ["40", "41", "42"].contains(&value.as_str()),
            "it is {value}"
        );
        Ok(())
    })
    .await?;
    stage
        .is(
            "the peer is told where it stands",
            "performance.getEntriesByType('resource').some(({ name }) => name.endsWith('/api/split-prefs'))",
        )
        .await?;
    // The part that is looked at is marked among the contents, however one came there.
    page.wait_state("link", "One", "aria-current", "true")
        .await?;
    page.press("link", "Two").await?;
    page.wait_state("link", "Two", "aria-current", "true")
        .await?;
    page.client
        .execute("scrollTo(0, document.documentElement.scrollHeight)", vec![])
        .await?;
    page.wait_state("link", "Three שלום עולם", "aria-current", "true")
        .await
}
