//! Fields, and a form that saves, is refused, and takes back.

use anyhow::{Result, ensure};
use fantoccini::key::Key;

use super::Stage;

const NAME: &str = "Name שלום עולם";
const REFUSED: &str =
    r#"Somebody has this name <img src="/pwned.png" onerror="window.pwned=1"><pwned-mark>"#;

pub(super) async fn form(stage: &Stage<'_>) -> Result<()> {
    let page = stage.page;
    stage.open("forms").await?;
    page.wait_value("textbox", NAME, "Ada").await?;
    page.says_beside("textbox", NAME, "As others see it.")
        .await?;
    page.says_beside("textbox", NAME, "takes effect after a restart")
        .await?;
    page.wait_state("button", "Save", "aria-disabled", "true")
        .await?;
    page.wait_state("button", "Undo", "aria-disabled", "true")
        .await?;
    stage.look().await?;
    edits(stage).await?;
    errors(stage).await?;
    saved(stage).await?;
    secret(stage).await
}

/// What is typed counts as changed, and typed back as unchanged; it outlives the form.
async fn edits(stage: &Stage<'_>) -> Result<()> {
    let page = stage.page;
    page.fill("textbox", "Port", "81").await?;
    page.press("switch", "Loud").await?;
    page.says("2 changes are not saved").await?;
    page.key(Key::Space).await?;
    page.says("One change is not saved").await?;
    page.press("button", "Leave the form").await?;
    page.gone("textbox", "Port").await?;
    page.press("button", "Come back").await?;
    page.wait_value("textbox", "Port", "81").await?;
    page.fill("textbox", "Port", "8080").await?;
    page.wait_state("button", "Save", "aria-disabled", "true")
        .await?;
    page.fill("textbox", "Port", "82").await?;
    page.press("button", "Undo").await?;
    page.wait_value("textbox", "Port", "8080").await
}

/// An error stands at its field and takes the focus there; what was typed stays.
async fn errors(stage: &Stage<'_>) -> Result<()> {
    let page = stage.page;
    page.fill("textbox", "Port", "many").await?;
    page.key(Key::Enter).await?;
    page.says_beside("textbox", "Port", "Type a whole number.")
        .await?;
    page.wait_state("textbox", "Port", "aria-invalid", "true")
        .await?;
    page.stands("textbox", "Port").await?;
    stage.said("").await?;
    page.fill("textbox", "Port", "83").await?;
    let fixed = page.the("textbox", "Port").await?;
    ensure!(
        fixed.attr("aria-invalid").await?.is_none(),
        "a field that is typed anew is not wrong yet"
    );
    page.fill("textbox", NAME, "taken").await?;
    page.press("button", "Save").await?;
    page.says_beside("textbox", NAME, REFUSED).await?;
    page.stands("textbox", NAME).await?;
    page.says("One field needs a look").await?;
    page.wait_value("textbox", "Port", "83").await?;
    stage.look().await?;
    page.fill("textbox", NAME, "broken").await?;
    page.press("button", "Save").await?;
    page.says("The disk is full. Make room, then save again.")
        .await?;
    page.wait_value("textbox", NAME, "broken").await
}

/// Only what differs is sent; the save can be taken back once.
async fn saved(stage: &Stage<'_>) -> Result<()> {
    let page = stage.page;
    page.fill("textbox", NAME, "Grace").await?;
    let choose = "const [list] = document.querySelectorAll('select'); list.value = 'red'; list.dispatchEvent(new Event('change', { bubbles: true })); return true";
    page.the("combobox", "Colour").await?;
    page.holds("another colour", choose, &[]).await?;
    page.says("3 changes are not saved").await?;
    stage.enter("button", "Save").await?;
    stage
        .said(r#"sent {"port":"83","name":"Grace","color":"red"}"#)
        .await?;
    page.says("Everything is saved").await?;
    page.stands("button", "Save").await?;
    page.press("button", "Undo the last save").await?;
    stage
        .said(r#"sent {"port":8080,"name":"Ada","color":"green"}"#)
        .await?;
    page.wait_value("textbox", NAME, "Ada").await?;
    page.wait_value("textbox", "Port", "8080").await?;
    page.wait_state("button", "Undo", "aria-disabled", "true")
        .await
}

/// A secret is never shown unless somebody asks, and it can be erased.
async fn secret(stage: &Stage<'_>) -> Result<()> {
    let page = stage.page;
    let kind = "document.getElementById('field-token').type";
    stage
        .is("it is hidden", &format!("{kind} === 'password'"))
        .await?;
    page.press("button", "Generate: Token").await?;
    page.wait_value("textbox", "Token", "made-up").await?;
    page.press("button", "Hide: Token").await?;
    stage
        .is("it is hidden again", &format!("{kind} === 'password'"))
        .await?;
    page.wait_state("button", "Show: Token", "aria-pressed", "false")
        .await?;
    page.press("button", "Erase: Token").await?;
    page.says("will be erased").await?;
    page.press("button", "Save").await?;
    stage.said(r#"sent {"token":null}"#).await?;
    // Nobody knows what it was: that save cannot be taken back.
    page.wait_state("button", "Undo", "aria-disabled", "true")
        .await
}
