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

/// What the whole of it means, for people: `docs/access.md`.
fn page() -> String {
    let mut text = String::from(
        "# Who may do what with a table\n\nMade from `goop_data::access::decide` by its tests; `GOOP_WRITE=1 cargo test -p goop-data --test access` writes it \
         anew.\n\nThe owner, on the control pages and on pages of the own site, may do everything with their own tables, and so may the site's \
         data functions. Everybody else, peers and guests of the web, may what the table's policy for the operation says:\n\n\
         - **all**: every row.\n- **own**: rows they added themselves; the text is the answer for others' rows.\n- *a text*: nothing; the text is the answer.\n",
    );
    let headings = ["read", "insert", "update", "delete"];
    let mut table = |title: &str, rows: Vec<(String, [String; 4])>| {
        text.push_str(&format!(
            "\n## {title}\n\n| | {} |\n|---|---|---|---|---|\n",
            headings.join(" | ")
        ));
        for (name, cells) in rows {
            let cells = cells.map(|cell| match cell.split_once(" | ") {
                Some((own, otherwise)) => format!("**{own}** ({otherwise})"),
                None if ["all", "view"].contains(&cell.as_str()) => format!("**{cell}**"),
                None => format!("*{cell}*"),
            });
            text.push_str(&format!("| {name} | {} |\n", cells.join(" | ")));
        }
    };
    let cells = |caller: &Standing, target: Target<'_>| {
        Operation::ALL.map(|operation| short(&decide(caller, target, operation)))
    };
    let callers = [
        ("the owner", Standing::Owner),
        ("a data function", Standing::Script),
        ("no groups here", Standing::Visitor(Membership::NoGroups)),
        ("not a member", Standing::Visitor(Membership::Stranger)),
        ("member, role `editor` (may everything)", role("editor")),
        (
            "member, role `writer` (may read and insert)",
            role("writer"),
        ),
        ("member, role that the table does not name", role("nobody")),
        ("member, role `owner`", role("owner")),
    ];
    for (policy, what) in [
        ("open", "Policy `open`"),
        ("owner", "Policy `owner`"),
        ("group", "Policy `group`, with a map of roles"),
        ("local", "Policy `local`"),
        ("", "No policy for the operation"),
        ("purple", "A policy that is no word"),
    ] {
        let rules = rules(policy, true);
        let rows = callers.iter();
        let rows =
            rows.map(|(name, caller)| ((*name).to_owned(), cells(caller, Target::Table(&rules))));
        table(what, rows.collect());
    }
    let bare = rules("group", false);
    let rows = callers.iter();
    let rows = rows.map(|(name, caller)| ((*name).to_owned(), cells(caller, Target::Table(&bare))));
    table("Policy `group`, without a map of roles", rows.collect());
    let stranger = Standing::Visitor(Membership::Stranger);
    let words = ["open", "public", "group", "local", "owner", "", "purple"];
    let rows = words.map(|word| {
        let rules = Rules::of(None, word);
        (
            format!("`insert_policy` {word:?}"),
            cells(&stranger, Target::Table(&rules)),
        )
    });
    table(
        "A table without a schema, for somebody who is no member",
        rows.to_vec(),
    );
    for (what, target) in [
        (
            "`_groups` (**view**: what a group is, without its roles)",
            Target::Groups,
        ),
        ("Any other table of the system", Target::System),
    ] {
        let rows = callers.iter();
        let rows = rows.map(|(name, caller)| ((*name).to_owned(), cells(caller, target)));
        table(what, rows.collect());
    }
    text
}

#[test]
fn the_page_about_it_says_what_is_so() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/access.md");
    if std::env::var_os("GOOP_WRITE").is_some() {
        std::fs::write(path, page()).unwrap();
    }
    let written = std::fs::read_to_string(path).unwrap();
    assert!(
        written == page(),
        "docs/access.md is of other rules: docs/contributing.md says how it is written anew"
    );
}
