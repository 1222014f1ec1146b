//! Whatever a request's head says, nobody gets further by saying it.
#![allow(clippy::unwrap_used, missing_docs)]

use goop_identity::PeerId;
use goop_identity::label::host_label;
use goop_viewer::caller::{Asked, Caller, Listener, classify};

/// Pieces that matter, so that random choices get far.
fn pieces(site: &str) -> Vec<String> {
    let hosts = [
        "127.0.0.1:8080",
        "localhost:8080",
        "[::1]:8080",
        "evil.example:8080",
        "127.0.0.1",
        "localhost.:8080",
        ":8080",
        "",
    ];
    let words = [
        "none",
        "same-origin",
        "same-site",
        "cross-site",
        "navigate",
        "cors",
        "document",
        "iframe",
        "null",
    ];
    let mut pieces: Vec<String> = hosts
        .iter()
        .chain(&words)
        .map(|text| (*text).to_owned())
        .collect();
    pieces.extend(hosts.iter().map(|host| format!("http://{host}")));
    pieces.extend([
        site.to_owned(),
        format!("http://{site}"),
        format!("http://{site}:8080"),
        format!("{site}:8080"),
    ]);
    pieces
}

/// Whether `text` names this machine's control origin.
fn is_ours(text: &str) -> bool {
    ["127.0.0.1:8080", "localhost:8080", "[::1]:8080"]
        .iter()
        .any(|own| text.eq_ignore_ascii_case(own))
}

#[test]
fn fuzz_caller() {
    let peer = PeerId::random();
    let pieces = pieces(&format!("{}.localhost", host_label(&peer)));
    bolero::check!()
        .with_type::<([Option<u8>; 5], bool, Vec<u8>)>()
        .for_each(|(choices, is_read, noise)| {
            let noise = String::from_utf8_lossy(noise);
            let text = |at: usize| {
                choices[at].map(|choice| {
                    pieces
                        .get(usize::from(choice) % (pieces.len() + 1))
                        .map_or(&*noise, String::as_str)
                })
            };
            let asked = Asked {
                is_read: *is_read,
                host: text(0),
                origin: text(1),
                fetch_site: text(2),
                fetch_mode: text(3),
                fetch_dest: text(4),
                proxied: false,
            };
            let caller = classify(Listener::Control { port: 8080 }, &asked);
            if matches!(caller, Caller::Control | Caller::Link) {
                assert!(asked.host.is_some_and(is_ours), "{asked:?}");
                let same = |origin: &str| origin.strip_prefix("http://").is_some_and(is_ours);
                assert!(asked.origin.is_none_or(same), "{asked:?}");
            }
            if caller == Caller::Control {
                assert!(
                    matches!(asked.fetch_site, None | Some("same-origin" | "none")),
                    "{asked:?}"
                );
            }
            if let Caller::SitePage(of) = caller {
                assert_eq!(of, peer);
            }
            assert_eq!(classify(Listener::Public, &asked), Caller::Guest);
            let proxied = classify(
                Listener::Control { port: 8080 },
                &Asked {
                    proxied: true,
                    ..asked
                },
            );
            assert_eq!(proxied, Caller::Guest);
        });
}
