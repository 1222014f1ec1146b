//! Who may do what with a table: one pure function (storage.md 10, with its corrections).
//!
//! What is not known is refused. The texts of refusals are those of the Go program, which pages show.

use crate::DataError;
use crate::schema::{Access, Permissions, Schema};

/// What is done with rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Operation {
    /// Reading rows, or figures about them.
    Read,
    /// Adding a row.
    Insert,
    /// Changing rows.
    Update,
    /// Deleting rows.
    Delete,
}

impl Operation {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Read, Self::Insert, Self::Update, Self::Delete];

    /// Its word in policies and refusals.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Insert => "insert",
            Self::Update => "update",
            Self::Delete => "delete",
        }
    }

    /// Its word where a whole table is refused: the Go program says `query` there.
    fn verb(self) -> &'static str {
        match self {
            Self::Read => "query",
            other => other.word(),
        }
    }
}

/// The part a caller has in the groups of this peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Membership {
    /// There are no groups here.
    NoGroups,
    /// Groups there are; the caller is in none that counts.
    Stranger,
    /// A member with this role.
    Role(String),
}

/// Who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// The person whose peer this is.
    Owner,
    /// A data function of the site: it decides by itself what its caller may.
    Script,
    /// Everybody else, by peer id or guest id.
    Visitor(Membership),
}

/// Which table is asked for.
#[derive(Debug, Clone, Copy)]
pub enum Target<'t> {
    /// A table of the owner, with its rules.
    Table(&'t Rules),
    /// `_groups`.
    Groups,
    /// Any other system table.
    System,
}

/// The rules of a table, as the owner wrote them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rules {
    /// Policies by operation.
    pub access: Access,
    /// What each role may; `None` where the table has no such map.
    pub roles: Option<std::collections::BTreeMap<String, Permissions>>,
}

impl Rules {
    /// The rules of a table: its schema's `access`, or what follows from its `insert_policy`.
    #[must_use]
    pub fn of(schema: Option<&Schema>, insert_policy: &str) -> Self {
        let roles = schema
            .filter(|schema| !schema.roles.is_empty())
            .map(|schema| schema.roles.clone());
        let access = schema.and_then(|schema| schema.access.clone());
        Self {
            access: access.unwrap_or_else(|| by_insert_policy(insert_policy)),
            roles,
        }
    }

    fn policy(&self, operation: Operation) -> Policy {
        Policy::parse(match operation {
            Operation::Read => &self.access.read,
            Operation::Insert => &self.access.insert,
            Operation::Update => &self.access.update,
            Operation::Delete => &self.access.delete,
        })
    }
}

fn by_insert_policy(word: &str) -> Access {
    let text = str::to_owned;
    let owner = Access {
        read: text("open"),
        insert: text("owner"),
        update: text("owner"),
        delete: text("owner"),
    };
    match word {
        "open" | "public" => Access {
            insert: text("open"),
            ..owner
        },
        "group" => Access {
            insert: text("group"),
            ..owner
        },
        // The page offers `local` here too; the Go program takes it for `owner` and lets everybody read.
        "local" => Access {
            read: text("local"),
            insert: text("local"),
            update: text("local"),
            delete: text("local"),
        },
        _ => owner,
    }
}

/// A policy's word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Policy {
    Open,
    Group,
    Owner,
    Local,
    Missing,
    Unknown,
}

impl Policy {
    fn parse(word: &str) -> Self {
        match word {
            "open" => Self::Open,
            "group" => Self::Group,
            "owner" => Self::Owner,
            "local" => Self::Local,
            "" => Self::Missing,
            _ => Self::Unknown,
        }
    }
}

/// What was decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// All rows.
    All,
    /// Rows whose `_owner` is the caller. `otherwise` is the answer when a named row is somebody else's.
    Own {
        /// `row not found or not owned by caller`, or `<operation> not allowed: owner only`.
        otherwise: String,
    },
    /// Columns of `_groups` that say what a group is; not its roles.
    GroupsView,
    /// No.
    Refused(String),
    /// There is no such table, as far as the caller is concerned.
    NoSuchTable,
}

impl Decision {
    /// Whether some rows are within reach.
    #[must_use]
    pub fn allows(&self) -> bool {
        !matches!(self, Self::Refused(_) | Self::NoSuchTable)
    }

    /// The refusal as an error.
    pub(crate) fn or_refused(self, table: &str) -> Result<Self, DataError> {
        match self {
            Self::Refused(text) => Err(DataError::Refused(text)),
            Self::NoSuchTable => Err(DataError::no_table(table)),
            allowed => Ok(allowed),
        }
    }
}

/// Decides whether a caller may do something with a table.
#[must_use]
pub fn decide(caller: &Standing, target: Target<'_>, operation: Operation) -> Decision {
    match (caller, target) {
        (Standing::Owner | Standing::Script, Target::Table(_)) => Decision::All,
        // The owner looks into system tables; they are changed through what they stand for.
        (Standing::Owner, Target::Groups | Target::System) if operation == Operation::Read => {
            Decision::All
        }
        (_, Target::Groups) if operation == Operation::Read => Decision::GroupsView,
        (_, Target::Groups | Target::System) => Decision::NoSuchTable,
        (Standing::Visitor(membership), Target::Table(rules)) => {
            visitor(membership, rules, operation)
        }
    }
}

fn visitor(membership: &Membership, rules: &Rules, operation: Operation) -> Decision {
    let (word, verb) = (operation.word(), operation.verb());
    let refused = |reason: &str| Decision::Refused(format!("{verb} not allowed: {reason}"));
    match (rules.policy(operation), operation) {
        (Policy::Open, _) => Decision::All,
        (Policy::Group, _) => match group(membership, rules, operation) {
            Err(reason) => Decision::Refused(format!("{word} not allowed: {reason}")),
            Ok(()) => match operation {
                Operation::Read | Operation::Insert => Decision::All,
                Operation::Update | Operation::Delete => Decision::Own {
                    otherwise: "row not found or not owned by caller".to_owned(),
                },
            },
        },
        (Policy::Owner, Operation::Insert) => {
            refused("this table only accepts data from the site owner")
        }
        // The row's author and the owner (the guide; the Go program refuses the author).
        (Policy::Owner, Operation::Update | Operation::Delete) => Decision::Own {
            otherwise: format!("{word} not allowed: owner only"),
        },
        (Policy::Owner | Policy::Missing, Operation::Read) => Decision::Own {
            otherwise: "row not found or not owned by caller".to_owned(),
        },
        (Policy::Local, _) => refused("table is local-only"),
        (Policy::Missing | Policy::Unknown, _) => refused("unknown table policy"),
    }
}

fn group(membership: &Membership, rules: &Rules, operation: Operation) -> Result<(), String> {
    let role = match membership {
        Membership::NoGroups => return Err("no group system".to_owned()),
        Membership::Stranger => return Err("not a group member".to_owned()),
        Membership::Role(role) => role,
    };
    let Some(roles) = &rules.roles else {
        return Err("no role mapping for table".to_owned());
    };
    if permissions(roles, role).allows(operation) {
        Ok(())
    } else {
        Err(format!("insufficient role ({role})"))
    }
}

impl Permissions {
    /// Everything.
    pub const ALL: Self = Self {
        read: true,
        insert: true,
        update: true,
        delete: true,
    };

    fn allows(self, operation: Operation) -> bool {
        match operation {
            Operation::Read => self.read,
            Operation::Insert => self.insert,
            Operation::Update => self.update,
            Operation::Delete => self.delete,
        }
    }
}

/// What a role may in a table with a map of roles: `owner` everything, an unknown role nothing.
#[must_use]
pub fn permissions(
    roles: &std::collections::BTreeMap<String, Permissions>,
    role: &str,
) -> Permissions {
    if role == "owner" {
        return Permissions::ALL;
    }
    roles.get(role).copied().unwrap_or_default()
}

/// Knows who is in which group. Groups implement it; until then nobody is.
pub trait Roles: Send + Sync + 'static {
    /// The caller's part in this peer's template group.
    fn of(&self, caller: &str) -> Membership;
}

/// There are no groups.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoGroups;

impl Roles for NoGroups {
    fn of(&self, _: &str) -> Membership {
        Membership::NoGroups
    }
}
