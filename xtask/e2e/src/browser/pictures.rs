//! Pictures of every page, in both themes, at a desk and on a phone, and of states that are seldom seen: for whoever wants to
//! look before others do.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use fantoccini::Client;
use fantoccini::key::Key;
use serde_json::{Value, json};

use super::find::{Name, Page};
use goop_browser::devtools;

/// Windows that are looked at: a desktop and a phone.
const SIZES: [(&str, u32, u32); 2] = [("desktop", 1280, 800), ("phone", 390, 844)];
const THEMES: [&str; 2] = ["light", "dark"];

/// The browser, and where its pictures go.
struct Camera<'a> {
    page: Page<'a>,
    origin: String,
    folder: PathBuf,
}

impl<'a> Camera<'a> {
    async fn new(client: &'a Client, script: &Value) -> Result<Self> {
        let text = |name: &str| script[name].as_str().context("a text");
        let folder = PathBuf::from(text("shots")?);
        std::fs::create_dir_all(&folder)?;
        client.goto(text("link")?).await?;
        Ok(Self {
            page: Page::new(client),
            origin: text("origin")?.to_owned(),
            folder,
        })
    }

    /// Pictures of a state, as soon as `reach` led there. It is reached anew for each size, because menus and dialogs close
    /// when a window changes.
    async fn take(
        &self,
        name: &str,
        path: &str,
        reach: impl AsyncFn() -> Result<()>,
    ) -> Result<()> {
        for (size, width, height) in SIZES {
            devtools::size(self.page.client, width, height).await?;
            // An address with a fragment that is shown already would not be loaded anew.
            if path.contains('#') {
                self.page.client.goto("about:blank").await?;
            }
            self.page
                .client
                .goto(&format!("{}{path}", self.origin))
                .await?;
            reach()
                .await
                .with_context(|| format!("{name}, {size}, {path}"))?;
            for theme in THEMES {
                self.shoot(&format!("{name}-{size}-{theme}"), theme).await?;
            }
        }
        Ok(())
    }

    async fn shoot(&self, name: &str, theme: &str) -> Result<()> {
        let client = self.page.client;
        devtools::prefers(client, theme).await?;
        let settled = "const done = arguments[arguments.length - 1]; document.documentElement.dataset.theme = arguments[0]; \
            const images = [...document.images].filter((image) => image.checkVisibility()).map((image) => image.decode().catch(() => {})); \
            const short = (running) => running.effect.getComputedTiming().endTime !== Infinity; \
            requestAnimationFrame(() => Promise.allSettled([...images, ...document.getAnimations().filter(short).map((one) => one.finished)]) \
              .then(() => requestAnimationFrame(() => done(true))))";
        client.execute_async(settled, vec![json!(theme)]).await?;
        let path = self.folder.join(format!("{name}.png"));
        std::fs::write(&path, client.screenshot().await?)
            .with_context(|| format!("{}", path.display()))
    }

    async fn heading(&self, name: &str) -> Result<()> {
        self.page.the("heading", name).await.map(drop)
    }
}

/// A peer that nobody named yet and that knows nobody.
pub(super) async fn alone(client: &Client, script: &Value) -> Result<()> {
    let camera = Camera::new(client, script).await?;
    let page = camera.page;
    let welcome = async || page.the("dialog", "Welcome to Goop²").await.map(drop);
    camera.take("welcome", "/peers", welcome).await?;
    // From here on it is put off, as the tab remembers.
    page.press("button", "Later").await?;
    let nobody = async || camera.heading("Nobody else is here yet").await;
    camera.take("peers-empty", "/peers", nobody).await?;
    let alone = async || camera.heading("Nobody is known yet").await;
    camera.take("topology-empty", "/topology", alone).await?;
    let nowhere = async || camera.heading("You are not visiting anybody").await;
    camera.take("visiting-empty", "/view", nowhere).await?;
    let unknown = async || camera.heading("This peer is not known here").await;
    camera
        .take(
            "peer-unknown",
            "/peer/12D3KooWJWoaqZhDaoEFshF7Rh1bpY9ohihFhzcW6d69Lr2NASuq",
            unknown,
        )
        .await
}

/// A rendezvous server without a peer: what its owner sees.
pub(super) async fn server_alone(client: &Client, script: &Value) -> Result<()> {
    let camera = Camera::new(client, script).await?;
    let page = camera.page;
    let settings = async || {
        camera.heading("Settings").await?;
        page.wait_value("textbox", "Name", "Meeting point").await
    };
    camera.take("server-settings", "/self", settings).await?;
    for part in ["server", "relay", "services", "look"] {
        let path = format!("/self#{part}");
        camera
            .take(&format!("server-settings-{part}"), &path, settings)
            .await?;
    }
    let lines = async || {
        camera.heading("Logs").await?;
        page.says("Grace").await
    };
    camera.take("server-logs", "/logs", lines).await?;
    let drawing = async || page.first("button", Name::Has("Ada, ")).await.map(drop);
    camera.take("server-topology", "/topology", drawing).await?;
    let table = async || {
        page.press("tab", "Table").await?;
        page.the("region", "Topology").await.map(drop)
    };
    camera
        .take("server-topology-table", "/topology", table)
        .await
}

/// A peer among others: one of them left, one does not answer.
pub(super) async fn everything(client: &Client, script: &Value) -> Result<()> {
    let camera = Camera::new(client, script).await?;
    let text = |name: &str| script[name].as_str().context("a text").map(str::to_owned);
    let (sample, quiet, site) = (text("sample")?, text("quiet")?, text("site")?);
    peers(&camera, &sample, &quiet).await?;
    messages(&camera, &sample, &text("away")?).await?;
    visiting(&camera, &sample, &quiet).await?;
    me(&camera).await?;
    editor(&camera, Path::new(&site)).await?;
    database(&camera).await?;
    logs(&camera).await?;
    topology(&camera).await?;
    docs(&camera).await?;
    lost(&camera, script).await
}

async fn peers(camera: &Camera<'_>, sample: &str, quiet: &str) -> Result<()> {
    let page = camera.page;
    let listed = async || page.the("link", "Sample peer").await.map(drop);
    camera.take("peers", "/peers", listed).await?;
    let menu = async || {
        page.press("button", "More about Sample peer").await?;
        page.the("menu", "More about Sample peer").await.map(drop)
    };
    camera.take("peers-menu", "/peers", menu).await?;
    let no_match = async || {
        page.fill("searchbox", "Search by name or e-mail", "nobody like this")
            .await?;
        camera.heading("No peer matches").await
    };
    camera.take("peers-no-match", "/peers", no_match).await?;
    let one = async || camera.heading("Sample peer").await;
    camera.take("peer", &format!("/peer/{sample}"), one).await?;
    let answers = async || {
        page.press("button", "Does it answer?").await?;
        page.says("Sample peer answers.").await
    };
    camera
        .take("peer-toast", &format!("/peer/{sample}"), answers)
        .await?;
    let silent = async || page.says("does not answer").await;
    camera
        .take("peer-quiet", &format!("/peer/{quiet}"), silent)
        .await
}

async fn messages(camera: &Camera<'_>, sample: &str, away: &str) -> Result<()> {
    let page = camera.page;
    let listed = async || page.says("I found a moth.").await;
    camera.take("messages", "/messages", listed).await?;
    let found = async || {
        page.fill("searchbox", "Search in all conversations", "moth")
            .await?;
        page.press("button", "Search").await?;
        page.says("One message found").await
    };
    camera.take("messages-found", "/messages", found).await?;
    let chat = format!("/peer/{sample}#chat");
    // Everything above it is there, too: nothing moves any more.
    let shown = async || {
        page.says("keys not compared").await?;
        page.says("It is me.").await
    };
    camera.take("chat", &chat, shown).await?;
    let emoji = async || {
        shown().await?;
        page.press("button", "Insert an emoji").await?;
        page.the("dialog", "Emoji").await.map(drop)
    };
    camera.take("chat-emoji", &chat, emoji).await?;
    let compare = async || {
        shown().await?;
        page.press("button", "Compare keys…").await?;
        page.the("dialog", "Compare keys with Sample peer")
            .await
            .map(drop)
    };
    camera.take("chat-keys", &chat, compare).await?;
    let waits = async || page.says("waiting until").await;
    camera
        .take("chat-waiting", &format!("/peer/{away}#chat"), waits)
        .await
}

async fn visiting(camera: &Camera<'_>, sample: &str, quiet: &str) -> Result<()> {
    let page = camera.page;
    let there = async || {
        page.frame_says("Site of Sample peer", "lives on my computer")
            .await
    };
    camera
        .take("visiting", &format!("/view?open={sample}"), there)
        .await?;
    let unreachable = async || {
        page.frame_says("Site of Tesla's workshop", "Try again")
            .await
    };
    camera
        .take(
            "visiting-unreachable",
            &format!("/view?open={quiet}"),
            unreachable,
        )
        .await
}

async fn me(camera: &Camera<'_>) -> Result<()> {
    let page = camera.page;
    let named = async || page.the("textbox", "Name").await.map(drop);
    camera.take("me", "/self", named).await?;
    for section in ["network", "splash", "data"] {
        let there = async || {
            named().await?;
            let scroll = "document.getElementById(arguments[0]).scrollIntoView(); return true";
            page.holds("the section", scroll, &[json!(section)]).await
        };
        let path = format!("/self#{section}");
        camera.take(&format!("me-{section}"), &path, there).await?;
    }
    let wrong = async || {
        page.fill("textbox", "Port", "70000").await?;
        page.press("button", "Save").await?;
        page.says("One field needs a look").await
    };
    camera.take("me-error", "/self", wrong).await?;
    let waits = async || {
        let now = page.the("textbox", "Network name").await?;
        let other = match now.prop("value").await?.as_deref() {
            Some("my lab") => "my attic",
            _ => "my lab",
        };
        page.fill("textbox", "Network name", other).await?;
        page.press("button", "Save").await?;
        page.says("One setting waits for a restart").await
    };
    camera.take("me-restart", "/self", waits).await?;
    let folder = async || {
        page.the("textbox", "Name").await?;
        if page
            .all(None, "button", Name::Has("Browse…"))
            .await?
            .is_empty()
        {
            page.press("switch", "Run scripts").await?;
        }
        page.press("button", "Browse… Folder of the scripts")
            .await?;
        page.first("option", Name::Any).await.map(drop)
    };
    camera.take("me-folder", "/self", folder).await
}

async fn editor(camera: &Camera<'_>, site: &Path) -> Result<()> {
    let page = camera.page;
    let is_phone = async || {
        let narrow = page
            .client
            .execute("return innerWidth < 600", vec![])
            .await?;
        anyhow::Ok(narrow == json!(true))
    };
    let open = async || {
        page.first("textbox", Name::Has("Text of notes.html"))
            .await
            .map(drop)
    };
    camera.take("editor", "/edit?path=notes.html", open).await?;
    let files = async || {
        open().await?;
        if is_phone().await? {
            page.press("button", "Site").await?;
        }
        page.the("treeitem", "images").await.map(drop)
    };
    let rename = async || {
        files().await?;
        page.press("button", "New file").await?;
        page.first("dialog", Name::Any).await.map(drop)
    };
    camera
        .take("editor-files", "/edit?path=notes.html", files)
        .await?;
    camera
        .take("editor-dialog", "/edit?path=notes.html", rename)
        .await?;
    let search = async || {
        files().await?;
        page.press("button", "Search").await?;
        page.first("searchbox", Name::Any)
            .await?
            .send_keys("tide")
            .await?;
        page.holds(
            "matches",
            "return document.querySelector('mark') !== null",
            &[],
        )
        .await
    };
    camera
        .take("editor-search", "/edit?path=notes.html", search)
        .await?;
    let conflict = async || {
        let file = site.join("style.css");
        let text = std::fs::read_to_string(&file)?;
        page.press("textbox", "Text of style.css").await?;
        page.chord(&[Key::Control], &char::from(Key::Home).to_string())
            .await?;
        page.type_text("/* mine */ ").await?;
        std::fs::write(&file, format!("/* theirs, meanwhile */\n{text}"))?;
        page.chord(&[Key::Control], "s").await?;
        page.first("heading", Name::Has("style.css")).await?;
        std::fs::write(&file, text)?;
        Ok(())
    };
    let shown = camera
        .take("editor-conflict", "/edit?path=style.css", conflict)
        .await;
    // What was not saved would ask before the next page.
    let forget = "for (const key of Object.keys(sessionStorage)) if (key.startsWith('editor')) sessionStorage.removeItem(key)";
    page.client.execute(forget, vec![]).await?;
    shown
}

async fn database(camera: &Camera<'_>) -> Result<()> {
    let page = camera.page;
    let rows = async || page.the("gridcell", "word 1").await.map(drop);
    let editing = async || {
        rows().await?;
        page.the("gridcell", "word 2").await?.click().await?;
        page.key(Key::Enter).await?;
        page.the("textbox", "Edit word").await.map(drop)
    };
    let adding = async || {
        rows().await?;
        page.press("button", "Row").await?;
        page.the("dialog", "New row in words").await.map(drop)
    };
    let filter = async || {
        rows().await?;
        page.press("button", "Filter").await?;
        page.the("dialog", "Filter the rows").await.map(drop)
    };
    let none = async || {
        rows().await?;
        page.fill(
            "searchbox",
            "Search in the shown columns",
            "nothing like this",
        )
        .await?;
        camera.heading("No row fits").await
    };
    let table = "/database?table=words";
    camera.take("database", table, rows).await?;
    camera.take("database-edit", table, editing).await?;
    camera.take("database-row", table, adding).await?;
    camera.take("database-filter", table, filter).await?;
    camera.take("database-no-row", table, none).await?;
    let statement = async || page.says("CREATE TABLE \"words\"").await;
    camera
        .take(
            "database-design",
            "/database?table=words&part=design",
            statement,
        )
        .await?;
    let rights = async || page.the("rowheader", "A stranger").await.map(drop);
    camera
        .take(
            "database-access",
            "/database?table=words&part=access",
            rights,
        )
        .await?;
    let making = async || {
        page.press("button", "New table").await?;
        camera.heading("New table").await
    };
    camera.take("database-new", "/database", making).await?;
    let answer = async || {
        page.press("button", "Put words_by_pk into the document")
            .await?;
        page.press("button", "Run").await?;
        page.says("\"word 1\"").await
    };
    camera
        .take("database-graphql", "/database?view=graphql", answer)
        .await?;
    let preview = async || {
        page.press_first("button", Name::Has("guest-list")).await?;
        page.press("button", "Preview").await?;
        page.the("cell", "GRACE").await.map(drop)
    };
    camera
        .take(
            "database-transformation",
            "/database?view=transformations",
            preview,
        )
        .await?;
    let asked = async || {
        page.press("button", "Run").await?;
        page.the("cell", "words").await.map(drop)
    };
    camera
        .take("database-sql", "/database?view=console", asked)
        .await
}

async fn logs(camera: &Camera<'_>) -> Result<()> {
    let page = camera.page;
    let lines = async || {
        let rows = "return document.querySelectorAll('.log tbody tr').length > 3";
        page.holds("lines", rows, &[]).await
    };
    camera.take("logs", "/logs", lines).await?;
    let nothing = async || {
        lines().await?;
        page.fill("searchbox", "Filter", "nothing like this")
            .await?;
        camera.heading("No line matches").await
    };
    camera.take("logs-no-match", "/logs", nothing).await
}

async fn topology(camera: &Camera<'_>) -> Result<()> {
    let page = camera.page;
    let node = async || {
        page.first("button", Name::Has("Sample peer"))
            .await
            .map(drop)
    };
    camera.take("topology", "/topology", node).await?;
    let chosen = async || {
        page.press_first("button", Name::Has("Sample peer")).await?;
        camera.heading("Sample peer").await
    };
    camera.take("topology-chosen", "/topology", chosen).await?;
    let table = async || {
        page.press("tab", "Table").await?;
        page.first("rowheader", Name::Has("Sample peer"))
            .await
            .map(drop)
    };
    camera.take("topology-table", "/topology", table).await
}

async fn docs(camera: &Camera<'_>) -> Result<()> {
    let guide = async || camera.heading("Put a folder online").await;
    camera.take("docs", "/docs", guide).await?;
    let reference = async || camera.page.says("/api/peers/favorite").await;
    camera.take("docs-api", "/docs?tab=api", reference).await
}

/// The peer ends while somebody looks at its pages.
async fn lost(camera: &Camera<'_>, script: &Value) -> Result<()> {
    let page = camera.page;
    let client = page.client;
    devtools::size(client, SIZES[0].1, SIZES[0].2).await?;
    client.goto(&format!("{}/peers", camera.origin)).await?;
    page.the("link", "Sample peer").await?;
    page.says("live").await?;
    let ended = Command::new("kill")
        .arg("-KILL")
        .arg(script["process"].to_string())
        .status()?;
    ensure!(ended.success(), "the peer could not be ended");
    page.says("The connection to your peer is lost").await?;
    for (size, width, height) in SIZES {
        devtools::size(client, width, height).await?;
        for theme in THEMES {
            camera
                .shoot(&format!("peers-lost-{size}-{theme}"), theme)
                .await?;
        }
    }
    Ok(())
}
