//! The user guide that the pages show is the one in `docs/`.

#[test]
fn the_guide_of_the_pages_is_the_guide() {
    let shown = include_str!("../assets/docs/user-guide.md");
    let guide = include_str!("../../../docs/user-guide.md");
    let (note, text) = shown.split_once("\n\n").unwrap_or_default();
    assert!(note.starts_with("<!-- Generated"), "it begins with {note}");
    assert!(
        text == guide,
        "copy docs/user-guide.md below the first line of crates/goop-viewer/assets/docs/user-guide.md"
    );
}
