//! The settings a page changes with one click (viewer-api.md 13), and how sites get their origins.

use axum::extract::State;
use axum::response::Response;
use bytes::Bytes;
use http::header::SET_COOKIE;
use http::{HeaderValue, StatusCode};
use serde::{Deserialize, Serialize};

use super::config::unfit;
use crate::base::Base;
use crate::front::ORIGIN_COOKIE;
use crate::reply::{error, json, parse};

/// What can be changed; what is absent stays.
#[derive(Deserialize, Default, utoipa::ToSchema)]
#[serde(default)]
pub(crate) struct Quick {
    label: Option<String>,
    email: Option<String>,
    verification_token: Option<String>,
    theme: Option<String>,
    preferred_cam: Option<String>,
    preferred_mic: Option<String>,
    video_disabled: Option<bool>,
    hide_unverified: Option<bool>,
    open_sites_external: Option<bool>,
    use_services: Option<bool>,
    bridge_token: Option<String>,
    bridge_mode: Option<bool>,
}

/// Changes some settings. Name and e-mail are announced at once.
#[utoipa::path(post, path = "/api/settings/quick", tag = "settings", request_body = Quick,
    responses((status = 200), (status = 400), (status = 500)))]
pub(crate) async fn quick(State(base): State<Base>, body: Bytes) -> Response {
    let change: Quick = match parse(&body) {
        Ok(change) => change,
        Err(text) => return error(StatusCode::BAD_REQUEST, &text),
    };
    let config = base.desk.config.clone();
    // Writing waits for the disk and for other writers.
    let saved = tokio::task::spawn_blocking(move || {
        let mut mistake = None;
        let saved = config.update(|config| {
            let before = config.clone();
            set_trimmed(&mut config.profile.label, change.label);
            set_trimmed(&mut config.profile.email, change.email);
            set_trimmed(
                &mut config.profile.verification_token,
                change.verification_token,
            );
            set_trimmed(&mut config.profile.bridge_token, change.bridge_token);
            set(
                &mut config.viewer.theme,
                change
                    .theme
                    .filter(|theme| matches!(theme.as_str(), "light" | "dark")),
            );
            set(&mut config.viewer.preferred_cam, change.preferred_cam);
            set(&mut config.viewer.preferred_mic, change.preferred_mic);
            set(&mut config.viewer.video_disabled, change.video_disabled);
            set(&mut config.viewer.hide_unverified, change.hide_unverified);
            set(
                &mut config.viewer.open_sites_external,
                change.open_sites_external,
            );
            set(&mut config.presence.use_services, change.use_services);
            set(&mut config.p2p.bridge_mode, change.bridge_mode);
            mistake = unfit(&before, config);
            if mistake.is_some() {
                *config = before;
            }
        });
        (saved, mistake)
    })
    .await;
    match saved {
        Ok((_, Some(mistake))) => error(StatusCode::BAD_REQUEST, &mistake.message),
        Ok((Ok(_), None)) => {
            (base.desk.profile_changed)();
            json(StatusCode::OK, &serde_json::json!({ "status": "ok" }))
        }
        Ok((Err(failure), None)) => error(
            StatusCode::INTERNAL_SERVER_ERROR,
            &format!("failed to save: {failure}"),
        ),
        Err(_) => error(StatusCode::INTERNAL_SERVER_ERROR, "failed to save"),
    }
}

fn set<T>(field: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *field = value;
    }
}

fn set_trimmed(field: &mut String, value: Option<String>) {
    set(field, value.map(|value| value.trim().to_owned()));
}

#[derive(Serialize, utoipa::ToSchema)]
pub(crate) struct QuickNow {
    email: String,
    hide_unverified: bool,
    label: String,
    open_sites_external: bool,
    preferred_cam: String,
    preferred_mic: String,
    theme: String,
    verification_token: String,
    video_disabled: bool,
}

/// The settings of the quick form.
#[utoipa::path(get, path = "/api/settings/quick/get", tag = "settings", responses((status = 200, body = QuickNow)))]
pub(crate) async fn quick_get(State(base): State<Base>) -> Response {
    let config = base.desk.config.current();
    json(
        StatusCode::OK,
        &QuickNow {
            email: config.profile.email.clone(),
            hide_unverified: config.viewer.hide_unverified,
            label: config.profile.label.clone(),
            open_sites_external: config.viewer.open_sites_external,
            preferred_cam: config.viewer.preferred_cam.clone(),
            preferred_mic: config.viewer.preferred_mic.clone(),
            theme: config.viewer.theme.clone(),
            verification_token: config.profile.verification_token.clone(),
            video_disabled: config.viewer.video_disabled,
        },
    )
}

/// How sites get origins of their own in this browser.
#[derive(Deserialize, utoipa::ToSchema)]
pub(crate) struct Origins {
    /// `label`: a name below `localhost`. `port`: a loopback port, for browsers that do not resolve such names.
    mode: String,
}

/// Chooses how sites get their origins; kept in the browser.
#[utoipa::path(post, path = "/api/origins", tag = "settings", request_body = Origins, responses((status = 200), (status = 400)))]
pub(crate) async fn origins(body: Bytes) -> Response {
    let mode = match parse::<Origins>(&body) {
        Ok(Origins { mode }) if matches!(mode.as_str(), "label" | "port") => mode,
        Ok(_) => return error(StatusCode::BAD_REQUEST, "mode must be label or port"),
        Err(text) => return error(StatusCode::BAD_REQUEST, &text),
    };
    let mut response = json(
        StatusCode::OK,
        &serde_json::json!({ "status": "ok", "mode": mode }),
    );
    let cookie = format!("{ORIGIN_COOKIE}={mode}; Path=/; SameSite=Strict; Max-Age=31536000");
    if let Ok(cookie) = HeaderValue::from_str(&cookie) {
        response.headers_mut().insert(SET_COOKIE, cookie);
    }
    response
}
