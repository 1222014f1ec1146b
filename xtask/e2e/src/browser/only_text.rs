//! "A hostile neighbour is only text": names, addresses and files with markup and worse are read, and do nothing.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use fantoccini::Client;
use serde_json::{Value, json};

use super::SOON;
use super::find::{Name, Page};
use goop_browser::devtools;

/// Where foreign text asks browsers to go.
const MARKER: u16 = 7777;
/// How long a visitor of the marker may be silent.
const PATIENCE: Duration = Duration::from_millis(300);
/// Windows that are looked at: a desktop and a phone.
const SIZES: [(u32, u32); 2] = [(1280, 800), (390, 844)];
/// Whether the page shows a text. Names lie in texts, labels and fields.
const SHOWS: &str = "const tidy = (text) => text.replace(/\\s+/g, ' '); const wanted = tidy(arguments[0]); \
     const fields = [...document.querySelectorAll('input')].map((field) => field.value); \
     const inside = [...document.querySelectorAll('*')].map((node) => node.shadowRoot?.textContent ?? ''); \
     return tidy(`${document.getElementById('main').textContent} ${fields.join(' ')} ${inside.join(' ')}`).includes(wanted) || `not ${wanted}`";

/// Hears what is asked for at the marker's address.
struct Marker(Arc<Mutex<Vec<String>>>);

impl Marker {
    fn start() -> Result<Self> {
        let listener = TcpListener::bind(("0.0.0.0", MARKER)).context("the marker")?;
        let asked = Arc::new(Mutex::new(Vec::new()));
        let heard = asked.clone();
        std::thread::spawn(move || {
            for mut visitor in listener.incoming().flatten() {
                // Chromium connects before the policy of the page is asked whether a frame may go there. Then it asks for
                // nothing, and so nothing is told.
                let mut start = [0; 64];
                let _ = visitor.set_read_timeout(Some(PATIENCE));
                let length = visitor.read(&mut start).unwrap_or(0);
                let text = String::from_utf8_lossy(&start[..length]).into_owned();
                if !text.is_empty() {
                    heard
                        .lock()
                        .unwrap_or_else(PoisonError::into_inner)
                        .push(text);
                }
            }
        });
        Ok(Self(asked))
    }

    /// What was asked for since the last time.
    fn visits(&self) -> Vec<String> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The browser with what the scenario said.
struct Tour<'a> {
    page: Page<'a>,
    origin: String,
    marker: Marker,
    /// What is wrong, page by page.
    wrong: Vec<String>,
}

impl Tour<'_> {
    /// Goes to a page and waits until it shows the texts.
    async fn visit(&mut self, path: &str, texts: &[&str]) -> Result<()> {
        self.page
            .client
            .goto(&format!("{}{path}", self.origin))
            .await?;
        self.shows(path, texts).await
    }

    async fn shows(&self, path: &str, texts: &[&str]) -> Result<()> {
        for text in texts {
            let what = format!("{path} shows {text:?}");
            self.page.holds(&what, SHOWS, &[json!(text)]).await?;
        }
        Ok(())
    }

    /// Looks for traces of foreign text, and at the layout in each size.
    async fn look(&mut self, page: &str) -> Result<()> {
        self.look_beside(page, &[]).await
    }

    /// The same where a hostile site is shown that does forbidden things itself.
    async fn look_beside(&mut self, page: &str, its_own: &[&str]) -> Result<()> {
        for (width, height) in SIZES {
            devtools::size(self.page.client, width, height).await?;
            let found = self
                .page
                .client
                .execute_async(include_str!("layout.js"), vec![])
                .await?;
            self.note(&format!("{page} at {width} px"), found)?;
        }
        let (width, height) = SIZES[0];
        devtools::size(self.page.client, width, height).await?;
        let found = self
            .page
            .client
            .execute(include_str!("traces.js"), vec![])
            .await?;
        let found: Vec<String> = serde_json::from_value(found)?;
        let kept: Vec<&String> = found
            .iter()
            .filter(|one| !its_own.iter().any(|own| one.starts_with(own)))
            .collect();
        self.note(page, json!(kept))?;
        if let Ok(said) = self.page.client.get_alert_text().await {
            self.wrong.push(format!("{page}: a dialog says {said:?}"));
        }
        for asked in self.marker.visits() {
            self.wrong
                .push(format!("{page}: somebody went to the marker: {asked:?}"));
        }
        Ok(())
    }

    fn note(&mut self, page: &str, found: Value) -> Result<()> {
        let found: Vec<String> = serde_json::from_value(found)?;
        self.wrong
            .extend(found.iter().map(|one| format!("{page}: {one}")));
        Ok(())
    }
}

pub(super) async fn run(client: &Client, script: &Value) -> Result<()> {
    let text = |name: &str| script[name].as_str().unwrap_or_default().to_owned();
    devtools::before_pages(client, include_str!("only_text.js")).await?;
    client.goto(&text("link")).await?;
    let mut tour = Tour {
        page: Page::new(client),
        origin: text("origin"),
        marker: Marker::start()?,
        wrong: Vec::new(),
    };
    let peers = script["peers"].as_array().context("peers")?;
    let shown: Vec<&str> = peers
        .iter()
        .filter_map(|peer| peer["shown"].as_str())
        .collect();
    let walked = walk(&mut tour, script, peers, &shown).await;
    let found = tour.wrong.join("\n");
    walked.with_context(|| format!("so far was found:\n{found}"))?;
    ensure!(
        tour.wrong.is_empty(),
        "foreign text was more than text:\n{found}"
    );
    would_notice(&mut tour).await
}

/// Every page, one after the other.
async fn walk(tour: &mut Tour<'_>, script: &Value, peers: &[Value], shown: &[&str]) -> Result<()> {
    people(tour, peers, shown).await?;
    sites(tour, peers).await?;
    own(tour, script).await?;
    editor(tour, script).await?;
    logs(tour, script).await?;
    topology(tour, shown).await?;
    addresses(tour).await
}

/// The list, its search and menus, and everybody's own page.
async fn people(tour: &mut Tour<'_>, peers: &[Value], shown: &[&str]) -> Result<()> {
    tour.visit("/peers", shown).await?;
    tour.look("peers").await?;
    let search = tour
        .page
        .first("searchbox", Name::Is("Search by name or e-mail"))
        .await?;
    search.send_keys("WideW").await?;
    tour.shows("/peers", &["1 shown ·"]).await?;
    tour.look("peers-search").await?;
    tour.visit("/peers", shown).await?;
    for text in shown {
        tour.page
            .press_first("button", Name::Has(&format!("More about {text}")))
            .await?;
        tour.page.first("menu", Name::Any).await?;
        tour.look("peers-menu").await?;
    }
    for peer in peers {
        let (id, text) = (
            peer["id"].as_str().context("id")?,
            peer["shown"].as_str().context("shown")?,
        );
        let path = format!("/peer/{id}");
        tour.visit(&path, &[text, "evil.example"]).await?;
        tour.page
            .press_first("button", Name::Is("Does it answer?"))
            .await?;
        let said = "const said = document.getElementById('toasts').textContent; return said.includes('answers.') || said";
        tour.page
            .holds("a message with the name", said, &[])
            .await?;
        tour.look(&format!("peer-{}", peer["host"])).await?;
        // Its picture is no page.
        tour.page
            .client
            .goto(&format!("{}/api/avatar/peer/{id}", tour.origin))
            .await?;
        tour.look(&format!("picture-{}", peer["host"])).await?;
    }
    Ok(())
}

/// Their sites as tabs.
async fn sites(tour: &mut Tour<'_>, peers: &[Value]) -> Result<()> {
    for peer in peers {
        let (id, text) = (
            peer["id"].as_str().context("id")?,
            peer["shown"].as_str().context("shown")?,
        );
        tour.visit(&format!("/view?open={id}"), &[text]).await?;
        let frame = tour.page.first("iframe", Name::Has(text)).await?;
        frame.enter_frame().await?;
        let tried = "return document.documentElement.dataset.tried === 'all' || document.title";
        tour.page
            .holds("the site tried everything", tried, &[])
            .await?;
        // It leaves for elsewhere, too; that much may be reported.
        let leave = "location = `http://10.55.0.1:${arguments[0]}/pwned-left`";
        tour.page.client.execute(leave, vec![json!(MARKER)]).await?;
        tour.page.client.enter_parent_frame().await?;
        let reported = "return window.reported.some((one) => one.startsWith('policy: frame-src')) || window.reported";
        tour.page
            .holds("its way out is reported", reported, &[])
            .await?;
        tour.look_beside(
            &format!("view-{}", peer["host"]),
            &["policy: frame-src http://10.55.0.1:7777"],
        )
        .await?;
    }
    Ok(())
}

/// The owner's own values may be as bad as anybody's.
async fn own(tour: &mut Tour<'_>, script: &Value) -> Result<()> {
    let label = script["label"].as_str().context("label")?;
    let texts = [&label[..40], "evil.example", "template-of-mine<img src"];
    tour.visit("/self", &texts).await?;
    let field = tour.page.first("textbox", Name::Is("Name")).await?;
    let value = field.prop("value").await?.unwrap_or_default();
    ensure!(value == label, "the field holds {value:?}");
    tour.look("self").await
}

async fn editor(tour: &mut Tour<'_>, script: &Value) -> Result<()> {
    let files = script["files"].as_array().context("files")?;
    tour.visit("/edit?path=index.html", &[]).await?;
    for file in files {
        let (path, shown) = (
            file["path"].as_str().context("path")?,
            file["shown"].as_str().context("shown")?,
        );
        let query: String = url::form_urlencoded::byte_serialize(path.as_bytes()).collect();
        tour.visit(&format!("/edit?path={query}"), &[shown]).await?;
        tour.page.first("treeitem", Name::Has(shown)).await?;
        tour.page.first("tab", Name::Has(shown)).await?;
        tour.shows(
            &format!("the file {path:?}"),
            &["inside the file <pwned-mark>"],
        )
        .await?;
        tour.page
            .press_first("button", Name::Has(&format!("Actions for {shown}")))
            .await
            .ok();
        tour.look(&format!("edit-{}", file["number"])).await?;
    }
    tour.visit("/edit?path=index.html", &[]).await?;
    tour.page.press_first("button", Name::Is("Search")).await?;
    let field = tour.page.first("searchbox", Name::Any).await?;
    field.send_keys("<pwned-mark>").await?;
    tour.page
        .wait("matches of the search", async || {
            let found = tour
                .page
                .all(None, "button", Name::Has("inside the file"))
                .await?
                .len();
            ensure!(found >= files.len(), "there are {found}");
            Ok(())
        })
        .await?;
    tour.look("edit-search").await
}

async fn logs(tour: &mut Tour<'_>, script: &Value) -> Result<()> {
    let line = script["line"].as_str().context("line")?;
    tour.visit("/logs", &[line]).await?;
    let areas = tour.page.first("combobox", Name::Is("Area")).await?;
    areas.select_by_index(1).await?;
    tour.look("logs").await
}

async fn topology(tour: &mut Tour<'_>, shown: &[&str]) -> Result<()> {
    let short: Vec<String> = shown
        .iter()
        .map(|text| text.chars().take(8).collect())
        .collect();
    let short: Vec<&str> = short.iter().map(String::as_str).collect();
    tour.visit("/topology", &short).await?;
    for text in &short {
        tour.page.press_first("button", Name::Has(text)).await?;
        tour.page.first("heading", Name::Has(text)).await?;
        tour.look("topology").await?;
    }
    tour.page.press_first("tab", Name::Is("Table")).await?;
    tour.shows("the table", shown).await?;
    tour.look("topology-table").await
}

/// A link can hold anything, too.
async fn addresses(tour: &mut Tour<'_>) -> Result<()> {
    let bad =
        "%3Cimg%20src%3D%22%2Fpwned.png%22%20onerror%3D%22window.pwned%3D1%22%3E%3Cpwned-mark%3E";
    for (number, path) in [
        format!("/peer/{bad}"),
        format!("/view?open={bad}"),
        "/view?open=..%2Fpeers%3F".to_owned(),
        "/view?open=x%2F..%2F..%2Fpeers".to_owned(),
        format!("/edit?path={bad}&line={bad}"),
        format!("/logs?{bad}#{bad}"),
        format!("/self#{bad}"),
        format!("/topology#{bad}"),
        "/docs".to_owned(),
        format!("/docs?tab={bad}#{bad}"),
        format!("/docs?tab=api#{bad}"),
    ]
    .iter()
    .enumerate()
    {
        tour.visit(path, &[]).await?;
        tour.page
            .first("heading", Name::Any)
            .await
            .with_context(|| path.clone())?;
        tour.look(&format!("address-{number}")).await?;
    }
    tour.page
        .client
        .execute("sessionStorage.clear()", vec![])
        .await
        .map(drop)
        .map_err(Into::into)
}

/// The same things done by us: what would not be noticed now was not looked for before.
async fn would_notice(tour: &mut Tour<'_>) -> Result<()> {
    tour.visit("/peers", &[]).await?;
    tour.page.first("heading", Name::Is("Peers")).await?;
    let harm = "window.pwned = 1; alert('pwned'); \
         const make = (name, more) => document.getElementById('main').append(Object.assign(document.createElement(name), more)); \
         make('pwned-mark'); make('img', { src: '/pwned.png' }); make('img', { src: `http://10.55.0.1:${arguments[0]}/pwned` }); \
         const wide = document.createElement('button'); wide.style.width = '3000px'; document.getElementById('main').append(wide);";
    tour.page.client.execute(harm, vec![json!(MARKER)]).await?;
    let asked = "return performance.getEntriesByType('resource').some((one) => one.name.includes('pwned.png')) \
         && window.reported.length > 1";
    tour.page.holds("the harm is done", asked, &[]).await?;
    TcpStream::connect_timeout(&([127, 0, 0, 1], MARKER).into(), SOON)?
        .write_all(b"GET /pwned HTTP/1.1\r\n\r\n")?;
    tour.page
        .wait("the marker hears visitors", async || {
            let heard = tour.marker.0.lock().unwrap_or_else(PoisonError::into_inner);
            ensure!(!heard.is_empty(), "nobody came");
            Ok(())
        })
        .await?;
    tour.look("harm").await?;
    for sign in [
        "a script ran",
        "became an element",
        "a request",
        "policy: img-src",
        "alert:",
        "px wide in",
        "the marker",
    ] {
        ensure!(
            tour.wrong.iter().any(|one| one.contains(sign)),
            "{sign:?} would not be noticed: {:?}",
            tour.wrong
        );
    }
    Ok(())
}
