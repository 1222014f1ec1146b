//! "Two people chat": tabs that show the conversation with one peer, and orders from the scenario, one a line: what to write,
//! and what to wait for. Each is answered with a line when it is so.

use std::io::BufRead;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use fantoccini::Client;
use fantoccini::key::Key;
use fantoccini::wd::WindowHandle;
use serde_json::{Value, json};
use tokio::time::timeout;

use super::axe::violations;
use super::find::Page;

/// Longest time for one order, whatever it is.
const LONGEST: Duration = Duration::from_secs(90);
/// A peer that was stopped is seen again after two signs of life, and what waits for it goes out then.
const PATIENCE: Duration = Duration::from_secs(40);
/// The lines of the conversation: what was written, and for own ones what became of them.
const LINES: &str = "return [...document.querySelectorAll('[role=log] .line')].map((line) => \
    [line.querySelector('.words').innerText, line.querySelector('.line-state')?.innerText.trim() ?? ''])";

struct Tabs<'a> {
    client: &'a Client,
    name: String,
    tabs: Vec<WindowHandle>,
}

impl<'a> Tabs<'a> {
    async fn at(&self, tab: &WindowHandle) -> Result<Page<'a>> {
        self.client.switch_to_window(tab.clone()).await?;
        Ok(Page::new(self.client))
    }

    async fn first(&self) -> Result<Page<'a>> {
        self.at(self.tabs.first().context("no tab")?).await
    }

    async fn shows(&self, wanted: &Value) -> Result<()> {
        for (number, tab) in self.tabs.iter().enumerate() {
            let page = self.at(tab).await?;
            let what = format!("tab {number} shows the lines");
            page.wait_within(PATIENCE, &what, async || {
                let shown = self.client.execute(LINES, vec![]).await?;
                ensure!(&shown == wanted, "shown:  {shown}\nwanted: {wanted}");
                Ok(())
            })
            .await?;
        }
        Ok(())
    }

    async fn write(&self, order: &Value) -> Result<()> {
        let tab = order["tab"].as_u64().context("a tab")? as usize;
        let text = order["text"].as_str().context("a text")?;
        let page = self.at(self.tabs.get(tab).context("that tab")?).await?;
        page.fill("textbox", &format!("Message to {}", self.name), text)
            .await?;
        page.key(Key::Enter).await
    }

    /// Takes the line with a text back, by its own menu.
    async fn withdraw(&self, text: &str) -> Result<()> {
        let page = self.first().await?;
        let script = "const line = [...document.querySelectorAll('[role=log] .line')].find((one) => one.querySelector('.words').innerText === arguments[0]); \
            const button = line?.querySelector('button'); button?.click(); return Boolean(button)";
        page.holds("its menu", script, &[json!(text)]).await?;
        page.press("menuitem", "Take it back").await
    }

    /// Opens the dialog with its button, and writes the words that are compared into a file.
    async fn words(&self, button: &str, file: &str) -> Result<()> {
        let page = self.first().await?;
        page.press_first("button", super::find::Name::Is(button))
            .await?;
        let list = "document.querySelector('dialog[open] [aria-label=\"Words to compare\"]')";
        let script = format!("return {list}?.innerText ?? ''");
        let words = page
            .wait("the words", async || {
                let words = self.client.execute(&script, vec![]).await?;
                let words = words.as_str().unwrap_or_default().to_owned();
                ensure!(words.split_whitespace().count() >= 12, "it says {words:?}");
                Ok(words)
            })
            .await?;
        Ok(std::fs::write(file, words)?)
    }

    async fn follow(&self, order: &Value) -> Result<()> {
        let text = |name: &str| order[name].as_str().with_context(|| name.to_owned());
        match text("do")? {
            "shows" => self.shows(&order["lines"]).await,
            "write" => self.write(order).await,
            "withdraw" => self.withdraw(text("text")?).await,
            "words" => self.words(text("button")?, text("file")?).await,
            "press" => {
                self.first()
                    .await?
                    .press(text("role")?, text("name")?)
                    .await
            }
            "says" => {
                let page = self.first().await?;
                let wanted = text("text")?;
                let what = format!("the page says “{wanted}”");
                page.wait_within(PATIENCE, &what, async || {
                    let script = "return document.getElementById('main').innerText";
                    let shown = self.client.execute(script, vec![]).await?;
                    let shown = shown.as_str().unwrap_or_default().to_owned();
                    ensure!(shown.contains(wanted), "it says {shown}");
                    Ok(())
                })
                .await
            }
            "gone" => {
                let script =
                    "return document.querySelector(`#main [role=\"${arguments[0]}\"]`) === null";
                let page = self.first().await?;
                page.holds("nothing of it", script, &[json!(text("role")?)])
                    .await
            }
            "axe" => {
                self.first().await?;
                let mut wrong = Vec::new();
                for theme in ["light", "dark"] {
                    wrong.extend(violations(self.client, theme).await?);
                }
                ensure!(wrong.is_empty(), "axe reports:\n{}", wrong.join("\n"));
                Ok(())
            }
            other => bail!("an unknown order: {other:?}"),
        }
    }
}

pub(super) async fn run(client: &Client, script: &Value) -> Result<()> {
    let text = |name: &str| script[name].as_str().unwrap_or_default().to_owned();
    client.goto(&text("link")).await?;
    let mut tabs = Tabs {
        client,
        name: text("name"),
        tabs: Vec::new(),
    };
    let place = format!("{}/peer/{}", text("origin"), text("peer"));
    for _ in 0..script["tabs"].as_u64().unwrap_or(1) {
        let tab = client.new_window(true).await?.handle;
        client.switch_to_window(tab.clone()).await?;
        client.goto(&place).await?;
        let field = format!("Message to {}", tabs.name);
        Page::new(client).the("textbox", &field).await?;
        tabs.tabs.push(tab);
    }
    println!("ready");
    for line in std::io::stdin().lock().lines() {
        let order: Value = serde_json::from_str(&line?)?;
        timeout(LONGEST, tabs.follow(&order))
            .await
            .with_context(|| format!("the browser stands still: {order}"))?
            .with_context(|| order.to_string())?;
        println!("done");
    }
    Ok(())
}
