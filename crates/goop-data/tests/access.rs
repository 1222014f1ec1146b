//! Who may do what: the whole table.
#![allow(clippy::unwrap_used, missing_docs)]

use std::collections::BTreeMap;

use goop_data::access::{Decision, Membership, Operation, Rules, Standing, Target, decide};
use goop_data::schema::{Access, Permissions};

fn short(decision: &Decision) -> String {
    match decision {
        Decision::All => "all".to_owned(),
        Decision::Own { otherwise } => format!("own | {otherwise}"),
        Decision::GroupsView => "view".to_owned(),
        Decision::Refused(text) => text.clone(),
        Decision::NoSuchTable => "no such table".to_owned(),
    }
}

fn rules(policy: &str, roles: bool) -> Rules {
    let access = Access {
        read: policy.to_owned(),
        insert: policy.to_owned(),
        update: policy.to_owned(),
        delete: policy.to_owned(),
    };
    let some = Permissions {
        read: true,
        insert: true,
        ..Permissions::default()
    };
    let roles = roles.then(|| {
        BTreeMap::from([
            ("editor".to_owned(), Permissions::ALL),
            ("writer".to_owned(), some),
        ])
    });
    Rules { access, roles }
}

fn check(caller: &Standing, rules: &Rules, expected: [&str; 4]) {
    let got =
        Operation::ALL.map(|operation| short(&decide(caller, Target::Table(rules), operation)));
    assert_eq!(got, expected, "{caller:?} {rules:?}");
}

fn role(role: &str) -> Standing {
    Standing::Visitor(Membership::Role(role.to_owned()))
}

const MEMBERSHIPS: usize = 6;
fn visitors() -> [Standing; MEMBERSHIPS] {
    [
        Standing::Visitor(Membership::NoGroups),
        Standing::Visitor(Membership::Stranger),
        role("editor"),
        role("writer"),
        role("nobody"),
        role("owner"),
    ]
}

const LOCAL: [&str; 4] = [
    "query not allowed: table is local-only",
    "insert not allowed: table is local-only",
    "update not allowed: table is local-only",
    "delete not allowed: table is local-only",
];
const OWNER: [&str; 4] = [
    "own | row not found or not owned by caller",
    "insert not allowed: this table only accepts data from the site owner",
    "own | update not allowed: owner only",
    "own | delete not allowed: owner only",
];
const MISSING: [&str; 4] = [
    "own | row not found or not owned by caller",
    "insert not allowed: unknown table policy",
    "update not allowed: unknown table policy",
    "delete not allowed: unknown table policy",
];
const UNKNOWN: [&str; 4] = [
    "query not allowed: unknown table policy",
    "insert not allowed: unknown table policy",
    "update not allowed: unknown table policy",
    "delete not allowed: unknown table policy",
];
const OWN_ROW: &str = "own | row not found or not owned by caller";

#[test]
fn the_owner_and_their_scripts_may_everything() {
    for policy in ["open", "group", "owner", "local", "", "purple"] {
        for roles in [false, true] {
            for caller in [Standing::Owner, Standing::Script] {
                check(&caller, &rules(policy, roles), ["all"; 4]);
            }
        }
    }
}

#[test]
fn policies_that_ask_for_no_role() {
    for visitor in visitors() {
        for roles in [false, true] {
            check(&visitor, &rules("open", roles), ["all"; 4]);
            check(&visitor, &rules("owner", roles), OWNER);
            check(&visitor, &rules("local", roles), LOCAL);
            check(&visitor, &rules("", roles), MISSING);
            for word in ["purple", "OPEN", "open ", "public", "email"] {
                check(&visitor, &rules(word, roles), UNKNOWN);
            }
        }
    }
}

#[test]
fn groups() {
    let refused = |why: &str| {
        Operation::ALL.map(|operation| format!("{} not allowed: {why}", operation.word()))
    };
    let all = |why: &str, caller: &Standing, roles: bool| {
        let texts = refused(why);
        check(
            caller,
            &rules("group", roles),
            texts.each_ref().map(String::as_str),
        );
    };
    for roles in [false, true] {
        all(
            "no group system",
            &Standing::Visitor(Membership::NoGroups),
            roles,
        );
        all(
            "not a group member",
            &Standing::Visitor(Membership::Stranger),
            roles,
        );
    }
    for name in ["editor", "writer", "nobody", "owner", ""] {
        all("no role mapping for table", &role(name), false);
    }
    all("insufficient role (nobody)", &role("nobody"), true);
    all("insufficient role ()", &role(""), true);
    check(
        &role("owner"),
        &rules("group", true),
        ["all", "all", OWN_ROW, OWN_ROW],
    );
    check(
        &role("editor"),
        &rules("group", true),
        ["all", "all", OWN_ROW, OWN_ROW],
    );
    check(
        &role("writer"),
        &rules("group", true),
        [
            "all",
            "all",
            "update not allowed: insufficient role (writer)",
            "delete not allowed: insufficient role (writer)",
        ],
    );
}

#[test]
fn system_tables() {
    for caller in visitors().into_iter().chain([Standing::Script]) {
        for operation in Operation::ALL {
            assert_eq!(
                decide(&caller, Target::System, operation),
                Decision::NoSuchTable
            );
            let groups = decide(&caller, Target::Groups, operation);
            let expected = if operation == Operation::Read {
                Decision::GroupsView
            } else {
                Decision::NoSuchTable
            };
            assert_eq!(groups, expected);
        }
    }
    for operation in Operation::ALL {
        let expected = if operation == Operation::Read {
            Decision::All
        } else {
            Decision::NoSuchTable
        };
        assert_eq!(
            decide(&Standing::Owner, Target::System, operation),
            expected
        );
        assert_eq!(
            decide(&Standing::Owner, Target::Groups, operation),
            expected
        );
    }
}

#[test]
fn tables_without_a_schema_follow_their_insert_policy() {
    let stranger = Standing::Visitor(Membership::Stranger);
    let classic = |word: &str| Rules::of(None, word);
    let owners = ["all", OWNER[1], OWNER[2], OWNER[3]];
    check(
        &stranger,
        &classic("open"),
        ["all", "all", OWNER[2], OWNER[3]],
    );
    check(
        &stranger,
        &classic("public"),
        ["all", "all", OWNER[2], OWNER[3]],
    );
    check(
        &stranger,
        &classic("group"),
        [
            "all",
            "insert not allowed: not a group member",
            OWNER[2],
            OWNER[3],
        ],
    );
    check(&stranger, &classic("local"), LOCAL);
    for word in ["owner", "", "purple"] {
        check(&stranger, &classic(word), owners);
    }
}
