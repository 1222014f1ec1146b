//! Pictures (viewer-api.md 11).

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Multipart, Path, State};
use axum::response::Response;
use goop_identity::Profile;
use goop_identity::avatar::{Avatar, AvatarError, AvatarHash, MAX_OWN, initials_svg};
use goop_identity::label::parse_peer_id;
use http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, IF_NONE_MATCH,
    X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderMap, HeaderValue, StatusCode};

use crate::base::Base;
use crate::front::Shared;
use crate::reply::{error, raw_json};

/// The own picture, or initials.
#[utoipa::path(get, path = "/api/avatar", tag = "avatars", responses((status = 200)))]
pub(crate) async fn own_route(State(base): State<Base>) -> Response {
    own(&base)
}

pub(crate) fn own(base: &Base) -> Response {
    match base.desk.avatar.current() {
        Some(avatar) => picture(&avatar, "no-cache"),
        None => {
            let profile = Profile::of(&base.desk.config.current());
            initials(&profile.label, &profile.email)
        }
    }
}

/// Without an id there is nobody to show.
#[utoipa::path(get, path = "/api/avatar/peer/", tag = "avatars", responses((status = 400)))]
pub(crate) async fn of_nobody() -> Response {
    error(StatusCode::BAD_REQUEST, "missing peer id")
}

/// A peer's picture, or initials. Site pages may ask, too.
#[utoipa::path(get, path = "/api/avatar/peer/{id}", tag = "avatars", params(("id" = String, Path, description = "peer id")),
    responses((status = 200), (status = 304)))]
pub(crate) async fn of_peer(
    State(shared): State<Arc<Shared>>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Response {
    let Some(peer) = parse_peer_id(&id) else {
        return initials(&id, "");
    };
    if peer == shared.context.net.local_peer_id() {
        return own(&shared.base);
    }
    let Some(row) = shared.context.net.peer(&peer) else {
        return initials(&id, "");
    };
    let Some(hash) = AvatarHash::parse(&row.avatar_hash) else {
        return initials(&row.content, &row.email);
    };
    let etag = format!("\"{}\"", hash.as_str());
    let known = headers
        .get(IF_NONE_MATCH)
        .and_then(|known| known.to_str().ok());
    if known.is_some_and(|known| goop_site::respond::matches_etag(known, &etag)) {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        cache_for_a_day(&mut response, &etag);
        return response;
    }
    match shared.context.neighbours.avatar(peer, hash).await {
        Some(avatar) => {
            let mut response = picture(&avatar, "no-cache");
            cache_for_a_day(&mut response, &etag);
            response
        }
        None => initials(&row.content, &row.email),
    }
}

fn cache_for_a_day(response: &mut Response, etag: &str) {
    response.headers_mut().insert(
        CACHE_CONTROL,
        HeaderValue::from_static("public, max-age=86400"),
    );
    if let Ok(etag) = HeaderValue::from_str(etag) {
        response.headers_mut().insert(ETAG, etag);
    }
}

fn picture(avatar: &Avatar, cache: &'static str) -> Response {
    let mut response = Response::new(Body::from(avatar.bytes.clone()));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(avatar.content_type));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static(cache));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

pub(super) fn initials(label: &str, email: &str) -> Response {
    let mut response = Response::new(Body::from(initials_svg(label, email)));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("image/svg+xml"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    // Opened by itself it is a document of this origin; it holds no script, and could run none.
    headers.insert(
        CONTENT_SECURITY_POLICY,
        HeaderValue::from_static("default-src 'none'; sandbox"),
    );
    response
}

/// Sets the own picture: multipart field `avatar`, at most 256 KiB, PNG, JPEG, GIF or WebP.
#[utoipa::path(post, path = "/api/avatar/upload", tag = "avatars", responses((status = 200), (status = 400)))]
pub(crate) async fn upload(State(base): State<Base>, form: Multipart) -> Response {
    let bytes = match field(form).await {
        Ok(bytes) => bytes,
        Err(refused) => return refused,
    };
    match base.desk.avatar.set(&bytes) {
        Ok(hash) => {
            (base.desk.profile_changed)();
            raw_json(
                StatusCode::OK,
                format!("{{\"ok\":true,\"hash\":\"{}\"}}", hash.as_str()),
            )
        }
        Err(failure @ AvatarError::Io(_)) => {
            error(StatusCode::INTERNAL_SERVER_ERROR, &failure.to_string())
        }
        Err(failure) => error(StatusCode::BAD_REQUEST, &failure.to_string()),
    }
}

async fn field(mut form: Multipart) -> Result<bytes::Bytes, Response> {
    let bad = |text: &str| error(StatusCode::BAD_REQUEST, text);
    while let Some(field) = form
        .next_field()
        .await
        .map_err(|_| bad("the form cannot be read"))?
    {
        if field.name() != Some("avatar") {
            continue;
        }
        return match field.bytes().await {
            Ok(bytes) if bytes.len() <= MAX_OWN => Ok(bytes),
            Ok(_) | Err(_) => Err(bad("file too large (max 256KB)")),
        };
    }
    Err(bad("missing avatar field"))
}

/// Removes the own picture.
#[utoipa::path(post, path = "/api/avatar/delete", tag = "avatars", responses((status = 200)))]
pub(crate) async fn remove(State(base): State<Base>) -> Response {
    match base.desk.avatar.remove() {
        Ok(()) => {
            (base.desk.profile_changed)();
            raw_json(StatusCode::OK, "{\"ok\":true}".to_owned())
        }
        Err(failure) => error(StatusCode::INTERNAL_SERVER_ERROR, &failure.to_string()),
    }
}

/// Removes the own picture.
#[utoipa::path(delete, path = "/api/avatar/delete", tag = "avatars", responses((status = 200)))]
pub(crate) async fn remove_by_delete(state: State<Base>) -> Response {
    remove(state).await
}
