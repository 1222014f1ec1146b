//! What a person does with the keyboard.

use anyhow::{Result, ensure};
use fantoccini::actions::{InputSource, KeyAction, KeyActions};
use fantoccini::key::Key;
use serde_json::json;

use super::find::Page;

impl Page<'_> {
    /// Puts a text in place of what a field says.
    pub(super) async fn fill(&self, role: &str, name: &str, text: &str) -> Result<()> {
        // The emulated phone now and then gives a field the focus and leaves the cursor where it was; then a person taps again.
        self.wait(&format!("all of “{name}” marked"), async || {
            let script = "const [node] = arguments; const root = node.getRootNode(); \
                return root.activeElement === node && (node.value === '' || getSelection().toString() === node.value)";
            let field = self.now(None, role, name).await?;
            self.scroll_to(&field).await?;
            field.click().await?;
            self.chord(&[Key::Control], "a").await?;
            let marked = self.client.execute(script, vec![json!(field)]).await?;
            ensure!(marked == json!(true), "it is not");
            Ok(())
        })
        .await?;
        self.key(Key::Delete).await?;
        self.type_text(text).await?;
        self.wait_value(role, name, text).await
    }

    /// Presses one key.
    pub(super) async fn key(&self, key: Key) -> Result<()> {
        self.chord(&[], &char::from(key).to_string()).await
    }

    /// Presses keys one after the other.
    pub(super) async fn type_text(&self, text: &str) -> Result<()> {
        self.chord(&[], text).await
    }

    /// Presses keys one after the other while others are held.
    pub(super) async fn chord(&self, held: &[Key], keys: &str) -> Result<()> {
        let mut actions = KeyActions::new("keyboard".to_owned());
        for key in held {
            let value = char::from(*key);
            actions = actions.then(KeyAction::Down { value });
        }
        for value in keys.chars() {
            actions = actions
                .then(KeyAction::Down { value })
                .then(KeyAction::Up { value });
        }
        for key in held.iter().rev() {
            let value = char::from(*key);
            actions = actions.then(KeyAction::Up { value });
        }
        Ok(self.client.perform_actions(actions).await?)
    }
}
