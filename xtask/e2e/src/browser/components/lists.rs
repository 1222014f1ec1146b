//! A list of a hundred thousand rows, a table that sorts, and a tree of files.

use anyhow::{Context, Result, ensure};
use fantoccini::key::Key;
use serde_json::json;

use super::Stage;
use crate::browser::find::Name;

const MARKUP: &str = r#"<img src="/pwned.png" onerror="window.pwned=1"><pwned-mark>"#;
/// A window shows some ten rows; with those in reserve there are never more than this.
const MOST_DRAWN: usize = 40;

pub(super) async fn virtual_list(stage: &Stage<'_>) -> Result<()> {
    let page = stage.page;
    stage.open("list").await?;
    let list = page.the("list", "Rows").await?;
    let drawn = async || anyhow::Ok(page.all(Some(&list), "listitem", Name::Any).await?.len());
    page.the("button", &format!("Choose {MARKUP}")).await?;
    page.the("button", "Choose שלום עולם").await?;
    let first = drawn().await?;
    ensure!((5..MOST_DRAWN).contains(&first), "{first} rows are drawn");
    stage
        .is(
            "a screen reader hears how many there are, and which one this is",
            "document.querySelector('.virtual-row').ariaSetSize === '100000' && document.querySelector('.virtual-row').ariaPosInSet === '1'",
        )
        .await?;
    stage.look().await?;
    page.press("button", "Choose Row 3").await?;
    stage.said("chose 3").await?;
    for (key, name) in [
        (Key::Down, "Choose Row 4"),
        (Key::Down, "Choose Row 5"),
        (Key::Up, "Choose Row 4"),
    ] {
        page.key(key).await?;
        page.stands("button", name).await?;
    }
    // Far away the row with the focus is still there, and the end of the list comes.
    let end = "scrollTo(0, document.documentElement.scrollHeight); return true";
    page.holds("the end of the page", end, &[]).await?;
    page.the("button", "Choose Row 99999").await?;
    stage
        .is(
            "the focus stays where it was",
            "document.activeElement.textContent === 'Choose Row 4'",
        )
        .await?;
    let last = drawn().await?;
    ensure!(last < MOST_DRAWN, "{last} rows are drawn at the end");
    page.client
        .execute("document.activeElement.blur(); scrollBy(0, -500)", vec![])
        .await?;
    page.gone("button", "Choose Row 4").await
}

pub(super) async fn table(stage: &Stage<'_>) -> Result<()> {
    const HEBREW: &str = "שלום עולם";
    let page = stage.page;
    stage.open("table").await?;
    let table = page.the("table", "Things").await?;
    let rows = async || {
        let mut names = Vec::new();
        for row in page.all(Some(&table), "rowheader", Name::Any).await? {
            names.push(row.text().await?);
        }
        anyhow::Ok(names)
    };
    let given = ["Peer 10", MARKUP, "peer 9", HEBREW];
    ensure!(rows().await? == given, "as given: {:?}", rows().await?);
    page.wait_state("columnheader", "Size", "aria-sort", "none")
        .await?;
    // Missing ones are last, whichever way it is sorted.
    for (order, wanted) in [
        ("ascending", ["Peer 10", HEBREW, MARKUP, "peer 9"]),
        ("descending", [MARKUP, HEBREW, "Peer 10", "peer 9"]),
    ] {
        page.press("button", "Size").await?;
        page.wait_state("columnheader", "Size", "aria-sort", order)
            .await?;
        ensure!(rows().await? == wanted, "{order}: {:?}", rows().await?);
    }
    stage.look().await?;
    // Numbers in names count as numbers, and the case of letters does not.
    stage.enter("button", "Name").await?;
    page.wait_state("columnheader", "Size", "aria-sort", "none")
        .await?;
    let sorted = rows().await?;
    let place = |name: &str| sorted.iter().position(|one| one == name).context("a row");
    ensure!(
        place("peer 9")? < place("Peer 10")?,
        "by name it is {sorted:?}"
    );
    page.stands("button", "Name").await?;
    page.key(Key::Space).await?;
    page.wait_state("columnheader", "Name", "aria-sort", "descending")
        .await
}

pub(super) async fn tree(stage: &Stage<'_>) -> Result<()> {
    let page = stage.page;
    let marked = format!("{}.html", MARKUP.replace('/', "-"));
    stage.open("tree").await?;
    page.the("tree", "Files of my site").await?;
    page.wait_state("treeitem", "index.html", "aria-current", "page")
        .await?;
    let focus = "document.querySelector('[role=tree]').focus(); return true";
    page.holds("the focus on the tree", focus, &[]).await?;
    page.stands_on_row("My site").await?;
    stage.look().await?;
    page.key(Key::Down).await?;
    page.stands_on_row("images").await?;
    page.wait_state("treeitem", "images", "aria-expanded", "false")
        .await?;
    for (key, row) in [
        (Key::Right, "images"),
        (Key::Right, "tide.svg"),
        (Key::Left, "images"),
        (Key::Left, "images"),
        (Key::Left, "My site"),
        (Key::End, "שלום עולם.txt"),
        (Key::Home, "My site"),
    ] {
        page.key(key).await?;
        page.stands_on_row(row).await?;
    }
    page.type_text("many-12345").await?;
    page.stands_on_row("many-12345.txt").await?;
    let drawn = page.all(None, "treeitem", Name::Any).await?.len();
    ensure!(drawn < MOST_DRAWN, "{drawn} of 20,000 rows are drawn");
    page.key(Key::Enter).await?;
    stage.said("open many-12345.txt true").await?;
    for (key, what) in [(Key::F2, "rename"), (Key::Delete, "delete")] {
        page.key(key).await?;
        stage.said(&format!("{what} many-12345.txt")).await?;
    }
    page.chord(&[Key::Shift], &char::from(Key::F10).to_string())
        .await?;
    stage.said("menu many-12345.txt").await?;
    page.key(Key::Home).await?;
    page.stands_on_row("My site").await?;
    page.press("treeitem", &marked).await?;
    stage.said(&format!("open {marked} false")).await?;
    let names = json!(page.texts("treeitem").await?);
    ensure!(
        names.to_string().contains("pwned-mark"),
        "a name is shown as it is: {names}"
    );
    page.press("button", "Actions for index.html").await?;
    stage.said("menu index.html").await
}
