//! Any bytes as an answer of `/goop/content/1.0.0`.
#![allow(missing_docs)]

use goop_net::content::{self, MAX_LABEL};

#[test]
fn fuzz_content() {
    bolero::check!().for_each(|bytes: &[u8]| {
        for ended in [false, true] {
            if let Ok(Some(name)) = content::decode(bytes, ended) {
                // Bytes that are not UTF-8 become three each.
                assert!(name.len() <= 3 * MAX_LABEL);
                assert!(!name.contains('\n'));
            }
        }
    });
}
