//! Any bytes as an answer of `/goop/diag/1.0.0`.
#![allow(missing_docs)]

use goop_net::diag::{Diagnosis, MAX_ANSWER};

#[test]
fn fuzz_diag() {
    bolero::check!().for_each(|bytes: &[u8]| {
        if let Ok(document) = Diagnosis::from_json(bytes)
            && let Ok(line) = document.to_line()
        {
            assert!(line.len() <= MAX_ANSWER);
            assert!(Diagnosis::from_json(&line).is_ok());
        }
    });
}
