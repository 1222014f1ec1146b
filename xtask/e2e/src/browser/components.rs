//! "Components, each by itself": every part that pages are made of, on a page that holds nothing else. What it does is found
//! by role and name and used as people do, with a mouse and with keys; then it is looked at for what axe knows, for layouts
//! that break, and for foreign text that is more than text, from left to right and from right to left.

mod forms;
mod lists;
mod overlays;
mod panes;
mod pickers;
mod server;
mod states;

use anyhow::{Context, Result, ensure};
use fantoccini::Client;
use fantoccini::key::Key;
use serde_json::{Value, json};

use super::axe::violations;
use super::find::Page;
use goop_browser::devtools;

/// Windows that are looked at: a desktop and a phone.
const SIZES: [(u32, u32); 2] = [(1280, 800), (390, 844)];

/// A page with one component on it.
struct Stage<'a> {
    page: Page<'a>,
    origin: String,
}

impl Stage<'_> {
    /// Shows a component.
    async fn open(&self, part: &str) -> Result<()> {
        let (width, height) = SIZES[0];
        devtools::size(self.page.client, width, height).await?;
        let url = format!("{}/?part={part}", self.origin);
        self.page.client.goto(&url).await?;
        let ready = "return document.documentElement.dataset.ready === 'yes' || document.getElementById('said')?.textContent";
        self.page.holds("the component is there", ready, &[]).await
    }

    /// Goes to something as Tab would, and presses Enter.
    async fn enter(&self, role: &str, name: &str) -> Result<()> {
        let found = self.page.the(role, name).await?;
        let focus = "arguments[0].focus({ focusVisible: true })";
        self.page.client.execute(focus, vec![json!(found)]).await?;
        self.page.key(Key::Enter).await
    }

    /// What happened last is this.
    async fn said(&self, text: &str) -> Result<()> {
        let script = "const said = document.getElementById('said').textContent; return said === arguments[0] || said";
        let what = format!("what happened is “{text}”");
        self.page.holds(&what, script, &[json!(text)]).await
    }

    /// A script says `true` about the page.
    async fn is(&self, what: &str, script: &str) -> Result<()> {
        self.page
            .holds(what, &format!("return {script}"), &[])
            .await
    }

    /// Looks at the component as it stands now.
    async fn look(&self) -> Result<()> {
        let client = self.page.client;
        let mut wrong = Vec::new();
        for direction in ["ltr", "rtl"] {
            let turn = "document.documentElement.dir = arguments[0]";
            client.execute(turn, vec![json!(direction)]).await?;
            for (width, height) in SIZES {
                devtools::size(client, width, height).await?;
                let found = client
                    .execute_async(include_str!("layout.js"), vec![])
                    .await?;
                for one in texts(&found)? {
                    wrong.push(format!("{direction}, {width} px: {one}"));
                }
            }
        }
        client
            .execute("document.documentElement.dir = 'ltr'", vec![])
            .await?;
        devtools::size(client, SIZES[0].0, SIZES[0].1).await?;
        for theme in ["light", "dark"] {
            for one in violations(client, theme).await? {
                wrong.push(format!("{theme}: {one}"));
            }
        }
        let traces = client.execute(include_str!("traces.js"), vec![]).await?;
        wrong.extend(texts(&traces)?);
        ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
        Ok(())
    }
}

fn texts(found: &Value) -> Result<Vec<String>> {
    Ok(serde_json::from_value(found.clone())?)
}

pub(super) async fn run(client: &Client, script: &Value) -> Result<()> {
    let text = |name: &str| script[name].as_str().context("a text");
    let stage = Stage {
        page: Page::new(client),
        origin: server::start(text("policy")?, text("styles")?)?,
    };
    devtools::before_pages(client, include_str!("only_text.js")).await?;
    overlays::menu(&stage).await.context("menu")?;
    overlays::dialog(&stage).await.context("dialog")?;
    overlays::toast(&stage).await.context("toast")?;
    forms::form(&stage).await.context("form")?;
    panes::tabs(&stage).await.context("tabs")?;
    panes::split(&stage).await.context("split pane")?;
    lists::virtual_list(&stage).await.context("virtual list")?;
    lists::table(&stage).await.context("table")?;
    lists::tree(&stage).await.context("tree")?;
    states::states(&stage).await.context("states")?;
    pickers::path(&stage).await.context("path picker")?;
    pickers::moment(&stage).await.context("date and time")?;
    pickers::emoji(&stage).await.context("emoji")?;
    pickers::device(&stage).await.context("device")?;
    would_notice(&stage).await
}

/// The same looks on a page that is spoiled on purpose: each kind of fault is found, or it was not looked for before.
async fn would_notice(stage: &Stage<'_>) -> Result<()> {
    stage.open("states").await?;
    stage.look().await.context("before it is spoiled")?;
    let harm = "const make = (name, more) => document.getElementById('main').append(Object.assign(document.createElement(name), more)); \
        window.pwned = 1; make('pwned-mark'); make('button', {}); \
        const wide = document.createElement('input'); wide.style.width = '3000px'; document.getElementById('main').append(wide);";
    stage.page.client.execute(harm, vec![]).await?;
    let found = format!(
        "{:#}",
        stage.look().await.err().context("nothing was found")?
    );
    for sign in [
        "rtl, 390 px",
        "dark: button-name",
        "light: button-name",
        "a script ran",
        "became an element",
    ] {
        ensure!(found.contains(sign), "{sign:?} is not noticed: {found}");
    }
    Ok(())
}
