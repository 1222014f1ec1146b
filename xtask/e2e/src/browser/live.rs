//! The owner's pages beside a neighbour: each shows something, none breaks the rules of accessibility, and many tabs do not
//! stand in each other's way.

use anyhow::{Context, Result, ensure};
use fantoccini::{Client, Locator};
use serde_json::Value;
use tokio::time::timeout;

use super::axe::violations;
use super::{SOON, text_of};

/// The owner sees the neighbour, visits it, and every page shows something; nothing breaks the pages' own policy.
pub(super) async fn run(client: &Client, script: &Value) -> Result<()> {
    let text = |name: &str| script[name].as_str().unwrap_or_default().to_owned();
    let (origin, peer) = (text("origin"), text("peer"));
    client.goto(&text("link")).await?;
    ensure!(
        client.current_url().await?.path() == "/peers",
        "the start link leads to {}",
        client.current_url().await?
    );
    let row = format!("[data-peer=\"{peer}\"]");
    let shown = text_of(client, &row).await?;
    ensure!(
        shown.contains("Sample peer"),
        "the neighbour is shown as {shown:?}"
    );
    text_of(client, "#link-state[data-state=\"live\"]").await?;
    client
        .find(Locator::Css(&format!("{row} .button.primary")))
        .await?
        .click()
        .await?;
    let frame = client
        .wait()
        .at_most(SOON)
        .for_element(Locator::Css("iframe"))
        .await?;
    frame.enter_frame().await?;
    let heading = text_of(client, "h1").await?;
    ensure!(
        heading.contains("lives on my computer"),
        "the neighbour's page says {heading:?}"
    );
    client.enter_parent_frame().await?;
    let mut wrong = Vec::new();
    for (path, css) in [
        ("/peers".to_owned(), ".peer"),
        (format!("/peer/{peer}"), ".facts"),
        ("/messages".to_owned(), ".compose"),
        (format!("/view?open={peer}"), "iframe"),
        ("/edit?path=index.html".to_owned(), "[role=treeitem]"),
        ("/self".to_owned(), "#name"),
        ("/logs".to_owned(), ".log tbody tr"),
        ("/topology".to_owned(), ".drawing"),
        ("/docs".to_owned(), ".prose"),
    ] {
        client.goto(&format!("{origin}{path}")).await?;
        text_of(client, css).await.with_context(|| path.clone())?;
        for theme in ["light", "dark"] {
            for violation in violations(client, theme)
                .await
                .with_context(|| path.clone())?
            {
                wrong.push(format!("{path} ({theme}): {violation}"));
            }
        }
    }
    ensure!(wrong.is_empty(), "axe reports:\n{}", wrong.join("\n"));
    client
        .goto(&format!(
            "{origin}/peer/12D3KooWJWoaqZhDaoEFshF7Rh1bpY9ohihFhzcW6d69Lr2NASuq"
        ))
        .await?;
    text_of(client, ".empty").await.context("an unknown peer")?;
    timeout(SOON, many_tabs(client, &origin))
        .await
        .context("with many tabs open the pages stand still")?
}

/// A browser opens six connections to one server; pages that hold one each would leave none for a seventh tab, and
/// pages that it keeps for "back" none for anybody.
async fn many_tabs(client: &Client, origin: &str) -> Result<()> {
    for _ in 0..8 {
        let tab = client.new_window(true).await?;
        client.switch_to_window(tab.handle).await?;
        client.goto(&format!("{origin}/peers")).await?;
        text_of(client, "#link-state[data-state=\"live\"]").await?;
    }
    for path in [
        "/self", "/logs", "/peers", "/logs", "/peers", "/logs", "/self", "/peers",
    ] {
        client.goto(&format!("{origin}{path}")).await?;
        text_of(client, "#link-state[data-state=\"live\"]").await?;
    }
    client.back().await?;
    client.back().await?;
    text_of(client, ".log tbody tr").await?;
    text_of(client, "#link-state[data-state=\"live\"]").await?;
    // The tab with the stream goes; another takes it over.
    let tabs = client.windows().await?;
    let (first, rest) = tabs.split_first().context("no tab")?;
    client.switch_to_window(first.clone()).await?;
    client.close_window().await?;
    for tab in rest {
        client.switch_to_window(tab.clone()).await?;
        text_of(client, "#link-state[data-state=\"live\"]").await?;
    }
    Ok(())
}
