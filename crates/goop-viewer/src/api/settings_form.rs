//! The settings as a form, as pages of the Go program and scripts post them (viewer-api.md 13).
//!
//! Unlike there, a field that is absent stays as it is, and so does a secret that is empty: a form that shows a part of
//! the settings changes that part (viewer-api.md, weak point 15).

use axum::extract::State;
use axum::response::Response;
use bytes::Bytes;
use http::StatusCode;
use serde_json::{Map, Value};

use super::config::{NotSaved, apply};
use crate::base::Base;
use crate::reply::{error, redirect};

/// How the text of a field becomes a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// As it is, without blanks around it.
    Text,
    /// As [`Kind::Text`]; an empty one says nothing.
    Filled,
    /// `on`, `1`, `true`, `yes` in any case; anything else is false.
    Switch,
    /// A whole number; an empty text says nothing.
    Number,
    /// A whole number; an empty text is 0.
    Port,
    /// Minutes from 1 to 60; anything else says nothing.
    Minutes,
}

/// Form field, section and field of `goop.json`, and how it is read.
const FIELDS: [(&str, &str, &str, Kind); 44] = {
    use Kind::{Filled, Minutes, Number, Port, Switch, Text};
    [
        ("viewer_http_addr", "viewer", "http_addr", Text),
        ("viewer_debug", "viewer", "debug", Switch),
        ("viewer_video_disabled", "viewer", "video_disabled", Switch),
        (
            "viewer_hide_unverified",
            "viewer",
            "hide_unverified",
            Switch,
        ),
        (
            "viewer_open_sites_external",
            "viewer",
            "open_sites_external",
            Switch,
        ),
        (
            "viewer_peer_offline_grace_min",
            "viewer",
            "peer_offline_grace_min",
            Minutes,
        ),
        ("viewer_splash", "viewer", "splash", Filled),
        ("p2p_mdns_tag", "p2p", "mdns_tag", Filled),
        ("p2p_listen_port", "p2p", "listen_port", Number),
        ("p2p_bridge_mode", "p2p", "bridge_mode", Switch),
        ("profile_bridge_token", "profile", "bridge_token", Text),
        ("presence_ttl_sec", "presence", "ttl_seconds", Number),
        (
            "presence_heartbeat_sec",
            "presence",
            "heartbeat_seconds",
            Number,
        ),
        (
            "presence_rendezvous_port",
            "presence",
            "rendezvous_port",
            Number,
        ),
        // One switch is both, as in the Go program.
        (
            "presence_rendezvous_server",
            "presence",
            "rendezvous_host",
            Switch,
        ),
        (
            "presence_rendezvous_server",
            "presence",
            "rendezvous_only",
            Switch,
        ),
        (
            "presence_rendezvous_bind",
            "presence",
            "rendezvous_bind",
            Text,
        ),
        (
            "presence_rendezvous_wan",
            "presence",
            "rendezvous_wan",
            Text,
        ),
        (
            "presence_admin_password",
            "presence",
            "admin_password",
            Text,
        ),
        ("presence_external_url", "presence", "external_url", Text),
        ("presence_relay_port", "presence", "relay_port", Port),
        ("presence_relay_ws_port", "presence", "relay_ws_port", Port),
        (
            "presence_relay_key_file",
            "presence",
            "relay_key_file",
            Filled,
        ),
        (
            "presence_relay_cleanup_delay_sec",
            "presence",
            "relay_cleanup_delay_sec",
            Number,
        ),
        (
            "presence_relay_poll_deadline_sec",
            "presence",
            "relay_poll_deadline_sec",
            Number,
        ),
        (
            "presence_relay_connect_timeout_sec",
            "presence",
            "relay_connect_timeout_sec",
            Number,
        ),
        (
            "presence_relay_refresh_interval_sec",
            "presence",
            "relay_refresh_interval_sec",
            Number,
        ),
        (
            "presence_relay_recovery_grace_sec",
            "presence",
            "relay_recovery_grace_sec",
            Number,
        ),
        ("presence_use_services", "presence", "use_services", Switch),
        ("presence_credits_url", "presence", "credits_url", Text),
        (
            "presence_registration_url",
            "presence",
            "registration_url",
            Text,
        ),
        ("presence_email_url", "presence", "email_url", Text),
        ("presence_templates_url", "presence", "templates_url", Text),
        ("presence_bridge_url", "presence", "bridge_url", Text),
        (
            "presence_encryption_url",
            "presence",
            "encryption_url",
            Text,
        ),
        ("presence_templates_dir", "presence", "templates_dir", Text),
        (
            "presence_credits_admin_token",
            "presence",
            "credits_admin_token",
            Text,
        ),
        (
            "presence_registration_admin_token",
            "presence",
            "registration_admin_token",
            Text,
        ),
        (
            "presence_templates_admin_token",
            "presence",
            "templates_admin_token",
            Text,
        ),
        (
            "presence_bridge_admin_token",
            "presence",
            "bridge_admin_token",
            Text,
        ),
        (
            "presence_encryption_admin_token",
            "presence",
            "encryption_admin_token",
            Text,
        ),
        ("lua_enabled", "lua", "enabled", Switch),
        ("profile_label", "profile", "label", Filled),
        ("profile_email", "profile", "email", Text),
    ]
};

/// The value of a field; `None` where the text says nothing.
fn value_of(name: &str, kind: Kind, text: &str) -> Result<Option<Value>, String> {
    let text = text.trim();
    let number = || {
        text.parse::<i64>()
            .map(|number| Some(number.into()))
            .map_err(|_| format!("{name} must be a whole number"))
    };
    match kind {
        Kind::Filled | Kind::Number if text.is_empty() => Ok(None),
        Kind::Text | Kind::Filled => Ok(Some(text.into())),
        Kind::Switch => {
            let is_on = ["on", "1", "true", "yes"]
                .iter()
                .any(|word| text.eq_ignore_ascii_case(word));
            Ok(Some(is_on.into()))
        }
        Kind::Port if text.is_empty() => Ok(Some(0.into())),
        Kind::Number | Kind::Port => number(),
        Kind::Minutes => Ok(text
            .parse::<i64>()
            .ok()
            .filter(|minutes| (1..=60).contains(minutes))
            .map(Value::from)),
    }
}

/// What a form wants changed, by section and field. Unknown fields are not looked at.
fn wanted(body: &[u8]) -> Result<Map<String, Value>, String> {
    let mut wanted = Map::new();
    for (key, text) in url::form_urlencoded::parse(body) {
        for (_, section, field, kind) in FIELDS.iter().filter(|(name, ..)| *name == key) {
            let name = format!("{section}.{field}");
            let Some(value) = value_of(&name, *kind, &text)? else {
                continue;
            };
            let fields = wanted
                .entry(*section)
                .or_insert_with(|| Value::Object(Map::new()));
            if let Some(fields) = fields.as_object_mut() {
                fields.insert((*field).to_owned(), value);
            }
        }
    }
    Ok(wanted)
}

/// Changes settings from a form (urlencoded). What is absent stays; all or nothing. Leads to the page Me.
#[utoipa::path(post, path = "/settings/save", tag = "settings",
    request_body(content = String, content_type = "application/x-www-form-urlencoded", description = "fields of viewer-api.md 13"),
    responses((status = 302), (status = 400, description = "which field is wrong, and why"), (status = 500)))]
pub(crate) async fn save(State(base): State<Base>, body: Bytes) -> Response {
    let wanted = match wanted(&body) {
        Ok(wanted) => wanted,
        Err(text) => return error(StatusCode::BAD_REQUEST, &text),
    };
    match apply(&base, wanted).await {
        Ok(_) => redirect(StatusCode::FOUND, "/self?saved=1#settings"),
        Err(NotSaved::Wrong(mistake)) => error(StatusCode::BAD_REQUEST, &mistake.message),
        Err(NotSaved::Failed(text)) => error(StatusCode::INTERNAL_SERVER_ERROR, &text),
    }
}

#[cfg(test)]
mod tests {
    use goop_identity::config::{Config, encode};
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn check(form: &str, expected: Result<Value, &str>) {
        let found = wanted(form.as_bytes()).map(Value::Object);
        let expected = expected.map_err(str::to_owned);
        assert_eq!(found, expected, "{form}");
    }

    #[test]
    fn a_form_changes_what_it_holds() {
        check("", Ok(json!({})));
        check("csrf=x&unknown=1", Ok(json!({})));
        check(
            "viewer_http_addr=+:8080+&viewer_debug=YES&presence_use_services=off",
            Ok(json!({
                "viewer": {"http_addr": ":8080", "debug": true},
                "presence": {"use_services": false}
            })),
        );
        check(
            "p2p_listen_port=&presence_relay_port=&viewer_splash=",
            Ok(json!({"presence": {"relay_port": 0}})),
        );
        check(
            "viewer_peer_offline_grace_min=61&viewer_peer_offline_grace_min=5",
            Ok(json!({"viewer": {"peer_offline_grace_min": 5}})),
        );
        check(
            "presence_rendezvous_server=on",
            Ok(json!({"presence": {"rendezvous_host": true, "rendezvous_only": true}})),
        );
        check(
            "p2p_listen_port=many",
            Err("p2p.listen_port must be a whole number"),
        );
    }

    #[test]
    fn every_field_is_a_setting() {
        let all: Value =
            serde_json::from_str(&encode(&Config::default(), &Map::new())).unwrap_or_default();
        for (name, section, field, _) in FIELDS {
            assert!(!all[section][field].is_null(), "{name}");
        }
    }
}
