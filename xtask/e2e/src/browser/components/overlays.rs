//! Menus, dialogs and messages.

use anyhow::{Result, ensure};
use fantoccini::key::Key;

use super::Stage;
use crate::browser::find::Name;

const HEBREW: &str = "שלום עולם";
const CHERRY: &str = r#"Cherry <img src="/pwned.png" onerror="window.pwned=1"><pwned-mark>"#;

pub(super) async fn menu(stage: &Stage<'_>) -> Result<()> {
    let page = stage.page;
    stage.open("overlays").await?;
    stage.enter("button", "Fruit").await?;
    page.the("menu", "Fruit menu").await?;
    page.stands("menuitem", "Apple").await?;
    for (key, item) in [
        (Key::Down, "Apricot"),
        (Key::End, HEBREW),
        (Key::Down, "Apple"),
        (Key::Up, HEBREW),
        (Key::Home, "Apple"),
    ] {
        page.key(key).await?;
        page.stands("menuitem", item).await?;
    }
    // The same letter goes from one entry with it to the next.
    for (letter, item) in [
        ("a", "Apricot"),
        ("a", "Apple"),
        ("b", "Banana"),
        ("c", CHERRY),
    ] {
        page.type_text(letter).await?;
        page.stands("menuitem", item).await?;
    }
    stage.look().await?;
    page.key(Key::Escape).await?;
    stage.enter("button", "Fruit").await?;
    page.type_text("c").await?;
    page.key(Key::Enter).await?;
    stage.said(CHERRY).await?;
    page.gone("menu", "Fruit menu").await?;
    page.stands("button", "Fruit").await?;
    for key in [Key::Escape, Key::Tab] {
        page.key(Key::Enter).await?;
        page.stands("menuitem", "Apple").await?;
        page.key(key).await?;
        page.gone("menu", "Fruit menu").await?;
        page.stands("button", "Fruit").await?;
    }
    stage.said(CHERRY).await?;
    page.key(Key::Enter).await?;
    page.the("menu", "Fruit menu").await?;
    page.press("heading", "One component").await?;
    page.gone("menu", "Fruit menu").await?;
    // A menu that a key asks for stands at the button.
    page.the("button", "With a context menu").await?;
    let ask = "const button = [...document.querySelectorAll('button')].find((one) => one.textContent.startsWith('With a')); button.focus(); \
        button.dispatchEvent(new PointerEvent('contextmenu', { bubbles: true, cancelable: true, pointerType: '' })); return true";
    page.holds("a context menu", ask, &[]).await?;
    page.the("menu", "Context menu").await?;
    stage
        .is(
            "it is near its button",
            "Math.abs(document.querySelector('[role=menu]').getBoundingClientRect().left - \
             [...document.querySelectorAll('button')].find((one) => one.textContent.startsWith('With a')).getBoundingClientRect().left) < 2",
        )
        .await?;
    page.key(Key::Escape).await?;
    page.stands("button", "With a context menu").await
}

pub(super) async fn dialog(stage: &Stage<'_>) -> Result<()> {
    let page = stage.page;
    let title = r#"Delete <img src="/pwned.png" onerror="window.pwned=1"><pwned-mark>?"#;
    stage.open("overlays").await?;
    stage.enter("button", "Ask").await?;
    page.the("dialog", title).await?;
    // What cannot be taken back is not what Enter does.
    page.stands("button", "Cancel").await?;
    for name in ["Delete", "Close", "Cancel"] {
        page.key(Key::Tab).await?;
        page.stands("button", name).await?;
    }
    for name in ["Close", "Delete"] {
        page.chord(&[Key::Shift], &char::from(Key::Tab).to_string())
            .await?;
        page.stands("button", name).await?;
    }
    stage
        .is(
            "nothing behind it can be reached",
            "document.querySelector('dialog').matches(':modal')",
        )
        .await?;
    stage.look().await?;
    stage.enter("button", "Delete").await?;
    stage.said("answered true").await?;
    page.gone("dialog", title).await?;
    page.stands("button", "Ask").await?;
    page.key(Key::Enter).await?;
    page.stands("button", "Cancel").await?;
    page.key(Key::Escape).await?;
    stage.said("answered false").await?;
    page.stands("button", "Ask").await?;
    page.key(Key::Enter).await?;
    page.the("dialog", title).await?;
    outside(stage).await?;
    page.gone("dialog", title).await?;
    // One that holds what somebody typed is not left by a slip.
    stage.enter("button", "Keep").await?;
    page.stands("button", "Done").await?;
    outside(stage).await?;
    page.the("dialog", "Kept").await?;
    stage.enter("button", "Done").await?;
    stage.said("done").await?;
    page.stands("button", "Keep").await
}

/// Presses the mouse beside the dialog.
async fn outside(stage: &Stage<'_>) -> Result<()> {
    let press = "document.querySelector('dialog').dispatchEvent(new MouseEvent('mousedown', { bubbles: true })); return true";
    stage.page.holds("a press outside", press, &[]).await
}

pub(super) async fn toast(stage: &Stage<'_>) -> Result<()> {
    let page = stage.page;
    stage.open("overlays").await?;
    for button in ["Info", "Error", "Action"] {
        page.press("button", button).await?;
    }
    page.says(r#"Read <img src="/pwned.png" onerror="window.pwned=1"><pwned-mark>"#)
        .await?;
    page.says(HEBREW).await?;
    let alerts = page.all(None, "alert", Name::Any).await?;
    ensure!(alerts.len() == 1, "{} alerts", alerts.len());
    let long = alerts[0].text().await?;
    ensure!(
        long.ends_with('…') && long.chars().count() < 300,
        "it says {long}"
    );
    stage
        .is(
            "they stand in a part that is read out",
            "document.querySelectorAll('[aria-live=polite] .toast').length === 3",
        )
        .await?;
    stage.look().await?;
    page.press("button", "Bring it back").await?;
    stage.said("brought back").await?;
    page.gone("button", "Bring it back").await?;
    for left in (0..2).rev() {
        page.press_first("button", Name::Is("Close this message"))
            .await?;
        let count = format!("document.querySelectorAll('.toast').length === {left}");
        stage.is("one message less", &count).await?;
    }
    // Whoever stands on a message has time to read it, though it came first.
    page.press("button", "Brief").await?;
    let hold = "const [toast] = [...document.querySelectorAll('.toast')].filter((one) => one.textContent.includes('Held')); \
        toast?.querySelector('button').focus(); return Boolean(toast)";
    page.holds("the focus on a message", hold, &[]).await?;
    page.wait("the later message leaves by itself", async || {
        let shown = page.first("main", Name::Any).await.map(drop);
        shown?;
        let gone = "return !document.body.innerText.includes('Gone soon.')";
        let gone = page.client.execute(gone, vec![]).await?;
        ensure!(gone == serde_json::json!(true), "it is still there");
        Ok(())
    })
    .await?;
    page.says("Held for long.").await?;
    page.press("heading", "One component").await?;
    page.client
        .execute("document.activeElement.blur()", vec![])
        .await?;
    stage
        .is(
            "the message that was held leaves, too",
            "!document.body.innerText.includes('Held for long.')",
        )
        .await
}
