//! Sites as browsers see them: `/p/<peer-id>/…`, each on an origin of its own (viewer-api.md 7, design 4).

use std::borrow::Cow;
use std::sync::Arc;

use axum::body::Body;
use axum::response::Response;
use goop_identity::PeerId;
use goop_identity::label::parse_peer_id;
use goop_site::{SiteError, SitePath, SiteRequest, VisitError, respond, types};
use http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName, REFERRER_POLICY,
    X_CONTENT_TYPE_OPTIONS,
};
use http::request::Parts;
use http::{HeaderValue, Method, StatusCode};

use crate::front::Shared;
use crate::reply::{error, method_not_allowed, not_found, redirect};

static RESOURCE_POLICY: HeaderName = HeaderName::from_static("cross-origin-resource-policy");
/// Where sites begin.
const PREFIX: &str = "/p/";

/// A path below [`PREFIX`], taken apart.
pub(crate) struct SiteUrl<'a> {
    /// The peer id as it was written.
    pub(crate) id: &'a str,
    /// The path below the site's root with its leading `/`, still percent-encoded; `None` without a slash after the id.
    pub(crate) rest: Option<&'a str>,
}

/// Takes the path of a site's URL apart; `None` for other paths.
pub(crate) fn site_url(path: &str) -> Option<SiteUrl<'_>> {
    let after = path.strip_prefix(PREFIX)?;
    Some(match after.find('/') {
        Some(slash) => SiteUrl {
            id: &after[..slash],
            rest: Some(&after[slash..]),
        },
        None => SiteUrl {
            id: after,
            rest: None,
        },
    })
}

/// On the control origin a site is only a way to its own origin.
pub(crate) fn lead_to_origin(shared: &Arc<Shared>, parts: &Parts, url: &SiteUrl<'_>) -> Response {
    if url.id.is_empty() {
        return not_found();
    }
    let Some(peer) = parse_peer_id(url.id) else {
        return unreachable_page(shared, parts.uri.path(), "this is not a peer id");
    };
    let origin = shared.origin_of(&peer, parts);
    let Some(origin) = origin else {
        return error(
            StatusCode::SERVICE_UNAVAILABLE,
            "too many sites are open; close some and try again",
        );
    };
    let query = parts
        .uri
        .query()
        .map(|query| format!("?{query}"))
        .unwrap_or_default();
    let rest = url.rest.unwrap_or("/");
    redirect(
        StatusCode::FOUND,
        &format!("{origin}{PREFIX}{}{rest}{query}", peer.to_base58()),
    )
}

/// A site's own page asks for a file of that site.
pub(crate) async fn serve(shared: &Shared, parts: &Parts, peer: PeerId) -> Response {
    let Some(url) = site_url(parts.uri.path()) else {
        return not_found();
    };
    if parse_peer_id(url.id) != Some(peer) {
        return not_found();
    }
    serve_file(shared, parts, peer, &url).await
}

/// Somebody from outside asks for a file of the own site.
pub(crate) async fn serve_guest(shared: &Shared, parts: &Parts, url: &SiteUrl<'_>) -> Response {
    let own = shared.context.net.local_peer_id();
    if parse_peer_id(url.id) != Some(own) {
        return not_found();
    }
    serve_file(shared, parts, own, url).await
}

async fn serve_file(shared: &Shared, parts: &Parts, peer: PeerId, url: &SiteUrl<'_>) -> Response {
    if !matches!(parts.method, Method::GET | Method::HEAD) {
        return method_not_allowed();
    }
    // Relative links and the SDK need the slash (viewer-api.md 7).
    let Some(rest) = url.rest else {
        return redirect(StatusCode::FOUND, &format!("{PREFIX}{}/", url.id));
    };
    let path: Cow<'_, [u8]> = percent_encoding::percent_decode_str(rest).into();
    let mut response = if peer == shared.context.net.local_peer_id() {
        own_file(shared, parts, &path)
    } else {
        neighbours_file(shared, parts, peer, path.into_owned()).await
    };
    secure(shared, &mut response);
    response
}

fn own_file(shared: &Shared, parts: &Parts, path: &[u8]) -> Response {
    let found = SitePath::parse(path)
        .map_err(SiteError::from)
        .and_then(|path| {
            respond::respond(&shared.context.site, &parts.method, &path, &parts.headers)
        });
    match found {
        Ok(response) => {
            let mut response = response.map(Body::new);
            // Always asked about again, so that an edit shows at the next load.
            response
                .headers_mut()
                .insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
            response
        }
        Err(SiteError::NotFound) => not_found(),
        Err(SiteError::Forbidden) => error(StatusCode::FORBIDDEN, "forbidden"),
        Err(SiteError::Io(failure)) => {
            tracing::warn!(error = %failure, "a file of the own site cannot be read");
            error(
                StatusCode::INTERNAL_SERVER_ERROR,
                "the file cannot be read; the log says why",
            )
        }
    }
}

async fn neighbours_file(shared: &Shared, parts: &Parts, peer: PeerId, path: Vec<u8>) -> Response {
    let Ok(path) = String::from_utf8(path) else {
        return not_found();
    };
    let request = SiteRequest {
        method: parts.method.clone(),
        path: path.clone(),
        headers: parts.headers.clone(),
    };
    match shared.context.neighbours.fetch(peer, request).await {
        Ok(mut response) => {
            let headers = response.headers_mut();
            let named = headers
                .get(CONTENT_TYPE)
                .and_then(|value| value.to_str().ok())
                .unwrap_or_default()
                .to_owned();
            let path = if path == "/" { "/index.html" } else { &path };
            let kind = types::for_browser(std::path::Path::new(path), &named);
            if let Ok(kind) = HeaderValue::from_str(&kind) {
                headers.insert(CONTENT_TYPE, kind);
            }
            // The web is ephemeral: nothing stays in the browser's cache unasked.
            headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
            response
        }
        Err(VisitError::NotFound) => not_found(),
        Err(VisitError::Forbidden) => error(StatusCode::FORBIDDEN, "forbidden"),
        Err(failure) => unreachable_page(shared, parts.uri.path(), &failure.to_string()),
    }
}

/// What every answer of a site carries: scripts and connections of this origin only, framed by the control pages only.
fn secure(shared: &Shared, response: &mut Response) {
    let headers = response.headers_mut();
    headers.insert(CONTENT_SECURITY_POLICY, shared.site_policy.clone());
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(
        RESOURCE_POLICY.clone(),
        HeaderValue::from_static("same-origin"),
    );
}

/// The policy of a site's pages (viewer-api.md 7), with media and blobs allowed.
pub(crate) fn site_policy(control_port: u16) -> HeaderValue {
    let policy = format!(
        "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data: blob:; font-src 'self' data:; \
         media-src 'self' blob:; connect-src 'self'; base-uri 'none'; form-action 'self'; \
         frame-ancestors 'self' http://127.0.0.1:{control_port} http://localhost:{control_port}"
    );
    HeaderValue::from_str(&policy)
        .unwrap_or_else(|_| HeaderValue::from_static("default-src 'none'"))
}

/// The drop on its lily pad, asleep: a picture in the page itself, because nothing of the pages is served on a site's origin.
const ASLEEP: &str = include_str!("../assets/images/asleep.svg");

/// The page shown instead of a site that cannot be reached. It holds no script and no style of its own.
fn unreachable_page(shared: &Shared, path: &str, reason: &str) -> Response {
    let page = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width\">\n<title>Peer Unreachable</title>\n\
         <link rel=\"stylesheet\" href=\"/goop-unreachable.css\">\n</head>\n<body>\n<main>\n{}\
         <h1>Nobody is home</h1>\n<p>This site lives on somebody's own machine, and right now that machine does not \
         answer. It may be asleep, offline, or on another network.</p>\n<p><a class=\"retry\" href=\"{}\">Try again</a></p>\n\
         <details>\n<summary>What was tried</summary>\n<pre>{}</pre>\n</details>\n</main>\n</body>\n</html>\n",
        ASLEEP,
        escape(path),
        escape(reason)
    );
    let mut response = Response::new(Body::from(page));
    *response.status_mut() = StatusCode::BAD_GATEWAY;
    let headers = response.headers_mut();
    headers.insert(
        CONTENT_TYPE,
        HeaderValue::from_static("text/html; charset=utf-8"),
    );
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    secure(shared, &mut response);
    response
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}
