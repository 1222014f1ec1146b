//! What is shown, scenario by scenario.

mod bad_input;
mod chat;
mod data;
mod database;
mod doctor;
mod exposure;
mod flood;
mod full_chat;
mod go_tables;
mod ipv6;
mod keeping;
mod lan;
mod message_flood;
mod messages;
mod nat_kinds;
mod nat_matrix;
mod net;
mod only_text;
mod orders;
mod pages;
mod pictures;
mod proxied;
mod reached;
mod recovery;
mod server_alone;
mod three_tabs;

use anyhow::Result;

use crate::lab::Lab;
use crate::{Kind, Scenario};

/// Every scenario, in the order they run.
pub(crate) fn all() -> Vec<Scenario> {
    let scenario = |name: &'static str, kind, run: fn(&Lab) -> Result<()>| Scenario {
        name: name.into(),
        kind,
        run: Box::new(run),
    };
    let mut all = vec![
        scenario(
            "three peers find each other and browse",
            Kind::Lan,
            lan::find_and_browse,
        ),
        scenario(
            "a polite leave and a kill show in the lists",
            Kind::Lan,
            lan::leaving,
        ),
        scenario(
            "favourites survive kill -9",
            Kind::Lan,
            lan::favorites_survive,
        ),
        scenario("a name change is heard at once", Kind::Lan, lan::rename),
        scenario(
            "messages reach every page, sealed and in order",
            Kind::Lan,
            messages::between_peers,
        ),
        scenario(
            "messages are sent and heard from the command line",
            Kind::Lan,
            messages::command_line,
        ),
        scenario(
            "forged, short and unsealed messages harm nobody",
            Kind::Lan,
            messages::attacks,
        ),
        scenario(
            "a flood of messages stops nobody else",
            Kind::Lan,
            message_flood::flood,
        ),
        scenario(
            "a second signal ends at once",
            Kind::Lan,
            bad_input::second_signal,
        ),
        scenario(
            "busy ports and folders are said",
            Kind::Lan,
            bad_input::busy,
        ),
        scenario(
            "a damaged key or goop.json is left alone",
            Kind::Lan,
            bad_input::damaged,
        ),
        scenario("a full disk loses nothing", Kind::Lan, bad_input::full_disk),
        scenario(
            "a full disk under a conversation loses nothing",
            Kind::Lan,
            full_chat::full_chat,
        ),
        scenario(
            "a full disk in the middle of a save or an import changes nothing",
            Kind::Lan,
            bad_input::full_disk_and_site,
        ),
        scenario(
            "a read-only goop.json is left alone",
            Kind::Lan,
            bad_input::read_only,
        ),
        scenario(
            "kill -9 at any moment leaves a folder that starts",
            Kind::Lan,
            bad_input::kill_anywhere,
        ),
        scenario(
            "settings count after a restart from the pages",
            Kind::Lan,
            keeping::restart,
        ),
        scenario(
            "an import that is killed leaves a whole site",
            Kind::Lan,
            keeping::killed_import,
        ),
        scenario(
            "a backup is the same peer elsewhere",
            Kind::Lan,
            keeping::backup,
        ),
        scenario(
            "folders of the Go program open and stay valid",
            Kind::Lan,
            bad_input::go_folders,
        ),
        scenario(
            "a slow client does not hang the viewer",
            Kind::Lan,
            bad_input::slow_client,
        ),
        scenario(
            "a visitor reads and writes what the policy allows",
            Kind::Lan,
            data::visitor,
        ),
        scenario(
            "a stranger on the LAN gets the own site only",
            Kind::Lan,
            exposure::public_listener,
        ),
        scenario(
            "a stranger behind a proxy gets the own site only",
            Kind::Lan,
            exposure::behind_nginx,
        ),
        scenario(
            "a server alone has pages for its owner only",
            Kind::Lan,
            server_alone::pages,
        ),
        scenario(
            "settings and keys of a server alone survive",
            Kind::Lan,
            server_alone::survives,
        ),
        scenario(
            "what a server alone does not write and does not open",
            Kind::Lan,
            server_alone::leaves_alone,
        ),
        scenario(
            "new addresses are found again",
            Kind::Net,
            net::new_addresses,
        ),
        scenario("an interface comes and goes", Kind::Net, net::cable),
        scenario("no network at all", Kind::Net, net::lonely),
        scenario("IPv6 only", Kind::Net, net::only_v6),
        scenario(
            "a peer is the rendezvous server, too",
            Kind::Net,
            net::hosting,
        ),
        scenario("NAT kinds: none", Kind::Net, nat_kinds::no_nat),
        scenario("NAT kinds: open", Kind::Net, nat_kinds::open),
        scenario(
            "NAT kinds: address-restricted",
            Kind::Net,
            nat_kinds::address_restricted,
        ),
        scenario(
            "NAT kinds: port-restricted",
            Kind::Net,
            nat_kinds::port_restricted,
        ),
        scenario("NAT kinds: symmetric", Kind::Net, nat_kinds::symmetric),
        scenario("NAT kinds: carrier", Kind::Net, nat_kinds::carrier),
        scenario("NAT kinds: UDP blocked", Kind::Net, nat_kinds::udp_blocked),
        scenario("NAT kinds: only HTTPS", Kind::Net, nat_kinds::https_only),
        scenario("NAT kinds: pairs", Kind::Net, nat_kinds::pairs),
        scenario(
            "a long line loses and delays",
            Kind::Net,
            nat_kinds::long_line,
        ),
        scenario(
            "an interface comes back with another address",
            Kind::Net,
            nat_kinds::moving,
        ),
        scenario(
            "two homes meet over a rendezvous server",
            Kind::Net,
            nat_matrix::two_homes,
        ),
        scenario(
            "two homes that nobody can dial meet over its relay",
            Kind::Net,
            nat_matrix::over_the_relay,
        ),
        scenario(
            "two homes without UDP that call each other punch one hole for TCP",
            Kind::Net,
            nat_matrix::one_hole,
        ),
        scenario(
            "the server's address may be entered while the peer runs",
            Kind::Net,
            nat_matrix::entered_later,
        ),
        scenario(
            "the rendezvous server is killed and started again",
            Kind::Net,
            recovery::server_killed,
        ),
        scenario(
            "one of two rendezvous servers is killed",
            Kind::Net,
            recovery::one_of_two,
        ),
        scenario(
            "a line to the internet goes down and up",
            Kind::Net,
            recovery::line,
        ),
        scenario(
            "a rendezvous server behind nginx",
            Kind::Net,
            proxied::nginx,
        ),
        scenario(
            "a rendezvous server behind Caddy",
            Kind::Net,
            proxied::caddy,
        ),
        scenario(
            "two homes with IPv6 and firewalls meet directly",
            Kind::Net,
            ipv6::firewalls,
        ),
        scenario(
            "a home with IPv6 only and one with IPv4 only meet over the relay",
            Kind::Net,
            ipv6::one_side_only,
        ),
        scenario(
            "a hundred thousand connections of one address leave server and relay to others",
            Kind::Net,
            flood::one_address,
        ),
        scenario(
            "the doctor says what stands between",
            Kind::Net,
            doctor::access,
        ),
        scenario("the doctor asks a running peer", Kind::Net, doctor::running),
        scenario(
            "peers tell each other whether strangers reach them",
            Kind::Net,
            reached::told,
        ),
        scenario(
            "the doctor looks at a rendezvous server",
            Kind::Net,
            doctor::of_a_server,
        ),
        scenario(
            "the database in the pages, with a million rows",
            Kind::Browser,
            database::pages,
        ),
        scenario("pages live in a browser", Kind::Browser, pages::live),
        scenario("a hostile site gets nothing", Kind::Browser, pages::hostile),
        scenario("a person uses every page", Kind::Browser, pages::person),
        scenario(
            "a person uses every page on a phone",
            Kind::Browser,
            pages::phone,
        ),
        scenario(
            "a person uses the pages of a server alone",
            Kind::Browser,
            server_alone::person,
        ),
        scenario(
            "a person uses the pages of a server alone on a phone",
            Kind::Browser,
            server_alone::phone,
        ),
        scenario(
            "every page by keyboard alone",
            Kind::Browser,
            pages::keyboard,
        ),
        scenario(
            "a hostile neighbour is only text",
            Kind::Browser,
            only_text::only_text,
        ),
        scenario(
            "two people chat in three tabs each",
            Kind::Browser,
            chat::two_people,
        ),
        scenario(
            "a changed key is shown on both screens",
            Kind::Browser,
            chat::changed_key,
        ),
        scenario(
            "three tabs stay complete",
            Kind::Browser,
            three_tabs::three_tabs,
        ),
        scenario(
            "components, each by itself",
            Kind::Browser,
            pages::components,
        ),
        scenario(
            "pictures of every page",
            Kind::Pictures,
            pictures::every_page,
        ),
        scenario(
            "pictures of a server alone",
            Kind::Pictures,
            server_alone::pictures,
        ),
    ];
    all.extend(nat_matrix::all());
    all
}
