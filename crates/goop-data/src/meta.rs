//! `_meta`: a few named texts of the program (storage.md 4).

use crate::DataError;
use crate::store::{Database, Job};

/// The manifest of the applied template, as JSON.
pub const TEMPLATE_MANIFEST: &str = "template_manifest";
/// Names of the template's tables, with commas between them.
pub const TEMPLATE_TABLES: &str = "template_tables";
/// `1` where visitors must have an e-mail address.
pub const TEMPLATE_REQUIRE_EMAIL: &str = "template_require_email";
/// Id of the template's group.
pub const TEMPLATE_GROUP_ID: &str = "template_group_id";
/// Name of the template that the group belongs to.
pub const TEMPLATE_GROUP_NAME: &str = "template_group_name";

/// Name of the backup of the last import that came to its end.
pub const IMPORTED: &str = "imported";

/// The named texts.
#[derive(Debug, Clone)]
pub struct Meta(Database);

impl Meta {
    /// The named texts of a database.
    #[must_use]
    pub fn of(database: &Database) -> Self {
        Self(database.clone())
    }

    /// A text; empty where there is none.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn get(&self, key: &str) -> Result<String, DataError> {
        self.0
            .look(async |connection| {
                let sql = "SELECT value FROM _meta WHERE key = ?";
                let found: Option<Option<String>> = sqlx::query_scalar(sql)
                    .bind(key)
                    .fetch_optional(connection)
                    .await?;
                Ok(found.flatten().unwrap_or_default())
            })
            .await
    }

    /// Sets several texts at once: all or none.
    ///
    /// # Errors
    /// The database cannot be written.
    pub async fn set(&self, texts: &[(&str, &str)]) -> Result<(), DataError> {
        let texts: Vec<(String, String)> = texts
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect();
        self.0
            .write(Job::Shared, move |connection| {
                Box::pin(async move {
                    for (key, value) in texts {
                        let sql = "INSERT OR REPLACE INTO _meta (key, value) VALUES (?, ?)";
                        sqlx::query(sql)
                            .bind(key)
                            .bind(value)
                            .execute(&mut *connection)
                            .await?;
                    }
                    Ok(())
                })
            })
            .await
    }
}
