//! "Three tabs stay complete": three tabs with the list of peers, and orders from the scenario, one a line: what to wait
//! for. Each is answered with a line when it is so.

use std::io::BufRead;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use fantoccini::Client;
use fantoccini::wd::WindowHandle;
use serde_json::{Value, json};
use tokio::process::Command;
use tokio::time::timeout;

use super::SOON;
use super::find::Page;
use goop_browser::devtools;

/// Longest time for one order, whatever it is.
const LONGEST: Duration = Duration::from_secs(60);

/// The tabs, and where the list comes from.
struct Tabs<'a> {
    client: &'a Client,
    origin: String,
    token: String,
    tabs: Vec<WindowHandle>,
}

impl Tabs<'_> {
    /// What the peer says: the rows as a tab has to show them.
    async fn list(&self) -> Result<Value> {
        let token = std::fs::read_to_string(&self.token).context("the control token")?;
        let output = Command::new("curl")
            .args(["--silent", "--fail", "--max-time", "10", "-H"])
            .arg(format!("Authorization: Bearer {token}"))
            .arg(format!("{}/api/peers", self.origin))
            .output()
            .await?;
        let list: Vec<Value> = serde_json::from_slice(&output.stdout).context("the list")?;
        let presence = |row: &Value| match (&row["Offline"], &row["Reachable"]) {
            (Value::Bool(true), _) => "away",
            (_, Value::Bool(true)) => "here",
            _ => "quiet",
        };
        let mut rows: Vec<Value> = list
            .iter()
            .map(|row| {
                json!({ "id": row["ID"], "name": row["Content"], "presence": presence(row), "favorite": row["Favorite"] })
            })
            .collect();
        rows.sort_by_key(|row| row["id"].to_string());
        Ok(json!(rows))
    }

    /// All tabs show exactly what the peer says.
    async fn complete(&self, within: Duration) -> Result<()> {
        for (number, tab) in self.tabs.iter().enumerate() {
            self.client.switch_to_window(tab.clone()).await?;
            let settled = "return window.waiting === 0 || window.waiting";
            let page = Page::new(self.client);
            page.holds("late answers are there", settled, &[]).await?;
            let what = format!("tab {number} shows what the peer says");
            page.wait_within(within, &what, async || {
                let before = self.list().await?;
                let shown = self.client.execute(include_str!("rows.js"), vec![]).await?;
                let wanted = self.list().await?;
                ensure!(
                    before == wanted && shown == wanted,
                    "shown:  {shown}\nwanted: {wanted}"
                );
                Ok(())
            })
            .await?;
        }
        Ok(())
    }

    /// All tabs said these words about the connection since the last time they were asked, in this order, and say the
    /// last of them now.
    async fn said(&self, words: &Value) -> Result<()> {
        for (number, tab) in self.tabs.iter().enumerate() {
            self.client.switch_to_window(tab.clone()).await?;
            let what = format!("tab {number} says {words}");
            let page = Page::new(self.client);
            page.wait_within(SOON * 2, &what, async || {
                let said = self.client.execute("return window.said", vec![]).await?;
                let list = said.as_array().context("no words")?;
                let wanted = words.as_array().context("no words")?;
                let mut rest = list.iter();
                let in_order = wanted.iter().all(|word| rest.any(|one| one == word));
                ensure!(in_order && list.last() == wanted.last(), "it said {said}");
                Ok(())
            })
            .await?;
        }
        Ok(())
    }

    async fn in_each(&self, script: &str) -> Result<()> {
        for tab in &self.tabs {
            self.client.switch_to_window(tab.clone()).await?;
            self.client.execute(script, vec![]).await?;
        }
        Ok(())
    }

    async fn follow(&self, order: &Value) -> Result<()> {
        match order["do"].as_str() {
            Some("complete") => {
                let seconds = order["seconds"].as_u64().context("seconds")?;
                self.complete(Duration::from_secs(seconds)).await
            }
            Some("said") => self.said(&order["words"]).await,
            Some("forget") => {
                self.in_each("window.said.splice(0, window.said.length - 1)")
                    .await
            }
            Some("spoil") => {
                for (tab, script) in
                    self.tabs
                        .iter()
                        .zip(["", "window.lose = 4", "window.late = 6000"])
                {
                    self.client.switch_to_window(tab.clone()).await?;
                    self.client.execute(script, vec![]).await?;
                }
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
        origin: text("origin"),
        token: text("token"),
        tabs: Vec::new(),
    };
    for _ in 0..3 {
        let tab = client.new_window(true).await?.handle;
        client.switch_to_window(tab.clone()).await?;
        devtools::before_pages(client, include_str!("three_tabs.js")).await?;
        client.goto(&format!("{}/peers", tabs.origin)).await?;
        Page::new(client).the("heading", "Peers").await?;
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
    ensure!(!tabs.tabs.is_empty(), "no tab");
    Ok(())
}
