//! Who asks, and what they reach.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use serde_json::{Value as Json, json};

use crate::DataError;
use crate::access::{Decision, NoGroups, Operation, Roles, Standing, Target, decide};
use crate::guard::Scope;
use crate::ident;
use crate::query::{Source, SourceColumn};
use crate::store::{Catalog, Database, Limits, Table};

/// Who asks. Their id becomes the `_owner` of rows they add.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// How they came.
    pub kind: CallerKind,
    /// Peer id, or the id of a guest of the web.
    pub id: String,
    /// The address they announced, maybe empty.
    pub email: String,
}

/// How a caller came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CallerKind {
    /// The person whose peer this is.
    Owner,
    /// A data function of the site, for the named caller.
    Script,
    /// Another peer, or a guest of the web.
    Visitor,
}

impl Caller {
    /// The person whose peer this is.
    #[must_use]
    pub fn owner(id: impl Into<String>, email: impl Into<String>) -> Self {
        Self {
            kind: CallerKind::Owner,
            id: id.into(),
            email: email.into(),
        }
    }

    /// A data function that runs for `id`. Its rows carry no e-mail address (storage.md 9).
    #[must_use]
    pub fn script(id: impl Into<String>) -> Self {
        Self {
            kind: CallerKind::Script,
            id: id.into(),
            email: String::new(),
        }
    }

    /// Everybody else.
    #[must_use]
    pub fn visitor(id: impl Into<String>, email: impl Into<String>) -> Self {
        Self {
            kind: CallerKind::Visitor,
            id: id.into(),
            email: email.into(),
        }
    }

    /// What one question of theirs may cost.
    #[must_use]
    pub fn limits(&self) -> Limits {
        match self.kind {
            CallerKind::Owner => Limits::OWNER,
            CallerKind::Script | CallerKind::Visitor => Limits::VISITOR,
        }
    }
}

/// The site's data functions, as the data protocol calls them. The script engine implements it.
pub trait Scripts: Send + Sync + 'static {
    /// Calls a function.
    fn call(
        &self,
        caller: &Caller,
        function: &str,
        params: Json,
    ) -> BoxFuture<'_, Result<Json, DataError>>;
    /// What there is: `[{"name","description"}]`, or `null`.
    fn list(&self) -> Json;
}

/// There are no scripts.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoScripts;

impl Scripts for NoScripts {
    fn call(&self, _: &Caller, _: &str, _: Json) -> BoxFuture<'_, Result<Json, DataError>> {
        Box::pin(async { Err(DataError::invalid("lua scripting not enabled")) })
    }

    fn list(&self) -> Json {
        json!([])
    }
}

/// The data of a site: what every front end calls.
#[derive(Clone)]
pub struct Data {
    pub(crate) database: Database,
    roles: Arc<dyn Roles>,
    pub(crate) scripts: Arc<dyn Scripts>,
    pub(crate) graphql: Arc<crate::graphql::Schemas>,
}

impl std::fmt::Debug for Data {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Data")
            .field("database", &self.database)
            .finish_non_exhaustive()
    }
}

/// What a caller reaches of a table.
#[derive(Debug)]
pub(crate) struct Reach {
    catalog: Arc<Catalog>,
    /// The table's exact name.
    pub(crate) name: String,
    groups_view: bool,
    /// Only rows of this owner.
    pub(crate) owned_by: Option<String>,
    /// What to say when a named row is not among them.
    pub(crate) otherwise: String,
}

impl Reach {
    /// The table, unless it is one of the system's.
    pub(crate) fn table(&self) -> Option<&Table> {
        self.catalog.table(&self.name)
    }

    pub(crate) fn source(&self) -> Source<'_> {
        let columns: &[SourceColumn] = if self.groups_view {
            &self.catalog.groups_view
        } else if let Some(table) = self.table() {
            &table.source
        } else {
            self.catalog
                .system(&self.name)
                .map_or(&[], |(_, columns)| columns)
        };
        Source {
            name: &self.name,
            columns,
        }
    }

    pub(crate) fn scope(&self) -> Scope {
        Scope::Table {
            name: self.name.clone(),
            columns: self.groups_view.then_some(crate::store::GROUPS_VIEW),
        }
    }
}

impl Data {
    /// The data of a database, without groups and scripts.
    #[must_use]
    pub fn new(database: Database) -> Self {
        Self {
            database,
            roles: Arc::new(NoGroups),
            scripts: Arc::new(NoScripts),
            graphql: Arc::default(),
        }
    }

    /// Asks these groups for roles.
    #[must_use]
    pub fn with_roles(self, roles: Arc<dyn Roles>) -> Self {
        Self { roles, ..self }
    }

    /// Calls these scripts.
    #[must_use]
    pub fn with_scripts(self, scripts: Arc<dyn Scripts>) -> Self {
        Self { scripts, ..self }
    }

    /// The database below.
    #[must_use]
    pub fn database(&self) -> &Database {
        &self.database
    }

    pub(crate) fn standing(&self, caller: &Caller) -> Standing {
        match caller.kind {
            CallerKind::Owner => Standing::Owner,
            CallerKind::Script => Standing::Script,
            CallerKind::Visitor => Standing::Visitor(self.roles.of(&caller.id)),
        }
    }

    /// What a caller reaches of a table for one operation.
    pub(crate) fn reach(
        &self,
        caller: &Caller,
        table: &str,
        operation: Operation,
    ) -> Result<Reach, DataError> {
        if table.is_empty() {
            return Err(DataError::Required("table name required"));
        }
        ident::table_name(table)?;
        let catalog = self.database.catalog();
        let standing = self.standing(caller);
        let found = catalog.table(table);
        let (name, target) = match found {
            Some(found) => (found.name.clone(), Target::Table(&found.rules)),
            None => {
                let (name, _) = catalog
                    .system(table)
                    .ok_or_else(|| DataError::no_table(table))?;
                let target = if name == "_groups" {
                    Target::Groups
                } else {
                    Target::System
                };
                (name.to_owned(), target)
            }
        };
        let decision = decide(&standing, target, operation);
        #[cfg(feature = "weakened")]
        let decision = match decision {
            _ if crate::weakened::is(crate::weakened::Weakness::Decision) => Decision::All,
            Decision::Own { .. } if crate::weakened::is(crate::weakened::Weakness::Owners) => {
                Decision::All
            }
            decided => decided,
        };
        let decision = decision.or_refused(table)?;
        let (owned_by, otherwise) = match &decision {
            Decision::Own { otherwise } => {
                // A table from a template may have no authors at all; then nobody is one.
                if !found.is_some_and(|table| table.has("_owner")) {
                    return Err(DataError::Refused(format!(
                        "{} not allowed: owner only",
                        operation.word()
                    )));
                }
                (Some(caller.id.clone()), otherwise.clone())
            }
            _ => (None, String::new()),
        };
        Ok(Reach {
            groups_view: decision == Decision::GroupsView,
            name,
            owned_by,
            otherwise,
            catalog,
        })
    }

    /// Whether a caller may know of a table: whether they may read something of it.
    pub(crate) fn is_visible(&self, standing: &Standing, table: &Table) -> bool {
        decide(standing, Target::Table(&table.rules), Operation::Read).allows()
    }
}
