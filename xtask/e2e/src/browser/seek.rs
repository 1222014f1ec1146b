//! Finding elements as a person does, by what they are (their ARIA role) and what they are called, and waiting for them.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use fantoccini::Client;
use fantoccini::elements::{Element, ElementRef};
use serde_json::{Value, json};

/// How long a page may take to show something on a busy machine.
pub(super) const SOON: Duration = Duration::from_secs(15);
/// How often a page is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(60);
/// What WebDriver calls an element (WebDriver, 12.1).
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

/// What an element is called.
#[derive(Debug, Clone, Copy)]
pub(super) enum Name<'a> {
    Is(&'a str),
    Has(&'a str),
    Any,
}

/// Waits until `look` gives a value; after `within` it is an error that says what was waited for.
pub(super) async fn until<T>(
    what: &str,
    within: Duration,
    mut look: impl AsyncFnMut() -> Result<Option<T>>,
) -> Result<T> {
    let deadline = Instant::now() + within;
    loop {
        let seen = look().await;
        if let Ok(Some(value)) = seen {
            return Ok(value);
        }
        if Instant::now() >= deadline {
            let late = format!("not within {within:?}: {what}");
            return match seen {
                Err(error) => Err(error.context(late)),
                Ok(_) => Err(anyhow::anyhow!(late)),
            };
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// The visible elements with a role and a name that are there now.
pub(super) async fn all(client: &Client, role: &str, name: Name<'_>) -> Result<Vec<Element>> {
    let (text, whole) = match name {
        Name::Is(text) => (json!(text), true),
        Name::Has(text) => (json!(text), false),
        Name::Any => (Value::Null, false),
    };
    let found = client
        .execute(
            include_str!("seek.js"),
            vec![json!(role), text, json!(whole)],
        )
        .await?;
    let list = found.as_array().context("no list of elements")?;
    let elements = list.iter().filter_map(|one| one[ELEMENT].as_str());
    Ok(elements
        .map(|id| Element::from_element_id(client.clone(), ElementRef::from(id.to_owned())))
        .collect())
}

/// The first visible element with a role and a name, as soon as there is one.
pub(super) async fn one(client: &Client, role: &str, name: Name<'_>) -> Result<Element> {
    until(&format!("a {role}, {name:?}"), SOON, async || {
        Ok(all(client, role, name).await?.into_iter().next())
    })
    .await
}

/// Presses the first such element. A live page may draw it anew in between.
pub(super) async fn press(client: &Client, role: &str, name: Name<'_>) -> Result<()> {
    until(&format!("a {role}, {name:?}, to press"), SOON, async || {
        let Some(element) = all(client, role, name).await?.into_iter().next() else {
            return Ok(None);
        };
        element.click().await?;
        Ok(Some(()))
    })
    .await
}

/// Waits until a script says `true` (it may also say what is missing).
pub(super) async fn holds(client: &Client, what: &str, script: &str, args: &[Value]) -> Result<()> {
    let mut last = Value::Null;
    until(what, SOON, async || {
        last = client.execute(script, args.to_vec()).await?;
        Ok((last == json!(true)).then_some(()))
    })
    .await
    .with_context(|| format!("it was {last}"))
}
