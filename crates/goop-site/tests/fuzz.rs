//! Any bytes give a value or an error, never a panic; no path leaves the site.
#![allow(clippy::unwrap_used, missing_docs)]

use std::path::Component;

use goop_site::{SitePath, avatar, protocol, types};

#[test]
fn fuzz_path() {
    bolero::check!().for_each(|bytes: &[u8]| {
        if let Ok(path) = SitePath::parse(bytes) {
            let mut parts = path.as_path().components();
            assert!(parts.clone().next().is_some());
            assert!(parts.all(|part| matches!(part, Component::Normal(name) if !name.to_string_lossy().starts_with('.'))));
        }
    });
}

#[test]
fn fuzz_site_header() {
    bolero::check!().for_each(|bytes: &[u8]| drop(protocol::parse_header(bytes)));
}

#[test]
fn fuzz_avatar_header() {
    bolero::check!().for_each(|bytes: &[u8]| drop(avatar::parse_header(bytes)));
}

#[test]
fn fuzz_types() {
    bolero::check!().for_each(|bytes: &[u8]| {
        let name = String::from_utf8_lossy(bytes);
        let _ = types::for_browser(std::path::Path::new(&*name), &name);
        assert!(!types::sniff(bytes).is_empty());
    });
}
