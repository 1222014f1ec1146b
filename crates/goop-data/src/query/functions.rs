//! Functions that a question may use: those that only look at their arguments and cost no more than they say.
//!
//! Not among them: everything that makes data (`zeroblob`, `randomblob`, `printf` with widths, `replace`, which can
//! grow a text a thousandfold, `char`), that looks around (`load_extension`, `sqlite_*`, `changes`,
//! `last_insert_rowid`, `readfile`) or that JSON brings as a table.

/// Whether a function works on single rows.
#[must_use]
pub fn is_scalar(name: &str) -> bool {
    const SCALAR: &[&str] = &[
        "abs",
        "coalesce",
        "date",
        "datetime",
        "glob",
        "hex",
        "ifnull",
        "iif",
        "instr",
        "julianday",
        "length",
        "like",
        "lower",
        "ltrim",
        "nullif",
        "octet_length",
        "round",
        "rtrim",
        "sign",
        "strftime",
        "substr",
        "substring",
        "time",
        "timediff",
        "trim",
        "typeof",
        "unicode",
        "unixepoch",
        "upper",
        "json_extract",
        "json_valid",
        "json_array_length",
        "json_type",
        "ceil",
        "ceiling",
        "floor",
        "trunc",
        "mod",
        "pow",
        "power",
        "sqrt",
        "random",
        "current_timestamp",
        "current_date",
        "current_time",
    ];
    SCALAR.contains(&name)
}

/// Whether a function works on all rows of a group.
#[must_use]
pub fn is_aggregate(name: &str) -> bool {
    const AGGREGATE: &[&str] = &[
        "avg",
        "count",
        "group_concat",
        "max",
        "min",
        "string_agg",
        "sum",
        "total",
    ];
    AGGREGATE.contains(&name)
}

/// Whether SQLite may run it at all. `max` and `min` are both; `->` and `->>` are operators with a function's name.
#[must_use]
pub fn is_known(name: &str) -> bool {
    is_scalar(name) || is_aggregate(name) || matches!(name, "->" | "->>")
}

/// Whether a function does more than calculate, where it exists at all.
#[must_use]
pub fn reaches_outside(name: &str) -> bool {
    name.starts_with("sqlite_")
        || matches!(
            name,
            "load_extension" | "readfile" | "writefile" | "edit" | "fts3_tokenizer" | "eval"
        )
}
