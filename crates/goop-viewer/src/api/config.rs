//! All of `goop.json` for the Me page: sections and fields as they are named there.

use std::collections::BTreeMap;

use axum::extract::State;
use axum::response::Response;
use bytes::Bytes;
use goop_identity::config::{self, Config, ConfigError};
use goop_identity::presence::{MAX_CONTENT, MAX_EMAIL};
use http::StatusCode;
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::peers::{Who, own_identity};
use crate::base::Base;
use crate::reply::{error, json as reply, parse};

/// Never sent to a page: only whether they are set.
const SECRETS: [(&str, &str); 8] = [
    ("presence", "admin_password"),
    ("presence", "credits_admin_token"),
    ("presence", "registration_admin_token"),
    ("presence", "templates_admin_token"),
    ("presence", "bridge_admin_token"),
    ("presence", "encryption_admin_token"),
    ("profile", "verification_token"),
    ("profile", "bridge_token"),
];
/// Not shown at all.
const HIDDEN: (&str, &str) = ("p2p", "nacl_private_key");
/// Left out of the file while it is empty, and shown all the same.
const EMPTY: (&str, &str) = ("presence", "rendezvous_more");
/// Shown, and not changed by anybody.
const FIXED: (&str, &str) = ("p2p", "nacl_public_key");
/// What counts at once. Everything else counts from the next start.
const LIVE: [(&str, &str); 11] = [
    ("presence", "rendezvous_wan"),
    ("presence", "rendezvous_more"),
    ("profile", "label"),
    ("profile", "email"),
    ("viewer", "theme"),
    ("viewer", "splash"),
    ("viewer", "hide_unverified"),
    ("viewer", "open_sites_external"),
    ("viewer", "preferred_cam"),
    ("viewer", "preferred_mic"),
    ("viewer", "video_disabled"),
];

/// Settings by section and field.
#[derive(Serialize, utoipa::ToSchema)]
struct Settings {
    /// As in `goop.json`; secrets are empty.
    #[schema(value_type = Object)]
    sections: Value,
    /// `section.field` of each secret, and whether it is set.
    secrets: BTreeMap<String, bool>,
    paths: Paths,
    /// As `/api/self` answers.
    me: Who,
}

#[derive(Serialize, utoipa::ToSchema)]
struct Paths {
    folder: String,
    config: String,
    site: String,
}

/// What was broken, field by field.
#[derive(Serialize, utoipa::ToSchema)]
struct Mistakes {
    errors: Vec<Mistake>,
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct Mistake {
    /// `section.field`; empty where no single field is to blame.
    field: String,
    pub(super) message: String,
}

impl Mistake {
    /// The rules' texts begin with the field they are about.
    pub(super) fn of(text: String) -> Self {
        let first = text.split([' ', ':']).next().unwrap_or_default();
        let field = if first.contains('.') {
            first.to_owned()
        } else {
            String::new()
        };
        Self {
            field,
            message: text,
        }
    }
}

fn as_object(config: &Config) -> Map<String, Value> {
    let text = config::encode(config, &Map::new());
    serde_json::from_str(&text).unwrap_or_default()
}

fn field_mut<'a>(
    sections: &'a mut Map<String, Value>,
    (section, field): (&str, &str),
) -> Option<&'a mut Value> {
    sections.get_mut(section)?.as_object_mut()?.get_mut(field)
}

/// Every setting, without secrets.
#[utoipa::path(get, path = "/api/settings", tag = "settings", responses((status = 200, body = Settings)))]
pub(crate) async fn all(State(base): State<Base>) -> Response {
    let config = base.desk.config.current();
    let mut sections = as_object(&config);
    let mut secrets = BTreeMap::new();
    for secret in SECRETS {
        let value = field_mut(&mut sections, secret);
        let is_set = value
            .as_ref()
            .and_then(|value| value.as_str())
            .is_some_and(|text| !text.is_empty());
        secrets.insert(format!("{}.{}", secret.0, secret.1), is_set);
        if let Some(value) = value {
            *value = Value::from("");
        } else if let Some(section) = sections.get_mut(secret.0).and_then(Value::as_object_mut) {
            section.insert(secret.1.to_owned(), Value::from(""));
        }
    }
    if let Some(section) = sections.get_mut(EMPTY.0).and_then(Value::as_object_mut) {
        section.entry(EMPTY.1).or_insert_with(|| Value::from(""));
    }
    if let Some(section) = sections.get_mut(HIDDEN.0).and_then(Value::as_object_mut) {
        section.remove(HIDDEN.1);
    }
    let folder = &base.desk.folder;
    let paths = Paths {
        folder: folder.display().to_string(),
        config: folder.join("goop.json").display().to_string(),
        site: folder.join(&config.paths.site_root).display().to_string(),
    };
    reply(
        StatusCode::OK,
        &Settings {
            sections: Value::Object(sections),
            secrets,
            paths,
            me: own_identity(&base),
        },
    )
}

/// Changes settings: `{"section":{"field":value}}`. What is absent stays, an empty secret stays, a secret set to null is
/// erased. All or nothing: one wrong value changes none.
#[utoipa::path(post, path = "/api/settings", tag = "settings", request_body = Object,
    responses((status = 200), (status = 400, body = Mistakes)))]
pub(crate) async fn change(State(base): State<Base>, body: Bytes) -> Response {
    let wanted: Map<String, Value> = match parse(&body) {
        Ok(wanted) => wanted,
        Err(text) => return error(StatusCode::BAD_REQUEST, &text),
    };
    match apply(&base, wanted).await {
        Ok(changed) => {
            let is_live = |name: &String| {
                LIVE.iter()
                    .any(|(section, field)| *name == format!("{section}.{field}"))
            };
            let restart: Vec<&String> = changed.iter().filter(|name| !is_live(name)).collect();
            reply(
                StatusCode::OK,
                &json!({ "status": "ok", "restart": restart }),
            )
        }
        Err(NotSaved::Wrong(mistake)) => reply(
            StatusCode::BAD_REQUEST,
            &Mistakes {
                errors: vec![mistake],
            },
        ),
        Err(NotSaved::Failed(text)) => error(StatusCode::INTERNAL_SERVER_ERROR, &text),
    }
}

/// Why settings stayed as they were.
#[derive(Debug)]
pub(super) enum NotSaved {
    /// A value makes no sense.
    Wrong(Mistake),
    /// The disk said no.
    Failed(String),
}

/// Merges what is wanted into `goop.json`, all of it or nothing; gives the fields that changed.
pub(super) async fn apply(
    base: &Base,
    wanted: Map<String, Value>,
) -> Result<Vec<String>, NotSaved> {
    let config = base.desk.config.clone();
    // Writing waits for the disk and for other writers.
    let saved = tokio::task::spawn_blocking(move || {
        let (mut mistake, mut changed) = (None, Vec::new());
        let saved = config.update(|config| match merged(config, &wanted) {
            Ok((new, fields)) => {
                *config = new;
                changed = fields;
            }
            Err(wrong) => mistake = Some(wrong),
        });
        (saved, mistake, changed)
    })
    .await;
    match saved {
        Ok((_, Some(mistake), _)) => Err(NotSaved::Wrong(mistake)),
        Ok((Err(ConfigError::Invalid(rule)), ..)) => Err(NotSaved::Wrong(Mistake::of(rule))),
        Ok((Err(failure), ..)) => Err(NotSaved::Failed(format!("failed to save: {failure}"))),
        Ok((Ok(_), None, changed)) => {
            (base.desk.profile_changed)();
            Ok(changed)
        }
        Err(_) => Err(NotSaved::Failed("failed to save".to_owned())),
    }
}

/// What others would cut or not show, said where it is typed. What a folder holds already may stay.
pub(super) fn unfit(before: &Config, after: &Config) -> Option<Mistake> {
    let texts = [
        (
            "profile.label",
            &before.profile.label,
            &after.profile.label,
            MAX_CONTENT,
        ),
        (
            "profile.email",
            &before.profile.email,
            &after.profile.email,
            MAX_EMAIL,
        ),
    ];
    texts.into_iter().find_map(|(field, old, new, most)| {
        let wrong = if new == old {
            return None;
        } else if new.len() > most {
            format!("{field} is longer than {most} bytes")
        } else if new.chars().any(char::is_control) {
            format!("{field} holds a line break or another control character")
        } else {
            return None;
        };
        Some(Mistake::of(wrong))
    })
}

/// Ends the peer politely and starts it again on the same port, so that settings count. The owner stays signed in.
#[utoipa::path(post, path = "/api/restart", tag = "settings", responses((status = 202)))]
pub(crate) async fn restart(State(base): State<Base>) -> Response {
    (base.desk.restart)();
    reply(StatusCode::ACCEPTED, &json!({ "status": "restarting" }))
}

/// The configuration with the wanted values in it, and which fields changed.
fn merged(config: &Config, wanted: &Map<String, Value>) -> Result<(Config, Vec<String>), Mistake> {
    let mut sections = as_object(config);
    let mut changed = Vec::new();
    for (section, fields) in wanted {
        let fields = fields
            .as_object()
            .ok_or_else(|| Mistake::of(format!("{section} must be an object")))?;
        for (field, value) in fields {
            let name = format!("{section}.{field}");
            let place = (section.as_str(), field.as_str());
            let is_secret = SECRETS.contains(&place);
            if place == HIDDEN || place == FIXED {
                return Err(Mistake::of(format!("{name} cannot be changed")));
            }
            if is_secret && value.as_str() == Some("") {
                continue;
            }
            let value = if is_secret && value.is_null() {
                Value::from("")
            } else {
                value.clone()
            };
            if value.is_null() {
                return Err(Mistake::of(format!("{name} needs a value")));
            }
            let Some(known) = sections.get_mut(section).and_then(Value::as_object_mut) else {
                return Err(Mistake::of(format!("{name} is no setting")));
            };
            // Fields that are left out of the file while they are empty are settings, too.
            if !known.contains_key(field) && !is_field(section, field) {
                return Err(Mistake::of(format!("{name} is no setting")));
            }
            let old = known.insert(field.clone(), value.clone());
            if old.unwrap_or_else(|| Value::from("")) != value {
                changed.push(name);
            }
        }
    }
    let text = Value::Object(sections).to_string();
    let (new, _) = config::decode(text.as_bytes()).map_err(Mistake::of)?;
    match unfit(config, &new) {
        Some(mistake) => Err(mistake),
        None => Ok((new, changed)),
    }
}

/// Whether the file may hold such a text field: what is unknown is not read.
fn is_field(section: &str, field: &str) -> bool {
    let text = json!({ section: { field: "x" } }).to_string();
    config::decode(text.as_bytes()).is_ok_and(|(config, _)| {
        as_object(&config)
            .get(section)
            .and_then(|section| section.get(field))
            .is_some_and(|value| value == "x")
    })
}
