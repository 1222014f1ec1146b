//! A person uses every page: what is there is found by its role and its name, pressed and filled in, and what follows is
//! read from the page. The same on a phone, where some of it lies behind a button.

mod editor;
mod me;

use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use fantoccini::Client;
use fantoccini::key::Key;
use serde_json::{Value, json};

use super::find::Page;
use crate::lab::Host;
use crate::peer::curl;

/// How wide the windows are, in pixels.
const DESKTOP: u64 = 1280;
const PHONE: u64 = 390;

/// What the person knows beside the pages.
struct Person<'a> {
    page: Page<'a>,
    phone: bool,
    own: String,
    site: PathBuf,
    neighbour: Neighbour,
}

/// The other end: what the neighbour sees, and does.
struct Neighbour {
    host: Host,
    origin: String,
    auth: String,
}

impl Neighbour {
    fn read(script: &Value) -> Result<Self> {
        let text = |name: &str| script[name].as_str().context("a text").map(str::to_owned);
        let host = script["host"].as_u64().context("a host")?;
        Ok(Self {
            host: Host::existing(u8::try_from(host)?),
            origin: text("origin")?,
            auth: format!("Authorization: Bearer {}", text("token")?),
        })
    }

    /// The name that another peer has in its list.
    fn name_of(&self, id: &str) -> Result<String> {
        let url = format!("{}/api/peers", self.origin);
        let rows = curl(&self.host, &["-H", &self.auth, &url])?.json()?;
        let rows = rows.as_array().context("no list")?;
        let row = rows.iter().find(|row| row["ID"] == id);
        Ok(row.context("it is not listed")?["Content"]
            .as_str()
            .unwrap_or_default()
            .to_owned())
    }

    /// Takes another name.
    fn rename(&self, name: &str) -> Result<()> {
        let url = format!("{}/api/settings/quick", self.origin);
        let body = json!({ "label": name }).to_string();
        let answer = curl(&self.host, &["-H", &self.auth, "-d", &body, &url])?;
        ensure!(answer.status < 300, "{}: {}", answer.status, answer.text());
        Ok(())
    }
}

/// Runs on the host of the peer whose pages are used.
pub(super) async fn uses_every_page(client: &Client, script: &Value) -> Result<()> {
    let text = |name: &str| script[name].as_str().unwrap_or_default().to_owned();
    let person = Person {
        page: Page::new(client),
        phone: script["phone"] == true,
        own: text("own"),
        site: text("site").into(),
        neighbour: Neighbour::read(&script["neighbour"])?,
    };
    client.goto(&text("link")).await?;
    person.is_the_size().await?;
    person.peers().await.context("on the page Peers")?;
    person.one_peer().await.context("on the page of a peer")?;
    person.visiting().await.context("on the page Visiting")?;
    person.me().await.context("on the page Me")?;
    person.editor().await.context("on the page Editor")?;
    person.logs().await.context("on the page Logs")?;
    person.topology().await.context("on the page Topology")?;
    person.docs().await.context("on the page Docs")
}

impl Person<'_> {
    /// A test of a phone in a desktop's window shows nothing.
    async fn is_the_size(&self) -> Result<()> {
        let script = "return [outerWidth, matchMedia('(pointer: coarse)').matches]";
        let size = self.page.client.execute(script, vec![]).await?;
        let wanted = json!([if self.phone { PHONE } else { DESKTOP }, self.phone]);
        ensure!(size == wanted, "the window is {size}");
        Ok(())
    }

    /// Goes to a page through the navigation.
    async fn go(&self, name: &str) -> Result<()> {
        let page = self.page;
        let navigation = page.the("navigation", "Pages").await?;
        page.press_in(Some(&navigation), "link", name).await?;
        page.wait_state("link", name, "aria-current", "page")
            .await?;
        Ok(())
    }

    /// Nothing makes the page scroll sideways. A phone says that its window is as wide as a page that is too wide.
    async fn fits(&self) -> Result<()> {
        let script = "return document.documentElement.scrollWidth";
        let wide = self.page.client.execute(script, vec![]).await?;
        let most = if self.phone { PHONE } else { DESKTOP };
        ensure!(
            wide.as_u64().is_some_and(|wide| wide <= most),
            "the page is {wide} wide in a window of {most}"
        );
        Ok(())
    }

    async fn peers(&self) -> Result<()> {
        let page = self.page;
        page.the("heading", "Peers").await?;
        page.says("2 of 2 here").await?;
        self.fits().await?;
        page.fill("searchbox", "Search by name or e-mail", "samp")
            .await?;
        page.gone("link", "Hedy").await?;
        page.the("link", "Sample peer").await?;
        page.fill(
            "searchbox",
            "Search by name or e-mail",
            "nobody has this name",
        )
        .await?;
        page.the("heading", "No peer matches").await?;
        page.fill("searchbox", "Search by name or e-mail", "")
            .await?;
        page.the("link", "Hedy").await?;

        let star = "Favourite: Sample peer";
        page.press("button", star).await?;
        page.wait_state("button", star, "aria-pressed", "true")
            .await?;
        page.press("button", "Favourites").await?;
        page.gone("link", "Hedy").await?;
        page.the("link", "Sample peer").await?;
        page.press("button", star).await?;
        page.the("heading", "No favourites yet").await?;
        page.press("button", "Show everybody").await?;
        page.wait_state("button", star, "aria-pressed", "false")
            .await?;
        page.the("link", "Hedy").await?;

        page.press("button", "More about Sample peer").await?;
        page.the("menu", "More about Sample peer").await?;
        page.press("menuitem", "Add to favourites").await?;
        page.wait_state("button", star, "aria-pressed", "true")
            .await?;
        page.press("button", "More about Sample peer").await?;
        page.press("menuitem", "Remove from favourites").await?;
        page.wait_state("button", star, "aria-pressed", "false")
            .await?;
        page.press("button", "More about Sample peer").await?;
        page.press("menuitem", "About this peer").await?;
        page.the("heading", "Sample peer").await.map(drop)
    }

    async fn one_peer(&self) -> Result<()> {
        let page = self.page;
        self.fits().await?;
        page.press("button", "Does it answer?").await?;
        page.says("Sample peer answers.").await?;
        page.press("link", "Visit the site").await?;
        page.frame_says("Site of Sample peer", "lives on my computer")
            .await
    }

    async fn visiting(&self) -> Result<()> {
        let page = self.page;
        self.go("Peers").await?;
        page.press("link", "Visit the site of Hedy").await?;
        page.frame_says("Site of Hedy", "Hello from Hedy").await?;
        page.wait_state("tab", "Hedy", "aria-selected", "true")
            .await?;
        self.fits().await?;
        page.press("tab", "Sample peer").await?;
        page.frame_says("Site of Sample peer", "lives on my computer")
            .await?;
        page.client.refresh().await?;
        page.wait_state("tab", "Sample peer", "aria-selected", "true")
            .await?;
        page.wait_state("tab", "Hedy", "aria-selected", "false")
            .await?;
        page.press("tab", "Hedy").await?;
        page.frame_says("Site of Hedy", "Hello from Hedy").await?;
        page.press("button", "Close").await?;
        page.gone("tab", "Hedy").await?;
        page.frame_says("Site of Sample peer", "lives on my computer")
            .await?;
        page.client.refresh().await?;
        page.frame_says("Site of Sample peer", "lives on my computer")
            .await?;
        page.gone("tab", "Hedy")
            .await
            .context("what was closed came back")
    }

    async fn logs(&self) -> Result<()> {
        let page = self.page;
        self.go("Logs").await?;
        page.the("heading", "Logs").await?;
        let (word, all) = page
            .wait(
                "lines, and a word that only some of them have",
                async || {
                    let rows = page.texts("row").await?;
                    let lines = rows.get(1..).unwrap_or_default();
                    let some = |word: &&str| {
                        lines.iter().any(|line| !line.contains(*word)) && word.len() > 6
                    };
                    let word = lines
                        .iter()
                        .flat_map(|line| line.split_whitespace())
                        .find(some);
                    Ok((word.context("there is none")?.to_owned(), lines.len()))
                },
            )
            .await?;
        self.fits().await?;
        page.fill("searchbox", "Filter", "no line says this")
            .await?;
        page.the("heading", "No line matches").await?;
        page.fill("searchbox", "Filter", &word).await?;
        page.gone("heading", "No line matches").await?;
        let found = page.texts("row").await?;
        ensure!(found.len() > 1, "no line with “{word}” is left");
        let other = found[1..].iter().find(|line| !line.contains(&word));
        ensure!(other.is_none(), "the filter for “{word}” left {other:?}");
        page.fill("searchbox", "Filter", "").await?;
        page.wait("more lines without the filter", async || {
            let rows = page.texts("row").await?.len();
            ensure!(rows > all, "{rows} with the head, and {all} before");
            Ok(())
        })
        .await
    }

    async fn topology(&self) -> Result<()> {
        let page = self.page;
        page.press("link", "Topology").await?;
        page.the("heading", "Topology").await?;
        page.says("2 connected, 2 known").await?;
        self.fits().await?;
        self.places().await?;
        page.press("tab", "Table").await?;
        let table = page.the("region", "Topology").await?;
        page.the_in(Some(&table), "link", "Hedy").await?;
        page.says_in("region", "Topology", "direct, local network")
            .await?;
        self.fits().await?;
        page.press_in(Some(&table), "link", "Hedy").await?;
        page.the("link", "Visit the site").await.map(drop)
    }

    /// Somebody is put elsewhere by hand and by keys, stays there after a reload, and goes back to their place.
    async fn places(&self) -> Result<()> {
        const HEDY: &str = "Hedy, direct, local network";
        let page = self.page;
        let place = async || {
            let node = page.the("button", HEDY).await?;
            let place = node.attr("transform").await?;
            place.context("a place")
        };
        let moved = async |from: &str| {
            page.wait("Hedy stands elsewhere", async || {
                let now = place().await?;
                ensure!(now != from, "it stands at {now}");
                Ok(now)
            })
            .await
        };
        let at_first = place().await?;
        let node = page.the("button", HEDY).await?;
        page.scroll_to(&node).await?;
        page.drag(&node, 40.0, 50.0).await?;
        let by_hand = moved(&at_first).await?;
        // A drag is no choice.
        page.wait_state("button", HEDY, "aria-pressed", "false")
            .await?;
        let node = page.the("button", HEDY).await?;
        let focus = "arguments[0].focus({ focusVisible: true })";
        page.client.execute(focus, vec![json!(node)]).await?;
        page.key(Key::Left).await?;
        page.key(Key::Up).await?;
        let by_keys = moved(&by_hand).await?;
        page.stands("button", HEDY).await?;
        page.client.refresh().await?;
        ensure!(place().await? == by_keys, "a reload put Hedy elsewhere");
        page.press("button", "Show all of it, everybody in their place")
            .await?;
        let back = moved(&by_keys).await?;
        ensure!(back == at_first, "back is {back}, and not {at_first}");
        page.press("button", HEDY).await?;
        page.wait_state("button", HEDY, "aria-pressed", "true")
            .await
    }

    async fn docs(&self) -> Result<()> {
        let page = self.page;
        self.go("Docs").await?;
        page.wait_state("tab", "User guide", "aria-selected", "true")
            .await?;
        page.says_in("tabpanel", "User guide", "Put a folder online")
            .await?;
        self.fits().await?;
        page.press("tab", "API reference").await?;
        page.says_in("tabpanel", "API reference", "/api/peers/favorite")
            .await?;
        self.fits().await?;
        page.fill("searchbox", "Search in the API", "/api/nothing/of/that")
            .await?;
        page.the("heading", "Nothing of that in the API").await?;
        page.fill("searchbox", "Search in the API", "favorite")
            .await?;
        page.says_in("tabpanel", "API reference", "/api/peers/favorite")
            .await
    }
}
