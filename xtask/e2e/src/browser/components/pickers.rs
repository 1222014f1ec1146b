//! Fields that are filled by choosing: a path, a day, a time, an emoji, a camera.

use anyhow::{Result, ensure};
use fantoccini::key::Key;

use super::Stage;
use crate::browser::find::Name;

const HEBREW: &str = "שלום עולם";

pub(super) async fn path(stage: &Stage<'_>) -> Result<()> {
    const LIST: &str = "What is in the folder";
    let page = stage.page;
    stage.open("pickers").await?;
    stage.enter("button", "Browse… Store").await?;
    page.the("dialog", "Choose a folder").await?;
    page.the("listbox", LIST).await?;
    page.stands_on_row("empty").await?;
    // Files are no folders.
    page.gone("option", "notes.txt").await?;
    stage.look().await?;
    for (key, row) in [
        (Key::Down, HEBREW),
        (Key::End, "secret"),
        (Key::Down, "secret"),
        (Key::Home, "empty"),
        (Key::Up, "empty"),
    ] {
        page.key(key).await?;
        page.stands_on_row(row).await?;
    }
    page.type_text("pr").await?;
    page.stands_on_row("projects").await?;
    page.key(Key::Enter).await?;
    page.says("/home/projects").await?;
    page.the("option", "goop").await?;
    page.stands_on_row("goop").await?;
    page.key(Key::Enter).await?;
    page.says("This folder is empty.").await?;
    page.stands("button", "Up to the folder above").await?;
    page.key(Key::Enter).await?;
    page.the("option", "goop").await?;
    stage.enter("button", "Use this folder").await?;
    page.gone("dialog", "Choose a folder").await?;
    page.wait_value("textbox", "Store", "/home/projects")
        .await?;
    page.stands("button", "Browse… Store").await?;
    unreadable(stage).await?;
    files(stage).await
}

/// A folder that cannot be read says so, and leads back.
async fn unreadable(stage: &Stage<'_>) -> Result<()> {
    let page = stage.page;
    page.fill("textbox", "Store", "/nowhere").await?;
    page.press("button", "Browse… Store").await?;
    page.says("This folder cannot be read.").await?;
    page.wait_state("button", "Use this folder", "aria-disabled", "true")
        .await?;
    stage.look().await?;
    page.press("button", "To the home folder").await?;
    page.the("option", "photos").await?;
    page.key(Key::Escape).await?;
    page.gone("dialog", "Choose a folder").await?;
    page.wait_value("textbox", "Store", "/nowhere").await?;
    page.press("button", "Clear: Store").await?;
    page.wait_value("textbox", "Store", "").await
}

async fn files(stage: &Stage<'_>) -> Result<()> {
    let page = stage.page;
    page.press("button", "Choose a picture").await?;
    page.the("dialog", "Choose a file").await?;
    let list = page.first("listbox", Name::Any).await?;
    let shown = page.all(Some(&list), "option", Name::Any).await?.len();
    ensure!(
        shown == 2,
        "{shown} files are shown, though two have the ending"
    );
    page.press_first("option", Name::Has("b.PNG")).await?;
    page.press("button", "Use this file").await?;
    stage.said("file /home/photos/b.PNG").await?;
    page.press("button", "Choose a picture").await?;
    page.the("dialog", "Choose a file").await?;
    page.press("button", "Cancel").await?;
    stage.said("file null").await
}

pub(super) async fn moment(stage: &Stage<'_>) -> Result<()> {
    let page = stage.page;
    stage.open("pickers").await?;
    let value =
        |id: &str, value: &str| format!("document.getElementById('{id}').value === '{value}'");
    stage
        .is("the day is shown", &value("day", "2026-03-09"))
        .await?;
    let step = "document.getElementById('day').focus(); return true";
    page.holds("the focus on the day", step, &[]).await?;
    // In the browser's own field the first part has the focus; the arrow counts it up.
    page.key(Key::Up).await?;
    stage.said("day 2026-04-09").await?;
    page.press("button", "Clear: Day").await?;
    stage.said("day ").await?;
    stage.is("nothing is left", &value("day", "")).await?;
    stage
        .is(
            "the focus is on the field",
            "document.activeElement.id === 'day'",
        )
        .await?;
    // Half a day is none, and that is said.
    page.type_text("12").await?;
    page.press("heading", "One component").await?;
    page.says("This day does not exist.").await?;
    stage
        .is(
            "it is marked",
            "document.getElementById('day').getAttribute('aria-invalid') === 'true'",
        )
        .await?;
    page.press("button", "Today: Day").await?;
    stage
        .is(
            "today stands there",
            "document.getElementById('said').textContent === `day ${new Date().toLocaleDateString('sv')}`",
        )
        .await?;
    stage
        .is(
            "and nothing is wrong any more",
            "!document.body.innerText.includes('This day does not exist.')",
        )
        .await?;
    page.press("button", "Now: Time").await?;
    stage
        .is(
            "a time with its seconds",
            "/^time \\d\\d:\\d\\d:00$/.test(document.getElementById('said').textContent)",
        )
        .await?;
    stage.look().await
}

pub(super) async fn emoji(stage: &Stage<'_>) -> Result<()> {
    const BUTTON: &str = "Insert an emoji";
    let page = stage.page;
    stage.open("pickers").await?;
    page.fill("textbox", "Message", "abcd").await?;
    let cursor = "document.getElementById('message').setSelectionRange(1, 3); return true";
    page.holds("the middle is marked", cursor, &[]).await?;
    stage.enter("button", BUTTON).await?;
    page.the("dialog", "Emoji").await?;
    page.wait_state("button", BUTTON, "aria-expanded", "true")
        .await?;
    page.stands("searchbox", "Search by name").await?;
    stage.look().await?;
    page.key(Key::Down).await?;
    page.stands("button", "grinning face happy").await?;
    for (key, name) in [
        (Key::Right, "laughing eyes happy"),
        (Key::End, "heart eyes love"),
        (Key::Right, "kiss"),
    ] {
        page.key(key).await?;
        page.stands("button", name).await?;
    }
    page.chord(&[Key::Control], &char::from(Key::Home).to_string())
        .await?;
    page.stands("button", "grinning face happy").await?;
    page.key(Key::Up).await?;
    page.stands("searchbox", "Search by name").await?;
    page.type_text("snake").await?;
    page.says("One found").await?;
    page.key(Key::Enter).await?;
    // It stands where the mark was, and the cursor behind it.
    stage.said("message a🐍d").await?;
    page.gone("dialog", "Emoji").await?;
    page.stands("textbox", "Message").await?;
    page.type_text("!").await?;
    stage.said("message a🐍!d").await?;
    stage.enter("button", BUTTON).await?;
    page.type_text("no such thing").await?;
    page.says("No emoji has this name.").await?;
    page.key(Key::Escape).await?;
    page.gone("dialog", "Emoji").await?;
    page.stands("button", BUTTON).await?;
    page.key(Key::Enter).await?;
    page.press("button", "Food").await?;
    page.press("button", "pizza").await?;
    stage.said("message a🐍!🍕d").await
}

pub(super) async fn device(stage: &Stage<'_>) -> Result<()> {
    let page = stage.page;
    stage.open("pickers").await?;
    page.the("combobox", "Camera").await?;
    // What a closed list offers is not on the page yet.
    let names = async || {
        let offered =
            "return [...document.getElementById('device').options].map(({ text }) => text)";
        let names = page.client.execute(offered, vec![]).await?;
        anyhow::Ok(serde_json::from_value::<Vec<String>>(names)?)
    };
    let shown = names().await?;
    ensure!(
        shown == ["as the system says", "device 1", "device 2"],
        "{shown:?}"
    );
    // Nobody is asked before the button was pressed; a refusal says what to do.
    stage.said("").await?;
    page.press("button", "Show the names: Camera").await?;
    page.says("The browser was not allowed to say the names.")
        .await?;
    page.press("button", "Allow cameras").await?;
    page.press("button", "Show the names: Camera").await?;
    stage.said("asked for video, 0 left open").await?;
    page.gone("button", "Show the names: Camera").await?;
    let shown = names().await?;
    ensure!(
        shown.len() == 3 && shown[1] == "Camera 1" && shown[2].contains("<pwned-mark>"),
        "{shown:?}"
    );
    stage.look().await
}
