//! Every page by keyboard alone. After each step what has the focus must be in sight, marked, and have a name.

use std::path::PathBuf;

use anyhow::{Context, Result, bail, ensure};
use fantoccini::Client;
use fantoccini::key::Key;
use serde_json::Value;

use super::find::Page;

/// More steps than any page has; who walks that far walks in circles.
const MOST_STEPS: usize = 150;

/// Where Tab goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    On,
    Back,
}

struct Keyboard<'a> {
    page: Page<'a>,
    site: PathBuf,
}

/// Runs on the host of the peer whose pages are used.
pub(super) async fn uses_every_page(client: &Client, script: &Value) -> Result<()> {
    let keyboard = Keyboard {
        page: Page::new(client),
        site: script["site"].as_str().context("site")?.into(),
    };
    client
        .goto(script["link"].as_str().context("link")?)
        .await?;
    keyboard.start().await.context("at the start")?;
    keyboard.visit().await.context("visiting somebody")?;
    keyboard.menu().await.context("in the menu of a peer")?;
    keyboard.setting().await.context("on the page Me")?;
    keyboard.editor().await.context("in the editor")?;
    for name in ["Logs", "Docs", "Peers"] {
        keyboard.go(name).await?;
        keyboard
            .tour()
            .await
            .with_context(|| format!("on the page {name}"))?;
    }
    keyboard.tabs().await.context("on the page Topology")
}

impl Keyboard<'_> {
    async fn press(&self, key: Key) -> Result<()> {
        self.page.key(key).await
    }

    async fn step(&self, way: Way) -> Result<()> {
        let held: &[Key] = match way {
            Way::On => &[],
            Way::Back => &[Key::Shift],
        };
        self.page
            .chord(held, &char::from(Key::Tab).to_string())
            .await
    }

    /// Tab until this has the focus. Every stop on the way must be in sight and have a name.
    async fn walk(&self, way: Way, role: &str, name: &str) -> Result<()> {
        let to = format!("on the way to the {role} “{name}”");
        for _ in 0..MOST_STEPS {
            self.step(way).await?;
            let here = self.page.wait(&to, async || self.page.here().await).await?;
            if here.is(role, name) {
                return Ok(());
            }
        }
        bail!("{MOST_STEPS} times Tab do not lead to the {role} “{name}”")
    }

    /// To a page by the navigation, which stands before it.
    async fn go(&self, name: &str) -> Result<()> {
        self.walk(Way::Back, "link", name).await?;
        self.press(Key::Enter).await?;
        self.page
            .wait_state("link", name, "aria-current", "page")
            .await?;
        self.page.stands("main", "").await
    }

    /// From the beginning of a page to its end.
    async fn tour(&self) -> Result<()> {
        let mut last = None;
        for _ in 0..MOST_STEPS {
            self.step(Way::On).await?;
            let script = "return document.activeElement === document.body || document.activeElement.className === 'skip'";
            if self.page.client.execute(script, vec![]).await? == Value::Bool(true) {
                ensure!(last.is_some(), "there is nothing to use");
                return self.step(Way::Back).await;
            }
            last = Some(
                self.page
                    .wait(&format!("a good stop after {last:?}"), async || {
                        self.page.here().await
                    })
                    .await?,
            );
        }
        bail!("the page has no end; the last stop was {last:?}")
    }

    /// The first stop leads past the navigation; a button that is busy keeps the focus.
    async fn start(&self) -> Result<()> {
        self.page.the("link", "Sample peer").await?;
        self.step(Way::On).await?;
        self.page.stands("link", "Skip to the page").await?;
        self.press(Key::Enter).await?;
        self.page.stands("main", "").await?;
        self.step(Way::On).await?;
        self.page.stands("button", "Check who answers").await?;
        self.press(Key::Enter).await?;
        self.page.stands("button", "Check who answers").await?;
        self.step(Way::On).await?;
        self.page.stands("link", "My site").await
    }

    async fn visit(&self) -> Result<()> {
        self.walk(Way::On, "link", "Visit the site of Sample peer")
            .await?;
        self.press(Key::Enter).await?;
        self.page
            .frame_says("Site of Sample peer", "lives on my computer")
            .await?;
        self.walk(Way::On, "tab", "Sample peer").await?;
        self.press(Key::Delete).await?;
        self.page.the("heading", "Peers").await?;
        self.page.stands("main", "").await
    }

    async fn menu(&self) -> Result<()> {
        let (button, star) = ("More about Sample peer", "Favourite: Sample peer");
        self.walk(Way::On, "button", button).await?;
        self.press(Key::Enter).await?;
        self.page.stands("menuitem", "Visit the site").await?;
        self.press(Key::Down).await?;
        self.page
            .stands("menuitem", "Open in a tab of its own")
            .await?;
        self.page.type_text("a").await?;
        self.page.stands("menuitem", "About this peer").await?;
        self.page.type_text("a").await?;
        self.page.stands("menuitem", "Add to favourites").await?;
        self.press(Key::Enter).await?;
        self.page
            .wait_state("button", star, "aria-pressed", "true")
            .await?;
        self.page.stands("button", button).await?;
        self.press(Key::Enter).await?;
        self.page.stands("menuitem", "Visit the site").await?;
        self.press(Key::Escape).await?;
        self.page.gone("menu", button).await?;
        self.page.stands("button", button).await
    }

    /// A name, past every setting to the button that saves, and again with Ctrl-S.
    async fn setting(&self) -> Result<()> {
        self.go("Me").await?;
        self.page.the("textbox", "Name").await?;
        self.walk(Way::On, "textbox", "Name").await?;
        self.page.chord(&[Key::Control], "a").await?;
        self.page.type_text("Ada of the keys").await?;
        self.walk(Way::On, "button", "Save").await?;
        self.press(Key::Enter).await?;
        self.page.says("Everything is saved").await?;
        self.page.stands("button", "Save").await?;
        self.walk(Way::Back, "textbox", "Name").await?;
        self.press(Key::End).await?;
        self.page.type_text("!").await?;
        self.page.says("One change is not saved").await?;
        self.page.chord(&[Key::Control], "s").await?;
        self.page.says("Everything is saved").await?;
        self.page.stands("textbox", "Name").await?;
        self.page.client.refresh().await?;
        self.page
            .wait_value("textbox", "Name", "Ada of the keys!")
            .await?;
        self.walk(Way::On, "textbox", "Name").await
    }

    async fn editor(&self) -> Result<()> {
        const TREE: &str = "Files of my site";
        self.go("Editor").await?;
        self.page.the("treeitem", "long.txt").await?;
        self.walk(Way::On, "tree", TREE).await?;
        self.press(Key::Home).await?;
        self.page.stands_on_row("My site").await?;
        self.page.type_text("long").await?;
        self.page.stands_on_row("long.txt").await?;
        self.press(Key::Enter).await?;
        self.page.stands("textbox", "Text of long.txt").await?;
        self.page.type_text("By keys: ").await?;
        self.page.chord(&[Key::Control], "s").await?;
        self.page
            .wait_file(&self.site.join("long.txt"), "By keys: line number 1\n")
            .await?;
        self.press(Key::Escape).await?;
        self.walk(Way::Back, "tree", TREE).await?;
        self.page.stands_on_row("long.txt").await?;
        self.press(Key::F2).await?;
        self.page.the("dialog", "Rename long.txt").await?;
        self.page.stands("textbox", "Name").await?;
        for name in ["Cancel", "Rename", "Close"] {
            self.step(Way::On).await?;
            self.page.stands("button", name).await?;
        }
        self.step(Way::On).await?;
        self.page.stands("textbox", "Name").await?;
        self.press(Key::Escape).await?;
        self.page.gone("dialog", "Rename long.txt").await?;
        self.page.stands("tree", TREE).await
    }

    /// Tabs are one stop; arrows choose.
    async fn tabs(&self) -> Result<()> {
        self.go("Logs").await?;
        self.walk(Way::On, "link", "Topology").await?;
        self.press(Key::Enter).await?;
        self.page.the("heading", "Topology").await?;
        self.page.says("2 connected, 2 known").await?;
        self.page.stands("main", "").await?;
        self.walk(Way::On, "button", "Hedy, direct, local network")
            .await?;
        self.press(Key::Enter).await?;
        self.page.the("heading", "Hedy").await?;
        self.walk(Way::Back, "tab", "Drawing").await?;
        self.press(Key::Right).await?;
        self.page.stands("tab", "Table").await?;
        self.page.the("rowheader", "Hedy").await?;
        self.walk(Way::On, "link", "Hedy").await
    }
}
