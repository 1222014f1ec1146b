//! Finding things on a page as a person does: by what they are and what they are called. What is found is asked for its role
//! and name once more through the browser's own accessibility tree, so a screen reader finds it, too.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use fantoccini::Client;
use fantoccini::elements::{Element, ElementRef};
use fantoccini::wd::WebDriverCompatibleCommand;
use serde_json::{Value, json};

/// How long a person waits for something.
const PATIENCE: Duration = Duration::from_secs(15);
/// How often it is looked for.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// The key of an element's id in WebDriver's JSON (W3C WebDriver, "web element identifier").
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

/// What a thing is called. White space does not count.
#[derive(Debug, Clone, Copy)]
pub(super) enum Name<'a> {
    Is(&'a str),
    Has(&'a str),
    Any,
}

/// What a person has before them.
#[derive(Debug, Clone, Copy)]
pub(super) struct Page<'a> {
    pub(super) client: &'a Client,
}

impl<'a> Page<'a> {
    pub(super) fn new(client: &'a Client) -> Self {
        Self { client }
    }

    /// The one thing that is shown with this role and name.
    pub(super) async fn the(&self, role: &str, name: &str) -> Result<Element> {
        self.the_in(None, role, name).await
    }

    /// The one thing with this role and name inside another one.
    pub(super) async fn the_in(
        &self,
        inside: Option<&Element>,
        role: &str,
        name: &str,
    ) -> Result<Element> {
        self.wait(&format!("one {role} “{name}”"), async || {
            self.now(inside, role, name).await
        })
        .await
    }

    /// The one thing with this role and name, if it is there now.
    pub(super) async fn now(
        &self,
        inside: Option<&Element>,
        role: &str,
        name: &str,
    ) -> Result<Element> {
        let mut found = self.all(inside, role, Name::Is(name)).await?;
        ensure!(
            found.len() == 1,
            "there are {} of {role} “{name}”",
            found.len()
        );
        let found = found.remove(0);
        let (its_role, its_name) = self.computed(&found).await?;
        ensure!(
            its_role.eq_ignore_ascii_case(role) && squeezed(&its_name) == squeezed(name),
            "for the browser it is the {its_role} “{its_name}”"
        );
        Ok(found)
    }

    /// Waits until nothing with this role and name is shown.
    pub(super) async fn gone(&self, role: &str, name: &str) -> Result<()> {
        self.wait(&format!("no {role} “{name}”"), async || {
            let found = self.all(None, role, Name::Is(name)).await?.len();
            ensure!(found == 0, "there are {found}");
            Ok(())
        })
        .await
    }

    /// Clicks on it, or taps.
    pub(super) async fn press(&self, role: &str, name: &str) -> Result<()> {
        self.press_in(None, role, name).await
    }

    /// Clicks on what is inside another one. What a message covers is clicked on when the message left.
    pub(super) async fn press_in(
        &self,
        inside: Option<&Element>,
        role: &str,
        name: &str,
    ) -> Result<()> {
        self.wait(&format!("a press on the {role} “{name}”"), async || {
            let found = self.now(inside, role, name).await?;
            self.scroll_to(&found).await?;
            Ok(found.click().await?)
        })
        .await
    }

    /// The first thing with this role and name, as soon as there is one.
    pub(super) async fn first(&self, role: &str, name: Name<'_>) -> Result<Element> {
        self.wait(&format!("a {role}, {name:?}"), async || {
            let found = self.all(None, role, name).await?.into_iter().next();
            found.context("there is none")
        })
        .await
    }

    /// Clicks on the first such thing. A live page may draw it anew in between.
    pub(super) async fn press_first(&self, role: &str, name: Name<'_>) -> Result<()> {
        self.wait(&format!("a press on a {role}, {name:?}"), async || {
            let found = self.all(None, role, name).await?.into_iter().next();
            Ok(found.context("there is none")?.click().await?)
        })
        .await
    }

    /// Waits until a script says `true`; it may also say what is missing.
    pub(super) async fn holds(&self, what: &str, script: &str, args: &[Value]) -> Result<()> {
        self.wait(what, async || {
            let said = self.client.execute(script, args.to_vec()).await?;
            ensure!(said == json!(true), "it was {said}");
            Ok(())
        })
        .await
    }

    /// Scrolls to it as a person does: only when something covers it, or it is out of sight.
    pub(super) async fn scroll_to(&self, found: &Element) -> Result<()> {
        let script = "const [node] = arguments; const { left, top, width, height } = node.getBoundingClientRect(); \
            const at = node.getRootNode().elementFromPoint(left + width / 2, top + height / 2); \
            if (!node.contains(at)) node.scrollIntoView({ block: 'center' });";
        self.client.execute(script, vec![json!(found)]).await?;
        Ok(())
    }

    /// Waits until a field says this.
    pub(super) async fn wait_value(&self, role: &str, name: &str, text: &str) -> Result<()> {
        self.wait(&format!("“{name}” says “{text}”"), async || {
            let value = self.now(None, role, name).await?.prop("value").await?;
            ensure!(value.as_deref() == Some(text), "it says {value:?}");
            Ok(())
        })
        .await
    }

    /// Waits until an ARIA state of it is as wanted, such as `aria-pressed`.
    pub(super) async fn wait_state(
        &self,
        role: &str,
        name: &str,
        state: &str,
        wanted: &str,
    ) -> Result<()> {
        self.wait(
            &format!("{state} of “{name}” is {wanted}"),
            async || {
                let is = self.now(None, role, name).await?.attr(state).await?;
                ensure!(is.as_deref() == Some(wanted), "it is {is:?}");
                Ok(())
            },
        )
        .await
    }

    /// Waits until the page shows a text.
    pub(super) async fn says(&self, text: &str) -> Result<()> {
        self.wait(&format!("the page says “{text}”"), async || {
            ensure!(self.text().await?.contains(text), "it does not");
            Ok(())
        })
        .await
    }

    /// Waits until something on the page shows a text.
    pub(super) async fn says_in(&self, role: &str, name: &str, text: &str) -> Result<()> {
        self.wait(
            &format!("the {role} “{name}” shows “{text}”"),
            async || {
                let shown = self.now(None, role, name).await?.text().await?;
                ensure!(shown.contains(text), "it shows “{shown}”");
                Ok(())
            },
        )
        .await
    }

    /// Waits until a text is beside a field: among what describes it, shown, and not farther than a few lines.
    pub(super) async fn says_beside(&self, role: &str, name: &str, text: &str) -> Result<()> {
        let script = "const [node] = arguments; const box = node.getBoundingClientRect(); \
            return (node.getAttribute('aria-describedby') ?? '').split(' ').map((id) => document.getElementById(id)) \
              .filter((note) => note?.checkVisibility() && note.getBoundingClientRect().top < box.bottom + 120 \
                && note.getBoundingClientRect().bottom > box.top - 60) \
              .map((note) => note.innerText).join(' ')";
        self.wait(&format!("“{text}” beside “{name}”"), async || {
            let found = self.now(None, role, name).await?;
            let beside = self.client.execute(script, vec![json!(found)]).await?;
            let beside = beside.as_str().unwrap_or_default();
            ensure!(beside.contains(text), "there is “{beside}”");
            Ok(())
        })
        .await
    }

    /// The first heading of the page inside a frame, as soon as it says `wanted`.
    pub(super) async fn frame_says(&self, title: &str, wanted: &str) -> Result<()> {
        self.wait(
            &format!("the frame “{title}” shows “{wanted}”"),
            async || {
                self.now(None, "iframe", title).await?.enter_frame().await?;
                let shown = self.text().await;
                self.client.enter_parent_frame().await?;
                let shown = shown?;
                ensure!(shown.contains(wanted), "it shows “{shown}”");
                Ok(())
            },
        )
        .await
    }

    /// The texts of all things with a role.
    pub(super) async fn texts(&self, role: &str) -> Result<Vec<String>> {
        let mut texts = Vec::new();
        for found in self.all(None, role, Name::Any).await? {
            texts.push(found.text().await?);
        }
        Ok(texts)
    }

    async fn text(&self) -> Result<String> {
        let text = self
            .client
            .execute("return document.body?.innerText ?? ''", vec![])
            .await?;
        Ok(text.as_str().unwrap_or_default().to_owned())
    }

    /// Everything with a role and a name that is shown now, in the order of the page.
    pub(super) async fn all(
        &self,
        inside: Option<&Element>,
        role: &str,
        name: Name<'_>,
    ) -> Result<Vec<Element>> {
        let (name, is_whole) = match name {
            Name::Is(name) => (json!(name), true),
            Name::Has(part) => (json!(part), false),
            Name::Any => (Value::Null, false),
        };
        let found = self
            .client
            .execute(
                include_str!("find.js"),
                vec![json!(role), name, json!(is_whole), json!(inside)],
            )
            .await?;
        let found = found.as_array().context("the search answered no list")?;
        found
            .iter()
            .map(|element| self.element(element).context("no element"))
            .collect()
    }

    /// An element that a script gave back.
    pub(super) fn element(&self, answer: &Value) -> Option<Element> {
        let id = answer.get(ELEMENT)?.as_str()?.to_owned();
        Some(Element::from_element_id(
            self.client.clone(),
            ElementRef::from(id),
        ))
    }

    /// Role and name as the browser tells them to a screen reader.
    pub(super) async fn computed(&self, element: &Element) -> Result<(String, String)> {
        let mut told = Vec::new();
        for what in ["computedrole", "computedlabel"] {
            let id = element.element_id().to_string();
            let answer = self.client.issue_cmd(Computed { what, id }).await?;
            told.push(answer.as_str().unwrap_or_default().to_owned());
        }
        let name = told.pop().unwrap_or_default();
        Ok((told.pop().unwrap_or_default(), name))
    }

    /// Waits until a file on the disk holds a text.
    pub(super) async fn wait_file(&self, path: &Path, text: &str) -> Result<()> {
        self.wait(
            &format!("{} holds “{text}”", path.display()),
            async || {
                let held = std::fs::read_to_string(path)?;
                ensure!(held.contains(text), "it holds “{held}”");
                Ok(())
            },
        )
        .await
    }

    /// Tries until it works; when it never did, why the last try failed.
    pub(super) async fn wait<T>(
        &self,
        what: &str,
        attempt: impl AsyncFnMut() -> Result<T>,
    ) -> Result<T> {
        self.wait_within(PATIENCE, what, attempt).await
    }

    /// The same with another patience.
    pub(super) async fn wait_within<T>(
        &self,
        patience: Duration,
        what: &str,
        mut attempt: impl AsyncFnMut() -> Result<T>,
    ) -> Result<T> {
        let deadline = Instant::now() + patience;
        loop {
            match attempt().await {
                Ok(value) => return Ok(value),
                Err(error) if Instant::now() >= deadline => {
                    return Err(error.context(format!("not within {patience:?}: {what}")));
                }
                Err(_) => tokio::time::sleep(LOOK_EVERY).await,
            }
        }
    }
}

fn squeezed(text: &str) -> String {
    text.split_whitespace().collect()
}

/// "Get Computed Role" and "Get Computed Label" of W3C WebDriver, which fantoccini does not have.
#[derive(Debug)]
struct Computed {
    what: &'static str,
    id: String,
}

impl WebDriverCompatibleCommand for Computed {
    fn endpoint(
        &self,
        base_url: &url::Url,
        session: Option<&str>,
    ) -> Result<url::Url, url::ParseError> {
        let session = session.unwrap_or_default();
        base_url.join(&format!(
            "session/{session}/element/{}/{}",
            self.id, self.what
        ))
    }

    fn method_and_body(&self, _: &url::Url) -> (http::Method, Option<String>) {
        (http::Method::GET, None)
    }
}
