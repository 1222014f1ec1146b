//! The page Me: a name that a neighbour hears, a value that is refused, and a setting that waits for a restart.

use anyhow::{Result, ensure};

use super::Person;

const SILENCE: &str = "Seconds of silence until a peer counts as away";
const SIGNS: &str = "Seconds between two signs of life";

impl Person<'_> {
    pub(super) async fn me(&self) -> Result<()> {
        self.go("Me").await?;
        self.page.the("heading", "Me").await?;
        self.fits().await?;
        self.name().await?;
        self.wrong_value().await?;
        self.restart().await
    }

    async fn neighbour_knows(&self, name: &str) -> Result<()> {
        self.page
            .wait(&format!("the neighbour lists “{name}”"), async || {
                let listed = self.neighbour.name_of(&self.own)?;
                ensure!(listed == name, "it lists “{listed}”");
                Ok(())
            })
            .await
    }

    /// A new name, and the old one again.
    async fn name(&self) -> Result<()> {
        let page = self.page;
        page.wait_value("textbox", "Name", "Ada").await?;
        page.fill("textbox", "Name", "Ada Lovelace").await?;
        page.says("One change is not saved").await?;
        page.press("button", "Save").await?;
        page.says("Everything is saved").await?;
        self.neighbour_knows("Ada Lovelace").await?;
        page.press("button", "Undo the last save").await?;
        page.wait_value("textbox", "Name", "Ada").await?;
        self.neighbour_knows("Ada").await
    }

    /// The peer refuses a value: that is said beside the field, and all that was typed stays until it is undone.
    async fn wrong_value(&self) -> Result<()> {
        let page = self.page;
        let signs = page.the("textbox", SIGNS).await?.prop("value").await?;
        page.fill("textbox", "Name", "Not yet").await?;
        page.fill("textbox", "Port", "70000").await?;
        page.press("button", "Save").await?;
        page.says_beside("textbox", "Port", "The most is 65535.")
            .await?;
        page.wait_state("textbox", "Port", "aria-invalid", "true")
            .await?;
        page.says("One field needs a look").await?;
        page.fill("textbox", "Port", "0").await?;
        page.says("One change is not saved").await?;
        // What only the peer can know: it compares two fields.
        page.fill("textbox", SIGNS, "100000").await?;
        page.press("button", "Save").await?;
        page.says_beside("textbox", SIGNS, SILENCE).await?;
        page.wait_state("textbox", SIGNS, "aria-invalid", "true")
            .await?;
        page.wait_value("textbox", SIGNS, "100000").await?;
        page.wait_value("textbox", "Name", "Not yet").await?;
        self.neighbour_knows("Ada").await?;
        page.press("button", "Undo").await?;
        page.wait_value("textbox", "Name", "Ada").await?;
        page.wait_value("textbox", SIGNS, &signs.unwrap_or_default())
            .await?;
        let wrong = page.the("textbox", SIGNS).await?;
        ensure!(
            wrong.attr("aria-invalid").await?.is_none(),
            "undo left the field marked as wrong"
        );
        Ok(())
    }

    async fn restart(&self) -> Result<()> {
        let page = self.page;
        page.says_beside("textbox", SILENCE, "takes effect after a restart")
            .await?;
        page.fill("textbox", SILENCE, "77").await?;
        page.press("button", "Save").await?;
        page.says_beside("textbox", SILENCE, "saved, waits for a restart")
            .await?;
        page.says("One setting waits for a restart").await?;
        page.press("button", "Restart now").await?;
        page.says("Your peer runs with the new settings.").await?;
        page.gone("button", "Restart now").await?;
        // The button that was pressed is gone; the focus is at the beginning of the page and not nowhere.
        page.stands("main", "").await?;
        page.wait_value("textbox", SILENCE, "77").await?;
        self.fits().await?;
        // Live: what a neighbour does now shows without anything being pressed.
        self.go("Peers").await?;
        page.says("2 of 2 here").await?;
        self.neighbour.rename("Renamed peer")?;
        page.the("link", "Renamed peer").await?;
        self.neighbour.rename("Sample peer")?;
        page.the("link", "Sample peer").await.map(drop)
    }
}
