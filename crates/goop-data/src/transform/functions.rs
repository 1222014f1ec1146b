//! The functions that a field may call (groups.md 17). Texts are counted in characters: the Go program cuts through
//! letters of several bytes.

use serde_json::Value as Json;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::moment;

/// Longest text that a function makes, in bytes: the largest value that the database takes.
pub const MAX_VALUE: usize = 16 * 1024 * 1024;

/// All of them, in order.
pub const FUNCTIONS: [&str; 22] = [
    "coalesce",
    "concat",
    "date",
    "datetime",
    "default",
    "guid",
    "join",
    "length",
    "lowercase",
    "now",
    "prefix",
    "replace",
    "round",
    "split",
    "substring",
    "suffix",
    "time",
    "to_float",
    "to_int",
    "to_text",
    "trim",
    "uppercase",
];

/// Those that need no source.
pub(super) const MAKERS: [&str; 5] = ["now", "guid", "datetime", "date", "time"];

/// Calls a function on values, with what it is told besides.
pub(super) fn call(name: &str, mut values: Vec<Json>, args: &[Json]) -> Result<Json, String> {
    let first = || values.first().map(text).unwrap_or_default();
    let arg = |index: usize| args.get(index).map(text);
    let whole = |index: usize| args.get(index).and_then(whole);
    let made = match name {
        "uppercase" => first().to_uppercase(),
        "lowercase" => first().to_lowercase(),
        "trim" => first().trim().to_owned(),
        "to_text" => first(),
        "concat" => joined(&values, &arg(0).unwrap_or_default())?,
        "join" => joined(&values, &arg(0).unwrap_or_else(|| ",".to_owned()))?,
        "prefix" => format!("{}{}", arg(0).unwrap_or_default(), first()),
        "suffix" => format!("{}{}", first(), arg(0).unwrap_or_default()),
        "replace" => replaced(
            &first(),
            &arg(0).unwrap_or_default(),
            &arg(1).unwrap_or_default(),
        )?,
        "substring" => {
            let start = usize::try_from(whole(0).unwrap_or(0)).unwrap_or(0);
            let most = whole(1).map_or(usize::MAX, |length| usize::try_from(length).unwrap_or(0));
            first().chars().skip(start).take(most).collect()
        }
        "now" | "datetime" => stamp(|text| format!("{}T{}Z", &text[..10], &text[11..])),
        "date" => stamp(|text| text[..10].to_owned()),
        "time" => stamp(|text| text[11..].to_owned()),
        "guid" => Uuid::new_v4().to_string(),
        "length" => return Ok(first().chars().count().into()),
        "round" => return Ok(rounded(taken(&mut values), whole(0).unwrap_or(0))),
        "default" => {
            let value = taken(&mut values);
            return Ok(if is_nothing(&value) {
                args.first().cloned().unwrap_or_default()
            } else {
                value
            });
        }
        "coalesce" => {
            let found = values.into_iter().find(|value| !is_nothing(value));
            return Ok(found.unwrap_or_default());
        }
        "to_int" => return to_int(&taken(&mut values)),
        "to_float" => return to_float(&taken(&mut values)),
        "split" => return Ok(split(&first(), arg(0), whole(1).unwrap_or(-1))),
        other => return Err(format!("unknown transform {other:?}")),
    };
    if made.len() > MAX_VALUE {
        return Err(too_long());
    }
    Ok(Json::String(made))
}

fn too_long() -> String {
    format!("it would make a text of more than {MAX_VALUE} bytes")
}

fn taken(values: &mut Vec<Json>) -> Json {
    if values.is_empty() {
        Json::Null
    } else {
        values.swap_remove(0)
    }
}

fn is_nothing(value: &Json) -> bool {
    value.is_null() || value.as_str() == Some("")
}

/// A value as text: whole numbers without a fraction, nothing for `null`.
pub(super) fn text(value: &Json) -> String {
    match value {
        Json::Null => String::new(),
        Json::String(text) => text.clone(),
        Json::Number(number) => match number.as_f64() {
            Some(real) if number.is_f64() && real.fract() == 0.0 && real.abs() < 1e15 => {
                format!("{real:.0}")
            }
            _ => number.to_string(),
        },
        other => other.to_string(),
    }
}

fn whole(value: &Json) -> Option<i64> {
    #[allow(clippy::cast_possible_truncation)]
    // saturates, which is what is wanted of a place in a text
    value
        .as_i64()
        .or_else(|| value.as_f64().map(|real| real as i64))
        .or_else(|| value.as_str()?.trim().parse().ok())
}

fn joined(values: &[Json], separator: &str) -> Result<String, String> {
    let texts: Vec<String> = values.iter().map(text).collect();
    let most =
        texts.iter().map(String::len).sum::<usize>() + separator.len().saturating_mul(texts.len());
    if most > MAX_VALUE {
        return Err(too_long());
    }
    Ok(texts.join(separator))
}

/// Every place where `old` stands; the length is known before it is made.
fn replaced(text: &str, old: &str, new: &str) -> Result<String, String> {
    let places = if old.is_empty() {
        text.chars().count() + 1
    } else {
        text.matches(old).count()
    };
    if text.len() + places.saturating_mul(new.len()) > MAX_VALUE {
        return Err(too_long());
    }
    Ok(text.replace(old, new))
}

fn stamp(cut: impl Fn(&str) -> String) -> String {
    cut(&moment::plain(OffsetDateTime::now_utc()))
}

/// Half away from zero. What is no number stays as it is.
fn rounded(value: Json, decimals: i64) -> Json {
    let Json::Number(number) = &value else {
        return value;
    };
    let Some(real) = number.as_f64().filter(|_| decimals < 15) else {
        return value;
    };
    if number.is_i64() && decimals >= 0 {
        return value;
    }
    #[allow(clippy::cast_possible_truncation)] // within ± 300
    let factor = 10_f64.powi(decimals.clamp(-300, 15) as i32);
    let scaled = real * factor;
    if !scaled.is_finite() {
        return value;
    }
    number_of(scaled.round() / factor).unwrap_or(value)
}

/// A number without a fraction where it has none.
fn number_of(real: f64) -> Option<Json> {
    if real.fract() == 0.0 && real.abs() < 9_007_199_254_740_992.0 {
        #[allow(clippy::cast_possible_truncation)] // whole, and within 2^53
        return Some(Json::from(real as i64));
    }
    serde_json::Number::from_f64(real).map(Json::Number)
}

fn real(value: &Json) -> Option<f64> {
    match value {
        Json::Number(number) => number.as_f64(),
        Json::String(text) => text.trim().parse().ok(),
        Json::Bool(yes) => Some(f64::from(u8::from(*yes))),
        _ => None,
    }
    .filter(|real| real.is_finite())
}

fn to_int(value: &Json) -> Result<Json, String> {
    if value.is_null() || value.is_i64() {
        return Ok(value.clone());
    }
    // Digits that a double has no place for.
    if let Some(whole) = value
        .as_str()
        .and_then(|text| text.trim().parse::<i64>().ok())
    {
        return Ok(whole.into());
    }
    let limit = 9_223_372_036_854_775_808.0;
    match real(value).map(f64::trunc) {
        #[allow(clippy::cast_possible_truncation)] // whole, and within 2^63
        Some(real) if (-limit..limit).contains(&real) => Ok(Json::from(real as i64)),
        _ => Err(format!("cannot convert {} to integer", shown(value))),
    }
}

fn to_float(value: &Json) -> Result<Json, String> {
    if value.is_null() || value.is_number() {
        return Ok(value.clone());
    }
    real(value)
        .and_then(number_of)
        .ok_or_else(|| format!("cannot convert {} to float", shown(value)))
}

/// The beginning of a value, for an error.
fn shown(value: &Json) -> String {
    let text: String = value.to_string().chars().take(60).collect();
    text
}

fn split(text: &str, separator: Option<String>, index: i64) -> Json {
    let separator = separator.unwrap_or_else(|| ",".to_owned());
    let part = |part: &str| Json::String(part.trim().to_owned());
    let parts: Vec<Json> = if separator.is_empty() {
        text.chars()
            .map(|letter| part(&letter.to_string()))
            .collect()
    } else {
        text.split(&separator).map(part).collect()
    };
    match usize::try_from(index)
        .ok()
        .and_then(|index| parts.get(index))
    {
        Some(part) => part.clone(),
        None => Json::Array(parts),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn check(name: &str, values: Json, args: Json, expected: Json) {
        let (Json::Array(values), Json::Array(args)) = (values, args) else {
            panic!("lists");
        };
        let about = format!("{name} {values:?} {args:?}");
        let made = call(name, values, &args).unwrap_or_else(|error| json!({ "error": error }));
        assert_eq!(made, expected, "{about}");
    }

    #[test]
    fn what_each_function_makes() {
        check("uppercase", json!(["straße"]), json!([]), json!("STRASSE"));
        check("lowercase", json!(["ÄB"]), json!([]), json!("äb"));
        check("uppercase", json!([null]), json!([]), json!(""));
        check("uppercase", json!([]), json!([]), json!(""));
        check("trim", json!(["  a b "]), json!([]), json!("a b"));
        check("to_text", json!([5.0]), json!([]), json!("5"));
        check("to_text", json!([1.25]), json!([]), json!("1.25"));
        check("to_text", json!([true]), json!([]), json!("true"));
        check(
            "to_text",
            json!([i64::MAX]),
            json!([]),
            json!("9223372036854775807"),
        );
        check("concat", json!(["a", null, 1]), json!([]), json!("a1"));
        check("concat", json!(["a", "b"]), json!([" - "]), json!("a - b"));
        check("join", json!(["a", "b"]), json!([]), json!("a,b"));
        check("round", json!([2.5]), json!([]), json!(3));
        check("round", json!([-2.5]), json!([]), json!(-3));
        check("round", json!([1.255]), json!([1]), json!(1.3));
        check("round", json!([1234]), json!([-2]), json!(1200));
        check("round", json!(["x"]), json!([]), json!("x"));
        check("round", json!([null]), json!([]), json!(null));
        check("round", json!([1e300]), json!([10]), json!(1e300));
        check("default", json!([""]), json!([7]), json!(7));
        check("default", json!([0]), json!([7]), json!(0));
        check("default", json!([null]), json!([]), json!(null));
        check(
            "coalesce",
            json!([null, "", "x", "y"]),
            json!([]),
            json!("x"),
        );
        check("coalesce", json!([]), json!([]), json!(null));
        check("to_int", json!(["12.9"]), json!([]), json!(12));
        check("to_int", json!([-1.9]), json!([]), json!(-1));
        check(
            "to_int",
            json!(["9007199254740993"]),
            json!([]),
            json!(9_007_199_254_740_993_i64),
        );
        check(
            "to_int",
            json!(["x"]),
            json!([]),
            json!({"error": "cannot convert \"x\" to integer"}),
        );
        check(
            "to_int",
            json!(["1e30"]),
            json!([]),
            json!({"error": "cannot convert \"1e30\" to integer"}),
        );
        check(
            "to_int",
            json!(["NaN"]),
            json!([]),
            json!({"error": "cannot convert \"NaN\" to integer"}),
        );
        check("to_float", json!(["1.5"]), json!([]), json!(1.5));
        check(
            "to_float",
            json!(["x"]),
            json!([]),
            json!({"error": "cannot convert \"x\" to float"}),
        );
        check("substring", json!(["grün!"]), json!([2, 2]), json!("ün"));
        check("substring", json!(["abc"]), json!([-5]), json!("abc"));
        check("substring", json!(["abc"]), json!([9, 2]), json!(""));
        check("substring", json!(["abc"]), json!([0, -1]), json!(""));
        check(
            "substring",
            json!(["abc"]),
            json!([i64::MIN, i64::MAX]),
            json!("abc"),
        );
        check("prefix", json!(["a"]), json!(["x"]), json!("xa"));
        check("suffix", json!(["a"]), json!([]), json!("a"));
        check(
            "replace",
            json!(["a-b-c"]),
            json!(["-", "+"]),
            json!("a+b+c"),
        );
        check("replace", json!(["ab"]), json!(["", "."]), json!(".a.b."));
        check(
            "split",
            json!(["a, b ,c"]),
            json!([]),
            json!(["a", "b", "c"]),
        );
        check("split", json!(["a;b"]), json!([";", 1]), json!("b"));
        check("split", json!(["a;b"]), json!([";", 9]), json!(["a", "b"]));
        check("length", json!(["grün"]), json!([]), json!(4));
        check(
            "nope",
            json!([1]),
            json!([]),
            json!({"error": "unknown transform \"nope\""}),
        );
    }

    #[test]
    fn moments_and_ids_have_their_form() {
        for (name, form) in [
            ("now", "0000-00-00T00:00:00Z"),
            ("datetime", "0000-00-00T00:00:00Z"),
            ("date", "0000-00-00"),
            ("time", "00:00:00"),
        ] {
            let made = call(name, Vec::new(), &[]).unwrap_or_default();
            let digits = |letter: char| if letter.is_ascii_digit() { '0' } else { letter };
            let shape: String = made
                .as_str()
                .unwrap_or_default()
                .chars()
                .map(digits)
                .collect();
            assert_eq!(shape, form);
        }
        let guid = call("guid", Vec::new(), &[]).unwrap_or_default();
        assert!(Uuid::parse_str(guid.as_str().unwrap_or_default()).is_ok());
    }

    #[test]
    fn texts_have_an_end() {
        let long = json!("x".repeat(MAX_VALUE / 2));
        for (name, values, args) in [
            (
                "replace",
                vec![long.clone()],
                vec![json!("x"), json!("yyy")],
            ),
            (
                "replace",
                vec![long.clone()],
                vec![json!(""), json!("y".repeat(9))],
            ),
            (
                "concat",
                vec![long.clone(), long.clone(), long.clone()],
                vec![],
            ),
            (
                "join",
                vec![json!(1), json!(2)],
                vec![json!("x".repeat(MAX_VALUE))],
            ),
            (
                "prefix",
                vec![long.clone()],
                vec![json!("x".repeat(MAX_VALUE))],
            ),
        ] {
            assert!(call(name, values, &args).is_err(), "{name}");
        }
    }

    #[test]
    fn the_list_is_what_can_be_called() {
        assert!(FUNCTIONS.is_sorted());
        for name in FUNCTIONS {
            let error = call(name, vec![json!(1)], &[]).err().unwrap_or_default();
            assert!(!error.contains("unknown"), "{name}");
        }
    }
}
