//! Who may see the admin pages, and their JSON (rendezvous.md 12).
//!
//! Programs send the password with each request (HTTP Basic, user `admin`), as with the Go server. A person signs in
//! once and gets a session that ends after [`SESSION`]. Both are refused alike after some wrong passwords of one address
//! (weak point 17).

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::extract::{Query, State};
use axum::response::Response;
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use goop_identity::PeerId;
use goop_identity::label::parse_peer_id;
use http::header::{AUTHORIZATION, COOKIE, HOST, LOCATION, ORIGIN, SET_COOKIE, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderValue, StatusCode};
use rand::RngExt;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::presence::read;
use super::reply::{self, JSON};
use super::{Client, Shared, instant};
use crate::relay::AskError;
use crate::state::Standing;

/// How long a person stays signed in.
const SESSION: Duration = Duration::from_secs(12 * 60 * 60);
/// Sessions at once; the oldest ends when there are more.
const MAX_SESSIONS: usize = 32;
/// Largest form of the sign-in page.
const MAX_FORM: usize = 4 * 1024;
const SESSION_COOKIE: &str = "goop2_admin";

/// Who is signed in: hashes of the tokens, so that nothing in memory signs anybody in.
#[derive(Debug, Clone, Default)]
pub(crate) struct Sessions {
    until: Arc<Mutex<HashMap<[u8; 32], Instant>>>,
}

fn hash(text: &str) -> [u8; 32] {
    Sha256::digest(text.as_bytes()).into()
}

impl Sessions {
    fn begin(&self, now: Instant) -> String {
        let mut token = [0_u8; 32];
        rand::rng().fill(&mut token);
        let token = URL_SAFE_NO_PAD.encode(token);
        let mut until = self.until.lock().unwrap_or_else(PoisonError::into_inner);
        until.retain(|_, until| *until > now);
        if until.len() >= MAX_SESSIONS {
            let oldest = until.iter().min_by_key(|(_, until)| **until);
            if let Some(oldest) = oldest.map(|(token, _)| *token) {
                until.remove(&oldest);
            }
        }
        until.insert(hash(&token), now + SESSION);
        token
    }

    fn holds(&self, token: &str, now: Instant) -> bool {
        let until = self.until.lock().unwrap_or_else(PoisonError::into_inner);
        until.get(&hash(token)).is_some_and(|until| *until > now)
    }

    fn end(&self, token: &str) {
        let mut until = self.until.lock().unwrap_or_else(PoisonError::into_inner);
        until.remove(&hash(token));
    }
}

fn cookie(headers: &HeaderMap) -> Option<&str> {
    let cookies = headers.get_all(COOKIE).iter();
    cookies
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .find(|(name, _)| *name == SESSION_COOKIE)
        .map(|(_, value)| value)
}

/// How somebody is not the admin.
#[derive(Debug)]
pub(super) enum Stranger {
    /// There are no admin pages.
    Disabled,
    /// Nothing was shown, or something wrong.
    Unknown,
    /// Too many wrong passwords.
    Throttled,
}

impl Stranger {
    pub(super) fn refusal(&self) -> Response {
        match self {
            Self::Disabled => reply::error(StatusCode::FORBIDDEN, "admin panel disabled"),
            Self::Throttled => reply::error(
                StatusCode::TOO_MANY_REQUESTS,
                "too many wrong passwords; wait a minute",
            ),
            Self::Unknown => {
                let mut response = reply::error(StatusCode::UNAUTHORIZED, "unauthorized");
                let realm = HeaderValue::from_static("Basic realm=\"Goop2 Admin\"");
                response.headers_mut().insert(WWW_AUTHENTICATE, realm);
                response
            }
        }
    }
}

/// Whether a request is the admin's.
pub(super) fn is_admin(
    shared: &Shared,
    client: Client,
    headers: &HeaderMap,
) -> Result<(), Stranger> {
    let Some(password) = &shared.settings.admin_password else {
        return Err(Stranger::Disabled);
    };
    if cookie(headers).is_some_and(|token| shared.sessions.holds(token, instant())) {
        return Ok(());
    }
    let Some(given) = headers.get(AUTHORIZATION) else {
        return Err(Stranger::Unknown);
    };
    let given = given.to_str().ok().and_then(basic);
    check(shared, client, password, given.as_deref())
}

/// The password out of `Basic …`, if the user is `admin`.
fn basic(header: &str) -> Option<String> {
    let (scheme, encoded) = header.split_once(' ')?;
    let decoded = STANDARD.decode(encoded.trim()).ok()?;
    let (user, password) = String::from_utf8(decoded)
        .ok()?
        .split_once(':')
        .map(|(user, password)| (user.to_owned(), password.to_owned()))?;
    (scheme.eq_ignore_ascii_case("basic") && user == "admin").then_some(password)
}

fn check(
    shared: &Shared,
    Client(address): Client,
    password: &str,
    given: Option<&str>,
) -> Result<(), Stranger> {
    if !shared.limits.may_try_password(address, instant()) {
        return Err(Stranger::Throttled);
    }
    // Hashes have one length, so the time says nothing about the password's.
    let right = given.is_some_and(|given| bool::from(hash(given).ct_eq(&hash(password))));
    if right {
        return Ok(());
    }
    shared.limits.wrong_password(address, instant());
    Err(Stranger::Unknown)
}

/// Whether a form was sent by our own page.
fn is_own_page(headers: &HeaderMap) -> bool {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    if let Some(site) = text("sec-fetch-site") {
        return site == "same-origin" || site == "none";
    }
    match (text(ORIGIN.as_str()), text(HOST.as_str())) {
        (Some(origin), Some(host)) => origin.split_once("://").is_some_and(|(_, at)| at == host),
        // Programs send neither.
        _ => true,
    }
}

fn see_other(to: &'static str) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SEE_OTHER;
    let to = HeaderValue::from_static(to);
    response.headers_mut().insert(LOCATION, to);
    response
}

fn set_cookie(response: &mut Response, shared: &Shared, token: &str, seconds: u64) {
    let secure = match &shared.settings.external_url {
        Some(url) if url.scheme() == "https" => "; Secure",
        _ => "",
    };
    let text = format!(
        "{SESSION_COOKIE}={token}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Strict{secure}"
    );
    if let Ok(value) = HeaderValue::from_str(&text) {
        response.headers_mut().insert(SET_COOKIE, value);
    }
}

pub(super) async fn sign_in(
    State(shared): State<Shared>,
    client: Client,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let Some(password) = &shared.settings.admin_password else {
        return Stranger::Disabled.refusal();
    };
    if !is_own_page(&headers) {
        return reply::error(
            StatusCode::FORBIDDEN,
            "this form was not sent by this server's page",
        );
    }
    let body = match read(body, MAX_FORM).await {
        Ok(body) => body,
        Err(response) => return response,
    };
    let given = url::form_urlencoded::parse(&body)
        .find(|(name, _)| name == "password")
        .map(|(_, value)| value.into_owned());
    match check(&shared, client, password, given.as_deref()) {
        Ok(()) => {
            let token = shared.sessions.begin(instant());
            let mut response = see_other("/admin");
            set_cookie(&mut response, &shared, &token, SESSION.as_secs());
            response
        }
        Err(stranger) => super::pages::sign_in(&shared, Some(&stranger)),
    }
}

pub(super) async fn sign_out(State(shared): State<Shared>, headers: HeaderMap) -> Response {
    if !is_own_page(&headers) {
        return reply::error(
            StatusCode::FORBIDDEN,
            "this form was not sent by this server's page",
        );
    }
    if let Some(token) = cookie(&headers) {
        shared.sessions.end(token);
    }
    let mut response = see_other("/");
    set_cookie(&mut response, &shared, "", 0);
    response
}

/// Everybody who is there.
#[utoipa::path(get, path = "/peers.json", tag = "admin", responses((status = 200, body = Vec<Standing>), (status = 401)))]
pub(super) async fn peers(
    State(shared): State<Shared>,
    client: Client,
    headers: HeaderMap,
) -> Response {
    if let Err(stranger) = is_admin(&shared, client, &headers) {
        return stranger.refusal();
    }
    match shared.hub.standings().await {
        Ok(standings) => reply::json(JSON, &standings),
        Err(ending) => reply::ending(ending),
    }
}

/// The newest lines, oldest first.
#[utoipa::path(get, path = "/logs.json", tag = "admin", responses((status = 200, body = Vec<String>), (status = 401)))]
pub(super) async fn logs(
    State(shared): State<Shared>,
    client: Client,
    headers: HeaderMap,
) -> Response {
    match is_admin(&shared, client, &headers) {
        Ok(()) => reply::json(JSON, &shared.lines.all()),
        Err(stranger) => stranger.refusal(),
    }
}

/// One connection of the relay (rendezvous.md 11.4).
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct RelayPeer {
    pub(super) peer_id: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) name: String,
    pub(super) addr: String,
    pub(super) dir: &'static str,
    #[serde(skip)]
    pub(super) reserved: bool,
    #[serde(skip)]
    pub(super) age: String,
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct RelayStatus {
    /// `null` when there are none, as the Go server says it.
    pub(super) peers: Option<Vec<RelayPeer>>,
    pub(super) logs: Vec<String>,
}

pub(super) async fn relay_state(shared: &Shared) -> RelayStatus {
    let Some(relay) = &shared.relay else {
        return RelayStatus {
            peers: None,
            logs: Vec::new(),
        };
    };
    let mut peers = Vec::new();
    for link in relay.links().await {
        peers.push(RelayPeer {
            peer_id: link.peer.to_base58(),
            name: name_of(shared, link.peer).await,
            addr: link.addr.to_string(),
            dir: crate::relay::direction(&link),
            reserved: link.reserved,
            age: crate::relay::go_duration(link.since.elapsed()),
        });
    }
    RelayStatus {
        peers: (!peers.is_empty()).then_some(peers),
        logs: relay.lines.all(),
    }
}

async fn name_of(shared: &Shared, peer: PeerId) -> String {
    match shared.hub.standing(peer).await {
        Ok(Some(row)) => row.content,
        _ => String::new(),
    }
}

/// Who is connected to the relay, and its lines.
#[utoipa::path(get, path = "/relay-status.json", tag = "admin", responses((status = 200, body = RelayStatus), (status = 401)))]
pub(super) async fn relay_status(
    State(shared): State<Shared>,
    client: Client,
    headers: HeaderMap,
) -> Response {
    match is_admin(&shared, client, &headers) {
        Ok(()) => reply::json(JSON, &relay_state(&shared).await),
        Err(stranger) => stranger.refusal(),
    }
}

/// Lists of services that this server does not have.
pub(super) async fn nothing(
    State(shared): State<Shared>,
    client: Client,
    headers: HeaderMap,
) -> Response {
    match is_admin(&shared, client, &headers) {
        Ok(()) => reply::of(StatusCode::OK, reply::JSON_PLAIN, "[]"),
        Err(stranger) => stranger.refusal(),
    }
}

/// Which peer is asked about.
#[derive(Debug, Deserialize)]
pub(super) struct About {
    #[serde(default)]
    peer: String,
}

impl About {
    pub(super) fn peer(&self) -> Result<PeerId, Box<Response>> {
        if self.peer.is_empty() {
            let text = "missing ?peer= parameter";
            return Err(Box::new(reply::error(StatusCode::BAD_REQUEST, text)));
        }
        parse_peer_id(self.peer.trim())
            .ok_or_else(|| Box::new(reply::error(StatusCode::BAD_REQUEST, "invalid peer ID")))
    }
}

fn no_relay() -> Response {
    reply::error(StatusCode::SERVICE_UNAVAILABLE, "relay not enabled")
}

/// How a peer that is connected to the relay is, by its own word and the relay's.
#[utoipa::path(get, path = "/diag", tag = "admin", params(("peer" = String, Query)),
    responses((status = 200, description = "JSON of the peer, with `name` and `relay_view`"), (status = 404), (status = 401)))]
pub(super) async fn diag(
    State(shared): State<Shared>,
    client: Client,
    headers: HeaderMap,
    Query(about): Query<About>,
) -> Response {
    if let Err(stranger) = is_admin(&shared, client, &headers) {
        return stranger.refusal();
    }
    let Some(relay) = &shared.relay else {
        return no_relay();
    };
    let peer = match about.peer() {
        Ok(peer) => peer,
        Err(response) => return *response,
    };
    let name = name_of(&shared, peer).await;
    match relay.diagnose(peer, &name).await {
        Ok(answer) => reply::json(JSON, &answer),
        Err(error) => reply::error(StatusCode::NOT_FOUND, error),
    }
}

/// Asks a peer that is connected to the relay to see to its circuit.
#[utoipa::path(post, path = "/api/pulse", tag = "relay", params(("peer" = String, Query)),
    responses((status = 200, description = "JSON of the peer"), (status = 404), (status = 429), (status = 502), (status = 503)))]
pub(super) async fn pulse(
    State(shared): State<Shared>,
    Client(address): Client,
    Query(about): Query<About>,
) -> Response {
    let Some(relay) = &shared.relay else {
        return no_relay();
    };
    if !shared.limits.request(address, instant()) {
        return reply::error(StatusCode::TOO_MANY_REQUESTS, "rate limited");
    }
    let peer = match about.peer() {
        Ok(peer) => peer,
        Err(response) => return *response,
    };
    // A peer that is asked all the time would do nothing else.
    if !shared.limits.message(address, peer, instant()) {
        return reply::error(StatusCode::TOO_MANY_REQUESTS, "rate limited");
    }
    match relay.pulse(peer).await {
        Ok(answer) => reply::json(JSON, &answer),
        Err(AskError::NotConnected) => reply::error(StatusCode::NOT_FOUND, AskError::NotConnected),
        Err(error) => reply::error(
            StatusCode::BAD_GATEWAY,
            format_args!("pulse stream failed: {error}"),
        ),
    }
}

/// Numbers for Prometheus.
pub(super) async fn metrics(
    State(shared): State<Shared>,
    client: Client,
    headers: HeaderMap,
) -> Response {
    match (is_admin(&shared, client, &headers), &shared.metrics) {
        (Err(stranger), _) => stranger.refusal(),
        (Ok(()), Some(metrics)) => reply::of(StatusCode::OK, reply::TEXT, metrics.render()),
        (Ok(()), None) => reply::not_found(),
    }
}
