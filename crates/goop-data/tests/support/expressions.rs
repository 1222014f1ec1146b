//! Expressions of the query language, made at random.

use proptest::prelude::*;

/// Texts of expressions, as people and programs write them.
pub(crate) fn expression() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just("a".to_owned()),
        Just("b".to_owned()),
        Just("C".to_owned()),
        Just("\"d\"".to_owned()),
        Just("t.a".to_owned()),
        Just("NULL".to_owned()),
        Just("'one'".to_owned()),
        Just("'5'".to_owned()),
        Just("''".to_owned()),
        Just("'it''s'".to_owned()),
        Just("x'6f6e65'".to_owned()),
        Just("TRUE".to_owned()),
        Just("1.5".to_owned()),
        Just("_id".to_owned()),
        (-5_i64..20).prop_map(|number| number.to_string()),
    ];
    leaf.prop_recursive(4, 24, 3, |inner| {
        let two = (inner.clone(), inner.clone());
        prop_oneof![
            (
                two.clone(),
                prop::sample::select(vec![
                    "=",
                    "==",
                    "<>",
                    "!=",
                    "<",
                    "<=",
                    ">",
                    ">=",
                    "+",
                    "-",
                    "*",
                    "/",
                    "%",
                    "||",
                    "AND",
                    "OR",
                    "LIKE",
                    "GLOB",
                    "&",
                    "|",
                    "<<",
                    ">>",
                    "NOT LIKE",
                    "NOT GLOB",
                    "IS",
                    "IS NOT",
                    "IS DISTINCT FROM",
                    "IS NOT DISTINCT FROM",
                ])
            )
                .prop_map(|((a, b), sign)| format!("{a} {sign} {b}")),
            inner.clone().prop_map(|a| format!("({a})")),
            inner.clone().prop_map(|a| format!("NOT {a}")),
            inner.clone().prop_map(|a| format!("-({a})")),
            inner.clone().prop_map(|a| format!("~({a})")),
            (
                inner.clone(),
                prop::sample::select(vec![
                    "IS NULL",
                    "ISNULL",
                    "NOT NULL",
                    "NOTNULL",
                    "IS NOT TRUE",
                    "IS FALSE"
                ])
            )
                .prop_map(|(a, test)| format!("({a}) {test}")),
            inner.clone().prop_map(|a| format!("({a}) IS NULL")),
            inner.clone().prop_map(|a| format!("({a}) IS NOT NULL")),
            inner.clone().prop_map(|a| format!("({a}) COLLATE NOCASE")),
            (
                inner.clone(),
                prop::sample::select(vec!["INTEGER", "TEXT", "REAL", "BLOB"])
            )
                .prop_map(|(a, kind)| format!("CAST({a} AS {kind})")),
            (
                inner.clone(),
                prop::sample::select(vec![
                    "abs", "lower", "upper", "length", "trim", "typeof", "hex", "date"
                ])
            )
                .prop_map(|(a, name)| format!("{name}({a})")),
            two.clone().prop_map(|(a, b)| format!("coalesce({a}, {b})")),
            two.clone().prop_map(|(a, b)| format!("max({a}, {b})")),
            two.clone().prop_map(|(a, b)| format!("substr({a}, {b})")),
            (inner.clone(), two.clone())
                .prop_map(|(a, (b, c))| format!("({a}) BETWEEN ({b}) AND ({c})")),
            (inner.clone(), two.clone()).prop_map(|(a, (b, c))| format!("({a}) NOT IN ({b}, {c})")),
            (inner.clone(), two)
                .prop_map(|(a, (b, c))| format!("CASE WHEN {a} THEN {b} ELSE {c} END")),
        ]
    })
}
