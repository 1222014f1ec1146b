//! What has the focus: it must be in sight, marked, and have a name.

use anyhow::{Context, Result, ensure};

use super::find::Page;

/// What has the focus.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Stop {
    pub(super) role: String,
    pub(super) name: String,
    /// The name of the active row, where a tree has the focus.
    pub(super) row: String,
}

impl Stop {
    pub(super) fn is(&self, role: &str, name: &str) -> bool {
        self.role.eq_ignore_ascii_case(role) && self.name == name
    }
}

impl Page<'_> {
    /// What has the focus; an error while that is not in sight or has no name.
    pub(super) async fn here(&self) -> Result<Stop> {
        let answer = self
            .client
            .execute(include_str!("focus.js"), vec![])
            .await?;
        let problem = answer["problem"].as_str().unwrap_or("no answer");
        let node = self.element(&answer["node"]).context("no focus")?;
        let (role, name) = self.computed(&node).await?;
        ensure!(
            problem.is_empty(),
            "the focus on the {role} “{name}”: {problem}"
        );
        let spot = self.element(&answer["spot"]).context("no focus")?;
        let row = match spot.element_id() == node.element_id() {
            true => String::new(),
            false => self.computed(&spot).await?.1,
        };
        let is_read = ["main", "heading"].contains(&role.as_str());
        ensure!(
            is_read || !name.trim().is_empty(),
            "the {role} with the focus has no name: {}",
            node.html(false).await?
        );
        Ok(Stop { role, name, row })
    }

    /// Waits until this has the focus.
    pub(super) async fn stands(&self, role: &str, name: &str) -> Result<()> {
        self.wait(
            &format!("the focus on the {role} “{name}”"),
            async || {
                let here = self.here().await?;
                ensure!(here.is(role, name), "it is on {here:?}");
                Ok(())
            },
        )
        .await
    }

    pub(super) async fn stands_on_row(&self, name: &str) -> Result<()> {
        self.wait(&format!("the tree stands on “{name}”"), async || {
            let here = self.here().await?;
            ensure!(here.row == name, "it is on {here:?}");
            Ok(())
        })
        .await
    }
}
