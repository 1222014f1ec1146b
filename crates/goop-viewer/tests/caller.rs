//! Who is asking, as a table.
#![allow(clippy::unwrap_used, missing_docs)]

use goop_identity::PeerId;
use goop_identity::label::host_label;
use goop_viewer::caller::{Asked, Caller, Listener, Refusal, classify};

const CONTROL: Listener = Listener::Control { port: 8080 };
const HOST: Caller = Caller::Refused(Refusal::ForeignHost);
const ORIGIN: Caller = Caller::Refused(Refusal::ForeignOrigin);

/// Host, Origin, Sec-Fetch-Site, Sec-Fetch-Mode, Sec-Fetch-Dest; `-` for none.
fn check(listener: Listener, line: &str, expected: Caller) {
    let words: Vec<Option<&str>> = line
        .split_whitespace()
        .map(|word| (word != "-").then_some(word))
        .collect();
    let word = |at: usize| words.get(at).copied().flatten();
    let asked = Asked {
        is_read: true,
        host: word(0),
        origin: word(1),
        fetch_site: word(2),
        fetch_mode: word(3),
        fetch_dest: word(4),
        proxied: word(5).is_some(),
    };
    assert_eq!(classify(listener, &asked), expected, "{listener:?} {line}");
}

#[test]
fn the_control_socket() {
    let peer = PeerId::random();
    let label = host_label(&peer);
    let site = format!("{label}.localhost:8080");
    let own_site = format!("http://{site}");
    let other = format!("http://{}.localhost:8080", host_label(&PeerId::random()));
    for (line, expected) in [
        ("127.0.0.1:8080", Caller::Control),
        ("localhost:8080", Caller::Control),
        ("[::1]:8080", Caller::Control),
        (
            "127.0.0.1:8080 http://127.0.0.1:8080 same-origin cors empty",
            Caller::Control,
        ),
        ("127.0.0.1:8080 - none navigate document", Caller::Control),
        // From elsewhere: a link may be followed, nothing may be asked.
        (
            "127.0.0.1:8080 - cross-site navigate document",
            Caller::Link,
        ),
        ("127.0.0.1:8080 - cross-site navigate iframe", ORIGIN),
        ("127.0.0.1:8080 - cross-site no-cors image", ORIGIN),
        ("127.0.0.1:8080 - cross-site no-cors script", ORIGIN),
        ("127.0.0.1:8080 - same-site cors empty", ORIGIN),
        (
            "127.0.0.1:8080 http://127.0.0.1:9090 same-site cors empty",
            ORIGIN,
        ),
        (
            "127.0.0.1:8080 http://localhost:8080 cross-site cors empty",
            ORIGIN,
        ),
        (
            "127.0.0.1:8080 https://evil.example cross-site cors empty",
            ORIGIN,
        ),
        ("127.0.0.1:8080 https://evil.example", ORIGIN),
        ("127.0.0.1:8080 null", ORIGIN),
        (
            &format!("127.0.0.1:8080 {own_site} cross-site cors empty"),
            ORIGIN,
        ),
        // Names somebody pointed here.
        ("evil.example:8080", HOST),
        ("evil.example", HOST),
        ("127.0.0.1:9090", HOST),
        ("127.0.0.1", HOST),
        ("127.0.0.1.evil.example:8080", HOST),
        ("xlocalhost:8080", HOST),
        ("nobody.localhost:8080", HOST),
        ("-", HOST),
        // A proxy stands before us, whatever host it names.
        ("127.0.0.1:8080 - - - - proxied", Caller::Guest),
        ("goop.example - - - - proxied", Caller::Guest),
        (&format!("{site} - - - - proxied"), Caller::Guest),
        // A site's own origin.
        (&site, Caller::SitePage(peer)),
        (
            &format!("{site} {own_site} same-origin cors empty"),
            Caller::SitePage(peer),
        ),
        (
            &format!("{site} - cross-site navigate iframe"),
            Caller::SitePage(peer),
        ),
        (
            &format!("{site} - cross-site navigate document"),
            Caller::SitePage(peer),
        ),
        (&format!("{site} - cross-site no-cors image"), ORIGIN),
        (&format!("{site} {other} cross-site cors empty"), ORIGIN),
        (
            &format!("{site} http://127.0.0.1:8080 cross-site cors empty"),
            ORIGIN,
        ),
        (&format!("x.{site}"), HOST),
        (&format!("{}.localhost:8080", label.to_uppercase()), HOST),
    ] {
        check(CONTROL, line, expected);
    }
}

#[test]
fn a_public_socket_knows_guests_only() {
    for line in [
        "127.0.0.1:8080",
        "10.0.0.1:8080",
        "evil.example",
        "127.0.0.1:8080 http://127.0.0.1:8080 same-origin cors empty",
    ] {
        check(Listener::Public, line, Caller::Guest);
    }
}

#[test]
fn a_port_of_one_site() {
    let peer = PeerId::random();
    let site = Listener::Site { port: 9000, peer };
    check(site, "127.0.0.1:9000", Caller::SitePage(peer));
    check(
        site,
        "127.0.0.1:9000 - same-site navigate iframe",
        Caller::SitePage(peer),
    );
    check(
        site,
        "127.0.0.1:9000 http://127.0.0.1:8080 same-site cors empty",
        ORIGIN,
    );
    check(site, "127.0.0.1:9000 - same-site no-cors script", ORIGIN);
    check(site, "127.0.0.1:8080", HOST);
    check(site, &format!("{}.localhost:9000", host_label(&peer)), HOST);
}

#[test]
fn writing_is_never_a_link() {
    let asked = Asked {
        is_read: false,
        host: Some("127.0.0.1:8080"),
        fetch_site: Some("cross-site"),
        fetch_mode: Some("navigate"),
        fetch_dest: Some("document"),
        ..Asked::default()
    };
    assert_eq!(classify(CONTROL, &asked), ORIGIN);
}
