//! The owner of a rendezvous server uses its pages: there are few of them, and they are those of a peer. What is there is found
//! by its role and its name; axe looks at each page in both themes.

use anyhow::{Context, Result, ensure};
use fantoccini::Client;
use serde_json::Value;

use super::axe;
use super::find::Page;

const WAITS: &str = "Seconds to reach the relay";
/// How wide the windows are, in pixels.
const DESKTOP: u64 = 1280;
const PHONE: u64 = 390;

struct Owner<'a> {
    page: Page<'a>,
    wide: u64,
}

pub(super) async fn run(client: &Client, script: &Value) -> Result<()> {
    let text = |name: &str| script[name].as_str().context("a text");
    let owner = Owner {
        page: Page::new(client),
        wide: if script["phone"] == true {
            PHONE
        } else {
            DESKTOP
        },
    };
    client.goto(text("link")?).await?;
    owner.pages().await.context("at the start")?;
    let evil = text("evil")?;
    owner.logs(evil).await.context("on the page Logs")?;
    let dashboard = text("dashboard")?;
    owner
        .settings(dashboard)
        .await
        .context("on the page Settings")?;
    owner.topology().await.context("on the page Topology")
}

impl Owner<'_> {
    /// Goes to a page through the navigation.
    async fn go(&self, name: &str) -> Result<()> {
        let page = self.page;
        let navigation = page.the("navigation", "Pages").await?;
        page.press_in(Some(&navigation), "link", name).await?;
        page.wait_state("link", name, "aria-current", "page").await
    }

    /// Nothing makes the page scroll sideways, and axe finds nothing in either theme.
    async fn is_fine(&self) -> Result<()> {
        let script = "return document.documentElement.scrollWidth";
        let wide = self.page.client.execute(script, vec![]).await?;
        ensure!(
            wide.as_u64().is_some_and(|wide| wide <= self.wide),
            "the page is {wide} wide in a window of {}",
            self.wide
        );
        for theme in ["light", "dark"] {
            let found = axe::violations(self.page.client, theme).await?;
            ensure!(found.is_empty(), "{theme}: {found:#?}");
        }
        Ok(())
    }

    /// There are two pages in the navigation, the connection lives, and nothing of a peer is offered.
    async fn pages(&self) -> Result<()> {
        let page = self.page;
        page.the("heading", "Settings").await?;
        page.says("Running in rendezvous-only mode").await?;
        page.says("live").await?;
        let navigation = page.the("navigation", "Pages").await?;
        for name in ["Settings", "Logs"] {
            page.the_in(Some(&navigation), "link", name).await?;
        }
        let all = page
            .all(Some(&navigation), "link", super::find::Name::Any)
            .await?;
        ensure!(all.len() == 2, "there are {} links", all.len());
        for name in ["Data", "Scripting", "Calls", "Splash picture", "Rendezvous"] {
            page.gone("heading", name).await?;
        }
        page.gone("dialog", "Welcome to Goop²").await
    }

    async fn settings(&self, dashboard: &str) -> Result<()> {
        let page = self.page;
        self.go("Settings").await?;
        let link = page.the("link", "Open dashboard").await?;
        let leads = link.attr("href").await?;
        ensure!(leads.as_deref() == Some(dashboard), "it leads to {leads:?}");
        for name in ["Server", "Relay", "Administration", "Services"] {
            page.the("heading", name).await?;
        }
        self.is_fine().await?;
        page.wait_value("textbox", "Name", "Meeting point").await?;
        page.fill("textbox", "Name", "Station").await?;
        page.press("button", "Save").await?;
        page.says("Everything is saved").await?;
        page.fill("textbox", "Port", "0").await?;
        page.press("button", "Save").await?;
        page.says_beside("textbox", "Port", "The least is 1.")
            .await?;
        self.is_fine().await?;
        page.press("button", "Undo").await?;
        page.wait_value("textbox", "Port", "8787").await?;
        page.fill("textbox", WAITS, "7").await?;
        page.press("button", "Save").await?;
        page.says("One setting waits for a restart").await?;
        self.is_fine().await?;
        page.press("button", "Restart now").await?;
        page.says("Your server runs with the new settings.").await?;
        page.gone("button", "Restart now").await?;
        // Until then a note about it stands above everything, and what is below moves when it goes.
        let live = "return document.getElementById('link-state').dataset.state === 'live' \
            && !document.body.innerText.includes('The connection to your server is lost')";
        page.holds("the connection is back", live, &[]).await?;
        page.wait_value("textbox", WAITS, "7").await?;
        page.wait_value("textbox", "Name", "Station").await
    }

    /// Who comes is in the log; whoever reads it can look for them.
    async fn logs(&self, evil: &str) -> Result<()> {
        let page = self.page;
        self.go("Logs").await?;
        page.the("heading", "Logs").await?;
        page.says_in("region", "Logs", "Ada").await?;
        page.says_in("region", "Logs", evil).await?;
        let harmless =
            "return document.title.startsWith('Logs') && !document.querySelector('[onerror]')";
        page.holds("a name is text", harmless, &[]).await?;
        self.is_fine().await?;
        page.fill("searchbox", "Filter", "no line says this")
            .await?;
        page.the("heading", "No line matches").await?;
        page.fill("searchbox", "Filter", "Ada").await?;
        page.says_in("region", "Logs", "Ada").await
    }

    /// The server was restarted from its pages; whoever was there is there again.
    async fn topology(&self) -> Result<()> {
        let page = self.page;
        self.go("Logs").await?;
        page.press("link", "Topology").await?;
        page.the("heading", "Topology").await?;
        page.says("one peer is there, a relay runs").await?;
        self.is_fine().await?;
        page.press("tab", "Table").await?;
        page.says_in("region", "Topology", "Ada").await?;
        page.gone("link", "Ada").await?;
        self.is_fine().await?;
        page.press("tab", "Drawing").await?;
        let ada = page
            .first("button", super::find::Name::Has("Ada, "))
            .await?;
        page.scroll_to(&ada).await?;
        ada.click().await?;
        page.says_in("region", "About this peer", "WebSocket").await
    }
}
