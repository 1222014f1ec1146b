//! What a person does with the keyboard, and where the mouse has to be held.

use anyhow::{Context, Result, ensure};
use fantoccini::actions::{
    InputSource, KeyAction, KeyActions, MOUSE_BUTTON_LEFT, MouseActions, PointerAction,
};
use fantoccini::elements::Element;
use fantoccini::key::Key;
use serde_json::json;

use super::find::Page;

/// How long the hand takes for a drag.
const DRAG: std::time::Duration = std::time::Duration::from_millis(250);

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

    /// Drags the middle of something by pixels, once it stands still and nothing is over it: what a person would wait for.
    pub(super) async fn drag(&self, found: &Element, right: f64, down: f64) -> Result<()> {
        // The middle of what is in sight, from the window's corner; in two pictures of the screen the same.
        let middle = "const [node, done] = arguments; \
            const middle = () => { const { left, top, right, bottom } = node.getBoundingClientRect(); \
                return [(Math.max(0, left) + Math.min(innerWidth, right)) / 2, (Math.max(0, top) + Math.min(innerHeight, bottom)) / 2]; }; \
            const next = (then) => requestAnimationFrame(() => requestAnimationFrame(then)); \
            const first = middle(); \
            next(() => { const [x, y] = middle(); const at = node.getRootNode().elementFromPoint(x, y); \
                if (x !== first[0] || y !== first[1]) done(`it moves: ${first} ${[x, y]}`); \
                else if (!node.contains(at)) done(`there is ${at?.outerHTML.slice(0, 200)}`); \
                else done([x, y]); });";
        let (x, y): (f64, f64) = self
            .wait("it can be taken", async || {
                let arguments = vec![json!(found)];
                let said = self.client.execute_async(middle, arguments).await?;
                serde_json::from_value(said.clone()).with_context(|| said.to_string())
            })
            .await?;
        let button = MOUSE_BUTTON_LEFT;
        let hand = MouseActions::new("mouse".to_owned())
            .then(PointerAction::MoveTo {
                duration: None,
                x,
                y,
            })
            .then(PointerAction::Down { button })
            .then(PointerAction::MoveBy {
                duration: Some(DRAG),
                x: right,
                y: down,
            })
            .then(PointerAction::Up { button });
        Ok(self.client.perform_actions(hand).await?)
    }
}
