//! The documentation pages: Markdown of the repository, made into HTML once.

use std::sync::LazyLock;

use maud::{Markup, PreEscaped};
use pulldown_cmark::{Event, Options, Parser, html};

/// One page.
#[derive(Debug)]
pub(crate) struct Page {
    pub(crate) slug: &'static str,
    pub(crate) title: String,
    pub(crate) body: Markup,
}

static PAGES: LazyLock<Vec<Page>> = LazyLock::new(|| {
    let sources = [
        ("overview", include_str!("../../../docs/user-guide.md")),
        (
            "rendezvous",
            include_str!("../../../docs/deploy-rendezvous.md"),
        ),
        (
            "protocol",
            include_str!("../../../docs/protocols/rendezvous.md"),
        ),
        (
            "executor",
            include_str!("../../../docs/protocols/executor.md"),
        ),
        ("limits", include_str!("../../../docs/limits.md")),
    ];
    sources
        .into_iter()
        .map(|(slug, text)| Page {
            slug,
            title: title(text),
            body: PreEscaped(rendered(text)),
        })
        .collect()
});

/// The contract of executors as an OpenAPI document (rendezvous.md 15).
pub(crate) const EXECUTOR_API: &str = include_str!("../../../docs/protocols/executor-api.yaml");

/// Pages of the Go server that have no page of their own here; their addresses may be written down somewhere.
const MOVED: [&str; 10] = [
    "quickstart",
    "connecting",
    "configuration",
    "templates",
    "scripting",
    "groups",
    "advanced",
    "faq",
    "api",
    "sdk",
];

/// All pages, in order.
pub(crate) fn pages() -> &'static [Page] {
    &PAGES
}

pub(crate) fn page(slug: &str) -> Option<&'static Page> {
    PAGES.iter().find(|page| page.slug == slug)
}

/// Whether a page of this name was part of another.
pub(crate) fn moved(slug: &str) -> bool {
    MOVED.contains(&slug)
}

fn title(text: &str) -> String {
    let line = text.lines().find_map(|line| line.strip_prefix("# "));
    line.unwrap_or_default().to_owned()
}

/// HTML of a document. HTML in the Markdown is shown as text.
fn rendered(text: &str) -> String {
    let parser = Parser::new_ext(text, Options::ENABLE_TABLES).map(|event| match event {
        Event::Html(html) | Event::InlineHtml(html) => Event::Text(html),
        event => event,
    });
    let mut out = String::new();
    html::push_html(&mut out, parser);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_page_has_a_title_and_says_something() {
        for page in pages() {
            assert!(!page.title.is_empty(), "{}", page.slug);
            assert!(page.body.0.contains("<h1>"), "{}", page.slug);
            assert!(!moved(page.slug));
        }
        assert!(rendered("<script>x</script>").contains("&lt;script&gt;"));
    }
}
