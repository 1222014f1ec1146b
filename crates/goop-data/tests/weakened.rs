//! A program that is weak on purpose is caught: each guard is taken away in turn, and the corpus of attacks must notice.
//! Runs with `cargo xtask test`, or `cargo test -p goop-data --features weakened --test weakened`.
#![allow(clippy::unwrap_used, missing_docs)]

#[path = "support/corpus.rs"]
mod corpus;
mod support;

use goop_data::weakened::{self, Weakness};

/// Whether one of the corpus's parts ended with a complaint.
async fn caught() -> bool {
    let mut caught = false;
    let (_folder, data) = corpus::site().await;
    caught |= tokio::spawn(corpus::tables_of_the_system_are_not_there(data.clone()))
        .await
        .is_err();
    caught |= tokio::spawn(corpus::nothing_leaks_and_nothing_is_harmed(data))
        .await
        .is_err();
    // It changes rows, so it gets a site of its own.
    let (_folder, data) = corpus::site().await;
    caught |= tokio::spawn(corpus::somebody_elses_rows_stay_theirs(data))
        .await
        .is_err();
    caught
}

#[tokio::test]
async fn what_is_weak_is_caught() {
    use Weakness::{Authorizer, Columns, Decision, Owners, Texts};
    // The last two: the language holds without SQLite's authorizer, which is there for the day when it does not.
    for (weak, expected) in [
        (&[Decision][..], true),
        (&[Owners], true),
        (&[Columns], true),
        (&[Texts], true),
        (&[Texts, Authorizer], true),
        (&[Authorizer], false),
        (&[], false),
    ] {
        weakened::be(weak);
        assert_eq!(caught().await, expected, "{weak:?}");
    }
}
