//! The description of the API (OpenAPI), made from the handlers; this module adds what all of them have in common, and
//! the addresses that are answered before the router is asked.

use std::io::{Read, Write};
use std::sync::OnceLock;

use axum::response::Response;
use bytes::Bytes;
use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use http::header::{ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_ENCODING, VARY};
use http::{HeaderMap, HeaderValue, StatusCode};
use utoipa::OpenApi;
use utoipa::openapi::path::Operation;
use utoipa::openapi::{OpenApi as Described, RefOr, ResponseBuilder};

use super::{routes, size};
use crate::reply::{error, raw_json};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Goop2 viewer API",
        description = "What the pages of a peer use, and what programs of its owner may use with the token of \
            `data/control.token` (`Authorization: Bearer <token>`). Owner only, unless a route says otherwise. Errors are \
            plain text unless a schema is named. A body may pause for 10 seconds; a request's head is at most 512 KiB."
    ),
    tags(
        (name = "peers", description = "Who is known and who is there"),
        (name = "avatars", description = "Pictures"),
        (name = "logs", description = "What the program says"),
        (name = "settings", description = "goop.json, and this machine"),
        (name = "services", description = "Servers that the settings name"),
        (name = "data", description = "The database of the own site, and those of neighbours"),
        (name = "site", description = "Files of the own site"),
        (name = "messages", description = "Messages to other peers"),
        (name = "live", description = "Events as they happen"),
        (name = "pages", description = "What a browser loads; no session is needed")
    ),
    paths(start, healthz, assets, sites, page, peer_page)
)]
struct Document;

/// Addresses that only a peer has.
const SITES: &str = "/p/{peer}/{file}";
const PEER_PAGE: &str = "/peer/{id}";

/// What the description begins with.
pub(super) fn basis() -> utoipa::openapi::OpenApi {
    Document::openapi()
}

/// The same for a server alone: it has no sites and nobody's page.
pub(super) fn basis_alone() -> utoipa::openapi::OpenApi {
    let mut document = Document::openapi();
    for path in [SITES, PEER_PAGE] {
        document.paths.paths.remove(path);
    }
    let used = ["avatars", "logs", "settings", "services", "live", "pages"];
    if let Some(tags) = &mut document.tags {
        tags.retain(|tag| used.contains(&tag.name.as_str()));
    }
    document
}

/// Follows the link that was printed at the start: it makes this browser the owner's, once, and leads to the pages.
#[utoipa::path(get, path = "/start", tag = "pages", params(("token" = String, Query, description = "from the link")),
    responses((status = 302), (status = 401, description = "the link was used, or is of another start")))]
#[expect(dead_code, reason = "it is only described")]
fn start() {}

/// Says that the server lives.
#[utoipa::path(get, path = "/healthz", tag = "pages", responses((status = 200, body = String)))]
#[expect(dead_code, reason = "it is only described")]
fn healthz() {}

/// A file of the pages; `goop2-splash.png`, `goop2-splash2.png` and `goop2-splash3.png` below `images/` are pictures that
/// settings name.
#[utoipa::path(get, path = "/assets/{file}", tag = "pages", params(("file" = String, Path, description = "may hold `/`")),
    responses((status = 200), (status = 304), (status = 404)))]
#[expect(dead_code, reason = "it is only described")]
fn assets() {}

/// A site. On the control origin this only leads to the site's own origin.
#[utoipa::path(get, path = "/p/{peer}/{file}", tag = "pages",
    params(("peer" = String, Path, description = "peer id"), ("file" = String, Path, description = "may hold `/`, or be empty")),
    responses((status = 200), (status = 206), (status = 302), (status = 304), (status = 403), (status = 404),
        (status = 416), (status = 502, description = "the peer does not answer"), (status = 503, description = "too many sites are open")))]
#[expect(dead_code, reason = "it is only described")]
fn sites() {}

/// The page of one peer.
#[utoipa::path(get, path = "/peer/{id}", tag = "pages", params(("id" = String, Path, description = "peer id")),
    responses((status = 200), (status = 304)))]
#[expect(dead_code, reason = "it is only described")]
fn peer_page() {}

/// A page: `peers`, `messages`, `view`, `edit`, `database`, `self`, `logs`, `topology`, `docs`.
#[utoipa::path(get, path = "/{page}", tag = "pages", params(("page" = String, Path, description = "name of a page")),
    responses((status = 200), (status = 302), (status = 304), (status = 307), (status = 404)))]
#[expect(dead_code, reason = "it is only described")]
fn page() {}

/// The description, packed. It is large and seldom asked for: made at the first request.
static PACKED: OnceLock<Bytes> = OnceLock::new();
/// That of a server alone.
static PACKED_ALONE: OnceLock<Bytes> = OnceLock::new();

fn packed(kept: &OnceLock<Bytes>, document: fn() -> Described) -> std::io::Result<Bytes> {
    if let Some(packed) = kept.get() {
        return Ok(packed.clone());
    }
    let text = serde_json::to_vec(&document())?;
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(&text)?;
    let packed = Bytes::from(encoder.finish()?);
    Ok(kept.get_or_init(|| packed).clone())
}

/// This description.
#[utoipa::path(get, path = "/api/openapi.json", tag = "logs", responses((status = 200, body = Object)))]
pub(super) async fn openapi(headers: HeaderMap) -> Response {
    answer(&headers, packed(&PACKED, || routes().into_openapi()))
}

/// This description.
#[utoipa::path(get, path = "/api/openapi.json", tag = "logs", responses((status = 200, body = Object)))]
pub(super) async fn openapi_alone(headers: HeaderMap) -> Response {
    let document = || super::alone::routes().into_openapi();
    answer(&headers, packed(&PACKED_ALONE, document))
}

fn answer(headers: &HeaderMap, packed: std::io::Result<Bytes>) -> Response {
    let accepted = headers
        .get(ACCEPT_ENCODING)
        .is_some_and(goop_site::respond::accepts_gzip);
    let body = packed.and_then(|packed| {
        if accepted {
            return Ok(packed);
        }
        let mut text = Vec::new();
        GzDecoder::new(&packed[..]).read_to_end(&mut text)?;
        Ok(text.into())
    });
    let mut response = match body {
        Ok(body) => raw_json(StatusCode::OK, body),
        Err(failure) => return error(StatusCode::INTERNAL_SERVER_ERROR, &failure.to_string()),
    };
    let out = response.headers_mut();
    out.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    out.insert(VARY, HeaderValue::from_static("accept-encoding"));
    if accepted {
        out.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    response
}

/// Every operation of some routes: what it answers to those who may not ask, and to bodies that are too large.
pub(super) fn describe_limit(document: &mut utoipa::openapi::OpenApi, most: usize) {
    for item in document.paths.paths.values_mut() {
        let operations = [
            &mut item.get,
            &mut item.put,
            &mut item.post,
            &mut item.delete,
        ];
        for operation in operations.into_iter().flatten() {
            say(
                operation,
                "401",
                "not the owner's request: no session, no token",
            );
            say(operation, "403", "another origin asks");
            say(
                operation,
                "421",
                "the host of the request is not served here",
            );
            if operation.request_body.is_some() {
                let text = format!("the body is larger than {} ({most} bytes)", size(most));
                say(operation, "413", &text);
            }
        }
    }
}

fn say(operation: &mut Operation, status: &str, text: &str) {
    operation
        .responses
        .responses
        .entry(status.to_owned())
        .or_insert_with(|| RefOr::T(ResponseBuilder::new().description(text).build()));
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::super::routes;

    /// The paths of a router, as its `Debug` form tells them (axum has no other way).
    fn paths_of(router: &str) -> BTreeSet<String> {
        let quoted = router.split('"').skip(1).step_by(2);
        quoted
            // Those two are axum's own, for what has no route.
            .filter(|text| text.starts_with('/') && *text != "/" && !text.contains("__private"))
            .map(str::to_owned)
            .collect()
    }

    #[test]
    fn every_route_is_described_and_every_description_has_its_route() {
        let (router, document) = routes().split_for_parts();
        let paths = paths_of(&format!("{router:?}"));
        assert!(paths.contains("/api/self"), "{paths:?}");
        let outside = [
            "/start",
            "/healthz",
            "/assets/{file}",
            "/p/{peer}/{file}",
            "/{page}",
            "/peer/{id}",
        ];
        let described: BTreeSet<String> = document
            .paths
            .paths
            .keys()
            .filter(|path| !outside.contains(&path.as_str()))
            .cloned()
            .collect();
        assert_eq!(paths, described);
    }

    /// The description knows types by their names alone: two of one name would be one.
    #[test]
    fn lists_of_files_and_of_peers_are_described_apart() {
        let document = serde_json::to_value(routes().into_openapi()).unwrap_or_default();
        let fields = |path: &str| {
            let ok = &document["paths"][path]["get"]["responses"]["200"]["content"];
            let name = ok["application/json"]["schema"]["items"]["$ref"].as_str();
            let name = name
                .and_then(|name| name.rsplit('/').next())
                .unwrap_or_default();
            document["components"]["schemas"][name]["properties"].clone()
        };
        assert!(fields("/api/site/files")["Depth"].is_object());
        assert!(fields("/api/peers")["Reachable"].is_object());
    }

    #[test]
    fn every_description_says_what_can_come_back_and_what_is_too_much() {
        let document = serde_json::to_value(routes().into_openapi()).unwrap_or_default();
        let mut seen = 0;
        for (path, item) in document["paths"].as_object().into_iter().flatten() {
            for (method, operation) in item.as_object().into_iter().flatten() {
                let at = format!("{method} {path}");
                let responses = operation["responses"].as_object();
                let has = |status: &str| responses.is_some_and(|all| all.contains_key(status));
                let texts = [&operation["summary"], &operation["description"]];
                assert!(texts.iter().any(|text| text.is_string()), "{at}: no words");
                let ok = ["200", "202", "204", "302"]
                    .iter()
                    .any(|status| has(status));
                assert!(ok || path == "/api/avatar/peer/", "{at}: no success");
                let is_page = operation["tags"][0] == "pages";
                assert!(is_page || has("401") && has("403"), "{at}: no refusal");
                if !operation["requestBody"].is_null() {
                    assert!(has("400") && has("413"), "{at}: no limit");
                }
                seen += 1;
            }
        }
        assert!(seen > 50, "{seen}");
    }
}
