//! What everybody may do with a table, answered by the function that decides it: a look ahead for its owner.

use std::collections::BTreeMap;

use serde_json::{Value as Json, json};

use crate::DataError;
use crate::access::{Decision, Membership, Operation, Rules, Standing, Target, decide};
use crate::caller::{Caller, Data};
use crate::schema::{Access, Permissions};
use crate::tables::owner_only;

/// Most roles of a look ahead.
const MAX_ROLES: usize = 64;

impl Data {
    /// `{"callers":[{"who","role"?,"rights":{"read":{"can","why"?},…}}]}`: a stranger, a member of each role, the owner.
    /// `can` is `all`, `own` (rows they wrote) or `no` with the words they would hear. Rules that are being edited take the
    /// place of the table's.
    ///
    /// # Errors
    /// Not the owner, or no such table where no rules are given.
    pub(crate) fn rights(
        &self,
        caller: &Caller,
        table: &str,
        access: Option<Access>,
        roles: Option<BTreeMap<String, Permissions>>,
    ) -> Result<Json, DataError> {
        owner_only(caller)?;
        let catalog = self.database.catalog();
        let known = catalog.table(table);
        let mut rules = match (known, &access) {
            (Some(known), _) => known.rules.clone(),
            (None, Some(_)) => Rules::default(),
            (None, None) => return Err(DataError::no_table(table)),
        };
        if let Some(access) = access {
            rules.access = access;
        }
        if let Some(roles) = roles {
            rules.roles = Some(roles).filter(|roles| !roles.is_empty());
        }
        // A table from a template may have no authors; then nobody has rows of their own.
        let has_authors = known.is_none_or(|known| known.has("_owner"));
        let row = |who: &str, role: Option<&str>, standing: &Standing| {
            let rights: serde_json::Map<String, Json> = Operation::ALL
                .into_iter()
                .map(|operation| {
                    let decision = decide(standing, Target::Table(&rules), operation);
                    let said = match decision {
                        Decision::All | Decision::GroupsView => json!({"can": "all"}),
                        Decision::Own { .. } if has_authors => json!({"can": "own"}),
                        Decision::Own { .. } => json!({
                            "can": "no",
                            "why": format!("{} not allowed: owner only", operation.word()),
                        }),
                        Decision::Refused(why) => json!({"can": "no", "why": why}),
                        Decision::NoSuchTable => json!({"can": "no", "why": "no such table"}),
                    };
                    (operation.word().to_owned(), said)
                })
                .collect();
            let mut row = json!({"who": who, "rights": rights});
            if let Some(role) = role {
                row["role"] = role.into();
            }
            row
        };
        let mut callers = vec![row(
            "stranger",
            None,
            &Standing::Visitor(Membership::Stranger),
        )];
        for role in rules.roles.iter().flat_map(BTreeMap::keys).take(MAX_ROLES) {
            let standing = Standing::Visitor(Membership::Role(role.clone()));
            callers.push(row("member", Some(role), &standing));
        }
        callers.push(row("owner", None, &Standing::Owner));
        Ok(json!({"table": table, "callers": callers}))
    }
}
