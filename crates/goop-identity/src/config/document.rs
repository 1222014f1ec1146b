//! From JSON bytes to sections and back, without losing what is not known.

use std::fmt::Write as _;

use serde_json::{Map, Value};

use super::Config;

/// A section that can be read from and written to a JSON object.
pub(super) trait Reading: Sized {
    /// Names of its fields.
    const KNOWN: &'static [&'static str];
    /// Reads it; fields that are absent or `null` keep their default.
    fn read(section: &'static str, object: &Map<String, Value>) -> Result<Self, String>;
    /// Adds its fields in order.
    fn write(&self, into: &mut Map<String, Value>);
}

/// A value a field can have.
pub(super) trait Field: Sized {
    /// What a person calls this type.
    const TYPE: &'static str;
    fn from_json(value: &Value) -> Option<Self>;
    fn to_json(&self) -> Value;
}

impl Field for String {
    const TYPE: &'static str = "a text";
    fn from_json(value: &Value) -> Option<Self> {
        value.as_str().map(str::to_owned)
    }
    fn to_json(&self) -> Value {
        Value::String(self.clone())
    }
}

impl Field for i64 {
    const TYPE: &'static str = "a whole number";
    fn from_json(value: &Value) -> Option<Self> {
        value.as_i64()
    }
    fn to_json(&self) -> Value {
        Value::from(*self)
    }
}

impl Field for bool {
    const TYPE: &'static str = "true or false";
    fn from_json(value: &Value) -> Option<Self> {
        value.as_bool()
    }
    fn to_json(&self) -> Value {
        Value::Bool(*self)
    }
}

/// The last value of `object` under `name` in any case, as the Go program matches names.
fn find<'a>(object: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    object
        .iter()
        .filter(|(key, _)| key.eq_ignore_ascii_case(name))
        .map(|(_, value)| value)
        .next_back()
}

/// Reads one field into its place.
pub(super) fn take<T: Field>(
    section: &str,
    name: &str,
    object: &Map<String, Value>,
    into: &mut T,
) -> Result<(), String> {
    match find(object, name) {
        None | Some(Value::Null) => Ok(()),
        Some(value) => {
            *into = T::from_json(value)
                .ok_or_else(|| format!("{section}.{name} must be {}", T::TYPE))?;
            Ok(())
        }
    }
}

fn section<T: Reading + Default>(
    document: &Map<String, Value>,
    name: &'static str,
) -> Result<T, String> {
    match find(document, name) {
        None | Some(Value::Null) => Ok(T::default()),
        Some(Value::Object(object)) => T::read(name, object),
        Some(_) => Err(format!("{name} must be an object")),
    }
}

/// Decodes the bytes of a `goop.json`.
pub(super) fn read(bytes: &[u8]) -> Result<(Config, Map<String, Value>), String> {
    let text = bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bytes);
    if text.iter().all(u8::is_ascii_whitespace) {
        return Err("it is empty".to_owned());
    }
    let document: Value = serde_json::from_slice(text).map_err(|error| error.to_string())?;
    let Value::Object(document) = document else {
        return Err("it must be one JSON object".to_owned());
    };
    let config = Config {
        identity: section(&document, "identity")?,
        paths: section(&document, "paths")?,
        p2p: section(&document, "p2p")?,
        presence: section(&document, "presence")?,
        profile: section(&document, "profile")?,
        viewer: section(&document, "viewer")?,
        lua: section(&document, "lua")?,
    };
    Ok((config, document))
}

/// Encodes a configuration; what `from` holds beyond the known fields follows them.
pub(super) fn write(config: &Config, from: &Map<String, Value>) -> String {
    let mut document = Map::new();
    put(&mut document, "identity", &config.identity, from);
    put(&mut document, "paths", &config.paths, from);
    put(&mut document, "p2p", &config.p2p, from);
    put(&mut document, "presence", &config.presence, from);
    put(&mut document, "profile", &config.profile, from);
    put(&mut document, "viewer", &config.viewer, from);
    put(&mut document, "lua", &config.lua, from);
    let known: Vec<String> = document.keys().cloned().collect();
    keep_unknown(&mut document, from, |key| {
        known.iter().any(|name| key.eq_ignore_ascii_case(name))
    });
    // Values of a Map always serialise.
    let text = serde_json::to_string_pretty(&Value::Object(document)).unwrap_or_default();
    escape_like_go(&text)
}

fn put<T: Reading>(
    document: &mut Map<String, Value>,
    name: &str,
    section: &T,
    from: &Map<String, Value>,
) {
    let mut object = Map::new();
    section.write(&mut object);
    if let Some(Value::Object(old)) = find(from, name) {
        keep_unknown(&mut object, old, |key| {
            T::KNOWN.iter().any(|known| key.eq_ignore_ascii_case(known))
        });
    }
    document.insert(name.to_owned(), Value::Object(object));
}

fn keep_unknown(
    into: &mut Map<String, Value>,
    from: &Map<String, Value>,
    known: impl Fn(&str) -> bool,
) {
    for (key, value) in from.iter().filter(|(key, _)| !known(key)) {
        into.insert(key.clone(), value.clone());
    }
}

/// Go's encoder writes `<`, `>`, `&` and the two line separators of JavaScript as escapes. All of them can only
/// stand inside strings of a JSON text.
#[must_use]
pub fn escape_like_go(json: &str) -> String {
    if !json.contains(['<', '>', '&', '\u{2028}', '\u{2029}']) {
        return json.to_owned();
    }
    let mut escaped = String::with_capacity(json.len() + 16);
    for c in json.chars() {
        match c {
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => {
                // Writing to a String cannot fail.
                let _ = write!(escaped, "\\u{:04x}", u32::from(c));
            }
            other => escaped.push(other),
        }
    }
    escaped
}
