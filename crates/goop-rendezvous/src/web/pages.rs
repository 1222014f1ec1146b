//! The pages: plain HTML made here, with every text escaped by the template language, no script, and a policy that
//! allows none. They use the design of a peer's pages.

use axum::extract::{Path, Query, State};
use axum::response::Response;
use http::header::{
    ACCEPT, AUTHORIZATION, CACHE_CONTROL, CONTENT_SECURITY_POLICY, LOCATION, REFERRER_POLICY,
    REFRESH,
};
use http::{HeaderMap, HeaderValue, StatusCode};
use maud::{DOCTYPE, Markup, html};
use serde::Deserialize;

use super::admin::{About, Stranger, is_admin, relay_state};
use super::{Client, Shared, reply};
use crate::docs;
use crate::state::Standing;

const HTML: HeaderValue = HeaderValue::from_static("text/html; charset=utf-8");
const CSS: HeaderValue = HeaderValue::from_static("text/css; charset=utf-8");
const SVG: HeaderValue = HeaderValue::from_static("image/svg+xml");
/// Nothing but our own styles and pictures; forms go back to us.
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'; \
     frame-ancestors 'none'",
);
/// A day: names of assets do not change.
const KEPT: HeaderValue = HeaderValue::from_static("public, max-age=86400");
/// The parts of a peer's design that pages here are made of, from the very files.
const STYLE: &str = concat!(
    include_str!("../../../goop-viewer/assets/css/tokens.css"),
    include_str!("../../../goop-viewer/assets/css/parts.css"),
    include_str!("../../../goop-viewer/assets/css/forms.css"),
    include_str!("../../assets/rendezvous.css"),
);
const MARK: &str = include_str!("../../../goop-viewer/assets/images/mark.svg");
/// How often an open page is loaded anew, for who wants that (seconds).
const EVERY: u32 = 5;
/// Rows on the page of peers; `/peers.json` has them all.
const MAX_ROWS: usize = 500;

pub(super) async fn style() -> Response {
    kept(CSS, STYLE)
}

pub(super) async fn mark() -> Response {
    kept(SVG, MARK)
}

fn kept(kind: HeaderValue, text: &'static str) -> Response {
    let mut response = reply::of(StatusCode::OK, kind, text);
    response.headers_mut().insert(CACHE_CONTROL, KEPT);
    response
}

fn answer(status: StatusCode, markup: Markup) -> Response {
    let mut response = reply::of(status, HTML, markup.into_string());
    let headers = response.headers_mut();
    headers.insert(CONTENT_SECURITY_POLICY, POLICY);
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    response
}

/// The frame of every page. `here` is the path of the entry that is current.
fn page(shared: &Shared, title: &str, here: &str, content: &Markup) -> Markup {
    let entry = |path: &str, name: &str| {
        html! { a href=(path) aria-current=[(path == here).then_some("page")] { (name) } }
    };
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { (title) " · Goop²" }
                link rel="stylesheet" href="/assets/style.css";
                link rel="icon" href="/assets/mark.svg" type="image/svg+xml";
            }
            body {
                a.skip href="#content" { "Skip to the content" }
                header.top {
                    img src="/assets/mark.svg" alt="";
                    a.name href="/" { "Goop² rendezvous" }
                    nav aria-label="Pages" {
                        @if !shared.store.is_empty() { (entry("/store", "Templates")) }
                        (entry("/docs/overview", "Docs"))
                        @if shared.settings.admin_password.is_some() { (entry("/admin", "Admin")) }
                    }
                }
                main.page #content { (content) }
                footer { (shared.settings.own_url()) " · MIT or Apache-2.0" }
            }
        }
    }
}

/// Where peers reach this server, as far as it knows.
fn connect_urls(shared: &Shared) -> Vec<String> {
    let listen = shared.settings.listen;
    if shared.settings.external_url.is_some() || !listen.ip().is_unspecified() {
        return vec![shared.settings.own_url()];
    }
    let interfaces = match getifaddrs::getifaddrs() {
        Ok(interfaces) => interfaces,
        Err(_) => return vec![shared.settings.own_url()],
    };
    let mut urls: Vec<String> = interfaces
        .filter(|interface| {
            let name = interface.name.to_lowercase();
            !["docker", "veth", "br-", "virbr"]
                .iter()
                .any(|virtual_one| name.starts_with(virtual_one))
        })
        .filter_map(|interface| interface.address.ip_addr())
        .filter(|ip| ip.is_ipv4() && !ip.is_loopback())
        .map(|ip| format!("http://{ip}:{}", listen.port()))
        .collect();
    urls.sort();
    urls.dedup();
    urls
}

/// Go peers dial such a server with TLS and never hear events of it (rendezvous.md 18.4 and 23).
fn go_peers_are_deaf(shared: &Shared) -> bool {
    let port = shared.settings.listen.port().to_string();
    let plain = shared
        .settings
        .external_url
        .as_ref()
        .is_none_or(|url| url.scheme() == "http");
    plain
        && !shared.settings.listen.ip().is_loopback()
        && !["404", "403", "501"].iter().any(|code| port.contains(code))
}

pub(super) async fn front(State(shared): State<Shared>) -> Response {
    let templates = shared.store.list().len();
    let content = html! {
        div.stack {
            h1 { "Peers meet here" }
            p { "This server introduces Goop² peers to each other. Sites, messages and files go from peer to peer; none of "
                "them lie here. When a peer leaves, its site is gone." }
            section.card.stack aria-labelledby="connect" {
                h2 #connect { "Connect your peer" }
                ol {
                    li { "Get " code { "goop2" } " and put a folder online with " code { "goop2 peer my-folder" } "." }
                    li { "On its page Me, enter this address as rendezvous server:"
                        @for url in connect_urls(&shared) { p.address { (url) } } }
                    li { "Restart the peer. Others who use this server appear in its list." }
                }
                @if go_peers_are_deaf(&shared) {
                    p.note.warn { "This server is reached without https. Peers that run the Go program hear of others only if "
                        "the port's digits contain 404, 403 or 501 (for example 8404), or if a proxy with a certificate stands "
                        "in front. See " a href="/docs/rendezvous" { "running a rendezvous server" } "." }
                }
            }
            @if shared.relay.is_some() {
                p { "Peers behind a router that lets nobody in are reached over this server's relay. What passes through it is "
                    "encrypted from peer to peer." }
            }
            @if templates > 0 {
                p { a href="/store" { (templates) " templates" } " for sites are waiting to be used." }
            }
        }
    };
    answer(StatusCode::OK, page(&shared, "Rendezvous", "/", &content))
}

pub(super) async fn store(State(shared): State<Shared>) -> Response {
    let content = html! {
        div.stack {
            h1 { "Templates" }
            @if shared.store.is_empty() { p.empty { "There are no templates here." } }
            @else { p { "Apply one from your peer's page Templates, or fetch its files." } }
            ul.cards {
                @for meta in shared.store.list() {
                    li.card.stack-tight {
                        h2.few-lines { span aria-hidden="true" { (meta.icon) } " " (meta.name) }
                        @if !meta.category.is_empty() { p { span.badge { (meta.category) } } }
                        p.few-lines { (meta.description) }
                        p.mono { (meta.dir) }
                        p { a href=(format!("/api/templates/{}/bundle", encoded(&meta.dir))) { "Download" } " · free" }
                    }
                }
            }
        }
    };
    answer(
        StatusCode::OK,
        page(&shared, "Templates", "/store", &content),
    )
}

fn encoded(segment: &str) -> String {
    percent_encoding::utf8_percent_encode(segment, percent_encoding::NON_ALPHANUMERIC).to_string()
}

fn redirect(to: &'static str) -> Response {
    let mut response = reply::of(StatusCode::FOUND, HTML, "");
    let to = HeaderValue::from_static(to);
    response.headers_mut().insert(LOCATION, to);
    response
}

pub(super) async fn docs_root() -> Response {
    redirect("/docs/overview")
}

pub(super) async fn docs_page(State(shared): State<Shared>, Path(slug): Path<String>) -> Response {
    let Some(document) = docs::page(&slug) else {
        return match docs::moved(&slug) {
            true => redirect("/docs/overview"),
            false => reply::not_found(),
        };
    };
    let content = html! {
        div.sides {
            nav aria-label="Documentation" {
                ul {
                    @for other in docs::pages() {
                        li { a href=(format!("/docs/{}", other.slug)) aria-current=[(other.slug == slug).then_some("page")] { (other.title) } }
                    }
                }
            }
            article.prose { (document.body) }
        }
    };
    answer(
        StatusCode::OK,
        page(&shared, &document.title, "/docs/overview", &content),
    )
}

/// The sign-in page; with what went wrong.
pub(super) fn sign_in(shared: &Shared, wrong: Option<&Stranger>) -> Response {
    let (status, problem) = match wrong {
        None => (StatusCode::OK, None),
        Some(Stranger::Throttled) => (
            StatusCode::TOO_MANY_REQUESTS,
            Some("Too many wrong passwords. Wait a minute and try again."),
        ),
        Some(_) => (StatusCode::UNAUTHORIZED, Some("That is not the password.")),
    };
    let content = html! {
        form.card.stack method="post" action="/admin/login" {
            h1 { "Sign in" }
            div.field {
                label for="password" { "Password" }
                input #password name="password" type="password" autocomplete="current-password" required autofocus
                    aria-invalid=[problem.map(|_| "true")] aria-describedby="about";
                p.hint #about { "It stands in goop.json as presence.admin_password." }
                @if let Some(problem) = problem { p.field-error role="alert" { (problem) } }
            }
            p { button.button.primary type="submit" { "Sign in" } }
        }
    };
    answer(status, page(shared, "Sign in", "/admin", &content))
}

/// How a page of the admin is looked at.
#[derive(Debug, Deserialize)]
pub(super) struct Look {
    #[serde(default)]
    every: u32,
}

/// Lets the admin in; a person in a browser is shown the sign-in page instead of a bare refusal.
fn admin_only(shared: &Shared, client: Client, headers: &HeaderMap) -> Result<(), Box<Response>> {
    is_admin(shared, client, headers).map_err(|stranger| {
        let accepts = headers.get(ACCEPT).and_then(|value| value.to_str().ok());
        let browser = accepts.is_some_and(|accepts| accepts.contains("text/html"));
        Box::new(match stranger {
            Stranger::Unknown if browser && !headers.contains_key(AUTHORIZATION) => {
                sign_in(shared, None)
            }
            stranger => stranger.refusal(),
        })
    })
}

/// The frame of the admin's pages.
fn admin_page(shared: &Shared, title: &str, here: &str, look: &Look, content: &Markup) -> Response {
    let live = look.every > 0;
    let entries = [
        ("/admin", "Peers"),
        ("/admin/logs", "Logs"),
        ("/admin/relay", "Relay"),
    ];
    let content = html! {
        div.stack {
            div.row.spread {
                h1 { (title) }
                form method="post" action="/admin/logout" { button.button type="submit" { "Sign out" } }
            }
            nav.row aria-label="Admin" {
                @for (path, name) in entries {
                    a href=(path) aria-current=[(path == here).then_some("page")] { (name) }
                }
                @if live { a href=(here) { "Stop refreshing" } }
                @else { a href=(format!("{here}?every={EVERY}")) { "Refresh every " (EVERY) " s" } }
            }
            (content)
        }
    };
    let mut response = answer(StatusCode::OK, page(shared, title, "/admin", &content));
    if live && let Ok(value) = HeaderValue::from_str(&look.every.max(EVERY).to_string()) {
        response.headers_mut().insert(REFRESH, value);
    }
    response
}

fn ago(then: i64, now: i64) -> String {
    format!("{} s ago", now.saturating_sub(then).max(0) / 1_000)
}

fn peer_row(row: &Standing, now: i64, relay: bool) -> Markup {
    html! {
        tr {
            td {
                div.few-lines { strong { (row.content) } }
                div.mono { (row.peer_id) }
                @if !row.email.is_empty() { div.few-lines { (row.email) } }
                div.row {
                    @if row.ws_connected { span.badge data-set="true" { "socket" } }
                    @if row.signed { span.badge data-set="true" { "signed" } }
                    @if row.encryption_supported { span.badge { "encrypted" } }
                    @if !row.verified { span.badge.warn { "unverified" } }
                    @if !row.instance.is_empty() { span.badge { "other instance" } }
                }
            }
            td { (ago(row.last_seen, now)) }
            td {
                @if row.addrs.is_empty() { "none" } @else {
                    details { summary { (row.addrs.len()) } ul { @for addr in &row.addrs { li.mono { (addr) } } } }
                }
            }
            td { (row.bytes_sent) " / " (row.bytes_received) }
            td { @if relay { a href=(format!("/admin/diag?peer={}", encoded(&row.peer_id))) { "Diagnose" } } }
        }
    }
}

pub(super) async fn admin(
    State(shared): State<Shared>,
    client: Client,
    headers: HeaderMap,
    Query(look): Query<Look>,
) -> Response {
    if let Err(response) = admin_only(&shared, client, &headers) {
        return *response;
    }
    let (standings, figures) = match (shared.hub.standings().await, shared.hub.figures().await) {
        (Ok(standings), Ok(figures)) => (standings, figures),
        (Err(ending), _) | (_, Err(ending)) => return reply::ending(ending),
    };
    let now = crate::hub::now().ms;
    let content = html! {
        p { (figures.peers) " peers, " (figures.sockets) " sockets. "
            @match &shared.relay {
                Some(relay) => { "The relay is " span.mono { (relay.peer_id) } " on port " (relay.settings.port) "." }
                None => "No relay runs."
            } }
        @if standings.is_empty() { p.empty { "Nobody is there." } } @else {
            div.scroll { table {
                caption.muted { @if standings.len() > MAX_ROWS { "The first " (MAX_ROWS) "; " a href="/peers.json" { "all of them" } "." } }
                thead { tr { th scope="col" { "Peer" } th scope="col" { "Seen" } th scope="col" { "Addresses" } th scope="col" { "Bytes up / down" } th scope="col" { "Relay" } } }
                tbody { @for row in standings.iter().take(MAX_ROWS) { (peer_row(row, now, shared.relay.is_some())) } }
            } }
        }
    };
    admin_page(&shared, "Peers", "/admin", &look, &content)
}

pub(super) async fn admin_logs(
    State(shared): State<Shared>,
    client: Client,
    headers: HeaderMap,
    Query(look): Query<Look>,
) -> Response {
    if let Err(response) = admin_only(&shared, client, &headers) {
        return *response;
    }
    let mut lines = shared.lines.all();
    lines.reverse();
    let content = html! { p { "The newest first." } pre tabindex="0" aria-label="Lines" { (lines.join("\n")) } };
    admin_page(&shared, "Logs", "/admin/logs", &look, &content)
}

pub(super) async fn admin_relay(
    State(shared): State<Shared>,
    client: Client,
    headers: HeaderMap,
    Query(look): Query<Look>,
) -> Response {
    if let Err(response) = admin_only(&shared, client, &headers) {
        return *response;
    }
    let mut status = relay_state(&shared).await;
    status.logs.reverse();
    let content = html! {
        @match &shared.relay {
            None => p.empty { "No relay runs. Set presence.relay_port in goop.json." },
            Some(relay) => {
                ul { @for addr in relay.info().addrs { li.mono { (addr) } } }
                @match &status.peers {
                    None => p.empty { "Nobody is connected." },
                    Some(peers) => div.scroll { table {
                        thead { tr { th scope="col" { "Peer" } th scope="col" { "Address" } th scope="col" { "Since" } th scope="col" { "Reservation" } } }
                        tbody { @for peer in peers { tr {
                            td { div.few-lines { (peer.name) } div.mono { (peer.peer_id) } a href=(format!("/admin/diag?peer={}", encoded(&peer.peer_id))) { "Diagnose" } }
                            td.mono { (peer.addr) " " (peer.dir) }
                            td { (peer.age) }
                            td { @if peer.reserved { "yes" } @else { "no" } }
                        } } }
                    } }
                }
                pre tabindex="0" aria-label="Lines of the relay" { (status.logs.join("\n")) }
            }
        }
    };
    admin_page(&shared, "Relay", "/admin/relay", &look, &content)
}

pub(super) async fn admin_diag(
    State(shared): State<Shared>,
    client: Client,
    headers: HeaderMap,
    Query(about): Query<About>,
) -> Response {
    if let Err(response) = admin_only(&shared, client, &headers) {
        return *response;
    }
    let peer = match about.peer() {
        Ok(peer) => peer,
        Err(response) => return *response,
    };
    let text = match &shared.relay {
        None => "No relay runs.".to_owned(),
        Some(relay) => match relay.diagnose(peer, "").await {
            Ok(answer) => serde_json::to_string_pretty(&answer).unwrap_or_default(),
            Err(error) => error.to_string(),
        },
    };
    let content = html! {
        p.mono { (peer.to_base58()) }
        p { a href=(format!("/admin/diag?peer={}", peer.to_base58())) { "Ask again" } }
        pre tabindex="0" aria-label="Diagnosis" { (text) }
    };
    admin_page(
        &shared,
        "Diagnosis",
        "/admin/relay",
        &Look { every: 0 },
        &content,
    )
}
