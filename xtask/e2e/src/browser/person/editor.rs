//! The page Editor: text, preview, files, search, and two versions of one file.

use std::fs;
use std::path::Path;

use anyhow::{Result, ensure};
use fantoccini::Locator;
use fantoccini::key::Key;

use super::Person;

impl Person<'_> {
    pub(super) async fn editor(&self) -> Result<()> {
        self.go("Editor").await?;
        self.write().await?;
        self.files().await?;
        self.uploads().await?;
        self.search().await?;
        self.conflict().await
    }

    /// A small window shows one part of the editor at a time.
    async fn part(&self, name: &str) -> Result<()> {
        if !self.phone {
            return Ok(());
        }
        let choice = self.page.the("group", "Show").await?;
        self.page.press_in(Some(&choice), "button", name).await
    }

    async fn open(&self, file: &str) -> Result<()> {
        self.part("Site").await?;
        self.page.press("treeitem", file).await?;
        self.page
            .wait_state("tab", file, "aria-selected", "true")
            .await
    }

    /// Writes at the end of the text.
    async fn append(&self, file: &str, text: &str) -> Result<()> {
        self.page
            .press("textbox", &format!("Text of {file}"))
            .await?;
        self.page
            .chord(&[Key::Control], &char::from(Key::End).to_string())
            .await?;
        self.page.type_text(text).await?;
        self.page
            .says_in("textbox", &format!("Text of {file}"), text)
            .await
    }

    async fn write(&self) -> Result<()> {
        let page = self.page;
        self.open("index.html").await?;
        self.fits().await?;
        self.append("index.html", " And a word from the editor.")
            .await?;
        page.says("Not saved").await?;
        page.press("button", "Save").await?;
        page.says("Saved").await?;
        page.wait_file(&self.site.join("index.html"), "And a word from the editor.")
            .await?;
        self.part("Preview").await?;
        page.frame_says("Preview of index.html", "And a word from the editor.")
            .await?;
        self.fits().await
    }

    async fn files(&self) -> Result<()> {
        let page = self.page;
        self.part("Site").await?;
        page.press("treeitem", "My site").await?;
        page.press("treeitem", "My site").await?;
        page.press("button", "New file").await?;
        page.the("dialog", "New file in the site").await?;
        page.fill("textbox", "Name", "index.html").await?;
        page.press("button", "Create").await?;
        page.says("There is a index.html already").await?;
        page.fill("textbox", "Name", "plants.html").await?;
        page.press("button", "Create").await?;
        page.gone("dialog", "New file in the site").await?;
        page.wait_file(&self.site.join("plants.html"), "").await?;

        self.act("plants.html", "Rename…").await?;
        page.the("dialog", "Rename plants.html").await?;
        page.fill("textbox", "Name", "garden.html").await?;
        page.press("button", "Rename").await?;
        page.the("treeitem", "garden.html").await?;
        page.gone("treeitem", "plants.html").await?;
        let (old, new) = (self.site.join("plants.html"), self.site.join("garden.html"));
        ensure!(!old.exists() && new.exists(), "the disk has another name");

        fs::write(&new, "roses")?;
        self.act("garden.html", "Delete").await?;
        page.says("garden.html is deleted.").await?;
        page.gone("treeitem", "garden.html").await?;
        ensure!(!new.exists(), "it is still on the disk");
        page.press("button", "Undo").await?;
        page.the("treeitem", "garden.html").await?;
        page.wait_file(&new, "roses").await
    }

    /// Files from this machine: a new one comes at once, one that replaces another asks, and the old one can come back.
    async fn uploads(&self) -> Result<()> {
        let page = self.page;
        let (from, to) = (
            self.site.with_file_name("seeds.txt"),
            self.site.join("seeds.txt"),
        );
        fs::write(&from, "sunflowers")?;
        self.choose(&from).await?;
        page.the("treeitem", "seeds.txt").await?;
        page.wait_file(&to, "sunflowers").await?;
        fs::write(&from, "tulips")?;
        self.choose(&from).await?;
        page.the("dialog", "This file is there already").await?;
        page.press("button", "Replace").await?;
        page.says("One file was replaced.").await?;
        page.wait_file(&to, "tulips").await?;
        page.press("button", "Undo").await?;
        page.wait_file(&to, "sunflowers").await
    }

    /// Chooses a file as with the system's dialog, which a driver cannot reach.
    async fn choose(&self, file: &Path) -> Result<()> {
        self.part("Site").await?;
        self.page.press("button", "Upload").await?;
        let input = self.page.client.find(Locator::Id("ed-files")).await?;
        Ok(input.send_keys(&file.to_string_lossy()).await?)
    }

    /// Chooses from the menu of a file.
    async fn act(&self, file: &str, what: &str) -> Result<()> {
        let row = self.page.the("treeitem", file).await?;
        self.page
            .press_in(Some(&row), "button", &format!("Actions for {file}"))
            .await?;
        self.page.press("menuitem", what).await
    }

    async fn search(&self) -> Result<()> {
        let page = self.page;
        self.part("Site").await?;
        page.press("button", "Search").await?;
        page.fill("searchbox", "Search in the files", "THE NEEDLE")
            .await?;
        page.says("1 place in 1 file").await?;
        page.press("button", "line 321 line with the needle")
            .await?;
        page.wait_state("tab", "long.txt", "aria-selected", "true")
            .await?;
        // Far down a long file: it is there only if the text was scrolled to it.
        page.says_in("textbox", "Text of long.txt", "line with the needle")
            .await?;
        self.part("Site").await?;
        page.press("button", "Files").await
    }

    /// Somebody else writes a file that is open and changed here: both versions are shown, and both can stay.
    async fn conflict(&self) -> Result<()> {
        let page = self.page;
        let file = self.site.join("index.html");
        self.open("index.html").await?;
        self.append("index.html", " Mine.").await?;
        fs::write(&file, "<h1>Theirs</h1>")?;
        page.press("button", "Save").await?;
        page.the("heading", "Two versions of index.html").await?;
        let both = "Both versions, line by line";
        page.says_in("region", both, "Mine.").await?;
        page.says_in("region", both, "<h1>Theirs</h1>").await?;
        self.fits().await?;
        ensure!(
            fs::read_to_string(&file)? == "<h1>Theirs</h1>",
            "the other version was overwritten"
        );
        page.press("button", "Keep both").await?;
        page.gone("heading", "Two versions of index.html").await?;
        page.wait("both versions on the disk", async || {
            let mut texts = Vec::new();
            for entry in fs::read_dir(&self.site)? {
                let path = entry?.path();
                if path.is_file() {
                    texts.push(fs::read_to_string(path)?);
                }
            }
            let has = |wanted: &str| texts.iter().any(|text| text.contains(wanted));
            ensure!(has("Theirs") && has("Mine."), "one of them is lost");
            Ok(())
        })
        .await
    }
}
